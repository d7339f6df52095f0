package node

import (
	"slices"

	"weft/tangle"
)

// Of entries that their plugin has erased the API serves the hash alone at once, and their bodies leave the store when the
// plugin says so: Ledger.Erase. Every proof stays valid.

// Message is Ledger.Message without what is gone.
func (n *Node) Message(id tangle.ID) (*tangle.Message, Settled, error) {
	m, settled, err := n.Ledger.Message(id)
	if err != nil {
		return m, settled, err
	}
	for i := range m.Entries {
		if !n.gone(m.Entries[i], i, settled) {
			continue
		}
		if m, err = n.Ledger.codec.Erase(m, i, settled.Codes[i]); err != nil {
			return nil, settled, err
		}
	}
	return m, settled, nil
}

// Entry is Ledger.Entry without what is gone.
func (n *Node) Entry(h tangle.Hash) (EntryRecord, error) {
	r, err := n.Ledger.Entry(h)
	if err != nil || !n.gone(r.Entry, r.Index, r.Settled) {
		return r, err
	}
	r.Entry = tangle.Entry{Kind: tangle.KindErased, Hash: h}
	r.Message, err = n.Ledger.codec.Erase(r.Message, r.Index, r.Settled.Codes[r.Index])
	return r, err
}

// Receipt is Ledger.Receipt; of what is gone it proves the hash.
func (n *Node) Receipt(h tangle.Hash) ([]byte, error) {
	r, err := n.Ledger.Entry(h)
	if err == nil && n.gone(r.Entry, r.Index, r.Settled) {
		return n.Ledger.BareReceipt(h)
	}
	return n.Ledger.Receipt(h)
}

func (n *Node) gone(e tangle.Entry, index int, s Settled) bool {
	if e.Erased() || rank(s) != 0 {
		return false
	}
	for _, p := range n.plugins {
		if p.Plugin.Gone != nil && slices.Contains(p.Plugin.Kinds, e.Kind) {
			return p.Plugin.Gone(s.Position, index)
		}
	}
	return false
}
