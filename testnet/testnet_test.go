package testnet

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"weft/config"
)

// TestMain lets this program stand in for a node when it is started as one: it serves /ready and nothing else.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "run" {
		if err := standIn(config.Dir(os.Args[3])); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func standIn(dir config.Dir) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if _, err := os.Stat(dir.Path("broken")); err == nil {
		return errors.New("this one is broken")
	}
	settings, err := dir.Load(os.Environ(), nil)
	if err != nil {
		return err
	}
	server := http.Server{Addr: settings.API.Listen, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
	context.AfterFunc(ctx, func() { server.Close() })
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func TestMakeWritesFoldersThatFitTogether(t *testing.T) {
	dir := t.TempDir()
	if err := Make(dir, Options{Settings: map[string]string{"log.level": "warn"}}); err != nil {
		t.Fatal(err)
	}
	net, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	ports := map[string]bool{}
	for i, node := range net.Nodes {
		key, err := config.ReadKey(node.Dir.Key(), nil)
		if err != nil {
			t.Fatal(err)
		}
		g, err := config.LoadGenesis(node.Dir.Genesis())
		if err != nil || g.ID() != net.Genesis.ID() {
			t.Errorf("%s has another genesis: %v", node.Name, err)
		}
		settings, err := node.Dir.Load(nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := config.CheckMembers(settings, g, config.MemberOf(key)); err != nil {
			t.Errorf("%s: %v", node.Name, err)
		}
		if len(settings.Peers) != 3 || settings.Log.Level != "warn" || g.Members[i].Key != config.MemberOf(key) {
			t.Errorf("%s: %+v", node.Name, settings)
		}
		ports[settings.Listen[0]], ports[settings.API.Listen] = true, true
	}
	if len(ports) != 8 {
		t.Errorf("ports are not all different: %v", ports)
	}
	if err := Make(dir, Options{}); err == nil {
		t.Error("a second network was made over the first")
	}
}

func TestMakeForContainers(t *testing.T) {
	dir := t.TempDir()
	err := Make(dir, Options{Nodes: 4, Listen: "0.0.0.0:7600", Advertise: "box%d:7600", APIListen: "0.0.0.0:8080"})
	if err != nil {
		t.Fatal(err)
	}
	settings, err := nodeDir(dir, 2).Load(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if settings.Listen[0] != "0.0.0.0:7600" || settings.Peers[2].Addrs[0] != "box3:7600" || !settings.API.Insecure || settings.API.Submit != config.AccessOpen {
		t.Errorf("%+v", settings)
	}
}

func TestMakeRefuses(t *testing.T) {
	for _, o := range []Options{{Nodes: 3}, {Nodes: MaxNodes + 1}, {Nodes: -1}, {Network: "A B"}, {BasePort: 65535}, {Settings: map[string]string{"no.such": "1"}}} {
		if err := Make(t.TempDir(), o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
}

func TestNodesAreProcessesThatCanBeKilledAndStartedAgain(t *testing.T) {
	t.Setenv("WEFT_API_LISTEN", "127.0.0.1:1") // must not reach the nodes
	net := start(t)
	for _, node := range net.Nodes {
		if node.PID() == 0 {
			t.Errorf("%s does not run", node.Name)
		}
	}
	first := net.Nodes[1].PID()
	if err := net.Kill(1); err != nil {
		t.Fatal(err)
	}
	if net.Nodes[1].PID() != 0 || net.Nodes[1].Ended() == nil {
		t.Error("the killed node still runs, or ended well")
	}
	if err := net.Kill(1); !errors.Is(err, errNotRunning) {
		t.Errorf("killed twice: %v", err)
	}
	if err := net.StartNode(0); !errors.Is(err, errStarted) {
		t.Errorf("started twice: %v", err)
	}
	if err := net.StartNode(1); err != nil {
		t.Fatal(err)
	}
	if err := net.WaitReady(within(t)); err != nil {
		t.Fatal(err)
	}
	if net.Nodes[1].PID() == first {
		t.Error("the node has the process it had before it was killed")
	}
	net.Stop()
	for _, node := range net.Nodes {
		if node.PID() != 0 || node.Ended() != nil {
			t.Errorf("%s did not end in good order: %v", node.Name, node.Ended())
		}
	}
}

func TestANodeThatDiesSaysWhy(t *testing.T) {
	net := start(t)
	if err := net.StopNode(2); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(net.Nodes[2].Dir.Path("broken"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := net.StartNode(2); err != nil {
		t.Fatal(err)
	}
	if err := net.Nodes[2].WaitReady(within(t)); err == nil || !strings.Contains(err.Error(), "this one is broken") {
		t.Errorf("got %v", err)
	}
}

func TestStartOfAProgramThatIsNotThere(t *testing.T) {
	dir := t.TempDir()
	if err := Make(dir, Options{}); err != nil {
		t.Fatal(err)
	}
	net, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	net.Program = filepath.Join(dir, "nothing")
	if err := net.Start(); err == nil {
		t.Error("started")
	}
}

func start(t *testing.T) *Network {
	t.Helper()
	dir := t.TempDir()
	if err := Make(dir, Options{}); err != nil {
		t.Fatal(err)
	}
	net, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := net.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(net.Stop)
	if err := net.WaitReady(within(t)); err != nil {
		t.Fatal(err)
	}
	return net
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}
