package plugins

import (
	"context"
	"net/http"
	"slices"
	"time"
)

// Routes is what a plugin serves.
type Routes struct {
	List    []Route
	Codes   map[string]int // HTTP status of the rejections that only it makes; 422 if it is not here. Two meanings stop the start
	OpenAPI [][]byte       // its fragments of the API description (OpenAPI 3.1, YAML)
}

// Problem is a rejection that tells more than its code: what is added to the problem document (RFC 9457).
type Problem struct {
	Rejection
	Type   string         // URI; empty: urn:weft:problem:<code>
	Status int            // HTTP; 0: the code's
	More   map[string]any // further members
}

// Unwrap makes a Problem the rejection that it is.
func (p *Problem) Unwrap() error { return &p.Rejection }

// Route is one operation. A field left out means: not allowed. The zero Auth is no rule, and such a route is a start-up
// error. The node settles who calls, whether they may and how often, and reads the body, before Serve is called.
type Route struct {
	Method string // GET also answers HEAD
	Path   string // such as "/api/v1/notes/{id}"; "{rest...}" at the end takes all that follows, still escaped
	Auth   Auth
	Scope  string // that an API key or token needs, unless the route is open
	Rate   Rate

	Query    []string // parameters it knows
	AnyQuery bool     // it reads the raw query itself
	MaxBody  int      // bytes; 0: it takes no body
	MayLack  bool     // the body may be left out
	Types    []string // media types of the body; JSON if empty
	Gives    []string // media types of the answer, for which Accept is checked; empty: Serve looks at Accept itself

	// AnyOrigin lets web pages of every origin GET it.
	AnyOrigin bool

	// Serve answers. Path values are unescaped. An error made by Reject becomes a problem document; any other one is
	// logged and told as internal.
	Serve func(w http.ResponseWriter, r *http.Request) error
}

// Auth says who may call a route (api.md, section 2).
type Auth uint8

// The rules.
const (
	AuthNone     Auth = iota // no rule
	AuthOpen                 // anyone
	AuthRead                 // readers of the ledger: anyone where api.read is open
	AuthSubmit               // the body is a signed operation: anyone where api.submit is open
	AuthToken                // a key or token with the route's scope
	AuthAdmin                // a key or token with the scope admin
	AuthOperator             // the operator's door only
)

// String is the rule as the API's description has it.
func (a Auth) String() string {
	return [...]string{"none", "-", "R", "S", "T", "A", "O"}[a]
}

// Rate is what a call costs its caller.
type Rate uint8

// The classes.
const (
	RateRead Rate = iota
	RateWrite
	RateVerify
	RateAnonymous
	RateLogin
)

// The scopes of API keys and tokens.
const (
	ScopeLedgerRead       = "ledger:read"
	ScopeLedgerSubmit     = "ledger:submit"
	ScopeIdentitiesRead   = "identities:read"
	ScopeCredentialsIssue = "credentials:issue"
	ScopeChannelsRead     = "channels:read"
	ScopeChannelsManaged  = "channels:managed"
	ScopeAdmin            = "admin"
)

// Scopes are all there are.
func Scopes() []string {
	return []string{
		ScopeLedgerRead, ScopeLedgerSubmit, ScopeIdentitiesRead, ScopeCredentialsIssue, ScopeChannelsRead, ScopeChannelsManaged, ScopeAdmin,
	}
}

// Caller is who calls.
type Caller struct {
	ID       string // for limits: a key's id, a token's subject, or an address
	DID      string // with whose rights it reads; empty: nobody's
	Proved   bool   // the DID itself calls: it has logged in, or its keys are in this node. An API key with a DID proves nothing
	Roles    []string
	Scopes   []string
	Operator bool
	Loopback bool // called from this machine

	Expires time.Time   // of the token or key; zero: there is none
	Holds   func() bool // judges the credential anew, for answers without an end; nil: there is none
}

// May says whether the caller's rights reach.
func (c Caller) May(scope string) bool { return c.Operator || slices.Contains(c.Scopes, scope) }

// Is says whether the caller acts as a DID. Whoever only reads with a DID's rights does not.
func (c Caller) Is(did string) bool { return c.Proved && c.DID != "" && c.DID == did }

type callerKey struct{}

// WithCaller is for the node: it notes who calls.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerOf says who calls.
func CallerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}
