package consensus

import (
	"cmp"
	"slices"
	"time"

	"weft/tangle"
)

// Pace is how fast a node makes witnesses. It is local: no decision depends on it.
type Pace struct {
	MinRound      time.Duration // least time between own witnesses unless the others are ahead
	LeaderTimeout time.Duration // how long to wait for a leader
	MaxTimeout    time.Duration // cap of its back-off
	IdleRound     time.Duration // time between witnesses while nothing waits to become final
	Ahead         time.Duration // witnesses further ahead of the own clock are built on only if there is no quorum without
}

// Proposal says what the next own witness builds on.
type Proposal struct {
	Round     tangle.Round
	Ancestors []*tangle.Vertex
}

// pacemaker is the local clockwork of rounds (Starfish "push"): a node makes a witness in every round that is not decided
// yet and never jumps over an undecided one, since round jumping has a published liveness counter-example.
type pacemaker struct {
	own      *witness    // last own witness
	created  tangle.Time // when it was made
	round    tangle.Round
	entered  tangle.Time // when round had its quorum below; 0: not yet
	timeouts int         // in a row
	strikes  []int       // per validator: own slots skipped in a row
	muted    []tangle.Round
}

func newPacemaker(n int) pacemaker {
	return pacemaker{strikes: make([]int, n), muted: make([]tangle.Round, n)}
}

// Propose says whether the node should make a witness now, or else when to ask again at the latest (0: after the next
// witness arrives). busy means that something waits to become final; otherwise rounds slow down to IdleRound.
func (e *Engine) Propose(now tangle.Time, busy bool) (p Proposal, ok bool, wake tangle.Time) {
	if e.config.Self < 0 {
		return p, false, 0
	}
	r := e.nextRound()
	if e.authors(r-1) < e.quorum {
		return p, false, 0
	}
	if e.pace.round != r || e.pace.entered == 0 {
		e.pace.round, e.pace.entered = r, now
	}
	if due := e.due(r, busy); due > now {
		return p, false, due
	}
	return Proposal{Round: r, Ancestors: e.ancestors(r, now.Add(e.config.Pace.Ahead))}, true, 0
}

// Proposed tells the pacemaker that the witness for its proposal exists; Add must follow.
func (e *Engine) Proposed(now tangle.Time) {
	waited := e.pace.entered != 0 && now >= e.pace.entered.Add(e.leaderTimeout()) && !e.ready(e.pace.round)
	if waited {
		e.pace.timeouts++
	} else {
		e.pace.timeouts = 0
	}
	e.pace.created, e.pace.entered = now, 0
}

// OwnRound is the round of the last own witness.
func (e *Engine) OwnRound() tangle.Round {
	if e.pace.own == nil {
		return 0
	}
	return e.pace.own.round
}

// nextRound is the round after the own last one. Rounds whose slots are all decided are passed over: a witness there can
// no longer influence anything, and a node that was away for an hour need not write an hour of witnesses.
func (e *Engine) nextRound() tangle.Round {
	return max(e.OwnRound(), e.decided) + 1
}

// due is the time at which a witness of round r should be made, given that round r-1 has its quorum.
func (e *Engine) due(r tangle.Round, busy bool) tangle.Time {
	if e.authors(r) >= e.quorum {
		return 0 // C3: the others are ahead, no waiting
	}
	due := e.pace.created.Add(e.config.Pace.MinRound)
	if !busy && e.highest < r {
		due = e.pace.created.Add(e.config.Pace.IdleRound)
	}
	if !e.ready(r) {
		due = max(due, e.pace.entered.Add(e.leaderTimeout())) // C2
	}
	return due
}

// ready is C1: the leader of the round before is here, and the slot before that has its votes or can be skipped.
func (e *Engine) ready(r tangle.Round) bool {
	if r <= 1 {
		return true
	}
	if leader := e.Leader(r - 1); len(e.variants(r-1, leader)) == 0 && !e.mute(leader, r-1) {
		return false
	}
	if r == 2 || e.decided >= r-2 || e.skippable(r-2) {
		return true
	}
	for _, l := range e.variants(r-2, e.Leader(r-2)) {
		if e.voters(l) >= e.quorum {
			return true
		}
	}
	return false
}

// leaderTimeout doubles with each timeout in a row, up to the cap.
func (e *Engine) leaderTimeout() time.Duration {
	d := e.config.Pace.LeaderTimeout << min(e.pace.timeouts, 16)
	return min(d, e.config.Pace.MaxTimeout)
}

// ancestors are the witnesses of the round before, the first variant that came of each author, and the own last one. A
// liar that claims a time far ahead would drag everybody's times along, since times never decrease upwards; who builds on it
// only when it must is not dragged.
func (e *Engine) ancestors(r tangle.Round, latest tangle.Time) (list []*tangle.Vertex) {
	var late []*tangle.Vertex
	for author := range e.config.Committee {
		v := e.variants(r-1, author)
		switch {
		case len(v) == 0:
		case v[0].vertex.Header.Time > latest && author != e.config.Self:
			late = append(late, v[0].vertex)
		default:
			list = append(list, v[0].vertex)
		}
	}
	slices.SortFunc(late, func(a, b *tangle.Vertex) int { return cmp.Compare(a.Header.Time, b.Header.Time) })
	for len(list) < e.quorum && len(late) > 0 {
		list, late = append(list, late[0]), late[1:]
	}
	if own := e.pace.own; own != nil && own.round < r-1 && len(e.variants(r-1, e.config.Self)) == 0 {
		list = append(list, own.vertex)
	}
	return list
}

func (p *pacemaker) added(e *Engine, w *witness) {
	if w.author == e.config.Self && (p.own == nil || w.round > p.own.round) {
		p.own = w
	}
}

// maxMute bounds, in turns of the committee, how long a silent leader is not waited for before it gets another chance.
const maxMute = 64

// decided keeps the do-not-wait list: a leader whose slot was skipped is not waited for in its next slots, twice as long
// each time, and is trusted again once a slot of its commits.
func (p *pacemaker) decided(e *Engine, r tangle.Round, ok bool) {
	leader := e.Leader(r)
	if ok {
		p.strikes[leader], p.muted[leader] = 0, 0
		p.timeouts = 0
		return
	}
	p.strikes[leader]++
	turns := min(maxMute, 1<<min(p.strikes[leader], 16))
	p.muted[leader] = r + tangle.Round(turns*len(e.leaders))
}

// mute says whether round r need not wait for its leader. At most f leaders are muted, those with the most strikes.
func (e *Engine) mute(leader int, r tangle.Round) bool {
	if e.pace.muted[leader] < r {
		return false
	}
	worse := 0
	for i, s := range e.pace.strikes {
		if e.pace.muted[i] >= r && (s > e.pace.strikes[leader] || s == e.pace.strikes[leader] && i < leader) {
			worse++
		}
	}
	return worse < Faulty(len(e.config.Committee))
}
