package vc

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"weft/plugins"
	"weft/plugins/identity/did"
)

func TestParsePolicy(t *testing.T) {
	p, err := ParsePolicy([]byte(`{"federation":"zQm","claims":[{"pointer":"/a","property":"p"}],"expect":[{"pointer":"/b","equals":9007199254740991}],
		"trustTime":"both","requireAnchor":true,"maxStatusAge":1000,"holder":"any","deactivatedIssuer":"report"}`))
	if err != nil || p.Federation != "zQm" || p.Expect[0].Equals != json.Number("9007199254740991") || p.Check() != nil {
		t.Errorf("got %+v, %v", p, err)
	}
	for raw, code := range map[string]string{
		`{"federations":"x"}`:                 "unknown_field",
		`{"claims":[{"pointer":"","x":1}]}`:   "unknown_field",
		`{"holder":"nobody"}`:                 "bad_value",
		`{"trustTime":"Both"}`:                "bad_value",
		`{"deactivatedIssuer":"ignore"}`:      "bad_value",
		`{"maxStatusAge":-1}`:                 "bad_value",
		`{"maxStatusAge":"1"}`:                "bad_value",
		`{"holder":"any","holder":"subject"}`: "bad_json",
		`[]`:                                  "bad_json",
	} {
		if _, err := ParsePolicy([]byte(raw)); plugins.Rejected(err) == nil || plugins.Rejected(err).Code != code {
			t.Errorf("%s: got %v, want %s", raw, err, code)
		}
	}
}

func TestPointers(t *testing.T) {
	doc := did.Object{"a": []any{"x", did.Object{"b/c": "y", "~": nil}}}
	for pointer, want := range map[string]any{"/a/0": "x", "/a/1/b~1c": "y", "/a/1/~0": nil} {
		if got, present := atPointer(doc, pointer); !present || got != want {
			t.Errorf("%s: got %v, %v", pointer, got, present)
		}
	}
	for _, pointer := range []string{"a", "/b", "/a/2", "/a/-1", "/a/00", "/a/0/x", "/a/-", "/"} {
		if got, present := atPointer(doc, pointer); present {
			t.Errorf("%s: got %v, want nothing", pointer, got)
		}
	}
}

func TestExpectations(t *testing.T) {
	c := newWorld().config()
	issuer := newParty(1)
	raw := text(t, signed(t, c, credentialOf(issuer.did, "urn:x:1"), issuer, proofBy(issuer)))
	expect := func(pointer string, value any) Report {
		return Verify(c, raw, Options{Policy: Policy{Expect: []Expectation{{pointer, value}}}})
	}
	passes(t, expect("/credentialSubject/over", 18))
	passes(t, expect("/credentialSubject", did.Object{"over": json.Number("18.0"), "id": "urn:x:1"}))
	only(t, expect("/credentialSubject/over", 21), CheckPolicy, "claim_mismatch")
	only(t, expect("/credentialSubject/over", "18"), CheckPolicy, "claim_mismatch")
	only(t, expect("/credentialSubject/name", "A"), CheckPolicy, "claim_missing")
	only(t, Verify(c, raw, Options{Policy: Policy{RequireAnchor: true}}), CheckPolicy, "anchor_missing")
}

func TestTrustPath(t *testing.T) {
	w := newWorld()
	issuer := newParty(1)
	raw := text(t, signed(t, w.config(), credentialOf(issuer.did, "urn:x:1"), issuer, proofBy(issuer)))
	claims := []Claim{{"/credentialSubject/over", "person.age_over"}}
	policy := func(change func(*Policy)) Options {
		p := Policy{Federation: "zQmFed", Claims: claims}
		change(&p)
		return Options{Policy: p}
	}
	same := func(*Policy) {}
	var asked []TrustQuestion
	revokedSince := now().Add(time.Hour)
	c := w.config()
	c.Trust = func(q TrustQuestion) TrustAnswer {
		asked = append(asked, q)
		if !q.At.Before(revokedSince) {
			return TrustAnswer{Reason: "revoked"}
		}
		return TrustAnswer{Trusted: true, Path: []string{"did:example:root", q.Attester}}
	}
	r := Verify(c, raw, policy(same))
	passes(t, r)
	if !slices.Equal(r.TrustPath, []string{"did:example:root", issuer.did}) {
		t.Errorf("trust path: got %v", r.TrustPath)
	}
	q := asked[0]
	if q.Federation != "zQmFed" || q.Attester != issuer.did || q.Property != "person.age_over" || q.Value != json.Number("18") ||
		!q.At.Equal(now().Add(-time.Hour)) || !q.AsOf.Equal(now()) {
		t.Errorf("asked %+v", q)
	}
	revokedSince = now() // after issuance
	passes(t, Verify(c, raw, policy(same)))
	only(t, Verify(c, raw, policy(func(p *Policy) { p.TrustTime = TrustBoth })), CheckTrustPath, "revoked")

	only(t, Verify(c, raw, policy(func(p *Policy) { p.Claims = nil })), CheckTrustPath, "out_of_scope")
	missing := Verify(c, raw, policy(func(p *Policy) { p.Claims = []Claim{{"/credentialSubject/name", "person.name"}} }))
	only(t, missing, CheckPolicy, "claim_missing")
	if s, _ := missing.Check(CheckTrustPath); !s.Skipped {
		t.Errorf("trust of a claim that is not there: got %+v", s)
	}
	only(t, Verify(w.config(), raw, policy(same)), CheckTrustPath, "not_accredited")

	// With an anchor its commit time counts, not the issuer's word.
	salt := make([]byte, 32)
	w.anchors[Commitment(salt, raw)] = now()
	o := policy(func(p *Policy) { p.RequireAnchor = true })
	o.Salts = [][]byte{salt}
	only(t, Verify(c, raw, o), CheckTrustPath, "revoked")
	w.anchors[Commitment(salt, raw)] = now().Add(-time.Minute)
	passes(t, Verify(c, raw, o))
}

func TestSchemas(t *testing.T) {
	c := newWorld().config()
	issuer := newParty(1)
	doc := with(credentialOf(issuer.did, "urn:x:1"), did.Object{"credentialSchema": did.Object{"id": "https://schemas.example/age", "type": "JsonSchema"}})
	raw := text(t, signed(t, c, doc, issuer, proofBy(issuer)))
	r := Verify(c, raw, Options{})
	passes(t, r)
	if s, _ := r.Check(CheckSchema); s.Facts["unchecked"] != "https://schemas.example/age" {
		t.Errorf("a schema that is not registered: got %+v", s)
	}
	schema := `{"$schema":"https://json-schema.org/draft/2020-12/schema","properties":{"credentialSubject":{"required":["over"],"properties":{"over":{"type":"integer","minimum":%}}}}}`
	for _, test := range []struct{ schema, code string }{
		{strings.Replace(schema, "%", "18", 1), ""},
		{strings.Replace(schema, "%", "21", 1), "schema_invalid"},
		{`{"$ref":"https://elsewhere.example/schema"}`, "schema_invalid"},
		{`{"$ref":"file:///etc/passwd"}`, "schema_invalid"},
		{`{"type":7}`, "schema_invalid"},
		{`{`, "schema_invalid"},
	} {
		c.Schema = func(id string) ([]byte, bool) { return []byte(test.schema), id == "https://schemas.example/age" }
		if r := Verify(c, raw, Options{}); test.code == "" {
			passes(t, r)
		} else {
			only(t, r, CheckSchema, test.code)
		}
	}
}

func TestReportText(t *testing.T) {
	w, _, doc := established(t)
	c := w.config()
	c.Status = func(StatusRef) (StatusAnswer, error) {
		return StatusAnswer{Source: "ledger", List: "zQmList", Issuer: "did:weft:t2iac44k:issuer", Purposes: []string{"revocation"}, Entries: MinListEntries, Set: true, Position: 9}, nil
	}
	issuer := newParty(1).as("did:weft:t2iac44k:issuer")
	doc = with(doc, did.Object{"proof": nil, "credentialStatus": StatusEntry(listURL, "revocation", 7)})
	got := reportText(Verify(c, text(t, signed(t, c, doc, issuer, proofBy(issuer))), Options{}))
	want := `{"verified":false,"credential":{"id":"urn:uuid:58172aac-d8ba-11ed-83dd-0b3aef56cc33","issuer":"did:weft:t2iac44k:issuer","type":["VerifiableCredential","AgeOver"]},` +
		`"checks":[{"name":"format","ok":true},{"cryptosuite":"eddsa-jcs-2022","name":"signature","ok":true},` +
		`{"name":"issuer","ok":true,"verificationMethod":"did:weft:t2iac44k:issuer#key-1","versionId":"3-zQmVersion"},{"name":"validity","ok":true},` +
		`{"code":"revoked","index":7,"list":"zQmList","name":"status","ok":false,"position":9,"purpose":"revocation","reason":"bit 7 is set","source":"ledger"}],` +
		`"problemDetails":[{"type":"https://www.w3.org/ns/credentials/status-list#STATUS_VERIFICATION_ERROR","title":"Revoked","detail":"bit 7 is set"}]}`
	if got != want {
		t.Errorf("report:\ngot  %s\nwant %s", got, want)
	}
}

func FuzzVerify(f *testing.F) {
	c := newWorld().config()
	issuer, holder := newParty(1), newParty(2)
	credential := signed(f, c, credentialOf(issuer.did, holder.did), issuer, proofBy(issuer))
	f.Add(string(text(f, credential)))
	f.Add(string(text(f, signed(f, c, presentationOf(holder.did, credential), holder, presentedBy(holder)))))
	compact, err := SignJWT(TypeCredentialJWT, issuer.method, credentialOf(issuer.did, holder.did), issuer.sign, "EdDSA")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(compact)
	f.Add(string(text(f, Envelop(TypeCredentialJWT, compact))))
	f.Fuzz(func(t *testing.T, raw string) {
		for _, r := range []Report{Verify(c, []byte(raw), Options{}), VerifyPresentation(c, []byte(raw), Options{})} {
			if _, err := json.Marshal(r); err != nil {
				t.Errorf("the report has no text: %v", err)
			}
			if r.Verified != (len(r.Failures()) == 0) || len(r.Checks) == 0 {
				t.Errorf("verified %v with failures %v of %d checks", r.Verified, r.Failures(), len(r.Checks))
			}
		}
	})
}
