package identity

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/identity/status"
	"weft/plugins/identity/vc"
	"weft/plugins/rest"
)

// credentialRoutes are those for issuers who hold their own key (identity.md, section 7.3), with templates.
func (x *identity) credentialRoutes() []plugins.Route {
	issue, read := plugins.ScopeCredentialsIssue, plugins.ScopeIdentitiesRead
	admin := func(method, path string, serve func(http.ResponseWriter, *http.Request) error) plugins.Route {
		r := rest.Token(method, path, plugins.ScopeAdmin, serve)
		r.Auth = plugins.AuthAdmin
		return r
	}
	list := []plugins.Route{
		rest.Token(http.MethodGet, "/credential-templates", read, x.listTemplates, rest.PageQuery()...),
		rest.Token(http.MethodGet, "/credential-templates/{template}", read, x.getTemplate),
		admin(http.MethodPost, "/credential-templates", x.addTemplate),
		admin(http.MethodPut, "/credential-templates/{template}", x.putTemplate),
		rest.Token(http.MethodPost, "/credentials/drafts", issue, x.draftCredential),
		rest.WithBody(rest.Token(http.MethodPost, "/credentials", issue, x.registerCredential), rest.MaxVerifyBody),
		rest.Token(http.MethodGet, "/credentials", read, x.listCredentials, rest.PageQuery("role", "template", "status")...),
		rest.Open(http.MethodGet, v1+"/credentials/{id}/status", plugins.RateRead, x.credentialStatus),
		rest.Token(http.MethodGet, "/credentials/{id}/custody", read, x.getCustody),
		rest.Token(http.MethodDelete, "/credentials/{id}/custody", read, x.eraseCustody),
	}
	for _, verb := range []string{"revoke", "suspend", "reinstate"} {
		list = append(list, rest.Signed(http.MethodPost, "/credentials/{id}/"+verb, x.submitting(KindStatus, x.fitsCredential(verb))))
	}
	return list
}

// draftLife is how long a draft waits for its signature.
const draftLife = 24 * time.Hour

// savedDraft is a credential that waits for its signature.
type savedDraft struct {
	Credential json.RawMessage `json:"credential"` // canonical
	Template   string          `json:"template"`
	Status     []statusRef     `json:"status"`
}

// credentialIntent is the body of POST /api/v1/credentials/drafts.
type credentialIntent struct {
	Template   string          `json:"template"`
	Issuer     string          `json:"issuer"`
	Subject    string          `json:"subject"`
	Claims     json.RawMessage `json:"claims"`
	ValidFrom  time.Time       `json:"validFrom"`
	ValidUntil time.Time       `json:"validUntil"`
	Status     []string        `json:"status"`             // purposes, or ids of lists
	Method     string          `json:"verificationMethod"` // for hashData: the method that will sign
}

// credentialDraft is the unsigned credential, and what to sign if the caller has said with which method.
type credentialDraft struct {
	Draft      string          `json:"draft"`
	Credential json.RawMessage `json:"credential"`
	ToSign     *signingInput   `json:"toSign,omitempty"`
	Summary    string          `json:"summary"`
	ExpiresAt  string          `json:"expiresAt"`
}

// signingInput is a proof without its value and the 64 bytes that its key signs with plain Ed25519.
type signingInput struct {
	Proof    did.Object `json:"proof"`
	HashData string     `json:"hashData"`
}

// draftCredential is POST /api/v1/credentials/drafts.
func (x *identity) draftCredential(w http.ResponseWriter, r *http.Request) error {
	var body credentialIntent
	if err := rest.Read(r, &body); err != nil {
		return err
	}
	owner := plugins.CallerOf(r.Context()).ID
	if err := x.records.mayOpen(sortDraft, owner); err != nil {
		return err
	}
	t, err := x.template(body.Template, 0)
	if err != nil {
		return err
	}
	doc, err := x.compose(t, body)
	if err != nil {
		return err
	}
	d := savedDraft{Template: t.Name}
	if d.Status, err = x.allotFor(r.Context(), body, x.baseOf(r)); err != nil {
		return err
	}
	addEntries(doc, d.Status)
	if d.Credential, err = did.Canonical(doc); err != nil {
		return err
	}
	id, ends := randomID(), x.now().Add(draftLife)
	a := credentialDraft{Draft: id, Credential: d.Credential, ExpiresAt: ends.UTC().Format(time.RFC3339), Summary: describeDraft(t, body)}
	if body.Method != "" {
		if a.ToSign, err = x.prepareProof(doc, body.Method); err != nil {
			return err
		}
	}
	if err := x.records.put(sortDraft, id, owner, ends, d); err != nil {
		return err
	}
	rest.NoStore(w)
	return rest.Answer(w, http.StatusCreated, a)
}

// randomID names a record: 128 bits that nobody guesses.
func randomID() string {
	b := make([]byte, 16)
	rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

func describeDraft(t template, body credentialIntent) string {
	s := fmt.Sprintf("%s says of %s: %s", body.Issuer, body.Subject, t.Display.Title)
	if !body.ValidUntil.IsZero() {
		s += ", until " + body.ValidUntil.UTC().Format(time.RFC3339)
	}
	return s
}

// compose makes the credential of a template and claims, and holds it to the template's schema.
func (x *identity) compose(t template, body credentialIntent) (did.Object, error) {
	for name, who := range map[string]string{"issuer": body.Issuer, "subject": body.Subject} {
		if u, err := did.ParseURL(who); err != nil || u.DID != who {
			return nil, plugins.Reject("bad_value", "%s: want a DID", name)
		}
	}
	if body.Claims == nil {
		return nil, plugins.Reject("bad_value", "claims: missing")
	}
	subject, err := did.DecodeObject(body.Claims, did.JSONLimits{MaxDepth: vc.MaxDepth / 2})
	if err != nil {
		return nil, err
	}
	if _, given := subject["id"]; given {
		return nil, plugins.Reject("bad_value", "claims: the id is that of subject")
	}
	subject["id"] = body.Subject
	doc := did.Object{
		"@context": []any{vc.ContextV2, did.Object{"@vocab": t.vocabulary()}}, "id": newUUID(), "type": []any{"VerifiableCredential", t.Type},
		"issuer": body.Issuer, "credentialSubject": subject, "credentialSchema": did.Object{"id": t.schemaID(), "type": "JsonSchema"},
	}
	from := body.ValidFrom
	if from.IsZero() {
		from = x.now()
	}
	doc["validFrom"] = from.UTC().Format(time.RFC3339)
	if !body.ValidUntil.IsZero() {
		doc["validUntil"] = body.ValidUntil.UTC().Format(time.RFC3339)
	}
	if err := vc.ValidateSchema(t.schemaID(), t.Schema, doc); err != nil {
		return nil, plugins.Reject("bad_value", "claims: %s", detailOf(err))
	}
	if err := vc.CheckCredential(doc); err != nil {
		return nil, plugins.Reject("bad_value", "%s", detailOf(err))
	}
	return doc, nil
}

func (x *identity) prepareProof(doc did.Object, method string) (*signingInput, error) {
	proof, hashData, err := vc.PrepareProof(x.contexts, doc, vc.ProofOptions{
		Cryptosuite: vc.SuiteJCS, VerificationMethod: method, Purpose: "assertionMethod", Created: x.now(),
	})
	return &signingInput{proof, base64.RawURLEncoding.EncodeToString(hashData)}, err
}

// MaxStatusEntries bounds the status lists of one credential.
const MaxStatusEntries = 4

// allotFor uses up a random index in each list that a draft asks for.
func (x *identity) allotFor(ctx context.Context, body credentialIntent, base string) (refs []statusRef, err error) {
	if len(body.Status) > MaxStatusEntries {
		return nil, plugins.Reject("bad_value", "status: at most %d", MaxStatusEntries)
	}
	for _, wanted := range body.Status {
		l, err := x.listFor(ctx, body.Issuer, wanted)
		if err != nil {
			return nil, err
		}
		index, err := x.books.allot(l.Issuer, string(l.Purpose), l.ID)
		if err != nil {
			return nil, err
		}
		refs = append(refs, statusRef{l.ID, string(l.Purpose), index, base + "/status-lists/" + l.ID})
	}
	return refs, nil
}

// listFor finds a list of the issuer by its id, or any with room by its purpose.
func (x *identity) listFor(ctx context.Context, issuer, wanted string) (*status.List, error) {
	if wanted == string(status.Revocation) || wanted == string(status.Suspension) {
		id, err := x.anyList(ctx, issuer, status.Purpose(wanted))
		if err != nil {
			return nil, err
		}
		wanted = id
	}
	l, err := status.ReadList(x.host.View(), wanted)
	switch {
	case err != nil:
		return nil, err
	case l.Issuer != issuer:
		return nil, plugins.Reject("bad_value", "the list %s is not of %s", l.ID, issuer)
	case l.Closed != nil:
		return nil, plugins.Reject("list_closed", "%s", l.ID)
	case l.Home != x.host.Self:
		return nil, plugins.Reject("not_list_home", "the book of %s is kept by member %s", l.ID, l.Home)
	}
	return l, nil
}

func (x *identity) anyList(ctx context.Context, issuer string, purpose status.Purpose) (string, error) {
	for _, one := range x.settings.Issuers {
		if one.DID == issuer {
			return x.instance(one).list(ctx, purpose)
		}
	}
	if id, found := (instance{identity: x, Issuer: Issuer{DID: issuer}}).usable(purpose); found {
		return id, nil
	}
	return "", plugins.Reject("unknown_list", "%s has no list for %s with home %s: make one with POST /api/v1/status-lists here", issuer, purpose, x.host.Self)
}

// registerCredential is POST /api/v1/credentials: the draft comes back signed.
func (x *identity) registerCredential(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Draft      string          `json:"draft"`
		Credential json.RawMessage `json:"credential"`
		Custody    bool            `json:"custody"` // keep the body, encrypted to the holder
		Anchor     json.RawMessage `json:"anchor"`  // a signed anchor operation, published with it
	}
	if err := rest.Read(r, &body); err != nil {
		return err
	}
	caller := plugins.CallerOf(r.Context())
	var d savedDraft
	owner, found, err := x.records.get(sortDraft, body.Draft, &d)
	if err != nil {
		return err
	}
	if !found || owner != caller.ID {
		return plugins.Reject("not_found", "no such draft of the caller waits here")
	}
	doc, err := x.signedDraft(r.Context(), d, body.Credential)
	if err != nil {
		return err
	}
	id, _ := doc["id"].(string)
	a := registered{CredentialID: id}
	if body.Anchor != nil {
		if a.Anchor, err = x.submitAnchor(r.Context(), body.Anchor); err != nil {
			return err
		}
	}
	writes, err := x.registration(id, doc, d, caller.ID, body.Credential, body.Custody)
	if err != nil {
		return err
	}
	if err := x.records.local.Write(append(writes, erasure(sortDraft, body.Draft, owner)...)...); err != nil {
		return err
	}
	w.Header().Set("Location", v1+"/credentials/"+url.PathEscape(id)+"/status")
	return rest.Answer(w, http.StatusCreated, a)
}

type registered struct {
	CredentialID string `json:"credentialId"`
	Anchor       string `json:"anchor,omitempty"` // opHash
}

// signedDraft wants exactly the draft, well signed. That it is not valid yet is no fault.
func (x *identity) signedDraft(ctx context.Context, d savedDraft, raw json.RawMessage) (did.Object, error) {
	if raw == nil {
		return nil, plugins.Reject("bad_value", "credential: missing")
	}
	report := vc.Verify(x.verifier(ctx), raw, vc.Options{})
	failures := slices.DeleteFunc(report.Failures(), func(name string) bool { return name == vc.CheckValidity })
	if len(failures) > 0 || report.Document == nil {
		return nil, &plugins.Problem{Rejection: plugins.Rejection{Code: "bad_value", Detail: "the credential was refused"}, More: map[string]any{"checks": report.Checks}}
	}
	same := maps.Clone(report.Document)
	delete(same, "proof")
	for _, claim := range []string{"iss", "iat", "nbf", "exp", "sub", "jti", "cnf"} { // of a token, judged with it
		delete(same, claim)
	}
	canonical, err := did.Canonical(same)
	if err != nil {
		return nil, err
	}
	if string(canonical) != string(d.Credential) {
		return nil, plugins.Reject("bad_value", "the credential is not the one of the draft")
	}
	return report.Document, nil
}

// submitAnchor publishes an anchor operation. The node cannot open it: the salt stays with issuer and holder.
func (x *identity) submitAnchor(ctx context.Context, raw json.RawMessage) (string, error) {
	body, err := did.DecodeObject(raw, did.JSONLimits{MaxBytes: status.MaxOperationBytes})
	if err != nil {
		return "", err
	}
	entry, err := did.Canonical(body)
	if err != nil {
		return "", err
	}
	op, err := x.ledger.check(KindStatus, entry)
	if err != nil {
		return "", err
	}
	if err := fitsStatus(status.MakeAnchor)(op, nil); err != nil {
		return "", err
	}
	s, err := x.operations.Submit(ctx, KindStatus, op, entry)
	return s.Hash, err
}

// registration are the records of a credential.
func (x *identity) registration(id string, doc did.Object, d savedDraft, by string, raw []byte, custody bool) ([]plugins.Write, error) {
	text := unquote(raw)
	canonical, err := vc.AnchorBytes(text)
	if err != nil {
		return nil, err
	}
	c := issuedCredential{
		Issuer: issuerOf(doc), Subject: subjectOf(doc), Type: typesOf(doc), Template: d.Template, Hash: did.Multihash(canonical),
		Issued: x.now().UTC(), By: by, Status: d.Status,
	}
	writes, err := x.records.writes(sortCredential, id, c.Issuer, time.Time{}, c)
	if err != nil || !custody {
		return writes, err
	}
	if text[0] != '{' {
		canonical = text // an SD-JWT with its disclosures
	}
	sealed, err := x.sealFor(c.Subject, canonical)
	if err != nil {
		return nil, err
	}
	more, err := x.records.writes(sortCustody, id, c.Subject, time.Time{}, sealed)
	return append(writes, more...), err
}

// unquote is the text of a token that came as a JSON string; an object stays as it is.
func unquote(raw []byte) []byte {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return []byte(text)
	}
	return raw
}

// The words for what has become of a credential.
const (
	stateActive    = "active"
	stateSuspended = "suspended"
	stateRevoked   = "revoked"
)

// statusView is what has become of a credential.
type statusView struct {
	CredentialID string        `json:"credentialId"`
	Status       string        `json:"status"`
	Entries      []statusEntry `json:"entries"`
	AsOf         asOf          `json:"asOf"`
}

type statusEntry struct {
	Purpose    string `json:"statusPurpose"`
	List       string `json:"list"`
	Index      string `json:"statusListIndex"`
	Credential string `json:"statusListCredential"`
	Set        bool   `json:"set"`
}

func (x *identity) stateOf(c issuedCredential) (state string, entries []statusEntry, err error) {
	state, entries = stateActive, []statusEntry{}
	for _, ref := range c.Status {
		set, err := status.Bit(x.host.View(), ref.List, int(ref.Index))
		if err != nil {
			return "", nil, err
		}
		entries = append(entries, statusEntry{ref.Purpose, ref.List, strconv.FormatUint(ref.Index, 10), ref.URL, set})
		if set && ref.Purpose == string(status.Revocation) {
			state = stateRevoked
		} else if set && state == stateActive {
			state = stateSuspended
		}
	}
	return state, entries, nil
}

// credentialStatus is GET /api/v1/credentials/{id}/status.
func (x *identity) credentialStatus(w http.ResponseWriter, r *http.Request) error {
	now, id := x.asOf(), r.PathValue("id")
	c, found, err := x.issued(id)
	if err != nil {
		return err
	}
	if !found {
		return plugins.Reject("not_found", "no such credential was registered here")
	}
	state, entries, err := x.stateOf(c)
	if err != nil {
		return err
	}
	return rest.Answer(w, http.StatusOK, statusView{id, state, entries, now})
}

// credentialView is a credential in a list.
type credentialView struct {
	CredentialID string        `json:"credentialId"`
	Issuer       string        `json:"issuer"`
	Subject      string        `json:"subject,omitempty"`
	Type         []string      `json:"type"`
	Template     string        `json:"template,omitempty"`
	Hash         string        `json:"hash"`
	Issued       string        `json:"issued"`
	Status       string        `json:"status"`
	Entries      []statusEntry `json:"entries"`
	Custody      bool          `json:"custody"`
}

// listCredentials is GET /api/v1/credentials: those that the caller is a party of. It looks at MaxListed at the most: a page
// may be short, and its cursor says where to go on.
func (x *identity) listCredentials(w http.ResponseWriter, r *http.Request) error {
	p, err := rest.ReadPage(r)
	if err != nil {
		return err
	}
	want, err := readFilter(r)
	if err != nil {
		return err
	}
	var items []credentialView
	last, left := "", MaxListed
	x.records.each(sortCredential, "", p.After, func(id string, rec record) bool {
		if left == 0 {
			return false
		}
		last, left = id, left-1
		var c issuedCredential
		if err = json.Unmarshal(rec.Value, &c); err != nil || !want.fits(c) {
			return err == nil
		}
		var v credentialView
		if v, err = x.credentialView(id, c); err == nil && (want.state == "" || v.Status == want.state) {
			items = append(items, v)
		}
		return err == nil && len(items) <= p.Limit
	})
	if err != nil {
		return err
	}
	a := rest.PageOf(items, p, func(v credentialView) string { return v.CredentialID })
	if left == 0 && a.Next == nil {
		a.Next = rest.Cursor(last)
	}
	return rest.Answer(w, http.StatusOK, a)
}

// credentialFilter is what a list is asked for, and by whom.
type credentialFilter struct {
	caller                plugins.Caller
	role, template, state string
}

func readFilter(r *http.Request) (f credentialFilter, err error) {
	q := r.URL.Query()
	f = credentialFilter{plugins.CallerOf(r.Context()), q.Get("role"), q.Get("template"), q.Get("status")}
	if f.role != "" && f.role != "issuer" && f.role != "subject" {
		return f, plugins.Reject("bad_parameter", "role: want issuer or subject")
	}
	if f.state != "" && f.state != stateActive && f.state != stateSuspended && f.state != stateRevoked {
		return f, plugins.Reject("bad_parameter", "status: want %s, %s or %s", stateActive, stateSuspended, stateRevoked)
	}
	return f, nil
}

func (f credentialFilter) fits(c issuedCredential) bool {
	return c.mayKnow(f.caller) && (f.template == "" || f.template == c.Template) &&
		(f.role != "issuer" || f.caller.DID == c.Issuer) && (f.role != "subject" || f.caller.DID == c.Subject)
}

func (x *identity) credentialView(id string, c issuedCredential) (v credentialView, err error) {
	v = credentialView{
		CredentialID: id, Issuer: c.Issuer, Subject: c.Subject, Type: c.Type, Template: c.Template, Hash: c.Hash, Issued: c.Issued.Format(time.RFC3339),
	}
	if v.Status, v.Entries, err = x.stateOf(c); err != nil {
		return v, err
	}
	_, v.Custody, err = x.records.read(sortCustody, id)
	return v, err
}

// fitsCredential wants an operation that does to the credential of the path what the route says, and nothing else.
func (x *identity) fitsCredential(verb string) rest.Fits {
	purpose := map[string]string{"revoke": "revocation", "suspend": "suspension", "reinstate": "suspension"}[verb]
	return func(o plugins.Op, r *http.Request) error {
		c, found, err := x.issued(r.PathValue("id"))
		if err != nil {
			return err
		}
		if !found {
			return plugins.Reject("not_found", "no such credential was registered here")
		}
		op := o.(*status.Operation)
		on, off := op.On, op.Off
		if verb == "reinstate" {
			on, off = off, on
		}
		if op.Op != status.Set || len(on) == 0 || len(off) > 0 {
			return plugins.Reject("bad_value", "the operation does not %s", verb)
		}
		for _, set := range byList(c.refs(purpose)) {
			if set.list == op.List && !slices.ContainsFunc(on, func(i int) bool { return !slices.Contains(set.indexes, i) }) {
				return nil
			}
		}
		return plugins.Reject("bad_value", "the operation is not about the entry of this credential for %s", purpose)
	}
}
