package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// BadgerConfig says where and how large a store on disk is.
type BadgerConfig struct {
	// Dir is the folder; it is made if it is not there. One process at a time.
	Dir string
	// MemoryBytes is the size of a memtable, of which there are at most three:
	// one being filled and two being written out. Batches over a tenth of it are
	// written twice. 0 means DefaultMemoryBytes, which is also the least.
	MemoryBytes int64
	// Log receives what Badger reports of its background work; nil means nothing.
	Log *slog.Logger
}

// Badger is the store on disk. See docs/decisions/0003-badger.md for why it is
// built as it is: every Badger transaction is synced, unsynced batches wait in
// memory for the next one, and versions are numbered here (managed mode) so that
// a reader never waits for a sync in progress.
type Badger struct {
	config           BadgerConfig
	lock             *os.File
	transactionBytes int // at most as much of the tree in one transaction, as treeBytes counts

	purge sync.Mutex // one Purge at a time; taken before write

	write  sync.Mutex // one Apply at a time, through its sync; taken before mu
	failed error      // guarded by write; not nil: no more writes
	next   *copying   // guarded by write; what Purge makes, while it does

	mu      sync.Mutex  // guards the rest; never held during I/O or a visit
	ended   sync.Cond   // of mu: a read has ended
	current *generation // changed only with write held as well
	retired *generation // the one before, until its reads have ended
	version uint64      // of the newest transaction that is durable
	waiting waiting     // changed only with write held as well
	closed  bool

	closing   context.Context // ends when Close is called
	endPurges context.CancelFunc
}

var (
	_ Store  = (*Badger)(nil)
	_ Purger = (*Badger)(nil)
)

// OpenBadger opens the folder, after a crash too, and holds it until Close.
// It returns ErrLocked when another process, or another store of this one, has it.
func OpenBadger(c BadgerConfig) (*Badger, error) {
	options, err := c.options(&badgerLog{})
	if err != nil {
		return nil, err
	}
	lock, err := lockFolder(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("opening data folder %s: %w", c.Dir, err)
	}
	b := &Badger{
		config:           c,
		lock:             lock,
		transactionBytes: int(options.MemTableSize / 10),
	}
	b.closing, b.endPurges = context.WithCancel(context.Background())
	b.ended.L = &b.mu
	if err := b.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("opening data folder %s: %w", c.Dir, err), lock.Close())
	}
	return b, nil
}

func (b *Badger) open() error {
	name, err := currentGeneration(b.config.Dir)
	if err != nil {
		return err
	}
	if err := checkComplete(b.config.Dir, name); err != nil {
		return err
	}
	if err := removeOtherGenerations(b.config.Dir, name); err != nil {
		return err
	}
	if b.current, err = openGeneration(b.config, name); err != nil {
		return err
	}
	b.version = b.current.db.MaxVersion()
	if err := b.finishLarge(); err != nil {
		return errors.Join(err, b.current.db.Close())
	}
	return nil
}

func (b *Badger) Get(key []byte) ([]byte, error) {
	if len(key) == 0 {
		return nil, ErrNotFound
	}
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil, ErrClosed
	}
	if c, ok := b.waiting.changes[string(key)]; ok {
		b.mu.Unlock()
		return c.copyValue()
	}
	g, version := b.beginRead()
	b.mu.Unlock()
	defer b.endRead(g, version)
	return g.getAt(version, key)
}

func (b *Badger) Scan(from, to []byte, visit func(key, value []byte) bool) error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return ErrClosed
	}
	waiting := b.waiting.between(from, to)
	g, version := b.beginRead()
	b.mu.Unlock()
	defer b.endRead(g, version)
	slices.SortFunc(waiting, func(x, y change) int { return bytes.Compare(x.key, y.key) })
	return g.scanAt(version, span{from, to}, waiting, visit)
}

func (b *Badger) Apply(batch *Batch, sync bool) error {
	if err := batch.check(); err != nil {
		return err
	}
	b.write.Lock()
	defer b.write.Unlock()
	if err := b.writable(); err != nil {
		return err
	}
	if !sync && b.waiting.size+batch.size <= MaxUnsyncedBytes {
		b.postpone(batch)
		return nil
	}
	return b.commit(batch)
}

// Close ends a Purge that is under way.
func (b *Badger) Close() error {
	b.endPurges()
	b.purge.Lock()
	defer b.purge.Unlock()
	b.write.Lock()
	defer b.write.Unlock()
	err := b.writable()
	if errors.Is(err, ErrClosed) {
		return nil
	}
	if err == nil {
		err = b.commit(&Batch{})
	}
	b.mu.Lock()
	b.closed = true
	for len(b.current.readers) > 0 || b.retired != nil && len(b.retired.readers) > 0 {
		b.ended.Wait()
	}
	b.mu.Unlock()
	if b.retired != nil {
		err = errors.Join(err, b.retired.remove())
	}
	return errors.Join(err, b.current.db.Close(), b.lock.Close())
}

// RunGC gives back the space of deleted values that Badger keeps outside its
// tree, from time to time until ctx ends. The tree itself is compacted by Badger
// without being asked.
func (b *Badger) RunGC(ctx context.Context) error {
	const interval, garbageShare = 10 * time.Minute, 0.5
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if err := b.collect(garbageShare); err != nil {
			return err
		}
	}
}

// collect writes at most one file of values anew.
func (b *Badger) collect(garbageShare float64) error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil
	}
	g, version := b.beginRead()
	b.mu.Unlock()
	defer b.endRead(g, version)
	err := g.db.RunValueLogGC(garbageShare)
	if err != nil && !errors.Is(err, badger.ErrNoRewrite) && !errors.Is(err, badger.ErrRejected) {
		return fmt.Errorf("value log of %s: %w", g.dir, err)
	}
	return nil
}

// Verify reads all of the tree on disk and compares its checksums.
func (b *Badger) Verify() error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return ErrClosed
	}
	g, version := b.beginRead()
	b.mu.Unlock()
	defer b.endRead(g, version)
	if err := g.db.VerifyChecksum(); err != nil {
		return fmt.Errorf("data folder %s is damaged: %w", g.dir, err)
	}
	return nil
}

// finishLarge writes the rest of a large batch that a crash interrupted.
func (b *Badger) finishLarge() error {
	changes, err := readJournal(b.config.Dir)
	if err != nil {
		return err
	}
	version, err := b.writePieces(changes)
	if err != nil {
		return err
	}
	b.show(version)
	return nil
}

// writable returns why nothing may be written, if so. The caller holds write.
func (b *Badger) writable() error {
	b.mu.Lock()
	closed := b.closed
	b.mu.Unlock()
	if closed {
		return ErrClosed
	}
	if b.failed == nil {
		b.failed = b.current.log.firstError()
	}
	if b.failed != nil {
		return fmt.Errorf("store %s takes no more writes: %w", b.config.Dir, b.failed)
	}
	return checkFreeSpace(b.config.Dir)
}

// postpone lets a batch wait for the next commit. The caller holds write.
func (b *Badger) postpone(batch *Batch) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting.add(batch)
}

// commit makes all that waits, and then batch, durable and visible. The caller
// holds write; the waiting changes are read without mu because only a holder of
// write changes them.
func (b *Badger) commit(batch *Batch) error {
	changes := slices.Concat(b.waiting.list(), batch.changes)
	if len(changes) == 0 {
		return nil
	}
	large := treeBytes(changes) > b.transactionBytes
	if large && len(changes) > batch.Len() && batch.Len() > 0 {
		if err := b.commit(&Batch{}); err != nil {
			return err
		}
		return b.commit(batch)
	}
	var err error
	version := b.version
	if large {
		version, err = b.writeLarge(changes, batch.size)
	} else {
		version++
		err = b.writeAt(version, changes)
	}
	if err == nil {
		err = b.current.log.firstError() // a failed sync of the value log is told in no other way
	}
	if err != nil {
		// After a failed sync nobody knows what is on the disk.
		b.failed = err
		return fmt.Errorf("writing to store %s: %w", b.config.Dir, err)
	}
	b.show(version)
	return nil
}

// writeAt writes changes in one synced transaction, and as far as Purge has come
// to the copy too.
func (b *Badger) writeAt(version uint64, changes []change) error {
	if err := b.current.writeAt(version, changes); err != nil {
		return err
	}
	if b.next != nil {
		b.next.follow(version, changes)
	}
	return nil
}

// writeLarge writes changes that do not fit one transaction: first all of them
// into the journal, then piece by piece as versions that nobody reads yet.
func (b *Badger) writeLarge(changes []change, size int) (version uint64, err error) {
	if err := writeJournal(b.config.Dir, changes, size); err != nil {
		return 0, err
	}
	return b.writePieces(changes)
}

func (b *Badger) writePieces(changes []change) (version uint64, err error) {
	version = b.version
	for _, piece := range pieces(changes, b.transactionBytes) {
		version++
		if err := b.writeAt(version, piece); err != nil {
			return 0, err
		}
	}
	return version, removeJournal(b.config.Dir)
}

// show lets readers from now on see a version, which contains all that waited.
func (b *Badger) show(version uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.version = version
	b.waiting = waiting{}
	b.current.db.SetDiscardTs(b.oldestRead())
}

// beginRead keeps Badger from dropping what the present version sees. The caller
// holds mu and calls endRead later without it.
func (b *Badger) beginRead() (g *generation, version uint64) {
	b.current.readers[b.version]++
	return b.current, b.version
}

func (b *Badger) endRead(g *generation, version uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	g.readers[version]--
	if g.readers[version] == 0 {
		delete(g.readers, version)
		b.ended.Broadcast()
	}
}

// oldestRead is the oldest version that someone reads. The caller holds mu.
func (b *Badger) oldestRead() uint64 {
	oldest := b.version
	for version := range b.current.readers {
		oldest = min(oldest, version)
	}
	return oldest
}

// waiting is what was applied without sync and is not on disk: by key, the last
// change counts.
type waiting struct {
	changes map[string]change
	size    int
}

func (w *waiting) add(batch *Batch) {
	if w.changes == nil {
		w.changes = make(map[string]change, batch.Len())
	}
	for _, c := range batch.changes {
		if before, ok := w.changes[string(c.key)]; ok {
			w.size -= before.size()
		}
		w.changes[string(c.key)] = c
		w.size += c.size()
	}
}

func (w *waiting) list() []change {
	return slices.Collect(maps.Values(w.changes))
}

// between returns the changes of keys in [from, to), in no order.
func (w *waiting) between(from, to []byte) []change {
	var found []change
	for _, c := range w.changes {
		if bytes.Compare(c.key, from) >= 0 && (to == nil || bytes.Compare(c.key, to) < 0) {
			found = append(found, c)
		}
	}
	return found
}

// countUpTo counts the changes, in key order, of keys up to and with key.
func countUpTo(changes []change, key []byte) int {
	n := 0
	for n < len(changes) && bytes.Compare(changes[n].key, key) <= 0 {
		n++
	}
	return n
}

// visitAll visits the keys that changes leave behind until visit returns false.
func visitAll(changes []change, visit func(key, value []byte) bool) bool {
	for _, c := range changes {
		if !c.deleted && !visit(c.key, c.value) {
			return false
		}
	}
	return true
}

func (c change) copyValue() ([]byte, error) {
	if c.deleted {
		return nil, ErrNotFound
	}
	return append([]byte{}, c.value...), nil
}

// span is the keys in [from, to); to is nil for no end.
type span struct{ from, to []byte }

func (s span) beforeEnd(key []byte) bool {
	return s.to == nil || bytes.Compare(key, s.to) < 0
}

// prefix returns what all keys of the span begin with, so that Badger leaves out
// the tables without such keys.
func (s span) prefix() []byte {
	if bytes.Equal(s.to, PrefixEnd(s.from)) {
		return s.from
	}
	n := 0
	for n < len(s.from) && n < len(s.to) && s.from[n] == s.to[n] {
		n++
	}
	return s.from[:n]
}
