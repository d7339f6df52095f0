package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"weft/config/genesis"
	"weft/plugins"
	"weft/tangle"
)

// openPlugins opens all plugins of the list. A ledger plugin that genesis does not name, one that genesis names and the
// list lacks, and two owners of a kind are start-up errors: a node that ran other plugins than the rest would compute
// another state.
func openPlugins(makers []plugins.Maker, g *genesis.Genesis, host func(name string) plugins.Host) (all []NamedPlugin, ledger []CorePlugin, err error) {
	byName := map[string]plugins.Plugin{}
	for _, m := range makers {
		if _, twice := byName[m.Name]; twice {
			return nil, nil, fmt.Errorf("plugin %s is in the list twice", m.Name)
		}
		if m.Name == "data" {
			return nil, nil, errors.New("plugin data: the name is the core's own")
		}
		p, err := m.Open(host(m.Name))
		if err != nil {
			return nil, nil, fmt.Errorf("plugin %s: %w", m.Name, err)
		}
		byName[m.Name] = p
		all = append(all, NamedPlugin{m.Name, p})
		if len(p.Kinds) > 0 && !slices.ContainsFunc(g.Plugins, func(s genesis.Plugin) bool { return s.Name == m.Name }) {
			return nil, nil, fmt.Errorf("plugin %s owns entry kinds, but genesis does not name it", m.Name)
		}
	}
	for _, s := range g.Plugins {
		p, ok := byName[s.Name]
		if !ok {
			return nil, nil, fmt.Errorf("genesis names the plugin %s, which this binary does not have", s.Name)
		}
		if len(p.Kinds) == 0 {
			return nil, nil, fmt.Errorf("genesis names the plugin %s, which owns no entry kinds: it is each node's own choice", s.Name)
		}
		ledger = append(ledger, CorePlugin{s.Name, p})
	}
	return all, ledger, nil
}

// host is what the node lends to one plugin.
func (n *Node) host(name string) plugins.Host {
	h := plugins.Host{
		Network: n.Ledger.Network(),
		Self:    n.self,
		Config:  n.config.Sections[name],
		Log:     n.log.With(slog.String("plugin", name)),
		View:    func() plugins.View { return n.Ledger.PluginView(name) },
		Facts:   n.facts,
		Submit: func(ctx context.Context, entries []plugins.Submission) ([]tangle.Hash, error) {
			_, hashes, err := n.Publish(ctx, entries)
			return hashes, err
		},
	}
	for _, p := range n.config.Genesis.Plugins {
		if p.Name == name {
			h.Genesis = json.RawMessage(p.Config)
		}
	}
	return h
}
