// Package config reads a data folder: a node's own settings (node.json, overridden by the environment and by flags), the
// network's genesis.json, the member's key. Everything wrong with them is reported at once, each with its place.
//
// It opens no store and no connection, and it does not know what plugins do with their sections. What all members share
// is in package genesis below it.
package config

import (
	"encoding/json"
	"fmt"
	"time"

	"weft/tangle"
)

// Node is node.json. Every member of the file is optional; Default says what holds without it. A member api.listen is
// set by WEFT_API_LISTEN in the environment and by --set api.listen=..., in this order.
type Node struct {
	Listen   []string `json:"listen"`   // where peers reach this node: host:port (TCP) or multiaddrs, also of QUIC
	Peers    []Peer   `json:"peers"`    // the other members and where to dial them
	PSKFile  string   `json:"pskFile"`  // 64 hex digits shared by all members: an extra door before the handshake, TCP only
	MDNS     bool     `json:"mdns"`     // find members on the local network
	Tuning   Tuning   `json:"tuning"`   // pace of the committee; ignored by other members
	API      API      `json:"api"`      // the HTTP listener for everyone
	Operator Operator `json:"operator"` // the listener for this machine's operator
	Log      Log      `json:"log"`

	// MemoryMebibytes is the soft limit of the Go heap (GOMEMLIMIT); the process takes some more. 0: no limit.
	MemoryMebibytes int `json:"memoryMebibytes"`

	// PurgeHours is how often at most the store's files are written anew, so that bodies of erased entries are in none of them.
	// It happens only if some were erased. 0: only when an operator asks (weft purge).
	PurgeHours int `json:"purgeHours"`

	// Plugins are the sections of plugins by name, opaque to everyone else.
	Plugins map[string]json.RawMessage `json:"plugins"`
}

// Peer is a member and where to dial it.
type Peer struct {
	Member tangle.Member `json:"member"`
	Addrs  []string      `json:"addrs"`
}

// Tuning is the pace of rounds. A duration of 0 means what the profile says.
type Tuning struct {
	Profile       string   `json:"profile"`       // "lan" or "wan"
	MinRound      Duration `json:"minRound"`      // a round takes at least this long
	LeaderTimeout Duration `json:"leaderTimeout"` // how long to wait for a round's leader
	MaxTimeout    Duration `json:"maxTimeout"`    // to where that grows while leaders fail
	IdleRound     Duration `json:"idleRound"`     // a round while there is nothing to do
}

// API is the HTTP listener for everyone.
type API struct {
	Listen   string   `json:"listen"`   // host:port; empty: none, the operator's socket remains
	Insecure bool     `json:"insecure"` // allow plain HTTP off loopback: behind a proxy that ends TLS, or in a closed network
	TLS      TLS      `json:"tls"`
	Read     string   `json:"read"`     // who may read: "open" or "token"; empty: open on loopback, else token
	Submit   string   `json:"submit"`   // who may submit: "open" or "token"; empty: as Read
	CORS     []string `json:"cors"`     // origins of web pages that may call, beyond what is open to all
	NoQuorum string   `json:"noQuorum"` // writes without a quorum: "pending" or "refuse"
	Limits   Limits   `json:"limits"`
}

// TLS names PEM files, relative to the data folder.
type TLS struct {
	Cert string `json:"cert"`
	Key  string `json:"key"`
}

// Limits are rates per caller; 0 lifts one.
type Limits struct {
	ReadsPerSecond     int `json:"readsPerSecond"`
	WritesPerSecond    int `json:"writesPerSecond"`
	VerifiesPerSecond  int `json:"verifiesPerSecond"`
	AnonymousPerSecond int `json:"anonymousPerSecond"` // per address, for callers without a token
	LoginsPerMinute    int `json:"loginsPerMinute"`    // per address
}

// Operator is how the operator of this machine reaches the node.
type Operator struct {
	Socket bool `json:"socket"` // api.sock in the data folder
}

// Log is what the node says of itself on standard error.
type Log struct {
	Level  string `json:"level"`  // debug, info, warn, error
	Format string `json:"format"` // text, json
}

// The words that members of node.json may hold.
const (
	ProfileLAN = "lan"
	ProfileWAN = "wan"

	AccessOpen  = "open"
	AccessToken = "token"

	NoQuorumPending = "pending"
	NoQuorumRefuse  = "refuse"
)

// The addresses of a node that says nothing else.
const (
	DefaultListen    = "0.0.0.0:7600"
	DefaultAPIListen = "127.0.0.1:8080"
)

// Default is the node without a file.
func Default() Node {
	return Node{
		Listen:   []string{DefaultListen},
		Peers:    []Peer{},
		Tuning:   Tuning{Profile: ProfileLAN},
		API:      API{Listen: DefaultAPIListen, CORS: []string{}, NoQuorum: NoQuorumPending, Limits: DefaultRates()},
		Operator: Operator{Socket: true},
		Log:      Log{Level: "info", Format: "text"},

		MemoryMebibytes: 256,
		PurgeHours:      24,
		Plugins:         map[string]json.RawMessage{},
	}
}

// DefaultRates are those of api.md, section 2.
func DefaultRates() Limits {
	return Limits{ReadsPerSecond: 50, WritesPerSecond: 20, VerifiesPerSecond: 10, AnonymousPerSecond: 20, LoginsPerMinute: 10}
}

// pace is what a profile stands for.
func pace(profile string) Tuning {
	t := Tuning{
		Profile: profile, MinRound: Duration(10 * time.Millisecond), LeaderTimeout: Duration(50 * time.Millisecond),
		MaxTimeout: Duration(10 * time.Second), IdleRound: Duration(time.Second),
	}
	if profile == ProfileWAN {
		t.MinRound, t.LeaderTimeout = Duration(50*time.Millisecond), Duration(300*time.Millisecond)
	}
	return t
}

// settle replaces what means "as something else says" by what that says.
func (n *Node) settle() {
	p := pace(n.Tuning.Profile)
	for _, d := range []struct{ set, usual *Duration }{
		{&n.Tuning.MinRound, &p.MinRound}, {&n.Tuning.LeaderTimeout, &p.LeaderTimeout},
		{&n.Tuning.MaxTimeout, &p.MaxTimeout}, {&n.Tuning.IdleRound, &p.IdleRound},
	} {
		if *d.set == 0 {
			*d.set = *d.usual
		}
	}
	if n.API.Read == "" {
		n.API.Read = AccessToken
		if onLoopback(n.API.Listen) {
			n.API.Read = AccessOpen
		}
	}
	if n.API.Submit == "" {
		n.API.Submit = n.API.Read
	}
}

// Duration is a time.Duration in JSON as people write it: "50ms".
type Duration time.Duration

// MarshalText and UnmarshalText are Go's notation.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText accepts a number with a unit.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q: want a duration such as 50ms, 2s or 1m30s", text)
	}
	*d = Duration(v)
	return nil
}
