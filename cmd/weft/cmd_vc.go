package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weft/client"
	"weft/config"
	"weft/plugins/identity/did"
	"weft/plugins/identity/jsonld"
	"weft/plugins/identity/keyfile"
	statuslist "weft/plugins/identity/status"
	"weft/plugins/identity/vc"
)

// MaxCredentialFile bounds a credential or presentation that is read.
const MaxCredentialFile = 4 << 20

func newVCCommand(s *shell) *cobra.Command {
	c := &cobra.Command{
		Use:   "vc",
		Short: "verifiable credentials: issue, verify, present, revoke",
		Long: `The holder of an issuer's key issues in three steps: draft (a node fills the template in
and picks status indexes), sign (on the machine that has the key, offline), import (the
node's book of what was issued; the body stays with you). A node that has an issuer
instance does all three at once with 'weft vc issue', with a key of its own.`,
	}
	c.AddCommand(newVCDraftCommand(s), newVCSignCommand(s), newVCImportCommand(s), newVCIssueCommand(s), newVCVerifyCommand(s),
		newVCPresentCommand(s), newVCRevokeCommand(s))
	return c
}

func newVCDraftCommand(s *shell) *cobra.Command {
	intent := client.CredentialIntent{}
	claims, until, out := "", "", ""
	c := &cobra.Command{
		Use:     "draft --template NAME --issuer DID --subject DID --claims FILE --out FILE",
		Short:   "ask a node for an unsigned credential",
		Example: "  weft vc draft --template AgeOver --issuer did:weft:… --subject did:key:… --claims claims.json --out draft.json",
		RunE: func(c *cobra.Command, _ []string) error {
			if intent.Template == "" || intent.Issuer == "" {
				return usage("--template and --issuer are needed")
			}
			raw, err := s.readInput(claims, MaxOperationFile)
			if err != nil {
				return err
			}
			intent.Claims = raw
			if until != "" {
				t, err := time.Parse(time.RFC3339, until)
				if err != nil {
					return usage("--valid-until %s: want a time such as 2027-12-01T00:00:00Z", until)
				}
				intent.ValidUntil = &t
			}
			return s.draftCredential(c.Context(), intent, out)
		},
	}
	f := c.Flags()
	f.StringVar(&intent.Template, "template", "", "name of the form")
	f.StringVar(&intent.Issuer, "issuer", "", "DID of the issuer")
	f.StringVar(&intent.Subject, "subject", "", "DID of whom it is about")
	f.StringVar(&claims, "claims", "-", "JSON file with what it says (- for standard input)")
	f.StringVar(&until, "valid-until", "", "time")
	f.StringSliceVar(&intent.Status, "status", []string{"revocation"}, "purposes it gets a status for: revocation, suspension")
	f.StringVar(&out, "out", "-", "file for the draft")
	return c
}

func (s *shell) draftCredential(ctx context.Context, intent client.CredentialIntent, out string) error {
	node, err := s.client(client.DefaultRetry())
	if err != nil {
		return err
	}
	draft, err := node.DraftCredential(ctx, intent)
	if err != nil {
		return remote(node, err)
	}
	raw, err := json.Marshal(draft)
	if err != nil {
		return err
	}
	return s.writeOutput(out, indent(raw))
}

// draftFile is a credential as a node drafted it, or a bare one, without a name.
type draftFile struct {
	name       string
	credential did.Object
}

func (s *shell) readDraft(path string) (d draftFile, err error) {
	raw, err := s.readInput(path, MaxCredentialFile)
	if err != nil {
		return d, err
	}
	o, err := did.DecodeObject(raw, did.JSONLimits{MaxBytes: MaxCredentialFile})
	if err != nil {
		return d, fmt.Errorf("%s is no credential: %w", path, err)
	}
	if inner, ok := o["credential"].(did.Object); ok {
		return draftFile{textIn(o, "draft"), inner}, nil
	}
	return draftFile{"", o}, nil
}

// readCredential reads a credential, signed or not.
func (s *shell) readCredential(path string) (did.Object, error) {
	d, err := s.readDraft(path)
	return d.credential, err
}

// proving makes proofs with a document key.
type proving struct {
	*shell
	keys     keyFlags
	key      string // fragment of the method
	suite    string
	contexts string
	out      string
	yes      bool
}

func (p *proving) add(c *cobra.Command) {
	f := c.Flags()
	p.keys.add(f)
	f.StringVar(&p.key, "key", "", "the document key to sign with, such as key-1; default: the first one that signs")
	f.StringVar(&p.suite, "cryptosuite", vc.SuiteJCS, vc.SuiteJCS+" or "+vc.SuiteRDFC)
	f.StringVar(&p.contexts, "contexts", "", "folder with JSON-LD contexts, for "+vc.SuiteRDFC+"; default: that of --dir")
	f.StringVar(&p.out, "out", "-", "file for the result")
}

// sign adds a proof to a document by a key of the files.
func (p *proving) sign(doc did.Object, o vc.ProofOptions) (did.Object, error) {
	ring, err := p.openKeys(p.keys)
	if err != nil {
		return nil, err
	}
	defer ring.close()
	file, key, err := ring.documentKey(p.key)
	if err != nil {
		return nil, err
	}
	contexts, err := p.loadContexts()
	if err != nil {
		return nil, err
	}
	o.Cryptosuite, o.VerificationMethod, o.Created = p.suite, file.DID+key.ID, time.Now().UTC().Truncate(time.Second)
	return vc.AddProof(vc.Config{Contexts: contexts}, doc, o, func(data []byte) ([]byte, error) { return file.Sign(key.Public, data) })
}

func (p *proving) loadContexts() (*jsonld.Contexts, error) {
	folder := p.contexts
	if folder == "" && p.dir != "" {
		folder = filepath.Join(p.dir, "contexts")
	}
	if p.suite != vc.SuiteRDFC || folder == "" {
		return nil, nil
	}
	contexts := jsonld.NewContexts()
	files, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil {
		return nil, err
	}
	for _, name := range files {
		raw, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		for _, url := range contexts.Identify(raw) {
			if err := contexts.Add(url, raw); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return contexts, nil
}

func newVCSignCommand(s *shell) *cobra.Command {
	p := &proving{shell: s}
	c := &cobra.Command{
		Use:     "sign DRAFT --keys FILE --out FILE",
		Short:   "sign a credential, offline: shows what it says, and asks",
		Example: "  weft vc sign draft.json --keys bank.keys --out anna.json",
		Args:    cobra.ExactArgs(1),
		RunE:    func(_ *cobra.Command, args []string) error { return p.signCredential(args[0]) },
	}
	p.add(c)
	c.Flags().BoolVarP(&p.yes, "yes", "y", false, "do not ask")
	return c
}

func (p *proving) signCredential(path string) error {
	draft, err := p.readDraft(path)
	if err != nil {
		return err
	}
	if err := vc.CheckCredential(draft.credential); err != nil {
		return err
	}
	for _, line := range credentialSummary(draft.credential) {
		fmt.Fprintln(p.err, line)
	}
	if !p.yes {
		if err := p.confirm("Sign this?"); err != nil {
			return err
		}
	}
	if draft.credential, err = p.sign(draft.credential, vc.ProofOptions{Purpose: "assertionMethod"}); err != nil {
		return err
	}
	if method := textIn(objectsIn(draft.credential, "proof")[0], "verificationMethod"); !strings.HasPrefix(method, issuerOf(draft.credential)+"#") {
		return fmt.Errorf("the credential is of %s, and the key of %s: nobody would accept it", issuerOf(draft.credential), method)
	}
	raw, err := json.Marshal(draft.credential)
	if err != nil {
		return err
	}
	return p.writeOutput(p.out, indent(raw))
}

func issuerOf(credential did.Object) string {
	if o, ok := credential["issuer"].(did.Object); ok {
		return textIn(o, "id")
	}
	return textIn(credential, "issuer")
}

// credentialSummary says in words what a credential says.
func credentialSummary(c did.Object) []string {
	w := &words{body: c, said: map[string]bool{"@context": true, "type": true, "credentialSubject": true, "issuer": true, "proof": true}}
	w.add("ISSUE a credential %s, as %s", plain(c["type"]), printable([]byte(issuerOf(c))))
	for _, subject := range objectsIn(c, "credentialSubject") {
		w.line("about", printable([]byte(textIn(subject, "id"))))
		for _, name := range sortedKeys(subject) {
			if name != "id" {
				w.line("  "+printable([]byte(name)), plain(subject[name]))
			}
		}
	}
	w.rest()
	return w.lines
}

// importing tells a node of a credential that was signed.
type importing struct {
	*shell
	keys    keyFlags
	custody bool
	salt    string
}

func newVCImportCommand(s *shell) *cobra.Command {
	r := &importing{shell: s}
	c := &cobra.Command{
		Use:   "import DRAFT SIGNED",
		Short: "tell the node that a draft of its was signed",
		Long: `The node records the id, a hash and the status indexes. With --custody it also keeps the
body, encrypted to the holder; otherwise it keeps none.

With --anchor FILE the ledger proves the credential's age later: a salted hash goes there,
signed with --keys, and the salt into FILE. Keep it with the credential; 'weft vc verify
--salt' shows it.`,
		Example: "  weft vc import draft.json anna.json --anchor anna.salt --keys bank.keys --token-file token",
		Args:    cobra.ExactArgs(2),
		RunE:    func(c *cobra.Command, args []string) error { return r.run(c.Context(), args[0], args[1]) },
	}
	r.keys.add(c.Flags())
	c.Flags().BoolVar(&r.custody, "custody", false, "keep the body for the holder, encrypted to the holder's key")
	c.Flags().StringVar(&r.salt, "anchor", "", "new file for the salt of an anchor")
	return c
}

func (r *importing) run(ctx context.Context, draftPath, signedPath string) error {
	draft, err := r.readDraft(draftPath)
	if err != nil {
		return err
	}
	if draft.name == "" {
		return fmt.Errorf("%s was not drafted by a node: there is no book to put it into", draftPath)
	}
	signed, err := r.readCredential(signedPath)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(signed)
	if err != nil {
		return err
	}
	node, err := r.client(client.DefaultRetry())
	if err != nil {
		return err
	}
	var anchor json.RawMessage
	if r.salt != "" {
		if anchor, err = r.anchor(ctx, raw); err != nil {
			return err
		}
	}
	id, err := node.RecordCredential(ctx, draft.name, raw, r.custody, anchor)
	if err != nil {
		return remote(node, err)
	}
	return r.showValue("credentialId", id)
}

// anchor makes the operation that proves the credential's age later, and writes the salt that it needs for that.
func (r *importing) anchor(ctx context.Context, credential []byte) (json.RawMessage, error) {
	ring, err := r.openKeys(r.keys)
	if err != nil {
		return nil, err
	}
	defer ring.close()
	a := acting{shell: r.shell, validFor: time.Hour}
	header, err := a.header(ctx, ring)
	if err != nil {
		return nil, err
	}
	text, err := vc.AnchorBytes(credential)
	if err != nil {
		return nil, err
	}
	var salt [statuslist.SecretBytes]byte
	rand.Read(salt[:])
	o := newOperation(statuslist.NewAnchor(header, statuslist.Commit(salt, text)))
	if err := o.signAll(ring, nil); err != nil {
		return nil, err
	}
	if err := writeSecret(r.salt, base64.RawURLEncoding.EncodeToString(salt[:])); err != nil {
		return nil, err
	}
	return o.bytes()
}

// showValue prints one result.
func (s *shell) showValue(name, value string) error {
	if s.json {
		return s.printJSON(map[string]string{name: value})
	}
	s.print("%s\n", value)
	return nil
}

func newVCIssueCommand(s *shell) *cobra.Command {
	issuer, out := "", ""
	o := client.IssueOptions{}
	c := &cobra.Command{
		Use:     "issue CREDENTIAL",
		Short:   "have an issuer instance of the node sign a credential with its own key",
		Example: "  weft vc issue unsigned.json --issuer bank --token-file token --out anna.json",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			raw, err := s.readInput(args[0], MaxCredentialFile)
			if err != nil {
				return err
			}
			node, err := s.client(client.DefaultRetry())
			if err != nil {
				return err
			}
			signed, err := node.Issuer(issuer).Issue(c.Context(), raw, o)
			if err != nil {
				return remote(node, err)
			}
			return s.writeOutput(out, indent(signed))
		},
	}
	f := c.Flags()
	f.StringVar(&issuer, "issuer", "", "name of the instance; default: the node's first one")
	f.StringVar(&o.Cryptosuite, "cryptosuite", "", "default: the instance's first one")
	f.StringVar(&o.CredentialID, "id", "", "name by which the instance knows it later")
	f.StringVar(&out, "out", "-", "file for the credential")
	return c
}

func newVCVerifyCommand(s *shell) *cobra.Command {
	o := client.VerifyOptions{}
	policy, salt := "", ""
	c := &cobra.Command{
		Use:   "verify FILE|-",
		Short: "have the node check a credential or presentation, check by check",
		Long: `Prints each check by name and how it went. Exit code 0: all are good. 1: one is not.
The node reads DIDs, status lists and trust off the ledger; it fetches nothing that its
operator has not allowed.`,
		Example: "  weft vc verify anna.json --policy policy.json",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if policy != "" {
				if o.Policy, err = s.readInput(policy, MaxOperationFile); err != nil {
					return err
				}
			}
			if salt != "" {
				text, err := s.readInput(salt, 4<<10)
				if err != nil {
					return err
				}
				o.AnchorSalts = strings.Fields(string(text))
			}
			raw, err := s.readInput(args[0], MaxCredentialFile)
			if err != nil {
				return err
			}
			return s.verifyCredential(c.Context(), raw, o)
		},
	}
	f := c.Flags()
	f.StringVar(&policy, "policy", "", "JSON file: federation, claims, expect, holder, ...")
	f.StringVar(&salt, "salt", "", "file with the salts of anchors, which show the credential's age")
	f.StringVar(&o.Challenge, "challenge", "", "what a presentation must repeat")
	f.StringVar(&o.Domain, "domain", "", "whom a presentation must be for")
	return c
}

func (s *shell) verifyCredential(ctx context.Context, raw []byte, o client.VerifyOptions) error {
	node, err := s.client(client.DefaultRetry())
	if err != nil {
		return err
	}
	raw, presentation := asJSON(raw)
	verify := node.Issuer("").Verify
	if presentation {
		verify = node.Issuer("").VerifyPresentation
	}
	report, err := verify(ctx, raw, o)
	if err != nil {
		return remote(node, err)
	}
	return s.showVerdict(report)
}

// asJSON makes a JSON value of a file: a token becomes a string. It says whether it is a presentation.
func asJSON(raw []byte) (json.RawMessage, bool) {
	text := strings.TrimSpace(string(raw))
	if !strings.HasPrefix(text, "{") && !strings.HasPrefix(text, `"`) {
		quoted, _ := json.Marshal(text) // a string always has a form in JSON
		return quoted, false
	}
	var o struct{ Type any }
	_ = json.Unmarshal(raw, &o) // what it is, the node says
	return raw, strings.Contains(fmt.Sprint(o.Type), "VerifiablePresentation")
}

func (s *shell) showVerdict(r client.CredentialReport) error {
	if s.json {
		var whole any
		if err := json.Unmarshal(r.Raw, &whole); err != nil {
			return err
		}
		s.printJSON(whole)
	}
	s.table(verdictRows("", r))
	if !r.Verified {
		return errors.New("refused")
	}
	return nil
}

func verdictRows(before string, r client.CredentialReport) (rows [][]string) {
	for _, c := range r.Checks {
		verdict := "ok"
		switch {
		case c.Skipped:
			verdict = "skipped"
		case !c.OK:
			verdict = "FAILED " + c.Code
		}
		rows = append(rows, []string{before + c.Name, verdict, printable([]byte(strings.TrimSpace(c.Reason + " " + c.Detail)))})
	}
	if len(r.TrustPath) > 0 {
		rows = append(rows, []string{before + "trust path", strings.Join(r.TrustPath, " > ")})
	}
	for i, inner := range r.Nested {
		rows = append(rows, verdictRows(fmt.Sprintf("%scredential %d: ", before, i+1), inner)...)
	}
	return rows
}

// presenting makes a presentation.
type presenting struct {
	proving
	challenge, request string
	domain             string
}

func newVCPresentCommand(s *shell) *cobra.Command {
	p := &presenting{proving: proving{shell: s}}
	c := &cobra.Command{
		Use:   "present CREDENTIAL... --keys FILE --challenge C --domain D",
		Short: "show credentials to somebody: signed by their holder, for one verifier, once",
		Long: `Wraps credentials into a presentation and signs it with the holder's key. Challenge and
domain come from the verifier; with --request ID both are read off the verifier's request
on the node, and the presentation is sent there.`,
		Example: "  weft vc present age.json --keys me.keys --challenge n0nce --domain shop.example --out shown.json",
		Args:    cobra.MinimumNArgs(1),
		RunE:    func(c *cobra.Command, args []string) error { return p.run(c.Context(), args) },
	}
	p.add(c)
	f := c.Flags()
	f.StringVar(&p.challenge, "challenge", "", "what the verifier gave")
	f.StringVar(&p.domain, "domain", "", "who the verifier is")
	f.StringVar(&p.request, "request", "", "ID of a presentation request on the node: answer it")
	return c
}

func (p *presenting) run(ctx context.Context, files []string) error {
	var node *client.Client
	if p.request != "" {
		var err error
		if node, err = p.client(client.DefaultRetry()); err != nil {
			return err
		}
		r, err := node.PresentationRequest(ctx, p.request)
		if err != nil {
			return remote(node, err)
		}
		p.challenge, p.domain = r.Nonce, r.Audience
		fmt.Fprintf(p.err, "SHOW %d credentials to %s, for: %s\n", len(files), printable([]byte(r.Audience)), printable([]byte(r.Purpose)))
	}
	if p.challenge == "" || p.domain == "" {
		return usage("--challenge and --domain are needed, or --request: a presentation for anyone could be shown again by anyone")
	}
	raw, err := p.presentation(files)
	if err != nil {
		return err
	}
	if node == nil {
		return p.writeOutput(p.out, indent(raw))
	}
	if err := node.RespondPresentation(ctx, p.request, raw); err != nil {
		return remote(node, err)
	}
	return p.showValue("received", p.request)
}

func (p *presenting) presentation(files []string) ([]byte, error) {
	credentials := []any{}
	for _, file := range files {
		doc, err := p.readCredential(file)
		if err != nil {
			return nil, err
		}
		credentials = append(credentials, doc)
	}
	holder, err := p.holder()
	if err != nil {
		return nil, err
	}
	doc := did.Object{"@context": []any{vc.ContextV2}, "type": []any{"VerifiablePresentation"}, "holder": holder, "verifiableCredential": credentials}
	signed, err := p.sign(doc, vc.ProofOptions{Purpose: "authentication", Challenge: p.challenge, Domain: []string{p.domain}})
	if err != nil {
		return nil, err
	}
	return json.Marshal(signed)
}

// holder is the DID of the first key file; its public half needs no passphrase.
func (p *presenting) holder() (string, error) {
	if len(p.keys.files) == 0 {
		return "", usage("--keys is missing: the holder's key file")
	}
	f, err := keyfile.Read(p.keys.files[0])
	if err != nil {
		return "", err
	}
	return f.DID, nil
}

func newVCRevokeCommand(s *shell) *cobra.Command {
	c := newStatusChangeCommand(s, "revoke", statuslist.Revocation, true)
	c.Short = "revoke credentials, for good: the same as 'weft status revoke'"
	c.Example = "  weft vc revoke anna.json --keys bank.keys"
	return c
}

// writeSecret writes a secret to a new file that only its owner may read.
func writeSecret(path, text string) error { return config.WriteNew(path, []byte(text+"\n"), 0o600) }
