package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"weft/client"
	"weft/config"
	"weft/config/genesis"
	"weft/receipt"
	"weft/tangle"
)

// MaxReceiptInput bounds the file that receipt verify reads.
const MaxReceiptInput = 1 << 20

func newReceiptCommand(s *shell) *cobra.Command {
	c := &cobra.Command{
		Use:   "receipt",
		Short: "fetch the proof of an entry, and check one offline",
		Long: `A receipt proves that an entry is final at its place in the log: it holds the path
from the entry to a checkpoint that a quorum of the committee has signed. Checking it
needs the network's genesis file and nothing else: no node, no connection.`,
	}
	c.AddCommand(newReceiptGetCommand(s), newReceiptVerifyCommand(s))
	return c
}

func newReceiptGetCommand(s *shell) *cobra.Command {
	file := ""
	c := &cobra.Command{
		Use:   "get HASH",
		Short: "fetch the receipt of an entry",
		Example: `  weft receipt get 4be1… -o note.receipt
  weft receipt get 4be1… | weft receipt verify - --genesis genesis.json`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			hash, err := tangle.ParseHash(args[0])
			if err != nil {
				return usage("%q is not the hash of an entry: %s", args[0], err)
			}
			node, err := s.client(client.DefaultRetry())
			if err != nil {
				return err
			}
			b, err := node.Receipt(c.Context(), hash)
			if client.ProblemCode(err) == "not_final" {
				return fmt.Errorf("the entry is not final yet, so there is no receipt: try again in a moment")
			}
			if err != nil {
				return remote(node, err)
			}
			return s.saveReceipt(b, file)
		},
	}
	c.Flags().StringVarP(&file, "output", "o", "", "file to write; default: standard output")
	return c
}

func (s *shell) saveReceipt(b []byte, file string) error {
	if file == "" {
		_, err := s.out.Write(b)
		return err
	}
	if err := os.WriteFile(file, b, 0o644); err != nil {
		return err
	}
	if s.json {
		return s.printJSON(map[string]any{"file": file, "bytes": len(b)})
	}
	s.print("%s: %d bytes\n", file, len(b))
	return nil
}

func newReceiptVerifyCommand(s *shell) *cobra.Command {
	genesisFile := ""
	c := &cobra.Command{
		Use:   "verify FILE|- --genesis genesis.json",
		Short: "check a receipt, offline",
		Long: `Checks a receipt against the network's genesis file, offline, and prints each step.
Take the genesis file from someone you trust, not from whoever gave you the receipt.

Exit code 0: verified. 1: refused.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			g, err := s.loadGenesis(genesisFile)
			if err != nil {
				return err
			}
			b, err := s.readInput(args[0], MaxReceiptInput)
			if err != nil {
				return err
			}
			report, err := receipt.Verify(g, b)
			if err != nil && len(report.Checks) == 0 {
				return fmt.Errorf("refused: %w", err)
			}
			return s.showReport(report)
		},
	}
	c.Flags().StringVar(&genesisFile, "genesis", "", "the network's genesis file")
	return c
}

// loadGenesis reads the file of --genesis.
func (s *shell) loadGenesis(file string) (*genesis.Genesis, error) {
	if file == "" {
		return nil, usage("--genesis is missing: the network's genesis.json, from someone you trust")
	}
	g, err := config.LoadGenesis(file)
	if err != nil {
		return nil, usage("--genesis: %s", err)
	}
	return g, nil
}

// readInput reads a whole file, or standard input for "-".
func (s *shell) readInput(file string, limit int64) ([]byte, error) {
	in := s.in
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, usage("%s", err)
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s is larger than %d bytes", file, limit)
	}
	return b, err
}

func (s *shell) showReport(r receipt.Report) error {
	if s.json {
		s.printJSON(r)
	}
	checks := make([]client.Check, len(r.Checks))
	for i, k := range r.Checks {
		checks[i] = client.Check(k)
	}
	s.showChecks(checks)
	if !r.Verified {
		return errors.New("refused: this receipt proves nothing")
	}
	s.showFacts(*r.Facts)
	return nil
}

// showFacts prints what a verified receipt proves.
func (s *shell) showFacts(f receipt.Facts) {
	outcome := "accepted"
	if !f.Accepted {
		outcome = "rejected"
	}
	rows := [][]string{
		{"entry", f.EntryHash.String()},
		{"message", f.MessageID.String()},
		{"author", fmt.Sprintf("%s (%s)", f.AuthorName, f.Author)},
		{"sent", f.MessageTime},
		{"place", fmt.Sprintf("position %d, entry %d: %s", f.Position, f.Index, outcome)},
		{"checkpoint", fmt.Sprintf("%d positions, %s", f.CheckpointSize, f.CheckpointTime)},
		{"signed by", strings.Join(f.Signers, ", ")},
	}
	switch tag, body, ok := cutTagged(f); {
	case f.Erased:
		rows = append(rows, []string{"data", "not in the receipt"})
	case ok:
		rows = append(rows, []string{"tag", tag}, []string{"data", printable(body)})
	default:
		rows = append(rows, []string{"data", fmt.Sprintf("%d bytes of kind %d", len(f.Data), f.Kind)})
	}
	s.print("\n")
	s.table(rows)
}

// cutTagged reads the encoding of kind data: a length, the tag, the bytes (docs/protocol.md).
func cutTagged(f receipt.Facts) (tag string, body []byte, ok bool) {
	b := f.Data
	if f.Kind != tangle.KindData || len(b) == 0 || int(b[0]) >= len(b) {
		return "", nil, false
	}
	return string(b[1 : 1+b[0]]), b[1+b[0]:], true
}
