package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"weft/client"
	"weft/config"
	"weft/plugins"
	"weft/plugins/identity/keyfile"
	"weft/plugins/streams"
	"weft/plugins/streams/managed"
)

func newManagedCommand(s *shell) *cobra.Command {
	c := &cobra.Command{
		Use:   "managed",
		Short: "tools that hold no keys: this node signs, seals and opens for them",
		Long: `Managed mode is for simple tools of your own organisation (SIEM, ERP, PLC gateway): they
POST plaintext with an API key to their own node, which holds the keys of their DIDs and
reads what they read. It is off unless a tool is added. All participants see the mark:
custody node. Whatever can hold keys should, and use 'weft channel' or the client package.`,
	}
	c.AddCommand(newManagedAddCommand(s), newManagedKeyCommand(s), newManagedListCommand(s))
	return c
}

// managedAdding is one run of managed add.
type managedAdding struct {
	creation
	name     string
	remember bool
	noKey    bool
}

func newManagedAddCommand(s *shell) *cobra.Command {
	r := &managedAdding{creation: creation{shell: s, protection: protectionFlags{kdf: "argon2id"}}}
	c := &cobra.Command{
		Use:   "add NAME --dir DIR --passphrase-file FILE",
		Short: "make a tool's keys and DID, name it in node.json, and make its API key",
		Long: `Makes the keys of a tool in managed/NAME.keys of the data folder (weft/key/1, encrypted
with Argon2id, mode 0600), publishes its DID through the running node, names it in
node.json, and makes an API key for it, which is shown this once. The node takes the tool
up when it starts again.

All tools of a node have one passphrase. --remember lets the node read it from the same
file at its start; otherwise it answers keystore_locked to them. A run that was cut off
after the DID was published is finished by the same command.`,
		Example: `  weft managed add siem --dir weft --passphrase-file words.txt --remember
  weft managed add erp --dir weft --passphrase-file words.txt --recovery-file paper.keys`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { r.name = args[0]; return r.run(c.Context()) },
	}
	f := c.Flags()
	f.StringVar(&r.passphraseFile, "passphrase-file", os.Getenv("WEFT_PASSPHRASE_FILE"), "file with the passphrase of the tools' keys (- for standard input); also WEFT_PASSPHRASE_FILE")
	f.StringVar(&r.nextPath, "next-file", "", "a new key file for the next key, to be kept off the node")
	f.StringVar(&r.recoveryPath, "recovery-file", "", "a new key file for the recovery key, to be kept off the node")
	f.BoolVar(&r.remember, "remember", false, "let the node read the passphrase from that file")
	f.BoolVar(&r.noKey, "no-api-key", false, "make no API key")
	r.addWait(f)
	return c
}

func (r *managedAdding) run(ctx context.Context) error {
	switch {
	case r.dir == "":
		return usage("--dir is missing: which node's data folder?")
	case r.passphraseFile == "":
		return usage("--passphrase-file is missing: the keys are always encrypted")
	case r.remember && r.passphraseFile == "-":
		return usage("--remember: the node cannot read standard input again; give a file")
	case !managed.IsName(r.name):
		return usage("%q: want 1 to %d of a-z 0-9 - _", r.name, managed.MaxNameBytes)
	case r.wait != "final":
		return usage("--wait %s: the DID must be final before node.json names it", r.wait)
	}
	if r.remember {
		if err := config.CheckSecret(r.passphraseFile); err != nil {
			return fmt.Errorf("--remember: %w", err) // or the node would not start
		}
	}
	_, _, settings, err := r.settings()
	if err != nil {
		return err
	}
	id, err := r.identity(ctx, settings)
	if err != nil {
		return err
	}
	if err := r.enter(); err != nil {
		return err
	}
	return r.report(ctx, id)
}

// settings reads node.json, which must not have the tool yet.
func (r *managedAdding) settings() (node config.Node, section map[string]json.RawMessage, settings managed.Settings, err error) {
	if node, err = config.Dir(r.dir).Load(nil, nil); err != nil {
		return node, nil, settings, err
	}
	section, settings, err = readManaged(node.Plugins[streams.Name])
	if err == nil && slices.Contains(settings.Identities, r.name) {
		err = fmt.Errorf("node.json has a tool %s already; 'weft managed key %s' makes another API key", r.name, r.name)
	}
	return node, section, settings, err
}

// enter names the tool in node.json, as that is by now: making a DID takes a while.
func (r *managedAdding) enter() error {
	node, section, settings, err := r.settings()
	if err != nil {
		return err
	}
	settings.Enabled, settings.Identities = true, append(settings.Identities, r.name)
	if r.remember {
		if settings.PassphraseFile, err = filepath.Abs(r.passphraseFile); err != nil {
			return err
		}
	}
	if node.Plugins[streams.Name], err = writeManaged(section, settings); err != nil {
		return err
	}
	return config.Dir(r.dir).WriteNode(node)
}

// readManaged takes the settings out of the plugin's section; the rest of it stays as it is.
func readManaged(raw json.RawMessage) (section map[string]json.RawMessage, settings managed.Settings, err error) {
	section, err = readSection(streams.Name, raw, "managed", &settings)
	return section, settings, err
}

func writeManaged(section map[string]json.RawMessage, settings managed.Settings) (raw json.RawMessage, err error) {
	if section["managed"], err = json.Marshal(settings); err != nil {
		return nil, err
	}
	return json.Marshal(section)
}

// identity makes the keys and the DID, unless the file is there from a run that was cut off and the DID on the ledger.
func (r *managedAdding) identity(ctx context.Context, settings managed.Settings) (string, error) {
	words, err := r.readPassphrase(r.passphraseFile)
	if err != nil {
		return "", err
	}
	passphrase := func() (string, error) { return words, nil }
	for _, other := range settings.Identities {
		if err := opens(managed.KeyFile(r.dir, other), passphrase); err != nil {
			return "", fmt.Errorf("all tools of a node have one passphrase: %w", err)
		}
	}
	path := managed.KeyFile(r.dir, r.name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	file, err := keyfile.Read(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return r.make(ctx, path, words)
	case err != nil:
		return "", err
	}
	if !file.Encrypted() {
		return "", fmt.Errorf("%s is not encrypted: a node does not start with it", path)
	}
	if err := opens(path, passphrase); err != nil {
		return "", err
	}
	node, err := r.client(client.DefaultRetry())
	if err != nil {
		return "", err
	}
	if _, err := node.Resolve(ctx, file.DID, client.ResolveOptions{}); err != nil {
		return "", fmt.Errorf("%s is there already, and its DID is not on the ledger: remove it to begin anew, and what --next-file and --recovery-file made: %w", path, remote(node, err))
	}
	return file.DID, nil
}

// opens says whether a passphrase opens a key file.
func opens(path string, passphrase func() (string, error)) error {
	file, err := keyfile.Open(path, passphrase)
	if err == nil {
		file.Close()
	}
	return err
}

// make is 'weft did create' without its output.
func (r *managedAdding) make(ctx context.Context, path, words string) (string, error) {
	quiet := *r.shell
	quiet.out, quiet.json = io.Discard, false
	c := r.creation
	c.shell, c.path, c.yes = &quiet, path, true
	if err := c.makeWeft(ctx, keyfile.Protection{Passphrase: words, Argon2: true}); err != nil {
		return "", err
	}
	file, err := keyfile.Read(path)
	if err != nil {
		return "", err
	}
	return file.DID, nil
}

// report makes the API key, and shows everything.
func (r *managedAdding) report(ctx context.Context, id string) error {
	key, err := r.apiKey(ctx, id)
	if err != nil {
		fmt.Fprintf(r.err, "weft: no API key was made: %s\n'weft managed key %s' makes one\n", err, r.name)
	}
	if r.json {
		return r.printJSON(map[string]any{"name": r.name, "did": id, "keys": managed.KeyFile(r.dir, r.name), "apiKey": key.Key, "apiKeyExpiresAt": key.ExpiresAt})
	}
	rows := [][]string{{"tool", r.name}, {"did", id}, {"keys", managed.KeyFile(r.dir, r.name)}}
	if key.Key != "" {
		rows = append(rows, []string{"API key", key.Key}, []string{"until", clock(key.ExpiresAt)})
	}
	r.table(rows)
	if key.Key != "" {
		r.print("\nThe API key is not shown again.")
	}
	r.print("\nThe node takes the tool up when it starts again.\n")
	return nil
}

func (r *managedAdding) apiKey(ctx context.Context, id string) (client.APIKey, error) {
	if r.noKey {
		return client.APIKey{}, nil
	}
	return r.makeToolKey(ctx, r.name, id)
}

// makeToolKey makes an API key of a tool, for as long as the node allows.
func (s *shell) makeToolKey(ctx context.Context, name, id string) (client.APIKey, error) {
	node, err := s.client(client.DefaultRetry())
	if err != nil {
		return client.APIKey{}, err
	}
	year := time.Now().AddDate(1, 0, 0)
	key, err := node.AddAPIKey(ctx, client.APIKey{Name: "managed " + name, DID: id, Scopes: []string{plugins.ScopeChannelsManaged}, ExpiresAt: &year})
	return key, remote(node, err)
}

func newManagedKeyCommand(s *shell) *cobra.Command {
	return &cobra.Command{
		Use:   "key NAME --dir DIR",
		Short: "make another API key of a tool",
		Long: `Makes an API key of a tool that 'weft managed add' made, and shows it this once: before the
old one ends, or instead of one that was lost. Earlier keys hold until they end or are
revoked (DELETE /api/v1/admin/api-keys/ID).`,
		Example: "  weft managed key siem --dir weft",
		Args:    cobra.ExactArgs(1),
		RunE:    func(c *cobra.Command, args []string) error { return s.anotherToolKey(c.Context(), args[0]) },
	}
}

func (s *shell) anotherToolKey(ctx context.Context, name string) error {
	switch {
	case s.dir == "":
		return usage("--dir is missing: which node's data folder?")
	case !managed.IsName(name):
		return usage("%q: want 1 to %d of a-z 0-9 - _", name, managed.MaxNameBytes)
	}
	file, err := keyfile.Read(managed.KeyFile(s.dir, name))
	if err != nil {
		return err
	}
	key, err := s.makeToolKey(ctx, name, file.DID)
	if err != nil {
		return err
	}
	if s.json {
		return s.printJSON(map[string]any{"name": name, "did": file.DID, "apiKey": key.Key, "apiKeyExpiresAt": key.ExpiresAt})
	}
	s.table([][]string{{"tool", name}, {"did", file.DID}, {"API key", key.Key}, {"until", clock(key.ExpiresAt)}})
	s.print("\nThe API key is not shown again.\n")
	return nil
}

// managedRow is a tool as list shows it.
type managedRow struct {
	Name    string `json:"name"`
	DID     string `json:"did"`
	Keys    string `json:"keys"`
	Enabled bool   `json:"enabled"`
	Fault   string `json:"fault,omitempty"` // what is wrong with the key file
}

func newManagedListCommand(s *shell) *cobra.Command {
	return &cobra.Command{
		Use:   "list --dir DIR",
		Short: "list the tools of a data folder",
		RunE: func(*cobra.Command, []string) error {
			node, err := s.nodeFile()
			if err != nil {
				return err
			}
			_, settings, err := readManaged(node.Plugins[streams.Name])
			if err != nil {
				return err
			}
			return s.listManaged(settings)
		},
	}
}

func (s *shell) listManaged(settings managed.Settings) error {
	list := []managedRow{}
	rows := [][]string{{"NAME", "DID", "ENABLED"}}
	for _, name := range settings.Identities {
		row := managedRow{Name: name, Keys: managed.KeyFile(s.dir, name), Enabled: settings.Enabled}
		if file, err := keyfile.Read(row.Keys); err != nil {
			row.Fault = err.Error()
		} else {
			row.DID = file.DID
		}
		list = append(list, row)
		rows = append(rows, []string{name, row.DID + row.Fault, strconv.FormatBool(row.Enabled)})
	}
	if s.json {
		return s.printJSON(list)
	}
	s.table(rows)
	return nil
}
