package identity

import (
	"encoding/binary"
	"testing"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/plugintest"
	"weft/tangle"
)

// newCreates are signed operations of new DIDs.
func newCreates(b *testing.B, network tangle.ID, count int) (list [][]byte) {
	b.Helper()
	key := keyOf("bench")
	for i := range count {
		var nonce [did.NonceBytes]byte
		binary.BigEndian.PutUint64(nonce[:], uint64(i))
		body, _, err := did.Create(network, nonce, content(key, key))
		if err != nil {
			b.Fatal(err)
		}
		raw, err := did.Sign(body, key)
		if err != nil {
			b.Fatal(err)
		}
		list = append(list, raw)
	}
	return list
}

// BenchmarkOperation is what one signed operation costs a node: Check, and Apply with Index.
func BenchmarkOperation(b *testing.B) {
	network := tangle.ID{1}
	l, err := openLedger(network, []byte(`{"limits":{"maxCreatesPerMinute":1000000000}}`))
	if err != nil {
		b.Fatal(err)
	}
	list := newCreates(b, network, 5000)
	b.Run("Check", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			if _, err := l.check(KindDID, list[i%len(list)]); err != nil {
				b.Fatal(err)
			}
		}
	})
	ops := make([]plugins.Op, len(list))
	for i, raw := range list {
		if ops[i], err = l.check(KindDID, raw); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("Apply", func(b *testing.B) {
		state, index := plugintest.NewState(nil), plugintest.NewState(nil)
		for i := 0; b.Loop(); i++ {
			if i%len(ops) == 0 {
				state, index = plugintest.NewState(nil), plugintest.NewState(nil)
			}
			e := plugins.Ordered{Kind: KindDID, Data: list[i%len(ops)], Op: ops[i%len(ops)], Time: 1_800_000_000_000, Position: tangle.Position(i)}
			state.Begin()
			if err := l.apply(state, e); err != nil {
				b.Fatal(err)
			}
			state.Commit()
			index.Begin()
			l.index(index, e, nil)
			index.Commit()
		}
	})
}
