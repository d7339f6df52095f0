package streams

import (
	"encoding/binary"
	"fmt"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/streams/channel"
	"weft/tangle"
)

// drops is what takes bodies of records off this node's disk: what was erased, what retention has cleared, and rejected copies
// of either. It keeps in the node's local key space how far that is done, and only once it is:
//
//	g    -> position(8): of what is final up to there no body is left that had to go
//	r id -> event(8): up to there what retention has cleared in the channel is gone
type drops struct {
	local    plugins.Local
	done     tangle.Position // as it is kept
	records  []dropped       // that have to go, or wait
	channels map[channel.ID]uint64
}

// dropped is a record, or one entry that holds a copy of one.
type dropped struct {
	channel channel.ID
	seq     uint64
	copy    tangle.Hash // zero: the record with all its copies
}

const (
	maxDrops  = 256  // bodies that are dropped before streams are looked at again
	markEvery = 4096 // positions after which a mark is kept even if nothing had to go
)

func newDrops(local plugins.Local) drops {
	d := drops{local: local, channels: map[channel.ID]uint64{}}
	d.done = tangle.Position(d.mark([]byte{'g'}))
	return d
}

func (d *drops) mark(key []byte) uint64 {
	if b := d.local.Get(key); len(b) == 8 {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (d *drops) setMark(key []byte, n uint64) error {
	return d.local.Write(plugins.Write{Key: key, Value: binary.BigEndian.AppendUint64(nil, n)})
}

func retentionKey(id channel.ID) []byte { return append([]byte{'r'}, id[:]...) }

// record notes that a record has been erased.
func (d *drops) record(id channel.ID, seq uint64) {
	d.records = append(d.records, dropped{channel: id, seq: seq})
}

// noteDrops notes which bodies have to go because of what became final between two positions: of channels in which something
// has happened what retention has cleared, and copies of what is gone that came later.
func (s *streams) noteDrops(moved map[channel.ID]bool, from, to tangle.Position) error {
	for id := range moved {
		head, err := channel.ReadHead(s.state(), id)
		if err != nil {
			return err
		}
		if _, waits := s.drops.channels[id]; waits || head.Cleared == 0 {
			continue
		}
		if mark := s.drops.mark(retentionKey(id)); mark < head.Cleared {
			s.drops.channels[id] = mark
		}
	}
	var err error
	noted := map[tangle.Hash]bool{} // many may be copies of one entry
	refusals(s.host.IndexView(), from, func(at tangle.Position, entry tangle.Hash, opHash string) bool {
		if at >= to {
			return false
		}
		gone, fault := s.isCopyOfGone(opHash)
		if gone && !noted[entry] {
			noted[entry] = true
			s.drops.records = append(s.drops.records, dropped{copy: entry})
		}
		err = fault
		return err == nil
	})
	return err
}

// isCopyOfGone says whether an operation has been accepted, and its body has to go.
func (s *streams) isCopyOfGone(opHash string) (bool, error) {
	h, ok := findAccepted(s.host.IndexView(), opHash)
	if !ok {
		return false, nil
	}
	e, err := channel.ReadEvent(s.state(), h.Channel, h.Event)
	return err == nil && e.Cleared, err
}

// gone says whether an entry is a record whose operation is erased, or was cleared after its retention, or a copy of one.
func (s *streams) gone(at tangle.Position, index int) bool {
	view := s.host.IndexView()
	opHash := refusedAt(view, at, index)
	if h, ok := happeningAt(view, at, index); ok && h.Op == channel.Write {
		opHash = did.MultihashOf(h.Hash)
	}
	if opHash == "" {
		return false
	}
	gone, err := s.isCopyOfGone(opHash)
	s.damaged(err)
	return gone
}

// dropSome drops bodies that have to go, a bounded number at once; again says that others could go now. What the ledger does
// not let go yet waits.
func (s *streams) dropSome(final tangle.Position) (again bool, err error) {
	d := &s.drops
	now := d.records[:min(len(d.records), maxDrops)]
	rest := d.records[len(now):]
	var waiting []dropped
	for _, one := range now {
		done, err := s.drop(one, final)
		if err != nil {
			return false, err
		}
		if !done {
			waiting = append(waiting, one)
		}
	}
	again = len(rest) > 0 && len(waiting) < len(now)
	d.records = append(rest[:len(rest):len(rest)], waiting...)
	for id := range d.channels {
		more, err := s.dropCleared(id, final)
		if err != nil {
			return false, err
		}
		again = again || more
	}
	if len(d.records)+len(d.channels) == 0 && (len(now) > 0 || s.done.final >= d.done+markEvery) {
		d.done = s.done.final
		err = d.setMark([]byte{'g'}, uint64(d.done))
	}
	return again, err
}

// drop drops one body, and says whether it is gone.
func (s *streams) drop(one dropped, final tangle.Position) (bool, error) {
	if one.copy != (tangle.Hash{}) {
		return s.dropEntry(one.copy)
	}
	e, found, err := channel.ReadRecord(s.state(), one.channel, one.seq)
	if err != nil || !found || !e.Cleared { // only its payload was erased
		return true, err
	}
	held := s.host.Data(e.Position, e.Index) != nil
	done, err := s.dropRecord(e, final)
	if done && err == nil && e.ErasedBy != 0 {
		err = s.stateDropped(one.channel, e, held)
	}
	return done, err
}

// dropRecord drops the body of a record, and those of copies of it that were rejected.
func (s *streams) dropRecord(e channel.Event, final tangle.Position) (bool, error) {
	if e.Position >= final {
		return false, nil
	}
	h, ok := happeningAt(s.host.IndexView(), e.Position, e.Index)
	if !ok {
		return false, fmt.Errorf("streams: the index lacks what was accepted at position %d, index %d", e.Position, e.Index)
	}
	var entries []tangle.Hash
	noted := map[tangle.Hash]bool{}
	eachRejected(s.host.IndexView(), did.MultihashOf(h.Hash), func(entry tangle.Hash, _ string) bool {
		if !noted[entry] {
			noted[entry] = true
			entries = append(entries, entry)
		}
		return true
	})
	all := true
	for _, entry := range append(entries, e.Entry) {
		done, err := s.dropEntry(entry)
		if err != nil {
			return false, err
		}
		all = all && done
	}
	return all, nil
}

func (s *streams) dropEntry(entry tangle.Hash) (bool, error) {
	err := s.host.Erase(entry)
	if plugins.Rejected(err) != nil {
		return false, nil // one of the messages that hold it may still be ordered
	}
	return err == nil, err
}

// dropCleared drops some bodies of records that retention has cleared in a channel; more says that others could go now.
func (s *streams) dropCleared(id channel.ID, final tangle.Position) (more bool, err error) {
	head, err := channel.ReadHead(s.state(), id)
	if err != nil {
		return false, err
	}
	d := &s.drops
	next := d.channels[id]
	upto := min(next+maxDrops, head.Cleared)
	for ; next < upto; next++ {
		e, err := channel.ReadEvent(s.state(), id, next)
		if err != nil {
			return false, err
		}
		if !e.IsRecord() {
			continue
		}
		done, err := s.dropRecord(e, final)
		if err != nil {
			return false, err
		}
		if !done {
			d.record(id, e.Seq)
		}
	}
	d.channels[id] = next
	if len(d.records) == 0 { // else those that wait would be forgotten with the node's memory
		err = d.setMark(retentionKey(id), next)
	}
	if next == head.Cleared {
		delete(d.channels, id)
	}
	return next < head.Cleared, err
}
