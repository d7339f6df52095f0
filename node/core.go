// Package node is a member's node. Core is the node without a body: a pure function from time and inputs to effects
// (core*.go). Around it stand the body that owns it and verifies signatures, the host of plugins, and the HTTP API.
//
// The package defines neither messages nor agreement nor storage: those are tangle, consensus and internal/store. What
// entries mean is the plugins' business.
package node

import (
	"weft/gossip"
	"weft/plugins"
	"weft/tangle"
)

// Input is one thing that happened to the node; exactly one field is set. A bare tick is a Step without inputs.
type Input struct {
	Frame  *PeerFrame
	Submit *Submission
	Peer   *PeerChange
}

// PeerFrame is a frame from an admitted peer. The body has parsed its messages (Frame.Messages.List), verified their
// signatures and run the plugins' checks; messages that failed never get here.
type PeerFrame struct {
	From  tangle.Member
	Frame gossip.Frame
	Ops   [][]Checked // parallel to Frame.Messages.List, then to its entries; nil: Core runs the checks itself
}

// Checked is what a plugin's Check said of one entry.
type Checked = plugins.Checked

// Submission asks this node to publish entries under its member's signature. Ticket comes back in Accepted or Refused.
type Submission struct {
	Ticket  uint64
	Entries []tangle.Entry // with salts
	Ops     []Checked      // parallel to Entries; nil: Core runs the checks itself
}

// PeerChange says that a peer's streams are ready, or gone.
type PeerChange struct {
	Member    tangle.Member
	Connected bool
}

// Effects is what follows from a Step. Everything an effect relies on is durable when Step returns: Send and Accepted
// may be acted on at once.
type Effects struct {
	Send     []gossip.Envelope
	Accepted []Accepted
	Refused  []Refused
	Faults   []Fault
	Events   []Event
	Wake     tangle.Time // call Step at this time at the latest; 0: no need
	More     bool        // work is left: call Step again at once
	Backlog  int         // inputs left for it: give few new ones, or none
}

// Accepted says that a submission is durable and part of a sealed message.
type Accepted struct {
	Ticket  uint64
	Message tangle.ID
}

// Refused says why a submission was not taken: busy, no_quorum, too_large.
type Refused struct {
	Ticket uint64
	Code   string
	Detail string
}

// Fault is something no honest peer sends.
type Fault struct {
	Peer   tangle.Member
	Reason string
}

// EventKind says what an Event tells observers.
type EventKind uint8

// The kinds of events. They feed dashboards, streams and metrics; nothing inside the core listens to them.
const (
	EventAttached   EventKind = 1 + iota // Message was attached
	EventOrdered                         // Message got Position in Commit
	EventCommitted                       // Commit ordered up to Position (exclusive)
	EventFinal                           // the certified checkpoint of size Position covers everything below
	EventEquivocate                      // Message conflicts with another of its author
	EventExpired                         // Message fell below the horizon unordered
	EventQuorum                          // Commit 1: quorum is back; 0: lost
)

// Event is a fact for observers.
type Event struct {
	Kind     EventKind
	Message  *tangle.Message
	Commit   uint64
	Position tangle.Position
	Time     tangle.Time
}
