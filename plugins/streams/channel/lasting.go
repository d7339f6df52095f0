package channel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"

	"weft/plugins/identity/did"
	"weft/tangle"
)

// lastingVersion is the first byte of a lasting part.
const lastingVersion = 1

// What a lasting part says of the body.
const (
	leftNone byte = iota
	leftInline
	leftBlob
)

// Lasting is what stays of a write for ever, whatever becomes of its entry: what it has made the state say, and no more. Other
// operations have none and stay whole: they are the key history. At most 283 bytes: version u8, channel, SHA-256 of the
// actor, nonce, opHash (32), after.event u64, created u64, epoch u32, supersedes u64, contentHash, body u8 (0 none, 1 inline,
// 2 blob: root, size u64, chunks u32), tag behind its length u8.
func (op *Operation) Lasting() []byte {
	if op.Op != Write {
		return nil
	}
	be, r, sum := binary.BigEndian, op.Record, op.Sum()
	b := append(make([]byte, 0, 288), lastingVersion)
	b = append(b, op.Channel[:]...)
	b = append(b, op.Author[:]...)
	b = append(b, op.Nonce[:]...)
	b = append(b, sum[:]...)
	b = be.AppendUint64(b, op.After.Event)
	b = be.AppendUint64(b, uint64(op.Created))
	b = be.AppendUint32(b, r.Epoch)
	b = be.AppendUint64(b, r.Supersedes)
	b = append(b, r.ContentHash[:]...)
	switch {
	case r.Body == nil:
		b = append(b, leftNone)
	case r.Body.Blob == nil:
		b = append(b, leftInline)
	default:
		b = append(append(b, leftBlob), r.Body.Blob.Root[:]...)
		b = be.AppendUint64(b, uint64(r.Body.Blob.Size))
		b = be.AppendUint32(b, uint32(r.Body.Blob.Chunks))
	}
	return append(append(b, byte(len(r.Tag))), r.Tag...)
}

// Restore makes the operation of an accepted write again, as far as it lasts: Next executes it without judging it. It reads
// exactly what Lasting makes of operations that Decode has read.
func Restore(lasting []byte) (*Operation, error) {
	s := scanner{b: lasting}
	version := s.u8()
	op := &Operation{Op: Write, Restored: true, Channel: s.hash(), Author: s.hash()}
	copy(op.Nonce[:], s.take(NonceBytes))
	sum := s.hash()
	op.After.Event, op.Created = s.u64(), tangle.Time(s.u64())
	r := &op.Record
	r.Epoch, r.Supersedes, r.ContentHash = s.u32(), s.u64(), s.hash()
	body := s.u8()
	switch body {
	case leftInline:
		r.Body = &Body{}
	case leftBlob:
		r.Body = &Body{Blob: &Blob{Root: s.hash(), Size: int64(s.u64()), Chunks: int(s.u32())}}
	}
	r.Tag = string(s.take(int(s.u8())))
	if s.short || len(s.b) > 0 || version != lastingVersion || body > leftBlob {
		return nil, errors.New("channel: a lasting part of another form")
	}
	if err := op.checkLeft(); err != nil {
		return nil, fmt.Errorf("channel: a lasting part with %w", err)
	}
	op.Envelope = did.Left(string(Write), sum)
	return op, nil
}

// checkLeft holds bounds that Decode holds.
func (op *Operation) checkLeft() error {
	r := op.Record
	switch {
	case op.After.Event > did.MaxInteger || r.Supersedes > did.MaxInteger:
		return errors.New("a number out of bounds")
	case op.Created < 1000 || op.Created > maxCreated:
		return errors.New("a time out of bounds")
	case len(r.Tag) > MaxWord || !utf8.ValidString(r.Tag):
		return errors.New("a tag that is none")
	case r.Body == nil:
		if r.Epoch != 0 || r.ContentHash != (tangle.Hash{}) {
			return errors.New("an epoch or contentHash without a body")
		}
	case r.Body.Blob == nil:
		if r.Epoch == 0 {
			return errors.New("an inline body without an epoch")
		}
	case !r.Body.Blob.isPossible():
		return errors.New("a blob of an impossible size")
	}
	return nil
}
