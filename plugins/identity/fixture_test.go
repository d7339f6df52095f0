package identity

import (
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"testing"

	"weft/config"
	"weft/config/genesis"
	"weft/internal/nodetest"
	"weft/internal/store"
	"weft/plugins/identity/did"
	"weft/plugins/rest"
	"weft/tangle"
)

// network is some members' nodes in this process, with the plugin, reached over HTTP as a client reaches them.
type network struct {
	*nodetest.Network
	t     *testing.T
	id    tangle.ID
	clock *nodetest.Clock
}

// networkOptions say what is special about a network. The zero value is one node with default limits, but for creates.
type networkOptions struct {
	nodes    int
	genesis  string // the plugin's section; default: many creates a minute
	settings func(i int) string
	dirs     func(i int) string // data folders, for keystores and contexts
	api      func(*config.API)
	store    func(i int) store.Store // default: a new one in memory
}

const operatorToken = "operator token of the tests"

// apiKey is the header of a new API key that reads with the rights of a DID.
func (w *network) apiKey(did string, scopes ...string) []string {
	w.t.Helper()
	var made struct{ Key string }
	w.call(0, "POST", "/api/v1/admin/api-keys", map[string]any{"name": "test", "did": did, "scopes": scopes}, bearer(operatorToken)...).into(201, &made)
	return []string{"X-API-Key", made.Key}
}

// start runs a network until the test ends.
func start(t *testing.T, o networkOptions) *network {
	t.Helper()
	o.nodes = max(o.nodes, 1)
	if o.genesis == "" {
		o.genesis = `{"limits":{"maxCreatesPerMinute":1000000,"maxUpdatesPerDay":1000000}}`
	}
	n := nodetest.New(t, o.nodes, genesis.Plugin{Name: Name, Config: json.RawMessage(o.genesis)})
	w := &network{Network: n, t: t, id: n.Genesis.ID(), clock: &nodetest.Clock{}}
	for i := range o.nodes {
		c := w.Next(MakerAt(w.clock.Now))
		c.API.OperatorToken = operatorToken
		if o.api != nil {
			o.api(&c.API.API)
		}
		if o.settings != nil {
			c.Sections = map[string]json.RawMessage{Name: json.RawMessage(o.settings(i))}
		}
		if o.dirs != nil {
			c.Dir = o.dirs(i)
		}
		if o.store != nil {
			c.Store = o.store(i)
		}
		w.Open(c)
	}
	w.AwaitQuorum(w.Nodes...)
	return w
}

// reply is a node's answer.
type reply struct {
	t      *testing.T
	name   string
	status int
	header http.Header
	body   []byte
}

// call sends a request to node i. Headers come in pairs; a body is JSON unless a header says otherwise.
func (w *network) call(i int, method, path string, body any, headers ...string) reply {
	w.t.Helper()
	status, header, answer := w.Call(i, method, path, body, headers...)
	return reply{w.t, method + " " + path, status, header, answer}
}

// into wants a status and decodes the body.
func (r reply) into(status int, v any) reply {
	r.t.Helper()
	r.want(status)
	if err := json.Unmarshal(r.body, v); err != nil {
		r.t.Fatalf("%s: %v: %.300s", r.name, err, r.body)
	}
	return r
}

func (r reply) want(status int) reply {
	r.t.Helper()
	if r.status != status {
		r.t.Fatalf("%s: HTTP %d, want %d: %.600s", r.name, r.status, status, r.body)
	}
	return r
}

// refused wants a problem with a code.
func (r reply) refused(status int, code string) reply {
	r.t.Helper()
	var p struct{ Code string }
	_ = json.Unmarshal(r.body, &p)
	if r.status != status || p.Code != code {
		r.t.Errorf("%s: HTTP %d %q, want %d %q: %.600s", r.name, r.status, p.Code, status, code, r.body)
	}
	return r
}

// keyOf is a key that a name stands for.
func keyOf(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("key " + name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func multikeyOf(k ed25519.PrivateKey) string {
	return did.Ed25519Key(k.Public().(ed25519.PublicKey)).Multikey()
}

// person is a DID with the keys that change it and the one in its document, #key-1.
type person struct {
	name   string
	did    did.DID
	update ed25519.PrivateKey
	key    ed25519.PrivateKey
}

func (p person) method() string { return p.did.String() + "#key-1" }

// content is a document with one key in all relationships that sign, and one update key without pre-rotation.
func content(update, key ed25519.PrivateKey) did.Content {
	return did.Content{
		Params:   did.Params{UpdateKeys: []string{multikeyOf(update)}, Threshold: 1, NextKeyHashes: []string{}, TTL: 60},
		Document: documentOf(key),
	}
}

func documentOf(key ed25519.PrivateKey) did.Object {
	return did.Object{
		"verificationMethod": []any{did.Object{"id": "#key-1", "type": "Multikey", "publicKeyMultibase": multikeyOf(key)}},
		"authentication":     []any{"#key-1"}, "assertionMethod": []any{"#key-1"}, "capabilityInvocation": []any{"#key-1"},
	}
}

// newPerson makes keys and the signed create operation of a DID.
func (w *network) newPerson(name string) (person, []byte) {
	w.t.Helper()
	p := person{name: name, update: keyOf(name + " update"), key: keyOf(name + " key")}
	nonce := sha256.Sum256([]byte(name))
	body, d, err := did.Create(w.id, [did.NonceBytes]byte(nonce[:]), content(p.update, p.key))
	if err != nil {
		w.t.Fatal(err)
	}
	p.did = d
	raw, err := did.Sign(body, p.update)
	if err != nil {
		w.t.Fatal(err)
	}
	return p, raw
}

// create puts a new DID on the ledger through node i and waits until it is final.
func (w *network) create(i int, name string) person {
	w.t.Helper()
	p, raw := w.newPerson(name)
	w.call(i, "POST", "/api/v1/identities?wait=final&timeout=30s", raw).want(201)
	return p
}

// noHash makes ed25519.PrivateKey.Sign sign the message itself.
type noHash struct{}

func (noHash) HashFunc() crypto.Hash { return 0 }

// update gives a DID other content through node i and waits until it is final.
func (w *network) update(i int, p person, c did.Content) reply {
	w.t.Helper()
	head, ok, err := did.ReadHead(w.Nodes[i].PluginView(Name), p.did)
	if err != nil || !ok {
		w.t.Fatalf("head of %s: %v %v", p.name, ok, err)
	}
	raw, err := did.Sign(did.Update(w.id, p.did, head, c), p.update)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.call(i, "PUT", "/api/v1/identities/"+p.did.String()+"/document?wait=final&timeout=30s", raw)
}

// resultText is a member of what an operation made or changed.
func resultText(a rest.StateAnswer, name string) string {
	text, _ := a.Result[name].(string)
	return text
}
