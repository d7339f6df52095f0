package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
)

const (
	oldMark = "what-was-overwritten"
	newMark = "what-is-there"
)

// marked is a value of size bytes that says mark all over.
func marked(mark string, size int) []byte {
	return bytes.Repeat([]byte(mark+" "), size/(len(mark)+1)+1)[:size]
}

// purgeSizes are two values of the tree, so many of the second that they go through
// the journal, and two of the value log.
func purgeSizes() []int { return []int{30, 200, 600, 40_000} }

func purgeCount(size int) uint32 {
	if size == 200 {
		return 7000
	}
	return 100
}

// writeOld fills a store with old values, those of each size in one batch.
func writeOld(t *testing.T, s *Badger) {
	t.Helper()
	for _, size := range purgeSizes() {
		var batch Batch
		for i := range purgeCount(size) {
			batch.Set(Key('k', U32(uint32(size)), U32(i)), marked(oldMark, size))
		}
		mustSync(t, s, &batch)
	}
}

// overwriteOld overwrites half of them by smaller values and deletes the rest.
func overwriteOld(t *testing.T, s *Badger) {
	t.Helper()
	for _, size := range purgeSizes() {
		var batch Batch
		for i := range purgeCount(size) {
			if i%2 == 0 {
				batch.Set(Key('k', U32(uint32(size)), U32(i)), marked(newMark, size/2))
			} else {
				batch.Delete(Key('k', U32(uint32(size)), U32(i)))
			}
		}
		mustSync(t, s, &batch)
	}
}

func wantOverwritten(t *testing.T, s *Badger) {
	t.Helper()
	for _, size := range purgeSizes() {
		for i := range purgeCount(size) {
			got, err := s.Get(Key('k', U32(uint32(size)), U32(i)))
			if i%2 == 0 && !bytes.Equal(got, marked(newMark, size/2)) || i%2 == 1 && !errors.Is(err, ErrNotFound) {
				t.Errorf("value %d of %d bytes: got %d bytes, %v", i, size, len(got), err)
			}
		}
	}
}

func mustSync(t *testing.T, s *Badger, batch *Batch) {
	t.Helper()
	if err := s.Apply(batch, true); err != nil {
		t.Fatal(err)
	}
}

// filesWith lists the files below a folder in which a mark is, whole.
func filesWith(t *testing.T, dir, mark string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err == nil && bytes.Contains(content, []byte(mark)) {
			names = append(names, filepath.Base(path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestPurgeLeavesNoTrace looks into every file. The second time the generation is
// one that a Purge made.
func TestPurgeLeavesNoTrace(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	for range 2 {
		writeOld(t, s)
		if err := writeJournal(dir, []change{{key: []byte("k"), value: marked(oldMark, 600)}}, 1000); err != nil {
			t.Fatal(err)
		}
		mustClose(t, s)
		s = mustOpen(t, dir) // finishes the journal
		overwriteOld(t, s)
		var batch Batch
		batch.Delete([]byte("k"))
		if err := s.Apply(&batch, false); err != nil {
			t.Fatal(err)
		}
		if found := strings.Join(filesWith(t, dir, oldMark), " "); !strings.Contains(found, ".vlog") || !strings.Contains(found, ".sst") {
			t.Fatalf("before Purge only %s hold old values", found)
		}
		if err := s.Purge(t.Context()); err != nil {
			t.Fatal(err)
		}
		if found := filesWith(t, dir, oldMark); len(found) > 0 {
			t.Errorf("after Purge %s hold old values", found)
		}
		wantOverwritten(t, s)
		mustClose(t, s)
		s = mustOpen(t, dir)
		wantOverwritten(t, s)
		if found := filesWith(t, dir, oldMark); len(found) > 0 {
			t.Errorf("after Purge and a start %s hold old values", found)
		}
	}
	mustClose(t, s)
}

// TestPurgeWhileWriting writes before, at and after the place that Purge has come
// to, and in batches of all sizes.
func TestPurgeWhileWriting(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	writeOld(t, s)
	overwriteOld(t, s)
	var writer errgroup.Group
	purged := make(chan struct{})
	rounds := uint32(0)
	writer.Go(func() error {
		for {
			select {
			case <-purged:
				return nil
			default:
			}
			rounds++
			var batch Batch
			for i := range uint32(50) {
				batch.Set(Key('a', U32(i)), fmt.Appendf(nil, "%d", rounds))
				batch.Set(Key('z', U32(i)), marked(fmt.Sprint(rounds), 600))
				batch.Delete(Key('a', U32(i)))
				batch.Set(Key('b', U32(rounds)), marked("b", 40_000*int(rounds%4/3)))
			}
			if err := s.Apply(&batch, rounds%3 > 0); err != nil {
				return err
			}
		}
	})
	err := s.Purge(t.Context())
	close(purged)
	if err := errors.Join(err, writer.Wait()); err != nil {
		t.Fatal(err)
	}
	want := content(t, s)
	mustClose(t, s)
	s = mustOpen(t, dir)
	defer mustClose(t, s)
	wantOverwritten(t, s)
	if got := content(t, s); got != want || !strings.Contains(got, fmt.Sprintf("b%s=", U32(rounds))) {
		t.Errorf("opened again, the store of %d rounds has not what it had", rounds)
	}
	if found := filesWith(t, dir, oldMark); len(found) > 0 {
		t.Errorf("%s hold old values", found)
	}
}

// TestPurgeInterrupted stops at every step, by a crash and by a context, with
// writes to what is copied and to what is not.
func TestPurgeInterrupted(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	writeOld(t, s)
	overwriteOld(t, s)
	if err := s.beginCopy(); err != nil {
		t.Fatal(err)
	}
	steps := 0
	for done := false; !done; steps++ {
		var batch Batch
		batch.Set(Key('a', U32(uint32(steps))), marked(newMark, 700))
		batch.Set(Key('z', U32(uint32(steps))), marked(newMark, 30))
		if steps > 0 {
			batch.Delete(Key('a', U32(uint32(steps-1))))
		}
		mustSync(t, s, &batch)
		crashed(t, dir, content(t, s))
		var err error
		if done, err = step(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	if steps < 3 {
		t.Errorf("the copy took %d steps, want several", steps)
	}
	crashed(t, dir, content(t, s)) // what is retired is still there
	want := content(t, s)
	ended, end := context.WithCancel(t.Context())
	end()
	if err := s.Purge(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("Purge after its context ended: %v", err)
	}
	if err := s.beginCopy(); err != nil {
		t.Fatal(err)
	}
	if _, err := step(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if _, err := step(ended, s); !errors.Is(err, context.Canceled) {
		t.Errorf("a step after the context ended: %v", err)
	}
	if err := s.dropCopy(); err != nil {
		t.Fatal(err)
	}
	if got := content(t, s); got != want {
		t.Error("an interrupted Purge changed the content")
	}
	if err := s.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := content(t, s); got != want {
		t.Error("Purge changed the content")
	}
	if found := filesWith(t, dir, oldMark); len(found) > 0 {
		t.Errorf("%s hold old values", found)
	}
	mustClose(t, s)
}

// crashed opens a copy of a folder in use, as a start after a kill does.
func crashed(t *testing.T, dir, want string) {
	t.Helper()
	again := filepath.Join(t.TempDir(), "crashed")
	if err := os.CopyFS(again, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	s := mustOpen(t, again)
	defer mustClose(t, s)
	if got := content(t, s); got != want {
		t.Error("after a crash the store has not what it had")
	}
	generations, err := filepath.Glob(filepath.Join(again, "generation-*"))
	if err != nil || len(generations) > 1 {
		t.Errorf("after a crash there are %s, %v", generations, err)
	}
	manifest, err := filepath.Glob(filepath.Join(again, "MANIFEST"))
	if err != nil || len(generations)+len(manifest) != 1 {
		t.Errorf("after a crash there are %s and %s, %v", generations, manifest, err)
	}
}

// TestPurgeOfABrokenCopy fails the copy, which the store does not need.
func TestPurgeOfABrokenCopy(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	defer mustClose(t, s)
	writeOld(t, s)
	want := content(t, s)
	if err := s.beginCopy(); err != nil {
		t.Fatal(err)
	}
	s.next.to.log.Errorf("error flushing memtable to disk: %v", os.ErrPermission)
	if _, err := step(t.Context(), s); err == nil {
		t.Error("a step of a broken copy succeeded")
	}
	s.next.follow(s.version+1, []change{{key: []byte("a")}})
	if err := s.dropCopy(); err != nil {
		t.Fatal(err)
	}
	if err := s.Purge(t.Context()); err != nil {
		t.Error(err)
	}
	if got := content(t, s); got != want {
		t.Error("the content changed")
	}
}

// TestPurgeWaitsForReads holds a read open over a Purge: what it sees stays until it
// ends, and then goes with the next Purge or with Close.
func TestPurgeWaitsForReads(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	writeOld(t, s)
	seen := 0
	err := s.Scan(nil, nil, func(_, value []byte) bool {
		if seen++; seen == 1 {
			overwriteOld(t, s)
			if err := s.beginCopy(); err != nil {
				t.Fatal(err)
			}
			for done := false; !done; {
				var err error
				if done, err = step(t.Context(), s); err != nil {
					t.Fatal(err)
				}
			}
			ended, end := context.WithCancel(t.Context())
			end()
			if err := s.retire(ended); !errors.Is(err, context.Canceled) {
				t.Errorf("retire during a read: %v", err)
			}
		}
		if !bytes.Contains(value, []byte(oldMark)) {
			t.Errorf("value %d that the scan sees begins with %.20q", seen, value)
		}
		return true
	})
	if err != nil || seen != 7300 {
		t.Errorf("Scan: %v, %d values", err, seen)
	}
	wantOverwritten(t, s)
	mustClose(t, s)
	if found := filesWith(t, dir, oldMark); len(found) > 0 {
		t.Errorf("after Close %s hold old values", found)
	}
}

// TestCloseEndsPurge closes a store that is being purged.
func TestCloseEndsPurge(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	writeOld(t, s)
	s.endPurges() // as Close does first
	if err := s.Purge(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("Purge of a store that is being closed: %v", err)
	}
	mustClose(t, s)
	if err := s.Purge(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("Purge of a closed store: %v", err)
	}
}

func step(ctx context.Context, s *Badger) (done bool, err error) {
	_, done, err = s.timedStep(ctx)
	return done, err
}

// content is all that a store holds.
func content(t *testing.T, s Store) string {
	t.Helper()
	var all strings.Builder
	err := s.Scan(nil, nil, func(key, value []byte) bool {
		fmt.Fprintf(&all, "%s=%s\n", key, value)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

// TestPurgeAfterALeftover begins where an earlier Purge could not remove its copy: nothing of that comes back.
func TestPurgeAfterALeftover(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	defer mustClose(t, s)
	writeOld(t, s)
	left := mustOpen(t, filepath.Join(dir, s.current.nextName()))
	var batch Batch
	batch.Set(Key('a', U32(1)), marked(oldMark, 600))
	mustSync(t, left, &batch)
	mustClose(t, left)
	want := content(t, s)
	if err := s.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := content(t, s); got != want {
		t.Error("what an earlier copy held came back")
	}
}

// TestPartOfAFolder opens what a copy has left out the one or the other part of: the rest must not be taken for nothing.
func TestPartOfAFolder(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	writeOld(t, s)
	if err := s.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	name := s.current.name
	mustClose(t, s)
	for _, missing := range []string{currentName, name} {
		part := filepath.Join(t.TempDir(), "part")
		if err := os.CopyFS(part, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Join(part, missing)); err != nil {
			t.Fatal(err)
		}
		s, err := OpenBadger(BadgerConfig{Dir: part})
		if err == nil {
			t.Errorf("without %s it opens", missing)
			mustClose(t, s)
		}
		if files := filesWith(t, part, oldMark); missing == currentName && len(files) == 0 {
			t.Errorf("without %s the rest is gone", missing)
		}
	}
}
