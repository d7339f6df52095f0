package identity

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"weft/plugins/identity/did"
	"weft/plugins/rest"
)

// idPath is a route of a DID.
func (p person) path(rest string) string { return "/api/v1/identities/" + p.did.String() + rest }

// TestEveryNodeAnswersAlike creates on one node and reads on the others at once.
func TestEveryNodeAnswersAlike(t *testing.T) {
	w := start(t, networkOptions{nodes: 4})
	p, raw := w.newPerson("anna")
	var made rest.StateAnswer
	w.call(0, "POST", "/api/v1/identities?wait=final&timeout=30s", raw).into(201, &made)
	v := w.call(2, "GET", identifiers(p.did.String()), nil).want(200).resolution()
	if v.Version.VersionID != resultText(made, "versionId") || resultText(made, "did") != p.did.String() {
		t.Errorf("node 2 says %q, node 0 said %q", v.Version.VersionID, resultText(made, "versionId"))
	}
	w.call(3, "HEAD", identifiers(p.did.String()), nil).want(200)
	if r := w.call(1, "GET", identifiers(p.did.String()), nil, "Origin", "https://page.example"); r.header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("headers %v", r.header)
	}
	testProof(t, w, p, made)
	testHistoryAndLog(t, w, p)
	testIfMatch(t, w, p)
}

func testProof(t *testing.T, w *network, p person, made rest.StateAnswer) {
	v := w.call(0, "GET", identifiers(p.did.String())+"?proof=true", nil).want(200).resolution()
	if len(v.Version.Proof) != 1 || len(v.Version.Proof[0].Receipts) != 1 {
		t.Fatalf("proof %+v", v.Version.Proof)
	}
	proof := v.Version.Proof[0]
	if proof.Type != "WeftCheckpointProof2026" || proof.Network != w.id.String() || proof.VersionID != resultText(made, "versionId") ||
		proof.Receipts[0].Op != made.OpHash || proof.Receipts[0].Position != uint64(made.Place.Position) || !strings.HasSuffix(proof.Log, p.path("/log?receipts=true")) {
		t.Errorf("proof %+v", proof)
	}
	var report struct{ Verified bool }
	w.call(1, "POST", "/api/v1/receipts/verify", map[string]string{"receipt": proof.Receipts[0].Receipt}).into(200, &report)
	if !report.Verified {
		t.Error("the receipt does not verify")
	}
}

func testHistoryAndLog(t *testing.T, w *network, p person) {
	w.update(0, p, content(p.update, keyOf("second"))).want(200)
	var page rest.List[versionView]
	w.call(0, "GET", p.path("/history?limit=1"), nil).into(200, &page)
	if len(page.Items) != 1 || page.Next == nil || page.Items[0].Op != "create" || page.Items[0].Rule != "create" {
		t.Fatalf("history %+v", page)
	}
	first := page.Items[0]
	w.call(0, "GET", p.path("/history?limit=1&cursor="+*page.Next), nil).into(200, &page)
	if len(page.Items) != 1 || page.Next != nil || page.Items[0].Op != "update" || page.Items[0].Rule != "own" {
		t.Errorf("history %+v", page)
	}
	w.call(0, "GET", p.path("/history?cursor=eA"), nil).refused(400, "bad_cursor")
	var doc map[string]any
	r := w.call(0, "GET", p.path("/document"), nil).into(200, &doc)
	if doc["id"] != p.did.String() || r.header.Get("ETag") != `"`+page.Items[0].VersionID+`"` {
		t.Errorf("document %v, ETag %s", doc["id"], r.header.Get("ETag"))
	}
	w.call(0, "GET", p.path("/document?version="+first.VersionID), nil).want(200)
	w.call(0, "GET", p.path("/document?version=9-zQm"), nil).refused(404, "not_found")
	w.call(0, "GET", p.path("/document?at=2001-01-01T00:00:00.123Z"), nil).refused(404, "not_found")
	w.call(0, "GET", p.path("/document?at=2101-01-01T00:00:00Z"), nil).refused(400, "bad_parameter")
	w.call(0, "GET", p.path("/document?at=soon"), nil).refused(400, "bad_parameter")
	w.call(0, "GET", "/api/v1/identities/did:weft:x/document", nil).refused(400, "bad_parameter")
	stranger, _ := w.newPerson("stranger")
	w.call(0, "GET", stranger.path("/document"), nil).refused(404, "unknown_did")
	for accept, want := range map[string]string{"*/*": typeJSONLines, typeJSONLines: typeJSONLines, typeNDJSON: typeNDJSON} {
		r := w.call(0, "GET", p.path("/log?receipts=true"), nil, "Accept", accept).want(200)
		if got := r.header.Get("Content-Type"); got != want {
			t.Errorf("Accept %s: %s", accept, got)
		}
		testLogLines(t, w, r.body)
	}
}

// testLogLines decodes the operations again and checks that they follow each other.
func testLogLines(t *testing.T, w *network, text []byte) {
	t.Helper()
	prev := ""
	n := 0
	for line := range bytes.Lines(text) {
		n++
		var l logLine
		if err := json.Unmarshal(line, &l); err != nil {
			t.Fatal(err)
		}
		op, err := did.Decode(w.id, did.DefaultLimits(), l.Operation)
		if err != nil || op.Hash != l.OpHash || op.Prev != prev || l.Receipt == "" || l.Author == nil {
			t.Errorf("line %d: %v %+v", n, err, l)
		}
		prev = l.OpHash
	}
	if n != 2 {
		t.Errorf("%d lines", n)
	}
}

func testIfMatch(t *testing.T, w *network, p person) {
	head, _, _ := did.ReadHead(w.Nodes[0].PluginView(Name), p.did)
	raw, err := did.Sign(did.Update(w.id, p.did, head, content(p.update, keyOf("third"))), p.update)
	if err != nil {
		t.Fatal(err)
	}
	put := func(tag string) reply {
		return w.call(0, "PUT", p.path("/document?wait=final&timeout=30s"), raw, "If-Match", tag)
	}
	put(`"1-zQm"`).refused(412, "version_mismatch")
	put(`"` + head.VersionID() + `"`).want(200)
	put(`"` + head.VersionID() + `"`).want(200) // the same again is no mistake
}

func TestConflictsInTheLog(t *testing.T) {
	o := openOffline(t, "")
	p := o.person("anna", at("10:00:00.000"))
	first, second := o.updated(p, content(p.update, keyOf("one"))), o.updated(p, content(p.update, keyOf("two")))
	o.put(KindDID, first, at("10:00:01.000"))
	o.put(KindDID, second, at("10:00:02.000"))
	o.put(KindDID, o.updated(p, content(p.update, keyOf("three"))), at("10:00:03.000"))
	var codes []string
	for line := range bytes.Lines(o.ask("GET", p.path("/log?receipts=true"), "").want(200).body) {
		var l logLine
		if err := json.Unmarshal(line, &l); err != nil || l.Receipt == "" || (l.Code == "") != (l.Operation != nil) {
			t.Errorf("%v: %s", err, line)
		}
		codes = append(codes, l.Code)
	}
	if strings.Join(codes, ",") != ",,conflict," {
		t.Errorf("codes %q", codes)
	}
}

// draftOf asks for a draft.
func (o *offline) draftOf(intent string) (a draftAnswer) {
	o.t.Helper()
	o.ask("POST", "/api/v1/identities/drafts", intent).into(200, &a)
	return a
}

// signDraft signs what a draft says, with the keys that it names, as a script does that knows nothing of operations.
func signDraft(t *testing.T, a draftAnswer, keys ...ed25519.PrivateKey) []byte {
	t.Helper()
	signatures := map[string][]byte{}
	for _, s := range a.ToSign {
		data, err := base64.RawURLEncoding.DecodeString(s.HashData)
		if err != nil || len(data) != 64 {
			t.Fatalf("hashData %q", s.HashData)
		}
		for _, k := range keys {
			if strings.HasSuffix(s.Proof["verificationMethod"].(string), "#"+multikeyOf(k)) {
				signatures[multikeyOf(k)] = ed25519.Sign(k, data)
			}
		}
	}
	raw, err := did.Attach(a.Operation, signatures)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestDrafts takes a DID through its life with drafts only.
func TestDrafts(t *testing.T) {
	o := openOffline(t, "")
	one, two, three, recovery, agreement := keyOf("one"), keyOf("two"), keyOf("three"), keyOf("recovery"), did.PublicKey{Type: did.X25519, Bytes: make([]byte, 32)}
	agreement.Bytes[0] = 9
	step := func(intent string, keys ...ed25519.PrivateKey) draftAnswer {
		t.Helper()
		a := o.draftOf(intent)
		if code := o.put(KindDID, signDraft(t, a, keys...), at("10:00:00.000")); code != "" || a.Summary == "" {
			t.Errorf("%s: %s; %s", intent, code, a.Summary)
		}
		return a
	}
	quote := func(k ed25519.PrivateKey) string { return `"` + multikeyOf(k) + `"` }
	made := step(`{"op":"create","params":{"updateKeys":[`+quote(one)+`],"nextKeys":[`+quote(two)+`],"subjectType":"device"},
		"keys":{"signing":`+quote(one)+`,"agreement":"`+agreement.Multikey()+`"},"recovery":{"keys":[`+quote(recovery)+`]}}`, one)
	id := `"did":"` + made.DID + `"`
	if !strings.Contains(made.Summary, made.DID) || made.Operation["network"] != o.id.String() {
		t.Errorf("%+v", made)
	}
	step(`{"op":"rotate",`+id+`,"params":{"updateKeys":[`+quote(two)+`],"nextKeys":[`+quote(three)+`]}}`, two)
	step(`{"op":"update",`+id+`,"params":{"updateKeys":[`+quote(three)+`],"nextKeyHashes":[]},"document":{"alsoKnownAs":["https://example.com"]}}`, three)
	v := o.ask("GET", identifiers(made.DID), "").want(200).resolution()
	if v.Document["alsoKnownAs"] == nil || v.Document["verificationMethod"] != nil {
		t.Errorf("document %v", v.Document)
	}
	step(`{"op":"recover",`+id+`,"params":{"updateKeys":[`+quote(one)+`]},"recovery":{"keys":[`+quote(two)+`]},"signers":[`+quote(recovery)+`]}`, recovery)
	step(`{"op":"deactivate",`+id+`,"notAfter":"2030-01-01T00:00:00Z"}`, one)
	refuse := func(intent, code string) {
		t.Helper()
		if r := o.ask("POST", "/api/v1/identities/drafts", intent); !bytes.Contains(r.body, []byte(`"`+code+`"`)) {
			t.Errorf("%s: %s, want %s", intent, r.body, code)
		}
	}
	refuse(`{"op":"update",`+id+`}`, "deactivated")
	refuse(`{"op":"other"}`, "bad_value")
	refuse(`{"op":"update","did":"did:weft:x"}`, "bad_value")
	refuse(`{"op":"update","did":"`+o.newDID("none").String()+`"}`, "unknown_did")
	refuse(`{"op":"create","params":{"updateKeys":["z6Mkx"]}}`, "bad_value")
	refuse(`{"op":"create","secret":"x"}`, "unknown_field")
	refuse(`{"op":"create","params":{"privateKey":"x"}}`, "unknown_field")
	refuse(`{"op":"create","params":{"updateKeys":[`+quote(one)+`]},"document":{"secretKeyMultibase":"z"}}`, "unknown_field")
	p := o.person("anna", at("10:00:00.000"))
	refuse(`{"op":"rotate","did":"`+p.did.String()+`"}`, "bad_value")
	refuse(`{"op":"deactivate","did":"`+p.did.String()+`","byRecovery":true}`, "bad_value")
}

// TestIdentityAnswersFitTheDocument holds answers against what the description says of them.
func TestIdentityAnswersFitTheDocument(t *testing.T) {
	w := start(t, networkOptions{})
	doc := w.Document()
	anna := w.create(0, "anna")
	token := bearer(w.login(0, anna))
	body, _, keys := twoOfThree(t, w)
	var p proposalView
	w.call(0, "POST", "/api/v1/proposals", map[string]any{"operation": body}, token...).into(201, &p)
	var e enrolmentView
	w.call(0, "POST", "/api/v1/devices/enrolments", map[string]any{}, token...).into(201, &e)
	device, _ := w.device("meter", anna)
	raw, err := did.Sign(device, keyOf("meter"))
	if err != nil {
		t.Fatal(err)
	}
	const one, resolver = "/api/v1/identities/{did}", "/1.0/identifiers/{did}"
	draft := map[string]any{"op": "create", "params": map[string]any{"updateKeys": []string{multikeyOf(keys[0])}}}
	for _, c := range []struct {
		method, path, query string
		body                any
		status              int
	}{
		{"GET", resolver, "?proof=true", nil, 200}, {"GET", resolver, "?versionId=9", nil, 404}, {"POST", resolver, "", map[string]any{"noCache": true}, 200},
		{"GET", resolver, "?x=y", nil, 501}, {"POST", resolver, "", "", 400}, {"GET", resolver, "?service=none", nil, 404},
		{"GET", "/1.0/methods", "", nil, 200}, {"GET", "/1.0/properties", "", nil, 200}, {"GET", "/1.0/traits", "", nil, 200}, {"GET", "/1.0/testIdentifiers", "", nil, 200},
		{"GET", "/api/v1/identities", "", nil, 200}, {"GET", one, "", nil, 200}, {"GET", one + "/document", "", nil, 200}, {"GET", one + "/history", "", nil, 200},
		{"GET", one + "/document", "?at=x", nil, 400}, {"PATCH", one + "/profile", "", map[string]any{"username": "anna", "claims": map[string]any{"a": 1}}, 200},
		{"GET", one, "", nil, 200}, {"POST", "/api/v1/identities/drafts", "", draft, 200}, {"POST", "/api/v1/identities/drafts", "", map[string]any{}, 422},
		{"GET", "/api/v1/proposals/{id}", "", nil, 200}, {"POST", "/api/v1/proposals/{id}/proofs", "", map[string]any{"proof": proofOf(t, body, keys[0])}, 200},
		{"POST", "/api/v1/devices/enrolments/{enrolment}/claim", "", map[string]any{"claim": e.Claim, "operation": json.RawMessage(raw)}, 202},
		{"POST", "/api/v1/devices/enrolments/{enrolment}/claim", "", map[string]any{"claim": e.Claim, "operation": json.RawMessage(raw)}, 409},
	} {
		path := strings.NewReplacer("{did}", anna.did.String(), "{id}", p.ID, "{enrolment}", e.ID).Replace(c.path)
		r := w.call(0, c.method, path+c.query, c.body, token...).want(c.status)
		response := doc.Paths.Value(strings.Replace(c.path, "{enrolment}", "{id}", 1)).GetOperation(c.method).Responses.Status(c.status)
		if response == nil {
			t.Errorf("%s: HTTP %d is not in the document", r.name, c.status)
			continue
		}
		media := response.Value.Content.Get(r.header.Get("Content-Type"))
		var v any
		if err := json.Unmarshal(r.body, &v); err != nil || media == nil {
			t.Errorf("%s: %v, %s is not in the document", r.name, err, r.header.Get("Content-Type"))
			continue
		}
		if err := media.Schema.Value.VisitJSON(v, openapi3.EnableJSONSchema2020()); err != nil {
			t.Errorf("%s: %v: %.300s", r.name, err, r.body)
		}
	}
}
