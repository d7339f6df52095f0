package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"weft/plugins/identity/did"
	"weft/plugins/identity/operation"
	statuslist "weft/plugins/identity/status"
	"weft/plugins/identity/trust"
	"weft/tangle"
)

func TestPropertiesOnTheCommandLine(t *testing.T) {
	for text, want := range map[string]string{
		"person.age_over=16,18,21": `{"path":"person.age_over","values":[16,18,21]}`,
		"person.country=DE,AT":     `{"path":"person.country","values":["DE","AT"]}`,
		"person.income=0..100":     `{"path":"person.income","range":{"min":0,"max":100}}`,
		"a^=x":                     `{"path":"a","startsWith":"x"}`,
		"a$=x":                     `{"path":"a","endsWith":"x"}`,
		"a~=x=y":                   `{"path":"a","contains":"x=y"}`,
		"a.*=any":                  `{"path":"a.*","any":true}`,
		"a":                        "error",
		"a=":                       "error",
		"a^=":                      "error",
		"=x":                       "error",
	} {
		p, err := parseProperty(text)
		var got []byte
		if err == nil {
			got, err = json.Marshal(trust.NewAddProperty(operation.Header{}, "zQm", p)["property"])
		}
		if err != nil {
			got = []byte("error")
		}
		var a, b any
		json.Unmarshal(got, &a)
		json.Unmarshal([]byte(want), &b)
		if !reflect.DeepEqual(a, b) {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

// TestOperationsOfTheCommandLineDecode holds what the verbs write against the rules of the ledger.
func TestOperationsOfTheCommandLineDecode(t *testing.T) {
	x := &shop{t: t, dir: t.TempDir()}
	x.weft("did", "create", x.path("keys"), "--type", "person", "--unencrypted")
	list := "zQmXtdqBcttpNuDJ97w7BptUcXHSbDHRLdgTP7RP1Y3tL2T"
	member := strings.Repeat("1", 64)
	network, err := tangle.ParseID(testNetwork)
	if err != nil {
		t.Fatal(err)
	}
	someone := "did:key:z6Mkon3Necd6NkkyfoGoHxid2znGc59LU3K7mubaRcFbLfLX"
	for name, args := range map[string][]string{
		"list":      {"status", "create", "--home", member, "--writer", someone},
		"set":       {"status", "set", list, "--on", "9,1-3"},
		"close":     {"status", "close", list},
		"fed":       {"trust", "create", "F", "--property", "a=any"},
		"grant":     {"trust", "grant", list, someone, "--property", "a=1"},
		"accredit":  {"trust", "grant", list, someone, "--property", "a=1", "--kind", "accredit", "--max-depth", "2"},
		"revoke":    {"trust", "revoke", list},
		"root":      {"trust", "root", "add", list, someone},
		"rootless":  {"trust", "root", "revoke", list, someone, "--cascade"},
		"back":      {"trust", "root", "reinstate", list, someone},
		"property":  {"trust", "property", "add", list, "b=1..2"},
		"end":       {"trust", "property", "revoke", list, "b"},
		"threshold": {"trust", "threshold", list, "2"},
	} {
		t.Run(name, func(t *testing.T) {
			x.weft(append(args, "--keys", x.path("keys"), "--network", testNetwork, "--yes", "--out", x.path(name))...)
			entry, err := os.ReadFile(filepath.Join(x.dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if args[0] == "status" {
				_, err = statuslist.Decode(network, did.DefaultLimits(), entry)
			} else {
				_, err = trust.Decode(network, did.DefaultLimits(), entry)
			}
			if err != nil {
				t.Errorf("%s\n%s", err, entry)
			}
		})
	}
}
