// Package sim runs a whole network in one goroutine: N node cores over memory stores, a network that delays, loses and
// reorders, clocks that lie, crashes, and members that misbehave, all drawn from one seed, and oracles that check the
// invariants of docs/protocol.md at every commit. The same seed gives the same run, event by event.
//
// With Config.Identity the network runs the identity plugin too: wallets race, forge and repeat operations, and a
// reference written separately says what each of them must do (S16). With Config.Channels it runs the streams plugin as well:
// tools write sealed records into a channel while its owner changes who may, and what they hold in the end is tried with
// real keys.
//
// It calls the same node.Core.Step as production and moves the same bytes, but it has no sockets, real clock or disk, and
// it is no benchmark: virtual time says nothing about CPU cost.
package sim

import (
	"container/heap"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"math/rand/v2"
	"time"

	"weft/config/genesis"
	"weft/consensus"
	"weft/internal/store"
	"weft/node"
	"weft/plugins/identity"
	"weft/plugins/streams"
	"weft/tangle"
)

// Config says what one run is.
type Config struct {
	Seed      uint64
	Nodes     int         // validators
	Observers int         // members that are not validators, each with a node
	Byzantine []Behaviour // of the first validators; the others are correct
	Faults    Faults
	Consensus genesis.Consensus
	Tuning    node.Tuning
	Reference bool      // compare with the slow reference at the end
	Identity  bool      // the network runs the identity plugin too, and wallets submit operations
	Channels  bool      // with Identity: it runs the streams plugin instead of the load on identities, and tools use a channel
	Trace     io.Writer // every event as a line; nil: none
}

// World is one run.
type World struct {
	config  Config
	random  *rand.Rand
	genesis *genesis.Genesis
	codec   tangle.Codec
	network tangle.ID

	now       time.Duration // virtual time since the start
	events    eventHeap
	scheduled uint64
	executed  uint64
	hash      uint64 // over everything that happened
	table     *crc64.Table
	latest    tangle.Time // the highest any correct clock has shown

	members   []*member
	instances []*instance
	wires     *wires
	oracles   *oracles
	clients   clients
	wallets   *wallets // nil: without the identity plugin
	tools     *tools   // nil: without the streams plugin
	violation *Violation
}

// member is one key. A twin has two instances, everybody else one.
type member struct {
	index     int
	key       ed25519.PrivateKey
	self      tangle.Member
	behaviour Behaviour
	instances []*instance
}

// instance is one running node.
type instance struct {
	*member
	number int // index in World.instances
	disk   *disk
	core   *node.Core // nil while down
	ledger *node.Ledger
	life   int           // counts starts: what was meant for an earlier life is void
	offset time.Duration // of its machine's clock
	shown  time.Duration // what its clock showed when it was read last
	readAt time.Duration // when that was
	cost   time.Duration // of one step
	inbox  []node.Input
	freeAt time.Duration // when the running step ends
	due    time.Duration // when the next step is scheduled; never: none
	alarm  uint64        // number of the event that is that step

	down     bool
	attacker *attacker // nil: correct, or a twin
	crafted  []tangle.ID
	watch    watch // what the oracles have seen of it
}

const never = time.Duration(1<<63 - 1)

// Bounds of a run and of one node's share in it.
const (
	MaxEvents = 20_000_000
	MaxInbox  = 4096 // frames; more are dropped as production drops them
	MaxInputs = 64   // in one step
)

// event is something that happens at a virtual time; number breaks ties and is unique.
type event struct {
	at     time.Duration
	number uint64
	do     func()
}

type eventHeap []event

func (h eventHeap) Len() int { return len(h) }
func (h eventHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].number < h[j].number
}
func (h eventHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *eventHeap) Push(x any)   { *h = append(*h, x.(event)) }
func (h *eventHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = event{}
	*h = old[:len(old)-1]
	return last
}

// The genesis time: the wall clock of virtual time zero. Networks with identities begin shortly before midnight, so that
// quotas by day and by minute see an edge.
const (
	startTime      tangle.Time = 1_700_000_000_000
	beforeMidnight tangle.Time = 1_700_006_400_000 - 2000
)

func (w *World) startTime() tangle.Time {
	if w.config.Identity {
		return beforeMidnight
	}
	return startTime
}

// New makes a world and starts its nodes.
func New(c Config) *World {
	w := &World{config: c, random: newRandom(c.Seed), table: crc64.MakeTable(crc64.ECMA)}
	w.makeMembers()
	w.genesis = w.makeGenesis()
	w.network = w.genesis.ID()
	w.codec = tangle.Codec{Network: w.network, Limits: w.genesis.Limits}
	w.wires = newWires(w)
	w.oracles = newOracles(w)
	if c.Identity {
		w.wallets = newWallets(w)
	}
	if c.Channels {
		w.tools = newTools(w)
	}
	for _, i := range w.instances {
		i.offset = w.config.Faults.skew(w.random)
		i.cost = w.config.Faults.stepCost(w.random)
		w.start(i)
	}
	return w
}

func newRandom(seed uint64) *rand.Rand {
	var key [32]byte
	binary.BigEndian.PutUint64(key[:], seed)
	return rand.New(rand.NewChaCha8(key))
}

func (w *World) makeMembers() {
	for k := range w.config.Nodes + w.config.Observers {
		seed := sha256.Sum256(fmt.Appendf(nil, "weft/sim/key/%d", k))
		m := &member{index: k, key: ed25519.NewKeyFromSeed(seed[:])}
		m.self = tangle.Member(m.key.Public().(ed25519.PublicKey))
		if k < len(w.config.Byzantine) {
			m.behaviour = w.config.Byzantine[k]
		}
		w.members = append(w.members, m)
		w.addInstance(m)
		if m.behaviour == Twin {
			w.addInstance(m)
		}
	}
}

func (w *World) addInstance(m *member) {
	i := &instance{member: m, number: len(w.instances), disk: &disk{Memory: store.NewMemory()}, down: true, due: never}
	if m.behaviour != Correct && m.behaviour != Twin {
		i.attacker = &attacker{world: w, instance: i}
	}
	m.instances = append(m.instances, i)
	w.instances = append(w.instances, i)
}

func (w *World) makeGenesis() *genesis.Genesis {
	g := &genesis.Genesis{
		Version: genesis.Version, Network: "sim", Time: w.startTime(),
		Limits: tangle.DefaultLimits(), Consensus: w.config.Consensus,
		Plugins: []genesis.Plugin{{Name: claimsName}},
	}
	if w.config.Identity {
		g.Plugins = append(g.Plugins, identityInGenesis())
	}
	if w.config.Channels {
		g.Plugins = append(g.Plugins, genesis.Plugin{Name: streams.Name})
	}
	for k, m := range w.members {
		roles := []string{genesis.RoleIssuer}
		if k < w.config.Nodes {
			roles = append(roles, genesis.RoleValidator)
		}
		g.Members = append(g.Members, genesis.Member{Key: m.self, Name: fmt.Sprintf("node%d", k), Roles: roles})
	}
	return g
}

// correct says whether the instance's member keeps the protocol.
func (i *instance) correct() bool { return i.behaviour == Correct }

func (i *instance) String() string {
	if len(i.instances) == 2 && i.instances[1] == i {
		return fmt.Sprintf("n%d'", i.index)
	}
	return fmt.Sprintf("n%d", i.index)
}

// clock is what the node's body passes to Step: the machine's clock, except that it never goes back: where the machine's
// was set back, it runs at half speed until the other has caught up.
func (w *World) clock(i *instance) tangle.Time {
	machine, passed := w.now+i.offset, w.now-i.readAt
	i.readAt = w.now
	if ahead := i.shown + passed - machine; ahead <= 0 {
		i.shown = machine
	} else {
		i.shown += max(passed/2, passed-ahead)
	}
	if i.correct() {
		w.latest = max(w.latest, w.startTime().Add(i.shown))
	}
	return w.startTime().Add(i.shown)
}

// at schedules something.
func (w *World) at(t time.Duration, do func()) uint64 {
	w.scheduled++
	heap.Push(&w.events, event{max(t, w.now), w.scheduled, do})
	return w.scheduled
}

func (w *World) after(d time.Duration, do func()) uint64 { return w.at(w.now+d, do) }

// RunUntil executes events up to a virtual time, or until a violation.
func (w *World) RunUntil(t time.Duration) {
	for len(w.events) > 0 && w.events[0].at <= t && w.violation == nil {
		e := heap.Pop(&w.events).(event)
		w.now = e.at
		if w.executed++; w.executed > MaxEvents {
			w.fail("bounds", "%d events", w.executed)
		}
		e.do()
	}
	if w.violation == nil {
		w.now = t
	}
}

// start opens a node on its disk and connects it.
func (w *World) start(i *instance) {
	i.life++
	i.inbox, i.due, i.freeAt = nil, never, w.now
	i.shown, i.readAt = w.now+i.offset, w.now
	core, err := node.NewCore(node.CoreConfig{
		Genesis: w.genesis, Key: i.key, Store: i.disk, Seed: w.seedOf(i), Tuning: w.config.Tuning, Twin: !i.correct(),
		Plugins: w.plugins(),
	}, w.clock(i))
	if err != nil {
		w.stopped(i, fmt.Errorf("start: %w", err))
		return
	}
	i.core, i.ledger, i.down = core, core.Ledger(), false
	w.trace(i, "start life=%d", i.life)
	w.oracles.started(i)
	w.wires.connect(i)
	w.wake(i, w.now)
}

// plugins are those that every node of the network runs.
func (w *World) plugins() []node.CorePlugin {
	list := []node.CorePlugin{{Name: claimsName, Plugin: claimsPlugin()}}
	if w.config.Identity {
		list = append(list, node.CorePlugin{Name: identity.Name, Plugin: w.identityPlugin()})
	}
	if w.config.Channels {
		list = append(list, node.CorePlugin{Name: streams.Name, Plugin: w.streamsPlugin()})
	}
	return list
}

func (w *World) seedOf(i *instance) [32]byte {
	return sha256.Sum256(fmt.Appendf(nil, "weft/sim/%d/%d/%d", w.config.Seed, i.number, i.life))
}

// crash ends a node as kill -9 and a power cut would, and starts it again after a while.
func (w *World) crash(i *instance, downFor time.Duration) {
	w.halt(i)
	if downFor < never {
		w.after(downFor, func() { w.restart(i) })
	}
}

func (w *World) halt(i *instance) {
	if i.down {
		return
	}
	w.trace(i, "crash")
	i.down, i.core, i.inbox, i.due = true, nil, nil, never
	i.life++
	i.disk = &disk{Memory: i.disk.Crash()}
	w.wires.disconnect(i)
}

func (w *World) restart(i *instance) {
	if i.down {
		w.start(i)
	}
}

// put hands an input to a node, as its bounded queues would.
func (w *World) put(i *instance, in node.Input) {
	if i.down || len(i.inbox) >= MaxInbox {
		return
	}
	i.inbox = append(i.inbox, in)
	w.wake(i, w.now)
}

// wake makes sure that the node steps at t or before, but not before its running step ends.
func (w *World) wake(i *instance, t time.Duration) {
	t = max(t, i.freeAt, w.now)
	if i.due <= t {
		return
	}
	i.due = t
	life := i.life
	var number uint64
	number = w.at(t, func() {
		if i.life == life && i.alarm == number && !i.down {
			w.step(i)
		}
	})
	i.alarm = number
}

func (w *World) step(i *instance) {
	n := min(MaxInputs, len(i.inbox))
	inputs := i.inbox[:n:n]
	i.inbox, i.due = i.inbox[n:], never
	i.freeAt = w.now + i.cost
	effects, err := i.core.Step(w.clock(i), inputs)
	w.mix(uint64(w.now), uint64(i.number), uint64(n), uint64(len(effects.Send)), uint64(len(effects.Events)))
	if err != nil {
		w.stepFailed(i, err)
		return
	}
	w.act(i, effects)
}

// stepFailed tells an injected disk failure, which kill and restart must heal, from a node that stops by itself.
func (w *World) stepFailed(i *instance, err error) {
	if errors.Is(err, errDisk) {
		w.trace(i, "disk failed in step")
		w.crash(i, w.config.Faults.downTime(w.random))
		return
	}
	w.stopped(i, err)
}

func (w *World) stopped(i *instance, err error) {
	w.trace(i, "stopped: %v", err)
	switch {
	case errors.Is(err, consensus.ErrForked):
		w.fail("S5", "%s: %v", i, err)
	case i.correct():
		w.fail("stop", "%s: %v", i, err)
	default:
		w.halt(i)
	}
}

func (w *World) act(i *instance, effects node.Effects) {
	for _, f := range effects.Faults {
		w.oracles.blamed(i, f)
	}
	for k := range effects.Send {
		w.wires.send(i, effects.Send[k])
	}
	for _, a := range effects.Accepted {
		w.clients.accepted(w, i, a)
	}
	for _, r := range effects.Refused {
		w.clients.refused(w, i, r)
	}
	w.oracles.stepped(i, effects.Events)
	switch {
	case i.down || w.violation != nil:
	case effects.More || len(i.inbox) > 0:
		w.wake(i, w.now)
	case effects.Wake > 0:
		w.wake(i, w.now+max(effects.Wake.Sub(w.clock(i)), 0))
	}
}

// fail records the first violation; the run stops there.
func (w *World) fail(oracle, format string, args ...any) {
	if w.violation == nil {
		w.violation = &Violation{Oracle: oracle, At: w.now, Detail: fmt.Sprintf(format, args...)}
		w.trace(nil, "VIOLATION %s", w.violation)
	}
}

// Violation says which oracle has seen what.
type Violation struct {
	Oracle string
	At     time.Duration
	Detail string
}

func (v *Violation) String() string { return fmt.Sprintf("%s at %v: %s", v.Oracle, v.At, v.Detail) }

// mix adds numbers to the hash of the run.
func (w *World) mix(numbers ...uint64) {
	var b [8]byte
	for _, n := range numbers {
		binary.BigEndian.PutUint64(b[:], n)
		w.hash = crc64.Update(w.hash, w.table, b[:])
	}
}

func (w *World) mixBytes(b []byte) { w.hash = crc64.Update(w.hash, w.table, b) }

func (w *World) trace(i *instance, format string, args ...any) {
	if w.config.Trace == nil {
		return
	}
	who := "-"
	if i != nil {
		who = i.String()
	}
	fmt.Fprintf(w.config.Trace, "%12v %-4s %s\n", w.now, who, fmt.Sprintf(format, args...))
}
