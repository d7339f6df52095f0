package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weft/client"
	"weft/plugins/identity/keyfile"
	"weft/plugins/streams/managed"
	"weft/testnet"
)

// managedAdded is what managed add prints under --json.
type managedAdded struct{ Name, DID, Keys, APIKey string }

// addTool is 'weft managed add' on the machine of node i.
func addTool(t *testing.T, n *testnet.Network, i int, name, words string, args ...string) (a managedAdded) {
	t.Helper()
	out := operate(t, 0, n, i, append([]string{"managed", "add", name, "--passphrase-file", words, "--json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &a); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return a
}

// operate runs a command by the socket of node i. Nothing but what is printed on standard output comes back.
func operate(t *testing.T, want int, n *testnet.Network, i int, args ...string) string {
	t.Helper()
	var out, errOut bytes.Buffer
	if code := run(append(args, "--dir", string(n.Nodes[i].Dir)), strings.NewReader(""), &out, &errOut, nil); code != want {
		t.Fatalf("weft %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), code, want, out.String(), errOut.String())
	}
	return out.String()
}

// TestManagedAtTheCommandLine adds tools at two members' nodes, which work in one channel with nothing but their API keys.
func TestManagedAtTheCommandLine(t *testing.T) {
	n, dir := startTestNetwork(t), t.TempDir()
	words, other := filepath.Join(dir, "words"), filepath.Join(dir, "other")
	seen := filepath.Join(dir, "seen")
	for file, text := range map[string]string{words: "correct horse\n", other: "battery staple\n", seen: "correct horse\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(seen, 0o644); err != nil {
		t.Fatal(err)
	}
	operate(t, 2, n, 0, "managed", "add", "siem")
	operate(t, 2, n, 0, "managed", "add", "../siem", "--passphrase-file", words)
	siem := addTool(t, n, 0, "siem", words, "--remember", "--recovery-file", filepath.Join(dir, "paper.keys"))
	operate(t, 1, n, 0, "managed", "add", "siem", "--passphrase-file", words)
	operate(t, 1, n, 0, "managed", "add", "open", "--passphrase-file", seen, "--remember")
	operate(t, 0, n, 0, "did", "create", managed.KeyFile(string(n.Nodes[0].Dir), "plain"), "--unencrypted", "--yes")
	operate(t, 1, n, 0, "managed", "add", "plain", "--passphrase-file", words)
	operate(t, 1, n, 0, "managed", "key", "nobody")
	var more managedAdded
	if err := json.Unmarshal([]byte(operate(t, 0, n, 0, "managed", "key", "siem", "--json")), &more); err != nil || more.DID != siem.DID || more.APIKey == siem.APIKey {
		t.Errorf("another key: %+v, %v", more, err)
	}
	siem.APIKey = more.APIKey
	operate(t, 1, n, 0, "managed", "add", "erp", "--passphrase-file", other)
	erp := addTool(t, n, 1, "erp", words, "--remember")
	wantText(t, operate(t, 0, n, 0, "managed", "list"), "siem", siem.DID, "true")
	checkToolKeys(t, siem, words)
	wantText(t, operate(t, 0, n, 0, "doctor"), "this node acts for 1 tools")
	if err := os.Chmod(siem.Keys, 0o644); err != nil {
		t.Fatal(err)
	}
	wantText(t, operate(t, 1, n, 0, "doctor"), "siem.keys: others on this machine may read it")
	if err := os.Chmod(siem.Keys, 0o600); err != nil {
		t.Fatal(err)
	}

	for i := range 2 {
		if err := n.StopNode(i); err != nil {
			t.Fatal(err)
		}
		if err := n.StartNode(i); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := n.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	toolsWork(ctx, t, toolAt(t, n, 0, siem), toolAt(t, n, 1, erp), erp)
	out, _ := weft(t, 0, "", n.Nodes[0].API, "node", "--json")
	wantText(t, out, `"managed":true`)
}

// checkToolKeys wants the key file of a tool to be encrypted with Argon2id, and for its owner only.
func checkToolKeys(t *testing.T, a managedAdded, words string) {
	t.Helper()
	info, err := os.Stat(a.Keys)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%s: %v, %v", a.Keys, info.Mode(), err)
	}
	raw, err := os.ReadFile(a.Keys)
	if err != nil || strings.Count(string(raw), `"argon2id"`) != strings.Count(string(raw), `"public"`) {
		t.Errorf("not all keys are sealed with Argon2id: %s, %v", raw, err)
	}
	file, err := keyfile.Open(a.Keys, func() (string, error) { return "correct horse", nil })
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if file.DID != a.DID || len(file.With(keyfile.Recovery)) != 0 {
		t.Errorf("DID %s, want %s; %d recovery keys lie on the node", file.DID, a.DID, len(file.With(keyfile.Recovery)))
	}
	settings, err := os.ReadFile(filepath.Join(filepath.Dir(filepath.Dir(a.Keys)), "node.json"))
	if err != nil || bytes.Contains(settings, []byte("correct horse")) || !bytes.Contains(settings, []byte(words)) {
		t.Errorf("node.json: %s, %v", settings, err)
	}
}

func toolAt(t *testing.T, n *testnet.Network, i int, a managedAdded) *client.Client {
	t.Helper()
	if managed.KeyFile(string(n.Nodes[i].Dir), a.Name) != a.Keys || !strings.HasPrefix(a.APIKey, "weft_") {
		t.Errorf("added %+v", a)
	}
	c, err := client.New(client.Config{URL: n.Nodes[i].API, Token: a.APIKey})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// toolsWork is a channel of one tool in which another one writes.
func toolsWork(ctx context.Context, t *testing.T, siem, erp *client.Client, who managedAdded) {
	t.Helper()
	check := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	made, err := siem.CreateManagedChannel(ctx, client.ManagedChannel{Name: "incidents"}, "")
	check(made, err)
	check(erp.RequestManaged(ctx, made.Channel, client.ManagedRequest{Rights: []string{"read", "write"}}, ""))
	check(siem.GrantManaged(ctx, made.Channel, []client.ManagedGrant{{Participant: who.DID}}, ""))
	text, key := "order 4711", client.NewKey()
	first, err := erp.WriteManaged(ctx, made.Channel, client.ManagedRecord{Text: &text}, key)
	check(first, err)
	again, err := erp.WriteManaged(ctx, made.Channel, client.ManagedRecord{Text: &text}, key)
	check(again, err)
	if !again.Replayed || again.Seq != first.Seq {
		t.Errorf("sent again: %+v, first %+v", again, first)
	}
	entry, err := siem.ManagedRecord(ctx, made.Channel, first.Seq)
	check(entry, err)
	verdicts, err := siem.ValidateManaged(ctx, made.Channel, []client.ManagedClaim{{Seq: first.Seq, Text: &text}})
	check(verdicts, err)
	if entry.Text == nil || *entry.Text != text || entry.Author != who.DID || !verdicts[0].Valid {
		t.Errorf("read %+v, %+v", entry, verdicts)
	}
	check(siem.RevokeManaged(ctx, made.Channel, client.ManagedRevocation{Participants: []string{who.DID}, Reason: "over"}, ""))
	if _, err := erp.WriteManaged(ctx, made.Channel, client.ManagedRecord{Text: &text}, ""); client.ProblemCode(err) != "not_participant" {
		t.Errorf("after the revocation: %v", err)
	}
	channels, err := siem.ManagedChannels(ctx, client.ChannelFilter{Text: "incidents"}, client.Page{})
	check(channels, err)
	shown, err := siem.ManagedChannel(ctx, made.Channel)
	check(shown, err)
	identities, err := siem.ManagedIdentities(ctx)
	check(identities, err)
	records, err := siem.ManagedRecords(ctx, made.Channel, client.RecordFilter{}, client.Page{})
	check(records, err)
	if len(channels.Items) != 1 || shown.Epoch != 2 || len(identities.Items) != 1 || len(records.Items) != 1 {
		t.Errorf("%d channels, epoch %d, %d identities, %d records", len(channels.Items), shown.Epoch, len(identities.Items), len(records.Items))
	}
}
