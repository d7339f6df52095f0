package sim

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"sort"

	"weft/tangle"
)

// reference is the commit rule and the order of docs/protocol.md, section 3, written down a second time, as slowly and as
// close to the text as possible, over the union of everything that was ever sent. It shares no code with package
// consensus. What it decides must contain what every correct node has decided: S1, S5, S6, S11.
type reference struct {
	o        *oracles
	n, q     int
	leaders  []tangle.Member
	attached map[tangle.ID]bool // whole past cone is in the union and keeps the attach rules
	rounds   map[tangle.Round]map[tangle.Member][]*tangle.Message
	highest  tangle.Round
}

type outcome struct {
	decided bool
	leader  *tangle.Message // nil: skipped
}

func newReference(o *oracles) *reference {
	w := o.world
	n := w.config.Nodes
	return &reference{
		o: o, n: n, q: n - (n-1)/3, leaders: leadersOf(w.genesis.Committee(), w.network),
		attached: map[tangle.ID]bool{}, rounds: map[tangle.Round]map[tangle.Member][]*tangle.Message{},
	}
}

// leadersOf shuffles the committee of epoch 0: Fisher-Yates from the end, each index from a hash of network, epoch and
// place.
func leadersOf(committee []tangle.Member, network tangle.ID) []tangle.Member {
	list := slices.Clone(committee)
	for place := len(list) - 1; place >= 1; place-- {
		text := slices.Concat([]byte("weft/leaders/1"), network[:], make([]byte, 4), binary.BigEndian.AppendUint32(nil, uint32(place)))
		sum := sha256.Sum256(text)
		other := binary.BigEndian.Uint64(sum[:8]) % uint64(place+1)
		list[place], list[other] = list[other], list[place]
	}
	return list
}

func (r *reference) leader(round tangle.Round) tangle.Member {
	return r.leaders[int(round)%len(r.leaders)]
}

// check compares everything with what the nodes have decided.
func (r *reference) check() {
	r.gather()
	slots := r.decideAll()
	r.checkSlots(slots)
	r.checkCommits(slots)
	r.checkOrder()
}

// gather sorts the attached witnesses of the union by round and author.
func (r *reference) gather() {
	ids := make([]tangle.ID, 0, len(r.o.messages))
	for id := range r.o.messages {
		ids = append(ids, id)
	}
	sort.Slice(ids, func(i, j int) bool { return bytes.Compare(ids[i][:], ids[j][:]) < 0 })
	for _, id := range ids {
		m := r.o.messages[id]
		if !r.attaches(id) || !m.IsWitness() {
			continue
		}
		round := m.Header.Witness.Round
		if r.rounds[round] == nil {
			r.rounds[round] = map[tangle.Member][]*tangle.Message{}
		}
		r.rounds[round][m.Header.Author] = append(r.rounds[round][m.Header.Author], m)
		r.highest = max(r.highest, round)
	}
}

// attaches says whether a message can ever be attached by somebody who has the whole union.
func (r *reference) attaches(id tangle.ID) bool {
	if id == r.o.world.network {
		return true
	}
	if known, ok := r.attached[id]; ok {
		return known
	}
	m := r.o.messages[id]
	ok := m != nil && m.Header.Epoch == 0
	for k := 0; ok && k < len(m.Header.Parents); k++ {
		p := m.Header.Parents[k]
		ok = r.attaches(p) && (p == r.o.world.network || r.o.messages[p].Header.Time <= m.Header.Time)
	}
	ok = ok && r.wellFounded(m)
	r.attached[id] = ok
	return ok
}

// wellFounded is the rule for ancestors: witnesses, lower rounds, one per author, a quorum of them one round below.
func (r *reference) wellFounded(m *tangle.Message) bool {
	if !m.IsWitness() {
		return true
	}
	authors, below := map[tangle.Member]bool{}, 0
	for _, a := range r.ancestors(m) {
		if a == nil || !a.IsWitness() || a.Header.Witness.Round >= m.Header.Witness.Round || authors[a.Header.Author] {
			return false
		}
		authors[a.Header.Author] = true
		if a.Header.Witness.Round == m.Header.Witness.Round-1 {
			below++
		}
	}
	return m.Header.Witness.Round == 1 || below >= r.q
}

func (r *reference) ancestors(m *tangle.Message) (list []*tangle.Message) {
	for _, k := range m.Header.Witness.Ancestors {
		list = append(list, r.o.messages[m.Header.Parents[k]])
	}
	return list
}

// isVote and isCert are those of the text.
func (r *reference) isVote(v, l *tangle.Message) bool {
	return v.Header.Witness.Round == l.Header.Witness.Round+1 && slices.Contains(r.ancestors(v), l)
}

func (r *reference) isCert(c, l *tangle.Message) bool {
	if c.Header.Witness.Round != l.Header.Witness.Round+2 {
		return false
	}
	votes := 0
	for _, a := range r.ancestors(c) { // one per author
		if r.isVote(a, l) {
			votes++
		}
	}
	return votes >= r.q
}

// authors counts the authors of a round of whom any variant satisfies the condition.
func (r *reference) authors(round tangle.Round, condition func(*tangle.Message) bool) (n int) {
	for _, variants := range r.rounds[round] {
		if slices.ContainsFunc(variants, condition) {
			n++
		}
	}
	return n
}

func (r *reference) decideAll() map[tangle.Round]outcome {
	slots := map[tangle.Round]outcome{}
	for round := r.highest; round >= 1; round-- {
		slots[round] = r.decide(round, slots)
	}
	return slots
}

func (r *reference) decide(round tangle.Round, slots map[tangle.Round]outcome) outcome {
	if o := r.direct(round); o.decided {
		return o
	}
	for anchor := round + 3; anchor <= r.highest; anchor++ {
		switch s := slots[anchor]; {
		case !s.decided:
			return outcome{}
		case s.leader != nil:
			return r.indirect(round, s.leader)
		}
	}
	return outcome{}
}

func (r *reference) direct(round tangle.Round) outcome {
	variants := r.rounds[round][r.leader(round)]
	refused := true
	for _, l := range variants {
		if r.authors(round+2, func(c *tangle.Message) bool { return r.isCert(c, l) }) >= r.q {
			return outcome{true, l}
		}
		refused = refused && r.authors(round+1, func(v *tangle.Message) bool { return !r.isVote(v, l) }) >= r.q
	}
	return outcome{decided: refused && len(r.rounds[round+1]) >= r.q}
}

// indirect decides by what is certified in the past of the anchor.
func (r *reference) indirect(round tangle.Round, anchor *tangle.Message) outcome {
	for _, c := range r.past(anchor, round+2) {
		for _, l := range r.rounds[round][r.leader(round)] {
			if r.isCert(c, l) {
				return outcome{true, l}
			}
		}
	}
	return outcome{decided: true}
}

// past lists the witnesses of a round in the past of m, over ancestors only.
func (r *reference) past(m *tangle.Message, round tangle.Round) (list []*tangle.Message) {
	seen := map[tangle.ID]bool{}
	var visit func(*tangle.Message)
	visit = func(m *tangle.Message) {
		if seen[m.ID] || m.Header.Witness.Round < round {
			return
		}
		seen[m.ID] = true
		if m.Header.Witness.Round == round {
			list = append(list, m)
			return
		}
		for _, a := range r.ancestors(m) {
			visit(a)
		}
	}
	visit(m)
	return list
}

// anchorsTried is how many later anchors S6 is tried with; the rule for one anchor follows from the one before.
const anchorsTried = 4

// checkSlots is S5 and S6 in the union: never two certified variants, never a skip quorum against a certificate, and a
// direct decision is what any later anchor would have decided.
func (r *reference) checkSlots(slots map[tangle.Round]outcome) {
	for round := tangle.Round(1); round <= r.highest; round++ {
		var certified *tangle.Message
		for _, l := range r.rounds[round][r.leader(round)] {
			if r.authors(round+2, func(c *tangle.Message) bool { return r.isCert(c, l) }) == 0 {
				continue
			}
			if certified != nil {
				r.o.world.fail("S5", "round %d has two certified variants", round)
			}
			certified = l
			if r.authors(round+1, func(v *tangle.Message) bool { return !r.isVote(v, l) }) >= r.q {
				r.o.world.fail("S5", "round %d has a certificate and a skip quorum", round)
			}
		}
		if direct := r.direct(round); direct.decided {
			r.checkAnchors(round, direct, slots)
		}
	}
}

func (r *reference) checkAnchors(round tangle.Round, direct outcome, slots map[tangle.Round]outcome) {
	tried := 0
	for anchor := round + 3; anchor <= r.highest && tried < anchorsTried; anchor++ {
		if s := slots[anchor]; s.decided && s.leader != nil {
			tried++
			if got := r.indirect(round, s.leader); got.leader != direct.leader {
				r.o.world.fail("S6", "round %d is decided directly as %s, by the anchor of round %d as %s", round, name(direct.leader), anchor, name(got.leader))
			}
		}
	}
}

func name(m *tangle.Message) string {
	if m == nil {
		return "skip"
	}
	return m.ID.Short()
}

// checkCommits is S1: what nodes have committed is the prefix of what the union decides.
func (r *reference) checkCommits(slots map[tangle.Round]outcome) {
	at := 0
	for round := tangle.Round(1); round <= r.highest && at < len(r.o.commits); round++ {
		s := slots[round]
		got := r.o.commits[at]
		switch {
		case !s.decided:
			r.o.world.fail("S1", "commit %d of round %d lies above round %d, which the union leaves undecided", got.Index, got.Round, round)
			return
		case s.leader == nil && got.Round == round:
			r.o.world.fail("S1", "commit %d is of round %d, which the union skips", got.Index, round)
			return
		case s.leader == nil:
		case got.Round != round || got.Leader != s.leader.ID:
			r.o.world.fail("S1", "commit %d is %s of round %d, the union commits %s of round %d", got.Index, got.Leader.Short(), got.Round, name(s.leader), round)
			return
		default:
			at++
		}
	}
}

// checkOrder computes every commit's time, messages and digest anew.
func (r *reference) checkOrder() {
	done := map[tangle.ID]bool{}
	time, last, digest := r.o.world.startTime(), tangle.Round(0), tangle.Hash{}
	for _, c := range r.o.commits {
		leader := r.o.messages[c.Leader]
		time = max(time, r.medianTime(leader))
		messages := r.order(leader, last, time, done)
		digest = chain(digest, c.Index, c.Leader, time, messages)
		last = c.Round
		switch {
		case c.Time != time:
			r.o.world.fail("S13", "commit %d has time %v, want %v", c.Index, c.Time, time)
		case !slices.Equal(c.Messages, messages):
			r.o.world.fail("S11", "commit %d orders %s, want %s", c.Index, r.names(c.Messages), r.names(messages))
		case c.Digest != digest:
			r.o.world.fail("S2", "commit %d has another digest", c.Index)
		}
		for _, id := range messages {
			done[id] = true
		}
	}
}

func (r *reference) names(ids []tangle.ID) (s string) {
	for _, id := range ids {
		s += " " + describeMessage(r.o.messages[id])
	}
	return s
}

func chain(previous tangle.Hash, index uint64, leader tangle.ID, time tangle.Time, messages []tangle.ID) tangle.Hash {
	text := slices.Concat([]byte("weft/commit/1"), previous[:], binary.BigEndian.AppendUint64(nil, index), leader[:], binary.BigEndian.AppendUint64(nil, uint64(time)))
	for _, id := range messages {
		text = append(text, id[:]...)
	}
	return sha256.Sum256(text)
}

// medianTime is the upper median of the times of the leader's ancestors one round below.
func (r *reference) medianTime(leader *tangle.Message) tangle.Time {
	var times []tangle.Time
	for _, a := range r.ancestors(leader) {
		if a.Header.Witness.Round == leader.Header.Witness.Round-1 {
			times = append(times, a.Header.Time)
		}
	}
	if len(times) == 0 {
		return 0
	}
	slices.Sort(times)
	return times[len(times)/2]
}

// order is the white flag over the leader's cone, without what is ordered already or below the horizon.
func (r *reference) order(leader *tangle.Message, last tangle.Round, time tangle.Time, done map[tangle.ID]bool) (messages []tangle.ID) {
	horizon := time.Add(-r.o.world.genesis.Consensus.Horizon())
	cone := map[tangle.ID]bool{}
	var collect func(tangle.ID)
	collect = func(id tangle.ID) {
		if id == r.o.world.network || done[id] || cone[id] || id != leader.ID && r.o.messages[id].Header.Time < horizon {
			return
		}
		cone[id] = true
		for _, p := range r.o.messages[id].Header.Parents {
			collect(p)
		}
	}
	collect(leader.ID)
	for _, root := range r.roots(leader, cone, last) {
		messages = r.walk(root, cone, done, messages)
	}
	for _, id := range messages { // walk has marked them; the caller does it for good
		delete(done, id)
	}
	return messages
}

// roots are the cone's witnesses above the GC round, by round and hash, one per slot; the leader is the last.
func (r *reference) roots(leader *tangle.Message, cone map[tangle.ID]bool, last tangle.Round) (roots []tangle.ID) {
	gc := int(last) - int(r.o.world.genesis.Consensus.GCRounds)
	var list []*tangle.Message
	for id := range cone {
		if m := r.o.messages[id]; m.IsWitness() && int(m.Header.Witness.Round) > gc {
			list = append(list, m)
		}
	}
	key := func(m *tangle.Message) []byte {
		sum := sha256.Sum256(slices.Concat(leader.ID[:], m.ID[:]))
		return sum[:]
	}
	sort.Slice(list, func(i, j int) bool {
		a, b := list[i], list[j]
		if a.Header.Witness.Round != b.Header.Witness.Round {
			return a.Header.Witness.Round < b.Header.Witness.Round
		}
		return bytes.Compare(key(a), key(b)) < 0
	})
	taken := map[slotOfRound]bool{{leader.Header.Author, leader.Header.Witness.Round}: true}
	for _, m := range list {
		slot := slotOfRound{m.Header.Author, m.Header.Witness.Round}
		if !taken[slot] {
			taken[slot] = true
			roots = append(roots, m.ID)
		}
	}
	return append(roots, leader.ID)
}

// walk lists the cone below id, parents first.
func (r *reference) walk(id tangle.ID, cone, done map[tangle.ID]bool, messages []tangle.ID) []tangle.ID {
	if !cone[id] || done[id] {
		return messages
	}
	done[id] = true
	for _, p := range r.o.messages[id].Header.Parents {
		messages = r.walk(p, cone, done, messages)
	}
	return append(messages, id)
}
