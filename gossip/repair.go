package gossip

import (
	"bytes"
	"maps"
	"slices"
	"time"

	"weft/tangle"
)

// Repair decides whom to ask for what is missing: single messages from the peer whose message named them (it must hold the
// whole cone), whole ranges from a peer that says it is ahead. It is not safe for concurrent use.
type Repair struct {
	pace  RepairPace
	peers map[tangle.Member]*peer
	wants map[tangle.ID]*want
	catch catchUp
}

// RepairPace holds the waiting times of repair.
type RepairPace struct {
	FirstAsk  time.Duration // a missing parent is probably on its way: ask after this
	AskAgain  time.Duration // first retry; doubles up to MaxRetry
	MaxRetry  time.Duration
	Timeout   time.Duration // without an answer to a range, ask another peer
	BehindBy  uint64        // commits behind a peer from which on whole commits are fetched
	PerSecond int           // bytes a second a peer may pull from us
}

// DefaultRepairPace suits LANs and WANs alike: it matters only when something was lost.
func DefaultRepairPace() RepairPace {
	return RepairPace{
		FirstAsk:  15 * time.Millisecond,
		AskAgain:  100 * time.Millisecond,
		MaxRetry:  2 * time.Second,
		Timeout:   2 * time.Second,
		BehindBy:  30,
		PerSecond: 64 << 20,
	}
}

// MaxWants bounds the missing messages that are tracked at once; others wait their turn.
const MaxWants = 8 * MaxWant

type peer struct {
	heads   Heads
	heard   bool
	fresh   bool // heads since the connection was made: repair at once
	budget  float64
	updated tangle.Time
}

type want struct {
	from tangle.Member
	due  tangle.Time
	wait time.Duration
	turn int // how often it was asked for
}

type catchUp struct {
	peer  tangle.Member
	since tangle.Time
	upto  uint64
	on    bool
}

// NewRepair returns a Repair without peers.
func NewRepair(p RepairPace) *Repair {
	return &Repair{pace: p, peers: map[tangle.Member]*peer{}, wants: map[tangle.ID]*want{}}
}

// Connected and Disconnected keep the list of peers.
func (r *Repair) Connected(m tangle.Member) {
	r.peers[m] = &peer{fresh: true, budget: float64(r.pace.PerSecond)}
}

// Disconnected forgets the peer; what was asked of it is asked of others.
func (r *Repair) Disconnected(m tangle.Member) {
	delete(r.peers, m)
	if r.catch.peer == m {
		r.catch.on = false
	}
}

// Peers are the connected peers, ascending.
func (r *Repair) Peers() []tangle.Member {
	return slices.SortedFunc(maps.Keys(r.peers), func(a, b tangle.Member) int { return bytes.Compare(a[:], b[:]) })
}

// Heads returns what a connected peer said last, if it has said anything.
func (r *Repair) Heads(m tangle.Member) (Heads, bool) {
	if p := r.peers[m]; p != nil && p.heard {
		return p.heads, true
	}
	return Heads{}, false
}

// Missing notes that a message from a peer named parents we do not have.
func (r *Repair) Missing(now tangle.Time, ids []tangle.ID, from tangle.Member) {
	for _, id := range ids {
		if w := r.wants[id]; w != nil {
			w.from = from
		} else if len(r.wants) < MaxWants {
			r.wants[id] = &want{from: from, due: now.Add(r.pace.FirstAsk), wait: r.pace.AskAgain}
		}
	}
}

// TakeHeads notes a peer's heads and returns the ranges to ask it for: authors' messages of which it has more than we do,
// unless they may still be on their way.
func (r *Repair) TakeHeads(from tangle.Member, h Heads, mine Heads) (asks []Envelope) {
	p := r.peers[from]
	if p == nil {
		return nil
	}
	before, repair := p.heads, p.fresh
	p.heads, p.heard, p.fresh = h, true, false
	if h.Commit > mine.Commit+r.pace.BehindBy {
		return nil // whole commits are fetched instead
	}
	for _, a := range h.Authors {
		known := seqOf(mine, a.Author)
		if a.Seq > known && (repair || seqOf(before, a.Author) > known) {
			asks = append(asks, Envelope{To: from, Lane: LaneBulk, Frame: Frame{Range: &Range{
				Author: a.Author, From: uint64(known) + 1, To: min(uint64(a.Seq), uint64(known)+MaxRange/2),
			}}})
		}
	}
	return asks
}

// Tick returns what is due to be asked for: wanted messages, and the next range of commits if a peer is far ahead.
// missing are the parents that are unknown now, ascending.
func (r *Repair) Tick(now tangle.Time, missing []tangle.ID, mine Heads) (asks []Envelope) {
	if ask, behind := r.catchUp(now, mine); behind {
		clear(r.wants)
		return ask
	}
	r.prune(missing)
	byPeer := map[tangle.Member][]tangle.ID{}
	for _, id := range missing {
		w := r.wants[id]
		if w == nil {
			r.Missing(now, []tangle.ID{id}, tangle.Member{})
			continue
		}
		if w.due > now {
			continue
		}
		if to, ok := r.choose(w); ok && len(byPeer[to]) < MaxWant {
			byPeer[to] = append(byPeer[to], id)
			w.turn++
			w.due, w.wait = now.Add(w.wait), min(2*w.wait, r.pace.MaxRetry)
		}
	}
	for _, m := range r.Peers() {
		if ids := byPeer[m]; len(ids) > 0 {
			asks = append(asks, Envelope{To: m, Lane: LaneWitness, Frame: Frame{Want: ids}})
		}
	}
	return asks
}

// Due is when Tick has something to do at the latest; 0: nothing is waited for, or nobody is there to ask.
func (r *Repair) Due() (due tangle.Time) {
	if len(r.peers) == 0 {
		return 0
	}
	for _, w := range r.wants {
		if due == 0 || w.due < due {
			due = w.due
		}
	}
	if r.catch.on {
		if t := r.catch.since.Add(r.pace.Timeout); due == 0 || t < due {
			due = t
		}
	}
	return due
}

// CatchingUp says whether whole commits are being fetched.
func (r *Repair) CatchingUp() bool { return r.catch.on }

// Answered notes an answer to a range of commits, so that the next one is asked for at once.
func (r *Repair) Answered(from tangle.Member, upto uint64) {
	if r.catch.on && r.catch.peer == from {
		r.catch.on = false
		r.catch.upto = max(r.catch.upto, upto)
	}
}

// Spend takes size bytes from what a peer may pull from us, and says whether it may.
func (r *Repair) Spend(now tangle.Time, m tangle.Member, size int) bool {
	p := r.peers[m]
	if p == nil {
		return false
	}
	limit := float64(r.pace.PerSecond)
	p.budget = min(limit, p.budget+limit*now.Sub(p.updated).Seconds())
	p.updated = now
	if p.budget < float64(size) {
		return false
	}
	p.budget -= float64(size)
	return true
}

// catchUp asks the peer that is farthest ahead for commits, one range at a time, as long as one is far ahead.
func (r *Repair) catchUp(now tangle.Time, mine Heads) (asks []Envelope, behind bool) {
	best, commit := tangle.Member{}, uint64(0)
	for _, m := range r.Peers() {
		slow := r.catch.on && m == r.catch.peer // it did not answer in time: rather another one
		if c := r.peers[m].heads.Commit; c > commit && (!slow || len(r.peers) == 1) {
			best, commit = m, c
		}
	}
	waiting := r.catch.on && now < r.catch.since.Add(r.pace.Timeout)
	if commit <= mine.Commit+r.pace.BehindBy {
		if !waiting {
			r.catch = catchUp{}
		}
		return nil, waiting
	}
	if waiting {
		return nil, true
	}
	from := max(mine.Commit, min(r.catch.upto, mine.Commit+MaxAhead)) + 1
	if from > commit {
		from = mine.Commit + 1
	}
	r.catch = catchUp{peer: best, since: now, upto: r.catch.upto, on: true}
	return []Envelope{{To: best, Lane: LaneBulk, Frame: Frame{Range: &Range{From: from, To: min(commit, from+MaxRange-1)}}}}, true
}

// MaxAhead is how many commits may be fetched beyond the last one executed: some are needed above it to decide it.
const MaxAhead = 256

func (r *Repair) prune(missing []tangle.ID) {
	if len(r.wants) <= len(missing) {
		return
	}
	for id := range r.wants {
		_, still := slices.BinarySearchFunc(missing, id, func(a, b tangle.ID) int { return bytes.Compare(a[:], b[:]) })
		if !still {
			delete(r.wants, id)
		}
	}
}

// choose picks the peer to ask: first the one whose message named the parent, then all in turn.
func (r *Repair) choose(w *want) (tangle.Member, bool) {
	if r.peers[w.from] != nil && w.turn == 0 {
		return w.from, true
	}
	peers := r.Peers()
	if len(peers) == 0 {
		return tangle.Member{}, false
	}
	return peers[w.turn%len(peers)], true
}

func seqOf(h Heads, m tangle.Member) tangle.Seq {
	i, ok := slices.BinarySearchFunc(h.Authors, m, func(a AuthorHead, m tangle.Member) int { return bytes.Compare(a.Author[:], m[:]) })
	if !ok {
		return 0
	}
	return h.Authors[i].Seq
}
