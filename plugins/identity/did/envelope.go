package did

import (
	"crypto/ed25519"
	"crypto/sha256"
	"maps"
	"slices"
	"strings"
	"time"

	"weft/internal/zip215"
	"weft/plugins"
	"weft/tangle"
)

// EnvelopeRules are what one type of signed operation asks of its envelope.
type EnvelopeRules struct {
	Type      string // the member "type"
	MaxBytes  int
	MaxProofs int
	MaxDepth  int
	Purpose   Relationship // of the proofs; "": CapabilityInvocation

	// Codes of a type that is not Type, and of proofs that are none of ours by their form; "": bad_value.
	TypeCode, ProofCode string

	// Shape refuses an operation by its members before its signatures are verified, which costs most; nil: nothing.
	// Signers are set, but what they signed is not yet known to be this.
	Shape func(*Envelope) error
}

// Envelope is a signed operation of which the form and the proofs are good. What it asks for is not judged.
type Envelope struct {
	Body     Object // without "proof"; nil after CheckAll
	Op       string
	Hash     string      // opHash: the Multihash of the canonical body
	NotAfter tangle.Time // 0: no end
	Signers  []string    // multikeys of the proofs, ascending and distinct
	Raw      []byte

	signed []byte // canonical body
	sum    [sha256.Size]byte
	proofs []proof
}

// OpenEnvelope reads a signed operation: canonical bytes (RFC 8785) with integers only and no null, the type, the network,
// and proofs of sound Ed25519 keys that verify under ZIP-215. It depends on nothing but its arguments. The codes, in the
// order in which they are found: too_large, not_canonical; unknown_field and bad_value (in a proof); bad_value,
// wrong_network; those of Shape; bad_signature.
func OpenEnvelope(network tangle.ID, raw []byte, rules EnvelopeRules) (*Envelope, error) {
	e, err := ReadEnvelope(network, raw, rules)
	if err == nil {
		err = e.Verify()
	}
	if err != nil {
		return nil, err
	}
	return e, nil
}

// ReadEnvelope is OpenEnvelope without its last step, which costs most: nobody has signed the envelope until Verify or
// VerifyAll says so.
func ReadEnvelope(network tangle.ID, raw []byte, rules EnvelopeRules) (*Envelope, error) {
	whole, signed, err := decodeCanonical(raw, JSONLimits{rules.MaxBytes, rules.MaxDepth})
	if err != nil {
		return nil, err
	}
	proofs, err := readProofs(whole["proof"], rules.MaxProofs, rules.purpose())
	if err != nil {
		return nil, recode(err, rules.ProofCode)
	}
	delete(whole, "proof")
	sum := sha256.Sum256(signed)
	e := &Envelope{Body: whole, Hash: MultihashOf(sum), Raw: raw, signed: signed, sum: sum, proofs: proofs}
	for _, p := range proofs {
		e.Signers = append(e.Signers, p.multikey)
	}
	if err := e.readHeader(network, rules); err != nil {
		return nil, err
	}
	if rules.Shape != nil {
		if err := rules.Shape(e); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// Verify verifies the proofs of an envelope that ReadEnvelope has read.
func (e *Envelope) Verify() error { return VerifyAll([]*Envelope{e})[0] }

// Inside is the envelope of what embeds one.
func (e *Envelope) Inside() *Envelope { return e }

// Sum is the SHA-256 of the canonical body, which Hash names.
func (e *Envelope) Sum() [sha256.Size]byte { return e.sum }

// Left is the envelope of an operation of which no more is left than op and Sum: it has no body, and no proof that verifies.
func Left(op string, sum [sha256.Size]byte) *Envelope {
	return &Envelope{Op: op, Hash: MultihashOf(sum), sum: sum}
}

// Enveloped is a decoded operation: each embeds its envelope.
type Enveloped interface{ Inside() *Envelope }

// Verified is the last step of decoding: an operation of which the form is good, if its signatures are.
func Verified[T Enveloped](op T, err error) (T, error) {
	if err == nil {
		err = op.Inside().Verify()
	}
	if err != nil {
		return *new(T), err
	}
	return op, nil
}

// CheckAll is that of ledger plugins whose entries are operations: read decodes one without its signatures, and those of all
// are verified together. The operations come without their bodies as they were parsed: a node that is behind keeps what was
// checked until its turn, and a parsed body takes three times the room of its bytes.
func CheckAll(list []tangle.Entry, read func(kind tangle.Kind, data []byte) (plugins.Op, error)) []plugins.Checked {
	out, envelopes := make([]plugins.Checked, len(list)), make([]*Envelope, len(list))
	for i, e := range list {
		if out[i].Op, out[i].Err = read(e.Kind, e.Data); out[i].Err == nil {
			envelopes[i] = out[i].Op.(Enveloped).Inside()
		}
	}
	for i, err := range VerifyAll(envelopes) {
		switch {
		case err != nil:
			out[i] = plugins.Checked{Err: err}
		case envelopes[i] != nil:
			envelopes[i].forgetBody()
		}
	}
	return out
}

// forgetBody leaves what was read of the body, and drops what it was read from.
func (e *Envelope) forgetBody() { e.Body, e.signed, e.proofs = nil, nil, nil }

// VerifyAll verifies the proofs of many envelopes at once, which costs about half of one by one; nil ones have none. There
// is one error for each.
func VerifyAll(list []*Envelope) []error {
	errs := make([]error, len(list))
	type source struct{ envelope, proof int }
	var items []zip215.Item
	var of []source
	for i, e := range list {
		if e == nil {
			continue
		}
		if len(e.proofs) == 0 { // ReadEnvelope has not read it
			errs[i] = plugins.Reject("bad_signature", "an operation without proofs")
		}
		for n, p := range e.proofs {
			input, err := hashData(p.options, e.sum)
			if err != nil {
				errs[i] = err
				break
			}
			items, of = append(items, zip215.Item{Member: p.member, Input: input, Signature: p.signature}), append(of, source{i, n})
		}
	}
	for k, good := range zip215.VerifyAllOnce(items) {
		if from := of[k]; !good && errs[from.envelope] == nil {
			key := list[from.envelope].proofs[from.proof].multikey
			errs[from.envelope] = plugins.Reject("bad_signature", "the proof of %s does not verify, or its key is not sound", key)
		}
	}
	return errs
}

func (r EnvelopeRules) purpose() Relationship {
	if r.Purpose == "" {
		return CapabilityInvocation
	}
	return r.Purpose
}

// recode gives faults in proofs the code that the rules name, but for members that nobody knows.
func recode(err error, code string) error {
	if r := plugins.Rejected(err); r != nil && code != "" && r.Code != "unknown_field" {
		return plugins.Reject(code, "%s", r.Detail)
	}
	return err
}

// decodeCanonical reads an object, refuses every text of it but the canonical one, and returns also that text without the
// proof, which is what is signed.
func decodeCanonical(raw []byte, l JSONLimits) (whole Object, signed []byte, err error) {
	p := parser{integers: true}
	v, err := p.parse(raw, l)
	if r := plugins.Rejected(err); r != nil && r.Code == "bad_json" {
		return nil, nil, plugins.Reject("not_canonical", "%s", r.Detail)
	}
	if err != nil {
		return nil, nil, err
	}
	whole, ok := v.(Object)
	if !ok || len(whole) == 0 {
		return nil, nil, plugins.Reject("not_canonical", "not an object with members")
	}
	switch {
	case p.loose:
		return nil, nil, plugins.Reject("not_canonical", "not the text that RFC 8785 makes of it")
	case p.null:
		return nil, nil, plugins.Reject("bad_value", "a null")
	}
	return whole, withoutProof(raw, p.proof), nil
}

// withoutProof is a canonical object without its member "proof", and without one of the commas beside it.
func withoutProof(raw []byte, proof [2]int) []byte {
	from, to := proof[0], proof[1]
	switch {
	case to == 0:
		return raw
	case raw[to] == ',':
		to++
	case raw[from-1] == ',':
		from--
	}
	return slices.Concat(raw[:from], raw[to:])
}

// readHeader checks the members that all signed operations share.
func (e *Envelope) readHeader(network tangle.ID, rules EnvelopeRules) (err error) {
	if e.Body["type"] != rules.Type {
		return recode(plugins.Reject("bad_value", "type is not %s", rules.Type), rules.TypeCode)
	}
	text, _ := e.Body["network"].(string)
	named, err := tangle.ParseID(text)
	if err != nil {
		return plugins.Reject("bad_value", "network: %v", err)
	}
	if named != network {
		return plugins.Reject("wrong_network", "this network is %s", network)
	}
	if e.Op, _ = e.Body["op"].(string); e.Op == "" {
		return plugins.Reject("bad_value", "op is missing or not a text")
	}
	if v, there := e.Body["notAfter"]; there {
		e.NotAfter, err = parseTime(v)
	}
	return err
}

// timeLayout is RFC 3339 in UTC with whole seconds, the one form of times inside operations and documents.
const timeLayout = "2006-01-02T15:04:05Z"

// ParseTime reads a time as operations and documents hold it: RFC 3339, UTC as Z, whole seconds, from 1970 on.
func ParseTime(s string) (tangle.Time, error) {
	t, err := time.Parse(timeLayout, s)
	if err != nil || t.Format(timeLayout) != s || t.Unix() <= 0 {
		return 0, plugins.Reject("bad_value", "%.40q is not a time such as 2026-12-01T00:00:00Z", s)
	}
	return tangle.TimeOf(t), nil
}

// FormatTime is t floored to seconds in the form of ParseTime.
func FormatTime(t tangle.Time) string { return t.Std().Format(timeLayout) }

func parseTime(v any) (tangle.Time, error) {
	s, _ := v.(string)
	return ParseTime(s)
}

// proof is one proof of an operation.
type proof struct {
	multikey  string
	member    tangle.Member // the key's bytes
	options   Object        // the proof without proofValue
	signature tangle.Signature
}

func readProofs(v any, limit int, purpose Relationship) ([]proof, error) {
	list, ok := v.([]any)
	switch {
	case !ok || len(list) == 0:
		return nil, plugins.Reject("bad_value", "proof is not a list with members")
	case len(list) > limit:
		return nil, plugins.Reject("too_large", "%d proofs, at most %d are allowed", len(list), limit)
	}
	proofs := make([]proof, len(list))
	for i, item := range list {
		p, err := readProof(item, purpose)
		if err != nil {
			return nil, err
		}
		if i > 0 && proofs[i-1].multikey >= p.multikey {
			return nil, plugins.Reject("bad_value", "proofs are not in strictly ascending order of verificationMethod")
		}
		proofs[i] = p
	}
	return proofs, nil
}

// readProof takes exactly the five members, so that whoever relays an operation cannot hide anything in it.
func readProof(v any, purpose Relationship) (p proof, err error) {
	o, ok := v.(Object)
	if !ok {
		return p, plugins.Reject("bad_value", "a proof is not an object")
	}
	for _, name := range sortedNames(o) {
		if !slices.Contains([]string{"type", "cryptosuite", "verificationMethod", "proofPurpose", "proofValue"}, name) {
			return p, plugins.Reject("unknown_field", "proof member %.40q", name)
		}
	}
	method, _ := o["verificationMethod"].(string)
	p.multikey = strings.TrimPrefix(method, didKeyPrefix)
	p.multikey, _, _ = strings.Cut(p.multikey, "#")
	p.options = proofOptions(p.multikey, purpose)
	for name, want := range p.options {
		if o[name] != want {
			return p, plugins.Reject("bad_value", "a proof is not an eddsa-jcs-2022 proof for %s by a did:key", purpose)
		}
	}
	value, _ := o["proofValue"].(string)
	if p.signature, err = parseSignature(value); err != nil {
		return p, err
	}
	key, err := ParseMultikey(p.multikey)
	if err != nil || key.Type != Ed25519 {
		return p, plugins.Reject("bad_value", "a proof's key is not an Ed25519 key")
	}
	p.member = tangle.Member(key.Bytes)
	return p, nil
}

// didKeyPrefix begins the name of every did:key.
const didKeyPrefix = "did:key:"

// proofOptions is a proof without its value.
func proofOptions(multikey string, purpose Relationship) Object {
	return Object{
		"type": "DataIntegrityProof", "cryptosuite": "eddsa-jcs-2022", "proofPurpose": string(purpose),
		"verificationMethod": didKeyPrefix + multikey + "#" + multikey,
	}
}

// maxSignatureText is the longest base58btc form of 64 bytes, with its "z".
const maxSignatureText = 89

func parseSignature(s string) (tangle.Signature, error) {
	text, found := strings.CutPrefix(s, "z")
	if found && len(s) <= maxSignatureText {
		if b, err := ParseBase58(text); err == nil && len(b) == len(tangle.Signature{}) {
			return tangle.Signature(b), nil
		}
	}
	return tangle.Signature{}, plugins.Reject("bad_value", "proofValue is not a signature of 64 bytes in base58btc")
}

// hashData is what eddsa-jcs-2022 signs: 64 bytes.
func hashData(options Object, body [sha256.Size]byte) ([]byte, error) {
	text, err := Canonical(options)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(text)
	return slices.Concat(sum[:], body[:]), nil
}

// ToSign is what one signer signs: HashData, 64 bytes, with plain Ed25519. Proof is the proof without proofValue.
type ToSign struct {
	Proof    Object
	HashData []byte
}

// Prepare makes the proof that a signer adds to a body without proofs, for capabilityInvocation.
func Prepare(body Object, multikey string) (ToSign, error) {
	return CapabilityInvocation.Prepare(body, multikey)
}

// Prepare makes a proof for this purpose.
func (r Relationship) Prepare(body Object, multikey string) (ToSign, error) {
	key, err := ParseMultikey(multikey)
	if err != nil {
		return ToSign{}, err
	}
	if key.Type != Ed25519 {
		return ToSign{}, plugins.Reject("bad_value", "operations are signed with Ed25519, not %s", key.Type)
	}
	sum, err := bodySum(body)
	if err != nil {
		return ToSign{}, err
	}
	options := proofOptions(multikey, r)
	data, err := hashData(options, sum)
	return ToSign{options, data}, err
}

// Attach makes the entry out of a body and signatures by multikey. It does not verify them.
func Attach(body Object, signatures map[string][]byte) ([]byte, error) {
	return CapabilityInvocation.Attach(body, signatures)
}

// Attach makes an entry with proofs for this purpose.
func (r Relationship) Attach(body Object, signatures map[string][]byte) ([]byte, error) {
	if _, there := body["proof"]; there {
		return nil, plugins.Reject("bad_value", "the body has a proof already")
	}
	proofs := []any{}
	for _, multikey := range slices.Sorted(maps.Keys(signatures)) {
		p := proofOptions(multikey, r)
		p["proofValue"] = "z" + Base58(signatures[multikey])
		proofs = append(proofs, p)
	}
	whole := maps.Clone(body)
	whole["proof"] = proofs
	return Canonical(whole)
}

// Sign is Prepare and Attach for keys at hand.
func Sign(body Object, keys ...ed25519.PrivateKey) ([]byte, error) {
	return CapabilityInvocation.Sign(body, keys...)
}

// Sign makes an entry with proofs for this purpose.
func (r Relationship) Sign(body Object, keys ...ed25519.PrivateKey) ([]byte, error) {
	signatures := map[string][]byte{}
	for _, key := range keys {
		multikey := Ed25519Key(key.Public().(ed25519.PublicKey)).Multikey()
		sign, err := r.Prepare(body, multikey)
		if err != nil {
			return nil, err
		}
		signatures[multikey] = ed25519.Sign(key, sign.HashData)
	}
	return r.Attach(body, signatures)
}

// OpHash names an operation: the Multihash of its canonical body.
func OpHash(body Object) (string, error) {
	sum, err := bodySum(body)
	return MultihashOf(sum), err
}

func bodySum(body Object) (sum [sha256.Size]byte, err error) {
	if _, there := body["proof"]; there {
		return sum, plugins.Reject("bad_value", "the body has a proof already")
	}
	text, err := Canonical(body)
	return sha256.Sum256(text), err
}
