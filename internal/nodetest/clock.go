package nodetest

import (
	"sync"
	"time"
)

// Clock is real time, moved forward by a test. The zero value is not moved.
type Clock struct {
	mu    sync.Mutex // guards ahead
	ahead time.Duration
}

// Now is the time of the clock.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

// Forward moves it.
func (c *Clock) Forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}
