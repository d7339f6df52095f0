package node

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/labstack/echo/v4"
)

// sse is one event as a client reads it.
type sse struct{ id, name, data string }

// listener reads a stream of a node until the test ends.
type listener struct {
	t      *testing.T
	status int
	lines  *bufio.Scanner
	cancel context.CancelFunc
}

func listenTo(t *testing.T, n *Node, path string, header ...string) *listener {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	r, err := http.NewRequestWithContext(ctx, "GET", "http://"+n.APIAddr()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	transport := &http.Transport{}
	answer, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	l := &listener{t: t, status: answer.StatusCode, lines: bufio.NewScanner(answer.Body), cancel: func() { cancel(); transport.CloseIdleConnections() }}
	t.Cleanup(func() { l.cancel(); answer.Body.Close() })
	return l
}

// next reads an event; its name is empty at the end of the stream.
func (l *listener) next() (e sse) {
	for l.lines.Scan() {
		name, value, _ := strings.Cut(l.lines.Text(), ": ")
		switch name {
		case "id":
			e.id = value
		case "event":
			e.name = value
		case "data":
			e.data = value
		case "":
			if e.name != "" {
				return e
			}
		}
	}
	return sse{}
}

func TestFollowEntries(t *testing.T) {
	n := runNode(t, apiConfig())
	n.submitFinal(t, "before", "0")
	l := listenTo(t, n, "/api/v1/entries/live")
	var want []string
	for i := range 4 {
		s := n.submitFinal(t, fmt.Sprint("tag", i%2), fmt.Sprint(i), "second")
		for _, e := range s.Entries {
			want = append(want, e.EntryHash.String())
		}
	}
	var ids []string
	for i := range want {
		e := l.next()
		var v struct {
			EntryHash string
			Outcome   string
			Place     placeView
			Data      struct{ Tag string }
		}
		if err := json.Unmarshal([]byte(e.data), &v); err != nil || e.name != "entry" || v.EntryHash != want[i] || v.Outcome != outcomeAccepted {
			t.Fatalf("event %d: %+v, want entry %s (%v)", i, e, want[i], err)
		}
		if e.id != fmt.Sprintf("%d.%d", v.Place.Position, v.Place.Index) || v.Data.Tag == "before" {
			t.Errorf("event %+v", e)
		}
		ids = append(ids, e.id)
	}
	for i := range ids[:len(ids)-1] {
		for _, again := range []*listener{
			listenTo(t, n, "/api/v1/entries/live", "Last-Event-ID", ids[i]),
			listenTo(t, n, "/api/v1/entries/live?after="+ids[i]),
		} {
			for j := i + 1; j < len(ids); j++ {
				if e := again.next(); e.id != ids[j] {
					t.Fatalf("resumed after %s: got %s, want %s", ids[i], e.id, ids[j])
				}
			}
			again.cancel()
		}
	}
	tagged := listenTo(t, n, "/api/v1/entries/live?from=0&tag=tag1")
	for range 4 {
		if e := tagged.next(); !strings.Contains(e.data, `"tag":"tag1"`) {
			t.Errorf("filter by tag lets through %s", e.data)
		}
	}
	for _, bad := range []string{"?after=x", "?after=1", "?after=1.", "?after=-1.0", "?from=x", "?kind=x", "?member=x", "?tag=" + strings.Repeat("t", 65)} {
		if r := n.call("GET", "/api/v1/entries/live"+bad, ""); r.code(t) != "bad_parameter" {
			t.Errorf("%s: HTTP %d", bad, r.status)
		}
	}
}

func TestStreamsEndWithTheNode(t *testing.T) {
	n := runNode(t, apiConfig())
	entries, explorer := listenTo(t, n, "/api/v1/entries/live"), listenTo(t, n, "/api/v1/explorer/live")
	n.api.close()
	if e := entries.next(); e.name != "end" || e.data != `{"code":"shutdown"}` {
		t.Errorf("entries end with %+v", e)
	}
	for e := explorer.next(); e.name != "end"; e = explorer.next() {
		if e.name == "" {
			t.Fatal("the explorer's stream ends without an end")
		}
	}
}

func TestExplorerLive(t *testing.T) {
	n := runNode(t, apiConfig())
	l := listenTo(t, n, "/api/v1/explorer/live")
	n.submitFinal(t, "", "x")
	seen := map[string]bool{}
	for !seen["attached"] || !seen["ordered"] || !seen["committed"] || !seen["final"] {
		e := l.next()
		if e.name == "" {
			t.Fatalf("stream ended; seen %v", seen)
		}
		if !json.Valid([]byte(e.data)) {
			t.Errorf("event %+v", e)
		}
		seen[e.name] = true
	}
}

func TestStreamBounds(t *testing.T) {
	n := runNode(t, apiConfig())
	var open []*listener
	for range MaxStreamsPerCaller {
		open = append(open, listenTo(t, n, "/api/v1/entries/live"))
	}
	if l := listenTo(t, n, "/api/v1/entries/live"); l.status != 429 {
		t.Errorf("one stream too many: HTTP %d", l.status)
	}
	var c streamCount
	for i := range MaxStreams {
		if err := c.enter(fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	if p := problemOf(c.enter("late")); p.Code != "busy" {
		t.Errorf("over all callers: %v", p)
	}
	for i := range MaxStreams {
		c.leave(fmt.Sprint(i))
	}
	if c.all != 0 || len(c.caller) != 0 {
		t.Errorf("%d streams, %d callers left", c.all, len(c.caller))
	}
	for _, l := range open {
		l.cancel()
	}
}

func TestRevokedKeyEndsItsStream(t *testing.T) {
	n := runNode(t, apiConfig())
	shown := n.newKey(t, scopeRead)
	key := n.api.keys.find(shown)
	c := &apiCall{apiDoor: n.api.public, caller: apiCaller{id: "k", key: key}}
	if err := n.api.keys.remove(key.ID); err != nil {
		t.Fatal(err)
	}
	w := newEchoRecorder(c)
	s := &stream{call: c, control: http.NewResponseController(w)}
	if err := s.beat(); err == nil || !strings.Contains(w.Body.String(), `event: end`) || !strings.Contains(w.Body.String(), "revoked") {
		t.Errorf("beat: %v, wrote %q", err, w.Body)
	}
}

// slowWriter takes its time for every write.
type slowWriter struct {
	strings.Builder
	pause time.Duration
}

func (w *slowWriter) Header() http.Header { return http.Header{} }
func (w *slowWriter) WriteHeader(int)     {}
func (w *slowWriter) Flush()              {}
func (w *slowWriter) Write(b []byte) (int, error) {
	<-time.After(w.pause)
	return w.Builder.Write(b)
}

func TestSlowConsumerIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for pause, wantEnd := range map[time.Duration]bool{time.Second: false, MaxStreamBlock + time.Second: true} {
			w := &slowWriter{pause: pause}
			c := &apiCall{}
			c.Context = echo.New().NewContext(nil, w)
			s := &stream{call: c, control: http.NewResponseController(w)}
			if err := s.send("1.0", "entry", "x"); err != nil {
				t.Fatal(err)
			}
			err := s.flush()
			if ended := strings.Contains(w.String(), "slow_consumer"); ended != wantEnd || (err != nil) != wantEnd {
				t.Errorf("blocked for %s: %v, wrote %q", pause, err, w)
			}
		}
	})
}
