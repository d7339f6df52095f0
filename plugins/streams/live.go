package streams

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"

	"weft/plugins"
	"weft/plugins/streams/channel"
	"weft/tangle"
)

// The bounds of streams (channels.md, section 11).
const (
	MaxStreams          = 1000
	MaxStreamsPerCaller = 20
	MaxStreamBlock      = 10 * time.Second // that a consumer may block before it is cut off
	streamBeat          = 15 * time.Second // that a stream may be silent
	flushBytes          = 32 << 10
	maxRound            = 256 // events that are sent before the caller's right is looked at again
)

// stream is one consumer of a channel's live feed: a cursor over stored events. Nothing is queued for it.
type stream struct {
	*streams
	reader  *reader
	caller  plugins.Caller
	writer  http.ResponseWriter
	control *http.ResponseController
	next    uint64 // event
	due     bool   // rekeyDue has been told
	buffer  []byte
}

// errEnded ends a stream whose consumer has been told why, or is gone.
var errEnded = errors.New("stream ended")

// live is GET /api/v1/channels/{id}/live: what becomes final, each event once and in order, as far as the caller is served it.
func (s *streams) live(w http.ResponseWriter, r *http.Request) error {
	x, err := s.open(r)
	if err == nil {
		err = x.takesPart()
	}
	if err != nil {
		return err
	}
	from, err := s.liveStart(r, x)
	if err != nil {
		return err
	}
	caller := plugins.CallerOf(r.Context())
	if err := s.consumers.enter(caller.ID); err != nil {
		return err
	}
	defer s.consumers.leave(caller.ID)
	c := &stream{streams: s, reader: x, caller: caller, writer: w, control: http.NewResponseController(w), next: from}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	c.buffer = append(c.buffer, "retry: 2000\n\n"...)
	c.run(r.Context())
	_ = c.control.SetWriteDeadline(time.Now().Add(time.Minute)) // the connection may be kept
	return nil
}

// liveStart is the first event to send: behind Last-Event-ID or ?after, else what comes next. An event that is not there yet
// means the end.
func (s *streams) liveStart(r *http.Request, x *reader) (uint64, error) {
	end, err := s.finalEvents(x)
	if err != nil {
		return 0, err
	}
	text := r.Header.Get("Last-Event-ID")
	if text == "" {
		text = r.URL.Query().Get("after")
	}
	if text == "" {
		return end, nil
	}
	n, err := strconv.ParseUint(text, 10, 53)
	if err != nil {
		return 0, plugins.Reject("bad_parameter", "Last-Event-ID: want the number of an event")
	}
	return min(n+1, end), nil
}

// finalEvents is how many events of a channel are final.
func (s *streams) finalEvents(x *reader) (uint64, error) {
	final := s.host.Head().Final
	for n := x.head.Event + 1; n > 0; n-- { // few are ordered and not final
		e, err := channel.ReadEvent(s.state(), x.ID, n-1)
		if err != nil {
			s.damaged(err)
			return 0, err
		}
		if e.Position < final {
			return n, nil
		}
	}
	return 0, nil
}

func (c *stream) run(ctx context.Context) {
	beat := time.NewTicker(c.pace.beat)
	defer beat.Stop()
	err := c.flush()
	for err == nil {
		changed := c.feed.changed(c.reader.ID)
		if err = c.follow(ctx); err != nil {
			return
		}
		select {
		case <-changed:
		case <-beat.C:
			err = c.beat()
		case <-c.feed.closed:
			err = c.end("shutdown")
		case <-ctx.Done():
			return
		}
	}
}

// follow sends what is final from the cursor on.
func (c *stream) follow(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := c.judge(); err != nil {
			return err
		}
		more, err := c.round()
		if err != nil || !more {
			return errors.Join(err, c.flush())
		}
	}
	return ctx.Err()
}

// judge reads anew what the caller may see, and ends the stream of whoever takes part no more.
func (c *stream) judge() error {
	h, s := c.reader.ID, c.streams
	settings, head, err := channel.ReadChannel(s.state(), h)
	if err == nil {
		c.reader, err = s.readerOf(settings, head, c.reader.did)
	}
	if err != nil {
		s.damaged(err)
		return errors.Join(err, c.end("shutdown"))
	}
	return nil
}

// over says whether the caller's right or credential has ended, once it has been sent what it is entitled to.
func (c *stream) over() error {
	now := c.now()
	switch {
	case c.reader.takesPart() != nil, !c.reader.public() && c.reader.part.Grant.ValidUntil != 0 && c.reader.now >= c.reader.part.Grant.ValidUntil:
		return c.end("revoked")
	case !c.caller.Expires.IsZero() && !now.Before(c.caller.Expires):
		return c.end("token_expired")
	}
	return nil
}

// round sends some events; more says whether there may be others.
func (c *stream) round() (more bool, err error) {
	final := c.host.Head().Final
	sent, last := 0, c.next
	fault := channel.Events(c.state(), c.reader.ID, c.next, func(e channel.Event) bool {
		if e.Position >= final {
			return false
		}
		if sent == maxRound {
			more = true
			return false
		}
		sent++
		last = e.Number + 1
		if c.reader.takesPart() == nil && c.reader.sees(e) {
			err = c.send(e)
		}
		return err == nil
	})
	c.next = last
	if fault != nil {
		c.damaged(fault)
		return false, fault
	}
	if err == nil && !more {
		if err = c.over(); err == nil && sent > 0 {
			err = c.tellDue()
		}
	}
	return more, err
}

// send adds an event; it goes out with the next flush, or when much has come together.
func (c *stream) send(e channel.Event) error {
	data, err := c.render(c.reader.Channel, e)
	if err != nil {
		return err
	}
	c.buffer = append(strconv.AppendUint(append(c.buffer, "id: "...), e.Number, 10), "\nevent: "...)
	c.buffer = append(append(c.buffer, eventName(e.Op)...), "\ndata: "...)
	c.buffer = append(append(c.buffer, data...), "\n\n"...)
	if len(c.buffer) >= flushBytes {
		return c.flush()
	}
	return nil
}

// eventName is what a feed calls an operation.
func eventName(op channel.Op) string {
	switch op {
	case channel.Write:
		return "record"
	case channel.Rekey, channel.Keyload:
		return "epoch"
	case channel.Create, channel.Configure:
		return "config"
	case channel.Lock:
		return "lock"
	case channel.Erase:
		return "erase"
	}
	return "membership"
}

// tellDue tells once when somebody has the current key and no right to read any more.
func (c *stream) tellDue() error {
	due, err := c.rekeyDue(c.reader)
	if err != nil {
		return err
	}
	if due && !c.due {
		c.buffer = append(c.buffer, "event: rekeyDue\ndata: {\"epoch\":"...)
		c.buffer = append(strconv.AppendUint(c.buffer, uint64(c.reader.head.Epoch), 10), "}\n\n"...)
	}
	c.due = due
	return nil
}

// flush writes what has come together. A consumer that blocks for long is cut off; it may come back and resume.
func (c *stream) flush() error {
	if len(c.buffer) == 0 {
		return nil
	}
	start := time.Now()
	_ = c.control.SetWriteDeadline(start.Add(c.pace.block + c.pace.block/5)) // recorders in tests have none
	_, err := c.writer.Write(c.buffer)
	c.buffer = c.buffer[:0]
	if err == nil {
		err = c.control.Flush()
	}
	if err == nil && time.Since(start) > c.pace.block {
		return c.end("slow_consumer")
	}
	return err
}

// beat keeps the connection alive, and looks at what time alone changes: the credential, and whether a new epoch is due.
func (c *stream) beat() error {
	if c.caller.Holds != nil && !c.caller.Holds() {
		code := "revoked"
		if !c.caller.Expires.IsZero() && !c.now().Before(c.caller.Expires) {
			code = "token_expired"
		}
		return c.end(code)
	}
	if err := c.judge(); err != nil {
		return err
	}
	if err := errors.Join(c.over(), c.tellDue()); err != nil {
		return err
	}
	c.buffer = append(c.buffer, ": \n\n"...)
	return c.flush()
}

// end says why the stream ends.
func (c *stream) end(code string) error {
	c.buffer = append(c.buffer, "event: end\ndata: {\"code\":\""+code+"\"}\n\n"...)
	_ = c.control.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = c.writer.Write(c.buffer) // the consumer may be gone
	c.buffer = c.buffer[:0]
	_ = c.control.Flush()
	return errEnded
}

// consumers counts open streams. It is safe for concurrent use.
type consumers struct {
	mu     sync.Mutex // guards all below
	all    int
	caller map[string]int
}

func (s *consumers) enter(caller string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.all >= MaxStreams:
		return plugins.Reject("busy", "%d streams are open", s.all)
	case s.caller[caller] >= MaxStreamsPerCaller:
		return plugins.Reject("rate_limited", "this caller has %d streams open", MaxStreamsPerCaller)
	}
	if s.caller == nil {
		s.caller = map[string]int{}
	}
	s.all++
	s.caller[caller]++
	return nil
}

func (s *consumers) leave(caller string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all--
	if s.caller[caller]--; s.caller[caller] == 0 {
		delete(s.caller, caller)
	}
}

// rendered are events as streams send them, shared by all consumers: an event is read and written out once, however many
// follow. It is safe for concurrent use.
type rendered struct {
	mu    sync.Mutex // guards all below
	known map[renderedKey][]byte
	order []renderedKey // oldest first
	bytes int
}

// renderedKey names an event in one of its forms: it changes when the record is erased or cleared.
type renderedKey struct {
	id      channel.ID
	event   uint64
	erased  uint64
	cleared bool
}

// maxRendered bounds what is remembered, in bytes.
const maxRendered = 16 << 20

func (r *rendered) find(k renderedKey) ([]byte, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, ok := r.known[k]
	return b, ok
}

func (r *rendered) keep(k renderedKey, b []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known == nil {
		r.known = map[renderedKey][]byte{}
	}
	if _, again := r.known[k]; again {
		return
	}
	r.known[k], r.order, r.bytes = b, append(r.order, k), r.bytes+len(b)
	for r.bytes > maxRendered {
		r.bytes -= len(r.known[r.order[0]])
		delete(r.known, r.order[0])
		r.order = r.order[1:]
	}
}

// render is an event as a stream sends it: without what comes later, such as corrections.
func (s *streams) render(c channel.Channel, e channel.Event) ([]byte, error) {
	k := renderedKey{c.ID, e.Number, e.ErasedBy, e.Cleared || s.pastRetention(c, e)}
	if b, ok := s.rendered.find(k); ok {
		return b, nil
	}
	v, err := s.viewEvent(c, e, e.Position+1)
	if err != nil {
		return nil, err
	}
	v.SupersededBy = nil
	b, err := marshal(v)
	if err == nil {
		s.rendered.keep(k, b)
	}
	return b, err
}

// followed is where this node has come to in what the ledger has accepted.
type followed struct {
	final tangle.Position // final ones whose streams were woken, and whose erasures are known to drops
	erase tangle.Position // applied ones whose payloads were dealt with
}

// follow does what follows from what the ledger has accepted: it wakes streams of what is final, deals with payloads, and
// drops bodies. again says that bodies wait that could go now.
func (s *streams) follow() (again bool, err error) {
	head := s.host.Head()
	if head.Final > s.done.final {
		moved := map[channel.ID]bool{}
		happenings(s.host.IndexView(), s.done.final, func(at tangle.Position, _ int, h happening) bool {
			if at >= head.Final {
				return false
			}
			moved[h.Channel] = true
			if h.Op == channel.Erase {
				s.drops.record(h.Channel, h.Seq)
			}
			return true
		})
		for id := range moved {
			s.feed.wake(id)
		}
		if err := s.noteDrops(moved, s.done.final, head.Final); err != nil {
			return false, err
		}
		s.done.final = head.Final
	}
	if err := s.followPayloads(head.Position); err != nil {
		return false, err
	}
	return s.dropSome(head.Final)
}
