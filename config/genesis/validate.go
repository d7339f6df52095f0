package genesis

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"weft/config/strict"
	"weft/tangle"
)

// The bounds of a genesis.
const (
	MaxFileBytes    = 1 << 20
	MaxMembers      = 1024
	MaxNetworkBytes = 32
	MaxNameBytes    = 64
	MaxPlugins      = 64
	MaxPluginBytes  = 32        // of a plugin's name
	MaxMessageBytes = 256 << 10 // of limits.maxMessageBytes; a node stores a message as one value

	maxInteger = 1<<53 - 1 // the largest every JSON reader keeps exact
)

// Parse reads genesis.json. It accepts exactly the canonical bytes of a valid genesis and reports everything else that
// is wrong with its place, all at once (strict.Faults). checkKey says whether a member's key is fit to verify with: nodes
// must pass zip215.CheckKey, because a key of small order signs everything; nil means that someone has checked before.
func Parse(data []byte, checkKey func(tangle.Member) error) (*Genesis, error) {
	if len(data) > MaxFileBytes {
		return nil, fmt.Errorf("%d bytes, at most %d", len(data), MaxFileBytes)
	}
	g := &Genesis{}
	if err := strict.Decode(data, g, true); err != nil {
		return nil, err
	}
	if err := g.Validate(checkKey); err != nil {
		return nil, err
	}
	if want := g.Bytes(); !bytes.Equal(data, want) {
		return nil, notCanonical(data, want)
	}
	return g, nil
}

func notCanonical(data, want []byte) error {
	at := 0
	for at < len(data) && at < len(want) && data[at] == want[at] {
		at++
	}
	return fmt.Errorf("not the canonical bytes (they differ from byte %d on): the network's ID is the SHA-256 of the file, so it has "+
		"one form only, RFC 8785: no spaces, no line end, members in order; write it with 'weft init genesis' and copy it unchanged", at)
}

// Validate reports everything that is wrong with g, as Parse does.
func (g *Genesis) Validate(checkKey func(tangle.Member) error) error {
	c := checker{g: g, checkKey: checkKey}
	c.head()
	c.members()
	c.limits()
	c.consensus()
	c.plugins()
	return c.Err()
}

// CheckNetwork says whether a network may have this name.
func CheckNetwork(name string) error {
	if !isName(name, MaxNetworkBytes) {
		return fmt.Errorf("%q: want 1 to %d characters of a-z, 0-9 and -", name, MaxNetworkBytes)
	}
	return nil
}

// CheckName says whether a member may have this name; it stands in the key names of signed notes.
func CheckName(name string) error {
	odd := func(r rune) bool {
		return !unicode.IsPrint(r) || unicode.IsSpace(r) || r == '+' || r == utf8.RuneError
	}
	if name == "" || len(name) > MaxNameBytes || strings.ContainsFunc(name, odd) {
		return fmt.Errorf("%q: want 1 to %d bytes of printable text without spaces and +", name, MaxNameBytes)
	}
	return nil
}

// CheckRoles says whether a member may have these roles.
func CheckRoles(roles []string) error {
	if len(roles) == 0 {
		return fmt.Errorf("none: want some of %s", strings.Join(Roles(), ", "))
	}
	for i, role := range roles {
		if !slices.Contains(Roles(), role) {
			return fmt.Errorf("%q is not a role: want some of %s", role, strings.Join(Roles(), ", "))
		}
		if slices.Contains(roles[:i], role) {
			return fmt.Errorf("%q is there twice", role)
		}
	}
	return nil
}

type checker struct {
	strict.Faults
	g        *Genesis
	checkKey func(tangle.Member) error
}

func (c *checker) head() {
	if c.g.Version != Version {
		c.Add("version", "%d: this program knows version %d", c.g.Version, Version)
	}
	if err := CheckNetwork(c.g.Network); err != nil {
		c.Add("network", "%s", err)
	}
	if c.g.Time == 0 || c.g.Time > maxInteger {
		c.Add("time", "%d: want milliseconds since 1970", c.g.Time)
	}
}

func (c *checker) members() {
	if n := len(c.g.Members); n > MaxMembers {
		c.Add("members", "%d, at most %d", n, MaxMembers)
		return
	}
	keys, names := map[tangle.Member]int{}, map[string]int{}
	for i, m := range c.g.Members {
		path := fmt.Sprintf("members[%d]", i)
		if first, twice := keys[m.Key]; twice {
			c.Add(path+".key", "the same as of members[%d]", first)
		}
		if first, twice := names[m.Name]; twice {
			c.Add(path+".name", "the same as of members[%d]", first)
		}
		keys[m.Key], names[m.Name] = i, i
		c.member(path, m)
	}
	c.committee(len(c.g.Committee()))
}

func (c *checker) member(path string, m Member) {
	if c.checkKey != nil {
		if err := c.checkKey(m.Key); err != nil {
			c.Add(path+".key", "%s", err)
		}
	}
	if err := CheckName(m.Name); err != nil {
		c.Add(path+".name", "%s", err)
	}
	if err := CheckRoles(m.Roles); err != nil {
		c.Add(path+".roles", "%s", err)
	}
}

func (c *checker) committee(validators int) {
	switch {
	case validators == 0:
		c.Add("members", "no validator: at least one member must have that role")
	case validators == 2 || validators == 3:
		c.Add("members", "%d validators: with 2 or 3 the network stops as soon as one of them does, and one that lies can split it; "+
			"take 4 or more, or 1 for a private log", validators)
	case validators > tangle.MaxValidators:
		c.Add("members", "%d validators, at most %d", validators, tangle.MaxValidators)
	}
}

func (c *checker) limits() {
	l := c.g.Limits
	c.inRange("limits.maxMessageBytes", l.MaxMessageBytes, 4<<10, MaxMessageBytes)
	c.inRange("limits.maxEntries", l.MaxEntries, 1, 4096)
	c.inRange("limits.maxParents", l.MaxParents, 2, 64)
	c.inRange("limits.maxTips", l.MaxTips, 1, 1024)
	c.inRange("limits.maxVotes", l.MaxVotes, 1, 64)
	c.inRange("limits.maxEvidence", l.MaxEvidence, 1, 64)
	c.inRange("limits.maxEntryBytes", l.MaxEntryBytes, 256, MaxMessageBytes)
	if len(c.Faults) == 0 {
		c.room(l, len(c.g.Committee()))
	}
}

// room checks that the largest things fit into a message.
func (c *checker) room(l tangle.Limits, validators int) {
	const fixed, reference, vote, proof = 256, 32 + 2, 104, 64 // bytes: header with signature, parent, vote, evidence
	const entry = tangle.MaxLastingBytes + 32                  // beside its data
	if least := fixed + l.MaxParents*reference + entry + l.MaxEntryBytes; least > l.MaxMessageBytes {
		c.Add("limits.maxMessageBytes", "%d: the largest entry with its message needs %d", l.MaxMessageBytes, least)
	}
	if least := fixed + (validators+l.MaxTips)*reference + l.MaxVotes*vote + l.MaxEvidence*proof; least > l.MaxMessageBytes {
		c.Add("limits.maxMessageBytes", "%d: the largest witness of %d validators needs %d", l.MaxMessageBytes, validators, least)
	}
}

func (c *checker) consensus() {
	p := c.g.Consensus
	c.inRange("consensus.gcRounds", int(p.GCRounds), 10, 10_000)
	c.inRange("consensus.horizonSeconds", int(p.HorizonSeconds), 10, 24*60*60)
	c.inRange("consensus.checkpointMillis", int(p.CheckpointMillis), 1, 60_000)
	c.inRange("consensus.freshCheckpointSeconds", int(p.FreshCheckpointSeconds), 1, 3600)
}

func (c *checker) inRange(path string, n, least, most int) {
	if n < least || n > most {
		c.Add(path, "%d: want %d to %d", n, least, most)
	}
}

func (c *checker) plugins() {
	if n := len(c.g.Plugins); n > MaxPlugins {
		c.Add("plugins", "%d, at most %d", n, MaxPlugins)
		return
	}
	first := map[string]int{}
	for i, p := range c.g.Plugins {
		path := fmt.Sprintf("plugins[%d]", i)
		if before, twice := first[p.Name]; twice {
			c.Add(path+".name", "the same as of plugins[%d]", before)
		}
		first[p.Name] = i
		if err := CheckPlugin(p.Name); err != nil {
			c.Add(path+".name", "%s", err)
		}
		if p.Config != nil {
			c.section(path+".config", p.Config)
		}
	}
}

// CheckPlugin says whether a plugin may have this name.
func CheckPlugin(name string) error {
	if !isName(name, MaxPluginBytes) {
		return fmt.Errorf("%q: want 1 to %d characters of a-z, 0-9 and -", name, MaxPluginBytes)
	}
	if name == "data" {
		return fmt.Errorf("%q is built in", name)
	}
	return nil
}

func (c *checker) section(path string, config json.RawMessage) {
	if err := strict.Check(config); err != nil {
		c.Add(path, "%s", err)
		return
	}
	section, ok := value(config).(map[string]any)
	if !ok {
		c.Add(path, "want an object")
		return
	}
	c.numbers(path, section)
}

// numbers refuses those that RFC 8785 would write in another way than they stand there.
func (c *checker) numbers(path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			c.numbers(strict.Join(path, name), v[name])
		}
	case []any:
		for i, item := range v {
			c.numbers(fmt.Sprintf("%s[%d]", path, i), item)
		}
	case json.Number:
		n, err := strconv.ParseInt(string(v), 10, 64)
		if err != nil || n > maxInteger || n < -maxInteger || strconv.FormatInt(n, 10) != string(v) {
			c.Add(path, "%s: want a whole number below 2^53 in its plain form", v)
		}
	}
}

func isName(s string, most int) bool {
	odd := func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' }
	return s != "" && len(s) <= most && !strings.ContainsFunc(s, odd)
}
