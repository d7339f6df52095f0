package vc

import (
	"encoding/json"
	"maps"

	"weft/plugins/identity/did"
)

// The checks of a report, in the order in which it lists them.
const (
	CheckFormat        = "format"
	CheckSignature     = "signature"
	CheckIssuer        = "issuer"
	CheckValidity      = "validity"
	CheckStatus        = "status"
	CheckSchema        = "schema"
	CheckHolderBinding = "holderBinding"
	CheckAudience      = "audience"
	CheckNonce         = "nonce"
	CheckTrustPath     = "trustPath"
	CheckPolicy        = "policy"
)

func checkOrder() []string {
	return []string{CheckFormat, CheckSignature, CheckIssuer, CheckValidity, CheckStatus, CheckSchema, CheckHolderBinding,
		CheckAudience, CheckNonce, CheckTrustPath, CheckPolicy}
}

// Report is the answer of a verifier: every check by name, and never a bare boolean. A check that had nothing to look at
// (a credential without a status, no challenge asked for) is not listed; one whose input failed is listed as skipped.
type Report struct {
	Verified     bool                 `json:"verified"`
	Credential   *CredentialSummary   `json:"credential,omitempty"`
	Presentation *PresentationSummary `json:"presentation,omitempty"`
	Checks       []Check              `json:"checks"`
	TrustPath    []string             `json:"trustPath,omitempty"`
	Problems     []Problem            `json:"problemDetails,omitempty"`
	Credentials  []Report             `json:"credentials,omitempty"` // of a presentation, in its order

	// Document is what was read: the credential or presentation with its proof, or the claims of a token. It is nil if the
	// text could not be read, and nothing in it may be believed unless Verified.
	Document did.Object `json:"-"`
}

// CredentialSummary says which credential a report is about.
type CredentialSummary struct {
	ID     string   `json:"id,omitempty"`
	Issuer string   `json:"issuer,omitempty"`
	Type   []string `json:"type,omitempty"`
}

// PresentationSummary says which presentation a report is about. Presenter is the DID whose key signed it.
type PresentationSummary struct {
	ID        string   `json:"id,omitempty"`
	Holder    string   `json:"holder,omitempty"`
	Presenter string   `json:"presenter,omitempty"`
	Type      []string `json:"type,omitempty"`
}

// Check is the outcome of one check: ok, failed with a code, or skipped because its input failed.
type Check struct {
	Name    string
	OK      bool
	Skipped bool
	Code    string         // of a failed check
	Reason  string         // for people
	Facts   map[string]any // members besides, such as "list" and "index"

	problem   string // type of the problem of a failed check; empty: ours
	exhausted bool   // the work bound of canonicalization was met
}

// Failed says whether the check was made and not passed.
func (c Check) Failed() bool { return !c.OK && !c.Skipped }

// MarshalJSON writes the facts as members beside the others.
func (c Check) MarshalJSON() ([]byte, error) {
	o := make(map[string]any, len(c.Facts)+4)
	maps.Copy(o, c.Facts)
	o["name"] = c.Name
	if c.Skipped {
		o["skipped"] = true
	} else {
		o["ok"] = c.OK
	}
	if c.Code != "" {
		o["code"] = c.Code
	}
	if c.Reason != "" {
		o["reason"] = c.Reason
	}
	return json.Marshal(o)
}

// Check returns the check of this name; ok is false if the report does not list it.
func (r Report) Check(name string) (c Check, ok bool) {
	for _, c := range r.Checks {
		if c.Name == name {
			return c, true
		}
	}
	return Check{}, false
}

// Failures lists the names of the checks that failed.
func (r Report) Failures() (names []string) {
	for _, c := range r.Checks {
		if c.Failed() {
			names = append(names, c.Name)
		}
	}
	return names
}

// Problem is one entry of problemDetails (RFC 9457).
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Detail string `json:"detail,omitempty"`
}

// Problem types that standards name; any other code is one of ours.
const (
	problemParsing        = "https://www.w3.org/TR/vc-data-model#PARSING_ERROR"
	problemMalformed      = "https://www.w3.org/TR/vc-data-model#MALFORMED_VALUE_ERROR"
	problemRange          = "https://www.w3.org/TR/vc-data-model#RANGE_ERROR"
	problemSecurity       = "https://www.w3.org/TR/vc-data-model#CRYPTOGRAPHIC_SECURITY_ERROR"
	problemProof          = "https://w3id.org/security#PROOF_VERIFICATION_ERROR"
	problemTransformation = "https://w3id.org/security#PROOF_TRANSFORMATION_ERROR"
	problemDomain         = "https://w3id.org/security#INVALID_DOMAIN_ERROR"
	problemChallenge      = "https://w3id.org/security#INVALID_CHALLENGE_ERROR"
	problemStatusFetch    = "https://www.w3.org/ns/credentials/status-list#STATUS_RETRIEVAL_ERROR"
	problemStatus         = "https://www.w3.org/ns/credentials/status-list#STATUS_VERIFICATION_ERROR"
	problemStatusLength   = "https://www.w3.org/ns/credentials/status-list#STATUS_LIST_LENGTH_ERROR"
	problemOurs           = "urn:weft:problem:"
)

// problemDetail is what problemDetails says of a failed check.
func (c Check) problemDetail() Problem {
	p := Problem{Type: c.problem, Title: title(c.Code), Detail: c.Reason}
	if p.Type == "" {
		p.Type = problemOurs + c.Code
	}
	return p
}

// title makes a heading of a code: "not_yet_valid" is "Not yet valid".
func title(code string) string {
	b := []byte(code)
	for i, c := range b {
		switch {
		case c == '_':
			b[i] = ' '
		case i == 0 && c >= 'a' && c <= 'z':
			b[i] = c - 'a' + 'A'
		}
	}
	return string(b)
}

// fault is a failed check before it has a name. A nil fault is a check that passed.
type fault struct {
	code    string
	problem string
	reason  string
	facts   map[string]any

	exhausted bool
}

func (f *fault) Error() string { return f.code + ": " + f.reason }

// findings collects the checks of one credential or presentation.
type findings map[string]Check

func (f findings) pass(name string, facts map[string]any) {
	f[name] = Check{Name: name, OK: true, Facts: facts}
}

func (f findings) fail(name string, why *fault) {
	f[name] = Check{Name: name, Code: why.code, Reason: why.reason, Facts: why.facts, problem: why.problem, exhausted: why.exhausted}
}

// judge is fail or, without a fault, pass.
func (f findings) judge(name string, why *fault, facts map[string]any) {
	if why != nil {
		if why.facts == nil {
			why.facts = facts
		}
		f.fail(name, why)
		return
	}
	f.pass(name, facts)
}

func (f findings) skip(reason string, names ...string) {
	for _, name := range names {
		f[name] = Check{Name: name, Skipped: true, Reason: reason}
	}
}

func (f findings) ok(name string) bool { return f[name].OK }

// report lists the findings in the fixed order. It is verified if every check that applies was made and passed.
func (f findings) report() Report {
	r := Report{Verified: true}
	for _, name := range checkOrder() {
		c, listed := f[name]
		if !listed {
			continue
		}
		r.Checks = append(r.Checks, c)
		r.Verified = r.Verified && c.OK
		if c.Failed() {
			r.Problems = append(r.Problems, c.problemDetail())
		}
	}
	return r
}
