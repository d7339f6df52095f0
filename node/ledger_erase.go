package node

import (
	"errors"

	"weft/internal/store"
	"weft/tangle"
)

// Erase drops the body of a final entry from the store, in all messages that hold it: first in those that expired, so that
// whoever is interrupted and asks again ends it. What lasts of it (tangle.Left) stays, and so does every proof. It is durable
// when Erase returns, and may be called again. ErrNotFinal: one of the messages may still be ordered.
func (l *Ledger) Erase(h tangle.Hash) error {
	l.erasing.Lock() // two entries may stand in one message
	defer l.erasing.Unlock()
	places, err := l.places(h)
	if err != nil {
		return err
	}
	var expired, final []heldEntry
	for _, p := range places {
		m, settled, err := l.Message(p.id)
		if err != nil {
			return err
		}
		switch held := (heldEntry{m, p.index, settled}); settled.Status {
		case StatusExpired:
			expired = append(expired, held)
		case StatusFinal:
			final = append(final, held)
		default:
			return ErrNotFinal
		}
	}
	if len(final) == 0 {
		return ErrUnknown
	}
	for _, held := range append(expired, final...) {
		if err := l.dropBody(held); err != nil {
			return err
		}
	}
	return nil
}

// heldEntry is an entry in one of the messages that hold it.
type heldEntry struct {
	message *tangle.Message
	index   int
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
	left, err := l.codec.Erase(e.message, e.index, code)
	if err != nil || left == e.message {
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
