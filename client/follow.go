package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"weft/tangle"
)

// FollowFilter picks what Follow delivers; zero fields do not filter.
type FollowFilter struct {
	Member tangle.Member
	Kind   Kind
	Tag    string
	From   tangle.Position // where to begin; Node.Final is what comes next
	After  string          // go on after this event instead: the ID of the last one handled, position.index
}

func (f FollowFilter) values() url.Values {
	v := MessageFilter{Member: f.Member, Kind: f.Kind, Tag: f.Tag}.values()
	if f.After == "" {
		v.Set("from", strconv.FormatUint(uint64(f.From), 10))
	}
	return v
}

// FinalEntry is an entry that a certified checkpoint covers.
type FinalEntry struct {
	ID        string          `json:"-"` // of the event: what to resume after
	EntryHash tangle.Hash     `json:"entryHash"`
	MessageID tangle.ID       `json:"messageId"`
	Author    tangle.Member   `json:"author"`
	Kind      Kind            `json:"kind"`
	Outcome   string          `json:"outcome"`
	Code      string          `json:"code,omitempty"`
	Place     Place           `json:"place"`
	Time      time.Time       `json:"time"` // commit time
	Erased    bool            `json:"erased,omitempty"`
	Data      json.RawMessage `json:"data,omitempty"`
}

// MaxEventBytes bounds one line of an event stream.
const MaxEventBytes = 1 << 20

// Follow delivers final entries in their order, each once, until ctx ends, handle fails or the node refuses. It connects
// again by itself and resumes after the last entry that handle took. A node that stays silent is asked again for ever,
// with pauses of at most the retry's longest; told reports each interruption, if not nil.
func (c *Client) Follow(ctx context.Context, f FollowFilter, handle func(FinalEntry) error, told func(error)) error {
	return c.resume(ctx, &f.After, told, func() error { return c.followOnce(ctx, &f, handle) })
}

// resume reads a stream, and reads on behind the cursor after each interruption. An event that has come ends a series of
// failures.
func (c *Client) resume(ctx context.Context, cursor *string, told func(error), read func() error) error {
	for failures := 1; ; failures++ {
		before := *cursor
		err := read()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !resumable(err) {
			return err
		}
		if told != nil {
			told(err)
		}
		if *cursor != before {
			failures = 1
		}
		if err := sleep(ctx, c.retry.resume(failures, err)); err != nil {
			return err
		}
	}
}

// maxSilence is how long a stream may be silent before it counts as dead: nodes send a comment every 15 s.
const maxSilence = 50 * time.Second

// heard puts off the end of silence with every byte.
type heard struct {
	io.Reader
	silence *time.Timer
}

func (h *heard) Read(b []byte) (int, error) {
	n, err := h.Reader.Read(b)
	h.silence.Reset(maxSilence)
	return n, err
}

// errStreamEnded is the ordinary end of a stream: a node that shuts down, or a consumer that was too slow.
var errStreamEnded = errors.New("the node ended the stream")

func resumable(err error) bool {
	var p *Problem
	if errors.As(err, &p) {
		return p.Status == http.StatusTooManyRequests || p.Status >= 500
	}
	return Unreachable(err) || errors.Is(err, errStreamEnded)
}

// resume is the pause before the next connection.
func (r Retry) resume(failures int, err error) time.Duration {
	r.Attempts, r.Silences = failures+1, failures+1
	if pause, ok := r.pause(failures, false, err); ok {
		return pause
	}
	return max(r.First, time.Second)
}

func (c *Client) followOnce(ctx context.Context, f *FollowFilter, handle func(FinalEntry) error) error {
	return c.stream(ctx, query("/api/v1/entries/live", f.values()), f.After, func(e event) error { return f.take(e, handle) })
}

// stream reads one connection's worth of events.
func (c *Client) stream(ctx context.Context, path, after string, take func(event) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	silence := time.AfterFunc(maxSilence, cancel)
	defer silence.Stop()
	response, err := c.open(ctx, call{method: http.MethodGet, path: path, accept: "text/event-stream", last: after, stale: true})
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(response.Body, MaxEventBytes))
		return newProblem(answer{response.StatusCode, response.Header, body})
	}
	return readEvents(&heard{response.Body, silence}, take)
}

// take handles one event and moves the cursor past it.
func (f *FollowFilter) take(e event, handle func(FinalEntry) error) error {
	switch e.name {
	case "end":
		return fmt.Errorf("%w: %s", errStreamEnded, e.data)
	case "entry":
		entry := FinalEntry{ID: e.id}
		if err := json.Unmarshal([]byte(e.data), &entry); err != nil {
			return fmt.Errorf("event %s: %w", e.id, err)
		}
		if err := handle(entry); err != nil {
			return err
		}
	}
	if e.id != "" {
		f.After = e.id
	}
	return nil
}

// event is one server-sent event.
type event struct{ id, name, data string }

// readEvents reads an event stream (WHATWG HTML, section 9.2) until it ends or take fails. An event cut off by the end
// of the stream is dropped, as the standard says.
func readEvents(r io.Reader, take func(event) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), MaxEventBytes)
	var e event
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "id":
			e.id = value
		case "event":
			e.name = value
		case "data":
			if e.data != "" {
				e.data += "\n"
			}
			e.data += value
		}
		if lines.Text() == "" && e != (event{}) {
			if err := take(e); err != nil {
				return err
			}
			e = event{}
		}
	}
	if err := lines.Err(); err != nil {
		return &unreachableError{err}
	}
	return errStreamEnded
}
