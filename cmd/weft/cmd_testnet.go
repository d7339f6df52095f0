package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"weft/client"
	"weft/testnet"
)

// startTimeout is how long the nodes of a testnet may take until they serve.
const startTimeout = 60 * time.Second

func newTestnetCommand(s *shell) *cobra.Command {
	t := testnetCommand{shell: s}
	c := &cobra.Command{
		Use:   "testnet",
		Short: "run a network of several members on this machine",
		Long: `Makes keys, genesis and settings for several members and runs each as a process of its
own on 127.0.0.1. Ctrl-C ends all of them. With --dir the data stays and the same network
goes on next time; without, it goes into a temporary folder that is removed at the end.

Each node's words are in node.log of its folder. Kill one with kill -9 and see the others
go on; with a second one gone nothing becomes final until it is back.`,
		Example: `  weft testnet
  weft testnet -n 7 --dir net --base-port 9000
  weft message send note.txt --api http://127.0.0.1:9000 --wait final`,
		RunE: func(c *cobra.Command, _ []string) error { return t.run(c.Context()) },
	}
	t.flags(c)
	c.AddCommand(newTestnetMakeCommand(s), newDemoCommand(s))
	return c
}

func newTestnetMakeCommand(s *shell) *cobra.Command {
	t := testnetCommand{shell: s}
	c := &cobra.Command{
		Use:   "make --dir DIR",
		Short: "only write the files of a network, for containers or other machines",
		Long: `Writes the folders node0, node1, ... and runs nothing. In the addresses %d stands for the
node's number.`,
		Example: `  weft testnet make --dir net --listen 0.0.0.0:7600 --advertise node%d:7600 --api-listen 0.0.0.0:8080`,
		RunE: func(*cobra.Command, []string) error {
			if s.dir == "" {
				return usage("--dir is missing: where to?")
			}
			return t.makeOnly()
		},
	}
	t.flags(c)
	c.Flags().StringVar(&t.options.Listen, "listen", "", "where a node listens for peers")
	c.Flags().StringVar(&t.options.Advertise, "advertise", "", "where the others dial it")
	c.Flags().StringVar(&t.options.APIListen, "api-listen", "", "where its API listens, in plain HTTP")
	c.Flags().BoolVar(&t.once, "once", false, "leave a network that is there already as it is")
	return c
}

type testnetCommand struct {
	*shell
	options testnet.Options
	set     []string
	once    bool
}

func (t *testnetCommand) flags(c *cobra.Command) {
	f := c.Flags()
	f.IntVarP(&t.options.Nodes, "nodes", "n", 4, "number of nodes")
	f.IntVar(&t.options.BasePort, "base-port", 0, "port of the first API; peers are 100 higher (default: free ports)")
	f.StringVar(&t.options.Network, "network", "testnet", "name of the network")
	f.StringArrayVar(&t.set, "set", nil, "a setting of every node, such as log.level=debug; may be repeated")
}

func (t *testnetCommand) makeOnly() error {
	if err := t.makeIn(t.dir); err != nil && !(t.once && errors.Is(err, testnet.ErrThere)) {
		return err
	}
	net, err := testnet.Open(t.dir)
	if err != nil {
		return err
	}
	if t.json {
		return t.printJSON(map[string]any{"network": net.Genesis.Network, "networkId": net.Genesis.ID(), "dir": t.dir, "nodes": len(net.Nodes)})
	}
	t.print("network %s of %d nodes in %s\nid      %s\n", net.Genesis.Network, len(net.Nodes), t.dir, net.Genesis.ID())
	return nil
}

func (t *testnetCommand) makeIn(dir string) error {
	set, err := pairs(t.set)
	if err != nil {
		return err
	}
	t.options.Settings = set
	return testnet.Make(dir, t.options)
}

func (t *testnetCommand) run(ctx context.Context) error {
	net, remove, err := t.open()
	if err != nil {
		return err
	}
	defer remove()
	defer net.Stop()
	t.print("starting %d nodes in %s ...\n", len(net.Nodes), net.Dir)
	if err := startAll(ctx, net); err != nil || ctx.Err() != nil {
		return err
	}
	t.announce(net)
	t.watch(ctx, net)
	t.print("\nstopping ...\n")
	return nil
}

// open makes the network, or opens the one that is in the folder.
func (t *testnetCommand) open() (*testnet.Network, func(), error) {
	dir, remove := t.dir, func() {}
	if dir == "" {
		temporary, err := os.MkdirTemp("", "weft-testnet-")
		if err != nil {
			return nil, nil, err
		}
		dir, remove = temporary, func() { os.RemoveAll(temporary) }
	}
	_, err := os.Stat(filepath.Join(dir, "genesis.json"))
	if errors.Is(err, fs.ErrNotExist) {
		err = t.makeIn(dir)
	}
	if err != nil {
		remove()
		return nil, nil, err
	}
	net, err := testnet.Open(dir)
	if err != nil {
		remove()
	}
	return net, remove, err
}

// startAll starts the nodes and waits until all serve. The caller stops them, also after an error.
func startAll(ctx context.Context, net *testnet.Network) error {
	if err := net.Start(); err != nil {
		return err
	}
	ready, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	err := net.WaitReady(ready)
	if ctx.Err() != nil {
		return nil // Ctrl-C while starting is no failure
	}
	return err
}

func (t *testnetCommand) announce(net *testnet.Network) {
	first := net.Nodes[0]
	t.print("\nnetwork %s is up: %s\n", net.Genesis.Network, net.Genesis.ID())
	for _, node := range net.Nodes {
		t.print("  %s  %s  docs %s/docs\n", node.Name, node.API, node.API)
	}
	t.print("\ntry in another terminal:\n  echo hello | weft message send --wait final --api %s\n  weft node --api %s\n\n", first.API, first.API)
}

// row is one node in the table.
type row struct {
	Name     string  `json:"name"`
	PID      int     `json:"pid"` // 0: not running
	API      string  `json:"api"`
	Position uint64  `json:"position"`
	Final    uint64  `json:"final"`
	Peers    int     `json:"peers"`
	RSS      uint64  `json:"rssBytes"`
	CPU      float64 `json:"cpuSeconds"`
	Error    string  `json:"error,omitempty"`
}

// watch shows the nodes until ctx ends: a table that stays in place on a terminal, else a line now and then.
func (t *testnetCommand) watch(ctx context.Context, net *testnet.Network) {
	live := onTerminal(t.out) && !t.json
	every := 10 * time.Second
	if live || t.json {
		every = time.Second
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	drawn := 0
	for ctx.Err() == nil {
		rows := status(ctx, net)
		switch {
		case t.json:
			t.printJSON(map[string]any{"time": time.Now().UTC(), "nodes": rows})
		case live:
			text := drawTable(rows)
			if drawn > 0 {
				t.print("\x1b[%dA\x1b[J", drawn)
			}
			t.print("%s", text)
			drawn = strings.Count(text, "\n")
		default:
			t.print("%s\n", statusLine(rows))
		}
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}

// status asks every node; one that does not answer in time shows why.
func status(ctx context.Context, net *testnet.Network) []row {
	ctx, cancel := context.WithTimeout(ctx, 800*time.Millisecond)
	defer cancel()
	rows := make([]row, len(net.Nodes))
	done := make(chan struct{})
	for i, node := range net.Nodes {
		go func() {
			rows[i] = nodeRow(ctx, node)
			done <- struct{}{}
		}()
	}
	for range net.Nodes {
		<-done
	}
	return rows
}

func nodeRow(ctx context.Context, node *testnet.Node) row {
	usage := node.Usage()
	r := row{Name: node.Name, PID: node.PID(), API: node.API, RSS: usage.RSS, CPU: usage.CPU.Seconds()}
	if r.PID == 0 {
		r.Error = "ended"
		if err := node.Ended(); err != nil {
			r.Error = "ended: " + err.Error()
		}
		return r
	}
	var facts client.Node
	facts, err := node.Client.Node(ctx)
	if err != nil {
		r.Error = "no answer"
		return r
	}
	r.Position, r.Final, r.Peers = uint64(facts.Position), uint64(facts.Final), facts.Peers
	if !facts.Quorum {
		r.Error = "no quorum"
	}
	return r
}

func drawTable(rows []row) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tPID\tAPI\tPOSITION\tFINAL\tPEERS\tMEMORY\tCPU\t")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%d\t%s\t%d\t%d\t%d\t%d MiB\t%.1f s\t%s\n", r.Name, r.PID, r.API, r.Position, r.Final, r.Peers, r.RSS>>20, r.CPU, r.Error)
	}
	w.Flush()
	return b.String()
}

func statusLine(rows []row) string {
	parts := []string{time.Now().UTC().Format("15:04:05")}
	for _, r := range rows {
		part := fmt.Sprintf("%s %d final, %d MiB", r.Name, r.Final, r.RSS>>20)
		if r.Error != "" {
			part = r.Name + " " + r.Error
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, " | ")
}

// onTerminal says whether w is a terminal that people look at.
func onTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd()) && os.Getenv("TERM") != "dumb"
}
