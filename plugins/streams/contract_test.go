package streams

import (
	"bytes"
	"crypto/ed25519"
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

// identities is a state of the plugin identity with some DIDs, and their keys.
func identities(t *testing.T, network tangle.ID, n int) (*plugintest.State, []string, []ed25519.PrivateKey) {
	t.Helper()
	state := plugintest.NewState(nil)
	state.Begin()
	limits := did.DefaultLimits()
	limits.MaxCreatesPerMinute = n
	var dids []string
	var keys []ed25519.PrivateKey
	for i := range n {
		key, agreement := keysOf(fmt.Sprint("person ", i))
		public := key.Public().(ed25519.PublicKey)
		body, d, err := did.Create(network, [did.NonceBytes]byte{byte(i)}, did.Content{
			Params:   did.NewParams([]string{multikeyOf(key)}),
			Document: did.DefaultDocument(public, did.PublicKey{Type: did.X25519, Bytes: agreement.PublicKey().Bytes()}),
		})
		if err != nil {
			t.Fatal(err)
		}
		entry, err := did.Sign(body, key)
		if err != nil {
			t.Fatal(err)
		}
		op, err := did.Decode(network, limits, entry)
		if err != nil {
			t.Fatal(err)
		}
		writes, err := did.Next(state, limits, op, did.Place{Time: 1, Position: tangle.Position(i)})
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range writes {
			state.Set(w.Key, w.Value)
		}
		state.Commit()
		state.Begin()
		dids, keys = append(dids, d.String()), append(keys, key)
	}
	return state, dids, keys
}

// TestContract holds the ledger part against what nodes ask of ledger plugins.
func TestContract(t *testing.T) {
	network := tangle.ID{1}
	state, dids, keys := identities(t, network, 4)
	generate := func(r *rand.Rand) plugins.Submission {
		who := r.IntN(len(dids))
		now := tangle.Time(1_800_000_000_000)
		h := channel.Header{Network: network, Actor: dids[who], Created: now, NotAfter: now + 86_400_000}
		h.Nonce[0] = byte(r.IntN(3))
		body := channel.NewCreate(h, channel.CreateTerms{
			Access: channel.Public, Profile: channel.Stream,
			Settings: channel.Settings{Name: ptr(fmt.Sprint("name ", r.IntN(5))), Tags: &[]string{"customs", "docs"}},
		})
		what := r.IntN(9)
		if what > 2 {
			h.Channel = channel.NewID(network, h.Actor, h.Nonce)
			h.Nonce[1] = byte(1 + r.IntN(200))
			h.After = channel.After{Head: channel.FirstHead(h.Channel)}
		}
		terms := channel.RecordTerms{RecordType: "note", Public: did.Object{"n": json.Number(fmt.Sprint(r.IntN(9)))}}
		switch what {
		case 3, 4:
			body = channel.NewWrite(h, terms)
		case 5:
			terms.Tag = []string{"customs", "docs", "unknown"}[r.IntN(3)]
			body = channel.NewWrite(h, terms)
		case 6:
			terms.Supersedes = 1 + r.Uint64N(4)
			body = channel.NewWrite(h, terms)
		case 7:
			var err error
			if body, _, err = channel.SealBlob(noise{}, channel.Sealer{}, channel.NewWrite(h, terms), did.Object{}, bytes.NewReader([]byte{byte(r.IntN(9))}), 1,
				func(int, []byte) error { return nil }); err != nil {
				t.Fatal(err)
			}
		case 8:
			body = channel.NewErase(h, 1+r.Uint64N(6), "x")
		}
		entry, err := channel.Sign(body, keys[who])
		if err != nil {
			t.Fatal(err)
		}
		return plugins.Submission{Kind: channel.Kind, Data: entry}
	}
	plugintest.Run(t, Maker(), plugintest.Script{Network: network, Generate: generate, Peers: map[string]plugins.View{identityPlugin: state}})
}
