package node

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"sync"
	"time"

	"weft/internal/store"
)

// Bodies that Ledger.Erase has dropped are out of the store at once, and out of its files once these are written anew: Purge.
// That costs as much as copying the store, so it is done at most once in PurgeEvery, and whenever an operator asks.

// purging is how the store's files are being written anew.
type purging struct {
	asked chan struct{} // buffered by one

	mu      sync.Mutex // guards what follows
	running bool
	failed  error // of the last try
	tried   time.Time
}

func newPurging() *purging { return &purging{asked: make(chan struct{}, 1)} }

const (
	purgeLook  = time.Minute // between looks whether it is due
	purgeRetry = time.Hour   // after a failure
)

// PurgeState says which dropped bodies may still be in the store's files.
type PurgeState struct {
	Erased  uint64    // bodies dropped since this folder began
	Purged  uint64    // of them, those that no file of the store holds any more
	At      time.Time // when the files were last written anew; zero: never
	Running bool
	Failed  error // of the last try
}

func keyErased() []byte { return store.Key(store.PrefixNode, []byte("erased")) }
func keyPurged() []byte { return store.Key(store.PrefixNode, []byte("purged")) }

// PurgeState reads it.
func (n *Node) PurgeState() (PurgeState, error) {
	n.purging.mu.Lock()
	s := PurgeState{Running: n.purging.running, Failed: n.purging.failed}
	n.purging.mu.Unlock()
	var fault error
	if b := storeGet(n.config.Store, keyErased(), &fault); b != nil {
		r := record{b: b}
		s.Erased = r.u64()
		fault = errors.Join(fault, r.end())
	}
	if b := storeGet(n.config.Store, keyPurged(), &fault); b != nil {
		r := record{b: b}
		s.Purged, s.At = r.u64(), time.UnixMilli(int64(r.u64()))
		fault = errors.Join(fault, r.end())
	}
	return s, fault
}

// AskPurge lets the store's files be written anew, now if none is under way.
func (n *Node) AskPurge() error {
	if _, ok := n.config.Store.(store.Purger); !ok {
		return errors.ErrUnsupported
	}
	n.purging.mu.Lock()
	n.purging.running = true // until it ends, also for whoever asks for its state at once
	n.purging.mu.Unlock()
	select {
	case n.purging.asked <- struct{}{}:
	default: // one is asked for already
	}
	return nil
}

// purges writes the files anew when it is due, until ctx ends.
func (n *Node) purges(ctx context.Context) error {
	files, ok := n.config.Store.(store.Purger)
	if !ok {
		return nil
	}
	ticker := time.NewTicker(purgeLook)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.purging.asked:
		case <-ticker.C:
			if !n.purgeDue(time.Now()) {
				continue
			}
		}
		n.purge(ctx, files)
	}
}

func (n *Node) purgeDue(now time.Time) bool {
	s, err := n.PurgeState()
	return err == nil && n.config.PurgeEvery > 0 && s.Erased > s.Purged && now.Sub(s.At) >= n.config.PurgeEvery &&
		(s.Failed == nil || now.Sub(n.purging.tried) >= purgeRetry)
}

// purge writes the files anew. What is dropped meanwhile waits for the next time.
func (n *Node) purge(ctx context.Context, files store.Purger) {
	n.purging.mu.Lock()
	n.purging.running, n.purging.tried = true, time.Now()
	n.purging.mu.Unlock()
	before, err := n.PurgeState()
	if err == nil {
		err = files.Purge(ctx)
	}
	if err == nil {
		var b store.Batch
		b.Set(keyPurged(), binary.BigEndian.AppendUint64(store.U64(before.Erased), uint64(time.Now().UnixMilli())))
		err = n.config.Store.Apply(&b, true)
	}
	n.purging.mu.Lock()
	n.purging.running, n.purging.failed = len(n.purging.asked) > 0, err
	n.purging.mu.Unlock()
	switch {
	case err == nil:
		n.log.Info("the store's files are written anew: erased bodies are in none of them", slog.Uint64("bodies", before.Erased))
	case ctx.Err() == nil:
		n.log.Warn("the store's files could not be written anew: erased bodies may still be in them", slog.String("error", err.Error()))
	}
}
