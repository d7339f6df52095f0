package consensus

import (
	"bytes"
	"slices"
	"time"

	"weft/tangle"
)

// Schedule says after which commits a checkpoint is due: a pure function of commits, so that all validators sign the same
// ones.
type Schedule struct {
	Every time.Duration // least commit time between checkpoints when the log has grown
	Fresh time.Duration // commit time after which one of unchanged size is due
}

// Due says whether a checkpoint follows a commit at time t that leaves the log at size, after the last one.
func (s Schedule) Due(lastTime tangle.Time, lastSize uint64, t tangle.Time, size uint64) bool {
	waited := t.Sub(lastTime)
	return size > lastSize && waited >= s.Every || waited >= s.Fresh
}

// Ballot collects the committee's votes on checkpoints. Votes that come before this node has executed the commit wait.
// It is not safe for concurrent use.
type Ballot struct {
	quorum int
	open   map[uint64]*poll // by commit
	early  map[uint64]map[tangle.Member]tangle.Vote
	newest uint64 // newest commit a poll was opened on
	done   uint64 // newest certified commit
}

type poll struct {
	text  tangle.Hash
	votes map[tangle.Member]tangle.Signature
	other map[tangle.Member]tangle.Hash // who claims another text
}

// Bounds of a ballot: polls open at once, and how many commits ahead of the newest poll a vote may be.
const (
	MaxPolls = 64
	MaxEarly = 1024
)

// Outcome is what a vote led to.
type Outcome struct {
	Certified bool // a quorum has signed this text
	Diverged  bool // a quorum claims another text: this node has computed something else than the others
}

// NewBallot returns an empty ballot for a committee of n, with everything up to the given commit closed.
func NewBallot(n int, done uint64) *Ballot {
	return &Ballot{
		quorum: Quorum(n),
		open:   map[uint64]*poll{},
		early:  map[uint64]map[tangle.Member]tangle.Vote{},
		newest: done,
		done:   done,
	}
}

// Open starts the poll on the checkpoint after a commit, with the text this node computed, and returns the votes that
// came early; the caller passes them to Vote.
func (b *Ballot) Open(commit uint64, text tangle.Hash) []Cast {
	b.newest = max(b.newest, commit)
	b.open[commit] = &poll{text, map[tangle.Member]tangle.Signature{}, map[tangle.Member]tangle.Hash{}}
	if len(b.open) > MaxPolls {
		delete(b.open, slices.Min(b.Pending()))
	}
	var cast []Cast
	for m, v := range b.early[commit] {
		cast = append(cast, Cast{m, v})
	}
	slices.SortFunc(cast, func(x, y Cast) int { return bytes.Compare(x.Author[:], y.Author[:]) })
	for c := range b.early {
		if c <= commit {
			delete(b.early, c)
		}
	}
	return cast
}

// Cast is a vote with its author.
type Cast struct {
	Author tangle.Member
	Vote   tangle.Vote
}

// Vote counts an author's vote; valid checks its signature and is called at most once, and only if the vote can count.
func (b *Ballot) Vote(c Cast, valid func() bool) (o Outcome) {
	p := b.open[c.Vote.Commit]
	switch {
	case c.Vote.Commit <= b.done:
	case p == nil:
		b.keep(c)
	case c.Vote.Text != p.text:
		p.other[c.Author] = c.Vote.Text
		o.Diverged = b.agree(p, c.Vote.Text) >= b.quorum
	case p.votes[c.Author] == tangle.Signature{} && valid():
		p.votes[c.Author] = c.Vote.Signature
		o.Certified = len(p.votes) == b.quorum
	}
	return o
}

// Votes are the signatures on an open poll.
func (b *Ballot) Votes(commit uint64) map[tangle.Member]tangle.Signature { return b.open[commit].votes }

// Close ends the poll on a certified checkpoint, and those on older ones, which it covers.
func (b *Ballot) Close(commit uint64) {
	b.done = max(b.done, commit)
	for c := range b.open {
		if c <= b.done {
			delete(b.open, c)
		}
	}
}

// Pending are the commits of open polls, ascending.
func (b *Ballot) Pending() []uint64 {
	var commits []uint64
	for c := range b.open {
		commits = append(commits, c)
	}
	slices.Sort(commits)
	return commits
}

func (b *Ballot) keep(c Cast) {
	if c.Vote.Commit <= b.newest || c.Vote.Commit > b.newest+MaxEarly {
		return
	}
	votes := b.early[c.Vote.Commit]
	if votes == nil {
		votes = map[tangle.Member]tangle.Vote{}
		b.early[c.Vote.Commit] = votes
	}
	if _, ok := votes[c.Author]; !ok {
		votes[c.Author] = c.Vote
	}
}

func (b *Ballot) agree(p *poll, text tangle.Hash) (n int) {
	for _, t := range p.other {
		if t == text {
			n++
		}
	}
	return n
}
