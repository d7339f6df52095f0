package identity

import (
	_ "embed"
	"net/http"
	"slices"

	"weft/plugins"
	"weft/plugins/rest"
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
		x.loginRoutes(),                        // openapi.yaml
		x.resolverRoutes(), x.identityRoutes(), // openapi_identities.yaml
		x.issuerRoutes(), x.credentialRoutes(), x.requestRoutes(), x.trustRoutes(), // openapi_credentials.yaml
	)
}

func (x *identity) loginRoutes() []plugins.Route {
	back := rest.Open(http.MethodDelete, v1+"/auth/tokens/current", plugins.RateWrite, x.giveBack)
	return []plugins.Route{
		rest.WithBody(rest.Open(http.MethodPost, v1+"/auth/challenges", plugins.RateLogin, x.makeLoginChallenge), rest.MaxBody),
		rest.WithBody(rest.Open(http.MethodPost, v1+"/auth/tokens", plugins.RateLogin, x.makeToken), rest.MaxVerifyBody),
		back,
		rest.Token(http.MethodPost, "/auth/introspect", plugins.ScopeIdentitiesRead, x.introspect),
		rest.Open(http.MethodGet, "/.well-known/jwks.json", plugins.RateAnonymous, x.jwks),
	}
}
