package testnet

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"weft/client"
)

// TestContainers runs 'make docker-testnet' where an engine is there: entries sent to one container become final on
// another, and go on doing so when a third one is stopped.
func TestContainers(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: -short")
	}
	if out, err := exec.Command("docker", "info").CombinedOutput(); err != nil {
		t.Skipf("skipped: no container engine answers here: %v %.200s", err, out)
	}
	nodes := startContainers(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for i, c := range nodes {
		waitReady(t, ctx, c, fmt.Sprint("node", i))
	}
	sendAndRead(t, ctx, nodes[0], nodes[2], "while all run")
	docker(t, "stop", project()+"_node3_1", project()+"-node3-1")
	sendAndRead(t, ctx, nodes[1], nodes[0], "while one is stopped")
	docker(t, "start", project()+"_node3_1", project()+"-node3-1")
	waitReady(t, ctx, nodes[3], "node3")
	sendAndRead(t, ctx, nodes[0], nodes[3], "when it is back")
}

func project() string { return fmt.Sprintf("wefttest%d", os.Getpid()) }

func startContainers(t *testing.T) []*client.Client {
	t.Helper()
	ports, err := freePorts(4)
	if err != nil {
		t.Fatal(err)
	}
	environment := append(os.Environ(), "TESTNET_PROJECT="+project())
	var nodes []*client.Client
	for i, port := range ports {
		environment = append(environment, fmt.Sprintf("TESTNET_PORT%d=%d", i, port))
		c, err := client.New(client.Config{URL: fmt.Sprintf("http://127.0.0.1:%d", port), ReadYourWrites: true})
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, c)
	}
	runMake := func(target string) {
		cmd := exec.Command("make", "-C", "..", target)
		cmd.Env = environment
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("make %s: %v\n%s", target, err, out)
		}
	}
	t.Cleanup(func() { runMake("docker-testnet-down") })
	if runMake("docker-testnet"); t.Failed() {
		t.FailNow()
	}
	return nodes
}

// waitReady gives a container a minute.
func waitReady(t *testing.T, ctx context.Context, c *client.Client, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for {
		ready, err := c.Ready(ctx)
		if err == nil && ready.OK {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s is not ready after a minute: %v %+v", name, err, ready)
		case <-ticker.C:
		}
	}
}

func sendAndRead(t *testing.T, ctx context.Context, to, from *client.Client, text string) {
	t.Helper()
	entry, err := client.DataEntry("test", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	sent, err := to.Submit(ctx, []client.Entry{entry}, client.Options{Final: client.MaxWait})
	if err != nil || sent.Status != client.Final {
		t.Fatalf("%s: %+v, %v", text, sent, err)
	}
	from.See(to.Seen())
	read, err := from.Entry(ctx, sent.Entries[0].EntryHash)
	if err != nil || read.Place == nil || *read.Place != *sent.Entries[0].Place || read.Outcome != "accepted" {
		t.Errorf("%s: read %+v, %v", text, read, err)
	}
}

// docker does something to a container, whichever of its two names compose has given it.
func docker(t *testing.T, verb string, names ...string) {
	t.Helper()
	var said []string
	for _, name := range names {
		out, err := exec.Command("docker", verb, name).CombinedOutput()
		if err == nil {
			return
		}
		said = append(said, string(out))
	}
	t.Fatalf("docker %s: %s", verb, strings.Join(said, ""))
}
