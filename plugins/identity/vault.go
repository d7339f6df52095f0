package identity

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"weft/plugins"
	"weft/plugins/identity/keyfile"
)

// KeystoreFile is where a data folder has the keys of issuer instances.
const KeystoreFile = "issuers.keys"

// vault holds the keys of the issuer instances, or is empty. Nothing but a signature ever comes out.
type vault struct {
	store *keyfile.Keystore // nil: no keystore
}

// openVault opens the keystore, and unlocks it if a passphrase file is set. A locked one answers issuer_locked.
func openVault(dir string, s Settings) (*vault, error) {
	v := &vault{}
	if dir == "" {
		return v, nil
	}
	store, err := keyfile.OpenKeystore(filepath.Join(dir, KeystoreFile))
	if errors.Is(err, fs.ErrNotExist) {
		return v, nil
	}
	if err != nil {
		return nil, err
	}
	v.store = store
	if s.KeystorePassphraseFile == "" {
		return v, nil
	}
	file := s.KeystorePassphraseFile
	if !filepath.IsAbs(file) {
		file = filepath.Join(dir, file)
	}
	words, err := keyfile.ReadPassphrase(file)
	if err != nil {
		return nil, fmt.Errorf("keystorePassphraseFile: %w", err)
	}
	return v, store.Unlock(words)
}

// signer signs with one key of the vault.
func (v *vault) signer(key string) func([]byte) ([]byte, error) {
	return func(message []byte) ([]byte, error) {
		if v.store == nil {
			return nil, plugins.Reject("issuer_locked", "this node has no keystore")
		}
		signature, err := v.store.Sign(key, message)
		if code := keyfile.Code(err); code != "" {
			return nil, plugins.Reject(code, "the issuer's key %q: %s", key, err)
		}
		return signature, err
	}
}
