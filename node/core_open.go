package node

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"weft/config/genesis"
	"weft/consensus"
	"weft/gossip"
	"weft/internal/store"
	"weft/plugins"
	"weft/tangle"
)

// NewCore opens a Core on a store: an empty one, or one that a Core of the same network and member has left at any point.
func NewCore(config CoreConfig, now tangle.Time) (*Core, error) {
	g := config.Genesis
	config.Tuning.Repair.Liars = consensus.Faulty(len(g.Committee()))
	c := &Core{
		config:    config,
		codec:     tangle.Codec{Network: g.ID(), Limits: g.Limits},
		self:      tangle.Member(config.Key.Public().(ed25519.PublicKey)),
		committee: g.Committee(),
		members:   map[tangle.Member]genesis.Member{},
		repair:    gossip.NewRepair(config.Tuning.Repair),
		random:    rand.New(rand.NewChaCha8(config.Seed)),
		now:       now,
		progress:  now,
		heads:     map[tangle.Member]tangle.Seq{},
		checks:    map[tangle.ID][]Checked{},
		hearsay:   hearsay{},
		heard:     map[tangle.Member]bool{},
		connected: map[tangle.Member]bool{},
	}
	for _, m := range g.Members {
		c.members[m.Key] = m
	}
	if slices.Contains(c.committee, c.self) {
		c.voice = 1
	}
	if _, ok := c.members[c.self]; !ok {
		return nil, fmt.Errorf("the key %s is not a member of network %q", c.self.Short(), g.Network)
	}
	c.ledger = OpenLedger(g, config.Store)
	if err := CheckReindex(config.Store); err != nil {
		return nil, err
	}
	if err := c.checkNetwork(); err != nil {
		return nil, err
	}
	if err := c.exec.open(g, config.Store, config.Plugins); err != nil {
		return nil, err
	}
	return c, c.resume()
}

// checkNetwork ties a store to one network and one member: their records must never mix.
func (c *Core) checkNetwork() error {
	want := append(c.codec.Network[:len(c.codec.Network):len(c.codec.Network)], c.self[:]...)
	key := store.Key(store.PrefixNode, []byte("network"))
	have, err := c.config.Store.Get(key)
	switch {
	case errors.Is(err, store.ErrNotFound):
		var b store.Batch
		b.Set(key, want)
		return c.config.Store.Apply(&b, true)
	case err != nil:
		return err
	case !slices.Equal(have[:32], want[:32]):
		return fmt.Errorf("the data folder belongs to network %x, genesis is network %s", have[:4], c.codec.Network.Short())
	case !slices.Equal(have[32:], want[32:]):
		return fmt.Errorf("the data folder belongs to member %x, the key is %s", have[32:36], c.self.Short())
	}
	return nil
}

// open prepares execution from the genesis on, with results in a store. The executor must stay where it is in memory.
func (x *executor) open(g *genesis.Genesis, s store.Store, ledger []CorePlugin) error {
	x.store, x.network, x.members, x.last.time = s, g.Network, memberSet(g), g.Time
	x.schedule = consensus.Schedule{
		Every: time.Duration(g.Consensus.CheckpointMillis) * time.Millisecond,
		Fresh: time.Duration(g.Consensus.FreshCheckpointSeconds) * time.Second,
	}
	x.byKind, x.edge, x.texts = map[tangle.Kind]*ledgerPlugin{}, map[int64]tlog.Hash{}, map[uint64]checkpoint{}
	list := append([]CorePlugin{{Name: "data", Plugin: dataPlugin()}}, ledger...)
	for _, p := range list {
		lp := &ledgerPlugin{name: p.Name, plugin: p.Plugin, state: newPluginState(s, spaceOf(store.PrefixState, p.Name), x.peek)}
		lp.index = newPluginState(s, spaceOf(store.PrefixIndex, p.Name), x.peek)
		lp.index.agreed = lp.state
		for _, k := range p.Plugin.Kinds {
			if other := x.byKind[k]; other != nil {
				return fmt.Errorf("plugins %s and %s both own kind %d", other.name, p.Name, k)
			}
			x.byKind[k] = lp
		}
		x.plugins = append(x.plugins, lp)
	}
	return nil
}

// peek lets one plugin read another's state as of the entry that is being applied.
func (x *executor) peek(name string) plugins.View {
	for _, p := range x.plugins {
		if p.name == name {
			return p.state
		}
	}
	return nil
}

// memberSet is the digest of the member set that checkpoints quote: keys and roles in the order of genesis.
func memberSet(g *genesis.Genesis) tangle.Hash {
	h := sha256.New()
	h.Write([]byte("weft/members/1"))
	for _, m := range g.Members {
		h.Write(m.Key[:])
		for _, r := range m.Roles {
			h.Write([]byte(r))
			h.Write([]byte{0})
		}
		h.Write([]byte{0})
	}
	return tangle.Hash(h.Sum(nil))
}

// resume reads back what the last Step left: execution, own record, the graph in motion, recent rounds, open polls.
func (c *Core) resume() error {
	st := consensus.State{Time: c.config.Genesis.Time}
	var fault error
	if b := storeGet(c.config.Store, keyExecuted(), &fault); b != nil {
		if st, fault = c.exec.parse(b); fault != nil {
			return fault
		}
	} else if err := c.begin(); err != nil {
		return err
	}
	if b := storeGet(c.config.Store, keyOwn(), &fault); b != nil {
		if c.own, fault = parseOwn(b); fault != nil {
			return fault
		}
	}
	if fault != nil {
		return fault
	}
	c.newEngine(st)
	c.ballot = consensus.NewBallot(len(c.committee), c.exec.certified.commit)
	for _, load := range []func() error{c.loadGraph, c.loadRounds, c.loadPolls, c.loadHeads, c.loadOutbox} {
		if err := load(); err != nil {
			return fmt.Errorf("resume: %w", err)
		}
	}
	c.ledger.setHead(c.head())
	return nil
}

// begin writes the state that plugins begin with. It is repeated at each start until the first commit.
func (c *Core) begin() error {
	var b store.Batch
	if err := c.exec.genesis(&b); err != nil || b.Len() == 0 {
		return err
	}
	return c.config.Store.Apply(&b, true)
}

// genesis puts the state that plugins begin with into a batch. The store must have it before anything is executed.
func (x *executor) genesis(b *store.Batch) error {
	for _, p := range x.plugins {
		if p.plugin.Genesis == nil {
			continue
		}
		p.plugin.Genesis(p.state)
		p.chain(0, 0, tangle.Hash{}, "")
		p.state.take(0)
		p.state.write(b)
		p.state.applied()
		if p.state.err != nil {
			return p.state.err
		}
	}
	return nil
}

func (c *Core) newEngine(st consensus.State) {
	pace := c.config.Tuning.Pace
	pace.Ahead = c.config.Tuning.Ahead / 2
	c.engine = consensus.New(consensus.Config{
		Network: c.codec.Network, Epoch: epoch, Committee: c.committee, Self: slices.Index(c.committee, c.self),
		GCRounds: c.config.Genesis.Consensus.GCRounds, Horizon: c.config.Genesis.Consensus.Horizon(), Pace: pace,
	}, st)
}

func (c *Core) loadGraph() error {
	var ids []tangle.ID
	var numbers []uint64
	prefix := []byte{byte(store.PrefixLive)}
	err := c.config.Store.Scan(prefix, store.PrefixEnd(prefix), func(key, value []byte) bool {
		r := record{b: key[1:]}
		numbers, ids = append(numbers, r.u64()), append(ids, tangle.ID(value))
		return true
	})
	if err != nil {
		return err
	}
	config := tangle.GraphConfig{
		Root: c.codec.Network, RootTime: c.config.Genesis.Time, Settled: c.settledFacts, Check: c.engine.CheckAncestors,
	}
	if len(numbers) > 0 {
		config.Next = numbers[0]
	}
	c.graph = tangle.NewGraph(config)
	for i, id := range ids {
		m, err := c.ledger.message(id)
		if err != nil {
			return err
		}
		c.graph.Renumber(numbers[i])
		added := c.graph.Add(m)
		if len(added.Attached) != 1 {
			return fmt.Errorf("%w: message %s of the graph does not attach", errRecord, id)
		}
		if !m.IsWitness() {
			c.unsettled++
			if m.Header.Author == c.self {
				c.pending.add(m, 1)
			}
		}
	}
	return nil
}

// settledFacts reads what the graph needs to know of a message that has left memory. A store that fails stops the node at
// the end of the Step.
func (c *Core) settledFacts(id tangle.ID) (f tangle.Facts, ok bool) {
	b := storeGet(c.config.Store, store.Key(store.PrefixSettled, id[:]), &c.fault)
	if b == nil {
		return f, false
	}
	t, err := parseSettled(b)
	if err != nil && c.fault == nil {
		c.fault = err
	}
	return t.facts, err == nil
}

// loadRounds shows the engine the witnesses of recent rounds, settled ones too, and counts their votes again.
func (c *Core) loadRounds() error {
	from := tangle.Round(0)
	if c.engine.Decided() > consensus.MaxRecall {
		from = c.engine.Decided() - consensus.MaxRecall
	}
	prefix := store.Key(store.PrefixWitness, store.U32(uint32(epoch)))
	var ids []tangle.ID
	err := c.config.Store.Scan(append(slices.Clone(prefix), store.U32(uint32(from))...), store.PrefixEnd(prefix), func(key, _ []byte) bool {
		ids = append(ids, tangle.ID(key[len(key)-32:]))
		return true
	})
	if err != nil {
		return err
	}
	for _, id := range ids { // by round, so that ancestors come first
		v := c.graph.Get(id)
		if v == nil {
			m, err := c.ledger.message(id)
			if err != nil {
				return err
			}
			v = &tangle.Vertex{Message: m, Settled: true}
		}
		c.engine.Add(v)
	}
	return nil
}

// loadPolls opens the polls on checkpoints that are not certified yet, with the votes of recent witnesses.
func (c *Core) loadPolls() error {
	prefix := []byte{byte(store.PrefixCheckpoint)}
	s := &step{Core: c}
	err := c.config.Store.Scan(store.Key(store.PrefixCheckpoint, store.U64(c.exec.certified.commit+1)), store.PrefixEnd(prefix), func(_, value []byte) bool {
		r := record{b: value}
		cp := checkpoint{mark: r.mark(), text: slices.Clone(r.b)}
		c.exec.texts[cp.mark.commit] = cp
		c.ballot.Open(cp.mark.commit, cp.mark.text)
		return true
	})
	if err != nil {
		return err
	}
	for _, m := range c.engine.Witnesses() {
		s.countVotes(m)
	}
	if s.fail != nil || s.batch.Len() == 0 {
		return s.fail
	}
	return c.config.Store.Apply(&s.batch, true) // a checkpoint whose last vote came just before the end
}

// loadOutbox takes up the entries of expired messages that were not sealed again before the end.
func (c *Core) loadOutbox() error {
	prefix := []byte{byte(store.PrefixOutbox)}
	return c.config.Store.Scan(prefix, store.PrefixEnd(prefix), func(_, value []byte) bool {
		r := record{b: value}
		kind, salt := tangle.Kind(r.u16()), tangle.Salt(r.take(16))
		lasting := slices.Clone(r.take(int(r.u16())))
		c.pending.again = append(c.pending.again, tangle.NewErasable(kind, lasting, salt, slices.Clone(r.b)))
		return true
	})
}

// loadHeads reads the authors' highest seqs.
func (c *Core) loadHeads() error {
	for m := range c.members {
		prefix := store.Key(store.PrefixAuthor, m[:], store.U32(uint32(epoch)))
		seq, err := lastSeq(c.config.Store, prefix)
		if err != nil {
			return err
		}
		if seq > 0 {
			c.heads[m] = seq
		}
	}
	if c.heads[c.self] > c.own.Seq && !c.config.Twin {
		return ErrKeyElsewhere
	}
	return nil
}

// lastSeq finds the highest seq under an author's prefix by bisection: keys are ordered, and Scan only goes up.
func lastSeq(s store.Store, prefix []byte) (tangle.Seq, error) {
	low, high := uint64(0), uint64(1)<<62 // the highest seq is >= low and < high
	for low+1 < high {
		mid := low + (high-low)/2
		found := uint64(0)
		err := s.Scan(slices.Concat(prefix, store.U64(mid)), store.PrefixEnd(prefix), func(key, _ []byte) bool {
			r := record{b: key[len(prefix):]}
			found = r.u64()
			return false
		})
		if err != nil {
			return 0, err
		}
		if found >= mid {
			low = found
		} else {
			high = mid
		}
	}
	return tangle.Seq(low), nil
}

// head is what readers see of this Core.
func (c *Core) head() Head {
	st := c.engine.State()
	return Head{
		Epoch: epoch, Round: c.engine.Highest(), Commit: st.Index, Position: tangle.Position(c.exec.size), Time: st.Time,
		Final: tangle.Position(c.exec.certified.size), FinalTime: c.exec.certified.time, FinalAt: c.exec.certified.commit,
	}
}
