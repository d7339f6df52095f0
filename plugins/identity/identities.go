package identity

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/rest"
)

// identityRoutes are the life of a DID as signed operations, what is known of it, and what this node keeps beside it.
func (x *identity) identityRoutes() []plugins.Route {
	is := func(op string) rest.Fits {
		return func(o plugins.Op, r *http.Request) error { return x.fitsDID(o.(*did.Operation), op, r) }
	}
	about := func(path string, serve func(http.ResponseWriter, *http.Request) error, query ...string) plugins.Route {
		r := rest.Open(http.MethodGet, v1+"/identities/{did}"+path, plugins.RateAnonymous, serve)
		r.Query = query
		return r
	}
	log := about("/log", x.log, "receipts")
	log.Gives = []string{typeJSONLines, typeNDJSON}
	return slices.Concat([]plugins.Route{
		rest.Signed(http.MethodPost, "/identities", x.submitting(KindDID, is(did.OpCreate))),
		rest.Signed(http.MethodPut, "/identities/{did}/document", x.submitting(KindDID, is(did.OpUpdate))),
		rest.Signed(http.MethodPost, "/identities/{did}/recover", x.submitting(KindDID, is(did.OpRecover))),
		rest.Signed(http.MethodPost, "/identities/{did}/deactivate", x.submitting(KindDID, is(did.OpDeactivate))),
		rest.WithBody(rest.Open(http.MethodPost, v1+"/identities/drafts", plugins.RateAnonymous, x.draft), rest.MaxOperationBody),
		about("/document", x.document, "version", "at"), about("/history", x.history, rest.PageQuery()...), log,
	}, x.profileRoutes(), x.proposalRoutes(), x.deviceRoutes())
}

// fitsDID refuses an operation that is not what its route is for: the caller has mixed something up.
func (x *identity) fitsDID(op *did.Operation, want string, r *http.Request) error {
	if op.Op != want {
		return plugins.Reject("bad_value", "the operation is %s; this route takes %s", op.Op, want)
	}
	if path := r.PathValue("did"); path != "" && path != op.DID.String() {
		return plugins.Reject("bad_value", "the operation is about another DID than the path")
	}
	return x.checkVersion(op, r.Header.Get("If-Match"))
}

// checkVersion honours If-Match. An operation that took effect already is not held against itself.
func (x *identity) checkVersion(op *did.Operation, want string) error {
	if want == "" {
		return nil
	}
	if _, done := did.FindOperation(x.host.View(), op.Hash); done {
		return nil
	}
	head, found, err := did.ReadHead(x.host.View(), op.DID)
	if err != nil {
		x.damaged(err)
		return err
	}
	if !found || !rest.MatchesTag(want, head.VersionID()) {
		return plugins.Reject("version_mismatch", "the newest version is %q", head.VersionID())
	}
	return nil
}

// pathDID is the did:weft that a route is about, and its head.
func (x *identity) pathDID(r *http.Request) (did.DID, did.Head, error) {
	d, err := did.Parse(r.PathValue("did"))
	if err != nil {
		return d, did.Head{}, plugins.Reject("bad_parameter", "%s", detailOf(err))
	}
	head, found, err := did.ReadHead(x.host.View(), d)
	if !found && err == nil && d.Network() == x.label() {
		x.host.CatchUp(r.Context())
		head, found, err = did.ReadHead(x.host.View(), d)
	}
	switch {
	case err != nil:
		x.damaged(err)
	case !found:
		err = plugins.Reject("unknown_did", "no such DID on this network")
	}
	return d, head, err
}

// document is GET /api/v1/identities/{did}/document. A version that is asked for is there also of a deactivated DID: it is
// history.
func (x *identity) document(w http.ResponseWriter, r *http.Request) error {
	d, _, err := x.pathDID(r)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	o := did.Options{VersionID: q.Get("version"), Newest: x.host.Head().FinalTime}
	if text := q.Get("at"); text != "" {
		at, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return plugins.Reject("bad_parameter", "at: want a time such as 2026-11-22T17:00:00Z")
		}
		o.VersionTime = at.UTC().Format(time.RFC3339) // floored, as versions are looked up
	}
	result := did.Resolve(x.host.View(), d.String(), o)
	switch {
	case result.Fault != nil:
		x.damaged(result.Fault)
		return result.Fault
	case result.Error != nil && result.Error.Status == http.StatusNotFound:
		return plugins.Reject("not_found", "%s", result.Error.Detail)
	case result.Error != nil:
		return plugins.Reject("bad_parameter", "%s", result.Error.Detail)
	case result.Document == nil:
		return plugins.Reject("deactivated", "the DID is deactivated; its versions are in /history")
	}
	a := resolverAnswer{form: formDocument, status: http.StatusOK, mediaType: rest.TypeJSON, body: result.Document}
	a.describe(question{options: o}, result)
	return a.write(w, r)
}

// versionView is one version in a list.
type versionView struct {
	VersionID string `json:"versionId"`
	OpHash    string `json:"opHash"`
	Op        string `json:"op"`
	rest.Place
	Time string `json:"time"`
	Rule string `json:"rule"`

	n int
}

// history is GET /api/v1/identities/{did}/history: the first version first.
func (x *identity) history(w http.ResponseWriter, r *http.Request) error {
	d, _, err := x.pathDID(r)
	if err != nil {
		return err
	}
	p, err := rest.ReadPage(r)
	if err != nil {
		return err
	}
	after, err := parseCursor(p.After)
	if err != nil {
		return err
	}
	var list []versionView
	err = did.Log(x.host.View(), d, after+1, func(n int, record did.Record) bool {
		list = append(list, versionView{
			VersionID: record.VersionID(n), OpHash: record.OpHash, Op: operationName(record.Raw), n: n,
			Place: rest.Place{Position: record.Position, Index: record.Index}, Time: record.Time.String(), Rule: record.Rule.String(),
		})
		return len(list) <= p.Limit
	})
	if err != nil {
		x.damaged(err)
		return err
	}
	return rest.Answer(w, http.StatusOK, rest.PageOf(list, p, func(v versionView) string { return formatCursor(v.n) }))
}

// listQuery is what GET /api/v1/identities is asked for.
type listQuery struct {
	rest.Page
	kind  string // type
	text  string // lower case
	since time.Time
}

func readListQuery(r *http.Request) (q listQuery, err error) {
	if q.Page, err = rest.ReadPage(r); err != nil {
		return q, err
	}
	v := r.URL.Query()
	q.kind, q.text = v.Get("type"), strings.ToLower(v.Get("q"))
	if text := v.Get("createdAfter"); text != "" {
		if q.since, err = time.Parse(time.RFC3339Nano, text); err != nil {
			return q, plugins.Reject("bad_parameter", "createdAfter: want a time such as 2026-11-22T17:00:00Z")
		}
	}
	return q, nil
}

// takes says whether a DID with its profile is one of those asked for.
func (q listQuery) takes(v identityView) bool {
	switch {
	case q.kind != "" && v.Type != q.kind:
		return false
	case !q.since.IsZero() && !v.created.After(q.since):
		return false
	}
	return q.text == "" || strings.Contains(strings.ToLower(v.DID+"\n"+v.Username), q.text)
}
