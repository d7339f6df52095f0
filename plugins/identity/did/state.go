package did

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"weft/plugins"
	"weft/tangle"
)

// Place is where an operation stands in the order, and what the order says about it.
type Place struct {
	Time     tangle.Time // commit time
	Position tangle.Position
	Index    int           // of the entry in its message
	By       tangle.Member // the carrying member
	Entry    tangle.Hash
}

// Write is a change of the state; a nil Value deletes.
type Write = plugins.Write

// The first byte of this package's keys. Numbers inside keys are big-endian.
const (
	prefixHead      = 'd' // scid: Head
	prefixLog       = 'o' // scid, n u32: Record
	prefixOperation = 'h' // opHash: DID, n u32
	prefixQuota     = 'q' // quota, subject: window u64, count u32
	prefixSeen      = 'r' // notAfter u64, opHash: 1
)

func headKey(d DID) []byte            { return append([]byte{prefixHead}, d.SCID()...) }
func operationKey(hash string) []byte { return append([]byte{prefixOperation}, hash...) }

func logKey(d DID, n int) []byte {
	return binary.BigEndian.AppendUint32(append([]byte{prefixLog}, d.SCID()...), uint32(n))
}

// RecoverySet is who may recover a DID: any Threshold keys that hash into KeyHashes.
type RecoverySet struct {
	KeyHashes []string `json:"keyHashes"`
	Threshold int      `json:"threshold"`
}

// Head is what the next operation of a DID is judged by.
type Head struct {
	Network     string          `json:"network"` // label in the DID: the scid alone would also answer to other labels
	Version     int             `json:"version"` // index in the log, from 1
	OpHash      string          `json:"opHash"`  // of the newest operation
	Time        tangle.Time     `json:"time"`    // its commit time
	Position    tangle.Position `json:"position"`
	Deactivated bool            `json:"deactivated,omitempty"`

	UpdateKeys          []string `json:"updateKeys"`
	Threshold           int      `json:"threshold,omitempty"`
	NextKeyHashes       []string `json:"nextKeyHashes"`
	Controllers         []string `json:"controllers,omitempty"`
	ControllerThreshold int      `json:"controllerThreshold,omitempty"`
	Compromised         []string `json:"compromised,omitempty"` // multikeys, grows only

	Recovery       *RecoverySet `json:"recovery,omitempty"`
	RecoverySetter string       `json:"recoverySetter,omitempty"` // opHash of the operation that set Recovery

	Day     int64 `json:"day,omitempty"`     // of the newest update, since 1970
	Updates int   `json:"updates,omitempty"` // accepted on that day
}

// VersionID names the head's version.
func (h Head) VersionID() string { return versionID(h.Version, h.OpHash) }

func versionID(n int, opHash string) string { return fmt.Sprintf("%d-%s", n, opHash) }

// ReadHead returns the head of a DID, and whether the DID exists. An error is a broken invariant: the node must stop.
func ReadHead(v plugins.View, d DID) (h Head, found bool, err error) {
	return parseHead(v.Get(headKey(d)), d)
}

func parseHead(b []byte, d DID) (h Head, found bool, err error) {
	if b == nil {
		return h, false, nil
	}
	if err := json.Unmarshal(b, &h); err != nil {
		return h, false, fmt.Errorf("did: head of %s is damaged: %w", d, err)
	}
	return h, h.Network == d.Network(), nil
}

// Rule says by what right an operation was accepted.
type Rule byte

// The rules of identity.md, section 2.4.
const (
	RuleCreate      Rule = 1
	RuleOwn         Rule = 2 // update keys or pre-rotated keys
	RuleControllers Rule = 3
	RuleRecovery    Rule = 4
)

func (r Rule) String() string {
	switch r {
	case RuleCreate:
		return "create"
	case RuleOwn:
		return "own"
	case RuleControllers:
		return "controllers"
	case RuleRecovery:
		return "recovery"
	}
	return "unknown"
}

// Record is one accepted operation in the log of its DID.
type Record struct {
	Place
	Rule   Rule
	OpHash string
	Raw    []byte // the entry
}

// VersionID names the version that the operation made as the n-th of its log.
func (r Record) VersionID(n int) string { return versionID(n, r.OpHash) }

// recordFixed is the length of what stands before the entry.
const recordFixed = 1 + 8 + 8 + 4 + 32 + 32 + multihashLength

func (r Record) bytes() []byte {
	b := make([]byte, 0, recordFixed+len(r.Raw))
	b = append(b, byte(r.Rule))
	b = binary.BigEndian.AppendUint64(b, uint64(r.Time))
	b = binary.BigEndian.AppendUint64(b, uint64(r.Position))
	b = binary.BigEndian.AppendUint32(b, uint32(r.Index))
	b = append(b, r.By[:]...)
	b = append(b, r.Entry[:]...)
	b = append(b, r.OpHash...)
	return append(b, r.Raw...)
}

func parseRecord(b []byte) (r Record, err error) {
	if len(b) <= recordFixed {
		return r, fmt.Errorf("did: log record of %d bytes", len(b))
	}
	r.Rule = Rule(b[0])
	r.Time = tangle.Time(binary.BigEndian.Uint64(b[1:]))
	r.Position = tangle.Position(binary.BigEndian.Uint64(b[9:]))
	r.Index = int(binary.BigEndian.Uint32(b[17:]))
	copy(r.By[:], b[21:])
	copy(r.Entry[:], b[53:])
	r.OpHash = string(b[85:recordFixed])
	r.Raw = b[recordFixed:]
	return r, nil
}

// ReadRecord returns the n-th operation of a DID, from 1. That it is there is the caller's knowledge: an error is a broken
// invariant.
func ReadRecord(v plugins.View, d DID, n int) (Record, error) {
	return parseRecord(v.Get(logKey(d, n)))
}

// Log visits the operations of a DID from number from on, in their order, until visit returns false.
func Log(v plugins.View, d DID, from int, visit func(n int, r Record) bool) error {
	var fault error
	v.Scan(logKey(d, from), append(logKey(d, 1<<32-1), 0), func(key, value []byte) bool {
		r, err := parseRecord(value)
		if err != nil {
			fault = err
			return false
		}
		return visit(int(binary.BigEndian.Uint32(key[len(key)-4:])), r)
	})
	return fault
}

// Version is the place of an operation in the log of a DID.
type Version struct {
	DID DID
	N   int
}

// FindOperation returns which version an accepted operation made, and whether there is one.
func FindOperation(v plugins.View, opHash string) (Version, bool) {
	b := v.Get(operationKey(opHash))
	if len(b) != didLength+4 {
		return Version{}, false
	}
	return Version{DID{string(b[:didLength])}, int(binary.BigEndian.Uint32(b[didLength:]))}, true
}

// Quota bounds how many operations of one sort are accepted in a window of commit time.
type Quota struct {
	Name   byte // of the sort; 'c' is taken by creates
	Window time.Duration
	Max    int
}

// Count returns the write that counts one more operation of a subject at t, or rejects it as rate_limited. One counter per
// subject is kept: a new window takes the place of the one before.
func (q Quota) Count(v plugins.View, subject []byte, t tangle.Time) (Write, error) {
	key := slices.Concat([]byte{prefixQuota, q.Name}, subject)
	window, count := uint64(t)/uint64(q.Window.Milliseconds()), uint32(0)
	if b := v.Get(key); len(b) == 12 && binary.BigEndian.Uint64(b) == window {
		count = binary.BigEndian.Uint32(b[8:])
	}
	if int64(count) >= int64(q.Max) {
		return Write{}, plugins.Reject("rate_limited", "%d operations in a window of %v", count, q.Window)
	}
	value := binary.BigEndian.AppendUint64(nil, window)
	return Write{Key: key, Value: binary.BigEndian.AppendUint32(value, count+1)}, nil
}

func seenKey(notAfter tangle.Time, hash string) []byte {
	return append(binary.BigEndian.AppendUint64([]byte{prefixSeen}, uint64(notAfter)), hash...)
}

// SeenBefore says whether an operation that Remember remembers was accepted already. It is meant for operations of which
// notAfter is mandatory, so that they can be forgotten.
func SeenBefore(v plugins.View, e *Envelope) bool { return v.Get(seenKey(e.NotAfter, e.Hash)) != nil }

// Remember keeps an accepted operation from being accepted again.
func Remember(e *Envelope) Write { return Write{Key: seenKey(e.NotAfter, e.Hash), Value: []byte{1}} }

// Forget drops at most max operations that can no longer be accepted, since now is past their notAfter.
func Forget(v plugins.View, now tangle.Time, max int) (list []Write) {
	v.Scan([]byte{prefixSeen}, seenKey(now, ""), func(key, _ []byte) bool {
		if len(list) == max {
			return false
		}
		list = append(list, Write{Key: slices.Clone(key)})
		return true
	})
	return list
}
