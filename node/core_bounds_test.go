package node

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"weft/config/genesis"
	"weft/consensus"
	"weft/gossip"
	"weft/internal/store"
	"weft/tangle"
)

// The tests of this file drive cores to their bounds: much at once, members that lie, crashes at bad moments. That no core
// stops and that none finds a fault is checked by network.step.

// founded is newNetwork with another genesis.
func founded(t testing.TB, n int, change func(*genesis.Genesis), ledger ...CorePlugin) *network {
	t.Helper()
	w := newNetwork(t, n, ledger...)
	change(w.genesis)
	for i := range w.cores {
		w.cores[i], w.inbox[i], w.stores[i] = nil, nil, store.NewMemory()
	}
	w.startAll()
	return w
}

func (w *network) crashAll() {
	for i := range w.cores {
		w.crash(i)
	}
}

func (w *network) startAll() {
	w.t.Helper()
	for i := range w.cores {
		w.start(i)
	}
}

// script takes a member's core away, so that the test speaks for it; the others go on believing in its connection.
func (w *network) script(i int) { w.cores[i], w.inbox[i] = nil, nil }

// sealed is a message of a scripted member.
func (w *network) sealed(i int, h tangle.Header, entries []tangle.Entry) *tangle.Message {
	w.t.Helper()
	h.Author = core2member(w, i)
	if h.Time == 0 {
		h.Time = w.now
	}
	if h.Parents == nil {
		h.Parents = []tangle.ID{w.genesis.ID()}
	}
	slices.SortFunc(h.Parents, func(a, b tangle.ID) int { return slices.Compare(a[:], b[:]) })
	codec := tangle.Codec{Network: w.genesis.ID(), Limits: w.genesis.Limits}
	m, err := codec.Seal(h, entries, func(in []byte) tangle.Signature { return tangle.Signature(ed25519.Sign(w.keys[i], in)) })
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

// dataEntries are n entries of so many bytes each, all different.
func dataEntries(label string, n, size int) (list []tangle.Entry) {
	for k := range n {
		text := fmt.Appendf(nil, "%s %d ", label, k)
		list = append(list, tangle.NewEntry(tangle.KindData, tangle.Salt{}, Data{"test", append(text, make([]byte, size)...)}.Encode()))
	}
	return list
}

// give hands messages to a core in one frame from a peer.
func (w *network) give(to, from int, list ...*tangle.Message) {
	f := &gossip.Messages{List: list}
	for _, m := range list {
		f.Raw = append(f.Raw, gossip.Raw{Message: m.Bytes()})
	}
	w.inbox[to] = append(w.inbox[to], Input{Frame: &PeerFrame{From: core2member(w, from), Frame: gossip.Frame{Messages: f}}})
}

// invented are IDs of messages that do not exist.
func invented(label string, n int) (ids []tangle.ID) {
	for k := range n {
		ids = append(ids, sha256.Sum256(fmt.Appendf(nil, "%s %d", label, k)))
	}
	return ids
}

// lose takes frames out of the inboxes.
func (w *network) lose(which func(*PeerFrame) bool) {
	for i := range w.inbox {
		w.inbox[i] = slices.DeleteFunc(w.inbox[i], func(in Input) bool { return in.Frame != nil && which(in.Frame) })
	}
}

// runUntil lets time pass until done, and fails if that takes longer than most.
func (w *network) runUntil(most time.Duration, what string, done func() bool) {
	w.t.Helper()
	for end := w.now.Add(most); !done(); w.run(20 * time.Millisecond) {
		if w.now >= end {
			var states []CoreStatus
			for _, c := range w.cores {
				if c != nil {
					states = append(states, c.Status())
				}
			}
			w.t.Fatalf("after %s not yet: %s; %+v", most, what, states)
		}
	}
}

func (w *network) isFinal(i int, hashes ...tangle.Hash) bool {
	for _, h := range hashes {
		if rec, err := w.cores[i].Ledger().Entry(h); err != nil || rec.Settled.Status != StatusFinal {
			return false
		}
	}
	return true
}

// wantAllFinal waits until the entries are final on every core that is up, and compares what the cores have decided.
func (w *network) wantAllFinal(most time.Duration, hashes ...tangle.Hash) {
	w.t.Helper()
	seen := make([]int, len(w.cores)) // of each core, how many are final: they stay so
	w.runUntil(most, "all final", func() bool {
		for i, c := range w.cores {
			for c != nil && seen[i] < len(hashes) {
				if !w.isFinal(i, hashes[seen[i]]) {
					return false
				}
				seen[i]++
			}
		}
		return true
	})
	w.wantSameHead()
}

// wantSameHead compares the commits and checkpoints that all cores have.
func (w *network) wantSameHead() {
	w.t.Helper()
	first, low := -1, ^uint64(0)
	for i, c := range w.cores {
		if c != nil {
			first, low = max(first, i), min(low, c.Ledger().Head().Commit)
		}
	}
	want, err := w.cores[first].Ledger().Commit(low)
	if err != nil {
		w.t.Fatal(err)
	}
	cp, err := w.cores[first].Ledger().LatestCheckpoint()
	if err != nil {
		w.t.Fatal(err)
	}
	for i, c := range w.cores {
		if c == nil {
			continue
		}
		if got, err := c.Ledger().Commit(low); err != nil || got.Digest != want.Digest {
			w.t.Fatalf("commit %d of core %d: %v, another digest than on core %d", low, i, err, first)
		}
		if got, err := c.Ledger().LatestCheckpoint(); err != nil || got.Size != cp.Size || got.Root != cp.Root {
			w.t.Fatalf("checkpoint of core %d: %v, size %d, want %d with the same root", i, err, got.Size, cp.Size)
		}
	}
}

func TestThousandsOfMessagesAfterLostWitnesses(t *testing.T) {
	w := newNetwork(t, 4)
	w.run(2 * time.Second)
	var hashes []tangle.Hash
	for k := range 13000 {
		hashes = append(hashes, w.submit(k%2, fmt.Sprint(k))...)
		w.run(time.Millisecond)
		w.lose(func(f *PeerFrame) bool {
			m := f.Frame.Messages
			return m == nil || len(m.List) > 0 && m.List[0].IsWitness()
		})
	}
	if st := w.cores[0].Status(); st.Unordered+st.Parked < 10000 {
		t.Fatalf("only %d messages wait: the test tests nothing", st.Unordered+st.Parked)
	}
	w.wantAllFinal(10*time.Second, hashes...)
	w.wantFullCommit()
	w.crashAll()
	w.startAll()
	w.wantAllFinal(5*time.Second, append(hashes, w.lateEntry(0))...)
}

// wantFullCommit checks that the load was enough for a commit to reach its bound, and that none is over it.
func (w *network) wantFullCommit() {
	w.t.Helper()
	most := 0
	for n := uint64(1); n <= w.cores[0].Ledger().Head().Commit; n++ {
		c, err := w.cores[0].Ledger().Commit(n)
		if err != nil {
			w.t.Fatal(err)
		}
		most = max(most, len(c.Messages))
	}
	if most != consensus.MaxCommitMessages {
		w.t.Errorf("the largest commit has %d messages, want %d", most, consensus.MaxCommitMessages)
	}
}

// lateEntry submits an entry once the core may sign again.
func (w *network) lateEntry(i int) tangle.Hash {
	w.t.Helper()
	w.run(100 * time.Millisecond)
	return w.submit(i, fmt.Sprint("late ", w.now))[0]
}

func TestReturnToThousandsOfMessagesOfEachSide(t *testing.T) {
	w := newNetwork(t, 4)
	w.run(2 * time.Second)
	w.crash(2)
	w.crash(3)
	w.run(100 * time.Millisecond)
	var hashes []tangle.Hash
	for k := range 13000 {
		hashes = append(hashes, w.submit(k%2, fmt.Sprint(k))...)
		w.run(time.Millisecond)
	}
	w.start(2)
	w.start(3)
	w.wantAllFinal(20*time.Second, hashes...)
	w.wantFullCommit()
	w.crashAll()
	w.startAll()
	w.wantAllFinal(5*time.Second, append(hashes, w.lateEntry(2))...)
}

func TestOneParentReleasesMany(t *testing.T) {
	w := newNetwork(t, 4)
	w.run(2 * time.Second)
	w.script(3)
	parent := w.sealed(3, tangle.Header{Seq: 1000}, dataEntries("parent", 1, 0))
	var hashes []tangle.Hash
	for k := range 60 {
		m := w.sealed(3, tangle.Header{Seq: tangle.Seq(1001 + k), Parents: []tangle.ID{parent.ID}}, dataEntries(fmt.Sprint(k), 1024, 0))
		hashes = append(hashes, m.Entries[0].Hash, m.Entries[1023].Hash)
		w.give(0, 3, m)
		w.run(time.Millisecond)
	}
	if n := w.cores[0].Status().Parked; n != 60 {
		t.Fatalf("%d messages are parked, want 60", n)
	}
	w.give(0, 3, parent)
	w.wantAllFinal(10*time.Second, hashes...)
	for i := range 3 {
		if st := w.cores[i].Status(); st.Parked > 0 {
			t.Errorf("core %d: %d messages are still parked", i, st.Parked)
		}
	}
}

func TestBurstOfSubmissions(t *testing.T) {
	w := newNetwork(t, 4)
	w.run(2 * time.Second)
	var hashes []tangle.Hash
	for k := range 60 {
		entries := dataEntries(fmt.Sprint(k), 1000, 0)
		hashes = append(hashes, entries[0].Hash, entries[999].Hash)
		w.inbox[0] = append(w.inbox[0], Input{Submit: &Submission{Ticket: uint64(k), Entries: entries}})
	}
	backlog := []int{}
	for more := true; more && len(backlog) < 100; {
		out := w.step(0, w.cores[0])
		more, backlog = out.More, append(backlog, out.Backlog)
	}
	if len(backlog) < 3 || backlog[0] == 0 || !slices.IsSortedFunc(backlog, func(a, b int) int { return b - a }) || backlog[len(backlog)-1] != 0 {
		t.Errorf("inputs left after each step: %v, want fewer and fewer down to none, in several steps", backlog)
	}
	tickets := map[uint64]bool{}
	for _, a := range w.answers[0].Accepted {
		if tickets[a.Ticket] {
			t.Errorf("ticket %d is answered twice", a.Ticket)
		}
		tickets[a.Ticket] = true
	}
	if len(tickets) != 60 || len(w.answers[0].Refused) > 0 {
		t.Fatalf("%d submissions accepted, refused: %v", len(tickets), w.answers[0].Refused)
	}
	w.wantAllFinal(5*time.Second, hashes...)
}

func TestInventedParentsDoNotStopFinality(t *testing.T) {
	w := newNetwork(t, 4)
	w.run(2 * time.Second)
	w.script(3)
	for i := range 3 {
		for k := range 1100 {
			label := fmt.Sprint(i, " ", k)
			w.give(i, 3, w.sealed(3, tangle.Header{Seq: tangle.Seq(5000 + k), Parents: invented(label, 8)}, dataEntries(label, 1, 0)))
		}
	}
	w.run(200 * time.Millisecond)
	for i := range 3 { // an equivocation, one variant each: the others must ask for those they lack
		w.give(i, 3, w.sealed(3, tangle.Header{Seq: 9000}, dataEntries(fmt.Sprint("variant", i), 1, 0)))
	}
	w.wantAllFinal(3*time.Second, w.submit(0, "hello")...)
}

func TestFalseHeadsDoNotStopFinality(t *testing.T) {
	w := newNetwork(t, 4)
	w.run(2 * time.Second)
	w.script(3)
	h := w.submit(0, "hello")
	for range 100 { // what the honest say to each other now is lost: it must be repaired
		w.lose(func(*PeerFrame) bool { return true })
		w.run(time.Millisecond)
	}
	final := func() bool { return w.isFinal(0, h...) && w.isFinal(1, h...) && w.isFinal(2, h...) }
	for end := w.now.Add(10 * time.Second); w.now < end && !final(); w.run(time.Millisecond) {
		for i := range 3 {
			hog := w.falseHeads(i)
			w.inbox[i] = append([]Input{{Frame: &PeerFrame{From: core2member(w, 3), Frame: gossip.Frame{Heads: &hog}}}}, w.inbox[i]...)
		}
	}
	if !final() {
		t.Errorf("not final after 10 s: %+v", w.cores[0].Status())
	}
}

// falseHeads claim to hold far more of everybody but the core they are for.
func (w *network) falseHeads(to int) gossip.Heads {
	h := gossip.Heads{Network: w.genesis.ID()}
	for _, m := range w.genesis.Members {
		if m.Key != core2member(w, to) {
			h.Authors = append(h.Authors, gossip.AuthorHead{Author: m.Key, Seq: 1 << 40})
		}
	}
	slices.SortFunc(h.Authors, func(a, b gossip.AuthorHead) int { return compareMembers(a.Author, b.Author) })
	return h
}

func TestExpiredEntriesSurviveACrash(t *testing.T) {
	for _, kept := range []bool{true, false} {
		t.Run(fmt.Sprintf("step kept %v", kept), func(t *testing.T) {
			w := founded(t, 4, func(g *genesis.Genesis) { g.Consensus.HorizonSeconds = 10 })
			w.run(2 * time.Second)
			for i := 1; i < 4; i++ {
				w.crash(i)
			}
			w.run(time.Second)
			h := w.submit(0, "promised")
			w.run(30 * time.Second)
			if len(w.answers[0].Accepted) != 1 {
				t.Fatalf("not accepted: %+v", w.answers[0])
			}
			for i := 1; i < 4; i++ {
				w.start(i)
			}
			w.stepUntilExpired(0)
			if rec, err := w.cores[0].Ledger().Entry(h[0]); err != nil || rec.Settled.Status != StatusExpired {
				t.Fatalf("at the crash: %v %q, want expired", err, rec.Settled.Status)
			}
			if kept {
				if err := w.stores[0].Apply(&store.Batch{}, true); err != nil {
					t.Fatal(err)
				}
			}
			w.crash(0)
			w.start(0)
			w.wantAllFinal(20*time.Second, h...)
		})
	}
}

// stepUntilExpired ends right after the Step in which an own message of core i expires.
func (w *network) stepUntilExpired(i int) {
	w.t.Helper()
	for end := w.now.Add(20 * time.Second); w.now < end; w.now++ {
		for k, c := range w.cores {
			if len(w.inbox[k]) == 0 && w.now < w.wake[k] {
				continue
			}
			out := w.step(k, c)
			if k == i && slices.ContainsFunc(out.Events, func(e Event) bool {
				return e.Kind == EventExpired && !e.Message.IsWitness() && e.Message.Header.Author == c.self
			}) {
				return
			}
		}
	}
	w.t.Fatal("nothing expires")
}

// countingStore counts what is read.
type countingStore struct {
	store.Store
	gets, bytes int
}

func (s *countingStore) Get(key []byte) ([]byte, error) {
	b, err := s.Store.Get(key)
	s.gets, s.bytes = s.gets+1, s.bytes+len(b)
	return b, err
}

func TestOldParentsAreCheap(t *testing.T) {
	const parents = 256
	w := newNetwork(t, 4)
	w.run(2 * time.Second)
	w.script(3)
	var old []tangle.ID
	var last tangle.Hash
	for k := range parents {
		m := w.sealed(3, tangle.Header{Seq: tangle.Seq(100 + k)}, dataEntries(fmt.Sprint(k), 50, 100))
		old, last = append(old, m.ID), m.Entries[0].Hash
		for i := range 3 {
			w.give(i, 3, m)
		}
		w.run(10 * time.Millisecond)
	}
	w.wantAllFinal(5*time.Second, last)
	w.crash(0) // it forgets what it knew by heart
	w.start(0)
	w.run(time.Second)
	counted := &countingStore{Store: w.stores[0]}
	w.cores[0].config.Store = counted
	m := w.sealed(3, tangle.Header{Seq: 7777, Parents: append(invented("parent", 1), old...), Witness: &tangle.Witness{Round: 1}}, nil)
	const besides = 16 // Gets of what the Step does anyway
	for k, most := range []int{parents + besides, besides, besides} {
		counted.gets, counted.bytes = 0, 0
		w.give(0, 3, m)
		w.step(0, w.cores[0])
		if counted.gets > most || counted.bytes > most*256 {
			t.Errorf("offer %d of a witness with %d old parents: %d Gets of %d bytes, want at most %d of 256 each", k, parents, counted.gets, counted.bytes, most)
		}
	}
	if w.cores[0].Status().Parked != 1 {
		t.Errorf("%d parked, want the witness", w.cores[0].Status().Parked)
	}
}

func TestLatestCheckpointWhileIdle(t *testing.T) {
	w := founded(t, 4, func(g *genesis.Genesis) { g.Consensus.FreshCheckpointSeconds = 2 })
	w.run(2 * time.Second)
	w.wantAllFinal(time.Second, w.submit(0, "only one")...)
	l := w.cores[0].Ledger()
	first, err := l.LatestCheckpoint()
	if err != nil {
		t.Fatal(err)
	}
	commits := map[uint64]bool{}
	for end := w.now.Add(60 * time.Second); w.now < end; w.run(time.Millisecond) {
		if w.now == end-30_000 { // a restart may keep one more, and must not lose the newest
			w.crash(0)
			w.start(0)
			l = w.cores[0].Ledger()
		}
		cp, err := l.LatestCheckpoint()
		if err != nil || cp.Commit < first.Commit || cp.Size != first.Size {
			t.Fatalf("at %s: %v, %+v after %+v", w.now, err, cp, first)
		}
		if cp.Commit != l.Head().FinalAt {
			t.Fatalf("at %s: the latest is of commit %d, the head says %d", w.now, cp.Commit, l.Head().FinalAt)
		}
		commits[cp.Commit] = true
	}
	if len(commits) < 20 {
		t.Errorf("%d checkpoints in a minute, want about 30", len(commits))
	}
	if kept, err := l.Checkpoints(2, 1000); err != nil || len(kept) > 4 {
		t.Errorf("%d checkpoints of one size are kept (%v)", len(kept), err)
	}
	if cp, err := l.Checkpoint(1); err != nil || cp.Commit > first.Commit {
		t.Errorf("the first checkpoint of its size is gone: %v, %d", err, cp.Commit)
	}
}

func TestWitnessIsFinalUnderACheckpointOnly(t *testing.T) {
	w := newNetwork(t, 4)
	ordered, final := 0, 0
	for k := range 4000 {
		if k%400 == 0 {
			w.submit(k%4, fmt.Sprint(k))
		}
		w.run(time.Millisecond)
		if k%10 > 0 {
			continue
		}
		l := w.cores[1].Ledger()
		covered := uint64(0)
		if cp, err := l.LatestCheckpoint(); err == nil {
			covered = cp.Commit
		}
		for _, m := range w.cores[1].engine.Witnesses() {
			_, settled, err := l.Message(m.ID)
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case settled.Status == StatusFinal && settled.Commit > covered:
				t.Fatalf("witness of commit %d is final, the newest checkpoint is of commit %d", settled.Commit, covered)
			case settled.Status == StatusFinal:
				final++
			case settled.Status == StatusOrdered && settled.Commit <= covered:
				t.Fatalf("witness of commit %d is not final, the newest checkpoint is of commit %d", settled.Commit, covered)
			case settled.Status == StatusOrdered:
				ordered++
			}
		}
	}
	if ordered == 0 || final == 0 {
		t.Errorf("seen: %d ordered, %d final witnesses", ordered, final)
	}
}

func TestFarFutureDoesNotFillTheHold(t *testing.T) {
	w := newNetwork(t, 4)
	w.run(2 * time.Second)
	w.script(3)
	early := w.sealed(3, tangle.Header{Seq: 100, Time: w.now.Add(time.Second)}, dataEntries("early", 1, 0))
	w.give(0, 3, early)
	w.run(time.Millisecond)
	flood := func(label string, n, size int, ahead time.Duration) {
		for k := range n {
			seq := tangle.Seq(1000 + k)
			w.give(0, 3, w.sealed(3, tangle.Header{Seq: seq, Time: w.now.Add(ahead)}, dataEntries(fmt.Sprint(label, k), 1, size)))
		}
		w.run(time.Millisecond)
		if c := w.cores[0]; len(c.held) > MaxHeld || c.heldBytes > MaxHeldBytes {
			t.Fatalf("%s: %d messages of %d bytes are held", label, len(c.held), c.heldBytes)
		}
	}
	flood("never", 100, 0, time.Hour)
	if n := w.cores[0].Status().Held; n != 1 {
		t.Errorf("%d held, want the early one alone", n)
	}
	flood("large", 600, 32000, 50*time.Second)
	if c := w.cores[0]; c.heldBytes < MaxHeldBytes-1<<16 {
		t.Errorf("%d bytes are held: the flood is too small", c.heldBytes)
	}
	w.wantAllFinal(3*time.Second, early.Entries[0].Hash)
	late := w.sealed(3, tangle.Header{Seq: 101, Time: w.now.Add(time.Second)}, dataEntries("late", 1, 30000))
	for i := range 3 {
		w.give(i, 3, late) // core 0 has no room for it, and gets it from the others later
	}
	w.wantAllFinal(4*time.Second, late.Entries[0].Hash)
	w.crash(0)
	w.start(0)
	w.run(time.Second)
	flood("small", MaxHeld+500, 0, 50*time.Second)
	if n := w.cores[0].Status().Held; n != MaxHeld {
		t.Errorf("%d held, want %d", n, MaxHeld)
	}
	w.wantAllFinal(3*time.Second, w.submit(0, "goes on")...)
}

func TestMemberThatIsNoValidator(t *testing.T) {
	w := founded(t, 5, func(g *genesis.Genesis) { g.Members[4].Roles = []string{genesis.RoleIssuer} })
	w.run(2 * time.Second)
	h := w.submit(4, "of an issuer")
	w.wantAllFinal(time.Second, h...)
	w.crash(4)
	h = append(h, w.submit(0, "meanwhile")...)
	w.run(5 * time.Second)
	w.start(4)
	h = append(h, w.lateEntry(4))
	w.wantAllFinal(3*time.Second, h...)
	if st := w.cores[4].Status(); st.Own != 0 {
		t.Errorf("it has signed a witness of round %d", st.Own)
	}
	if _, err := w.cores[4].Ledger().Receipt(h[0]); err != nil {
		t.Errorf("receipt: %v", err)
	}
}

func TestOneNodeAlone(t *testing.T) {
	w := newNetwork(t, 1)
	w.run(time.Second)
	var hashes []tangle.Hash
	for k := range 50 {
		hashes = append(hashes, w.submit(0, fmt.Sprint(k))...)
		w.run(10 * time.Millisecond)
		if k%20 == 19 {
			w.crash(0)
			w.start(0)
		}
	}
	w.wantAllFinal(time.Second, hashes...)
}

// crashes runs a network whose cores crash between any two Steps, one or all of them, and come back a little later.
type crashes struct {
	*network
	random *rand.Rand
	ticket uint64
	back   []tangle.Time            // when a core that is down comes back
	sent   map[uint64]tangle.Hash   // by ticket
	kept   map[tangle.Hash]struct{} // accepted
	down   int                      // crashes so far
}

func TestCrashesLoseNothingAccepted(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			var key [32]byte
			binary.BigEndian.PutUint64(key[:], seed)
			c := &crashes{
				network: newNetwork(t, 4), random: rand.New(rand.NewChaCha8(key)),
				back: make([]tangle.Time, 4), sent: map[uint64]tangle.Hash{}, kept: map[tangle.Hash]struct{}{},
			}
			c.run(time.Second)
			for end := c.now.Add(8 * time.Second); c.now < end; c.now++ {
				c.millisecond()
			}
			for i, core := range c.cores {
				if core == nil {
					c.start(i)
				}
			}
			var hashes []tangle.Hash
			for h := range c.kept {
				hashes = append(hashes, h)
			}
			if c.down < 10 || len(hashes) < 100 {
				t.Fatalf("%d crashes and %d accepted entries: the test tests nothing", c.down, len(hashes))
			}
			c.run(3 * time.Second)
			c.wantAllFinal(10*time.Second, append(hashes, c.lateEntry(0))...)
		})
	}
}

// millisecond is one of virtual time, in which clients submit and cores may crash.
func (c *crashes) millisecond() {
	for i := range c.cores {
		if c.cores[i] == nil && c.now >= c.back[i] {
			c.start(i)
		}
	}
	for i := range c.cores {
		core := c.cores[i]
		if core == nil {
			continue
		}
		if c.random.IntN(50) == 0 {
			c.ticket++
			e := dataEntries(fmt.Sprint(c.ticket), 1, 0)
			c.sent[c.ticket] = e[0].Hash
			c.inbox[i] = append(c.inbox[i], Input{Submit: &Submission{Ticket: c.ticket, Entries: e}})
		}
		if len(c.inbox[i]) == 0 && c.now < c.wake[i] {
			continue
		}
		for _, a := range c.step(i, core).Accepted {
			c.kept[c.sent[a.Ticket]] = struct{}{}
		}
		c.maybeCrash(i)
	}
}

func (c *crashes) maybeCrash(i int) {
	switch c.random.IntN(1000) {
	case 0:
		for k, core := range c.cores {
			if core != nil {
				c.fall(k)
			}
		}
	case 1, 2:
		c.fall(i)
	}
}

func (c *crashes) fall(i int) {
	c.crash(i)
	c.down++
	c.back[i] = c.now.Add(time.Duration(c.random.IntN(300)) * time.Millisecond)
}
