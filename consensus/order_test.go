package consensus

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"weft/tangle"
)

// TestCommitIsBounded orders a cone that is larger than a commit may be: the rest follows in the commits after it.
func TestCommitIsBounded(t *testing.T) {
	for _, c := range []struct {
		name                    string
		messages, entries, size int
	}{
		{"messages", 2*MaxCommitMessages + 500, 1, 10},
		{"entries", 12, 1000, 10},
		{"bytes", 150, 1, 31_000},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &drawing{t: t}
			d.reset(4)
			d.heap(c.messages, c.entries, c.size)
			for r := tangle.Round(1); r <= 12; r++ {
				for _, w := range []string{"A", "B", "C", "D"} {
					if r == 2 && w == "A" {
						w += fmt.Sprintf("+e%d", c.messages-1)
					}
					d.witness(r, w)
				}
			}
			commits := d.commits()
			checkBounds(t, commits)
			checkWhole(t, commits, d.added)
			for seed := range uint64(3) {
				if again := d.otherArrival(seed); !slices.EqualFunc(commits, again, sameCommit) {
					t.Errorf("other order of arrival (seed %d): other commits", seed)
				}
			}
		})
	}
}

// heap adds messages with entries, each on some of those before it, so that the last one has all others below it.
func (d *drawing) heap(messages, entries, size int) {
	random := rand.New(rand.NewPCG(7, 7))
	for k := range messages {
		parents := []tangle.ID{{1}}
		if k > 0 {
			parents = []tangle.ID{d.byName[fmt.Sprintf("e%d", k-1)].ID}
		}
		for range random.IntN(4) {
			if v := d.byName[fmt.Sprintf("e%d", random.IntN(k+1))]; v != nil && !slices.Contains(parents, v.ID) {
				parents = append(parents, v.ID)
			}
		}
		slices.SortFunc(parents, func(a, b tangle.ID) int { return slices.Compare(a[:], b[:]) })
		var list []tangle.Entry
		for i := range entries {
			data := append(fmt.Appendf(nil, "%d %d ", k, i), make([]byte, size)...)
			list = append(list, tangle.NewErasable(64, []byte("lasts"), tangle.Salt{}, data))
		}
		author := tangle.Member{byte('A' + random.IntN(d.n))}
		d.add(fmt.Sprintf("e%d", k), tangle.Header{Author: author, Parents: parents, Time: drawingStart}, list)
	}
}

// commits takes all commits that are decided.
func (d *drawing) commits() (list []*Commit) {
	for {
		c, err := d.engine.Next()
		if err != nil {
			d.t.Fatal(err)
		}
		if c == nil {
			return list
		}
		parentsFirst(d.t, c)
		for _, v := range c.Messages {
			d.graph.Settle(v)
		}
		list = append(list, c)
	}
}

// parentsFirst checks a commit whose messages are not settled yet: every parent is, or stands before its child.
func parentsFirst(t *testing.T, c *Commit) {
	t.Helper()
	before := map[tangle.ID]bool{}
	for _, v := range c.Messages {
		for _, p := range v.Parents {
			if p != nil && !p.Settled && !before[p.ID] {
				t.Fatalf("commit %d: message %s stands before its parent", c.Index, v.ID.Short())
			}
		}
		before[v.ID] = true
	}
}

// otherArrival feeds the same messages to a new engine in another order, half of them without their bodies, taking commits as
// they are decided.
func (d *drawing) otherArrival(seed uint64) (list []*Commit) {
	random := rand.New(rand.NewPCG(seed, 2))
	o := &drawing{t: d.t}
	o.reset(d.n)
	for _, i := range random.Perm(len(d.added)) {
		m := d.added[i].Message
		if random.IntN(2) == 0 {
			m = d.erased(m)
		}
		for _, v := range o.graph.Add(m).Attached {
			o.engine.Add(v)
		}
		for o.graph.Releasing() {
			for _, v := range o.graph.Release().Attached {
				o.engine.Add(v)
			}
		}
		list = append(list, o.commits()...)
	}
	return list
}

// erased is a message as members get it that join when its bodies are gone.
func (d *drawing) erased(m *tangle.Message) *tangle.Message {
	codec := tangle.Codec{Network: tangle.ID{1}, Limits: tangle.DefaultLimits()}
	for i := range min(len(m.Entries), 3) {
		left, err := codec.Erase(m, i, "")
		if err != nil {
			d.t.Fatal(err)
		}
		m = left
	}
	return m
}

func sameCommit(a, b *Commit) bool {
	return a.Index == b.Index && a.Digest == b.Digest && a.Time == b.Time
}

// checkBounds wants every commit within the bounds, several at one of them, and no room left before a commit that goes on.
func checkBounds(t *testing.T, commits []*Commit) {
	t.Helper()
	full := 0
	for _, c := range commits {
		entries, size := 0, 0
		for i, v := range c.Messages {
			if i == MaxCommitMessages || entries >= MaxCommitEntries || size >= MaxCommitBytes {
				t.Fatalf("commit %d goes on over its bound: %d messages, %d entries, %d bytes before the last", c.Index, i, entries, size)
			}
			entries, size = entries+len(v.Entries), size+v.Size()
		}
		if len(c.Messages) == MaxCommitMessages || entries >= MaxCommitEntries || size >= MaxCommitBytes {
			full++
		}
	}
	if full < 2 {
		t.Errorf("%d commits reach a bound, want two at least", full)
	}
}

// checkWhole wants every message in exactly one commit; what the last rounds bring is not decided yet.
func checkWhole(t *testing.T, commits []*Commit, added []*tangle.Vertex) {
	t.Helper()
	at := map[tangle.ID]uint64{}
	for i, c := range commits {
		if c.Index != uint64(i+1) {
			t.Errorf("commit %d has index %d", i+1, c.Index)
		}
		for _, v := range c.Messages {
			if at[v.ID] != 0 {
				t.Fatalf("message %s is in the commits %d and %d", v.ID.Short(), at[v.ID], c.Index)
			}
			at[v.ID] = c.Index
		}
	}
	for _, v := range added {
		if w := v.Header.Witness; at[v.ID] == 0 && (w == nil || w.Round < 8) {
			t.Fatalf("message %s of round %v is in no commit", v.ID.Short(), w)
		}
	}
}
