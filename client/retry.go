package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"
)

// Retry bounds how often a call is sent again: after 429 and 503, and when no answer came. Calls that change something
// are sent again only with an idempotency key.
type Retry struct {
	Attempts int           // in all, at least 1
	Silences int           // of them, how many may go without any answer
	First    time.Duration // pause after the first attempt; doubles each time, with jitter
	Longest  time.Duration // longest pause; a node that asks for more is not asked again
}

// DefaultRetry gives up after about ten seconds of refusals.
func DefaultRetry() Retry {
	return Retry{Attempts: 8, Silences: 3, First: 100 * time.Millisecond, Longest: 5 * time.Second}
}

// NoRetry sends every call once.
func NoRetry() Retry { return Retry{Attempts: 1} }

// pause says whether to send again after an error, and when.
func (r Retry) pause(attempt int, once bool, err error) (time.Duration, bool) {
	if once || attempt >= r.Attempts {
		return 0, false
	}
	backOff := min(r.First<<min(attempt-1, 16), r.Longest)
	backOff = backOff/2 + rand.N(backOff/2+1)
	if Unreachable(err) {
		return backOff, attempt < r.Silences
	}
	var p *Problem
	if !errors.As(err, &p) || !p.passes() {
		return 0, false
	}
	if p.RetryAfter > r.Longest {
		return 0, false
	}
	return max(backOff, p.RetryAfter), true
}

// passes says whether the same request may get another answer soon: the node is busy, or still at work on the request
// whose answer was lost.
func (p *Problem) passes() bool {
	return p.Status == http.StatusTooManyRequests || p.Status == http.StatusServiceUnavailable || p.Code == "in_progress"
}

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
