package channel

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/plugintest"
	"weft/tangle"
)

// begin is when the tests' ledgers begin: 2027-01-15T08:00:00Z.
const begin tangle.Time = 1_800_000_000_000

// person is a DID with its keys.
type person struct {
	did       string
	key       ed25519.PrivateKey
	agreement *ecdh.PrivateKey
	to        string // DID URL of the agreement key
	nonces    uint64
	seed      byte
}

// ledger applies operations one after the other, as a node does.
type ledger struct {
	t        testing.TB
	network  tangle.ID
	log      *orderedLog // nil: places are made up
	state    *plugintest.State
	identity *plugintest.State
	now      tangle.Time
	place    tangle.Position
	by       tangle.Member
	random   io.Reader
	people   map[string]*person

	entries map[uint64][]byte // accepted, by event, of the one channel that keep names
	keep    ID
	places  map[uint64]did.Place
	dids    []identityEntry
	fast    bool // do not look whether Next writes
}

// identityEntry is an accepted operation of a DID at its place.
type identityEntry struct {
	entry []byte
	at    did.Place
}

func newLedger(t testing.TB) *ledger {
	seed := rand.NewChaCha8([32]byte{1})
	l := &ledger{
		t: t, network: testNetwork(), state: plugintest.NewState(nil), identity: plugintest.NewState(nil), now: begin, random: seed, people: map[string]*person{},
		entries: map[uint64][]byte{}, places: map[uint64]did.Place{},
	}
	l.state.Begin()
	l.identity.Begin()
	return l
}

func (l *ledger) next() did.Place {
	l.place++
	return did.Place{Time: l.now, Position: l.place, Index: int(l.place % 3), By: l.by, Entry: tangle.Hash{31: byte(l.place), 30: byte(l.place >> 8), 1: 9}}
}

// order gives an entry its place.
func (l *ledger) order(kind tangle.Kind, data []byte) did.Place {
	if l.log == nil {
		return l.next()
	}
	return l.log.order(l.now, kind, data)
}

func keysOf(seed byte) (ed25519.PrivateKey, *ecdh.PrivateKey) {
	agreement, err := ecdh.X25519().NewPrivateKey(bytes.Repeat([]byte{seed ^ 0x80}, 32))
	if err != nil {
		panic(err)
	}
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, 32)), agreement
}

// weft makes a did:weft.
func (l *ledger) weft(name string) *person {
	l.t.Helper()
	if p := l.people[name]; p != nil {
		return p
	}
	p := &person{seed: byte(len(l.people) + 1)}
	p.key, p.agreement = keysOf(p.seed)
	public := p.key.Public().(ed25519.PublicKey)
	multikey := did.Ed25519Key(public).Multikey()
	body, d, err := did.Create(l.network, [16]byte{p.seed}, did.Content{
		Params: did.NewParams([]string{multikey}), Document: did.DefaultDocument(public, did.PublicKey{Type: did.X25519, Bytes: p.agreement.PublicKey().Bytes()}),
	})
	if err != nil {
		l.t.Fatal(err)
	}
	l.identify(body, p.key)
	p.did, p.to = d.String(), d.String()+"#key-2"
	l.people[name] = p
	return p
}

// identify accepts an operation of a DID.
func (l *ledger) identify(body did.Object, keys ...ed25519.PrivateKey) {
	l.t.Helper()
	entry, err := did.Sign(body, keys...)
	if err != nil {
		l.t.Fatal(err)
	}
	limits := did.DefaultLimits()
	limits.MaxCreatesPerMinute = 1 << 20
	op, err := did.Decode(l.network, limits, entry)
	if err != nil {
		l.t.Fatal(err)
	}
	at := l.order(16, entry)
	writes, err := did.Next(l.identity, limits, op, at)
	if err != nil {
		l.t.Fatal(err)
	}
	l.log.settle(false)
	put(l.identity, writes)
	l.dids = append(l.dids, identityEntry{entry, at})
}

// keyed makes a did:key.
func (l *ledger) keyed(name string) *person {
	if p := l.people[name]; p != nil {
		return p
	}
	p := &person{seed: byte(len(l.people) + 1)}
	p.key, p.agreement = keysOf(p.seed)
	p.did = did.DIDKey(did.Ed25519Key(p.key.Public().(ed25519.PublicKey)))
	p.to = p.did + "#" + p.multikey()
	l.people[name] = p
	return p
}

func (p *person) multikey() string {
	return did.PublicKey{Type: did.X25519, Bytes: p.agreement.PublicKey().Bytes()}.Multikey()
}

func put(s *plugintest.State, writes []did.Write) {
	plugins.Put(s, writes)
	s.Commit()
	s.Begin()
}

func (p *person) nonce() (n Nonce) {
	p.nonces++
	binary.BigEndian.PutUint64(n[:], p.nonces)
	return n
}

func (l *ledger) header(p *person, id ID) Header {
	l.t.Helper()
	h := Header{Network: l.network, Channel: id, Actor: p.did, Nonce: p.nonce(), Created: l.now, NotAfter: (l.now/1000)*1000 + 3_600_000}
	h.After = l.after(id)
	return h
}

// after names the newest event.
func (l *ledger) after(id ID) After {
	if l.state.Get(key(prefixHead, id)) == nil {
		return After{Head: FirstHead(id)}
	}
	head := l.head(id)
	return After{head.Event, head.Hash}
}

func (l *ledger) head(id ID) Head {
	l.t.Helper()
	_, h, err := ReadChannel(l.state, id)
	if err != nil {
		l.t.Fatal(err)
	}
	return h
}

func (l *ledger) channel(id ID) *Channel {
	l.t.Helper()
	c, _, err := ReadChannel(l.state, id)
	if err != nil {
		l.t.Fatal(err)
	}
	return &c
}

func (l *ledger) participant(id ID, p *person) *Participant {
	l.t.Helper()
	r, found, err := ReadParticipant(l.state, id, p.did)
	if err != nil {
		l.t.Fatal(err)
	}
	if !found {
		return nil
	}
	return &r
}

func (l *ledger) sign(p *person, body did.Object) []byte {
	l.t.Helper()
	entry, err := Sign(body, p.key)
	if err != nil {
		l.t.Fatal(err)
	}
	return entry
}

func (l *ledger) applyEntry(entry []byte) error {
	l.t.Helper()
	op, err := Decode(l.network, entry)
	if err != nil {
		return err
	}
	at := l.order(Kind, entry)
	var before tangle.Hash
	if !l.fast {
		before = l.state.Digest()
	}
	writes, err := Next(l.state, l.identity, op, at)
	l.log.settle(err != nil)
	if err != nil {
		return err
	}
	if !l.fast && l.state.Digest() != before {
		l.t.Fatal("Next writes")
	}
	put(l.state, writes)
	if l.keep == (ID{}) || l.keep == op.Channel {
		l.keep = op.Channel
		event := l.head(op.Channel).Event
		l.entries[event], l.places[event] = entry, at
	}
	if defects := l.state.Defects(); len(defects) > 0 {
		l.t.Fatal(defects)
	}
	return nil
}

func (l *ledger) apply(p *person, body did.Object) error {
	l.t.Helper()
	return l.applyEntry(l.sign(p, body))
}

// want applies an operation and compares the code; "" is accepted.
func (l *ledger) want(code string, p *person, body did.Object) {
	l.t.Helper()
	err := l.apply(p, body)
	if got := plugintest.Code(l.t, err); got != code {
		l.t.Fatalf("outcome %q (%v), want %q", got, err, code)
	}
}

func ptr[T any](v T) *T { return &v }

// epochKeyOf is the key of an epoch in these tests.
func epochKeyOf(id ID, number uint32) Key {
	k := Key(id)
	k[0] ^= byte(number)
	k[1] ^= byte(number >> 8)
	return k
}

// epoch makes an epoch with wraps, chained if history is full.
func (l *ledger) epoch(id ID, number uint32, chained bool, to ...*person) *Epoch {
	l.t.Helper()
	k := epochKeyOf(id, number)
	var before *Key
	if chained {
		before = ptr(epochKeyOf(id, number-1))
	}
	e, err := k.NewEpoch(id, number, before)
	if err != nil {
		l.t.Fatal(err)
	}
	e.Wraps = l.wraps(id, number, to...)
	return e
}

func (l *ledger) wraps(id ID, number uint32, to ...*person) (list []Wrap) {
	l.t.Helper()
	for _, p := range to {
		w, err := epochKeyOf(id, number).Wrap(id, number, p.to, p.agreement.PublicKey().Bytes())
		if err != nil {
			l.t.Fatal(err)
		}
		list = append(list, w)
	}
	return list
}

// create makes a private channel of an owner that alone has the key.
func (l *ledger) create(owner *person, change ...func(*CreateTerms)) ID {
	l.t.Helper()
	h := l.header(owner, ID{})
	id := NewID(l.network, owner.did, h.Nonce)
	terms := CreateTerms{Access: Private, Profile: Stream, Settings: Settings{Name: ptr("channel " + id.String()[:8])}, Epoch: l.epoch(id, 1, false, owner)}
	for _, c := range change {
		c(&terms)
	}
	l.want("", owner, NewCreate(h, terms))
	return id
}

func public(t *CreateTerms) { t.Access, t.Epoch = Public, nil }

func history(h History) func(*CreateTerms) { return func(t *CreateTerms) { t.Settings.History = &h } }

// sealed is a write of a text under the current epoch.
func (l *ledger) sealed(p *person, id ID, text string, t RecordTerms) did.Object {
	l.t.Helper()
	return l.sealedUnder(p, id, l.head(id).Epoch, text, t)
}

func (l *ledger) sealedUnder(p *person, id ID, epoch uint32, text string, t RecordTerms) did.Object {
	l.t.Helper()
	k := epochKeyOf(id, epoch)
	body, err := Seal(l.random, Sealer{Epoch: epoch, Key: &k}, NewWrite(l.header(p, id), t), did.Object{"mediaType": "text/plain"}, []byte(text))
	if err != nil {
		l.t.Fatal(err)
	}
	return body
}

func (l *ledger) open(k Key, entry []byte) (string, error) {
	l.t.Helper()
	op, err := Decode(l.network, entry)
	if err != nil {
		l.t.Fatal(err)
	}
	c, err := Open(k, op)
	return string(c.Payload), err
}

func isKeyed(did string) bool { return strings.HasPrefix(did, "did:key:") }
