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

func checkFreeSpace(dir string) error {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return fmt.Errorf("free space of %s: %w", dir, err)
	}
	if free := fs.Bavail * uint64(fs.Bsize); free < minFreeBytes {
		return fmt.Errorf("%w: %d MiB free for %s, %d needed", ErrDiskFull, free>>20, dir, minFreeBytes>>20)
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
