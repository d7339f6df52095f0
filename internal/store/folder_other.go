//go:build !linux && !darwin

package store

import (
	"os"
	"path/filepath"
)

// FreeBytes is the room on the disk of a folder; here the system does not say.
func FreeBytes(string) (uint64, bool) { return 0, false }

// checkFreeSpace knows no portable way to ask; a full disk then ends the process.
func checkFreeSpace(string) error { return nil }

// lockFolder leaves the locking to Badger, which does it on every system.
func lockFolder(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return os.OpenFile(filepath.Join(dir, "INUSE"), os.O_CREATE|os.O_RDWR, 0o600)
}
