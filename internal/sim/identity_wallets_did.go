package sim

import (
	"slices"

	"weft/plugins"
	"weft/plugins/identity"
	"weft/plugins/identity/did"
	"weft/tangle"
)

// change is what an operation says and who signs it.
type change struct {
	did.Content
	signers []string
}

// create makes a DID. Some have several keys, keys announced ahead, a recovery set, controllers.
func (x *wallets) create(v plugins.View) {
	n := 1 + x.random.IntN(3)
	c := change{Content: did.Content{Params: did.NewParams(x.newKeys(n)), Document: x.document(did.DID{}), NotAfter: x.deadline()}}
	c.Params.Threshold = 1 + x.random.IntN(n)
	if x.chance(0.3) {
		c.Params.UpdateKeys[0] = keyOf(x.people[0])
	}
	if x.chance(0.5) {
		c.Params.NextKeyHashes = x.newHashes(c.Params.Threshold + x.random.IntN(2))
	}
	if x.chance(0.7) {
		c.Recovery = x.recoverySet()
	}
	c.signers = some(x, c.Params.UpdateKeys, c.Params.Threshold)
	if len(x.dids) > 0 && x.chance(0.35) {
		x.nameControllers(v, &c, x.owners(v, did.DID{}))
		if x.chance(0.3) {
			c.Params.UpdateKeys, c.Params.NextKeyHashes, c.Params.Threshold = nil, nil, 0
		}
	}
	if x.chance(0.1) {
		c.signers = c.signers[1:]
	}
	body, d, err := did.Create(x.network, [did.NonceBytes]byte(x.bytes(did.NonceBytes)), c.Content)
	if err != nil {
		panic(err)
	}
	x.dids = append(x.dids, d)
	x.send(identity.KindDID, body, c.signers...)
}

// deadline is a notAfter: mostly none.
func (x *wallets) deadline() tangle.Time {
	if x.chance(0.08) {
		return x.soon()
	}
	return 0
}

func (x *wallets) recoverySet() *did.RecoverySet {
	n := 1 + x.random.IntN(3)
	return &did.RecoverySet{KeyHashes: x.newHashes(n), Threshold: 1 + x.random.IntN(n)}
}

// controllers are a few DIDs but the given one.
func (x *wallets) controllers(self did.DID) (names []string) {
	for range min(len(x.dids), 1+x.random.IntN(2)) {
		if d := draw(x, x.dids); d != self && !slices.Contains(names, d.String()) {
			names = append(names, d.String())
		}
	}
	return names
}

// owners are controllers of which some have the same update key, which must not count for two.
func (x *wallets) owners(v plugins.View, self did.DID) (names []string) {
	for _, d := range x.dids {
		if h := x.head(v, d.String()); d != self && len(names) < 2 && slices.Equal(h.UpdateKeys, []string{keyOf(x.people[0])}) {
			names = append(names, d.String())
		}
	}
	if len(names) == 2 && x.chance(0.3) {
		return names
	}
	return x.controllers(self)
}

// nameControllers puts controllers into a change, and mostly lets them sign.
func (x *wallets) nameControllers(v plugins.View, c *change, names []string) {
	c.Params.Controllers, c.Params.ControllerThreshold = names, 0
	if len(names) > 0 {
		c.Params.ControllerThreshold = 1 + x.random.IntN(len(names))
	}
	for _, name := range names {
		if x.chance(0.85) {
			c.signers = append(c.signers, x.updateKeys(v, name)...)
		}
	}
}

// updateKeys are as many of a DID's current update keys as it needs to sign for another.
func (x *wallets) updateKeys(v plugins.View, name string) []string {
	h := x.head(v, name)
	return some(x, h.UpdateKeys, h.Threshold)
}

// head is a head in a view; empty if the view has none.
func (x *wallets) head(v plugins.View, name string) did.Head {
	d, err := did.Parse(name)
	if err != nil {
		panic(err)
	}
	h, _, err := did.ReadHead(v, d)
	if err != nil {
		panic(err)
	}
	return h
}

// document has one key, which most of the time may act, and sometimes refers to another DID's.
func (x *wallets) document(self did.DID) did.Object {
	name := x.newKey()
	if x.chance(0.2) {
		name = keyOf(draw(x, x.people)) // it must not count for two
	}
	key := did.Object{"id": "#key-1", "type": "Multikey", "publicKeyMultibase": name}
	if x.chance(0.1) {
		key[draw(x, []string{"revoked", "expires"})] = did.FormatTime(x.soon())
	}
	doc := did.Object{"verificationMethod": []any{key}, "assertionMethod": []any{"#key-1"}, "capabilityInvocation": []any{"#key-1"}}
	switch x.random.IntN(16) {
	case 0:
		doc["assertionMethod"] = []any{}
	case 1:
		doc["capabilityInvocation"] = []any{}
	case 2:
		for _, other := range x.controllers(self) {
			doc["assertionMethod"] = []any{other + "#key-1", "#key-1"}
		}
	}
	return doc
}

// known draws a DID that the view has; ok is false if it drew none.
func (x *wallets) known(v plugins.View) (d did.DID, h did.Head, ok bool) {
	for range 5 {
		if d = draw(x, x.dids); x.chance(0.5) {
			d = x.dids[max(0, len(x.dids)-1-x.random.IntN(4))] // the young ones are raced for
		}
		if h = x.head(v, d.String()); h.Version > 0 && (!h.Deactivated || x.chance(0.1)) {
			return d, h, true
		}
	}
	return d, h, x.chance(0.1) // what nobody has created yet
}

// succeed draws what follows a head as its rules want it.
func (x *wallets) succeed(v plugins.View, d did.DID, h did.Head) change {
	c := change{Content: did.Content{Params: paramsOf(h), Document: x.document(d), NotAfter: x.deadline()}}
	c.signers = some(x, h.UpdateKeys, h.Threshold)
	switch {
	case len(h.NextKeyHashes) > 0:
		c.Params = c.Params.Rotated(x.revealed(h.NextKeyHashes), x.newHashes(x.random.IntN(2)*len(h.NextKeyHashes))...)
		c.signers = some(x, c.Params.UpdateKeys, h.Threshold)
	case len(h.UpdateKeys) > 0 && x.chance(0.3):
		c.Params = c.Params.Rotated(x.newKeys(len(h.UpdateKeys)), x.newHashes(x.random.IntN(2)*len(h.UpdateKeys))...)
	}
	if h.Recovery == nil && x.chance(0.3) {
		c.Recovery = x.recoverySet()
	}
	if len(h.UpdateKeys) == 0 || len(h.Controllers) > 0 && x.chance(0.4) {
		c.signers = x.controllersOf(v, h)
	}
	return c
}

func paramsOf(h did.Head) did.Params {
	return did.Params{
		UpdateKeys: h.UpdateKeys, Threshold: h.Threshold, NextKeyHashes: h.NextKeyHashes, TTL: did.DefaultTTL,
		Controllers: h.Controllers, ControllerThreshold: h.ControllerThreshold, Compromised: slices.Clone(h.Compromised),
	}
}

// controllersOf are the keys of as many controllers as must sign.
func (x *wallets) controllersOf(v plugins.View, h did.Head) (keys []string) {
	for _, c := range some(x, h.Controllers, h.ControllerThreshold) {
		keys = append(keys, x.updateKeys(v, c)...)
	}
	return keys
}

// blunder makes one mistake in a change.
func (x *wallets) blunder(h did.Head, c *change) {
	switch x.random.IntN(8) {
	case 0:
		c.signers = c.signers[:len(c.signers)/2]
	case 1:
		c.signers = x.newKeys(1)
	case 2:
		c.signers = h.UpdateKeys
	case 3, 7:
		if len(c.Params.UpdateKeys) > 0 {
			c.Params.UpdateKeys = x.newKeys(len(c.Params.UpdateKeys))
		}
	case 4:
		c.Params.Compromised = nil
	case 5:
		c.Recovery = x.recoverySet()
	case 6:
		c.signers = append(c.signers[:len(c.signers)/2:len(c.signers)/2], x.newKey())
	}
}

// update sends a change that follows a head, and returns the head that it would make.
func (x *wallets) update(d did.DID, h did.Head, c change) did.Head {
	h.OpHash = x.send(identity.KindDID, did.Update(x.network, d, h, c.Content), c.signers...)
	h.Version++
	p := c.Params
	h.UpdateKeys, h.Threshold, h.NextKeyHashes, h.Compromised = p.UpdateKeys, p.Threshold, p.NextKeyHashes, p.Compromised
	return h
}

// follow updates a DID.
func (x *wallets) follow(v plugins.View) {
	d, h, ok := x.known(v)
	if !ok {
		return
	}
	if h.Version == 0 {
		h = did.Head{Version: 1, OpHash: did.Multihash(nil), UpdateKeys: x.newKeys(1), Threshold: 1}
	}
	c := x.succeed(v, d, h)
	if len(h.UpdateKeys) > 0 && x.chance(0.1) {
		c.Params.Compromised = append(c.Params.Compromised, x.newKey())
	}
	if x.chance(0.3) {
		x.blunder(h, &c)
	}
	if x.chance(0.04) {
		h.Version++ // a number that nobody has reached
	}
	x.update(d, h, c)
}

// fork signs two updates on one head and sends them to two nodes: one wins, and the other is a conflict.
func (x *wallets) fork(v plugins.View) {
	if d, h, ok := x.known(v); ok && h.Version > 0 {
		x.update(d, h, x.succeed(v, d, h))
		x.update(d, h, x.succeed(v, d, h))
	}
}

// late signs on an older version: a conflict where its keys could, else nothing.
func (x *wallets) late(v plugins.View) {
	d, h, ok := x.known(v)
	if !ok || h.Version < 2 {
		return
	}
	n := 1 + x.random.IntN(h.Version-1)
	r, op, err := did.ReadOperation(v, d, n)
	if err != nil || op.Op == did.OpDeactivate {
		panic(err) // nothing follows a deactivation
	}
	p := op.Params
	h.Version, h.OpHash, h.UpdateKeys, h.Threshold, h.NextKeyHashes = n, r.OpHash, p.UpdateKeys, p.Threshold, p.NextKeyHashes
	h.Controllers, h.ControllerThreshold = p.Controllers, p.ControllerThreshold
	c := x.succeed(v, d, h)
	if x.chance(0.3) {
		x.blunder(h, &c)
	}
	x.update(d, h, c)
}

// race lets a thief of update keys run away from the owner, who recovers meanwhile.
func (x *wallets) race(v plugins.View) {
	d, h, ok := x.known(v)
	if !ok || h.Recovery == nil {
		return
	}
	thief, at := h, x.random.IntN(4)
	for k := range 4 {
		if k == at {
			x.recoverAs(v, d, h)
		}
		thief = x.update(d, thief, x.succeed(v, d, thief))
	}
}

// recover uses a recovery set: the current one, or one of the past.
func (x *wallets) recover(v plugins.View) {
	d, h, ok := x.known(v)
	if !ok || h.Recovery == nil {
		return
	}
	if x.chance(0.3) {
		r, err := did.ReadRecord(v, d, 1+x.random.IntN(h.Version))
		if err != nil {
			panic(err)
		}
		h.RecoverySetter = r.OpHash
	}
	x.recoverAs(v, d, h)
}

func (x *wallets) recoverAs(v plugins.View, d did.DID, h did.Head) {
	c := change{Content: did.Content{Params: did.NewParams(x.newKeys(1)), Document: x.document(d), Recovery: x.recoverySet(), NotAfter: x.deadline()}}
	c.signers = some(x, x.revealed(h.Recovery.KeyHashes), h.Recovery.Threshold)
	c.Params.Controllers, c.Params.ControllerThreshold = h.Controllers, h.ControllerThreshold
	c.Params.Compromised = without(h.Compromised, h.UpdateKeys)
	c.Params.Compromised = append(c.Params.Compromised, h.UpdateKeys...)
	switch x.random.IntN(10) {
	case 0:
		c.signers = c.signers[1:]
	case 1:
		c.Recovery.KeyHashes = append(c.Recovery.KeyHashes, h.Recovery.KeyHashes[0])
	case 2:
		x.nameControllers(v, &c, x.controllers(d))
	}
	body, err := did.Recover(x.network, d, h, c.Content)
	if err != nil {
		panic(err)
	}
	x.send(identity.KindDID, body, c.signers...)
}

// deactivate ends a DID, by its keys, its controllers or its recovery set.
func (x *wallets) deactivate(v plugins.View) {
	d, h, ok := x.known(v)
	if !ok || h.Version == 0 {
		return
	}
	body, c := did.Deactivate(x.network, d, h, x.deadline()), x.succeed(v, d, h)
	if h.Recovery != nil && x.chance(0.4) {
		body = did.DeactivateByRecovery(x.network, d, h, x.deadline())
		c.signers = some(x, x.revealed(h.Recovery.KeyHashes), h.Recovery.Threshold)
	}
	if x.chance(0.5) {
		x.blunder(h, &c)
	}
	x.send(identity.KindDID, body, c.signers...)
}

// transfer changes who controls a DID: old and new owner sign one update, or not all of them do.
func (x *wallets) transfer(v plugins.View) {
	d, h, ok := x.known(v)
	if !ok || h.Version == 0 {
		return
	}
	c := x.succeed(v, d, h)
	if len(h.Controllers) > 0 && x.chance(0.8) {
		c.signers = append(c.signers, x.controllersOf(v, h)...)
	}
	names := x.owners(v, d)
	if len(h.Controllers) > 0 && len(h.UpdateKeys) > 0 && x.chance(0.2) {
		names = nil
	}
	if len(names) == 0 && len(c.Params.UpdateKeys) == 0 {
		return
	}
	x.nameControllers(v, &c, names)
	x.update(d, h, c)
}

// intrude is a stranger's operation, on the head or on an older one: never a conflict.
func (x *wallets) intrude(v plugins.View) {
	d, h, ok := x.known(v)
	if !ok || h.Version == 0 {
		return
	}
	if h.Version > 1 && x.chance(0.4) {
		r, err := did.ReadRecord(v, d, h.Version-1)
		if err != nil {
			panic(err)
		}
		h.Version, h.OpHash = h.Version-1, r.OpHash
	}
	c := x.succeed(v, d, h)
	c.signers = x.newKeys(1)
	body := did.Update(x.network, d, h, c.Content)
	data, _ := x.sign(body, c.signers...)
	x.post(identity.KindDID, data)
}
