package identity

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/identity/status"
	"weft/plugins/identity/vc"
	"weft/plugins/rest"
	"weft/tangle"
)

// statusListRoutes are those of the ledger's own form of status lists, below /api/v1.
func (x *identity) statusListRoutes() []plugins.Route {
	upload := rest.Token(http.MethodPut, "/status-lists/{list}", plugins.ScopeCredentialsIssue, x.uploadList)
	return []plugins.Route{
		rest.Signed(http.MethodPost, "/status-lists", x.openingBook(x.submitting(KindStatus, fitsCreateList))),
		rest.Signed(http.MethodPost, "/status-lists/{list}/operations", x.submitting(KindStatus, fitsList)),
		rest.Reading("/status-lists/{list}", x.ledgerList, "timestamp"),
		rest.WithBody(upload, rest.MaxVerifyBody),
		rest.Signed(http.MethodPost, "/anchors", x.submitting(KindStatus, fitsStatus(status.MakeAnchor))),
		rest.Signed(http.MethodPost, "/spends", x.submitting(KindStatus, fitsStatus(status.Spend))),
	}
}

func fitsCreateList(o plugins.Op, r *http.Request) error { return fitsStatus(status.CreateList)(o, r) }

func fitsStatus(want status.Op) rest.Fits {
	return func(o plugins.Op, _ *http.Request) error {
		if op := o.(*status.Operation); op.Op != want {
			return plugins.Reject("bad_value", "the operation is %s; this route takes %s", op.Op, want)
		}
		return nil
	}
}

// fitsList wants a change of the list in the path.
func fitsList(o plugins.Op, r *http.Request) error {
	op := o.(*status.Operation)
	if op.Op != status.Set && op.Op != status.CloseList {
		return plugins.Reject("bad_value", "the operation is %s; this route takes %s and %s", op.Op, status.Set, status.CloseList)
	}
	if op.List != r.PathValue("list") {
		return plugins.Reject("bad_value", "the operation is about another list than the path")
	}
	return nil
}

// openingBook begins the book of a list whose home is this node, before the list can be used by anybody.
func (x *identity) openingBook(submit func(http.ResponseWriter, *http.Request) error) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		raw, err := rest.ReadBody(r)
		if err != nil {
			return err
		}
		r.Body = nopCloser{bytes.NewReader(raw)}
		op, err := status.Decode(x.host.Network, x.ledger.limits, raw)
		if err == nil && op.Op == status.CreateList && op.Create.Home == x.host.Self {
			err = x.openBook(op)
		}
		if err != nil && plugins.Rejected(err) == nil {
			return err
		}
		return submit(w, r) // which says what is wrong with the operation
	}
}

// openBook begins a book if the ledger would take the list now.
func (x *identity) openBook(op *status.Operation) error {
	if err := x.ledger.admit(x.host.Self, x.now)(x.host.View(), op); err != nil {
		return err
	}
	return x.books.open(op.Actor, string(op.Create.Purpose), op.Envelope.Hash, op.Create.Size)
}

type nopCloser struct{ *bytes.Reader }

func (nopCloser) Close() error { return nil }

// listView is the ledger's form of a status list.
type listView struct {
	status.List
	EncodedList string `json:"encodedList"`
	Timestamp   string `json:"timestamp,omitempty"` // the time of which it is, if one was asked for
	Final       bool   `json:"final"`               // the operation that made the list
	Receipt     string `json:"receipt,omitempty"`   // its proof
	AsOf        asOf   `json:"asOf"`
}

// asOf says as of when an answer is.
type asOf struct {
	Position tangle.Position `json:"position"`
	Final    tangle.Position `json:"final"`
	Time     string          `json:"time"`
}

func (x *identity) asOf() asOf {
	h := x.host.Head()
	return asOf{h.Position, h.Final, h.Time.String()}
}

// ledgerList is GET /api/v1/status-lists/{list}.
func (x *identity) ledgerList(w http.ResponseWriter, r *http.Request) error {
	now := x.asOf()
	l, err := x.readList(r)
	if err != nil {
		return err
	}
	bits, at, err := x.bitsFor(r, l)
	if err != nil {
		return err
	}
	v := listView{List: *l, AsOf: now}
	if v.EncodedList, err = vc.EncodeList(bits); err != nil {
		return err
	}
	if at != 0 {
		v.Timestamp = at.String()
	}
	if s, known := x.operations.State(l.ID); known && s.Status == "final" {
		v.Final = true
		if proof, err := x.host.Receipt(s.Entry); err == nil {
			v.Receipt = base64.RawURLEncoding.EncodeToString(proof)
		}
	}
	return rest.Answer(w, http.StatusOK, v)
}

// readList finds the list of the path. One that this node has not heard of may be known to others already.
func (x *identity) readList(r *http.Request) (*status.List, error) {
	id := r.PathValue("list")
	l, err := status.ReadList(x.host.View(), id)
	if plugins.Rejected(err) != nil && listID(id) != "" {
		x.host.CatchUp(r.Context())
		l, err = status.ReadList(x.host.View(), id)
	}
	return l, err
}

// bitsFor are the bits now, or as of ?timestamp, which must be past for good.
func (x *identity) bitsFor(r *http.Request, l *status.List) (vc.Bitstring, tangle.Time, error) {
	text := r.URL.Query().Get("timestamp")
	if text == "" {
		bits, err := status.Bits(x.host.View(), l.ID)
		return bits, 0, err
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || t.Year() < 1970 {
		return nil, 0, plugins.Reject("bad_parameter", "timestamp: want a time such as 2026-11-22T17:00:00Z")
	}
	at := tangle.TimeOf(t)
	if head := x.host.Head(); at > head.FinalTime {
		return nil, 0, plugins.Reject("bad_parameter", "timestamp: nothing is certified after %s", head.FinalTime)
	}
	bits, err := status.BitsAt(x.host.View(), l.ID, at)
	return bits, at, err
}

// servedList is a signed copy of a status list.
type servedList struct {
	body    []byte
	version uint32
	until   time.Time // when it is signed anew, whatever its bits
}

// servedLists are copies signed by instances of this node, by URL. It is safe for concurrent use.
type servedLists struct {
	mu     sync.Mutex // guards copies
	copies map[string]servedList
}

// MaxServed bounds the copies; where publicURL is not set, callers choose the URL.
const MaxServed = 256

func (s *servedLists) find(url string, version uint32, now time.Time) ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, found := s.copies[url]
	return c.body, found && c.version == version && now.Before(c.until)
}

func (s *servedLists) keep(url string, c servedList) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.copies == nil || len(s.copies) >= MaxServed {
		s.copies = map[string]servedList{}
	}
	s.copies[url] = c
}

// serveList is GET /status-lists/{list}: the list as a credential, signed by an instance of its issuer here, or as the issuer
// has signed and uploaded it.
func (x *identity) serveList(w http.ResponseWriter, r *http.Request) error {
	l, err := x.readList(r)
	if err != nil {
		return err
	}
	if name := r.PathValue("name"); name != "" {
		if one, err := x.issuer(name); err != nil || one.DID != l.Issuer {
			return plugins.Reject("unknown_list", "the issuer %.60q has no such list", name)
		}
	}
	body, err := x.signedList(r, l)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Cache-Control", "public, max-age=30")
	h.Set("Vary", "Accept")
	return rest.AnswerBytes(w, http.StatusOK, listType(r), body)
}

// listType is JSON, which is what clients look for, unless the caller asks for a credential and for no JSON.
func listType(r *http.Request) string {
	accept := strings.Join(r.Header.Values("Accept"), ",")
	for one := range strings.SplitSeq(accept, ",") {
		if wanted, _, err := mime.ParseMediaType(one); err == nil && wanted == "application/vc" && !strings.Contains(accept, rest.TypeJSON) {
			return "application/vc"
		}
	}
	return rest.TypeJSON
}

func (x *identity) signedList(r *http.Request, l *status.List) ([]byte, error) {
	at := slices.IndexFunc(x.settings.Issuers, func(one Issuer) bool { return one.DID == l.Issuer })
	if at >= 0 {
		return x.instance(x.settings.Issuers[at]).signList(r, l)
	}
	return x.uploadedList(r, l)
}

// signList signs the list anew if its bits have changed, or half of its time to live is over.
func (in instance) signList(r *http.Request, l *status.List) ([]byte, error) {
	url, now := in.baseOf(r)+"/status-lists/"+l.ID, in.now()
	dated := r.URL.Query().Get("timestamp") != ""
	if body, found := in.served.find(url, l.Version, now); found && !dated {
		return body, nil
	}
	bits, at, err := in.bitsFor(r, l)
	if err != nil {
		return nil, err
	}
	o := vc.ListOptions{ID: url, Issuer: in.DID, Purpose: string(l.Purpose), ValidFrom: now}
	if at != 0 {
		o.ValidFrom = at.Std()
	}
	doc, err := vc.ListCredential(o, bits)
	if err != nil {
		return nil, err
	}
	if _, err := in.public(); err != nil {
		return nil, err
	}
	signed, err := vc.AddProof(vc.Config{Contexts: in.contexts}, doc, in.proof(in.Cryptosuites[0]), in.sign)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(signed)
	if err == nil && !dated {
		in.served.keep(url, servedList{body, l.Version, now.Add(vc.DefaultTTL / 2)})
	}
	return body, err
}

// uploadedCopy is a list as its issuer's client has signed it.
type uploadedCopy struct {
	Credential json.RawMessage `json:"credential"`
	Version    uint32          `json:"version"` // of the list when it was uploaded
}

// uploadedList is the copy that the issuer has uploaded, as long as it says what the ledger says.
func (x *identity) uploadedList(r *http.Request, l *status.List) ([]byte, error) {
	var c uploadedCopy
	_, found, err := x.records.get(sortSignedList, l.ID, &c)
	if err != nil {
		return nil, err
	}
	if !found || c.Version != l.Version || r.URL.Query().Get("timestamp") != "" {
		return nil, plugins.Reject("unsigned_list", "no copy of %s as it is now is signed here; /api/v1/status-lists has the ledger's form", l.ID)
	}
	return c.Credential, nil
}

// uploadList is PUT /api/v1/status-lists/{list}: the body is the signed credential.
func (x *identity) uploadList(w http.ResponseWriter, r *http.Request) error {
	l, err := x.readList(r)
	if err != nil {
		return err
	}
	raw, err := rest.ReadBody(r)
	if err != nil {
		return err
	}
	report := vc.Verify(x.verifier(r.Context()), raw, vc.Options{})
	if !report.Verified {
		return &plugins.Problem{Rejection: plugins.Rejection{Code: "bad_value", Detail: "the credential was refused"}, More: map[string]any{"checks": report.Checks}}
	}
	if err := x.sameList(report.Document, l); err != nil {
		return err
	}
	if err := x.records.put(sortSignedList, l.ID, l.Issuer, time.Time{}, uploadedCopy{raw, l.Version}); err != nil {
		return err
	}
	return rest.None(w)
}

// sameList wants a credential of the list's issuer that says exactly what the ledger says.
func (x *identity) sameList(doc did.Object, l *status.List) error {
	subject, _ := doc["credentialSubject"].(did.Object)
	id, _ := doc["id"].(string)
	encoded, _ := subject["encodedList"].(string)
	switch {
	case issuerOf(doc) != l.Issuer:
		return plugins.Reject("bad_value", "the list is of %s", l.Issuer)
	case !slices.Contains(typesOf(doc), "BitstringStatusListCredential") || subject["type"] != "BitstringStatusList" || subject["statusPurpose"] != string(l.Purpose):
		return plugins.Reject("bad_value", "want a BitstringStatusListCredential for %s", l.Purpose)
	case listID(id) != l.ID:
		return plugins.Reject("bad_value", "the id of the credential is not the URL of this list")
	}
	bits, err := vc.DecodeList(encoded)
	if err != nil {
		return plugins.Reject("bad_value", "%s", detailOf(err))
	}
	now, err := status.Bits(x.host.View(), l.ID)
	if err != nil {
		return err
	}
	if !bytes.Equal(bits, now) {
		return plugins.Reject("bad_value", "the bits are not those of the ledger")
	}
	return nil
}
