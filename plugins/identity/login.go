package identity

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/identity/trust"
	"weft/plugins/identity/vc"
	"weft/plugins/rest"
	"weft/tangle"
)

// typeLogin is the typ of the signed answer to a challenge.
const typeLogin = "weft-login+jwt"

// MaxAudience bounds an audience in bytes.
const MaxAudience = 256

// self is how this node names itself as the issuer of tokens, and as their audience unless another is asked for.
func (x *identity) self() string {
	if x.settings.PublicURL != "" {
		return strings.TrimRight(x.settings.PublicURL, "/")
	}
	return "urn:weft:node:" + x.host.Self.String()
}

// loginChallenge is the answer of POST /api/v1/auth/challenges. The nonce is the challenge itself: it says everything.
type loginChallenge struct {
	ChallengeID string `json:"challengeId"`
	Nonce       string `json:"nonce"`
	Audience    string `json:"audience"`
	ExpiresAt   string `json:"expiresAt"`
}

func (x *identity) makeLoginChallenge(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		DID      string `json:"did"`
		Audience string `json:"audience"`
	}
	if err := rest.Read(r, &body); err != nil {
		return err
	}
	if body.Audience == "" {
		body.Audience = x.self()
	}
	if u, err := did.ParseURL(body.DID); err != nil || u.DID != body.DID || len(body.DID) > did.MaxURL/4 {
		return plugins.Reject("bad_value", "did: want a DID")
	}
	if len(body.Audience) > MaxAudience {
		return plugins.Reject("bad_value", "audience: at most %d bytes", MaxAudience)
	}
	text, ends := x.challenges.make(loginPurpose(body.DID, body.Audience), x.now())
	rest.NoStore(w)
	return rest.Answer(w, http.StatusOK, loginChallenge{text, text, body.Audience, ends.UTC().Format(time.RFC3339)})
}

func loginPurpose(who, audience string) string { return "login\x00" + who + "\x00" + audience }

// tokenAnswer is the answer of POST /api/v1/auth/tokens.
type tokenAnswer struct {
	AccessToken string   `json:"accessToken"`
	TokenType   string   `json:"tokenType"`
	ExpiresIn   int      `json:"expiresIn"`
	Roles       []string `json:"roles"`
}

// makeToken is POST /api/v1/auth/tokens: an answered challenge becomes a token. The challenge is used up before anything
// is answered, whatever the answer is.
func (x *identity) makeToken(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		ChallengeID  string          `json:"challengeId"`
		JWS          string          `json:"jws"`
		Presentation json.RawMessage `json:"presentation"`
	}
	if err := rest.Read(r, &body); err != nil {
		return err
	}
	var s session
	var err error
	switch {
	case (body.JWS == "") == (body.Presentation == nil):
		return plugins.Reject("bad_value", "want either a jws or a presentation")
	case body.JWS != "":
		s, err = x.loginBySignature(body.ChallengeID, body.JWS)
	default:
		s, err = x.loginByPresentation(r.Context(), body.ChallengeID, body.Presentation)
	}
	if err != nil {
		return err
	}
	compact, s, err := x.tokens.issue(x.self(), s)
	if err != nil {
		return err
	}
	rest.NoStore(w)
	return rest.Answer(w, http.StatusOK, tokenAnswer{compact, "Bearer", int(s.expires.Sub(s.issued).Seconds()), s.roles})
}

// loginBySignature judges a JWS over the challenge. Which algorithm counts is the key's to say, which the DID document names.
func (x *identity) loginBySignature(challenge, compact string) (s session, err error) {
	j, err := vc.ParseJWS(compact, typeLogin)
	if err != nil {
		return s, plugins.Reject("bad_token", "jws: %s", detailOf(err))
	}
	who, audience, kid := j.Claim("iss"), j.Claim("aud"), j.Header("kid")
	if err := x.challenges.consume(challenge, loginPurpose(who, audience), x.now()); err != nil {
		return s, err
	}
	if j.Claim("nonce") != challenge {
		return s, plugins.Reject("bad_token", "nonce is not that of the challenge")
	}
	if u, err := did.ParseURL(kid); err != nil || u.DID != who {
		return s, plugins.Reject("bad_token", "kid is not a verification method of iss")
	}
	now := x.now()
	if iat := time.UnixMilli(j.Time("iat")); iat.Before(now.Add(-challengeLife)) || iat.After(now.Add(vc.MaxAhead)) {
		return s, plugins.Reject("bad_token", "iat is not now")
	}
	m, err := did.Lookup(x.host.View(), kid, did.Authentication, 0)
	if err != nil {
		return s, plugins.Reject("bad_token", "kid: %s", detailOf(err))
	}
	if err := j.Verify(m.Key); err != nil {
		return s, plugins.Reject("bad_token", "the signature is not that of kid")
	}
	if err := x.stillEntitled(kid, m.Key.Multikey()); err != nil {
		return s, plugins.Reject("bad_token", "%s", detailOf(err))
	}
	return session{subject: who, audience: audience, method: kid, key: m.Key.Multikey(), roles: x.rolesOf(who, nil)}, nil
}

// loginByPresentation judges a presentation whose challenge is the nonce and whose domain is the audience; its credentials
// can bring roles.
func (x *identity) loginByPresentation(ctx context.Context, challenge string, raw []byte) (s session, err error) {
	doc, err := did.DecodeObject(raw, did.JSONLimits{MaxBytes: rest.MaxVerifyBody})
	if err != nil {
		return s, err
	}
	who, method, domain := presenterOf(doc)
	if err := x.challenges.consume(challenge, loginPurpose(who, domain), x.now()); err != nil {
		return s, err
	}
	report := vc.VerifyPresentation(x.verifier(ctx), raw, vc.Options{Challenge: challenge, Domain: []string{domain}})
	if !report.Verified {
		return s, &plugins.Problem{
			Rejection: plugins.Rejection{Code: "bad_token", Detail: "the presentation was refused"}, More: map[string]any{"checks": report.Checks},
		}
	}
	if signer, _ := report.Check(vc.CheckIssuer); signer.Facts["verificationMethod"] != method {
		return s, plugins.Reject("bad_token", "the presentation was not signed with %s", method) // what is signed can be in an envelope
	}
	m, err := did.Lookup(x.host.View(), method, did.Authentication, 0)
	if err == nil {
		err = x.stillEntitled(method, m.Key.Multikey())
	}
	if err != nil {
		return s, plugins.Reject("bad_token", "%s", detailOf(err))
	}
	return session{subject: who, audience: domain, method: method, key: m.Key.Multikey(), roles: x.rolesOf(who, report.Credentials)}, nil
}

// presenterOf reads who presents, with which method and to whom, before any of it is verified.
func presenterOf(doc did.Object) (who, method, domain string) {
	proof, _ := doc["proof"].(map[string]any)
	method, _ = proof["verificationMethod"].(string)
	domain, _ = proof["domain"].(string)
	who, _, _ = strings.Cut(method, "#")
	return who, method, domain
}

// rolesOf applies the rules of node.json: to the DID itself, and to what verified credentials about it say and a federation
// stands behind.
func (x *identity) rolesOf(who string, credentials []vc.Report) []string {
	list := []string{}
	for _, rule := range x.settings.Roles {
		holds := rule.DID == who
		for _, c := range credentials {
			holds = holds || (rule.DID == "" && x.attests(rule, who, c))
		}
		if holds && !slices.Contains(list, rule.Role) {
			list = append(list, rule.Role)
		}
	}
	return list
}

// attests says whether a verified credential gives a role: it is about the caller, it says the rule's value where the rule's
// property is, and the federation lets its issuer say so.
func (x *identity) attests(rule RoleRule, who string, c vc.Report) bool {
	if c.Document == nil || c.Credential == nil {
		return false
	}
	subject, _ := c.Document["credentialSubject"].(map[string]any)
	if subject["id"] != who {
		return false
	}
	var value any = map[string]any(subject)
	for _, segment := range strings.Split(rule.Property, ".") {
		o, _ := value.(map[string]any)
		value = o[segment]
	}
	want, err := did.DecodeJSON(rule.Value, did.JSONLimits{})
	if err != nil || value == nil || !reflect.DeepEqual(value, want) {
		return false
	}
	now := tangle.TimeOf(x.now())
	a, err := trust.Evaluate(x.host.View(), trust.Question{
		Federation: rule.Federation, Attester: c.Credential.Issuer, Property: rule.Property, Value: value, At: now, AsOf: now, Now: now,
	})
	return err == nil && a.Trusted
}

// scopesOf is what roles open at this node's API.
func scopesOf(roles []string) []string {
	scopes := []string{plugins.ScopeIdentitiesRead, plugins.ScopeChannelsRead} // what one may read of a channel is on the ledger
	add := func(more ...string) {
		for _, s := range more {
			if !slices.Contains(scopes, s) {
				scopes = append(scopes, s)
			}
		}
	}
	for _, role := range roles {
		switch role {
		case "operator", "orgAdmin":
			add(plugins.Scopes()...)
		case "issuer":
			add(plugins.ScopeCredentialsIssue, plugins.ScopeLedgerRead, plugins.ScopeLedgerSubmit)
		case "member":
			add(plugins.ScopeLedgerRead, plugins.ScopeLedgerSubmit)
		case "auditor":
			add(plugins.ScopeLedgerRead)
		}
	}
	return scopes
}

// authenticate says who presents a token, at every route of the node. The method that logged in is judged anew each time,
// so that a key that was taken out of its document is out at once.
func (x *identity) authenticate(_ context.Context, compact string) (plugins.Caller, error) {
	s, err := x.tokens.open(compact)
	if err != nil {
		return plugins.Caller{}, err
	}
	if s.audience != x.self() {
		return plugins.Caller{}, plugins.Reject("bad_token", "the token is for another audience")
	}
	if err := x.stillEntitled(s.method, s.key); err != nil {
		return plugins.Caller{}, plugins.Reject("bad_token", "%s", detailOf(err))
	}
	return plugins.Caller{ID: s.subject, DID: s.subject, Proved: true, Roles: s.roles, Scopes: scopesOf(s.roles), Expires: s.expires}, nil
}

// giveBack is DELETE /api/v1/auth/tokens/current.
func (x *identity) giveBack(w http.ResponseWriter, r *http.Request) error {
	compact, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !bearer {
		return plugins.Reject("unauthenticated", "this route gives the token back with which it is called")
	}
	s, err := x.tokens.open(compact)
	if err != nil {
		return err
	}
	if err := x.tokens.revoke(s); err != nil {
		return err
	}
	return rest.None(w)
}

// introspection is what a third service learns of a token (after RFC 7662).
type introspection struct {
	Active   bool     `json:"active"`
	Issuer   string   `json:"iss,omitempty"`
	Subject  string   `json:"sub,omitempty"`
	Audience string   `json:"aud,omitempty"`
	IssuedAt int64    `json:"iat,omitempty"`
	Expires  int64    `json:"exp,omitempty"`
	ID       string   `json:"jti,omitempty"`
	Roles    []string `json:"roles,omitempty"`
}

// introspect is POST /api/v1/auth/introspect.
func (x *identity) introspect(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Token string `json:"token"`
	}
	if err := rest.Read(r, &body); err != nil {
		return err
	}
	rest.NoStore(w)
	s, err := x.tokens.open(body.Token)
	if err != nil || x.stillEntitled(s.method, s.key) != nil {
		return rest.Answer(w, http.StatusOK, introspection{})
	}
	return rest.Answer(w, http.StatusOK, introspection{
		true, x.self(), s.subject, s.audience, s.issued.Unix(), s.expires.Unix(), s.id, s.roles,
	})
}

// jwks is GET /.well-known/jwks.json.
func (x *identity) jwks(w http.ResponseWriter, _ *http.Request) error {
	set, err := x.tokens.jwks()
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "public, max-age=300")
	return rest.Answer(w, http.StatusOK, set)
}

// detailOf is what an error tells people.
func detailOf(err error) string {
	if r := plugins.Rejected(err); r != nil && r.Detail != "" {
		return r.Detail
	}
	return err.Error()
}
