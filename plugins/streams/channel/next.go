package channel

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/tangle"
)

// Next decides an operation at its place and returns what it writes. v is the plugin's own state and identity that of the
// identity plugin, both as of this entry; a nil identity knows no did:weft. The first failure is the code: expired,
// unknown_channel, replayed, rate_limited (create), unknown_did, deactivated, not_entitled, bad_after, not_participant,
// right_missing, not_valid_now, owner_only, then those of the operation. An error that is no rejection means damaged state.
//
// A restored operation is known to have been accepted here: it is not judged, and writes what it wrote when it was whole.
func Next(v, identity plugins.View, op *Operation, at did.Place) ([]did.Write, error) {
	return newJudge(v, identity, op, at).next()
}

func newJudge(v, identity plugins.View, op *Operation, at did.Place) *judge {
	return &judge{draft: draft{view: v, changed: map[string][]byte{}}, identity: identity, op: op, at: at}
}

func (j *judge) next() ([]did.Write, error) {
	if j.op.Restored {
		return j.restored()
	}
	if err := j.admissible(); err != nil {
		return nil, err
	}
	if err := j.entitled(); err != nil {
		return nil, err
	}
	if err := j.follows(); err != nil {
		return nil, err
	}
	if err := j.execute(); err != nil {
		return nil, err
	}
	j.spend()
	return j.finish()
}

// judge holds what one operation is judged by.
type judge struct {
	draft
	identity plugins.View
	op       *Operation
	at       did.Place

	channel Channel
	head    Head
	event   Event
	changed bool         // channel has to be written
	actor   *Participant // nil: none
}

// admissible holds what does not depend on who signed.
func (j *judge) admissible() error {
	notAfter := j.op.NotAfter()
	switch {
	case j.at.Time > notAfter:
		return reject("expired", "notAfter is %s, it is %s", notAfter, j.at.Time)
	case notAfter.Sub(j.at.Time) > MaxAhead:
		return reject("expired", "notAfter is %s, more than %d days after %s", notAfter, int(MaxAhead/day), j.at.Time)
	}
	found, err := j.load()
	switch {
	case err != nil:
		return err
	case found && j.op.Op == Create, found && j.get(nonceKey(j.op.Channel, j.op.Author, j.op.Nonce)) != nil:
		return reject("replayed", "this nonce of the actor has counted in the channel")
	case !found && j.op.Op != Create:
		return reject("unknown_channel", "%s", j.op.Channel)
	case j.op.Op == Create:
		return j.countCreate()
	}
	return nil
}

func (j *judge) load() (found bool, err error) {
	b := j.get(key(prefixChannel, j.op.Channel))
	if b == nil {
		return false, nil
	}
	if j.channel, err = parseChannel(b); err != nil {
		return true, err
	}
	if j.head, err = parseHead(j.get(key(prefixHead, j.op.Channel))); err != nil {
		return true, err
	}
	j.actor, err = j.participantOf(j.op.Author)
	return true, err
}

func (j *judge) countCreate() error {
	w, err := did.Quota{Name: 'c', Window: time.Minute, Max: MaxCreatesPerMinute}.Count(j.view, j.at.By[:], j.at.Time)
	if err == nil {
		j.set(w.Key, w.Value)
	}
	return err
}

// participant returns a participant, nil if there is no such.
func (j *judge) participant(did string) (*Participant, error) { return j.participantOf(HashDID(did)) }

func (j *judge) participantOf(of DIDHash) (*Participant, error) {
	p, found, err := parseParticipant(j.get(participantKey(j.op.Channel, of)))
	if !found || err != nil {
		return nil, err
	}
	return &p, nil
}

func (j *judge) put(p *Participant) {
	j.set(participantKey(j.op.Channel, HashDID(p.DID)), p.bytes())
	j.set(membershipKey(p.DID, j.op.Channel), []byte{1})
}

// entitled holds that the proof's key stands for the actor as of this place. A did:key stands for itself: Decode has read both.
func (j *judge) entitled() error {
	if signers := j.op.Envelope.Signers; len(signers) == 1 && j.op.Actor == "did:key:"+signers[0] {
		return nil
	}
	if j.identity == nil && !strings.HasPrefix(j.op.Actor, "did:key:") {
		return reject("unknown_did", "%s", j.op.Actor)
	}
	return did.Entitled(j.identity, j.op.Actor, did.Authentication, j.op.Envelope.Signers, j.at.Time)
}

// checkActive refuses a did:weft that does not exist or is deactivated.
func checkActive(identity plugins.View, actor string) error {
	if strings.HasPrefix(actor, "did:key:") {
		return nil
	}
	d, err := did.Parse(actor)
	if err != nil {
		return err
	}
	if identity == nil {
		return reject("unknown_did", "%s", actor)
	}
	head, found, err := did.ReadHead(identity, d)
	switch {
	case err != nil:
		return err
	case !found:
		return reject("unknown_did", "%s", actor)
	case head.Deactivated:
		return reject("deactivated", "%s", actor)
	}
	return nil
}

// follows holds that the event and the head that the actor has seen are those of this channel.
func (j *judge) follows() error {
	if j.op.Op == Create {
		return nil
	}
	if j.op.After.Event > j.head.Event {
		return reject("bad_after", "event %d is not there yet", j.op.After.Event)
	}
	e, err := ReadEvent(&j.draft, j.op.Channel, j.op.After.Event)
	if err == nil && e.Head != j.op.After.Head {
		err = reject("bad_after", "the head at event %d is %s", e.Number, e.Head)
	}
	return err
}

// Get and Scan make a draft a plugins.View; Scan sees what was there before.
func (d *draft) Get(key []byte) []byte { return d.get(key) }

// Scan implements plugins.View.
func (d *draft) Scan(from, to []byte, visit func(key, value []byte) bool) {
	d.view.Scan(from, to, visit)
}

// execute judges and applies the rules of the operation.
func (j *judge) execute() error {
	j.begin()
	switch j.op.Op {
	case Create:
		return j.create()
	case Configure:
		return j.configure()
	case Request:
		return j.request()
	case Authorize:
		return j.authorize()
	case Reject:
		return j.reject()
	case Revoke:
		return j.revoke()
	case Leave:
		return j.leave()
	case Rekey:
		return j.rekey()
	case Keyload:
		return j.keyload()
	case Write:
		return j.write()
	case Lock:
		return j.lock()
	case Erase:
		return j.erase()
	}
	return fmt.Errorf("channel: operation %q", j.op.Op)
}

// begin makes the event.
func (j *judge) begin() {
	j.event = Event{Op: j.op.Op, Place: j.at, Created: j.op.Created, After: j.op.After.Event}
	if j.op.Op != Create {
		j.event.Number = j.head.Event + 1
	}
	if j.event.IsRecord() {
		j.event.Author = j.op.Author
	} else {
		j.event.Actor = j.op.Actor
	}
}

// spend notes that the nonce has counted.
func (j *judge) spend() {
	j.set(nonceKey(j.op.Channel, j.op.Author, j.op.Nonce), be64(j.event.Number))
}

// finish writes what every accepted operation writes, but for its nonce.
func (j *judge) finish() ([]did.Write, error) {
	id := j.op.Channel
	if err := j.retain(); err != nil {
		return nil, err
	}
	if j.event.Number == 0 {
		j.head.Hash = FirstHead(id)
	} else {
		j.head.Hash = NextHead(j.head.Hash, j.event.Number, j.recordSeq(), j.at)
	}
	j.head.Event, j.head.Time, j.event.Head = j.event.Number, j.at.Time, j.head.Hash
	if !j.event.Sealed {
		j.event.Epoch = j.head.Epoch
	}
	j.set(eventKey(id, j.event.Number), j.event.bytes())
	j.set(key(prefixHead, id), j.head.bytes())
	if j.changed {
		j.set(key(prefixChannel, id), j.channel.bytes())
	}
	return j.writes(), nil
}

func (j *judge) recordSeq() uint64 {
	if j.event.IsRecord() {
		return j.event.Seq
	}
	return 0
}

// FirstHead is the head at event 0. It follows from the id alone.
func FirstHead(id ID) tangle.Hash {
	return sha256.Sum256(append([]byte("weft/channel/head/1"), id[:]...))
}

// NextHead is the head at the event after that of head; seq is 0 if it is no record.
func NextHead(head tangle.Hash, event, seq uint64, at did.Place) tangle.Hash {
	b := append([]byte("weft/channel/head/1"), head[:]...)
	b = binary.BigEndian.AppendUint64(b, event)
	b = binary.BigEndian.AppendUint64(b, seq)
	b = append(b, at.Entry[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(at.Position))
	b = binary.BigEndian.AppendUint32(b, uint32(at.Index))
	b = binary.BigEndian.AppendUint64(b, uint64(at.Time))
	return sha256.Sum256(b)
}

// need refuses an actor without a right now.
func (j *judge) need(r Rights) error {
	p := j.actor
	switch {
	case p == nil || p.State != Active:
		return reject("not_participant", "%s", j.op.Actor)
	case !j.channel.Holds(p).Has(r):
		return reject("right_missing", "%s has no right to %s", j.op.Actor, r)
	case !p.Grant.validAt(j.at.Time):
		return reject("not_valid_now", "the grant of %s is not in force at %s", j.op.Actor, j.at.Time)
	}
	return nil
}

// needOwner refuses everybody but the owner.
func (j *judge) needOwner(what string) error {
	if j.op.Actor != j.channel.Owner {
		return reject("owner_only", "%s is for the owner", what)
	}
	return nil
}

// Holds are the rights of a participant's grant and of its roles as they are now, whether or not it is in force.
func (c *Channel) Holds(p *Participant) Rights {
	if p == nil || p.State != Active {
		return 0
	}
	return c.rightsOf(*p.Grant)
}

func (c *Channel) rightsOf(g Grant) Rights {
	r := g.Rights
	for _, name := range g.Roles {
		r |= c.Roles[name].Rights
	}
	if r&Audit != 0 {
		r &^= Order
	}
	return r
}

// Effective are the rights of a participant at t.
func (c *Channel) Effective(p *Participant, t tangle.Time) Rights {
	if r := c.Holds(p); r != 0 && p.Grant.validAt(t) {
		return r
	}
	return 0
}

// MayWrite says whether a participant with the right to write may use a tag; "" is none.
func (c *Channel) MayWrite(g Grant, tag string) bool {
	if g.Rights&Order != 0 && (len(g.Tags) == 0 || slices.Contains(g.Tags, tag)) {
		return true
	}
	for _, name := range g.Roles {
		if r := c.Roles[name]; r.Rights&Order != 0 && (len(r.Tags) == 0 || slices.Contains(r.Tags, tag)) {
			return true
		}
	}
	return false
}
