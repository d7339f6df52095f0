package identity

import (
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"

	"weft/plugins/identity/did"
	"weft/plugins/identity/vc"
)

// The tests of this file hold the node to what the public suites insist on, so that they need not be run for a regression to
// be seen. docs/conformance.md says how to run them.

// suiteCredential is a credential of the kind that suites send: about somebody who has no keys.
func suiteCredential(issuer string) did.Object {
	return unsigned(issuer, "did:example:somebody", did.Object{"ageOver": 18})
}

// changed is a copy with other members; nil takes one away.
func changed(doc, members did.Object) did.Object {
	doc = maps.Clone(doc)
	for name, value := range members {
		if doc[name] = value; value == nil {
			delete(doc, name)
		}
	}
	return doc
}

// malformed are members that make a credential none, by the rule that they break.
func malformedMembers() map[string]did.Object {
	return map[string]did.Object{
		"@context is missing":               {"@context": nil},
		"@context is a text":                {"@context": vc.ContextV2},
		"@context does not begin with v2":   {"@context": []any{did.Object{"@vocab": "urn:x#"}, vc.ContextV2}},
		"@context holds a number":           {"@context": []any{vc.ContextV2, 7}},
		"@context defines a term again":     {"@context": []any{vc.ContextV2, did.Object{"VerifiableCredential": "urn:x#VC"}, did.Object{"@vocab": "urn:x#"}}},
		"@context hides a term in a file":   {"@context": []any{vc.ContextV2, did.Object{"@context": did.Object{"name": "urn:x#n"}}, did.Object{"@vocab": "urn:x#"}}},
		"id is no URL":                      {"id": "not a url"},
		"id is a list":                      {"id": []any{"urn:x:1", "urn:x:2"}},
		"type is missing":                   {"type": nil},
		"type is a text":                    {"type": "AgeOver"},
		"type holds a number":               {"type": []any{"VerifiableCredential", 7}},
		"type lacks VerifiableCredential":   {"type": []any{"AgeOver"}},
		"issuer is missing":                 {"issuer": nil},
		"issuer is a number":                {"issuer": 7},
		"issuer is no URL":                  {"issuer": "issuer"},
		"issuer has no id":                  {"issuer": did.Object{"name": "A"}},
		"credentialSubject is missing":      {"credentialSubject": nil},
		"credentialSubject is a text":       {"credentialSubject": "did:example:somebody"},
		"credentialSubject is empty":        {"credentialSubject": did.Object{}},
		"one subject of two is empty":       {"credentialSubject": []any{did.Object{"id": "urn:x:1"}, did.Object{}}},
		"validFrom has no offset":           {"validFrom": "2026-01-01T00:00:00"},
		"validUntil is before validFrom":    {"validFrom": "2026-01-02T00:00:00Z", "validUntil": "2026-01-01T00:00:00Z"},
		"credentialStatus has no type":      {"credentialStatus": did.Object{"id": "urn:x:1"}},
		"termsOfUse has no type":            {"termsOfUse": did.Object{"id": "urn:x:1"}},
		"evidence has no type":              {"evidence": []any{did.Object{"id": "urn:x:1"}}},
		"refreshService has no type":        {"refreshService": did.Object{"id": "urn:x:1"}},
		"credentialSchema has no id":        {"credentialSchema": did.Object{"type": "JsonSchema"}},
		"name is a language map with more":  {"name": did.Object{"@value": "A", "url": "https://a.example"}},
		"relatedResource has no digest":     {"relatedResource": did.Object{"id": "urn:x:1"}},
		"relatedResource has another's":     {"relatedResource": did.Object{"id": vc.ContextV2, "digestSRI": "sha384-" + strings.Repeat("A", 64)}},
		"relatedResource is there twice":    {"relatedResource": []any{resource(), resource()}},
		"relatedResource is a list of text": {"relatedResource": []any{"urn:x:1"}},
	}
}

func resource() did.Object {
	return did.Object{"id": "urn:x:1", "digestSRI": "sha384-" + strings.Repeat("A", 64)}
}

// wellFormedMembers are members that a credential may have.
func wellFormedMembers(issuer string) map[string]did.Object {
	return map[string]did.Object{
		"nothing more":             {},
		"no id":                    {"id": nil},
		"an issuer with a name":    {"issuer": did.Object{"id": issuer, "name": did.Object{"@value": "A", "@language": "en"}}},
		"two subjects":             {"credentialSubject": []any{did.Object{"id": "urn:x:1", "a": true}, did.Object{"id": "urn:x:2", "b": 1}}},
		"an absolute type":         {"type": []any{"VerifiableCredential", "https://a.example/T"}},
		"types in another order":   {"type": []any{"AgeOver", "VerifiableCredential"}},
		"times with offset":        {"validFrom": "2026-01-01T00:00:00.5+02:00", "validUntil": "2099-01-01T00:00:00-11:30"},
		"equal times":              {"validFrom": "2026-01-01T00:00:00Z", "validUntil": "2026-01-01T01:00:00+01:00"},
		"schemas":                  {"credentialSchema": []any{did.Object{"id": "urn:x:1", "type": "A"}, did.Object{"id": "urn:x:2", "type": "A"}}},
		"evidence":                 {"evidence": did.Object{"type": "A"}},
		"terms":                    {"termsOfUse": []any{did.Object{"type": "A", "id": "urn:x:1"}}},
		"a refresh":                {"refreshService": did.Object{"type": "A", "id": "urn:x:1"}},
		"a resource nobody knows":  {"relatedResource": resource()},
		"a context file inside":    {"@context": []any{vc.ContextV2, did.Object{"@context": did.Object{"@vocab": "urn:x#"}}}},
		"a name in many languages": {"name": []any{did.Object{"@value": "A", "@language": "en"}, did.Object{"@value": "B", "@direction": "rtl"}}},
	}
}

// TestSuiteCredentials: exactly 201 for a credential, exactly 400 or 422 for what is none.
func TestSuiteCredentials(t *testing.T) {
	one := newIssuer(t)
	w := start(t, one.options(t, 1, nil, one.instance("default", nil)))
	issue := func(members did.Object) reply {
		return w.call(0, "POST", "/credentials/issue", did.Object{"credential": changed(suiteCredential(one.did()), members), "options": did.Object{}})
	}
	for what, members := range wellFormedMembers(one.did()) {
		if r := issue(members); r.status != 201 {
			t.Errorf("%s: HTTP %d %.300s", what, r.status, r.body)
		}
	}
	for what, members := range malformedMembers() {
		if r := issue(members); r.status != 400 && r.status != 422 {
			t.Errorf("%s: HTTP %d %.300s", what, r.status, r.body)
		}
	}
	testSuiteVerifier(t, w, one)
}

// testSuiteVerifier: 200 for a signed credential, 400 whenever anything is missing or something else.
func testSuiteVerifier(t *testing.T, w *network, one testIssuer) {
	var a struct{ VerifiableCredential did.Object }
	w.call(0, "POST", "/credentials/issue", did.Object{"credential": suiteCredential(one.did())}).into(201, &a)
	good := a.VerifiableCredential
	options := did.Object{"checks": []string{"proof"}}
	w.verify(0, good, options).passes(t, "as issued")
	bad := malformedMembers()
	proof := good["proof"].(did.Object)
	for name := range proof {
		bad["proof without "+name] = did.Object{"proof": changed(proof, did.Object{name: nil})}
	}
	bad["no proof"], bad["proof is a text"], bad["proof is null"] = did.Object{"proof": nil}, did.Object{"proof": "z"}, did.Object{"proof": json.RawMessage("null")}
	bad["another type of proof"] = did.Object{"proof": changed(proof, did.Object{"type": "UnknownProof"})}
	bad["another suite"] = did.Object{"proof": changed(proof, did.Object{"cryptosuite": "unknown"})}
	bad["another purpose"] = did.Object{"proof": changed(proof, did.Object{"proofPurpose": "authentication"})}
	bad["proofValue in base64url"] = did.Object{"proof": changed(proof, did.Object{"proofValue": "uAAAA"})}
	bad["a previous proof that is not there"] = did.Object{"proof": changed(proof, did.Object{"previousProof": "urn:x:1"})}
	for what, members := range bad {
		if r := w.verify(0, changed(good, members), options); r.Verified {
			t.Errorf("%s: verified", what)
		}
	}
	w.call(0, "POST", "/credentials/verify", did.Object{"verifiableCredential": "a text", "options": options}).want(400)
}

// TestSuitePresentations: what suites present is about somebody who has no keys, so they say holder any; without it only the
// subject may present.
func TestSuitePresentations(t *testing.T) {
	w := start(t, networkOptions{})
	holder := holderOf("suite")
	credential := holder.sign(t, suiteCredential(holder.did()), w.clock.Now())
	const challenge, domain = "uQSKv0R4Gk5MDzzbRQAz5kg", "suite.example/of-tests"
	options := did.Object{"challenge": challenge, "domain": domain, "policy": did.Object{"holder": "any"}}
	present := func(members did.Object) did.Object {
		doc := changed(did.Object{"@context": []any{vc.ContextV2}, "type": []any{"VerifiablePresentation"}, "verifiableCredential": []any{credential}}, members)
		return seal(t, doc, vc.ProofOptions{
			VerificationMethod: holder.method(), Purpose: "authentication", Created: w.clock.Now(), Challenge: challenge, Domain: []string{domain},
		}, holder.key)
	}
	for what, members := range map[string]did.Object{
		"as it is":        nil,
		"no credential":   {"verifiableCredential": nil},
		"one, not a list": {"verifiableCredential": credential},
		"holder":          {"holder": holder.did()},
		"holder object":   {"holder": did.Object{"id": holder.did()}},
		"id":              {"id": "urn:x:1"},
		"more contexts":   {"@context": []any{vc.ContextV2, "https://a.example/context", did.Object{"x": "urn:x"}}},
		"more types":      {"type": []any{"https://a.example/T", "VerifiablePresentation"}},
	} {
		w.verifyPresentation(0, present(members), options).passes(t, what)
	}
	w.verifyPresentation(0, present(nil), did.Object{"challenge": challenge, "domain": domain}).fails(t, "by another than the subject", "holderBinding", "holderBinding_mismatch")
	for what, members := range map[string]did.Object{
		"no context":             {"@context": nil},
		"v2 is not first":        {"@context": []any{"https://a.example/context", vc.ContextV2}},
		"no type":                {"type": nil},
		"another type":           {"type": []any{"https://a.example/T"}},
		"holder no URL":          {"holder": "somebody"},
		"holder without id":      {"holder": did.Object{"name": "A"}},
		"credential is a text":   {"verifiableCredential": []any{"urn:x:1"}},
		"credential is a number": {"verifiableCredential": 7},
		"id no URL":              {"id": "1"},
	} {
		if r := w.verifyPresentation(0, present(members), options); r.Verified {
			t.Errorf("%s: verified", what)
		}
	}
}

// TestSuiteStatus: an entry that is no list, and a list that anybody can read.
func TestSuiteStatus(t *testing.T) {
	one := newIssuer(t)
	w := start(t, one.options(t, 1, nil, one.instance("default", map[string]any{"statusPurposes": []string{"revocation"}})))
	var a struct{ VerifiableCredential did.Object }
	w.call(0, "POST", "/credentials/issue", did.Object{"credential": suiteCredential(one.did())}).into(201, &a)
	entry := a.VerifiableCredential["credentialStatus"].([]any)[0].(did.Object)
	address, _ := entry["statusListCredential"].(string)
	index, _ := entry["statusListIndex"].(string)
	if entry["type"] != "BitstringStatusListEntry" || entry["statusPurpose"] != "revocation" || entry["id"] != address+"#"+index {
		t.Errorf("entry %v", entry)
	}
	list := w.getList(address) // wants application/json
	subject := list["credentialSubject"].(did.Object)
	if types := list["type"].([]any); !slices.Contains(types, any("BitstringStatusListCredential")) || list["id"] != address || subject["type"] != "BitstringStatusList" || subject["statusPurpose"] != "revocation" {
		t.Errorf("list %v", list)
	}
	if text, _ := subject["encodedList"].(string); !strings.HasPrefix(text, "u") || strings.ContainsAny(text, "+/=") {
		t.Errorf("encodedList %.40s: want multibase base64url without padding", text)
	}
	bits, err := vc.DecodeList(subject["encodedList"].(string))
	if err != nil || bits.Len() < 131072 || bitOf(t, list, index) {
		t.Errorf("bits: %d, %v", bits.Len(), err)
	}
	w.verify(0, list, nil).passes(t, "the list")
	w.call(0, "POST", "/credentials/status", did.Object{
		"credentialId": a.VerifiableCredential["id"], "credentialStatus": did.Object{"type": entry["type"], "statusPurpose": "revocation"}, "status": true,
	}).want(200)
	w.verify(0, a.VerifiableCredential, nil).fails(t, "revoked", "status", "revoked") // which the suite never asks
}

// TestSuiteResolver: the HTTPS binding of DID Resolution, as its suite asks.
func TestSuiteResolver(t *testing.T) {
	w := start(t, networkOptions{})
	p := w.create(0, "suite")
	id := p.did.String()
	unknown, _ := w.newPerson("nobody")
	const resolution, dereferencing = "application/did-resolution", "application/did-url-dereferencing"
	for _, test := range []struct {
		path, accept string
		status       int
		problem      string // the error's name
		members      string // of the body, in order of their names
	}{
		{id, resolution, 200, "", "didDocument didDocumentMetadata didResolutionMetadata"},
		{url.PathEscape(id), resolution, 200, "", "didDocument didDocumentMetadata didResolutionMetadata"},
		{strings.ReplaceAll(id, ":", "%3A"), resolution, 200, "", "didDocument didDocumentMetadata didResolutionMetadata"},
		{id, "application/did+json", 200, "", "@context assertionMethod authentication capabilityInvocation id verificationMethod"},
		{id, "application/did+ld+json", 200, "", "@context assertionMethod authentication capabilityInvocation id verificationMethod"},
		{id, "application/x-nobody-knows", 406, "REPRESENTATION_NOT_SUPPORTED", ""},
		{"not-a-did", resolution, 400, "INVALID_DID", ""},
		{"did:example", resolution, 400, "INVALID_DID", ""},
		{"did:unsupported:123456789abcdefghi", resolution, 501, "METHOD_NOT_SUPPORTED", ""},
		{unknown.did.String(), resolution, 404, "NOT_FOUND", ""},
		{id + "%23key-1", dereferencing, 200, "", "content contentMetadata contentStream dereferencingMetadata"},
		{id, dereferencing, 200, "", "content contentMetadata contentStream dereferencingMetadata"}, // clients cut the fragment off
		{id + "%23none", dereferencing, 404, "NOT_FOUND", ""},
		{"did:weft", dereferencing, 400, "INVALID_DID_URL", ""},
	} {
		r := w.call(0, "GET", identifiers(test.path), nil, "Accept", test.accept).want(test.status)
		var body map[string]json.RawMessage
		r.into(test.status, &body)
		if got := strings.Join(slices.Sorted(maps.Keys(body)), " "); test.members != "" && got != test.members {
			t.Errorf("%s as %s: members %s", test.path, test.accept, got)
		}
		var metadata suiteMetadata
		for _, name := range []string{"didResolutionMetadata", "dereferencingMetadata"} {
			_ = json.Unmarshal(body[name], &metadata)
		}
		if _, name, _ := strings.Cut(metadata.Error.Type, "#"); name != test.problem {
			t.Errorf("%s as %s: error %q, want %q", test.path, test.accept, metadata.Error.Type, test.problem)
		}
		if test.accept == resolution && test.status == 200 && !strings.HasPrefix(r.header.Get("Content-Type"), resolution) {
			t.Errorf("%s: Content-Type %s", test.path, r.header.Get("Content-Type"))
		}
		if raw, given := body["didDocumentMetadata"]; given && test.problem != "" && string(raw) != "{}" {
			t.Errorf("%s: an error with metadata %s", test.path, raw)
		}
	}
}

// suiteMetadata is metadata as the suite reads it.
type suiteMetadata struct {
	ContentType string
	Error       struct{ Type string }
}
