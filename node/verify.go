package node

import (
	"fmt"

	"weft/config/genesis"
	"weft/gossip"
	"weft/internal/zip215"
	"weft/plugins"
	"weft/tangle"
)

// verifier turns the bytes of a frame into input for the Core: parsed, of members, with good signatures, and with the
// plugins' checks made. It runs in the reader goroutine of each peer and lane, so that frames of a lane stay in order and a
// peer that sends faster than this node verifies is slowed down by its own connection. Each lane has its workers, so that
// a witness never waits behind bulk.
//
// It is safe for concurrent use.
type verifier struct {
	codec      tangle.Codec
	members    map[tangle.Member]bool // value: is a validator
	validators int
	signatures *zip215.Verifier
	owners     map[tangle.Kind]*plugins.Plugin
	seen       seenSet
	workers    [2]chan struct{} // by gossip.Lane; capacity: how many verify at once
}

func newVerifier(g *genesis.Genesis, workers int, ledger []CorePlugin) *verifier {
	v := &verifier{
		codec:      tangle.Codec{Network: g.ID(), Limits: g.Limits},
		members:    map[tangle.Member]bool{},
		validators: len(g.Committee()),
		signatures: zip215.NewVerifier(),
		owners:     map[tangle.Kind]*plugins.Plugin{},
		workers:    [2]chan struct{}{make(chan struct{}, workers), make(chan struct{}, workers)},
	}
	for _, m := range g.Members {
		v.members[m.Key] = m.Is(genesis.RoleValidator)
	}
	for _, p := range append([]CorePlugin{{"data", dataPlugin()}}, ledger...) {
		for _, k := range p.Plugin.Kinds {
			v.owners[k] = &p.Plugin
		}
	}
	return v
}

// inTurn reads one frame when a worker of the lane is free.
func (v *verifier) inTurn(lane gossip.Lane, from tangle.Member, raw []byte) (*PeerFrame, error) {
	v.workers[lane] <- struct{}{}
	defer func() { <-v.workers[lane] }()
	return v.frame(from, raw)
}

// frame reads one frame. An error is a fault of the peer.
func (v *verifier) frame(from tangle.Member, raw []byte) (*PeerFrame, error) {
	f, err := gossip.Parse(raw)
	if err != nil {
		return nil, err
	}
	p := &PeerFrame{From: from, Frame: f}
	if f.Messages == nil {
		return p, nil
	}
	return p, v.messages(p)
}

// messages parses and verifies the messages of a frame, all signatures in one batch. Copies of messages seen before are
// passed on, because the Core may have asked for them again, but not verified again.
func (v *verifier) messages(p *PeerFrame) error {
	list := make([]*tangle.Message, 0, len(p.Frame.Messages.Raw))
	p.Ops = make([][]Checked, len(p.Frame.Messages.Raw)) // nil for copies
	items := make([]zip215.Item, 0, cap(list))
	for _, raw := range p.Frame.Messages.Raw {
		m, err := v.codec.Parse(raw)
		if err != nil {
			return err
		}
		if v.seen.has(m.ID, m.Signature) {
			list = append(list, m)
			continue
		}
		validator, member := v.members[m.Header.Author]
		if m.Header.Epoch == epoch {
			if err := m.Validate(v.codec.Limits, member, validator, v.validators); err != nil {
				return err
			}
		}
		p.Ops[len(list)] = v.check(m.Entries)
		list = append(list, m)
		items = append(items, zip215.Item{Member: m.Header.Author, Input: tangle.SigningInput(m.ID), Signature: m.Signature})
	}
	if len(items) > 0 {
		for i, good := range v.signatures.VerifyAll(items) {
			if !good {
				return fmt.Errorf("signature of %s does not verify", items[i].Member.Short())
			}
		}
	}
	p.Frame.Messages.List = list
	for _, m := range list {
		v.seen.add(m.ID, m.Signature)
	}
	return nil
}

// check runs the plugins' checks on entries; those of one plugin that stand together are checked together.
func (v *verifier) check(entries []tangle.Entry) []Checked {
	out := make([]Checked, 0, len(entries))
	for len(out) < len(entries) {
		from := len(out)
		to, owner := from+1, v.owners[entries[from].Kind]
		for to < len(entries) && v.owners[entries[to].Kind] == owner {
			to++
		}
		if owner != nil && owner.CheckAll != nil {
			out = append(out, owner.CheckAll(entries[from:to])...)
			continue
		}
		for _, e := range entries[from:to] {
			out = append(out, checkEntry(owner, e))
		}
	}
	return out
}
