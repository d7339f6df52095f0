package channel

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"weft/plugins"
	"weft/plugins/identity/did"
)

func isRejection(err error) bool { return plugins.Rejected(err) != nil }

func (j *judge) write() error {
	if err := j.need(Order); err != nil {
		return err
	}
	r := j.op.Record
	if err := j.checkTag(r.Tag); err != nil {
		return err
	}
	if g := j.actor.Grant; g.MaxRecords > 0 && j.actor.Records >= g.MaxRecords {
		return reject("record_limit", "%d records, the most that the grant allows", g.MaxRecords)
	}
	if j.head.LockForever || j.at.Time < j.head.LockUntil {
		return reject("locked", "the channel takes no records")
	}
	if err := j.checkSealing(r); err != nil {
		return err
	}
	if err := j.checkSuperseded(r); err != nil {
		return err
	}
	if r.Body != nil && r.Body.Blob != nil && j.get(key(prefixBlob, j.op.Channel, r.Body.Blob.Root[:])) != nil {
		return reject("blob_taken", "the blob belongs to another record")
	}
	j.countRecord()
	j.record(r)
	return nil
}

// restored executes what is left of a write. Members have certified that it was accepted here, so that nothing is judged.
func (j *judge) restored() ([]did.Write, error) {
	found, err := j.load()
	switch {
	case err != nil:
		return nil, err
	case !found || j.actor == nil:
		return nil, fmt.Errorf("channel: a record of %s was accepted whose author is no participant", j.op.Channel)
	}
	j.begin()
	j.countRecord()
	j.record(j.op.Record)
	j.spend()
	return j.finish()
}

// countRecord counts a record of the actor under its grant.
func (j *judge) countRecord() {
	j.actor.Records++
	j.set(participantKey(j.op.Channel, j.op.Author), j.actor.bytes()) // that it takes part is known
}

// checkTag holds that one source of the right to write covers the tag, and that the channel has it.
func (j *judge) checkTag(tag string) error {
	switch {
	case !j.channel.MayWrite(*j.actor.Grant, tag):
		return reject("tag_not_allowed", "%s may not write tag %q", j.op.Actor, tag)
	case tag != "" && !slices.Contains(j.channel.Tags, tag):
		return reject("tag_unknown", "the channel has no tag %q", tag)
	}
	return nil
}

// checkSealing judges body and epoch by what the channel is.
func (j *judge) checkSealing(r Record) error {
	if j.channel.Access == Public {
		if r.Epoch != 0 {
			return reject("sealed_in_public", "nothing is sealed in a public channel")
		}
		return r.checkStored(0)
	}
	switch {
	case r.PublicBytes > MaxPublicPrivate:
		return reject("bad_value", "public has %d bytes, at most %d are possible in a private channel", r.PublicBytes, MaxPublicPrivate)
	case r.Body == nil:
		return nil
	case r.Epoch == 0:
		return reject("bad_value", "a body without an epoch in a private channel")
	case r.Epoch > j.head.Epoch:
		return reject("epoch_unknown", "the current epoch is %d", j.head.Epoch)
	case r.Epoch != j.head.Epoch && !j.inFlight(r):
		return reject("epoch_closed", "the current epoch is %d", j.head.Epoch)
	}
	return r.checkStored(tagBytes)
}

// inFlight says whether a record was sealed under the epoch before without knowing of the new one, in time.
func (j *judge) inFlight(r Record) bool {
	return r.Epoch == j.head.Epoch-1 && j.op.After.Event < j.head.EpochEvent && j.at.Time < j.head.GraceUntil
}

// checkStored holds that a blob is as long as padded plaintext in chunks, each with so many bytes more.
func (r Record) checkStored(overhead int64) error {
	if r.Body == nil || r.Body.Blob == nil {
		return nil
	}
	b := r.Body.Blob
	last := b.Size - int64(b.Chunks-1)*ChunkBytes
	if plain := b.Size - int64(b.Chunks)*overhead; plain%padding != 0 || last <= overhead {
		return reject("bad_value", "a blob of %d bytes is not made of whole steps of %d", b.Size, padding)
	}
	return nil
}

// checkSuperseded holds that what is corrected is there, and that its tag may be written.
func (j *judge) checkSuperseded(r Record) error {
	if r.Supersedes == 0 {
		return nil
	}
	e, found, err := ReadRecord(&j.draft, j.op.Channel, r.Supersedes)
	switch {
	case err != nil:
		return err
	case !found || e.Cleared:
		return reject("unknown_record", "record %d", r.Supersedes)
	}
	if !j.channel.MayWrite(*j.actor.Grant, e.Tag) {
		return reject("tag_not_allowed", "%s may not write tag %q of record %d", j.op.Actor, e.Tag, r.Supersedes)
	}
	return nil
}

// record makes the event a record.
func (j *judge) record(r Record) {
	id, h, e := j.op.Channel, &j.head, &j.event
	h.Seq++
	h.RecordTime = j.at.Time
	e.Seq, e.ContentHash, e.Tag, e.Supersedes = h.Seq, r.ContentHash, r.Tag, r.Supersedes
	if r.Epoch != 0 {
		e.Sealed, e.Epoch = true, r.Epoch
	}
	if r.Epoch == 0 || r.Epoch == h.Epoch {
		h.EpochRecords++
	}
	block, _ := blockOf(h.Seq)
	j.set(blockKey(id, block), slices.Concat(j.get(blockKey(id, block)), be64(e.Number)))
	if r.Supersedes != 0 {
		j.set(key(prefixSuperseded, id, be64(r.Supersedes), be64(h.Seq)), []byte{1})
	}
	if r.Body == nil {
		return
	}
	if e.Inline = r.Body.Blob == nil; !e.Inline {
		e.Blob = r.Body.Blob
		j.set(key(prefixBlob, id, e.Blob.Root[:]), be64(h.Seq))
	}
}

func (j *judge) erase() error {
	e, found, err := ReadRecord(&j.draft, j.op.Channel, j.op.Seq)
	if err != nil {
		return err
	}
	if !found {
		return reject("unknown_record", "record %d", j.op.Seq)
	}
	if e.Author != j.op.Author {
		if err := j.need(Admin); err != nil {
			return err
		}
	}
	switch {
	case e.ErasedBy != 0 || e.Cleared:
		return reject("wrong_state", "record %d is erased already", j.op.Seq)
	case j.channel.Profile == AuditProfile && e.Blob == nil:
		return reject("profile_rule", "only detached payloads of an audit channel can be erased")
	}
	j.event.Seq = j.op.Seq
	e.ErasedBy = j.event.Number
	if e.Blob == nil {
		e.clear()
	}
	j.set(eventKey(j.op.Channel, e.Number), e.bytes())
	j.set(key(prefixTombstone, j.op.Channel, be64(j.op.Seq)), toJSON(Tombstone{j.event.Number, j.op.Actor, j.op.Reason, j.at.Time}))
	return nil
}

// clear drops who wrote the record, when, and its tag: its entry's body is going.
func (e *Event) clear() { e.Author, e.Created, e.Tag, e.Cleared = DIDHash{}, 0, "", true }

// retain clears records that are older than the channel keeps them, at most MaxCleared events in one step.
func (j *judge) retain() error {
	if j.channel.RetentionDays == 0 {
		return nil
	}
	keep := time.Duration(j.channel.RetentionDays) * day
	for range MaxCleared {
		if j.head.Cleared >= j.event.Number {
			return nil
		}
		e, err := ReadEvent(&j.draft, j.op.Channel, j.head.Cleared)
		switch {
		case err != nil:
			return err
		case j.at.Time.Sub(e.Time) <= keep:
			return nil
		}
		if e.IsRecord() && !e.Cleared {
			e.clear()
			j.set(eventKey(j.op.Channel, e.Number), e.bytes())
		}
		j.head.Cleared++
	}
	return nil
}

// ReadEvent returns an event whose number is known to be there. An error means damaged state.
func ReadEvent(v plugins.View, id ID, number uint64) (Event, error) {
	b := v.Get(eventKey(id, number))
	if b == nil {
		return Event{}, fmt.Errorf("channel: event %d of %s is missing", number, id)
	}
	return parseEvent(number, b)
}

// ReadRecord returns the event of a record, and whether there is such a record.
func ReadRecord(v plugins.View, id ID, seq uint64) (e Event, found bool, err error) {
	block, at := blockOf(seq)
	b := v.Get(blockKey(id, block))
	if seq == 0 || len(b) < 8*(at+1) {
		return e, false, nil
	}
	e, err = ReadEvent(v, id, binary.BigEndian.Uint64(b[8*at:]))
	return e, err == nil, err
}

// skew is the difference between commit time and claim over which reads show it.
const skew = 5 * time.Minute

// SkewSeconds is how far the author's clock was off: 0 up to 5 minutes, positive if the claim lies before the commit time.
func (e Event) SkewSeconds() int64 {
	d := e.Time.Sub(e.Created)
	if e.Created == 0 || d.Abs() <= skew {
		return 0
	}
	return int64(d / time.Second)
}
