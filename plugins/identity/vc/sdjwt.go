package vc

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"weft/plugins"
	"weft/plugins/identity/did"
)

// Names that an SD-JWT (RFC 9901) keeps for itself: digests of an object's withheld members, the digest of a withheld
// element of an array, and how digests are made.
const (
	memberDigests = "_sd"
	elementDigest = "..."
	digestName    = "_sd_alg"
)

// typeKeyBinding is the typ of the token by which a holder answers a verifier.
const typeKeyBinding = "kb+jwt"

// Bounds of an SD-JWT.
const (
	MaxDisclosures   = 1024
	MaxKeyBindingAge = 10 * time.Minute // as old as the oldest challenge may be
)

// selective is an SD-JWT: the issuer's token, its claims being those that are disclosed, and the holder's answer.
type selective struct {
	token       *token
	disclosures []*disclosure
	binding     *token // nil: none
	presented   []byte // what the binding is about: all before it
	digest      func([]byte) string

	byDigest map[string]*disclosure
	met      map[string]bool // digests in the claims and in what was disclosed
}

// disclosure is a claim that the holder shows: a member of an object, or an element of an array.
type disclosure struct {
	text   string
	member bool
	name   string
	value  any
	at     *place // where it belongs; nil: nowhere
}

// place is a position in the claims, as a path from the root. Its text is made only where it is asked for.
type place struct {
	up    *place
	name  string // of a member
	index int    // of an element; -1 for a member
	depth int
}

func (p *place) member(name string) *place {
	return &place{up: p, name: name, index: -1, depth: p.depth + 1}
}

func (p *place) element(i int) *place { return &place{up: p, index: i, depth: p.depth + 1} }

// pointer is the place as JSON pointer.
func (p *place) pointer() string {
	if p.up == nil {
		return ""
	}
	name := p.name
	if p.index >= 0 {
		name = strconv.Itoa(p.index)
	}
	return p.up.pointer() + "/" + strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
}

// isSelective says whether a text is an SD-JWT rather than a JWT.
func isSelective(text []byte) bool { return bytes.IndexByte(text, '~') >= 0 }

// selectiveType is the type of the SD-JWT for what a JWT of a type is for.
func selectiveType(typ string) string { return contentOf(typ) + "+sd-jwt" }

// parseSelective reads an SD-JWT of the exact type and puts what is disclosed in its place. What is left are claims like any
// others, and the rules of tokens are for those: nothing can be smuggled in by disclosing it.
func parseSelective(text []byte, typ string) (*selective, error) {
	if n := bytes.Count(text, []byte("~")); n == 0 || n-1 > MaxDisclosures {
		return nil, plugins.Reject("format_invalid", "not an SD-JWT of up to %d disclosures", MaxDisclosures)
	}
	parts := strings.Split(string(text), "~")
	last := len(parts) - 1
	s := &selective{presented: text[:len(text)-len(parts[last])], byDigest: map[string]*disclosure{}, met: map[string]bool{}}
	var err error
	if s.token, err = readToken([]byte(parts[0])); err != nil {
		return nil, err
	}
	if s.digest, err = digestFunc(s.token.claims); err != nil {
		return nil, err
	}
	for _, part := range parts[1:last] {
		if err := s.addDisclosure(part); err != nil {
			return nil, err
		}
	}
	if s.token.claims, err = s.object(s.token.claims, &place{}); err != nil {
		return nil, err
	}
	if parts[last] != "" {
		if s.binding, err = parseBinding(parts[last]); err != nil {
			return nil, err
		}
	}
	return s, s.token.check(typ)
}

// digestFunc is the digest that the claims name. Where they name none it is SHA-256.
func digestFunc(claims did.Object) (func([]byte) string, error) {
	name, given := claims[digestName]
	var sum func([]byte) []byte
	switch {
	case !given || name == "sha-256":
		sum = func(b []byte) []byte { h := sha256.Sum256(b); return h[:] }
	case name == "sha-384":
		sum = func(b []byte) []byte { h := sha512.Sum384(b); return h[:] }
	case name == "sha-512":
		sum = func(b []byte) []byte { h := sha512.Sum512(b); return h[:] }
	default:
		return nil, plugins.Reject("format_invalid", "%s is %v", digestName, name)
	}
	return func(b []byte) string { return base64.RawURLEncoding.EncodeToString(sum(b)) }, nil
}

// addDisclosure reads a disclosure: salt, name and value of a member, or salt and value of an element.
func (s *selective) addDisclosure(text string) error {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return plugins.Reject("format_invalid", "a disclosure is not base64url without padding")
	}
	v, err := did.DecodeJSON(raw, did.JSONLimits{MaxBytes: MaxPresentationBytes, MaxDepth: MaxDepth})
	if err != nil {
		return err
	}
	items, _ := v.([]any)
	if len(items) != 2 && len(items) != 3 {
		return plugins.Reject("format_invalid", "a disclosure is not a list of two or three")
	}
	d := &disclosure{text: text, member: len(items) == 3, value: items[len(items)-1]}
	if _, ok := items[0].(string); !ok {
		return plugins.Reject("format_invalid", "the salt of a disclosure is not a text")
	}
	if d.member {
		name, ok := items[1].(string)
		if !ok || name == memberDigests || name == elementDigest || name == digestName {
			return plugins.Reject("format_invalid", "a disclosure names the claim %v", items[1])
		}
		d.name = name
	}
	digest := s.digest([]byte(text))
	if s.byDigest[digest] != nil {
		return plugins.Reject("format_invalid", "a disclosure is there twice")
	}
	s.byDigest[digest] = d
	s.disclosures = append(s.disclosures, d)
	return nil
}

// stray says whether a disclosure belongs nowhere. One that was changed does not.
func (s *selective) stray() bool {
	return slices.ContainsFunc(s.disclosures, func(d *disclosure) bool { return d.at == nil })
}

// object returns an object with its disclosed members in place and no digests.
func (s *selective) object(o did.Object, at *place) (did.Object, error) {
	if at.depth > MaxDepth {
		return nil, plugins.Reject("too_large", "nested deeper than %d", MaxDepth)
	}
	out := make(did.Object, len(o))
	for _, name := range slices.Sorted(maps.Keys(o)) {
		if name == memberDigests || name == digestName && at.up == nil {
			continue
		}
		if name == elementDigest || name == digestName {
			return nil, plugins.Reject("format_invalid", "%q is out of place", name)
		}
		var err error
		if out[name], err = s.value(o[name], at.member(name)); err != nil {
			return nil, err
		}
	}
	digests, given := o[memberDigests]
	if !given {
		return out, nil
	}
	return out, s.addMembers(out, digests, at)
}

// addMembers puts the disclosed members of an object in place.
func (s *selective) addMembers(o did.Object, digests any, at *place) error {
	list, ok := digests.([]any)
	if !ok {
		return plugins.Reject("format_invalid", "%s is not a list", memberDigests)
	}
	for _, digest := range list {
		d, err := s.take(digest, true)
		if err != nil {
			return err
		}
		if d == nil {
			continue
		}
		if _, taken := o[d.name]; taken {
			return plugins.Reject("format_invalid", "the claim %q is disclosed and is there already", d.name)
		}
		d.at = at.member(d.name)
		if o[d.name], err = s.value(d.value, d.at); err != nil {
			return err
		}
	}
	return nil
}

// take returns the disclosure of a digest; nil if it is withheld, or never was. No digest may be met twice.
func (s *selective) take(digest any, member bool) (*disclosure, error) {
	text, ok := digest.(string)
	if !ok {
		return nil, plugins.Reject("format_invalid", "a digest is not a text")
	}
	if s.met[text] {
		return nil, plugins.Reject("format_invalid", "a digest is there twice")
	}
	s.met[text] = true
	d := s.byDigest[text]
	if d != nil && d.member != member {
		return nil, plugins.Reject("format_invalid", "an element of an array is disclosed as a member of an object, or the reverse")
	}
	return d, nil
}

// value returns a value with everything disclosed in place.
func (s *selective) value(v any, at *place) (any, error) {
	switch v := v.(type) {
	case did.Object:
		return s.object(v, at)
	case []any:
		return s.array(v, at)
	}
	return v, nil
}

// array leaves out the elements that are withheld.
func (s *selective) array(list []any, at *place) (any, error) {
	if at.depth > MaxDepth {
		return nil, plugins.Reject("too_large", "nested deeper than %d", MaxDepth)
	}
	out := make([]any, 0, len(list))
	for _, item := range list {
		o, _ := item.(did.Object)
		here := at.element(len(out))
		if digest, hidden := o[elementDigest]; hidden {
			if len(o) != 1 {
				return nil, plugins.Reject("format_invalid", "%q has company", elementDigest)
			}
			d, err := s.take(digest, false)
			if err != nil {
				return nil, err
			}
			if d == nil {
				continue
			}
			d.at, item = here, d.value
		}
		value, err := s.value(item, here)
		if err != nil {
			return nil, err
		}
		out = append(out, value)
	}
	return out, nil
}

// parseBinding reads the token by which the holder answers. All that it must say is there; whether that is right is judged
// later.
func parseBinding(compact string) (*token, error) {
	t, err := parseToken([]byte(compact), typeKeyBinding)
	if err != nil {
		return nil, err
	}
	for _, claim := range []string{"aud", "nonce", "sd_hash"} {
		if textOf(t.claims[claim]) == "" {
			return nil, plugins.Reject("format_invalid", "%s of the key binding is missing or not one text", claim)
		}
	}
	if _, ok := t.claims["iat"].(json.Number); !ok {
		return nil, plugins.Reject("format_invalid", "iat of the key binding is missing or not a number")
	}
	return t, nil
}

// binding is the holder's answer, if there is one.
func (v *verification) binding() *token {
	if v.chosen == nil {
		return nil
	}
	return v.chosen.binding
}

// answered is whom a token answers: its key binding says so or, without one, the token itself.
func (v *verification) answered() (audience []string, nonce string) {
	claims := v.doc
	if b := v.binding(); b != nil {
		claims = b.claims
	}
	return stringsOf(claims["aud"]), textOf(claims["nonce"])
}

// checkBinding judges a key binding, if there is one: it is about exactly this, and of the key that the issuer named.
func (v *verification) checkBinding() {
	if own, listed := v.found[CheckHolderBinding]; v.binding() == nil || listed && own.Failed() {
		return
	}
	holder, why := v.holderKey()
	if why == nil {
		why = v.bindingFault(holder)
	}
	if why == nil {
		v.holder = holder.owner()
	}
	v.found.judge(CheckHolderBinding, why, nil)
}

func (v *verification) bindingFault(holder *evidence) *fault {
	if holder.token.claims["sd_hash"] != v.chosen.digest(v.chosen.presented) {
		return statusFault("holderBinding_mismatch", problemSecurity, "the key binding is about something else")
	}
	if why := verifyToken(holder); why != nil {
		return statusFault("holderBinding_invalid", problemSecurity, "key binding: %s", why.reason)
	}
	today := &verification{config: v.config, claimed: v.config.Now} // no anchor and no policy excuses a key that is used now
	if why := today.entitled(holder, "authentication", v.config.Now); why != nil {
		return why
	}
	return today.active(holder, map[string]any{})
}

// holderKey finds the key that the issuer confirms as the holder's (RFC 7800): the key itself, or the URL of a method.
func (v *verification) holderKey() (*evidence, *fault) {
	confirmed, _ := v.doc["cnf"].(did.Object)
	e := &evidence{token: v.binding(), purpose: "authentication"}
	jwk, whole := confirmed["jwk"].(did.Object)
	if e.method = textOf(confirmed["kid"]); !whole && e.method == "" {
		return nil, statusFault("holderBinding_invalid", "", "cnf names no key that could be bound")
	}
	if !whole {
		v.resolve(e, "authentication", v.config.Now)
	} else if e.key.Key, e.err = did.ParseJWK(jwk); e.err == nil {
		e.key.Controller, e.method, e.able = "did:key:"+e.key.Key.Multikey(), "", true
	}
	if e.err != nil {
		return nil, statusFault("holderBinding_invalid", "", "the key that cnf names is of no use: %s", reasonOf(e.err))
	}
	return e, nil
}

// stale refuses a key binding that was made too long ago or ahead of our clock: its nonce may have been used up elsewhere.
func (v *verification) stale() *fault {
	b := v.binding()
	if b == nil {
		return nil
	}
	at := b.time("iat")
	if at.Before(v.config.Now.Add(-MaxKeyBindingAge)) || at.After(v.config.Now.Add(MaxAhead)) {
		return statusFault("nonce_invalid", problemChallenge, "the key was bound at %s", formatTime(at))
	}
	return nil
}

// keyBound judges an SD-JWT of a credential with a key binding, which is a presentation of that credential alone. The
// report is that of a presentation, whose Document is one that holds the credential.
func (v *verification) keyBound(text []byte) Report {
	inner := v.credential(text)
	if v.binding() != nil {
		v.checkAudience()
		v.checkNonce()
	} else if v.found.ok(CheckFormat) {
		v.found.fail(CheckHolderBinding, statusFault("holderBinding_invalid", "", "there is no key binding"))
	}
	v.doc = did.Object{
		"@context": []any{ContextV2}, "type": []any{typePresentation}, "verifiableCredential": []any{Envelop(TypeCredentialSDJWT, string(text))},
	}
	return v.presented(v.found.report(), v.holder, []Report{inner})
}

// credentialText is the SD-JWT of a credential, if that is what was handed in as a presentation.
func credentialText(raw []byte) ([]byte, bool) {
	text := unquoted(bytes.TrimSpace(raw))
	compact, _, found := bytes.Cut(text, []byte("~"))
	if !found || len(text) > MaxCredentialBytes {
		return nil, false
	}
	t, err := readToken(compact)
	return text, err == nil && t.header["typ"] == TypeCredentialSDJWT
}
