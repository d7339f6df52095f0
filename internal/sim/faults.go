package sim

import (
	"errors"
	"math/rand/v2"
	"time"

	"weft/internal/store"
	"weft/node"
	"weft/tangle"
)

// Faults are the probabilities and bounds of everything that goes wrong until Heal. A zero field means that it does not.
type Faults struct {
	Heal time.Duration // when the faults end; Byzantine members stay as they are

	Delay    Spread        // of one frame on its way
	SlowLink float64       // probability that a link is ten times slower
	Loss     float64       // probability that a frame is lost
	Double   float64       // probability that a frame comes twice
	Reorder  float64       // probability that a frame overtakes those before it on its stream
	Cost     Spread        // of one step of a node, its fsync included
	SlowNode float64       // probability that a node is twenty times slower
	Skew     time.Duration // clocks are off by up to this, for good
	Jump     Every         // a clock jumps by up to JumpBy and stays there
	JumpBy   time.Duration

	Partition Every         // the network is cut anew: into halves, or around single nodes
	OneWay    float64       // probability that a cut lets frames through in one direction
	Mend      float64       // probability that a new cut is none
	Exile     time.Duration // the last node hears and reaches nobody for so long before the heal
	Crash     Every         // a node is killed; what it had not synced is lost
	InStep    float64       // probability that it dies inside a Step, before or after the batch is on disk
	Everybody float64       // probability that a crash takes all nodes at once
	Down      Spread        // how long a crashed node stays down
	Stays     bool          // the last correct node is down from the heal on, for good: counts as one of the f faulty
	Twins     Every         // who hears which twin is drawn anew
	Forget    Every         // a node drops the bodies of a final message, as far as it has lasting parts
}

// Spread is a distribution of durations: Min plus an exponential of the given mean, at most Max.
type Spread struct{ Min, Mean, Max time.Duration }

func (s Spread) draw(r *rand.Rand) time.Duration {
	d := s.Min + time.Duration(r.ExpFloat64()*float64(s.Mean))
	return min(d, max(s.Max, s.Min))
}

// Every is the mean time between events of one sort; zero: never.
type Every time.Duration

func (e Every) draw(r *rand.Rand) time.Duration {
	return time.Duration(r.ExpFloat64() * float64(e))
}

// Mild is a network that works: a millisecond or two between nodes, nothing lost.
func Mild() Faults {
	return Faults{
		Delay: Spread{500 * time.Microsecond, time.Millisecond, 20 * time.Millisecond},
		Cost:  Spread{100 * time.Microsecond, 300 * time.Microsecond, 5 * time.Millisecond},
		Twins: Every(300 * time.Millisecond),
	}
}

// DrawFaults draws which faults a seed has and how bad they are. Most seeds combine several.
func DrawFaults(r *rand.Rand) Faults {
	ms := func(low, high int) time.Duration { return time.Duration(low+r.IntN(high-low)) * time.Millisecond }
	f := Mild()
	f.Heal = ms(1500, 3000)
	f.Delay.Mean = ms(1, 12)
	f.Delay.Max = ms(50, 400)
	f.Cost.Mean = time.Duration(50+r.IntN(1500)) * time.Microsecond
	f.Twins = Every(ms(60, 600))
	f.Skew = ms(0, 150)
	some := func(p float64, do func()) {
		if r.Float64() < p {
			do()
		}
	}
	some(0.3, func() { f.SlowLink = r.Float64() * 0.3 })
	some(0.3, func() { f.SlowNode = r.Float64() * 0.3 })
	some(0.5, func() { f.Loss = r.Float64() * 0.15 })
	some(0.4, func() { f.Double = r.Float64() * 0.2 })
	some(0.5, func() { f.Reorder = r.Float64() * 0.3 })
	some(0.2, func() { f.Jump, f.JumpBy = Every(ms(300, 1500)), ms(50, 2000) })
	some(0.5, func() {
		f.Partition, f.Mend, f.OneWay = Every(ms(150, 1000)), 0.2+0.5*r.Float64(), 0.4*r.Float64()
	})
	some(0.5, func() {
		f.Crash, f.InStep, f.Everybody = Every(ms(200, 1200)), r.Float64()*0.5, r.Float64()*0.2
		f.Down = Spread{ms(5, 50), ms(20, 600), 1500 * time.Millisecond}
	})
	some(0.2, func() { f.Exile = f.Heal - ms(0, 1000) })
	some(0.15, func() { f.Stays = true })
	return f
}

func (f Faults) skew(r *rand.Rand) time.Duration {
	if f.Skew == 0 {
		return 0
	}
	return time.Duration(r.Int64N(int64(2*f.Skew))) - f.Skew
}

func (f Faults) stepCost(r *rand.Rand) time.Duration {
	c := f.Cost.draw(r)
	if r.Float64() < f.SlowNode {
		c *= 20
	}
	return max(c, 20*time.Microsecond)
}

func (f Faults) downTime(r *rand.Rand) time.Duration {
	return max(f.Down.draw(r), 5*time.Millisecond)
}

// unleash schedules the faults of the run and their end.
func (w *World) unleash() {
	f := w.config.Faults
	w.repeat(f.Partition, func() { w.wires.cutAnew(f) })
	w.repeat(f.Jump, w.jump)
	w.repeat(f.Crash, w.crashSome)
	w.repeat(f.Forget, w.forget)
	if f.Forget > 0 { // the last one is away while bodies go
		away := f.Heal / 2
		w.at(f.Heal-away-200*time.Millisecond, func() { w.crash(w.instances[len(w.instances)-1], away) })
	}
	if f.Exile > 0 {
		w.at(f.Heal-f.Exile, func() { w.wires.exile(w.instances[len(w.instances)-1]) })
	}
	w.at(f.Heal, w.heal)
	if f.Twins > 0 {
		w.wires.shuffleTwins()
		w.forever(f.Twins, w.wires.shuffleTwins)
	}
}

func (w *World) repeat(every Every, do func()) {
	if every == 0 {
		return
	}
	w.after(every.draw(w.random), func() {
		if w.now < w.config.Faults.Heal {
			do()
			w.repeat(every, do)
		}
	})
}

// forever is for what members do, who do not heal.
func (w *World) forever(every Every, do func()) {
	w.after(every.draw(w.random)+time.Millisecond, func() {
		do()
		w.forever(every, do)
	})
}

func (w *World) jump() {
	i := w.instances[w.random.IntN(len(w.instances))]
	i.offset += time.Duration(w.random.Int64N(2*int64(w.config.Faults.JumpBy))) - w.config.Faults.JumpBy
	w.trace(i, "clock off by %v", i.offset)
}

// lately is how many of the newest final messages bodies are dropped of: those that others may still have to fetch.
const lately = 40

// forget lets all nodes that have a message final drop its bodies, as they do with what is erased: who learns of it afterwards
// has what lasts, and must do the same with it.
func (w *World) forget() {
	at := w.instances[w.random.IntN(len(w.instances))]
	final := int64(0)
	if !at.down {
		final = int64(at.ledger.Head().Final)
	}
	if final == 0 {
		return
	}
	id, err := at.ledger.AtPosition(tangle.Position(final - 1 - w.random.Int64N(min(final, lately))))
	if err != nil {
		w.fail("S8", "%s: %v", at, err)
		return
	}
	for _, i := range w.instances {
		if !i.down && i.disk.failing == diskWorks {
			w.drop(i, id)
		}
	}
}

// drop drops the bodies of a message at a node, as far as it is final there and they have lasting parts.
func (w *World) drop(i *instance, id tangle.ID) {
	m, settled, err := i.ledger.Message(id)
	if err != nil || settled.Status != node.StatusFinal {
		return
	}
	for _, e := range m.Entries {
		if e.Lasting == nil {
			continue
		}
		if err := i.ledger.Erase(e.Hash); err != nil && !errors.Is(err, node.ErrNotFinal) {
			w.fail("S8", "%s, entry %s: %v", i, e.Hash, err)
		}
		w.oracles.channels.seen["forgotten"]++
		w.trace(i, "forgets %s of %s", e.Hash, id)
	}
}

func (w *World) crashSome() {
	f := w.config.Faults
	if w.random.Float64() < f.Everybody {
		w.trace(nil, "everybody crashes")
		for _, i := range w.instances {
			w.crash(i, f.downTime(w.random))
		}
		return
	}
	i := w.instances[w.random.IntN(len(w.instances))]
	if i.down {
		return
	}
	if w.random.Float64() < f.InStep {
		i.disk.failing = 1 + diskFault(w.random.IntN(2))
		return
	}
	w.crash(i, f.downTime(w.random))
}

// heal ends all faults but those of members.
func (w *World) heal() {
	w.trace(nil, "heal")
	w.config.Faults.Heal = 0
	w.wires.heal()
	for _, i := range w.instances {
		i.disk.failing = 0
		i.offset = max(min(i.offset, w.config.Faults.Skew), -w.config.Faults.Skew)
		i.cost = min(i.cost, 2*time.Millisecond)
		w.restart(i)
	}
	if w.config.Faults.Stays {
		last := w.members[w.config.Nodes-1].instances[0]
		w.halt(last)
	}
}

// disk is a memory store whose next Apply can fail as a machine that dies does: before the batch is durable or after it.
type disk struct {
	*store.Memory
	failing diskFault
}

type diskFault int

const (
	diskWorks diskFault = iota
	diskLosesBatch
	diskKeepsBatch
)

var errDisk = errors.New("the machine died during a write")

var _ store.Store = (*disk)(nil)

// Apply is store.Store's.
func (d *disk) Apply(batch *store.Batch, sync bool) error {
	switch d.failing {
	case diskLosesBatch:
		return errDisk
	case diskKeepsBatch:
		if err := d.Memory.Apply(batch, true); err != nil {
			return err
		}
		return errDisk
	}
	return d.Memory.Apply(batch, sync)
}
