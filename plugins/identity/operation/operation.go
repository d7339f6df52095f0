// Package operation is what the signed operations weft/status/1 and weft/trust/1 have in common: who acts, until when, how
// their members are read, and that none counts twice.
//
// It knows the meaning of no operation (packages status and trust do), verifies no signature (package did does), and has
// no clock and no state of its own.
package operation

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/tangle"
)

// MaxAhead is how far behind the commit time notAfter may lie. It bounds how long an operation is remembered.
const MaxAhead = 7 * 24 * time.Hour

// MaxForgotten is how many remembered operations past their notAfter an accepted one drops. It is more than one, so that
// the memory shrinks however long it grew.
const MaxForgotten = 8

// NonceBytes is the length of a nonce.
const NonceBytes = 16

// Header is what every body says. A zero NotAfter makes a body that is refused.
type Header struct {
	Network  tangle.ID
	Actor    string // a did:weft or a did:key
	Nonce    [NonceBytes]byte
	NotAfter tangle.Time
}

// Body begins an unsigned operation.
func (h Header) Body(typ, op string) did.Object {
	return did.Object{
		"type": typ, "op": op, "network": h.Network.String(), "actor": h.Actor,
		"nonce": base64.RawURLEncoding.EncodeToString(h.Nonce[:]), "notAfter": did.FormatTime(h.NotAfter),
	}
}

// ReadActor reads the members of Header that the envelope leaves to us, and returns the actor.
func ReadActor(network tangle.ID, m *Members) string {
	for _, name := range []string{"type", "op", "network"} { // package did has judged them
		m.Text(name, MaxText)
	}
	m.Instant("notAfter")
	if nonce := m.Bytes("nonce", NonceBytes); nonce == nil {
		return ""
	}
	actor := m.Text("actor", MaxText)
	m.Judge(CheckActor(network, actor))
	return actor
}

// CheckActor refuses what cannot act: anything but a did:weft of this network and a did:key of Ed25519.
func CheckActor(network tangle.ID, actor string) error {
	if multikey, ok := strings.CutPrefix(actor, "did:key:"); ok {
		if key, err := did.ParseMultikey(multikey); err != nil || key.Type != did.Ed25519 {
			return plugins.Reject("bad_value", "%.100q is not an Ed25519 did:key", actor)
		}
		return nil
	}
	d, err := did.Parse(actor)
	if err != nil {
		return plugins.Reject("bad_value", "%.100q is neither a did:weft nor a did:key", actor)
	}
	if d.Network() != did.NetworkLabel(network) {
		return plugins.Reject("wrong_network", "%s is of another network", actor)
	}
	return nil
}

// CheckTime says whether an operation may count at t at all: it is in time, and it has not counted already. The codes are
// expired, bad_value and replayed.
func CheckTime(v plugins.View, e *did.Envelope, t tangle.Time) error {
	switch {
	case t > e.NotAfter:
		return plugins.Reject("expired", "notAfter is %s, it is %s", e.NotAfter, t)
	case e.NotAfter > t.Add(MaxAhead): // a time far ahead is no duration that fits
		return plugins.Reject("bad_value", "notAfter is %s, more than %d hours after %s", e.NotAfter, int(MaxAhead.Hours()), t)
	case did.SeenBefore(v, e):
		return plugins.Reject("replayed", "operation %s was accepted before", e.Hash)
	}
	return nil
}

// CheckSigned refuses an operation that its actor did not sign with a key that is in this relationship at t.
func CheckSigned(v plugins.View, e *did.Envelope, actor string, r did.Relationship, t tangle.Time) error {
	ok, err := did.Holds(v, actor, r, e.Signers, t)
	if err == nil && !ok {
		err = plugins.Reject("not_entitled", "no proof by a key in %s of %s", r, actor)
	}
	return err
}

// Remembered adds to the writes of an accepted operation that it has counted.
func Remembered(v plugins.View, e *did.Envelope, t tangle.Time, writes []did.Write) []did.Write {
	writes = append(writes, did.Remember(e))
	return append(writes, did.Forget(v, t, MaxForgotten)...)
}

// Record is a value of the state: JSON, whose members stand in the order of the struct.
func Record(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // records are structs of plain values
	}
	return b
}

// Ascending says whether no item is before or equal to the one before it.
func Ascending(list []string) bool {
	for i := 1; i < len(list); i++ {
		if list[i-1] >= list[i] {
			return false
		}
	}
	return true
}

// Sorted is a copy in ascending order without doubles, as bodies want their lists.
func Sorted(list []string) []string {
	sorted := slices.Clone(list)
	slices.Sort(sorted)
	return slices.Compact(sorted)
}
