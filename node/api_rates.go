package node

import (
	"fmt"
	"math"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"weft/config"
)

// rateClass is what a route costs its caller.
type rateClass uint8

const (
	rateRead rateClass = iota
	rateWrite
	rateVerify
	rateAnonymous
	rateLogin // each may be a guess
	rateClasses
)

func (c rateClass) String() string {
	return [...]string{"read", "write", "verify", "anonymous", "login"}[c]
}

// MaxRateBuckets bounds the callers remembered; whoever is forgotten starts with a full bucket.
const MaxRateBuckets = 20_000

// rateTable holds one token bucket per caller and class.
type rateTable struct {
	policies [rateClasses]ratePolicy

	mu      sync.Mutex // guards all below
	buckets map[rateKey]*rate.Limiter
}

type ratePolicy struct {
	count int // in each period; 0: no limit
	every time.Duration
	burst int
}

type rateKey struct {
	class  rateClass
	caller string
}

func newRateTable(l config.Limits) *rateTable {
	return &rateTable{
		policies: [rateClasses]ratePolicy{
			rateRead:      {l.ReadsPerSecond, time.Second, 2 * l.ReadsPerSecond},
			rateWrite:     {l.WritesPerSecond, time.Second, 10 * l.WritesPerSecond},
			rateVerify:    {l.VerifiesPerSecond, time.Second, 2 * l.VerifiesPerSecond},
			rateAnonymous: {l.AnonymousPerSecond, time.Second, 2 * l.AnonymousPerSecond},
			rateLogin:     {l.LoginsPerMinute, time.Minute, l.LoginsPerMinute},
		},
		buckets: map[rateKey]*rate.Limiter{},
	}
}

func (p ratePolicy) perSecond() float64 { return float64(p.count) / p.every.Seconds() }

// take takes a token, or says when there will be one.
func (t *rateTable) take(class rateClass, caller string) error {
	policy := t.policies[class]
	if policy.count == 0 {
		return nil
	}
	bucket := t.bucket(rateKey{class, caller}, policy)
	now := time.Now()
	if bucket.AllowN(now, 1) {
		return nil
	}
	wait := int(math.Ceil((1 - bucket.TokensAt(now)) / policy.perSecond()))
	return refuse("rate_limited", "more than %d %s requests in %s", policy.count, class, policy.every).
		with("Retry-After", strconv.Itoa(max(1, wait))).
		with("RateLimit-Policy", fmt.Sprintf("%q;q=%d;w=%d", class, policy.burst, int(float64(policy.burst)/policy.perSecond()))).
		with("RateLimit", fmt.Sprintf("%q;r=0;t=%d", class, max(1, wait)))
}

func (t *rateTable) bucket(key rateKey, policy ratePolicy) *rate.Limiter {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.buckets[key]
	if b == nil {
		if len(t.buckets) >= MaxRateBuckets {
			t.forget()
		}
		b = rate.NewLimiter(rate.Limit(policy.perSecond()), policy.burst)
		t.buckets[key] = b
	}
	return b
}

// forget makes room: full buckets say nothing and go first, then any.
func (t *rateTable) forget() {
	for key, b := range t.buckets {
		if b.Tokens() >= float64(t.policies[key.class].burst) {
			delete(t.buckets, key)
		}
	}
	for key := range t.buckets {
		if len(t.buckets) <= MaxRateBuckets/2 {
			return
		}
		delete(t.buckets, key)
	}
}
