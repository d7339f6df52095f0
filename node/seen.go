package node

import (
	"sync"

	"weft/tangle"
)

// seenSet remembers messages whose signature was good, so that a copy costs a hash and no more. The signature is part of
// the key, because another one under the same ID has not been verified. It is safe for concurrent use and bounded.
type seenSet struct {
	mu   sync.Mutex
	keys generations[seenKey, struct{}]
}

type seenKey struct {
	id        tangle.ID
	signature tangle.Signature
}

// maxSeen bounds one generation.
const maxSeen = 1 << 13

func (s *seenSet) has(id tangle.ID, sig tangle.Signature) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.keys.get(seenKey{id, sig})
	return ok
}

func (s *seenSet) add(id tangle.ID, sig tangle.Signature) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys.put(seenKey{id, sig}, struct{}{}, 1, maxSeen)
}
