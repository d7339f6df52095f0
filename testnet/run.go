package testnet

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"weft/client"
	"weft/config"
	"weft/config/genesis"
)

// Grace is how long Stop waits for a node to end before it kills it.
const Grace = 10 * time.Second

// Network is what Make wrote, and the processes that run it.
type Network struct {
	Dir     string
	Genesis *genesis.Genesis
	Nodes   []*Node

	// Program is the weft binary that runs the nodes; Open sets it to this one.
	Program string
}

// Node is one member's folder and, while it runs, its process.
type Node struct {
	Name   string
	Dir    config.Dir
	API    string // base URL
	Client *client.Client

	mu   sync.Mutex // guards the rest
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
	err  error         // how it ended
}

// errStarted and errNotRunning are what a caller who kills and restarts at random must tell from real failures.
var (
	errStarted    = errors.New("is running already")
	errNotRunning = errors.New("is not running")
)

// Open reads the folders that Make wrote. It starts nothing.
func Open(dir string) (*Network, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	g, err := config.LoadGenesis(filepath.Join(dir, "genesis.json"))
	if err != nil {
		return nil, err
	}
	n := &Network{Dir: dir, Genesis: g, Program: program}
	for i := range g.Members {
		node, err := openNode(nodeDir(dir, i), g.Members[i].Name)
		if err != nil {
			return nil, err
		}
		n.Nodes = append(n.Nodes, node)
	}
	return n, nil
}

func openNode(dir config.Dir, name string) (*Node, error) {
	settings, err := dir.Load(nil, nil)
	if err != nil {
		return nil, err
	}
	url := "http://" + settings.API.Listen
	c, err := client.New(client.Config{URL: url, Retry: client.NoRetry()})
	if err != nil {
		return nil, err
	}
	return &Node{Name: name, Dir: dir, API: url, Client: c}, nil
}

// Start starts every node. It does not wait until they are ready. On an error none is left running.
func (n *Network) Start() error {
	for i := range n.Nodes {
		if err := n.StartNode(i); err != nil {
			n.Stop()
			return err
		}
	}
	return nil
}

// StartNode starts one node that does not run. What it says goes to node.log in its folder.
func (n *Network) StartNode(i int) error {
	node := n.Nodes[i]
	node.mu.Lock()
	defer node.mu.Unlock()
	if node.cmd != nil {
		return fmt.Errorf("%s %w", node.Name, errStarted)
	}
	log, err := os.OpenFile(node.LogFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(n.Program, "run", "--dir", string(node.Dir))
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "WEFT_") })
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = childAttributes()
	done := make(chan struct{})
	if err := node.start(cmd, done); err != nil {
		return fmt.Errorf("start %s: %w", node.Name, err)
	}
	node.cmd, node.done, node.err = cmd, done, nil
	return nil
}

// start runs the process from a goroutine that keeps its thread, because on Linux a child dies with the thread that
// started it (see childAttributes), not with the process.
func (node *Node) start(cmd *exec.Cmd, done chan struct{}) error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		err = cmd.Wait()
		node.mu.Lock()
		node.cmd, node.err = nil, err
		node.mu.Unlock()
		close(done)
	}()
	return <-started
}

// Kill ends a node with SIGKILL, as a power cut would, and waits until it is gone.
func (n *Network) Kill(i int) error { return n.Nodes[i].end(syscall.SIGKILL) }

// StopNode ends a node in good order; one that takes longer than Grace is killed.
func (n *Network) StopNode(i int) error { return n.Nodes[i].end(syscall.SIGTERM) }

// Stop ends all nodes at once, in good order.
func (n *Network) Stop() {
	var group sync.WaitGroup
	for i := range n.Nodes {
		group.Go(func() { n.StopNode(i) }) // one that does not run is as it should be
	}
	group.Wait()
}

func (node *Node) end(signal syscall.Signal) error {
	node.mu.Lock()
	cmd, done := node.cmd, node.done
	node.mu.Unlock()
	if cmd == nil {
		return fmt.Errorf("%s %w", node.Name, errNotRunning)
	}
	cmd.Process.Signal(signal) // it may have ended this moment; done tells
	timer := time.NewTimer(Grace)
	defer timer.Stop()
	select {
	case <-done:
		return nil
	case <-timer.C:
	}
	cmd.Process.Kill()
	<-done
	return nil
}

// PID is the process of a running node, else 0.
func (node *Node) PID() int {
	node.mu.Lock()
	defer node.mu.Unlock()
	if node.cmd == nil {
		return 0
	}
	return node.cmd.Process.Pid
}

// Ended says how the last process ended; nil while one runs and after a good end.
func (node *Node) Ended() error {
	node.mu.Lock()
	defer node.mu.Unlock()
	return node.err
}

// LogFile is where the node's words go.
func (node *Node) LogFile() string { return filepath.Join(string(node.Dir), "node.log") }

// WaitReady waits until every running node says on /ready that it serves, ctx ends, or one of them dies.
func (n *Network) WaitReady(ctx context.Context) error {
	for _, node := range n.Nodes {
		if node.PID() == 0 && node.Ended() == nil {
			continue
		}
		if err := node.WaitReady(ctx); err != nil {
			return err
		}
	}
	return nil
}

// WaitReady waits until the node says that it serves.
func (node *Node) WaitReady(ctx context.Context) error {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	var last error
	for {
		if node.PID() == 0 {
			return fmt.Errorf("%s has ended: %w\n%s", node.Name, node.Ended(), node.LastWords())
		}
		if last = node.ready(ctx); last == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w (%w)\n%s", node.Name, last, context.Cause(ctx), node.LastWords())
		case <-ticker.C:
		}
	}
}

func (node *Node) ready(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, node.API+"/ready", nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("/ready says %s", answer.Status)
	}
	return nil
}

// LastWords are the last lines of the node's log.
func (node *Node) LastWords() string {
	const most = 2 << 10
	f, err := os.Open(node.LogFile())
	if err != nil {
		return ""
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return ""
	}
	size := min(info.Size(), most)
	tail := make([]byte, size)
	if _, err := f.ReadAt(tail, info.Size()-size); err != nil {
		return ""
	}
	return strings.TrimSpace(string(tail))
}
