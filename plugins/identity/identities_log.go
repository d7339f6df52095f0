package identity

import (
	"encoding/json"
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
	lost := conflicts(x.host.IndexView(), d)
	w.Header().Set("Content-Type", mediaType)
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	put := func(line logLine) error {
		if receipts == "true" {
			line.Receipt, _ = x.receiptOf(r.Context(), line.Entry)
		}
		return out.Encode(line)
	}
	var broken error // nobody reads on
	err = did.Log(x.host.View(), d, 1, func(n int, record did.Record) bool {
		for len(lost) > 0 && lost[0].before(record.Place) && broken == nil {
			broken = put(x.conflictLine(lost[0]))
			lost = lost[1:]
		}
		if broken == nil {
			broken = put(recordLine(n, record))
		}
		return broken == nil
	})
	if err != nil {
		x.damaged(err)
		return err
	}
	for _, c := range lost {
		if broken == nil {
			broken = put(x.conflictLine(c))
		}
	}
	return nil
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
	if e, ok := x.host.Entry(c.Entry); ok && e.Ordered() {
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
