//go:build !linux

package main

import "errors"

// inMemory is not known here.
func inMemory(string) bool { return false }

// ownCPU is not known here.
func ownCPU() int64 { return 0 }

// pause is not done here.
func pause(int, bool) error { return errors.New("processes can be paused on Linux only") }
