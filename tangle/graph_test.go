package tangle

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

var errForbidden = errors.New("forbidden")

// forbidden is the seq of messages that the check of these tests refuses.
const forbidden = 666

func graphConfig() GraphConfig {
	return GraphConfig{
		Root: codec().Network, RootTime: 1000,
		Settled: func(ID) (Facts, bool) { return Facts{}, false },
		Check: func(m *Message, facts []Facts) error {
			if len(facts) != len(m.Header.Parents) {
				return fmt.Errorf("%d facts for %d parents", len(facts), len(m.Header.Parents))
			}
			if m.Header.Seq == forbidden {
				return errForbidden
			}
			return nil
		},
	}
}

// message has its time and a salt of its own, so that no two are the same.
func message(t testing.TB, time Time, salt int, parents ...ID) *Message {
	return sealed(t, codec(), Header{Seq: 1, Time: time, Parents: sortedSet(parents)}, numbered(salt))
}

func numbered(n int) Entry {
	return NewEntry(KindData, Salt{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, nil)
}

func sortedSet(ids []ID) []ID {
	set := map[ID]bool{}
	for _, id := range ids {
		set[id] = true
	}
	return sortedIDs(set)
}

func root() ID { return codec().Network }

// drawDAG is a graph of messages, parents before children. Some are older than a parent, some are forbidden.
func drawDAG(r *rapid.T, most int) (all []*Message) {
	n := rapid.IntRange(1, most).Draw(r, "messages")
	for i := range n {
		h := Header{Seq: 1, Time: Time(2000 + i)}
		switch rapid.IntRange(0, 14).Draw(r, "fault") {
		case 0:
			h.Time = 1500
		case 1:
			h.Seq = forbidden
		}
		parents := map[ID]bool{}
		for range rapid.IntRange(1, 4).Draw(r, "parents") {
			at := rapid.IntRange(max(-1, i-12), i-1).Draw(r, "parent")
			if at < 0 {
				parents[root()] = true
			} else {
				parents[all[at].ID] = true
			}
		}
		h.Parents = sortedIDs(parents)
		m, err := codec().Seal(h, []Entry{numbered(i)}, unsigned)
		if err != nil {
			r.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

// naive is the graph as one would first write it: sets, and loops until nothing changes.
type naive struct {
	attached map[ID]*Message
	settled  map[ID]bool
	parked   map[ID]*Message
}

func newNaive() *naive {
	return &naive{map[ID]*Message{}, map[ID]bool{}, map[ID]*Message{}}
}

func (n *naive) has(id ID) bool { return id == root() || n.attached[id] != nil }

func (n *naive) add(m *Message) {
	if !n.has(m.ID) && n.parked[m.ID] == nil {
		n.parked[m.ID] = m
	}
	for n.release() {
	}
}

// release moves one parked message whose parents are all here, and says whether there was one.
func (n *naive) release() bool {
	for id, m := range n.parked {
		if !all(m.Header.Parents, n.has) {
			continue
		}
		delete(n.parked, id)
		if n.valid(m) {
			n.attached[id] = m
		} else {
			n.drop(id)
		}
		return true
	}
	return false
}

func (n *naive) valid(m *Message) bool {
	for _, p := range m.Header.Parents {
		if parent := n.attached[p]; parent != nil && parent.Header.Time > m.Header.Time {
			return false
		}
	}
	return m.Header.Seq != forbidden
}

func (n *naive) drop(parent ID) {
	for id, m := range n.parked {
		if slices.Contains(m.Header.Parents, parent) {
			delete(n.parked, id)
			n.drop(id)
		}
	}
}

func (n *naive) missing() []ID {
	set := map[ID]bool{}
	for _, m := range n.parked {
		for _, p := range m.Header.Parents {
			if !n.has(p) && n.parked[p] == nil {
				set[p] = true
			}
		}
	}
	return sortedIDs(set)
}

func (n *naive) unsettled() map[ID]bool {
	set := map[ID]bool{}
	for id := range n.attached {
		if !n.settled[id] {
			set[id] = true
		}
	}
	return set
}

// tips are attached, not settled, and no attached message has them as a parent.
func (n *naive) tips() []ID {
	set := n.unsettled()
	for _, m := range n.attached {
		for _, p := range m.Header.Parents {
			delete(set, p)
		}
	}
	return sortedIDs(set)
}

// settleable are those whose parents are all settled, as the order leaves them.
func (n *naive) settleable() []ID {
	set := n.unsettled()
	for id := range set {
		if !all(n.attached[id].Header.Parents, func(p ID) bool { return p == root() || n.settled[p] }) {
			delete(set, id)
		}
	}
	return sortedIDs(set)
}

func all(ids []ID, ok func(ID) bool) bool {
	return !slices.ContainsFunc(ids, func(id ID) bool { return !ok(id) })
}

func idsOf(vertices []*Vertex) []ID {
	set := map[ID]bool{}
	for _, v := range vertices {
		set[v.ID] = true
	}
	return sortedIDs(set)
}

func compare(r *rapid.T, g *Graph, n *naive) {
	bytesParked := 0
	for id, m := range n.parked {
		bytesParked += parkedWeight(m)
		if !g.Parked(id) {
			r.Fatalf("%s is not parked", id.Short())
		}
	}
	if g.ParkedLen() != len(n.parked) || g.size != bytesParked {
		r.Fatalf("%d parked, %d bytes; want %d, %d", g.ParkedLen(), g.size, len(n.parked), bytesParked)
	}
	if got, want := idsOf(g.All()), sortedIDs(n.unsettled()); !slices.Equal(got, want) || g.Len() != len(want) {
		r.Fatalf("%d unsettled, want %d", len(got), len(want))
	}
	for id, m := range n.attached {
		if !g.Has(id) || (g.Get(id) != nil) == n.settled[id] {
			r.Fatalf("%s: has %v, in memory %v, settled %v", id.Short(), g.Has(id), g.Get(id) != nil, n.settled[id])
		}
		if f, _ := g.facts(id); f != FactsOf(m) {
			r.Fatalf("facts of %s: %+v, want %+v", id.Short(), f, FactsOf(m))
		}
	}
	got, want := g.Missing(1<<20), n.missing()
	slices.SortFunc(got, func(a, b ID) int { return slices.Compare(a[:], b[:]) })
	if !slices.Equal(got, want) {
		r.Fatalf("%d missing, want %d", len(got), len(want))
	}
	if got, want := idsOf(g.SweepTips(1<<20, 1<<62)), n.tips(); !slices.Equal(got, want) || g.Tips() != len(want) {
		r.Fatalf("%d tips, want %d", g.Tips(), len(want))
	}
	if len(n.parked) == 0 && len(g.waiting) != 0 {
		r.Fatalf("nothing is parked, but %d wait", len(g.waiting))
	}
}

// TestGraphAgainstTheNaiveOne delivers messages in any order, again and again, and settles some in between.
func TestGraphAgainstTheNaiveOne(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		messages := drawDAG(r, 24)
		g, n := NewGraph(graphConfig()), newNaive()
		for range rapid.IntRange(1, 80).Draw(r, "steps") {
			if ready := n.settleable(); len(ready) > 0 && rapid.IntRange(0, 5).Draw(r, "settle") == 0 {
				id := rapid.SampledFrom(ready).Draw(r, "settled")
				g.Settle(g.Get(id))
				n.settled[id] = true
			} else {
				m := rapid.SampledFrom(messages).Draw(r, "message")
				before := len(n.attached)
				n.add(m)
				checkAdded(r, g.Add(m), len(n.attached)-before)
			}
			compare(r, g, n)
		}
	})
}

func checkAdded(r *rapid.T, added Added, attached int) {
	if len(added.Attached) != attached {
		r.Fatalf("%d attached, want %d", len(added.Attached), attached)
	}
	seen := map[ID]bool{}
	for _, id := range added.Missing {
		if seen[id] {
			r.Fatalf("missing %s: reported twice", id.Short())
		}
		seen[id] = true
	}
	at := map[ID]int{}
	for i, v := range added.Attached {
		at[v.ID] = i
		if i > 0 && v.Number != added.Attached[i-1].Number+1 {
			r.Fatalf("number %d after %d", v.Number, added.Attached[i-1].Number)
		}
		for _, p := range v.Header.Parents {
			if slices.ContainsFunc(added.Attached[i:], func(o *Vertex) bool { return o.ID == p }) {
				r.Fatalf("%s before its parent", v.ID.Short())
			}
		}
	}
	for _, bad := range added.Invalid {
		if !errors.Is(bad.Err, ErrInvalid) {
			r.Fatalf("invalid: %v, want ErrInvalid", bad.Err)
		}
	}
}

// TestArrivalOrderDoesNotMatter: all orders of arrival of one set of messages end in the same graph.
func TestArrivalOrderDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		messages := drawDAG(r, 40)
		straight := NewGraph(graphConfig())
		for _, m := range messages {
			straight.Add(m)
		}
		shuffled := NewGraph(graphConfig())
		for _, m := range rapid.Permutation(messages).Draw(r, "arrival") {
			shuffled.Add(m)
		}
		if got, want := idsOf(shuffled.All()), idsOf(straight.All()); !slices.Equal(got, want) {
			r.Fatalf("%d attached, want %d", len(got), len(want))
		}
		if got, want := idsOf(shuffled.SweepTips(1000, 1<<62)), idsOf(straight.SweepTips(1000, 1<<62)); !slices.Equal(got, want) {
			r.Fatalf("tips %v, want %v", got, want)
		}
	})
}

// TestAttachedMeansTheWholePastIsHere: a message dropped with an invalid parent and sent again still waits for the other.
func TestAttachedMeansTheWholePastIsHere(t *testing.T) {
	g := NewGraph(graphConfig())
	bad := sealed(t, codec(), Header{Seq: forbidden, Time: 2000, Parents: []ID{root()}}, numbered(1))
	other := message(t, 2000, 2, root())
	child := message(t, 3000, 3, bad.ID, other.ID)
	g.Add(child)
	if added := g.Add(bad); len(added.Invalid) != 2 || !errors.Is(added.Invalid[0].Err, errForbidden) {
		t.Fatalf("invalid %v, want the message and its child", added.Invalid)
	}
	if missing := g.Missing(1); len(missing) != 0 {
		t.Errorf("nothing is parked, but %v are missing", missing)
	}
	g.Add(child)
	if added := g.Add(other); len(added.Attached) != 1 || g.Has(child.ID) {
		t.Errorf("%d attached; the child of an unknown parent: %v", len(added.Attached), g.Has(child.ID))
	}
}

func TestTheQueueOfParkedStaysSmall(t *testing.T) {
	g := NewGraph(graphConfig())
	bad := sealed(t, codec(), Header{Seq: forbidden, Time: 2000, Parents: []ID{root()}}, numbered(1))
	child := message(t, 3000, 2, bad.ID)
	for range 1000 {
		g.Add(child)
		g.Add(bad)
	}
	if len(g.queue) > 100 || len(g.waiting) != 0 || g.size != 0 {
		t.Errorf("queue of %d, %d waited for, %d bytes", len(g.queue), len(g.waiting), g.size)
	}
}

func TestParkedBounds(t *testing.T) {
	g := NewGraph(graphConfig())
	nowhere := ID{1}
	first := message(t, 2000, 0, nowhere)
	g.Add(first)
	for i := 1; i <= MaxParked+100; i++ {
		g.Add(message(t, 2000, i, nowhere, ID{2, byte(i), byte(i >> 8)}))
		if g.ParkedLen() > MaxParked {
			t.Fatalf("%d parked, limit %d", g.ParkedLen(), MaxParked)
		}
	}
	if g.Parked(first.ID) || g.ParkedLen() != MaxParked {
		t.Errorf("%d parked; the oldest is there: %v", g.ParkedLen(), g.Parked(first.ID))
	}
	links := 0
	for _, children := range g.waiting {
		links += len(children)
	}
	if links != 2*MaxParked || len(g.queue) > 3*MaxParked {
		t.Errorf("%d links of %d parked, queue of %d", links, MaxParked, len(g.queue))
	}
	if added := g.Add(message(t, 2500, -1, root())); len(added.Attached) != 1 {
		t.Error("a message whose parents are here waits behind the flood")
	}
}

func TestParkedBytesBound(t *testing.T) {
	g := NewGraph(graphConfig())
	data := make([]byte, 30<<10)
	for i := range MaxParkedBytes/len(data) + 50 {
		salt := Salt{byte(i), byte(i >> 8)}
		h := Header{Seq: 1, Time: 2000, Parents: []ID{{1}}}
		g.Add(sealed(t, codec(), h, NewEntry(1, salt, data), NewEntry(2, salt, data)))
		if g.size > MaxParkedBytes {
			t.Fatalf("%d bytes parked, limit %d", g.size, MaxParkedBytes)
		}
	}
	if g.size < MaxParkedBytes-(64<<10) {
		t.Errorf("%d bytes parked: more left than had to", g.size)
	}
}

func TestALongParkedChainIsReleased(t *testing.T) {
	for _, fault := range []Seq{1, forbidden} {
		g := NewGraph(graphConfig())
		first := sealed(t, codec(), Header{Seq: fault, Time: 2000, Parents: []ID{root()}}, numbered(0))
		last, chain := first, []*Message{first}
		for i := 1; i < MaxParked; i++ {
			last = message(t, 2000, i, last.ID)
			chain = append(chain, last)
		}
		for _, m := range slices.Backward(chain[1:]) {
			g.Add(m)
		}
		added := g.Add(first)
		for g.Releasing() {
			if n := len(added.Attached); n == len(chain) {
				t.Fatal("all released, and still releasing")
			}
			added.Attached = append(added.Attached, g.Release().Attached...)
		}
		if fault == forbidden {
			if len(added.Invalid) != len(chain) || g.Len() != 0 {
				t.Errorf("%d dropped of %d, %d attached", len(added.Invalid), len(chain), g.Len())
			}
		} else if len(added.Attached) != len(chain) || g.Tips() != 1 {
			t.Errorf("%d released of %d, %d tips", len(added.Attached), len(chain), g.Tips())
		}
		if g.ParkedLen() != 0 || len(g.waiting) != 0 || g.size != 0 {
			t.Errorf("left: %d parked, %d waited for, %d bytes", g.ParkedLen(), len(g.waiting), g.size)
		}
	}
}

func TestAttachRules(t *testing.T) {
	parent := sealed(t, codec(), Header{Seq: 1, Epoch: 3, Time: 2000, Parents: []ID{root()}}, numbered(0))
	for name, c := range map[string]struct {
		epoch Epoch
		time  Time
		ok    bool
	}{"same time": {3, 2000, true}, "later": {4, 3000, true}, "older": {3, 1999, false}, "an older epoch": {2, 3000, false}} {
		g := NewGraph(graphConfig())
		g.Add(parent)
		added := g.Add(sealed(t, codec(), Header{Seq: 1, Epoch: c.epoch, Time: c.time, Parents: []ID{parent.ID}}, numbered(1)))
		if (len(added.Attached) == 1) != c.ok || (len(added.Invalid) == 0) != c.ok {
			t.Errorf("%s: attached %d, invalid %v", name, len(added.Attached), added.Invalid)
		}
	}
	g := NewGraph(graphConfig())
	if added := g.Add(message(t, 999, 0, root())); len(added.Invalid) != 1 {
		t.Error("attached a message older than the network")
	}
}

// TestSettledFactsOutliveMemory: parents are known when neither the graph nor its short memory holds them.
func TestSettledFactsOutliveMemory(t *testing.T) {
	store := map[ID]Facts{}
	config := graphConfig()
	config.Settled = func(id ID) (f Facts, ok bool) { f, ok = store[id]; return f, ok }
	g := NewGraph(config)
	oldest := message(t, 2000, 0, root())
	for i := range maxRecent + 10 {
		m := oldest
		if i > 0 {
			m = message(t, 2000, i, root())
		}
		v := g.Add(m).Attached[0]
		store[m.ID] = FactsOf(m)
		g.Settle(v)
		if !v.Settled || g.Get(m.ID) != nil || !g.Has(m.ID) {
			t.Fatalf("settled %v, in memory %v, has %v", v.Settled, g.Get(m.ID) != nil, g.Has(m.ID))
		}
	}
	if _, ok := g.recent.facts[oldest.ID]; ok || len(g.recent.facts) != maxRecent {
		t.Errorf("short memory of %d, the oldest in it: %v", len(g.recent.facts), ok)
	}
	if added := g.Add(oldest); len(added.Attached) != 0 {
		t.Error("attached again what is settled")
	}
	if added := g.Add(message(t, 1999, 1, oldest.ID)); len(added.Invalid) != 1 {
		t.Error("attached a message older than its settled parent")
	}
	child := message(t, 2001, 1, oldest.ID)
	if added := g.Add(child); len(added.Attached) != 1 || added.Attached[0].Parents[0] != nil {
		t.Error("the child of a settled message does not attach")
	}
	if g.Tips() != 1 || g.Len() != 1 {
		t.Errorf("%d tips, %d unsettled", g.Tips(), g.Len())
	}
}

func TestRenumber(t *testing.T) {
	g := NewGraph(graphConfig())
	g.Renumber(100)
	if v := g.Add(message(t, 2000, 0, root())).Attached[0]; v.Number != 100 {
		t.Errorf("number %d, want 100", v.Number)
	}
}

// grown is a graph with the given number of tips, all children of the root.
func grown(t testing.TB, tips int) (*Graph, []ID) {
	g := NewGraph(graphConfig())
	var ids []ID
	for i := range tips {
		m := message(t, 2000, i, root())
		g.Add(m)
		ids = append(ids, m.ID)
	}
	return g, ids
}

func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

func TestChooseTips(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		g := NewGraph(graphConfig())
		for _, m := range drawDAG(r, 30) {
			g.Add(m)
		}
		seed, limit := rapid.Uint64().Draw(r, "seed"), rapid.IntRange(2, 8).Draw(r, "limit")
		var previous ID
		if vertices := g.All(); len(vertices) > 0 && rapid.Bool().Draw(r, "previous") {
			previous = rapid.SampledFrom(vertices).Draw(r, "own").ID
		}
		got := g.ChooseTips(seeded(seed), limit, previous, 1<<62)
		if again := g.ChooseTips(seeded(seed), limit, previous, 1<<62); !slices.Equal(got, again) {
			r.Fatalf("one seed, two choices: %v and %v", got, again)
		}
		known := map[ID]bool{root(): true, previous: true}
		for _, v := range g.SweepTips(1000, 1<<62) {
			known[v.ID] = true
		}
		for i, id := range got {
			if !known[id] || (i > 0 && bytes.Compare(got[i-1][:], id[:]) >= 0) {
				r.Fatalf("parent %d of %v: not a tip, or not ascending", i, got)
			}
		}
		if want := min(limit, max(1, g.Tips())); len(got) > limit || len(got) < want || (len(got) < 2 && g.Len() > 0) {
			r.Fatalf("%d parents of %d tips, limit %d", len(got), g.Tips(), limit)
		}
		if previous != (ID{}) && !slices.Contains(got, previous) {
			r.Fatal("the author's own unsettled message is not a parent")
		}
	})
}

func TestChooseTipsTakesTheNewestWitness(t *testing.T) {
	g, _ := grown(t, 100)
	var newest ID
	for round := range Round(5) {
		h := Header{Author: Member{1}, Seq: 1, Time: 2000, Parents: []ID{root()}, Witness: &Witness{Round: 1 + (round*3)%5}}
		m := sealed(t, codec(), h)
		g.Add(m)
		if h.Witness.Round == 5 {
			newest = m.ID
		}
	}
	for seed := range uint64(50) {
		if got := g.ChooseTips(seeded(seed), 2, ID{}, 1<<62); len(got) != 2 || !slices.Contains(got, newest) {
			t.Fatalf("seed %d: %v", seed, got)
		}
	}
}

func TestChooseTipsBeginsWithTheRoot(t *testing.T) {
	g := NewGraph(graphConfig())
	if got := g.ChooseTips(seeded(1), 8, ID{}, 1<<62); !slices.Equal(got, []ID{root()}) {
		t.Errorf("empty: %v, want the root", got)
	}
	g, ids := grown(t, 1)
	if got := g.ChooseTips(seeded(1), 8, ID{}, 1<<62); !slices.Equal(got, sortedSet([]ID{root(), ids[0]})) {
		t.Errorf("one tip: %v, want it and the root", got)
	}
	g, ids = grown(t, 2)
	if got := g.ChooseTips(seeded(1), 8, ID{9}, 1<<62); !slices.Equal(got, sortedSet(ids)) {
		t.Errorf("two tips: %v, want both", got)
	}
}

// TestChooseTipsIsUniform counts how often each tip is chosen; the bound is five standard deviations.
func TestChooseTipsIsUniform(t *testing.T) {
	const tips, draws, limit = 100, 5000, 8
	g, ids := grown(t, tips)
	random, chosen := seeded(42), map[ID]int{}
	for range draws {
		for _, id := range g.ChooseTips(random, limit, ID{}, 1<<62) {
			chosen[id]++
		}
	}
	const want, deviation = draws * limit / tips, 20 // sqrt(5000 * 0.08 * 0.92) = 19.2
	for _, id := range ids {
		if n := chosen[id]; n < want-5*deviation || n > want+5*deviation {
			t.Errorf("%s chosen %d times, want about %d", id.Short(), n, want)
		}
	}
}

func TestLargePools(t *testing.T) {
	g, ids := grown(t, MaxTipPool+500)
	random := seeded(7)
	late := map[ID]bool{}
	for _, id := range ids[500:] {
		late[id] = true
	}
	for range 200 {
		for _, id := range g.ChooseTips(random, 8, ID{}, 1<<62) {
			if !late[id] {
				t.Fatal("chose a tip beyond the pool")
			}
		}
	}
	swept := g.SweepTips(256, 1<<62)
	for i, v := range swept {
		if v.ID != ids[i] {
			t.Fatalf("swept %d is not the oldest left", i)
		}
	}
	if len(swept) != 256 {
		t.Errorf("swept %d, want 256", len(swept))
	}
}

func TestAllIsInOrderOfAttachment(t *testing.T) {
	g, ids := grown(t, 50)
	for i, v := range g.All() {
		if v.ID != ids[i] || v.Number != uint64(i) {
			t.Fatalf("vertex %d has number %d", i, v.Number)
		}
	}
	for _, id := range slices.Collect(maps.Keys(g.vertices)) {
		g.Settle(g.Get(id))
	}
	if g.Len() != 0 || g.Tips() != 0 || len(g.All()) != 0 {
		t.Errorf("%d left, %d tips", g.Len(), g.Tips())
	}
}

func BenchmarkGraph(b *testing.B) {
	g, _ := grown(b, 200)
	b.Run("add", func(b *testing.B) {
		b.ReportAllocs()
		last, i := root(), 0
		for b.Loop() {
			b.StopTimer()
			m := message(b, 2000, 1000+i, last)
			b.StartTimer()
			v := g.Add(m).Attached[0]
			if last, i = m.ID, i+1; i%1000 == 0 {
				for _, old := range g.All() {
					if old != v {
						g.Settle(old)
					}
				}
			}
		}
	})
	b.Run("choose", func(b *testing.B) {
		b.ReportAllocs()
		g, _ := grown(b, 200)
		random := seeded(1)
		for b.Loop() {
			g.ChooseTips(random, 8, ID{}, 1<<62)
		}
	})
}
