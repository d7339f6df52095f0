package trust

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"weft/plugins/identity/did"
	"weft/plugins/identity/operation"
	"weft/plugins/plugintest"
)

func TestReadProperty(t *testing.T) {
	many := "1"
	for i := 2; i <= MaxValues+1; i++ {
		many += "," + string(operation.Record(i))
	}
	for _, c := range []struct{ text, want string }{
		{`{"path":"person.age_over","values":[16,18,21]}`, ""},
		{`{"path":"a","any":true}`, ""},
		{`{"path":"a.b.*","any":true}`, ""},
		{`{"path":"a","range":{"min":-1,"max":1}}`, ""},
		{`{"path":"a","startsWith":"x","validFrom":"2026-12-01T00:00:00Z","validUntil":"2026-12-01T00:00:00Z"}`, ""},
		{`{"path":"a_b-9.c","endsWith":"x"}`, ""},
		{`{"path":"1.2.3.4.5.6.7.8","contains":"x"}`, ""},
		{`{"path":"1.2.3.4.5.6.7.*","contains":"x"}`, ""},
		{`{"path":"1.2.3.4.5.6.7.8.*","contains":"x"}`, "bad_property"},
		{`{"path":"1.2.3.4.5.6.7.8.9","contains":"x"}`, "bad_property"},
		{`{"path":"a"}`, "bad_value"},
		{`{"path":"a","values":[]}`, "bad_value"},
		{`{"path":"a","values":[` + many + `]}`, "bad_value"},
		{`{"path":"a","values":[true]}`, "bad_value"},
		{`{"path":"a","values":[1,1]}`, "bad_value"},
		{`{"path":"a","values":["1",1]}`, ""},
		{`{"path":"a","values":[1.5]}`, "bad_value"},
		{`{"path":"a","values":["` + strings.Repeat("x", MaxTextBytes+1) + `"]}`, "bad_value"},
		{`{"path":"a","any":false}`, "bad_value"},
		{`{"path":"a","any":true,"values":[1]}`, "bad_value"},
		{`{"path":"a","startsWith":""}`, "bad_value"},
		{`{"path":"a","endsWith":""}`, "bad_value"},
		{`{"path":"a","contains":""}`, "bad_value"},
		{`{"path":"a","range":{"min":2,"max":1}}`, "bad_value"},
		{`{"path":"a","range":{"min":2}}`, "bad_value"},
		{`{"path":"a","range":{"min":2,"max":3,"step":1}}`, "unknown_field"},
		{`{"path":"a","range":[1,2]}`, "bad_value"},
		{`{"path":"a","any":true,"minimum":1}`, "unknown_field"},
		{`{"any":true}`, "bad_value"},
		{`{"path":"","any":true}`, "bad_value"},
		{`{"path":"*","any":true}`, "bad_property"},
		{`{"path":"a.*.b","any":true}`, "bad_property"},
		{`{"path":"a*","any":true}`, "bad_property"},
		{`{"path":"a..b","any":true}`, "bad_property"},
		{`{"path":".a","any":true}`, "bad_property"},
		{`{"path":"A","any":true}`, "bad_property"},
		{`{"path":"` + strings.Repeat("a", MaxSegmentBytes+1) + `","any":true}`, "bad_property"},
		{`{"path":"a","any":true,"validFrom":"2026-12-02T00:00:00Z","validUntil":"2026-12-01T00:00:00Z"}`, "bad_property"},
		{`{"path":"a","any":true,"validFrom":"2026-12-02"}`, "bad_value"},
		{`[]`, "bad_property"},
	} {
		v, err := did.DecodeJSON([]byte(c.text), did.JSONLimits{})
		if err != nil {
			t.Fatal(err)
		}
		p, err := readProperty(v)
		if got := plugintest.Code(t, err); got != c.want {
			t.Errorf("%.100s: got %q (%v), want %q", c.text, got, err, c.want)
		}
		if err != nil {
			continue
		}
		var kept Property
		if err := json.Unmarshal(operation.Record(p), &kept); err != nil || !reflect.DeepEqual(kept, p) {
			t.Errorf("%s: kept as %+v, %v", c.text, kept, err)
		}
		if again, err := readProperty(any(p.body())); err != nil || !reflect.DeepEqual(again, p) {
			t.Errorf("%s: its body reads as %+v, %v", c.text, again, err)
		}
	}
}

func TestAllows(t *testing.T) {
	number := func(s string) any { return json.Number(s) }
	some := []Value{Integer(18), Text("x"), Text("")}
	for _, c := range []struct {
		p     Property
		path  string
		value any
		want  bool
	}{
		{Property{Path: "a", Values: some}, "a", number("18"), true},
		{Property{Path: "a", Values: some}, "a", number("18.0"), true},
		{Property{Path: "a", Values: some}, "a", number("18.5"), false},
		{Property{Path: "a", Values: some}, "a", "18", false},
		{Property{Path: "a", Values: some}, "a", "x", true},
		{Property{Path: "a", Values: some}, "a", "", true},
		{Property{Path: "a", Values: some}, "a", nil, false},
		{Property{Path: "a", Values: some}, "b", "x", false},
		{Property{Path: "a", Any: true}, "a", nil, false},
		{Property{Path: "a", Any: true}, "a", true, true},
		{Property{Path: "a", Any: true}, "a", did.Object{}, true},
		{Property{Path: "a", Range: &Range{1, 2}}, "a", number("1.5"), true},
		{Property{Path: "a", Range: &Range{1, 2}}, "a", number("2.000001"), false},
		{Property{Path: "a", Range: &Range{1, 2}}, "a", number("1e400"), false},
		{Property{Path: "a", Range: &Range{1, 2}}, "a", "1", false},
		{Property{Path: "a", Range: &Range{1, 2}}, "a", true, false},
		{Property{Path: "a", StartsWith: "x"}, "a", "xy", true},
		{Property{Path: "a", StartsWith: "x"}, "a", "yx", false},
		{Property{Path: "a", EndsWith: "x"}, "a", "yx", true},
		{Property{Path: "a", Contains: "x"}, "a", "yxy", true},
		{Property{Path: "a", Contains: "x"}, "a", "yy", false},
		{Property{Path: "a.*", Any: true}, "a.b", 1, true},
		{Property{Path: "a.*", Any: true}, "a.b.c", 1, true},
		{Property{Path: "a.*", Any: true}, "a", 1, false},
		{Property{Path: "a.*", Any: true}, "ab.c", 1, false},
		{Property{Path: "a.*", Any: true}, "a.*", 1, false},
		{Property{Path: "a.*", Any: true}, "a.b..c", 1, false},
		{Property{Path: "a"}, "a", "", false},
	} {
		if got := c.p.Allows(c.path, c.value); got != c.want {
			t.Errorf("%+v allows %s = %v: %t", c.p, c.path, c.value, got)
		}
	}
}

func TestCovers(t *testing.T) {
	property := func(text string) Property {
		v, _ := did.DecodeJSON([]byte(text), did.JSONLimits{})
		p, err := readProperty(v)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		return p
	}
	for _, c := range []struct {
		parent, child string
		want          bool
	}{
		{`"any":true`, `"any":true`, true}, {`"any":true`, `"contains":"x"`, true}, {`"any":true`, `"range":{"min":1,"max":2}`, true},
		{`"contains":"x"`, `"any":true`, false}, {`"values":[1]`, `"any":true`, false}, {`"range":{"min":1,"max":2}`, `"any":true`, false},
		{`"values":[1,2,"a"]`, `"values":["a",1]`, true}, {`"values":[1,2]`, `"values":[1,3]`, false}, {`"values":[1]`, `"values":["1"]`, false},
		{`"values":[1,2]`, `"range":{"min":1,"max":2}`, false}, {`"values":["x"]`, `"startsWith":"x"`, false},
		{`"range":{"min":1,"max":9}`, `"range":{"min":1,"max":9}`, true}, {`"range":{"min":1,"max":9}`, `"range":{"min":2,"max":3}`, true},
		{`"range":{"min":1,"max":9}`, `"range":{"min":0,"max":3}`, false}, {`"range":{"min":1,"max":9}`, `"values":[1,9]`, true},
		{`"range":{"min":1,"max":9}`, `"values":[1,10]`, false}, {`"range":{"min":1,"max":9}`, `"values":["1"]`, false},
		{`"range":{"min":0,"max":9}`, `"values":["x"]`, false}, {`"startsWith":"ab"`, `"startsWith":"abc"`, true}, {`"startsWith":"ab"`, `"startsWith":"a"`, false}, {`"startsWith":"ab"`, `"values":["ab","abx"]`, true},
		{`"startsWith":"ab"`, `"values":["ab",1]`, false}, {`"startsWith":"ab"`, `"endsWith":"ab"`, false}, {`"startsWith":"ab"`, `"contains":"ab"`, false},
		{`"endsWith":"yz"`, `"endsWith":"xyz"`, true}, {`"endsWith":"yz"`, `"endsWith":"z"`, false}, {`"endsWith":"yz"`, `"values":["yz","ayz"]`, true},
		{`"endsWith":"yz"`, `"startsWith":"yz"`, false}, {`"endsWith":"yz"`, `"contains":"yz"`, false},
		{`"contains":"b"`, `"contains":"abc"`, true}, {`"contains":"b"`, `"startsWith":"ab"`, true}, {`"contains":"b"`, `"endsWith":"bc"`, true},
		{`"contains":"b"`, `"values":["abc","b"]`, true}, {`"contains":"b"`, `"values":["abc","c"]`, false}, {`"contains":"bc"`, `"contains":"b"`, false},
		{`"contains":"b"`, `"range":{"min":1,"max":2}`, false}, {`"startsWith":"b"`, `"range":{"min":1,"max":2}`, false},
	} {
		parent, child := property(`{"path":"a",`+c.parent+`}`), property(`{"path":"a",`+c.child+`}`)
		if got := parent.covers(child); got != c.want {
			t.Errorf("%s covers %s: %t", c.parent, c.child, got)
		}
	}
	for _, c := range []struct {
		parent, child string
		want          bool
	}{
		{"a.b", "a.b", true}, {"a.b", "a", false}, {"a", "a.b", false}, {"a.*", "a.b", true}, {"a.*", "a", false}, {"a.*", "a.*", true},
		{"a.*", "a.b.*", true}, {"a.b.*", "a.*", false}, {"a.b.*", "a.bc.d", false}, {"a.b.*", "a.bc.*", false}, {"a.b", "a.*", false},
	} {
		parent, child := Property{Path: c.parent, Any: true}, Property{Path: c.child, Any: true}
		if got := parent.covers(child); got != c.want {
			t.Errorf("%s covers %s: %t", c.parent, c.child, got)
		}
	}
}

func drawProperty(r *rapid.T) Property {
	p := Property{Path: rapid.SampledFrom([]string{"a", "a.b", "a.b.c", "ab", "a.*", "a.b.*"}).Draw(r, "path")}
	texts := rapid.SampledFrom([]string{"x", "y", "xy", "yz", "xyz"})
	switch rapid.IntRange(0, 6).Draw(r, "shape") {
	case 0, 1:
		all := []Value{Integer(1), Integer(2), Integer(3), Text("x"), Text("xyz"), Text("zx"), Text("")}
		p.Values = rapid.SliceOfNDistinct(rapid.SampledFrom(all), 1, 4, rapid.ID[Value]).Draw(r, "values")
	case 2:
		least := rapid.Int64Range(0, 3).Draw(r, "min")
		p.Range = &Range{least, rapid.Int64Range(least, 4).Draw(r, "max")}
	case 3:
		p.StartsWith = texts.Draw(r, "text")
	case 4:
		p.EndsWith = texts.Draw(r, "text")
	case 5:
		p.Contains = texts.Draw(r, "text")
	default:
		p.Any = true
	}
	return p
}

// probes are statements near what drawProperty makes.
func probes() (paths []string, values []any) {
	return []string{"a", "a.b", "a.b.c", "a.b.c.d", "a.c", "ab", "ab.c"},
		[]any{0, 1, 2, 2.5, 3, 4, "", "x", "y", "xy", "xyz", "zx", "yzyz", "xyzxyz", "zzyxx", "1", true, nil}
}

// TestCoversIsSound compares the promise of covers with what the two allow.
func TestCoversIsSound(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		parent, child := drawProperty(r), drawProperty(r)
		if !parent.covers(child) {
			return
		}
		paths, values := probes()
		for _, path := range paths {
			for _, value := range values {
				if child.Allows(path, value) && !parent.Allows(path, value) {
					r.Fatalf("%+v covers %+v, but does not allow %s = %v", parent, child, path, value)
				}
			}
		}
	})
}

// TestCoversIsUseful holds that every property covers itself and that covering is transitive where it is found.
func TestCoversIsUseful(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		list := []Property{drawProperty(r), drawProperty(r), drawProperty(r)}
		for _, p := range list {
			if !p.covers(p) {
				r.Fatalf("%+v does not cover itself", p)
			}
		}
		if list[0].covers(list[1]) && list[1].covers(list[2]) && !list[0].covers(list[2]) {
			r.Fatalf("not transitive: %+v", list)
		}
	})
}

func TestPatterns(t *testing.T) {
	if got := patterns("a.b.c"); !slices.Equal(got, []string{"a.b.c", "a.b.*", "a.*"}) {
		t.Errorf("got %v", got)
	}
}
