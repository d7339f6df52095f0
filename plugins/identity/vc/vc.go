// Package vc judges and makes credentials as pure rules: the data model of W3C Verifiable Credentials 2.0 and 1.1, proofs of
// Data Integrity (eddsa-jcs-2022, eddsa-rdfc-2022), JOSE tokens (vc+jwt, vp+jwt) and those whose claims a holder may withhold (vc+sd-jwt,
// vp+sd-jwt), bitstring status lists, JSON Schema, presentations, and the report that says of each check by name how it went.
//
// It knows no clock, no network, no store and no ledger: time is in Config, and whatever has to be looked up is a func
// there, nil meaning never. It holds no private key; those who make proofs bring a func that signs. It does not decide what
// a DID document says (package did), nor whom to trust (package trust), nor does it canonicalize RDF (package jsonld).
package vc

import (
	"bytes"
	"encoding/json"
	"slices"
	"time"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/identity/jsonld"
)

// Config is what a verifier knows and can ask. Every func may be nil.
type Config struct {
	Now time.Time

	// Resolve finds a verification method as of a time; an empty relationship means any. An error with the code
	// not_entitled says that the method is there and not in that relationship.
	Resolve func(url string, rel did.Relationship, claimed time.Time) (did.Method, error)
	// Status looks an entry of a status list up; an error is "unavailable".
	Status func(StatusRef) (StatusAnswer, error)
	// Trust answers whether an attester may attest a property. Without it a policy that names a federation fails.
	Trust func(TrustQuestion) TrustAnswer
	// Challenge consumes a challenge, which is equal to the one asked for. An error says that it was ours and is used or late.
	Challenge func(challenge string) error
	// Schema returns a registered JSON Schema. Others are never fetched.
	Schema func(id string) ([]byte, bool)
	// Contexts are the JSON-LD contexts at hand; without them eddsa-rdfc-2022 fails with context_not_installed.
	Contexts *jsonld.Contexts
	// Compromised says since when the key of a method is named as compromised.
	Compromised func(did.Method) (since time.Time, compromised bool)
	// Deactivated says since when a DID is deactivated.
	Deactivated func(did string) (since time.Time, deactivated bool)
	// Anchored returns the commit time of an anchor of this commitment (see Commitment).
	Anchored func(commitment [32]byte) (time.Time, bool)
}

// Options are what the one who asks wants to see.
type Options struct {
	Challenge string   // of a presentation; empty: not asked for
	Domain    []string // of a presentation; empty: not asked for
	Policy    Policy

	// Methods are verification methods the caller vouches for, so that they are not resolved: id, controller and
	// publicKeyMultibase or publicKeyJwk. A token may name one by the kid of its JWK.
	Methods []did.Object
	// Salts are those of anchors, by which the age of a credential can be shown.
	Salts [][]byte
	// EnvelopeOnly judges a presentation without its credentials, which must be well-formed envelopes of any known kind and
	// are not verified.
	EnvelopeOnly bool
}

// MaxAhead is how far ahead of our clock a signer's may be.
const MaxAhead = 60 * time.Second

// MaxCredentials bounds the credentials of a presentation.
const MaxCredentials = 32

// Verify judges a credential: a JSON object with a proof, an enveloped credential, or a compact vc+jwt or vc+sd-jwt. Of an
// SD-JWT it judges what is disclosed. A key binding is verified where there is one; only VerifyPresentation asks for it.
func Verify(c Config, raw []byte, o Options) Report {
	v := &verification{config: c, options: o}
	return v.credential(raw)
}

// verification is the state of judging one credential or presentation.
type verification struct {
	config   Config
	options  Options
	listOnly bool // a status list: no status of its own, no policy

	doc      did.Object
	token    *token     // nil: Data Integrity
	chosen   *selective // nil: not an SD-JWT
	issuer   string
	evidence []*evidence
	unread   *fault    // the first proof that could not be read
	claimed  time.Time // when the issuer says it signed
	anchored time.Time // when an anchor shows it existed; zero: no anchor
	holder   string    // whose key is bound to an SD-JWT
	path     []string  // of trust
	found    findings
}

func (v *verification) credential(raw []byte) Report {
	v.found = findings{}
	if why := v.open(raw, typeEnvelopedCredential, TypeCredentialJWT); why != nil {
		return v.unreadable(why)
	}
	if err := v.checkModel(); err != nil {
		return v.unreadable(malformed(err))
	}
	v.found.pass(CheckFormat, nil)
	v.issuer = identifier(v.doc["issuer"])
	v.readEvidence()
	for _, e := range v.evidence {
		v.resolve(e, "assertionMethod", v.claimedBy(e))
	}
	v.checkSignature()
	v.findAnchor()
	v.checkIssuer()
	v.checkBinding()
	v.checkValidity()
	if !v.listOnly {
		v.checkStatus()
		v.checkSchema()
		v.checkTrust()
		v.checkPolicy()
	}
	return v.report()
}

// unreadable is the report when there is nothing to go on with.
func (v *verification) unreadable(why *fault) Report {
	if v.unread != nil { // what is missing is in a disclosure that was changed
		v.found.fail(CheckSignature, v.unread)
		v.found.skip("signature failed", CheckFormat, CheckIssuer, CheckValidity)
		return v.report()
	}
	v.found.fail(CheckFormat, why)
	v.found.skip("format failed", CheckSignature, CheckIssuer, CheckValidity)
	return v.report()
}

func (v *verification) report() Report {
	r := v.found.report()
	r.Document, r.TrustPath = v.doc, v.path
	if v.doc != nil {
		r.Credential = &CredentialSummary{ID: textOf(v.doc["id"]), Issuer: v.issuer, Type: stringsOf(v.doc["type"])}
	}
	return r
}

// open reads the text of a credential or presentation: an object, an envelope, a token, or a token as a JSON string.
func (v *verification) open(raw []byte, envelope, typ string) *fault {
	limit := MaxCredentialBytes
	if typ == TypePresentationJWT {
		limit = MaxPresentationBytes
	}
	if len(raw) > limit {
		return parsingFault(plugins.Reject("too_large", "%d bytes, at most %d are read", len(raw), limit))
	}
	raw = bytes.TrimSpace(raw)
	if len(raw) > 0 && raw[0] != '{' {
		if raw = unquoted(raw); isSelective(raw) {
			typ = selectiveType(typ)
		}
		return v.openToken(raw, typ)
	}
	doc, err := did.DecodeObject(raw, did.JSONLimits{MaxBytes: limit, MaxDepth: MaxDepth})
	if err != nil {
		return parsingFault(err)
	}
	if isEnveloped(doc, envelope) {
		content, typ, err := openEnvelope(doc, envelope, typ, selectiveType(typ))
		if err != nil {
			return malformed(err)
		}
		return v.openToken(content, typ)
	}
	if _, err := did.Canonical(doc); err != nil {
		return malformed(err) // a number that would be rounded
	}
	v.doc = doc
	return nil
}

// unquoted is the text of a JSON string without escapes, or the bytes as they are.
func unquoted(raw []byte) []byte {
	if n := len(raw); n > 2 && raw[0] == '"' && raw[n-1] == '"' {
		return raw[1 : n-1]
	}
	return raw
}

func (v *verification) openToken(compact []byte, typ string) *fault {
	t, err := v.readTyped(compact, typ)
	if err != nil {
		return parsingFault(err)
	}
	if _, err := did.Canonical(t.claims); err != nil {
		return malformed(err)
	}
	v.token, v.doc = t, t.claims
	return nil
}

// readTyped reads a JWT or an SD-JWT, as the type says.
func (v *verification) readTyped(text []byte, typ string) (*token, error) {
	if typ != TypeCredentialSDJWT && typ != TypePresentationSDJWT {
		return parseToken(text, typ)
	}
	s, err := parseSelective(text, typ)
	if err != nil {
		return nil, err
	}
	if s.stray() {
		v.unread = badToken("a disclosure is not of this token")
	}
	v.chosen = s
	return s.token, nil
}

func parsingFault(err error) *fault {
	return &fault{code: "format_invalid", problem: problemParsing, reason: reasonOf(err)}
}

func malformed(err error) *fault {
	return &fault{code: "format_invalid", problem: problemMalformed, reason: reasonOf(err)}
}

// reasonOf is the sentence of an error; the code of a rejection is not ours here.
func reasonOf(err error) string {
	if r := plugins.Rejected(err); r != nil && r.Detail != "" {
		return r.Detail
	}
	return err.Error()
}

// checkModel applies the data model, and for a token that its claims do not contradict the credential.
func (v *verification) checkModel() error {
	if err := CheckCredential(v.doc); err != nil || v.token == nil {
		return err
	}
	if jti, given := v.doc["jti"]; given && v.doc["id"] != nil && jti != v.doc["id"] {
		return plugins.Reject("format_invalid", "jti is not the id of the credential")
	}
	subjects := objects(v.doc["credentialSubject"])
	if sub, given := v.doc["sub"]; given && len(subjects) == 1 && subjects[0]["id"] != nil && sub != subjects[0]["id"] {
		return plugins.Reject("format_invalid", "sub is not the id of the subject")
	}
	return nil
}

// readEvidence lists the signatures: those of the proofs, or the token's.
func (v *verification) readEvidence() {
	if v.token != nil {
		v.evidence = []*evidence{v.token.evidence()}
		return
	}
	for _, proof := range objects(v.doc["proof"]) {
		e, why := evidenceOf(proof)
		if why != nil && v.unread == nil {
			v.unread = why
		} else if why == nil {
			v.evidence = append(v.evidence, e)
		}
	}
}

// claimedBy is when a signature says it was made. Where it does not say, the credential's own begin stands in, at most
// now: a credential that is not valid yet is a matter of its validity.
func (v *verification) claimedBy(e *evidence) time.Time {
	if !e.claimed.IsZero() {
		return e.claimed
	}
	for _, property := range []string{"validFrom", "issuanceDate"} {
		if t, ok := parseTime(textOf(v.doc[property])); ok && t.Before(v.config.Now) {
			return t
		}
	}
	return v.config.Now
}

// resolve finds the key of a signature as of a time, never one ahead of our clock.
func (v *verification) resolve(e *evidence, rel did.Relationship, at time.Time) {
	if at.After(v.config.Now) {
		at = v.config.Now
	}
	if method, found := v.vouched(e.method); found {
		e.key, e.able = method, true
		return
	}
	if u, err := did.ParseURL(e.method); err != nil || u.Fragment == "" {
		e.err = plugins.Reject("bad_value", "%.200q is not an absolute DID URL of a method", e.method)
		return
	}
	if v.config.Resolve == nil {
		e.err = plugins.Reject("unknown_did", "no DIDs are resolved here")
		return
	}
	e.key, e.err = v.config.Resolve(e.method, rel, at)
	e.able = e.err == nil
	if r := plugins.Rejected(e.err); r != nil && r.Code == "not_entitled" {
		e.key, e.err = v.config.Resolve(e.method, "", at)
	}
}

// vouched finds a method among those of the caller, by its id or by the kid of its JWK.
func (v *verification) vouched(name string) (did.Method, bool) {
	for _, o := range v.options.Methods {
		jwk, _ := o["publicKeyJwk"].(did.Object)
		if name == "" || textOf(o["id"]) != name && textOf(jwk["kid"]) != name {
			continue
		}
		m := did.Method{ID: textOf(o["id"]), Controller: textOf(o["controller"]), Type: textOf(o["type"])}
		var err error
		if jwk != nil {
			m.Key, err = did.ParseJWK(jwk)
		} else {
			m.Key, err = did.ParseMultikey(textOf(o["publicKeyMultibase"]))
		}
		return m, err == nil
	}
	return did.Method{}, false
}

// checkSignature verifies every proof. One whose key is unknown is the issuer check's fault, and the signature is skipped.
func (v *verification) checkSignature() {
	if v.unread == nil && len(v.evidence) == 0 {
		v.unread = badProof("there is no proof")
	}
	if v.unread != nil {
		v.found.fail(CheckSignature, v.unread)
		return
	}
	h := &hasher{contexts: v.config.Contexts, doc: v.doc}
	for _, e := range v.evidence {
		if e.err != nil {
			continue
		}
		if why := v.verifyEvidence(h, e); why != nil {
			v.found.judge(CheckSignature, why, e.facts())
			return
		}
	}
	if slices.ContainsFunc(v.evidence, func(e *evidence) bool { return e.err != nil }) {
		v.found.skip("a key is unknown", CheckSignature)
		return
	}
	v.found.pass(CheckSignature, v.evidence[0].facts())
}

func (v *verification) verifyEvidence(h *hasher, e *evidence) *fault {
	if e.token != nil {
		return verifyToken(e)
	}
	return v.verifyProof(h, e)
}

// facts names the suite of a signature.
func (e *evidence) facts() map[string]any {
	if e.token != nil {
		return map[string]any{"alg": e.suite}
	}
	return map[string]any{"cryptosuite": e.suite}
}

// owner is the DID that a signature speaks for: that of its method's URL, or the controller the caller vouches for.
func (e *evidence) owner() string {
	if u, err := did.ParseURL(e.method); err == nil {
		return u.DID
	}
	return e.key.Controller
}

// checkIssuer asks who signed, and whether the key was theirs to sign with at that time.
func (v *verification) checkIssuer() {
	if len(v.evidence) == 0 {
		v.found.skip("there is no proof to read", CheckIssuer)
		return
	}
	by := v.evidence[0]
	if at := slices.IndexFunc(v.evidence, func(e *evidence) bool { return e.owner() == v.issuer }); at >= 0 {
		by = v.evidence[at]
	}
	v.claimed = v.claimedBy(by)
	facts := map[string]any{"verificationMethod": by.method}
	if by.key.VersionID != "" {
		facts["versionId"] = by.key.VersionID
	}
	v.found.judge(CheckIssuer, v.issuerFault(by, facts), facts)
}

func (v *verification) issuerFault(by *evidence, facts map[string]any) *fault {
	for _, e := range v.evidence {
		if e.err != nil {
			return unresolved(e)
		}
	}
	if by.owner() != v.issuer {
		return issuerFault("issuer_mismatch", "the credential is of %s, the proof of %s", v.issuer, by.owner())
	}
	if iss, given := v.doc["iss"]; v.token != nil && given && iss != v.issuer {
		return issuerFault("issuer_mismatch", "the credential is of %s, the token of %v", v.issuer, iss)
	}
	for _, e := range v.evidence {
		if why := v.entitled(e, "assertionMethod", v.claimedBy(e)); why != nil {
			return why
		}
	}
	return v.active(by, facts)
}

func issuerFault(code, format string, args ...any) *fault {
	return statusFault(code, "", format, args...)
}

func unresolved(e *evidence) *fault {
	if r := plugins.Rejected(e.err); r != nil {
		switch r.Code {
		case "deactivated":
			return issuerFault("not_authorized", "the DID of %s is deactivated", e.method)
		case "not_entitled":
			return issuerFault("not_authorized", "%s", r.Detail)
		}
	}
	return issuerFault("unresolvable", "%s: %s", e.method, reasonOf(e.err))
}

// entitled judges one key: its purpose, its time, and what has become of it.
func (v *verification) entitled(e *evidence, rel did.Relationship, claimed time.Time) *fault {
	at := uint64(max(claimed.UnixMilli(), 0))
	switch {
	case e.purpose != string(rel):
		return issuerFault("not_authorized", "the purpose of the proof is %q, not %q", e.purpose, rel)
	case e.claimed.After(v.config.Now.Add(MaxAhead)):
		return issuerFault("not_authorized", "signed at %s, ahead of our clock", formatTime(e.claimed))
	case !e.able:
		return issuerFault("not_authorized", "%s is not in %s", e.method, rel)
	case e.key.Revoked != 0 && uint64(e.key.Revoked) <= at:
		return issuerFault("method_revoked", "%s was revoked at %s", e.method, did.FormatTime(e.key.Revoked))
	case e.key.Expires != 0 && uint64(e.key.Expires) <= at:
		return issuerFault("method_revoked", "%s expired at %s", e.method, did.FormatTime(e.key.Expires))
	}
	return v.sound(e)
}

// sound refuses a stolen key at whatever time it claims, unless an anchor is older than its being named.
func (v *verification) sound(e *evidence) *fault {
	if v.config.Compromised == nil {
		return nil
	}
	since, compromised := v.config.Compromised(e.key)
	if !compromised || !v.anchored.IsZero() && v.anchored.Before(since) {
		return nil
	}
	return issuerFault("key_compromised", "%s is named as compromised", e.method)
}

// active applies the policy for issuers that are gone.
func (v *verification) active(by *evidence, facts map[string]any) *fault {
	if v.config.Deactivated == nil {
		return nil
	}
	since, gone := v.config.Deactivated(by.owner())
	if !gone {
		return nil
	}
	facts["deactivated"] = true
	if v.options.Policy.DeactivatedIssuer != DeactivatedReport || !v.claimed.Before(since) {
		return issuerFault("not_authorized", "%s is deactivated", by.owner())
	}
	facts["note"] = "the issuer was deactivated at " + formatTime(since) + ", after it issued this"
	return nil
}

// checkValidity compares the credential's period, and the token's, with our clock.
func (v *verification) checkValidity() {
	v.found.judge(CheckValidity, v.validityFault(), nil)
}

func (v *verification) validityFault() *fault {
	begins, ends := []any{v.doc["validFrom"], v.doc["issuanceDate"]}, []any{v.doc["validUntil"], v.doc["expirationDate"]}
	if v.token != nil {
		begins, ends = append(begins, v.doc["nbf"]), append(ends, v.doc["exp"])
	}
	for _, value := range begins {
		if t, ok := claimTime(value); ok && t.After(v.config.Now.Add(MaxAhead)) {
			return statusFault("not_yet_valid", problemRange, "valid from %s on", formatTime(t))
		}
	}
	for _, value := range ends {
		if t, ok := claimTime(value); ok && t.Before(v.config.Now) {
			return statusFault("expired", problemRange, "valid until %s", formatTime(t))
		}
	}
	return nil
}

// rawOf is a credential inside a presentation as text.
func rawOf(v any) []byte {
	raw, err := did.Canonical(v)
	if err != nil {
		raw, _ = json.Marshal(v) // its own format check says what is wrong
	}
	return raw
}
