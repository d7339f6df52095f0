package vc

import (
	"weft/plugins"
	"weft/plugins/identity/did"
)

// JWS is a signed token that is no credential, such as a login: strictly read, and not believed before Verify.
type JWS struct{ token *token }

// ParseJWS reads a compact JWS of the exact type; the rules are those of credentials' tokens: public-key algorithms only,
// nothing critical, strict JSON.
func ParseJWS(compact, typ string) (JWS, error) {
	t, err := parseToken([]byte(compact), typ)
	return JWS{t}, err
}

// Header and Claim read a member as text; "" if it is none.
func (j JWS) Header(name string) string { return textOf(j.token.header[name]) }

// Claim reads a claim as text; "" if it is none.
func (j JWS) Claim(name string) string { return textOf(j.token.claims[name]) }

// Claims are all of them.
func (j JWS) Claims() did.Object { return j.token.claims }

// Time reads a registered time in ms since 1970; 0 if it is absent.
func (j JWS) Time(name string) int64 {
	if at := j.token.time(name); !at.IsZero() {
		return at.UnixMilli()
	}
	return 0
}

// Verify checks the signature with a key, whose type says which algorithm it is for.
func (j JWS) Verify(key did.PublicKey) error {
	if fault := verifyToken(&evidence{token: j.token, key: did.Method{Key: key}}); fault != nil {
		return plugins.Reject("bad_signature", "%s", fault.reason)
	}
	return nil
}

// SignJWS makes a compact JWS of claims with an Ed25519 key.
func SignJWS(typ, kid string, claims did.Object, sign func(input []byte) ([]byte, error)) (string, error) {
	input, err := signingInput(did.Object{"alg": "EdDSA", "typ": typ, "kid": kid}, claims)
	if err != nil {
		return "", err
	}
	return signInput(input, sign)
}
