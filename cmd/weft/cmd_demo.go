package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"weft/client"
	"weft/examples/eshop/agecheck"
	"weft/examples/soc/audittrail"
	"weft/receipt"
	"weft/testnet"
)

// The bounds of the demonstration's input; what is beyond them is left out.
const (
	MaxDemoLines     = 20_000
	MaxDemoLineBytes = 8 << 10
)

func newDemoCommand(s *shell) *cobra.Command {
	t := testnetCommand{shell: s}
	c := &cobra.Command{
		Use:   "demo [LOGFILE]",
		Short: "show what the network does, on a real log",
		Long: `Starts four validators, puts every line of a real log on the ledger as an audit entry
(the machine's package log, or 'git log' where there is none), kills one node with SIGKILL
in the middle, restarts it and waits until it has the same checkpoint, fetches a receipt,
checks it offline, changes one byte and shows that the check fails. Then an e-shop checks
its customers' age by credentials, and whatever can be wrong with one is refused. Then
security tools write log lines into an encrypted channel, which is followed, checked,
taken from a contractor and saved as evidence.

On a terminal it then keeps running until Ctrl-C; elsewhere it ends. Exit code 0 if every
step did what it says.`,
		Example: "  weft testnet demo\n  weft testnet demo access.log --dir net",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			d := demo{testnetCommand: t}
			return d.run(c.Context(), args)
		},
	}
	t.flags(c)
	return c
}

// demo is one run through the steps.
type demo struct {
	testnetCommand
	net    *testnet.Network
	source string
	lines  [][]byte
	step   int
	tour   *audittrail.Tour

	mu    sync.Mutex // guards what the senders gather
	times []time.Duration
	last  client.SubmittedEntry // of the newest answer
	final atomic.Int64          // entries
}

func (d *demo) run(ctx context.Context, args []string) error {
	if err := d.read(ctx, args); err != nil {
		return err
	}
	net, remove, err := d.open()
	if err != nil {
		return err
	}
	defer remove()
	d.net = net
	defer net.Stop()
	for _, step := range []func(context.Context) error{d.start, d.send, d.lone, d.sendWithOneKilled, d.restart, d.proof, d.ageCheck, d.auditTrail} {
		if err := step(ctx); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return errInterrupted
		}
	}
	d.announce(net)
	if onTerminal(d.out) && !d.json {
		d.print("everything worked; the network runs on until Ctrl-C\n\n")
		d.watch(ctx, net)
		return nil
	}
	net.Stop()
	if err := d.offline(); err != nil {
		return err
	}
	d.print("everything worked\n")
	if d.json {
		return d.printJSON(map[string]any{"networkId": net.Genesis.ID(), "source": d.source, "final": d.final.Load()})
	}
	return nil
}

// errInterrupted says that someone pressed Ctrl-C.
var errInterrupted = errors.New("interrupted")

func (d *demo) say(format string, args ...any) {
	d.step++
	d.print("\n%d. "+format+"\n", append([]any{d.step}, args...)...)
}

// read takes the lines of the file, of the package log, or of git's.
func (d *demo) read(ctx context.Context, args []string) error {
	const packages = "/var/log/dpkg.log"
	d.source = packages
	if len(args) == 1 {
		d.source = args[0]
	}
	text, err := os.ReadFile(d.source)
	if len(args) == 0 && (err != nil || len(text) == 0) {
		d.source = "git log"
		text, err = exec.CommandContext(ctx, "git", "log", "--stat").Output()
	}
	if err != nil {
		return fmt.Errorf("no log to show: %s: %w", d.source, err)
	}
	for line := range bytes.Lines(text) {
		if line = bytes.TrimSpace(line); len(line) > 0 && len(d.lines) < MaxDemoLines {
			d.lines = append(d.lines, line[:min(len(line), MaxDemoLineBytes)])
		}
	}
	if len(d.lines) < 2 {
		return fmt.Errorf("%s: want two lines or more", d.source)
	}
	return nil
}

func (d *demo) start(ctx context.Context) error {
	d.say("Start %d validators, each a process with its own key and folder", len(d.net.Nodes))
	began := time.Now()
	if err := startAll(ctx, d.net); err != nil {
		return err
	}
	for _, node := range d.net.Nodes {
		d.print("   %s  pid %d  %s\n", node.Name, node.PID(), node.API)
	}
	d.print("   ready after %s\n", seconds(time.Since(began)))
	return nil
}

// send puts the first half on the ledger, through all nodes.
func (d *demo) send(ctx context.Context) error {
	half := d.lines[:len(d.lines)/2]
	d.say("Put %d lines of %s on the ledger, through all %d nodes", len(half), d.source, len(d.net.Nodes))
	return d.sendAll(ctx, half, len(d.net.Nodes), nil)
}

// lone shows how long one entry takes when nobody else sends.
func (d *demo) lone(ctx context.Context) error {
	d.say("One entry alone, from sending to final")
	began := time.Now()
	if err := d.submit(ctx, d.net.Nodes[0].Client, [][]byte{[]byte("one line alone")}); err != nil {
		return err
	}
	d.print("   %d ms, position %d\n", time.Since(began).Milliseconds(), d.last.Place.Position)
	return nil
}

// sendWithOneKilled sends the other half through the nodes that live on.
func (d *demo) sendWithOneKilled(ctx context.Context) error {
	rest := d.lines[len(d.lines)/2:]
	victim := len(d.net.Nodes) - 1
	name := d.net.Nodes[victim].Name
	d.say("Kill %s with SIGKILL while %d more lines arrive at the others", name, len(rest))
	kill := func() error {
		d.print("   kill -9 %d (%s) after %d entries\n", d.net.Nodes[victim].PID(), name, d.final.Load())
		return d.net.Kill(victim)
	}
	if err := d.sendAll(ctx, rest, victim, kill); err != nil {
		return err
	}
	d.print("   nothing stopped: %d entries are final\n", d.final.Load())
	return nil
}

// sendAll sends the lines in batches through the first nodes, several requests at a time, and waits until all are final.
// When a third has been sent, halfway runs beside the sending.
func (d *demo) sendAll(ctx context.Context, lines [][]byte, nodes int, halfway func() error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	batches := batchesOf(lines)
	d.times = nil
	began := time.Now()
	var next atomic.Int64
	var senders sync.WaitGroup
	for i := range 4 * nodes {
		c := d.net.Nodes[i%nodes].Client
		senders.Go(func() {
			for n := next.Add(1) - 1; int(n) < len(batches) && ctx.Err() == nil; n = next.Add(1) - 1 {
				if int(n) == len(batches)/3 && halfway != nil {
					senders.Go(func() { stopOn(cancel, halfway()) })
				}
				stopOn(cancel, d.submit(ctx, c, batches[n]))
			}
		})
	}
	senders.Wait()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	took := time.Since(began)
	slices.Sort(d.times)
	d.print("   all final after %s: %.0f entries/s; from sending to final p50 %d ms, p99 %d ms\n", seconds(took),
		float64(len(lines))/took.Seconds(), at(d.times, 50).Milliseconds(), at(d.times, 99).Milliseconds())
	return nil
}

// batchesOf cuts the lines into what one request may hold.
func batchesOf(lines [][]byte) [][][]byte {
	var batches [][][]byte
	first, size := 0, 0
	for i, line := range lines {
		more := len(line) + entryJSONBytes
		if i-first == client.MaxBatch || size+more > MaxBatchInput {
			batches = append(batches, lines[first:i])
			first, size = i, 0
		}
		size += more
	}
	return append(batches, lines[first:])
}

func stopOn(cancel context.CancelCauseFunc, err error) {
	if err != nil {
		cancel(err)
	}
}

// at is the value below which percent of the sorted times lie.
func at(times []time.Duration, percent int) time.Duration {
	if len(times) == 0 {
		return 0
	}
	return times[(len(times)-1)*percent/100]
}

// submit sends one batch and waits until all of it is final and accepted.
func (d *demo) submit(ctx context.Context, c *client.Client, lines [][]byte) error {
	entries := make([]client.Entry, len(lines))
	for i, line := range lines {
		entry, err := client.DataEntry("audit", line)
		if err != nil {
			return err
		}
		entries[i] = entry
	}
	began := time.Now()
	answer, err := c.Submit(ctx, entries, client.Options{Final: client.MaxWait})
	if err != nil {
		return err
	}
	for _, e := range answer.Entries {
		if e.Status != client.Final || e.Outcome != "accepted" || e.Place == nil {
			return fmt.Errorf("entry %s is %s %s after %s, want final and accepted", e.EntryHash, e.Status, e.Outcome, time.Since(began))
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.times = append(d.times, time.Since(began))
	d.last = answer.Entries[len(answer.Entries)-1]
	d.final.Add(int64(len(lines)))
	return nil
}

// restart starts the killed node and waits until it shows the checkpoint that the others have.
func (d *demo) restart(ctx context.Context) error {
	victim := len(d.net.Nodes) - 1
	node, other := d.net.Nodes[victim], d.net.Nodes[0]
	d.say("Start %s again on what its disk has kept", node.Name)
	began := time.Now()
	if err := d.net.StartNode(victim); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := node.WaitReady(ctx); err != nil {
		return err
	}
	same, err := d.agree(ctx, node, other)
	if err != nil {
		return err
	}
	d.print("   caught up after %s: %s and %s have the same checkpoint, size %d, root %.16s...\n",
		seconds(time.Since(began)), node.Name, other.Name, same.Size, same.Root)
	return nil
}

// agree waits until two nodes hold checkpoints of one size, both signed by a quorum, and returns it if they are the same.
func (d *demo) agree(ctx context.Context, a, b *testnet.Node) (receipt.Checkpoint, error) {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		one, err := d.checkpoint(ctx, a)
		if err != nil {
			return one, err
		}
		two, err := d.checkpoint(ctx, b)
		if err != nil {
			return two, err
		}
		if one.Size == two.Size {
			if one.Root != two.Root {
				return one, fmt.Errorf("%s has root %s at size %d, %s has %s", a.Name, one.Root, one.Size, b.Name, two.Root)
			}
			return one, nil
		}
		select {
		case <-ctx.Done():
			return one, fmt.Errorf("%s is at size %d, %s at %d: %w", a.Name, one.Size, b.Name, two.Size, ctx.Err())
		case <-ticker.C:
		}
	}
}

// checkpoint is a node's newest one, its signatures checked here.
func (d *demo) checkpoint(ctx context.Context, node *testnet.Node) (receipt.Checkpoint, error) {
	note, err := node.Client.LogCheckpoint(ctx)
	if err != nil {
		return receipt.Checkpoint{}, err
	}
	c, _, err := receipt.OpenNote(d.net.Genesis, note)
	return c, err
}

// proof fetches the receipt of the last line and checks it with nothing but the genesis file.
func (d *demo) proof(ctx context.Context) error {
	d.say("A receipt for one line, checked offline with nothing but genesis.json")
	victim := d.net.Nodes[len(d.net.Nodes)-1]
	file, err := victim.Client.Receipt(ctx, d.last.EntryHash)
	if err != nil {
		return err
	}
	path := filepath.Join(d.net.Dir, "receipt.weft")
	if err := os.WriteFile(path, file, 0o644); err != nil {
		return err
	}
	report, err := receipt.Verify(d.net.Genesis, file)
	if err != nil || !report.Verified {
		return fmt.Errorf("the receipt of %s is %s", d.last.EntryHash, refusal(report, err))
	}
	d.print("   %s, %d bytes, from %s, which was dead when the line was sent\n   verified: entry %s\n",
		filepath.Base(path), len(file), victim.Name, d.last.EntryHash)
	forged := bytes.Clone(file)
	forged[len(forged)/2] ^= 1
	report, err = receipt.Verify(d.net.Genesis, forged)
	if err == nil && report.Verified {
		return errors.New("a receipt with a changed byte was taken for true")
	}
	d.print("   one byte changed: %s\n", refusal(report, err))
	return nil
}

// ageCheck tells the story of examples/eshop.
func (d *demo) ageCheck(ctx context.Context) error {
	d.say("an age check at an e-shop: identities, credentials, trust and revocation, over four members' nodes")
	tour := agecheck.Tour{Say: func(format string, args ...any) { d.print("   "+format+"\n", args...) }}
	for _, node := range d.net.Nodes {
		tour.Nodes = append(tour.Nodes, node.Client)
	}
	start := time.Now()
	if err := tour.Run(ctx); err != nil {
		return err
	}
	d.print("   no node saw a private key; the whole story took %.1f s; it is examples/eshop\n", time.Since(start).Seconds())
	return nil
}

// auditTrail tells the story of examples/soc.
func (d *demo) auditTrail(ctx context.Context) error {
	d.say("an audit trail of security tools: an encrypted channel, its rights enforced by every node")
	tour := audittrail.Tour{Lines: d.lines, Say: func(format string, args ...any) { d.print("   "+format+"\n", args...) }}
	for _, node := range d.net.Nodes {
		tour.Nodes = append(tour.Nodes, node.Client)
	}
	var err error
	if tour.Genesis, err = os.ReadFile(filepath.Join(d.net.Dir, "genesis.json")); err != nil {
		return err
	}
	if err := tour.Run(ctx); err != nil {
		return err
	}
	d.tour = &tour
	path := filepath.Join(d.net.Dir, "evidence.zip")
	d.print("   to check it yourself: weft channel verify %s --genesis %s\n", path, filepath.Join(d.net.Dir, "genesis.json"))
	return os.WriteFile(path, tour.Bundle, 0o644)
}

// offline checks the evidence once more: no node runs any longer.
func (d *demo) offline() error {
	report, err := d.tour.Verify(d.tour.Bundle)
	if err != nil || !report.Verified {
		return fmt.Errorf("the evidence is refused: %w %+v", err, report.Checks)
	}
	d.print("the network is stopped; the evidence of %d records verifies without it\n", report.Records)
	return nil
}

// refusal is why a receipt does not verify.
func refusal(report receipt.Report, err error) string {
	if err != nil {
		return "refused: " + err.Error()
	}
	for _, check := range report.Checks {
		if !check.OK {
			return "refused: " + check.Name + ": " + check.Detail
		}
	}
	return "refused"
}
