package sim

import (
	"bytes"
	"encoding/base64"
	"io"
	"slices"
	"time"

	"weft/node"
	"weft/plugins/identity/did"
	"weft/plugins/streams/channel"
	"weft/tangle"
)

func newReader(b []byte) io.Reader { return bytes.NewReader(b) }
func encode(b []byte) string       { return base64.RawURLEncoding.EncodeToString(b) }
func nobody(*party) bool           { return false }

// govern is one operation of an admin: membership, keys, or how long an epoch goes on counting.
func (x *tools) govern(p *party) {
	a, key, ok := x.asAdmin(p)
	if !ok {
		return
	}
	h := x.headOf(a, p)
	switch k := x.random.IntN(10); {
	case k < 3:
		x.order(p, h.Nonce, channel.NewRekey(h, "scheduled", x.nextEpoch(a, key, nobody)))
	case k < 6:
		x.revoke(p, a, key, h)
	case k < 7 && x.chance(0.3):
		grace := draw(x.wallets, []int{0, 1, 2, 60})
		x.order(p, h.Nonce, channel.NewConfigure(h, channel.Settings{GraceSeconds: &grace}))
	default:
		x.authorize(p, a, key, h)
	}
}

// asAdmin is a node for an admin that waits for nothing and holds the key in force.
func (x *tools) asAdmin(p *party) (a at, key channel.Key, ok bool) {
	if a, ok = x.reach(); !ok || p.waits {
		return a, key, false
	}
	r := a.participant(p)
	if a.channel.Effective(&r, a.time)&channel.Admin == 0 {
		return a, key, false
	}
	key, ok = x.current(a, p)
	return a, key, ok
}

// nextEpoch is the epoch after the one in force, for all who may read but some.
func (x *tools) nextEpoch(a at, before channel.Key, without func(*party) bool, with ...*party) *channel.Epoch {
	var to []*party
	for _, p := range x.people {
		if (a.reads(p) || slices.Contains(with, p)) && !without(p) {
			to = append(to, p)
		}
	}
	chain := &before
	if x.history != channel.Full {
		chain = nil
	}
	return x.epoch(channel.Key(x.bytes(channel.KeySize)), a.head.Epoch+1, chain, to)
}

// revoke removes somebody and opens an epoch in the same operation, unless nobody needs one.
func (x *tools) revoke(p *party, a at, key channel.Key, h channel.Header) {
	victim := x.pick(a, func(r channel.Participant) bool { return r.State == channel.Active })
	if victim == nil || victim == x.owner && !x.chance(0.02) {
		return
	}
	names := []string{victim.did}
	if other := x.pick(a, func(r channel.Participant) bool { return r.State == channel.Active }); other != nil && other != victim && other != x.owner && x.chance(0.2) {
		names = append(names, other.did)
	}
	slices.Sort(names)
	gone := func(p *party) bool { return slices.Contains(names, p.did) }
	if e := x.nextEpoch(a, key, gone); !victim.sensor || len(names) > 1 || x.chance(0.2) {
		x.order(p, h.Nonce, channel.NewRevoke(h, names, "race", e))
	} else {
		x.order(p, h.Nonce, channel.NewRevoke(h, names, "race", nil))
	}
}

// pick draws a participant.
func (x *tools) pick(a at, fits func(channel.Participant) bool) *party {
	for range 6 {
		if p := draw(x.wallets, x.people); fits(a.participant(p)) {
			return p
		}
	}
	return nil
}

// authorize lets somebody in, often until a moment that comes soon, with the key in force or with an epoch.
func (x *tools) authorize(p *party, a at, key channel.Key, h channel.Header) {
	whom := x.pick(a, func(r channel.Participant) bool { return r.State != channel.Active || x.chance(0.2) })
	if whom == nil || whom == x.owner {
		return
	}
	g := x.grant(whom, channel.Read|channel.Order)
	switch {
	case whom == x.admin:
		g.Rights |= channel.Admin
	case whom.sensor:
		g.Rights = channel.Order
		if x.chance(0.3) {
			g.ValidFrom = x.soon() / 1000 * 1000
		}
	case x.chance(0.15):
		g.Rights = channel.Read
	}
	if x.chance(0.4) {
		g.ValidUntil = max(x.soon()/1000*1000+1000, g.ValidFrom+1000)
	}
	had := a.participant(whom)
	if x.history != channel.Full && !a.reads(whom) && g.Rights.Reads() || a.channel.Holds(&had).Reads() && !g.Rights.Reads() {
		with := []*party{whom}
		if !g.Rights.Reads() {
			with = nil
		}
		e := x.nextEpoch(a, key, func(q *party) bool { return with == nil && q == whom }, with...)
		x.order(p, h.Nonce, channel.NewAuthorize(h, []channel.Grant{g}, nil, e))
		return
	}
	var keys []channel.Keys
	if g.Rights.Reads() && x.chance(0.9) {
		keys = []channel.Keys{{Number: a.head.Epoch, Wraps: []channel.Wrap{x.wrap(key, a.head.Epoch, whom)}}}
	}
	x.order(p, h.Nonce, channel.NewAuthorize(h, []channel.Grant{g}, keys, nil))
}

// order sends an operation of an admin and waits for its outcome, whatever it is.
func (x *tools) order(p *party, nonce channel.Nonce, body did.Object) {
	p.waits = true
	entry := x.sendAs(p, body)
	var look func()
	look = func() {
		if a, ok := x.reach(); ok {
			_, found := channel.FindNonce(a, x.id, p.did, nonce)
			rec, err := a.ledger.Entry(entry)
			if p.waits = !found && (err != nil || rec.Settled.Codes == nil || rec.Settled.Codes[rec.Index] == ""); !p.waits {
				return
			}
		}
		x.later(look)
	}
	x.later(look)
}

// tidyUp is what the owner's client does when nothing else happens: it opens an epoch where a rekey is due, and sends keys
// that readers miss.
func (x *tools) tidyUp() {
	if x.closed {
		return
	}
	defer x.after(60*time.Millisecond, x.tidyUp)
	x.tidy = !x.created
	a, ok := x.reach()
	if !ok || uint64(a.ledger.Head().Position) != uint64(len(x.oracles.log)) {
		return
	}
	a, key, ok := x.asAdmin(x.owner)
	if !ok || uint64(a.ledger.Head().Position) != uint64(len(x.oracles.log)) {
		return
	}
	due, err := channel.RekeyDue(a, &a.channel, a.head, a.time)
	if err != nil {
		panic(err)
	}
	h := x.headOf(a, x.owner)
	if due {
		x.observed["rekey was due"]++
		x.order(x.owner, h.Nonce, channel.NewRekey(h, "due", x.nextEpoch(a, key, nobody)))
		return
	}
	if keys := x.missing(a); len(keys) > 0 {
		x.observed["keys were missing"]++
		x.order(x.owner, h.Nonce, channel.NewKeyload(h, keys))
		return
	}
	x.tidy = true
}

// missing are wraps that readers have a right to and do not find. With full history the newest is enough.
func (x *tools) missing(a at) (list []channel.Keys) {
	epochs := x.epochs(a, 1)
	own := channel.Walk(x.id, epochs, x.wrapped(a, x.owner, epochs)).Keys
	for _, e := range epochs {
		if x.history == channel.Full && e.Number != a.head.Epoch {
			continue
		}
		k := channel.Keys{Number: e.Number}
		for _, p := range x.people {
			r := a.participant(p)
			if a.channel.Opens(&r, a.head.Epoch, e.Number, a.time) && len(channel.WrapEvents(a, x.id, e.Number, p.did)) == 0 {
				k.Wraps = append(k.Wraps, x.wrap(own[e.Number], e.Number, p))
			}
		}
		if len(k.Wraps) > 0 {
			list = append(list, k)
		}
	}
	return list
}

func (x *tools) leave(p *party) {
	if a, ok := x.reachAs(p); ok && a.participant(p).State == channel.Active {
		x.sendAs(p, channel.NewLeave(x.headOf(a, p)))
	}
}

// attack is what no honest client does: a removed participant goes on writing with the keys it has, also through members
// that misbehave; old operations come again; epochs, heads and actors are made up.
func (x *tools) attack() {
	a, ok := x.reach()
	if !ok {
		return
	}
	p := draw(x.wallets, x.people)
	h := x.headOf(a, p)
	s := channel.Sealer{Epoch: p.heldEpoch, Key: &p.held}
	if p.heldEpoch == 0 {
		s.Epoch = 1
	}
	signer := p
	switch x.random.IntN(10) {
	case 0:
		s.Epoch = a.head.Epoch + 1
	case 1:
		h.After.Head[0] ^= 1
	case 2:
		signer = draw(x.wallets, x.people)
	case 3:
		if len(x.old) > 0 {
			x.carryAnywhere(draw(x.wallets, x.old))
		}
		return
	}
	data, err := channel.Sign(x.seal(s, h, "attack"), signer.key)
	if err != nil {
		panic(err)
	}
	x.attacks[string(data)] = true
	if x.chance(0.1) {
		data = append(data, ' ')
		x.oracles.channels.spoiled[string(data)] = "not_canonical"
	}
	x.carryAnywhere(data)
}

// carryAnywhere gives an operation to any member, one that misbehaves included.
func (x *tools) carryAnywhere(data []byte) {
	e := x.entry(channel.Kind, data)
	if i := x.instances[x.random.IntN(len(x.instances))]; !i.correct() {
		x.put(i, node.Input{Submit: &node.Submission{Entries: []tangle.Entry{e}}})
		return
	}
	x.submit(x.correctMember(), []tangle.Entry{e})
}
