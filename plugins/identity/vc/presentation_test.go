package vc

import (
	"slices"
	"testing"
	"time"

	"weft/plugins"
	"weft/plugins/identity/did"
)

// scene is a holder with a good credential of an issuer.
type scene struct {
	*world
	config         Config
	issuer, holder party
	credential     did.Object
	options        Options
}

func newScene(t *testing.T) *scene {
	t.Helper()
	w := newWorld()
	s := &scene{world: w, config: w.config(), issuer: newParty(1), holder: newParty(2), options: Options{Challenge: "c-1", Domain: []string{"gate.example"}}}
	s.credential = signed(t, s.config, credentialOf(s.issuer.did, s.holder.did), s.issuer, proofBy(s.issuer))
	return s
}

func (s *scene) present(t *testing.T, o ProofOptions, credentials ...did.Object) did.Object {
	t.Helper()
	return signed(t, s.config, presentationOf(s.holder.did, credentials...), s.holder, o)
}

func (s *scene) verify(t *testing.T, vp did.Object) Report {
	t.Helper()
	return VerifyPresentation(s.config, text(t, vp), s.options)
}

func TestPresentation(t *testing.T) {
	s := newScene(t)
	r := s.verify(t, s.present(t, presentedBy(s.holder), s.credential, s.credential))
	passes(t, r)
	if len(r.Credentials) != 2 || r.Presentation.Presenter != s.holder.did || r.Credential != nil {
		t.Errorf("got %s", reportText(r))
	}
	for _, name := range []string{CheckFormat, CheckSignature, CheckIssuer, CheckValidity, CheckHolderBinding, CheckAudience, CheckNonce} {
		if c, listed := r.Check(name); !listed || !c.OK {
			t.Errorf("%s is not listed as passed", name)
		}
	}
	passes(t, s.verify(t, s.present(t, presentedBy(s.holder))))
}

func TestPresentationInRDF(t *testing.T) {
	s := newScene(t)
	s.config.Contexts = contexts(t)
	o := proofBy(s.issuer)
	o.Cryptosuite = SuiteRDFC
	credential := signed(t, s.config, credentialOf(s.issuer.did, s.holder.did), s.issuer, o)
	p := presentedBy(s.holder)
	p.Cryptosuite = SuiteRDFC
	vp := s.present(t, p, credential)
	passes(t, s.verify(t, vp))
	tampered := clone(t, vp)
	tampered["verifiableCredential"].([]any)[0].(did.Object)["name"] = "x"
	r := s.verify(t, tampered)
	if got := r.Failures(); !slices.Equal(got, []string{CheckSignature}) {
		t.Errorf("tampered inside: got %v", got)
	}
}

// Each fault fails exactly its own check, in the presentation's own list.
func TestPresentationFaults(t *testing.T) {
	s := newScene(t)
	thief := newParty(6)
	other := signed(t, s.config, credentialOf(s.issuer.did, newParty(5).did), s.issuer, proofBy(s.issuer))
	expired := signed(t, s.config, with(credentialOf(s.issuer.did, s.holder.did), did.Object{"validUntil": "2026-02-01T00:00:00Z"}), s.issuer, proofBy(s.issuer))
	forged := signed(t, s.config, credentialOf(s.issuer.did, s.holder.did), thief, proofBy(thief))
	changed := with(s.credential, did.Object{"credentialSubject": did.Object{"id": s.holder.did, "over": 21}})
	unsigned := credentialOf(s.issuer.did, s.holder.did)
	broken := with(s.credential, did.Object{"type": []any{"AgeOver"}})
	wrong := func(change func(*ProofOptions)) ProofOptions {
		o := presentedBy(s.holder)
		change(&o)
		return o
	}
	stolen := signed(t, s.config, presentationOf(thief.did, s.credential), thief, presentedBy(thief))
	borrowed := signed(t, s.config, presentationOf(s.holder.did), thief, presentedBy(thief))
	good := s.present(t, presentedBy(s.holder), s.credential)
	for _, test := range []struct {
		name        string
		vp          did.Object
		check, code string
		credential  any
	}{
		{"one is another's", s.present(t, presentedBy(s.holder), s.credential, other), CheckHolderBinding, "holderBinding_mismatch", 1},
		{"one is expired", s.present(t, presentedBy(s.holder), s.credential, expired, s.credential), CheckValidity, "expired", 1},
		{"one is forged", s.present(t, presentedBy(s.holder), forged, s.credential), CheckIssuer, "issuer_mismatch", 0},
		{"one is changed", s.present(t, presentedBy(s.holder), s.credential, changed), CheckSignature, "bad_signature", 1},
		{"one is unsigned", s.present(t, presentedBy(s.holder), s.credential, unsigned), CheckSignature, "bad_signature", 1},
		{"one is malformed", s.present(t, presentedBy(s.holder), s.credential, broken), CheckFormat, "format_invalid", 1},
		{"stolen", stolen, CheckHolderBinding, "holderBinding_mismatch", 0},
		{"for another holder", borrowed, CheckHolderBinding, "holderBinding_mismatch", nil},
		{"another challenge", s.present(t, wrong(func(o *ProofOptions) { o.Challenge = "c-0" }), s.credential), CheckNonce, "nonce_mismatch", nil},
		{"no challenge", s.present(t, wrong(func(o *ProofOptions) { o.Challenge = "" }), s.credential), CheckNonce, "nonce_mismatch", nil},
		{"another domain", s.present(t, wrong(func(o *ProofOptions) { o.Domain = []string{"evil.example"} }), s.credential), CheckAudience, "audience_mismatch", nil},
		{"one domain more", s.present(t, wrong(func(o *ProofOptions) { o.Domain = []string{"gate.example", "evil.example"} }), s.credential), CheckAudience, "audience_mismatch", nil},
		{"no domain", s.present(t, wrong(func(o *ProofOptions) { o.Domain = nil }), s.credential), CheckAudience, "audience_mismatch", nil},
		{"another purpose", s.present(t, wrong(func(o *ProofOptions) { o.Purpose = "assertionMethod" }), s.credential), CheckIssuer, "not_authorized", nil},
		{"signed ahead", s.present(t, wrong(func(o *ProofOptions) { o.Created = now().Add(time.Hour) }), s.credential), CheckIssuer, "not_authorized", nil},
		{"proof expired", s.present(t, wrong(func(o *ProofOptions) { o.Expires = now().Add(-time.Second) }), s.credential), CheckSignature, "proof_expired", nil},
		{"credential taken out", with(good, did.Object{"verifiableCredential": []any{}}), CheckSignature, "bad_signature", nil},
		{"credential as text", with(good, did.Object{"verifiableCredential": []any{"eyJ.eyJ.AA"}}), CheckFormat, "format_invalid", nil},
		{"unsigned", presentationOf(s.holder.did, s.credential), CheckSignature, "bad_signature", nil},
	} {
		r := s.verify(t, test.vp)
		only(t, r, test.check, test.code)
		if c, _ := r.Check(test.check); c.Facts["credential"] != test.credential {
			t.Errorf("credential: got %v, want %v", c.Facts["credential"], test.credential)
		}
		if t.Failed() {
			t.Fatal(test.name)
		}
	}
}

func TestPresentationPolicies(t *testing.T) {
	s := newScene(t)
	bearer := signed(t, s.config, with(credentialOf(s.issuer.did, ""), did.Object{"credentialSubject": did.Object{"over": 18}}), s.issuer, proofBy(s.issuer))
	vp := s.present(t, presentedBy(s.holder), bearer)
	only(t, s.verify(t, vp), CheckHolderBinding, "holderBinding_mismatch")
	s.options.Policy.Holder = HolderAny
	passes(t, s.verify(t, vp))
	s.options = Options{}
	only(t, s.verify(t, vp), CheckHolderBinding, "holderBinding_mismatch")
	passes(t, s.verify(t, s.present(t, presentedBy(s.holder), s.credential))) // nothing asked of challenge and domain
	s.options = Options{Domain: []string{"b.example", "a.example"}}
	two := presentedBy(s.holder)
	two.Domain = []string{"a.example", "b.example"}
	passes(t, s.verify(t, s.present(t, two, s.credential)))
}

// A challenge of ours is used up by one good answer, and not by a bad one.
func TestReplayedChallenge(t *testing.T) {
	s := newScene(t)
	used := map[string]bool{}
	s.config.Challenge = func(challenge string) error {
		if used[challenge] {
			return plugins.Reject("challenge_used", "the challenge was answered before")
		}
		used[challenge] = true
		return nil
	}
	vp := s.present(t, presentedBy(s.holder), s.credential)
	tampered := with(vp, did.Object{"id": "urn:x:1"})
	only(t, s.verify(t, tampered), CheckSignature, "bad_signature")
	passes(t, s.verify(t, vp))
	only(t, s.verify(t, vp), CheckNonce, "nonce_mismatch")
}

// The presenter must hold the key now: an old one does not become good by writing an old date.
func TestPresenterWithRotatedKey(t *testing.T) {
	s := newScene(t)
	key := s.holder.as("did:weft:t2iac44k:holder")
	s.add(key)
	credential := signed(t, s.config, credentialOf(s.issuer.did, key.did), s.issuer, proofBy(s.issuer))
	o := presentedBy(key)
	o.Created = now().Add(-time.Hour)
	vp := signed(t, s.config, presentationOf(key.did, credential), key, o)
	passes(t, s.verify(t, vp))
	s.deactivated[key.did] = now().Add(-time.Minute)
	s.options.Policy.DeactivatedIssuer = DeactivatedReport
	only(t, s.verify(t, vp), CheckIssuer, "not_authorized")
	delete(s.deactivated, key.did)
	s.ends[key.method] = now().Add(-time.Minute)
	only(t, s.verify(t, vp), CheckIssuer, "unresolvable")
}

func TestRevokedCredentialInPresentation(t *testing.T) {
	s := newScene(t)
	s.config.Status = func(StatusRef) (StatusAnswer, error) {
		return StatusAnswer{Source: "ledger", Issuer: s.issuer.did, Purposes: []string{"revocation"}, Entries: MinListEntries, Set: true}, nil
	}
	doc := with(credentialOf(s.issuer.did, s.holder.did), did.Object{"credentialStatus": StatusEntry(listURL, "revocation", 1)})
	r := s.verify(t, s.present(t, presentedBy(s.holder), s.credential, signed(t, s.config, doc, s.issuer, proofBy(s.issuer))))
	only(t, r, CheckStatus, "revoked")
	if len(r.Credentials) != 2 || !r.Credentials[0].Verified || r.Credentials[1].Verified {
		t.Errorf("reports inside: got %s", reportText(r))
	}
}

func TestPresentationToken(t *testing.T) {
	s := newScene(t)
	compact, err := SignJWT(TypeCredentialJWT, s.issuer.method, credentialOf(s.issuer.did, s.holder.did), s.issuer.sign, "EdDSA")
	if err != nil {
		t.Fatal(err)
	}
	claims := with(presentationOf(s.holder.did, Envelop(TypeCredentialJWT, compact), s.credential), did.Object{"nonce": "c-1", "aud": []any{"gate.example"}, "iss": s.holder.did})
	header := did.Object{"alg": "EdDSA", "typ": TypePresentationJWT, "kid": s.holder.method}
	for _, test := range []struct {
		name        string
		header      did.Object
		claims      did.Object
		check, code string
	}{
		{"as it is", nil, nil, "", ""},
		{"one audience", nil, did.Object{"aud": "gate.example"}, "", ""},
		{"several audiences", nil, did.Object{"aud": []any{"a.example", "gate.example"}}, "", ""},
		{"typ", did.Object{"typ": TypeCredentialJWT}, nil, CheckFormat, "format_invalid"},
		{"another audience", nil, did.Object{"aud": "evil.example"}, CheckAudience, "audience_mismatch"},
		{"another nonce", nil, did.Object{"nonce": "c-0"}, CheckNonce, "nonce_mismatch"},
		{"another iss", nil, did.Object{"iss": s.issuer.did}, CheckIssuer, "issuer_mismatch"},
		{"expired", nil, did.Object{"exp": now().Unix() - 1}, CheckValidity, "expired"},
	} {
		raw := forge(t, s.holder, with(header, test.header), with(claims, test.claims))
		r := VerifyPresentation(s.config, raw, s.options)
		if test.check == "" {
			passes(t, r)
			passes(t, VerifyPresentation(s.config, text(t, Envelop(TypePresentationJWT, string(raw))), s.options))
		} else {
			only(t, r, test.check, test.code)
		}
		if t.Failed() {
			t.Fatal(test.name)
		}
	}
}
