package config

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"weft/config/genesis"
	"weft/tangle"
)

func TestDefaultsAreValid(t *testing.T) {
	n, err := Parse(Sources{})
	if err != nil {
		t.Fatal(err)
	}
	if n.API.Read != AccessOpen || n.Tuning.MinRound != Duration(10*time.Millisecond) {
		t.Errorf("defaults are not settled: %+v", n)
	}
	text, err := json.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	back, err := Parse(Sources{File: text})
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := json.Marshal(back); string(again) != string(text) {
		t.Errorf("got  %s\nwant %s", again, text)
	}
}

func TestLaterSourcesWin(t *testing.T) {
	n, err := Parse(Sources{
		File: []byte(`{"listen":["0.0.0.0:1"],"api":{"listen":"127.0.0.1:1","limits":{"readsPerSecond":0}},"log":{"level":"warn"},"plugins":{"a":{"x":1,"y":2}}}`),
		Env:  []string{"HOME=/", "WEFT_API_LISTEN=127.0.0.1:2", "WEFT_LISTEN=0.0.0.0:2, /ip4/0.0.0.0/udp/2/quic-v1", "WEFT_MEMORY_MEBIBYTES=64", "WEFT_TUNING_MIN_ROUND=7ms", "WEFT_SERVICE_HOST=10.0.0.1", "WEFT_VECTORS=/vectors"},
		Set:  map[string]string{"api.listen": "127.0.0.1:3", "plugins.a": `{"y":3}`, "mdns": "true"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.settle()
	want.Listen = []string{"0.0.0.0:2", "/ip4/0.0.0.0/udp/2/quic-v1"}
	want.API.Listen, want.API.Limits.ReadsPerSecond, want.Log.Level = "127.0.0.1:3", 0, "warn"
	want.MemoryMebibytes, want.MDNS, want.Tuning.MinRound = 64, true, Duration(7*time.Millisecond)
	want.Plugins = map[string]json.RawMessage{"a": json.RawMessage(`{"x":1,"y":3}`)}
	if !reflect.DeepEqual(n, want) {
		t.Errorf("got  %+v\nwant %+v", n, want)
	}
}

func TestAllFaultsAtOnceWithTheirPlaces(t *testing.T) {
	_, err := Parse(Sources{
		File: []byte(`{"lisen":[],"peers":[{"member":"00","addrs":[]},{"member":7,"addrs":["nowhere"]}],"memoryMebibytes":1,
			"tuning":{"profile":"moon","minRound":"soon","leaderTimeout":"1h"},
			"api":{"listen":"0.0.0.0:8080","noQuorum":"wait","cors":["https://a/b"],"tls":{"key":"x"},"limits":{"readsPerSecond":-1}},
			"log":{"level":3},"plugins":{"Bad":{},"a":7}}`),
		Env: []string{"WEFT_API_LISTN=x", "WEFT_MDNS=maybe"},
		Set: map[string]string{"api.insecure": "7", "nothing": "1"},
	})
	for _, want := range []string{
		"lisen: no such member", "peers[0].member: want 64", "peers[0].addrs: none", "peers[1].member: want a string", `peers[1].addrs[0]: "nowhere"`,
		"memoryMebibytes: 1", `tuning.profile: "moon"`, `tuning.minRound: "soon"`, "tuning.leaderTimeout: 1h0m0s", "api.listen: 0.0.0.0:8080 is not a loopback",
		`api.noQuorum: "wait"`, "api.cors[0]", "api.tls: want both", "api.limits.readsPerSecond: -1", "log.level: want a string",
		"plugins.Bad", "plugins.a: want an object", "WEFT_API_LISTN: no such setting", `WEFT_MDNS: "maybe"`, "--set api.insecure: want true or false", "--set nothing: no such setting",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in:\n%v", want, err)
		}
	}
	if lines := strings.Count(err.Error(), "\n") + 1; lines != 22 {
		t.Errorf("%d faults, want 22:\n%v", lines, err)
	}
}

func TestDuplicatesAreFaults(t *testing.T) {
	_, err := Parse(Sources{File: []byte(`{"api":{"listen":"127.0.0.1:1","listen":"127.0.0.1:2"}}`)})
	if err == nil || err.Error() != "api.listen: given twice" {
		t.Errorf("got %v", err)
	}
}

func TestReadIsOpenOnLoopbackOnly(t *testing.T) {
	for listen, want := range map[string]string{
		"127.0.0.1:1": AccessOpen, "[::1]:1": AccessOpen, "localhost:1": AccessOpen, "": AccessOpen,
		"0.0.0.0:1": AccessToken, ":1": AccessToken, "node.example:1": AccessToken,
	} {
		n, err := Parse(Sources{Set: map[string]string{"api.listen": listen, "api.insecure": "true"}})
		if err != nil || n.API.Read != want || n.API.Submit != want {
			t.Errorf("%q: read %s, submit %s, want %s; %v", listen, n.API.Read, n.API.Submit, want, err)
		}
	}
}

func TestKeyFile(t *testing.T) {
	dir := Dir(t.TempDir())
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	for name, words := range map[string]string{"plain": "", "locked": "correct horse"} {
		path := dir.Path(name)
		if err := WriteKey(path, key, words); err != nil {
			t.Fatal(err)
		}
		if err := WriteKey(path, key, words); err == nil {
			t.Errorf("%s: overwritten", name)
		}
		back, err := ReadKey(path, func() (string, error) { return words, nil })
		if err != nil || !back.Equal(key) {
			t.Errorf("%s: another key or %v", name, err)
		}
	}
	for _, words := range []string{"", "wrong"} {
		if _, err := ReadKey(dir.Path("locked"), func() (string, error) { return words, nil }); !errors.Is(err, ErrPassphrase) {
			t.Errorf("passphrase %q: %v", words, err)
		}
	}
	if err := os.Chmod(dir.Path("plain"), 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadKey(dir.Path("plain"), nil); !errors.Is(err, errOpenToOthers) {
		t.Errorf("mode 0640: %v", err)
	}
}

func TestMembersOfNodeAndGenesisAgree(t *testing.T) {
	self, other, stranger := tangle.Member{1}, tangle.Member{2}, tangle.Member{3}
	g := &genesis.Genesis{Network: "n", Members: []genesis.Member{{Key: self}, {Key: other}}}
	if err := CheckMembers(Node{Peers: []Peer{{Member: other}}}, g, self); err != nil {
		t.Error(err)
	}
	err := CheckMembers(Node{Peers: []Peer{{Member: stranger}, {Member: stranger}}}, g, stranger)
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("want three faults: %v", err)
	}
}

func TestGenesisWithAWeakKeyIsRefused(t *testing.T) {
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	g := genesis.Genesis{
		Version: genesis.Version, Network: "n", Time: 1, Limits: tangle.DefaultLimits(), Consensus: genesis.DefaultConsensus(),
		Members: []genesis.Member{{Key: MemberOf(key), Name: "a", Roles: []string{genesis.RoleValidator}}},
	}
	path := filepath.Join(t.TempDir(), "genesis.json")
	write := func() error {
		if err := os.WriteFile(path, g.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := LoadGenesis(path)
		return err
	}
	if err := write(); err != nil {
		t.Fatal(err)
	}
	g.Members[0].Key = tangle.Member{1} // the identity point: it verifies a signature of all messages
	if err := write(); err == nil || !strings.Contains(err.Error(), "members[0].key") {
		t.Errorf("a key of small order was taken: %v", err)
	}
}

func FuzzNode(f *testing.F) {
	whole, err := json.Marshal(Default())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole, "WEFT_API_LISTEN=127.0.0.1:1")
	f.Add([]byte(`{"plugins":{"a":{"b.c":[1,{"d":null}]}},"peers":[{}]}`), `WEFT_PLUGINS={"a":{"b":1}}`)
	f.Add([]byte(`{"api":[]}`), "WEFT_PEERS=[]")
	f.Fuzz(func(t *testing.T, file []byte, env string) {
		n, err := Parse(Sources{File: file, Env: []string{env}})
		if err != nil {
			return
		}
		text, err := json.Marshal(n)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(Sources{File: text}); err != nil {
			t.Errorf("accepted settings are refused when written out: %v\n%s", err, text)
		}
	})
}
