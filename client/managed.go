package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"weft/plugins/streams/channel"
	"weft/tangle"
)

// The types and methods of this file are for callers without keys of a DID: a node of their own organisation signs, seals
// and opens for them (managed mode). They send and get plaintext, with an API key of a DID that the node manages.

// ManagedIdentity is a tool that a node acts for.
type ManagedIdentity struct {
	Name   string `json:"name"`
	DID    string `json:"did"`
	Locked bool   `json:"locked"` // the node waits for the passphrase of its keys
}

// ManagedChannel is what a new channel is to be. The node adds the caller itself as the owner.
type ManagedChannel struct {
	Name          string                 `json:"name,omitempty"`
	Description   string                 `json:"description,omitempty"`
	Access        channel.Access         `json:"access,omitempty"`  // private if empty
	Profile       channel.Profile        `json:"profile,omitempty"` // stream if empty
	Status        string                 `json:"status,omitempty"`
	Hidden        bool                   `json:"hidden,omitempty"`
	Visible       []string               `json:"visible,omitempty"` // further DIDs that see a hidden channel
	Topics        []channel.Topic        `json:"topics,omitempty"`
	Tags          []string               `json:"tags,omitempty"`
	Roles         map[string]ManagedRole `json:"roles,omitempty"`
	History       channel.History        `json:"history,omitempty"`
	GraceSeconds  *int                   `json:"graceSeconds,omitempty"`
	RetentionDays *int                   `json:"retentionDays,omitempty"`
	Custody       channel.Custody        `json:"custody,omitempty"`
	Grants        []ManagedGrant         `json:"grants,omitempty"`
}

// ManagedRole is a set of rights by a name.
type ManagedRole struct {
	Rights []string `json:"rights"`
	Tags   []string `json:"tags,omitempty"`
}

// ManagedRequest asks for rights. Note goes to the admins, sealed.
type ManagedRequest struct {
	Rights []string `json:"rights,omitempty"`
	Roles  []string `json:"roles,omitempty"`
	Note   string   `json:"note,omitempty"`
}

// ManagedGrant gives rights; without rights and roles those that the participant has asked for.
type ManagedGrant struct {
	Participant string          `json:"participant"`
	Rights      []string        `json:"rights,omitempty"`
	Roles       []string        `json:"roles,omitempty"`
	Tags        []string        `json:"tags,omitempty"`
	ValidFrom   *time.Time      `json:"validFrom,omitempty"`
	ValidUntil  *time.Time      `json:"validUntil,omitempty"` // exclusive
	MaxRecords  int64           `json:"maxRecords,omitempty"`
	Custody     channel.Custody `json:"custody,omitempty"`   // as asked for, if empty
	Agreement   string          `json:"agreement,omitempty"` // X25519 multikey, of a did:key
}

// ManagedGrants give rights to several at once.
type ManagedGrants struct {
	Grants []ManagedGrant `json:"grants"`
}

// ManagedRevocation takes all rights of participants.
type ManagedRevocation struct {
	Participants []string `json:"participants"`
	Reason       string   `json:"reason,omitempty"`
}

// ManagedRecord is a record in clear: at most one of Text, JSON and Bytes; without any only what is public is written.
type ManagedRecord struct {
	RecordType string          `json:"recordType,omitempty"`
	Tag        string          `json:"tag,omitempty"`
	Topic      *channel.Topic  `json:"topic,omitempty"`
	Public     json.RawMessage `json:"public,omitempty"` // an object that all members see
	Supersedes uint64          `json:"supersedes,omitempty"`
	MediaType  string          `json:"mediaType,omitempty"` // by the kind of content, if empty
	Meta       json.RawMessage `json:"meta,omitempty"`      // an object, sealed beside the content
	Text       *string         `json:"text,omitempty"`
	JSON       json.RawMessage `json:"json,omitempty"`  // any value; kept without white space
	Bytes      *string         `json:"bytes,omitempty"` // base64url, or the other alphabet, with or without padding
}

// ManagedEntry is a record that a node has opened. Code says why there is no content: erased, no_key, no_body, detached (one
// record alone brings it), too_large, or what is wrong with it: bad_record, bad_content.
type ManagedEntry struct {
	Seq         uint64          `json:"seq"`
	Event       uint64          `json:"event"`
	Author      string          `json:"author,omitempty"`
	Time        time.Time       `json:"time"`              // commit time
	Created     *time.Time      `json:"created,omitempty"` // by the author's clock
	Final       bool            `json:"final"`
	Place       Place           `json:"place"`
	EntryHash   tangle.Hash     `json:"entryHash"`
	Head        tangle.Hash     `json:"head"`
	ContentHash *tangle.Hash    `json:"contentHash,omitempty"`
	RecordType  string          `json:"recordType,omitempty"`
	Tag         string          `json:"tag,omitempty"`
	Topic       *channel.Topic  `json:"topic,omitempty"`
	Public      json.RawMessage `json:"public,omitempty"`
	Supersedes  uint64          `json:"supersedes,omitempty"`
	Superseded  []Superseding   `json:"supersededBy,omitempty"`
	Erased      *ErasedMark     `json:"erased,omitempty"`
	Code        string          `json:"code,omitempty"`
	MediaType   string          `json:"mediaType,omitempty"`
	Meta        json.RawMessage `json:"meta,omitempty"`
	Text        *string         `json:"text,omitempty"`
	JSON        json.RawMessage `json:"json,omitempty"`
	Bytes       *string         `json:"bytes,omitempty"` // base64url
}

// ManagedClaim says what a record's content is, in clear or by its hash.
type ManagedClaim struct {
	Seq         uint64          `json:"seq"`
	ContentHash *tangle.Hash    `json:"contentHash,omitempty"`
	Text        *string         `json:"text,omitempty"`
	JSON        json.RawMessage `json:"json,omitempty"`
	Bytes       *string         `json:"bytes,omitempty"`
}

// ManagedDone is what became of an operation that a node made. Its members stand at the top of the answer.
type ManagedDone struct {
	Status      Status       `json:"status"`
	Outcome     string       `json:"outcome,omitempty"`
	Code        string       `json:"code,omitempty"`
	OpHash      string       `json:"opHash"`
	EntryHash   tangle.Hash  `json:"entryHash"`
	MessageID   tangle.ID    `json:"messageId"`
	Place       *Place       `json:"place,omitempty"`
	Time        *time.Time   `json:"time,omitempty"` // commit time
	Channel     channel.ID   `json:"channel"`
	Event       *uint64      `json:"event,omitempty"`
	Seq         uint64       `json:"seq,omitempty"`
	Head        *tangle.Hash `json:"head,omitempty"`
	ContentHash *tangle.Hash `json:"contentHash,omitempty"`
	Receipt     string       `json:"receipt,omitempty"` // base64url
	Skipped     []string     `json:"skipped,omitempty"` // readers that no key could be sealed to, and why

	Replayed bool `json:"-"` // the node had this idempotency key already: nothing new was written
}

func managedRoute(id channel.ID, more ...string) string {
	return route(append([]string{"managed", "channels", id.String()}, more...)...)
}

// ManagedIdentities lists the identity of the caller's key; all of them for administrators.
func (c *Client) ManagedIdentities(ctx context.Context) (l List[ManagedIdentity], err error) {
	err = c.get(ctx, route("managed", "identities"), &l)
	return l, err
}

// CreateManagedChannel makes a channel that the caller's identity owns. It is sent again when the node is busy or silent: the
// key, NewKey if empty, makes that harmless.
func (c *Client) CreateManagedChannel(ctx context.Context, ch ManagedChannel, key string) (ManagedDone, error) {
	return c.manage(ctx, route("managed", "channels"), ch, key)
}

// ManagedChannels lists the channels that the caller's identity may know of.
func (c *Client) ManagedChannels(ctx context.Context, f ChannelFilter, p Page) (l List[Channel], err error) {
	v := p.values()
	f.addTo(v)
	err = c.get(ctx, query(route("managed", "channels"), v), &l)
	return l, err
}

// ManagedChannel reads one; a hidden one with its name.
func (c *Client) ManagedChannel(ctx context.Context, id channel.ID) (ch Channel, err error) {
	err = c.get(ctx, managedRoute(id), &ch)
	return ch, err
}

// RequestManaged asks for rights in a channel.
func (c *Client) RequestManaged(ctx context.Context, id channel.ID, r ManagedRequest, key string) (ManagedDone, error) {
	return c.manage(ctx, managedRoute(id, "requests"), r, key)
}

// GrantManaged gives rights, with the keys that go with them.
func (c *Client) GrantManaged(ctx context.Context, id channel.ID, grants []ManagedGrant, key string) (ManagedDone, error) {
	return c.manage(ctx, managedRoute(id, "grants"), ManagedGrants{grants}, key)
}

// RevokeManaged takes all rights of participants, with a new epoch if one of them reads.
func (c *Client) RevokeManaged(ctx context.Context, id channel.ID, r ManagedRevocation, key string) (ManagedDone, error) {
	return c.manage(ctx, managedRoute(id, "revocations"), r, key)
}

// WriteManaged writes a record and waits until it is final.
func (c *Client) WriteManaged(ctx context.Context, id channel.ID, r ManagedRecord, key string) (ManagedDone, error) {
	return c.manage(ctx, managedRoute(id, "records"), r, key)
}

// manage posts under an idempotency key.
func (c *Client) manage(ctx context.Context, path string, body any, key string) (done ManagedDone, err error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return done, err
	}
	if key == "" {
		key = NewKey()
	}
	a, err := c.do(ctx, call{method: http.MethodPost, path: path, body: raw, key: key})
	if err != nil {
		return done, err
	}
	done.Replayed = a.header.Get("Idempotency-Replayed") == "true"
	return done, decode(path, a.body, &done)
}

// ManagedRecords lists records by seq, opened.
func (c *Client) ManagedRecords(ctx context.Context, id channel.ID, f RecordFilter, p Page) (l List[ManagedEntry], err error) {
	v := p.values()
	f.addTo(v)
	err = c.get(ctx, query(managedRoute(id, "records"), v), &l)
	return l, err
}

// ManagedRecord reads one record, opened.
func (c *Client) ManagedRecord(ctx context.Context, id channel.ID, seq uint64) (e ManagedEntry, err error) {
	err = c.get(ctx, managedRoute(id, "records", strconv.FormatUint(seq, 10)), &e)
	return e, err
}

// ManagedHappening is one event of a channel's live feed.
type ManagedHappening struct {
	ChannelHappening
	Record *ManagedEntry // of an event of name record
}

// FollowManaged is FollowChannel with records in clear.
func (c *Client) FollowManaged(ctx context.Context, id channel.ID, after *uint64, handle func(ManagedHappening) error, told func(error)) error {
	return c.followHappenings(ctx, managedRoute(id, "live"), after, func(h ChannelHappening) error {
		m := ManagedHappening{ChannelHappening: h}
		if h.Name == "record" {
			m.Record = &ManagedEntry{}
			if err := json.Unmarshal(h.Data, m.Record); err != nil {
				return fmt.Errorf("event %s: %w", h.ID, err)
			}
		}
		return handle(m)
	}, told)
}

// ValidateManaged compares content with the ledger, at most MaxClaims.
func (c *Client) ValidateManaged(ctx context.Context, id channel.ID, claims []ManagedClaim) (list []Validated, err error) {
	err = c.post(ctx, managedRoute(id, "validate"), claims, &list)
	return list, err
}
