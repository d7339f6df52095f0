package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"weft/client"
	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/streams/channel"
	"weft/tangle"
)

// Entry is a record as its reader sees it. Code says why there is no content: erased, no_key, detached (OpenBlob gets it),
// no_body, or what is wrong with it: bad_record, bad_content.
type Entry struct {
	client.ChannelRecord
	Signed  *channel.Operation // nil: it is not there any more
	Content *channel.Content
	Code    string
	Fault   error
}

// OpenRecord opens a record: its signature, its header, and an inline body if this identity has the key.
func (c *Channel) OpenRecord(ctx context.Context, r client.ChannelRecord) Entry {
	e := Entry{ChannelRecord: r}
	op, err := c.decode(r)
	switch {
	case r.Erased != nil || errors.Is(err, errGone):
		e.Code = "erased"
		return e
	case err == nil && (op.Op != channel.Write || r.Actor != "" && r.Actor != op.Actor):
		err = errors.New("the operation is not the one that the node speaks of")
	}
	if err != nil {
		e.Code, e.Fault = "bad_record", err
		return e
	}
	e.Signed, e.Actor = op, op.Actor
	switch body := op.Record.Body; {
	case body == nil:
		e.Code = "no_body"
		return e
	case body.Blob != nil:
		e.Code = "detached"
		return e
	}
	key, ok := c.keyOf(ctx, op.Record.Epoch)
	if !ok {
		e.Code = "no_key"
		return e
	}
	content, err := channel.Open(key, op)
	if err != nil {
		e.Code, e.Fault = codeOf(err), err
		return e
	}
	e.Content = &content
	return e
}

func codeOf(err error) string {
	if r := plugins.Rejected(err); r != nil {
		return r.Code
	}
	return "bad_content"
}

// keyOf is the key of an epoch; one that has begun since the channel was read is fetched.
func (c *Channel) keyOf(ctx context.Context, epoch uint32) (channel.Key, bool) {
	if _, ok := c.Keys[epoch]; !ok && epoch > c.Info.Epoch {
		_ = c.Refresh(ctx) // without an answer the key is missing, which is what the record says then
	}
	key, ok := c.Keys[epoch]
	return key, ok || epoch == 0
}

// Records visits records by seq, opened. Order asc or desc is the page's.
func (c *Channel) Records(ctx context.Context, f client.RecordFilter, p client.Page, each func(Entry) error) error {
	return client.All(ctx, p, func(ctx context.Context, p client.Page) (l client.List[client.ChannelRecord], err error) {
		err = c.ask(ctx, func(node *client.Client) (err error) {
			l, err = node.ChannelRecords(ctx, c.ID, f, p)
			return err
		})
		return l, err
	}, func(r client.ChannelRecord) error { return each(c.OpenRecord(ctx, r)) })
}

// Record reads one record.
func (c *Channel) Record(ctx context.Context, seq uint64) (e Entry, err error) {
	err = c.ask(ctx, func(node *client.Client) error {
		r, err := node.ChannelRecord(ctx, c.ID, seq)
		if err == nil {
			e = c.OpenRecord(ctx, r)
		}
		return err
	})
	return e, err
}

// OpenBlob fetches a detached body chunk by chunk, and writes its payload as it goes: what was written counts only if the
// error is nil.
func (c *Channel) OpenBlob(ctx context.Context, e Entry, w io.Writer) (channel.Content, error) {
	if e.Signed == nil || e.Signed.Record.Body == nil || e.Signed.Record.Body.Blob == nil {
		return channel.Content{}, fmt.Errorf("record %d has no detached body", e.Seq)
	}
	key, ok := c.keyOf(ctx, e.Signed.Record.Epoch)
	if !ok {
		return channel.Content{}, fmt.Errorf("record %d: no key of epoch %d: %w", e.Seq, e.Signed.Record.Epoch, ErrNoKey)
	}
	root := e.Signed.Record.Body.Blob.Root
	return channel.OpenBlob(key, e.Signed, func(n int) (chunk []byte, err error) {
		err = c.ask(ctx, func(node *client.Client) (err error) {
			chunk, err = node.Chunk(ctx, c.ID, root, n)
			return err
		})
		return chunk, err
	}, w)
}

// Follow delivers what becomes final, for as long as ctx lasts; it logs in again when a token ends.
func (c *Channel) Follow(ctx context.Context, after *uint64, handle func(client.ChannelHappening) error, told func(error)) error {
	last := after
	for {
		err := c.ask(ctx, func(node *client.Client) error {
			return node.FollowChannel(ctx, c.ID, last, func(h client.ChannelHappening) error {
				if err := handle(h); err != nil {
					return err
				}
				if h.ID != "" {
					n := h.Event.Event
					last = &n
				}
				return nil
			}, told)
		})
		if client.ProblemCode(err) != "token_expired" || ctx.Err() != nil {
			return err
		}
		if told != nil {
			told(err)
		}
	}
}

// Events visits all events from 0 on, and holds what needs no trust in the node: that the numbers have no gap, that the heads
// follow from one another, and that what the signers have seen is what the node shows. The last event that a signature
// names is returned: up to it nothing was left out, added or moved. Where history does not let this reader see everything
// there are gaps, and each part is held by itself.
func (c *Channel) Events(ctx context.Context, each func(client.ChannelEvent, *channel.Operation) error) (covered uint64, err error) {
	heads := map[uint64]tangle.Hash{}
	err = client.All(ctx, client.Page{}, func(ctx context.Context, p client.Page) (l client.List[client.ChannelEvent], err error) {
		err = c.ask(ctx, func(node *client.Client) (err error) {
			l, err = node.ChannelEvents(ctx, c.ID, client.EventFilter{}, p)
			return err
		})
		return l, err
	}, func(e client.ChannelEvent) error {
		op, err := c.decode(e)
		if errors.Is(err, errGone) {
			op, err = nil, nil
		}
		if err == nil {
			err = c.link(heads, e)
		}
		if err == nil && op != nil && op.Op != channel.Create {
			if head, shown := heads[op.After.Event]; op.After.Event >= e.Event || shown && head != op.After.Head {
				err = fmt.Errorf("broken_chain: the signer of event %d has seen another event %d", e.Event, op.After.Event)
			}
			covered = max(covered, op.After.Event)
		}
		if err != nil {
			return err
		}
		return each(e, op)
	})
	return covered, err
}

// link computes the head of an event from the one before it, and adds it.
func (c *Channel) link(heads map[uint64]tangle.Hash, e client.ChannelEvent) error {
	want := channel.FirstHead(c.ID)
	before, linked := heads[e.Event-1]
	if e.Event > 0 {
		at := did.Place{Position: e.Place.Position, Index: e.Place.Index, Entry: e.EntryHash, Time: tangle.TimeOf(e.Time)}
		seq := e.Seq
		if e.Op != channel.Write {
			seq = 0
		}
		want = channel.NextHead(before, e.Event, seq, at)
	}
	_, twice := heads[e.Event]
	switch {
	case twice:
		return fmt.Errorf("broken_chain: event %d stands there twice", e.Event)
	case e.Event > 0 && !linked && c.seesAll():
		return fmt.Errorf("broken_chain: event %d is not there", e.Event-1)
	case (e.Event == 0 || linked) && want != e.Head:
		return fmt.Errorf("broken_chain: the head of event %d does not follow from the event before it", e.Event)
	}
	heads[e.Event] = e.Head
	return nil
}

// seesAll says whether this reader is served every event.
func (c *Channel) seesAll() bool {
	return c.Info.Access == channel.Public || c.Info.History == channel.Full || c.may(channel.Audit)
}

// Erasure reads the erasure receipt of a record.
func (c *Channel) Erasure(ctx context.Context, seq uint64) (e client.Erasure, err error) {
	err = c.ask(ctx, func(node *client.Client) (err error) {
		e, err = node.Erasure(ctx, c.ID, seq)
		return err
	})
	return e, err
}

// Validate compares hashes with the ledger, MaxClaims in each request.
func (c *Channel) Validate(ctx context.Context, claims []client.Claim) (list []client.Validated, err error) {
	for batch := range slices.Chunk(claims, client.MaxClaims) {
		err := c.ask(ctx, func(node *client.Client) error {
			verdicts, err := node.ValidateRecords(ctx, c.ID, batch)
			list = append(list, verdicts...)
			return err
		})
		if err != nil {
			return list, err
		}
	}
	return list, nil
}

// Export writes the evidence bundle of all events up to one; 0 is the newest.
func (c *Channel) Export(ctx context.Context, to uint64, w io.Writer) (n int64, err error) {
	err = c.ask(ctx, func(node *client.Client) (err error) {
		n, err = node.ExportChannel(ctx, c.ID, to, w)
		return err
	})
	return n, err
}
