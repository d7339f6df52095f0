package identity

import (
	"encoding/json"
	"fmt"
	"time"

	"weft/config/strict"
	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/identity/status"
	"weft/plugins/identity/trust"
	"weft/tangle"
)

// ledger is the part of the plugin that every node agrees on: pure, and the same wherever genesis is the same.
type ledger struct {
	network tangle.ID
	limits  did.Limits
	begin   []did.Write // state before the first entry
}

// Genesis is the plugin's section of genesis.json. What is left out has its default.
type Genesis struct {
	Limits      did.Limits      `json:"limits"`
	Federations json.RawMessage `json:"federations,omitempty"` // see trust.Genesis
}

func openLedger(network tangle.ID, section json.RawMessage) (ledger, error) {
	g := Genesis{Limits: did.DefaultLimits()}
	if section != nil {
		if err := strict.Decode(section, &g, false); err != nil {
			return ledger{}, err
		}
	}
	if err := g.Limits.Check(); err != nil {
		return ledger{}, err
	}
	begin, err := trust.Genesis(g.Federations)
	if err != nil {
		return ledger{}, err
	}
	return ledger{network, g.Limits, begin}, nil
}

// genesis writes the federations that the network begins with.
func (l ledger) genesis(s plugins.State) { plugins.Put(s, l.begin) }

// check decodes an operation and verifies its signatures.
func (l ledger) check(kind tangle.Kind, data []byte) (plugins.Op, error) {
	c := l.checkAll([]tangle.Entry{{Kind: kind, Data: data}})[0]
	return c.Op, c.Err
}

// checkAll decodes operations and verifies all signatures together.
func (l ledger) checkAll(list []tangle.Entry) []plugins.Checked {
	return did.CheckAll(list, l.read)
}

// read decodes an operation that nobody has signed yet.
func (l ledger) read(kind tangle.Kind, data []byte) (plugins.Op, error) {
	switch kind {
	case KindDID:
		return plugins.OpOf(did.DecodeUnverified(l.network, l.limits, data))
	case KindStatus:
		return plugins.OpOf(status.DecodeUnverified(l.network, l.limits, data))
	case KindTrust:
		return plugins.OpOf(trust.DecodeUnverified(l.network, l.limits, data))
	}
	return nil, plugins.Reject("unknown_kind", "kind %d is not of this plugin", kind)
}

// next is what an operation writes at a place, or why it has no effect.
func (l ledger) next(v plugins.View, op plugins.Op, at did.Place) ([]did.Write, error) {
	switch op := op.(type) {
	case *did.Operation:
		return did.Next(v, l.limits, op, at)
	case *status.Operation:
		return status.Next(v, l.limits, op, at)
	case *trust.Operation:
		return trust.Next(v, l.limits, op, at)
	}
	return nil, fmt.Errorf("identity: operation of type %T", op)
}

// admit judges an operation as if this member carried it to its place now.
func (l ledger) admit(self tangle.Member, now func() time.Time) func(plugins.View, plugins.Op) error {
	return func(v plugins.View, op plugins.Op) error {
		_, err := l.next(v, op, did.Place{Time: tangle.TimeOf(now()), By: self})
		return err
	}
}

// apply executes an operation at its place.
func (l ledger) apply(s plugins.State, e plugins.Ordered) error {
	writes, err := l.next(s, e.Op, placeOf(e))
	if err != nil {
		return err
	}
	plugins.Put(s, writes)
	return nil
}

func placeOf(e plugins.Ordered) did.Place {
	return did.Place{Time: e.Time, Position: e.Position, Index: e.Index, By: e.Author, Entry: e.Hash}
}

// Ledger is the part of the plugin that all nodes agree on, without HTTP, files and clock: for the simulation.
func Ledger(network tangle.ID, section json.RawMessage) (plugins.Plugin, error) {
	l, err := openLedger(network, section)
	if err != nil {
		return plugins.Plugin{}, err
	}
	return l.plugin(), nil
}

func (l ledger) plugin() plugins.Plugin {
	return plugins.Plugin{
		Kinds: []tangle.Kind{KindDID, KindStatus, KindTrust}, Genesis: l.genesis,
		Check: l.check, CheckAll: l.checkAll, Apply: l.apply, Index: l.index,
	}
}
