package identity

import (
	"crypto/ed25519"
	"crypto/rand"
	"testing"

	"weft/plugins/identity/did"
	"weft/plugins/identity/vc"
)

// signText signs any text as the holder does.
func (k keyHolder) signText(input []byte) ([]byte, error) { return ed25519.Sign(k.key, input), nil }

// jwk is the holder's public key.
func (k keyHolder) jwk(t *testing.T) did.Object {
	t.Helper()
	jwk, err := did.Ed25519Key(k.key.Public().(ed25519.PublicKey)).JWK()
	if err != nil {
		t.Fatal(err)
	}
	return jwk
}

// TestSDJWT: a node verifies what a holder chose to show, as text and in an envelope, and a key binding to its challenge.
func TestSDJWT(t *testing.T) {
	w := start(t, networkOptions{})
	issuer, holder := w.create(0, "issuer"), holderOf("holder")
	doc := unsigned(issuer.did.String(), holder.did(), did.Object{"ageOver": 18, "name": "Ada"})
	doc["cnf"] = did.Object{"jwk": holder.jwk(t)}
	choice := vc.Selective{Pointers: []string{"/credentialSubject/name"}, Salts: rand.Reader}
	whole, err := vc.SignSDJWT(vc.TypeCredentialSDJWT, issuer.method(), doc, choice, signerOf(issuer), "EdDSA")
	if err != nil {
		t.Fatal(err)
	}
	shown, err := vc.Withhold(whole, "/credentialSubject/name")
	if err != nil {
		t.Fatal(err)
	}
	w.verify(0, whole, nil).passes(t, "whole")
	w.verify(0, shown, nil).passes(t, "without the name")
	w.verify(0, vc.Envelop(vc.TypeCredentialSDJWT, shown), nil).passes(t, "in an envelope")
	w.verify(0, whole[:len(whole)-3]+"~", nil).fails(t, "a disclosure cut short", "format", "format_invalid")

	const domain = "https://shop.example"
	challenge := w.challengeOf(0)
	bound, err := vc.BindKey(shown, vc.Binding{Audience: domain, Nonce: challenge, At: w.clock.Now()}, holder.signText, "EdDSA")
	if err != nil {
		t.Fatal(err)
	}
	options := did.Object{"challenge": challenge, "domain": domain}
	w.verifyPresentation(0, shown, options).fails(t, "not bound", "holderBinding", "holderBinding_invalid")
	w.verifyPresentation(0, bound, options).passes(t, "bound")
	w.verifyPresentation(0, bound, options).fails(t, "replayed", "nonce", "nonce_mismatch")
}

// A presentation in an envelope is of whoever signed what is inside, not of whom a proof beside it names.
func TestLoginByEnvelope(t *testing.T) {
	w := start(t, networkOptions{})
	victim, thief := w.create(0, "victim"), holderOf("thief")
	c := w.challenge(0, victim.did.String(), "")
	claims := did.Object{"@context": []any{vc.ContextV2}, "type": []any{"VerifiablePresentation"}, "nonce": c.Nonce, "aud": c.Audience}
	compact, err := vc.SignJWT(vc.TypePresentationJWT, thief.method(), claims, thief.signText, "EdDSA")
	if err != nil {
		t.Fatal(err)
	}
	envelope := vc.Envelop(vc.TypePresentationJWT, compact)
	envelope["proof"] = did.Object{"verificationMethod": victim.method(), "domain": c.Audience}
	w.call(0, "POST", "/api/v1/auth/tokens", did.Object{"challengeId": c.ChallengeID, "presentation": envelope}).want(401)

	own := w.challenge(0, victim.did.String(), "")
	vp := seal(t, claimsOfPresentation(victim.did.String()), vc.ProofOptions{
		VerificationMethod: victim.method(), Purpose: "authentication", Challenge: own.Nonce, Domain: []string{own.Audience}, Created: w.clock.Now(),
	}, victim.key)
	w.call(0, "POST", "/api/v1/auth/tokens", did.Object{"challengeId": own.ChallengeID, "presentation": vp}).want(200)
}

func claimsOfPresentation(holder string) did.Object {
	return did.Object{"@context": []any{vc.ContextV2}, "type": []any{"VerifiablePresentation"}, "holder": holder}
}
