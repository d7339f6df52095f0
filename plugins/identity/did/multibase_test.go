package did

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"encoding/json"
	"math/big"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"weft/internal/vectors"
	"weft/plugins/plugintest"
)

func TestPublishedDIDKeys(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(vectors.Dir(t), "did-key-ids.json"))
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	if err := json.Unmarshal(raw, &list); err != nil || len(list) != 8 {
		t.Fatalf("%d names, want 8 (%v)", len(list), err)
	}
	for _, name := range list {
		r := Resolve(nil, name, Options{})
		if r.Error != nil {
			t.Errorf("%s: %v", name, r.Error)
			continue
		}
		m, err := Lookup(nil, name+"#"+name[len(didKeyPrefix):], AssertionMethod, 0)
		if err != nil || DIDKey(m.Key) != name || m.Controller != name {
			t.Errorf("%s: %v, %v", name, m, err)
		}
		checkJWK(t, m.Key)
	}
}

// checkJWK writes a key as a JWK and reads it again.
func checkJWK(t *testing.T, k PublicKey) {
	t.Helper()
	o, err := k.JWK()
	if err != nil {
		t.Errorf("%s: %v", k.Multikey(), err)
		return
	}
	again, err := ParseJWK(o)
	if err != nil || again.Type != k.Type || !bytes.Equal(again.Bytes, k.Bytes) {
		t.Errorf("%s: JWK %v gives %v, %v", k.Multikey(), o, again, err)
	}
	o["d"] = "AA"
	if _, err := ParseJWK(o); plugintest.Code(t, err) != "bad_value" {
		t.Errorf("%s: a private JWK passes", k.Multikey())
	}
}

func TestCurves(t *testing.T) {
	seed := rand.NewChaCha8([32]byte{1})
	for _, c := range []struct {
		name  KeyType
		curve elliptic.Curve
	}{{P256, elliptic.P256()}, {P384, elliptic.P384()}, {P521, elliptic.P521()}} {
		private, err := ecdsa.GenerateKey(c.curve, seed)
		if err != nil {
			t.Fatal(err)
		}
		k := PublicKey{c.name, elliptic.MarshalCompressed(c.curve, private.X, private.Y)}
		if again, err := ParseMultikey(k.Multikey()); err != nil || !bytes.Equal(again.Bytes, k.Bytes) || again.Type != c.name {
			t.Errorf("%s: %v, %v", c.name, again, err)
		}
		checkJWK(t, k)
		o, _ := k.JWK()
		size := len(k.Bytes) - 1
		o["y"] = base64url(new(big.Int).Add(private.Y, big.NewInt(2)).FillBytes(make([]byte, size)))
		if _, err := ParseJWK(o); plugintest.Code(t, err) != "bad_value" {
			t.Errorf("%s: a point beside the curve passes", c.name)
		}
	}
}

func TestBadMultikeys(t *testing.T) {
	good := multikey(1)
	offCurve := PublicKey{P256, append([]byte{2}, bytes.Repeat([]byte{0xff}, 32)...)}
	for name, s := range map[string]string{
		"empty": "", "no z": good[1:], "base64": "u" + good[1:], "not base58": good[:20] + "0" + good[21:], "only z": "z",
		"short": "z" + Base58(append([]byte{0xed, 0x01}, make([]byte, 31)...)), "long": "z" + Base58(append([]byte{0xed, 0x01}, make([]byte, 33)...)),
		"unknown codec": "z" + Base58(append([]byte{0xef, 0x01}, make([]byte, 32)...)), "secret codec": "z" + Base58(append([]byte{0x80, 0x26}, make([]byte, 32)...)),
		"long varint": "z" + Base58(append([]byte{0xed, 0x81, 0x00}, make([]byte, 32)...)), "huge": "z" + string(bytes.Repeat([]byte{'2'}, 10000)),
		"off the curve": offCurve.Multikey(), "not a did": didKeyPrefix + good,
	} {
		if _, err := ParseMultikey(s); plugintest.Code(t, err) != "bad_value" {
			t.Errorf("%s passes: %v", name, err)
		}
	}
}

func TestBadJWKs(t *testing.T) {
	good := func() Object {
		o, err := Ed25519Key(key(1).Public().(ed25519.PublicKey)).JWK()
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	for name, change := range map[string]func(Object){
		"wrong kty": func(o Object) { o["kty"] = "EC" }, "no crv": func(o Object) { delete(o, "crv") }, "unknown crv": func(o Object) { o["crv"] = "Ed448" },
		"padding": func(o Object) { o["x"] = o["x"].(string) + "=" }, "short": func(o Object) { o["x"] = "AAAA" }, "number": func(o Object) { o["x"] = json.Number("1") },
		"with y": func(o Object) { o["y"] = o["x"] }, "symmetric": func(o Object) { o["k"] = "AA" }, "private": func(o Object) { o["d"] = nil },
		"loose bits": func(o Object) { s := o["x"].(string); o["x"] = s[:len(s)-1] + string(s[len(s)-1]+1) },
	} {
		o := good()
		change(o)
		if _, err := ParseJWK(o); plugintest.Code(t, err) != "bad_value" {
			t.Errorf("%s passes", name)
		}
	}
}
