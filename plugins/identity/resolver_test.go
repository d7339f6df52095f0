package identity

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"weft/internal/store"
	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/rest"
)

// resolution is a resolver's answer of any form.
type resolution struct {
	ID       string         `json:"id"`
	Document map[string]any `json:"didDocument"`
	Content  map[string]any `json:"contentStream"`
	Resolved metadata       `json:"didResolutionMetadata"`
	Derefed  metadata       `json:"dereferencingMetadata"`
	Version  versionMeta    `json:"didDocumentMetadata"`
}

type metadata struct {
	ContentType string
	Error       struct{ Type, Title string }
}

type versionMeta struct {
	VersionID, NextVersionID, Created, Updated string
	Deactivated                                bool
	Conflicts                                  int
	Proof                                      []struct {
		Type, Network, VersionID, Log string
		Receipts                      []struct {
			Op, Receipt string
			Position    uint64
		}
	}
}

func (r reply) resolution() (v resolution) {
	r.t.Helper()
	if err := json.Unmarshal(r.body, &v); err != nil {
		r.t.Errorf("%s: %v: %.200s", r.name, err, r.body)
	}
	return v
}

// errorName is the name behind the # of an error's type.
func (v resolution) errorName() string {
	text := v.Resolved.Error.Type + v.Derefed.Error.Type
	return text[strings.LastIndexByte(text, '#')+1:]
}

func identifiers(id string) string { return "/1.0/identifiers/" + id }

// withServices is content with services of each sort.
func withServices(name string) did.Content {
	c := content(keyOf(name+" update"), keyOf(name+" key"))
	c.Document["service"] = []any{
		did.Object{"id": "#files", "type": "Files", "serviceEndpoint": "https://files.example/base"},
		did.Object{"id": "#map", "type": "Map", "serviceEndpoint": did.Object{"uri": "https://map.example", "name": "Zoë 😀"}},
	}
	return c
}

func TestAcceptTable(t *testing.T) {
	o := openOffline(t, "")
	p := o.create("anna", withServices("anna"), at("10:00:00.000"))
	id := p.did.String()
	const full, deref = "application/did-resolution", "application/did-url-dereferencing"
	for _, c := range []struct {
		accept, path, mediaType string
		status                  int
	}{
		{"", id, full, 200},
		{"*/*", id, full, 200},
		{"application/*", id, full, 200},
		{full, id, full, 200},
		{`application/ld+json;profile="https://w3id.org/did-resolution"`, id, full, 200},
		{"application/did", id, "application/did", 200},
		{"application/did+json", id, "application/did+json", 200},
		{"application/did+ld+json", id, "application/did+ld+json", 200},
		{"application/json", id, "application/json", 200},
		{"application/ld+json", id, "application/ld+json", 200},
		{"application/json; charset=utf-8", id, "application/json", 200},
		{"application/did, application/did-resolution", id, full, 200},
		{"application/did;q=0.5, application/did-resolution;q=0.4", id, "application/did", 200},
		{"application/did-resolution;q=0, */*;q=0.1", id, deref, 200},
		{"text/html, application/xhtml+xml, */*;q=0.8", id, full, 200},
		{"application/did;q=2, application/json", id, "application/json", 200},
		{deref, id, deref, 200},
		{deref, id + "#key-1", deref, 200},
		{"", id + "#key-1", deref, 200},
		{"application/did", id + "#key-1", "application/did", 200},
		{full, id + "#key-1", full, 400},
		{"", id + "?service=files", deref, 200},
		{"application/did", id + "?service=files", "application/did", 200},
		{"text/uri-list", id + "?service=files", "", 303},
		{"text/uri-list", id + "?service=map", deref, 404},
		{"text/uri-list", id + "?serviceType=Files", "", 303},
		{deref, id + "?service=files&relativeRef=/a.pdf", "", 303},
		{"", id + "?service=files&relativeRef=/a.pdf", "", 303},
		{full, id + "?service=files&relativeRef=/a.pdf", "", 303},
		{"text/uri-list", id, full, 406},
		{"text/html", id, full, 406},
		{"application/ld+json;profile=\"https://other.example\"", id, full, 406},
		{"application/did;q=0", id, full, 406},
		{"nonsense", id, full, 406},
	} {
		headers := []string{"Accept", c.accept}
		if c.accept == "" {
			headers = nil
		}
		path := identifiers(strings.ReplaceAll(c.path, "#", "%23"))
		for _, method := range []string{"GET", "POST"} {
			body := map[string]string{"GET": "", "POST": `{"noCache":true}`}[method]
			r := o.ask(method, path, body, headers...)
			if got := r.header.Get("Content-Type"); r.status != c.status || got != c.mediaType {
				t.Errorf("%s %s, Accept %q: HTTP %d %s, want %d %s: %.200s", method, c.path, c.accept, r.status, got, c.status, c.mediaType, r.body)
			}
			if bytes.ContainsFunc(r.body, func(c rune) bool { return c >= utf8.RuneSelf }) {
				t.Errorf("%s %s, Accept %q: not ASCII: %s", method, c.path, c.accept, r.body)
			}
			switch {
			case r.status == 303:
				if r.header.Get("Location") == "" || len(r.body) > 0 {
					t.Errorf("%s: Location %q, %d bytes", c.path, r.header.Get("Location"), len(r.body))
				}
			case r.status == 406 && r.resolution().errorName() != "REPRESENTATION_NOT_SUPPORTED":
				t.Errorf("%s: %s", c.accept, r.body)
			}
		}
	}
	v := o.ask("GET", identifiers(id), "").resolution()
	if v.Resolved.ContentType != "application/did" || v.Document["id"] != id || v.Version.VersionID == "" || v.Version.Updated != "" {
		t.Errorf("%+v", v)
	}
	if got := o.ask("GET", identifiers(id), "", "Accept", "application/did").resolution(); got.ID != id || got.Document != nil {
		t.Errorf("a bare document: %+v", got)
	}
	v = o.ask("GET", identifiers(id)+"%23key-1", "").resolution()
	if v.Derefed.ContentType != "application/did" || v.Content["id"] != id+"#key-1" || v.Content["@context"] == nil {
		t.Errorf("%+v", v)
	}
}

func TestErrorTable(t *testing.T) {
	o := openOffline(t, "")
	p := o.create("anna", withServices("anna"), at("10:00:00.000"))
	id := p.did.String()
	elsewhere := "did:weft:aaaaaaaa" + id[len("did:weft:aaaaaaaa"):]
	for _, c := range []struct {
		path, name string
		status     int
	}{
		{"", "INVALID_DID", 400},
		{"not-a-did", "INVALID_DID", 400},
		{"did:example", "INVALID_DID", 400},
		{"did:weft:short", "INVALID_DID", 400},
		{id + "x", "INVALID_DID", 400},
		{id + "%00", "INVALID_DID", 400},
		{"did:key:z6Mkfoo", "INVALID_DID", 400},
		{"did:jwk:e30", "INVALID_DID", 400},
		{id + "?service=files&service=files", "INVALID_DID_URL", 400},
		{id + "?versionId=1&versionId=1", "INVALID_DID_URL", 400},
		{id + "?service=files&relativeRef=%2F..%2Fx", "INVALID_DID_URL", 400},
		{id + "?service=files&relativeRef=%252e%252e%252Fx", "INVALID_DID_URL", 400},
		{id + "?service=files&relativeRef=%252F%252e%252e", "INVALID_DID_URL", 400},
		{id + "?service=files&relativeRef=a/../../x", "INVALID_DID_URL", 400},
		{id + "?service=files&relativeRef=//evil.example", "INVALID_DID_URL", 400},
		{id + "%3Fservice=files%26relativeRef=%252E%252E%252Fx", "INVALID_DID_URL", 400},
		{id + "?versionId=1-x&versionTime=2026-01-01T00:00:00Z", "INVALID_OPTIONS", 400},
		{id + "?versionTime=yesterday", "INVALID_OPTIONS", 400},
		{id + "?versionTime=2026-03-01T10:00:00%2B01:00", "INVALID_OPTIONS", 400},
		{id + "?versionTime=2099-01-01T00:00:00Z", "INVALID_OPTIONS", 400},
		{id + "?noCache=maybe", "INVALID_OPTIONS", 400},
		{id + "?noCache=true&noCache=true", "INVALID_OPTIONS", 400},
		{id + "?verificationRelationship=owner", "INVALID_OPTIONS", 400},
		{strings.Replace(id, "zQm", "zQn", 1), "INVALID_DID", 400},
		{elsewhere, "NOT_FOUND", 404},
		{o.newDID("nobody").String(), "NOT_FOUND", 404},
		{id + "?versionId=7-" + o.headOf(p).OpHash, "NOT_FOUND", 404},
		{id + "?versionTime=2026-03-01T09:59:59Z", "NOT_FOUND", 404},
		{id + "%23key-9", "NOT_FOUND", 404},
		{id + "/some/path", "NOT_FOUND", 404},
		{id + "?service=none", "NOT_FOUND", 404},
		{"did:example:123", "METHOD_NOT_SUPPORTED", 501},
		{"did:web:example.com", "METHOD_NOT_SUPPORTED", 501},
		{id + "?unheardOf=1", "FEATURE_NOT_SUPPORTED", 501},
		{id + "%23key-1?verificationRelationship=keyAgreement", "INVALID_RELATIONSHIP_FOR_VERIFICATION_METHOD", 500},
	} {
		r := o.ask("GET", identifiers(c.path), "", "Accept", "application/did-resolution")
		v := r.resolution()
		if r.status != c.status || v.errorName() != c.name || !strings.HasPrefix(r.header.Get("Content-Type"), "application/did-") {
			t.Errorf("%s: HTTP %d %s, want %d %s: %.300s", c.path, r.status, v.errorName(), c.status, c.name, r.body)
		}
		if !bytes.Contains(r.body, []byte(`"didDocument":null`)) || !bytes.Contains(r.body, []byte(`"didDocumentMetadata":{}`)) || v.Resolved.Error.Title == "" {
			t.Errorf("%s: not the form of an error: %s", c.path, r.body)
		}
		if r.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: an error may be cached", c.path)
		}
		r = o.ask("GET", identifiers(c.path), "", "Accept", "application/did-url-dereferencing")
		if v := r.resolution(); r.status != c.status || v.Derefed.Error.Type == "" {
			t.Errorf("%s, dereferencing: HTTP %d, want %d: %.300s", c.path, r.status, c.status, r.body)
		}
	}
	for body, want := range map[string]string{
		`{`: "INVALID_OPTIONS", `[]`: "INVALID_OPTIONS", `{"versionId":7}`: "INVALID_OPTIONS", `{"noCache":true,"noCache":true}`: "INVALID_OPTIONS",
		`{"other":"x"}`: "FEATURE_NOT_SUPPORTED", `{"versionId":"9-zQm"}`: "NOT_FOUND",
	} {
		if v := o.ask("POST", identifiers(id), body).resolution(); v.errorName() != want {
			t.Errorf("POST %s: %s, want %s", body, v.errorName(), want)
		}
	}
}

// newDID is a DID that is not on the ledger.
func (o *offline) newDID(name string) did.DID {
	_, d, err := did.Create(o.id, [did.NonceBytes]byte{1}, content(keyOf(name), keyOf(name)))
	if err != nil {
		o.t.Fatal(err)
	}
	return d
}

// TestPaths sends DID URLs as they are and percent-encoded, once and partly.
func TestPaths(t *testing.T) {
	o := openOffline(t, "")
	p := o.create("anna", withServices("anna"), at("10:00:00.000"))
	id := p.did.String()
	version := o.headOf(p).VersionID()
	ok := func(path string, want string) {
		t.Helper()
		r := o.ask("GET", path, "")
		v := r.resolution()
		got, _ := v.Document["id"].(string)
		if v.Content != nil {
			got, _ = v.Content["id"].(string)
		}
		if r.status != 200 || got != want {
			t.Errorf("GET %s: HTTP %d, %s, want %s: %.300s", path, r.status, got, want, r.body)
		}
	}
	encoded := url.QueryEscape(id) // as encodeURIComponent does
	for _, form := range []string{id, encoded, strings.Replace(id, ":", "%3a", 1), "%64id" + id[3:]} {
		ok(identifiers(form), id)
		ok(identifiers(form)+"?versionId="+version, id)
		ok(identifiers(form)+"%3FversionId%3D"+version, id)
		ok(identifiers(form)+"%3FversionId="+version+"?versionId="+version, id)
		ok(identifiers(form)+"%23key-1", id+"#key-1")
		ok(identifiers(form)+"%3FversionId="+version+"%23key-1", id+"#key-1")
		ok(identifiers(form)+"%23key-1?versionId="+version+"&verificationRelationship=authentication", id+"#key-1")
		ok(identifiers(form)+"?service=files", id)
		ok(identifiers(form)+"?serviceType=Files&noCache=true", id)
	}
	for query, want := range map[string]string{
		"?service=files&relativeRef=%2Fresume.pdf":                      "https://files.example/base/resume.pdf",
		"%3Fservice=files%26relativeRef=%252Fresume.pdf":                "https://files.example/base/resume.pdf",
		"%3Fservice%3Dfiles%26relativeRef%3D%2Fa%252Fb%3Fx%23intro":     "https://files.example/base/a%2Fb?x#intro",
		"?service=files&relativeRef=%2Fmyresume%2Fdoc%3Fversion=latest": "https://files.example/base/myresume/doc?version=latest",
		"?service=" + url.QueryEscape(id+"#files") + "&relativeRef=x":   "https://files.example/base/x",
	} {
		r := o.ask("GET", identifiers(id)+query, "")
		if got := r.header.Get("Location"); r.status != 303 && got != want {
			t.Errorf("%s: HTTP %d %s, want %s: %.200s", query, r.status, got, want, r.body)
		}
	}
	r := o.ask("POST", identifiers(id), fmt.Sprintf(`{"versionId":%q,"expandRelativeUrls":true}`, version))
	if v := r.resolution(); r.status != 200 || v.Version.VersionID != version {
		t.Errorf("POST: HTTP %d %s", r.status, r.body)
	}
}

func TestVersions(t *testing.T) {
	o := openOffline(t, "")
	p := o.person("anna", at("10:00:00.000"))
	id := p.did.String()
	versions := []string{o.headOf(p).VersionID()}
	for i, when := range []string{"10:00:05.200", "10:00:05.900", "10:00:09.000"} {
		c := content(p.update, keyOf(fmt.Sprint("anna's key ", i)))
		if code := o.put(KindDID, o.updated(p, c), at(when)); code != "" {
			t.Fatal(code)
		}
		versions = append(versions, o.headOf(p).VersionID())
	}
	o.head.FinalTime = o.head.Time // 10:00:09
	for when, want := range map[string]int{
		"10:00:00": 0, "10:00:01": 0, "10:00:04": 0, // the exact second of a version, and one before the next
		"10:00:05": 2, // two versions in one second: the last
		"10:00:06": 2, "10:00:08": 2,
	} {
		v := o.ask("GET", identifiers(id)+"?versionTime=2026-03-01T"+when+"Z", "").resolution()
		if v.Version.VersionID != versions[want] || v.Version.NextVersionID != versions[want+1] {
			t.Errorf("at %s: %s, want version %d: %+v", when, v.Version.VersionID, want+1, v)
		}
	}
	for when, want := range map[string]string{"09:59:59": "NOT_FOUND", "10:00:09": "INVALID_OPTIONS", "10:00:10": "INVALID_OPTIONS"} {
		if v := o.ask("GET", identifiers(id)+"?versionTime=2026-03-01T"+when+"Z", "").resolution(); v.errorName() != want {
			t.Errorf("at %s: %q, want %s", when, v.errorName(), want)
		}
	}
	o.head.FinalTime++
	o.head.FinalTime = o.head.FinalTime.Add(time.Second)
	if v := o.ask("GET", identifiers(id)+"?versionTime=2026-03-01T10:00:09Z", "").resolution(); v.Version.VersionID != versions[3] {
		t.Errorf("once the second is over: %+v", v)
	}
	for n, version := range versions {
		r := o.ask("GET", identifiers(id)+"?versionId="+version, "")
		v := r.resolution()
		if v.Version.VersionID != version || v.Version.Created != "2026-03-01T10:00:00Z" || (v.Version.Updated == "") != (n == 0) {
			t.Errorf("version %d: %+v", n+1, v)
		}
		if r.header.Get("Cache-Control") != "public, max-age=31536000, immutable" || r.header.Get("ETag") != `"`+version+`"` {
			t.Errorf("version %d: %v", n+1, r.header)
		}
	}
	newest := o.ask("GET", identifiers(id), "")
	if newest.header.Get("Cache-Control") != "public, max-age=60" || newest.resolution().Version.NextVersionID != "" {
		t.Errorf("newest: %v %s", newest.header, newest.body)
	}
	for tag, status := range map[string]int{`"` + versions[3] + `"`: 304, `W/"` + versions[3] + `"`: 304, "*": 304, `"x", "` + versions[3] + `"`: 304, `"` + versions[2] + `"`: 200} {
		if r := o.ask("GET", identifiers(id), "", "If-None-Match", tag); r.status != status || status == 304 && len(r.body) > 0 {
			t.Errorf("If-None-Match %s: HTTP %d", tag, r.status)
		}
	}
	testDeactivated(t, o, p, versions)
}

func testDeactivated(t *testing.T, o *offline, p person, versions []string) {
	raw, err := did.Sign(did.Deactivate(o.id, p.did, o.headOf(p), 0), p.update)
	if err != nil {
		t.Fatal(err)
	}
	if code := o.put(KindDID, raw, at("11:00:00.000")); code != "" {
		t.Fatal(code)
	}
	id := p.did.String()
	for _, accept := range []string{"application/did-resolution", "application/did"} {
		r := o.ask("GET", identifiers(id), "", "Accept", accept)
		if v := r.resolution(); r.status != 410 || v.Document != nil || !v.Version.Deactivated || !bytes.Contains(r.body, []byte(`"didDocument":null`)) {
			t.Errorf("deactivated, %s: HTTP %d %s", accept, r.status, r.body)
		}
	}
	for _, version := range versions {
		r := o.ask("GET", identifiers(id)+"?versionId="+version, "")
		if v := r.resolution(); r.status != 410 || v.Document["id"] != id || !v.Version.Deactivated || v.Version.VersionID != version {
			t.Errorf("a version of the past: HTTP %d %s", r.status, r.body)
		}
		r = o.ask("GET", identifiers(id)+"?versionId="+version, "", "Accept", "application/did")
		if r.status != 410 || r.resolution().ID != id {
			t.Errorf("a bare version of the past: HTTP %d %s", r.status, r.body)
		}
	}
	r := o.ask("GET", identifiers(id)+"%23key-1", "", "Accept", "application/did-url-dereferencing")
	if v := r.resolution(); r.status != 410 || v.Content != nil {
		t.Errorf("a key of the deactivated: HTTP %d %s", r.status, r.body)
	}
}

func TestConflictsAreCounted(t *testing.T) {
	o := openOffline(t, "")
	p := o.person("anna", at("10:00:00.000"))
	first, second := o.updated(p, content(p.update, keyOf("one"))), o.updated(p, content(p.update, keyOf("two")))
	if a, b := o.put(KindDID, first, at("10:00:01.000")), o.put(KindDID, second, at("10:00:02.000")); a != "" || b != "conflict" {
		t.Fatalf("%q %q", a, b)
	}
	o.put(KindDID, first, at("10:00:03.000")) // the same one, carried by another node
	if v := o.ask("GET", identifiers(p.did.String()), "").resolution(); v.Version.Conflicts != 1 {
		t.Errorf("%d conflicts", v.Version.Conflicts)
	}
}

func TestComputedDIDs(t *testing.T) {
	o := openOffline(t, "")
	jwk := "did:jwk:eyJjcnYiOiJQLTI1NiIsImt0eSI6IkVDIiwieCI6ImFjYklRaXVNczNpOF91c3pFakoydHBUdFJNNEVVM3l6OTFQSDZDZEgyVjAiLCJ5IjoiX0tjeUxqOXZXTXB0bm1LdG00NkdxRHo4d2Y3NEk1TEtncmwyR3pIM25TRSJ9"
	for _, id := range []string{"did:key:" + multikeyOf(keyOf("x")), jwk} {
		r := o.ask("GET", identifiers(id), "")
		if v := r.resolution(); r.status != 200 || v.Document["id"] != id || v.Version.VersionID != "" || r.header.Get("ETag") != "" {
			t.Errorf("%s: HTTP %d %s", id, r.status, r.body)
		}
	}
}

// TestUnknownIsLookedForAgain: what other nodes call final may be here already, without its place.
func TestUnknownIsLookedForAgain(t *testing.T) {
	o := openOffline(t, "")
	late := openOffline(t, "").person("late", at("10:00:00.000"))
	waited := 0
	o.caughtUp = func() {
		waited++
		if waited == 1 {
			o.person("late", at("10:00:00.000"))
		}
	}
	if r := o.ask("GET", identifiers(late.did.String()), ""); r.status != 200 || waited != 1 {
		t.Errorf("HTTP %d after %d waits", r.status, waited)
	}
	for _, path := range []string{"did:weft:aaaaaaaa" + late.did.String()[17:], late.did.String() + "%23none", "did:example:1"} {
		o.ask("GET", identifiers(path), "")
	}
	if waited != 1 {
		t.Errorf("waited for what no waiting brings")
	}
}

// TestDamagedState: nothing of a document that cannot be read whole, and the node stops.
func TestDamagedState(t *testing.T) {
	o := openOffline(t, "")
	p := o.person("anna", at("10:00:00.000"))
	o.state.Scan([]byte{'o'}, []byte{'p'}, func(key, value []byte) bool {
		o.state.Set(key, value[:len(value)-40])
		return false
	})
	for _, path := range []string{p.did.String(), p.did.String() + "%23key-1"} {
		r := o.ask("GET", identifiers(path), "")
		if v := r.resolution(); r.status != 500 || v.errorName() != "INTERNAL_ERROR" || v.Document != nil || v.Content != nil {
			t.Errorf("HTTP %d %s", r.status, r.body)
		}
	}
	if err := o.plugin.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "decode") {
		t.Errorf("the node goes on: %v", err)
	}
}

func TestAboutTheResolver(t *testing.T) {
	settings := `{"fetch":{"allow":["example.com"]},"testIdentifiers":{"active":["did:key:z6Mk1","did:weft:a:b"],"deactivated":["did:weft:c:d"]}}`
	o := openOffline(t, settings)
	var methods []string
	o.ask("GET", "/1.0/methods", "").into(200, &methods)
	if !slices.Equal(methods, []string{"weft", "key", "jwk", "web"}) {
		t.Errorf("methods %v", methods)
	}
	var properties map[string]map[string]any
	o.ask("GET", "/1.0/properties", "").into(200, &properties)
	if properties["weft"]["networkId"] != o.id.String() || properties["key"] == nil {
		t.Errorf("properties %v", properties)
	}
	var known map[string]map[string]bool
	o.ask("GET", "/1.0/traits", "").into(200, &known)
	if !known["weft"]["historyAvailable"] || known["key"]["updatable"] || !known["web"]["humanReadable"] {
		t.Errorf("traits %v", known)
	}
	var tests map[string][]string
	o.ask("GET", "/1.0/testIdentifiers", "").into(200, &tests)
	if !slices.Equal(tests["weft"], []string{"did:weft:a:b", "did:weft:c:d"}) || len(tests["key"]) != 1 {
		t.Errorf("tests %v", tests)
	}
}

// webHost serves did.json over TLS on this machine and counts who asks.
type webHost struct {
	server *httptest.Server
	asked  atomic.Int32
	answer func(w http.ResponseWriter, r *http.Request)
}

func newWebHost(t *testing.T) *webHost {
	h := &webHost{}
	h.server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.asked.Add(1)
		h.answer(w, r)
	}))
	t.Cleanup(h.server.Close)
	return h
}

func (h *webHost) host() string { return h.server.Listener.Addr().String() }

// trusting is a fetcher that may ask the host and knows its certificate.
func (h *webHost) trusting(f FetchSettings) fetcher {
	fetch := newFetcher(f)
	fetch.client.Transport.(*http.Transport).TLSClientConfig.RootCAs = h.server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	return fetch
}

func TestDIDWeb(t *testing.T) {
	h := newWebHost(t)
	id := "did:web:" + strings.ReplaceAll(h.host(), ":", "%3A")
	body, mediaType := "", "application/did"
	h.answer = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", mediaType)
		if r.URL.Path == "/.well-known/did.json" || r.URL.Path == "/users/anna/did.json" {
			fmt.Fprint(w, body)
			return
		}
		w.WriteHeader(http.StatusNotFound)
	}
	x := &identity{settings: Settings{Fetch: FetchSettings{Allow: []string{h.host()}}}}
	x.fetcher = h.trusting(FetchSettings{Allow: []string{h.host()}, Private: []string{h.host()}})
	resolve := func(id string) did.Result {
		return did.Resolve(memory{}, id, did.Options{Other: x.webResolver(t.Context())})
	}
	body = `{"id":"` + id + `","verificationMethod":[{"id":"` + id + `#k"}],"service":[]}`
	if r := resolve(id); r.Error != nil || r.Document["id"] != id {
		t.Errorf("%+v", r)
	}
	d := did.Dereference(memory{}, id+"#k", did.Options{Other: x.webResolver(t.Context())})
	if d.Error != nil || d.Content["id"] != id+"#k" {
		t.Errorf("%+v", d)
	}
	body = `{"id":"` + id + `:users:anna"}`
	if r := resolve(id + ":users:anna"); r.Error != nil {
		t.Errorf("with a path: %+v", r.Error)
	}
	for name, c := range map[string]struct{ id, body, mediaType, want string }{
		"another id":       {id, `{"id":"did:web:other"}`, "application/did", "INVALID_DID_DOCUMENT"},
		"no JSON":          {id, `<html>`, "application/did", "INVALID_DID_DOCUMENT"},
		"twice":            {id, `{"id":"` + id + `","id":"` + id + `"}`, "application/json", "INVALID_DID_DOCUMENT"},
		"methods no list":  {id, `{"id":"` + id + `","verificationMethod":{}}`, "application/json", "INVALID_DID_DOCUMENT"},
		"method no object": {id, `{"id":"` + id + `","service":["x"]}`, "application/json", "INVALID_DID_DOCUMENT"},
		"too large":        {id, `{"id":"` + id + `","x":"` + strings.Repeat("x", MaxWebDocument) + `"}`, "application/json", "INVALID_DID_DOCUMENT"},
		"far too large":    {id, strings.Repeat(" ", MaxFetchBytes+1), "application/json", "NOT_FOUND"},
		"another type":     {id, `{"id":"` + id + `"}`, "text/html", "NOT_FOUND"},
		"not there":        {id + ":none", ``, "application/json", "NOT_FOUND"},
		"not listed":       {"did:web:other.example", ``, "application/json", "METHOD_NOT_SUPPORTED"},
		"climbing":         {id + ":..:x", ``, "application/json", "INVALID_DID"},
		"a user":           {"did:web:user%40" + h.host(), ``, "application/json", "INVALID_DID"},
		"other method":     {"did:example:x", ``, "application/json", "METHOD_NOT_SUPPORTED"},
	} {
		body, mediaType = c.body, c.mediaType
		if r := resolve(c.id); r.Error == nil || !strings.HasSuffix(r.Error.Type, "#"+c.want) {
			t.Errorf("%s: %+v, want %s", name, r.Error, c.want)
		}
	}
}

// TestNothingIsFetchedInside holds the guarded fetch against addresses that are not of the open internet: nobody there is
// even asked.
func TestNothingIsFetchedInside(t *testing.T) {
	inner := newWebHost(t)
	inner.answer = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", rest.TypeJSON)
		fmt.Fprint(w, `{}`)
	}
	_, port, _ := strings.Cut(inner.host(), ":")
	hosts := []string{
		inner.host(), "localhost:" + port, "[::1]:" + port, "[::ffff:127.0.0.1]:" + port, "[::ffff:7f00:1]:" + port, "127.1:" + port, "0.0.0.0:" + port,
		"10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "[fd00::1]", "[fe80::1]", "[64:ff9b::a00:1]", "[2002:a00:1::1]",
		"[::ffff:10.0.0.1]", "[::]:" + port, "192.0.2.1", "224.0.0.1", "255.255.255.255",
	}
	f := inner.trusting(FetchSettings{Allow: hosts})
	for _, host := range hosts {
		if _, err := f.get(t.Context(), "https://"+host+"/did.json", rest.TypeJSON); plugins.Rejected(err) == nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	for _, address := range []string{"http://" + inner.host(), "https://unlisted.example/", "https://user@" + inner.host() + "/", "file:///etc/passwd", "https://" + inner.host() + ".evil.example/"} {
		if _, err := f.get(t.Context(), address, rest.TypeJSON); plugins.Rejected(err) == nil || plugins.Rejected(err).Code != "fetch_refused" {
			t.Errorf("%s: %v", address, err)
		}
	}
	outer := newWebHost(t)
	outer.answer = func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, inner.server.URL, http.StatusFound)
	}
	f = outer.trusting(FetchSettings{Allow: []string{outer.host(), inner.host()}, Private: []string{outer.host(), inner.host()}})
	if _, err := f.get(t.Context(), outer.server.URL, rest.TypeJSON); err == nil {
		t.Error("a redirect was followed")
	}
	if inner.asked.Load() != 0 || outer.asked.Load() != 1 {
		t.Errorf("asked %d times inside, %d outside", inner.asked.Load(), outer.asked.Load())
	}
}

// BenchmarkResolve resolves 10,000 DIDs of a store on disk over HTTP, in no order.
func BenchmarkResolve(b *testing.B) {
	disk, err := store.OpenBadger(store.BadgerConfig{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer disk.Close()
	o := openOfflineOn(b, "", disk)
	var paths []string
	for i := range 10_000 {
		p := o.person(fmt.Sprint("person ", i), at("10:00:00.000").Add(time.Duration(i)*time.Millisecond))
		paths = append(paths, identifiers(p.did.String()))
	}
	server := httptest.NewServer(o)
	defer server.Close()
	took := make([]time.Duration, 0, b.N)
	i := 0
	for b.Loop() {
		begin := time.Now()
		response, err := server.Client().Get(server.URL + paths[i*7919%len(paths)])
		if err != nil || response.StatusCode != 200 {
			b.Fatal(err, response)
		}
		var body bytes.Buffer
		_, _ = body.ReadFrom(response.Body)
		response.Body.Close()
		took = append(took, time.Since(begin))
		i++
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}
