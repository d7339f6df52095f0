package sim

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/sha256"
	"slices"

	"weft/plugins/streams/channel"
)

// sealTo is HPKE in base mode with the suite of channels (RFC 9180, sections 4.1 and 5.1), with an ephemeral key that is
// given: the standard library draws one, and then no seed would give the same run twice. Nodes and readers open what it
// makes with the standard library.
func sealTo(ephemeral *ecdh.PrivateKey, public, info, text []byte) []byte {
	to, err := ecdh.X25519().NewPublicKey(public)
	if err != nil {
		panic(err) // our own keys
	}
	dh, err := ephemeral.ECDH(to)
	if err != nil {
		panic(err)
	}
	enc := ephemeral.PublicKey().Bytes()
	kem, suite := []byte("KEM\x00\x20"), []byte("HPKE\x00\x20\x00\x01\x00\x02")
	shared := labeledExpand(kem, labeledExtract(kem, nil, "eae_prk", dh), "shared_secret", slices.Concat(enc, public), 32)
	context := slices.Concat([]byte{0}, labeledExtract(suite, nil, "psk_id_hash", nil), labeledExtract(suite, nil, "info_hash", info))
	secret := labeledExtract(suite, shared, "secret", nil)
	block, err := aes.NewCipher(labeledExpand(suite, secret, "key", context, 32))
	if err != nil {
		panic(err) // 32 bytes
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return aead.Seal(enc, labeledExpand(suite, secret, "base_nonce", context, 12), text, nil)
}

func labeledExtract(suite, salt []byte, label string, text []byte) []byte {
	b, err := hkdf.Extract(sha256.New, slices.Concat([]byte("HPKE-v1"), suite, []byte(label), text), salt)
	if err != nil {
		panic(err)
	}
	return b
}

func labeledExpand(suite, secret []byte, label string, context []byte, n int) []byte {
	b, err := hkdf.Expand(sha256.New, secret, string(slices.Concat([]byte{0, byte(n)}, []byte("HPKE-v1"), suite, []byte(label), context)), n)
	if err != nil {
		panic(err)
	}
	return b
}

// wrap seals an epoch key to a party.
func (x *tools) wrap(k channel.Key, number uint32, to *party) channel.Wrap {
	info := slices.Concat([]byte("weft/channel/wrap/1"), x.id[:], be32(number), []byte(to.to))
	return channel.Wrap{To: to.to, Ciphertext: sealTo(x.newAgreement(), to.agreement.PublicKey().Bytes(), info, k[:])}
}

func (x *tools) newAgreement() *ecdh.PrivateKey {
	k, err := ecdh.X25519().NewPrivateKey(x.bytes(32))
	if err != nil {
		panic(err) // 32 bytes
	}
	return k
}
