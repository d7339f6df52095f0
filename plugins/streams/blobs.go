package streams

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"weft/plugins"
	"weft/plugins/streams/channel"
	"weft/tangle"
)

// blobStore keeps payloads beside the ledger as files of the node's data folder:
//
//	blobs/<channel>/<root>.leaves   size, who declared it, hashes of its chunks
//	blobs/<channel>/<root>.part     chunks as they come
//	blobs/<channel>/<root>.blob     all of them
//
// It knows chunks and hashes and no rule of channels. It is safe for concurrent use.
type blobStore struct {
	dir string // empty: the node has no folder
	max int64  // bytes; 0: no bound
	now func() time.Time

	mu      sync.Mutex // guards all below
	uploads map[blobKey]*upload
	loose   map[blobKey]string // those that no record refers to as far as is known, by who declared them
	used    int64              // sizes of all that are declared, whether or not their bytes have come
}

// blobKey names a blob: the same bytes in two channels are two.
type blobKey struct {
	channel channel.ID
	root    tangle.Hash
}

// blobLeaves is what is known of a blob before its bytes are.
type blobLeaves struct {
	Size   int64         `json:"size"`
	Owner  string        `json:"owner,omitempty"`
	Leaves []tangle.Hash `json:"leaves"`
}

// upload is a blob that lacks chunks.
type upload struct {
	blobLeaves
	mu   sync.Mutex // guards all below, and the file
	have []bool
	left int // 0: it is whole, and the file has its last name
}

// Bounds of what is kept.
const (
	MaxUploads = 32 // of one DID that no record refers to
	MaxLoose   = 10_000
	looseLife  = 24 * time.Hour
	maxKnown   = 1000 // uploads in memory; others are read from the disk again
)

func openBlobs(dir string, most int64, now func() time.Time) (*blobStore, error) {
	b := &blobStore{max: most, now: now, uploads: map[blobKey]*upload{}, loose: map[blobKey]string{}}
	if dir == "" {
		return b, nil
	}
	b.dir = filepath.Join(dir, "blobs")
	err := b.each(func(k blobKey) error {
		l, err := b.leaves(k)
		if err == nil {
			b.loose[k] = l.Owner
			b.used += l.Size
		}
		return err
	})
	return b, err
}

// each visits all blobs that are declared.
func (b *blobStore) each(visit func(blobKey) error) error {
	files, err := filepath.Glob(filepath.Join(b.dir, "*", "*.leaves"))
	if err != nil {
		return err
	}
	for _, name := range files {
		id, errID := channel.ParseID(filepath.Base(filepath.Dir(name)))
		root, errRoot := channel.ParseID(strings.TrimSuffix(filepath.Base(name), ".leaves"))
		if errID != nil || errRoot != nil {
			continue // not ours
		}
		if err := visit(blobKey{id, tangle.Hash(root)}); err != nil {
			return err
		}
	}
	return nil
}

func (b *blobStore) path(k blobKey, suffix string) string {
	return filepath.Join(b.dir, k.channel.String(), k.root.String()+suffix)
}

func (b *blobStore) leaves(k blobKey) (l blobLeaves, err error) {
	raw, err := os.ReadFile(b.path(k, ".leaves"))
	if err == nil {
		err = json.Unmarshal(raw, &l)
	}
	if err == nil && (l.Size <= 0 || len(l.Leaves) != chunksOf(l.Size) || channel.BlobRoot(l.Leaves) != k.root) {
		err = fmt.Errorf("%s is damaged", b.path(k, ".leaves"))
	}
	return l, err
}

func chunksOf(size int64) int { return int((size + channel.ChunkBytes - 1) / channel.ChunkBytes) }

// chunkSize is the length of a chunk of a blob.
func chunkSize(size int64, n int) int64 {
	return min(channel.ChunkBytes, size-int64(n)*channel.ChunkBytes)
}

// checkLeaves holds that leaves are those of a root.
func checkLeaves(root tangle.Hash, l blobLeaves) error {
	switch {
	case l.Size < 1 || l.Size > channel.MaxBlob:
		return plugins.Reject("bad_value", "size: want 1 to %d bytes", channel.MaxBlob)
	case len(l.Leaves) != chunksOf(l.Size):
		return plugins.Reject("bad_value", "leaves: %d bytes have %d chunks", l.Size, chunksOf(l.Size))
	case channel.BlobRoot(l.Leaves) != root:
		return plugins.Reject("bad_value", "root is not that of the leaves")
	}
	return nil
}

// declare says which chunks will come, or finds what has come before.
func (b *blobStore) declare(k blobKey, l blobLeaves) (*upload, error) {
	if b.dir == "" {
		return nil, plugins.Reject("not_ready", "the node has no data folder for payloads")
	}
	if err := checkLeaves(k.root, l); err != nil {
		return nil, err
	}
	u, err := b.find(k)
	if err != nil || u != nil {
		return u, err
	}
	if err := b.create(k, l); err != nil {
		return nil, err
	}
	return b.find(k)
}

// create keeps the leaves of a blob, unless somebody else has been faster.
func (b *blobStore) create(k blobKey, l blobLeaves) error {
	raw, err := json.Marshal(l)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, err := os.Stat(b.path(k, ".leaves")); err == nil {
		return nil
	}
	if err := b.takes(l); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(b.path(k, "")), 0o700); err != nil {
		return err
	}
	if err := writeWhole(b.path(k, ".leaves"), raw); err != nil {
		return err
	}
	b.loose[k] = l.Owner
	b.used += l.Size
	return nil
}

// takes refuses a blob that is one too many, or too much. Those that this node fetches itself have no owner.
func (b *blobStore) takes(l blobLeaves) error {
	mine := 0
	for _, other := range b.loose {
		if other == l.Owner {
			mine++
		}
	}
	if (mine >= MaxUploads && l.Owner != "") || len(b.loose) >= MaxLoose {
		return plugins.Reject("limit_reached", "%d payloads wait for their records", mine)
	}
	if b.max > 0 && l.Size > b.max-b.used {
		return plugins.Reject("quota_exceeded", "this node keeps at most %d bytes of payloads, and %d are taken", b.max, b.used)
	}
	return nil
}

// facts are figures for metrics.
func (b *blobStore) facts() []plugins.Fact {
	b.mu.Lock()
	defer b.mu.Unlock()
	return []plugins.Fact{
		{Name: "weft_blob_bytes", Help: "Payloads beside the ledger that are declared here, in bytes.", Value: float64(b.used)},
		{Name: "weft_blob_max_bytes", Help: "The most that this node keeps of them; 0: no bound.", Value: float64(b.max)},
	}
}

// writeWhole makes a file whole or not at all.
func writeWhole(name string, content []byte) error {
	temporary := name + ".new"
	f, err := os.OpenFile(temporary, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(temporary, name)
}

// find returns what is known of a blob; nil if it is not declared here.
func (b *blobStore) find(k blobKey) (*upload, error) {
	if b.dir == "" {
		return nil, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if u := b.uploads[k]; u != nil {
		return u, nil
	}
	l, err := b.leaves(k)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	u := &upload{blobLeaves: l, have: make([]bool, len(l.Leaves)), left: len(l.Leaves)}
	if b.has(k.channel, k.root) {
		for n := range u.have {
			u.have[n] = true
		}
		u.left = 0
	} else if err := u.recover(b.path(k, ".part")); err != nil {
		return nil, err
	}
	if len(b.uploads) >= maxKnown {
		clear(b.uploads)
	}
	b.uploads[k] = u
	return u, nil
}

// recover finds out which chunks a file has: those that hash to their leaf, whatever was going on when the node stopped.
func (u *upload) recover(name string) error {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	chunk := make([]byte, channel.ChunkBytes)
	for n, leaf := range u.Leaves {
		part := chunk[:chunkSize(u.Size, n)]
		if _, err := f.ReadAt(part, int64(n)*channel.ChunkBytes); err != nil {
			return nil // shorter than that
		}
		if channel.LeafHash(part) == leaf {
			u.have[n] = true
			u.left--
		}
	}
	return nil
}

// has says whether all of a blob is here.
func (b *blobStore) has(id channel.ID, root tangle.Hash) bool {
	if b.dir == "" {
		return false
	}
	_, err := os.Stat(b.path(blobKey{id, root}, ".blob"))
	return err == nil
}

// holds refuses a record whose blob is not whole here, or is another one than the record says.
func (b *blobStore) holds(id channel.ID, want channel.Blob) error {
	u, err := b.find(blobKey{id, want.Root})
	switch {
	case err != nil:
		return err
	case u == nil || !b.has(id, want.Root):
		return plugins.Reject("blob_incomplete", "chunks of blob %s are missing here", want.Root)
	case u.Size != want.Size || len(u.Leaves) != want.Chunks:
		return plugins.Reject("bad_value", "blob %s has %d bytes in %d chunks", want.Root, u.Size, len(u.Leaves))
	}
	return nil
}

// missing are the chunks that have not come.
func (u *upload) missing() []int {
	u.mu.Lock()
	defer u.mu.Unlock()
	list := []int{}
	for n, have := range u.have {
		if !have {
			list = append(list, n)
		}
	}
	return list
}

func (u *upload) lacks(n int) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return !u.have[n]
}

// put takes a chunk if it is the right one. With the last one the blob is whole and durable.
func (b *blobStore) put(k blobKey, u *upload, n int, chunk []byte) error {
	if n < 0 || n >= len(u.Leaves) {
		return plugins.Reject("bad_parameter", "the blob has %d chunks", len(u.Leaves))
	}
	if channel.LeafHash(chunk) != u.Leaves[n] || int64(len(chunk)) != chunkSize(u.Size, n) {
		return plugins.Reject("bad_value", "this is not chunk %d of the blob", n)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.have[n] {
		return nil
	}
	f, err := os.OpenFile(b.path(k, ".part"), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(chunk, int64(n)*channel.ChunkBytes)
	if err == nil && u.left == 1 {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if u.left == 1 {
		if err := os.Rename(b.path(k, ".part"), b.path(k, ".blob")); err != nil {
			return err
		}
	}
	u.have[n] = true
	u.left--
	return nil
}

// read returns a chunk that is here.
func (b *blobStore) read(k blobKey, u *upload, n int) ([]byte, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	name := b.path(k, ".blob")
	if u.left > 0 {
		name = b.path(k, ".part")
	}
	if n < 0 || n >= len(u.have) || !u.have[n] {
		return nil, plugins.Reject("blob_incomplete", "chunk %d is not here", n)
	}
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, plugins.Reject("erased", "the payload is gone")
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	chunk := make([]byte, chunkSize(u.Size, n))
	_, err = f.ReadAt(chunk, int64(n)*channel.ChunkBytes)
	return chunk, err
}

// remove deletes a blob; held says whether all of it was here.
func (b *blobStore) remove(k blobKey) (held bool, fault error) {
	if b.dir == "" {
		return false, nil
	}
	held = b.has(k.channel, k.root)
	l, _ := b.leaves(k) // without them it takes nothing
	b.mu.Lock()
	u := b.uploads[k]
	delete(b.uploads, k)
	delete(b.loose, k)
	err := os.Remove(b.path(k, ".leaves")) // under mu, so that find does not begin it anew
	if err == nil {
		b.used -= l.Size
	}
	b.mu.Unlock()
	if u != nil { // whoever writes to it still, finds it whole and writes nothing
		u.mu.Lock()
		defer u.mu.Unlock()
		for n := range u.have {
			u.have[n] = true
		}
		u.left = 0
	}
	for _, e := range []error{err, os.Remove(b.path(k, ".blob")), os.Remove(b.path(k, ".part"))} {
		if e != nil && !errors.Is(e, fs.ErrNotExist) {
			fault = errors.Join(fault, e)
		}
	}
	return held, fault
}

// fate says what becomes of a blob.
type fate int

const (
	loose fate = iota // no record refers to it: it has a day
	kept
	over // erased, or past its time
)

// expire drops loose blobs after their day; of others it forgets that they were loose.
func (b *blobStore) expire(judge func(blobKey) fate) error {
	b.mu.Lock()
	var list []blobKey
	for k := range b.loose {
		list = append(list, k)
	}
	b.mu.Unlock()
	for _, k := range list {
		if err := b.settle(k, judge(k)); err != nil {
			return err
		}
	}
	return nil
}

// sweep looks at every blob: what is over goes.
func (b *blobStore) sweep(judge func(blobKey) fate) error {
	return b.each(func(k blobKey) error { return b.settle(k, judge(k)) })
}

func (b *blobStore) settle(k blobKey, f fate) error {
	switch f {
	case kept:
		b.mu.Lock()
		delete(b.loose, k)
		b.mu.Unlock()
		return nil
	case loose:
		info, err := os.Stat(b.path(k, ".leaves"))
		if err == nil && b.now().Sub(info.ModTime()) < looseLife {
			return nil
		}
	}
	_, err := b.remove(k)
	return err
}
