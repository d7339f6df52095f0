package channel

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/tangle"
)

// Keys of the state: one byte, then fields of fixed length; numbers are big-endian. id is a channel's ID, H is SHA-256.
//
//	c id                     Channel, binary: what configure changes
//	h id                     Head, binary: what every operation changes
//	p id H(did)              Participant, binary
//	m H(did) id              1: channels that a DID is or was a participant of, or sees
//	v id event u64           Event, binary
//	s id block u64           events u64 of the records of the block, in their order
//	x id seq u64 seq u64     1: the second record supersedes the first
//	t id seq u64             Tombstone, JSON
//	n id H(H(actor) | nonce) event u64: nonces that have counted
//	b id root                seq u64: whose blob this is
//	e id number u32          OpenedEpoch, binary
//	w id number u32 H(did)   events u64, oldest first: operations with wraps of that epoch to that DID
//	r id time u64 H(did)     carrying member: waiting requests by commit time
//	k id member              count u32 of waiting requests that the member carried
//	o H(owner) H(name)       id: names of an owner's channels
//	q 'c' member             window u64, count u32: creates (did.Quota)
const (
	prefixChannel     = 'c'
	prefixHead        = 'h'
	prefixParticipant = 'p'
	prefixMembership  = 'm'
	prefixEvent       = 'v'
	prefixSeq         = 's'
	prefixSuperseded  = 'x'
	prefixTombstone   = 't'
	prefixNonce       = 'n'
	prefixBlob        = 'b'
	prefixEpoch       = 'e'
	prefixWrap        = 'w'
	prefixWaiting     = 'r'
	prefixCarried     = 'k'
	prefixName        = 'o'
)

// maxWrapEvents bounds how many operations with wraps of one epoch are remembered of one DID; the oldest leave first.
const maxWrapEvents = 8

func key(prefix byte, id ID, more ...[]byte) []byte {
	b := append(make([]byte, 0, 80), prefix)
	b = append(b, id[:]...)
	for _, m := range more {
		b = append(b, m...)
	}
	return b
}

func be64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
func be32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

// DIDHash is the SHA-256 of a DID. Zero stands for none.
type DIDHash [sha256.Size]byte

// HashDID is what stands for a DID where its text must not.
func HashDID(did string) DIDHash { return sha256.Sum256([]byte(did)) }

func hashOf(s string) []byte {
	sum := sha256.Sum256([]byte(s))
	return sum[:]
}

func participantKey(id ID, of DIDHash) []byte { return key(prefixParticipant, id, of[:]) }
func eventKey(id ID, n uint64) []byte         { return key(prefixEvent, id, be64(n)) }
func epochKey(id ID, number uint32) []byte    { return key(prefixEpoch, id, be32(number)) }

// recordsPerBlock is how many records stand in one value: the first is record 1.
const recordsPerBlock = 32

func blockKey(id ID, block uint64) []byte { return key(prefixSeq, id, be64(block)) }

// blockOf is the block of a record, and its place there.
func blockOf(seq uint64) (block uint64, at int) {
	return (seq - 1) / recordsPerBlock, int((seq - 1) % recordsPerBlock)
}

func wrapKey(id ID, number uint32, did string) []byte {
	return key(prefixWrap, id, be32(number), hashOf(did))
}

func nonceKey(id ID, actor DIDHash, nonce Nonce) []byte {
	return key(prefixNonce, id, hashOf(string(actor[:])+string(nonce[:])))
}

func membershipKey(did string, id ID) []byte {
	return slices.Concat([]byte{prefixMembership}, hashOf(did), id[:])
}

func nameKey(owner, name string) []byte {
	return slices.Concat([]byte{prefixName}, hashOf(owner), hashOf(name))
}

func waitingKey(id ID, t tangle.Time, did string) []byte {
	return key(prefixWaiting, id, be64(uint64(t)), hashOf(did))
}

// Channel is what a channel is set to.
type Channel struct {
	ID            ID              `json:"id"`
	Owner         string          `json:"owner"`
	Creator       string          `json:"creator"`
	Created       tangle.Time     `json:"created"` // commit time
	Access        Access          `json:"access"`
	Profile       Profile         `json:"profile"`
	Hidden        bool            `json:"hidden,omitempty"`
	Name          string          `json:"name,omitempty"` // the first four are not there if it is hidden
	Description   string          `json:"description,omitempty"`
	Status        string          `json:"status,omitempty"`
	Topics        []Topic         `json:"topics,omitempty"`
	SealedProfile string          `json:"sealedProfile,omitempty"` // of a hidden channel, base64url
	ProfileEvent  uint64          `json:"profileEvent,omitempty"`  // whose nonce and actor the sealed profile's key needs
	Tags          []string        `json:"tags,omitempty"`
	Roles         map[string]Role `json:"roles,omitempty"`
	History       History         `json:"history"` // of the next epoch
	GraceSeconds  int             `json:"graceSeconds"`
	RetentionDays int             `json:"retentionDays"` // 0: for ever
	Custody       Custody         `json:"custody"`
	Archived      bool            `json:"archived,omitempty"`
	Visible       int             `json:"visible,omitempty"` // DIDs with a wrap of epoch 0 that were no participants
}

func (c Channel) bytes() []byte {
	b := make([]byte, 0, 512)
	b = append(b, c.ID[:]...)
	for _, s := range []string{
		c.Owner, c.Creator, string(c.Access), string(c.Profile), c.Name, c.Description, c.Status, c.SealedProfile, string(c.History), string(c.Custody),
	} {
		b = appendText(b, s)
	}
	b = binary.BigEndian.AppendUint64(b, uint64(c.Created))
	b = binary.BigEndian.AppendUint64(b, c.ProfileEvent)
	for _, n := range []int{c.GraceSeconds, c.RetentionDays, c.Visible} {
		b = binary.BigEndian.AppendUint32(b, uint32(n))
	}
	b = append(b, flags(c.Hidden, c.Archived), byte(len(c.Topics)))
	for _, t := range c.Topics {
		b = appendText(appendText(b, t.Type), t.Source)
	}
	b = append(appendTexts(b, c.Tags), byte(len(c.Roles)))
	for _, name := range slices.Sorted(maps.Keys(c.Roles)) {
		b = append(appendText(b, name), byte(c.Roles[name].Rights))
		b = appendTexts(b, c.Roles[name].Tags)
	}
	return b
}

func parseChannel(b []byte) (c Channel, err error) {
	r := scanner{b: b}
	c.ID, c.Owner, c.Creator, c.Access, c.Profile = r.hash(), r.text(), r.text(), Access(r.text()), Profile(r.text())
	c.Name, c.Description, c.Status, c.SealedProfile = r.text(), r.text(), r.text(), r.text()
	c.History, c.Custody = History(r.text()), Custody(r.text())
	c.Created, c.ProfileEvent = tangle.Time(r.u64()), r.u64()
	c.GraceSeconds, c.RetentionDays, c.Visible = int(r.u32()), int(r.u32()), int(r.u32())
	f := r.u8()
	c.Hidden, c.Archived = f&1 != 0, f&2 != 0
	for range r.u8() {
		c.Topics = append(c.Topics, Topic{r.text(), r.text()})
	}
	c.Tags = r.texts()
	if n := int(r.u8()); n > 0 {
		c.Roles = make(map[string]Role, n)
		for range n {
			name := r.text()
			c.Roles[name] = Role{Rights(r.u8()), r.texts()}
		}
	}
	return c, r.done()
}

// Head is where a channel has come to.
type Head struct {
	Event        uint64      // the last
	Seq          uint64      // of the last record; 0: none
	Hash         tangle.Hash // running hash at Event
	Time         tangle.Time // of Event
	RecordTime   tangle.Time // of the last record
	Epoch        uint32      // current; 0 in a public channel
	EpochEvent   uint64      // that opened it
	GraceUntil   tangle.Time // until when records under the epoch before count: a later change of graceSeconds moves it no more
	EpochRecords uint64      // ordered under it
	Chained      bool        // the current epoch carries the key before it
	LockUntil    tangle.Time // 0: not locked
	LockForever  bool
	Active       uint32 // participants
	Waiting      uint32 // requests in the list of waiting ones
	Cleared      uint64 // events before this one are cleared as far as retention asks
}

// headBytes is the length of a head in the state.
const headBytes = 8*9 + 32 + 4*3 + 1

func (h Head) bytes() []byte {
	b := make([]byte, 0, headBytes)
	for _, n := range []uint64{
		h.Event, h.Seq, uint64(h.Time), uint64(h.RecordTime), h.EpochEvent, uint64(h.GraceUntil), h.EpochRecords, uint64(h.LockUntil), h.Cleared,
	} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	b = append(b, h.Hash[:]...)
	for _, n := range []uint32{h.Epoch, h.Active, h.Waiting} {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	return append(b, flags(h.Chained, h.LockForever))
}

func flags(set ...bool) (b byte) {
	for i, on := range set {
		if on {
			b |= 1 << i
		}
	}
	return b
}

func parseHead(b []byte) (h Head, err error) {
	if len(b) != headBytes {
		return h, fmt.Errorf("channel: head of %d bytes", len(b))
	}
	r := scanner{b: b}
	h.Event, h.Seq, h.Time, h.RecordTime = r.u64(), r.u64(), tangle.Time(r.u64()), tangle.Time(r.u64())
	h.EpochEvent, h.GraceUntil, h.EpochRecords = r.u64(), tangle.Time(r.u64()), r.u64()
	h.LockUntil, h.Cleared, h.Hash = tangle.Time(r.u64()), r.u64(), r.hash()
	h.Epoch, h.Active, h.Waiting = r.u32(), r.u32(), r.u32()
	f := r.u8()
	h.Chained, h.LockForever = f&1 != 0, f&2 != 0
	return h, r.done()
}

// scanner reads a binary record; what is missing is zero and told by done.
type scanner struct {
	b     []byte
	short bool
}

func (r *scanner) take(n int) []byte {
	if n > len(r.b) {
		r.short, r.b = true, nil
		return make([]byte, n)
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *scanner) u8() byte           { return r.take(1)[0] }
func (r *scanner) u32() uint32        { return binary.BigEndian.Uint32(r.take(4)) }
func (r *scanner) u64() uint64        { return binary.BigEndian.Uint64(r.take(8)) }
func (r *scanner) hash() (h [32]byte) { copy(h[:], r.take(32)); return h }
func (r *scanner) text() string       { return string(r.take(int(binary.BigEndian.Uint16(r.take(2))))) }
func (r *scanner) texts() (list []string) {
	for range r.u8() {
		list = append(list, r.text())
	}
	return list
}

func appendTexts(b []byte, list []string) []byte {
	b = append(b, byte(len(list)))
	for _, s := range list {
		b = appendText(b, s)
	}
	return b
}

func appendText(b []byte, s string) []byte { return appendActor(b, s) }

func (r *scanner) done() error {
	if r.short || len(r.b) > 0 {
		return fmt.Errorf("channel: a record of the state is damaged")
	}
	return nil
}

// State says where a participant stands. Whoever is past the end of its grant is Active still.
type State string

// The states; "" is none.
const (
	Requested State = "requested"
	Active    State = "active"
	Rejected  State = "rejected"
	Left      State = "left"
	Revoked   State = "revoked"
)

// Participant is a subscription.
type Participant struct {
	DID        string      `json:"did"`
	State      State       `json:"state"`
	Event      uint64      `json:"event"` // of its last change
	Time       tangle.Time `json:"time"`  // of that
	Grant      *Grant      `json:"grant,omitempty"`
	Asked      *Asked      `json:"asked,omitempty"`   // while requested
	Joined     uint32      `json:"joined,omitempty"`  // first epoch that a history other than full lets it open
	Records    int64       `json:"records,omitempty"` // ordered under this grant
	Rejections int         `json:"rejections,omitempty"`
}

func (p *Participant) bytes() []byte {
	b := make([]byte, 0, 320)
	b = appendText(appendText(b, p.DID), string(p.State))
	for _, n := range []uint64{p.Event, uint64(p.Time), uint64(p.Records)} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	b = binary.BigEndian.AppendUint32(b, p.Joined)
	b = binary.BigEndian.AppendUint32(b, uint32(p.Rejections))
	b = append(b, flags(p.Grant != nil, p.Asked != nil))
	if g := p.Grant; g != nil {
		b = append(appendText(b, g.Participant), byte(g.Rights))
		b = appendTexts(appendTexts(b, g.Roles), g.Tags)
		for _, n := range []uint64{uint64(g.ValidFrom), uint64(g.ValidUntil), uint64(g.MaxRecords)} {
			b = binary.BigEndian.AppendUint64(b, n)
		}
		b = appendText(appendText(b, string(g.Custody)), g.Agreement)
	}
	if a := p.Asked; a != nil {
		b = appendTexts(append(b, byte(a.Rights)), a.Roles)
		b = appendText(appendText(b, string(a.Custody)), a.Agreement)
	}
	return b
}

// parseParticipant reads a record; nil is none. An error is no rejection: the state is damaged, and the node must stop.
func parseParticipant(b []byte) (p Participant, found bool, err error) {
	if b == nil {
		return p, false, nil
	}
	r := scanner{b: b}
	p.DID, p.State = r.text(), State(r.text())
	p.Event, p.Time, p.Records = r.u64(), tangle.Time(r.u64()), int64(r.u64())
	p.Joined, p.Rejections = r.u32(), int(r.u32())
	f := r.u8()
	if f&1 != 0 {
		p.Grant = &Grant{Participant: r.text(), Rights: Rights(r.u8()), Roles: r.texts(), Tags: r.texts()}
		p.Grant.ValidFrom, p.Grant.ValidUntil, p.Grant.MaxRecords = tangle.Time(r.u64()), tangle.Time(r.u64()), int64(r.u64())
		p.Grant.Custody, p.Grant.Agreement = Custody(r.text()), r.text()
	}
	if f&2 != 0 {
		p.Asked = &Asked{Rights: Rights(r.u8()), Roles: r.texts(), Custody: Custody(r.text()), Agreement: r.text()}
	}
	return p, true, r.done()
}

// Event is an accepted operation at its place. Of a record it holds nothing that goes with the entry's body: what is left of
// the operation (Restore) makes the same event.
type Event struct {
	Number uint64
	Op     Op
	did.Place
	Head    tangle.Hash // running hash at this event
	Actor   string      // of what is no record
	Created tangle.Time // 0: cleared
	After   uint64
	Epoch   uint32 // current at the event; of a sealed record: that it is sealed under
	Seq     uint64 // of the record, or of what is erased; 0: neither

	// Of records only.
	Author      DIDHash // zero: cleared
	Sealed      bool
	Inline      bool        // the body is in the entry
	ContentHash tangle.Hash // zero: there is no body
	Blob        *Blob
	Tag         string // "" also: cleared
	Supersedes  uint64
	ErasedBy    uint64 // event; 0: not erased
	Cleared     bool   // author, created and tag are gone: an inline body was erased, or retention has passed
}

// IsRecord says whether the event is a write.
func (e Event) IsRecord() bool { return e.Op == Write }

// IsOf says whether a DID is the event's actor; of what is cleared nobody is.
func (e Event) IsOf(did string) bool {
	if e.IsRecord() {
		return e.Author == HashDID(did)
	}
	return e.Actor == did
}

func (e Event) bytes() []byte {
	b := make([]byte, 0, 256)
	b = append(b, byte(slices.Index(Ops(), e.Op)+1), flags(e.Sealed, e.Inline, e.Blob != nil, e.Cleared))
	for _, n := range []uint64{uint64(e.Time), uint64(e.Position), uint64(e.Created), e.After, e.Seq} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(e.Index))
	b = binary.BigEndian.AppendUint32(b, e.Epoch)
	b = append(b, e.By[:]...)
	b = append(b, e.Entry[:]...)
	b = append(b, e.Head[:]...)
	if !e.IsRecord() {
		return appendText(b, e.Actor)
	}
	b = append(b, e.Author[:]...)
	b = append(b, e.ContentHash[:]...)
	b = binary.BigEndian.AppendUint64(b, e.Supersedes)
	b = binary.BigEndian.AppendUint64(b, e.ErasedBy)
	b = appendText(b, e.Tag)
	if e.Blob != nil {
		b = append(b, e.Blob.Root[:]...)
		b = binary.BigEndian.AppendUint64(b, uint64(e.Blob.Size))
		b = binary.BigEndian.AppendUint32(b, uint32(e.Blob.Chunks))
	}
	return b
}

func parseEvent(number uint64, b []byte) (e Event, err error) {
	r := scanner{b: b}
	e.Number = number
	code, f := int(r.u8()), r.u8()
	if code < 1 || code > len(Ops()) {
		return e, fmt.Errorf("channel: event %d is damaged", number)
	}
	e.Op = Ops()[code-1]
	e.Sealed, e.Inline, e.Cleared = f&1 != 0, f&2 != 0, f&8 != 0
	e.Time, e.Position, e.Created = tangle.Time(r.u64()), tangle.Position(r.u64()), tangle.Time(r.u64())
	e.After, e.Seq = r.u64(), r.u64()
	e.Index, e.Epoch = int(r.u32()), r.u32()
	e.By, e.Entry, e.Head = r.hash(), r.hash(), r.hash()
	if !e.IsRecord() {
		e.Actor = r.text()
		return e, r.done()
	}
	e.Author, e.ContentHash, e.Supersedes, e.ErasedBy = r.hash(), r.hash(), r.u64(), r.u64()
	e.Tag = r.text()
	if f&4 != 0 {
		e.Blob = &Blob{Root: r.hash(), Size: int64(r.u64()), Chunks: int(r.u32())}
	}
	return e, r.done()
}

// Tombstone says who erased a record.
type Tombstone struct {
	Event  uint64      `json:"event"`
	By     string      `json:"by"`
	Reason string      `json:"reason"`
	Time   tangle.Time `json:"time"`
}

// OpenedEpoch is an epoch that is or was in force. Its wraps are in operations.
type OpenedEpoch struct {
	Number    uint32
	Event     uint64 // that opened it
	Time      tangle.Time
	Seq       uint64 // of the last record before it
	Commit    [32]byte
	PublicKey [32]byte
	Previous  []byte // nil: there is none
}

func (e OpenedEpoch) bytes() []byte {
	b := make([]byte, 0, 160)
	for _, n := range []uint64{e.Event, uint64(e.Time), e.Seq} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	b = append(b, e.Commit[:]...)
	b = append(b, e.PublicKey[:]...)
	return append(b, e.Previous...)
}

func parseEpoch(number uint32, b []byte) (e OpenedEpoch, err error) {
	r := scanner{b: b}
	e = OpenedEpoch{Number: number, Event: r.u64(), Time: tangle.Time(r.u64()), Seq: r.u64(), Commit: r.hash(), PublicKey: r.hash()}
	if len(r.b) > 0 {
		e.Previous = slices.Clone(r.take(PreviousBytes))
	}
	return e, r.done()
}

// readJSON reads a record. An error is no rejection: the state is damaged, and the node must stop.
func readJSON(b []byte, into any) (found bool, err error) {
	if b == nil {
		return false, nil
	}
	if err := json.Unmarshal(b, into); err != nil {
		return false, fmt.Errorf("channel: record of the state: %w", err)
	}
	return true, nil
}

func toJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // records are structs of plain values
	}
	return b
}

// draft is the state with the changes of one operation over it.
type draft struct {
	view    plugins.View
	changed map[string][]byte // nil: deleted
}

func (d *draft) get(key []byte) []byte {
	if b, ok := d.changed[string(key)]; ok {
		return b
	}
	return d.view.Get(key)
}

func (d *draft) set(key, value []byte) { d.changed[string(key)] = value }
func (d *draft) delete(key []byte)     { d.changed[string(key)] = nil }

// writes are the changes in the order of their keys.
func (d *draft) writes() []did.Write {
	list := make([]did.Write, 0, len(d.changed))
	for _, k := range slices.Sorted(maps.Keys(d.changed)) {
		list = append(list, did.Write{Key: []byte(k), Value: d.changed[k]})
	}
	return list
}
