package keyfile

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"

	"golang.org/x/crypto/argon2"
)

// The names in the "kdf" and "cipher" members.
const (
	kdfPBKDF2 = "pbkdf2-sha256"
	kdfArgon2 = "argon2id"
	kdfNone   = "none"
	cipherGCM = "aes-256-gcm"
)

// Work that a passphrase costs. Upper bounds keep a hostile file from holding the reader up.
const (
	PBKDF2Iterations    = 600_000
	MaxPBKDF2Iterations = 10_000_000
	Argon2Kibibytes     = 64 << 10
	MaxArgon2Kibibytes  = 1 << 20
	Argon2Passes        = 3
	MaxArgon2Passes     = 16
	Argon2Lanes         = 4
	MaxArgon2Lanes      = 16
	saltBytes           = 16
	MaxSaltBytes        = 64
	gcmNonceBytes       = 12
)

// Protection says how the secrets of a new file are sealed: by a passphrase, under PBKDF2 unless Argon2 is set (browsers
// cannot read that), or, only if Unencrypted is set, not at all: for tests and scripts.
type Protection struct {
	Passphrase  string
	Argon2      bool
	Unencrypted bool
}

func (p Protection) locks() (*locks, error) {
	if p.Unencrypted {
		if p.Passphrase != "" {
			return nil, fault("bad_value", "a passphrase, and no encryption: which of them?")
		}
		return &locks{recipe: sealed{KDF: kdfNone}}, nil
	}
	if p.Passphrase == "" || len(p.Passphrase) > MaxPassphrase {
		return nil, fault(CodePassphrase, "a passphrase has 1 to %d bytes", MaxPassphrase)
	}
	salt := make([]byte, saltBytes)
	if _, err := rand.Read(salt); err != nil {
		return nil, err
	}
	l := newLocks(p.Passphrase)
	l.recipe = sealed{KDF: kdfPBKDF2, Iterations: PBKDF2Iterations, Salt: encode(salt)}
	if p.Argon2 {
		l.recipe = sealed{KDF: kdfArgon2, Iterations: Argon2Passes, Memory: Argon2Kibibytes, Lanes: Argon2Lanes, Salt: encode(salt)}
	}
	return l, nil
}

// sealed is the "secret" member: how its key is derived, and the cipher text.
type sealed struct {
	KDF        string `json:"kdf"`
	Iterations int    `json:"iterations,omitempty"`  // passes of argon2id
	Memory     int    `json:"memoryKiB,omitempty"`   // argon2id only
	Lanes      int    `json:"parallelism,omitempty"` // argon2id only
	Salt       string `json:"salt,omitempty"`
	Cipher     string `json:"cipher,omitempty"`
	Nonce      string `json:"nonce,omitempty"`
	Text       string `json:"ct"` // with kdf none: the secret itself
}

// check refuses every combination but the three that seal makes.
func (s sealed) check() error {
	text, err := decode(s.Text)
	if err != nil {
		return err
	}
	if s.KDF == kdfNone {
		if s != (sealed{KDF: kdfNone, Text: s.Text}) || len(text) != 32 {
			return fault("bad_key_file", "a secret that is not encrypted has the member ct of 32 bytes and no other")
		}
		return nil
	}
	salt, err := decode(s.Salt)
	if err != nil {
		return err
	}
	nonce, err := decode(s.Nonce)
	if err != nil {
		return err
	}
	if len(text) != 32+16 || len(nonce) != gcmNonceBytes || len(salt) < saltBytes || len(salt) > MaxSaltBytes || s.Cipher != cipherGCM {
		return fault("bad_key_file", "want cipher %s, a nonce of %d bytes, a salt of %d to %d, a ct of 48", cipherGCM, gcmNonceBytes, saltBytes, MaxSaltBytes)
	}
	return s.checkWork()
}

func (s sealed) checkWork() error {
	within := func(n, least, most int) bool { return n >= least && n <= most }
	switch {
	case s.KDF == kdfPBKDF2 && within(s.Iterations, PBKDF2Iterations, MaxPBKDF2Iterations) && s.Memory == 0 && s.Lanes == 0:
		return nil
	case s.KDF == kdfArgon2 && within(s.Iterations, 1, MaxArgon2Passes) && within(s.Memory, 8<<10, MaxArgon2Kibibytes) && within(s.Lanes, 1, MaxArgon2Lanes):
		return nil
	}
	return fault("bad_key_file", "want kdf %s with %d to %d iterations, or %s with at most %d passes, %d KiB and parallelism %d",
		kdfPBKDF2, PBKDF2Iterations, MaxPBKDF2Iterations, kdfArgon2, MaxArgon2Passes, MaxArgon2Kibibytes, MaxArgon2Lanes)
}

// recipeOf is what a derived key depends on besides the passphrase.
func (s sealed) recipeOf() sealed {
	s.Cipher, s.Nonce, s.Text = "", "", ""
	return s
}

// locks derives keys from one passphrase and remembers them, so that each costs its work once. recipe seals new secrets.
type locks struct {
	words   []byte
	recipe  sealed
	derived map[sealed]*secret
}

func newLocks(words string) *locks {
	return &locks{words: []byte(words), derived: map[sealed]*secret{}}
}

// open decrypts a secret that was checked. The first one's recipe becomes that of new secrets.
func (l *locks) open(s sealed) (*secret, error) {
	if l.recipe.KDF == "" {
		l.recipe = s.recipeOf()
	}
	text, err := decode(s.Text)
	if err != nil {
		return nil, err
	}
	defer clear(text)
	if s.KDF == kdfNone {
		return &secret{[32]byte(text)}, nil
	}
	nonce, err := decode(s.Nonce)
	if err != nil {
		return nil, err
	}
	gcm, err := l.cipher(s.recipeOf())
	if err != nil {
		return nil, err
	}
	plain, err := gcm.Open(nil, nonce, text, nil)
	if err != nil {
		return nil, fault(CodePassphrase, "the passphrase is wrong, or the file is damaged")
	}
	defer clear(plain)
	return &secret{[32]byte(plain)}, nil
}

// seal encrypts a secret under the file's recipe and a fresh nonce.
func (l *locks) seal(s *secret) (sealed, error) {
	out := l.recipe
	switch out.KDF {
	case "":
		return out, fault(CodePassphrase, "a file without keys does not say how to seal one: make a new file")
	case kdfNone:
		return sealed{KDF: kdfNone, Text: encode(s.bytes[:])}, nil
	}
	gcm, err := l.cipher(out)
	if err != nil {
		return sealed{}, err
	}
	nonce := make([]byte, gcmNonceBytes)
	if _, err := rand.Read(nonce); err != nil {
		return sealed{}, err
	}
	out.Cipher, out.Nonce, out.Text = cipherGCM, encode(nonce), encode(gcm.Seal(nil, nonce, s.bytes[:], nil))
	return out, nil
}

func (l *locks) cipher(recipe sealed) (cipher.AEAD, error) {
	key, err := l.key(recipe)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key.bytes[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func (l *locks) key(recipe sealed) (*secret, error) {
	if k := l.derived[recipe]; k != nil {
		return k, nil
	}
	salt, err := decode(recipe.Salt)
	if err != nil {
		return nil, err
	}
	var raw []byte
	if recipe.KDF == kdfArgon2 {
		raw = argon2.IDKey(l.words, salt, uint32(recipe.Iterations), uint32(recipe.Memory), uint8(recipe.Lanes), 32)
	} else if raw, err = pbkdf2.Key(sha256.New, string(l.words), salt, recipe.Iterations, 32); err != nil {
		return nil, err
	}
	defer clear(raw)
	k := &secret{[32]byte(raw)}
	l.derived[recipe] = k
	return k, nil
}

// wipe forgets the passphrase and what was derived from it.
func (l *locks) wipe() {
	if l == nil {
		return
	}
	clear(l.words)
	for _, k := range l.derived {
		k.wipe()
	}
	clear(l.derived)
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// decode takes the one encoding that encode gives.
func decode(s string) ([]byte, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || encode(b) != s {
		return nil, fault("bad_key_file", "want base64url without padding")
	}
	return b, nil
}
