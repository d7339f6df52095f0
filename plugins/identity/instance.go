package identity

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/identity/jsonld"
	"weft/plugins/identity/operation"
	"weft/plugins/identity/status"
	"weft/plugins/identity/vc"
	"weft/plugins/rest"
	"weft/tangle"
)

// instance is an issuer instance at work: the one place where this node signs with a key in its care.
type instance struct {
	*identity
	Issuer
	sign func([]byte) ([]byte, error)
}

func (x *identity) instance(one Issuer) instance {
	return instance{x, one, x.vault.signer(one.KeystoreKey)}
}

// public is the multikey of the instance's key. It must be what the DID document names, or nobody could verify.
func (in instance) public() (string, error) {
	multikey, found := in.vault.public(in.KeystoreKey)
	if !found {
		return "", plugins.Reject("issuer_locked", "the keystore has no key %q", in.KeystoreKey)
	}
	m, err := did.Lookup(in.host.View(), in.Method, did.AssertionMethod, 0)
	if err != nil {
		return "", plugins.Reject("issuer_locked", "the method of issuer %s: %s", in.Name, detailOf(err))
	}
	if m.Key.Multikey() != multikey {
		return "", plugins.Reject("issuer_locked", "%s is another key than %q of the keystore", in.Method, in.KeystoreKey)
	}
	return multikey, nil
}

// public is the multikey of a key in the vault, which needs no passphrase.
func (v *vault) public(name string) (string, bool) {
	if v.store == nil {
		return "", false
	}
	for _, k := range v.store.Keys() {
		if k.Name == name {
			return k.Public, true
		}
	}
	return "", false
}

// MaxCredentialID bounds the id of a credential that has a status, in bytes.
const MaxCredentialID = 512

// issueOrder is a credential to be issued.
type issueOrder struct {
	doc   did.Object
	id    string // under which its status is changed; empty: the credential's own
	suite string
	by    string // who asks
	base  string // where status lists are served
}

// read takes the unsigned credential and refuses what must not be signed.
func (in instance) read(o *issueOrder, raw json.RawMessage) (err error) {
	if raw == nil {
		return plugins.Reject("bad_value", "credential is missing")
	}
	if o.doc, err = did.DecodeObject(raw, did.JSONLimits{MaxBytes: rest.MaxVerifyBody, MaxDepth: vc.MaxDepth}); err != nil {
		return err
	}
	if o.suite == "" {
		o.suite = in.Cryptosuites[0]
	}
	if !slices.Contains(in.Cryptosuites, o.suite) {
		return plugins.Reject("bad_value", "options.cryptosuite: this issuer has %v", in.Cryptosuites)
	}
	if isV1(o.doc) {
		in.completeV1(o)
	}
	if err := vc.CheckCredential(o.doc); err != nil {
		return err
	}
	if of := issuerOf(o.doc); of != in.DID {
		return plugins.Reject("issuer_mismatch", "the credential is of %.200q, this issuer is %s", of, in.DID)
	}
	return in.nameIt(o)
}

// completeV1 adds what VC 1.1 asks for and its context lacks.
func (in instance) completeV1(o *issueOrder) {
	if _, given := o.doc["issuanceDate"]; !given {
		o.doc["issuanceDate"] = in.now().UTC().Format(time.RFC3339)
	}
	if contexts, _ := o.doc["@context"].([]any); o.suite == vc.SuiteRDFC && !namesContext(o.doc, "https://w3id.org/security/data-integrity/") {
		o.doc["@context"] = append(slices.Clone(contexts), jsonld.DataIntegrityV2)
	}
}

// nameIt settles the id under which the status is changed later. A credential with a status that has no id gets one.
func (in instance) nameIt(o *issueOrder) error {
	if len(in.StatusPurposes) == 0 {
		return nil
	}
	if isV1(o.doc) && o.suite == vc.SuiteRDFC {
		return plugins.Reject("bad_value", "the context of VC 1.1 has no words for a status list: use %s", vc.SuiteJCS)
	}
	if _, named := o.doc["id"]; !named {
		o.doc["id"] = newUUID()
	}
	if o.id == "" {
		o.id, _ = o.doc["id"].(string)
	}
	if len(o.id) > MaxCredentialID {
		return plugins.Reject("bad_value", "the id of a credential with a status has at most %d bytes", MaxCredentialID)
	}
	return nil
}

// newUUID is a random URN (RFC 9562, version 4).
func newUUID() string {
	b := make([]byte, 16)
	rand.Read(b) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// issue gives the credential its status entries, signs it, and remembers what is needed to change its status.
func (in instance) issue(ctx context.Context, o issueOrder) (did.Object, error) {
	if _, err := in.public(); err != nil {
		return nil, err
	}
	if in.vault.store == nil || in.vault.store.Locked() {
		return nil, plugins.Reject("issuer_locked", "the keystore waits for its passphrase")
	}
	if err := in.canSign(o); err != nil {
		return nil, err
	}
	var refs []statusRef
	for _, purpose := range in.StatusPurposes {
		list, err := in.list(ctx, status.Purpose(purpose))
		if err != nil {
			return nil, err
		}
		index, err := in.books.allot(in.DID, purpose, list)
		if err != nil {
			return nil, err
		}
		refs = append(refs, statusRef{List: list, Purpose: purpose, Index: index, URL: o.base + "/status-lists/" + list})
	}
	addEntries(o.doc, refs)
	signed, err := vc.AddProof(vc.Config{Contexts: in.contexts}, o.doc, in.proof(o.suite), in.sign)
	if err != nil || len(refs) == 0 {
		return signed, err
	}
	return signed, in.remember(o, signed, refs)
}

// canSign finds out what is wrong with a credential before an index is used up for it.
func (in instance) canSign(o issueOrder) error {
	if len(in.StatusPurposes) == 0 {
		return nil
	}
	_, _, err := vc.PrepareProof(in.contexts, o.doc, in.proof(o.suite))
	return err
}

func (in instance) proof(suite string) vc.ProofOptions {
	return vc.ProofOptions{Cryptosuite: suite, VerificationMethod: in.Method, Purpose: "assertionMethod", Created: in.now()}
}

// addEntries adds status entries to those that a credential has.
func addEntries(doc did.Object, refs []statusRef) {
	if len(refs) == 0 {
		return
	}
	var list []any
	switch had := doc["credentialStatus"].(type) {
	case []any:
		list = slices.Clone(had)
	case did.Object:
		list = []any{had}
	}
	for _, ref := range refs {
		list = append(list, vc.StatusEntry(ref.URL, ref.Purpose, ref.Index))
	}
	doc["credentialStatus"] = list
}

func (in instance) remember(o issueOrder, signed did.Object, refs []statusRef) error {
	hash, err := hashOf(signed)
	if err != nil {
		return err
	}
	return in.keepIssued(o.id, issuedCredential{
		Issuer: in.DID, Subject: subjectOf(signed), Type: typesOf(signed), Hash: hash, Issued: in.now().UTC(), By: o.by, Status: refs,
	})
}

// waitForLedger is how long an issuer waits until its own operations are final.
const waitForLedger = 15 * time.Second

// header begins an operation of the instance.
func (in instance) header() operation.Header {
	h := operation.Header{Network: in.host.Network, Actor: in.DID, NotAfter: tangle.TimeOf(in.now().Add(time.Hour).Truncate(time.Second))}
	rand.Read(h.Nonce[:]) // never fails
	return h
}

func (in instance) setBody(list string, indexes []int, on bool) did.Object {
	if on {
		return status.NewSet(in.header(), list, indexes, nil)
	}
	return status.NewSet(in.header(), list, nil, indexes)
}

// signOperation makes an entry of a body.
func (in instance) signOperation(body did.Object) ([]byte, error) {
	multikey, err := in.public()
	if err != nil {
		return nil, err
	}
	to, err := did.Prepare(body, multikey)
	if err != nil {
		return nil, err
	}
	signature, err := in.sign(to.HashData)
	if err != nil {
		return nil, err
	}
	return did.Attach(body, map[string][]byte{multikey: signature})
}

// publish signs and submits a status operation, and returns when it is final and accepted.
func (in instance) publish(ctx context.Context, body did.Object) (s rest.State, err error) {
	raw, err := in.signOperation(body)
	if err != nil {
		return s, err
	}
	op, err := in.ledger.check(KindStatus, raw)
	if err != nil {
		return s, err
	}
	if s, err = in.operations.Submit(ctx, KindStatus, op, raw); err != nil {
		return s, err
	}
	return s, in.settle(ctx, &s)
}

// settle waits until an operation is final, and refuses any other end.
func (in instance) settle(ctx context.Context, s *rest.State) error {
	in.operations.Await(ctx, s, waitForLedger)
	switch {
	case s.Status != "final":
		return plugins.Reject("no_quorum", "the operation %s is not final yet", s.Hash)
	case s.Code != "":
		return rest.Rejected(in.operations.View(*s))
	}
	return nil
}

// list is a status list of the instance with room for more; the first use makes it.
func (in instance) list(ctx context.Context, purpose status.Purpose) (string, error) {
	if id, found := in.usable(purpose); found {
		return id, nil
	}
	ctx, cancel := context.WithTimeout(ctx, waitForLedger)
	defer cancel()
	if err := in.books.begin(ctx); err != nil {
		return "", plugins.Reject("busy", "another status list is being made")
	}
	defer in.books.end()
	if id, found := in.usable(purpose); found {
		return id, nil // made meanwhile
	}
	if id, found := in.onItsWay(ctx, purpose); found {
		return id, nil
	}
	return in.makeList(ctx, purpose)
}

// usable finds a list on the ledger of which this node keeps the book.
func (in instance) usable(purpose status.Purpose) (string, bool) {
	for _, id := range in.books.of(in.DID, string(purpose)) {
		if l, err := status.ReadList(in.host.View(), id); err == nil && l.Closed == nil && l.Issuer == in.DID {
			return id, true
		}
	}
	return "", false
}

// onItsWay waits for a list that was made before and is not on the ledger yet.
func (in instance) onItsWay(ctx context.Context, purpose status.Purpose) (string, bool) {
	for _, id := range in.books.of(in.DID, string(purpose)) {
		if s, known := in.operations.State(id); known && !s.Ordered() && in.settle(ctx, &s) == nil {
			return id, true
		}
	}
	return "", false
}

func (in instance) makeList(ctx context.Context, purpose status.Purpose) (string, error) {
	body := status.NewCreateList(in.header(), status.ListTerms{Purpose: purpose, Size: status.MinSize, Home: in.host.Self})
	id, err := did.OpHash(body)
	if err != nil {
		return "", err
	}
	if err := in.books.open(in.DID, string(purpose), id, status.MinSize); err != nil {
		return "", err
	}
	_, err = in.publish(ctx, body)
	return id, err
}
