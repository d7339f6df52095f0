package node

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"weft/plugins"
	"weft/receipt"
)

// problem is an answer that says no (RFC 9457). Code is stable and means one HTTP status; Detail is for people.
type problem struct {
	Code   string
	Detail string

	// What some problems add.
	Outcome string
	Place   *placeView
	Receipt []byte
	Checks  []receipt.Check
	Header  [][2]string // such as Retry-After

	// What plugins add.
	Type   string // empty: the code's
	Status int    // 0: the code's
	More   map[string]any
}

func (p *problem) Error() string { return p.Code + ": " + p.Detail }

// with adds a header.
func (p *problem) with(name, value string) *problem {
	p.Header = append(p.Header, [2]string{name, value})
	return p
}

func refuse(code, format string, args ...any) *problem {
	return &problem{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// status is the HTTP status: the code's, if nothing else is said.
func (p *problem) status() int {
	if p.Status != 0 {
		return p.Status
	}
	return plugins.StatusOf(p.Code)
}

// problemView is the document.
type problemView struct {
	Type      string          `json:"type"`
	Title     string          `json:"title"`
	Status    int             `json:"status"`
	Code      string          `json:"code"`
	Detail    string          `json:"detail,omitempty"`
	Instance  string          `json:"instance,omitempty"`
	RequestID string          `json:"requestId"`
	Outcome   string          `json:"outcome,omitempty"`
	Place     *placeView      `json:"place,omitempty"`
	Receipt   string          `json:"receipt,omitempty"`
	Checks    []receipt.Check `json:"checks,omitempty"`
}

// MaxDetailBytes bounds a problem's detail, which may quote the request.
const MaxDetailBytes = 500

func (p *problem) view(path, requestID string) problemView {
	v := problemView{
		Type: cmp.Or(p.Type, "urn:weft:problem:"+p.Code), Title: plugins.TitleOf(p.Code), Status: p.status(), Code: p.Code,
		Detail: p.Detail, Instance: path, RequestID: requestID, Outcome: p.Outcome, Place: p.Place, Checks: p.Checks,
	}
	if len(v.Detail) > MaxDetailBytes {
		v.Detail = v.Detail[:MaxDetailBytes]
	}
	if p.Receipt != nil {
		v.Receipt = encodeBase64(p.Receipt)
	}
	return v
}

// writeProblem answers with a problem. Its text comes from requests in part, so it is JSON and nothing else.
func writeProblem(w http.ResponseWriter, r *http.Request, p *problem) {
	h := w.Header()
	for _, field := range p.Header {
		h.Set(field[0], field[1])
	}
	v := p.view(r.URL.EscapedPath(), h.Get("Request-Id"))
	body, err := json.Marshal(v)
	if err == nil && len(p.More) > 0 {
		body, err = withMembers(body, p.More)
	}
	if err != nil {
		body = []byte(`{"type":"urn:weft:problem:internal","title":"Internal","status":500,"code":"internal"}`)
	}
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(v.Status)
	_, _ = w.Write(body) // nobody is left to tell
}

// withMembers adds members to a JSON object that is not empty.
func withMembers(object []byte, more map[string]any) ([]byte, error) {
	added, err := json.Marshal(more)
	if err != nil {
		return nil, err
	}
	return append(append(object[:len(object)-1], ','), added[1:]...), nil
}

// problemOf says what an error means to a caller; nil if it is this node's own fault.
func problemOf(err error) *problem {
	var p *problem
	switch {
	case errors.As(err, &p):
		return p
	case plugins.Rejected(err) != nil:
		r := plugins.Rejected(err)
		p = refuse(r.Code, "%s", r.Detail)
		var more *plugins.Problem
		if errors.As(err, &more) {
			p.Type, p.Status, p.More = more.Type, more.Status, more.More
		}
		if p.status() == http.StatusServiceUnavailable {
			p.with("Retry-After", "1")
		}
		return p
	case errors.Is(err, ErrUnknown):
		return refuse("not_found", "the ledger of this node does not hold it")
	case errors.Is(err, ErrNotFinal):
		return refuse("not_final", "no certified checkpoint covers it yet").with("Retry-After", "1")
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return refuse("slow_request", "the request was given up")
	}
	return nil
}
