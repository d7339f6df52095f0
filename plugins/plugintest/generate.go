package plugintest

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"

	"weft/plugins"
	"weft/tangle"
)

// generate makes the order of entries: generated ones, copies of earlier ones, and mangled ones.
func (x *examination) generate(kinds []tangle.Kind) []plugins.Ordered {
	list := make([]plugins.Ordered, 0, x.script.Entries)
	now := tangle.Time(1_800_000_000_000)
	for i := range x.script.Entries {
		s := x.script.Generate(x.random)
		if !slices.Contains(kinds, s.Kind) {
			x.defect("Generate makes an entry of kind %d, which the plugin does not own", s.Kind)
			return nil
		}
		switch n := x.random.IntN(8); {
		case n == 0 && i > 0:
			before := list[x.random.IntN(i)]
			s = plugins.Submission{Kind: before.Kind, Data: before.Data}
		case n <= 2:
			s.Data = mangle(x.random, s.Data)
		}
		now += tangle.Time(x.random.IntN(1000)) // commit time stands still or moves on
		list = append(list, x.place(i, now, s))
	}
	return list
}

// place gives an entry its place, as the order would.
func (x *examination) place(i int, now tangle.Time, s plugins.Submission) plugins.Ordered {
	var salt tangle.Salt
	binary.BigEndian.PutUint64(salt[:], x.random.Uint64())
	e := tangle.NewEntry(s.Kind, salt, slices.Clone(s.Data))
	position := tangle.Position(i / 3) // three entries in a message
	var id tangle.ID
	binary.BigEndian.PutUint64(id[:], uint64(position)+1)
	return plugins.Ordered{
		Kind: e.Kind, Hash: e.Hash, Data: e.Data, Message: id, Author: author(int(position)),
		Position: position, Index: i % 3, Commit: uint64(i/12) + 1, Time: now,
	}
}

// mangle makes of an entry what a buggy or hostile member might send.
func mangle(r *rand.Rand, data []byte) []byte {
	b := slices.Clone(data)
	switch r.IntN(6) {
	case 0:
		return nil
	case 1:
		return b[:r.IntN(len(b)+1)]
	case 2:
		return append(b, randomBytes(r, 1+r.IntN(40))...)
	case 3:
		return randomBytes(r, r.IntN(200))
	case 4:
		if len(b) > 0 {
			at := r.IntN(len(b))
			return slices.Concat(b[:at], randomBytes(r, 1+r.IntN(8)), b[at:])
		}
	}
	for range 1 + r.IntN(4) {
		if len(b) > 0 {
			b[r.IntN(len(b))] ^= 1 << r.IntN(8)
		}
	}
	return b
}

func randomBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}
