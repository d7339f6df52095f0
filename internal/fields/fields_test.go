package fields

import (
	"errors"
	"math"
	"testing"
)

var errTest = errors.New("malformed test")

func TestFieldsInTheirOrder(t *testing.T) {
	b := []byte{1, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 4}
	b = append(b, make([]byte, 31)...)
	r := Of(append(b, 5, 6), errTest)
	if a, b, c, d := r.U8(), r.U16(), r.U32(), r.U64(); a != 1 || b != 2 || c != 3 || d != 4 {
		t.Errorf("got %d %d %d %d, want 1 2 3 4", a, b, c, d)
	}
	if got := r.B32(); got != [32]byte{31: 5} {
		t.Errorf("got %x, want zeros and 5", got)
	}
	if r.At() != 47 || r.Left() != 1 || r.Err() != nil {
		t.Errorf("at %d, %d left, %v; want 47, 1, none", r.At(), r.Left(), r.Err())
	}
	if got := r.Take(1); len(got) != 1 || cap(got) != 1 || got[0] != 6 {
		t.Errorf("got %v of capacity %d, want 6 alone", got, cap(got))
	}
	if err := r.End(); err != nil {
		t.Error(err)
	}
}

func TestFaults(t *testing.T) {
	for name, read := range map[string]func(r *Reader){
		"malformed test: ends at byte 3, want 4 more":         func(r *Reader) { r.U32() },
		"malformed test: ends at byte 3, want 2 more":         func(r *Reader) { r.U16(); r.U16() },
		"malformed test: ends at byte 3, want -1 more":        func(r *Reader) { r.Take(-1) },
		"malformed test: 2 trailing bytes":                    func(r *Reader) { r.U8() },
		"malformed test: the first fault":                     func(r *Reader) { r.Fail("the %s fault", "first"); r.U64(); r.Fail("another") },
		"malformed test: 4 items, limit 3":                    func(r *Reader) { r.Count(4, 3, 1, "items") },
		"malformed test: 2 items do not fit into 3 bytes":     func(r *Reader) { r.Count(2, 3, 2, "items") },
		"malformed test: 4294967295 items, limit 3":           func(r *Reader) { r.Count(math.MaxUint32, 3, 1, "items") },
		"malformed test: 65536 items do not fit into 3 bytes": func(r *Reader) { r.Count(1<<16, 1<<16, 1<<16, "items") },
	} {
		r := Of([]byte{1, 2, 3}, errTest)
		read(&r)
		err := r.End()
		if !errors.Is(err, errTest) || err.Error() != name {
			t.Errorf("got %v, want %s", err, name)
		}
		if name == "malformed test: 2 trailing bytes" {
			continue
		}
		if a, b, n := r.U8(), r.B32(), r.Count(0, 1, 1, "items"); a != 0 || b != [32]byte{} || n != 0 || r.Take(0) != nil {
			t.Errorf("%s: fields after the fault are not zero", name)
		}
	}
}
