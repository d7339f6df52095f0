package status

import (
	"slices"
	"time"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/identity/operation"
	"weft/tangle"
)

// spendQuota is the name of our quota among those of package did.
const spendQuota = 's'

// Next decides an operation at its place in the order and returns what it writes. A rejection carries one of: expired,
// replayed, bad_value, not_entitled, unknown_list, list_closed, list_final, bad_index, already_exists, already_used,
// rate_limited. Any other error means damaged state.
func Next(v plugins.View, limits did.Limits, op *Operation, at did.Place) ([]did.Write, error) {
	if err := operation.CheckTime(v, op.Envelope, at.Time); err != nil {
		return nil, err
	}
	writes, err := op.next(v, limits, at)
	if err != nil {
		return nil, err
	}
	return operation.Remembered(v, op.Envelope, at.Time, writes), nil
}

func (op *Operation) next(v plugins.View, limits did.Limits, at did.Place) ([]did.Write, error) {
	if op.Op == Set || op.Op == CloseList {
		return op.change(v, at)
	}
	if err := operation.CheckSigned(v, op.Envelope, op.Actor, did.AssertionMethod, at.Time); err != nil {
		return nil, err
	}
	switch op.Op {
	case CreateList:
		return op.create(v, limits, at)
	case MakeAnchor:
		return op.anchor(v, at)
	}
	return op.spend(v, limits, at)
}

func (op *Operation) create(v plugins.View, limits did.Limits, at did.Place) ([]did.Write, error) {
	id := op.Envelope.Hash
	if len(ListsOf(v, op.Actor, limits.MaxStatusLists)) >= limits.MaxStatusLists {
		return nil, plugins.Reject("rate_limited", "%s has %d lists, the most there may be", op.Actor, limits.MaxStatusLists)
	}
	if v.Get([]byte(keyList+id)) != nil {
		return nil, plugins.Reject("already_exists", "list %s", id)
	}
	now := operation.Instant(at.Time)
	l := List{ID: id, Issuer: op.Actor, ListTerms: op.Create, Created: now, Changed: now, Position: at.Position}
	index := did.Write{Key: []byte(keyIssuer + op.Actor + "\x00" + id), Value: []byte{1}}
	return []did.Write{write(keyList+id, l), index}, nil
}

// change executes what only the issuer and the writers of a list may do.
func (op *Operation) change(v plugins.View, at did.Place) ([]did.Write, error) {
	l, err := ReadList(v, op.List)
	if err != nil {
		return nil, err
	}
	if op.Actor != l.Issuer && !slices.Contains(l.Writers, op.Actor) {
		return nil, plugins.Reject("not_entitled", "%s is neither issuer nor writer of %s", op.Actor, l.ID)
	}
	if err := operation.CheckSigned(v, op.Envelope, op.Actor, did.AssertionMethod, at.Time); err != nil {
		return nil, err
	}
	if l.Closed != nil {
		return nil, plugins.Reject("list_closed", "%s was closed at %s", l.ID, l.Closed)
	}
	if op.Op == CloseList {
		now := operation.Instant(at.Time)
		l.Closed, l.Position = &now, at.Position
		return []did.Write{write(keyList+l.ID, l)}, nil
	}
	return op.set(v, l, at)
}

// set writes nothing but a memory of the operation if no bit changes: setting a bit that is set is no fault.
func (op *Operation) set(v plugins.View, l *List, at did.Place) ([]did.Write, error) {
	if l.Purpose == Revocation && len(op.Off) > 0 {
		return nil, plugins.Reject("list_final", "%s is a revocation list: what is revoked stays revoked", l.ID)
	}
	for _, list := range [][]int{op.On, op.Off} {
		if len(list) > 0 {
			if err := l.checkIndex(list[len(list)-1]); err != nil {
				return nil, err
			}
		}
	}
	changed, err := op.changed(v, l)
	if err != nil || len(changed.indexes) == 0 {
		return nil, err
	}
	return l.advance(v, changed, at)
}

// bitChange is what an operation does to a list: the bits that it changes, and the chunks that hold them afterwards.
type bitChange struct {
	indexes []int   // ascending
	chunks  []chunk // ascending
}

type chunk struct {
	number int
	bits   []byte
	dirty  bool
}

func (op *Operation) changed(v plugins.View, l *List) (c bitChange, err error) {
	on := 0 // indexes of op.On that were seen
	for _, index := range merged(op.On, op.Off) {
		wanted := on < len(op.On) && op.On[on] == index
		if wanted {
			on++
		}
		if n := index / chunkBits; len(c.chunks) == 0 || c.chunks[len(c.chunks)-1].number != n {
			b, err := readChunk(v, l.ID, n)
			if err != nil {
				return c, err
			}
			c.chunks = append(c.chunks, chunk{number: n, bits: append(make([]byte, 0, chunkBytes), b...)[:chunkBytes]})
		}
		last := &c.chunks[len(c.chunks)-1]
		if isSet(last.bits, index%chunkBits) != wanted {
			flip(last.bits, index%chunkBits)
			last.dirty = true
			c.indexes = append(c.indexes, index)
		}
	}
	return c, nil
}

// advance makes the next version of a list.
func (l *List) advance(v plugins.View, c bitChange, at did.Place) ([]did.Write, error) {
	l.Version++
	l.Changed, l.Position = operation.Instant(at.Time), at.Position
	writes := []did.Write{
		write(keyList+l.ID, l),
		{Key: versionKey(l.ID, l.Version), Value: flips{at.Time, c.indexes}.bytes()},
	}
	for _, chunk := range c.chunks {
		if chunk.dirty {
			writes = append(writes, did.Write{Key: chunkKey(l.ID, chunk.number), Value: chunk.bits})
		}
	}
	if l.Version%SnapshotEvery != 0 {
		return writes, nil
	}
	all, err := l.bits(v)
	if err != nil {
		return nil, err
	}
	for _, chunk := range c.chunks {
		copy(all[chunk.number*chunkBytes:], chunk.bits)
	}
	return append(writes, did.Write{Key: snapshotKey(l.ID, l.Version), Value: all}), nil
}

// anchor keeps the first anchor of a commitment: a later one could prove less.
func (op *Operation) anchor(v plugins.View, at did.Place) ([]did.Write, error) {
	if first, found, err := ReadAnchor(v, op.Commitment); err != nil {
		return nil, err
	} else if found {
		return nil, plugins.Reject("already_exists", "anchored at %s", first.Time)
	}
	return []did.Write{write(keyAnchor+op.Commitment, op.event(at))}, nil
}

// spend may be signed by anybody who knows the secret, under a key made for it, so that what bounds it is the carrying
// member's quota.
func (op *Operation) spend(v plugins.View, limits did.Limits, at did.Place) ([]did.Write, error) {
	if first, found, err := ReadSpend(v, op.Nullifier); err != nil {
		return nil, err
	} else if found {
		return nil, plugins.Reject("already_used", "spent at %s", first.Time)
	}
	quota := did.Quota{Name: spendQuota, Window: time.Minute, Max: limits.MaxSpendsPerMinute}
	counted, err := quota.Count(v, at.By[:], at.Time)
	if err != nil {
		return nil, err
	}
	return []did.Write{write(keyNullifier+op.Nullifier, op.event(at)), counted}, nil
}

func (op *Operation) event(at did.Place) Event {
	return Event{operation.Instant(at.Time), at.Position, op.Envelope.Hash, op.Actor}
}

// Anchor returns the commit time of the first anchor of a commitment.
func Anchor(v plugins.View, commitment string) (tangle.Time, bool) {
	e, found, err := ReadAnchor(v, commitment)
	return tangle.Time(e.Time), found && err == nil
}
