package node

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"weft/internal/store"
	"weft/plugins"
	"weft/tangle"
)

// shelves is a ledger plugin with all that a replay has to get right: a state to begin with, writes and deletes, rejections
// by Check and by Apply, bodies that can go, and an index. An entry is a verb and a name, which last, and whatever.
func shelves() CorePlugin {
	return CorePlugin{"shelves", plugins.Plugin{
		Kinds:   []tangle.Kind{1024},
		Genesis: func(s plugins.State) { s.Set([]byte("shelf"), []byte("empty")) },
		Check: func(_ tangle.Kind, data []byte) (plugins.Op, error) {
			said := strings.Fields(string(data))
			if len(said) < 2 || said[0] != "put" && said[0] != "take" {
				return nil, plugins.Reject("bad_value", "")
			}
			return [2]string{said[0], said[1]}, nil
		},
		Lasting: func(_ tangle.Kind, op plugins.Op) []byte {
			said := op.([2]string)
			return []byte(said[0] + " " + said[1])
		},
		Restore: func(_ tangle.Kind, lasting []byte) (plugins.Op, error) {
			verb, name, _ := strings.Cut(string(lasting), " ")
			return [2]string{verb, name}, nil
		},
		Apply: func(s plugins.State, e plugins.Ordered) error {
			op := e.Op.([2]string)
			key := []byte("shelf/" + op[1])
			switch there := s.Get(key) != nil; {
			case s.Get([]byte("shelf")) == nil:
				return errors.New("the state does not begin as it should")
			case op[0] == "put" && there, op[0] == "take" && !there:
				return plugins.Reject("not_so", "")
			case there:
				s.Delete(key)
			default:
				s.Set(key, binary.BigEndian.AppendUint64(nil, uint64(e.Position)))
			}
			return nil
		},
		Index: func(x plugins.Index, e plugins.Ordered, rejected *plugins.Rejection) {
			key := []byte("accepted")
			if rejected != nil {
				key = []byte(rejected.Code)
			}
			var n uint64
			if b := x.Get(key); b != nil {
				n = binary.BigEndian.Uint64(b)
			}
			x.Set(key, binary.BigEndian.AppendUint64(nil, n+1))
			x.Set(binary.BigEndian.AppendUint64([]byte("by place"), uint64(e.Position)), key)
		},
	}}
}

// personal is in what shelved entries say beyond what lasts.
const personal = "for somebody who wants it forgotten"

// shelved is an entry of shelves.
func shelved(salt tangle.Salt, text string) tangle.Entry {
	return tangle.NewErasable(1024, []byte(text), salt, []byte(text+" "+personal))
}

// replayed is a network with a ledger worth replaying: with rejections and deletes, a node that was down for a while, and
// entries that are not final yet.
func replayed(t *testing.T) *network {
	t.Helper()
	const seed = 7
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	w := newNetwork(t, 4, shelves())
	w.run(2 * time.Second)
	for k := range 120 {
		switch k {
		case 40:
			w.crash(3)
		case 80:
			w.start(3)
		}
		w.put(random, k%3)
		w.run(12 * time.Millisecond)
	}
	w.run(3 * time.Second)
	w.put(random, 1)
	w.run(15 * time.Millisecond)
	return w
}

// put submits some entries to a core: shelved ones, and a few others.
func (w *network) put(random *rand.Rand, i int) {
	var entries []tangle.Entry
	for range 1 + random.IntN(4) {
		text := fmt.Sprintf("%s %d", []string{"put", "put", "take", "burn"}[random.IntN(4)], random.IntN(12))
		kind := []tangle.Kind{1024, 1024, 1024, tangle.KindData, 1099}[random.IntN(5)]
		salt := tangle.Salt{byte(random.Int()), byte(random.Int()), byte(random.Int())}
		if kind == 1024 {
			entries = append(entries, shelved(salt, text))
		} else {
			entries = append(entries, tangle.NewEntry(kind, salt, []byte(text)))
		}
	}
	w.inbox[i] = append(w.inbox[i], Input{Submit: &Submission{Ticket: 1, Entries: entries}})
}

// replay runs a Replay to its end, or for at most so many writes to the store.
func (w *network) replay(s store.Store, mend bool, batch, writes int) (ReplayReport, error) {
	w.t.Helper()
	counted := &countedStore{Store: s}
	r, err := NewReplay(ReplayConfig{
		Genesis: w.genesis, Store: counted, Scratch: store.NewMemory(), Plugins: w.ledger, Mend: mend, BatchBytes: batch,
	})
	if err != nil {
		return ReplayReport{}, err
	}
	for more := true; more && counted.writes < writes; {
		if more, err = r.Step(); err != nil {
			break
		}
	}
	return r.Report(), err
}

const allWrites = 1 << 30

type countedStore struct {
	store.Store
	writes int
}

func (c *countedStore) Apply(b *store.Batch, sync bool) error {
	c.writes++
	return c.Store.Apply(b, sync)
}

func content(t *testing.T, s store.Store) map[string]string {
	t.Helper()
	all := map[string]string{}
	if err := s.Scan(nil, nil, func(k, v []byte) bool { all[string(k)] = string(v); return true }); err != nil {
		t.Fatal(err)
	}
	return all
}

// copied is a store with the same content, after what changes it.
func copied(t *testing.T, all map[string]string, change func(set func(k, v []byte), remove func(k []byte))) *store.Memory {
	t.Helper()
	var b store.Batch
	for k, v := range all {
		b.Set([]byte(k), []byte(v))
	}
	if change != nil {
		change(b.Set, b.Delete)
	}
	s := store.NewMemory()
	if err := s.Apply(&b, true); err != nil {
		t.Fatal(err)
	}
	return s
}

func wantContent(t *testing.T, s store.Store, want map[string]string) {
	t.Helper()
	if got := content(t, s); !maps.Equal(got, want) {
		for k, v := range want {
			if g, ok := got[k]; !ok || g != v {
				t.Errorf("key %q: got %x, want %x", k, g, v)
			}
		}
		t.Fatalf("the store has %d keys, want %d", len(got), len(want))
	}
}

// TestReplayIsTheSame replays the ledger of each node, and finds what the node has found.
func TestReplayIsTheSame(t *testing.T) {
	w := replayed(t)
	for i, s := range w.stores {
		before, head := content(t, s), w.cores[i].Ledger().Head()
		got, err := w.replay(s, i%2 == 0, 4<<10, allWrites)
		if err != nil {
			t.Fatalf("node %d: %v", i, err)
		}
		if got.Commits != head.Commit || got.Of != head.Commit || got.Position != head.Position || got.Stale != "" || got.Writing {
			t.Errorf("node %d: got %+v, want all of %+v and nothing stale", i, got, head)
		}
		if got.Rejected < 20 || got.Certified < 3 || got.Checkpoints < got.Certified || got.Derived[0].Keys < 3 || got.Derived[2].Keys < 100 {
			t.Errorf("node %d: the ledger tests little: %+v", i, got)
		}
		wantContent(t, s, before)
	}
}

// damaged breaks each sort of derived key: some are changed, some are gone, some are too many.
func damaged(t *testing.T, all map[string]string) *store.Memory {
	t.Helper()
	return copied(t, all, func(set func(k, v []byte), remove func(k []byte)) {
		for i, k := range slices.Sorted(maps.Keys(all)) {
			if !bytes.ContainsAny([]byte(k[:1]), "GJHP") {
				continue
			}
			switch i % 4 {
			case 0:
				remove([]byte(k))
			case 1:
				set([]byte(k), []byte(all[k]+"!"))
			case 2:
				set([]byte(k+"?"), nil)
			}
		}
	})
}

// TestReplayMends breaks what is derived; a node goes on with what was made anew.
func TestReplayMends(t *testing.T) {
	w := replayed(t)
	const i = 2
	whole := content(t, w.stores[i])
	bad := damaged(t, whole)
	before := content(t, bad)
	got, err := w.replay(bad, false, 0, allWrites)
	if err != nil || got.Stale == "" {
		t.Fatalf("the damage is not found: %v, %+v", err, got)
	}
	for _, d := range got.Derived {
		if d.Stale == 0 {
			t.Errorf("nothing of %s is stale: %+v", d.Name, got)
		}
	}
	wantContent(t, bad, before) // it was only looked at
	if got, err := w.replay(bad, true, 0, allWrites); err != nil || got.Stale == "" {
		t.Fatalf("%v, %+v", err, got)
	}
	wantContent(t, bad, whole)

	w.crash(i)
	w.stores[i] = bad
	w.start(i)
	w.run(time.Second)
	h := w.submit(i, "after the replay")[0]
	w.run(2 * time.Second)
	for k := range w.cores {
		w.wantFinal(k, h)
	}
	if _, err := w.replay(bad, false, 0, allWrites); err != nil {
		t.Fatal(err)
	}
}

// TestReplayInterrupted ends a replay after each of its writes: no node starts on what is half done, and another replay brings
// it to its end.
func TestReplayInterrupted(t *testing.T) {
	w := replayed(t)
	whole := content(t, w.stores[0])
	start := func(s store.Store) error {
		_, err := NewCore(CoreConfig{Genesis: w.genesis, Key: w.keys[0], Store: s, Plugins: w.ledger, Tuning: DefaultTuning()}, w.now)
		return err
	}
	for writes := 0; ; writes++ {
		s := damaged(t, whole)
		got, err := w.replay(s, true, 2<<10, writes)
		if err != nil {
			t.Fatal(err)
		}
		s = s.Crash()
		if !got.Writing && writes > 0 {
			if writes < 5 {
				t.Fatalf("only %d writes: the test shows little", writes)
			}
			t.Logf("%d writes", writes)
			wantContent(t, s, whole)
			return
		}
		if writes > 0 {
			if err := start(s); !errors.Is(err, ErrReindex) {
				t.Fatalf("a node on a replay that has ended after %d writes: %v", writes, err)
			}
		}
		if _, err := w.replay(s, true, 0, allWrites); err != nil {
			t.Fatal(err)
		}
		wantContent(t, s, whole)
		if err := start(s); err != nil {
			t.Fatal(err)
		}
	}
}

// place is one of the messages of a ledger, with its keys.
type place struct {
	commit, at uint64
	message    *tangle.Message
	key, said  []byte // of the message, and of what the order has said of it
}

// placeOf finds the first message from a position on that suits.
func (w *network) placeOf(i int, from uint64, suits func(Settled) bool) place {
	w.t.Helper()
	l := w.cores[i].Ledger()
	for p := from; ; p++ {
		id, err := l.AtPosition(tangle.Position(p))
		if err != nil {
			w.t.Fatal(err)
		}
		m, settled, err := l.Message(id)
		if err != nil {
			w.t.Fatal(err)
		}
		if suits(settled) {
			return place{settled.Commit, p, m, store.Key(store.PrefixMessage, id[:]), store.Key(store.PrefixSettled, id[:])}
		}
	}
}

func flipped(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 1
	return b
}

// TestReplayFinds changes what cannot be derived, one thing at a time; each is found at its place, and nothing is written.
func TestReplayFinds(t *testing.T) {
	w := replayed(t)
	whole := content(t, w.stores[1])
	head := w.cores[1].Ledger().Head()
	m := w.placeOf(1, 60, func(s Settled) bool { return slices.Contains(s.Codes, "not_so") })
	raw, said := m.message.Bytes(), []byte(whole[string(m.said)])
	commit := store.Key(store.PrefixCommit, store.U64(m.commit))
	certified := slices.Sorted(maps.Keys(whole))
	certified = slices.DeleteFunc(certified, func(k string) bool { return k[0] != byte(store.PrefixCertified) })
	note := certified[1]
	erased, err := w.cores[1].codec.Erase(m.message, slices.IndexFunc(m.message.Entries, func(e tangle.Entry) bool { return e.Lasting != nil }), tangle.CodeNever)
	if err != nil {
		t.Fatal(err)
	}
	const early = 3 // a commit
	witness := func() (id tangle.ID) {
		c, err := w.cores[1].Ledger().Commit(early)
		if err != nil {
			t.Fatal(err)
		}
		return c.Leader
	}()
	witnessKey := string(store.Key(store.PrefixMessage, witness[:]))

	tests := []struct {
		name   string
		key    []byte
		value  []byte // nil: the key is removed
		code   string
		commit uint64 // 0: anywhere
		placed bool   // at the place of the message
	}{
		{"header", m.key, flipped(raw, 60), DiffDamagedMessage, m.commit, true},
		{"signature", m.key, flipped(raw, len(m.message.HeaderBytes())+9), DiffDamagedMessage, m.commit, true},
		{"body", m.key, flipped(raw, len(raw)-1), DiffDamagedMessage, m.commit, true},
		{"truncated", m.key, raw[:len(raw)-1], DiffDamagedMessage, m.commit, true},
		{"another message", m.key, []byte(whole[witnessKey]), DiffDamagedMessage, m.commit, true},
		{"no message", m.key, nil, DiffMissingMessage, m.commit, true},
		{"erased", m.key, erased.Bytes(), DiffErased, m.commit, true},
		{"witness", []byte(witnessKey), flipped([]byte(whole[witnessKey]), 50), DiffDamagedMessage, early, false},
		{"outcome", m.said, bytes.Replace(said, []byte("not_so"), []byte("not_ok"), 1), DiffOutcome, m.commit, true},
		{"no outcome", m.said, nil, DiffOutcome, m.commit, true},
		{"no commit", commit, nil, DiffMissingCommit, m.commit, false},
		{"commit's round", commit, flipped([]byte(whole[string(commit)]), 35), DiffDamagedCommit, m.commit, false},
		{"commit's time", commit, flipped([]byte(whole[string(commit)]), 43), DiffDamagedCommit, m.commit, false},
		{"commit's first position", commit, flipped([]byte(whole[string(commit)]), 51), DiffDamagedCommit, m.commit, false},
		{"commit's digest", commit, flipped([]byte(whole[string(commit)]), 65), DiffDamagedCommit, m.commit, false},
		{"commit cut", commit, []byte(whole[string(commit)])[:90], DiffDamagedCommit, m.commit, false},
		{"more commits", store.Key(store.PrefixCommit, store.U64(head.Commit+1)), []byte(whole[string(commit)]), DiffHead, 0, false},
		{"checkpoint's text", []byte(note), flipped([]byte(whole[note]), 56+30), DiffCheckpoint, 0, false},
		{"checkpoint's signature", []byte(note), flipped([]byte(whole[note]), len(whole[note])-9), DiffCheckpoint, 0, false},
		{"checkpoint's mark", []byte(note), flipped([]byte(whole[note]), 20), DiffCheckpoint, 0, false},
		{"a checkpoint that is not due", store.Key(store.PrefixCertified, store.U64(m.at), store.U64(m.commit-1)), []byte(whole[note]), DiffCheckpoint, 0, false},
		{"no newest checkpoint", []byte(certified[len(certified)-1]), nil, DiffHead, 0, false},
		{"plugin's digest", keyExecuted(), flipped([]byte(whole[string(keyExecuted())]), len(whole[string(keyExecuted())])-1), DiffHead, 0, false},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			s := copied(t, whole, func(set func(k, v []byte), remove func(k []byte)) {
				if c.value == nil {
					remove(c.key)
				} else {
					set(c.key, bytes.Clone(c.value))
				}
			})
			before := content(t, s)
			got, err := w.replay(s, true, 0, allWrites)
			var d *Difference
			if !errors.As(err, &d) || d.Code != c.code || c.commit != 0 && d.Commit != c.commit {
				t.Fatalf("got %v after %+v, want %s at commit %d", err, got, c.code, c.commit)
			}
			if c.placed && (uint64(d.Position) != m.at || d.Message != m.message.ID) {
				t.Errorf("got position %d and message %s, want %d and %s", d.Position, d.Message, m.at, m.message.ID)
			}
			wantContent(t, s, before)
		})
	}
}

// TestReplayOfALeaderElsewhere has a leader that is not among its commit's messages: an earlier commit has ordered it, or a
// later one will.
func TestReplayOfALeaderElsewhere(t *testing.T) {
	w := replayed(t)
	r, err := NewReplay(ReplayConfig{Genesis: w.genesis, Store: w.stores[0], Scratch: store.NewMemory(), Plugins: w.ledger})
	if err != nil {
		t.Fatal(err)
	}
	rec, err := w.cores[0].Ledger().Commit(3)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := r.leader(rec, nil); err != nil || m.ID != rec.Leader {
		t.Errorf("got %v, %v, want %s", m, err, rec.Leader)
	}
	rec.Round++
	var d *Difference
	if _, err := r.leader(rec, nil); !errors.As(err, &d) || d.Code != DiffDamagedCommit {
		t.Errorf("a leader of another round: %v", err)
	}
	rec.Leader[0] ^= 1
	if _, err := r.leader(rec, nil); !errors.As(err, &d) || d.Code != DiffMissingMessage {
		t.Errorf("a leader that is not there: %v", err)
	}
}

// TestReplayOfOtherRules has a plugin that computes something else: first other outcomes, then another state alone.
func TestReplayOfOtherRules(t *testing.T) {
	w := replayed(t)
	apply := w.ledger[0].Plugin.Apply
	for code, other := range map[string]func(plugins.State, plugins.Ordered) error{
		DiffOutcome: func(s plugins.State, e plugins.Ordered) error {
			if err := apply(s, e); err != nil {
				return plugins.Reject("no", "")
			}
			return nil
		},
		DiffCheckpoint: func(s plugins.State, e plugins.Ordered) error {
			s.Set([]byte("more"), []byte("state"))
			return apply(s, e)
		},
	} {
		w.ledger[0].Plugin.Apply = other
		var d *Difference
		if got, err := w.replay(w.stores[0], true, 0, allWrites); !errors.As(err, &d) || d.Code != code {
			t.Errorf("got %v, %+v, want %s", err, got, code)
		}
	}
}

// TestReplayTakesUpAnotherIndex has a plugin whose index is another one than before, and changes no outcome.
func TestReplayTakesUpAnotherIndex(t *testing.T) {
	w := replayed(t)
	w.ledger[0].Plugin.Index = func(x plugins.Index, e plugins.Ordered, _ *plugins.Rejection) { x.Set([]byte("last"), e.Hash[:]) }
	got, err := w.replay(w.stores[0], true, 0, allWrites)
	if err != nil || got.Derived[0].Stale != 0 || got.Derived[2].Keys != 1 || got.Derived[2].Stale < 100 {
		t.Fatalf("got %v, %+v", err, got)
	}
	if got, err := w.replay(w.stores[0], false, 0, allWrites); err != nil || got.Stale != "" {
		t.Errorf("got %v, %+v after it", err, got)
	}
}

// TestReplayRefuses has stores that are none of this network's.
func TestReplayRefuses(t *testing.T) {
	w := newNetwork(t, 4)
	if _, err := w.replay(store.NewMemory(), true, 0, allWrites); err == nil || !strings.Contains(err.Error(), "never run") {
		t.Errorf("an empty store: %v", err)
	}
	got, err := w.replay(w.stores[0], true, 0, allWrites) // nothing is committed
	if err != nil || got.Of != 0 || got.Stale != "" {
		t.Errorf("a new one: %v, %+v", err, got)
	}
	w.genesis.Network = "another"
	if _, err := w.replay(w.stores[0], true, 0, allWrites); err == nil || !strings.Contains(err.Error(), "another network") {
		t.Errorf("another network's: %v", err)
	}
}
