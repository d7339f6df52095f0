package vc

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"math"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jws"

	"weft/plugins"
	"weft/plugins/identity/did"
)

// Types of tokens (VC-JOSE-COSE): the exact value of typ, and the media type after "application/" in a data URL.
const (
	TypeCredentialJWT     = "vc+jwt"
	TypePresentationJWT   = "vp+jwt"
	TypeCredentialSDJWT   = "vc+sd-jwt"
	TypePresentationSDJWT = "vp+sd-jwt"
)

// token is a JWT in its parts. Nothing in it is believed before its signature is verified.
type token struct {
	compact   []byte
	header    did.Object
	claims    did.Object
	algorithm string
}

// isCompact says whether a text looks like a compact JWS: three parts of base64url.
func isCompact(text []byte) bool {
	if bytes.Count(text, []byte(".")) != 2 {
		return false
	}
	for _, c := range text {
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}

// parseToken reads a compact JWS of the exact type. Header and claims are strict JSON; extensions marked critical are
// refused whatever they are, and so are algorithms without a public key.
func parseToken(compact []byte, typ string) (*token, error) {
	t, err := readToken(compact)
	if err != nil {
		return nil, err
	}
	return t, t.check(typ)
}

// readToken takes a compact JWS apart.
func readToken(compact []byte) (*token, error) {
	header, claims, found := bytes.Cut(compact, []byte("."))
	claims, _, found2 := bytes.Cut(claims, []byte("."))
	if !found || !found2 || !isCompact(compact) {
		return nil, plugins.Reject("format_invalid", "not a compact JWS")
	}
	t := &token{compact: compact}
	var err error
	if t.header, err = decodePart(header); err != nil {
		return nil, err
	}
	if t.claims, err = decodePart(claims); err != nil {
		return nil, err
	}
	t.algorithm = textOf(t.header["alg"])
	return t, nil
}

func (t *token) check(typ string) error {
	if t.header["typ"] != typ {
		return plugins.Reject("format_invalid", "typ is %v, not %s", t.header["typ"], typ)
	}
	for _, member := range []string{"crit", "b64"} {
		if _, given := t.header[member]; given {
			return plugins.Reject("format_invalid", "the header has %s", member)
		}
	}
	if cty, given := t.header["cty"]; given && cty != contentOf(typ) {
		return plugins.Reject("format_invalid", "cty is %v", cty)
	}
	if !slices.Contains([]string{"EdDSA", "Ed25519", "ES256", "ES384", "ES512"}, t.algorithm) {
		return plugins.Reject("format_invalid", "alg %q is not accepted", t.algorithm)
	}
	for _, claim := range []string{"vc", "vp"} {
		if _, given := t.claims[claim]; given {
			return plugins.Reject("format_invalid", "the claim %s has no place in a %s", claim, typ)
		}
	}
	return t.checkTimes()
}

// contentOf is the cty that goes with a typ: "vc" of "vc+jwt".
func contentOf(typ string) string {
	content, _, _ := strings.Cut(typ, "+")
	return content
}

// checkTimes holds the registered times to their form. An iat that is a text is accepted, for issuers write it.
func (t *token) checkTimes() error {
	for _, claim := range []string{"exp", "nbf", "iat"} {
		if value, given := t.claims[claim]; given {
			if _, ok := claimTime(value); !ok || claim != "iat" && textOf(value) != "" {
				return plugins.Reject("format_invalid", "%s is not a time", claim)
			}
		}
	}
	return nil
}

func decodePart(part []byte) (did.Object, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(string(part))
	if err != nil {
		return nil, plugins.Reject("format_invalid", "a part of the token is not base64url without padding")
	}
	return did.DecodeObject(raw, did.JSONLimits{MaxBytes: MaxPresentationBytes, MaxDepth: MaxDepth})
}

// claimTime reads a NumericDate, or the text of a time. The range is that of four-digit years.
func claimTime(v any) (time.Time, bool) {
	if s, ok := v.(string); ok {
		return parseTime(s)
	}
	n, ok := v.(json.Number)
	if !ok {
		return time.Time{}, false
	}
	f, err := n.Float64()
	if err != nil || math.Abs(f) > 253402300799 {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(f * 1000)), true
}

// time returns a registered time of the claims; zero if it is absent.
func (t *token) time(claim string) time.Time {
	at, _ := claimTime(t.claims[claim])
	return at
}

// evidence is the token's signature. The algorithm is judged against the key later, never taken from here alone.
func (t *token) evidence() *evidence {
	return &evidence{token: t, method: textOf(t.header["kid"]), claimed: t.time("iat"), purpose: "assertionMethod", suite: t.algorithm}
}

// verifyToken checks the signature with the resolved key. The key says which algorithm it is for.
func verifyToken(e *evidence) *fault {
	algorithm, key, ok := algorithmOf(e.key.Key, e.token.algorithm)
	if !ok {
		return badToken("alg %q does not fit the key, which is %s", e.token.algorithm, e.key.Key.Type)
	}
	if _, err := jws.VerifyCompactFast(key, e.token.compact, algorithm); err != nil {
		return badToken("the signature does not fit the token")
	}
	return nil
}

func badToken(format string, args ...any) *fault {
	return statusFault("bad_signature", problemSecurity, format, args...)
}

// algorithmOf names the algorithm of a key, and the key as the JOSE library takes it. An Ed25519 key has two names for the
// same algorithm; only there the header has a say.
func algorithmOf(k did.PublicKey, header string) (algorithm jwa.SignatureAlgorithm, key any, ok bool) {
	var curve elliptic.Curve
	switch {
	case k.Type == did.Ed25519 && header == "EdDSA" && len(k.Bytes) == ed25519.PublicKeySize:
		return jwa.EdDSA(), ed25519.PublicKey(k.Bytes), true
	case k.Type == did.Ed25519 && header == "Ed25519" && len(k.Bytes) == ed25519.PublicKeySize:
		return jwa.EdDSAEd25519(), ed25519.PublicKey(k.Bytes), true
	case k.Type == did.P256 && header == "ES256":
		algorithm, curve = jwa.ES256(), elliptic.P256()
	case k.Type == did.P384 && header == "ES384":
		algorithm, curve = jwa.ES384(), elliptic.P384()
	case k.Type == did.P521 && header == "ES512":
		algorithm, curve = jwa.ES512(), elliptic.P521()
	default:
		return algorithm, nil, false
	}
	x, y := elliptic.UnmarshalCompressed(curve, k.Bytes)
	if x == nil {
		return algorithm, nil, false
	}
	size := (curve.Params().BitSize + 7) / 8
	point := append([]byte{4}, x.FillBytes(make([]byte, size))...)
	public, err := ecdsa.ParseUncompressedPublicKey(curve, append(point, y.FillBytes(make([]byte, size))...))
	return algorithm, public, err == nil
}

// SignJWT makes a vc+jwt or vp+jwt of claims. The text that sign gets is the JWS signing input; alg is that of the key
// behind it, and kid the absolute URL of its method, as a rule a DID URL: a verifier must be handed a method of any other.
func SignJWT(typ, kid string, claims did.Object, sign func(input []byte) ([]byte, error), alg string) (string, error) {
	if document, fragment, _ := strings.Cut(kid, "#"); !isURL(document) || fragment == "" {
		return "", plugins.Reject("bad_value", "kid %q is not the absolute URL of a method", kid)
	}
	input, err := signingInput(did.Object{"alg": alg, "typ": typ, "cty": contentOf(typ), "kid": kid}, claims)
	if err != nil {
		return "", err
	}
	t, err := readToken([]byte(input + "."))
	if err != nil {
		return "", err
	}
	if err := t.check(typ); err != nil { // nothing is made that a reader refuses
		return "", err
	}
	return signInput(input, sign)
}

// signingInput is what the signature of a compact JWS is over.
func signingInput(header, claims did.Object) (string, error) {
	head, err := did.Canonical(header)
	if err != nil {
		return "", err
	}
	payload, err := did.Canonical(claims)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(head) + "." + base64.RawURLEncoding.EncodeToString(payload), nil
}

func signInput(input string, sign func(input []byte) ([]byte, error)) (string, error) {
	signature, err := sign([]byte(input))
	if err != nil {
		return "", err
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// Envelop wraps a token as the object that stands for it in JSON.
func Envelop(typ, compact string) did.Object {
	kind := typeEnvelopedCredential
	if contentOf(typ) == "vp" {
		kind = typeEnvelopedPresentation
	}
	return did.Object{"@context": ContextV2, "type": kind, "id": "data:application/" + typ + "," + compact}
}

// openEnvelope returns what is inside an enveloped credential or presentation, which must be of one of the types.
func openEnvelope(doc did.Object, kind string, types ...string) (content []byte, typ string, err error) {
	if !slices.Contains(stringsOf(doc["@context"]), ContextV2) {
		return nil, "", plugins.Reject("format_invalid", "@context of the envelope lacks %s", ContextV2)
	}
	if is := stringsOf(doc["type"]); len(is) != 1 || is[0] != kind {
		return nil, "", plugins.Reject("format_invalid", "type of the envelope is not %s alone", kind)
	}
	media, data, found := strings.Cut(strings.TrimPrefix(textOf(doc["id"]), "data:"), ",")
	if !found || !strings.HasPrefix(textOf(doc["id"]), "data:") {
		return nil, "", plugins.Reject("format_invalid", "id of the envelope is not a data URL")
	}
	media, inBase64 := strings.CutSuffix(media, ";base64")
	if typ = strings.TrimPrefix(media, "application/"); typ == media || !slices.Contains(types, typ) {
		return nil, "", plugins.Reject("format_invalid", "an envelope of %q is not supported here", media)
	}
	content, err = dataOf(data, inBase64)
	return content, typ, err
}

// dataOf decodes the data of a data URL.
func dataOf(data string, inBase64 bool) ([]byte, error) {
	if inBase64 {
		content, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(data, "=\n")) // issuers leave the padding out
		if err != nil {
			return nil, plugins.Reject("format_invalid", "the data URL is not base64")
		}
		return content, nil
	}
	content, err := url.PathUnescape(data)
	if err != nil {
		return nil, plugins.Reject("format_invalid", "the data URL is not percent-encoded")
	}
	return []byte(content), nil
}

// isEnveloped says whether an object is, or claims to be, an envelope.
func isEnveloped(doc did.Object, kind string) bool {
	return slices.Contains(stringsOf(doc["type"]), kind)
}
