package node

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"time"

	"weft/consensus"
	"weft/gossip"
	"weft/internal/store"
	"weft/tangle"
)

// frameBytes is about how much one Messages frame carries; a single message may be larger.
const frameBytes = 256 << 10

// answerBytes bounds what one request makes this node send.
const answerBytes = 1 << 20

// sendPushes sends own new messages to everybody: witnesses on their own lane, ahead of the bulk.
func (s *step) sendPushes() {
	var lanes [2][]*tangle.Message
	for _, m := range s.pushes {
		if m.IsWitness() {
			lanes[gossip.LaneWitness] = append(lanes[gossip.LaneWitness], m)
		} else {
			lanes[gossip.LaneBulk] = append(lanes[gossip.LaneBulk], m)
		}
	}
	for _, lane := range []gossip.Lane{gossip.LaneBulk, gossip.LaneWitness} {
		var raw []gossip.Raw
		for _, m := range lanes[lane] {
			raw = append(raw, gossip.Raw{Message: m.Bytes()})
		}
		s.send(tangle.Member{}, lane, raw, 0)
	}
}

// send splits raw messages over frames; the last one carries upto.
func (s *step) send(to tangle.Member, lane gossip.Lane, raw []gossip.Raw, upto uint64) {
	for len(raw) > 0 || upto > 0 {
		n, size := 0, 0
		for n < len(raw) && n < gossip.MaxMessages && (n == 0 || size+raw[n].Size() <= frameBytes) {
			size += raw[n].Size()
			n++
		}
		m := &gossip.Messages{Raw: raw[:n]}
		if raw = raw[n:]; len(raw) == 0 {
			m.Upto, upto = upto, 0
		}
		s.out.Send = append(s.out.Send, gossip.Envelope{To: to, Lane: lane, Frame: gossip.Frame{Messages: m}})
	}
}

func (s *step) sendHeads(to tangle.Member) {
	h := s.headsFrame()
	s.out.Send = append(s.out.Send, gossip.Envelope{To: to, Lane: gossip.LaneWitness, Frame: gossip.Frame{Heads: &h}})
}

// headsFrame tells how far this node is.
func (s *step) headsFrame() gossip.Heads {
	h := gossip.Heads{
		Network: s.codec.Network,
		Epoch:   epoch,
		Round:   s.engine.Highest(),
		Commit:  s.engine.State().Index,
		Size:    s.exec.certified.size,
		State:   s.exec.certified.text,
	}
	for _, m := range slices.SortedFunc(maps.Keys(s.Core.heads), compareMembers) {
		h.Authors = append(h.Authors, gossip.AuthorHead{Author: m, Seq: s.Core.heads[m]})
	}
	return h
}

func compareMembers(a, b tangle.Member) int { return bytes.Compare(a[:], b[:]) }

func (s *step) takeHeads(from tangle.Member, h gossip.Heads) {
	if h.Network != s.codec.Network {
		s.out.Faults = append(s.out.Faults, Fault{from, "heads of another network"})
		return
	}
	h.Authors = slices.DeleteFunc(h.Authors, func(a gossip.AuthorHead) bool {
		_, member := s.members[a.Author]
		return !member
	})
	if slices.Contains(s.committee, from) && (!s.claimsMore(h) || s.config.Twin) {
		s.heard[from] = true
	}
	s.out.Send = append(s.out.Send, s.repair.TakeHeads(s.now, from, h, s.headsFrame())...)
}

// claimsMore says whether a peer claims to hold own messages that this node does not know. Heads are not signed, so the claim
// alone stops nobody: the repair asks for the messages, and a genuine one stops this node (ErrKeyElsewhere).
func (s *step) claimsMore(h gossip.Heads) bool {
	return slices.ContainsFunc(h.Authors, func(a gossip.AuthorHead) bool {
		return a.Author == s.self && a.Seq > s.own.Seq
	})
}

// repairAndHeads asks for what is missing, and sends heads when they are due or when nothing moves although it should.
func (s *step) repairAndHeads() {
	if due := s.repair.Due(); due != 0 && due <= s.now || s.now >= s.nextHeads {
		s.out.Send = append(s.out.Send, s.repair.Tick(s.now, s.graph, gossip.Heads{Commit: s.engine.State().Index})...)
	}
	s.wakeAt(s.repair.Due())
	s.nextHeads = min(s.nextHeads, s.now.Add(s.headsInterval()))
	if s.now >= s.nextHeads {
		for _, m := range s.repair.Peers() {
			s.sendHeads(m)
		}
		s.nextHeads = s.now.Add(s.headsInterval())
	}
	s.wakeAt(s.nextHeads)
}

// headsInterval is shorter while entries wait and no commit comes, since then something was lost; and longer on an idle
// network, where whoever misses something hears it from one that waits.
func (s *step) headsInterval() time.Duration {
	switch {
	case !s.busy():
		return 4 * s.config.Tuning.Heads
	case s.now.Sub(s.progress) > s.config.Tuning.Heads/4:
		return s.config.Tuning.Heads / 4
	}
	return s.config.Tuning.Heads
}

// pullAnswer collects messages for a peer, up to what one request may cost and what the peer's budget allows.
type pullAnswer struct {
	*step
	to   tangle.Member
	raw  []gossip.Raw
	size int
	seen map[tangle.ID]bool
}

func (s *step) answerTo(to tangle.Member) *pullAnswer {
	return &pullAnswer{step: s, to: to, seen: map[tangle.ID]bool{}}
}

// add takes a message in; false means that the answer is full. What is not attached here is left out.
func (a *pullAnswer) add(id tangle.ID) bool {
	if a.size >= answerBytes || !a.repair.MayPull(a.now, a.to) {
		return false
	}
	if a.seen[id] {
		return true
	}
	a.seen[id] = true
	raw, found := a.rawMessage(id)
	if !found {
		a.repair.Pulled(a.to, lookBytes)
		return true
	}
	a.repair.Pulled(a.to, raw.Size())
	a.raw, a.size = append(a.raw, raw), a.size+raw.Size()
	return true
}

// lookBytes is what a look for a message that is not here costs the peer that asks.
const lookBytes = 1 << 10

// answerWant sends the messages a peer asks for, as far as they are attached here.
func (s *step) answerWant(from tangle.Member, ids []tangle.ID) {
	a := s.answerTo(from)
	for _, id := range ids {
		if !a.add(id) {
			break
		}
	}
	s.send(from, gossip.LaneWitness, a.raw, 0)
}

// answerRange sends whole commits in order, or an author's messages by seq. A commit is bounded, and sent whole once begun.
func (s *step) answerRange(from tangle.Member, r gossip.Range) {
	if r.Author != (tangle.Member{}) {
		s.send(from, gossip.LaneBulk, s.authorRange(from, r), 0)
		return
	}
	var list []gossip.Raw
	size, upto := 0, uint64(0)
	for n := r.From; n <= min(r.To, s.engine.State().Index) && size < answerBytes && s.repair.MayPull(s.now, from); n++ {
		rec, err := s.ledger.Commit(n)
		if err != nil {
			break // of this very Step: not stored yet
		}
		begin := size
		for _, id := range rec.Messages {
			if raw, found := s.rawMessage(id); found {
				size += raw.Size()
				list = append(list, raw)
			}
		}
		s.repair.Pulled(from, size-begin+lookBytes)
		upto = n
	}
	if upto > 0 {
		s.send(from, gossip.LaneBulk, list, upto)
	}
}

func (s *step) authorRange(from tangle.Member, r gossip.Range) []gossip.Raw {
	prefix := store.Key(store.PrefixAuthor, r.Author[:], store.U32(uint32(epoch)))
	low := append(slices.Clone(prefix), store.U64(r.From)...)
	high := append(slices.Clone(prefix), store.U64(r.To+1)...)
	var ids []tangle.ID
	if s.repair.MayPull(s.now, from) {
		s.scan(low, high, func(key, _ []byte) bool {
			ids = append(ids, tangle.ID(key[len(prefix)+8:]))
			return len(ids) < gossip.MaxMessages
		})
	}
	a := s.answerTo(from)
	for _, id := range ids {
		if !a.add(id) {
			break
		}
	}
	return a.raw
}

// rawMessage is an attached message as peers get it. One with erased entries comes with the proof of their outcomes. What may
// have been erased since it got its place is in memory as it was, so the store is asked.
func (s *step) rawMessage(id tangle.ID) (raw gossip.Raw, found bool) {
	if v := s.graph.Get(id); v != nil && !v.HasErased() && !(v.Settled && v.CanErase()) {
		return gossip.Raw{Message: v.Bytes()}, true
	}
	raw.Message = s.get(store.Key(store.PrefixMessage, id[:]))
	if raw.Message == nil || !tangle.HasErased(raw.Message) {
		return raw, raw.Message != nil
	}
	order, err := s.ledger.order(id)
	if errors.Is(err, ErrNotFinal) {
		return raw, false // it came so from a peer, and what proves it is not certified here yet
	}
	if err != nil {
		s.fail = errors.Join(s.fail, err)
		return raw, false
	}
	raw.Order = order
	return raw, true
}

// countVotes passes a witness's checkpoint votes to the ballot.
func (s *step) countVotes(m *tangle.Message) {
	for _, v := range m.Header.Witness.Votes {
		s.vote(consensus.Cast{Author: m.Header.Author, Vote: v})
	}
}
