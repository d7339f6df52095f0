package node

import (
	"sync"
	"time"

	"weft/tangle"
)

// clock gives the time that Step wants: it follows the machine's clock forward and never goes back, whatever an operator
// or a time service does to the machine's. It is safe for concurrent use.
type clock struct {
	mu   sync.Mutex
	base time.Time // with a monotonic reading
}

// maxLag is how far the clock may be behind the machine's before it jumps forward.
const maxLag = 250 * time.Millisecond

func newClock() *clock { return &clock{base: time.Now()} }

func (c *clock) now() tangle.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	machine := time.Now()
	mine := c.base.Round(0).Add(machine.Sub(c.base)) // by the monotonic clock
	if machine.Round(0).Sub(mine) > maxLag {
		c.base, mine = machine, machine
	}
	return tangle.TimeOf(mine)
}
