package channel

import (
	"fmt"
	"slices"

	"weft/plugins/identity/did"
	"weft/tangle"
)

// Records whose operation is gone: erased, or past the channel's retention. Of them a bundle has what lasts of the entry, the
// receipt of the entry's hash, and why they are gone; a record that nothing has made go is refused.

// applyGone replays a record of which only what lasts is left. Rights are not judged: the receipt says that they were.
func (v *verifier) applyGone(g gone, at did.Place) error {
	if left := (tangle.Left{Kind: Kind, Lasting: g.Lasting, Rest: g.Rest}); left.Hash() != at.Entry {
		return faulty("changed", "this is not what lasts of the entry")
	}
	op, err := Restore(g.Lasting)
	if err != nil {
		return err
	}
	if op.Channel != v.manifest.Channel {
		return faulty("malformed", "the record is of another channel")
	}
	writes, err := Next(v.state, v.identity, op, at)
	if err != nil {
		return err
	}
	v.state.put(writes)
	_, head, err := ReadChannel(v.state, op.Channel)
	if err != nil {
		return err
	}
	e, err := ReadEvent(v.state, op.Channel, head.Event)
	v.gone = append(v.gone, e)
	v.found.Gone++
	return err
}

// later is what happened behind the last event of a bundle to records up to it.
type later struct {
	erased map[uint64]bool // seqs
	kept   []keeping
}

// keeping is how long the channel kept records until a time.
type keeping struct {
	channel Channel
	until   tangle.Time
}

// checkGone holds that every record that is gone had to go: an operation erased it, or the replay or the time of a checkpoint
// says that its retention has passed.
func (v *verifier) checkGone() error {
	after, err := v.readLater()
	if err != nil {
		return err
	}
	for _, g := range v.gone {
		e, err := ReadEvent(v.state, v.manifest.Channel, g.Number)
		switch {
		case err != nil:
			return err
		case e.Cleared && e.ErasedBy != 0 || e.Blob == nil && after.erased[g.Seq]:
			v.found.Erased++
		case e.Cleared: // by a later operation, as retention asked then
			if v.cleared(g.Number) > v.found.Covered { // the time of that one has no signature behind it
				v.found.ByTime++
			}
		case after.past(e):
			v.found.ByTime++
		default:
			return faulty("not_gone", "record %d has no operation, and nothing here erases it or says that its retention has passed", g.Seq)
		}
	}
	if n := v.found.Gone; n > 0 {
		v.said[CheckReplay] = fmt.Sprintf("%d records are gone: %d erased, %d past retention, of these %d by times that no later signature bears out",
			n, v.found.Erased, n-v.found.Erased, v.found.ByTime)
	}
	return nil
}

// cleared is the event at which retention has cleared one.
func (v *verifier) cleared(number uint64) uint64 {
	event, _ := slices.BinarySearchFunc(v.swept, number, func(swept, n uint64) int {
		if swept <= n {
			return -1
		}
		return 1
	})
	return uint64(event)
}

// past says whether the retention of a record has passed.
func (l later) past(e Event) bool {
	return slices.ContainsFunc(l.kept, func(k keeping) bool { return k.channel.PastRetention(e, k.until) })
}

// readLater reads the operations behind the last event. The ledger has accepted them; who signed them is checked, and their
// rights are not judged again.
func (v *verifier) readLater() (l later, err error) {
	l.erased = map[uint64]bool{}
	c, head, err := ReadChannel(v.state, v.manifest.Channel)
	if err != nil {
		return l, err
	}
	file, err := v.lines(FileLater)
	if err != nil {
		return l, err
	}
	defer file.close()
	for n := 0; ; n++ {
		var line entryLine
		more, err := file.next(&line)
		if err != nil {
			return l, err
		}
		if !more {
			break
		}
		if n >= MaxBundleEvents {
			return l, faulty("too_large", "more than %d operations behind the last event", MaxBundleEvents)
		}
		op, at, err := v.laterOperation(line)
		if err != nil {
			return l, fmt.Errorf("operation %d behind the last event: %w", n, err)
		}
		if op.After.Event <= head.Event {
			e, err := ReadEvent(v.state, op.Channel, op.After.Event)
			if err != nil || e.Head != op.After.Head {
				return l, faulty("bad_after", "operation %d behind the last event has seen another head at event %d", n, op.After.Event)
			}
			v.found.Covered = max(v.found.Covered, op.After.Event)
		}
		if op.Op == Erase {
			l.erased[op.Seq] = c.Profile != AuditProfile // which erases payloads alone
			continue
		}
		l.kept = append(l.kept, keeping{c, at.Time})
		c.RetentionDays = *op.Settings.RetentionDays
	}
	if n := len(v.notes); n > 0 {
		l.kept = append(l.kept, keeping{c, v.notes[n-1].time})
	}
	return l, nil
}

func (v *verifier) laterOperation(line entryLine) (*Operation, did.Place, error) {
	at, err := line.place.place()
	switch {
	case err != nil:
		return nil, at, err
	case !before(v.last, at) || at.Time < v.last.Time:
		return nil, at, faulty("order", "it does not follow the one before")
	}
	v.last = at
	if err := v.checkReceipt(line.Receipt, at, line.Operation, Kind); err != nil {
		return nil, at, err
	}
	op, err := Decode(v.manifest.Network, line.Operation)
	switch {
	case err != nil:
		return nil, at, err
	case op.Channel != v.manifest.Channel || op.Op != Erase && (op.Op != Configure || op.Settings.RetentionDays == nil):
		return nil, at, faulty("malformed", "it is neither an erasure nor a retention of this channel")
	}
	return op, at, nil
}
