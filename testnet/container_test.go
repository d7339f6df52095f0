package testnet

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"weft/client"
	"weft/config"
	"weft/config/genesis"
	"weft/receipt"
	"weft/tangle"
)

// TestContainers runs 'make docker-testnet' where an engine answers: entries sent to one container become final on
// another, go on doing so while a third one is stopped, and that one catches up when it is back.
func TestContainers(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: -short, and this builds and starts four containers")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "docker", "info").CombinedOutput(); err != nil {
		t.Skipf("skipped: no container engine answers here: %v %.200s", err, out)
	}
	c := startContainers(t, ctx)
	for i := range c.nodes {
		c.confined(fmt.Sprint("node", i))
	}
	c.sendAndRead(0, 2, "while all run")
	c.docker("stop", c.id("node3"))
	missed := c.sendAndRead(1, 0, "while one is stopped")
	c.make("docker-testnet") // on a network that is there it starts what is stopped, and no more
	c.prove(3, missed)
	c.sendAndRead(3, 1, "when it is back")
}

// containers is a network under a project name of its own, so that nothing else on the machine is touched.
type containers struct {
	*testing.T
	ctx         context.Context
	project     string
	environment []string
	nodes       []*client.Client
	genesis     *genesis.Genesis
}

func startContainers(t *testing.T, ctx context.Context) *containers {
	t.Helper()
	ports, err := freePorts(4)
	if err != nil {
		t.Fatal(err)
	}
	c := &containers{T: t, ctx: ctx, project: fmt.Sprintf("wefttest%d", os.Getpid())}
	c.environment = append(os.Environ(), "TESTNET_PROJECT="+c.project)
	for i, port := range ports {
		c.environment = append(c.environment, fmt.Sprintf("TESTNET_PORT%d=%d", i, port))
		node, err := client.New(client.Config{URL: fmt.Sprintf("http://127.0.0.1:%d", port), ReadYourWrites: true})
		if err != nil {
			t.Fatal(err)
		}
		c.nodes = append(c.nodes, node)
	}
	t.Cleanup(c.remove)
	t.Cleanup(c.lastWords)
	c.make("docker-testnet")
	text, err := c.nodes[0].Genesis(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if c.genesis, err = genesis.Parse(text, config.CheckKey); err != nil {
		t.Fatal(err)
	}
	return c
}

// lastWords are the containers' own words on a failure.
func (c *containers) lastWords() {
	if !c.Failed() {
		return
	}
	c.ctx = context.Background() // the test's is over
	for _, node := range strings.Fields(c.docker("ps", "--all", "--quiet", "--filter", c.label())) {
		c.Logf("%s:\n%s", node, c.docker("logs", "--tail", "10", node))
	}
}

// remove ends the network, also after a failure, and sees that nothing is left.
func (c *containers) remove() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c.ctx = ctx
	c.make("docker-testnet-down")
	left := c.docker("ps", "--all", "--quiet", "--filter", c.label()) + c.docker("volume", "ls", "--quiet", "--filter", c.label()) +
		c.docker("network", "ls", "--quiet", "--filter", c.label()) + c.docker("images", "--quiet", c.project+"-testnet")
	if left != "" {
		c.Errorf("left behind: %s", left)
	}
}

func (c *containers) label() string { return "label=com.docker.compose.project=" + c.project }

// make runs a target as people do, except that the binary is built from what go test has compiled already.
func (c *containers) make(target string) {
	c.Helper()
	cmd := exec.CommandContext(c.ctx, "make", "-C", "..", target, "BUILD=")
	cmd.Env = c.environment
	out, err := cmd.CombinedOutput()
	if err != nil {
		c.Fatalf("make %s: %v\n%s", target, err, out)
	}
	if i := strings.Index(string(out), "healthy after"); i >= 0 {
		c.Logf("%.20s", out[i:])
	}
}

func (c *containers) docker(args ...string) string {
	c.Helper()
	out, err := exec.CommandContext(c.ctx, "docker", args...).CombinedOutput()
	if err != nil {
		c.Fatalf("docker %s: %v\n%s", args, err, out)
	}
	return string(out)
}

// id is the container of a service; the two kinds of compose name it differently.
func (c *containers) id(service string) string {
	c.Helper()
	return strings.TrimSpace(c.docker("ps", "--all", "--quiet", "--filter", c.label(), "--filter", "label=com.docker.compose.service="+service))
}

// confined sees that the engine grants a node what it needs and no more.
func (c *containers) confined(service string) {
	c.Helper()
	const facts = `{{.Config.User}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}} {{.HostConfig.Memory}}` +
		`{{range .NetworkSettings.Ports}}{{range .}} {{.HostIp}}{{end}}{{end}}`
	got := strings.TrimSpace(c.docker("inspect", "--format", facts, c.id(service)))
	if want := "65532:65532 true [ALL] [no-new-privileges:true] 536870912 127.0.0.1"; got != want {
		c.Errorf("%s: got %s, want %s", service, got, want)
	}
}

// sendAndRead waits until an entry sent to one node is final, and returns it when another one has proved it.
func (c *containers) sendAndRead(to, from int, text string) tangle.Hash {
	c.Helper()
	entry, err := client.DataEntry("test", []byte(text))
	if err != nil {
		c.Fatal(err)
	}
	sent, err := c.nodes[to].Submit(c.ctx, []client.Entry{entry}, client.Options{Final: client.MaxWait})
	if err != nil || sent.Status != client.Final {
		c.Fatalf("%s: %+v, %v", text, sent, err)
	}
	c.nodes[from].See(c.nodes[to].Seen())
	read, err := c.nodes[from].Entry(c.ctx, sent.Entries[0].EntryHash)
	if err != nil || read.Place == nil || *read.Place != *sent.Entries[0].Place || read.Outcome != "accepted" {
		c.Errorf("%s: read %+v, %v", text, read, err)
	}
	c.prove(from, sent.Entries[0].EntryHash)
	return sent.Entries[0].EntryHash
}

// prove fetches the entry's receipt from a node, as soon as that one has a checkpoint over it, and verifies it.
func (c *containers) prove(from int, entry tangle.Hash) {
	c.Helper()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	file, err := c.nodes[from].Receipt(c.ctx, entry)
	for err != nil && c.ctx.Err() == nil && slices.Contains([]string{"not_final", "not_found"}, client.ProblemCode(err)) {
		<-ticker.C
		file, err = c.nodes[from].Receipt(c.ctx, entry)
	}
	if err != nil {
		c.Fatalf("receipt of %s from node%d: %v", entry, from, err)
	}
	if report, err := receipt.Verify(c.genesis, file); err != nil || !report.Verified {
		c.Errorf("receipt of %s from node%d: %+v, %v", entry, from, report, err)
	}
}
