package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"weft/client"
	"weft/receipt"
	"weft/tangle"
	"weft/testnet"
)

// Bounds of a crash run.
const (
	MaxCrashEntries = 4 << 20 // remembered and looked up at the end
	maxCatchUp      = 20 * time.Second
	crashBatch      = 16
	crashSamples    = 200 // receipts fetched and verified
)

// crash runs a network under load, kills its nodes at random and then all at once, and checks that nothing it called
// final is lost.
type crash struct {
	*shell
	net *testnet.Network

	nodes              int
	temp               string
	duration           time.Duration
	minGap, maxGap     time.Duration // between kills
	minDown, maxDown   time.Duration // before the start after a kill
	workers, allAtOnce int
	seed               uint64
	random             *rand.Rand // of the schedule; the schedule's goroutine only

	mu     sync.Mutex // guards the rest
	final  []finalEntry
	taken  []tangle.Hash // answered before they were final
	errors map[string]int
	report crashReport
}

// finalEntry is what a node promised.
type finalEntry struct {
	hash     tangle.Hash
	message  tangle.ID
	position tangle.Position
}

// crashReport is what crash prints.
type crashReport struct {
	Seed            uint64          `json:"seed"`
	Seconds         float64         `json:"seconds"`
	Kills           int             `json:"kills"`
	AllAtOnce       int             `json:"allAtOnce"`
	Final           int             `json:"finalEntries"` // promised while it ran
	Taken           int             `json:"takenEntries"` // promised to become final later
	Errors          map[string]int  `json:"errors"`
	LogSize         tangle.Position `json:"logSize"`
	Lost            int             `json:"lostEntries"`
	Receipts        int             `json:"receiptsVerified"`
	CatchUpSeconds  float64         `json:"slowestCatchUpSeconds"`
	SameCheckpoints bool            `json:"sameCheckpoints"`
	Violations      []string        `json:"violations"`
}

func newCrashCommand(s *shell) *cobra.Command {
	k := &crash{shell: s}
	c := &cobra.Command{
		Use:   "crash",
		Short: "kill nodes under load and check that nothing final is lost",
		Long: `Makes a network in a temporary folder and keeps it under load. Every 5 to 15 s a
random node is killed (SIGKILL) and started again 1 to 10 s later; twice all nodes
are killed at the same moment. Then it checks on every node that each entry that
was ever called final is in the log at its place, that all nodes have the same
certified checkpoint, that sampled receipts verify, and that no node needed more
than 20 s to catch up.

Prints what it found as JSON. Exit code 1: a promise was broken.`,
		Example: `  weft bench crash --duration 120s --seed 7`,
		RunE:    func(c *cobra.Command, _ []string) error { return k.run(c.Context()) },
	}
	f := c.Flags()
	f.IntVar(&k.nodes, "nodes", 4, "nodes of the network")
	f.StringVar(&k.temp, "temp", "", "where to make the temporary folder; default: the system's place")
	f.DurationVar(&k.duration, "duration", 120*time.Second, "how long to kill")
	f.DurationVar(&k.minGap, "min-gap", 5*time.Second, "least time between kills")
	f.DurationVar(&k.maxGap, "max-gap", 15*time.Second, "longest time between kills")
	f.DurationVar(&k.minDown, "min-down", time.Second, "least time a node stays down")
	f.DurationVar(&k.maxDown, "max-down", 10*time.Second, "longest time a node stays down")
	f.IntVar(&k.allAtOnce, "all-at-once", 2, "how often to kill all nodes together")
	f.IntVar(&k.workers, "workers", 8, "callers that submit, each 16 entries at a time")
	f.Uint64Var(&k.seed, "seed", 0, "of the schedule; 0: another one each time")
	return c
}

func (k *crash) check() error {
	switch {
	case k.duration <= 0 || k.duration > MaxBenchDuration:
		return usage("--duration %s: want at most %s", k.duration, MaxBenchDuration)
	case k.minGap <= 0 || k.maxGap < k.minGap || k.minDown <= 0 || k.maxDown < k.minDown:
		return usage("--min-gap, --max-gap, --min-down, --max-down: want more than 0s, and each maximum at least its minimum")
	case k.workers < 1 || k.workers > 256:
		return usage("--workers %d: want 1 to 256", k.workers)
	case k.allAtOnce < 0 || k.allAtOnce > 100:
		return usage("--all-at-once %d: want 0 to 100", k.allAtOnce)
	}
	if k.seed == 0 {
		k.seed = rand.Uint64N(1 << 32)
	}
	k.random = rand.New(rand.NewPCG(k.seed, 4))
	k.errors = map[string]int{}
	k.report = crashReport{Seed: k.seed, Violations: []string{}}
	return nil
}

func (k *crash) run(ctx context.Context) error {
	if err := k.check(); err != nil {
		return err
	}
	n, err := startOwnNetwork(ctx, k.temp, k.nodes)
	if err != nil {
		return err
	}
	k.net = n
	start := time.Now()
	err = k.underLoad(ctx)
	if err == nil {
		err = k.examine(ctx)
	}
	k.report.Seconds = time.Since(start).Seconds()
	k.report.Errors = k.errors
	if err != nil || len(k.report.Violations) > 0 {
		fmt.Fprintf(k.err, "the nodes' folders and logs are kept in %s\n", n.Dir)
		n.Stop()
	} else {
		closeOwnNetwork(n)
	}
	if err != nil {
		return fmt.Errorf("seed %d: %w", k.seed, err)
	}
	k.printJSON(k.report)
	if len(k.report.Violations) > 0 {
		return fmt.Errorf("%d promises broken with seed %d: %s", len(k.report.Violations), k.seed, k.report.Violations[0])
	}
	return nil
}

// underLoad kills and starts nodes while callers submit.
func (k *crash) underLoad(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var group errgroup.Group
	for i := range k.workers {
		group.Go(func() error { k.submit(ctx, i); return nil })
	}
	err := k.schedule(ctx)
	stop()
	return errors.Join(err, group.Wait())
}

// submit is one caller: it goes from node to node, and remembers what it was promised.
func (k *crash) submit(ctx context.Context, worker int) {
	for i := 0; ctx.Err() == nil; i++ {
		entries := make([]client.Entry, crashBatch)
		for j := range entries {
			entries[j], _ = client.DataEntry("crash", fmt.Appendf(nil, "%d %d %d %d %0200d", k.seed, worker, i, j, 0))
		}
		node := k.net.Nodes[(worker+i)%len(k.net.Nodes)]
		ask, cancel := context.WithTimeout(ctx, 8*time.Second)
		got, err := node.Client.Submit(ask, entries, client.Options{Final: 5 * time.Second})
		cancel()
		if ctx.Err() != nil {
			return
		}
		k.remember(got, err)
		if err != nil {
			_ = sleepUntil(ctx, time.Now().Add(100*time.Millisecond))
		}
	}
}

func (k *crash) remember(got client.Submitted, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch code := client.ProblemCode(err); {
	case code != "":
		k.errors[code]++
		return
	case err != nil:
		k.errors["no_answer"]++
		return
	}
	for _, e := range got.Entries {
		if len(k.final)+len(k.taken) == MaxCrashEntries {
			return
		}
		if e.Status == client.Final && e.Place != nil {
			k.final = append(k.final, finalEntry{e.EntryHash, e.MessageID, e.Place.Position})
		} else {
			k.taken = append(k.taken, e.EntryHash)
		}
	}
}

// schedule kills until the time is up; the kills of all nodes together are spread over it evenly.
func (k *crash) schedule(ctx context.Context) error {
	start := time.Now()
	for done := 0; ; {
		if err := k.wait(ctx, k.minGap, k.maxGap); err != nil {
			return err
		}
		spent := time.Since(start)
		switch {
		case done < k.allAtOnce && spent >= k.duration*time.Duration(done+1)/time.Duration(k.allAtOnce+1):
			done++
			k.report.AllAtOnce++
			if err := k.killAll(ctx); err != nil {
				return err
			}
		case spent >= k.duration:
			return nil
		default:
			if err := k.killOne(ctx, k.random.IntN(len(k.net.Nodes))); err != nil {
				return err
			}
		}
	}
}

func (k *crash) wait(ctx context.Context, least, most time.Duration) error {
	return sleepUntil(ctx, time.Now().Add(least+time.Duration(k.random.Int64N(int64(most-least)+1))))
}

func (k *crash) killOne(ctx context.Context, i int) error {
	k.say("kill %s", k.net.Nodes[i].Name)
	k.report.Kills++
	if err := k.net.Kill(i); err != nil {
		return err
	}
	if err := k.wait(ctx, k.minDown, k.maxDown); err != nil {
		return err
	}
	return k.startAndCatchUp(ctx, i)
}

func (k *crash) killAll(ctx context.Context) error {
	k.say("kill all")
	goal := k.highest(ctx, -1)
	var group errgroup.Group
	for i := range k.net.Nodes {
		group.Go(func() error { return k.net.Kill(i) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if err := k.wait(ctx, k.minDown, k.maxDown); err != nil {
		return err
	}
	for i := range k.net.Nodes {
		if err := k.net.StartNode(i); err != nil {
			return err
		}
	}
	start := time.Now()
	for i := range k.net.Nodes {
		if err := k.catchUp(ctx, i, start, goal); err != nil {
			return err
		}
	}
	return nil
}

func (k *crash) startAndCatchUp(ctx context.Context, i int) error {
	goal := k.highest(ctx, i)
	if err := k.net.StartNode(i); err != nil {
		return err
	}
	return k.catchUp(ctx, i, time.Now(), goal)
}

// highest is the certified size that the nodes but one have reached.
func (k *crash) highest(ctx context.Context, but int) (size tangle.Position) {
	for i, node := range k.net.Nodes {
		if i == but {
			continue
		}
		if n, err := node.Client.Node(ctx); err == nil {
			size = max(size, n.Final)
		}
	}
	return size
}

// catchUp waits until a node serves and has certified what the others had when it started. A slow one is a violation;
// one that never gets there ends the run.
func (k *crash) catchUp(ctx context.Context, i int, start time.Time, goal tangle.Position) error {
	ctx, cancel := context.WithDeadline(ctx, start.Add(3*maxCatchUp))
	defer cancel()
	node := k.net.Nodes[i]
	if err := node.WaitReady(ctx); err != nil {
		return err
	}
	for {
		n, err := node.Client.Node(ctx)
		if err == nil && n.Final >= goal {
			break
		}
		if err := sleepUntil(ctx, time.Now().Add(50*time.Millisecond)); err != nil {
			return fmt.Errorf("%s has %d positions final %s after its start, wants %d", node.Name, n.Final, time.Since(start).Round(time.Second), goal)
		}
	}
	took := time.Since(start)
	k.report.CatchUpSeconds = max(k.report.CatchUpSeconds, took.Seconds())
	if took > maxCatchUp {
		k.violate("%s took %s to catch up", node.Name, took)
	}
	k.say("%s caught up with %d positions in %s", node.Name, goal, seconds(took))
	return nil
}

func (k *crash) say(format string, args ...any) {
	if !k.json {
		fmt.Fprintf(k.err, format+"\n", args...)
	}
}

func (k *crash) violate(format string, args ...any) {
	k.report.Violations = append(k.report.Violations, fmt.Sprintf(format, args...))
}

// examine checks every promise on every node.
func (k *crash) examine(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	k.report.Final, k.report.Taken = len(k.final), len(k.taken)
	if len(k.final) == 0 {
		return errors.New("nothing became final: there is nothing to check")
	}
	if err := k.settle(ctx); err != nil {
		return err
	}
	for _, node := range k.net.Nodes {
		if err := k.examineLog(ctx, node); err != nil {
			return fmt.Errorf("%s: %w", node.Name, err)
		}
	}
	return k.examineReceipts(ctx)
}

// settle waits until all that was taken is final and all nodes have the same certified log.
func (k *crash) settle(ctx context.Context) error {
	end := time.Now().Add(maxCatchUp)
	for {
		left := k.unfinal(ctx)
		heads, err := k.heads(ctx)
		if err != nil {
			return err
		}
		k.report.SameCheckpoints = len(heads) == 1
		if left == 0 && len(heads) == 1 {
			return nil
		}
		if time.Now().After(end) {
			if left > 0 {
				k.violate("%d entries that a node had taken are not final %s after the load", left, maxCatchUp)
			}
			if len(heads) > 1 {
				k.violate("nodes have different checkpoints: %q", heads)
			}
			return nil
		}
		if err := sleepUntil(ctx, time.Now().Add(200*time.Millisecond)); err != nil {
			return err
		}
	}
}

// unfinal drops the taken entries that are final by now and counts the others.
func (k *crash) unfinal(ctx context.Context) int {
	var left []tangle.Hash
	for i, h := range k.taken {
		e, err := k.net.Nodes[i%len(k.net.Nodes)].Client.Entry(ctx, h)
		if err != nil || e.Status != client.Final {
			left = append(left, h)
			continue
		}
		k.final = append(k.final, finalEntry{h, e.MessageID, e.Place.Position})
	}
	k.taken = left
	return len(left)
}

// heads are the distinct origin, size and root of the nodes' newest certified checkpoints.
func (k *crash) heads(ctx context.Context) ([]string, error) {
	var heads []string
	seen := map[string]bool{}
	for _, node := range k.net.Nodes {
		note, err := node.Client.LogCheckpoint(ctx)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", node.Name, err)
		}
		lines := strings.SplitN(string(note), "\n", 4)
		head := strings.Join(lines[:min(3, len(lines))], " ")
		if !seen[head] {
			seen[head] = true
			heads = append(heads, head)
		}
	}
	return heads, nil
}

// examineLog computes one node's whole log anew and looks up every final entry's message at its place.
func (k *crash) examineLog(ctx context.Context, node *testnet.Node) error {
	note, err := node.Client.LogCheckpoint(ctx)
	if err != nil {
		return err
	}
	head, _, err := receipt.OpenNote(k.net.Genesis, note)
	if err != nil {
		return err
	}
	ids := make([]tangle.ID, 0, head.Size)
	_, err = client.LogCheck{
		Source: node.Client, Size: tangle.Position(head.Size), Root: head.Root,
		Leaf: func(_ tangle.Position, leaf []byte) error {
			_, id, _, err := receipt.ParseLeaf(leaf)
			ids = append(ids, id)
			return err
		},
	}.Run(ctx)
	if err != nil {
		k.violate("%s: %s", node.Name, err)
		return nil
	}
	lost := 0
	for _, e := range k.final {
		if uint64(e.position) >= head.Size || ids[e.position] != e.message {
			lost++
		}
	}
	if lost > 0 {
		k.violate("%s lost %d final entries", node.Name, lost)
	}
	k.report.Lost = max(k.report.Lost, lost)
	k.report.LogSize = tangle.Position(head.Size)
	return nil
}

// examineReceipts fetches receipts of entries chosen at random from all nodes in turn.
func (k *crash) examineReceipts(ctx context.Context) error {
	for i := range min(crashSamples, len(k.final)) {
		e := k.final[k.random.IntN(len(k.final))]
		node := k.net.Nodes[i%len(k.net.Nodes)]
		file, err := node.Client.Receipt(ctx, e.hash)
		if err != nil {
			k.violate("%s has no receipt of %s: %s", node.Name, e.hash, err)
			continue
		}
		report, err := receipt.Verify(k.net.Genesis, file)
		if err != nil || !report.Verified {
			k.violate("%s: receipt of %s does not verify: %v", node.Name, e.hash, err)
			continue
		}
		k.report.Receipts++
	}
	return nil
}
