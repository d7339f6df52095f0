package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/pflag"

	"weft/client"
	"weft/config"
	"weft/plugins/identity/did"
	"weft/plugins/identity/keyfile"
	"weft/tangle"
)

// keyFlags name key files and their passphrases.
type keyFlags struct {
	files, passphrases []string
}

func (k *keyFlags) add(f *pflag.FlagSet) {
	var usual []string
	if file := os.Getenv("WEFT_PASSPHRASE_FILE"); file != "" {
		usual = []string{file}
	}
	f.StringArrayVar(&k.files, "keys", nil, "key file (weft/key/1) to sign with; may be repeated")
	f.StringArrayVar(&k.passphrases, "passphrase-file", usual,
		"file with the passphrase (- for standard input); once for all key files, or once for each; also WEFT_PASSPHRASE_FILE")
}

// keyring is the key files of one command, unlocked, and where they lie.
type keyring struct {
	files []*keyfile.File
	paths []string
}

// openKeys opens all key files; the caller closes the ring.
func (s *shell) openKeys(k keyFlags) (*keyring, error) {
	ring := &keyring{}
	if n := len(k.passphrases); n > 1 && n != len(k.files) {
		return nil, usage("--passphrase-file is given %d times, and --keys %d times", n, len(k.files))
	}
	for i, path := range k.files {
		file, err := keyfile.Open(path, func() (string, error) { return s.readPassphrase(k.passphrase(i)) })
		if err != nil {
			ring.close()
			return nil, needKeyPassphrase(err)
		}
		ring.files, ring.paths = append(ring.files, file), append(ring.paths, path)
	}
	return ring, nil
}

// passphrase is the file with the passphrase of the i-th key file.
func (k keyFlags) passphrase(i int) string {
	switch len(k.passphrases) {
	case 0:
		return ""
	case 1:
		return k.passphrases[0]
	}
	return k.passphrases[i]
}

func needKeyPassphrase(err error) error {
	if keyfile.Code(err) == keyfile.CodePassphrase {
		return fmt.Errorf("%w: give it with --passphrase-file FILE", err)
	}
	return err
}

func (r *keyring) close() {
	for _, f := range r.files {
		f.Close()
	}
}

// first is the file that new keys go into, and whose DID is meant where none is named.
func (r *keyring) first() (*keyfile.File, error) {
	if len(r.files) == 0 {
		return nil, usage("--keys is missing: which key file?")
	}
	return r.files[0], nil
}

// save writes all files anew.
func (r *keyring) save() error {
	for i, f := range r.files {
		if err := f.Save(r.paths[i]); err != nil {
			return err
		}
	}
	return nil
}

// saveFirst saves one file before the others.
func (r *keyring) saveFirst(first *keyfile.File) error {
	if i := slices.Index(r.files, first); i >= 0 {
		if err := first.Save(r.paths[i]); err != nil {
			return err
		}
	}
	return r.save()
}

// documentKey finds the key that speaks for a DID in documents: by its id, or the first one that signs.
func (r *keyring) documentKey(id string) (*keyfile.File, keyfile.Key, error) {
	for _, f := range r.files {
		for _, k := range f.With(keyfile.Document) {
			if k.Algorithm == keyfile.Ed25519 && k.ID != "" && (id == "" || id == k.ID || "#"+id == k.ID || id == f.DID+k.ID) {
				return f, k, nil
			}
		}
	}
	if id != "" {
		return nil, keyfile.Key{}, fmt.Errorf("no key file has a document key %s that signs", id)
	}
	return nil, keyfile.Key{}, usage("no key file with a document key that signs: give one with --keys FILE")
}

// protectionFlags say how new key files are sealed.
type protectionFlags struct {
	unencrypted bool
	kdf         string
}

func (p *protectionFlags) add(f *pflag.FlagSet) {
	f.BoolVar(&p.unencrypted, "unencrypted", false, "no passphrase: for tests and scripts, whoever has the file has the identity")
	f.StringVar(&p.kdf, "kdf", "pbkdf2-sha256", "how the passphrase is stretched: pbkdf2-sha256 (browsers read it too) or argon2id")
}

// readProtection reads the passphrase of a new file.
func (s *shell) readProtection(p protectionFlags, passphraseFile string) (keyfile.Protection, error) {
	switch {
	case p.kdf != "pbkdf2-sha256" && p.kdf != "argon2id":
		return keyfile.Protection{}, usage("--kdf %s: want pbkdf2-sha256 or argon2id", p.kdf)
	case p.unencrypted:
		return keyfile.Protection{Unencrypted: true}, nil
	case passphraseFile == "":
		return keyfile.Protection{}, usage("a key file needs a passphrase: give one with --passphrase-file FILE, or say --unencrypted")
	}
	words, err := s.readPassphrase(passphraseFile)
	return keyfile.Protection{Passphrase: words, Argon2: p.kdf == "argon2id"}, err
}

// networkFlags say of which network an operation is.
type networkFlags struct{ id, genesis string }

func (n *networkFlags) add(f *pflag.FlagSet) {
	f.StringVar(&n.id, "network", "", "the network's ID, 64 hex digits; default: ask the node")
	f.StringVar(&n.genesis, "genesis", "", "the network's genesis file, instead of --network")
}

// networkID takes the flag, the genesis file, or the node's word.
func (s *shell) networkID(ctx context.Context, n networkFlags) (tangle.ID, error) {
	switch {
	case n.id != "":
		id, err := tangle.ParseID(n.id)
		if err != nil {
			return id, usage("--network: %s", err)
		}
		return id, nil
	case n.genesis != "":
		g, err := config.LoadGenesis(n.genesis)
		if err != nil {
			return tangle.ID{}, usage("--genesis: %s", err)
		}
		return g.ID(), nil
	}
	node, err := s.client(client.DefaultRetry())
	if err != nil {
		return tangle.ID{}, err
	}
	info, err := node.Node(ctx)
	return info.NetworkID, remote(node, err)
}

// hashesOf are the key hashes of keys, in their order.
func hashesOf(keys []keyfile.Key) []string {
	list := []string{}
	for _, k := range keys {
		list = append(list, did.KeyHash(k.Public))
	}
	return list
}

func publicsOf(keys []keyfile.Key) []string {
	list := []string{}
	for _, k := range keys {
		list = append(list, k.Public)
	}
	return list
}

func newNonce() (n [16]byte) {
	rand.Read(n[:])
	return n
}
