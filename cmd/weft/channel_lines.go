package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"weft/client"
	"weft/client/audit"
	"weft/plugins/identity/did"
	"weft/plugins/streams/channel"
)

// Bounds of channel write --lines: with them memory use does not depend on the length of the input.
const (
	MaxLineBatches = 16 // under way at the same time
	MaxLinesAhead  = 128
	batchPause     = 100 * time.Millisecond // an input that pauses for so long is sent what there is
	maxLineTries   = 8                      // of a line whose epoch ends again and again
	maxStateFile   = 8 << 20
)

// lineBatch is records under way. Once it is sealed it is kept until the ledger has decided: the same bytes again are the
// same records.
type lineBatch struct {
	First int      `json:"first"` // line of the input, from 1
	Last  int      `json:"last"`
	Lines [][]byte `json:"lines"` // in clear, to be sealed again
	At    []int    `json:"at"`    // lines of the input that they are
	Done  []bool   `json:"done"`  // lines that count
	Sent  [][]byte `json:"sent"`  // entries; nil where the line counts
	Tries int      `json:"-"`

	size    int // of what is sent, about
	results chan lineResults
}

type lineResults struct {
	list []client.BatchResult
	err  error
}

// lineState is what --resume keeps.
type lineState struct {
	Channel channel.ID   `json:"channel"`
	Done    int          `json:"done"` // lines of the input up to here count, or are empty
	Batches []*lineBatch `json:"batches"`
}

// lineWriter seals, sends and reports: one goroutine reads lines, each batch is sent by one of its own, and everything else is
// done by the caller's.
type lineWriter struct {
	*channelWrite
	meta    did.Object
	wait    time.Duration
	state   lineState
	batches []*lineBatch // under way, in the order of the input

	written, refused, requests int
	start                      time.Time
	line                       *progress
}

func (r *channelWrite) writeLines(ctx context.Context, input io.Reader) error {
	options, err := r.options()
	if err != nil {
		return err
	}
	meta, err := r.meta()
	if err != nil {
		return err
	}
	w := &lineWriter{channelWrite: r, meta: meta, wait: options.Final, start: time.Now(), line: r.progress()}
	if err := w.load(); err != nil {
		return err
	}
	err = w.write(ctx, input)
	w.line.clear()
	fmt.Fprintf(r.err, "%d records in %d requests, %s, %.0f a second\n", w.written, w.requests, seconds(time.Since(w.start)),
		float64(w.written)/max(time.Since(w.start).Seconds(), 0.001))
	switch {
	case err != nil && r.resume != "":
		return r.failed(fmt.Errorf("%w\nto go on where this ended, repeat the command with --resume %s", err, r.resume))
	case err != nil:
		return r.failed(err)
	case w.refused > 0:
		return fmt.Errorf("%d of %d records were refused", w.refused, w.refused+w.written)
	}
	return nil
}

// inputLine is a line of the input; the last one has only an error, nil at the end.
type inputLine struct {
	at   int
	text []byte
	err  error
	end  bool
}

// readLines reads until the input ends or nobody wants more.
func readLines(ctx context.Context, input io.Reader, out chan<- inputLine) {
	defer close(out)
	give := func(l inputLine) bool {
		select {
		case out <- l:
			return true
		case <-ctx.Done():
			return false
		}
	}
	lines := bufio.NewScanner(input)
	lines.Buffer(make([]byte, 0, 4<<10), channel.MaxInlinePayload+2)
	at := 0
	for lines.Scan() {
		text := bytes.TrimSuffix(lines.Bytes(), []byte("\r"))
		if len(text) > channel.MaxInlinePayload {
			give(inputLine{at: at, err: errLongLine(at + 1), end: true})
			return
		}
		if at++; !give(inputLine{at: at, text: bytes.Clone(text)}) {
			return
		}
	}
	err := lines.Err()
	if errors.Is(err, bufio.ErrTooLong) {
		err = errLongLine(at + 1)
	}
	give(inputLine{at: at, err: err, end: true})
}

func errLongLine(at int) error {
	return fmt.Errorf("line %d is longer than %d bytes, which is the most a record holds", at, channel.MaxInlinePayload)
}

// write is the loop of the run. The results of the oldest batch are taken first, so that what is done is one number.
func (w *lineWriter) write(ctx context.Context, input io.Reader) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, b := range w.state.Batches {
		b.results = make(chan lineResults, 1)
		w.batches = append(w.batches, b)
		w.send(ctx, b)
	}
	lines := make(chan inputLine, MaxLinesAhead)
	go readLines(ctx, input, lines)
	skip, offset := w.last(), 0
	if w.tailing {
		skip, offset = 0, w.last()
	}
	fill := newLineBatch(w.last() + 1)
	ended := false
	for !ended || len(w.batches) > 0 {
		var more <-chan inputLine
		if !ended && len(w.batches) < w.inFlight {
			more = lines
		}
		var oldest <-chan lineResults
		if len(w.batches) > 0 {
			oldest = w.batches[0].results
		}
		var pause <-chan time.Time
		if len(fill.Lines) > 0 && more != nil {
			pause = time.After(batchPause)
		}
		flush := false
		select {
		case <-ctx.Done():
			return ctx.Err()
		case got := <-oldest:
			if err := w.take(ctx, got); err != nil {
				return err
			}
		case <-pause:
			flush = true
		case l := <-more:
			if l.err != nil {
				return errors.Join(l.err, w.drain(ctx, fill))
			}
			if l.at > skip && !l.end {
				fill.add(l.at+offset, l.text)
			}
			ended = l.end
			flush = ended || fill.full()
		}
		if flush {
			if err := w.launch(ctx, fill); err != nil {
				return err
			}
			fill = newLineBatch(fill.Last + 1)
		}
	}
	return nil
}

// drain waits for what was read before the input failed.
func (w *lineWriter) drain(ctx context.Context, fill *lineBatch) error {
	err := w.launch(ctx, fill)
	for err == nil && len(w.batches) > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case got := <-w.batches[0].results:
			err = w.take(ctx, got)
		}
	}
	return err
}

// last is the last line that was read before.
func (w *lineWriter) last() int {
	last := w.state.Done
	for _, b := range w.batches {
		last = max(last, b.Last)
	}
	return last
}

func newLineBatch(first int) *lineBatch {
	return &lineBatch{First: first, Last: first - 1, results: make(chan lineResults, 1)}
}

func (b *lineBatch) add(at int, text []byte) {
	b.Last = at
	if len(text) == 0 {
		return
	}
	b.Lines, b.At, b.Done, b.Sent = append(b.Lines, text), append(b.At, at), append(b.Done, false), append(b.Sent, nil)
	b.size += lineOverhead + len(text)*3/2
}

// lineOverhead is what a record has beside its payload, about.
const lineOverhead = 1400

func (b *lineBatch) full() bool {
	return len(b.Lines) == client.MaxBatch || b.size > client.MaxOperationsBytes-lineOverhead
}

// launch seals a batch, keeps it, and sends it.
func (w *lineWriter) launch(ctx context.Context, b *lineBatch) error {
	if len(b.Lines) == 0 {
		if len(w.batches) == 0 {
			w.state.Done = max(w.state.Done, b.Last)
		}
		return nil
	}
	w.batches = append(w.batches, b)
	return w.again(ctx, b)
}

// again seals what has to be sealed, and sends what has to be sent.
func (w *lineWriter) again(ctx context.Context, b *lineBatch) error {
	if b.Tries++; b.Tries > maxLineTries {
		return fmt.Errorf("the records of lines %d to %d do not become final", b.First, b.Last)
	}
	for i := range b.Lines {
		if b.Done[i] || b.Sent[i] != nil {
			continue
		}
		var err error
		if b.Sent[i], err = w.channel.Seal(w.record(b.Lines[i])); err != nil {
			return fmt.Errorf("line %d: %w", b.At[i], err)
		}
	}
	if err := w.keep(); err != nil {
		return err
	}
	w.send(ctx, b)
	return nil
}

func (w *lineWriter) record(line []byte) audit.Record {
	r := audit.Record{Terms: w.terms, Body: true, Meta: w.meta, Payload: line}
	if w.channel.Info.Access == channel.Public {
		r.Body, r.Terms.Public = false, did.Object{"text": string(bytes.ToValidUTF8(line, []byte("\ufffd")))}
		w.lint(r.Terms.Public)
	}
	return r
}

// send hands a batch over, and has another goroutine ask what becomes of it: the node takes one batch after the other, so
// that records stand in the order of the lines, while many wait until they are final.
func (w *lineWriter) send(ctx context.Context, b *lineBatch) {
	w.requests++
	entries := b.open()
	list, err := w.session.SendAll(ctx, w.channel.ID, entries, 0)
	if err != nil || w.wait == 0 {
		b.results <- lineResults{list, err}
		return
	}
	go func() {
		list, err := w.session.AwaitAll(ctx, w.channel.ID, list, w.wait)
		b.results <- lineResults{list, err}
	}()
}

// open are the entries that do not count yet.
func (b *lineBatch) open() (list [][]byte) {
	for i, entry := range b.Sent {
		if !b.Done[i] {
			list = append(list, entry)
		}
	}
	return list
}

// take judges the results of the oldest batch.
func (w *lineWriter) take(ctx context.Context, got lineResults) error {
	if got.err != nil {
		return got.err
	}
	b, stale := w.batches[0], false
	next := 0
	for i := range b.Lines {
		if b.Done[i] {
			continue
		}
		result := got.list[next]
		next++
		err := result.Err()
		code := client.ProblemCode(err)
		switch {
		case err == nil && (result.Status == client.Final || w.wait == 0), code == "replayed":
			w.count(b, i, result)
		case err == nil || code == "quota_exceeded" || code == "rate_limited" || code == "unknown_operation": // the same again
		case audit.Races(err) || code == "expired":
			b.Sent[i], stale = nil, true
		default:
			b.Done[i] = true
			w.refused++
			fmt.Fprintf(w.err, "weft: line %d: refused: %s\n", b.At[i], err)
		}
	}
	if stale {
		if err := w.channel.Refresh(ctx); err != nil {
			return err
		}
	}
	if len(b.open()) > 0 {
		return w.again(ctx, b)
	}
	w.batches, w.state.Done = w.batches[1:], b.Last
	w.line.show("%d records, %s", w.written, seconds(time.Since(w.start)))
	return w.keep()
}

// writtenLine is what --json prints for each record.
type writtenLine struct {
	Line int `json:"line"`
	client.OperationResult
	OpHash string        `json:"opHash"`
	Status client.Status `json:"status"`
}

func (w *lineWriter) count(b *lineBatch, i int, r client.BatchResult) {
	b.Done[i] = true
	w.written++
	if w.json {
		w.printJSON(writtenLine{b.At[i], r.Result, r.OpHash, r.Status})
	}
}

// keep writes the state, whole.
func (w *lineWriter) keep() error {
	if w.resume == "" {
		return nil
	}
	w.state.Batches = w.batches
	raw, err := json.Marshal(w.state)
	if err != nil {
		return err
	}
	return replaceFile(w.resume, raw)
}

func (w *lineWriter) load() error {
	w.state.Channel = w.channel.ID
	if w.resume == "" {
		return nil
	}
	file, err := os.Open(w.resume)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	state := lineState{}
	if err := json.NewDecoder(io.LimitReader(file, maxStateFile)).Decode(&state); err != nil {
		return fmt.Errorf("%s is not the state of an earlier run: %w", w.resume, err)
	}
	if state.Channel != w.channel.ID {
		return fmt.Errorf("%s is of channel %s", w.resume, state.Channel)
	}
	for _, b := range state.Batches {
		if n := len(b.Lines); len(b.At) != n || len(b.Done) != n || len(b.Sent) != n {
			return fmt.Errorf("%s is damaged", w.resume)
		}
	}
	w.state = state
	return nil
}
