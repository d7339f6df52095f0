// Package zip215 verifies Ed25519 signatures under the ZIP-215 rules, one by one and in batches, with the same verdict.
// Every node of a network judges messages by this one rule: two rules that differ on odd signatures would split it.
//
// It does not sign, and it does not verify checkpoints or credentials: those use the standard library.
package zip215

import (
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/primitives/ed25519"
	"github.com/oasisprotocol/curve25519-voi/primitives/ed25519/extra/cache"

	"weft/tangle"
)

// MaxKeys bounds the cache of prepared public keys; members are few.
const MaxKeys = 1024

// Verifier holds prepared public keys. It is safe for concurrent use.
type Verifier struct {
	keys *cache.Verifier
}

// NewVerifier returns a Verifier with an empty cache.
func NewVerifier() *Verifier {
	return &Verifier{cache.NewVerifier(cache.NewLRUCache(MaxKeys))}
}

// Verify says whether sig is m's signature over input.
func (v *Verifier) Verify(m tangle.Member, input []byte, sig tangle.Signature) bool {
	return v.keys.VerifyWithOptions(m[:], input, sig[:], options())
}

// Item is one signature to verify.
type Item struct {
	Member    tangle.Member
	Input     []byte
	Signature tangle.Signature
}

// VerifyAll verifies many signatures at once, which costs about half of one at a time, and says of each whether it is
// good.
func (v *Verifier) VerifyAll(items []Item) []bool {
	if len(items) == 1 {
		return []bool{v.Verify(items[0].Member, items[0].Input, items[0].Signature)}
	}
	batch := ed25519.NewBatchVerifierWithCapacity(len(items))
	for i := range items {
		v.keys.AddWithOptions(batch, items[i].Member[:], items[i].Input, items[i].Signature[:], options())
	}
	_, good := batch.Verify(rand.Reader)
	return good
}

func options() *ed25519.Options { return &ed25519.Options{Verify: ed25519.VerifyOptionsZIP_215} }

// VerifyOnce is CheckKey and Verify in one pass, for keys that are met once and so are not worth preparing: it says whether
// sig is a good signature of a sound key.
func VerifyOnce(m tangle.Member, input []byte, sig tangle.Signature) bool {
	return ed25519.VerifyWithOptions(m[:], input, sig[:], soundOptions())
}

// VerifyAllOnce is VerifyOnce of many at once, which costs about half. A key is prepared once for all of its signatures.
func VerifyAllOnce(items []Item) []bool {
	if len(items) == 1 {
		return []bool{VerifyOnce(items[0].Member, items[0].Input, items[0].Signature)}
	}
	keys := cache.NewVerifier(cache.NewLRUCache(max(1, len(items))))
	batch := ed25519.NewBatchVerifierWithCapacity(len(items))
	for i := range items {
		keys.AddWithOptions(batch, items[i].Member[:], items[i].Input, items[i].Signature[:], soundOptions())
	}
	_, good := batch.Verify(rand.Reader)
	return good
}

func soundOptions() *ed25519.Options {
	sound := *ed25519.VerifyOptionsZIP_215
	sound.AllowSmallOrderA, sound.AllowNonCanonicalA = false, false
	return &ed25519.Options{Verify: &sound}
}

// ErrKey is the reason to refuse a public key at enrolment.
var ErrKey = errors.New("not a sound Ed25519 public key")

// CheckKey refuses keys of small order, which verify anything, and encodings that are not canonical, which give one key
// two names.
func CheckKey(m tangle.Member) error {
	var point curve.EdwardsPoint
	encoded := curve.CompressedEdwardsY(m)
	if _, err := point.SetCompressedY(&encoded); err != nil {
		return fmt.Errorf("%w: not a point of the curve", ErrKey)
	}
	if !encoded.IsCanonicalVartime() {
		return fmt.Errorf("%w: its encoding is not canonical", ErrKey)
	}
	if point.IsSmallOrder() {
		return fmt.Errorf("%w: it has small order", ErrKey)
	}
	return nil
}
