package node

import (
	"bytes"
	"net/http"
	"sync"
	"time"
)

// answers remembers what plugins answered to a POST with an Idempotency-Key, so that sending it again does nothing twice:
// for replayTime, of the newest MaxAnswers only, in memory. A restart forgets them; signed operations need none of this,
// because they are one operation however often they come. It is safe for concurrent use.
type answers struct {
	now func() time.Time

	mu    sync.Mutex // guards all below
	known map[replayID]*keptAnswer
	order []*keptAnswer // oldest first; one whose key stands for something else by now is in nobody's way
	bytes int
}

// keptAnswer is what a key stands for.
type keptAnswer struct {
	id      replayID
	body    [16]byte // of the request
	running bool
	at      time.Time
	status  int
	header  http.Header
	text    []byte
}

// The bounds of what is remembered; larger answers are not.
const (
	MaxAnswers        = 10_000
	MaxAnswerBytes    = 256 << 10
	MaxAnswersInBytes = 32 << 20
)

func newAnswers() *answers { return &answers{now: time.Now, known: map[replayID]*keptAnswer{}} }

// begin takes a key. It returns what the key has answered before, or a slot to give to end, or a problem.
func (a *answers) begin(caller, route, key string, body []byte) (replayID, *keptAnswer, error) {
	id, sum := replayID(hashOf([]byte(caller), []byte(route), []byte(key))), hashOf(body)
	a.mu.Lock()
	defer a.mu.Unlock()
	before := a.known[id]
	if before != nil && !before.running && a.now().Sub(before.at) > replayTime {
		a.bytes -= len(before.text)
		before = nil
	}
	switch {
	case before == nil:
		a.known[id] = &keptAnswer{body: sum, running: true}
		return id, nil, nil
	case before.body != sum:
		return id, nil, refuse("idempotency_mismatch", "this key came with another body before")
	case before.running:
		return id, nil, refuse("in_progress", "the first request with this key still runs").with("Retry-After", "1")
	}
	return id, before, nil
}

// end keeps an answer, or forgets the key of a request that failed: it may be sent again.
func (a *answers) end(id replayID, kept *keptAnswer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	slot := a.known[id]
	if kept == nil || len(kept.text) > MaxAnswerBytes {
		delete(a.known, id)
		return
	}
	kept.id, kept.body, kept.at = id, slot.body, a.now()
	a.known[id] = kept
	a.order = append(a.order, kept)
	a.bytes += len(kept.text)
	for len(a.order) > MaxAnswers || a.bytes > MaxAnswersInBytes {
		if old := a.order[0]; a.known[old.id] == old {
			a.bytes -= len(old.text)
			delete(a.known, old.id)
		}
		a.order = a.order[1:]
	}
}

// once serves a POST under its Idempotency-Key, if it has one.
func (c *apiCall) once(r *http.Request, serve func(http.ResponseWriter, *http.Request) error) error {
	key, err := c.idempotencyKey()
	if err != nil {
		return err
	}
	if key == "" || r.Method != http.MethodPost || (c.route.auth != authToken && c.route.auth != authAdmin) {
		return serve(c.Response(), r)
	}
	id, before, err := c.answers.begin(c.caller.id, r.URL.Path, key, c.body)
	if err != nil {
		return err
	}
	if before != nil {
		before.write(c.Response())
		return nil
	}
	var kept *keptAnswer
	defer func() { c.answers.end(id, kept) }()
	keeping := &keepingWriter{ResponseWriter: c.Response(), status: http.StatusOK}
	if err := serve(keeping, r); err != nil {
		return err
	}
	if keeping.status < http.StatusBadRequest {
		kept = &keptAnswer{status: keeping.status, header: keeping.Header().Clone(), text: keeping.text.Bytes()}
	}
	return nil
}

func (k *keptAnswer) write(w http.ResponseWriter) {
	h := w.Header()
	for _, name := range []string{"Content-Type", "Content-Length", "Location", "Cache-Control"} {
		if value := k.header.Get(name); value != "" {
			h.Set(name, value)
		}
	}
	h.Set("Idempotency-Replayed", "true")
	w.WriteHeader(k.status)
	_, _ = w.Write(k.text) // nobody is left to tell
}

// keepingWriter copies an answer on its way.
type keepingWriter struct {
	http.ResponseWriter
	status int
	text   bytes.Buffer
}

// WriteHeader implements http.ResponseWriter.
func (w *keepingWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *keepingWriter) Write(b []byte) (int, error) {
	if w.text.Len()+len(b) <= MaxAnswerBytes+1 {
		w.text.Write(b)
	}
	return w.ResponseWriter.Write(b)
}
