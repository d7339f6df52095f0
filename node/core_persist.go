package node

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"weft/consensus"
	"weft/internal/store"
	"weft/tangle"
)

// The records of this file are the node's own and never leave it: big-endian, in the order of their fields. Keys are in
// internal/store/prefixes.go.

var errRecord = errors.New("damaged record in the store")

// persistAttached stores a message and the indexes that need it before it has a place.
func (s *step) persistAttached(v *tangle.Vertex) {
	id, h := v.ID, v.Header
	b := &s.batch
	b.Set(store.Key(store.PrefixMessage, id[:]), v.Bytes())
	b.Set(store.Key(store.PrefixLive, store.U64(v.Number)), id[:])
	b.Set(store.Key(store.PrefixAuthor, h.Author[:], store.U32(uint32(h.Epoch)), store.U64(uint64(h.Seq)), id[:]), nil)
	for _, p := range h.Parents {
		b.Set(store.Key(store.PrefixChild, p[:], id[:]), nil)
	}
	for i := range v.Entries {
		b.Set(store.Key(store.PrefixEntry, v.Entries[i].Hash[:], id[:]), store.U16(uint16(i)))
	}
	if h.Witness != nil {
		b.Set(store.Key(store.PrefixWitness, store.U32(uint32(h.Epoch)), store.U32(uint32(h.Witness.Round)), h.Author[:], id[:]), nil)
	}
}

func (s *step) persistSettled(v *tangle.Vertex, settled Settled) {
	b := &s.batch
	settled.facts = tangle.FactsOf(v.Message)
	b.Set(store.Key(store.PrefixSettled, v.ID[:]), settled.bytes())
	b.Delete(store.Key(store.PrefixLive, store.U64(v.Number)))
}

// persistOwn writes what this node has signed; finish syncs it before anything is sent.
func (s *step) persistOwn() {
	b := binary.BigEndian.AppendUint64(nil, uint64(s.own.Seq))
	b = binary.BigEndian.AppendUint32(b, uint32(s.own.Round))
	s.batch.Set(keyOwn(), append(b, s.own.Previous[:]...))
}

func (s *step) persistEvidence(m *tangle.Message, other tangle.ID) {
	pair := slices.Concat(m.ID[:], other[:])
	s.batch.Set(store.Key(store.PrefixEvidence, m.Header.Author[:], m.ID[:]), pair)
}

func (s *step) persistCommit(c *consensus.Commit, first uint64) {
	rec := recordOf(c, first, s.exec.size)
	s.batch.Set(store.Key(store.PrefixCommit, store.U64(c.Index)), rec.bytes())
	s.persistExecuted()
}

// recordOf is the record of a commit that has given the positions from first up to size.
func recordOf(c *consensus.Commit, first, size uint64) CommitRecord {
	ids := make([]tangle.ID, len(c.Messages))
	for i, v := range c.Messages {
		ids[i] = v.ID
	}
	return CommitRecord{
		Index: c.Index, Leader: c.Leader.ID, Round: c.Round, Time: c.Time,
		First: tangle.Position(first), Count: size - first, Messages: ids, Digest: c.Digest,
	}
}

// persistExecuted writes how far execution has come, in the batch that holds its results.
func (s *step) persistExecuted() { s.batch.Set(keyExecuted(), s.exec.bytes(s.engine.State())) }

func (s *step) persistCheckpoint(m checkpointMark, text []byte) {
	s.batch.Set(store.Key(store.PrefixCheckpoint, store.U64(m.commit)), append(m.bytes(), text...))
	s.persistExecuted()
}

func (s *step) persistCertified(m checkpointMark, note []byte) {
	s.dropStale(m)
	s.batch.Set(store.Key(store.PrefixCertified, store.U64(m.size), store.U64(m.commit)), append(m.bytes(), note...))
}

// dropStale forgets the certified checkpoint before, if it is neither the first of its size, which receipts quote, nor of
// another size: on an idle network only the newest proof of freshness is worth keeping.
func (s *step) dropStale(m checkpointMark) {
	last := s.exec.dropped
	if last.size == m.size && last.commit != 0 {
		s.batch.Delete(store.Key(store.PrefixCertified, store.U64(last.size), store.U64(last.commit)))
		s.batch.Delete(store.Key(store.PrefixCheckpoint, store.U64(last.commit)))
	}
	s.exec.dropped = checkpointMark{}
	if s.exec.certified.size == m.size { // m is not the first of its size
		s.exec.dropped = m
	}
}

// persistOutbox keeps the entries of an expired own message until they are sealed again.
func (s *step) persistOutbox(e tangle.Entry) {
	b := binary.BigEndian.AppendUint16(nil, uint16(e.Kind))
	b = append(b, e.Salt[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(e.Lasting)))
	b = append(b, e.Lasting...)
	s.batch.Set(store.Key(store.PrefixOutbox, e.Hash[:]), append(b, e.Data...))
}

// get reads a key that this Step has not written; nil if absent. A failing store stops the node.
func (s *step) get(key []byte) []byte { return storeGet(s.config.Store, key, &s.fail) }

func (s *step) scan(from, to []byte, visit func(key, value []byte) bool) {
	if err := s.config.Store.Scan(from, to, visit); err != nil && s.fail == nil {
		s.fail = err
	}
}

// sameSeq finds another message of the author under the same seq.
func (s *step) sameSeq(m *tangle.Message) (other tangle.ID, found bool) {
	h := m.Header
	prefix := store.Key(store.PrefixAuthor, h.Author[:], store.U32(uint32(h.Epoch)), store.U64(uint64(h.Seq)))
	see := func(key, _ []byte) bool {
		if id := tangle.ID(key[len(prefix):]); id != m.ID {
			other, found = id, true
		}
		return !found
	}
	s.scan(prefix, store.PrefixEnd(prefix), see)
	for _, v := range s.fresh[seqKey{h.Author, h.Seq}] {
		if v != m.ID {
			other, found = v, true
		}
	}
	return other, found
}

func keyOwn() []byte      { return store.Key(store.PrefixNode, []byte("own")) }
func keyExecuted() []byte { return store.Key(store.PrefixNode, []byte("executed")) }

func storeGet(s store.Store, key []byte, fault *error) []byte {
	b, err := s.Get(key)
	if err != nil && !errors.Is(err, store.ErrNotFound) && *fault == nil {
		*fault = err
	}
	return b
}

func parseOwn(b []byte) (o ownRecord, err error) {
	r := record{b: b}
	o.Seq, o.Round, o.Previous = tangle.Seq(r.u64()), tangle.Round(r.u32()), tangle.ID(r.hash())
	return o, r.end()
}

// bytes lists only rejections: most entries are accepted.
func (t Settled) bytes() []byte {
	be := binary.BigEndian
	b := []byte{statusByte(t.Status), byte(t.facts.Class)}
	b = be.AppendUint32(b, uint32(t.facts.Epoch))
	b = append(b, t.facts.Author[:]...)
	b = be.AppendUint64(b, uint64(t.facts.Time))
	b = be.AppendUint32(b, uint32(t.facts.Round))
	b = be.AppendUint64(b, t.Commit)
	b = be.AppendUint64(b, uint64(t.Position))
	b = be.AppendUint64(b, uint64(t.Time))
	b = be.AppendUint16(b, uint16(len(t.Codes)))
	for i, code := range t.Codes {
		if code != "" {
			b = be.AppendUint16(b, uint16(i))
			b = append(b, byte(len(code)))
			b = append(b, code...)
		}
	}
	return b
}

func parseSettled(b []byte) (t Settled, err error) {
	r := record{b: b}
	t.Status = statusOf(r.u8())
	t.facts = tangle.Facts{
		Class: tangle.Class(r.u8()), Epoch: tangle.Epoch(r.u32()), Author: tangle.Member(r.hash()),
		Time: tangle.Time(r.u64()), Round: tangle.Round(r.u32()),
	}
	t.Commit, t.Position, t.Time = r.u64(), tangle.Position(r.u64()), tangle.Time(r.u64())
	if n := int(r.u16()); n > 0 {
		t.Codes = make([]string, n)
	}
	for len(r.b) > 0 && r.err == nil {
		i := int(r.u16())
		code := string(r.take(int(r.u8())))
		if i >= len(t.Codes) {
			return t, errRecord
		}
		t.Codes[i] = code
	}
	return t, r.end()
}

func statusByte(s Status) byte {
	if s == StatusExpired {
		return 2
	}
	return 1
}

func statusOf(b byte) Status {
	if b == 2 {
		return StatusExpired
	}
	return StatusOrdered
}

func (c CommitRecord) bytes() []byte {
	be := binary.BigEndian
	b := append(make([]byte, 0, 100+32*len(c.Messages)), c.Leader[:]...)
	b = be.AppendUint32(b, uint32(c.Round))
	b = be.AppendUint64(b, uint64(c.Time))
	b = be.AppendUint64(b, uint64(c.First))
	b = be.AppendUint64(b, c.Count)
	b = append(b, c.Digest[:]...)
	for i := range c.Messages {
		b = append(b, c.Messages[i][:]...)
	}
	return b
}

func parseCommit(index uint64, b []byte) (c CommitRecord, err error) {
	r := record{b: b}
	c.Index, c.Leader, c.Round = index, tangle.ID(r.hash()), tangle.Round(r.u32())
	c.Time, c.First, c.Count = tangle.Time(r.u64()), tangle.Position(r.u64()), r.u64()
	c.Digest = r.hash()
	for len(r.b) > 0 && r.err == nil {
		c.Messages = append(c.Messages, tangle.ID(r.hash()))
	}
	return c, r.end()
}

func (m checkpointMark) bytes() []byte {
	b := binary.BigEndian.AppendUint64(nil, m.commit)
	b = binary.BigEndian.AppendUint64(b, m.size)
	b = binary.BigEndian.AppendUint64(b, uint64(m.time))
	return append(b, m.text[:]...)
}

func (r *record) mark() checkpointMark {
	return checkpointMark{commit: r.u64(), size: r.u64(), time: tangle.Time(r.u64()), text: r.hash()}
}

// bytes is the executed record: engine state, size, marks, and each plugin's digest.
func (x *executor) bytes(st consensus.State) []byte {
	be := binary.BigEndian
	b := be.AppendUint64(nil, st.Index)
	b = be.AppendUint32(b, uint32(st.Round))
	b = be.AppendUint64(b, uint64(st.Time))
	b = append(b, st.Digest[:]...)
	b = be.AppendUint64(b, x.size)
	b = append(b, x.last.bytes()...)
	b = append(b, x.certified.bytes()...)
	for _, p := range x.plugins {
		b = append(b, byte(len(p.name)))
		b = append(b, p.name...)
		b = append(b, p.digest[:]...)
	}
	return b
}

func (x *executor) parse(b []byte) (st consensus.State, err error) {
	r := record{b: b}
	st = consensus.State{Index: r.u64(), Round: tangle.Round(r.u32()), Time: tangle.Time(r.u64()), Digest: r.hash()}
	x.size = r.u64()
	x.last, x.certified = r.mark(), r.mark()
	for len(r.b) > 0 && r.err == nil {
		name, digest := string(r.take(int(r.u8()))), r.hash()
		for _, p := range x.plugins {
			if p.name == name {
				p.digest = digest
			}
		}
	}
	return st, r.end()
}

// record takes fields off a stored record.
type record struct {
	b   []byte
	err error
}

func (r *record) take(n int) []byte {
	if n > len(r.b) {
		r.err = errRecord
		r.b = nil
		return make([]byte, n)
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *record) u8() byte          { return r.take(1)[0] }
func (r *record) u16() uint16       { return binary.BigEndian.Uint16(r.take(2)) }
func (r *record) u32() uint32       { return binary.BigEndian.Uint32(r.take(4)) }
func (r *record) u64() uint64       { return binary.BigEndian.Uint64(r.take(8)) }
func (r *record) hash() tangle.Hash { return tangle.Hash(r.take(32)) }

func (r *record) end() error {
	if r.err == nil && len(r.b) != 0 {
		return fmt.Errorf("%w: %d bytes left", errRecord, len(r.b))
	}
	return r.err
}
