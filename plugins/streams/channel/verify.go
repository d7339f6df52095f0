package channel

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"

	"weft/config/genesis"
	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/receipt"
	"weft/tangle"
)

// The names of the checks of a bundle, in their order.
const (
	CheckGenesis     = "genesis"     // the genesis file is one, and the bundle is of its network
	CheckFiles       = "files"       // the files are there, and hash to what the manifest says
	CheckCheckpoints = "checkpoints" // signed by quorums of the committee
	CheckReceipts    = "receipts"    // every event was accepted at its place
	CheckTimes       = "times"       // commit times never fall and lie between checkpoints
	CheckDIDs        = "dids"        // the operations of DIDs were accepted, and follow from each other
	CheckReplay      = "replay"      // the rules of channels allow every event: keys, rights, epochs
	CheckHeads       = "heads"       // event and seq are gapless, heads and counts are those that follow
	CheckOpened      = "opened"      // what is opened hashes to what was signed
)

// CodeSkipped is the code of checks that an earlier fault left nothing to do.
const CodeSkipped = receipt.CodeSkipped

// Report is what the check of a bundle found.
type Report struct {
	Verified bool            `json:"verified"` // every check is good
	Checks   []receipt.Check `json:"checks"`
	Network  tangle.ID       `json:"network"`
	Channel  ID              `json:"channel"`
	Events   uint64          `json:"events"`
	Records  uint64          `json:"records"`
	Gone     uint64          `json:"gone"`       // records that are erased or past retention: what lasts of them is proved
	Erased   uint64          `json:"goneErased"` // of these: erased by a signed operation; the others are past retention
	ByTime   uint64          `json:"goneByTime"` // of these: past retention by a time beyond Covered alone: what kept them longer may have been left out
	Head     tangle.Hash     `json:"head"`
	Covered  uint64          `json:"covered"`    // last event that a later signature names: up to it nothing was left out
	Exact    uint64          `json:"exactTimes"` // events whose commit time is proved exactly; the others' lies between checkpoints
	Opened   uint64          `json:"opened"`
	AsOf     *AsOf           `json:"asOf,omitempty"`
}

// VerifyBundle checks a bundle with the genesis file alone.
func VerifyBundle(genesisFile []byte, bundle fs.FS) Report {
	v := &verifier{bundle: bundle, identity: memory{}, state: memory{}, faults: map[string]error{}, said: map[string]string{}}
	v.run(genesisFile)
	return v.report()
}

// fault is a failed check.
type fault struct{ code, detail string }

func (f fault) Error() string { return f.code + ": " + f.detail }

func faulty(code, format string, args ...any) error { return fault{code, fmt.Sprintf(format, args...)} }

// verifier checks one bundle.
type verifier struct {
	bundle   fs.FS
	genesis  *genesis.Genesis
	limits   did.Limits
	manifest Manifest
	found    Report

	notes    []bound // checkpoints, ascending in size
	gone     []Event
	swept    []uint64          // by event: up to where retention has cleared
	said     map[string]string // details of checks that are good
	identity memory
	state    memory
	dids     *lines

	last   did.Place // of the event or operation before
	faults map[string]error
	done   []string
}

// bound is what a checkpoint says of time.
type bound struct {
	size   uint64
	commit uint64
	time   tangle.Time
}

func (v *verifier) run(genesisFile []byte) {
	if !v.check(CheckFiles, v.readManifest()) {
		return
	}
	if !v.check(CheckFiles, v.checkFiles()) || !v.check(CheckGenesis, v.openGenesis(genesisFile)) || !v.check(CheckCheckpoints, v.checkCheckpoints()) {
		return
	}
	v.done = []string{CheckGenesis, CheckFiles, CheckCheckpoints}
	err := v.replay()
	if err != nil {
		v.fail(err)
		return
	}
	v.done = append(v.done, CheckReceipts, CheckTimes, CheckDIDs, CheckReplay)
	if v.check(CheckHeads, v.checkManifest()) {
		v.done = append(v.done, CheckHeads)
	}
	if v.check(CheckOpened, v.checkOpened()) {
		v.done = append(v.done, CheckOpened)
	}
}

func (v *verifier) check(name string, err error) bool {
	if err != nil {
		v.faults[name] = err
	}
	return err == nil
}

// failed is a fault of the check that is named.
type failed struct {
	check string
	err   error
}

func (f failed) Error() string { return f.check + ": " + f.err.Error() }

func (v *verifier) fail(err error) {
	var f failed
	if errors.As(err, &f) {
		v.faults[f.check] = f.err
		return
	}
	v.faults[CheckReplay] = err
}

func (v *verifier) report() Report {
	r := v.found
	r.Verified = true
	for _, name := range []string{
		CheckGenesis, CheckFiles, CheckCheckpoints, CheckReceipts, CheckTimes, CheckDIDs, CheckReplay, CheckHeads, CheckOpened,
	} {
		c := receipt.Check{Name: name, OK: slices.Contains(v.done, name), Detail: v.said[name]}
		if err := v.faults[name]; err != nil {
			c.OK = false
			c.Code, c.Detail = codeAndDetail(err)
		} else if !c.OK {
			c.Code = CodeSkipped
		}
		r.Verified = r.Verified && c.OK
		r.Checks = append(r.Checks, c)
	}
	return r
}

func codeAndDetail(err error) (code, detail string) {
	var f fault
	if errors.As(err, &f) {
		return f.code, f.detail
	}
	if r := plugins.Rejected(err); r != nil {
		return r.Code, err.Error()
	}
	return "malformed", err.Error()
}

func (v *verifier) openGenesis(file []byte) (err error) {
	if v.genesis, err = genesis.Parse(file, nil); err != nil {
		return faulty("bad_genesis", "%v", err)
	}
	if v.genesis.ID() != v.manifest.Network {
		return faulty("wrong_network", "the bundle is of network %s, the genesis file is %s", v.manifest.Network, v.genesis.ID())
	}
	section := struct {
		Limits did.Limits `json:"limits"`
	}{did.DefaultLimits()}
	for _, p := range v.genesis.Plugins {
		if p.Name == "identity" && p.Config != nil {
			err = json.Unmarshal(p.Config, &section)
		}
	}
	v.limits = section.Limits
	return err
}

func (v *verifier) readManifest() error {
	file, err := v.lines(FileManifest)
	if err != nil {
		return err
	}
	defer file.close()
	more, err := file.next(&v.manifest)
	if err == nil && more {
		more, err = file.next(&Manifest{})
	}
	if err != nil || more {
		return fmt.Errorf("%s: %w", FileManifest, cmp.Or(err, errors.New("more than one line")))
	}
	m := v.manifest
	if m.Type != BundleType || m.From != 0 || m.To >= MaxBundleEvents {
		return faulty("malformed", "the manifest is not of %s, from event 0, with at most %d events", BundleType, MaxBundleEvents)
	}
	v.found.Network, v.found.Channel = m.Network, m.Channel
	return nil
}

// strictLine reads a line in its one form.
func strictLine(line []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	again, err := jsonLine(into)
	if err == nil && !bytes.Equal(again, line) {
		err = errors.New("not the one form of its content")
	}
	return err
}

// checkFiles holds that the files are exactly those that the manifest names.
func (v *verifier) checkFiles() error {
	want := []string{FileEvents, FileReceipts, FileCheckpoints, FileDIDs, FileLater, FileReadme}
	if len(v.manifest.Files) != len(want) {
		return faulty("malformed", "the manifest names %d files, want %d", len(v.manifest.Files), len(want))
	}
	for _, name := range want {
		got, err := v.sum(name)
		if err != nil {
			return err
		}
		if got != v.manifest.Files[name] {
			return faulty("changed", "%s is not the file that the manifest names", name)
		}
	}
	list, err := fs.ReadDir(v.bundle, ".")
	if err != nil {
		return err
	}
	for _, f := range list {
		if !slices.Contains(append(want, FileManifest, FileOpened), f.Name()) {
			return faulty("unknown_file", "%.80q is no file of a bundle", f.Name())
		}
	}
	return nil
}

func (v *verifier) sum(name string) (h tangle.Hash, err error) {
	f, err := v.bundle.Open(name)
	if err != nil {
		return h, err
	}
	defer f.Close()
	sum := sha256.New()
	_, err = io.Copy(sum, f)
	return sumOf(sum), err
}

func (v *verifier) checkCheckpoints() error {
	file, err := v.lines(FileCheckpoints)
	if err != nil {
		return err
	}
	defer file.close()
	var newest *AsOf
	for {
		note, more, err := file.note()
		if err != nil {
			return err
		}
		if !more {
			break
		}
		if len(v.notes) > 2*MaxBundleEvents {
			return faulty("too_large", "more than two checkpoints for each of %d events", MaxBundleEvents)
		}
		c, _, err := receipt.OpenNote(v.genesis, note)
		if err != nil {
			return faulty("bad_checkpoint", "checkpoint %d: %v", len(v.notes), err)
		}
		if n := len(v.notes); n > 0 && (v.notes[n-1].size > c.Size || v.notes[n-1].time > c.Time) {
			return faulty("bad_checkpoint", "checkpoints do not ascend")
		}
		v.notes = append(v.notes, bound{c.Size, c.Commit, c.Time})
		newest = asOf(c)
	}
	if (newest == nil) != (v.manifest.AsOf == nil) || newest != nil && *newest != *v.manifest.AsOf {
		return faulty("changed", "the manifest names another newest checkpoint")
	}
	v.found.AsOf = newest
	return nil
}

// lines reads a file line by line.
type lines struct {
	file   fs.File
	reader *bufio.Reader
	max    int // bytes of a line
}

// The bounds of lines: a receipt in base64 is the longest part, or a payload in clear.
const (
	maxLine       = 2 * receipt.MaxReceipt
	maxOpenedLine = MaxOpenedPayload/3*4 + 8<<10
)

func (v *verifier) lines(name string) (*lines, error) {
	f, err := v.bundle.Open(name)
	if err != nil {
		return nil, err
	}
	return &lines{f, bufio.NewReaderSize(f, 64<<10), maxLine}, nil
}

func (l *lines) close() { l.file.Close() }

// next reads a line into a value; false at the end.
func (l *lines) next(into any) (bool, error) {
	line, more, err := l.line()
	if err != nil || !more {
		return false, err
	}
	return true, strictLine(line, into)
}

// line reads a line with its end; false at the end of the file.
func (l *lines) line() (line []byte, more bool, err error) {
	for {
		part, err := l.reader.ReadSlice('\n')
		if err == io.EOF && len(line)+len(part) == 0 {
			return nil, false, nil
		}
		line = append(line, part...)
		if len(line) > l.max {
			return nil, false, faulty("too_large", "a line of more than %d bytes", l.max)
		}
		if err == nil {
			return line, true, nil
		}
		if err != bufio.ErrBufferFull {
			return nil, false, err
		}
	}
}

// note reads lines up to noteEnd; false at the end of the file.
func (l *lines) note() (note []byte, more bool, err error) {
	for {
		line, more, err := l.line()
		switch {
		case err != nil:
			return nil, false, err
		case !more && len(note) > 0:
			return nil, false, faulty("malformed", "the last note has no end")
		case !more || string(line) == noteEnd:
			return note, more, nil
		}
		if note = append(note, line...); len(note) > receipt.MaxNote {
			return nil, false, faulty("too_large", "a note of more than %d bytes", receipt.MaxNote)
		}
	}
}

// replay checks events, receipts and DIDs side by side, in the order of the ledger.
func (v *verifier) replay() error {
	events, err := v.lines(FileEvents)
	if err != nil {
		return err
	}
	defer events.close()
	receipts, err := v.lines(FileReceipts)
	if err != nil {
		return err
	}
	defer receipts.close()
	if v.dids, err = v.lines(FileDIDs); err != nil {
		return err
	}
	defer v.dids.close()
	identities := &didReplay{verifier: v}
	for n := uint64(0); ; n++ {
		var e eventLine
		more, err := events.next(&e)
		if err != nil {
			return failed{CheckReplay, fmt.Errorf("event %d: %w", n, err)}
		}
		if !more {
			return v.finish(n, receipts, identities)
		}
		if err := v.event(n, e, receipts, identities); err != nil {
			return err
		}
	}
}

func (v *verifier) finish(events uint64, receipts *lines, identities *didReplay) error {
	v.found.Events = events
	var r receiptLine
	if more, err := receipts.next(&r); more || err != nil {
		return failed{CheckReceipts, faulty("malformed", "a receipt behind the last event")}
	}
	if err := identities.until(did.Place{Position: 1<<64 - 1}); err != nil {
		return failed{CheckDIDs, err}
	}
	return v.checkGone()
}

func (v *verifier) event(n uint64, e eventLine, receipts *lines, identities *didReplay) error {
	at, err := e.place.place()
	switch {
	case err != nil:
		return failed{CheckReplay, fmt.Errorf("event %d: %w", n, err)}
	case e.Event != n:
		return failed{CheckHeads, faulty("gap", "event %d stands where event %d should", e.Event, n)}
	case n > 0 && !before(v.last, at):
		return failed{CheckHeads, faulty("order", "event %d stands before the one before it", n)}
	}
	var r receiptLine
	if more, err := receipts.next(&r); err != nil || !more || r.Event != n {
		return failed{CheckReceipts, faulty("malformed", "event %d has no receipt", n)}
	}
	if err := v.checkReceipt(r.Receipt, at, e.Operation, Kind); err != nil {
		return failed{CheckReceipts, fmt.Errorf("event %d: %w", n, err)}
	}
	if n > 0 && at.Time < v.last.Time {
		return failed{CheckTimes, faulty("order", "the time of event %d is before that of the one before", n)}
	}
	if err := v.checkTime(at); err != nil {
		return failed{CheckTimes, fmt.Errorf("event %d: %w", n, err)}
	}
	if err := identities.until(at); err != nil {
		return failed{CheckDIDs, err}
	}
	if err := v.apply(e, at); err != nil {
		return failed{CheckReplay, fmt.Errorf("event %d: %w", n, err)}
	}
	v.last = at
	return v.compare(n, e)
}

// before orders places.
func before(a, b did.Place) bool {
	return a.Position < b.Position || a.Position == b.Position && a.Index < b.Index
}

// checkReceipt holds that an entry was accepted at its place. A gone entry's receipt has its hash alone.
func (v *verifier) checkReceipt(file []byte, at did.Place, data []byte, kind tangle.Kind) error {
	r, err := receipt.Verify(v.genesis, file)
	if err != nil {
		return faulty("bad_receipt", "%v", err)
	}
	f := r.Facts
	switch {
	case f == nil:
		return faulty("bad_receipt", "the receipt does not hold: %v", faultsOf(r))
	case f.Position != at.Position || f.Index != at.Index || f.Author != at.By || f.EntryHash != at.Entry:
		return faulty("bad_receipt", "the receipt is of another place or entry")
	case !f.Accepted:
		return faulty("rejected", "the entry was rejected")
	case data == nil && !f.Erased:
		return faulty("bad_receipt", "the entry is there, and its operation is not")
	case data != nil && (f.Erased || f.Kind != kind || !bytes.Equal(f.Data, data)):
		return faulty("bad_receipt", "the receipt is of another operation")
	}
	t, err := time.Parse(time.RFC3339Nano, f.CheckpointTime)
	if err == nil && tangle.TimeOf(t) < at.Time {
		return faulty("bad_time", "the commit time lies after the checkpoint's")
	}
	return err
}

func faultsOf(r receipt.Report) (list []string) {
	for _, c := range r.Checks {
		if !c.OK {
			list = append(list, c.Name+"="+c.Code)
		}
	}
	return list
}

// checkTime holds a commit time between the checkpoints around its place: those that cover it are not older, those that
// do not are not newer. Between checkpoints of two successive commits it is exact.
func (v *verifier) checkTime(at did.Place) error {
	i, _ := slices.BinarySearchFunc(v.notes, uint64(at.Position), func(b bound, p uint64) int {
		if b.size <= p {
			return -1
		}
		return 1
	})
	if i < len(v.notes) && at.Time > v.notes[i].time || i > 0 && at.Time < v.notes[i-1].time {
		return faulty("bad_time", "the commit time does not lie between the checkpoints around its place")
	}
	if i > 0 && i < len(v.notes) && v.notes[i].commit == v.notes[i-1].commit+1 {
		if at.Time != v.notes[i].time {
			return faulty("bad_time", "the commit time is not that of its commit")
		}
		v.found.Exact++
	}
	return nil
}

// apply replays an event.
func (v *verifier) apply(e eventLine, at did.Place) error {
	if e.Operation == nil {
		if e.Gone == nil || e.Op != Write {
			return faulty("malformed", "neither an operation nor what is left of a record")
		}
		return v.applyGone(*e.Gone, at)
	}
	if e.Gone != nil {
		return faulty("malformed", "an operation that is gone and there")
	}
	op, err := Decode(v.manifest.Network, e.Operation)
	if err != nil {
		return err
	}
	if op.Channel != v.manifest.Channel || op.Op != e.Op {
		return faulty("malformed", "the operation is of another channel or kind")
	}
	writes, err := Next(v.state, v.identity, op, at)
	if err != nil {
		return err
	}
	v.state.put(writes)
	v.found.Covered = max(v.found.Covered, op.After.Event)
	return nil
}

// compare holds the line against what follows from the replay.
func (v *verifier) compare(n uint64, e eventLine) error {
	got, err := ReadEvent(v.state, v.manifest.Channel, n)
	if err != nil {
		return failed{CheckReplay, err}
	}
	if got.Seq != e.Seq || got.Head != e.Head || got.Op != e.Op {
		return failed{CheckHeads, faulty("head_mismatch", "event %d: seq or head is not what follows from the events before", n)}
	}
	head, err := parseHead(v.state.Get(key(prefixHead, v.manifest.Channel)))
	if err != nil {
		return failed{CheckReplay, err}
	}
	v.swept = append(v.swept, head.Cleared)
	if got.IsRecord() {
		v.found.Records++
	}
	v.found.Head = got.Head
	return nil
}

func (v *verifier) checkManifest() error {
	m := v.manifest
	if m.To+1 != v.found.Events || m.Records != v.found.Records || m.Gone != v.found.Gone || m.Head != v.found.Head || m.First != FirstHead(m.Channel) {
		return faulty("changed", "the manifest counts %d events and %d records with another head", m.To+1, m.Records)
	}
	return nil
}

// checkOpened holds that what is opened is what was signed.
func (v *verifier) checkOpened() error {
	opened, err := v.lines(FileOpened)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer opened.close()
	opened.max = maxOpenedLine
	once := map[uint64]bool{}
	for {
		var o openedLine
		more, err := opened.next(&o)
		if err != nil || !more {
			return err
		}
		e, found, err := ReadRecord(v.state, v.manifest.Channel, o.Seq)
		switch {
		case err != nil:
			return err
		case once[o.Seq]:
			return faulty("duplicate", "record %d is opened twice", o.Seq)
		case !found || e.ContentHash == (tangle.Hash{}):
			return faulty("not_found", "record %d has no content here", o.Seq)
		case len(o.Salt) != SaltBytes || ContentHash(o.Salt, o.Meta, o.Payload) != e.ContentHash:
			return faulty("hash_mismatch", "what is opened of record %d is not what was signed", o.Seq)
		}
		once[o.Seq] = true
		v.found.Opened++
	}
}

// didReplay applies the operations of DIDs as the events come to their places.
type didReplay struct {
	*verifier
	waiting *entryLine
	at      did.Place
	n       int
	ended   bool
}

// until applies all operations that stand before a place.
func (r *didReplay) until(at did.Place) error {
	for {
		if r.waiting == nil && !r.ended {
			if err := r.read(); err != nil {
				return err
			}
		}
		if r.ended || !before(r.at, at) {
			return nil
		}
		if err := r.apply(); err != nil {
			return fmt.Errorf("operation %d of DIDs: %w", r.n, err)
		}
		r.waiting = nil
	}
}

func (r *didReplay) read() error {
	var line entryLine
	more, err := r.dids.next(&line)
	if err != nil || !more {
		r.ended = true
		return err
	}
	if r.n++; r.n > maxBundleDIDs {
		return faulty("too_large", "more than %d operations of DIDs", maxBundleDIDs)
	}
	at, err := line.place.place()
	switch {
	case err != nil:
		return err
	case r.n > 1 && (!before(r.at, at) || at.Time < r.at.Time):
		return faulty("order", "operation %d of DIDs does not follow the one before", r.n)
	}
	r.at, r.waiting = at, &line
	return nil
}

func (r *didReplay) apply() error {
	const kindDID tangle.Kind = 16
	if err := r.checkReceipt(r.waiting.Receipt, r.at, r.waiting.Operation, kindDID); err != nil {
		return err
	}
	exact := r.found.Exact
	err := r.checkTime(r.at)
	r.found.Exact = exact // counts events
	if err != nil {
		return err
	}
	op, err := did.Decode(r.manifest.Network, r.limits, r.waiting.Operation)
	if err != nil {
		return err
	}
	writes, err := did.Next(r.identity, r.limits, op, r.at)
	r.identity.put(writes)
	return err
}

// memory is a key space in memory, by the first byte of keys.
type memory map[byte]map[string][]byte

// Get implements plugins.View.
func (m memory) Get(key []byte) []byte { return m[key[0]][string(key)] }

// Scan implements plugins.View for bounds with one first byte. It looks at every key of that: replay scans only the
// requests that wait, which are few.
func (m memory) Scan(from, to []byte, visit func(key, value []byte) bool) {
	var keys []string
	for k := range m[from[0]] {
		if k >= string(from) && (to == nil || k < string(to)) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		if !visit([]byte(k), m[from[0]][k]) {
			return
		}
	}
}

func (m memory) put(writes []did.Write) {
	for _, w := range writes {
		first := w.Key[0]
		if m[first] == nil {
			m[first] = map[string][]byte{}
		}
		if w.Value == nil {
			delete(m[first], string(w.Key))
		} else {
			m[first][string(w.Key)] = w.Value
		}
	}
}
