package audit

import (
	"fmt"
	"slices"

	"weft/plugins/identity/did"
	"weft/plugins/identity/keyfile"
)

// FromKeyFile is the identity of an unlocked key file: it signs with the first document key that can, or with the one of
// this fragment, and opens wraps with every X25519 key there is, retired ones too. The file must stay open for as long as
// the identity is used.
func FromKeyFile(f *keyfile.File, fragment string) (Identity, error) {
	who := Identity{DID: f.DID}
	for _, k := range f.With(keyfile.Document) {
		switch {
		case k.Algorithm == keyfile.X25519:
			a, err := agreement(f, k)
			if err != nil {
				return who, err
			}
			who.Agreements = append(who.Agreements, a)
		case who.Public == "" && k.ID != "" && (fragment == "" || fragment == k.ID || "#"+fragment == k.ID):
			who.Method, who.Public = f.DID+k.ID, k.Public
		}
	}
	if who.DID == "" || who.Public == "" {
		return who, fmt.Errorf("the key file has no DID with a document key that signs")
	}
	who.Sign = func(m []byte) ([]byte, error) { return f.Sign(who.Public, m) }
	return who, nil
}

func agreement(f *keyfile.File, k keyfile.Key) (Agreement, error) {
	a := Agreement{Public: k.Public}
	if k.ID != "" {
		a.To = f.DID + k.ID
	}
	var err error
	a.Private, err = f.Agreement(k.Public)
	return a, err
}

// ownKeys are the identity's present keys as a key file knows them, for what is made without a node.
func (i Identity) ownKeys() (list []ReaderKey) {
	for _, a := range i.Agreements {
		if a.To != "" && !slices.ContainsFunc(list, func(k ReaderKey) bool { return k.To == a.To }) {
			list = append(list, ReaderKey{a.To, a.Private.PublicKey().Bytes()})
		}
	}
	return list
}

// Agreement is the multikey that a did:key tells others to seal to; empty: it has none.
func (i Identity) Agreement() string {
	if len(i.Agreements) == 0 {
		return ""
	}
	return did.PublicKey{Type: did.X25519, Bytes: i.Agreements[0].Private.PublicKey().Bytes()}.Multikey()
}
