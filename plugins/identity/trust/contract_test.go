package trust

import (
	"math/rand/v2"
	"testing"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/identity/operation"
	"weft/plugins/plugintest"
	"weft/tangle"
)

// testKind is any kind: package identity owns the number.
const testKind tangle.Kind = 1024

// TestContract runs the operations as a ledger plugin: the same outcomes and the same state each time.
func TestContract(t *testing.T) {
	testNetwork := tangle.ID{1} // of plugintest
	maker := plugins.Maker{Name: "trust", Open: func(plugins.Host) (plugins.Plugin, error) {
		return plugins.Plugin{
			Kinds: []tangle.Kind{testKind},
			Check: func(_ tangle.Kind, data []byte) (plugins.Op, error) {
				return plugins.OpOf(Decode(testNetwork, did.DefaultLimits(), data))
			},
			Apply: func(state plugins.State, e plugins.Ordered) error {
				writes, err := Next(state, did.DefaultLimits(), e.Op.(*Operation), did.Place{Time: e.Time, Position: e.Position, Index: e.Index, By: e.Author})
				plugins.Put(state, writes)
				return err
			},
		}, nil
	}}
	plugintest.Run(t, maker, plugintest.Script{Seeds: 3, Generate: func(r *rand.Rand) plugins.Submission {
		return plugins.Submission{Kind: testKind, Data: sign(t, drawBody(r, testNetwork), byte(1+r.IntN(2)))}
	}})
}

func drawBody(r *rand.Rand, network tangle.ID) did.Object {
	h := operation.Header{Network: network, Actor: actor(byte(1 + r.IntN(2))), NotAfter: 1_800_003_600_000}
	root := h
	root.Actor = actor(1)
	create := NewFederation(root, FederationTerms{
		Name: "x", Roots: []string{actor(1), actor(2)}, Threshold: 1, MaxDepth: 2, Properties: ages(),
	})
	federation, _ := did.OpHash(create)
	accredited, g := accredit(federation, 2, 1), grant(federation, 3)
	accredited.ValidUntil, g.ValidUntil = second(10_000_000), second(10_000_000)
	first := NewGrant(root, accredited)
	parent, _ := did.OpHash(first)
	g.Under = []string{Root, parent}[r.IntN(2)]
	revoking := Revoking{r.IntN(2) == 0, second(0)}
	h.Nonce[0] = byte(1 + r.IntN(255))
	switch r.IntN(9) {
	case 0:
		return create
	case 1:
		return first
	case 2:
		return NewRevoke(h, parent, revoking)
	case 3:
		return NewRevokeRoot(h, federation, actor(byte(1+r.IntN(2))), revoking)
	case 4:
		return NewReinstateRoot(h, federation, actor(byte(1+r.IntN(2))))
	case 5:
		return NewRevokeProperty(h, federation, "meter.*", revoking)
	case 6:
		return NewAddProperty(h, federation, ages()[1])
	}
	return NewGrant(h, g)
}
