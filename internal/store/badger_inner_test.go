package store

import (
	"fmt"
	"os"
	"testing"
)

// TestReadsDoNotWaitForWriters reads while a write is held up, as by a slow disk.
func TestReadsDoNotWaitForWriters(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	defer mustClose(t, s)
	var batch Batch
	batch.Set([]byte("a"), []byte("1"))
	if err := s.Apply(&batch, true); err != nil {
		t.Fatal(err)
	}
	s.write.Lock()
	defer s.write.Unlock()
	if _, err := s.Get([]byte("a")); err != nil {
		t.Errorf("Get: %v", err)
	}
	if err := s.Scan(nil, nil, func(_, _ []byte) bool { return true }); err != nil {
		t.Errorf("Scan: %v", err)
	}
}

// TestOldVersionsLiveAsLongAsTheirReaders holds a scan open over later writes.
func TestOldVersionsLiveAsLongAsTheirReaders(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	defer mustClose(t, s)
	write := func(value string) {
		t.Helper()
		var batch Batch
		batch.Set([]byte("a"), []byte(value))
		if err := s.Apply(&batch, true); err != nil {
			t.Fatal(err)
		}
	}
	oldest := func() uint64 {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.oldestRead()
	}
	const later = 6
	write("first")
	begun := oldest()
	err := s.Scan(nil, nil, func(_, _ []byte) bool {
		for n := range later {
			write(fmt.Sprint(n))
		}
		if got := oldest(); got != begun {
			t.Errorf("while the scan goes on, version %d may go, want %d", got, begun)
		}
		if got, err := s.current.getAt(begun, []byte("a")); err != nil || string(got) != "first" {
			t.Errorf("what the scan sees: got %q, %v, want first", got, err)
		}
		return true
	})
	if got := oldest(); err != nil || got != begun+later {
		t.Errorf("after the scan: %v, version %d, want %d", err, got, begun+later)
	}
}

// TestLargeBatchSurvivesItsPieces is a failure after the journal was written.
func TestLargeBatchSurvivesItsPieces(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	var batch Batch
	for n := uint32(0); treeBytes(batch.changes) <= s.transactionBytes; n++ {
		batch.Set(U32(n), make([]byte, valueThreshold-1))
	}
	if err := s.current.db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(&batch, true); err == nil {
		t.Fatal("Apply succeeded without a database")
	}
	if err := s.Apply(&Batch{}, true); err == nil {
		t.Error("Apply succeeded after a failure")
	}
	if err := s.lock.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, dir)
	defer mustClose(t, s)
	for n := range uint32(batch.Len()) {
		if got, err := s.Get(U32(n)); err != nil || len(got) != valueThreshold-1 {
			t.Errorf("entry %d: %d bytes, %v", n, len(got), err)
		}
	}
}

// TestLargeValuesNeedNoJournal writes the largest batch in one transaction: the
// tree gets pointers, and the journal would write the values twice.
func TestLargeValuesNeedNoJournal(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	defer mustClose(t, s)
	var batch Batch
	for n := uint32(0); batch.Size() <= MaxBatchBytes-2*MaxValueBytes; n++ {
		batch.Set(U32(n), make([]byte, MaxValueBytes))
	}
	begun := s.version
	if err := s.Apply(&batch, true); err != nil {
		t.Fatal(err)
	}
	if s.version != begun+1 {
		t.Errorf("the batch took %d transactions", s.version-begun)
	}
}

// TestUnsyncedIsBounded applies without sync until the bound forces it out.
func TestUnsyncedIsBounded(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	defer mustClose(t, s)
	begun := s.version
	for n := range uint32(64) {
		var batch Batch
		batch.Set(U32(n), make([]byte, MaxUnsyncedBytes/20))
		if err := s.Apply(&batch, false); err != nil {
			t.Fatal(err)
		}
		if s.waiting.size > MaxUnsyncedBytes {
			t.Fatalf("%d bytes wait, at most %d", s.waiting.size, MaxUnsyncedBytes)
		}
	}
	if s.version == begun {
		t.Error("nothing was written out")
	}
}

// TestBackgroundErrorStopsWrites is a table that could not be written: Badger only
// logs that.
func TestBackgroundErrorStopsWrites(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	s.current.log.Errorf("error flushing memtable to disk: %v, retrying\n", os.ErrPermission)
	var batch Batch
	batch.Set([]byte("a"), nil)
	for range 2 {
		if err := s.Apply(&batch, true); err == nil {
			t.Error("Apply succeeded after an error in the background")
		}
	}
	if err := s.Close(); err == nil {
		t.Error("Close does not report the error")
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close again: %v", err)
	}
}
