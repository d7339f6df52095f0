package identity

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"weft/plugins/identity/did"
	"weft/plugins/rest"
)

// MaxOptions bounds the body of POST to the resolver in bytes.
const MaxOptions = 16 << 10

// question is what the resolver is asked.
type question struct {
	url       string // a DID or DID URL
	selects   bool   // it names something else than a document
	options   did.Options
	form      form
	mediaType string // of formDocument, as asked
}

// dereferences says which of the two functions of DID Resolution 1.0 answers.
func (q question) dereferences() bool {
	return q.selects || q.form == formDereferencing || q.options.Relationship != ""
}

// readQuestion reads path, query, body and Accept. The form is set also with an error, which has to be told in it.
func (x *identity) readQuestion(r *http.Request) (q question, e *did.ResolutionError) {
	options := q.readURL(strings.TrimPrefix(r.URL.EscapedPath(), resolverPath), r.URL.RawQuery)
	u, err := did.ParseURL(q.url)
	q.selects = err == nil && u.Dereferences()
	_, bySelector := u.Get("service")
	_, byType := u.Get("serviceType")
	q.form, q.mediaType = negotiate(r.Header.Values("Accept"), q.selects, bySelector || byType)
	if r.Method == http.MethodPost {
		more, e := readOptions(r)
		if e != nil {
			return q, e
		}
		options = append(options, more...)
	}
	newest := x.host.Head().FinalTime // read before the state, which is never older
	if q.options, e = did.ParseOptions(options); e != nil {
		return q, e
	}
	if q.options.VersionID == "" {
		q.options.VersionID, _ = u.Get("versionId")
	}
	q.options.Newest = newest
	q.options.Conflicts = func(d did.DID) int { return len(conflicts(x.host.IndexView(), d)) }
	q.options.Other = x.webResolver(r.Context())
	return q, nil
}

// readURL puts the DID URL together from the escaped path and the raw query, and returns the options in the query. A
// client sends the DID URL as it is, or percent-encoded, and then its own query holds options only.
func (q *question) readURL(path, query string) (options []did.Parameter) {
	plain, err := url.PathUnescape(path)
	if err != nil || isPlainWeb(path) {
		plain = path
	}
	base, fragment, hasFragment := strings.Cut(plain, "#")
	hasQuery := strings.Contains(base, "?")
	for part := range strings.SplitSeq(query, "&") {
		name, value, ok := splitParameter(part)
		switch {
		case part == "":
		case !ok || slices.Contains([]string{"service", "serviceType", "relativeRef"}, name),
			!hasQuery && (name == "versionId" || name == "versionTime"):
			base += separator(base) + part
		default:
			options = append(options, did.Parameter{Name: name, Value: value})
		}
	}
	if q.url = base; hasFragment {
		q.url += "#" + fragment
	}
	return options
}

// isPlainWeb says whether a path holds a did:web that is not encoded: its %3A is part of the DID.
func isPlainWeb(path string) bool {
	if !strings.HasPrefix(path, webPrefix) {
		return false
	}
	upper := strings.ToUpper(path)
	return !slices.ContainsFunc([]string{"%25", "%23", "%3F", "%2F"}, func(s string) bool { return strings.Contains(upper, s) })
}

func separator(base string) string {
	if strings.Contains(base, "?") {
		return "&"
	}
	return "?"
}

// splitParameter decodes one parameter of a query. A plus sign is a plus sign, as in DID URLs.
func splitParameter(part string) (name, value string, ok bool) {
	name, value, _ = strings.Cut(part, "=")
	name, err := url.PathUnescape(name)
	if err != nil {
		return "", "", false
	}
	value, err = url.PathUnescape(value)
	return name, value, err == nil
}

// readOptions reads the options of a POST.
func readOptions(r *http.Request) (list []did.Parameter, _ *did.ResolutionError) {
	raw, err := rest.ReadBody(r)
	if err != nil {
		return nil, did.NewError("INTERNAL_ERROR", "the body cannot be read")
	}
	o, err := did.DecodeObject(raw, did.JSONLimits{MaxBytes: MaxOptions})
	if err != nil {
		return nil, did.NewError("INVALID_OPTIONS", detailOf(err))
	}
	for name, value := range o {
		switch v := value.(type) {
		case string:
			list = append(list, did.Parameter{Name: name, Value: v})
		case bool:
			text, _ := json.Marshal(v) // cannot fail
			list = append(list, did.Parameter{Name: name, Value: string(text)})
		default:
			return nil, did.NewError("INVALID_OPTIONS", "an option is a string, true or false")
		}
	}
	slices.SortFunc(list, func(a, b did.Parameter) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}
