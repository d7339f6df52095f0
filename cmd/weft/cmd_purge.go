package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"weft/client"
)

func newPurgeCommand(s *shell) *cobra.Command {
	return &cobra.Command{
		Use:   "purge --dir DIR",
		Short: "write the store's files anew, so that none holds what was erased",
		Long: `What is erased leaves a node's store at once, but its bytes stay in the store's files until
these are written anew. A node does that by itself once in purgeHours (node.json; 24) if
something was erased. This does it now, for instance before a backup, and returns when it is
done: it takes as long as copying the store, and room for a second one meanwhile. The node
goes on working. Every member has a copy: ask the others too.`,
		Example: `  weft purge --dir weft`,
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return s.purge(c.Context()) },
	}
}

// purgePoll is how often it is asked whether the files are written.
const purgePoll = 200 * time.Millisecond

func (s *shell) purge(ctx context.Context) error {
	c, err := s.client(client.Retry{})
	if err != nil {
		return err
	}
	state, err := c.Purge(ctx)
	for err == nil && state.Running {
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case <-time.After(purgePoll):
			state, err = c.PurgeState(ctx)
		}
	}
	switch {
	case err != nil:
		return remote(c, err)
	case state.Error != "":
		return errors.New("the files are not written anew: " + state.Error)
	case s.json:
		return s.printJSON(state)
	}
	s.print("%d of %d bodies erased on this node are in no file of its store\n", state.Purged, state.Erased)
	return nil
}
