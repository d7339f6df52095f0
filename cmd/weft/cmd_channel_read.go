package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"weft/client"
	"weft/client/audit"
	"weft/config"
	"weft/plugins/identity/did"
	"weft/plugins/streams/channel"
	"weft/tangle"
)

// recordLine is a record in clear, as read and follow print it under --json, and as validate takes it.
type recordLine struct {
	Seq         uint64               `json:"seq"`
	Event       uint64               `json:"event"`
	Time        time.Time            `json:"time"` // commit time
	Author      string               `json:"author,omitempty"`
	Type        string               `json:"recordType,omitempty"`
	Tag         string               `json:"tag,omitempty"`
	Supersedes  uint64               `json:"supersedes,omitempty"`
	Superseded  []client.Superseding `json:"supersededBy,omitempty"`
	Public      any                  `json:"public,omitempty"`
	ContentHash *tangle.Hash         `json:"contentHash,omitempty"`
	Code        string               `json:"code,omitempty"` // why there is no content: erased, no_key, detached, no_body, ...
	Salt        string               `json:"salt,omitempty"` // base64url
	Meta        json.RawMessage      `json:"meta,omitempty"`
	Text        *string              `json:"text,omitempty"`  // the payload, if it is text
	Bytes       string               `json:"bytes,omitempty"` // else: base64url
}

func lineOf(e audit.Entry) recordLine {
	l := recordLine{Seq: e.Seq, Event: e.Event, Time: e.Time, Author: e.Actor, Superseded: e.Superseded, Code: e.Code}
	if op := e.Signed; op != nil {
		l.Type, l.Tag, l.Supersedes, l.Public = op.Record.RecordType, op.Record.Tag, op.Record.Supersedes, op.Envelope.Body["public"]
		if op.Record.Body != nil {
			l.ContentHash = &op.Record.ContentHash
		}
	}
	if c := e.Content; c != nil {
		l.Salt, l.Meta = base64.RawURLEncoding.EncodeToString(c.Salt), c.Meta
		if text := string(c.Payload); utf8.ValidString(text) {
			l.Text = &text
		} else {
			l.Bytes = base64.RawURLEncoding.EncodeToString(c.Payload)
		}
	}
	return l
}

func newChannelReadCommand(s *shell) *cobra.Command {
	r := &channeling{acting: acting{shell: s}}
	f := client.RecordFilter{}
	out, from, to, topic, descending, count := "", "", "", "", false, 0
	c := &cobra.Command{
		Use:   "read NAME [SEQ] --keys FILE",
		Short: "print records in clear, or save one",
		Long: `Reads and decrypts records; every signature and hash is checked here. With SEQ and --out it
saves the content of one record, also of one that lies beside the ledger.`,
		Example: `  weft channel read incidents --keys soc.keys --type threat
  weft channel read SHP-001 1 --keys insurer.keys --out invoice.pdf
  weft channel read incidents --keys soc.keys --json > copy.jsonl`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) (err error) {
			defer r.close()
			if len(args) == 1 && out != "" {
				return usage("--out is for one record: give its number")
			}
			if f.TimeFrom, err = timeOrZero("since", from); err != nil {
				return err
			}
			if f.TimeTo, err = timeOrZero("before", to); err != nil {
				return err
			}
			f.TopicType, f.TopicSource, _ = strings.Cut(topic, "=")
			if err := r.enter(c.Context(), args[0]); err != nil {
				return err
			}
			if len(args) == 2 {
				return r.readOne(c.Context(), args[1], out)
			}
			page := client.Page{Order: "asc"}
			if descending {
				page.Order = "desc"
			}
			return r.readAll(c.Context(), f, page, count)
		},
	}
	r.addReading(c)
	fs := c.Flags()
	fs.Uint64Var(&f.From, "from", 0, "first record")
	fs.Uint64Var(&f.To, "to", 0, "last record")
	fs.StringVar(&f.Type, "type", "", "only records of this type")
	fs.StringVar(&f.Tag, "tag", "", "only records with this tag")
	fs.StringVar(&topic, "topic", "", "TYPE or TYPE=SOURCE")
	fs.StringVar(&f.Author, "author", "", "only records of this DID")
	fs.StringVar(&f.Contains, "contains", "", "only records with this text in their public part")
	fs.StringVar(&from, "since", "", "only records from this time on")
	fs.StringVar(&to, "before", "", "only records before this time")
	fs.BoolVar(&descending, "newest-first", false, "begin with the newest")
	fs.IntVar(&count, "count", 0, "at most so many; 0: all")
	fs.StringVar(&out, "out", "", "with SEQ: file for the content, never overwritten; - prints it")
	return c
}

func timeOrZero(name, text string) (t time.Time, err error) {
	at, err := optionalTime(name, text)
	if at != nil {
		t = *at
	}
	return t, err
}

// readAll prints records. What does not open is printed as such, and makes the command fail in the end if it should have.
func (r *channeling) readAll(ctx context.Context, f client.RecordFilter, page client.Page, count int) error {
	seen, bad := 0, 0
	err := r.channel.Records(ctx, f, page, func(e audit.Entry) error {
		if seen == count && count > 0 {
			return errEnough
		}
		seen++
		if e.Fault != nil {
			bad++
		}
		return r.showRecord(e)
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	if err == nil && bad > 0 {
		return fmt.Errorf("%d of %d records are not what their author signed, or do not open", bad, seen)
	}
	return r.failed(err)
}

func (r *channeling) showRecord(e audit.Entry) error {
	l := lineOf(e)
	if r.json {
		return r.printJSON(l)
	}
	text := ""
	switch {
	case e.Content != nil:
		text = printable(e.Content.Payload)
	case e.Fault != nil:
		text = "(" + e.Fault.Error() + ")"
	case l.Code != "no_body":
		text = "(" + l.Code + ")"
	}
	if l.Public != nil {
		text = strings.TrimSpace(text + "  " + plain(l.Public))
	}
	mark := ""
	for _, s := range l.Superseded {
		mark += fmt.Sprintf(" superseded by %d", s.Seq)
	}
	_, err := fmt.Fprintf(r.shell.out, "%d  %s  %s  %s%s  %s\n", l.Seq, clock(&l.Time), l.Author, strings.TrimSpace(l.Type+" "+l.Tag), mark, text)
	return err
}

func (r *channeling) readOne(ctx context.Context, number, out string) error {
	seq, err := strconv.ParseUint(number, 10, 63)
	if err != nil || seq == 0 {
		return usage("%s: want the number of a record", number)
	}
	e, err := r.channel.Record(ctx, seq)
	if err != nil {
		return r.failed(err)
	}
	if out == "" {
		if err := r.showRecord(e); err != nil {
			return err
		}
		return e.Fault
	}
	return r.failed(r.saveRecord(ctx, e, out))
}

// saveRecord writes the content of a record; a file appears only once it is whole and checked.
func (r *channeling) saveRecord(ctx context.Context, e audit.Entry, path string) error {
	if e.Content != nil {
		if path == "-" {
			_, err := r.shell.out.Write(e.Content.Payload)
			return err
		}
		return config.WriteNew(path, e.Content.Payload, 0o600)
	}
	if e.Code != "detached" {
		return fmt.Errorf("record %d has no content here: %s", e.Seq, e.Code)
	}
	if path == "-" {
		return r.printBlob(ctx, e)
	}
	if _, err := os.Stat(path); err == nil {
		return fmt.Errorf("%s is there already", path)
	}
	file, err := os.OpenFile(path+".part", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(path + ".part")
	_, err = r.channel.OpenBlob(ctx, e, file)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Rename(path+".part", path)
}

// printBlob keeps back what is not checked yet: it goes through a file.
func (r *channeling) printBlob(ctx context.Context, e audit.Entry) error {
	dir, err := os.MkdirTemp("", "weft-record-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "content")
	if err := r.saveRecord(ctx, e, path); err != nil {
		return err
	}
	content, err := os.Open(path)
	if err != nil {
		return err
	}
	defer content.Close()
	_, err = content.WriteTo(r.shell.out)
	return err
}

func newChannelFollowCommand(s *shell) *cobra.Command {
	r := &channeling{acting: acting{shell: s}}
	after, count, settle, events := uint64(0), 0, false, false
	c := &cobra.Command{
		Use:   "follow NAME --keys FILE",
		Short: "print records in clear as they become final, until Ctrl-C",
		Long: `Prints each record once, in order, and goes on by itself when the connection breaks. With
--settle it also keeps the keys right, as an admin's client should: a new epoch when a
reader's right has ended, keys for who misses one.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			defer r.close()
			if count < 0 {
				return usage("--count %d: want 0 or more", count)
			}
			if err := r.enter(c.Context(), args[0]); err != nil {
				return err
			}
			from := &r.channel.Info.LastEvent
			if c.Flags().Changed("after") {
				from = &after
			}
			return r.followChannel(c.Context(), from, count, settle, events)
		},
	}
	r.addReading(c)
	f := c.Flags()
	f.Uint64Var(&after, "after", 0, "begin behind this event; default: with what comes next")
	f.IntVar(&count, "count", 0, "end after so many records; 0: never")
	f.BoolVar(&settle, "settle", false, "answer with new keys where they are due; for admins")
	f.BoolVar(&events, "events", false, "also membership, epochs, configuration, locks and erasures")
	return c
}

func (r *channeling) followChannel(ctx context.Context, after *uint64, count int, settle, events bool) error {
	seen := 0
	err := r.channel.Follow(ctx, after, func(h client.ChannelHappening) error {
		switch {
		case h.Name == "record":
			if err := r.showRecord(r.channel.OpenRecord(ctx, h.Event)); err != nil {
				return err
			}
			if seen++; seen == count {
				return errEnough
			}
			return nil
		case h.Name == "epoch":
			if err := r.channel.Refresh(ctx); err != nil {
				return err
			}
		}
		if events {
			r.showHappening(h)
		}
		if settle && (h.Name == "rekeyDue" || h.Name == "membership") {
			done, err := r.channel.Settle(ctx)
			r.warn(done.Skipped)
			r.told(done)
			return err
		}
		return nil
	}, func(err error) { fmt.Fprintf(r.err, "weft: %s: connecting again\n", err) })
	if errors.Is(err, errEnough) || ctx.Err() != nil {
		return nil // as asked
	}
	return r.failed(err)
}

func (r *channeling) showHappening(h client.ChannelHappening) {
	if r.json {
		r.printJSON(map[string]any{"event": h.Name, "data": h.Data})
		return
	}
	r.print("-  %s  %s  %s %s\n", clock(&h.Event.Time), h.Event.Actor, h.Name, h.Event.Op)
}

func newChannelRestoreCommand(s *shell) *cobra.Command {
	r := &channeling{acting: acting{shell: s}}
	c := &cobra.Command{
		Use:   "restore FOLDER --keys FILE",
		Short: "get back everything that you can read, from the key file alone",
		Long: `Finds all channels that you take part in, opens what their keys open, checks each chain of
heads, and writes it into a new folder: for each channel its settings, its records in
clear, and the contents that lie beside the ledger.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return r.restore(c.Context(), args[0]) },
	}
	r.addReading(c)
	return c
}

func (r *channeling) restore(ctx context.Context, folder string) error {
	defer r.close()
	if len(r.keys.files) == 0 {
		return usage("--keys is missing: whose channels?")
	}
	if err := r.start(ctx, true); err != nil {
		return err
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		return err
	}
	faults, channels := 0, 0
	err := r.each(ctx, client.ChannelFilter{Participant: r.session.Identity.DID, Archived: true}, func(c client.Channel) error {
		channels++
		n, err := r.restoreChannel(ctx, c.ID, filepath.Join(folder, c.ID.String()))
		faults += n
		return err
	})
	if err == nil && faults > 0 {
		return fmt.Errorf("%d records do not open", faults)
	}
	if err == nil && channels == 0 {
		return fmt.Errorf("%s takes part in no channel", r.session.Identity.DID)
	}
	return r.failed(err)
}

func (r *channeling) restoreChannel(ctx context.Context, id channel.ID, folder string) (faults int, err error) {
	if r.channel, err = r.session.Open(ctx, id); err != nil {
		return 0, err
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		return 0, err
	}
	settings, err := json.MarshalIndent(map[string]any{"channel": r.channel.Info, "profile": r.channel.Profile}, "", "  ")
	if err != nil {
		return 0, err
	}
	if err := config.WriteNew(filepath.Join(folder, "channel.json"), append(settings, '\n'), 0o600); err != nil {
		return 0, err
	}
	if r.channel.Info.Rights.Reads() {
		if _, err := r.channel.Events(ctx, func(client.ChannelEvent, *channel.Operation) error { return nil }); err != nil {
			return 0, err
		}
	}
	file, err := os.OpenFile(filepath.Join(folder, "records.jsonl"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, err
	}
	records, opened := 0, 0
	err = r.channel.Records(ctx, client.RecordFilter{}, client.Page{Order: "asc"}, func(e audit.Entry) error {
		records++
		if e.Fault != nil {
			faults++
		}
		if e.Content != nil {
			opened++
		}
		if e.Code == "detached" {
			if err := r.saveRecord(ctx, e, filepath.Join(folder, strconv.FormatUint(e.Seq, 10)+".content")); err != nil {
				fmt.Fprintf(r.err, "weft: record %d: %s\n", e.Seq, err)
			} else {
				opened++
			}
		}
		return json.NewEncoder(file).Encode(lineOf(e))
	})
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return faults, err
	}
	if r.json {
		return faults, r.printJSON(map[string]any{"channel": id, "name": r.channel.Name(), "records": records, "opened": opened})
	}
	r.print("%s  %s: %d records, %d opened\n", id, printable([]byte(r.channel.Name())), records, opened)
	return faults, nil
}

func newChannelValidateCommand(s *shell) *cobra.Command {
	r := &channeling{acting: acting{shell: s}}
	seq := uint64(0)
	c := &cobra.Command{
		Use:   "validate NAME FILE --keys FILE",
		Short: "compare a copy with the ledger: a file with one record, or lines that 'read --json' wrote",
		Long: `Hashes the copy here and asks the node whether the ledger has these hashes; no content is
sent. Without --seq the copy is what 'weft channel read --json' wrote; with --seq it is
the content of that record, as 'read --out' saved it.

Exit code 0: all of it is what was written. 1: something is not.`,
		Example: `  weft channel validate incidents copy.jsonl --keys soc.keys
  weft channel validate SHP-001 invoice.pdf --seq 1 --keys insurer.keys`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			defer r.close()
			if err := r.enter(c.Context(), args[0]); err != nil {
				return err
			}
			return r.failed(r.validate(c.Context(), args[1], seq))
		},
	}
	r.addReading(c)
	c.Flags().Uint64Var(&seq, "seq", 0, "the file is the content of this record")
	return c
}

func (r *channeling) validate(ctx context.Context, path string, seq uint64) error {
	claims, err := r.claims(ctx, path, seq)
	if err != nil {
		return err
	}
	verdicts, err := r.channel.Validate(ctx, claims)
	if err != nil {
		return err
	}
	bad := 0
	for _, v := range verdicts {
		if r.json {
			r.printJSON(v)
		}
		if v.Valid {
			continue
		}
		bad++
		r.print("record %d: %s\n", v.Seq, v.Code)
	}
	if bad > 0 || len(verdicts) != len(claims) {
		return fmt.Errorf("%d of %d records are not as they were written", bad+len(claims)-len(verdicts), len(claims))
	}
	if !r.json {
		r.print("%d records are as they were written\n", len(claims))
	}
	return nil
}

// claims are what the copy hashes to.
func (r *channeling) claims(ctx context.Context, path string, seq uint64) (list []client.Claim, err error) {
	if seq > 0 {
		hash, err := r.hashFile(ctx, path, seq)
		return []client.Claim{{Seq: seq, ContentHash: hash}}, err
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, usage("%s", err)
	}
	defer file.Close()
	for lines := json.NewDecoder(file); lines.More(); {
		var l recordLine
		if err := lines.Decode(&l); err != nil {
			return nil, fmt.Errorf("%s: record %d is not what 'weft channel read --json' writes: %w", path, len(list)+1, err)
		}
		if l.Salt == "" {
			continue // there was no content to copy
		}
		hash, err := l.hash()
		if err != nil {
			return nil, fmt.Errorf("%s: record %d: %w", path, l.Seq, err)
		}
		list = append(list, client.Claim{Seq: l.Seq, ContentHash: hash})
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s has no record with content", path)
	}
	return list, nil
}

func (l recordLine) hash() (h tangle.Hash, err error) {
	salt, err := base64.RawURLEncoding.DecodeString(l.Salt)
	if err != nil {
		return h, err
	}
	meta, err := did.DecodeObject(l.Meta, did.JSONLimits{})
	if err != nil {
		return h, err
	}
	text, err := did.Canonical(meta)
	if err != nil {
		return h, err
	}
	payload, err := base64.RawURLEncoding.DecodeString(l.Bytes)
	if l.Text != nil {
		payload = []byte(*l.Text)
	}
	return channel.ContentHash(salt, text, payload), err
}

// hashFile takes salt and meta from the record, and the payload from the file.
func (r *channeling) hashFile(ctx context.Context, path string, seq uint64) (h tangle.Hash, err error) {
	e, err := r.channel.Record(ctx, seq)
	if err != nil {
		return h, err
	}
	content := e.Content
	if e.Code == "detached" {
		opened, err := r.channel.OpenBlob(ctx, e, &bytes.Buffer{})
		if err != nil {
			return h, err
		}
		content = &opened
	}
	if content == nil {
		return h, fmt.Errorf("record %d has no content here: %s", seq, e.Code)
	}
	payload, err := r.readInput(path, channel.MaxBlob)
	return channel.ContentHash(content.Salt, content.Meta, payload), err
}
