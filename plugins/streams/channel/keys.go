package channel

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/hpke"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"io"
	"slices"

	"weft/plugins/identity/did"
)

// Sizes in bytes.
const (
	KeySize       = 32
	tagBytes      = 16                      // of AES-GCM
	WrapBytes     = 32 + KeySize + tagBytes // HPKE: encapsulated key, ciphertext of a key
	KeyBytes      = WrapBytes
	PreviousBytes = KeySize + tagBytes
)

// Key is an epoch key, or the secret of one record by a write-only author.
type Key [KeySize]byte

// NewKey draws a key.
func NewKey(random io.Reader) (k Key, err error) {
	_, err = io.ReadFull(random, k[:])
	return k, err
}

// derive is HKDF-SHA256 with an empty salt and a label.
func (k Key) derive(label string, context []byte, n int) []byte {
	b, err := hkdf.Key(sha256.New, k[:], nil, "weft/channel/"+label+"/1"+string(context), n)
	if err != nil {
		panic(err) // n is a small constant
	}
	return b
}

// epochContext is the channel and the number of an epoch.
func epochContext(id ID, number uint32) []byte {
	return binary.BigEndian.AppendUint32(bytes.Clone(id[:]), number)
}

// Commit binds an epoch to one key: every reader checks it.
func (k Key) Commit(id ID, number uint32) [32]byte {
	return [32]byte(k.derive("commit", epochContext(id, number), 32))
}

// sealing is the X25519 key that write-only authors seal to.
func (k Key) sealing(id ID, number uint32) (*ecdh.PrivateKey, error) {
	return ecdh.X25519().NewPrivateKey(k.derive("seal", epochContext(id, number), 32))
}

// PublicKey is the public half of the epoch's key for write-only authors.
func (k Key) PublicKey(id ID, number uint32) (public [32]byte, err error) {
	private, err := k.sealing(id, number)
	if err == nil {
		copy(public[:], private.PublicKey().Bytes())
	}
	return public, err
}

// Chain is the key before, sealed under this one of the epoch with this number.
func (k Key) Chain(id ID, number uint32, before Key) []byte {
	context := epochContext(id, number)
	return gcm(k.derive("previous", context, 32)).Seal(nil, make([]byte, 12), before[:], context)
}

// Unchain opens what Chain made. The code is broken_chain.
func (k Key) Unchain(id ID, number uint32, previous []byte) (before Key, err error) {
	context := epochContext(id, number)
	b, err := gcm(k.derive("previous", context, 32)).Open(nil, make([]byte, 12), previous, context)
	if err != nil || len(b) != KeySize {
		return before, reject("broken_chain", "previous of epoch %d does not open", number)
	}
	return Key(b), nil
}

func gcm(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // keys have 32 bytes
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // AES has the block size of GCM
	}
	return aead
}

// NewEpoch is what an operation says of an epoch with this key, without wraps. before is the key of the epoch before if
// history is full, else nil.
func (k Key) NewEpoch(id ID, number uint32, before *Key) (*Epoch, error) {
	public, err := k.PublicKey(id, number)
	if err != nil {
		return nil, err
	}
	e := &Epoch{Number: number, Commit: k.Commit(id, number), PublicKey: public}
	if before != nil {
		e.Previous = k.Chain(id, number, *before)
	}
	return e, nil
}

// Check says whether a key is that of an epoch. The code is bad_wrap.
func (k Key) Check(id ID, e OpenedEpoch) error {
	public, err := k.PublicKey(id, e.Number)
	switch {
	case err != nil:
		return err
	case k.Commit(id, e.Number) != e.Commit:
		return reject("bad_wrap", "the key is not the one that epoch %d commits to", e.Number)
	case public != e.PublicKey:
		return reject("bad_wrap", "the public key of epoch %d is not that of its key", e.Number)
	}
	return nil
}

// Wrap seals the key of an epoch to an X25519 key of a reader; to is the DID URL of that key. HPKE draws its randomness from
// the standard library.
func (k Key) Wrap(id ID, number uint32, to string, public []byte) (Wrap, error) {
	b, err := seal(public, wrapInfo(id, number, to), k[:])
	return Wrap{to, b}, err
}

// Unwrap opens a wrap. The code is bad_wrap; whether the key is the epoch's is for Check.
func Unwrap(id ID, number uint32, w Wrap, private *ecdh.PrivateKey) (k Key, err error) {
	b, err := open(private, wrapInfo(id, number, w.To), w.Ciphertext)
	if err != nil || len(b) != KeySize {
		return k, reject("bad_wrap", "the wrap of epoch %d to %s does not open", number, w.To)
	}
	return Key(b), nil
}

func wrapInfo(id ID, number uint32, to string) []byte {
	return slices.Concat([]byte("weft/channel/wrap/1"), epochContext(id, number), []byte(to))
}

// EnclosureOverhead is how much longer a sealed note is than the note.
const EnclosureOverhead = 32 + 16

// SealEnclosure seals a note of a request to an admin's key.
func SealEnclosure(id ID, to string, public, text []byte) (did.Object, error) {
	b, err := seal(public, enclosureInfo(id, to), text)
	return did.Object{"to": to, "ct": base64.RawURLEncoding.EncodeToString(b)}, err
}

// OpenEnclosure opens one.
func OpenEnclosure(id ID, to string, private *ecdh.PrivateKey, ciphertext []byte) ([]byte, error) {
	return open(private, enclosureInfo(id, to), ciphertext)
}

func enclosureInfo(id ID, to string) []byte {
	return slices.Concat([]byte("weft/channel/enclosure/1"), id[:], []byte(to))
}

// seal and open are HPKE in base mode (RFC 9180): DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM.
func seal(public, info, text []byte) ([]byte, error) {
	point, err := ecdh.X25519().NewPublicKey(public)
	if err != nil {
		return nil, err
	}
	k, err := hpke.NewDHKEMPublicKey(point)
	if err != nil {
		return nil, err
	}
	return hpke.Seal(k, hpke.HKDFSHA256(), hpke.AES256GCM(), info, text)
}

func open(private *ecdh.PrivateKey, info, ciphertext []byte) ([]byte, error) {
	k, err := hpke.NewDHKEMPrivateKey(private)
	if err != nil {
		return nil, err
	}
	return hpke.Open(k, hpke.HKDFSHA256(), hpke.AES256GCM(), info, ciphertext)
}

// recordKey is the key and the first 7 bytes of the IVs of one record.
func (k Key) recordKey(id ID, actor string, nonce Nonce) (key, prefix []byte) {
	b := k.derive("record", append(appendActor(bytes.Clone(id[:]), actor), nonce[:]...), 39)
	return b[:32], b[32:]
}

// SealProfile seals what a hidden channel keeps to itself under the key of epoch 0, for the create or configure of this
// actor and nonce.
func (k Key) SealProfile(id ID, actor string, nonce Nonce, profile did.Object) (string, error) {
	text, err := did.Canonical(profile)
	if err != nil {
		return "", err
	}
	b := k.profile(id, nonce).Seal(nil, make([]byte, 12), text, []byte(actor))
	return base64.RawURLEncoding.EncodeToString(b), nil
}

// OpenProfile opens a sealedProfile.
func (k Key) OpenProfile(id ID, actor string, nonce Nonce, sealed string) (did.Object, error) {
	b, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil {
		return nil, err
	}
	text, err := k.profile(id, nonce).Open(nil, make([]byte, 12), b, []byte(actor))
	if err != nil {
		return nil, reject("bad_wrap", "the sealed profile does not open")
	}
	return did.DecodeObject(text, did.JSONLimits{})
}

func (k Key) profile(id ID, nonce Nonce) cipher.AEAD {
	return gcm(k.derive("profile", append(bytes.Clone(id[:]), nonce[:]...), 32))
}

// Opened are the keys that a reader has, by epoch, and why it has no more.
type Opened struct {
	Keys   map[uint32]Key
	Faults []error // bad_wrap, broken_chain: an admin can send wraps anew
}

// Walk goes from each key that a reader has unwrapped down the chain of epochs, checks every key, and returns all that it
// reaches; epochs are in ascending order of number, without gaps as far as a chain is to be walked. Epoch 0 commits to
// nothing: it is taken from the chain as it is.
func Walk(id ID, epochs []OpenedEpoch, unwrapped map[uint32]Key) Opened {
	o := Opened{Keys: map[uint32]Key{}}
	if k, ok := unwrapped[0]; ok {
		o.Keys[0] = k
	}
	for _, e := range slices.Backward(epochs) {
		k, ok := unwrapped[e.Number]
		if ok {
			if err := k.Check(id, e); err != nil {
				o.Faults, ok = append(o.Faults, err), false
			}
		}
		if !ok {
			k, ok = o.Keys[e.Number]
		}
		if !ok {
			continue
		}
		o.Keys[e.Number] = k
		if err := o.descend(id, e, k, epochs); err != nil {
			o.Faults = append(o.Faults, err)
		}
	}
	return o
}

// descend opens the key of the epoch before.
func (o *Opened) descend(id ID, e OpenedEpoch, k Key, epochs []OpenedEpoch) error {
	if e.Previous == nil {
		return nil
	}
	before, err := k.Unchain(id, e.Number, e.Previous)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(epochs, func(x OpenedEpoch) bool { return x.Number == e.Number-1 })
	if i >= 0 {
		if err := before.Check(id, epochs[i]); err != nil {
			return reject("broken_chain", "epoch %d carries another key than that of epoch %d: %v", e.Number, e.Number-1, err)
		}
	} else if e.Number > 1 {
		return nil // nobody can say whether it is the key
	}
	if _, there := o.Keys[e.Number-1]; !there {
		o.Keys[e.Number-1] = before
	}
	return nil
}
