package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"weft/config"
	"weft/plugins/identity"
	"weft/plugins/identity/keyfile"
)

func newIssuerCommand(s *shell) *cobra.Command {
	c := &cobra.Command{
		Use:   "issuer",
		Short: "issuer instances: the only keys of DIDs that a node holds",
		Long: `An issuer instance signs credentials online, with a key in the node's own keystore
(issuers.keys in the data folder, encrypted, mode 0600). The key is made there and never
leaves. Everything else is signed by clients with keys of their own.`,
	}
	c.AddCommand(newIssuerAddCommand(s), newIssuerListCommand(s))
	return c
}

// issuerAdding is one run of issuer add.
type issuerAdding struct {
	*shell
	section        identity.Issuer
	passphraseFile string
	remember       bool
}

func newIssuerAddCommand(s *shell) *cobra.Command {
	r := &issuerAdding{shell: s}
	c := &cobra.Command{
		Use:   "add NAME --dir DIR --passphrase-file FILE",
		Short: "make an issuer's key in the keystore, and name the issuer in node.json",
		Long: `Makes a key in the keystore of the data folder and adds the instance to node.json; the
node takes it up when it starts again. Without --did the issuer is the did:key of the new
key. With --did it is that DID: put the public key that is printed into its document, as
the method that --method names, in assertionMethod.

All keys of the keystore have one passphrase. --remember lets the node read it from the
same file at its start; otherwise its issuers stay locked.`,
		Example: `  weft issuer add bank --dir weft --passphrase-file words.txt --remember
  weft issuer add bank --dir weft --passphrase-file words.txt --did did:weft:… --method issuer-1
  weft did update --keys bank.keys --add-key issuer-1=z6Mk…:assertionMethod`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { r.section.Name = args[0]; return r.run() },
	}
	f := c.Flags()
	f.StringVar(&r.section.DID, "did", "", "DID of the issuer; default: the did:key of the new key")
	f.StringVar(&r.section.Method, "method", "", "with --did: fragment of the method that the key is in the document")
	f.StringVar(&r.section.KeystoreKey, "key", "", "name of the key in the keystore; default: NAME")
	f.StringSliceVar(&r.section.Cryptosuites, "cryptosuite", []string{"eddsa-jcs-2022", "eddsa-rdfc-2022"}, "what it may sign with, the first one by default")
	f.StringSliceVar(&r.section.StatusPurposes, "status", nil, "purposes that its credentials get a status for: revocation, suspension")
	f.StringVar(&r.section.Access, "access", "token", "token: callers with the role issuer; loopback: anyone on this machine")
	f.StringVar(&r.passphraseFile, "passphrase-file", os.Getenv("WEFT_PASSPHRASE_FILE"), "file with the keystore's passphrase (- for standard input); also WEFT_PASSPHRASE_FILE")
	f.BoolVar(&r.remember, "remember", false, "let the node read the passphrase from that file")
	return c
}

func (r *issuerAdding) run() error {
	switch {
	case r.dir == "":
		return usage("--dir is missing: which node's data folder?")
	case r.passphraseFile == "":
		return usage("--passphrase-file is missing: the keystore is always encrypted")
	case (r.section.DID == "") != (r.section.Method == ""):
		return usage("--did and --method go together")
	case r.remember && r.passphraseFile == "-":
		return usage("--remember: the node cannot read standard input again; give a file")
	case r.section.Access != "token" && r.section.Access != "loopback":
		return usage("--access %s: want token or loopback", r.section.Access)
	}
	if r.remember {
		if err := config.CheckSecret(r.passphraseFile); err != nil {
			return fmt.Errorf("--remember: %w", err) // or the node would not start
		}
	}
	dir := config.Dir(r.dir)
	node, err := dir.Load(nil, nil)
	if err != nil {
		return err
	}
	section, issuers, err := readIssuers(node.Plugins[identity.Name])
	if err != nil {
		return err
	}
	for _, i := range issuers {
		if i.Name == r.section.Name {
			return fmt.Errorf("node.json has an issuer %s already", i.Name)
		}
	}
	key, err := r.makeKey()
	if err != nil {
		return err
	}
	if err := r.fill(section, append(issuers, r.complete(key))); err != nil {
		return err
	}
	if node.Plugins[identity.Name], err = json.Marshal(section); err != nil {
		return err
	}
	if err := dir.WriteNode(node); err != nil {
		return err
	}
	return r.report(key)
}

// readIssuers takes the issuers out of the plugin's section; the rest of it stays as it is.
func readIssuers(raw json.RawMessage) (section map[string]json.RawMessage, issuers []identity.Issuer, err error) {
	section, err = readSection(identity.Name, raw, "issuers", &issuers)
	return section, issuers, err
}

// makeKey makes the key, and before the first one the keystore.
func (r *issuerAdding) makeKey() (keyfile.NamedKey, error) {
	words, err := r.readPassphrase(r.passphraseFile)
	if err != nil {
		return keyfile.NamedKey{}, err
	}
	path := filepath.Join(r.dir, identity.KeystoreFile)
	store, err := keyfile.OpenKeystore(path)
	if errors.Is(err, fs.ErrNotExist) {
		store, err = keyfile.CreateKeystore(path, words)
	}
	if err != nil {
		return keyfile.NamedKey{}, err
	}
	defer store.Lock()
	if err := store.Unlock(words); err != nil {
		return keyfile.NamedKey{}, err
	}
	if r.section.KeystoreKey == "" {
		r.section.KeystoreKey = r.section.Name
	}
	return store.Add(r.section.KeystoreKey)
}

func (r *issuerAdding) complete(key keyfile.NamedKey) identity.Issuer {
	i := r.section
	if i.DID == "" {
		i.DID, i.Method = "did:key:"+key.Public, key.Public
	}
	i.Method = i.DID + fragment(i.Method)
	i.StatusPurposes = append([]string{}, i.StatusPurposes...)
	r.section = i
	return i
}

func (r *issuerAdding) fill(section map[string]json.RawMessage, issuers []identity.Issuer) (err error) {
	if section["issuers"], err = json.Marshal(issuers); err != nil || !r.remember {
		return err
	}
	path, err := filepath.Abs(r.passphraseFile)
	if err != nil {
		return err
	}
	section["keystorePassphraseFile"], err = json.Marshal(path)
	return err
}

func (r *issuerAdding) report(key keyfile.NamedKey) error {
	if r.json {
		return r.printJSON(map[string]any{"issuer": r.section, "public": key.Public})
	}
	r.table([][]string{
		{"issuer", r.section.Name}, {"did", r.section.DID}, {"method", r.section.Method}, {"public key", key.Public}, {"access", r.section.Access},
	})
	r.print("\nThe node takes it up when it starts again.\n")
	return nil
}

func newIssuerListCommand(s *shell) *cobra.Command {
	return &cobra.Command{
		Use:   "list --dir DIR",
		Short: "list the issuer instances of a data folder",
		RunE: func(*cobra.Command, []string) error {
			node, err := s.nodeFile()
			if err != nil {
				return err
			}
			_, issuers, err := readIssuers(node.Plugins[identity.Name])
			if err != nil {
				return err
			}
			if s.json {
				return s.printJSON(append([]identity.Issuer{}, issuers...))
			}
			rows := [][]string{{"NAME", "METHOD", "ACCESS"}}
			for _, i := range issuers {
				rows = append(rows, []string{i.Name, i.Method, i.Access})
			}
			s.table(rows)
			return nil
		},
	}
}
