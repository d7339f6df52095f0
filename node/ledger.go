package node

import (
	"errors"

	"weft/tangle"
)

// Status is how far an entry or message has come.
type Status string

// The statuses of api.md, section 3.
const (
	StatusPending Status = "pending"
	StatusOrdered Status = "ordered"
	StatusFinal   Status = "final"
	StatusExpired Status = "expired"
)

// ErrUnknown says that the ledger does not hold what was asked for.
var ErrUnknown = errors.New("unknown")

// Head is how far this node's ledger has come.
type Head struct {
	Epoch     tangle.Epoch
	Round     tangle.Round    // highest attached
	Commit    uint64          // last executed
	Position  tangle.Position // positions applied here: the next one to give
	Time      tangle.Time     // commit time of Commit
	Final     tangle.Position // size of the newest certified checkpoint
	FinalTime tangle.Time     // its commit time
}

// Place is where an entry stands.
type Place struct {
	Position tangle.Position
	Index    int
}

// Settled is what the order said of a message.
type Settled struct {
	Status   Status
	Commit   uint64
	Position tangle.Position // class 0 only
	Time     tangle.Time     // commit time
	Codes    []string        // per entry: empty if accepted, else the rejection's code
}

// EntryRecord is an entry with everything the ledger knows of it.
type EntryRecord struct {
	Entry   tangle.Entry
	Message *tangle.Message
	Index   int
	Settled Settled
}

// CommitRecord is one decision of the committee.
type CommitRecord struct {
	Index    uint64
	Leader   tangle.ID
	Round    tangle.Round
	Time     tangle.Time
	First    tangle.Position // first position given
	Count    uint64          // positions given
	Messages []tangle.ID     // in order, witnesses included
	Digest   tangle.Hash     // hash chain over commits
}

// CheckpointRecord is a checkpoint, certified or not yet.
type CheckpointRecord struct {
	Commit    uint64
	Size      uint64
	Text      []byte // the note's text
	Note      []byte // signed note with at least a quorum of signatures; nil if not certified
	Signers   []tangle.Member
	Certified bool
}
