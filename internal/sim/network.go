package sim

import (
	"errors"
	"fmt"
	"time"

	"weft/gossip"
	"weft/internal/zip215"
	"weft/node"
	"weft/tangle"
)

// wires is the network between instances. Frames travel as bytes and are parsed and verified on arrival, as production
// does, except that a signature which was verified once, or made by a core of this world, is not verified again.
type wires struct {
	world  *World
	link   [][]link // from, to
	joined [][]bool // what the two sides believe: they are connected
	parsed map[string]*tangle.Message
	sealed map[tangle.ID]tangle.Signature // signatures known to be good
	keys   *zip215.Verifier
	rules  []rule // of scripts
}

// link is one direction between two instances.
type link struct {
	cut  bool // by a partition
	away bool // one side is in exile
	deaf bool // a twin that the other side does not hear just now
	slow time.Duration
	last [2]time.Duration // arrival of the newest frame, per lane
}

func newWires(w *World) *wires {
	n := len(w.instances)
	x := &wires{world: w, keys: zip215.NewVerifier(), parsed: map[string]*tangle.Message{}, sealed: map[tangle.ID]tangle.Signature{}}
	for range n {
		x.link = append(x.link, make([]link, n))
		x.joined = append(x.joined, make([]bool, n))
	}
	for from := range n {
		for to := range n {
			if w.random.Float64() < w.config.Faults.SlowLink {
				x.link[from][to].slow = 9 * w.config.Faults.Delay.draw(w.random)
			}
		}
	}
	return x
}

// connect joins a node that has just started with everybody who is up and reachable.
func (x *wires) connect(i *instance) {
	for _, other := range x.world.instances {
		if other.member != i.member && !other.down {
			x.join(i, other)
		}
	}
}

func (x *wires) join(a, b *instance) {
	if x.joined[a.number][b.number] || a.down || b.down || x.apart(a, b) {
		return
	}
	x.joined[a.number][b.number], x.joined[b.number][a.number] = true, true
	x.world.put(a, node.Input{Peer: &node.PeerChange{Member: b.self, Connected: true}})
	x.world.put(b, node.Input{Peer: &node.PeerChange{Member: a.self, Connected: true}})
}

// disconnect tells the others that a node is gone.
func (x *wires) disconnect(i *instance) {
	for _, other := range x.world.instances {
		x.part(i, other)
	}
}

func (x *wires) part(a, b *instance) {
	if !x.joined[a.number][b.number] {
		return
	}
	x.joined[a.number][b.number], x.joined[b.number][a.number] = false, false
	x.tellGone(a, b)
	x.tellGone(b, a)
}

// tellGone reports a lost peer unless another instance of that member is still connected.
func (x *wires) tellGone(a, gone *instance) {
	for _, twin := range gone.instances {
		if x.joined[a.number][twin.number] {
			return
		}
	}
	x.world.put(a, node.Input{Peer: &node.PeerChange{Member: gone.self}})
}

func (x *wires) blocked(from, to *instance) bool {
	l := &x.link[from.number][to.number]
	return l.cut || l.deaf || l.away
}

// apart says whether a partition blocks both directions: then no connection lasts.
func (x *wires) apart(a, b *instance) bool {
	return x.link[a.number][b.number].cut && x.link[b.number][a.number].cut
}

// cutAnew replaces the partition. Half of the cuts are noticed at once and end the connection, the others only lose frames.
func (x *wires) cutAnew(f Faults) {
	r := x.world.random
	side := make([]int, len(x.world.instances))
	sides := 1
	if r.Float64() >= f.Mend {
		sides = 2 + r.IntN(2)
	}
	for k := range side {
		side[k] = r.IntN(sides)
	}
	oneWay, noticed := r.Float64() < f.OneWay, r.IntN(2) == 0
	x.world.trace(nil, "partition %v oneway=%v", side, oneWay)
	x.cutBy(func(from, to int) bool { return side[from] != side[to] && !(oneWay && side[from] < side[to]) })
	x.notice(noticed)
}

// exile cuts one node off until the heal; it goes on believing in its connections.
func (x *wires) exile(i *instance) {
	for k := range x.link {
		x.link[i.number][k].away, x.link[k][i.number].away = true, true
	}
}

func (x *wires) cutBy(cut func(from, to int) bool) {
	for from := range x.link {
		for to := range x.link[from] {
			x.link[from][to].cut = cut(from, to)
		}
	}
}

// notice makes connections follow the cuts: lost ones come back, and those through a cut end if that is noticed.
func (x *wires) notice(ends bool) {
	for k, a := range x.world.instances {
		for _, b := range x.world.instances[:k] {
			switch {
			case a.member == b.member:
			case !x.apart(a, b):
				x.join(a, b)
			case ends:
				x.part(a, b)
			}
		}
	}
}

// shuffleTwins draws anew who hears which of two twins: one, the other, or both.
func (x *wires) shuffleTwins() {
	for _, m := range x.world.members {
		if len(m.instances) != 2 {
			continue
		}
		for _, other := range x.world.instances {
			if other.member == m {
				continue
			}
			which := x.world.random.IntN(5) // 0, 1: the first only; 2, 3: the second only; 4: both
			for k, twin := range m.instances {
				deaf := which < 4 && which/2 != k
				x.link[twin.number][other.number].deaf = deaf
				x.link[other.number][twin.number].deaf = deaf
			}
		}
	}
}

// heal ends cuts, losses and slowness, and lets every stream start anew as a broken connection does.
func (x *wires) heal() {
	f := &x.world.config.Faults
	f.Loss, f.Double, f.Reorder = 0, 0, 0
	f.Delay.Max = min(f.Delay.Max, 50*time.Millisecond)
	for from := range x.link {
		for to := range x.link[from] {
			x.link[from][to].cut, x.link[from][to].away, x.link[from][to].slow = false, false, 0
		}
	}
	for k, a := range x.world.instances {
		for _, b := range x.world.instances[:k] {
			if a.member != b.member {
				x.part(a, b)
				x.join(a, b)
			}
		}
	}
}

// send puts an envelope of a core on its way.
func (x *wires) send(from *instance, e gossip.Envelope) {
	x.register(from, e.Frame)
	if from.attacker != nil {
		from.attacker.send(e)
		return
	}
	x.post(from, e)
}

// post sends an envelope to whom it is addressed.
func (x *wires) post(from *instance, e gossip.Envelope) {
	b := e.Frame.Bytes()
	if x.world.tools != nil && !isBlind(b) {
		x.world.fail("blind", "a frame of %s holds what is sealed in a channel", from)
	}
	for _, to := range x.world.instances {
		if e.To == to.self || e.To == (tangle.Member{}) && to.member != from.member {
			x.transmit(from, to, e.Lane, b)
		}
	}
}

// register shows the oracles what a core sends, and remembers the signatures it made.
func (x *wires) register(from *instance, f gossip.Frame) {
	if f.Messages == nil {
		return
	}
	for _, raw := range f.Messages.Raw {
		m, err := x.parse(raw.Message)
		if err != nil {
			x.world.fail("S10", "%s sends what does not parse: %v", from, err)
			return
		}
		if _, known := x.sealed[m.ID]; !known && m.Header.Author == from.self {
			x.oracles().sealed(from, m)
			x.sealed[m.ID] = m.Signature
		}
		if m.Header.Author == from.self {
			x.oracles().sent(from, m)
		}
	}
}

func (x *wires) oracles() *oracles { return x.world.oracles }

// transmit moves bytes over one link: late, twice, or never.
func (x *wires) transmit(from, to *instance, lane gossip.Lane, b []byte) {
	w := x.world
	if !x.joined[from.number][to.number] || x.blocked(from, to) || w.random.Float64() < w.config.Faults.Loss {
		return
	}
	b, late, lost := x.rule(from, to, b)
	if lost {
		return
	}
	l := &x.link[from.number][to.number]
	life := to.life
	for range x.copies() {
		arrival := w.now + from.cost + w.config.Faults.Delay.draw(w.random) + l.slow + late
		if w.random.Float64() >= w.config.Faults.Reorder && late == 0 {
			arrival = max(arrival, l.last[lane])
			l.last[lane] = arrival
		}
		w.at(arrival, func() {
			if to.life == life && !to.down && x.joined[from.number][to.number] {
				x.arrive(from, to, b)
			}
		})
	}
}

func (x *wires) copies() int {
	if x.world.random.Float64() < x.world.config.Faults.Double {
		return 2
	}
	return 1
}

// arrive is what a node's body does with bytes from a peer.
func (x *wires) arrive(from, to *instance, b []byte) {
	x.world.mix(uint64(x.world.now), uint64(from.number), uint64(to.number), uint64(len(b)))
	x.world.mixBytes(b[:min(len(b), 256)])
	f, err := x.open(b)
	if err != nil {
		x.world.trace(to, "refuses a frame of %s: %v", from, err)
		if from.correct() {
			x.world.fail("S9", "%s refuses a frame of %s: %v", to, from, err)
		}
		return
	}
	if to.attacker != nil {
		to.attacker.hear(b)
	}
	if x.world.config.Trace != nil {
		x.world.trace(to, "<- %s %s", from, describe(f))
	}
	x.world.put(to, node.Input{Frame: &node.PeerFrame{From: from.self, Frame: f}})
}

// open parses and verifies a frame with all its messages.
func (x *wires) open(b []byte) (gossip.Frame, error) {
	f, err := gossip.Parse(b)
	if err != nil || f.Messages == nil {
		return f, err
	}
	for _, raw := range f.Messages.Raw {
		m, err := x.parse(raw.Message)
		if err != nil {
			return f, err
		}
		if err := errors.Join(x.verify(m), node.CheckOrder(x.world.genesis, m, raw.Order)); err != nil {
			return f, err
		}
		f.Messages.List = append(f.Messages.List, m)
	}
	return f, nil
}

// parse reads a message; equal bytes give the same, immutable message.
func (x *wires) parse(raw []byte) (*tangle.Message, error) {
	if m := x.parsed[string(raw)]; m != nil {
		return m, nil
	}
	m, err := x.world.codec.ParseLeft(append([]byte(nil), raw...))
	if err != nil {
		return nil, err
	}
	x.parsed[string(raw)] = m
	return m, nil
}

var errSignature = errors.New("wrong signature")

func (x *wires) verify(m *tangle.Message) error {
	if good, ok := x.sealed[m.ID]; ok && good == m.Signature {
		return nil
	}
	member, validator := x.world.roles(m.Header.Author)
	if err := m.Validate(x.world.codec.Limits, member, validator, x.world.config.Nodes); err != nil {
		return err
	}
	if !x.keys.Verify(m.Header.Author, tangle.SigningInput(m.ID), m.Signature) {
		return fmt.Errorf("message %s: %w", m.ID.Short(), errSignature)
	}
	x.sealed[m.ID] = m.Signature
	x.oracles().learn(m)
	return nil
}

// roles says whether a key is a member's, and a validator's.
func (w *World) roles(key tangle.Member) (member, validator bool) {
	for k, m := range w.members {
		if m.self == key {
			return true, k < w.config.Nodes
		}
	}
	return false, false
}

// describe is a frame for people.
func describe(f gossip.Frame) string {
	switch {
	case f.Messages != nil:
		s := fmt.Sprintf("messages upto=%d", f.Messages.Upto)
		for k, m := range f.Messages.List {
			if k == 12 {
				return s + fmt.Sprintf(" and %d more", len(f.Messages.List)-k)
			}
			s += " " + describeMessage(m)
		}
		return s
	case f.Heads != nil:
		return fmt.Sprintf("heads round=%d commit=%d size=%d", f.Heads.Round, f.Heads.Commit, f.Heads.Size)
	case f.Range != nil:
		return fmt.Sprintf("range %s %d-%d", f.Range.Author.Short(), f.Range.From, f.Range.To)
	default:
		s := "want"
		for k, id := range f.Want {
			if k == 8 {
				return s + fmt.Sprintf(" and %d more", len(f.Want)-k)
			}
			s += " " + id.Short()
		}
		return s
	}
}

func describeMessage(m *tangle.Message) string {
	if m.IsWitness() {
		return fmt.Sprintf("W%d/%s(%s)", m.Header.Witness.Round, m.Header.Author.Short()[:4], m.ID.Short()[:6])
	}
	return fmt.Sprintf("M%d/%s(%s)", m.Header.Seq, m.Header.Author.Short()[:4], m.ID.Short()[:6])
}
