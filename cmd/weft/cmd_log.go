package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"weft/client"
	"weft/config/genesis"
	"weft/receipt"
	"weft/tangle"
)

// MaxNoteInput bounds a checkpoint file.
const MaxNoteInput = 1 << 20

func newLogCommand(s *shell) *cobra.Command {
	c := &cobra.Command{
		Use:   "log",
		Short: "check the whole log",
	}
	c.AddCommand(newLogVerifyCommand(s))
	return c
}

// logVerify is one run of log verify.
type logVerify struct {
	*shell
	genesisFile, since, tiles, save string

	genesis          *genesis.Genesis
	entries, refused uint64
}

func newLogVerifyCommand(s *shell) *cobra.Command {
	v := &logVerify{shell: s}
	c := &cobra.Command{
		Use:   "verify --genesis genesis.json",
		Short: "prove that nothing is missing from the log, and nothing changed",
		Long: `Fetches the newest checkpoint and every leaf and hash tile of the log, checks that a
quorum of the committee has signed the checkpoint, computes the whole tree anew and
compares. With --since it also checks that the log continues the one of a checkpoint
that was saved earlier: nothing that was in it has gone.

--save keeps checkpoint and tiles in a folder; --tiles checks such a folder offline.`,
		Example: `  weft log verify --genesis genesis.json --save copy
  weft log verify --genesis genesis.json --since copy/checkpoint
  weft log verify --genesis genesis.json --tiles copy`,
		RunE: func(c *cobra.Command, _ []string) error { return v.run(c.Context()) },
	}
	f := c.Flags()
	f.StringVar(&v.genesisFile, "genesis", "", "the network's genesis file")
	f.StringVar(&v.since, "since", "", "a checkpoint saved earlier")
	f.StringVar(&v.tiles, "tiles", "", "check the copy in this folder instead of a node's log")
	f.StringVar(&v.save, "save", "", "keep a copy in this folder")
	return c
}

// logOrigin is where a log comes from.
type logOrigin interface {
	client.LogSource
	LogCheckpoint(context.Context) ([]byte, error)
}

func (v *logVerify) run(ctx context.Context) error {
	var err error
	if v.genesis, err = v.loadGenesis(v.genesisFile); err != nil {
		return err
	}
	origin, node, err := v.origin()
	if err != nil {
		return err
	}
	note, err := origin.LogCheckpoint(ctx)
	if err != nil {
		return remote(node, err)
	}
	head, signers, err := receipt.OpenNote(v.genesis, note)
	if err != nil {
		return fmt.Errorf("checkpoint refused: %w", err)
	}
	line := v.progress()
	check := client.LogCheck{
		Source: origin, Size: tangle.Position(head.Size), Root: head.Root, Leaf: v.leaf,
		Progress: func(done, of tangle.Position) { line.show("%d of %d positions checked", done, of) },
	}
	if err := v.addSince(&check); err != nil {
		return err
	}
	count, err := check.Run(ctx)
	line.clear()
	if err != nil {
		return remote(node, err)
	}
	if v.save != "" {
		if err := saveFile(v.save, "checkpoint", note); err != nil {
			return err
		}
	}
	return v.report(head, signers, check, count)
}

// origin is the node, or a folder; node is nil for a folder.
func (v *logVerify) origin() (logOrigin, *client.Client, error) {
	if v.tiles != "" {
		if v.save != "" {
			return nil, nil, usage("--save and --tiles exclude each other: there is a copy already")
		}
		return logFolder(v.tiles), nil, nil
	}
	node, err := v.client(client.DefaultRetry())
	if err != nil || v.save == "" {
		return node, node, err
	}
	return savingOrigin{node, v.save}, node, nil
}

// leaf checks that a leaf is about its place, and counts.
func (v *logVerify) leaf(p tangle.Position, leaf []byte) error {
	at, _, rejected, err := receipt.ParseLeaf(leaf)
	if err == nil && at != p {
		err = fmt.Errorf("is about position %d", at)
	}
	v.entries += uint64(len(rejected))
	for _, no := range rejected {
		if no {
			v.refused++
		}
	}
	return err
}

func (v *logVerify) addSince(check *client.LogCheck) error {
	if v.since == "" {
		return nil
	}
	note, err := v.readInput(v.since, MaxNoteInput)
	if err != nil {
		return err
	}
	old, _, err := receipt.OpenNote(v.genesis, note)
	if err != nil {
		return fmt.Errorf("--since: checkpoint refused: %w", err)
	}
	if old.Size > uint64(check.Size) {
		return fmt.Errorf("the log has %d positions, but the saved checkpoint had %d: something is gone, or this node is behind", check.Size, old.Size)
	}
	check.Since, check.SinceRoot = tangle.Position(old.Size), old.Root
	return nil
}

// logReport is what --json prints.
type logReport struct {
	Verified bool            `json:"verified"`
	Network  string          `json:"network"`
	Size     uint64          `json:"size"`
	Root     tangle.Hash     `json:"root"`
	Commit   uint64          `json:"commit"`
	Time     string          `json:"time"`
	Signers  []tangle.Member `json:"signers"`
	Since    tangle.Position `json:"since,omitempty"`
	Entries  uint64          `json:"entries"`
	Rejected uint64          `json:"rejected"`
	client.LogCount
}

func (v *logVerify) report(head receipt.Checkpoint, signers []tangle.Member, check client.LogCheck, count client.LogCount) error {
	r := logReport{true, head.Network, head.Size, head.Root, head.Commit, head.Time.String(), signers, check.Since, v.entries, v.refused, count}
	if v.json {
		return v.printJSON(r)
	}
	rows := [][]string{
		{"verified", fmt.Sprintf("the log of %s, %d positions", r.Network, r.Size)},
		{"root", r.Root.String()},
		{"signed by", fmt.Sprintf("%d of %d validators, commit %d, %s", len(signers), len(v.genesis.Committee()), r.Commit, r.Time)},
		{"entries", fmt.Sprintf("%d, of which %d were rejected", r.Entries, r.Rejected)},
		{"read", fmt.Sprintf("%d files of leaves, %d hash tiles, %s", count.Bundles, count.Tiles, byteCount(count.Bytes))},
	}
	if v.since != "" {
		rows = append(rows, []string{"continues", fmt.Sprintf("the saved checkpoint of %d positions", check.Since)})
	}
	v.table(rows)
	return nil
}

// logFolder is a copy of a log on this machine, as --save makes it.
type logFolder string

// LogCheckpoint reads the checkpoint.
func (d logFolder) LogCheckpoint(ctx context.Context) ([]byte, error) {
	return d.LogFile(ctx, "checkpoint")
}

// LogFile reads a piece; paths cannot lead out of the folder.
func (d logFolder) LogFile(_ context.Context, path string) ([]byte, error) {
	root, err := os.OpenRoot(string(d))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return root.ReadFile(path)
}

// savingOrigin keeps what it fetches from a node.
type savingOrigin struct {
	*client.Client
	dir string
}

// LogFile fetches a piece and keeps it.
func (o savingOrigin) LogFile(ctx context.Context, path string) ([]byte, error) {
	b, err := o.Client.LogFile(ctx, path)
	if err != nil {
		return nil, err
	}
	return b, saveFile(o.dir, path, b)
}

func saveFile(dir, path string, b []byte) error {
	file := filepath.Join(dir, filepath.FromSlash(path))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, b, 0o644)
}
