package vc

import (
	"testing"
	"time"

	"weft/plugins/identity/did"
)

// established is a world with an issuer under a DID of its own, whose key is in its document since 2026.
func established(t *testing.T) (*world, party, did.Object) {
	t.Helper()
	w := newWorld()
	issuer := newParty(1).as("did:weft:t2iac44k:issuer")
	w.add(issuer)
	w.begins[issuer.method] = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	return w, issuer, signed(t, w.config(), credentialOf(issuer.did, newParty(2).did), issuer, proofBy(issuer))
}

func TestIssuer(t *testing.T) {
	w, issuer, doc := established(t)
	r := Verify(w.config(), text(t, doc), Options{})
	passes(t, r)
	if c, _ := r.Check(CheckIssuer); c.Facts["verificationMethod"] != issuer.method || c.Facts["versionId"] != "3-zQmVersion" {
		t.Errorf("facts of the issuer: got %v", c.Facts)
	}
	stranger := newParty(7)
	only(t, Verify(w.config(), text(t, signed(t, w.config(), credentialOf(issuer.did, "urn:x:1"), stranger, proofBy(stranger))), Options{}), CheckIssuer, "issuer_mismatch")

	w.relations[issuer.method] = []string{"authentication"}
	only(t, Verify(w.config(), text(t, doc), Options{}), CheckIssuer, "not_authorized")
	delete(w.relations, issuer.method)
	o := proofBy(issuer)
	o.Purpose = "authentication"
	only(t, Verify(w.config(), text(t, signed(t, w.config(), credentialOf(issuer.did, "urn:x:1"), issuer, o)), Options{}), CheckIssuer, "not_authorized")

	c := w.config()
	c.Resolve = nil
	only(t, Verify(c, text(t, doc), Options{}), CheckIssuer, "unresolvable")
	if s, _ := Verify(c, text(t, doc), Options{}).Check(CheckSignature); !s.Skipped {
		t.Errorf("signature without a key: got %+v, want it skipped", s)
	}
}

func TestClaimedTime(t *testing.T) {
	w, issuer, _ := established(t)
	at := func(created time.Time) Report {
		o := proofBy(issuer)
		o.Created = created
		return Verify(w.config(), text(t, signed(t, w.config(), credentialOf(issuer.did, "urn:x:1"), issuer, o)), Options{})
	}
	passes(t, at(now().Add(MaxAhead)))
	only(t, at(now().Add(MaxAhead+time.Second)), CheckIssuer, "not_authorized")
	only(t, at(time.Date(2025, 12, 31, 23, 59, 59, 0, time.UTC)), CheckIssuer, "unresolvable") // before the DID existed

	// Without created the credential's own begin counts.
	o := proofBy(issuer)
	o.Created = time.Time{}
	old := with(credentialOf(issuer.did, "urn:x:1"), did.Object{"validFrom": "2025-06-01T00:00:00Z"})
	only(t, Verify(w.config(), text(t, signed(t, w.config(), old, issuer, o)), Options{}), CheckIssuer, "unresolvable")
	early := with(credentialOf(issuer.did, "urn:x:1"), did.Object{"validFrom": "2026-12-01T00:00:00Z"})
	only(t, Verify(w.config(), text(t, signed(t, w.config(), early, issuer, o)), Options{}), CheckValidity, "not_yet_valid")
}

// A key that left the document vouches for what it signed before and for nothing after.
func TestRotatedKey(t *testing.T) {
	w, issuer, doc := established(t)
	w.ends[issuer.method] = now().Add(-time.Minute)
	passes(t, Verify(w.config(), text(t, doc), Options{}))
	o := proofBy(issuer)
	o.Created = now()
	only(t, Verify(w.config(), text(t, signed(t, w.config(), credentialOf(issuer.did, "urn:x:1"), issuer, o)), Options{}), CheckIssuer, "unresolvable")
}

func TestRevokedAndExpiredMethods(t *testing.T) {
	w, issuer, doc := established(t)
	m := w.methods[issuer.method]
	for _, test := range []struct {
		at   time.Time
		good bool
	}{{now(), true}, {now().Add(-time.Hour), false}, {now().Add(-2 * time.Hour), false}} {
		for _, change := range []func(*did.Method){
			func(m *did.Method) { m.Revoked = milliseconds(test.at) },
			func(m *did.Method) { m.Expires = milliseconds(test.at) },
		} {
			changed := m
			change(&changed)
			w.methods[issuer.method] = changed
			if r := Verify(w.config(), text(t, doc), Options{}); test.good {
				passes(t, r)
			} else {
				only(t, r, CheckIssuer, "method_revoked")
			}
		}
	}
}

// A thief can write any date, so a key named as compromised is worth nothing without an anchor that is older.
func TestCompromisedKey(t *testing.T) {
	w, issuer, doc := established(t)
	named := now().Add(-time.Minute)
	w.compromised[w.methods[issuer.method].Key.Multikey()] = named
	raw := text(t, doc)
	only(t, Verify(w.config(), raw, Options{}), CheckIssuer, "key_compromised")

	salt := make([]byte, 32)
	anchored, err := AnchorBytes(raw)
	if err != nil {
		t.Fatal(err)
	}
	w.anchors[Commitment(salt, anchored)] = named
	only(t, Verify(w.config(), raw, Options{Salts: [][]byte{salt}}), CheckIssuer, "key_compromised") // not older
	w.anchors[Commitment(salt, anchored)] = named.Add(-time.Millisecond)
	passes(t, Verify(w.config(), raw, Options{Salts: [][]byte{[]byte("another"), salt}}))
	only(t, Verify(w.config(), raw, Options{}), CheckIssuer, "key_compromised")
}

func TestDeactivatedIssuer(t *testing.T) {
	w, issuer, doc := established(t)
	w.deactivated[issuer.did] = now().Add(-time.Minute)
	only(t, Verify(w.config(), text(t, doc), Options{}), CheckIssuer, "not_authorized")
	lenient := Options{Policy: Policy{DeactivatedIssuer: DeactivatedReport}}
	r := Verify(w.config(), text(t, doc), lenient)
	passes(t, r)
	if c, _ := r.Check(CheckIssuer); c.Facts["note"] == nil {
		t.Errorf("no note of the deactivation: %v", c.Facts)
	}
	w.deactivated[issuer.did] = now().Add(-2 * time.Hour) // before the credential says it was signed
	only(t, Verify(w.config(), text(t, doc), lenient), CheckIssuer, "not_authorized")
}

func TestValidity(t *testing.T) {
	c := newWorld().config()
	issuer := newParty(1)
	for _, test := range []struct {
		members did.Object
		code    string
	}{
		{did.Object{"validFrom": "2026-05-01T12:01:00Z"}, ""},
		{did.Object{"validFrom": "2026-05-01T12:01:01Z"}, "not_yet_valid"},
		{did.Object{"validUntil": "2026-05-01T12:00:00Z"}, ""},
		{did.Object{"validUntil": "2026-05-01T11:59:59Z"}, "expired"},
		{did.Object{"validFrom": nil, "validUntil": nil}, ""},
		{did.Object{"@context": []any{ContextV1}, "issuanceDate": "2026-06-01T00:00:00Z"}, "not_yet_valid"},
		{did.Object{"@context": []any{ContextV1}, "issuanceDate": "2025-06-01T00:00:00Z", "expirationDate": "2026-01-01T00:00:00Z"}, "expired"},
	} {
		r := Verify(c, text(t, signed(t, c, with(credentialOf(issuer.did, "urn:x:1"), test.members), issuer, proofBy(issuer))), Options{})
		if test.code == "" {
			passes(t, r)
		} else {
			only(t, r, CheckValidity, test.code)
		}
	}
}
