package jsonld

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/piprate/json-gold/ld"

	"weft/internal/vectors"
	"weft/plugins"
	"weft/plugins/identity/did"
)

// contextFiles are the files of the vectors' folder.
func contextFiles() map[string]string {
	return map[string]string{
		CredentialsV2: "credentials-v2", CredentialsV1: "credentials-v1", DataIntegrityV2: "data-integrity-v2", DataIntegrityV1: "data-integrity-v1",
		MultikeyV1: "multikey-v1", Ed25519V1: "ed25519-2020-v1", ExamplesV2: "examples-v2", DIDV1: "did-v1", DIDV11: "did-v1.1", CIDV1: "cid-v1",
	}
}

func contextFile(t testing.TB, url string) []byte {
	t.Helper()
	return vectors.File(t, "contexts/"+contextFiles()[url]+".jsonld")
}

// allContexts has every context of the vectors installed, the optional ones too.
func allContexts(t testing.TB) *Contexts {
	t.Helper()
	c := NewContexts()
	for _, p := range Optional() {
		if err := c.Pin(p.URL, p.File); err != nil {
			t.Fatal(err)
		}
	}
	for url := range contextFiles() {
		if err := c.Add(url, contextFile(t, url)); err != nil {
			t.Fatalf("%s: %v", url, err)
		}
	}
	return c
}

func object(t testing.TB, text string) did.Object {
	t.Helper()
	o, err := did.DecodeObject([]byte(text), did.JSONLimits{})
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return o
}

func canonize(t testing.TB, c *Contexts, text string) string {
	t.Helper()
	got, err := c.Canonize(object(t, text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return string(got)
}

func checkCode(t testing.TB, err error, code, what string) {
	t.Helper()
	if r := plugins.Rejected(err); r == nil || r.Code != code {
		t.Errorf("%s: got error %v, want %s", what, err, code)
	}
}

func TestPinsAreThoseOfTheFiles(t *testing.T) {
	pins := append(Pinned(), Optional()...)
	if len(pins) != len(contextFiles()) {
		t.Errorf("got %d pins, want %d", len(pins), len(contextFiles()))
	}
	for _, p := range pins {
		file := contextFile(t, p.URL)
		canonical, err := did.Canonical(object(t, string(file)))
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%x", sha256.Sum256(file)); got != p.File {
			t.Errorf("%s: file has %s, pin %s", p.URL, got, p.File)
		}
		if got := fmt.Sprintf("%x", sha256.Sum256(canonical)); got != p.Canonical {
			t.Errorf("%s: canonical form has %s, pin %s", p.URL, got, p.Canonical)
		}
	}
}

func TestAddAcceptsOnlyPinnedFiles(t *testing.T) {
	file := contextFile(t, CredentialsV2)
	c := NewContexts()
	checkCode(t, c.Add(CredentialsV2, append(slices.Clone(file), ' ', '}')), "bad_json", "trailing brace")
	checkCode(t, c.Add(CredentialsV2, []byte(strings.Replace(string(file), "schema.org/name", "schema.org/nome", 1))), "not_pinned", "changed file")
	checkCode(t, c.Add(CredentialsV1, file), "not_pinned", "another URL")
	checkCode(t, c.Add(ExamplesV2, contextFile(t, ExamplesV2)), "not_pinned", "an optional context")
	if c.Has(CredentialsV2) || len(c.Installed()) != 0 {
		t.Error("a refused file is installed")
	}
	reformatted, err := json.MarshalIndent(object(t, string(file)), "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Add(CredentialsV2, reformatted); err != nil {
		t.Errorf("reformatted file: %v", err)
	}
	if got := c.Identify(reformatted); !slices.Equal(got, []string{CredentialsV2}) {
		t.Errorf("identified as %v", got)
	}
	if !slices.Equal(c.Installed(), []string{CredentialsV2}) {
		t.Errorf("installed: %v", c.Installed())
	}
}

func TestOperatorsPinMore(t *testing.T) {
	c := NewContexts()
	file := []byte(`{"@context": {"shoe": "https://shoes.example#shoe"}}`)
	const url = "https://shoes.example/v1"
	checkCode(t, c.Pin("shoes", strings.Repeat("0", 64)), "bad_value", "relative URL")
	checkCode(t, c.Pin(url, "00"), "bad_value", "short hash")
	sum := sha256.Sum256(file)
	if err := c.Pin(url, hex.EncodeToString(sum[:])); err != nil {
		t.Fatal(err)
	}
	if err := c.Add(url, file); err != nil {
		t.Fatal(err)
	}
	got := canonize(t, c, `{"@context":"https://shoes.example/v1","@id":"urn:a","shoe":"left"}`)
	if want := "<urn:a> <https://shoes.example#shoe> \"left\" .\n"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if !c.HasDigest(url, c.Digests(url)[0]) {
		t.Error("no digests")
	}
}

// TestContextsCannotIncludeThemselves holds because a context may name only those added before it.
func TestContextsCannotIncludeThemselves(t *testing.T) {
	c := NewContexts()
	file := []byte(`{"@context": ["https://loop.example", {"a": "urn:a"}]}`)
	sum := sha256.Sum256(file)
	if err := c.Pin("https://loop.example", hex.EncodeToString(sum[:])); err != nil {
		t.Fatal(err)
	}
	checkCode(t, c.Add("https://loop.example", file), "context_not_installed", "a loop")
}

func TestDigestsAreThoseOfThePublishedFile(t *testing.T) {
	const sha384 = "sha384-l/HrjlBCNWyAX91hr6LFV2Y3heB5Tcr6IeE4/Tje8YyzYBM8IhqjHWiWpr8+ZbYU"
	bare, full := NewContexts(), allContexts(t)
	sum := sha256.Sum256(contextFile(t, CredentialsV2))
	for _, c := range []*Contexts{bare, full} {
		for _, digest := range []string{sha384, sri("sha256", sum[:]), did.Multihash(contextFile(t, CredentialsV2))} {
			if !c.HasDigest(CredentialsV2, digest) {
				t.Errorf("%s is not among %v", digest, c.Digests(CredentialsV2))
			}
		}
	}
	if len(full.Digests(CredentialsV2)) != 9 {
		t.Errorf("got %d digests, want 9", len(full.Digests(CredentialsV2)))
	}
	if full.HasDigest(CredentialsV2, sha384[:len(sha384)-1]) || full.HasDigest(CredentialsV1, sha384) || full.HasDigest("https://other.example", sha384) {
		t.Error("a digest of something else is accepted")
	}
	canonical, _ := hex.DecodeString(Pinned()[0].Canonical)
	if full.HasDigest(CredentialsV2, sri("sha256", canonical)) {
		t.Error("the digest of the canonical form counts as published")
	}
}

// TestCredentialVectors compares canonical forms and hashes with those of the W3C's eddsa-rdfc-2022 example.
func TestCredentialVectors(t *testing.T) {
	c := allContexts(t)
	const dir = "vc-di-eddsa/eddsa-rdfc-2022/"
	for _, v := range []struct{ input, canonical, hash string }{
		{"vc-di-eddsa/unsigned.json", dir + "canonDocDataInt.txt", dir + "docHashDataInt.txt"},
		{dir + "proofConfigDataInt.json", dir + "proofCanonDataInt.txt", dir + "proofHashDataInt.txt"},
		{"vc-di-eddsa/unsigned.json", "vc-di-eddsa/Ed25519Signature2020/canonDocEdSig.txt", "vc-di-eddsa/Ed25519Signature2020/docHashEdSig.txt"},
		{"vc-di-eddsa/Ed25519Signature2020/proofConfigEdSig.json", "vc-di-eddsa/Ed25519Signature2020/proofCanonEdSig.txt", "vc-di-eddsa/Ed25519Signature2020/proofHashEdSig.txt"},
	} {
		checkVector(t, canonize(t, c, string(vectors.File(t, v.input))), v.input, vectors.File(t, v.canonical), vectors.File(t, v.hash))
	}
	checkSigned(t, c)
}

func checkVector(t *testing.T, got, input string, canonical, hash []byte) {
	t.Helper()
	if want := string(canonical); got != want && got != want+"\n" {
		t.Errorf("%s: got\n%s\nwant\n%s", input, got, want)
	}
	if sum := sha256.Sum256([]byte(got)); hex.EncodeToString(sum[:]) != strings.TrimSpace(string(hash)) {
		t.Errorf("%s: got hash %x, want %s", input, sum, hash)
	}
}

// checkSigned splits the signed document as a verifier does: the proof stands alone, with the document's context.
func checkSigned(t *testing.T, c *Contexts) {
	t.Helper()
	signed := object(t, string(vectors.File(t, "vc-di-eddsa/eddsa-rdfc-2022/signedDataInt.json")))
	proof := signed["proof"].(did.Object)
	delete(signed, "proof")
	delete(proof, "proofValue")
	proof["@context"] = signed["@context"]
	for part, name := range map[string]string{"doc": "docHash", "proof": "proofHash"} {
		doc := map[string]did.Object{"doc": signed, "proof": proof}[part]
		got, err := c.Canonize(doc)
		if err != nil {
			t.Fatal(err)
		}
		want := strings.TrimSpace(string(vectors.File(t, "vc-di-eddsa/eddsa-rdfc-2022/"+name+"DataInt.txt")))
		if sum := sha256.Sum256(got); hex.EncodeToString(sum[:]) != want {
			t.Errorf("%s of the signed document: got hash %x, want %s", part, sum, want)
		}
	}
}

// TestConversionAgreesWithJSONGold compares our conversion with json-gold's where its defects do not show.
func TestConversionAgreesWithJSONGold(t *testing.T) {
	c := allContexts(t)
	for name, text := range documents() {
		ours := canonize(t, c, text)
		s := screen{contexts: c, limits: c.limits}
		screened, err := s.document(object(t, text))
		if err != nil {
			t.Fatal(err)
		}
		lines, err := ld.NewJsonLdProcessor().ToRDF(screened, &ld.JsonLdOptions{ProcessingMode: ld.JsonLd_1_1, DocumentLoader: loader{c}, Format: "application/n-quads"})
		if err != nil {
			t.Fatal(err)
		}
		quads, err := ParseNQuads([]byte(lines.(string)), c.limits)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := Canonicalize(quads, SHA256, c.limits)
		if err != nil {
			t.Fatal(err)
		}
		if ours != string(theirs.NQuads) {
			t.Errorf("%s: ours\n%s\njson-gold's\n%s", name, ours, theirs.NQuads)
		}
	}
}

// credential returns a good credential with more members.
func credential(more string) string {
	return `{"@context":["https://www.w3.org/ns/credentials/v2",{"@vocab":"urn:weft:template:x:1#"}],"id":"urn:uuid:1",
		"type":["VerifiableCredential","AgeOver"],"issuer":"did:example:i","credentialSubject":{"id":"did:example:s","age":18}` + more + `}`
}

// presentation returns a presentation of one credential, written as value of verifiableCredential.
func presentation(credential string) string {
	return `{"@context":"https://www.w3.org/ns/credentials/v2","type":"VerifiablePresentation","holder":"did:example:h","verifiableCredential":` + credential + `}`
}

// documents exercise all kinds of values.
func documents() map[string]string {
	return map[string]string{
		"credential":    credential(""),
		"numbers":       credential(`,"n":[0,-0.0,1.5,1e2,1e21,0.1,1e-7,true,false,5e-324,123456.789,9007199254740991]`),
		"languages":     credential(`,"name":[{"@value":"x","@language":"en-GB"},{"@value":"y","@language":"ar","@direction":"rtl"}]`),
		"blank nodes":   credential(`,"a":{"b":{"c":[1,2]}},"d":[{"e":1},{"e":1},{"id":"_:x"}],"f":{"id":"_:x","g":{"id":"_:x"}}`),
		"list":          `{"@context":{"@vocab":"urn:v#","l":{"@id":"urn:l","@container":"@list"}},"@id":"urn:a","l":[1,"two",{"three":3}],"m":{"l":[]}}`,
		"language map":  `{"@context":{"l":{"@id":"urn:l","@container":"@language"}},"@id":"urn:a","l":{"en":"x","de":["y","z"]}}`,
		"JSON object":   `{"@context":{"j":{"@id":"urn:j","@type":"@json"}},"@id":"urn:a","j":{"b":[1,2],"a":null}}`,
		"proof in it":   credential(`,"proof":[{"type":"DataIntegrityProof","cryptosuite":"x","proofPurpose":"assertionMethod"},{"type":"DataIntegrityProof","nonce":"1"}]`),
		"presentation":  presentation(`[` + credential("") + `]`),
		"empty objects": credential(`,"a":{},"b":[],"c":null`),
	}
}

// TestEmbeddedCredentialsHaveTheirOwnGraph is what the shim is for; the second half fails once json-gold does it right, and
// then the shim goes.
func TestEmbeddedCredentialsHaveTheirOwnGraph(t *testing.T) {
	c := allContexts(t)
	text := presentation(`[{"@context":"https://www.w3.org/ns/credentials/v2","id":"urn:c","type":"VerifiableCredential","issuer":"did:example:i"}]`)
	want := `<urn:c> <http://www.w3.org/1999/02/22-rdf-syntax-ns#type> <https://www.w3.org/2018/credentials#VerifiableCredential> _:c14n0 .
<urn:c> <https://www.w3.org/2018/credentials#issuer> <did:example:i> _:c14n0 .
_:c14n1 <http://www.w3.org/1999/02/22-rdf-syntax-ns#type> <https://www.w3.org/2018/credentials#VerifiablePresentation> .
_:c14n1 <https://www.w3.org/2018/credentials#holder> <did:example:h> .
_:c14n1 <https://www.w3.org/2018/credentials#verifiableCredential> _:c14n0 .
`
	if got := canonize(t, c, text); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	unshimmed := allContexts(t)
	document := object(t, string(contextFile(t, CredentialsV2)))
	installed := unshimmed.installed[CredentialsV2]
	installed.document = document
	var err error
	if installed.processed, err = unshimmed.parse(unshimmed.empty(), document["@context"]); err != nil {
		t.Fatal(err)
	}
	got, err := unshimmed.Canonize(object(t, text))
	if err == nil && string(got) == want {
		t.Error("json-gold puts embedded credentials where they belong: remove the shim")
	}
}

// TestPresentationInVersion1 needs no shim.
func TestPresentationInVersion1(t *testing.T) {
	got := canonize(t, allContexts(t), `{"@context":"https://www.w3.org/2018/credentials/v1","type":"VerifiablePresentation","verifiableCredential":
		[{"@context":"https://www.w3.org/2018/credentials/v1","id":"urn:c","type":"VerifiableCredential","issuer":"did:example:i"}]}`)
	if !strings.Contains(got, "<urn:c> <https://www.w3.org/2018/credentials#issuer> <did:example:i> _:c14n") {
		t.Errorf("got\n%s", got)
	}
}

// TestNothingIsAddedUnseen adds to a signed document. Each addition is refused, or changes what was signed.
func TestNothingIsAddedUnseen(t *testing.T) {
	c := allContexts(t)
	base := `{"@context":["https://www.w3.org/ns/credentials/v2"%s],"id":"urn:uuid:1","type":["VerifiableCredential"%s],"issuer":"did:example:i",
		"name":"A","description":"B","credentialSubject":{"id":"did:example:s"%s}%s}`
	signed := canonize(t, c, fmt.Sprintf(base, "", "", "", ""))
	for what, add := range map[string][4]string{
		"undefined type":               {"", `,"Undefined"`, "", ""},
		"defined type":                 {"", `,"VerifiablePresentation"`, "", ""},
		"absolute type":                {"", `,"urn:x"`, "", ""},
		"keyword as type":              {"", `,"@json"`, "", ""},
		"unknown keyword as type":      {"", `,"@foo"`, "", ""},
		"second type key":              {"", "", "", `,"@type":["Undefined"]`},
		"type of the subject":          {"", "", `,"type":"Undefined"`, ""},
		"undefined property":           {"", "", `,"admin":true`, ""},
		"property in a prefix":         {"", "", `,"x:admin":true`, ""},
		"blank property":               {"", "", `,"_:admin":true`, ""},
		"keyword-like property":        {"", "", `,"@admin":true`, ""},
		"framing keyword":              {"", "", `,"@default":{"admin":true}`, ""},
		"index":                        {"", "", `,"@index":"admin"`, ""},
		"nested":                       {"", "", `,"@nest":{"admin":true}`, ""},
		"included":                     {"", "", `,"@included":[{"admin":true}]`, ""},
		"graph":                        {"", "", "", `,"@graph":["admin"]`},
		"set with an error":            {"", "", "", `,"evidence":{"@set":[{"admin":true}]}`},
		"list with an error":           {"", "", "", `,"evidence":{"@list":[{"admin":true}]}`},
		"relative reference":           {"", "", "", `,"credentialSchema":{"id":"admin"}`},
		"relative value":               {"", "", "", `,"termsOfUse":"admin"`},
		"invalid IRI":                  {"", "", "", `,"termsOfUse":"https://a b"`},
		"relative datatype":            {"", "", "", `,"validFrom":{"@value":"x","@type":"Undefined"}`},
		"invalid language":             {"", "", "", `,"x:y":{"@value":"x","@language":"not a tag"}`},
		"vocabulary added":             {`,{"@vocab":"urn:v#"}`, "", `,"admin":true`, ""},
		"term for @index":              {`,{"admin":"@index"}`, "", `,"admin":"x"`, ""},
		"term for @type":               {`,{"kind":"@type"}`, "", "", `,"kind":"Undefined"`},
		"term for type":                {`,{"kind":"type"}`, "", "", `,"kind":"Undefined"`},
		"vocabulary of keywords":       {`,{"@vocab":"@"}`, "", "", `,"default":{"admin":true}`},
		"null term":                    {`,{"admin":null}`, "", `,"admin":true`, ""},
		"null term by @id":             {`,{"admin":{"@id":null}}`, "", `,"admin":true`, ""},
		"index map":                    {`,{"m":{"@id":"urn:m","@container":"@index"}}`, "", "", `,"m":{"admin":{"@id":"urn:x"}}`},
		"id map":                       {`,{"m":{"@id":"urn:m","@container":"@id"}}`, "", "", `,"m":{"urn:admin":{"@id":"urn:x"}}`},
		"reverse term":                 {`,{"m":{"@reverse":"urn:m"}}`, "", "", `,"m":{"@id":"urn:x"}`},
		"base":                         {`,{"@base":"https://x.example/"}`, "", "", `,"termsOfUse":"admin"`},
		"import":                       {`,{"@import":"https://www.w3.org/ns/credentials/v2"}`, "", "", ""},
		"a node in a graph that is no": {"", "", "", `,"proof":{"id":"urn:admin"}`},
		"JSON term that is none":       {`,{"j":"urn:j","s":{"@id":"urn:s","@context":{"j":{"@id":"urn:j","@type":"@json"}}}}`, "", "", `,"j":{"@set":[{"admin":1}]}`},
	} {
		got, err := c.Canonize(object(t, fmt.Sprintf(base, add[0], add[1], add[2], add[3])))
		if err == nil && string(got) == signed {
			t.Errorf("%s: the signed form is still the same", what)
		}
		if err != nil && plugins.Rejected(err) == nil {
			t.Errorf("%s: error %v has no code", what, err)
		}
	}
}

// TestProtectedTermsStayAsTheyAre tries the direct way and those that json-gold alone would let pass.
func TestProtectedTermsStayAsTheyAre(t *testing.T) {
	c := allContexts(t)
	for what, context := range map[string]string{
		"redefined":            `{"name":"https://schema.org/description"}`,
		"by a type":            `{"T":{"@id":"urn:T","@context":{"name":"https://schema.org/description"}}}`,
		"deleted first":        `{"name":null},{"name":"https://schema.org/description","description":"https://schema.org/name"}`,
		"deleted by @id":       `{"name":{"@id":null}},{"name":"https://schema.org/description"}`,
		"deleted by a keyword": `{"name":"@foo"},{"name":"https://schema.org/description"}`,
		"nullified":            `null,{"@vocab":"urn:v#"}`,
		"nullified in scope":   `[null]`,
		"type":                 `{"type":"urn:type"}`,
	} {
		_, err := c.Canonize(object(t, `{"@context":["https://www.w3.org/ns/credentials/v2",`+context+`],"type":["VerifiableCredential","T"],"issuer":"did:example:i","name":"a"}`))
		checkCode(t, err, "bad_value", what)
		_, err = c.Canonize(object(t, credential(`,"a":{"@context":[`+context+`],"type":"T","name":"a"}`)))
		checkCode(t, err, "bad_value", what+", inside")
	}
	// the same definition again is allowed, and a context may be named twice
	canonize(t, c, `{"@context":["https://www.w3.org/ns/credentials/v2","https://www.w3.org/ns/credentials/v2",{"name":"https://schema.org/name"}],"type":"VerifiableCredential","name":"a"}`)
}

func TestJSONLiterals(t *testing.T) {
	c := allContexts(t)
	const context = `{"@context":{"j":{"@id":"urn:j","@type":"@json"}},"@id":"urn:a","j":`
	for value, want := range map[string]string{
		`[1,{"b":2,"a":[]}]`:           `[1,{\"a\":[],\"b\":2}]`,
		`"text"`:                       `\"text\"`,
		`1.50`:                         `1.5`,
		`true`:                         `true`,
		`null`:                         `null`,
		`{"@list":[{"@context":"x"}]}`: `{\"@list\":[{\"@context\":\"x\"}]}`,
		`[{"type":"a","@type":"b"}]`:   `[{\"@type\":\"b\",\"type\":\"a\"}]`,
	} {
		want := `<urn:a> <urn:j> "` + want + `"^^<http://www.w3.org/1999/02/22-rdf-syntax-ns#JSON> .` + "\n"
		if got := canonize(t, c, context+value+"}"); got != want {
			t.Errorf("%s: got %s, want %s", value, got, want)
		}
	}
	got := canonize(t, c, `{"@context":{"p":"urn:p"},"@id":"urn:a","p":{"@type":"@json","@value":[{"@set":1}]}}`)
	if want := `<urn:a> <urn:p> "[{\"@set\":1}]"^^<http://www.w3.org/1999/02/22-rdf-syntax-ns#JSON> .` + "\n"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestNumbers(t *testing.T) {
	c := allContexts(t)
	for text, want := range map[string]string{
		"0": `"0"^^<` + xsdInteger + ">", "-0": `"0"^^<` + xsdInteger + ">", "100": `"100"^^<` + xsdInteger + ">",
		"1e2": `"100"^^<` + xsdInteger + ">", "1.0": `"1"^^<` + xsdInteger + ">", "-7": `"-7"^^<` + xsdInteger + ">",
		"1.5": `"1.5E0"^^<` + xsdDouble + ">", "1e21": `"1.0E21"^^<` + xsdDouble + ">", "-2.50e-8": `"-2.5E-8"^^<` + xsdDouble + ">",
		"true": `"true"^^<` + xsdBoolean + ">", "1e20": `"100000000000000000000"^^<` + xsdInteger + ">",
	} {
		got := canonize(t, c, `{"@context":{"p":"urn:p"},"@id":"urn:a","p":`+text+`}`)
		if want := "<urn:a> <urn:p> " + want + " .\n"; got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
	for _, text := range []string{"9007199254740993", "1e999", "12345678901234567890123"} {
		_, err := c.Canonize(object(t, `{"@context":{"p":"urn:p"},"@id":"urn:a","p":`+text+`}`))
		checkCode(t, err, "bad_value", text)
	}
}

func TestCanonizeRefuses(t *testing.T) {
	c := allContexts(t)
	deep := strings.Repeat(`{"x:y":`, 33) + "1" + strings.Repeat("}", 33)
	for text, code := range map[string]string{
		`{"id":"urn:a"}`: "bad_value",
		`{"@context":"https://www.w3.org/ns/credentials/v2"}`:                                      "bad_value",
		`{"@context":"https://www.w3.org/ns/credentials/v3","id":"urn:a"}`:                         "context_not_installed",
		`{"@context":"credentials/v2","id":"urn:a"}`:                                               "context_not_installed",
		`{"@context":[],"id":"urn:a"}`:                                                             "bad_value",
		`{"@context":null,"@id":"urn:a"}`:                                                          "bad_value",
		`{"@context":5,"@id":"urn:a"}`:                                                             "bad_value",
		`{"@context":{"x":{"@id":"urn:x","@context":"https://no.example"}}}`:                       "context_not_installed",
		`{"@context":"https://www.w3.org/ns/credentials/v2","proof":"x"}`:                          "bad_value",
		`{"@context":{"a":"urn:a"},"@type":5}`:                                                     "bad_value",
		`{"@context":{"a":"urn:a"},"@type":[["x"]]}`:                                               "bad_value",
		`{"@context":{"a":"urn:a"},"@id":["x"]}`:                                                   "bad_value",
		`{"@context":{"a":"b:c","b":"a:d"}}`:                                                       "bad_value",
		`{"@context":{"a":"urn:a"},"a":` + deep + `}`:                                              "too_large",
		`{"@context":{"a":"urn:a"},"a":"` + strings.Repeat("x", 64<<10) + `"}`:                     "too_large",
		`{"@context":[` + strings.Repeat(`"https://www.w3.org/ns/credentials/v2",`, 40) + `null]}`: "too_large",
		`{"@context":{` + manyTerms(500) + `},"t0":[` + strings.Repeat("{},", 1000) + `1]}`:        "too_large",
	} {
		_, err := c.Canonize(object(t, text))
		checkCode(t, err, code, fmt.Sprintf("%.100s", text))
	}
	_, err := c.Canonize("https://www.w3.org/ns/credentials/v2")
	checkCode(t, err, "bad_value", "a URL as document")
	_, err = c.Canonize(map[string]any{"@context": map[string]any{"a": "urn:a"}, "a": struct{}{}})
	checkCode(t, err, "bad_value", "a Go value")
	_, err = NewContexts().Canonize(object(t, credential("")))
	checkCode(t, err, "context_not_installed", "no contexts")
}

// TestContextFileInside: a context file where its content belongs counts as its content, and nothing escapes the screen there.
func TestContextFileInside(t *testing.T) {
	c := allContexts(t)
	const document = `{"@context":["https://www.w3.org/ns/credentials/v2",%s],"id":"urn:a","x":"y"}`
	plain := canonize(t, c, fmt.Sprintf(document, `{"x":"urn:x"}`))
	if wrapped := canonize(t, c, fmt.Sprintf(document, `{"@context":{"x":"urn:x"}}`)); wrapped != plain {
		t.Errorf("got\n%s\nwant\n%s", wrapped, plain)
	}
	for _, context := range []string{
		`{"@context":{"x":"urn:x"},"y":"urn:y"}`, `{"@context":[{"x":"urn:x"}]}`, `{"@context":"https://www.w3.org/ns/credentials/v2"}`,
		`{"@context":{"@context":{"x":"urn:x"}}}`, `{"@context":{"@base":"https://x.example/","x":"urn:x"}}`, `{"@context":{"name":"urn:x","x":"urn:x"}}`,
	} {
		_, err := c.Canonize(object(t, fmt.Sprintf(document, context)))
		checkCode(t, err, "bad_value", context)
	}
}

func manyTerms(n int) string {
	var terms []string
	for i := range n {
		terms = append(terms, fmt.Sprintf(`"t%d":"urn:t%d"`, i, i))
	}
	return strings.Join(terms, ",")
}

// TestHardDocumentsEndSoon has documents whose contexts are processed again and again.
func TestHardDocumentsEndSoon(t *testing.T) {
	c := allContexts(t)
	inline := func(context, more string) string {
		return `{"@context":["https://www.w3.org/ns/credentials/v2",{"@vocab":"urn:x#"},` + context + `],"type":"VerifiableCredential"` + more + `}`
	}
	for what, text := range map[string]string{
		"typed nodes":          credential(`,"a":[` + strings.Repeat(`{"type":"VerifiableCredential"},`, 1800) + `1]`),
		"scoped by type":       inline(`{"T":{"@id":"urn:T","@context":{`+manyTerms(90)+`}}}`, `,"a":[`+strings.Repeat(`{"type":"T"},`, 500)+`1]`),
		"scoped by a property": inline(`{"p":{"@id":"urn:p","@context":{`+manyTerms(90)+`}}}`, `,"a":[`+strings.Repeat(`{"p":1},`, 500)+`1]`),
		"a context each":       inline(`"https://www.w3.org/ns/credentials/v2"`, `,"a":[`+strings.Repeat(`{"@context":"https://www.w3.org/ns/credentials/v2"},`, 29)+`1]`),
		"empty objects":        credential(`,"a":[` + strings.Repeat(`{},`, 9000) + `1]`),
	} {
		start := time.Now()
		_, err := c.Canonize(object(t, text))
		t.Logf("%s: %v, error %v", what, time.Since(start), err)
		if took := time.Since(start); took > soon() {
			t.Errorf("%s took %v", what, took)
		}
	}
}

func TestPanicsBecomeErrors(t *testing.T) {
	c := NewContexts()
	_, err := c.expand(map[string]any{"@context": map[string]any{"a": map[string]any{"@id": "urn:a", "@container": 5}}})
	checkCode(t, err, "parse_error", "a container that is a number")
}

func TestDocumentsAreNotChanged(t *testing.T) {
	c := allContexts(t)
	for name, text := range documents() {
		o := object(t, text)
		before, _ := did.Canonical(o)
		if _, err := c.Canonize(o); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if after, _ := did.Canonical(o); string(before) != string(after) {
			t.Errorf("%s was changed", name)
		}
	}
}

// TestContextsAreShared is for the race detector.
func TestContextsAreShared(t *testing.T) {
	c := allContexts(t)
	want := map[string]string{}
	for name, text := range documents() {
		want[name] = canonize(t, c, text)
	}
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for name, text := range documents() {
				if got, err := c.Canonize(object(t, text)); err != nil || string(got) != want[name] {
					t.Errorf("%s: got %s (%v), want %s", name, got, err, want[name])
				}
			}
		})
	}
	group.Wait()
}

func FuzzCanonize(f *testing.F) {
	for _, text := range documents() {
		f.Add([]byte(text))
	}
	c := allContexts(f)
	c.limits.MaxHashCalls, c.limits.MaxHashSteps = 1000, 20_000
	f.Fuzz(func(t *testing.T, raw []byte) {
		doc, err := did.DecodeObject(raw, did.JSONLimits{MaxBytes: 64 << 10, MaxDepth: 32})
		if err != nil {
			return
		}
		got, err := c.Canonize(doc)
		if err != nil {
			if plugins.Rejected(err) == nil {
				t.Fatalf("error %v has no code", err)
			}
			if plugins.Rejected(err).Code == "parse_error" {
				t.Logf("parse_error: %v", err)
			}
			return
		}
		if _, err := ParseNQuads(got, c.limits); err != nil {
			t.Fatalf("the canonical form does not parse: %v\n%s", err, got)
		}
	})
}

func BenchmarkCanonize(b *testing.B) {
	c := allContexts(b)
	for name, file := range map[string]string{"credential": "vc-di-eddsa/unsigned.json", "proof": "vc-di-eddsa/eddsa-rdfc-2022/proofConfigDataInt.json"} {
		doc := object(b, string(vectors.File(b, file)))
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Canonize(doc); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	for name, text := range map[string]string{"template": credential(""), "presentation": presentation("[" + credential("") + "]")} {
		doc := object(b, text)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Canonize(doc); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
