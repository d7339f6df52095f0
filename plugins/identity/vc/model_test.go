package vc

import (
	"strings"
	"testing"

	"weft/plugins"
	"weft/plugins/identity/did"
)

func TestCredentialModel(t *testing.T) {
	typed := func(o did.Object) did.Object { return with(did.Object{"type": "urn:example:Type"}, o) }
	digest := "sha384-l/HrjlBCNWyAX91hr6LFV2Y3heB5Tcr6IeE4/Tje8YyzYBM8IhqjHWiWpr8+ZbYU"
	otherDigest := "sha384-" + strings.Repeat("A", 64)
	for _, test := range []struct {
		name    string
		members did.Object
		good    bool
	}{
		{"as it is", did.Object{}, true},
		{"no context", did.Object{"@context": nil}, false},
		{"context is text", did.Object{"@context": ContextV2}, false},
		{"context in wrong order", did.Object{"@context": []any{"https://a.example/", ContextV2}}, false},
		{"context with a number", did.Object{"@context": []any{ContextV2, did.Object{"@vocab": "urn:x:"}, 7}}, false},
		{"context is no URL", did.Object{"@context": []any{ContextV2, "https ://a.example"}}, false},
		{"protected term", did.Object{"@context": []any{ContextV2, did.Object{"@vocab": "urn:x:", "name": "urn:x:name"}}}, false},
		{"inline protected term", did.Object{"@context": []any{ContextV2, did.Object{"@protected": true, "AgeOver": "urn:x:1"}, did.Object{"AgeOver": "urn:x:2"}}}, false},
		{"inline protected term as it was", did.Object{"@context": []any{ContextV2, did.Object{"@protected": true, "AgeOver": "urn:x:1"}, did.Object{"AgeOver": "urn:x:1"}}}, true},
		{"type by prefix", did.Object{"@context": []any{ContextV2, did.Object{"x": "urn:x:", "AgeOver": "x:over"}}}, true},
		{"type undefined", did.Object{"@context": []any{ContextV2}}, false},
		{"type mapped to no URL", did.Object{"@context": []any{ContextV2, did.Object{"AgeOver": "https ://x"}}}, false},
		{"type maybe defined elsewhere", did.Object{"@context": []any{ContextV2, "https://a.example/v1"}}, true},
		{"vocabulary unset", did.Object{"@context": []any{ContextV2, did.Object{"@vocab": nil}}}, false},
		{"type missing", did.Object{"type": nil}, false},
		{"type of others", did.Object{"type": []any{"AgeOver"}}, false},
		{"type with a number", did.Object{"type": []any{"VerifiableCredential", 2}}, false},
		{"id list", did.Object{"id": []any{"urn:x:1", "urn:x:2"}}, false},
		{"id null", did.Object{"id": any(nullValue{})}, false},
		{"id no URL", did.Object{"id": "not-a-url"}, false},
		{"issuer missing", did.Object{"issuer": nil}, false},
		{"issuer object", did.Object{"issuer": did.Object{"id": "did:example:1", "name": "A"}}, true},
		{"issuer object without id", did.Object{"issuer": did.Object{"name": "A"}}, false},
		{"subject missing", did.Object{"credentialSubject": nil}, false},
		{"subject empty", did.Object{"credentialSubject": did.Object{}}, false},
		{"one subject empty", did.Object{"credentialSubject": []any{did.Object{"id": "urn:x:1"}, did.Object{}}}, false},
		{"subject text", did.Object{"credentialSubject": "urn:x:1"}, false},
		{"subject ids", did.Object{"credentialSubject": did.Object{"id": []any{"urn:x:1"}}}, false},
		{"time without offset", did.Object{"validFrom": "2026-01-01T00:00:00"}, false},
		{"time with offset and fraction", did.Object{"validFrom": "2026-01-01T00:00:00.125-05:00"}, true},
		{"until before from", did.Object{"validUntil": "2025-12-31T23:59:59Z"}, false},
		{"until is from", did.Object{"validUntil": "2026-01-01T01:00:00+01:00"}, true},
		{"status without type", did.Object{"credentialStatus": did.Object{"id": "urn:x:1"}}, false},
		{"status without id", did.Object{"credentialStatus": typed(nil)}, true},
		{"status entry with an integer index", did.Object{"credentialStatus": with(StatusEntry("https://a.example/1", "revocation", 7), did.Object{"statusListIndex": 7})}, false},
		{"status entry", did.Object{"credentialStatus": []any{StatusEntry("https://a.example/1", "revocation", 7)}}, true},
		{"schema without id", did.Object{"credentialSchema": typed(nil)}, false},
		{"schema", did.Object{"credentialSchema": typed(did.Object{"id": "urn:x:schema"})}, true},
		{"terms empty", did.Object{"termsOfUse": did.Object{}}, false},
		{"evidence list", did.Object{"evidence": []any{typed(nil), typed(did.Object{"id": "urn:x:1"})}}, true},
		{"evidence id no URL", did.Object{"evidence": typed(did.Object{"id": "x y"})}, false},
		{"refresh without type", did.Object{"refreshService": did.Object{"id": "urn:x:1"}}, false},
		{"name", did.Object{"name": "A"}, true},
		{"name in languages", did.Object{"name": []any{did.Object{"@value": "A", "@language": "en"}, did.Object{"@value": "B", "@direction": "rtl"}}}, true},
		{"name with more", did.Object{"name": did.Object{"@value": "A", "url": "urn:x:1"}}, false},
		{"name without value", did.Object{"name": did.Object{"@language": "en"}}, false},
		{"description number", did.Object{"description": 7}, false},
		{"name of the issuer with more", did.Object{"issuer": did.Object{"id": "did:example:1", "name": did.Object{"@value": "A", "x": "y"}}}, false},
		{"resource", did.Object{"relatedResource": did.Object{"id": ContextV2, "digestSRI": digest}}, true},
		{"resource in multibase", did.Object{"relatedResource": did.Object{"id": ContextV2, "digestMultibase": "uWZVc7WaX1h4D8rJVb-tTBqsWhChG9bWG1_Hyree7JzQ"}}, false},
		{"resource with another digest", did.Object{"relatedResource": did.Object{"id": ContextV2, "digestSRI": otherDigest}}, false},
		{"resource unknown", did.Object{"relatedResource": did.Object{"id": "urn:x:1", "digestSRI": otherDigest}}, true},
		{"resource without digest", did.Object{"relatedResource": did.Object{"id": ContextV2}}, false},
		{"resource without id", did.Object{"relatedResource": did.Object{"digestSRI": digest}}, false},
		{"resource twice", did.Object{"relatedResource": []any{did.Object{"id": ContextV2, "digestSRI": digest}, did.Object{"id": ContextV2, "digestSRI": digest}}}, false},
		{"resource text", did.Object{"relatedResource": []any{ContextV2}}, false},
		{"proof null", did.Object{"proof": any(nullValue{})}, false},
		{"proof text", did.Object{"proof": "z"}, false},
		{"proof without type", did.Object{"proof": did.Object{"proofValue": "z"}}, false},
		{"proofs empty", did.Object{"proof": []any{}}, false},
		{"1.1", did.Object{"@context": []any{ContextV1}, "issuanceDate": "2026-01-01T00:00:00Z"}, true},
		{"1.1 with a context file inside", did.Object{"@context": []any{ContextV1, wrap(did.Object{"name": "https://a.example/name"})}, "issuanceDate": "2026-01-01T00:00:00Z"}, true},
		{"1.1 with a protected term again", did.Object{"@context": []any{ContextV1, wrap(did.Object{"proof": "https://a.example/proof"})}, "issuanceDate": "2026-01-01T00:00:00Z"}, false},
		{"a context file inside", did.Object{"@context": []any{ContextV2, wrap(did.Object{"x": "https://a.example/x"})}, "type": []any{typeCredential}}, true},
		{"a context file inside that defines a protected term", did.Object{"@context": []any{ContextV2, wrap(did.Object{"name": "https://a.example/x"})}}, false},
		{"a context file inside that defines the type", did.Object{"@context": []any{ContextV2, wrap(did.Object{"T": "https://a.example/T"})}, "type": []any{typeCredential, "T"}}, true},
		{"a context file inside and more", did.Object{"@context": []any{ContextV2, with(wrap(did.Object{}), did.Object{"name": "https://a.example/x"})}}, false},
		{"a list inside", did.Object{"@context": []any{ContextV2, did.Object{"@context": []any{}}}}, false},
		{"a context file inside another", did.Object{"@context": []any{ContextV2, wrap(wrap(did.Object{}))}}, false},
		{"1.1 without a date", did.Object{"@context": []any{ContextV1}}, false},
	} {
		doc := plain(with(credentialOf("did:example:issuer", "did:example:subject"), test.members))
		err := CheckCredential(doc)
		if (err == nil) != test.good {
			t.Errorf("%s: got %v, want good %v", test.name, err, test.good)
		}
		if r := plugins.Rejected(err); err != nil && (r == nil || r.Code != "format_invalid") {
			t.Errorf("%s: got %v, want format_invalid", test.name, err)
		}
	}
}

// wrap makes a context file of a context, as some put it into a credential.
func wrap(context did.Object) did.Object { return did.Object{"@context": context} }

// nullValue stands for a JSON null where nil would take the member away.
type nullValue struct{}

func plain(o did.Object) did.Object {
	for name, value := range o {
		if value == any(nullValue{}) {
			o[name] = nil
		}
	}
	return o
}

func TestPresentationModel(t *testing.T) {
	credential := credentialOf("did:example:issuer", "did:example:subject")
	for _, test := range []struct {
		name    string
		members did.Object
		good    bool
	}{
		{"as it is", did.Object{}, true},
		{"no credentials", did.Object{"verifiableCredential": nil}, true},
		{"one credential", did.Object{"verifiableCredential": credential}, true},
		{"credential as text", did.Object{"verifiableCredential": []any{credential, "eyJ.eyJ.AA"}}, false},
		{"holder object", did.Object{"holder": did.Object{"id": "did:example:holder"}}, true},
		{"holder without id", did.Object{"holder": did.Object{"name": "A"}}, false},
		{"holder no URL", did.Object{"holder": "z6Mk"}, false},
		{"type of a credential", did.Object{"type": []any{"VerifiableCredential"}}, false},
		{"context missing", did.Object{"@context": nil}, false},
	} {
		if err := CheckPresentation(with(presentationOf("did:example:holder", credential), test.members)); (err == nil) != test.good {
			t.Errorf("%s: got %v, want good %v", test.name, err, test.good)
		}
	}
}

func TestBadText(t *testing.T) {
	issuer := newParty(1)
	c := newWorld().config()
	good := string(text(t, signed(t, c, credentialOf(issuer.did, "did:example:subject"), issuer, proofBy(issuer))))
	passes(t, Verify(c, []byte(good), Options{}))
	for name, raw := range map[string]string{
		"nothing":             "",
		"not JSON":            "{",
		"list":                "[]",
		"trailing":            good + "{}",
		"duplicate member":    `{"id":"urn:uuid:58172aac-d8ba-11ed-83dd-0b3aef56cc33",` + good[1:],
		"nested duplicate":    strings.Replace(good, `"over":18`, `"over":21,"over":18`, 1),
		"integer above 2^53":  strings.Replace(good, `"over":18`, `"over":9007199254740993`, 1),
		"depth":               `{"a":` + strings.Repeat("[", 100000) + strings.Repeat("]", 100000) + "}",
		"not UTF-8":           strings.Replace(good, "AgeOver", "Age\xff", 1),
		"half a surrogate":    strings.Replace(good, "AgeOver", `\ud800`, 1),
		"credential as text":  `"` + strings.ReplaceAll(good, `"`, `\"`) + `"`,
		"too large":           good + strings.Repeat(" ", MaxCredentialBytes),
		"token of two parts":  "eyJ.eyJ",
		"token of four parts": "eyJ.eyJ.eyJ.eyJ",
	} {
		only(t, Verify(c, []byte(raw), Options{}), CheckFormat, "format_invalid")
		only(t, VerifyPresentation(c, []byte(raw), Options{}), CheckFormat, "format_invalid")
		_ = name
	}
}
