package identity

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"weft/plugins"
)

// Bounds of what is kept off the ledger.
const (
	MaxRecordBytes = 64 << 10
	MaxOpenRecords = 1000 // of one sort and owner that expire
)

// sort is what a record is: the first byte of its key.
type sort byte

// The sorts. They are never renumbered.
const (
	sortProfile    sort = 'p'
	sortUsername   sort = 'n'
	sortTemplate   sort = 't'
	sortCredential sort = 'c'
	sortDraft      sort = 'd'
	sortCustody    sort = 'k'
	sortBook       sort = 'b' // used indexes of a status list
	sortSignedList sort = 's'
	sortProposal   sort = 'o'
	sortRequest    sort = 'q'
	sortEnrolment  sort = 'e'
	sortUsed       sort = 'u' // challenges and tokens that are used up
	sortSecret     sort = 'x'
	sortBelieved   sort = 'r' // trust roots of this node

	sortOpen sort = 0xfe // sort owner 0 id -> time(8): whose the records are that expire
	sortDue  sort = 0xff // time(8) sort key: when a record expires
)

// records is the node's own memory beside the ledger: each record has an owner and, if it is not meant to stay, an end.
// What is deleted is gone. It is safe for concurrent use where callers do not race for one key; once guards those.
type records struct {
	local plugins.Local
	now   func() time.Time
}

// record is a value with what is common to all.
type record struct {
	Owner   string          `json:"owner,omitempty"`
	Expires time.Time       `json:"expires,omitzero"`
	Value   json.RawMessage `json:"value"`
}

func (s sort) key(id string) []byte { return append([]byte{byte(s)}, id...) }

func dueKey(at time.Time, key []byte) []byte {
	b := binary.BigEndian.AppendUint64([]byte{byte(sortDue)}, uint64(at.UnixMilli()))
	return append(b, key...)
}

func openKey(s sort, owner, id string) []byte {
	return append(append([]byte{byte(sortOpen), byte(s)}, owner...), "\x00"+id...)
}

// get reads a record into v; false if there is none, or it is over.
func (r *records) get(s sort, id string, v any) (owner string, ok bool, err error) {
	rec, ok, err := r.read(s, id)
	if !ok || err != nil {
		return "", false, err
	}
	return rec.Owner, true, json.Unmarshal(rec.Value, v)
}

func (r *records) read(s sort, id string) (rec record, ok bool, err error) {
	b := r.local.Get(s.key(id))
	if b == nil {
		return rec, false, nil
	}
	if err := json.Unmarshal(b, &rec); err != nil {
		return rec, false, fmt.Errorf("record %c%s: %w", s, id, err)
	}
	return rec, rec.Expires.IsZero() || r.now().Before(rec.Expires), nil
}

// put keeps a record until expires; the zero time means for good.
func (r *records) put(s sort, id, owner string, expires time.Time, v any) error {
	writes, err := r.writes(s, id, owner, expires, v)
	if err != nil {
		return err
	}
	return r.local.Write(writes...)
}

// writes are those of put, to be made together with others.
func (r *records) writes(s sort, id, owner string, expires time.Time, v any) ([]plugins.Write, error) {
	value, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	if len(value) > MaxRecordBytes {
		return nil, plugins.Reject("too_large", "%d bytes, at most %d", len(value), MaxRecordBytes)
	}
	b, err := json.Marshal(record{owner, expires, value})
	if err != nil {
		return nil, err
	}
	key := s.key(id)
	writes := []plugins.Write{{Key: key, Value: b}}
	if !expires.IsZero() {
		due := binary.BigEndian.AppendUint64(nil, uint64(expires.UnixMilli()))
		writes = append(writes, plugins.Write{Key: dueKey(expires, key), Value: []byte{}}, plugins.Write{Key: openKey(s, owner, id), Value: due})
	}
	return writes, nil
}

// erase deletes a record for good.
func (r *records) erase(s sort, id, owner string) error {
	return r.local.Write(erasure(s, id, owner)...)
}

// erasure are the writes of erase, to be made together with others.
func erasure(s sort, id, owner string) []plugins.Write {
	return []plugins.Write{{Key: s.key(id)}, {Key: openKey(s, owner, id)}}
}

// each visits the records of a sort whose id begins with prefix, after an id, in order.
func (r *records) each(s sort, prefix, after string, visit func(id string, rec record) bool) {
	from, to := s.key(prefix), append(s.key(prefix), 0xff)
	if after != "" {
		from = append(s.key(after), 0)
	}
	now := r.now()
	r.local.Scan(from, to, func(key, value []byte) bool {
		var rec record
		if json.Unmarshal(value, &rec) != nil || (!rec.Expires.IsZero() && !now.Before(rec.Expires)) {
			return true
		}
		return visit(string(key[1:]), rec)
	})
}

// MaxExpired bounds one round of expire.
const MaxExpired = 1000

// expire erases what is over. A record that was put again with a later end stays.
func (r *records) expire() error {
	for {
		more, err := r.expireSome()
		if !more || err != nil {
			return err
		}
	}
}

// expireSome is one round; more says whether there may be another.
func (r *records) expireSome() (more bool, err error) {
	now := r.now()
	var writes []plugins.Write
	looked := 0
	r.local.Scan([]byte{byte(sortDue)}, dueKey(now, nil), func(due, _ []byte) bool {
		writes = append(writes, plugins.Write{Key: due})
		key := due[9:]
		var rec record
		if b := r.local.Get(key); b != nil && json.Unmarshal(b, &rec) == nil && !rec.Expires.IsZero() && !now.Before(rec.Expires) {
			writes = append(writes, erasure(sort(key[0]), string(key[1:]), rec.Owner)...)
		}
		looked++
		return looked < MaxExpired
	})
	if len(writes) == 0 {
		return false, nil
	}
	return looked == MaxExpired, r.local.Write(writes...)
}

// mayOpen says whether an owner may have one more record of a sort that expires.
func (r *records) mayOpen(s sort, owner string) error {
	count, now := 0, uint64(r.now().UnixMilli())
	from := openKey(s, owner, "")
	r.local.Scan(from, append(from[:len(from)-1:len(from)-1], 1), func(_, due []byte) bool {
		if len(due) == 8 && now < binary.BigEndian.Uint64(due) {
			count++
		}
		return count < MaxOpenRecords
	})
	if count >= MaxOpenRecords {
		return plugins.Reject("limit_reached", "%d are open already", count)
	}
	return nil
}
