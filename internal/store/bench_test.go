package store

import (
	"encoding/binary"
	"testing"
)

// BenchmarkApplySynced is one Step of a busy node: a batch of about 64 KiB, made
// durable.
func BenchmarkApplySynced(b *testing.B) {
	for _, entries := range []int{100, 1000} {
		name := map[int]string{100: "100-entries", 1000: "1000-entries"}[entries]
		b.Run(name, func(b *testing.B) {
			s, err := OpenBadger(BadgerConfig{Dir: b.TempDir()})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			b.SetBytes(64 << 10)
			var n uint64
			for b.Loop() {
				var batch Batch
				for range entries {
					n++
					batch.Set(Key(PrefixMessage, U64(n*0x9e3779b97f4a7c15)), make([]byte, (64<<10)/entries-9))
				}
				if err := s.Apply(&batch, true); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkMemoryApply(b *testing.B) {
	m := NewMemory()
	var n uint64
	for b.Loop() {
		var batch Batch
		for range 100 {
			n++
			batch.Set(Key(PrefixMessage, binary.BigEndian.AppendUint64(nil, n*0x9e3779b97f4a7c15)), make([]byte, 64))
		}
		if err := m.Apply(&batch, true); err != nil {
			b.Fatal(err)
		}
	}
}
