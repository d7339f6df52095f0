package testnet

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
)

// childAttributes make a child die when the thread that started it does, so that no node outlives its network, and keep
// the terminal's Ctrl-C from it, so that the network ends its nodes in its own order.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

// Usage is what a process has taken; zero if it does not run.
type Usage struct {
	RSS uint64        // bytes in memory now
	CPU time.Duration // user and system time since its start
}

// Usage reads the system's books on the node.
func (node *Node) Usage() Usage {
	pid := node.PID()
	if pid == 0 {
		return Usage{}
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Usage{}
	}
	// proc(5): the name in brackets may hold anything; utime, stime and rss are fields 14, 15 and 24.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 22 {
		return Usage{}
	}
	field := func(n int) uint64 {
		v, _ := strconv.ParseUint(string(fields[n-3]), 10, 64)
		return v
	}
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux that Go runs on
	return Usage{RSS: field(24) * uint64(os.Getpagesize()), CPU: time.Duration(field(14)+field(15)) * tick}
}
