package vc

import (
	"maps"
	"strings"
	"testing"
	"time"

	"weft/plugins"
	"weft/plugins/identity/did"
)

func suites() []string { return []string{SuiteJCS, SuiteRDFC} }

func TestProofRoundTrip(t *testing.T) {
	c := newWorld().config()
	c.Contexts = contexts(t)
	issuer := newParty(1)
	for _, suite := range suites() {
		o := proofBy(issuer)
		o.Cryptosuite, o.Expires = suite, now().Add(time.Hour)
		r := Verify(c, text(t, signed(t, c, credentialOf(issuer.did, newParty(2).did), issuer, o)), Options{})
		passes(t, r)
		if s, _ := r.Check(CheckSignature); s.Facts["cryptosuite"] != suite {
			t.Errorf("cryptosuite: got %v, want %s", s.Facts, suite)
		}
	}
}

func TestTamperedCredential(t *testing.T) {
	c := newWorld().config()
	c.Contexts = contexts(t)
	issuer := newParty(1)
	for _, suite := range suites() {
		o := proofBy(issuer)
		o.Cryptosuite = suite
		good := signed(t, c, credentialOf(issuer.did, newParty(2).did), issuer, o)
		proof := good["proof"].(did.Object)
		for name, members := range map[string]did.Object{
			"claim":              {"credentialSubject": did.Object{"id": newParty(2).did, "over": 21}},
			"claim added":        {"evidence": did.Object{"type": "urn:x:E"}},
			"type added":         {"type": []any{"VerifiableCredential", "AgeOver", "Minister"}},
			"context replaced":   {"@context": []any{ContextV2, did.Object{"@vocab": "urn:evil:"}}},
			"value of another":   {"proof": with(proof, did.Object{"proofValue": "z" + did.Base58(make([]byte, 64))})},
			"value short":        {"proof": with(proof, did.Object{"proofValue": "z5nmMBw2u9TGKd9NxxHJtyZKgjN2Eh"})},
			"value in base64":    {"proof": with(proof, did.Object{"proofValue": "u" + textOf(proof["proofValue"])[1:]})},
			"value missing":      {"proof": with(proof, did.Object{"proofValue": nil})},
			"created moved":      {"proof": with(proof, did.Object{"created": "2026-04-01T00:00:00Z"})},
			"created nonsense":   {"proof": with(proof, did.Object{"created": "yesterday"})},
			"suite unknown":      {"proof": with(proof, did.Object{"cryptosuite": "eddsa-2022"})},
			"suite missing":      {"proof": with(proof, did.Object{"cryptosuite": nil})},
			"type unknown":       {"proof": with(proof, did.Object{"type": "Proof"})},
			"method missing":     {"proof": with(proof, did.Object{"verificationMethod": nil})},
			"method relative":    {"proof": with(proof, did.Object{"verificationMethod": "#key-1"})},
			"method is a DID":    {"proof": with(proof, did.Object{"verificationMethod": issuer.did})},
			"purpose missing":    {"proof": with(proof, did.Object{"proofPurpose": nil})},
			"previous invented":  {"proof": with(proof, did.Object{"previousProof": "urn:x:1"})},
			"proof taken away":   {"proof": nil},
			"member slipped in":  {"proof": with(proof, did.Object{"challenge": "x"})},
			"expires slipped in": {"proof": with(proof, did.Object{"expires": "2030-01-01T00:00:00Z"})},
		} {
			r := Verify(c, text(t, with(good, members)), Options{})
			if got := r.Failures(); len(got) != 1 || got[0] != CheckSignature {
				t.Errorf("%s, %s: got %v, want the signature alone", suite, name, got)
			}
			if s, _ := r.Check(CheckSignature); s.Code != "bad_signature" {
				t.Errorf("%s, %s: got code %q", suite, name, s.Code)
			}
		}
	}
}

// A type that @context does not define is no part of the RDF form, so it could be added after signing.
func TestUndefinedTypeAddedAfterSigning(t *testing.T) {
	c := newWorld().config()
	c.Contexts = contexts(t)
	issuer := newParty(1)
	o := proofBy(issuer)
	o.Cryptosuite = SuiteRDFC
	doc := with(credentialOf(issuer.did, newParty(2).did), did.Object{
		"@context": []any{ContextV2, did.Object{"AgeOver": "urn:x:AgeOver", "over": "urn:x:over"}}})
	good := signed(t, c, doc, issuer, o)
	passes(t, Verify(c, text(t, good), Options{}))
	subject := good["credentialSubject"].(did.Object)
	only(t, Verify(c, text(t, with(good, did.Object{"credentialSubject": with(subject, did.Object{"type": "Minister"})})), Options{}), CheckSignature, "bad_signature")
	only(t, Verify(c, text(t, with(good, did.Object{"credentialSubject": with(subject, did.Object{"minister": true})})), Options{}), CheckSignature, "bad_signature")
}

func TestContextOfTheProof(t *testing.T) {
	c := newWorld().config()
	issuer := newParty(1)
	good := signed(t, c, credentialOf(issuer.did, newParty(2).did), issuer, proofBy(issuer))
	more := append(append([]any{}, good["@context"].([]any)...), "https://later.example/v1")
	passes(t, Verify(c, text(t, with(good, did.Object{"@context": more})), Options{})) // grown behind the signed ones
	less := good["@context"].([]any)[:1]
	r := Verify(c, text(t, with(good, did.Object{"@context": less, "type": []any{"VerifiableCredential"}})), Options{})
	only(t, r, CheckSignature, "bad_signature")
}

func TestNoContextsInstalled(t *testing.T) {
	w := newWorld()
	c := w.config()
	c.Contexts = contexts(t)
	issuer := newParty(1)
	o := proofBy(issuer)
	o.Cryptosuite = SuiteRDFC
	good := text(t, signed(t, c, credentialOf(issuer.did, newParty(2).did), issuer, o))
	only(t, Verify(w.config(), good, Options{}), CheckSignature, "context_not_installed")
	_, _, err := PrepareProof(nil, credentialOf(issuer.did, "urn:x:1"), o)
	if r := plugins.Rejected(err); r == nil || r.Code != "context_not_installed" {
		t.Errorf("signing without contexts: got %v", err)
	}
	unknown := with(credentialOf(issuer.did, newParty(2).did), did.Object{"@context": []any{ContextV2, "https://nowhere.example/v1"}})
	if _, err := AddProof(c, unknown, o, issuer.sign); err == nil {
		t.Error("a context that is not installed was signed")
	}
}

func TestExpiredProof(t *testing.T) {
	c := newWorld().config()
	issuer := newParty(1)
	o := proofBy(issuer)
	o.Expires = now().Add(-time.Second)
	only(t, Verify(c, text(t, signed(t, c, credentialOf(issuer.did, newParty(2).did), issuer, o)), Options{}), CheckSignature, "proof_expired")
}

func TestProofSets(t *testing.T) {
	c := newWorld().config()
	issuer, witness := newParty(1), newParty(9)
	first := proofBy(issuer)
	first.ID = "urn:x:1"
	one := signed(t, c, credentialOf(issuer.did, newParty(2).did), issuer, first)
	set := signed(t, c, one, witness, proofBy(witness))
	passes(t, Verify(c, text(t, set), Options{}))
	chained := proofBy(witness)
	chained.PreviousProof = []string{"urn:x:1"}
	chain := signed(t, c, one, witness, chained)
	passes(t, Verify(c, text(t, chain), Options{}))
	proofs := chain["proof"].([]any)

	alone := with(chain, did.Object{"proof": proofs[1]})
	r := Verify(c, text(t, alone), Options{})
	if s, _ := r.Check(CheckSignature); s.Code != "bad_signature" {
		t.Errorf("a chain without its first proof: got %s", reportText(r))
	}
	bad := clone(t, set)
	bad["proof"].([]any)[1].(did.Object)["created"] = "2026-02-02T00:00:00Z"
	only(t, Verify(c, text(t, bad), Options{}), CheckSignature, "bad_signature")

	swapped := clone(t, chain)
	swapped["proof"].([]any)[0].(did.Object)["created"] = "2026-02-02T00:00:00Z"
	only(t, Verify(c, text(t, swapped), Options{}), CheckSignature, "bad_signature")

	unknown := clone(t, set)
	unknown["proof"].([]any)[1].(did.Object)["verificationMethod"] = "did:example:nobody#key-1"
	only(t, Verify(c, text(t, unknown), Options{}), CheckIssuer, "unresolvable")

	if _, err := AddProof(c, one, chainOf(witness, "urn:x:missing"), witness.sign); err == nil {
		t.Error("a chain on a missing proof was signed")
	}
	many := maps.Clone(one)
	many["proof"] = slicesRepeat(one["proof"], MaxProofs+1)
	only(t, Verify(c, text(t, many), Options{}), CheckFormat, "format_invalid")
}

func chainOf(p party, previous ...string) ProofOptions {
	o := proofBy(p)
	o.PreviousProof = previous
	return o
}

func slicesRepeat(v any, n int) (list []any) {
	for range n {
		list = append(list, v)
	}
	return list
}

func TestGoldenCopyByteFlips(t *testing.T) {
	c := newWorld().config()
	issuer := newParty(1)
	raw := text(t, signed(t, c, credentialOf(issuer.did, newParty(2).did), issuer, proofBy(issuer)))
	for i := range raw {
		bad := append([]byte{}, raw...)
		if bad[i] ^= 1; Verify(c, bad, Options{}).Verified {
			t.Errorf("byte %d flipped, %q: still verified", i, around(raw, i))
		}
	}
}

func around(raw []byte, i int) string {
	return strings.ToValidUTF8(string(raw[max(0, i-20):min(len(raw), i+20)]), "?")
}
