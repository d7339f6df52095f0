package store_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"weft/internal/store"
	"weft/internal/store/storetest"
)

// onDisk remembers its folder, so that a test can look at it as a crash would
// have left it.
type onDisk struct {
	*store.Badger
	dir string
}

func TestBadgerContract(t *testing.T) {
	storetest.Run(t, storetest.Subject{
		Open: func(t *testing.T) store.Store { return openBadger(t, t.TempDir()) },
		Crash: func(t *testing.T, s store.Store) store.Store {
			dir := t.TempDir()
			copyFolder(t, s.(onDisk).dir, dir)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return openBadger(t, dir)
		},
	})
}

func TestBadgerLocked(t *testing.T) {
	s := openBadger(t, t.TempDir())
	if _, err := store.OpenBadger(store.BadgerConfig{Dir: s.dir}); !errors.Is(err, store.ErrLocked) {
		t.Errorf("opening an open folder: got %v, want ErrLocked", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	openBadger(t, s.dir)
}

func TestBadgerRefusesBadConfig(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []store.BadgerConfig{
		{},
		{Dir: t.TempDir(), MemoryBytes: 1 << 20},
		{Dir: file},
	} {
		if s, err := store.OpenBadger(c); err == nil {
			s.Close()
			t.Errorf("OpenBadger(%+v) succeeded", c)
		}
	}
}

// closedBadger is a store with one key that was closed.
func closedBadger(t *testing.T) onDisk {
	t.Helper()
	s := openBadger(t, t.TempDir())
	var batch store.Batch
	batch.Set([]byte("a"), []byte("1"))
	if err := s.Apply(&batch, true); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestEmptyLogsDoNotKeepAStoreShut is a kill while Badger makes or removes a log.
func TestEmptyLogsDoNotKeepAStoreShut(t *testing.T) {
	s := closedBadger(t)
	for _, name := range []string{"00001.mem", "00077.mem", "000099.vlog"} {
		if err := os.WriteFile(filepath.Join(s.dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := openBadger(t, s.dir).Get([]byte("a")); err != nil || string(got) != "1" {
		t.Errorf("Get: got %q, %v, want 1", got, err)
	}
}

func TestBadgerVerify(t *testing.T) {
	s := closedBadger(t)
	if err := openBadger(t, s.dir).Verify(); err != nil {
		t.Errorf("Verify: %v", err)
	}
}

func TestSchema(t *testing.T) {
	s := store.NewMemory()
	for range 2 {
		if err := store.CheckSchema(s); err != nil {
			t.Fatal(err)
		}
	}
	var batch store.Batch
	batch.Set(store.Key(store.PrefixNode, []byte("schema")), store.U32(store.SchemaVersion+1))
	if err := s.Apply(&batch, true); err != nil {
		t.Fatal(err)
	}
	if err := store.CheckSchema(s); !errors.Is(err, store.ErrNewerSchema) {
		t.Errorf("got %v, want ErrNewerSchema", err)
	}
	batch = store.Batch{}
	batch.Set(store.Key(store.PrefixNode, []byte("schema")), store.U32(1))
	if err := s.Apply(&batch, true); err != nil {
		t.Fatal(err)
	}
	if err := store.CheckSchema(s); !errors.Is(err, store.ErrOlderSchema) {
		t.Errorf("got %v, want ErrOlderSchema", err)
	}
}

const (
	crashDirVariable = "WEFT_STORE_CRASH_DIR"
	// crashEntries is the size of each batch of the crash test, large enough for
	// a kill to fall into the middle of one.
	crashEntries = 600
	// largeEvery makes each fifth batch too large for one transaction. A kill
	// after the fourth falls into the fifth.
	largeEvery = 5
)

// TestKillLosesNothingAcknowledged kills a process that writes, several times
// over on one folder. What it had said to be durable must be there, and no batch
// may be there in part.
func TestKillLosesNothingAcknowledged(t *testing.T) {
	dir := t.TempDir()
	next := uint64(1)
	for _, residue := range []uint64{largeEvery - 1, 1, largeEvery - 1, 2} {
		last := next + 10
		for last%largeEvery != residue {
			last++
		}
		acknowledged := killAfter(t, dir, next, last)
		s := openBadger(t, dir)
		next = wholeBatches(t, s)
		if next <= acknowledged {
			t.Errorf("batch %d was acknowledged, the store has batches below %d", acknowledged, next)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCrashChild is the process that TestKillLosesNothingAcknowledged kills.
func TestCrashChild(t *testing.T) {
	dir := os.Getenv(crashDirVariable)
	if dir == "" {
		t.Skip("runs only as the child of another test")
	}
	s := openBadger(t, dir)
	for n := wholeBatches(t, s); ; n++ {
		var unsynced, batch store.Batch
		unsynced.Set(store.Key(store.PrefixLive, store.U64(n)), store.U64(n))
		for i := range uint16(crashEntries) {
			batch.Set(crashKey(n, i), make([]byte, crashValueBytes))
		}
		if err := errors.Join(s.Apply(&unsynced, false), s.Apply(&batch, true)); err != nil {
			t.Fatal(err)
		}
		fmt.Println(n)
	}
}

const crashValueBytes = 100

// crashKey is long in a large batch: values would go to the value log, keys stay in the tree.
func crashKey(n uint64, i uint16) []byte {
	key := store.Key(store.PrefixMessage, store.U64(n), store.U16(i))
	if n%largeEvery == 0 {
		key = append(key, make([]byte, 3<<10)...)
	}
	return key
}

// killAfter runs the child until it has acknowledged batch last, and returns the
// last batch it acknowledged before it died.
func killAfter(t *testing.T, dir string, first, last uint64) (acknowledged uint64) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^TestCrashChild$")
	child.Env = append(os.Environ(), crashDirVariable+"="+dir)
	output, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(output)
	for killed := false; lines.Scan(); {
		n, err := strconv.ParseUint(lines.Text(), 10, 64)
		if err != nil {
			t.Errorf("the child says %q", lines.Text())
		}
		acknowledged = n
		if !killed && acknowledged >= last {
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			killed = true
		}
	}
	if err := child.Wait(); err == nil || acknowledged < first {
		t.Fatalf("the child ended with %v after batch %d", err, acknowledged)
	}
	return acknowledged
}

// wholeBatches checks that the batches in the store are 1, 2, 3 ... without a gap
// and each whole, and returns the number of the next one.
func wholeBatches(t *testing.T, s store.Store) (next uint64) {
	t.Helper()
	entries := 0
	err := s.Scan(store.Key(store.PrefixMessage), store.Key(store.PrefixMessage+1), func(key, value []byte) bool {
		n := uint64(entries/crashEntries + 1)
		want := crashKey(n, uint16(entries%crashEntries))
		if string(key) != string(want) || len(value) != crashValueBytes {
			t.Errorf("entry %d: got key %x with %d bytes, want key %x with %d", entries, key, len(value), want, crashValueBytes)
			return false
		}
		entries++
		return true
	})
	if err != nil || entries%crashEntries != 0 {
		t.Fatalf("Scan: %v, %d entries are no whole batches of %d", err, entries, crashEntries)
	}
	next = uint64(entries/crashEntries + 1)
	if next > 1 {
		if _, err := s.Get(store.Key(store.PrefixLive, store.U64(next-1))); err != nil {
			t.Errorf("the unsynced batch before synced batch %d: %v", next-1, err)
		}
	}
	return next
}

func openBadger(t *testing.T, dir string) onDisk {
	t.Helper()
	s, err := store.OpenBadger(store.BadgerConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return onDisk{s, dir}
}

// copyFolder copies the files of a store in use, to be what a killed process
// would leave. Badger may be turning logs into tables, and tables into others,
// meanwhile: it names the new table in the manifest and then removes the old file.
// So logs are copied before the manifest, tables after it, and all once more when
// the manifest has changed in between.
func copyFolder(t *testing.T, from, to string) {
	t.Helper()
	const maxTries = 20
	for range maxTries {
		for _, pattern := range []string{"*.mem", "[A-Z]*", "*.vlog", "*.sst"} {
			copyMatching(t, from, to, pattern)
		}
		if bytes.Equal(readManifest(t, from), readManifest(t, to)) {
			return
		}
	}
	t.Fatalf("the manifest changed %d times during a copy", maxTries)
}

func readManifest(t *testing.T, dir string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(dir, "MANIFEST"))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func copyMatching(t *testing.T, from, to, pattern string) {
	t.Helper()
	for _, dir := range []string{to, from} {
		paths, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			if dir == to {
				err = os.Remove(path)
			} else {
				err = copySparse(path, filepath.Join(to, filepath.Base(path)))
			}
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
		}
	}
}

// copySparse leaves holes what is zero: Badger's files are mostly that.
func copySparse(from, to string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.Create(to)
	if err != nil {
		return err
	}
	defer target.Close()
	chunk, zeros := make([]byte, 64<<10), make([]byte, 64<<10)
	for offset := int64(0); ; {
		n, err := io.ReadFull(source, chunk)
		if string(chunk[:n]) != string(zeros[:n]) {
			if _, err := target.WriteAt(chunk[:n], offset); err != nil {
				return err
			}
		}
		offset += int64(n)
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return target.Truncate(offset)
		}
		if err != nil {
			return err
		}
	}
}
