package sim

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"testing"

	"weft/internal/store"
	"weft/node"
)

// TestStoresReplay executes again what the disks hold after runs with faults, identities and channels: state and index come out byte
// by byte as each node has them, also after all of it was lost; and the network goes on with a node that has lost it.
func TestStoresReplay(t *testing.T) {
	if seed, ok := seedToReplay(t); ok {
		for _, draw := range draws() {
			replayDisks(t, draw(seed, 4))
		}
		return
	}
	count := 3
	if testing.Short() {
		count = 1
	}
	for seed := range count {
		for _, draw := range draws() {
			c := draw(uint64(seed+1), 4)
			t.Run(fmt.Sprintf("channels=%v/seed=%d", c.Channels, c.Seed), func(t *testing.T) {
				t.Parallel()
				replayDisks(t, c)
			})
		}
	}
}

func draws() []func(uint64, int) Config { return []func(uint64, int) Config{Identities, Channels} }

func replayDisks(t *testing.T, c Config) {
	t.Helper()
	w := New(c)
	r := w.run()
	if r.Violation != nil {
		report(t, "TestStoresReplay", c, r.Violation)
		return
	}
	for _, i := range w.instances {
		if !i.correct() {
			continue
		}
		got := replayDisk(t, w, i.disk, false)
		if got.Stale != "" || got.Rejected == 0 || got.Certified == 0 {
			t.Errorf("%s: %+v", i, got)
		}
	}
	i := w.members[w.correctMember()].instances[0]
	if i.down {
		return
	}
	w.halt(i)
	whole := keysOf(t, i.disk)
	loseDerived(t, i.disk, whole)
	replayDisk(t, w, i.disk, true)
	if !maps.Equal(keysOf(t, i.disk), whole) {
		t.Errorf("%s has lost its state and index, and others came back", i)
	}
	w.start(i)
	w.RunUntil(w.now + w.config.Faults.Heal)
	w.quiet()
	if w.violation != nil {
		t.Errorf("after the replay: %s", w.violation)
	}
}

func replayDisk(t *testing.T, w *World, d *disk, mend bool) node.ReplayReport {
	t.Helper()
	r, err := node.NewReplay(node.ReplayConfig{
		Genesis: w.genesis, Store: d, Scratch: store.NewMemory(), Plugins: w.plugins(), Mend: mend, BatchBytes: 64 << 10,
	})
	for more := true; more && err == nil; {
		more, err = r.Step()
	}
	if err != nil {
		t.Fatal(err)
	}
	return r.Report()
}

func keysOf(t *testing.T, s store.Store) map[string]string {
	t.Helper()
	all := map[string]string{}
	if err := s.Scan(nil, nil, func(k, v []byte) bool { all[string(k)] = string(v); return true }); err != nil {
		t.Fatal(err)
	}
	return all
}

// loseDerived removes all states and indexes.
func loseDerived(t *testing.T, s store.Store, all map[string]string) {
	t.Helper()
	var b store.Batch
	for _, k := range slices.Sorted(maps.Keys(all)) {
		if bytes.Contains([]byte{byte(store.PrefixState), byte(store.PrefixIndex)}, []byte(k[:1])) {
			b.Delete([]byte(k))
		}
	}
	if b.Len() < 100 {
		t.Fatalf("only %d keys of states and indexes", b.Len())
	}
	if err := s.Apply(&b, true); err != nil {
		t.Fatal(err)
	}
}
