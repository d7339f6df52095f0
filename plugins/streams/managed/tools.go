package managed

import (
	"fmt"
	"net/http"
	"path/filepath"
	"sync"

	"weft/client/audit"
	"weft/plugins/identity/keyfile"
)

// Folder is where a data folder has the key files of tools: weft/key/1, mode 0600, encrypted with Argon2id.
const Folder = "managed"

// KeyFile is the key file of a tool.
func KeyFile(dir, name string) string { return filepath.Join(dir, Folder, name+".keys") }

// tool is one that this node acts for.
type tool struct {
	name     string
	identity audit.Identity
	locked   bool
	session  *audit.Session // nil: locked
	http     *http.Client   // to this node's channel routes; nil: locked
	places   chan struct{}  // one is taken by each request that runs

	mu   sync.Mutex // guards file, which is for one goroutine
	file *keyfile.File
}

// close overwrites the keys in memory.
func (t *tool) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.file.Close()
}

// openTools opens all key files. A name without one, and two names of one DID, are start-up errors.
func openTools(dir string, s Settings) (list []*tool, err error) {
	passphrase, err := readPassphrase(dir, s.PassphraseFile)
	if err != nil {
		return nil, err
	}
	seen := map[string]string{}
	for _, name := range s.Identities {
		t, err := openTool(dir, name, passphrase)
		if err != nil {
			return nil, fmt.Errorf("managed.identities: %s: %w", name, err)
		}
		if other, twice := seen[t.identity.DID]; twice {
			return nil, fmt.Errorf("managed.identities: %s and %s are one DID", other, name)
		}
		seen[t.identity.DID] = name
		list = append(list, t)
	}
	return list, nil
}

// readPassphrase is empty without a file.
func readPassphrase(dir, file string) (string, error) {
	if file == "" {
		return "", nil
	}
	if !filepath.IsAbs(file) {
		file = filepath.Join(dir, file)
	}
	words, err := keyfile.ReadPassphrase(file)
	if err != nil {
		return "", fmt.Errorf("managed.passphraseFile: %w", err)
	}
	return words, nil
}

func openTool(dir, name, passphrase string) (*tool, error) {
	path := KeyFile(dir, name)
	file, err := keyfile.Read(path)
	if err != nil {
		return nil, err
	}
	t := &tool{name: name, file: file, identity: audit.Identity{DID: file.DID}, places: make(chan struct{}, MaxAtOnce)}
	if !file.Encrypted() {
		return nil, fmt.Errorf("%s is not encrypted: 'weft managed add' makes one that is", path)
	}
	if t.locked = passphrase == ""; t.locked {
		return t, nil
	}
	if err := file.Unlock(func() (string, error) { return passphrase, nil }); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if t.identity, err = audit.FromKeyFile(file, ""); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(t.identity.Agreements) == 0 {
		return nil, fmt.Errorf("%s has no X25519 key: the tool could read nothing", path)
	}
	sign := t.identity.Sign
	t.identity.Sign = func(message []byte) ([]byte, error) {
		t.mu.Lock()
		defer t.mu.Unlock()
		return sign(message)
	}
	return t, nil
}
