package channel

import (
	"bytes"
	"strings"
	"testing"

	"weft/plugins/identity/did"
	"weft/tangle"
)

// leavings are lasting parts of one write of each form, by name.
func leavings(t testing.TB) map[string][]byte {
	t.Helper()
	l := newLedger(t)
	owner := l.weft("owner")
	id := l.create(owner)
	open := l.create(owner, public)
	writes := map[string]did.Object{
		"inline":     l.sealed(owner, id, "x", RecordTerms{Tag: strings.Repeat("t", MaxWord), RecordType: "reading"}),
		"supersedes": l.sealed(owner, id, "x", RecordTerms{Supersedes: 7}),
		"public":     NewWrite(l.header(owner, id), RecordTerms{Public: did.Object{"a": "b"}}),
		"blob":       l.blob(owner, id, 1, 2*ChunkBytes),
		"open blob":  l.blob(owner, open, 2, 1000),
	}
	list := map[string][]byte{}
	for name, body := range writes {
		list[name] = mustDecode(t, l.sign(owner, body)).Lasting()
	}
	return list
}

// TestLastingIsAllThatNextNeeds: what is restored says of the operation what it said, and lasts in the same form.
func TestLastingIsAllThatNextNeeds(t *testing.T) {
	l := newLedger(t)
	owner := l.weft("owner")
	id := l.create(owner)
	body := l.sealed(owner, id, "x", RecordTerms{Tag: "t", RecordType: "reading", Supersedes: 7, Public: did.Object{"a": "b"}})
	op := mustDecode(t, l.sign(owner, body))
	left, err := Restore(op.Lasting())
	if err != nil {
		t.Fatal(err)
	}
	if !left.Restored || left.Hash != op.Hash || left.Channel != op.Channel || left.Author != op.Author || left.Nonce != op.Nonce ||
		left.Created != op.Created || left.After.Event != op.After.Event || left.Record.Epoch != 1 || left.Record.Tag != "t" ||
		left.Record.Supersedes != 7 || left.Record.ContentHash != op.Record.ContentHash || left.Record.Body == nil || left.Record.Body.Blob != nil {
		t.Errorf("restored %+v of %+v", left, op)
	}
	if left.Actor != "" || left.Record.RecordType != "" || left.Record.Body.Ciphertext != nil || left.Envelope.Body != nil {
		t.Errorf("restored %+v says more than lasts", left)
	}
	if left.Envelope.Verify() == nil {
		t.Error("an operation without a proof verifies")
	}
	if b := mustDecode(t, l.sign(owner, NewLock(l.header(owner, id), Forever, 0))).Lasting(); b != nil {
		t.Errorf("a lock lasts as %x", b)
	}
	for name, b := range leavings(t) {
		if again, err := Restore(b); err != nil || !bytes.Equal(again.Lasting(), b) {
			t.Errorf("%s: %v", name, err)
		}
		if len(b) > 283 || len(b) > tangle.MaxLastingBytes {
			t.Errorf("%s lasts as %d bytes", name, len(b))
		}
	}
}

// TestRestoreIsStrict refuses lasting parts that no write has.
func TestRestoreIsStrict(t *testing.T) {
	list := leavings(t)
	for name, b := range list {
		for n := range b {
			if _, err := Restore(b[:n]); err == nil {
				t.Errorf("%s: %d of %d bytes are restored", name, n, len(b))
			}
		}
		if _, err := Restore(append(bytes.Clone(b), 0)); err == nil {
			t.Errorf("%s: a byte too many is restored", name)
		}
	}
	const ( // where the fields begin
		after      = 1 + 32 + 32 + 16 + 32
		created    = after + 8
		epoch      = created + 8
		supersedes = epoch + 4
		hash       = supersedes + 8
		body       = hash + 32
		size       = body + 1 + 32
	)
	for _, c := range []struct {
		name, of string
		at       int
		to       []byte
	}{
		{"another version", "inline", 0, []byte{2}},
		{"an event of 2^53", "inline", after, []byte{0, 32, 0, 0, 0, 0, 0, 0}},
		{"no time", "inline", created, make([]byte, 8)},
		{"the year 10000", "inline", created, be64(uint64(maxCreated) + 1)},
		{"a seq of 2^53", "supersedes", supersedes, []byte{0, 32, 0, 0, 0, 0, 0, 0}},
		{"an inline body without an epoch", "inline", epoch, make([]byte, 4)},
		{"an epoch without a body", "public", epoch, []byte{0, 0, 0, 1}},
		{"a contentHash without a body", "public", hash, []byte{1}},
		{"a fourth body", "public", body, []byte{3}},
		{"a blob of no bytes", "blob", size, make([]byte, 8)},
		{"a blob of too many chunks", "blob", size + 8, []byte{0, 0, 0, 9}},
		{"a tag that is no UTF-8", "inline", body + 2, []byte{0xff}},
	} {
		b := bytes.Clone(list[c.of])
		copy(b[c.at:], c.to)
		if _, err := Restore(b); err == nil {
			t.Errorf("%s is restored", c.name)
		}
	}
}

func FuzzRestore(f *testing.F) {
	for _, b := range leavings(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		op, err := Restore(b)
		if err != nil {
			return
		}
		if again := op.Lasting(); !bytes.Equal(again, b) {
			t.Errorf("%x lasts as %x", b, again)
		}
	})
}

func BenchmarkLasting(b *testing.B) {
	_, _, entry := benchWrite(b)
	op := mustDecode(b, entry)
	b.ReportAllocs()
	b.ReportMetric(float64(len(op.Lasting())), "bytes")
	for b.Loop() {
		op.Lasting()
	}
}
