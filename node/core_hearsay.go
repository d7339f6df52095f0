package node

import (
	"slices"

	"weft/tangle"
)

// Once bodies are gone, members are asked what no proof covers: why an entry was rejected, and that a message was never
// ordered. One that lies about it would stop, for good, whoever believes it. So it counts when more validators say it than may
// lie. Until then the message has not come: it is asked for again, of others.

// hearsay is what validators have said of messages that are not here.
type hearsay map[tangle.Member]map[tangle.ID]outcomes

// outcomes are codes of erased entries that were not accepted, by their index.
type outcomes map[int]string

// maxHearsay bounds the messages of one validator that are remembered. Whoever says more is forgotten, and asked again.
const maxHearsay = 1 << 12

// believed says whether what a message from a peer says of its entries counts: it is proved, or enough validators say it.
func (s *step) believed(m *tangle.Message, from tangle.Member) bool {
	if !m.HasErased() {
		return true
	}
	said := s.unproved(m)
	if len(said) == 0 {
		return true
	}
	if slices.Contains(s.committee, from) {
		if of := s.hearsay[from]; of == nil || len(of) >= maxHearsay {
			s.hearsay[from] = map[tangle.ID]outcomes{}
		}
		s.hearsay[from][m.ID] = said
	}
	alike := 0
	for _, of := range s.hearsay {
		if of[m.ID].covers(said) {
			alike++
		}
	}
	if alike <= s.config.Tuning.Repair.Liars {
		return false
	}
	for _, of := range s.hearsay {
		delete(of, m.ID)
	}
	return true
}

// unproved is what a message says of its entries that neither its proof covers nor this node's own order: what lies below the
// horizon here can never be ordered.
func (s *step) unproved(m *tangle.Message) outcomes {
	expired := m.Header.Time < s.engine.State().Time.Add(-s.config.Genesis.Consensus.Horizon())
	said := outcomes{}
	for i, e := range m.Entries {
		if e.Erased() && e.Left.Code != "" && !(expired && e.Left.Code == tangle.CodeNever) {
			said[i] = e.Left.Code
		}
	}
	return said
}

// covers says whether all of other is said here too: another member may have erased more.
func (o outcomes) covers(other outcomes) bool {
	for i, code := range other {
		if o[i] != code {
			return false
		}
	}
	return true
}
