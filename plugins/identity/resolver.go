package identity

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/rest"
	"weft/tangle"
)

// resolverRoutes are the HTTP binding of DID Resolution 1.0 (section 10.1), and what a driver of the DIF Universal Resolver
// tells about itself.
func (x *identity) resolverRoutes() []plugins.Route {
	get := rest.Open(http.MethodGet, resolverPath+"{did...}", plugins.RateAnonymous, x.resolve)
	get.AnyQuery, get.AnyOrigin, get.Gives = true, true, nil
	post := rest.WithBody(get, MaxOptions)
	post.Method, post.AnyOrigin = http.MethodPost, false
	post.Types = []string{rest.TypeJSON, typeResolution, typeDereferencing}
	about := func(name string, serve func(http.ResponseWriter, *http.Request) error) plugins.Route {
		r := rest.Open(http.MethodGet, "/1.0/"+name, plugins.RateAnonymous, serve)
		r.AnyOrigin = true
		return r
	}
	return []plugins.Route{
		get, post,
		about("methods", x.resolverMethods), about("properties", x.resolverProperties),
		about("traits", x.resolverTraits), about("testIdentifiers", x.resolverTests),
	}
}

const resolverPath = "/1.0/identifiers/"

// resolve is GET and POST /1.0/identifiers/{did or DID URL}.
func (x *identity) resolve(w http.ResponseWriter, r *http.Request) error {
	q, e := x.readQuestion(r)
	a := resolverAnswer{form: q.form, status: 0}
	switch {
	case e != nil:
		a.refuse(e)
	case q.form == formNone:
		a.refuse(did.NewError("REPRESENTATION_NOT_SUPPORTED", "none of the types in Accept is one of this resolver"))
	case q.dereferences():
		x.dereference(r.Context(), q, &a)
	default:
		x.resolveDID(r.Context(), q, &a)
	}
	return a.write(w, r)
}

// resolveDID answers with a document and its metadata.
func (x *identity) resolveDID(ctx context.Context, q question, a *resolverAnswer) {
	result := did.Resolve(x.host.View(), q.url, q.options)
	if x.mayBeNews(q.url, result.Error) {
		result = did.Resolve(x.caughtUp(ctx, &q), q.url, q.options)
	}
	if result.Fault != nil {
		x.damaged(result.Fault)
	}
	x.prove(ctx, q, &result)
	a.describe(q, result)
	if result.Error != nil {
		a.refuse(result.Error)
		return
	}
	a.status, a.body = result.Status(), result.JSON(tangle.TimeOf(x.now()))
	if q.form == formDocument && result.Document != nil {
		a.mediaType, a.body = q.mediaType, result.Document
	}
}

// dereference answers with what a DID URL leads to.
func (x *identity) dereference(ctx context.Context, q question, a *resolverAnswer) {
	d := did.Dereference(x.host.View(), q.url, q.options)
	if x.mayBeNews(q.url, d.Resolved.Error) {
		d = did.Dereference(x.caughtUp(ctx, &q), q.url, q.options)
	}
	if d.Resolved.Fault != nil {
		x.damaged(d.Resolved.Fault)
	}
	x.prove(ctx, q, &d.Resolved)
	a.describe(q, d.Resolved)
	switch {
	case d.Error != nil:
		a.refuse(d.Error)
	case d.Redirect, q.form == formURIList && len(d.Endpoints) > 0:
		a.status, a.location = http.StatusSeeOther, d.Endpoints[0]
	case q.form == formURIList:
		a.refuse(did.NewError("NOT_FOUND", "the services have no endpoint that is a URL"))
	case q.form == formResolution && q.selects:
		a.refuse(did.NewError("INVALID_DID", "a DID URL, not a DID: ask for "+typeDereferencing))
	case q.form == formDocument && d.Content != nil:
		a.status, a.mediaType, a.body = d.Status(), q.mediaType, d.Content
	default:
		a.status, a.body = d.Status(), d.JSON(tangle.TimeOf(x.now()))
	}
}

// mayBeNews says whether what was not found can be in entries that are here and have no place yet.
func (x *identity) mayBeNews(url string, e *did.ResolutionError) bool {
	return e != nil && e.Status == http.StatusNotFound && strings.HasPrefix(url, "did:"+did.MethodName+":"+x.label()+":")
}

// caughtUp is the state once all that is here has its place.
func (x *identity) caughtUp(ctx context.Context, q *question) plugins.View {
	x.host.CatchUp(ctx)
	q.options.Newest = x.host.Head().FinalTime
	return x.host.View()
}

// damaged stops the node: its state breaks a rule that nothing may break, so no answer of it can be trusted.
func (x *identity) damaged(fault error) {
	x.host.Log.Error("the state is damaged, the node stops", "error", fault)
	select {
	case x.faults <- fault:
	default: // it stops already
	}
}

// resolverAnswer is an answer of the resolver on its way out.
type resolverAnswer struct {
	form      form
	status    int
	mediaType string // empty: that of the form's result
	body      did.Object
	location  string // of a redirect, which has no body
	version   string // versionId
	cache     string // Cache-Control
}

// describe notes what a cache may do with an answer.
func (a *resolverAnswer) describe(q question, r did.Result) {
	a.version = r.Metadata.VersionID
	switch {
	case a.version != "" && q.options.VersionID != "":
		a.cache = "public, max-age=31536000, immutable"
	case a.version != "":
		a.cache = "public, max-age=" + strconv.Itoa(r.TTL)
	case strings.HasPrefix(r.DID, webPrefix):
		a.cache = "public, max-age=60"
	default: // computed
		a.cache = "public, max-age=86400"
	}
}

// refuse makes it an error in the format of the form.
func (a *resolverAnswer) refuse(e *did.ResolutionError) {
	a.status, a.mediaType, a.version, a.cache = e.Status, "", "", "no-store"
	if a.form == formDereferencing || a.form == formURIList {
		a.body = did.Dereferenced{Error: e}.JSON(0)
	} else {
		a.form, a.body = formResolution, did.Result{Error: e}.JSON(0)
	}
}

func (a *resolverAnswer) write(w http.ResponseWriter, r *http.Request) error {
	h := w.Header()
	h.Set("Cache-Control", a.cache)
	h.Add("Vary", "Accept")
	if a.version != "" {
		h.Set("ETag", strconv.Quote(a.version))
	}
	if a.location != "" {
		h.Set("Location", a.location)
		w.WriteHeader(a.status)
		return nil
	}
	if a.status == http.StatusOK && a.version != "" && rest.MatchesTag(r.Header.Get("If-None-Match"), a.version) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	text, err := did.ASCII(a.body)
	if err != nil {
		return err
	}
	if a.mediaType == "" {
		a.mediaType = a.form.mediaType()
	}
	return rest.AnswerBytes(w, a.status, a.mediaType, text)
}
