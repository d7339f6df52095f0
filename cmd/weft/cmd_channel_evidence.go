package main

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"weft/client"
	"weft/client/audit"
	"weft/plugins/streams/channel"
	"weft/receipt"
)

// MaxGenesisFile bounds what is read as a genesis file.
const MaxGenesisFile = 16 << 20

func newChannelExportCommand(s *shell) *cobra.Command {
	r := &channeling{acting: acting{shell: s}}
	to := uint64(0)
	open, openAll := []string{}, false
	c := &cobra.Command{
		Use:   "export NAME FILE --keys FILE",
		Short: "save the evidence: a bundle that anybody can check offline",
		Long: `Saves every event with its operation, place and receipt, the checkpoints and the DIDs of all
authors: 'weft channel verify' checks it with nothing but the genesis file. Contents stay
sealed in it, but for records that --open puts in beside: that hands over these records
and no key.`,
		Example: `  weft channel export incidents evidence.zip --keys soc.keys
  weft channel export SHP-001 invoice-case.zip --keys insurer.keys --open 1 --open 7`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			defer r.close()
			seqs := map[uint64]bool{}
			for _, text := range open {
				seq, err := strconv.ParseUint(text, 10, 63)
				if err != nil {
					return usage("--open %s: want the number of a record", text)
				}
				seqs[seq] = true
			}
			if err := r.enter(c.Context(), args[0]); err != nil {
				return err
			}
			return r.failed(r.export(c.Context(), args[1], to, seqs, openAll))
		},
	}
	r.addReading(c)
	f := c.Flags()
	f.Uint64Var(&to, "to", 0, "last event, at most 99999; default: the newest")
	f.StringArrayVar(&open, "open", nil, "put this record into the bundle in clear; may be repeated")
	f.BoolVar(&openAll, "open-all", false, "put in all records that open here")
	return c
}

func (r *channeling) export(ctx context.Context, path string, to uint64, open map[uint64]bool, all bool) error {
	if _, err := os.Stat(path); err == nil {
		return fmt.Errorf("%s is there already", path)
	}
	file, err := os.OpenFile(path+".part", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(path + ".part")
	defer file.Close()
	size, err := r.channel.Export(ctx, to, file)
	if err != nil {
		return err
	}
	done := path + ".part"
	if len(open) > 0 || all {
		done = path + ".opened"
		defer os.Remove(done)
		if err := r.addOpened(ctx, file, size, done, open, all); err != nil {
			return err
		}
	}
	if err := file.Sync(); err != nil {
		return err
	}
	if err := os.Rename(done, path); err != nil {
		return err
	}
	if r.json {
		return r.printJSON(map[string]any{"file": path, "channel": r.channel.ID})
	}
	r.print("%s written; to check it: weft channel verify %s --genesis genesis.json\n", path, path)
	return nil
}

// addOpened copies a bundle and adds records in clear.
func (r *channeling) addOpened(ctx context.Context, bundle io.ReaderAt, size int64, path string, open map[uint64]bool, all bool) error {
	in, err := zip.NewReader(bundle, size)
	if err != nil {
		return fmt.Errorf("the node's answer is no bundle: %w", err)
	}
	records, err := recordsIn(in)
	if err != nil {
		return fmt.Errorf("the node's answer is no bundle: %w", err)
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	out := zip.NewWriter(file)
	for _, entry := range in.File {
		err = errors.Join(err, out.Copy(entry))
	}
	w, createErr := out.Create(channel.FileOpened)
	if err = errors.Join(err, createErr); err == nil {
		err = r.writeOpened(ctx, w, records, open, all)
	}
	return errors.Join(err, out.Close(), file.Sync(), file.Close())
}

// recordsIn is how many records a bundle has: those behind its end are not to be opened in it.
func recordsIn(bundle *zip.Reader) (uint64, error) {
	f, err := bundle.Open(channel.FileManifest)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var m channel.Manifest
	err = json.NewDecoder(io.LimitReader(f, MaxGenesisFile)).Decode(&m)
	return m.Records, err
}

func (r *channeling) writeOpened(ctx context.Context, w io.Writer, records uint64, open map[uint64]bool, all bool) error {
	var fault error
	err := channel.WriteOpened(w, func(yield func(uint64, channel.Content) bool) {
		fault = r.channel.Records(ctx, client.RecordFilter{}, client.Page{Order: "asc"}, func(e audit.Entry) error {
			if e.Seq > records {
				return errEnough
			}
			if !all && !open[e.Seq] {
				return nil
			}
			content, err := r.content(ctx, e)
			if err != nil && all {
				return nil // what does not open stays sealed
			}
			if err != nil {
				return err
			}
			delete(open, e.Seq)
			if !yield(e.Seq, content) {
				return errEnough
			}
			return nil
		})
	})
	if fault != nil && !errors.Is(fault, errEnough) {
		err = errors.Join(err, fault)
	}
	if err != nil {
		return err
	}
	for seq := range open {
		return fmt.Errorf("there is no record %d in the bundle", seq)
	}
	return nil
}

// content is the whole content of a record, also of a detached one.
func (r *channeling) content(ctx context.Context, e audit.Entry) (channel.Content, error) {
	switch {
	case e.Content != nil:
		return *e.Content, nil
	case e.Code != "detached":
		return channel.Content{}, fmt.Errorf("record %d has no content here: %s", e.Seq, e.Code)
	case e.Signed.Record.Body.Blob.Size > channel.MaxOpenedPayload:
		return channel.Content{}, fmt.Errorf("record %d is too large to be put into a bundle in clear, at most %d bytes: hand the file over beside it", e.Seq, channel.MaxOpenedPayload)
	}
	var payload bytes.Buffer
	c, err := r.channel.OpenBlob(ctx, e, &payload)
	c.Payload = payload.Bytes()
	return c, err
}

func newChannelVerifyCommand(s *shell) *cobra.Command {
	genesis := ""
	c := &cobra.Command{
		Use:   "verify FILE --genesis FILE",
		Short: "check an evidence bundle, offline",
		Long: `Checks a bundle that 'weft channel export' saved, with nothing but the network's genesis
file: every receipt, every signature and whose key it was then, all rights at every event,
the chain of heads, what the signers had seen, and the contents that were put in.

Exit code 0: verified. 1: refused.`,
		Example: "  weft channel verify evidence.zip --genesis genesis.json",
		Args:    cobra.ExactArgs(1),
		RunE:    func(_ *cobra.Command, args []string) error { return s.verifyBundle(args[0], genesis) },
	}
	c.Flags().StringVar(&genesis, "genesis", "", "the network's genesis file: the only thing that is trusted")
	return c
}

func (s *shell) verifyBundle(path, genesis string) error {
	if genesis == "" {
		return usage("--genesis is missing: the network's genesis file, the only thing that is trusted")
	}
	trusted, err := s.readInput(genesis, MaxGenesisFile)
	if err != nil {
		return usage("--genesis: %s", err)
	}
	bundle, closer, err := openBundle(path)
	if err != nil {
		return err
	}
	defer closer.Close()
	report := channel.VerifyBundle(trusted, bundle)
	if s.json {
		s.printJSON(report)
	}
	rows := [][]string{}
	for _, c := range report.Checks {
		row := []string{"ok", c.Name}
		switch {
		case c.Code == receipt.CodeSkipped: // something before it failed
			row[0] = "skipped"
		case !c.OK:
			row = []string{"REFUSED", c.Name, c.Code, c.Detail}
		}
		rows = append(rows, row)
	}
	s.table(rows)
	if !report.Verified {
		return errors.New("the bundle is refused")
	}
	if !s.json {
		s.printEvidence(report)
	}
	return nil
}

// printEvidence says what a bundle proves, and what it does not.
func (s *shell) printEvidence(r channel.Report) {
	s.print("verified: channel %s, %d events, %d records, %d opened\n", r.Channel, r.Events, r.Records, r.Opened)
	if r.Gone > 0 {
		s.print("%d records are gone, %d erased and %d past retention: of who wrote them and what they held hashes are proved\n", r.Gone, r.Erased, r.Gone-r.Erased)
	}
	if r.ByTime > 0 {
		s.print("%d of them are past retention by a time behind event %d: what kept them longer may have been left out\n", r.ByTime, r.Covered)
	}
	s.print("up to event %d later signatures say that nothing was left out; what follows rests on the checkpoints\n", r.Covered)
	if r.AsOf != nil {
		s.print("as of %s: what came after the last event here it cannot say; %d commit times are exact, the others lie between checkpoints\n", r.AsOf.Time, r.Exact)
	}
}

// openBundle opens a ZIP file, or a folder that one was unpacked into.
func openBundle(path string) (fs.FS, io.Closer, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, usage("%s", err)
	}
	if info.IsDir() {
		return os.DirFS(path), io.NopCloser(nil), nil
	}
	bundle, err := zip.OpenReader(path)
	if err != nil {
		return nil, nil, fmt.Errorf("%s is no bundle: %w", path, err)
	}
	return bundle, bundle, nil
}
