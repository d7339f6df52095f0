package client

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"time"

	"weft/tangle"
)

// Issuer talks to one issuer instance of a node over the VC-API.
type Issuer struct {
	client *Client
	base   string // empty for the default instance
}

// Issuer picks an issuer instance by name; the empty name is the node's default one.
func (c *Client) Issuer(name string) Issuer {
	if name == "" {
		return Issuer{client: c}
	}
	return Issuer{c, "/issuers/" + url.PathEscape(name)}
}

// IssueOptions of an issuance; the zero value leaves all to the instance.
type IssueOptions struct {
	CredentialID string `json:"credentialId,omitempty"`
	Cryptosuite  string `json:"cryptosuite,omitempty"`
}

// Issue has an instance sign a credential with its own key.
func (i Issuer) Issue(ctx context.Context, credential json.RawMessage, o IssueOptions) (json.RawMessage, error) {
	var answer struct {
		Credential json.RawMessage `json:"verifiableCredential"`
	}
	body := map[string]any{"credential": credential, "options": o}
	err := i.client.post(ctx, i.base+"/credentials/issue", body, &answer)
	return answer.Credential, err
}

// VerifyOptions say what the verifier wants to know.
type VerifyOptions struct {
	Checks           []string        `json:"checks,omitempty"`
	ReturnCredential bool            `json:"returnCredential,omitempty"`
	Challenge        string          `json:"challenge,omitempty"` // presentations only
	Domain           string          `json:"domain,omitempty"`    // presentations only
	Policy           json.RawMessage `json:"policy,omitempty"`
	AnchorSalts      []string        `json:"anchorSalts,omitempty"` // base64url, of anchors that may show the age
}

// CredentialReport is the verdict on a credential or presentation as named checks.
type CredentialReport struct {
	Verified   bool                `json:"verified"`
	Credential json.RawMessage     `json:"credential,omitempty"` // its id, issuer and type
	Checks     []CredentialCheck   `json:"checks"`
	TrustPath  []string            `json:"trustPath,omitempty"`
	Problems   []CredentialProblem `json:"problemDetails,omitempty"`
	Nested     []CredentialReport  `json:"credentials,omitempty"` // of a presentation
	Raw        json.RawMessage     `json:"-"`                     // all the node said
}

// CredentialCheck is one named check; members of other checks are empty.
type CredentialCheck struct {
	Name      string           `json:"name"`
	OK        bool             `json:"ok"`
	Skipped   bool             `json:"skipped,omitempty"`
	Code      string           `json:"code,omitempty"`
	Detail    string           `json:"detail,omitempty"`
	Reason    string           `json:"reason,omitempty"`
	Suite     string           `json:"cryptosuite,omitempty"`
	Method    string           `json:"verificationMethod,omitempty"`
	VersionID string           `json:"versionId,omitempty"`
	Source    string           `json:"source,omitempty"`
	List      string           `json:"list,omitempty"`
	Index     *int64           `json:"index,omitempty"`
	Position  *tangle.Position `json:"position,omitempty"`
}

// CredentialProblem is a problem in the terms of the W3C.
type CredentialProblem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
}

// Verify asks for the verdict on a credential. A refused one is a report, not an error. A JWT goes as a JSON string.
func (i Issuer) Verify(ctx context.Context, credential json.RawMessage, o VerifyOptions) (CredentialReport, error) {
	return i.verify(ctx, "/credentials/verify", map[string]any{"verifiableCredential": credential, "options": o})
}

// VerifyPresentation asks for the verdict on a presentation and every credential in it.
func (i Issuer) VerifyPresentation(ctx context.Context, presentation json.RawMessage, o VerifyOptions) (CredentialReport, error) {
	return i.verify(ctx, "/presentations/verify", map[string]any{"verifiablePresentation": presentation, "options": o})
}

func (i Issuer) verify(ctx context.Context, path string, body any) (r CredentialReport, err error) {
	a, err := i.client.exchange(ctx, http.MethodPost, i.base+path, body)
	var p *Problem
	refused := errors.As(err, &p) && p.Status == http.StatusBadRequest
	if refused && json.Unmarshal(a.body, &r) == nil && len(r.Checks) > 0 {
		r.Verified, r.Raw = false, a.body
		return r, nil
	}
	if err != nil {
		return CredentialReport{}, err
	}
	r.Raw = a.body
	return r, decode(path, a.body, &r)
}

// SetStatus has an instance change the status of a credential it issued; it returns once the change is final.
func (i Issuer) SetStatus(ctx context.Context, credentialID, purpose string, status bool) error {
	return i.client.post(ctx, i.base+"/credentials/status", map[string]any{
		"credentialId":     credentialID,
		"credentialStatus": map[string]any{"type": "BitstringStatusListEntry", "statusPurpose": purpose},
		"status":           status,
	}, nil)
}

// Challenge asks for a challenge that a presentation must repeat: single use, two minutes.
func (i Issuer) Challenge(ctx context.Context) (string, error) {
	a, err := i.client.do(ctx, call{method: http.MethodPost, path: i.base + "/challenges", key: NewKey()})
	if err != nil {
		return "", err
	}
	var answer struct {
		Challenge string `json:"challenge"`
	}
	err = decode("/challenges", a.body, &answer)
	return answer.Challenge, err
}

// SignedStatusList fetches a signed list of an instance as other verifiers do: now, or as of a time.
func (i Issuer) SignedStatusList(ctx context.Context, list string, at time.Time) (json.RawMessage, error) {
	return i.client.raw(ctx, query(i.base+"/status-lists/"+url.PathEscape(list), timestamp(at)), "application/json")
}

// StatusList is a list as the ledger has it.
type StatusList struct {
	ID       string          `json:"id"`
	Issuer   string          `json:"issuer"`
	Purpose  string          `json:"purpose"`
	Size     int             `json:"size"`
	Writers  []string        `json:"writers"`
	Home     tangle.Member   `json:"home"`
	Version  uint64          `json:"version"` // operations that changed bits
	Created  time.Time       `json:"created"`
	Changed  time.Time       `json:"changed"`
	Position tangle.Position `json:"position"` // of the newest operation that changed it
	Closed   *time.Time      `json:"closed,omitempty"`
	Encoded  string          `json:"encodedList"`
	Final    bool            `json:"final"`
	Receipt  string          `json:"receipt,omitempty"` // base64url, of the operation that made the list
}

// StatusList reads a list from the ledger's state: now, or as of a time.
func (c *Client) StatusList(ctx context.Context, list string, at time.Time) (s StatusList, err error) {
	err = c.get(ctx, query(route("status-lists", list), timestamp(at)), &s)
	return s, err
}

// timestamp asks for a list as it was.
func timestamp(at time.Time) url.Values {
	v := url.Values{}
	if !at.IsZero() {
		v.Set("timestamp", at.UTC().Format(time.RFC3339))
	}
	return v
}

// PutSignedStatusList uploads a copy that the issuer signed; the node serves it while its bits are the ledger's.
func (c *Client) PutSignedStatusList(ctx context.Context, list string, signed json.RawMessage) error {
	return c.send(ctx, http.MethodPut, route("status-lists", list), signed, nil)
}

// CredentialIntent is what a draft of a credential is made of.
type CredentialIntent struct {
	Template   string          `json:"template"`
	Issuer     string          `json:"issuer"`
	Subject    string          `json:"subject,omitempty"`
	Claims     json.RawMessage `json:"claims"`
	ValidFrom  *time.Time      `json:"validFrom,omitempty"`
	ValidUntil *time.Time      `json:"validUntil,omitempty"`
	Status     []string        `json:"status,omitempty"`             // purposes (revocation, suspension) or ids of lists
	Method     string          `json:"verificationMethod,omitempty"` // that will sign, for ToSign in the answer
}

// CredentialDraft is an unsigned credential with status indexes of its own.
type CredentialDraft struct {
	Draft      string          `json:"draft"` // names it when the signed one is recorded
	Credential json.RawMessage `json:"credential"`
	ToSign     *DraftToSign    `json:"toSign,omitempty"`
	Summary    string          `json:"summary,omitempty"`
	ExpiresAt  *time.Time      `json:"expiresAt,omitempty"`
}

// DraftCredential asks the node for an unsigned credential.
func (c *Client) DraftCredential(ctx context.Context, i CredentialIntent) (d CredentialDraft, err error) {
	err = c.post(ctx, route("credentials", "drafts"), i, &d)
	return d, err
}

// RecordCredential tells the node that a draft was signed; it keeps id, hash and indexes, and with custody the body,
// encrypted to its holder. anchor, if not nil, is a signed anchor operation that the node publishes with it.
func (c *Client) RecordCredential(ctx context.Context, draft string, credential json.RawMessage, custody bool, anchor json.RawMessage) (id string, err error) {
	body := map[string]any{"draft": draft, "credential": credential}
	if custody {
		body["custody"] = true
	}
	if anchor != nil {
		body["anchor"] = anchor
	}
	var answer struct {
		ID string `json:"credentialId"`
	}
	err = c.post(ctx, route("credentials"), body, &answer)
	return answer.ID, err
}

// CredentialRecord is a credential in a node's book.
type CredentialRecord struct {
	ID       string            `json:"credentialId"`
	Issuer   string            `json:"issuer"`
	Subject  string            `json:"subject,omitempty"`
	Type     []string          `json:"type"`
	Template string            `json:"template,omitempty"`
	Hash     string            `json:"hash"`
	Issued   *time.Time        `json:"issued,omitempty"`
	Status   string            `json:"status"` // active, suspended, revoked
	Entries  []CredentialEntry `json:"entries"`
	Custody  bool              `json:"custody"`
}

// CredentialEntry is one bit of a credential in a status list.
type CredentialEntry struct {
	Purpose string `json:"statusPurpose"`
	List    string `json:"list"`
	Index   string `json:"statusListIndex"`
	URL     string `json:"statusListCredential"`
	Set     bool   `json:"set"`
}

// CredentialFilter picks credentials; empty fields do not filter.
type CredentialFilter struct{ Role, Template, Status string }

// Credentials lists the credentials of the caller's DID, as issuer or as subject.
func (c *Client) Credentials(ctx context.Context, f CredentialFilter, p Page) (l List[CredentialRecord], err error) {
	v := p.values()
	for name, value := range map[string]string{"role": f.Role, "template": f.Template, "status": f.Status} {
		if value != "" {
			v.Set(name, value)
		}
	}
	err = c.get(ctx, query(route("credentials"), v), &l)
	return l, err
}

// CredentialState is where the status of a credential stands on the ledger.
type CredentialState struct {
	ID      string            `json:"credentialId"`
	Status  string            `json:"status"`
	Entries []CredentialEntry `json:"entries"`
}

// CredentialStatus asks for a credential's status by its id.
func (c *Client) CredentialStatus(ctx context.Context, id string) (s CredentialState, err error) {
	err = c.get(ctx, route("credentials", id, "status"), &s)
	return s, err
}

// Custody fetches the body that a node keeps for its holder, encrypted to the holder's key.
func (c *Client) Custody(ctx context.Context, id string) (json.RawMessage, error) {
	return c.raw(ctx, route("credentials", id, "custody"), "application/json")
}

// EraseCustody has the node forget it.
func (c *Client) EraseCustody(ctx context.Context, id string) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: route("credentials", id, "custody")})
	return err
}

// ChangeCredential publishes a signed status operation for one credential: verb is revoke, suspend or reinstate.
func (c *Client) ChangeCredential(ctx context.Context, id, verb string, operation []byte, o OperationOptions) (done Operated, err error) {
	path := query(route("credentials", id, verb), Options{Final: o.Final}.query())
	a, err := c.do(ctx, call{method: http.MethodPost, path: path, body: operation})
	if err != nil {
		return done, err
	}
	return done, decode(path, a.body, &done)
}

// Template is the form of a kind of credential.
type Template struct {
	Name    string          `json:"name"`
	Version int             `json:"version,omitempty"` // the node counts
	Type    string          `json:"type"`
	Schema  json.RawMessage `json:"schema,omitempty"`
	Fields  json.RawMessage `json:"fields,omitempty"`
	Display json.RawMessage `json:"display,omitempty"`
	Trust   json.RawMessage `json:"trust,omitempty"`
}

// Templates lists the forms that a node offers.
func (c *Client) Templates(ctx context.Context, p Page) (l List[Template], err error) {
	err = c.get(ctx, query(route("credential-templates"), p.values()), &l)
	return l, err
}

// Template reads the newest version of a form.
func (c *Client) Template(ctx context.Context, name string) (t Template, err error) {
	err = c.get(ctx, route("credential-templates", name), &t)
	return t, err
}

// AddTemplate adds a form.
func (c *Client) AddTemplate(ctx context.Context, t Template) (made Template, err error) {
	t.Version = 0
	err = c.post(ctx, route("credential-templates"), t, &made)
	return made, err
}

// PutTemplate adds a new version of a form.
func (c *Client) PutTemplate(ctx context.Context, t Template) (made Template, err error) {
	t.Version = 0
	err = c.send(ctx, http.MethodPut, route("credential-templates", t.Name), t, &made)
	return made, err
}

// PresentationRequest asks a holder for something.
type PresentationRequest struct {
	Purpose    string          `json:"purpose"`
	Requested  json.RawMessage `json:"requested"`
	Federation string          `json:"federation,omitempty"`
	Audience   string          `json:"audience"`
	TTL        int             `json:"ttl"` // seconds, at most 600
}

// PresentationRequested is an open request.
type PresentationRequested struct {
	ID        string    `json:"id"`
	Nonce     string    `json:"nonce"`
	URI       string    `json:"uri"`
	ExpiresAt time.Time `json:"expiresAt"`
	PresentationRequest
}

// RequestPresentation opens a request.
func (c *Client) RequestPresentation(ctx context.Context, r PresentationRequest) (p PresentationRequested, err error) {
	err = c.post(ctx, route("presentation-requests"), r, &p)
	return p, err
}

// PresentationRequest reads an open request, as its holder does.
func (c *Client) PresentationRequest(ctx context.Context, id string) (p PresentationRequested, err error) {
	err = c.get(ctx, route("presentation-requests", id), &p)
	return p, err
}

// RespondPresentation answers a request with one presentation, once.
func (c *Client) RespondPresentation(ctx context.Context, id string, presentation json.RawMessage) error {
	return c.post(ctx, route("presentation-requests", id, "responses"), presentation, nil)
}

// PresentationResult reads what came of a request, as JSON: the report and the claims that were disclosed.
func (c *Client) PresentationResult(ctx context.Context, id string) (json.RawMessage, error) {
	return c.raw(ctx, route("presentation-requests", id, "result"), "application/json")
}
