package did

import (
	"strings"
	"testing"
	"time"

	"weft/plugins"
	"weft/plugins/plugintest"
	"weft/tangle"
)

// ruled is a content whose keys are given by seeds: current keys, next keys, threshold.
func ruled(current, next []byte, threshold int) Content {
	c := Content{Params: NewParams(multikeys(current...), hashes(next...)...), Document: simpleDocument(1)}
	c.Params.Threshold = threshold
	return c
}

// ownedBy adds controllers.
func ownedBy(c Content, threshold int, controllers ...DID) Content {
	for _, d := range controllers {
		c.Params.Controllers = append(c.Params.Controllers, d.String())
	}
	c.Params.ControllerThreshold = threshold
	return c
}

// recoverable adds a recovery set.
func recoverable(c Content, threshold int, seeds ...byte) Content {
	c.Recovery = &RecoverySet{hashes(seeds...), threshold}
	return c
}

// keyless is a content without keys of its own.
func keyless() Content { return Content{Params: Params{TTL: DefaultTTL}} }

func TestCreateTwice(t *testing.T) {
	l := newLedger(t)
	d := l.create(oneKey(1), 1)
	body, again, err := Create(testNetwork(), [NonceBytes]byte{}, oneKey(1))
	if err != nil || again != d {
		t.Fatal(again, err)
	}
	l.want("already_exists", sign(t, body, 1))    // the same entry by another node
	l.want("already_exists", sign(t, body, 1, 2)) // with another signature it is the same operation
	if h := l.head(d); h.Version != 1 {
		t.Errorf("head %+v", h)
	}
}

func TestCreateSigners(t *testing.T) {
	l := newLedger(t)
	for i, c := range []struct {
		threshold int
		signers   []byte
		code      string
	}{
		{1, []byte{1}, ""}, {2, []byte{1}, "threshold"}, {2, []byte{1, 9}, "threshold"}, {1, []byte{9}, "threshold"}, {2, []byte{1, 3}, ""}, {3, []byte{1, 2, 3}, ""},
	} {
		body, _, err := Create(testNetwork(), [NonceBytes]byte{byte(i)}, ruled([]byte{1, 2, 3}, nil, c.threshold))
		if err != nil {
			t.Fatal(err)
		}
		l.want(c.code, sign(t, body, c.signers...))
	}
}

func TestUpdates(t *testing.T) {
	l := newLedger(t)
	d := l.create(oneKey(1), 1)
	first := l.head(d)
	l.want("not_entitled", l.update(d, oneKey(1), 2))
	second := l.update(d, oneKey(1), 1)
	l.want("", second)
	l.want("already_exists", second)
	l.want("conflict", sign(t, Update(testNetwork(), d, first, oneKey(5)), 1)) // the owner forks
	l.want("bad_prev", sign(t, Update(testNetwork(), d, first, oneKey(5)), 2)) // a stranger does
	l.want("bad_prev", sign(t, Update(testNetwork(), d, Head{Version: 1, OpHash: Multihash(nil)}, oneKey(5)), 1))
	skip := l.head(d)
	skip.Version++
	l.want("bad_prev", sign(t, Update(testNetwork(), d, skip, oneKey(5)), 1))
	behind := first
	behind.Version += 2
	l.want("bad_prev", sign(t, Update(testNetwork(), d, behind, oneKey(5)), 1)) // could never have followed version 1
	unknown := newDID(testNetwork(), Multihash([]byte("x")))
	l.want("unknown_did", sign(t, Update(testNetwork(), unknown, first, oneKey(1)), 1))
	if h := l.head(d); h.Version != 2 || h.Updates != 1 {
		t.Errorf("head %+v", h)
	}
	other := l.create(oneKey(7), 7)
	cross := l.head(other)
	l.want("bad_prev", sign(t, Update(testNetwork(), d, cross, oneKey(5)), 1)) // prev is of another DID
}

// TestFork orders two updates of one head both ways: the first wins, the other is the owner's conflict.
func TestFork(t *testing.T) {
	for _, swap := range []bool{false, true} {
		l := newLedger(t)
		d := l.create(oneKey(1), 1)
		a, b := l.update(d, oneKey(2), 1), l.update(d, oneKey(3), 1)
		if swap {
			a, b = b, a
		}
		l.want("", a)
		l.want("conflict", b)
	}
}

func TestPrerotation(t *testing.T) {
	l := newLedger(t)
	d := l.create(ruled([]byte{1}, []byte{2}, 1), 1)
	l.want("not_entitled", l.update(d, ruled([]byte{1}, []byte{3}, 1), 1))   // the current key is not announced
	l.want("prerotation", l.update(d, ruled([]byte{5}, []byte{3}, 1), 2))    // the new key is not announced
	l.want("prerotation", l.update(d, ruled([]byte{2, 5}, []byte{3}, 1), 2)) // one of them is not
	l.want("prerotation", l.update(d, ruled([]byte{1}, nil, 1), 2))          // turning it off does not help
	l.want("", l.update(d, ruled([]byte{2}, []byte{3, 4, 5}, 1), 2))
	l.want("not_entitled", l.update(d, ruled([]byte{2}, nil, 1), 2)) // missing list, old key
	l.want("", l.update(d, ruled([]byte{3, 4}, nil, 2), 3))          // turned off by an announced key
	l.want("threshold", l.update(d, ruled([]byte{3}, nil, 1), 3))    // lowering the threshold needs the threshold
	l.want("", l.update(d, ruled([]byte{3}, nil, 1), 3, 4))
	l.want("", l.update(d, ruled([]byte{9}, nil, 1), 3)) // without pre-rotation any key may come
}

func TestThresholdOfNextKeys(t *testing.T) {
	l := newLedger(t)
	d := l.create(ruled([]byte{1, 2, 3}, []byte{4, 5, 6}, 2), 1, 2)
	l.want("threshold", l.update(d, ruled([]byte{4}, []byte{7}, 1), 4))
	l.want("threshold", l.update(d, ruled([]byte{4}, []byte{7}, 1), 1, 2, 4)) // current keys do not count
	l.want("not_entitled", l.update(d, ruled([]byte{4}, []byte{7}, 1), 1, 2))
	l.want("", l.update(d, ruled([]byte{4}, []byte{7}, 1), 5, 6)) // signers need not become update keys
}

func TestDeactivate(t *testing.T) {
	l := newLedger(t)
	d := l.create(recoverable(ruled([]byte{1}, []byte{2}, 1), 1, 3), 1)
	h := l.head(d)
	l.want("not_entitled", sign(t, Deactivate(testNetwork(), d, h, 0), 1))
	l.want("stale_recovery", sign(t, DeactivateByRecovery(testNetwork(), d, Head{RecoverySetter: Multihash(nil)}, 0), 3))
	late := l.update(d, ruled([]byte{2}, nil, 1), 2)
	end := sign(t, Deactivate(testNetwork(), d, h, 0), 2)
	l.want("", end)
	l.want("already_exists", end)
	l.want("deactivated", late)
	l.want("deactivated", l.update(d, oneKey(2), 2))
	l.want("deactivated", l.recover(d, recoverable(oneKey(4), 1, 5), 3))
	l.want("deactivated", sign(t, DeactivateByRecovery(testNetwork(), d, h, 0), 3))
	if h := l.head(d); !h.Deactivated || h.Version != 2 {
		t.Errorf("head %+v", h)
	}
}

// TestRecoverOutruns lets a thief with the update keys go on updating: the recovery prepared before lands all the same.
func TestRecoverOutruns(t *testing.T) {
	l := newLedger(t)
	d := l.create(recoverable(oneKey(1), 2, 11, 12, 13), 1)
	prepared := l.recover(d, recoverable(oneKey(2), 1, 14), 11, 13)
	for range 5 {
		l.want("", l.update(d, oneKey(1), 1))
	}
	thief := l.update(d, oneKey(1), 1)
	l.want("", prepared)
	l.want("conflict", thief) // signed for the head before, by a key that ruled there
	l.want("not_entitled", l.update(d, oneKey(1), 1))
	l.want("already_exists", prepared)
	if h := l.head(d); h.Version != 7 || h.RecoverySetter != h.OpHash {
		t.Errorf("head %+v", h)
	}
}

func TestRecoverRules(t *testing.T) {
	l := newLedger(t)
	d := l.create(recoverable(oneKey(1), 2, 11, 12), 1)
	before := l.head(d)
	l.want("threshold", l.recover(d, recoverable(oneKey(2), 1, 14), 11))
	l.want("not_entitled", l.recover(d, recoverable(oneKey(2), 1, 14), 1))
	l.want("bad_value", l.recover(d, recoverable(oneKey(2), 1, 14, 12), 11, 12)) // the new set is not disjoint
	l.want("not_entitled", l.update(d, recoverable(oneKey(1), 1, 15), 1))        // an update may not replace the set
	l.want("", l.recover(d, recoverable(oneKey(2), 1, 14), 11, 12))
	body, err := Recover(testNetwork(), d, before, recoverable(oneKey(3), 1, 15))
	if err != nil {
		t.Fatal(err)
	}
	l.want("stale_recovery", sign(t, body, 11, 12))
	l.want("", sign(t, DeactivateByRecovery(testNetwork(), d, l.head(d), 0), 14))

	none := l.create(oneKey(21), 21)
	body, err = Recover(testNetwork(), none, Head{Recovery: &RecoverySet{}, RecoverySetter: l.head(none).OpHash}, recoverable(oneKey(3), 1, 15))
	if err != nil {
		t.Fatal(err)
	}
	l.want("stale_recovery", sign(t, body, 11)) // there is no set
	l.want("", l.update(none, recoverable(oneKey(21), 1, 31), 21))
	l.want("", l.update(none, oneKey(21), 21)) // the set stays
	l.want("", l.recover(none, recoverable(oneKey(22), 1, 32), 31))
}

func TestControllers(t *testing.T) {
	l := newLedger(t)
	a, b := l.create(ruled([]byte{1, 2}, nil, 2), 1, 2), l.create(oneKey(3), 3)
	product := ownedBy(keyless(), 1, a)
	body, _, err := Create(testNetwork(), [NonceBytes]byte{}, product)
	if err != nil {
		t.Fatal(err)
	}
	l.want("consent_missing", sign(t, body, 1))
	l.want("consent_missing", sign(t, body, 3))
	d := l.create(product, 1, 2)
	l.want("threshold", l.update(d, product, 1))
	l.want("not_entitled", l.update(d, product, 3))
	l.want("", l.update(d, product, 1, 2))
	// One update, signed by old and new owner, hands the product over.
	l.want("consent_missing", l.update(d, ownedBy(keyless(), 1, b), 1, 2))
	l.want("not_entitled", l.update(d, ownedBy(keyless(), 1, b), 3))
	l.want("", l.update(d, ownedBy(keyless(), 1, b), 1, 2, 3))
	l.want("not_entitled", l.update(d, product, 1, 2))
	l.want("", sign(t, Deactivate(testNetwork(), d, l.head(d), 0), 3))
}

func TestControllersKeepTheirWord(t *testing.T) {
	l := newLedger(t)
	a := l.create(oneKey(1), 1)
	d := l.create(ownedBy(oneKey(5), 1, a), 5, 1)
	l.want("", l.update(d, ownedBy(oneKey(5), 1, a), 5)) // the own key may do anything
	l.want("not_entitled", l.update(d, oneKey(5), 5))    // but drop its controller
	b := l.create(oneKey(2), 2)
	l.want("not_entitled", l.update(d, ownedBy(oneKey(5), 2, a, b), 5, 2))
	l.want("consent_missing", l.update(d, ownedBy(oneKey(5), 2, a, b), 5, 1))
	l.want("", l.update(d, ownedBy(oneKey(5), 2, a, b), 5, 1, 2))
	l.want("not_entitled", l.update(d, ownedBy(oneKey(5), 1, a, b), 5)) // how many are needed is theirs too
	l.want("threshold", l.update(d, ownedBy(oneKey(6), 2, a, b), 1))    // one of two
	l.want("", l.update(d, ownedBy(oneKey(6), 2, a, b), 1, 2))
	l.want("", sign(t, Deactivate(testNetwork(), a, l.head(a), 0), 1))
	l.want("threshold", l.update(d, oneKey(6), 1, 2)) // a deactivated controller has no voice
	l.want("", l.update(d, ownedBy(oneKey(6), 2, a, b), 6))
}

func TestRecoverChangesControllers(t *testing.T) {
	l := newLedger(t)
	a, b := l.create(oneKey(1), 1), l.create(oneKey(2), 2)
	d := l.create(recoverable(ownedBy(oneKey(5), 1, a), 1, 11), 5, 1)
	l.want("consent_missing", l.recover(d, recoverable(ownedBy(oneKey(6), 1, b), 1, 12), 11))
	l.want("", l.recover(d, recoverable(ownedBy(oneKey(6), 1, b), 1, 12), 11, 2))
	l.want("", l.recover(d, recoverable(oneKey(6), 1, 13), 12))
	if h := l.head(d); len(h.Controllers) != 0 {
		t.Errorf("head %+v", h)
	}
}

// TestControllersCycle lets two DIDs control each other; neither has keys but for the first moment.
func TestControllersCycle(t *testing.T) {
	l := newLedger(t)
	a, b := l.create(oneKey(1), 1), l.create(oneKey(2), 2)
	l.want("", l.update(a, ownedBy(keyless(), 1, b), 1, 2))
	l.want("consent_missing", l.update(b, ownedBy(keyless(), 1, a), 2)) // a has no keys to consent with
	l.want("", l.update(a, oneKey(1), 2))
	l.want("", l.update(b, ownedBy(oneKey(2), 1, a), 2, 1))
	l.want("", l.update(a, ownedBy(oneKey(1), 1, b), 1, 2))
	l.want("", l.update(a, ownedBy(oneKey(3), 1, b), 2))
	l.want("", l.update(b, ownedBy(oneKey(4), 1, a), 3))
	if _, err := Decode(testNetwork(), l.limits, l.update(a, ownedBy(oneKey(1), 1, a), 1)); plugintest.Code(t, err) != "bad_value" {
		t.Errorf("self-control: %v", err)
	}
}

// TestOneKeyOneController gives two controllers the same key: it counts for the first only.
func TestOneKeyOneController(t *testing.T) {
	l := newLedger(t)
	shared, both := l.create(oneKey(1), 1), l.create(ruled([]byte{1, 2}, nil, 1), 1)
	body, _, err := Create(testNetwork(), [NonceBytes]byte{}, ownedBy(keyless(), 2, shared, both))
	if err != nil {
		t.Fatal(err)
	}
	l.want("consent_missing", sign(t, body, 1))
	// Greedy in ascending order: whether keys 1 and 2 suffice depends on who comes first, the same on every node.
	code := ""
	if both.String() < shared.String() && multikey(1) < multikey(2) {
		code = "consent_missing"
	}
	l.want(code, sign(t, body, 1, 2))
}

// TestControllersFollowTheirKeys rotates the controller's key: the old one no longer counts.
func TestControllersFollowTheirKeys(t *testing.T) {
	l := newLedger(t)
	a := l.create(oneKey(1), 1)
	d := l.create(ownedBy(keyless(), 1, a), 1)
	l.want("", l.update(a, oneKey(2), 1))
	l.want("not_entitled", l.update(d, ownedBy(keyless(), 1, a), 1))
	l.want("", l.update(d, ownedBy(keyless(), 1, a), 2))
}

func TestCompromisedOnlyGrows(t *testing.T) {
	l := newLedger(t)
	with := func(c Content, seeds ...byte) Content { c.Params.Compromised = multikeys(seeds...); return c }
	d := l.create(recoverable(with(oneKey(1), 7), 1, 11), 1)
	l.want("bad_value", l.update(d, oneKey(1), 1))
	l.want("bad_value", l.update(d, with(oneKey(1), 8), 1))
	l.now += 5000
	l.want("", l.update(d, with(oneKey(1), 8, 7), 1))
	l.want("bad_value", l.recover(d, recoverable(with(oneKey(2), 8), 1, 12), 11))
	l.want("", l.recover(d, recoverable(with(oneKey(2), 9, 8, 7), 1, 12), 11))
	c, found, err := FindCompromise(l, d, multikey(8))
	if err != nil || !found || c.Version != 2 || c.Time != epoch+5000 {
		t.Errorf("%+v %v %v", c, found, err)
	}
	if _, found, err := FindCompromise(l, d, multikey(1)); found || err != nil {
		t.Errorf("key 1: %v %v", found, err)
	}
	l.want("", sign(t, Deactivate(testNetwork(), d, l.head(d), 0), 2))
	for seed, version := range map[byte]int{7: 1, 8: 2, 9: 3} {
		if c, found, err := FindCompromise(l, d, multikey(seed)); err != nil || !found || c.Version != version {
			t.Errorf("key %d of a deactivated DID: %+v %v %v", seed, c, found, err)
		}
	}
}

func TestNotAfter(t *testing.T) {
	for _, c := range []struct {
		offset int64
		code   string
	}{{-1, ""}, {0, ""}, {1, "expired"}} {
		l := newLedger(t)
		content := oneKey(1)
		content.NotAfter = epoch
		body, _, err := Create(testNetwork(), [NonceBytes]byte{}, content)
		if err != nil {
			t.Fatal(err)
		}
		l.now = tangle.Time(int64(epoch) + c.offset)
		l.want(c.code, sign(t, body, 1))
	}
}

func TestQuotaOfCreates(t *testing.T) {
	l := newLedger(t)
	l.limits.MaxCreatesPerMinute = 2
	n := byte(0)
	try := func(code string) {
		t.Helper()
		n++
		body, _, err := Create(testNetwork(), [NonceBytes]byte{n}, oneKey(1))
		if err != nil {
			t.Fatal(err)
		}
		l.want(code, sign(t, body, 1))
	}
	minute := tangle.Time(time.Minute.Milliseconds())
	l.now = epoch/minute*minute + minute - 2 // the last milliseconds of a window
	try("")
	l.now++
	try("")
	try("rate_limited")
	l.by = tangle.Member{1}
	try("") // another member has its own
	l.by = tangle.Member{}
	l.now++ // the next window
	try("")
	try("")
	try("rate_limited")
	counters := 0
	l.Scan([]byte{prefixQuota}, []byte{prefixQuota + 1}, func(_, _ []byte) bool { counters++; return true })
	if counters != 2 {
		t.Errorf("%d counters, want one per member", counters)
	}
}

func TestQuotaOfUpdates(t *testing.T) {
	l := newLedger(t)
	l.limits.MaxUpdatesPerDay = 2
	d := l.create(recoverable(oneKey(1), 1, 11), 1)
	day := tangle.Time((24 * time.Hour).Milliseconds())
	l.now = epoch/day*day + day - 1
	l.want("", l.update(d, oneKey(1), 1))
	l.want("not_entitled", l.update(d, oneKey(1), 2)) // refused ones do not count
	l.want("", l.update(d, oneKey(1), 1))
	l.want("rate_limited", l.update(d, oneKey(1), 1))
	l.want("", l.recover(d, recoverable(oneKey(1), 1, 12), 11)) // exempt
	l.want("rate_limited", l.update(d, oneKey(1), 1))
	l.now++
	l.want("", l.update(d, oneKey(1), 1))
	l.want("", l.update(d, oneKey(1), 1))
	l.want("rate_limited", l.update(d, oneKey(1), 1))
	l.want("", sign(t, Deactivate(testNetwork(), d, l.head(d), 0), 1)) // exempt
}

func TestRemembering(t *testing.T) {
	l := newLedger(t)
	envelope := func(n byte, notAfter tangle.Time) *Envelope {
		return &Envelope{Hash: Multihash([]byte{n}), NotAfter: notAfter}
	}
	for n := range byte(5) {
		w := Remember(envelope(n, epoch+tangle.Time(n)*1000))
		l.Set(w.Key, w.Value)
	}
	if !SeenBefore(l, envelope(2, epoch+2000)) || SeenBefore(l, envelope(9, epoch)) {
		t.Error("SeenBefore")
	}
	if list := Forget(l, epoch+2000, 10); len(list) != 2 { // 0 and 1; number 2 is good until this very moment
		t.Errorf("Forget drops %d", len(list))
	}
	list := Forget(l, epoch+10_000, 3)
	if len(list) != 3 {
		t.Errorf("Forget drops %d, at most 3", len(list))
	}
	for _, w := range list {
		l.Delete(w.Key)
	}
	if SeenBefore(l, envelope(0, epoch)) || !SeenBefore(l, envelope(3, epoch+3000)) {
		t.Error("what was dropped")
	}
}

// TestAliases asks for a DID under the label of another network: same scid, another DID.
func TestAliases(t *testing.T) {
	l := newLedger(t)
	d := l.create(oneKey(1), 1)
	alias, err := Parse(strings.Replace(d.String(), "t2iac44k", "aaaaaaaa", 1))
	if err != nil {
		t.Fatal(err)
	}
	if _, found, err := ReadHead(l, alias); found || err != nil {
		t.Errorf("%v %v", found, err)
	}
}

// TestDamage makes the state nonsense: that is no rejection, the node has to stop.
func TestDamage(t *testing.T) {
	l := newLedger(t)
	d := l.create(oneKey(1), 1)
	op, err := Decode(testNetwork(), l.limits, l.update(d, oneKey(1), 1))
	if err != nil {
		t.Fatal(err)
	}
	l.Set(logKey(d, 1), []byte("nonsense"))
	if r := Resolve(l, d.String(), Options{}); r.Fault == nil || r.Status() != 500 || r.Document != nil {
		t.Errorf("resolved: %+v", r)
	}
	l.Set(headKey(d), []byte("nonsense"))
	if _, err := Next(l, l.limits, op, Place{}); err == nil || plugins.Rejected(err) != nil {
		t.Errorf("next: %v", err)
	}
}

// TestRules rotates, hands over and recovers, and reads by which right each operation was accepted.
func TestRules(t *testing.T) {
	l := newLedger(t)
	a := l.create(oneKey(1), 1)
	c := recoverable(ownedBy(ruled([]byte{5}, []byte{6}, 1), 1, a), 1, 11)
	d := l.create(c, 5, 1)
	c.Recovery = nil
	c.Params = c.Params.Rotated(multikeys(6), hashes(7)...)
	l.want("", l.update(d, c, 6))
	l.want("", l.update(d, c, 1)) // the controller needs no announced key
	c.Params = c.Params.Rotated(multikeys(7))
	l.want("", l.update(d, c, 7))
	l.want("", l.recover(d, recoverable(oneKey(8), 1, 12), 11))
	rules := ""
	err := Log(l, d, 1, func(n int, r Record) bool { rules += r.Rule.String() + " "; return true })
	if want := "create own controllers own recovery "; err != nil || rules != want {
		t.Errorf("%s, %v; want %s", rules, err, want)
	}
}
