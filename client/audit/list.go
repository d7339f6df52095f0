package audit

import (
	"context"
	"fmt"
	"maps"

	"weft/client"
	"weft/plugins/identity/did"
	"weft/plugins/streams/channel"
)

// EachChannel visits all channels that a filter picks, and that this identity may know of. Without one these are the public ones.
func (s *Session) EachChannel(ctx context.Context, f client.ChannelFilter, visit func(client.Channel) error) error {
	if err := s.known(ctx); err != nil {
		return err
	}
	return client.All(ctx, client.Page{}, func(ctx context.Context, p client.Page) (l client.List[client.Channel], err error) {
		err = s.ask(ctx, func(node *client.Client) (err error) {
			l, err = node.Channels(ctx, f, p)
			return err
		})
		return l, err
	}, visit)
}

// Configure makes the operation that changes settings. What a hidden channel keeps to itself is sealed anew.
func (c *Channel) Configure(s channel.Settings) (did.Object, error) {
	h, err := c.header()
	if err != nil {
		return nil, err
	}
	reveals := s.Hidden != nil && !*s.Hidden
	if c.Info.Hidden && !reveals && (s.Name != nil || s.Description != nil || s.Topics != nil || s.Status != nil) {
		if err := c.sealSettings(h, &s); err != nil {
			return nil, err
		}
	}
	return channel.NewConfigure(h, s), nil
}

// sealSettings moves the plain settings into a new sealed profile.
func (c *Channel) sealSettings(h channel.Header, s *channel.Settings) error {
	key, ok := c.Keys[0]
	if !ok || c.Profile == nil {
		return fmt.Errorf("the profile of the channel does not open: %w", ErrNoKey)
	}
	profile := maps.Clone(c.Profile)
	for name, value := range map[string]*string{"name": s.Name, "description": s.Description, "status": s.Status} {
		if value != nil {
			profile[name] = *value
		}
	}
	if s.Topics != nil {
		profile["topics"] = TopicObjects(*s.Topics)
	}
	sealed, err := key.SealProfile(c.ID, h.Actor, h.Nonce, profile)
	s.Name, s.Description, s.Status, s.Topics, s.SealedProfile = nil, nil, nil, nil, &sealed
	return err
}

// TopicObjects are topics as they stand in a sealed profile.
func TopicObjects(topics []channel.Topic) []any {
	list := []any{}
	for _, t := range topics {
		list = append(list, did.Object{"type": t.Type, "source": t.Source})
	}
	return list
}
