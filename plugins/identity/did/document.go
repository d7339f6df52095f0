package did

import (
	"slices"
	"strings"

	"weft/plugins"
	"weft/tangle"
)

// Relationship is what a verification method may be used for.
type Relationship string

// The verification relationships of DID Core 1.0, section 5.3.
const (
	Authentication       Relationship = "authentication"
	AssertionMethod      Relationship = "assertionMethod"
	CapabilityInvocation Relationship = "capabilityInvocation"
	CapabilityDelegation Relationship = "capabilityDelegation"
	KeyAgreement         Relationship = "keyAgreement"
)

// Relationships are all of them.
func Relationships() []Relationship {
	return []Relationship{Authentication, AssertionMethod, CapabilityInvocation, CapabilityDelegation, KeyAgreement}
}

// baseContext is the first context of every document.
const baseContext = "https://www.w3.org/ns/did/v1.1"

// checkDocument holds the rules of identity.md, section 2.2.
func checkDocument(doc Object, self DID, l Limits) error {
	f := &fields{object: doc, where: "doc", code: "bad_document"}
	f.only("verificationMethod", "authentication", "assertionMethod", "capabilityInvocation", "capabilityDelegation", "keyAgreement",
		"service", "alsoKnownAs", "context")
	text, err := Canonical(doc)
	if err = firstError(f.err, err); err != nil {
		return err
	}
	if len(text) > l.MaxDocument {
		return plugins.Reject("too_large", "a document of %d bytes, at most %d are allowed", len(text), l.MaxDocument)
	}
	c := documentCheck{fields: f, self: self, limits: l, ids: map[string]bool{}}
	c.methods()
	c.relationships()
	c.services()
	c.aliases()
	c.contexts()
	return f.err
}

type documentCheck struct {
	*fields
	self   DID
	limits Limits
	ids    map[string]bool // of methods and services; true: of a method
}

func (c *documentCheck) methods() {
	if !c.has("verificationMethod") {
		return
	}
	list := c.list("verificationMethod")
	c.atMost("verificationMethod", len(list), c.limits.MaxMethods)
	for _, v := range list {
		if c.err != nil {
			return
		}
		o, ok := v.(Object)
		if !ok {
			c.fault("a verification method is not an object")
			return
		}
		m := &fields{object: o, where: "doc.verificationMethod", code: c.code}
		c.method(m)
		c.err = m.err
	}
}

func (c *documentCheck) method(m *fields) {
	for _, secret := range []string{"d", "secretKeyMultibase", "secretKeyJwk"} {
		if m.has(secret) {
			m.fault("%s is a secret", secret)
		}
	}
	kind, member := m.text("type"), "publicKeyMultibase"
	if kind == "JsonWebKey" {
		member = "publicKeyJwk"
	} else if kind != "Multikey" {
		m.fault("type %.40q is neither Multikey nor JsonWebKey", kind)
	}
	m.only("id", "type", "controller", "expires", "revoked", member)
	c.identifier(m, true)
	if m.has("controller") {
		if d := m.text("controller"); didMethod(d) == "" || d == c.self.text {
			m.fault("controller %.100q is not another's DID", d)
		}
	}
	for _, name := range []string{"expires", "revoked"} {
		if m.has(name) && m.err == nil {
			_, m.err = parseTime(m.object[name])
		}
	}
	if m.err == nil {
		checkMethodKey(m)
	}
}

// identifier takes an id such as #key-1, once in a document.
func (c *documentCheck) identifier(m *fields, method bool) {
	id := m.text("id")
	if fragment, ok := strings.CutPrefix(id, "#"); !ok || !isName(fragment, MaxFragment) {
		m.fault("id %.80q is not # and a fragment", id)
	}
	if _, twice := c.ids[id]; twice {
		m.fault("id %q stands twice", id)
	}
	c.ids[id] = method
}

func checkMethodKey(m *fields) {
	key, err := methodKey(m.object)
	if err != nil {
		m.fault("%v", err)
		return
	}
	if !slices.Contains([]KeyType{Ed25519, X25519, P256, P384}, key.Type) {
		m.fault("a key of type %s", key.Type)
	}
	if jwk, ok := m.object["publicKeyJwk"].(Object); ok {
		inner := &fields{object: jwk, where: m.where + ".publicKeyJwk", code: m.code, err: m.err}
		inner.only("kty", "crv", "x", "y", "alg", "use", "kid")
		for _, name := range []string{"alg", "use", "kid"} {
			if inner.has(name) && !isText(inner.text(name)) {
				inner.fault("%s is too long", name)
			}
		}
		m.err = inner.err
	}
}

// methodKey reads the public key of a verification method.
func methodKey(o Object) (PublicKey, error) {
	switch o["type"] {
	case "Multikey":
		s, _ := o["publicKeyMultibase"].(string)
		return ParseMultikey(s)
	case "JsonWebKey":
		jwk, _ := o["publicKeyJwk"].(Object)
		return ParseJWK(jwk)
	}
	return PublicKey{}, plugins.Reject("bad_value", "a verification method of type %v", o["type"])
}

func (c *documentCheck) relationships() {
	for _, r := range Relationships() {
		name := string(r)
		if !c.has(name) {
			continue
		}
		list := c.texts(name)
		c.atMost(name, len(list), c.limits.MaxMethods)
		for _, s := range list {
			if strings.HasPrefix(s, "#") {
				if !c.ids[s] {
					c.fault("%s: %.80q is no verification method of this document", name, s)
				}
			} else if u, err := ParseURL(s); err != nil || u.Fragment == "" || u.DID == c.self.text {
				c.fault("%s: %.100q is neither #id nor the DID URL of another's method", name, s)
			}
		}
	}
}

func (c *documentCheck) services() {
	if !c.has("service") {
		return
	}
	list := c.list("service")
	c.atMost("service", len(list), c.limits.MaxServices)
	for _, v := range list {
		if c.err != nil {
			return
		}
		o, ok := v.(Object)
		if !ok {
			c.fault("a service is not an object")
			return
		}
		s := &fields{object: o, where: "doc.service", code: c.code}
		s.only("id", "type", "serviceEndpoint")
		c.identifier(s, false)
		checkServiceType(s)
		c.endpoint(s)
		c.err = s.err
	}
}

func checkServiceType(s *fields) {
	list := []string{}
	if _, several := s.object["type"].([]any); several {
		list = s.texts("type")
	} else {
		list = append(list, s.text("type"))
	}
	if len(list) == 0 {
		s.fault("no type")
	}
	for _, t := range list {
		if t == "" || !isText(t) {
			s.fault("type is empty or longer than %d characters", MaxText)
		}
	}
}

// endpoint takes a URI, a map, or a list of these that is not empty.
func (c *documentCheck) endpoint(s *fields) {
	text, err := Canonical(s.object["serviceEndpoint"])
	if s.err = firstError(s.err, err); s.err == nil && len(text) > c.limits.MaxEndpoint {
		s.err = plugins.Reject("too_large", "a serviceEndpoint of %d bytes, at most %d are allowed", len(text), c.limits.MaxEndpoint)
	}
	list, several := s.object["serviceEndpoint"].([]any)
	if !several {
		list = []any{s.object["serviceEndpoint"]}
	}
	if len(list) == 0 {
		s.fault("no serviceEndpoint")
	}
	for _, v := range list {
		uri, isString := v.(string)
		if _, isMap := v.(Object); !isMap && !(isString && isURI(uri)) {
			s.fault("serviceEndpoint is neither a URI nor an object nor a list of these")
		}
	}
}

func (c *documentCheck) aliases() {
	if !c.has("alsoKnownAs") {
		return
	}
	for _, s := range c.texts("alsoKnownAs") {
		lower := strings.ToLower(s)
		if strings.HasPrefix(lower, "mailto:") || strings.HasPrefix(lower, "tel:") {
			c.fault("alsoKnownAs: addresses of people do not belong on a ledger")
		}
		if !isURI(s) || !isText(s) {
			c.fault("alsoKnownAs: %.80q is not a URI of at most %d characters", s, MaxText)
		}
	}
}

func (c *documentCheck) contexts() {
	if !c.has("context") {
		return
	}
	list := c.texts("context")
	c.atMost("context", len(list), MaxContexts)
	for _, s := range list {
		if !strings.HasPrefix(s, "https://") || !isURI(s) || !isText(s) || s == baseContext {
			c.fault("context: %.80q is not another https URL of at most %d characters", s, MaxText)
		}
	}
}

func isText(s string) bool { return len(s) <= MaxText }

// isURI says whether s has a scheme and holds characters of RFC 3986 only. What it means is not checked: a parser's opinion
// of that changes from version to version.
func isURI(s string) bool {
	scheme, rest, ok := strings.Cut(s, ":")
	if !ok || rest == "" || scheme == "" || !isAlphanumeric(scheme[0]) || scheme[0] <= '9' {
		return false
	}
	for _, c := range []byte(scheme) {
		if !isAlphanumeric(c) && c != '+' && c != '-' && c != '.' {
			return false
		}
	}
	return isURLText(rest, "/?#[]") && strings.Count(rest, "#") <= 1
}

// expand makes the DID document of an operation: absolute ids, controllers from the parameters, contexts in front.
func expand(doc Object, self DID, controllers []string) Object {
	contexts := []any{baseContext}
	if more, ok := doc["context"].([]any); ok {
		contexts = append(contexts, more...)
	}
	out := Object{"@context": contexts, "id": self.text}
	if len(controllers) > 0 {
		list := make([]any, len(controllers))
		for i, c := range controllers {
			list[i] = c
		}
		out["controller"] = list
	}
	for name, v := range doc {
		switch list, _ := v.([]any); name {
		case "context":
		case "verificationMethod", "service":
			out[name] = expandItems(list, self, name == "verificationMethod")
		case "alsoKnownAs":
			out[name] = list
		default:
			out[name] = expandReferences(list, self)
		}
	}
	return out
}

func expandItems(list []any, self DID, methods bool) []any {
	out := make([]any, len(list))
	for i, v := range list {
		from, _ := v.(Object)
		item := make(Object, len(from)+1)
		for name, value := range from {
			item[name] = value
		}
		item["id"] = absolute(from["id"], self)
		if _, there := item["controller"]; methods && !there {
			item["controller"] = self.text
		}
		out[i] = item
	}
	return out
}

func expandReferences(list []any, self DID) []any {
	out := make([]any, len(list))
	for i, v := range list {
		out[i] = absolute(v, self)
	}
	return out
}

func absolute(v any, self DID) string {
	s, _ := v.(string)
	if strings.HasPrefix(s, "#") {
		return self.text + s
	}
	return s
}

// find returns the item of a list of the document that has this id, or nil.
func find(doc Object, list, id string) Object {
	items, _ := doc[list].([]any)
	for _, v := range items {
		if o, ok := v.(Object); ok && o["id"] == id {
			return o
		}
	}
	return nil
}

// lists says whether a relationship of the document refers to a method; "" is any, also none.
func lists(doc Object, r Relationship, id string) bool {
	if r == "" {
		return true
	}
	items, _ := doc[string(r)].([]any)
	return slices.Contains(items, any(id))
}

// newMethod makes a Method of one in a document.
func newMethod(o Object, version string) (Method, error) {
	key, err := methodKey(o)
	if err != nil {
		return Method{}, err
	}
	m := Method{Key: key, VersionID: version}
	m.ID, _ = o["id"].(string)
	m.Controller, _ = o["controller"].(string)
	m.Type, _ = o["type"].(string)
	m.Expires, m.Revoked = timeOf(o["expires"]), timeOf(o["revoked"])
	return m, nil
}

// timeOf is a time that Check has seen, 0 if there is none.
func timeOf(v any) tangle.Time {
	t, err := parseTime(v)
	if err != nil {
		return 0
	}
	return t
}
