package client

import (
	"context"
	"encoding/json"
	"maps"
	"net/url"
	"strconv"
	"time"

	"weft/tangle"
)

// AsOf says how far the node had come when it answered.
type AsOf struct {
	Position tangle.Position `json:"position"` // positions applied
	Final    tangle.Position `json:"final"`    // size of the newest certified checkpoint
	Time     *time.Time      `json:"time"`     // its commit time; nil before anything is final
}

// Message is a vertex of the Tangle as the node shows it.
type Message struct {
	ID       tangle.ID        `json:"id"`
	Class    string           `json:"class"` // entries or witness
	Epoch    tangle.Epoch     `json:"epoch"`
	Author   tangle.Member    `json:"author"`
	Seq      tangle.Seq       `json:"seq"`
	Time     time.Time        `json:"time"` // the author's claim
	Parents  []tangle.ID      `json:"parents"`
	Round    tangle.Round     `json:"round,omitempty"` // of a witness
	Size     int              `json:"size"`
	Status   Status           `json:"status"`
	Final    bool             `json:"final"`
	Commit   uint64           `json:"commit,omitempty"`
	Position *tangle.Position `json:"position,omitempty"`
	Ordered  *time.Time       `json:"commitTime,omitempty"`
	Entries  []EntryInfo      `json:"entries"`
}

// EntryInfo is an entry without its data.
type EntryInfo struct {
	EntryHash tangle.Hash `json:"entryHash"`
	Index     int         `json:"index"`
	Kind      Kind        `json:"kind"`
	Size      int         `json:"size"`
	Tag       string      `json:"tag,omitempty"`
	Outcome   string      `json:"outcome,omitempty"`
	Code      string      `json:"code,omitempty"`
	Erased    bool        `json:"erased,omitempty"`
}

// EntryRecord is an entry with everything the node knows of it.
type EntryRecord struct {
	EntryHash tangle.Hash     `json:"entryHash"`
	MessageID tangle.ID       `json:"messageId"`
	Author    tangle.Member   `json:"author"`
	Kind      Kind            `json:"kind"`
	Status    Status          `json:"status"`
	Final     bool            `json:"final"`
	Outcome   string          `json:"outcome,omitempty"`
	Code      string          `json:"code,omitempty"`
	Place     *Place          `json:"place,omitempty"`
	Time      *time.Time      `json:"time,omitempty"`
	Tag       string          `json:"tag,omitempty"`
	Data      json.RawMessage `json:"data,omitempty"`
}

// Kind is an entry's kind by name, or by number where it has none. In JSON it is a string or a number accordingly.
type Kind string

// KindData is the core's own kind: tagged bytes.
const KindData Kind = "data"

// MarshalJSON writes numbers as such.
func (k Kind) MarshalJSON() ([]byte, error) {
	if _, err := strconv.ParseUint(string(k), 10, 16); err == nil {
		return []byte(k), nil
	}
	return json.Marshal(string(k))
}

// UnmarshalJSON takes "data" as well as 1.
func (k *Kind) UnmarshalJSON(b []byte) error {
	var name string
	if json.Unmarshal(b, &name) == nil {
		*k = Kind(name)
		return nil
	}
	var number uint16
	err := json.Unmarshal(b, &number)
	*k = Kind(strconv.Itoa(int(number)))
	return err
}

// List is one page of a list.
type List[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next"` // cursor of the next page; empty at the end
	AsOf  AsOf   `json:"asOf"`
}

// Page asks for one page of a list.
type Page struct {
	Limit  int    // 0: the node's default
	Cursor string // from List.Next
	Order  string // asc or desc; the node's default if empty
}

func (p Page) values() url.Values {
	v := url.Values{}
	set := func(name, value string) {
		if value != "" {
			v.Set(name, value)
		}
	}
	if p.Limit > 0 {
		v.Set("limit", strconv.Itoa(p.Limit))
	}
	set("cursor", p.Cursor)
	set("order", p.Order)
	return v
}

// Message reads one message.
func (c *Client) Message(ctx context.Context, id tangle.ID) (m Message, err error) {
	err = c.get(ctx, "/api/v1/messages/"+id.String(), &m)
	return m, err
}

// MessageBytes reads a message in its canonical encoding.
func (c *Client) MessageBytes(ctx context.Context, id tangle.ID) ([]byte, error) {
	return c.raw(ctx, "/api/v1/messages/"+id.String(), "application/octet-stream")
}

// MessageFilter picks messages; zero fields do not filter.
type MessageFilter struct {
	Member   tangle.Member
	Kind     Kind
	Tag      string
	From, To tangle.Position // positions in [From, To); To 0: no end
}

func (f MessageFilter) values() url.Values {
	v := url.Values{}
	if f.Member != (tangle.Member{}) {
		v.Set("member", f.Member.String())
	}
	if f.Kind != "" {
		v.Set("kind", string(f.Kind))
	}
	if f.Tag != "" {
		v.Set("tag", f.Tag)
	}
	if f.From > 0 {
		v.Set("from", strconv.FormatUint(uint64(f.From), 10))
	}
	if f.To > 0 {
		v.Set("to", strconv.FormatUint(uint64(f.To), 10))
	}
	return v
}

// Messages lists messages by position.
func (c *Client) Messages(ctx context.Context, f MessageFilter, p Page) (l List[Message], err error) {
	v := f.values()
	maps.Copy(v, p.values())
	err = c.get(ctx, query("/api/v1/messages", v), &l)
	return l, err
}

// Parents lists the messages that one refers to.
func (c *Client) Parents(ctx context.Context, id tangle.ID, p Page) (l List[Message], err error) {
	err = c.get(ctx, query("/api/v1/messages/"+id.String()+"/parents", p.values()), &l)
	return l, err
}

// Children lists the messages that refer to one.
func (c *Client) Children(ctx context.Context, id tangle.ID, p Page) (l List[Message], err error) {
	err = c.get(ctx, query("/api/v1/messages/"+id.String()+"/children", p.values()), &l)
	return l, err
}

// AtPosition reads the message at a place in the order.
func (c *Client) AtPosition(ctx context.Context, p tangle.Position) (m Message, err error) {
	err = c.get(ctx, "/api/v1/positions/"+strconv.FormatUint(uint64(p), 10), &m)
	return m, err
}

// Entry reads one entry.
func (c *Client) Entry(ctx context.Context, h tangle.Hash) (e EntryRecord, err error) {
	err = c.get(ctx, "/api/v1/entries/"+h.String(), &e)
	return e, err
}

// Receipt fetches an entry's receipt. Check it with receipt.Verify: nothing a node says about its own receipts counts.
func (c *Client) Receipt(ctx context.Context, h tangle.Hash) ([]byte, error) {
	return c.raw(ctx, "/api/v1/entries/"+h.String()+"/receipt", "application/octet-stream")
}

func query(path string, v url.Values) string {
	if len(v) == 0 {
		return path
	}
	return path + "?" + v.Encode()
}
