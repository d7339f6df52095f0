package streams

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"sort"
	"strconv"

	"weft/plugins"
	"weft/plugins/rest"
	"weft/plugins/streams/channel"
	"weft/tangle"
)

// listEvents is GET /api/v1/channels/{id}/events: what the hash chain is made of, as far as the caller is served it.
func (s *streams) listEvents(w http.ResponseWriter, r *http.Request) error {
	now := s.asOf()
	x, err := s.openPart(r)
	if err != nil {
		return err
	}
	from, to, op, err := readEventFilter(r)
	if err != nil {
		return err
	}
	asked, err := readPage(r)
	if err == nil {
		from, err = asked.firstFrom(from)
	}
	if err != nil {
		return err
	}
	p := page[channel.Event]{asked: asked}
	scanned := 0
	err = channel.Events(s.state(), x.ID, from, func(e channel.Event) bool {
		cursor := strconv.FormatUint(e.Number, 10)
		if scanned++; scanned > maxScanned {
			p.more = true
			return false
		}
		if e.Number > to {
			return false
		}
		if (op != "" && e.Op != op) || !x.sees(e) {
			p.last = cursor
			return true
		}
		return p.add(e, cursor)
	})
	if err != nil {
		s.damaged(err)
		return err
	}
	return s.answerEvents(w, x.Channel, &p, now)
}

// readEventFilter reads ?after (not wanted any more), ?to (the last one) and ?op.
func readEventFilter(r *http.Request) (from, to uint64, op channel.Op, err error) {
	if r.URL.Query().Has("after") {
		if from, err = number(r, "after", 0); err != nil {
			return from, to, op, err
		}
		from++
	}
	if to, err = number(r, "to", 1<<63); err != nil {
		return from, to, op, err
	}
	op = channel.Op(r.URL.Query().Get("op"))
	if op != "" && !slices.Contains(channel.Ops(), op) {
		err = plugins.Reject("bad_parameter", "op: %.40q is none", op)
	}
	return from, to, op, err
}

func (s *streams) answerEvents(w http.ResponseWriter, c channel.Channel, p *page[channel.Event], now asOf) error {
	views := page[eventView]{asked: p.asked, last: p.last, more: p.more}
	for _, e := range p.items {
		v, err := s.viewEvent(c, e, now.Final)
		if err != nil {
			return err
		}
		if e.Blob != nil && e.ErasedBy == 0 && s.blobs.has(c.ID, e.Blob.Root) {
			v.HeldBy = []tangle.Member{s.host.Self}
		}
		views.items = append(views.items, v)
	}
	return answer(w, http.StatusOK, listOf(&views, now))
}

// recordFilter says which records a list is about.
type recordFilter struct {
	from, to         uint64 // seq
	fields           map[byte]string
	author           channel.DIDHash // of fields
	timeFrom, timeTo tangle.Time     // commit time; 0: any
	contains         []byte
	descending       bool
}

func recordQuery() []string {
	return rest.PageQuery("from", "to", "type", "tag", "topicType", "topicSource", "author", "timeFrom", "timeTo", "contains", "order")
}

func readRecordFilter(r *http.Request) (f recordFilter, err error) {
	q := r.URL.Query()
	if f.from, err = number(r, "from", 1); err != nil {
		return f, err
	}
	if f.to, err = number(r, "to", 1<<53); err != nil {
		return f, err
	}
	f.fields = map[byte]string{}
	for field, name := range map[byte]string{
		fieldAuthor: "author", fieldType: "type", fieldTag: "tag", fieldTopicType: "topicType", fieldTopicSource: "topicSource",
	} {
		if value := q.Get(name); value != "" {
			f.fields[field] = value
		}
	}
	f.author = channel.HashDID(f.fields[fieldAuthor])
	if f.timeFrom, err = timeOf(r, "timeFrom"); err != nil {
		return f, err
	}
	if f.timeTo, err = timeOf(r, "timeTo"); err != nil {
		return f, err
	}
	f.contains = []byte(q.Get("contains"))
	switch q.Get("order") {
	case "", "asc":
	case "desc":
		f.descending = true
	default:
		return f, plugins.Reject("bad_parameter", "order is asc or desc")
	}
	return f, nil
}

// listRecords is GET /api/v1/channels/{id}/records.
func (s *streams) listRecords(w http.ResponseWriter, r *http.Request) error {
	now := s.asOf()
	x, err := s.openPart(r)
	if err != nil {
		return err
	}
	f, err := readRecordFilter(r)
	if err != nil {
		return err
	}
	asked, err := readPage(r)
	if err != nil {
		return err
	}
	p := page[channel.Event]{asked: asked}
	if err := s.collectRecords(&p, x, f); err != nil {
		return err
	}
	return s.answerEvents(w, x.Channel, &p, now)
}

func (s *streams) collectRecords(p *page[channel.Event], x *reader, f recordFilter) error {
	n, resumes, err := numberAfter(p.asked)
	if err != nil {
		return err
	}
	low, high := max(f.from, 1), min(f.to, x.head.Seq)
	switch {
	case resumes && f.descending:
		high = min(high, n-min(n, 1))
	case resumes:
		low = max(low, n+1)
	}
	if low, high, err = s.narrow(x, f, low, high); err != nil {
		return err
	}
	scanned := 0
	s.seqs(x, f, low, high, func(seq uint64) bool {
		if scanned++; scanned > maxScanned {
			p.more = true
			return false
		}
		e, found, fault := channel.ReadRecord(s.state(), x.ID, seq)
		if err = fault; err != nil || !found {
			return false
		}
		cursor := strconv.FormatUint(seq, 10)
		if !x.sees(e) || !s.matches(f, e) {
			p.last = cursor
			return true
		}
		return p.add(e, cursor)
	})
	s.damaged(err)
	return err
}

// narrow bounds seqs by commit time, which never falls.
func (s *streams) narrow(x *reader, f recordFilter, low, high uint64) (uint64, uint64, error) {
	var fault error
	first := func(t tangle.Time) uint64 { // first seq that is not before t
		return low + uint64(sort.Search(int(high+1-low), func(i int) bool {
			e, found, err := channel.ReadRecord(s.state(), x.ID, low+uint64(i))
			if err != nil {
				fault = err
			}
			return !found || e.Time >= t
		}))
	}
	if f.timeFrom != 0 && low <= high {
		low = first(f.timeFrom)
	}
	if f.timeTo != 0 && low <= high {
		high = first(f.timeTo) - 1
	}
	s.damaged(fault)
	return low, high, fault
}

// seqs visits the seqs that may match, in the order of the list.
func (s *streams) seqs(x *reader, f recordFilter, low, high uint64, visit func(uint64) bool) {
	for _, field := range []byte{fieldTag, fieldType, fieldTopicSource, fieldTopicType, fieldAuthor} {
		if value, asked := f.fields[field]; asked {
			recordsBy(s.host.IndexView(), x.ID, field, value, low, high, f.descending, visit)
			return
		}
	}
	if !f.descending {
		for seq := low; seq <= high && visit(seq); seq++ {
		}
		return
	}
	for seq := high; seq >= low && seq > 0 && visit(seq); seq-- {
	}
}

// matches compares a record with a filter.
func (s *streams) matches(f recordFilter, e channel.Event) bool {
	if len(f.fields) == 0 && len(f.contains) == 0 {
		return true
	}
	tag, asksTag := f.fields[fieldTag]
	_, asksAuthor := f.fields[fieldAuthor]
	if e.Cleared || asksTag && e.Tag != tag || asksAuthor && e.Author != f.author {
		return false
	}
	recordType, asksRecord := f.fields[fieldType]
	topicType, asksType := f.fields[fieldTopicType]
	topicSource, asksSource := f.fields[fieldTopicSource]
	if !asksRecord && !asksType && !asksSource && len(f.contains) == 0 {
		return true
	}
	var said struct {
		RecordType string          `json:"recordType"`
		Topic      channel.Topic   `json:"topic"`
		Public     json.RawMessage `json:"public"`
	}
	if json.Unmarshal(s.host.Data(e.Position, e.Index), &said) != nil {
		return false
	}
	return (!asksRecord || said.RecordType == recordType) && (!asksType || said.Topic.Type == topicType) &&
		(!asksSource || said.Topic.Source == topicSource) && bytes.Contains(said.Public, f.contains)
}

// recordOf finds the record of the path, if the caller is served it.
func (s *streams) recordOf(r *http.Request) (*reader, channel.Event, error) {
	x, err := s.openPart(r)
	if err != nil {
		return nil, channel.Event{}, err
	}
	seq, err := strconv.ParseUint(r.PathValue("seq"), 10, 53)
	if err != nil {
		return nil, channel.Event{}, plugins.Reject("bad_parameter", "a record is named by its seq")
	}
	e, found, err := channel.ReadRecord(s.state(), x.ID, seq)
	s.damaged(err)
	if err == nil && (!found || !x.sees(e)) {
		err = plugins.Reject("unknown_record", "record %d", seq)
	}
	return x, e, err
}

// showRecord is GET /api/v1/channels/{id}/records/{seq}. Of a payload beside the ledger it tells which members have it now.
func (s *streams) showRecord(w http.ResponseWriter, r *http.Request) error {
	final := s.host.Head().Final
	x, e, err := s.recordOf(r)
	if err != nil {
		return err
	}
	v, err := s.viewEvent(x.Channel, e, final)
	if err != nil {
		return err
	}
	if e.Blob != nil && e.ErasedBy == 0 {
		v.HeldBy = s.holders(r.Context(), x.ID, e.Blob.Root)
	}
	return answer(w, http.StatusOK, v)
}
