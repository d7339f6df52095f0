package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"weft/client"
	"weft/plugins/identity/did"
	"weft/plugins/identity/keyfile"
	"weft/tangle"
)

// documentFlags change a DID document.
type documentFlags struct {
	file           string
	newKeys        []string
	addKeys        []string
	revokeKeys     []string
	removeKeys     []string
	compromised    []string
	addServices    []string
	removeServices []string
	aliases        []string
}

func (d *documentFlags) add(f *pflag.FlagSet) {
	f.StringVar(&d.file, "document", "", "file with the whole document instead of the present one, as operations hold it: without id and @context")
	f.StringArrayVar(&d.newKeys, "new-key", nil, "make a key in the key file and put it into the document: ID, or ID=X25519")
	f.StringArrayVar(&d.addKeys, "add-key", nil, "put a public key into the document: ID=MULTIKEY, or ID=MULTIKEY:authentication,assertionMethod")
	f.StringArrayVar(&d.revokeKeys, "revoke-key", nil, "retire a key of the document by its ID; what it signed still verifies")
	f.StringArrayVar(&d.removeKeys, "remove-key", nil, "take a key out of the document; what it signed verifies no more")
	f.StringArrayVar(&d.compromised, "compromised", nil, "retire a key by its ID because it was stolen; what it signed is refused, whatever its date")
	f.StringArrayVar(&d.addServices, "add-service", nil, "ID=TYPE=URL")
	f.StringArrayVar(&d.removeServices, "remove-service", nil, "ID")
	f.StringArrayVar(&d.aliases, "also-known-as", nil, "another URI of the subject; never a person's address")
}

// fragment is an id with its "#".
func fragment(id string) string { return "#" + strings.TrimPrefix(id, "#") }

// usualRelationships are those of a key by its kind.
func usualRelationships(a keyfile.Algorithm) []did.Relationship {
	if a == keyfile.X25519 {
		return []did.Relationship{did.KeyAgreement}
	}
	return []did.Relationship{did.Authentication, did.AssertionMethod, did.CapabilityInvocation}
}

// addMethod puts a key into a document.
func addMethod(doc did.Object, id, public string, rels []did.Relationship) {
	methods, _ := doc["verificationMethod"].([]any)
	doc["verificationMethod"] = append(methods, did.Object{"id": id, "type": "Multikey", "publicKeyMultibase": public})
	for _, r := range rels {
		list, _ := doc[string(r)].([]any)
		doc[string(r)] = append(list, id)
	}
}

// apply changes a document, and makes the keys that it asks for in the file.
func (d documentFlags) apply(doc did.Object, params *did.Params, file *keyfile.File, now time.Time) error {
	for _, text := range d.newKeys {
		if err := newMethod(doc, file, text); err != nil {
			return err
		}
	}
	for _, text := range d.addKeys {
		if err := addPublicKey(doc, text); err != nil {
			return err
		}
	}
	for _, id := range d.compromised {
		if err := markCompromised(doc, params, fragment(id)); err != nil {
			return err
		}
	}
	for _, id := range append(slices.Clone(d.revokeKeys), d.compromised...) {
		m := findItem(doc, "verificationMethod", fragment(id))
		if m == nil {
			return fmt.Errorf("the document has no key %s", fragment(id))
		}
		m["revoked"] = did.FormatTime(tangle.TimeOf(now))
		dropReferences(doc, fragment(id))
	}
	for _, id := range d.removeKeys {
		if !removeItem(doc, "verificationMethod", fragment(id)) {
			return fmt.Errorf("the document has no key %s", fragment(id))
		}
		dropReferences(doc, fragment(id))
	}
	return d.applyServices(doc)
}

func (d documentFlags) applyServices(doc did.Object) error {
	for _, id := range d.removeServices {
		if !removeItem(doc, "service", fragment(id)) {
			return fmt.Errorf("the document has no service %s", fragment(id))
		}
	}
	for _, text := range d.addServices {
		parts := strings.SplitN(text, "=", 3)
		if len(parts) != 3 {
			return usage("--add-service %s: want ID=TYPE=URL", text)
		}
		services, _ := doc["service"].([]any)
		doc["service"] = append(services, did.Object{"id": fragment(parts[0]), "type": parts[1], "serviceEndpoint": parts[2]})
	}
	if len(d.aliases) > 0 {
		list := []any{}
		for _, a := range d.aliases {
			list = append(list, a)
		}
		doc["alsoKnownAs"] = list
	}
	return nil
}

func newMethod(doc did.Object, file *keyfile.File, text string) error {
	id, kind, _ := strings.Cut(text, "=")
	if kind == "" {
		kind = string(keyfile.Ed25519)
	}
	if file == nil {
		return usage("--new-key needs a key file: give one with --keys FILE")
	}
	k, err := file.Add(keyfile.Document, fragment(id), keyfile.Algorithm(kind))
	if err != nil {
		return err
	}
	addMethod(doc, k.ID, k.Public, usualRelationships(k.Algorithm))
	return nil
}

func addPublicKey(doc did.Object, text string) error {
	id, rest, ok := strings.Cut(text, "=")
	public, names, given := strings.Cut(rest, ":")
	key, err := did.ParseMultikey(public)
	if !ok || err != nil {
		return usage("--add-key %s: want ID=MULTIKEY or ID=MULTIKEY:relationship,relationship", text)
	}
	rels := usualRelationships(keyfile.Algorithm(key.Type))
	if given {
		rels = nil
		for name := range strings.SplitSeq(names, ",") {
			if !slices.Contains(did.Relationships(), did.Relationship(name)) {
				return usage("--add-key %s: no relationship is called %q", text, name)
			}
			rels = append(rels, did.Relationship(name))
		}
	}
	addMethod(doc, fragment(id), public, rels)
	return nil
}

func markCompromised(doc did.Object, params *did.Params, id string) error {
	m := findItem(doc, "verificationMethod", id)
	if m == nil {
		return fmt.Errorf("the document has no key %s", id)
	}
	if key := textIn(m, "publicKeyMultibase"); !slices.Contains(params.Compromised, key) {
		params.Compromised = append(slices.Clone(params.Compromised), key)
	}
	return nil
}

func findItem(doc did.Object, list, id string) did.Object {
	for _, item := range objectsIn(doc, list) {
		if item["id"] == id {
			return item
		}
	}
	return nil
}

func removeItem(doc did.Object, list, id string) bool {
	items, _ := doc[list].([]any)
	left := slices.DeleteFunc(slices.Clone(items), func(v any) bool {
		o, _ := v.(did.Object)
		return o["id"] == id
	})
	if doc[list] = left; len(left) == 0 {
		delete(doc, list)
	}
	return len(left) < len(items)
}

func dropReferences(doc did.Object, id string) {
	for _, r := range did.Relationships() {
		list, ok := doc[string(r)].([]any)
		if !ok {
			continue
		}
		doc[string(r)] = slices.DeleteFunc(slices.Clone(list), func(v any) bool { return v == id })
	}
}

// change is an update, recover or deactivate of a DID that exists.
type change struct {
	*shell
	keys     keyFlags
	network  networkFlags
	log      string
	recovery bool // by the recovery keys
	rotate   bool // new update keys even where nothing asks for them

	document    documentFlags
	controllers []string
	finishFlags

	ring *keyring
	of   *didLog
}

// open reads keys and log. Without a DID that of the first key file is meant.
func (c *change) open(ctx context.Context, args []string) (err error) {
	if c.ring, err = c.openKeys(c.keys); err != nil {
		return err
	}
	id := ""
	if len(args) > 0 {
		id = args[0]
	} else {
		first, err := c.ring.first()
		if err != nil {
			return err
		}
		id = first.DID
	}
	if _, err := did.Parse(id); err != nil {
		return usage("%s: only a did:weft has a log that can be changed", id)
	}
	network, err := c.networkID(ctx, c.network)
	if err != nil {
		return err
	}
	lines, err := c.lines(ctx, id)
	if err != nil {
		return err
	}
	if c.of, err = replay(network, limitsOf(nil), id, lines); err == nil && c.of.head.Deactivated {
		err = fmt.Errorf("%s is deactivated", id)
	}
	return err
}

func (c *change) lines(ctx context.Context, id string) ([]client.LogLine, error) {
	if c.log != "" {
		return c.readLog(c.log)
	}
	return c.fetchLog(ctx, id, false)
}

// deactivate ends a DID.
func (c *change) deactivate(ctx context.Context) error {
	body := did.Deactivate(c.of.network, c.of.id, c.of.head, 0)
	if c.recovery {
		if c.of.head.Recovery == nil {
			return fmt.Errorf("%s has no recovery keys", c.of.id)
		}
		body = did.DeactivateByRecovery(c.of.network, c.of.id, c.of.head, 0)
	}
	_, err := c.finish(ctx, body, c.ring, c.finishFlags, true)
	return err
}

// update makes the next version: the present parameters and document with what the flags change.
func (c *change) update(ctx context.Context) error {
	content, err := c.present()
	if err != nil {
		return err
	}
	own := c.ownFile()
	if err := c.document.apply(content.Document, &content.Params, own, time.Now()); err != nil {
		return err
	}
	if err := c.renewKeys(&content, own); err != nil {
		return err
	}
	c.changeControllers(&content.Params)
	body := did.Update(c.of.network, c.of.id, c.of.head, content)
	if c.recovery {
		if body, err = did.Recover(c.of.network, c.of.id, c.of.head, content); err != nil {
			return err
		}
	}
	if err := c.ring.save(); err != nil { // the new keys must be safe before anyone hears of them
		return err
	}
	done, err := c.finish(ctx, body, c.ring, c.finishFlags, c.recovery)
	if err != nil || c.offline() || done.Status != client.Final {
		return err
	}
	if err := c.settle(content, own); err != nil {
		return err
	}
	return c.ring.saveFirst(own) // it got keys that the others lose
}

// present is what the newest version says, to be changed.
func (c *change) present() (content did.Content, err error) {
	now := c.of.current()
	content.Params = now.Params
	if c.document.file != "" {
		content.Document, err = c.readDocument(c.document.file)
		return content, err
	}
	raw, err := did.Canonical(now.Document)
	if err != nil {
		return content, err
	}
	content.Document, err = did.DecodeObject(raw, did.JSONLimits{MaxBytes: MaxOperationFile})
	return content, err
}

func (s *shell) readDocument(file string) (did.Object, error) {
	raw, err := s.readInput(file, MaxOperationFile)
	if err != nil {
		return nil, err
	}
	doc, err := did.DecodeObject(raw, did.JSONLimits{MaxBytes: MaxOperationFile})
	if err != nil {
		return nil, fmt.Errorf("--document: %w", err)
	}
	return doc, nil
}

// ownFile is the DID's own key file, or nil: of several the one for every day, which has the document's keys.
func (c *change) ownFile() (own *keyfile.File) {
	for _, f := range c.ring.files {
		if f.DID != c.of.id.String() {
			continue
		}
		if own == nil || len(own.With(keyfile.Document)) == 0 && len(f.With(keyfile.Document)) > 0 {
			own = f
		}
	}
	return own
}

// renewKeys gives the version its update keys: under pre-rotation the next keys move up and new ones take their place,
// each in the file of the one before. Without own keys (a controller changes the DID) they stay.
func (c *change) renewKeys(content *did.Content, own *keyfile.File) error {
	switch {
	case own == nil && c.recovery:
		return usage("no key file of %s: the new keys need one, give it with --keys FILE", c.of.id)
	case own == nil:
		return nil
	case c.recovery:
		return c.recoverKeys(content, own)
	case len(c.of.head.NextKeyHashes) > 0:
		return c.useNextKeys(&content.Params)
	case c.rotate:
		update, err := addKeys(own, keyfile.Update, max(len(c.of.head.UpdateKeys), 1))
		content.Params.UpdateKeys = publicsOf(update)
		return err
	}
	return nil
}

func (c *change) useNextKeys(params *did.Params) error {
	var update, next []keyfile.Key
	for _, f := range c.ring.files {
		for _, k := range f.Keys() {
			if !slices.Contains(c.of.head.NextKeyHashes, did.KeyHash(k.Public)) {
				continue
			}
			fresh, err := addKeys(f, keyfile.Next, 1)
			if err != nil {
				return err
			}
			update, next = append(update, k), append(next, fresh...)
		}
	}
	if len(update) < c.of.head.Threshold {
		return fmt.Errorf("the key files have %d of the next keys of %s, and %d must sign: give the other files with --keys FILE as well",
			len(update), c.of.id, c.of.head.Threshold)
	}
	*params = params.Rotated(publicsOf(update), hashesOf(next)...)
	return nil
}

// recoverKeys makes all keys anew: update, next and recovery.
func (c *change) recoverKeys(content *did.Content, own *keyfile.File) error {
	old := c.of.head.Recovery
	if old == nil {
		return fmt.Errorf("%s has no recovery keys", c.of.id)
	}
	update, err := addKeys(own, keyfile.Update, 1)
	if err != nil {
		return err
	}
	next, err := addKeys(own, keyfile.Next, 1)
	if err != nil {
		return err
	}
	recovery, err := addKeys(own, keyfile.Recovery, len(old.KeyHashes))
	if err != nil {
		return err
	}
	content.Params = content.Params.Rotated(publicsOf(update), hashesOf(next)...)
	content.Params.Threshold = 1
	content.Recovery = &did.RecoverySet{KeyHashes: hashesOf(recovery), Threshold: old.Threshold}
	return nil
}

func addKeys(f *keyfile.File, r keyfile.Role, n int) (list []keyfile.Key, err error) {
	for range n {
		k, err := f.Add(r, "", keyfile.Ed25519)
		if err != nil {
			return nil, err
		}
		list = append(list, k)
	}
	return list, nil
}

func (c *change) changeControllers(params *did.Params) {
	switch {
	case len(c.controllers) == 0:
	case c.controllers[0] == "none":
		params.Controllers, params.ControllerThreshold = nil, 0
	default:
		params.Controllers, params.ControllerThreshold = c.controllers, 1
	}
}

// settle lets the key files say what the accepted operation made of their keys: next keys that came into force move to
// the file for every day, and keys that count no more are dropped.
func (c *change) settle(content did.Content, own *keyfile.File) error {
	for _, f := range c.ring.files {
		if f.DID != c.of.id.String() {
			continue
		}
		for _, k := range f.Keys() {
			if err := settleKey(content, own, f, k); err != nil {
				return err
			}
		}
	}
	return nil
}

func settleKey(content did.Content, own, f *keyfile.File, k keyfile.Key) error {
	hash := did.KeyHash(k.Public)
	switch {
	case k.Role == keyfile.Document:
		if m := findItem(content.Document, "verificationMethod", k.ID); m != nil && m["revoked"] != nil && k.Algorithm == keyfile.Ed25519 {
			return f.Remove(k.Public) // it signs nothing any more; a key to decrypt with may still be needed
		}
		return nil
	case slices.Contains(content.Params.UpdateKeys, k.Public):
		if own != f {
			return own.Take(f, k.Public, keyfile.Update)
		}
		return f.Assign(k.Public, keyfile.Update)
	case slices.Contains(content.Params.NextKeyHashes, hash):
		return f.Assign(k.Public, keyfile.Next)
	case k.Role == keyfile.Recovery && (content.Recovery == nil || slices.Contains(content.Recovery.KeyHashes, hash)):
		return nil
	}
	return f.Remove(k.Public)
}

// creation is a new DID.
type creation struct {
	*shell
	method       string
	subjectType  string
	path         string
	nextPath     string
	recoveryPath string
	noRecovery   bool
	noNext       bool
	controllers  []string
	owners       keyFlags // of the controllers, who sign too
	protection   protectionFlags

	passphraseFile string
	network        networkFlags
	document       documentFlags
	finishFlags
}

// run makes keys, writes them, and only then lets anyone hear of them.
func (c *creation) run(ctx context.Context, path string) error {
	c.path = path
	how, err := c.readProtection(c.protection, c.passphraseFile)
	if err != nil {
		return err
	}
	switch c.methodOf() {
	case "key":
		return c.makeKey(how)
	case "weft":
		return c.makeWeft(ctx, how)
	}
	return usage("--method %s: want weft or key", c.method)
}

// methodOf is did:key for a person unless they ask for another: a person's DID on a ledger stays there.
func (c *creation) methodOf() string {
	if c.method == "" && c.subjectType == "person" {
		return "key"
	}
	if c.method == "" {
		return "weft"
	}
	return c.method
}

const personWarning = `Careful: a did:weft of a person is personal data on a ledger that nobody can erase: every key and every change of it
stays, for all members to see, for good. For a person a did:key, one for each relation, is usually right: --method key.
`

// makeKey makes a did:key: one key, no ledger.
func (c *creation) makeKey(how keyfile.Protection) error {
	file, err := keyfile.New("", how)
	if err != nil {
		return err
	}
	defer file.Close()
	made, err := file.Add(keyfile.Document, "", keyfile.Ed25519)
	if err != nil {
		return err
	}
	if err := file.Name(made.Public, "#"+made.Public); err != nil {
		return err
	}
	file.DID = "did:key:" + made.Public
	if err := file.Create(c.path); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(map[string]any{"did": file.DID, "file": c.path})
	}
	c.print("did     %s\nkeys    %s\n", file.DID, c.path)
	return nil
}

// makeWeft makes a did:weft.
func (c *creation) makeWeft(ctx context.Context, how keyfile.Protection) error {
	if c.subjectType == "person" {
		fmt.Fprint(c.err, personWarning)
		if !c.yes {
			if err := c.confirm("A did:weft all the same?"); err != nil {
				return err
			}
		}
	}
	network, err := c.networkID(ctx, c.network)
	if err != nil {
		return err
	}
	owners, err := c.openKeys(c.owners)
	if err != nil {
		return err
	}
	defer owners.close()
	ring, err := c.newFiles(how)
	if err != nil {
		return err
	}
	defer ring.close()
	body, err := c.body(network, ring)
	if err != nil {
		return err
	}
	id := textIn(body, "did")
	for i, f := range ring.files {
		f.DID = id
		if err := f.Create(ring.paths[i]); err != nil {
			return err
		}
		fmt.Fprintf(c.err, "keys of %s written to %s\n", id, ring.paths[i])
	}
	all := &keyring{append(slices.Clone(ring.files), owners.files...), append(slices.Clone(ring.paths), owners.paths...)}
	_, err = c.finish(ctx, body, all, c.finishFlags, false)
	return err
}

// newFiles makes the keys: all in one file, unless next or recovery keys get their own.
func (c *creation) newFiles(how keyfile.Protection) (*keyring, error) {
	ring := &keyring{}
	at := func(path string) (*keyfile.File, error) {
		if path == "" {
			path = c.path
		}
		if i := slices.Index(ring.paths, path); i >= 0 {
			return ring.files[i], nil
		}
		f, err := keyfile.New("", how)
		if err == nil {
			ring.files, ring.paths = append(ring.files, f), append(ring.paths, path)
		}
		return f, err
	}
	wanted := []struct {
		role keyfile.Role
		id   string
		alg  keyfile.Algorithm
		path string
		skip bool
	}{
		{keyfile.Update, "", keyfile.Ed25519, "", false},
		{keyfile.Document, "#key-1", keyfile.Ed25519, "", c.document.file != ""},
		{keyfile.Document, "#key-2", keyfile.X25519, "", c.document.file != ""},
		{keyfile.Next, "", keyfile.Ed25519, c.nextPath, c.noNext},
		{keyfile.Recovery, "", keyfile.Ed25519, c.recoveryPath, c.noRecovery},
	}
	for _, w := range wanted {
		if w.skip {
			continue
		}
		f, err := at(w.path)
		if err != nil {
			return nil, err
		}
		if _, err := f.Add(w.role, w.id, w.alg); err != nil {
			return nil, err
		}
	}
	return ring, nil
}

// body is the create operation.
func (c *creation) body(network tangle.ID, ring *keyring) (did.Object, error) {
	var update, next, recovery []keyfile.Key
	content := did.Content{Document: did.Object{}}
	for _, f := range ring.files {
		update, next, recovery = append(update, f.With(keyfile.Update)...), append(next, f.With(keyfile.Next)...), append(recovery, f.With(keyfile.Recovery)...)
		for _, k := range f.With(keyfile.Document) {
			addMethod(content.Document, k.ID, k.Public, usualRelationships(k.Algorithm))
		}
	}
	if c.document.file != "" {
		var err error
		if content.Document, err = c.readDocument(c.document.file); err != nil {
			return nil, err
		}
	}
	content.Params = did.NewParams(publicsOf(update), hashesOf(next)...)
	content.Params.SubjectType = c.subjectType
	if len(c.controllers) > 0 {
		content.Params.Controllers, content.Params.ControllerThreshold = c.controllers, 1
	}
	if len(recovery) > 0 {
		content.Recovery = &did.RecoverySet{KeyHashes: hashesOf(recovery), Threshold: 1}
	}
	if err := c.document.apply(content.Document, &content.Params, ring.files[0], time.Now()); err != nil {
		return nil, err
	}
	body, _, err := did.Create(network, newNonce(), content)
	return body, err
}
