package client

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"sync"

	"golang.org/x/mod/sumdb/tlog"

	"weft/tangle"
)

// LogSource serves the pieces of a log by the paths of TilePath: a node, or a folder with a copy.
// It is called from several goroutines.
type LogSource interface {
	LogFile(ctx context.Context, path string) ([]byte, error)
}

// LogCheck computes a whole log anew from its leaves: nothing below a signed root can be missing, changed or reordered
// without the root being another one.
type LogCheck struct {
	Source LogSource
	Size   tangle.Position // of the signed checkpoint
	Root   tangle.Hash
	Leaf   func(p tangle.Position, leaf []byte) error // looks at each leaf, in order; may be nil

	// Since is an earlier checkpoint to compare with: the log must have had its root at its size. Size 0: none.
	Since     tangle.Position
	SinceRoot tangle.Hash

	// Progress hears of checked leaves now and then; may be nil.
	Progress func(done, of tangle.Position)
}

// LogCount is what a checked log consists of.
type LogCount struct {
	Leaves  uint64 `json:"leaves"`
	Bundles uint64 `json:"bundles"` // files of leaves
	Tiles   uint64 `json:"tiles"`   // files of hashes, each equal to what was computed
	Bytes   uint64 `json:"bytes"`
}

// Errors of LogCheck.Run that say the log is not what was signed.
var (
	ErrLogRoot  = errors.New("the log does not have the signed root")
	ErrLogSince = errors.New("the log does not contain the earlier checkpoint")
	ErrLogTile  = errors.New("a hash tile is not what its leaves give")
)

// maxAhead is how many files are fetched ahead of the one being checked.
const maxAhead = 16

// Run fetches every leaf and every tile and checks them. It does not call Source after it has returned.
func (k LogCheck) Run(ctx context.Context) (LogCount, error) {
	t := &logTree{check: k}
	err := k.fetch(ctx, k.bundlePaths, t.addBundle)
	if err != nil {
		return t.count, err
	}
	if got := t.root(); got != tlog.Hash(k.Root) {
		return t.count, fmt.Errorf("%w: computed %s, signed %s", ErrLogRoot, tangle.Hash(got), k.Root)
	}
	t.sealPartialTiles()
	return t.count, k.fetch(ctx, t.tilePaths, t.compareTile)
}

// bundlePaths yields the files of leaves in order.
func (k LogCheck) bundlePaths(yield func(logFile) bool) {
	for first := uint64(0); first < uint64(k.Size); first += TileWidth {
		width := int(min(TileWidth, uint64(k.Size)-first))
		if !yield(newLogFile(LeafLevel, int64(first/TileWidth), width)) {
			return
		}
	}
}

// logTree is the compact form of a growing Merkle tree: the roots of its full subtrees, largest first, and per tile level
// the hashes that have not filled a tile yet.
type logTree struct {
	check LogCheck
	count LogCount
	roots []subtree
	tiles []tileLevel
	files []tileSum // every tile to compare; 32 bytes for each 256 leaves
}

type subtree struct {
	level int
	hash  tlog.Hash
}

type tileLevel struct {
	n      int64 // index of the tile being filled
	hashes []byte
}

// tileSum is the hash of a tile's bytes, kept until the tile is fetched.
type tileSum struct {
	level int
	n     int64
	width int
	sum   tlog.Hash
}

func (t *logTree) addBundle(file logFile, data []byte) error {
	t.count.Bundles++
	t.count.Bytes += uint64(len(data))
	for range file.width {
		leaf, rest, err := cutLeaf(data)
		if err != nil {
			return fmt.Errorf("%s: %w", file.path, err)
		}
		data = rest
		if err := t.addLeaf(leaf); err != nil {
			return err
		}
	}
	if len(data) != 0 {
		return fmt.Errorf("%s: %d bytes after %d leaves", file.path, len(data), file.width)
	}
	if t.check.Progress != nil {
		t.check.Progress(tangle.Position(t.count.Leaves), t.check.Size)
	}
	return nil
}

// cutLeaf takes one leaf off a bundle: a 16-bit length and that many bytes (C2SP tlog-tiles).
func cutLeaf(b []byte) (leaf, rest []byte, err error) {
	if len(b) < 2 || len(b)-2 < int(binary.BigEndian.Uint16(b)) {
		return nil, nil, errors.New("bundle of leaves ends too early")
	}
	n := 2 + int(binary.BigEndian.Uint16(b))
	return b[2:n], b[n:], nil
}

func (t *logTree) addLeaf(leaf []byte) error {
	if t.check.Leaf != nil {
		if err := t.check.Leaf(tangle.Position(t.count.Leaves), leaf); err != nil {
			return fmt.Errorf("leaf %d: %w", t.count.Leaves, err)
		}
	}
	t.push(subtree{0, tlog.RecordHash(leaf)})
	t.count.Leaves++
	if t.count.Leaves == uint64(t.check.Since) {
		if got := t.root(); got != tlog.Hash(t.check.SinceRoot) {
			return fmt.Errorf("%w: at size %d computed %s, saved %s", ErrLogSince, t.check.Since, tangle.Hash(got), t.check.SinceRoot)
		}
	}
	return nil
}

// push adds a full subtree and joins it with its equals.
func (t *logTree) push(s subtree) {
	for {
		t.addToTile(s)
		n := len(t.roots)
		if n == 0 || t.roots[n-1].level != s.level {
			t.roots = append(t.roots, s)
			return
		}
		s = subtree{s.level + 1, tlog.NodeHash(t.roots[n-1].hash, s.hash)}
		t.roots = t.roots[:n-1]
	}
}

// tileHeight is the number of tree levels in a tile: 2^8 hashes.
const tileHeight = 8

func (t *logTree) addToTile(s subtree) {
	if s.level%tileHeight != 0 {
		return
	}
	level := s.level / tileHeight
	if level == len(t.tiles) {
		t.tiles = append(t.tiles, tileLevel{})
	}
	tile := &t.tiles[level]
	tile.hashes = append(tile.hashes, s.hash[:]...)
	if len(tile.hashes) == TileWidth*tlog.HashSize {
		t.sealTile(level)
	}
}

func (t *logTree) sealTile(level int) {
	tile := &t.tiles[level]
	t.files = append(t.files, tileSum{level, tile.n, len(tile.hashes) / tlog.HashSize, tlog.RecordHash(tile.hashes)})
	tile.n++
	tile.hashes = tile.hashes[:0]
}

func (t *logTree) sealPartialTiles() {
	for level := range t.tiles {
		if len(t.tiles[level].hashes) > 0 {
			t.sealTile(level)
		}
	}
}

// root is the Merkle tree hash of all leaves so far (RFC 6962, section 2.1).
func (t *logTree) root() tlog.Hash {
	n := len(t.roots)
	if n == 0 {
		empty, _ := tlog.TreeHash(0, nil) // reads nothing
		return empty
	}
	hash := t.roots[n-1].hash
	for i := n - 2; i >= 0; i-- {
		hash = tlog.NodeHash(t.roots[i].hash, hash)
	}
	return hash
}

// tilePaths yields the hash tiles in the order of t.files.
func (t *logTree) tilePaths(yield func(logFile) bool) {
	for _, f := range t.files {
		if !yield(newLogFile(f.level, f.n, f.width)) {
			return
		}
	}
}

// compareTile checks the next tile: other readers of the log rely on them.
func (t *logTree) compareTile(file logFile, data []byte) error {
	if tlog.RecordHash(data) != t.files[t.count.Tiles].sum {
		return fmt.Errorf("%w: %s", ErrLogTile, file.path)
	}
	t.count.Tiles++
	t.count.Bytes += uint64(len(data))
	return nil
}

// logFile is a piece of the log on its way.
type logFile struct {
	path  string
	width int
	done  chan fetched // gets one value
}

type fetched struct {
	data []byte
	err  error
}

func newLogFile(level int, n int64, width int) logFile {
	return logFile{path: TilePath(level, n, width), width: width, done: make(chan fetched, 1)}
}

// fetch gets files and hands them to take in their order, at most maxAhead on their way at a time.
func (k LogCheck) fetch(ctx context.Context, files iter.Seq[logFile], take func(logFile, []byte) error) error {
	ctx, cancel := context.WithCancel(ctx)
	ahead := make(chan logFile, maxAhead)
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	group.Go(func() {
		defer close(ahead)
		for file := range files {
			select {
			case ahead <- file:
			case <-ctx.Done():
				return
			}
			group.Go(func() {
				data, err := k.Source.LogFile(ctx, file.path)
				file.done <- fetched{data, err}
			})
		}
	})
	for file := range ahead {
		got := <-file.done
		if got.err != nil {
			return fmt.Errorf("%s: %w", file.path, got.err)
		}
		if err := take(file, got.data); err != nil {
			return err
		}
	}
	return ctx.Err()
}
