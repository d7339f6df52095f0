// Package consensus decides: it turns the committee's witnesses into one sequence of commits, each a leader, a time and
// the messages it brings into the order. The commit rule is that of Mysticeti (uncertified DAG, one leader per round,
// waves of three), the pacemaker that of Starfish, the order the white flag of TIP-2; docs/protocol.md has the rules and
// the reasons.
//
// It is pure: no clock, goroutine, log, disk or signature. It does not execute entries and knows no plugin; package node
// does both, and feeds every attached witness in.
package consensus

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"weft/tangle"
)

// Config is what the members of a committee share, and who of them we are.
type Config struct {
	Network   tangle.ID
	Epoch     tangle.Epoch
	Committee []tangle.Member
	Self      int // index in Committee; -1: not a validator

	GCRounds uint32        // rounds below the last committed leader whose witnesses still root the order
	Horizon  time.Duration // messages older than commit time minus this are expired
	Pace     Pace
}

// State is what the engine needs to go on after the last executed commit.
type State struct {
	Index  uint64       // of the last commit; 0: none
	Round  tangle.Round // its leader's
	Time   tangle.Time  // its commit time; the genesis time before the first
	Digest tangle.Hash  // hash chain over all commits
}

// Commit is one decision: the leader of a round, and the messages it brings into the order.
type Commit struct {
	Index    uint64
	Leader   *tangle.Vertex
	Round    tangle.Round
	Time     tangle.Time
	Digest   tangle.Hash
	Messages []*tangle.Vertex // in order, parents first, witnesses included
	Expired  []*tangle.Vertex // reached for the first time, but below the horizon: without effect
}

// ErrForked means that one slot has two certified variants: more than f validators misbehave, and no further decision is
// safe. The node must stop.
var ErrForked = errors.New("two certified witnesses in one slot: more than a third of the committee misbehaves")

// Engine is the committee's state on one node. It is not safe for concurrent use.
type Engine struct {
	config  Config
	index   map[tangle.Member]int
	leaders []int // permutation of the committee for this epoch
	quorum  int

	rounds  map[tangle.Round]*round
	known   map[tangle.ID]*witness
	highest tangle.Round // highest round attached
	lowest  tangle.Round // lowest round kept

	state   State
	decided tangle.Round // all slots up to here are decided
	queue   []*witness   // committed leaders not handed out yet
	pace    pacemaker
}

// witness is an attached witness with what the commit rule reads from it.
type witness struct {
	vertex    *tangle.Vertex
	author    int
	round     tangle.Round
	ancestors []*witness // those the engine still keeps
	vote      *witness   // the variant of leader(round-1) it lists; nil: it refuses them all
	cert      *witness   // the variant of leader(round-2) that a quorum of its ancestors votes for
}

// round holds the witnesses of one round by author; an equivocator has several variants.
type round struct {
	variants [][]*witness
	authors  int
}

// New returns an engine that continues after state.
func New(c Config, s State) *Engine {
	e := &Engine{
		config:  c,
		index:   map[tangle.Member]int{},
		leaders: permutation(c),
		quorum:  Quorum(len(c.Committee)),
		rounds:  map[tangle.Round]*round{},
		known:   map[tangle.ID]*witness{},
		state:   s,
		decided: s.Round,
		pace:    newPacemaker(len(c.Committee)),
	}
	for i, m := range c.Committee {
		e.index[m] = i
	}
	if s.Round > MaxRecall {
		e.lowest = s.Round - MaxRecall
	}
	return e
}

// Faulty is f, the number of misbehaving validators a committee of n tolerates.
func Faulty(n int) int { return (n - 1) / 3 }

// Quorum is n - f. Two quorums share an honest validator for every n, which 2f+1 does not give when n != 3f+1.
func Quorum(n int) int { return n - Faulty(n) }

// State is how far the engine has come.
func (e *Engine) State() State { return e.state }

// Highest is the highest round of any attached witness.
func (e *Engine) Highest() tangle.Round { return e.highest }

// Decided is the round up to which every slot is decided.
func (e *Engine) Decided() tangle.Round { return e.decided }

// Witnesses are the witnesses of the rounds kept in memory, by round.
func (e *Engine) Witnesses() (list []*tangle.Message) {
	for r := e.lowest; r <= e.highest; r++ {
		for author := range e.config.Committee {
			for _, w := range e.variants(r, author) {
				list = append(list, w.vertex.Message)
			}
		}
	}
	return list
}

// Leader is the validator whose witness of round r can be committed.
func (e *Engine) Leader(r tangle.Round) int { return e.leaders[int(r)%len(e.leaders)] }

// Validator is the committee index of a member.
func (e *Engine) Validator(m tangle.Member) (int, bool) { i, ok := e.index[m]; return i, ok }

// CheckAncestors is the attach rule of witnesses: ancestors are witnesses of this epoch and of lower rounds, one per
// author, and at least a quorum of them stands in the round before. It depends on the message and its parents only.
func (e *Engine) CheckAncestors(m *tangle.Message, parents []tangle.Facts) error {
	w := m.Header.Witness
	if w == nil {
		return nil
	}
	previous, seen := 0, map[tangle.Member]bool{}
	for _, i := range w.Ancestors {
		p := parents[i]
		switch {
		case p.Class != tangle.ClassWitness || p.Epoch != m.Header.Epoch || p.Round == 0:
			return errors.New("ancestor is not a witness of this epoch")
		case p.Round >= w.Round:
			return fmt.Errorf("ancestor of round %d under round %d", p.Round, w.Round)
		case seen[p.Author]:
			return errors.New("two ancestors of one author")
		}
		seen[p.Author] = true
		if p.Round == w.Round-1 {
			previous++
		}
	}
	if w.Round > 1 && previous < e.quorum {
		return fmt.Errorf("%d ancestors in round %d, quorum %d", previous, w.Round-1, e.quorum)
	}
	return nil
}

// Add takes in an attached witness; its ancestors were added before it. Adding twice does nothing.
func (e *Engine) Add(v *tangle.Vertex) {
	w := v.Header.Witness
	author, ok := e.index[v.Header.Author]
	if w == nil || !ok || e.known[v.ID] != nil || w.Round < e.lowest {
		return
	}
	n := &witness{vertex: v, author: author, round: w.Round}
	for _, i := range w.Ancestors {
		if a := e.known[v.Header.Parents[i]]; a != nil {
			n.ancestors = append(n.ancestors, a)
		}
	}
	e.readVotes(n)
	e.known[v.ID] = n
	r := e.round(n.round)
	if len(r.variants[author]) == 0 {
		r.authors++
	}
	r.variants[author] = append(r.variants[author], n)
	e.highest = max(e.highest, n.round)
	e.pace.added(e, n)
}

// readVotes fills in what n votes for and what it certifies: isVote and isCert of docs/protocol.md.
func (e *Engine) readVotes(n *witness) {
	count := map[*witness]int{}
	for _, a := range n.ancestors {
		if a.round != n.round-1 {
			continue
		}
		if a.author == e.Leader(a.round) {
			n.vote = a
		}
		if a.vote != nil {
			if count[a.vote]++; count[a.vote] >= e.quorum {
				n.cert = a.vote
			}
		}
	}
}

// Next returns the next commit, or nil if nothing more is decided. The caller must settle the commit's messages in the
// graph before it calls Next again, because the order of one commit skips what earlier ones settled.
func (e *Engine) Next() (*Commit, error) {
	if len(e.queue) == 0 {
		if err := e.decide(); err != nil {
			return nil, err
		}
	}
	if len(e.queue) == 0 {
		return nil, nil
	}
	leader := e.queue[0]
	e.queue = e.queue[1:]
	c := e.commit(leader)
	e.state = State{Index: c.Index, Round: c.Round, Time: c.Time, Digest: c.Digest}
	if len(e.queue) == 0 {
		e.collect()
	}
	return c, nil
}

func (e *Engine) commit(leader *witness) *Commit {
	c := &Commit{Index: e.state.Index + 1, Leader: leader.vertex, Round: leader.round, Time: e.commitTime(leader)}
	c.Messages, c.Expired = order(orderConfig{
		leader:  leader.vertex,
		gcRound: gcRound(e.state.Round, e.config.GCRounds),
		horizon: c.Time.Add(-e.config.Horizon),
	})
	c.Digest = c.DigestAfter(e.state.Digest)
	return c
}

// commitTime is the median of the times of the leader's ancestors in the round before, and never goes back: with at most
// f liars it lies between the clocks of honest validators. The leader's own clock has no say.
func (e *Engine) commitTime(leader *witness) tangle.Time {
	var times []tangle.Time
	for _, a := range leader.ancestors {
		if a.round == leader.round-1 {
			times = append(times, a.vertex.Header.Time)
		}
	}
	return max(e.state.Time, median(times))
}

// DigestAfter chains a commit to the digest of the one before.
func (c *Commit) DigestAfter(before tangle.Hash) tangle.Hash {
	h := sha256.New()
	b := append([]byte("weft/commit/1"), before[:]...)
	b = binary.BigEndian.AppendUint64(b, c.Index)
	b = append(b, c.Leader.ID[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(c.Time))
	h.Write(b)
	for _, v := range c.Messages {
		h.Write(v.ID[:])
	}
	return tangle.Hash(h.Sum(nil))
}

// MaxRecall is how many rounds below the last commit a new engine takes witnesses of.
const MaxRecall = 64

// keepRounds is how many rounds below the last decided one stay in memory: the pacemaker and late votes look there.
const keepRounds = 16

// collect forgets rounds that no decision can need any more. It is local: decisions and order do not depend on it.
func (e *Engine) collect() {
	if e.decided < keepRounds {
		return
	}
	for r := e.lowest; r < e.decided-keepRounds; r++ {
		if round := e.rounds[r]; round != nil {
			for _, variants := range round.variants {
				for _, w := range variants {
					w.ancestors, w.vote, w.cert = nil, nil, nil
					delete(e.known, w.vertex.ID)
				}
			}
			delete(e.rounds, r)
		}
	}
	e.lowest = e.decided - keepRounds
}

func (e *Engine) round(r tangle.Round) *round {
	if e.rounds[r] == nil {
		e.rounds[r] = &round{variants: make([][]*witness, len(e.config.Committee))}
	}
	return e.rounds[r]
}

// authors counts the validators with a witness in round r; round 0 is implicit and complete.
func (e *Engine) authors(r tangle.Round) int {
	if r == 0 {
		return len(e.config.Committee)
	}
	if round := e.rounds[r]; round != nil {
		return round.authors
	}
	return 0
}

func (e *Engine) variants(r tangle.Round, author int) []*witness {
	if round := e.rounds[r]; round != nil {
		return round.variants[author]
	}
	return nil
}

// permutation shuffles the committee by the network and epoch, so that leaders do not follow the order of genesis.
func permutation(c Config) []int {
	p := make([]int, len(c.Committee))
	for i := range p {
		p[i] = i
	}
	for i := len(p) - 1; i > 0; i-- {
		b := append([]byte("weft/leaders/1"), c.Network[:]...)
		b = binary.BigEndian.AppendUint32(b, uint32(c.Epoch))
		b = binary.BigEndian.AppendUint32(b, uint32(i))
		h := sha256.Sum256(b)
		j := int(binary.BigEndian.Uint64(h[:]) % uint64(i+1))
		p[i], p[j] = p[j], p[i]
	}
	return p
}
