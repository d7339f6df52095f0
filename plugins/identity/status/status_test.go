package status

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/identity/operation"
	"weft/plugins/plugintest"
	"weft/tangle"
)

// start is the commit time of the first operation of every test: 2026-12-01T00:00:00Z.
const start = tangle.Time(1796083200000)

func network() tangle.ID { return tangle.ID{7} }

func key(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

// actor is the did:key of key(seed).
func actor(seed byte) string {
	return "did:key:" + did.Ed25519Key(key(seed).Public().(ed25519.PublicKey)).Multikey()
}

// ledger applies operations one after the other, each at its own position.
type ledger struct {
	state *plugintest.State
	place did.Place
	nonce byte
	limit did.Limits
}

func newLedger() *ledger {
	l := &ledger{state: plugintest.NewState(nil), place: did.Place{Time: start, By: tangle.Member{1}}, limit: did.DefaultLimits()}
	l.state.Begin()
	return l
}

// header makes a new one each time, so that no two operations are the same.
func (l *ledger) header(seed byte) operation.Header {
	l.nonce++
	return operation.Header{
		Network: network(), Actor: actor(seed), Nonce: [16]byte{l.nonce, byte(l.place.Position), byte(l.place.Position >> 8)},
		NotAfter: l.place.Time/1000*1000 + 3_600_000,
	}
}

func sign(t testing.TB, body did.Object, keys ...ed25519.PrivateKey) []byte {
	t.Helper()
	entry, err := did.Sign(body, keys...)
	if err != nil {
		t.Fatal(err)
	}
	return entry
}

// apply decodes and executes an entry; it returns the opHash and the code of the rejection.
func (l *ledger) apply(t testing.TB, entry []byte) (hash, code string) {
	t.Helper()
	op, err := Decode(network(), l.limit, entry)
	if err != nil {
		return "", plugintest.Code(t, err)
	}
	l.place.Position++
	writes, err := Next(l.state, l.limit, op, l.place)
	if err != nil {
		return op.Envelope.Hash, plugintest.Code(t, err)
	}
	plugins.Put(l.state, writes)
	return op.Envelope.Hash, ""
}

// by signs a body with the key of seed and applies it.
func (l *ledger) by(t testing.TB, seed byte, body did.Object) (hash, code string) {
	t.Helper()
	return l.apply(t, sign(t, body, key(seed)))
}

func (l *ledger) create(t testing.TB, seed byte, purpose Purpose, writers ...string) string {
	t.Helper()
	list, code := l.by(t, seed, NewCreateList(l.header(seed), ListTerms{Purpose: purpose, Size: MinSize, Writers: writers, Home: tangle.Member{1}}))
	if code != "" {
		t.Fatalf("create: %s", code)
	}
	return list
}

func TestOutcomes(t *testing.T) {
	l := newLedger()
	revocations := l.create(t, 1, Revocation, actor(2))
	suspensions := l.create(t, 1, Suspension)
	foreign := "zQmWtmPYAAf4jqgYd4myZLeGvtS5aX6YRobF3ZmvCCfxHom"
	secret := [SecretBytes]byte{9}
	commitment := Commit(secret, []byte("credential"))
	late := l.header(1)
	late.NotAfter = l.place.Time + 8*24*3_600_000
	past := l.header(1)
	past.NotAfter = l.place.Time - 1000

	for _, step := range []struct {
		name string
		seed byte
		body did.Object
		want string
	}{
		{"the issuer revokes", 1, NewSet(l.header(1), revocations, []int{4711, 17}, nil), ""},
		{"a writer revokes", 2, NewSet(l.header(2), revocations, []int{18}, nil), ""},
		{"once more is no fault", 1, NewSet(l.header(1), revocations, []int{17}, nil), ""},
		{"a stranger", 3, NewSet(l.header(3), revocations, []int{19}, nil), "not_entitled"},
		{"a stranger in the issuer's name", 3, NewSet(l.header(1), revocations, []int{19}, nil), "not_entitled"},
		{"a writer of another list", 2, NewSet(l.header(2), suspensions, []int{19}, nil), "not_entitled"},
		{"clearing a revocation", 1, NewSet(l.header(1), revocations, nil, []int{17}), "list_final"},
		{"behind the end", 1, NewSet(l.header(1), revocations, []int{MinSize}, nil), "bad_index"},
		{"the last one", 1, NewSet(l.header(1), revocations, []int{MinSize - 1}, nil), ""},
		{"clearing behind the end", 1, NewSet(l.header(1), suspensions, []int{1}, []int{MinSize}), "bad_index"},
		{"no such list", 1, NewSet(l.header(1), foreign, []int{1}, nil), "unknown_list"},
		{"suspend", 1, NewSet(l.header(1), suspensions, []int{5, 6}, nil), ""},
		{"reinstate", 1, NewSet(l.header(1), suspensions, []int{7}, []int{5}), ""},
		{"notAfter too far away", 1, NewSet(late, suspensions, []int{5}, nil), "bad_value"},
		{"notAfter over", 1, NewSet(past, suspensions, []int{5}, nil), "expired"},
		{"anchor", 4, NewAnchor(l.header(4), commitment), ""},
		{"anchor again", 5, NewAnchor(l.header(5), commitment), "already_exists"},
		{"spend", 6, NewSpend(l.header(6), secret), ""},
		{"spend again", 7, NewSpend(l.header(7), secret), "already_used"},
		{"a spend without the actor's key", 8, NewSpend(l.header(7), [32]byte{8}), "not_entitled"},
		{"close by a stranger", 3, NewCloseList(l.header(3), suspensions), "not_entitled"},
		{"close", 1, NewCloseList(l.header(1), suspensions), ""},
		{"close again", 1, NewCloseList(l.header(1), suspensions), "list_closed"},
		{"set after close", 1, NewSet(l.header(1), suspensions, nil, []int{6}), "list_closed"},
	} {
		l.place.Time += 10
		if _, code := l.by(t, step.seed, step.body); code != step.want {
			t.Errorf("%s: got %q, want %q", step.name, code, step.want)
		}
	}
	wantSet(t, l, revocations, 17, 18, 4711, MinSize-1)
	wantSet(t, l, suspensions, 6, 7)
	if e, found, err := ReadSpend(l.state, Nullifier(secret)); !found || err != nil || e.Actor != actor(6) {
		t.Errorf("the spend is %+v, %t, %v", e, found, err)
	}
	if at, found := Anchor(l.state, commitment); !found || at != start+160 {
		t.Errorf("anchored at %s, %t", at, found)
	}
	if _, found := Anchor(l.state, foreign); found {
		t.Error("an anchor that was never made")
	}
	if d := l.state.Defects(); len(d) > 0 {
		t.Error(d)
	}
}

func wantSet(t *testing.T, l *ledger, list string, want ...int) {
	t.Helper()
	bits, err := Bits(l.state, list)
	if err != nil {
		t.Fatal(err)
	}
	if got := setBits(bits); !slices.Equal(got, want) {
		t.Errorf("bits %v, want %v", got, want)
	}
	for _, index := range want {
		if set, err := Bit(l.state, list, index); !set || err != nil {
			t.Errorf("bit %d: %t, %v", index, set, err)
		}
	}
}

func setBits(bits []byte) (set []int) {
	for i, b := range bits {
		for j := range 8 {
			if b&(0x80>>j) != 0 {
				set = append(set, 8*i+j)
			}
		}
	}
	return set
}

func TestReads(t *testing.T) {
	l := newLedger()
	list := l.create(t, 1, Revocation)
	for _, c := range []struct {
		list  string
		index int
		want  string
	}{{list, 0, ""}, {list, MinSize - 1, ""}, {list, MinSize, "bad_index"}, {list, -1, "bad_index"}, {"zQm", 0, "unknown_list"}} {
		set, err := Bit(l.state, c.list, c.index)
		if code := plugintest.Code(t, err); code != c.want || set {
			t.Errorf("bit %d of %s: %t, %q, want %q", c.index, c.list, set, code, c.want)
		}
	}
	if bits, err := Bits(l.state, list); len(bits) != MinSize/8 || err != nil {
		t.Errorf("%d bytes, %v", len(bits), err)
	}
	if _, err := BitsAt(l.state, list, start-1); plugintest.Code(t, err) != "unknown_list" {
		t.Errorf("before it was made: %v", err)
	}
	if got := ListsOf(l.state, actor(1), 10); !slices.Equal(got, []string{list}) {
		t.Errorf("lists %v", got)
	}
	if got := ListsOf(l.state, actor(1)[:len(actor(1))-1], 10); got != nil {
		t.Errorf("lists of half a name: %v", got)
	}
	meta, err := ReadList(l.state, list)
	if err != nil || meta.Issuer != actor(1) || meta.Purpose != Revocation || meta.Size != MinSize || tangle.Time(meta.Created) != start {
		t.Errorf("%+v, %v", meta, err)
	}
}

func TestReplays(t *testing.T) {
	l := newLedger()
	list := l.create(t, 1, Suspension)
	suspend := sign(t, NewSet(l.header(1), list, []int{3}, nil), key(1))
	l.apply(t, suspend)
	l.by(t, 1, NewSet(l.header(1), list, nil, []int{3}))
	if _, code := l.apply(t, suspend); code != "replayed" {
		t.Errorf("the old suspend again: %q", code)
	}
	wantSet(t, l, list)
	l.place.Time = start + 3_600_000
	if _, code := l.apply(t, suspend); code != "replayed" {
		t.Errorf("at its notAfter: %q", code)
	}
	l.place.Time++
	if _, code := l.apply(t, suspend); code != "expired" {
		t.Errorf("one millisecond later: %q", code)
	}
	l.by(t, 1, NewSet(l.header(1), list, []int{4}, nil))
	if left := count(l.state, 'r'); left != 1 {
		t.Errorf("%d operations are remembered, want the newest alone", left)
	}
}

// The memory of operations is bounded in time, so no notAfter may lie further ahead; not even one so far that its distance
// is no Duration.
func TestNotAfterIsBounded(t *testing.T) {
	l := newLedger()
	list := l.create(t, 1, Suspension)
	week := tangle.Time(operation.MaxAhead.Milliseconds())
	for _, c := range []struct {
		notAfter tangle.Time
		want     string
	}{
		{start + week, ""}, {start + week + 1000, "bad_value"},
		{11_053_000_000_000, "bad_value"},  // 9.26e12 ms ahead: beyond the largest Duration
		{20_300_000_000_000, "bad_value"},  // once around
		{253_402_300_799_000, "bad_value"}, // the end of the year 9999
	} {
		h := l.header(1)
		h.NotAfter = c.notAfter
		if _, code := l.by(t, 1, NewSet(h, list, []int{1}, nil)); code != c.want {
			t.Errorf("notAfter %s: got %q, want %q", c.notAfter, code, c.want)
		}
	}
}

// A rejected operation may be tried again: it is not remembered, and writes nothing.
func TestRejectedIsNotRemembered(t *testing.T) {
	l := newLedger()
	before := l.state.Digest()
	set := sign(t, NewSet(l.header(1), "zQmWtmPYAAf4jqgYd4myZLeGvtS5aX6YRobF3ZmvCCfxHom", []int{3}, nil), key(1))
	for range 2 {
		if _, code := l.apply(t, set); code != "unknown_list" {
			t.Errorf("got %q", code)
		}
	}
	if l.state.Digest() != before {
		t.Error("a rejection wrote")
	}
}

func count(v plugins.View, prefix byte) (n int) {
	v.Scan([]byte{prefix}, []byte{prefix + 1}, func(_, _ []byte) bool { n++; return true })
	return n
}

func TestQuotas(t *testing.T) {
	l := newLedger()
	l.limit.MaxStatusLists, l.limit.MaxSpendsPerMinute = 2, 3
	for i, want := range []string{"", "", "rate_limited"} {
		_, code := l.by(t, 1, NewCreateList(l.header(1), ListTerms{Purpose: Revocation, Size: MinSize}))
		if code != want {
			t.Errorf("list %d: %q, want %q", i, code, want)
		}
	}
	l.create(t, 2, Revocation) // another issuer
	spend := func(n byte) string {
		_, code := l.by(t, 1, NewSpend(l.header(1), [32]byte{n}))
		return code
	}
	got := []string{spend(1), spend(2), spend(3), spend(4)}
	l.place.By = tangle.Member{2}
	got = append(got, spend(4))
	l.place.By, l.place.Time = tangle.Member{1}, start+59_999
	got = append(got, spend(5))
	l.place.Time = start + 60_000
	got = append(got, spend(5))
	if want := []string{"", "", "", "rate_limited", "", "rate_limited", ""}; !slices.Equal(got, want) {
		t.Errorf("spends %q, want %q", got, want)
	}
}

// change edits a valid body before it is signed.
func TestDecodeRefuses(t *testing.T) {
	list := "zQmWtmPYAAf4jqgYd4myZLeGvtS5aX6YRobF3ZmvCCfxHom"
	l := newLedger()
	create := func() did.Object {
		return NewCreateList(l.header(1), ListTerms{Purpose: Revocation, Size: MinSize, Home: tangle.Member{1}})
	}
	set := func() did.Object { return NewSet(l.header(1), list, []int{1, 2}, []int{3}) }
	with := func(body did.Object, name string, value any) did.Object {
		if body[name] = value; value == nil {
			delete(body, name)
		}
		return body
	}
	many := make([]int, MaxIndexes+1)
	for i := range many {
		many[i] = i
	}
	for _, c := range []struct {
		name string
		body did.Object
		want string
	}{
		{"a good create", create(), ""},
		{"a good set", set(), ""},
		{"close", NewCloseList(l.header(1), list), ""},
		{"no op of ours", with(set(), "op", "reset"), "bad_value"},
		{"another type", with(set(), "type", "weft/trust/1"), "bad_value"},
		{"another network", with(set(), "network", tangle.ID{8}.String()), "wrong_network"},
		{"a member too many", with(set(), "purpose", "revocation"), "unknown_field"},
		{"a member too few", with(set(), "off", nil), "bad_value"},
		{"no notAfter", with(set(), "notAfter", nil), "bad_value"},
		{"notAfter with an offset", with(set(), "notAfter", "2026-12-01T00:00:00+00:00"), "bad_value"},
		{"no nonce", with(set(), "nonce", nil), "bad_value"},
		{"a short nonce", with(set(), "nonce", "AAAA"), "bad_value"},
		{"a nonce with loose bits", with(set(), "nonce", "AAAAAAAAAAAAAAAAAAAAAB"), "bad_value"},
		{"no actor", with(set(), "actor", nil), "bad_value"},
		{"an actor of another method", with(set(), "actor", "did:web:example.org"), "bad_value"},
		{"an actor with an encryption key", with(set(), "actor", "did:key:z6LSeu9HkTHSfLLeUs2nnzUSNedgDUevfNQgQjQC23ZCit6F"), "bad_value"},
		{"an actor of another network", with(set(), "actor", "did:weft:t2iac44k:"+list), "wrong_network"},
		{"an actor with a fragment", with(set(), "actor", actor(1)+"#x"), "bad_value"},
		{"list is no hash", with(set(), "list", "zQmWtmPYAAf4jqgYd4myZLeGvtS5aX6YRobF3ZmvCCfxHo0"), "bad_value"},
		{"no indexes", NewSet(l.header(1), list, nil, nil), "bad_value"},
		{"descending", with(set(), "on", []any{2, 1}), "bad_value"},
		{"twice", with(set(), "on", []any{2, 2}), "bad_value"},
		{"in both", NewSet(l.header(1), list, []int{1, 2}, []int{2}), "bad_value"},
		{"negative", with(set(), "on", []any{-1}), "bad_index"},
		{"of no list", with(set(), "on", []any{MaxSize}), "bad_index"},
		{"index as text", with(set(), "on", []any{"1"}), "bad_value"},
		{"on is no list", with(set(), "on", 1), "bad_value"},
		{"too many", NewSet(l.header(1), list, many[:MaxIndexes], many[MaxIndexes:]), "too_large"},
		{"as many as may be", NewSet(l.header(1), list, many[:MaxIndexes], nil), ""},
		{"size of no list", with(create(), "size", MinSize+8), "bad_value"},
		{"size three times", with(create(), "size", 3*MinSize), "bad_value"},
		{"size too large", with(create(), "size", 2*MaxSize), "bad_value"},
		{"size eight times", with(create(), "size", MaxSize), ""},
		{"another purpose", with(create(), "purpose", "message"), "bad_value"},
		{"writers unsorted", with(create(), "writers", []any{"did:key:z2", "did:key:z1"}), "bad_value"},
		{"a writer that cannot sign", with(create(), "writers", []any{"did:web:example.org"}), "bad_value"},
		{"home is no member", with(create(), "home", "example.org"), "bad_value"},
		{"commitment is no hash", NewAnchor(l.header(1), "zQm"), "bad_value"},
		{"a short secret", with(NewSpend(l.header(1), [32]byte{}), "secret", base64.RawURLEncoding.EncodeToString(make([]byte, 31))), "bad_value"},
	} {
		_, err := Decode(network(), l.limit, sign(t, c.body, key(1)))
		if got := plugintest.Code(t, err); got != c.want {
			t.Errorf("%s: got %q (%v), want %q", c.name, got, err, c.want)
		}
	}
}

func TestDecodeRefusesOtherBytes(t *testing.T) {
	l := newLedger()
	entry := sign(t, NewSet(l.header(1), "zQmWtmPYAAf4jqgYd4myZLeGvtS5aX6YRobF3ZmvCCfxHom", []int{1, 2}, nil), key(1))
	for name, c := range map[string]struct{ old, new, want string }{
		"another index": {`"on":[1,2]`, `"on":[1,3]`, "bad_signature"},
		"a space":       {`"on":[1,2]`, `"on":[1, 2]`, "not_canonical"},
		"a fraction":    {`"on":[1,2]`, `"on":[1,2.0]`, "not_canonical"},
		"a duplicate":   {`"on":[1,2]`, `"on":[1,2],"on":[1,2]`, "not_canonical"},
		"null":          {`"on":[1,2]`, `"on":null`, "bad_value"},
		"no proof":      {`"proof":[`, `"proof":[],"proog":[`, "bad_value"},
	} {
		changed := strings.Replace(string(entry), c.old, c.new, 1)
		if changed == string(entry) {
			t.Fatalf("%s changes nothing in %s", name, entry)
		}
		_, err := Decode(network(), l.limit, []byte(changed))
		if got := plugintest.Code(t, err); got != c.want {
			t.Errorf("%s: got %q (%v), want %q", name, got, err, c.want)
		}
	}
	_, err := Decode(network(), l.limit, make([]byte, MaxOperationBytes+1))
	if got := plugintest.Code(t, err); got != "too_large" {
		t.Errorf("too long: %q", got)
	}
}

// model is a status list as a history of maps.
type model struct {
	times []tangle.Time
	bits  []map[int]bool // after the operation of the same index
}

func (m *model) at(t tangle.Time) map[int]bool {
	for i := len(m.times) - 1; i >= 0; i-- {
		if m.times[i] <= t {
			return m.bits[i]
		}
	}
	return nil
}

func sortedIndexes(m map[int]bool) (list []int) {
	for i := range m {
		list = append(list, i)
	}
	slices.Sort(list)
	return list
}

// TestListAgainstAMap drives a suspension list without envelopes, several operations at one commit time too.
func TestListAgainstAMap(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		state := plugintest.NewState(nil)
		state.Begin()
		now := start
		l := List{ID: did.Multihash(nil), ListTerms: ListTerms{Purpose: Suspension, Size: MinSize}, Created: operation.Instant(now), Changed: operation.Instant(now)}
		plugins.Put(state, []did.Write{write(keyList+l.ID, l)})
		m := model{[]tangle.Time{now}, []map[int]bool{{}}}
		for range rapid.IntRange(0, 12).Draw(r, "operations") {
			now += tangle.Time(rapid.IntRange(0, 3).Draw(r, "later"))
			op := &Operation{On: drawIndexes(r), List: l.ID}
			op.Off = slices.DeleteFunc(drawIndexes(r), func(i int) bool { return slices.Contains(op.On, i) })
			step(r, state, op, now)
			m.add(now, op)
		}
		for at := start; at <= now+1; at++ {
			bits, err := BitsAt(state, l.ID, at)
			if got, want := setBits(bits), sortedIndexes(m.at(at)); err != nil || !slices.Equal(got, want) {
				r.Fatalf("at +%d: %v, %v, want %v", at-start, got, err, want)
			}
		}
		bits, err := Bits(state, l.ID)
		if want := sortedIndexes(m.at(now)); err != nil || !slices.Equal(setBits(bits), want) {
			r.Fatalf("now: %v, %v, want %v", setBits(bits), err, want)
		}
	})
}

func (m *model) add(now tangle.Time, op *Operation) {
	next := map[int]bool{}
	for i := range m.bits[len(m.bits)-1] {
		next[i] = true
	}
	for _, i := range op.On {
		next[i] = true
	}
	for _, i := range op.Off {
		delete(next, i)
	}
	m.times, m.bits = append(m.times, now), append(m.bits, next)
}

func drawIndexes(r *rapid.T) []int {
	some := rapid.SampledFrom([]int{0, 1, 7, 8, 100, chunkBits - 1, chunkBits, 3*chunkBits + 5, MinSize - 1})
	list := rapid.SliceOfNDistinct(some, 0, 5, rapid.ID[int]).Draw(r, "indexes")
	slices.Sort(list)
	return list
}

type fataler interface {
	Fatalf(format string, args ...any)
}

// step executes a set whose envelope and actor are not in question.
func step(t fataler, state *plugintest.State, op *Operation, now tangle.Time) {
	l, err := ReadList(state, op.List)
	if err != nil {
		t.Fatalf("%v", err)
	}
	writes, err := op.set(state, l, did.Place{Time: now})
	if err != nil {
		t.Fatalf("%v", err)
	}
	plugins.Put(state, writes)
}

// TestLongHistories rebuilds states around snapshots.
func TestLongHistories(t *testing.T) {
	state := plugintest.NewState(nil)
	state.Begin()
	l := List{ID: did.Multihash(nil), ListTerms: ListTerms{Purpose: Suspension, Size: MinSize}, Created: 1, Changed: 1}
	plugins.Put(state, []did.Write{write(keyList+l.ID, l)})
	m := model{[]tangle.Time{1}, []map[int]bool{{}}}
	const versions = 2*SnapshotEvery + 700
	for n := range versions {
		op := &Operation{On: []int{n % 7, 1000 + n}, Off: []int{7 + n%5}, List: l.ID}
		if n%3 == 0 {
			op.On, op.Off = []int{7 + n%5}, []int{n % 7}
		}
		step(t, state, op, tangle.Time(n+2))
		m.add(tangle.Time(n+2), op)
	}
	if got := snapshots(state); got < 1 {
		t.Errorf("%d snapshots", got)
	}
	for at := tangle.Time(1); at < versions+3; at += 61 {
		bits, err := BitsAt(state, l.ID, at)
		if got, want := setBits(bits), sortedIndexes(m.at(at)); err != nil || !slices.Equal(got, want) {
			t.Fatalf("at %d: %v, %d bits, want %d", at, err, len(got), len(want))
		}
	}
}

func snapshots(v plugins.View) (n int) {
	v.Scan([]byte(keyVersion), []byte("w"), func(key, _ []byte) bool {
		if len(key) == 1+hashLength+5 {
			n++
		}
		return true
	})
	return n
}

func TestDamagedFlips(t *testing.T) {
	for _, b := range [][]byte{nil, make([]byte, 7), append(make([]byte, 8), 0x80), append(make([]byte, 8), 0xff, 0xff, 0x7f)} {
		if _, err := parseFlips(b, MinSize); err == nil || plugins.Rejected(err) != nil {
			t.Errorf("%x: %v, want an error that stops the node", b, err)
		}
	}
	f := flips{start, []int{0, 5, MinSize - 1}}
	got, err := parseFlips(f.bytes(), MinSize)
	if err != nil || got.time != f.time || !slices.Equal(got.indexes, f.indexes) {
		t.Errorf("%v, %v", got, err)
	}
}

func FuzzDecode(f *testing.F) {
	l := newLedger()
	list := "zQmWtmPYAAf4jqgYd4myZLeGvtS5aX6YRobF3ZmvCCfxHom"
	for _, body := range []did.Object{
		NewCreateList(l.header(1), ListTerms{Purpose: Revocation, Size: MinSize, Writers: []string{actor(2)}}),
		NewSet(l.header(1), list, []int{1, 2}, []int{3}), NewCloseList(l.header(1), list),
		NewAnchor(l.header(1), list), NewSpend(l.header(1), [32]byte{1}),
	} {
		f.Add(sign(f, body, key(1)))
	}
	f.Fuzz(func(t *testing.T, entry []byte) {
		op, err := Decode(network(), did.DefaultLimits(), entry)
		if err != nil {
			plugintest.Code(t, err)
			return
		}
		canonical, err := did.Canonical(mustObject(t, entry))
		if err != nil || !bytes.Equal(canonical, entry) {
			t.Fatalf("accepted bytes that are not canonical: %s", entry)
		}
		l := newLedger()
		_, err = Next(l.state, l.limit, op, did.Place{Time: op.Envelope.NotAfter})
		plugintest.Code(t, err)
	})
}

func mustObject(t *testing.T, entry []byte) did.Object {
	o, err := did.DecodeObject(entry, did.JSONLimits{})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// benchmarkSet revokes n credentials at a time, spread over the list.
func benchmarkSet(b *testing.B, n int) {
	l := newLedger()
	list := l.create(b, 1, Revocation)
	on := make([]int, n)
	for i := range on {
		on[i] = i * (MinSize / n)
	}
	entry := sign(b, NewSet(l.header(1), list, on, nil), key(1))
	b.Run("Decode", func(b *testing.B) {
		b.SetBytes(int64(len(entry)))
		for b.Loop() {
			if _, err := Decode(network(), l.limit, entry); err != nil {
				b.Fatal(err)
			}
		}
	})
	op, err := Decode(network(), l.limit, entry)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("Next", func(b *testing.B) {
		for b.Loop() {
			if _, err := Next(l.state, l.limit, op, l.place); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkSet(b *testing.B) {
	for _, n := range []int{1, 1000, MaxIndexes} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { benchmarkSet(b, n) })
	}
}

func BenchmarkBitsAt(b *testing.B) {
	state := plugintest.NewState(nil)
	state.Begin()
	l := List{ID: did.Multihash(nil), ListTerms: ListTerms{Purpose: Suspension, Size: MinSize}, Created: 1, Changed: 1}
	plugins.Put(state, []did.Write{write(keyList+l.ID, l)})
	for n := range SnapshotEvery + 1 {
		on := make([]int, 0, 200)
		for i := range 200 {
			on = append(on, i*600+n%600)
		}
		step(b, state, &Operation{On: on, List: l.ID}, tangle.Time(n+2))
	}
	state.Commit()
	state.Begin()
	for b.Loop() {
		if _, err := BitsAt(state, l.ID, SnapshotEvery/2); err != nil {
			b.Fatal(err)
		}
	}
}
