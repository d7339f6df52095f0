package node

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"weft/config/genesis"
	"weft/internal/store"
	"weft/plugins"
	"weft/tangle"
)

// openPlugins opens the plugins of the list. A ledger plugin that genesis does not name is left out: this network has none
// of it. One that genesis names and the list lacks, and two owners of a kind, are start-up errors: a node that ran other
// plugins than the rest would compute another state.
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
		if len(p.Kinds) == 0 || slices.ContainsFunc(g.Plugins, func(s genesis.Plugin) bool { return s.Name == m.Name }) {
			all = append(all, NamedPlugin{m.Name, p})
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

// LedgerPlugins opens the ledger plugins of a network for whoever executes its entries without a node: without a folder,
// settings or a key, their key spaces in a scratch store. What they execute depends on none of these.
func LedgerPlugins(makers []plugins.Maker, g *genesis.Genesis, scratch store.Store) ([]CorePlugin, error) {
	n := &Node{
		config: Config{Genesis: g, Store: scratch, Key: make(ed25519.PrivateKey, ed25519.PrivateKeySize)},
		log:    slog.New(slog.DiscardHandler), Ledger: OpenLedger(g, scratch), inbox: newInbox(), waiters: newWaiters(),
	}
	n.inbox.close() // nothing can be published
	n.status.Store(&CoreStatus{})
	named := slices.DeleteFunc(slices.Clone(makers), func(m plugins.Maker) bool {
		return !slices.ContainsFunc(g.Plugins, func(s genesis.Plugin) bool { return s.Name == m.Name })
	})
	_, ledger, err := openPlugins(named, g, n.host)
	return ledger, err
}

// host is what the node lends to one plugin.
func (n *Node) host(name string) plugins.Host {
	h := plugins.Host{
		Network:   n.Ledger.Network(),
		Self:      n.self,
		Config:    n.config.Sections[name],
		Dir:       n.config.Dir,
		Log:       n.log.With(slog.String("plugin", name)),
		View:      func() plugins.View { return n.Ledger.PluginView(name) },
		IndexView: func() plugins.View { return n.Ledger.PluginIndex(name) },
		Local:     localSpace{storeView{spaceOf(store.PrefixLocal, name), n.config.Store}},
		Submit: func(ctx context.Context, entries []plugins.Submission) (plugins.Submitted, error) {
			id, hashes, err := n.Publish(ctx, entries)
			return plugins.Submitted{Message: id, Entries: hashes}, err
		},
		WaitFinal:   n.WaitFinal,
		Entry:       n.entryState,
		Receipt:     func(hash tangle.Hash) ([]byte, error) { return n.Ledger.Receipt(hash) },
		BareReceipt: func(hash tangle.Hash) ([]byte, error) { return n.Ledger.BareReceipt(hash) },
		Head:        n.pluginHead,
		CatchUp:     n.CatchUp,
		Changed:     n.Changed,
		Data:        n.entryData,
		Left:        n.entryLeft,
		Erase:       n.erase,
		Checkpoint:  n.checkpointOver,
		Peek:        n.peek,
		Ask: func(ctx context.Context, of tangle.Member, question []byte) ([]byte, error) {
			return n.asks.ask(ctx, name, of, question)
		},
		Sign: func(statement []byte) tangle.Signature {
			return tangle.Signature(ed25519.Sign(n.config.Key, plugins.StatementInput(n.Ledger.Network(), name, statement)))
		},
		Facts: n.facts,
	}
	for _, m := range n.config.Genesis.Members {
		h.Members = append(h.Members, plugins.Member{Key: m.Key, Name: m.Name})
	}
	for _, p := range n.config.Genesis.Plugins {
		if p.Name == name {
			h.Genesis = json.RawMessage(p.Config)
		}
	}
	return h
}

// erase tells plugins apart what time alone will change.
func (n *Node) erase(entry tangle.Hash) error {
	err := n.Ledger.Erase(entry)
	if errors.Is(err, ErrNotFinal) {
		return plugins.Reject("not_final", "%v", err)
	}
	return err
}

func (n *Node) pluginHead() plugins.Head {
	h := n.Ledger.Head()
	return plugins.Head{Position: h.Position, Time: h.Time, Final: h.Final, FinalTime: h.FinalTime}
}

func (n *Node) entryState(hash tangle.Hash, in tangle.ID) (plugins.EntryState, bool) {
	r, found := n.entryIn(hash, in)
	if !found {
		var err error
		if r, err = n.Ledger.Entry(hash); err != nil {
			return plugins.EntryState{}, false
		}
	}
	e := plugins.EntryState{Status: string(r.Settled.Status), Message: r.Message.ID, Index: r.Index, Time: r.Settled.Time}
	if e.Ordered() {
		e.Position, e.Code = r.Settled.Position, r.Settled.Codes[r.Index]
	}
	return e, true
}

// entryIn finds an entry in the message that it was sealed in, unless that one has expired.
func (n *Node) entryIn(hash tangle.Hash, in tangle.ID) (EntryRecord, bool) {
	if in == (tangle.ID{}) {
		return EntryRecord{}, false
	}
	m, settled, err := n.Ledger.Message(in)
	if err != nil || settled.Status == StatusExpired {
		return EntryRecord{}, false
	}
	i := slices.IndexFunc(m.Entries, func(e tangle.Entry) bool { return e.Hash == hash })
	if i < 0 {
		return EntryRecord{}, false
	}
	return EntryRecord{Entry: m.Entries[i], Message: m, Index: i, Settled: settled}, true
}

// maxCatchUp bounds CatchUp: a reader waits no longer than a person notices.
const maxCatchUp = 500 * time.Millisecond

// CatchUp waits until a leader of a round that is attached now is committed: what another node has called final is in its
// past, or this node has nothing of it yet.
func (n *Node) CatchUp(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, maxCatchUp)
	defer cancel()
	for round := n.Ledger.Head().Round; ; {
		changed := n.Changed()
		if n.status.Load().Idle {
			return
		}
		last, err := n.Ledger.Commit(n.Ledger.Head().Commit)
		if err == nil && last.Round >= round {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// localSpace is a plugin's key space off the ledger. It implements plugins.Local.
type localSpace struct{ storeView }

func (l localSpace) Write(writes ...plugins.Write) error {
	var b store.Batch
	for _, w := range writes {
		key := slices.Concat(l.prefix, w.Key)
		if w.Value == nil {
			b.Delete(key)
		} else {
			b.Set(key, slices.Clone(w.Value))
		}
	}
	return l.store.Apply(&b, true)
}
