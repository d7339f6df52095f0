package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// Bounds of the load generator.
const (
	MaxBenchConnections = 1500     // over all nodes; a node takes 2,000 requests at a time
	MaxBenchSamples     = 16 << 20 // requests measured in one run
	MaxBenchBacklog     = 4096     // requests due but not sent, in an open loop
)

// answerGrace is how long after the end of a run entries may take to become final without counting as left behind.
const answerGrace = 5 * time.Second

// load is one run against a list of nodes.
type load struct {
	targets     []string // host:port
	connections int      // over all targets
	batch       int      // entries in a request
	entryBytes  int
	rate        float64 // entries a second, due at random times; 0: each connection sends again as soon as it is answered
	warmup      time.Duration
	duration    time.Duration
	seed        uint64
	supply      func(connection int, target string) func() []byte // requests that are not of entries; nil: entries
	accepted    []byte                                            // what an answer says of each entry that counts; nil: all do once they are final

	from, to time.Time // the measured window, set by run
	due      chan time.Time
	late     atomic.Uint64 // requests that were due when the backlog was full
	mu       sync.Mutex
	total    tally
}

// tally is what a run, or one connection of it, has counted.
type tally struct {
	latencies []uint32 // microseconds from due to final, of requests due in the window
	final     int      // entries that became final in the window
	accepted  int      // entries that became final at any time
	byTarget  map[string]int
	errors    map[string]int
	pending   []pendingEntry // answered before they were final
	unheard   int            // entries in requests without an answer
}

func newTally() tally { return tally{errors: map[string]int{}, byTarget: map[string]int{}} }

// pendingEntry is the first entry of a request that was answered with pending.
type pendingEntry struct {
	target  string
	hash    string
	entries int
}

// run sends load for warmup and duration, then waits for what is in flight. measure is called at both ends of the window.
func (l *load) run(ctx context.Context, measure func()) (tally, error) {
	start := time.Now()
	l.from, l.to = start.Add(l.warmup), start.Add(l.warmup+l.duration)
	l.total = newTally()
	ctx, cancel := context.WithDeadline(ctx, l.to.Add(answerGrace))
	defer cancel()
	var group errgroup.Group
	group.Go(func() error { return l.watch(ctx, measure) })
	if l.rate > 0 {
		l.due = make(chan time.Time, MaxBenchBacklog)
		group.Go(func() error { l.schedule(ctx); return nil })
	}
	for i := range l.connections {
		p := newPump(l.targets[i%len(l.targets)], l.batch, l.entryBytes, l.seed+uint64(i))
		if l.supply != nil {
			p = &pump{target: p.target, supply: l.supply(i, p.target), accepted: l.accepted}
		}
		group.Go(func() error { l.work(ctx, p); return nil })
	}
	err := group.Wait()
	if late := l.late.Load(); late > 0 {
		l.total.errors["backlog_full"] += int(late)
	}
	return l.total, err
}

// watch calls measure at both ends of the window.
func (l *load) watch(ctx context.Context, measure func()) error {
	for _, at := range []time.Time{l.from, l.to} {
		if err := sleepUntil(ctx, at); err != nil {
			return err
		}
		measure()
	}
	return nil
}

// schedule makes requests due at random (Poisson) times: the load does not wait for the network, so that a slow answer
// delays nothing but itself.
func (l *load) schedule(ctx context.Context) {
	defer close(l.due)
	random := rand.New(rand.NewPCG(l.seed, 1))
	gap := float64(time.Second) * float64(l.batch) / l.rate
	for at := time.Now(); at.Before(l.to); at = at.Add(time.Duration(random.ExpFloat64() * gap)) {
		if sleepUntil(ctx, at) != nil {
			return
		}
		select {
		case l.due <- at:
		default:
			l.late.Add(1)
		}
	}
}

// work drives one connection.
func (l *load) work(ctx context.Context, p *pump) {
	defer p.close()
	t := newTally()
	for ctx.Err() == nil {
		due := time.Now()
		if l.due != nil {
			var open bool
			if due, open = <-l.due; !open {
				break
			}
		} else if !due.Before(l.to) {
			break
		}
		answer, err := p.send(ctx)
		if errors.Is(err, errSupply) {
			break
		}
		t.count(l, p, due, answer, err)
		if err != nil || answer.code != "" {
			_ = sleepUntil(ctx, time.Now().Add(50*time.Millisecond))
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total.add(t)
}

func (t *tally) count(l *load, p *pump, due time.Time, a pumpAnswer, err error) {
	now := time.Now()
	switch {
	case err != nil:
		t.errors["no_answer"]++
		t.unheard += l.batch
	case a.code != "":
		t.errors[a.code]++
	case !a.final:
		t.pending = append(t.pending, pendingEntry{p.target, a.hash, l.batch})
	default:
		n := l.batch
		if l.accepted != nil && a.accepted < n {
			t.errors["refused"] += n - a.accepted
			n = a.accepted
		}
		t.accepted += n
		if !now.Before(l.from) && now.Before(l.to) {
			t.final += n
			t.byTarget[p.target] += n
		}
		if !due.Before(l.from) && due.Before(l.to) && len(t.latencies) < MaxBenchSamples/MaxBenchConnections {
			t.latencies = append(t.latencies, uint32(now.Sub(due).Microseconds()))
		}
	}
}

func (t *tally) add(u tally) {
	t.latencies = append(t.latencies, u.latencies...)
	t.final += u.final
	t.accepted += u.accepted
	t.pending = append(t.pending, u.pending...)
	t.unheard += u.unheard
	for target, n := range u.byTarget {
		t.byTarget[target] += n
	}
	for code, n := range u.errors {
		t.errors[code] += n
	}
}

// millis is a summary of latencies.
type millis struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
	N   int     `json:"requests"`
}

func summarize(latencies []uint32) millis {
	n := len(latencies)
	if n == 0 {
		return millis{}
	}
	slices.Sort(latencies)
	at := func(q float64) float64 { return float64(latencies[min(n-1, int(q*float64(n)))]) / 1000 }
	return millis{at(0.50), at(0.90), at(0.95), at(0.99), at(1), n}
}

func sleepUntil(ctx context.Context, at time.Time) error {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
