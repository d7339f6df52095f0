package node

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"testing"
	"time"

	"weft/config/genesis"
	"weft/gossip/wire"
	"weft/internal/store"
	"weft/plugins"
	"weft/tangle"
)

// names is a ledger plugin: a name belongs to who was first to claim it.
func names() plugins.Maker {
	return plugins.Maker{Name: "names", Open: opens(plugins.Plugin{
		Kinds: []tangle.Kind{1024},
		Check: func(_ tangle.Kind, data []byte) (plugins.Op, error) {
			if len(data) == 0 {
				return nil, plugins.Reject("bad_value", "empty name")
			}
			return string(data), nil
		},
		Admit: func(v plugins.Reader, op plugins.Op) error { return taken(v, op.(string)) },
		Apply: func(s plugins.State, e plugins.Ordered) error {
			if err := taken(s, e.Op.(string)); err != nil {
				return err
			}
			s.Set([]byte(e.Op.(string)), e.Author[:])
			return nil
		},
	})}
}

func taken(v plugins.View, name string) error {
	if v.Get([]byte(name)) != nil {
		return plugins.Reject("name_taken", "")
	}
	return nil
}

// runWithPlugins runs four nodes over loopback that have a ledger plugin.
func runWithPlugins(t *testing.T, makers ...plugins.Maker) []*Node {
	t.Helper()
	w := newNetwork(t, 4)
	w.genesis.Time = tangle.TimeOf(time.Now().Add(-time.Minute))
	for _, m := range makers {
		w.genesis.Plugins = append(w.genesis.Plugins, genesis.Plugin{Name: m.Name})
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 4)
	var nodes []*Node
	var peers []wire.Peer
	for _, key := range w.keys {
		n, err := Open(Config{
			Genesis: w.genesis, Key: key, Store: store.NewMemory(), Tuning: DefaultTuning(), Makers: makers, API: apiConfig(),
			Listen: []string{"/ip4/127.0.0.1/tcp/0"}, Peers: peers, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		})
		if err != nil {
			t.Fatal(err)
		}
		nodes, peers = append(nodes, n), append(peers, wire.Peer{Member: n.self, Addrs: n.WireAddrs()})
		go func() { done <- n.Run(ctx) }()
	}
	t.Cleanup(func() {
		cancel()
		for range nodes {
			if err := <-done; err != nil {
				t.Errorf("node: %v", err)
			}
		}
	})
	return nodes
}

// claimedNames is how many are claimed.
const claimedNames = 8

// TestFirstWinsEverywhere has all four members claim the same names at the same time.
func TestFirstWinsEverywhere(t *testing.T) {
	nodes := runWithPlugins(t, names())
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for _, n := range nodes {
		publish(t, n, "ready")
	}
	claims := make([]chan nameClaim, len(nodes))
	for i, n := range nodes {
		claims[i] = make(chan nameClaim, claimedNames)
		go func() {
			for k := range claimedNames {
				claims[i] <- claimName(ctx, n, fmt.Sprint("name", k))
			}
		}()
	}
	for k := range claimedNames {
		winners, late := 0, 0
		for i := range nodes {
			c := <-claims[i]
			switch {
			case c.err != nil && codeOf(c.err) == "name_taken":
				late++ // told early, by Admit
				continue
			case c.err != nil:
				t.Fatal(c.err)
			}
			wantOutcome(t, ctx, nodes, c)
			if c.code == "" {
				winners++
			}
		}
		if winners != 1 || late > 3 {
			t.Fatalf("name %d: %d winners", k, winners)
		}
	}
	wantSameState(t, nodes)
}

// nameClaim is what came of one.
type nameClaim struct {
	hash tangle.Hash
	code string
	err  error
}

func claimName(ctx context.Context, n *Node, name string) (c nameClaim) {
	in, hashes, err := n.Publish(ctx, []plugins.Submission{{Kind: 1024, Data: []byte(name)}})
	if err == nil {
		c.hash = hashes[0]
		err = n.WaitFinal(ctx, hashes, in)
	}
	if err != nil {
		return nameClaim{err: err}
	}
	e, err := n.Entry(c.hash)
	if err != nil {
		return nameClaim{err: err}
	}
	c.code = e.Settled.Codes[e.Index]
	return c
}

// wantOutcome waits until all nodes have the entry final, and compares.
func wantOutcome(t *testing.T, ctx context.Context, nodes []*Node, c nameClaim) {
	t.Helper()
	if c.code != "" && c.code != "name_taken" {
		t.Fatalf("outcome %q", c.code)
	}
	for _, n := range nodes {
		if err := waitKnown(ctx, n, c.hash); err != nil {
			t.Fatal(err)
		}
		if e, err := n.Entry(c.hash); err != nil || e.Settled.Codes[e.Index] != c.code {
			t.Fatalf("outcome differs: %v %q, want %q", err, e.Settled.Codes, c.code)
		}
	}
}

// wantSameState compares what the plugin has stored on each node; all that was published is final.
func wantSameState(t *testing.T, nodes []*Node) {
	t.Helper()
	var first []string
	for i, n := range nodes {
		var state []string
		n.PluginView("names").Scan(nil, nil, func(k, v []byte) bool {
			state = append(state, fmt.Sprintf("%s=%x", k, v))
			return true
		})
		if i == 0 {
			first = state
		}
		if len(state) != claimedNames || !slices.Equal(state, first) {
			t.Errorf("node %d holds %d names, want those of node 0", i, len(state))
		}
	}
}
