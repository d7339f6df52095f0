// Package nodetest runs the nodes of a network in a test's process, with the plugins that the test gives them, and asks them
// over HTTP as a client does.
//
// It is for tests of plugins that need whole nodes: wires, stores and APIs are real, and so is time. What a plugin must be
// without a node is the business of plugintest, what a network must be under faults that of the simulation. No node imports
// it.
package nodetest

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"time"

	"weft/config"
	"weft/config/genesis"
	"weft/gossip/wire"
	"weft/internal/store"
	"weft/node"
	"weft/plugins"
	"weft/tangle"
)

// Network is some members' nodes in this process, all of them validators.
type Network struct {
	Genesis *genesis.Genesis
	Nodes   []*node.Node // that run, in the order of their members
	HTTP    *http.Client // follows no redirects
	Stop    func()       // stops all nodes and closes their stores; also at the end of the test

	t    testing.TB
	keys []ed25519.PrivateKey // of all members
	ends []ending
}

// ending is how a node ends: it is told to, and has closed its store.
type ending struct {
	cancel context.CancelFunc
	await  func()
}

// New makes a network of which no node runs yet.
func New(t testing.TB, members int, plugins ...genesis.Plugin) *Network {
	t.Helper()
	w := &Network{t: t, Genesis: &genesis.Genesis{
		Version: genesis.Version, Network: "test", Time: tangle.TimeOf(time.Now().Add(-time.Minute)),
		Limits: tangle.DefaultLimits(), Consensus: genesis.DefaultConsensus(), Plugins: plugins,
	}}
	for i := range members {
		seed := sha256.Sum256(fmt.Appendf(nil, "member %d", i))
		w.keys = append(w.keys, ed25519.NewKeyFromSeed(seed[:]))
		member := genesis.Member{Key: config.MemberOf(w.keys[i]), Name: fmt.Sprint("m", i), Roles: []string{genesis.RoleValidator}}
		w.Genesis.Members = append(w.Genesis.Members, member)
	}
	w.HTTP = &http.Client{
		Timeout: 60 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	w.Stop = sync.OnceFunc(w.stop)
	t.TempDir() // before the line below: folders must outlive the stores in them
	t.Cleanup(func() { w.Stop() })
	return w
}

func (w *Network) stop() {
	for _, end := range w.ends {
		end.cancel()
	}
	for _, end := range w.ends {
		end.await()
	}
	w.HTTP.CloseIdleConnections()
}

// Next is how the next member's node opens, unless the test changes it: with an empty store in memory, an API on loopback
// that is open to all, and the nodes that run as its peers.
func (w *Network) Next(makers ...plugins.Maker) node.Config {
	api := config.Default().API
	api.Listen, api.Read, api.Submit, api.Limits = "127.0.0.1:0", config.AccessOpen, config.AccessOpen, config.Limits{}
	c := node.Config{
		Genesis: w.Genesis, Key: w.keys[len(w.Nodes)], Store: store.NewMemory(), Tuning: node.DefaultTuning(), Makers: makers,
		API: node.APIConfig{API: api}, Listen: []string{"/ip4/127.0.0.1/tcp/0"}, Log: slog.New(slog.DiscardHandler),
	}
	for i, other := range w.Nodes {
		c.Peers = append(c.Peers, wire.Peer{Member: w.Genesis.Members[i].Key, Addrs: other.WireAddrs()})
	}
	return c
}

// Open lets the next member's node run.
func (w *Network) Open(c node.Config) {
	w.t.Helper()
	i := len(w.Nodes)
	n, err := node.Open(c)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	w.Nodes = append(w.Nodes, n)
	w.ends = append(w.ends, ending{cancel, func() {
		if err := errors.Join(<-done, c.Store.Close()); err != nil {
			w.t.Errorf("node %d: %v", i, err)
		}
	}})
}

// Halt stops the node that was opened last.
func (w *Network) Halt() {
	i := len(w.Nodes) - 1
	w.ends[i].cancel()
	w.ends[i].await()
	w.Nodes, w.ends = w.Nodes[:i], w.ends[:i]
}

// AwaitQuorum returns when these nodes take entries: a fresh one first hears from a quorum.
func (w *Network) AwaitQuorum(nodes ...*node.Node) {
	w.t.Helper()
	for _, n := range nodes {
		w.awaitQuorum(n)
	}
}

func (w *Network) awaitQuorum(n *node.Node) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	for {
		changed := n.Changed()
		_, _, err := n.Publish(ctx, []plugins.Submission{{Kind: tangle.KindData, Data: node.Data{Tag: "test", Bytes: []byte("ready")}.Encode()}})
		if err == nil {
			return
		}
		if r := plugins.Rejected(err); r == nil || r.Code != "no_quorum" {
			w.t.Fatal(err)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			w.t.Fatal("the node never became ready")
		}
	}
}

// Settle returns when every node has applied what any of them had applied and called final.
func (w *Network) Settle() {
	w.t.Helper()
	var most tangle.Position
	for _, n := range w.Nodes {
		most = max(most, n.Ledger.Head().Position)
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	for _, n := range w.Nodes {
		for {
			changed := n.Changed()
			if n.Ledger.Head().Final >= most {
				break
			}
			select {
			case <-changed:
			case <-ctx.Done():
				w.t.Fatal("the nodes never came to the same place")
			}
		}
	}
}
