// Package storetest is the contract of store.Store as a test: every
// implementation passes the same suite, and the model test compares it with a
// plain map over random histories with crashes. It tests what callers may rely
// on and nothing of how a store does it; speed is not its matter.
package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"weft/internal/store"
)

// Subject makes the stores to test.
type Subject struct {
	// Open returns a new empty store. The suite closes it.
	Open func(t *testing.T) store.Store
	// Crash returns what a node finds that starts again after s was killed
	// without Close. The suite does not use s afterwards except to close it.
	Crash func(t *testing.T, s store.Store) store.Store
}

// Run holds a store to the contract.
func Run(t *testing.T, subject Subject) {
	tests := []struct {
		name string
		run  func(*testing.T, Subject)
	}{
		{"get set delete", testGetSetDelete},
		{"empty value", testEmptyValue},
		{"big value", testBigValue},
		{"copies", testCopies},
		{"scan order and bounds", testScan},
		{"scan sees one moment", testScanSnapshot},
		{"last change of a key wins", testLastChangeWins},
		{"refused batches", testRefusedBatches},
		{"largest batch", testLargestBatch},
		{"readers see whole batches", testConcurrentReaders},
		{"crash", testCrash},
		{"closed", testClosed},
		{"model", testModel},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(t, subject) })
	}
}

func testGetSetDelete(t *testing.T, subject Subject) {
	s := open(t, subject)
	wantAbsent(t, s, "a")
	for _, sync := range []bool{false, true} {
		apply(t, s, sync, set("a", "1"), set("b", "2"))
		wantValue(t, s, "a", "1")
		wantValue(t, s, "b", "2")
		apply(t, s, sync, set("a", "3"), remove("b"), remove("never"))
		wantValue(t, s, "a", "3")
		wantAbsent(t, s, "b")
		wantContent(t, s, "a=3")
	}
	if _, err := s.Get(nil); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get of an empty key: got %v, want ErrNotFound", err)
	}
}

func testEmptyValue(t *testing.T, subject Subject) {
	s := open(t, subject)
	for _, sync := range []bool{false, true} {
		var batch store.Batch
		batch.Set([]byte("nil"), nil)
		batch.Set([]byte("empty"), []byte{})
		mustApply(t, s, &batch, sync)
		for _, key := range []string{"nil", "empty"} {
			if got, err := s.Get([]byte(key)); err != nil || got == nil || len(got) != 0 {
				t.Errorf("Get(%s): got %v, %v, want an empty slice", key, got, err)
			}
		}
		wantContent(t, s, "empty=", "nil=")
	}
}

func testBigValue(t *testing.T, subject Subject) {
	s := open(t, subject)
	long := string(bytes.Repeat([]byte("k"), store.MaxKeyBytes))
	big := string(bytes.Repeat([]byte("v"), store.MaxValueBytes))
	apply(t, s, true, set(long, big))
	wantValue(t, s, long, big)
	s = crash(t, subject, s)
	wantValue(t, s, long, big)
}

func testCopies(t *testing.T, subject Subject) {
	s := open(t, subject)
	for _, sync := range []bool{false, true} {
		apply(t, s, sync, set("a", "value"))
		got, err := s.Get([]byte("a"))
		if err != nil {
			t.Fatal(err)
		}
		copy(got, "XXXXX")
		wantValue(t, s, "a", "value")
	}
	var batch store.Batch
	batch.Set([]byte("b"), []byte("1"))
	mustApply(t, s, &batch, false)
	batch.Reset()
	if batch.Len() != 0 || batch.Size() != 0 {
		t.Errorf("after Reset: %d changes, %d bytes", batch.Len(), batch.Size())
	}
	batch.Set([]byte("c"), []byte("2"))
	mustApply(t, s, &batch, true)
	wantContent(t, s, "a=value", "b=1", "c=2")
}

func testScan(t *testing.T, subject Subject) {
	s := open(t, subject)
	apply(t, s, true, set("b", "1"), set("a\xff", "2"), set("d", "3"), set("\xff\xff", "4"))
	apply(t, s, false, set("a", "5"), set("c", "6"), remove("d"), set("b", "7"), set("\xff", "8"))
	for _, test := range []struct {
		from, to []byte
		want     []string
	}{
		{nil, nil, []string{"a=5", "a\xff=2", "b=7", "c=6", "\xff=8", "\xff\xff=4"}},
		{[]byte("a"), []byte("b"), []string{"a=5", "a\xff=2"}},
		{[]byte("a\x00"), []byte("b\x00"), []string{"a\xff=2", "b=7"}},
		{[]byte("c"), nil, []string{"c=6", "\xff=8", "\xff\xff=4"}},
		{nil, []byte("b"), []string{"a=5", "a\xff=2"}},
		{[]byte("d"), []byte("e"), nil},
		{[]byte("c"), []byte("c"), nil},
		{[]byte("c"), []byte("a"), nil},
		{[]byte("a"), store.PrefixEnd([]byte("a")), []string{"a=5", "a\xff=2"}},
		{[]byte("a\xff"), store.PrefixEnd([]byte("a\xff")), []string{"a\xff=2"}},
		{[]byte("\xff"), store.PrefixEnd([]byte("\xff")), []string{"\xff=8", "\xff\xff=4"}},
	} {
		if got := content(t, s, test.from, test.to); !slices.Equal(got, test.want) {
			t.Errorf("Scan(%q, %q): got %q, want %q", test.from, test.to, got, test.want)
		}
	}
	for stop := 1; stop <= 6; stop++ {
		visits := 0
		err := s.Scan(nil, nil, func(_, _ []byte) bool { visits++; return visits < stop })
		if err != nil || visits != stop {
			t.Errorf("Scan stopped at visit %d: got %d visits, %v", stop, visits, err)
		}
	}
}

func testScanSnapshot(t *testing.T, subject Subject) {
	s := open(t, subject)
	apply(t, s, true, set("a", "1"), set("c", "1"))
	apply(t, s, false, set("b", "1"))
	var got []string
	err := s.Scan(nil, nil, func(key, value []byte) bool {
		got = append(got, string(key)+"="+string(value))
		apply(t, s, len(got)%2 == 0, set("b", "2"), set("c", "2"), set("d", "2"), remove("a"))
		return true
	})
	if want := []string{"a=1", "b=1", "c=1"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("Scan with writes during it: got %q, %v, want %q", got, err, want)
	}
	wantContent(t, s, "b=2", "c=2", "d=2")
}

func testLastChangeWins(t *testing.T, subject Subject) {
	s := open(t, subject)
	for _, sync := range []bool{false, true} {
		apply(t, s, sync, set("a", "1"), set("a", "2"), remove("b"), set("b", "3"), set("c", "4"), remove("c"))
		wantContent(t, s, "a=2", "b=3")
	}
}

func testRefusedBatches(t *testing.T, subject Subject) {
	s := open(t, subject)
	apply(t, s, true, set("a", "1"))
	tooLarge := batchOf(set("a", "2"))
	for i := 0; tooLarge.Size() <= store.MaxBatchBytes; i++ {
		tooLarge.Set(fmt.Appendf(nil, "k%d", i), make([]byte, store.MaxValueBytes))
	}
	tooMany := batchOf(set("a", "2"))
	for i := 0; tooMany.Size() <= store.MaxBatchBytes; i++ {
		tooMany.Delete(store.U32(uint32(i)))
	}
	for _, test := range []struct {
		name  string
		batch *store.Batch
		want  error
	}{
		{"too large", tooLarge, store.ErrBatchTooLarge},
		{"too many", tooMany, store.ErrBatchTooLarge},
		{"empty key", batchOf(set("a", "2"), set("", "1")), store.ErrBadEntry},
		{"reserved key", batchOf(set("a", "2"), set("!badger!x", "1")), store.ErrBadEntry},
		{"long key", batchOf(set("a", "2"), set(string(make([]byte, store.MaxKeyBytes+1)), "1")), store.ErrBadEntry},
		{"long value", batchOf(set("a", "2"), set("b", string(make([]byte, store.MaxValueBytes+1)))), store.ErrBadEntry},
	} {
		for _, sync := range []bool{false, true} {
			if err := s.Apply(test.batch, sync); !errors.Is(err, test.want) {
				t.Errorf("%s: got %v, want %v", test.name, err, test.want)
			}
		}
	}
	apply(t, s, true, set("b", "2"))
	wantContent(t, s, "a=1", "b=2")
}

func testLargestBatch(t *testing.T, subject Subject) {
	s := open(t, subject)
	apply(t, s, false, set("before", "1"))
	var batch store.Batch
	n := uint32(0)
	for batch.Size() <= store.MaxBatchBytes-200 {
		batch.Set(append([]byte("k"), store.U32(n)...), store.U32(n))
		n++
	}
	mustApply(t, s, &batch, true)
	apply(t, s, true, remove("k"+string(store.U32(0))))
	s = crash(t, subject, s)
	wantValue(t, s, "before", "1")
	next := uint32(1)
	err := s.Scan([]byte("k"), []byte("l"), func(key, value []byte) bool {
		if !bytes.Equal(value, store.U32(next)) {
			t.Errorf("key %q holds %x, want %x", key, value, store.U32(next))
			return false
		}
		next++
		return true
	})
	if err != nil || next != n {
		t.Errorf("Scan: %v, found up to %d of %d", err, next, n)
	}
}

// testConcurrentReaders writes one number under many keys at once; no reader may
// see two numbers together, nor one smaller than it saw before.
func testConcurrentReaders(t *testing.T, subject Subject) {
	const keys, rounds, readers = 20, 60, 3
	s := open(t, subject)
	write := func(round uint32) {
		var batch store.Batch
		for k := range byte(keys) {
			batch.Set([]byte{'k', k}, store.U32(round))
		}
		if err := s.Apply(&batch, round%3 == 0); err != nil {
			t.Errorf("Apply: %v", err)
		}
	}
	write(0)
	done := make(chan struct{})
	var group sync.WaitGroup
	for range readers {
		group.Go(func() { readRounds(t, s, keys, done) })
	}
	for round := range uint32(rounds) {
		write(round)
	}
	close(done)
	group.Wait()
}

func readRounds(t *testing.T, s store.Store, keys int, done <-chan struct{}) {
	var last []byte
	for {
		var seen [][]byte
		err := s.Scan([]byte("k"), []byte("l"), func(_, value []byte) bool {
			seen = append(seen, bytes.Clone(value))
			return true
		})
		if err != nil || len(seen) != keys || len(slices.CompactFunc(seen, bytes.Equal)) != 1 {
			t.Errorf("Scan during Apply: %v, saw %x", err, seen)
			return
		}
		if bytes.Compare(seen[0], last) < 0 {
			t.Errorf("Scan saw %x after %x", seen[0], last)
			return
		}
		last = seen[0]
		got, err := s.Get([]byte{'k', byte(keys - 1)})
		if err != nil || bytes.Compare(got, last) < 0 {
			t.Errorf("Get after Scan saw %x: got %x, %v", last, got, err)
			return
		}
		select {
		case <-done:
			return
		default:
		}
	}
}

func testCrash(t *testing.T, subject Subject) {
	s := open(t, subject)
	apply(t, s, false, set("a", "1"))
	apply(t, s, false, set("b", "1"))
	mustApply(t, s, &store.Batch{}, true)
	s = crash(t, subject, s)
	wantContent(t, s, "a=1", "b=1")

	apply(t, s, false, set("a", "2"), remove("b"))
	apply(t, s, true, set("c", "2"))
	s = crash(t, subject, s)
	wantContent(t, s, "a=2", "c=2")

	apply(t, s, false, set("a", "3"), remove("c"))
	s = crash(t, subject, s)
	if got := content(t, s, nil, nil); !slices.Equal(got, []string{"a=2", "c=2"}) && !slices.Equal(got, []string{"a=3"}) {
		t.Errorf("an unsynced batch was torn by a crash: %q", got)
	}

	apply(t, s, false, set("d", "4"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = crash(t, subject, s)
	wantValue(t, s, "d", "4")
}

func testClosed(t *testing.T, subject Subject) {
	s := open(t, subject)
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatalf("Close: %v", err)
		}
	}
	if _, err := s.Get([]byte("a")); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Get: got %v, want ErrClosed", err)
	}
	if err := s.Scan(nil, nil, nil); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Scan: got %v, want ErrClosed", err)
	}
	if err := s.Apply(batchOf(set("a", "1")), false); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Apply: got %v, want ErrClosed", err)
	}
}

// model is what a store must hold, and what it may hold after a crash: the
// content as of the last sync or after any batch since.
type model struct {
	now     map[string]string
	allowed []map[string]string
}

func (m *model) apply(changes []change, sync bool) {
	next := maps.Clone(m.now)
	for _, c := range changes {
		if c.deleted {
			delete(next, c.key)
		} else {
			next[c.key] = c.value
		}
	}
	m.now = next
	if sync {
		m.allowed = nil
	}
	m.allowed = append(m.allowed, next)
}

func testModel(t *testing.T, subject Subject) {
	key := rapid.StringMatching(`[ab\xff]{1,3}`)
	changeOf := rapid.Custom(func(r *rapid.T) change {
		return change{key: key.Draw(r, "key"), value: rapid.StringN(0, 3, -1).Draw(r, "value"), deleted: rapid.Bool().Draw(r, "deleted")}
	})
	s := open(t, subject)
	m := &model{now: map[string]string{}}
	rapid.Check(t, func(r *rapid.T) {
		// One store serves all histories, because opening one on disk is slow;
		// each history begins with what the last one left.
		m.apply(nil, true)
		mustApply(t, s, &store.Batch{}, true)
		r.Repeat(map[string]func(*rapid.T){
			"apply": func(r *rapid.T) {
				changes := rapid.SliceOfN(changeOf, 0, 6).Draw(r, "changes")
				sync := rapid.IntRange(0, 4).Draw(r, "sync") == 0
				apply(t, s, sync, changes...)
				m.apply(changes, sync)
			},
			"get": func(r *rapid.T) {
				key := key.Draw(r, "key")
				got, err := s.Get([]byte(key))
				want, ok := m.now[key]
				if ok && (err != nil || string(got) != want) || !ok && !errors.Is(err, store.ErrNotFound) {
					r.Fatalf("Get(%q): got %q, %v, want %q, %t", key, got, err, want, ok)
				}
			},
			"scan": func(r *rapid.T) {
				from, to := key.Draw(r, "from"), key.Draw(r, "to")
				if got, want := content(t, s, []byte(from), []byte(to)), lines(m.now, from, to); !slices.Equal(got, want) {
					r.Fatalf("Scan(%q, %q): got %q, want %q", from, to, got, want)
				}
			},
		})
		if rapid.IntRange(0, 9).Draw(r, "crash") == 0 {
			s = crash(t, subject, s)
			m.restart(r, content(t, s, nil, nil))
		}
	})
}

func (m *model) restart(r *rapid.T, got []string) {
	for _, state := range m.allowed {
		if slices.Equal(got, lines(state, "", "")) {
			m.now, m.allowed = state, nil
			return
		}
	}
	r.Fatalf("after a crash: got %q, want %d states from %q to %q", got, len(m.allowed),
		lines(m.allowed[0], "", ""), lines(m.now, "", ""))
}

// change is one step of a batch as a test writes it.
type change struct {
	key, value string
	deleted    bool
}

func set(key, value string) change { return change{key: key, value: value} }
func remove(key string) change     { return change{key: key, deleted: true} }

func batchOf(changes ...change) *store.Batch {
	var batch store.Batch
	for _, c := range changes {
		if c.deleted {
			batch.Delete([]byte(c.key))
		} else {
			batch.Set([]byte(c.key), []byte(c.value))
		}
	}
	return &batch
}

func apply(t *testing.T, s store.Store, sync bool, changes ...change) {
	t.Helper()
	mustApply(t, s, batchOf(changes...), sync)
}

func mustApply(t *testing.T, s store.Store, batch *store.Batch, sync bool) {
	t.Helper()
	if err := s.Apply(batch, sync); err != nil {
		t.Fatalf("Apply: %v", err)
	}
}

func open(t *testing.T, subject Subject) store.Store {
	t.Helper()
	s := subject.Open(t)
	t.Cleanup(func() { s.Close() })
	return s
}

func crash(t *testing.T, subject Subject, s store.Store) store.Store {
	t.Helper()
	again := subject.Crash(t, s)
	t.Cleanup(func() { again.Close() })
	return again
}

func wantValue(t *testing.T, s store.Store, key, want string) {
	t.Helper()
	if got, err := s.Get([]byte(key)); err != nil || string(got) != want {
		t.Errorf("Get(%.20q): got %.40q, %v, want %.40q", key, got, err, want)
	}
}

func wantAbsent(t *testing.T, s store.Store, key string) {
	t.Helper()
	if got, err := s.Get([]byte(key)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get(%q): got %q, %v, want ErrNotFound", key, got, err)
	}
}

func wantContent(t *testing.T, s store.Store, want ...string) {
	t.Helper()
	if got := content(t, s, nil, nil); !slices.Equal(got, want) {
		t.Errorf("content: got %q, want %q", got, want)
	}
}

func content(t *testing.T, s store.Store, from, to []byte) []string {
	t.Helper()
	var found []string
	err := s.Scan(from, to, func(key, value []byte) bool {
		found = append(found, string(key)+"="+string(value))
		return true
	})
	if err != nil {
		t.Errorf("Scan(%q, %q): %v", from, to, err)
	}
	return found
}

// lines is what content returns of a store that holds what state does; an empty
// to means no end.
func lines(state map[string]string, from, to string) []string {
	var found []string
	for _, key := range slices.Sorted(maps.Keys(state)) {
		if key >= from && (to == "" || key < to) {
			found = append(found, key+"="+state[key])
		}
	}
	return found
}
