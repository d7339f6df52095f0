package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"weft/tangle"
)

// The bounds of streams.
const (
	streamBeat          = 15 * time.Second // that a stream may be silent
	MaxStreams          = 1000
	MaxStreamsPerCaller = 20
	MaxStreamBlock      = 10 * time.Second // that a consumer may block before it is cut off
)

// streamCount counts open streams.
type streamCount struct {
	mu     sync.Mutex // guards all below
	all    int
	caller map[string]int
}

func (s *streamCount) enter(caller string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.all >= MaxStreams:
		return refuse("busy", "%d streams are open", s.all).with("Retry-After", "5")
	case s.caller[caller] >= MaxStreamsPerCaller:
		return refuse("rate_limited", "this caller has %d streams open", MaxStreamsPerCaller).with("Retry-After", "5")
	}
	if s.caller == nil {
		s.caller = map[string]int{}
	}
	s.all++
	s.caller[caller]++
	return nil
}

func (s *streamCount) leave(caller string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all--
	if s.caller[caller]--; s.caller[caller] == 0 {
		delete(s.caller, caller)
	}
}

// stream is a response of server-sent events (WHATWG HTML, section 9.2). Nothing is queued for its consumer.
type stream struct {
	call    *apiCall
	ctx     context.Context // of the request, and of the node
	cancel  func()
	control *http.ResponseController
	tick    *time.Ticker
	buffer  []byte
}

// openStream starts the answer. A stream does not count as a request in flight: it has bounds of its own.
func (c *apiCall) openStream() (*stream, error) {
	if err := c.api.streams.enter(c.caller.id); err != nil {
		return nil, err
	}
	c.inFlight.Add(-1)
	s := &stream{call: c, control: http.NewResponseController(c.Response()), tick: time.NewTicker(streamBeat)}
	ctx, cancel := context.WithCancel(c.Request().Context())
	stop := context.AfterFunc(c.closing, cancel)
	s.ctx, s.cancel = ctx, func() { stop(); cancel() }
	h := c.Response().Header()
	c.stamp(h)
	h["Content-Type"] = []string{eventsType}
	h["Cache-Control"] = []string{"no-store"}
	h["X-Accel-Buffering"] = []string{"no"}
	c.Response().WriteHeader(http.StatusOK)
	s.buffer = append(s.buffer, "retry: 2000\n\n"...)
	if err := s.flush(); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *stream) close() {
	s.tick.Stop()
	s.cancel()
	_ = s.control.SetWriteDeadline(time.Now().Add(answerTime)) // the connection may be kept
	s.call.inFlight.Add(1)
	s.call.api.streams.leave(s.call.caller.id)
}

// done is closed when the consumer hangs up or the node stops.
func (s *stream) done() <-chan struct{} { return s.ctx.Done() }

// send adds an event; it goes out with the next flush, or when much has come together.
func (s *stream) send(id, event string, data any) error {
	line, err := json.Marshal(data)
	if err != nil {
		return err
	}
	if id != "" {
		s.buffer = append(append(append(s.buffer, "id: "...), id...), '\n')
	}
	s.buffer = append(append(append(s.buffer, "event: "...), event...), "\ndata: "...)
	s.buffer = append(append(s.buffer, line...), "\n\n"...)
	if len(s.buffer) >= 32<<10 {
		return s.flush()
	}
	return nil
}

var errSlowConsumer = errors.New("slow consumer")

// flush writes what has come together. A consumer that blocks for long is cut off; it may come back and resume.
func (s *stream) flush() error {
	start := time.Now()
	_ = s.control.SetWriteDeadline(start.Add(MaxStreamBlock + 2*time.Second)) // recorders in tests have none
	_, err := s.call.Response().Write(s.buffer)
	s.buffer = s.buffer[:0]
	if err == nil {
		err = s.control.Flush()
	}
	if err == nil && time.Since(start) > MaxStreamBlock {
		_ = s.end("slow_consumer")
		return errSlowConsumer
	}
	return err
}

// beat keeps the connection alive and ends it when the caller's key no longer holds.
func (s *stream) beat() error {
	if key := s.call.caller.key; key != nil && !s.call.keys.valid(key) {
		code := "revoked"
		if !time.Now().Before(key.ExpiresAt) {
			code = "token_expired"
		}
		return errors.Join(s.end(code), errSlowConsumer)
	}
	s.buffer = append(s.buffer, ": \n\n"...)
	return s.flush()
}

// end says why the stream ends.
func (s *stream) end(code string) error {
	s.buffer = append(s.buffer, "event: end\ndata: {\"code\":\""+code+"\"}\n\n"...)
	_ = s.control.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = s.call.Response().Write(s.buffer) // the consumer may be gone
	s.buffer = s.buffer[:0]
	_ = s.control.Flush()
	return nil
}

// liveView is a final entry as an event.
type liveView struct {
	EntryHash tangle.Hash     `json:"entryHash"`
	MessageID tangle.ID       `json:"messageId"`
	Author    tangle.Member   `json:"author"`
	Kind      kindView        `json:"kind"`
	Outcome   string          `json:"outcome"`
	Code      string          `json:"code,omitempty"`
	Place     placeView       `json:"place"`
	Time      string          `json:"time"`
	Erased    bool            `json:"erased,omitempty"`
	Data      json.RawMessage `json:"data,omitempty"`
}

// liveCursor is the next entry to look at.
type liveCursor struct {
	position tangle.Position
	index    int
}

// entriesLive is GET /entries/live: every final entry in its order, each once. The stream is a cursor over the ledger, so
// that it can be resumed at any event, on any node.
func (c *apiCall) entriesLive() error {
	filter, err := c.filter()
	if err != nil {
		return err
	}
	at, err := c.liveStart()
	if err != nil {
		return err
	}
	s, err := c.openStream()
	if err != nil {
		return err
	}
	defer s.close()
	for err == nil {
		changed := c.Node.Changed()
		if at, err = s.follow(at, filter); err != nil {
			break
		}
		select {
		case <-changed:
		case <-s.tick.C:
			err = s.beat()
		case <-s.done():
			err = errors.Join(s.end("shutdown"), errSlowConsumer)
		}
	}
	return err
}

// liveStart is where to begin: after the event named by Last-Event-ID or ?after, at ?from, or with what is next.
func (c *apiCall) liveStart() (liveCursor, error) {
	after := c.Request().Header.Get("Last-Event-ID")
	if text, ok := c.query["after"]; ok && after == "" {
		after = text[0]
	}
	if after != "" {
		return parseEventID(after)
	}
	from, err := c.number("from", uint64(c.Node.Head().Final))
	return liveCursor{position: tangle.Position(from)}, err
}

// parseEventID reads "position.index" and moves past it.
func parseEventID(text string) (liveCursor, error) {
	position, index, found := strings.Cut(text, ".")
	n, err := parseNumber("position", position)
	i, errIndex := strconv.ParseUint(index, 10, 16)
	if !found || err != nil || errIndex != nil {
		return liveCursor{}, refuse("bad_parameter", "an event id is position.index, such as 48213.0")
	}
	return liveCursor{tangle.Position(n), int(i) + 1}, nil
}

// follow sends what is final from the cursor on.
func (s *stream) follow(at liveCursor, filter entryFilter) (liveCursor, error) {
	for at.position < s.call.Node.Head().Final {
		if s.ctx.Err() != nil {
			return at, nil
		}
		m, settled, err := s.call.messageAt(at.position)
		if err != nil {
			return at, err
		}
		if filter.takesAuthor(m) {
			if err := s.sendEntries(m, settled, at.index, filter); err != nil {
				return at, err
			}
		}
		at = liveCursor{position: at.position + 1}
	}
	if len(s.buffer) == 0 {
		return at, nil
	}
	return at, s.flush()
}

func (s *stream) sendEntries(m *tangle.Message, settled Settled, from int, filter entryFilter) error {
	for i := from; i < len(m.Entries); i++ {
		e := m.Entries[i]
		if !filter.takes(e) {
			continue
		}
		outcome, code, place := outcomeOf(settled, i)
		if place == nil {
			return fmt.Errorf("message %s has no outcome for entry %d", m.ID, i)
		}
		v := liveView{EntryHash: e.Hash, MessageID: m.ID, Author: m.Header.Author, Kind: kindView(e.Kind), Outcome: outcome,
			Code: code, Place: *place, Time: settled.Time.String(), Erased: e.Erased()}
		if !v.Erased {
			v.Data = viewData(e)
		}
		if err := s.send(fmt.Sprintf("%d.%d", place.Position, i), "entry", v); err != nil {
			return err
		}
	}
	return nil
}
