package client

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"weft/tangle"
)

// testLog is a log whose tree, tiles and paths come from package tlog: another implementation than the one under test.
type testLog struct {
	mu     sync.Mutex
	files  map[string][]byte
	asked  map[string]int
	roots  []tlog.Hash // by size
	hashes []tlog.Hash // stored hashes
}

func (l *testLog) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		out[i] = l.hashes[x]
	}
	return out, nil
}

func (l *testLog) LogFile(_ context.Context, path string) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked[path]++
	b, ok := l.files[path]
	if !ok {
		return nil, fmt.Errorf("%s: %w", path, fs.ErrNotExist)
	}
	return b, nil
}

func newTestLog(t *testing.T, size int) *testLog {
	t.Helper()
	l := &testLog{files: map[string][]byte{}, asked: map[string]int{}}
	for n := int64(0); ; n++ {
		var root tlog.Hash
		if size <= 1000 || n == int64(size/3) || n == int64(size) { // all of them take long
			var err error
			if root, err = tlog.TreeHash(n, l); err != nil {
				t.Fatal(err)
			}
		}
		l.roots = append(l.roots, root)
		if n == int64(size) {
			break
		}
		leaf := fmt.Appendf(nil, "leaf %d", n)
		stored, err := tlog.StoredHashes(n, leaf, l)
		if err != nil {
			t.Fatal(err)
		}
		l.hashes = append(l.hashes, stored...)
		bundle := TilePath(LeafLevel, n/TileWidth, min(TileWidth, size-int(n/TileWidth)*TileWidth))
		l.files[bundle] = append(binary.BigEndian.AppendUint16(l.files[bundle], uint16(len(leaf))), leaf...)
	}
	for _, tile := range tlog.NewTiles(8, 0, int64(size)) {
		data, err := tlog.ReadTileData(tile, l)
		if err != nil {
			t.Fatal(err)
		}
		if path := tlogPath(tile); size%TileWidth == 0 || !strings.Contains(path, ".p/") || tile.W < TileWidth {
			l.files[path] = data
		}
	}
	return l
}

// tlogPath is the path of C2SP tlog-tiles: without the height.
func tlogPath(t tlog.Tile) string { return strings.Replace(t.Path(), "tile/8/", "tile/", 1) }

func (l *testLog) check(size, since int) LogCheck {
	k := LogCheck{Source: l, Size: tangle.Position(size), Root: tangle.Hash(l.roots[size])}
	if since > 0 {
		k.Since, k.SinceRoot = tangle.Position(since), tangle.Hash(l.roots[since])
	}
	return k
}

func TestTilePath(t *testing.T) {
	for _, tile := range []tlog.Tile{{H: 8, L: 0, N: 0, W: 256}, {H: 8, L: 0, N: 7, W: 12}, {H: 8, L: 1, N: 999, W: 256}, {H: 8, L: 2, N: 1000, W: 256}, {H: 8, L: 0, N: 1234067, W: 1}} {
		if got, want := TilePath(tile.L, tile.N, tile.W), tlogPath(tile); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if got, want := TilePath(LeafLevel, 1234067, 256), "tile/entries/x001/x234/067"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestLogCheckAgreesWithTlog(t *testing.T) {
	for _, size := range []int{0, 1, 2, 3, 255, 256, 257, 511, 512, 1000, 66000} {
		l := newTestLog(t, size)
		leaves := 0
		k := l.check(size, size/3)
		k.Leaf = func(p tangle.Position, leaf []byte) error {
			if string(leaf) != fmt.Sprintf("leaf %d", p) {
				t.Errorf("position %d: leaf %q", p, leaf)
			}
			leaves++
			return nil
		}
		count, err := k.Run(t.Context())
		if err != nil || leaves != size || count.Leaves != uint64(size) {
			t.Errorf("size %d: %+v, %d leaves, %v", size, count, leaves, err)
		}
		for path := range l.files {
			if l.asked[path] != 1 {
				t.Errorf("size %d: %s was fetched %d times, want once", size, path, l.asked[path])
			}
		}
	}
}

// TestLogCheckSeesEveryByte changes one byte at a time.
func TestLogCheckSeesEveryByte(t *testing.T) {
	const size = 300
	l := newTestLog(t, size)
	for _, path := range slices.Sorted(maps.Keys(l.files)) {
		whole := l.files[path]
		for i := 0; i < len(whole); i += 1 + len(whole)/97 {
			l.files[path] = bytes.Clone(whole)
			l.files[path][i] ^= 1
			if _, err := l.check(size, 0).Run(t.Context()); err == nil {
				t.Errorf("%s: byte %d changed, and nobody noticed", path, i)
			}
		}
		l.files[path] = whole[:len(whole)-1]
		if _, err := l.check(size, 0).Run(t.Context()); err == nil {
			t.Errorf("%s: the last byte is missing, and nobody noticed", path)
		}
		l.files[path] = append(bytes.Clone(whole), 0)
		if _, err := l.check(size, 0).Run(t.Context()); err == nil {
			t.Errorf("%s: one byte more, and nobody noticed", path)
		}
		delete(l.files, path)
		if _, err := l.check(size, 0).Run(t.Context()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is missing: %v", path, err)
		}
		l.files[path] = whole
	}
}

func TestLogCheckComparesWithEarlierCheckpoints(t *testing.T) {
	l := newTestLog(t, 300)
	for since := 1; since <= 300; since++ {
		if _, err := l.check(300, since).Run(t.Context()); err != nil {
			t.Fatalf("since %d: %v", since, err)
		}
	}
	k := l.check(300, 200)
	k.SinceRoot[0] ^= 1
	if _, err := k.Run(t.Context()); !errors.Is(err, ErrLogSince) {
		t.Errorf("another history: %v", err)
	}
	k = l.check(300, 0)
	k.Root[5] ^= 1
	if _, err := k.Run(t.Context()); !errors.Is(err, ErrLogRoot) {
		t.Errorf("another root: %v", err)
	}
}

func TestLogCheckEndsWithItsContext(t *testing.T) {
	l := newTestLog(t, 300)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.check(300, 0).Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
