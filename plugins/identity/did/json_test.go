package did

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/gowebpki/jcs"
	"pgregory.net/rapid"

	"weft/internal/vectors"
	"weft/plugins/plugintest"
)

func TestRFC8785(t *testing.T) {
	dir := filepath.Join(vectors.Dir(t), "jcs-rfc8785")
	inputs, err := filepath.Glob(filepath.Join(dir, "input", "*.json"))
	if err != nil || len(inputs) != 6 {
		t.Fatalf("%d inputs, want 6 (%v)", len(inputs), err)
	}
	for _, input := range inputs {
		name := strings.TrimSuffix(filepath.Base(input), ".json")
		raw, err := os.ReadFile(input)
		if err != nil {
			t.Fatal(err)
		}
		tree, err := DecodeJSON(raw, JSONLimits{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := Canonical(tree)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		want, err := os.ReadFile(filepath.Join(dir, "output", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		digits, err := os.ReadFile(filepath.Join(dir, "outhex", name+".txt"))
		if err != nil {
			t.Fatal(err)
		}
		wantHex, err := hex.DecodeString(strings.Join(strings.Fields(string(digits)), ""))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) || !bytes.Equal(got, wantHex) {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

func TestDecodeJSON(t *testing.T) {
	for _, c := range []struct{ text, code string }{
		{`{}`, ""}, {` [1, "a" ,null,true,false,-0.5e+3] `, ""}, {`"\ud83d\ude02\n\/"`, ""}, {`0`, ""}, {"\"\x7f\u2028\"", ""},
		{``, "bad_json"}, {`{} x`, "bad_json"}, {`{}{}`, "bad_json"}, {`{"a":1,"a":1}`, "bad_json"}, {`{"a":1,"\u0061":1}`, "bad_json"},
		{`[1,]`, "bad_json"}, {`{"a":1,}`, "bad_json"}, {`{a:1}`, "bad_json"}, {`[1 2]`, "bad_json"}, {`{"a" 1}`, "bad_json"},
		{`01`, "bad_json"}, {`-`, "bad_json"}, {`1.`, "bad_json"}, {`.5`, "bad_json"}, {`1e`, "bad_json"}, {`+1`, "bad_json"}, {`0x1`, "bad_json"},
		{`nul`, "bad_json"}, {`True`, "bad_json"}, {`NaN`, "bad_json"}, {`'a'`, "bad_json"}, {`"a`, "bad_json"}, {`"\x"`, "bad_json"},
		{`"\ud800"`, "bad_json"}, {`"\ud800\u0041"`, "bad_json"}, {`"\udc00\ud800"`, "bad_json"}, {`"\u12g4"`, "bad_json"}, {`"\u12`, "bad_json"},
		{"\"\n\"", "bad_json"}, {"\"\\n\x00\"", "bad_json"}, {"\"\xff\"", "bad_json"}, {"\"\xed\xa0\x80\"", "bad_json"}, {"\ufeff{}", "bad_json"},
		{`[[[[[]]]]]`, "too_large"}, {`{"a":{"a":{"a":{"a":{}}}}}`, "too_large"}, {`[[[[1]]]]`, ""}, {`"` + strings.Repeat("a", 100) + `"`, "too_large"},
		{"//", "bad_json"}, {"{} //", "bad_json"}, {"\\", "bad_json"}, {`"\`, "bad_json"},
	} {
		_, err := DecodeJSON([]byte(c.text), JSONLimits{MaxBytes: 64, MaxDepth: 4})
		if got := plugintest.Code(t, err); got != c.code {
			t.Errorf("%s: %q, want %q", c.text, got, c.code)
		}
	}
	if _, err := DecodeObject([]byte(`[]`), JSONLimits{}); plugintest.Code(t, err) != "bad_json" {
		t.Error("a list is no object")
	}
}

func TestCanonicalValues(t *testing.T) {
	type point struct {
		Y int    `json:"y"`
		X string `json:"x,omitempty"`
	}
	for _, c := range []struct {
		value any
		want  string // "" is refused
	}{
		{Object{"b": []string{"x"}, "a": map[string]string{"k": "v"}}, `{"a":{"k":"v"},"b":["x"]}`},
		{point{1, "<&>"}, `{"x":"<&>","y":1}`}, {[]point{{Y: 2}}, `[{"y":2}]`}, {[]byte("a"), `"YQ=="`},
		{MaxInteger, "9007199254740991"}, {-MaxInteger, "-9007199254740991"}, {MaxInteger + 1, ""}, {int64(-MaxInteger - 1), ""},
		{json.Number("9007199254740992"), ""}, {json.Number("99999999999999999999"), ""}, {json.Number("1E30"), "1e+30"}, {json.Number("-0"), "0"},
		{json.Number("1e999"), ""}, {json.Number("01"), ""}, {json.Number("1 "), ""}, {json.Number(""), ""}, {json.Number("5.0"), "5"},
		{1e21, "1e+21"}, {1e20, ""}, {json.Number("1e16"), ""}, {-1e15, "-1000000000000000"}, {1e-7, "1e-7"}, {math.Copysign(0, -1), "0"}, {math.NaN(), ""}, {math.Inf(1), ""},
		{uint64(1 << 60), ""}, {"\xff", ""}, {Object{"\xff": 1}, ""}, {make(chan int), ""}, {"\b\t\n\v\f\r\x00\x1f\"\\/\u2028", `"\b\t\n\u000b\f\r\u0000\u001f\"\\/` + "\u2028\""},
	} {
		got, err := Canonical(c.value)
		if (err != nil) != (c.want == "") || err == nil && string(got) != c.want {
			t.Errorf("%v: %s, %v; want %s", c.value, got, err, c.want)
		}
	}
	cycle := Object{}
	cycle["a"] = cycle
	if _, err := Canonical(cycle); plugintest.Code(t, err) != "too_large" {
		t.Error("a cycle has an end")
	}
}

// TestCanonicalAgrees compares with the library, which was written by others after the same text.
func TestCanonicalAgrees(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tree := anyJSON(3).Draw(t, "tree")
		got, err := Canonical(tree)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(tree)
		if err != nil {
			t.Fatal(err)
		}
		want, err := jcs.Transform(text)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("got %s, want %s (%v)", got, want, err)
		}
		again, err := DecodeJSON(got, JSONLimits{})
		if err != nil {
			t.Fatal(err)
		}
		if twice, err := Canonical(again); err != nil || !bytes.Equal(twice, got) {
			t.Fatalf("read and written again: %s, %v", twice, err)
		}
	})
}

func anyJSON(depth int) *rapid.Generator[any] {
	text := rapid.OneOf(rapid.String(), rapid.StringOf(rapid.SampledFrom([]rune("aé\u0000\u001f\"\\\uffff\ue000😂\U0010ffff"))))
	doubles := rapid.Float64().Filter(func(f float64) bool { return math.Abs(f) <= MaxInteger || math.Abs(f) >= 1e21 })
	leaves := []*rapid.Generator[any]{
		text.AsAny(), doubles.AsAny(), rapid.IntRange(-MaxInteger, MaxInteger).AsAny(), rapid.Bool().AsAny(), rapid.Just[any](nil),
	}
	if depth == 0 {
		return rapid.OneOf(leaves...)
	}
	inner := anyJSON(depth - 1)
	return rapid.OneOf(append(leaves, rapid.SliceOfN(inner, 0, 4).AsAny(), rapid.MapOfN(text, inner, 0, 6).AsAny())...)
}

func TestOrderOfMembers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x, y := rapid.String().Draw(t, "x"), rapid.String().Draw(t, "y")
		want := slices.Compare(utf16.Encode([]rune(x)), utf16.Encode([]rune(y)))
		if got := compareUTF16(x, y); got < 0 != (want < 0) || got > 0 != (want > 0) {
			t.Fatalf("%q, %q: %d, want %d", x, y, got, want)
		}
	})
}

// FuzzDecodeJSON compares with encoding/json: whatever we read it reads, and both see the same value.
func FuzzDecodeJSON(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.5,"x"]}`, `"\ud83d\ude02"`, `[null,true]`, `{"":{}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		tree, err := DecodeJSON(raw, JSONLimits{})
		if err != nil {
			plugintest.Code(t, err)
			return
		}
		var theirs any
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber()
		if err := d.Decode(&theirs); err != nil {
			t.Fatalf("we read what encoding/json does not: %v", err)
		}
		ours, err := Canonical(tree)
		if err != nil {
			return // a number that is no double
		}
		want, err := Canonical(theirs)
		if err != nil || !bytes.Equal(ours, want) {
			t.Fatalf("%s, want %s (%v)", ours, want, err)
		}
	})
}

func TestASCII(t *testing.T) {
	got, err := ASCII("aé😂\n")
	if want := `"a\u00e9\ud83d\ude02\n"`; err != nil || string(got) != want {
		t.Errorf("%s, %v; want %s", got, err, want)
	}
}
