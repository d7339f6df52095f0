package node

import (
	"context"
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"

	"weft/config"
	"weft/plugins"
	"weft/tangle"
)

// MaxSubmitEntries is how many entries one request may carry.
const MaxSubmitEntries = 64

// The bounds of ?wait=final.
const (
	defaultWait = 10 * time.Second
	MaxWait     = 30 * time.Second
)

// submit is POST /messages: the path every entry takes, so it is the one route that counts nanoseconds. The body is
// read in one pass, the usual answer written without reflection.
func (c *apiCall) submit() error {
	wait, err := c.waitOption()
	if err != nil {
		return err
	}
	receipts, err := c.receiptOption()
	if err != nil {
		return err
	}
	entries, p := parseSubmission(c.body)
	if p != nil {
		return p
	}
	if c.Config.NoQuorum == config.NoQuorumRefuse && !c.Node.Vitals().Quorum {
		return refuse("no_quorum", "too few members are there to make anything final").with("Retry-After", "1")
	}
	done, err := c.publishOnce(entries)
	if err != nil {
		return err
	}
	if wait == 0 && !done.before {
		return c.answerPending(done)
	}
	if err := c.awaitFinal(done, wait); err != nil {
		return err
	}
	return c.answerState(done, receipts == "true" || (receipts == "" && len(done.hashes) == 1))
}

// published is what came of a submission.
type published struct {
	message tangle.ID
	hashes  []tangle.Hash
	before  bool // by an earlier request with the same key
}

// publishOnce publishes the entries, or finds what the same request has published before.
func (c *apiCall) publishOnce(entries []plugins.Submission) (published, error) {
	key, err := c.idempotencyKey()
	if err != nil {
		return published{}, err
	}
	if key == "" {
		return c.publish(c.Request().Context(), entries)
	}
	slot, before, err := c.replays.begin(c.caller.id, c.route.path, key, c.body)
	if err != nil {
		return published{}, err
	}
	if before != nil {
		return c.replayed(*before), nil
	}
	done, err := c.publishUnder(key, entries)
	c.replays.end(slot, done, err)
	return done, err
}

// replayed marks what is there already.
func (c *apiCall) replayed(done published) published {
	c.Response().Header()["Idempotency-Replayed"] = []string{"true"}
	done.before = true
	return done
}

func (c *apiCall) publish(ctx context.Context, entries []plugins.Submission) (published, error) {
	id, hashes, err := c.Node.Publish(ctx, entries)
	return published{message: id, hashes: hashes}, err
}

// publishUnder publishes entries whose salts follow from the key, unless the ledger has them. So a key holds even if this
// node was killed after the entries were durable and before the key was: the same request makes the same hashes.
func (c *apiCall) publishUnder(key string, entries []plugins.Submission) (published, error) {
	salts, err := c.replays.salts(c.caller.id, c.route.path, key, c.body, len(entries))
	if err != nil {
		return published{}, err
	}
	before, err := c.publishedBefore(entries, salts)
	if err != nil {
		return published{}, err
	}
	if before != nil {
		return c.replayed(*before), nil
	}
	ctx := context.WithoutCancel(c.Request().Context()) // the key stands for a whole effect
	id, hashes, err := c.Node.PublishSalted(ctx, entries, salts)
	return published{message: id, hashes: hashes}, err
}

// publishedBefore finds entries in the ledger, where all of a submission are or none: they became durable in one batch. If they
// are not there, what was checked on the way is not checked again.
func (c *apiCall) publishedBefore(list []plugins.Submission, salts []tangle.Salt) (*published, error) {
	done := &published{hashes: make([]tangle.Hash, len(list))}
	entries, checks := c.Node.Salted(list, salts)
	for i := range list {
		if checks[i].Err == nil {
			list[i].Op = checks[i].Op
		}
	}
	for i, e := range entries {
		done.hashes[i] = e.Hash
		record, err := c.Node.Entry(done.hashes[i])
		if i == 0 && errors.Is(err, ErrUnknown) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		done.message = record.Message.ID
	}
	return done, nil
}

// The bounds of an Idempotency-Key.
const (
	MinIdempotencyKey = 8
	MaxIdempotencyKey = 64
)

func (c *apiCall) idempotencyKey() (string, error) {
	values := c.Request().Header["Idempotency-Key"]
	if len(values) == 0 {
		return "", nil
	}
	key := values[0]
	if len(values) > 1 || len(key) < MinIdempotencyKey || len(key) > MaxIdempotencyKey {
		return "", refuse("bad_parameter", "Idempotency-Key: want one of %d to %d characters", MinIdempotencyKey, MaxIdempotencyKey)
	}
	for i := range len(key) {
		if key[i] <= ' ' || key[i] > '~' {
			return "", refuse("bad_parameter", "Idempotency-Key: want visible ASCII characters")
		}
	}
	return key, nil
}

// waitOption reads ?wait=final&timeout=10s; 0 means not to wait.
func (c *apiCall) waitOption() (time.Duration, error) {
	how := c.query.Get("wait")
	if how != "" && how != "final" {
		return 0, refuse("bad_parameter", "wait: want final")
	}
	text := c.query.Get("timeout")
	switch {
	case text != "" && how == "":
		return 0, refuse("bad_parameter", "timeout goes with wait=final")
	case how == "":
		return 0, nil
	case text == "":
		return defaultWait, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 || d > MaxWait {
		return 0, refuse("bad_parameter", "timeout: want a duration up to %s", MaxWait)
	}
	return d, nil
}

// receiptOption reads ?receipts: a single entry comes with its receipt, many do only if asked, because making
// receipts costs more than publishing.
func (c *apiCall) receiptOption() (string, error) {
	switch how := c.query.Get("receipts"); how {
	case "", "true", "false":
		return how, nil
	}
	return "", refuse("bad_parameter", "receipts: want true or false")
}

// parseSubmission reads {"entries":[{"kind":…,"data":…}]}. All base64 is decoded into one buffer.
func parseSubmission(body []byte) ([]plugins.Submission, *problem) {
	p := submissionParser{jsonScanner: jsonScanner{text: body}, buffer: make([]byte, 0, len(body))}
	seen, err := p.object([]string{"entries"}, func(int) *problem { return p.array(MaxSubmitEntries, p.entry) })
	if err == nil {
		err = p.end()
	}
	switch {
	case err != nil:
		return nil, err
	case seen == 0 || len(p.entries) == 0:
		return nil, refuse("bad_value", "entries: want 1 to %d", MaxSubmitEntries)
	}
	return p.entries, nil
}

type submissionParser struct {
	jsonScanner
	entries []plugins.Submission
	buffer  []byte // decoded data is never longer than its text, so this never grows

	// of the entry being read
	kind  tangle.Kind
	plain bool   // data was an object: tagged bytes
	data  []byte // what goes into the entry
	tag   []byte
	bytes []byte // of tagged bytes
}

func (p *submissionParser) entry(int) *problem {
	p.kind, p.plain, p.data = 0, false, nil
	seen, err := p.object([]string{"kind", "data"}, p.entryMember)
	switch {
	case err != nil:
		return err
	case seen != 3:
		return p.badValue("an object with kind and data")
	case p.kind == tangle.KindData && !p.plain:
		return p.badValue("data of kind data as {tag, bytes}")
	case p.kind != tangle.KindData && p.plain:
		return p.badValue("data of this kind as base64url")
	}
	p.entries = append(p.entries, plugins.Submission{Kind: p.kind, Data: p.data})
	return nil
}

func (p *submissionParser) entryMember(field int) (err *problem) {
	if field == 0 {
		return p.entryKind()
	}
	if p.space() == '{' {
		p.plain = true
		return p.tagged()
	}
	p.data, err = p.decode()
	return err
}

// entryKind reads a number, or the name of the core's own kind.
func (p *submissionParser) entryKind() *problem {
	if p.space() != '"' {
		n, err := p.integer(uint64(tangle.KindErasable) - 1)
		p.kind = tangle.Kind(n)
		if err == nil && n == 0 {
			return p.badValue(`a kind's number, or "data"`)
		}
		return err
	}
	name, err := p.str("a kind")
	if err == nil && string(name) != dataKindName {
		return refuse("unknown_kind", `%s: want a kind's number, or "data"`, p.path)
	}
	p.kind = tangle.KindData
	return err
}

const dataKindName = "data"

// decode reads base64url into the shared buffer.
func (p *submissionParser) decode() ([]byte, *problem) {
	start := len(p.buffer)
	b, err := p.base64(p.buffer)
	if err != nil {
		return nil, err
	}
	p.buffer = b
	return b[start:len(b):len(b)], nil
}

// tagged reads {tag, bytes}, in either order, and encodes it as Data does.
func (p *submissionParser) tagged() *problem {
	p.tag, p.bytes = nil, nil
	seen, err := p.object([]string{"tag", "bytes"}, func(field int) (err *problem) {
		if field == 0 {
			p.tag, err = p.tagText()
			return err
		}
		p.bytes, err = p.decode()
		return err
	})
	if err != nil {
		return err
	}
	if seen != 3 {
		return p.badValue("an object with tag and bytes")
	}
	p.data = Data{Tag: string(p.tag), Bytes: p.bytes}.Encode()
	return nil
}

func (p *submissionParser) tagText() ([]byte, *problem) {
	tag, err := p.str("a string")
	if err == nil && (len(tag) > MaxTagBytes || !utf8.Valid(tag)) {
		err = p.badValue("at most " + strconv.Itoa(MaxTagBytes) + " bytes")
	}
	return tag, err
}

// answerPending is 202: durable here, on its way.
func (c *apiCall) answerPending(done published) error {
	view := submittedView{status: StatusPending, message: done.message, entries: make([]outcomeView, len(done.hashes))}
	for i, h := range done.hashes {
		view.entries[i] = outcomeView{status: StatusPending, entry: h, message: done.message}
	}
	return c.answerSubmitted(http.StatusAccepted, view)
}

// awaitFinal waits until all is final, or the time is over.
func (c *apiCall) awaitFinal(done published, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), wait)
	defer cancel()
	stop := context.AfterFunc(c.closing, cancel)
	defer stop()
	if err := c.Node.WaitFinal(ctx, done.hashes, done.message); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// answerState tells how far all is: 201 when it is final, else 202. A single entry that was rejected is a problem, with
// its proof.
func (c *apiCall) answerState(done published, receipts bool) error {
	view, err := c.viewSubmitted(done, receipts)
	if err != nil {
		return err
	}
	if p := rejection(view.entries); p != nil {
		return p
	}
	status := http.StatusAccepted
	if view.status == StatusFinal {
		status = http.StatusCreated
	}
	return c.answerSubmitted(status, view)
}

// submittedView is the state of a submission: the least of its entries, and each.
type submittedView struct {
	status  Status
	message tangle.ID
	entries []outcomeView
}

// outcomeView is the state of one entry of a submission.
type outcomeView struct {
	status  Status
	entry   tangle.Hash
	message tangle.ID
	outcome string
	code    string
	place   *placeView
	time    tangle.Time
	receipt []byte
}

func (c *apiCall) viewSubmitted(done published, receipts bool) (submittedView, error) {
	v := submittedView{status: StatusFinal, message: done.message, entries: make([]outcomeView, len(done.hashes))}
	reader := outcomeReader{node: c.Node}
	reader.message, reader.settled, _ = c.Node.Message(done.message) // if it is not there, each entry is looked up
	for i, h := range done.hashes {
		one, err := reader.read(h, done.message)
		if err == nil && receipts && one.status == StatusFinal {
			if one.receipt, err = c.Node.Receipt(h); errors.Is(err, ErrNotFinal) {
				err = nil
			}
		}
		if err != nil {
			return v, err
		}
		if rankOf(one.status) < rankOf(v.status) {
			v.status = one.status
		}
		v.entries[i] = one
	}
	return v, nil
}

// outcomeReader reads the states of entries that mostly stand side by side in one message, which it parses once.
type outcomeReader struct {
	node    backend
	message *tangle.Message
	settled Settled
	next    int // where the next entry should stand
}

func (r *outcomeReader) read(h tangle.Hash, promised tangle.ID) (outcomeView, error) {
	if i, ok := r.find(h); ok {
		return viewOutcome(EntryRecord{r.message.Entries[i], r.message, i, r.settled}), nil
	}
	record, err := r.node.Entry(h)
	if errors.Is(err, ErrUnknown) { // durable, but not in a message yet
		return outcomeView{status: StatusPending, entry: h, message: promised}, nil
	}
	return viewOutcome(record), err
}

func (r *outcomeReader) find(h tangle.Hash) (int, bool) {
	if r.message == nil || r.settled.Status == StatusExpired {
		return 0, false
	}
	for range r.message.Entries {
		i := r.next % len(r.message.Entries)
		if r.next++; r.message.Entries[i].Hash == h {
			return i, true
		}
	}
	return 0, false
}

func viewOutcome(r EntryRecord) outcomeView {
	v := outcomeView{status: r.Settled.Status, entry: r.Entry.Hash, time: r.Settled.Time}
	if r.Message != nil {
		v.message = r.Message.ID
	}
	v.outcome, v.code, v.place = outcomeOf(r.Settled, r.Index)
	return v
}

// rankOf orders statuses by how far they are.
func rankOf(s Status) int {
	switch s {
	case StatusOrdered:
		return 1
	case StatusFinal:
		return 2
	}
	return 0
}

// rejection is the problem of a single entry that the ledger rejected; also a refusal can be proved.
func rejection(entries []outcomeView) *problem {
	if len(entries) != 1 || entries[0].outcome != outcomeRejected || entries[0].status != StatusFinal {
		return nil
	}
	e := entries[0]
	p := refuse(e.code, "the ledger rejected the entry at its place")
	p.Outcome, p.Place, p.Receipt = e.outcome, e.place, e.receipt
	return p
}

// answerSubmitted writes the state of a submission. What is known of a single entry stands at the top too.
func (c *apiCall) answerSubmitted(status int, v submittedView) error {
	where := "/api/v1/messages/" + v.message.String()
	b := append(make([]byte, 0, 512+320*len(v.entries)), '{')
	if len(v.entries) == 1 {
		where = "/api/v1/entries/" + v.entries[0].entry.String()
		b = appendOutcome(b, v.entries[0])
	} else {
		b = append(append(append(b, `"status":"`...), v.status...), `","messageId":"`...)
		b = append(hex.AppendEncode(b, v.message[:]), '"')
	}
	b = append(b, `,"entries":[`...)
	for i := range v.entries {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendOutcome(append(b, '{'), v.entries[i]), '}')
	}
	c.Response().Header()["Location"] = []string{where}
	return c.bytes(status, jsonType, append(b, "]}"...))
}

// appendOutcome writes the members of an entry's state, without the braces.
func appendOutcome(b []byte, v outcomeView) []byte {
	b = append(append(append(b, `"status":"`...), v.status...), `","entryHash":"`...)
	b = append(hex.AppendEncode(b, v.entry[:]), `","messageId":"`...)
	b = append(hex.AppendEncode(b, v.message[:]), '"')
	if v.outcome != "" {
		b = append(append(append(b, `,"outcome":"`...), v.outcome...), '"')
	}
	if v.code != "" {
		b = strconv.AppendQuote(append(b, `,"code":`...), v.code) // plugins' codes are plain words
	}
	if v.place != nil {
		b = strconv.AppendUint(append(b, `,"place":{"position":`...), uint64(v.place.Position), 10)
		b = strconv.AppendInt(append(b, `,"index":`...), int64(v.place.Index), 10)
		b = append(append(append(b, `},"time":"`...), v.time.String()...), '"')
	}
	if v.receipt != nil {
		b = appendJSONBase64(append(b, `,"receipt":`...), v.receipt)
	}
	return b
}
