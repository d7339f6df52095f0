// Package tangle holds the vertices of the ledger and the graph they form: messages with their entries, the one
// canonical encoding, identities by hash, sealing, objective validity, the graph with its parked messages, and the
// choice of tips.
//
// It does no I/O, knows no clock and starts no goroutine, and it decides nothing: what is agreed lives in package
// consensus, what entries mean in the plugins. It does not verify author signatures either, because nodes do that in
// batches under one rule (see package zip215).
package tangle

import (
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

// ID names a message or a network: SHA-256 over a domain tag and canonical bytes (docs/protocol.md, section 1).
type ID [32]byte

// Hash is a SHA-256 value that is not the name of a message: of an entry, a body, a log or a state.
type Hash [32]byte

// Member is the Ed25519 public key of a consortium member; it is also the member's identity.
type Member [32]byte

// Signature is an Ed25519 signature (RFC 8032) over SigningInput.
type Signature [64]byte

// Kind says which plugin owns an entry. Numbers are never reused; docs/protocol.md holds the table.
type Kind uint16

// KindData is the core's own kind: plain tagged bytes under the member's signature alone.
const KindData Kind = 1

// Marks of entries with a lasting part, which stand before their kind in a body. They are no kinds.
const (
	KindErasable Kind = 0xfffe // salt and data are there
	KindErased   Kind = 0xffff // they are gone
)

// MaxLastingBytes bounds the lasting part of an entry.
const MaxLastingBytes = 512

// Salt makes an entry's hash a hiding commitment.
type Salt [16]byte

// Time is milliseconds since 1970-01-01 UTC.
type Time uint64

// Epoch counts committees; the committee of genesis serves epoch 0.
type Epoch uint32

// Round counts the committee's witnesses inside an epoch; round 0 is implicit.
type Round uint32

// Seq counts one author's messages inside an epoch, from 1.
type Seq uint64

// Position is a message's place in the total order of class-0 messages, from 0.
type Position uint64

// Class tells messages that carry entries from witnesses.
type Class uint8

// The two classes of messages.
const (
	ClassEntries Class = 0
	ClassWitness Class = 1
)

func (id ID) String() string    { return hex.EncodeToString(id[:]) }
func (h Hash) String() string   { return hex.EncodeToString(h[:]) }
func (m Member) String() string { return hex.EncodeToString(m[:]) }

// Short is the first eight hex digits: for people, never for comparison.
func (id ID) Short() string    { return hex.EncodeToString(id[:4]) }
func (m Member) Short() string { return hex.EncodeToString(m[:4]) }

// ParseID reads 64 lower-case hex digits.
func ParseID(s string) (ID, error) { b, err := parse32(s); return ID(b), err }

// ParseHash reads 64 lower-case hex digits.
func ParseHash(s string) (Hash, error) { b, err := parse32(s); return Hash(b), err }

// ParseMember reads 64 lower-case hex digits.
func ParseMember(s string) (Member, error) { b, err := parse32(s); return Member(b), err }

// MarshalText and UnmarshalText let IDs, hashes and members stand in JSON as hex.
func (id ID) MarshalText() ([]byte, error)     { return []byte(id.String()), nil }
func (h Hash) MarshalText() ([]byte, error)    { return []byte(h.String()), nil }
func (m Member) MarshalText() ([]byte, error)  { return []byte(m.String()), nil }
func (id *ID) UnmarshalText(b []byte) error    { v, err := ParseID(string(b)); *id = v; return err }
func (h *Hash) UnmarshalText(b []byte) error   { v, err := ParseHash(string(b)); *h = v; return err }
func (m *Member) UnmarshalText(b []byte) error { v, err := ParseMember(string(b)); *m = v; return err }

// TimeOf converts a wall-clock time; times before 1970 become 0.
func TimeOf(t time.Time) Time { return Time(max(0, t.UnixMilli())) }

// Std is the time in the standard library's form, in UTC.
func (t Time) Std() time.Time { return time.UnixMilli(int64(t)).UTC() }

// String is RFC 3339 with milliseconds, as the API shows it.
func (t Time) String() string { return t.Std().Format("2006-01-02T15:04:05.000Z07:00") }

// Add moves t by d, stopping at 0.
func (t Time) Add(d time.Duration) Time {
	ms := d.Milliseconds()
	if ms < 0 && Time(-ms) > t {
		return 0
	}
	return t + Time(ms)
}

// Sub is t - u.
func (t Time) Sub(u Time) time.Duration { return time.Duration(int64(t)-int64(u)) * time.Millisecond }

var errHex = errors.New("want 64 lower-case hex digits")

func parse32(s string) (out [32]byte, err error) {
	if len(s) != 64 {
		return out, fmt.Errorf("%w, have %d characters", errHex, len(s))
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return out, fmt.Errorf("%w, have %q at %d", errHex, c, i)
		}
	}
	_, err = hex.Decode(out[:], []byte(s))
	return out, err
}
