package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"weft/client"
	"weft/plugins/identity/did"
	"weft/plugins/identity/keyfile"
	"weft/tangle"
)

// shop is a folder with key files and the log of one DID: a ledger of one, judged by the rules of the method.
type shop struct {
	t     *testing.T
	dir   string
	lines []client.LogLine
}

const testNetwork = "0000000000000000000000000000000000000000000000000000000000000001"

func (x *shop) path(name string) string { return filepath.Join(x.dir, name) }

// weft runs a command that must succeed.
func (x *shop) weft(args ...string) string {
	x.t.Helper()
	var out, errOut bytes.Buffer
	if code := run(args, strings.NewReader(""), &out, &errOut, nil); code != 0 {
		x.t.Fatalf("weft %s: exit %d\n%s%s", strings.Join(args, " "), code, &out, &errOut)
	}
	return out.String()
}

// order puts a signed operation on the log, if the rules allow it; it returns the new head.
func (x *shop) order(file string) (*didLog, error) {
	x.t.Helper()
	raw, err := os.ReadFile(x.path(file))
	if err != nil {
		x.t.Fatal(err)
	}
	object, err := did.DecodeObject(raw, did.JSONLimits{})
	if err != nil {
		x.t.Fatal(err)
	}
	line := client.LogLine{Operation: raw, VersionID: "?", Position: tangle.Position(len(x.lines)), Time: time.Unix(1_900_000_000+int64(len(x.lines)), 0)}
	id, err := tangle.ParseID(testNetwork)
	if err != nil {
		x.t.Fatal(err)
	}
	log, err := replay(id, did.DefaultLimits(), textIn(object, "did"), append(slices.Clone(x.lines), line))
	if err != nil {
		return nil, err
	}
	x.lines = append(x.lines, line)
	var text bytes.Buffer
	for _, line := range x.lines {
		json.NewEncoder(&text).Encode(line)
	}
	if err := os.WriteFile(x.path("log"), text.Bytes(), 0o600); err != nil {
		x.t.Fatal(err)
	}
	return log, nil
}

func (x *shop) must(file string) *didLog {
	x.t.Helper()
	log, err := x.order(file)
	if err != nil {
		x.t.Fatal(err)
	}
	return log
}

func (x *shop) change(verb, out string, args ...string) {
	x.t.Helper()
	x.weft(append([]string{"did", verb, "--network", testNetwork, "--log", x.path("log"), "--out", x.path(out), "--yes"}, args...)...)
}

func (x *shop) create(keys, out string, args ...string) {
	x.t.Helper()
	x.weft(append([]string{"did", "create", x.path(keys), "--unencrypted", "--network", testNetwork, "--out", x.path(out)}, args...)...)
}

// TestLifeOfADIDOffline leads a DID through all operations, with the next key in a second file.
func TestLifeOfADIDOffline(t *testing.T) {
	x := &shop{t: t, dir: t.TempDir()}
	x.create("main", "1", "--next-file", x.path("safe"), "--recovery-file", x.path("paper"))
	first := x.must("1").head

	x.change("rotate", "2", "--keys", x.path("main"), "--keys", x.path("safe"))
	second := x.must("2").head
	if second.UpdateKeys[0] == first.UpdateKeys[0] || second.NextKeyHashes[0] == first.NextKeyHashes[0] {
		t.Error("the rotation kept a key")
	}

	x.change("update", "3", "--keys", x.path("main"), "--keys", x.path("safe"), "--new-key", "key-3", "--revoke-key", "key-1",
		"--add-service", "mail=Inbox=https://bank.example/inbox")
	log := x.must("3")
	doc, err := json.Marshal(log.current().Document)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"authentication":["#key-3"]`, `"revoked":"`, `"id":"#mail"`} {
		if !strings.Contains(string(doc), want) {
			t.Errorf("the document has no %s: %s", want, doc)
		}
	}

	x.change("recover", "4", "--keys", x.path("main"), "--keys", x.path("paper"), "--compromised", "key-3")
	log = x.must("4")
	if log.head.RecoverySetter != log.head.OpHash || len(log.head.Compromised) != 1 {
		t.Errorf("got %+v", log.head)
	}
	if n := len(log.accepted[3].Signers); n != 1 {
		t.Errorf("the recovery shows %d keys, want one: the new recovery key stays unknown", n)
	}

	x.change("deactivate", "5", "--keys", x.path("main"))
	if !x.must("5").head.Deactivated {
		t.Error("not deactivated")
	}
	out := x.weft("did", "verify", log.id.String(), "--network", testNetwork, "--log", x.path("log"), "--json")
	if !strings.Contains(out, `"deactivated":true`) {
		t.Errorf("got %s", out)
	}
}

func TestAProductChangesHandsOffline(t *testing.T) {
	x := &shop{t: t, dir: t.TempDir()}
	x.create("a", "a1")
	a := x.must("a1").id
	x.create("b", "b1")
	b := x.must("b1").id
	x.create("product", "p1", "--controller", a.String(), "--owner-keys", x.path("a"))
	product := x.must("p1").id

	x.change("update", "alone", product.String(), "--keys", x.path("a"), "--controller", b.String())
	if _, err := x.order("alone"); err == nil || !strings.Contains(err.Error(), "consent_missing") {
		t.Errorf("given away without the new owner: %v", err)
	}
	x.change("update", "both", product.String(), "--keys", x.path("a"), "--keys", x.path("b"), "--controller", b.String())
	if got := x.must("both").head.Controllers; len(got) != 1 || got[0] != b.String() {
		t.Errorf("owners: %v", got)
	}
}

func TestWithoutPreRotationTheOldKeySigns(t *testing.T) {
	x := &shop{t: t, dir: t.TempDir()}
	x.create("main", "1", "--no-next", "--no-recovery")
	first := x.must("1").head
	x.change("rotate", "2", "--keys", x.path("main"))
	if got := x.must("2").head; got.UpdateKeys[0] == first.UpdateKeys[0] {
		t.Error("the rotation kept the key")
	}
}

// TestALogThatLiesIsRefused: the node says accepted where the rules say no, and leaves one out.
func TestALogThatLiesIsRefused(t *testing.T) {
	x := &shop{t: t, dir: t.TempDir()}
	x.create("main", "1")
	log := x.must("1")
	x.change("rotate", "2", "--keys", x.path("main"))
	x.must("2")
	whole := x.lines
	for name, lines := range map[string][]client.LogLine{
		"first one missing": whole[1:],
		"said rejected":     {whole[0], {Operation: whole[1].Operation, Position: 1, Time: whole[1].Time}},
		"twice":             {whole[0], whole[1], whole[1]},
		"another's":         {{Operation: bytes.Replace(whole[0].Operation, []byte(`"seq":1`), []byte(`"seq":2`), 1), VersionID: "?"}},
	} {
		if _, err := replay(log.network, did.DefaultLimits(), log.id.String(), lines); err == nil {
			t.Errorf("%s: taken as good", name)
		}
	}
}

// TestKeysAreSafeBeforeTheyCount: when a change fails on its way, the key file has old keys and new ones.
func TestKeysAreSafeBeforeTheyCount(t *testing.T) {
	x := &shop{t: t, dir: t.TempDir()}
	x.create("main", "1")
	x.must("1")
	args := []string{"did", "rotate", "--network", testNetwork, "--log", x.path("log"), "--keys", x.path("main"), "--api", "http://127.0.0.1:1"}
	var out bytes.Buffer
	if code := run(args, strings.NewReader(""), &out, &out, nil); code != exitUnreachable {
		t.Fatalf("exit %d: %s", code, &out)
	}
	f, err := keyfile.Open(x.path("main"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.With(keyfile.Update)) != 1 || len(f.With(keyfile.Next)) != 2 {
		t.Errorf("the file has %v", f.Keys())
	}
	x.change("rotate", "2", "--keys", x.path("main")) // and the next try works
	x.must("2")
}
