package vc

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"weft/plugins/identity/did"
)

// part is a part of a token made of any JSON.
func part(t testing.TB, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

// forge signs whatever header and claims say, which SignJWT would not.
func forge(t testing.TB, p party, header, claims any) []byte {
	t.Helper()
	input := part(t, header) + "." + part(t, claims)
	signature, _ := p.sign([]byte(input))
	return []byte(input + "." + base64.RawURLEncoding.EncodeToString(signature))
}

func TestTokens(t *testing.T) {
	c := newWorld().config()
	issuer := newParty(1)
	claims := clone(t, credentialOf(issuer.did, newParty(2).did))
	header := did.Object{"alg": "EdDSA", "typ": TypeCredentialJWT, "kid": issuer.method}
	for _, test := range []struct {
		name           string
		header, claims did.Object
		check, code    string
	}{
		{"as it is", nil, nil, "", ""},
		{"Ed25519", did.Object{"alg": "Ed25519"}, nil, "", ""},
		{"cty", did.Object{"cty": "vc"}, nil, "", ""},
		{"registered claims", nil, did.Object{"iss": issuer.did, "jti": claims["id"], "sub": newParty(2).did, "iat": now().Unix(), "nbf": now().Unix(), "exp": now().Unix() + 1}, "", ""},
		{"iat as text", nil, did.Object{"iat": "2026-01-01T00:00:00Z"}, "", ""},
		{"typ of old drafts", did.Object{"typ": "JWT"}, nil, CheckFormat, "format_invalid"},
		{"typ of a presentation", did.Object{"typ": TypePresentationJWT}, nil, CheckFormat, "format_invalid"},
		{"typ in upper case", did.Object{"typ": "VC+JWT"}, nil, CheckFormat, "format_invalid"},
		{"no typ", did.Object{"typ": nil}, nil, CheckFormat, "format_invalid"},
		{"cty of something else", did.Object{"cty": "vp"}, nil, CheckFormat, "format_invalid"},
		{"none", did.Object{"alg": "none"}, nil, CheckFormat, "format_invalid"},
		{"HMAC", did.Object{"alg": "HS256"}, nil, CheckFormat, "format_invalid"},
		{"no alg", did.Object{"alg": nil}, nil, CheckFormat, "format_invalid"},
		{"crit", did.Object{"crit": []any{"exp"}}, nil, CheckFormat, "format_invalid"},
		{"b64", did.Object{"b64": false}, nil, CheckFormat, "format_invalid"},
		{"vc claim", nil, did.Object{"vc": did.Object{}}, CheckFormat, "format_invalid"},
		{"vp claim", nil, did.Object{"vp": "x"}, CheckFormat, "format_invalid"},
		{"exp as text", nil, did.Object{"exp": "2030-01-01T00:00:00Z"}, CheckFormat, "format_invalid"},
		{"exp absurd", nil, did.Object{"exp": 1e300}, CheckFormat, "format_invalid"},
		{"jti of another", nil, did.Object{"jti": "urn:x:1"}, CheckFormat, "format_invalid"},
		{"sub of another", nil, did.Object{"sub": "urn:x:1"}, CheckFormat, "format_invalid"},
		{"alg of another key", did.Object{"alg": "ES256"}, nil, CheckSignature, "bad_signature"},
		{"kid of another key", did.Object{"kid": newParty(3).method}, did.Object{"issuer": newParty(3).did}, CheckSignature, "bad_signature"},
		{"kid is a fragment", did.Object{"kid": "#key-1"}, nil, CheckIssuer, "unresolvable"},
		{"kid missing", did.Object{"kid": nil}, nil, CheckIssuer, "unresolvable"},
		{"issuer is another", nil, did.Object{"issuer": "did:example:other"}, CheckIssuer, "issuer_mismatch"},
		{"iss is another", nil, did.Object{"iss": "did:example:other"}, CheckIssuer, "issuer_mismatch"},
		{"iat ahead", nil, did.Object{"iat": now().Unix() + 61}, CheckIssuer, "not_authorized"},
		{"expired", nil, did.Object{"exp": now().Unix() - 1}, CheckValidity, "expired"},
		{"not yet", nil, did.Object{"nbf": now().Unix() + 61}, CheckValidity, "not_yet_valid"},
	} {
		r := Verify(c, forge(t, issuer, with(header, test.header), with(claims, test.claims)), Options{})
		if test.check == "" {
			passes(t, r)
		} else {
			only(t, r, test.check, test.code)
		}
		if t.Failed() {
			t.Fatal(test.name)
		}
	}
}

func TestTokenText(t *testing.T) {
	c := newWorld().config()
	issuer := newParty(1)
	compact, err := SignJWT(TypeCredentialJWT, issuer.method, credentialOf(issuer.did, newParty(2).did), issuer.sign, "EdDSA")
	if err != nil {
		t.Fatal(err)
	}
	passes(t, Verify(c, []byte(compact), Options{}))
	passes(t, Verify(c, []byte(` "`+compact+`"`), Options{}))
	passes(t, Verify(c, text(t, Envelop(TypeCredentialJWT, compact)), Options{}))
	inBase64 := with(Envelop(TypeCredentialJWT, ""), did.Object{"id": "data:application/vc+jwt;base64," + base64.StdEncoding.EncodeToString([]byte(compact))})
	passes(t, Verify(c, text(t, inBase64), Options{}))

	parts := strings.Split(compact, ".")
	duplicate := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"EdDSA","alg":"EdDSA","typ":"vc+jwt","kid":"` + issuer.method + `"}`))
	for name, bad := range map[string]string{
		"padding":          parts[0] + "=." + parts[1] + "." + parts[2],
		"duplicate member": duplicate + "." + parts[1] + "." + parts[2],
		"header no JSON":   "AAAA." + parts[1] + "." + parts[2],
	} {
		if r := Verify(c, []byte(bad), Options{}); r.Verified || r.Failures()[0] != CheckFormat {
			t.Errorf("%s: got %s", name, reportText(r))
		}
	}
	only(t, Verify(c, []byte(parts[0]+"."+parts[1]+"."), Options{}), CheckSignature, "bad_signature")
	for name, envelope := range map[string]did.Object{
		"context":      with(Envelop(TypeCredentialJWT, compact), did.Object{"@context": []any{}}),
		"other type":   with(Envelop(TypeCredentialJWT, compact), did.Object{"type": []any{typeEnvelopedCredential, "X"}}),
		"no data URL":  with(Envelop(TypeCredentialJWT, compact), did.Object{"id": compact}),
		"no id":        with(Envelop(TypeCredentialJWT, compact), did.Object{"id": nil}),
		"media type":   with(Envelop(TypeCredentialJWT, compact), did.Object{"id": "data:application/jwt," + compact}),
		"presentation": Envelop(TypePresentationJWT, compact),
	} {
		if r := Verify(c, text(t, envelope), Options{}); r.Verified || r.Failures()[0] != CheckFormat {
			t.Errorf("%s: got %s", name, reportText(r))
		}
	}
}

func TestSignJWTRefuses(t *testing.T) {
	issuer := newParty(1)
	claims := credentialOf(issuer.did, "urn:x:1")
	for name, make := range map[string]func() (string, error){
		"relative kid":     func() (string, error) { return SignJWT(TypeCredentialJWT, "#key-1", claims, issuer.sign, "EdDSA") },
		"kid of no method": func() (string, error) { return SignJWT(TypeCredentialJWT, issuer.did, claims, issuer.sign, "EdDSA") },
		"none":             func() (string, error) { return SignJWT(TypeCredentialJWT, issuer.method, claims, issuer.sign, "none") },
		"vc claim": func() (string, error) {
			return SignJWT(TypeCredentialJWT, issuer.method, with(claims, did.Object{"vc": "x"}), issuer.sign, "EdDSA")
		},
	} {
		if token, err := make(); err == nil {
			t.Errorf("%s: made %s", name, token)
		}
	}
}

// signEC returns a func that signs as ES256 and its kin do: r and s, each as long as the curve's order.
func signEC(key *ecdsa.PrivateKey, hash func([]byte) []byte) func([]byte) ([]byte, error) {
	return func(input []byte) ([]byte, error) {
		r, s, err := ecdsa.Sign(rand.Reader, key, hash(input))
		if err != nil {
			return nil, err
		}
		size := (key.Curve.Params().BitSize + 7) / 8
		out := make([]byte, 2*size)
		r.FillBytes(out[:size])
		s.FillBytes(out[size:])
		return out, nil
	}
}

func TestEllipticCurveTokens(t *testing.T) {
	for _, test := range []struct {
		alg   string
		kind  did.KeyType
		curve elliptic.Curve
		hash  func([]byte) []byte
	}{
		{"ES256", did.P256, elliptic.P256(), func(b []byte) []byte { h := sha256.Sum256(b); return h[:] }},
		{"ES384", did.P384, elliptic.P384(), func(b []byte) []byte { h := sha512.Sum384(b); return h[:] }},
		{"ES512", did.P521, elliptic.P521(), func(b []byte) []byte { h := sha512.Sum512(b); return h[:] }},
	} {
		key, err := ecdsa.GenerateKey(test.curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		public := did.PublicKey{Type: test.kind, Bytes: elliptic.MarshalCompressed(test.curve, key.X, key.Y)}
		issuer := "did:key:" + public.Multikey()
		compact, err := SignJWT(TypeCredentialJWT, issuer+"#"+public.Multikey(), credentialOf(issuer, "urn:x:1"), signEC(key, test.hash), test.alg)
		if err != nil {
			t.Fatal(err)
		}
		c := newWorld().config()
		passes(t, Verify(c, []byte(compact), Options{}))
		at := strings.LastIndexByte(compact, '.') + 10
		flipped := []byte(compact)
		if flipped[at] = 'A'; compact[at] == 'A' {
			flipped[at] = 'B'
		}
		only(t, Verify(c, flipped, Options{}), CheckSignature, "bad_signature")
		// Data Integrity takes Ed25519 keys only.
		o := proofBy(newParty(1))
		o.VerificationMethod = issuer + "#" + public.Multikey()
		only(t, Verify(c, text(t, signed(t, c, credentialOf(issuer, "urn:x:1"), newParty(1), o)), Options{}), CheckSignature, "bad_signature")
	}
}
