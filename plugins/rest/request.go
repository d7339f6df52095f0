// Package rest is what plugins that serve the REST API have in common: strict bodies, answers, pages, and routes whose body
// is a signed operation, with what became of it.
//
// It knows no plugin and no operation: they say how one is read, named and found. The node checks callers, rates and bounds
// before anything here runs.
package rest

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"weft/config/strict"
	"weft/plugins"
)

// Bounds of bodies (api.md, section 1).
const (
	MaxBody          = 64 << 10
	MaxOperationBody = 32 << 10
	MaxVerifyBody    = 256 << 10
)

// Media types.
const (
	TypeJSON    = "application/json"
	TypeProblem = "application/problem+json"
)

// ReadBody is the body; the node has bounded it.
func ReadBody(r *http.Request) ([]byte, error) { return io.ReadAll(r.Body) }

// Read reads a JSON body into a pointer to a struct: strictly, with the codes of api.md, section 4.
func Read(r *http.Request, v any) error {
	raw, err := ReadBody(r)
	if err != nil {
		return err
	}
	if err := strict.Check(raw); err != nil {
		return plugins.Reject("bad_json", "%s", err)
	}
	return ValueError(strict.Decode(raw, v, false))
}

// ValueError gives the faults of a value their code.
func ValueError(err error) error {
	var faults strict.Faults
	if !errors.As(err, &faults) {
		return err
	}
	code := "bad_value"
	for _, f := range faults {
		if strings.HasPrefix(f.Detail, "no such member") {
			code = "unknown_field"
		}
	}
	return plugins.Reject(code, "%s", strings.ReplaceAll(faults.Error(), "\n", "; "))
}

// Answer writes JSON.
func Answer(w http.ResponseWriter, status int, v any) error {
	return AnswerAs(w, status, TypeJSON, v)
}

// AnswerAs writes JSON under another media type.
func AnswerAs(w http.ResponseWriter, status int, mediaType string, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return AnswerBytes(w, status, mediaType, body)
}

// AnswerBytes writes a whole body.
func AnswerBytes(w http.ResponseWriter, status int, mediaType string, body []byte) error {
	h := w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // nobody is left to tell
	return nil
}

// None answers without a body.
func None(w http.ResponseWriter) error {
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// MatchesTag says whether a list of entity tags (RFC 9110, section 13.1) has this one.
func MatchesTag(header, tag string) bool {
	for one := range strings.SplitSeq(header, ",") {
		one = strings.TrimPrefix(strings.TrimSpace(one), "W/")
		if one == "*" || strings.Trim(one, `"`) == tag {
			return true
		}
	}
	return false
}

// NoStore keeps an answer out of caches.
func NoStore(w http.ResponseWriter) { w.Header().Set("Cache-Control", "no-store") }

// Page is what a list is asked for.
type Page struct {
	Limit int
	After string // the last item of the page before; empty: from the start
}

// The sizes of pages (api.md, section 3).
const (
	defaultPage = 50
	MaxPage     = 200
)

// PageQuery are the parameters of a list, with those that are given.
func PageQuery(more ...string) []string { return append(more, "limit", "cursor") }

// ReadPage reads limit and cursor.
func ReadPage(r *http.Request) (p Page, err error) {
	p.Limit = defaultPage
	q := r.URL.Query()
	if text := q.Get("limit"); text != "" {
		if p.Limit, err = strconv.Atoi(text); err != nil || p.Limit < 1 || p.Limit > MaxPage {
			return p, plugins.Reject("bad_parameter", "limit: want 1 to %d", MaxPage)
		}
	}
	if text := q.Get("cursor"); text != "" {
		b, err := base64.RawURLEncoding.Strict().DecodeString(text)
		if err != nil || len(b) == 0 || len(b) > 1024 {
			return p, plugins.Reject("bad_cursor", "this is no cursor that a list gave")
		}
		p.After = string(b)
	}
	return p, nil
}

// List is a page of a list; Next is null at the end.
type List[T any] struct {
	Items []T     `json:"items"`
	Next  *string `json:"next"`
}

// PageOf makes the answer of items, of which one more than the page holds was looked for; id names an item to go on after.
func PageOf[T any](items []T, p Page, id func(T) string) List[T] {
	a := List[T]{Items: items}
	if items == nil {
		a.Items = []T{}
	}
	if len(items) > p.Limit {
		a.Items = items[:p.Limit]
		a.Next = Cursor(id(a.Items[p.Limit-1]))
	}
	return a
}

// Cursor makes a cursor that ReadPage reads.
func Cursor(after string) *string {
	next := base64.RawURLEncoding.EncodeToString([]byte(after))
	return &next
}

// The bounds of ?wait=final.
const (
	defaultWait = 10 * time.Second
	MaxWait     = 30 * time.Second
)

// ReadWait reads ?wait=final&timeout=10s; 0 means not to wait.
func ReadWait(r *http.Request) (time.Duration, error) {
	q := r.URL.Query()
	how, text := q.Get("wait"), q.Get("timeout")
	switch {
	case how != "" && how != "final":
		return 0, plugins.Reject("bad_parameter", "wait: want final")
	case how == "" && text != "":
		return 0, plugins.Reject("bad_parameter", "timeout goes with wait=final")
	case how == "":
		return 0, nil
	case text == "":
		return defaultWait, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 || d > MaxWait {
		return 0, plugins.Reject("bad_parameter", "timeout: want a duration up to %s", MaxWait)
	}
	return d, nil
}
