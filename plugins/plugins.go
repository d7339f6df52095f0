// Package plugins is the contract between the node and what runs on it: a plugin is one value of type Plugin, and a node
// runs the plain list of them that its main package holds.
//
// The package contains no plugin, no registry and no machinery: package node hosts plugins, plugintest checks that one
// keeps the contract, and examples/ shows one in a single file.
package plugins

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"weft/tangle"
)

// Plugin is what a plugin adds to a node. A zero field means "not this".
//
// A plugin that owns Kinds is a ledger plugin: genesis names it, every node of the network runs it, and its state is part
// of what the committee signs. A plugin without Kinds is local: each node's own choice.
type Plugin struct {
	// Kinds are the entry kinds it owns. Two owners of one kind are a start-up error.
	Kinds []tangle.Kind

	// Check decodes an entry and verifies its signatures. It is stateless and deterministic (no clock, no configuration
	// but genesis), runs on several goroutines at once, and its result reaches Apply. An error made by Reject is the
	// entry's outcome when it is ordered.
	Check func(kind tangle.Kind, data []byte) (Op, error)

	// Admit says whether this node should publish the entry now. It is advice that answers a client early, with the code
	// that Apply would give; only Apply decides.
	Admit func(view View, op Op) error

	// Apply executes one ordered entry: deterministic, no clock, goroutine or randomness, nothing but state and entry.
	// An error made by Reject rolls this entry's writes back and becomes its outcome; any other error stops the node.
	Apply func(state State, entry Ordered) error

	// HTTP is what it serves.
	HTTP Routes

	// Run is background work until ctx ends.
	Run func(ctx context.Context) error
}

// Op is a decoded entry: whatever type the plugin's Check returns.
type Op any

// Maker names a plugin and opens it. cmd/weft holds the list; a member copies that file and adds a line.
type Maker struct {
	Name string
	Open func(Host) (Plugin, error)
}

// Host is what a node lends to a plugin while it runs.
type Host struct {
	Network tangle.ID
	Self    tangle.Member
	Genesis json.RawMessage // the plugin's section of genesis.json; nil if it has none
	Config  json.RawMessage // the plugin's section of node.json; nil if it has none
	Log     *slog.Logger

	// View reads the plugin's own durable state, as of the newest applied position.
	View func() View
	// Submit publishes entries under this member's signature; it returns their hashes when they are durable here.
	Submit func(ctx context.Context, entries []Submission) ([]tangle.Hash, error)
	// Facts returns figures about the node for metrics and dashboards, by name.
	Facts func() []Fact
}

// Submission is an entry before it has a salt and a place.
type Submission struct {
	Kind tangle.Kind
	Data []byte
}

// Fact is one figure about the node. Names are those of Prometheus, units in the name.
type Fact struct {
	Name    string
	Help    string
	Value   float64
	Counter bool   // only grows
	Label   string // "key=value" or empty
}

// View reads one plugin's key space as of one position.
type View interface {
	// Get returns the value of key, or nil. The caller must not change it.
	Get(key []byte) []byte
	// Scan visits the keys in [from, to) in ascending order until visit returns false; a nil to means no upper bound.
	Scan(from, to []byte, visit func(key, value []byte) bool)
}

// State is what Apply may read and write. Writes of a rejected entry never happened.
type State interface {
	View
	Set(key, value []byte)
	Delete(key []byte)
	// Peek reads the state of another ledger plugin as of this entry; nil if the network does not run it.
	Peek(plugin string) View
}

// Ordered is an entry at its place in the total order.
type Ordered struct {
	Kind     tangle.Kind
	Hash     tangle.Hash
	Data     []byte
	Op       Op // result of Check; an entry that Check refuses never reaches Apply
	Message  tangle.ID
	Author   tangle.Member
	Position tangle.Position
	Index    int
	Commit   uint64
	Time     tangle.Time // commit time
}

// Routes are the HTTP paths a plugin serves.
type Routes struct {
	Prefixes []string     // path prefixes it owns, such as "/metrics" or "/api/v1/notes"; two owners are a start-up error
	Handler  http.Handler // receives requests under those prefixes, after authentication
	OpenAPI  []byte       // its fragment of the API description (OpenAPI 3.1, YAML); may be nil
	Operator bool         // served on the operator's listener only
}

// Rejection is an entry's outcome when it breaks a rule: a stable code (lower snake case) and a sentence for people.
type Rejection struct {
	Code   string
	Detail string
}

func (r *Rejection) Error() string {
	if r.Detail == "" {
		return r.Code
	}
	return r.Code + ": " + r.Detail
}

// MaxCodeBytes bounds a rejection's code; it is stored with the entry.
const MaxCodeBytes = 40

// Reject makes the error that rejects an entry.
func Reject(code, format string, args ...any) error {
	return &Rejection{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// Rejected returns the rejection in err, or nil.
func Rejected(err error) *Rejection {
	var r *Rejection
	if errors.As(err, &r) {
		return r
	}
	return nil
}
