package identity

import (
	"bytes"
	"encoding/binary"
	"slices"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/tangle"
)

// The index answers what the state does not: what became of an operation, rejected ones too, which DIDs there are in the
// order of their creation, and which have a key. Keys:
//
//	a opHash                        -> place(10) kind(2) commit time(8) entry hash(32): an accepted one, but of a DID, whose
//	                                   log in the state says the same
//	e opHash 0 position(8) index(2) -> kind(2) commit time(8) entry hash(32) code: a rejected one
//	c scid 0 position(8) index(2)   -> entry hash(32) opHash: a conflict, the owner's equivocation
//	l position(8) index(2)          -> scid
//	k multikey 0 scid               -> version at which the key first was in the document
const (
	indexAccepted = 'a'
	indexRejected = 'e'
	indexConflict = 'c'
	indexList     = 'l'
	indexKey      = 'k'
)

// outcome is what became of one entry with an operation.
type outcome struct {
	Kind     tangle.Kind
	Position tangle.Position
	Index    int
	Time     tangle.Time
	Entry    tangle.Hash
	Code     string // empty: accepted
}

// index notes an entry that is an operation.
func (l ledger) index(x plugins.Index, e plugins.Ordered, rejected *plugins.Rejection) {
	hash := opHash(e.Op)
	if hash == "" {
		return // Check refused it: it names nothing that anyone could ask for
	}
	code := ""
	if rejected != nil {
		code = rejected.Code
	}
	place := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint64(nil, uint64(e.Position)), uint16(e.Index))
	op, isDID := e.Op.(*did.Operation)
	if isDID {
		indexDID(x, op, e, code, place)
	}
	o := outcome{Kind: e.Kind, Time: e.Time, Entry: e.Hash, Code: code}
	switch {
	case code != "":
		x.Set(indexed(indexRejected, hash, place), o.bytes())
	case !isDID:
		x.Set(append([]byte{indexAccepted}, hash...), append(place, o.bytes()...))
	}
}

func indexDID(x plugins.Index, op *did.Operation, e plugins.Ordered, code string, place []byte) {
	scid := op.DID.SCID()
	switch code {
	case "conflict":
		x.Set(indexed(indexConflict, scid, place), append(e.Hash[:len(e.Hash):len(e.Hash)], op.Hash...))
	case "":
		if op.Op == did.OpCreate {
			x.Set(append([]byte{indexList}, place...), []byte(scid))
		}
		for _, key := range documentKeys(op.Document) {
			x.Set(indexed(indexKey, key, []byte(scid)), nil)
		}
	}
}

// documentKeys are the multikeys of a document's verification methods.
func documentKeys(doc did.Object) (keys []string) {
	methods, _ := doc["verificationMethod"].([]any)
	for _, m := range methods {
		o, _ := m.(map[string]any)
		if key, ok := o["publicKeyMultibase"].(string); ok && !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return keys
}

func indexed(sort byte, name string, rest []byte) []byte {
	key := append([]byte{sort}, name...)
	return append(append(key, 0), rest...)
}

// opHash names an operation; empty for what is none.
func opHash(op plugins.Op) string {
	if e := envelopeOf(op); e != nil {
		return e.Hash
	}
	return ""
}

// envelopeOf is what all operations have in common; nil for what is none.
func envelopeOf(op plugins.Op) *did.Envelope {
	if op, ok := op.(did.Enveloped); ok {
		return op.Inside()
	}
	return nil
}

func (o outcome) bytes() []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(o.Kind))
	b = binary.BigEndian.AppendUint64(b, uint64(o.Time))
	return append(append(b, o.Entry[:]...), o.Code...)
}

const (
	outcomeFixed = 2 + 8 + 32
	placeBytes   = 8 + 2
)

func parseOutcome(place, b []byte) (o outcome, ok bool) {
	if len(b) < outcomeFixed || len(place) != placeBytes {
		return o, false
	}
	o.Position, o.Index = tangle.Position(binary.BigEndian.Uint64(place)), int(binary.BigEndian.Uint16(place[8:]))
	o.Kind, o.Time = tangle.Kind(binary.BigEndian.Uint16(b)), tangle.Time(binary.BigEndian.Uint64(b[2:]))
	o.Entry, o.Code = tangle.Hash(b[10:42]), string(b[42:])
	return o, true
}

// accepted is the entry with which an operation counted, if it did.
func accepted(state, v plugins.View, hash string) (o outcome, ok bool) {
	if version, known := did.FindOperation(state, hash); known {
		r, err := did.ReadRecord(state, version.DID, version.N)
		return outcome{Kind: KindDID, Position: r.Position, Index: r.Index, Time: r.Time, Entry: r.Entry}, err == nil
	}
	b := v.Get(append([]byte{indexAccepted}, hash...))
	if len(b) < placeBytes {
		return o, false
	}
	return parseOutcome(b[:placeBytes], b[placeBytes:])
}

// firstRejected is the first entry that held an operation and was rejected.
func firstRejected(v plugins.View, hash string) (o outcome, ok bool) {
	scanIndex(v, indexRejected, hash, func(rest, value []byte) bool {
		o, ok = parseOutcome(rest, value)
		return false
	})
	return o, ok
}

// MaxConflicts bounds the conflicts listed for one DID.
const MaxConflicts = 100

// conflict is an operation that its owner signed beside another one with the same predecessor.
type conflict struct {
	Position tangle.Position `json:"position"`
	Index    int             `json:"index"`
	Entry    tangle.Hash     `json:"entryHash"`
	OpHash   string          `json:"opHash"`
}

func conflicts(v plugins.View, d did.DID) (list []conflict) {
	scanIndex(v, indexConflict, d.SCID(), func(rest, value []byte) bool {
		if len(rest) == 10 && len(value) > 32 {
			list = append(list, conflict{
				tangle.Position(binary.BigEndian.Uint64(rest)), int(binary.BigEndian.Uint16(rest[8:])), tangle.Hash(value[:32]), string(value[32:]),
			})
		}
		return len(list) < MaxConflicts
	})
	return list
}

// holders are the scids of DIDs that have or had a key, by its multikey.
func holders(v plugins.View, multikey string, limit int) (scids []string) {
	scanIndex(v, indexKey, multikey, func(rest, _ []byte) bool {
		scids = append(scids, string(rest))
		return len(scids) < limit
	})
	return scids
}

// listed is a DID in the order of creation.
type listed struct {
	place []byte // position and index: where the list goes on
	scid  string
}

// created lists DIDs after a place, in the order of creation.
func created(v plugins.View, after []byte, limit int) (list []listed) {
	from := append([]byte{indexList}, after...)
	v.Scan(from, []byte{indexList + 1}, func(key, value []byte) bool {
		if !bytes.Equal(key, from) {
			list = append(list, listed{key[1:], string(value)})
		}
		return len(list) < limit
	})
	return list
}

func scanIndex(v plugins.View, sort byte, name string, visit func(rest, value []byte) bool) {
	prefix := indexed(sort, name, nil)
	end := append(bytes.Clone(prefix[:len(prefix)-1]), 1)
	v.Scan(prefix, end, func(key, value []byte) bool { return visit(key[len(prefix):], value) })
}
