// Package channel is what two parties must agree on about channels: append-only lists on the ledger whose rights every node
// enforces and whose content only their readers can decrypt. Signed operations of type weft/channel/1 (entry kind "channel")
// make events; Decode reads one from its bytes alone, Next decides what it changes at its place. Clients seal and open
// records with the same package, and VerifyBundle checks an exported channel with nothing but the genesis file.
//
// It knows no node, no HTTP, no file and no clock, holds no key beyond a call, and changes no state itself: Next returns
// writes. State is read through plugins.View: the plugin's own, and that of identity for the keys of actors. Nothing here
// can decrypt for somebody who has no wrap: the ledger stores ciphertext and never a key.
package channel

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"weft/plugins"
	"weft/tangle"
)

// Type is the member "type" of an operation.
const Type = "weft/channel/1"

// Kind is the kind of entries that hold operations.
const Kind tangle.Kind = 32

// Bounds of operations.
const (
	MaxOperationBytes = 32 << 10
	MaxDepth          = 16
	MaxProofs         = 128 // that are read; one is allowed
	MaxWraps          = 128 // in an operation
	MaxGrants         = 64
	MaxName           = 128 // bytes
	MaxDescription    = 1 << 10
	MaxWord           = 64 // bytes of a type, a tag, a status, a reason, a part of a topic
	MaxTopics         = 16
	MaxTags           = 64
	MaxRoles          = 32
	MaxEnclosures     = 64
	MaxEnclosure      = 8 << 10 // bytes of all of a request
	MaxSealedProfile  = 8 << 10 // characters
	MaxTarget         = 256     // bytes of a wrap's DID URL
	MaxGraceSeconds   = 600
	MaxRetentionDays  = 36_500
	MaxPublicPrivate  = 4 << 10  // bytes of public in a private channel
	MaxPublicPublic   = 16 << 10 // and in a public one
	MaxInlinePayload  = 16 << 10
	MaxMeta           = 2 << 10
	MaxBlob           = 1 << 30 // stored bytes
)

// Bounds of a channel and of the ledger.
const (
	MaxParticipants     = 10_000
	MaxWaiting          = 1_000 // requests younger than WaitingTime
	MaxWaitingMember    = 100   // of them carried by one member
	MaxVisible          = 64    // DIDs beside the participants that see a hidden channel
	MaxRejections       = 3
	MaxCreatesPerMinute = 30  // per carrying member
	MaxCleared          = 256 // records that one operation clears after their retention
)

// Spans of time.
const (
	MaxAhead    = 30 * 24 * time.Hour // of notAfter behind the commit time
	WaitingTime = 30 * 24 * time.Hour // of a request
	day         = 24 * time.Hour
)

// NonceBytes is the length of a nonce.
const NonceBytes = 16

// ID names a channel.
type ID [32]byte

func (id ID) String() string { return tangle.Hash(id).String() }

// MarshalText and UnmarshalText let an ID stand in JSON.
func (id ID) MarshalText() ([]byte, error) { return tangle.Hash(id).MarshalText() }

// UnmarshalText reads 64 lower-case hex digits.
func (id *ID) UnmarshalText(b []byte) error { return (*tangle.Hash)(id).UnmarshalText(b) }

// ParseID reads 64 lower-case hex digits.
func ParseID(s string) (ID, error) {
	h, err := tangle.ParseHash(s)
	return ID(h), err
}

// Nonce is unique for its actor in a channel: against replay, and because record keys are derived from it.
type Nonce [NonceBytes]byte

// NewID is the name of the channel that this actor creates with this nonce. Keys bind to it, so it is known before the
// create operation is complete.
func NewID(network tangle.ID, actor string, nonce Nonce) ID {
	b := append([]byte("weft/channel/id/1"), network[:]...)
	return ID(sha256.Sum256(append(appendActor(b, actor), nonce[:]...)))
}

// appendActor appends be16(length) and the actor.
func appendActor(b []byte, actor string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(actor))), actor...)
}

// Op is what an operation does.
type Op string

// The operations.
const (
	Create    Op = "create"
	Configure Op = "configure"
	Request   Op = "request"
	Authorize Op = "authorize"
	Reject    Op = "reject"
	Revoke    Op = "revoke"
	Leave     Op = "leave"
	Rekey     Op = "rekey"
	Keyload   Op = "keyload"
	Write     Op = "write"
	Lock      Op = "lock"
	Erase     Op = "erase"
)

// Ops are all operations, in the order of their codes in the state, from 1.
func Ops() []Op {
	return []Op{Create, Configure, Request, Authorize, Reject, Revoke, Leave, Rekey, Keyload, Write, Lock, Erase}
}

// Rights are a set of rights.
type Rights uint8

// The rights.
const (
	Read  Rights = 1 << iota // records, events and wraps
	Order                    // "write": may order records; it does not give a key
	Admin                    // membership, keys, lock, configuration; implies read
	Audit                    // read and the whole history under any policy; never write, always with an end
)

// All is what the owner has.
const All = Read | Order | Admin

// rightNames are the rights in the order of their bits.
func rightNames() []string { return []string{"read", "write", "admin", "audit"} }

// Names are the rights in words.
func (r Rights) Names() (list []string) {
	for i, name := range rightNames() {
		if r&(1<<i) != 0 {
			list = append(list, name)
		}
	}
	return list
}

func (r Rights) String() string { return strings.Join(r.Names(), "+") }

// Reads says whether records may be read.
func (r Rights) Reads() bool { return r&(Read|Admin|Audit) != 0 }

// Has says whether all of the others are there; read is implied by admin and audit.
func (r Rights) Has(other Rights) bool {
	if r.Reads() {
		r |= Read
	}
	return r&other == other
}

// MarshalJSON writes a list of names.
func (r Rights) MarshalJSON() ([]byte, error) {
	if r == 0 {
		return []byte("[]"), nil
	}
	return []byte(`["` + strings.Join(r.Names(), `","`) + `"]`), nil
}

// UnmarshalJSON reads what MarshalJSON writes.
func (r *Rights) UnmarshalJSON(b []byte) error {
	*r = 0
	for word := range strings.SplitSeq(strings.Trim(string(b), "[]"), ",") {
		if i := slices.Index(rightNames(), strings.Trim(word, `" `)); i >= 0 {
			*r |= 1 << i
		}
	}
	return nil
}

// Access says who reads.
type Access string

// The two kinds of channels.
const (
	Private Access = "private"
	Public  Access = "public"
)

// Profile says what a channel is for.
type Profile string

// The profiles. What an audit channel is about cannot be changed.
const (
	Stream       Profile = "stream"
	AuditProfile Profile = "audit"
)

// History says what a reader may open of the time before it joined.
type History string

// The policies.
const (
	Full     History = "full"
	FromJoin History = "fromJoin"
	None     History = "none"
)

// Custody says who holds a participant's keys, and in a channel which of that is allowed.
type Custody string

// Custody of keys. A channel has CustodyAny or CustodySelf, a participant CustodySelf or CustodyNode.
const (
	CustodyAny  Custody = "any"
	CustodySelf Custody = "self"
	CustodyNode Custody = "node"
)

// LockMode says whether a channel takes records.
type LockMode string

// The locks.
const (
	Unlocked LockMode = "none"
	Until    LockMode = "until"
	Forever  LockMode = "forever"
)

// Topic ties channels together.
type Topic struct {
	Type   string `json:"type"`
	Source string `json:"source"`
}

// Role is a set of rights by a name. A role gives read and write only.
type Role struct {
	Rights Rights   `json:"rights"`
	Tags   []string `json:"tags,omitempty"` // ascending; that its write is limited to; none: not limited
}

// Grant is what a participant may do. Zero members are not there.
type Grant struct {
	Participant string      `json:"participant"`
	Rights      Rights      `json:"rights"`
	Roles       []string    `json:"roles,omitempty"` // ascending
	Tags        []string    `json:"tags,omitempty"`  // ascending; that its own right to write is limited to
	ValidFrom   tangle.Time `json:"validFrom,omitempty"`
	ValidUntil  tangle.Time `json:"validUntil,omitempty"` // exclusive
	MaxRecords  int64       `json:"maxRecords,omitempty"` // under this grant; 0: no bound
	Custody     Custody     `json:"custody,omitempty"`
	Agreement   string      `json:"agreement,omitempty"` // X25519 multikey, of a did:key
}

func (g Grant) validAt(t tangle.Time) bool {
	return t >= g.ValidFrom && (g.ValidUntil == 0 || t < g.ValidUntil)
}

// Wrap is an epoch key sealed to one key of one reader.
type Wrap struct {
	To         string // DID URL of the key
	Ciphertext []byte // WrapBytes
}

// DID is the reader.
func (w Wrap) DID() string {
	did, _, _ := strings.Cut(w.To, "#")
	return did
}

// Keys are wraps of one epoch that is open already, or of epoch 0.
type Keys struct {
	Number uint32
	Wraps  []Wrap
}

// Epoch opens a period with one symmetric key.
type Epoch struct {
	Number    uint32
	Commit    [32]byte // of the key
	PublicKey [32]byte // X25519, that write-only authors seal to
	Previous  []byte   // the key before, sealed under this one: PreviousBytes; nil unless history is full
	Wraps     []Wrap
}

// After is an event that the actor has seen, and the channel's head at it.
type After struct {
	Event uint64
	Head  tangle.Hash
}

// Blob is a body that is kept beside the ledger.
type Blob struct {
	Root   tangle.Hash // RFC 6962, over the chunks
	Size   int64       // stored bytes
	Chunks int
}

// Body is the content of a record: Ciphertext, or a Blob.
type Body struct {
	Ciphertext []byte
	Blob       *Blob
	Key        []byte // KeyBytes: the secret of a write-only author, sealed to the epoch's public key; else nil
}

// Record is what a write says.
type Record struct {
	Epoch       uint32 // 0: nothing is sealed
	RecordType  string
	Tag         string
	Topic       *Topic
	PublicBytes int // of the member public; 0: it is not there
	Supersedes  uint64
	ContentHash tangle.Hash // zero without a body
	Body        *Body
}

// Asked is what a request asks for.
type Asked struct {
	Rights    Rights   `json:"rights"`
	Roles     []string `json:"roles,omitempty"`
	Custody   Custody  `json:"custody,omitempty"`
	Agreement string   `json:"agreement,omitempty"`
}

// Settings are what create and configure say of a channel; nil is not said.
type Settings struct {
	Name, Description, Status, SealedProfile *string
	Hidden, Archived                         *bool
	Topics                                   *[]Topic
	Tags                                     *[]string
	Roles                                    *map[string]Role
	History                                  *History
	GraceSeconds, RetentionDays              *int
	Custody                                  *Custody
	Owner                                    *string
}

// reject is plugins.Reject under a shorter name.
func reject(code, format string, args ...any) error { return plugins.Reject(code, format, args...) }
