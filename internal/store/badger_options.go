package store

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

// DefaultMemoryBytes keeps a node small. Badger takes at most 15% of it in one
// transaction; a batch of which more than 10% goes to the tree is written through
// the journal.
const DefaultMemoryBytes = 16 << 20

// valueThreshold is the size from which on a value goes to the value log.
const valueThreshold = 256

// options sets Badger up for one writer of many small values that must not lose
// one, in a process of small memory. Large values, messages under load, go to the
// value log and are written once; the tree would write them again with each
// compaction. Nothing is compressed, because IDs, hashes and signatures do not
// compress; blocks are read through the page cache, so that there is no second
// cache.
func (c BadgerConfig) options(log *badgerLog) (badger.Options, error) {
	if c.Dir == "" {
		return badger.Options{}, errors.New("store: no data folder given")
	}
	memory := c.MemoryBytes
	if memory == 0 {
		memory = DefaultMemoryBytes
	}
	if memory < DefaultMemoryBytes {
		return badger.Options{}, fmt.Errorf("store: %d bytes of memory, at least %d are needed", memory, DefaultMemoryBytes)
	}
	const valueLogFile = 64 << 20
	return badger.DefaultOptions(c.Dir).
		WithSyncWrites(true).
		WithValueThreshold(valueThreshold).
		WithValueLogFileSize(valueLogFile).
		WithMemTableSize(memory).
		WithNumMemtables(2).
		WithBaseTableSize(4 << 20).
		WithBaseLevelSize(64 << 20).
		WithNumLevelZeroTables(5).
		WithNumCompactors(2).
		WithNumGoroutines(1).
		WithCompression(options.None).
		WithBlockCacheSize(0).
		WithIndexCacheSize(0).
		WithDetectConflicts(false).
		WithMetricsEnabled(false).
		WithLogger(log), nil
}

// badgerLog passes Badger's messages on and keeps the first error, because the
// goroutines that write tables report in no other way.
type badgerLog struct {
	slog *slog.Logger

	mu    sync.Mutex
	first error
}

func (l *badgerLog) Errorf(format string, args ...any) {
	text := sentence(format, args)
	l.mu.Lock()
	if l.first == nil {
		l.first = errors.New(text)
	}
	l.mu.Unlock()
	if l.slog != nil {
		l.slog.Error("store", "badger", text)
	}
}

func (l *badgerLog) Warningf(format string, args ...any) {
	if l.slog != nil {
		l.slog.Warn("store", "badger", sentence(format, args))
	}
}

// Infof is debug to us: an operator does not need to hear of each memtable.
func (l *badgerLog) Infof(format string, args ...any) {
	if l.slog != nil {
		l.slog.Debug("store", "badger", sentence(format, args))
	}
}

// Debugf drops what Badger calls debug: several lines for each batch.
func (l *badgerLog) Debugf(string, ...any) {}

func (l *badgerLog) firstError() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.first
}

func sentence(format string, args []any) string {
	return strings.TrimSpace(fmt.Sprintf(format, args...))
}
