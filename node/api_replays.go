package node

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"weft/internal/store"
	"weft/tangle"
)

// replays remembers what requests with an Idempotency-Key have done: for replayTime, and of the newest MaxReplays only.
// It lives in memory; segments of it are written to the store without a sync of their own, so that they become durable
// with the next step of the core. What a kill takes of it, the ledger makes up for: see salts.
type replays struct {
	store  store.Store
	secret apiSecret // behind the salts of entries that come with a key
	now    func() time.Time

	mu       sync.Mutex // guards all below
	known    map[replayID]*replay
	segments []replaySegment // written, oldest first
	fresh    []replayID      // not written yet, oldest first
	next     uint64          // number of the next segment
	hashes   int             // remembered in all
	begun    chan struct{}   // told when fresh has its first
	wake     chan struct{}   // told when fresh is long
}

// replayID names a key of a caller on a route.
type replayID [16]byte

// replay is what a key stands for.
type replay struct {
	body    [16]byte // of the SHA-256 of the body
	running bool
	done    published
}

type replaySegment struct {
	number uint64
	time   time.Time // of its newest key
	ids    []replayID
}

// The bounds of what is remembered.
const (
	replayTime     = 24 * time.Hour
	replayFlush    = 200 * time.Millisecond
	replaySweep    = time.Minute // what is old is dropped this often, on an idle node
	MaxReplays     = 50_000
	MaxReplaySlots = 128 // keys of a segment: full ones stay below the store's bound on values
)

// MaxReplayHashes bounds the entry hashes remembered, which are most of the memory.
const MaxReplayHashes = 8 * MaxReplays

func openReplays(s store.Store) (*replays, error) {
	r := &replays{store: s, now: time.Now, known: map[replayID]*replay{}, begun: make(chan struct{}, 1), wake: make(chan struct{}, 1)}
	var err, bad error
	if r.secret, err = openSecret(s, "saltkey"); err != nil {
		return nil, err
	}
	from := store.Key(store.PrefixIdempotency)
	err = s.Scan(from, store.PrefixEnd(from), func(key, value []byte) bool {
		bad = r.load(key[1:], value)
		return bad == nil
	})
	if err := errors.Join(err, bad); err != nil {
		return nil, fmt.Errorf("idempotency keys: %w", err)
	}
	return r, nil
}

// begin takes a key. It returns a slot to give to end, or what the key has done before, or a problem.
func (r *replays) begin(caller, route, key string, body []byte) (replayID, *published, error) {
	id := replayID(hashOf([]byte(caller), []byte(route), []byte(key)))
	sum := hashOf(body)
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.known[id]
	switch {
	case before == nil:
	case before.body != sum:
		return id, nil, refuse("idempotency_mismatch", "this key came with another body before")
	case before.running:
		return id, nil, refuse("in_progress", "the first request with this key still runs").with("Retry-After", "1")
	default:
		done := before.done
		return id, &done, nil
	}
	r.known[id] = &replay{body: sum, running: true}
	return id, nil, nil
}

// salts makes the salts of n entries that came with a key. The same request makes the same ones on this node, for ever.
// Nobody else can guess them, or the hashes of low-entropy entries would tell their content: they are HKDF-Expand
// (RFC 5869) of a secret that never leaves this node's store.
func (r *replays) salts(caller, route, key string, body []byte, n int) ([]tangle.Salt, error) {
	sum := sha256.Sum256(body)
	info := fmt.Sprintf("weft salts v1 %q %q %q %x", caller, route, key, sum)
	random, err := hkdf.Expand(sha256.New, r.secret[:], info, n*len(tangle.Salt{}))
	return saltsOf(random), err
}

// hashOf is half a SHA-256 over parts that cannot run into each other.
func hashOf(parts ...[]byte) [16]byte {
	if len(parts) == 1 {
		sum := sha256.Sum256(parts[0])
		return [16]byte(sum[:16])
	}
	h := sha256.New()
	for _, p := range parts {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(p))))
		h.Write(p)
	}
	return [16]byte(h.Sum(nil)[:16])
}

// end tells what became of a slot; a failure had no effect, so its key is free again.
func (r *replays) end(id replayID, done published, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		delete(r.known, id)
		return
	}
	k := r.known[id]
	k.running, k.done = false, done
	r.hashes += len(done.hashes)
	r.fresh = append(r.fresh, id)
	if len(r.fresh) == 1 {
		tell(r.begun)
	}
	if len(r.fresh) >= MaxReplaySlots {
		tell(r.wake)
	}
}

// tell leaves a note for whoever waits on ch, unless there is one.
func tell(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// run writes segments until ctx ends, and once more then: a moment after the first slot that is fresh, so that an idle node
// does not wake up for nothing.
func (r *replays) run(ctx context.Context) error {
	for {
		select {
		case <-r.begun:
		case <-time.After(replaySweep):
		case <-ctx.Done():
			return r.flush()
		}
		select {
		case <-time.After(replayFlush):
		case <-r.wake:
		case <-ctx.Done():
		}
		if err := r.flush(); err != nil {
			return err
		}
	}
}

// flush writes what is fresh and drops what is old or too much.
func (r *replays) flush() error {
	var batch store.Batch
	r.mu.Lock()
	for len(r.fresh) > 0 {
		n := min(len(r.fresh), MaxReplaySlots)
		r.write(&batch, r.fresh[:n:n])
		r.fresh = r.fresh[n:]
	}
	r.drop(&batch)
	r.mu.Unlock()
	if batch.Len() == 0 {
		return nil
	}
	err := r.store.Apply(&batch, false)
	if errors.Is(err, store.ErrDiskFull) {
		return nil // memory still has them
	}
	return err
}

func (r *replays) write(batch *store.Batch, ids []replayID) {
	segment := replaySegment{r.next, r.now(), ids}
	r.next++
	r.segments = append(r.segments, segment)
	value := binary.BigEndian.AppendUint64(nil, uint64(segment.time.UnixMilli()))
	for _, id := range ids {
		value = appendReplay(value, id, r.known[id])
	}
	batch.Set(store.Key(store.PrefixIdempotency, store.U64(segment.number)), value)
}

// drop forgets whole segments.
func (r *replays) drop(batch *store.Batch) {
	for len(r.segments) > 0 {
		oldest := r.segments[0]
		if len(r.known) <= MaxReplays && r.hashes <= MaxReplayHashes && r.now().Sub(oldest.time) < replayTime {
			return
		}
		for _, id := range oldest.ids {
			r.hashes -= len(r.known[id].done.hashes)
			delete(r.known, id)
		}
		batch.Delete(store.Key(store.PrefixIdempotency, store.U64(oldest.number)))
		r.segments = r.segments[1:]
	}
}

// appendReplay encodes a key: id, body, message, count u16, hashes.
func appendReplay(b []byte, id replayID, k *replay) []byte {
	b = append(b, id[:]...)
	b = append(b, k.body[:]...)
	b = append(b, k.done.message[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(k.done.hashes)))
	for i := range k.done.hashes {
		b = append(b, k.done.hashes[i][:]...)
	}
	return b
}

var errReplaySegment = errors.New("segment is damaged")

func (r *replays) load(number, value []byte) error {
	if len(number) != 8 || len(value) < 8 {
		return errReplaySegment
	}
	segment := replaySegment{
		number: binary.BigEndian.Uint64(number),
		time:   time.UnixMilli(int64(binary.BigEndian.Uint64(value))),
	}
	for rest := bytes.Clone(value[8:]); len(rest) > 0; {
		const fixed = 16 + 16 + 32 + 2
		if len(rest) < fixed {
			return errReplaySegment
		}
		k := &replay{body: [16]byte(rest[16:32]), done: published{message: tangle.ID(rest[32:64])}}
		id, n := replayID(rest[:16]), int(binary.BigEndian.Uint16(rest[64:]))
		if rest = rest[fixed:]; len(rest) < 32*n {
			return errReplaySegment
		}
		for i := range n {
			k.done.hashes = append(k.done.hashes, tangle.Hash(rest[32*i:32*i+32]))
		}
		rest = rest[32*n:]
		r.known[id] = k
		r.hashes += n
		segment.ids = append(segment.ids, id)
	}
	r.segments = append(r.segments, segment)
	r.next = segment.number + 1
	return nil
}
