package store_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"testing"

	"weft/internal/store"
)

// TestPrefixesAreDistinct reads prefixes.go itself, so that a new prefix cannot
// be left out of the test.
func TestPrefixesAreDistinct(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "prefixes.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	owner := map[string]string{"'!'": "Badger"}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || spec.Names[0].Name == "reservedByte" {
			return true
		}
		name, value := spec.Names[0].Name, spec.Values[0].(*ast.BasicLit).Value
		if other, taken := owner[value]; taken {
			t.Errorf("%s and %s are both %s", name, other, value)
		}
		owner[value] = name
		return true
	})
	if len(owner) < 19 {
		t.Errorf("found %d prefixes only", len(owner))
	}
}

func TestKey(t *testing.T) {
	got := store.Key(store.PrefixWitness, store.U32(1), store.U16(2), store.U64(3), []byte("x"))
	want := []byte("W\x00\x00\x00\x01\x00\x02\x00\x00\x00\x00\x00\x00\x00\x03x")
	if !bytes.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
}

func TestPrefixEnd(t *testing.T) {
	for _, test := range []struct{ prefix, want string }{
		{"a", "b"}, {"ab", "ac"}, {"a\xff", "b"}, {"a\xff\xff", "b"}, {"\xfe", "\xff"}, {"\xff", ""}, {"", ""},
	} {
		got := store.PrefixEnd([]byte(test.prefix))
		if string(got) != test.want || (got == nil) != (test.want == "") {
			t.Errorf("PrefixEnd(%q): got %q, want %q", test.prefix, got, test.want)
		}
	}
	prefix := []byte("ab")
	store.PrefixEnd(prefix)
	if string(prefix) != "ab" {
		t.Errorf("PrefixEnd changed its argument to %q", prefix)
	}
}
