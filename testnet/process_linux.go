package testnet

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// childAttributes make a child die when the thread that started it does, so that no node outlives its network, and keep
// the terminal's Ctrl-C from it, so that the network ends its nodes in its own order.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

// Usage is what a process has taken; zero if it does not run.
type Usage struct {
	RSS       uint64        // bytes in memory now
	Anonymous uint64        // of them those that are no pages of mapped files, which the system may drop
	CPU       time.Duration // user and system time since its start
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
	// proc(5): the name in brackets may hold anything; rss is field 24.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 22 {
		return Usage{}
	}
	pages, _ := strconv.ParseUint(string(fields[24-3]), 10, 64)
	return Usage{RSS: pages * uint64(os.Getpagesize()), Anonymous: anonymous(pid), CPU: cpuTime(pid)}
}

// anonymous reads RssAnon of proc(5).
func anonymous(pid int) uint64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := bytes.Cut(status, []byte("\nRssAnon:"))
	fields := bytes.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kib, _ := strconv.ParseUint(string(fields[0]), 10, 64)
	return kib << 10
}

// cpuTime is what the scheduler has counted for all threads of a process, to the nanosecond. The utime and stime of proc(5)
// are sampled by the tick, which overstates a process that wakes up often for a moment.
func cpuTime(pid int) time.Duration {
	const schedulerClock = 2 // CPUCLOCK_SCHED; clock_getcpuclockid(3) makes its clocks of the inverted PID in this way
	var t unix.Timespec
	if unix.ClockGettime(int32(^pid<<3|schedulerClock), &t) != nil {
		return 0
	}
	return time.Duration(t.Nano())
}
