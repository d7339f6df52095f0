// Package fields takes big-endian fields off bytes, so that decoding reads like the layout. It knows no format: what fields
// mean and how many there may be say those who read.
//
// It never allocates; what it returns shares the input.
package fields

import (
	"encoding/binary"
	"fmt"
)

// Reader is at a place in bytes and remembers the first fault. After it, fields are zero.
type Reader struct {
	b     []byte
	at    int
	cause error
	err   error
}

// Of reads b from its first byte. All faults wrap cause.
func Of(b []byte, cause error) Reader { return Reader{b: b, cause: cause} }

// At is the place: how many bytes have been taken.
func (r *Reader) At() int { return r.at }

// Left is how many bytes have not been taken.
func (r *Reader) Left() int { return len(r.b) - r.at }

// Err is the first fault.
func (r *Reader) Err() error { return r.err }

// Fail keeps a fault that the caller found, unless there is one.
func (r *Reader) Fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", r.cause, fmt.Sprintf(format, args...))
	}
}

// End refuses bytes that are left, and returns the first fault.
func (r *Reader) End() error {
	if n := r.Left(); r.err == nil && n != 0 {
		r.Fail("%d trailing bytes", n)
	}
	return r.err
}

// Take returns the next n bytes; nil after a fault, and if there are not so many.
func (r *Reader) Take(n int) []byte {
	if r.err != nil || n < 0 || n > r.Left() {
		r.Fail("ends at byte %d, want %d more", len(r.b), n)
		return nil
	}
	r.at += n
	return r.b[r.at-n : r.at : r.at]
}

// U8 takes a byte.
func (r *Reader) U8() byte {
	if b := r.Take(1); b != nil {
		return b[0]
	}
	return 0
}

// U16 takes two bytes.
func (r *Reader) U16() uint16 {
	if b := r.Take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

// U32 takes four bytes.
func (r *Reader) U32() uint32 {
	if b := r.Take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// U64 takes eight bytes.
func (r *Reader) U64() uint64 {
	if b := r.Take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// B32 takes 32 bytes: a hash, a key, an ID.
func (r *Reader) B32() (b [32]byte) { copy(b[:], r.Take(32)); return b }

// Count returns n, and zero after a fault. It refuses a number of items that is over the limit, or whose items cannot be in
// what is left: callers may allocate for as many.
func (r *Reader) Count(n uint32, limit, itemSize int, what string) int {
	switch {
	case int64(n) > int64(limit):
		r.Fail("%d %s, limit %d", n, what, limit)
	case int64(n)*int64(itemSize) > int64(r.Left()):
		r.Fail("%d %s do not fit into %d bytes", n, what, r.Left())
	}
	if r.err != nil {
		return 0
	}
	return int(n)
}
