package client

import (
	"context"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"weft/tangle"
)

// operations reads "METHOD /path" of every operation off the API's description, without the pages for people and
// the profiles, which 'go tool pprof' reads.
func operations(t *testing.T) map[string]*regexp.Regexp {
	t.Helper()
	text, err := os.ReadFile("../node/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	ops := map[string]*regexp.Regexp{}
	path := ""
	placeholder := regexp.MustCompile(`\\{[^/]*\\}`)
	for line := range strings.Lines(string(text)) {
		if m := regexp.MustCompile(`^  (/\S+):\s*$`).FindStringSubmatch(line); m != nil {
			path = m[1]
		}
		m := regexp.MustCompile(`^    (get|post|put|patch|delete):\s*$`).FindStringSubmatch(line)
		if m == nil || path == "" || strings.HasPrefix(path, "/docs") || strings.HasPrefix(path, "/debug") {
			continue
		}
		name := strings.ToUpper(m[1]) + " " + path
		some := "[^/?]+"
		if strings.HasSuffix(path, "{tile}") {
			some = "[^?]+"
		}
		ops[name] = regexp.MustCompile("^" + placeholder.ReplaceAllString(regexp.QuoteMeta(name), some) + "$")
	}
	return ops
}

// TestEveryOperationHasAMethod holds the client against the API's description, both ways.
func TestEveryOperationHasAMethod(t *testing.T) {
	ops := operations(t)
	if len(ops) < 30 {
		t.Fatalf("%d operations found in the description", len(ops))
	}
	var asked []string
	node, err := New(Config{URL: "http://node:1", HTTP: &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		asked = append(asked, r.Method+" "+r.URL.Path)
		return reply(200, "application/json", "{}"), nil
	})}})
	if err != nil {
		t.Fatal(err)
	}
	callEverything(t, node)
	for name, pattern := range ops {
		if !slices.ContainsFunc(asked, pattern.MatchString) {
			t.Errorf("no method asks %s", name)
		}
	}
	for _, request := range asked {
		known := false
		for _, pattern := range ops {
			known = known || pattern.MatchString(request)
		}
		if !known && request != "GET /metrics" { // a plugin's
			t.Errorf("%s is not in the description", request)
		}
	}
}

func callEverything(t *testing.T, node *Client) {
	t.Helper()
	ctx := t.Context()
	id, hash, member := tangle.ID{1}, tangle.Hash{2}, tangle.Member{3}
	check := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	check(node.Submit(ctx, []Entry{RawEntry(64, []byte("x"))}, Options{Receipts: true}))
	check(node.Messages(ctx, MessageFilter{Member: member, Kind: KindData, To: 5}, Page{}))
	check(node.Message(ctx, id))
	check(node.MessageBytes(ctx, id))
	check(node.Parents(ctx, id, Page{}))
	check(node.Children(ctx, id, Page{}))
	check(node.AtPosition(ctx, 7))
	check(node.Entry(ctx, hash))
	check(node.Receipt(ctx, hash))
	check(node.VerifyReceipt(ctx, []byte("receipt")))
	check(node.Checkpoints(ctx, Page{}))
	check(node.Checkpoint(ctx, 7))
	check(node.Commits(ctx, 1, Page{}))
	check(node.Commit(ctx, 7))
	check(node.LogCheckpoint(ctx))
	check(node.LogFile(ctx, TilePath(0, 1234, 7)))
	check(node.Node(ctx))
	check(node.Genesis(ctx))
	check(node.Members(ctx))
	check(node.Member(ctx, member))
	check(node.Parameters(ctx))
	check(node.Peers(ctx))
	check(node.Health(ctx))
	check(node.Ready(ctx))
	check(node.Metrics(ctx))
	check(node.Overview(ctx))
	check(node.Search(ctx, "who"))
	check(node.Graph(ctx, id, 2))
	check(node.APIKeys(ctx))
	check(node.AddAPIKey(ctx, APIKey{Name: "n", Scopes: []string{"ledger:read"}}))
	check(node.OpenAPI(ctx))
	check(nil, node.RemoveAPIKey(ctx, "k"))
	check(nil, node.SetLogLevel(ctx, "debug"))
	_ = node.Watch(ctx, func(Happening) error { return nil }) // the stream is empty and ends
	short, cancel := context.WithCancel(ctx)
	defer cancel()
	_ = node.Follow(short, FollowFilter{}, func(FinalEntry) error { return nil }, func(error) { cancel() })
}
