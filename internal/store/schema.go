package store

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// SchemaVersion is the layout of keys and values that this program writes. It
// goes up when an older program would read a folder wrongly.
const SchemaVersion uint32 = 1

// CheckSchema writes SchemaVersion into a new store and compares it in one that
// was used before. It returns ErrNewerSchema when a newer program wrote it. Call
// it before anything else reads.
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
	if version := binary.BigEndian.Uint32(found); version > SchemaVersion {
		return fmt.Errorf("%w: it has schema %d, this program knows up to %d", ErrNewerSchema, version, SchemaVersion)
	}
	return nil
}
