package node

import (
	"sync"
	"time"

	"weft/tangle"
)

// clock gives the time that Step wants: it follows the machine's clock and never goes back, whatever an operator or a time
// service does to the machine's. Where that one has jumped forward it jumps too; where it was set back, this one runs at
// half its speed until the other has caught up: a node that stayed ahead would sign messages that its peers hold back.
//
// It is safe for concurrent use.
type clock struct {
	machine func() time.Time
	mu      sync.Mutex
	last    time.Time // machine's clock at the last reading, with its monotonic part
	at      time.Time // what was given then
}

// newClock follows the given clock; nil: the machine's.
func newClock(machine func() time.Time) *clock {
	if machine == nil {
		machine = time.Now
	}
	now := machine()
	return &clock{machine: machine, last: now, at: now.Round(0)}
}

func (c *clock) now() tangle.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	machine := c.machine()
	passed := machine.Sub(c.last) // by the monotonic clock
	c.last = machine
	c.at = follow(c.at, machine.Round(0), passed)
	return tangle.TimeOf(c.at)
}

// follow is what the clock shows next, when it shows at, the machine's shows machine and some time has passed.
func follow(at, machine time.Time, passed time.Duration) time.Time {
	ahead := at.Add(passed).Sub(machine)
	if ahead <= 0 {
		return machine
	}
	return at.Add(passed - min(ahead, passed/2))
}
