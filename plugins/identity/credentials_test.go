package identity

import (
	"crypto/ecdh"
	"crypto/hpke"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"weft/plugins/identity/did"
	"weft/plugins/identity/status"
	"weft/plugins/identity/vc"
	"weft/plugins/rest"
)

func TestShippedTemplates(t *testing.T) {
	list, err := shipped()
	if err != nil {
		t.Fatal(err)
	}
	want := "FullName SmallCompany AgeOver KycSeller Courier ProofOfPurchase ProductAuthenticity TransportTicket TravelEligibility MeterTypeApproval WorkerCertificate"
	var names []string
	for _, one := range list {
		names = append(names, one.Name)
		if err := one.check(); err != nil || one.Version != 1 {
			t.Errorf("%s: version %d, %v", one.Name, one.Version, err)
		}
	}
	if strings.Join(names, " ") != want {
		t.Errorf("templates %v, want %s", names, want)
	}
}

func TestTemplates(t *testing.T) {
	admin, member := holderOf("admin"), holderOf("member")
	w := start(t, networkOptions{settings: func(int) string { return roleRules("orgAdmin", admin.did(), "member", member.did()) }})
	asAdmin, asMember := w.enter(0, admin), w.enter(0, member)
	const path = "/api/v1/credential-templates"
	body := func(name string) did.Object {
		return did.Object{
			"name": name, "type": "Pass", "fields": []any{did.Object{"name": "door", "type": "string", "required": true}},
			"schema": did.Object{"type": "object"}, "display": did.Object{"title": "Pass"}, "trust": did.Object{"property": "pass.door", "pointer": "/credentialSubject/door"},
		}
	}
	var list rest.List[template]
	w.call(0, "GET", path+"?limit=4", nil, asMember...).into(200, &list)
	if len(list.Items) != 4 || list.Next == nil || list.Items[0].Name != "AgeOver" {
		t.Errorf("templates %+v", list)
	}
	w.call(0, "GET", path+"?limit=200&cursor="+*list.Next, nil, asMember...).into(200, &list)
	if len(list.Items) != 7 {
		t.Errorf("the rest: %d", len(list.Items))
	}
	w.call(0, "GET", path, nil).refused(401, "unauthenticated")
	w.call(0, "POST", path, body("Pass"), asMember...).refused(403, "forbidden")
	w.call(0, "POST", path, body("Pass"), asAdmin...).want(201)
	w.call(0, "POST", path, body("Pass"), asAdmin...).refused(409, "already_exists")
	w.call(0, "POST", path, body("AgeOver"), asAdmin...).refused(409, "already_exists")
	w.call(0, "PUT", path+"/Pass", body("Pass"), append(asAdmin, "If-Match", `"7"`)...).refused(412, "version_mismatch")
	var next template
	w.call(0, "PUT", path+"/Pass", body("Pass"), append(asAdmin, "If-Match", `"1"`)...).into(200, &next)
	if r := w.call(0, "GET", path+"/Pass", nil, asMember...).want(200); next.Version != 2 || r.header.Get("ETag") != `"2"` {
		t.Errorf("version %d, ETag %s", next.Version, r.header.Get("ETag"))
	}
	w.call(0, "PUT", path+"/Pass", body("Other"), asAdmin...).refused(422, "bad_value")
	w.call(0, "PUT", path+"/None", body("None"), asAdmin...).refused(404, "not_found")
	for name, change := range map[string]func(o did.Object){
		"a name for paths":  func(o did.Object) { o["name"] = "a/b" },
		"no fields":         func(o did.Object) { o["fields"] = []any{} },
		"a field called id": func(o did.Object) { o["fields"] = []any{did.Object{"name": "id", "type": "string"}} },
		"no schema":         func(o did.Object) { delete(o, "schema") },
		"a schema that loads another": func(o did.Object) {
			o["schema"] = did.Object{"$ref": "https://other.example/schema"}
		},
		"a pointer outside": func(o did.Object) { o["trust"] = did.Object{"property": "a", "pointer": "/issuer"} },
	} {
		bad := body("Bad")
		change(bad)
		if r := w.call(0, "POST", path, bad, asAdmin...); r.status != 422 {
			t.Errorf("%s: HTTP %d %s", name, r.status, r.body)
		}
	}
}

// TestIssueByHolderOfTheKey goes the normal way: draft, sign, register, suspend, reinstate, revoke.
func TestIssueByHolderOfTheKey(t *testing.T) {
	issuer, member, admin := holderOf("issuer"), holderOf("member"), holderOf("admin")
	w := start(t, networkOptions{nodes: 2, settings: func(int) string {
		return roleRules("issuer", issuer.did(), "member", member.did(), "orgAdmin", admin.did())
	}}).ready()
	asIssuer, asMember := w.enter(0, issuer), w.enter(0, member)
	list := w.newList(0, issuer.did(), issuer.key, status.Revocation)
	w.newList(0, issuer.did(), issuer.key, status.Suspension)
	intent := func(more did.Object) did.Object {
		o := did.Object{
			"template": "AgeOver", "issuer": issuer.did(), "subject": member.did(), "claims": did.Object{"ageOver": 18},
			"status": []string{"revocation", "suspension"}, "verificationMethod": issuer.method(),
		}
		for k, v := range more {
			o[k] = v
		}
		return o
	}
	draft := func(more did.Object) reply {
		return w.call(0, "POST", "/api/v1/credentials/drafts", intent(more), asIssuer...)
	}
	w.call(0, "POST", "/api/v1/credentials/drafts", intent(nil), asMember...).refused(403, "forbidden")
	draft(did.Object{"claims": did.Object{"ageOver": 19}}).refused(422, "bad_value")
	draft(did.Object{"claims": did.Object{"ageOver": 18, "birthday": "1999-01-01"}}).refused(422, "bad_value")
	draft(did.Object{"claims": did.Object{"ageOver": 18, "id": "did:example:other"}}).refused(422, "bad_value")
	draft(did.Object{"issuer": "nobody"}).refused(422, "bad_value")
	draft(did.Object{"template": "None"}).refused(404, "not_found")
	draft(did.Object{"issuer": member.did()}).refused(404, "unknown_list")
	w.call(1, "POST", "/api/v1/credentials/drafts", intent(did.Object{"status": []string{list}}), w.enter(1, issuer)...).refused(409, "not_list_home")

	var d struct {
		Draft      string
		Credential did.Object
		ToSign     struct {
			Proof    did.Object
			HashData string
		}
	}
	draft(nil).into(201, &d)
	hashData, err := base64.RawURLEncoding.DecodeString(d.ToSign.HashData)
	if err != nil || len(hashData) != 64 {
		t.Fatalf("hashData of %d bytes: %v", len(hashData), err)
	}
	signature, err := issuer.key.Sign(nil, hashData, noHash{})
	if err != nil {
		t.Fatal(err)
	}
	credential, err := vc.AttachProof(d.Credential, d.ToSign.Proof, signature)
	if err != nil {
		t.Fatal(err)
	}
	register := func(more did.Object, headers ...string) reply {
		o := did.Object{"draft": d.Draft, "credential": credential}
		for k, v := range more {
			o[k] = v
		}
		return w.call(0, "POST", "/api/v1/credentials", o, headers...)
	}
	changed := issuer.sign(t, unsigned(issuer.did(), member.did(), did.Object{"ageOver": 18}), w.clock.Now())
	register(did.Object{"credential": changed}, asIssuer...).refused(422, "bad_value")
	register(did.Object{"credential": d.Credential}, asIssuer...).refused(422, "bad_value")
	register(nil, asMember...).refused(403, "forbidden")
	register(nil, w.enter(0, admin)...).refused(404, "not_found")
	register(did.Object{"custody": true}, asIssuer...).refused(422, "bad_value") // an Ed25519 did:key has no key to encrypt to
	salt := make([]byte, 32)
	rand.Read(salt)
	canonical, err := did.Canonical(credential)
	if err != nil {
		t.Fatal(err)
	}
	anchor, err := did.Sign(status.NewAnchor(w.header(issuer.did()), status.Commit([32]byte(salt), canonical)), issuer.key)
	if err != nil {
		t.Fatal(err)
	}
	var done registered
	register(did.Object{"anchor": json.RawMessage(anchor)}, asIssuer...).into(201, &done)
	if done.CredentialID != credential["id"] || done.Anchor == "" {
		t.Errorf("registered %+v", done)
	}
	register(nil, asIssuer...).refused(404, "not_found")
	w.verify(1, credential, nil).passes(t, "on another node, with its schema")

	path := "/api/v1/credentials/" + url.PathEscape(done.CredentialID)
	var s statusView
	w.call(0, "GET", path+"/status", nil).into(200, &s)
	if s.Status != "active" || len(s.Entries) != 2 || s.Entries[0].List != list {
		t.Errorf("status %+v", s)
	}
	w.call(1, "GET", path+"/status", nil).refused(404, "not_found")
	index := func(k int) int {
		var n int
		if err := json.Unmarshal([]byte(s.Entries[k].Index), &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	set := func(verb string, k int, on, off []int) reply {
		return w.send(0, path+"/"+verb, status.NewSet(w.header(issuer.did()), s.Entries[k].List, on, off), issuer.key)
	}
	set("revoke", 0, []int{index(0) ^ 1}, nil).refused(422, "bad_value")
	set("revoke", 1, []int{index(1)}, nil).refused(422, "bad_value")
	set("reinstate", 1, []int{index(1)}, nil).refused(422, "bad_value")
	set("suspend", 1, []int{index(1)}, nil).want(200)
	state := func(want string) {
		t.Helper()
		if w.call(0, "GET", path+"/status", nil).into(200, &s); s.Status != want {
			t.Errorf("status %s, want %s", s.Status, want)
		}
	}
	state("suspended")
	set("reinstate", 1, nil, []int{index(1)}).want(200)
	state("active")
	set("revoke", 0, []int{index(0)}, nil).want(200)
	state("revoked")

	for _, c := range []struct {
		query string
		who   []string
		want  int
	}{
		{"", asIssuer, 1}, {"?role=issuer", asIssuer, 1}, {"?role=subject", asIssuer, 0}, {"?role=subject&template=AgeOver&status=revoked", asMember, 1},
		{"?status=active", asIssuer, 0}, {"?template=FullName", asIssuer, 0}, {"", w.enter(0, holderOf("nobody")), 0}, {"", w.enter(0, admin), 1},
	} {
		var page rest.List[credentialView]
		if w.call(0, "GET", "/api/v1/credentials"+c.query, nil, c.who...).into(200, &page); len(page.Items) != c.want {
			t.Errorf("%s: %d items, want %d", c.query, len(page.Items), c.want)
		}
	}
	w.call(0, "GET", "/api/v1/credentials?role=boss", nil, asIssuer...).refused(400, "bad_parameter")
}

// TestCustody keeps a body that only its holder can read, until the holder erases it.
func TestCustody(t *testing.T) {
	issuer := holderOf("issuer")
	w := start(t, networkOptions{settings: func(int) string { return roleRules("issuer", issuer.did()) }})
	private, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	holder := w.create(0, "holder")
	next := content(holder.update, holder.key)
	agreement := did.PublicKey{Type: did.X25519, Bytes: private.PublicKey().Bytes()}
	next.Document["verificationMethod"] = append(next.Document["verificationMethod"].([]any), did.Object{"id": "#key-2", "type": "Multikey", "publicKeyMultibase": agreement.Multikey()})
	next.Document["keyAgreement"] = []any{"#key-2"}
	w.update(0, holder, next).want(200)

	asIssuer, asHolder := w.enter(0, issuer), []string{"Authorization", "Bearer " + w.login(0, holder)}
	var d struct {
		Draft      string
		Credential did.Object
	}
	w.call(0, "POST", "/api/v1/credentials/drafts", did.Object{
		"template": "FullName", "issuer": issuer.did(), "subject": holder.did.String(), "claims": did.Object{"fullName": "Ada Canary"},
	}, asIssuer...).into(201, &d)
	credential := issuer.sign(t, d.Credential, w.clock.Now())
	w.call(0, "POST", "/api/v1/credentials", did.Object{"draft": d.Draft, "credential": credential, "custody": true}, asIssuer...).want(201)

	path := "/api/v1/credentials/" + url.PathEscape(credential["id"].(string)) + "/custody"
	w.call(0, "GET", path, nil, asIssuer...).refused(404, "not_found")
	w.call(0, "DELETE", path, nil, asIssuer...).refused(404, "not_found")
	var sealed sealedBody
	if r := w.call(0, "GET", path, nil, asHolder...).into(200, &sealed); strings.Contains(string(r.body), "Canary") {
		t.Errorf("the body can be read: %s", r.body)
	}
	ciphertext, err := base64.RawURLEncoding.DecodeString(sealed.Ciphertext)
	if err != nil {
		t.Fatal(err)
	}
	opener, err := hpke.NewDHKEMPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := hpke.Open(opener, hpke.HKDFSHA256(), hpke.AES256GCM(), []byte(custodyInfo), ciphertext)
	if err != nil || sealed.Method != holder.did.String()+"#key-2" {
		t.Fatalf("%+v: %v", sealed, err)
	}
	w.verify(0, json.RawMessage(opened), nil).passes(t, "the opened body")
	key := w.apiKey(holder.did.String(), "identities:read", "credentials:issue", "ledger:read", "ledger:submit")
	w.call(0, "GET", path, nil, key...).want(200)
	w.call(0, "DELETE", path, nil, key...).refused(403, "forbidden")
	w.call(0, "DELETE", path, nil, asHolder...).want(204)
	w.call(0, "GET", path, nil, asHolder...).refused(404, "not_found")
}
