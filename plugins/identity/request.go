package identity

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
	"weft/plugins/identity/did"
)

// Bounds of bodies (api.md, section 1).
const (
	MaxBody          = 64 << 10
	MaxOperationBody = 32 << 10
	MaxVerifyBody    = 256 << 10
)

const (
	typeJSON    = "application/json"
	typeProblem = "application/problem+json"
)

// readBody is the body; the node has bounded it.
func readBody(r *http.Request) ([]byte, error) { return io.ReadAll(r.Body) }

// readInto reads a JSON body into a pointer to a struct: strictly, with the codes of api.md, section 4.
func readInto(r *http.Request, v any) error {
	raw, err := readBody(r)
	if err != nil {
		return err
	}
	if _, err := did.DecodeJSON(raw, did.JSONLimits{MaxBytes: MaxVerifyBody}); err != nil {
		return err
	}
	return valueError(strict.Decode(raw, v, false))
}

// valueError gives the faults of a value their code.
func valueError(err error) error {
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

// answer writes JSON.
func answer(w http.ResponseWriter, status int, v any) error {
	return answerAs(w, status, typeJSON, v)
}

func answerAs(w http.ResponseWriter, status int, mediaType string, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return answerBytes(w, status, mediaType, body)
}

func answerBytes(w http.ResponseWriter, status int, mediaType string, body []byte) error {
	h := w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // nobody is left to tell
	return nil
}

// none answers without a body.
func none(w http.ResponseWriter) error {
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// noStore keeps an answer out of caches.
func noStore(w http.ResponseWriter) { w.Header().Set("Cache-Control", "no-store") }

// page is what a list is asked for.
type page struct {
	limit int
	after string // the last item of the page before
}

// The sizes of pages (api.md, section 3).
const (
	defaultPage = 50
	MaxPage     = 200
)

func pageQuery(more ...string) []string { return append(more, "limit", "cursor") }

func readPage(r *http.Request) (p page, err error) {
	p.limit = defaultPage
	q := r.URL.Query()
	if text := q.Get("limit"); text != "" {
		if p.limit, err = strconv.Atoi(text); err != nil || p.limit < 1 || p.limit > MaxPage {
			return p, plugins.Reject("bad_parameter", "limit: want 1 to %d", MaxPage)
		}
	}
	if text := q.Get("cursor"); text != "" {
		b, err := base64.RawURLEncoding.Strict().DecodeString(text)
		if err != nil || len(b) == 0 || len(b) > 1024 {
			return p, plugins.Reject("bad_cursor", "this is no cursor that a list gave")
		}
		p.after = string(b)
	}
	return p, nil
}

// listAnswer is a page of a list; Next is null at the end.
type listAnswer[T any] struct {
	Items []T     `json:"items"`
	Next  *string `json:"next"`
}

// pageOf makes the answer of items, of which one more than the page holds was looked for; id names an item to go on after.
func pageOf[T any](items []T, p page, id func(T) string) listAnswer[T] {
	a := listAnswer[T]{Items: items}
	if items == nil {
		a.Items = []T{}
	}
	if len(items) > p.limit {
		a.Items = items[:p.limit]
		a.Next = encodeCursor(id(a.Items[p.limit-1]))
	}
	return a
}

// encodeCursor makes a cursor that readPage reads.
func encodeCursor(after string) *string {
	next := base64.RawURLEncoding.EncodeToString([]byte(after))
	return &next
}

// The bounds of ?wait=final.
const (
	defaultWait = 10 * time.Second
	MaxWait     = 30 * time.Second
)

// readWait reads ?wait=final&timeout=10s; 0 means not to wait.
func readWait(r *http.Request) (time.Duration, error) {
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

// statuses are the HTTP statuses of the codes that only identity has (identity.md, section 4).
func statuses() map[string]int {
	return map[string]int{
		"threshold": http.StatusForbidden, "prerotation": http.StatusForbidden, "consent_missing": http.StatusForbidden,
		"unknown_list": http.StatusNotFound, "unsigned_list": http.StatusNotFound, "unknown_grant": http.StatusNotFound,
		"unknown_federation": http.StatusNotFound, "unknown_operation": http.StatusNotFound,
		"already_exists": http.StatusConflict, "bad_prev": http.StatusConflict, "conflict": http.StatusConflict,
		"stale_recovery": http.StatusConflict, "already_used": http.StatusConflict, "list_closed": http.StatusConflict,
		"not_list_home": http.StatusConflict, "grant_revoked": http.StatusConflict, "username_taken": http.StatusConflict,
		"context_not_installed": http.StatusUnprocessableEntity,
	}
}
