package streams

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"weft/plugins"
	"weft/plugins/streams/channel"
	"weft/tangle"
)

// The index answers what the state does not: what became of an operation, rejected ones too, what has happened in the order
// of the ledger, and which records have an author, a type, a tag or a topic. It counts events and records as the state does:
// both see the same accepted operations. H8 is the first 8 bytes of SHA-256: a hit is compared with the record itself. Keys:
//
//	n id                            -> last event u64, last seq u64
//	o opHash 0                      -> position(8) index(2) of the entry that was accepted
//	f opHash 0 position(8) index(2) -> a rejected entry: hash(32) code
//	l position(8)                   -> index(2) and happening, of what was accepted of a message, in order
//	r id field(1) H8(value) block u64 -> records by a field: a bit for each seq of the block
const (
	indexCount     = 'n'
	indexAccepted  = 'o'
	indexRejected  = 'f'
	indexHappening = 'l'
	indexRecord    = 'r'
)

// The fields that records are found by.
const (
	fieldAuthor byte = iota + 1
	fieldType
	fieldTag
	fieldTopicType
	fieldTopicSource
)

// happening is an accepted operation.
type happening struct {
	Entry   tangle.Hash
	Channel channel.ID
	Op      channel.Op
	Event   uint64
	Seq     uint64 // of the record, or of what is erased; 0: neither
}

// happeningBytes is the length of a happening.
const happeningBytes = 32 + 32 + 1 + 8 + 8

func (h happening) bytes() []byte {
	b := append(make([]byte, 0, happeningBytes), h.Entry[:]...)
	b = append(b, h.Channel[:]...)
	b = append(b, byte(slices.Index(channel.Ops(), h.Op)+1))
	b = binary.BigEndian.AppendUint64(b, h.Event)
	return binary.BigEndian.AppendUint64(b, h.Seq)
}

func parseHappening(b []byte) (h happening, ok bool) {
	if len(b) != happeningBytes {
		return h, false
	}
	ops, code := channel.Ops(), int(b[64])
	if code < 1 || code > len(ops) {
		return h, false
	}
	h = happening{Entry: tangle.Hash(b[:32]), Channel: channel.ID(b[32:64]), Op: ops[code-1]}
	h.Event, h.Seq = binary.BigEndian.Uint64(b[65:]), binary.BigEndian.Uint64(b[73:])
	return h, true
}

// index notes an entry that is an operation.
func (l ledger) index(x plugins.Index, e plugins.Ordered, rejected *plugins.Rejection) {
	op, ok := e.Op.(*channel.Operation)
	if !ok {
		return // Check refused it: it names nothing that anyone could ask for
	}
	hash, place := op.Envelope.Hash, placeKey(e.Position, e.Index)
	if rejected != nil {
		x.Set(slices.Concat([]byte{indexRejected}, []byte(hash), []byte{0}, place), append(e.Hash[:len(e.Hash):len(e.Hash)], rejected.Code...))
		return
	}
	h := count(x, op, e.Hash)
	x.Set(acceptedKey(hash), place)
	message := happeningKey(e.Position)
	x.Set(message, slices.Concat(x.Get(message), place[8:], h.bytes()))
	if op.Op == channel.Write {
		for field, value := range searched(op) {
			setBit(x, recordKey(h.Channel, field, value, h.Seq), h.Seq)
		}
	}
}

// setBit notes a seq in its block.
func setBit(x plugins.Index, key []byte, seq uint64) {
	bits := make([]byte, seqsPerBlock/8)
	copy(bits, x.Get(key))
	bits[seq%seqsPerBlock/8] |= 1 << (seq % 8)
	x.Set(key, bits)
}

// count gives an accepted operation its numbers.
func count(x plugins.Index, op *channel.Operation, entry tangle.Hash) happening {
	h := happening{Entry: entry, Channel: op.Channel, Op: op.Op}
	key := append([]byte{indexCount}, op.Channel[:]...)
	var seq uint64
	if b := x.Get(key); len(b) == 16 {
		h.Event, seq = binary.BigEndian.Uint64(b)+1, binary.BigEndian.Uint64(b[8:])
	}
	switch op.Op {
	case channel.Write:
		seq++
		h.Seq = seq
	case channel.Erase:
		h.Seq = op.Seq
	}
	x.Set(key, binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, h.Event), seq))
	return h
}

// searched are the fields that a record is found by.
func searched(op *channel.Operation) map[byte]string {
	fields := map[byte]string{fieldAuthor: op.Actor}
	add := func(field byte, value string) {
		if value != "" {
			fields[field] = value
		}
	}
	add(fieldType, op.Record.RecordType)
	add(fieldTag, op.Record.Tag)
	if t := op.Record.Topic; t != nil {
		add(fieldTopicType, t.Type)
		add(fieldTopicSource, t.Source)
	}
	return fields
}

func placeKey(position tangle.Position, index int) []byte {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint64(nil, uint64(position)), uint16(index))
}

func happeningKey(position tangle.Position) []byte {
	return binary.BigEndian.AppendUint64([]byte{indexHappening}, uint64(position))
}

func acceptedKey(opHash string) []byte { return append(append([]byte{indexAccepted}, opHash...), 0) }

func recordKey(id channel.ID, field byte, value string, seq uint64) []byte {
	sum := sha256.Sum256([]byte(value))
	b := append([]byte{indexRecord}, id[:]...)
	return binary.BigEndian.AppendUint64(append(append(b, field), sum[:8]...), seq/seqsPerBlock)
}

// seqsPerBlock is how many seqs share a key of the records by a field.
const seqsPerBlock = 256

// findAccepted is the entry with which an operation was accepted.
func findAccepted(v plugins.View, opHash string) (happening, bool) {
	place := v.Get(acceptedKey(opHash))
	if len(place) != 10 {
		return happening{}, false
	}
	return happeningAt(v, tangle.Position(binary.BigEndian.Uint64(place)), int(binary.BigEndian.Uint16(place[8:])))
}

// happeningAt is what the entry at a place did, if it was accepted.
func happeningAt(v plugins.View, position tangle.Position, index int) (found happening, ok bool) {
	eachHappening(v.Get(happeningKey(position)), func(i int, h []byte) bool {
		if i == index {
			found, ok = parseHappening(h)
		}
		return i < index
	})
	return found, ok
}

// eachHappening visits those of one message until visit returns false, and says whether it never did.
func eachHappening(list []byte, visit func(index int, h []byte) bool) bool {
	const size = 2 + happeningBytes
	for ; len(list) >= size; list = list[size:] {
		if !visit(int(binary.BigEndian.Uint16(list)), list[2:size]) {
			return false
		}
	}
	return true
}

// findRejected is the first entry with which an operation was rejected.
func findRejected(v plugins.View, opHash string) (entry tangle.Hash, code string, found bool) {
	prefix := append(append([]byte{indexRejected}, opHash...), 0)
	v.Scan(prefix, append(append([]byte{indexRejected}, opHash...), 1), func(_, value []byte) bool {
		if found = len(value) > 32; found {
			entry, code = tangle.Hash(value[:32]), string(value[32:])
		}
		return false
	})
	return entry, code, found
}

// happenings visits what was accepted, from a position on.
func happenings(v plugins.View, from tangle.Position, visit func(tangle.Position, int, happening) bool) {
	v.Scan(happeningKey(from), []byte{indexHappening + 1}, func(key, list []byte) bool {
		if len(key) != 9 {
			return true
		}
		position := tangle.Position(binary.BigEndian.Uint64(key[1:]))
		return eachHappening(list, func(index int, b []byte) bool {
			h, ok := parseHappening(b)
			return !ok || visit(position, index, h)
		})
	})
}

// recordsBy visits the seqs of records with a value in a field, from one on, ascending; a few may be others.
func recordsBy(v plugins.View, id channel.ID, field byte, value string, from uint64, visit func(seq uint64) bool) {
	low := recordKey(id, field, value, from)
	high := append(recordKey(id, field, value, 1<<64-1), 0)
	v.Scan(low, high, func(key, bits []byte) bool {
		first := binary.BigEndian.Uint64(key[len(key)-8:]) * seqsPerBlock
		for i := range min(uint64(len(bits))*8, seqsPerBlock) {
			if bits[i/8]&(1<<(i%8)) != 0 && first+i >= from && !visit(first+i) {
				return false
			}
		}
		return true
	})
}
