package main

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"weft/plugins/identity/keyfile"
	"weft/testnet"
)

// channelTour is a security team, a tool that may only write, and an auditor, at the command line.
type channelTour struct {
	t   *testing.T
	n   *testnet.Network
	dir string
}

func (x *channelTour) path(name string) string { return filepath.Join(x.dir, name) }

func (x *channelTour) did(name string) string {
	x.t.Helper()
	f, err := keyfile.Read(x.path(name))
	if err != nil {
		x.t.Fatal(err)
	}
	return f.DID
}

// as runs a verb of channel at one of the nodes, as somebody.
func (x *channelTour) as(node, code int, who, stdin string, args ...string) (out, errOut string) {
	x.t.Helper()
	return weft(x.t, code, stdin, x.n.Nodes[node].API, append(append([]string{"channel"}, args...), "--keys", x.path(who))...)
}

// TestChannelsAtTheCommandLine walks through every verb on four nodes.
func TestChannelsAtTheCommandLine(t *testing.T) {
	x := &channelTour{t: t, n: startTestNetwork(t), dir: t.TempDir()}
	for _, who := range []string{"soc", "tool", "auditor", "owner"} {
		weft(t, 0, "", x.n.Nodes[0].API, "did", "create", x.path(who), "--unencrypted")
	}
	x.membership()
	x.records()
	x.evidence()
	x.hiddenAndPublic()
	x.forgotten("notices", 3, "anna@example.org")
	x.recovery()
	x.reindexed()
}

func (x *channelTour) membership() {
	t := x.t
	out, errOut := x.as(0, 0, "soc", "", "create", "incidents", "--description", "alerts of the tools", "--audit", "--tag", "net")
	wantText(t, out+errOut, "sealed to 1 keys", "final, accepted")
	x.as(1, 1, "soc", "", "create", "incidents", "--description", "the same name again", "--audit")
	x.as(1, 0, "tool", "", "request", "incidents", "--right", "write")
	if err := os.WriteFile(x.path("note"), []byte("from the regulator"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, errOut = x.as(1, 0, "auditor", "", "request", "incidents", "--right", "audit", "--note", x.path("note"))
	if strings.Contains(errOut, "regulator") {
		t.Error("the note is in the operation")
	}
	out, _ = x.as(0, 0, "soc", "", "requests", "incidents")
	wantText(t, out, "from the regulator", x.did("tool"))
	out, _ = x.as(2, 0, "soc", "", "authorize", "incidents", "--all-requested", "--until", "2035-01-01T00:00:00Z", "--yes")
	wantText(t, out, "final, accepted")
	x.as(0, 0, "owner", "", "request", "incidents", "--right", "read")
	x.as(0, 0, "soc", "", "reject", "incidents", x.did("owner"), "--reason", "not_a_party")
	out, _ = x.as(3, 0, "auditor", "", "show", "incidents", "--participants")
	wantText(t, out, "rejected", "2035-01-01T00:00:00.000Z", "audit")
}

func (x *channelTour) records() {
	t := x.t
	lines := strings.Join(numbered(1, 200), "\n")
	_, errOut := x.as(1, 0, "tool", lines, "write", "incidents", "--lines", "--tag", "net", "--resume", x.path("state"))
	wantText(t, errOut, "200 records in ")
	x.as(0, 1, "tool", "x", "write", "incidents", "--tag", "other")
	out, _ := x.as(3, 0, "auditor", "", "read", "incidents", "--tag", "net", "--json")
	for i, line := range strings.Split(strings.TrimSpace(out), "\n") {
		var r recordLine
		if err := json.Unmarshal([]byte(line), &r); err != nil || r.Text == nil || *r.Text != "line "+strconv.Itoa(i+1) || r.Author != x.did("tool") {
			t.Fatalf("record %d: %s, %v", i+1, line, err)
		}
	}
	if err := os.WriteFile(x.path("copy"), []byte(out), 0o600); err != nil {
		t.Fatal(err)
	}
	x.as(2, 0, "auditor", "", "validate", "incidents", x.path("copy"))
	os.WriteFile(x.path("copy"), []byte(strings.Replace(out, "line 77\"", "line 78\"", 1)), 0o600)
	out, errOut = x.as(2, 1, "auditor", "", "validate", "incidents", x.path("copy"))
	wantText(t, out+errOut, "record 77: hash_mismatch", "1 of 200")
	out, _ = x.as(0, 0, "tool", "", "read", "incidents", "--count", "1")
	wantText(t, out, "(no_key)")

	big := bytes.Repeat([]byte("a large file "), 60_000)
	if err := os.WriteFile(x.path("big"), big, 0o600); err != nil {
		t.Fatal(err)
	}
	x.as(1, 0, "tool", "", "write", "incidents", x.path("big"), "--type", "capture")
	x.as(3, 0, "auditor", "", "read", "incidents", "201", "--out", x.path("copied"))
	if copied, err := os.ReadFile(x.path("copied")); err != nil || !bytes.Equal(copied, big) {
		t.Errorf("the large file came back as %d bytes, %v", len(copied), err)
	}
	x.as(3, 0, "auditor", "", "validate", "incidents", x.path("copied"), "--seq", "201")
	x.as(0, 0, "soc", "corrected", "write", "incidents", "--supersedes", "7")
	out, _ = x.as(0, 0, "soc", "", "read", "incidents", "7")
	wantText(t, out, "superseded by 202")
	out, _ = x.as(2, 0, "soc", "", "follow", "incidents", "--after", "0", "--count", "50")
	wantText(t, out, "line 1\n", "line 50\n")
}

func (x *channelTour) evidence() {
	t := x.t
	x.as(0, 0, "soc", "", "share", "incidents", x.path("shared"), "--unencrypted", "--until", "2035-01-01T00:00:00Z", "--yes")
	_, errOut := x.as(0, 0, "soc", "", "revoke", "incidents", x.did("auditor"), "--yes")
	wantText(t, errOut, "opens epoch 2")
	x.as(1, 0, "tool", "after the audit", "write", "incidents")
	_, errOut = x.as(3, 1, "auditor", "", "read", "incidents")
	wantText(t, errOut, "not_participant")
	out, _ := x.as(3, 0, "shared", "", "read", "incidents", "--newest-first", "--count", "1")
	wantText(t, out, "after the audit")
	genesis := filepath.Join(x.n.Dir, "genesis.json")
	x.as(0, 0, "soc", "", "rekey", "incidents", "--genesis", genesis) // readers' keys by their receipts
	x.as(0, 0, "soc", "", "rekey", "incidents", "--missing")
	_, errOut = x.as(0, 0, "soc", "", "rekey", "incidents", "--to", x.did("shared"))
	wantText(t, errOut, "SEALED to 1 keys", x.did("shared"))

	x.as(2, 0, "soc", "", "export", "incidents", x.path("evidence.zip"), "--open", "5")
	out, _ = weft(t, 0, "", "", "channel", "verify", x.path("evidence.zip"), "--genesis", genesis)
	wantText(t, out, "203 records, 1 opened")
	x.as(2, 0, "soc", "", "export", "incidents", x.path("part.zip"), "--to", "9", "--open-all")
	weft(t, 0, "", "", "channel", "verify", x.path("part.zip"), "--genesis", genesis)
	_, errOut = x.as(2, 1, "soc", "", "export", "incidents", x.path("short.zip"), "--to", "9", "--open", "200")
	wantText(t, errOut, "no record 200 in the bundle")
	bundle, err := os.ReadFile(x.path("evidence.zip"))
	if err != nil {
		t.Fatal(err)
	}
	bundle[len(bundle)/2] ^= 1
	os.WriteFile(x.path("changed.zip"), bundle, 0o600)
	weft(t, 1, "", "", "channel", "verify", x.path("changed.zip"), "--genesis", genesis)

	out, _ = x.as(1, 0, "soc", "", "restore", x.path("back"))
	wantText(t, out, "incidents: 203 records, 203 opened")
	x.as(1, 0, "tool", "", "erase", "incidents", "201", "--reason", "gdpr_art17", "--yes")
	out, _ = x.as(3, 0, "soc", "", "erase", "incidents", "201", "--receipt")
	wantText(t, out, "gdpr_art17", "deleted at")
	out, _ = x.as(3, 0, "soc", "", "read", "incidents", "201")
	wantText(t, out, "(erased)")
	x.as(3, 1, "soc", "", "read", "incidents", "201", "--out", x.path("gone"))
	_, errOut = x.as(0, 0, "soc", "", "show", "incidents", "--events")
	wantText(t, errOut, "the heads follow from one another")
	x.as(0, 0, "tool", "", "leave", "incidents", "--yes")
	x.as(0, 0, "soc", "", "lock", "incidents", "--forever", "--yes")
	_, errOut = x.as(2, 1, "soc", "too late", "write", "incidents")
	wantText(t, errOut, "locked")
}

func (x *channelTour) hiddenAndPublic() {
	t := x.t
	x.as(0, 0, "owner", "", "create", "unseen", "--hidden", "--grant", x.did("soc")+"=read,write,admin", "--visible", x.did("auditor"))
	out, _ := x.as(1, 0, "soc", "", "list")
	wantText(t, out, "unseen", "incidents")
	out, _ = x.as(1, 0, "tool", "", "list")
	if strings.Contains(out, x.did("owner")) {
		t.Error("a hidden channel is listed for a stranger")
	}
	out, _ = x.as(1, 0, "auditor", "", "show", "unseen")
	wantText(t, out, "unseen", x.did("owner"))
	out, _ = x.as(0, 0, "owner", "", "list", "--owner", x.did("owner"))
	unseen := regexp.MustCompile(`[0-9a-f]{64}`).FindString(out)
	out, _ = x.as(2, 0, "owner", "", "show", unseen)
	wantText(t, out, "unseen")
	x.as(2, 1, "tool", "", "show", unseen)
	x.as(1, 0, "owner", "", "configure", "unseen", "--status", "closed", "--to-owner", x.did("soc"), "--yes")
	out, _ = x.as(2, 0, "soc", "", "show", "unseen")
	wantText(t, out, "unseen", x.did("soc"))
	out, _ = x.as(0, 0, "owner", "", "create", "notices", "--public")
	notices := regexp.MustCompile(`channel +([0-9a-f]{64})`).FindStringSubmatch(out)[1]
	_, errOut := x.as(0, 0, "owner", "first\nsecond\n", "write", "notices", "--lines")
	if strings.Contains(errOut, "warning") {
		t.Errorf("nothing is personal in it: %s", errOut)
	}
	if err := os.WriteFile(x.path("public"), []byte(`{"by":"anna@example.org"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, errOut = x.as(0, 0, "owner", "", "write", "notices", "--public", x.path("public"))
	wantText(t, errOut, "warning: public.by looks like an e-mail address")
	x.as(0, 0, "owner", "", "write", "notices", x.path("note"))
	out, _ = weft(t, 0, "", x.n.Nodes[3].API, "channel", "read", "notices", "--owner", x.did("owner"), "--keys", x.path("tool"))
	wantText(t, out, `{"text":"first"}`, `{"text":"second"}`, "(detached)")
	out, _ = x.as(2, 0, "tool", "", "read", "notices", "4", "--out", "-")
	wantText(t, out, "from the regulator")
	out, _ = weft(t, 0, "", x.n.Nodes[1].API, "channel", "read", notices)
	wantText(t, out, `{"text":"first"}`)
	out, _ = weft(t, 0, "", x.n.Nodes[1].API, "channel", "read", "notices", "--owner", x.did("owner"))
	wantText(t, out, `{"text":"first"}`)
	out, _ = weft(t, 0, "", x.n.Nodes[2].API, "channel", "list")
	if wantText(t, out, notices); strings.Contains(out, "incidents") {
		t.Error("a private channel is listed for nobody")
	}
	_, errOut = weft(t, 1, "", x.n.Nodes[1].API, "channel", "read", "incidents")
	wantText(t, errOut, "no public channel", "--keys")
}

// forgotten erases a record of a public channel, and purges all nodes: then its text is in no file of any of them.
func (x *channelTour) forgotten(name string, seq int, text string) {
	t := x.t
	inFiles := func(dir string) (found []string) {
		t.Helper()
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return err
			}
			content, err := os.ReadFile(path)
			if bytes.Contains(content, []byte(text)) {
				found = append(found, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	for _, n := range x.n.Nodes {
		if len(inFiles(string(n.Dir))) == 0 {
			t.Fatalf("%s does not have it before: the search proves nothing", n.Name)
		}
	}
	x.as(0, 0, "owner", "", "erase", name, strconv.Itoa(seq), "--reason", "gdpr_art17", "--yes")
	deadline := time.After(time.Minute)
	for dropped := 0; dropped < len(x.n.Nodes); {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-deadline:
			t.Fatalf("%d members say that it is gone", dropped)
		}
		out, _ := x.as(1, 0, "owner", "", "erase", name, strconv.Itoa(seq), "--receipt")
		dropped = strings.Count(out, "deleted at")
	}
	for _, n := range x.n.Nodes {
		out, _ := weft(t, 0, "", "", "purge", "--dir", string(n.Dir))
		wantText(t, out, "1 of 1 bodies erased on this node are in no file of its store")
		if found := inFiles(string(n.Dir)); len(found) > 0 {
			t.Errorf("still in %v", found)
		}
	}
}

// recovery: after two changes of all its keys, a key file and any node give a reader back what it read and wrote.
func (x *channelTour) recovery() {
	t := x.t
	x.as(0, 0, "owner", "", "create", "diary", "--grant", x.did("soc")+"=read,write")
	x.as(0, 0, "soc", "under the first keys", "write", "diary")
	for _, keys := range [][4]string{{"key-3", "key-4", "key-1", "key-2"}, {"key-5", "key-6", "key-3", "key-4"}} {
		weft(t, 0, "", x.n.Nodes[1].API, "did", "update", "--keys", x.path("soc"), "--yes",
			"--new-key", keys[0], "--new-key", keys[1]+"=X25519", "--revoke-key", keys[2], "--revoke-key", keys[3])
		x.as(0, 0, "owner", "", "rekey", "diary")
		x.as(2, 0, "soc", "after "+keys[2], "write", "diary")
	}
	out, _ := x.as(3, 0, "soc", "", "restore", x.path("again"))
	wantText(t, out, "diary: 3 records, 3 opened", "unseen: ")
}
