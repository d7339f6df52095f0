// Package keyfile keeps private keys on disk: the key file weft/key/1 of one identity, which the command line and the
// browser read and write, and the keystore in which a node holds the keys of its issuer instances. It makes keys, seals
// them under a passphrase, and signs with them.
//
// It knows no DID method and no operation: it does not say which key is entitled to what, and it never sends a key
// anywhere. Whatever holds a secret here prints as a placeholder, under every verb, logger and encoder.
//
// The key file is JSON:
//
//	{"type":"weft/key/1","did":"did:weft:...","keys":[{"role":"update","alg":"Ed25519","public":"z6Mk...","secret":
//	 {"kdf":"pbkdf2-sha256","iterations":600000,"salt":"...","cipher":"aes-256-gcm","nonce":"...","ct":"..."}}]}
//
// Document keys also have "id", the fragment of their verification method, such as "#key-1". Binary is base64url without
// padding; ct is AES-256-GCM, without additional data, of the 32 bytes of an Ed25519 seed or an X25519 scalar, under the
// key that the kdf makes of the passphrase's UTF-8 bytes. Keys may share a salt, never a nonce.
package keyfile

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"slices"

	"weft/plugins/identity/did"
)

// Role is what a key is for, from the one that is guarded best to the one that is used most.
type Role string

// The roles of keys.
const (
	Recovery Role = "recovery" // takes a DID back
	Next     Role = "next"     // becomes an update key by the next rotation
	Update   Role = "update"   // signs operations
	Document Role = "document" // stands in the DID document
)

func isRole(r Role) bool { return slices.Contains([]Role{Recovery, Next, Update, Document}, r) }

// Algorithm is the kind of a key.
type Algorithm string

// The kinds of keys: X25519 is for key agreement and signs nothing.
const (
	Ed25519 Algorithm = "Ed25519"
	X25519  Algorithm = "X25519"
)

// Bounds of a key file.
const (
	MaxFileBytes  = 64 << 10
	MaxKeys       = 64
	MaxDIDBytes   = 2048
	MaxIDBytes    = 65 // "#" and a fragment
	MaxPassphrase = 1 << 10
)

// Key is the public half of a key, and what it is for.
type Key struct {
	Role      Role
	ID        string // fragment of the verification method with its "#"; document keys only, may be empty
	Algorithm Algorithm
	Public    string // multikey
}

// File is a key file in memory. It begins locked, showing public halves only; Unlock opens the private ones. Close
// overwrites them. It is for one goroutine.
type File struct {
	DID string // may be empty: keys can be older than the DID

	keys  []entry
	locks *locks
}

// entry is a key with its secret, sealed and, in an unlocked file, open.
type entry struct {
	Key
	sealed sealed
	open   *secret
}

// New is an empty, unlocked key file whose keys will be sealed as p says.
func New(identity string, p Protection) (*File, error) {
	if err := checkDID(identity); err != nil {
		return nil, err
	}
	l, err := p.locks()
	if err != nil {
		return nil, err
	}
	return &File{DID: identity, locks: l}, nil
}

// Keys lists the public halves in the order of the file.
func (f *File) Keys() []Key {
	list := make([]Key, len(f.keys))
	for i, e := range f.keys {
		list[i] = e.Key
	}
	return list
}

// With lists the keys of a role.
func (f *File) With(r Role) []Key {
	return slices.DeleteFunc(f.Keys(), func(k Key) bool { return k.Role != r })
}

// Find looks a key up by its multikey.
func (f *File) Find(public string) (Key, bool) {
	if i := f.index(public); i >= 0 {
		return f.keys[i].Key, true
	}
	return Key{}, false
}

// Method looks a document key up by its fragment, such as "#key-1".
func (f *File) Method(id string) (Key, bool) {
	for _, e := range f.keys {
		if e.Role == Document && e.ID == id {
			return e.Key, true
		}
	}
	return Key{}, false
}

// Encrypted says whether the secrets need a passphrase.
func (f *File) Encrypted() bool {
	return slices.ContainsFunc(f.keys, func(e entry) bool { return e.sealed.KDF != kdfNone })
}

// Locked says whether Unlock is still needed to sign.
func (f *File) Locked() bool { return f.locks == nil }

// Unlock opens all secrets. The passphrase is asked for only if there is one. A second call does nothing.
func (f *File) Unlock(passphrase func() (string, error)) error {
	if !f.Locked() {
		return nil
	}
	words := ""
	if f.Encrypted() {
		var err error
		if words, err = ask(passphrase); err != nil {
			return err
		}
	}
	l := newLocks(words)
	opened := make([]*secret, len(f.keys))
	for i, e := range f.keys {
		s, err := l.open(e.sealed)
		if err == nil {
			err = matches(s, e.Key)
		}
		if err != nil {
			l.wipe()
			wipe(opened)
			return fmt.Errorf("key %d: %w", i+1, err)
		}
		opened[i] = s
	}
	for i := range f.keys {
		f.keys[i].open = opened[i]
	}
	f.locks = l
	return nil
}

// Close overwrites the secrets in memory and locks the file.
func (f *File) Close() {
	for i := range f.keys {
		f.keys[i].open.wipe()
		f.keys[i].open = nil
	}
	f.locks.wipe()
	f.locks = nil
}

// Add makes a key. id is the fragment of a document key; empty for the others.
func (f *File) Add(r Role, id string, a Algorithm) (Key, error) {
	if f.Locked() {
		return Key{}, locked()
	}
	s, err := newSecret()
	if err != nil {
		return Key{}, err
	}
	public, err := publicOf(s, a)
	if err != nil {
		return Key{}, err
	}
	k := Key{Role: r, ID: id, Algorithm: a, Public: public}
	if err := f.put(k, s); err != nil {
		s.wipe()
		return Key{}, err
	}
	return k, nil
}

// Take moves a key from another unlocked file into this one, in a new role: a next key that lay in a safe becomes an
// update key. Save this file before the other.
func (f *File) Take(from *File, public string, r Role) error {
	if f.Locked() || from.Locked() {
		return locked()
	}
	i := from.index(public)
	if i < 0 {
		return fault("unknown_key", "the file has no key %s", public)
	}
	e := from.keys[i]
	k := e.Key
	k.Role = r
	if err := f.put(k, e.open.copy()); err != nil {
		return err
	}
	return from.Remove(public)
}

// Assign gives a key another role.
func (f *File) Assign(public string, r Role) error {
	i := f.index(public)
	if i < 0 {
		return fault("unknown_key", "the file has no key %s", public)
	}
	k := f.keys[i].Key
	k.Role = r
	if err := checkKey(k); err != nil {
		return err
	}
	f.keys[i].Key = k
	return nil
}

// Name gives a document key the fragment of its verification method.
func (f *File) Name(public, id string) error {
	i := f.index(public)
	if i < 0 {
		return fault("unknown_key", "the file has no key %s", public)
	}
	k := f.keys[i].Key
	k.ID = id
	if _, taken := f.Method(id); taken && id != f.keys[i].ID {
		return fault("already_exists", "the file has a key %s already", id)
	}
	if err := checkKey(k); err != nil {
		return err
	}
	f.keys[i].Key = k
	return nil
}

// Remove takes a key out. It is gone for good once the file is saved.
func (f *File) Remove(public string) error {
	i := f.index(public)
	if i < 0 {
		return fault("unknown_key", "the file has no key %s", public)
	}
	f.keys[i].open.wipe()
	f.keys = slices.Delete(f.keys, i, i+1)
	return nil
}

// Sign signs a message with an Ed25519 key of the file.
func (f *File) Sign(public string, message []byte) ([]byte, error) {
	k, err := f.opened(public)
	switch {
	case err != nil:
		return nil, err
	case k.Algorithm != Ed25519:
		return nil, fault("wrong_algorithm", "a key of kind %s signs nothing", k.Algorithm)
	}
	return k.open.sign(message), nil
}

// Agreement is an X25519 key of the file, for opening what is sealed to it. It stays usable after Close.
func (f *File) Agreement(public string) (*ecdh.PrivateKey, error) {
	k, err := f.opened(public)
	switch {
	case err != nil:
		return nil, err
	case k.Algorithm != X25519:
		return nil, fault("wrong_algorithm", "nothing can be sealed to a key of kind %s", k.Algorithm)
	}
	return ecdh.X25519().NewPrivateKey(k.open.bytes[:])
}

// opened is a key of an unlocked file.
func (f *File) opened(public string) (entry, error) {
	i := f.index(public)
	switch {
	case i < 0:
		return entry{}, fault("unknown_key", "the file has no key %s", public)
	case f.Locked():
		return entry{}, locked()
	}
	return f.keys[i], nil
}

// put seals a secret and appends its key.
func (f *File) put(k Key, s *secret) error {
	if err := checkKey(k); err != nil {
		return err
	}
	if len(f.keys) >= MaxKeys {
		return fault("too_large", "a key file holds at most %d keys", MaxKeys)
	}
	if err := f.free(k); err != nil {
		return err
	}
	closed, err := f.locks.seal(s)
	if err != nil {
		return err
	}
	f.keys = append(f.keys, entry{k, closed, s})
	return nil
}

// free says whether neither the key nor its fragment is in the file.
func (f *File) free(k Key) error {
	for _, e := range f.keys {
		if e.Public == k.Public {
			return fault("already_exists", "key %s is in the file already", k.Public)
		}
		if k.ID != "" && e.ID == k.ID {
			return fault("already_exists", "the file has a key %s already", k.ID)
		}
	}
	return nil
}

func (f *File) index(public string) int {
	return slices.IndexFunc(f.keys, func(e entry) bool { return e.Public == public })
}

func ask(passphrase func() (string, error)) (string, error) {
	if passphrase == nil {
		return "", fault(CodePassphrase, "the key file needs its passphrase")
	}
	words, err := passphrase()
	if err == nil && words == "" {
		err = fault(CodePassphrase, "the key file needs its passphrase")
	}
	return words, err
}

// matches says whether a secret is the private half of a key.
func matches(s *secret, k Key) error {
	public, err := publicOf(s, k.Algorithm)
	if err == nil && public != k.Public {
		err = fault("bad_key_file", "the secret is not that of %s", k.Public)
	}
	return err
}

// publicOf is the public half of a secret.
func publicOf(s *secret, a Algorithm) (string, error) {
	switch a {
	case Ed25519:
		key := ed25519.NewKeyFromSeed(s.bytes[:])
		defer clear(key)
		return did.Ed25519Key(key.Public().(ed25519.PublicKey)).Multikey(), nil
	case X25519:
		key, err := ecdh.X25519().NewPrivateKey(s.bytes[:])
		if err != nil {
			return "", err
		}
		return did.PublicKey{Type: "X25519", Bytes: key.PublicKey().Bytes()}.Multikey(), nil
	}
	return "", fault("bad_value", "no kind of key is called %q", a)
}

func newSecret() (*secret, error) {
	s := &secret{}
	_, err := rand.Read(s.bytes[:])
	return s, err
}
