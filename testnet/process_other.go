//go:build !linux

package testnet

import (
	"syscall"
	"time"
)

// childAttributes are the system's own.
func childAttributes() *syscall.SysProcAttr { return nil }

// Usage is what a process has taken; zero where the system does not say in a file.
type Usage struct {
	RSS       uint64
	Anonymous uint64
	CPU       time.Duration
}

// Usage is not known here.
func (node *Node) Usage() Usage { return Usage{} }
