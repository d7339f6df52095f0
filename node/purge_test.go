package node

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"weft/config/genesis"
	"weft/internal/store"
	"weft/plugins"
	"weft/tangle"
)

// shelvesMaker is shelves for a network whose genesis names it.
func shelvesMaker() plugins.Maker {
	return plugins.Maker{Name: "shelves", Open: func(plugins.Host) (plugins.Plugin, error) { return shelves().Plugin, nil }}
}

// filesHolding are the files of a folder with a text in them.
func filesHolding(t *testing.T, dir, text string) (found []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if bytes.Contains(content, []byte(text)) {
			found = append(found, filepath.Base(path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestPurge erases a body on a node with a disk: it is in the files of the store until these are written anew, also when the
// node has been started again in between, and the node has all else.
func TestPurge(t *testing.T) {
	dir := t.TempDir()
	g, key := oneMember()
	g.Plugins = append(g.Plugins, genesis.Plugin{Name: "shelves"})
	var n *Node
	open := func() (stop func()) {
		disk, err := store.OpenBadger(store.BadgerConfig{Dir: dir, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		n, err = Open(Config{
			Genesis: g, Key: key, Store: disk, Tuning: DefaultTuning(), API: apiConfig(), Makers: []plugins.Maker{shelvesMaker()},
			Log: slog.New(slog.NewTextHandler(io.Discard, nil)), PurgeEvery: time.Hour,
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- n.Run(ctx) }()
		return func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			if err := disk.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	stop := open()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	put := func(text string) tangle.Hash {
		t.Helper()
		_, hashes, err := n.Publish(ctx, []plugins.Submission{{Kind: 1024, Data: []byte(text)}})
		if err == nil {
			err = n.WaitFinal(ctx, hashes, tangle.ID{})
		}
		if err != nil {
			t.Fatal(err)
		}
		return hashes[0]
	}
	goes, stays := put("put 1 "+personal), put("put 2 what stays")
	if err := n.Ledger.Erase(goes); err != nil {
		t.Fatal(err)
	}
	state, err := n.PurgeState()
	if err != nil || state.Erased != 1 || state.Purged != 0 || !state.At.IsZero() {
		t.Fatalf("before: %+v, %v", state, err)
	}
	stop()
	if len(filesHolding(t, dir, personal)) == 0 {
		t.Fatal("the files do not hold it before: the search proves nothing")
	}
	stop = open()
	if r := callDoor(n.api.operator, "POST", "/api/v1/operator/purge", ""); r.status != 202 {
		t.Fatalf("HTTP %d %s", r.status, r.body)
	}
	for state.Running = true; state.Running; {
		if state, err = n.PurgeState(); err != nil || state.Failed != nil {
			t.Fatalf("%+v, %v", state, err)
		}
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			t.Fatal("it does not end")
		}
	}
	if state.Purged != 1 || state.At.IsZero() || n.purgeDue(time.Now().Add(2*time.Hour)) {
		t.Errorf("after: %+v", state)
	}
	if found := filesHolding(t, dir, personal); len(found) > 0 {
		t.Errorf("still in %v", found)
	}
	if len(filesHolding(t, dir, "what stays")) == 0 {
		t.Error("what stays is in no file")
	}
	again := put("put 3 " + personal)
	stop()
	stop = open()
	defer func() { stop() }()
	for _, h := range []tangle.Hash{goes, stays, again} {
		if r, err := n.Ledger.Entry(h); err != nil || r.Entry.Erased() != (h == goes) {
			t.Errorf("%+v, %v", r.Entry, err)
		}
	}
}

// TestPurgeIsDue says when the files are written anew without anybody asking.
func TestPurgeIsDue(t *testing.T) {
	n := &Node{config: Config{Store: store.NewMemory(), PurgeEvery: 10 * time.Minute}, purging: newPurging(), log: slog.New(slog.DiscardHandler)}
	files := n.config.Store.(store.Purger)
	erased := func(bodies uint64) {
		t.Helper()
		var b store.Batch
		b.Set(keyErased(), store.U64(bodies))
		if err := n.config.Store.Apply(&b, true); err != nil {
			t.Fatal(err)
		}
	}
	want := func(what string, after time.Duration, due bool) {
		t.Helper()
		if got := n.purgeDue(time.Now().Add(after)); got != due {
			t.Errorf("%s: due %t, want %t", what, got, due)
		}
	}
	want("nothing erased", 0, false)
	erased(1)
	want("one body", 0, true)
	n.purge(t.Context(), files)
	want("purged", time.Hour, false)
	erased(2)
	want("another body at once", 0, false)
	want("another body, later", 11*time.Minute, true)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	n.purge(ended, files)
	if s, err := n.PurgeState(); err != nil || s.Failed == nil || s.Purged != 1 {
		t.Errorf("after a failure: %+v, %v", s, err)
	}
	want("just failed", 11*time.Minute, false)
	want("failed a while ago", 61*time.Minute, true)
	n.config.PurgeEvery = 0
	want("only when asked", 24*time.Hour, false)
}
