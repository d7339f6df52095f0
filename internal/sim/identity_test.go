package sim

import (
	"crypto/ed25519"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"weft/config/genesis"
	"weft/node"
	"weft/plugins/identity"
	"weft/plugins/identity/did"
	"weft/tangle"
)

// TestIdentities runs the identity plugin under faults against its sequential reference (S16): each outcome and the whole
// state of each correct node.
func TestIdentities(t *testing.T) {
	runSeeds(t, Identities, 16, 4, rareOutcomes())
}

// runSeeds runs as many seeds of a world as -seeds says, or usual, or few of them with -short, on each size. With all of the
// usual ones each of the rare outcomes has to occur.
func runSeeds(t *testing.T, world func(seed uint64, nodes int) Config, usual, few int, rare []string) {
	if seed, ok := seedToReplay(t); ok {
		for _, n := range identitySizes() {
			replay(t, world(seed, n))
		}
		return
	}
	count := option[int]("seeds")
	if count == 0 {
		count = usual
		if testing.Short() {
			count = few
		}
	}
	test, seen := t.Name(), tally{count: map[string]int{}}
	t.Run("seeds", func(t *testing.T) {
		const chunk = 4
		for first := 1; first <= count; first += chunk {
			for _, n := range identitySizes() {
				t.Run(fmt.Sprintf("n=%d/from=%d", n, first), func(t *testing.T) {
					t.Parallel()
					for seed := first; seed < first+chunk && seed <= count && !t.Failed() && !seen.stopped(); seed++ {
						c := world(uint64(seed), n)
						r := Run(c)
						if seen.add(r); r.Violation != nil {
							report(t, test, c, r.Violation)
						}
					}
				})
			}
		}
	})
	t.Logf("%d seeds of each size %v: %s", count, identitySizes(), &seen)
	for _, name := range rare {
		if count >= usual && option[int]("nodes") == 0 && !t.Failed() && seen.count[name] == 0 {
			t.Errorf("no seed has %q: the world has stopped trying it", name)
		}
	}
}

// identitySizes are the networks that the identity plugin is tried on.
func identitySizes() []int {
	if n := option[int]("nodes"); n != 0 {
		return []int{n}
	}
	return []int{4, 7}
}

// rareOutcomes must occur, or the seeds prove nothing about them.
func rareOutcomes() []string {
	return []string{
		"op.create already_exists", "op.create threshold", "op.create consent_missing", "op.create rate_limited", "op.create expired",
		"op.update ", "op.update conflict", "op.update bad_prev", "op.update already_exists", "op.update not_entitled", "op.update threshold",
		"op.update prerotation", "op.update consent_missing", "op.update bad_value", "op.update deactivated", "op.update unknown_did",
		"op.update expired", "op.update rate_limited", "op.recover ", "op.recover stale_recovery", "op.recover already_exists",
		"op.recover threshold", "op.recover bad_value", "op.deactivate ", "op.deactivate conflict", "op.deactivate stale_recovery",
		"status.create rate_limited", "status.set ", "status.set not_entitled", "status.set list_final", "status.set list_closed",
		"status.set bad_index", "status.set replayed", "status.set unknown_list", "status.spend already_used", "status.spend bad_value",
		"trust.grant ", "trust.grant not_attenuated", "trust.grant depth_exceeded", "trust.grant grant_revoked", "trust.grant not_entitled",
		"trust.revoke ", "trust.revoke grant_revoked", "trust.root.add ", "trust.root.revoke ", "trust.root.reinstate ", "trust.root.revoke threshold",
		"trust.threshold.set ", "trust.threshold.set bad_value", "trust.property.add ", "trust.property.revoke ", "trust.property.revoke bad_property",
		"spoiled bad_signature", "spoiled bad_scid", "spoiled not_canonical", "spoiled wrong_network", "spoiled unknown_field", "spoiled bad_value",
	}
}

// tally adds up outcomes of runs in parallel, up to the first violation.
type tally struct {
	sync.Mutex
	count    map[string]int
	violated bool
}

func (t *tally) add(r Report) {
	t.Lock()
	defer t.Unlock()
	t.violated = t.violated || r.Violation != nil
	for name, n := range r.Outcomes {
		t.count[name] += n
	}
}

func (t *tally) stopped() bool {
	t.Lock()
	defer t.Unlock()
	return t.violated
}

func (t *tally) String() string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(t.count)) {
		list = append(list, fmt.Sprintf("%s=%d", name, t.count[name]))
	}
	return strings.Join(list, ", ")
}

// TestIdentitiesReplay runs a seed twice: every event must be the same.
func TestIdentitiesReplay(t *testing.T) { runTwice(t, Identities) }

func runTwice(t *testing.T, world func(seed uint64, nodes int) Config) {
	t.Helper()
	for _, n := range identitySizes() {
		c := world(1000, n)
		if a, b := Run(c), Run(c); a.Hash != b.Hash || a.Events != b.Events || !maps.Equal(a.Outcomes, b.Outcomes) {
			t.Errorf("%d nodes: %+v, then %+v", n, a, b)
		}
	}
}

// TestForkedDID has an owner sign two updates on one head and give them to two nodes, of which the others hear in opposite
// orders, or to two twins: everybody agrees which one wins, and the other is a conflict.
func TestForkedDID(t *testing.T) {
	for _, byzantine := range [][]Behaviour{nil, {Twin}} {
		wins := map[int]int{}
		for seed := range uint64(8) {
			f := forkedDID{t: t, seed: seed}
			f.open(byzantine)
			f.fork()
			wins[f.winner()]++
		}
		t.Logf("%d members misbehave: %v", len(byzantine), wins)
		if wins[0] == 0 || wins[1] == 0 {
			t.Errorf("%d members misbehave: one of the two always wins: %v", len(byzantine), wins)
		}
	}
}

// forkedDID is a network with one DID.
type forkedDID struct {
	t      *testing.T
	seed   uint64
	world  *World
	did    did.DID
	head   did.Head
	key    string
	rivals [2]tangle.Entry
}

func (f *forkedDID) open(byzantine []Behaviour) {
	c := Config{Seed: f.seed, Nodes: 4, Byzantine: byzantine, Faults: Mild(), Consensus: genesis.DefaultConsensus(), Tuning: Tuning(), Identity: true}
	f.world = New(c)
	f.world.wires.shuffleTwins()
	x := f.world.wallets
	f.key = x.newKey()
	body, d, err := did.Create(f.world.network, [did.NonceBytes]byte{}, f.content(0))
	if err != nil {
		f.t.Fatal(err)
	}
	f.did = d
	f.world.RunUntil(200 * time.Millisecond)
	f.world.submit(3, []tangle.Entry{f.entry(body)})
	f.world.settle(f.world.now)
	if f.head, _, err = did.ReadHead(f.world.instances[len(f.world.instances)-1].ledger.PluginView(identity.Name), d); err != nil || f.head.Version != 1 {
		f.t.Fatalf("seed %d: the DID is not there: %+v %v %v", f.seed, f.head, err, f.world.violation)
	}
}

func (f *forkedDID) content(n int) did.Content {
	return did.Content{Params: did.NewParams([]string{f.key}), Document: did.Object{"alsoKnownAs": []any{fmt.Sprintf("https://example.org/%d", n)}}}
}

func (f *forkedDID) entry(body did.Object) tangle.Entry {
	data, err := did.Sign(body, []ed25519.PrivateKey{f.world.wallets.keys[f.key]}...)
	if err != nil {
		f.t.Fatal(err)
	}
	return f.world.wallets.entry(identity.KindDID, data)
}

// fork sends the two updates to the first two instances, in turn: members 0 and 1, or the two twins.
func (f *forkedDID) fork() {
	w := f.world
	const late = 60 * time.Millisecond
	w.wires.rules = []rule{{author: []int{0}, to: []int{2}, delay: late}, {author: []int{1}, to: []int{3}, delay: late}}
	for k := range f.rivals {
		f.rivals[k] = f.entry(did.Update(w.network, f.did, f.head, f.content(k)))
		w.put(w.instances[(k+int(f.seed))%2], node.Input{Submit: &node.Submission{Entries: []tangle.Entry{f.rivals[k]}}})
	}
	f.watch()
	w.wires.rules = nil
	w.RunUntil(w.now + 3*time.Second)
	w.oracles.audit()
	if w.violation != nil {
		f.t.Errorf("seed %d: %v", f.seed, w.violation)
	}
}

// watch runs until everybody has had time to hear of both, and wants both orders of arrival. Of twins the first one heard
// may be the only one.
func (f *forkedDID) watch() {
	first := map[*instance]int{}
	for end := f.world.now + 150*time.Millisecond; f.world.now < end && f.world.violation == nil; {
		f.world.RunUntil(f.world.now + 200*time.Microsecond)
		for _, i := range f.world.instances {
			for k, e := range f.rivals {
				if _, known := first[i]; !known {
					if _, err := i.ledger.Entry(e.Hash); err == nil {
						first[i] = k
					}
				}
			}
		}
	}
	if orders := slices.Compact(slices.Sorted(maps.Values(first))); len(orders) != 2 && len(f.world.config.Byzantine) == 0 {
		f.t.Errorf("seed %d: everybody heard of update %v first", f.seed, orders)
	}
}

// winner wants the same outcomes of all correct nodes, and returns which update was accepted. The message of a twin that is
// not ordered has no outcome.
func (f *forkedDID) winner() int {
	var codes [2]string
	for n, i := range f.world.oracles.correct() {
		for k, e := range f.rivals {
			code := "not ordered"
			if rec, err := i.ledger.Entry(e.Hash); err == nil && rec.Settled.Codes != nil {
				code = rec.Settled.Codes[rec.Index]
			}
			if n > 0 && code != codes[k] {
				f.t.Errorf("seed %d: update %d is %q on %s and %q elsewhere", f.seed, k, code, i, codes[k])
			}
			codes[k] = code
		}
	}
	won := slices.Index(codes[:], "")
	lost := "conflict"
	if won < 0 || codes[1-won] != lost && (len(f.world.config.Byzantine) == 0 || codes[1-won] != "not ordered") {
		f.t.Errorf("seed %d: outcomes %q, want one accepted and one conflict", f.seed, codes)
		return -1
	}
	return won
}
