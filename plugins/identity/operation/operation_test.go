package operation

import (
	"encoding/json"
	"slices"
	"testing"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/tangle"
)

func TestMembers(t *testing.T) {
	o, err := did.DecodeObject([]byte(`{"b":true,"e":[],"i":-5,"l":["a","b"],"o":{},"s":"x","u":["b","a"],"z":""}`), did.JSONLimits{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		read func(*Members)
		want string
	}{
		{"nothing read", func(*Members) {}, "unknown_field"},
		{"a missing member", func(m *Members) { m.Text("x", 9) }, "bad_value"},
		{"an empty text", func(m *Members) { m.Text("z", 9) }, "bad_value"},
		{"a long text", func(m *Members) { m.Text("s", 0) }, "bad_value"},
		{"an integer below", func(m *Members) { m.Integer("i", -4, 9) }, "bad_value"},
		{"an integer above", func(m *Members) { m.Integer("i", -9, -6) }, "bad_value"},
		{"a text as integer", func(m *Members) { m.Integer("s", 0, 9) }, "bad_value"},
		{"a text as list", func(m *Members) { m.List("s", 9) }, "bad_value"},
		{"a long list", func(m *Members) { m.List("l", 1) }, "bad_value"},
		{"an unsorted list", func(m *Members) { m.Texts("u", 2) }, "bad_value"},
		{"a text as object", func(m *Members) { m.Object("s") }, "bad_value"},
		{"a text as bool", func(m *Members) { m.Bool("s") }, "bad_value"},
		{"a text as hash", func(m *Members) { m.Hash("s") }, "bad_value"},
		{"a text as time", func(m *Members) { m.Instant("s") }, "bad_value"},
		{"the first fault stays", func(m *Members) { m.Judge(plugins.Reject("first", "")); m.Text("x", 9) }, "first"},
		{"all read", func(m *Members) {
			m.Bool("b")
			m.List("e", 0)
			m.Integer("i", -5, -5)
			m.Object("o")
			m.Text("s", 1)
			m.List("u", 2)
			m.take("z")
			if got := m.Texts("l", 2); !slices.Equal(got, []string{"a", "b"}) {
				t.Errorf("got %q", got)
			}
		}, ""},
	} {
		m := Read(o)
		c.read(m)
		got := ""
		if r := plugins.Rejected(m.Done()); r != nil {
			got = r.Code
		}
		if got != c.want {
			t.Errorf("%s: got %q (%v), want %q", c.name, got, m.Done(), c.want)
		}
	}
}

func TestCheckHash(t *testing.T) {
	good := did.Multihash(nil)
	if err := CheckHash(good); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", "z", good[1:], good + "1", "u" + good[1:], good[:46] + "0", "zQm" + good[:44], "z1111111111111111111111111111111111111111111111"} {
		if CheckHash(bad) == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestInstants(t *testing.T) {
	for i, want := range map[Instant]string{0: "1970-01-01T00:00:00Z", 1796083200000: "2026-12-01T00:00:00Z", 1796083200005: "2026-12-01T00:00:00.005Z"} {
		b, err := json.Marshal(i)
		if err != nil || string(b) != `"`+want+`"` {
			t.Errorf("%d is %s, %v", i, b, err)
		}
		var back Instant
		if err := json.Unmarshal(b, &back); err != nil || back != i {
			t.Errorf("%s reads as %d, %v", b, back, err)
		}
	}
	var i Instant
	for _, bad := range []string{`"2026-12-01"`, `"yesterday"`, `""`} {
		if err := json.Unmarshal([]byte(bad), &i); err == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
}

func TestSorted(t *testing.T) {
	list := []string{"b", "a", "b"}
	if got := Sorted(list); !slices.Equal(got, []string{"a", "b"}) || list[0] != "b" || !Ascending(got) || Ascending(list) {
		t.Errorf("got %q of %q", got, list)
	}
}

func TestBodyHoldsTheHeader(t *testing.T) {
	body := Header{Network: tangle.ID{1}, Actor: "did:key:x", NotAfter: 1796083200999}.Body("weft/trust/1", "grant")
	want := map[string]any{
		"type": "weft/trust/1", "op": "grant", "network": tangle.ID{1}.String(), "actor": "did:key:x",
		"nonce": "AAAAAAAAAAAAAAAAAAAAAA", "notAfter": "2026-12-01T00:00:00Z",
	}
	for name, value := range want {
		if body[name] != value || len(body) != len(want) {
			t.Errorf("%s is %v, want %v", name, body[name], value)
		}
	}
}
