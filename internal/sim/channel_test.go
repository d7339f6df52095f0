package sim

import (
	"fmt"
	"maps"
	"testing"
)

// TestChannels runs a channel under faults, with epochs, removals and ends of grants that race with writes in flight: state
// and outcomes are those of a sequential reference on every node (S16), no record is lost, every reader opens all, and
// whoever was removed opens nothing but by the grace rule.
func TestChannels(t *testing.T) {
	if seed, ok := seedToReplay(t); ok {
		for _, n := range identitySizes() {
			replay(t, Channels(seed, n))
		}
		return
	}
	count := option[int]("seeds")
	if count == 0 {
		count = 8
		if testing.Short() {
			count = 2
		}
	}
	seen := tally{count: map[string]int{}}
	t.Run("seeds", func(t *testing.T) {
		const chunk = 4
		for first := 1; first <= count; first += chunk {
			for _, n := range identitySizes() {
				t.Run(fmt.Sprintf("n=%d/from=%d", n, first), func(t *testing.T) {
					t.Parallel()
					for seed := first; seed < first+chunk && seed <= count && !t.Failed() && !seen.stopped(); seed++ {
						c := Channels(uint64(seed), n)
						r := Run(c)
						if seen.add(r); r.Violation != nil {
							report(t, "TestChannels", c, r.Violation)
						}
					}
				})
			}
		}
	})
	t.Logf("%d seeds of each size %v: %s", count, identitySizes(), &seen)
	for _, name := range rareInChannels() {
		if count >= 8 && option[int]("nodes") == 0 && !t.Failed() && seen.count[name] == 0 {
			t.Errorf("no seed has %q: the tools have stopped trying it", name)
		}
	}
}

// rareInChannels must occur, or the seeds prove nothing about them.
func rareInChannels() []string {
	return []string{
		"write ", "write epoch_closed", "write epoch_unknown", "write not_participant", "write not_valid_now", "write not_entitled", "write bad_after",
		"write replayed", "revoke ", "authorize ", "rekey ", "rekey epoch_conflict", "leave ", "configure ", "spoiled not_canonical",
		"sealed again after epoch_closed", "record in after an epoch change", "record opened by a reader",
		"record closed to one without the right", "record open to one without the right: grace", "record open to one without the right: a rekey was due",
	}
}

// TestChannelsReplay runs a seed twice: every event must be the same.
func TestChannelsReplay(t *testing.T) {
	for _, n := range identitySizes() {
		c := Channels(1000, n)
		if a, b := Run(c), Run(c); a.Hash != b.Hash || a.Events != b.Events || !maps.Equal(a.Outcomes, b.Outcomes) {
			t.Errorf("%d nodes: %+v, then %+v", n, a, b)
		}
	}
}
