package managed

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"

	"weft/client"
	"weft/plugins"
)

// base is what the channel routes are called inside the node. Nobody connects to it.
const base = "http://node.invalid"

// door is the channel routes of this node, reached without a network: what a client in another process gets, a tool gets,
// by the same code. Who calls is settled by whoever holds the door: the keys of a tool are here, so there is nothing to log in
// with. It is safe for concurrent use.
type door struct {
	mux    *http.ServeMux
	routes []plugins.Route
}

func newDoor(routes []plugins.Route) *door {
	d := &door{mux: http.NewServeMux(), routes: routes}
	for _, r := range routes {
		d.mux.HandleFunc(r.Method+" "+r.Path, func(w http.ResponseWriter, q *http.Request) {
			if err := r.Serve(w, q); err != nil {
				w.(*memory).refuse(err)
			}
		})
	}
	return d
}

// query are the parameters that a route knows.
func (d *door) query(method, path string) []string { return d.route(method, path).Query }

// serve is a route's own handler; the caller has seen to everything that comes before it.
func (d *door) serve(method, path string) func(http.ResponseWriter, *http.Request) error {
	return d.route(method, path).Serve
}

// route finds a route; a zero one if there is none.
func (d *door) route(method, path string) (found plugins.Route) {
	for _, r := range d.routes {
		if r.Method == method && r.Path == path {
			found = r
		}
	}
	return found
}

// doorFor is the door for one caller. It implements http.RoundTripper.
type doorFor struct {
	*door
	caller plugins.Caller
}

// RoundTrip serves a request in the caller's goroutine. A fault of the node is an error, a refusal is an answer.
func (d doorFor) RoundTrip(r *http.Request) (*http.Response, error) {
	inner := r.Clone(plugins.WithCaller(r.Context(), d.caller))
	if inner.Body == nil {
		inner.Body = http.NoBody
	}
	defer inner.Body.Close()
	w := &memory{header: http.Header{}, status: http.StatusOK}
	d.mux.ServeHTTP(w, inner)
	if w.fault != nil {
		return nil, &nodeFault{w.fault}
	}
	return &http.Response{
		StatusCode: w.status, Status: http.StatusText(w.status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: w.header,
		Body: io.NopCloser(bytes.NewReader(w.body.Bytes())), ContentLength: int64(w.body.Len()), Request: r,
	}, nil
}

// nodeFault is an error of a route that is not the caller's.
type nodeFault struct{ err error }

func (f *nodeFault) Error() string { return f.err.Error() }
func (f *nodeFault) Unwrap() error { return f.err }

// memory is an answer in memory. It implements http.ResponseWriter.
type memory struct {
	header http.Header
	status int
	body   bytes.Buffer
	fault  error
}

// Header implements http.ResponseWriter.
func (w *memory) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *memory) WriteHeader(status int) { w.status = status }

// Write implements http.ResponseWriter.
func (w *memory) Write(b []byte) (int, error) { return w.body.Write(b) }

// refuse is what the node makes of an error of a route: a problem, or nothing that concerns a caller.
func (w *memory) refuse(err error) {
	r := plugins.Rejected(err)
	if r == nil {
		w.fault = err
		return
	}
	document := map[string]any{"code": r.Code, "title": r.Code, "detail": r.Detail}
	var p *plugins.Problem
	if errors.As(err, &p) {
		maps.Copy(document, p.More)
	}
	w.body.Reset()
	w.header.Set("Content-Type", "application/problem+json")
	w.status = http.StatusConflict // refusal finds the code alone
	w.fault = json.NewEncoder(&w.body).Encode(document)
}

// get reads a channel route as it is.
func (t *tool) get(ctx context.Context, path, query string, into any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path+"?"+query, nil)
	if err != nil {
		return err
	}
	response, err := t.http.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, client.MaxResponseBytes))
	if err != nil {
		return err
	}
	if response.StatusCode >= http.StatusBadRequest {
		p := &client.Problem{}
		if err := json.Unmarshal(body, p); err != nil {
			return err
		}
		return p
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
