package identity

import (
	"crypto/rand"
	"encoding/base64"
	"maps"
	"testing"
	"time"

	"weft/plugins/identity/did"
	"weft/plugins/identity/operation"
	"weft/plugins/identity/status"
	"weft/plugins/identity/trust"
	"weft/plugins/identity/vc"
	"weft/tangle"
)

// challengeOf makes a challenge of node i for a presentation.
func (w *network) challengeOf(i int) string {
	w.t.Helper()
	var c struct{ Challenge string }
	w.call(i, "POST", "/challenges", nil).into(200, &c)
	return c.Challenge
}

// federationOf founds a federation with one root that speaks of person.age_over, and lets an issuer attest 18.
func (w *network) federationOf(root person, issuer string) string {
	w.t.Helper()
	age := trust.Property{Path: "person.age_over", Values: []trust.Value{trust.Integer(16), trust.Integer(18), trust.Integer(21)}}
	body := trust.NewFederation(w.header(root.did.String()), trust.FederationTerms{
		Name: "ages", Roots: []string{root.did.String()}, Threshold: 1, MaxDepth: 2, Properties: []trust.Property{age},
	})
	id := w.send(0, "/api/v1/trust/federations", body, root.key).want(201).opHashOf()
	w.grantTo(root, id, issuer)
	return id
}

func (w *network) grantTo(root person, federation, issuer string) string {
	w.t.Helper()
	from := w.clock.Now().Add(-time.Minute).Truncate(time.Second)
	body := trust.NewGrant(w.header(root.did.String()), trust.GrantTerms{
		Federation: federation, Under: trust.Root, Subject: issuer, Kind: trust.Attest,
		Properties: []trust.Property{{Path: "person.age_over", Values: []trust.Value{trust.Integer(18)}}},
		ValidFrom:  instant(from), ValidUntil: instant(from.Add(24 * time.Hour)),
	})
	return w.send(0, "/api/v1/trust/federations/"+federation+"/accreditations", body, root.key).want(201).opHashOf()
}

// TestPresentations: each fault fails exactly its own check.
func TestPresentations(t *testing.T) {
	w := start(t, networkOptions{})
	root, issuer, unknown := w.create(0, "root"), w.create(0, "issuer"), w.create(0, "unaccredited")
	federation := w.federationOf(root, issuer.did.String())
	holder, thief := holderOf("holder"), holderOf("thief")
	list := w.newList(0, issuer.did.String(), issuer.key, status.Revocation)
	w.send(0, "/api/v1/status-lists/"+list+"/operations", status.NewSet(w.header(issuer.did.String()), list, []int{5}, nil), issuer.key).want(200)
	credential := func(p person, index uint64, more did.Object) did.Object {
		doc := entered(unsigned(p.did.String(), holder.did(), did.Object{"ageOver": 18}), list, "revocation", index)
		if p.did != issuer.did {
			delete(doc, "credentialStatus") // the list is another's
		}
		maps.Copy(doc, more)
		return w.issue(p, doc)
	}
	good := credential(issuer, 4, nil)
	expired := credential(issuer, 4, did.Object{"validUntil": w.clock.Now().Add(-time.Hour).UTC().Format(time.RFC3339)})
	early := credential(issuer, 4, did.Object{"validFrom": w.clock.Now().Add(time.Hour).UTC().Format(time.RFC3339)})
	tampered := credential(issuer, 4, nil)
	tampered["name"] = "another"
	stranger := unsigned("did:weft:aaaaaaaa:"+issuer.did.SCID(), holder.did(), did.Object{"ageOver": 18})
	stranger = seal(t, stranger, vc.ProofOptions{VerificationMethod: "did:weft:aaaaaaaa:" + issuer.did.SCID() + "#key-1", Created: w.clock.Now()}, issuer.key)
	mismatched := w.issue(issuer, unsigned(unknown.did.String(), holder.did(), did.Object{"ageOver": 18}))
	policy := did.Object{
		"federation": federation, "claims": []any{did.Object{"pointer": "/credentialSubject/ageOver", "property": "person.age_over"}},
	}
	const domain = "https://shop.example"
	ask := func(by keyHolder, domainSaid, challengeSaid string, credentials ...any) testReport {
		challenge := w.challengeOf(0)
		if challengeSaid == "" {
			challengeSaid = challenge
		}
		vp := by.present(t, vc.ProofOptions{Challenge: challengeSaid, Domain: []string{domainSaid}, Created: w.clock.Now()}, credentials...)
		return w.verifyPresentation(0, vp, did.Object{"challenge": challenge, "domain": domain, "policy": policy})
	}
	ask(holder, domain, "", good).passes(t, "good")
	ask(holder, domain, "", good, credential(issuer, 6, nil)).passes(t, "two good ones")
	for name, c := range map[string]struct {
		report      testReport
		check, code string
	}{
		"tampered":           {ask(holder, domain, "", tampered), "signature", "bad_signature"},
		"expired":            {ask(holder, domain, "", expired), "validity", "expired"},
		"not yet valid":      {ask(holder, domain, "", early), "validity", "not_yet_valid"},
		"unaccredited":       {ask(holder, domain, "", credential(unknown, 4, nil)), "trustPath", "not_accredited"},
		"out of scope":       {ask(holder, domain, "", w.issue(issuer, unsigned(issuer.did.String(), holder.did(), did.Object{"ageOver": 21}))), "trustPath", "out_of_scope"},
		"revoked":            {ask(holder, domain, "", credential(issuer, 5, nil)), "status", "revoked"},
		"one bad among good": {ask(holder, domain, "", good, credential(issuer, 5, nil), good), "status", "revoked"},
		"unknown issuer":     {ask(holder, domain, "", stranger), "issuer", "unresolvable"},
		"another's name":     {ask(holder, domain, "", mismatched), "issuer", "issuer_mismatch"},
		"stolen":             {ask(thief, domain, "", good), "holderBinding", "holderBinding_mismatch"},
		"wrong audience":     {ask(holder, "https://other.example", "", good), "audience", "audience_mismatch"},
		"another challenge":  {ask(holder, domain, w.challengeOf(0), good), "nonce", "nonce_mismatch"},
	} {
		c.report.fails(t, name, c.check, c.code)
	}

	challenge := w.challengeOf(0)
	vp := holder.present(t, vc.ProofOptions{Challenge: challenge, Domain: []string{domain}, Created: w.clock.Now()}, good)
	options := did.Object{"challenge": challenge, "domain": domain}
	w.verifyPresentation(0, vp, options).passes(t, "the first time")
	w.verifyPresentation(0, vp, options).fails(t, "replayed", "nonce", "nonce_mismatch")
	late := w.challengeOf(0)
	vp = holder.present(t, vc.ProofOptions{Challenge: late, Domain: []string{domain}, Created: w.clock.Now()}, good)
	w.clock.Forward(challengeLife + time.Second)
	w.verifyPresentation(0, vp, did.Object{"challenge": late, "domain": domain}).fails(t, "late", "nonce", "nonce_mismatch")
	theirs := holder.present(t, vc.ProofOptions{Challenge: "of the caller's own", Domain: []string{domain}, Created: w.clock.Now()}, good)
	w.verifyPresentation(0, theirs, did.Object{"challenge": "of the caller's own", "domain": domain}).passes(t, "a challenge made elsewhere")
	anyHolder := thief.present(t, vc.ProofOptions{Created: w.clock.Now()}, good)
	w.verifyPresentation(0, anyHolder, did.Object{"policy": did.Object{"holder": "any"}}).passes(t, "a bearer, where the policy lets one")
	w.call(0, "POST", "/presentations/verify", did.Object{"verifiablePresentation": vp, "options": did.Object{"policy": did.Object{"holder": "whoever"}}}).want(400)
}

func instant(t time.Time) operation.Instant { return operation.Instant(tangle.TimeOf(t)) }

// TestKeysOverTime: what a credential is worth when its issuer's keys have changed since.
func TestKeysOverTime(t *testing.T) {
	w := start(t, networkOptions{})
	issuer := w.create(0, "issuer")
	old := w.issue(issuer, unsigned(issuer.did.String(), "did:example:holder", did.Object{"ageOver": 18}))
	w.verify(0, old, nil).passes(t, "before")
	w.nextSecond()

	// An anchor shows that this one is older than what is said of the key later.
	salt := make([]byte, 32)
	rand.Read(salt)
	canonical, err := did.Canonical(old)
	if err != nil {
		t.Fatal(err)
	}
	w.send(0, "/api/v1/anchors", status.NewAnchor(w.header(issuer.did.String()), status.Commit([32]byte(salt), canonical)), issuer.key).want(200)

	rotated := issuer
	rotated.key = keyOf("issuer's second key")
	next := content(issuer.update, rotated.key)
	w.update(0, issuer, next).want(200)
	w.nextSecond()
	w.verify(0, old, nil).passes(t, "signed before the rotation")
	byOldKey := w.issue(issuer, unsigned(issuer.did.String(), "did:example:holder", did.Object{"ageOver": 18}))
	w.verify(0, byOldKey, nil).fails(t, "signed with the old key since", "signature", "bad_signature")
	w.verify(0, w.issue(rotated, unsigned(issuer.did.String(), "did:example:holder", did.Object{"ageOver": 18})), nil).passes(t, "signed with the new key")

	next.Params.Compromised = []string{multikeyOf(issuer.key)}
	w.update(0, issuer, next).want(200)
	w.verify(0, old, nil).fails(t, "compromised", "issuer", "key_compromised")
	backdated := seal(t, unsigned(issuer.did.String(), "did:example:holder", did.Object{"ageOver": 21}),
		vc.ProofOptions{VerificationMethod: issuer.method(), Created: signedAt(t, old)}, issuer.key)
	w.verify(0, backdated, nil).fails(t, "backdated by a thief", "issuer", "key_compromised")
	anchored := did.Object{"anchorSalts": []string{base64.RawURLEncoding.EncodeToString(salt)}}
	w.verify(0, old, anchored).passes(t, "with an older anchor")
	w.verify(0, backdated, anchored).fails(t, "another's anchor", "issuer", "key_compromised")
	required := did.Object{"policy": did.Object{"requireAnchor": true}}
	w.verify(0, w.issue(rotated, unsigned(issuer.did.String(), "did:example:holder", did.Object{"ageOver": 18})), required).fails(t, "no anchor", "policy", "anchor_missing")

	head, _, err := did.ReadHead(w.Nodes[0].PluginView(Name), issuer.did)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := did.Sign(did.Deactivate(w.id, issuer.did, head, 0), issuer.update)
	if err != nil {
		t.Fatal(err)
	}
	w.call(0, "POST", "/api/v1/identities/"+issuer.did.String()+"/deactivate?wait=final&timeout=30s", raw).want(200)
	w.nextSecond()
	w.verify(0, old, anchored).fails(t, "deactivated issuer", "issuer", "not_authorized")
	report := did.Object{"policy": did.Object{"deactivatedIssuer": "report"}}
	maps.Copy(report, anchored)
	w.verify(0, old, report).passes(t, "deactivated issuer, by a policy that only reports it")
	after := w.issue(rotated, unsigned(issuer.did.String(), "did:example:holder", did.Object{"ageOver": 18}))
	w.verify(0, after, report).fails(t, "signed after the deactivation", "issuer", "not_authorized")
}

// nextSecond waits until the ledger's clock, which no test moves, shows another second: documents are versioned by seconds.
func (w *network) nextSecond() {
	w.t.Helper()
	began := time.Now().Unix()
	w.within(5*time.Second, "the next second", func() bool {
		w.call(0, "GET", "/health", nil).want(200)
		return time.Now().Unix() > began
	})
}

// signedAt is the time that a proof claims.
func signedAt(t *testing.T, doc did.Object) time.Time {
	t.Helper()
	created, err := time.Parse(time.RFC3339, doc["proof"].(did.Object)["created"].(string))
	if err != nil {
		t.Fatal(err)
	}
	return created
}
