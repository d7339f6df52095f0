package identity

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"weft/config/strict"
	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/rest"
	"weft/tangle"
)

// opRotate is an update that brings pre-rotated keys into force and leaves the document as it is.
const opRotate = "rotate"

// draftIntent is what a caller wants of a DID. Params are in the form of operations; of an update, what is absent in them
// stays as it is, and so does an absent document.
type draftIntent struct {
	Op       string          `json:"op"`
	DID      string          `json:"did"`
	Params   json.RawMessage `json:"params"`
	Document json.RawMessage `json:"document"` // as in operations: relative ids, no @context
	Keys     usualKeys       `json:"keys"`     // of create, instead of a document: the usual one
	Recovery draftRecovery   `json:"recovery"`
	NotAfter string          `json:"notAfter"`
	Signers  []string        `json:"signers"` // multikeys that will sign; found out if it can be

	ByRecovery bool `json:"byRecovery"` // deactivate with the recovery keys
}

// usualKeys are the public keys of the usual document.
type usualKeys struct {
	Signing   string `json:"signing"`
	Agreement string `json:"agreement"`
}

type draftParams struct {
	UpdateKeys          []string `json:"updateKeys"`
	Threshold           int      `json:"threshold"`
	NextKeyHashes       []string `json:"nextKeyHashes"`
	NextKeys            []string `json:"nextKeys"` // instead: the keys themselves, which are hashed here
	Controllers         []string `json:"controllers"`
	ControllerThreshold int      `json:"controllerThreshold"`
	SubjectType         string   `json:"subjectType"`
	TTL                 int      `json:"ttl"`
	Compromised         []string `json:"compromised"`
}

type draftRecovery struct {
	Keys      []string `json:"keys"`
	KeyHashes []string `json:"keyHashes"`
	Threshold int      `json:"threshold"`
}

// draftAnswer is an unsigned operation with what each signer signs.
type draftAnswer struct {
	DID       string       `json:"did"`
	Operation did.Object   `json:"operation"`
	OpHash    string       `json:"opHash"`
	ToSign    []toSignView `json:"toSign"`
	Summary   string       `json:"summary"`
}

type toSignView struct {
	Proof    did.Object `json:"proof"`
	HashData string     `json:"hashData"`
}

// draft is POST /api/v1/identities/drafts. Nothing is stored, and nothing secret goes in or out.
func (x *identity) draft(w http.ResponseWriter, r *http.Request) error {
	var intent draftIntent
	if err := rest.Read(r, &intent); err != nil {
		return err
	}
	d := drafting{identity: x, intent: intent}
	body, err := d.body()
	if err != nil {
		return err
	}
	op, err := x.decodeUnsigned(body)
	if err != nil {
		return err
	}
	a := draftAnswer{DID: op.DID.String(), Operation: body, OpHash: op.Hash, Summary: summaryOf(op)}
	signers, err := d.signers(op)
	if err != nil {
		return err
	}
	for _, s := range signers {
		t, err := did.Prepare(body, s)
		if err != nil {
			return err
		}
		a.ToSign = append(a.ToSign, toSignView{t.Proof, base64.RawURLEncoding.EncodeToString(t.HashData)})
	}
	rest.NoStore(w)
	return rest.Answer(w, http.StatusOK, a)
}

// decodeUnsigned judges the form of an operation that nobody has signed yet: form and signatures are judged together, so
// a key signs it that is thrown away.
func (x *identity) decodeUnsigned(body did.Object) (*did.Operation, error) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	raw, err := did.Sign(body, key)
	if err != nil {
		return nil, err
	}
	op, err := did.Decode(x.host.Network, x.ledger.limits, raw)
	if err != nil {
		return nil, err
	}
	op.Signers = nil
	return op, nil
}

// drafting is one draft.
type drafting struct {
	*identity
	intent draftIntent
	id     did.DID
	head   did.Head
	params did.Params // as of the head
	doc    did.Object
}

func (d *drafting) body() (did.Object, error) {
	notAfter := tangle.Time(0)
	if d.intent.NotAfter != "" {
		var err error
		if notAfter, err = did.ParseTime(d.intent.NotAfter); err != nil {
			return nil, err
		}
	}
	if d.intent.Op != did.OpCreate {
		if err := d.readPresent(); err != nil {
			return nil, err
		}
	}
	if d.intent.Op == did.OpDeactivate {
		if d.intent.ByRecovery {
			return did.DeactivateByRecovery(d.host.Network, d.id, d.head, notAfter), nil
		}
		return did.Deactivate(d.host.Network, d.id, d.head, notAfter), nil
	}
	c, err := d.content()
	if err != nil {
		return nil, err
	}
	c.NotAfter = notAfter
	switch d.intent.Op {
	case did.OpCreate:
		var nonce [did.NonceBytes]byte
		rand.Read(nonce[:]) // never fails
		body, _, err := did.Create(d.host.Network, nonce, c)
		return body, err
	case did.OpUpdate, opRotate:
		return did.Update(d.host.Network, d.id, d.head, c), nil
	case did.OpRecover:
		return did.Recover(d.host.Network, d.id, d.head, c)
	}
	return nil, plugins.Reject("bad_value", "op: want create, update, rotate, recover or deactivate")
}

// readPresent reads what an operation starts from.
func (d *drafting) readPresent() (err error) {
	if d.id, err = did.Parse(d.intent.DID); err != nil {
		return plugins.Reject("bad_value", "did: %s", detailOf(err))
	}
	var found bool
	if d.head, found, err = did.ReadHead(d.host.View(), d.id); err != nil {
		d.damaged(err)
		return err
	}
	switch {
	case !found:
		return plugins.Reject("unknown_did", "no such DID on this network")
	case d.head.Deactivated:
		return plugins.Reject("deactivated", "the DID is deactivated")
	}
	_, op, err := did.ReadOperation(d.host.View(), d.id, d.head.Version)
	if err != nil {
		d.damaged(err)
		return err
	}
	d.params, d.doc = op.Params, op.Document
	return nil
}

func (d *drafting) content() (c did.Content, err error) {
	if c.Params, err = d.newParams(); err != nil {
		return c, err
	}
	if c.Document, err = d.newDocument(); err != nil {
		return c, err
	}
	hashes, err := hashesOf(d.intent.Recovery.Keys, d.intent.Recovery.KeyHashes)
	if len(hashes) == 0 {
		return c, err
	}
	c.Recovery = &did.RecoverySet{KeyHashes: hashes, Threshold: max(1, d.intent.Recovery.Threshold)}
	return c, err
}

func (d *drafting) newParams() (did.Params, error) {
	p := draftParams{
		d.params.UpdateKeys, d.params.Threshold, d.params.NextKeyHashes, nil, d.params.Controllers, d.params.ControllerThreshold,
		d.params.SubjectType, d.params.TTL, d.params.Compromised,
	}
	if d.intent.Op == did.OpCreate {
		p.TTL = did.DefaultTTL
	}
	present := slices.Clone(p.UpdateKeys)
	if d.intent.Params != nil {
		if err := rest.ValueError(strict.Decode(d.intent.Params, &p, false)); err != nil {
			return did.Params{}, err
		}
	}
	if d.intent.Op == opRotate && slices.Equal(present, p.UpdateKeys) {
		return did.Params{}, plugins.Reject("bad_value", "params.updateKeys: name the keys that come into force")
	}
	next, err := hashesOf(p.NextKeys, p.NextKeyHashes)
	if p.NextKeys != nil {
		next, err = hashesOf(p.NextKeys, nil)
	}
	if len(p.UpdateKeys) > 0 {
		p.Threshold = max(1, p.Threshold)
	}
	if len(p.Controllers) > 0 {
		p.ControllerThreshold = max(1, p.ControllerThreshold)
	}
	return did.Params{
		UpdateKeys: p.UpdateKeys, Threshold: p.Threshold, NextKeyHashes: next, Controllers: p.Controllers,
		ControllerThreshold: p.ControllerThreshold, SubjectType: p.SubjectType, TTL: p.TTL, Compromised: p.Compromised,
	}, err
}

// hashesOf adds the hashes of keys to hashes.
func hashesOf(keys, hashes []string) ([]string, error) {
	list := slices.Clone(hashes)
	for _, k := range keys {
		if _, err := did.ParseMultikey(k); err != nil {
			return nil, err
		}
		list = append(list, did.KeyHash(k))
	}
	return list, nil
}

func (d *drafting) newDocument() (did.Object, error) {
	if d.intent.Document != nil {
		return did.DecodeObject(d.intent.Document, did.JSONLimits{MaxBytes: rest.MaxOperationBody})
	}
	if d.intent.Keys == (usualKeys{}) {
		return d.doc, nil
	}
	signing, err := did.ParseMultikey(d.intent.Keys.Signing)
	if err != nil || signing.Type != did.Ed25519 {
		return nil, plugins.Reject("bad_value", "keys.signing: want an Ed25519 key as multikey")
	}
	agreement, err := did.ParseMultikey(d.intent.Keys.Agreement)
	if err != nil || agreement.Type != did.X25519 {
		return nil, plugins.Reject("bad_value", "keys.agreement: want an X25519 key as multikey")
	}
	return did.DefaultDocument(signing.Bytes, agreement), nil
}

// signers are the keys that can make the operation pass, as far as the state shows them: announced keys and recovery keys
// are known by their hashes only, so the caller names them.
func (d *drafting) signers(op *did.Operation) ([]string, error) {
	list := d.intent.Signers
	if list == nil {
		list = d.usualSigners(op)
	}
	if len(list) == 0 || len(list) > d.ledger.limits.MaxProofs {
		return nil, plugins.Reject("bad_value", "signers: name 1 to %d keys that will sign", d.ledger.limits.MaxProofs)
	}
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list), nil
}

func (d *drafting) usualSigners(op *did.Operation) (list []string) {
	var controllers []string
	for _, c := range op.Params.Controllers {
		if !slices.Contains(d.head.Controllers, c) {
			controllers = append(controllers, c)
		}
	}
	switch {
	case op.Recovers != "":
	case op.Op == did.OpCreate:
		list = append(list, op.Params.UpdateKeys...)
	case len(d.head.NextKeyHashes) > 0:
		for _, k := range op.Params.UpdateKeys {
			if slices.Contains(d.head.NextKeyHashes, did.KeyHash(k)) {
				list = append(list, k)
			}
		}
	case len(d.head.UpdateKeys) > 0:
		list = append(list, d.head.UpdateKeys...)
	default:
		controllers = append(controllers, d.head.Controllers...)
	}
	for _, c := range controllers {
		list = append(list, d.updateKeysOf(c)...)
	}
	return list
}

// updateKeysOf are the present update keys of a controller.
func (x *identity) updateKeysOf(controller string) []string {
	c, err := did.Parse(controller)
	if err != nil {
		return nil
	}
	head, _, err := did.ReadHead(x.host.View(), c)
	if err != nil {
		x.damaged(err)
	}
	return head.UpdateKeys
}

// summaryOf says in words what an operation does. Whoever signs reads the operation itself: this is for orientation.
func summaryOf(op *did.Operation) string {
	var words []string
	say := func(format string, args ...any) { words = append(words, fmt.Sprintf(format, args...)) }
	switch op.Op {
	case did.OpCreate:
		say("Create %s.", op.DID)
	case did.OpUpdate:
		say("Update %s to version %d.", op.DID, op.Seq)
	case did.OpRecover:
		say("Recover %s: the keys that could change it until now lose that power.", op.DID)
	case did.OpDeactivate:
		say("Deactivate %s, for good and for everybody.", op.DID)
		return strings.Join(words, " ")
	}
	p := op.Params
	if len(p.UpdateKeys) > 0 {
		say("From then on %d of %d update keys change it.", p.Threshold, len(p.UpdateKeys))
	}
	if len(p.NextKeyHashes) > 0 {
		say("The next change reveals keys out of %d that are announced.", len(p.NextKeyHashes))
	} else if len(p.UpdateKeys) > 0 {
		say("No next keys are announced: a stolen update key can take it over until it is recovered.")
	}
	if len(p.Controllers) > 0 {
		say("%d of its controllers %s can change it as well.", p.ControllerThreshold, strings.Join(p.Controllers, ", "))
	}
	if len(p.Compromised) > 0 {
		say("%d keys are declared stolen, which cannot be taken back.", len(p.Compromised))
	}
	if op.Recovery != nil {
		say("%d of %d recovery keys can take it back.", op.Recovery.Threshold, len(op.Recovery.KeyHashes))
	}
	methods, _ := op.Document["verificationMethod"].([]any)
	services, _ := op.Document["service"].([]any)
	say("Its document has %d keys and %d services.", len(methods), len(services))
	return strings.Join(words, " ")
}
