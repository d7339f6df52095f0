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

// Entry is one payload of one kind. An erased entry keeps only its hash.
type Entry struct {
	Kind Kind
	Salt Salt
	Data []byte
	Hash Hash
}

// NewEntry makes an entry and computes its hash. The data is not copied.
func NewEntry(kind Kind, salt Salt, data []byte) Entry {
	return Entry{Kind: kind, Salt: salt, Data: data, Hash: hashEntry(kind, salt, data)}
}

// Erased says whether only the entry's hash is left.
func (e Entry) Erased() bool { return e.Kind == KindErased }

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
)

// Bytes is the canonical encoding. The caller must not change it.
func (m *Message) Bytes() []byte { return m.raw }

// Size is the length of the canonical encoding in bytes.
func (m *Message) Size() int { return len(m.raw) }

// HeaderBytes is the signed part of the encoding.
func (m *Message) HeaderBytes() []byte { return m.raw[:m.headerLen] }

// IsWitness says whether m is a witness.
func (m *Message) IsWitness() bool { return m.Header.Class == ClassWitness }

// Parse reads one whole message as peers send it: exactly one canonical form, nothing erased, every size checked before
// anything is allocated. It keeps b. Signature and membership are not checked here (see Validate).
func (c Codec) Parse(b []byte) (*Message, error) {
	m, err := c.ParseStored(b)
	if err != nil {
		return nil, err
	}
	for i := range m.Entries {
		if m.Entries[i].Erased() {
			return nil, ErrErased
		}
	}
	return m, nil
}

// ParseStored is Parse for messages out of the own store, whose entries may have been erased one by one.
func (c Codec) ParseStored(b []byte) (*Message, error) {
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
		size += entryOverhead + len(entries[i].Data)
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

// Erase returns the stored form of m without the data of entry i. Header, signature, ID and every proof stay valid.
func (c Codec) Erase(m *Message, i int) (*Message, error) {
	if i < 0 || i >= len(m.Entries) {
		return nil, fmt.Errorf("message has no entry %d", i)
	}
	b := slices.Clone(m.raw[:m.headerLen+len(m.Signature)])
	for j, e := range m.Entries {
		if i == j {
			e = Entry{Kind: KindErased, Hash: e.Hash}
		}
		b = appendEntry(b, e)
	}
	return c.ParseStored(b)
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

func appendEntry(b []byte, e Entry) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(e.Kind))
	if e.Erased() {
		return append(b, e.Hash[:]...)
	}
	b = append(b, e.Salt[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(e.Data)))
	return append(b, e.Data...)
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
	if kind == KindErased {
		return Entry{Kind: kind, Hash: r.B32()}
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
	return NewEntry(kind, salt, data)
}
