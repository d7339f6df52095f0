package audit

import (
	"context"
	"encoding/base64"

	"weft/client"
	"weft/plugins/identity/did"
	"weft/plugins/streams/channel"
)

// Request makes the operation that asks for rights. A note goes to the owner alone, sealed.
func (c *Channel) Request(ctx context.Context, asked channel.Asked, note []byte) (did.Object, error) {
	h, err := c.header()
	if err != nil || len(note) == 0 {
		return channel.NewRequest(h, asked, nil), err
	}
	keys, err := c.ReaderKeys(ctx, c.Info.Owner, "")
	if err != nil {
		return nil, err
	}
	var enclosure []did.Object
	for _, k := range keys {
		sealed, err := channel.SealEnclosure(c.ID, k.To, k.Public, note)
		if err != nil {
			return nil, err
		}
		enclosure = append(enclosure, sealed)
	}
	return channel.NewRequest(h, asked, enclosure), nil
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
