package did

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"weft/plugins"
	"weft/tangle"
)

// Options are the options of DID Resolution 1.0, section 4.1 and 5.1, and what the resolver is told by its host.
type Options struct {
	VersionID    string
	VersionTime  string       // RFC 3339, UTC, whole seconds
	Relationship Relationship // verificationRelationship, of dereferencing

	// ExpandRelativeURLs and NoCache change nothing: documents always hold absolute ids, and nothing is cached.
	ExpandRelativeURLs bool
	NoCache            bool
	Proof              bool // ours: the caller adds receipts to the metadata

	Newest    tangle.Time     // newest certified commit time; a VersionTime has to lie before it
	Conflicts func(d DID) int // from a local index; nil: none known

	// Other resolves DIDs of methods that are not of this package; nil: there are none.
	Other func(u URL, o Options) Result
}

// ResolutionError is an error of DID Resolution 1.0, section 11, with the HTTP status of section 10.1.
type ResolutionError struct {
	Type   string // a URI
	Title  string
	Detail string
	Status int
}

func (e *ResolutionError) Error() string { return e.Title + ": " + e.Detail }

// JSON is the error as it stands in metadata.
func (e *ResolutionError) JSON() Object {
	return Object{"type": e.Type, "title": e.Title, "detail": e.Detail}
}

// NewError makes the error of a name such as NOT_FOUND.
func NewError(name, detail string) *ResolutionError {
	const namespace = "https://www.w3.org/ns/did#"
	switch name {
	case "INVALID_DID":
		return &ResolutionError{namespace + name, "Invalid DID", detail, 400}
	case "INVALID_DID_URL":
		return &ResolutionError{namespace + name, "Invalid DID URL", detail, 400}
	case "INVALID_OPTIONS":
		return &ResolutionError{namespace + name, "Invalid options", detail, 400}
	case "NOT_FOUND":
		return &ResolutionError{namespace + name, "Not found", detail, 404}
	case "REPRESENTATION_NOT_SUPPORTED":
		return &ResolutionError{namespace + name, "Representation not supported", detail, 406}
	case "METHOD_NOT_SUPPORTED":
		return &ResolutionError{namespace + name, "Method not supported", detail, 501}
	case "FEATURE_NOT_SUPPORTED":
		return &ResolutionError{namespace + name, "Feature not supported", detail, 501}
	case "INVALID_DID_DOCUMENT":
		return &ResolutionError{namespace + name, "Invalid DID document", detail, 500}
	case "INVALID_RELATIONSHIP_FOR_VERIFICATION_METHOD":
		return &ResolutionError{"https://w3id.org/security#" + name, "Invalid relationship for verification method", detail, 500}
	}
	return &ResolutionError{namespace + "INTERNAL_ERROR", "Internal error", detail, 500}
}

// Metadata is didDocumentMetadata. A computed DID has none.
type Metadata struct {
	Created, Updated tangle.Time // Updated is 0 in the first version
	VersionID        string
	NextUpdate       tangle.Time // 0 in the newest version
	NextVersionID    string
	Deactivated      bool
	Conflicts        int
	Proof            []any // set by the caller
}

// JSON is the metadata as DID Resolution 1.0, section 4.3, names them.
func (m Metadata) JSON() Object {
	o := Object{}
	if m.VersionID == "" {
		return o
	}
	o["versionId"], o["deactivated"], o["created"] = m.VersionID, m.Deactivated, FormatTime(m.Created)
	if m.Updated != 0 {
		o["updated"] = FormatTime(m.Updated)
	}
	if m.NextVersionID != "" {
		o["nextVersionId"], o["nextUpdate"] = m.NextVersionID, FormatTime(m.NextUpdate)
	}
	if m.Conflicts > 0 {
		o["conflicts"] = m.Conflicts
	}
	if len(m.Proof) > 0 {
		o["proof"] = m.Proof
	}
	return o
}

// Result is the outcome of a resolution.
type Result struct {
	DID      string
	Document Object // nil with an error, and for the newest version of a deactivated DID
	Metadata Metadata
	Version  int // number of the version; 0 for computed documents
	TTL      int // seconds for which the newest version may be cached
	Error    *ResolutionError
	Fault    error // a broken invariant behind INTERNAL_ERROR: the node must stop
}

// Status is the HTTP status of the result.
func (r Result) Status() int {
	switch {
	case r.Error != nil:
		return r.Error.Status
	case r.Metadata.Deactivated:
		return 410
	}
	return 200
}

// JSON is the DID resolution result of section 9.
func (r Result) JSON(retrieved tangle.Time) Object {
	if r.Error != nil {
		return Object{"didDocument": nil, "didResolutionMetadata": Object{"error": r.Error.JSON()}, "didDocumentMetadata": Object{}}
	}
	return Object{
		"didDocument":           orNull(r.Document),
		"didResolutionMetadata": Object{"contentType": "application/did", "retrieved": FormatTime(retrieved)},
		"didDocumentMetadata":   r.Metadata.JSON(),
	}
}

// orNull keeps a nil map from being written as an empty object.
func orNull(o Object) any {
	if o == nil {
		return nil
	}
	return o
}

// ASCII is Canonical with everything beyond ASCII escaped: some drivers of resolvers read UTF-8 as ISO 8859-1.
func ASCII(v any) ([]byte, error) {
	text, err := Canonical(v)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 0, len(text))
	for _, r := range string(text) {
		switch {
		case r < utf8.RuneSelf:
			out = append(out, byte(r))
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, "\\u%04x\\u%04x", high, low)
		default:
			out = fmt.Appendf(out, "\\u%04x", r)
		}
	}
	return out, nil
}

func failed(did, name, detail string) Result { return Result{DID: did, Error: NewError(name, detail)} }

func broken(did string, fault error) Result {
	return Result{DID: did, Error: NewError("INTERNAL_ERROR", "the node's state is damaged"), Fault: fault}
}

// Resolve is the algorithm of section 4.4 for did:weft, did:key and did:jwk. Beside the DID only the parameters versionId
// and versionTime are taken; everything else is for Dereference.
func Resolve(v plugins.View, didURL string, o Options) Result {
	u, err := ParseURL(didURL)
	if err != nil {
		return failed(didURL, "INVALID_DID", plugins.Rejected(err).Detail)
	}
	if u.Dereferences() {
		return failed(u.DID, "INVALID_DID", "a DID URL, not a DID")
	}
	if e := o.take(u); e != nil {
		return Result{DID: u.DID, Error: e}
	}
	return resolve(v, u, o)
}

// Dereferences says whether a DID URL names something else than a version of a document.
func (u URL) Dereferences() bool {
	return u.Path != "" || u.Fragment != "" || slices.ContainsFunc(u.Query, func(p Parameter) bool {
		return p.Name != "versionId" && p.Name != "versionTime"
	})
}

// take moves the version parameters of the DID URL into the options.
func (o *Options) take(u URL) *ResolutionError {
	for i, p := range u.Query {
		if slices.ContainsFunc(u.Query[:i], func(q Parameter) bool { return q.Name == p.Name }) {
			return NewError("INVALID_DID_URL", "parameter "+p.Name+" stands twice")
		}
		switch p.Name {
		case "versionId":
			if o.VersionID != "" && o.VersionID != p.Value {
				return NewError("INVALID_OPTIONS", "versionId stands in the DID URL and in the options")
			}
			o.VersionID = p.Value
		case "versionTime":
			if o.VersionTime != "" && o.VersionTime != p.Value {
				return NewError("INVALID_OPTIONS", "versionTime stands in the DID URL and in the options")
			}
			o.VersionTime = p.Value
		}
	}
	if o.VersionID != "" && o.VersionTime != "" {
		return NewError("INVALID_OPTIONS", "versionId and versionTime exclude each other")
	}
	return nil
}

// ParseOptions reads options as the HTTP binding passes them, by name.
func ParseOptions(list []Parameter) (o Options, _ *ResolutionError) {
	seen := map[string]bool{}
	for _, p := range list {
		if seen[p.Name] {
			return o, NewError("INVALID_OPTIONS", "option "+p.Name+" stands twice")
		}
		seen[p.Name] = true
		if e := o.set(p.Name, p.Value); e != nil {
			return o, e
		}
	}
	return o, nil
}

func (o *Options) set(name, value string) *ResolutionError {
	switch name {
	case "accept": // the binding has Accept for it
	case "versionId":
		o.VersionID = value
	case "versionTime":
		o.VersionTime = value
	case "verificationRelationship":
		if o.Relationship = Relationship(value); !slices.Contains(Relationships(), o.Relationship) {
			return NewError("INVALID_OPTIONS", "there is no verification relationship of that name")
		}
	case "expandRelativeUrls":
		return setFlag(&o.ExpandRelativeURLs, name, value)
	case "noCache":
		return setFlag(&o.NoCache, name, value)
	case "proof":
		return setFlag(&o.Proof, name, value)
	default:
		return NewError("FEATURE_NOT_SUPPORTED", "option "+strconv.QuoteToASCII(name))
	}
	return nil
}

func setFlag(flag *bool, name, value string) *ResolutionError {
	if value != "true" && value != "false" {
		return NewError("INVALID_OPTIONS", name+" is true or false")
	}
	*flag = value == "true"
	return nil
}

func resolve(v plugins.View, u URL, o Options) Result {
	if u.Method == MethodName {
		return resolveWeft(v, u.DID, o)
	}
	doc, err := computed(u)
	switch r := plugins.Rejected(err); {
	case r != nil && r.Code == "method_not_supported" && o.Other != nil:
		return o.Other(u, o)
	case r != nil && r.Code == "method_not_supported":
		return failed(u.DID, "METHOD_NOT_SUPPORTED", r.Detail)
	case err != nil:
		return failed(u.DID, "INVALID_DID", err.Error())
	case o.VersionID != "":
		return failed(u.DID, "NOT_FOUND", "a computed document has no versions")
	}
	if o.VersionTime != "" {
		if _, err := ParseTime(o.VersionTime); err != nil {
			return failed(u.DID, "INVALID_OPTIONS", "versionTime is malformed")
		}
	}
	return Result{DID: u.DID, Document: doc}
}

func resolveWeft(v plugins.View, text string, o Options) Result {
	d, err := Parse(text)
	if err != nil {
		return failed(text, "INVALID_DID", plugins.Rejected(err).Detail)
	}
	at, e := o.versionTime()
	if e != nil {
		return Result{DID: text, Error: e}
	}
	head, found, err := ReadHead(v, d)
	if err != nil {
		return broken(text, err)
	}
	if !found {
		return failed(text, "NOT_FOUND", "no such DID on this network")
	}
	n, err := o.version(v, d, head, at)
	if err != nil {
		return broken(text, err)
	}
	if n == 0 {
		return failed(text, "NOT_FOUND", "no such version")
	}
	r, err := readVersion(v, d, head, n)
	if err != nil {
		return broken(text, err)
	}
	if o.Conflicts != nil {
		r.Metadata.Conflicts = o.Conflicts(d)
	}
	return r
}

// versionTime refuses a time that is malformed, or so new that the answer could still change; 0 is none.
func (o Options) versionTime() (tangle.Time, *ResolutionError) {
	if o.VersionTime == "" {
		return 0, nil
	}
	at, err := ParseTime(o.VersionTime)
	if err != nil {
		return 0, NewError("INVALID_OPTIONS", "versionTime is not a time such as 2026-12-01T00:00:00Z")
	}
	if seconds(at) >= seconds(o.Newest) {
		return 0, NewError("INVALID_OPTIONS", "versionTime is not before "+FormatTime(o.Newest)+", the newest certified commit time")
	}
	return at, nil
}

// version is the number of the version that is asked for; 0 if there is none.
func (o Options) version(v plugins.View, d DID, head Head, at tangle.Time) (int, error) {
	if at != 0 {
		return versionAt(v, d, head, at)
	}
	if o.VersionID == "" {
		return head.Version, nil
	}
	_, hash, _ := strings.Cut(o.VersionID, "-")
	if version, found := FindOperation(v, hash); found && version.DID == d && versionID(version.N, hash) == o.VersionID {
		return version.N, nil
	}
	return 0, nil
}

// readVersion makes the document and the metadata of version n.
func readVersion(v plugins.View, d DID, head Head, n int) (Result, error) {
	record, op, err := ReadOperation(v, d, n)
	if err != nil {
		return Result{}, err
	}
	first, err := ReadRecord(v, d, 1)
	if err != nil {
		return Result{}, err
	}
	r := Result{DID: d.text, Version: n, TTL: op.Params.TTL}
	r.Metadata = Metadata{Created: first.Time, VersionID: record.VersionID(n), Deactivated: head.Deactivated}
	if n > 1 {
		r.Metadata.Updated = record.Time
	}
	if n < head.Version {
		next, err := ReadRecord(v, d, n+1)
		if err != nil {
			return Result{}, err
		}
		r.Metadata.NextUpdate, r.Metadata.NextVersionID = next.Time, next.VersionID(n+1)
	}
	if op.Op != OpDeactivate {
		r.Document = expand(op.Document, d, op.Params.Controllers)
	}
	return r, nil
}
