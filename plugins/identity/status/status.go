// Package status holds the ledger's status lists (which credentials are revoked or suspended), anchors (what existed when)
// and single-use values (what is spent). Signed operations of type weft/status/1 (entry kind "status") change them.
//
// It makes and verifies no credential (package vc does), keeps no book of which index is whose, has no clock, and changes
// no state itself: Next returns writes.
package status

import (
	"encoding/base64"
	"slices"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/identity/operation"
	"weft/tangle"
)

// Type is the member "type" of an operation.
const Type = "weft/status/1"

// Bounds of operations and lists.
const (
	MaxOperationBytes = 24 << 10 // with proofs: MaxIndexes of seven digits are 16 KiB
	MaxOperationDepth = 4
	MaxIndexes        = 2000 // of one set, on and off together
	MaxWriters        = 16
	MinSize           = 131_072 // bits; a list has this size, or twice, four or eight times it
	MaxSize           = 8 * MinSize
	SecretBytes       = 32
)

// Op is what an operation does.
type Op string

// The operations.
const (
	CreateList Op = "create"
	Set        Op = "set"
	CloseList  Op = "close"
	MakeAnchor Op = "anchor"
	Spend      Op = "spend"
)

// Purpose says what a set bit means.
type Purpose string

// The purposes. A bit of a revocation list is never cleared.
const (
	Revocation Purpose = "revocation"
	Suspension Purpose = "suspension"
)

// ListTerms are what create says of a list.
type ListTerms struct {
	Purpose Purpose       `json:"purpose"`
	Size    int           `json:"size"`    // bits
	Writers []string      `json:"writers"` // DIDs that may set bits besides the issuer, ascending
	Home    tangle.Member `json:"home"`    // whose node keeps the book of used indexes
}

// Operation is a decoded operation with good proofs. Members that its Op does not have are zero.
type Operation struct {
	*did.Envelope
	Op         Op
	Actor      string
	Create     ListTerms
	List       string // of set and close
	On, Off    []int  // ascending, no index in both
	Commitment string // of anchor: multihash of salt and credential
	Nullifier  string // of spend: multihash of the secret
}

// Decode reads an entry: exact members, bounds and signatures, nothing that needs state. The codes are those of
// did.OpenEnvelope, and unknown_field, bad_value, bad_index, too_large, wrong_network.
func Decode(network tangle.ID, limits did.Limits, entry []byte) (*Operation, error) {
	return did.Verified(DecodeUnverified(network, limits, entry))
}

// DecodeUnverified is Decode without its last step, the signatures: did.VerifyAll takes those of many operations at once.
func DecodeUnverified(network tangle.ID, limits did.Limits, entry []byte) (*Operation, error) {
	op := &Operation{}
	envelope, err := did.ReadEnvelope(network, entry, did.EnvelopeRules{
		Type: Type, MaxBytes: MaxOperationBytes, MaxProofs: limits.MaxProofs, MaxDepth: MaxOperationDepth,
		Shape: func(e *did.Envelope) error { return op.read(network, e) },
	})
	if err != nil {
		return nil, err
	}
	op.Envelope = envelope
	return op, nil
}

func (op *Operation) read(network tangle.ID, e *did.Envelope) error {
	m := operation.Read(e.Body)
	op.Op = Op(e.Op)
	op.Actor = operation.ReadActor(network, m)
	switch op.Op {
	case CreateList:
		op.Create = readTerms(network, m)
	case Set:
		op.List = m.Hash("list")
		op.readIndexes(m)
	case CloseList:
		op.List = m.Hash("list")
	case MakeAnchor:
		op.Commitment = m.Hash("commitment")
	case Spend:
		if secret := m.Bytes("secret", SecretBytes); secret != nil {
			op.Nullifier = did.Multihash(secret)
		}
	default:
		m.Judge(plugins.Reject("bad_value", "op %.40q is not one of %s", op.Op, Type))
	}
	return m.Done()
}

func readTerms(network tangle.ID, m *operation.Members) ListTerms {
	t := ListTerms{
		Purpose: Purpose(m.Text("purpose", operation.MaxText)), Size: int(m.Integer("size", MinSize, MaxSize)),
		Writers: m.Texts("writers", MaxWriters),
	}
	if t.Purpose != Revocation && t.Purpose != Suspension {
		m.Judge(plugins.Reject("bad_value", "purpose %.40q is neither revocation nor suspension", t.Purpose))
	}
	if t.Size%MinSize != 0 || t.Size&(t.Size-1) != 0 {
		m.Judge(plugins.Reject("bad_value", "size %d is not %d times 1, 2, 4 or 8", t.Size, MinSize))
	}
	for _, writer := range t.Writers {
		m.Judge(operation.CheckActor(network, writer))
	}
	home, err := tangle.ParseMember(m.Text("home", operation.MaxText))
	if err != nil {
		m.Judge(plugins.Reject("bad_value", "home is not a member: %v", err))
	}
	t.Home = home
	return t
}

func (op *Operation) readIndexes(m *operation.Members) {
	op.On, op.Off = readAscending(m, "on"), readAscending(m, "off")
	if n := len(op.On) + len(op.Off); n == 0 {
		m.Judge(plugins.Reject("bad_value", "no indexes"))
	} else if n > MaxIndexes {
		m.Judge(plugins.Reject("too_large", "%d indexes, at most %d are allowed", n, MaxIndexes))
	}
	for _, index := range op.Off {
		if _, both := slices.BinarySearch(op.On, index); both {
			m.Judge(plugins.Reject("bad_value", "index %d is in on and in off", index))
		}
	}
}

// readAscending reads indexes. That they are inside the list only Next can say; beyond the largest list they are refused
// here.
func readAscending(m *operation.Members, name string) []int {
	list := m.List(name, operation.MaxItems)
	indexes := make([]int, 0, len(list))
	for i, item := range list {
		n, ok := operation.ParseInteger(item)
		switch {
		case !ok:
			m.Judge(plugins.Reject("bad_value", "%s holds what is not an integer", name))
			return nil
		case n < 0 || n >= MaxSize:
			m.Judge(plugins.Reject("bad_index", "%d is an index of no list", n))
			return nil
		case i > 0 && int(n) <= indexes[i-1]:
			m.Judge(plugins.Reject("bad_value", "%s is not ascending at %d", name, n))
			return nil
		}
		indexes = append(indexes, int(n))
	}
	return indexes
}

// NewCreateList is the body of create. The list's id is its opHash.
func NewCreateList(h operation.Header, t ListTerms) did.Object {
	body := h.Body(Type, string(CreateList))
	writers := []any{}
	for _, writer := range operation.Sorted(t.Writers) {
		writers = append(writers, writer)
	}
	body["purpose"], body["size"], body["writers"], body["home"] = string(t.Purpose), t.Size, writers, t.Home.String()
	return body
}

// NewSet is the body that sets bits and clears others, at most MaxIndexes together. It sorts them.
func NewSet(h operation.Header, list string, on, off []int) did.Object {
	body := h.Body(Type, string(Set))
	body["list"], body["on"], body["off"] = list, indexes(on), indexes(off)
	return body
}

func indexes(list []int) []any {
	sorted := slices.Clone(list)
	slices.Sort(sorted)
	items := make([]any, 0, len(sorted))
	for _, index := range slices.Compact(sorted) {
		items = append(items, index)
	}
	return items
}

// NewCloseList is the body after which no bit of a list changes.
func NewCloseList(h operation.Header, list string) did.Object {
	body := h.Body(Type, string(CloseList))
	body["list"] = list
	return body
}

// NewAnchor is the body that proves later that something existed. The commitment is Commit of it.
func NewAnchor(h operation.Header, commitment string) did.Object {
	body := h.Body(Type, string(MakeAnchor))
	body["commitment"] = commitment
	return body
}

// NewSpend is the body that spends a single-use value by revealing its secret.
func NewSpend(h operation.Header, secret [SecretBytes]byte) did.Object {
	body := h.Body(Type, string(Spend))
	body["secret"] = base64.RawURLEncoding.EncodeToString(secret[:])
	return body
}

// Commit is the commitment to a credential's bytes. Whoever holds the salt can prove what was anchored; without it the
// commitment says nothing, even of a credential that can be guessed.
func Commit(salt [SecretBytes]byte, credential []byte) string {
	return did.Multihash(slices.Concat(salt[:], credential))
}

// Nullifier is what a credential carries of a secret (singleUse.nullifier).
func Nullifier(secret [SecretBytes]byte) string { return did.Multihash(secret[:]) }
