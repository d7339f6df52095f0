package sim

import (
	"crypto/ed25519"
	"crypto/sha256"
	"slices"
	"time"

	"weft/consensus"
	"weft/gossip"
	"weft/tangle"
)

// Behaviour is what a member does to the protocol.
type Behaviour string

// The behaviours. A Twin is two full, honest cores with one key that different members hear; everybody else who
// misbehaves is one honest core whose frames are changed on their way out.
const (
	Correct     Behaviour = ""
	Twin        Behaviour = "twin"        // one key, two nodes, in different and changing partitions
	Equivocator Behaviour = "equivocator" // two variants of a message, one for each half
	Withholder  Behaviour = "withholder"  // references what it never sends, or sends to one member only
	Silent      Behaviour = "silent"      // listens
	Garbler     Behaviour = "garbler"     // mangled frames, random bytes, wrong fields under a good signature
	Replayer    Behaviour = "replayer"    // sends again what it has heard
	Liar        Behaviour = "liar"        // wrong votes, wrong heads, wrong clock
)

// Behaviours are all ways to misbehave.
func Behaviours() []Behaviour {
	return []Behaviour{Twin, Equivocator, Withholder, Silent, Garbler, Replayer, Liar}
}

// attacker stands between the core of a Byzantine member and the network.
type attacker struct {
	world    *World
	instance *instance
	heard    [][]byte
}

// MaxHeard bounds what a replayer remembers.
const MaxHeard = 512

// MaxHidden bounds what one withholder hides: every hidden message parks a witness for good.
const MaxHidden = 40

func (a *attacker) hear(b []byte) {
	if len(a.heard) < MaxHeard {
		a.heard = append(a.heard, b)
	} else {
		a.heard[a.world.random.IntN(MaxHeard)] = b
	}
}

// send replaces what the member's core wants to send by what the member sends.
func (a *attacker) send(e gossip.Envelope) {
	switch a.instance.behaviour {
	case Silent:
	case Equivocator:
		a.equivocate(e)
	case Withholder:
		a.withhold(e)
	case Garbler:
		a.post(e)
		a.garble(e)
	case Replayer:
		a.post(e)
		a.replay()
	case Liar:
		a.post(a.lie(e))
	default:
		a.post(e)
	}
}

func (a *attacker) post(e gossip.Envelope) { a.world.wires.post(a.instance, e) }

func (a *attacker) chance(p float64) bool { return a.world.random.Float64() < p }

// own returns the single own message of a frame pushed to everybody, or nil.
func (a *attacker) own(e gossip.Envelope) *tangle.Message {
	if e.Frame.Messages == nil || e.To != (tangle.Member{}) || len(e.Frame.Messages.Raw) != 1 {
		return nil
	}
	m, err := a.world.wires.parse(e.Frame.Messages.Raw[0].Message)
	if err != nil || m.Header.Author != a.instance.self {
		return nil
	}
	return m
}

// equivocate sends half of the members another variant of the own message.
func (a *attacker) equivocate(e gossip.Envelope) {
	m := a.own(e)
	if m == nil || a.chance(0.3) {
		a.post(e)
		return
	}
	variant := a.variant(m)
	for _, to := range a.world.members {
		if to == a.instance.member {
			continue
		}
		pick := m
		if a.chance(0.5) {
			pick = variant
		}
		a.post(message(to.self, e.Lane, pick))
	}
}

func message(to tangle.Member, lane gossip.Lane, m *tangle.Message) gossip.Envelope {
	return gossip.Envelope{To: to, Lane: lane, Frame: gossip.Frame{Messages: &gossip.Messages{Raw: gossip.Whole(m.Bytes())}}}
}

// variant is another valid message in the same place: it leaves out the vote for the leader, some other ancestor or a
// tip, or only claims another time.
func (a *attacker) variant(m *tangle.Message) *tangle.Message {
	w := m.Header.Witness
	if w == nil {
		return a.reseal(m, func(h *tangle.Header) { h.Time++ })
	}
	drop := -1
	if len(w.Ancestors) > consensus.Quorum(a.world.config.Nodes) && a.chance(0.8) {
		drop = int(w.Ancestors[a.world.random.IntN(len(w.Ancestors))])
		if k := a.leaderOf(m); k >= 0 && a.chance(0.6) {
			drop = k
		}
	}
	return a.reseal(m, func(h *tangle.Header) {
		h.Time++
		if drop >= 0 {
			dropParent(h, drop)
		}
	})
}

// leaderOf is the index among m's parents of the leader of the round before, or -1.
func (a *attacker) leaderOf(m *tangle.Message) int {
	leader := a.world.oracles.leader(m.Header.Witness.Round - 1)
	for _, k := range m.Header.Witness.Ancestors {
		if p := a.world.oracles.messages[m.Header.Parents[k]]; p != nil && p.Header.Author == leader {
			return int(k)
		}
	}
	return -1
}

// reseal signs a changed header with the member's key.
func (a *attacker) reseal(m *tangle.Message, change func(*tangle.Header)) *tangle.Message {
	h := m.Header
	h.Parents = slices.Clone(h.Parents)
	if h.Witness != nil {
		w := *h.Witness
		w.Ancestors, w.Votes, w.Evidence = slices.Clone(w.Ancestors), slices.Clone(w.Votes), slices.Clone(w.Evidence)
		h.Witness = &w
	}
	change(&h)
	sealed, err := a.world.codec.Seal(h, m.Entries, a.sign)
	if err != nil {
		return m // the change made something that nobody can encode
	}
	return sealed
}

func (a *attacker) sign(input []byte) tangle.Signature {
	return tangle.Signature(ed25519.Sign(a.instance.key, input))
}

// dropParent takes a parent out of a header, ancestor or not.
func dropParent(h *tangle.Header, k int) {
	h.Parents = slices.Delete(h.Parents, k, k+1)
	var ancestors []uint16
	for _, at := range h.Witness.Ancestors {
		switch {
		case int(at) < k:
			ancestors = append(ancestors, at)
		case int(at) > k:
			ancestors = append(ancestors, at-1)
		}
	}
	h.Witness.Ancestors = ancestors
}

// addTip puts one more parent into a header.
func addTip(h *tangle.Header, tip tangle.ID) {
	at, there := slices.BinarySearchFunc(h.Parents, tip, func(a, b tangle.ID) int { return slices.Compare(a[:], b[:]) })
	if there {
		return
	}
	h.Parents = slices.Insert(h.Parents, at, tip)
	if h.Witness == nil {
		return
	}
	for k := range h.Witness.Ancestors {
		if int(h.Witness.Ancestors[k]) >= at {
			h.Witness.Ancestors[k]++
		}
	}
}

// withhold lets witnesses reference a message that nobody gets, or that one member gets later.
func (a *attacker) withhold(e gossip.Envelope) {
	m := a.own(e)
	if m == nil || m.Header.Witness == nil || a.chance(0.7) || len(a.instance.crafted) >= MaxHidden {
		if !a.chance(0.3) || e.Frame.Messages == nil {
			a.post(e)
		}
		return
	}
	hidden := a.reseal(&tangle.Message{Header: tangle.Header{
		Author: a.instance.self, Seq: 1<<40 + tangle.Seq(a.world.random.IntN(1<<20)), Time: m.Header.Time, Parents: []tangle.ID{a.world.network},
	}, Entries: []tangle.Entry{tangle.NewEntry(tangle.KindData, tangle.Salt{}, []byte("hidden"))}}, func(*tangle.Header) {})
	a.instance.crafted = append(a.instance.crafted, hidden.ID)
	bad := a.reseal(m, func(h *tangle.Header) { addTip(h, hidden.ID) })
	e.Frame = message(tangle.Member{}, e.Lane, bad).Frame
	a.post(e)
	if a.chance(0.5) {
		late := time.Duration(a.world.random.IntN(400)) * time.Millisecond
		to := a.world.members[a.world.random.IntN(len(a.world.members))].self
		a.world.after(late, func() { a.post(message(to, gossip.LaneBulk, hidden)) })
	}
}

// replay sends something heard before to somebody.
func (a *attacker) replay() {
	for range a.world.random.IntN(3) {
		if len(a.heard) == 0 {
			return
		}
		b := a.heard[a.world.random.IntN(len(a.heard))]
		to := a.world.instances[a.world.random.IntN(len(a.world.instances))]
		if to != a.instance {
			a.world.wires.transmit(a.instance, to, gossip.LaneBulk, b)
		}
	}
}

// garble sends frames that no honest node sends.
func (a *attacker) garble(e gossip.Envelope) {
	if a.chance(0.7) {
		return
	}
	to := a.world.instances[a.world.random.IntN(len(a.world.instances))]
	if to == a.instance {
		return
	}
	var b []byte
	switch m := a.own(e); {
	case m != nil && a.chance(0.7):
		b = message(to.self, e.Lane, a.wrong(m)).Frame.Bytes()
	case a.chance(0.3):
		b = make([]byte, 1+a.world.random.IntN(300))
		for k := range b {
			b[k] = byte(a.world.random.Uint32())
		}
	default:
		b = slices.Clone(e.Frame.Bytes())
		for range 1 + a.world.random.IntN(3) {
			b[a.world.random.IntN(len(b))] ^= 1 << a.world.random.IntN(8)
		}
		b = b[:len(b)-a.world.random.IntN(2)]
	}
	a.world.wires.transmit(a.instance, to, e.Lane, b)
}

// wrong is a well signed message that breaks a rule of attachment, or one that only looks strange.
func (a *attacker) wrong(m *tangle.Message) *tangle.Message {
	r := a.world.random
	return a.reseal(m, func(h *tangle.Header) {
		switch w := h.Witness; r.IntN(8) {
		case 0:
			h.Epoch += tangle.Epoch(1 + r.IntN(3))
		case 1:
			h.Time = tangle.Time(r.Int64N(int64(h.Time)))
		case 2:
			h.Time = h.Time.Add(time.Duration(r.IntN(100_000)) * time.Hour)
		case 3:
			h.Seq = tangle.Seq(r.Uint64() | 1)
		case 4:
			h.Author = a.world.members[r.IntN(len(a.world.members))].self
		case 5:
			addTip(h, sha256.Sum256([]byte{byte(r.Uint32())}))
		case 6:
			if w != nil {
				w.Round += tangle.Round(r.IntN(1000)) - 2
			}
		case 7:
			if w != nil && len(h.Parents) > 1 {
				dropParent(h, r.IntN(len(h.Parents)))
			}
		}
	})
}

// maxLie is how far ahead of its clock a liar claims to be: almost as far as others accept without holding. Correct nodes
// build on messages ahead of half of that only if they must, so that they are not dragged along and hold nothing of each
// other.
const maxLie = 450 * time.Millisecond

// lie changes heads, range answers and votes, and shifts the claimed time within what others accept.
func (a *attacker) lie(e gossip.Envelope) gossip.Envelope {
	r := a.world.random
	switch {
	case e.Frame.Heads != nil && a.chance(0.5):
		h := *e.Frame.Heads
		h.Round += tangle.Round(r.IntN(50))
		h.Commit += uint64(r.IntN(300))
		h.Size += uint64(r.IntN(300))
		h.Authors = slices.Clone(h.Authors)
		for k := range h.Authors {
			h.Authors[k].Seq += tangle.Seq(r.IntN(20))
		}
		e.Frame.Heads = &h
	case e.Frame.Messages != nil && e.Frame.Messages.Upto > 0 && a.chance(0.5):
		m := *e.Frame.Messages
		m.Upto += uint64(r.IntN(100))
		e.Frame.Messages = &m
	default:
		if m := a.own(e); m != nil && a.chance(0.5) {
			e.Frame = message(e.To, e.Lane, a.reseal(m, a.lieHeader)).Frame
		}
	}
	return e
}

func (a *attacker) lieHeader(h *tangle.Header) {
	claim := a.world.clock(a.instance).Add(time.Duration(a.world.random.Int64N(int64(maxLie))))
	h.Time = max(h.Time, claim)
	if h.Witness == nil {
		return
	}
	for k := range h.Witness.Votes {
		if v := &h.Witness.Votes[k]; a.chance(0.5) {
			v.Text[0] ^= 1
			v.Signature = a.sign([]byte("nothing"))
		}
	}
	h.Witness.Evidence = append(h.Witness.Evidence, tangle.Evidence{First: a.world.network, Second: h.Parents[0]})
}
