package sim

import (
	"fmt"
	"slices"
	"time"

	"weft/config/genesis"
	"weft/consensus"
	"weft/node"
	"weft/tangle"
)

// Report is the result of one run.
type Report struct {
	Violation *Violation // nil: none
	Hash      uint64     // over everything that happened: equal for equal seeds
	Commits   int
	Messages  int // ordered, without witnesses
	Entries   int // that clients submitted and that became final
	Rounds    tangle.Round
	Events    uint64
	Outcomes  map[string]int // of operations of the identity plugin or of channels, by operation and code
	Settle    time.Duration  // from the heal until everything was final everywhere
}

// Bounds of liveness after the heal: until everything submitted is final on all correct nodes, and until a lone entry
// that wakes an idle network is.
const (
	MaxSettle = 8 * time.Second
	MaxWake   = 3 * time.Second
)

// Tuning is that of a LAN, made a little slower so that runs are short.
func Tuning() node.Tuning {
	t := node.DefaultTuning()
	t.Pace = consensus.Pace{
		MinRound: 25 * time.Millisecond, LeaderTimeout: 80 * time.Millisecond,
		MaxTimeout: 400 * time.Millisecond, IdleRound: time.Second,
	}
	return t
}

// Draw makes the configuration of a seed: its faults, how many members misbehave and how, and whether there is an
// observer.
func Draw(seed uint64, nodes int) Config {
	r := newRandom(seed ^ 0x9e3779b97f4a7c15)
	c := Config{Seed: seed, Nodes: nodes, Faults: DrawFaults(r), Consensus: genesis.DefaultConsensus(), Tuning: Tuning(), Reference: seed%4 == 0}
	c.Consensus.GCRounds = 10 + uint32(r.IntN(50))
	c.Consensus.CheckpointMillis = 100 + uint32(r.IntN(300))
	if r.IntN(4) == 0 {
		c.Consensus.HorizonSeconds = 1 + uint32(r.IntN(3))
	}
	faulty := consensus.Faulty(nodes)
	if c.Faults.Stays {
		faulty--
	}
	if r.IntN(4) > 0 && faulty > 0 {
		for range 1 + r.IntN(faulty) {
			c.Byzantine = append(c.Byzantine, drawBehaviour(c, r.IntN(2*len(Behaviours()))))
		}
	}
	c.Observers = r.IntN(5) / 4
	return c
}

// Identities is Draw for a network that runs the identity plugin, with wallets that use it.
func Identities(seed uint64, nodes int) Config {
	c := Draw(seed, nodes)
	c.Identity, c.Reference = true, false
	return c
}

// Channels is Draw for a network that runs the streams plugin, with tools that write into a channel.
func Channels(seed uint64, nodes int) Config {
	c := Draw(seed, nodes)
	c.Identity, c.Channels, c.Reference = true, true, false
	if seed%2 == 0 {
		c.Faults.Forget = Every(10 * time.Millisecond)
	}
	return c
}

// drawBehaviour prefers twins: they find most.
func drawBehaviour(_ Config, k int) Behaviour {
	if all := Behaviours(); k < len(all) {
		return all[k]
	}
	return Twin
}

// Run executes one seed: faults under load, heal, load, a burst, quiet, one entry that wakes the network, audit.
func Run(c Config) Report { return New(c).run() }

func (w *World) run() Report {
	c := w.config
	heal := c.Faults.Heal
	w.unleash()
	w.load(60 * time.Millisecond)
	switch {
	case c.Channels:
		w.loadChannels(14 * time.Millisecond)
	case c.Identity:
		w.loadIdentities(12 * time.Millisecond)
	}
	loaded := heal + 500*time.Millisecond
	if c.Identity {
		loaded += time.Second // wallets build on what they see
	}
	w.RunUntil(loaded)
	w.clients.stopped = true
	w.burst()
	settled := w.settle(loaded)
	if c.Channels {
		w.tools.closed = true
	}
	if w.violation == nil {
		w.quiet()
	}
	if w.violation == nil {
		w.oracles.audit()
	}
	if w.violation == nil && c.Reference {
		newReference(w.oracles).check()
	}
	return w.report(settled - heal)
}

func (w *World) report(settle time.Duration) Report {
	r := Report{Violation: w.violation, Hash: w.hash, Commits: len(w.oracles.commits), Messages: len(w.oracles.log), Events: w.executed, Settle: settle}
	for _, s := range w.clients.taken {
		r.Entries += len(s.entries)
	}
	if w.oracles.identities != nil {
		r.Outcomes = w.oracles.identities.seen
	}
	if w.oracles.channels != nil {
		r.Outcomes = w.oracles.channels.seen
	}
	if n := len(w.oracles.commits); n > 0 {
		r.Rounds = w.oracles.commits[n-1].Round
	}
	return r
}

// burst submits many entries at once, and nothing follows: none may be left behind.
func (w *World) burst() {
	k := w.correctMember()
	for range 20 {
		w.submit(k, w.drawEntries())
	}
}

// settle waits until everything is final everywhere, and says when it was.
func (w *World) settle(from time.Duration) time.Duration {
	for t := from; ; t += 50 * time.Millisecond {
		w.RunUntil(t)
		n, why := w.oracles.pending()
		if w.violation != nil || n == 0 {
			return t
		}
		if t > from+MaxSettle {
			w.fail("liveness", "%d entries are not final everywhere %v after the heal: %s; %s", n, MaxSettle, why, w.standing())
		}
	}
}

// quiet checks what a network without work costs, that nothing stays parked, and that it wakes at once.
func (w *World) quiet() {
	w.RunUntil(w.now + 1500*time.Millisecond)
	const in = 4 * time.Second
	before := map[*instance]tangle.Round{}
	for _, i := range w.instances {
		if !i.down {
			before[i] = i.core.Status().Round
		}
	}
	w.RunUntil(w.now + in)
	for _, i := range w.instances {
		if w.violation != nil || i.down || !i.correct() || len(w.config.Byzantine) > 0 {
			continue // who misbehaves may keep the network busy
		}
		st := i.core.Status()
		w.oracles.idle(i, st.Round-before[i], in)
		if w.anyDown() {
			st.Parked = 0 // what stands on a message that its author took down with it waits until the horizon
		}
		if st.Parked+st.Held+st.Pending > 0 {
			w.fail("drain", "%s in quiet: %+v", i, st)
		}
	}
	from := w.now
	w.submit(w.correctMember(), w.drawEntries())
	for n := 1; n > 0 && w.violation == nil; n, _ = w.oracles.pending() {
		w.RunUntil(w.now + 20*time.Millisecond)
		if w.now > from+MaxWake {
			w.fail("wake", "an idle network has not made a lone entry final within %v; %s", MaxWake, w.standing())
		}
	}
}

func (w *World) anyDown() bool {
	return slices.ContainsFunc(w.instances, func(i *instance) bool { return i.down })
}

// standing says in one line where everybody is.
func (w *World) standing() (s string) {
	for _, i := range w.instances {
		if i.down {
			s += fmt.Sprintf(" %s down", i)
			continue
		}
		st, head := i.core.Status(), i.ledger.Head()
		s += fmt.Sprintf(" %s[%s r%d own%d dec%d c%d pos%d final%d parked%d held%d]", i, i.behaviour, st.Round, st.Own, st.Decided,
			st.Commit, head.Position, head.Final, st.Parked, st.Held)
	}
	return s
}

// Hunt is Draw with the reference always on, and in every second seed with as many twins and equivocators as the committee
// tolerates: for finding what is wrong with a rule rather than with a network.
func Hunt(seed uint64, nodes int) Config {
	c := Draw(seed, nodes)
	c.Reference = true
	if seed%2 == 0 {
		return c
	}
	c.Faults.Stays, c.Byzantine = false, nil
	r := newRandom(seed)
	for range consensus.Faulty(nodes) {
		c.Byzantine = append(c.Byzantine, []Behaviour{Twin, Twin, Equivocator}[r.IntN(3)])
	}
	return c
}
