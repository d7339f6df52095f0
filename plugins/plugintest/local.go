package plugintest

import (
	"slices"
	"sync"

	"weft/plugins"
)

// Local is a node's own key space in memory, for tests of what a plugin keeps off the ledger. It implements
// plugins.Local and is safe for concurrent use.
type Local struct {
	mu    sync.Mutex // guards state
	state *State
}

// NewLocal returns an empty key space.
func NewLocal() *Local {
	s := NewState(nil)
	s.Begin()
	return &Local{state: s}
}

// Get implements plugins.View.
func (l *Local) Get(key []byte) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.state.Get(key))
}

// Scan implements plugins.View: it visits what was there when it was called.
func (l *Local) Scan(from, to []byte, visit func(key, value []byte) bool) {
	var found []plugins.Write
	l.mu.Lock()
	l.state.Scan(from, to, func(key, value []byte) bool {
		found = append(found, plugins.Write{Key: slices.Clone(key), Value: slices.Clone(value)})
		return true
	})
	l.mu.Unlock()
	for _, w := range found {
		if !visit(w.Key, w.Value) {
			return
		}
	}
}

// Write implements plugins.Local.
func (l *Local) Write(writes ...plugins.Write) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	plugins.Put(l.state, writes)
	l.state.Commit()
	l.state.Begin()
	return nil
}
