package identity

import (
	"bytes"
	"compress/gzip"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weft/plugins/identity/did"
	"weft/plugins/identity/status"
	"weft/plugins/identity/vc"
	"weft/plugins/rest"
	"weft/tangle"
)

// newList makes a status list of an actor through node i, whose member is its home.
func (w *network) newList(i int, actor string, key ed25519.PrivateKey, purpose status.Purpose) string {
	w.t.Helper()
	var node struct{ Member tangle.Member }
	w.call(i, "GET", "/api/v1/node", nil).into(200, &node)
	body := status.NewCreateList(w.header(actor), status.ListTerms{Purpose: purpose, Size: status.MinSize, Home: node.Member})
	return w.send(i, "/api/v1/status-lists", body, key).want(201).opHashOf()
}

// entered adds a status entry to a credential.
func entered(doc did.Object, list, purpose string, index uint64) did.Object {
	addEntries(doc, []statusRef{{List: list, Purpose: purpose, Index: index, URL: "https://issuer.example/status-lists/" + list}})
	return doc
}

func TestStatusOnTheLedger(t *testing.T) {
	w := start(t, networkOptions{nodes: 2}).ready()
	maker, other := w.create(0, "maker"), w.create(0, "other")
	revocations, suspensions := w.newList(0, maker.did.String(), maker.key, status.Revocation), w.newList(0, maker.did.String(), maker.key, status.Suspension)
	set := func(i int, p person, list string, on, off []int) reply {
		return w.send(i, "/api/v1/status-lists/"+list+"/operations", status.NewSet(w.header(p.did.String()), list, on, off), p.key)
	}
	credential := func(p person, list, purpose string, index uint64) did.Object {
		return w.issue(p, entered(unsigned(p.did.String(), "did:example:holder", did.Object{"ageOver": 18}), list, purpose, index))
	}
	good := credential(maker, revocations, "revocation", 999)
	w.verify(1, good, nil).passes(t, "before")

	thousand := make([]int, 1000)
	for i := range thousand {
		thousand[i] = i
	}
	set(0, maker, revocations, thousand, nil).want(200)
	began := time.Now()
	w.within(5*time.Second, "revoked on node 1", func() bool { return w.verify(1, good, nil).failures()["status"] == "revoked" })
	t.Logf("refused on the other node after %s", time.Since(began).Round(time.Millisecond))
	w.verify(1, good, nil).fails(t, "one of a thousand", "status", "revoked")
	w.verify(1, credential(maker, revocations, "revocation", 1000), nil).passes(t, "the one behind them")
	w.verify(0, credential(maker, revocations, "revocation", status.MinSize), nil).fails(t, "index out of range", "status", "bad_index")
	w.verify(0, credential(maker, revocations, "suspension", 1000), nil).fails(t, "wrong purpose", "status", "purpose_mismatch")
	w.verify(0, credential(other, revocations, "revocation", 1000), nil).fails(t, "another issuer's list", "status", "list_issuer")
	w.verify(0, good, did.Object{"policy": did.Object{"maxStatusAge": 1}}).fails(t, "stale", "status", "stale")
	set(0, other, revocations, []int{5}, nil).refused(403, "not_entitled")
	set(0, maker, revocations, nil, []int{5}).refused(422, "list_final")
	set(0, maker, revocations, []int{status.MinSize}, nil).refused(422, "bad_index")

	suspended := credential(maker, suspensions, "suspension", 7)
	raw, err := did.Sign(status.NewSet(w.header(maker.did.String()), suspensions, []int{7}, nil), maker.key)
	if err != nil {
		t.Fatal(err)
	}
	path := "/api/v1/status-lists/" + suspensions + "/operations?wait=final&timeout=30s"
	w.call(0, "POST", path, raw).want(200)
	w.verify(0, suspended, nil).fails(t, "suspended", "status", "suspended")
	set(1, maker, suspensions, nil, []int{7}).want(200)
	w.within(5*time.Second, "reinstated", func() bool { return w.verify(0, suspended, nil).Verified })
	w.call(1, "POST", path, raw).want(200) // the same operation again: its present state, and no second effect
	w.verify(0, suspended, nil).passes(t, "after the replay")
	w.verify(1, suspended, nil).passes(t, "after the replay, on the node that got it")
	w.call(0, "POST", "/api/v1/status-lists/"+revocations+"/operations", raw).refused(422, "bad_value")
	w.call(0, "POST", "/api/v1/status-lists", raw).refused(422, "bad_value")
}

// TestSpends spends one value on two nodes at once.
func TestSpends(t *testing.T) {
	w := start(t, networkOptions{nodes: 2}).ready()
	holder := w.create(0, "holder")
	var secret [status.SecretBytes]byte
	rand.Read(secret[:])
	replies := make(chan reply, 2)
	for i := range 2 {
		body := status.NewSpend(w.header(holder.did.String()), secret)
		go func() { replies <- w.send(i, "/api/v1/spends", body, holder.key) }()
	}
	codes := []int{(<-replies).status, (<-replies).status}
	slices.Sort(codes)
	if !slices.Equal(codes, []int{200, 409}) {
		t.Errorf("two spends: %v, want one accepted and one already_used", codes)
	}
	w.send(0, "/api/v1/spends", status.NewSpend(w.header(holder.did.String()), secret), holder.key).refused(409, "already_used")
}

func TestUploadedList(t *testing.T) {
	maker := holderOf("maker")
	w := start(t, networkOptions{settings: func(int) string { return roleRules("issuer", maker.did()) }})
	bearer := w.enter(0, maker)
	list := w.newList(0, maker.did(), maker.key, status.Revocation)
	bits, err := vc.NewBitstring(status.MinSize)
	if err != nil {
		t.Fatal(err)
	}
	address := "https://issuer.example/status-lists/" + list
	copyOf := func(purpose string, bits vc.Bitstring) did.Object {
		doc, err := vc.ListCredential(vc.ListOptions{ID: address, Issuer: maker.did(), Purpose: purpose, ValidFrom: w.clock.Now().Add(-time.Second)}, bits)
		if err != nil {
			t.Fatal(err)
		}
		return maker.sign(t, doc, w.clock.Now())
	}
	put := func(doc did.Object) reply { return w.call(0, "PUT", "/api/v1/status-lists/"+list, doc, bearer...) }
	w.call(0, "GET", "/status-lists/"+list, nil).refused(404, "unsigned_list")
	w.call(0, "PUT", "/api/v1/status-lists/"+list, copyOf("revocation", bits)).refused(401, "unauthenticated")
	put(copyOf("suspension", bits)).refused(422, "bad_value")
	wrong := slices.Clone(bits)
	wrong.Set(3, true)
	put(copyOf("revocation", wrong)).refused(422, "bad_value")
	tampered := copyOf("revocation", bits)
	tampered["name"] = "other"
	put(tampered).refused(422, "bad_value")
	put(copyOf("revocation", bits)).want(204)
	w.call(0, "GET", "/status-lists/"+list, nil).want(200)
	w.send(0, "/api/v1/status-lists/"+list+"/operations", status.NewSet(w.header(maker.did()), list, []int{3}, nil), maker.key).want(200)
	w.call(0, "GET", "/status-lists/"+list, nil).refused(404, "unsigned_list")
	put(copyOf("revocation", wrong)).want(204)
	w.call(0, "GET", "/status-lists/"+list, nil).want(200)
}

// foreign is somebody else's server of status lists, contexts and schemas. It counts who connects.
type foreign struct {
	*httptest.Server
	connections atomic.Int64
	lists       map[string]func() (mediaType string, body []byte)
	caFile      string
}

func newForeign(t *testing.T) *foreign {
	t.Helper()
	f := &foreign{lists: map[string]func() (string, []byte){}, caFile: filepath.Join(t.TempDir(), "ca.pem")}
	f.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		list := f.lists[r.URL.Path]
		if list == nil {
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
			return
		}
		mediaType, body := list()
		w.Header().Set("Content-Type", mediaType)
		_, _ = w.Write(body)
	}))
	f.Server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			f.connections.Add(1)
		}
	}
	f.StartTLS()
	t.Cleanup(f.Close)
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.Certificate().Raw})
	if err := os.WriteFile(f.caFile, block, 0o600); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *foreign) host() string { return strings.TrimPrefix(f.URL, "https://") }

// settings let a node fetch from the server, also though it is on this machine.
func (f *foreign) settings(private bool) string {
	fetch := map[string]any{"allow": []string{f.host()}, "caFile": f.caFile}
	if private {
		fetch["private"] = []string{f.host()}
	}
	raw, err := json.Marshal(map[string]any{"fetch": fetch})
	if err != nil {
		panic(err)
	}
	return string(raw)
}

func TestForeignLists(t *testing.T) {
	f := newForeign(t)
	w := start(t, networkOptions{settings: func(int) string { return f.settings(true) }})
	issuer, other := holderOf("foreign"), holderOf("other foreign")
	bits, err := vc.NewBitstring(status.MinSize)
	if err != nil {
		t.Fatal(err)
	}
	bits.Set(5, true)
	serve := func(path string, by keyHolder, signed time.Time, change func(doc did.Object)) {
		doc, err := vc.ListCredential(vc.ListOptions{ID: f.URL + path, Issuer: by.did(), Purpose: "revocation", ValidFrom: signed}, bits)
		if err != nil {
			t.Fatal(err)
		}
		if change != nil {
			change(doc["credentialSubject"].(did.Object))
		}
		body, err := json.Marshal(by.sign(t, doc, signed))
		if err != nil {
			t.Fatal(err)
		}
		f.lists[path] = func() (string, []byte) { return rest.TypeJSON, body }
	}
	now := w.clock.Now()
	serve("/good", issuer, now, nil)
	serve("/others", other, now, nil)
	serve("/stale", issuer, now.Add(-time.Hour), nil)
	serve("/bomb", issuer, now, func(subject did.Object) { subject["encodedList"] = bomb(t, 64<<20) })
	serve("/short", issuer, now, func(subject did.Object) { subject["encodedList"] = bomb(t, 1024) })
	f.lists["/html"] = func() (string, []byte) { return "text/html", []byte("<p>") }
	f.lists["/large"] = func() (string, []byte) { return rest.TypeJSON, bytes.Repeat([]byte(" "), MaxFetchBytes+1) }
	credential := func(path, purpose string, index uint64) did.Object {
		doc := unsigned(issuer.did(), "did:example:holder", did.Object{"ageOver": 18})
		doc["credentialStatus"] = vc.StatusEntry(f.URL+path, purpose, index)
		return issuer.sign(t, doc, now)
	}
	w.verify(0, credential("/good", "revocation", 4), nil).passes(t, "good")
	for _, c := range []struct {
		path, purpose string
		index         uint64
		code          string
	}{
		{"/good", "revocation", 5, "revoked"},
		{"/good", "suspension", 4, "purpose_mismatch"},
		{"/good", "revocation", status.MinSize, "bad_index"},
		{"/others", "revocation", 4, "list_issuer"},
		{"/stale", "revocation", 4, "stale"},
		{"/bomb", "revocation", 4, "unavailable"},
		{"/short", "revocation", 4, "unavailable"},
		{"/html", "revocation", 4, "unavailable"},
		{"/large", "revocation", 4, "unavailable"},
		{"/redirect", "revocation", 4, "unavailable"},
	} {
		w.verify(0, credential(c.path, c.purpose, c.index), nil).fails(t, fmt.Sprint(c), "status", c.code)
	}
}

// bomb is an encoded list of many bytes that are all the same.
func bomb(t *testing.T, size int) string {
	t.Helper()
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return "u" + base64.RawURLEncoding.EncodeToString(packed.Bytes())
}

// TestNothingIsFetched puts addresses of this machine wherever a credential can name one. A host must be listed, and a
// private address listed once more, before anybody is connected to.
func TestNothingIsFetched(t *testing.T) {
	f := newForeign(t)
	port := f.host()[strings.LastIndexByte(f.host(), ':'):]
	w := start(t, networkOptions{settings: func(int) string { return f.settings(false) }})
	issuer := holderOf("foreign")
	now := w.clock.Now()
	for _, host := range []string{f.host(), "localhost" + port, "[::1]" + port, "[::ffff:127.0.0.1]" + port, "[64:ff9b::7f00:1]" + port, "127.1" + port, "2130706433" + port, "10.0.0.1", "169.254.169.254"} {
		for _, scheme := range []string{"https://", "http://"} {
			doc := unsigned(issuer.did(), "did:example:holder", did.Object{"ageOver": 18})
			doc["credentialStatus"] = vc.StatusEntry(scheme+host+"/list", "revocation", 4)
			w.verify(0, issuer.sign(t, doc, now), nil).fails(t, scheme+host, "status", "unavailable")
		}
	}
	schema := unsigned(issuer.did(), "did:example:holder", did.Object{"ageOver": 18})
	schema["credentialSchema"] = did.Object{"id": f.URL + "/schema", "type": "JsonSchema"}
	w.verify(0, issuer.sign(t, schema, now), nil).passes(t, "a schema of others")
	context := unsigned(issuer.did(), "did:example:holder", did.Object{"ageOver": 18})
	context["@context"] = append(context["@context"].([]any), f.URL+"/context")
	w.verify(0, issuer.sign(t, context, now), nil).passes(t, "a context, which jcs does not read")
	rdfc := issuer.sign(t, context, now)
	rdfc["proof"].(did.Object)["cryptosuite"] = vc.SuiteRDFC
	if r := w.verify(0, rdfc, nil); r.Verified {
		t.Error("rdfc with a context of others verifies")
	}
	web := seal(t, unsigned("did:web:"+strings.Replace(f.host(), ":", "%3A", 1), "did:example:holder", did.Object{"ageOver": 18}),
		vc.ProofOptions{VerificationMethod: "did:web:" + strings.Replace(f.host(), ":", "%3A", 1) + "#key-1", Created: now}, issuer.key)
	w.verify(0, web, nil).fails(t, "did:web", "issuer", "unresolvable")
	if n := f.connections.Load(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
}

// TestWebIssuer verifies a credential of a did:web whose host is listed.
func TestWebIssuer(t *testing.T) {
	f := newForeign(t)
	w := start(t, networkOptions{settings: func(int) string { return f.settings(true) }})
	key, id := keyOf("web"), "did:web:"+strings.Replace(f.host(), ":", "%3A", 1)
	document := func(id string, listed ...any) {
		body, err := json.Marshal(did.Object{
			"id": id, "verificationMethod": []any{did.Object{"id": "#key-1", "type": "Multikey", "controller": id, "publicKeyMultibase": multikeyOf(key)}}, "assertionMethod": listed,
		})
		if err != nil {
			t.Fatal(err)
		}
		f.lists["/.well-known/did.json"] = func() (string, []byte) { return "application/did+json", body }
	}
	sign := func() did.Object {
		return seal(t, unsigned(id, "did:example:holder", did.Object{"ageOver": 18}), vc.ProofOptions{VerificationMethod: id + "#key-1", Created: w.clock.Now()}, key)
	}
	document(id, "#key-1")
	w.verify(0, sign(), nil).passes(t, "listed by a relative reference")
	document(id, id+"#key-1")
	w.verify(0, sign(), nil).passes(t, "listed by an absolute one")
	document(id)
	w.verify(0, sign(), nil).fails(t, "not listed", "issuer", "not_authorized")
	document("did:web:other.example", "#key-1")
	w.verify(0, sign(), nil).fails(t, "another's document", "issuer", "unresolvable")
}
