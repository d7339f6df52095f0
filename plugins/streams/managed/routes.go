package managed

import (
	"context"
	_ "embed"
	"errors"
	"net/http"
	"strings"
	"time"

	"weft/client"
	"weft/client/audit"
	"weft/plugins"
	"weft/plugins/rest"
	"weft/plugins/streams/channel"
	"weft/tangle"
)

//go:embed openapi.yaml
var openAPI []byte

// OpenAPI describes the routes.
func OpenAPI() []byte { return openAPI }

// Statuses are the HTTP statuses of codes that only this mode has.
func Statuses() map[string]int {
	return map[string]int{"insecure_transport": http.StatusForbidden, "no_key": http.StatusConflict}
}

// handler serves a tool.
type handler func(w http.ResponseWriter, r *http.Request, t *tool) error

// Routes are the channel routes with plaintext in place of what is sealed. Those of a list take the same parameters.
func (m *Mode) Routes() []plugins.Route {
	const one, records = "/managed/channels/{id}", "/managed/channels/{id}/records"
	write := rest.WithBody(m.route(http.MethodPost, records, m.write, "timeout", "receipts"), MaxBody)
	validate := rest.WithBody(m.route(http.MethodPost, one+"/validate", m.validate), rest.MaxVerifyBody)
	validate.Rate = plugins.RateVerify
	live := m.stream(http.MethodGet, one+"/live", m.live, m.door.query(http.MethodGet, livePath)...)
	live.Gives = []string{"text/event-stream"}
	return []plugins.Route{
		live,
		rest.Token(http.MethodGet, "/managed/identities", plugins.ScopeChannelsManaged, m.identities),
		m.route(http.MethodPost, "/managed/channels", m.create, "receipts"),
		m.route(http.MethodGet, "/managed/channels", m.list, m.door.query(http.MethodGet, "/api/v1/channels")...),
		m.route(http.MethodGet, one, m.show),
		m.route(http.MethodPost, one+"/requests", m.request, "receipts"),
		m.route(http.MethodPost, one+"/grants", m.grant, "receipts"),
		m.route(http.MethodPost, one+"/revocations", m.revoke, "receipts"),
		write,
		m.route(http.MethodGet, records, m.read, m.door.query(http.MethodGet, "/api/v1/channels/{id}/records")...),
		m.route(http.MethodGet, records+"/{seq}", m.readOne),
		validate,
	}
}

// route is a route for the tool whose key calls.
func (m *Mode) route(method, path string, serve handler, query ...string) plugins.Route {
	return m.stream(method, path, func(w http.ResponseWriter, r *http.Request, t *tool) error {
		done, err := m.begin(t)
		if err != nil {
			return err
		}
		defer done()
		return serve(w, r, t)
	}, query...)
}

// stream is a route whose answer may have no end: feeds have bounds of their own, and end with the node's feed.
func (m *Mode) stream(method, path string, serve handler, query ...string) plugins.Route {
	return rest.Token(method, path, plugins.ScopeChannelsManaged, func(w http.ResponseWriter, r *http.Request) error {
		if err := secure(r); err != nil {
			return err
		}
		t, err := m.toolOf(plugins.CallerOf(r.Context()))
		if err != nil {
			return err
		}
		rest.NoStore(w)
		return refusal(serve(w, r, t))
	}, query...)
}

// secure refuses plaintext that others could have read on its way. What a proxy says of that is believed only if it is bad.
func secure(r *http.Request) error {
	c := plugins.CallerOf(r.Context())
	if proxied := r.Header.Get("X-Forwarded-Proto"); proxied != "http" && (r.TLS != nil || c.Loopback || c.Operator) {
		return nil
	}
	return plugins.Reject("insecure_transport", "managed mode takes and gives plaintext: over TLS, or on the node's own machine")
}

// toolOf is the tool whose DID the caller's key is for.
func (m *Mode) toolOf(c plugins.Caller) (*tool, error) {
	for _, t := range m.tools {
		switch {
		case t.identity.DID != c.DID:
		case t.locked:
			return nil, plugins.Reject("keystore_locked", "the node waits for the passphrase of the keys of %s", t.name)
		default:
			return t, nil
		}
	}
	return nil, plugins.Reject("forbidden", "the caller's key is for no identity that this node manages")
}

// identities is GET /api/v1/managed/identities: the caller's, and for administrators all.
func (m *Mode) identities(w http.ResponseWriter, r *http.Request) error {
	if err := secure(r); err != nil {
		return err
	}
	c := plugins.CallerOf(r.Context())
	list := []client.ManagedIdentity{}
	for _, t := range m.tools {
		if t.identity.DID == c.DID || c.May(plugins.ScopeAdmin) {
			list = append(list, client.ManagedIdentity{Name: t.name, DID: t.identity.DID, Locked: t.locked})
		}
	}
	return rest.Answer(w, http.StatusOK, rest.List[client.ManagedIdentity]{Items: list})
}

// within bounds what is done for a request. Hanging up cancels nothing: what was begun comes to its end, unless the node stops.
func (m *Mode) within(r *http.Request) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), MaxRequest)
	stop := context.AfterFunc(m.life, cancel)
	return ctx, func() { stop(); cancel() }
}

// enter opens the channel of the path as the tool sees it now.
func (m *Mode) enter(ctx context.Context, r *http.Request, t *tool) (*audit.Channel, error) {
	id, err := pathID(r)
	if err != nil {
		return nil, err
	}
	c, err := m.opened.take(ctx, t, id)
	if err != nil {
		return nil, err
	}
	return c, m.declared(id, t)
}

func pathID(r *http.Request) (channel.ID, error) {
	id, err := channel.ParseID(r.PathValue("id"))
	if err != nil {
		return id, plugins.Reject("bad_parameter", "a channel is named by 64 lower-case hex digits")
	}
	return id, nil
}

// declared refuses to act where the ledger tells the participants that the tool keeps its own keys: that is not so.
func (m *Mode) declared(id channel.ID, t *tool) error {
	p, found, err := channel.ReadParticipant(m.host.View(), id, t.identity.DID)
	if err != nil || !found || p.State != channel.Active || p.Grant.Custody == channel.CustodyNode {
		return err
	}
	return plugins.Reject("custody_denied", "the grant of %s says that no node holds its keys: an admin has to give it with custody node", t.name)
}

// done answers what became of an operation: 202 while it is on its way, 201 where something has an address now, else 200.
func done(w http.ResponseWriter, r *http.Request, o client.Operated, at string, more map[string]any) error {
	a := rest.StateAnswer{
		Status: string(o.Status), Outcome: o.Outcome, Code: o.Code, OpHash: o.OpHash, EntryHash: o.EntryHash, MessageID: o.MessageID, Result: more,
	}
	if o.Place != nil {
		a.Place = &rest.Place{Position: o.Place.Position, Index: o.Place.Index}
	}
	if o.Time != nil {
		a.Time = tangle.TimeOf(*o.Time).String()
	}
	if o.Result.Event != nil {
		more["event"], more["head"] = *o.Result.Event, o.Result.Head
	}
	if r.URL.Query().Get("receipts") != "false" {
		a.Receipt = o.Receipt
	}
	status := http.StatusOK
	switch {
	case o.Status != client.Final:
		status, at = http.StatusAccepted, "/api/v1/operations/"+o.OpHash
	case at != "":
		status = http.StatusCreated
	}
	if at != "" {
		w.Header().Set("Location", at)
	}
	return rest.Answer(w, status, a)
}

// refusal gives an error of the client inside the node the form that the node answers with.
func refusal(err error) error {
	var p *client.Problem
	var fault *nodeFault
	switch {
	case err == nil || plugins.Rejected(err) != nil:
		return err
	case errors.As(err, &p):
		more := map[string]any{}
		if p.Outcome != "" {
			more["outcome"], more["place"] = p.Outcome, p.Place
		}
		if p.Receipt != "" {
			more["receipt"] = p.Receipt
		}
		return &plugins.Problem{Rejection: plugins.Rejection{Code: p.Code, Detail: p.Detail}, More: more}
	case errors.Is(err, context.DeadlineExceeded):
		return plugins.Reject("busy", "this took longer than %s", MaxRequest)
	case errors.Is(err, context.Canceled):
		return plugins.Reject("shutting_down", "the node stops: what was sent may still be carried out, look before it is sent again")
	case errors.As(err, &fault):
		return fault.err
	case errors.Is(err, audit.ErrNoKey):
		return plugins.Reject("no_key", "%s", err)
	}
	return plugins.Reject("wrong_state", "%s", err)
}

// readWait reads ?timeout: how long the answer waits for finality.
func readWait(r *http.Request) (time.Duration, error) {
	text := r.URL.Query().Get("timeout")
	if text == "" {
		return defaultWait, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 || d > rest.MaxWait {
		return 0, plugins.Reject("bad_parameter", "timeout: want a duration up to %s", rest.MaxWait)
	}
	return d, nil
}

// rightsOf reads rights by their names.
func rightsOf(words []string) (rights channel.Rights, err error) {
	if err := rights.UnmarshalJSON([]byte(`["` + strings.Join(words, `","`) + `"]`)); err != nil {
		return 0, err
	}
	if len(rights.Names()) != len(words) {
		return 0, plugins.Reject("bad_value", "rights: want some of read, write, admin, audit, each once")
	}
	return rights, nil
}
