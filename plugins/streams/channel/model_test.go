package channel

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/plugintest"
	"weft/tangle"
)

// reference is a channel with full history as a few maps: what Next must agree with.
type reference struct {
	now     tangle.Time
	owner   string
	states  map[string]State
	grants  map[string]Grant
	refused map[string]int
	epoch   uint32
	holders map[uint32]map[string]bool
	opened  tangle.Time
	until   tangle.Time
	forever bool
	authors []string // by seq - 1
	erased  map[int]bool
	events  int
}

func newReference(owner string, now tangle.Time) *reference {
	return &reference{
		now: now, owner: owner, states: map[string]State{owner: Active}, grants: map[string]Grant{owner: {Rights: All}}, refused: map[string]int{},
		epoch: 1, holders: map[uint32]map[string]bool{1: {owner: true}}, opened: now, erased: map[int]bool{},
	}
}

func (r *reference) rights(who string) Rights {
	if r.states[who] != Active {
		return 0
	}
	return r.grants[who].Rights
}

func (r *reference) valid(who string) bool {
	until := r.grants[who].ValidUntil
	return until == 0 || r.now < until
}

func (r *reference) reads(who string) bool { return r.rights(who).Reads() && r.valid(who) }

func (r *reference) need(who string, right Rights) string {
	switch {
	case r.states[who] != Active:
		return "not_participant"
	case r.rights(who)&right == 0:
		return "right_missing"
	case !r.valid(who):
		return "not_valid_now"
	}
	return ""
}

// epochIn is what an epoch inside an operation about membership does.
func (r *reference) epochIn(number uint32, to []string) {
	if number != r.epoch+1 || slices.ContainsFunc(to, func(s string) bool { return !r.reads(s) }) {
		return
	}
	r.epoch, r.opened = number, r.now
	r.holders[number] = map[string]bool{}
	for _, s := range to {
		r.holders[number][s] = true
	}
}

func (r *reference) authorize(who string, g Grant, number uint32, to []string) string {
	if code := r.need(who, Admin); code != "" {
		return code
	}
	before := r.rights(g.Participant)
	switch {
	case g.Participant == r.owner, (before|g.Rights)&Admin != 0 && who != r.owner:
		return "owner_only"
	case before.Reads() && !g.Rights.Reads() && number == 0:
		return "new_epoch_required"
	}
	r.states[g.Participant], r.grants[g.Participant] = Active, g
	if number != 0 {
		r.epochIn(number, to)
	}
	return ""
}

func (r *reference) revoke(who string, victims []string, number uint32, to []string) string {
	if code := r.need(who, Admin); code != "" {
		return code
	}
	var gone []string
	reader := false
	for _, v := range victims {
		switch {
		case v == r.owner:
			return "owner_only"
		case r.states[v] != Active:
			continue
		case r.rights(v)&Admin != 0 && who != r.owner:
			return "owner_only"
		}
		gone = append(gone, v)
		reader = reader || r.rights(v).Reads()
	}
	switch {
	case len(gone) == 0:
		return "wrong_state"
	case reader && number == 0:
		return "new_epoch_required"
	}
	for _, v := range gone {
		r.states[v] = Revoked
	}
	if number != 0 {
		r.epochIn(number, to)
	}
	return ""
}

func (r *reference) rekey(who string, number uint32, to []string) string {
	if code := r.need(who, Admin); code != "" {
		return code
	}
	switch {
	case number != r.epoch+1:
		return "epoch_conflict"
	case slices.ContainsFunc(to, func(s string) bool { return !r.reads(s) }):
		return "wrap_target"
	}
	r.epochIn(number, to)
	return ""
}

func (r *reference) keyload(who string, number uint32, to []string) string {
	if code := r.need(who, Admin); code != "" {
		return code
	}
	switch {
	case number > r.epoch || number == 0:
		return "epoch_conflict"
	case slices.ContainsFunc(to, func(s string) bool { return !r.reads(s) }):
		return "wrap_target"
	}
	for _, s := range to {
		r.holders[number][s] = true
	}
	return ""
}

func (r *reference) write(who string, epoch uint32, supersedes int) string {
	if code := r.need(who, Order); code != "" {
		return code
	}
	switch {
	case r.forever || r.now < r.until:
		return "locked"
	case epoch > r.epoch:
		return "epoch_unknown"
	case epoch < r.epoch:
		return "epoch_closed" // they have seen the newest event
	case supersedes > len(r.authors) || supersedes > 0 && r.erased[supersedes]:
		return "unknown_record"
	}
	r.authors = append(r.authors, who)
	return ""
}

func (r *reference) lock(who string, mode LockMode, until tangle.Time) string {
	if code := r.need(who, Admin); code != "" {
		return code
	}
	switch {
	case mode == Forever && who != r.owner:
		return "owner_only"
	case r.forever, mode == Until && until <= r.until, mode == Unlocked && r.until == 0:
		return "wrong_state"
	}
	r.forever, r.until = mode == Forever, 0
	if mode == Until {
		r.until = until
	}
	return ""
}

func (r *reference) erase(who string, seq int) string {
	if seq > len(r.authors) {
		return "unknown_record"
	}
	if r.authors[seq-1] != who {
		if code := r.need(who, Admin); code != "" {
			return code
		}
	}
	if r.erased[seq] {
		return "wrong_state"
	}
	r.erased[seq], r.authors[seq-1] = true, ""
	return ""
}

func (r *reference) due() bool {
	for s := range r.holders[r.epoch] {
		if !r.reads(s) {
			return true
		}
	}
	return false
}

// TestModel compares random operations with the reference: codes, states, heads, rekeyDue; and what is replayed anew with
// what was.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l := newLedger(t)
		people := []*person{l.weft("owner"), l.weft("a"), l.weft("b"), l.keyed("c")}
		id := l.create(people[0])
		r := newReference(people[0].did, l.now)
		for range rapid.IntRange(1, 60).Draw(rt, "length") {
			l.now += tangle.Time(rapid.SampledFrom([]int{0, 1, 500, 2000}).Draw(rt, "wait"))
			r.now = l.now
			p := people[rapid.IntRange(0, 3).Draw(rt, "who")]
			before := l.state.Digest()
			body, want := l.draw(rt, r, people, p, id)
			err := l.apply(p, body)
			if got := plugintest.Code(t, err); got != want {
				rt.Fatalf("%s by %s: %q (%v), the reference has %q", body["op"], p.did, got, err, want)
			}
			if err == nil {
				r.events++
			} else if l.state.Digest() != before {
				rt.Fatal("a rejected operation changes the state")
			}
			l.compare(rt, r, people, id)
		}
		l.replay(rt, id)
	})
}

// draw makes a random operation and asks the reference what becomes of it.
func (l *ledger) draw(rt *rapid.T, r *reference, people []*person, p *person, id ID) (did.Object, string) {
	h := l.header(p, id)
	other := people[rapid.IntRange(0, 3).Draw(rt, "other")]
	number := r.epoch + uint32(rapid.IntRange(0, 2).Draw(rt, "ahead"))
	var to []*person
	var names []string
	for _, q := range people {
		if rapid.Bool().Draw(rt, "wrap") {
			to, names = append(to, q), append(names, q.did)
		}
	}
	switch rapid.SampledFrom(Ops()[2:]).Draw(rt, "op") {
	case Request:
		want := ""
		switch s := r.states[p.did]; {
		case s == Requested || s == Active:
			want = "wrong_state"
		case r.refused[p.did] >= MaxRejections:
			want = "refused"
		default:
			r.states[p.did] = Requested
		}
		return NewRequest(h, Asked{Rights: Read}, nil), want
	case Reject:
		want := r.need(p.did, Admin)
		if want == "" && r.states[other.did] != Requested {
			want = "wrong_state"
		} else if want == "" {
			r.states[other.did] = Rejected
			r.refused[other.did]++
		}
		return NewReject(h, []string{other.did}, ""), want
	case Leave:
		want := "wrong_state"
		if s := r.states[p.did]; p.did == r.owner {
			want = "owner_only"
		} else if s == Active || s == Requested {
			want, r.states[p.did] = "", Left
		}
		return NewLeave(h), want
	case Authorize:
		rights := []Rights{Read, Order, Read | Order, Audit}
		if !isKeyed(other.did) {
			rights = append(rights, Admin)
		}
		g := Grant{Participant: other.did, Rights: rapid.SampledFrom(rights).Draw(rt, "rights")}
		if g.Rights == Audit || rapid.Bool().Draw(rt, "ends") {
			g.ValidUntil = l.now/1000*1000 + tangle.Time(1000*rapid.IntRange(1, 5).Draw(rt, "end"))
		}
		if rapid.Bool().Draw(rt, "epoch") {
			return NewAuthorize(h, []Grant{g}, nil, l.epoch(id, number, true, to...)), r.authorize(p.did, g, number, names)
		}
		return NewAuthorize(h, []Grant{g}, nil, nil), r.authorize(p.did, g, 0, nil)
	case Revoke:
		victims := []string{other.did}
		if i := slices.Index(names, other.did); i >= 0 {
			to, names = slices.Delete(to, i, i+1), slices.Delete(names, i, i+1)
		}
		if rapid.Bool().Draw(rt, "epoch") {
			return NewRevoke(h, victims, "", l.epoch(id, number, true, to...)), r.revoke(p.did, victims, number, names)
		}
		return NewRevoke(h, victims, "", nil), r.revoke(p.did, victims, 0, nil)
	case Rekey:
		return NewRekey(h, "", l.epoch(id, number, true, to...)), r.rekey(p.did, number, names)
	case Keyload:
		number--
		if len(to) == 0 {
			to, names = []*person{other}, []string{other.did}
		}
		return NewKeyload(h, []Keys{{number, l.wraps(id, number, to...)}}), r.keyload(p.did, number, names)
	case Lock:
		mode := rapid.SampledFrom([]LockMode{Unlocked, Until, Until, Forever}).Draw(rt, "mode")
		if mode == Forever && rapid.IntRange(0, 9).Draw(rt, "really") > 0 {
			mode = Unlocked
		}
		until := l.now/1000*1000 + 2000
		return NewLock(h, mode, until), r.lock(p.did, mode, until)
	case Erase:
		seq := rapid.IntRange(1, len(r.authors)+1).Draw(rt, "seq")
		return NewErase(h, uint64(seq), "x"), r.erase(p.did, seq)
	}
	epoch := max(1, number-1)
	supersedes := rapid.IntRange(0, len(r.authors)+1).Draw(rt, "supersedes")
	return l.sealedUnder(p, id, epoch, "x", RecordTerms{Supersedes: uint64(supersedes)}), r.write(p.did, epoch, supersedes)
}

func (l *ledger) compare(rt *rapid.T, r *reference, people []*person, id ID) {
	c, h, err := ReadChannel(l.state, id)
	if err != nil {
		rt.Fatal(err)
	}
	active := 0
	for _, p := range people {
		got := l.participant(id, p)
		state := State("")
		if got != nil {
			state = got.State
		}
		if state != r.states[p.did] || c.Effective(got, l.now).Reads() != r.reads(p.did) {
			rt.Fatalf("%s is %q, the reference has %q", p.did, state, r.states[p.did])
		}
		if state == Active {
			active++
		}
	}
	if int(h.Event) != r.events || int(h.Seq) != len(r.authors) || h.Epoch != r.epoch || int(h.Active) != active || h.LockForever != r.forever || h.LockUntil != r.until {
		rt.Fatalf("head %+v, the reference has %+v", h, r)
	}
	if l.due(id) != r.due() {
		rt.Fatalf("rekeyDue is %v", l.due(id))
	}
}

// replay applies the accepted operations anew, as a node does that joins afterwards, whole and as what is left of them: events,
// heads and state are the same.
func (l *ledger) replay(rt rapid.TB, id ID) {
	l.replayAs(rt, func(op *Operation) *Operation { return op })
	l.replayAs(rt, func(op *Operation) *Operation {
		if op.Op != Write {
			return op
		}
		left, err := Restore(op.Lasting())
		if err != nil {
			rt.Fatal(err)
		}
		return left
	})
}

func (l *ledger) replayAs(rt rapid.TB, as func(*Operation) *Operation) {
	state := memory{}
	for n := range uint64(len(l.entries)) {
		writes, err := Next(state, l.identity, as(mustDecode(l.t, l.entries[n])), l.places[n])
		if err != nil {
			rt.Fatalf("event %d in replay: %v", n, err)
		}
		state.put(writes)
	}
	count := 0
	l.state.Scan([]byte{0}, nil, func(k, v []byte) bool {
		count++
		if string(state.Get(k)) != string(v) {
			rt.Fatalf("key %x differs in replay", k)
		}
		return true
	})
	for _, keys := range state {
		count -= len(keys)
	}
	if count != 0 {
		rt.Fatal("another number of keys in replay")
	}
}

// TestContract runs the operations as a ledger plugin: the same outcomes and the same state each time.
func TestContract(t *testing.T) {
	l := newLedger(t)
	l.network = tangle.ID{1} // of plugintest
	people := []*person{l.weft("owner"), l.weft("a"), l.keyed("c")}
	network := l.network
	maker := plugins.Maker{Name: "channel", Open: func(plugins.Host) (plugins.Plugin, error) {
		return plugins.Plugin{
			Kinds: []tangle.Kind{Kind},
			Check: func(_ tangle.Kind, data []byte) (plugins.Op, error) {
				return plugins.OpOf(Decode(network, data))
			},
			Apply: func(state plugins.State, e plugins.Ordered) error {
				writes, err := Next(state, state.Peek("identity"), e.Op.(*Operation), did.Place{Time: e.Time, Position: e.Position, Index: e.Index, By: e.Author, Entry: e.Hash})
				plugins.Put(state, writes)
				return err
			},
			Lasting: func(_ tangle.Kind, op plugins.Op) []byte { return op.(*Operation).Lasting() },
			Restore: func(_ tangle.Kind, lasting []byte) (plugins.Op, error) { return plugins.OpOf(Restore(lasting)) },
		}, nil
	}}
	ids := []ID{NewID(network, people[0].did, Nonce{1}), NewID(network, people[0].did, Nonce{2})}
	plugintest.Run(t, maker, plugintest.Script{Seeds: 3, Peers: map[string]plugins.View{"identity": l.identity}, Generate: func(r *rand.Rand) plugins.Submission {
		p := people[r.IntN(len(people))]
		body := l.generate(r, people, p, ids[r.IntN(2)])
		return plugins.Submission{Kind: Kind, Data: l.sign(p, body)}
	}})
}

// generate makes operations that name event 0 only, and so never need to know the state.
func (l *ledger) generate(r *rand.Rand, people []*person, p *person, id ID) did.Object {
	h := Header{Network: l.network, Channel: id, Actor: p.did, Created: 1_800_000_000_000, NotAfter: 1_800_003_600_000, After: After{Head: FirstHead(id)}}
	for i := range h.Nonce {
		h.Nonce[i] = byte(r.IntN(256))
	}
	other := people[1+r.IntN(2)]
	switch r.IntN(9) {
	case 0:
		h.Nonce = Nonce{byte(1 + r.IntN(2))}
		h.Actor = people[0].did
		own := NewID(l.network, h.Actor, h.Nonce)
		return NewCreate(h, CreateTerms{Access: Private, Profile: Stream, Settings: Settings{Name: ptr(own.String()[:8])}, Epoch: l.epoch(own, 1, false, people[0])})
	case 1:
		return NewRequest(h, Asked{Rights: Read | Order}, nil)
	case 2:
		return NewAuthorize(h, []Grant{{Participant: other.did, Rights: Read | Order}}, []Keys{{1, l.wraps(id, 1, other)}}, nil)
	case 3:
		return NewRevoke(h, []string{other.did}, "x", l.epoch(id, uint32(2+r.IntN(3)), true, people[0]))
	case 4:
		return NewErase(h, uint64(1+r.IntN(5)), "x")
	case 5:
		return NewConfigure(h, Settings{Status: ptr("x"), RetentionDays: ptr(r.IntN(3))})
	case 6:
		return NewLeave(h)
	}
	epoch := uint32(1 + r.IntN(2))
	k := epochKeyOf(id, epoch)
	write := NewWrite(h, RecordTerms{Supersedes: uint64(max(0, r.IntN(6)-3))})
	body, err := Seal(l.random, Sealer{Epoch: epoch, Key: &k}, write, did.Object{}, []byte("x"))
	if r.IntN(4) == 0 {
		body, _, err = SealBlob(l.random, Sealer{Epoch: epoch, Key: &k}, write, did.Object{}, strings.NewReader("x"), 1, func(int, []byte) error { return nil })
	}
	if err != nil {
		l.t.Fatal(err)
	}
	return body
}

func benchWrite(b *testing.B) (*ledger, ID, []byte) {
	l := newLedger(b)
	l.fast = true
	owner, writer := l.weft("owner"), l.weft("writer")
	id := l.create(owner, func(t *CreateTerms) {
		t.Settings.Tags = &[]string{"customs", "docs"}
		t.Settings.Roles = &map[string]Role{"customs": {Read | Order, []string{"customs"}}}
	})
	l.want("", owner, NewAuthorize(l.header(owner, id), []Grant{{Participant: writer.did, Roles: []string{"customs"}}}, []Keys{{1, l.wraps(id, 1, writer)}}, nil))
	return l, id, l.sign(writer, l.sealed(writer, id, "temperature 4.5", RecordTerms{Tag: "customs", RecordType: "reading"}))
}

func BenchmarkDecode(b *testing.B) {
	l, _, entry := benchWrite(b)
	b.ReportAllocs()
	b.ReportMetric(float64(len(entry)), "bytes")
	for b.Loop() {
		if _, err := Decode(l.network, entry); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNext(b *testing.B) {
	l, _, entry := benchWrite(b)
	op := mustDecode(b, entry)
	at := l.next()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Next(l.state, l.identity, op, at); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkNextKeyload is an operation with the most wraps.
func BenchmarkNextKeyload(b *testing.B) {
	l := newLedger(b)
	l.fast = true
	owner := l.weft("owner")
	id := l.create(owner)
	var wraps []Wrap
	for i := 0; i < MaxWraps; i += MaxGrants {
		var grants []Grant
		for n := i; n < i+MaxGrants; n++ {
			grants = append(grants, Grant{Participant: cheap(n), Rights: Read})
			wraps = append(wraps, Wrap{cheap(n) + "#k", make([]byte, WrapBytes)})
		}
		l.want("", owner, NewAuthorize(l.header(owner, id), grants, nil, nil))
	}
	op := mustDecode(b, l.sign(owner, NewKeyload(l.header(owner, id), []Keys{{1, wraps}})))
	at := l.next()
	for b.Loop() {
		if _, err := Next(l.state, l.identity, op, at); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSeal(b *testing.B) {
	l, id, _ := benchWrite(b)
	p := l.weft("writer")
	for b.Loop() {
		l.sealedUnder(p, id, 1, "temperature 4.5", RecordTerms{Tag: "customs"})
	}
}
