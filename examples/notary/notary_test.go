package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"weft/client"
	"weft/config"
	"weft/config/genesis"
	"weft/node"
	"weft/plugins"
	"weft/plugins/plugintest"
	"weft/tangle"
)

func TestContract(t *testing.T) {
	notes := []string{"", "contract", "Vertrag für Köln", "a photograph"}
	plugintest.Run(t, Maker(), plugintest.Script{Generate: func(r *rand.Rand) plugins.Submission {
		d := Deed{File: tangle.Hash{byte(r.IntN(100))}, Note: notes[r.IntN(len(notes))]} // few files: many come twice
		return plugins.Submission{Kind: Kind, Data: d.Encode()}
	}})
}

func TestFirstDeedWins(t *testing.T) {
	state := plugintest.NewState(nil)
	file := tangle.Hash(sha256.Sum256([]byte("file")))
	try := func(position tangle.Position, note string) error {
		op, err := check(Kind, Deed{file, note}.Encode())
		if err != nil {
			t.Fatal(err)
		}
		state.Begin()
		err = apply(state, plugins.Ordered{Kind: Kind, Op: op, Author: tangle.Member{1}, Position: position, Time: 1000})
		if err != nil {
			state.Rollback()
			return err
		}
		state.Commit()
		return nil
	}
	if err := try(7, "mine"); err != nil {
		t.Fatalf("first deed: %v", err)
	}
	r := plugins.Rejected(try(8, "no, mine"))
	if r == nil || r.Code != "already_notarised" || r.Detail != "by 01000000 at position 7" {
		t.Errorf("second deed: %v, want already_notarised", r)
	}
}

func TestRecordsRoundTrip(t *testing.T) {
	want := record{tangle.Hash{1}, tangle.Member{2}, 3, 4, "note"}
	if got, err := parseRecord(want.bytes()); err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := parseRecord(make([]byte, recordFixed-1)); err == nil || plugins.Rejected(err) != nil {
		t.Errorf("short record: %v, want an error that stops the node", err)
	}
}

// TestNode runs the example's main on a data folder: a network of one member.
func TestNode(t *testing.T) {
	dir := makeFolder(t)
	started := make(chan *node.Node, 1)
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { ended <- run(ctx, dir, func(n *node.Node) { started <- n }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	var n *node.Node
	select {
	case n = <-started:
	case err := <-ended:
		ended <- nil
		t.Fatal(err)
	}
	url := "http://" + n.APIAddr()
	c, err := client.New(client.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	file := tangle.Hash(sha256.Sum256([]byte("the file")))
	entry := client.RawEntry(Kind, Deed{file, "the first"}.Encode())
	done, err := c.Submit(t.Context(), []client.Entry{entry}, client.Options{Final: 20 * time.Second})
	if err != nil || done.Status != client.Final || done.Entries[0].Outcome != "accepted" {
		t.Fatalf("submit: %+v, %v", done, err)
	}
	if _, err := c.Submit(t.Context(), []client.Entry{entry}, client.Options{}); client.ProblemCode(err) != "already_notarised" {
		t.Errorf("second deed: %v, want already_notarised", err)
	}
	status, deed := ask(t, url, file)
	if status != http.StatusOK || deed.Note != "the first" || deed.Entry != done.Entries[0].EntryHash {
		t.Errorf("look up: %d %+v", status, deed)
	}
	if status, _ := ask(t, url, tangle.Hash{}); status != http.StatusNotFound {
		t.Errorf("a file nobody notarised: %d", status)
	}
}

func TestRouteRefusesWhatIsNoHash(t *testing.T) {
	p, err := Maker().Open(plugins.Host{View: func() plugins.View { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodGet, "/api/v1/notary/abc", nil)
	r.SetPathValue("file", "abc")
	err = p.HTTP.List[0].Serve(httptest.NewRecorder(), r)
	if rejected := plugins.Rejected(err); rejected == nil || rejected.Code != "bad_parameter" {
		t.Errorf("%v, want bad_parameter", err)
	}
}

func ask(t *testing.T, url string, file tangle.Hash) (status int, v deedView) {
	t.Helper()
	response, err := http.Get(url + "/api/v1/notary/" + file.String())
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil {
		err = json.Unmarshal(body, &v)
	}
	if err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return response.StatusCode, v
}

// makeFolder makes what 'weft init' and 'weft init genesis --plugin notary' make.
func makeFolder(t *testing.T) config.Dir {
	t.Helper()
	dir := config.Dir(filepath.Join(t.TempDir(), "node"))
	key, err := config.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	settings := config.Default()
	settings.Listen, settings.API.Listen, settings.Operator.Socket = []string{}, "127.0.0.1:0", false
	member := genesis.Member{Key: config.MemberOf(key), Name: "me", Roles: []string{genesis.RoleValidator}}
	if err := dir.Create(settings, config.Stub{Member: member}, key, ""); err != nil {
		t.Fatal(err)
	}
	g := &genesis.Genesis{
		Version: genesis.Version, Network: "example", Time: tangle.TimeOf(time.Now()), Members: []genesis.Member{member},
		Limits: tangle.DefaultLimits(), Consensus: genesis.DefaultConsensus(), Plugins: []genesis.Plugin{{Name: "notary"}},
	}
	if err := dir.Join(g); err != nil {
		t.Fatal(err)
	}
	return dir
}
