package store

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func journalChanges() []change {
	return []change{
		{key: []byte("a"), value: bytes.Repeat([]byte("1"), 300)},
		{key: []byte("gone"), deleted: true},
		{key: []byte("empty"), value: []byte{}},
	}
}

// TestJournalIsFinishedAtOpen is a crash after the journal was written and before
// any piece was.
func TestJournalIsFinishedAtOpen(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	var batch Batch
	batch.Set([]byte("gone"), []byte("1"))
	if err := s.Apply(&batch, true); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	if err := writeJournal(dir, journalChanges(), 1000); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, dir)
	if got, err := s.Get([]byte("a")); err != nil || len(got) != 300 {
		t.Errorf("Get(a): %d bytes, %v", len(got), err)
	}
	if got, err := s.Get([]byte("gone")); err == nil {
		t.Errorf("Get(gone): got %q", got)
	}
	if _, err := os.Stat(filepath.Join(dir, journalName)); err == nil {
		t.Error("the journal is still there")
	}
	mustClose(t, s)
}

// TestTornJournalIsNothing cuts a journal at every length and flips each of its
// bytes: it must never count.
func TestTornJournalIsNothing(t *testing.T) {
	dir := t.TempDir()
	if err := writeJournal(dir, journalChanges(), 1000); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, journalName)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := readJournal(dir); err != nil || len(got) != len(journalChanges()) {
		t.Fatalf("whole journal: %d changes, %v", len(got), err)
	}
	for i := range whole {
		flipped := bytes.Clone(whole)
		flipped[i] ^= 1
		for _, content := range [][]byte{whole[:i], flipped} {
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			if got, err := readJournal(dir); err != nil || got != nil {
				t.Errorf("byte %d: got %d changes, %v, want none", i, len(got), err)
			}
		}
	}
}

func FuzzParseJournal(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 1, 0, 0, 0, 1, 'k', 'v'})
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, content []byte) {
		changes, err := parseJournal(content)
		total := 0
		for _, c := range changes {
			total += 9 + len(c.key) + len(c.value)
		}
		if err == nil && total != len(content) {
			t.Errorf("%d bytes became changes of %d", len(content), total)
		}
	})
}

func TestPieces(t *testing.T) {
	var changes []change
	for n := range 50 {
		changes = append(changes, change{key: U16(uint16(n)), value: make([]byte, n*10)})
	}
	const size = 1000
	var joined []change
	for _, piece := range pieces(changes, size) {
		if sum := treeBytes(piece); sum > size {
			t.Errorf("a piece has %d bytes, at most %d", sum, size)
		}
		joined = append(joined, piece...)
	}
	if len(joined) != len(changes) {
		t.Fatalf("pieces hold %d changes, want %d", len(joined), len(changes))
	}
	for i := range joined {
		if !bytes.Equal(joined[i].key, changes[i].key) {
			t.Errorf("change %d has key %x", i, joined[i].key)
		}
	}
}

func mustOpen(t *testing.T, dir string) *Badger {
	t.Helper()
	s, err := OpenBadger(BadgerConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustClose(t *testing.T, s *Badger) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
