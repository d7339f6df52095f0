package node

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"time"

	"go.uber.org/goleak"

	"weft/gossip"
	"weft/gossip/wire"
	"weft/internal/store"
	"weft/tangle"
)

// Every node that a test runs must end without leaving a goroutine.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func frameWith(m *tangle.Message) gossip.Frame {
	return gossip.Frame{Messages: &gossip.Messages{List: []*tangle.Message{m}}}
}

func TestNodeStopsWhenTheStoreFails(t *testing.T) {
	g, key := oneMember()
	disk := store.NewMemory()
	n, err := Open(Config{
		Genesis: g, Key: key, Store: disk, Tuning: DefaultTuning(), API: apiConfig(), Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- n.Run(context.Background()) }()
	publish(t, n, "alive")
	if err := disk.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, store.ErrClosed) {
		t.Errorf("Run: %v, want the store's error", err)
	}
	if _, _, err := n.Publish(context.Background(), nil); codeOf(err) != "shutting_down" {
		t.Errorf("Publish afterwards: %v", err)
	}
}

// runFirst runs the first node of a network, alone.
func runFirst(t *testing.T, w *network) *Node {
	t.Helper()
	n, err := Open(Config{
		Genesis: w.genesis, Key: w.keys[0], Store: store.NewMemory(), Tuning: DefaultTuning(), API: apiConfig(),
		Listen: []string{"/ip4/127.0.0.1/tcp/0"}, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	runToEnd(t, n)
	return n
}

// TestFaultyPeerIsDropped lets a member send a message with a bad signature over a real connection.
func TestFaultyPeerIsDropped(t *testing.T) {
	w := newNetwork(t, 4)
	n := runFirst(t, w)
	states := make(chan bool, 16)
	liar, err := wire.Open(wire.Config{
		Key: w.keys[1], Network: w.genesis.ID(), Peers: []wire.Peer{{Member: n.self, Addrs: n.WireAddrs()}},
		Allowed: func(tangle.Member) bool { return true },
		OnFrame: func(tangle.Member, wire.Lane, []byte) {},
		OnPeer:  func(_ tangle.Member, connected bool) { states <- connected },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	ended := make(chan error, 1)
	go func() { ended <- liar.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	want := func(connected bool) {
		t.Helper()
		select {
		case got := <-states:
			if got != connected {
				t.Fatalf("connected %v, want %v", got, connected)
			}
		case <-ctx.Done():
			t.Fatal("nothing happened")
		}
	}
	want(true)
	m := sealTest(t, w, 1, 1)
	raw := bytes.Clone(m.Bytes())
	raw[len(m.HeaderBytes())] ^= 1 // the signature's first byte
	liar.Send(n.self, wire.LaneBulk, frameOf(raw))
	want(false)
	if n.counters.faults.Load() != 1 {
		t.Errorf("%d faults counted, want 1", n.counters.faults.Load())
	}
	for _, p := range n.Peers() {
		if p.Member == core2member(w, 1) && !p.RefusedUntil.After(time.Now()) {
			t.Errorf("peer %+v is not refused", p)
		}
	}
}
