package streams

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"weft/client"
	"weft/client/audit"
	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/identity/keyfile"
	"weft/plugins/plugintest"
	"weft/plugins/streams/channel"
	"weft/plugins/streams/managed"
)

const toolPassphrase = "passphrase of the tools' keys"

// toolNetwork is a network whose node i acts for the tools of i.
type toolNetwork struct {
	*network
	tools map[string]*managedTool
}

// managedTool is a tool that holds nothing but an API key.
type managedTool struct {
	w       *toolNetwork
	node    int
	did     string
	entry   []byte // that creates it
	key     string
	counter int
}

// startManaged runs a network with tools, by node. Their DIDs are on the ledger.
func startManaged(t *testing.T, o networkOptions, names ...[]string) *toolNetwork {
	t.Helper()
	w := &toolNetwork{tools: map[string]*managedTool{}}
	o.nodes = max(o.nodes, len(names))
	of := func(i int) (list []string) {
		if i < len(names) {
			list = names[i]
		}
		return list
	}
	o.prepare = func(n *network, i int, dir string) {
		for _, name := range of(i) {
			w.tools[name] = &managedTool{w: w, node: i}
			w.tools[name].makeKeys(n, name, dir)
		}
	}
	if o.settings == nil {
		o.settings = func(i int) string {
			raw, err := json.Marshal(map[string]any{"managed": managed.Settings{Enabled: len(of(i)) > 0, Identities: of(i), PassphraseFile: "words"}})
			if err != nil {
				t.Fatal(err)
			}
			return string(raw)
		}
	}
	w.network = start(t, o)
	for name, tool := range w.tools {
		w.call(0, "POST", "/api/v1/identities?wait=final&timeout=30s", tool.entry).want(201)
		tool.key = w.apiKey(tool.node, name, tool.did, "channels:managed")
	}
	w.Settle()
	return w
}

// makeKeys writes the key file that 'weft managed add' makes.
func (x *managedTool) makeKeys(n *network, name, dir string) {
	t := n.t
	t.Helper()
	file, err := keyfile.New("", keyfile.Protection{Passphrase: toolPassphrase, Argon2: true})
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	add := func(r keyfile.Role, id string, a keyfile.Algorithm) keyfile.Key {
		k, err := file.Add(r, id, a)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	update, signing, agreement := add(keyfile.Update, "", keyfile.Ed25519), add(keyfile.Document, "#key-1", keyfile.Ed25519), add(keyfile.Document, "#key-2", keyfile.X25519)
	method := func(id, public string) did.Object {
		return did.Object{"id": id, "type": "Multikey", "publicKeyMultibase": public}
	}
	body, id, err := did.Create(n.id, [did.NonceBytes]byte([]byte(fmt.Sprintf("%-16.16s", name))), did.Content{
		Params: did.NewParams([]string{update.Public}),
		Document: did.Object{
			"verificationMethod": []any{method("#key-1", signing.Public), method("#key-2", agreement.Public)},
			"authentication":     []any{"#key-1"}, "keyAgreement": []any{"#key-2"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ask, err := did.Prepare(body, update.Public)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := file.Sign(update.Public, ask.HashData)
	if err != nil {
		t.Fatal(err)
	}
	if x.entry, err = did.Attach(body, map[string][]byte{update.Public: signature}); err != nil {
		t.Fatal(err)
	}
	file.DID, x.did = id.String(), id.String()
	if err := os.MkdirAll(filepath.Join(dir, managed.Folder), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "words"), []byte(toolPassphrase+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := file.Create(managed.KeyFile(dir, name)); err != nil {
		t.Fatal(err)
	}
}

// apiKey makes an API key at node i.
func (w *network) apiKey(i int, name, did string, scopes ...string) string {
	w.t.Helper()
	var made struct{ Key, DID string }
	w.call(i, "POST", "/api/v1/admin/api-keys", client.APIKey{Name: name, DID: did, Scopes: scopes}, "Authorization", "Bearer "+operatorToken).into(201, &made)
	if made.DID != did {
		w.t.Fatalf("the key is for %q, want %q", made.DID, did)
	}
	return made.Key
}

// ask is a call of a tool, with a fresh Idempotency-Key.
func (x *managedTool) ask(method, path string, body any, headers ...string) reply {
	x.w.t.Helper()
	if x.counter++; method == "POST" {
		headers = append([]string{"Idempotency-Key", fmt.Sprint("request-of-the-tool-", x.counter)}, headers...)
	}
	return x.w.call(x.node, method, "/api/v1/managed"+path, body, append(headers, "X-API-Key", x.key)...)
}

// create makes a channel and returns the path of its routes.
func (x *managedTool) create(body client.ManagedChannel) (id, path string) {
	x.w.t.Helper()
	var done client.ManagedDone
	x.ask("POST", "/channels", body).into(201, &done)
	x.w.Settle()
	return done.Channel.String(), "/channels/" + done.Channel.String()
}

// text is a record in clear.
func text(s string) client.ManagedRecord { return client.ManagedRecord{Text: &s} }

// texts reads a channel from its beginning.
func (x *managedTool) texts(path string) (list []string) {
	x.w.t.Helper()
	var page pageOf[client.ManagedEntry]
	x.ask("GET", path+"/records?limit=200", nil).into(200, &page)
	for _, e := range page.Items {
		if e.Text != nil {
			list = append(list, *e.Text)
		} else {
			list = append(list, "("+e.Code+")")
		}
	}
	return list
}

// TestManagedRoundTrip lets two tools of different members, each at its own node, work in one channel.
func TestManagedRoundTrip(t *testing.T) {
	w := startManaged(t, networkOptions{}, []string{"siem"}, []string{"erp"})
	siem, erp := w.tools["siem"], w.tools["erp"]
	var node struct{ Managed bool }
	if w.call(0, "GET", "/api/v1/node", nil).into(200, &node); !node.Managed {
		t.Error("the node does not say that it acts for others")
	}
	id, path := siem.create(client.ManagedChannel{Name: "incidents", Tags: []string{"ids"}})
	erp.ask("POST", path+"/requests", client.ManagedRequest{Rights: []string{"read", "write"}, Note: "from the ERP"}).want(200)
	w.Settle()
	siem.ask("POST", path+"/grants", client.ManagedGrants{Grants: []client.ManagedGrant{{Participant: erp.did}}}).want(200)
	w.Settle()

	var done client.ManagedDone
	record := client.ManagedRecord{JSON: json.RawMessage(`{ "amount": 12.5 }`), RecordType: "order", Tag: "ids", Public: json.RawMessage(`{"class":"b"}`), Meta: json.RawMessage(`{"desk":7}`)}
	erp.ask("POST", path+"/records", record).into(201, &done)
	if done.Seq != 1 || done.Event == nil || done.Channel.String() != id || done.ContentHash == nil || done.Place == nil || done.Receipt == "" {
		t.Errorf("written: %+v", done)
	}
	w.Settle()
	var e client.ManagedEntry
	siem.ask("GET", path+"/records/1", nil).into(200, &e)
	if string(e.JSON) != `{"amount":12.5}` || e.Author != erp.did || e.MediaType != "application/json" || string(e.Public) != `{"class":"b"}` ||
		string(e.Meta) != `{"desk":7}` || e.RecordType != "order" || *e.ContentHash != *done.ContentHash || !e.Final {
		t.Errorf("read: %+v", e)
	}
	large := strings.Repeat("a large alert ", 5000)
	siem.ask("POST", path+"/records", text(large)).want(201)
	siem.ask("POST", path+"/records", text("port scan")).want(201)
	w.Settle()
	equal(t, "records of the ERP", erp.texts(path), []string{"()", "(detached)", "port scan"})
	if erp.ask("GET", path+"/records/2", nil).into(200, &e); e.Text == nil || *e.Text != large {
		t.Errorf("a large record has code %q", e.Code)
	}
	w.validates(erp, path, large, done)
	for _, tool := range []*managedTool{siem, erp} {
		var s subscriptionView
		w.call(tool.node, "GET", "/api/v1/channels/"+id+"/subscriptions/"+tool.did, nil, "X-API-Key", w.apiKey(tool.node, "reads", siem.did, "channels:read")).into(200, &s)
		if s.Custody != "node" {
			t.Errorf("the custody of %s is %q", tool.did, s.Custody)
		}
	}
}

func (w *toolNetwork) validates(x *managedTool, path, large string, first client.ManagedDone) {
	w.t.Helper()
	wrong := "another text"
	var verdicts []client.Validated
	x.ask("POST", path+"/validate", []client.ManagedClaim{
		{Seq: 1, JSON: json.RawMessage(`{"amount": 12.5}`)}, {Seq: 1, ContentHash: first.ContentHash}, {Seq: 2, Text: &large}, {Seq: 3, Text: &wrong}, {Seq: 9, Text: &wrong},
	}).into(200, &verdicts)
	var codes []string
	for _, v := range verdicts {
		codes = append(codes, v.Code)
	}
	equal(w.t, "verdicts", codes, []string{"ok", "ok", "ok", "hash_mismatch", "not_found"})
}

// TestManagedModeIsOff without the setting, for everybody.
func TestManagedModeIsOff(t *testing.T) {
	w := start(t, networkOptions{})
	var node struct{ Managed bool }
	if w.call(0, "GET", "/api/v1/node", nil).into(200, &node); node.Managed {
		t.Error("the node says that it acts for others")
	}
	key := w.apiKey(0, "siem", "did:weft:nobody", "channels:managed")
	for _, r := range managedRoutes(t) {
		path := strings.NewReplacer("{id}", strings.Repeat("ab", 32), "{seq}", "1").Replace(r.Path)
		for _, headers := range [][]string{nil, {"X-API-Key", key}, {"Authorization", "Bearer " + operatorToken}} {
			w.call(0, r.Method, path, nil, headers...).refused(404, "not_found")
		}
	}
}

// managedRoutes are the routes of a node that acts for a tool.
func managedRoutes(t *testing.T) []plugins.Route {
	t.Helper()
	x, dir := &managedTool{}, t.TempDir()
	x.makeKeys(&network{t: t}, "tool", dir)
	mode, err := managed.Open(managed.Config{
		Host: plugins.Host{Dir: dir}, Settings: managed.Settings{Enabled: true, Identities: []string{"tool"}, PassphraseFile: "words"}, Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return mode.Routes()
}

// TestManagedCallers: one API key is one managed DID, with the scope, over a channel that nobody listens to.
func TestManagedCallers(t *testing.T) {
	w := startManaged(t, networkOptions{}, []string{"siem", "erp"})
	siem, erp := w.tools["siem"], w.tools["erp"]
	stranger := w.people("stranger")[0]
	_, path := siem.create(client.ManagedChannel{Name: "incidents"})
	route := "/api/v1/managed" + path
	as := func(key string) reply { return w.call(0, "GET", route, nil, "X-API-Key", key) }
	w.call(0, "GET", route, nil).refused(401, "unauthenticated")
	as("weft_0_x").refused(401, "bad_api_key")
	as(w.apiKey(0, "no scope", siem.did, "channels:read", "ledger:submit")).refused(403, "forbidden")
	as(w.apiKey(0, "no DID", "", "channels:managed")).refused(403, "forbidden")
	as(w.apiKey(0, "of a stranger", stranger.did, "channels:managed")).refused(403, "forbidden")
	w.call(0, "GET", route, nil, "Authorization", "Bearer "+operatorToken).refused(403, "forbidden")
	w.as(0, stranger, "GET", "/managed"+path, nil).refused(403, "forbidden")
	erp.ask("GET", path+"/records", nil).refused(403, "not_participant")

	names := func(r reply) (list []string) {
		var l pageOf[client.ManagedIdentity]
		r.into(200, &l)
		for _, i := range l.Items {
			list = append(list, i.Name)
		}
		return list
	}
	equal(t, "identities of a tool", names(erp.ask("GET", "/identities", nil)), []string{"erp"})
	equal(t, "identities of all", names(w.call(0, "GET", "/api/v1/managed/identities", nil, "Authorization", "Bearer "+operatorToken)), []string{"siem", "erp"})
}

// TestManagedNeedsASecureTransport: every route refuses plain HTTP from elsewhere, whatever the listener allows.
func TestManagedNeedsASecureTransport(t *testing.T) {
	for _, r := range managedRoutes(t) {
		for name, c := range map[string]struct {
			tls     *tls.ConnectionState
			caller  plugins.Caller
			proxied string
			passes  bool
		}{
			"plain HTTP":                    {nil, plugins.Caller{}, "", false},
			"plain HTTP that claims TLS":    {nil, plugins.Caller{}, "https", false},
			"TLS":                           {&tls.ConnectionState{}, plugins.Caller{}, "", true},
			"this machine":                  {nil, plugins.Caller{Loopback: true}, "", true},
			"operator's socket":             {nil, plugins.Caller{Operator: true}, "", true},
			"a proxy here that ends TLS":    {nil, plugins.Caller{Loopback: true}, "https", true},
			"a proxy here that ends no TLS": {nil, plugins.Caller{Loopback: true}, "http", false},
		} {
			q := httptest.NewRequest(r.Method, "/", nil).WithContext(plugins.WithCaller(t.Context(), c.caller))
			q.TLS = c.tls
			q.Header.Set("X-Forwarded-Proto", c.proxied)
			err := r.Serve(httptest.NewRecorder(), q)
			refused := plugins.Rejected(err) != nil && plugins.Rejected(err).Code == "insecure_transport"
			if refused == c.passes {
				t.Errorf("%s %s over %s: %v", r.Method, r.Path, name, err)
			}
		}
	}
}

// TestManagedOverPlainHTTP is the same from another address of this machine, at a listener that api.insecure allows.
func TestManagedOverPlainHTTP(t *testing.T) {
	address := ""
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.IsGlobalUnicast() && ip.IP.To4() != nil {
			address = ip.IP.String()
		}
	}
	if address == "" {
		t.Skip("this machine has no address but loopback")
	}
	w := startManaged(t, networkOptions{listen: "0.0.0.0:0"}, []string{"siem"})
	siem := w.tools["siem"]
	_, port, err := net.SplitHostPort(w.Nodes[0].APIAddr())
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]string{"127.0.0.1": "", address: "insecure_transport"} {
		node, err := client.New(client.Config{URL: "http://" + net.JoinHostPort(host, port), Token: siem.key, Retry: client.NoRetry()})
		if err != nil {
			t.Fatal(err)
		}
		_, err = node.ManagedIdentities(t.Context())
		_, fault := node.CreateManagedChannel(t.Context(), client.ManagedChannel{Name: "over " + host}, "")
		if client.ProblemCode(err) != want || client.ProblemCode(fault) != want {
			t.Errorf("over %s: %v, %v", host, err, fault)
		}
		if _, err := node.Node(t.Context()); err != nil {
			t.Error(err)
		}
		node.Close()
	}
}

// TestManagedKeysMayBeLocked: without the passphrase the node runs, and says so to the tools.
func TestManagedKeysMayBeLocked(t *testing.T) {
	w := startManaged(t, networkOptions{settings: func(int) string { return `{"managed":{"enabled":true,"identities":["siem"]}}` }}, []string{"siem"})
	siem := w.tools["siem"]
	siem.ask("GET", "/channels", nil).refused(503, "keystore_locked")
	siem.ask("POST", "/channels", client.ManagedChannel{Name: "incidents"}).refused(503, "keystore_locked")
	var l pageOf[client.ManagedIdentity]
	siem.ask("GET", "/identities", nil).into(200, &l)
	if len(l.Items) != 1 || !l.Items[0].Locked {
		t.Errorf("identities: %+v", l.Items)
	}
}

// TestManagedSettings: what does not fit together stops the start.
func TestManagedSettings(t *testing.T) {
	dir := t.TempDir()
	(&managedTool{}).makeKeys(&network{t: t}, "siem", dir)
	for name, content := range map[string]string{"wrong": "another passphrase\n", "empty": "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "seen"), []byte(toolPassphrase+"\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	plain, err := keyfile.New("did:weft:plain", keyfile.Protection{Unencrypted: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := plain.Add(keyfile.Document, "#key-1", keyfile.Ed25519); err != nil {
		t.Fatal(err)
	}
	if err := plain.Create(managed.KeyFile(dir, "plain")); err != nil {
		t.Fatal(err)
	}
	twin, err := os.ReadFile(managed.KeyFile(dir, "siem"))
	if err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{"twin": 0o600, "open": 0o644} {
		if err := os.WriteFile(managed.KeyFile(dir, name), twin, mode); err != nil {
			t.Fatal(err)
		}
	}
	open := func(section string) error {
		_, err := openAt(plugins.Host{Dir: dir, Local: plugintest.NewLocal(), Log: slog.New(slog.DiscardHandler), Config: json.RawMessage(section)}, time.Now)
		return err
	}
	for section, want := range map[string]string{
		`{"managed":{"enabled":true}}`:                                                           "enabled for nobody",
		`{"managed":{"enabled":"yes"}}`:                                                          "managed.enabled",
		`{"managed":{"enabled":true,"tools":["siem"]}}`:                                          "managed.tools: no such member",
		`{"managed":{"enabled":true,"identities":["siem","siem"]}}`:                              "twice",
		`{"managed":{"enabled":true,"identities":["../siem"]}}`:                                  "want 1 to 64 of a-z",
		`{"managed":{"enabled":true,"identities":["nobody"]}}`:                                   "no such file",
		`{"managed":{"enabled":true,"identities":["plain"]}}`:                                    "not encrypted",
		`{"managed":{"enabled":true,"identities":["open"]}}`:                                     "others on this machine may read it",
		`{"managed":{"enabled":true,"identities":["siem","twin"],"passphraseFile":"words"}}`:     "one DID",
		`{"managed":{"enabled":true,"identities":["siem"],"passphraseFile":"nothing"}}`:          "managed.passphraseFile",
		`{"managed":{"enabled":true,"identities":["siem"],"passphraseFile":"empty"}}`:            "empty line",
		`{"managed":{"enabled":true,"identities":["siem"],"passphraseFile":"seen"}}`:             "others on this machine may read it",
		`{"managed":{"enabled":true,"identities":["siem"],"passphraseFile":"wrong"}}`:            "passphrase is wrong",
		`{"managed":{"enabled":true,"identities":["` + strings.Repeat(`a","`, 64) + `siem"]}}`:   "at most 64",
		`{"managed":{"enabled":true,"identities":["siem"],"passphraseFile":"words","key":"s3"}}`: "managed.key: no such member",
	} {
		if err := open(section); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", section, err, want)
		}
	}
	for _, section := range []string{`{"managed":{"enabled":true,"identities":["siem"],"passphraseFile":"words"}}`, `{"managed":{"identities":["siem"]}}`, `{"managed":{}}`, `{}`} {
		if err := open(section); err != nil {
			t.Errorf("%s: %v", section, err)
		}
	}
}

// TestManagedCustody: a channel that wants keys in their owners' hands has no managed participants, and none acts where the
// ledger says that it keeps its own keys.
func TestManagedCustody(t *testing.T) {
	w := startManaged(t, networkOptions{}, []string{"siem"})
	siem, owner := w.tools["siem"], w.people("owner")[0]
	self := w.create(owner, func(_ channel.ID, terms *channel.CreateTerms) { terms.Settings.Custody = ptr(channel.CustodySelf) })
	siem.ask("POST", channelPath(self, "/requests"), client.ManagedRequest{Rights: []string{"read"}}).refused(403, "custody_denied")
	siem.ask("POST", "/channels", client.ManagedChannel{Name: "own", Custody: "self"}).refused(403, "custody_denied")

	w.grant(owner, self, channel.Read|channel.Order, &person{did: siem.did, to: siem.did + "#key-2", agreement: owner.agreement})
	for _, r := range []reply{
		siem.ask("POST", channelPath(self, "/records"), text("x")), siem.ask("GET", channelPath(self, "/records"), nil), siem.ask("GET", channelPath(self, "/records/1"), nil),
		siem.ask("POST", channelPath(self, "/grants"), client.ManagedGrants{Grants: []client.ManagedGrant{{Participant: owner.did, Rights: []string{"read"}}}}),
	} {
		r.refused(403, "custody_denied")
	}
}

// TestManagedAdmin revokes with a new epoch, and opens one that is due before it writes.
func TestManagedAdmin(t *testing.T) {
	w := startManaged(t, networkOptions{}, []string{"siem"}, []string{"erp"})
	siem, erp, reader := w.tools["siem"], w.tools["erp"], w.people("reader")[0]
	text1, text2, text3 := "before", "after the revocation", "after somebody left"
	id, path := siem.create(client.ManagedChannel{Name: "incidents", GraceSeconds: ptr(0), Grants: []client.ManagedGrant{
		{Participant: erp.did, Rights: []string{"read", "write"}, Custody: "node"}, {Participant: reader.did, Rights: []string{"read"}},
	}})
	siem.ask("POST", path+"/records", text(text1)).want(201)
	w.Settle()
	equal(t, "records of the ERP", erp.texts(path), []string{text1})

	var done client.ManagedDone
	siem.ask("POST", path+"/revocations", client.ManagedRevocation{Participants: []string{erp.did}, Reason: "leg_ended"}).into(200, &done)
	w.Settle()
	siem.ask("POST", path+"/records", text(text2)).want(201)
	w.Settle()
	erp.ask("GET", path+"/records", nil).refused(403, "not_participant")
	erp.ask("POST", path+"/records", text("x")).refused(403, "not_participant")
	siem.ask("POST", path+"/revocations", client.ManagedRevocation{Participants: []string{erp.did}}).refused(409, "wrong_state")

	channelID := idOf(t, id)
	if h := w.head(channelID); h.Epoch != 2 {
		t.Errorf("epoch %d after the revocation, want 2", h.Epoch)
	}
	w.done(reader, channelID, channel.NewLeave(w.header(reader, channelID)))
	siem.ask("POST", path+"/records", text(text3)).want(201)
	w.Settle()
	if h := w.head(channelID); h.Epoch != 3 {
		t.Errorf("epoch %d after a reader left, want 3", h.Epoch)
	}
	equal(t, "records of the SIEM", siem.texts(path), []string{text1, text2, text3})
}

// TestManagedSettles opens an epoch that is due without being asked.
func TestManagedSettles(t *testing.T) {
	w := startManaged(t, networkOptions{pace: pace{beat: streamBeat, block: MaxStreamBlock, settle: 20 * time.Millisecond}}, []string{"siem"})
	siem, reader := w.tools["siem"], w.people("reader")[0]
	id, _ := siem.create(client.ManagedChannel{Name: "incidents", Grants: []client.ManagedGrant{{Participant: reader.did, Rights: []string{"read"}}}})
	channelID := idOf(t, id)
	w.done(reader, channelID, channel.NewLeave(w.header(reader, channelID)))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		changed := w.Nodes[0].Changed()
		if w.head(channelID).Epoch == 2 {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatal("the epoch that was due never came")
		}
	}
}

// TestManagedSealsAgain lets an epoch end between sealing a record and publishing it: the record is sealed anew, under the new
// epoch and with another nonce, and stands there once.
func TestManagedSealsAgain(t *testing.T) {
	var host plugins.Host
	var plugin plugins.Plugin
	w := startManaged(t, networkOptions{opened: func(h plugins.Host, p plugins.Plugin) { host, plugin = h, p }}, []string{"siem"})
	siem, owner := w.tools["siem"], w.people("owner")[0]
	_, path := siem.create(client.ManagedChannel{Name: "incidents", GraceSeconds: ptr(0), Grants: []client.ManagedGrant{{Participant: owner.did, Rights: []string{"admin"}}}})
	id := idOf(t, path)

	var posted []*channel.Operation
	routes := slices.Clone(plugin.HTTP.List)
	for i, r := range routes {
		if r.Method != "POST" || r.Path != "/api/v1/channels/{id}/operations" {
			continue
		}
		routes[i].Serve = func(rw http.ResponseWriter, q *http.Request) error {
			entry, err := io.ReadAll(q.Body)
			if err != nil {
				return err
			}
			op, err := channel.Decode(w.id, entry)
			if err != nil {
				return err
			}
			if posted = append(posted, op); len(posted) == 1 {
				w.rekey(owner, id)
			}
			q.Body = io.NopCloser(bytes.NewReader(entry))
			return r.Serve(rw, q)
		}
	}
	mode, err := managed.Open(managed.Config{
		Host: host, Settings: managed.Settings{Enabled: true, Identities: []string{"siem"}, PassphraseFile: "words"}, Channels: routes, Now: w.clock.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range mode.Routes() {
		if r.Method != "POST" || !strings.HasSuffix(r.Path, "/records") {
			continue
		}
		q := httptest.NewRequest("POST", "/", strings.NewReader(`{"text":"a record"}`))
		q = q.WithContext(plugins.WithCaller(t.Context(), plugins.Caller{DID: siem.did, Loopback: true}))
		q.Header.Set("Idempotency-Key", "the-only-key")
		q.SetPathValue("id", id.String())
		answer := httptest.NewRecorder()
		if err := r.Serve(answer, q); err != nil || answer.Code != 201 {
			t.Fatalf("HTTP %d, %v", answer.Code, err)
		}
	}
	if len(posted) != 2 || posted[0].Record.Epoch != 1 || posted[1].Record.Epoch != 2 || posted[0].Nonce == posted[1].Nonce {
		t.Errorf("%d operations: %+v", len(posted), posted)
	}
	equal(t, "records", siem.texts(path), []string{"a record"})
}

// TestManagedStops: what runs for a tool ends when the node stops, before the keys and the store go, and nothing new begins.
func TestManagedStops(t *testing.T) {
	var host plugins.Host
	var plugin plugins.Plugin
	w := startManaged(t, networkOptions{opened: func(h plugins.Host, p plugins.Plugin) { host, plugin = h, p }}, []string{"siem"})
	siem := w.tools["siem"]
	_, path := siem.create(client.ManagedChannel{Name: "incidents"})
	begun := make(chan struct{}, managed.MaxAtOnce)
	routes := slices.Clone(plugin.HTTP.List)
	for i, r := range routes {
		if r.Method == "GET" && r.Path == "/api/v1/channels/{id}" {
			routes[i].Serve = func(_ http.ResponseWriter, q *http.Request) error {
				begun <- struct{}{}
				<-q.Context().Done()
				return q.Context().Err()
			}
		}
	}
	mode, err := managed.Open(managed.Config{
		Host: host, Settings: managed.Settings{Enabled: true, Identities: []string{"siem"}, PassphraseFile: "words"}, Channels: routes, Now: w.clock.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	routes = mode.Routes()
	read := routes[slices.IndexFunc(routes, func(r plugins.Route) bool { return strings.HasSuffix(r.Path, "/records") && r.Method == "GET" })]
	ask := func() string {
		q := httptest.NewRequest("GET", "/", nil)
		q = q.WithContext(plugins.WithCaller(t.Context(), plugins.Caller{DID: siem.did, Loopback: true}))
		q.SetPathValue("id", idOf(t, path).String())
		return plugins.Rejected(read.Serve(httptest.NewRecorder(), q)).Code
	}
	codes, stopped := make(chan string, managed.MaxAtOnce), make(chan error, 1)
	ctx, stop := context.WithCancel(t.Context())
	go func() { stopped <- mode.Run(ctx) }()
	for range managed.MaxAtOnce {
		go func() { codes <- ask() }()
		<-begun
	}
	if code := ask(); code != "busy" {
		t.Errorf("one more has code %q", code)
	}
	stop()
	limit, cancel := context.WithTimeout(t.Context(), managed.MaxRequest/2)
	defer cancel()
	for range managed.MaxAtOnce {
		select {
		case code := <-codes:
			if code != "shutting_down" {
				t.Errorf("code %q", code)
			}
		case <-limit.Done():
			t.Fatal("a request goes on")
		}
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if code := ask(); code != "shutting_down" {
		t.Errorf("after the end: code %q", code)
	}
}

func idOf(t *testing.T, path string) channel.ID {
	t.Helper()
	id, err := channel.ParseID(strings.TrimPrefix(path, "/channels/"))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// rekey opens an epoch, and returns when all nodes know it.
func (w *network) rekey(p *person, id channel.ID) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	c, err := w.session(len(w.Nodes)-1, p).Open(ctx, id)
	if err == nil {
		_, err = c.Do(ctx, func() (*audit.Change, error) { return c.Rekey(ctx, "race") })
	}
	if err != nil {
		w.t.Error(err)
	}
	w.Settle()
}

// TestManagedRace writes while another admin opens epochs at another node, without grace: each record stands there once, and
// opens.
func TestManagedRace(t *testing.T) {
	const rounds = 4
	w := startManaged(t, networkOptions{nodes: 2}, []string{"siem"})
	siem, owner := w.tools["siem"], w.people("owner")[0]
	_, path := siem.create(client.ManagedChannel{Name: "incidents", GraceSeconds: ptr(0), Grants: []client.ManagedGrant{{Participant: owner.did, Rights: []string{"admin"}}}})
	id := idOf(t, path)
	var want []string
	for n := range rounds {
		want = append(want, fmt.Sprint("record ", n))
		rekeyed := make(chan struct{})
		go func() {
			defer close(rekeyed)
			w.rekey(owner, id)
		}()
		siem.ask("POST", path+"/records?receipts=false", text(want[n])).want(201)
		<-rekeyed
	}
	equal(t, "records", siem.texts(path), want)
	if h := w.head(id); h.Epoch != rounds+1 || h.Seq != rounds {
		t.Errorf("head %+v", h)
	}
}

// TestManagedIdempotency: one key is one record, also many times at once.
func TestManagedIdempotency(t *testing.T) {
	w := startManaged(t, networkOptions{}, []string{"siem"})
	siem := w.tools["siem"]
	_, path := siem.create(client.ManagedChannel{Name: "incidents"})
	route := "/api/v1/managed" + path + "/records?receipts=false"
	send := func(key string, body any) reply {
		return w.call(0, "POST", route, body, "X-API-Key", siem.key, "Idempotency-Key", key)
	}
	w.call(0, "POST", route, text("x"), "X-API-Key", siem.key).refused(400, "bad_parameter")
	send("short", text("x")).refused(400, "bad_parameter")
	first, again := send("the-first-key", text("once")).want(201), send("the-first-key", text("once")).want(201)
	if string(first.body) != string(again.body) || again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("again: %v %.200s", again.header, again.body)
	}
	send("the-first-key", text("another")).refused(422, "idempotency_mismatch")

	replies := make(chan reply, 20)
	for range cap(replies) {
		go func() { replies <- send("the-second-key", text("many at once")) }()
	}
	written := 0
	for range cap(replies) {
		switch r := <-replies; r.status {
		case 201:
			written++
		default:
			r.refused(409, "in_progress")
		}
	}
	if written == 0 {
		t.Error("nobody got an answer")
	}
	equal(t, "records", siem.texts(path), []string{"once", "many at once"})
}

// TestManagedBadInput: a code for everything that is wrong, and no record.
func TestManagedBadInput(t *testing.T) {
	w := startManaged(t, networkOptions{}, []string{"siem"})
	siem := w.tools["siem"]
	id, path := siem.create(client.ManagedChannel{Name: "incidents", Tags: []string{"ids"}})
	nobody := "/channels/" + strings.Repeat("0", 64)
	long := strings.Repeat("x", managed.MaxPayload+1)
	for _, c := range []struct {
		method, path string
		body         any
		status       int
		code         string
	}{
		{"POST", "/channels", `{`, 400, "bad_json"},
		{"POST", "/channels", `{"name":"a","name":"b"}`, 400, "bad_json"},
		{"POST", "/channels", `{"name":"a","colour":"red"}`, 422, "unknown_field"},
		{"POST", "/channels", `{"name":7}`, 422, "bad_value"},
		{"POST", "/channels", `{}`, 422, "bad_value"},
		{"POST", "/channels", `{"name":"a","access":"secret"}`, 422, "bad_value"},
		{"POST", "/channels", `{"name":"a","hidden":true,"access":"public"}`, 422, "bad_value"},
		{"POST", "/channels", `{"name":"a","visible":["did:weft:x"]}`, 422, "bad_value"},
		{"POST", "/channels", `{"name":"a","graceSeconds":601}`, 422, "bad_value"},
		{"POST", "/channels", `{"name":"a","grants":[{"participant":"did:weft:x","rights":["fly"]}]}`, 422, "bad_value"},
		{"POST", "/channels", `{"name":"incidents"}`, 409, "name_taken"},
		{"GET", "/channels?colour=red", nil, 400, "bad_parameter"},
		{"GET", "/channels?cursor=zzzz", nil, 400, "bad_cursor"},
		{"GET", "/channels/xyz", nil, 400, "bad_parameter"},
		{"GET", nobody, nil, 404, "unknown_channel"},
		{"GET", nobody + "/records", nil, 404, "unknown_channel"},
		{"POST", nobody + "/requests", `{"rights":["read"]}`, 404, "unknown_channel"},
		{"POST", path + "/requests", `{"rights":["read"]}`, 409, "wrong_state"},
		{"POST", path + "/requests", `{"rights":["read","read"]}`, 422, "bad_value"},
		{"POST", path + "/grants", `{"grants":[]}`, 422, "bad_value"},
		{"POST", path + "/grants", `{"grants":[{"participant":"nobody","rights":["read"]}]}`, 422, "bad_value"},
		{"POST", path + "/grants", `{"grants":[{"participant":"` + siem.did + `","rights":["read"]}]}`, 403, "owner_only"},
		{"POST", path + "/grants", `{"grants":[{"participant":"did:weft:x","rights":["read"],"validUntil":"tomorrow"}]}`, 422, "bad_value"},
		{"POST", path + "/revocations", `{"participants":[]}`, 422, "bad_value"},
		{"POST", path + "/revocations", `{"participants":["did:weft:x"]}`, 404, "not_found"},
		{"POST", path + "/records", `{}`, 422, "bad_value"},
		{"POST", path + "/records", `{"text":"a","json":1}`, 422, "bad_value"},
		{"POST", path + "/records", `{"text":null}`, 422, "bad_value"},
		{"POST", path + "/records", `{"bytes":"***"}`, 422, "bad_value"},
		{"POST", path + "/records", `{"text":"a","mediaType":"nonsense/"}`, 422, "bad_value"},
		{"POST", path + "/records", `{"text":"a","meta":{"mediaType":"text/plain"}}`, 422, "bad_value"},
		{"POST", path + "/records", `{"text":"a","meta":[1]}`, 400, "bad_json"},
		{"POST", path + "/records", `{"public":{"x":1.5}}`, 400, "not_canonical"},
		{"POST", path + "/records", `{"public":"x"}`, 400, "bad_json"},
		{"POST", path + "/records", `{"text":"a","meta":{"x":"` + strings.Repeat("x", channel.MaxMeta) + `"}}`, 413, "too_large"},
		{"POST", path + "/records", `{"public":{"a":1},"meta":{"b":1}}`, 422, "bad_value"},
		{"POST", path + "/records", `{"text":"a","tag":"no"}`, 422, "tag_unknown"},
		{"POST", path + "/records", `{"text":"a","supersedes":7}`, 404, "unknown_record"},
		{"POST", path + "/records", `{"text":"` + long + `"}`, 413, "too_large"},
		{"POST", path + "/records", `{"text":"` + long + long + `"}`, 413, "too_large"},
		{"POST", path + "/records?timeout=1h", `{"text":"a"}`, 400, "bad_parameter"},
		{"GET", path + "/records/7", nil, 404, "unknown_record"},
		{"GET", path + "/records/x", nil, 400, "bad_parameter"},
		{"GET", path + "/records?limit=201", nil, 400, "bad_parameter"},
		{"POST", path + "/validate", `[]`, 422, "bad_value"},
		{"POST", path + "/validate", `[{"seq":1}]`, 422, "bad_value"},
		{"POST", path + "/validate", `[{"seq":1,"text":"a","bytes":"YQ"}]`, 422, "bad_value"},
		{"DELETE", path, nil, 405, "method_not_allowed"},
	} {
		r := siem.ask(c.method, c.path, c.body)
		if r.status != c.status || r.code() != c.code {
			t.Errorf("%s %s %.80v: HTTP %d %q, want %d %q: %.300s", c.method, c.path, c.body, r.status, r.code(), c.status, c.code, r.body)
		}
	}
	channelID := idOf(t, id)
	if h := w.head(channelID); h.Event != 0 || h.Seq != 0 {
		t.Errorf("the channel moved: %+v", h)
	}
}

// TestManagedContent: what is written in each form is read in the form that its kind allows; hidden and public channels too.
func TestManagedContent(t *testing.T) {
	w := startManaged(t, networkOptions{}, []string{"siem"})
	siem := w.tools["siem"]
	_, hidden := siem.create(client.ManagedChannel{Name: "investigation", Description: "of the leak", Hidden: true})
	var shown client.Channel
	if siem.ask("GET", hidden, nil).into(200, &shown); shown.Name != "investigation" || shown.Description != "of the leak" || shown.SealedProfile != "" || !shown.Hidden {
		t.Errorf("a hidden channel: %+v", shown)
	}
	_, open := siem.create(client.ManagedChannel{Name: "notices", Access: "public"})
	for _, path := range []string{hidden, open} {
		for _, c := range []struct{ sent, want string }{
			{`{"text":"plain <b> \u2028"}`, `"mediaType":"text/plain","text":"plain \u003cb\u003e \u2028"`},
			{`{"json":{"b":[1.5, true ],"a":null}}`, `"mediaType":"application/json","json":{"b":[1.5,true],"a":null}`},
			{`{"json":null}`, `"mediaType":"application/json","json":null`},
			{`{"bytes":"AP/+/w=="}`, `"mediaType":"application/octet-stream","bytes":"AP_-_w"`},
			{`{"bytes":"_wA"}`, `"bytes":"_wA"`},
			{`{"bytes":"YWJj","mediaType":"text/csv; charset=utf-8","meta":{"name":"a.csv"}}`, `"mediaType":"text/csv; charset=utf-8","meta":{"name":"a.csv"},"text":"abc"`},
			{`{"text":""}`, `"text":""`},
			{`{"public":{"level":3}}`, `"public":{"level":3},"code":"no_body"`},
		} {
			var done client.ManagedDone
			siem.ask("POST", path+"/records?receipts=false", c.sent).into(201, &done)
			if got := siem.ask("GET", fmt.Sprint(path, "/records/", done.Seq), nil).want(200); !strings.Contains(string(got.body), c.want) {
				t.Errorf("%s %s: got %s, want %s", path[:20], c.sent, got.body, c.want)
			}
		}
	}
	var l pageOf[client.Channel]
	if siem.ask("GET", "/channels?limit=1", nil).into(200, &l); len(l.Items) != 1 || l.Next == nil {
		t.Fatalf("a page of channels: %+v", l)
	}
	if siem.ask("GET", "/channels?limit=1&cursor="+*l.Next, nil).into(200, &l); len(l.Items) != 1 || l.Next != nil {
		t.Errorf("the next page of channels: %+v", l)
	}
	var page pageOf[client.ManagedEntry]
	if siem.ask("GET", open+"/records?order=desc&limit=2", nil).into(200, &page); len(page.Items) != 2 || page.Items[0].Seq != 8 || page.Next == nil {
		t.Errorf("a page of records: %+v", page)
	}
}

// TestManagedSensor: a tool that may only write seals without the epoch's key, and cannot read back what it wrote.
func TestManagedSensor(t *testing.T) {
	w := startManaged(t, networkOptions{}, []string{"siem", "sensor"})
	siem, sensor := w.tools["siem"], w.tools["sensor"]
	_, path := siem.create(client.ManagedChannel{
		Name: "temperatures", Tags: []string{"hall-2", "hall-1"}, Roles: map[string]client.ManagedRole{"sensor": {Rights: []string{"write"}, Tags: []string{"hall-1"}}},
		Grants: []client.ManagedGrant{{Participant: sensor.did, Roles: []string{"sensor"}}},
	})
	value := "42 degrees"
	sensor.ask("POST", path+"/records", client.ManagedRecord{Text: &value, Tag: "hall-1"}).want(201)
	sensor.ask("POST", path+"/records", client.ManagedRecord{Text: &value, Tag: "hall-2"}).refused(403, "tag_not_allowed")
	large := strings.Repeat("measured ", 3000)
	sensor.ask("POST", path+"/records", client.ManagedRecord{Text: &large, Tag: "hall-1"}).want(201)
	equal(t, "records of the sensor", sensor.texts(path), []string{"(no_key)", "(detached)"})
	equal(t, "records of the SIEM", siem.texts(path), []string{value, "(detached)"})
	var e client.ManagedEntry
	if siem.ask("GET", path+"/records/2", nil).into(200, &e); e.Text == nil || *e.Text != large {
		t.Errorf("a large record of a sensor has code %q", e.Code)
	}
	if r := sensor.ask("GET", path+"/records/2", nil); r.status != 200 || !strings.Contains(string(r.body), `"code":"no_key"`) {
		t.Errorf("the sensor reads its large record: HTTP %d %.300s", r.status, r.body)
	}
	sensor.ask("POST", path+"/grants", client.ManagedGrants{Grants: []client.ManagedGrant{{Participant: sensor.did, Rights: []string{"read"}}}}).refused(403, "right_missing")
}

// TestManagedLive follows a channel in clear, resumes, and ends with the right.
func TestManagedLive(t *testing.T) {
	w := startManaged(t, networkOptions{}, []string{"siem"}, []string{"erp"})
	siem, erp := w.tools["siem"], w.tools["erp"]
	_, path := siem.create(client.ManagedChannel{Name: "incidents", Grants: []client.ManagedGrant{{Participant: erp.did, Rights: []string{"read"}, Custody: "node"}}})
	siem.ask("POST", path+"/records", text("one\ntwo")).want(201)
	w.Settle()
	node, err := client.New(client.Config{URL: "http://" + w.Nodes[1].APIAddr(), Token: erp.key})
	if err != nil {
		t.Fatal(err)
	}
	defer node.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var got []string
	first := uint64(0)
	err = node.FollowManaged(ctx, idOf(t, path), &first, func(h client.ManagedHappening) error {
		switch {
		case h.Record == nil:
			got = append(got, h.Name)
		case h.Record.Text == nil:
			got = append(got, "("+h.Record.Code+")")
		default:
			got = append(got, *h.Record.Text)
		}
		switch len(got) {
		case 1:
			siem.ask("POST", path+"/records", text(strings.Repeat("long ", 4000))).want(201)
		case 2:
			siem.ask("POST", path+"/revocations", client.ManagedRevocation{Participants: []string{erp.did}}).want(200)
		}
		return nil
	}, nil)
	if client.ProblemCode(err) != "revoked" {
		t.Errorf("the feed ends with %v", err)
	}
	equal(t, "events", got, []string{"one\ntwo", "(detached)"})
	erp.ask("GET", path+"/live", nil).refused(403, "not_participant")
	w.call(1, "GET", "/api/v1/managed"+path+"/live", nil).refused(401, "unauthenticated")
}

// TestManagedNodesAreBlind: also with managed mode on no plaintext is on a disk, in a log, or in what the operator is told.
func TestManagedNodesAreBlind(t *testing.T) {
	const marker = "MARKER-19c4e7-managed"
	w := startManaged(t, networkOptions{nodes: 2, onDisk: true}, []string{"siem"}, []string{"erp"})
	siem, erp := w.tools["siem"], w.tools["erp"]
	_, path := siem.create(client.ManagedChannel{Name: "incidents", Grants: []client.ManagedGrant{{Participant: erp.did, Rights: []string{"read", "write"}, Custody: "node"}}})
	_, hidden := siem.create(client.ManagedChannel{Name: marker, Description: marker, Hidden: true})
	for _, body := range []client.ManagedRecord{
		text(marker), {JSON: json.RawMessage(`{"a":"` + marker + `"}`), Meta: json.RawMessage(`{"b":"` + marker + `"}`)}, text(strings.Repeat(marker, 2000)),
	} {
		erp.ask("POST", path+"/records", body).want(201)
	}
	siem.ask("POST", hidden+"/records", text(marker)).want(201)
	erp.ask("POST", path+"/records", `{"text":"`+marker+`","tag":"no"}`).refused(422, "tag_unknown")
	erp.ask("POST", path+"/records", `{"text":"`+marker+`","`+marker+`":1}`).refused(422, "unknown_field")
	w.Settle()
	for _, tool := range []*managedTool{siem, erp} {
		if r := tool.ask("GET", path+"/records", nil).want(200); !strings.Contains(string(r.body), marker) || r.header.Get("Cache-Control") != "no-store" {
			t.Errorf("a tool does not read the marker: %v %.200s", r.header, r.body)
		}
		tool.ask("GET", path+"/records/3", nil).want(200)
	}
	operator := []string{"Authorization", "Bearer " + operatorToken}
	for i := range w.Nodes {
		for _, route := range []string{"/channels?limit=200", path, path + "/records", path + "/records/1", path + "/events", path + "/export", hidden, "/messages?limit=200", "/node", "/explorer/overview"} {
			w.mustNotHave(route, w.call(i, "GET", "/api/v1"+route, nil, operator...).body, marker)
		}
		w.call(i, "GET", "/api/v1/managed"+path+"/records", nil, operator...).refused(403, "forbidden")
		for _, f := range w.Nodes[i].Vitals().Facts {
			w.mustNotHave("a figure", fmt.Append(nil, f), marker)
		}
	}
	w.Stop()
	for i, dir := range w.dirs {
		files := 0
		w.eachFile(dir, func(name string, content []byte) {
			files++
			w.mustNotHave(name, content, marker)
		})
		if files < 3 {
			t.Errorf("node %d has %d files", i, files)
		}
		w.mustNotHave("log of a node", w.logs[i].bytes(), marker)
	}
}
