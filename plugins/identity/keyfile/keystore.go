package keyfile

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/chacha20poly1305"

	"weft/config/strict"
	"weft/plugins/identity/did"
)

// Bounds of a keystore.
const (
	MaxKeystoreBytes = 64 << 10
	MaxNamedKeys     = 64
	MaxNameBytes     = 64
)

const keystoreType = "weft/keystore/1"

// Keystore holds named Ed25519 keys of a node's issuer instances. It begins locked: names and public halves are open,
// signing is not. It is safe for concurrent use.
//
// On disk it is JSON: {"type":"weft/keystore/1","kdf":{"name":"argon2id",...},"check":{"nonce","ct"},"keys":[{"name",
// "public","nonce","ct"}]}, each ct XChaCha20-Poly1305 of a seed with "weft/keystore/1", name and public half as
// additional data; check seals nothing and tells a wrong passphrase even from an empty store.
type Keystore struct {
	path string

	mu   sync.Mutex
	form keystoreForm
	key  *secret            // derived from the passphrase; nil: locked
	open map[string]*secret // by name
}

// NamedKey is the public half of a key in a keystore.
type NamedKey struct {
	Name   string
	Public string // multikey
}

type keystoreForm struct {
	Type  string      `json:"type"`
	KDF   kdfForm     `json:"kdf"`
	Check boxForm     `json:"check"`
	Keys  []namedForm `json:"keys"`
}

type kdfForm struct {
	Name   string `json:"name"`
	Passes int    `json:"iterations"`
	Memory int    `json:"memoryKiB"`
	Lanes  int    `json:"parallelism"`
	Salt   string `json:"salt"`
}

type boxForm struct {
	Nonce string `json:"nonce"`
	Text  string `json:"ct"`
}

type namedForm struct {
	Name   string `json:"name"`
	Public string `json:"public"`
	Nonce  string `json:"nonce"`
	Text   string `json:"ct"`
}

// CreateKeystore writes a new, empty keystore and returns it unlocked. It overwrites nothing.
func CreateKeystore(path, passphrase string) (*Keystore, error) {
	if passphrase == "" || len(passphrase) > MaxPassphrase {
		return nil, fault(CodePassphrase, "a passphrase has 1 to %d bytes", MaxPassphrase)
	}
	salt := make([]byte, saltBytes)
	if _, err := rand.Read(salt); err != nil {
		return nil, err
	}
	k := &Keystore{path: path, open: map[string]*secret{}}
	k.form = keystoreForm{Type: keystoreType, Keys: []namedForm{},
		KDF: kdfForm{kdfArgon2, Argon2Passes, Argon2Kibibytes, Argon2Lanes, encode(salt)}}
	k.key = k.form.KDF.derive(passphrase, salt)
	var err error
	if k.form.Check, err = seal(k.key, nil, keystoreType); err != nil {
		return nil, err
	}
	raw, err := k.form.bytes()
	if err != nil {
		return nil, err
	}
	return k, writeNew(path, raw)
}

// OpenKeystore reads a keystore and leaves it locked. It refuses a file that others may read.
func OpenKeystore(path string) (*Keystore, error) {
	raw, err := readSecret(path, MaxKeystoreBytes)
	if err != nil {
		return nil, err
	}
	form, err := parseKeystore(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &Keystore{path: path, form: form, open: map[string]*secret{}}, nil
}

func parseKeystore(raw []byte) (keystoreForm, error) {
	var form keystoreForm
	if len(raw) > MaxKeystoreBytes {
		return form, fault("too_large", "a keystore has at most %d bytes", MaxKeystoreBytes)
	}
	if err := strict.Decode(raw, &form, true); err != nil {
		return form, fault("bad_key_file", "not a keystore: %s", quiet(err))
	}
	if form.Type != keystoreType {
		return form, fault("bad_key_file", "not a keystore: its type is not %s", keystoreType)
	}
	return form, form.check()
}

// check looks at everything that needs no passphrase.
func (f keystoreForm) check() error {
	if err := f.KDF.check(); err != nil {
		return err
	}
	if err := f.Check.check(0); err != nil {
		return err
	}
	if len(f.Keys) > MaxNamedKeys {
		return fault("too_large", "a keystore holds at most %d keys", MaxNamedKeys)
	}
	seen := map[string]bool{}
	for _, k := range f.Keys {
		if err := checkName(k.Name); err != nil {
			return asFormat(err)
		}
		if public, err := did.ParseMultikey(k.Public); err != nil || public.Type != "Ed25519" || seen[k.Name] {
			return fault("bad_key_file", "key %s: want a name of its own and an Ed25519 multikey", k.Name)
		}
		if err := (boxForm{k.Nonce, k.Text}).check(32); err != nil {
			return err
		}
		seen[k.Name] = true
	}
	return nil
}

func (f kdfForm) check() error {
	salt, err := decode(f.Salt)
	if err != nil {
		return err
	}
	if f.Name != kdfArgon2 || f.Passes < Argon2Passes || f.Passes > MaxArgon2Passes || f.Memory < Argon2Kibibytes || f.Memory > MaxArgon2Kibibytes ||
		f.Lanes < 1 || f.Lanes > MaxArgon2Lanes || len(salt) < saltBytes || len(salt) > MaxSaltBytes {
		return fault("bad_key_file", "want kdf %s with %d to %d passes and %d to %d KiB", kdfArgon2, Argon2Passes, MaxArgon2Passes, Argon2Kibibytes, MaxArgon2Kibibytes)
	}
	return nil
}

func (b boxForm) check(plain int) error {
	nonce, err := decode(b.Nonce)
	if err != nil {
		return err
	}
	text, err := decode(b.Text)
	if err != nil {
		return err
	}
	if len(nonce) != chacha20poly1305.NonceSizeX || len(text) != plain+chacha20poly1305.Overhead {
		return fault("bad_key_file", "a nonce or ct has the wrong length")
	}
	return nil
}

func checkName(name string) error {
	if name == "" || len(name) > MaxNameBytes || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789.-_") != "" {
		return fault("bad_value", "name %q: want 1 to %d of a-z 0-9 . - _", name, MaxNameBytes)
	}
	return nil
}

// Keys lists names and public halves in the order of the file.
func (k *Keystore) Keys() []NamedKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	list := make([]NamedKey, len(k.form.Keys))
	for i, n := range k.form.Keys {
		list[i] = NamedKey{n.Name, n.Public}
	}
	return list
}

// Locked says whether Unlock is still needed to sign.
func (k *Keystore) Locked() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.key == nil
}

// Unlock opens all keys, at the cost of 64 MiB for a moment. Nothing is opened if one of them fails.
func (k *Keystore) Unlock(passphrase string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.key != nil {
		return nil
	}
	salt, err := decode(k.form.KDF.Salt)
	if err != nil {
		return err
	}
	key := k.form.KDF.derive(passphrase, salt)
	opened, err := k.form.unseal(key)
	if err != nil {
		key.wipe()
		return fmt.Errorf("%s: %w", k.path, err)
	}
	k.key, k.open = key, opened
	return nil
}

// Lock overwrites the keys in memory.
func (k *Keystore) Lock() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.key.wipe()
	for _, s := range k.open {
		s.wipe()
	}
	k.key, k.open = nil, map[string]*secret{}
}

// Add makes a key and saves the keystore; it needs an unlocked one. If saving fails there is no new key.
func (k *Keystore) Add(name string) (NamedKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.mayAdd(name); err != nil {
		return NamedKey{}, err
	}
	s, err := newSecret()
	if err != nil {
		return NamedKey{}, err
	}
	public, err := publicOf(s, Ed25519)
	if err != nil {
		return NamedKey{}, err
	}
	box, err := seal(k.key, s.bytes[:], bound(name, public))
	if err != nil {
		return NamedKey{}, err
	}
	next := k.form
	next.Keys = append(next.Keys[:len(next.Keys):len(next.Keys)], namedForm{name, public, box.Nonce, box.Text})
	raw, err := next.bytes()
	if err != nil {
		return NamedKey{}, err
	}
	if err := replace(k.path, raw); err != nil {
		return NamedKey{}, err
	}
	k.form, k.open[name] = next, s
	return NamedKey{name, public}, nil
}

func (k *Keystore) mayAdd(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if k.key == nil {
		return fault(CodeIssuerLocked, "the keystore is locked")
	}
	if len(k.form.Keys) >= MaxNamedKeys {
		return fault("too_large", "a keystore holds at most %d keys", MaxNamedKeys)
	}
	for _, n := range k.form.Keys {
		if n.Name == name {
			return fault("already_exists", "the keystore has a key %s already", name)
		}
	}
	return nil
}

// Sign signs with the key of a name. Code issuer_locked: the keystore waits for its passphrase; unknown_key.
func (k *Keystore) Sign(name string, message []byte) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.key == nil {
		return nil, fault(CodeIssuerLocked, "the keystore is locked")
	}
	s := k.open[name]
	if s == nil {
		return nil, fault("unknown_key", "the keystore has no key %s", name)
	}
	return s.sign(message), nil
}

func (f keystoreForm) bytes() ([]byte, error) {
	raw, err := json.MarshalIndent(f, "", " ")
	return append(raw, '\n'), err
}

// unseal opens the check and all keys.
func (f keystoreForm) unseal(key *secret) (map[string]*secret, error) {
	if _, err := unseal(key, f.Check, keystoreType); err != nil {
		return nil, fault(CodePassphrase, "the passphrase is wrong, or the file is damaged")
	}
	opened := map[string]*secret{}
	for _, n := range f.Keys {
		plain, err := unseal(key, boxForm{n.Nonce, n.Text}, bound(n.Name, n.Public))
		if err != nil {
			return nil, fault("bad_key_file", "key %s is damaged", n.Name)
		}
		opened[n.Name] = &secret{[32]byte(plain)}
		clear(plain)
		if err := matches(opened[n.Name], Key{Algorithm: Ed25519, Public: n.Public}); err != nil {
			return nil, err
		}
	}
	return opened, nil
}

// bound is the additional data of a key: it stays with its name and public half.
func bound(name, public string) string { return keystoreType + "\n" + name + "\n" + public }

func (f kdfForm) derive(passphrase string, salt []byte) *secret {
	words := []byte(passphrase)
	raw := argon2.IDKey(words, salt, uint32(f.Passes), uint32(f.Memory), uint8(f.Lanes), 32)
	defer clear(raw)
	clear(words)
	return &secret{[32]byte(raw)}
}

func seal(key *secret, plain []byte, with string) (boxForm, error) {
	box, err := xchacha(key)
	if err != nil {
		return boxForm{}, err
	}
	nonce := make([]byte, box.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return boxForm{}, err
	}
	return boxForm{encode(nonce), encode(box.Seal(nil, nonce, plain, []byte(with)))}, nil
}

func unseal(key *secret, b boxForm, with string) ([]byte, error) {
	box, err := xchacha(key)
	if err != nil {
		return nil, err
	}
	nonce, err := decode(b.Nonce)
	if err != nil {
		return nil, err
	}
	text, err := decode(b.Text)
	if err != nil {
		return nil, err
	}
	return box.Open(nil, nonce, text, []byte(with))
}

func xchacha(key *secret) (cipher.AEAD, error) { return chacha20poly1305.NewX(key.bytes[:]) }
