package streams

import (
	"bufio"
	"context"
	"encoding/json"
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
	w := start(t, networkOptions{pace: pace{beat: streamBeat, block: 4 * time.Second}})
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
		w.done(owner, id, channel.NewLock(w.header(owner, id), channel.Until, tangle.TimeOf(w.clock.Now().Add(time.Hour).Truncate(time.Second))))
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
	conn, err := d.DialContext(w.t.Context(), "tcp", w.Nodes[0].APIAddr())
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

// TestTenThousandParticipants: a channel with as many participants as it may have is listed whole, takes no more, and gives
// rights to another one when one has gone.
func TestTenThousandParticipants(t *testing.T) {
	if testing.Short() {
		t.Skip("10,000 participants")
	}
	w := start(t, networkOptions{})
	owner := w.people("owner")[0]
	id := w.create(owner)
	nobody := func(i int) string {
		return owner.did[:strings.LastIndex(owner.did, ":")+1] + did.Multihash(fmt.Append(nil, i))
	}
	var operations []json.RawMessage
	post := func() {
		t.Helper()
		var answer struct{ Results []struct{ Code string } }
		w.call(0, "POST", "/api/v1"+channelPath(id, "/operations?wait=final&timeout=30s"), map[string]any{"operations": operations}).into(200, &answer)
		for _, r := range answer.Results {
			if r.Code != "" {
				t.Fatalf("a grant is refused: %s", r.Code)
			}
		}
		operations = nil
	}
	grant := func(from, to int) []byte {
		t.Helper()
		var list []channel.Grant
		for i := from; i < to; i++ {
			list = append(list, channel.Grant{Participant: nobody(i), Rights: channel.Read})
		}
		return w.sign(owner, channel.NewAuthorize(w.header(owner, id), list, nil, nil))
	}
	const others = channel.MaxParticipants - 1
	for i := 0; i < others; i += channel.MaxGrants {
		if operations = append(operations, grant(i, min(i+channel.MaxGrants, others))); len(operations) == 7 {
			post()
		}
	}
	post()
	w.postEntry(0, id, grant(others, others+1)).refused(422, "limit_reached")
	if n := w.countParticipants(owner, id, "?limit=200"); n != channel.MaxParticipants {
		t.Errorf("%d participants are listed, want %d", n, channel.MaxParticipants)
	}
	w.done(owner, id, channel.NewRevoke(w.header(owner, id), []string{nobody(77)}, "over", w.epoch(id, 2, true, owner)))
	w.postEntry(0, id, grant(others, others+1)).want(200)
	if n := w.countParticipants(owner, id, "?state=active&limit=200"); n != channel.MaxParticipants {
		t.Errorf("%d active participants are listed, want %d", n, channel.MaxParticipants)
	}
	if n := w.countParticipants(owner, id, "?state=revoked"); n != 1 {
		t.Errorf("%d revoked participants are listed, want 1", n)
	}
	var v subscriptionView
	w.as(0, owner, "GET", channelPath(id, "/subscriptions/", nobody(others)), nil).into(200, &v)
	if v.State != channel.Active || !v.KeyMissing {
		t.Errorf("the newest is %+v", v)
	}
	var channels pageOf[channelView]
	w.as(0, owner, "GET", "/channels?participant="+nobody(others), nil).into(200, &channels)
	if len(channels.Items) != 1 || channels.Items[0].ID != id {
		t.Errorf("channels of the newest: %+v", channels.Items)
	}
}

// countParticipants follows a list of subscriptions to its end, and wants each of them once.
func (w *network) countParticipants(p *person, id channel.ID, query string) int {
	w.t.Helper()
	seen, cursor := map[string]bool{}, ""
	for {
		var l pageOf[subscriptionView]
		w.as(0, p, "GET", channelPath(id, "/subscriptions", query, cursor), nil).into(200, &l)
		for _, one := range l.Items {
			if seen[one.DID] {
				w.t.Fatalf("%s is listed twice", one.DID)
			}
			seen[one.DID] = true
		}
		if l.Next == nil {
			return len(seen)
		}
		cursor = "&cursor=" + *l.Next
	}
}
