package streams

import (
	"bytes"
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
//	n id                              -> last event u64, last seq u64, events u64 up to which retention has cleared
//	o opHash 0                        -> position(8) index(2) of the entry that was accepted
//	f opHash 0 position(8) index(2)   -> a rejected entry: hash(32) code
//	z position(8) index(2)            -> of a rejected write: hash(32) of the entry, opHash
//	l position(8)                     -> index(2) and happening, of what was accepted of a message, in order
//	r id block u64 field(1) H8(value) -> records by a field: a bit for each seq of the block
//
// What a record is found by goes when its body does. Of one that came without its body only author and tag are known; in the end
// both ways leave the same.
const (
	indexCount     = 'n'
	indexAccepted  = 'o'
	indexRejected  = 'f'
	indexRefused   = 'z'
	indexHappening = 'l'
	indexRecord    = 'r'
)

// codeBadLasting is the core's code for an entry whose lasting part is not that of its operation: what is left of it once its
// body is gone names another operation, or none.
const codeBadLasting = "bad_lasting"

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
	Hash    tangle.Hash // opHash is its Multihash
	Channel channel.ID
	Op      channel.Op
	Event   uint64
	Seq     uint64 // of the record, or of what is erased; 0: neither
}

// happeningBytes is the length of a happening.
const happeningBytes = 32 + 32 + 32 + 1 + 8 + 8

func (h happening) bytes() []byte {
	b := append(make([]byte, 0, happeningBytes), h.Entry[:]...)
	b = append(b, h.Hash[:]...)
	b = append(b, h.Channel[:]...)
	b = append(b, byte(slices.Index(channel.Ops(), h.Op)+1))
	b = binary.BigEndian.AppendUint64(b, h.Event)
	return binary.BigEndian.AppendUint64(b, h.Seq)
}

func parseHappening(b []byte) (h happening, ok bool) {
	if len(b) != happeningBytes {
		return h, false
	}
	ops, code := channel.Ops(), int(b[96])
	if code < 1 || code > len(ops) {
		return h, false
	}
	h = happening{Entry: tangle.Hash(b[:32]), Hash: tangle.Hash(b[32:64]), Channel: channel.ID(b[64:96]), Op: ops[code-1]}
	h.Event, h.Seq = binary.BigEndian.Uint64(b[97:]), binary.BigEndian.Uint64(b[105:])
	return h, true
}

// index notes an entry that is an operation.
func (l ledger) index(x plugins.Index, e plugins.Ordered, rejected *plugins.Rejection) {
	op, ok := e.Op.(*channel.Operation)
	switch {
	case !ok: // Check refused it: it names nothing that anyone could ask for
	case rejected != nil:
		noteRejected(x, op, e, rejected.Code)
	default:
		noteAccepted(x, op, e)
	}
}

func noteRejected(x plugins.Index, op *channel.Operation, e plugins.Ordered, code string) {
	if code == codeBadLasting {
		return
	}
	place := placeKey(e.Position, e.Index)
	x.Set(slices.Concat([]byte{indexRejected}, []byte(op.Hash), []byte{0}, place), append(e.Hash[:len(e.Hash):len(e.Hash)], code...))
	if op.Op == channel.Write {
		x.Set(append([]byte{indexRefused}, place...), append(e.Hash[:len(e.Hash):len(e.Hash)], op.Hash...))
	}
}

func noteAccepted(x plugins.Index, op *channel.Operation, e plugins.Ordered) {
	place, message := placeKey(e.Position, e.Index), happeningKey(e.Position)
	h, gone := count(x, op, e.Hash)
	x.Set(acceptedKey(op.Hash), place)
	x.Set(message, slices.Concat(x.Get(message), place[8:], h.bytes()))
	if op.Op == channel.Write {
		for field, value := range searched(op) {
			setBit(x, recordKey(h.Channel, h.Seq/seqsPerBlock, field, value), h.Seq)
		}
	}
	clearBits(x, h.Channel, gone)
}

// setBit notes a seq in its block.
func setBit(x plugins.Index, key []byte, seq uint64) {
	bits := make([]byte, seqsPerBlock/8)
	copy(bits, x.Get(key))
	bits[seq%seqsPerBlock/8] |= 1 << (seq % 8)
	x.Set(key, bits)
}

// clearBits forgets what records are found by.
func clearBits(x plugins.Index, id channel.ID, seqs []uint64) {
	masks := map[uint64]*[seqsPerBlock / 8]byte{}
	for _, seq := range seqs {
		block := seq / seqsPerBlock
		if masks[block] == nil {
			masks[block] = &[seqsPerBlock / 8]byte{}
		}
		masks[block][seq%seqsPerBlock/8] |= 1 << (seq % 8)
	}
	for block, mask := range masks {
		var changed []plugins.Write
		x.Scan(blockKey(id, block), blockKey(id, block+1), func(key, bits []byte) bool {
			left := slices.Clone(bits)
			for i := range left {
				left[i] &^= mask[i]
			}
			switch {
			case bytes.Equal(left, bits):
			case bytes.Equal(left, make([]byte, len(left))):
				changed = append(changed, plugins.Write{Key: slices.Clone(key)})
			default:
				changed = append(changed, plugins.Write{Key: slices.Clone(key), Value: left})
			}
			return true
		})
		plugins.Put(x, changed)
	}
}

// count gives an accepted operation its numbers, and says which records' bodies go with it.
func count(x plugins.Index, op *channel.Operation, entry tangle.Hash) (h happening, gone []uint64) {
	h = happening{Entry: entry, Hash: op.Sum(), Channel: op.Channel, Op: op.Op}
	key := append([]byte{indexCount}, op.Channel[:]...)
	var seq, cleared uint64
	if b := x.Get(key); len(b) == 24 {
		h.Event, seq, cleared = binary.BigEndian.Uint64(b)+1, binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[16:])
	}
	switch op.Op {
	case channel.Write:
		seq++
		h.Seq = seq
	case channel.Erase:
		h.Seq = op.Seq
	}
	cleared, gone = goneWith(x.State(), h, cleared)
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 24), h.Event)
	b = binary.BigEndian.AppendUint64(b, seq)
	x.Set(key, binary.BigEndian.AppendUint64(b, cleared))
	return h, gone
}

// goneWith are the records whose bodies go with an operation: what it erases, and from an event on those that it has cleared
// after their retention. The state is that behind it, which Apply has just written: it can be read.
func goneWith(state plugins.View, h happening, from uint64) (upto uint64, seqs []uint64) {
	if h.Op == channel.Erase {
		if e, _, err := channel.ReadRecord(state, h.Channel, h.Seq); err == nil && e.Cleared {
			seqs = append(seqs, h.Seq)
		}
	}
	head, err := channel.ReadHead(state, h.Channel)
	if err != nil {
		return from, seqs
	}
	for upto = from; upto < head.Cleared; upto++ {
		if e, err := channel.ReadEvent(state, h.Channel, upto); err == nil && e.IsRecord() {
			seqs = append(seqs, e.Seq)
		}
	}
	return upto, seqs
}

// searched are the fields that a record is found by.
func searched(op *channel.Operation) map[byte]valueHash {
	fields := map[byte]valueHash{fieldAuthor: valueHash(op.Author[:])}
	add := func(field byte, value string) {
		if value != "" {
			fields[field] = hashValue(value)
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

// valueHash is H8: of an author it begins what stands for the DID in the state.
type valueHash [8]byte

func hashValue(value string) valueHash {
	sum := sha256.Sum256([]byte(value))
	return valueHash(sum[:8])
}

func blockKey(id channel.ID, block uint64) []byte {
	return binary.BigEndian.AppendUint64(append([]byte{indexRecord}, id[:]...), block)
}

func recordKey(id channel.ID, block uint64, field byte, value valueHash) []byte {
	return append(append(blockKey(id, block), field), value[:]...)
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
	eachRejected(v, opHash, func(e tangle.Hash, c string) bool {
		entry, code, found = e, c, true
		return false
	})
	return entry, code, found
}

// eachRejected visits the entries with which an operation was rejected, in the order of their places.
func eachRejected(v plugins.View, opHash string, visit func(entry tangle.Hash, code string) bool) {
	prefix := append(append([]byte{indexRejected}, opHash...), 0)
	v.Scan(prefix, append(append([]byte{indexRejected}, opHash...), 1), func(_, value []byte) bool {
		return len(value) > 32 && visit(tangle.Hash(value[:32]), string(value[32:]))
	})
}

// refusals visits the entries of rejected writes from a position on.
func refusals(v plugins.View, from tangle.Position, visit func(at tangle.Position, entry tangle.Hash, opHash string) bool) {
	v.Scan(binary.BigEndian.AppendUint64([]byte{indexRefused}, uint64(from)), []byte{indexRefused + 1}, func(key, value []byte) bool {
		return len(key) == 11 && len(value) > 32 &&
			visit(tangle.Position(binary.BigEndian.Uint64(key[1:])), tangle.Hash(value[:32]), string(value[32:]))
	})
}

// refusedAt is the opHash of a write that was rejected at a place; empty if none was.
func refusedAt(v plugins.View, position tangle.Position, index int) string {
	value := v.Get(append([]byte{indexRefused}, placeKey(position, index)...))
	return string(value[min(len(value), 32):])
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

// recordsBy visits the seqs from low to high of records with a value in a field, ascending or descending; a few may be others.
func recordsBy(v plugins.View, id channel.ID, field byte, value string, low, high uint64, descending bool, visit func(seq uint64) bool) {
	if low > high {
		return
	}
	hash, first, last := hashValue(value), low/seqsPerBlock, high/seqsPerBlock
	for n := range last - first + 1 {
		block := first + n
		if descending {
			block = last - n
		}
		bits := v.Get(recordKey(id, block, field, hash))
		for i := range min(uint64(len(bits))*8, seqsPerBlock) {
			if descending {
				i = seqsPerBlock - 1 - i
			}
			seq := block*seqsPerBlock + i
			if bits[i/8]&(1<<(i%8)) != 0 && seq >= low && seq <= high && !visit(seq) {
				return
			}
		}
	}
}
