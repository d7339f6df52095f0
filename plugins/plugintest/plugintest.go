// Package plugintest is the contract of ledger plugins as a test: generated and mangled entries, applied several times
// over, must give the same outcomes and the same state each time.
//
// It runs a plugin without a node: no network, no store, no HTTP. It cannot prove that a plugin is deterministic; it finds
// what its entries reach: randomness, map order, clocks, memory kept outside the state, writes of rejected entries, data
// races (with -race), panics on foreign bytes.
package plugintest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"

	"weft/plugins"
	"weft/tangle"
)

// Script says what to run a plugin with.
type Script struct {
	// Generate makes entries as the plugin's clients do: valid ones, and ones that break its rules. All randomness is r's.
	Generate func(r *rand.Rand) plugins.Submission

	Network tangle.ID               // zero: some network
	Genesis json.RawMessage         // the plugin's section of genesis.json
	Peers   map[string]plugins.View // states of other ledger plugins that Apply peeks into
	Entries int                     // per seed; 0: DefaultEntries
	Seeds   int                     // 0: DefaultSeeds

	// WritesBeforeReject allows Apply to write and then reject. The node rolls such writes back; deciding first is
	// easier to read, so it has to be said.
	WritesBeforeReject bool
}

// What a Script means that says nothing.
const (
	DefaultEntries = 300
	DefaultSeeds   = 5
)

// MaxDefects bounds the report of one seed.
const MaxDefects = 10

// Run tests the plugin and reports what is wrong with the seed that shows it.
func Run(t testing.TB, m plugins.Maker, s Script) {
	t.Helper()
	if s.Seeds == 0 {
		s.Seeds = DefaultSeeds
	}
	for seed := range s.Seeds {
		if err := Examine(m, s, uint64(seed)); err != nil {
			t.Errorf("plugin %s, seed %d:\n%v", m.Name, seed, err)
		}
	}
}

// Examine runs one seed. The error lists what the plugin does against the contract.
func Examine(m plugins.Maker, s Script, seed uint64) error {
	if s.Entries == 0 {
		s.Entries = DefaultEntries
	}
	x := &examination{maker: m, script: s, random: rand.New(rand.NewPCG(seed, 0x77656674))}
	p := x.open(nil)
	x.checkKinds(p)
	if len(x.defects) > 0 {
		return errors.Join(x.defects...)
	}
	x.entries = x.generate(p.Kinds)
	x.checks = x.checkAll(p)
	if p.Apply != nil && len(x.defects) == 0 {
		x.replayAll()
	}
	return errors.Join(x.defects...)
}

// examination is one seed's run.
type examination struct {
	maker   plugins.Maker
	script  Script
	random  *rand.Rand
	entries []plugins.Ordered // Op is not set
	checks  []verdict
	codes   []string // of Apply, at first
	defects []error
}

func (x *examination) defect(format string, args ...any) {
	if len(x.defects) < MaxDefects {
		x.defects = append(x.defects, fmt.Errorf(format, args...))
	}
}

// open opens the plugin anew, as a node does at its start.
func (x *examination) open(view func() plugins.View) plugins.Plugin {
	if view == nil {
		empty := NewState(nil).view()
		view = func() plugins.View { return empty }
	}
	network := x.script.Network
	if network == (tangle.ID{}) {
		network = tangle.ID{1}
	}
	p, err := x.maker.Open(plugins.Host{
		Network: network, Self: author(0), Genesis: x.script.Genesis, Log: slog.New(slog.DiscardHandler), View: view,
		IndexView: view, Local: NewLocal(), Members: []plugins.Member{{Key: author(0), Name: "m0"}},
		Ask: func(context.Context, tangle.Member, []byte) ([]byte, error) {
			return nil, plugins.Reject("busy", "a test")
		},
		Sign: func([]byte) tangle.Signature { return tangle.Signature{} },
		Submit: func(context.Context, []plugins.Submission) (plugins.Submitted, error) {
			return plugins.Submitted{}, plugins.Reject("busy", "a test")
		},
		WaitFinal:   func(context.Context, []tangle.Hash, tangle.ID) error { return plugins.Reject("busy", "a test") },
		Entry:       func(tangle.Hash, tangle.ID) (plugins.EntryState, bool) { return plugins.EntryState{}, false },
		Receipt:     func(tangle.Hash) ([]byte, error) { return nil, plugins.Reject("not_final", "a test") },
		BareReceipt: func(tangle.Hash) ([]byte, error) { return nil, plugins.Reject("not_final", "a test") },
		Head:        func() plugins.Head { return plugins.Head{} },
		CatchUp:     func(context.Context) {},
		Changed:     func() <-chan struct{} { return nil },
		Data:        func(tangle.Position, int) []byte { return nil },
		Checkpoint:  func(tangle.Position) (plugins.Checkpoint, bool) { return plugins.Checkpoint{}, false },
		Peek:        func(name string) plugins.View { return x.script.Peers[name] },
		Facts:       func() []plugins.Fact { return nil },
	})
	if err != nil {
		x.defect("does not open: %w", err)
	}
	return p
}

func (x *examination) checkKinds(p plugins.Plugin) {
	if len(p.Kinds) == 0 {
		x.defect("owns no kinds: it is a local plugin, of which the ledger wants nothing")
	}
	for _, k := range p.Kinds {
		if k == 0 || k == tangle.KindData || k == tangle.KindErased {
			x.defect("owns kind %d, which is not for plugins", k)
		}
	}
	if p.Check == nil && p.Apply == nil {
		x.defect("has neither Check nor Apply")
	}
}

// author is one of four made-up members.
func author(i int) tangle.Member { return tangle.Member{'m', byte(i % 4)} }

// Code is the code of a rejection; empty if there is no error. Any other error ends the test.
func Code(t testing.TB, err error) string {
	t.Helper()
	if err != nil && plugins.Rejected(err) == nil {
		t.Fatalf("not a rejection: %v", err)
	}
	return code(err)
}

func code(err error) string {
	if err == nil {
		return ""
	}
	if r := plugins.Rejected(err); r != nil {
		return r.Code
	}
	return "not a rejection"
}

// checkError says what is wrong with an error that Check or Apply gave for an entry.
func (x *examination) checkError(what string, i int, err error) {
	r := plugins.Rejected(err)
	switch {
	case err == nil:
	case r == nil:
		x.defect("%s of entry %d: %w (it is not made by plugins.Reject: every node would stop)", what, i, err)
	case !isCode(r.Code):
		x.defect("%s of entry %d rejects with the code %q: want lower snake case, at most %d bytes", what, i, r.Code, plugins.MaxCodeBytes)
	}
}

func isCode(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (i == 0 || (c < '0' || c > '9') && c != '_') {
			return false
		}
	}
	return s != "" && len(s) <= plugins.MaxCodeBytes
}
