package identity

import (
	"crypto/ed25519"
	"fmt"
	"math/rand/v2"
	"testing"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/identity/operation"
	"weft/plugins/identity/status"
	"weft/plugins/identity/trust"
	"weft/plugins/plugintest"
	"weft/tangle"
)

// TestContract runs the plugin as a ledger plugin over operations of all three kinds: the same outcomes and the same state
// each time, whatever was mangled, repeated or put out of order.
func TestContract(t *testing.T) {
	pool := poolOf(t, tangle.ID{1})
	plugintest.Run(t, Maker(), plugintest.Script{Network: tangle.ID{1}, Seeds: 3, Generate: func(r *rand.Rand) plugins.Submission {
		return pool[r.IntN(len(pool))]
	}})
}

// pool is the lives of some DIDs, with forks at each step, and what two of them do with status lists and federations.
type pool struct {
	t       testing.TB
	network tangle.ID
	entries []plugins.Submission
}

func poolOf(t testing.TB, network tangle.ID) []plugins.Submission {
	p := &pool{t: t, network: network}
	var names []string
	for i := range 6 {
		names = append(names, p.life(i))
	}
	for i, name := range names[:2] {
		p.acts(name, keyOf(fmt.Sprint("document ", i)), names[2])
	}
	return p.entries
}

func (p *pool) add(kind tangle.Kind, body did.Object, keys ...ed25519.PrivateKey) string {
	p.t.Helper()
	raw, err := did.Sign(body, keys...)
	if err != nil {
		p.t.Fatal(err)
	}
	p.entries = append(p.entries, plugins.Submission{Kind: kind, Data: raw})
	hash, err := did.OpHash(body)
	if err != nil {
		p.t.Fatal(err)
	}
	return hash
}

// life is a DID: created, changed three times with a rival each, recovered, changed, deactivated in the end if it is odd.
func (p *pool) life(i int) string {
	update, recovery, document := keyOf(fmt.Sprint("update ", i)), keyOf(fmt.Sprint("recovery ", i)), keyOf(fmt.Sprint("document ", i))
	c := content(update, document)
	c.Recovery = &did.RecoverySet{KeyHashes: []string{did.KeyHash(multikeyOf(recovery))}, Threshold: 1}
	body, d, err := did.Create(p.network, [did.NonceBytes]byte{byte(i)}, c)
	if err != nil {
		p.t.Fatal(err)
	}
	hash := p.add(KindDID, body, update)
	h := did.Head{Version: 1, OpHash: hash, Recovery: c.Recovery, RecoverySetter: hash}
	c.Recovery = nil
	for range 3 {
		c.Params.TTL++
		rival := c
		rival.Params.TTL += 1000
		p.add(KindDID, did.Update(p.network, d, h, rival), update)
		h.OpHash = p.add(KindDID, did.Update(p.network, d, h, c), update)
		h.Version++
	}
	c.Recovery = &did.RecoverySet{KeyHashes: []string{did.KeyHash(multikeyOf(update))}, Threshold: 1}
	if body, err = did.Recover(p.network, d, h, c); err != nil {
		p.t.Fatal(err)
	}
	h.OpHash = p.add(KindDID, body, recovery)
	h.Version++
	p.add(KindDID, did.Update(p.network, d, h, content(update, document)), update)
	if i%2 == 1 {
		p.add(KindDID, did.Deactivate(p.network, d, h, 0), update)
	}
	return d.String()
}

// acts are operations of an actor that depend on the state of its document.
func (p *pool) acts(actor string, key ed25519.PrivateKey, subject string) {
	nonce := byte(0)
	header := func() operation.Header {
		nonce++
		return operation.Header{Network: p.network, Actor: actor, Nonce: [operation.NonceBytes]byte{nonce}, NotAfter: 1_800_003_600_000}
	}
	list := p.add(KindStatus, status.NewCreateList(header(), status.ListTerms{Purpose: status.Suspension, Size: status.MinSize}), key)
	p.add(KindStatus, status.NewSet(header(), list, []int{1, 2}, nil), key)
	p.add(KindStatus, status.NewSet(header(), list, nil, []int{1}), key)
	p.add(KindStatus, status.NewSpend(header(), [status.SecretBytes]byte{7}), key)
	ages := []trust.Property{{Path: "person.age_over", Any: true}}
	federation := p.add(KindTrust, trust.NewFederation(header(), trust.FederationTerms{Name: "f", Roots: []string{actor}, Threshold: 1, Properties: ages}), key)
	grant := p.add(KindTrust, trust.NewGrant(header(), trust.GrantTerms{
		Federation: federation, Under: trust.Root, Subject: subject, Kind: trust.Attest, Properties: ages, ValidUntil: 1_900_000_000_000, ValidFrom: 1000,
	}), key)
	p.add(KindTrust, trust.NewRevoke(header(), grant, trust.Revoking{EffectiveAt: 1000}), key)
}
