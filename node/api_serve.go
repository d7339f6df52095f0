package node

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"weft/plugins"
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

// mountPlugins adds the plugins' routes. Two owners of a path are a start-up error.
func (d *apiDoor) mountPlugins() error {
	owner := map[string]string{}
	for _, r := range apiRoutes() {
		owner[r.method+" "+shapeOf(r.path)] = "core"
	}
	for _, p := range d.Plugins {
		for _, r := range p.Plugin.HTTP.List {
			route, err := pluginRoute(r)
			if err != nil {
				return fmt.Errorf("plugin %s: %s %s: %w", p.Name, r.Method, r.Path, err)
			}
			operation := route.method + " " + shapeOf(route.path)
			if other, taken := owner[operation]; taken {
				return fmt.Errorf("plugins %s and %s both serve %s %s", other, p.Name, r.Method, r.Path)
			}
			owner[operation] = p.Name
			d.add(route)
		}
	}
	return nil
}

// mergeCodes joins the statuses of the plugins' codes.
func mergeCodes(list []NamedPlugin) (map[string]int, error) {
	codes := map[string]int{}
	for _, p := range list {
		for code, status := range p.Plugin.HTTP.Codes {
			if other, taken := codes[code]; taken && other != status {
				return nil, fmt.Errorf("plugin %s: code %s is %d with it and %d with another", p.Name, code, status, other)
			}
			codes[code] = status
		}
	}
	return codes, nil
}

// shapeOf is a path with its parameters' names left out: two routes of one shape are one.
func shapeOf(path string) string {
	parts := strings.Split(path, "/")
	for i, part := range parts {
		if strings.HasPrefix(part, ":") {
			parts[i] = ":"
		}
	}
	return strings.Join(parts, "/")
}

// pluginRoute is a plugin's route as the node serves it.
func pluginRoute(r plugins.Route) (*apiRoute, error) {
	path, names, err := echoPath(r.Path)
	switch {
	case err != nil:
		return nil, err
	case r.Serve == nil:
		return nil, errors.New("nothing serves it")
	case r.Auth == plugins.AuthNone:
		return nil, errors.New("it has no rule of who may call")
	case (r.Scope == "") != (r.Auth == plugins.AuthOpen || r.Auth == plugins.AuthOperator):
		return nil, fmt.Errorf("auth %s with scope %q", r.Auth, r.Scope)
	}
	route := &apiRoute{
		method: r.Method, path: path, auth: authOf(r.Auth), scope: r.Scope, rate: rateClass(r.Rate), query: r.Query,
		body: r.MaxBody, types: r.Types, gives: r.Gives, anyQuery: r.AnyQuery, anyAccept: len(r.Gives) == 0, anyOrigin: r.AnyOrigin, mayLack: r.MayLack,
	}
	route.handle = func(c *apiCall) error { return c.lend(names, r.Serve) }
	return route, nil
}

func authOf(a plugins.Auth) authRule {
	return map[plugins.Auth]authRule{
		plugins.AuthOpen: authOpen, plugins.AuthRead: authRead, plugins.AuthSubmit: authSubmit,
		plugins.AuthToken: authToken, plugins.AuthAdmin: authAdmin, plugins.AuthOperator: authOperator,
	}[a]
}

// echoPath turns /a/{b}/{rest...} into /a/:b/*, with the names of the parameters.
func echoPath(path string) (string, []string, error) {
	if !strings.HasPrefix(path, "/") || len(path) < 2 || strings.ContainsAny(path, ":*?# ") {
		return "", nil, errors.New("no path")
	}
	parts := strings.Split(path, "/")
	var names []string
	for i, part := range parts {
		name, found := strings.CutPrefix(part, "{")
		if !found {
			continue
		}
		name = strings.TrimSuffix(name, "}")
		parts[i] = ":" + name
		if rest, all := strings.CutSuffix(name, "..."); all {
			name, parts[i] = rest, "*"
		}
		names = append(names, name)
	}
	return strings.Join(parts, "/"), names, nil
}

// lend hands a request that passed the node's checks to a plugin: with its body read, its path values unescaped, and who
// calls in the context.
func (c *apiCall) lend(names []string, serve func(http.ResponseWriter, *http.Request) error) error {
	r := c.Request().WithContext(plugins.WithCaller(c.Request().Context(), c.caller.forPlugins()))
	escaped := r.URL.RawPath != ""
	for i, value := range c.ParamValues() {
		rest := c.ParamNames()[i] == "*"
		if escaped && !rest {
			plain, err := url.PathUnescape(value)
			if err != nil {
				return refuse("bad_parameter", "the path cannot be read")
			}
			value = plain
		}
		r.SetPathValue(names[i], value)
	}
	r.Body = io.NopCloser(bytes.NewReader(c.body))
	r.ContentLength = int64(len(c.body))
	c.stamp(c.Response().Header())
	if c.route.streams() { // it does not count as a request in flight: it has bounds of its own
		c.inFlight.Add(-1)
		defer c.inFlight.Add(1)
	}
	return c.once(r, serve)
}
