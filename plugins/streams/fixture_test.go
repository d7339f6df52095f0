package streams

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"weft/config/genesis"
	"weft/internal/nodetest"
	"weft/internal/store"
	"weft/plugins"
	"weft/plugins/identity"
	"weft/plugins/identity/did"
	"weft/plugins/identity/vc"
	"weft/plugins/metrics"
	"weft/plugins/streams/channel"
	"weft/tangle"
)

// network is some members' nodes in this process, with identity and this plugin, reached over HTTP as a client reaches them.
type network struct {
	*nodetest.Network
	t       *testing.T
	options networkOptions
	id      tangle.ID
	dirs    []string // also of nodes that have run
	stores  []store.Store
	logs    []*lockedBuffer
	clock   *nodetest.Clock

	mu     sync.Mutex // guards tokens
	tokens map[string]string
}

// lockedBuffer is a log in memory.
type lockedBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

// Write implements io.Writer.
func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) bytes() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Clone(b.b.Bytes())
}

const operatorToken = "operator token of the tests"

type networkOptions struct {
	nodes    int
	absent   int // of the nodes: they have not joined yet
	settings func(i int) string
	prepare  func(w *network, i int, dir string)    // before node i opens
	opened   func(h plugins.Host, p plugins.Plugin) // told of this plugin at each node
	listen   string                                 // of the API; empty: loopback
	onDisk   bool                                   // stores are files, so that they can be searched
	onClock  bool                                   // nodes follow the test's clock as the plugin does: commit times move with it
	pace     pace                                   // of streams; zero: as it is
	careless bool                                   // the last node that is not absent puts into its messages whatever it is given
}

// start runs a network until the test ends.
func start(t *testing.T, o networkOptions) *network {
	t.Helper()
	o.nodes = max(o.nodes, 1)
	if o.pace == (pace{}) {
		o.pace = pace{beat: streamBeat, block: MaxStreamBlock}
	}
	n := nodetest.New(t, o.nodes,
		genesis.Plugin{Name: identity.Name, Config: json.RawMessage(`{"limits":{"maxCreatesPerMinute":1000000,"maxUpdatesPerDay":1000000}}`)},
		genesis.Plugin{Name: Name})
	w := &network{Network: n, t: t, options: o, id: n.Genesis.ID(), clock: &nodetest.Clock{}, tokens: map[string]string{}}
	for range o.nodes - o.absent {
		w.open()
	}
	w.AwaitQuorum(w.Nodes...)
	return w
}

// join starts the next member's node, one that has never run or that halt has stopped, and waits until it takes entries.
func (w *network) join() {
	w.t.Helper()
	w.open()
	w.AwaitQuorum(w.Nodes[len(w.Nodes)-1])
	w.Settle()
}

// halt stops the node that was opened last. Its folder stays, and its store as far as it is on disk or was closed.
func (w *network) halt() {
	w.t.Helper()
	w.Halt()
	i := len(w.Nodes)
	for name := range w.tokens {
		if strings.HasPrefix(name, fmt.Sprint(i, "did:")) {
			delete(w.tokens, name)
		}
	}
}

func (w *network) open() {
	w.t.Helper()
	i := len(w.Nodes)
	if i == len(w.dirs) {
		w.dirs, w.stores, w.logs = append(w.dirs, w.t.TempDir()), append(w.stores, nil), append(w.logs, &lockedBuffer{})
		if w.options.prepare != nil {
			w.options.prepare(w, i, w.dirs[i])
		}
	}
	w.stores[i] = w.storeOf(i)
	c := w.Next(identity.MakerAt(w.clock.Now), w.maker(i), metrics.Maker())
	c.Store, c.Dir, c.API.OperatorToken = w.stores[i], w.dirs[i], operatorToken
	c.Log = slog.New(slog.NewTextHandler(w.logs[i], &slog.HandlerOptions{Level: slog.LevelDebug}))
	if w.options.onClock {
		c.Now = w.clock.Now
	}
	if w.options.listen != "" {
		c.API.Listen, c.API.Insecure = w.options.listen, true
	}
	if w.options.settings != nil {
		c.Sections = map[string]json.RawMessage{Name: json.RawMessage(w.options.settings(i))}
	}
	w.Open(c)
}

func (w *network) maker(i int) plugins.Maker {
	return plugins.Maker{Name: Name, Open: func(h plugins.Host) (plugins.Plugin, error) {
		p, err := openPaced(h, w.clock.Now, w.options.pace)
		if w.options.opened != nil {
			w.options.opened(h, p)
		}
		if w.options.careless && i == w.options.nodes-1-w.options.absent {
			p.Admit = nil
		}
		return p, err
	}}
}

// storeOf opens what a node keeps: also what it kept when it was halted.
func (w *network) storeOf(i int) store.Store {
	w.t.Helper()
	if !w.options.onDisk {
		if m, ok := w.stores[i].(*store.Memory); ok {
			return m.Crash()
		}
		return store.NewMemory()
	}
	s, err := store.OpenBadger(store.BadgerConfig{Dir: filepath.Join(w.dirs[i], "store"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		w.t.Fatal(err)
	}
	return s
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
	return reply{w.t, fmt.Sprint("node ", i, ": ", method, " ", path), status, header, answer}
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

// code is that of a problem; empty if the answer is none.
func (r reply) code() string {
	var p struct{ Code string }
	_ = json.Unmarshal(r.body, &p)
	return p.Code
}

// refused wants a problem with a code.
func (r reply) refused(status int, code string) reply {
	r.t.Helper()
	if r.status != status || r.code() != code {
		r.t.Errorf("%s: HTTP %d %q, want %d %q: %.600s", r.name, r.status, r.code(), status, code, r.body)
	}
	return r
}

// person is a DID with its keys.
type person struct {
	name      string
	did       string
	key       ed25519.PrivateKey
	agreement *ecdh.PrivateKey
	to        string // DID URL of the agreement key
	entry     []byte // that creates it
}

func keysOf(name string) (ed25519.PrivateKey, *ecdh.PrivateKey) {
	seed, secret := sha256.Sum256([]byte("key "+name)), sha256.Sum256([]byte("agreement "+name))
	agreement, err := ecdh.X25519().NewPrivateKey(secret[:])
	if err != nil {
		panic(err)
	}
	return ed25519.NewKeyFromSeed(seed[:]), agreement
}

// people puts DIDs on the ledger through node 0, all at once, and waits until every node knows them.
func (w *network) people(names ...string) (list []*person) {
	w.t.Helper()
	for _, name := range names {
		p := w.newPerson(name)
		w.call(0, "POST", "/api/v1/identities", p.entry).want(202)
		list = append(list, p)
	}
	last := list[len(list)-1]
	w.call(0, "POST", "/api/v1/identities?wait=final&timeout=30s", last.entry).want(201)
	w.Settle()
	return list
}

func (w *network) newPerson(name string) *person {
	w.t.Helper()
	p := &person{name: name}
	p.key, p.agreement = keysOf(name)
	public := p.key.Public().(ed25519.PublicKey)
	body, d, err := did.Create(w.id, [did.NonceBytes]byte([]byte(fmt.Sprintf("%-16.16s", name))), did.Content{
		Params:   did.NewParams([]string{did.Ed25519Key(public).Multikey()}),
		Document: did.DefaultDocument(public, did.PublicKey{Type: did.X25519, Bytes: p.agreement.PublicKey().Bytes()}),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	p.did, p.to = d.String(), d.String()+"#key-2"
	if p.entry, err = did.Sign(body, p.key); err != nil {
		w.t.Fatal(err)
	}
	return p
}

func (p *person) multikey() string {
	return did.PublicKey{Type: did.X25519, Bytes: p.agreement.PublicKey().Bytes()}.Multikey()
}

// method is the verification method that logs in.
func (p *person) method() string {
	if key, ok := strings.CutPrefix(p.did, "did:key:"); ok {
		return p.did + "#" + key
	}
	return p.did + "#key-1"
}

// login gets a token at node i.
func (w *network) login(i int, p *person) string {
	w.t.Helper()
	name := fmt.Sprint(i, p.did)
	w.mu.Lock()
	token := w.tokens[name]
	w.mu.Unlock()
	if token != "" {
		return token
	}
	var c struct{ ChallengeID, Nonce, Audience string }
	w.call(i, "POST", "/api/v1/auth/challenges", map[string]string{"did": p.did}).into(200, &c)
	claims := did.Object{"iss": p.did, "aud": c.Audience, "nonce": c.Nonce, "iat": w.clock.Now().Unix()}
	jws, err := vc.SignJWS("weft-login+jwt", p.method(), claims, func(b []byte) ([]byte, error) { return ed25519.Sign(p.key, b), nil })
	if err != nil {
		w.t.Fatal(err)
	}
	var a struct{ AccessToken string }
	w.call(i, "POST", "/api/v1/auth/tokens", map[string]string{"challengeId": c.ChallengeID, "jws": jws}).into(200, &a)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tokens[name] = a.AccessToken
	return a.AccessToken
}

// as is call by somebody who has logged in; nil is nobody.
func (w *network) as(i int, p *person, method, path string, body any, headers ...string) reply {
	w.t.Helper()
	if p != nil {
		headers = append(headers, "Authorization", "Bearer "+w.login(i, p))
	}
	return w.call(i, method, "/api/v1"+path, body, headers...)
}

func ptr[T any](v T) *T { return &v }

// header is that of an operation behind the newest event that node 0 knows.
func (w *network) header(p *person, id channel.ID) channel.Header {
	w.t.Helper()
	nonce, err := channel.NewNonce(rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	now := tangle.TimeOf(w.clock.Now())
	h := channel.Header{Network: w.id, Channel: id, Actor: p.did, Nonce: nonce, Created: now, NotAfter: now/1000*1000 + 3_600_000}
	h.After = channel.After{Head: channel.FirstHead(id)}
	if _, head, err := channel.ReadChannel(w.view(0), id); err == nil {
		h.After = channel.After{Event: head.Event, Head: head.Hash}
	}
	return h
}

func (w *network) view(i int) plugins.View { return w.Nodes[i].Ledger.PluginView(Name) }

func (w *network) head(id channel.ID) channel.Head {
	w.t.Helper()
	_, h, err := channel.ReadChannel(w.view(0), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return h
}

func (w *network) sign(p *person, body did.Object) []byte {
	w.t.Helper()
	entry, err := channel.Sign(body, p.key)
	if err != nil {
		w.t.Fatal(err)
	}
	return entry
}

// post sends a signed operation to node i and waits until it is final.
func (w *network) post(i int, p *person, id channel.ID, body did.Object) reply {
	w.t.Helper()
	return w.postEntry(i, id, w.sign(p, body))
}

func (w *network) postEntry(i int, id channel.ID, entry []byte) reply {
	w.t.Helper()
	return w.call(i, "POST", "/api/v1/channels/"+id.String()+"/operations?wait=final&timeout=30s&receipts=false", entry)
}

// done wants an operation to be accepted, and every node to know.
func (w *network) done(p *person, id channel.ID, body did.Object) {
	w.t.Helper()
	w.post(0, p, id, body).want(200)
	w.Settle()
}

// epochKeyOf is the key of an epoch in these tests.
func epochKeyOf(id channel.ID, number uint32) channel.Key {
	k := channel.Key(id)
	k[0] ^= byte(number)
	return k
}

// epoch makes an epoch with wraps, chained if history is full.
func (w *network) epoch(id channel.ID, number uint32, chained bool, to ...*person) *channel.Epoch {
	w.t.Helper()
	var before *channel.Key
	if chained {
		before = ptr(epochKeyOf(id, number-1))
	}
	e, err := epochKeyOf(id, number).NewEpoch(id, number, before)
	if err != nil {
		w.t.Fatal(err)
	}
	e.Wraps = w.wraps(id, number, to...)
	return e
}

func (w *network) wraps(id channel.ID, number uint32, to ...*person) (list []channel.Wrap) {
	w.t.Helper()
	for _, p := range to {
		wrap, err := epochKeyOf(id, number).Wrap(id, number, p.to, p.agreement.PublicKey().Bytes())
		if err != nil {
			w.t.Fatal(err)
		}
		list = append(list, wrap)
	}
	return list
}

// create makes a private channel of an owner, who alone has the key, through node 0.
func (w *network) create(owner *person, change ...func(channel.ID, *channel.CreateTerms)) channel.ID {
	w.t.Helper()
	h := w.header(owner, channel.ID{})
	id := channel.NewID(w.id, owner.did, h.Nonce)
	terms := channel.CreateTerms{
		Access: channel.Private, Profile: channel.Stream, Settings: channel.Settings{Name: ptr("channel " + id.String()[:8])},
		Epoch: w.epoch(id, 1, false, owner),
	}
	for _, c := range change {
		c(id, &terms)
	}
	w.call(0, "POST", "/api/v1/channels?wait=final&timeout=30s", w.sign(owner, channel.NewCreate(h, terms))).want(201)
	w.Settle()
	return id
}

func public(_ channel.ID, t *channel.CreateTerms) { t.Access, t.Epoch = channel.Public, nil }

func history(h channel.History) func(channel.ID, *channel.CreateTerms) {
	return func(_ channel.ID, t *channel.CreateTerms) { t.Settings.History = &h }
}

// grant authorizes people with rights, with the key of the current epoch for readers.
func (w *network) grant(owner *person, id channel.ID, rights channel.Rights, people ...*person) {
	w.t.Helper()
	var grants []channel.Grant
	var keys []channel.Keys
	for _, p := range people {
		g := channel.Grant{Participant: p.did, Rights: rights}
		if rights&channel.Audit != 0 {
			g.ValidUntil = tangle.TimeOf(w.clock.Now().Add(time.Hour).Truncate(time.Second))
		}
		if strings.HasPrefix(p.did, "did:key:") {
			g.Agreement = p.multikey()
		}
		grants = append(grants, g)
	}
	if number := w.head(id).Epoch; rights.Reads() && number > 0 {
		keys = append(keys, channel.Keys{Number: number, Wraps: w.wraps(id, number, people...)})
	}
	w.done(owner, id, channel.NewAuthorize(w.header(owner, id), grants, keys, nil))
}

// sealed is a write of a text under the current epoch.
func (w *network) sealed(p *person, id channel.ID, text string, t channel.RecordTerms) did.Object {
	w.t.Helper()
	number := w.head(id).Epoch
	return w.sealedUnder(w.header(p, id), number, text, t)
}

func (w *network) sealedUnder(h channel.Header, number uint32, text string, t channel.RecordTerms) did.Object {
	w.t.Helper()
	k := epochKeyOf(h.Channel, number)
	body, err := channel.Seal(rand.Reader, channel.Sealer{Epoch: number, Key: &k}, channel.NewWrite(h, t), did.Object{"mediaType": "text/plain"}, []byte(text))
	if err != nil {
		w.t.Fatal(err)
	}
	return body
}

// page is a list as a node gives it.
type pageOf[T any] struct {
	Items []T
	Next  *string
}

func channelPath(id channel.ID, more ...string) string {
	return "/channels/" + id.String() + strings.Join(more, "")
}

// seqs are the records that somebody is served at node i.
func (w *network) seqs(i int, p *person, id channel.ID, query string) (list []uint64) {
	w.t.Helper()
	var l pageOf[eventView]
	w.as(i, p, "GET", channelPath(id, "/records?limit=200"+query), nil).into(200, &l)
	for _, r := range l.Items {
		list = append(list, r.Seq)
	}
	return list
}

func equal[T comparable](t *testing.T, what string, got, want []T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}
