package vc

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"weft/plugins"
	"weft/plugins/identity/did"
)

// Policy is what a verifier asks beyond a sound credential. The zero policy asks nothing.
type Policy struct {
	Federation        string        `json:"federation,omitempty"`
	Claims            []Claim       `json:"claims,omitempty"`
	Expect            []Expectation `json:"expect,omitempty"`
	TrustTime         string        `json:"trustTime,omitempty"`         // TrustAtIssuance (default) or TrustBoth
	RequireAnchor     bool          `json:"requireAnchor,omitempty"`     // the age of a credential is its anchor's, not the issuer's word
	MaxStatusAge      int64         `json:"maxStatusAge,omitempty"`      // ms; 0: no bound but the list's own
	Holder            string        `json:"holder,omitempty"`            // HolderSubject (default) or HolderAny
	DeactivatedIssuer string        `json:"deactivatedIssuer,omitempty"` // DeactivatedRefuse (default) or DeactivatedReport
}

// Values of the members of a policy.
const (
	TrustAtIssuance   = "issuance"
	TrustBoth         = "both"
	HolderSubject     = "subject"
	HolderAny         = "any"
	DeactivatedRefuse = "refuse"
	DeactivatedReport = "report"
)

// Claim names a value by a JSON pointer into the credential, and the property of the federation that it is a value of.
type Claim struct {
	Pointer  string `json:"pointer"`
	Property string `json:"property"`
}

// Expectation is a value that must be at a JSON pointer.
type Expectation struct {
	Pointer string `json:"pointer"`
	Equals  any    `json:"equals"`
}

// ParsePolicy reads a policy strictly. The codes are bad_json, unknown_field and bad_value.
func ParsePolicy(raw []byte) (p Policy, err error) {
	if _, err := did.DecodeObject(raw, did.JSONLimits{}); err != nil {
		return p, err
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		if strings.Contains(err.Error(), "unknown field") {
			return p, plugins.Reject("unknown_field", "%v", err)
		}
		return p, plugins.Reject("bad_value", "%v", err)
	}
	return p, p.Check()
}

// Check refuses values a policy may not have, so that a misspelt word never counts as the lenient one.
func (p Policy) Check() error {
	for _, m := range []struct{ name, value, strict, lenient string }{
		{"trustTime", p.TrustTime, TrustBoth, TrustAtIssuance},
		{"holder", p.Holder, HolderSubject, HolderAny},
		{"deactivatedIssuer", p.DeactivatedIssuer, DeactivatedRefuse, DeactivatedReport},
	} {
		if m.value != "" && m.value != m.strict && m.value != m.lenient {
			return plugins.Reject("bad_value", "%s is %q, neither %q nor %q", m.name, m.value, m.strict, m.lenient)
		}
	}
	if p.MaxStatusAge < 0 || len(p.Claims) > MaxItems || len(p.Expect) > MaxItems {
		return plugins.Reject("bad_value", "maxStatusAge is negative, or there are more than %d claims", MaxItems)
	}
	return nil
}

// TrustQuestion asks whether Attester may attest that Property has Value at a time, as known at another.
type TrustQuestion struct {
	Federation string
	Attester   string
	Property   string
	Value      any
	At         time.Time // of issuance
	AsOf       time.Time
}

// TrustAnswer is the answer with the path of DIDs from a root to the attester. Reason is a code of the trustPath check:
// not_accredited, revoked or out_of_scope.
type TrustAnswer struct {
	Trusted bool
	Path    []string
	Reason  string
	Detail  string
}

// checkTrust asks for a path of trust for every claim of the policy. A policy that names a federation and no claim fails:
// an empty question must never count as allowed.
func (v *verification) checkTrust() {
	p := v.options.Policy
	switch {
	case p.Federation == "":
		return
	case !v.found.ok(CheckIssuer):
		v.found.skip("the issuer is not established", CheckTrustPath)
		return
	case len(p.Claims) == 0:
		v.found.fail(CheckTrustPath, statusFault("out_of_scope", "", "the policy names a federation and no claim"))
		return
	}
	for _, claim := range p.Claims {
		value, present := atPointer(v.doc, claim.Pointer)
		if !present {
			v.found.skip("a claim is missing", CheckTrustPath)
			return
		}
		if why := v.untrusted(claim, value); why != nil {
			v.found.fail(CheckTrustPath, why)
			return
		}
	}
	v.found.pass(CheckTrustPath, nil)
}

func (v *verification) untrusted(claim Claim, value any) *fault {
	if v.config.Trust == nil {
		return statusFault("not_accredited", "", "no federations are known here")
	}
	at := v.claimed
	if v.options.Policy.RequireAnchor {
		if at = v.anchored; at.IsZero() {
			at = v.config.Now // the policy check refuses the credential; trust is judged for what it is worth
		}
	}
	times := []time.Time{at}
	if v.options.Policy.TrustTime == TrustBoth {
		times = append(times, v.config.Now)
	}
	for _, at := range times {
		q := TrustQuestion{Federation: v.options.Policy.Federation, Attester: v.issuer, Property: claim.Property, Value: value, At: at, AsOf: v.config.Now}
		answer := v.config.Trust(q)
		if !answer.Trusted {
			return trustFault(q, answer)
		}
		v.path = answer.Path
	}
	return nil
}

func trustFault(q TrustQuestion, a TrustAnswer) *fault {
	if a.Reason == "" {
		a.Reason = "not_accredited"
	}
	if a.Detail == "" {
		a.Detail = q.Attester + " may not attest " + q.Property
	}
	return &fault{code: a.Reason, reason: a.Detail, facts: map[string]any{"property": q.Property, "at": formatTime(q.At)}}
}

// checkPolicy holds the credential to the claims and values that the policy asks for.
func (v *verification) checkPolicy() {
	p := v.options.Policy
	if len(p.Claims) == 0 && len(p.Expect) == 0 && !p.RequireAnchor {
		return
	}
	v.found.judge(CheckPolicy, v.policyFault(p), nil)
}

func (v *verification) policyFault(p Policy) *fault {
	if p.RequireAnchor && v.anchored.IsZero() {
		return statusFault("anchor_missing", "", "no anchor shows the age of the credential")
	}
	for _, claim := range p.Claims {
		if _, present := atPointer(v.doc, claim.Pointer); !present {
			return statusFault("claim_missing", "", "nothing is at %s", claim.Pointer)
		}
	}
	for _, expected := range p.Expect {
		value, present := atPointer(v.doc, expected.Pointer)
		switch {
		case !present:
			return statusFault("claim_missing", "", "nothing is at %s", expected.Pointer)
		case !equalJSON(value, expected.Equals):
			return statusFault("claim_mismatch", "", "the value at %s is another", expected.Pointer)
		}
	}
	return nil
}

// atPointer follows a JSON pointer (RFC 6901). A null is a value; an index must be canonical.
func atPointer(doc any, pointer string) (value any, present bool) {
	if pointer == "" {
		return doc, true
	}
	if pointer[0] != '/' {
		return nil, false
	}
	value = doc
	for token := range strings.SplitSeq(pointer[1:], "/") {
		name := strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~")
		switch v := value.(type) {
		case did.Object:
			if value, present = v[name]; !present {
				return nil, false
			}
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i < 0 || i >= len(v) || strconv.Itoa(i) != name {
				return nil, false
			}
			value = v[i]
		default:
			return nil, false
		}
	}
	return value, true
}

// Commitment is what an anchor on the ledger holds: SHA-256(salt || credential), the salt being 32 bytes. The credential is
// a token as it is, of an SD-JWT the part that its issuer signed, anything else in canonical JSON with its proof.
func Commitment(salt, credential []byte) [32]byte {
	return sha256.Sum256(append(append(make([]byte, 0, len(salt)+len(credential)), salt...), credential...))
}

// AnchorBytes are the bytes of a credential that Commitment takes.
func AnchorBytes(raw []byte) ([]byte, error) {
	raw = bytes.TrimSpace(raw)
	if token, _, _ := bytes.Cut(raw, []byte("~")); isCompact(token) {
		return token, nil
	}
	doc, err := did.DecodeObject(raw, did.JSONLimits{MaxBytes: MaxCredentialBytes, MaxDepth: MaxDepth})
	if err != nil {
		return nil, err
	}
	return did.Canonical(doc)
}

// MaxSalts bounds how many salts are tried for one credential.
const MaxSalts = 64

// findAnchor looks for the oldest anchor that one of the caller's salts opens.
func (v *verification) findAnchor() {
	if v.config.Anchored == nil || len(v.options.Salts) == 0 {
		return
	}
	credential := rawOf(v.doc)
	if v.token != nil {
		credential = v.token.compact
	}
	for _, salt := range v.options.Salts[:min(len(v.options.Salts), MaxSalts)] {
		if t, found := v.config.Anchored(Commitment(salt, credential)); found && (v.anchored.IsZero() || t.Before(v.anchored)) {
			v.anchored = t
		}
	}
}
