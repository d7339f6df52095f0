package identity

import (
	"context"
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"strings"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/rest"
	"weft/tangle"
)

// The media types of a log: one JSON text a line, under two names.
const (
	typeJSONLines = "application/jsonl"
	typeNDJSON    = "application/x-ndjson"
)

// logLine is one operation of a DID at its place: in its log, or a conflict, which its owner signed beside another one.
type logLine struct {
	Operation json.RawMessage `json:"operation,omitempty"` // of a conflict: in its receipt
	OpHash    string          `json:"opHash"`
	VersionID string          `json:"versionId,omitempty"`
	rest.Place
	Entry   tangle.Hash    `json:"entryHash"`
	Time    string         `json:"time,omitempty"`
	Author  *tangle.Member `json:"author,omitempty"`
	Rule    string         `json:"rule,omitempty"`
	Code    string         `json:"code,omitempty"`
	Receipt string         `json:"receipt,omitempty"`
}

// log is GET /api/v1/identities/{did}/log: every operation in the order of the ledger, conflicts at their places.
func (x *identity) log(w http.ResponseWriter, r *http.Request) error {
	d, _, err := x.pathDID(r)
	if err != nil {
		return err
	}
	receipts := r.URL.Query().Get("receipts")
	if receipts != "" && receipts != "true" && receipts != "false" {
		return plugins.Reject("bad_parameter", "receipts is true or false")
	}
	mediaType := typeJSONLines
	if accept := strings.Join(r.Header.Values("Accept"), ","); strings.Contains(accept, typeNDJSON) && !strings.Contains(accept, typeJSONLines) {
		mediaType = typeNDJSON
	}
	w.Header().Set("Content-Type", mediaType)
	l := logWriter{identity: x, ctx: r.Context(), out: json.NewEncoder(w), receipts: receipts == "true", lost: conflicts(x.host.IndexView(), d)}
	l.out.SetEscapeHTML(false)
	for from := 1; l.broken == nil; from += logBatch {
		list, err := readLog(x.host.View(), d, from, logBatch)
		if err != nil {
			x.damaged(err)
			return err
		}
		for i, record := range list {
			l.conflictsBefore(record.Place)
			l.put(recordLine(from+i, record))
		}
		if len(list) < logBatch {
			break
		}
	}
	l.conflictsBefore(did.Place{Position: math.MaxUint64})
	return nil
}

// logBatch is how many operations are read at a time: while one scan of the store waits for a slow reader or a receipt, the
// store can drop nothing old.
const logBatch = 64

func readLog(v plugins.View, d did.DID, from, most int) (list []did.Record, err error) {
	err = did.Log(v, d, from, func(_ int, r did.Record) bool {
		list = append(list, r)
		return len(list) < most
	})
	return list, err
}

// logWriter writes lines until nobody reads on.
type logWriter struct {
	*identity
	ctx      context.Context
	out      *json.Encoder
	receipts bool
	lost     []conflict // not written yet
	broken   error
}

func (l *logWriter) put(line logLine) {
	if l.broken != nil {
		return
	}
	if l.receipts {
		line.Receipt, _ = l.receiptOf(l.ctx, line.Entry)
	}
	l.broken = l.out.Encode(line)
}

func (l *logWriter) conflictsBefore(p did.Place) {
	for len(l.lost) > 0 && l.lost[0].before(p) {
		l.put(l.conflictLine(l.lost[0]))
		l.lost = l.lost[1:]
	}
}

func (c conflict) before(p did.Place) bool {
	return c.Position < p.Position || c.Position == p.Position && c.Index < p.Index
}

func recordLine(n int, r did.Record) logLine {
	return logLine{
		Operation: r.Raw, OpHash: r.OpHash, VersionID: r.VersionID(n), Place: rest.Place{Position: r.Position, Index: r.Index}, Entry: r.Entry,
		Time: r.Time.String(), Author: &r.By, Rule: r.Rule.String(),
	}
}

func (x *identity) conflictLine(c conflict) logLine {
	line := logLine{OpHash: c.OpHash, Place: rest.Place{Position: c.Position, Index: c.Index}, Entry: c.Entry, Code: "conflict"}
	if e, ok := x.host.Entry(c.Entry, tangle.ID{}); ok && e.Ordered() {
		line.Time = e.Time.String()
	}
	return line
}

// operationName is the member op of an entry that was accepted.
func operationName(raw []byte) string {
	var o struct{ Op string }
	_ = json.Unmarshal(raw, &o) // it decoded before
	return o.Op
}

func formatCursor(n int) string { return strconv.Itoa(n) }

// parseCursor reads a cursor of formatCursor; without one it is 0.
func parseCursor(text string) (int, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > 1<<30 {
		return 0, plugins.Reject("bad_cursor", "this is no cursor that a list gave")
	}
	return n, nil
}
