package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"weft/client"
	"weft/tangle"
)

// benchResult is what one scenario found.
type benchResult struct {
	Scenario    string  `json:"scenario"`
	Target      string  `json:"target"`
	Met         bool    `json:"met"`
	Seconds     float64 `json:"seconds"`
	Connections int     `json:"connections,omitempty"`
	Batch       int     `json:"entriesPerRequest,omitempty"`
	Offered     float64 `json:"offeredPerSecond,omitempty"`

	PerSecond    float64        `json:"entriesPerSecond,omitempty"` // final
	Latency      *millis        `json:"submitToFinalMillis,omitempty"`
	CPU          float64        `json:"cpuMicrosPerEntry,omitempty"` // of all nodes
	GeneratorCPU float64        `json:"generatorCPUMicrosPerEntry,omitempty"`
	Nodes        []benchNode    `json:"nodes,omitempty"`
	Errors       map[string]int `json:"errors"`
	LeftBehind   int            `json:"leftBehind"` // entries not final 5 s after the end

	Paused        *millis  `json:"onePausedMillis,omitempty"`
	Killed        *millis  `json:"oneKilledMillis,omitempty"`
	Ratio         float64  `json:"p99Ratio,omitempty"` // the worse of both over normal
	ResumeSeconds float64  `json:"resumeSeconds,omitempty"`
	Violations    []string `json:"violations,omitempty"` // broken promises, as opposed to missed targets

	Prepared string      `json:"prepared,omitempty"` // what is no part of the measurement
	Records  uint64      `json:"records,omitempty"`  // that the channels have in the end
	Delivery *millis     `json:"finalToDeliveryMillis,omitempty"`
	Reach    *millis     `json:"submitToDeliveryMillis,omitempty"`
	Rekey    *benchRekey `json:"rekey,omitempty"`
	Lists    *millis     `json:"listMillis,omitempty"`

	Memory  []benchMemory `json:"memory,omitempty"` // of long runs, over time
	Growth  float64       `json:"memoryGrowth,omitempty"`
	PeakMiB float64       `json:"memoryPeakMiB,omitempty"`
}

// benchMemory is what the largest node held at one moment. The pages of mapped files, which the system may drop, are apart.
type benchMemory struct {
	Seconds      float64 `json:"seconds"` // since the begin of the measurement
	AnonymousMiB float64 `json:"anonymousMiB"`
	MappedMiB    float64 `json:"mappedMiB"`
}

// benchRekey is what a new key for many readers took. Seconds of the result are those from the start of sealing until all
// of it was final.
type benchRekey struct {
	Readers      int     `json:"readers"`
	SetupSeconds float64 `json:"setupSeconds"` // giving the rights
	SealSeconds  float64 `json:"sealSeconds"`  // of all: listing the readers and sealing to them
	Keyloads     int     `json:"keyloads"`     // operations after the first
}

// benchNode is what one node's process took.
type benchNode struct {
	Name       string  `json:"name"`
	CPUPercent float64 `json:"cpuPercent"` // of one core
	RSSMiB     float64 `json:"rssMiB"`
	RSSBefore  float64 `json:"rssMiBBefore"`               // at the begin of the measurement
	PerSecond  float64 `json:"entriesPerSecond,omitempty"` // final, of those sent to this node
}

// words is the result in one line for people.
func (r benchResult) words() string {
	s := ""
	if r.PerSecond > 0 {
		s += fmt.Sprintf("%.0f entries/s  ", r.PerSecond)
	}
	if r.Latency != nil {
		s += fmt.Sprintf("p50 %.0f ms  p95 %.0f ms  p99 %.0f ms  ", r.Latency.P50, r.Latency.P95, r.Latency.P99)
	}
	if r.Delivery != nil {
		s += fmt.Sprintf("then to followers p50 %.0f ms  p95 %.0f ms  ", r.Delivery.P50, r.Delivery.P95)
	}
	if r.Lists != nil {
		s += fmt.Sprintf("lists p50 %.0f ms  p99 %.0f ms  ", r.Lists.P50, r.Lists.P99)
	}
	if r.Rekey != nil {
		s += fmt.Sprintf("%.1f s for %d readers (%.1f s of it sealing)  ", r.Seconds, r.Rekey.Readers, r.Rekey.SealSeconds)
	}
	if r.Growth > 0 {
		s += fmt.Sprintf("memory x%.2f, at most %.0f MiB  ", r.Growth, r.PeakMiB)
	}
	if r.CPU > 0 {
		s += fmt.Sprintf("%.0f µs CPU/entry  ", r.CPU)
	}
	if r.Ratio > 0 {
		s += fmt.Sprintf("p99 x%.1f  ", r.Ratio)
	}
	if r.ResumeSeconds > 0 {
		s += fmt.Sprintf("final again after %.1f s  ", r.ResumeSeconds)
	}
	if len(r.Errors) > 0 || r.LeftBehind > 0 {
		s += fmt.Sprintf("errors %v, left behind %d  ", r.Errors, r.LeftBehind)
	}
	if len(r.Violations) > 0 {
		s += fmt.Sprintf("VIOLATIONS %v  ", r.Violations)
	}
	if r.Met {
		return s + "(target met: " + r.Target + ")"
	}
	return s + "(target missed: " + r.Target + ")"
}

func (b *bench) batched(ctx context.Context) (benchResult, error) {
	r, err := b.load(ctx, &load{connections: 64, batch: b.batch})
	b.peak = r.PerSecond
	r.Target, r.Met = "10000 entries/s or more", r.PerSecond >= 10_000
	return r, err
}

func (b *bench) single(ctx context.Context) (benchResult, error) {
	r, err := b.load(ctx, &load{connections: 1000, batch: 1})
	r.Target, r.Met = "3000 entries/s or more", r.PerSecond >= 3000
	return r, err
}

func (b *bench) half(ctx context.Context) (benchResult, error) {
	rate, err := b.halfRate(ctx)
	if err != nil {
		return benchResult{}, err
	}
	r, err := b.load(ctx, &load{connections: 256, batch: b.batch, rate: rate})
	r.Target, r.Met = "p99 of 500 ms or less", r.Latency != nil && r.Latency.N > 0 && r.Latency.P99 <= 500
	return r, err
}

// halfRate is --rate, or half of what batched measures.
func (b *bench) halfRate(ctx context.Context) (float64, error) {
	if b.rate > 0 {
		return b.rate, nil
	}
	if b.peak == 0 {
		if _, err := b.batched(ctx); err != nil {
			return 0, err
		}
	}
	if b.peak == 0 {
		return 0, errors.New("the network made nothing final: there is no half of its peak")
	}
	return b.peak / 2, nil
}

// load runs one load on all nodes and gathers its figures.
func (b *bench) load(ctx context.Context, l *load) (benchResult, error) {
	if l.targets == nil {
		l.targets = b.targets
	}
	if b.connections > 0 {
		l.connections = b.connections
	}
	l.entryBytes, l.warmup, l.duration, l.seed = b.entryBytes, b.warmup, b.duration, b.seed
	var readings []reading
	t, err := l.run(ctx, func() { readings = append(readings, b.read()) })
	if err != nil {
		return benchResult{}, err
	}
	latency := summarize(t.latencies)
	r := benchResult{
		Seconds: l.duration.Seconds(), Connections: l.connections, Batch: l.batch, Offered: l.rate,
		PerSecond: float64(t.final) / l.duration.Seconds(), Latency: &latency, Errors: t.errors,
	}
	r.use(readings[0], readings[1], t.final)
	for i := range r.Nodes {
		r.Nodes[i].PerSecond = float64(t.byTarget[b.targets[i]]) / l.duration.Seconds()
	}
	r.LeftBehind = t.unheard + b.leftBehind(ctx, t.pending)
	if r.LeftBehind > 0 {
		r.Violations = append(r.Violations, fmt.Sprintf("%d entries were not final %s after the end", r.LeftBehind, answerGrace))
	}
	return r, nil
}

// leftBehind counts the entries that are not final now, 5 s after the last was sent.
func (b *bench) leftBehind(ctx context.Context, pending []pendingEntry) (n int) {
	for _, p := range pending {
		hash, err := tangle.ParseHash(p.hash)
		if err != nil {
			n += p.entries
			continue
		}
		for i, target := range b.targets {
			if target != p.target {
				continue
			}
			if e, err := b.clients[i].Entry(ctx, hash); err != nil || e.Status != client.Final {
				n += p.entries
			}
		}
	}
	return n
}

// reading is what the processes had taken at one moment.
type reading struct {
	at    time.Time
	own   int64 // microseconds of this process
	nodes []nodeReading
}

type nodeReading struct {
	name      string
	cpu       time.Duration
	rss       uint64
	anonymous uint64
}

func (b *bench) read() reading {
	r := reading{at: time.Now(), own: ownCPU()}
	if b.net == nil {
		return r
	}
	for _, node := range b.net.Nodes {
		u := node.Usage()
		r.nodes = append(r.nodes, nodeReading{node.Name, u.CPU, u.RSS, u.Anonymous})
	}
	return r
}

// use fills in what the processes took between two readings, while entries became final.
func (r *benchResult) use(from, to reading, entries int) {
	wall := to.at.Sub(from.at).Seconds()
	var sum time.Duration
	for i := range to.nodes {
		spent := max(0, to.nodes[i].cpu-from.nodes[i].cpu) // a restarted process counts anew
		sum += spent
		r.Nodes = append(r.Nodes, benchNode{
			Name: to.nodes[i].name, CPUPercent: 100 * spent.Seconds() / wall,
			RSSMiB: float64(to.nodes[i].rss) / (1 << 20), RSSBefore: float64(from.nodes[i].rss) / (1 << 20),
		})
	}
	if entries > 0 {
		r.CPU = float64(sum.Microseconds()) / float64(entries)
		r.GeneratorCPU = float64(to.own-from.own) / float64(entries)
	}
}

// lone sends one entry at a time, 1 to 2 s after the one before became final, so that its moment has no relation to the
// pace of an idle network.
func (b *bench) lone(ctx context.Context) (benchResult, error) {
	r := benchResult{Target: "p50 of 60 ms and p99 of 250 ms or less", Batch: 1, Connections: 1, Errors: map[string]int{}}
	duration := b.duration
	if !b.fixed {
		duration = 45 * time.Second
	}
	r.Seconds = duration.Seconds()
	random := rand.New(rand.NewPCG(b.seed, 3))
	var latencies []uint32
	end := time.Now().Add(duration)
	for i := 0; time.Now().Before(end); i++ {
		gap := time.Second + time.Duration(random.Int64N(int64(time.Second)))
		if err := sleepUntil(ctx, time.Now().Add(gap)); err != nil {
			return r, err
		}
		took, err := b.sendLone(ctx, i)
		if err != nil {
			r.Errors[err.Error()]++
			continue
		}
		latencies = append(latencies, uint32(took.Microseconds()))
	}
	latency := summarize(latencies)
	r.Latency = &latency
	r.Met = latency.N > 0 && latency.P50 <= 60 && latency.P99 <= 250
	return r, nil
}

// sendLone sends one entry over a connection of its own, opened before the clock starts.
func (b *bench) sendLone(ctx context.Context, i int) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	p := newPump(b.targets[i%len(b.targets)], 1, b.entryBytes, b.seed+uint64(i))
	defer p.close()
	if err := p.dial(ctx); err != nil {
		return 0, errors.New("no_answer")
	}
	start := time.Now()
	answer, err := p.send(ctx)
	switch {
	case err != nil:
		return 0, errors.New("no_answer")
	case answer.code != "":
		return 0, errors.New(answer.code)
	case !answer.final:
		return 0, errors.New("not_final")
	}
	return time.Since(start), nil
}

func (b *bench) idle(ctx context.Context) (benchResult, error) {
	r := benchResult{Target: "1% of a core and 60 MiB per node or less", Met: true, Errors: map[string]int{}, Seconds: b.duration.Seconds()}
	if err := sleepUntil(ctx, time.Now().Add(3*time.Second)); err != nil { // the last scenario's echo
		return r, err
	}
	from := b.read()
	if err := sleepUntil(ctx, time.Now().Add(b.duration)); err != nil {
		return r, err
	}
	r.use(from, b.read(), 0)
	for _, n := range r.Nodes {
		r.Met = r.Met && n.CPUPercent <= 1 && n.RSSMiB <= 60
	}
	return r, nil
}

// oneDown compares a normal network with one that lacks its last node: paused, which looks like a slow one, and killed.
func (b *bench) oneDown(ctx context.Context) (benchResult, error) {
	rate, err := b.halfRate(ctx)
	if err != nil {
		return benchResult{}, err
	}
	last := len(b.targets) - 1
	phase := func() (benchResult, error) {
		return b.load(ctx, &load{targets: b.targets[:last], connections: 256, batch: b.batch, rate: rate})
	}
	r, err := phase()
	if err != nil {
		return r, err
	}
	paused, err := b.whilePaused(last, phase)
	if err != nil {
		return r, err
	}
	if err := b.net.Kill(last); err != nil {
		return r, err
	}
	killed, err := phase()
	if err := errors.Join(err, b.restart(ctx, last)); err != nil {
		return r, err
	}
	r.Paused, r.Killed = paused.Latency, killed.Latency
	for _, down := range []benchResult{paused, killed} {
		r.LeftBehind += down.LeftBehind
		r.Violations = append(r.Violations, down.Violations...)
		for code, n := range down.Errors {
			r.Errors[code] += n
		}
	}
	r.Ratio = max(paused.Latency.P99, killed.Latency.P99) / max(r.Latency.P99, 1)
	r.Target, r.Met = "p99 with one down at most 3 times normal", r.Ratio > 0 && r.Ratio <= 3
	return r, nil
}

func (b *bench) whilePaused(i int, phase func() (benchResult, error)) (benchResult, error) {
	pid := b.net.Nodes[i].PID()
	if err := pause(pid, true); err != nil {
		return benchResult{}, err
	}
	r, err := phase()
	return r, errors.Join(err, pause(pid, false))
}

// restart starts a node and waits until it serves.
func (b *bench) restart(ctx context.Context, i int) error {
	if err := b.net.StartNode(i); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return b.net.Nodes[i].WaitReady(ctx)
}

// twoDown takes the quorum away: nothing may become final, nobody may be told otherwise, and when the first of the two is
// back everything goes on by itself.
func (b *bench) twoDown(ctx context.Context) (benchResult, error) {
	r := benchResult{Target: "nothing final without a quorum; final again within 10 s of its return", Errors: map[string]int{}, Seconds: 6}
	n := len(b.targets)
	if n < 4 {
		return r, errors.New("needs 4 nodes or more")
	}
	down := (n-1)/3 + 1
	for i := n - down; i < n; i++ {
		if err := b.net.Kill(i); err != nil {
			return r, err
		}
	}
	pending, err := b.withoutQuorum(ctx, n-down, &r)
	if err != nil {
		return r, err
	}
	if err := b.resume(ctx, n-down, pending, &r); err != nil {
		return r, err
	}
	for i := n - down + 1; i < n; i++ {
		if err := b.restart(ctx, i); err != nil {
			return r, err
		}
	}
	r.Met = len(r.Violations) == 0 && r.ResumeSeconds <= 10
	return r, nil
}

// withoutQuorum submits to the first alive nodes for a few seconds and returns what they took.
func (b *bench) withoutQuorum(ctx context.Context, alive int, r *benchResult) (taken []pendingEntry, err error) {
	if err := sleepUntil(ctx, time.Now().Add(2*time.Second)); err != nil { // what was signed already may still become final
		return nil, err
	}
	before, err := b.finalSize(ctx, alive)
	if err != nil {
		return nil, err
	}
	end := time.Now().Add(4 * time.Second)
	for i := 0; time.Now().Before(end); i++ {
		entry, err := client.DataEntry("bench", fmt.Appendf(nil, "no quorum %d %d", b.seed, i))
		if err != nil {
			return nil, err
		}
		got, err := b.clients[i%alive].Submit(ctx, []client.Entry{entry}, client.Options{Final: time.Second})
		switch {
		case client.ProblemCode(err) == "no_quorum":
			r.Errors["no_quorum"]++
		case err != nil:
			return nil, err
		case got.Status == client.Final:
			r.Violations = append(r.Violations, "an entry was called final without a quorum")
		default:
			r.Errors["pending"]++
			taken = append(taken, pendingEntry{b.targets[i%alive], got.Entries[0].EntryHash.String(), 1})
		}
	}
	after, err := b.finalSize(ctx, alive)
	if after != before {
		r.Violations = append(r.Violations, fmt.Sprintf("the certified log grew from %d to %d without a quorum", before, after))
	}
	return taken, err
}

func (b *bench) finalSize(ctx context.Context, alive int) (size tangle.Position, err error) {
	for _, c := range b.clients[:alive] {
		n, err := c.Node(ctx)
		if err != nil {
			return 0, err
		}
		size = max(size, n.Final)
	}
	return size, nil
}

// resume starts the node that makes the quorum whole and takes the time until an entry is final; then everything that
// was taken before must be final too.
func (b *bench) resume(ctx context.Context, i int, pending []pendingEntry, r *benchResult) error {
	start := time.Now()
	if err := b.net.StartNode(i); err != nil {
		return err
	}
	entry, err := client.DataEntry("bench", fmt.Appendf(nil, "quorum again %d", b.seed))
	if err != nil {
		return err
	}
	for final := false; !final; {
		if time.Since(start) > 30*time.Second {
			r.Violations = append(r.Violations, "nothing became final within 30 s of the quorum's return")
			return nil
		}
		got, err := b.clients[0].Submit(ctx, []client.Entry{entry}, client.Options{Final: 10 * time.Second})
		if err != nil && client.ProblemCode(err) != "no_quorum" {
			return err
		}
		final = err == nil && got.Status == client.Final
		if err != nil {
			_ = sleepUntil(ctx, time.Now().Add(50*time.Millisecond))
		}
	}
	r.ResumeSeconds = time.Since(start).Seconds()
	if err := sleepUntil(ctx, time.Now().Add(answerGrace)); err != nil {
		return err
	}
	if r.LeftBehind = b.leftBehind(ctx, pending); r.LeftBehind > 0 {
		r.Violations = append(r.Violations, fmt.Sprintf("%d entries taken without a quorum were not final %s after it was back", r.LeftBehind, answerGrace))
	}
	return nil
}
