package streams

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/plugintest"
	"weft/plugins/streams/channel"
	"weft/tangle"
)

// TestContract holds the ledger part against what nodes ask of ledger plugins: actors are did:key, which need no identity.
func TestContract(t *testing.T) {
	network := tangle.ID{1}
	var key ed25519.PrivateKey
	plugintest.Run(t, Maker(), plugintest.Script{Network: network, Generate: func(r *rand.Rand) plugins.Submission {
		seed := sha256.Sum256(fmt.Append(nil, "person ", r.IntN(4)))
		key = ed25519.NewKeyFromSeed(seed[:])
		now := tangle.Time(1_800_000_000_000)
		h := channel.Header{Network: network, Actor: did.DIDKey(did.Ed25519Key(key.Public().(ed25519.PublicKey))), Created: now, NotAfter: now + 86_400_000}
		h.Nonce[0] = byte(r.IntN(3))
		body := channel.NewCreate(h, channel.CreateTerms{Access: channel.Public, Profile: channel.Stream, Settings: channel.Settings{Name: ptr(fmt.Sprint("name ", r.IntN(5)))}})
		if r.IntN(2) == 0 {
			owner := h
			h.Channel = channel.NewID(network, owner.Actor, owner.Nonce)
			h.Nonce[1] = byte(r.IntN(200))
			h.After = channel.After{Head: channel.FirstHead(h.Channel)}
			body = channel.NewWrite(h, channel.RecordTerms{RecordType: "note", Public: did.Object{"n": json.Number(fmt.Sprint(r.IntN(9)))}})
		}
		entry, err := channel.Sign(body, key)
		if err != nil {
			t.Fatal(err)
		}
		return plugins.Submission{Kind: channel.Kind, Data: entry}
	}})
}
