package node

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"weft/config/genesis"
	"weft/gossip"
	"weft/gossip/wire"
	"weft/internal/store"
	"weft/plugins"
	"weft/tangle"
)

// Config is what a Node is made of.
type Config struct {
	Genesis *genesis.Genesis
	Key     ed25519.PrivateKey
	Store   store.Store
	Dir     string // whose disk is watched; empty: none

	Listen []string
	Peers  []wire.Peer
	PSK    []byte
	MDNS   bool

	Now        func() time.Time // the machine's clock; nil: time.Now
	PurgeEvery time.Duration    // the store's files are written anew at most so often, if bodies were erased; 0: when asked only

	Tuning   Tuning
	API      APIConfig
	Makers   []plugins.Maker
	Sections map[string]json.RawMessage // of node.json, by plugin
	Log      *slog.Logger
}

// Node is the Core with its body: one goroutine owns the Core; readers of peers verify and queue; callers submit and wait.
type Node struct {
	*Ledger
	config    Config
	self      tangle.Member
	log       *slog.Logger
	clock     *clock
	core      *Core
	inbox     *inbox
	wire      *wire.Host
	verifier  *verifier
	skews     *skews
	api       *api
	plugins   []NamedPlugin
	waiters   *waiters
	observers *observers
	asks      *asks
	purging   *purging

	status   atomic.Pointer[CoreStatus]
	stepped  atomic.Int64 // unix ms of the last Step
	counters counters
}

// ticket is a submission on its way into the Core.
type ticket struct {
	entries []tangle.Entry
	checks  []Checked
	answer  chan answer // buffered
}

type answer struct {
	message tangle.ID
	err     error
}

// counters are for metrics.
type counters struct {
	steps, inputs, submitted, refused, faults, unsent atomic.Uint64
	ordered, finals, commits, stepNanos               atomic.Uint64
}

// faultBan is how long a peer that sent what no honest peer sends is kept away.
const faultBan = 10 * time.Second

// Open opens a node; Run must follow, and closes what Open opened, except the store.
func Open(c Config) (*Node, error) {
	n := &Node{
		config: c, log: c.Log, clock: newClock(c.Now), self: tangle.Member(c.Key.Public().(ed25519.PublicKey)),
		Ledger: OpenLedger(c.Genesis, c.Store),
		inbox:  newInbox(), skews: newSkews(), waiters: newWaiters(), observers: newObservers(),
		purging: newPurging(),
	}
	n.asks = newAsks(n.sendTo)
	n.status.Store(&CoreStatus{})
	n.stepped.Store(time.Now().UnixMilli())
	var ledger []CorePlugin
	var err error
	if n.plugins, ledger, err = openPlugins(c.Makers, c.Genesis, n.host); err != nil {
		return nil, err
	}
	n.asks.answer(n.plugins)
	n.verifier = newVerifier(c.Genesis, runtime.GOMAXPROCS(0), ledger)
	config := CoreConfig{Genesis: c.Genesis, Key: c.Key, Store: c.Store, Plugins: ledger, Tuning: c.Tuning}
	if _, err := rand.Read(config.Seed[:]); err != nil {
		return nil, err
	}
	if n.core, err = NewCore(config, n.clock.now()); err != nil {
		return nil, err
	}
	n.Ledger = n.core.Ledger()
	n.waiters.reached(n.Ledger.Head().Final)
	return n, n.openDoors()
}

// openDoors opens what others reach the node by: the peers' listener and the API.
func (n *Node) openDoors() (err error) {
	c := n.config
	n.wire, err = wire.Open(wire.Config{
		Key: c.Key, Network: n.Ledger.Network(), Listen: c.Listen, Peers: c.Peers, PSK: c.PSK, MDNS: c.MDNS,
		Allowed: func(m tangle.Member) bool { _, ok := n.verifier.members[m]; return ok },
		OnFrame: n.onFrame, OnPeer: n.onPeer, Log: n.log,
	})
	if err != nil {
		return err
	}
	n.api, err = newAPI(apiParts{
		Config: c.API, Genesis: c.Genesis, Self: n.self, Store: c.Store, Node: n, Plugins: n.plugins, Log: n.log,
	})
	if err != nil {
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		return errors.Join(err, n.wire.Run(ended))
	}
	return nil
}

// APIAddr is where the API answers; empty if it has no public listener.
func (n *Node) APIAddr() string { return n.api.Addr() }

// WireAddrs is where peers reach the node.
func (n *Node) WireAddrs() []string { return n.wire.Addrs() }

// Run runs the node until ctx ends or something makes it stop; nil means the former.
func (n *Node) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { <-ctx.Done(); n.inbox.close(); return nil })
	group.Go(func() error { return n.own(ctx) })
	group.Go(func() error { return n.wire.Run(ctx) })
	group.Go(func() error { return n.api.Run(ctx) })
	group.Go(func() error { return n.trim(ctx) })
	group.Go(func() error { return n.purges(ctx) })
	group.Go(func() error { return n.asks.run(ctx) })
	for _, p := range n.plugins {
		if p.Plugin.Run != nil {
			group.Go(func() error {
				if err := p.Plugin.Run(ctx); err != nil && ctx.Err() == nil {
					return fmt.Errorf("plugin %s: %w", p.Name, err)
				}
				return nil
			})
		}
	}
	if gc, ok := n.config.Store.(interface{ RunGC(context.Context) error }); ok {
		group.Go(func() error { return gc.RunGC(ctx) })
	}
	if err := group.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// Publish makes entries durable under this member's signature and starts them on their way, all of them or none. An error
// with a code (plugins.Rejected) says why they were not taken: bad_value, too_large, unknown_kind or what the plugin says,
// or for now busy, not_ready, shutting_down.
func (n *Node) Publish(ctx context.Context, list []plugins.Submission) (tangle.ID, []tangle.Hash, error) {
	random := make([]byte, 16*len(list))
	rand.Read(random) // never fails
	return n.PublishSalted(ctx, list, saltsOf(random))
}

// saltsOf cuts random bytes into salts.
func saltsOf(random []byte) []tangle.Salt {
	salts := make([]tangle.Salt, len(random)/len(tangle.Salt{}))
	for i := range salts {
		salts[i] = tangle.Salt(random[i*len(tangle.Salt{}):])
	}
	return salts
}

// PublishSalted is Publish with a salt for each entry. A salt must be secret and stand for one entry alone: the same one
// beside the same data makes the same entry hash again.
func (n *Node) PublishSalted(ctx context.Context, list []plugins.Submission, salts []tangle.Salt) (tangle.ID, []tangle.Hash, error) {
	entries, checks, err := n.prepare(list, salts)
	if err != nil {
		return tangle.ID{}, nil, err
	}
	t := &ticket{entries: entries, checks: checks, answer: make(chan answer, 1)}
	select {
	case n.inbox.submits <- t:
	default:
		n.counters.refused.Add(1)
		return tangle.ID{}, nil, plugins.Reject("busy", "%d submissions wait already", MaxQueuedSubmits)
	}
	select {
	case a := <-t.answer:
		hashes := make([]tangle.Hash, len(entries))
		for i := range entries {
			hashes[i] = entries[i].Hash
		}
		return a.message, hashes, a.err
	case <-ctx.Done():
		return tangle.ID{}, nil, ctx.Err()
	case <-n.inbox.closed.Done():
		return tangle.ID{}, nil, plugins.Reject("shutting_down", "the node stops")
	}
}

// prepare checks and admits entries, and salts them.
func (n *Node) prepare(list []plugins.Submission, salts []tangle.Salt) ([]tangle.Entry, []Checked, error) {
	if most := n.config.Genesis.Limits.MaxEntries; len(list) > most {
		return nil, nil, plugins.Reject("too_large", "%d entries at once, limit %d", len(list), most)
	}
	entries, checks := n.Salted(list, salts)
	views := newOnceViews(n.peek)
	for i, s := range list {
		if checks[i].Err != nil {
			return nil, nil, checks[i].Err
		}
		if err := n.admit(s.Kind, checks[i].Op, views); err != nil {
			return nil, nil, err
		}
	}
	return entries, checks, nil
}

// Salted are the entries that submissions become, and what the plugins' checks say of them.
func (n *Node) Salted(list []plugins.Submission, salts []tangle.Salt) ([]tangle.Entry, []Checked) {
	entries, checks := make([]tangle.Entry, len(list)), n.checks(list)
	for i, s := range list {
		var lasting []byte
		if checks[i].Err == nil {
			lasting = lastingOf(n.verifier.owners[s.Kind], s.Kind, checks[i].Op)
		}
		entries[i] = tangle.NewErasable(s.Kind, lasting, salts[i], s.Data)
	}
	return entries, checks
}

// checks are the results of the plugins' checks, where the submitter has not brought them.
func (n *Node) checks(list []plugins.Submission) []Checked {
	out := make([]Checked, len(list))
	var open []tangle.Entry
	for i, s := range list {
		if out[i].Op = s.Op; s.Op == nil {
			open = append(open, tangle.Entry{Kind: s.Kind, Data: s.Data})
		}
	}
	done := n.verifier.checkAll(open)
	for i, s := range list {
		if s.Op == nil {
			out[i], done = done[0], done[1:]
		}
	}
	return out
}

// admit asks the owner of a kind. Entries of one submission share what is read.
func (n *Node) admit(kind tangle.Kind, op plugins.Op, views onceViews) error {
	for _, p := range n.plugins {
		if p.Plugin.Admit != nil && slices.Contains(p.Plugin.Kinds, kind) {
			return p.Plugin.Admit(views.of(p.Name), op)
		}
	}
	return nil
}

// WaitFinal returns when all entries are final, or with the context's error. The message that they were sealed in makes it
// cheap; a zero ID does as well.
func (n *Node) WaitFinal(ctx context.Context, hashes []tangle.Hash, in tangle.ID) error {
	return n.waiters.wait(ctx, hashes, n.placer(in))
}

// placer says where entries stand, if they have a place: all where their message does, as a rule. One that has expired
// left them to another.
func (n *Node) placer(in tangle.ID) func(tangle.Hash) (tangle.Position, bool) {
	var message *Settled
	return func(h tangle.Hash) (tangle.Position, bool) {
		if message == nil && in != (tangle.ID{}) {
			if s, err := n.Ledger.settled(in); err == nil {
				message = &s
			}
		}
		if message != nil && message.Status != StatusExpired {
			return message.Position, rank(*message) == 0
		}
		place, ordered, err := n.Ledger.Place(h)
		return place.Position, ordered && err == nil
	}
}

// Changed is closed when the ledger's head moves; ask again for the next change.
func (n *Node) Changed() <-chan struct{} { return n.waiters.change() }

// Watch delivers events as they happen; a receiver that is size events behind loses some.
func (n *Node) Watch(size int) (events <-chan Event, stop func()) { return n.observers.watch(size) }

// Peers describes the members this node knows addresses of or is connected to.
func (n *Node) Peers() []wire.PeerInfo { return n.wire.Peers() }

// onPeer and onFrame are called by the readers of peers; they may block, which slows the peer down.
func (n *Node) onPeer(m tangle.Member, connected bool) { n.inbox.putPeer(PeerChange{m, connected}) }

func (n *Node) onFrame(from tangle.Member, on wire.Lane, raw []byte) {
	lane := gossip.Lane(on)
	if !n.inbox.enter(lane, len(raw)) {
		return
	}
	frame, err := n.verifier.inTurn(lane, from, raw)
	if err != nil {
		n.inbox.leave(lane, len(raw))
		n.fault(Fault{from, err.Error()})
		return
	}
	if frame.Frame.Ask != nil || frame.Frame.Reply != nil {
		n.inbox.leave(lane, len(raw))
		n.asks.take(from, frame.Frame)
		return
	}
	if lane == gossip.LaneWitness {
		n.skews.note(frame, n.clock.now())
	}
	n.inbox.put(lane, queuedFrame{frame, len(raw)})
}

func (n *Node) fault(f Fault) {
	n.counters.faults.Add(1)
	n.log.Warn("peer sent what no honest peer sends", slog.String("peer", f.Peer.String()), slog.String("reason", f.Reason))
	n.wire.Drop(f.Peer, time.Now().Add(faultBan), f.Reason)
}

// own is the goroutine that owns the Core. While it waits for the disk more input comes together: a slow disk makes
// batches larger, not queues longer.
func (n *Node) own(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var g gathering
	for more, backlog := false, 0; ; {
		if !more {
			n.inbox.wait(ctx, &g, timer.C)
		}
		if ctx.Err() != nil {
			return nil
		}
		if backlog == 0 {
			n.inbox.gather(&g)
		}
		out, err := n.step(&g)
		if err != nil {
			n.log.Error("the node must stop", slog.String("error", err.Error()))
			return err
		}
		n.inbox.done(&g)
		g.reset()
		backlog = out.Backlog
		if more = out.More; !more {
			n.setTimer(timer, out.Wake)
		}
	}
}

// step runs the Core once and acts on what follows.
func (n *Node) step(g *gathering) (Effects, error) {
	begin := time.Now()
	out, err := n.core.Step(n.clock.now(), g.all())
	if err != nil {
		return out, err
	}
	for _, e := range out.Send {
		n.send(e)
	}
	for _, a := range out.Accepted {
		t := n.inbox.answered(a.Ticket)
		n.counters.submitted.Add(uint64(len(t.entries)))
		t.answer <- answer{message: a.Message}
	}
	for _, r := range out.Refused {
		n.counters.refused.Add(1)
		n.inbox.answered(r.Ticket).answer <- answer{err: plugins.Reject(r.Code, "%s", r.Detail)}
	}
	for _, f := range out.Faults {
		n.fault(f)
	}
	n.waiters.observe(out.Events)
	n.observers.publish(out.Events)
	n.count(out, len(g.inputs), time.Since(begin))
	return out, nil
}

// send gives an envelope to the wire, encoded once. What a full queue drops, gossip repairs.
func (n *Node) send(e gossip.Envelope) {
	frame := e.Frame.Bytes()
	if e.To != (tangle.Member{}) {
		n.sendTo(e.To, e.Lane, frame)
		return
	}
	for _, m := range n.config.Genesis.Members {
		if m.Key != n.self {
			n.sendTo(m.Key, e.Lane, frame)
		}
	}
}

func (n *Node) sendTo(m tangle.Member, lane gossip.Lane, frame []byte) {
	if !n.wire.Send(m, wire.Lane(lane), frame) {
		n.counters.unsent.Add(1)
	}
}

// maxNap is the longest time without a Step; health asks for one in ten seconds.
const maxNap = 4 * time.Second

func (n *Node) setTimer(timer *time.Timer, wake tangle.Time) {
	d := maxNap
	if wake != 0 {
		d = min(d, max(0, wake.Sub(n.clock.now())))
	}
	timer.Reset(d)
}

func (n *Node) count(out Effects, inputs int, took time.Duration) {
	c := &n.counters
	c.steps.Add(1)
	c.inputs.Add(uint64(inputs))
	c.stepNanos.Add(uint64(took))
	for i := range out.Events {
		switch e := &out.Events[i]; e.Kind {
		case EventOrdered:
			c.ordered.Add(uint64(len(e.Message.Entries)))
			n.Ledger.cache.addMessage(e.Message)
		case EventCommitted:
			c.commits.Add(1)
		case EventFinal:
			c.finals.Add(1)
		case EventQuorum:
			n.logQuorum(e.Commit == 1)
		case EventEquivocate:
			n.log.Warn("member signed two messages under one number",
				slog.String("member", e.Message.Header.Author.String()), slog.String("message", e.Message.ID.String()))
		}
	}
	st := n.core.Status()
	n.status.Store(&st)
	n.verifier.note(st)
	n.stepped.Store(time.Now().UnixMilli())
}

func (n *Node) logQuorum(ok bool) {
	if ok {
		n.log.Info("quorum is here: entries become final")
	} else {
		n.log.Warn("no quorum: entries stay pending until enough validators are back")
	}
}
