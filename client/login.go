package client

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Challenge is what a node wants signed before it hands out a token.
type Challenge struct {
	ID        string    `json:"challengeId"`
	Nonce     string    `json:"nonce"`
	Audience  string    `json:"audience"`
	ExpiresAt time.Time `json:"expiresAt"`
}

// AccessToken opens the routes that need one, for at most 15 minutes. There is no refresh: log in again.
type AccessToken struct {
	Token     string   `json:"accessToken"`
	Type      string   `json:"tokenType"`
	ExpiresIn int      `json:"expiresIn"` // seconds
	Roles     []string `json:"roles,omitempty"`
}

// LoginKey signs for a DID. The private key stays behind Sign, Ed25519.
type LoginKey struct {
	DID    string
	Method string // absolute DID URL of a method in the document's authentication
	Sign   func(message []byte) ([]byte, error)
}

// LoginChallenge asks for a challenge. Without an audience the node names its own.
func (c *Client) LoginChallenge(ctx context.Context, id, audience string) (ch Challenge, err error) {
	body := map[string]any{"did": id}
	if audience != "" {
		body["audience"] = audience
	}
	err = c.post(ctx, route("auth", "challenges"), body, &ch)
	return ch, err
}

// Login proves that the caller holds a key of a DID. The audience is whom the token is for; empty means this node, which
// must then name itself by the URL it is reached at, or be on this machine: a signature for another node, which this one
// passes on, would let it in there.
func (c *Client) Login(ctx context.Context, key LoginKey, audience string, now time.Time) (AccessToken, error) {
	challenge, err := c.LoginChallenge(ctx, key.DID, audience)
	if err != nil {
		return AccessToken{}, err
	}
	if challenge.Audience != audience && (audience != "" || !c.isSelf(challenge.Audience)) {
		return AccessToken{}, fmt.Errorf("the node wants a signature for %q: if that is who it is, name it as the audience", challenge.Audience)
	}
	jws, err := key.answer(challenge, now)
	if err != nil {
		return AccessToken{}, err
	}
	return c.redeem(ctx, map[string]any{"challengeId": challenge.ID, "jws": jws})
}

// isSelf says whether an audience is the node that this client talks to.
func (c *Client) isSelf(audience string) bool {
	if audience == c.base {
		return true
	}
	u, err := url.Parse(c.base)
	if err != nil || !strings.HasPrefix(audience, "urn:weft:node:") {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

// LoginWithPresentation logs in with credentials, for roles that ask for some: the presentation's challenge is the
// challenge's nonce, its domain the audience.
func (c *Client) LoginWithPresentation(ctx context.Context, challenge Challenge, presentation json.RawMessage) (AccessToken, error) {
	return c.redeem(ctx, map[string]any{"challengeId": challenge.ID, "presentation": presentation})
}

// redeem is asked for once: a challenge is used up by the first answer.
func (c *Client) redeem(ctx context.Context, body map[string]any) (t AccessToken, err error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return t, err
	}
	path := route("auth", "tokens")
	a, err := c.do(ctx, call{method: http.MethodPost, path: path, body: raw, once: true})
	if err != nil {
		return t, err
	}
	return t, decode(path, a.body, &t)
}

// answer is a JWS over the challenge.
func (k LoginKey) answer(c Challenge, now time.Time) (string, error) {
	header, err := json.Marshal(map[string]any{"alg": "EdDSA", "typ": "weft-login+jwt", "kid": k.Method})
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(map[string]any{"iss": k.DID, "aud": c.Audience, "nonce": c.Nonce, "iat": now.Unix()})
	if err != nil {
		return "", err
	}
	text := base64.RawURLEncoding.EncodeToString(header) + "." + base64.RawURLEncoding.EncodeToString(payload)
	signature, err := k.Sign([]byte(text))
	if err != nil {
		return "", err
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// WithToken is a client of the same node with another token. It shares connections with this one.
func (c *Client) WithToken(token string) *Client {
	other := &Client{base: c.base, token: token, http: c.http, retry: c.retry, wait: c.wait}
	other.See(c.Seen())
	return other
}

// Logout ends the token of this client before its time.
func (c *Client) Logout(ctx context.Context) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: route("auth", "tokens", "current")})
	return err
}

// Introspection is what a node says of a token.
type Introspection struct {
	Active  bool     `json:"active"`
	Subject string   `json:"sub,omitempty"`
	Expires int64    `json:"exp,omitempty"`
	Roles   []string `json:"roles,omitempty"`
	Method  string   `json:"vm,omitempty"`
}

// Introspect asks whether a token is good, for services that trust the node.
func (c *Client) Introspect(ctx context.Context, token string) (i Introspection, err error) {
	err = c.post(ctx, route("auth", "introspect"), map[string]any{"token": token}, &i)
	return i, err
}

// TokenKeys reads the public keys that the node signs tokens with (JWKS).
func (c *Client) TokenKeys(ctx context.Context) (json.RawMessage, error) {
	return c.raw(ctx, "/.well-known/jwks.json", "application/json")
}
