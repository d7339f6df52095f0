package keyfile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"weft/config/strict"
	"weft/plugins/identity/did"
)

const fileType = "weft/key/1"

// fileForm and keyForm are a key file as JSON.
type fileForm struct {
	Type string    `json:"type"`
	DID  string    `json:"did,omitempty"`
	Keys []keyForm `json:"keys"`
}

type keyForm struct {
	Role   Role      `json:"role"`
	ID     string    `json:"id,omitempty"`
	Alg    Algorithm `json:"alg"`
	Public string    `json:"public"`
	Secret sealed    `json:"secret"`
}

// Parse reads a key file, locked. Every fault has the code bad_key_file or too_large.
func Parse(raw []byte) (*File, error) {
	if len(raw) > MaxFileBytes {
		return nil, fault("too_large", "a key file has at most %d bytes", MaxFileBytes)
	}
	var form fileForm
	if err := strict.Decode(raw, &form, true); err != nil {
		return nil, fault("bad_key_file", "not a key file: %s", quiet(err))
	}
	if form.Type != fileType {
		return nil, fault("bad_key_file", "not a key file: its type is not %s", fileType)
	}
	if len(form.Keys) > MaxKeys {
		return nil, fault("too_large", "a key file holds at most %d keys", MaxKeys)
	}
	f := &File{DID: form.DID}
	if err := checkDID(f.DID); err != nil {
		return nil, asFormat(err)
	}
	for i, k := range form.Keys {
		e := entry{Key: Key{k.Role, k.ID, k.Alg, k.Public}, sealed: k.Secret}
		if err := f.admit(e); err != nil {
			return nil, fault("bad_key_file", "key %d: %s", i+1, err)
		}
		f.keys = append(f.keys, e)
	}
	return f, nil
}

// admit checks one key of a file against the rules and against the keys before it.
func (f *File) admit(e entry) error {
	if err := checkKey(e.Key); err != nil {
		return err
	}
	if err := e.sealed.check(); err != nil {
		return err
	}
	if len(f.keys) > 0 && (f.keys[0].sealed.KDF == kdfNone) != (e.sealed.KDF == kdfNone) {
		return fmt.Errorf("some keys are encrypted and some are not")
	}
	return f.free(e.Key)
}

// Bytes is the file as JSON, with secrets sealed.
func (f *File) Bytes() ([]byte, error) {
	form := fileForm{Type: fileType, DID: f.DID, Keys: []keyForm{}}
	for _, e := range f.keys {
		form.Keys = append(form.Keys, keyForm{e.Role, e.ID, e.Algorithm, e.Public, e.sealed})
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	err := enc.Encode(form)
	return out.Bytes(), err
}

func checkKey(k Key) error {
	switch {
	case !isRole(k.Role):
		return fault("bad_value", "no role is called %q", k.Role)
	case k.ID != "" && k.Role != Document:
		return fault("bad_value", "only document keys have an id")
	case k.ID != "" && !isFragment(k.ID):
		return fault("bad_value", "id %q: want # and 1 to %d of A-Z a-z 0-9 . - _", k.ID, MaxIDBytes-1)
	case k.Algorithm == X25519 && k.Role != Document:
		return fault("bad_value", "a key of kind %s signs nothing: it can only be a document key", X25519)
	}
	public, err := did.ParseMultikey(k.Public)
	if err != nil {
		return fault("bad_value", "public: %s", err)
	}
	if string(public.Type) != string(k.Algorithm) {
		return fault("bad_value", "public is not a key of kind %s", k.Algorithm)
	}
	return nil
}

func isFragment(id string) bool {
	name, ok := strings.CutPrefix(id, "#")
	return ok && name != "" && len(id) <= MaxIDBytes && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_") == ""
}

func checkDID(identity string) error {
	printable := strings.IndexFunc(identity, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
	if identity == "" || len(identity) <= MaxDIDBytes && strings.HasPrefix(identity, "did:") && printable {
		return nil
	}
	return fault("bad_value", "did: want a DID of at most %d bytes", MaxDIDBytes)
}

// asFormat makes a fault of a value one of the file that holds it.
func asFormat(err error) error { return fault("bad_key_file", "%s", err) }

// quiet shortens a report on a file that may be anything: what it quotes could be a secret.
func quiet(err error) string {
	first, _, _ := strings.Cut(err.Error(), "\n")
	head, _, _ := strings.Cut(first, ", have ")
	return head
}
