package channel

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"hash"
	"io"
	"iter"
	"time"

	"weft/plugins/identity/did"
	"weft/receipt"
	"weft/tangle"
)

// BundleType is the member "type" of a manifest.
const BundleType = "weft/bundle/1"

// The files of a bundle. FileOpened is what a client may add: nodes cannot open records.
const (
	FileManifest    = "manifest.json"
	FileEvents      = "events.jsonl"    // one eventLine per event, from event 0 on
	FileReceipts    = "receipts.jsonl"  // one receiptLine per event, in the same order
	FileCheckpoints = "checkpoints.txt" // signed notes, ascending in size, each followed by noteEnd
	FileDIDs        = "dids.jsonl"      // one entryLine per operation of an actor's DID, in the order of their places
	FileLater       = "later.jsonl"     // entryLines of operations behind the last event: why records up to it are gone
	FileReadme      = "README.txt"
	FileOpened      = "opened.jsonl" // one openedLine per record that is opened
)

// MaxBundleEvents bounds a bundle.
const MaxBundleEvents = 100_000

// MaxOpenedPayload bounds the payload of a record that is put into a bundle in clear: it is one line, which is checked in memory.
const MaxOpenedPayload = 16 << 20

// maxBundleDIDs bounds the operations of DIDs in it.
const maxBundleDIDs = 4 * MaxBundleEvents

// noteEnd is the line behind each note in checkpoints.txt. No line of a note begins so.
const noteEnd = "---\n"

// Manifest says what a bundle holds.
type Manifest struct {
	Type    string                 `json:"type"`
	Network tangle.ID              `json:"network"`
	Channel ID                     `json:"channel"`
	From    uint64                 `json:"from"` // 0: what a state machine does is checked from its start
	To      uint64                 `json:"to"`   // last event
	Records uint64                 `json:"records"`
	Gone    uint64                 `json:"gone"` // records whose operation is erased or past its retention
	First   tangle.Hash            `json:"firstHead"`
	Head    tangle.Hash            `json:"head"` // at event To
	AsOf    *AsOf                  `json:"asOf,omitempty"`
	Files   map[string]tangle.Hash `json:"files"` // SHA-256
}

// AsOf is the newest checkpoint of a bundle.
type AsOf struct {
	Size uint64      `json:"size"`
	Root tangle.Hash `json:"root"`
	Time string      `json:"time"`
}

// Exported is an event with its evidence.
type Exported struct {
	Event     Event
	Operation []byte       // the entry's data; nil: it is gone
	Left      *tangle.Left // of a gone entry
	Receipt   []byte       // of a gone entry: the form with the hash alone
}

// ExportedEntry is an accepted operation, of a DID or of the channel, with its evidence.
type ExportedEntry struct {
	did.Place
	Operation []byte
	Receipt   []byte
}

// BundleSource is what a bundle is made of. Events begin with event 0 and are asked for twice; DIDs are all operations, by
// place, of the DIDs that act in the channel, of those whose keys they sign with, and of controllers. Later are the operations
// behind the last event that erase a record up to it, or say how long the channel keeps records.
type BundleSource struct {
	Network     tangle.ID
	Channel     ID
	Events      iter.Seq2[Exported, error]
	DIDs        iter.Seq2[ExportedEntry, error]
	Later       iter.Seq2[ExportedEntry, error]
	Checkpoints [][]byte // signed notes, ascending in size; the closer they stand, the closer commit times are proved
	Newest      receipt.Checkpoint
}

// place is a place in a line.
type place struct {
	Position tangle.Position `json:"position"`
	Index    int             `json:"index"`
	Time     string          `json:"time"` // commit time
	By       tangle.Member   `json:"by"`
	Entry    tangle.Hash     `json:"entryHash"`
}

func placeOf(p did.Place) place {
	return place{p.Position, p.Index, p.Time.Std().Format(createdLayout), p.By, p.Entry}
}

func (p place) place() (did.Place, error) {
	t, err := time.Parse(createdLayout, p.Time)
	return did.Place{Time: tangle.TimeOf(t), Position: p.Position, Index: p.Index, By: p.By, Entry: p.Entry}, err
}

type eventLine struct {
	Event uint64 `json:"event"`
	Op    Op     `json:"op"`
	Seq   uint64 `json:"seq,omitempty"`
	place
	Head      tangle.Hash     `json:"head"`
	Operation json.RawMessage `json:"operation,omitempty"`
	Gone      *gone           `json:"gone,omitempty"` // in place of the operation
}

// gone is what lasts of the entry of a record whose operation is not there any more: the entry's hash covers it.
type gone struct {
	Lasting []byte      `json:"lasting"`
	Rest    tangle.Hash `json:"rest"` // hash of what is gone
}

type receiptLine struct {
	Event   uint64 `json:"event"`
	Receipt []byte `json:"receipt"`
}

type entryLine struct {
	place
	Operation json.RawMessage `json:"operation"`
	Receipt   []byte          `json:"receipt"`
}

type openedLine struct {
	Seq     uint64          `json:"seq"`
	Salt    []byte          `json:"salt"`
	Meta    json.RawMessage `json:"meta"`
	Payload []byte          `json:"payload"`
}

// jsonLine is the one form of a line. Operations keep their bytes.
func jsonLine(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return b.Bytes(), err
}

// WriteBundle writes the files of a bundle one after the other: create begins a file, as zip.Writer.Create does.
func WriteBundle(create func(name string) (io.Writer, error), s BundleSource) (Manifest, error) {
	w := bundleWriter{create: create, source: s, manifest: Manifest{
		Type: BundleType, Network: s.Network, Channel: s.Channel, First: FirstHead(s.Channel), Files: map[string]tangle.Hash{},
	}}
	for _, file := range []struct {
		name  string
		write func(io.Writer) error
	}{
		{FileReadme, w.readme}, {FileEvents, w.events}, {FileReceipts, w.receipts}, {FileCheckpoints, w.checkpoints},
		{FileDIDs, entriesOf(s.DIDs)}, {FileLater, entriesOf(s.Later)},
	} {
		if err := w.file(file.name, file.write); err != nil {
			return w.manifest, err
		}
	}
	out, err := create(FileManifest)
	if err == nil {
		err = writeLine(out, w.manifest)
	}
	return w.manifest, err
}

type bundleWriter struct {
	create   func(name string) (io.Writer, error)
	source   BundleSource
	manifest Manifest
}

func (w *bundleWriter) file(name string, write func(io.Writer) error) error {
	out, err := w.create(name)
	if err != nil {
		return err
	}
	sum := sha256.New()
	if err := write(io.MultiWriter(out, sum)); err != nil {
		return err
	}
	w.manifest.Files[name] = sumOf(sum)
	return nil
}

func sumOf(h hash.Hash) tangle.Hash { return tangle.Hash(h.Sum(nil)) }

func writeLine(out io.Writer, v any) error {
	b, err := jsonLine(v)
	if err == nil {
		_, err = out.Write(b)
	}
	return err
}

func (w *bundleWriter) events(out io.Writer) error {
	for e, err := range w.source.Events {
		if err != nil {
			return err
		}
		line := eventLine{Event: e.Event.Number, Op: e.Event.Op, Seq: e.Event.Seq, place: placeOf(e.Event.Place), Head: e.Event.Head, Operation: e.Operation}
		if e.Operation == nil && e.Left != nil {
			line.Gone = &gone{e.Left.Lasting, e.Left.Rest}
			w.manifest.Gone++
		}
		if e.Event.IsRecord() {
			w.manifest.Records++
		}
		w.manifest.To, w.manifest.Head = e.Event.Number, e.Event.Head
		if err := writeLine(out, line); err != nil {
			return err
		}
	}
	return nil
}

func (w *bundleWriter) receipts(out io.Writer) error {
	for e, err := range w.source.Events {
		if err != nil {
			return err
		}
		if err := writeLine(out, receiptLine{e.Event.Number, e.Receipt}); err != nil {
			return err
		}
	}
	return nil
}

func (w *bundleWriter) checkpoints(out io.Writer) error {
	for _, note := range w.source.Checkpoints {
		if _, err := out.Write(append(bytes.Clone(note), noteEnd...)); err != nil {
			return err
		}
	}
	if len(w.source.Checkpoints) > 0 {
		w.manifest.AsOf = asOf(w.source.Newest)
	}
	return nil
}

func asOf(c receipt.Checkpoint) *AsOf { return &AsOf{c.Size, c.Root, c.Time.String()} }

func entriesOf(list iter.Seq2[ExportedEntry, error]) func(io.Writer) error {
	return func(out io.Writer) error {
		for e, err := range list {
			if err != nil {
				return err
			}
			if err := writeLine(out, entryLine{placeOf(e.Place), e.Operation, e.Receipt}); err != nil {
				return err
			}
		}
		return nil
	}
}

// WriteOpened writes opened.jsonl, which a client adds for records that it opens to whoever gets the bundle.
func WriteOpened(out io.Writer, opened iter.Seq2[uint64, Content]) error {
	for seq, c := range opened {
		if err := writeLine(out, openedLine{seq, c.Salt, c.Meta, c.Payload}); err != nil {
			return err
		}
	}
	return nil
}

func (w *bundleWriter) readme(out io.Writer) error {
	_, err := io.WriteString(out, `Evidence of a Weft channel

events.jsonl     every event from 0 on: its signed operation, its place in the ledger's order, the running hash of the channel
receipts.jsonl   for each event the ledger's receipt: place and outcome, signed by the committee
checkpoints.txt  what the committee has signed; they bound commit times
dids.jsonl       the operations that made the actors' keys, with receipts
later.jsonl      operations behind the last event that are why a record up to it is gone, with receipts
opened.jsonl     (only if somebody added it) salt, meta and payload of records in clear
manifest.json    counts, heads and the SHA-256 of each file

Check it without a network, with the network's genesis file from a source that you trust:

    weft channel verify bundle.zip --genesis genesis.json

It proves that each event was accepted at its place, who signed it, and that replaying them gives these sequence numbers and
running hashes. It proves that nothing was left out up to the last event that a later author has named. What came after the
last event here it cannot say.

Of a record that is gone, by an erasure or after the channel's retention, the bundle has what lasts of its entry, with a receipt
of the entry's hash, and why it is gone. That proves that the ledger accepted it as a record of this channel at that place, of
an author whose DID hashes to what is there, and what its content hashes to; the author's signature is gone. That a retention has
passed rests on the later authors who signed a running hash behind it: where only the time of the last events or of the newest
checkpoint says so ("goneByTime"), an operation that kept the record longer may have been left out.
`)
	return err
}
