package audit

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"weft/client"
	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/identity/keyfile"
	"weft/plugins/plugintest"
	"weft/plugins/streams/channel"
	"weft/tangle"
)

// ledger is a node on a ledger of one: it orders what it gets and serves what a node would. A caller's token is its DID.
type ledger struct {
	t        *testing.T
	network  tangle.ID
	mu       sync.Mutex // guards the rest
	state    *plugintest.State
	identity *plugintest.State
	now      tangle.Time
	place    tangle.Position
	entries  map[uint64][]byte // by event, of the newest channel
	blobs    map[tangle.Hash]map[int][]byte
	leaves   map[tangle.Hash][]tangle.Hash
	puts     int
	failPut  int                               // the put that fails; 0: none
	before   func(*ledger, *channel.Operation) // runs once before the next operation: somebody is faster
	url      string
}

func newLedger(t *testing.T) *ledger {
	l := &ledger{
		t: t, network: sha256.Sum256([]byte("audit test")), state: plugintest.NewState(nil), identity: plugintest.NewState(nil),
		now: tangle.TimeOf(time.Now()), entries: map[uint64][]byte{}, blobs: map[tangle.Hash]map[int][]byte{}, leaves: map[tangle.Hash][]tangle.Hash{},
	}
	l.state.Begin()
	l.identity.Begin()
	server := httptest.NewServer(l.routes())
	t.Cleanup(server.Close)
	l.url = server.URL
	return l
}

// person makes a did:weft with a key file, and its session.
func (l *ledger) person(options ...func(*Config)) *Session {
	l.t.Helper()
	file, err := keyfile.New("", keyfile.Protection{Unencrypted: true})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(file.Close)
	update := must(file.Add(keyfile.Update, "", keyfile.Ed25519))
	signing := must(file.Add(keyfile.Document, "#key-1", keyfile.Ed25519))
	agreement := must(file.Add(keyfile.Document, "#key-2", keyfile.X25519))
	body, id, err := did.Create(l.network, [16]byte(must(channel.NewNonce(rand.Reader))), did.Content{
		Params: did.NewParams([]string{update.Public}),
		Document: did.Object{
			"verificationMethod": []any{method("#key-1", signing.Public), method("#key-2", agreement.Public)},
			"authentication":     []any{"#key-1"}, "keyAgreement": []any{"#key-2"},
		},
	})
	if err != nil {
		l.t.Fatal(err)
	}
	file.DID = id.String()
	ask := must(did.Prepare(body, update.Public))
	entry := must(did.Attach(body, map[string][]byte{update.Public: must(file.Sign(update.Public, ask.HashData))}))
	op, err := did.Decode(l.network, did.DefaultLimits(), entry)
	if err != nil {
		l.t.Fatal(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.write(l.identity, must(did.Next(l.identity, did.DefaultLimits(), op, l.next(entry))))
	return l.session(file, options...)
}

func method(id, public string) did.Object {
	return did.Object{"id": id, "type": "Multikey", "publicKeyMultibase": public}
}

func (l *ledger) session(file *keyfile.File, options ...func(*Config)) *Session {
	l.t.Helper()
	who, err := FromKeyFile(file, "")
	if err != nil {
		l.t.Fatal(err)
	}
	c := Config{Node: must(client.New(client.Config{URL: l.url, Token: file.DID, Retry: client.NoRetry()})), Network: l.network, Identity: who, NoLogin: true}
	for _, o := range options {
		o(&c)
	}
	return NewSession(c)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func (l *ledger) next(entry []byte) did.Place {
	l.place++
	l.now++
	return did.Place{Time: l.now, Position: l.place, By: tangle.Member{1}, Entry: sha256.Sum256(entry)}
}

func (l *ledger) write(s *plugintest.State, writes []did.Write) {
	plugins.Put(s, writes)
	s.Commit()
	s.Begin()
}

// order gives an operation its place.
func (l *ledger) order(raw []byte) (map[string]any, error) {
	op, err := channel.Decode(l.network, raw)
	if err != nil {
		return nil, err
	}
	if before := l.before; before != nil {
		l.before = nil
		before(l, op)
	}
	at := l.next(raw)
	writes, err := channel.Next(l.state, l.identity, op, at)
	if err != nil {
		return nil, err
	}
	l.write(l.state, writes)
	_, h, err := channel.ReadChannel(l.state, op.Channel)
	if err != nil {
		return nil, err
	}
	if op.Op == channel.Create {
		clear(l.entries)
	}
	l.entries[h.Event] = raw
	result := map[string]any{"channel": op.Channel, "event": h.Event, "head": h.Hash}
	if op.Op == channel.Write {
		result["seq"] = h.Seq
	}
	return map[string]any{"status": "final", "outcome": "accepted", "opHash": op.Envelope.Hash, "result": result}, nil
}

func (l *ledger) routes() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, serve func(r *http.Request, id channel.ID) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			l.mu.Lock()
			defer l.mu.Unlock()
			id, _ := channel.ParseID(r.PathValue("id"))
			answer, err := serve(r, id)
			if rejection := plugins.Rejected(err); rejection != nil {
				w.Header().Set("Content-Type", "application/problem+json")
				w.WriteHeader(http.StatusConflict)
				json.NewEncoder(w).Encode(map[string]any{"code": rejection.Code, "detail": rejection.Detail})
				return
			}
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			if raw, ok := answer.([]byte); ok {
				w.Write(raw)
				return
			}
			json.NewEncoder(w).Encode(answer)
		})
	}
	handle("POST /api/v1/channels", func(r *http.Request, _ channel.ID) (any, error) { return l.order(must(io.ReadAll(r.Body))) })
	handle("POST /api/v1/channels/{id}/operations", l.operate)
	handle("GET /api/v1/channels", func(r *http.Request, _ channel.ID) (any, error) {
		items := []any{}
		err := channel.Channels(l.state, channel.ID{}, func(c channel.Channel) bool {
			items = append(items, must(l.show(r, c.ID)))
			return true
		})
		return map[string]any{"items": items}, err
	})
	handle("GET /api/v1/channels/{id}", l.show)
	handle("GET /api/v1/channels/{id}/keys", l.keys)
	handle("GET /api/v1/channels/{id}/events", l.events)
	handle("GET /api/v1/channels/{id}/records", func(r *http.Request, id channel.ID) (any, error) {
		items := []any{}
		err := channel.Records(l.state, id, 1, func(e channel.Event) bool { items = append(items, l.view(id, e)); return true })
		return map[string]any{"items": items}, err
	})
	handle("GET /api/v1/channels/{id}/subscriptions", l.subscriptions)
	handle("GET /api/v1/channels/{id}/subscriptions/{did}", func(r *http.Request, id channel.ID) (any, error) {
		p, found, err := channel.ReadParticipant(l.state, id, r.PathValue("did"))
		if !found && err == nil {
			err = plugins.Reject("not_found", "no such")
		}
		return l.subscription(id, p), err
	})
	handle("GET /1.0/identifiers/{did}", func(r *http.Request, _ channel.ID) (any, error) {
		return did.Resolve(l.identity, r.PathValue("did"), did.Options{}).JSON(l.now), nil
	})
	handle("POST /api/v1/channels/{id}/blobs", l.declare)
	handle("PUT /api/v1/channels/{id}/blobs/{root}/chunks/{n}", l.put)
	handle("GET /api/v1/channels/{id}/blobs/{root}/chunks/{n}", func(r *http.Request, _ channel.ID) (any, error) {
		return l.blobs[must(tangle.ParseHash(r.PathValue("root")))][must(strconv.Atoi(r.PathValue("n")))], nil
	})
	return mux
}

func (l *ledger) operate(r *http.Request, _ channel.ID) (any, error) {
	raw := must(io.ReadAll(r.Body))
	var batch struct {
		Operations []json.RawMessage `json:"operations"`
	}
	if json.Unmarshal(raw, &batch) != nil || batch.Operations == nil {
		return l.order(raw)
	}
	results := []any{}
	for _, one := range batch.Operations {
		done, err := l.order(one)
		if rejection := plugins.Rejected(err); rejection != nil {
			done = map[string]any{"problem": map[string]any{"type": "urn:weft:problem:" + rejection.Code, "code": rejection.Code}}
		}
		results = append(results, done)
	}
	return map[string]any{"results": results}, nil
}

func caller(r *http.Request) string {
	return strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
}

func (l *ledger) show(r *http.Request, id channel.ID) (any, error) {
	c, h, err := channel.ReadChannel(l.state, id)
	if err != nil {
		return nil, err
	}
	p, _, err := channel.ReadParticipant(l.state, id, caller(r))
	due := must(channel.RekeyDue(l.state, &c, h, l.now))
	info := client.Channel{
		ID: id, Owner: c.Owner, Access: c.Access, Profile: c.Profile, Hidden: c.Hidden, Name: c.Name, SealedProfile: c.SealedProfile,
		Roles: c.Roles, Tags: c.Tags, History: c.History, Epoch: h.Epoch, LastEvent: h.Event, LastSeq: h.Seq, Head: h.Hash, RekeyDue: due, Rights: c.Effective(&p, l.now),
	}
	if c.Hidden {
		op := must(channel.Decode(l.network, l.entries[c.ProfileEvent]))
		info.ProfileActor, info.ProfileNonce = op.Actor, base64.RawURLEncoding.EncodeToString(op.Nonce[:])
		info.ProfileWraps = l.wraps(id, 0, caller(r))
	}
	if epochs := must(channel.Epochs(l.state, id, h.Epoch, 1)); len(epochs) > 0 && h.Epoch > 0 {
		info.PublicKey = base64.RawURLEncoding.EncodeToString(epochs[0].PublicKey[:])
	}
	if !c.Hidden {
		info.Admins = must(channel.Admins(l.state, &c, l.now, 16))
	}
	return info, err
}

func (l *ledger) keys(r *http.Request, id channel.ID) (any, error) {
	c, _, err := channel.ReadChannel(l.state, id)
	if err != nil {
		return nil, err
	}
	p, _, _ := channel.ReadParticipant(l.state, id, caller(r))
	if !c.Effective(&p, l.now).Reads() {
		return nil, plugins.Reject("right_missing", "no")
	}
	from, _ := strconv.Atoi(r.URL.Query().Get("from"))
	items := []client.ChannelEpoch{}
	if c.Hidden && from == 0 {
		items = append(items, client.ChannelEpoch{Wraps: l.wraps(id, 0, caller(r))})
	}
	for _, e := range must(channel.Epochs(l.state, id, uint32(max(from, 1)), 1000)) {
		item := client.ChannelEpoch{
			Number: e.Number, Commit: e.Commit, PublicKey: base64.RawURLEncoding.EncodeToString(e.PublicKey[:]), Event: e.Event, Seq: e.Seq,
			Wraps: l.wraps(id, e.Number, caller(r)),
		}
		if e.Previous != nil {
			item.Previous = base64.RawURLEncoding.EncodeToString(e.Previous)
		}
		items = append(items, item)
	}
	return map[string]any{"items": items}, nil
}

func (l *ledger) wraps(id channel.ID, epoch uint32, who string) (list []client.ChannelWrap) {
	for _, n := range channel.WrapEvents(l.state, id, epoch, who) {
		for _, w := range must(channel.Decode(l.network, l.entries[n])).WrapsTo(epoch, who) {
			list = append(list, client.ChannelWrap{To: w.To, Ciphertext: base64.RawURLEncoding.EncodeToString(w.Ciphertext)})
		}
	}
	return list
}

func (l *ledger) view(id channel.ID, e channel.Event) map[string]any {
	v := map[string]any{
		"event": e.Number, "op": e.Op, "actor": must(channel.ActorOf(l.state, id, e)), "place": map[string]any{"position": e.Position, "index": e.Index}, "time": e.Time.Std(),
		"head": e.Head, "entryHash": e.Entry, "operation": json.RawMessage(l.entries[e.Number]), "seq": e.Seq,
	}
	if e.ErasedBy != 0 {
		v["erased"] = map[string]any{"event": e.ErasedBy}
	}
	return v
}

// pageOfEvents keeps the test's lists short: paging is what is tested too.
const pageOfEvents = 7

func (l *ledger) events(r *http.Request, id channel.ID) (any, error) {
	q := r.URL.Query()
	from := uint64(0)
	for _, name := range []string{"after", "cursor"} {
		if after, err := strconv.ParseUint(q.Get(name), 10, 64); err == nil {
			from = after + 1
		}
	}
	items, next := []any{}, ""
	err := channel.Events(l.state, id, from, func(e channel.Event) bool {
		if len(items) == pageOfEvents {
			next = strconv.FormatUint(e.Number-1, 10)
			return false
		}
		items = append(items, l.view(id, e))
		return true
	})
	return map[string]any{"items": items, "next": next}, err
}

func (l *ledger) subscription(id channel.ID, p channel.Participant) client.Subscription {
	c, h, _ := channel.ReadChannel(l.state, id)
	s := client.Subscription{DID: p.DID, State: p.State, Event: p.Event, Rights: c.Effective(&p, l.now), KeyMissing: channel.KeyMissing(l.state, &c, h, &p, l.now), Asked: p.Asked}
	if p.Grant != nil {
		s.Grant = &client.ChannelGrant{Rights: p.Grant.Rights, Roles: p.Grant.Roles, Agreement: p.Grant.Agreement}
	}
	return s
}

func (l *ledger) subscriptions(r *http.Request, id channel.ID) (any, error) {
	items, next := []any{}, ""
	state := r.URL.Query().Get("state")
	cursor, _ := hex.DecodeString(r.URL.Query().Get("cursor"))
	err := channel.Participants(l.state, id, string(cursor), func(key string, p channel.Participant) bool {
		if len(items) == client.MaxPage {
			next = hex.EncodeToString([]byte(key))
			return false
		}
		if state == "" || state == string(p.State) {
			items = append(items, l.subscription(id, p))
		}
		return true
	})
	return map[string]any{"items": items, "next": next}, err
}

func (l *ledger) declare(r *http.Request, _ channel.ID) (any, error) {
	var d struct {
		Root   tangle.Hash
		Size   int64
		Leaves []tangle.Hash
	}
	if err := json.NewDecoder(r.Body).Decode(&d); err != nil {
		return nil, err
	}
	if channel.BlobRoot(d.Leaves) != d.Root || int64(len(d.Leaves)) != (d.Size+channel.ChunkBytes-1)/channel.ChunkBytes {
		return nil, plugins.Reject("bad_value", "root or size")
	}
	l.leaves[d.Root] = d.Leaves
	if l.blobs[d.Root] == nil {
		l.blobs[d.Root] = map[int][]byte{}
	}
	missing := []int{}
	for n := range d.Leaves {
		if l.blobs[d.Root][n] == nil {
			missing = append(missing, n)
		}
	}
	return client.BlobState{Root: d.Root, Missing: missing, Complete: len(missing) == 0}, nil
}

func (l *ledger) put(r *http.Request, _ channel.ID) (any, error) {
	if l.puts++; l.puts == l.failPut {
		return nil, io.ErrUnexpectedEOF
	}
	root, n, chunk := must(tangle.ParseHash(r.PathValue("root"))), must(strconv.Atoi(r.PathValue("n"))), must(io.ReadAll(r.Body))
	if !slices.Contains(l.leaves[root], channel.LeafHash(chunk)) {
		return nil, plugins.Reject("bad_value", "not the leaf")
	}
	l.blobs[root][n] = chunk
	return map[string]any{}, nil
}
