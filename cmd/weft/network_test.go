package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weft/testnet"
)

// startTestNetwork runs four nodes as processes of their own.
func startTestNetwork(t *testing.T) *testnet.Network {
	t.Helper()
	program, err := exec.LookPath("weft") // this test's binary under that name, see TestMain
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := testnet.Make(dir, testnet.Options{Settings: map[string]string{"log.level": "warn"}}); err != nil {
		t.Fatal(err)
	}
	n, err := testnet.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	n.Program = program
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for i := range n.Nodes {
			_ = n.Kill(i) // a test may have killed it already
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := n.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestCommandsOnARealNetwork is what a member does in the first five minutes.
func TestCommandsOnARealNetwork(t *testing.T) {
	n := startTestNetwork(t)
	genesis := filepath.Join(n.Dir, "genesis.json")
	dir := t.TempDir()
	here, there := n.Nodes[0].API, n.Nodes[2].API

	out, errOut := weft(t, 0, strings.Repeat("an audit line\n", 300), here, "message", "send", "--lines", "--tag", "audit", "--wait", "final")
	wantText(t, errOut, "300 entries in 5 requests", "300 final")
	hash := strings.Fields(out)[150]
	out, _ = weft(t, 0, "", there, "message", "show", hash)
	wantText(t, out, "final, accepted", "audit", "an audit line", n.Genesis.Members[0].Key.String())
	out, _ = weft(t, 0, "", there, "follow", "--from", "0", "--tag", "audit", "--count", "300")
	if lines := strings.Count(out, "[audit] an audit line"); lines != 300 || !strings.Contains(out, hash) {
		t.Errorf("followed %d entries, want 300", lines)
	}

	for _, replayed := range []bool{false, true} {
		out, _ = weft(t, 0, "once", there, "message", "send", "--wait", "final", "--resume", "the-same-key", "--json")
		if strings.Contains(out, `"replayed":true`) != replayed {
			t.Errorf("replayed is not %v: %s", replayed, out)
		}
	}

	file := filepath.Join(dir, "receipt")
	weft(t, 0, "", there, "receipt", "get", hash, "-o", file)
	testReceipt(t, file, genesis)
	testLog(t, n, genesis, filepath.Join(dir, "copy"))
	testLogOfADID(t, n, genesis, dir)

	out, _ = weft(t, 0, "", here, "node", "--json")
	wantText(t, out, `"quorum":true`, `"peers":3`)
	weft(t, 0, "", there, "health")
	var o, e bytes.Buffer
	if code := run([]string{"peers", "--dir", string(n.Nodes[1].Dir)}, nil, &o, &e, nil); code != 0 || strings.Count(o.String(), "connected") != 3 {
		t.Errorf("peers by the operator's socket: exit code %d\n%s%s", code, o.String(), e.String())
	}
}

// testReceipt verifies a receipt, and then with each of some bytes changed.
func testReceipt(t *testing.T, file, genesis string) {
	t.Helper()
	out, _ := weft(t, 0, "", "", "receipt", "verify", file, "--genesis", genesis)
	wantText(t, out, "an audit line", "signed by", "accepted")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(whole); i += 1 + len(whole)/20 {
		changed := bytes.Clone(whole)
		changed[i] ^= 4
		_, errOut := weft(t, 1, string(changed), "", "receipt", "verify", "-", "--genesis", genesis)
		wantText(t, errOut, "refused")
	}
}

// testLog checks a node's log, keeps a copy, goes on from it, and sees a change in it.
func testLog(t *testing.T, n *testnet.Network, genesis, copied string) {
	t.Helper()
	out, _ := weft(t, 0, "", n.Nodes[1].API, "log", "verify", "--genesis", genesis, "--save", copied)
	wantText(t, out, "verified", "signed by", "301, of which 0 were rejected")
	weft(t, 0, "", "", "log", "verify", "--genesis", genesis, "--tiles", copied)
	weft(t, 0, "one more", n.Nodes[3].API, "message", "send", "--wait", "final")
	out, _ = weft(t, 0, "", n.Nodes[3].API, "log", "verify", "--genesis", genesis, "--since", filepath.Join(copied, "checkpoint"), "--json")
	wantText(t, out, `"verified":true`, `"entries":302`, `"since":`)
	err := filepath.WalkDir(copied, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		whole, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		changed := bytes.Clone(whole)
		changed[len(changed)/2] ^= 1
		if err := os.WriteFile(path, changed, 0o600); err != nil {
			return err
		}
		weft(t, 1, "", "", "log", "verify", "--genesis", genesis, "--tiles", copied)
		return os.WriteFile(path, whole, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// testLogOfADID checks the log of a DID offline, by its receipts: with a byte changed in any of them, with those of two versions
// swapped, without one, against another committee; and cut at its end, which proves less and is no fault.
func testLogOfADID(t *testing.T, n *testnet.Network, genesis, dir string) {
	t.Helper()
	api, keys, file := n.Nodes[0].API, filepath.Join(dir, "bank.keys"), filepath.Join(dir, "bank.log")
	out, _ := weft(t, 0, "", api, "did", "create", keys, "--unencrypted", "--yes", "--json")
	var made struct{ Result struct{ DID string } }
	if err := json.Unmarshal([]byte(out), &made); err != nil || made.Result.DID == "" {
		t.Fatalf("%v: %.300s", err, out)
	}
	id := made.Result.DID
	weft(t, 0, "", api, "did", "rotate", "--keys", keys, "--yes")
	text, _ := weft(t, 0, "", api, "did", "log", id, "--json", "--receipts")
	verify := func(code int, genesis string, lines ...string) (string, string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
			t.Fatal(err)
		}
		return weft(t, code, "", "", "did", "verify", id, "--genesis", genesis, "--log", file)
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if len(lines) != 2 {
		t.Fatalf("the log: %s", text)
	}
	out, _ = verify(0, genesis, lines...)
	wantText(t, out, "all good", "2-zQm", "not proved", "that no newer version followed")
	out, _ = verify(0, genesis, lines[0])
	wantText(t, out, "all good", "1-zQm", "that no newer version followed")
	var parts [2]map[string]any
	for i := range parts {
		if err := json.Unmarshal([]byte(lines[i]), &parts[i]); err != nil {
			t.Fatal(err)
		}
	}
	with := func(receipt any) string {
		line := maps.Clone(parts[1])
		line["receipt"] = receipt
		raw, err := json.Marshal(line)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	whole, err := base64.RawURLEncoding.DecodeString(parts[1]["receipt"].(string))
	if err != nil {
		t.Fatal(err)
	}
	bad := []string{with(parts[0]["receipt"]), with("")}
	for i := 0; i < len(whole); i += 1 + len(whole)/20 {
		changed := bytes.Clone(whole)
		changed[i] ^= 4
		bad = append(bad, with(base64.RawURLEncoding.EncodeToString(changed)))
	}
	for _, line := range bad {
		_, errOut := verify(1, genesis, lines[0], line)
		wantText(t, errOut, "refused")
	}
	other := filepath.Join(dir, "other")
	if err := testnet.Make(other, testnet.Options{}); err != nil {
		t.Fatal(err)
	}
	_, errOut := verify(1, filepath.Join(other, "genesis.json"), lines...)
	wantText(t, errOut, "refused")
}

// TestCrash is the short form of 'weft bench crash': with another schedule each time, whose seed a failure tells.
func TestCrash(t *testing.T) {
	if testing.Short() {
		t.Skip("kills nodes under load for 20 s: left out of short runs")
	}
	program, err := exec.LookPath("weft")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "bench", "crash", "--json", "--temp", t.TempDir(), "--duration", "18s",
		"--min-gap", "500ms", "--max-gap", "2s", "--min-down", "200ms", "--max-down", "2s", "--workers", "4")
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	var report crashReport
	if jsonErr := json.Unmarshal(out, &report); err != nil || jsonErr != nil {
		t.Fatalf("%v, %v\n%s%s", err, jsonErr, out, errOut.String())
	}
	t.Logf("%s", out)
	if report.Final == 0 || report.Lost > 0 || report.AllAtOnce != 2 || report.Kills == 0 || report.Receipts == 0 || !report.SameCheckpoints {
		t.Errorf("got %+v", report)
	}
}
