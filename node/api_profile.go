package node

import (
	"net/http/pprof"
	runtimepprof "runtime/pprof"
	"time"
)

// MaxProfileTime bounds how long a profile looks at the process: what it says must be out before answerTime is over.
const MaxProfileTime = 50 * time.Second

// profile is GET /debug/pprof/*: what the process does with its time and memory, in the form that 'go tool pprof' reads.
// It is the operator's: profiles tell what others are up to, and taking them costs time.
func (c *apiCall) profile() error {
	seconds, err := c.number("seconds", 1)
	if err != nil || seconds < 1 || seconds > uint64(MaxProfileTime/time.Second) {
		return refuse("bad_parameter", "seconds: want 1 to %d", MaxProfileTime/time.Second)
	}
	serve := pprof.Index // the list, and all profiles that the runtime keeps
	switch name := c.Param("*"); {
	case name == "profile":
		serve = pprof.Profile
	case name == "trace":
		serve = pprof.Trace
	case name == "cmdline":
		serve = pprof.Cmdline
	case name != "" && runtimepprof.Lookup(name) == nil:
		return refuse("not_found", "no such profile; /debug/pprof/ lists them")
	}
	h := c.Response().Header()
	c.stamp(h)
	h["Cache-Control"] = []string{"no-store"}
	serve(c.Response(), c.Request())
	return nil
}
