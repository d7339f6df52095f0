package config

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
	"filippo.io/age/armor"

	"weft/tangle"
)

// MaxKeyFileBytes bounds a key file.
const MaxKeyFileBytes = 16 << 10

// ErrPassphrase says that a key file needs a passphrase, or another one.
var ErrPassphrase = errors.New("the key file needs its passphrase")

const pemType = "PRIVATE KEY" // RFC 5958, what openssl calls PKCS #8

// NewKey makes a member's key.
func NewKey() (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return key, err
}

// MemberOf is a key's public half.
func MemberOf(key ed25519.PrivateKey) tangle.Member {
	return tangle.Member(key.Public().(ed25519.PublicKey))
}

// WriteKey writes a key to a new file that only its owner may read: PKCS #8 in PEM, and around it, with a passphrase, an
// armored age file, so that openssl and age can open it too.
func WriteKey(path string, key ed25519.PrivateKey, passphrase string) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	data := pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der})
	if passphrase != "" {
		if data, err = encrypt(data, passphrase); err != nil {
			return err
		}
	}
	return WriteNew(path, data, 0o600)
}

// ReadKey reads what WriteKey wrote. It refuses a file that others may read. passphrase is asked for only if the file
// needs one; nil means that there is none.
func ReadKey(path string, passphrase func() (string, error)) (ed25519.PrivateKey, error) {
	if err := CheckSecret(path); err != nil {
		return nil, err
	}
	data, err := readBounded(path, MaxKeyFileBytes)
	if err != nil {
		return nil, err
	}
	if bytes.HasPrefix(data, []byte(armor.Header)) {
		if data, err = decrypt(data, passphrase); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != pemType {
		return nil, fmt.Errorf("%s: not a key file: want a PEM block %q", path, pemType)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s: not an Ed25519 key", path)
	}
	return key, nil
}

func encrypt(data []byte, passphrase string) ([]byte, error) {
	to, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	armored := armor.NewWriter(&out)
	w, err := age.Encrypt(armored, to)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(data); err != nil {
		return nil, err
	}
	if err := errors.Join(w.Close(), armored.Close()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func decrypt(data []byte, passphrase func() (string, error)) ([]byte, error) {
	if passphrase == nil {
		return nil, ErrPassphrase
	}
	words, err := passphrase()
	if err != nil {
		return nil, err
	}
	if words == "" {
		return nil, ErrPassphrase
	}
	who, err := age.NewScryptIdentity(words)
	if err != nil {
		return nil, err
	}
	r, err := age.Decrypt(armor.NewReader(bytes.NewReader(data)), who)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPassphrase, err)
	}
	return io.ReadAll(io.LimitReader(r, MaxKeyFileBytes))
}
