package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"time"

	"weft/tangle"
)

// Problem is a node's refusal (RFC 9457). Code is stable; Detail is for people. Errors of all methods unwrap to a
// *Problem wherever a node has answered.
type Problem struct {
	Status    int    `json:"status"`
	Code      string `json:"code"`
	Title     string `json:"title"`
	Detail    string `json:"detail"`
	Instance  string `json:"instance"`
	RequestID string `json:"requestId"`

	Outcome string  `json:"outcome,omitempty"` // of an entry that the ledger rejected at its place
	Place   *Place  `json:"place,omitempty"`
	Receipt string  `json:"receipt,omitempty"` // base64url: also a refusal can be proved
	Checks  []Check `json:"checks,omitempty"`

	RetryAfter time.Duration `json:"-"` // what the node asked for; 0: nothing
}

// Check is one named step of a verification.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Code   string `json:"code,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// Place is where an entry stands in the total order.
type Place struct {
	Position tangle.Position `json:"position"`
	Index    int             `json:"index"`
}

func (p *Problem) Error() string {
	text := p.Detail
	if text == "" {
		text = p.Title
	}
	s := text + " (" + p.Code
	if p.Status != 0 { // else one of a batch
		s += fmt.Sprintf(", HTTP %d", p.Status)
	}
	if p.RequestID != "" {
		s += ", request " + p.RequestID
	}
	return s + ")"
}

// ProblemCode is the code of the problem in err, or "".
func ProblemCode(err error) string {
	var p *Problem
	if errors.As(err, &p) {
		return p.Code
	}
	return ""
}

// newProblem reads a problem document; an answer that is none, as a proxy sends, still becomes a Problem.
func newProblem(a answer) *Problem {
	p := &Problem{}
	kind, _, _ := mime.ParseMediaType(a.header.Get("Content-Type"))
	if kind != "application/problem+json" || json.Unmarshal(a.body, p) != nil || p.Code == "" {
		*p = Problem{Code: "http_" + strconv.Itoa(a.status), Title: http.StatusText(a.status), RequestID: a.header.Get("Request-Id")}
	}
	p.Status = a.status
	p.RetryAfter = retryAfter(a.header.Get("Retry-After"))
	return p
}

// retryAfter reads the delay form of Retry-After; nodes never send a date.
func retryAfter(s string) time.Duration {
	seconds, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second
}
