package sim

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"time"

	"weft/node"
	"weft/plugins"
	"weft/plugins/identity"
	"weft/plugins/identity/did"
	"weft/plugins/streams"
	"weft/plugins/streams/channel"
	"weft/tangle"
)

// tools are the clients of the streams plugin: an owner, an admin and several that write into one private channel, each
// through whatever node is up. They know what a node tells them, which may be old, hold keys that they have unwrapped from
// operations on the ledger, seal with them, and seal again what an epoch change has overtaken.
type tools struct {
	*wallets
	id       channel.ID
	created  bool // the channel is on its way
	history  channel.History
	grace    int
	owner    *party
	admin    *party
	people   []*party // owner and admin included
	intents  []*intent
	texts    map[string]*intent
	keys     map[string]channel.Key // of wraps that have been opened, by ciphertext
	decoded  map[string]*channel.Operation
	old      [][]byte        // entries that can be sent again
	tidy     bool            // the owner has seen to it that every reader has the keys, and nobody else
	closed   bool            // the channel's load is over
	attacks  map[string]bool // entries that may be sealed with a key that is not their epoch's
	observed map[string]int
}

// party is somebody with a DID.
type party struct {
	did, multikey string
	key           ed25519.PrivateKey
	agreement     *ecdh.PrivateKey
	to            string // DID URL of the agreement key
	sensor        bool   // may write only
	seen          uint64 // newest event that its client has seen
	waits         bool   // for an operation of an admin
	held          channel.Key
	heldEpoch     uint32
}

// plaintext begins everything that is sealed. No frame may hold it, nor the beginning of its base64.
const plaintext = "plaintext of record "

// isBlind says whether a frame between members holds nothing of what is sealed.
func isBlind(frame []byte) bool {
	encoded := base64.RawURLEncoding.EncodeToString([]byte(plaintext[:9]))
	return !bytes.Contains(frame, []byte(plaintext[:9])) && !bytes.Contains(frame, []byte(encoded))
}

// intent is a record that somebody wants in the channel.
type intent struct {
	by      *party
	text    string
	nonce   channel.Nonce
	entry   tangle.Hash
	sent    int
	settled bool
	code    string // why it is not in; "": it is
	event   uint64 // of the record, or where its author has seen that it has no right any more
	time    tangle.Time
}

func newTools(w *World) *tools {
	x := &tools{
		wallets: w.wallets, texts: map[string]*intent{}, keys: map[string]channel.Key{}, decoded: map[string]*channel.Operation{}, attacks: map[string]bool{},
		history: channel.Full, grace: draw(w.wallets, []int{0, 0, 1, 2, 60}), observed: w.oracles.channels.seen,
	}
	if x.chance(0.25) {
		x.history = channel.FromJoin
	}
	for n := range 9 {
		p := x.newParty(n < 4)
		p.sensor = n == 8
		x.people = append(x.people, p)
	}
	x.owner, x.admin = x.people[0], x.people[1]
	return x
}

// newParty makes a did:weft, which goes to the ledger, or a did:key.
func (x *tools) newParty(weft bool) *party {
	name := x.newKey()
	secret := sha256.Sum256([]byte("agreement of " + name))
	p := &party{multikey: name, key: x.wallets.keys[name], did: "did:key:" + name}
	var err error
	if p.agreement, err = ecdh.X25519().NewPrivateKey(secret[:]); err != nil {
		panic(err)
	}
	p.to = p.did + "#" + p.agreementKey().Multikey()
	if weft {
		body, d, err := did.Create(x.network, [did.NonceBytes]byte(x.bytes(did.NonceBytes)), did.Content{
			Params: did.NewParams([]string{name}), Document: did.DefaultDocument(p.key.Public().(ed25519.PublicKey), p.agreementKey()),
		})
		if err != nil {
			panic(err)
		}
		p.did, p.to = d.String(), d.String()+"#key-2"
		data, _ := x.sign(body, name)
		x.after(time.Millisecond, func() { x.submit(x.correctMember(), []tangle.Entry{x.entry(identity.KindDID, data)}) })
	}
	x.oracles.channels.keys[p.did] = name
	return p
}

func (p *party) agreementKey() did.PublicKey {
	return did.PublicKey{Type: did.X25519, Bytes: p.agreement.PublicKey().Bytes()}
}

func (w *World) streamsPlugin() plugins.Plugin {
	p, err := streams.Ledger(w.network, nil)
	if err != nil {
		panic(err) // there is no section
	}
	p.Check = w.remember(p.Check)
	return p
}

// at is a node with its newest state.
type at struct {
	*instance
	plugins.View
	channel channel.Channel
	head    channel.Head
	time    tangle.Time // of its newest commit
}

// reach asks a random correct node that is up; false: there is none that knows the channel.
func (x *tools) reach() (a at, ok bool) {
	var up []*instance
	for _, i := range x.instances {
		if i.correct() && !i.down {
			up = append(up, i)
		}
	}
	if len(up) == 0 {
		return a, false
	}
	a.instance = draw(x.wallets, up)
	a.View, a.time = a.ledger.PluginView(streams.Name), a.ledger.Head().Time
	var err error
	a.channel, a.head, err = channel.ReadChannel(a, x.id)
	return a, err == nil
}

// reachAs is reach for a client that takes no node back behind what it has seen.
func (x *tools) reachAs(p *party) (a at, ok bool) {
	a, ok = x.reach()
	if !ok || a.head.Event < p.seen {
		return a, false
	}
	p.seen = a.head.Event
	return a, true
}

func (a at) participant(p *party) channel.Participant {
	r, _, err := channel.ReadParticipant(a, a.channel.ID, p.did)
	if err != nil {
		panic(err)
	}
	return r
}

func (a at) reads(p *party) bool {
	r := a.participant(p)
	return a.channel.Effective(&r, a.time).Reads()
}

// operation reads the operation of an event from a node.
func (x *tools) operation(a at, event uint64) *channel.Operation {
	e, err := channel.ReadEvent(a, x.id, event)
	if err != nil {
		panic(err)
	}
	id, err := a.ledger.AtPosition(e.Position)
	if err != nil {
		panic(err)
	}
	m, _, err := a.ledger.Message(id)
	if err != nil {
		panic(err)
	}
	return x.decode(m.Entries[e.Index].Data)
}

// decode reads an operation once: what nodes keep of one that they have checked does not open.
func (x *tools) decode(data []byte) *channel.Operation {
	op := x.decoded[string(data)]
	if op == nil {
		var err error
		if op, err = channel.Decode(x.network, data); err != nil {
			panic(err)
		}
		x.decoded[string(data)] = op
	}
	return op
}

// unwrap opens a wrap once.
func (x *tools) unwrap(number uint32, w channel.Wrap, p *party) channel.Key {
	k, ok := x.keys[string(w.Ciphertext)]
	if !ok {
		var err error
		if k, err = channel.Unwrap(x.id, number, w, p.agreement); err != nil {
			panic(err) // tools make no wrong wraps
		}
		x.keys[string(w.Ciphertext)] = k
	}
	return k
}

// wrapped are the keys that somebody finds wrapped on the ledger.
func (x *tools) wrapped(a at, p *party, epochs []channel.OpenedEpoch) map[uint32]channel.Key {
	keys := map[uint32]channel.Key{}
	for _, e := range epochs {
		for _, event := range channel.WrapEvents(a, x.id, e.Number, p.did) {
			for _, w := range x.operation(a, event).WrapsTo(e.Number, p.did) {
				keys[e.Number] = x.unwrap(e.Number, w, p)
			}
		}
	}
	return keys
}

func (x *tools) epochs(a at, from uint32) []channel.OpenedEpoch {
	list, err := channel.Epochs(a, x.id, from, 1<<16)
	if err != nil {
		panic(err)
	}
	return list
}

// current is the key of the epoch in force, if somebody has it.
func (x *tools) current(a at, p *party) (channel.Key, bool) {
	epochs := x.epochs(a, a.head.Epoch)
	k, ok := x.wrapped(a, p, epochs)[a.head.Epoch]
	if ok && k.Check(x.id, epochs[0]) != nil {
		panic("a wrap of another key")
	}
	if ok {
		p.held, p.heldEpoch = k, a.head.Epoch
	}
	return k, ok
}

// headOf begins an operation on what a node knows; some name an older event.
func (x *tools) headOf(a at, p *party) channel.Header {
	h := channel.Header{
		Network: x.network, Channel: x.id, Actor: p.did, Nonce: channel.Nonce(x.bytes(channel.NonceBytes)), Created: x.clock(),
		NotAfter: (x.clock().Add(time.Hour)) / 1000 * 1000,
	}
	if x.chance(0.03) {
		h.NotAfter = x.soon() / 1000 * 1000
	}
	if a.instance == nil {
		return h
	}
	h.After = channel.After{Event: a.head.Event, Head: a.head.Hash}
	if x.chance(0.3) {
		h.After.Event = a.head.Event - min(a.head.Event, uint64(x.random.IntN(6)))
		e, err := channel.ReadEvent(a, x.id, h.After.Event)
		if err != nil {
			panic(err)
		}
		h.After.Head = e.Head
	}
	return h
}

// sendAs signs an operation and has it carried by one member, by two, or besides by one that misbehaves.
func (x *tools) sendAs(p *party, body did.Object) (entry tangle.Hash) {
	data, err := channel.Sign(body, p.key)
	if err != nil {
		panic(err)
	}
	if len(x.old) < maxHistory {
		x.old = append(x.old, data)
	}
	e := x.entry(channel.Kind, data)
	x.submit(x.correctMember(), []tangle.Entry{e})
	if bad := x.instances[x.random.IntN(len(x.instances))]; !bad.correct() && x.chance(0.5) {
		x.put(bad, node.Input{Submit: &node.Submission{Entries: []tangle.Entry{e}}})
	}
	if x.chance(0.1) {
		copied := e
		if x.chance(0.5) {
			copied = x.entry(channel.Kind, data)
		}
		x.submit(x.correctMember(), []tangle.Entry{copied})
	}
	return e.Hash
}

// loadChannels lets tools act again and again until the load is stopped; then the owner tidies up.
func (w *World) loadChannels(mean time.Duration) {
	w.after(time.Duration(w.random.ExpFloat64()*float64(mean)), func() {
		if w.clients.stopped {
			w.tools.tidyUp()
			return
		}
		w.tools.use()
		w.loadChannels(mean)
	})
}

// use is one thing that somebody does.
func (x *tools) use() {
	switch k := x.random.IntN(100); {
	case !x.created:
		x.create()
	case k < 60:
		x.write(draw(x.wallets, x.people))
	case k < 75:
		x.govern(x.owner)
	case k < 85:
		x.govern(x.admin)
	case k < 88:
		x.leave(draw(x.wallets, x.people[2:]))
	default:
		x.attack()
	}
}

func (x *tools) create() {
	v := x.view()
	if v == nil {
		return
	}
	if _, found, err := did.ReadHead(v, x.didOf(x.owner)); err != nil || !found {
		return
	}
	x.created = true
	h := x.headOf(at{}, x.owner)
	h.NotAfter = x.clock().Add(time.Hour) / 1000 * 1000
	x.id = channel.NewID(x.network, x.owner.did, h.Nonce)
	name := "race"
	key := channel.Key(x.bytes(channel.KeySize))
	terms := channel.CreateTerms{
		Access: channel.Private, Profile: channel.Stream, Settings: channel.Settings{Name: &name, GraceSeconds: &x.grace, History: &x.history},
		Epoch: x.epoch(key, 1, nil, []*party{x.owner, x.people[2], x.people[5], x.people[6]}),
	}
	for _, p := range []*party{x.people[2], x.people[5], x.people[6]} {
		terms.Grants = append(terms.Grants, x.grant(p, channel.Read|channel.Order))
	}
	x.sendAs(x.owner, channel.NewCreate(h, terms))
}

func (x *tools) didOf(p *party) did.DID {
	d, err := did.Parse(p.did)
	if err != nil {
		panic(err)
	}
	return d
}

// epoch makes an epoch with wraps.
func (x *tools) epoch(k channel.Key, number uint32, before *channel.Key, to []*party) *channel.Epoch {
	e, err := k.NewEpoch(x.id, number, before)
	if err != nil {
		panic(err)
	}
	for _, p := range to {
		e.Wraps = append(e.Wraps, x.wrap(k, number, p))
	}
	return e
}

func (x *tools) grant(p *party, r channel.Rights) channel.Grant {
	g := channel.Grant{Participant: p.did, Rights: r}
	if p.did == "did:key:"+p.multikey {
		g.Agreement = p.agreementKey().Multikey()
	}
	return g
}

// write begins a record of somebody who has the right, as far as its node knows.
func (x *tools) write(p *party) {
	a, ok := x.reachAs(p)
	if !ok {
		return
	}
	if r := a.participant(p); a.channel.Effective(&r, a.time)&channel.Order == 0 {
		return
	}
	in := &intent{by: p, text: fmt.Sprint(plaintext, len(x.intents))}
	x.intents = append(x.intents, in)
	x.texts[in.text] = in
	x.attempt(in)
}

const patience = 25 * time.Millisecond // of a client, between two looks

func (x *tools) later(do func()) { x.after(patience, do) }

// attempt seals a record under the key in force, with a fresh nonce. A reader without that key waits for an admin.
func (x *tools) attempt(in *intent) {
	p := in.by
	a, ok := x.reachAs(p)
	if !ok {
		x.later(func() { x.attempt(in) })
		return
	}
	r := a.participant(p)
	rights := a.channel.Effective(&r, a.time)
	if rights&channel.Order == 0 {
		in.settled, in.code, in.event, in.time = true, "no right", a.head.Event, a.time
		return
	}
	s := channel.Sealer{Epoch: a.head.Epoch}
	if key, held := x.current(a, p); held {
		s.Key = &key
	} else if rights.Reads() {
		x.observed["waits for a key"]++
		x.later(func() { x.attempt(in) })
		return
	} else {
		public := x.epochs(a, a.head.Epoch)[0].PublicKey
		s.PublicKey = public[:]
	}
	h := x.headOf(a, p)
	in.nonce, in.sent = h.Nonce, in.sent+1
	in.entry = x.sendAs(p, x.seal(s, h, in.text))
	x.later(func() { x.look(in) })
}

// seal makes a write. The secret of one that may only write is sealed again, with an ephemeral key of ours.
func (x *tools) seal(s channel.Sealer, h channel.Header, text string) did.Object {
	random := x.bytes(channel.SaltBytes + channel.KeySize)
	body, err := channel.Seal(newReader(random), s, channel.NewWrite(h, channel.RecordTerms{}), did.Object{}, []byte(text))
	if err != nil {
		panic(err)
	}
	if s.Key == nil {
		info := slices.Concat([]byte("weft/channel/sealed/1"), x.id[:], be32(s.Epoch), h.Nonce[:])
		body["body"].(did.Object)["key"] = encode(sealTo(x.newAgreement(), s.PublicKey, info, random[channel.SaltBytes:]))
	}
	return body
}

// look asks what became of a record.
func (x *tools) look(in *intent) {
	a, ok := x.reach()
	if !ok {
		x.later(func() { x.look(in) })
		return
	}
	if event, found := channel.FindNonce(a, x.id, in.by.did, in.nonce); found {
		in.settled, in.event = true, event
		return
	}
	rec, err := a.ledger.Entry(in.entry)
	if err != nil || rec.Settled.Codes == nil {
		x.later(func() { x.look(in) })
		return
	}
	switch code := rec.Settled.Codes[rec.Index]; code {
	case "epoch_closed", "expired":
		x.observed["sealed again after "+code]++
		in.by.seen = max(in.by.seen, a.head.Event)
		x.attempt(in)
	case "not_participant", "right_missing", "not_valid_now":
		in.settled, in.code = true, code
	case "": // the node has been down since
		x.later(func() { x.look(in) })
	default:
		x.fail("lost", "the record %q of %s is refused with %q", in.text, in.by.did, code)
	}
}

// unfinished counts what clients still wait for.
func (x *tools) unfinished() (n int, why string) {
	if x.closed {
		return 0, ""
	}
	for _, in := range x.intents {
		if !in.settled {
			n, why = n+1, fmt.Sprintf("the record %q, sent %d times, is not settled", in.text, in.sent)
		}
	}
	for _, p := range []*party{x.owner, x.admin} {
		if p.waits {
			n, why = n+1, "an admin waits"
		}
	}
	if !x.tidy {
		n, why = n+1, "keys are missing or due"
	}
	return n, why
}
