package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"weft/client"
	"weft/tangle"
)

func newFollowCommand(s *shell) *cobra.Command {
	var f client.FollowFilter
	count, from, kind := 0, uint64(0), ""
	c := &cobra.Command{
		Use:   "follow",
		Short: "print entries as they become final",
		Long: `Prints every entry once it is final, in the order all members agree on, until
Ctrl-C. When the connection breaks it goes on by itself where it was.

It begins with what becomes final next, or at --from a position, or --after an entry
whose place stands at the start of its line.`,
		Example: `  weft follow --tag audit
  weft follow --after 48213.0
  weft follow --from 0 --count 100 --json > first-hundred.jsonl`,
		RunE: func(c *cobra.Command, _ []string) error {
			now := !c.Flags().Changed("from") && f.After == ""
			f.Kind, f.From = client.Kind(kind), tangle.Position(from)
			return s.follow(c.Context(), f, now, count)
		},
	}
	c.Flags().StringVar(&f.Tag, "tag", "", "only entries with this tag")
	c.Flags().StringVar(&kind, "kind", "", "only entries of this kind: data, or a number")
	c.Flags().StringVar(&f.After, "after", "", "go on after the entry at this place, position.index")
	c.Flags().Uint64Var(&from, "from", 0, "begin at this position")
	c.Flags().IntVar(&count, "count", 0, "end after this many entries; 0: never")
	return c
}

func (s *shell) follow(ctx context.Context, f client.FollowFilter, now bool, count int) error {
	if count < 0 {
		return usage("--count %d: want 0 or more", count)
	}
	if f.After != "" && !isPlace(f.After) {
		return usage("--after %q: want position.index, such as 48213.0", f.After)
	}
	node, err := s.client(client.DefaultRetry())
	if err != nil {
		return err
	}
	n, err := node.Node(ctx)
	if err != nil {
		return remote(node, err) // a wrong address must not look like a quiet ledger
	}
	if now {
		f.From = n.Final
	}
	seen := 0
	err = node.Follow(ctx, f, func(e client.FinalEntry) error {
		if err := s.showFinal(e); err != nil {
			return err
		}
		if seen++; seen == count {
			return errEnough
		}
		return nil
	}, func(err error) { fmt.Fprintf(s.err, "weft: %s: connecting again\n", err) })
	if errors.Is(err, errEnough) || ctx.Err() != nil {
		return nil // as asked
	}
	return remote(node, err)
}

func isPlace(s string) bool {
	position, index, _ := strings.Cut(s, ".")
	_, err := strconv.ParseUint(position, 10, 64)
	_, err2 := strconv.ParseUint(index, 10, 16)
	return err == nil && err2 == nil
}

// errEnough ends follow after --count entries.
var errEnough = errors.New("enough")

func (s *shell) showFinal(e client.FinalEntry) error {
	if s.json {
		return s.printJSON(struct {
			ID string `json:"id"`
			client.FinalEntry
		}{e.ID, e})
	}
	text := ""
	if tag, body, ok := readTagged(e.Data); ok {
		text = printable(body)
		if tag != "" {
			text = "[" + tag + "] " + text
		}
	} else {
		text = printable(e.Data)
	}
	outcome := ""
	if e.Code != "" {
		outcome = " rejected: " + e.Code
	}
	_, err := fmt.Fprintf(s.out, "%s  %s  %s  %s%s  %s\n", e.ID, clock(&e.Time), e.EntryHash, e.Kind, outcome, text)
	return err
}
