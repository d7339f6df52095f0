package client

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"weft/plugins/streams/channel"
	"weft/tangle"
)

// Bounds of one request about channels.
const (
	MaxOperationsBytes = 60 << 10 // of the operations of a batch: its JSON must stay below 64 KiB
	MaxClaims          = 500      // of ValidateRecords
	MaxPage            = 200      // items of a list
)

// Channel is a channel as a node shows it to the caller. What a hidden one is called stands in SealedProfile. A list leaves
// out what only GET of one channel says.
type Channel struct {
	ID            channel.ID              `json:"channel"`
	Owner         string                  `json:"owner"`
	Creator       string                  `json:"creator,omitempty"`
	Created       *time.Time              `json:"created,omitempty"` // commit time
	Access        channel.Access          `json:"access"`
	Profile       channel.Profile         `json:"profile"`
	Hidden        bool                    `json:"hidden,omitempty"`
	Name          string                  `json:"name,omitempty"`
	Description   string                  `json:"description,omitempty"`
	Status        string                  `json:"status,omitempty"`
	Topics        []channel.Topic         `json:"topics,omitempty"`
	SealedProfile string                  `json:"sealedProfile,omitempty"`
	ProfileActor  string                  `json:"profileActor,omitempty"` // who sealed it: its key needs actor and nonce
	ProfileNonce  string                  `json:"profileNonce,omitempty"` // base64url
	ProfileWraps  []ChannelWrap           `json:"profileWraps,omitempty"` // of epoch 0, the caller's
	Archived      bool                    `json:"archived,omitempty"`
	Tags          []string                `json:"tags,omitempty"`
	Roles         map[string]channel.Role `json:"roles,omitempty"`
	History       channel.History         `json:"history,omitempty"`
	GraceSeconds  int                     `json:"graceSeconds,omitempty"`
	RetentionDays int                     `json:"retentionDays,omitempty"` // 0: for ever
	Custody       channel.Custody         `json:"custody,omitempty"`
	Lock          channel.LockMode        `json:"lock,omitempty"`
	LockUntil     *time.Time              `json:"lockUntil,omitempty"`
	Epoch         uint32                  `json:"epoch,omitempty"` // current; 0 in a public channel
	PublicKey     string                  `json:"publicKey,omitempty"`
	LastEvent     uint64                  `json:"lastEvent"`
	LastSeq       uint64                  `json:"lastSeq"`
	Head          tangle.Hash             `json:"head"` // at LastEvent
	LastRecordAt  *time.Time              `json:"lastRecordAt,omitempty"`
	RekeyDue      bool                    `json:"rekeyDue,omitempty"`
	State         channel.State           `json:"state,omitempty"`  // the caller's
	Rights        channel.Rights          `json:"rights,omitempty"` // the caller's, now
	Admins        []string                `json:"admins,omitempty"` // only if they are asked for
}

// ChannelFilter picks channels; zero fields do not filter.
type ChannelFilter struct {
	Text                    string // substring of name or description
	Owner, Participant      string // DIDs
	RequestedBy             string
	Access, Profile, Status string
	TopicType, TopicSource  string
	CreatedFrom, CreatedTo  time.Time
	ActiveAfter             time.Time
	Archived                bool // also these
	Visible                 bool // only those that are not hidden
}

func (f ChannelFilter) addTo(v url.Values) {
	texts(v, map[string]string{
		"q": f.Text, "owner": f.Owner, "participant": f.Participant, "requestedBy": f.RequestedBy, "access": f.Access,
		"profile": f.Profile, "status": f.Status, "topicType": f.TopicType, "topicSource": f.TopicSource,
	})
	times(v, map[string]time.Time{"createdFrom": f.CreatedFrom, "createdTo": f.CreatedTo, "activeAfter": f.ActiveAfter})
	if f.Archived {
		v.Set("archived", "true")
	}
	if f.Visible {
		v.Set("hidden", "false")
	}
}

// texts, times and numbers add the parameters that are not empty.
func texts(v url.Values, list map[string]string) {
	for name, value := range list {
		if value != "" {
			v.Set(name, value)
		}
	}
}

func times(v url.Values, list map[string]time.Time) {
	for name, t := range list {
		if !t.IsZero() {
			v.Set(name, t.UTC().Format(time.RFC3339Nano))
		}
	}
}

func numbers(v url.Values, list map[string]uint64) {
	for name, n := range list {
		if n != 0 {
			v.Set(name, strconv.FormatUint(n, 10))
		}
	}
}

// Channels lists the channels that the caller may know of.
func (c *Client) Channels(ctx context.Context, f ChannelFilter, p Page) (l List[Channel], err error) {
	v := p.values()
	f.addTo(v)
	err = c.get(ctx, query(route("channels"), v), &l)
	return l, err
}

// Channel reads one.
func (c *Client) Channel(ctx context.Context, id channel.ID) (ch Channel, err error) {
	err = c.get(ctx, channelRoute(id), &ch)
	return ch, err
}

// ChannelAdmins are DIDs that may authorize, at most 16; of a hidden channel none are told.
func (c *Client) ChannelAdmins(ctx context.Context, id channel.ID) ([]string, error) {
	var ch Channel
	err := c.get(ctx, query(channelRoute(id), url.Values{"admins": {"true"}}), &ch)
	return ch.Admins, err
}

func channelRoute(id channel.ID, more ...string) string {
	return route(append([]string{"channels", id.String()}, more...)...)
}

// BatchResult is what became of one operation of a batch: Operated, or the Problem.
type BatchResult struct {
	Operated
	Problem *Problem
}

// UnmarshalJSON takes a problem in place of a state, or inside "problem".
func (r *BatchResult) UnmarshalJSON(raw []byte) error {
	var either struct {
		Problem *Problem `json:"problem"`
		Type    string   `json:"type"`
	}
	if err := json.Unmarshal(raw, &either); err != nil {
		return err
	}
	if r.Problem = either.Problem; r.Problem != nil {
		return nil
	}
	if either.Type != "" {
		r.Problem = &Problem{}
		return json.Unmarshal(raw, r.Problem)
	}
	return json.Unmarshal(raw, &r.Operated)
}

// Err is the refusal of one operation, or nil.
func (r BatchResult) Err() error {
	switch {
	case r.Problem != nil:
		return r.Problem
	case r.Outcome == "rejected":
		return &Problem{Status: http.StatusConflict, Code: r.Code, Title: "the ledger rejected the operation at its place", Outcome: r.Outcome, Place: r.Place}
	}
	return nil
}

// SubmitOperations publishes 1 to MaxBatch operations of one channel in one request, of at most MaxOperationsBytes in all;
// there is one result for each, in their order. It is sent again when the node is busy or silent: operations are idempotent.
func (c *Client) SubmitOperations(ctx context.Context, id channel.ID, operations [][]byte, o OperationOptions) ([]BatchResult, error) {
	if len(operations) == 0 || len(operations) > MaxBatch {
		return nil, fmt.Errorf("%d operations in one request: want 1 to %d", len(operations), MaxBatch)
	}
	path := query(channelRoute(id, "operations"), Options{Final: o.Final}.query())
	a, err := c.do(ctx, call{method: http.MethodPost, path: path, body: slicesOfJSON(operations)})
	if err != nil {
		return nil, err
	}
	return resultsOf(a, path, len(operations))
}

func resultsOf(a answer, path string, want int) ([]BatchResult, error) {
	var list struct {
		Results []BatchResult `json:"results"`
	}
	if err := decode(path, a.body, &list); err != nil {
		return nil, err
	}
	if len(list.Results) != want {
		return nil, fmt.Errorf("answer to %s has %d results for %d operations", path, len(list.Results), want)
	}
	return list.Results, nil
}

// OperationStates asks what became of 1 to MaxBatch operations that were handed over, by their hashes: there is one result for
// each. One that the node does not know is a problem with the code unknown_operation.
func (c *Client) OperationStates(ctx context.Context, id channel.ID, hashes []string, o OperationOptions) ([]BatchResult, error) {
	v := Options{Final: o.Final}.query()
	v.Set("hashes", strings.Join(hashes, ","))
	path := query(channelRoute(id, "operations"), v)
	a, err := c.do(ctx, call{method: http.MethodGet, path: path, stale: true})
	if err != nil {
		return nil, err
	}
	return resultsOf(a, path, len(hashes))
}

// slicesOfJSON keeps every operation as it is: encoding/json would write some characters otherwise.
func slicesOfJSON(operations [][]byte) []byte {
	body := []byte(`{"operations":[`)
	body = append(body, bytes.Join(operations, []byte(","))...)
	return append(body, "]}"...)
}

// ChannelDraft is an unsigned operation that a node has built. Clients that can should build it themselves.
type ChannelDraft struct {
	Channel   channel.ID      `json:"channel"`
	Operation json.RawMessage `json:"operation"`
	OpHash    string          `json:"opHash"`
	ToSign    []DraftToSign   `json:"toSign,omitempty"`
	Summary   string          `json:"summary,omitempty"`
}

// DraftChannel asks the node to build an operation from intent. The node cannot seal.
func (c *Client) DraftChannel(ctx context.Context, id channel.ID, intent any) (d ChannelDraft, err error) {
	err = c.post(ctx, channelRoute(id, "drafts"), intent, &d)
	return d, err
}

// ChannelEvent is an accepted operation at its place. Operation is its JSON, which may have lost its canonical form on the
// way; it is absent once its body is erased or the caller may not see it.
type ChannelEvent struct {
	Event      uint64          `json:"event"`
	Seq        uint64          `json:"seq,omitempty"` // of a record
	Op         channel.Op      `json:"op"`
	Actor      string          `json:"actor,omitempty"`
	Place      Place           `json:"place"`
	Time       time.Time       `json:"time"` // commit time
	Final      bool            `json:"final"`
	Head       tangle.Hash     `json:"head"`
	EntryHash  tangle.Hash     `json:"entryHash"`
	Operation  json.RawMessage `json:"operation,omitempty"`
	Superseded []Superseding   `json:"supersededBy,omitempty"`
	Erased     *ErasedMark     `json:"erased,omitempty"`
	HeldBy     []tangle.Member `json:"heldBy,omitempty"` // members that have the blob
	Skew       int64           `json:"skewSeconds,omitempty"`
}

// ChannelRecord is the event of a write.
type ChannelRecord = ChannelEvent

// Superseding is a correction of a record.
type Superseding struct {
	Seq    uint64 `json:"seq"`
	Author string `json:"author,omitempty"`
}

// UnmarshalJSON also takes the seq alone.
func (s *Superseding) UnmarshalJSON(raw []byte) error {
	if json.Unmarshal(raw, &s.Seq) == nil {
		return nil
	}
	type plain Superseding
	return json.Unmarshal(raw, (*plain)(s))
}

// ErasedMark says that a record is erased.
type ErasedMark struct {
	Event  uint64     `json:"event,omitempty"`
	By     string     `json:"by,omitempty"`
	Reason string     `json:"reason,omitempty"`
	Time   *time.Time `json:"time,omitempty"`
}

// UnmarshalJSON also takes a bare true.
func (e *ErasedMark) UnmarshalJSON(raw []byte) error {
	var is bool
	if json.Unmarshal(raw, &is) == nil {
		return nil
	}
	type plain ErasedMark
	return json.Unmarshal(raw, (*plain)(e))
}

// EventFilter picks events. After is the last one not wanted: a nil one begins at event 0.
type EventFilter struct {
	After *uint64
	To    uint64 // last one; 0: no end
	Op    channel.Op
}

// ChannelEvents lists accepted operations in their order: what the hash chain of a channel is made of.
func (c *Client) ChannelEvents(ctx context.Context, id channel.ID, f EventFilter, p Page) (l List[ChannelEvent], err error) {
	v := p.values()
	if f.After != nil {
		v.Set("after", strconv.FormatUint(*f.After, 10))
	}
	texts(v, map[string]string{"op": string(f.Op)})
	numbers(v, map[string]uint64{"to": f.To})
	err = c.get(ctx, query(channelRoute(id, "events"), v), &l)
	return l, err
}

// RecordFilter picks records; zero fields do not filter.
type RecordFilter struct {
	From, To               uint64 // seq
	Type, Tag              string
	TopicType, TopicSource string
	Author                 string
	TimeFrom, TimeTo       time.Time
	Contains               string // in the public part
}

func (f RecordFilter) addTo(v url.Values) {
	texts(v, map[string]string{
		"type": f.Type, "tag": f.Tag, "topicType": f.TopicType, "topicSource": f.TopicSource, "author": f.Author, "contains": f.Contains,
	})
	numbers(v, map[string]uint64{"from": f.From, "to": f.To})
	times(v, map[string]time.Time{"timeFrom": f.TimeFrom, "timeTo": f.TimeTo})
}

// ChannelRecords lists records by seq.
func (c *Client) ChannelRecords(ctx context.Context, id channel.ID, f RecordFilter, p Page) (l List[ChannelRecord], err error) {
	v := p.values()
	f.addTo(v)
	err = c.get(ctx, query(channelRoute(id, "records"), v), &l)
	return l, err
}

// ChannelRecord reads one record.
func (c *Client) ChannelRecord(ctx context.Context, id channel.ID, seq uint64) (r ChannelRecord, err error) {
	err = c.get(ctx, channelRoute(id, "records", strconv.FormatUint(seq, 10)), &r)
	return r, err
}

// Subscription is where a DID stands in a channel.
type Subscription struct {
	DID        string         `json:"did"`
	State      channel.State  `json:"state"`
	Event      uint64         `json:"event"` // of its last change
	Time       *time.Time     `json:"time,omitempty"`
	Grant      *ChannelGrant  `json:"grant,omitempty"`
	Asked      *channel.Asked `json:"asked,omitempty"`  // while requested
	Rights     channel.Rights `json:"rights,omitempty"` // now
	KeyMissing bool           `json:"keyMissing,omitempty"`
	Rejections int            `json:"rejections,omitempty"`
}

// ChannelGrant is what a participant may do.
type ChannelGrant struct {
	Rights     channel.Rights  `json:"rights"`
	Roles      []string        `json:"roles,omitempty"`
	Tags       []string        `json:"tags,omitempty"`
	ValidFrom  *time.Time      `json:"validFrom,omitempty"`
	ValidUntil *time.Time      `json:"validUntil,omitempty"` // exclusive
	MaxRecords int64           `json:"maxRecords,omitempty"`
	Custody    channel.Custody `json:"custody,omitempty"`
	Agreement  string          `json:"agreement,omitempty"` // X25519 multikey, of a did:key
}

// Subscriptions lists participants and requests: all for admins and auditors, else the caller's own. An empty state is any.
func (c *Client) Subscriptions(ctx context.Context, id channel.ID, state channel.State, p Page) (l List[Subscription], err error) {
	v := p.values()
	texts(v, map[string]string{"state": string(state)})
	err = c.get(ctx, query(channelRoute(id, "subscriptions"), v), &l)
	return l, err
}

// Subscription reads one.
func (c *Client) Subscription(ctx context.Context, id channel.ID, did string) (s Subscription, err error) {
	err = c.get(ctx, channelRoute(id, "subscriptions", did), &s)
	return s, err
}

// ChannelEpoch is an epoch with the caller's wraps of its key. Number 0 is that of a hidden channel's profile, which has
// wraps alone.
type ChannelEpoch struct {
	Number    uint32        `json:"number"`
	Commit    tangle.Hash   `json:"commit"`
	PublicKey string        `json:"publicKey"`          // base64url
	Previous  string        `json:"previous,omitempty"` // base64url
	Event     uint64        `json:"event"`              // that opened it
	Seq       uint64        `json:"seq,omitempty"`      // of the last record before it
	Wraps     []ChannelWrap `json:"wraps,omitempty"`
}

// ChannelWrap is an epoch key sealed to one key of a reader.
type ChannelWrap struct {
	To         string `json:"to"`
	Ciphertext string `json:"ct"` // base64url
}

// ChannelKeys lists epochs from a number on.
func (c *Client) ChannelKeys(ctx context.Context, id channel.ID, from uint32, p Page) (l List[ChannelEpoch], err error) {
	v := p.values()
	numbers(v, map[string]uint64{"from": uint64(from)})
	err = c.get(ctx, query(channelRoute(id, "keys"), v), &l)
	return l, err
}

// Claim says what a record's content hashes to.
type Claim struct {
	Seq         uint64      `json:"seq"`
	ContentHash tangle.Hash `json:"contentHash"`
}

// Validated is the verdict on a claim. Code is ok, hash_mismatch, not_found or erased.
type Validated struct {
	Seq    uint64     `json:"seq"`
	Valid  bool       `json:"valid"`
	Code   string     `json:"code"`
	Author string     `json:"author,omitempty"`
	Time   *time.Time `json:"time,omitempty"`
	Place  *Place     `json:"place,omitempty"`
}

// ValidateRecords compares hashes of content with the ledger, at most MaxClaims. Content itself is never sent.
func (c *Client) ValidateRecords(ctx context.Context, id channel.ID, claims []Claim) ([]Validated, error) {
	path := channelRoute(id, "validate")
	a, err := c.exchange(ctx, http.MethodPost, path, claims)
	if err != nil {
		return nil, err
	}
	var list []Validated
	if json.Unmarshal(a.body, &list) == nil {
		return list, nil
	}
	var wrapped struct {
		Items   []Validated `json:"items"`
		Results []Validated `json:"results"`
	}
	err = decode(path, a.body, &wrapped)
	return append(wrapped.Items, wrapped.Results...), err
}

// ExportChannel writes the evidence bundle, a ZIP file, as it comes: all events up to one; 0 is the newest. What was written
// counts only if the error is nil. It is not sent again: a part is written already.
func (c *Client) ExportChannel(ctx context.Context, id channel.ID, to uint64, w io.Writer) (int64, error) {
	v := url.Values{}
	numbers(v, map[string]uint64{"to": to})
	return c.download(ctx, query(channelRoute(id, "export"), v), "application/zip", "", w)
}

// download copies an answer that is too large for memory.
func (c *Client) download(ctx context.Context, path, accept, span string, w io.Writer) (int64, error) {
	response, err := c.open(ctx, call{method: http.MethodGet, path: path, accept: accept, span: span})
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	if response.StatusCode >= http.StatusBadRequest {
		body, _ := io.ReadAll(io.LimitReader(response.Body, MaxEventBytes))
		return 0, newProblem(answer{response.StatusCode, response.Header, body})
	}
	if span != "" && response.StatusCode != http.StatusPartialContent {
		return 0, fmt.Errorf("answer to %s is not the part that was asked for", path)
	}
	n, err := io.Copy(w, response.Body)
	if err != nil {
		err = &unreachableError{err}
	}
	return n, err
}

// Erasure is the proof that a record is erased: the receipt of the tombstone, and what nodes have stated.
type Erasure struct {
	Seq        uint64             `json:"seq"`
	Event      uint64             `json:"eraseEvent"`
	By         string             `json:"by"`
	Reason     string             `json:"reason"`
	Time       *time.Time         `json:"time"`
	Receipt    string             `json:"receipt"` // base64url
	Statements []ErasureStatement `json:"statements"`
	Unanswered []tangle.Member    `json:"unanswered,omitempty"`
	Raw        json.RawMessage    `json:"-"` // all the node said
}

// ErasureStatement is a member's word that it has deleted a record.
type ErasureStatement struct {
	Channel   channel.ID    `json:"channel"`
	Seq       uint64        `json:"seq"`
	Root      string        `json:"root,omitempty"`      // of a payload beside the ledger
	EntryHash string        `json:"entryHash,omitempty"` // of a body in its entry
	Event     uint64        `json:"eraseEvent"`
	ErasedAt  *time.Time    `json:"erasedAt,omitempty"`
	Held      bool          `json:"held"`
	Member    tangle.Member `json:"member"`
	Signature string        `json:"signature"`
}

// Erasure reads the erasure receipt of a record.
func (c *Client) Erasure(ctx context.Context, id channel.ID, seq uint64) (e Erasure, err error) {
	err = c.get(ctx, channelRoute(id, "records", strconv.FormatUint(seq, 10), "erasure"), &e.Raw)
	if err != nil {
		return e, err
	}
	return e, decode("erasure", e.Raw, &e)
}

// All reads a list to its end, page by page, and hands over each item.
func All[T any](ctx context.Context, p Page, list func(context.Context, Page) (List[T], error), each func(T) error) error {
	p.Limit = cmp.Or(p.Limit, MaxPage)
	for {
		l, err := list(ctx, p)
		if err != nil {
			return err
		}
		for _, item := range l.Items {
			if err := each(item); err != nil {
				return err
			}
		}
		if l.Next == "" || l.Next == p.Cursor {
			return nil
		}
		p.Cursor = l.Next
	}
}
