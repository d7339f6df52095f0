package managed

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"

	"weft/client"
	"weft/client/audit"
)

const livePath = "/api/v1/channels/{id}/live"

// live is GET /api/v1/managed/channels/{id}/live: the channel's own feed, with its records in clear. Beats, bounds, and what
// ends a stream are those of the feed.
func (m *Mode) live(w http.ResponseWriter, r *http.Request, t *tool) error {
	c, err := m.enter(r.Context(), r, t)
	if err != nil {
		return err
	}
	return m.door.serve(http.MethodGet, livePath)(&clearing{ResponseWriter: w, ctx: r.Context(), channel: c}, r)
}

// clearing opens the records of a feed on its way. It implements http.ResponseWriter.
type clearing struct {
	http.ResponseWriter
	ctx     context.Context
	channel *audit.Channel
	rest    []byte // of an event that is not whole yet
}

// Unwrap lets http.ResponseController flush and set deadlines.
func (w *clearing) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Write takes pieces of a feed.
func (w *clearing) Write(b []byte) (int, error) {
	w.rest = append(w.rest, b...)
	end := bytes.LastIndex(w.rest, []byte("\n\n")) + 2
	if end == 1 {
		return len(b), nil
	}
	var out []byte
	for event := range bytes.SplitAfterSeq(w.rest[:end], []byte("\n\n")) {
		out = append(out, w.clear(event)...)
	}
	w.rest = append(w.rest[:0], w.rest[end:]...)
	_, err := w.ResponseWriter.Write(out)
	return len(b), err
}

// clear opens an event that is a record.
func (w *clearing) clear(event []byte) []byte {
	head, data, is := bytes.Cut(event, []byte("\nevent: record\ndata: "))
	if !is {
		return event
	}
	var record client.ChannelRecord
	if json.Unmarshal(data, &record) != nil {
		return event
	}
	opened, err := json.Marshal(viewEntry(w.channel.OpenRecord(w.ctx, record)))
	if err != nil {
		return event
	}
	return append(append(append(bytes.Clone(head), "\nevent: record\ndata: "...), opened...), "\n\n"...)
}
