package store

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// SchemaVersion is the layout of keys and values that this program writes. It
// goes up when an older program would read a folder wrongly; oldestSchema goes up
// with it when this one would read an older folder wrongly.
//
// 2: channels keep records in blocks, and with an epoch when the grace for the one
// before ends: both are part of the agreed state.
const (
	SchemaVersion uint32 = 3
	oldestSchema  uint32 = 3
)

// CheckSchema writes SchemaVersion into a new store and compares it in one that
// was used before. It returns ErrNewerSchema when a newer program wrote it, and
// ErrOlderSchema when one did whose layout is not read any more. Call it before
// anything else reads.
func CheckSchema(s Store) error {
	key := Key(PrefixNode, []byte("schema"))
	found, err := s.Get(key)
	if errors.Is(err, ErrNotFound) {
		var batch Batch
		batch.Set(key, U32(SchemaVersion))
		return s.Apply(&batch, true)
	}
	if err != nil {
		return err
	}
	if len(found) != 4 {
		return fmt.Errorf("the schema version in the data folder has %d bytes, want 4", len(found))
	}
	version := binary.BigEndian.Uint32(found)
	switch {
	case version > SchemaVersion:
		return fmt.Errorf("%w: it has schema %d, this program knows up to %d", ErrNewerSchema, version, SchemaVersion)
	case version < oldestSchema:
		return fmt.Errorf("%w: it has schema %d, this program reads from %d on", ErrOlderSchema, version, oldestSchema)
	}
	return nil
}
