package gossip

import (
	"bytes"
	"maps"
	"slices"
	"time"

	"weft/tangle"
)

// Repair decides whom to ask for what is missing: single messages from the peers that sent something above them (each must
// hold the whole cone), whole ranges from a peer that says it is ahead. It is not safe for concurrent use.
type Repair struct {
	pace  RepairPace
	peers map[tangle.Member]*peer
	wants map[tangle.ID]*want
	asked map[rangeKey]askedRange
	catch catchUp

	commit uint64      // last own commit
	moved  tangle.Time // when it was first seen
	due    tangle.Time // when some want is due; 0: none
}

// RepairPace holds the waiting times of repair.
type RepairPace struct {
	FirstAsk  time.Duration // a missing parent is probably on its way: ask after this
	AskAgain  time.Duration // first retry; doubles up to MaxRetry
	MaxRetry  time.Duration
	Timeout   time.Duration // without an answer to a range, ask another peer
	BehindBy  uint64        // commits behind a peer from which on whole commits are fetched
	PerSecond int           // bytes a second a peer may pull from us
	Liars     int           // peers whose claims may be false: f of the committee
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

// MaxWants bounds the missing messages that are tracked at once; others wait their turn. Half of it is kept for new ones.
const MaxWants = 8 * MaxWant

// Gaps is what is missing; tangle.Graph is one.
type Gaps interface {
	// IsMissing says whether something waits for the message, and it is neither attached nor parked.
	IsMissing(id tangle.ID) bool
	// Missing returns up to limit such messages, in an order that depends on what came in only.
	Missing(limit int) []tangle.ID
}

type peer struct {
	heads   Heads
	heard   bool
	fresh   bool // heads since the connection was made: repair at once
	budget  float64
	updated tangle.Time
}

// want is a missing message. Holders sent something above it: they are asked first, one after the other.
type want struct {
	holders []tangle.Member
	due     tangle.Time
	wait    time.Duration
	asked   int // holders asked so far
	turn    int // how often it was asked for
}

// askedRange is the last range of an author's messages that a peer, or anyone (zero), was asked for.
type askedRange struct {
	from uint64
	at   tangle.Time
}

type rangeKey struct{ peer, author tangle.Member }

type catchUp struct {
	peer  tangle.Member
	since tangle.Time
	upto  uint64
	on    bool
	turn  int
}

// NewRepair returns a Repair without peers.
func NewRepair(p RepairPace) *Repair {
	return &Repair{pace: p, peers: map[tangle.Member]*peer{}, wants: map[tangle.ID]*want{}, asked: map[rangeKey]askedRange{}}
}

// Connected and Disconnected keep the list of peers.
func (r *Repair) Connected(m tangle.Member) {
	r.peers[m] = &peer{fresh: true, budget: float64(r.pace.PerSecond)}
}

// Disconnected forgets the peer; what was asked of it is asked of others.
func (r *Repair) Disconnected(m tangle.Member) {
	delete(r.peers, m)
	if r.catch.peer == m {
		r.catch.on, r.catch.since = false, 0
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

// Missing notes that a peer sent something above messages that we do not have.
func (r *Repair) Missing(now tangle.Time, ids []tangle.ID, from tangle.Member) {
	for _, id := range ids {
		w := r.wants[id]
		if w == nil {
			if len(r.wants) >= MaxWants && !r.shed() {
				return
			}
			w = &want{due: now.Add(r.pace.FirstAsk), wait: r.pace.AskAgain}
			r.wants[id] = w
			r.dueAt(w.due)
		}
		if r.peers[from] == nil || slices.Contains(w.holders, from) {
			continue
		}
		w.holders = append(w.holders, from)
		if w.turn > 0 { // nobody asked before has it: this one does
			w.due = min(w.due, now)
			r.dueAt(w.due)
		}
	}
}

// Doubted notes that a missing message has come from a peer and does not count until others say the same.
func (r *Repair) Doubted(now tangle.Time, id tangle.ID) {
	if w := r.wants[id]; w != nil {
		w.due, w.wait = min(w.due, now.Add(r.pace.FirstAsk)), r.pace.AskAgain
		r.dueAt(w.due)
	}
}

// shed forgets what every holder was asked for in vain: whoever invents parents fills the table only for a moment.
func (r *Repair) shed() bool {
	maps.DeleteFunc(r.wants, func(_ tangle.ID, w *want) bool { return w.turn > len(w.holders) })
	return len(r.wants) < MaxWants
}

func (r *Repair) dueAt(t tangle.Time) {
	if r.due == 0 || t < r.due {
		r.due = t
	}
}

// TakeHeads notes a peer's heads and returns the ranges to ask it for: authors' messages of which it has more than we do,
// unless they may still be on their way.
func (r *Repair) TakeHeads(now tangle.Time, from tangle.Member, h Heads, mine Heads) (asks []Envelope) {
	p := r.peers[from]
	if p == nil {
		return nil
	}
	before, repair := p.heads, p.fresh
	p.heads, p.heard, p.fresh = h, true, false
	if len(r.ahead(mine.Commit+r.pace.BehindBy)) > 0 {
		return nil // whole commits are fetched instead
	}
	for _, a := range h.Authors {
		known := seqOf(mine, a.Author)
		if a.Seq > known && (repair || seqOf(before, a.Author) > known) && r.mayAsk(now, from, a.Author, uint64(known)+1) {
			asks = append(asks, Envelope{To: from, Lane: LaneBulk, Frame: Frame{Range: &Range{
				Author: a.Author, From: uint64(known) + 1, To: min(uint64(a.Seq), uint64(known)+MaxRange/2),
			}}})
		}
	}
	return asks
}

// mayAsk says whether a peer may be asked for an author's range: the same one of the same peer not twice within Timeout,
// because what came of it may be parked, and of different peers not at once. A peer that offers what it never sends holds
// the others up for that moment only.
func (r *Repair) mayAsk(now tangle.Time, peer, author tangle.Member, from uint64) bool {
	recent := func(k rangeKey, within time.Duration) bool {
		last, ok := r.asked[k]
		return ok && last.from == from && now < last.at.Add(within)
	}
	one, any := rangeKey{peer, author}, rangeKey{author: author}
	if recent(one, r.pace.Timeout) || recent(any, r.pace.Timeout/8) {
		return false
	}
	r.asked[one], r.asked[any] = askedRange{from, now}, askedRange{from, now}
	return true
}

// Tick returns what is due to be asked for: wanted messages, and the next range of commits if a peer is far ahead.
func (r *Repair) Tick(now tangle.Time, gaps Gaps, mine Heads) (asks []Envelope) {
	if mine.Commit > r.commit || r.moved == 0 {
		r.commit, r.moved = mine.Commit, now
	}
	asks, behind := r.catchUp(now, mine)
	if behind && !r.stuck(now) {
		clear(r.wants) // the ranges bring them
		if r.due = 0; !r.catch.on {
			r.due = now.Add(r.pace.FirstAsk) // what is here is executed first
		}
		return asks
	}
	byPeer := map[tangle.Member][]tangle.ID{}
	for _, id := range r.track(now, gaps) {
		w := r.wants[id]
		if w.due > now {
			continue
		}
		to, ok := r.choose(w)
		if !ok || len(byPeer[to]) >= MaxWant {
			continue
		}
		byPeer[to] = append(byPeer[to], id)
		r.askedFor(now, w)
	}
	for _, m := range r.Peers() {
		if ids := byPeer[m]; len(ids) > 0 {
			asks = append(asks, Envelope{To: m, Lane: LaneWitness, Frame: Frame{Want: ids}})
		}
	}
	r.due = 0
	for _, w := range r.wants {
		r.dueAt(w.due)
	}
	return asks
}

// Due is when Tick has something to do at the latest; 0: nothing is waited for, or nobody is there to ask.
func (r *Repair) Due() (due tangle.Time) {
	if len(r.peers) == 0 {
		return 0
	}
	due = r.due
	if r.catch.on {
		if t := r.catch.since.Add(r.pace.Timeout); due == 0 || t < due {
			due = t
		}
	}
	return due
}

// Farthest is the highest commit that more peers claim than may lie.
func (r *Repair) Farthest() uint64 {
	var claims []uint64
	for _, p := range r.peers {
		claims = append(claims, p.heads.Commit)
	}
	slices.Sort(claims)
	if i := len(claims) - 1 - min(r.pace.Liars, len(claims)-1); len(claims) > 0 {
		return claims[i]
	}
	return 0
}

// CatchingUp says whether whole commits are being fetched.
func (r *Repair) CatchingUp() bool { return r.catch.on }

// Answered notes an answer to a range of commits, so that the next one is asked for at once.
func (r *Repair) Answered(from tangle.Member, upto uint64) {
	if r.catch.on && r.catch.peer == from {
		r.catch.on = false
		r.catch.upto = max(r.catch.upto, upto)
		r.due = r.catch.since // at once
	}
}

// MayPull says whether a peer may pull something from us now.
func (r *Repair) MayPull(now tangle.Time, m tangle.Member) bool {
	p := r.peers[m]
	if p == nil {
		return false
	}
	limit := float64(r.pace.PerSecond)
	p.budget = min(limit, p.budget+limit*now.Sub(p.updated).Seconds())
	p.updated = now
	return p.budget > 0
}

// Pulled charges a peer for what it was sent; the last answer may overdraw its budget.
func (r *Repair) Pulled(m tangle.Member, size int) {
	if p := r.peers[m]; p != nil {
		p.budget -= float64(size)
	}
}

// stuck says whether no commit has been executed for so long that no answer can be relied on: frames of it were lost, a
// message stands on one that was never committed, or a peer lied about its answer.
func (r *Repair) stuck(now tangle.Time) bool { return now >= r.moved.Add(r.pace.Timeout) }

// catchUp asks a peer that is far ahead for commits, one range at a time. A peer that does not answer in time, or whose
// answers lead nowhere, loses its turn.
func (r *Repair) catchUp(now tangle.Time, mine Heads) (asks []Envelope, behind bool) {
	ahead := r.ahead(mine.Commit + r.pace.BehindBy)
	stuck := r.stuck(now)
	waiting := (r.catch.on || stuck) && now < r.catch.since.Add(r.pace.Timeout)
	if len(ahead) == 0 {
		if !waiting {
			r.catch = catchUp{turn: r.catch.turn}
		}
		return nil, waiting && r.catch.on
	}
	if waiting {
		return nil, true
	}
	if r.catch.on || stuck {
		r.catch.turn++
	}
	to := ahead[r.catch.turn%len(ahead)]
	from, last := max(mine.Commit, r.catch.upto)+1, r.peers[to].heads.Commit
	switch {
	case stuck:
		from = mine.Commit + 1
	case from > last || from > mine.Commit+MaxAhead:
		return nil, true // enough is here: it is executed first
	}
	r.catch = catchUp{peer: to, since: now, upto: from - 1, on: true, turn: r.catch.turn}
	return []Envelope{{To: to, Lane: LaneBulk, Frame: Frame{Range: &Range{From: from, To: min(last, from+MaxRange-1)}}}}, true
}

// ahead are the peers that claim more than commit, ascending; none, if all who do may be lying.
func (r *Repair) ahead(commit uint64) (list []tangle.Member) {
	for _, m := range r.Peers() {
		if r.peers[m].heads.Commit > commit {
			list = append(list, m)
		}
	}
	if len(list) <= min(r.pace.Liars, len(r.peers)-1) {
		return nil
	}
	return list
}

// MaxAhead is how many commits may be fetched beyond the last one executed: some are needed above it to decide it.
const MaxAhead = 256

// track forgets the wants that are no longer missing, takes up what waits for room, and returns all wants, ascending.
func (r *Repair) track(now tangle.Time, gaps Gaps) []tangle.ID {
	maps.DeleteFunc(r.wants, func(id tangle.ID, _ *want) bool { return !gaps.IsMissing(id) })
	if room := MaxWants/2 - len(r.wants); room > 0 {
		r.Missing(now, gaps.Missing(room), tangle.Member{})
	}
	return slices.SortedFunc(maps.Keys(r.wants), func(a, b tangle.ID) int { return bytes.Compare(a[:], b[:]) })
}

// choose picks the peer to ask: each holder once, then all peers in turn.
func (r *Repair) choose(w *want) (tangle.Member, bool) {
	for w.asked < len(w.holders) && r.peers[w.holders[w.asked]] == nil {
		w.asked++
	}
	if w.asked < len(w.holders) {
		return w.holders[w.asked], true
	}
	peers := r.Peers()
	if len(peers) == 0 {
		return tangle.Member{}, false
	}
	return peers[w.turn%len(peers)], true
}

// askedFor notes that w was asked for, and when to do so again.
func (r *Repair) askedFor(now tangle.Time, w *want) {
	w.turn++
	if w.asked < len(w.holders) {
		w.asked++
	}
	if w.asked < len(w.holders) {
		w.due = now.Add(2 * r.pace.FirstAsk)
		return
	}
	w.due, w.wait = now.Add(w.wait), min(2*w.wait, r.pace.MaxRetry)
}

func seqOf(h Heads, m tangle.Member) tangle.Seq {
	i, ok := slices.BinarySearchFunc(h.Authors, m, func(a AuthorHead, m tangle.Member) int { return bytes.Compare(a.Author[:], m[:]) })
	if !ok {
		return 0
	}
	return h.Authors[i].Seq
}
