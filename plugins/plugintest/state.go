package plugintest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"weft/plugins"
	"weft/tangle"
)

// Bounds of what a plugin may store, inside those of every node's store.
const (
	MaxKeyBytes   = 4000
	MaxValueBytes = 512 << 10
)

// State is a plugin's key space in memory, for tests of Apply: the writes of one entry over those of entries before it.
// It implements plugins.State and plugins.Index, and notices what no plugin may do. It is not safe for concurrent use.
type State struct {
	kept    map[string][]byte
	entry   map[string][]byte // nil value: deleted
	open    bool              // between Begin and the end of an entry
	lent    []loan
	peers   map[string]plugins.View
	agreed  *State // of an index: the state beside it
	defects []string
}

// loan is a slice that Get or Scan returned, and what was in it then.
type loan struct{ slice, was []byte }

// NewState returns an empty state. peers is what Peek finds, by plugin name; nil: no other plugins.
func NewState(peers map[string]plugins.View) *State {
	return &State{kept: map[string][]byte{}, entry: map[string][]byte{}, peers: peers}
}

// Begin starts an entry: until Commit or Rollback the state may be used.
func (s *State) Begin() { s.open = true }

// Commit keeps the entry's writes.
func (s *State) Commit() {
	s.end()
	for k, v := range s.entry {
		if v == nil {
			delete(s.kept, k)
		} else {
			s.kept[k] = v
		}
	}
	clear(s.entry)
}

// Rollback forgets the entry's writes and says how many there were.
func (s *State) Rollback() (writes int) {
	s.end()
	writes = len(s.entry)
	clear(s.entry)
	return writes
}

// Digest is a hash over all keys and values.
func (s *State) Digest() tangle.Hash { return digest(s.kept) }

// Defects returns what was done that no plugin may do, and forgets it.
func (s *State) Defects() []string {
	list := s.defects
	s.defects = nil
	return list
}

// Get implements plugins.View.
func (s *State) Get(key []byte) []byte {
	s.used("Get")
	if v, ok := s.entry[string(key)]; ok {
		return s.lend(v)
	}
	return s.lend(s.kept[string(key)])
}

// Scan implements plugins.View.
func (s *State) Scan(from, to []byte, visit func(key, value []byte) bool) {
	s.used("Scan")
	merged := maps.Clone(s.kept)
	maps.Copy(merged, s.entry)
	for _, k := range slices.Sorted(maps.Keys(merged)) {
		inside := k >= string(from) && (to == nil || k < string(to))
		if v := merged[k]; inside && v != nil && !visit([]byte(k), s.lend(v)) {
			return
		}
	}
}

// Set implements plugins.State.
func (s *State) Set(key, value []byte) {
	s.used("Set")
	if len(key) > MaxKeyBytes || len(value) > MaxValueBytes {
		s.defect("sets a key of %d bytes to a value of %d: at most %d and %d", len(key), len(value), MaxKeyBytes, MaxValueBytes)
	}
	s.entry[string(key)] = append([]byte{}, value...) // never nil, which means deleted
}

// Delete implements plugins.State.
func (s *State) Delete(key []byte) {
	s.used("Delete")
	s.entry[string(key)] = nil
}

// Peek implements plugins.State.
func (s *State) Peek(plugin string) plugins.View {
	s.used("Peek")
	return s.peers[plugin]
}

// State implements plugins.Index.
func (s *State) State() plugins.View { return s.agreed.reader() }

// view is the committed state, as the plugin's own handlers see it.
func (s *State) view() plugins.View { return s.reader() }

// reader is view as Admit sees it.
func (s *State) reader() plugins.Reader { return &State{kept: s.kept, peers: s.peers, open: true} }

func (s *State) lend(v []byte) []byte {
	if v == nil {
		return nil
	}
	out := append([]byte{}, v...)
	s.lent = append(s.lent, loan{out, v})
	return out
}

func (s *State) end() {
	s.open = false
	for _, l := range s.lent {
		if !bytes.Equal(l.slice, l.was) {
			s.defect("changes a value that Get or Scan returned")
			break
		}
	}
	s.lent = s.lent[:0]
}

func (s *State) used(method string) {
	if !s.open {
		s.defect("calls %s of a State after Apply has returned", method)
	}
}

func (s *State) defect(format string, args ...any) {
	s.defects = append(s.defects, fmt.Sprintf(format, args...))
}

// pending is a hash over the entry's writes so far.
func (s *State) pending() tangle.Hash { return digest(s.entry) }

func digest(m map[string][]byte) tangle.Hash {
	h := sha256.New()
	var size [8]byte
	for _, k := range slices.Sorted(maps.Keys(m)) {
		v := m[k]
		length := uint32(len(v))
		if v == nil {
			length = 1<<32 - 1
		}
		binary.BigEndian.PutUint32(size[:4], uint32(len(k)))
		binary.BigEndian.PutUint32(size[4:], length)
		h.Write(size[:])
		h.Write([]byte(k))
		h.Write(v)
	}
	return tangle.Hash(h.Sum(nil))
}
