package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"weft/client"
)

// Bounds of what message send keeps in memory and puts into a request.
const (
	MaxEntryInput   = 32 << 10 // bytes of one entry; genesis may allow less
	MaxBatchInput   = 44 << 10 // bytes of the entries of one request: its JSON must stay below 64 KiB
	MaxSendInFlight = 64       // requests
	entryJSONBytes  = 64       // of an entry in a request, beyond its bytes
)

// sending is one run of message send.
type sending struct {
	*shell
	node *client.Client

	tag      string
	lines    bool
	wait     string
	timeout  time.Duration
	inFlight int
	resume   string

	batches, entries, final, rejected int
	start                             time.Time
	line                              *progress
}

func newSendCommand(s *shell) *cobra.Command {
	r := &sending{shell: s}
	c := &cobra.Command{
		Use:   "send [FILE|-]",
		Short: "put a file, or every line of one, on the ledger",
		Long: `Puts data on the ledger as entries under the member's signature, and prints the
hash of each: with it 'weft receipt get' fetches the proof.

The whole input is one entry (at most 32 KiB), or with --lines every line that is
not empty. Many lines travel in requests of up to 64 entries, several at a time;
memory use does not depend on the length of the input.

A run that was cut off can be repeated: it prints a --resume key, and with that
key and the same input nothing is put on the ledger twice.`,
		Example: `  weft message send --tag note hello.txt
  journalctl -o cat | weft message send --lines --tag audit --wait final`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return r.run(c.Context(), args) },
	}
	f := c.Flags()
	f.StringVar(&r.tag, "tag", "", "tag of the entries, to find and follow them by")
	f.BoolVar(&r.lines, "lines", false, "every line is an entry; empty lines are skipped")
	f.StringVar(&r.wait, "wait", "", "final: wait until the entries are final")
	f.DurationVar(&r.timeout, "timeout", client.MaxWait, "how long to wait for each request to become final, at most 30s")
	f.IntVar(&r.inFlight, "in-flight", 8, "requests at the same time, at most 64")
	f.StringVar(&r.resume, "resume", "", "key that an earlier run with the same input printed")
	return c
}

func (r *sending) run(ctx context.Context, args []string) error {
	if err := r.check(); err != nil {
		return err
	}
	input, err := r.open(args)
	if err != nil {
		return err
	}
	defer input.Close()
	retry := client.DefaultRetry()
	retry.Silences = retry.Attempts // a node that restarts is worth waiting for
	if r.node, err = r.client(retry); err != nil {
		return err
	}
	r.start, r.line = time.Now(), r.progress()
	err = r.send(ctx, input)
	r.line.clear()
	if err != nil && r.lines {
		err = fmt.Errorf("%w\n%d entries are on their way; to go on where this ended, repeat the command with --resume %s", remote(r.node, err), r.entries, r.resume)
		return err
	}
	if err != nil {
		return remote(r.node, err)
	}
	return r.summary()
}

func (r *sending) check() error {
	switch {
	case r.wait != "" && r.wait != "final":
		return usage("--wait %s: the only thing to wait for is final", r.wait)
	case r.timeout <= 0 || r.timeout > client.MaxWait:
		return usage("--timeout %s: want more than 0s and at most %s", r.timeout, client.MaxWait)
	case r.inFlight < 1 || r.inFlight > MaxSendInFlight:
		return usage("--in-flight %d: want 1 to %d", r.inFlight, MaxSendInFlight)
	case r.resume != "" && (len(r.resume) < 8 || len(r.resume) > 48):
		return usage("--resume %s: want the key that the earlier run printed", r.resume)
	}
	if r.resume == "" {
		r.resume = client.NewKey()
	}
	return nil
}

func (r *sending) open(args []string) (io.ReadCloser, error) {
	if len(args) == 0 || args[0] == "-" {
		return io.NopCloser(r.in), nil
	}
	f, err := os.Open(args[0])
	if err != nil {
		return nil, usage("%s", err)
	}
	return f, nil
}

// batch is one request: entries in the order of the input.
type batch struct {
	number  int
	lines   []int // of the input, from 1; parallel to entries
	entries []client.Entry
	bytes   int
	done    chan sent // gets one value
}

type sent struct {
	result client.Submitted
	err    error
}

// send reads, submits and reports: three stages, joined by a queue that holds the requests in flight in their order.
func (r *sending) send(ctx context.Context, input io.Reader) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	queue := make(chan *batch, r.inFlight-1)
	read := make(chan error, 1)
	go func() {
		defer close(queue)
		read <- r.read(ctx, input, queue)
	}()
	for b := range queue {
		got := <-b.done
		if got.err != nil {
			return got.err
		}
		if err := r.report(b, got.result); err != nil {
			return err
		}
	}
	return <-read
}

// submit hands a full batch over and sends it.
func (r *sending) submit(ctx context.Context, b *batch, queue chan<- *batch) error {
	select {
	case queue <- b:
	case <-ctx.Done():
		return ctx.Err()
	}
	o := client.Options{Key: r.resume + "-" + strconv.Itoa(b.number)}
	if r.wait == "final" {
		o.Final = r.timeout
	}
	go func() {
		result, err := r.node.Submit(ctx, b.entries, o)
		b.done <- sent{result, err}
	}()
	return nil
}

func newBatch(number int) *batch { return &batch{number: number, done: make(chan sent, 1)} }

// read cuts the input into batches. How it cuts depends on the input alone: resuming relies on that.
func (r *sending) read(ctx context.Context, input io.Reader, queue chan<- *batch) error {
	if !r.lines {
		return r.readWhole(ctx, input, queue)
	}
	lines := bufio.NewScanner(input)
	lines.Buffer(make([]byte, 0, 64<<10), MaxEntryInput+2)
	b, at := newBatch(0), 0
	for lines.Scan() {
		at++
		line := bytes.TrimSuffix(lines.Bytes(), []byte("\r"))
		if len(line) == 0 {
			continue
		}
		if len(line) > MaxEntryInput {
			return fmt.Errorf("line %d: %w", at, lineError(bufio.ErrTooLong))
		}
		if b.full(len(line)) {
			if err := r.submit(ctx, b, queue); err != nil {
				return err
			}
			b = newBatch(b.number + 1)
		}
		if err := b.add(r.tag, line, at); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("line %d: %w", at+1, lineError(err))
	}
	if len(b.entries) == 0 {
		return nil
	}
	return r.submit(ctx, b, queue)
}

func lineError(err error) error {
	if errors.Is(err, bufio.ErrTooLong) {
		return fmt.Errorf("longer than %d bytes, which is the most an entry can hold", MaxEntryInput)
	}
	return err
}

func (r *sending) readWhole(ctx context.Context, input io.Reader, queue chan<- *batch) error {
	data, err := io.ReadAll(io.LimitReader(input, MaxEntryInput+1))
	switch {
	case err != nil:
		return err
	case len(data) == 0:
		return usage("the input is empty: there is nothing to send")
	case len(data) > MaxEntryInput:
		return fmt.Errorf("the input is larger than %d bytes, which is the most an entry can hold\nSend its lines with --lines, or its SHA-256 instead of itself", MaxEntryInput)
	}
	b := newBatch(0)
	if err := b.add(r.tag, data, 1); err != nil {
		return err
	}
	return r.submit(ctx, b, queue)
}

func (b *batch) full(next int) bool {
	return len(b.entries) == client.MaxBatch || (len(b.entries) > 0 && b.bytes+next+entryJSONBytes > MaxBatchInput)
}

func (b *batch) add(tag string, data []byte, line int) error {
	e, err := client.DataEntry(tag, data)
	b.entries = append(b.entries, e)
	b.lines = append(b.lines, line)
	b.bytes += len(data) + entryJSONBytes
	return err
}

// sentLine is what --json prints for each entry.
type sentLine struct {
	Line int `json:"line"`
	client.SubmittedEntry
	Replayed bool `json:"replayed,omitempty"`
}

func (r *sending) report(b *batch, result client.Submitted) error {
	if len(result.Entries) != len(b.entries) {
		return fmt.Errorf("the node answered for %d of %d entries", len(result.Entries), len(b.entries))
	}
	r.batches++
	for i, e := range result.Entries {
		r.entries++
		if e.Status == client.Final {
			r.final++
		}
		if e.Outcome == "rejected" {
			r.rejected++
			fmt.Fprintf(r.err, "weft: line %d: rejected: %s\n", b.lines[i], e.Code)
		}
		e.Receipt = ""
		if r.json {
			r.printJSON(sentLine{b.lines[i], e, result.Replayed})
		} else if r.lines {
			r.print("%s\n", e.EntryHash)
		} else {
			r.showSent(e)
		}
	}
	r.line.show("%d entries sent, %d final, %s", r.entries, r.final, seconds(time.Since(r.start)))
	return nil
}

// showSent prints the only entry of a run.
func (r *sending) showSent(e client.SubmittedEntry) {
	r.table([][]string{
		{"entry", e.EntryHash.String()},
		{"message", e.MessageID.String()},
		{"status", statusWords(e.Status, e.Outcome, e.Code)},
		{"place", placeWords(e.Place)},
	})
}

// summary says on stderr what was done, and fails if it is less than what was asked for.
func (r *sending) summary() error {
	if r.lines && !r.json {
		took := time.Since(r.start)
		fmt.Fprintf(r.err, "%d entries in %d requests, %s, %.0f a second", r.entries, r.batches, seconds(took), float64(r.entries)/max(took.Seconds(), 0.001))
		if r.wait == "final" {
			fmt.Fprintf(r.err, "; %d final", r.final)
		}
		fmt.Fprintln(r.err)
	}
	switch {
	case r.rejected > 0:
		return fmt.Errorf("the ledger rejected %d of %d entries", r.rejected, r.entries)
	case r.wait == "final" && r.final < r.entries:
		return fmt.Errorf("%d of %d entries were taken but not final within %s: 'weft message show HASH' shows how far they are", r.entries-r.final, r.entries, r.timeout)
	}
	return nil
}
