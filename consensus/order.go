package consensus

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"slices"

	"weft/tangle"
)

type orderConfig struct {
	leader  *tangle.Vertex
	gcRound tangle.Round // witnesses up to here are no roots; what they carry is ordered all the same
	horizon tangle.Time  // messages older than this are expired
}

// order is the white flag: it lists the leader's past cone, but for what is settled, with parents before children. The
// cone's witnesses are the roots, by round and then by a hash seeded with the leader, one variant per author and round, so
// that nobody can choose a place inside a commit; from each of them a depth-first walk follows the sorted parents.
//
// Everything in the cone is ordered whatever the roots are, because the leader itself is the last root.
//
// A commit has a bound, so that what follows from it fits into one step of every node: the walk ends there, and the rest of
// the cone is left to the leaders to come. What it has listed by then is closed downwards.
func order(c orderConfig) (ordered, expired []*tangle.Vertex) {
	if c.leader.Settled || c.leader.Header.Time < c.horizon { // an earlier leader referenced it as a tip, or it is expired
		return nil, nil
	}
	w := walk{horizon: c.horizon, seen: map[*tangle.Vertex]bool{}}
	for _, root := range roots(c) {
		if !w.from(root) {
			break
		}
	}
	return w.ordered, w.expired
}

func roots(c orderConfig) []*tangle.Vertex {
	type root struct {
		vertex *tangle.Vertex
		key    [32]byte
	}
	var found []root
	for _, v := range coneWitnesses(c) {
		if v != c.leader {
			found = append(found, root{v, sha256.Sum256(append(c.leader.ID[:len(c.leader.ID):len(c.leader.ID)], v.ID[:]...))})
		}
	}
	slices.SortFunc(found, func(a, b root) int {
		return cmp.Or(cmp.Compare(a.vertex.Header.Witness.Round, b.vertex.Header.Witness.Round), bytes.Compare(a.key[:], b.key[:]))
	})
	type slot struct {
		round  tangle.Round
		author tangle.Member
	}
	taken := map[slot]bool{{c.leader.Header.Witness.Round, c.leader.Header.Author}: true}
	var list []*tangle.Vertex
	for _, r := range found {
		s := slot{r.vertex.Header.Witness.Round, r.vertex.Header.Author}
		if !taken[s] {
			taken[s] = true
			list = append(list, r.vertex)
		}
	}
	return append(list, c.leader)
}

func coneWitnesses(c orderConfig) (found []*tangle.Vertex) {
	seen := map[*tangle.Vertex]bool{c.leader: true}
	for stack := []*tangle.Vertex{c.leader}; len(stack) > 0; {
		v := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if v.IsWitness() && v.Header.Witness.Round > c.gcRound {
			found = append(found, v)
		}
		for _, p := range v.Parents {
			if p != nil && !p.Settled && p.Header.Time >= c.horizon && !seen[p] {
				seen[p] = true
				stack = append(stack, p)
			}
		}
	}
	return found
}

// Bounds of a commit, agreed by all: messages, entries, and bytes of messages before any erasure. The message that reaches
// one of the last two is still in.
const (
	MaxCommitMessages = 2048
	MaxCommitEntries  = 4096
	MaxCommitBytes    = 2 << 20
)

// walk is a depth-first walk in post-order without recursion: cones can be deep.
type walk struct {
	horizon          tangle.Time
	seen             map[*tangle.Vertex]bool
	ordered, expired []*tangle.Vertex
	entries, bytes   int
}

// full says whether the commit has reached a bound.
func (w *walk) full() bool {
	return len(w.ordered) >= MaxCommitMessages || w.entries >= MaxCommitEntries || w.bytes >= MaxCommitBytes
}

type frame struct {
	vertex *tangle.Vertex
	next   int // parent to look at
}

// from lists what is below root and root itself; false means that the commit is full.
func (w *walk) from(root *tangle.Vertex) bool {
	if w.seen[root] {
		return true
	}
	w.seen[root] = true
	stack := []frame{{vertex: root}}
	for len(stack) > 0 {
		top := &stack[len(stack)-1]
		if top.next == len(top.vertex.Parents) {
			if w.full() {
				return false
			}
			w.ordered = append(w.ordered, top.vertex)
			w.entries, w.bytes = w.entries+len(top.vertex.Entries), w.bytes+top.vertex.WholeSize()
			stack = stack[:len(stack)-1]
			continue
		}
		p := top.vertex.Parents[top.next]
		top.next++
		if p == nil || p.Settled || w.seen[p] {
			continue
		}
		w.seen[p] = true
		if p.Header.Time < w.horizon {
			w.expired = append(w.expired, p) // and all below it, since times never decrease upwards
			continue
		}
		stack = append(stack, frame{vertex: p})
	}
	return true
}

// gcRound is agreed: it depends on the previous commit's leader alone.
func gcRound(last tangle.Round, depth uint32) tangle.Round {
	if last <= tangle.Round(depth) {
		return 0
	}
	return last - tangle.Round(depth)
}

// median is the upper median, which lies between honest values if at most f of at least 2f+1 lie; 0 of no times.
func median(times []tangle.Time) tangle.Time {
	if len(times) == 0 {
		return 0
	}
	slices.Sort(times)
	return times[len(times)/2]
}
