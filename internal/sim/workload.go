package sim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"weft/node"
	"weft/plugins"
	"weft/tangle"
)

// claimsName and kindClaim are of the ledger plugin every simulated network runs beside the core's own: names that the
// first valid claim owns until its owner gives them up. It has a rule to break, so that outcomes differ by order.
const (
	claimsName             = "claims"
	kindClaim  tangle.Kind = 1024
)

type claim struct {
	name    string
	release bool
}

func claimsPlugin() plugins.Plugin {
	return plugins.Plugin{Kinds: []tangle.Kind{kindClaim}, Check: checkClaim, Apply: applyClaim}
}

func checkClaim(_ tangle.Kind, data []byte) (plugins.Op, error) {
	switch {
	case len(data) < 2 || len(data) > 32:
		return nil, plugins.Reject("bad_value", "name of %d bytes", len(data)-1)
	case data[0] == '+', data[0] == '-':
		return claim{name: string(data[1:]), release: data[0] == '-'}, nil
	}
	return nil, plugins.Reject("bad_value", "neither + nor -")
}

// applyClaim writes before it looks, so that a rejected entry leaves something to roll back.
func applyClaim(state plugins.State, e plugins.Ordered) error {
	c := e.Op.(claim)
	key := []byte("name/" + c.name)
	owner := state.Get(key)
	state.Set([]byte("newest"), []byte(c.name))
	switch {
	case c.release && string(owner) != string(e.Author[:]):
		return plugins.Reject("not_owner", "%s", c.name)
	case c.release:
		state.Delete(key)
	case owner != nil:
		return plugins.Reject("taken", "%s", c.name)
	default:
		state.Set(key, e.Author[:])
	}
	return nil
}

// clients submit entries to correct nodes and insist until each is accepted. What is accepted must become final.
type clients struct {
	next    uint64
	open    map[uint64]*submission // by ticket
	taken   []*submission
	stopped bool
}

// submission is one request of a client. A node that dies before it answers is asked again, or another one, with the
// same entries.
type submission struct {
	entries  []tangle.Entry
	member   int
	instance *instance
	at       time.Duration // first tried
	accepted time.Duration
	life     int
}

// submit sends entries to the node of a member.
func (w *World) submit(k int, entries []tangle.Entry) {
	w.try(&submission{entries: entries, member: k, at: w.now})
}

func (w *World) try(s *submission) {
	i := w.members[s.member].instances[0]
	if i.down {
		w.retry(s)
		return
	}
	w.clients.next++
	if w.clients.open == nil {
		w.clients.open = map[uint64]*submission{}
	}
	s.instance, s.life = i, i.life
	ticket := w.clients.next
	w.clients.open[ticket] = s
	w.put(i, node.Input{Submit: &node.Submission{Ticket: ticket, Entries: s.entries}})
	w.after(200*time.Millisecond, func() { // no answer: the node died, or is still busy
		if w.clients.open[ticket] == s && i.life != s.life {
			delete(w.clients.open, ticket)
			w.retry(s)
		}
	})
}

func (w *World) retry(s *submission) {
	w.after(50*time.Millisecond, func() {
		if s.member == w.config.Nodes-1 && w.config.Faults.Stays && w.config.Faults.Heal == 0 {
			s.member = w.correctMember() // this one does not come back
		}
		w.try(s)
	})
}

func (c *clients) accepted(w *World, i *instance, a node.Accepted) {
	s := c.open[a.Ticket]
	if s == nil {
		return
	}
	delete(c.open, a.Ticket)
	s.accepted = w.now
	c.taken = append(c.taken, s)
	w.trace(i, "accepted ticket %d in %s", a.Ticket, a.Message.Short())
}

func (c *clients) refused(w *World, i *instance, r node.Refused) {
	s := c.open[r.Ticket]
	if s == nil {
		return
	}
	delete(c.open, r.Ticket)
	w.trace(i, "refused ticket %d: %s", r.Ticket, r.Code)
	if r.Code == "bad_value" || r.Code == "too_large" {
		w.fail("S10", "%s refuses good entries: %s %s", i, r.Code, r.Detail)
	}
	w.retry(s)
}

// correctMember draws a member that keeps the protocol and, after the heal, is up.
func (w *World) correctMember() int {
	for {
		k := w.random.IntN(len(w.members))
		m := w.members[k]
		gone := k == w.config.Nodes-1 && w.config.Faults.Stays
		if m.behaviour == Correct && !gone {
			return k
		}
	}
}

// load submits a few entries again and again until it is stopped.
func (w *World) load(mean time.Duration) {
	w.after(time.Duration(w.random.ExpFloat64()*float64(mean)), func() {
		if w.clients.stopped {
			return
		}
		w.submit(w.correctMember(), w.drawEntries())
		w.load(mean)
	})
}

func (w *World) drawEntries() []tangle.Entry {
	var entries []tangle.Entry
	for range 1 + w.random.IntN(3) {
		entries = append(entries, w.drawEntry())
	}
	return entries
}

func (w *World) drawEntry() tangle.Entry {
	var salt tangle.Salt
	binary.BigEndian.PutUint64(salt[:], w.random.Uint64())
	switch w.random.IntN(10) {
	case 0:
		return tangle.NewEntry(kindClaim, salt, nil) // refused by Check
	case 1:
		return tangle.NewEntry(77, salt, []byte("nobody owns this kind"))
	case 2, 3, 4, 5:
		sign := "+-"[w.random.IntN(2):][:1]
		return tangle.NewEntry(kindClaim, salt, fmt.Appendf(nil, "%sname%d", sign, w.random.IntN(8)))
	default:
		return tangle.NewEntry(tangle.KindData, salt, node.Data{Tag: "sim", Bytes: make([]byte, w.random.IntN(300))}.Encode())
	}
}

// model is the sequential reference of what entries mean: the claims plugin and the core's own kinds in a dozen lines.
type model struct {
	owners map[string]tangle.Member
	newest string
}

// outcome executes an entry and returns its code.
func (m *model) outcome(e tangle.Entry, author tangle.Member) string {
	switch e.Kind {
	case tangle.KindData:
		if _, err := node.ParseData(e.Data); err != nil {
			return "bad_value"
		}
		return ""
	case kindClaim:
		return m.claim(e.Data, author)
	default:
		return "unknown_kind"
	}
}

func (m *model) claim(data []byte, author tangle.Member) string {
	op, err := checkClaim(kindClaim, data)
	var r *plugins.Rejection
	if errors.As(err, &r) {
		return r.Code
	}
	c := op.(claim)
	owner, owned := m.owners[c.name]
	switch {
	case c.release && (!owned || owner != author):
		return "not_owner"
	case c.release:
		delete(m.owners, c.name)
	case owned:
		return "taken"
	default:
		m.owners[c.name] = author
	}
	m.newest = c.name
	return ""
}
