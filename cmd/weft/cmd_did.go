package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weft/client"
	"weft/config"
	"weft/config/genesis"
	"weft/plugins/identity/did"
	"weft/plugins/identity/keyfile"
)

func newDIDCommand(s *shell) *cobra.Command {
	c := &cobra.Command{
		Use:   "did",
		Short: "make, resolve and change decentralized identities",
		Long: `A did:weft is a name with a hash-chained log of signed operations on the ledger; who
has its keys has the name, and nobody else. Private keys stay in a key file on this
machine (weft/key/1, mode 0600): no node ever sees one.

Keys, from the one to guard best: recovery keys take a DID back, next keys wait for the
next change, update keys sign the present one, document keys (key-1, key-2) are what the
DID signs and decrypts with every day.

Every change can cross an air gap: --draft writes it unsigned, 'weft did sign' signs it
where the keys are, 'weft did submit' publishes it.`,
	}
	c.AddCommand(newDIDCreateCommand(s), newDIDShowCommand(s), newDIDResolveCommand(s), newDIDUpdateCommand(s), newDIDRotateCommand(s),
		newDIDRecoverCommand(s), newDIDDeactivateCommand(s), newDIDLogCommand(s), newDIDVerifyCommand(s),
		newDIDDraftCommand(s), newDIDSignCommand(s), newDIDSubmitCommand(s))
	return c
}

func newDIDCreateCommand(s *shell) *cobra.Command {
	r := &creation{shell: s}
	c := &cobra.Command{
		Use:   "create FILE",
		Short: "make an identity: its key file, and for a did:weft its first operation",
		Long: `Makes the keys, writes them to FILE, and then publishes the DID. The file is never
overwritten. Persons (--type person) get a did:key, which is on no ledger, unless they
ask for a did:weft.`,
		Example: `  weft did create bank.keys --passphrase-file words.txt
  weft did create me.keys --type person --passphrase-file words.txt
  weft did create gate.keys --next-file safe.keys --recovery-file paper.keys --passphrase-file words.txt`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return r.run(c.Context(), args[0]) },
	}
	f := c.Flags()
	f.StringVar(&r.method, "method", "", "weft or key; default: weft, and key for a person")
	f.StringVar(&r.subjectType, "type", "", "what the DID stands for: organisation, device, product, person, ...")
	f.StringVar(&r.nextPath, "next-file", "", "a second new key file for the next key, to be kept offline")
	f.StringVar(&r.recoveryPath, "recovery-file", "", "a new key file of its own for the recovery key")
	f.BoolVar(&r.noNext, "no-next", false, "without pre-rotation: whoever steals the update key has the DID")
	f.BoolVar(&r.noRecovery, "no-recovery", false, "without recovery: lost keys are lost for good")
	f.StringArrayVar(&r.controllers, "controller", nil, "DID of an owner, who signs too; may be repeated")
	f.StringArrayVar(&r.owners.files, "owner-keys", nil, "key file of an owner; may be repeated")
	f.StringArrayVar(&r.owners.passphrases, "owner-passphrase-file", nil, "file with its passphrase; once for all, or once for each")
	f.StringVar(&r.passphraseFile, "passphrase-file", os.Getenv("WEFT_PASSPHRASE_FILE"),
		"encrypt with the passphrase in this file (- for standard input); also WEFT_PASSPHRASE_FILE")
	r.protection.add(f)
	r.network.add(f)
	r.document.add(f)
	r.finishFlags.add(f)
	return c
}

// addChange gives a command the flags of a change.
func (r *change) addChange(c *cobra.Command) {
	f := c.Flags()
	r.keys.add(f)
	r.network.add(f)
	f.StringVar(&r.log, "log", "", "file that 'weft did log --json' wrote, instead of asking the node")
	r.finishFlags.add(f)
}

// runChange opens what a change needs, and closes the keys in the end.
func (r *change) runChange(ctx context.Context, args []string, do func(context.Context) error) error {
	defer func() {
		if r.ring != nil {
			r.ring.close()
		}
	}()
	if err := r.open(ctx, args); err != nil {
		return err
	}
	return do(ctx)
}

func newDIDUpdateCommand(s *shell) *cobra.Command {
	r := &change{shell: s}
	c := &cobra.Command{
		Use:   "update [DID] --keys FILE",
		Short: "change the document, the owners, or both",
		Long: `Makes the next version: what the flags do not change stays. With pre-rotation every
update uses the next keys up and makes new ones, so give the file that has them as well.

A product changes hands by one update that old and new owner sign: give both key files.`,
		Example: `  weft did update --keys bank.keys --add-service mail=MessageEndpoint=https://bank.example/inbox
  weft did update --keys bank.keys --keys safe.keys --new-key key-3 --revoke-key key-1
  weft did update did:weft:… --keys old-owner.keys --keys new-owner.keys --controller did:weft:…`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return r.runChange(c.Context(), args, r.update) },
	}
	r.addChange(c)
	r.document.add(c.Flags())
	c.Flags().StringArrayVar(&r.controllers, "controller", nil, "DID of an owner from now on, instead of the present ones; none: no owner")
	return c
}

func newDIDRotateCommand(s *shell) *cobra.Command {
	r := &change{shell: s, rotate: true}
	c := &cobra.Command{
		Use:     "rotate [DID] --keys FILE",
		Short:   "change the update keys and nothing else",
		Example: "  weft did rotate --keys bank.keys --keys safe.keys",
		Args:    cobra.MaximumNArgs(1),
		RunE:    func(c *cobra.Command, args []string) error { return r.runChange(c.Context(), args, r.update) },
	}
	r.addChange(c)
	return c
}

func newDIDRecoverCommand(s *shell) *cobra.Command {
	r := &change{shell: s, recovery: true}
	c := &cobra.Command{
		Use:   "recover [DID] --keys FILE",
		Short: "take a DID back with its recovery keys",
		Long: `Makes all keys that change the DID anew: update, next and recovery. They go into the
first key file of the DID. It works while a thief goes on changing the DID; name stolen
document keys with --compromised.`,
		Example: "  weft did recover --keys bank.keys --keys paper.keys --compromised key-1 --new-key key-3",
		Args:    cobra.MaximumNArgs(1),
		RunE:    func(c *cobra.Command, args []string) error { return r.runChange(c.Context(), args, r.update) },
	}
	r.addChange(c)
	r.document.add(c.Flags())
	return c
}

func newDIDDeactivateCommand(s *shell) *cobra.Command {
	r := &change{shell: s}
	c := &cobra.Command{
		Use:   "deactivate [DID] --keys FILE",
		Short: "end a DID, for good and for everybody",
		Args:  cobra.MaximumNArgs(1),
		RunE:  func(c *cobra.Command, args []string) error { return r.runChange(c.Context(), args, r.deactivate) },
	}
	r.addChange(c)
	c.Flags().BoolVar(&r.recovery, "recovery", false, "by the recovery keys")
	return c
}

func newDIDShowCommand(s *shell) *cobra.Command {
	c := &cobra.Command{
		Use:   "show DID|FILE",
		Short: "show a DID as it is now, or what a key file holds",
		Example: `  weft did show bank.keys
  weft did show did:weft:…`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if strings.HasPrefix(args[0], "did:") {
				return s.showDID(c.Context(), args[0])
			}
			return s.showKeyFile(args[0])
		},
	}
	return c
}

// showKeyFile needs no passphrase: public halves are open.
func (s *shell) showKeyFile(path string) error {
	f, err := keyfile.Read(path)
	if err != nil {
		return err
	}
	if s.json {
		return s.printJSON(map[string]any{"did": f.DID, "encrypted": f.Encrypted(), "keys": keyRows(f)})
	}
	rows := [][]string{{"did", f.DID}, {"encrypted", strconv.FormatBool(f.Encrypted())}}
	for _, k := range f.Keys() {
		rows = append(rows, []string{string(k.Role), k.Public, strings.TrimSpace(string(k.Algorithm) + " " + k.ID)})
	}
	s.table(rows)
	return nil
}

type keyRow struct {
	Role   keyfile.Role      `json:"role"`
	ID     string            `json:"id,omitempty"`
	Alg    keyfile.Algorithm `json:"alg"`
	Public string            `json:"public"`
}

func keyRows(f *keyfile.File) []keyRow {
	list := []keyRow{}
	for _, k := range f.Keys() {
		list = append(list, keyRow{k.Role, k.ID, k.Algorithm, k.Public})
	}
	return list
}

func (s *shell) showDID(ctx context.Context, id string) error {
	node, err := s.client(client.DefaultRetry())
	if err != nil {
		return err
	}
	r, err := node.Resolve(ctx, id, client.ResolveOptions{})
	if err != nil {
		return remote(node, err)
	}
	if s.json {
		return s.printJSON(r)
	}
	rows := [][]string{{"did", id}}
	if r.Version.VersionID != "" {
		rows = append(rows, []string{"version", r.Version.VersionID}, []string{"created", clock(r.Version.Created)}, []string{"updated", clock(r.Version.Updated)})
	}
	if r.Version.Deactivated {
		rows = append(rows, []string{"deactivated", "yes"})
	}
	s.table(append(rows, documentRows(r.Document)...))
	return nil
}

// documentRows are the keys and services of a document.
func documentRows(raw json.RawMessage) (rows [][]string) {
	doc, err := did.DecodeObject(raw, did.JSONLimits{MaxBytes: MaxOperationFile})
	if err != nil {
		return nil // a deactivated DID has none
	}
	for _, m := range objectsIn(doc, "verificationMethod") {
		uses := ""
		for _, r := range did.Relationships() {
			if slices.Contains(textsIn(doc, string(r)), textIn(m, "id")) {
				uses += " " + string(r)
			}
		}
		if m["revoked"] != nil {
			uses += " revoked " + textIn(m, "revoked")
		}
		rows = append(rows, []string{"key", printable([]byte(textIn(m, "id"))), printable([]byte(textIn(m, "publicKeyMultibase"))), strings.TrimSpace(uses)})
	}
	for _, service := range objectsIn(doc, "service") {
		rows = append(rows, []string{"service", printable([]byte(textIn(service, "id"))), plain(service["serviceEndpoint"])})
	}
	return rows
}

func newDIDResolveCommand(s *shell) *cobra.Command {
	var o client.ResolveOptions
	at := ""
	c := &cobra.Command{
		Use:   "resolve DID|DID-URL",
		Short: "resolve a DID to its document, or follow a DID URL",
		Example: `  weft did resolve did:weft:…
  weft did resolve 'did:weft:…#key-1'
  weft did resolve did:weft:… --at 2026-12-01T00:00:00Z`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if at != "" {
				if o.VersionTime, err = time.Parse(time.RFC3339, at); err != nil {
					return usage("--at %s: want a time such as 2026-12-01T00:00:00Z", at)
				}
			}
			return s.resolve(c.Context(), args[0], o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.VersionID, "version", "", "this version")
	f.StringVar(&at, "at", "", "the version of this time")
	f.StringVar(&o.Relationship, "relationship", "", "a DID URL's method must be in this relationship")
	f.BoolVar(&o.Proof, "proof", false, "with receipts of the versions")
	return c
}

func (s *shell) resolve(ctx context.Context, id string, o client.ResolveOptions) error {
	node, err := s.client(client.DefaultRetry())
	if err != nil {
		return err
	}
	var answer any
	if strings.ContainsAny(id, "#?/") {
		answer, err = node.Dereference(ctx, id)
	} else {
		answer, err = node.Resolve(ctx, id, o)
	}
	if err != nil {
		return remote(node, err)
	}
	if s.json {
		return s.printJSON(answer)
	}
	raw, err := json.MarshalIndent(answer, "", "  ")
	if err != nil {
		return err
	}
	s.print("%s\n", raw)
	return nil
}

func newDIDLogCommand(s *shell) *cobra.Command {
	receipts := false
	c := &cobra.Command{
		Use:   "log DID",
		Short: "list the operations of a DID",
		Long: `Lists all operations of a DID with their places. With --json one operation a line, as
'weft did verify --log' and the --log flag of the other verbs read it; --receipts adds
the proofs.`,
		Example: "  weft did log did:weft:… --json --receipts > bank.log",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			lines, err := s.fetchLog(c.Context(), args[0], receipts)
			if err != nil {
				return err
			}
			return s.showLog(lines)
		},
	}
	c.Flags().BoolVar(&receipts, "receipts", false, "with the receipts")
	return c
}

func (s *shell) showLog(lines []client.LogLine) error {
	rows := [][]string{{"VERSION", "POSITION", "TIME", "OPERATION"}}
	for _, line := range lines {
		if s.json {
			if err := s.printJSON(line); err != nil {
				return err
			}
			continue
		}
		var o struct{ Op, DID string }
		_ = json.Unmarshal(line.Operation, &o) // shown as far as it can be read
		version := line.VersionID
		if version == "" {
			version = "- " + line.Code
		}
		rows = append(rows, []string{version, strconv.FormatUint(uint64(line.Position), 10), clock(&line.Time), printable([]byte(o.Op))})
	}
	s.table(rows)
	return nil
}

func newDIDVerifyCommand(s *shell) *cobra.Command {
	var network networkFlags
	file := ""
	c := &cobra.Command{
		Use:   "verify DID --genesis genesis.json",
		Short: "check the whole log of a DID on this machine",
		Long: `Reads the log with its receipts, judges every operation anew by the rules of the method,
and checks every receipt against the genesis file. This proves that each version was
accepted, in this order. It does not prove that no newer one followed: look at the age of
the checkpoint.

Without --genesis only the rules are checked, and the node's word is taken for the places.`,
		Example: `  weft did verify did:weft:… --genesis genesis.json
  weft did verify did:weft:… --genesis genesis.json --log bank.log     offline`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return s.verifyDID(c.Context(), args[0], file, network)
		},
	}
	network.add(c.Flags())
	c.Flags().StringVar(&file, "log", "", "file that 'weft did log --json --receipts' wrote")
	return c
}

func (s *shell) verifyDID(ctx context.Context, id, file string, n networkFlags) (err error) {
	var g *genesis.Genesis
	if n.genesis != "" {
		if g, err = config.LoadGenesis(n.genesis); err != nil {
			return usage("--genesis: %s", err)
		}
	}
	network, err := s.networkID(ctx, n)
	if err != nil {
		return err
	}
	var lines []client.LogLine
	if file != "" {
		lines, err = s.readLog(file)
	} else {
		lines, err = s.fetchLog(ctx, id, g != nil)
	}
	if err != nil {
		return err
	}
	log, err := replay(network, limitsOf(g), id, lines)
	if err != nil {
		return fmt.Errorf("refused: %w", err)
	}
	newest := ""
	if g != nil {
		if newest, err = log.checkReceipts(g); err != nil {
			return fmt.Errorf("refused: %w", err)
		}
	}
	return s.showVerified(log, newest)
}

func (s *shell) showVerified(l *didLog, newest string) error {
	if s.json {
		return s.printJSON(map[string]any{"verified": true, "did": l.id.String(), "versionId": l.head.VersionID(), "deactivated": l.head.Deactivated,
			"receipts": newest != "", "checkpointTime": newest})
	}
	rows := [][]string{{"did", l.id.String()}, {"version", l.head.VersionID()}, {"operations", strconv.Itoa(len(l.accepted)) + ", each by the rules"}}
	if l.head.Deactivated {
		rows = append(rows, []string{"deactivated", "yes"})
	}
	if newest == "" {
		rows = append(rows, []string{"receipts", "not checked: give --genesis FILE; the places are the node's word"})
	} else {
		rows = append(rows, []string{"receipts", "all good"}, []string{"checkpoint", newest},
			[]string{"not proved", "that no newer version followed"})
	}
	s.table(rows)
	return nil
}

// drafting builds an unsigned create out of public keys that others hold.
type drafting struct {
	*shell
	update, next, recovery, controllers []string
	threshold                           int
	subjectType, out                    string
	network                             networkFlags
	document                            documentFlags
}

func newDIDDraftCommand(s *shell) *cobra.Command {
	r := &drafting{shell: s}
	c := &cobra.Command{
		Use:   "draft FILE",
		Short: "build an unsigned create from public keys: for HSMs and several owners of keys",
		Long: `Builds the first operation of a DID whose keys lie elsewhere. The other operations are
drafted by their own verbs with --draft FILE.`,
		Example: `  weft did draft op.json --update-public z6Mk… --next-public z6Mk… --recovery-public z6Mk… --add-key key-1=z6Mk…
  weft did sign op.json --show z6Mk…                   64 bytes for the HSM
  weft did sign op.json --signature z6Mk…=BASE64URL
  weft did submit op.json`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { r.out = args[0]; return r.run(c.Context()) },
	}
	f := c.Flags()
	f.StringArrayVar(&r.update, "update-public", nil, "multikey that may change the DID; may be repeated")
	f.StringArrayVar(&r.next, "next-public", nil, "multikey (or its hash, zQm…) of the next update keys; may be repeated")
	f.StringArrayVar(&r.recovery, "recovery-public", nil, "multikey (or its hash) of a recovery key; may be repeated")
	f.IntVar(&r.threshold, "threshold", 1, "how many of each are needed")
	f.StringArrayVar(&r.controllers, "controller", nil, "DID of an owner")
	f.StringVar(&r.subjectType, "type", "", "what the DID stands for")
	r.network.add(f)
	r.document.add(f)
	return c
}

func (r *drafting) run(ctx context.Context) error {
	network, err := r.networkID(ctx, r.network)
	if err != nil {
		return err
	}
	content := did.Content{Params: did.NewParams(r.update, keyHashes(r.next)...), Document: did.Object{}}
	content.Params.SubjectType, content.Params.Threshold = r.subjectType, min(r.threshold, len(r.update))
	if len(r.controllers) > 0 {
		content.Params.Controllers, content.Params.ControllerThreshold = r.controllers, 1
	}
	if len(r.recovery) > 0 {
		content.Recovery = &did.RecoverySet{KeyHashes: keyHashes(r.recovery), Threshold: min(r.threshold, len(r.recovery))}
	}
	if err := r.document.apply(content.Document, &content.Params, nil, time.Now()); err != nil {
		return err
	}
	body, _, err := did.Create(network, newNonce(), content)
	if err != nil {
		return err
	}
	return r.writeOperation(newOperation(body), r.out, "draft")
}

// keyHashes takes multikeys as well as hashes of some.
func keyHashes(list []string) []string {
	hashes := []string{}
	for _, s := range list {
		if !strings.HasPrefix(s, "zQm") {
			s = did.KeyHash(s)
		}
		hashes = append(hashes, s)
	}
	return hashes
}

// signing is the middle step of the three, the one that needs keys and no network.
type signing struct {
	*shell
	keys       keyFlags
	out, show  string
	signatures []string
	with       []string
	yes        bool
}

func newDIDSignCommand(s *shell) *cobra.Command {
	r := &signing{shell: s}
	c := &cobra.Command{
		Use:   "sign OPERATION --keys FILE --out SIGNED",
		Short: "sign an operation, offline: shows in words what it does, and asks",
		Long: `Signs any operation: of a DID, a status list or trust. Signatures that are there already
stay, so that several owners of keys sign one after the other. No connection is made.

For a key in an HSM, --show KEY prints the 64 bytes that it signs (plain Ed25519), and
--signature KEY=SIGNATURE puts its answer in; both in base64url.`,
		Example: `  weft did sign op.json --keys bank.keys --out signed.json
  weft did sign op.json --show z6Mk…`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return r.run(args[0]) },
	}
	f := c.Flags()
	r.keys.add(f)
	f.StringVar(&r.out, "out", "-", "file for the signed operation")
	f.StringVar(&r.show, "show", "", "print what this key signs, and stop")
	f.StringArrayVar(&r.signatures, "signature", nil, "a signature made elsewhere: MULTIKEY=BASE64URL")
	f.StringArrayVar(&r.with, "with", nil, "sign with this key (multikey or #id) and no other; may be repeated")
	f.BoolVarP(&r.yes, "yes", "y", false, "do not ask")
	return c
}

func (r *signing) run(path string) error {
	o, err := r.readOperation(path)
	if err != nil {
		return err
	}
	for _, line := range summary(o.body) {
		fmt.Fprintln(r.err, line)
	}
	if r.show != "" {
		return r.showHashData(o)
	}
	if len(r.keys.files)+len(r.signatures) == 0 {
		return usage("neither --keys nor --signature: who signs?")
	}
	if !r.yes {
		if err := r.confirm("Sign this?"); err != nil {
			return err
		}
	}
	ring, err := r.openKeys(r.keys)
	if err != nil {
		return err
	}
	defer ring.close()
	for _, text := range r.signatures {
		if err := o.addSignature(text); err != nil {
			return err
		}
	}
	if err := o.signAll(ring, r.with); err != nil {
		return err
	}
	return r.writeOperation(o, r.out, "signed operation")
}

func (r *signing) showHashData(o *operationFile) error {
	ask, err := did.Prepare(o.body, r.show)
	if err != nil {
		return err
	}
	data := base64.RawURLEncoding.EncodeToString(ask.HashData)
	if r.json {
		return r.printJSON(map[string]any{"key": r.show, "hashData": data, "proof": ask.Proof})
	}
	r.print("%s\n", data)
	return nil
}

func newDIDSubmitCommand(s *shell) *cobra.Command {
	var x finishFlags
	c := &cobra.Command{
		Use:     "submit OPERATION",
		Short:   "publish a signed operation: of a DID, a status list or trust",
		Example: "  weft did submit signed.json --api https://node.bank.example",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			o, err := s.readOperation(args[0])
			if err != nil {
				return err
			}
			if len(o.signatures) == 0 {
				return errors.New("nobody has signed this operation: 'weft did sign' does")
			}
			_, err = s.submit(c.Context(), o, x)
			return err
		},
	}
	x.addWait(c.Flags())
	return c
}
