package node

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"weft/config/genesis"
	"weft/gossip"
	"weft/internal/zip215"
	"weft/plugins"
	"weft/receipt"
	"weft/tangle"
)

// verifier turns the bytes of a frame into input for the Core: parsed, of members, with good signatures, and with the
// plugins' checks made. It runs in the reader goroutine of each peer and lane, so that frames of a lane stay in order and a
// peer that sends faster than this node verifies is slowed down by its own connection. Each lane has its workers, so that
// a witness never waits behind bulk.
//
// It is safe for concurrent use.
type verifier struct {
	notes      notes // of proofs
	stored     bool  // messages are out of the own store: nobody proves the outcomes of erased entries
	codec      tangle.Codec
	members    map[tangle.Member]bool // value: is a validator
	validators int
	signatures *zip215.Verifier
	owners     map[tangle.Kind]*plugins.Plugin
	seen       seenSet
	workers    [2]chan struct{} // by gossip.Lane; capacity: how many verify at once
	upTo       atomic.Int64     // a tangle.Time: what peers push that is younger comes too early; 0: nothing does
}

func newVerifier(g *genesis.Genesis, workers int, ledger []CorePlugin) *verifier {
	v := &verifier{
		notes:      notes{genesis: g},
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
	return v.frame(lane, from, raw)
}

// frame reads one frame. An error is a fault of the peer.
func (v *verifier) frame(lane gossip.Lane, from tangle.Member, raw []byte) (*PeerFrame, error) {
	f, err := gossip.Parse(raw)
	if err != nil {
		return nil, err
	}
	p := &PeerFrame{From: from, Frame: f}
	if f.Messages == nil {
		return p, nil
	}
	if lane == gossip.LaneBulk && v.early(p) {
		f.Messages.Raw = nil
	}
	return p, v.messages(p)
}

// farBehind is how many commits a node is behind when it leaves out what comes too early, and earlyAfter how much younger
// than its last commit that is.
const (
	farBehind  = 30
	earlyAfter = 4 * time.Second
)

// note takes over how far the Core is.
func (v *verifier) note(st CoreStatus) {
	if st.Behind > farBehind {
		v.upTo.Store(int64(st.Time.Add(earlyAfter)))
	} else {
		v.upTo.Store(0)
	}
}

// early says whether a frame is what its sender pushes of its own, of a time that this node is far from. It would wait for
// its parents until there is no room for it, and would have to be fetched again; meanwhile verifying it takes the time, and
// keeping it the memory, that catching up needs, and the answers that do help would wait behind it. A message that is left
// out comes with its commit, or is asked for like any other that is missing. Answers are of all authors, as a rule: if one
// is taken for a push, it is asked for again.
func (v *verifier) early(p *PeerFrame) bool {
	upTo := tangle.Time(v.upTo.Load())
	if upTo == 0 || p.Frame.Messages.Upto > 0 {
		return false
	}
	for _, raw := range p.Frame.Messages.Raw {
		m, err := v.codec.ParseLeft(raw.Message)
		if err != nil || m.Header.Author != p.From || m.Header.Time <= upTo {
			return false
		}
	}
	return true
}

// messages parses and verifies the messages of a frame, all signatures in one batch. Copies of messages seen before are
// passed on, because the Core may have asked for them again, but not verified again.
func (v *verifier) messages(p *PeerFrame) error {
	list := make([]*tangle.Message, 0, len(p.Frame.Messages.Raw))
	p.Ops = make([][]Checked, len(p.Frame.Messages.Raw)) // nil for copies
	items := make([]zip215.Item, 0, cap(list))
	for _, raw := range p.Frame.Messages.Raw {
		m, err := v.codec.ParseLeft(raw.Message)
		if err != nil {
			return err
		}
		if !m.HasErased() && v.seen.has(m.ID, m.Signature) { // the proof of an erased one is new
			list = append(list, m)
			continue
		}
		validator, member := v.members[m.Header.Author]
		if m.Header.Epoch == epoch {
			if err := m.Validate(v.codec.Limits, member, validator, v.validators); err != nil {
				return err
			}
		}
		checks := v.check(m.Entries)
		if err := v.erased(m, checks, raw.Order); err != nil {
			return fmt.Errorf("message %s: %w", m.ID.Short(), err)
		}
		p.Ops[len(list)] = checks
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

// erased holds that what is left of a message's entries can stand for them.
func (v *verifier) erased(m *tangle.Message, checks []Checked, proof []byte) error {
	if v.stored {
		return nil
	}
	if err := v.notes.checkOrder(m, proof); err != nil {
		return err
	}
	for i, e := range m.Entries {
		if e.Erased() && e.Left.Code == "" && checks[i].Err != nil {
			return fmt.Errorf("erased entry %d: %w", i, checks[i].Err)
		}
	}
	return nil
}

// notes opens certified checkpoints and remembers the last one: a peer proves all messages of an answer under the same, and
// its signatures cost more than all else about a message. It is safe for concurrent use.
type notes struct {
	genesis *genesis.Genesis
	mu      sync.Mutex
	text    []byte
	opened  receipt.Checkpoint
}

func (n *notes) open(text []byte) (receipt.Checkpoint, error) {
	n.mu.Lock()
	same, cp := n.text != nil && bytes.Equal(n.text, text), n.opened
	n.mu.Unlock()
	if same {
		return cp, nil
	}
	cp, _, err := receipt.OpenNote(n.genesis, text)
	if err != nil {
		return cp, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.text, n.opened = bytes.Clone(text), cp
	return cp, nil
}

// CheckOrder holds the outcomes that a message gives its erased entries to the proof that comes with it. Nobody can judge an
// entry without its body, so the committee's word is needed for it; with it, what lasts of the entry does what the whole one did.
func CheckOrder(g *genesis.Genesis, m *tangle.Message, proof []byte) error {
	return (&notes{genesis: g}).checkOrder(m, proof)
}

func (n *notes) checkOrder(m *tangle.Message, proof []byte) error {
	switch {
	case !m.HasErased() && len(proof) > 0:
		return errors.New("a proof of order, and nothing is erased")
	case !m.HasErased():
		return nil
	}
	order, err := receipt.ParseOrder(proof)
	if err != nil {
		return err
	}
	cp, err := n.open(order.Note)
	if err != nil {
		return err
	}
	var rejected []bool // nil: it was never ordered
	if len(order.Leaf) == 0 {
		err = order.NeverUnder(cp, n.genesis.Consensus.Horizon(), m.Header.Time)
	} else if rejected, err = order.Under(cp, m.ID); err == nil && len(rejected) != len(m.Entries) {
		err = fmt.Errorf("%d outcomes, %d entries", len(rejected), len(m.Entries))
	}
	if err != nil {
		return err
	}
	for i, e := range m.Entries {
		switch {
		case !e.Erased():
		case (e.Left.Code == tangle.CodeNever) != (rejected == nil),
			rejected != nil && rejected[i] != (e.Left.Code != ""):
			return fmt.Errorf("erased entry %d has the outcome %q, which is not what is proved", i, e.Left.Code)
		}
	}
	return nil
}

// check runs the plugins' checks on the entries of a message.
func (v *verifier) check(entries []tangle.Entry) []Checked { return checkEntries(entries, v.owner) }

// checkAll runs the plugins' checks on entries that need no lasting part yet.
func (v *verifier) checkAll(entries []tangle.Entry) []Checked { return checkBodies(entries, v.owner) }

func (v *verifier) owner(k tangle.Kind) *plugins.Plugin { return v.owners[k] }

// checkEntries runs the checks of the plugins that own the entries of a message; nil: none owns the kind.
func checkEntries(entries []tangle.Entry, owner func(tangle.Kind) *plugins.Plugin) []Checked {
	out := checkBodies(entries, owner)
	for i, e := range entries {
		out[i] = checkLasting(owner(e.Kind), e, out[i])
	}
	return out
}

// checkBodies is checkEntries but for the lasting parts. Entries of one plugin that stand together are checked together.
func checkBodies(entries []tangle.Entry, owner func(tangle.Kind) *plugins.Plugin) []Checked {
	out := make([]Checked, 0, len(entries))
	for len(out) < len(entries) {
		from := len(out)
		to, p := from+1, owner(entries[from].KindLeft())
		if p == nil || p.CheckAll == nil || entries[from].Erased() {
			out = append(out, checkEntry(p, entries[from]))
			continue
		}
		for to < len(entries) && owner(entries[to].Kind) == p {
			to++
		}
		out = append(out, p.CheckAll(entries[from:to])...)
	}
	return out
}
