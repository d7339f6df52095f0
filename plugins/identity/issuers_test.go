package identity

import (
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"weft/internal/vectors"
	"weft/plugins/identity/did"
	"weft/plugins/identity/vc"
	"weft/plugins/rest"
)

func TestIssueWithoutContexts(t *testing.T) {
	one := newIssuer(t)
	suites := map[string]any{"cryptosuites": []string{vc.SuiteJCS, vc.SuiteRDFC}}
	w := start(t, one.options(t, 2, nil, one.instance("default", suites), one.instance("token", map[string]any{"access": "token"}),
		one.instance("jcs", map[string]any{"cryptosuites": []string{vc.SuiteJCS}}))).ready()
	good := func() did.Object { return unsigned(one.did(), "did:example:holder", did.Object{"ageOver": 18}) }
	issue := func(path string, credential any, options did.Object) reply {
		body := did.Object{"credential": credential}
		if options != nil {
			body["options"] = options
		}
		return w.call(0, "POST", path+"/credentials/issue", body)
	}
	var a struct{ VerifiableCredential did.Object }
	issue("", good(), nil).into(201, &a)
	w.verify(1, a.VerifiableCredential, nil).passes(t, "jcs on another node")
	issue("/issuers/jcs", good(), did.Object{"cryptosuite": vc.SuiteJCS, "credentialId": "x"}).want(201)
	with := func(name string, value any) did.Object {
		doc := good()
		if doc[name] = value; value == nil {
			delete(doc, name)
		}
		return doc
	}
	issue("", with("issuer", did.Object{"id": one.did(), "name": "A"}), nil).want(201)
	for name, bad := range map[string]reply{
		"no issuer":       issue("", with("issuer", nil), nil),
		"another issuer":  issue("", with("issuer", "did:example:other"), nil),
		"no subject":      issue("", with("credentialSubject", nil), nil),
		"no context":      issue("", with("@context", nil), nil),
		"no type":         issue("", with("type", nil), nil),
		"a bad time":      issue("", with("validFrom", "yesterday"), nil),
		"a null proof":    issue("", with("proof", json.RawMessage("null")), nil),
		"a text":          issue("", "credential", nil),
		"nothing":         issue("", nil, nil),
		"unknown suite":   issue("", good(), did.Object{"cryptosuite": "ecdsa-rdfc-2019"}),
		"another's suite": issue("/issuers/jcs", good(), did.Object{"cryptosuite": vc.SuiteRDFC}),
		"duplicates":      w.call(0, "POST", "/credentials/issue", `{"credential":{"issuer":"a","issuer":"b"}}`),
		"unknown member":  w.call(0, "POST", "/credentials/issue", `{"credential":{},"x":1}`),
	} {
		var p struct {
			Problems []vc.Problem `json:"problemDetails"`
		}
		if bad.into(400, &p); len(p.Problems) == 0 {
			t.Errorf("%s: no problemDetails: %s", name, bad.body)
		}
	}
	issue("", good(), did.Object{"cryptosuite": vc.SuiteRDFC}).refused(422, "context_not_installed")
	issue("/issuers/token", good(), nil).refused(401, "unauthenticated")
	issue("/issuers/none", good(), nil).refused(404, "not_found")
	w.call(1, "POST", "/credentials/issue", did.Object{"credential": good()}).refused(404, "not_found")
	w.call(0, "POST", "/credentials/verify", `{}`).want(400)
	w.call(0, "POST", "/credentials/verify", `{"verifiableCredential":7}`).want(400)
	w.call(0, "POST", "/credentials/verify", `{"verifiableCredential":{},"options":{"checks":["none"]}}`).want(400)
	w.call(0, "POST", "/issuers/none/credentials/verify", `{"verifiableCredential":{}}`).want(404)
	options := did.Object{"returnCredential": true}
	var whole struct{ Credential did.Object }
	w.call(1, "POST", "/credentials/verify", did.Object{"verifiableCredential": a.VerifiableCredential, "options": options}).into(200, &whole)
	if whole.Credential["proof"] == nil {
		t.Errorf("returnCredential gives %v", whole.Credential)
	}
}

func TestLockedIssuer(t *testing.T) {
	one := newIssuer(t)
	w := start(t, one.options(t, 1, map[string]any{"keystorePassphraseFile": ""}, one.instance("default", map[string]any{"statusPurposes": []string{"revocation"}})))
	body := did.Object{"credential": unsigned(one.did(), "did:example:holder", did.Object{"ageOver": 18})}
	w.call(0, "POST", "/credentials/issue", body).refused(503, "issuer_locked")
}

// vectorContexts copies the published contexts into a data folder, or skips.
func vectorContexts(t *testing.T, dir string) {
	t.Helper()
	from := vectors.Dir(t)
	files, err := filepath.Glob(filepath.Join(from, "contexts", "*.jsonld"))
	if err != nil || len(files) == 0 {
		t.Skipf("NO VECTORS: %s has no contexts; set WEFT_VECTORS", from)
	}
	if err := os.Mkdir(filepath.Join(dir, ContextDir), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if !strings.Contains(name, "credentials-v") && !strings.Contains(name, "data-integrity") {
			continue // the others are pinned only where a node's settings say so
		}
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, ContextDir, filepath.Base(name)), raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestIssueWithContexts(t *testing.T) {
	one := newIssuer(t)
	vectorContexts(t, one.dir)
	rdfc := map[string]any{"cryptosuites": []string{vc.SuiteRDFC}}
	withStatus := maps.Clone(rdfc)
	withStatus["statusPurposes"] = []string{"revocation"}
	w := start(t, one.options(t, 1, nil, one.instance("default", rdfc), one.instance("status", withStatus)))
	issue := func(path string, doc did.Object) reply {
		return w.call(0, "POST", path+"/credentials/issue", did.Object{"credential": doc})
	}
	issued := func(path string, doc did.Object) did.Object {
		var a struct{ VerifiableCredential did.Object }
		issue(path, doc).into(201, &a)
		return a.VerifiableCredential
	}
	fresh := issued("", unsigned(one.did(), "did:example:holder", did.Object{"ageOver": 18}))
	w.verify(0, fresh, nil).passes(t, "rdfc")
	fresh["credentialSubject"].(did.Object)["ageOver"] = 21
	w.verify(0, fresh, nil).fails(t, "tampered", "signature", "bad_signature")

	old := did.Object{
		"@context": []any{vc.ContextV1}, "type": []any{"VerifiableCredential"}, "id": newUUID(), "issuer": one.did(),
		"credentialSubject": did.Object{"id": "did:key:z6MkhTNL7i2etLerDK8Acz5t528giE5KA4p75T6ka1E1D74r"},
	}
	w.verify(0, issued("", old), did.Object{"checks": []string{"proof"}}).passes(t, "VC 1.1")
	issue("/issuers/status", old).want(400)
	undefined := unsigned(one.did(), "did:example:holder", did.Object{"ageOver": 18})
	undefined["@context"], undefined["type"] = []any{vc.ContextV2}, []any{"VerifiableCredential"}
	issue("", undefined).want(400)

	revocable := issued("/issuers/status", unsigned(one.did(), "did:example:holder", did.Object{"ageOver": 18}))
	w.verify(0, revocable, nil).passes(t, "rdfc with a status")
	address := revocable["credentialStatus"].([]any)[0].(did.Object)["statusListCredential"].(string)
	list := w.getList(address)
	w.verify(0, list, nil).passes(t, "the list by rdfc")
}

// getList fetches a status list credential from its address.
func (w *network) getList(address string) (list did.Object) {
	w.t.Helper()
	response, err := w.HTTP.Get(address)
	if err != nil {
		w.t.Fatal(err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&list); err != nil || response.StatusCode != http.StatusOK {
		w.t.Fatalf("GET %s: HTTP %d %v", address, response.StatusCode, err)
	}
	if got := response.Header.Get("Content-Type"); got != rest.TypeJSON {
		w.t.Errorf("GET %s: %s", address, got)
	}
	return list
}

// bitOf reads a bit of a list credential.
func bitOf(t *testing.T, list did.Object, index string) bool {
	t.Helper()
	bits, err := vc.DecodeList(list["credentialSubject"].(did.Object)["encodedList"].(string))
	if err != nil {
		t.Fatal(err)
	}
	i, err := strconv.ParseUint(index, 10, 64)
	if err != nil || i >= uint64(bits.Len()) {
		t.Fatalf("index %s of %d: %v", index, bits.Len(), err)
	}
	return bits.Get(i)
}

// TestInstanceStatus issues with status entries on node 0 and verifies on node 1, which has fetched nothing.
func TestInstanceStatus(t *testing.T) {
	one := newIssuer(t)
	w := start(t, one.options(t, 2, nil, one.instance("default", map[string]any{"statusPurposes": []string{"revocation", "suspension"}}))).ready()
	issue := func() (did.Object, []did.Object) {
		var a struct{ VerifiableCredential did.Object }
		w.call(0, "POST", "/credentials/issue", did.Object{"credential": unsigned(one.did(), "did:example:holder", did.Object{"ageOver": 18})}).into(201, &a)
		var entries []did.Object
		for _, e := range a.VerifiableCredential["credentialStatus"].([]any) {
			entries = append(entries, e.(did.Object))
		}
		if len(entries) != 2 {
			t.Fatalf("entries %v", entries)
		}
		return a.VerifiableCredential, entries
	}
	credential, entries := issue()
	_, others := issue()
	if entries[0]["statusListCredential"] != others[0]["statusListCredential"] || entries[0]["statusListIndex"] == others[0]["statusListIndex"] {
		t.Errorf("entries %v and %v: want one list and two indexes", entries[0], others[0])
	}
	w.verify(1, credential, nil).passes(t, "new")
	set := func(purpose string, on bool) reply {
		return w.call(0, "POST", "/credentials/status", did.Object{
			"credentialId": credential["id"], "credentialStatus": did.Object{"type": "BitstringStatusListEntry", "statusPurpose": purpose}, "status": on,
		})
	}
	list := func(k int) string { return entries[k]["statusListCredential"].(string) }
	index := func(k int) string { return entries[k]["statusListIndex"].(string) }
	if bitOf(t, w.getList(list(0)), index(0)) {
		t.Error("the bit is set before the revocation")
	}
	set("suspension", true).want(200)
	w.within(5*time.Second, "suspended", func() bool { return w.verify(1, credential, nil).failures()["status"] == "suspended" })
	var reinstated struct{ Time string }
	set("suspension", false).into(200, &reinstated)
	w.within(5*time.Second, "reinstated", func() bool { return w.verify(1, credential, nil).Verified })
	set("revocation", true).want(200)
	w.within(5*time.Second, "revoked", func() bool { return w.verify(1, credential, nil).failures()["status"] == "revoked" })
	w.verify(0, credential, nil).fails(t, "revoked", "status", "revoked")
	w.verify(0, credential, did.Object{"checks": []string{"proof"}}).passes(t, "without asking for the status")
	w.verify(0, credential, did.Object{"checks": []string{"proof", "credentialStatus"}}).fails(t, "asking for it", "status", "revoked")
	if now := w.getList(list(0)); !bitOf(t, now, index(0)) {
		t.Error("the served list has not changed")
	} else {
		w.verify(1, now, nil).passes(t, "the served list")
	}
	then := w.getList(list(0) + "?timestamp=" + reinstated.Time)
	if bitOf(t, then, index(0)) {
		t.Error("the list of before the revocation has the bit")
	}
	set("revocation", false).refused(422, "list_final")
	set("revocation", true).want(200) // once more is no fault
	set("refresh", true).want(400)
	w.call(0, "POST", "/credentials/status", did.Object{"credentialId": "urn:x:none", "credentialStatus": did.Object{"type": "BitstringStatusListEntry", "statusPurpose": "revocation"}}).refused(404, "not_found")
	w.call(0, "GET", "/status-lists/zQmnone", nil).refused(404, "unknown_list")
	path := list(0)[strings.Index(list(0), "/status-lists/"):]
	w.call(0, "GET", path+"?timestamp=2099-01-01T00:00:00Z", nil).refused(400, "bad_parameter")
	w.call(0, "GET", path+"?timestamp=2001-01-01T00:00:00Z", nil).refused(404, "unknown_list")
	w.call(1, "GET", path, nil).refused(404, "unsigned_list")
	w.call(0, "GET", "/issuers/default"+path, nil).want(200)
	if got := w.call(0, "GET", path, nil, "Accept", "application/vc").want(200).header.Get("Content-Type"); got != "application/vc" {
		t.Errorf("Accept application/vc: %s", got)
	}
	var ledger struct {
		Receipt, Issuer string
		Final           bool
		Version         int
	}
	w.call(1, "GET", "/api/v1"+path, nil).into(200, &ledger)
	if ledger.Receipt == "" || !ledger.Final || ledger.Issuer != one.did() || ledger.Version != 1 {
		t.Errorf("ledger's form on node 1: %+v", ledger)
	}
}
