package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"weft/client"
	"weft/plugins/streams/channel"
)

// Sizes of the crowd scenario.
const (
	benchGrants      = 200                    // given one after the other, the last of all that a channel has room for
	benchCrowdMillis = 100                    // p99
	benchGrantsApart = 150 * time.Millisecond // at least, and up to three times that
)

// crowd measures a channel with as many participants as one may have: all pages of its list of participants and the other
// lists that an admin's client reads, on each node, and grants with the key, one at a time, until they are final. They come
// apart, as by hand: one at the heels of another waits for the next checkpoint, however many participants there are.
func (b *bench) crowd(ctx context.Context) (r benchResult, err error) {
	owner, err := b.newOwner(ctx)
	if err != nil {
		return r, err
	}
	start := time.Now()
	ch, readers, err := b.newAudience(ctx, owner, "crowd")
	if err != nil {
		return r, err
	}
	first, last := readers[:benchReaders-benchGrants], readers[benchReaders-benchGrants:]
	if err := owner.authorize(ctx, ch, grants(first, channel.Read)); err != nil {
		return r, err
	}
	r = benchResult{Batch: 1, Connections: 1, Errors: map[string]int{},
		Prepared: fmt.Sprintf("%d participants had their rights before, in %.1f s", len(first)+1, time.Since(start).Seconds())}
	from := b.read()
	var granting []uint32
	random := rand.New(rand.NewPCG(b.seed, 0))
	for _, p := range last {
		if err := sleepUntil(ctx, time.Now().Add(benchGrantsApart+time.Duration(random.Int64N(int64(2*benchGrantsApart))))); err != nil {
			return r, err
		}
		if err := ch.Refresh(ctx); err != nil {
			return r, err
		}
		change, err := ch.Authorize(ctx, grants([]benchPerson{p}, channel.Read))
		if err != nil {
			return r, err
		}
		sent := time.Now()
		if _, err := ch.Submit(ctx, change.Body); err != nil {
			return r, err
		}
		granting = append(granting, uint32(time.Since(sent).Microseconds()))
	}
	lists, seen, err := b.readCrowd(ctx, owner, ch.ID)
	if err != nil {
		return r, err
	}
	to := b.read()
	r.Seconds = to.at.Sub(from.at).Seconds()
	r.use(from, to, 0)
	if want := len(b.clients) * channel.MaxParticipants; seen != want {
		r.Violations = append(r.Violations, fmt.Sprintf("the nodes list %d participants, want %d", seen, want))
	}
	latency, listing := summarize(granting), summarize(lists)
	r.Latency, r.Lists = &latency, &listing
	r.Target = fmt.Sprintf("p99 of %d ms or less for lists and for grants, with %d participants", benchCrowdMillis, channel.MaxParticipants)
	r.Met = latency.P99 <= benchCrowdMillis && listing.P99 <= benchCrowdMillis && len(r.Violations) == 0
	return r, nil
}

// readCrowd reads every page of the participants at each node, with each page the list of channels, and then one participant:
// how long each answer took, and how many participants the nodes told of.
func (b *bench) readCrowd(ctx context.Context, owner *benchOwner, id channel.ID) (took []uint32, seen int, err error) {
	timed := func(ask func() error) error {
		start := time.Now()
		err := ask()
		took = append(took, uint32(time.Since(start).Microseconds()))
		return err
	}
	for i := range b.clients {
		node, err := b.login(ctx, i, owner.benchPerson)
		if err != nil {
			return nil, 0, err
		}
		list := func(ctx context.Context, p client.Page) (l client.List[client.Subscription], err error) {
			if err = timed(func() error { _, err := node.Channels(ctx, client.ChannelFilter{}, client.Page{}); return err }); err == nil {
				err = timed(func() (err error) { l, err = node.Subscriptions(ctx, id, channel.Active, p); return err })
			}
			return l, err
		}
		did := ""
		if err := client.All(ctx, client.Page{}, list, func(s client.Subscription) error {
			did = s.DID
			seen++
			return nil
		}); err != nil {
			return nil, 0, err
		}
		if err := timed(func() error { _, err := node.Subscription(ctx, id, did); return err }); err != nil {
			return nil, 0, err
		}
	}
	return took, seen, nil
}
