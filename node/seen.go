package node

import (
	"sync"

	"weft/tangle"
)

// seenSet remembers messages whose signature was good, so that a copy costs a hash and no more. The signature is part of
// the key, because another one under the same ID has not been verified. It is safe for concurrent use and bounded: two
// generations, the older of which is forgotten when the newer is full.
type seenSet struct {
	mu       sync.Mutex
	new, old map[seenKey]struct{}
}

type seenKey struct {
	id        tangle.ID
	signature tangle.Signature
}

// maxSeen bounds one generation.
const maxSeen = 1 << 13

func newSeenSet() *seenSet { return &seenSet{new: map[seenKey]struct{}{}} }

func (s *seenSet) has(id tangle.ID, sig tangle.Signature) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := seenKey{id, sig}
	_, young := s.new[k]
	_, old := s.old[k]
	return young || old
}

func (s *seenSet) add(id tangle.ID, sig tangle.Signature) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.new) >= maxSeen {
		s.old, s.new = s.new, map[seenKey]struct{}{}
	}
	s.new[seenKey{id, sig}] = struct{}{}
}
