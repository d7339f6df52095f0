package node

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"weft/config/genesis"
	"weft/consensus"
	"weft/internal/store"
	"weft/plugins"
	"weft/tangle"
)

// TestPluginStateReadsWhatWasWritten holds the key space of a plugin, with all that it remembers, to a plain map: over
// entries that are kept and rolled back, and Steps whose batches the store takes.
func TestPluginStateReadsWhatWasWritten(t *testing.T) {
	const seed = 1
	r := rand.New(rand.NewPCG(seed, 0))
	m := store.NewMemory()
	p := newPluginState(m, []byte("p/"), func(string) plugins.View { return nil })
	want := map[string][]byte{}
	key := func() []byte { return fmt.Appendf(nil, "%02d", r.IntN(40)) }
	large := bytes.Repeat([]byte{1}, maxKnownBytes/8) // so that what is kept overflows
	for range 400 {
		for range r.IntN(4) {
			entry := map[string][]byte{}
			for range r.IntN(6) {
				k := key()
				switch r.IntN(4) {
				case 0:
					p.Delete(k)
					entry[string(k)] = nil
				case 1:
					v := large[:r.IntN(len(large))]
					p.Set(k, v)
					entry[string(k)] = v
				default:
					v := []byte{byte(r.IntN(256))}
					p.Set(k, v)
					entry[string(k)] = v
				}
			}
			if r.IntN(4) == 0 {
				p.rollback()
			} else {
				for k, v := range entry {
					want[k] = v
				}
				p.take(1)
			}
			for range 8 {
				if k := key(); !bytes.Equal(p.Get(k), want[string(k)]) {
					t.Fatalf("seed %d: key %s has %d bytes, want %d", seed, k, len(p.Get(k)), len(want[string(k)]))
				}
				k := key()
				size, err := plugins.Parsed(p, k, func(b []byte) (int, error) { return len(b), nil })
				if err != nil || size != len(want[string(k)]) {
					t.Fatalf("seed %d: key %s was parsed to %d, %v, want %d", seed, k, size, err, len(want[string(k)]))
				}
			}
			if p.size > maxKnownBytes || p.size < 0 {
				t.Fatalf("seed %d: %d bytes are kept, at most %d are allowed", seed, p.size, maxKnownBytes)
			}
		}
		var b store.Batch
		p.write(&b)
		if err := m.Apply(&b, true); err != nil {
			t.Fatal(err)
		}
		p.applied()
	}
	if p.err != nil {
		t.Fatal(p.err)
	}
}

// TestPluginStateWritesAKeyOnce: what many entries of a Step write to one key is one change of the batch, and counts once
// in each commit, with its largest value.
func TestPluginStateWritesAKeyOnce(t *testing.T) {
	p := newPluginState(store.NewMemory(), []byte("p/"), func(string) plugins.View { return nil })
	size := len("p/") + writeBytes("head", nil)
	for _, c := range []struct {
		commit      uint64
		bytes, want int
	}{{1, 10, size + 10}, {1, 10, 0}, {1, 5, 0}, {1, 12, 2}, {1, 12, 0}, {2, 7, size + 7}, {2, 8, 1}} {
		p.Set([]byte("head"), make([]byte, c.bytes))
		if got := p.take(c.commit); got != c.want {
			t.Errorf("%d bytes in commit %d count %d, want %d", c.bytes, c.commit, got, c.want)
		}
	}
	var b store.Batch
	p.write(&b)
	if b.Len() != 1 {
		t.Errorf("%d changes, want 1", b.Len())
	}
}

// failingStore fails to read keys with a prefix.
type failingStore struct {
	store.Store
	prefix []byte
}

func (s failingStore) Get(key []byte) ([]byte, error) {
	if bytes.HasPrefix(key, s.prefix) {
		return nil, errors.New("the disk fails")
	}
	return s.Store.Get(key)
}

// TestStoreFailsUnderAPeek: a plugin that reads another one's state must not take a disk that fails for a key that is not
// there: the entry would have another outcome than on all other nodes.
func TestStoreFailsUnderAPeek(t *testing.T) {
	disk := failingStore{store.NewMemory(), spaceOf(store.PrefixState, "other")}
	ledger := []CorePlugin{{Name: "other"}, {Name: "asks", Plugin: plugins.Plugin{
		Kinds: []tangle.Kind{1024},
		Apply: func(s plugins.State, _ plugins.Ordered) error {
			if s.Peek("other").Get([]byte("key")) == nil {
				return plugins.Reject("unknown_key", "")
			}
			return nil
		},
	}}}
	var x executor
	if err := x.open(&genesis.Genesis{}, disk, ledger); err != nil {
		t.Fatal(err)
	}
	m := &tangle.Message{Entries: []tangle.Entry{{Kind: 1024}}}
	if code, err := x.apply(&consensus.Commit{Index: 1}, m, 0, Checked{}); err == nil {
		t.Errorf("outcome %q of an entry whose judgement could not read", code)
	}
}

// TestForgottenChecksAreMadeTogether executes a message whose checks were forgotten, as a node that catches up does: one by
// one they would cost it twice, while it is behind.
func TestForgottenChecksAreMadeTogether(t *testing.T) {
	var asked []int
	ledger := []CorePlugin{{Name: "batched", Plugin: plugins.Plugin{
		Kinds: []tangle.Kind{1024, 1025},
		Check: func(tangle.Kind, []byte) (plugins.Op, error) { return nil, errors.New("asked one by one") },
		CheckAll: func(list []tangle.Entry) []plugins.Checked {
			asked = append(asked, len(list))
			out := make([]plugins.Checked, len(list))
			out[0].Err = plugins.Reject("bad_value", "")
			return out
		},
		Apply: func(plugins.State, plugins.Ordered) error { return nil },
	}}}
	var x executor
	if err := x.open(&genesis.Genesis{}, store.NewMemory(), ledger); err != nil {
		t.Fatal(err)
	}
	x.edge = map[int64]tlog.Hash{}
	m := &tangle.Message{Entries: []tangle.Entry{{Kind: 1024}, {Kind: 1025}, {Kind: 9}, {Kind: 1025}}}
	var batch store.Batch
	settled, err := x.order(&consensus.Commit{Index: 1}, m, nil, &batch)
	if want := []string{"bad_value", "", "unknown_kind", "bad_value"}; err != nil || !slices.Equal(settled.Codes, want) {
		t.Errorf("outcomes %q, %v, want %q", settled.Codes, err, want)
	}
	if !slices.Equal(asked, []int{2, 1}) {
		t.Errorf("entries were checked in groups of %d, want 2 and 1", asked)
	}
}
