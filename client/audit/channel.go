package audit

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"

	"weft/client"
	"weft/plugins/identity/did"
	"weft/plugins/streams/channel"
	"weft/tangle"
)

// Channel is a channel as its identity can see it: what a node tells of it, and the keys that could be opened. It is for one
// goroutine; Send of its session is not.
type Channel struct {
	*Session
	ID      channel.ID
	Info    client.Channel
	Epochs  []channel.OpenedEpoch // ascending; whatever the node gave
	Keys    map[uint32]channel.Key
	Faults  []error    // bad_wrap, broken_chain: an admin can send keys anew
	Profile did.Object // of a hidden channel, if it opens

	unwrapped map[uint32]channel.Key
}

// Open reads a channel with its keys.
func (s *Session) Open(ctx context.Context, id channel.ID) (*Channel, error) {
	c := &Channel{Session: s, ID: id, unwrapped: map[uint32]channel.Key{}}
	return c, c.Refresh(ctx)
}

// Clone is a channel of its own with the same knowledge, for another goroutine.
func (c *Channel) Clone() *Channel {
	other := *c
	other.Epochs, other.Faults = slices.Clone(c.Epochs), slices.Clone(c.Faults)
	other.Keys, other.unwrapped = maps.Clone(c.Keys), maps.Clone(c.unwrapped)
	return &other
}

// Refresh reads what has changed since.
func (c *Channel) Refresh(ctx context.Context) error {
	err := c.ask(ctx, func(node *client.Client) (err error) {
		c.Info, err = node.Channel(ctx, c.ID)
		return err
	})
	if err != nil || c.Info.Access != channel.Private {
		return err
	}
	if c.Info.ID != c.ID {
		return fmt.Errorf("the node answers for channel %s", c.Info.ID)
	}
	if err := c.readKeys(ctx); err != nil {
		return err
	}
	if len(c.Info.ProfileWraps) > 0 {
		c.unwrap(client.ChannelEpoch{Wraps: c.Info.ProfileWraps}, channel.OpenedEpoch{})
	}
	opened := channel.Walk(c.ID, c.Epochs, c.unwrapped)
	c.Keys, c.Faults = opened.Keys, append(c.Faults, opened.Faults...)
	c.openProfile()
	return nil
}

// readKeys reads the epochs from the last known one on, and opens what is sealed to this identity. Whoever may not have
// keys has none: that is no error.
func (c *Channel) readKeys(ctx context.Context) error {
	from := uint32(0)
	if n := len(c.Epochs); n > 0 {
		from = c.Epochs[n-1].Number
	}
	c.Faults = nil
	list := func(ctx context.Context, p client.Page) (l client.List[client.ChannelEpoch], err error) {
		err = c.ask(ctx, func(node *client.Client) (err error) {
			l, err = node.ChannelKeys(ctx, c.ID, from, p)
			return err
		})
		return l, err
	}
	err := client.All(ctx, client.Page{}, list, c.takeEpoch)
	if code := client.ProblemCode(err); code == "right_missing" || code == "not_participant" || code == "forbidden" || code == "not_valid_now" {
		return nil
	}
	return err
}

func (c *Channel) takeEpoch(e client.ChannelEpoch) error {
	if len(c.Epochs) > maxEpochs {
		return fmt.Errorf("more than %d epochs", int(maxEpochs))
	}
	opened, err := readEpoch(e)
	if err != nil {
		return err
	}
	c.unwrap(e, opened)
	if e.Number == 0 {
		return nil
	}
	at, found := slices.BinarySearchFunc(c.Epochs, e.Number, func(x channel.OpenedEpoch, n uint32) int { return int(int64(x.Number) - int64(n)) })
	if found && c.Epochs[at].Commit != opened.Commit {
		return fmt.Errorf("the node has told otherwise of epoch %d before", e.Number)
	}
	if !found {
		c.Epochs = slices.Insert(c.Epochs, at, opened)
	}
	return nil
}

func readEpoch(e client.ChannelEpoch) (o channel.OpenedEpoch, err error) {
	o = channel.OpenedEpoch{Number: e.Number, Event: e.Event, Seq: e.Seq, Commit: e.Commit}
	public, err := base64.RawURLEncoding.DecodeString(e.PublicKey)
	if err != nil || e.Number > 0 && copy(o.PublicKey[:], public) != len(o.PublicKey) {
		return o, fmt.Errorf("epoch %d has no public key", e.Number)
	}
	if e.Previous == "" {
		return o, nil
	}
	o.Previous, err = base64.RawURLEncoding.DecodeString(e.Previous)
	return o, err
}

// unwrap opens the wraps of one epoch with any key that fits; that a retired key fits too is the point. A wrap of another key
// than the epoch's does not hide the right one: any admin can send one. Epoch 0 commits to nothing.
func (c *Channel) unwrap(e client.ChannelEpoch, opened channel.OpenedEpoch) {
	if _, ok := c.unwrapped[e.Number]; ok {
		return
	}
	fault := fmt.Errorf("bad_wrap: no key in the key file opens epoch %d", e.Number)
	for _, w := range slices.Backward(e.Wraps) {
		ciphertext, err := base64.RawURLEncoding.DecodeString(w.Ciphertext)
		if err != nil {
			continue
		}
		for _, a := range c.Identity.Agreements {
			key, err := channel.Unwrap(c.ID, e.Number, channel.Wrap{To: w.To, Ciphertext: ciphertext}, a.Private)
			if err == nil && e.Number > 0 {
				if err = key.Check(c.ID, opened); err != nil {
					fault = err
				}
			}
			if err == nil {
				c.unwrapped[e.Number] = key
				return
			}
		}
	}
	if len(e.Wraps) > 0 {
		c.Faults = append(c.Faults, fault)
	}
}

// openProfile opens what a hidden channel is called. Its key needs actor and nonce of the operation that sealed it.
func (c *Channel) openProfile() {
	key, ok := c.Keys[0]
	if c.Info.SealedProfile == "" || !ok {
		return
	}
	nonce, err := base64.RawURLEncoding.DecodeString(c.Info.ProfileNonce)
	if err == nil && len(nonce) != channel.NonceBytes {
		err = errors.New("the node tells no nonce of the sealed profile")
	}
	if err == nil {
		c.Profile, err = key.OpenProfile(c.ID, c.Info.ProfileActor, channel.Nonce(nonce), c.Info.SealedProfile)
	}
	if err != nil {
		c.Faults = append(c.Faults, err)
	}
}

// event reads one event.
func (c *Channel) event(ctx context.Context, n uint64) (e client.ChannelEvent, err error) {
	f := client.EventFilter{To: n}
	if n > 0 {
		before := n - 1
		f.After = &before
	}
	err = c.ask(ctx, func(node *client.Client) error {
		l, err := node.ChannelEvents(ctx, c.ID, f, client.Page{Limit: 1})
		if err == nil && (len(l.Items) == 0 || l.Items[0].Event != n) {
			err = fmt.Errorf("the node does not show event %d", n)
		}
		if err == nil {
			e = l.Items[0]
		}
		return err
	})
	return e, err
}

// decode reads the operation of an event, checks its signature, and that it is of this channel.
func (c *Channel) decode(e client.ChannelEvent) (*channel.Operation, error) {
	if len(e.Operation) == 0 {
		return nil, errGone
	}
	object, err := did.DecodeObject(e.Operation, did.JSONLimits{MaxBytes: 2 * channel.MaxOperationBytes})
	if err != nil {
		return nil, err
	}
	entry, err := did.Canonical(object) // the JSON around it may have changed how it is written
	if err != nil {
		return nil, err
	}
	op, err := channel.Decode(c.Network, entry)
	if err == nil && op.Channel != c.ID {
		err = fmt.Errorf("event %d is of another channel", e.Event)
	}
	return op, err
}

// errGone says that an operation is not there any more, or not for this reader.
var errGone = errors.New("the operation is not there")

// Name is what the channel is called, also if that is sealed.
func (c *Channel) Name() string {
	if name, ok := c.Profile["name"].(string); ok {
		return name
	}
	return c.Info.Name
}

// may says whether the identity has a right now, as the node says.
func (c *Channel) may(r channel.Rights) bool { return c.Info.Rights.Has(r) }

// header is the header of a new operation; it attests the newest event that the node has told of.
func (c *Channel) header() (channel.Header, error) {
	after := channel.After{Event: c.Info.LastEvent, Head: c.Info.Head}
	if after.Head == (tangle.Hash{}) {
		after = FirstAfter(c.ID)
	}
	return c.Session.header(c.ID, after)
}

// FirstAfter is what an actor attests who has seen nothing: it follows from the id alone.
func FirstAfter(id channel.ID) channel.After { return channel.After{Head: channel.FirstHead(id)} }

// Build makes an operation that needs no keys.
func (c *Channel) Build(build func(channel.Header) did.Object) (did.Object, error) {
	h, err := c.header()
	if err != nil {
		return nil, err
	}
	return build(h), nil
}

// BuildBlind is Build for a channel that has not been read: it needs no node.
func (s *Session) BuildBlind(id channel.ID, build func(channel.Header) did.Object) (did.Object, error) {
	h, err := s.header(id, FirstAfter(id))
	if err != nil {
		return nil, err
	}
	return build(h), nil
}
