//go:build linux || darwin

package store

import (
	"fmt"
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
