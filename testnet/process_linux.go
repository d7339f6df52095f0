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
	// proc(5): the name in brackets may hold anything; rss is field 24.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 22 {
		return Usage{}
	}
	pages, _ := strconv.ParseUint(string(fields[24-3]), 10, 64)
	return Usage{RSS: pages * uint64(os.Getpagesize()), CPU: cpuTime(pid)}
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
