package node

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/mod/sumdb/tlog"

	"weft/config/genesis"
	"weft/internal/store"
	"weft/plugins"
	"weft/receipt"
	"weft/tangle"
)

// Status is how far an entry or message has come.
type Status string

// The statuses of api.md, section 3, and expired for messages that fell below the horizon.
const (
	StatusPending Status = "pending"
	StatusOrdered Status = "ordered"
	StatusFinal   Status = "final"
	StatusExpired Status = "expired"
)

// Errors of reads.
var (
	ErrUnknown  = errors.New("unknown")
	ErrNotFinal = errors.New("not covered by a certified checkpoint yet")
)

// Head is how far this node's ledger has come.
type Head struct {
	Epoch     tangle.Epoch
	Round     tangle.Round    // highest attached
	Commit    uint64          // last executed
	Position  tangle.Position // positions applied here: the next one to give
	Time      tangle.Time     // commit time of Commit
	Final     tangle.Position // size of the newest certified checkpoint
	FinalTime tangle.Time     // its commit time
	FinalAt   uint64          // the commit it follows
}

// Place is where an entry stands.
type Place struct {
	Position tangle.Position
	Index    int
}

// Settled is what the order said of a message.
type Settled struct {
	Status   Status
	Commit   uint64
	Position tangle.Position // class 0 only
	Time     tangle.Time     // commit time
	Codes    []string        // per entry: empty if accepted, else the rejection's code

	facts tangle.Facts // for children that come later
}

// EntryRecord is an entry with everything the ledger knows of it.
type EntryRecord struct {
	Entry   tangle.Entry
	Message *tangle.Message
	Index   int
	Settled Settled
}

// CommitRecord is one decision of the committee.
type CommitRecord struct {
	Index    uint64
	Leader   tangle.ID
	Round    tangle.Round
	Time     tangle.Time
	First    tangle.Position // first position given
	Count    uint64          // positions given
	Messages []tangle.ID     // in order, witnesses included
	Digest   tangle.Hash     // hash chain over commits
}

// CheckpointRecord is a certified checkpoint.
type CheckpointRecord struct {
	Commit  uint64
	Size    uint64
	Time    tangle.Time // commit time
	Note    []byte      // signed note with at least a quorum of signatures
	Signers []tangle.Member
	receipt.Checkpoint
}

// Ledger reads what this node has made durable. It is safe for concurrent use.
type Ledger struct {
	genesis *genesis.Genesis
	codec   tangle.Codec
	store   store.Store
	current atomic.Pointer[Head]
	cache   ledgerCache
	erasing sync.Mutex
}

// OpenLedger returns the ledger in a store; its Head is zero until a Core has opened the same store.
func OpenLedger(g *genesis.Genesis, s store.Store) *Ledger {
	l := &Ledger{genesis: g, codec: tangle.Codec{Network: g.ID(), Limits: g.Limits}, store: s}
	l.setHead(Head{})
	return l
}

// Head is how far the ledger has come.
func (l *Ledger) Head() Head { return *l.current.Load() }

// Network is the network's ID.
func (l *Ledger) Network() tangle.ID { return l.codec.Network }

func (l *Ledger) setHead(h Head) { l.current.Store(&h) }

// Message returns an attached message and what the order said of it.
func (l *Ledger) Message(id tangle.ID) (*tangle.Message, Settled, error) {
	m, err := l.message(id)
	if err != nil {
		return nil, Settled{}, err
	}
	settled, err := l.settled(id)
	return m, settled, err
}

// Children returns messages that have id as a parent.
func (l *Ledger) Children(id tangle.ID, limit int) (ids []tangle.ID, err error) {
	prefix := store.Key(store.PrefixChild, id[:])
	err = l.store.Scan(prefix, store.PrefixEnd(prefix), func(key, _ []byte) bool {
		ids = append(ids, tangle.ID(key[len(prefix):]))
		return len(ids) < limit
	})
	return ids, err
}

// AtPosition returns the message at a position.
func (l *Ledger) AtPosition(p tangle.Position) (tangle.ID, error) {
	b, err := l.get(store.Key(store.PrefixPosition, store.U64(uint64(p))))
	if err != nil {
		return tangle.ID{}, err
	}
	return tangle.ID(b), nil
}

// Entry finds an entry by its hash, pending ones too. If it stands in several messages (sealed anew after one expired),
// the one with the lowest position counts, then one that waits.
func (l *Ledger) Entry(h tangle.Hash) (best EntryRecord, err error) {
	places, err := l.places(h, maxPlaces)
	if err != nil {
		return best, err
	}
	for _, p := range places {
		m, settled, err := l.Message(p.id)
		if err != nil {
			return best, err
		}
		if best.Message == nil || better(settled, best.Settled) {
			best = EntryRecord{Entry: m.Entries[p.index], Message: m, Index: p.index, Settled: settled}
		}
	}
	if best.Message == nil {
		return best, ErrUnknown
	}
	return best, nil
}

// maxPlaces bounds the messages looked at for one entry hash.
const maxPlaces = 64

func better(a, b Settled) bool {
	if rank(a) != rank(b) {
		return rank(a) < rank(b)
	}
	return rank(a) == 0 && a.Position < b.Position
}

// rank is 0 for what has a place, 1 for what waits, 2 for what expired.
func rank(s Settled) int {
	switch s.Status {
	case StatusFinal, StatusOrdered:
		return 0
	case StatusPending:
		return 1
	}
	return 2
}

// Place is where the order put an entry, if it has.
func (l *Ledger) Place(h tangle.Hash) (place Place, ordered bool, err error) {
	places, err := l.places(h, maxPlaces)
	for _, p := range places {
		settled, err := l.settled(p.id)
		if err != nil {
			return place, false, err
		}
		if rank(settled) == 0 && (!ordered || settled.Position < place.Position) {
			place, ordered = Place{settled.Position, p.index}, true
		}
	}
	return place, ordered, err
}

// entryPlace is a message that holds an entry.
type entryPlace struct {
	id    tangle.ID
	index int
}

func (l *Ledger) places(h tangle.Hash, most int) (list []entryPlace, err error) {
	prefix := store.Key(store.PrefixEntry, h[:])
	err = l.store.Scan(prefix, store.PrefixEnd(prefix), func(key, value []byte) bool {
		r := record{b: value}
		list = append(list, entryPlace{tangle.ID(key[len(prefix):]), int(r.u16())})
		return len(list) < most
	})
	return list, err
}

// Receipt builds the offline proof of an entry; ErrNotFinal while no certified checkpoint covers it.
func (l *Ledger) Receipt(h tangle.Hash) ([]byte, error) { return l.receipt(h, false) }

// BareReceipt is Receipt with the entry's hash alone in place of what it holds.
func (l *Ledger) BareReceipt(h tangle.Hash) ([]byte, error) { return l.receipt(h, true) }

func (l *Ledger) receipt(h tangle.Hash, bare bool) ([]byte, error) {
	rec, err := l.Entry(h)
	if err != nil {
		return nil, err
	}
	if bare {
		rec.Entry = tangle.Entry{Kind: tangle.KindErased, Hash: rec.Entry.Hash}
	}
	if rec.Settled.Status != StatusFinal {
		return nil, ErrNotFinal
	}
	cp, err := l.covering(uint64(rec.Settled.Position) + 1)
	if err != nil {
		return nil, err
	}
	leaf, path, err := l.inLog(rec.Message.ID, rec.Settled, cp)
	if err != nil {
		return nil, err
	}
	return receipt.Build(receipt.Parts{
		Entry: rec.Entry, Index: rec.Index, Header: rec.Message.HeaderBytes(), Signature: rec.Message.Signature,
		EntryPath: rec.Message.EntryPath(rec.Index), Position: rec.Settled.Position,
		Leaf: leaf, LogPath: path, Note: cp.Note, Network: l.codec.Network,
	})
}

// order proves to other members the place of a message and the outcomes of its entries (receipt.Order), or that it is never
// ordered: then it is a checkpoint alone, later than the horizon allows. That goes by the message's time: until a commit
// sweeps what is below the horizon it waits here, and what others wait for may stand above it. ErrNotFinal: neither yet.
func (l *Ledger) order(id tangle.ID) ([]byte, error) {
	m, settled, err := l.Message(id)
	if err != nil {
		return nil, err
	}
	cp, err := l.LatestCheckpoint()
	switch {
	case errors.Is(err, ErrUnknown):
		return nil, ErrNotFinal
	case err != nil:
		return nil, err
	case settled.Status == StatusFinal:
		leaf, path, err := l.inLog(id, settled, cp)
		return receipt.Order{Leaf: leaf, Path: path, Note: cp.Note}.Bytes(), err
	case m.Header.Time < cp.Time.Add(-l.genesis.Consensus.Horizon()):
		return receipt.Order{Note: cp.Note}.Bytes(), nil
	}
	return nil, ErrNotFinal
}

// inLog is the leaf of a message, and its path to the root of a checkpoint.
func (l *Ledger) inLog(id tangle.ID, settled Settled, cp CheckpointRecord) (leaf []byte, path []tangle.Hash, err error) {
	record, err := tlog.ProveRecord(int64(cp.Size), int64(settled.Position), tlog.HashReaderFunc(l.hashes))
	if err != nil {
		return nil, nil, fmt.Errorf("log: %w", err)
	}
	return receipt.Leaf(settled.Position, id, rejected(settled.Codes)), hashesOf(record), nil
}

// Commit returns the nth commit, from 1.
func (l *Ledger) Commit(n uint64) (CommitRecord, error) {
	b, err := l.get(store.Key(store.PrefixCommit, store.U64(n)))
	if err != nil {
		return CommitRecord{}, err
	}
	return parseCommit(n, b)
}

// Checkpoint returns the first certified checkpoint of a size.
func (l *Ledger) Checkpoint(size uint64) (CheckpointRecord, error) {
	cp, err := l.covering(size)
	if err == nil && cp.Size != size {
		err = ErrUnknown
	}
	return cp, err
}

// LatestCheckpoint returns the newest certified checkpoint.
func (l *Ledger) LatestCheckpoint() (CheckpointRecord, error) {
	list, err := l.certified(uint64(l.Head().Final), math.MaxUint64, 1<<10) // few: stale ones of one size are dropped
	if err == nil && len(list) == 0 {
		err = ErrUnknown
	}
	if err != nil {
		return CheckpointRecord{}, err
	}
	return list[len(list)-1], nil
}

// Checkpoints returns up to limit certified checkpoints of a size below before, newest first.
func (l *Ledger) Checkpoints(before uint64, limit int) (list []CheckpointRecord, err error) {
	// The store only scans upwards: look back over a span of sizes that grows until it holds enough.
	for span := uint64(limit); ; span *= 8 {
		from := before - min(before, span)
		if list, err = l.certified(from, before, 1<<16); err != nil {
			return nil, err
		}
		if len(list) >= limit || from == 0 {
			break
		}
	}
	slices.Reverse(list)
	return list[:min(limit, len(list))], nil
}

// Tile returns a hash tile in the C2SP tlog-tiles layout; only full width or what a certified checkpoint covers exists.
func (l *Ledger) Tile(level int, n int64, width int) ([]byte, error) {
	t := tlog.Tile{H: tileHeight, L: level, N: n, W: width}
	if !l.tileExists(level, n, width) {
		return nil, ErrUnknown
	}
	return tlog.ReadTileData(t, tlog.HashReaderFunc(l.hashes))
}

// EntryBundle returns the leaves n*256 .. n*256+width-1, each with its length as u16.
func (l *Ledger) EntryBundle(n int64, width int) ([]byte, error) {
	if !l.tileExists(0, n, width) {
		return nil, ErrUnknown
	}
	var out []byte
	for i := range int64(width) {
		leaf, err := l.leaf(tangle.Position(n<<tileHeight + i))
		if err != nil {
			return nil, err
		}
		out = append(out, byte(len(leaf)>>8), byte(len(leaf)))
		out = append(out, leaf...)
	}
	return out, nil
}

// PluginView reads a plugin's durable state.
func (l *Ledger) PluginView(name string) plugins.View {
	return storeView{spaceOf(store.PrefixState, name), l.store}
}

// PluginIndex reads what a plugin's Index has written.
func (l *Ledger) PluginIndex(name string) plugins.View {
	return storeView{spaceOf(store.PrefixIndex, name), l.store}
}

// tileHeight is the height of tiles in C2SP tlog-tiles.
const tileHeight = 8

func (l *Ledger) tileExists(level int, n int64, width int) bool {
	if level < 0 || level > 63/tileHeight || n < 0 || width < 1 || width > 1<<tileHeight || n >= 1<<40 {
		return false
	}
	leaves := int64(l.Head().Final) >> (tileHeight * level)
	return n<<tileHeight+int64(width) <= leaves
}

func (l *Ledger) leaf(p tangle.Position) ([]byte, error) {
	id, err := l.AtPosition(p)
	if err != nil {
		return nil, err
	}
	settled, err := l.settled(id)
	return receipt.Leaf(p, id, rejected(settled.Codes)), err
}

func (l *Ledger) covering(size uint64) (CheckpointRecord, error) {
	list, err := l.certified(size, math.MaxUint64, 1)
	if err != nil || len(list) == 0 {
		return CheckpointRecord{}, errors.Join(err, ErrNotFinal)
	}
	return list[0], nil
}

// certified lists checkpoints of sizes from..before, ascending by size and commit.
func (l *Ledger) certified(from, before uint64, limit int) (list []CheckpointRecord, err error) {
	low, high := store.Key(store.PrefixCertified, store.U64(from)), store.Key(store.PrefixCertified, store.U64(before))
	var fault error
	err = l.store.Scan(low, high, func(_, value []byte) bool {
		r := record{b: value}
		rec, err := l.openCheckpoint(r.mark(), r.b)
		if err != nil {
			fault = err
			return false
		}
		list = append(list, rec)
		return len(list) < limit
	})
	return list, errors.Join(err, fault)
}

func (l *Ledger) openCheckpoint(mark checkpointMark, note []byte) (CheckpointRecord, error) {
	if rec, ok := l.cache.checkpoint(mark.commit); ok {
		return rec, nil
	}
	note = slices.Clone(note)
	cp, signers, err := receipt.OpenNote(l.genesis, note)
	if err != nil {
		return CheckpointRecord{}, fmt.Errorf("%w: certified checkpoint of size %d: %w", errRecord, mark.size, err)
	}
	rec := CheckpointRecord{mark.commit, mark.size, mark.time, note, signers, cp}
	l.cache.addCheckpoint(rec)
	return rec, nil
}

func (l *Ledger) message(id tangle.ID) (*tangle.Message, error) {
	if m := l.cache.message(id); m != nil {
		return m, nil
	}
	m, err := l.storedMessage(id)
	if err == nil {
		l.cache.addMessage(m)
	}
	return m, err
}

func (l *Ledger) storedMessage(id tangle.ID) (*tangle.Message, error) {
	b, err := l.get(store.Key(store.PrefixMessage, id[:]))
	if err != nil {
		return nil, err
	}
	m, err := l.codec.ParseLeft(b)
	if err == nil && m.ID != id {
		err = errRecord
	}
	if err != nil {
		return nil, fmt.Errorf("message %s: %w", id, err)
	}
	return m, nil
}

func (l *Ledger) settled(id tangle.ID) (Settled, error) {
	b, err := l.get(store.Key(store.PrefixSettled, id[:]))
	if errors.Is(err, ErrUnknown) {
		return Settled{Status: StatusPending}, nil
	}
	if err != nil {
		return Settled{}, err
	}
	t, err := parseSettled(b)
	if t.Status == StatusOrdered && t.Commit <= l.Head().FinalAt {
		t.Status = StatusFinal
	}
	return t, err
}

func (l *Ledger) get(key []byte) ([]byte, error) {
	b, err := l.store.Get(key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, ErrUnknown
	}
	return b, err
}

func (l *Ledger) hashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, at := range indexes {
		b, err := l.get(store.Key(store.PrefixHash, store.U64(uint64(at))))
		if err != nil {
			return nil, fmt.Errorf("stored hash %d: %w", at, err)
		}
		copy(out[i][:], b)
	}
	return out, nil
}

func hashesOf(path []tlog.Hash) []tangle.Hash {
	out := make([]tangle.Hash, len(path))
	for i := range path {
		out[i] = tangle.Hash(path[i])
	}
	return out
}
