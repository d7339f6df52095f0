package client

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"weft/plugins/streams/channel"
	"weft/tangle"
)

// operations reads "METHOD /path" of every operation off the API's description, without the pages for people and
// the profiles, which 'go tool pprof' reads.
func operations(t *testing.T) map[string]*regexp.Regexp {
	t.Helper()
	var text []byte
	for _, page := range []string{
		"../node/openapi.yaml", "../plugins/identity/openapi.yaml", "../plugins/identity/openapi_identities.yaml", "../plugins/identity/openapi_credentials.yaml",
		"../plugins/streams/openapi.yaml", "../plugins/streams/managed/openapi.yaml",
	} {
		part, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		text = append(append(text, part...), '\n')
	}
	ops := map[string]*regexp.Regexp{}
	path := ""
	placeholder := regexp.MustCompile(`\\{[^/]*\\}`)
	for line := range strings.Lines(string(text)) {
		if m := regexp.MustCompile(`^  (/\S+):\s*$`).FindStringSubmatch(line); m != nil {
			path = m[1]
		}
		m := regexp.MustCompile(`^    (get|post|put|patch|delete):\s*$`).FindStringSubmatch(line)
		if m == nil || path == "" || slices.ContainsFunc(others(), func(p string) bool { return strings.HasPrefix(m[1]+path, p) }) {
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

// others are operations that people and other programs use: pages, profiles, what resolvers ask each other.
func others() []string {
	return []string{"get/docs", "get/debug", "get/1.0/methods", "get/1.0/properties", "get/1.0/traits", "get/1.0/testIdentifiers", "post/1.0/identifiers"}
}

// TestEveryOperationHasAMethod holds the client against the API's description, both ways.
func TestEveryOperationHasAMethod(t *testing.T) {
	ops := operations(t)
	if len(ops) < 90 {
		t.Fatalf("%d operations found in the description", len(ops))
	}
	var asked []string
	node, err := New(Config{URL: "http://node:1", HTTP: &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		asked = append(asked, strings.Replace(r.Method, "HEAD", "GET", 1)+" "+r.URL.Path)
		return reply(200, "application/json", "{}"), nil
	})}})
	if err != nil {
		t.Fatal(err)
	}
	callEverything(t, node)
	callIdentity(t, node)
	callChannels(t, node)
	callManaged(t, node)
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
	check(node.Purge(ctx))
	check(node.PurgeState(ctx))
	_ = node.Watch(ctx, func(Happening) error { return nil }) // the stream is empty and ends
	short, cancel := context.WithCancel(ctx)
	defer cancel()
	_ = node.Follow(short, FollowFilter{}, func(FinalEntry) error { return nil }, func(error) { cancel() })
}

// callIdentity calls everything of the identity plugin.
func callIdentity(t *testing.T, node *Client) {
	t.Helper()
	ctx := t.Context()
	check := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	for _, operation := range []string{
		`{"type":"weft/op/1","op":"create"}`, `{"type":"weft/op/1","op":"update","did":"d"}`, `{"type":"weft/op/1","op":"recover","did":"d"}`,
		`{"type":"weft/op/1","op":"deactivate","did":"d"}`, `{"type":"weft/status/1","op":"create"}`, `{"type":"weft/status/1","op":"set","list":"l"}`,
		`{"type":"weft/status/1","op":"anchor"}`, `{"type":"weft/status/1","op":"spend"}`, `{"type":"weft/trust/1","op":"federation.create"}`,
		`{"type":"weft/trust/1","op":"grant","federation":"f"}`, `{"type":"weft/trust/1","op":"revoke","grant":"g"}`,
		`{"type":"weft/trust/1","op":"root.add","federation":"f"}`, `{"type":"weft/trust/1","op":"property.add","federation":"f"}`,
	} {
		check(node.SubmitOperation(ctx, []byte(operation), OperationOptions{}))
	}
	check(node.OperationState(ctx, "h"))
	check(node.Resolve(ctx, "did:key:z", ResolveOptions{}))
	check(node.Dereference(ctx, "did:key:z#z"))
	check(node.History(ctx, "d", Page{}))
	check(node.IdentityDocument(ctx, "d", "1-h", time.Time{}))
	check(node.IdentityLog(ctx, "d", true))
	check(node.DraftIdentity(ctx, map[string]any{}))
	check(node.Propose(ctx, json.RawMessage("{}")))
	check(node.Proposal(ctx, "p"))
	check(node.AddProof(ctx, "p", json.RawMessage("{}")))
	check(node.Identities(ctx, IdentityFilter{}, Page{}))
	check(node.Identity(ctx, "d"))
	check(node.PatchProfile(ctx, "d", Profile{}))
	check(nil, node.DeleteProfile(ctx, "d"))
	check(node.EnrolDevice(ctx, "d"))
	check(node.ClaimDevice(ctx, "e", "c", json.RawMessage("{}"), OperationOptions{}))
	check(node.StatusList(ctx, "l", time.Time{}))
	check(nil, node.PutSignedStatusList(ctx, "l", json.RawMessage("{}")))
	check(node.DraftCredential(ctx, CredentialIntent{}))
	check(node.RecordCredential(ctx, "d", json.RawMessage("{}"), false, nil))
	check(node.Credentials(ctx, CredentialFilter{}, Page{}))
	check(node.CredentialStatus(ctx, "c"))
	check(node.Custody(ctx, "c"))
	check(nil, node.EraseCustody(ctx, "c"))
	for _, verb := range []string{"revoke", "suspend", "reinstate"} {
		check(node.ChangeCredential(ctx, "c", verb, []byte("{}"), OperationOptions{}))
	}
	check(node.Templates(ctx, Page{}))
	check(node.Template(ctx, "t"))
	check(node.AddTemplate(ctx, Template{Name: "t"}))
	check(node.PutTemplate(ctx, Template{Name: "t"}))
	check(node.RequestPresentation(ctx, PresentationRequest{}))
	check(node.PresentationRequest(ctx, "r"))
	check(nil, node.RespondPresentation(ctx, "r", json.RawMessage("{}")))
	check(node.PresentationResult(ctx, "r"))
	for _, name := range []string{"", "bank"} {
		issuer := node.Issuer(name)
		check(issuer.Issue(ctx, json.RawMessage("{}"), IssueOptions{}))
		check(issuer.Verify(ctx, json.RawMessage("{}"), VerifyOptions{}))
		check(issuer.VerifyPresentation(ctx, json.RawMessage("{}"), VerifyOptions{}))
		check(nil, issuer.SetStatus(ctx, "c", "revocation", true))
		check(issuer.Challenge(ctx))
		check(issuer.SignedStatusList(ctx, "l", time.Time{}))
	}
	check(node.Federations(ctx, Page{}))
	check(node.Federation(ctx, "f"))
	check(node.TrustGraph(ctx, "f", Page{}))
	check(node.Grant(ctx, "g"))
	check(node.EvaluateTrust(ctx, TrustQuestion{}))
	check(node.TrustRoots(ctx))
	check(node.SetTrustRoots(ctx, TrustRoots{}))
	challenge, err := node.LoginChallenge(ctx, "did:key:z", "")
	check(challenge, err)
	check(node.LoginWithPresentation(ctx, challenge, json.RawMessage("{}")))
	check(node.Introspect(ctx, "token"))
	check(nil, node.WithToken("token").Logout(ctx))
	check(node.TokenKeys(ctx))
}

// callChannels calls everything of the streams plugin.
func callChannels(t *testing.T, node *Client) {
	t.Helper()
	ctx, id, root := t.Context(), channel.ID{1}, tangle.Hash{2}
	check := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	for _, operation := range []string{`{"type":"weft/channel/1","op":"create"}`, `{"type":"weft/channel/1","op":"write","channel":"` + id.String() + `"}`} {
		check(node.SubmitOperation(ctx, []byte(operation), OperationOptions{}))
	}
	_, _ = node.SubmitOperations(ctx, id, [][]byte{[]byte("{}")}, OperationOptions{}) // the answer has no results
	_, _ = node.OperationStates(ctx, id, []string{"zQm"}, OperationOptions{})
	check(node.DraftChannel(ctx, id, map[string]any{}))
	check(node.Channels(ctx, ChannelFilter{Text: "t", Archived: true, Visible: true, CreatedFrom: time.Now()}, Page{}))
	check(node.Channel(ctx, id))
	check(node.ChannelAdmins(ctx, id))
	check(node.ChannelEvents(ctx, id, EventFilter{}, Page{}))
	check(node.ChannelRecords(ctx, id, RecordFilter{From: 1}, Page{}))
	check(node.ChannelRecord(ctx, id, 1))
	check(node.Erasure(ctx, id, 1))
	check(node.Subscriptions(ctx, id, channel.Active, Page{}))
	check(node.Subscription(ctx, id, "did:key:z"))
	check(node.ChannelKeys(ctx, id, 0, Page{}))
	check(node.ValidateRecords(ctx, id, []Claim{{}}))
	check(node.ExportChannel(ctx, id, 0, io.Discard))
	check(node.DeclareBlob(ctx, id, channel.Blob{Root: root}, []tangle.Hash{root}))
	check(nil, node.PutChunk(ctx, id, root, 0, []byte("x")))
	check(node.Chunk(ctx, id, root, 0))
	check(node.Blob(ctx, id, root, 0, 0, io.Discard))
	_, _ = node.BlobSize(ctx, id, root) // the answer has no length
	short, cancel := context.WithCancel(ctx)
	defer cancel()
	_ = node.FollowChannel(short, id, nil, func(ChannelHappening) error { return nil }, func(error) { cancel() })
}

// callManaged calls everything of managed mode.
func callManaged(t *testing.T, node *Client) {
	t.Helper()
	ctx, id := t.Context(), channel.ID{1}
	check := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	check(node.ManagedIdentities(ctx))
	check(node.CreateManagedChannel(ctx, ManagedChannel{Name: "n"}, ""))
	check(node.ManagedChannels(ctx, ChannelFilter{}, Page{}))
	check(node.ManagedChannel(ctx, id))
	check(node.RequestManaged(ctx, id, ManagedRequest{}, ""))
	check(node.GrantManaged(ctx, id, []ManagedGrant{{Participant: "d"}}, ""))
	check(node.RevokeManaged(ctx, id, ManagedRevocation{Participants: []string{"d"}}, ""))
	check(node.WriteManaged(ctx, id, ManagedRecord{}, "a-key-of-the-caller"))
	check(node.ManagedRecords(ctx, id, RecordFilter{}, Page{}))
	check(node.ManagedRecord(ctx, id, 1))
	short, cancel := context.WithCancel(ctx)
	defer cancel()
	_ = node.FollowManaged(short, id, nil, func(ManagedHappening) error { return nil }, func(error) { cancel() })
	_, _ = node.ValidateManaged(ctx, id, []ManagedClaim{{Seq: 1}}) // the answer is no list
}
