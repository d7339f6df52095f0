package agecheck

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"sync"
	"testing"
	"time"

	"weft/client"
	"weft/config"
	"weft/config/genesis"
	"weft/gossip/wire"
	"weft/internal/store"
	"weft/node"
	"weft/plugins"
	"weft/plugins/identity"
	"weft/plugins/identity/did"
	"weft/tangle"
)

// TestTour tells the story on four nodes and listens to every byte between it and them: no private key is among them.
func TestTour(t *testing.T) {
	var heard traffic
	tour := Tour{Say: t.Logf}
	for _, url := range startNodes(t, 4) {
		c, err := client.New(client.Config{URL: url, HTTP: &http.Client{Transport: &heard, Timeout: 40 * time.Second}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		tour.Nodes = append(tour.Nodes, c)
	}
	if err := tour.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := logIn(t, tour.bank); err != nil {
		t.Fatal(err)
	}
	if len(tour.wallet.keys) < 11 || len(heard.bytes) < 50_000 {
		t.Fatalf("%d keys, %d bytes heard: the test did not listen", len(tour.wallet.keys), len(heard.bytes))
	}
	if !bytes.Contains(heard.bytes, []byte(multikey(tour.bank.key))) {
		t.Error("not even the public key was heard: the test did not listen")
	}
	for i, key := range tour.wallet.keys {
		for form, secret := range secretForms(key) {
			if bytes.Contains(heard.bytes, secret) {
				t.Errorf("key %d was sent or answered in the form %s", i, form)
			}
		}
	}
}

// logIn signs a challenge of the bank's own node.
func logIn(t *testing.T, o *organisation) error {
	key := client.LoginKey{DID: o.did, Method: o.did + "#key-1", Sign: func(b []byte) ([]byte, error) { return ed25519.Sign(o.key, b), nil }}
	token, err := o.node.Login(t.Context(), key, "", time.Now())
	if err != nil {
		return err
	}
	_, err = o.node.WithToken(token.Token).Introspect(t.Context(), token.Token)
	return err
}

// secretForms are the ways in which a private key could be written.
func secretForms(key ed25519.PrivateKey) map[string][]byte {
	seed := key.Seed()
	return map[string][]byte{
		"raw": seed, "hex": []byte(hex.EncodeToString(seed)), "base64": []byte(base64.RawStdEncoding.EncodeToString(seed)[:40]),
		"base64url": []byte(base64.RawURLEncoding.EncodeToString(seed)[:40]), "base58": []byte(did.Base58(seed)),
		"multibase": []byte(did.Base58(append([]byte{0x80, 0x26}, seed...))), "whole base58": []byte(did.Base58(key)),
	}
}

// traffic keeps what goes over the wire.
type traffic struct {
	mu    sync.Mutex // guards bytes
	bytes []byte
}

// RoundTrip implements http.RoundTripper.
func (h *traffic) RoundTrip(r *http.Request) (*http.Response, error) {
	sent, err := httputil.DumpRequestOut(r, true)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	got, err := httputil.DumpResponse(response, true)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.bytes = append(append(h.bytes, sent...), got...)
	return response, err
}

// startNodes runs members' nodes in this process and returns their URLs.
func startNodes(t *testing.T, n int) (urls []string) {
	t.Helper()
	g := &genesis.Genesis{
		Version: genesis.Version, Network: "eshop", Time: tangle.TimeOf(time.Now().Add(-time.Minute)),
		Limits: tangle.DefaultLimits(), Consensus: genesis.DefaultConsensus(), Plugins: []genesis.Plugin{{Name: identity.Name}},
	}
	var keys []ed25519.PrivateKey
	for i := range n {
		seed := sha256.Sum256(fmt.Appendf(nil, "member %d", i))
		keys = append(keys, ed25519.NewKeyFromSeed(seed[:]))
		g.Members = append(g.Members, genesis.Member{Key: config.MemberOf(keys[i]), Name: fmt.Sprint("m", i), Roles: []string{genesis.RoleValidator}})
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, n)
	started := 0
	t.Cleanup(func() {
		cancel()
		for range started {
			if err := <-done; err != nil {
				t.Errorf("node: %v", err)
			}
		}
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	var peers []wire.Peer
	for _, key := range keys {
		api := config.Default().API
		api.Listen, api.Read, api.Submit, api.Limits = "127.0.0.1:0", config.AccessOpen, config.AccessOpen, config.Limits{}
		one, err := node.Open(node.Config{
			Genesis: g, Key: key, Store: store.NewMemory(), Tuning: node.DefaultTuning(), Makers: []plugins.Maker{identity.Maker()},
			Sections: map[string]json.RawMessage{}, API: node.APIConfig{API: api}, Listen: []string{"/ip4/127.0.0.1/tcp/0"}, Peers: peers,
			Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		})
		if err != nil {
			t.Fatal(err)
		}
		peers = append(peers, wire.Peer{Member: config.MemberOf(key), Addrs: one.WireAddrs()})
		urls = append(urls, "http://"+one.APIAddr())
		started++
		go func() { done <- one.Run(ctx) }()
	}
	return urls
}
