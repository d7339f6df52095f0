package node

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
)

// tlsListener serves TLS 1.3 only.
func tlsListener(l net.Listener, certFile, keyFile string) (net.Listener, error) {
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("api.tls: %w", err)
	}
	return tls.NewListener(l, &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"},
	}), nil
}

// socketListener opens a unix socket for its owner only. A socket that a killed node has left is replaced, that of a
// living one is not.
func socketListener(path string) (net.Listener, error) {
	if conn, err := net.DialTimeout("unix", path, time.Second); err == nil {
		return nil, errors.Join(fmt.Errorf("%s is in use: another node runs on this folder", path), conn.Close())
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// mountPlugins gives each plugin the paths below its prefixes. Two owners of a path are a start-up error.
func (d *apiDoor) mountPlugins() error {
	owner := map[string]string{}
	for _, p := range d.Plugins {
		routes := p.Plugin.HTTP
		if routes.Handler == nil {
			continue
		}
		for _, prefix := range routes.Prefixes {
			if err := claim(owner, strings.TrimSuffix(prefix, "/"), p.Name); err != nil {
				return err
			}
			if !routes.Operator || d.asOperator {
				d.mount(strings.TrimSuffix(prefix, "/"), routes.Handler, routes.Operator)
			}
		}
	}
	return nil
}

// claim notes the owner of a prefix and refuses one that reaches into another's paths.
func claim(owner map[string]string, prefix, name string) error {
	if !strings.HasPrefix(prefix, "/") || len(prefix) < 2 || strings.ContainsAny(prefix, ":*?# ") {
		return fmt.Errorf("plugin %s: prefix %q is no path", name, prefix)
	}
	for _, r := range apiRoutes() {
		path := strings.TrimSuffix(r.path, "/*")
		if path == prefix || strings.HasPrefix(path, prefix+"/") {
			return fmt.Errorf("plugin %s: prefix %s covers the node's own path %s", name, prefix, r.path)
		}
	}
	for other, who := range owner {
		if other == prefix || strings.HasPrefix(other, prefix+"/") || strings.HasPrefix(prefix, other+"/") {
			return fmt.Errorf("plugins %s and %s both own %s", who, name, prefix)
		}
	}
	owner[prefix] = name
	return nil
}

// MaxPluginBodyBytes bounds the body of a request to a plugin.
const MaxPluginBodyBytes = 1 << 20

// mount hands requests under a prefix to a plugin, after the same checks of caller and rate as everywhere: who reads the
// ledger may GET, who may submit may do the rest. What a caller may see or do beyond that is the plugin's to decide.
func (d *apiDoor) mount(prefix string, h http.Handler, operator bool) {
	for _, path := range []string{prefix, prefix + "/*"} {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
			route := &apiRoute{method: method, path: path, auth: authSubmit, scope: scopeSubmit, rate: rateWrite}
			if method == http.MethodGet || method == http.MethodHead {
				route.auth, route.scope, route.rate = authRead, scopeRead, rateRead
			}
			if operator {
				route.auth = authOperator
			}
			d.echo.Add(method, path, d.lend(route, h))
		}
	}
}

func (d *apiDoor) lend(route *apiRoute, h http.Handler) echo.HandlerFunc {
	return func(e echo.Context) error {
		c := &apiCall{apiDoor: d, Context: e, route: route}
		err := c.admit()
		if err == nil {
			err = c.awaitPosition()
		}
		if err != nil {
			d.fail(e.Response(), e.Request(), err)
			return nil
		}
		d.stamp(e.Response().Header())
		defer c.log()
		r := e.Request()
		r.Body = http.MaxBytesReader(e.Response(), r.Body, MaxPluginBodyBytes)
		h.ServeHTTP(e.Response(), r)
		return nil
	}
}
