package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// The journal is one file beside Badger's. It holds a batch that is too large
// for one transaction while its pieces are being written, so that a crash in
// between is made good at the next start. It counts only when it is whole: the
// last 32 bytes are the SHA-256 of all before them.
//
// change := flags u8 (1 deleted), key length u32, value length u32, key, value
const journalName = "LARGEBATCH"

// writeJournal returns when the changes are durable.
func writeJournal(dir string, changes []change, size int) error {
	content := make([]byte, 0, size+sha256.Size)
	for _, c := range changes {
		var flags byte
		if c.deleted {
			flags = 1
		}
		content = append(content, flags)
		content = binary.BigEndian.AppendUint32(content, uint32(len(c.key)))
		content = binary.BigEndian.AppendUint32(content, uint32(len(c.value)))
		content = append(content, c.key...)
		content = append(content, c.value...)
	}
	sum := sha256.Sum256(content)
	if err := writeSynced(filepath.Join(dir, journalName), append(content, sum[:]...)); err != nil {
		return err
	}
	return syncDir(dir)
}

// readJournal returns the changes of a journal, or none when there is no journal
// or a crash kept it from becoming whole: then no piece of it was written.
func readJournal(dir string) ([]change, error) {
	content, err := os.ReadFile(filepath.Join(dir, journalName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if len(content) < sha256.Size {
		return nil, nil
	}
	content, sum := content[:len(content)-sha256.Size], content[len(content)-sha256.Size:]
	if want := sha256.Sum256(content); !bytes.Equal(sum, want[:]) {
		return nil, nil
	}
	return parseJournal(content)
}

func parseJournal(content []byte) ([]change, error) {
	const headBytes = 1 + 4 + 4
	var changes []change
	for len(content) > 0 {
		if len(content) < headBytes {
			return nil, errors.New("journal: a change is cut short")
		}
		keyEnd := headBytes + uint64(binary.BigEndian.Uint32(content[1:]))
		end := keyEnd + uint64(binary.BigEndian.Uint32(content[5:]))
		if end > uint64(len(content)) {
			return nil, errors.New("journal: a change is cut short")
		}
		changes = append(changes, change{
			key:     content[headBytes:keyEnd],
			value:   content[keyEnd:end],
			deleted: content[0] == 1,
		})
		content = content[end:]
	}
	return changes, nil
}

// removeJournal returns when the journal is gone for good: were it to come back
// after a later batch, it would undo that.
func removeJournal(dir string) error {
	err := os.Remove(filepath.Join(dir, journalName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return syncDir(dir)
}

// pieces cuts changes into runs of at most size bytes of the tree, in order.
func pieces(changes []change, size int) [][]change {
	var cut [][]change
	start, sum := 0, 0
	for i, c := range changes {
		if i > start && sum+c.treeBytes() > size {
			cut = append(cut, slices.Clip(changes[start:i]))
			start, sum = i, 0
		}
		sum += c.treeBytes()
	}
	if start < len(changes) {
		cut = append(cut, changes[start:])
	}
	return cut
}

func writeSynced(path string, content []byte) (err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if _, err := file.Write(content); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return file.Sync()
}

func syncDir(dir string) (err error) {
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, folder.Close()) }()
	return folder.Sync()
}
