package node

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"weft/config/genesis"
	"weft/consensus"
	"weft/gossip"
	"weft/internal/store"
	"weft/receipt"
	"weft/tangle"
)

// Replay executes the commits of a store again, by the code that has executed them first, and compares what comes out with
// what the store says. It needs no key and no peer: messages are parsed, their signatures verified, and certified checkpoints
// held against genesis, as if all of it came from a stranger. What it does not do is decide again: commits are taken as they
// are recorded, and it is the checkpoints that prove them.
//
// What is derived from messages and commits alone (positions, hashes of the log, the plugins' states and indexes) is made anew
// in a scratch store. Only if nothing that cannot be derived differs, and if it is to mend, does it write to the store itself:
// those derived keys that differ. A node may use them all together or none of them, so the first batch of these writes sets a
// mark with which no node starts, and the last one takes it away. If it ends between them, another Replay begins at the
// beginning: it reads nothing that the one before has written. Own record, messages, settled ones too, evidence, outbox and the
// plugins' local key spaces are never written.
//
// One goroutine owns it: call Step until there is no more.
type Replay struct {
	config   ReplayConfig
	ledger   *Ledger
	verifier *verifier
	exec     executor        // over the scratch store
	state    consensus.State // after the last commit that was executed again
	end      consensus.State // after the last one of the store
	executed []byte          // the store's record of it; nil: nothing is committed
	batch    store.Batch
	stage    replayStage
	cursor   []byte // the next key to look at while derived keys are compared
	marked   bool   // the store has the mark
	report   ReplayReport
}

// ReplayConfig says what to replay.
type ReplayConfig struct {
	Genesis    *genesis.Genesis
	Store      store.Store  // that no node has open
	Scratch    store.Store  // without keys of a ledger
	Plugins    []CorePlugin // as in CoreConfig
	Mend       bool         // write what is derived and differs; false: the store is only read
	BatchBytes int          // of one batch, about; 0: DefaultReplayBatch
}

// Bounds of one Step.
const (
	DefaultReplayBatch = 1 << 20
	maxReplayKeys      = 1 << 13 // compared
)

// ReplayReport is how far a Replay has come.
type ReplayReport struct {
	Commits     uint64          // executed again
	Of          uint64          // in the store
	Position    tangle.Position // positions given again
	Rejected    uint64          // entries, as before
	Checkpoints uint64          // made again and compared with the store's, certified or not
	Certified   uint64          // of them with a quorum of signatures
	Derived     []DerivedReport
	Stale       string // the first key that differs; empty: none does
	Writing     bool   // the store has the mark: no node starts on it until all is done
}

// DerivedReport is what came of one kind of derived keys.
type DerivedReport struct {
	Name  string
	Keys  uint64 // made anew
	Stale uint64 // differ in the store, are missing there, or too many
}

// Difference is what a store holds and does not follow from its messages and commits, or what is missing of these. It is no
// failure of the machine: the same store always gives the same one.
type Difference struct {
	Code     string
	Commit   uint64
	Position tangle.Position // of the message, or the next one
	Message  tangle.ID       // zero: it is not about a message
	Detail   string
}

// Codes of differences.
const (
	DiffMissingCommit  = "missing_commit"
	DiffDamagedCommit  = "damaged_commit"
	DiffMissingMessage = "missing_message"
	DiffDamagedMessage = "damaged_message"
	DiffErased         = "erased" // a body is gone as if its message had never been ordered
	DiffOutcome        = "outcome_differs"
	DiffCheckpoint     = "checkpoint_differs"
	DiffHead           = "head_differs"
)

func (d *Difference) Error() string {
	s := fmt.Sprintf("%s at commit %d, position %d: ", d.Code, d.Commit, d.Position)
	if d.Message != (tangle.ID{}) {
		s += "message " + d.Message.String() + ": "
	}
	return s + d.Detail
}

// ErrReindex means that the derived keys of a store are not whole.
var ErrReindex = errors.New("a 'weft reindex' of this data folder was interrupted while it wrote: run it again")

// CheckReindex returns ErrReindex if a Replay has begun to write to a store and has not ended.
func CheckReindex(s store.Store) error {
	_, err := s.Get(keyReindex())
	switch {
	case err == nil:
		return ErrReindex
	case errors.Is(err, store.ErrNotFound):
		return nil
	}
	return err
}

func keyReindex() []byte { return store.Key(store.PrefixNode, []byte("reindex")) }

type replayStage uint8

// The stages of a Replay: commits are executed, then derived keys that are made anew are looked up in the store, then those
// of the store in what was made anew.
const (
	replayExecutes replayStage = iota
	replayCompares
	replayPrunes
	replayDone
)

// NewReplay prepares a Replay. It writes to the scratch store alone.
func NewReplay(c ReplayConfig) (*Replay, error) {
	if c.BatchBytes == 0 {
		c.BatchBytes = DefaultReplayBatch
	}
	verifier := newVerifier(c.Genesis, 1, c.Plugins)
	verifier.stored = true
	r := &Replay{
		config: c, ledger: OpenLedger(c.Genesis, c.Store), verifier: verifier,
		state: consensus.State{Time: c.Genesis.Time},
	}
	for _, d := range derived() {
		r.report.Derived = append(r.report.Derived, DerivedReport{Name: d.name})
	}
	if err := r.open(); err != nil {
		return nil, err
	}
	if err := r.exec.open(c.Genesis, c.Scratch, c.Plugins); err != nil {
		return nil, err
	}
	return r, r.begin()
}

// begin lets the scratch store have what plugins begin with, before anything reads it.
func (r *Replay) begin() error {
	if err := r.exec.genesis(&r.batch); err != nil {
		return err
	}
	return r.saveScratch()
}

func (r *Replay) saveScratch() error {
	if err := r.config.Scratch.Apply(&r.batch, false); err != nil {
		return fmt.Errorf("scratch store: %w", err)
	}
	r.batch.Reset()
	return nil
}

// open reads whose store it is, and how far it says that it has come.
func (r *Replay) open() error {
	network := r.config.Genesis.ID()
	have, err := r.config.Store.Get(store.Key(store.PrefixNode, []byte("network")))
	switch {
	case errors.Is(err, store.ErrNotFound):
		return errors.New("the store holds no ledger: its node has never run")
	case err != nil:
		return err
	case !bytes.HasPrefix(have, network[:]):
		return fmt.Errorf("the data folder belongs to another network, genesis is network %s", network.Short())
	}
	if err := CheckReindex(r.config.Store); err != nil {
		r.marked = errors.Is(err, ErrReindex)
		if !r.marked {
			return err
		}
	}
	var fault error
	if r.executed = storeGet(r.config.Store, keyExecuted(), &fault); r.executed == nil {
		return fault
	}
	var stored executor
	r.end, err = stored.parse(r.executed)
	r.report.Of = r.end.Index
	return err
}

// Report says how far it has come.
func (r *Replay) Report() ReplayReport {
	report := r.report
	report.Derived = slices.Clone(report.Derived)
	report.Writing = r.marked
	return report
}

// Step does about as much as fits into one batch. A *Difference, or any other error, is the end.
func (r *Replay) Step() (more bool, err error) {
	switch r.stage {
	case replayExecutes:
		err = r.execute()
	case replayCompares, replayPrunes:
		err = r.compare()
	}
	return r.stage != replayDone, err
}

// execute executes commits until the batch is full, and then lets the scratch store have it.
func (r *Replay) execute() error {
	for r.state.Index < r.end.Index && r.batch.Size()+r.exec.unsaved < r.config.BatchBytes {
		if err := r.commit(r.state.Index + 1); err != nil {
			return err
		}
	}
	r.exec.write(&r.batch)
	if err := r.saveScratch(); err != nil {
		return err
	}
	r.exec.applied()
	if r.state.Index < r.end.Index {
		return nil
	}
	r.stage = replayCompares
	return r.checkEnd()
}

// differs makes a Difference at the place that is executed.
func (r *Replay) differs(code, format string, args ...any) *Difference {
	return &Difference{Code: code, Commit: r.state.Index + 1, Position: tangle.Position(r.exec.size), Detail: fmt.Sprintf(format, args...)}
}

// commit executes a commit again.
func (r *Replay) commit(index uint64) error {
	var fault error
	raw := storeGet(r.config.Store, store.Key(store.PrefixCommit, store.U64(index)), &fault)
	if fault != nil {
		return fault
	}
	if raw == nil {
		return r.differs(DiffMissingCommit, "%d commits are executed, this one is not there", r.end.Index)
	}
	rec, err := parseCommit(index, raw)
	if err != nil {
		return r.differs(DiffDamagedCommit, "%v", err)
	}
	c, checks, err := r.recall(rec)
	if err != nil {
		return err
	}
	first := r.exec.begin()
	for i, v := range c.Messages {
		if err := r.order(c, v.Message, checks[i]); err != nil {
			return err
		}
	}
	if again := recordOf(c, first, r.exec.size); !bytes.Equal(again.bytes(), raw) {
		return r.differs(DiffDamagedCommit, "it says %d positions from %d on, and has given %d from %d on", rec.Count, rec.First, again.Count, first)
	}
	if err := r.checkpoint(c); err != nil {
		return err
	}
	r.state = consensus.State{Index: c.Index, Round: c.Round, Time: c.Time, Digest: c.Digest}
	r.report.Commits, r.report.Position = c.Index, tangle.Position(r.exec.size)
	return nil
}

// recall makes a commit of its record, with its messages and what the plugins' checks say of them.
func (r *Replay) recall(rec CommitRecord) (*consensus.Commit, [][]Checked, error) {
	messages, checks, err := r.messages(rec.Messages)
	if err != nil {
		return nil, nil, err
	}
	leader, err := r.leader(rec, messages)
	if err != nil {
		return nil, nil, err
	}
	c := &consensus.Commit{Index: rec.Index, Leader: &tangle.Vertex{Message: leader}, Round: rec.Round, Time: rec.Time}
	for _, m := range messages {
		c.Messages = append(c.Messages, &tangle.Vertex{Message: m})
	}
	if c.Digest = c.DigestAfter(r.state.Digest); c.Digest != rec.Digest || c.Time < r.state.Time {
		return nil, nil, r.differs(DiffDamagedCommit, "it does not follow the one before by its digest")
	}
	return c, checks, nil
}

// leader is the witness that a commit is about. An earlier commit may have ordered it.
func (r *Replay) leader(rec CommitRecord, messages []*tangle.Message) (*tangle.Message, error) {
	i := slices.IndexFunc(messages, func(m *tangle.Message) bool { return m.ID == rec.Leader })
	if i < 0 {
		more, _, err := r.messages([]tangle.ID{rec.Leader})
		if err != nil {
			return nil, err
		}
		messages, i = more, 0
	}
	if w := messages[i].Header.Witness; w == nil || w.Round != rec.Round {
		return nil, r.differs(DiffDamagedCommit, "its leader is no witness of round %d", rec.Round)
	}
	return messages[i], nil
}

// messages reads messages as the node reads those of a peer: parsed, of members, with good signatures, checked by plugins.
func (r *Replay) messages(ids []tangle.ID) ([]*tangle.Message, [][]Checked, error) {
	raws := make([]gossip.Raw, len(ids))
	for i, id := range ids {
		var fault error
		raws[i].Message = storeGet(r.config.Store, store.Key(store.PrefixMessage, id[:]), &fault)
		if fault != nil {
			return nil, nil, fault
		}
	}
	frame := PeerFrame{Frame: gossip.Frame{Messages: &gossip.Messages{Raw: raws}}}
	err := r.verifier.messages(&frame)
	list := frame.Frame.Messages.List
	if err == nil && slices.EqualFunc(list, ids, func(m *tangle.Message, id tangle.ID) bool { return m.ID == id }) {
		return list, frame.Ops, nil
	}
	return nil, nil, r.badMessage(ids, raws)
}

// badMessage finds the first of a commit's messages that is not as it should be.
func (r *Replay) badMessage(ids []tangle.ID, raws []gossip.Raw) error {
	place := tangle.Position(r.exec.size)
	for i, raw := range raws {
		frame := PeerFrame{Frame: gossip.Frame{Messages: &gossip.Messages{Raw: []gossip.Raw{raw}}}}
		err := r.verifier.messages(&frame)
		code := DiffDamagedMessage
		switch {
		case raw.Message == nil:
			code, err = DiffMissingMessage, errors.New("it is not there")
		case err == nil && frame.Frame.Messages.List[0].ID != ids[i]:
			err = errors.New("its bytes are those of another message")
		case err == nil:
			if !frame.Frame.Messages.List[0].IsWitness() {
				place++
			}
			continue
		}
		d := r.differs(code, "%v", err)
		d.Position, d.Message = place, ids[i]
		return d
	}
	return errors.New("messages that are bad together are good one by one")
}

// order executes a message again, and compares what the order says of it.
func (r *Replay) order(c *consensus.Commit, m *tangle.Message, checks []Checked) error {
	at := tangle.Position(r.exec.size)
	settled, err := r.exec.order(c, m, checks, &r.batch)
	if errors.Is(err, ErrBodyGone) {
		d := r.differs(DiffErased, "the body of an entry is gone as if it had never been ordered")
		d.Message = m.ID
		return d
	}
	if err != nil {
		return fmt.Errorf("commit %d: %w", c.Index, err)
	}
	for _, code := range settled.Codes {
		if code != "" {
			r.report.Rejected++
		}
	}
	settled.facts = tangle.FactsOf(m)
	var fault error
	stored := storeGet(r.config.Store, store.Key(store.PrefixSettled, m.ID[:]), &fault)
	if fault != nil || bytes.Equal(stored, settled.bytes()) {
		return fault
	}
	d := r.differs(DiffOutcome, "%s", outcomeDetail(stored, settled))
	d.Position, d.Message = at, m.ID
	return d
}

// outcomeDetail says how a stored outcome differs from one that was found again.
func outcomeDetail(stored []byte, again Settled) string {
	was, err := parseSettled(stored)
	switch {
	case stored == nil:
		return "what the order has said of it is not there"
	case err != nil || len(was.Codes) != len(again.Codes):
		return "what the order has said of it is damaged"
	}
	for i := range again.Codes {
		if was.Codes[i] != again.Codes[i] {
			return fmt.Sprintf("outcome of entry %d was %q, and is %q", i, was.Codes[i], again.Codes[i])
		}
	}
	return fmt.Sprintf("it was at position %d of commit %d, and is at %d of %d", was.Position, was.Commit, again.Position, again.Commit)
}

// checkpoint makes the checkpoint that is due after a commit, and compares it with the store's: root, plugins' digests and
// all. Those in between that are stale of one size have been dropped by the node.
func (r *Replay) checkpoint(c *consensus.Commit) error {
	cp, due, err := r.exec.checkpoint(c)
	if err != nil || !due {
		return err
	}
	met, err := r.certified(&cp)
	if err != nil {
		return err
	}
	if met {
		r.report.Certified++
		r.exec.certified = cp.mark
	} else {
		var fault error
		stored := storeGet(r.config.Store, store.Key(store.PrefixCheckpoint, store.U64(cp.mark.commit)), &fault)
		if fault != nil || stored == nil {
			return fault
		}
		if !bytes.Equal(stored, append(cp.mark.bytes(), cp.text...)) {
			return r.differs(DiffCheckpoint, "the open one says\n%sand it is\n%s", stored[min(len(stored), len(cp.mark.bytes())):], cp.text)
		}
	}
	r.report.Checkpoints++
	return nil
}

// certified looks whether the store has a certified checkpoint that was made again just now. There must be none between it and
// the one that was met last. nil: there must be no more at all.
func (r *Replay) certified(cp *checkpoint) (met bool, err error) {
	last := r.exec.certified
	from := store.Key(store.PrefixCertified, store.U64(last.size), store.U64(last.commit+1))
	to := store.PrefixEnd(store.Key(store.PrefixCertified))
	if cp != nil {
		to = store.Key(store.PrefixCertified, store.U64(cp.mark.size), store.U64(cp.mark.commit+1))
	}
	var found error
	err = r.config.Store.Scan(from, to, func(key, value []byte) bool {
		k := record{b: key[1:]}
		size, commit := k.u64(), k.u64()
		if cp == nil || size != cp.mark.size || commit != cp.mark.commit {
			found = r.differs(DiffCheckpoint, "one of commit %d and size %d is certified, and none is due there", commit, size)
			return false
		}
		met, found = true, r.compareNote(*cp, value)
		return found == nil
	})
	if err == nil {
		err = found
	}
	return met, err
}

// compareNote verifies the signatures of a stored checkpoint, and compares its text.
func (r *Replay) compareNote(cp checkpoint, value []byte) error {
	v := record{b: value}
	mark := v.mark()
	signed, _, err := receipt.OpenNote(r.config.Genesis, v.b)
	if err == nil {
		err = v.err
	}
	if err != nil {
		return r.differs(DiffCheckpoint, "the certified one: %v", err)
	}
	if text := signed.Text(); !bytes.Equal(text, cp.text) || mark != cp.mark {
		return r.differs(DiffCheckpoint, "the committee has signed\n%sand it is\n%s", text, cp.text)
	}
	return nil
}

// checkEnd compares where the replay has come out with where the store says that it stands.
func (r *Replay) checkEnd() error {
	if _, err := r.certified(nil); err != nil {
		return err
	}
	extra := false
	from, to := store.Key(store.PrefixCommit, store.U64(r.end.Index+1)), store.PrefixEnd(store.Key(store.PrefixCommit))
	if err := r.config.Store.Scan(from, to, func(_, _ []byte) bool { extra = true; return false }); err != nil {
		return err
	}
	switch {
	case extra:
		return r.differs(DiffHead, "there are more commits than the %d that are executed", r.end.Index)
	case r.executed != nil && !bytes.Equal(r.executed, r.exec.bytes(r.state)):
		return r.differs(DiffHead, "size, last checkpoint or a plugin's digest is not what comes out: %s", r.digests())
	}
	return nil
}

// digests are those of the plugins that were computed again.
func (r *Replay) digests() (s string) {
	for _, p := range r.exec.plugins {
		s += fmt.Sprintf("%s %s ", p.name, p.digest)
	}
	return s[:len(s)-1]
}

// derivedKeys are keys that follow from messages and commits alone.
type derivedKeys struct {
	prefix store.Prefix
	name   string
}

// derived lists them in the order of their keys.
func derived() []derivedKeys {
	return []derivedKeys{
		{store.PrefixState, "state"}, {store.PrefixHash, "log"}, {store.PrefixIndex, "index"}, {store.PrefixPosition, "positions"},
	}
}

// compare goes on comparing derived keys, from the cursor to the end of a batch.
func (r *Replay) compare() error {
	from, other := r.config.Scratch, r.config.Store
	if r.stage == replayPrunes {
		from, other = other, from
	}
	looked := 0
	for i, d := range derived() {
		begin, end := store.Key(d.prefix), store.PrefixEnd(store.Key(d.prefix))
		if bytes.Compare(r.cursor, end) >= 0 {
			continue
		}
		if bytes.Compare(r.cursor, begin) < 0 {
			r.cursor = begin
		}
		whole, err := r.compareRange(i, from, other, end, &looked)
		if err != nil {
			return err
		}
		if !whole {
			return r.save(false)
		}
		r.cursor = end
	}
	r.cursor = nil
	r.stage++
	return r.save(r.stage == replayDone)
}

// compareRange compares up to the end of one kind of keys, and says whether it got there.
func (r *Replay) compareRange(kind int, from, other store.Store, end []byte, looked *int) (whole bool, err error) {
	whole = true
	count := &r.report.Derived[kind]
	var fault error
	err = from.Scan(r.cursor, end, func(key, value []byte) bool {
		if *looked >= maxReplayKeys || r.batch.Size() >= r.config.BatchBytes {
			r.cursor, whole = bytes.Clone(key), false
			return false
		}
		*looked++
		has := storeGet(other, key, &fault)
		switch {
		case fault != nil:
			return false
		case r.stage == replayPrunes:
			if has == nil {
				r.stale(count, key)
				r.batch.Delete(bytes.Clone(key))
			}
			return true
		}
		if count.Keys++; has == nil || !bytes.Equal(has, value) {
			r.stale(count, key)
			r.batch.Set(bytes.Clone(key), bytes.Clone(value))
		}
		return true
	})
	return whole, errors.Join(err, fault)
}

func (r *Replay) stale(count *DerivedReport, key []byte) {
	count.Stale++
	if r.report.Stale == "" {
		r.report.Stale = fmt.Sprintf("%s, key %x", count.Name, key[1:min(len(key), 65)])
	}
}

// save writes what differs to the store, if it is to.
func (r *Replay) save(last bool) error {
	b := &r.batch
	defer b.Reset()
	if !r.config.Mend || b.Len() == 0 && !(last && r.marked) {
		return nil
	}
	if !r.marked {
		b.Set(keyReindex(), nil)
	}
	if last {
		b.Delete(keyReindex())
	}
	if err := r.config.Store.Apply(b, true); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	r.marked = !last
	return nil
}
