package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// Bounds of the load generator.
const (
	MaxBenchConnections = 1500     // over all nodes; a node takes 2,000 requests at a time
	MaxBenchAnswer      = 1 << 20  // bytes of one answer
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
		if !now.Before(l.from) && now.Before(l.to) {
			t.final += l.batch
			t.byTarget[p.target] += l.batch
		}
		if !due.Before(l.from) && due.Before(l.to) && len(t.latencies) < MaxBenchSamples/MaxBenchConnections {
			t.latencies = append(t.latencies, uint32(now.Sub(due).Microseconds()))
		}
	}
}

func (t *tally) add(u tally) {
	t.latencies = append(t.latencies, u.latencies...)
	t.final += u.final
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
	return millis{at(0.50), at(0.90), at(0.99), at(1), n}
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

// pump is one connection that sends the same request again and again, each time with other bytes in its entries. It does
// as little as it can: it shares its cores with the nodes it measures.
type pump struct {
	target  string
	conn    net.Conn
	in      *bufio.Reader
	request []byte
	spots   []int // where in request each entry's bytes start
	serial  uint64
	body    bytes.Buffer // of the answer
}

// pumpAnswer is what a node said to a request.
type pumpAnswer struct {
	final bool
	code  string // of a problem
	hash  string // of the first entry, if not final
}

// MinBenchEntry is the least size of an entry: room for a number that makes it differ from all others.
const MinBenchEntry = 16

func newPump(target string, batch, entryBytes int, seed uint64) *pump {
	random := rand.New(rand.NewPCG(seed, 2))
	data := make([]byte, entryBytes)
	for i := range data {
		data[i] = byte(random.Uint32())
	}
	var body []byte
	p := &pump{target: target, serial: random.Uint64()}
	body = append(body, `{"entries":[`...)
	for i := range batch {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, `{"kind":"data","data":{"tag":"bench","bytes":"`...)
		p.spots = append(p.spots, len(body))
		body = base64.RawURLEncoding.AppendEncode(body, data)
		body = append(body, `"}}`...)
	}
	body = append(body, `]}`...)
	head := fmt.Appendf(nil, "POST /api/v1/messages?wait=final&timeout=10s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", target, len(body))
	for i := range p.spots {
		p.spots[i] += len(head)
	}
	p.request = append(head, body...)
	return p
}

func (p *pump) close() {
	if p.conn != nil {
		p.conn.Close()
		p.conn = nil
	}
}

// send sends one request and reads its answer. After an error the next one uses a new connection.
func (p *pump) send(ctx context.Context) (a pumpAnswer, err error) {
	if err := p.dial(ctx); err != nil {
		return a, err
	}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	deadline, _ := ctx.Deadline()
	if err := p.conn.SetDeadline(deadline); err != nil {
		return a, err
	}
	p.vary()
	if _, err := p.conn.Write(p.request); err != nil {
		return a, err
	}
	return p.answer()
}

// dial connects, if there is no connection.
func (p *pump) dial(ctx context.Context) error {
	if p.conn != nil {
		return nil
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", p.target)
	if err != nil {
		return err
	}
	p.conn, p.in = conn, bufio.NewReaderSize(conn, 16<<10)
	return nil
}

// vary makes every entry of the next request one that was never sent before. It writes 16 hex digits in place: they are
// valid base64url, and a number with its top bit set has no fewer.
func (p *pump) vary() {
	for _, spot := range p.spots {
		p.serial++
		_ = strconv.AppendUint(p.request[spot:spot], p.serial|1<<63, 16)
	}
}

func (p *pump) answer() (a pumpAnswer, err error) {
	response, err := http.ReadResponse(p.in, nil)
	if err != nil {
		return a, err
	}
	defer response.Body.Close()
	p.body.Reset()
	if _, err := p.body.ReadFrom(io.LimitReader(response.Body, MaxBenchAnswer)); err != nil {
		return a, err
	}
	switch {
	case response.StatusCode >= 400:
		a.code = jsonText(p.body.Bytes(), "code")
		if a.code == "" {
			a.code = "http_" + strconv.Itoa(response.StatusCode)
		}
	case response.StatusCode == http.StatusAccepted:
		a.hash = jsonText(p.body.Bytes(), "entryHash")
	default:
		a.final = true
	}
	if response.Close {
		p.close()
	}
	return a, nil
}

// jsonText finds the first string member of that name, without parsing: names and codes hold no escapes.
func jsonText(body []byte, name string) string {
	_, rest, found := bytes.Cut(body, []byte(`"`+name+`":"`))
	if !found {
		return ""
	}
	value, _, _ := bytes.Cut(rest, []byte(`"`))
	return string(value)
}
