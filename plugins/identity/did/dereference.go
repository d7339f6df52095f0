package did

import (
	"maps"
	"slices"
	"strings"

	"weft/plugins"
	"weft/tangle"
)

// Dereferenced is the outcome of dereferencing a DID URL.
type Dereferenced struct {
	Resolved  Result   // of the DID; its Metadata describe Content if that is a document
	Content   Object   // a document, a verification method or a service; nil with an error or of a deactivated DID
	Endpoints []string // URLs of the selected services, as text/uri-list has them
	Redirect  bool     // the DID URL asks for Endpoints[0]: 303 whatever the accepted type
	Document  bool     // Content is a document
	Error     *ResolutionError
}

// Status is the HTTP status of the result.
func (r Dereferenced) Status() int {
	switch {
	case r.Error != nil:
		return r.Error.Status
	case r.Redirect:
		return 303
	}
	return r.Resolved.Status()
}

// JSON is the DID URL dereferencing result of section 10. The text of the standard says content, its suite and section 5
// contentStream: it has both.
func (r Dereferenced) JSON(retrieved tangle.Time) Object {
	if r.Error != nil {
		return Object{"content": nil, "contentStream": nil, "contentMetadata": Object{}, "dereferencingMetadata": Object{"error": r.Error.JSON()}}
	}
	metadata := Object{}
	if r.Document || r.Content == nil {
		metadata = r.Resolved.Metadata.JSON()
	}
	return Object{
		"content": orNull(r.Content), "contentStream": orNull(r.Content), "contentMetadata": metadata,
		"dereferencingMetadata": Object{"contentType": "application/did", "retrieved": FormatTime(retrieved)},
	}
}

// Dereference is the algorithm of section 5.4: a document, a method or a service by fragment, or services by service,
// serviceType and relativeRef. Nothing is fetched.
func Dereference(v plugins.View, didURL string, o Options) Dereferenced {
	u, err := ParseURL(didURL)
	if err != nil {
		return Dereferenced{Error: NewError("INVALID_DID_URL", plugins.Rejected(err).Detail)}
	}
	if e := o.take(u); e != nil {
		return Dereferenced{Error: e}
	}
	r := Dereferenced{Resolved: resolve(v, u, o)}
	doc := r.Resolved.Document
	if r.Error = r.Resolved.Error; r.Error != nil || doc == nil {
		return r
	}
	switch {
	case u.Path != "" || !u.known():
		r.Error = NewError("NOT_FOUND", "did:"+u.Method+" does not define that path or query")
	case u.selects():
		r.services(doc, u, o)
	case u.Fragment != "":
		r.fragment(doc, u, o)
	case o.Relationship != "":
		r.Error = NewError("INVALID_RELATIONSHIP_FOR_VERIFICATION_METHOD", "not the DID URL of a verification method")
	default:
		r.Content, r.Document = doc, true
	}
	return r
}

// known says whether every parameter is one of DID Resolution 1.0.
func (u URL) known() bool {
	return !slices.ContainsFunc(u.Query, func(p Parameter) bool {
		return !slices.Contains([]string{"versionId", "versionTime", "service", "serviceType", "relativeRef"}, p.Name)
	})
}

// selects says whether the DID URL asks for services.
func (u URL) selects() bool {
	return slices.ContainsFunc(u.Query, func(p Parameter) bool {
		return p.Name == "service" || p.Name == "serviceType" || p.Name == "relativeRef"
	})
}

// fragment finds a method or a service by its id.
func (r *Dereferenced) fragment(doc Object, u URL, o Options) {
	id := u.DID + "#" + u.Fragment
	item := find(doc, "verificationMethod", id)
	switch {
	case o.Relationship != "" && (item == nil || !lists(doc, o.Relationship, id)):
		r.Error = NewError("INVALID_RELATIONSHIP_FOR_VERIFICATION_METHOD", "the document does not list it in "+string(o.Relationship))
		return
	case item == nil:
		item = find(doc, "service", id)
	}
	if item == nil {
		r.Error = NewError("NOT_FOUND", "the document has no such method or service")
		return
	}
	r.Content = maps.Clone(item)
	r.Content["@context"] = doc["@context"]
}

// services selects services and builds their URLs.
func (r *Dereferenced) services(doc Object, u URL, o Options) {
	if o.Relationship != "" {
		r.Error = NewError("INVALID_RELATIONSHIP_FOR_VERIFICATION_METHOD", "a service is not a verification method")
		return
	}
	selected := selectServices(doc, u)
	reference, isRelative := u.Get("relativeRef")
	for _, s := range selected {
		for _, endpoint := range endpointTexts(s.(Object)) {
			url, ok := joinURL(endpoint, reference, u.Fragment)
			if !ok {
				r.Endpoints, r.Error = nil, NewError("INVALID_DID_URL", "relativeRef or fragment do not fit the service endpoint")
				return
			}
			r.Endpoints = append(r.Endpoints, url)
		}
	}
	if len(selected) == 0 || isRelative && len(r.Endpoints) == 0 {
		r.Error = NewError("NOT_FOUND", "the document has no such service")
		return
	}
	r.Content, r.Document, r.Redirect = maps.Clone(doc), true, isRelative
	r.Content["service"] = selected
}

func selectServices(doc Object, u URL) (selected []any) {
	id, byID := u.Get("service")
	kind, byType := u.Get("serviceType")
	if byID && !strings.HasPrefix(id, "did:") {
		id = u.DID + "#" + strings.TrimPrefix(id, "#")
	}
	list, _ := doc["service"].([]any)
	for _, v := range list {
		s, _ := v.(Object)
		if (!byID || s["id"] == id) && (!byType || isOfType(s, kind)) && (byID || byType) {
			selected = append(selected, s)
		}
	}
	return selected
}

func isOfType(service Object, kind string) bool {
	several, _ := service["type"].([]any)
	return service["type"] == kind || slices.Contains(several, any(kind))
}

// endpointTexts are the endpoints of a service that are URLs; maps are passed over.
func endpointTexts(service Object) (list []string) {
	several, ok := service["serviceEndpoint"].([]any)
	if !ok {
		several = []any{service["serviceEndpoint"]}
	}
	for _, v := range several {
		if s, ok := v.(string); ok {
			list = append(list, s)
		}
	}
	return list
}

// joinURL puts a relative reference behind an endpoint, and the fragment of the DID URL behind both. As in example 14 of
// DID Resolution 1.0 the endpoint is taken for a folder, and what RFC 3986 would put elsewhere (another authority, another
// path) is refused: the reference comes from whoever wrote the DID URL, the endpoint from the DID's owner.
func joinURL(endpoint, reference, fragment string) (string, bool) {
	if reference != "" {
		var ok bool
		if endpoint, ok = appendReference(endpoint, reference); !ok {
			return "", false
		}
	}
	if fragment == "" {
		return endpoint, true
	}
	return endpoint + "#" + fragment, !strings.Contains(endpoint, "#")
}

func appendReference(endpoint, reference string) (string, bool) {
	path, rest := reference, ""
	if i := strings.IndexAny(reference, "?#"); i >= 0 {
		path, rest = reference[:i], reference[i:]
	}
	if !isURLText(path, "/") || !isURLText(strings.Replace(rest, "#", "", 1), "/?") || strings.HasPrefix(path, "//") || climbs(path) {
		return "", false
	}
	if !strings.Contains(endpoint, "://") || strings.Contains(strings.SplitN(path, "/", 2)[0], ":") {
		return "", false
	}
	base := endpoint
	if i := strings.IndexAny(base, "?#"); i >= 0 {
		base = base[:i]
	}
	if path == "" {
		return base + rest, true
	}
	return strings.TrimRight(base, "/") + "/" + strings.TrimPrefix(path, "/") + rest, true
}

// climbs says whether a path has a segment that leads upwards, however often it is percent-encoded. Paths that go up and
// down again without leaving the folder are refused with the rest: nobody needs them.
func climbs(path string) bool {
	for range len(path) + 1 {
		for segment := range strings.FieldsFuncSeq(path, func(r rune) bool { return r == '/' || r == '\\' }) {
			if segment == ".." || strings.HasPrefix(segment, "..;") {
				return true
			}
		}
		decoded, ok := percentDecode(path)
		if !ok || decoded == path {
			return false
		}
		path = decoded
	}
	return false
}
