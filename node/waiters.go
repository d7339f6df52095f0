package node

import (
	"context"
	"slices"
	"sync"

	"weft/tangle"
)

// waiters lets thousands of callers wait for their entries without anyone polling: an entry's place is noted when it is
// ordered, and its callers are woken when a certified checkpoint covers the place. It is safe for concurrent use.
type waiters struct {
	mu      sync.Mutex
	byEntry map[tangle.Hash][]*waiter
	placed  []placedWaiter // ordered, not final yet
	final   tangle.Position
	changed chan struct{}
}

// waiter is one caller; done is closed when nothing is left to wait for.
type waiter struct {
	left int
	done chan struct{}
}

type placedWaiter struct {
	position tangle.Position
	*waiter
}

func newWaiters() *waiters {
	return &waiters{byEntry: map[tangle.Hash][]*waiter{}, changed: make(chan struct{})}
}

// wait returns when all entries are final, or with the context's error. place says where an entry stands already.
func (w *waiters) wait(ctx context.Context, hashes []tangle.Hash, place func(tangle.Hash) (tangle.Position, bool)) error {
	me := &waiter{left: len(hashes), done: make(chan struct{})}
	w.mu.Lock()
	for _, h := range hashes {
		w.byEntry[h] = append(w.byEntry[h], me)
	}
	w.mu.Unlock()
	for _, h := range hashes { // those ordered before this caller came
		if p, ok := place(h); ok {
			w.ordered(p, h)
		}
	}
	select {
	case <-me.done:
		return nil
	case <-ctx.Done():
		w.forget(me, hashes)
		return ctx.Err()
	}
}

// observe follows the Core's events.
func (w *waiters) observe(events []Event) {
	moved := false
	for _, e := range events {
		switch e.Kind {
		case EventOrdered:
			w.orderedMessage(e)
		case EventFinal:
			w.reached(e.Position)
			moved = true
		case EventCommitted:
			moved = true
		}
	}
	if moved {
		w.mu.Lock()
		close(w.changed)
		w.changed = make(chan struct{})
		w.mu.Unlock()
	}
}

// change is closed when the ledger's head moves.
func (w *waiters) change() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.changed
}

func (w *waiters) orderedMessage(e Event) {
	w.mu.Lock()
	none := len(w.byEntry) == 0
	w.mu.Unlock()
	if none {
		return
	}
	for i := range e.Message.Entries {
		w.ordered(e.Position, e.Message.Entries[i].Hash)
	}
}

func (w *waiters) ordered(p tangle.Position, h tangle.Hash) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, one := range w.byEntry[h] {
		if p < w.final {
			one.release()
		} else {
			w.placed = append(w.placed, placedWaiter{p, one})
		}
	}
	delete(w.byEntry, h)
}

func (w *waiters) reached(final tangle.Position) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.final = max(w.final, final)
	waiting := w.placed[:0]
	for _, one := range w.placed {
		if one.position < w.final {
			one.release()
		} else {
			waiting = append(waiting, one)
		}
	}
	clear(w.placed[len(waiting):])
	w.placed = waiting
}

func (w *waiter) release() {
	if w.left--; w.left == 0 {
		close(w.done)
	}
}

// forget removes a caller that gave up, also one whose entries have their place: without a quorum that may last.
func (w *waiters) forget(me *waiter, hashes []tangle.Hash) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.placed = slices.DeleteFunc(w.placed, func(one placedWaiter) bool { return one.waiter == me })
	for _, h := range hashes {
		rest := slices.DeleteFunc(w.byEntry[h], func(one *waiter) bool { return one == me })
		if len(rest) == 0 {
			delete(w.byEntry, h)
		} else {
			w.byEntry[h] = rest
		}
	}
}
