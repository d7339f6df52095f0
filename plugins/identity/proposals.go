package identity

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/identity/status"
	"weft/plugins/identity/trust"
	"weft/plugins/rest"
	"weft/tangle"
)

// proposalLife is how long a proposal waits for its signers; then it is erased.
const proposalLife = 30 * 24 * time.Hour

// MaxProofValue bounds the text of a signature.
const MaxProofValue = 100

// proposal is an operation on its way through several hands. Whoever logs in and knows its id, which is random, may read it
// and add a proof; nothing else can be done to it.
type proposal struct {
	Kind       tangle.Kind       `json:"kind"`
	Body       json.RawMessage   `json:"body"` // canonical, without proofs
	OpHash     string            `json:"opHash"`
	Signatures map[string][]byte `json:"signatures"` // by multikey
}

// proposals changes proposals one after the other, so that no proof is lost.
type proposals struct {
	*identity
	mu sync.Mutex // guards the records of proposals
}

func (x *identity) proposalRoutes() []plugins.Route {
	p := &proposals{identity: x}
	scope := plugins.ScopeIdentitiesRead
	return []plugins.Route{
		rest.WithBody(rest.Token(http.MethodPost, "/proposals", scope, p.propose), rest.MaxOperationBody),
		rest.WithBody(rest.Token(http.MethodPost, "/proposals/{id}/proofs", scope, p.addProof), rest.MaxBody),
		rest.Token(http.MethodGet, "/proposals/{id}", scope, p.read),
	}
}

// propose is POST /api/v1/proposals. The operation comes with the proofs that it has, or with none.
func (p *proposals) propose(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Operation json.RawMessage `json:"operation"`
	}
	if err := rest.Read(r, &body); err != nil {
		return err
	}
	one, err := p.parse(body.Operation)
	if err != nil {
		return err
	}
	owner := plugins.CallerOf(r.Context()).ID
	if err := p.records.mayOpen(sortProposal, owner); err != nil {
		return err
	}
	if _, err := p.judge(one); err != nil {
		return err
	}
	id := newID()
	if err := p.records.put(sortProposal, id, owner, p.now().Add(proposalLife), one); err != nil {
		return err
	}
	w.Header().Set("Location", v1+"/proposals/"+id)
	return p.settle(w, r, http.StatusCreated, id)
}

// newID is a random name that nobody guesses.
func newID() string {
	b := make([]byte, 16)
	rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// parse takes an operation apart, and verifies each proof by itself.
func (x *identity) parse(raw json.RawMessage) (one proposal, err error) {
	o, err := did.DecodeObject(raw, did.JSONLimits{MaxBytes: rest.MaxOperationBody})
	if err != nil {
		return one, err
	}
	proofs, isList := o["proof"].([]any)
	if o["proof"] != nil && !isList {
		return one, plugins.Reject("bad_value", "proof: want a list")
	}
	delete(o, "proof")
	one.Signatures = map[string][]byte{}
	if one.Kind, err = kindOf(o); err != nil {
		return one, err
	}
	if one.Body, err = did.Canonical(o); err != nil {
		return one, err
	}
	if one.OpHash, err = did.OpHash(o); err != nil {
		return one, err
	}
	for _, v := range proofs {
		proof, _ := v.(did.Object)
		if err := x.addTo(&one, proof); err != nil {
			return one, err
		}
	}
	return one, nil
}

// kindOf is the entry kind of an operation.
func kindOf(body did.Object) (tangle.Kind, error) {
	switch body["type"] {
	case did.OperationType:
		return KindDID, nil
	case status.Type:
		return KindStatus, nil
	case trust.Type:
		return KindTrust, nil
	}
	return 0, plugins.Reject("bad_value", "operation.type is none of this plugin")
}

// addTo verifies a proof and keeps its signature.
func (x *identity) addTo(one *proposal, proof did.Object) error {
	method, _ := proof["verificationMethod"].(string)
	value, _ := proof["proofValue"].(string)
	_, multikey, _ := strings.Cut(method, "#")
	body, err := did.DecodeObject(one.Body, did.JSONLimits{})
	if err != nil {
		return err
	}
	t, err := did.Prepare(body, multikey)
	if err != nil {
		return plugins.Reject("bad_value", "proof.verificationMethod: %s", detailOf(err))
	}
	without := maps.Clone(proof)
	delete(without, "proofValue")
	if !reflect.DeepEqual(map[string]any(without), map[string]any(t.Proof)) {
		return plugins.Reject("bad_value", "proof: want type, cryptosuite, verificationMethod, proofPurpose and proofValue as identity operations have them")
	}
	text, based := strings.CutPrefix(value, "z")
	if !based || len(text) > MaxProofValue {
		return plugins.Reject("bad_value", "proof.proofValue: want z and base58")
	}
	signature, err := did.ParseBase58(text)
	if err != nil {
		return err
	}
	raw, err := did.Attach(body, map[string][]byte{multikey: signature})
	if err != nil {
		return err
	}
	if _, err := x.ledger.check(one.Kind, raw); err != nil {
		return err
	}
	one.Signatures[multikey] = signature
	return nil
}

// verdict is how far a proposal has come.
type verdict struct {
	op      plugins.Op // with the signatures there are; nil: none
	raw     []byte
	missing int // proofs, at least; 0: complete
}

// judge asks what the ledger would say now. What only lacks signatures is open; everything else is its refusal.
func (x *identity) judge(one proposal) (v verdict, err error) {
	body, err := did.DecodeObject(one.Body, did.JSONLimits{})
	if err != nil {
		return v, err
	}
	var asked plugins.Op
	if len(one.Signatures) > 0 {
		if v.raw, err = did.Attach(body, one.Signatures); err != nil {
			return v, err
		}
		v.op, err = x.ledger.check(one.Kind, v.raw)
		asked = v.op
	} else {
		asked, err = x.unsigned(one.Kind, body)
	}
	if err != nil {
		return v, err
	}
	err = x.ledger.admit(x.host.Self, x.now)(x.host.View(), asked)
	switch r := plugins.Rejected(err); {
	case err == nil && v.op != nil:
		return v, nil
	case r != nil && slices.Contains([]string{"threshold", "consent_missing", "not_entitled"}, r.Code), err == nil:
		v.missing = x.missing(asked)
		return v, nil
	}
	return v, err
}

// unsigned is an operation that nobody has signed, for the ledger to judge.
func (x *identity) unsigned(kind tangle.Kind, body did.Object) (plugins.Op, error) {
	if kind != KindDID {
		return nil, plugins.Reject("bad_value", "operation.proof: begin with one proof")
	}
	return plugins.OpOf(x.decodeUnsigned(body))
}

// missing counts the proofs that an operation lacks by the DID's own rule and of controllers that it newly names. Where
// other rules apply it is 1: not yet.
func (x *identity) missing(o plugins.Op) int {
	op, ok := o.(*did.Operation)
	if !ok {
		return 1
	}
	head, _, err := did.ReadHead(x.host.View(), op.DID)
	if err != nil {
		return 1
	}
	keys, hashed, threshold := head.UpdateKeys, false, head.Threshold
	switch {
	case op.Op == did.OpCreate:
		keys, threshold = op.Params.UpdateKeys, op.Params.Threshold
	case op.Recovers != "" && head.Recovery != nil:
		keys, hashed, threshold = head.Recovery.KeyHashes, true, head.Recovery.Threshold
	case len(head.NextKeyHashes) > 0:
		keys, hashed = head.NextKeyHashes, true
	}
	n := max(0, threshold-signedBy(op.Signers, keys, hashed))
	for _, c := range op.Params.Controllers {
		if d, err := did.Parse(c); err == nil && !slices.Contains(head.Controllers, c) {
			owner, _, _ := did.ReadHead(x.host.View(), d)
			n += max(0, owner.Threshold-signedBy(op.Signers, owner.UpdateKeys, false))
		}
	}
	return max(1, n)
}

// signedBy counts the signers among keys, or among hashes of keys.
func signedBy(signers, keys []string, hashed bool) (n int) {
	for _, s := range signers {
		if hashed {
			s = did.KeyHash(s)
		}
		if slices.Contains(keys, s) {
			n++
		}
	}
	return n
}

// addProof is POST /api/v1/proposals/{id}/proofs.
func (p *proposals) addProof(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Proof json.RawMessage `json:"proof"`
	}
	if err := rest.Read(r, &body); err != nil {
		return err
	}
	proof, err := did.DecodeObject(body.Proof, did.JSONLimits{MaxBytes: rest.MaxBody})
	if err != nil {
		return plugins.Reject("bad_value", "proof: %s", detailOf(err))
	}
	id := r.PathValue("id")
	if err := p.keep(id, proof); err != nil {
		return err
	}
	return p.settle(w, r, http.StatusOK, id)
}

// keep adds a proof to a record.
func (p *proposals) keep(id string, proof did.Object) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	rec, one, err := p.load(id)
	if err != nil {
		return err
	}
	if err := p.addTo(&one, proof); err != nil {
		return err
	}
	return p.records.put(sortProposal, id, rec.Owner, rec.Expires, one)
}

func (x *identity) load(id string) (rec record, one proposal, err error) {
	rec, found, err := x.records.read(sortProposal, id)
	if err != nil {
		return rec, one, err
	}
	if !found {
		return rec, one, plugins.Reject("not_found", "no such proposal, or it is over")
	}
	return rec, one, json.Unmarshal(rec.Value, &one)
}

func (p *proposals) read(w http.ResponseWriter, r *http.Request) error {
	a, _, err := p.show(r.PathValue("id"))
	if err != nil {
		return err
	}
	rest.NoStore(w)
	return rest.Answer(w, http.StatusOK, a)
}

// settle publishes a proposal that is complete, and shows it.
func (p *proposals) settle(w http.ResponseWriter, r *http.Request, code int, id string) error {
	a, v, err := p.show(id)
	if err != nil {
		return err
	}
	if a.Status == proposalOpen && a.Missing == 0 && v.op != nil {
		_, one, err := p.load(id)
		if err != nil {
			return err
		}
		if _, err := p.operations.Submit(r.Context(), one.Kind, v.op, v.raw); err != nil {
			return err
		}
		if a, _, err = p.show(id); err != nil {
			return err
		}
	}
	rest.NoStore(w)
	return rest.Answer(w, code, a)
}

// The states of a proposal. What became of a published one is told by GET /api/v1/operations/{opHash}.
const (
	proposalOpen      = "open"
	proposalPublished = "published"
	proposalRefused   = "refused" // the ledger would not take it any more
)

// proposalView is a proposal as its signers see it.
type proposalView struct {
	ID        string          `json:"id"`
	Status    string          `json:"status"`
	Code      string          `json:"code,omitempty"` // why it is refused
	Operation json.RawMessage `json:"operation"`      // with the proofs that it has
	OpHash    string          `json:"opHash"`
	Signers   []string        `json:"signers"`
	Missing   int             `json:"missing"`
	ExpiresAt string          `json:"expiresAt"`
}

func (x *identity) show(id string) (a proposalView, v verdict, err error) {
	rec, one, err := x.load(id)
	if err != nil {
		return a, v, err
	}
	a = proposalView{
		ID: id, Status: proposalOpen, Operation: one.Body, OpHash: one.OpHash, Signers: []string{}, ExpiresAt: rec.Expires.UTC().Format(time.RFC3339),
	}
	a.Signers = append(a.Signers, slices.Sorted(maps.Keys(one.Signatures))...)
	if s, known := x.operations.State(one.OpHash); known && s.Code == "" {
		a.Status = proposalPublished
	} else if v, err = x.judge(one); err != nil {
		r := plugins.Rejected(err)
		if r == nil {
			return a, v, err
		}
		a.Status, a.Code = proposalRefused, r.Code
	}
	if a.Missing = v.missing; len(one.Signatures) > 0 {
		body, err := did.DecodeObject(one.Body, did.JSONLimits{})
		if err != nil {
			return a, v, err
		}
		if a.Operation, err = did.Attach(body, one.Signatures); err != nil {
			return a, v, err
		}
	}
	return a, v, nil
}
