// Package genesis is the file that all members of a network share: its name, first members, limits and the parameters
// that everyone must agree on. The network's ID is the SHA-256 of its canonical bytes.
//
// It does not read files and knows nothing of a node's own settings; package config does.
package genesis

import (
	"crypto/sha256"
	"encoding/json"
	"slices"
	"time"

	"weft/tangle"
)

// Genesis is genesis.json. A file has exactly the bytes that Bytes returns, so that sha256sum shows the network's ID.
type Genesis struct {
	Version   int           `json:"version"` // Version
	Network   string        `json:"network"` // name: the origin of checkpoints is "weft/<network>"
	Time      tangle.Time   `json:"time"`    // ms since 1970; no message is older
	Members   []Member      `json:"members"`
	Limits    tangle.Limits `json:"limits"`
	Consensus Consensus     `json:"consensus"`
	Plugins   []Plugin      `json:"plugins"` // ledger plugins, in order
}

// Member is a founder. Roles: validator, issuer, reader, auditor, governor.
type Member struct {
	Key   tangle.Member `json:"key"`
	Name  string        `json:"name"`
	Roles []string      `json:"roles"`
}

// Consensus are the parameters every node must share, because decisions or the order depend on them.
type Consensus struct {
	GCRounds               uint32 `json:"gcRounds"`               // rounds below the last committed leader that can still be roots of the order
	HorizonSeconds         uint32 `json:"horizonSeconds"`         // messages older than commit time minus this are expired
	CheckpointMillis       uint32 `json:"checkpointMillis"`       // least commit time between checkpoints of growing size
	FreshCheckpointSeconds uint32 `json:"freshCheckpointSeconds"` // commit time after which one of unchanged size is due
}

// Plugin is a ledger plugin and its section, opaque to everyone else.
type Plugin struct {
	Name   string          `json:"name"`
	Config json.RawMessage `json:"config,omitempty"`
}

// DefaultConsensus are the parameters of protocol.md, sections 3 to 5.
func DefaultConsensus() Consensus {
	return Consensus{GCRounds: 60, HorizonSeconds: 600, CheckpointMillis: 100, FreshCheckpointSeconds: 10}
}

// The roles of a member. A validator's node is part of the committee; the others are what plugins ask for.
const (
	RoleValidator = "validator"
	RoleIssuer    = "issuer"
	RoleReader    = "reader"
	RoleAuditor   = "auditor"
	RoleGovernor  = "governor"
)

// Roles are all roles there are.
func Roles() []string {
	return []string{RoleValidator, RoleIssuer, RoleReader, RoleAuditor, RoleGovernor}
}

// Version is the version of the file this program reads and of the protocol it speaks.
const Version = 1

// Committee is the keys of the validators in the order of genesis.
func (g *Genesis) Committee() []tangle.Member {
	var keys []tangle.Member
	for _, m := range g.Members {
		if m.Is(RoleValidator) {
			keys = append(keys, m.Key)
		}
	}
	return keys
}

// Is says whether the member has a role.
func (m Member) Is(role string) bool {
	return slices.Contains(m.Roles, role)
}

// Quorum is n - f with f = (n-1)/3: for n = 3f+1 the usual 2f+1.
func Quorum(n int) int { return n - (n-1)/3 }

// ID is the network's ID: SHA-256 of the canonical bytes.
func (g *Genesis) ID() tangle.ID { return sha256.Sum256(g.Bytes()) }

// Horizon is HorizonSeconds as a duration.
func (c Consensus) Horizon() time.Duration { return time.Duration(c.HorizonSeconds) * time.Second }
