package tangle

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// Facts are what the attach rules need to know of a parent; they outlive the vertex.
type Facts struct {
	Class  Class
	Epoch  Epoch
	Author Member
	Time   Time
	Round  Round // witnesses only
}

// FactsOf returns the facts of a message.
func FactsOf(m *Message) Facts {
	f := Facts{Class: m.Header.Class, Epoch: m.Header.Epoch, Author: m.Header.Author, Time: m.Header.Time}
	if w := m.Header.Witness; w != nil {
		f.Round = w.Round
	}
	return f
}

// Vertex is an attached message that the order has not reached yet: its whole past cone is here.
type Vertex struct {
	*Message
	Parents []*Vertex // parallel to Header.Parents; nil where the parent is settled
	Number  uint64    // order of attachment on this node; a local fact
	Settled bool      // ordered or expired: the order never looks below it again

	children int
	tipAt    int // index in Graph.tips, -1 if not a tip
}

// GraphConfig says what a graph is bound to.
type GraphConfig struct {
	Root     ID                            // the implicit first vertex: the network's ID
	RootTime Time                          // its time
	Settled  func(ID) (Facts, bool)        // attached messages that have left memory
	Check    func(*Message, []Facts) error // further attach rules, given the parents' facts; nil means none
	Next     uint64                        // the first attach number to give
}

// Graph is the part of the Tangle that is still in motion: attached vertices the order has not settled, the messages
// parked until their parents arrive, and the tips. It is not safe for concurrent use.
type Graph struct {
	config   GraphConfig
	vertices map[ID]*Vertex
	recent   recentFacts
	tips     []*Vertex
	parked   map[ID]*parked
	waiting  map[ID][]ID // unknown parent -> parked children
	ready    []*Message  // released by a parent, to be attached by the next Add or Release
	queue    []ID        // parked in order of arrival, with leftovers of those gone
	size     int         // bytes parked
}

type parked struct {
	message *Message
	missing int
}

// Bounds of what is parked. The oldest leave first: whoever needs them asks again.
const (
	MaxParked      = 1 << 14
	MaxParkedBytes = 16 << 20
	maxRecent      = 1 << 13

	maxRelease  = 1 << 20 // bytes of messages one Add or Release attaches, about; an entry counts as entryWeight more
	entryWeight = 200

	missingWeight = 96 // bytes of memory that a missing parent costs
)

// ErrInvalid says that a message breaks an attach rule: no honest peer holds it, and nothing above it can be valid.
var ErrInvalid = errors.New("message breaks an attach rule")

// Added is the result of Graph.Add.
type Added struct {
	Attached []*Vertex // the message and whatever waited for it, parents first
	Missing  []ID      // unknown messages below it, if it had to be parked: whoever sent it holds them
	Invalid  []Invalid // the message, or ones that waited for it, and why they can never be attached
}

// Invalid is a message that broke an attach rule.
type Invalid struct {
	Message *Message
	Err     error
}

// NewGraph returns an empty graph.
func NewGraph(c GraphConfig) *Graph {
	return &Graph{
		config:   c,
		vertices: map[ID]*Vertex{},
		recent:   recentFacts{facts: map[ID]Facts{}},
		parked:   map[ID]*parked{},
		waiting:  map[ID][]ID{},
	}
}

// Get returns an attached, unsettled vertex, or nil.
func (g *Graph) Get(id ID) *Vertex { return g.vertices[id] }

// Has says whether the message is attached, settled or not.
func (g *Graph) Has(id ID) bool {
	_, ok := g.facts(id)
	return ok
}

// Parked says whether the message waits for parents.
func (g *Graph) Parked(id ID) bool { return g.parked[id] != nil }

// Len counts attached, unsettled vertices; ParkedLen counts what waits.
func (g *Graph) Len() int       { return len(g.vertices) }
func (g *Graph) ParkedLen() int { return len(g.parked) }

// Renumber sets the attach number the next vertex gets, when a graph is loaded again.
func (g *Graph) Renumber(next uint64) { g.config.Next = next }

// IsMissing says whether something waits for a message that is neither attached nor parked.
func (g *Graph) IsMissing(id ID) bool { return g.waiting[id] != nil && g.parked[id] == nil }

// maxMissingLook bounds the parked messages that Missing looks at.
const maxMissingLook = 1024

// Missing returns up to limit unknown messages that something waits for, those that have waited longest first.
func (g *Graph) Missing(limit int) (ids []ID) {
	seen := map[ID]bool{}
	for _, id := range g.queue[:min(len(g.queue), maxMissingLook)] {
		p := g.parked[id]
		if p == nil {
			continue
		}
		for _, parent := range p.message.Header.Parents {
			if !seen[parent] && g.IsMissing(parent) {
				seen[parent] = true
				if ids = append(ids, parent); len(ids) == limit {
					return ids
				}
			}
		}
	}
	return ids
}

// Add attaches m if all its parents are attached, and then whatever waited for it; otherwise it parks m.
// Adding what is here already does nothing.
func (g *Graph) Add(m *Message) (added Added) {
	switch {
	case g.Has(m.ID):
		return added
	case g.parked[m.ID] != nil:
		added.Missing = g.below(m)
		return added
	}
	missing := 0
	for _, p := range m.Header.Parents {
		if g.waiting[p] != nil || !g.Has(p) { // what something waits for is not attached: no need to look
			missing++
			g.waiting[p] = append(g.waiting[p], m.ID)
		}
	}
	if missing > 0 {
		g.park(m, missing)
		added.Missing = g.below(m)
		return added
	}
	if g.attachOne(m, &added) {
		g.release(&added)
	}
	return added
}

// Releasing says whether messages whose parents have come still have to be attached: call Release.
func (g *Graph) Releasing() bool { return len(g.ready) > 0 }

// Release attaches some more of what an Add has released. One parent can release everything that is parked; bounded steps
// keep what follows from each of them bounded.
func (g *Graph) Release() (added Added) {
	g.release(&added)
	return added
}

// maxBelow bounds the parked messages that below looks through.
const maxBelow = 256

// below finds the unknown messages in the past of m, through parked ones, nearest first.
func (g *Graph) below(m *Message) (unknown []ID) {
	seen := map[ID]bool{}
	for queue := []*Message{m}; len(queue) > 0 && len(seen) < maxBelow; queue = queue[1:] {
		for _, p := range queue[0].Header.Parents {
			if seen[p] || g.waiting[p] == nil {
				continue // attached: nothing waits for it
			}
			seen[p] = true
			if parked := g.parked[p]; parked != nil {
				queue = append(queue, parked.message)
			} else {
				unknown = append(unknown, p)
			}
		}
	}
	return unknown
}

// Settle tells the graph that the order is done with v: ordered or expired. Its message stays known by its facts.
func (g *Graph) Settle(v *Vertex) {
	v.Settled = true
	v.Parents = nil
	g.removeTip(v)
	delete(g.vertices, v.ID)
	g.recent.put(v.ID, FactsOf(v.Message))
}

// All returns the attached, unsettled vertices in the order in which they were attached.
func (g *Graph) All() []*Vertex {
	all := make([]*Vertex, 0, len(g.vertices))
	for _, v := range g.vertices {
		all = append(all, v)
	}
	slices.SortFunc(all, func(a, b *Vertex) int { return cmp.Compare(a.Number, b.Number) })
	return all
}

func (g *Graph) facts(id ID) (Facts, bool) {
	if v := g.vertices[id]; v != nil {
		return FactsOf(v.Message), true
	}
	if id == g.config.Root {
		return Facts{Time: g.config.RootTime}, true
	}
	if f, ok := g.recent.facts[id]; ok {
		return f, true
	}
	return g.config.Settled(id)
}

// release attaches what is ready, up to a bound.
func (g *Graph) release(added *Added) {
	for weight := 0; len(g.ready) > 0 && weight < maxRelease; {
		m := g.ready[0]
		g.ready = g.ready[1:]
		g.unpark(m.ID)
		g.attachOne(m, added)
		weight += m.Size() + entryWeight*len(m.Entries)
	}
	if len(g.ready) == 0 {
		g.ready = nil
	}
}

// attachOne attaches m and makes ready what waited for it and for nothing else.
func (g *Graph) attachOne(m *Message, added *Added) bool {
	v, err := g.attach(m)
	if err != nil {
		g.dropInvalid(m, err, added)
		return false
	}
	added.Attached = append(added.Attached, v)
	for _, child := range g.takeWaiting(m.ID) {
		if p := g.parked[child]; p != nil {
			if p.missing--; p.missing == 0 {
				g.ready = append(g.ready, p.message) // still listed as parked, so that a copy changes nothing
			}
		}
	}
	return true
}

func (g *Graph) attach(m *Message) (*Vertex, error) {
	facts := make([]Facts, len(m.Header.Parents))
	for i, p := range m.Header.Parents {
		facts[i], _ = g.facts(p)
		if facts[i].Time > m.Header.Time || facts[i].Epoch > m.Header.Epoch {
			return nil, fmt.Errorf("%w: older than its parent %s", ErrInvalid, p.Short())
		}
	}
	if g.config.Check != nil {
		if err := g.config.Check(m, facts); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	}
	v := &Vertex{Message: m, Parents: make([]*Vertex, len(m.Header.Parents)), Number: g.config.Next, tipAt: -1}
	g.config.Next++
	for i, p := range m.Header.Parents {
		if parent := g.vertices[p]; parent != nil {
			v.Parents[i] = parent
			parent.children++
			g.removeTip(parent)
		}
	}
	g.vertices[m.ID] = v
	g.addTip(v)
	return v, nil
}

// dropInvalid forgets m and everything that waited for it, directly or not.
func (g *Graph) dropInvalid(m *Message, err error, added *Added) {
	added.Invalid = append(added.Invalid, Invalid{m, err})
	for _, child := range g.takeWaiting(m.ID) {
		if p := g.parked[child]; p != nil {
			g.forget(child)
			g.dropInvalid(p.message, fmt.Errorf("%w: above invalid %s", ErrInvalid, m.ID.Short()), added)
		}
	}
}

func (g *Graph) takeWaiting(parent ID) []ID {
	children := g.waiting[parent]
	delete(g.waiting, parent)
	return children
}

func (g *Graph) park(m *Message, missing int) {
	g.parked[m.ID] = &parked{m, missing}
	g.queue = append(g.queue, m.ID)
	g.size += parkedWeight(m)
	for (len(g.parked) > MaxParked || g.size > MaxParkedBytes) && len(g.queue) > 0 {
		oldest := g.queue[0]
		g.queue = g.queue[1:]
		g.forget(oldest)
	}
	if len(g.queue) > 2*len(g.parked)+64 {
		g.compactQueue()
	}
}

func parkedWeight(m *Message) int { return m.Size() + missingWeight*len(m.Header.Parents) }

// forget drops a parked message as if it had never come, unless it is about to be attached.
func (g *Graph) forget(id ID) {
	p := g.parked[id]
	if p == nil || p.missing == 0 {
		return
	}
	g.unpark(id)
	for _, parent := range p.message.Header.Parents {
		children := g.waiting[parent]
		switch i := slices.Index(children, id); {
		case i < 0: // the parent came, or was invalid
		case len(children) == 1:
			delete(g.waiting, parent)
		case i == 0: // the usual case, as the oldest leave first: no shifting
			g.waiting[parent] = children[1:]
		default:
			g.waiting[parent] = slices.Delete(children, i, i+1)
		}
	}
}

// ForgetParked drops the parked messages older than t: they can never have an effect.
func (g *Graph) ForgetParked(t Time) {
	for _, id := range slices.Clone(g.queue) {
		if p := g.parked[id]; p != nil && p.message.Header.Time < t {
			g.forget(id)
		}
	}
}

func (g *Graph) unpark(id ID) {
	g.size -= parkedWeight(g.parked[id].message)
	delete(g.parked, id)
}

// compactQueue drops leftovers, also those of messages that were dropped and have come again.
func (g *Graph) compactQueue() {
	var live []ID
	seen := map[ID]bool{}
	for _, id := range slices.Backward(g.queue) {
		if g.parked[id] != nil && !seen[id] {
			seen[id] = true
			live = append(live, id)
		}
	}
	slices.Reverse(live)
	g.queue = live
}

// recentFacts remembers the facts of the newest settled vertices, so that most parents need no look into the store.
type recentFacts struct {
	facts map[ID]Facts
	ring  []ID
	at    int
}

func (r *recentFacts) put(id ID, f Facts) {
	if len(r.ring) < maxRecent {
		r.ring = append(r.ring, id)
	} else {
		delete(r.facts, r.ring[r.at])
		r.ring[r.at] = id
		r.at = (r.at + 1) % maxRecent
	}
	r.facts[id] = f
}
