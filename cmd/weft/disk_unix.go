//go:build linux || darwin

package main

import "syscall"

// freeBytes is the room on the disk of a folder.
func freeBytes(dir string) (uint64, bool) {
	var fs syscall.Statfs_t
	if syscall.Statfs(dir, &fs) != nil {
		return 0, false
	}
	return fs.Bavail * uint64(fs.Bsize), true
}
