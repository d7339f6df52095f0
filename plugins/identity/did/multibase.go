package did

import (
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/binary"
	"math/big"
	"strings"

	"github.com/mr-tron/base58"

	"weft/plugins"
)

// KeyType is the curve of a public key, by its name in a JWK.
type KeyType string

// The types of keys that multikeys and JWKs may hold.
const (
	Ed25519    KeyType = "Ed25519"
	X25519     KeyType = "X25519"
	P256       KeyType = "P-256"
	P384       KeyType = "P-384"
	P521       KeyType = "P-521"
	Secp256k1  KeyType = "secp256k1"
	BLS12381G1 KeyType = "BLS12381G1"
	BLS12381G2 KeyType = "BLS12381G2"
)

// PublicKey is a public key: raw bytes, points of the NIST curves and of secp256k1 compressed (SEC 1, section 2.3.3).
type PublicKey struct {
	Type  KeyType
	Bytes []byte
}

// codec is a line of the multicodec table.
type codec struct {
	code uint64
	key  KeyType
	size int // bytes of the key
}

func codecs() [8]codec {
	return [...]codec{
		{0xed, Ed25519, 32}, {0xec, X25519, 32}, {0x1200, P256, 33}, {0x1201, P384, 49}, {0x1202, P521, 67},
		{0xe7, Secp256k1, 33}, {0xea, BLS12381G1, 48}, {0xeb, BLS12381G2, 96},
	}
}

// MaxMultikey bounds the text of a multikey in bytes; that of BLS12381G2 is the longest.
const MaxMultikey = 160

// ParseMultikey reads "z" and the base58btc form of multicodec and key. The length is checked, and that points of NIST
// curves and of secp256k1 are on the curve. Ed25519 keys of small order pass: only those that sign operations must be
// sound, and OpenEnvelope refuses others.
func ParseMultikey(s string) (PublicKey, error) {
	if len(s) > MaxMultikey {
		return PublicKey{}, plugins.Reject("bad_value", "a multikey of %d characters", len(s))
	}
	text, found := strings.CutPrefix(s, "z")
	if !found {
		return PublicKey{}, plugins.Reject("bad_value", "multikey %q does not begin with z", s)
	}
	b, err := ParseBase58(text)
	if err != nil {
		return PublicKey{}, err
	}
	code, n := binary.Uvarint(b)
	for _, c := range codecs() {
		if n == 2 && c.code == code {
			return c.checked(b[n:])
		}
	}
	return PublicKey{}, plugins.Reject("bad_value", "multikey %q has an unknown multicodec", s)
}

func (c codec) checked(key []byte) (PublicKey, error) {
	k := PublicKey{c.key, key}
	if len(key) != c.size {
		return k, plugins.Reject("bad_value", "a key of type %s has %d bytes, want %d", c.key, len(key), c.size)
	}
	if curve := k.curve(); curve != nil {
		if x, _ := elliptic.UnmarshalCompressed(curve, key); x == nil {
			return k, plugins.Reject("bad_value", "not a point of %s", c.key)
		}
	}
	if c.key == Secp256k1 && secp256k1Y(key) == nil {
		return k, plugins.Reject("bad_value", "not a point of secp256k1")
	}
	return k, nil
}

// curve is the NIST curve of the key, or nil.
func (k PublicKey) curve() elliptic.Curve {
	switch k.Type {
	case P256:
		return elliptic.P256()
	case P384:
		return elliptic.P384()
	case P521:
		return elliptic.P521()
	}
	return nil
}

// secp256k1Y is the y of a compressed point of secp256k1, nil if there is none. No library of ours has this curve, on which
// nothing is verified here: did:key documents show such keys.
func secp256k1Y(compressed []byte) *big.Int {
	p := secp256k1Prime()
	x := new(big.Int).SetBytes(compressed[1:])
	if odd := compressed[0]; odd != 2 && odd != 3 || x.Cmp(p) >= 0 {
		return nil
	}
	y := new(big.Int).Exp(x, big.NewInt(3), p)
	y.Add(y, big.NewInt(7))
	y.Mod(y, p)
	if y.ModSqrt(y, p) == nil {
		return nil
	}
	if byte(y.Bit(0)) != compressed[0]&1 {
		y.Sub(p, y)
	}
	return y
}

// secp256k1Prime is 2^256 - 2^32 - 977.
func secp256k1Prime() *big.Int {
	p := new(big.Int).Lsh(big.NewInt(1), 256)
	return p.Sub(p, big.NewInt(1<<32+977))
}

// Ed25519Key is a key of the standard library.
func Ed25519Key(pub ed25519.PublicKey) PublicKey { return PublicKey{Ed25519, pub} }

// Multikey is the key as text, and "" if its type is unknown.
func (k PublicKey) Multikey() string {
	for _, c := range codecs() {
		if c.key == k.Type {
			return "z" + Base58(append(binary.AppendUvarint(nil, c.code), k.Bytes...))
		}
	}
	return ""
}

// Multihash is "z" and the base58btc form of 0x12 0x20 SHA-256(data).
func Multihash(data []byte) string { return MultihashOf(sha256.Sum256(data)) }

// MultihashOf is the Multihash of what has a SHA-256.
func MultihashOf(sum [sha256.Size]byte) string {
	return "z" + Base58(append([]byte{0x12, 0x20}, sum[:]...))
}

// KeyHash is what a list of next or recovery keys holds of a key: the Multihash of its multikey's ASCII.
func KeyHash(multikey string) string { return Multihash([]byte(multikey)) }

// multihashLength is the length of every Multihash.
const multihashLength = 47

// checkMultihash refuses what Multihash does not make.
func checkMultihash(s string) error {
	if len(s) == multihashLength && strings.HasPrefix(s, "zQm") {
		if b, err := ParseBase58(s[1:]); err == nil && len(b) == 34 && b[0] == 0x12 && b[1] == 0x20 {
			return nil
		}
	}
	return plugins.Reject("bad_value", "%.60q is not a SHA-256 multihash in base58btc", s)
}

// Base58 is the base58btc form, without a prefix.
func Base58(b []byte) string { return base58.Encode(b) }

// ParseBase58 reads base58btc without a prefix. Its time grows with the square of the length, which callers bound.
func ParseBase58(s string) ([]byte, error) {
	b, err := base58.Decode(s)
	if err != nil {
		return nil, plugins.Reject("bad_value", "not base58btc: %.60q", s)
	}
	return b, nil
}
