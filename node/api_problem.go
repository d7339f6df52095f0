package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"weft/plugins"
	"weft/receipt"
)

// problem is an answer that says no (RFC 9457). Code is stable and means one HTTP status; Detail is for people.
type problem struct {
	Code   string
	Detail string
	Status int // if it is not the code's

	// What some problems add.
	Outcome string
	Place   *placeView
	Receipt []byte
	Checks  []receipt.Check
	Header  [][2]string // such as Retry-After
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

// status is the code's HTTP status; a code of a plugin that no table knows says that the entry breaks a rule: 422.
func (p *problem) status() int {
	if p.Status != 0 {
		return p.Status
	}
	for _, row := range problemCodes() {
		for _, code := range row.codes {
			if code == p.Code {
				return row.status
			}
		}
	}
	return http.StatusUnprocessableEntity
}

// problemRow lists the codes of one HTTP status.
type problemRow struct {
	status int
	codes  []string
}

// problemCodes is the table of api.md, section 4: of the core and of what plugins share.
func problemCodes() []problemRow {
	return []problemRow{
		{400, []string{"bad_json", "not_canonical", "bad_parameter", "bad_cursor", "bad_receipt"}},
		{401, []string{"unauthenticated", "bad_token", "bad_api_key", "challenge_used", "challenge_expired"}},
		{403, []string{"forbidden", "bad_signature", "not_entitled", "not_participant", "right_missing", "not_valid_now",
			"tag_not_allowed", "record_limit", "locked", "owner_only", "refused", "custody_denied", "history_policy", "profile_rule"}},
		{404, []string{"not_found", "unknown_did", "unknown_channel", "unknown_record"}},
		{405, []string{"method_not_allowed"}},
		{406, []string{"not_acceptable"}},
		{408, []string{"slow_request"}},
		{409, []string{"replayed", "in_progress", "name_taken", "wrong_state", "bad_after", "epoch_conflict", "epoch_closed",
			"epoch_unknown", "blob_taken", "blob_incomplete", "not_final"}},
		{410, []string{"erased", "deactivated"}},
		{412, []string{"version_mismatch"}},
		{413, []string{"too_large"}},
		{415, []string{"unsupported_media_type"}},
		{422, []string{"unknown_field", "bad_value", "unknown_kind", "wrong_network", "expired", "clock_skew", "tag_unknown",
			"sealed_in_public", "new_epoch_required", "wrap_target", "limit_reached", "idempotency_mismatch"}},
		{429, []string{"rate_limited", "quota_exceeded"}},
		{500, []string{"internal"}},
		{501, []string{"keys_stay_with_client"}},
		{503, []string{"busy", "behind", "no_quorum", "keystore_locked", "issuer_locked", "not_ready", "shutting_down"}},
	}
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

// problemTitle turns a code into words.
func problemTitle(code string) string {
	words := strings.ReplaceAll(code, "_", " ")
	return strings.ToUpper(words[:1]) + words[1:]
}

// MaxDetailBytes bounds a problem's detail, which may quote the request.
const MaxDetailBytes = 500

func (p *problem) view(path, requestID string) problemView {
	v := problemView{
		Type: "urn:weft:problem:" + p.Code, Title: problemTitle(p.Code), Status: p.status(), Code: p.Code,
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
	if err != nil {
		body = []byte(`{"type":"urn:weft:problem:internal","title":"Internal","status":500,"code":"internal"}`)
	}
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(v.Status)
	_, _ = w.Write(body) // nobody is left to tell
}

// coded is an error that carries a stable code, as those of Node do.
type coded interface {
	error
	ProblemCode() string
}

// problemOf says what an error means to a caller; nil if it is this node's own fault.
func problemOf(err error) *problem {
	var p *problem
	var c coded
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &c):
		return refuseAgain(c.ProblemCode(), err.Error())
	case plugins.Rejected(err) != nil:
		r := plugins.Rejected(err)
		return refuse(r.Code, "%s", r.Detail)
	case errors.Is(err, ErrUnknown):
		return refuse("not_found", "the ledger of this node does not hold it")
	case errors.Is(err, ErrNotFinal):
		return refuse("not_final", "no certified checkpoint covers it yet").with("Retry-After", "1")
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return refuse("slow_request", "the request was given up")
	}
	return nil
}

// refuseAgain is a refusal that may be asked again soon if the code says so.
func refuseAgain(code, detail string) *problem {
	p := &problem{Code: code, Detail: strings.TrimPrefix(detail, code+": ")}
	if p.status() == http.StatusServiceUnavailable {
		p.with("Retry-After", "1")
	}
	return p
}
