package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"weft/testnet"
)

// TestReadmeCommands runs what README.md tells a newcomer to type, line by line, on a network of its own. Lines for make
// are not run, only looked up.
func TestReadmeCommands(t *testing.T) {
	commands := shellBlocks(t, "../../README.md")
	makefile := readFile(t, "../../Makefile")
	var session []string
	background := ""
	for _, line := range strings.Split(commands, "\n") {
		switch {
		case strings.HasPrefix(line, "make "):
			if target := strings.Fields(line)[1]; !strings.Contains(makefile, "\n"+target+":") {
				t.Errorf("%s: the Makefile has no such target", line)
			}
		case strings.HasPrefix(line, "bin/weft testnet "):
			background = line
		case strings.Contains(line, " --dir "):
			session = append(session, "WEFT_API= "+line) // which would go before the folder
		default:
			session = append(session, line)
		}
	}
	out := runBesideNetwork(t, background, strings.Join(session, "\n"))
	wantText(t, out, `"status":"final"`, "accepted", "signed by", "continues", "[audit] a line of a log")
}

// TestIdentityCommands runs what docs/identity.md shows.
func TestIdentityCommands(t *testing.T) {
	out := runBesideNetwork(t, "bin/weft testnet --dir net", shellBlocks(t, "../../docs/identity.md"))
	wantText(t, out, `"id":"did:weft:`, `"verified":true`, `"status":"final"`, `"versionId":"2-`)
}

// TestChannelCommands runs what docs/channels.md shows: the network starts again before a tool's key is used.
func TestChannelCommands(t *testing.T) {
	before, after, found := strings.Cut(shellBlocks(t, "../../docs/channels.md"), "KEY=weft_...\n")
	if !found {
		t.Fatal("the page uses no key")
	}
	folder := newReadmeFolder(t)
	key := ""
	t.Run("keys", func(t *testing.T) {
		out := folder.runBeside(t, "bin/weft testnet --dir net", before)
		wantText(t, out, "port scan", "bad login", "3 records, 1 opened")
		key = regexp.MustCompile(`weft_[0-9a-f]{16}_\S+`).FindString(out)
	})
	t.Run("managed", func(t *testing.T) {
		out := folder.runBeside(t, "bin/weft testnet --dir net", "KEY="+key+"\n"+after)
		wantText(t, out, `"text":"port scan from 192.0.2.7"`, `"seq":2`, `"valid":true`)
	})
}

// TestWalkthrough runs the age check in curl.
func TestWalkthrough(t *testing.T) {
	out := runBesideNetwork(t, "bin/weft testnet --dir net", readFile(t, "../../examples/eshop/walkthrough.sh"))
	var got []string
	for line := range strings.Lines(out) {
		if status, found := strings.CutPrefix(strings.TrimSpace(line), "HTTP "); found {
			got = append(got, strings.TrimSpace(status))
		}
	}
	want := []string{
		"200", `400 "code":"nonce_mismatch"`, `400 "code":"claim_mismatch"`, `400 "code":"bad_signature"`, `400 "code":"revoked"`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q\n%s", got, want, out)
	}
}

// runBesideNetwork runs a script beside a network that a command starts, and returns all it printed.
func runBesideNetwork(t *testing.T, background, script string) string {
	t.Helper()
	return newReadmeFolder(t).runBeside(t, background, script)
}

// readmeFolder is where a newcomer types.
type readmeFolder struct {
	dir   string
	ports *strings.Replacer
}

// runBeside runs a script beside a network that a command starts, which ends with the test.
func (f readmeFolder) runBeside(t *testing.T, background, script string) string {
	t.Helper()
	startReadmeNetwork(t, f.dir, background)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-eu", "-c", f.ports.Replace(script))
	cmd.Dir = f.dir
	cmd.Env = append(os.Environ(), "WEFT_DIR=", "WEFT_TOKEN_FILE=", f.ports.Replace("WEFT_API=http://127.0.0.1:8080"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// TestReadmeLinks sees that what README.md names is there.
func TestReadmeLinks(t *testing.T) {
	links := regexp.MustCompile(`\]\(([^):]+)\)`).FindAllStringSubmatch(readFile(t, "../../README.md"), -1)
	if len(links) == 0 {
		t.Error("no links were found")
	}
	for _, link := range links {
		if _, err := os.Stat(filepath.Join("../..", link[1])); err != nil {
			t.Error(err)
		}
	}
}

// shellBlocks are the lines of all blocks of shell in a page.
func shellBlocks(t *testing.T, page string) string {
	t.Helper()
	var b strings.Builder
	for _, block := range regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllStringSubmatch(readFile(t, page), -1) {
		b.WriteString(block[1])
	}
	return b.String()
}

// newReadmeFolder holds a binary and a network as the README's commands make them, but on free ports, which are put in the
// place of the README's.
func newReadmeFolder(t *testing.T) readmeFolder {
	t.Helper()
	if testing.Short() {
		t.Skip("skipped: -short, and this starts a network of four")
	}
	for _, program := range []string{"sh", "curl", "sed"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("skipped: %v", err)
		}
	}
	dir := t.TempDir()
	program, err := exec.LookPath("weft")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(program, filepath.Join(dir, "bin", "weft")); err != nil {
		t.Fatal(err)
	}
	if err := testnet.Make(filepath.Join(dir, "net"), testnet.Options{}); err != nil {
		t.Fatal(err)
	}
	net, err := testnet.Open(filepath.Join(dir, "net"))
	if err != nil {
		t.Fatal(err)
	}
	var pairs []string
	for i, node := range net.Nodes {
		pairs = append(pairs, fmt.Sprintf("http://127.0.0.1:%d", 8080+i), node.API)
	}
	return readmeFolder{dir, strings.NewReplacer(pairs...)}
}

// startReadmeNetwork runs the README's first terminal, and ends it as Ctrl-C does when the test ends.
func startReadmeNetwork(t *testing.T, dir, command string) {
	t.Helper()
	cmd := exec.Command("sh", "-c", "exec "+command)
	cmd.Dir = dir
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	drained := make(chan struct{})
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt) // if it has ended, Wait tells how
		kill := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
		defer kill.Stop()
		<-drained
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", command, err)
		}
	})
	lines := bufio.NewScanner(out)
	for said := ""; !strings.Contains(said, " is up: "); said += lines.Text() {
		if !lines.Scan() {
			close(drained)
			t.Fatalf("%s ended: %s", command, said)
		}
	}
	go func() {
		io.Copy(io.Discard, out)
		close(drained)
	}()
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
