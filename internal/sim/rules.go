package sim

import (
	"slices"
	"time"

	"weft/gossip"
	"weft/tangle"
)

// rule lets a script decide what becomes of certain messages on their way: it takes them out of frames between the given
// nodes, or holds the whole frame back.
type rule struct {
	from, to   []int // member indexes; empty: all
	author     []int // of the message; empty: all
	leader     bool  // the author is the leader of the witness's round
	witnesses  bool  // only witnesses, of these rounds
	everything bool  // whole frames, whatever they hold
	low, high  tangle.Round
	delay      time.Duration // 0: the message is lost
}

// rule applies the script's rules to a frame.
func (x *wires) rule(from, to *instance, b []byte) (changed []byte, late time.Duration, lost bool) {
	for _, r := range x.rules {
		if !among(r.from, from.index) || !among(r.to, to.index) {
			continue
		}
		if r.everything {
			return nil, 0, true
		}
		var match bool
		b, match, lost = x.filter(r, b)
		if match {
			late += r.delay
		}
		if lost {
			return nil, 0, true
		}
	}
	return b, late, false
}

func among(list []int, k int) bool { return len(list) == 0 || slices.Contains(list, k) }

// filter takes the messages a rule is about out of a frame, unless the rule only delays them.
func (x *wires) filter(r rule, b []byte) (rest []byte, match, empty bool) {
	f, err := gossip.Parse(b)
	if err != nil || f.Messages == nil {
		return b, false, false
	}
	var raw []gossip.Raw
	for _, one := range f.Messages.Raw {
		m, err := x.parse(one.Message)
		if err == nil && x.about(r, m) {
			match = true
			if r.delay == 0 {
				continue
			}
		}
		raw = append(raw, one)
	}
	if !match || r.delay > 0 {
		return b, match, false
	}
	f.Messages.Raw = raw
	return f.Bytes(), true, len(raw) == 0 && f.Messages.Upto == 0
}

func (x *wires) about(r rule, m *tangle.Message) bool {
	if r.witnesses && (!m.IsWitness() || m.Header.Witness.Round < r.low || m.Header.Witness.Round > r.high) {
		return false
	}
	if r.leader && x.oracles().leader(m.Header.Witness.Round) != m.Header.Author {
		return false
	}
	return len(r.author) == 0 || slices.ContainsFunc(r.author, func(k int) bool {
		return x.world.members[k].self == m.Header.Author
	})
}
