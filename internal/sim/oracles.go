package sim

import (
	"bytes"
	"crypto/sha256"
	"slices"
	"time"

	"weft/consensus"
	"weft/node"
	"weft/plugins/identity/did"
	"weft/plugins/streams/channel"
	"weft/receipt"
	"weft/tangle"
)

// oracles watch the correct nodes. They know everything that was ever sent, and keep the one sequence of commits that
// every node must follow. The names S1 to S16 are those of docs/protocol.md.
type oracles struct {
	world      *World
	messages   map[tangle.ID]*tangle.Message // whatever carries a good signature
	seqs       map[slotOfSeq]tangle.ID       // what correct members have sent
	rounds     map[slotOfRound]tangle.ID
	commits    []node.CommitRecord // index-1
	placed     map[tangle.ID]uint64
	log        []logged
	entries    map[tangle.Hash]tangle.Position // first place of an entry
	model      model
	identities *identities // nil: the network does not run the plugin
	channels   *channels   // nil: likewise
	leaders    []tangle.Member
	texts      map[uint64]receipt.Checkpoint // certified, by commit
	certified  map[uint64]tangle.Hash        // root by size
}

type slotOfSeq struct {
	author tangle.Member
	seq    tangle.Seq
}

type slotOfRound struct {
	author tangle.Member
	round  tangle.Round
}

// logged is a message with its place in the log and what the sequential model says of its entries.
type logged struct {
	id    tangle.ID
	codes []string
	leaf  []byte
}

// watch is what has been seen of one node.
type watch struct {
	commits uint64          // compared up to here
	final   tangle.Position // newest certified size; must survive everything
	steps   uint64
	looks   uint64
}

func newOracles(w *World) *oracles {
	o := &oracles{
		world:     w,
		messages:  map[tangle.ID]*tangle.Message{},
		seqs:      map[slotOfSeq]tangle.ID{},
		rounds:    map[slotOfRound]tangle.ID{},
		placed:    map[tangle.ID]uint64{},
		entries:   map[tangle.Hash]tangle.Position{},
		model:     model{owners: map[string]tangle.Member{}},
		leaders:   leadersOf(w.genesis.Committee(), w.network),
		texts:     map[uint64]receipt.Checkpoint{},
		certified: map[uint64]tangle.Hash{},
	}
	if w.config.Identity {
		o.identities = newIdentities(identityLimits())
	}
	if w.config.Channels {
		o.channels = newChannels(o.identities)
	}
	return o
}

// learn notes a message with a good signature, whoever sent it.
func (o *oracles) learn(m *tangle.Message) { o.messages[m.ID] = m }

// sealed checks what a core has just signed: S10, own messages pass own validity. One signature in eight is verified,
// which is enough over many seeds.
func (o *oracles) sealed(i *instance, m *tangle.Message) {
	o.learn(m)
	member, validator := o.world.roles(m.Header.Author)
	if err := m.Validate(o.world.codec.Limits, member, validator, o.world.config.Nodes); err != nil {
		o.world.fail("S10", "%s signs an invalid message: %v", i, err)
	}
	if m.ID[0]%8 == 0 && !o.world.wires.keys.Verify(m.Header.Author, tangle.SigningInput(m.ID), m.Signature) {
		o.world.fail("S10", "%s makes a wrong signature", i)
	}
}

// sent checks an own message on its way out: S7, no correct member ever signs two for one seq or round, whatever it has
// been through.
func (o *oracles) sent(i *instance, m *tangle.Message) {
	if !i.correct() {
		return
	}
	s := slotOfSeq{m.Header.Author, m.Header.Seq}
	if other, ok := o.seqs[s]; ok && other != m.ID {
		o.world.fail("S7", "%s signs %s and %s for seq %d", i, other.Short(), m.ID.Short(), s.seq)
	}
	o.seqs[s] = m.ID
	if m.Header.Witness == nil {
		return
	}
	r := slotOfRound{m.Header.Author, m.Header.Witness.Round}
	if other, ok := o.rounds[r]; ok && other != m.ID {
		o.world.fail("S7", "%s signs %s and %s for round %d", i, other.Short(), m.ID.Short(), r.round)
	}
	o.rounds[r] = m.ID
}

// blamed checks that nobody blames a correct member: S9, validity is the same everywhere.
func (o *oracles) blamed(i *instance, f node.Fault) {
	for _, m := range o.world.members {
		if m.self == f.Peer && m.behaviour == Correct && i.correct() {
			o.world.fail("S9", "%s blames correct n%d: %s", i, m.index, f.Reason)
		}
	}
	o.world.trace(i, "blames %s: %s", f.Peer.Short(), f.Reason)
}

// started checks a node that has (re)opened its disk: nothing final is lost.
func (o *oracles) started(i *instance) {
	if !i.correct() {
		return
	}
	head := i.ledger.Head()
	if head.Final < i.watch.final {
		o.world.fail("S2", "%s has forgotten final positions: %d, had %d", i, head.Final, i.watch.final)
	}
	i.watch.commits = 0 // compare everything again: the past must not change either
	o.catchUp(i)
}

// stepped looks at a node after a Step.
func (o *oracles) stepped(i *instance, events []node.Event) {
	if !i.correct() {
		return
	}
	committed := false
	for _, e := range events {
		switch e.Kind {
		case node.EventCommitted:
			committed = true
		case node.EventOrdered:
			if o.channels != nil && e.Message.HasErased() {
				o.channels.seen["executed without a body"]++
			}
		case node.EventFinal:
			o.certify(i)
		case node.EventEquivocate:
			o.equivocation(i, e.Message)
		}
	}
	if committed {
		o.catchUp(i)
	}
	if i.watch.steps++; i.watch.steps%64 == 0 {
		o.bounds(i)
	}
}

func (o *oracles) equivocation(i *instance, m *tangle.Message) {
	for _, member := range o.world.members {
		if member.self == m.Header.Author && member.behaviour == Correct {
			o.world.fail("S7", "%s sees correct n%d equivocate: seq %d", i, member.index, m.Header.Seq)
		}
	}
	o.world.trace(i, "sees %s equivocate", describeMessage(m))
}

// Bounds that no fault may break in runs of this length.
const (
	maxParkedSeen = 1 << 12
	maxHeldSeen   = 1 << 11
)

func (o *oracles) bounds(i *instance) {
	st := i.core.Status()
	if st.Parked > maxParkedSeen || st.Held > maxHeldSeen {
		o.world.fail("bounds", "%s has %d parked and %d held", i, st.Parked, st.Held)
	}
}

// catchUp compares the commits of a node with the one sequence, and checks those that nobody had before.
func (o *oracles) catchUp(i *instance) {
	head := i.ledger.Head()
	for n := i.watch.commits + 1; n <= head.Commit && o.world.violation == nil; n++ {
		c, err := i.ledger.Commit(n)
		if err != nil {
			o.world.fail("S2", "%s cannot read commit %d: %v", i, n, err)
			return
		}
		if n > uint64(len(o.commits)) {
			o.extend(i, c)
		} else {
			o.compare(i, c, o.commits[n-1])
		}
		i.watch.commits = n
	}
	if head.Commit == 0 || o.world.violation != nil {
		return
	}
	if i.watch.looks++; i.watch.looks%identityLooks == 0 {
		o.auditIdentities(i)
	}
	last := o.commits[head.Commit-1]
	if uint64(head.Position) != uint64(last.First)+last.Count || head.Time != last.Time {
		o.world.fail("S2", "%s: head %+v does not match commit %d", i, head, head.Commit)
	}
}

// compare checks S1 and S2: the same decisions, order, times and digests everywhere.
func (o *oracles) compare(i *instance, got, want node.CommitRecord) {
	switch {
	case got.Leader != want.Leader || got.Round != want.Round:
		o.world.fail("S1", "%s commits %s of round %d as number %d, others %s of round %d",
			i, got.Leader.Short(), got.Round, got.Index, want.Leader.Short(), want.Round)
	case !slices.Equal(got.Messages, want.Messages) || got.Time != want.Time || got.Digest != want.Digest ||
		got.First != want.First || got.Count != want.Count:
		o.world.fail("S2", "%s and others differ in commit %d: %v and %v", i, got.Index, got, want)
	}
	for _, id := range got.Messages {
		if id[0]%16 == 0 || o.identities != nil {
			o.settled(i, id)
		}
	}
}

// settled checks what a node says of one ordered message.
func (o *oracles) settled(i *instance, id tangle.ID) {
	m, s, err := i.ledger.Message(id)
	if err != nil {
		o.world.fail("S8", "%s cannot serve %s: %v", i, id.Short(), err)
		return
	}
	if s.Commit != o.placed[id] {
		o.world.fail("S12", "%s: %s was settled by commit %d, want %d", i, id.Short(), s.Commit, o.placed[id])
	}
	if m.IsWitness() {
		return
	}
	want := o.log[s.Position]
	if want.id == id && o.identities != nil {
		o.compareOutcomes(i, m, want, s)
	}
	if want.id != id || !slices.Equal(want.codes, s.Codes) {
		o.world.fail("S12", "%s: position %d holds %s %q, want %s %q", i, s.Position, id.Short(), s.Codes, want.id.Short(), want.codes)
	}
	if at, err := i.ledger.AtPosition(s.Position); err != nil || at != id {
		o.world.fail("S12", "%s: position %d leads to %s: %v", i, s.Position, at.Short(), err)
	}
}

// extend checks a commit nobody had before and adds it to the sequence.
func (o *oracles) extend(i *instance, c node.CommitRecord) {
	o.world.trace(i, "commit %d: leader %s round %d, %d messages, time +%dms", c.Index, c.Leader.Short(), c.Round, len(c.Messages), c.Time-o.world.startTime())
	o.world.mix(c.Index, uint64(c.Time))
	o.world.mixBytes(c.Digest[:])
	o.checkTime(i, c)
	horizon := c.Time.Add(-o.world.genesis.Consensus.Horizon())
	for _, id := range c.Messages {
		m := o.messages[id]
		switch {
		case m == nil:
			o.world.fail("S8", "%s orders %s, which nobody has sent", i, id.Short())
			return
		case o.placed[id] != 0:
			o.world.fail("S3", "%s orders %s in commit %d, it was in %d", i, id.Short(), c.Index, o.placed[id])
		}
		o.checkParents(i, m, horizon)
		o.placed[id] = c.Index
		if !m.IsWitness() {
			o.append(m, c.Time)
		}
	}
	if uint64(c.First)+c.Count != uint64(len(o.log)) || c.Index != uint64(len(o.commits))+1 {
		o.world.fail("S2", "%s: commit %d gives positions %d+%d, want up to %d", i, c.Index, c.First, c.Count, len(o.log))
	}
	o.commits = append(o.commits, c)
	for _, id := range c.Messages {
		o.settled(i, id)
	}
}

// checkParents is S4: a message comes after its parents, but for those below the horizon.
func (o *oracles) checkParents(i *instance, m *tangle.Message, horizon tangle.Time) {
	for _, p := range m.Header.Parents {
		if p == o.world.network || o.placed[p] != 0 {
			continue
		}
		parent := o.messages[p]
		if parent == nil || parent.Header.Time >= horizon {
			o.world.fail("S4", "%s orders %s before its parent %s", i, m.ID.Short(), p.Short())
		}
	}
}

// checkTime is S13: commit time never goes back, lies within the times claimed by correct ancestors of the leader, and is
// no further ahead than the hold allows.
func (o *oracles) checkTime(i *instance, c node.CommitRecord) {
	previous := o.world.startTime()
	if n := len(o.commits); n > 0 {
		previous = o.commits[n-1].Time
		if c.Round <= o.commits[n-1].Round {
			o.world.fail("S2", "%s: commit %d is of round %d after %d", i, c.Index, c.Round, o.commits[n-1].Round)
		}
	}
	leader := o.messages[c.Leader]
	if leader == nil {
		o.world.fail("S8", "%s commits %s, which nobody has sent", i, c.Leader.Short())
		return
	}
	low, high := o.correctTimes(leader)
	switch {
	case c.Time > o.world.latest.Add(o.world.config.Tuning.Ahead):
		o.world.fail("S13", "%s: commit %d is at %v, no correct clock has shown more than %v", i, c.Index, c.Time, o.world.latest)
	case c.Time < previous:
		o.world.fail("S13", "%s: commit %d goes back %v", i, c.Index, previous.Sub(c.Time))
	case o.world.overrun(): // the median promises nothing any more
	case c.Time > previous && high != 0 && (c.Time < low || c.Time > high):
		o.world.fail("S13", "%s: commit %d at %v, correct clocks say %v to %v", i, c.Index, c.Time, low, high)
	}
}

// overrun says whether more members misbehave than the committee tolerates, as in the negative control.
func (w *World) overrun() bool {
	n := 0
	for _, m := range w.members[:w.config.Nodes] {
		if m.behaviour != Correct {
			n++
		}
	}
	return n > consensus.Faulty(w.config.Nodes)
}

// correctTimes is the range of times that correct members claim among the leader's ancestors one round below.
func (o *oracles) correctTimes(leader *tangle.Message) (low, high tangle.Time) {
	for _, k := range leader.Header.Witness.Ancestors {
		a := o.messages[leader.Header.Parents[k]]
		if a == nil || a.Header.Witness.Round != leader.Header.Witness.Round-1 || !o.keeps(a.Header.Author) {
			continue
		}
		if low == 0 || a.Header.Time < low {
			low = a.Header.Time
		}
		high = max(high, a.Header.Time)
	}
	return low, high
}

// keeps says whether a key's member keeps the protocol.
func (o *oracles) keeps(key tangle.Member) bool {
	for _, m := range o.world.members {
		if m.self == key {
			return m.behaviour == Correct
		}
	}
	return false
}

// append gives a message its place in the log and executes it on the model.
func (o *oracles) append(m *tangle.Message, t tangle.Time) {
	at := tangle.Position(len(o.log))
	codes, rejected := make([]string, len(m.Entries)), make([]bool, len(m.Entries))
	for k, e := range m.Entries {
		codes[k] = o.outcome(e, did.Place{Time: t, Position: at, Index: k, By: m.Header.Author, Entry: e.Hash})
		rejected[k] = codes[k] != ""
		if _, ok := o.entries[e.Hash]; !ok {
			o.entries[e.Hash] = at
		}
	}
	o.log = append(o.log, logged{m.ID, codes, receipt.Leaf(at, m.ID, rejected)})
}

// outcome executes an entry on the model that knows its kind.
func (o *oracles) outcome(e tangle.Entry, at did.Place) string {
	if o.identities != nil && isIdentity(e.Kind) {
		return o.identities.outcome(e, at)
	}
	if o.channels != nil && e.Kind == channel.Kind {
		return o.channels.outcome(e, at)
	}
	return o.model.outcome(e, at.By)
}

// certify checks the newest certified checkpoint of a node: S14, and S12 by the state digests it quotes.
func (o *oracles) certify(i *instance) {
	o.catchUp(i)
	rec, err := i.ledger.LatestCheckpoint()
	if err != nil {
		o.world.fail("S14", "%s cannot read its newest checkpoint: %v", i, err)
		return
	}
	if o.world.violation != nil {
		return
	}
	i.watch.final = max(i.watch.final, tangle.Position(rec.Size))
	o.world.trace(i, "final up to %d by commit %d", rec.Size, rec.Commit)
	if known, ok := o.texts[rec.Commit]; ok {
		if !bytes.Equal(known.Text(), rec.Checkpoint.Text()) {
			o.world.fail("S14", "%s has another checkpoint after commit %d", i, rec.Commit)
		}
		return
	}
	o.texts[rec.Commit] = rec.Checkpoint
	o.newCheckpoint(i, rec)
}

func (o *oracles) newCheckpoint(i *instance, rec node.CheckpointRecord) {
	c := o.commits[rec.Checkpoint.Commit-1]
	root := o.root(int(rec.Size))
	switch {
	case rec.Checkpoint.Root != root:
		o.world.fail("S14", "%s: root of size %d is %s, want %s", i, rec.Size, rec.Checkpoint.Root, root)
	case rec.Size != uint64(c.First)+c.Count || rec.Checkpoint.Time != c.Time:
		o.world.fail("S14", "%s: checkpoint %+v does not match commit %+v", i, rec.Checkpoint, c)
	}
	o.certified[rec.Size] = root
	if rec.Commit%8 == 0 {
		_, signers, err := receipt.OpenNote(o.world.genesis, rec.Note)
		if err != nil || len(signers) < consensus.Quorum(o.world.config.Nodes) {
			o.world.fail("S14", "%s: note of commit %d: %d signers, %v", i, rec.Commit, len(signers), err)
		}
	}
}

// root is the Merkle tree hash of RFC 6962, section 2.1, over the first n leaves, written down as it stands there.
func (o *oracles) root(n int) tangle.Hash {
	leaves := make([][]byte, n)
	for k := range leaves {
		leaves[k] = o.log[k].leaf
	}
	return treeHash(leaves)
}

func treeHash(leaves [][]byte) tangle.Hash {
	switch n := len(leaves); n {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return sha256.Sum256(append([]byte{0}, leaves[0]...))
	default:
		k := 1
		for 2*k < n {
			k *= 2
		}
		left, right := treeHash(leaves[:k]), treeHash(leaves[k:])
		return sha256.Sum256(slices.Concat([]byte{1}, left[:], right[:]))
	}
}

// leader is the validator whose witness of a round can be committed.
func (o *oracles) leader(r tangle.Round) tangle.Member {
	return o.leaders[int(r)%len(o.leaders)]
}

// pending counts submissions that are not final on all correct nodes yet, and says what is late about the first of them.
func (o *oracles) pending() (n int, why string) {
	w := o.world
	n = len(w.clients.open)
	if n > 0 {
		why = "submissions without an answer"
	}
	final := tangle.Position(0)
	first := true
	for _, i := range w.instances {
		if !i.correct() || i.down {
			continue
		}
		if f := i.ledger.Head().Final; first || f < final {
			final, first = f, false
		}
	}
	for _, s := range w.clients.taken {
		for _, e := range s.entries {
			at, ok := o.entries[e.Hash]
			switch {
			case !ok:
				n++
				why = "an entry that " + s.instance.String() + " accepted at " + s.accepted.String() + " is not ordered"
			case at >= final:
				n++
				why = "an entry that " + s.instance.String() + " accepted at " + s.accepted.String() + " is not final everywhere"
			}
		}
	}
	if w.tools != nil {
		if late, reason := w.tools.unfinished(); late > 0 {
			n, why = n+late, reason
		}
	}
	return n, why
}

// audit checks everything that is too slow to check at every step, at the end of a run.
func (o *oracles) audit() {
	w := o.world
	for _, i := range w.instances {
		if !i.correct() || i.down || w.violation != nil {
			continue
		}
		i.watch.commits = 0
		o.catchUp(i)
		o.auditState(i)
		o.auditIdentities(i)
		o.auditChannels(i)
		o.auditReceipts(i)
	}
	o.auditRecords()
}

// auditState compares the plugin's state with the sequential model, where the node has applied everything.
func (o *oracles) auditState(i *instance) {
	if uint64(i.ledger.Head().Position) != uint64(len(o.log)) {
		return
	}
	view, names := i.ledger.PluginView(claimsName), 0
	view.Scan([]byte("name/"), []byte("name0"), func(key, value []byte) bool {
		names++
		owner, ok := o.model.owners[string(key[len("name/"):])]
		if !ok || !bytes.Equal(owner[:], value) {
			o.world.fail("S12", "%s: %s is owned by %x", i, key, value)
		}
		return true
	})
	if names != len(o.model.owners) || string(view.Get([]byte("newest"))) != o.model.newest {
		o.world.fail("S12", "%s: %d names, want %d", i, names, len(o.model.owners))
	}
}

// auditReceipts takes a few receipts, which must verify, and flips one bit in each, which must not.
func (o *oracles) auditReceipts(i *instance) {
	r := o.world.random
	for range 2 {
		if len(o.world.clients.taken) == 0 {
			return
		}
		s := o.world.clients.taken[r.IntN(len(o.world.clients.taken))]
		e := s.entries[r.IntN(len(s.entries))]
		if at, ok := o.entries[e.Hash]; !ok || at >= i.ledger.Head().Final {
			continue
		}
		file, err := i.ledger.Receipt(e.Hash)
		if err != nil {
			o.world.fail("S14", "%s has no receipt of a final entry: %v", i, err)
			return
		}
		report, err := receipt.Verify(o.world.genesis, file)
		if err != nil || !report.Verified {
			o.world.fail("S14", "%s: receipt does not verify: %v %+v", i, err, report)
		}
		bad := slices.Clone(file)
		bad[r.IntN(len(bad))] ^= 1 << r.IntN(8)
		if report, err := receipt.Verify(o.world.genesis, bad); err == nil && report.Verified {
			o.world.fail("S14", "%s: receipt verifies after a bit was flipped", i)
		}
	}
}

// idle checks that a quiet network costs at most a round a second on each node: rounds it made in the given time.
func (o *oracles) idle(i *instance, rounds tangle.Round, in time.Duration) {
	if most := tangle.Round(in/time.Second) + 2; rounds > most {
		o.world.fail("idle", "%s made %d rounds in %v of quiet", i, rounds, in)
	}
}

func (o *oracles) correct() (list []*instance) {
	for _, i := range o.world.instances {
		if i.correct() {
			list = append(list, i)
		}
	}
	return list
}
