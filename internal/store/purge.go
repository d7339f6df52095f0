package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const (
	// copyBytes is what Purge copies while writers wait, and a largest value more.
	copyBytes = 256 << 10
	// purgeFreeBytes is what Purge leaves free on the disk for the node.
	purgeFreeBytes = 4 * minFreeBytes
)

// copying is a new generation on its way. Every key below upTo is as in the
// current one, each other key is not there yet.
type copying struct {
	to     *generation
	upTo   []byte
	ahead  int // bytes written since the last step, of keys not there yet
	failed error
}

// Purge lets the files of the store hold what the store holds and nothing else:
// a value that was overwritten or deleted before the call is in none of them when
// Purge has returned nil. Badger gives up old values file by file when it thinks
// it worth the work, and has no way to be told to; so all that is there is copied
// to a new database beside the old one, in small steps between the node's writes,
// and then the old one is deleted. What is written meanwhile is written to both.
//
// It costs reading and writing the whole store once, room for a second one on the
// disk meanwhile, the memory of a second set of memtables, and a second synced
// write with each Apply to the part that is copied. Half of the time it waits for
// others. When ctx ends it gives up, and the next one starts anew. A crash loses
// nothing: opening the store removes what is not current.
//
// Files are deleted as the system deletes them; what the disk itself keeps of a
// deleted file is not in Purge's hands.
func (b *Badger) Purge(ctx context.Context) error {
	b.purge.Lock()
	defer b.purge.Unlock()
	ctx, stop := b.untilClosed(ctx)
	defer stop()
	if err := b.retire(ctx); err != nil {
		return err
	}
	if err := b.beginCopy(); err != nil {
		return fmt.Errorf("purging store %s: %w", b.config.Dir, err)
	}
	for done := false; !done; {
		var long time.Duration
		var err error
		if long, done, err = b.timedStep(ctx); err != nil {
			return fmt.Errorf("purging store %s: %w", b.config.Dir, errors.Join(err, b.dropCopy()))
		}
		pause(ctx, long)
	}
	return b.retire(ctx)
}

// untilClosed is a context that ends when the store is about to be closed, too.
func (b *Badger) untilClosed(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := context.WithCancelCause(ctx)
	detach := context.AfterFunc(b.closing, func() { stop(ErrClosed) })
	if b.closing.Err() != nil {
		stop(ErrClosed)
	}
	return ctx, func() { detach(); stop(nil) }
}

func pause(ctx context.Context, long time.Duration) {
	timer := time.NewTimer(long)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// beginCopy makes an empty generation, also where an earlier one could not be
// removed. What waits is written first, so that it overwrites what it overwrites.
func (b *Badger) beginCopy() error {
	b.write.Lock()
	defer b.write.Unlock()
	if err := b.writable(); err != nil {
		return err
	}
	if err := b.commit(&Batch{}); err != nil {
		return err
	}
	name := b.current.nextName()
	if err := os.RemoveAll(filepath.Join(b.config.Dir, name)); err != nil {
		return err
	}
	to, err := openGeneration(b.config, name)
	if err != nil {
		return err
	}
	b.next = &copying{to: to}
	return nil
}

// timedStep tells how long it kept writers waiting.
func (b *Badger) timedStep(ctx context.Context) (long time.Duration, done bool, err error) {
	b.write.Lock()
	defer b.write.Unlock()
	begun := time.Now()
	done, err = b.copyStep(ctx)
	return time.Since(begun), done, err
}

// copyStep copies a little more. After the last step the copy is the store. The
// caller holds write.
func (b *Badger) copyStep(ctx context.Context) (done bool, err error) {
	if err := errors.Join(context.Cause(ctx), b.next.failed, b.writable()); err != nil {
		return false, err
	}
	if free, known := FreeBytes(b.config.Dir); known && free < purgeFreeBytes {
		return false, fmt.Errorf("%w: %d MiB free, a copy leaves %d", ErrDiskFull, free>>20, purgeFreeBytes>>20)
	}
	for bytes := copyBytes + b.next.ahead; bytes > 0 && !done; { // more than what has come, so that it ends
		copied, err := b.copySome()
		if err != nil {
			return false, err
		}
		bytes, done = bytes-copied, copied == 0
	}
	b.next.ahead = 0
	if done {
		return true, b.useCopy()
	}
	return false, nil
}

// copySome copies what fits one transaction, 0 at the end. The caller holds write.
func (b *Badger) copySome() (size int, err error) {
	changes, err := b.current.readFrom(b.version, b.next.upTo, copyBytes)
	if err != nil || len(changes) == 0 {
		return 0, err
	}
	if err := errors.Join(b.next.to.writeAt(b.version, changes), b.next.to.log.firstError()); err != nil {
		return 0, err
	}
	b.next.upTo = append(bytes.Clone(changes[len(changes)-1].key), 0)
	for _, c := range changes {
		size += c.size()
	}
	return size, nil
}

// follow writes a batch of the store to the copy too. A copy that fails is given
// up; the store does not need it.
func (c *copying) follow(version uint64, changes []change) {
	if c.failed != nil {
		return
	}
	var copied []change
	for _, change := range changes {
		if bytes.Compare(change.key, c.upTo) < 0 {
			copied = append(copied, change)
		} else {
			c.ahead += change.size()
		}
	}
	if len(copied) > 0 {
		c.failed = errors.Join(c.to.writeAt(version, copied), c.to.log.firstError())
	}
	c.to.db.SetDiscardTs(version)
}

// useCopy lets the complete copy be the store, for a next start first. The caller
// holds write. When it fails nobody knows what a next start would open, so that
// nothing more may be written.
func (b *Badger) useCopy() error {
	if err := errors.Join(syncDir(b.next.to.dir), setCurrentGeneration(b.config.Dir, b.next.to.name)); err != nil {
		b.failed = err
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.retired, b.current = b.current, b.next.to
	b.next = nil
	return nil
}

// dropCopy deletes an incomplete copy, unless a next start may have to open it.
func (b *Badger) dropCopy() error {
	b.write.Lock()
	to, failed := b.next.to, b.failed
	b.next = nil
	b.write.Unlock()
	if failed != nil {
		return to.db.Close()
	}
	return to.remove()
}

// retire deletes the generation before the current one, when its last read has
// ended. The caller holds purge.
func (b *Badger) retire(ctx context.Context) error {
	wake := context.AfterFunc(ctx, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.ended.Broadcast()
	})
	defer wake()
	b.mu.Lock()
	old := b.retired
	for old != nil && len(old.readers) > 0 && ctx.Err() == nil {
		b.ended.Wait()
	}
	b.mu.Unlock()
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("purging store %s: %w", b.config.Dir, err)
	}
	if old == nil {
		return nil
	}
	if err := old.remove(); err != nil {
		return fmt.Errorf("purging store %s: %w", b.config.Dir, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.retired = nil
	return nil
}
