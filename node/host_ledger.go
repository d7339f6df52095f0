package node

import (
	"slices"

	"weft/config/genesis"
	"weft/plugins"
	"weft/tangle"
)

// entryData is what an entry holds; nil if it has been erased, or its place is not given yet.
func (n *Node) entryData(at tangle.Position, index int) []byte {
	id, err := n.Ledger.AtPosition(at)
	if err != nil {
		return nil
	}
	m, err := n.Ledger.message(id)
	if err != nil || index < 0 || index >= len(m.Entries) || m.Entries[index].Erased() {
		return nil
	}
	return slices.Clone(m.Entries[index].Data)
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
