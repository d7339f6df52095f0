package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"weft/client/audit"
	"weft/config"
	"weft/plugins/identity/did"
	"weft/plugins/streams/channel"
)

// MaxPublicFile bounds what is read as the public part of a record.
const MaxPublicFile = 32 << 10

// channelWrite is one run of channel write.
type channelWrite struct {
	channeling
	terms     channel.RecordTerms
	topic     string
	public    string
	mediaType string
	title     string
	labels    []string
	detached  bool
	lines     bool
	inFlight  int
	resume    string
	tailing   bool
	warned    bool // of what looks personal
}

func newChannelWriteCommand(s *shell) *cobra.Command {
	r := &channelWrite{channeling: channeling{acting: acting{shell: s}}}
	c := &cobra.Command{
		Use:   "write NAME [FILE|-] --keys FILE",
		Short: "write a record: a file, the standard input, or every line of it",
		Long: `Seals the input for the readers of the channel and writes it as one record; with --lines
every line that is not empty is one. Up to 16 KiB stand in the record itself. What is
larger, or --detached, is uploaded in encrypted chunks beside the
ledger. In a public channel nothing is sealed: lines and small texts become the public part.

--lines takes an endless input in bounded memory: lines travel in batches, or as soon as
the input pauses, and become records in their order but for those that are sealed anew
because an epoch has ended meanwhile. With --resume FILE nothing is lost or written twice when the run is cut
off: the file keeps what is under way, and the next run with it goes on behind the last
line that counts. It skips the lines that are done; with --tail the input is one that goes
on where it was, as that of 'tail -n 0 -F' does. Other flags than before count for the
lines that are not sealed yet.

Without --lines, --resume FILE goes on with an upload in chunks, with the same flags alone.
A record that stands on the ledger is one request: whether it arrived, 'weft channel read'
shows.

Exit code 0: all records are final. 1: some were refused. 3: the node is away.`,
		Example: `  weft channel write SHP-001 invoice.pdf --keys carrier.keys --type invoice --tag customs
  tail -n 0 -F ids.log | weft channel write incidents --lines --keys ids.keys --resume ids.state --tail`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error { return r.run(c.Context(), args) },
	}
	r.addActing(c)
	f := c.Flags()
	f.StringVar(&r.terms.RecordType, "type", "", "type of the record, to find it by; visible to all members")
	f.StringVar(&r.terms.Tag, "tag", "", "tag of the channel that it has; visible to all members")
	f.StringVar(&r.topic, "topic", "", "TYPE=SOURCE; visible to all members")
	f.StringVar(&r.public, "public", "", "file with a JSON object that stays readable for all members; never for personal data")
	f.StringVar(&r.mediaType, "media-type", "", "media type; default: by the file's name")
	f.StringVar(&r.title, "title", "", "name of the content, sealed; default: the file's name")
	f.StringArrayVar(&r.labels, "label", nil, "NAME=VALUE, sealed; may be repeated")
	f.Uint64Var(&r.terms.Supersedes, "supersedes", 0, "number of the record that this one corrects; both stay")
	f.BoolVar(&r.detached, "detached", false, "beside the ledger even if it is small: an audit channel can erase nothing else")
	f.BoolVar(&r.lines, "lines", false, "every line is a record; empty lines are skipped")
	f.IntVar(&r.inFlight, "in-flight", 8, "with --lines: batches at the same time, at most 16")
	f.StringVar(&r.resume, "resume", "", "file that keeps what is under way, mode 0600: a run that was cut off goes on with it")
	f.BoolVar(&r.tailing, "tail", false, "with --lines and --resume: the input goes on where it was cut off, so skip nothing")
	return c
}

func (r *channelWrite) run(ctx context.Context, args []string) error {
	defer r.close()
	if err := r.check(); err != nil {
		return err
	}
	input, size, err := r.open(args)
	if err != nil {
		return err
	}
	defer input.Close()
	if err := r.enter(ctx, args[0]); err != nil {
		return err
	}
	if r.lines {
		return r.writeLines(ctx, input)
	}
	return r.writeWhole(ctx, input, size)
}

func (r *channelWrite) check() (err error) {
	switch {
	case len(r.keys.files) == 0:
		return usage("--keys is missing: who writes?")
	case r.lines && (r.offline() || r.detached || r.terms.Supersedes != 0):
		return usage("--lines goes with none of --draft, --out, --detached and --supersedes")
	case r.inFlight < 1 || r.inFlight > MaxLineBatches:
		return usage("--in-flight %d: want 1 to %d", r.inFlight, MaxLineBatches)
	case r.tailing && (!r.lines || r.resume == ""):
		return usage("--tail goes with --lines and --resume FILE")
	case r.finishFlags.draft != "":
		return usage("a record cannot be a draft: it is sealed for one nonce; --out writes it signed")
	}
	if _, err = r.options(); err != nil {
		return err
	}
	if r.topic != "" {
		topics, err := parseTopics([]string{r.topic})
		if err != nil {
			return err
		}
		r.terms.Topic = &(*topics)[0]
	}
	if r.public != "" {
		raw, err := r.readInput(r.public, MaxPublicFile)
		if err != nil {
			return err
		}
		if r.terms.Public, err = did.DecodeObject(raw, did.JSONLimits{MaxBytes: MaxPublicFile}); err != nil {
			return fmt.Errorf("%s: %w", r.public, err)
		}
		r.lint(r.terms.Public)
	}
	return nil
}

// lint warns once of what looks personal in what stays readable.
func (r *channelWrite) lint(public did.Object) {
	if r.warned {
		return
	}
	for _, found := range audit.Lint(public) {
		r.warned = true
		fmt.Fprintf(r.err, "weft: warning: %s: all members can read it, for good\n", found)
	}
}

// open opens the input; size is -1 if it is no regular file.
func (r *channelWrite) open(args []string) (io.ReadCloser, int64, error) {
	if len(args) < 2 || args[1] == "-" {
		return io.NopCloser(r.in), -1, nil
	}
	f, err := os.Open(args[1])
	if err != nil {
		return nil, 0, usage("%s", err)
	}
	if r.title == "" {
		r.title = filepath.Base(args[1])
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return f, -1, nil
	}
	return f, info.Size(), nil
}

// meta is what stands beside the payload, sealed.
func (r *channelWrite) meta() (did.Object, error) {
	meta := did.Object{}
	kind := r.mediaType
	if kind == "" {
		kind = mime.TypeByExtension(filepath.Ext(r.title))
	}
	if kind != "" {
		meta["mediaType"] = kind
	}
	if r.title != "" && !r.lines {
		meta["name"] = r.title
	}
	for _, label := range r.labels {
		name, value, ok := strings.Cut(label, "=")
		if !ok || name == "" {
			return nil, usage("--label %s: want NAME=VALUE", label)
		}
		meta[name] = value
	}
	return meta, nil
}

// writeWhole writes the input as one record.
func (r *channelWrite) writeWhole(ctx context.Context, input io.Reader, size int64) error {
	meta, err := r.meta()
	if err != nil {
		return err
	}
	public := r.channel.Info.Access == channel.Public
	if file, ok := input.(*os.File); ok && size >= 0 && (r.detached || public || size > channel.MaxInlinePayload) {
		return r.writeDetached(ctx, meta, file, size)
	}
	payload, err := io.ReadAll(io.LimitReader(input, channel.MaxInlinePayload+1))
	if err != nil {
		return err
	}
	record := audit.Record{Terms: r.terms, Body: true, Meta: meta, Payload: payload}
	switch {
	case len(payload) == 0 && r.terms.Public == nil:
		return usage("the input is empty: there is nothing to write")
	case len(payload) == 0:
		record.Body = false
	case len(payload) > channel.MaxInlinePayload || r.detached || public:
		return r.spool(ctx, meta, io.MultiReader(bytes.NewReader(payload), input))
	}
	return r.writeOne(ctx, record)
}

// spool keeps an input that cannot be read twice in a file of this user, until it is uploaded.
func (r *channelWrite) spool(ctx context.Context, meta did.Object, input io.Reader) error {
	if r.resume != "" {
		return usage("--resume with a large input needs a file, not a pipe")
	}
	file, err := os.CreateTemp("", "weft-record-*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	size, err := io.Copy(file, io.LimitReader(input, channel.MaxBlob+1))
	if err != nil {
		return err
	}
	return r.writeDetached(ctx, meta, file, size)
}

func (r *channelWrite) writeOne(ctx context.Context, record audit.Record) error {
	options, err := r.options()
	if err != nil {
		return err
	}
	if r.finishFlags.out != "" {
		entry, err := r.channel.Seal(record)
		if err != nil {
			return err
		}
		return r.writeSigned(entry)
	}
	done, err := r.channel.Write(ctx, record, options.Final)
	if err != nil {
		return r.failed(err)
	}
	return r.showOperated(done.Operated)
}

// writeSigned writes a signed record to --out.
func (r *channelWrite) writeSigned(entry []byte) error {
	if r.finishFlags.out == "-" {
		_, err := r.shell.out.Write(append(entry, '\n'))
		return err
	}
	if err := config.WriteNew(r.finishFlags.out, entry, 0o644); err != nil {
		return err
	}
	if r.json {
		return r.printJSON(map[string]any{"file": r.finishFlags.out})
	}
	r.print("%s: signed record; 'weft did submit' publishes it\n", r.finishFlags.out)
	return nil
}

// uploadState is what --resume keeps of a detached record. It is secret until the record is written.
type uploadState struct {
	Channel channel.ID    `json:"channel"`
	Upload  *audit.Upload `json:"upload"`
}

func (r *channelWrite) writeDetached(ctx context.Context, meta did.Object, file *os.File, size int64) error {
	options, err := r.options()
	if err != nil {
		return err
	}
	if size > channel.MaxBlob {
		return fmt.Errorf("too_large: a record has at most %d bytes", channel.MaxBlob)
	}
	begun, err := r.loadUpload()
	if err != nil {
		return err
	}
	if begun != nil && !begun.IsOf(r.session.Identity.DID, r.terms, meta) {
		return usage("%s was begun by somebody else, or with other flags for type, tag, topic, public, supersedes, title, media type or labels: repeat them as they were, or remove it to begin anew", r.resume)
	}
	line := r.progress()
	told := func(done, all int) { line.show("%d of %d chunks", done, all) }
	if r.finishFlags.out != "" {
		upload, err := r.channel.NewUpload(r.terms, meta, file, size)
		if err != nil {
			return err
		}
		entry, err := r.channel.Upload(ctx, upload, file, size, told)
		line.clear()
		if err != nil {
			return r.failed(err)
		}
		return r.writeSigned(entry)
	}
	record := audit.Record{Terms: r.terms, Body: true, Meta: meta}
	done, err := r.channel.WriteDetached(ctx, record, begun, file, size, options.Final, r.keepUpload, told)
	line.clear()
	if err != nil {
		if r.resume != "" {
			err = fmt.Errorf("%w\nthe same command with --resume %s goes on where this ended", err, r.resume)
		}
		return r.failed(err)
	}
	if r.resume != "" {
		_ = os.Remove(r.resume) // what it holds is of no use any more
	}
	return r.showOperated(done.Operated)
}

// keepUpload writes the state of an upload that begins, in the place of one that is of no use any more.
func (r *channelWrite) keepUpload(u *audit.Upload, instead error) error {
	if instead != nil {
		fmt.Fprintf(r.err, "weft: %s: it begins anew, with fresh keys\n", instead)
	}
	if r.resume == "" {
		return nil
	}
	raw, err := json.Marshal(uploadState{r.channel.ID, u})
	if err != nil {
		return err
	}
	return replaceFile(r.resume, raw)
}

func (r *channelWrite) loadUpload() (*audit.Upload, error) {
	if r.resume == "" {
		return nil, nil
	}
	raw, err := os.ReadFile(r.resume)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var state uploadState
	if object, err := did.DecodeObject(raw, did.JSONLimits{MaxBytes: MaxOperationFile}); err != nil || json.Unmarshal(raw, &state) != nil || state.Upload == nil {
		return nil, fmt.Errorf("%s is not the state of an upload", r.resume)
	} else if upload, ok := object["upload"].(did.Object); ok {
		state.Upload.Header, _ = upload["header"].(did.Object) // numbers as they were
		state.Upload.Meta, _ = upload["meta"].(did.Object)
	}
	if state.Channel != r.channel.ID {
		return nil, fmt.Errorf("%s is of an upload into channel %s", r.resume, state.Channel)
	}
	return state.Upload, nil
}

// replaceFile puts a new version in the place of a file of this user; a crash leaves one of them.
func replaceFile(path string, data []byte) error {
	file, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
