package node

import (
	"slices"

	"weft/config/genesis"
	"weft/plugins"
	"weft/tangle"
)

// entryData is what an entry holds; nil if it has been erased, or its place is not given yet.
func (n *Node) entryData(at tangle.Position, index int) []byte {
	return slices.Clone(n.entryAt(at, index).Data)
}

// entryLeft is what lasts of an entry that has its place.
func (n *Node) entryLeft(at tangle.Position, index int) *tangle.Left {
	return n.entryAt(at, index).Remains()
}

func (n *Node) entryAt(at tangle.Position, index int) (e tangle.Entry) {
	id, err := n.Ledger.AtPosition(at)
	if err != nil {
		return e
	}
	m, err := n.Ledger.message(id)
	if err != nil || index < 0 || index >= len(m.Entries) {
		return e
	}
	return m.Entries[index]
}

// checkpointOver is the first certified checkpoint of at least a size.
func (n *Node) checkpointOver(size tangle.Position) (plugins.Checkpoint, bool) {
	c, err := n.Ledger.covering(uint64(size))
	if err != nil {
		return plugins.Checkpoint{}, false
	}
	return plugins.Checkpoint{Size: tangle.Position(c.Size), Root: c.Root, Time: c.Time, Note: slices.Clone(c.Note)}, true
}

// peek reads the state of a ledger plugin that this network runs.
func (n *Node) peek(plugin string) plugins.View {
	if !slices.ContainsFunc(n.config.Genesis.Plugins, func(p genesis.Plugin) bool { return p.Name == plugin }) {
		return nil
	}
	return n.Ledger.PluginView(plugin)
}
