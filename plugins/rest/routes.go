package rest

import (
	"net/http"

	"weft/plugins"
)

const v1 = "/api/v1"

// Open is a route for anyone.
func Open(method, path string, rate plugins.Rate, serve func(http.ResponseWriter, *http.Request) error) plugins.Route {
	return plugins.Route{Method: method, Path: path, Auth: plugins.AuthOpen, Rate: rate, Gives: []string{TypeJSON}, Serve: serve}
}

// Reading is a route for readers of the ledger.
func Reading(path string, serve func(http.ResponseWriter, *http.Request) error, query ...string) plugins.Route {
	return plugins.Route{
		Method: http.MethodGet, Path: v1 + path, Auth: plugins.AuthRead, Scope: plugins.ScopeLedgerRead, Query: query,
		Gives: []string{TypeJSON}, Serve: serve,
	}
}

// Signed is a route whose body is a signed operation.
func Signed(method, path string, serve func(http.ResponseWriter, *http.Request) error) plugins.Route {
	return plugins.Route{
		Method: method, Path: v1 + path, Auth: plugins.AuthSubmit, Scope: plugins.ScopeLedgerSubmit, Rate: plugins.RateWrite,
		Query: SubmitQuery(), MaxBody: MaxOperationBody, Gives: []string{TypeJSON}, Serve: serve,
	}
}

// Token is a route for callers with a login or a key. GET and DELETE take no body.
func Token(method, path, scope string, serve func(http.ResponseWriter, *http.Request) error, query ...string) plugins.Route {
	r := plugins.Route{
		Method: method, Path: v1 + path, Auth: plugins.AuthToken, Scope: scope, Query: query, Gives: []string{TypeJSON}, Serve: serve,
	}
	if method != http.MethodGet {
		r.Rate = plugins.RateWrite
	}
	if method != http.MethodGet && method != http.MethodDelete {
		r.MaxBody = MaxBody
	}
	return r
}

// WithBody lets a route take one.
func WithBody(r plugins.Route, bytes int) plugins.Route {
	r.MaxBody = bytes
	return r
}
