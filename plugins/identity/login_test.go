package identity

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"weft/plugins/identity/did"
	"weft/plugins/identity/vc"
)

// challenge asks node i for a login challenge.
func (w *network) challenge(i int, who, audience string) (c loginChallenge) {
	w.t.Helper()
	w.call(i, "POST", "/api/v1/auth/challenges", map[string]string{"did": who, "audience": audience}).into(200, &c)
	return c
}

// answerTo signs a challenge as a person does.
func (p person) answerTo(t *testing.T, c loginChallenge, at time.Time) string {
	t.Helper()
	claims := did.Object{"iss": p.did.String(), "aud": c.Audience, "nonce": c.Nonce, "iat": at.Unix()}
	jws, err := vc.SignJWS(typeLogin, p.method(), claims, signerOf(p))
	if err != nil {
		t.Fatal(err)
	}
	return jws
}

func signerOf(p person) func([]byte) ([]byte, error) {
	return func(b []byte) ([]byte, error) { return p.key.Sign(nil, b, noHash{}) }
}

func (w *network) login(i int, p person) string {
	w.t.Helper()
	c := w.challenge(i, p.did.String(), "")
	var a tokenAnswer
	w.call(i, "POST", "/api/v1/auth/tokens", map[string]string{"challengeId": c.ChallengeID, "jws": p.answerTo(w.t, c, w.clock.Now())}).into(200, &a)
	if a.TokenType != "Bearer" || a.ExpiresIn != 900 {
		w.t.Errorf("token %+v", a)
	}
	return a.AccessToken
}

func TestLogin(t *testing.T) {
	w := start(t, networkOptions{})
	sarah, tom := w.create(0, "sarah"), w.create(0, "tom")
	bearer := func(token string) []string { return []string{"Authorization", "Bearer " + token} }
	token := w.login(0, sarah)
	w.call(0, "POST", "/api/v1/auth/introspect", map[string]string{"token": token}).want(401)
	var in introspection
	w.call(0, "POST", "/api/v1/auth/introspect", map[string]string{"token": token}, bearer(token)...).into(200, &in)
	if !in.Active || in.Subject != sarah.did.String() {
		t.Errorf("introspection %+v", in)
	}

	// A thousand challenges for somebody's DID disturb nobody.
	open := w.challenge(0, sarah.did.String(), "")
	for range 1000 {
		w.challenge(0, sarah.did.String(), "")
	}
	answer := func(c loginChallenge, jws string) reply {
		return w.call(0, "POST", "/api/v1/auth/tokens", map[string]string{"challengeId": c.ChallengeID, "jws": jws})
	}
	answer(open, sarah.answerTo(t, open, w.clock.Now())).want(200)
	answer(open, sarah.answerTo(t, open, w.clock.Now())).refused(401, "challenge_used")

	for name, forge := range map[string]func(c loginChallenge) string{
		"another's key": func(c loginChallenge) string {
			jws, _ := vc.SignJWS(typeLogin, sarah.method(), did.Object{"iss": sarah.did.String(), "aud": c.Audience, "nonce": c.Nonce, "iat": w.clock.Now().Unix()}, signerOf(tom))
			return jws
		},
		"an old signature": func(c loginChallenge) string { return sarah.answerTo(t, c, w.clock.Now().Add(-time.Hour)) },
		"another nonce": func(c loginChallenge) string {
			c.Nonce += "x"
			return sarah.answerTo(t, c, w.clock.Now())
		},
		"another typ": func(c loginChallenge) string {
			jws, _ := vc.SignJWS("JWT", sarah.method(), did.Object{"iss": sarah.did.String(), "aud": c.Audience, "nonce": c.Nonce, "iat": w.clock.Now().Unix()}, signerOf(sarah))
			return jws
		},
		"alg none":  func(c loginChallenge) string { return "eyJhbGciOiJub25lIiwidHlwIjoid2VmdC1sb2dpbitqd3QifQ.e30." },
		"alg HS256": func(c loginChallenge) string { return "eyJhbGciOiJIUzI1NiIsInR5cCI6IndlZnQtbG9naW4rand0In0.e30.AAAA" },
	} {
		c := w.challenge(0, sarah.did.String(), "")
		if r := answer(c, forge(c)); r.status != 401 {
			t.Errorf("%s: HTTP %d %s", name, r.status, r.body)
		}
	}
	c := w.challenge(0, sarah.did.String(), "https://shop.example")
	jws := sarah.answerTo(t, c, w.clock.Now())
	var elsewhere tokenAnswer
	answer(c, jws).into(200, &elsewhere)
	w.call(0, "POST", "/api/v1/auth/introspect", map[string]string{"token": token}, bearer(elsewhere.AccessToken)...).refused(401, "bad_token")
	c.Audience = "https://other.example"
	answer(w.challenge(0, sarah.did.String(), "https://shop.example"), sarah.answerTo(t, c, w.clock.Now())).want(401)

	late := w.challenge(0, sarah.did.String(), "")
	w.clock.Forward(challengeLife + time.Second)
	answer(late, sarah.answerTo(t, late, w.clock.Now())).refused(401, "challenge_expired")
	w.call(0, "DELETE", "/api/v1/auth/tokens/current", nil, bearer(token)...).want(204)
	w.call(0, "POST", "/api/v1/auth/introspect", map[string]string{"token": token}, bearer(token)...).refused(401, "bad_token")
	token = w.login(0, sarah)
	w.clock.Forward(16 * time.Minute)
	w.call(0, "POST", "/api/v1/auth/introspect", map[string]string{"token": token}, bearer(token)...).refused(401, "bad_token")
}

// TestTokenEndsWithItsKey takes the key that logged in out of its document.
func TestTokenEndsWithItsKey(t *testing.T) {
	w := start(t, networkOptions{})
	sarah := w.create(0, "sarah")
	token := w.login(0, sarah)
	ask := func() reply {
		return w.call(0, "POST", "/api/v1/auth/introspect", map[string]string{"token": token}, "Authorization", "Bearer "+token)
	}
	ask().want(200)
	next := content(sarah.update, keyOf("sarah's new key"))
	w.update(0, sarah, next).want(200)
	ask().refused(401, "bad_token")
	c := w.challenge(0, sarah.did.String(), "") // nor does it log in any more
	w.call(0, "POST", "/api/v1/auth/tokens", map[string]string{"challengeId": c.ChallengeID, "jws": sarah.answerTo(t, c, w.clock.Now())}).refused(401, "bad_token")
	var set struct{ Keys []json.RawMessage }
	r := w.call(0, "GET", "/.well-known/jwks.json", nil).into(200, &set)
	if len(set.Keys) != 1 || strings.Contains(string(r.body), `"d"`) {
		t.Errorf("keys %s", r.body)
	}
}

// A key that its document's DID names as stolen is out, whoever the document says controls it.
func TestTokenEndsWithAStolenKey(t *testing.T) {
	w := start(t, networkOptions{})
	sarah, tom := w.create(0, "sarah"), w.create(0, "tom")
	c := content(tom.update, tom.key)
	c.Document["verificationMethod"].([]any)[0].(did.Object)["controller"] = sarah.did.String()
	w.update(0, tom, c).want(200)
	token := w.login(0, tom)
	ask := func() reply {
		return w.call(0, "POST", "/api/v1/auth/introspect", map[string]string{"token": token}, bearer(token)...)
	}
	ask().want(200)
	c.Params.Compromised = []string{multikeyOf(tom.key)}
	w.update(0, tom, c).want(200)
	ask().refused(401, "bad_token")
}
