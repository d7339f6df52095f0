package identity

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"weft/internal/nodetest"
	"weft/internal/store"
	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/plugintest"
	"weft/tangle"
)

// offline is the plugin over a state that a test writes entry by entry, each at a time of its choice. No node runs.
type offline struct {
	t      testing.TB
	id     tangle.ID
	ledger ledger
	plugin plugins.Plugin
	state  memory
	index  memory
	local  *plugintest.Local
	head   plugins.Head
	clock  *nodetest.Clock

	caughtUp func() // what CatchUp brings
}

// memory is a state or an index in a store.
type memory struct {
	store  store.Store
	prefix byte
}

func (m memory) key(key []byte) []byte { return append([]byte{m.prefix}, key...) }

func (m memory) Get(key []byte) []byte {
	value, err := m.store.Get(m.key(key))
	if err != nil {
		return nil
	}
	return value
}

func (m memory) Scan(from, to []byte, visit func(key, value []byte) bool) {
	end := []byte{m.prefix + 1}
	if to != nil {
		end = m.key(to)
	}
	_ = m.store.Scan(m.key(from), end, func(key, value []byte) bool { return visit(bytes.Clone(key[1:]), bytes.Clone(value)) })
}

func (m memory) Set(key, value []byte) {
	var b store.Batch
	b.Set(m.key(key), bytes.Clone(value))
	_ = m.store.Apply(&b, false)
}

func (m memory) Delete(key []byte) {
	var b store.Batch
	b.Delete(m.key(key))
	_ = m.store.Apply(&b, false)
}

func (m memory) State() plugins.View { return memory{m.store, 's'} }

func (m memory) Peek(string) plugins.View { return nil }

// openOffline opens the plugin over memory.
func openOffline(t testing.TB, settings string) *offline {
	t.Helper()
	return openOfflineOn(t, settings, store.NewMemory())
}

func openOfflineOn(t testing.TB, settings string, s store.Store) *offline {
	t.Helper()
	o := &offline{
		t: t, id: tangle.ID(sha256.Sum256([]byte("offline"))), state: memory{s, 's'}, index: memory{s, 'i'},
		local: plugintest.NewLocal(), clock: &nodetest.Clock{}, caughtUp: func() {},
	}
	h := plugins.Host{
		Network: o.id, Local: o.local, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Genesis: json.RawMessage(`{"limits":{"maxCreatesPerMinute":1000000,"maxUpdatesPerDay":1000000}}`),
		View:    func() plugins.View { return o.state }, IndexView: func() plugins.View { return o.index },
		Head: func() plugins.Head { return o.head }, CatchUp: func(context.Context) { o.caughtUp() },
		Receipt:   func(h tangle.Hash) ([]byte, error) { return h[:], nil },
		WaitFinal: func(context.Context, []tangle.Hash, tangle.ID) error { return nil },
		Entry:     func(tangle.Hash, tangle.ID) (plugins.EntryState, bool) { return plugins.EntryState{}, false },
	}
	if settings != "" {
		h.Config = json.RawMessage(settings)
	}
	var err error
	if o.plugin, err = openAt(h, o.clock.Now); err != nil {
		t.Fatal(err)
	}
	if o.ledger, err = openLedger(o.id, h.Genesis); err != nil {
		t.Fatal(err)
	}
	return o
}

// put executes an operation at a commit time and returns the code of its rejection. The newest certified commit is a
// minute younger.
func (o *offline) put(kind tangle.Kind, raw []byte, at time.Time) string {
	o.t.Helper()
	e := plugins.Ordered{Kind: kind, Hash: tangle.Hash(sha256.Sum256(raw)), Data: raw, Position: o.head.Position, Time: tangle.TimeOf(at)}
	var err error
	if e.Op, err = o.ledger.check(kind, raw); err == nil {
		err = o.ledger.apply(o.state, e)
	}
	rejected := plugins.Rejected(err)
	if err != nil && rejected == nil {
		o.t.Fatal(err)
	}
	o.ledger.index(o.index, e, rejected)
	o.head.Position++
	o.head.Time = max(o.head.Time, e.Time)
	o.head.Final, o.head.FinalTime = o.head.Position, o.head.Time.Add(time.Minute)
	if rejected != nil {
		return rejected.Code
	}
	return ""
}

// create puts a DID with a document.
func (o *offline) create(name string, c did.Content, at time.Time) person {
	o.t.Helper()
	p := person{name: name, update: keyOf(name + " update"), key: keyOf(name + " key")}
	nonce := sha256.Sum256([]byte(name))
	body, d, err := did.Create(o.id, [did.NonceBytes]byte(nonce[:]), c)
	if err != nil {
		o.t.Fatal(err)
	}
	p.did = d
	raw, err := did.Sign(body, p.update)
	if err != nil {
		o.t.Fatal(err)
	}
	if code := o.put(KindDID, raw, at); code != "" {
		o.t.Fatalf("create %s: %s", name, code)
	}
	return p
}

// person is a DID of openOffline with the usual content.
func (o *offline) person(name string, at time.Time) person {
	o.t.Helper()
	return o.create(name, content(keyOf(name+" update"), keyOf(name+" key")), at)
}

// updated is a signed update that follows the head.
func (o *offline) updated(p person, c did.Content) []byte {
	o.t.Helper()
	raw, err := did.Sign(did.Update(o.id, p.did, o.headOf(p), c), p.update)
	if err != nil {
		o.t.Fatal(err)
	}
	return raw
}

func (o *offline) headOf(p person) did.Head {
	o.t.Helper()
	head, found, err := did.ReadHead(o.state, p.did)
	if err != nil || !found {
		o.t.Fatalf("head of %s: %v %v", p.name, found, err)
	}
	return head
}

// ServeHTTP finds the route and serves it, as the node does for a caller without rights.
func (o *offline) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for _, route := range o.plugin.HTTP.List {
		values, ok := matchPath(route.Path, r.URL.EscapedPath())
		if !ok || route.Method != r.Method {
			continue
		}
		for name, value := range values {
			r.SetPathValue(name, value)
		}
		if err := route.Serve(w, r); err != nil {
			code := "internal"
			if rejected := plugins.Rejected(err); rejected != nil {
				code = rejected.Code
			}
			w.WriteHeader(http.StatusTeapot)
			fmt.Fprintf(w, `{"code":%q}`, code)
		}
		return
	}
	w.WriteHeader(http.StatusNotFound)
}

func matchPath(pattern, path string) (map[string]string, bool) {
	values := map[string]string{}
	want, got := strings.Split(pattern, "/"), strings.Split(path, "/")
	for i, part := range want {
		if name, rest := strings.CutSuffix(part, "...}"); rest {
			values[name[1:]] = strings.Join(got[min(i, len(got)):], "/")
			return values, len(got) > i
		}
		if i >= len(got) || !strings.HasPrefix(part, "{") && part != got[i] {
			return nil, false
		}
		if strings.HasPrefix(part, "{") {
			values[part[1:len(part)-1]], _ = url.PathUnescape(got[i])
		}
	}
	return values, len(want) == len(got)
}

// ask sends a request; headers come in pairs.
func (o *offline) ask(method, target, body string, headers ...string) reply {
	o.t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for k := 0; k+1 < len(headers); k += 2 {
		r.Header.Set(headers[k], headers[k+1])
	}
	w := httptest.NewRecorder()
	o.ServeHTTP(w, r)
	t, _ := o.t.(*testing.T) // benchmarks look at the status only
	return reply{t, method + " " + target, w.Code, w.Header(), w.Body.Bytes()}
}

// at is a time of day in 2026.
func at(text string) time.Time {
	t, err := time.Parse("2006-01-02T15:04:05.000", "2026-03-01T"+text)
	if err != nil {
		panic(err)
	}
	return t
}
