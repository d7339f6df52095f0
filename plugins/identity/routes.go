package identity

import (
	_ "embed"
	"net/http"
	"slices"

	"weft/plugins"
)

//go:embed openapi.yaml
var openAPICore []byte

//go:embed openapi_identities.yaml
var openAPIIdentities []byte

//go:embed openapi_credentials.yaml
var openAPICredentials []byte

// fragments describe the routes.
func fragments() [][]byte { return [][]byte{openAPICore, openAPIIdentities, openAPICredentials} }

const v1 = "/api/v1"

// routes is every route of the plugin, group by group. A test holds it against the description, both ways.
func (x *identity) routes() []plugins.Route {
	return slices.Concat(
		x.operationRoutes(), x.loginRoutes(), // openapi.yaml
		x.resolverRoutes(), x.identityRoutes(), // openapi_identities.yaml
		x.issuerRoutes(), x.credentialRoutes(), x.requestRoutes(), x.trustRoutes(), // openapi_credentials.yaml
	)
}

// open is a route for anyone.
func open(method, path string, rate plugins.Rate, serve func(http.ResponseWriter, *http.Request) error) plugins.Route {
	return plugins.Route{Method: method, Path: path, Auth: plugins.AuthOpen, Rate: rate, Gives: []string{typeJSON}, Serve: serve}
}

// reading is a route for readers of the ledger.
func reading(path string, serve func(http.ResponseWriter, *http.Request) error, query ...string) plugins.Route {
	return plugins.Route{
		Method: http.MethodGet, Path: v1 + path, Auth: plugins.AuthRead, Scope: plugins.ScopeLedgerRead, Query: query,
		Gives: []string{typeJSON}, Serve: serve,
	}
}

// signed is a route whose body is a signed operation.
func signed(method, path string, serve func(http.ResponseWriter, *http.Request) error) plugins.Route {
	return plugins.Route{
		Method: method, Path: v1 + path, Auth: plugins.AuthSubmit, Scope: plugins.ScopeLedgerSubmit, Rate: plugins.RateWrite,
		Query: submitQuery(), MaxBody: MaxOperationBody, Gives: []string{typeJSON}, Serve: serve,
	}
}

// token is a route for callers with a login or a key. GET and DELETE take no body.
func token(method, path, scope string, serve func(http.ResponseWriter, *http.Request) error, query ...string) plugins.Route {
	r := plugins.Route{
		Method: method, Path: v1 + path, Auth: plugins.AuthToken, Scope: scope, Query: query, Gives: []string{typeJSON}, Serve: serve,
	}
	if method != http.MethodGet {
		r.Rate = plugins.RateWrite
	}
	if method != http.MethodGet && method != http.MethodDelete {
		r.MaxBody = MaxBody
	}
	return r
}

// withBody lets a route take one.
func withBody(r plugins.Route, bytes int) plugins.Route {
	r.MaxBody = bytes
	return r
}

func (x *identity) operationRoutes() []plugins.Route {
	return []plugins.Route{reading("/operations/{opHash}", x.operation)}
}

func (x *identity) loginRoutes() []plugins.Route {
	back := open(http.MethodDelete, v1+"/auth/tokens/current", plugins.RateWrite, x.giveBack)
	return []plugins.Route{
		withBody(open(http.MethodPost, v1+"/auth/challenges", plugins.RateLogin, x.makeLoginChallenge), MaxBody),
		withBody(open(http.MethodPost, v1+"/auth/tokens", plugins.RateLogin, x.makeToken), MaxVerifyBody),
		back,
		token(http.MethodPost, "/auth/introspect", plugins.ScopeIdentitiesRead, x.introspect),
		open(http.MethodGet, "/.well-known/jwks.json", plugins.RateAnonymous, x.jwks),
	}
}
