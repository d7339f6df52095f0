package node

import (
	"context"
	"runtime/debug"
	"time"
)

// trimAfter is how long the node must have nothing to do before it gives memory back that a burst has left.
const trimAfter = 10 * time.Second

// trim returns the heap of a burst to the system once the node is idle again, so that an idle node is small whatever it
// has done before. It costs one garbage collection after each busy time.
func (n *Node) trim(ctx context.Context) error {
	ticker := time.NewTicker(trimAfter)
	defer ticker.Stop()
	ordered, trimmed := uint64(0), uint64(0)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		now := n.counters.ordered.Load()
		if now == ordered && now != trimmed && n.status.Load().Idle {
			debug.FreeOSMemory()
			trimmed = now
		}
		ordered = now
	}
}
