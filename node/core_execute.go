package node

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"weft/consensus"
	"weft/internal/store"
	"weft/plugins"
	"weft/receipt"
	"weft/tangle"
)

// executor turns commits into positions, outcomes, the log and checkpoints. A Core executes what its committee decides, and
// Replay what a store holds, by the same code.
type executor struct {
	store     store.Store
	network   string
	schedule  consensus.Schedule
	plugins   []*ledgerPlugin
	byKind    map[tangle.Kind]*ledgerPlugin
	size      uint64 // positions given
	written   int    // bytes, by entries of the commit that is being executed
	unsaved   int    // bytes that plugins have written and the store does not have yet
	last      checkpointMark
	certified checkpointMark
	members   tangle.Hash
	edge      map[int64]tlog.Hash   // stored hashes of the log written lately
	texts     map[uint64]checkpoint // open polls
	dropped   checkpointMark        // the last one that may be dropped for a fresher one of its size
	voted     uint64                // newest commit whose checkpoint an own witness carries a vote for
}

// checkpointMark is what the schedule remembers of a checkpoint.
type checkpointMark struct {
	commit uint64
	size   uint64
	time   tangle.Time
	text   tangle.Hash
}

type checkpoint struct {
	mark checkpointMark
	text []byte
}

// ledgerPlugin is a plugin with its place in the checkpoints.
type ledgerPlugin struct {
	name   string
	plugin plugins.Plugin
	digest tangle.Hash // hash chain over its applied entries and their writes
	state  *pluginState
	index  *pluginState // beside the digest
}

// write puts what plugins have written in this Step into the batch.
func (x *executor) write(b *store.Batch) {
	for _, p := range x.plugins {
		p.state.write(b)
		p.index.write(b)
	}
}

// applied forgets what the store now holds.
func (x *executor) applied() {
	x.unsaved = 0
	for _, p := range x.plugins {
		p.state.applied()
		p.index.applied()
	}
	if len(x.edge) > 1<<13 {
		clear(x.edge)
	}
}

// fault is what the store has failed with while plugins read. Whose state it was does not matter: others peek.
func (x *executor) fault() (err error) {
	for _, p := range x.plugins {
		err = errors.Join(err, p.state.err, p.index.err)
	}
	return err
}

// execute applies decided commits, one by one, until none is left or the batch is full.
func (s *step) execute() error {
	for {
		if s.full() {
			s.out.More = true
			return nil
		}
		commit, err := s.engine.Next()
		if err != nil || commit == nil {
			return err
		}
		if err := s.executeCommit(commit); err != nil {
			return fmt.Errorf("commit %d: %w", commit.Index, err)
		}
	}
}

// MaxCommitWriteBytes bounds what the entries of one commit write to plugins' state, because a commit is executed in one
// batch. Entries that come after are rejected: all nodes count the same. It takes some thousand large entries to get there.
const MaxCommitWriteBytes = 12 << 20

func (s *step) executeCommit(c *consensus.Commit) error {
	first := s.exec.begin()
	for _, v := range c.Messages {
		if err := s.order(c, v); err != nil {
			return err
		}
	}
	if len(c.Expired) > 0 || c.Index%sweepEvery == 0 {
		s.sweepExpired(c) // what was reached, what is below it, and what was never reached
	}
	s.persistCommit(c, first)
	s.progress = s.now
	s.headMove = true
	s.out.Events = append(s.out.Events, Event{Kind: EventCommitted, Commit: c.Index, Position: tangle.Position(s.exec.size), Time: c.Time})
	return s.checkpointAfter(c)
}

// order gives a message its place and applies its entries.
func (s *step) order(c *consensus.Commit, v *tangle.Vertex) error {
	settled, err := s.exec.order(c, v.Message, s.checks[v.ID], &s.batch)
	if err != nil {
		return err
	}
	if !v.IsWitness() {
		s.leaveOutbox(v.Message)
		s.out.Events = append(s.out.Events, Event{Kind: EventOrdered, Message: v.Message, Commit: c.Index, Position: settled.Position, Time: c.Time})
	}
	s.settleVertex(v, settled)
	return nil
}

// begin is called before the messages of each commit; it returns the first position that they are given.
func (x *executor) begin() (first uint64) {
	x.written = 0
	return x.size
}

// order gives a message of a commit its place, applies its entries, and says what became of them. checks are what the
// plugins' Check said of the entries; nil: nobody has asked, or it was forgotten.
func (x *executor) order(c *consensus.Commit, m *tangle.Message, checks []Checked, b *store.Batch) (Settled, error) {
	settled := Settled{Status: StatusOrdered, Commit: c.Index, Time: c.Time}
	if m.IsWitness() {
		return settled, nil
	}
	settled.Position = tangle.Position(x.size)
	settled.Codes = make([]string, len(m.Entries))
	if len(checks) != len(m.Entries) {
		checks = x.check(m.Entries)
	}
	for i := range m.Entries {
		code, err := x.apply(c, m, i, checks[i])
		if err != nil {
			return settled, err
		}
		settled.Codes[i] = code
	}
	if err := x.appendLog(m.ID, settled, b); err != nil {
		return settled, err
	}
	b.Set(store.Key(store.PrefixPosition, store.U64(x.size)), m.ID[:])
	x.size++
	return settled, nil
}

// apply executes entry i of the message at the next position and returns its outcome: empty, or the code of its rejection.
func (x *executor) apply(c *consensus.Commit, m *tangle.Message, i int, checked Checked) (code string, err error) {
	e, p := m.Entries[i], tangle.Position(x.size)
	owner := x.byKind[e.KindLeft()]
	if owner == nil {
		return "unknown_kind", nil
	}
	if e.Erased() && e.Left.Code == tangle.CodeNever {
		return "", fmt.Errorf("%w: entry %d of message %s", ErrBodyGone, i, m.ID)
	}
	ordered := plugins.Ordered{
		Kind: e.KindLeft(), Hash: e.Hash, Data: e.Data, Op: checked.Op, Message: m.ID, Author: m.Header.Author,
		Position: p, Index: i, Commit: c.Index, Time: c.Time,
	}
	if checked.Err == nil && x.written > MaxCommitWriteBytes {
		checked.Err = plugins.Reject("commit_full", "the entries before it in this commit have written too much")
	}
	if checked.Err == nil {
		checked.Err = owner.apply(ordered)
	}
	rejected := plugins.Rejected(checked.Err)
	if checked.Err != nil {
		if rejected == nil {
			return "", fmt.Errorf("plugin %s at position %d: %w", owner.name, p, checked.Err)
		}
		code = rejected.Code[:min(len(rejected.Code), plugins.MaxCodeBytes)]
	}
	owner.chain(p, i, e.Hash, code)
	if owner.plugin.Index != nil {
		owner.plugin.Index(owner.index, ordered, rejected)
	}
	agreed := owner.state.take(c.Index)
	x.written += agreed
	x.unsaved += agreed + owner.index.take(c.Index)
	return code, x.fault()
}

// check runs the plugins' checks on the entries of a reloaded message, or of one whose checks were forgotten.
func (x *executor) check(entries []tangle.Entry) []Checked {
	return checkEntries(entries, func(k tangle.Kind) *plugins.Plugin {
		if p := x.byKind[k]; p != nil {
			return &p.plugin
		}
		return nil
	})
}

// checkEntry runs the Check of the plugin that owns an entry's kind; nil: none does. Of an erased one it is what is left.
func checkEntry(owner *plugins.Plugin, e tangle.Entry) (c Checked) {
	switch {
	case owner == nil:
		return Checked{Err: plugins.Reject("unknown_kind", "no plugin of this network owns kind %d", e.KindLeft())}
	case e.Erased():
		return restoreEntry(owner, e.Left)
	case owner.Check != nil:
		c.Op, c.Err = owner.Check(e.Kind, e.Data)
	}
	return c
}

// checkLasting holds that an entry carries the lasting part that its plugin makes of it: when its body is gone, this is all
// that members who join have of it.
func checkLasting(owner *plugins.Plugin, e tangle.Entry, c Checked) Checked {
	if c.Err == nil && !e.Erased() && !bytes.Equal(e.Lasting, lastingOf(owner, e.Kind, c.Op)) {
		c.Err = plugins.Reject("bad_lasting", "the lasting part is not that of the entry")
	}
	return c
}

// lastingOf is the lasting part of an entry that has passed its plugin's Check.
func lastingOf(owner *plugins.Plugin, kind tangle.Kind, op plugins.Op) []byte {
	if owner == nil || owner.Lasting == nil {
		return nil
	}
	return owner.Lasting(kind, op)
}

// restoreEntry makes of what is left of an entry what Check had made of it, or the rejection that it met.
func restoreEntry(owner *plugins.Plugin, left *tangle.Left) (c Checked) {
	if c.Err = errors.New("its plugin does not let bodies go"); owner.Restore != nil {
		c.Op, c.Err = owner.Restore(left.Kind, left.Lasting)
	}
	if left.Code != "" {
		c.Err = plugins.Reject(left.Code, "the body is erased")
	} else if c.Err != nil {
		c.Err = fmt.Errorf("what is left of an entry: %v", c.Err) // no rejection: the committee has accepted it
	}
	return c
}

// apply runs the plugin's Apply; a rejected entry's writes are rolled back.
func (p *ledgerPlugin) apply(o plugins.Ordered) error {
	if p.plugin.Apply == nil {
		return nil
	}
	err := p.plugin.Apply(p.state, o)
	if err != nil {
		p.state.rollback()
	}
	return err
}

// chain extends the plugin's digest by an entry, its outcome and its writes: equal digests mean equal states.
func (p *ledgerPlugin) chain(at tangle.Position, index int, entry tangle.Hash, code string) {
	h := sha256.New()
	b := append([]byte("weft/state/1"), p.digest[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(at))
	b = binary.BigEndian.AppendUint16(b, uint16(index))
	b = append(b, entry[:]...)
	b = append(b, byte(len(code)))
	b = append(b, code...)
	h.Write(b)
	p.state.hashWrites(h)
	p.digest = tangle.Hash(h.Sum(nil))
}

// appendLog adds the message's leaf to the RFC 6962 log.
func (x *executor) appendLog(id tangle.ID, settled Settled, b *store.Batch) error {
	leaf := receipt.Leaf(settled.Position, id, rejected(settled.Codes))
	n := int64(settled.Position)
	hashes, err := tlog.StoredHashes(n, leaf, tlog.HashReaderFunc(x.logHashes))
	if err != nil {
		return fmt.Errorf("log: %w", err)
	}
	at := tlog.StoredHashIndex(0, n)
	for i, h := range hashes {
		x.edge[at+int64(i)] = h
		b.Set(store.Key(store.PrefixHash, store.U64(uint64(at+int64(i)))), append([]byte(nil), h[:]...))
	}
	return nil
}

func rejected(codes []string) []bool {
	out := make([]bool, len(codes))
	for i, c := range codes {
		out[i] = c != ""
	}
	return out
}

func (x *executor) logHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, at := range indexes {
		h, ok := x.edge[at]
		if !ok {
			b, err := x.store.Get(store.Key(store.PrefixHash, store.U64(uint64(at))))
			if err != nil {
				return nil, fmt.Errorf("stored hash %d: %w", at, err)
			}
			copy(h[:], b)
		}
		out[i] = h
	}
	return out, nil
}

// sweepEvery is how many commits lie between looks for messages that fell below the horizon, if none is reached meanwhile.
const sweepEvery = 64

// sweepExpired settles what no later commit can order any more: the horizon never goes back.
func (s *step) sweepExpired(c *consensus.Commit) {
	horizon := c.Time.Add(-s.config.Genesis.Consensus.Horizon())
	s.graph.ForgetParked(horizon)
	for _, v := range s.graph.All() {
		if v.Header.Time >= horizon {
			continue
		}
		s.expire(v, c)
	}
}

// expire settles a message without effect; own entries are sealed again.
func (s *step) expire(v *tangle.Vertex, c *consensus.Commit) {
	if v.Settled {
		return
	}
	s.settleVertex(v, Settled{Status: StatusExpired, Commit: c.Index, Time: c.Time})
	s.out.Events = append(s.out.Events, Event{Kind: EventExpired, Message: v.Message, Commit: c.Index, Time: c.Time})
	if !v.IsWitness() && v.Header.Author == s.self {
		s.leaveOutbox(v.Message)
		for _, e := range v.Entries {
			s.persistOutbox(e)
		}
		s.pending.again = append(s.pending.again, v.Entries...)
		s.out.More = true
	}
}

func (s *step) leaveOutbox(m *tangle.Message) {
	if m.Header.Author == s.self {
		s.pending.add(m, -1)
	}
}

func (s *step) settleVertex(v *tangle.Vertex, settled Settled) {
	if !v.IsWitness() {
		s.unsettled--
	}
	delete(s.checks, v.ID)
	s.persistSettled(v, settled)
	s.graph.Settle(v)
}

// checkpointAfter makes the checkpoint that is due after a commit, and opens the poll on it.
func (s *step) checkpointAfter(c *consensus.Commit) error {
	cp, due, err := s.exec.checkpoint(c)
	if err != nil || !due {
		return err
	}
	s.persistCheckpoint(cp.mark, cp.text)
	return s.openPoll(cp)
}

// checkpoint makes the checkpoint after a commit if it is due.
func (x *executor) checkpoint(c *consensus.Commit) (made checkpoint, due bool, err error) {
	if !x.schedule.Due(x.last.time, x.last.size, c.Time, x.size) {
		return made, false, nil
	}
	root, err := tlog.TreeHash(int64(x.size), tlog.HashReaderFunc(x.logHashes))
	if err != nil {
		return made, false, fmt.Errorf("log: %w", err)
	}
	cp := receipt.Checkpoint{
		Network: x.network, Size: x.size, Root: tangle.Hash(root), Epoch: epoch, Commit: c.Index, Time: c.Time, Members: x.members,
	}
	for _, p := range x.plugins {
		cp.States = append(cp.States, receipt.State{Plugin: p.name, Digest: p.digest})
	}
	text := cp.Text()
	x.last = checkpointMark{commit: c.Index, size: cp.Size, time: cp.Time, text: sha256.Sum256(text)}
	return checkpoint{x.last, text}, true, nil
}

func (s *step) openPoll(cp checkpoint) error {
	s.exec.texts[cp.mark.commit] = cp
	for _, cast := range s.ballot.Open(cp.mark.commit, cp.mark.text) {
		s.vote(cast)
	}
	if open := s.ballot.Pending(); len(s.exec.texts) > len(open) { // the ballot has given an old poll up
		maps.DeleteFunc(s.exec.texts, func(commit uint64, _ checkpoint) bool { return !slices.Contains(open, commit) })
	}
	return nil
}

// vote counts one vote; a quorum certifies the checkpoint.
func (s *step) vote(cast consensus.Cast) {
	if _, ok := s.engine.Validator(cast.Author); !ok {
		return
	}
	cp := s.exec.texts[cast.Vote.Commit]
	o := s.ballot.Vote(cast, func() bool { return receipt.VerifyText(cast.Author, cp.text, cast.Vote.Signature) })
	if o.Diverged {
		s.fail = fmt.Errorf("%w: at commit %d, own checkpoint:\n%s", ErrDiverged, cast.Vote.Commit, cp.text)
	}
	if o.Certified {
		s.certify(cp)
	}
}

func (s *step) certify(cp checkpoint) {
	note := receipt.Note(s.config.Genesis, cp.text, s.ballot.Votes(cp.mark.commit))
	s.ballot.Close(cp.mark.commit)
	for commit := range s.exec.texts {
		if commit <= cp.mark.commit {
			delete(s.exec.texts, commit)
			s.batch.Delete(store.Key(store.PrefixCheckpoint, store.U64(commit)))
		}
	}
	s.persistCertified(cp.mark, note)
	s.exec.certified = cp.mark
	s.persistExecuted()
	s.headMove, s.speaks = true, true
	s.out.Events = append(s.out.Events, Event{Kind: EventFinal, Commit: cp.mark.commit, Position: tangle.Position(cp.mark.size), Time: cp.mark.time})
}

// ownVotes are this validator's signatures on open checkpoints that no own witness has carried yet, the newest last.
func (s *step) ownVotes() (votes []tangle.Vote) {
	open := s.ballot.Pending()
	if over := len(open) - s.codec.Limits.MaxVotes; over > 0 {
		open = open[over:]
	}
	for _, commit := range open {
		if commit <= s.exec.voted {
			continue
		}
		cp := s.exec.texts[commit]
		votes = append(votes, tangle.Vote{Commit: commit, Text: cp.mark.text, Signature: receipt.SignText(s.config.Key, cp.text)})
		s.exec.voted = commit
	}
	return votes
}
