package sim

import (
	"slices"

	"weft/plugins"
	"weft/plugins/identity"
	"weft/plugins/identity/status"
)

// actOnStatus does something to a status list, anchors or spends.
func (x *wallets) actOnStatus(v plugins.View) {
	actor, key := x.actor(v)
	switch k := x.random.IntN(16); {
	case k < 3 || len(x.lists) == 0:
		x.createList(v, actor, key)
	case k < 11:
		x.setBits(v, actor, key)
	case k < 12:
		x.closeList(v, actor, key)
	case k < 13:
		commitment := status.Commit([status.SecretBytes]byte{}, []byte{byte(x.random.IntN(8))})
		x.send(identity.KindStatus, status.NewAnchor(x.header(actor), commitment), key)
	default:
		if x.chance(0.6) {
			x.secrets = append(x.secrets, [status.SecretBytes]byte(x.bytes(status.SecretBytes)))
		}
		x.send(identity.KindStatus, status.NewSpend(x.header(actor), draw(x, x.secrets)), key)
	}
}

func (x *wallets) createList(v plugins.View, actor, key string) {
	t := status.ListTerms{Purpose: status.Revocation, Size: status.MinSize << x.random.IntN(2), Home: draw(x, x.members).self}
	if x.chance(0.6) {
		t.Purpose = status.Suspension
	}
	for range x.random.IntN(3) {
		writer, _ := x.actor(v)
		t.Writers = append(t.Writers, writer)
	}
	x.lists = append(x.lists, x.send(identity.KindStatus, status.NewCreateList(x.header(actor), t), key))
}

// list draws a list, and mostly somebody who may change it instead of the given actor.
func (x *wallets) list(v plugins.View, actor, key string) (id, who, with string) {
	id = drawKnown(x, x.lists, func(id string) bool { _, err := status.ReadList(v, id); return err == nil })
	l, err := status.ReadList(v, id)
	if err != nil || x.chance(0.12) {
		return id, actor, key
	}
	who = draw(x, append(slices.Clone(l.Writers), l.Issuer, l.Issuer))
	return id, who, x.voice(v, who)
}

// setBits revokes, suspends and reinstates among few indexes, so that the same bit is fought for.
func (x *wallets) setBits(v plugins.View, actor, key string) {
	const few = 12
	id, actor, key := x.list(v, actor, key)
	var on, off []int
	for range 1 + x.random.IntN(4) {
		if index := x.random.IntN(few) * 1000; x.chance(0.7) {
			on = append(on, index)
		} else {
			off = append(off, index)
		}
	}
	if l, err := status.ReadList(v, id); err == nil && l.Purpose == status.Revocation && x.chance(0.8) {
		on, off = append(on, off...), nil
	}
	if x.chance(0.05) {
		on = append(on, status.MinSize+x.random.IntN(2)*status.MinSize)
	}
	off = slices.DeleteFunc(off, func(index int) bool { return slices.Contains(on, index) })
	x.send(identity.KindStatus, status.NewSet(x.header(actor), id, on, off), key)
}

func (x *wallets) closeList(v plugins.View, actor, key string) {
	id, actor, key := x.list(v, actor, key)
	x.send(identity.KindStatus, status.NewCloseList(x.header(actor), id), key)
}
