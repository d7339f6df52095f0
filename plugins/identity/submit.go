package identity

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/identity/status"
	"weft/plugins/identity/trust"
	"weft/tangle"
)

// submitQuery are the parameters of every route that takes a signed operation.
func submitQuery() []string { return []string{"wait", "timeout", "receipts"} }

// fits says whether an operation belongs on a route; an error refuses it.
type fits func(op plugins.Op, r *http.Request) error

// submitting makes the handler of a route that takes one signed operation of a kind: the body is the operation.
func (x *identity) submitting(kind tangle.Kind, fit fits) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		wait, err := readWait(r)
		if err != nil {
			return err
		}
		raw, err := readBody(r)
		if err != nil {
			return err
		}
		op, err := x.ledger.check(kind, raw)
		if err != nil {
			return err
		}
		if fit != nil {
			if err := fit(op, r); err != nil {
				return err
			}
		}
		s, err := x.submit(r.Context(), kind, op, raw)
		if err != nil {
			return err
		}
		if wait > 0 {
			x.await(r.Context(), &s, wait)
		}
		return x.answerState(w, r, s)
	}
}

// operationState is how far a signed operation has come here.
type operationState struct {
	kind    tangle.Kind
	op      plugins.Op // nil: only the hash is known
	hash    string
	entry   tangle.Hash
	message tangle.ID
	plugins.EntryState
}

// submit publishes an operation, or finds what became of it before: signed operations are idempotent by themselves.
func (x *identity) submit(ctx context.Context, kind tangle.Kind, op plugins.Op, raw []byte) (operationState, error) {
	hash := opHash(op)
	if s, ok := x.state(hash); ok && s.Code == "" { // a rejected one may be tried again: the reason can be gone
		s.op, s.kind = op, kind
		return s, nil
	}
	done, err := x.host.Submit(ctx, []plugins.Submission{{Kind: kind, Data: raw, Op: op}})
	if err != nil {
		return operationState{}, err
	}
	x.pending.add(hash, done.Entries[0], x.now())
	return operationState{
		kind: kind, op: op, hash: hash, entry: done.Entries[0], message: done.Message, EntryState: plugins.EntryState{Status: "pending"},
	}, nil
}

// state is what this node knows of an operation.
func (x *identity) state(hash string) (operationState, bool) {
	s := operationState{hash: hash}
	if o, ok := decisive(outcomes(x.host.View(), x.host.IndexView(), hash)); ok {
		s.kind, s.entry = o.Kind, o.Entry
	} else if entry, ok := x.pending.find(hash); ok {
		s.entry = entry
	} else {
		return s, false
	}
	x.look(&s)
	return s, true
}

// look reads how far the operation's entry has come.
func (x *identity) look(s *operationState) {
	if e, ok := x.host.Entry(s.entry); ok {
		s.EntryState, s.message = e, e.Message
	} else {
		s.Status = "pending"
	}
}

// await waits until the operation is final, or the time is over.
func (x *identity) await(ctx context.Context, s *operationState, wait time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	_ = x.host.WaitFinal(ctx, []tangle.Hash{s.entry}) // too late is no error: the state says pending
	x.look(s)
	if s.Code == "already_exists" || s.Code == "replayed" {
		x.adopt(s)
	}
}

// adopt finds the entry with which another node has carried the very same operation: it is one operation, and it counted.
func (x *identity) adopt(s *operationState) {
	o, ok := decisive(outcomes(x.host.View(), x.host.IndexView(), s.hash))
	if !ok || o.Code != "" || o.Entry == s.entry {
		return
	}
	own := *s
	s.entry = o.Entry
	if x.look(s); !s.Ordered() {
		*s = own
	}
}

// stateAnswer is the state of a signed operation (api.md, section 3).
type stateAnswer struct {
	Status    string      `json:"status"`
	Outcome   string      `json:"outcome,omitempty"`
	Code      string      `json:"code,omitempty"`
	OpHash    string      `json:"opHash"`
	EntryHash tangle.Hash `json:"entryHash"`
	MessageID tangle.ID   `json:"messageId"`
	Place     *placeView  `json:"place,omitempty"`
	Time      string      `json:"time,omitempty"`
	result                // where identity.md has it
	Result    *result     `json:"result,omitempty"` // and where api.md has it
	Receipt   string      `json:"receipt,omitempty"`
}

type placeView struct {
	Position tangle.Position `json:"position"`
	Index    int             `json:"index"`
}

// result is what an accepted operation made or changed.
type result struct {
	DID        string          `json:"did,omitempty"`
	VersionID  string          `json:"versionId,omitempty"`
	List       string          `json:"list,omitempty"`
	Federation string          `json:"federation,omitempty"`
	Grant      string          `json:"grant,omitempty"`
	Position   tangle.Position `json:"position,omitempty"`
}

func (x *identity) view(s operationState) stateAnswer {
	a := stateAnswer{Status: s.Status, OpHash: s.hash, EntryHash: s.entry, MessageID: s.message}
	if !s.Ordered() {
		return a
	}
	a.Place, a.Time, a.Outcome, a.Code = &placeView{s.Position, s.Index}, s.Time.String(), "accepted", s.Code
	if s.Code != "" {
		a.Outcome = "rejected"
		return a
	}
	a.result = x.resultOf(s)
	a.Result = &result{a.DID, a.VersionID, a.List, a.Federation, a.Grant, 0}
	a.Position = s.Position
	return a
}

func (x *identity) resultOf(s operationState) result {
	switch op := s.op.(type) {
	case *status.Operation:
		return result{List: listOf(op)}
	case *trust.Operation:
		return resultOfTrust(op)
	}
	if s.kind == KindDID {
		if v, ok := did.FindOperation(x.host.View(), s.hash); ok {
			return result{DID: v.DID.String(), VersionID: fmt.Sprintf("%d-%s", v.N, s.hash)}
		}
	}
	return result{}
}

// listOf is the status list that an operation is about; empty if it is about none.
func listOf(op *status.Operation) string {
	if op.Op == status.CreateList {
		return op.Envelope.Hash
	}
	return op.List
}

func resultOfTrust(op *trust.Operation) result {
	switch op.Op {
	case trust.CreateFederation:
		return result{Federation: op.Envelope.Hash}
	case trust.MakeGrant:
		return result{Federation: op.Grant.Federation, Grant: op.Envelope.Hash}
	case trust.Revoke:
		return result{Grant: op.Revoked}
	}
	return result{Federation: op.Federation}
}

// answerState is 202 while the operation is on its way, 201 if it made something that has an address now, 200 if it
// changed something; a final rejection is a problem with its proof.
func (x *identity) answerState(w http.ResponseWriter, r *http.Request, s operationState) error {
	a := x.view(s)
	final := s.Status == "final"
	if final && r.URL.Query().Get("receipts") != "false" {
		if proof, err := x.host.Receipt(s.entry); err == nil {
			a.Receipt = base64.RawURLEncoding.EncodeToString(proof)
		}
	}
	if final && s.Code != "" {
		return rejected(a)
	}
	code := http.StatusAccepted
	switch {
	case final && creates(s.op):
		code = http.StatusCreated
	case final:
		code = http.StatusOK
	}
	w.Header().Set("Location", "/api/v1/operations/"+s.hash)
	return answer(w, code, a)
}

// rejected is the problem of an operation that the ledger rejected at its place.
func rejected(a stateAnswer) error {
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

// creates says whether an operation makes something that has an address of its own.
func creates(op plugins.Op) bool {
	e := envelopeOf(op)
	return e != nil && slices.Contains([]string{did.OpCreate, "federation.create", "grant"}, e.Op)
}

// operation is GET /api/v1/operations/{opHash}.
func (x *identity) operation(w http.ResponseWriter, r *http.Request) error {
	hash := r.PathValue("opHash")
	s, ok := x.state(hash)
	if !ok {
		x.host.CatchUp(r.Context())
		if s, ok = x.state(hash); !ok {
			return plugins.Reject("unknown_operation", "no such operation has come to this node")
		}
	}
	return answer(w, http.StatusOK, x.view(s))
}

// pending remembers which entry holds an operation that has no place yet. It is forgotten with the process: then the same
// operation becomes a second entry, which the ledger rejects.
type pending struct {
	mu      sync.Mutex // guards entries
	entries map[string]pendingEntry
}

type pendingEntry struct {
	entry tangle.Hash
	since time.Time
}

// Bounds of what is remembered.
const (
	MaxPending  = 100_000
	pendingLife = 15 * time.Minute // longer than the horizon of a ledger that runs
)

func newPending() *pending { return &pending{entries: map[string]pendingEntry{}} }

func (p *pending) add(hash string, entry tangle.Hash, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.entries) < MaxPending {
		p.entries[hash] = pendingEntry{entry, now}
	}
}

func (p *pending) find(hash string) (tangle.Hash, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e, ok := p.entries[hash]
	return e.entry, ok
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
