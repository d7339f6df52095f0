package vc

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/identity/jsonld"
)

// Base contexts: the first item of @context says which data model a document follows.
const (
	ContextV2 = jsonld.CredentialsV2
	ContextV1 = jsonld.CredentialsV1
)

// Types of the data model, by their terms in the v2 context.
const (
	typeCredential            = "VerifiableCredential"
	typePresentation          = "VerifiablePresentation"
	typeEnvelopedCredential   = "EnvelopedVerifiableCredential"
	typeEnvelopedPresentation = "EnvelopedVerifiablePresentation"
	typeListCredential        = "BitstringStatusListCredential"
	typeList                  = "BitstringStatusList"
	typeStatusEntry           = "BitstringStatusListEntry"
	typeSchema                = "JsonSchema"
	typeProof                 = "DataIntegrityProof"
)

// Bounds of a document.
const (
	MaxCredentialBytes   = 1 << 20
	MaxPresentationBytes = 4 << 20
	MaxDepth             = 32
	MaxItems             = 64 // of any list that the data model defines
)

// CheckCredential applies the rules of the VC Data Model to a credential, 2.0 or 1.1 as its first context says. The
// credential may have proofs, which are looked at for their shape only. The code is format_invalid.
func CheckCredential(doc did.Object) error {
	m := modelOf(doc)
	m.envelope(typeCredential)
	m.issuer()
	m.subjects()
	m.period()
	m.typed("credentialStatus", m.v1)
	m.typed("credentialSchema", true)
	for _, property := range []string{"termsOfUse", "evidence", "refreshService"} {
		m.typed(property, m.v1 && property == "refreshService")
	}
	m.statusEntries()
	m.names(doc)
	m.relatedResources()
	return m.err()
}

// CheckPresentation applies the rules of the VC Data Model to a presentation. Of the credentials inside it says no more
// than that they are objects.
func CheckPresentation(doc did.Object) error {
	m := modelOf(doc)
	m.envelope(typePresentation)
	if holder, given := doc["holder"]; given && !isURL(identifier(holder)) {
		m.refuse("holder is not a URL nor an object with one as id")
	}
	if list, given := doc["verifiableCredential"]; given {
		if items := listOf(list); len(items) > MaxCredentials || len(objects(list)) != len(items) {
			m.refuse("verifiableCredential holds something else than up to %d objects", MaxCredentials)
		}
	}
	m.typed("termsOfUse", false)
	return m.err()
}

// model applies rules to one document and keeps the first that is broken.
type model struct {
	doc    did.Object
	v1     bool
	broken string
}

func modelOf(doc did.Object) *model { return &model{doc: doc} }

func (m *model) refuse(format string, args ...any) {
	if m.broken == "" {
		m.broken = fmt.Sprintf(format, args...)
	}
}

func (m *model) err() error {
	if m.broken == "" {
		return nil
	}
	return plugins.Reject("format_invalid", "%s", m.broken)
}

// envelope holds the rules that credentials and presentations share.
func (m *model) envelope(kind string) {
	m.contexts()
	if id, given := m.doc["id"]; given && !isURL(textOf(id)) {
		m.refuse("id is not a single URL")
	}
	types := stringsOf(m.doc["type"])
	if len(types) == 0 || len(types) != len(listOf(m.doc["type"])) || !slices.Contains(types, kind) {
		m.refuse("type is not a list of strings with %s in it", kind)
	}
	for _, t := range types {
		m.typeDefined(t)
	}
	m.proofs()
}

// contexts: an ordered set that begins with the base context, then URLs and inline contexts. An inline context may not
// define again what the base context protects, nor what an earlier one did.
func (m *model) contexts() {
	items, ok := m.doc["@context"].([]any)
	if !ok || len(items) == 0 || len(items) > MaxItems || (items[0] != ContextV2 && items[0] != ContextV1) {
		m.refuse("@context is not a list that begins with %s", ContextV2)
		return
	}
	m.v1 = items[0] == ContextV1
	protected := protectedTerms(m.v1)
	for _, item := range items[1:] {
		switch item := item.(type) {
		case string:
			if !isURL(item) {
				m.refuse("@context holds %q, which is not a URL", item)
			}
		case did.Object:
			context, ok := inlined(item)
			if !ok {
				m.refuse("@context holds an object with more than an @context in it")
			}
			m.inlineContext(context, protected)
		default:
			m.refuse("@context holds something else than URLs and objects")
		}
	}
}

// protectedTerms are those that the base context protects at its top level. The context of version 1.1 knows neither name nor
// description, so its credentials define them as they like.
func protectedTerms(v1 bool) map[string]string {
	terms := []string{"id", "type", "description", "digestMultibase", "digestSRI", "mediaType", "name", typeCredential, typeEnvelopedCredential,
		typePresentation, typeEnvelopedPresentation, "JsonSchemaCredential", typeSchema, typeListCredential, typeList, typeStatusEntry, typeProof,
		"...", "_sd", "_sd_alg", "aud", "cnf", "exp", "iat", "iss", "jku", "kid", "nbf", "sub", "x5u"}
	if v1 {
		terms = []string{"id", "type", "proof", typeCredential, typePresentation}
	}
	protected := make(map[string]string, len(terms))
	for _, term := range terms {
		protected[term] = "" // no definition equals it
	}
	return protected
}

// inlined is the context that an inline item stands for: itself, or the one it wraps and nothing else, as if it were a file.
func inlined(item did.Object) (context did.Object, ok bool) {
	wrapped, given := item["@context"]
	if !given {
		return item, true
	}
	context, ok = wrapped.(did.Object)
	_, again := context["@context"]
	return context, ok && !again && len(item) == 1
}

func (m *model) inlineContext(context did.Object, protected map[string]string) {
	protects := context["@protected"] == true
	for term, definition := range context {
		if strings.HasPrefix(term, "@") {
			continue
		}
		was, taken := protected[term]
		if !taken && !protects {
			continue
		}
		text, err := did.Canonical(definition)
		if err != nil || taken && was != string(text) {
			m.refuse("@context defines the protected term %q again", term)
		}
		protected[term] = string(text)
	}
}

// typeDefined holds a type to an absolute IRI as far as that can be seen without a JSON-LD processor: it is one, or a term
// of the base context, or the inline contexts map it to one, or a context that is not at hand may define it.
func (m *model) typeDefined(name string) {
	if isURL(name) {
		return
	}
	if _, base := protectedTerms(m.v1)[name]; base {
		return
	}
	defined := m.v1
	items, _ := m.doc["@context"].([]any)
	for _, item := range items[min(1, len(items)):] {
		context, inline := item.(did.Object)
		if !inline {
			defined = true
			continue
		}
		context, _ = inlined(context)
		if vocabulary, given := context["@vocab"]; given {
			defined = isURL(textOf(vocabulary))
		}
		if definition, given := context[name]; given {
			defined = isIRI(identifierIn(definition, "@id"), context)
		}
	}
	if !defined {
		m.refuse("type %q is not defined by @context", name)
	}
}

// isIRI says whether a term definition leads to an absolute IRI: itself, or by a prefix of the same context.
func isIRI(s string, context did.Object) bool {
	if prefix, rest, ok := strings.Cut(s, ":"); ok && !strings.HasPrefix(rest, "//") {
		if base, given := context[prefix]; given {
			return isURL(identifierIn(base, "@id"))
		}
	}
	return isURL(s)
}

func (m *model) proofs() {
	proof, given := m.doc["proof"]
	if !given {
		return
	}
	list := listOf(proof)
	if len(list) == 0 || len(list) > MaxProofs || len(objects(proof)) != len(list) {
		m.refuse("proof is not one to %d objects", MaxProofs)
	}
	for _, p := range objects(proof) {
		if textOf(p["type"]) == "" {
			m.refuse("a proof has no type")
		}
	}
}

func (m *model) issuer() {
	if !isURL(identifier(m.doc["issuer"])) {
		m.refuse("issuer is not a URL nor an object with one as id")
	}
}

// subjects: one or more objects, each of which says something.
func (m *model) subjects() {
	list := listOf(m.doc["credentialSubject"])
	if len(list) == 0 || len(list) > MaxItems || len(objects(m.doc["credentialSubject"])) != len(list) {
		m.refuse("credentialSubject is not one to %d objects", MaxItems)
	}
	for _, subject := range objects(m.doc["credentialSubject"]) {
		if len(subject) == 0 {
			m.refuse("a credentialSubject claims nothing")
		}
		if id, given := subject["id"]; given && !isURL(textOf(id)) {
			m.refuse("the id of a credentialSubject is not a single URL")
		}
	}
}

// period: times with an offset, in order. VC 1.1 has other names for them and requires the first.
func (m *model) period() {
	from, until := "validFrom", "validUntil"
	if m.v1 {
		from, until = "issuanceDate", "expirationDate"
		if m.doc[from] == nil {
			m.refuse("issuanceDate is missing")
		}
	}
	begins, okFrom := m.time(from)
	ends, okUntil := m.time(until)
	if okFrom && okUntil && ends.Before(begins) {
		m.refuse("%s is before %s", until, from)
	}
}

func (m *model) time(property string) (time.Time, bool) {
	value, given := m.doc[property]
	if !given {
		return time.Time{}, false
	}
	t, ok := parseTime(textOf(value))
	if !ok {
		m.refuse("%s is not a time with an offset", property)
	}
	return t, ok
}

// typed holds each object of a property to a type and, if it has one or must have one, to an id that is a URL.
func (m *model) typed(property string, needsID bool) {
	value, given := m.doc[property]
	if !given {
		return
	}
	list := listOf(value)
	if len(list) == 0 || len(list) > MaxItems || len(objects(value)) != len(list) {
		m.refuse("%s is not one to %d objects", property, MaxItems)
	}
	for _, o := range objects(value) {
		types := stringsOf(o["type"])
		if len(types) == 0 || len(types) != len(listOf(o["type"])) {
			m.refuse("%s has no type", property)
		}
		for _, t := range types {
			m.typeDefined(t)
		}
		if id, given := o["id"]; (given || needsID) && !isURL(textOf(id)) {
			m.refuse("the id of %s is not a single URL", property)
		}
	}
}

// statusEntries holds entries of the bitstring status list to their form, so that the status check has something to ask.
func (m *model) statusEntries() {
	for _, o := range objects(m.doc["credentialStatus"]) {
		if !slices.Contains(stringsOf(o["type"]), typeStatusEntry) {
			continue
		}
		if textOf(o["statusPurpose"]) == "" || !isURL(textOf(o["statusListCredential"])) {
			m.refuse("a %s lacks statusPurpose or statusListCredential", typeStatusEntry)
		}
		if _, err := strconv.ParseUint(textOf(o["statusListIndex"]), 10, 63); err != nil {
			m.refuse("statusListIndex is not a number in a string")
		}
	}
}

// names: name and description, of the credential and of its issuer, are text or language objects.
func (m *model) names(doc did.Object) {
	m.language("name", doc)
	m.language("description", doc)
	if issuer, ok := doc["issuer"].(did.Object); ok {
		m.language("name", issuer)
		m.language("description", issuer)
	}
}

func (m *model) language(property string, o did.Object) {
	value, given := o[property]
	if !given || m.v1 {
		return
	}
	for _, item := range listOf(value) {
		switch item := item.(type) {
		case string:
		case did.Object:
			m.languageObject(property, item)
		default:
			m.refuse("%s is not text", property)
		}
	}
}

func (m *model) languageObject(property string, o did.Object) {
	if _, ok := o["@value"].(string); !ok {
		m.refuse("%s has no @value", property)
	}
	for member, value := range o {
		_, isText := value.(string)
		if member != "@value" && member != "@language" && member != "@direction" || !isText {
			m.refuse("%s has the member %q besides @value, @language and @direction", property, member)
		}
	}
	if d, given := o["@direction"]; given && d != "ltr" && d != "rtl" {
		m.refuse("@direction of %s is not ltr or rtl", property)
	}
}

// relatedResources: unique ids, each with a digest that matches where the resource's published digest is known.
func (m *model) relatedResources() {
	value, given := m.doc["relatedResource"]
	if !given {
		return
	}
	list := objects(value)
	if len(list) == 0 || len(list) > MaxItems || len(list) != len(listOf(value)) {
		m.refuse("relatedResource is not one to %d objects", MaxItems)
	}
	seen := map[string]bool{}
	for _, o := range list {
		id := textOf(o["id"])
		if !isURL(id) || seen[id] {
			m.refuse("the id of a relatedResource is not a URL, or there twice")
		}
		seen[id] = true
		m.digests(id, o)
	}
}

func (m *model) digests(id string, o did.Object) {
	sri, multibase := listOf(o["digestSRI"]), listOf(o["digestMultibase"])
	if len(sri)+len(multibase) == 0 {
		m.refuse("relatedResource %s has no digest", id)
	}
	for _, value := range sri {
		m.digest(id, value, digestSRI)
	}
	for _, value := range multibase {
		m.digest(id, value, digestMultibase)
	}
}

func (m *model) digest(id string, value any, parse func(string) (digest []byte, ok bool)) {
	digest, ok := parse(textOf(value))
	if !ok {
		m.refuse("a digest of relatedResource %s cannot be read", id)
		return
	}
	published := publishedDigests(id)
	known := slices.ContainsFunc(published, func(p []byte) bool { return len(p) == len(digest) })
	if known && !slices.ContainsFunc(published, func(p []byte) bool { return bytes.Equal(p, digest) }) {
		m.refuse("the digest of relatedResource %s does not match", id)
	}
}

// digestSRI reads the form of Subresource Integrity: an algorithm and base64.
func digestSRI(s string) ([]byte, bool) {
	algorithm, text, _ := strings.Cut(s, "-")
	size := map[string]int{"sha256": sha256.Size, "sha384": sha512.Size384, "sha512": sha512.Size}[algorithm]
	digest, err := base64.StdEncoding.DecodeString(text)
	return digest, err == nil && size > 0 && len(digest) == size
}

// digestMultibase reads base64url or base58btc of a digest, with or without the multihash header of SHA-2.
func digestMultibase(s string) (digest []byte, ok bool) {
	if s == "" {
		return nil, false
	}
	var err error
	switch s[0] {
	case 'u':
		digest, err = base64.RawURLEncoding.DecodeString(s[1:])
	case 'z':
		digest, err = did.ParseBase58(s[1:])
	default:
		return nil, false
	}
	if n := len(digest); n > 2 && int(digest[1]) == n-2 && (digest[0] == 0x12 || digest[0] == 0x13 || digest[0] == 0x20) {
		digest = digest[2:]
	}
	return digest, err == nil && slices.Contains([]int{sha256.Size, sha512.Size384, sha512.Size}, len(digest))
}

// publishedDigests are the digests of context files as they were published. The copies at hand may be reformatted or mended,
// so they are not what a digest is taken of.
func publishedDigests(url string) (digests [][]byte) {
	for _, pin := range append(jsonld.Pinned(), jsonld.Optional()...) {
		if pin.URL != url {
			continue
		}
		if digest, err := hex.DecodeString(pin.File); err == nil && pin.File != "" {
			digests = append(digests, digest)
		}
		if digest, err := base64.StdEncoding.DecodeString(pin.SHA384); err == nil && pin.SHA384 != "" {
			digests = append(digests, digest)
		}
	}
	return digests
}

// listOf is a value as a list: what JSON-LD calls a set may be written as its only item.
func listOf(v any) []any {
	switch v := v.(type) {
	case nil:
		return nil
	case []any:
		return v
	}
	return []any{v}
}

// objects are the items of a set that are objects. A null or a text in it is missing from the result.
func objects(v any) (list []did.Object) {
	for _, item := range listOf(v) {
		if o, ok := item.(did.Object); ok {
			list = append(list, o)
		}
	}
	return list
}

// stringsOf are the items of a set that are texts and not empty.
func stringsOf(v any) (list []string) {
	for _, item := range listOf(v) {
		if s, ok := item.(string); ok && s != "" {
			list = append(list, s)
		}
	}
	return list
}

func textOf(v any) string {
	s, _ := v.(string)
	return s
}

// identifier is a URL, or the id of an object.
func identifier(v any) string { return identifierIn(v, "id") }

func identifierIn(v any, member string) string {
	if o, ok := v.(did.Object); ok {
		return textOf(o[member])
	}
	return textOf(v)
}

func integerOf(v any) (int64, bool) {
	switch v := v.(type) {
	case json.Number:
		n, err := v.Int64()
		return n, err == nil
	case int64:
		return v, true
	case int:
		return int64(v), true
	}
	return 0, false
}

// isURL says whether s is an absolute URL (RFC 3986): a scheme, something behind it, and no character that a URL may not
// have. It is not resolved, so nothing more is asked.
func isURL(s string) bool {
	scheme, rest, ok := strings.Cut(s, ":")
	if !ok || scheme == "" || rest == "" || rest == "//" {
		return false
	}
	for i, c := range []byte(scheme) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || (c < '0' || c > '9') && c != '+' && c != '-' && c != '.') {
			return false
		}
	}
	for _, c := range []byte(rest) {
		if c <= ' ' || c == 0x7f || strings.IndexByte("<>\"{}|\\^`", c) >= 0 {
			return false
		}
	}
	return true
}

// parseTime reads a dateTimeStamp of XML Schema: RFC 3339 with an offset, fractions allowed.
func parseTime(s string) (time.Time, bool) {
	if len(s) > 40 || !strings.Contains(s, "T") {
		return time.Time{}, false
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	return t, err == nil
}

func formatTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }
