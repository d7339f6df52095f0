package receipt

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"weft/config/genesis"
	"weft/internal/fields"
	"weft/tangle"
)

// Parts are what a receipt is built from.
type Parts struct {
	Network   tangle.ID
	Entry     tangle.Entry // whole, or erased: then only its hash counts
	Index     int          // of the entry in its message
	Header    []byte       // of the message
	Signature tangle.Signature
	EntryPath []tangle.Hash // from the entry's hash to the header's BodyRoot
	Position  tangle.Position
	Leaf      []byte        // of the log: position, message, outcomes
	LogPath   []tangle.Hash // from the leaf to the checkpoint's root (RFC 6962, section 2.1.1)
	Note      []byte        // certified checkpoint
}

// MaxReceipt bounds a receipt in bytes: an entry with its header fits in a message, beside them stand a note and paths.
const MaxReceipt = genesis.MaxMessageBytes + MaxNote + 16<<10

// magic opens every receipt; the digit is the version.
const magic = "weft receipt 1\n"

const maxPath = 64 // hashes in a path

// ErrFormat is the cause of all faults in a receipt's form.
var ErrFormat = errors.New("malformed receipt")

// Leaf is a leaf of the log: position u64, message ID, entry count u16, then a bit per entry, most significant first, 1 if
// the entry was accepted.
func Leaf(p tangle.Position, id tangle.ID, rejected []bool) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(p))
	b = append(b, id[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(rejected)))
	bits := make([]byte, (len(rejected)+7)/8)
	for i, r := range rejected {
		if !r {
			bits[i/8] |= 0x80 >> (i % 8)
		}
	}
	return append(b, bits...)
}

// ParseLeaf reads a leaf.
func ParseLeaf(b []byte) (p tangle.Position, id tangle.ID, rejected []bool, err error) {
	if len(b) < 42 {
		return p, id, nil, fmt.Errorf("%w: leaf of %d bytes", ErrFormat, len(b))
	}
	p = tangle.Position(binary.BigEndian.Uint64(b))
	copy(id[:], b[8:])
	rejected = make([]bool, binary.BigEndian.Uint16(b[40:]))
	bits := b[42:]
	if len(bits) != (len(rejected)+7)/8 {
		return p, id, nil, fmt.Errorf("%w: leaf with %d bytes of outcomes", ErrFormat, len(bits))
	}
	for i := range rejected {
		rejected[i] = bits[i/8]&(0x80>>(i%8)) == 0
	}
	if !bytes.Equal(Leaf(p, id, rejected), b) {
		return p, id, nil, fmt.Errorf("%w: leaf not in canonical form", ErrFormat)
	}
	return p, id, rejected, nil
}

// The forms of an entry in a receipt.
const (
	formWhole    = 0
	formHash     = 1 // nothing but the hash
	formErasable = 2 // whole, with a lasting part
)

// Build encodes a receipt: magic, network, form of the entry u8, then the other parts in their order,
// with lengths u32 and counts of hashes u8, and the number of closing checkpoints u16, which is 0 in epoch 0. It does not
// check what the parts say, only that Parse reads them back.
func Build(p Parts) ([]byte, error) {
	if p.Index < 0 || p.Index > math.MaxUint16 || len(p.EntryPath) > maxPath || len(p.LogPath) > maxPath {
		return nil, fmt.Errorf("%w: entry %d, paths of %d and %d hashes", ErrFormat, p.Index, len(p.EntryPath), len(p.LogPath))
	}
	b := append([]byte(magic), p.Network[:]...)
	b = appendEntry(b, p.Entry)
	b = binary.BigEndian.AppendUint16(b, uint16(p.Index))
	b = appendField(b, p.Header)
	b = append(b, p.Signature[:]...)
	b = appendPath(b, p.EntryPath)
	b = binary.BigEndian.AppendUint64(b, uint64(p.Position))
	b = appendField(b, p.Leaf)
	b = appendPath(b, p.LogPath)
	b = appendField(b, p.Note)
	b = binary.BigEndian.AppendUint16(b, 0)
	if len(b) > MaxReceipt {
		return nil, fmt.Errorf("%w: %d bytes, limit %d", ErrFormat, len(b), MaxReceipt)
	}
	return b, nil
}

// Parse reads a receipt's form; Verify also checks what it says.
func Parse(b []byte) (p Parts, err error) {
	if len(b) > MaxReceipt {
		return p, fmt.Errorf("%w: %d bytes, limit %d", ErrFormat, len(b), MaxReceipt)
	}
	r := reader{fields.Of(b, ErrFormat)}
	if string(r.Take(len(magic))) != magic {
		return p, fmt.Errorf("%w: does not begin with %q", ErrFormat, magic)
	}
	p.Network = r.B32()
	p.Entry = r.entry()
	p.Index = int(r.U16())
	p.Header = r.Take(int(r.U32()))
	copy(p.Signature[:], r.Take(64))
	p.EntryPath = r.path()
	p.Position = tangle.Position(r.U64())
	p.Leaf = r.Take(int(r.U32()))
	p.LogPath = r.path()
	p.Note = r.Take(int(r.U32()))
	if n := r.U16(); n != 0 {
		r.Fail("%d closing checkpoints in epoch 0", n)
	}
	if err := r.End(); err != nil {
		return Parts{}, err
	}
	return p, nil
}

func appendEntry(b []byte, e tangle.Entry) []byte {
	switch {
	case e.Erased():
		return append(append(b, formHash), e.Hash[:]...)
	case e.Lasting != nil:
		b = binary.BigEndian.AppendUint16(append(b, formErasable), uint16(e.Kind))
		b = appendField(b, e.Lasting)
	default:
		b = binary.BigEndian.AppendUint16(append(b, formWhole), uint16(e.Kind))
	}
	return appendField(append(b, e.Salt[:]...), e.Data)
}

func appendField(b, field []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(field))), field...)
}

func appendPath(b []byte, path []tangle.Hash) []byte {
	b = append(b, byte(len(path)))
	for i := range path {
		b = append(b, path[i][:]...)
	}
	return b
}

func hashOf(parts ...[]byte) tangle.Hash {
	h := sha256.New()
	for _, p := range parts {
		h.Write(p)
	}
	return tangle.Hash(h.Sum(nil))
}

// reader reads the parts of a receipt; it never allocates more than the input is long.
type reader struct{ fields.Reader }

func (r *reader) path() []tangle.Hash {
	path := make([]tangle.Hash, r.Count(uint32(r.U8()), maxPath, 32, "hashes in a path"))
	for i := range path {
		path[i] = r.B32()
	}
	return path
}

func (r *reader) entry() tangle.Entry {
	form := r.U8()
	if form == formHash {
		return tangle.Entry{Kind: tangle.KindErased, Hash: r.B32()}
	}
	kind := tangle.Kind(r.U16())
	if kind >= tangle.KindErasable {
		r.Fail("kind %d is reserved", kind)
	}
	var lasting []byte
	switch form {
	case formWhole:
	case formErasable:
		if lasting = r.Take(int(r.U32())); len(lasting) == 0 || len(lasting) > tangle.MaxLastingBytes {
			r.Fail("lasting part of %d bytes", len(lasting))
		}
	default:
		r.Fail("entry form %d", form)
	}
	var salt tangle.Salt
	copy(salt[:], r.Take(len(salt)))
	data := r.Take(int(r.U32()))
	if r.Err() != nil {
		return tangle.Entry{}
	}
	return tangle.NewErasable(kind, lasting, salt, data)
}
