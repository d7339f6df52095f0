package did

import (
	"os"
	"testing"

	"github.com/gowebpki/jcs"
)

func vector(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/create.json")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func BenchmarkDecode(b *testing.B) {
	entry := vector(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(testNetwork(), DefaultLimits(), entry); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDecodeNoSignature is what Decode costs beside its signature.
func BenchmarkDecodeNoSignature(b *testing.B) {
	entry := vector(b)
	for b.Loop() {
		if _, err := decodeStored(entry); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCanonical(b *testing.B) {
	tree, err := DecodeJSON(vector(b), JSONLimits{})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := Canonical(tree); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeJSON(b *testing.B) {
	entry := vector(b)
	for b.Loop() {
		if _, err := DecodeJSON(entry, JSONLimits{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLibraryTransform is the library's canonicalization of the same text, for comparison.
func BenchmarkLibraryTransform(b *testing.B) {
	entry := vector(b)
	for b.Loop() {
		if _, err := jcs.Transform(entry); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNext(b *testing.B) {
	l := newLedger(b)
	d := l.create(oneKey(1), 1)
	op, err := Decode(testNetwork(), l.limits, l.update(d, oneKey(1), 1))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Next(l, l.limits, op, Place{Time: l.now}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkResolve(b *testing.B) {
	l := newLedger(b)
	d := l.create(oneKey(1), 1).String()
	for b.Loop() {
		if r := Resolve(l, d, Options{}); r.Error != nil {
			b.Fatal(r.Error)
		}
	}
}
