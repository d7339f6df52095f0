package did

import (
	"crypto/elliptic"
	"encoding/base64"
	"math/big"

	"weft/plugins"
)

// JWK is the key as a public JSON Web Key (RFC 7517, 8037, 8812) without optional members.
func (k PublicKey) JWK() (Object, error) {
	switch k.Type {
	case Ed25519, X25519:
		return Object{"kty": "OKP", "crv": string(k.Type), "x": base64url(k.Bytes)}, nil
	case BLS12381G1, BLS12381G2:
		return Object{"kty": "OKP", "crv": string(k.Type), "x": base64url(k.Bytes)}, nil
	}
	x, y := k.point()
	if x == nil {
		return nil, plugins.Reject("bad_value", "not a point of %q", k.Type)
	}
	size := len(k.Bytes) - 1
	return Object{
		"kty": "EC", "crv": string(k.Type), "x": base64url(x.FillBytes(make([]byte, size))), "y": base64url(y.FillBytes(make([]byte, size))),
	}, nil
}

// point is the point of a compressed key; nil if there is none.
func (k PublicKey) point() (x, y *big.Int) {
	if curve := k.curve(); curve != nil {
		return elliptic.UnmarshalCompressed(curve, k.Bytes)
	}
	if k.Type != Secp256k1 || len(k.Bytes) != 33 {
		return nil, nil
	}
	if y = secp256k1Y(k.Bytes); y == nil {
		return nil, nil
	}
	return new(big.Int).SetBytes(k.Bytes[1:]), y
}

// ParseJWK reads a public JSON Web Key. Members that say how the key is used (alg, use, key_ops, kid) are not looked at;
// private members are refused, whatever they hold.
func ParseJWK(o Object) (PublicKey, error) {
	for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"} {
		if _, there := o[private]; there {
			return PublicKey{}, plugins.Reject("bad_value", "the JWK holds a private key")
		}
	}
	name, _ := o["crv"].(string)
	for _, c := range codecs() {
		if string(c.key) == name {
			return c.parseJWK(o)
		}
	}
	return PublicKey{}, plugins.Reject("bad_value", "a JWK of the curve %.20q", name)
}

func (c codec) parseJWK(o Object) (PublicKey, error) {
	k := PublicKey{Type: c.key}
	kty, size := "OKP", c.size
	if k.curve() != nil || c.key == Secp256k1 {
		kty, size = "EC", c.size-1
	}
	if o["kty"] != kty {
		return k, plugins.Reject("bad_value", "a JWK of the curve %s has kty %q", c.key, kty)
	}
	x, err := coordinate(o, "x", size)
	if err != nil {
		return k, err
	}
	if _, there := o["y"]; kty == "OKP" && there {
		return k, plugins.Reject("bad_value", "a JWK of the curve %s has no y", c.key)
	}
	if kty == "OKP" {
		return c.checked(x)
	}
	y, err := coordinate(o, "y", size)
	if err != nil {
		return k, err
	}
	return c.compressed(x, y)
}

// compressed makes a key of a point and refuses one that is not on the curve.
func (c codec) compressed(x, y []byte) (PublicKey, error) {
	k, err := c.checked(append([]byte{2 | y[len(y)-1]&1}, x...))
	if err != nil {
		return k, err
	}
	if _, want := k.point(); want == nil || want.Cmp(new(big.Int).SetBytes(y)) != 0 {
		return k, plugins.Reject("bad_value", "not a point of %s", c.key)
	}
	return k, nil
}

func coordinate(o Object, name string, size int) ([]byte, error) {
	text, _ := o[name].(string)
	b, err := parseBase64url(text)
	if err != nil || len(b) != size {
		return nil, plugins.Reject("bad_value", "member %s of the JWK is not %d bytes in base64url", name, size)
	}
	return b, nil
}

func base64url(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// parseBase64url refuses padding, line breaks and bits beyond the last byte, so each value has one text.
func parseBase64url(s string) ([]byte, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || base64url(b) != s {
		return nil, plugins.Reject("bad_value", "not base64url without padding: %.60q", s)
	}
	return b, nil
}
