package identity

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"sync"
	"time"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/identity/vc"
	"weft/tangle"
)

// The lives of tokens and of the key that signs them. The key before the current one outlives every token it signed.
const (
	tokenLife    = 15 * time.Minute
	tokenKeyLife = 24 * time.Hour
	tokenType    = "at+jwt"
)

// tokens makes and judges this node's bearer tokens. It is safe for concurrent use.
type tokens struct {
	records *records
	now     func() time.Time

	mu   sync.Mutex // guards keys
	keys []tokenKey // the current one first, then the one before
}

// tokenKey is a key of this node's own for tokens, and for nothing else.
type tokenKey struct {
	ID   string    `json:"id"`
	Seed []byte    `json:"seed"`
	Made time.Time `json:"made"`
}

func (k tokenKey) private() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(k.Seed) }
func (k tokenKey) public() did.PublicKey {
	return did.Ed25519Key(k.private().Public().(ed25519.PublicKey))
}

const tokenKeysID = "tokens"

func openTokens(r *records, now func() time.Time) (*tokens, error) {
	t := &tokens{records: r, now: now}
	if _, _, err := r.get(sortSecret, tokenKeysID, &t.keys); err != nil {
		return nil, err
	}
	return t, nil
}

// current is the key to sign with. A new one is durable before it signs anything.
func (t *tokens) current() (tokenKey, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	if len(t.keys) > 0 && now.Sub(t.keys[0].Made).Abs() < tokenKeyLife {
		return t.keys[0], nil
	}
	k := tokenKey{Seed: make([]byte, ed25519.SeedSize), Made: now}
	rand.Read(k.Seed) // never fails
	k.ID = hex.EncodeToString(k.public().Bytes[:8])
	keys := append([]tokenKey{k}, t.keys...)
	keys = keys[:min(len(keys), 2)]
	if err := t.records.put(sortSecret, tokenKeysID, "", time.Time{}, keys); err != nil {
		return tokenKey{}, err
	}
	t.keys = keys
	return k, nil
}

func (t *tokens) find(id string) (tokenKey, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.IndexFunc(t.keys, func(k tokenKey) bool { return k.ID == id })
	if i < 0 {
		return tokenKey{}, false
	}
	return t.keys[i], true
}

// session is what a token says.
type session struct {
	subject  string // DID
	audience string
	method   string // verification method that logged in
	key      string // its multikey then: the method can get another one
	roles    []string
	id       string // jti
	issued   time.Time
	expires  time.Time
}

// issue makes a token for a session; its id and times are set here.
func (t *tokens) issue(issuer string, s session) (string, session, error) {
	key, err := t.current()
	if err != nil {
		return "", s, err
	}
	random := make([]byte, 16)
	rand.Read(random)
	s.id = base64.RawURLEncoding.EncodeToString(random)
	s.issued = t.now().Truncate(time.Second)
	s.expires = s.issued.Add(tokenLife)
	claims := did.Object{
		"iss": issuer, "sub": s.subject, "aud": s.audience, "iat": s.issued.Unix(), "exp": s.expires.Unix(), "jti": s.id, "vm": s.method, "vmKey": s.key,
		"roles": s.roles,
	}
	compact, err := vc.SignJWS(tokenType, key.ID, claims, func(b []byte) ([]byte, error) { return ed25519.Sign(key.private(), b), nil })
	return compact, s, err
}

// open judges a token of this node: signature, time, not given back.
func (t *tokens) open(compact string) (session, error) {
	bad := plugins.Reject("bad_token", "the token is not one of this node, or it is over")
	j, err := vc.ParseJWS(compact, tokenType)
	if err != nil {
		return session{}, bad
	}
	key, ok := t.find(j.Header("kid"))
	if !ok || j.Verify(key.public()) != nil {
		return session{}, bad
	}
	s := session{
		subject: j.Claim("sub"), audience: j.Claim("aud"), method: j.Claim("vm"), key: j.Claim("vmKey"), id: j.Claim("jti"),
		issued: time.UnixMilli(j.Time("iat")), expires: time.UnixMilli(j.Time("exp")),
	}
	list, _ := j.Claims()["roles"].([]any)
	for _, role := range list {
		if name, ok := role.(string); ok {
			s.roles = append(s.roles, name)
		}
	}
	now := t.now()
	if !now.Before(s.expires) || now.Before(s.issued.Add(-vc.MaxAhead)) || t.isRevoked(s.id) {
		return session{}, bad
	}
	return s, nil
}

func (t *tokens) isRevoked(id string) bool {
	var given bool
	_, found, err := t.records.get(sortUsed, "jti "+id, &given)
	return found || err != nil
}

// revoke gives a token back. It is durable when it returns.
func (t *tokens) revoke(s session) error {
	return t.records.put(sortUsed, "jti "+s.id, s.subject, s.expires, true)
}

// jwks is the set of public keys that verify tokens.
func (t *tokens) jwks() (did.Object, error) {
	if _, err := t.current(); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	keys := []any{}
	for _, k := range t.keys {
		jwk, err := k.public().JWK()
		if err != nil {
			return nil, err
		}
		jwk["kid"], jwk["alg"], jwk["use"] = k.ID, "EdDSA", "sig"
		keys = append(keys, jwk)
	}
	return did.Object{"keys": keys}, nil
}

// stillEntitled says whether the method that logged in may still do so: it is in authentication of its DID's current
// document with the same key, and neither over nor compromised.
func (x *identity) stillEntitled(method, key string) error {
	m, err := did.Lookup(x.host.View(), method, did.Authentication, 0)
	if err != nil {
		return err
	}
	if m.Key.Multikey() != key {
		return plugins.Reject("not_entitled", "%s has another key now", method)
	}
	now := tangle.TimeOf(x.now())
	if (m.Revoked != 0 && m.Revoked <= now) || (m.Expires != 0 && m.Expires <= now) {
		return plugins.Reject("not_entitled", "%s is not in use any more", method)
	}
	if d, err := did.Parse(didOf(method)); err == nil { // whose document it is in, whoever its controller is
		if _, named, err := did.FindCompromise(x.host.View(), d, m.Key.Multikey()); err != nil || named {
			return plugins.Reject("not_entitled", "%s is compromised", method)
		}
	}
	return nil
}
