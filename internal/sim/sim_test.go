package sim

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"testing"
	"time"

	"weft/config/genesis"
)

func TestMain(m *testing.M) {
	flag.Uint64("seed", 0, "replay this one seed (or WEFT_SIM_SEED)")
	flag.Int("nodes", 0, "with this many validators; 0: 4, 7 and 10")
	flag.Int("seeds", 0, "how many seeds of each size; 0: 200, or 12 with -short (TestIdentities: 16, or 4; TestChannels: 8, or 2)")
	flag.Bool("events", false, "with -seed: print every event")
	flag.Int("hunt", 0, "TestHunt: this many seeds of each size, up to the first violation")
	flag.Bool("mutants", false, "run TestMutants, with -seeds as many seeds of each size for every mutant")
	flag.String("mutant", "", "with -mutants: only those whose name contains this")
	flag.Bool("rewrite", false, "write the output of scripts into testdata")
	flag.Parse()
	debug.SetGCPercent(400) // many small worlds, each soon garbage
	os.Exit(m.Run())
}

func option[T any](name string) T { return flag.Lookup(name).Value.(flag.Getter).Get().(T) }

func seedToReplay(t *testing.T) (seed uint64, ok bool) {
	t.Helper()
	if text := os.Getenv("WEFT_SIM_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("WEFT_SIM_SEED: %v", err)
		}
		return seed, true
	}
	seed = option[uint64]("seed")
	return seed, seed != 0
}

func sizes() []int {
	if n := option[int]("nodes"); n != 0 {
		return []int{n}
	}
	return []int{4, 7, 10}
}

// TestSeeds draws faults and misbehaviour from many seeds; no oracle may complain.
func TestSeeds(t *testing.T) {
	if seed, ok := seedToReplay(t); ok {
		for _, n := range sizes() {
			replay(t, Draw(seed, n))
		}
		return
	}
	count := option[int]("seeds")
	if count == 0 {
		count = 200
		if testing.Short() {
			count = 12
		}
	}
	const chunk = 10
	for _, n := range sizes() {
		for first := 1; first <= count; first += chunk {
			t.Run(fmt.Sprintf("n=%d/from=%d", n, first), func(t *testing.T) {
				t.Parallel()
				for seed := first; seed < first+chunk && seed <= count && !t.Failed(); seed++ {
					c := Draw(uint64(seed), n)
					if v := Run(c).Violation; v != nil {
						report(t, "TestSeeds", c, v)
					}
				}
			})
		}
	}
}

// replay runs one seed and prints what it found; with -events everything that happened.
func replay(t *testing.T, c Config) {
	t.Helper()
	if option[bool]("events") {
		c.Trace = os.Stdout
	}
	start := time.Now()
	r := Run(c)
	t.Logf("seed %d, %d nodes, %v in %v: %+v\nfaults: %+v\nbyzantine: %v observers: %d consensus: %+v", c.Seed, c.Nodes, r.Violation,
		time.Since(start), r, c.Faults, c.Byzantine, c.Observers, c.Consensus)
	if r.Violation != nil {
		t.Fail()
	}
}

// traceTail is how many lines of a trace a failure prints.
const traceTail = 60

// report prints a violation with the one command that replays it and the end of its trace.
func report(t *testing.T, test string, c Config, v *Violation) {
	t.Helper()
	var trace bytes.Buffer
	c.Trace = &trace
	if again := Run(c).Violation; again == nil || again.String() != v.String() {
		t.Errorf("the run is not the same again: %v, then %v", v, again)
	}
	t.Errorf("violation: oracle=%s seed=%d nodes=%d\n%s\nbyzantine: %v, faults: %+v\n%s\nreplay: go test ./internal/sim -run %s -seed %d -nodes %d -v",
		v.Oracle, c.Seed, c.Nodes, v, c.Byzantine, c.Faults, tail(trace.String(), traceTail), test, c.Seed, c.Nodes)
}

// TestReplay runs seeds twice: every event must be the same.
func TestReplay(t *testing.T) {
	for seed := range uint64(3) {
		for _, n := range sizes() {
			c := Draw(1000+seed, n)
			if a, b := Run(c), Run(c); a.Hash != b.Hash || a.Events != b.Events {
				t.Errorf("seed %d, %d nodes: %+v, then %+v", c.Seed, n, a, b)
			}
		}
	}
}

// TestNegativeControl breaks the fault bound: with f+1 twins among four an oracle must report a fork, or the oracles are
// blind.
func TestNegativeControl(t *testing.T) {
	const seeds = 20
	forks := 0
	for seed := range uint64(seeds) {
		c := Config{Seed: seed, Nodes: 4, Byzantine: []Behaviour{Twin, Twin}, Faults: Mild(), Consensus: genesis.DefaultConsensus(), Tuning: Tuning()}
		c.Faults.Heal = 2 * time.Second
		if v := Run(c).Violation; v != nil && slices.Contains([]string{"S1", "S2", "S5"}, v.Oracle) {
			t.Logf("seed %d: %s", seed, v)
			forks++
		}
	}
	t.Logf("%d of %d seeds fork", forks, seeds)
	if forks == 0 {
		t.Errorf("no fork in %d seeds with f+1 twins", seeds)
	}
}
