package did

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strings"
	"testing"

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
