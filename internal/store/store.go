// Package store is the node's ordered key space: bytes under bytes, written in
// atomic batches that are durable when asked for. There are two of it, one on
// Badger and one in memory for tests and simulation, and storetest holds both
// to one contract.
//
// It does not know what the keys mean (prefixes.go lists them, nothing more),
// it does not encode values, and it keeps no cache of decoded things.
package store

import (
	"bytes"
	"context"
	"errors"
)

var (
	// ErrNotFound is returned by Get for a key that holds no value.
	ErrNotFound = errors.New("key not found")
	// ErrClosed is returned by every method of a store that was closed.
	ErrClosed = errors.New("store is closed")
	// ErrLocked is returned when another process has the folder open.
	ErrLocked = errors.New("the data folder is in use by another process")
	// ErrBatchTooLarge is returned by Apply for a batch over MaxBatchBytes.
	ErrBatchTooLarge = errors.New("batch is too large")
	// ErrBadEntry is returned by Apply for a batch with a key that is empty,
	// longer than MaxKeyBytes or reserved, or a value over MaxValueBytes.
	ErrBadEntry = errors.New("key or value out of bounds")
	// ErrDiskFull is returned by Apply while the disk is too full to write
	// safely. Nothing was written, and Apply works again once there is room.
	ErrDiskFull = errors.New("the disk is full")
	// ErrOlderSchema is returned for a folder of a layout that is not read any more.
	ErrOlderSchema = errors.New("the data folder was written by an older version of this program whose layout this one does not read")
	// ErrNewerSchema is returned for a folder written by a newer program.
	ErrNewerSchema = errors.New("the data folder was written by a newer version of this program")
)

const (
	// MaxBatchBytes bounds Batch.Size in one Apply.
	MaxBatchBytes = 32 << 20
	// MaxUnsyncedBytes bounds what may wait for the next sync. An unsynced
	// Apply that would exceed it is written at once.
	MaxUnsyncedBytes = 1 << 20
	// MaxKeyBytes bounds one key.
	MaxKeyBytes = 4 << 10
	// MaxValueBytes bounds one value.
	MaxValueBytes = 512 << 10
)

// Store is an ordered map from keys to values. Keys are compared as bytes.
//
// All methods may be called at once from several goroutines. Every read sees
// one moment: all of a batch or none of it, and of the batches applied with
// sync only those that are durable. A crash loses a suffix of the batches
// applied without sync, never part of one, and never one that a later sync
// covers.
//
// After an error from Apply other than ErrBatchTooLarge, ErrBadEntry and
// ErrDiskFull the store takes no further writes, and whether the batch is there
// when the store is opened again is unknown (whole or not at all).
type Store interface {
	// Get returns the value of key, in a copy the caller owns, or ErrNotFound.
	Get(key []byte) ([]byte, error)

	// Scan visits the keys in [from, to) in ascending order until visit returns
	// false; a nil from means the first key, a nil to the end. The slices are
	// valid during the call only and must not be changed. Scan works on the
	// moment it began: visit may read and write the store, and does not see
	// what is written meanwhile. It must not close it.
	Scan(from, to []byte, visit func(key, value []byte) bool) error

	// Apply makes all changes of a batch at once. With sync, this batch and all
	// applied before it are durable when Apply returns; an empty batch serves
	// to ask for just that. The caller may reset and reuse the batch.
	Apply(batch *Batch, sync bool) error

	// Close makes everything applied durable, waits for reads to end and
	// releases the store. Closing twice is no error.
	Close() error
}

// Purger is a store that can be told to forget. Both of this package can.
type Purger interface {
	// Purge returns nil when nothing that the store keeps, in memory or on a
	// disk, holds a value that was overwritten or deleted before the call. It
	// makes everything applied durable. The store is in use meanwhile; reads that
	// began before the end of it hold it up, and a visit of Scan must not call it.
	// An error means that nothing is known to be gone; the store works on, unless
	// Apply says otherwise. It ends early when ctx does or when Close is called.
	Purge(ctx context.Context) error
}

// PrefixEnd returns the first key after all that begin with prefix, or nil when
// none can follow, so that Scan(prefix, PrefixEnd(prefix), ...) visits exactly
// these.
func PrefixEnd(prefix []byte) []byte {
	for n := len(prefix); n > 0; n-- {
		if prefix[n-1] < 0xff {
			end := bytes.Clone(prefix[:n])
			end[n-1]++
			return end
		}
	}
	return nil
}
