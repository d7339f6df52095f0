package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"weft/tangle"
)

const (
	hashA    = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	messageB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

// newTestClient talks to a server that handle plays.
func newTestClient(t *testing.T, c Config, handle http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)
	c.URL = server.URL
	node, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(node.Close)
	return node
}

// roundTrip is a transport without a network, for tests in virtual time.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func reply(status int, contentType, body string, header ...string) *http.Response {
	h := http.Header{"Content-Type": {contentType}}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body))}
}

func refuseWith(status int, code string, header ...string) *http.Response {
	return reply(status, "application/problem+json", `{"code":"`+code+`","detail":"so it is"}`, header...)
}

func testEntry(t *testing.T) Entry {
	t.Helper()
	e, err := DataEntry("note", []byte{0xff, 0xfe, 'x'})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestSubmitSpeaksTheContract(t *testing.T) {
	node := newTestClient(t, Config{Token: "weft_1_secret"}, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		for name, got := range map[string][2]string{
			"method":       {r.Method, "POST"},
			"path":         {r.URL.String(), "/api/v1/messages?timeout=5s&wait=final"},
			"body":         {string(body), `{"entries":[{"kind":"data","data":{"tag":"note","bytes":"__54"}}]}`},
			"content type": {r.Header.Get("Content-Type"), "application/json"},
			"key":          {r.Header.Get("X-API-Key"), "weft_1_secret"},
			"idempotency":  {r.Header.Get("Idempotency-Key"), "my-own-key"},
		} {
			if got[0] != got[1] {
				t.Errorf("%s: got %q, want %q", name, got[0], got[1])
			}
		}
		w.Header().Set("Weft-Position", "8")
		w.Header().Set("Idempotency-Replayed", "true")
		w.WriteHeader(http.StatusCreated)
		io.WriteString(w, `{"status":"final","messageId":"`+messageB+`","entries":[{"entryHash":"`+hashA+`","status":"final","outcome":"accepted",
			"messageId":"`+messageB+`","place":{"position":7,"index":0},"time":"2026-11-22T17:00:00.412Z","somethingNew":1}]}`)
	})
	got, err := node.Submit(t.Context(), []Entry{testEntry(t)}, Options{Final: 5 * time.Second, Key: "my-own-key"})
	if err != nil {
		t.Fatal(err)
	}
	if got.Status != Final || !got.Replayed || len(got.Entries) != 1 {
		t.Fatalf("got %+v", got)
	}
	e := got.Entries[0]
	if e.EntryHash.String() != hashA || e.MessageID.String() != messageB || e.Place.Position != 7 || e.Time.Year() != 2026 {
		t.Errorf("got %+v", e)
	}
	if node.Seen() != 8 {
		t.Errorf("seen %d positions, want 8", node.Seen())
	}
}

func TestSubmitRefusesBatchesNoNodeTakes(t *testing.T) {
	node := newTestClient(t, Config{}, func(http.ResponseWriter, *http.Request) { t.Error("asked the node") })
	for _, n := range []int{0, MaxBatch + 1} {
		if _, err := node.Submit(t.Context(), make([]Entry, n), Options{}); err == nil {
			t.Errorf("%d entries were sent", n)
		}
	}
}

func TestProblemsKeepWhatTheNodeSaid(t *testing.T) {
	node := newTestClient(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json; charset=utf-8")
		w.WriteHeader(http.StatusUnprocessableEntity)
		io.WriteString(w, `{"type":"urn:weft:problem:tag_unknown","title":"Tag unknown","status":422,"code":"tag_unknown","detail":"no such tag",
			"requestId":"r7","outcome":"rejected","place":{"position":3,"index":1}}`)
	})
	_, err := node.Submit(t.Context(), []Entry{testEntry(t)}, Options{})
	var p *Problem
	if !errors.As(err, &p) {
		t.Fatalf("got %v, want a problem", err)
	}
	if p.Code != "tag_unknown" || p.Status != 422 || p.Detail != "no such tag" || p.RequestID != "r7" || p.Outcome != "rejected" || p.Place.Index != 1 {
		t.Errorf("got %+v", p)
	}
	if got, want := err.Error(), "no such tag (tag_unknown, HTTP 422, request r7)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if ProblemCode(err) != "tag_unknown" || Unreachable(err) {
		t.Errorf("code %q, unreachable %v", ProblemCode(err), Unreachable(err))
	}
}

// TestProblemsOfABatch have no status of their own.
func TestProblemsOfABatch(t *testing.T) {
	var r BatchResult
	if err := json.Unmarshal([]byte(`{"problem":{"code":"record_limit","title":"Record limit"}}`), &r); err != nil {
		t.Fatal(err)
	}
	if got, want := r.Err().Error(), "Record limit (record_limit)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAnswersOfOthersAreProblemsToo(t *testing.T) {
	node := newTestClient(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "<html>bad gateway", http.StatusBadGateway)
	})
	if _, err := node.Node(t.Context()); ProblemCode(err) != "http_502" {
		t.Errorf("got %v", err)
	}
}

func TestRetriesKeepTheKeyAndWaitAsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var keys []string
		var answers []*http.Response
		answers = append(answers, refuseWith(503, "busy"), refuseWith(429, "rate_limited", "Retry-After", "3"),
			reply(202, "application/json", `{"status":"pending","entries":[]}`))
		node, err := New(Config{URL: "http://node:1", HTTP: &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			body, _ := io.ReadAll(r.Body)
			keys = append(keys, r.Header.Get("Idempotency-Key")+" "+string(body))
			next := answers[0]
			answers = answers[1:]
			return next, nil
		})}})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		got, err := node.Submit(t.Context(), []Entry{testEntry(t)}, Options{})
		if err != nil || got.Status != Pending {
			t.Fatalf("got %+v, %v", got, err)
		}
		if len(keys) != 3 || keys[0] != keys[1] || keys[1] != keys[2] || len(keys[0]) < 32 {
			t.Errorf("requests with keys %q: want the same three times", keys)
		}
		if took := time.Since(start); took < 3*time.Second || took > 4*time.Second {
			t.Errorf("took %s, want a little more than the 3 s that the node asked for", took)
		}
	})
}

func TestRetriesAreBounded(t *testing.T) {
	for _, test := range []struct {
		name   string
		answer func() (*http.Response, error)
		want   int
	}{
		{"busy for ever", func() (*http.Response, error) { return refuseWith(503, "busy"), nil }, DefaultRetry().Attempts},
		{"asks for too much", func() (*http.Response, error) { return refuseWith(429, "rate_limited", "Retry-After", "3600"), nil }, 1},
		{"says no", func() (*http.Response, error) { return refuseWith(404, "not_found"), nil }, 1},
		{"breaks", func() (*http.Response, error) { return refuseWith(500, "internal"), nil }, 1},
		{"is silent", func() (*http.Response, error) { return nil, errors.New("connection refused") }, DefaultRetry().Silences},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked := 0
				node, err := New(Config{URL: "http://node:1", HTTP: &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
					asked++
					return test.answer()
				})}})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := node.Node(t.Context()); err == nil {
					t.Error("no error")
				}
				if asked != test.want {
					t.Errorf("asked %d times, want %d", asked, test.want)
				}
			})
		})
	}
}

func TestRetriesEndWithTheirContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node, err := New(Config{URL: "http://node:1", HTTP: &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
			return refuseWith(503, "busy", "Retry-After", "5"), nil
		})}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
		defer cancel()
		start := time.Now()
		_, err = node.Node(ctx)
		if took := time.Since(start); took != 7*time.Second || ProblemCode(err) != "busy" {
			t.Errorf("ended after %s with %v", took, err)
		}
	})
}

func TestUnreachableNodes(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	node, err := New(Config{URL: server.URL, Retry: NoRetry()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := node.Health(t.Context()); !Unreachable(err) {
		t.Errorf("got %v, want unreachable", err)
	}
}

func TestReadYourWrites(t *testing.T) {
	asked := make(chan string, 3)
	node := newTestClient(t, Config{ReadYourWrites: true}, func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Header.Get("Weft-Min-Position")
		w.Header().Set("Weft-Position", "5")
		io.WriteString(w, `{}`)
	})
	for _, want := range []string{"", "5", "9"} {
		if want == "9" {
			node.See(9)
			node.See(2)
		}
		if _, err := node.Node(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := <-asked; got != want {
			t.Errorf("asked for position %q, want %q", got, want)
		}
	}
}

func TestReadinessIsAnAnswerNotAnError(t *testing.T) {
	node := newTestClient(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
		io.WriteString(w, `{"code":"not_ready","checks":[{"name":"synced","ok":false,"detail":"12 commits behind"}]}`)
	})
	h, err := node.Ready(t.Context())
	if err != nil || h.OK || len(h.Checks) != 1 || h.Checks[0].Detail != "12 commits behind" {
		t.Errorf("got %+v, %v", h, err)
	}
}

func TestBaseURLs(t *testing.T) {
	for _, bad := range []string{"", "127.0.0.1:80", "ftp://node", "http://", "http://node/api", "http://node?x=1", "http://node:port"} {
		if _, err := New(Config{URL: bad}); err == nil {
			t.Errorf("New took %q", bad)
		}
	}
	node, err := New(Config{URL: "http://node:8080/"})
	if err != nil || node.URL() != "http://node:8080" {
		t.Errorf("got %v, %v", node, err)
	}
}

func TestKindsByNameAndNumber(t *testing.T) {
	for in, want := range map[string]Kind{`"data"`: "data", `1`: "1"} {
		var k Kind
		if err := k.UnmarshalJSON([]byte(in)); err != nil || k != want {
			t.Errorf("%s: got %q, %v", in, k, err)
		}
	}
	var k Kind
	if err := k.UnmarshalJSON([]byte(`{}`)); err == nil {
		t.Error("an object became a kind")
	}
}

// TestIDs keeps the paths that name messages and entries in one form.
func TestPaths(t *testing.T) {
	paths := make(chan string, 8)
	node := newTestClient(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		paths <- r.URL.String() + " " + r.Header.Get("Accept")
		io.WriteString(w, `{}`)
	})
	ctx := t.Context()
	hash, _ := tangle.ParseHash(hashA)
	id, _ := tangle.ParseID(messageB)
	for _, test := range []struct {
		ask  func() error
		want string
	}{
		{func() error { _, err := node.Entry(ctx, hash); return err }, "/api/v1/entries/" + hashA + " application/json"},
		{func() error { _, err := node.Receipt(ctx, hash); return err }, "/api/v1/entries/" + hashA + "/receipt application/octet-stream"},
		{func() error { _, err := node.Message(ctx, id); return err }, "/api/v1/messages/" + messageB + " application/json"},
		{func() error { _, err := node.MessageBytes(ctx, id); return err }, "/api/v1/messages/" + messageB + " application/octet-stream"},
		{func() error { _, err := node.AtPosition(ctx, 12); return err }, "/api/v1/positions/12 application/json"},
		{func() error { _, err := node.Commits(ctx, 3, Page{Limit: 2}); return err }, "/api/v1/commits?from=3&limit=2 application/json"},
		{func() error { _, err := node.LogFile(ctx, TilePath(LeafLevel, 1, 3)); return err }, "/log/tile/entries/001.p/3 application/octet-stream"},
		{func() error {
			_, err := node.Messages(ctx, MessageFilter{Tag: "a b", From: 1}, Page{Order: "desc"})
			return err
		}, "/api/v1/messages?from=1&order=desc&tag=a+b application/json"},
	} {
		if err := test.ask(); err != nil {
			t.Error(err)
		}
		if got := <-paths; got != test.want {
			t.Errorf("got %s, want %s", got, test.want)
		}
	}
}
