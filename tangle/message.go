package tangle

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"weft/internal/fields"
)

// Version is the only message version of this codec.
const Version = 1

// Message is one member's signed vertex of the Tangle: it references parents and carries entries, or it is a witness of
// the committee. A Message is immutable once Parse or Seal has returned it, and safe to share between goroutines.
type Message struct {
	ID        ID
	Header    Header
	Signature Signature
	Entries   []Entry

	raw       []byte // canonical bytes: header, signature, body
	headerLen int
}

// Header is the signed part of a message. Everything the ledger agrees on follows from headers alone.
type Header struct {
	Class      Class
	Epoch      Epoch
	Author     Member
	Seq        Seq
	Time       Time
	Parents    []ID // ascending, unique
	BodyRoot   Hash // RFC 6962 root over the entry hashes
	EntryCount uint16
	BodyLen    uint32   // bytes of the whole body, before any erasure
	Witness    *Witness // class 1 only
}

// Witness is what a committee member says about a round (protocol.md, section 3).
type Witness struct {
	Round     Round
	Ancestors []uint16 // indexes into Parents, ascending: the witnesses this one builds on; the other parents are tips
	Votes     []Vote
	Evidence  []Evidence
}

// Vote is one validator's signature on a checkpoint, carried to the others. The committee knows the checkpoint's text
// from its own execution; Text is its SHA-256, so that a node that computed something else notices.
type Vote struct {
	Commit    uint64 // index of the commit the checkpoint follows
	Text      Hash
	Signature Signature // over the note text, as in C2SP signed-note
}

// Evidence names two attached messages of one author, epoch and seq: a proof of equivocation that anyone who has the
// Tangle can check.
type Evidence struct{ First, Second ID }

// Entry is one payload of one kind. One with a lasting part can be erased: salt and data go, and hash, kind and lasting part
// stay.
type Entry struct {
	Kind    Kind
	Lasting []byte // nil: the entry cannot be erased
	Salt    Salt
	Data    []byte
	Hash    Hash
	Left    *Left // of an erased entry; nil: there is no more than the hash
}

// Left is what is left of an erased entry in a store and between peers.
type Left struct {
	Kind    Kind
	Lasting []byte
	Rest    Hash   // of salt and data
	Code    string // of its rejection; empty if it was accepted; CodeNever. No hash covers it
}

// Hash is that of the entry: it covers all but the code.
func (l Left) Hash() Hash { return hashErasable(l.Kind, l.Lasting, l.Rest) }

// CodeNever stands in Left for the outcome of an entry whose message was never ordered.
const CodeNever = "-"

// NewEntry makes an entry and computes its hash. The data is not copied.
func NewEntry(kind Kind, salt Salt, data []byte) Entry {
	return Entry{Kind: kind, Salt: salt, Data: data, Hash: hashEntry(kind, salt, data)}
}

// NewErasable makes an entry with a lasting part; without one it is NewEntry. Nothing is copied.
func NewErasable(kind Kind, lasting []byte, salt Salt, data []byte) Entry {
	if len(lasting) == 0 {
		return NewEntry(kind, salt, data)
	}
	return Entry{Kind: kind, Lasting: lasting, Salt: salt, Data: data, Hash: hashErasable(kind, lasting, hashRest(salt, data))}
}

// Erased says whether salt and data are gone.
func (e Entry) Erased() bool { return e.Kind == KindErased }

// KindLeft is the entry's kind, also once it is erased; KindErased if there is no more than the hash.
func (e Entry) KindLeft() Kind {
	if e.Left != nil {
		return e.Left.Kind
	}
	return e.Kind
}

// Remains is what is left of the entry, or would be: of one that is whole without its code. Nil: nothing lasts of it.
func (e Entry) Remains() *Left {
	if e.Left != nil || e.Lasting == nil {
		return e.Left
	}
	return &Left{Kind: e.Kind, Lasting: e.Lasting, Rest: hashRest(e.Salt, e.Data)}
}

// erased is what stays of an entry once it is erased.
func (e Entry) erased(code string) Entry {
	left := *e.Remains()
	left.Code = code
	return Entry{Kind: KindErased, Hash: e.Hash, Left: &left}
}

// Codec parses and seals the messages of one network.
type Codec struct {
	Network ID
	Limits  Limits
}

// Errors of Parse that callers branch on; all others are plain malformed input.
var (
	ErrMalformed = errors.New("malformed message")
	ErrTooLarge  = errors.New("message too large")
	ErrErased    = errors.New("message has erased entries")
	ErrLasts     = errors.New("the entry has no lasting part, so it cannot be erased")
)

// Bytes is the canonical encoding. The caller must not change it.
func (m *Message) Bytes() []byte { return m.raw }

// Size is the length of the canonical encoding in bytes.
func (m *Message) Size() int { return len(m.raw) }

// WholeSize is the length of the encoding before any erasure: it is the same for all who hold the message.
func (m *Message) WholeSize() int { return m.headerLen + len(m.Signature) + int(m.Header.BodyLen) }

// HeaderBytes is the signed part of the encoding.
func (m *Message) HeaderBytes() []byte { return m.raw[:m.headerLen] }

// IsWitness says whether m is a witness.
func (m *Message) IsWitness() bool { return m.Header.Class == ClassWitness }

// Parse reads one whole message: exactly one canonical form, nothing erased, every size checked before anything is
// allocated. It keeps b. Signature and membership are not checked here (see Validate).
func (c Codec) Parse(b []byte) (*Message, error) {
	m, err := c.ParseLeft(b)
	if err != nil {
		return nil, err
	}
	if m.HasErased() {
		return nil, ErrErased
	}
	return m, nil
}

// HasErased says whether entries of m have been erased.
func (m *Message) HasErased() bool { return slices.ContainsFunc(m.Entries, Entry.Erased) }

// CanErase says whether m has entries that can be erased.
func (m *Message) CanErase() bool {
	return slices.ContainsFunc(m.Entries, func(e Entry) bool { return e.Lasting != nil })
}

// ParseLeft is Parse for messages whose entries may have been erased one by one. ID and signature are those of the whole
// message, and cover kind and lasting part of what is erased; they do not cover that it is erased, nor its code.
func (c Codec) ParseLeft(b []byte) (*Message, error) {
	if len(b) > c.Limits.MaxMessageBytes {
		return nil, fmt.Errorf("%w: %d bytes, limit %d", ErrTooLarge, len(b), c.Limits.MaxMessageBytes)
	}
	r := fields.Of(b, ErrMalformed)
	m := &Message{raw: b, Header: c.readHeader(&r)}
	m.headerLen = r.At()
	copy(m.Signature[:], r.Take(len(m.Signature)))
	m.readBody(&r, c.Limits)
	if err := r.End(); err != nil {
		return nil, err
	}
	m.ID = MessageID(c.Network, m.HeaderBytes())
	return m, nil
}

// ParseHeader reads a header that stands alone, as in a receipt, and its ID.
func (c Codec) ParseHeader(b []byte) (Header, ID, error) {
	r := fields.Of(b, ErrMalformed)
	h := c.readHeader(&r)
	return h, MessageID(c.Network, b), r.End()
}

// MessageID is SHA-256("weft/message/1" || network || header).
func MessageID(network ID, header []byte) ID {
	h := sha256.New()
	h.Write([]byte("weft/message/1"))
	h.Write(network[:])
	h.Write(header)
	return ID(h.Sum(nil))
}

// SigningInput is what an author signs: "weft/sig/1" || ID.
func SigningInput(id ID) []byte { return append([]byte("weft/sig/1"), id[:]...) }

// Seal builds, signs and encodes a message from a header whose Author, Seq, Time, Parents and Witness are set; the
// fields about the body are filled in. The result passes Parse, or an error says which limit it breaks.
func (c Codec) Seal(h Header, entries []Entry, sign func(input []byte) Signature) (*Message, error) {
	hashes := make([]Hash, len(entries))
	size := 0
	for i := range entries {
		hashes[i] = entries[i].Hash
		size += entries[i].Size()
	}
	if len(entries) > c.Limits.MaxEntries || size > c.Limits.MaxMessageBytes {
		return nil, fmt.Errorf("%w: %d entries, %d bytes of body", ErrTooLarge, len(entries), size)
	}
	h.Class = ClassEntries
	if h.Witness != nil {
		h.Class = ClassWitness
	}
	h.EntryCount, h.BodyLen, h.BodyRoot = uint16(len(entries)), uint32(size), MerkleRoot(hashes)
	b := appendHeader(make([]byte, 0, headerSize(h)+size+64), h)
	sig := sign(SigningInput(MessageID(c.Network, b)))
	b = append(b, sig[:]...)
	for i := range entries {
		b = appendEntry(b, entries[i])
	}
	return c.Parse(b)
}

// Erase returns m without salt and data of entry i, whose outcome was code. Header, signature, ID and every proof stay valid.
// What is erased already stays as it is.
func (c Codec) Erase(m *Message, i int, code string) (*Message, error) {
	if i < 0 || i >= len(m.Entries) {
		return nil, fmt.Errorf("message has no entry %d", i)
	}
	if m.Entries[i].Erased() {
		return m, nil
	}
	if m.Entries[i].Lasting == nil {
		return nil, ErrLasts
	}
	b := slices.Clone(m.raw[:m.headerLen+len(m.Signature)])
	for j, e := range m.Entries {
		if i == j {
			e = e.erased(code)
		}
		b = appendEntry(b, e)
	}
	return c.ParseLeft(b)
}

// HasErased says whether an encoding is that of a message with erased entries, without the cost of ParseLeft.
func HasErased(b []byte) bool {
	r := fields.Of(b, ErrMalformed)
	r.Take(1)
	class := Class(r.U8())
	r.Take(4 + 32 + 8 + 8)
	r.Take(32 * int(r.U16()))
	r.Take(32)
	n := int(r.U16())
	r.Take(4 + 64)
	if class != ClassEntries {
		return false
	}
	for range n {
		switch Kind(r.U16()) {
		case KindErased:
			return r.Err() == nil
		case KindErasable:
			r.Take(2)
			r.Take(int(r.U16()))
		}
		r.Take(16)
		r.Take(int(r.U32()))
	}
	return false
}

// Validate is the part of objective validity that needs the epoch's member set: the author must be a member, and a
// validator if it sends witnesses. Everything else that bytes alone decide has been checked by Parse.
func (m *Message) Validate(limits Limits, member, validator bool, validators int) error {
	switch {
	case !member:
		return fmt.Errorf("author %s is not a member of epoch %d", m.Header.Author.Short(), m.Header.Epoch)
	case m.IsWitness() && !validator:
		return fmt.Errorf("author %s is not a validator of epoch %d", m.Header.Author.Short(), m.Header.Epoch)
	case m.IsWitness() && len(m.Header.Parents) > validators+limits.MaxTips:
		return fmt.Errorf("witness has %d parents, limit %d", len(m.Header.Parents), validators+limits.MaxTips)
	}
	return nil
}

// EntryPath is the RFC 6962 audit path of entry i under the header's BodyRoot.
func (m *Message) EntryPath(i int) []Hash {
	hashes := make([]Hash, len(m.Entries))
	for j := range m.Entries {
		hashes[j] = m.Entries[j].Hash
	}
	return MerklePath(hashes, i)
}

const (
	entryOverhead = 2 + 16 + 4
	lastingFixed  = 2 + 2 // beside entryOverhead
	voteSize      = 8 + 32 + 64
	evidenceSize  = 64
	headerFixed   = 1 + 1 + 4 + 32 + 8 + 8 + 2 + 32 + 2 + 4
	witnessFixed  = 4 + 2 + 1 + 1
)

func headerSize(h Header) int {
	n := headerFixed + 32*len(h.Parents)
	if w := h.Witness; w != nil {
		n += witnessFixed + 2*len(w.Ancestors) + voteSize*len(w.Votes) + evidenceSize*len(w.Evidence)
	}
	return n
}

func appendHeader(b []byte, h Header) []byte {
	be := binary.BigEndian
	b = append(b, Version, byte(h.Class))
	b = be.AppendUint32(b, uint32(h.Epoch))
	b = append(b, h.Author[:]...)
	b = be.AppendUint64(b, uint64(h.Seq))
	b = be.AppendUint64(b, uint64(h.Time))
	b = be.AppendUint16(b, uint16(len(h.Parents)))
	for i := range h.Parents {
		b = append(b, h.Parents[i][:]...)
	}
	b = append(b, h.BodyRoot[:]...)
	b = be.AppendUint16(b, h.EntryCount)
	b = be.AppendUint32(b, h.BodyLen)
	if h.Witness == nil {
		return b
	}
	return appendWitness(b, h.Witness)
}

func appendWitness(b []byte, w *Witness) []byte {
	be := binary.BigEndian
	b = be.AppendUint32(b, uint32(w.Round))
	b = be.AppendUint16(b, uint16(len(w.Ancestors)))
	for _, a := range w.Ancestors {
		b = be.AppendUint16(b, a)
	}
	b = append(b, byte(len(w.Votes)))
	for i := range w.Votes {
		b = be.AppendUint64(b, w.Votes[i].Commit)
		b = append(b, w.Votes[i].Text[:]...)
		b = append(b, w.Votes[i].Signature[:]...)
	}
	b = append(b, byte(len(w.Evidence)))
	for i := range w.Evidence {
		b = append(b, w.Evidence[i].First[:]...)
		b = append(b, w.Evidence[i].Second[:]...)
	}
	return b
}

// Size is the length of an entry in a whole message.
func (e Entry) Size() int {
	size := entryOverhead + len(e.Data)
	if e.Lasting != nil {
		size += lastingFixed + len(e.Lasting)
	}
	return size
}

func appendEntry(b []byte, e Entry) []byte {
	be := binary.BigEndian
	switch {
	case e.Erased():
		b = be.AppendUint16(b, uint16(KindErased))
		b = appendLasting(b, e.Left.Kind, e.Left.Lasting)
		b = append(b, e.Left.Rest[:]...)
		return append(append(b, byte(len(e.Left.Code))), e.Left.Code...)
	case e.Lasting != nil:
		b = be.AppendUint16(b, uint16(KindErasable))
		b = appendLasting(b, e.Kind, e.Lasting)
	default:
		b = be.AppendUint16(b, uint16(e.Kind))
	}
	b = append(b, e.Salt[:]...)
	b = be.AppendUint32(b, uint32(len(e.Data)))
	return append(b, e.Data...)
}

func appendLasting(b []byte, kind Kind, lasting []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(kind))
	b = binary.BigEndian.AppendUint16(b, uint16(len(lasting)))
	return append(b, lasting...)
}

// hashEntry is SHA-256("weft/entry/1" || kind || salt || data). Small entries, the usual ones, are hashed from the
// stack in one go.
func hashEntry(kind Kind, salt Salt, data []byte) Hash {
	var small [12 + entryOverhead + 512]byte
	b := append(small[:0], "weft/entry/1"...)
	b = binary.BigEndian.AppendUint16(b, uint16(kind))
	b = append(b, salt[:]...)
	if len(data) <= 512 {
		return sha256.Sum256(append(b, data...))
	}
	h := sha256.New()
	h.Write(b)
	h.Write(data)
	return Hash(h.Sum(nil))
}

// hashErasable is SHA-256("weft/entry/2" || kind || length of the lasting part u16 || lasting part || hash of the rest).
func hashErasable(kind Kind, lasting []byte, rest Hash) Hash {
	var small [12 + lastingFixed + MaxLastingBytes + len(rest)]byte
	b := appendLasting(append(small[:0], "weft/entry/2"...), kind, lasting)
	return sha256.Sum256(append(b, rest[:]...))
}

// hashRest is SHA-256("weft/entry/rest/1" || salt || data).
func hashRest(salt Salt, data []byte) Hash {
	h := sha256.New()
	h.Write([]byte("weft/entry/rest/1"))
	h.Write(salt[:])
	h.Write(data)
	return Hash(h.Sum(nil))
}

func (c Codec) readHeader(r *fields.Reader) (h Header) {
	if v := r.U8(); v != Version {
		r.Fail("version %d", v)
	}
	h.Class = Class(r.U8())
	if h.Class > ClassWitness {
		r.Fail("class %d", h.Class)
	}
	h.Epoch = Epoch(r.U32())
	h.Author = r.B32()
	if h.Seq = Seq(r.U64()); h.Seq == 0 {
		r.Fail("seq 0")
	}
	h.Time = Time(r.U64())
	h.Parents = c.readParents(r, h.Class)
	h.BodyRoot = r.B32()
	h.EntryCount = r.U16()
	h.BodyLen = r.U32()
	if h.Class == ClassWitness {
		h.Witness = c.readWitness(r, len(h.Parents))
	}
	c.checkCounts(r, h)
	return h
}

func (c Codec) readParents(r *fields.Reader, class Class) []ID {
	limit := c.Limits.MaxParents
	if class == ClassWitness {
		limit = c.Limits.MaxTips + MaxValidators
	}
	n := r.Count(uint32(r.U16()), limit, 32, "parents")
	if n == 0 {
		r.Fail("no parents")
		return nil
	}
	ids := make([]ID, n)
	for i := range ids {
		ids[i] = r.B32()
		if i > 0 && slices.Compare(ids[i-1][:], ids[i][:]) >= 0 {
			r.Fail("parents not ascending")
		}
	}
	return ids
}

func (c Codec) readWitness(r *fields.Reader, parents int) *Witness {
	w := &Witness{Round: Round(r.U32())}
	if w.Round == 0 {
		r.Fail("round 0")
	}
	n := r.Count(uint32(r.U16()), min(parents, MaxValidators), 2, "ancestors")
	for i := range n {
		a := r.U16()
		if int(a) >= parents || (i > 0 && a <= w.Ancestors[i-1]) {
			r.Fail("ancestor index %d out of order or range", a)
		}
		w.Ancestors = append(w.Ancestors, a)
	}
	for range r.Count(uint32(r.U8()), c.Limits.MaxVotes, voteSize, "votes") {
		v := Vote{Commit: r.U64(), Text: r.B32()}
		copy(v.Signature[:], r.Take(64))
		w.Votes = append(w.Votes, v)
	}
	for range r.Count(uint32(r.U8()), c.Limits.MaxEvidence, evidenceSize, "proofs of equivocation") {
		w.Evidence = append(w.Evidence, Evidence{r.B32(), r.B32()})
	}
	return w
}

func (c Codec) checkCounts(r *fields.Reader, h Header) {
	n := int(h.EntryCount)
	switch {
	case r.Err() != nil:
	case h.Class == ClassWitness && (n != 0 || h.BodyLen != 0):
		r.Fail("witness with entries")
	case h.Class == ClassEntries && n == 0:
		r.Fail("no entries")
	case n > c.Limits.MaxEntries:
		r.Fail("%d entries, limit %d", n, c.Limits.MaxEntries)
	case int64(h.BodyLen) > int64(c.Limits.MaxMessageBytes):
		r.Fail("body of %d bytes, limit %d", h.BodyLen, c.Limits.MaxMessageBytes)
	case int64(n)*entryOverhead > int64(h.BodyLen):
		r.Fail("%d entries do not fit into %d bytes", n, h.BodyLen)
	}
}

func (m *Message) readBody(r *fields.Reader, limits Limits) {
	n := r.Count(uint32(m.Header.EntryCount), limits.MaxEntries, entryOverhead, "entries")
	if n > 0 {
		m.Entries = make([]Entry, n)
	}
	hashes := make([]Hash, n)
	start, erased := r.At(), false
	for i := range n {
		m.Entries[i] = readEntry(r, limits)
		hashes[i] = m.Entries[i].Hash
		erased = erased || m.Entries[i].Erased()
	}
	switch {
	case r.Err() != nil:
	case !erased && r.At()-start != int(m.Header.BodyLen):
		r.Fail("body of %d bytes, header says %d", r.At()-start, m.Header.BodyLen)
	case MerkleRoot(hashes) != m.Header.BodyRoot:
		r.Fail("body does not match its root")
	}
}

func readEntry(r *fields.Reader, limits Limits) Entry {
	kind := Kind(r.U16())
	var lasting []byte
	switch kind {
	case KindErased:
		return readErased(r)
	case KindErasable:
		kind, lasting = readLasting(r)
	}
	var salt Salt
	copy(salt[:], r.Take(len(salt)))
	n := r.U32()
	if int64(n) > int64(limits.MaxEntryBytes) {
		r.Fail("entry of %d bytes, limit %d", n, limits.MaxEntryBytes)
		return Entry{}
	}
	data := r.Take(int(n))
	if r.Err() != nil {
		return Entry{}
	}
	return NewErasable(kind, lasting, salt, data)
}

func readErased(r *fields.Reader) Entry {
	left := &Left{}
	left.Kind, left.Lasting = readLasting(r)
	left.Rest = r.B32()
	left.Code = string(r.Take(int(r.U8())))
	return Entry{Kind: KindErased, Hash: hashErasable(left.Kind, left.Lasting, left.Rest), Left: left}
}

// readLasting reads the kind of an entry that can be erased, and what lasts of it.
func readLasting(r *fields.Reader) (kind Kind, lasting []byte) {
	kind = Kind(r.U16())
	n := int(r.U16())
	if kind >= KindErasable || n == 0 || n > MaxLastingBytes {
		r.Fail("kind %d with a lasting part of %d bytes", kind, n)
		return kind, nil
	}
	return kind, r.Take(n)
}
