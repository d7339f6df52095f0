package streams

import (
	_ "embed"
	"net/http"

	"weft/plugins"
	"weft/plugins/rest"
	"weft/plugins/streams/channel"
	"weft/plugins/streams/managed"
)

//go:embed openapi.yaml
var openAPI []byte

// Bounds of bodies (api.md, section 1).
const maxDeclaration = 1 << 20

// routes is every route of the plugin. A test holds it against the description, both ways.
func (s *streams) routes() []plugins.Route {
	validate := rest.WithBody(token(http.MethodPost, "/channels/{id}/validate", s.validate), rest.MaxVerifyBody)
	validate.Rate = plugins.RateVerify
	putChunk := rest.WithBody(token(http.MethodPut, "/channels/{id}/blobs/{root}/chunks/{n}", s.putChunk), channel.ChunkBytes)
	putChunk.Types, putChunk.Gives = []string{typeBytes}, []string{rest.TypeJSON, typeBytes}
	return []plugins.Route{
		rest.Signed(http.MethodPost, "/channels", s.create),
		rest.WithBody(rest.Signed(http.MethodPost, "/channels/{id}/operations", s.operate), rest.MaxBody),
		reading("/channels/{id}/operations", s.showStates, append(rest.SubmitQuery(), "hashes")...),
		token(http.MethodPost, "/channels/{id}/drafts", s.draft),
		reading("/channels", s.listChannels, channelQuery()...),
		reading("/channels/{id}", s.showChannel, "admins"),
		reading("/channels/{id}/events", s.listEvents, rest.PageQuery("after", "to", "op")...),
		reading("/channels/{id}/records", s.listRecords, recordQuery()...),
		reading("/channels/{id}/records/{seq}", s.showRecord),
		reading("/channels/{id}/records/{seq}/erasure", s.showErasure),
		token(http.MethodGet, "/channels/{id}/subscriptions", s.listSubscriptions, rest.PageQuery("state")...),
		token(http.MethodGet, "/channels/{id}/subscriptions/{did}", s.showSubscription),
		token(http.MethodGet, "/channels/{id}/keys", s.listKeys, rest.PageQuery("from")...),
		giving(reading("/channels/{id}/live", s.live, "after"), "text/event-stream"),
		validate,
		giving(reading("/channels/{id}/export", s.export, "from", "to"), typeZIP),
		rest.WithBody(token(http.MethodPost, "/channels/{id}/blobs", s.declareBlob), maxDeclaration),
		putChunk,
		giving(reading("/channels/{id}/blobs/{root}/chunks/{n}", s.getChunk), typeBytes),
		giving(reading("/channels/{id}/blobs/{root}", s.getBlob), typeBytes),
	}
}

// token is a route for callers with a login or a key.
func token(method, path string, serve func(http.ResponseWriter, *http.Request) error, query ...string) plugins.Route {
	return rest.Token(method, path, plugins.ScopeChannelsRead, serve, query...)
}

// reading is a route that is open for public channels to readers of the ledger; listing shows nobody else's.
func reading(path string, serve func(http.ResponseWriter, *http.Request) error, query ...string) plugins.Route {
	r := rest.Reading(path, serve, query...)
	r.Scope = plugins.ScopeChannelsRead
	return r
}

func giving(r plugins.Route, types ...string) plugins.Route {
	r.Gives = types
	return r
}

// statuses are the HTTP statuses of codes that only this plugin has: those of managed mode.
func statuses() map[string]int { return managed.Statuses() }
