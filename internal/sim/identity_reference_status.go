package sim

import (
	"encoding/base64"
	"slices"

	"weft/plugins/identity/did"
	"weft/tangle"
)

// statusList is the reference's status list.
type statusList struct {
	*signed
	on       map[int]bool
	versions uint32
	closed   bool
	created  tangle.Time
	changed  tangle.Time
	position tangle.Position
}

// status is an operation of a status list, an anchor or a spend.
func (m *identities) status(op *signed, at did.Place) string {
	if op.Op == "set" || op.Op == "close" {
		return m.changeList(op, at)
	}
	if !m.speaks(op.Actor, "assertionMethod", op.signers) {
		return "not_entitled"
	}
	switch op.Op {
	case "create":
		return m.createList(op, at)
	case "anchor":
		return occupy(m.anchored, op.Commitment, "already_exists", singular{at, op.hash, op.Actor})
	}
	secret, _ := base64.RawURLEncoding.DecodeString(op.Secret)
	nullifier := did.Multihash(secret)
	if _, used := m.spent[nullifier]; !used && m.spends(at) >= m.limits.MaxSpendsPerMinute {
		return "rate_limited"
	}
	return occupy(m.spent, nullifier, "already_used", singular{at, op.hash, op.Actor})
}

// occupy lets the first one win.
func occupy(events map[string]singular, name, taken string, e singular) string {
	if _, ok := events[name]; ok {
		return taken
	}
	events[name] = e
	return ""
}

// spends counts what a member has carried in this minute.
func (m *identities) spends(at did.Place) (n int) {
	for _, e := range m.spent {
		if e.By == at.By && e.Time/60_000 == at.Time/60_000 {
			n++
		}
	}
	return n
}

func (m *identities) createList(op *signed, at did.Place) string {
	n := 0
	for _, l := range m.lists {
		if l.Actor == op.Actor {
			n++
		}
	}
	if n >= m.limits.MaxStatusLists {
		return "rate_limited"
	}
	m.lists[op.hash] = &statusList{signed: op, on: map[int]bool{}, created: at.Time, changed: at.Time, position: at.Position}
	return ""
}

func (m *identities) changeList(op *signed, at did.Place) string {
	l := m.lists[op.List]
	switch {
	case l == nil:
		return "unknown_list"
	case op.Actor != l.Actor && !slices.Contains(l.Writers, op.Actor), !m.speaks(op.Actor, "assertionMethod", op.signers):
		return "not_entitled"
	case l.closed:
		return "list_closed"
	case op.Op == "close":
		l.closed, l.position = true, at.Position
		return ""
	case l.Purpose == "revocation" && len(op.Off) > 0:
		return "list_final"
	case slices.ContainsFunc(slices.Concat(op.On, op.Off), func(index int) bool { return index >= l.Size }):
		return "bad_index"
	}
	before := len(l.on)
	changed := false
	for _, index := range op.On {
		l.on[index] = true
	}
	changed = len(l.on) != before
	for _, index := range op.Off {
		changed = changed || l.on[index]
		delete(l.on, index)
	}
	if changed {
		l.versions++
		l.changed, l.position = at.Time, at.Position
	}
	return ""
}
