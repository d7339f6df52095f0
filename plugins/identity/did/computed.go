package did

import (
	"strings"

	"weft/plugins"
)

// DIDKey is the did:key of a key.
func DIDKey(k PublicKey) string { return didKeyPrefix + k.Multikey() }

// computed makes the document of a did:key or did:jwk. The code is bad_value, method_not_supported for others.
func computed(u URL) (Object, error) {
	switch id := strings.TrimPrefix(u.DID, "did:"+u.Method+":"); u.Method {
	case "key":
		return keyDocument(u.DID, id)
	case "jwk":
		return jwkDocument(u.DID, id)
	}
	return nil, plugins.Reject("method_not_supported", "did:%s", u.Method)
}

// keyDocument is the document of a did:key: the key once, as a Multikey. No X25519 key is derived from an Ed25519 one.
func keyDocument(self, multikey string) (Object, error) {
	key, err := ParseMultikey(multikey)
	if err != nil {
		return nil, err
	}
	if key.Multikey() != multikey {
		return nil, plugins.Reject("bad_value", "%.100q is not the one form of its key", self)
	}
	method := Object{"id": self + "#" + multikey, "type": "Multikey", "controller": self, "publicKeyMultibase": multikey}
	return computedDocument(self, method, key.Type == X25519, key.Type != X25519), nil
}

// jwkDocument is the document of a did:jwk, whose name is the key in base64url. Member use of the key limits what it is for.
func jwkDocument(self, text string) (Object, error) {
	raw, err := parseBase64url(text)
	if err != nil {
		return nil, err
	}
	jwk, err := DecodeObject(raw, JSONLimits{MaxBytes: MaxURL})
	if err != nil {
		return nil, err
	}
	key, err := ParseJWK(jwk)
	if err != nil {
		return nil, err
	}
	method := Object{"id": self + "#0", "type": "JsonWebKey", "controller": self, "publicKeyJwk": jwk}
	signs := jwk["use"] != "enc" && key.Type != X25519
	agrees := jwk["use"] != "sig" && key.Type != Ed25519
	return computedDocument(self, method, agrees, signs), nil
}

func computedDocument(self string, method Object, agrees, signs bool) Object {
	doc := Object{"@context": []any{baseContext}, "id": self, "verificationMethod": []any{method}}
	for _, r := range Relationships() {
		if r == KeyAgreement && agrees || r != KeyAgreement && signs {
			doc[string(r)] = []any{method["id"]}
		}
	}
	return doc
}
