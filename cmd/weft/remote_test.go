package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"weft/client"
	"weft/internal/store"
	"weft/tangle"
)

// fakeNode speaks as much of the API as the commands need, in memory.
type fakeNode struct {
	*httptest.Server
	mu       sync.Mutex // guards the rest
	entries  []client.Entry
	keys     map[string]int // idempotency key to the number of the first entry
	requests int
	refuse   func(request int) (status int, code string) // nil, or what to answer instead; status 0: nothing
	reject   string                                      // entries with this tag are rejected
}

func newFakeNode(t *testing.T) *fakeNode {
	t.Helper()
	f := &fakeNode{keys: map[string]int{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/messages", f.submit)
	mux.HandleFunc("GET /api/v1/entries/live", f.live)
	mux.HandleFunc("GET /api/v1/entries/{hash}", f.entry)
	mux.HandleFunc("GET /api/v1/node", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"version":"v1","network":"test","final":%d,"member":"%064d","networkId":"%064d"}`, len(f.entries), 1, 2)
	})
	mux.HandleFunc("GET /api/v1/peers", func(w http.ResponseWriter, _ *http.Request) { fakeProblem(w, 401, "unauthenticated") })
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"status":"ready","checks":[{"name":"core","ok":true}]}`)
	})
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(503)
		fmt.Fprint(w, `{"code":"not_ready","checks":[{"name":"core","ok":false,"code":"not_ready","detail":"stuck"}]}`)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fakeProblem(w, 404, "not_found") })
	f.Server = httptest.NewServer(mux)
	t.Cleanup(f.Close)
	return f
}

func fakeProblem(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"code":%q,"detail":"so it is","status":%d}`, code, status)
}

func fakeHash(i int) string { return fmt.Sprintf("%064x", i+1) }

func (f *fakeNode) submit(w http.ResponseWriter, r *http.Request) {
	var body struct{ Entries []client.Entry }
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		fakeProblem(w, 400, "bad_json")
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests++
	if f.refuse != nil {
		if status, code := f.refuse(f.requests); status != 0 {
			fakeProblem(w, status, code)
			return
		}
	}
	key := r.Header.Get("Idempotency-Key")
	first, replayed := f.keys[key]
	replayed = replayed && key != ""
	if replayed {
		w.Header().Set("Idempotency-Replayed", "true")
	} else {
		first = len(f.entries)
		f.keys[key] = first
		f.entries = append(f.entries, body.Entries...)
	}
	answer := client.Submitted{Status: client.Pending}
	for i := range body.Entries {
		h, _ := tangle.ParseHash(fakeHash(first + i))
		e := client.SubmittedEntry{EntryHash: h, Status: client.Pending}
		if r.URL.Query().Get("wait") == "final" {
			answer.Status, e.Status, e.Outcome = client.Final, client.Final, "accepted"
			e.Place = &client.Place{Position: tangle.Position(first), Index: i}
		}
		if f.reject != "" && strings.Contains(string(body.Entries[i].Data), f.reject) {
			e.Outcome, e.Code = "rejected", "tag_not_allowed"
		}
		answer.Entries = append(answer.Entries, e)
	}
	w.WriteHeader(http.StatusAccepted)
	json.NewEncoder(w).Encode(answer)
}

func (f *fakeNode) entry(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, e := range f.entries {
		if fakeHash(i) == r.PathValue("hash") {
			fmt.Fprintf(w, `{"entryHash":%q,"messageId":"%064d","author":"%064d","kind":"data","status":"final","final":true,"outcome":"accepted",
				"place":{"position":%d,"index":0},"time":"2026-11-22T17:00:00.412Z","data":%s}`, fakeHash(i), 1, 2, i, e.Data)
			return
		}
	}
	fakeProblem(w, 404, "not_found")
}

func (f *fakeNode) live(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	first := 0
	fmt.Sscan(r.URL.Query().Get("from"), &first)
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		fmt.Sscan(last, &first)
		first++
	}
	for i := first; i < len(f.entries); i++ {
		fmt.Fprintf(w, "id: %d.0\nevent: entry\ndata: {\"entryHash\":%q,\"kind\":\"data\",\"outcome\":\"accepted\",\"place\":{\"position\":%d,\"index\":0},\"data\":%s}\n\n",
			i, fakeHash(i), i, f.entries[i].Data)
		if i%2 == 1 {
			return // cut off again and again
		}
	}
}

// text is the bytes of an entry.
func (f *fakeNode) text(t *testing.T, i int) string {
	t.Helper()
	var data struct{ Tag, Bytes string }
	if err := json.Unmarshal(f.entries[i].Data, &data); err != nil {
		t.Fatal(err)
	}
	b, err := base64.RawURLEncoding.DecodeString(data.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return data.Tag + ":" + string(b)
}

// weft runs a command against a node and wants its exit code.
func weft(t *testing.T, want int, stdin, api string, args ...string) (out, errOut string) {
	t.Helper()
	var o, e bytes.Buffer
	got := run(append(args, "--api", api), strings.NewReader(stdin), &o, &e, nil)
	if got != want {
		t.Fatalf("weft %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), got, want, o.String(), e.String())
	}
	return o.String(), e.String()
}

func wantText(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not in:\n%s", part, text)
		}
	}
}

func TestSendWholeInput(t *testing.T) {
	f := newFakeNode(t)
	out, _ := weft(t, 0, "two\nlines\n", f.URL, "message", "send", "--tag", "note")
	wantText(t, out, "entry", fakeHash(0), "status   pending")
	file := filepath.Join(t.TempDir(), "note")
	if err := os.WriteFile(file, []byte("from a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, _ = weft(t, 0, "", f.URL, "message", "send", file, "--wait", "final", "--json")
	var line sentLine
	if err := json.Unmarshal([]byte(out), &line); err != nil || line.Status != client.Final || line.Place.Position != 1 {
		t.Errorf("%v: %s", err, out)
	}
	if got := f.text(t, 0) + "|" + f.text(t, 1); got != "note:two\nlines\n|:from a file" {
		t.Errorf("sent %q", got)
	}
}

func TestSendLinesKeepsTheirOrderInBoundedRequests(t *testing.T) {
	f := newFakeNode(t)
	var input strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&input, "line %d\r\n\n", i)
	}
	for i := range 5 { // no two of these fit into a request
		fmt.Fprintf(&input, "%d%s\n", i, strings.Repeat("x", 30_000))
	}
	out, errOut := weft(t, 0, input.String(), f.URL, "message", "send", "--lines", "--wait", "final")
	wantText(t, errOut, "1005 entries in 20 requests", "1005 final")
	if got := strings.Count(out, "\n"); got != 1005 {
		t.Errorf("%d hashes printed, want 1005", got)
	}
	if f.requests != 20 { // 15 full ones, the rest with one long line, four more
		t.Errorf("%d requests, want 20", f.requests)
	}
	hash := strings.Fields(out)[777]
	shown, _ := weft(t, 0, "", f.URL, "message", "show", hash, "--raw")
	if shown != "line 777" {
		t.Errorf("the 778th hash is of %q", shown)
	}
}

func TestSendResumes(t *testing.T) {
	f := newFakeNode(t)
	input := strings.Repeat("same\n", 200)
	f.refuse = func(request int) (int, string) {
		if request == 3 {
			return 422, "expired"
		}
		return 0, ""
	}
	_, errOut := weft(t, 1, input, f.URL, "message", "send", "--lines", "--in-flight", "1")
	wantText(t, errOut, "so it is (expired, HTTP 422)", "128 entries are on their way", "--resume ")
	_, key, _ := strings.Cut(errOut, "--resume ")
	_, errOut = weft(t, 0, input, f.URL, "message", "send", "--lines", "--resume", strings.TrimSpace(key))
	wantText(t, errOut, "200 entries in 4 requests")
	if len(f.entries) != 200 {
		t.Errorf("%d entries on the ledger, want 200", len(f.entries))
	}
}

func TestSendTellsOfRejectedEntries(t *testing.T) {
	f := newFakeNode(t)
	f.reject = `"bytes":"YmFk"`
	_, errOut := weft(t, 1, "good\nbad\ngood\n", f.URL, "message", "send", "--lines", "--wait", "final")
	wantText(t, errOut, "line 2: rejected: tag_not_allowed", "rejected 1 of 3 entries")
}

func TestSendRefusesWhatCannotBeAnEntry(t *testing.T) {
	f := newFakeNode(t)
	long := strings.Repeat("x", MaxEntryInput+1)
	_, errOut := weft(t, 1, long, f.URL, "message", "send")
	wantText(t, errOut, "larger than 32768 bytes", "--lines")
	_, errOut = weft(t, 1, "short\n"+long+"\n", f.URL, "message", "send", "--lines")
	wantText(t, errOut, "line 2: longer than 32768 bytes")
	weft(t, 2, "", f.URL, "message", "send")
	weft(t, 0, "\n\n", f.URL, "message", "send", "--lines")
	weft(t, 2, "x", f.URL, "message", "send", "--wait", "forever")
	weft(t, 2, "x", f.URL, "message", "send", "--timeout", "31s")
	weft(t, 2, "x", f.URL, "message", "send", "--in-flight", "0")
	weft(t, 2, "x", f.URL, "message", "send", "--resume", "short")
	weft(t, 2, "x", f.URL, "message", "send", "/no/such/file")
	if len(f.entries) > 1 {
		t.Errorf("%d entries were sent", len(f.entries))
	}
}

func TestShow(t *testing.T) {
	f := newFakeNode(t)
	weft(t, 0, "\x1b[31mred", f.URL, "message", "send", "--tag", "t")
	out, _ := weft(t, 0, "", f.URL, "message", "show", fakeHash(0))
	wantText(t, out, "final, accepted", "position 0, entry 0", "2026-11-22T17:00:00.412Z", "G1szMW1yZWQ (base64url)")
	_, errOut := weft(t, 1, "", f.URL, "message", "show", fakeHash(5))
	wantText(t, errOut, "neither an entry nor a message")
	weft(t, 2, "", f.URL, "message", "show", "ABC")
	weft(t, 2, "", f.URL, "message", "show")
}

func TestFollowGoesOnWhereItWas(t *testing.T) {
	f := newFakeNode(t)
	weft(t, 0, "a\nb\nc\nd\ne\n", f.URL, "message", "send", "--lines", "--tag", "x")
	out, errOut := weft(t, 0, "", f.URL, "follow", "--from", "1", "--count", "3")
	wantText(t, out, "1.0  ", "[x] b", "[x] c", "[x] d")
	wantText(t, errOut, "connecting again")
	if strings.Contains(out, "[x] a") || strings.Contains(out, "[x] e") {
		t.Errorf("more than asked for:\n%s", out)
	}
	out, _ = weft(t, 0, "", f.URL, "follow", "--after", "3.0", "--count", "1", "--json")
	wantText(t, out, `"id":"4.0"`, `"position":4`)
}

func TestNodeHealthPeers(t *testing.T) {
	f := newFakeNode(t)
	out, _ := weft(t, 0, "", f.URL, "node")
	wantText(t, out, "version", "v1", "test (")
	out, _ = weft(t, 0, "", f.URL, "health")
	wantText(t, out, "ready", "core", "ok")
	out, _ = weft(t, 1, "", f.URL, "health", "--live")
	wantText(t, out, "FAILED not_ready", "stuck")
	out, _ = weft(t, 0, "", f.URL, "health", "--json")
	wantText(t, out, `"ok":true`)
	_, errOut := weft(t, 1, "", f.URL, "peers")
	wantText(t, errOut, "unauthenticated", "--token-file")
}

func TestUnreachableIsNotARefusal(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	for _, args := range [][]string{
		{"node"}, {"peers"}, {"health"}, {"follow"}, {"message", "show", fakeHash(0)}, {"receipt", "get", fakeHash(0)},
	} {
		_, errOut := weft(t, 3, "", server.URL, args...)
		wantText(t, errOut, "no answer from "+server.URL, "connection refused")
	}
}

func TestBenchKeepsToThisMachine(t *testing.T) {
	for _, api := range []string{"http://example.org:80", "https://127.0.0.1:1", "http://192.0.2.1:80", "http://localhost:80", "http://127.0.0.1"} {
		_, errOut := weft(t, 2, "", api, "bench", "lone")
		wantText(t, errOut, "loopback")
	}
	weft(t, 2, "", "http://127.0.0.1:1", "bench", "everything")
	weft(t, 2, "", "http://127.0.0.1:1", "bench", "--entry-bytes", "15")
	weft(t, 2, "", "http://127.0.0.1:1", "bench", "--duration", "11m")
	weft(t, 3, "", "http://127.0.0.1:1", "bench", "lone")
}

// TestPumpSpeaksHTTP runs the load generator against the fake node: every entry is another one, and counted once.
func TestPumpSpeaksHTTP(t *testing.T) {
	f := newFakeNode(t)
	p := newPump(strings.TrimPrefix(f.URL, "http://"), 3, 40, 1)
	defer p.close()
	for range 3 {
		if a, err := p.send(t.Context()); err != nil || a.final || a.code != "" || a.hash != fakeHash(0) && len(f.entries) == 3 {
			t.Fatalf("got %+v, %v", a, err)
		}
	}
	f.refuse = func(int) (int, string) { return 503, "busy" }
	if a, err := p.send(t.Context()); err != nil || a.code != "busy" {
		t.Errorf("got %+v, %v", a, err)
	}
	seen := map[string]bool{}
	for i := range f.entries {
		text := f.text(t, i)
		if len(text) != len("bench:")+40 || seen[text] {
			t.Errorf("entry %d: %q", i, text)
		}
		seen[text] = true
	}
	if len(seen) != 9 {
		t.Errorf("%d different entries, want 9", len(seen))
	}
}

func TestTerminals(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if onTerminal(null) || onTerminal(&strings.Builder{}) {
		t.Error("what nobody looks at is taken for a terminal")
	}
}

func TestEndingSaysThingsOnce(t *testing.T) {
	full := fmt.Errorf("store: %w: make room", store.ErrDiskFull)
	if err := ending(full, store.ErrDiskFull); err != full {
		t.Errorf("got %v", err)
	}
	if err := ending(full, store.ErrClosed); !errors.Is(err, store.ErrDiskFull) || !errors.Is(err, store.ErrClosed) {
		t.Errorf("got %v, want both", err)
	}
	if err := ending(nil, nil); err != nil {
		t.Errorf("got %v", err)
	}
}
