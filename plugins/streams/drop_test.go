package streams

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/plugintest"
	"weft/plugins/streams/channel"
	"weft/tangle"
)

// desk is a ledger of one, with what its node makes of it: state, index, and which bodies it has dropped.
type desk struct {
	t        *testing.T
	network  tangle.ID
	ledger   plugins.Plugin
	identity *plugintest.State
	dids     []string
	keys     []ed25519.PrivateKey
	nonces   byte
	now      tangle.Time

	entries []plugins.Ordered // one in a message, in their order
	codes   []string          // of their rejections
	state   *plugintest.State
	index   deskIndex
	local   *plugintest.Local
	final   tangle.Position
	dropped []tangle.Hash // lately
	gone    map[tangle.Hash]bool
	refuse  func(tangle.Hash) error // to drop a body; nil: nothing is in the way
}

// deskIndex is an index beside a state.
type deskIndex struct {
	*keySpace
	agreed plugins.View
}

type keySpace = plugintest.State

// State implements plugins.Index.
func (x deskIndex) State() plugins.View { return x.agreed }

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{t: t, network: tangle.ID{1}, now: 1_800_000_000_000, local: plugintest.NewLocal(), gone: map[tangle.Hash]bool{}}
	d.identity, d.dids, d.keys = identities(t, d.network, 2)
	var err error
	if d.ledger, err = Ledger(d.network, nil); err != nil {
		t.Fatal(err)
	}
	d.state, d.index = d.empty()
	return d
}

func (d *desk) empty() (*plugintest.State, deskIndex) {
	state, index := plugintest.NewState(map[string]plugins.View{identityPlugin: d.identity}), plugintest.NewState(nil)
	state.Begin()
	index.Begin()
	return state, deskIndex{index, state}
}

// follower is the plugin as a node has it that has just been started.
func (d *desk) follower() *streams {
	d.t.Helper()
	h := plugins.Host{
		Local: d.local, View: func() plugins.View { return d.state }, IndexView: func() plugins.View { return d.index },
		Head: func() plugins.Head { return plugins.Head{Position: tangle.Position(len(d.entries)), Final: d.final} },
		Sign: func([]byte) tangle.Signature { return tangle.Signature{} },
		Erase: func(entry tangle.Hash) error {
			if d.refuse != nil {
				if err := d.refuse(entry); err != nil {
					return err
				}
			}
			d.dropped, d.gone[entry] = append(d.dropped, entry), true
			return nil
		},
		Data: func(at tangle.Position, _ int) []byte {
			if e := d.entries[at]; !d.gone[e.Hash] {
				return e.Data
			}
			return nil
		},
	}
	s := &streams{host: h, now: time.Now, ledger: ledger{d.network}, feed: newFeed(), statements: &statements{local: d.local}, drops: newDrops(d.local)}
	s.done = followed{final: s.drops.done, erase: s.statements.done()}
	var err error
	if s.blobs, err = openBlobs("", 0, time.Now); err != nil {
		d.t.Fatal(err)
	}
	return s
}

// wantDropped has a follower do all that it can do now, and compares what it has dropped, in its order.
func (d *desk) wantDropped(s *streams, want ...tangle.Hash) {
	d.t.Helper()
	d.dropped = nil
	for again := true; again; {
		var err error
		if again, err = s.follow(); err != nil {
			d.t.Fatal(err)
		}
	}
	equal(d.t, "dropped", d.dropped, want)
}

func (d *desk) header(who int, id channel.ID) channel.Header {
	d.nonces++
	return channel.Header{
		Network: d.network, Channel: id, Actor: d.dids[who], Nonce: channel.Nonce{d.nonces}, Created: d.now, NotAfter: d.now/1000*1000 + 3_600_000,
		After: channel.After{Head: channel.FirstHead(id)},
	}
}

// create makes a public channel of the first person, in which the second writes.
func (d *desk) create(retention int) channel.ID {
	d.t.Helper()
	h := d.header(0, channel.ID{})
	id := channel.NewID(d.network, h.Actor, h.Nonce)
	d.done(0, channel.NewCreate(h, channel.CreateTerms{
		Access: channel.Public, Profile: channel.Stream, Grants: []channel.Grant{{Participant: d.dids[1], Rights: channel.Order}},
		Settings: channel.Settings{Name: ptr(fmt.Sprint(id)), RetentionDays: &retention, Tags: &[]string{"customs", "docs"}},
	}))
	return id
}

// record is one that can be found by all it can be found by.
func (d *desk) record(who int, id channel.ID, terms channel.RecordTerms) did.Object {
	if terms.Public = (did.Object{"n": "x"}); terms.RecordType == "" {
		terms.RecordType, terms.Tag, terms.Topic = "note", "docs", &channel.Topic{Type: "ids", Source: "east"}
	}
	return channel.NewWrite(d.header(who, id), terms)
}

func (d *desk) done(who int, body did.Object) plugins.Ordered {
	d.t.Helper()
	return d.want("", d.sign(who, body))
}

func (d *desk) sign(who int, body did.Object) []byte {
	d.t.Helper()
	data, err := channel.Sign(body, d.keys[who])
	if err != nil {
		d.t.Fatal(err)
	}
	return data
}

// want orders an entry and compares its outcome.
func (d *desk) want(code string, data []byte) plugins.Ordered {
	d.t.Helper()
	op, err := d.ledger.Check(channel.Kind, data)
	if err != nil {
		d.t.Fatal(err)
	}
	at := len(d.entries)
	entry := tangle.NewErasable(channel.Kind, d.ledger.Lasting(channel.Kind, op), tangle.Salt{byte(at), byte(at >> 8)}, data)
	e := plugins.Ordered{Kind: entry.Kind, Hash: entry.Hash, Data: data, Op: op, Position: tangle.Position(at), Time: d.now}
	err = d.execute(d.state, d.index, e)
	if got := plugintest.Code(d.t, err); got != code {
		d.t.Fatalf("entry %d: %v, want %q", at, err, code)
	}
	d.entries, d.codes = append(d.entries, e), append(d.codes, code)
	d.final = tangle.Position(len(d.entries))
	return e
}

func (d *desk) execute(state *plugintest.State, index deskIndex, e plugins.Ordered) error {
	err := d.ledger.Apply(state, e)
	if err != nil {
		state.Rollback()
	} else {
		state.Commit()
	}
	state.Begin()
	d.note(index, e, err)
	return err
}

func (d *desk) note(index deskIndex, e plugins.Ordered, err error) {
	d.ledger.Index(index, e, plugins.Rejected(err))
	index.Commit()
	index.Begin()
}

// TestDropsWithCopies: with an erased record all copies of its operation go that were ever ordered, those that were rejected
// before and those that come later.
func TestDropsWithCopies(t *testing.T) {
	d := newDesk(t)
	h := d.header(0, channel.ID{})
	early := d.sign(1, d.record(1, channel.NewID(d.network, h.Actor, h.Nonce), channel.RecordTerms{}))
	first := d.want("unknown_channel", early)
	d.nonces = 0
	id := d.create(0)
	d.nonces = 2
	record := d.want("", early)
	second := d.want("replayed", early)
	other := d.done(1, d.record(1, id, channel.RecordTerms{}))
	d.want("replayed", other.Data)
	s := d.follower()
	d.wantDropped(s)
	erasure := d.done(0, channel.NewErase(d.header(0, id), 1, "gdpr_art17"))
	d.final--
	d.wantDropped(s)
	d.final++
	d.wantDropped(s, first.Hash, second.Hash, record.Hash)
	for i, e := range d.entries {
		want := slices.Contains([]tangle.Hash{first.Hash, second.Hash, record.Hash}, e.Hash)
		if got := s.gone(e.Position, e.Index); got != want {
			t.Errorf("entry %d is gone: %v, want %v", i, got, want)
		}
	}
	third := d.want("replayed", early)
	d.want("wrong_state", d.sign(0, channel.NewErase(d.header(0, id), 1, "again")))
	d.wantDropped(s, third.Hash)
	if !s.gone(third.Position, third.Index) {
		t.Error("a later copy is served")
	}
	d.now += 7_200_000
	fourth := d.want("expired", early)
	d.wantDropped(s, fourth.Hash)
	d.wantDropped(d.follower()) // the mark is kept
	if s.gone(erasure.Position, erasure.Index) {
		t.Error("the erasure is gone")
	}
}

// TestDropsLeavePayloads: the operation of a record stays whose payload beside the ledger is erased.
func TestDropsLeavePayloads(t *testing.T) {
	d := newDesk(t)
	id := d.create(0)
	body, _, err := channel.SealBlob(noise{}, channel.Sealer{}, channel.NewWrite(d.header(1, id), channel.RecordTerms{}), did.Object{},
		bytes.NewReader(make([]byte, 1000)), 1000, func(int, []byte) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	record := d.done(1, body)
	d.done(0, channel.NewErase(d.header(0, id), 1, "gdpr_art17"))
	s := d.follower()
	d.wantDropped(s)
	if s.gone(record.Position, record.Index) {
		t.Error("the operation is gone")
	}
}

// TestDropsWait: a body that another message may still order goes later; others do not wait for it. What could not be done is
// done after a restart.
func TestDropsWait(t *testing.T) {
	d := newDesk(t)
	id := d.create(0)
	a, b := d.done(1, d.record(1, id, channel.RecordTerms{})), d.done(1, d.record(1, id, channel.RecordTerms{}))
	d.done(0, channel.NewErase(d.header(0, id), 1, "x"))
	d.done(0, channel.NewErase(d.header(0, id), 2, "x"))
	d.refuse = func(entry tangle.Hash) error {
		if entry == a.Hash {
			return plugins.Reject("not_final", "it stands in another message")
		}
		return nil
	}
	s := d.follower()
	d.wantDropped(s, b.Hash)
	s = d.follower()
	d.wantDropped(s, b.Hash) // it may be asked again
	d.refuse = nil
	d.wantDropped(s, a.Hash)
	d.wantDropped(d.follower())

	e := d.done(1, d.record(1, id, channel.RecordTerms{}))
	copied := d.want("replayed", e.Data)
	again := d.want("replayed", e.Data)
	d.wantDropped(s)
	d.done(0, channel.NewErase(d.header(0, id), 3, "x"))
	d.refuse = func(entry tangle.Hash) error {
		if entry == copied.Hash {
			return plugins.Reject("not_final", "a member seals it again and again")
		}
		return nil
	}
	d.wantDropped(s, again.Hash, e.Hash)
	if err := s.eraseRecord(id, 3); err != nil {
		t.Fatal(err)
	}
	if said, found := s.statements.find(id, 3, s.host.Self); found {
		t.Errorf("says %+v with a copy on its disk", said)
	}
	d.refuse = nil
	d.wantDropped(s, copied.Hash, again.Hash, e.Hash)
	if _, found := s.statements.find(id, 3, s.host.Self); !found {
		t.Error("says nothing although all copies are gone")
	}

	c := d.done(1, d.record(1, id, channel.RecordTerms{}))
	d.done(0, channel.NewErase(d.header(0, id), 4, "x"))
	full := errors.New("disk full")
	d.refuse = func(tangle.Hash) error { return full }
	if _, err := d.follower().follow(); !errors.Is(err, full) {
		t.Errorf("%v, want that the node stops", err)
	}
	d.refuse = nil
	d.wantDropped(d.follower(), c.Hash)
}

// TestDropsAfterRetention: what retention has cleared goes in the order of its events, once, whatever its number, and what
// waits is not forgotten.
func TestDropsAfterRetention(t *testing.T) {
	d := newDesk(t)
	id := d.create(1)
	const records = 3*channel.MaxCleared - 10
	var want []tangle.Hash
	for range records {
		d.nonces = 0 // but for the channel, whose nonce is not this one's
		h := d.header(1, id)
		h.Nonce = channel.Nonce{9, byte(len(want)), byte(len(want) >> 8)}
		want = append(want, d.done(1, channel.NewWrite(h, channel.RecordTerms{RecordType: "note", Public: did.Object{"n": "x"}})).Hash)
	}
	d.nonces = 100
	s := d.follower()
	d.wantDropped(s)
	d.now += 25 * 3_600_000
	d.done(1, d.record(1, id, channel.RecordTerms{}))
	d.wantDropped(s, want[:channel.MaxCleared-1]...) // the first event is create
	d.done(1, d.record(1, id, channel.RecordTerms{}))
	d.done(1, d.record(1, id, channel.RecordTerms{}))
	stuck := want[channel.MaxCleared+5]
	d.refuse = func(entry tangle.Hash) error {
		if entry == stuck {
			return plugins.Reject("not_final", "it stands in another message")
		}
		return nil
	}
	rest := want[channel.MaxCleared-1:]
	d.wantDropped(s, slices.DeleteFunc(slices.Clone(rest), func(h tangle.Hash) bool { return h == stuck })...)
	d.refuse = nil
	s = d.follower()
	d.wantDropped(s, rest...) // those that had gone meanwhile are asked for again
	d.wantDropped(s)
	d.wantDropped(d.follower())
}

// TestIndexWithoutBodies makes an index of a ledger whose bodies have gone: it is that of whoever has seen them, and holds
// nothing that the records were found by.
func TestIndexWithoutBodies(t *testing.T) {
	for seed := range uint64(20) {
		d := newDesk(t)
		random := rand.New(rand.NewPCG(seed, 1))
		ids := []channel.ID{d.create(0), d.create(1)}
		d.act(random, ids)
		d.now += 25 * 3_600_000
		d.done(0, channel.NewConfigure(d.header(0, ids[1]), channel.Settings{Status: ptr("over")}))
		if seed%2 == 0 {
			d.act(random, ids)
		}
		state, index := d.empty()
		restored := 0
		for i, e := range d.entries {
			code := d.codes[i]
			if e.Op.(*channel.Operation).Op == channel.Write && d.follower().gone(e.Position, e.Index) {
				var err error
				if e.Op, err = d.ledger.Restore(e.Kind, d.ledger.Lasting(e.Kind, e.Op)); err != nil {
					t.Fatal(err)
				}
				restored++
				if e.Data = nil; code != "" { // as the core does it: Apply is not asked
					d.note(index, e, plugins.Reject(code, ""))
					continue
				}
			}
			if err := d.execute(state, index, e); plugintest.Code(t, err) != code {
				t.Fatalf("seed %d, entry %d without bodies: %v, want %q", seed, i, err, code)
			}
		}
		if restored == 0 {
			t.Fatalf("seed %d: no body has gone", seed)
		}
		if state.Digest() != d.state.Digest() || index.Digest() != d.index.Digest() {
			t.Errorf("seed %d: without bodies state or index differ", seed)
		}
		for _, id := range ids {
			d.wantSearched(seed, id)
		}
	}
}

// act makes random records, copies and erasures.
func (d *desk) act(random *rand.Rand, ids []channel.ID) {
	d.t.Helper()
	for range 40 {
		who, id := random.IntN(2), ids[random.IntN(len(ids))]
		head, err := channel.ReadHead(d.state, id)
		if err != nil {
			d.t.Fatal(err)
		}
		body := d.record(who, id, channel.RecordTerms{RecordType: fmt.Sprint("type ", random.IntN(3)), Tag: "docs"})
		switch n := random.IntN(8); {
		case n == 0:
			body = channel.NewErase(d.header(who, id), 1+random.Uint64N(head.Seq+1), "x")
		case n == 1 && head.Seq > 0:
			body = d.record(who, id, channel.RecordTerms{RecordType: "correction", Supersedes: 1 + random.Uint64N(head.Seq)})
		case n == 2:
			old := d.entries[random.IntN(len(d.entries))]
			d.try(old.Data)
			continue
		}
		d.try(d.sign(who, body))
	}
}

// try orders an entry, whatever becomes of it.
func (d *desk) try(data []byte) {
	d.t.Helper()
	op, err := d.ledger.Check(channel.Kind, data)
	if err != nil {
		d.t.Fatal(err)
	}
	at := did.Place{Time: d.now, Position: tangle.Position(len(d.entries))}
	_, err = channel.Next(d.state, d.identity, op.(*channel.Operation), at)
	d.want(plugintest.Code(d.t, err), data)
}

// wantSearched compares which records of a channel are found by something with those that are there.
func (d *desk) wantSearched(seed uint64, id channel.ID) {
	d.t.Helper()
	var want []uint64
	head, err := channel.ReadHead(d.state, id)
	if err != nil {
		d.t.Fatal(err)
	}
	err = channel.Records(d.state, id, 1, func(e channel.Event) bool {
		if !e.Cleared {
			want = append(want, e.Seq)
		}
		return true
	})
	if err != nil {
		d.t.Fatal(err)
	}
	for _, descending := range []bool{false, true} {
		var got []uint64
		for _, who := range d.dids {
			recordsBy(d.index, id, fieldAuthor, who, 1, head.Seq, descending, func(seq uint64) bool { got = append(got, seq); return true })
		}
		slices.Sort(got)
		equal(d.t, fmt.Sprintf("seed %d: records by author", seed), got, want)
	}
	found := map[uint64]bool{}
	d.index.Scan([]byte{indexRecord}, []byte{indexRecord + 1}, func(key, bits []byte) bool {
		block := uint64(key[40]) // the channels here are small
		for i := range uint64(len(bits)) * 8 {
			if bytes.HasPrefix(key[1:], id[:]) && bits[i/8]&(1<<(i%8)) != 0 {
				found[block*seqsPerBlock+i] = true
			}
		}
		if bytes.Equal(bits, make([]byte, len(bits))) {
			d.t.Errorf("seed %d: %x is left with nothing in it", seed, key)
		}
		return true
	})
	for seq := range found {
		if !slices.Contains(want, seq) {
			d.t.Errorf("seed %d: record %d is gone and can be found", seed, seq)
		}
	}
}

// TestRecordsByField visits the records of many blocks from both ends, and no more than is asked for.
func TestRecordsByField(t *testing.T) {
	x := plugintest.NewState(nil)
	x.Begin()
	id := channel.ID{7}
	var all []uint64
	for seq := uint64(1); seq < 5*seqsPerBlock; seq += 97 {
		if seq/seqsPerBlock != 2 { // one block without any
			all = append(all, seq)
			setBit(deskIndex{x, nil}, recordKey(id, seq/seqsPerBlock, fieldTag, hashValue("a")), seq)
		}
	}
	setBit(deskIndex{x, nil}, recordKey(id, 0, fieldTag, hashValue("b")), 3)
	for _, c := range [][2]uint64{{1, 5 * seqsPerBlock}, {2, 98}, {98, 98}, {99, 99}, {98, 1}, {300, 1100}, {1, 1 << 20}} {
		want := slices.DeleteFunc(slices.Clone(all), func(seq uint64) bool { return seq < c[0] || seq > c[1] })
		for _, descending := range []bool{false, true} {
			var got []uint64
			recordsBy(x, id, fieldTag, "a", c[0], c[1], descending, func(seq uint64) bool { got = append(got, seq); return true })
			equal(t, fmt.Sprint(c, descending), got, want)
			slices.Reverse(want)
		}
	}
	n := 0
	recordsBy(x, id, fieldTag, "a", 1, 5*seqsPerBlock, true, func(uint64) bool { n++; return n < 3 })
	if n != 3 {
		t.Errorf("%d are visited after the third said stop", n)
	}
}
