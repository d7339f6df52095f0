package node

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"weft/config/genesis"
	"weft/gossip"
	"weft/internal/store"
	"weft/receipt"
	"weft/tangle"
)

// network is a handful of Cores with perfect links and virtual time: the thinnest way to see the whole node work.
type network struct {
	t       testing.TB
	genesis *genesis.Genesis
	ledger  []CorePlugin
	keys    []ed25519.PrivateKey
	stores  []*store.Memory
	cores   []*Core // nil: down
	inbox   [][]Input
	now     tangle.Time
	wake    []tangle.Time
	events  [][]Event
	answers []Effects
}

const testStart tangle.Time = 1_800_000_000_000

func newNetwork(t testing.TB, n int, ledger ...CorePlugin) *network {
	t.Helper()
	w := &network{t: t, ledger: ledger, now: testStart, inbox: make([][]Input, n), wake: make([]tangle.Time, n), events: make([][]Event, n), answers: make([]Effects, n)}
	w.genesis = &genesis.Genesis{Version: 1, Network: "test", Time: testStart - 1000, Limits: tangle.DefaultLimits(), Consensus: genesis.DefaultConsensus()}
	for i := range n {
		seed := sha256.Sum256([]byte{byte(i)})
		key := ed25519.NewKeyFromSeed(seed[:])
		w.keys = append(w.keys, key)
		w.genesis.Members = append(w.genesis.Members, genesis.Member{
			Key: tangle.Member(key.Public().(ed25519.PublicKey)), Name: fmt.Sprintf("m%d", i), Roles: []string{genesis.RoleValidator},
		})
		w.stores = append(w.stores, store.NewMemory())
	}
	w.cores = make([]*Core, n)
	for i := range n {
		w.start(i)
	}
	return w
}

func (w *network) start(i int) {
	w.t.Helper()
	core, err := NewCore(CoreConfig{Genesis: w.genesis, Key: w.keys[i], Store: w.stores[i], Plugins: w.ledger, Tuning: DefaultTuning()}, w.now)
	if err != nil {
		w.t.Fatalf("open core %d: %v", i, err)
	}
	w.cores[i] = core
	w.wake[i] = w.now
	for j := range w.cores {
		if j != i && w.cores[j] != nil {
			w.inbox[i] = append(w.inbox[i], Input{Peer: &PeerChange{core2member(w, j), true}})
			w.inbox[j] = append(w.inbox[j], Input{Peer: &PeerChange{core2member(w, i), true}})
		}
	}
}

func (w *network) crash(i int) {
	w.cores[i], w.inbox[i] = nil, nil
	w.stores[i] = w.stores[i].Crash()
	for j := range w.cores {
		if w.cores[j] != nil {
			w.inbox[j] = append(w.inbox[j], Input{Peer: &PeerChange{core2member(w, i), false}})
		}
	}
}

func core2member(w *network, i int) tangle.Member { return w.genesis.Members[i].Key }

// run lets d of virtual time pass in steps of a millisecond.
func (w *network) run(d time.Duration) {
	w.t.Helper()
	for end := w.now.Add(d); w.now < end; w.now++ {
		for i, c := range w.cores {
			if c != nil && (len(w.inbox[i]) > 0 || w.now >= w.wake[i]) {
				w.step(i, c)
			}
		}
	}
}

func (w *network) step(i int, c *Core) Effects {
	w.t.Helper()
	in := w.inbox[i]
	w.inbox[i] = nil
	out, err := c.Step(w.now, in)
	if err != nil {
		w.t.Fatalf("core %d at %s: %v", i, w.now, err)
	}
	if len(out.Faults) > 0 {
		w.t.Fatalf("core %d finds faults: %v", i, out.Faults)
	}
	w.wake[i] = out.Wake
	if out.More {
		w.wake[i] = w.now
	} else if out.Wake == 0 {
		w.wake[i] = w.now.Add(time.Hour)
	}
	w.events[i] = append(w.events[i], out.Events...)
	w.answers[i].Accepted = append(w.answers[i].Accepted, out.Accepted...)
	w.answers[i].Refused = append(w.answers[i].Refused, out.Refused...)
	for _, e := range out.Send {
		w.deliver(i, e)
	}
	return out
}

func (w *network) deliver(from int, e gossip.Envelope) {
	w.t.Helper()
	for j := range w.cores {
		if j == from || w.cores[j] == nil || e.To != (tangle.Member{}) && e.To != core2member(w, j) {
			continue
		}
		f, err := gossip.Parse(e.Frame.Bytes())
		if err != nil {
			w.t.Fatalf("frame from %d: %v", from, err)
		}
		if f.Messages != nil {
			for _, raw := range f.Messages.Raw {
				m, err := w.cores[j].codec.ParseLeft(raw.Message)
				if err != nil {
					w.t.Fatalf("message from %d: %v", from, err)
				}
				f.Messages.List = append(f.Messages.List, m)
				if m.HasErased() || len(raw.Order) > 0 {
					one := PeerFrame{Frame: gossip.Frame{Messages: &gossip.Messages{Raw: []gossip.Raw{raw}}}}
					if err := newVerifier(w.genesis, 1, w.ledger).messages(&one); err != nil {
						w.t.Fatalf("erased message from %d: %v", from, err)
					}
				}
			}
		}
		w.inbox[j] = append(w.inbox[j], Input{Frame: &PeerFrame{From: core2member(w, from), Frame: f}})
	}
}

func (w *network) submit(i int, texts ...string) (hashes []tangle.Hash) {
	var entries []tangle.Entry
	for _, text := range texts {
		e := tangle.NewEntry(tangle.KindData, tangle.Salt{byte(len(w.inbox[i]))}, Data{"test", []byte(text)}.Encode())
		entries, hashes = append(entries, e), append(hashes, e.Hash)
	}
	w.inbox[i] = append(w.inbox[i], Input{Submit: &Submission{Ticket: uint64(len(w.answers[i].Accepted) + 1), Entries: entries}})
	return hashes
}

func (w *network) wantFinal(i int, h tangle.Hash) {
	w.t.Helper()
	rec, err := w.cores[i].Ledger().Entry(h)
	if err != nil || rec.Settled.Status != StatusFinal {
		w.t.Fatalf("entry %s on core %d: %v %q, want final; %+v", h, i, err, rec.Settled.Status, w.cores[i].Status())
	}
}

func TestEntryBecomesFinalEverywhere(t *testing.T) {
	w := newNetwork(t, 4)
	w.run(3 * time.Second)
	begin := w.now
	h := w.submit(2, "hello")[0]
	w.run(100 * time.Millisecond)
	for i := range w.cores {
		w.wantFinal(i, h)
	}
	for _, e := range w.events[2] {
		if e.Kind == EventFinal && e.Position == 1 {
			t.Logf("final after %s", e.Time.Sub(begin))
			break
		}
	}
	b, err := w.cores[0].Ledger().Receipt(h)
	if err != nil {
		t.Fatal(err)
	}
	report, err := receipt.Verify(w.genesis, b)
	if err != nil || !report.Verified {
		t.Fatalf("receipt: %v %+v", err, report)
	}
}

func TestRestartAndCatchUp(t *testing.T) {
	w := newNetwork(t, 4)
	w.run(2 * time.Second)
	var hashes []tangle.Hash
	for k := range 400 {
		switch k {
		case 100:
			w.crash(3)
		case 300:
			w.start(3)
		}
		hashes = append(hashes, w.submit(k%3, fmt.Sprint(k))...)
		w.run(10 * time.Millisecond)
	}
	w.run(3 * time.Second)
	for i := range w.cores {
		for _, h := range hashes {
			w.wantFinal(i, h)
		}
		if a, b := w.cores[0].Ledger().Head(), w.cores[i].Ledger().Head(); a.Final != b.Final {
			t.Errorf("core %d: head %+v, core 0: %+v", i, b, a)
		}
	}
}

func TestNoQuorumNoFinality(t *testing.T) {
	w := newNetwork(t, 4)
	w.run(2 * time.Second)
	w.crash(2)
	w.crash(3)
	w.run(time.Second)
	h := w.submit(0, "waits")[0]
	w.run(20 * time.Second)
	if rec, err := w.cores[0].Ledger().Entry(h); err != nil || rec.Settled.Status != StatusPending {
		t.Fatalf("without a quorum: %v %q, want pending", err, rec.Settled.Status)
	}
	w.start(2)
	w.run(3 * time.Second)
	for _, i := range []int{0, 1, 2} {
		w.wantFinal(i, h)
	}
}

func TestAllCrashAtOnce(t *testing.T) {
	w := newNetwork(t, 4)
	w.run(2 * time.Second)
	h := w.submit(0, "before")[0]
	w.run(30 * time.Millisecond)
	for i := range w.cores {
		w.crash(i)
	}
	for i := range w.cores {
		w.start(i)
	}
	w.run(3 * time.Second)
	late := w.submit(1, "after")[0]
	w.run(time.Second)
	for i := range w.cores {
		w.wantFinal(i, h)
		w.wantFinal(i, late)
	}
}

func TestIdleIsQuiet(t *testing.T) {
	w := newNetwork(t, 4)
	w.run(5 * time.Second)
	before := w.cores[0].Status().Round
	w.run(10 * time.Second)
	if rounds := w.cores[0].Status().Round - before; rounds > 14 {
		t.Errorf("%d rounds in 10 idle seconds, want about 10", rounds)
	}
}
