package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"weft/plugins/identity/did"
	"weft/plugins/identity/operation"
	"weft/tangle"
)

// acting is an operation of a status list or of trust: whoever signs it says who acts.
type acting struct {
	*shell
	keys     keyFlags
	network  networkFlags
	actor    string
	validFor time.Duration
	finishFlags
}

func (a *acting) add(c *cobra.Command) {
	f := c.Flags()
	a.keys.add(f)
	a.network.add(f)
	f.StringVar(&a.actor, "actor", "", "the DID that acts; default: that of the first key file")
	f.DurationVar(&a.validFor, "valid-for", time.Hour, "the operation counts for this long from now, at most 168h")
	a.finishFlags.add(f)
}

// act builds a body, and takes it through the steps that are asked for.
func (a *acting) act(ctx context.Context, grave bool, build func(operation.Header) (did.Object, error)) error {
	ring, err := a.openKeys(a.keys)
	if err != nil {
		return err
	}
	defer ring.close()
	header, err := a.header(ctx, ring)
	if err != nil {
		return err
	}
	body, err := build(header)
	if err != nil {
		return err
	}
	_, err = a.finish(ctx, body, ring, a.finishFlags, grave)
	return err
}

func (a *acting) header(ctx context.Context, ring *keyring) (h operation.Header, err error) {
	if h.Actor = a.actor; h.Actor == "" {
		first, err := ring.first()
		if err != nil {
			return h, err
		}
		h.Actor = first.DID
	}
	if a.validFor <= 0 || a.validFor > operation.MaxAhead {
		return h, usage("--valid-for %s: want more than 0s and at most %s", a.validFor, operation.MaxAhead)
	}
	h.Nonce = newNonce()
	h.NotAfter = tangle.TimeOf(time.Now().Add(a.validFor).Truncate(time.Second))
	h.Network, err = a.networkID(ctx, a.network)
	return h, err
}

// timeFlag reads a time of a flag; usual stands for an empty one.
func timeFlag(name, text string, usual time.Time) (operation.Instant, error) {
	t := usual
	if text != "" {
		var err error
		if t, err = time.Parse(time.RFC3339, text); err != nil {
			return 0, usage("--%s %s: want a time such as 2026-12-01T00:00:00Z", name, text)
		}
	}
	return operation.Instant(tangle.TimeOf(t.Truncate(time.Second))), nil
}
