package streams

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"time"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/rest"
	"weft/plugins/streams/channel"
	"weft/tangle"
)

// MaxBatch bounds the operations of one request.
const MaxBatch = 64

// maxAhead is how far an author's clock may be ahead of this node's. One that is behind may have buffered offline.
const maxAhead = 5 * time.Minute

// rules are what rest.Operations needs to know of this plugin's operations.
func (s *streams) rules() rest.Rules {
	return rest.Rules{
		Check: s.ledger.check, CheckAll: s.ledger.checkAll, Counted: s.counted, Find: s.find, Result: s.resultOf,
		Hash:    func(op plugins.Op) string { return op.(*channel.Operation).Envelope.Hash },
		Creates: func(op plugins.Op) bool { o, ok := op.(*channel.Operation); return ok && o.Op == channel.Create },
	}
}

// counted finds the entry with which an operation was accepted.
func (s *streams) counted(hash string) (rest.Found, bool) {
	h, ok := findAccepted(s.host.IndexView(), hash)
	return rest.Found{Kind: channel.Kind, Entry: h.Entry}, ok
}

// find is counted, or else the first entry.
func (s *streams) find(hash string) (rest.Found, bool) {
	if f, ok := s.counted(hash); ok {
		return f, true
	}
	entry, code, ok := findRejected(s.host.IndexView(), hash)
	return rest.Found{Kind: channel.Kind, Entry: entry, Code: code}, ok
}

// resultOf is what an accepted operation made or changed.
func (s *streams) resultOf(_ tangle.Kind, hash string, _ plugins.Op) map[string]any {
	h, ok := findAccepted(s.host.IndexView(), hash)
	if !ok {
		return nil
	}
	result := map[string]any{"channel": h.Channel, "event": h.Event}
	if h.Op == channel.Write {
		result["seq"] = h.Seq
	}
	if e, err := channel.ReadEvent(s.state(), h.Channel, h.Event); err == nil {
		result["head"] = e.Head
	}
	return result
}

// admit judges an operation as if this member carried it to its place now, and holds what is this node's own to judge: the
// author's clock, and that a payload beside the ledger is here.
func (s *streams) admit(v plugins.Reader, o plugins.Op) error {
	op, now := o.(*channel.Operation), tangle.TimeOf(s.now())
	if op.Created > now.Add(maxAhead) {
		return plugins.Reject("clock_skew", "created is %s, this node has %s", op.Created, now)
	}
	if _, err := channel.Next(v, v.Peek(identityPlugin), op, did.Place{Time: now, By: s.host.Self}); err != nil {
		return err
	}
	if b := op.Record.Body; op.Op == channel.Write && b != nil && b.Blob != nil {
		return s.blobs.holds(op.Channel, *b.Blob)
	}
	return nil
}

// create is POST /api/v1/channels.
func (s *streams) create(w http.ResponseWriter, r *http.Request) error {
	return s.one(w, r, func(op *channel.Operation) error {
		if op.Op != channel.Create {
			return plugins.Reject("bad_value", "the operation is %s; this route takes create", op.Op)
		}
		return nil
	})
}

// operate is POST /api/v1/channels/{id}/operations: one operation of the channel, or a batch of them.
func (s *streams) operate(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	raw, err := rest.ReadBody(r)
	if err != nil {
		return err
	}
	r.Body = nopCloser{bytes.NewReader(raw)}
	fits := s.fitsVersion(r, id, fitsChannel(id))
	if isBatch(raw) {
		return s.batch(w, r, raw, fits)
	}
	if len(raw) > channel.MaxOperationBytes {
		return plugins.Reject("too_large", "an operation has at most %d bytes", channel.MaxOperationBytes)
	}
	return s.one(w, r, fits)
}

type nopCloser struct{ *bytes.Reader }

func (nopCloser) Close() error { return nil }

// isBatch says whether a body is an object whose first member is operations: no operation begins so.
func isBatch(raw []byte) bool {
	rest, opened := bytes.CutPrefix(bytes.TrimSpace(raw), []byte("{"))
	return opened && bytes.HasPrefix(bytes.TrimSpace(rest), []byte(`"operations"`))
}

func fitsChannel(id channel.ID) func(*channel.Operation) error {
	return func(op *channel.Operation) error {
		switch {
		case op.Op == channel.Create:
			return plugins.Reject("bad_value", "the operation is create, which goes to /api/v1/channels")
		case op.Channel != id:
			return plugins.Reject("bad_value", "the operation is of another channel than the path")
		}
		return nil
	}
}

// fitsVersion adds If-Match: the channel must stand at the event that its ETag named. An operation that took effect already is
// not held against itself.
func (s *streams) fitsVersion(r *http.Request, id channel.ID, fits func(*channel.Operation) error) func(*channel.Operation) error {
	want := r.Header.Get("If-Match")
	if want == "" {
		return fits
	}
	return func(op *channel.Operation) error {
		if err := fits(op); err != nil {
			return err
		}
		_, h, err := s.channelOf(r.Context(), id)
		if err != nil {
			return err
		}
		if _, done := s.counted(op.Envelope.Hash); !done && !rest.MatchesTag(eventOfTag(want), strconv.FormatUint(h.Event, 10)) {
			return plugins.Reject("version_mismatch", "the channel stands at event %d", h.Event)
		}
		return nil
	}
}

// one takes one signed operation.
func (s *streams) one(w http.ResponseWriter, r *http.Request, fit func(*channel.Operation) error) error {
	wait, err := rest.ReadWait(r)
	if err != nil {
		return err
	}
	raw, err := rest.ReadBody(r)
	if err != nil {
		return err
	}
	op, err := channel.Decode(s.host.Network, raw)
	if err == nil {
		err = fit(op)
	}
	if err != nil {
		return err
	}
	state, err := s.submit(r.Context(), rest.SignedOperation{Op: op, Raw: raw})
	if err != nil {
		return err
	}
	if wait > 0 {
		s.operations.Await(r.Context(), &state, wait)
	}
	return s.operations.Answer(w, r, state)
}

// submit publishes an operation. What it builds on may be known to other nodes already.
func (s *streams) submit(ctx context.Context, one rest.SignedOperation) (rest.State, error) {
	state, err := s.operations.Submit(ctx, channel.Kind, one.Op, one.Raw)
	if mayBeBehind(err) {
		s.host.CatchUp(ctx)
		state, err = s.operations.Submit(ctx, channel.Kind, one.Op, one.Raw)
	}
	return state, err
}

// mayBeBehind says whether a rejection can come of what this node has not heard yet.
func mayBeBehind(err error) bool {
	r := plugins.Rejected(err)
	return r != nil && slices.Contains([]string{
		"unknown_channel", "unknown_did", "unknown_record", "bad_after", "not_participant", "right_missing", "not_entitled", "epoch_unknown",
		"epoch_conflict", "tag_unknown", "tag_not_allowed", "wrong_state", "owner_only",
	}, r.Code)
}

// result is what became of one operation of a batch: its state, or the problem.
type result struct {
	*rest.StateAnswer
	Problem *problemView `json:"problem,omitempty"`
}

// problemView is a refusal inside an answer.
type problemView struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Code   string `json:"code"`
	Detail string `json:"detail,omitempty"`
}

// MarshalJSON writes the state as it stands alone.
func (a result) MarshalJSON() ([]byte, error) {
	if a.StateAnswer != nil {
		return json.Marshal(*a.StateAnswer)
	}
	return json.Marshal(struct {
		Problem *problemView `json:"problem"`
	}{a.Problem})
}

// taken is one operation of a batch on its way.
type taken struct {
	rest.SignedOperation
	state rest.State
	err   error
}

// batch is many operations at once, each with a result of its own. Those that are taken stand in one message.
func (s *streams) batch(w http.ResponseWriter, r *http.Request, raw []byte, fits func(*channel.Operation) error) error {
	wait, err := rest.ReadWait(r)
	if err != nil {
		return err
	}
	list, err := s.readBatch(raw, fits)
	if err != nil {
		return err
	}
	if err := s.submitBatch(r.Context(), list); err != nil {
		return err
	}
	if wait > 0 {
		s.awaitBatch(r.Context(), list, wait)
	}
	return s.answerBatch(w, r, list)
}

func (s *streams) readBatch(raw []byte, fit func(*channel.Operation) error) ([]taken, error) {
	operations, err := rest.ReadOperations(raw, MaxBatch)
	if err != nil {
		return nil, err
	}
	list := make([]taken, len(operations))
	for i, c := range s.operations.CheckAll(channel.Kind, operations) {
		if c.Err == nil {
			c.Err = fit(c.Op.(*channel.Operation))
		}
		list[i] = taken{SignedOperation: rest.SignedOperation{Op: c.Op, Raw: operations[i]}, err: c.Err}
	}
	return list, nil
}

// submitBatch publishes all that this node admits. It is one message as a rule: an operation that is refused makes each of
// the others be asked about alone.
func (s *streams) submitBatch(ctx context.Context, list []taken) error {
	err := s.submitGood(ctx, list)
	if mayBeBehind(err) {
		s.host.CatchUp(ctx)
		err = s.submitGood(ctx, list)
	}
	if plugins.Rejected(err) == nil {
		return err
	}
	for i := range list {
		if list[i].err == nil {
			list[i].err = s.admissible(list[i].SignedOperation)
		}
	}
	return s.submitGood(ctx, list)
}

// admissible is admit, but for what has counted or is on its way already.
func (s *streams) admissible(one rest.SignedOperation) error {
	if state, known := s.operations.State(one.Op.(*channel.Operation).Envelope.Hash); known && state.Code == "" {
		return nil
	}
	return s.admit(nowState{s.state(), s.host.Peek}, one.Op)
}

// nowState is the state as it is now. It implements plugins.Reader.
type nowState struct {
	plugins.View
	peek func(plugin string) plugins.View
}

// Peek implements plugins.Reader.
func (n nowState) Peek(plugin string) plugins.View { return n.peek(plugin) }

// submitGood publishes those of a list that nothing is wrong with.
func (s *streams) submitGood(ctx context.Context, list []taken) error {
	var good []rest.SignedOperation
	for _, one := range list {
		if one.err == nil {
			good = append(good, one.SignedOperation)
		}
	}
	states, err := s.operations.SubmitAll(ctx, channel.Kind, good)
	if err != nil {
		return err
	}
	for i := range list {
		if list[i].err == nil {
			list[i].state, states = states[0], states[1:]
		}
	}
	return nil
}

func (s *streams) awaitBatch(ctx context.Context, list []taken, wait time.Duration) {
	var states []*rest.State
	for i := range list {
		if list[i].err == nil {
			states = append(states, &list[i].state)
		}
	}
	s.operations.AwaitAll(ctx, states, wait)
}

// answerBatch is 200 if nothing is on its way any more, else 202. Receipts are for single operations, or asked for later.
func (s *streams) answerBatch(w http.ResponseWriter, r *http.Request, list []taken) error {
	status, receipts := http.StatusOK, r.URL.Query().Get("receipts") == "true"
	results := make([][]byte, len(list))
	for i, one := range list {
		r := result{}
		switch {
		case one.err == nil:
			a := s.operations.View(one.state)
			if a.Status != "final" {
				status = http.StatusAccepted
			} else if receipts {
				s.operations.AddReceipt(&a)
			}
			r.StateAnswer = &a
		case plugins.Rejected(one.err) == nil:
			return one.err
		default:
			r.Problem = viewProblem(one.err)
		}
		var err error
		if results[i], err = r.MarshalJSON(); err != nil {
			return err
		}
	}
	// encoding/json would read again all that it has just written
	body := slices.Concat([]byte(`{"results":[`), bytes.Join(results, []byte{','}), []byte("]}"))
	return rest.AnswerBytes(w, status, rest.TypeJSON, body)
}

func viewProblem(err error) *problemView {
	r := plugins.Rejected(err)
	return &problemView{Type: "urn:weft:problem:" + r.Code, Title: plugins.TitleOf(r.Code), Status: plugins.StatusOf(r.Code), Code: r.Code, Detail: r.Detail}
}
