package identity

import (
	"crypto/ecdh"
	"crypto/hpke"
	"encoding/base64"
	"net/http"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/rest"
)

// custodyInfo binds a sealed body to its purpose.
const custodyInfo = "weft/custody/1"

// custodySuite names how bodies are sealed: HPKE (RFC 9180) in base mode.
const custodySuite = "DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM"

// sealedBody is a credential that only its holder can read.
type sealedBody struct {
	Method     string `json:"verificationMethod"` // whose key opens it
	Suite      string `json:"suite"`
	Info       string `json:"info"`
	Ciphertext string `json:"ciphertext"` // base64url of the encapsulated key, 32 bytes, and the ciphertext
}

// sealFor encrypts a body to the subject's key for key agreement. Who reads the disk of this node reads nothing.
func (x *identity) sealFor(subject string, body []byte) (s sealedBody, err error) {
	m, err := x.agreement(subject)
	if err != nil {
		return s, err
	}
	public, err := ecdh.X25519().NewPublicKey(m.Key.Bytes)
	if err != nil {
		return s, plugins.Reject("bad_value", "%s: %s", m.ID, err)
	}
	key, err := hpke.NewDHKEMPublicKey(public)
	if err != nil {
		return s, err
	}
	sealed, err := hpke.Seal(key, hpke.HKDFSHA256(), hpke.AES256GCM(), []byte(custodyInfo), body)
	if err != nil {
		return s, plugins.Reject("bad_value", "%s: %s", m.ID, err)
	}
	return sealedBody{m.ID, custodySuite, custodyInfo, base64.RawURLEncoding.EncodeToString(sealed)}, nil
}

// agreement is the first X25519 method in keyAgreement of the subject's document.
func (x *identity) agreement(subject string) (did.Method, error) {
	r := did.Resolve(x.host.View(), subject, did.Options{})
	list, _ := r.Document[string(did.KeyAgreement)].([]any)
	for _, item := range list {
		address, _ := item.(string)
		m, err := did.Lookup(x.host.View(), address, did.KeyAgreement, 0)
		if err == nil && m.Key.Type == did.X25519 {
			return m, nil
		}
	}
	return did.Method{}, plugins.Reject("bad_value", "custody: %.200s has no X25519 key in keyAgreement", subject)
}

// getCustody is GET /api/v1/credentials/{id}/custody: for the holder alone.
func (x *identity) getCustody(w http.ResponseWriter, r *http.Request) error {
	var s sealedBody
	owner, found, err := x.records.get(sortCustody, r.PathValue("id"), &s)
	if err != nil {
		return err
	}
	if !found || owner != plugins.CallerOf(r.Context()).DID {
		return plugins.Reject("not_found", "no body of such a credential is kept for the caller")
	}
	rest.NoStore(w)
	return rest.Answer(w, http.StatusOK, s)
}

// eraseCustody is DELETE /api/v1/credentials/{id}/custody: for the holder and administrators.
func (x *identity) eraseCustody(w http.ResponseWriter, r *http.Request) error {
	id, caller := r.PathValue("id"), plugins.CallerOf(r.Context())
	rec, found, err := x.records.read(sortCustody, id)
	if err != nil {
		return err
	}
	if !found || !sees(caller, rec.Owner) {
		return plugins.Reject("not_found", "no body of such a credential is kept for the caller")
	}
	if !changes(caller, rec.Owner) {
		return plugins.Reject("forbidden", "the holder erases it: log in with its DID")
	}
	if err := x.records.erase(sortCustody, id, rec.Owner); err != nil {
		return err
	}
	return rest.None(w)
}
