package vc

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"weft/internal/vectors"
	"weft/plugins/identity/did"
)

// secretKey reads the multikey form of a published Ed25519 secret.
func secretKey(t testing.TB, multikey string) ed25519.PrivateKey {
	t.Helper()
	raw, err := did.ParseBase58(strings.TrimPrefix(multikey, "z"))
	if err != nil || len(raw) != 34 {
		t.Fatalf("secret key: %v, %d bytes", err, len(raw))
	}
	return ed25519.NewKeyFromSeed(raw[2:])
}

type diVector struct {
	folder, suffix, suite string
}

func diVectors() []diVector {
	return []diVector{{"eddsa-jcs-2022", "JCS", SuiteJCS}, {"eddsa-rdfc-2022", "DataInt", SuiteRDFC}, {"Ed25519Signature2020", "EdSig", suiteSignature2020}}
}

func (d diVector) text(t testing.TB, name string) string {
	return string(vectors.File(t, "vc-di-eddsa/"+d.folder+"/"+name+d.suffix+".txt"))
}

func (d diVector) object(t testing.TB, name string) did.Object {
	return readObject(t, vectors.File(t, "vc-di-eddsa/"+d.folder+"/"+name+d.suffix+".json"))
}

func TestDataIntegrityVectors(t *testing.T) {
	c := newWorld().config()
	c.Contexts = contexts(t)
	for _, d := range diVectors() {
		t.Run(d.folder, func(t *testing.T) {
			signed := d.object(t, "signed")
			proof := signed["proof"].(did.Object)
			unsecured := with(signed, did.Object{"proof": nil})
			hashes := d.canonicalForms(t, c, unsecured, d.object(t, "proofConfig"))
			h := hasher{contexts: c.Contexts, doc: signed}
			got, err := h.hash(proof)
			if err != nil {
				t.Fatal(err)
			}
			if want := d.text(t, "combinedHash"); hex.EncodeToString(got) != want || hashes != want {
				t.Errorf("hash data:\ngot  %x\nand  %s\nwant %s", got, hashes, want)
			}
			r := Verify(c, text(t, signed), Options{})
			only(t, r, CheckIssuer, "issuer_mismatch") // the vector's issuer is a web page, its key a did:key
			d.recreate(t, c, unsecured, signed)
		})
	}
}

// canonicalForms compares the canonical forms and their hashes with those of the vector.
func (d diVector) canonicalForms(t *testing.T, c Config, doc, config did.Object) string {
	canonize := func(v did.Object) []byte {
		canonical, err := did.Canonical(v)
		if d.suite != SuiteJCS {
			canonical, err = c.Contexts.Canonize(v)
		}
		if err != nil {
			t.Fatal(err)
		}
		return canonical
	}
	hashes := ""
	for _, part := range []struct {
		form, hash string
		doc        did.Object
	}{{"proofCanon", "proofHash", config}, {"canonDoc", "docHash", doc}} {
		got := canonize(part.doc)
		if want := d.text(t, part.form); string(got) != want {
			t.Errorf("%s:\ngot  %s\nwant %s", part.form, got, want)
		}
		sum := sha256.Sum256(got)
		if want := d.text(t, part.hash); hex.EncodeToString(sum[:]) != want {
			t.Errorf("%s: got %x, want %s", part.hash, sum, want)
		}
		hashes += hex.EncodeToString(sum[:])
	}
	return hashes
}

// recreate makes the proof again, byte for byte.
func (d diVector) recreate(t *testing.T, c Config, doc, want did.Object) {
	if d.suite == suiteSignature2020 {
		return // verified, never made
	}
	var keys struct{ PrivateKeyMultibase string }
	if err := json.Unmarshal(vectors.File(t, "vc-di-eddsa/keyPair.json"), &keys); err != nil {
		t.Fatal(err)
	}
	key := secretKey(t, keys.PrivateKeyMultibase)
	config := d.object(t, "proofConfig")
	created, _ := parseTime(textOf(config["created"]))
	o := ProofOptions{Cryptosuite: d.suite, VerificationMethod: textOf(config["verificationMethod"]), Purpose: "assertionMethod", Created: created}
	got, err := AddProof(c, doc, o, func(hashData []byte) ([]byte, error) {
		signature := ed25519.Sign(key, hashData)
		if want := d.text(t, "sigHex"); hex.EncodeToString(signature) != want {
			t.Errorf("signature: got %x, want %s", signature, want)
		}
		if want := d.text(t, "sigBTC58"); "z"+did.Base58(signature) != want {
			t.Errorf("proofValue: got z%s, want %s", did.Base58(signature), want)
		}
		return signature, nil
	})
	if err != nil || string(text(t, got)) != string(text(t, want)) {
		t.Errorf("signed document: %v\ngot  %s\nwant %s", err, text(t, got), text(t, want))
	}
}

func TestProofSetAndChainVectors(t *testing.T) {
	c := newWorld().config()
	c.Contexts = contexts(t)
	var keys map[string]struct{ PrivateKeyMultibase string }
	if err := json.Unmarshal(vectors.File(t, "vc-di-eddsa/proof-set-chain/multiKeyPairs.json"), &keys); err != nil {
		t.Fatal(err)
	}
	read := func(name string) did.Object {
		return readObject(t, vectors.File(t, "vc-di-eddsa/proof-set-chain/"+name+".json"))
	}
	doc := read("unsigned")
	for _, step := range []struct{ key, config, proof, signed string }{
		{"keyPair1", "proofSetConfig1", "proofSetConfigSigned1", "signedProofSet1"},
		{"keyPair2", "proofSetConfig2", "proofSetConfigSigned2", "signedProofSet2"},
		{"keyPair3", "proofChainConfig1", "proofChainConfigSigned1", "signedProofChain1"},
		{"keyPair4", "proofChainConfig2", "proofChainConfigSigned2", "signedProofChain2"},
	} {
		key := secretKey(t, keys[step.key].PrivateKeyMultibase)
		config := read(step.config)
		created, _ := parseTime(textOf(config["created"]))
		o := ProofOptions{Cryptosuite: SuiteRDFC, VerificationMethod: textOf(config["verificationMethod"]), Purpose: "assertionMethod",
			Created: created, ID: textOf(config["id"]), PreviousProof: stringsOf(config["previousProof"])}
		var err error
		if doc, err = AddProof(c, doc, o, func(hashData []byte) ([]byte, error) { return ed25519.Sign(key, hashData), nil }); err != nil {
			t.Fatalf("%s: %v", step.signed, err)
		}
		if got, want := text(t, doc), text(t, read(step.signed)); string(got) != string(want) {
			t.Errorf("%s:\ngot  %s\nwant %s", step.signed, got, want)
		}
		list := listOf(doc["proof"])
		if got, want := text(t, list[len(list)-1]), text(t, read(step.proof)); string(got) != string(want) {
			t.Errorf("%s:\ngot  %s\nwant %s", step.proof, got, want)
		}
		only(t, Verify(c, text(t, doc), Options{}), CheckIssuer, "issuer_mismatch")
	}
	// Without a previous proof the chain is broken, and with the issuer's own name the whole passes.
	proofs := doc["proof"].([]any)
	broken := with(doc, did.Object{"proof": proofs[1:]})
	r := Verify(c, text(t, broken), Options{})
	if c, _ := r.Check(CheckSignature); c.Code != "bad_signature" || !strings.Contains(c.Reason, "previous proof") {
		t.Errorf("chain without its first proof: got %s", reportText(r))
	}
}

// joseCase is one line of the public suite's list of JOSE verifications.
type joseCase struct {
	input, key string
	good       bool
}

func TestJOSEVectors(t *testing.T) {
	credential := []joseCase{
		{"credential-jose-minimal.txt", "vm-p256.json", true},
		{"credential-issuer-match-signed.txt", "vm-ed25519.json", true},
		{"credential-jose-unknown-extensions.txt", "vm-ed25519.json", false},
		{"credential-minimal.json", "vm-ed25519.json", false},
		{"credential-jose-bad-signature.txt", "vm-ed25519.json", false},
		{"credential-jose-bad-media-type.txt", "vm-ed25519.json", false},
		{"credential-jose-vc-vp-claims.txt", "vm-ed25519.json", false},
	}
	presentation := []joseCase{
		{"presentation-jose-multiple.txt", "vm-p384.json", true},
		{"presentation-single.json", "vm-ed25519.json", false},
		{"presentation-jose-bad-media-type.txt", "vm-ed25519.json", false},
		{"presentation-jose-bad-credential.txt", "vm-ed25519.json", false},
	}
	c := Config{Now: time.Date(2024, 12, 16, 12, 0, 0, 0, time.UTC)}
	for _, test := range credential {
		checkVerdict(t, test, Verify(c, vectors.File(t, "vc-jose-cose/input/"+test.input), joseOptions(t, test)))
	}
	for _, test := range presentation {
		at := c
		if test.input == "presentation-jose-bad-credential.txt" {
			at.Now = time.Date(2024, 12, 15, 12, 0, 0, 0, time.UTC)
		}
		checkVerdict(t, test, VerifyPresentation(at, vectors.File(t, "vc-jose-cose/input/"+test.input), joseOptions(t, test)))
	}
}

func joseOptions(t *testing.T, test joseCase) Options {
	method := readObject(t, vectors.File(t, "vc-jose-cose/input/"+test.key))
	delete(method, "secretKeyJwk")
	return Options{Methods: []did.Object{method}, EnvelopeOnly: true}
}

func checkVerdict(t *testing.T, test joseCase, r Report) {
	t.Helper()
	if r.Verified != test.good {
		t.Errorf("%s with %s: got %s, want verified %v", test.input, test.key, reportText(r), test.good)
	}
	t.Logf("%s: verified %v, failed %v", test.input, r.Verified, r.Failures())
	if slices.Contains(r.Failures(), CheckValidity) {
		t.Errorf("%s: refused because of the clock, which says nothing", test.input)
	}
}
