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

// event is one of a live feed.
type event struct {
	name, id, data string
}

// follower reads a live feed.
type follower struct {
	t      *testing.T
	events chan event
	stop   func()
}

// follow opens the feed of a channel at node i.
func (w *network) follow(i int, p *person, id channel.ID, lastID string) *follower {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	response := w.live(ctx, i, p, id, lastID)
	if response.StatusCode != 200 {
		body, _ := io.ReadAll(response.Body)
		w.t.Fatalf("live: HTTP %d %s", response.StatusCode, body)
	}
	f := &follower{w.t, make(chan event, 10_000), cancel}
	w.t.Cleanup(cancel)
	go f.read(response.Body)
	return f
}

// live asks for the feed of a channel, over a connection of its own.
func (w *network) live(ctx context.Context, i int, p *person, id channel.ID, lastID string) *http.Response {
	w.t.Helper()
	r, err := http.NewRequestWithContext(ctx, "GET", "http://"+w.Nodes[i].APIAddr()+"/api/v1"+channelPath(id, "/live"), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	if p != nil {
		r.Header.Set("Authorization", "Bearer "+w.login(i, p))
	}
	if lastID != "" {
		r.Header.Set("Last-Event-ID", lastID)
	}
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	return response
}

func (f *follower) read(body io.ReadCloser) {
	defer body.Close()
	defer close(f.events)
	var e event
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch {
		case lines.Text() == "":
			if e.name != "" {
				f.events <- e
			}
			e = event{}
		case name == "id":
			e.id = value
		case name == "event":
			e.name = value
		case name == "data":
			e.data = value
		}
	}
}

// next is the next event; false if the feed is over.
func (f *follower) next() (event, bool) {
	f.t.Helper()
	select {
	case e, ok := <-f.events:
		return e, ok
	case <-time.After(20 * time.Second):
		f.t.Fatal("nothing came")
	}
	return event{}, false
}

// want wants an event.
func (f *follower) want(name, id string) event {
	f.t.Helper()
	e, ok := f.next()
	if !ok || e.name != name || e.id != id {
		f.t.Fatalf("got %+v %v, want %s %s", e, ok, name, id)
	}
	return e
}

// TestLive follows a channel from four nodes, resumes at every event, and ends with the right.
func TestLive(t *testing.T) {
	w := start(t, networkOptions{nodes: 4})
	people := w.people("owner", "reader", "sensor")
	owner, reader, sensor := people[0], people[1], people[2]
	id := w.create(owner)
	w.grant(owner, id, channel.Read, reader)
	w.grant(owner, id, channel.Order, sensor)
	own := w.follow(1, sensor, id, "0")
	feeds := []*follower{w.follow(0, reader, id, "0"), w.follow(2, reader, id, "0"), w.follow(3, owner, id, "")}
	w.done(owner, id, w.sealed(owner, id, "one", channel.RecordTerms{}))
	w.done(sensor, id, w.sealedUnder(w.header(sensor, id), 1, "two", channel.RecordTerms{}))
	w.done(owner, id, channel.NewLock(w.header(owner, id), channel.Until, tangle.TimeOf(w.clock.Now().Add(time.Hour).Truncate(time.Second))))
	for _, f := range feeds[:2] {
		f.want("membership", "1")
		f.want("membership", "2")
	}
	for _, f := range feeds {
		e := f.want("record", "3")
		var v eventView
		if err := json.Unmarshal([]byte(e.data), &v); err != nil || !v.Final || v.Seq != 1 {
			t.Errorf("event %s %v", e.data, err)
		}
		op, err := channel.Decode(w.id, v.Operation)
		if err != nil || op.Actor != owner.did {
			t.Errorf("operation of the feed: %v", err)
		}
		f.want("record", "4")
		f.want("lock", "5")
	}
	own.want("record", "4")

	for after := range uint64(6) { // resumed at every event, nothing is lost and nothing comes twice
		f := w.follow(int(after%4), reader, id, fmt.Sprint(after))
		for n := after + 1; n <= 5; n++ {
			if e, _ := f.next(); e.id != fmt.Sprint(n) {
				t.Fatalf("after %d came %+v", after, e)
			}
		}
		f.stop()
	}
	future := w.follow(0, reader, id, "999999")
	for _, f := range []*follower{feeds[0], feeds[1], future} {
		f.stop()
	}
	future = w.follow(0, reader, id, "999999")
	end := w.follow(1, reader, id, "")
	w.done(owner, id, channel.NewRevoke(w.header(owner, id), []string{reader.did}, "over", w.epoch(id, 2, true, owner)))
	end.want("end", "")
	future.want("end", "")
	if e, ok := end.next(); ok {
		t.Errorf("after the end came %+v", e)
	}
	feeds[2].want("membership", "6")

	// The node stops: everybody who follows is told.
	w.Stop()
	if e := feeds[2].want("end", ""); !strings.Contains(e.data, "shutdown") {
		t.Errorf("end %s", e.data)
	}
}

// TestRekeyDueIsTold: somebody leaves with the current key.
func TestRekeyDueIsTold(t *testing.T) {
	w := start(t, networkOptions{})
	people := w.people("owner", "reader")
	id := w.create(people[0])
	w.grant(people[0], id, channel.Read, people[1])
	f := w.follow(0, people[0], id, "")
	w.done(people[1], id, channel.NewLeave(w.header(people[1], id)))
	f.want("membership", "2")
	f.want("rekeyDue", "")
	w.done(people[0], id, channel.NewRekey(w.header(people[0], id), "left", w.epoch(id, 2, true, people[0])))
	f.want("epoch", "3")
}

// TestStreamsEnd: tokens run out, and keys are taken away.
func TestStreamsEnd(t *testing.T) {
	w := start(t, networkOptions{pace: pace{beat: 50 * time.Millisecond, block: MaxStreamBlock}})
	people := w.people("owner", "reader", "guest")
	owner, reader, guest := people[0], people[1], people[2]
	id := w.create(owner)
	w.grant(owner, id, channel.Read, reader)
	until := tangle.TimeOf(w.clock.Now().Add(10 * time.Minute).Truncate(time.Second))
	w.done(owner, id, channel.NewAuthorize(w.header(owner, id), []channel.Grant{{Participant: guest.did, Rights: channel.Read, ValidUntil: until}},
		[]channel.Keys{{Number: 1, Wraps: w.wraps(id, 1, guest)}}, nil))
	f := w.follow(0, reader, id, "")
	third := w.follow(0, guest, id, "")
	other := w.follow(0, owner, id, "")
	w.call(0, "DELETE", "/api/v1/auth/tokens/current", nil, "Authorization", "Bearer "+w.login(0, reader)).want(204)
	if e := f.want("end", ""); !strings.Contains(e.data, "revoked") {
		t.Errorf("end %s", e.data)
	}
	w.clock.Forward(11 * time.Minute)
	if e := third.want("end", ""); !strings.Contains(e.data, "revoked") {
		t.Errorf("end of who may not read any more %s", e.data)
	}
	other.want("rekeyDue", "")
	w.clock.Forward(5 * time.Minute)
	if e := other.want("end", ""); !strings.Contains(e.data, "token_expired") {
		t.Errorf("end %s", e.data)
	}
}

// TestSlowConsumer does not read. It is dropped, nobody else waits for it, and it resumes without loss.
func TestSlowConsumer(t *testing.T) {
	w := start(t, networkOptions{pace: pace{beat: streamBeat, block: 200 * time.Millisecond}})
	owner := w.people("owner")[0]
	id := w.create(owner, public)
	conn, err := net.Dial("tcp", w.Nodes[0].APIAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /api/v1%s HTTP/1.1\r\nHost: weft\r\nLast-Event-ID: 0\r\n\r\n", channelPath(id, "/live"))
	fast := w.follow(0, nil, id, "0")
	const records = 700
	big := strings.Repeat("x", 12<<10)
	for n := 0; n < records; n += 50 {
		for range 50 {
			h := w.header(owner, id)
			entry := w.sign(owner, channel.NewWrite(h, channel.RecordTerms{Public: did.Object{"text": big}}))
			w.call(0, "POST", "/api/v1"+channelPath(id, "/operations"), entry).want(202)
		}
		w.final([]channel.ID{id}, uint64(n+50))
	}
	w.readsOn(fast, id, 1, records)
	last := readSlow(t, conn)
	if last == 0 || last >= records {
		t.Fatalf("the slow one got up to %d", last)
	}
	w.readsOn(w.follow(0, nil, id, fmt.Sprint(last)), id, last+1, records)
}

// readsOn reads events up to one, each once and in order; on a slow machine the node may drop also who reads, and it resumes.
func (w *network) readsOn(f *follower, id channel.ID, from, to int) {
	w.t.Helper()
	for n := from; n <= to; {
		switch e, ok := f.next(); {
		case e.id == fmt.Sprint(n):
			n++
		case !ok || e.name == "end":
			f = w.follow(0, nil, id, fmt.Sprint(n-1))
		default:
			w.t.Fatalf("got %+v, want event %d", e, n)
		}
	}
}

// readSlow reads what the node has got rid of, until it has closed the connection, and returns the last whole event.
func readSlow(t *testing.T, conn net.Conn) (last int) {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	all, err := io.ReadAll(conn)
	if err, timeout := err.(net.Error); timeout && err.Timeout() {
		t.Fatal("the slow consumer was not closed")
	}
	text := string(all)
	for _, one := range strings.Split(text[:strings.LastIndex(text, "\n\n")+1], "\n\n") {
		for _, line := range strings.Split(one, "\n") {
			if n, ok := strings.CutPrefix(strings.TrimSpace(line), "id: "); ok && strings.Contains(one, "\ndata: ") && strings.HasSuffix(strings.TrimSpace(one), "}") {
				fmt.Sscan(n, &last)
			}
		}
	}
	return last
}

// TestStreamLimits: 20 per caller.
func TestStreamLimits(t *testing.T) {
	w := start(t, networkOptions{})
	owner := w.people("owner")[0]
	id := w.create(owner, public)
	for range MaxStreamsPerCaller {
		w.follow(0, owner, id, "")
	}
	w.as(0, owner, "GET", channelPath(id, "/live"), nil).refused(429, "rate_limited")
	w.as(0, nil, "GET", channelPath(id, "/live?after=x"), nil).refused(400, "bad_parameter")
	w.follow(0, nil, id, "")
}
