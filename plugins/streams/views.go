package streams

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"weft/plugins"
	"weft/plugins/rest"
	"weft/plugins/streams/channel"
	"weft/tangle"
)

// asOf says as of when an answer is.
type asOf struct {
	Position tangle.Position `json:"position"`
	Final    tangle.Position `json:"final"`
	Time     *string         `json:"time"` // null before anything is final
}

func (s *streams) asOf() asOf {
	h := s.host.Head()
	return asOf{h.Position, h.Final, timeText(h.FinalTime)}
}

// timeText is a time in an answer; nil for none.
func timeText(t tangle.Time) *string {
	if t == 0 {
		return nil
	}
	text := t.String()
	return &text
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// list is a page of a list; Next is null at the end.
type list[T any] struct {
	rest.List[T]
	AsOf asOf `json:"asOf"`
}

// asked is what a list is asked for. A cursor is bound to the route, the filters and the caller that it was made for.
type asked struct {
	rest.Page
	binding string
}

const bindingBytes = 8

// readPage reads limit and cursor.
func readPage(r *http.Request) (a asked, err error) {
	if a.Page, err = rest.ReadPage(r); err != nil {
		return a, err
	}
	filters := r.URL.Query()
	filters.Del("cursor")
	filters.Del("limit")
	sum := sha256.Sum256([]byte(r.URL.Path + "?" + filters.Encode() + " " + plugins.CallerOf(r.Context()).DID))
	a.binding = string(sum[:bindingBytes])
	if a.After == "" {
		return a, nil
	}
	after, ours := strings.CutPrefix(a.After, a.binding)
	if a.After = after; !ours || after == "" {
		return a, plugins.Reject("bad_cursor", "this is no cursor of this list")
	}
	return a, nil
}

// page collects the items of a list: one more than asked for tells whether there is a next page.
type page[T any] struct {
	asked
	items []T
	last  string // where the next page begins
	more  bool
}

// add takes an item with the cursor that names it; false: the page is full.
func (p *page[T]) add(item T, cursor string) bool {
	if len(p.items) == p.Limit {
		p.more = true
		return false
	}
	p.items, p.last = append(p.items, item), cursor
	return true
}

func listOf[T any](p *page[T], now asOf) list[T] {
	l := list[T]{List: rest.List[T]{Items: p.items}, AsOf: now}
	if l.Items == nil {
		l.Items = []T{}
	}
	if p.more {
		l.Next = rest.Cursor(p.binding + p.last)
	}
	return l
}

// numberAfter reads a cursor that is a number; ok is false without one.
func numberAfter(p asked) (n uint64, ok bool, err error) {
	if p.After == "" {
		return 0, false, nil
	}
	if n, err = strconv.ParseUint(p.After, 10, 53); err != nil {
		return 0, false, plugins.Reject("bad_cursor", "this is no cursor of this list")
	}
	return n, true, nil
}

// firstFrom is where a list of numbers from on begins, or goes on.
func (p asked) firstFrom(from uint64) (uint64, error) {
	if n, ok, err := numberAfter(p); err != nil || ok {
		return max(from, n+1), err
	}
	return from, nil
}

// number reads a parameter; without one it is what is given.
func number(r *http.Request, name string, otherwise uint64) (uint64, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseUint(text, 10, 53)
	if err != nil {
		return 0, plugins.Reject("bad_parameter", "%s: want a whole number", name)
	}
	return n, nil
}

// eventView is an accepted operation at its place.
type eventView struct {
	Event        uint64          `json:"event"`
	Seq          uint64          `json:"seq,omitempty"`
	Op           channel.Op      `json:"op"`
	Actor        string          `json:"actor,omitempty"`
	Place        rest.Place      `json:"place"`
	Time         string          `json:"time"`
	Created      *string         `json:"created,omitempty"`
	Final        bool            `json:"final"`
	Head         tangle.Hash     `json:"head"`
	EntryHash    tangle.Hash     `json:"entryHash"`
	Member       tangle.Member   `json:"member"` // that carried it
	ContentHash  *tangle.Hash    `json:"contentHash,omitempty"`
	Operation    json.RawMessage `json:"operation,omitempty"` // not there once it is erased or past retention
	SupersededBy []superseding   `json:"supersededBy,omitempty"`
	Erased       *erasedView     `json:"erased,omitempty"`
	HeldBy       []tangle.Member `json:"heldBy,omitempty"`
	SkewSeconds  int64           `json:"skewSeconds,omitempty"`
}

// superseding is a correction of a record.
type superseding struct {
	Seq    uint64 `json:"seq"`
	Author string `json:"author,omitempty"`
}

type erasedView struct {
	Event  uint64 `json:"event"`
	By     string `json:"by"`
	Reason string `json:"reason"`
	Time   string `json:"time"`
}

// maxSuperseding bounds the corrections that are listed of one record.
const maxSuperseding = 100

// viewEvent shows an event with its operation.
func (s *streams) viewEvent(c channel.Channel, e channel.Event, final tangle.Position) (eventView, error) {
	if e.IsRecord() && s.pastRetention(c, e) { // it is cleared with one of the next operations
		e.Cleared, e.Author, e.Created = true, channel.DIDHash{}, 0
	}
	actor, err := channel.ActorOf(s.state(), c.ID, e)
	if err != nil {
		s.damaged(err)
		return eventView{}, err
	}
	v := eventView{
		Event: e.Number, Seq: e.Seq, Op: e.Op, Actor: actor, Place: rest.Place{Position: e.Position, Index: e.Index}, Time: e.Time.String(),
		Created: timeText(e.Created), Final: e.Position < final, Head: e.Head, EntryHash: e.Entry, Member: e.By, SkewSeconds: e.SkewSeconds(),
	}
	if !e.Cleared {
		v.Operation = s.host.Data(e.Position, e.Index)
	}
	if !e.IsRecord() {
		return v, nil
	}
	if e.ContentHash != (tangle.Hash{}) {
		v.ContentHash = &e.ContentHash
	}
	return v, s.addRecord(&v, c.ID, e)
}

// addRecord adds what only records have.
func (s *streams) addRecord(v *eventView, id channel.ID, e channel.Event) error {
	for _, seq := range channel.SupersededBy(s.state(), id, e.Seq, maxSuperseding) {
		correction, found, err := channel.ReadRecord(s.state(), id, seq)
		if err != nil {
			s.damaged(err)
			return err
		}
		if !found {
			continue
		}
		author, err := channel.ActorOf(s.state(), id, correction)
		if err != nil {
			s.damaged(err)
			return err
		}
		v.SupersededBy = append(v.SupersededBy, superseding{seq, author})
	}
	if e.ErasedBy == 0 {
		return nil
	}
	t, _, err := channel.ReadTombstone(s.state(), id, e.Seq)
	s.damaged(err)
	v.Erased = &erasedView{t.Event, t.By, t.Reason, t.Time.String()}
	return err
}

// marshal is JSON that keeps the bytes of operations: they are what was signed.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// answer writes JSON.
func answer(w http.ResponseWriter, status int, v any) error {
	body, err := marshal(v)
	if err != nil {
		return err
	}
	return rest.AnswerBytes(w, status, rest.TypeJSON, body)
}
