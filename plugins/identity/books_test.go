package identity

import (
	"sync"
	"testing"

	"weft/internal/nodetest"
	"weft/plugins/identity/did"
	"weft/plugins/identity/status"
	"weft/plugins/plugintest"
)

// TestBooks gives indexes away from many goroutines: none twice, none in order, and none of a list whose book is not here.
func TestBooks(t *testing.T) {
	clock := &nodetest.Clock{}
	b := newBooks(&records{local: plugintest.NewLocal(), now: clock.Now})
	if err := b.open("issuer", "revocation", "list", status.MinSize); err != nil {
		t.Fatal(err)
	}
	const each, workers = 250, 8
	given := make(chan uint64, each*workers)
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for range each {
				index, err := b.allot("issuer", "revocation", "list")
				if err != nil {
					t.Error(err)
				}
				given <- index
			}
		})
	}
	group.Wait()
	close(given)
	seen, ascending, last := map[uint64]bool{}, 0, uint64(0)
	for index := range given {
		if seen[index] || index >= status.MinSize {
			t.Errorf("index %d twice or out of range", index)
		}
		if seen[index] = true; index > last {
			ascending++
		}
		last = index
	}
	if ascending > len(seen)*3/4 {
		t.Errorf("%d of %d are above the one before: they are not random", ascending, len(seen))
	}
	if err := b.open("issuer", "revocation", "list", status.MinSize); err != nil { // a book that is there stays
		t.Fatal(err)
	}
	var h bookHead
	if _, _, err := b.records.get(sortBook, headID("issuer", "revocation", "list"), &h); err != nil || h.Used != each*workers {
		t.Errorf("book %+v %v", h, err)
	}
	if _, err := b.allot("issuer", "revocation", "another"); err == nil {
		t.Error("an index of a list whose book is not here")
	}
	if lists := b.of("issuer", "revocation"); len(lists) != 1 || lists[0] != "list" {
		t.Errorf("lists %v", lists)
	}
	if lists := b.of("issuer", "suspension"); len(lists) != 0 {
		t.Errorf("lists %v", lists)
	}
}

// TestSameID: credentials issued under one id are revoked together, and one list serves them all.
func TestSameID(t *testing.T) {
	one := newIssuer(t)
	w := start(t, one.options(t, 1, nil, one.instance("default", map[string]any{"statusPurposes": []string{"revocation"}})))
	doc := unsigned(one.did(), "did:example:holder", did.Object{"ageOver": 18})
	issue := func() did.Object {
		var a struct{ VerifiableCredential did.Object }
		w.call(0, "POST", "/credentials/issue", did.Object{"credential": doc}).into(201, &a)
		return a.VerifiableCredential
	}
	first, second := issue(), issue()
	w.call(0, "POST", "/credentials/status", did.Object{
		"credentialId": doc["id"], "credentialStatus": did.Object{"type": "BitstringStatusListEntry", "statusPurpose": "revocation"}, "status": true,
	}).want(200)
	w.verify(0, first, nil).fails(t, "first", "status", "revoked")
	w.verify(0, second, nil).fails(t, "second", "status", "revoked")
	lists := status.ListsOf(w.Nodes[0].PluginView(Name), one.did(), 10)
	if len(lists) != 1 {
		t.Fatalf("lists %v", lists)
	}
	for range 20 {
		issue()
	}
	if now := status.ListsOf(w.Nodes[0].PluginView(Name), one.did(), 10); len(now) != 1 {
		t.Errorf("20 credentials later: lists %v", now)
	}
}
