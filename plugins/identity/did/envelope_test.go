package did

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"weft/plugins"
	"weft/tangle"
)

// key is the key of a seed that repeats one byte.
func key(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

func multikey(seed byte) string {
	return Ed25519Key(key(seed).Public().(ed25519.PublicKey)).Multikey()
}

func testNetwork() tangle.ID { return sha256.Sum256([]byte("weft test network")) }

// TestVectorEnvelope holds the byte-exact vector of identity.md, section 2.1.
func TestVectorEnvelope(t *testing.T) {
	want, err := os.ReadFile("testdata/create.json")
	if err != nil {
		t.Fatal(err)
	}
	want = bytes.TrimSpace(want)
	if sum := sha256.Sum256(want); len(want) != 1013 || hex.EncodeToString(sum[:]) != "9e9ac0f6357a9efa8f2568ffb1f725ade43fc2b46f65c80111b25ce90768fee7" {
		t.Fatalf("entry has %d bytes, SHA-256 %x", len(want), sum)
	}
	e, err := OpenEnvelope(testNetwork(), want, EnvelopeRules{Type: "weft/op/1", MaxBytes: 16 << 10, MaxProofs: 16, MaxDepth: 16})
	if err != nil {
		t.Fatal(err)
	}
	if e.Hash != "zQmXtdqBcttpNuDJ97w7BptUcXHSbDHRLdgTP7RP1Y3tL2T" || len(e.Signers) != 1 || e.Signers[0] != multikey(1) {
		t.Errorf("opHash %s, signers %s", e.Hash, e.Signers)
	}
	again, err := Sign(e.Body, key(1))
	if err != nil || !bytes.Equal(again, want) {
		t.Errorf("signed again: %v\n%s", err, again)
	}
	if !strings.Contains(string(again), "z65v1QTWRARJCbTphb1SUthT35T79rpmipAe7BZBvA2VWcECVZpS8ZRFSKaxj2Uy3W6587H73EhVbZVYwwRDCP1ie") {
		t.Error("another proofValue")
	}
}

// TestCheckAllForgetsBodies checks an operation whose body is no longer needed, beside one that is refused.
func TestCheckAllForgetsBodies(t *testing.T) {
	raw, err := os.ReadFile("testdata/create.json")
	if err != nil {
		t.Fatal(err)
	}
	raw = bytes.TrimSpace(raw)
	read := func(_ tangle.Kind, data []byte) (plugins.Op, error) {
		return Decode(testNetwork(), DefaultLimits(), data)
	}
	got := CheckAll([]tangle.Entry{{Data: raw}, {Data: raw[1:]}}, read)
	if got[0].Err != nil || got[1].Err == nil {
		t.Fatalf("got %v and %v", got[0].Err, got[1].Err)
	}
	e := got[0].Op.(Enveloped).Inside()
	if e.Body != nil || e.signed != nil || e.proofs != nil {
		t.Error("what was checked keeps its body")
	}
	if e.Hash == "" || len(e.Signers) != 1 || !bytes.Equal(e.Raw, raw) {
		t.Errorf("what is left: opHash %q, signers %s, %d bytes", e.Hash, e.Signers, len(e.Raw))
	}
}

// FuzzDecodeCanonical holds what the parser notes on its way to what Canonical writes: which text is the canonical one, and
// what is left of it without the proof.
func FuzzDecodeCanonical(f *testing.F) {
	for _, s := range []string{
		`{"a":1,"proof":[{"b":2}],"z":"x"}`, `{"proof":1}`, `{"a":{"proof":2},"proof":1}`, `{"proof":1,"z":[]}`, `{"a":"\u001f\b\"\\","é":1}`,
		`{"b":1,"a":2}`, `{"a": 1}`, `{"a":-0}`, `{"a":"\/"}`, `{"a":"\u0041"}`, `{"a":"\u001F"}`, `{"":{},"a":[[],{}]}`, `{"\ue000":1,"\ud83d\ude00":2}`,
		"{\"\U0001F600\":1,\"\ue000\":2}", "{\"\ue000\":1,\"\U0001F600\":2}", `{"a":null}`, `{"a":1}` + "\n", ` {"a":1}`, `{"a":9007199254740991}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		whole, signed, err := decodeCanonical(raw, JSONLimits{})
		if r := plugins.Rejected(err); r != nil && r.Code != "not_canonical" {
			return // a null, or too deep
		}
		tree, fault := DecodeObject(raw, JSONLimits{})
		text, unwritable := Canonical(tree)
		if good := fault == nil && unwritable == nil && len(tree) > 0 && integersOnly(tree) && string(text) == string(raw); good != (err == nil) {
			t.Fatalf("%q: %v, want that it is canonical: %v", raw, err, good)
		}
		if err != nil {
			return
		}
		if got, _ := Canonical(whole); string(got) != string(raw) {
			t.Fatalf("%q was read as %q", raw, got)
		}
		delete(tree, "proof")
		if want, _ := Canonical(tree); string(signed) != string(want) {
			t.Fatalf("%q without its proof: %q, want %q", raw, signed, want)
		}
	})
}

// integersOnly says whether a tree has no number but small integers.
func integersOnly(v any) bool {
	switch v := v.(type) {
	case json.Number:
		return isSmallInteger(string(v))
	case Object:
		for _, m := range v {
			if !integersOnly(m) {
				return false
			}
		}
	case []any:
		for _, m := range v {
			if !integersOnly(m) {
				return false
			}
		}
	}
	return true
}
