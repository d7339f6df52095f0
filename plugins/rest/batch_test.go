package rest

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"weft/config/strict"
	"weft/plugins"
	"weft/tangle"
)

func TestReadOperations(t *testing.T) {
	for _, c := range []struct {
		body string
		want []string // items
		code string
	}{
		{`{"operations":[{"a":1}]}`, []string{`{"a":1}`}, ""},
		{" {\n\"operations\" : [ {\"a\": [1, 2]} ,\t\"x\" , 17, null ] } \r\n", []string{`{"a": [1, 2]}`, `"x"`, `17`, `null`}, ""},
		{`{"operations":[{"a":"]}\\\"}]"},[[]]]}`, []string{`{"a":"]}\\\"}]"}`, `[[]]`}, ""},
		{`{"operations":["\\"]}`, []string{`"\\"`}, ""},
		{`{"operations":[1,2,3,4]}`, []string{"1", "2", "3", "4"}, ""},
		{`{"operations":[1,2,3,4,5]}`, nil, "bad_value"},
		{`{"operations":[]}`, nil, "bad_value"},
		{`{"operations":[],"more":1}`, nil, "unknown_field"},
		{`{"operations":[1],"operations":[2]}`, nil, "unknown_field"},
		{`{"more":1,"operations":[1]}`, nil, "unknown_field"},
		{`{"operations":{}}`, nil, "bad_value"},
		{`{"operations":null}`, nil, "bad_value"},
		{`{}`, nil, "unknown_field"},
		{``, nil, "bad_json"},
		{`[`, nil, "bad_json"},
		{`{"operations":[`, nil, "bad_json"},
		{`{"operations":[1`, nil, "bad_json"},
		{`{"operations":[1]`, nil, "bad_json"},
		{`{"operations":[1}`, nil, "bad_json"},
		{`{"operations":[1]}x`, nil, "bad_json"},
		{`{"operations":[,]}`, nil, "bad_json"},
		{`{"operations":[1,]}`, nil, "bad_json"},
		{`{"operations":["]}`, nil, "bad_json"},
		{`{"operations":["\"]}`, nil, "bad_json"},
		{`{"operations":[{"a":1]}`, nil, "bad_json"},
		{`{"operations":` + strings.Repeat("[", 10_000), nil, "bad_json"},
	} {
		list, err := ReadOperations([]byte(c.body), 4)
		var got []string
		for _, item := range list {
			got = append(got, string(item))
		}
		code := ""
		if r := plugins.Rejected(err); r != nil {
			code = r.Code
		}
		if code != c.code || !slices.Equal(got, c.want) {
			t.Errorf("%.60s: %q %q, want %q %q", c.body, got, code, c.want, c.code)
		}
	}
}

// FuzzReadOperations: of a text that is JSON, the items are those that encoding/json finds; of one that is none, some item is
// none either, so that its decoder refuses it.
func FuzzReadOperations(f *testing.F) {
	for _, s := range []string{`{"operations":[{"a":"\\\"]"},[1,{}],-1e5,"",true]}`, `{"operations":[1]}`, `{"operations":[{]}]}`, `{"operations":["a" "b"]}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		list, err := ReadOperations(raw, 64)
		var want struct {
			Operations []json.RawMessage `json:"operations"`
		}
		if strict.Check(raw) != nil || json.Unmarshal(raw, &want) != nil {
			if err == nil && !slices.ContainsFunc(list, func(item json.RawMessage) bool { return strict.Check(item) != nil }) {
				t.Fatalf("%q is no JSON, and all of its items are: %q", raw, list)
			}
			return
		}
		if err != nil {
			return // another object than that of operations
		}
		if len(list) != len(want.Operations) {
			t.Fatalf("%q: %d items, want %d", raw, len(list), len(want.Operations))
		}
		for i := range list {
			if string(list[i]) != string(want.Operations[i]) {
				t.Fatalf("%q: item %d is %q, want %q", raw, i, list[i], want.Operations[i])
			}
		}
	})
}

// TestLookKeepsAnotherTry: an operation that was rejected is on its way again. Whoever asks what became of it is told of the
// entry that has its place, and the other one is not forgotten: the same operation must not become a third.
func TestLookKeepsAnotherTry(t *testing.T) {
	rejected, again := tangle.Hash{1}, tangle.Hash{2}
	submitted := 0
	o := NewOperations(plugins.Host{
		Submit: func(context.Context, []plugins.Submission) (plugins.Submitted, error) {
			submitted++
			return plugins.Submitted{Entries: []tangle.Hash{again}}, nil
		},
		Entry: func(h tangle.Hash, _ tangle.ID) (plugins.EntryState, bool) {
			if h == rejected {
				return plugins.EntryState{Status: "final", Code: "not_participant"}, true
			}
			return plugins.EntryState{Status: "pending"}, true
		},
	}, time.Now, Rules{
		Hash:    func(plugins.Op) string { return "hash" },
		Counted: func(string) (Found, bool) { return Found{}, false },
		Find:    func(string) (Found, bool) { return Found{Entry: rejected, Code: "not_participant"}, true },
	})
	for range 2 {
		if _, err := o.Submit(t.Context(), 32, "op", nil); err != nil {
			t.Fatal(err)
		}
		if s, known := o.State("hash"); !known || s.Entry != rejected {
			t.Errorf("state %+v, known %v", s, known)
		}
	}
	if submitted != 1 {
		t.Errorf("submitted %d times, want 1", submitted)
	}
}
