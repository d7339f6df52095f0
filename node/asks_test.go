package node

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"sync"
	"testing"
	"time"

	"weft/gossip"
	"weft/plugins"
	"weft/tangle"
)

// TestPluginsAskEachOther asks the plugin of every other member over loopback.
func TestPluginsAskEachOther(t *testing.T) {
	var mu sync.Mutex // guards hosts
	var hosts []plugins.Host
	echo := plugins.Maker{Name: "echo", Open: func(h plugins.Host) (plugins.Plugin, error) {
		mu.Lock()
		defer mu.Unlock()
		hosts = append(hosts, h)
		p := ledgerPluginOf(1024)
		p.Answer = func(_ context.Context, from tangle.Member, question []byte) ([]byte, error) {
			if len(question) == 0 {
				return nil, plugins.Reject("bad_value", "nothing asked")
			}
			return append(h.Self[:1:1], append(from[:1:1], question...)...), nil
		}
		return p, nil
	}}
	nodes := runWithPlugins(t, echo)
	publish(t, nodes[0], "they have met")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	large := bytes.Repeat([]byte{7}, MaxAskBytes-2)
	for _, h := range hosts[1:] {
		for _, question := range [][]byte{[]byte("x"), large} {
			got, err := h.Ask(ctx, hosts[0].Self, question)
			if want := append([]byte{hosts[0].Self[0], h.Self[0]}, question...); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("got %d bytes, %v", len(got), err)
			}
		}
		if _, err := h.Ask(ctx, hosts[0].Self, nil); codeOf(err) != "bad_value" {
			t.Errorf("a refused question: %v", err)
		}
		if _, err := h.Ask(ctx, hosts[0].Self, make([]byte, MaxAskBytes+1)); codeOf(err) != "too_large" {
			t.Errorf("a large question: %v", err)
		}
	}
	if len(hosts[0].Members) != 4 || hosts[0].Members[0].Name == "" {
		t.Errorf("members %v", hosts[0].Members)
	}
	statement, signature := []byte("it is so"), hosts[0].Sign([]byte("it is so"))
	if !ed25519.Verify(hosts[0].Self[:], plugins.StatementInput(hosts[0].Network, "echo", statement), signature[:]) {
		t.Error("the statement's signature does not verify")
	}
}

// TestAsksAreBounded fills the queue of those who ask, and asks nobody.
func TestAsksAreBounded(t *testing.T) {
	var sent []gossip.Frame
	a := newAsks(func(_ tangle.Member, _ gossip.Lane, raw []byte) {
		f, err := gossip.Parse(raw)
		if err != nil {
			t.Error(err)
		}
		sent = append(sent, f)
	})
	for i := range MaxAsksQueued + 3 { // nobody works
		a.take(tangle.Member{1}, gossip.Frame{Ask: &gossip.Ask{ID: uint64(i), Plugin: "x"}})
	}
	if len(sent) != 3 || sent[0].Reply.Code != "busy" {
		t.Errorf("%d replies, want 3 that say busy", len(sent))
	}
	for range MaxOpenAsks {
		if _, _, err := a.register(tangle.Member{2}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.ask(t.Context(), "x", tangle.Member{2}, nil); codeOf(err) != "busy" {
		t.Errorf("one question too many: %v", err)
	}
	a.take(tangle.Member{3}, gossip.Frame{Reply: &gossip.Reply{ID: 1}}) // not of who was asked
	if len(a.open) != MaxOpenAsks {
		t.Error("a stranger's reply was taken")
	}
	a.take(tangle.Member{2}, gossip.Frame{Reply: &gossip.Reply{ID: 1}})
	if len(a.open) != MaxOpenAsks-1 {
		t.Error("the reply was not taken")
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.ask(gone, "x", tangle.Member{2}, nil); err == nil || len(a.open) != MaxOpenAsks-1 {
		t.Errorf("a question given up: %v, %d wait", err, len(a.open))
	}
	if r := a.serve(t.Context(), askedBy{ask: gossip.Ask{ID: 4, Plugin: "nobody"}}); r.ID != 4 || r.Code != "not_found" {
		t.Errorf("unknown plugin: %+v", r)
	}
}
