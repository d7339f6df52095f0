package jsonld

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"weft/internal/vectors"
	"weft/plugins"
)

type canonTest struct {
	ID, Type, Name, Action, Result, HashAlgorithm string
}

func (c canonTest) hash() Hash {
	if c.HashAlgorithm == "SHA384" {
		return SHA384
	}
	return SHA256
}

func canonTests(t testing.TB) []canonTest {
	t.Helper()
	var manifest struct{ Entries []canonTest }
	if err := json.Unmarshal(vectors.File(t, "rdf-canon/manifest.jsonld"), &manifest); err != nil {
		t.Fatal(err)
	}
	return manifest.Entries
}

func TestRDFCanonVectors(t *testing.T) {
	counts := map[string]int{}
	for _, test := range canonTests(t) {
		counts[test.Type]++
		t.Run(strings.TrimPrefix(test.ID, "#"), func(t *testing.T) {
			quads, err := ParseNQuads(vectors.File(t, "rdf-canon/"+test.Action), DefaultLimits())
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			got, err := Canonicalize(quads, test.hash(), DefaultLimits())
			took := time.Since(start)
			switch test.Type {
			case "rdfc:RDFC10EvalTest":
				checkNQuads(t, got, err, vectors.File(t, "rdf-canon/"+test.Result))
			case "rdfc:RDFC10MapTest":
				checkMap(t, got, err, vectors.File(t, "rdf-canon/"+test.Result))
			default:
				if r := plugins.Rejected(err); r == nil || r.Code != "too_large" {
					t.Errorf("poison graph: got error %v, want too_large", err)
				}
				if took > soon() {
					t.Errorf("poison graph took %v", took)
				}
				t.Logf("poison graph refused after %v", took)
			}
		})
	}
	want := map[string]int{"rdfc:RDFC10EvalTest": 64, "rdfc:RDFC10MapTest": 21, "rdfc:RDFC10NegativeEvalTest": 1}
	for kind, n := range want {
		if counts[kind] != n {
			t.Errorf("%s: got %d tests, want %d", kind, counts[kind], n)
		}
	}
}

func checkNQuads(t *testing.T, got Canonical, err error, want []byte) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.NQuads, want) {
		t.Errorf("got\n%s\nwant\n%s", got.NQuads, want)
	}
}

func checkMap(t *testing.T, got Canonical, err error, raw []byte) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]string
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	if len(got.Issued) != len(want) {
		t.Errorf("got %d labels, want %d", len(got.Issued), len(want))
	}
	for label, canonical := range want {
		if got.Issued[label] != canonical {
			t.Errorf("label %s: got %s, want %s", label, got.Issued[label], canonical)
		}
	}
}

// TestHardGraphsEndSoon holds for graphs whose work is in places that a count of Hash N-Degree Quads calls does not see.
func TestHardGraphsEndSoon(t *testing.T) {
	edge := func(s, p, o, g string) Quad {
		q := Quad{Subject: Term{Kind: Blank, Value: s}, Predicate: iri("urn:" + p), Object: Term{Kind: Blank, Value: o}}
		if g != "" {
			q.Graph = iri("urn:" + g)
		}
		return q
	}
	name := func(i int) string { return string(rune('a'+i%26)) + strings.Repeat("x", i/26) }
	graphs := map[string][]Quad{}
	for i := range 40 {
		graphs["one neighbour in many graphs"] = append(graphs["one neighbour in many graphs"],
			edge("s", "p", "o", "g"+name(i)), edge("t", "p", "o", "g"+name(i)))
		for j := range 40 {
			if i != j {
				graphs["clique of 40"] = append(graphs["clique of 40"], edge(name(i), "p", name(j), ""))
			}
		}
	}
	for i := range 4999 {
		graphs["star"] = append(graphs["star"], edge("centre", "p", "leaf"+name(i), ""), edge("other", "p", "leaf"+name(i), ""))
		graphs["ring"] = append(graphs["ring"], edge(name(i), "p", name((i+1)%4999), ""))
	}
	for what, quads := range graphs {
		start := time.Now()
		_, err := Canonicalize(quads, SHA256, DefaultLimits())
		if took := time.Since(start); took > soon() {
			t.Errorf("%s: took %v (error %v)", what, took, err)
		} else {
			t.Logf("%s: %v, error %v", what, took, err)
		}
		if r := plugins.Rejected(err); err != nil && (r == nil || r.Code != "too_large") {
			t.Errorf("%s: got %v, want too_large or nothing", what, err)
		}
	}
}

// TestCanonicalFormIgnoresLabelsAndOrder renames all blank nodes and shuffles the statements of random small graphs.
func TestCanonicalFormIgnoresLabelsAndOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		term := rapid.Custom(func(t *rapid.T) Term {
			if rapid.Bool().Draw(t, "blank") {
				return Term{Kind: Blank, Value: "n" + string(rune('0'+rapid.IntRange(0, 4).Draw(t, "label")))}
			}
			return iri("urn:x:" + string(rune('a'+rapid.IntRange(0, 1).Draw(t, "iri"))))
		})
		quads := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Quad {
			return Quad{Subject: term.Draw(t, "s"), Predicate: iri("urn:p"), Object: term.Draw(t, "o")}
		}), 1, 9).Draw(t, "quads")
		other := slices.Clone(rapid.Permutation(quads).Draw(t, "shuffled"))
		rename := func(term Term) Term {
			if term.Kind == Blank {
				term.Value = "other" + string('4'-term.Value[1]+'0')
			}
			return term
		}
		for i := range other {
			other[i].Subject, other[i].Object = rename(other[i].Subject), rename(other[i].Object)
		}
		a, err := Canonicalize(quads, SHA256, DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		b, err := Canonicalize(other, SHA256, DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a.NQuads, b.NQuads) {
			t.Fatalf("the same graph has two forms:\n%s\n%s", a.NQuads, b.NQuads)
		}
	})
}

func TestParseNQuadsRefuses(t *testing.T) {
	for _, line := range []string{
		`<relative> <urn:p> <urn:o> .`,
		`<urn:s> <urn:p> <urn:o>`,
		`<urn:s> <urn:p> .`,
		`"s" <urn:p> <urn:o> .`,
		`<urn:s> _:p <urn:o> .`,
		`<urn:s> <urn:p> <urn:o> "g" .`,
		`<urn:s> <urn:p> <urn:o> <urn:g> <urn:h> .`,
		`<urn:s> <urn:p> <urn:o> . <urn:s>`,
		`<urn:s> <urn:p> "o .`,
		`<urn:s> <urn:p> "o\q" .`,
		`<urn:s> <urn:p> "\uD800" .`,
		`<urn:s> <urn:p> "\u00G0" .`,
		`<urn:s> <urn:p> "\U00110000" .`,
		`<urn:s> <urn:p> "o"@ .`,
		`<urn:s> <urn:p> "o"@1a .`,
		`<urn:s> <urn:p> "o"^^"d" .`,
		`<urn:s> <urn:p> "o"^^<http://www.w3.org/1999/02/22-rdf-syntax-ns#langString> .`,
		`<urn:s> <urn:p> <urn:a b> .`,
		`<urn:s> <urn:p> <urn:a\tb> .`,
		`<urn:s> <urn:p> <urn:a\u0020b> .`,
		`_: <urn:p> <urn:o> .`,
		`_:-a <urn:p> <urn:o> .`,
		"<urn:s> <urn:p> \"\xff\" .",
	} {
		if quads, err := ParseNQuads([]byte(line), DefaultLimits()); plugins.Rejected(err) == nil {
			t.Errorf("%s: got %v, error %v; want a rejection", line, quads, err)
		}
	}
}

func TestParseNQuadsAccepts(t *testing.T) {
	text := "# comment\n\n \t\r\n<urn:s>\t<urn:p><urn:o>.#end\r\n" + `_:a.b <urn:p> "x\u0041\U0001F600\'\"\n"@en-GB-1 _:g .` + "\n"
	quads, err := ParseNQuads([]byte(text), DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	want := []Quad{
		{Subject: iri("urn:s"), Predicate: iri("urn:p"), Object: iri("urn:o")},
		{Subject: Term{Kind: Blank, Value: "a.b"}, Predicate: iri("urn:p"),
			Object: Term{Kind: Literal, Value: "xA\U0001F600'\"\n", Datatype: rdfLangString, Language: "en-GB-1"},
			Graph:  Term{Kind: Blank, Value: "g"}},
	}
	if !slices.Equal(quads, want) {
		t.Errorf("got %v, want %v", quads, want)
	}
}

func TestEscapingIsCanonical(t *testing.T) {
	got := string(appendEscaped(nil, "\x00\b\t\n\v\f\r\x1f\"\\'\x7f\u0080é\U0001F600"))
	if want := `\u0000\b\t\n\u000B\f\r\u001F\"\\'\u007F` + "\u0080é\U0001F600"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func FuzzParseNQuads(f *testing.F) {
	f.Add([]byte("<urn:s> <urn:p> \"a\\n\"@en <urn:g> .\n_:a <urn:p> _:b .\n_:b <urn:p> _:a _:g ."))
	f.Add([]byte(`_:a <urn:p> "1"^^<http://www.w3.org/2001/XMLSchema#integer> .`))
	limits := DefaultLimits()
	limits.MaxQuads, limits.MaxHashCalls, limits.MaxHashSteps = 200, 2000, 50_000
	f.Fuzz(func(t *testing.T, raw []byte) {
		quads, err := ParseNQuads(raw, limits)
		if err != nil {
			return
		}
		first, err := Canonicalize(quads, SHA256, limits)
		if err != nil {
			return
		}
		again, err := ParseNQuads(first.NQuads, limits)
		if err != nil {
			t.Fatalf("the canonical form does not parse: %v\n%s", err, first.NQuads)
		}
		second, err := Canonicalize(again, SHA256, limits)
		if err == nil && !bytes.Equal(first.NQuads, second.NQuads) {
			t.Fatalf("the canonical form is not a fixed point:\n%s\n%s", first.NQuads, second.NQuads)
		}
	})
}
