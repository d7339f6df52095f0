package trust

import (
	"bytes"
	"crypto/ed25519"
	"slices"
	"testing"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/identity/operation"
	"weft/plugins/plugintest"
	"weft/tangle"
)

// start is the commit time of the first operation of every test: 2026-12-01T00:00:00Z.
const start = tangle.Time(1796083200000)

// second is a time of a test as operations write it.
func second(n int) operation.Instant { return operation.Instant(start) + operation.Instant(n)*1000 }

func network() tangle.ID { return tangle.ID{7} }

func key(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

func multikey(seed byte) string {
	return did.Ed25519Key(key(seed).Public().(ed25519.PublicKey)).Multikey()
}

// actor is the did:key of key(seed).
func actor(seed byte) string { return "did:key:" + multikey(seed) }

// ledger applies operations one after the other, each at its own position.
type ledger struct {
	state *plugintest.State
	place did.Place
	nonce uint16
}

func newLedger() *ledger {
	l := &ledger{state: plugintest.NewState(nil), place: did.Place{Time: start, By: tangle.Member{1}}}
	l.state.Begin()
	return l
}

// header makes a new one each time, so that no two operations are the same.
func (l *ledger) header(actor string) operation.Header {
	l.nonce++
	return operation.Header{
		Network: network(), Actor: actor, Nonce: [16]byte{byte(l.nonce), byte(l.nonce >> 8)},
		NotAfter: l.place.Time/1000*1000 + 3_600_000,
	}
}

func sign(t testing.TB, body did.Object, seeds ...byte) []byte {
	t.Helper()
	var keys []ed25519.PrivateKey
	for _, seed := range seeds {
		keys = append(keys, key(seed))
	}
	entry, err := did.Sign(body, keys...)
	if err != nil {
		t.Fatal(err)
	}
	return entry
}

// apply signs a body, decodes it and executes it; it returns the opHash and the code of the rejection.
func (l *ledger) apply(t testing.TB, body did.Object, seeds ...byte) (hash, code string) {
	t.Helper()
	op, err := Decode(network(), did.DefaultLimits(), sign(t, body, seeds...))
	if err != nil {
		return "", plugintest.Code(t, err)
	}
	l.place.Position++
	writes, err := Next(l.state, did.DefaultLimits(), op, l.place)
	plugins.Put(l.state, writes)
	return op.Envelope.Hash, plugintest.Code(t, err)
}

// must is apply of what has to be accepted.
func (l *ledger) must(t testing.TB, body did.Object, seeds ...byte) string {
	t.Helper()
	hash, code := l.apply(t, body, seeds...)
	if code != "" {
		t.Fatalf("%v: %s", body["op"], code)
	}
	return hash
}

// found makes a federation of did:key roots.
func (l *ledger) found(t testing.TB, threshold int, properties []Property, roots ...byte) string {
	t.Helper()
	f := FederationTerms{Name: "Meters", Threshold: threshold, MaxDepth: 2, Properties: properties}
	for _, seed := range roots {
		f.Roots = append(f.Roots, actor(seed))
	}
	return l.must(t, NewFederation(l.header(actor(roots[0])), f), roots[0])
}

// ages is the property of most tests: person.age_over from 0 to 99.
func ages() []Property {
	return []Property{{Path: "person.age_over", Range: &Range{0, 99}}, {Path: "meter.*", Any: true}}
}

// grant returns a grant to attest an age over 18, from second 0 to 1000, by a root.
func grant(federation string, subject byte) GrantTerms {
	return GrantTerms{
		Federation: federation, Under: Root, Subject: actor(subject), Kind: Attest,
		Properties: []Property{{Path: "person.age_over", Values: []Value{Integer(18)}}}, ValidFrom: second(0), ValidUntil: second(1000),
	}
}

// accredit returns a grant to grant on.
func accredit(federation string, subject byte, depth int) GrantTerms {
	g := grant(federation, subject)
	g.Kind, g.MaxDepth = Accredit, depth
	return g
}

// createDID makes a did:weft whose update key is key(update), with key(assert) in assertionMethod and key(invoke) in
// capabilityInvocation.
func (l *ledger) createDID(t testing.TB, update, assert, invoke byte) string {
	t.Helper()
	method := func(id string, seed byte) did.Object {
		return did.Object{"id": id, "type": "Multikey", "publicKeyMultibase": multikey(seed)}
	}
	body := did.Object{
		"type": did.OperationType, "op": "create", "network": network().String(), "seq": 1, "nonce": "AAAAAAAAAAAAAAAAAAAAAA",
		"did":    "did:weft:" + did.NetworkLabel(network()) + ":{SCID}",
		"params": did.Object{"updateKeys": []any{multikey(update)}, "threshold": 1, "nextKeyHashes": []any{}},
		"doc": did.Object{
			"verificationMethod": []any{method("#a", assert), method("#i", invoke)}, "assertionMethod": []any{"#a"}, "capabilityInvocation": []any{"#i"},
		},
	}
	scid, err := did.OpHash(body)
	if err != nil {
		t.Fatal(err)
	}
	name := "did:weft:" + did.NetworkLabel(network()) + ":" + scid
	body["did"] = name
	l.applyDID(t, sign(t, body, update))
	return name
}

func (l *ledger) applyDID(t testing.TB, entry []byte) {
	t.Helper()
	op, err := did.Decode(network(), did.DefaultLimits(), entry)
	if err != nil {
		t.Fatal(err)
	}
	writes, err := did.Next(l.state, did.DefaultLimits(), op, l.place)
	if err != nil {
		t.Fatal(err)
	}
	plugins.Put(l.state, writes)
}

// deactivate ends a did:weft of createDID.
func (l *ledger) deactivate(t testing.TB, name string, update byte) {
	t.Helper()
	d, err := did.Parse(name)
	if err != nil {
		t.Fatal(err)
	}
	head, _, err := did.ReadHead(l.state, d)
	if err != nil {
		t.Fatal(err)
	}
	l.applyDID(t, sign(t, did.Object{
		"type": did.OperationType, "op": "deactivate", "network": network().String(), "did": name, "seq": 2, "prev": head.OpHash,
	}, update))
}

// ask evaluates a question about an age over 18 of actor(subject).
func (l *ledger) ask(t testing.TB, federation string, subject byte, at, asOf, now int) Answer {
	t.Helper()
	return l.evaluate(t, Question{
		Federation: federation, Attester: actor(subject), Property: "person.age_over", Value: 18,
		At: tangle.Time(second(at)), AsOf: tangle.Time(second(asOf)), Now: tangle.Time(second(now)),
	})
}

func (l *ledger) evaluate(t testing.TB, q Question) Answer {
	t.Helper()
	a, err := Evaluate(l.state, q)
	if err != nil {
		t.Fatal(err)
	}
	if a.AtIssuance != (a.Path != nil) || a.Trusted && a.Reason != "" || !a.Trusted && a.Reason == "" {
		t.Errorf("an answer that contradicts itself: %+v", a)
	}
	return a
}

// at moves the clock to a second.
func (l *ledger) at(n int) { l.place.Time = max(l.place.Time, tangle.Time(second(n))) }

func pathOf(a Answer) (names []string) {
	for _, s := range a.Path {
		names = append(names, s.DID)
	}
	return names
}

func equal(got []string, want ...string) bool { return slices.Equal(got, want) }
