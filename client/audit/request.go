package audit

import (
	"context"
	"encoding/base64"
	"fmt"

	"weft/client"
	"weft/plugins/identity/did"
	"weft/plugins/streams/channel"
)

// Request makes the operation that asks for rights. A note goes to the owner, sealed, and to the other admins as far as
// channel.MaxEnclosure allows; of a hidden channel they are not known. Skipped names those to whom it does not go.
func (c *Channel) Request(ctx context.Context, asked channel.Asked, note []byte) (*Change, error) {
	h, err := c.header()
	if err != nil || len(note) == 0 {
		return &Change{Body: channel.NewRequest(h, asked, nil)}, err
	}
	change := &Change{}
	if change.Sealed, err = c.ReaderKeys(ctx, c.Info.Owner, ""); err != nil {
		return nil, err
	}
	if err := c.addAdmins(ctx, change, channel.MaxEnclosure/(len(note)+channel.EnclosureOverhead)); err != nil {
		return nil, err
	}
	var enclosure []did.Object
	for _, k := range change.Sealed {
		sealed, err := channel.SealEnclosure(c.ID, k.To, k.Public, note)
		if err != nil {
			return nil, err
		}
		enclosure = append(enclosure, sealed)
	}
	change.Body = channel.NewRequest(h, asked, enclosure)
	return change, nil
}

// addAdmins adds the keys of admins up to a number.
func (c *Channel) addAdmins(ctx context.Context, change *Change, most int) error {
	var admins []string
	err := c.ask(ctx, func(node *client.Client) (err error) {
		admins, err = node.ChannelAdmins(ctx, c.ID)
		return err
	})
	if err != nil {
		return err
	}
	for _, admin := range admins {
		if admin == c.Info.Owner {
			continue
		}
		keys, err := c.ReaderKeys(ctx, admin, "")
		if err == nil && len(change.Sealed)+len(keys) > min(most, channel.MaxEnclosures) {
			err = fmt.Errorf("%s: the note is too long to be sealed to all admins", admin)
		}
		if err != nil {
			change.Skipped = append(change.Skipped, err)
			continue
		}
		change.Sealed = append(change.Sealed, keys...)
	}
	return nil
}

// Note opens what a request encloses, if it is sealed to this identity; else it is nil.
func (c *Channel) Note(ctx context.Context, s client.Subscription) []byte {
	e, err := c.event(ctx, s.Event)
	if err != nil {
		return nil
	}
	op, err := c.decode(e)
	if err != nil {
		return nil
	}
	for _, sealed := range objects(op.Envelope.Body["enclosure"]) {
		to, _ := sealed["to"].(string)
		text, _ := sealed["ct"].(string)
		ciphertext, err := base64.RawURLEncoding.DecodeString(text)
		for _, a := range c.Identity.Agreements {
			if err != nil {
				break
			}
			if note, err := channel.OpenEnclosure(c.ID, to, a.Private, ciphertext); err == nil {
				return note
			}
		}
	}
	return nil
}
