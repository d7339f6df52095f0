package streams

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weft/client"
	"weft/plugins/identity/did"
	"weft/plugins/identity/keyfile"
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
	w.settle()
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
	x.w.settle()
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
	w.settle()
	siem.ask("POST", path+"/grants", client.ManagedGrants{Grants: []client.ManagedGrant{{Participant: erp.did}}}).want(200)
	w.settle()

	var done client.ManagedDone
	record := client.ManagedRecord{JSON: json.RawMessage(`{ "amount": 12.5 }`), RecordType: "order", Tag: "ids", Public: json.RawMessage(`{"class":"b"}`), Meta: json.RawMessage(`{"desk":7}`)}
	erp.ask("POST", path+"/records", record).into(201, &done)
	if done.Seq != 1 || done.Event == nil || done.Channel.String() != id || done.ContentHash == nil || done.Place == nil || done.Receipt == "" {
		t.Errorf("written: %+v", done)
	}
	w.settle()
	var e client.ManagedEntry
	siem.ask("GET", path+"/records/1", nil).into(200, &e)
	if string(e.JSON) != `{"amount":12.5}` || e.Author != erp.did || e.MediaType != "application/json" || string(e.Public) != `{"class":"b"}` ||
		string(e.Meta) != `{"desk":7}` || e.RecordType != "order" || *e.ContentHash != *done.ContentHash || !e.Final {
		t.Errorf("read: %+v", e)
	}
	large := strings.Repeat("a large alert ", 5000)
	siem.ask("POST", path+"/records", text(large)).want(201)
	siem.ask("POST", path+"/records", text("port scan")).want(201)
	w.settle()
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
