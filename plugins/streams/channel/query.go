package channel

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"weft/plugins"
	"weft/tangle"
)

// ReadChannel returns a channel's settings and where it has come to, or rejects with unknown_channel.
func ReadChannel(v plugins.View, id ID) (c Channel, h Head, err error) {
	b := v.Get(key(prefixChannel, id))
	if b == nil {
		return c, h, reject("unknown_channel", "%s", id)
	}
	if c, err = parseChannel(b); err != nil {
		return c, h, err
	}
	h, err = parseHead(v.Get(key(prefixHead, id)))
	return c, h, err
}

// ReadHead returns where a channel that is known to be there has come to. An error means damaged state.
func ReadHead(v plugins.View, id ID) (Head, error) { return parseHead(v.Get(key(prefixHead, id))) }

// Channels visits all channels in the order of their ids, from the first that is not before from.
func Channels(v plugins.View, from ID, visit func(Channel) bool) error {
	var fault error
	v.Scan(key(prefixChannel, from), []byte{prefixChannel + 1}, func(_, value []byte) bool {
		c, err := parseChannel(value)
		if fault = err; err != nil {
			return false
		}
		return visit(c)
	})
	return fault
}

// ChannelsOf visits the ids of channels that a DID takes or took part in, asked for, or sees, from the first that is not
// before from.
func ChannelsOf(v plugins.View, did string, from ID, visit func(ID) bool) {
	prefix := append([]byte{prefixMembership}, hashOf(did)...)
	v.Scan(append(slices.Clone(prefix), from[:]...), after(prefix), func(k, _ []byte) bool {
		return visit(ID(k[len(prefix):]))
	})
}

// FindName returns the channel of an owner by its name.
func FindName(v plugins.View, owner, name string) (id ID, found bool) {
	b := v.Get(nameKey(owner, name))
	return ID(append(slices.Clone(b), make([]byte, 32)...)[:32]), b != nil
}

// PastRetention says whether a record is older at t than the channel keeps it.
func (c *Channel) PastRetention(e Event, t tangle.Time) bool {
	return e.IsRecord() && c.RetentionDays > 0 && t.Sub(e.Time) > time.Duration(c.RetentionDays)*day
}

// ReadParticipant returns a participant, and whether the DID ever was one or asked to be.
func ReadParticipant(v plugins.View, id ID, did string) (p Participant, found bool, err error) {
	return parseParticipant(v.Get(participantKey(id, HashDID(did))))
}

// ActorOf is the DID of who made an event; "" if it is cleared. Records name their author by its hash, which is that of a
// participant.
func ActorOf(v plugins.View, id ID, e Event) (string, error) {
	if !e.IsRecord() || e.Author == (DIDHash{}) {
		return e.Actor, nil
	}
	r := scanner{b: v.Get(participantKey(id, e.Author))}
	if name := r.text(); !r.short {
		return name, nil
	}
	return "", fmt.Errorf("channel: the author of event %d of %s is no participant", e.Number, id)
}

// Participants visits the subscriptions of a channel in the order of their keys. from is the key to go on at: "" is the
// first; visit is told the key.
func Participants(v plugins.View, id ID, from string, visit func(key string, p Participant) bool) error {
	prefix := key(prefixParticipant, id)
	var fault error
	v.Scan(append(slices.Clone(prefix), from...), after(prefix), func(k, value []byte) bool {
		p, _, err := parseParticipant(value)
		if fault = err; err != nil {
			return false
		}
		return visit(string(k[len(prefix):]), p)
	})
	return fault
}

// Admins are DIDs with the right to administer at t, at most limit.
func Admins(v plugins.View, c *Channel, t tangle.Time, limit int) (list []string, err error) {
	err = Participants(v, c.ID, "", func(_ string, p Participant) bool {
		if c.Effective(&p, t).Has(Admin) {
			list = append(list, p.DID)
		}
		return len(list) < limit
	})
	return list, err
}

// Events visits events from a number on.
func Events(v plugins.View, id ID, from uint64, visit func(Event) bool) error {
	prefix := key(prefixEvent, id)
	var fault error
	v.Scan(eventKey(id, from), after(prefix), func(k, value []byte) bool {
		e, err := parseEvent(binary.BigEndian.Uint64(k[len(prefix):]), value)
		if fault = err; err != nil {
			return false
		}
		return visit(e)
	})
	return fault
}

// Records visits the events of records from a seq on.
func Records(v plugins.View, id ID, from uint64, visit func(Event) bool) error {
	block, skip := blockOf(max(from, 1))
	var fault error
	v.Scan(blockKey(id, block), after(key(prefixSeq, id)), func(_, value []byte) bool {
		for at := 8 * skip; at+8 <= len(value); at += 8 {
			e, err := ReadEvent(v, id, binary.BigEndian.Uint64(value[at:]))
			if fault = err; err != nil || !visit(e) {
				return false
			}
		}
		skip = 0
		return true
	})
	return fault
}

// SupersededBy returns the seqs of records that supersede one, ascending, at most limit.
func SupersededBy(v plugins.View, id ID, seq uint64, limit int) (list []uint64) {
	prefix := key(prefixSuperseded, id, be64(seq))
	v.Scan(prefix, after(prefix), func(k, _ []byte) bool {
		list = append(list, binary.BigEndian.Uint64(k[len(prefix):]))
		return len(list) < limit
	})
	return list
}

// ReadTombstone says who erased a record, and whether somebody did.
func ReadTombstone(v plugins.View, id ID, seq uint64) (t Tombstone, found bool, err error) {
	found, err = readJSON(v.Get(key(prefixTombstone, id, be64(seq))), &t)
	return t, found, err
}

// FindNonce returns the event that an actor's nonce made, and whether it made one: what became of an operation.
func FindNonce(v plugins.View, id ID, actor string, nonce Nonce) (event uint64, found bool) {
	b := v.Get(nonceKey(id, HashDID(actor), nonce))
	if len(b) != 8 {
		return 0, false
	}
	return binary.BigEndian.Uint64(b), true
}

// FindBlob returns the record that a blob belongs to, and whether it belongs to one.
func FindBlob(v plugins.View, id ID, root tangle.Hash) (seq uint64, found bool) {
	b := v.Get(key(prefixBlob, id, root[:]))
	if len(b) != 8 {
		return 0, false
	}
	return binary.BigEndian.Uint64(b), true
}

// Epochs returns the epochs of a channel from a number on, at most limit.
func Epochs(v plugins.View, id ID, from uint32, limit int) (list []OpenedEpoch, err error) {
	prefix := key(prefixEpoch, id)
	v.Scan(epochKey(id, from), after(prefix), func(k, value []byte) bool {
		if len(list) == limit {
			return false
		}
		var e OpenedEpoch
		e, err = parseEpoch(binary.BigEndian.Uint32(k[len(prefix):]), value)
		list = append(list, e)
		return err == nil
	})
	return list, err
}

// WrapEvents returns the events whose operations have wraps of an epoch to a DID, oldest first. Number 0 is the epoch of a
// hidden channel's profile.
func WrapEvents(v plugins.View, id ID, number uint32, did string) (events []uint64) {
	b := v.Get(wrapKey(id, number, did))
	for ; len(b) >= 8; b = b[8:] {
		events = append(events, binary.BigEndian.Uint64(b))
	}
	return events
}

// WrapsTo are the wraps of an epoch in an operation that go to a DID.
func (op *Operation) WrapsTo(number uint32, did string) (list []Wrap) {
	op.wraps(func(n uint32, w Wrap) {
		if n == number && w.DID() == did {
			list = append(list, w)
		}
	})
	return list
}

// KeyMissing says whether a participant may read at t and has no wrap of the current epoch.
func KeyMissing(v plugins.View, c *Channel, h Head, p *Participant, t tangle.Time) bool {
	return h.Epoch > 0 && c.Effective(p, t).Reads() && v.Get(wrapKey(c.ID, h.Epoch, p.DID)) == nil
}

// RekeyDue says whether some DID has a wrap of the current epoch and no right to read at t: expired, gone, or raced. Its
// cost grows with the number of wraps until it finds one.
func RekeyDue(v plugins.View, c *Channel, h Head, t tangle.Time) (due bool, err error) {
	if h.Epoch == 0 {
		return false, nil
	}
	prefix := key(prefixWrap, c.ID, be32(h.Epoch))
	v.Scan(prefix, after(prefix), func(k, _ []byte) bool {
		p, found, fault := parseParticipant(v.Get(key(prefixParticipant, c.ID, k[len(prefix):])))
		if err = fault; err != nil {
			return false
		}
		due = !found || !c.Effective(&p, t).Reads()
		return !due
	})
	return due, err
}

// Locked says whether the channel takes no records at t.
func (h Head) Locked(t tangle.Time) bool { return h.LockForever || t < h.LockUntil }

// Sees says whether an honest node serves an event of a private channel to a participant: to a reader by history and until
// its grant ends, to others what they made themselves.
func (c *Channel) Sees(h Head, p *Participant, e Event) bool {
	if p == nil || p.State != Active {
		return false
	}
	rights := c.Holds(p)
	switch {
	case !rights.Reads():
		return e.IsOf(p.DID)
	case p.Grant.ValidUntil != 0 && e.Time >= p.Grant.ValidUntil:
		return false
	case !e.IsRecord() || rights&Audit != 0 || c.History == Full:
		return true
	case c.History == None:
		return e.Epoch == h.Epoch && e.Epoch >= p.Joined
	}
	return e.Epoch >= p.Joined
}

// after is the first key behind all that begin with prefix.
func after(prefix []byte) []byte {
	b := slices.Clone(prefix)
	for i := len(b) - 1; i >= 0; i-- {
		if b[i]++; b[i] != 0 {
			return b[:i+1]
		}
	}
	return nil
}
