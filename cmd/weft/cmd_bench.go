package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weft/client"
	"weft/testnet"
)

// MaxBenchDuration bounds one scenario.
const MaxBenchDuration = 10 * time.Minute

// bench measures a network: one that it makes in a temporary folder, its nodes processes of their own, or one that runs.
type bench struct {
	*shell
	net     *testnet.Network // nil with --api: nothing to stop, and no figures of processes
	clients []*client.Client
	targets []string // host:port

	nodes       int
	temp        string
	duration    time.Duration
	warmup      time.Duration
	entryBytes  int
	batch       int
	connections int
	rate        float64
	seed        uint64
	scenarios   []string // --scenario, which may stand for arguments
	fixed       bool     // --duration was given: scenarios do not choose their own

	peak float64 // entries a second of the batched scenario, once it has run
}

// benchReport is what bench prints.
type benchReport struct {
	Machine   benchMachine  `json:"machine"`
	Scenarios []benchResult `json:"scenarios"`
}

// benchMachine is what the figures depend on.
type benchMachine struct {
	Cores      int    `json:"cores"`
	System     string `json:"system"`
	Go         string `json:"go"`
	Nodes      int    `json:"nodes"`
	EntryBytes int    `json:"entryBytes"`
	FSync      bool   `json:"fsync"` // nodes always ask for it; false where the folder is in memory and it means nothing
	Seed       uint64 `json:"seed"`
}

func newBenchCommand(s *shell) *cobra.Command {
	b := &bench{shell: s}
	c := &cobra.Command{
		Use:   "bench [SCENARIO...]",
		Short: "measure a network of four on this machine",
		Long: `Makes a network in a temporary folder for each scenario, runs its nodes as
processes of their own, puts load on it over the API, and prints what it measured
as JSON. It ends by itself and leaves nothing behind.

Scenarios:
  batched    64 entries a request, each connection sends again once its entries
             are final: the most the network can do
  single     the same with one entry a request
  did        new DIDs: signed operations, one a request, until they are final
  did-batched  the same with 32 a request, as entries of POST /api/v1/messages
  resolve    10,000 DIDs resolved at random on one node
  vc         credentials of a DID on the ledger, verified on one node
  channel    records of several writers in private channels, sealed and signed
             beforehand, many a request, until they are final and accepted; then all
             nodes must tell the same channels, without gaps. With --rate at random
             times; --duration 10m watches memory
  channel-live   100 followers of a private channel: from final to each of them
  channel-rekey  a new key for all readers of a private channel that has
             as many as a channel may
  channel-crowd  lists of participants and channels, and grants one at a
             time, in a channel with as many participants as it may have
  lone       one entry at a time, 1 to 2 s apart, on an otherwise idle network
  half       requests at random times at --rate, or at half of what batched found
  idle       nothing: what a node takes while it waits
  one-down   half load with one node paused, then killed: how much slower it gets
  two-down   two nodes killed: nothing may become final; then one comes back
  all        all of these, the default

Latency is from the moment a request is due until the answer says that all its
entries are final. Nodes run with the callers' rate limits lifted and otherwise as
they are. Load generator and nodes share this machine's cores.`,
		Example: `  weft bench batched lone --duration 30s
  weft bench half --rate 2000 --api 127.0.0.1:8080,127.0.0.1:8081`,
		ValidArgs: benchNames(),
		Args:      cobra.OnlyValidArgs,
		RunE: func(c *cobra.Command, args []string) error {
			b.fixed = c.Flags().Changed("duration")
			return b.run(c.Context(), args, s.api)
		},
	}
	f := c.Flags()
	f.IntVar(&b.nodes, "nodes", 4, "nodes of the network")
	f.StringVar(&b.temp, "temp", "", "where to make the temporary folder; default: the system's place")
	f.DurationVar(&b.duration, "duration", 10*time.Second, "how long to measure, for each scenario")
	f.DurationVar(&b.warmup, "warmup", 3*time.Second, "load before measuring")
	f.IntVar(&b.entryBytes, "entry-bytes", 250, "bytes of an entry")
	f.IntVar(&b.batch, "batch", client.MaxBatch, "entries in a request of batched and half")
	f.IntVar(&b.connections, "connections", 0, "connections over all nodes; 0: what suits the scenario")
	f.Float64Var(&b.rate, "rate", 0, "entries a second of half, one-down, channel and channel-live; 0: what suits the scenario")
	f.StringSliceVar(&b.scenarios, "scenario", nil, "a scenario, as an argument names it; may be repeated")
	f.Uint64Var(&b.seed, "seed", 1, "of all random choices")
	c.AddCommand(newCrashCommand(s))
	return c
}

// benchScenario is one thing to measure.
type benchScenario struct {
	name    string
	control bool // stops nodes or reads their processes: only on a network of its own
	run     func(*bench, context.Context) (benchResult, error)
}

func benchScenarios() []benchScenario {
	return []benchScenario{
		{"batched", false, (*bench).batched},
		{"single", false, (*bench).single},
		{"did", false, (*bench).dids},
		{"did-batched", false, (*bench).didsBatched},
		{"resolve", false, (*bench).resolve},
		{"vc", false, (*bench).credentials},
		{"channel", false, (*bench).records},
		{"channel-live", false, (*bench).live},
		{"channel-rekey", false, (*bench).rekey},
		{"channel-crowd", false, (*bench).crowd},
		{"lone", false, (*bench).lone},
		{"half", false, (*bench).half},
		{"idle", true, (*bench).idle},
		{"one-down", true, (*bench).oneDown},
		{"two-down", true, (*bench).twoDown},
	}
}

func benchNames() []string {
	names := []string{"all"}
	for _, scenario := range benchScenarios() {
		names = append(names, scenario.name)
	}
	return names
}

func (b *bench) run(ctx context.Context, names []string, api string) error {
	if err := b.check(); err != nil {
		return err
	}
	names = append(names, b.scenarios...)
	for _, name := range names {
		if !slices.Contains(benchNames(), name) {
			return usage("no scenario %q: want some of %s", name, strings.Join(benchNames(), ", "))
		}
	}
	if len(names) == 0 {
		names = []string{"all"}
	}
	var report benchReport
	failed := false
	for _, scenario := range benchScenarios() {
		if !slices.Contains(names, "all") && !slices.Contains(names, scenario.name) {
			continue
		}
		if scenario.control && api != "" {
			fmt.Fprintf(b.err, "%-9s left out: needs a network of its own, not --api\n", scenario.name)
			continue
		}
		result, err := b.measure(ctx, scenario, api, &report.Machine)
		if err != nil {
			err = fmt.Errorf("%s: %w", scenario.name, err)
			if len(report.Scenarios) > 0 {
				err = errors.Join(err, b.printReport(report))
			}
			return err
		}
		fmt.Fprintf(b.err, "%-13s %s\n", scenario.name, result.words())
		report.Scenarios = append(report.Scenarios, result)
		failed = failed || len(result.Violations) > 0
	}
	if err := b.printReport(report); err != nil {
		return err
	}
	if failed {
		return errors.New("the network broke a promise: see violations in the report")
	}
	return nil
}

// measure runs one scenario on a network of its own: what one leaves behind must not slow the next one down.
func (b *bench) measure(ctx context.Context, scenario benchScenario, api string, m *benchMachine) (benchResult, error) {
	if err := b.open(ctx, api); err != nil {
		return benchResult{}, err
	}
	defer b.close()
	*m = b.machine()
	result, err := scenario.run(b, ctx)
	result.Scenario = scenario.name
	return result, err
}

func (b *bench) check() error {
	switch {
	case b.duration <= 0 || b.duration > MaxBenchDuration || b.warmup < 0 || b.warmup > MaxBenchDuration:
		return usage("--duration and --warmup: want at most %s", MaxBenchDuration)
	case b.entryBytes < MinBenchEntry || b.entryBytes > MaxEntryInput:
		return usage("--entry-bytes %d: want %d to %d", b.entryBytes, MinBenchEntry, MaxEntryInput)
	case b.batch < 1 || b.batch > client.MaxBatch || b.batch*(b.entryBytes+entryJSONBytes) > MaxBatchInput && b.batch > 1:
		return usage("--batch %d: want 1 to %d, and at most %d bytes in all", b.batch, client.MaxBatch, MaxBatchInput)
	case b.connections < 0 || b.connections > MaxBenchConnections:
		return usage("--connections %d: want 1 to %d", b.connections, MaxBenchConnections)
	case b.rate < 0 || b.rate > 1e6:
		return usage("--rate %g: want at most a million", b.rate)
	}
	return nil
}

// open makes and starts a network, or finds the one that runs.
func (b *bench) open(ctx context.Context, api string) error {
	if api != "" {
		return b.openRunning(ctx, api)
	}
	n, err := startOwnNetwork(ctx, b.temp, b.nodes)
	if err != nil {
		return err
	}
	b.net, b.clients, b.targets = n, nil, nil
	for _, node := range n.Nodes {
		b.clients = append(b.clients, node.Client)
		b.targets = append(b.targets, strings.TrimPrefix(node.API, "http://"))
	}
	return nil
}

func (b *bench) openRunning(ctx context.Context, api string) error {
	b.clients, b.targets = nil, nil
	for part := range strings.SplitSeq(api, ",") {
		base, err := apiURL("--api", part)
		if err != nil {
			return err
		}
		u, err := url.Parse(base)
		if err != nil {
			return usage("--api %s: %s", part, err)
		}
		if err := onlyLoopback(u); err != nil {
			return err
		}
		c, err := client.New(client.Config{URL: base, Retry: client.NoRetry()})
		if err != nil {
			return usage("%s", err)
		}
		if _, err := c.Node(ctx); err != nil {
			return remote(c, err)
		}
		b.clients = append(b.clients, c)
		b.targets = append(b.targets, u.Host)
	}
	b.nodes = len(b.targets)
	return nil
}

// onlyLoopback keeps the load on this machine: a benchmark must not become an attack by a slip.
func onlyLoopback(u *url.URL) error {
	ip, err := netip.ParseAddr(u.Hostname())
	_, port, splitErr := net.SplitHostPort(u.Host)
	if u.Scheme != "http" || err != nil || !ip.IsLoopback() || splitErr != nil || port == "" {
		return usage("--api %s: load goes to http://127.0.0.1:PORT and other loopback addresses only", u)
	}
	return nil
}

// startOwnNetwork makes a network in a temporary folder and waits until it serves.
func startOwnNetwork(ctx context.Context, temp string, nodes int) (*testnet.Network, error) {
	if nodes != 1 && (nodes < 4 || nodes > testnet.MaxNodes) {
		return nil, usage("--nodes %d: want 4 to %d, or 1", nodes, testnet.MaxNodes)
	}
	dir, err := os.MkdirTemp(temp, "weft-bench-")
	if err != nil {
		return nil, usage("--temp: %s", err)
	}
	n, err := makeOwnNetwork(ctx, dir, nodes)
	if err != nil {
		os.RemoveAll(dir)
	}
	return n, err
}

func makeOwnNetwork(ctx context.Context, dir string, nodes int) (*testnet.Network, error) {
	settings := map[string]string{"log.level": "warn"}
	for _, limit := range []string{"reads", "writes", "verifies", "anonymous"} {
		settings["api.limits."+limit+"PerSecond"] = "0" // lifted
	}
	if err := testnet.Make(dir, testnet.Options{Nodes: nodes, Network: "bench", Settings: settings}); err != nil {
		return nil, err
	}
	n, err := testnet.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := n.Start(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := n.WaitReady(ctx); err != nil {
		n.Stop()
		return nil, err
	}
	return n, nil
}

func (b *bench) close() {
	if b.net != nil {
		closeOwnNetwork(b.net)
	}
}

// closeOwnNetwork kills rather than stops: nobody needs the data.
func closeOwnNetwork(n *testnet.Network) {
	for i := range n.Nodes {
		_ = n.Kill(i) // one that does not run is as it should be
	}
	os.RemoveAll(n.Dir)
}

func (b *bench) machine() benchMachine {
	m := benchMachine{Cores: runtime.NumCPU(), System: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version(),
		Nodes: b.nodes, EntryBytes: b.entryBytes, FSync: true, Seed: b.seed}
	if b.net != nil {
		m.FSync = !inMemory(b.net.Dir)
	}
	return m
}

func (b *bench) printReport(r benchReport) error {
	if b.json {
		return b.printJSON(r)
	}
	e := json.NewEncoder(b.out)
	e.SetIndent("", "  ")
	return e.Encode(r)
}
