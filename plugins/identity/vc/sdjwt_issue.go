package vc

import (
	"encoding/base64"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"weft/plugins"
	"weft/plugins/identity/did"
)

// saltBytes is what RFC 9901 recommends: too much to guess, so that the digest of a short value tells nothing.
const saltBytes = 16

// MaxDecoys bounds the decoys of one object.
const MaxDecoys = 64

// Selective says which claims of a token its holder may withhold.
type Selective struct {
	Pointers []string  // JSON pointers to members and to elements of arrays; one inside another may be withheld by itself
	Salts    io.Reader // of bytes that nobody can guess
	Decoys   int       // digests of nothing in each object with withheld members, so that they cannot be counted
}

// SignSDJWT makes a vc+sd-jwt or vp+sd-jwt of claims with all its disclosures (RFC 9901). The arguments are those of
// SignJWT. What a verifier must always see cannot be withheld: a holder must not be able to hide an end or a status.
func SignSDJWT(typ, kid string, claims did.Object, s Selective, sign func(input []byte) ([]byte, error), alg string) (string, error) {
	text, err := did.Canonical(claims)
	if err != nil {
		return "", err
	}
	h := &hiding{Selective: s}
	if h.claims, err = did.DecodeObject(text, did.JSONLimits{MaxBytes: MaxPresentationBytes, MaxDepth: MaxDepth}); err != nil {
		return "", err
	}
	if h.digest, err = digestFunc(did.Object{}); err != nil {
		return "", err
	}
	if err := h.hideAll(); err != nil {
		return "", err
	}
	h.claims[digestName] = "sha-256"
	compact, err := SignJWT(typ, kid, h.claims, sign, alg)
	if err != nil {
		return "", err
	}
	compact += "~" + strings.Join(append(h.disclosures, ""), "~")
	if err := checkSame(compact, typ, text); err != nil {
		return "", err
	}
	return compact, nil
}

// checkSame keeps SignSDJWT from making what is refused or reads as something else: claims may have had reserved names.
func checkSame(compact, typ string, claims []byte) error {
	s, err := parseSelective([]byte(compact), typ)
	if err != nil {
		return err
	}
	if text, err := did.Canonical(s.token.claims); err != nil || string(text) != string(claims) || s.stray() {
		return plugins.Reject("bad_value", "the claims have names that an SD-JWT keeps for itself")
	}
	return nil
}

// hiding is the making of an SD-JWT.
type hiding struct {
	Selective
	claims      did.Object
	digest      func([]byte) string
	disclosures []string
}

// hideAll hides the deepest claims first, so that what is hidden around them holds their digests.
func (h *hiding) hideAll() error {
	if len(h.Pointers) > MaxDisclosures || h.Decoys < 0 || h.Decoys > MaxDecoys {
		return plugins.Reject("too_large", "at most %d claims can be withheld, with %d decoys", MaxDisclosures, MaxDecoys)
	}
	pointers := slices.Clone(h.Pointers)
	slices.SortFunc(pointers, func(a, b string) int {
		if d := strings.Count(b, "/") - strings.Count(a, "/"); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	for i, pointer := range pointers {
		if i > 0 && pointer == pointers[i-1] {
			return plugins.Reject("bad_value", "%s is named twice", pointer)
		}
		if err := h.hide(pointer); err != nil {
			return err
		}
	}
	return nil
}

// hide replaces the claim at a pointer by its digest.
func (h *hiding) hide(pointer string) error {
	value, present := atPointer(h.claims, pointer)
	cut := strings.LastIndexByte(pointer, '/')
	if !present || cut < 0 {
		return plugins.Reject("bad_value", "there is no claim at %q", pointer)
	}
	if first, _, _ := strings.Cut(pointer[1:], "/"); alwaysShown(first) {
		return plugins.Reject("bad_value", "%s must not be withheld", first)
	}
	around, _ := atPointer(h.claims, pointer[:cut])
	name := strings.ReplaceAll(strings.ReplaceAll(pointer[cut+1:], "~1", "/"), "~0", "~")
	if list, ok := around.([]any); ok {
		i, _ := strconv.Atoi(name)
		digest, err := h.disclose(value)
		list[i] = did.Object{elementDigest: digest}
		return err
	}
	digest, err := h.disclose(name, value)
	if err != nil {
		return err
	}
	o := around.(did.Object)
	delete(o, name)
	return h.addDigest(o, digest)
}

// alwaysShown are the claims by which a token is judged.
func alwaysShown(name string) bool {
	return slices.Contains([]string{"@context", "type", "issuer", "validFrom", "validUntil", "issuanceDate", "expirationDate", "credentialStatus",
		"credentialSchema", "iss", "iat", "nbf", "exp", "aud", "nonce", "cnf", memberDigests, digestName}, name)
}

// disclose makes the disclosure of a claim, and returns its digest.
func (h *hiding) disclose(claim ...any) (string, error) {
	salt, err := h.random(saltBytes)
	if err != nil {
		return "", err
	}
	text, err := did.Canonical(append([]any{base64.RawURLEncoding.EncodeToString(salt)}, claim...))
	if err != nil {
		return "", err
	}
	disclosure := base64.RawURLEncoding.EncodeToString(text)
	h.disclosures = append(h.disclosures, disclosure)
	return h.digest([]byte(disclosure)), nil
}

func (h *hiding) random(n int) ([]byte, error) {
	b := make([]byte, n)
	_, err := io.ReadFull(h.Salts, b)
	return b, err
}

// addDigest adds a digest to an object, in an order that tells nothing.
func (h *hiding) addDigest(o did.Object, digest string) error {
	list, given := o[memberDigests].([]any)
	list = append(list, digest)
	for n := h.Decoys; n > 0 && !given; n-- {
		decoy, err := h.random(saltBytes)
		if err != nil {
			return err
		}
		list = append(list, h.digest(decoy))
	}
	slices.SortFunc(list, func(a, b any) int { return strings.Compare(textOf(a), textOf(b)) })
	o[memberDigests] = list
	return nil
}

// Withhold takes out of an SD-JWT what is disclosed at JSON pointers and below. Pointers are into what the SD-JWT says as
// it is. A key binding is taken away, for it is about the whole.
func Withhold(compact string, pointers ...string) (string, error) {
	s, err := openSelective(compact)
	if err != nil {
		return "", err
	}
	token, _, _ := strings.Cut(compact, "~")
	kept, met := token+"~", map[string]bool{}
	for _, d := range s.disclosures {
		at := d.at.pointer()
		i := slices.IndexFunc(pointers, func(p string) bool { return at == p || strings.HasPrefix(at, p+"/") })
		if i < 0 {
			kept += d.text + "~"
			continue
		}
		met[pointers[i]] = true
	}
	for _, p := range pointers {
		if !met[p] && !slices.ContainsFunc(pointers, func(above string) bool { return met[above] && strings.HasPrefix(p, above+"/") }) {
			return "", plugins.Reject("bad_value", "nothing at %q can be withheld", p)
		}
	}
	return kept, nil
}

// openSelective reads an SD-JWT of either kind that is whole.
func openSelective(compact string) (*selective, error) {
	token, _, _ := strings.Cut(compact, "~")
	t, err := readToken([]byte(token))
	if err != nil {
		return nil, err
	}
	typ := textOf(t.header["typ"])
	if typ != TypeCredentialSDJWT && typ != TypePresentationSDJWT {
		return nil, plugins.Reject("format_invalid", "typ is %.100q", typ)
	}
	s, err := parseSelective([]byte(compact), typ)
	if err == nil && s.stray() {
		err = plugins.Reject("format_invalid", "a disclosure is not of this token")
	}
	return s, err
}

// Binding is the answer of a holder to one verifier.
type Binding struct {
	Audience string
	Nonce    string
	At       time.Time
}

// BindKey adds a key binding to an SD-JWT in place of the one that it has. The key behind sign is the one that the issuer
// put into the claim cnf, as jwk or as kid of a method; alg is that of the key.
func BindKey(compact string, b Binding, sign func(input []byte) ([]byte, error), alg string) (string, error) {
	s, err := openSelective(compact)
	if err != nil {
		return "", err
	}
	claims := did.Object{"aud": b.Audience, "nonce": b.Nonce, "iat": b.At.Unix(), "sd_hash": s.digest(s.presented)}
	input, err := signingInput(did.Object{"alg": alg, "typ": typeKeyBinding}, claims)
	if err != nil {
		return "", err
	}
	if _, err := parseBinding(input + "."); err != nil {
		return "", err
	}
	answer, err := signInput(input, sign)
	return string(s.presented) + answer, err
}
