package node

import (
	"errors"
	"math"

	"weft/internal/store"
	"weft/tangle"
)

// Erase drops the body of a final entry from the store, in all messages that hold it: those that expired too. What lasts of it
// (tangle.Left) stays, and so does every proof. It is durable when Erase returns, and may be called again. ErrNotFinal: one of
// the messages may still be ordered; the others do not hold it any more if it is final in one of them.
func (l *Ledger) Erase(h tangle.Hash) error {
	l.erasing.Lock() // two entries may stand in one message
	defer l.erasing.Unlock()
	places, err := l.places(h, math.MaxInt)
	if err != nil {
		return err
	}
	var held []heldEntry
	final, waits := false, false
	for _, p := range places {
		settled, err := l.settled(p.id)
		if err != nil {
			return err
		}
		switch settled.Status {
		case StatusFinal:
			final = true
		case StatusExpired:
		default:
			waits = true
			continue
		}
		held = append(held, heldEntry{p, settled})
	}
	if !final {
		held = nil // it may be sealed anew
	}
	for _, e := range held {
		if err := l.dropBody(e); err != nil {
			return err
		}
	}
	switch {
	case waits:
		return ErrNotFinal
	case !final:
		return ErrUnknown
	}
	return nil
}

// heldEntry is an entry in one of the messages that hold it.
type heldEntry struct {
	entryPlace
	settled Settled
}

// countErased counts bodies whose bytes may still be in the store's files.
func (l *Ledger) countErased(b *store.Batch) error {
	var n uint64
	old, err := l.get(keyErased())
	if err == nil {
		r := record{b: old}
		n = r.u64()
		err = r.end()
	}
	if err == nil || errors.Is(err, ErrUnknown) {
		b.Set(keyErased(), store.U64(n+1))
		return nil
	}
	return err
}

func (l *Ledger) dropBody(e heldEntry) error {
	code := tangle.CodeNever
	if e.settled.Status == StatusFinal {
		code = e.settled.Codes[e.index]
	}
	m, err := l.storedMessage(e.id) // a reader may have left an older form of it in the cache
	if err != nil {
		return err
	}
	left, err := l.codec.Erase(m, e.index, code)
	if err != nil || left == m {
		return err
	}
	var b store.Batch
	b.Set(store.Key(store.PrefixMessage, left.ID[:]), left.Bytes())
	if err := l.countErased(&b); err != nil {
		return err
	}
	if err := l.store.Apply(&b, true); err != nil {
		return err
	}
	l.cache.replaceMessage(left)
	return nil
}
