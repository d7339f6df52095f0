package genesis

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"weft/tangle"
)

// sample is a genesis of n validators.
func sample(n int) *Genesis {
	g := &Genesis{
		Version: Version, Network: "harbour-1", Time: 1_790_000_000_000,
		Limits: tangle.DefaultLimits(), Consensus: DefaultConsensus(),
	}
	for i := range n {
		g.Members = append(g.Members, Member{Key: tangle.Member{byte(i + 1)}, Name: fmt.Sprintf("m%d.example", i), Roles: []string{RoleValidator}})
	}
	return g
}

func TestCanonicalBytes(t *testing.T) {
	g := sample(1)
	g.Plugins = []Plugin{{Name: "did", Config: json.RawMessage(`{ "z":[1, -2], "\u20ac":"<&>\u2028\u0001\n", "\ud83d\ude00":1, "\ufb33":true }`)}}
	want := `{"consensus":{"checkpointMillis":100,"freshCheckpointSeconds":10,"gcRounds":60,"horizonSeconds":600},` +
		`"limits":{"maxEntries":1024,"maxEntryBytes":32768,"maxEvidence":4,"maxMessageBytes":65536,"maxParents":8,"maxTips":256,"maxVotes":8},` +
		`"members":[{"key":"01` + strings.Repeat("0", 62) + `","name":"m0.example","roles":["validator"]}],"network":"harbour-1",` +
		`"plugins":[{"config":{"z":[1,-2],"€":"<&>` + "\u2028" + `\u0001\n","😀":1,"` + "\ufb33" + `":true},"name":"did"}],"time":1790000000000,"version":1}`
	if got := string(g.Bytes()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestParseReturnsWhatBytesWrote(t *testing.T) {
	for _, n := range []int{1, 4, 7} {
		g := sample(n)
		back, err := Parse(g.Bytes(), nil)
		if err != nil {
			t.Fatalf("%d validators: %v", n, err)
		}
		if back.ID() != g.ID() {
			t.Errorf("%d validators: network %s, want %s", n, back.ID(), g.ID())
		}
	}
}

func TestParseReportsAllFaultsWithTheirPlaces(t *testing.T) {
	text := `{"version":2,"version":1,"network":"Harbour","time":0,"extra":1,
		"members":[{"key":"00","name":"a b","roles":["boss"]},{"key":7,"name":"x","roles":[]}],
		"limits":{"maxMessageBytes":"64K"},"plugins":[]}`
	_, err := Parse([]byte(text), nil)
	contains(t, err, "version: given twice")

	_, err = Parse([]byte(strings.Replace(text, `"version":2,`, "", 1)), nil)
	contains(t, err,
		"extra: no such member", "members[0].key: want 64 lower-case hex digits", "members[1].key: want a string, have 7",
		"limits.maxMessageBytes: want a whole number, have \"64K\"", "limits.maxTips: missing", "consensus: missing")
}

func TestValidateReportsAllFaultsWithTheirPlaces(t *testing.T) {
	g := sample(3)
	g.Version, g.Network, g.Time = 9, "Harbour", 0
	g.Members[1].Key, g.Members[2].Name = g.Members[0].Key, "a+b"
	g.Members[1].Roles = []string{RoleValidator, "boss"}
	g.Limits.MaxMessageBytes = tangle.MaxBytes + 1
	g.Consensus.GCRounds = 0
	g.Plugins = []Plugin{{Name: "data"}, {Name: "x", Config: json.RawMessage(`{"a":{"b":1.5}}`)}, {Name: "x", Config: json.RawMessage(`7`)}}
	weak := errors.New("small order")
	contains(t, g.Validate(func(m tangle.Member) error {
		if m == g.Members[2].Key {
			return weak
		}
		return nil
	}),
		"version: 9", `network: "Harbour"`, "time: 0", "members[1].key: the same as of members[0]", "members[2].name: \"a+b\"",
		"members[2].key: small order", `members[1].roles: "boss" is not a role`, "members: 3 validators", "limits.maxMessageBytes: 1048577",
		"consensus.gcRounds: 0", `plugins[0].name: "data" is built in`, "plugins[1].config.a.b: 1.5", "plugins[2].name: the same",
		"plugins[2].config: want an object")
}

func TestTheLargestThingsMustFit(t *testing.T) {
	g := sample(4)
	g.Limits.MaxEntryBytes = g.Limits.MaxMessageBytes
	contains(t, g.Validate(nil), "limits.maxMessageBytes: 65536: the largest entry")
	g = sample(4)
	g.Limits.MaxMessageBytes, g.Limits.MaxEntryBytes = 4<<10, 1<<10
	contains(t, g.Validate(nil), "the largest witness of 4 validators needs")
}

func TestOnlyOneFormIsAccepted(t *testing.T) {
	data := sample(4).Bytes()
	for _, other := range [][]byte{append(bytes.Clone(data), '\n'), bytes.Replace(data, []byte(`"version":1`), []byte(`"version": 1`), 1)} {
		_, err := Parse(other, nil)
		contains(t, err, "not the canonical bytes", "RFC 8785")
	}
	_, err := Parse(make([]byte, MaxFileBytes+1), nil)
	contains(t, err, "at most")
}

func contains(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("no %q in:\n%v", part, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	g := sample(4)
	f.Add(g.Bytes())
	g.Plugins = []Plugin{{Name: "did", Config: json.RawMessage(`{"a":[1,{"b":"c"}]}`)}}
	f.Add(g.Bytes())
	f.Add([]byte(`{"version":1,"version":1}`))
	f.Add([]byte(strings.Repeat("[", 1000)))
	f.Fuzz(func(t *testing.T, data []byte) {
		g, err := Parse(data, nil)
		if err == nil && !bytes.Equal(g.Bytes(), data) {
			t.Errorf("accepted other bytes than its own: %q", data)
		}
	})
}
