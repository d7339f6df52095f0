package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"weft/client"
	"weft/config"
)

// exits is the script command "exits CODE weft ARGS...": it runs weft and wants that exit code. What weft writes goes into
// the files out and err, for grep.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGS...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	program, err := exec.LookPath(args[1])
	ts.Check(err)
	cmd := exec.Command(program, args[2:]...)
	cmd.Dir = ts.Getenv("WORK")
	cmd.Env = []string{"WORK=" + ts.Getenv("WORK"), "PATH=" + ts.Getenv("PATH"), "HOME=/no-home"}
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err = cmd.Run()
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	ts.Check(os.WriteFile(ts.MkAbs("out"), out.Bytes(), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs("err"), errOut.Bytes(), 0o600))
	if got != want {
		ts.Fatalf("%s: exit code %d, want %d\n%s%s", strings.Join(args[1:], " "), got, want, out.String(), errOut.String())
	}
}

// serves is the script command "serves DIR": it waits until the node of a data folder is ready.
func serves(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: serves DIR")
	}
	dir := config.Dir(ts.MkAbs(args[0]))
	c, err := client.New(client.Config{URL: "http://localhost", Socket: dir.Socket(), Retry: client.NoRetry()})
	ts.Check(err)
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		if ready, err := c.Ready(ctx); err == nil && ready.OK {
			return
		}
		select {
		case <-ctx.Done():
			ts.Fatalf("%s does not serve: %s", args[0], ctx.Err())
		case <-ticker.C:
		}
	}
}
