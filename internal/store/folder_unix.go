//go:build linux || darwin

package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// minFreeBytes is what must be free on the disk before a write: room for the
// largest batch twice, the memtables in flight and a compaction. Badger writes
// to sparse files through memory maps, and the system answers such a write on a
// full disk by killing the process; an error is better.
const minFreeBytes = 128 << 20

// FreeBytes is the room on the disk of a folder; false if the system does not say.
func FreeBytes(dir string) (uint64, bool) {
	var fs syscall.Statfs_t
	if syscall.Statfs(dir, &fs) != nil {
		return 0, false
	}
	return fs.Bavail * uint64(fs.Bsize), true
}

func checkFreeSpace(dir string) error {
	if free, known := FreeBytes(dir); known && free < minFreeBytes {
		return fmt.Errorf("%w: %d MiB free for %s, %d needed: make room and start again", ErrDiskFull, free>>20, dir, minFreeBytes>>20)
	}
	return nil
}

// lockFolder makes the folder and holds it until the returned file is closed, at
// the latest by the end of the process.
func lockFolder(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(dir, "INUSE"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return file, nil
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = ErrLocked
	}
	return nil, errors.Join(err, file.Close())
}
