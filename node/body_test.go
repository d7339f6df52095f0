package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"weft/config"
	"weft/gossip"
	"weft/gossip/wire"
	"weft/internal/store"
	"weft/plugins"
	"weft/receipt"
	"weft/tangle"
)

// openNodes opens n nodes that reach each other over loopback, and runs them until the test ends.
func openNodes(t testing.TB, n int) []*Node {
	t.Helper()
	w := newNetwork(t, n) // for genesis and keys
	w.genesis.Time = tangle.TimeOf(time.Now().Add(-time.Minute))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, n)
	nodes := make([]*Node, n)
	var peers []wire.Peer
	for i := range n {
		c := Config{
			Genesis: w.genesis, Key: w.keys[i], Store: diskStore(t), Tuning: DefaultTuning(),
			Listen: []string{"/ip4/127.0.0.1/tcp/0"}, Peers: peers, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
			API: APIConfig{API: config.API{Listen: "127.0.0.1:0", Read: config.AccessOpen, Submit: config.AccessOpen}},
		}
		node, err := Open(c)
		if err != nil {
			t.Fatal(err)
		}
		nodes[i] = node
		peers = append(peers, wire.Peer{Member: node.self, Addrs: node.WireAddrs()})
		go func() { done <- node.Run(ctx) }()
	}
	t.Cleanup(func() {
		cancel()
		for range n {
			if err := <-done; err != nil {
				t.Errorf("node: %v", err)
			}
		}
	})
	return nodes
}

// diskStore is a Badger in the test's folder.
func diskStore(t testing.TB) store.Store {
	t.Helper()
	s, err := store.OpenBadger(store.BadgerConfig{Dir: t.TempDir(), Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// publish waits until the node takes entries: a fresh one first hears from a quorum.
func publish(t testing.TB, n *Node, text string) tangle.Hash {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for {
		changed := n.Changed()
		_, hashes, err := n.Publish(ctx, []plugins.Submission{{Kind: tangle.KindData, Data: Data{"test", []byte(text)}.Encode()}})
		if err == nil {
			return hashes[0]
		}
		if r := plugins.Rejected(err); r == nil || r.Code != "no_quorum" {
			t.Fatal(err)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatal("the node never became ready")
		}
	}
}

func TestFourNodesOverLoopback(t *testing.T) {
	nodes := openNodes(t, 4)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for i := range 40 {
		from, to := nodes[i%4], nodes[(i+1)%4]
		h := publish(t, from, fmt.Sprint(i))
		if err := from.WaitFinal(ctx, []tangle.Hash{h}, tangle.ID{}); err != nil {
			t.Fatalf("entry %d: %v", i, err)
		}
		if err := waitKnown(ctx, to, h); err != nil {
			t.Fatalf("entry %d on another node: %v", i, err)
		}
		b, err := to.Receipt(h)
		if err != nil {
			t.Fatal(err)
		}
		if report, err := receipt.Verify(to.genesis, b); err != nil || !report.Verified {
			t.Fatalf("receipt: %v %+v", err, report)
		}
	}
}

// waitKnown waits until a node has an entry final that another one published.
func waitKnown(ctx context.Context, n *Node, h tangle.Hash) error {
	for {
		changed := n.Changed()
		if rec, err := n.Entry(h); err == nil && rec.Settled.Status == StatusFinal {
			return nil
		} else if err != nil && !errors.Is(err, ErrUnknown) {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// networkWithMessage is a network in which member 1 has published a message.
func networkWithMessage(t *testing.T) (*network, *tangle.Message) {
	t.Helper()
	w := newNetwork(t, 4)
	w.run(2 * time.Second)
	w.submit(1, "x")
	w.run(100 * time.Millisecond)
	id, err := w.cores[0].Ledger().AtPosition(0)
	if err != nil {
		t.Fatal(err)
	}
	m, _, err := w.cores[0].Ledger().Message(id)
	if err != nil {
		t.Fatal(err)
	}
	return w, m
}

func TestVerifierDropsBadSignatures(t *testing.T) {
	w, m := networkWithMessage(t)
	v := newVerifier(w.genesis, 1, nil)
	raw := func(change int) []byte {
		b := append([]byte(nil), m.Bytes()...)
		if change >= 0 {
			b[change] ^= 1
		}
		return frameOf(b)
	}
	if f, err := v.frame(gossip.LaneBulk, core2member(w, 1), raw(-1)); err != nil || len(f.Ops) != 1 || f.Ops[0] == nil {
		t.Fatalf("good frame: %v %+v", err, f)
	}
	if f, err := v.frame(gossip.LaneBulk, core2member(w, 1), raw(-1)); err != nil || f.Ops[0] != nil {
		t.Fatalf("copy: %v, checks made again", err)
	}
	for i := range m.Bytes() {
		if _, err := v.frame(gossip.LaneBulk, core2member(w, 1), raw(i)); err == nil {
			t.Fatalf("frame with byte %d changed passes", i)
		}
	}
}

// TestVerifierLeavesOutWhatIsEarly: a node that is far behind takes what helps it, and not what a peer pushes meanwhile.
func TestVerifierLeavesOutWhatIsEarly(t *testing.T) {
	w, m := networkWithMessage(t)
	at := func(behind uint64, early time.Duration) CoreStatus {
		return CoreStatus{Behind: behind, Time: m.Header.Time.Add(-earlyAfter - early)}
	}
	for _, c := range []struct {
		name   string
		status CoreStatus
		lane   gossip.Lane
		from   int
		upto   uint64
		want   int
	}{
		{"pushed early", at(farBehind+1, time.Millisecond), gossip.LaneBulk, 1, 0, 0},
		{"pushed in time", at(farBehind+1, 0), gossip.LaneBulk, 1, 0, 1},
		{"not far behind", at(farBehind, time.Hour), gossip.LaneBulk, 1, 0, 1},
		{"from another", at(farBehind+1, time.Hour), gossip.LaneBulk, 2, 0, 1},
		{"the end of an answer", at(farBehind+1, time.Hour), gossip.LaneBulk, 1, 5, 1},
		{"asked for", at(farBehind+1, time.Hour), gossip.LaneWitness, 1, 0, 1},
	} {
		v := newVerifier(w.genesis, 1, nil)
		v.note(c.status)
		raw := gossip.Frame{Messages: &gossip.Messages{Upto: c.upto, Raw: []gossip.Raw{{Message: m.Bytes()}}}}.Bytes()
		f, err := v.frame(c.lane, core2member(w, c.from), raw)
		if err != nil || len(f.Frame.Messages.List) != c.want || f.Frame.Messages.Upto != c.upto {
			t.Errorf("%s: %v, %d messages, want %d", c.name, err, len(f.Frame.Messages.List), c.want)
		}
	}
}

func frameOf(raw []byte) []byte {
	return gossip.Frame{Messages: &gossip.Messages{Raw: gossip.Whole(raw)}}.Bytes()
}
