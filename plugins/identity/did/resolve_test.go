package did

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"weft/plugins/plugintest"
	"weft/tangle"
)

// history is a DID with versions at known times: 1 at 0 s, 2 at 10.5 s, 3 at 10.9 s, 4 at 20 s.
func history(t *testing.T) (*ledger, DID) {
	l := newLedger(t)
	d := l.create(oneKey(1), 1)
	for i, at := range []tangle.Time{10_500, 10_900, 20_000} {
		l.now = epoch + at
		c := oneKey(1)
		c.Params.TTL = 100 + i
		c.Document = simpleDocument(byte(2 + i))
		l.want("", l.update(d, c, 1))
	}
	return l, d
}

// key1 is the multikey of the document's first method.
func key1(t *testing.T, doc Object) string {
	t.Helper()
	list, _ := doc["verificationMethod"].([]any)
	if len(list) == 0 {
		t.Fatalf("document %v", doc)
	}
	s, _ := list[0].(Object)["publicKeyMultibase"].(string)
	return s
}

func at(seconds int64) string { return FormatTime(tangle.Time(int64(epoch) + seconds*1000)) }

func TestResolveVersions(t *testing.T) {
	l, d := history(t)
	ids := []string{""}
	if err := Log(l, d, 1, func(n int, r Record) bool { ids = append(ids, r.VersionID(n)); return true }); err != nil || len(ids) != 5 {
		t.Fatal(ids, err)
	}
	for name, c := range map[string]struct {
		query  string
		newest tangle.Time
		want   int    // version
		fault  string // else
	}{
		"newest":               {"", 30, 4, ""},
		"first by id":          {"?versionId=" + ids[1], 30, 1, ""},
		"third by id":          {"?versionId=" + ids[3], 30, 3, ""},
		"newest by id":         {"?versionId=" + ids[4], 0, 4, ""},
		"id of another number": {"?versionId=2" + ids[3][1:], 30, 0, "NOT_FOUND"},
		"id with a zero":       {"?versionId=0" + ids[3], 30, 0, "NOT_FOUND"},
		"id without hash":      {"?versionId=1", 30, 0, "NOT_FOUND"},
		"empty id":             {"?versionId=", 30, 4, ""},
		"before creation":      {"?versionTime=" + at(-1), 30, 0, "NOT_FOUND"},
		"at creation":          {"?versionTime=" + at(0), 30, 1, ""},
		"one before":           {"?versionTime=" + at(9), 30, 1, ""},
		"two in one second":    {"?versionTime=" + at(10), 30, 3, ""},
		"one after":            {"?versionTime=" + at(11), 30, 3, ""},
		"exact":                {"?versionTime=" + at(20), 30, 4, ""},
		"after the last":       {"?versionTime=" + at(29), 30, 4, ""},
		"newest certified":     {"?versionTime=" + at(30), 30, 0, "INVALID_OPTIONS"},
		"the future":           {"?versionTime=" + at(31), 30, 0, "INVALID_OPTIONS"},
		"with offset":          {"?versionTime=2026-12-01T00:00:00%2B00:00", 30, 0, "INVALID_OPTIONS"},
		"with fraction":        {"?versionTime=2026-12-01T00:00:00.000Z", 30, 0, "INVALID_OPTIONS"},
		"id and time":          {"?versionId=" + ids[1] + "&versionTime=" + at(0), 30, 0, "INVALID_OPTIONS"},
		"id twice":             {"?versionId=" + ids[1] + "&versionId=" + ids[1], 30, 0, "INVALID_DID_URL"},
	} {
		r := Resolve(l, d.String()+c.query, Options{Newest: epoch + c.newest*1000 + 500})
		if c.fault != "" {
			if r.Error == nil || !strings.HasSuffix(r.Error.Type, "#"+c.fault) {
				t.Errorf("%s: %+v, want %s", name, r, c.fault)
			}
			continue
		}
		if r.Error != nil || r.Version != c.want || r.Status() != 200 || key1(t, r.Document) != multikey([]byte{0, 1, 2, 3, 4}[c.want]) || r.Metadata.VersionID != ids[c.want] {
			t.Errorf("%s: %+v, want version %d", name, r, c.want)
		}
	}
}

func TestMetadata(t *testing.T) {
	l, d := history(t)
	conflicts := func(DID) int { return 2 }
	third := Resolve(l, d.String()+"?versionTime="+at(15), Options{Newest: epoch + 60_000})
	want := Object{"created": at(0), "updated": at(10), "versionId": third.Metadata.VersionID, "nextUpdate": at(20), "nextVersionId": l.head(d).VersionID(), "deactivated": false}
	sameJSON(t, third.Metadata.JSON(), want)
	first := Resolve(l, d.String()+"?versionTime="+at(5), Options{Newest: epoch + 60_000, Conflicts: conflicts}).Metadata.JSON()
	if first["updated"] != nil || first["nextUpdate"] != at(10) || first["conflicts"] != 2 {
		t.Errorf("first: %v", first)
	}
	newest := Resolve(l, d.String(), Options{})
	if newest.Metadata.NextVersionID != "" || newest.TTL != 102 {
		t.Errorf("newest: %+v", newest)
	}
	l.now += 1000
	l.want("", sign(t, Deactivate(testNetwork(), d, l.head(d), 0), 1))
	end := Resolve(l, d.String(), Options{})
	if end.Status() != 410 || end.Document != nil || end.Error != nil || !end.Metadata.Deactivated || end.Metadata.VersionID != l.head(d).VersionID() {
		t.Errorf("deactivated: %+v", end)
	}
	old := Resolve(l, d.String()+"?versionId="+third.Metadata.VersionID, Options{})
	if old.Status() != 410 || key1(t, old.Document) != multikey(3) || !old.Metadata.Deactivated {
		t.Errorf("old version of a deactivated DID: %+v", old)
	}
	if json := end.JSON(epoch); json["didDocument"] != nil || json["didDocumentMetadata"].(Object)["deactivated"] != true {
		t.Errorf("JSON: %v", json)
	}
}

func sameJSON(t *testing.T, got, want any) {
	t.Helper()
	a, err := Canonical(got)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Canonical(want)
	if err != nil {
		t.Fatal(err)
	}
	if string(a) != string(b) {
		t.Errorf("got  %s\nwant %s", a, b)
	}
}

func TestErrors(t *testing.T) {
	l, d := history(t)
	unknown := newDID(testNetwork(), Multihash([]byte("x"))).String()
	for did, c := range map[string]struct {
		name   string
		status int
	}{
		"not-a-did": {"INVALID_DID", 400}, "did:example": {"INVALID_DID", 400}, "did:weft:x": {"INVALID_DID", 400}, d.String() + "#key-1": {"INVALID_DID", 400},
		"did:unsupported:123": {"METHOD_NOT_SUPPORTED", 501}, unknown: {"NOT_FOUND", 404}, strings.Replace(d.String(), "t2iac44k", "aaaaaaaa", 1): {"NOT_FOUND", 404},
		"did:key:z6Mk": {"INVALID_DID", 400}, "did:key:" + multikey(1)[1:]: {"INVALID_DID", 400}, "did:jwk:e30": {"INVALID_DID", 400}, "did:jwk:e30=": {"INVALID_DID", 400},
	} {
		r := Resolve(l, did, Options{})
		if r.Error == nil || r.Error.Type != "https://www.w3.org/ns/did#"+c.name || r.Status() != c.status || r.Document != nil || r.Fault != nil {
			t.Errorf("%s: %+v, want %s", did, r, c.name)
		}
		text, err := ASCII(r.JSON(epoch))
		if err != nil || !strings.HasPrefix(string(text), `{"didDocument":null,"didDocumentMetadata":{},"didResolutionMetadata":{"error":{"detail":`) {
			t.Errorf("%s: %s, %v", did, text, err)
		}
	}
}

func TestParseOptions(t *testing.T) {
	o, e := ParseOptions([]Parameter{{"versionId", "1-x"}, {"expandRelativeUrls", "true"}, {"noCache", "false"}, {"proof", "true"}, {"verificationRelationship", "authentication"}})
	if e != nil || o.VersionID != "1-x" || !o.Proof || !o.ExpandRelativeURLs || o.Relationship != Authentication {
		t.Errorf("%+v, %v", o, e)
	}
	for want, list := range map[string][]Parameter{
		"FEATURE_NOT_SUPPORTED": {{"teleport", "true"}}, "INVALID_OPTIONS": {{"proof", "yes"}},
	} {
		if _, e := ParseOptions(list); e == nil || !strings.HasSuffix(e.Type, want) {
			t.Errorf("%v: %v", list, e)
		}
	}
	for _, list := range [][]Parameter{{{"proof", "true"}, {"proof", "true"}}, {{"verificationRelationship", "x"}}} {
		if _, e := ParseOptions(list); e == nil || e.Status != 400 {
			t.Errorf("%v: %v", list, e)
		}
	}
}

func TestDocument(t *testing.T) {
	l := newLedger(t)
	a := l.create(oneKey(9), 9)
	c := ownedBy(oneKey(1), 1, a)
	c.Document = DefaultDocument(public(1), PublicKey{X25519, make([]byte, 32)})
	c.Document["service"] = []any{Object{"id": "#s", "type": "T", "serviceEndpoint": "https://a.example"}}
	c.Document["context"] = []any{"https://b.example/context"}
	c.Document["alsoKnownAs"] = []any{"https://c.example"}
	d := l.create(c, 1, 9)
	s := d.String()
	x25519 := PublicKey{X25519, make([]byte, 32)}.Multikey()
	key1 := s + "#key-1"
	sameJSON(t, Resolve(l, s, Options{}).Document, Object{
		"@context": []any{"https://www.w3.org/ns/did/v1.1", "https://b.example/context"}, "id": s, "controller": []any{a.String()},
		"verificationMethod": []any{
			Object{"id": key1, "type": "Multikey", "controller": s, "publicKeyMultibase": multikey(1)},
			Object{"id": s + "#key-2", "type": "Multikey", "controller": s, "publicKeyMultibase": x25519},
		},
		"authentication": []any{key1}, "assertionMethod": []any{key1}, "capabilityInvocation": []any{key1}, "keyAgreement": []any{s + "#key-2"},
		"service": []any{Object{"id": s + "#s", "type": "T", "serviceEndpoint": "https://a.example"}}, "alsoKnownAs": []any{"https://c.example"},
	})
}

func TestComputed(t *testing.T) {
	name := DIDKey(Ed25519Key(public(1)))
	vm := name + "#" + multikey(1)
	sameJSON(t, Resolve(nil, name, Options{}).JSON(epoch), Object{
		"didDocument": Object{
			"@context": []any{baseContext}, "id": name,
			"verificationMethod": []any{Object{"id": vm, "type": "Multikey", "controller": name, "publicKeyMultibase": multikey(1)}},
			"authentication":     []any{vm}, "assertionMethod": []any{vm}, "capabilityInvocation": []any{vm}, "capabilityDelegation": []any{vm},
		},
		"didResolutionMetadata": Object{"contentType": "application/did", "retrieved": FormatTime(epoch)}, "didDocumentMetadata": Object{},
	})
	x := DIDKey(PublicKey{X25519, make([]byte, 32)})
	if doc := Resolve(nil, x, Options{}).Document; doc["keyAgreement"] == nil || doc["authentication"] != nil {
		t.Errorf("X25519: %v", doc)
	}
	if r := Resolve(nil, name, Options{VersionID: "1"}); r.Status() != 404 {
		t.Errorf("a version of did:key: %+v", r)
	}
	// The example of the did:jwk method, section "P-256".
	jwk := `{"crv":"P-256","kty":"EC","x":"acbIQiuMs3i8_uszEjJ2tpTtRM4EU3yz91PH6CdH2V0","y":"_KcyLj9vWMptnmKtm46GqDz8wf74I5LKgrl2GzH3nSE"}`
	did := "did:jwk:" + base64url([]byte(jwk))
	if did != "did:jwk:eyJjcnYiOiJQLTI1NiIsImt0eSI6IkVDIiwieCI6ImFjYklRaXVNczNpOF91c3pFakoydHBUdFJNNEVVM3l6OTFQSDZDZEgyVjAiLCJ5IjoiX0tjeUxqOXZXTXB0bm1LdG00NkdxRHo4d2Y3NEk1TEtncmwyR3pIM25TRSJ9" {
		t.Errorf("%s", did)
	}
	m, err := Lookup(nil, did+"#0", KeyAgreement, 0)
	if err != nil || m.Type != "JsonWebKey" || m.Key.Type != P256 || m.Controller != did {
		t.Errorf("%+v, %v", m, err)
	}
	var o Object
	if err := json.Unmarshal([]byte(jwk), &o); err != nil {
		t.Fatal(err)
	}
	o["use"] = "sig"
	text, err := Canonical(o)
	if err != nil {
		t.Fatal(err)
	}
	if doc := Resolve(nil, "did:jwk:"+base64url(text), Options{}).Document; doc["keyAgreement"] != nil || doc["authentication"] == nil {
		t.Errorf("use sig: %v", doc)
	}
	o["d"] = "AA"
	if text, err = Canonical(o); err != nil {
		t.Fatal(err)
	}
	if r := Resolve(nil, "did:jwk:"+base64url(text), Options{}); r.Status() != 400 {
		t.Errorf("a private key as a name: %+v", r)
	}
}

func TestLookup(t *testing.T) {
	l, d := history(t)
	url := d.String() + "#key-1"
	for name, c := range map[string]struct {
		url  string
		rel  Relationship
		at   tangle.Time
		seed byte
		code string
	}{
		"newest":            {url, AssertionMethod, 0, 4, ""},
		"any relationship":  {url, "", 0, 4, ""},
		"not in it":         {url, KeyAgreement, 0, 0, "not_entitled"},
		"no such method":    {d.String() + "#key-2", "", 0, 0, "not_entitled"},
		"old":               {url, AssertionMethod, epoch, 1, ""},
		"to the second":     {url, AssertionMethod, epoch + 10_000, 3, ""},
		"ahead":             {url, AssertionMethod, epoch + 1_000_000, 4, ""},
		"before it existed": {url, AssertionMethod, epoch - 1000, 0, "unknown_did"},
		"unknown":           {newDID(testNetwork(), Multihash(nil)).String() + "#a", "", 0, 0, "unknown_did"},
		"no fragment":       {d.String(), "", 0, 0, "bad_value"},
		"query":             {d.String() + "?versionId=1#key-1", "", 0, 0, "bad_value"},
		"other method":      {"did:web:example.com#a", "", 0, 0, "method_not_supported"},
		"did:key":           {"did:key:" + multikey(7) + "#" + multikey(7), Authentication, 5, 7, ""},
		"did:key elsewhere": {"did:key:" + multikey(7) + "#" + multikey(8), Authentication, 5, 0, "not_entitled"},
		"did:key agreement": {"did:key:" + multikey(7) + "#" + multikey(7), KeyAgreement, 5, 0, "not_entitled"},
	} {
		m, err := Lookup(l, c.url, c.rel, c.at)
		if plugintest.Code(t, err) != c.code || err == nil && m.Key.Multikey() != multikey(c.seed) {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
	l.now += 1000
	l.want("", sign(t, Deactivate(testNetwork(), d, l.head(d), 0), 1))
	if _, err := Lookup(l, url, "", 0); plugintest.Code(t, err) != "deactivated" {
		t.Errorf("deactivated: %v", err)
	}
	if m, err := Lookup(l, url, "", epoch+20_000); err != nil || m.Key.Multikey() != multikey(4) {
		t.Errorf("before the end: %v, %v", m, err)
	}
}

func TestHolds(t *testing.T) {
	l := newLedger(t)
	c := oneKey(1)
	friend := "did:key:" + multikey(5) + "#" + multikey(5)
	retired := FormatTime(epoch + 10_000)
	c.Document = Object{
		"verificationMethod": []any{
			Object{"id": "#a", "type": "Multikey", "publicKeyMultibase": multikey(1)},
			Object{"id": "#b", "type": "Multikey", "publicKeyMultibase": multikey(2)},
			Object{"id": "#r", "type": "Multikey", "publicKeyMultibase": multikey(3), "revoked": retired},
			Object{"id": "#e", "type": "Multikey", "publicKeyMultibase": multikey(4), "expires": retired},
		},
		"assertionMethod": []any{"#a", "#r", "#e", friend}, "authentication": []any{"#b"},
	}
	d := l.create(c, 1)
	c.Document = Object{"assertionMethod": []any{d.String() + "#b"}}
	c.Params = NewParams(multikeys(6))
	other := l.create(c, 6)
	self := DIDKey(Ed25519Key(public(1)))
	for name, c := range map[string]struct {
		actor string
		rel   Relationship
		seeds []byte
		at    tangle.Time
		want  bool
	}{
		"own method":         {d.String(), AssertionMethod, []byte{9, 1}, epoch, true},
		"nobody":             {d.String(), AssertionMethod, nil, epoch, false},
		"other relationship": {d.String(), AssertionMethod, []byte{2}, epoch, false},
		"its relationship":   {d.String(), Authentication, []byte{2}, epoch, true},
		"before revoked":     {d.String(), AssertionMethod, []byte{3}, epoch + 9_999, true},
		"revoked":            {d.String(), AssertionMethod, []byte{3}, epoch + 10_000, false},
		"before expires":     {d.String(), AssertionMethod, []byte{4}, epoch + 9_999, true},
		"expired":            {d.String(), AssertionMethod, []byte{4}, epoch + 10_000, false},
		"a friend's key":     {d.String(), AssertionMethod, []byte{5}, epoch, true},
		"another's method":   {other.String(), AssertionMethod, []byte{2}, epoch, true},
		"not named":          {other.String(), AssertionMethod, []byte{1}, epoch, false},
		"did:key":            {self, CapabilityInvocation, []byte{1}, epoch, true},
		"did:key of another": {self, CapabilityInvocation, []byte{2}, epoch, false},
		"did:key agreement":  {self, KeyAgreement, []byte{1}, epoch, false},
		"unknown":            {newDID(testNetwork(), Multihash(nil)).String(), AssertionMethod, []byte{1}, epoch, false},
		"a URL":              {self + "#x", AssertionMethod, []byte{1}, epoch, false},
		"nonsense":           {"", AssertionMethod, []byte{1}, epoch, false},
	} {
		if got, err := Holds(l, c.actor, c.rel, multikeys(c.seeds...), c.at); got != c.want || err != nil {
			t.Errorf("%s: %v %v", name, got, err)
		}
	}
	l.want("", sign(t, Deactivate(testNetwork(), d, l.head(d), 0), 1))
	for _, actor := range []DID{d, other} {
		if got, err := Holds(l, actor.String(), AssertionMethod, multikeys(1, 2), epoch); got || err != nil {
			t.Errorf("%s holds something of a deactivated DID: %v", actor, err)
		}
	}
}

// What one operation makes every node read is bounded, however many other documents a relationship refers to.
func TestHoldsReadsFewDocuments(t *testing.T) {
	l := newLedger(t)
	friend, references := make([]DID, 20), []any{"did:key:" + multikey(99) + "#" + multikey(99)}
	for i := range friend {
		friend[i] = l.create(oneKey(byte(100+i)), byte(100+i))
		references = append(references, friend[i].String()+"#key-1")
	}
	c := oneKey(1)
	c.Document = Object{
		"verificationMethod": []any{Object{"id": "#key-1", "type": "Multikey", "publicKeyMultibase": multikey(1)}},
		"assertionMethod":    append(references, "#key-1"),
	}
	d := l.create(c, 1).String()
	last := byte(100 + MaxForeign - 1)
	for seed, want := range map[byte]bool{99: true, 100: true, last: true, last + 1: false, 1: true} {
		got, err := Holds(l, d, AssertionMethod, multikeys(seed), epoch)
		if got != want || err != nil {
			t.Errorf("key %d: %v %v", seed, got, err)
		}
	}
	got, err := Held(l, d, AssertionMethod, multikeys(last+1, last, 1, 5), epoch)
	if want := multikeys(last, 1); !slices.Equal(got, want) || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestDereference(t *testing.T) {
	l := newLedger(t)
	c := oneKey(1)
	c.Document = simpleDocument(1)
	c.Document["service"] = []any{
		Object{"id": "#files", "type": "Files", "serviceEndpoint": "https://a.example/base/"},
		Object{"id": "#many", "type": []any{"Files", "More"}, "serviceEndpoint": []any{"https://b.example", Object{"uri": "https://c.example"}, "https://d.example/x?y#z"}},
		Object{"id": "#map", "type": "Map", "serviceEndpoint": Object{"uri": "https://e.example"}},
		Object{"id": "#did", "type": "Did", "serviceEndpoint": "did:web:example.com"},
	}
	d := l.create(c, 1)
	for query, c := range map[string]struct {
		id     string // of the content; "" with an error
		urls   string
		status int
		fault  string
	}{
		"":                                    {"", "", 200, ""},
		"#key-1":                              {"#key-1", "", 200, ""},
		"#files":                              {"#files", "", 200, ""},
		"#nothing":                            {"", "", 404, "did#NOT_FOUND"},
		"/path":                               {"", "", 404, "did#NOT_FOUND"},
		"?unknown=1":                          {"", "", 404, "did#NOT_FOUND"},
		"?service=files":                      {"", "https://a.example/base/", 200, ""},
		"?service=%23files":                   {"", "https://a.example/base/", 200, ""},
		"?service=" + d.String() + "%23files": {"", "https://a.example/base/", 200, ""},
		"?service=nothing":                    {"", "", 404, "did#NOT_FOUND"},
		"?service=key-1":                      {"", "", 404, "did#NOT_FOUND"},
		"?serviceType=Files":                  {"", "https://a.example/base/ https://b.example https://d.example/x?y#z", 200, ""},
		"?serviceType=More&service=many":      {"", "https://b.example https://d.example/x?y#z", 200, ""},
		"?serviceType=More&service=files":     {"", "", 404, "did#NOT_FOUND"},
		"?relativeRef=/a":                     {"", "", 404, "did#NOT_FOUND"},
		"?service=files&service=many":         {"", "", 400, "did#INVALID_DID_URL"},
		"?service=files&relativeRef=/a/b%3Fc": {"", "https://a.example/base/a/b?c", 303, ""},
		"?service=files&relativeRef=a#frag":   {"", "https://a.example/base/a#frag", 303, ""},
		"?service=files&relativeRef=a%23x#y":  {"", "", 400, "did#INVALID_DID_URL"},
		"?service=files&relativeRef=":         {"", "https://a.example/base/", 303, ""},
		"?service=files&relativeRef=%3Fq":     {"", "https://a.example/base/?q", 303, ""},
		"?service=many&relativeRef=e":         {"", "https://b.example/e https://d.example/x/e", 303, ""},
		"?service=many#f":                     {"", "", 400, "did#INVALID_DID_URL"},
		"?service=map":                        {"", "", 200, ""},
		"?service=map&relativeRef=a":          {"", "", 404, "did#NOT_FOUND"},
		"?service=did&relativeRef=a":          {"", "", 400, "did#INVALID_DID_URL"},
		"?service=files&versionId=1-zQm":      {"", "", 404, "did#NOT_FOUND"},
	} {
		r := Dereference(l, d.String()+query, Options{})
		if r.Status() != c.status || c.fault != "" && (r.Error == nil || !strings.HasSuffix(r.Error.Type, c.fault)) {
			t.Errorf("%s: %d, %v; want %d %s", query, r.Status(), r.Error, c.status, c.fault)
			continue
		}
		if strings.Join(r.Endpoints, " ") != c.urls {
			t.Errorf("%s: %q, want %q", query, r.Endpoints, c.urls)
		}
		if c.fault == "" && r.Content["id"] != d.String()+c.id || (r.Content == nil) != (c.fault != "") {
			t.Errorf("%s: content %v", query, r.Content)
		}
	}
	method := Dereference(l, d.String()+"#key-1", Options{}).JSON(epoch)
	want := Object{"@context": []any{baseContext}, "id": d.String() + "#key-1", "type": "Multikey", "controller": d.String(), "publicKeyMultibase": multikey(1)}
	sameJSON(t, method, Object{
		"content": want, "contentStream": want, "contentMetadata": Object{},
		"dereferencingMetadata": Object{"contentType": "application/did", "retrieved": FormatTime(epoch)},
	})
	selected := Dereference(l, d.String()+"?serviceType=More", Options{})
	if list := selected.Content["service"].([]any); len(list) != 1 || !selected.Document || selected.JSON(epoch)["contentMetadata"].(Object)["versionId"] == nil {
		t.Errorf("selected: %v", selected.Content)
	}
	if doc := Resolve(l, d.String(), Options{}).Document; len(doc["service"].([]any)) != 4 {
		t.Error("selecting changes the document")
	}
	l.want("", sign(t, Deactivate(testNetwork(), d, l.head(d), 0), 1))
	if r := Dereference(l, d.String()+"#key-1", Options{}); r.Status() != 410 || r.Content != nil || r.JSON(epoch)["contentMetadata"].(Object)["deactivated"] != true {
		t.Errorf("deactivated: %+v", r)
	}
}

func TestDereferenceByRelationship(t *testing.T) {
	l := newLedger(t)
	d := l.create(oneKey(1), 1)
	for _, c := range []struct {
		query string
		rel   Relationship
		fault bool
	}{{"#key-1", Authentication, false}, {"#key-1", KeyAgreement, true}, {"#nothing", Authentication, true}, {"", Authentication, true}, {"?service=a", Authentication, true}} {
		r := Dereference(l, d.String()+c.query, Options{Relationship: c.rel})
		if c.fault != (r.Error != nil) || c.fault && (r.Error.Type != "https://w3id.org/security#INVALID_RELATIONSHIP_FOR_VERIFICATION_METHOD" || r.Status() != 500) {
			t.Errorf("%s %s: %+v", c.query, c.rel, r.Error)
		}
	}
}

// TestClimbing tries to leave the endpoint's path, its authority or its line. References are as they stand in the DID URL.
func TestClimbing(t *testing.T) {
	l := newLedger(t)
	c := oneKey(1)
	c.Document["service"] = []any{Object{"id": "#s", "type": "T", "serviceEndpoint": "https://a.example/base"}}
	d := l.create(c, 1)
	for _, bad := range []string{
		"..", "../x", "/../x", "a/../../x", "a/../x", "%2E%2E/x", "%2e%2e%2fx", ".%2E/x", "%252E%252E%252Fx", "%25252e%25252e/x", "..%5Cx", "a%5C..%5Cx", "%255C..%255Cx",
		"//evil.example/x", "%2F%2Fevil.example", "https://evil.example", "https%3A%2F%2Fevil.example", "javascript:alert(1)", "a%0D%0ASet-Cookie:x", "a%20b", "a%00b", "..;/x",
		"%C3%A4", "%2", "a%25zz",
	} {
		if r := Dereference(l, d.String()+"?service=s&relativeRef="+bad, Options{}); r.Status() != 400 || len(r.Endpoints) > 0 && r.Error == nil {
			t.Errorf("%s: %d %v", bad, r.Status(), r.Endpoints)
		}
	}
	for reference, want := range map[string]string{
		"x": "/x", "/x": "/x", "./x": "/./x", "..x": "/..x", "x..": "/x..", "a%2520b": "/a%20b", "a?b=../c": "/a?b=../c", "a:b/c": "", "/a:b": "/a:b",
	} {
		r := Dereference(l, d.String()+"?service=s&relativeRef="+strings.ReplaceAll(reference, "?", "%3F"), Options{})
		if want != "" && (r.Status() != 303 || r.Endpoints[0] != "https://a.example/base"+want) || want == "" && r.Status() != 400 {
			t.Errorf("%s: %d %v", reference, r.Status(), r.Endpoints)
		}
	}
}
