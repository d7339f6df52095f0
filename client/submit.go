package client

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"weft/tangle"
)

// Entry is what a caller asks the node to publish under its member's signature.
type Entry struct {
	Kind Kind            `json:"kind"`
	Data json.RawMessage `json:"data"` // {tag, bytes} of kind data, else a string of base64url
}

// DataEntry is an entry of the core's own kind: tagged bytes.
func DataEntry(tag string, data []byte) (Entry, error) {
	b, err := json.Marshal(struct {
		Tag   string `json:"tag"`
		Bytes string `json:"bytes"`
	}{tag, base64.RawURLEncoding.EncodeToString(data)})
	return Entry{Kind: KindData, Data: b}, err
}

// RawEntry is an entry of a plugin's kind.
func RawEntry(kind tangle.Kind, data []byte) Entry {
	text := make([]byte, 0, base64.RawURLEncoding.EncodedLen(len(data))+2)
	text = append(base64.RawURLEncoding.AppendEncode(append(text, '"'), data), '"')
	return Entry{Kind: Kind(strconv.Itoa(int(kind))), Data: text}
}

// Options of a submission; the zero value submits without waiting.
type Options struct {
	Final time.Duration // wait this long for finality, at most MaxWait; 0: do not wait
	Key   string        // idempotency key, 8 to 64 characters; made up if empty

	// Receipts asks for the receipts of all entries that are final; a single one that was waited for has its in any case.
	Receipts bool
}

// MaxWait is the longest wait for finality that a node grants.
const MaxWait = 30 * time.Second

// Status says how far an entry has come: pending, ordered, final or expired.
type Status string

// The statuses of an entry.
const (
	Pending Status = "pending"
	Ordered Status = "ordered"
	Final   Status = "final"
	Expired Status = "expired"
)

// Submitted is the node's answer to a submission.
type Submitted struct {
	Status    Status           `json:"status"` // the least of its entries
	MessageID tangle.ID        `json:"messageId"`
	Entries   []SubmittedEntry `json:"entries"`

	Replayed bool `json:"-"` // the node had this idempotency key already: nothing new was published
}

// SubmittedEntry is one entry's state at the time of the answer.
type SubmittedEntry struct {
	EntryHash tangle.Hash `json:"entryHash"`
	Status    Status      `json:"status"`
	MessageID tangle.ID   `json:"messageId"`
	Outcome   string      `json:"outcome,omitempty"` // accepted or rejected, from ordered on
	Code      string      `json:"code,omitempty"`    // of a rejection
	Place     *Place      `json:"place,omitempty"`
	Time      *time.Time  `json:"time,omitempty"`    // commit time
	Receipt   string      `json:"receipt,omitempty"` // base64url
}

// NewKey makes an idempotency key.
func NewKey() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// Submit publishes 1 to MaxBatch entries in one request. It is sent again when the node is busy or silent: the
// idempotency key makes that harmless. When the wait for finality runs out the answer is Pending or Ordered, not an error.
func (c *Client) Submit(ctx context.Context, entries []Entry, o Options) (Submitted, error) {
	var s Submitted
	if len(entries) == 0 || len(entries) > MaxBatch {
		return s, fmt.Errorf("%d entries in one request: want 1 to %d", len(entries), MaxBatch)
	}
	body, err := json.Marshal(struct {
		Entries []Entry `json:"entries"`
	}{entries})
	if err != nil {
		return s, err
	}
	if o.Key == "" {
		o.Key = NewKey()
	}
	a, err := c.do(ctx, call{method: http.MethodPost, path: query("/api/v1/messages", o.query()), body: body, key: o.Key})
	if err != nil {
		return s, err
	}
	s.Replayed = a.header.Get("Idempotency-Replayed") == "true"
	return s, decode("/api/v1/messages", a.body, &s)
}

func (o Options) query() url.Values {
	v := url.Values{}
	if o.Final > 0 {
		v.Set("wait", "final")
		v.Set("timeout", min(o.Final, MaxWait).String())
	}
	if o.Receipts {
		v.Set("receipts", "true")
	}
	return v
}
