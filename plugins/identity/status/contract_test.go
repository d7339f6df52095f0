package status

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
	maker := plugins.Maker{Name: "status", Open: func(plugins.Host) (plugins.Plugin, error) {
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
		return plugins.Submission{Kind: testKind, Data: sign(t, drawBody(r, testNetwork), key(byte(1+r.IntN(2))))}
	}})
}

func drawBody(r *rand.Rand, network tangle.ID) did.Object {
	h := operation.Header{Network: network, Actor: actor(byte(1 + r.IntN(2))), Nonce: [16]byte{byte(r.IntN(4))}, NotAfter: 1_800_003_600_000}
	lists := make([]string, 0, 4)
	for nonce := range byte(4) {
		create := h
		create.Actor, create.Nonce = actor(1), [16]byte{nonce}
		hash, _ := did.OpHash(NewCreateList(create, someTerms(nonce)))
		lists = append(lists, hash)
	}
	list := lists[r.IntN(len(lists))]
	switch r.IntN(6) {
	case 0, 1:
		h.Actor = actor(1)
		return NewCreateList(h, someTerms(h.Nonce[0]))
	case 2:
		return NewSpend(h, [32]byte{byte(r.IntN(8))})
	case 3:
		return NewAnchor(h, lists[r.IntN(4)])
	}
	h.Nonce[1] = byte(r.IntN(256))
	return NewSet(h, list, []int{r.IntN(20), 8192 + r.IntN(20)}, []int{20 + r.IntN(20)}[:r.IntN(2)])
}

func someTerms(n byte) ListTerms {
	return ListTerms{Purpose: []Purpose{Revocation, Suspension}[n%2], Size: MinSize, Writers: []string{actor(2)}}
}
