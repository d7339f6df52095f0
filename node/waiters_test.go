package node

import (
	"context"
	"testing"
	"testing/synctest"

	"weft/tangle"
)

func ordered(p tangle.Position, hashes ...tangle.Hash) Event {
	m := &tangle.Message{}
	for _, h := range hashes {
		m.Entries = append(m.Entries, tangle.Entry{Hash: h})
	}
	return Event{Kind: EventOrdered, Message: m, Position: p}
}

func final(size tangle.Position) Event { return Event{Kind: EventFinal, Position: size} }

func nowhere(tangle.Hash) (tangle.Position, bool) { return 0, false }

// waitFor starts a caller and returns where its result will be.
func waitFor(ctx context.Context, w *waiters, place func(tangle.Hash) (tangle.Position, bool), hashes ...tangle.Hash) chan error {
	done := make(chan error, 1)
	go func() { done <- w.wait(ctx, hashes, place) }()
	return done
}

func TestWaitersAreWokenWhenAllIsFinal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWaiters()
		a, b := tangle.Hash{1}, tangle.Hash{2}
		both := waitFor(t.Context(), w, nowhere, a, b)
		many := make([]chan error, 1000)
		for i := range many {
			many[i] = waitFor(t.Context(), w, nowhere, a)
		}
		synctest.Wait()
		w.observe([]Event{ordered(4, a), final(4)})
		synctest.Wait()
		if len(many[0]) != 0 {
			t.Fatal("woken by a checkpoint that does not cover the entry")
		}
		w.observe([]Event{final(5), ordered(5, b)})
		for _, one := range many {
			if err := <-one; err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if len(both) != 0 {
			t.Fatal("woken while one of two entries waits")
		}
		w.observe([]Event{final(6)})
		if err := <-both; err != nil {
			t.Fatal(err)
		}
		wantNoWaiters(t, w)
	})
}

func TestWaiterComesLate(t *testing.T) {
	w := newWaiters()
	at := func(p tangle.Position) func(tangle.Hash) (tangle.Position, bool) {
		return func(tangle.Hash) (tangle.Position, bool) { return p, true }
	}
	w.reached(10) // what was final when the node started
	if err := w.wait(t.Context(), []tangle.Hash{{1}}, at(9)); err != nil {
		t.Errorf("final entry: %v", err)
	}
	late := waitFor(t.Context(), w, at(10), tangle.Hash{2})
	w.observe([]Event{final(11)})
	if err := <-late; err != nil {
		t.Errorf("ordered entry: %v", err)
	}
	wantNoWaiters(t, w)
}

func TestWaiterThatLeavesIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWaiters()
		ctx, cancel := context.WithCancel(t.Context())
		a, b := tangle.Hash{1}, tangle.Hash{2}
		gone := waitFor(ctx, w, nowhere, a, b)
		stays := waitFor(t.Context(), w, nowhere, a)
		synctest.Wait()
		w.observe([]Event{ordered(1, a)})
		cancel()
		if err := <-gone; err != context.Canceled {
			t.Fatalf("got %v, want the context's error", err)
		}
		if len(w.placed) != 1 || len(w.byEntry) != 0 {
			t.Errorf("%d placed, %d entries are left of the one that went", len(w.placed)-1, len(w.byEntry))
		}
		w.observe([]Event{final(2)})
		if err := <-stays; err != nil {
			t.Error(err)
		}
		wantNoWaiters(t, w)
	})
}

func TestChangeIsSeenByAll(t *testing.T) {
	w := newWaiters()
	first := w.change()
	w.observe([]Event{{Kind: EventAttached}})
	select {
	case <-first:
		t.Error("an attached message moves no head")
	default:
	}
	w.observe([]Event{{Kind: EventCommitted}})
	<-first
	if w.change() == first {
		t.Error("the next change has the channel of the last")
	}
}

func wantNoWaiters(t *testing.T, w *waiters) {
	t.Helper()
	if len(w.placed) != 0 || len(w.byEntry) != 0 {
		t.Errorf("%d placed waiters and %d entries are left", len(w.placed), len(w.byEntry))
	}
}
