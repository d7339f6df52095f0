package node

import (
	"cmp"
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"weft/config/genesis"
	"weft/consensus"
	"weft/gossip"
	"weft/internal/store"
	"weft/plugins"
	"weft/tangle"
)

// CoreConfig is what a Core is made of.
type CoreConfig struct {
	Genesis *genesis.Genesis
	Key     ed25519.PrivateKey // the member's key; signs messages and checkpoints
	Store   store.Store
	Plugins []CorePlugin // ledger plugins in the order of genesis; the kind data is built in
	Seed    [32]byte     // of the choice of tips
	Tuning  Tuning
	Twin    bool // simulation only: go on although the own key signs elsewhere
}

// CorePlugin is a ledger plugin with its name.
type CorePlugin struct {
	Name   string
	Plugin plugins.Plugin
}

// Tuning is local: nothing agreed depends on it.
type Tuning struct {
	Pace              consensus.Pace
	Repair            gossip.RepairPace
	Heads             time.Duration // between heads frames
	Ahead             time.Duration // messages from further in the future wait
	Stalled           time.Duration // without a commit although something waits: quorum counts as lost
	MaxPendingEntries int           // own entries that are not ordered yet
	MaxPendingBytes   int
	MaxStepBytes      int // of one store batch, about
}

// DefaultTuning suits a LAN.
func DefaultTuning() Tuning {
	return Tuning{
		Pace: consensus.Pace{
			MinRound:      10 * time.Millisecond,
			LeaderTimeout: 50 * time.Millisecond,
			MaxTimeout:    10 * time.Second,
			IdleRound:     time.Second,
		},
		Repair:            gossip.DefaultRepairPace(),
		Heads:             time.Second,
		Ahead:             500 * time.Millisecond,
		Stalled:           5 * time.Second,
		MaxPendingEntries: 1 << 16,
		MaxPendingBytes:   64 << 20,
		MaxStepBytes:      2 << 20,
	}
}

// Core is the whole node without a body: no clock, no goroutine, no socket. One goroutine owns it.
type Core struct {
	config    CoreConfig
	codec     tangle.Codec
	self      tangle.Member
	committee []tangle.Member
	members   map[tangle.Member]genesis.Member
	engine    *consensus.Engine
	graph     *tangle.Graph
	repair    *gossip.Repair
	ballot    *consensus.Ballot
	exec      executor
	ledger    *Ledger
	random    *rand.Rand

	now       tangle.Time
	own       ownRecord
	voice     int                          // 1 for a validator: its own part of a quorum
	heads     map[tangle.Member]tangle.Seq // highest attached seq per author
	checks    map[tangle.ID][]Checked
	hearsay   hearsay
	unsettled int // attached class-0 messages that are neither ordered nor expired
	pending   pendingEntries
	backlog   []Input       // taken over from a Step whose batch was full
	held      []heldMessage // from the future, by time
	heldBytes int
	fault     error // the store failed where no error could be returned
	heard     map[tangle.Member]bool
	connected map[tangle.Member]bool
	nextHeads tangle.Time
	progress  tangle.Time // last commit, or start
	quorum    bool
}

// ownRecord is what this node has signed; it is durable before anything signed leaves.
type ownRecord struct {
	Seq      tangle.Seq
	Round    tangle.Round
	Previous tangle.ID // last own message with entries
}

type heldMessage struct {
	message *tangle.Message
	from    tangle.Member
	checks  []Checked
}

// Bounds of the messages from the future that wait. Those further ahead are not taken: whoever holds them offers them again.
const (
	MaxHeld      = 4096
	MaxHeldBytes = 8 << 20
	maxHold      = time.Minute
)

// Errors that stop a node. Each says what an operator has to know.
var (
	ErrKeyElsewhere = errors.New("this member's key has signed messages that this data folder does not hold: " +
		"a second node runs with the same key, or the folder was restored from an old backup")
	ErrBodyGone = errors.New("the body of an entry is gone that this node has to execute: a member has said that it was never ordered")
	ErrDiverged = errors.New("the committee has certified a state that differs from the one computed here")
)

// Step is the whole node: it takes what happened, and returns what follows from it. Everything an effect relies on is
// durable when Step returns; bad input is a Fault; an error means that this node must stop.
//
// now must not go back; a Step without inputs is a tick.
func (c *Core) Step(now tangle.Time, inputs []Input) (Effects, error) {
	c.now = max(c.now, now)
	s := &step{Core: c, fresh: map[seqKey][]tangle.ID{}}
	s.takeAll(inputs)
	s.releaseHeld()
	s.sealSubmissions()
	if err := s.settle(); err != nil {
		return Effects{}, err
	}
	if s.Core.fault != nil {
		return Effects{}, fmt.Errorf("store: %w", s.Core.fault)
	}
	s.repairAndHeads()
	s.watchQuorum()
	return s.finish()
}

// step is the work of one call of Step.
type step struct {
	*Core
	out      Effects
	batch    store.Batch
	speaks   bool // something is sent, answered or called final that relies on the batch
	submits  []*Submission
	pushes   []*tangle.Message // own messages to send
	foreign  bool              // the own key signs elsewhere
	headMove bool
	fail     error                  // what must stop the node, found where no error is returned
	fresh    map[seqKey][]tangle.ID // attached in this Step, not in the store yet
}

type seqKey struct {
	author tangle.Member
	seq    tangle.Seq
}

// takeAll takes inputs, those left over first, until the batch is full; what is left waits for the next Step.
func (s *step) takeAll(inputs []Input) {
	waiting := s.backlog
	s.backlog = nil
	for s.graph.Releasing() && !s.full() {
		s.took(s.graph.Release())
	}
	for i, in := range slices.Concat(waiting, inputs) {
		if s.full() {
			s.backlog = append(s.backlog, slices.Concat(waiting, inputs)[i:]...)
			break
		}
		s.take(&in)
	}
	s.out.More = len(s.backlog) > 0 || s.graph.Releasing()
}

// full says whether the batch has what one Step should write. A commit, a message or a submission that is begun is written
// whole, so there is room for each of them beyond this in what a store takes at once.
func (s *step) full() bool { return s.batch.Size()+s.exec.unsaved > s.config.Tuning.MaxStepBytes }

func (s *step) take(in *Input) {
	switch {
	case in.Submit != nil:
		s.submits = append(s.submits, in.Submit)
	case in.Peer != nil:
		s.takePeer(*in.Peer)
	case in.Frame != nil:
		s.takeFrame(in.Frame)
	}
}

func (s *step) takePeer(p PeerChange) {
	if p.Connected {
		s.connected[p.Member] = true
		s.repair.Connected(p.Member)
		s.sendHeads(p.Member)
		return
	}
	delete(s.connected, p.Member)
	s.repair.Disconnected(p.Member)
}

func (s *step) takeFrame(f *PeerFrame) {
	switch {
	case f.Frame.Messages != nil:
		for i, m := range f.Frame.Messages.List {
			var checks []Checked
			if i < len(f.Ops) {
				checks = f.Ops[i]
			}
			s.offer(m, f.From, checks)
		}
		if f.Frame.Messages.Upto > 0 {
			s.repair.Answered(f.From, f.Frame.Messages.Upto)
		}
	case f.Frame.Heads != nil:
		s.takeHeads(f.From, *f.Frame.Heads)
	case f.Frame.Ask != nil, f.Frame.Reply != nil: // plugins' talk, which the body sees to
	case f.Frame.Range != nil:
		s.answerRange(f.From, *f.Frame.Range)
	default:
		s.answerWant(f.From, f.Frame.Want)
	}
}

// offer takes a message from a peer: hold it, park it, attach it, or find a fault.
func (s *step) offer(m *tangle.Message, from tangle.Member, checks []Checked) {
	if m.Header.Epoch != epoch {
		return // of an epoch this node has not reached; whoever is ahead offers it again
	}
	if m.Header.Time > s.now.Add(s.config.Tuning.Ahead) {
		s.hold(heldMessage{m, from, checks})
		return
	}
	if m.Header.Author == s.self && !s.known(m.ID) && !s.config.Twin {
		s.foreign = true
		return
	}
	if !s.known(m.ID) {
		if !s.believed(m, from) {
			s.repair.Doubted(s.now, m.ID)
			return
		}
		if checks != nil {
			s.keepChecks(m.ID, checks)
		}
	}
	added := s.graph.Add(m)
	s.repair.Missing(s.now, added.Missing, from)
	for _, bad := range added.Invalid {
		if bad.Message.ID == m.ID { // the others were parked before, and came from somebody else
			s.out.Faults = append(s.out.Faults, Fault{from, fmt.Sprintf("message %s: %v", bad.Message.ID.Short(), bad.Err)})
		}
	}
	s.took(added)
}

// took records what the graph has attached, and forgets what it has refused.
func (s *step) took(added tangle.Added) {
	for _, bad := range added.Invalid {
		delete(s.checks, bad.Message.ID)
	}
	s.attached(added.Attached)
}

// keepChecks remembers what the pool found until the message is ordered. Parked messages can be forgotten; then so are
// their checks, and if they come again without, Core makes them itself.
func (s *step) keepChecks(id tangle.ID, checks []Checked) {
	if len(s.checks) > s.graph.Len()+s.graph.ParkedLen()+tangle.MaxParked {
		maps.DeleteFunc(s.checks, func(id tangle.ID, _ []Checked) bool { return !s.known(id) })
	}
	s.checks[id] = checks
}

func (s *step) known(id tangle.ID) bool { return s.graph.Has(id) || s.graph.Parked(id) }

func (s *step) hold(h heldMessage) {
	size := h.message.Size()
	if len(s.held) >= MaxHeld || s.heldBytes+size > MaxHeldBytes || h.message.Header.Time > s.now.Add(maxHold) {
		return
	}
	if slices.ContainsFunc(s.held, func(o heldMessage) bool { return o.message.ID == h.message.ID }) {
		return
	}
	i, _ := slices.BinarySearchFunc(s.held, h.message.Header.Time, func(a heldMessage, t tangle.Time) int {
		return cmp.Compare(a.message.Header.Time, t)
	})
	s.held = slices.Insert(s.held, i, h)
	s.heldBytes += size
}

func (s *step) releaseHeld() {
	for len(s.held) > 0 && s.held[0].message.Header.Time <= s.now.Add(s.config.Tuning.Ahead) {
		h := s.held[0]
		s.held = s.held[1:]
		s.heldBytes -= h.message.Size()
		s.offer(h.message, h.from, h.checks)
	}
}

// attached records newly attached vertices and shows witnesses to the engine.
func (s *step) attached(list []*tangle.Vertex) {
	for _, v := range list {
		s.persistAttached(v)
		s.noteSeq(v.Message)
		if v.IsWitness() {
			s.engine.Add(v)
			s.countVotes(v.Message)
		} else {
			s.unsettled++
		}
		s.out.Events = append(s.out.Events, Event{Kind: EventAttached, Message: v.Message, Time: s.now})
	}
}

// noteSeq keeps the authors' heads, and notices two messages under one seq.
func (s *step) noteSeq(m *tangle.Message) {
	h := m.Header
	key := seqKey{h.Author, h.Seq}
	s.fresh[key] = append(s.fresh[key], m.ID)
	if h.Seq > s.Core.heads[h.Author] {
		s.Core.heads[h.Author] = h.Seq
		return
	}
	if other, ok := s.sameSeq(m); ok {
		s.persistEvidence(m, other)
		s.out.Events = append(s.out.Events, Event{Kind: EventEquivocate, Message: m, Time: s.now})
	}
}

// settle executes what is decided, and makes own witnesses, until neither leads to more.
func (s *step) settle() error {
	if s.foreign {
		return ErrKeyElsewhere
	}
	if s.fail != nil {
		return s.fail
	}
	for {
		if err := s.execute(); err != nil || s.full() || s.fail != nil {
			return errors.Join(err, s.fail)
		}
		if made, err := s.witness(); err != nil || !made {
			return err
		}
	}
}

// busy says whether something waits to become final.
func (c *Core) busy() bool { return c.unsettled > 0 || c.exec.size > c.exec.certified.size }

// witness makes the next own witness if it is due.
func (s *step) witness() (bool, error) {
	if !s.maySign() {
		return false, nil
	}
	p, ok, wake := s.engine.Propose(s.now, s.busy())
	if !ok {
		s.wakeAt(wake)
		return false, nil
	}
	if p.Round <= s.own.Round {
		return false, fmt.Errorf("about to sign round %d again: round %d is signed", p.Round, s.own.Round)
	}
	m, err := s.seal(tangle.Header{Witness: &tangle.Witness{Round: p.Round, Votes: s.ownVotes()}}, nil, p.Ancestors)
	if err != nil {
		return false, err
	}
	s.engine.Proposed(s.now)
	return true, s.addOwn(m)
}

// maySign guards against a lost or restored folder: after a start nothing is signed before a quorum has told what it holds
// of this key, so that messages which the folder does not know are noticed before they are contradicted.
func (s *step) maySign() bool { return len(s.heard)+s.voice >= consensus.Quorum(len(s.committee)) }

// seal signs a message. Its parents are the ancestors and all tips for a witness, chosen tips otherwise.
func (s *step) seal(h tangle.Header, entries []tangle.Entry, ancestors []*tangle.Vertex) (*tangle.Message, error) {
	h.Epoch, h.Author, h.Seq, h.Time = epoch, s.self, s.own.Seq+1, s.now
	if h.Witness != nil {
		h.Parents, h.Witness.Ancestors = s.witnessParents(ancestors)
	} else {
		h.Parents = s.graph.ChooseTips(s.random, s.codec.Limits.MaxParents, s.own.Previous, s.latest())
	}
	h.Time = max(h.Time, s.config.Genesis.Time) // the root's, and then those of ancestors, which may be settled
	for _, a := range ancestors {
		h.Time = max(h.Time, a.Header.Time)
	}
	for _, p := range h.Parents {
		if v := s.graph.Get(p); v != nil {
			h.Time = max(h.Time, v.Header.Time)
		}
	}
	m, err := s.codec.Seal(h, entries, s.sign)
	if err != nil {
		return nil, fmt.Errorf("own message: %w", err)
	}
	s.own.Seq = h.Seq
	if h.Witness != nil {
		s.own.Round = h.Witness.Round
	} else {
		s.own.Previous = m.ID
	}
	return m, nil
}

// latest is the time up to which messages are built on: half of what others accept without holding, so that a liar's clock
// does not become everybody's.
func (s *step) latest() tangle.Time { return s.now.Add(s.config.Tuning.Ahead / 2) }

func (s *step) sign(input []byte) tangle.Signature {
	return tangle.Signature(ed25519.Sign(s.config.Key, input))
}

// witnessParents joins ancestors and swept tips, sorted, and gives the ancestors' indexes.
func (s *step) witnessParents(ancestors []*tangle.Vertex) (parents []tangle.ID, indexes []uint16) {
	isAncestor := map[tangle.ID]bool{}
	for _, a := range ancestors {
		isAncestor[a.ID] = true
		parents = append(parents, a.ID)
	}
	for _, tip := range s.graph.SweepTips(s.codec.Limits.MaxTips, s.latest()) {
		if !isAncestor[tip.ID] {
			parents = append(parents, tip.ID)
		}
	}
	if len(parents) == 0 {
		parents = []tangle.ID{s.codec.Network}
	}
	slices.SortFunc(parents, func(a, b tangle.ID) int { return slices.Compare(a[:], b[:]) })
	for i, p := range parents {
		if isAncestor[p] {
			indexes = append(indexes, uint16(i))
		}
	}
	return parents, indexes
}

// addOwn attaches an own message and prepares its sending. Own messages pass own validity or the node stops.
func (s *step) addOwn(m *tangle.Message) error {
	added := s.graph.Add(m)
	if len(added.Invalid) > 0 || len(added.Missing) > 0 {
		return fmt.Errorf("own message %s breaks the rules: %v", m.ID, added.Invalid)
	}
	s.persistOwn()
	s.attached(added.Attached)
	s.pushes = append(s.pushes, m)
	s.speaks = true
	return nil
}

func (s *step) wakeAt(t tangle.Time) {
	if t != 0 && (s.out.Wake == 0 || t < s.out.Wake) {
		s.out.Wake = t
	}
}

// watchQuorum tells observers when finality stops and comes back.
func (s *step) watchQuorum() {
	present := 0
	for _, m := range s.committee {
		if m == s.self || s.connected[m] {
			present++
		}
	}
	stalled := s.busy() && s.now.Sub(s.progress) > s.config.Tuning.Stalled
	ok := present >= consensus.Quorum(len(s.committee)) && !stalled
	if ok != s.Core.quorum {
		s.Core.quorum = ok
		e := Event{Kind: EventQuorum, Time: s.now}
		if ok {
			e.Commit = 1
		}
		s.out.Events = append(s.out.Events, e)
	}
	if s.busy() && !stalled {
		s.wakeAt(s.progress.Add(s.config.Tuning.Stalled + time.Millisecond))
	}
}

// finish makes the batch durable and then lets the effects out.
func (s *step) finish() (Effects, error) {
	s.sendPushes()
	s.exec.write(&s.batch)
	if s.batch.Len() > 0 || s.speaks {
		if err := s.config.Store.Apply(&s.batch, s.speaks); err != nil {
			return Effects{}, fmt.Errorf("store: %w", err)
		}
	}
	s.exec.applied()
	s.out.Backlog = len(s.backlog)
	if s.headMove {
		s.ledger.setHead(s.Core.head())
	}
	if len(s.held) > 0 {
		s.wakeAt(s.held[0].message.Header.Time.Add(-s.config.Tuning.Ahead))
	}
	return s.out, nil
}

// CoreStatus is a set of figures for operators.
type CoreStatus struct {
	Round      tangle.Round // highest attached
	Own        tangle.Round // own last witness
	Decided    tangle.Round
	Commit     uint64
	Time       tangle.Time // of that commit
	Tips       int
	Attached   int // vertices in memory
	Unordered  int // of them messages with entries
	Parked     int
	Held       int
	Pending    int // own entries not ordered yet
	Idle       bool
	Quorum     bool
	CatchingUp bool
	Behind     uint64 // commits behind what more peers claim than may lie
}

// Status is cheap; only the goroutine that owns the Core may call it.
func (c *Core) Status() CoreStatus {
	st := CoreStatus{
		Round: c.engine.Highest(), Own: c.own.Round, Decided: c.engine.Decided(), Commit: c.engine.State().Index,
		Time: c.engine.State().Time, Tips: c.graph.Tips(), Attached: c.graph.Len(), Unordered: c.unsettled, Parked: c.graph.ParkedLen(),
		Held: len(c.held), Pending: c.pending.count, Idle: !c.busy(), Quorum: c.quorum, CatchingUp: c.repair.CatchingUp(),
	}
	if far := c.repair.Farthest(); far > st.Commit {
		st.Behind = far - st.Commit
	}
	return st
}

// Ledger gives reads that are safe for concurrent use.
func (c *Core) Ledger() *Ledger { return c.ledger }

// epoch is the only epoch there is until governance closes one.
const epoch tangle.Epoch = 0
