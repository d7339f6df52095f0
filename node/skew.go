package node

import (
	"slices"
	"sync"
	"time"

	"weft/tangle"
)

// skews compares this node's clock with the other validators', by the witnesses they send. It measures the way of the
// message too, so it is good enough to find a wrong clock and for nothing else. It is safe for concurrent use.
type skews struct {
	mu       sync.Mutex
	byAuthor map[tangle.Member]skew // validators only, so it is bounded
}

type skew struct {
	round tangle.Round
	own   time.Duration // this clock minus the author's
}

func newSkews() *skews { return &skews{byAuthor: map[tangle.Member]skew{}} }

// note looks at what just came from a peer. Only its own newest witness tells what its clock shows now.
func (s *skews) note(f *PeerFrame, now tangle.Time) {
	if f.Frame.Messages == nil || len(f.Frame.Messages.List) != 1 {
		return
	}
	h := f.Frame.Messages.List[0].Header
	if h.Witness == nil || h.Author != f.From {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.Witness.Round > s.byAuthor[h.Author].round {
		s.byAuthor[h.Author] = skew{h.Witness.Round, now.Sub(h.Time)}
	}
}

// median is this clock minus the median of the others'; 0 while none is known. One liar among four moves it to a
// neighbour's clock and no further.
func (s *skews) median() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []time.Duration
	for _, one := range s.byAuthor {
		all = append(all, one.own)
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[len(all)/2]
}
