package identity

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"sync"
	"time"

	"weft/plugins"
)

// challengeLife is how long a challenge may be answered.
const challengeLife = 120 * time.Second

// challenger makes challenges that hold everything about themselves under a MAC whose key is made at the start: a flood of
// them costs no memory and disturbs no open one. Only those that were used are remembered, until they are over.
type challenger struct {
	key  [32]byte
	used usedUp
}

func newChallenger() *challenger {
	c := &challenger{}
	rand.Read(c.key[:]) // never fails
	return c
}

const (
	challengeNonce = 32
	challengeMAC   = 32
)

// challenge := nonce [32], end u64 ms, MAC [32] over purpose, 0, nonce, end; all in base64url.
func (c *challenger) make(purpose string, now time.Time) (text string, ends time.Time) {
	b := make([]byte, challengeNonce, challengeNonce+8+challengeMAC)
	rand.Read(b)
	ends = now.Add(challengeLife).Truncate(time.Second)
	b = binary.BigEndian.AppendUint64(b, uint64(ends.UnixMilli()))
	return base64.RawURLEncoding.EncodeToString(append(b, c.mac(purpose, b)...)), ends
}

func (c *challenger) mac(purpose string, b []byte) []byte {
	h := hmac.New(sha256.New, c.key[:])
	h.Write(append([]byte(purpose), 0))
	h.Write(b)
	return h.Sum(nil)
}

// check says whether a challenge is one of ours for this purpose and still open. It is not used up by that.
func (c *challenger) check(text, purpose string, now time.Time) (ends time.Time, err error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != challengeNonce+8+challengeMAC {
		return ends, plugins.Reject("challenge_expired", "this node made no such challenge")
	}
	signed := b[:challengeNonce+8]
	if !hmac.Equal(b[len(signed):], c.mac(purpose, signed)) {
		return ends, plugins.Reject("challenge_expired", "this node made no such challenge since it started")
	}
	ends = time.UnixMilli(int64(binary.BigEndian.Uint64(signed[challengeNonce:])))
	if !now.Before(ends) {
		return ends, plugins.Reject("challenge_expired", "the challenge was good until %s", ends.UTC().Format(time.RFC3339))
	}
	return ends, nil
}

// consume is check, once.
func (c *challenger) consume(text, purpose string, now time.Time) error {
	ends, err := c.check(text, purpose, now)
	if err != nil {
		return err
	}
	return c.used.use(text, ends, now)
}

// MaxUsed bounds the values remembered as used.
const MaxUsed = 200_000

// usedUp remembers values that count once, until they are over. It is safe for concurrent use.
type usedUp struct {
	mu     sync.Mutex // guards values
	values map[string]time.Time
}

func (u *usedUp) use(value string, ends, now time.Time) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.values == nil {
		u.values = map[string]time.Time{}
	}
	if end, used := u.values[value]; used && now.Before(end) {
		return plugins.Reject("challenge_used", "the challenge was answered before")
	}
	if len(u.values) >= MaxUsed {
		u.forget(now)
	}
	if len(u.values) >= MaxUsed {
		return plugins.Reject("busy", "%d challenges were answered in the last minutes", MaxUsed)
	}
	u.values[value] = ends
	return nil
}

func (u *usedUp) forget(now time.Time) {
	for v, end := range u.values {
		if !now.Before(end) {
			delete(u.values, v)
		}
	}
}

func (u *usedUp) expire(now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.forget(now)
}
