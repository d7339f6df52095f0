package node

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"weft/config"
	"weft/plugins"
)

// authRule says who may call a route (api.md, section 2).
type authRule uint8

const (
	authNone     authRule = iota // no rule: refused, and a test fails
	authOpen                     // anyone
	authRead                     // readers of the ledger: anyone where api.read is open
	authSubmit                   // who may publish in the member's name: anyone where api.submit is open
	authToken                    // a key with the route's scope
	authAdmin                    // a key with the scope admin
	authOperator                 // the operator's door only
)

func (a authRule) String() string {
	return [...]string{"none", "-", "R", "T submit", "T", "A", "O"}[a]
}

const openAccess = config.AccessOpen

// The scopes that the node's own routes ask for.
const (
	scopeRead   = plugins.ScopeLedgerRead
	scopeSubmit = plugins.ScopeLedgerSubmit
	scopeAdmin  = plugins.ScopeAdmin
)

// apiCaller is who calls.
type apiCaller struct {
	id       string // for limits, cursors and idempotency: a key's id, a token's subject, or an address
	operator bool
	local    bool            // calls from this machine
	key      *apiKey         // nil without one
	token    *plugins.Caller // nil without one
	holds    func() bool     // whether key or token still hold; nil without one
}

// may says whether the caller's own rights reach.
func (c apiCaller) may(scope string) bool {
	return c.operator || (c.key != nil && slices.Contains(c.key.Scopes, scope)) || (c.token != nil && c.token.May(scope))
}

// known says whether the caller showed a credential.
func (c apiCaller) known() bool { return c.operator || c.key != nil || c.token != nil }

// forPlugins is the caller as plugins see it.
func (c apiCaller) forPlugins() plugins.Caller {
	p := plugins.Caller{}
	switch {
	case c.token != nil:
		p = *c.token
	case c.key != nil:
		p.DID, p.Scopes, p.Expires = c.key.DID, c.key.Scopes, c.key.ExpiresAt
	}
	p.ID, p.Operator, p.Loopback, p.Holds = c.id, c.operator, c.local, c.holds
	return p
}

// admit settles who calls, whether they may, and how often.
func (c *apiCall) admit() error {
	var err error
	if c.caller, err = c.identify(c.Request()); err != nil {
		return err
	}
	if err := c.authorize(); err != nil {
		return err
	}
	if c.caller.operator {
		return nil
	}
	return c.rates.take(c.route.rate, c.caller.id)
}

func (c *apiCall) authorize() error {
	open := false
	switch c.route.auth {
	case authOpen:
		open = true
	case authRead:
		open = c.Config.Read == openAccess
	case authSubmit:
		open = c.Config.Submit == openAccess
	case authToken, authAdmin:
	case authOperator:
		if !c.caller.operator {
			return refuse("not_found", "no such route; /openapi.json lists them")
		}
	default:
		return refuse("forbidden", "this route has no rule")
	}
	switch {
	case open || c.caller.may(c.route.scope):
		return nil
	case !c.caller.known():
		return refuse("unauthenticated", "this route needs an API key or a token with the scope %s", c.route.scope).
			with("WWW-Authenticate", authenticateHeader)
	}
	return refuse("forbidden", "the caller does not have the scope %s", c.route.scope)
}

// identify finds the caller. A credential that is there must be right, even where none is needed.
func (d *apiDoor) identify(r *http.Request) (apiCaller, error) {
	if d.asOperator {
		return apiCaller{id: "operator", operator: true}, nil
	}
	address := callerAddress(r)
	caller := apiCaller{id: address.String(), local: address.IsLoopback()}
	if auth := r.Header["Authorization"]; len(auth) > 0 {
		return d.identifyToken(r, caller, auth)
	}
	header := r.Header["X-Api-Key"]
	if len(header) == 0 {
		return caller, nil
	}
	key := d.keys.find(header[0])
	if len(header) > 1 || key == nil || !key.allows(address) {
		if err := d.rates.take(rateAnonymous, caller.id); err != nil {
			return caller, err // or keys could be tried out fast
		}
		return caller, refuse("bad_api_key", "the key is unknown, expired, revoked or not for this address")
	}
	return apiCaller{id: "key " + key.ID, local: caller.local, key: key, holds: func() bool { return d.keys.valid(key) }}, nil
}

const authenticateHeader = `Bearer realm="weft", ApiKey realm="weft" header="X-API-Key"`

// identifyToken asks the plugin that knows tokens.
func (d *apiDoor) identifyToken(r *http.Request, caller apiCaller, auth []string) (apiCaller, error) {
	token, bearer := strings.CutPrefix(auth[0], "Bearer ")
	refusal := refuse("bad_token", "no token of this kind is known here").with("WWW-Authenticate", authenticateHeader)
	if !bearer || len(auth) > 1 {
		return caller, refusal
	}
	for _, p := range d.Plugins {
		if p.Plugin.Authenticate == nil {
			continue
		}
		who, err := p.Plugin.Authenticate(r.Context(), token)
		if err == nil {
			holds := func() bool { _, err := p.Plugin.Authenticate(context.Background(), token); return err == nil }
			return apiCaller{id: "token " + who.ID, local: caller.local, token: &who, holds: holds}, nil
		}
		if limit := d.rates.take(rateAnonymous, caller.id); limit != nil {
			return caller, limit // or tokens could be tried out fast
		}
		if p := problemOf(err); p != nil {
			return caller, p.with("WWW-Authenticate", authenticateHeader)
		}
		return caller, err
	}
	return caller, refusal
}

// isOperator recognises the operator's token, from this machine only.
func (d *apiDoor) isOperator(r *http.Request) bool {
	auth := r.Header["Authorization"]
	if len(auth) != 1 || d.Config.OperatorToken == "" || !callerAddress(r).IsLoopback() {
		return false
	}
	token, found := strings.CutPrefix(auth[0], "Bearer ")
	got, want := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(d.Config.OperatorToken))
	return found && subtle.ConstantTimeCompare(got[:], want[:]) == 1
}

func (d *apiDoor) forAnyOrigin(path string) bool {
	return slices.ContainsFunc(d.anyOrigin, func(prefix string) bool { return strings.HasPrefix(path, prefix) })
}

// callerAddress is the address of the other end. Headers that proxies set are not believed: anyone can send them.
func callerAddress(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}

func isLoopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || (err == nil && ip.IsLoopback())
}

// cors answers and marks requests of web pages from other origins. Nothing is open but the log, which is public in
// nature and checks itself; api.cors lists further origins. It returns true if it has answered.
func (d *apiDoor) cors(w http.ResponseWriter, r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false
	}
	h := w.Header()
	listed := slices.Contains(d.Config.CORS, origin)
	switch {
	case listed:
		h.Set("Access-Control-Allow-Origin", origin)
	case strings.HasPrefix(r.URL.Path, "/log/"), d.forAnyOrigin(r.URL.Path):
		h.Set("Access-Control-Allow-Origin", "*")
	default:
		return false
	}
	h.Add("Vary", "Origin")
	h.Set("Access-Control-Expose-Headers", "Request-Id, Location, Weft-Position, Weft-Final, Weft-Time, Idempotency-Replayed, Retry-After")
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	h.Set("Access-Control-Allow-Methods", "GET")
	if listed {
		h.Set("Access-Control-Allow-Methods", "GET, POST, PUT, DELETE")
		h.Set("Access-Control-Allow-Headers", "Content-Type, X-API-Key, Idempotency-Key, Weft-Min-Position, Last-Event-ID")
	}
	h.Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
	return true
}
