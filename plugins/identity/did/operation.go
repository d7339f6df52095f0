package did

import (
	"bytes"
	"fmt"
	"math"

	"weft/plugins"
	"weft/tangle"
)

// OperationType is the type of a DID's operations.
const OperationType = "weft/op/1"

// The operations of a DID.
const (
	OpCreate     = "create"
	OpUpdate     = "update"
	OpRecover    = "recover"
	OpDeactivate = "deactivate"
)

// Operation is an operation of which the form and the proofs are good (identity.md, sections 2.1 and 2.2). Whether its
// signers may do it is for Next.
type Operation struct {
	*Envelope
	DID      DID
	Seq      int    // 0 with Recovers
	Prev     string // opHash of the operation before; "" in create and with Recovers
	Recovers string // opHash of the operation that set the recovery set; "" in ordinary operations
	Params   Params // zero in deactivate
	Document Object // as in the operation: ids are relative; nil in deactivate
	Recovery *RecoverySet
}

// Params say who may change a DID, and what is said of it beside its document.
type Params struct {
	UpdateKeys          []string // multikeys
	Threshold           int      // 0 without update keys
	NextKeyHashes       []string
	Controllers         []string // did:weft
	ControllerThreshold int      // 0 without controllers
	SubjectType         string
	TTL                 int // seconds
	Compromised         []string
}

// Decode reads an operation. It looks at its arguments only; its codes are those of OpenEnvelope, and unknown_field,
// bad_value, too_large, bad_scid, bad_document.
func Decode(network tangle.ID, limits Limits, entry []byte) (*Operation, error) {
	return Verified(DecodeUnverified(network, limits, entry))
}

// DecodeUnverified is Decode without its last step, the signatures: VerifyAll takes those of many operations at once.
func DecodeUnverified(network tangle.ID, limits Limits, entry []byte) (*Operation, error) {
	op := &Operation{}
	_, err := ReadEnvelope(network, entry, EnvelopeRules{
		Type: OperationType, MaxBytes: limits.MaxOperation, MaxProofs: limits.MaxProofs, MaxDepth: limits.MaxNesting,
		Shape: func(e *Envelope) error {
			op.Envelope = e
			return op.check(network, limits)
		},
	})
	if err != nil {
		return nil, err
	}
	return op, nil
}

// decodeStored reads an accepted operation again. It was checked under the limits of its time, so only its form counts now.
func decodeStored(raw []byte) (*Operation, error) {
	body, err := DecodeObject(raw, JSONLimits{MaxBytes: math.MaxInt})
	if err != nil {
		return nil, fmt.Errorf("did: an operation of the log does not decode: %v", err) // no rejection: the state is damaged
	}
	delete(body, "proof")
	op := &Operation{Envelope: &Envelope{Body: body, Raw: raw}}
	if err := op.read(); err != nil {
		return nil, fmt.Errorf("did: an operation of the log does not decode: %v", err)
	}
	return op, nil
}

// check judges everything but the signatures.
func (op *Operation) check(network tangle.ID, l Limits) error {
	if err := op.read(); err != nil {
		return err
	}
	if op.DID.Network() != NetworkLabel(network) {
		return plugins.Reject("wrong_network", "%s is of another network", op.DID)
	}
	if op.Op == OpCreate {
		if err := op.checkSCID(); err != nil {
			return err
		}
	}
	if op.Op == OpDeactivate {
		return nil
	}
	if err := op.Params.check(op.DID, l); err != nil {
		return err
	}
	if err := op.Recovery.check(l); err != nil {
		return err
	}
	return checkDocument(op.Document, op.DID, l)
}

// read takes the members out of the body: exactly those that the operation has.
func (op *Operation) read() (err error) {
	f := &fields{object: op.Body, where: "operation", code: "bad_value"}
	op.Op = f.text("op")
	common := []string{"type", "op", "network", "did", "notAfter"}
	switch op.Op {
	case OpCreate:
		f.only(append(common, "seq", "nonce", "params", "doc", "recovery")...)
		op.Seq = f.integer("seq")
		f.within("seq", op.Seq, 1, 1)
		f.nonce()
	case OpUpdate:
		f.only(append(common, "seq", "prev", "params", "doc", "recovery")...)
		op.readPrev(f)
	case OpRecover:
		f.only(append(common, "recovers", "params", "doc", "recovery")...)
		op.Recovers = f.hash("recovers")
	case OpDeactivate:
		if f.has("recovers") {
			f.only(append(common, "recovers")...)
			op.Recovers = f.hash("recovers")
		} else {
			f.only(append(common, "seq", "prev")...)
			op.readPrev(f)
		}
	default:
		f.fault("op %.20q is unknown", op.Op)
	}
	if f.err == nil {
		op.DID, f.err = Parse(f.text("did"))
	}
	if op.Op == OpDeactivate || f.err != nil {
		return f.err
	}
	return op.readContent(f)
}

func (op *Operation) readPrev(f *fields) {
	op.Seq = f.integer("seq")
	f.within("seq", op.Seq, 2, math.MaxInt32)
	op.Prev = f.hash("prev")
}

func (op *Operation) readContent(f *fields) (err error) {
	p := f.inner("params", "bad_value")
	op.Params = readParams(p)
	d := f.inner("doc", "bad_document")
	op.Document = d.object
	if f.has("recovery") || op.Op == OpRecover {
		r := f.inner("recovery", "bad_value")
		r.only("keyHashes", "threshold")
		op.Recovery = &RecoverySet{r.texts("keyHashes"), r.integer("threshold")}
		f.err = firstError(f.err, r.err)
	}
	return firstError(p.err, f.err)
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *fields) hash(name string) string {
	s := f.text(name)
	if f.err == nil {
		f.err = checkMultihash(s)
	}
	return s
}

// NonceBytes is the length of the nonce of create, which keeps two products with equal documents apart.
const NonceBytes = 16

func (f *fields) nonce() {
	if b, err := parseBase64url(f.text("nonce")); err != nil || len(b) != NonceBytes {
		f.fault("nonce is not %d bytes in base64url", NonceBytes)
	}
}

func readParams(f *fields) (p Params) {
	f.only("updateKeys", "threshold", "nextKeyHashes", "controllers", "controllerThreshold", "subjectType", "ttl", "compromised")
	p.UpdateKeys, p.NextKeyHashes, p.TTL = f.texts("updateKeys"), f.texts("nextKeyHashes"), DefaultTTL
	if f.has("threshold") == (len(p.UpdateKeys) == 0) {
		f.fault("threshold stands with update keys and only with them")
	}
	if len(p.UpdateKeys) > 0 {
		p.Threshold = f.integer("threshold")
	}
	if f.has("controllers") {
		p.Controllers = f.texts("controllers")
	}
	if f.has("controllerThreshold") == (len(p.Controllers) == 0) {
		f.fault("controllerThreshold stands with controllers and only with them")
	}
	if len(p.Controllers) > 0 {
		p.ControllerThreshold = f.integer("controllerThreshold")
	}
	if f.has("subjectType") {
		p.SubjectType = f.text("subjectType")
	}
	if f.has("ttl") {
		p.TTL = f.integer("ttl")
	}
	if f.has("compromised") {
		p.Compromised = f.texts("compromised")
	}
	return p
}

// check holds the rules of 2.1 for params.
func (p Params) check(self DID, l Limits) error {
	f := &fields{where: "params", code: "bad_value"}
	f.atMost("updateKeys", len(p.UpdateKeys), l.MaxUpdateKeys)
	f.atMost("nextKeyHashes", len(p.NextKeyHashes), l.MaxNextKeys)
	f.atMost("controllers", len(p.Controllers), l.MaxControllers)
	f.within("ttl", p.TTL, 0, l.MaxTTL)
	switch {
	case len(p.UpdateKeys) > 0 && len(p.NextKeyHashes) > 0:
		f.within("threshold", p.Threshold, 1, min(len(p.UpdateKeys), len(p.NextKeyHashes)))
	case len(p.UpdateKeys) > 0:
		f.within("threshold", p.Threshold, 1, len(p.UpdateKeys))
	case len(p.Controllers) == 0:
		f.fault("neither update keys nor controllers: nobody could change the DID")
	case len(p.NextKeyHashes) > 0:
		f.fault("nextKeyHashes without update keys")
	}
	if len(p.Controllers) > 0 {
		f.within("controllerThreshold", p.ControllerThreshold, 1, len(p.Controllers))
	}
	if p.SubjectType != "" && !isName(p.SubjectType, MaxSubjectType) {
		f.fault("subjectType %.70q", p.SubjectType)
	}
	if f.err != nil {
		return f.err
	}
	return firstError(p.checkKeys(), p.checkControllers(self))
}

func (p Params) checkKeys() error {
	for _, s := range p.UpdateKeys {
		if key, err := ParseMultikey(s); err != nil || key.Type != Ed25519 {
			return plugins.Reject("bad_value", "update key %.60q is not an Ed25519 multikey", s)
		}
	}
	for _, s := range p.NextKeyHashes {
		if err := checkMultihash(s); err != nil {
			return err
		}
	}
	for _, s := range p.Compromised {
		if _, err := ParseMultikey(s); err != nil {
			return err
		}
	}
	return nil
}

func (p Params) checkControllers(self DID) error {
	for _, s := range p.Controllers {
		d, err := Parse(s)
		if err != nil {
			return err
		}
		if d.Network() != self.Network() || d == self {
			return plugins.Reject("bad_value", "controller %s is the DID itself or of another network", s)
		}
	}
	return nil
}

// check holds the rules for a recovery set; nil is none.
func (r *RecoverySet) check(l Limits) error {
	if r == nil {
		return nil
	}
	f := &fields{where: "recovery", code: "bad_value"}
	f.atMost("keyHashes", len(r.KeyHashes), l.MaxRecoveryKeys)
	f.within("threshold", r.Threshold, 1, len(r.KeyHashes))
	for _, s := range r.KeyHashes {
		f.err = firstError(f.err, checkMultihash(s))
	}
	return f.err
}

// placeholder stands for the scid where the scid is computed.
const placeholder = "{SCID}"

// checkSCID recomputes the scid. "did" is the first member of a create in canonical order, so the DID's text is replaced in
// the bytes that are signed instead of writing them again.
func (op *Operation) checkSCID() error {
	before := []byte(`{"did":"` + op.DID.text + `"`)
	rest, ok := bytes.CutPrefix(op.signed, before)
	if !ok {
		return plugins.Reject("bad_scid", "the operation does not begin with its DID")
	}
	text := append([]byte(`{"did":"`+methodPrefix+op.DID.Network()+":"+placeholder+`"`), rest...)
	if want := Multihash(text); want != op.DID.SCID() {
		return plugins.Reject("bad_scid", "the scid of this operation is %s", want)
	}
	return nil
}

// isName says whether s has 1 to limit letters, digits, dots, hyphens and underscores.
func isName(s string, limit int) bool {
	for _, c := range []byte(s) {
		if !isAlphanumeric(c) && c != '.' && c != '-' && c != '_' {
			return false
		}
	}
	return s != "" && len(s) <= limit
}
