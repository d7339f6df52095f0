package identity

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"weft/config"
	"weft/config/genesis"
	"weft/gossip/wire"
	"weft/internal/store"
	"weft/node"
	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/rest"
	"weft/tangle"
)

// network is some members' nodes in this process, with the plugin, reached over HTTP as a client reaches them.
type network struct {
	t     *testing.T
	id    tangle.ID
	nodes []*node.Node
	clock *testClock
	http  *http.Client
}

// testClock is the plugin's clock: real time, moved forward by tests.
type testClock struct {
	mu    sync.Mutex // guards ahead
	ahead time.Duration
}

func (c *testClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *testClock) forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
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
	g := &genesis.Genesis{
		Version: genesis.Version, Network: "test", Time: tangle.TimeOf(time.Now().Add(-time.Minute)),
		Limits: tangle.DefaultLimits(), Consensus: genesis.DefaultConsensus(),
		Plugins: []genesis.Plugin{{Name: Name, Config: json.RawMessage(o.genesis)}},
	}
	var keys []ed25519.PrivateKey
	for i := range o.nodes {
		seed := sha256.Sum256(fmt.Appendf(nil, "member %d", i))
		keys = append(keys, ed25519.NewKeyFromSeed(seed[:]))
		member := tangle.Member(keys[i].Public().(ed25519.PublicKey))
		g.Members = append(g.Members, genesis.Member{Key: member, Name: fmt.Sprint("m", i), Roles: []string{genesis.RoleValidator}})
	}
	w := &network{t: t, id: g.ID(), clock: &testClock{}, http: &http.Client{
		Timeout: 40 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	w.run(g, keys, o)
	return w
}

func (w *network) run(g *genesis.Genesis, keys []ed25519.PrivateKey, o networkOptions) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, len(keys))
	w.t.Cleanup(func() {
		cancel()
		for range w.nodes {
			if err := <-done; err != nil {
				w.t.Errorf("node: %v", err)
			}
		}
		w.http.CloseIdleConnections()
	})
	var peers []wire.Peer
	for i, key := range keys {
		api := config.Default().API
		api.Listen, api.Read, api.Submit, api.Limits = "127.0.0.1:0", config.AccessOpen, config.AccessOpen, config.Limits{}
		if o.api != nil {
			o.api(&api)
		}
		c := node.Config{
			Genesis: g, Key: key, Store: store.NewMemory(), Tuning: node.DefaultTuning(), Makers: []plugins.Maker{MakerAt(w.clock.now)},
			API: node.APIConfig{API: api, OperatorToken: operatorToken}, Listen: []string{"/ip4/127.0.0.1/tcp/0"}, Peers: peers, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
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
		n, err := node.Open(c)
		if err != nil {
			w.t.Fatal(err)
		}
		w.nodes = append(w.nodes, n)
		peers = append(peers, wire.Peer{Member: tangle.Member(key.Public().(ed25519.PublicKey)), Addrs: n.WireAddrs()})
		go func() { done <- n.Run(ctx) }()
	}
	for _, n := range w.nodes {
		w.awaitQuorum(n)
	}
}

// awaitQuorum returns when a node takes entries: a fresh one first hears from a quorum.
func (w *network) awaitQuorum(n *node.Node) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	for {
		changed := n.Changed()
		_, _, err := n.Publish(ctx, []plugins.Submission{{Kind: tangle.KindData, Data: node.Data{Tag: "test", Bytes: []byte("ready")}.Encode()}})
		if err == nil {
			return
		}
		if r := plugins.Rejected(err); r == nil || r.Code != "no_quorum" {
			w.t.Fatal(err)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			w.t.Fatal("the node never became ready")
		}
	}
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
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case []byte:
		reader = bytes.NewReader(b)
	case string:
		reader = strings.NewReader(b)
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			w.t.Fatal(err)
		}
		reader = bytes.NewReader(raw)
	}
	r, err := http.NewRequest(method, "http://"+w.nodes[i].APIAddr()+path, reader)
	if err != nil {
		w.t.Fatal(err)
	}
	if reader != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	for k := 0; k+1 < len(headers); k += 2 {
		r.Header.Set(headers[k], headers[k+1])
	}
	response, err := w.http.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return reply{w.t, method + " " + path, response.StatusCode, response.Header, text}
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
	head, ok, err := did.ReadHead(w.nodes[i].PluginView(Name), p.did)
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
