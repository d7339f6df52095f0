package did

import (
	"crypto/ed25519"

	"weft/plugins"
	"weft/tangle"
)

// Content is what create, update and recover say of a DID. It is whole each time: nothing is inherited.
type Content struct {
	Params   Params
	Document Object       // relative ids, without @context, id and controller
	Recovery *RecoverySet // of update: only while the DID has none; of recover: always
	NotAfter tangle.Time  // 0: no end
}

// NewParams are the usual parameters: any one of the update keys signs, any one of the next ones takes over.
func NewParams(updateKeys []string, nextKeyHashes ...string) Params {
	return Params{UpdateKeys: updateKeys, Threshold: 1, NextKeyHashes: nextKeyHashes, TTL: DefaultTTL}
}

// Create makes the unsigned body of the operation that makes a DID, and its name. Whoever signs it needs no node.
func Create(network tangle.ID, nonce [NonceBytes]byte, c Content) (Object, DID, error) {
	body := newBody(network, OpCreate, methodPrefix+NetworkLabel(network)+":"+placeholder, c.NotAfter)
	body["seq"], body["nonce"] = 1, base64url(nonce[:])
	c.addTo(body)
	scid, err := OpHash(body)
	if err != nil {
		return nil, DID{}, err
	}
	d := newDID(network, scid)
	body["did"] = d.text
	return body, d, nil
}

// Update makes the unsigned body of the operation that follows the head.
func Update(network tangle.ID, d DID, h Head, c Content) Object {
	body := newBody(network, OpUpdate, d.text, c.NotAfter)
	body["seq"], body["prev"] = h.Version+1, h.OpHash
	c.addTo(body)
	return body
}

// Recover makes the unsigned body of a recovery. It names the operation that set the recovery set, so it stays good
// whatever updates come before it.
func Recover(network tangle.ID, d DID, h Head, c Content) (Object, error) {
	if h.Recovery == nil || c.Recovery == nil {
		return nil, plugins.Reject("bad_value", "a recovery replaces one recovery set by another")
	}
	body := newBody(network, OpRecover, d.text, c.NotAfter)
	body["recovers"] = h.RecoverySetter
	c.addTo(body)
	return body, nil
}

// Deactivate makes the unsigned body of the last operation of a DID, signed as an update is.
func Deactivate(network tangle.ID, d DID, h Head, notAfter tangle.Time) Object {
	body := newBody(network, OpDeactivate, d.text, notAfter)
	body["seq"], body["prev"] = h.Version+1, h.OpHash
	return body
}

// DeactivateByRecovery is Deactivate, signed by the recovery keys.
func DeactivateByRecovery(network tangle.ID, d DID, h Head, notAfter tangle.Time) Object {
	body := newBody(network, OpDeactivate, d.text, notAfter)
	body["recovers"] = h.RecoverySetter
	return body
}

// Rotated are the parameters after a rotation: the pre-rotated keys come into force and sign the update; their own
// successors are announced. No hashes turn pre-rotation off.
func (p Params) Rotated(revealed []string, nextKeyHashes ...string) Params {
	p.UpdateKeys, p.NextKeyHashes = revealed, nextKeyHashes
	return p
}

// DefaultDocument is the document that clients make unless told otherwise: one key that signs, one to encrypt to.
func DefaultDocument(signing ed25519.PublicKey, agreement PublicKey) Object {
	return Object{
		"verificationMethod": []any{
			Object{"id": "#key-1", "type": "Multikey", "publicKeyMultibase": Ed25519Key(signing).Multikey()},
			Object{"id": "#key-2", "type": "Multikey", "publicKeyMultibase": agreement.Multikey()},
		},
		"authentication":       []any{"#key-1"},
		"assertionMethod":      []any{"#key-1"},
		"capabilityInvocation": []any{"#key-1"},
		"keyAgreement":         []any{"#key-2"},
	}
}

func newBody(network tangle.ID, op, did string, notAfter tangle.Time) Object {
	body := Object{"type": OperationType, "op": op, "network": network.String(), "did": did}
	if notAfter != 0 {
		body["notAfter"] = FormatTime(notAfter)
	}
	return body
}

func (c Content) addTo(body Object) {
	body["params"], body["doc"] = c.Params.object(), c.Document
	if c.Document == nil {
		body["doc"] = Object{}
	}
	if c.Recovery != nil {
		body["recovery"] = Object{"keyHashes": texts(c.Recovery.KeyHashes), "threshold": c.Recovery.Threshold}
	}
}

// object is the form of the parameters in an operation.
func (p Params) object() Object {
	o := Object{"updateKeys": texts(p.UpdateKeys), "nextKeyHashes": texts(p.NextKeyHashes)}
	if len(p.UpdateKeys) > 0 {
		o["threshold"] = p.Threshold
	}
	if len(p.Controllers) > 0 {
		o["controllers"], o["controllerThreshold"] = texts(p.Controllers), p.ControllerThreshold
	}
	if p.SubjectType != "" {
		o["subjectType"] = p.SubjectType
	}
	if p.TTL != DefaultTTL {
		o["ttl"] = p.TTL
	}
	if len(p.Compromised) > 0 {
		o["compromised"] = texts(p.Compromised)
	}
	return o
}

func texts(list []string) []any {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = s
	}
	return out
}
