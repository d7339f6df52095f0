package managed

import (
	"context"
	"sync"
	"time"

	"weft/client/audit"
	"weft/plugins/streams/channel"
)

// The bounds of what is kept open.
const (
	MaxIdle   = 10 * time.Minute // after which the keys of a channel are dropped
	MaxOpened = 1000             // channels, of all tools
)

// opened keeps channels with the keys of their epochs, so that each request does not derive all of them anew. It is safe for
// concurrent use: what is kept is never changed, every user gets a clone.
type opened struct {
	now func() time.Time

	mu    sync.Mutex // guards known
	known map[openedKey]*kept
}

type openedKey struct {
	did string
	id  channel.ID
}

type kept struct {
	channel *audit.Channel
	used    time.Time
}

func newOpened(now func() time.Time) *opened {
	return &opened{now: now, known: map[openedKey]*kept{}}
}

// take opens a channel, or brings what is known of it up to now.
func (o *opened) take(ctx context.Context, t *tool, id channel.ID) (*audit.Channel, error) {
	if c := o.find(openedKey{t.identity.DID, id}); c != nil {
		return c, c.Refresh(ctx)
	}
	return t.session.Open(ctx, id)
}

func (o *opened) find(k openedKey) *audit.Channel {
	o.mu.Lock()
	defer o.mu.Unlock()
	found := o.known[k]
	if found == nil || o.now().Sub(found.used) > MaxIdle {
		return nil
	}
	found.used = o.now()
	return found.channel.Clone()
}

// keep gives a channel back, for others to begin with. The caller must not use it any more.
func (o *opened) keep(t *tool, c *audit.Channel) {
	o.mu.Lock()
	defer o.mu.Unlock()
	k := openedKey{t.identity.DID, c.ID}
	if before := o.known[k]; before != nil && before.channel.Info.LastEvent > c.Info.LastEvent {
		return // somebody knows more
	}
	o.known[k] = &kept{c, o.now()}
	if len(o.known) > MaxOpened {
		o.dropOldest()
	}
}

func (o *opened) dropOldest() {
	var oldest openedKey
	var at time.Time
	for k, one := range o.known {
		if at.IsZero() || one.used.Before(at) {
			oldest, at = k, one.used
		}
	}
	delete(o.known, oldest)
}

// expire drops what nobody has used for a while.
func (o *opened) expire() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for k, one := range o.known {
		if o.now().Sub(one.used) > MaxIdle {
			delete(o.known, k)
		}
	}
}
