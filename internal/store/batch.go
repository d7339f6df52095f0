package store

import "fmt"

// entryOverheadBytes is what an entry is counted with beyond its key and value.
// It is the largest bookkeeping of one entry in Badger's memtable (its skiplist
// node), so that one bound on bytes also bounds the number of entries.
const entryOverheadBytes = 96

// Batch collects changes for one Apply. The zero value is empty and ready.
//
// It takes ownership of every slice given to it: the caller must not change
// them afterwards, not even when Apply has returned. Several batches may share
// a slice. A batch belongs to one goroutine.
type Batch struct {
	changes []change
	size    int
}

// change is one step of a batch: key holds value from then on, or nothing.
type change struct {
	key, value []byte
	deleted    bool
}

// Set lets key hold value. A nil value is an empty one.
func (b *Batch) Set(key, value []byte) {
	b.add(change{key: key, value: value})
}

// Delete lets key hold nothing, whether or not it did before.
func (b *Batch) Delete(key []byte) {
	b.add(change{key: key, deleted: true})
}

// Len is the number of changes, counting each of several on one key.
func (b *Batch) Len() int { return len(b.changes) }

// Size is what MaxBatchBytes bounds: the bytes of all keys and values, and a
// fixed share for each change.
func (b *Batch) Size() int { return b.size }

// Reset empties the batch for its next use.
func (b *Batch) Reset() {
	clear(b.changes)
	b.changes, b.size = b.changes[:0], 0
}

// Each visits the changes in the order in which they were made; of several on
// one key the last one counts. The slices must not be changed.
func (b *Batch) Each(visit func(key, value []byte, deleted bool)) {
	for _, c := range b.changes {
		visit(c.key, c.value, c.deleted)
	}
}

func (b *Batch) add(c change) {
	b.changes = append(b.changes, c)
	b.size += c.size()
}

// check returns why no store takes this batch, if so.
func (b *Batch) check() error {
	if b.size > MaxBatchBytes {
		return fmt.Errorf("%w: %d bytes in %d changes, at most %d bytes", ErrBatchTooLarge, b.size, len(b.changes), MaxBatchBytes)
	}
	for _, c := range b.changes {
		if err := c.check(); err != nil {
			return err
		}
	}
	return nil
}

func (c change) size() int { return len(c.key) + len(c.value) + entryOverheadBytes }

// treeBytes is what changes take in Badger's tree: of a value in the value log a
// pointer alone. It is what bounds a transaction.
func treeBytes(changes []change) (sum int) {
	for _, c := range changes {
		sum += c.treeBytes()
	}
	return sum
}

func (c change) treeBytes() int {
	const pointerBytes = 12
	if len(c.value) < valueThreshold {
		return c.size()
	}
	return len(c.key) + pointerBytes + entryOverheadBytes
}

func (c change) check() error {
	switch {
	case len(c.key) == 0:
		return fmt.Errorf("%w: empty key", ErrBadEntry)
	case c.key[0] == reservedByte:
		return fmt.Errorf("%w: keys that begin with %q are reserved", ErrBadEntry, reservedByte)
	case len(c.key) > MaxKeyBytes:
		return fmt.Errorf("%w: key of %d bytes, at most %d", ErrBadEntry, len(c.key), MaxKeyBytes)
	case len(c.value) > MaxValueBytes:
		return fmt.Errorf("%w: value of %d bytes, at most %d", ErrBadEntry, len(c.value), MaxValueBytes)
	}
	return nil
}
