package streams

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"weft/plugins/identity/did"
	"weft/plugins/streams/channel"
	"weft/tangle"
)

// TestThousandStreams: a node serves 1,000 streams and refuses one more. Those that do not read are dropped, and nobody waits
// for them; everybody else gets each event once; what the dropped have missed they get when they come back.
func TestThousandStreams(t *testing.T) {
	if testing.Short() {
		t.Skip("1,000 streams")
	}
	const callers, records = MaxStreams / MaxStreamsPerCaller, 600
	w := start(t, networkOptions{pace: pace{beat: streamBeat, block: 2 * time.Second}})
	names := []string{"owner"}
	for i := range callers {
		names = append(names, fmt.Sprint("caller ", i))
	}
	people := w.people(names...)
	owner, slow := people[0], people[callers]
	small, large := w.create(owner, public), w.create(owner, public)
	ends := make(chan error, MaxStreams)
	for i, p := range people[1:callers] {
		for n := range MaxStreamsPerCaller {
			id := small
			if n == 0 && i%5 == 0 {
				id = large
			}
			w.listen(w.live(t.Context(), 0, p, id, ""), ends)
		}
	}
	var idle []net.Conn
	for range MaxStreamsPerCaller {
		idle = append(idle, w.idle(slow, large))
	}
	for _, p := range []*person{owner, slow, nil} {
		w.as(0, p, "GET", channelPath(small, "/live"), nil).refused(503, "busy")
	}

	for range records { // so much that the idle connections are full
		w.publish(owner, large, strings.Repeat("x", 12<<10))
	}
	w.final([]channel.ID{large}, records)
	// The idle are dropped while the others follow a channel: their places become free.
	back := 0
	for written := uint64(1); back < MaxStreamsPerCaller; written++ {
		w.publish(owner, small, "small")
		w.final([]channel.ID{small}, written)
		response := w.live(t.Context(), 0, slow, large, "0")
		if response.StatusCode == http.StatusOK {
			w.listen(response, ends)
			back++
			continue
		}
		response.Body.Close()
		if written > 2000 {
			t.Fatalf("%d of %d slow consumers were dropped", back, MaxStreamsPerCaller)
		}
	}
	for _, conn := range idle {
		if last := readSlow(t, conn); last == 0 || last >= records {
			t.Errorf("a slow one got up to %d", last)
		}
	}
	w.as(0, owner, "GET", channelPath(small, "/live"), nil).refused(503, "busy")
	for _, id := range []channel.ID{small, large} {
		w.done(owner, id, channel.NewLock(w.header(owner, id), channel.Until, tangle.TimeOf(w.clock.now().Add(time.Hour).Truncate(time.Second))))
	}
	for range MaxStreams {
		if err := <-ends; err != nil {
			t.Fatal(err)
		}
	}
}

// publish writes a public record at node 0, and does not wait.
func (w *network) publish(p *person, id channel.ID, text string) {
	w.t.Helper()
	entry := w.sign(p, channel.NewWrite(w.header(p, id), channel.RecordTerms{Public: did.Object{"text": text}}))
	w.call(0, "POST", "/api/v1"+channelPath(id, "/operations"), entry).want(202)
}

// listen reads a stream from event 1 to the first lock, and tells whether every event came once and in order.
func (w *network) listen(response *http.Response, ends chan<- error) {
	w.t.Helper()
	if response.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(response.Body)
		w.t.Fatalf("live: HTTP %d %s", response.StatusCode, body)
	}
	go func() {
		defer response.Body.Close()
		lines := bufio.NewScanner(response.Body)
		lines.Buffer(nil, 64<<10)
		last := 0
		for lines.Scan() {
			switch name, value, _ := strings.Cut(lines.Text(), ": "); {
			case name == "id" && value != fmt.Sprint(last+1):
				ends <- fmt.Errorf("after event %d came %s", last, value)
				return
			case name == "id":
				last++
			case name == "event" && value == "lock":
				ends <- nil
				return
			}
		}
		ends <- fmt.Errorf("the stream ended after event %d: %v", last, lines.Err())
	}()
}

// idle opens a stream of which nothing is read but that it has begun.
func (w *network) idle(p *person, id channel.ID) net.Conn {
	w.t.Helper()
	var d net.Dialer
	conn, err := d.DialContext(w.t.Context(), "tcp", w.nodes[0].APIAddr())
	if err != nil {
		w.t.Fatal(err)
	}
	context.AfterFunc(w.t.Context(), func() { conn.Close() })
	fmt.Fprintf(conn, "GET /api/v1%s HTTP/1.1\r\nHost: weft\r\nAuthorization: Bearer %s\r\n\r\n", channelPath(id, "/live"), w.login(0, p))
	status := make([]byte, len("HTTP/1.1 200"))
	if _, err := io.ReadFull(conn, status); err != nil || string(status) != "HTTP/1.1 200" {
		w.t.Fatalf("live: %q %v", status, err)
	}
	return conn
}
