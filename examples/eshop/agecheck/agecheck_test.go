package agecheck

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/http/httputil"
	"sync"
	"testing"
	"time"

	"weft/client"
	"weft/config/genesis"
	"weft/internal/nodetest"
	"weft/plugins/identity"
	"weft/plugins/identity/did"
)

// TestTour tells the story on four nodes and listens to every byte between it and them: no private key is among them.
func TestTour(t *testing.T) {
	var heard traffic
	tour := Tour{Say: t.Logf}
	w := nodetest.New(t, 4, genesis.Plugin{Name: identity.Name})
	for range 4 {
		w.Open(w.Next(identity.Maker()))
	}
	for _, n := range w.Nodes {
		c, err := client.New(client.Config{URL: "http://" + n.APIAddr(), HTTP: &http.Client{Transport: &heard, Timeout: 40 * time.Second}})
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
