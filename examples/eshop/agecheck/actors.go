package agecheck

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"

	"weft/client"
	"weft/plugins/identity/did"
	"weft/plugins/identity/operation"
	"weft/plugins/identity/status"
	"weft/plugins/identity/trust"
	"weft/plugins/identity/vc"
	"weft/tangle"
)

// wait is how long an operation may take until it is final.
const wait = 20 * time.Second

// organisation has a did:weft, and submits through its own member's node.
type organisation struct {
	node    *client.Client
	home    tangle.Member
	network tangle.ID
	did     string
	key     ed25519.PrivateKey // #key-1 of its document
}

// wallet makes keys and remembers them. They never leave this process.
type wallet struct{ keys []ed25519.PrivateKey }

func (w *wallet) newKey() ed25519.PrivateKey {
	_, key, _ := ed25519.GenerateKey(nil) // never fails
	w.keys = append(w.keys, key)
	return key
}

func multikey(k ed25519.PrivateKey) string {
	return did.Ed25519Key(k.Public().(ed25519.PublicKey)).Multikey()
}

// newOrganisation makes keys and puts a DID on the ledger. The key that changes the DID is another one than the one that
// signs, and the next one is fixed by its hash, so that a stolen key changes nothing.
func (w *wallet) newOrganisation(ctx context.Context, node *client.Client) (*organisation, error) {
	info, err := node.Node(ctx)
	if err != nil {
		return nil, err
	}
	o := &organisation{node: node, home: info.Member, network: info.NetworkID, key: w.newKey()}
	update, next := w.newKey(), w.newKey()
	var nonce [did.NonceBytes]byte
	rand.Read(nonce[:])
	body, name, err := did.Create(o.network, nonce, did.Content{
		Params: did.NewParams([]string{multikey(update)}, did.KeyHash(multikey(next))),
		Document: did.Object{
			"verificationMethod": []any{did.Object{"id": "#key-1", "type": "Multikey", "publicKeyMultibase": multikey(o.key)}},
			"authentication":     []any{"#key-1"}, "assertionMethod": []any{"#key-1"}, "capabilityInvocation": []any{"#key-1"},
		},
	})
	if err != nil {
		return nil, err
	}
	o.did = name.String()
	_, err = o.submit(ctx, body, update)
	return o, err
}

// submit signs an operation and waits until it is final.
func (o *organisation) submit(ctx context.Context, body did.Object, key ed25519.PrivateKey) (client.Operated, error) {
	signed, err := did.Sign(body, key)
	if err != nil {
		return client.Operated{}, err
	}
	done, err := o.node.SubmitOperation(ctx, signed, client.OperationOptions{Final: wait})
	if err == nil && done.Status != client.Final {
		err = fmt.Errorf("operation %s is %s after %s", done.OpHash, done.Status, wait)
	}
	return done, err
}

// header begins an operation of this organisation, good for an hour.
func (o *organisation) header() operation.Header {
	h := operation.Header{Network: o.network, Actor: o.did, NotAfter: tangle.TimeOf(time.Now().Add(time.Hour).Truncate(time.Second))}
	rand.Read(h.Nonce[:])
	return h
}

func ages(path string, list []int64) trust.Property {
	p := trust.Property{Path: path}
	for _, n := range list {
		p.Values = append(p.Values, trust.Integer(n))
	}
	return p
}

// newFederation makes a federation with this organisation as its only root.
func (o *organisation) newFederation(ctx context.Context, name, property string, values ...int64) (string, error) {
	body := trust.NewFederation(o.header(), trust.FederationTerms{
		Name: name, Roots: []string{o.did}, Threshold: 1, MaxDepth: 2, Properties: []trust.Property{ages(property, values)},
	})
	done, err := o.submit(ctx, body, o.key)
	return done.Result.Federation, err
}

// accredit lets another DID attest some values of a property for a year.
func (o *organisation) accredit(ctx context.Context, federation, subject, property string, values ...int64) error {
	now := time.Now().Truncate(time.Second)
	_, err := o.submit(ctx, trust.NewGrant(o.header(), trust.GrantTerms{
		Federation: federation, Under: trust.Root, Subject: subject, Kind: trust.Attest, Properties: []trust.Property{ages(property, values)},
		ValidFrom: operation.Instant(tangle.TimeOf(now)), ValidUntil: operation.Instant(tangle.TimeOf(now.AddDate(1, 0, 0))),
	}), o.key)
	return err
}

// newStatusList makes a list of 131,072 bits that only this organisation sets.
func (o *organisation) newStatusList(ctx context.Context) (string, error) {
	done, err := o.submit(ctx, status.NewCreateList(o.header(), status.ListTerms{
		Purpose: status.Revocation, Size: status.MinSize, Writers: []string{}, Home: o.home,
	}), o.key)
	return done.Result.List, err
}

func (o *organisation) revoke(ctx context.Context, list string, index int) error {
	_, err := o.submit(ctx, status.NewSet(o.header(), list, []int{index}, nil), o.key)
	return err
}

// order says what to issue.
type order struct {
	age     int
	list    string // status list; empty: none
	index   int
	expired bool
}

// issue signs a credential about a subject. No node is asked: it is a document and a signature.
func (o *organisation) issue(subject string, what order) (json.RawMessage, error) {
	from := time.Now().UTC().Add(time.Second).Truncate(time.Second) // not before the second in which the grant was made
	until := from.AddDate(1, 0, 0)
	if what.expired {
		until = from.Add(-time.Second)
	}
	credential := did.Object{
		"@context":          []any{vc.ContextV2, did.Object{"@vocab": "urn:weft:template:AgeOver:1#"}},
		"type":              []any{"VerifiableCredential", "AgeOver"},
		"issuer":            o.did,
		"validUntil":        until.Format(time.RFC3339),
		"credentialSubject": did.Object{"id": subject, "ageOver": what.age},
	}
	if what.list != "" {
		credential["credentialStatus"] = vc.StatusEntry("https://bank.example/status-lists/"+what.list, string(status.Revocation), uint64(what.index))
	}
	return signDocument(credential, vc.ProofOptions{
		Cryptosuite: vc.SuiteJCS, VerificationMethod: o.did + "#key-1", Purpose: "assertionMethod", Created: from,
	}, o.key)
}

// person has a did:key, which no ledger knows.
type person struct {
	did        string
	key        ed25519.PrivateKey
	credential json.RawMessage
}

func (w *wallet) newPerson() person {
	key := w.newKey()
	return person{did: "did:key:" + multikey(key), key: key}
}

// present answers a challenge with a credential.
func (p person) present(credential json.RawMessage, challenge, domain string) (json.RawMessage, error) {
	c, err := did.DecodeObject(credential, did.JSONLimits{})
	if err != nil {
		return nil, err
	}
	presentation := did.Object{
		"@context": []any{vc.ContextV2}, "type": []any{"VerifiablePresentation"}, "holder": p.did, "verifiableCredential": []any{c},
	}
	return signDocument(presentation, vc.ProofOptions{
		Cryptosuite: vc.SuiteJCS, VerificationMethod: p.did + "#" + multikey(p.key), Purpose: "authentication", Created: time.Now().UTC().Truncate(time.Second),
		Challenge: challenge, Domain: []string{domain},
	}, p.key)
}

func signDocument(doc did.Object, o vc.ProofOptions, key ed25519.PrivateKey) (json.RawMessage, error) {
	signed, err := vc.AddProof(vc.Config{}, doc, o, func(b []byte) ([]byte, error) { return ed25519.Sign(key, b), nil })
	if err != nil {
		return nil, err
	}
	return json.Marshal(signed)
}

// tampered is a credential with the age written over.
func tampered(credential json.RawMessage) (json.RawMessage, error) {
	c, err := did.DecodeObject(credential, did.JSONLimits{})
	if err != nil {
		return nil, err
	}
	c["credentialSubject"].(did.Object)["ageOver"] = json.Number("18")
	return json.Marshal(c)
}
