package streams

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"weft/config/strict"
	"weft/plugins"
	"weft/plugins/streams/channel"
	"weft/tangle"
)

// question is what the plugins of two members ask each other. All that is served this way is ciphertext, or what the ledger
// says anyway.
type question struct {
	Ask     string      `json:"ask"` // has, leaves, chunk, erasure
	Channel channel.ID  `json:"channel"`
	Root    tangle.Hash `json:"root,omitzero"`
	Chunk   int         `json:"chunk,omitempty"`
	Seq     uint64      `json:"seq,omitempty"`
}

// The questions.
const (
	askHas     = "has"     // is all of a blob there?
	askLeaves  = "leaves"  // blobLeaves
	askChunk   = "chunk"   // its bytes
	askErasure = "erasure" // statement
)

// askTime is how long one member is waited for.
const askTime = 3 * time.Second

// answer answers the plugin of another member.
func (s *streams) answer(_ context.Context, _ tangle.Member, body []byte) ([]byte, error) {
	var q question
	if err := strict.Decode(body, &q, false); err != nil {
		return nil, plugins.Reject("bad_value", "%s", err)
	}
	if q.Ask == askErasure {
		return s.answerErasure(q)
	}
	k := blobKey{q.Channel, q.Root}
	if err := s.notErased(k); err != nil {
		return nil, err
	}
	u, err := s.blobs.find(k)
	switch {
	case err != nil:
		return nil, err
	case u == nil:
		return nil, plugins.Reject("not_found", "no such blob here")
	case q.Ask == askChunk:
		return s.blobs.read(k, u, q.Chunk)
	case !s.blobs.has(k.channel, k.root):
		return nil, plugins.Reject("blob_incomplete", "chunks are missing here")
	case q.Ask == askHas:
		return []byte("true"), nil
	case q.Ask == askLeaves:
		return json.Marshal(blobLeaves{Size: u.Size, Leaves: u.Leaves})
	}
	return nil, plugins.Reject("bad_value", "ask: %.20q is no question", q.Ask)
}

// askOne asks one member.
func (s *streams) askOne(ctx context.Context, of tangle.Member, q question) ([]byte, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	inTime, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	answer, err := s.host.Ask(inTime, of, body)
	if ctx.Err() == nil {
		s.silent.note(of, inTime.Err() != nil)
	}
	return answer, err
}

// silence is which members did not answer in time when they were asked last. It is safe for concurrent use.
type silence struct {
	mu sync.Mutex // guards of
	of map[tangle.Member]bool
}

func (s *silence) note(m tangle.Member, silent bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil {
		s.of = map[tangle.Member]bool{}
	}
	s.of[m] = silent
}

// last puts the silent behind all others: a payload has many chunks, and each would wait for them anew.
func (s *silence) last(list []tangle.Member) {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.SortStableFunc(list, func(a, b tangle.Member) int {
		switch {
		case s.of[a] == s.of[b]:
			return 0
		case s.of[b]:
			return -1
		}
		return 1
	})
}

// askOthers asks all other members at once and calls take, one after the other, with each answer that comes in time.
func (s *streams) askOthers(ctx context.Context, q question, take func(tangle.Member, []byte)) {
	var group sync.WaitGroup
	var mu sync.Mutex // guards what take does
	for _, m := range s.host.Members {
		if m.Key == s.host.Self {
			continue
		}
		group.Go(func() {
			if a, err := s.askOne(ctx, m.Key, q); err == nil {
				mu.Lock()
				defer mu.Unlock()
				take(m.Key, a)
			}
		})
	}
	group.Wait()
}

// holders are the members that have all of a blob now, of those that answer.
func (s *streams) holders(ctx context.Context, id channel.ID, root tangle.Hash) (list []tangle.Member) {
	if s.blobs.has(id, root) {
		list = append(list, s.host.Self)
	}
	s.askOthers(ctx, question{Ask: askHas, Channel: id, Root: root}, func(m tangle.Member, _ []byte) { list = append(list, m) })
	slices.SortFunc(list, func(a, b tangle.Member) int { return slices.Compare(a[:], b[:]) })
	return list
}

// inTurn are the other members, the likeliest holder first, and last who did not answer lately.
func (s *streams) inTurn(first tangle.Member) (list []tangle.Member) {
	for _, m := range s.host.Members {
		switch m.Key {
		case s.host.Self:
		case first:
			list = slices.Insert(list, 0, m.Key)
		default:
			list = append(list, m.Key)
		}
	}
	s.silent.last(list)
	return list
}

// fetchLeaves declares a blob here as another member has it. first is the member that carried the record.
func (s *streams) fetchLeaves(ctx context.Context, k blobKey, first tangle.Member) (*upload, error) {
	for _, m := range s.inTurn(first) {
		raw, err := s.askOne(ctx, m, question{Ask: askLeaves, Channel: k.channel, Root: k.root})
		if err != nil {
			continue
		}
		var l blobLeaves
		if json.Unmarshal(raw, &l) != nil || checkLeaves(k.root, l) != nil || s.fitsRecord(k, l.Size) != nil {
			continue // it lies, or is broken
		}
		l.Owner = ""
		return s.blobs.declare(k, l)
	}
	return nil, plugins.Reject("blob_incomplete", "no member that answers has the payload")
}

// chunk is a chunk of a blob, from here or from another member.
func (s *streams) chunk(ctx context.Context, k blobKey, u *upload, n int) ([]byte, error) {
	if !u.lacks(n) {
		return s.blobs.read(k, u, n)
	}
	e, found, err := s.recordOfBlob(k)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, plugins.Reject("blob_incomplete", "chunk %d has not come yet", n)
	}
	for _, m := range s.inTurn(e.By) {
		chunk, err := s.askOne(ctx, m, question{Ask: askChunk, Channel: k.channel, Root: k.root, Chunk: n})
		if err != nil {
			continue
		}
		err = s.blobs.put(k, u, n, chunk)
		if err == nil {
			return chunk, nil
		}
		if plugins.Rejected(err) == nil {
			return nil, err
		}
	}
	return nil, plugins.Reject("blob_incomplete", "no member that answers has chunk %d", n)
}
