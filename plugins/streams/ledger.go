package streams

import (
	"encoding/json"
	"fmt"

	"weft/config/strict"
	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/streams/channel"
	"weft/tangle"
)

// ledger is the part of the plugin that every node agrees on: pure, and the same wherever genesis is the same.
type ledger struct{ network tangle.ID }

// Genesis is the plugin's section of genesis.json: empty as yet.
type Genesis struct{}

func openLedger(network tangle.ID, section json.RawMessage) (ledger, error) {
	if section != nil {
		if err := strict.Decode(section, &Genesis{}, false); err != nil {
			return ledger{}, err
		}
	}
	return ledger{network}, nil
}

// check decodes an operation and verifies its signature.
func (l ledger) check(kind tangle.Kind, data []byte) (plugins.Op, error) {
	c := l.checkAll([]tangle.Entry{{Kind: kind, Data: data}})[0]
	return c.Op, c.Err
}

// checkAll decodes operations and verifies all signatures together.
func (l ledger) checkAll(list []tangle.Entry) []plugins.Checked {
	return did.CheckAll(list, l.read)
}

// read decodes an operation without its signature.
func (l ledger) read(kind tangle.Kind, data []byte) (plugins.Op, error) {
	if kind != channel.Kind {
		return nil, plugins.Reject("unknown_kind", "kind %d is not of this plugin", kind)
	}
	return plugins.OpOf(channel.DecodeUnverified(l.network, data))
}

// apply executes an operation at its place.
func (l ledger) apply(s plugins.State, e plugins.Ordered) error {
	op, ok := e.Op.(*channel.Operation)
	if !ok {
		return fmt.Errorf("streams: operation of type %T", e.Op)
	}
	at := did.Place{Time: e.Time, Position: e.Position, Index: e.Index, By: e.Author, Entry: e.Hash}
	writes, err := channel.Next(s, s.Peek(identityPlugin), op, at)
	if err != nil {
		return err
	}
	plugins.Put(s, writes)
	return nil
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
		Kinds: []tangle.Kind{channel.Kind}, Check: l.check, CheckAll: l.checkAll, Apply: l.apply, Index: l.index, Lasting: lasting, Restore: restore,
	}
}

// lasting is what stays of a record's operation once its body goes; of others all stays.
func lasting(_ tangle.Kind, op plugins.Op) []byte {
	if o, ok := op.(*channel.Operation); ok {
		return o.Lasting()
	}
	return nil
}

// restore makes the operation of a record again of what is left of it.
func restore(_ tangle.Kind, left []byte) (plugins.Op, error) {
	return plugins.OpOf(channel.Restore(left))
}
