package channel

import (
	"bytes"
	"crypto/ecdh"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"weft/plugins/identity/did"
	"weft/plugins/plugintest"
	"weft/tangle"
)

func fill[T ~[32]byte](b byte) T { return T(bytes.Repeat([]byte{b}, 32)) }

func testNetwork() tangle.ID { return sha256.Sum256([]byte("weft test network")) }

const vectorActor = "did:weft:t2iac44k:zQmWtmPYAAf4jqgYd4myZLeGvtS5aX6YRobF3ZmvCCfxHom"

// vectors are those at the end of section 6 of the design, by name.
func vectors(t testing.TB) map[string]string {
	t.Helper()
	b, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]string{}
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestVectors(t *testing.T) {
	want := vectors(t)
	e, id, before := fill[Key](0x11), fill[ID](0x22), fill[Key](0x10)
	nonce := Nonce(bytes.Repeat([]byte{0x33}, 16))
	epoch, err := e.NewEpoch(id, 4, &before)
	if err != nil {
		t.Fatal(err)
	}
	record, prefix := e.recordKey(id, vectorActor, nonce)
	salt, meta := bytes.Repeat([]byte{0x44}, 32), []byte(`{"mediaType":"text/plain"}`)
	head0 := FirstHead(id)
	at := did.Place{Time: 1790000000000, Position: 48213, Entry: fill[tangle.Hash](0x77)}
	head1 := NextHead(head0, 1, 1, at)
	content := ContentHash(salt, meta, []byte("hello"))
	channel := NewID(testNetwork(), vectorActor, nonce)
	for name, got := range map[string][]byte{
		"commit": epoch.Commit[:], "publicKey": epoch.PublicKey[:], "recordKey": record, "ivPrefix": prefix, "previous": epoch.Previous,
		"contentHash": content[:], "head0": head0[:], "head1": head1[:], "channelId": channel[:],
	} {
		if hex.EncodeToString(got) != want[name] {
			t.Errorf("%s is %x, want %s", name, got, want[name])
		}
	}
	wrap, _ := hex.DecodeString(want["wrap"])
	private, err := ecdh.X25519().NewPrivateKey(bytes.Repeat([]byte{0x55}, 32))
	if err != nil {
		t.Fatal(err)
	}
	to := vectorActor + "#key-2"
	if k, err := Unwrap(id, 4, Wrap{to, wrap}, private); err != nil || k != e {
		t.Errorf("the wrap opens to %x, %v", k, err)
	}
	if back, err := e.Unchain(id, 4, epoch.Previous); err != nil || back != before {
		t.Errorf("previous opens to %x, %v", back, err)
	}
	if n := base64.RawURLEncoding.EncodedLen(WrapBytes); n != 107 {
		t.Errorf("a wrap has %d characters", n)
	}
}

// TestWrapsBindToTheirContext: nothing but the right context opens a wrap.
func TestWrapsBindToTheirContext(t *testing.T) {
	e, id := fill[Key](0x11), fill[ID](0x22)
	private, err := ecdh.X25519().NewPrivateKey(bytes.Repeat([]byte{0x55}, 32))
	if err != nil {
		t.Fatal(err)
	}
	w, err := e.Wrap(id, 4, "did:x:y#k", private.PublicKey().Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if k, err := Unwrap(id, 4, w, private); err != nil || k != e {
		t.Fatalf("%x, %v", k, err)
	}
	other, moved := w, w
	other.To, moved.Ciphertext = "did:x:z#k", bytes.Clone(w.Ciphertext)
	moved.Ciphertext[40] ^= 1
	for name, open := range map[string]func() (Key, error){
		"another epoch":   func() (Key, error) { return Unwrap(id, 5, w, private) },
		"another channel": func() (Key, error) { return Unwrap(fill[ID](0x23), 4, w, private) },
		"another reader":  func() (Key, error) { return Unwrap(id, 4, other, private) },
		"a flipped bit":   func() (Key, error) { return Unwrap(id, 4, moved, private) },
	} {
		if _, err := open(); plugintest.Code(t, err) != "bad_wrap" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
