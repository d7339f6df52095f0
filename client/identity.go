package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"weft/tangle"
)

// OperationOptions of a signed operation; the zero value submits without waiting.
type OperationOptions struct {
	Final   time.Duration // wait this long for finality, at most MaxWait; 0: do not wait
	IfMatch string        // an update only: refuse unless this is the newest versionId
}

// Operated is how far a signed operation has come. A refusal, early or at its place, is a *Problem instead.
type Operated struct {
	Status    Status          `json:"status"`
	Outcome   string          `json:"outcome,omitempty"` // accepted or rejected, from ordered on
	Code      string          `json:"code,omitempty"`    // of a rejection
	OpHash    string          `json:"opHash"`
	EntryHash tangle.Hash     `json:"entryHash"`
	MessageID tangle.ID       `json:"messageId"`
	Place     *Place          `json:"place,omitempty"`
	Time      *time.Time      `json:"time,omitempty"` // commit time
	Result    OperationResult `json:"result"`
	Receipt   string          `json:"receipt,omitempty"` // base64url
}

// OperationResult names what a final operation made or changed; only the members of its kind are set.
type OperationResult struct {
	DID        string `json:"did,omitempty"`
	VersionID  string `json:"versionId,omitempty"`
	List       string `json:"list,omitempty"`
	Federation string `json:"federation,omitempty"`
	Grant      string `json:"grant,omitempty"`

	// Of a channel.
	Channel string       `json:"channel,omitempty"`
	Event   *uint64      `json:"event,omitempty"`
	Seq     uint64       `json:"seq,omitempty"`
	Head    *tangle.Hash `json:"head,omitempty"`
}

// SubmitOperation publishes a signed operation of any kind: of a DID, a status list, trust or a channel. The body says
// what it is, so it also says the route. It is sent again when the node is busy or silent: the same operation twice is
// one operation.
func (c *Client) SubmitOperation(ctx context.Context, operation []byte, o OperationOptions) (Operated, error) {
	var done Operated
	method, path, err := operationRoute(operation)
	if err != nil {
		return done, err
	}
	v := Options{Final: o.Final}.query()
	a, err := c.do(ctx, call{method: method, path: query(path, v), body: operation, match: o.IfMatch})
	if err != nil {
		return done, err
	}
	return done, decode(path, a.body, &done)
}

// operationRoute is where an operation goes.
func operationRoute(operation []byte) (method, path string, err error) {
	var head struct{ Type, Op, DID, List, Federation, Grant, Channel string }
	if err := json.Unmarshal(operation, &head); err != nil {
		return "", "", fmt.Errorf("not an operation: %w", err)
	}
	post := func(parts ...string) (string, string, error) { return http.MethodPost, route(parts...), nil }
	if head.Type == "weft/channel/1" && head.Op != "create" {
		return post("channels", head.Channel, "operations")
	}
	switch head.Type + " " + head.Op {
	case "weft/channel/1 create":
		return post("channels")
	case "weft/op/1 create":
		return post("identities")
	case "weft/op/1 update":
		return http.MethodPut, route("identities", head.DID, "document"), nil
	case "weft/op/1 recover", "weft/op/1 deactivate":
		return post("identities", head.DID, head.Op)
	case "weft/status/1 create":
		return post("status-lists")
	case "weft/status/1 set", "weft/status/1 close":
		return post("status-lists", head.List, "operations")
	case "weft/status/1 anchor":
		return post("anchors")
	case "weft/status/1 spend":
		return post("spends")
	case "weft/trust/1 federation.create":
		return post("trust", "federations")
	case "weft/trust/1 grant":
		return post("trust", "federations", head.Federation, "accreditations")
	case "weft/trust/1 revoke":
		return post("trust", "accreditations", head.Grant, "revoke")
	case "weft/trust/1 root.add", "weft/trust/1 root.revoke", "weft/trust/1 root.reinstate", "weft/trust/1 threshold.set":
		return post("trust", "federations", head.Federation, "roots")
	case "weft/trust/1 property.add", "weft/trust/1 property.revoke":
		return post("trust", "federations", head.Federation, "properties")
	}
	return "", "", fmt.Errorf("no route for an operation of type %q and op %q", head.Type, head.Op)
}

// route joins path elements below /api/v1, each escaped as one.
func route(parts ...string) string {
	path := "/api/v1"
	for _, p := range parts {
		path += "/" + url.PathEscape(p)
	}
	return path
}

// OperationState asks how far an operation has come.
func (c *Client) OperationState(ctx context.Context, opHash string) (o Operated, err error) {
	err = c.get(ctx, route("operations", opHash), &o)
	return o, err
}

// ResolveOptions pick a version of a DID document; the zero value is the newest one.
type ResolveOptions struct {
	VersionID    string
	VersionTime  time.Time
	Relationship string // the verification method named must be in it
	Expand       bool   // absolute URLs inside the document
	Proof        bool   // with receipts of the versions
}

func (o ResolveOptions) values() url.Values {
	v := url.Values{}
	if o.VersionID != "" {
		v.Set("versionId", o.VersionID)
	}
	if !o.VersionTime.IsZero() {
		v.Set("versionTime", o.VersionTime.UTC().Format(time.RFC3339))
	}
	if o.Relationship != "" {
		v.Set("verificationRelationship", o.Relationship)
	}
	if o.Expand {
		v.Set("expandRelativeUrls", "true")
	}
	if o.Proof {
		v.Set("proof", "true")
	}
	return v
}

// Resolution is a result of DID Resolution 1.0. The document of a deactivated DID is null.
type Resolution struct {
	Document json.RawMessage  `json:"didDocument"`
	Metadata ResolverMetadata `json:"didResolutionMetadata"`
	Version  DocumentMetadata `json:"didDocumentMetadata"`
}

// ResolverMetadata is about the resolution, not the document.
type ResolverMetadata struct {
	ContentType string         `json:"contentType,omitempty"`
	Retrieved   *time.Time     `json:"retrieved,omitempty"`
	Error       *ResolverError `json:"error,omitempty"`
}

// ResolverError is the resolver's refusal; Type is a URL that ends in a name such as NOT_FOUND.
type ResolverError struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
}

// DocumentMetadata is about one version of a document.
type DocumentMetadata struct {
	Created       *time.Time      `json:"created,omitempty"`
	Updated       *time.Time      `json:"updated,omitempty"`
	VersionID     string          `json:"versionId,omitempty"`
	NextUpdate    *time.Time      `json:"nextUpdate,omitempty"`
	NextVersionID string          `json:"nextVersionId,omitempty"`
	Deactivated   bool            `json:"deactivated,omitempty"`
	Conflicts     int             `json:"conflicts,omitempty"`
	Proof         json.RawMessage `json:"proof,omitempty"`
}

const resolverPath = "/1.0/identifiers/"

// Resolve resolves a DID of any method the node knows. A refusal is a *Problem whose code is the name of the resolver's
// error, such as NOT_FOUND; that a DID is deactivated is an answer, not a refusal.
func (c *Client) Resolve(ctx context.Context, id string, o ResolveOptions) (r Resolution, err error) {
	path := query(resolverPath+url.PathEscape(id), o.values())
	a, err := c.do(ctx, call{method: http.MethodGet, path: path, accept: "application/did-resolution"})
	if p := resolverProblem(err); p != nil {
		if json.Unmarshal(a.body, &r) != nil || (r.Metadata.Error == nil && !r.Version.Deactivated) {
			return r, err
		}
		return r, p.explain(r.Metadata.Error)
	}
	if err != nil {
		return r, err
	}
	return r, decode(path, a.body, &r)
}

// Dereferenced is what a DID URL leads to.
type Dereferenced struct {
	Content  json.RawMessage  `json:"content"`
	Metadata ResolverMetadata `json:"dereferencingMetadata"`
	Version  DocumentMetadata `json:"contentMetadata"`
}

// Dereference follows a DID URL: to a verification method or service of a document by its fragment, to a service's
// address by its query.
func (c *Client) Dereference(ctx context.Context, didURL string) (d Dereferenced, err error) {
	path := resolverPath + url.PathEscape(didURL)
	a, err := c.do(ctx, call{method: http.MethodGet, path: path, accept: "application/did-url-dereferencing"})
	if p := resolverProblem(err); p != nil && json.Unmarshal(a.body, &d) == nil && d.Metadata.Error != nil {
		return d, p.explain(d.Metadata.Error)
	}
	if err != nil {
		return d, err
	}
	return d, decode(path, a.body, &d)
}

// resolverProblem is the problem in err if the resolver may have said more in its own format.
func resolverProblem(err error) *Problem {
	var p *Problem
	if errors.As(err, &p) && strings.HasPrefix(p.Code, "http_") {
		return p
	}
	return nil
}

// explain is the problem in the resolver's words; without any there is none.
func (p *Problem) explain(e *ResolverError) error {
	if e == nil {
		return nil
	}
	name := e.Type[strings.LastIndexByte(e.Type, '#')+1:]
	return &Problem{Status: p.Status, Code: name, Title: e.Title, Detail: e.Detail, RequestID: p.RequestID}
}

// Version is one version of a DID document in a list.
type Version struct {
	VersionID string          `json:"versionId"`
	OpHash    string          `json:"opHash"`
	Op        string          `json:"op"`
	Position  tangle.Position `json:"position"`
	Time      time.Time       `json:"time"`
	Rule      string          `json:"rule,omitempty"` // own, controllers or recovery
}

// History lists the versions of a DID, the first one first.
func (c *Client) History(ctx context.Context, id string, p Page) (l List[Version], err error) {
	err = c.get(ctx, query(route("identities", id, "history"), p.values()), &l)
	return l, err
}

// IdentityDocument reads one version of a document: of a versionId, or as of a time, or the newest.
func (c *Client) IdentityDocument(ctx context.Context, id, version string, at time.Time) (json.RawMessage, error) {
	v := url.Values{}
	if version != "" {
		v.Set("version", version)
	}
	if !at.IsZero() {
		v.Set("at", at.UTC().Format(time.RFC3339Nano))
	}
	return c.raw(ctx, query(route("identities", id, "document"), v), "application/json")
}

// LogLine is one operation in the log of a DID, or one that lost against it.
type LogLine struct {
	Operation json.RawMessage `json:"operation,omitempty"` // of one that lost: in its receipt
	OpHash    string          `json:"opHash"`
	VersionID string          `json:"versionId,omitempty"` // empty: not in the log
	Position  tangle.Position `json:"position"`
	Index     int             `json:"index"`
	EntryHash tangle.Hash     `json:"entryHash"`
	Time      time.Time       `json:"time"`
	Author    *tangle.Member  `json:"author,omitempty"`
	Rule      string          `json:"rule,omitempty"`
	Code      string          `json:"code,omitempty"`    // of a rejected one: conflict
	Receipt   string          `json:"receipt,omitempty"` // base64url
}

// MaxLogLines bounds the log of one DID.
const MaxLogLines = 100_000

// IdentityLog reads all operations of a DID, with receipts if asked for. With the genesis they prove every version.
func (c *Client) IdentityLog(ctx context.Context, id string, receipts bool) ([]LogLine, error) {
	v := url.Values{}
	if receipts {
		v.Set("receipts", "true")
	}
	path := query(route("identities", id, "log"), v)
	raw, err := c.raw(ctx, path, "application/jsonl")
	if err != nil {
		return nil, err
	}
	var lines []LogLine
	for d := json.NewDecoder(bytes.NewReader(raw)); d.More(); {
		var line LogLine
		if err := d.Decode(&line); err != nil {
			return nil, fmt.Errorf("answer to %s: line %d: %w", path, len(lines)+1, err)
		}
		if lines = append(lines, line); len(lines) > MaxLogLines {
			return nil, fmt.Errorf("answer to %s has more than %d lines", path, MaxLogLines)
		}
	}
	return lines, nil
}

// Draft is an unsigned operation that a node has built. Clients that can should build it themselves.
type Draft struct {
	DID       string          `json:"did"`
	Operation json.RawMessage `json:"operation"`
	OpHash    string          `json:"opHash"`
	ToSign    []DraftToSign   `json:"toSign"`
	Summary   string          `json:"summary"`
}

// DraftToSign is what one key signs: 64 bytes of hashData, base64url.
type DraftToSign struct {
	Proof    json.RawMessage `json:"proof"`
	HashData string          `json:"hashData"`
}

// DraftIdentity asks the node to build an operation from intent and public keys.
func (c *Client) DraftIdentity(ctx context.Context, intent any) (d Draft, err error) {
	err = c.post(ctx, route("identities", "drafts"), intent, &d)
	return d, err
}

// Proposal collects the proofs of several signers at a node.
type Proposal struct {
	ID        string          `json:"id"`
	Status    string          `json:"status"`
	Code      string          `json:"code,omitempty"` // why it is refused
	Operation json.RawMessage `json:"operation"`      // with the proofs it has
	OpHash    string          `json:"opHash"`
	Signers   []string        `json:"signers"`
	Missing   int             `json:"missing"`
	ExpiresAt *time.Time      `json:"expiresAt,omitempty"`
}

// Propose puts an operation, with the proofs it has, before its other signers.
func (c *Client) Propose(ctx context.Context, operation json.RawMessage) (p Proposal, err error) {
	err = c.post(ctx, route("proposals"), map[string]any{"operation": operation}, &p)
	return p, err
}

// Proposal reads one.
func (c *Client) Proposal(ctx context.Context, id string) (p Proposal, err error) {
	err = c.get(ctx, route("proposals", id), &p)
	return p, err
}

// AddProof adds a signer's proof to a proposal; the node publishes a complete one.
func (c *Client) AddProof(ctx context.Context, id string, proof json.RawMessage) (p Proposal, err error) {
	err = c.post(ctx, route("proposals", id, "proofs"), map[string]any{"proof": proof}, &p)
	return p, err
}

// Identity is a DID with its profile, which lies off the ledger.
type Identity struct {
	DID       string          `json:"did"`
	Username  string          `json:"username,omitempty"`
	Type      string          `json:"type,omitempty"`
	Claims    json.RawMessage `json:"claims,omitempty"`
	Hidden    bool            `json:"hidden,omitempty"`
	Created   *time.Time      `json:"createdAt,omitempty"`
	VersionID string          `json:"versionId,omitempty"`

	Deactivated bool `json:"deactivated,omitempty"`
}

// IdentityFilter picks identities; zero fields do not filter.
type IdentityFilter struct {
	Type         string
	Text         string // substring of DID or name
	CreatedAfter time.Time
}

// Identities lists DIDs with their profiles.
func (c *Client) Identities(ctx context.Context, f IdentityFilter, p Page) (l List[Identity], err error) {
	v := p.values()
	if f.Type != "" {
		v.Set("type", f.Type)
	}
	if f.Text != "" {
		v.Set("q", f.Text)
	}
	if !f.CreatedAfter.IsZero() {
		v.Set("createdAfter", f.CreatedAfter.UTC().Format(time.RFC3339))
	}
	err = c.get(ctx, query(route("identities"), v), &l)
	return l, err
}

// Identity reads one DID with its profile.
func (c *Client) Identity(ctx context.Context, id string) (i Identity, err error) {
	err = c.get(ctx, route("identities", id), &i)
	return i, err
}

// Profile is what PatchProfile changes; nil fields stay.
type Profile struct {
	Username *string         `json:"username,omitempty"`
	Type     *string         `json:"type,omitempty"`
	Claims   json.RawMessage `json:"claims,omitempty"`
	Hidden   *bool           `json:"hidden,omitempty"`
}

// PatchProfile changes a profile.
func (c *Client) PatchProfile(ctx context.Context, id string, p Profile) (i Identity, err error) {
	err = c.send(ctx, http.MethodPatch, route("identities", id, "profile"), p, &i)
	return i, err
}

// DeleteProfile erases a profile. The DID stays.
func (c *Client) DeleteProfile(ctx context.Context, id string) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: route("identities", id, "profile")})
	return err
}

// Enrolment is a one-time claim for a device that brings its own keys.
type Enrolment struct {
	ID        string    `json:"id"`
	Claim     string    `json:"claim"` // secret: whoever has it becomes the device
	Owner     string    `json:"owner"`
	ExpiresAt time.Time `json:"expiresAt"`
}

// EnrolDevice makes a claim; its owner becomes the device's controller.
func (c *Client) EnrolDevice(ctx context.Context, owner string) (e Enrolment, err error) {
	err = c.post(ctx, route("devices", "enrolments"), map[string]any{"owner": owner}, &e)
	return e, err
}

// Claimed is what came of a claim: the device's operation is on the ledger, or waits for its owner's signature.
type Claimed struct {
	Status    Status `json:"status"` // proposed: it waits in the proposal
	DID       string `json:"did"`
	VersionID string `json:"versionId,omitempty"`
	OpHash    string `json:"opHash"`
	Proposal  string `json:"proposal,omitempty"`
}

// ClaimDevice redeems a claim with the device's own create operation.
func (c *Client) ClaimDevice(ctx context.Context, id, claim string, create json.RawMessage, o OperationOptions) (done Claimed, err error) {
	path := query(route("devices", "enrolments", id, "claim"), Options{Final: o.Final}.query())
	err = c.post(ctx, path, map[string]any{"claim": claim, "operation": create}, &done)
	return done, err
}

// post sends a JSON body under an idempotency key of its own, so that it can be sent again.
func (c *Client) post(ctx context.Context, path string, body, into any) error {
	return c.send(ctx, http.MethodPost, path, body, into)
}

func (c *Client) send(ctx context.Context, method, path string, body, into any) error {
	a, err := c.exchange(ctx, method, path, body)
	if err != nil || into == nil || len(a.body) == 0 {
		return err
	}
	return decode(path, a.body, into)
}

// exchange returns the answer also where the node refuses: some routes say why in a format of their own.
func (c *Client) exchange(ctx context.Context, method, path string, body any) (answer, error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return answer{}, err
	}
	q := call{method: method, path: path, body: raw}
	if method == http.MethodPost {
		q.key = NewKey()
	}
	return c.do(ctx, q)
}

// UnmarshalJSON takes a result beside the state as well as inside "result".
func (o *Operated) UnmarshalJSON(raw []byte) error {
	type plain Operated
	var flat struct {
		OperationResult
		Position *tangle.Position `json:"position"`
	}
	if err := errors.Join(json.Unmarshal(raw, (*plain)(o)), json.Unmarshal(raw, &flat)); err != nil {
		return err
	}
	if o.Result == (OperationResult{}) {
		o.Result = flat.OperationResult
	}
	if o.Place == nil && flat.Position != nil {
		o.Place = &Place{Position: *flat.Position}
	}
	if o.Status == "" && o.Place != nil {
		o.Status = Final
	}
	return nil
}

// Words says in one line how far an operation has come.
func (o Operated) Words() string {
	s := string(o.Status)
	if o.Outcome != "" {
		s += ", " + o.Outcome
	}
	if o.Code != "" {
		s += " (" + o.Code + ")"
	}
	if o.Place != nil {
		s += " at position " + strconv.FormatUint(uint64(o.Place.Position), 10)
	}
	return s
}
