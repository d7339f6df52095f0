package rest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"sync"
	"time"

	"weft/plugins"
	"weft/tangle"
)

// Operations takes the signed operations of one plugin and tells what became of them. An operation is idempotent by its
// hash: the same one again, through whatever node, is the same operation. It is safe for concurrent use.
type Operations struct {
	host    plugins.Host
	now     func() time.Time
	rules   Rules
	pending pending
}

// Rules are what a plugin says of its operations.
type Rules struct {
	// Check and CheckAll are the plugin's.
	Check    func(kind tangle.Kind, data []byte) (plugins.Op, error)
	CheckAll func(entries []tangle.Entry) []plugins.Checked
	// Hash names an operation: its opHash.
	Hash func(op plugins.Op) string
	// Counted returns the entry with which an operation was accepted; ok is false if none was. It must be cheap.
	Counted func(hash string) (f Found, ok bool)
	// Find is Counted, or else the first entry, which was rejected.
	Find func(hash string) (f Found, ok bool)
	// Result is what an accepted operation made or changed, as a JSON object; op is nil if only its hash is known.
	Result func(kind tangle.Kind, hash string, op plugins.Op) map[string]any
	// Creates says whether an operation makes something that has an address of its own.
	Creates func(op plugins.Op) bool
}

// Found is an entry with an operation that has its place.
type Found struct {
	Kind  tangle.Kind
	Entry tangle.Hash
	Code  string // empty: accepted
}

// NewOperations takes operations on a host.
func NewOperations(h plugins.Host, now func() time.Time, r Rules) *Operations {
	return &Operations{host: h, now: now, rules: r, pending: pending{entries: map[string]pendingEntry{}}}
}

// SubmitQuery are the parameters of every route that takes a signed operation.
func SubmitQuery() []string { return []string{"wait", "timeout", "receipts"} }

// Fits says whether an operation belongs on a route; an error refuses it.
type Fits func(op plugins.Op, r *http.Request) error

// Submitting makes the handler of a route that takes one signed operation of a kind: the body is the operation.
func (o *Operations) Submitting(kind tangle.Kind, fit Fits) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		wait, err := ReadWait(r)
		if err != nil {
			return err
		}
		raw, err := ReadBody(r)
		if err != nil {
			return err
		}
		op, err := o.rules.Check(kind, raw)
		if err == nil && fit != nil {
			err = fit(op, r)
		}
		if err != nil {
			return err
		}
		s, err := o.Submit(r.Context(), kind, op, raw)
		if err != nil {
			return err
		}
		if wait > 0 {
			o.Await(r.Context(), &s, wait)
		}
		return o.Answer(w, r, s)
	}
}

// State is how far a signed operation has come here.
type State struct {
	Kind    tangle.Kind
	Op      plugins.Op // nil: only the hash is known
	Hash    string
	Entry   tangle.Hash
	Message tangle.ID
	plugins.EntryState
}

// Submit publishes an operation, or finds what became of it before.
func (o *Operations) Submit(ctx context.Context, kind tangle.Kind, op plugins.Op, raw []byte) (State, error) {
	hash := o.rules.Hash(op)
	if s, ok := o.before(hash); ok {
		s.Op, s.Kind = op, kind
		return s, nil
	}
	done, err := o.host.Submit(ctx, []plugins.Submission{{Kind: kind, Data: raw, Op: op}})
	if err != nil {
		return State{}, err
	}
	o.pending.add(hash, pendingEntry{done.Entries[0], done.Message, o.now()})
	return State{
		Kind: kind, Op: op, Hash: hash, Entry: done.Entries[0], Message: done.Message, EntryState: plugins.EntryState{Status: "pending"},
	}, nil
}

// before finds an operation that is on its way or has counted. A rejected one may be tried again: the reason can be gone.
func (o *Operations) before(hash string) (State, bool) {
	s := State{Hash: hash}
	if f, ok := o.rules.Counted(hash); ok {
		s.Entry = f.Entry
	} else if s.Entry, s.Message, ok = o.pending.find(hash); !ok {
		return s, false
	}
	o.look(&s)
	return s, s.Code == ""
}

// State is what this node knows of an operation.
func (o *Operations) State(hash string) (State, bool) {
	s := State{Hash: hash}
	if f, ok := o.rules.Find(hash); ok {
		s.Kind, s.Entry = f.Kind, f.Entry
	} else if s.Entry, s.Message, ok = o.pending.find(hash); !ok {
		return s, false
	}
	o.look(&s)
	return s, true
}

// look reads how far the operation's entry has come.
func (o *Operations) look(s *State) {
	e, ok := o.host.Entry(s.Entry, s.Message)
	if !ok {
		s.Status = "pending"
		return
	}
	s.EntryState, s.Message = e, e.Message
	if s.Ordered() {
		o.pending.forget(s.Hash, s.Entry) // the plugin's index knows it from now on
	}
}

// Await waits until the operation is final, or the time is over.
func (o *Operations) Await(ctx context.Context, s *State, wait time.Duration) {
	o.AwaitAll(ctx, []*State{s}, wait)
}

// adopt finds the entry with which another node has carried the very same operation: it is one operation, and it counted.
func (o *Operations) adopt(s *State) {
	f, ok := o.rules.Counted(s.Hash)
	if !ok || f.Entry == s.Entry {
		return
	}
	own := *s
	s.Entry, s.Message = f.Entry, tangle.ID{}
	if o.look(s); !s.Ordered() {
		*s = own
	}
}

// StateAnswer is the state of a signed operation (api.md, section 3). What it made or changed stands in Result, and beside
// it at the top.
type StateAnswer struct {
	Status    string         `json:"status"`
	Outcome   string         `json:"outcome,omitempty"`
	Code      string         `json:"code,omitempty"`
	OpHash    string         `json:"opHash"`
	EntryHash tangle.Hash    `json:"entryHash"`
	MessageID tangle.ID      `json:"messageId"`
	Place     *Place         `json:"place,omitempty"`
	Time      string         `json:"time,omitempty"`
	Result    map[string]any `json:"result,omitempty"`
	Receipt   string         `json:"receipt,omitempty"`
}

// Place is where an entry stands.
type Place struct {
	Position tangle.Position `json:"position"`
	Index    int             `json:"index"`
}

// MarshalJSON writes the result's members beside the others too.
func (a StateAnswer) MarshalJSON() ([]byte, error) {
	type plain StateAnswer
	own, err := json.Marshal(plain(a))
	if err != nil || len(a.Result) == 0 {
		return own, err
	}
	beside := maps.Clone(a.Result)
	if a.Place != nil {
		beside["position"] = a.Place.Position
	}
	more, err := json.Marshal(beside)
	if err != nil {
		return nil, err
	}
	return append(append(own[:len(own)-1], ','), more[1:]...), nil
}

// View is the answer for a state.
func (o *Operations) View(s State) StateAnswer {
	a := StateAnswer{Status: s.Status, OpHash: s.Hash, EntryHash: s.Entry, MessageID: s.Message}
	if !s.Ordered() {
		return a
	}
	a.Place, a.Time, a.Outcome, a.Code = &Place{s.Position, s.Index}, s.Time.String(), "accepted", s.Code
	if s.Code != "" {
		a.Outcome = "rejected"
		return a
	}
	a.Result = o.rules.Result(s.Kind, s.Hash, s.Op)
	return a
}

// Answer is 202 while the operation is on its way, 201 if it made something that has an address now, 200 if it changed
// something; a final rejection is a problem with its proof.
func (o *Operations) Answer(w http.ResponseWriter, r *http.Request, s State) error {
	a := o.View(s)
	final := s.Status == "final"
	if final && r.URL.Query().Get("receipts") != "false" {
		o.AddReceipt(&a)
	}
	if final && s.Code != "" {
		return Rejected(a)
	}
	code := http.StatusAccepted
	switch {
	case final && o.rules.Creates(s.Op):
		code = http.StatusCreated
	case final:
		code = http.StatusOK
	}
	w.Header().Set("Location", "/api/v1/operations/"+s.Hash)
	return Answer(w, code, a)
}

// AddReceipt adds the offline proof, if there is one yet.
func (o *Operations) AddReceipt(a *StateAnswer) {
	if proof, err := o.host.Receipt(a.EntryHash); err == nil {
		a.Receipt = base64.RawURLEncoding.EncodeToString(proof)
	}
}

// Rejected is the problem of an operation that the ledger rejected at its place.
func Rejected(a StateAnswer) error {
	more := map[string]any{
		"outcome": a.Outcome, "place": a.Place, "opHash": a.OpHash, "entryHash": a.EntryHash, "messageId": a.MessageID, "time": a.Time,
	}
	if a.Receipt != "" {
		more["receipt"] = a.Receipt
	}
	return &plugins.Problem{
		Rejection: plugins.Rejection{Code: a.Code, Detail: "the ledger rejected the operation at its place"}, More: more,
	}
}

// Look is a plugin's Operation: what GET /api/v1/operations/{opHash} asks.
func (o *Operations) Look(hash string) (any, bool) {
	s, ok := o.State(hash)
	if !ok {
		return nil, false
	}
	return o.View(s), true
}

// Expire forgets operations that must have their place by now.
func (o *Operations) Expire() { o.pending.expire(o.now()) }

// pending remembers which entry holds an operation that has no place yet. It is forgotten with the process: then the same
// operation becomes a second entry, which the ledger rejects.
type pending struct {
	mu      sync.Mutex // guards entries
	entries map[string]pendingEntry
}

type pendingEntry struct {
	entry   tangle.Hash
	message tangle.ID
	since   time.Time
}

// Bounds of what is remembered.
const (
	MaxPending  = 100_000
	pendingLife = 15 * time.Minute // longer than the horizon of a ledger that runs
)

func (p *pending) add(hash string, e pendingEntry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.entries) < MaxPending {
		p.entries[hash] = e
	}
}

func (p *pending) find(hash string) (tangle.Hash, tangle.ID, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e, ok := p.entries[hash]
	return e.entry, e.message, ok
}

// forget drops an entry, and not another one with the same operation.
func (p *pending) forget(hash string, entry tangle.Hash) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.entries[hash].entry == entry {
		delete(p.entries, hash)
	}
}

func (p *pending) expire(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for hash, e := range p.entries {
		if now.Sub(e.since) > pendingLife {
			delete(p.entries, hash)
		}
	}
}
