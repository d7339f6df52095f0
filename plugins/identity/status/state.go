package status

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"sort"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/identity/operation"
	"weft/tangle"
)

// Keys of the state: a letter, then ids, which are multihashes of one length. Numbers are big-endian.
const (
	keyList      = "s"  // list
	keyIssuer    = "s/" // issuer 0 list: no list's id begins with a slash
	keyBits      = "b"  // list chunk u16
	keyVersion   = "v"  // list version u32: flips; with a zero byte behind: all bits after that version
	keyNullifier = "n"  // nullifier
	keyAnchor    = "t"  // commitment
)

// SnapshotEvery is after how many versions all bits of a list are written once, so that any of its states is found by
// reading at most half as many flips.
const SnapshotEvery = 1024

// List is a status list as of the newest applied position. Its bits are read apart.
type List struct {
	ID     string `json:"id"`
	Issuer string `json:"issuer"`
	ListTerms
	Version  uint32             `json:"version"` // operations that changed bits
	Created  operation.Instant  `json:"created"`
	Changed  operation.Instant  `json:"changed"`  // commit time of the newest version; of create while there is none
	Position tangle.Position    `json:"position"` // of the newest operation that changed bits or closed the list
	Closed   *operation.Instant `json:"closed,omitempty"`
}

// Event is the operation that anchored or spent something.
type Event struct {
	Time     operation.Instant `json:"time"` // commit time
	Position tangle.Position   `json:"position"`
	OpHash   string            `json:"opHash"`
	Actor    string            `json:"actor"`
}

// ReadList returns a list, or rejects with unknown_list.
func ReadList(v plugins.View, id string) (*List, error) {
	b := v.Get([]byte(keyList + id))
	if b == nil || len(id) != hashLength {
		return nil, plugins.Reject("unknown_list", "%.60q", id)
	}
	l := &List{}
	return l, parse(b, l)
}

// hashLength is the length of a multihash as text.
const hashLength = 47

// ListsOf returns the ids of the lists that an issuer made, at most limit of them.
func ListsOf(v plugins.View, issuer string, limit int) (ids []string) {
	prefix := keyIssuer + issuer + "\x00"
	v.Scan([]byte(prefix), []byte(keyIssuer+issuer+"\x01"), func(key, _ []byte) bool {
		if len(ids) < limit {
			ids = append(ids, string(key[len(prefix):]))
		}
		return len(ids) < limit
	})
	return ids
}

// Bit says whether a bit is set. The codes are unknown_list and bad_index.
func Bit(v plugins.View, list string, index int) (bool, error) {
	l, err := ReadList(v, list)
	if err != nil {
		return false, err
	}
	if err := l.checkIndex(index); err != nil {
		return false, err
	}
	chunk, err := readChunk(v, list, index/chunkBits)
	return err == nil && chunk != nil && isSet(chunk, index%chunkBits), err
}

func (l *List) checkIndex(index int) error {
	if index < 0 || index >= l.Size {
		return plugins.Reject("bad_index", "%d, in a list of %d", index, l.Size)
	}
	return nil
}

// Bits returns all bits of a list, index 0 left-most: what encodedList compresses. The code is unknown_list.
func Bits(v plugins.View, list string) ([]byte, error) {
	l, err := ReadList(v, list)
	if err != nil {
		return nil, err
	}
	return l.bits(v)
}

func (l *List) bits(v plugins.View) ([]byte, error) {
	bits := make([]byte, l.Size/8)
	for n := range l.Size / chunkBits {
		chunk, err := readChunk(v, l.ID, n)
		if err != nil {
			return nil, err
		}
		copy(bits[n*chunkBytes:], chunk)
	}
	return bits, nil
}

// BitsAt returns the bits as they were at a time: with every operation whose commit time is not later. The code is
// unknown_list, also for a list that was not made then.
func BitsAt(v plugins.View, list string, at tangle.Time) ([]byte, error) {
	l, err := ReadList(v, list)
	if err != nil {
		return nil, err
	}
	if at < tangle.Time(l.Created) {
		return nil, plugins.Reject("unknown_list", "%s was made at %s", list, l.Created)
	}
	if at >= tangle.Time(l.Changed) {
		return l.bits(v)
	}
	version, err := l.versionAt(v, at)
	if err != nil {
		return nil, err
	}
	return l.rebuild(v, version)
}

// versionAt finds the last version that is not later than a time; 0 if all are.
func (l *List) versionAt(v plugins.View, at tangle.Time) (uint32, error) {
	var fault error
	later := sort.Search(int(l.Version), func(i int) bool {
		f, err := l.flips(v, uint32(i)+1)
		if err != nil {
			fault = err
		}
		return f.time > at
	})
	return uint32(later), fault
}

// rebuild starts from the nearest state that is kept and flips what lies between.
func (l *List) rebuild(v plugins.View, version uint32) ([]byte, error) {
	kept := min(l.Version, (version+SnapshotEvery/2)/SnapshotEvery*SnapshotEvery)
	bits, err := l.kept(v, kept)
	for n := min(kept, version) + 1; err == nil && n <= max(kept, version); n++ {
		var f flips
		f, err = l.flips(v, n)
		for _, index := range f.indexes {
			flip(bits, index)
		}
	}
	return bits, err
}

// kept returns the bits after a version of which they are kept: the first, the newest, and every SnapshotEvery-th.
func (l *List) kept(v plugins.View, version uint32) ([]byte, error) {
	switch version {
	case 0:
		return make([]byte, l.Size/8), nil
	case l.Version:
		return l.bits(v)
	}
	bits := v.Get(snapshotKey(l.ID, version))
	if len(bits) != l.Size/8 {
		return nil, fmt.Errorf("status: list %s has no snapshot of version %d", l.ID, version)
	}
	return slices.Clone(bits), nil
}

func (l *List) flips(v plugins.View, version uint32) (flips, error) {
	return parseFlips(v.Get(versionKey(l.ID, version)), l.Size)
}

// ReadAnchor returns the first anchor of a commitment.
func ReadAnchor(v plugins.View, commitment string) (Event, bool, error) {
	return readEvent(v, keyAnchor+commitment)
}

// ReadSpend returns the spend of a nullifier; there is one at most.
func ReadSpend(v plugins.View, nullifier string) (Event, bool, error) {
	return readEvent(v, keyNullifier+nullifier)
}

func readEvent(v plugins.View, key string) (e Event, found bool, err error) {
	b := v.Get([]byte(key))
	if b == nil {
		return e, false, nil
	}
	return e, true, parse(b, &e)
}

// readChunk returns a chunk of a list; nil if none of its bits was ever set.
func readChunk(v plugins.View, list string, n int) ([]byte, error) {
	b := v.Get(chunkKey(list, n))
	if b != nil && len(b) != chunkBytes {
		return nil, fmt.Errorf("status: chunk %d of %s has %d bytes", n, list, len(b))
	}
	return b, nil
}

func chunkKey(list string, n int) []byte {
	return binary.BigEndian.AppendUint16([]byte(keyBits+list), uint16(n))
}

func versionKey(list string, version uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte(keyVersion+list), version)
}

func snapshotKey(list string, version uint32) []byte { return append(versionKey(list, version), 0) }

// parse reads a record. An error is no rejection: the state is damaged, and the node must stop.
func parse(b []byte, into any) error {
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("status: record: %w", err)
	}
	return nil
}

func write(key string, record any) did.Write {
	return did.Write{Key: []byte(key), Value: operation.Record(record)}
}
