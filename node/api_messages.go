package node

import (
	"errors"
	"net/http"
	"slices"
	"strconv"

	"weft/tangle"
)

// message is GET /messages/{id}: as JSON, or the canonical bytes.
func (c *apiCall) message() error {
	id, err := c.idParam()
	if err != nil {
		return err
	}
	return c.answerMessage(id)
}

func (c *apiCall) answerMessage(id tangle.ID) error {
	m, settled, err := c.Node.Message(id)
	if err != nil {
		return err
	}
	if c.given() == bytesType {
		goes := func(e tangle.Entry) bool { return e.Erased() || e.Lasting != nil }
		if !slices.ContainsFunc(m.Entries, goes) {
			c.immutable()
		}
		return c.bytes(http.StatusOK, bytesType, m.Bytes())
	}
	return c.json(http.StatusOK, viewMessage(m, settled))
}

// atPosition is GET /positions/{n}.
func (c *apiCall) atPosition() error {
	n, err := c.numberParam()
	if err != nil {
		return err
	}
	id, err := c.Node.AtPosition(tangle.Position(n))
	if err != nil {
		return err
	}
	return c.answerMessage(id)
}

// parents is GET /messages/{id}/parents.
func (c *apiCall) parents() error {
	id, err := c.idParam()
	if err != nil {
		return err
	}
	m, _, err := c.Node.Message(id)
	if err != nil {
		return err
	}
	return c.answerMessages(m.Header.Parents)
}

// children is GET /messages/{id}/children: those known here, and no more than a page.
func (c *apiCall) children() error {
	id, err := c.idParam()
	if err != nil {
		return err
	}
	if _, _, err := c.Node.Message(id); err != nil {
		return err
	}
	ids, err := c.Node.Children(id, MaxPage)
	if err != nil {
		return err
	}
	return c.answerMessages(ids)
}

// answerMessages pages through a fixed list of messages. Parents that are not here, such as those of round 0, are left out.
func (c *apiCall) answerMessages(ids []tangle.ID) error {
	p, err := c.page()
	if err != nil {
		return err
	}
	first := uint64(0)
	if p.at != nil {
		first = min(*p.at, uint64(len(ids)))
	}
	rest := ids[first:]
	var next *uint64
	if len(rest) > p.limit {
		rest = rest[:p.limit]
		end := first + uint64(p.limit)
		next = &end
	}
	var views []messageView
	for _, id := range rest {
		m, settled, err := c.Node.Message(id)
		if errors.Is(err, ErrUnknown) {
			continue
		}
		if err != nil {
			return err
		}
		views = append(views, viewMessage(m, settled))
	}
	return c.json(http.StatusOK, listOf(c, views, next))
}

// entry is GET /entries/{hash}.
func (c *apiCall) entry() error {
	h, err := c.hashParam()
	if err != nil {
		return err
	}
	r, err := c.Node.Entry(h)
	if err != nil {
		return err
	}
	if r.Entry.Erased() {
		p := refuse("erased", "the data is gone; the hash, its place and every proof stay")
		p.Outcome, _, p.Place = outcomeOf(r.Settled, r.Index)
		return p
	}
	return c.json(http.StatusOK, viewEntry(r))
}

// entryFilter picks entries by what a query says.
type entryFilter struct {
	member    *tangle.Member
	kind      *tangle.Kind
	tag       *string
	whichever bool // no filter is set
}

// filterQuery are the parameters of entryFilter.
func filterQuery(more ...string) []string { return append([]string{"member", "kind", "tag"}, more...) }

func (c *apiCall) filter() (f entryFilter, err error) {
	if text, ok := c.query["member"]; ok {
		m, err := tangle.ParseMember(text[0])
		if err != nil {
			return f, refuse("bad_parameter", "member: %s", err)
		}
		f.member = &m
	}
	if text, ok := c.query["kind"]; ok {
		kind, err := parseKind(text[0])
		if err != nil {
			return f, err
		}
		f.kind = &kind
	}
	if text, ok := c.query["tag"]; ok {
		if len(text[0]) > MaxTagBytes {
			return f, refuse("bad_parameter", "tag: at most %d bytes", MaxTagBytes)
		}
		f.tag = &text[0]
	}
	f.whichever = f.kind == nil && f.tag == nil
	return f, nil
}

func parseKind(text string) (tangle.Kind, error) {
	if text == dataKindName {
		return tangle.KindData, nil
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return 0, refuse("bad_parameter", `kind: want a number, or "data"`)
	}
	return tangle.Kind(n), nil
}

func (f entryFilter) takesAuthor(m *tangle.Message) bool {
	return f.member == nil || *f.member == m.Header.Author
}

func (f entryFilter) takes(e tangle.Entry) bool {
	if f.kind != nil && *f.kind != e.Kind {
		return false
	}
	return f.tag == nil || (e.Kind == tangle.KindData && tagOf(e) == *f.tag)
}

func (f entryFilter) takesMessage(m *tangle.Message) bool {
	return f.takesAuthor(m) && (f.whichever || slices.ContainsFunc(m.Entries, f.takes))
}

// The bounds of one page beside its limit; what reaches them is shorter, with a cursor. A message has up to hundreds of entries.
const (
	MaxScan        = 5000 // messages looked at
	MaxPageEntries = 5000 // entries told of, give or take a message
)

// messages is GET /messages: ordered messages by position, in [from, to).
func (c *apiCall) messages() error {
	p, err := c.page()
	if err != nil {
		return err
	}
	filter, err := c.filter()
	if err != nil {
		return err
	}
	at, end, err := c.span(p)
	if err != nil {
		return err
	}
	views := []messageView{}
	entries := 0
	for scanned := 0; at != end && len(views) < p.limit && entries < MaxPageEntries && scanned < MaxScan; scanned++ {
		position := at
		if p.down {
			position--
		}
		m, settled, err := c.messageAt(tangle.Position(position))
		if err != nil {
			return err
		}
		if filter.takesMessage(m) {
			views = append(views, viewMessage(m, settled))
			entries += len(m.Entries)
		}
		at = position + 1
		if p.down {
			at = position
		}
	}
	var next *uint64
	if at != end {
		next = &at
	}
	return c.json(http.StatusOK, listOf(c, views, next))
}

// span is where a page of positions begins and where the list ends, in the direction of the page.
func (c *apiCall) span(p apiPage) (at, end uint64, err error) {
	from, err := c.number("from", 0)
	if err != nil {
		return 0, 0, err
	}
	to, err := c.number("to", maxInteger)
	if err != nil {
		return 0, 0, err
	}
	to = min(to, uint64(c.Node.Head().Position))
	from = min(from, to)
	at, end = from, to
	if p.down {
		at, end = to, from
	}
	if p.at != nil {
		at = min(max(*p.at, from), to)
	}
	return at, end, nil
}

func (c *apiCall) messageAt(p tangle.Position) (*tangle.Message, Settled, error) {
	id, err := c.Node.AtPosition(p)
	if err != nil {
		return nil, Settled{}, err
	}
	return c.Node.Message(id)
}
