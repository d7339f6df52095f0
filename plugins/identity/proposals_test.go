package identity

import (
	"crypto/ed25519"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"weft/plugins/identity/did"
)

func bearer(token string) []string { return []string{"Authorization", "Bearer " + token} }

// proofOf is the proof of one key over an operation's body.
func proofOf(t *testing.T, body did.Object, k ed25519.PrivateKey) map[string]any {
	t.Helper()
	raw, err := did.Sign(body, k)
	if err != nil {
		t.Fatal(err)
	}
	var o struct{ Proof []map[string]any }
	if err := json.Unmarshal(raw, &o); err != nil {
		t.Fatal(err)
	}
	return o.Proof[0]
}

// twoOfThree is the unsigned creation of a DID that two of three keys change.
func twoOfThree(t *testing.T, w *network) (did.Object, did.DID, []ed25519.PrivateKey) {
	t.Helper()
	keys := []ed25519.PrivateKey{keyOf("a"), keyOf("b"), keyOf("c")}
	c := content(keys[0], keys[0])
	c.Params.UpdateKeys = []string{multikeyOf(keys[0]), multikeyOf(keys[1]), multikeyOf(keys[2])}
	c.Params.Threshold = 2
	body, d, err := did.Create(w.id, [did.NonceBytes]byte{7}, c)
	if err != nil {
		t.Fatal(err)
	}
	return body, d, keys
}

func TestProposals(t *testing.T) {
	w := start(t, networkOptions{})
	anna, ben := w.create(0, "anna"), w.create(0, "ben")
	a, b := w.login(0, anna), w.login(0, ben)
	body, d, keys := twoOfThree(t, w)
	w.call(0, "POST", "/api/v1/proposals", map[string]any{"operation": body}).refused(401, "unauthenticated")
	var p proposalView
	r := w.call(0, "POST", "/api/v1/proposals", map[string]any{"operation": body}, bearer(a)...).into(201, &p)
	if p.Status != "open" || p.Missing != 2 || len(p.Signers) != 0 || r.header.Get("Location") != "/api/v1/proposals/"+p.ID {
		t.Fatalf("%+v", p)
	}
	add := func(token string, proof map[string]any) reply {
		return w.call(0, "POST", "/api/v1/proposals/"+p.ID+"/proofs", map[string]any{"proof": proof}, bearer(token)...)
	}
	add(b, proofOf(t, body, keys[1])).into(200, &p)
	if p.Status != "open" || p.Missing != 1 || !slices.Equal(p.Signers, []string{multikeyOf(keys[1])}) {
		t.Errorf("%+v", p)
	}
	add(b, proofOf(t, body, keys[1])).into(200, &p) // once more is no second proof
	if p.Missing != 1 {
		t.Errorf("%+v", p)
	}
	other, _, _ := twoOfThree(t, w)
	other["nonce"] = "AAAAAAAAAAAAAAAAAAAAAA"
	add(b, proofOf(t, other, keys[0])).refused(403, "bad_signature")
	forged := proofOf(t, body, keys[0])
	forged["created"] = "2026-01-01T00:00:00Z"
	add(b, forged).refused(422, "bad_value")
	add(b, map[string]any{}).refused(422, "bad_value")
	add(b, proofOf(t, body, keyOf("stranger"))).into(200, &p)
	if p.Status != "open" || p.Missing != 1 {
		t.Errorf("a stranger's proof counts: %+v", p)
	}
	w.call(0, "GET", "/api/v1/proposals/none", nil, bearer(b)...).refused(404, "not_found")
	add(a, proofOf(t, body, keys[2])).into(200, &p)
	if p.Status != "published" || p.Missing != 0 {
		t.Errorf("%+v", p)
	}
	w.create(0, "clara") // is ordered after it
	w.call(0, "GET", identifiers(d.String()), nil).want(200)
	w.call(0, "GET", "/api/v1/proposals/"+p.ID, nil, bearer(b)...).into(200, &p)
	if p.Status != "published" {
		t.Errorf("%+v", p)
	}
	w.clock.Forward(proposalLife + time.Minute)
	w.call(0, "GET", "/api/v1/proposals/"+p.ID, nil, bearer(w.login(0, anna))...).refused(404, "not_found")
}

// TestProposalsThatCannotPass are refused at once, or say why.
func TestProposalsThatCannotPass(t *testing.T) {
	w := start(t, networkOptions{})
	anna := w.create(0, "anna")
	token := w.login(0, anna)
	propose := func(operation any) reply {
		return w.call(0, "POST", "/api/v1/proposals", map[string]any{"operation": operation}, bearer(token)...)
	}
	head, _, _ := did.ReadHead(w.Nodes[0].PluginView(Name), anna.did)
	update := did.Update(w.id, anna.did, head, content(anna.update, keyOf("next")))
	stale := did.Update(w.id, anna.did, did.Head{Version: 4, OpHash: head.OpHash}, content(anna.update, anna.key))
	propose(stale).refused(409, "bad_prev")
	propose(did.Object{"type": "other"}).refused(422, "bad_value")
	propose(did.Object{"type": "weft/trust/1"}).refused(422, "bad_value")
	propose("text").want(400)
	var p proposalView
	propose(update).into(201, &p)
	again := content(anna.update, anna.key) // whose key logged in
	again.Params.TTL = 7
	w.update(0, anna, again).want(200)
	w.call(0, "GET", "/api/v1/proposals/"+p.ID, nil, bearer(token)...).into(200, &p)
	if p.Status != "refused" || p.Code != "bad_prev" {
		t.Errorf("%+v", p)
	}
}
