package store

import (
	"context"
	"sync"
)

// Memory is the store of tests and of the simulation. It keeps the whole
// contract, and it can do what a disk does once a year: lose the unsynced tail
// in a crash (Crash) and refuse a write (FailNext).
type Memory struct {
	mu       sync.Mutex // guards all below; never held during a visit
	tree     tree
	synced   *node // the content as of the last sync
	closed   bool
	failNext error
}

var (
	_ Store  = (*Memory)(nil)
	_ Purger = (*Memory)(nil)
)

// NewMemory returns an empty store.
func NewMemory() *Memory { return &Memory{} }

func (m *Memory) Get(key []byte) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, ErrClosed
	}
	found := m.tree.get(key)
	if found == nil {
		return nil, ErrNotFound
	}
	return append([]byte{}, found.value...), nil
}

// Scan hands out the same two buffers at every visit, so that a caller that
// keeps a slice against the contract is found out here and not on a disk.
func (m *Memory) Scan(from, to []byte, visit func(key, value []byte) bool) error {
	content, err := m.freeze()
	if err != nil {
		return err
	}
	var keyBuffer, valueBuffer []byte
	content.ascend(from, to, func(key, value []byte) bool {
		keyBuffer = append(keyBuffer[:0], key...)
		valueBuffer = append(valueBuffer[:0], value...)
		return visit(keyBuffer, valueBuffer)
	})
	return nil
}

func (m *Memory) Apply(batch *Batch, sync bool) error {
	if err := batch.check(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrClosed
	}
	if err := m.failNext; err != nil {
		m.failNext = nil
		return err
	}
	for _, c := range batch.changes {
		if c.deleted {
			m.tree.remove(c.key)
		} else {
			m.tree.set(c.key, c.value)
		}
	}
	if sync {
		m.synced = m.tree.freeze()
	}
	return nil
}

// Purge lets go of the content as of the last sync, which may hold what has been
// overwritten since.
func (m *Memory) Purge(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return m.Apply(&Batch{}, true)
}

// Close makes what was applied survive a later Crash, as a folder closed in
// order would.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		m.closed, m.synced = true, m.tree.freeze()
	}
	return nil
}

// Crash ends this store as a power failure would, and returns what a node finds
// when it starts again: the content as of the last sync (or of Close).
func (m *Memory) Crash() *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	again := &Memory{synced: m.synced}
	again.tree = tree{root: m.synced, edition: m.tree.edition + 1}
	return again
}

// FailNext lets the next Apply return err and change nothing, as a full disk
// does. The one after it works again.
func (m *Memory) FailNext(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failNext = err
}

func (m *Memory) freeze() (*node, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, ErrClosed
	}
	return m.tree.freeze(), nil
}
