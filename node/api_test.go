package node

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"weft/config"
	"weft/config/genesis"
	"weft/internal/store"
	"weft/plugins"
	"weft/receipt"
	"weft/tangle"
)

// apiConfig is that of a node on loopback without rate limits.
func apiConfig() APIConfig {
	return APIConfig{
		API:     config.API{Listen: "127.0.0.1:0", Read: config.AccessOpen, Submit: config.AccessOpen, NoQuorum: config.NoQuorumPending},
		Version: "test", Level: &slog.LevelVar{},
	}
}

// runNode runs a network of one member until the test ends.
func runNode(t testing.TB, api APIConfig, makers ...plugins.Maker) *Node {
	t.Helper()
	return runNodeTelling(t, slog.New(slog.NewTextHandler(io.Discard, nil)), api, makers...)
}

// runNodeTelling is runNode with a log.
func runNodeTelling(t testing.TB, log *slog.Logger, api APIConfig, makers ...plugins.Maker) *Node {
	t.Helper()
	g, key := oneMember()
	n, err := Open(Config{
		Genesis: g, Key: key, Store: store.NewMemory(), Tuning: DefaultTuning(), API: api, Makers: makers,
		Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	runToEnd(t, n)
	return n
}

// runToEnd runs a node until the test ends.
func runToEnd(t testing.TB, n *Node) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("node: %v", err)
		}
	})
}

// reply is a whole answer.
type reply struct {
	status int
	header http.Header
	body   []byte
}

func (r reply) code(t testing.TB) string {
	t.Helper()
	var p problemView
	if err := json.Unmarshal(r.body, &p); err != nil || r.header.Get("Content-Type") != "application/problem+json" {
		t.Fatalf("no problem: HTTP %d %q %s", r.status, r.header.Get("Content-Type"), clipText(r.body))
	}
	if p.Status != r.status || p.RequestID == "" || p.RequestID != r.header.Get("Request-Id") || p.Type != "urn:weft:problem:"+p.Code {
		t.Fatalf("problem does not fit its answer: HTTP %d %s", r.status, r.body)
	}
	return p.Code
}

func clipText(b []byte) string { return string(b[:min(len(b), 300)]) }

// into reads a JSON answer of the wanted status.
func (r reply) into(t testing.TB, status int, v any) {
	t.Helper()
	if r.status != status {
		t.Fatalf("got HTTP %d, want %d: %s", r.status, status, clipText(r.body))
	}
	if err := json.Unmarshal(r.body, v); err != nil {
		t.Fatalf("%v in %s", err, clipText(r.body))
	}
}

// call sends a request to a door without a network. Headers come as name, value, ...
func callDoor(door http.Handler, method, path, body string, header ...string) reply {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if body == "" {
		r = httptest.NewRequest(method, path, nil)
	} else {
		r.Header.Set("Content-Type", jsonType)
	}
	r.RemoteAddr = "127.0.0.1:40000"
	for i := 0; i < len(header); i += 2 {
		if header[i+1] == "" {
			r.Header.Del(header[i])
			continue
		}
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	door.ServeHTTP(w, r)
	return reply{w.Code, w.Result().Header, w.Body.Bytes()}
}

func (n *Node) call(method, path, body string, header ...string) reply {
	return callDoor(n.api.public, method, path, body, header...)
}

// submission is the body that submits tagged texts.
func submission(tag string, texts ...string) string {
	var entries []string
	for _, text := range texts {
		entries = append(entries, fmt.Sprintf(`{"kind":"data","data":{"tag":%q,"bytes":%q}}`, tag, encodeBase64([]byte(text))))
	}
	return `{"entries":[` + strings.Join(entries, ",") + `]}`
}

// submitted is the answer to POST /messages.
type submitted struct {
	Status    Status      `json:"status"`
	EntryHash tangle.Hash `json:"entryHash"`
	MessageID tangle.ID   `json:"messageId"`
	Outcome   string      `json:"outcome"`
	Place     *placeView  `json:"place"`
	Receipt   string      `json:"receipt"`
	Entries   []submitted `json:"entries"`
}

func (n *Node) submitFinal(t testing.TB, tag string, texts ...string) submitted {
	t.Helper()
	var s submitted
	n.call("POST", "/api/v1/messages?wait=final&timeout=20s", submission(tag, texts...)).into(t, 201, &s)
	return s
}

func TestSubmitAndReadBack(t *testing.T) {
	n := runNode(t, apiConfig())
	got := n.call("POST", "/api/v1/messages?wait=final&timeout=20s", submission("note", "hello"))
	var s submitted
	got.into(t, 201, &s)
	if s.Status != StatusFinal || s.Outcome != outcomeAccepted || s.Place == nil || len(s.Entries) != 1 || s.Entries[0].EntryHash != s.EntryHash {
		t.Fatalf("answer %s", got.body)
	}
	if want := "/api/v1/entries/" + s.EntryHash.String(); got.header.Get("Location") != want {
		t.Errorf("Location %q, want %q", got.header.Get("Location"), want)
	}
	file, ok := appendBase64(nil, []byte(s.Receipt))
	report, err := receipt.Verify(n.config.Genesis, file)
	if !ok || err != nil || !report.Verified {
		t.Errorf("receipt in the answer: %v %+v", err, report)
	}

	var data struct{ Tag, Bytes string }
	r := n.call("GET", got.header.Get("Location"), "")
	var raw struct{ Data json.RawMessage }
	r.into(t, 200, &raw)
	if err := json.Unmarshal(raw.Data, &data); err != nil || data.Tag != "note" || data.Bytes != encodeBase64([]byte("hello")) {
		t.Errorf("entry's data %s", raw.Data)
	}
	var position struct{ ID tangle.ID }
	n.call("GET", "/api/v1/messages/"+s.MessageID.String(), "").into(t, 200, &position)
	n.call("GET", fmt.Sprintf("/api/v1/positions/%d", s.Place.Position), "").into(t, 200, &position)
	if position.ID != s.MessageID {
		t.Errorf("position %d has %s, want %s", s.Place.Position, position.ID, s.MessageID)
	}
	bytesReply := n.call("GET", "/api/v1/messages/"+s.MessageID.String(), "", "Accept", bytesType)
	codec := tangle.Codec{Network: n.config.Genesis.ID(), Limits: n.config.Genesis.Limits}
	parsed, err := codec.Parse(bytesReply.body)
	if err != nil || parsed.ID != s.MessageID {
		t.Errorf("canonical bytes: %v", err)
	}
	fileReply := n.call("GET", "/api/v1/entries/"+s.EntryHash.String()+"/receipt", "")
	var verified reportReply
	n.call("POST", "/api/v1/receipts/verify", string(fileReply.body), "Content-Type", bytesType).into(t, 200, &verified)
	if !verified.Verified || len(verified.Checks) == 0 {
		t.Errorf("node's own check: %+v", verified)
	}
	body := `{"receipt":"` + encodeBase64(fileReply.body) + `"}`
	n.call("POST", "/api/v1/receipts/verify", body).into(t, 200, &verified)
	flipped := bytes.Clone(fileReply.body)
	flipped[len(flipped)/2] ^= 1
	if code := n.call("POST", "/api/v1/receipts/verify", string(flipped), "Content-Type", bytesType).code(t); code != "bad_receipt" {
		t.Errorf("flipped receipt: %s", code)
	}
}

type reportReply struct {
	Verified bool
	Checks   []receipt.Check
}

func TestSubmitMany(t *testing.T) {
	n := runNode(t, apiConfig())
	var texts []string
	for i := range MaxSubmitEntries {
		texts = append(texts, fmt.Sprint("entry ", i))
	}
	s := n.submitFinal(t, "many", texts...)
	if len(s.Entries) != MaxSubmitEntries || s.Status != StatusFinal || s.Entries[0].Receipt != "" {
		t.Fatalf("%d entries, %s", len(s.Entries), s.Status)
	}
	for i, e := range s.Entries {
		var raw struct {
			Data struct{ Bytes string }
		}
		n.call("GET", "/api/v1/entries/"+e.EntryHash.String(), "").into(t, 200, &raw)
		if raw.Data.Bytes != encodeBase64([]byte(texts[i])) {
			t.Fatalf("entry %d is %s", i, raw.Data.Bytes)
		}
	}
	var withReceipts submitted
	n.call("POST", "/api/v1/messages?wait=final&receipts=true", submission("", "a", "b")).into(t, 201, &withReceipts)
	if withReceipts.Entries[0].Receipt == "" || withReceipts.Entries[1].Receipt == "" {
		t.Error("receipts were asked for and are not there")
	}
}

func TestSubmitWithoutWaiting(t *testing.T) {
	n := runNode(t, apiConfig())
	var s submitted
	r := n.call("POST", "/api/v1/messages", submission("", "x"))
	r.into(t, 202, &s)
	if s.Status != StatusPending || s.EntryHash == (tangle.Hash{}) || s.MessageID == (tangle.ID{}) || len(s.Entries) != 1 {
		t.Errorf("answer %s", r.body)
	}
	n.call("POST", "/api/v1/messages", submission("", "x", "y")).into(t, 202, &s)
	if len(s.Entries) != 2 {
		t.Errorf("%d entries, want 2", len(s.Entries))
	}
}

// troubled is a node with one part replaced.
type troubled struct {
	backend
	publish func([]plugins.Submission) (tangle.ID, []tangle.Hash, error)
	wait    func(context.Context, []tangle.Hash) error
	vitals  *Vitals
	head    *Head
}

func (b troubled) Head() Head {
	if b.head == nil {
		return b.backend.Head()
	}
	return *b.head
}

func (b troubled) Publish(ctx context.Context, s []plugins.Submission) (tangle.ID, []tangle.Hash, error) {
	if b.publish == nil {
		return b.backend.Publish(ctx, s)
	}
	return b.publish(s)
}

func (b troubled) PublishSalted(ctx context.Context, s []plugins.Submission, salts []tangle.Salt) (tangle.ID, []tangle.Hash, error) {
	if b.publish == nil {
		return b.backend.PublishSalted(ctx, s, salts)
	}
	return b.publish(s)
}

func (b troubled) WaitFinal(ctx context.Context, h []tangle.Hash, in tangle.ID) error {
	if b.wait == nil {
		return b.backend.WaitFinal(ctx, h, in)
	}
	return b.wait(ctx, h)
}

func (b troubled) Vitals() Vitals {
	if b.vitals == nil {
		return b.backend.Vitals()
	}
	return *b.vitals
}

func TestSubmitRefusedByTheNode(t *testing.T) {
	n := runNode(t, apiConfig())
	for code, status := range map[string]int{"busy": 503, "no_quorum": 503, "too_large": 413, "unknown_kind": 422, "tag_not_allowed": 403, "own_code": 422} {
		n.api.Node = troubled{backend: n, publish: func([]plugins.Submission) (tangle.ID, []tangle.Hash, error) {
			return tangle.ID{}, nil, plugins.Reject(code, "because")
		}}
		r := n.call("POST", "/api/v1/messages", submission("", "x"))
		if got := r.code(t); got != code || r.status != status {
			t.Errorf("%s: HTTP %d %s", code, r.status, got)
		}
	}
	n.api.Node = troubled{backend: n, publish: func([]plugins.Submission) (tangle.ID, []tangle.Hash, error) {
		return tangle.ID{}, nil, errors.New("secret of the store")
	}}
	r := n.call("POST", "/api/v1/messages", submission("", "x"))
	if r.code(t) != "internal" || strings.Contains(string(r.body), "secret") {
		t.Errorf("own fault: %s", r.body)
	}
}

func TestSubmitWhenTheTimeIsUp(t *testing.T) {
	n := runNode(t, apiConfig())
	n.api.Node = troubled{backend: n, wait: func(ctx context.Context, _ []tangle.Hash) error { <-ctx.Done(); return ctx.Err() }}
	var s submitted
	r := n.call("POST", "/api/v1/messages?wait=final&timeout=1ms", submission("", "x"))
	if r.status != 202 && r.status != 201 {
		t.Fatalf("HTTP %d %s", r.status, r.body)
	}
	r.into(t, r.status, &s)
	if s.EntryHash == (tangle.Hash{}) {
		t.Errorf("answer %s", r.body)
	}
}

func TestNoQuorum(t *testing.T) {
	c := apiConfig()
	n := runNode(t, c)
	n.api.Node = troubled{backend: n, vitals: &Vitals{Quorum: false, Synced: true}}
	if r := n.call("POST", "/api/v1/messages", submission("", "x")); r.status != 202 {
		t.Errorf("default: HTTP %d, want an honest pending", r.status)
	}
	n.api.Config.NoQuorum = config.NoQuorumRefuse
	if r := n.call("POST", "/api/v1/messages", submission("", "x")); r.code(t) != "no_quorum" || r.status != 503 {
		t.Errorf("refuse: HTTP %d %s", r.status, r.body)
	}
	r := n.call("GET", "/ready", "")
	if r.code(t) != "not_ready" || !strings.Contains(string(r.body), `"name":"quorum"`) {
		t.Errorf("ready: %s", r.body)
	}
	if r := n.call("GET", "/health", ""); r.status != 200 {
		t.Errorf("health: HTTP %d", r.status)
	}
	n.api.Node = troubled{backend: n, vitals: &Vitals{StepAge: 11 * time.Second, Quorum: true}}
	if r := n.call("GET", "/health", ""); r.status != 503 {
		t.Errorf("health of a stuck core: HTTP %d", r.status)
	}
}

func TestIdempotency(t *testing.T) {
	n := runNode(t, apiConfig())
	var effects sync.Map
	n.api.Node = troubled{backend: n, publish: func(s []plugins.Submission) (tangle.ID, []tangle.Hash, error) {
		id, hashes, err := n.Publish(context.Background(), s)
		effects.Store(hashes[0], true)
		return id, hashes, err
	}}
	body := submission("once", "only once")
	const key = "retry-key-1"
	codes := make(chan int, 50)
	for range cap(codes) {
		go func() { codes <- n.call("POST", "/api/v1/messages", body, "Idempotency-Key", key).status }()
	}
	for range cap(codes) {
		if c := <-codes; c != 202 && c != 409 {
			t.Errorf("HTTP %d", c)
		}
	}
	count := 0
	effects.Range(func(any, any) bool { count++; return true })
	if count != 1 {
		t.Fatalf("%d effects of one key", count)
	}
	var first, again submitted
	r := n.call("POST", "/api/v1/messages?wait=final", body, "Idempotency-Key", key)
	r.into(t, 201, &again)
	if r.header.Get("Idempotency-Replayed") != "true" {
		t.Error("replay is not marked")
	}
	if code := n.call("POST", "/api/v1/messages", submission("other", "body"), "Idempotency-Key", key).code(t); code != "idempotency_mismatch" {
		t.Errorf("other body: %s", code)
	}
	if err := n.api.replays.flush(); err != nil {
		t.Fatal(err)
	}
	reopened, err := openReplays(n.config.Store)
	if err != nil {
		t.Fatal(err)
	}
	n.api.replays = reopened
	n.call("POST", "/api/v1/messages?wait=final", body, "Idempotency-Key", key).into(t, 201, &first)
	if first.EntryHash != again.EntryHash {
		t.Errorf("after a restart the key means another entry")
	}
	for _, bad := range []string{"short", strings.Repeat("k", 65), "with space here", "umläut-key-1"} {
		if code := n.call("POST", "/api/v1/messages", body, "Idempotency-Key", bad).code(t); code != "bad_parameter" {
			t.Errorf("key %q: %s", bad, code)
		}
	}
}

// TestReplayTellsThePresent: the answer to a repeated request is how far its entries are by then, waited for or not.
func TestReplayTellsThePresent(t *testing.T) {
	n := runNode(t, apiConfig())
	body := submission("", "x", "y")
	var s submitted
	n.call("POST", "/api/v1/messages", body, "Idempotency-Key", "key-of-two").into(t, 202, &s)
	if s.Status != StatusPending {
		t.Errorf("at first %s", s.Status)
	}
	if err := n.WaitFinal(t.Context(), []tangle.Hash{s.Entries[0].EntryHash, s.Entries[1].EntryHash}, tangle.ID{}); err != nil {
		t.Fatal(err)
	}
	n.call("POST", "/api/v1/messages", body, "Idempotency-Key", "key-of-two").into(t, 201, &s)
	if s.Status != StatusFinal || s.Entries[1].Place == nil || s.Entries[1].Receipt != "" {
		t.Errorf("later %+v", s)
	}
	n.call("POST", "/api/v1/messages?receipts=true", body, "Idempotency-Key", "key-of-two").into(t, 201, &s)
	if s.Entries[1].Receipt == "" {
		t.Error("a receipt was asked for and is not there")
	}
}

// TestIdempotencyAcrossAKill forgets what the keys have done, as kill -9 before their flush does: the ledger still knows.
func TestIdempotencyAcrossAKill(t *testing.T) {
	for name, body := range map[string]string{
		"data":       submission("once", "only once", "only once", "something else"),
		"with lasts": `{"entries":[{"kind":1024,"data":"` + base64.RawURLEncoding.EncodeToString([]byte("put 1 x")) + `"},{"kind":1024,"data":"` + base64.RawURLEncoding.EncodeToString([]byte("put 1 x")) + `"}]}`,
	} {
		t.Run(name, func(t *testing.T) { idempotentAcrossAKill(t, body) })
	}
}

func idempotentAcrossAKill(t *testing.T, body string) {
	disk := store.NewMemory()
	const key = "retry-key-1"
	send := func(n *Node, key, body string) (s submitted, answer string, replayed bool) {
		t.Helper()
		r := n.call("POST", "/api/v1/messages?wait=final", body, "Idempotency-Key", key)
		r.into(t, 201, &s)
		return s, string(r.body), r.header.Get("Idempotency-Replayed") == "true"
	}
	n, stop := startNode(t, disk)
	first, want, replayed := send(n, key, body)
	if replayed || first.Entries[0].EntryHash == first.Entries[1].EntryHash {
		t.Fatalf("replayed %t, or one hash for two entries: %s", replayed, want)
	}
	stop()
	forgetReplays(t, disk)

	n, stop = startNode(t, disk)
	defer stop()
	for _, when := range []string{"after the kill", "once more"} {
		if _, got, replayed := send(n, key, body); !replayed || got != want {
			t.Errorf("%s\n%s, want\n%s, marked as a replay (%t)", when, got, want, replayed)
		}
	}
	if head := n.Head(); head.Position != 1 {
		t.Errorf("%d messages, want 1", head.Position)
	}
	if other, _, replayed := send(n, "retry-key-2", body); replayed || other.Entries[0].EntryHash == first.Entries[0].EntryHash {
		t.Error("another key is taken for the first")
	}
}

// TestWhatCanGoIsNotCached: only messages whose entries all stay may be kept for good by whoever has asked for them.
func TestWhatCanGoIsNotCached(t *testing.T) {
	n, stop := startNode(t, store.NewMemory())
	defer stop()
	for body, kept := range map[string]bool{
		submission("", "stays"): true,
		`{"entries":[{"kind":1024,"data":"` + base64.RawURLEncoding.EncodeToString([]byte("put 1 x")) + `"}]}`: false,
	} {
		var s submitted
		n.call("POST", "/api/v1/messages?wait=final", body).into(t, 201, &s)
		r := n.call("GET", "/api/v1/messages/"+s.MessageID.String(), "", "Accept", bytesType)
		if got := strings.Contains(r.header.Get("Cache-Control"), "immutable"); r.status != 200 || got != kept {
			t.Errorf("HTTP %d, Cache-Control %q of %s", r.status, r.header.Get("Cache-Control"), body)
		}
	}
}

// startNode runs a network of one member on a store until stop.
func startNode(t testing.TB, s store.Store) (n *Node, stop func()) {
	t.Helper()
	g, key := oneMember()
	g.Time = 1_700_000_000_000 // the same network each time
	g.Plugins = append(g.Plugins, genesis.Plugin{Name: "shelves"})
	n, err := Open(Config{
		Genesis: g, Key: key, Store: s, Tuning: DefaultTuning(), API: apiConfig(), Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Makers: []plugins.Maker{shelvesMaker()},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	return n, func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("node: %v", err)
		}
	}
}

// forgetReplays takes the records of idempotency keys out of a store.
func forgetReplays(t testing.TB, s store.Store) {
	t.Helper()
	var b store.Batch
	from := store.Key(store.PrefixIdempotency)
	err := s.Scan(from, store.PrefixEnd(from), func(key, _ []byte) bool { b.Delete(bytes.Clone(key)); return true })
	if err := errors.Join(err, s.Apply(&b, true)); err != nil || b.Len() == 0 {
		t.Fatalf("%d records: %v", b.Len(), err)
	}
}

func TestReplaysAreBounded(t *testing.T) {
	r, err := openReplays(store.NewMemory())
	if err != nil {
		t.Fatal(err)
	}
	for i := range MaxReplays + 3*MaxReplaySlots {
		id, _, err := r.begin("caller", "route", fmt.Sprint("key-", i), []byte("body"))
		if err != nil {
			t.Fatal(err)
		}
		r.end(id, published{hashes: make([]tangle.Hash, 1)}, nil)
		if i%1000 == 0 {
			if err := r.flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := r.flush(); err != nil {
		t.Fatal(err)
	}
	if len(r.known) > MaxReplays {
		t.Errorf("%d keys remembered, at most %d", len(r.known), MaxReplays)
	}
	now := time.Now()
	r.now = func() time.Time { return now.Add(replayTime + time.Second) }
	if err := r.flush(); err != nil {
		t.Fatal(err)
	}
	if len(r.known) != 0 || r.hashes != 0 || len(r.segments) != 0 {
		t.Errorf("a day later %d keys, %d hashes, %d segments are left", len(r.known), r.hashes, len(r.segments))
	}
}

func TestAsOf(t *testing.T) {
	n := runNode(t, apiConfig())
	s := n.submitFinal(t, "", "x")
	r := n.call("GET", "/api/v1/node", "", "Weft-Min-Position", fmt.Sprint(s.Place.Position+1))
	var v nodeView
	r.into(t, 200, &v)
	if r.header.Get("Weft-Position") != fmt.Sprint(v.Position) || r.header.Get("Weft-Final") == "0" || r.header.Get("Weft-Time") == "" {
		t.Errorf("headers %v for %s", r.header, r.body)
	}
	for _, bad := range []string{"-1", "x", "9007199254740993"} {
		if code := n.call("GET", "/api/v1/node", "", "Weft-Min-Position", bad).code(t); code != "bad_parameter" {
			t.Errorf("Weft-Min-Position %s: %s", bad, code)
		}
	}
	if code := n.call("GET", "/nowhere", "").code(t); code != "not_found" {
		t.Error(code)
	}
}

// TestNothingFinalYet: what has no time says so, and is not of 1970.
func TestNothingFinalYet(t *testing.T) {
	n := runNode(t, apiConfig())
	n.api.Node = troubled{backend: n, head: &Head{}}
	d := documented{document(t), t}
	for _, r := range apiRoutes() {
		if r.method != "GET" || r.streams() || strings.ContainsAny(r.path, ":*") || r.auth == authOperator || strings.HasPrefix(r.path, "/docs") {
			continue
		}
		got := callDoor(n.api.operator, "GET", r.path, "")
		if text := string(got.body); strings.Contains(text, "1970-01-01") || len(got.header["Weft-Time"]) > 0 {
			t.Errorf("GET %s: %s with %v", r.path, clipText(got.body), got.header)
		}
		d.check(r, got)
	}
	if r := n.call("GET", "/api/v1/node", ""); !strings.Contains(string(r.body), `"finalTime":null,"finalAgeSeconds":null`) {
		t.Errorf("node: %s", r.body)
	}
	n.api.Node = troubled{backend: n, head: &Head{}, vitals: &Vitals{Synced: true, Quorum: true}}
	if r := n.call("GET", "/ready", ""); r.status != 200 {
		t.Errorf("the first entry waits, for a moment only: HTTP %d %s", r.status, r.body)
	}
	n.api.opened = n.api.opened.Add(-MaxFinalAge - time.Second)
	if r := n.call("GET", "/ready", ""); r.code(t) != "not_ready" || !strings.Contains(string(r.body), "nothing is final yet") {
		t.Errorf("the first entry waits for long: %s", r.body)
	}
}

func TestPages(t *testing.T) {
	n := runNode(t, apiConfig())
	for i := range 5 {
		n.submitFinal(t, fmt.Sprint("tag", i%2), fmt.Sprint(i))
	}
	read := func(query string) (positions []tangle.Position, next string) {
		t.Helper()
		var l struct {
			Items []struct{ Position tangle.Position }
			Next  *string
		}
		n.call("GET", "/api/v1/messages?"+query, "").into(t, 200, &l)
		for _, m := range l.Items {
			positions = append(positions, m.Position)
		}
		if l.Next != nil {
			next = *l.Next
		}
		return positions, next
	}
	for query, want := range map[string]string{
		"": "[0 1 2 3 4]", "order=desc": "[4 3 2 1 0]", "from=1&to=3": "[1 2]", "from=1&to=3&order=desc": "[2 1]", "tag=tag1": "[1 3]",
		"kind=data&limit=2": "[0 1]", "kind=7": "[]", "from=9": "[]", "member=" + n.self.String(): "[0 1 2 3 4]",
		"member=" + strings.Repeat("0", 64): "[]",
	} {
		got, _ := read(query)
		if fmt.Sprint(got) != want {
			t.Errorf("?%s: %v, want %s", query, got, want)
		}
	}
	for _, order := range []string{"asc", "desc"} {
		var all []tangle.Position
		cursor := ""
		for {
			got, next := read("limit=2&order=" + order + cursor)
			all = append(all, got...)
			if next == "" {
				break
			}
			n.submitFinal(t, "later", "while reading")
			cursor = "&cursor=" + next
		}
		if len(all) < 5 || all[0] == all[1] {
			t.Errorf("%s: pages gave %v", order, all)
		}
		for i := 1; i < len(all); i++ {
			if d := int(all[i]) - int(all[i-1]); d != 1 && d != -1 {
				t.Fatalf("%s: pages lose or double: %v", order, all)
			}
		}
		if order == "asc" && len(all) > 40 {
			break
		}
	}
	_, next := read("limit=2")
	for _, bad := range []string{"x", next[:len(next)-1] + "A", ""} {
		if code := n.call("GET", "/api/v1/messages?limit=2&cursor="+bad, "").code(t); code != "bad_cursor" {
			t.Errorf("cursor %q: %s", bad, code)
		}
	}
	if code := n.call("GET", "/api/v1/messages?limit=2&tag=x&cursor="+next, "").code(t); code != "bad_cursor" {
		t.Errorf("cursor of another filter: %s", code)
	}
	if code := n.call("GET", "/api/v1/commits?cursor="+next, "").code(t); code != "bad_cursor" {
		t.Errorf("cursor of another list: %s", code)
	}
}

// TestPagesOfFullMessages: a message may have a thousand entries, and a page must not have two hundred of those.
func TestPagesOfFullMessages(t *testing.T) {
	n := runNode(t, apiConfig())
	full := n.config.Genesis.Limits.MaxEntries
	for range MaxPageEntries/full + 3 {
		if _, hashes, err := n.Publish(t.Context(), slices.Repeat([]plugins.Submission{dataSubmission("x")}, full)); err != nil {
			t.Fatal(err)
		} else if err := n.WaitFinal(t.Context(), hashes, tangle.ID{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, order := range []string{"asc", "desc"} {
		entries, messages, pages := 0, 0, 0
		for path := "/api/v1/messages?limit=200&order=" + order; path != ""; pages++ {
			var l struct {
				Items []struct{ Entries []struct{} }
				Next  *string
			}
			n.call("GET", path, "").into(t, 200, &l)
			inPage := 0
			for _, m := range l.Items {
				inPage += len(m.Entries)
			}
			if inPage > MaxPageEntries+full {
				t.Errorf("%d entries in a page", inPage)
			}
			entries, messages, path = entries+inPage, messages+len(l.Items), ""
			if l.Next != nil {
				path = "/api/v1/messages?limit=200&order=" + order + "&cursor=" + *l.Next
			}
		}
		if want := (MaxPageEntries/full + 3) * full; entries != want || messages != int(n.Head().Position) || pages < 2 {
			t.Errorf("%s: %d entries in %d messages on %d pages, want %d entries", order, entries, messages, pages, want)
		}
	}
}

func TestCheckpointsFromTheNewest(t *testing.T) {
	n := runNode(t, apiConfig())
	var last submitted
	for i := range 5 {
		last = n.submitFinal(t, "", fmt.Sprint(i))
	}
	var sizes []uint64
	for path := "/api/v1/checkpoints?limit=2"; ; {
		var l struct {
			Items []struct{ Size uint64 }
			Next  *string
		}
		n.call("GET", path, "").into(t, 200, &l)
		for _, k := range l.Items {
			sizes = append(sizes, k.Size)
		}
		if l.Next == nil {
			break
		}
		path = "/api/v1/checkpoints?limit=2&cursor=" + *l.Next
	}
	if len(sizes) == 0 || sizes[0] != uint64(last.Place.Position)+1 {
		t.Fatalf("sizes %v, the newest is %d", sizes, last.Place.Position+1)
	}
	for i := 1; i < len(sizes); i++ {
		if sizes[i] >= sizes[i-1] {
			t.Errorf("sizes %v", sizes)
		}
	}
}

func TestReadRoutes(t *testing.T) {
	n := runNode(t, apiConfig())
	s := n.submitFinal(t, "a", "x", "y")
	head := n.Head()
	for _, path := range []string{
		"/api/v1/messages/" + s.MessageID.String() + "/parents", "/api/v1/messages/" + s.MessageID.String() + "/children",
		"/api/v1/checkpoints", fmt.Sprintf("/api/v1/checkpoints/%d", head.Final), "/api/v1/commits?from=1&limit=3", fmt.Sprintf("/api/v1/commits/%d", head.Commit),
		"/log/checkpoint", "/log/tile/0/000.p/1", "/log/tile/entries/000.p/1", "/api/v1/genesis", "/api/v1/members", "/api/v1/members/" + n.self.String(),
		"/api/v1/governance/parameters", "/api/v1/explorer/overview", "/api/v1/explorer/search?q=0", "/api/v1/explorer/search?q=" + s.MessageID.String(),
		"/api/v1/explorer/search?q=" + s.Entries[0].EntryHash.String(), "/api/v1/explorer/search?q=M", "/api/v1/explorer/dag?depth=2",
		"/api/v1/explorer/dag?around=" + s.MessageID.String(), "/openapi.json", "/docs", "/docs/", "/health", "/ready",
	} {
		if r := n.call("GET", path, ""); r.status != 200 || len(r.body) == 0 {
			t.Errorf("GET %s: HTTP %d %s", path, r.status, clipText(r.body))
		}
		if r := n.call("HEAD", path, ""); r.status != 200 {
			t.Errorf("HEAD %s: HTTP %d", path, r.status)
		}
	}
	if r := n.call("GET", "/log/checkpoint", "", "Accept", textType); !strings.HasPrefix(string(r.body), "weft/test\n") {
		t.Errorf("checkpoint %s", r.body)
	}
	for _, path := range []string{"/log/tile/0/000", "/log/tile/0/000.p/256", "/log/tile/data/000.p/1", "/log/tile/0/0", "/log/tile/9/000.p/1", "/log/tile/",
		"/log/tile/0/x001/000", "/log/tile/entries/000.p/9", "/log", "/api/v1/positions/999999", "/api/v1/members/" + strings.Repeat("ab", 32), "/api/v1/commits/0"} {
		if r := n.call("GET", path, ""); r.code(t) != "not_found" {
			t.Errorf("GET %s: HTTP %d", path, r.status)
		}
	}
}
