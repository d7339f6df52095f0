package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weft/client"
)

func newNodeCommand(s *shell) *cobra.Command {
	return &cobra.Command{
		Use:   "node",
		Short: "show what a node says of itself",
		Long:  `Shows a node's network, member, version, and how far its ledger has come.`,
		RunE: func(c *cobra.Command, _ []string) error {
			node, err := s.client(client.DefaultRetry())
			if err != nil {
				return err
			}
			n, err := node.Node(c.Context())
			if err != nil {
				return remote(node, err)
			}
			return s.showNode(n)
		},
	}
}

func (s *shell) showNode(n client.Node) error {
	if s.json {
		return s.printJSON(n)
	}
	s.table([][]string{
		{"version", n.Version},
		{"network", n.Network + " (" + n.NetworkID.String() + ")"},
		{"member", n.Name + " (" + n.Member.String() + ")"},
		{"roles", strings.Join(n.Roles, ", ")},
		{"plugins", strings.Join(n.Plugins, ", ")},
		{"epoch", strconv.FormatUint(uint64(n.Epoch), 10)},
		{"round", strconv.FormatUint(uint64(n.Round), 10)},
		{"commit", strconv.FormatUint(n.Commit, 10)},
		{"applied", fmt.Sprintf("%d positions", n.Position)},
		{"final", fmt.Sprintf("%d positions, certified for %s", n.Final, clock(n.FinalTime))},
	})
	return nil
}

func newPeersCommand(s *shell) *cobra.Command {
	return &cobra.Command{
		Use:   "peers",
		Short: "list the other members' nodes as this one sees them",
		RunE: func(c *cobra.Command, _ []string) error {
			node, err := s.client(client.DefaultRetry())
			if err != nil {
				return err
			}
			l, err := node.Peers(c.Context())
			if err != nil {
				return remote(node, err)
			}
			if s.json {
				return s.printJSON(l)
			}
			s.showPeers(l.Items)
			return nil
		},
	}
}

func (s *shell) showPeers(peers []client.Peer) {
	rows := [][]string{{"NAME", "MEMBER", "STATE", "SINCE", "ROUND TRIP", "SENT", "RECEIVED", "DROPPED", "ADDRESS"}}
	for _, p := range peers {
		state := "down"
		if p.Connected {
			state = "connected"
		}
		where := p.Address
		if !p.Connected && p.LastError != "" {
			where += " (" + p.LastError + ")"
		}
		rows = append(rows, []string{p.Name, p.Member.Short(), state, clock(p.Since), fmt.Sprintf("%.1f ms", p.RoundTrip),
			byteCount(p.Sent), byteCount(p.Received), strconv.FormatUint(p.Dropped, 10), where})
	}
	s.table(rows)
}

func byteCount(n uint64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 10<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d B", n)
}

func newHealthCommand(s *shell) *cobra.Command {
	live, timeout := false, 5*time.Second
	c := &cobra.Command{
		Use:   "health",
		Short: "ask whether a node is ready; for container health checks",
		Long: `Asks a node whether it is ready to serve: synced, its newest checkpoint young or
the network idle, disk and clock in order. With --live it asks only whether the
node is alive.

Exit code 0: yes. 1: it says no, with its reasons. 3: no answer.`,
		Example: `  weft health --api http://127.0.0.1:8080
  HEALTHCHECK CMD ["/weft", "health"]     with WEFT_API in the container's environment`,
		RunE: func(c *cobra.Command, _ []string) error {
			node, err := s.client(client.NoRetry())
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(c.Context(), timeout)
			defer cancel()
			ask := node.Ready
			if live {
				ask = node.Health
			}
			h, err := ask(ctx)
			if err != nil {
				return remote(node, err)
			}
			return s.showHealth(h)
		},
	}
	c.Flags().BoolVar(&live, "live", false, "ask only whether the node is alive")
	c.Flags().DurationVar(&timeout, "timeout", timeout, "how long to wait for the answer")
	return c
}

// showHealth prints the report and fails if it says no.
func (s *shell) showHealth(h client.Health) error {
	if s.json {
		s.printJSON(struct {
			OK bool `json:"ok"`
			client.Health
		}{h.OK, h})
	}
	s.print("%s\n", h.Status)
	s.showChecks(h.Checks)
	if h.OK {
		return nil
	}
	return errors.New("the node is not ready")
}

// showChecks prints one line for each named check.
func (s *shell) showChecks(checks []client.Check) {
	var rows [][]string
	for _, k := range checks {
		mark := "ok"
		if !k.OK {
			mark = "FAILED"
			if k.Code != "" {
				mark += " " + k.Code
			}
		}
		rows = append(rows, []string{"  " + k.Name, mark, k.Detail})
	}
	s.table(rows)
}
