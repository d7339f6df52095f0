package channel

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"weft/plugins/identity/did"
	"weft/plugins/plugintest"
	"weft/tangle"
)

// reader is what somebody can open with its own keys and all bytes of all nodes.
func (l *ledger) reader(id ID, p *person) Opened {
	l.t.Helper()
	epochs, err := Epochs(l.state, id, 1, 1<<20)
	if err != nil {
		l.t.Fatal(err)
	}
	unwrapped := map[uint32]Key{}
	for event, entry := range l.entries {
		op := mustDecode(l.t, entry)
		for _, e := range append(epochs, OpenedEpoch{}) {
			for _, w := range op.WrapsTo(e.Number, p.did) {
				k, err := Unwrap(id, e.Number, w, p.agreement)
				if err != nil {
					l.t.Fatalf("event %d: %v", event, err)
				}
				if have, ok := unwrapped[e.Number]; !ok || have.Check(id, e) != nil { // of several, the one that fits
					unwrapped[e.Number] = k
				}
			}
		}
	}
	return Walk(id, epochs, unwrapped)
}

// decrypts returns the seqs of the records that somebody can open.
func (l *ledger) decrypts(id ID, p *person) (list []uint64) {
	l.t.Helper()
	o := l.reader(id, p)
	err := Records(l.state, id, 1, func(e Event) bool {
		op := mustDecode(l.t, l.entries[e.Number])
		if _, err := Open(o.Keys[op.Record.Epoch], op); err == nil {
			list = append(list, e.Seq)
		}
		return true
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return list
}

// served returns the seqs of the records that honest nodes serve.
func (l *ledger) served(id ID, p *person) (list []uint64) {
	l.t.Helper()
	c, h, err := ReadChannel(l.state, id)
	if err != nil {
		l.t.Fatal(err)
	}
	err = Records(l.state, id, 1, func(e Event) bool {
		if c.Sees(h, l.participant(id, p), e) {
			list = append(list, e.Seq)
		}
		return true
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return list
}

// TestHistory is {full, fromJoin, none} x {read, audit} x joined before, inside, after an epoch.
func TestHistory(t *testing.T) {
	for _, policy := range []History{Full, FromJoin, None} {
		for _, rights := range []Rights{Read, Audit} {
			for joins := range 3 {
				t.Run(fmt.Sprint(policy, rights, joins), func(t *testing.T) {
					l := newLedger(t)
					owner, late := l.weft("owner"), l.weft("late")
					id := l.create(owner, history(policy))
					chained := policy == Full
					grant := Grant{Participant: late.did, Rights: rights}
					if rights == Audit {
						grant.ValidUntil = begin + 3_600_000
					}
					epochs := uint32(1)
					join := func() {
						entitled := rights == Audit || policy == Full
						if l.head(id).EpochRecords > 0 && !entitled {
							l.want("new_epoch_required", owner, NewAuthorize(l.header(owner, id), []Grant{grant}, []Keys{{epochs, l.wraps(id, epochs, late)}}, nil))
							epochs++
							l.want("", owner, NewAuthorize(l.header(owner, id), []Grant{grant}, nil, l.epoch(id, epochs, chained, owner, late)))
							return
						}
						l.want("", owner, NewAuthorize(l.header(owner, id), []Grant{grant}, []Keys{{epochs, l.wraps(id, epochs, late)}}, nil))
					}
					for n := range 3 { // record 1 in epoch 1, record 2 in the next, ...
						if n == joins {
							join()
						}
						l.want("", owner, l.sealed(owner, id, "text", RecordTerms{}))
						if n == 1 {
							epochs++
							to := []*person{owner}
							if joins <= n {
								to = append(to, late)
							}
							l.want("", owner, NewRekey(l.header(owner, id), "scheduled", l.epoch(id, epochs, chained, to...)))
						}
					}
					want := []uint64{1, 2, 3}[joins:]
					if policy == Full {
						want = []uint64{1, 2, 3}
					}
					if rights == Audit {
						for e := uint32(1); e <= epochs; e++ {
							l.want("", owner, NewKeyload(l.header(owner, id), []Keys{{e, l.wraps(id, e, late)}}))
						}
						want = []uint64{1, 2, 3}
					} else if joined := l.participant(id, late).Joined; joined > 1 && policy != Full {
						l.want("history_policy", owner, NewKeyload(l.header(owner, id), []Keys{{joined - 1, l.wraps(id, joined-1, late)}}))
					}
					if got := l.decrypts(id, late); !slices.Equal(got, want) {
						t.Errorf("decrypts %v, want %v", got, want)
					}
					if policy == None && rights == Read {
						want = []uint64{3}
					}
					if got := l.served(id, late); !slices.Equal(got, want) {
						t.Errorf("is served %v, want %v", got, want)
					}
				})
			}
		}
	}
}

// TestWriteOnly: who only writes opens nothing, later readers open what it wrote, and its removal needs no epoch.
func TestWriteOnly(t *testing.T) {
	l := newLedger(t)
	owner, sensor, late := l.weft("owner"), l.keyed("sensor"), l.weft("late")
	id := l.create(owner)
	l.want("", owner, NewAuthorize(l.header(owner, id), []Grant{{Participant: sensor.did, Rights: Order}}, nil, nil))
	epochs, err := Epochs(l.state, id, 1, 10)
	if err != nil {
		t.Fatal(err)
	}
	h := l.header(sensor, id)
	h.After = After{Head: FirstHead(id)}
	body, err := Seal(l.random, Sealer{Epoch: 1, PublicKey: epochs[0].PublicKey[:]}, NewWrite(h, RecordTerms{}), did.Object{}, []byte("21.5"))
	if err != nil {
		t.Fatal(err)
	}
	l.want("", sensor, body)
	l.want("", owner, NewRevoke(l.header(owner, id), []string{sensor.did}, "broken", nil))
	l.want("", owner, NewAuthorize(l.header(owner, id), []Grant{{Participant: late.did, Rights: Read}}, []Keys{{1, l.wraps(id, 1, late)}}, nil))
	if got := l.decrypts(id, sensor); len(got) != 0 {
		t.Errorf("the sensor opens %v", got)
	}
	if got := l.decrypts(id, late); len(got) != 1 {
		t.Errorf("a later reader opens %v", got)
	}
	if got, err := l.open(epochKeyOf(id, 1), l.entries[2]); err != nil || got != "21.5" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestEpochRace: rekey all the time while many write. A record that comes too late is sealed again, so each one is ordered
// once, and every reader opens it; with grace 0 none is under an old key.
func TestEpochRace(t *testing.T) {
	for _, grace := range []int{0, 60} {
		l := newLedger(t)
		owner := l.weft("owner")
		id := l.create(owner, func(t *CreateTerms) { t.Settings.GraceSeconds = &grace })
		writers := make([]*person, 50)
		grants := []Grant{}
		for i := range writers {
			writers[i] = l.number(i)
			grants = append(grants, Grant{Participant: writers[i].did, Rights: Read | Order, Agreement: writers[i].multikey()})
		}
		l.want("", owner, NewAuthorize(l.header(owner, id), grants, []Keys{{1, l.wraps(id, 1, writers...)}}, nil))
		accepted, closed, number := 0, 0, uint32(1)
		for round := range 8 {
			var flying []did.Object
			for _, w := range writers {
				flying = append(flying, l.sealed(w, id, fmt.Sprint(round), RecordTerms{}))
			}
			for i, body := range flying {
				if i == round*17%50 {
					number++
					l.want("", owner, NewRekey(l.header(owner, id), "race", l.epoch(id, number, true, append(writers, owner)...)))
				}
				l.now += 10
				err := l.apply(writers[i], body)
				if code := plugintest.Code(t, err); code == "epoch_closed" {
					closed++
					err = l.apply(writers[i], l.sealed(writers[i], id, fmt.Sprint(round), RecordTerms{}))
				}
				if err != nil {
					t.Fatal(err)
				}
				accepted++
			}
		}
		if (closed > 0) != (grace == 0) {
			t.Errorf("grace %d: %d came too late", grace, closed)
		}
		if h := l.head(id); h.Seq != uint64(accepted) {
			t.Errorf("%d records, want %d", h.Seq, accepted)
		}
		if got := l.decrypts(id, writers[3]); len(got) != accepted {
			t.Errorf("a reader opens %d of %d", len(got), accepted)
		}
		under := uint32(0)
		l.eachRecord(id, func(e Event) {
			if under = max(under, e.Epoch); grace == 0 && e.Epoch < under {
				t.Errorf("record %d is under epoch %d after %d", e.Seq, e.Epoch, under)
			}
		})
	}
}

func (l *ledger) eachRecord(id ID, visit func(Event)) {
	l.t.Helper()
	if err := Records(l.state, id, 1, func(e Event) bool { visit(e); return true }); err != nil {
		l.t.Fatal(err)
	}
}

// TestGrace is its window, to the millisecond and to the event.
func TestGrace(t *testing.T) {
	l := newLedger(t)
	owner := l.weft("owner")
	id := l.create(owner)
	before := l.after(id)
	l.want("", owner, NewRekey(l.header(owner, id), "", l.epoch(id, 2, true, owner)))
	opened := l.now
	write := func(after After) did.Object {
		b := NewWrite(l.header(owner, id), RecordTerms{})
		b["after"] = did.Object{"event": int64(after.Event), "head": after.Head.String()}
		k := epochKeyOf(id, 1)
		b, err := Seal(l.random, Sealer{Epoch: 1, Key: &k}, b, did.Object{}, []byte("in flight"))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	l.want("epoch_closed", owner, write(l.after(id)))
	l.now = opened + 59_999
	l.want("", owner, write(before))
	l.now++
	l.want("epoch_closed", owner, write(before))
	l.want("epoch_unknown", owner, l.sealedUnder(owner, id, 3, "", RecordTerms{}))
	l.want("epoch_unknown", owner, l.sealedUnder(owner, id, 4, "", RecordTerms{}))
	l.now = opened
	l.want("", owner, NewRekey(l.header(owner, id), "", l.epoch(id, 3, true, owner)))
	l.want("epoch_closed", owner, write(before))
}

// TestGraceRaised: what was refused as epoch_closed stays refused when grace is raised afterwards; the next epoch that opens
// goes by what is set then.
func TestGraceRaised(t *testing.T) {
	l := newLedger(t)
	owner := l.weft("owner")
	id := l.create(owner, func(t *CreateTerms) { t.Settings.GraceSeconds = ptr(0) })
	flying := func() []byte { return l.sign(owner, l.sealed(owner, id, "in flight", RecordTerms{})) }
	refused := flying()
	l.want("", owner, NewRekey(l.header(owner, id), "", l.epoch(id, 2, true, owner)))
	for _, grace := range []int{0, 600} {
		l.want("", owner, NewConfigure(l.header(owner, id), Settings{GraceSeconds: &grace}))
		if got := plugintest.Code(t, l.applyEntry(refused)); got != "epoch_closed" {
			t.Errorf("grace is %d now: %q, want epoch_closed", grace, got)
		}
	}
	counts := flying()
	l.want("", owner, NewRekey(l.header(owner, id), "", l.epoch(id, 3, true, owner)))
	l.want("", owner, NewConfigure(l.header(owner, id), Settings{GraceSeconds: ptr(0)}))
	l.now += 599_999
	if got := plugintest.Code(t, l.applyEntry(counts)); got != "" {
		t.Errorf("grace was 600: %q", got)
	}
}

// TestRemoved: with all bytes and its keys, one who is removed opens nothing ordered after that with grace 0, and what was in
// flight with grace 60; and its writes are refused.
func TestRemoved(t *testing.T) {
	for _, grace := range []int{0, 60} {
		l := newLedger(t)
		owner, mallory := l.weft("owner"), l.weft("mallory")
		id := l.create(owner, func(t *CreateTerms) { t.Settings.GraceSeconds = &grace })
		l.want("", owner, NewAuthorize(l.header(owner, id), []Grant{{Participant: mallory.did, Rights: Read | Order}}, []Keys{{1, l.wraps(id, 1, mallory)}}, nil))
		l.want("", owner, l.sealed(owner, id, "before", RecordTerms{}))
		flying := l.sealed(owner, id, "in flight", RecordTerms{})
		own := l.sealed(mallory, id, "mine", RecordTerms{})
		l.want("new_epoch_required", owner, NewRevoke(l.header(owner, id), []string{mallory.did}, "", nil))
		l.want("", owner, NewRevoke(l.header(owner, id), []string{mallory.did}, "", l.epoch(id, 2, true, owner)))
		l.want("not_participant", mallory, own)
		want := []uint64{1}
		if grace == 0 {
			l.want("epoch_closed", owner, flying)
		} else {
			l.want("", owner, flying)
			want = append(want, 2)
		}
		l.want("", owner, l.sealed(owner, id, "after", RecordTerms{}))
		if got := l.decrypts(id, mallory); !slices.Equal(got, want) {
			t.Errorf("grace %d: opens %v, want %v", grace, got, want)
		}
		l.want("wrap_target", owner, NewKeyload(l.header(owner, id), []Keys{{2, l.wraps(id, 2, mallory)}}))
		l.want("wrap_target", owner, NewRekey(l.header(owner, id), "", l.epoch(id, 3, true, owner, mallory)))
		l.want("epoch_conflict", owner, NewRekey(l.header(owner, id), "", l.epoch(id, 2, true, owner)))
		l.want("epoch_conflict", owner, NewRekey(l.header(owner, id), "", l.epoch(id, 4, true, owner)))
		l.want("epoch_conflict", owner, NewKeyload(l.header(owner, id), []Keys{{3, l.wraps(id, 3, owner)}}))
		l.want("epoch_conflict", owner, NewKeyload(l.header(owner, id), []Keys{{0, l.wraps(id, 0, owner)}}))
		l.want("bad_value", owner, NewRekey(l.header(owner, id), "", l.epoch(id, 3, false, owner)))
	}
}

func (l *ledger) due(id ID) bool {
	l.t.Helper()
	c, h, err := ReadChannel(l.state, id)
	if err != nil {
		l.t.Fatal(err)
	}
	due, err := RekeyDue(l.state, &c, h, l.now)
	if err != nil {
		l.t.Fatal(err)
	}
	return due
}

// TestRevocationUnderAttack: an admin races rekeys against its own removal, in both orders and many times.
func TestRevocationUnderAttack(t *testing.T) {
	for races := range 3 {
		l := newLedger(t)
		owner, mallory := l.weft("owner"), l.weft("mallory")
		id := l.create(owner)
		l.want("", owner, NewAuthorize(l.header(owner, id), []Grant{{Participant: mallory.did, Rights: Admin | Order}}, []Keys{{1, l.wraps(id, 1, mallory)}}, nil))
		removal := NewRevoke(l.header(owner, id), []string{mallory.did}, "", l.epoch(id, 2, true, owner))
		var late did.Object
		for n := range races {
			number := uint32(n) + 2
			l.want("", mallory, NewRekey(l.header(mallory, id), "race", l.epoch(id, number, true, mallory)))
			late = NewRekey(l.header(mallory, id), "race", l.epoch(id, number+1, true, mallory))
		}
		l.want("", owner, removal)
		if p := l.participant(id, mallory); p.State != Revoked {
			t.Errorf("%d races: %+v", races, p)
		}
		if late != nil {
			l.want("not_participant", mallory, late)
		}
		if l.due(id) != (races > 0) {
			t.Errorf("%d races: rekeyDue is %v", races, l.due(id))
		}
		l.want("", owner, NewRekey(l.header(owner, id), "", l.epoch(id, l.head(id).Epoch+1, true, owner)))
		if l.due(id) {
			t.Errorf("%d races: one rekey does not clear it", races)
		}
	}
}

// TestLeaversVoidNothing: who leaves while a batch is on its way neither stops the others' removal nor their grants.
func TestLeaversVoidNothing(t *testing.T) {
	l := newLedger(t)
	owner, bob, carol, dave := l.weft("owner"), l.weft("bob"), l.weft("carol"), l.weft("dave")
	id := l.create(owner)
	l.want("", owner, NewAuthorize(l.header(owner, id), []Grant{{Participant: bob.did, Rights: Read}, {Participant: carol.did, Rights: Read}, {Participant: dave.did, Rights: Read}},
		[]Keys{{1, l.wraps(id, 1, bob, carol, dave)}}, nil))
	removal := NewRevoke(l.header(owner, id), []string{bob.did, carol.did}, "", l.epoch(id, 2, true, owner, dave))
	l.want("", carol, NewLeave(l.header(carol, id)))
	l.want("", dave, NewLeave(l.header(dave, id))) // has a wrap in the removal
	l.want("", owner, removal)
	if h := l.head(id); h.Epoch != 1 || h.Active != 1 || l.participant(id, bob).State != Revoked || l.participant(id, carol).State != Left {
		t.Errorf("head %+v", h)
	}
	if !l.due(id) {
		t.Error("no rekey is due")
	}
	l.want("wrong_state", owner, NewRevoke(l.header(owner, id), []string{bob.did, carol.did}, "", l.epoch(id, 2, true, owner)))
}

// TestStaleGrant: the right stands without the epoch that lost the race, and keyMissing shows.
func TestStaleGrant(t *testing.T) {
	l := newLedger(t)
	owner, bob := l.weft("owner"), l.weft("bob")
	id := l.create(owner, history(FromJoin))
	l.want("", owner, l.sealed(owner, id, "old", RecordTerms{}))
	stale := NewAuthorize(l.header(owner, id), []Grant{{Participant: bob.did, Rights: Read}}, nil, l.epoch(id, 2, false, owner, bob))
	l.want("", owner, NewRekey(l.header(owner, id), "", l.epoch(id, 2, false, owner)))
	l.want("", owner, l.sealed(owner, id, "between", RecordTerms{}))
	l.want("", owner, stale)
	c, h, _ := ReadChannel(l.state, id)
	p := l.participant(id, bob)
	if !KeyMissing(l.state, &c, h, p, l.now) || p.Joined != 3 || h.Epoch != 2 {
		t.Errorf("%+v, epoch %d", p, h.Epoch)
	}
	l.want("history_policy", owner, NewKeyload(l.header(owner, id), []Keys{{2, l.wraps(id, 2, bob)}}))
	l.want("", owner, NewRekey(l.header(owner, id), "", l.epoch(id, 3, false, owner, bob)))
	l.want("", owner, l.sealed(owner, id, "new", RecordTerms{}))
	if got := l.served(id, bob); !slices.Equal(got, []uint64{3}) {
		t.Errorf("is served %v", got)
	}
	l.want("bad_value", owner, NewRekey(l.header(owner, id), "", l.epoch(id, 4, true, owner, bob)))
}

func TestTakingRead(t *testing.T) {
	l := newLedger(t)
	owner, bob := l.weft("owner"), l.weft("bob")
	id := l.create(owner)
	l.want("", owner, NewAuthorize(l.header(owner, id), []Grant{{Participant: bob.did, Rights: Read | Order}}, []Keys{{1, l.wraps(id, 1, bob)}}, nil))
	l.want("new_epoch_required", owner, NewAuthorize(l.header(owner, id), []Grant{{Participant: bob.did, Rights: Order}}, nil, nil))
	l.want("", owner, NewAuthorize(l.header(owner, id), []Grant{{Participant: bob.did, Rights: Order}}, nil, l.epoch(id, 2, true, owner)))
	if l.due(id) || l.head(id).Epoch != 2 {
		t.Error("the epoch does not take the reader away")
	}
}

// TestExpiry is the exact boundary by commit time, whatever the clocks of those who write, and the same in a replay.
func TestExpiry(t *testing.T) {
	l := newLedger(t)
	owner, bob, audit := l.weft("owner"), l.weft("bob"), l.weft("audit")
	id := l.create(owner)
	from, until := begin+10_000, begin+20_000
	l.want("", owner, NewAuthorize(l.header(owner, id), []Grant{
		{Participant: bob.did, Rights: Read | Order, ValidFrom: from, ValidUntil: until}, {Participant: audit.did, Rights: Audit, ValidUntil: until},
	}, []Keys{{1, l.wraps(id, 1, audit)}}, nil))
	l.want("wrap_target", owner, NewKeyload(l.header(owner, id), []Keys{{1, l.wraps(id, 1, bob)}}))
	clocks := []time.Duration{-20 * time.Second, -time.Millisecond, 0, time.Millisecond, 20 * time.Second} // of the writer, behind and ahead
	for _, c := range []struct {
		at   tangle.Time
		code string
	}{{from - 1, "not_valid_now"}, {from, ""}, {until - 1, ""}, {until, "not_valid_now"}, {until + 1, "not_valid_now"}} {
		l.now = c.at
		for _, off := range clocks {
			h := l.header(bob, id)
			h.Created = h.Created.Add(off)
			if got := plugintest.Code(t, l.apply(bob, NewWrite(h, RecordTerms{Public: did.Object{"x": "y"}}))); got != c.code {
				t.Errorf("at %s, by a clock that is %s off: %q, want %q", c.at, off, got, c.code)
			}
		}
		if l.due(id) != (c.at >= until) {
			t.Errorf("at %s: rekeyDue %v", c.at, l.due(id))
		}
	}
	l.want("", owner, l.sealed(owner, id, "later", RecordTerms{}))
	if got := l.served(id, bob); len(got) != 2*len(clocks) {
		t.Errorf("is served %v", got)
	}
	l.want("right_missing", bob, NewErase(l.header(bob, id), l.head(id).Seq, "x")) // not its own
	l.replay(t, id)
}

// TestKeyHonesty: each lie of an admin is noticed by the reader it was told to, and by nobody else.
func TestKeyHonesty(t *testing.T) {
	id := ID{1}
	keys := map[uint32]Key{}
	var epochs []OpenedEpoch
	for n := uint32(1); n <= 5; n++ {
		k := epochKeyOf(id, n)
		keys[n] = k
		var before *Key
		if n > 1 {
			before = ptr(epochKeyOf(id, n-1))
		}
		e, err := k.NewEpoch(id, n, before)
		if err != nil {
			t.Fatal(err)
		}
		epochs = append(epochs, OpenedEpoch{Number: n, Commit: e.Commit, PublicKey: e.PublicKey, Previous: e.Previous})
	}
	newest := map[uint32]Key{5: keys[5]}
	for name, c := range map[string]struct {
		change func(list []OpenedEpoch)
		have   map[uint32]Key
		want   int
		code   string
	}{
		"nothing":             {func([]OpenedEpoch) {}, newest, 5, ""},
		"another key":         {func([]OpenedEpoch) {}, map[uint32]Key{5: keys[4], 2: keys[2]}, 2, "bad_wrap"},
		"a wrong commit":      {func(l []OpenedEpoch) { l[4].Commit[0]++ }, newest, 0, "bad_wrap"},
		"a wrong public":      {func(l []OpenedEpoch) { l[4].PublicKey[0]++ }, newest, 0, "bad_wrap"},
		"a broken previous":   {func(l []OpenedEpoch) { l[2].Previous = make([]byte, PreviousBytes) }, newest, 3, "broken_chain"},
		"previous of another": {func(l []OpenedEpoch) { l[2].Previous = keys[3].Chain(id, 3, keys[5]) }, newest, 3, "broken_chain"},
		"a wrap below":        {func(l []OpenedEpoch) { l[2].Previous = nil }, map[uint32]Key{5: keys[5], 1: keys[1]}, 4, ""},
	} {
		list := slices.Clone(epochs)
		c.change(list)
		o := Walk(id, list, c.have)
		code := ""
		if len(o.Faults) > 0 {
			code = plugintest.Code(t, o.Faults[0])
		}
		if len(o.Keys) != c.want || code != c.code {
			t.Errorf("%s: %d keys and %v, want %d and %q", name, len(o.Keys), o.Faults, c.want, c.code)
		}
		for n, k := range o.Keys {
			if k != keys[n] {
				t.Errorf("%s: another key of epoch %d", name, n)
			}
		}
	}
}

// TestDishonestAdmin tells one reader another key than all others: that one notices and reads what it can, the others read on,
// and a keyload mends it.
func TestDishonestAdmin(t *testing.T) {
	l := newLedger(t)
	owner, bob, carol := l.weft("owner"), l.weft("bob"), l.weft("carol")
	id := l.create(owner, history(FromJoin))
	l.want("", owner, NewAuthorize(l.header(owner, id), []Grant{{Participant: bob.did, Rights: Read}, {Participant: carol.did, Rights: Read}},
		[]Keys{{1, l.wraps(id, 1, bob, carol)}}, nil))
	l.want("", owner, l.sealed(owner, id, "before", RecordTerms{}))
	epoch := l.epoch(id, 2, false, owner, carol)
	other := epochKeyOf(id, 77)
	lie, err := other.Wrap(id, 2, bob.to, bob.agreement.PublicKey().Bytes())
	if err != nil {
		t.Fatal(err)
	}
	epoch.Wraps = append(epoch.Wraps, lie)
	l.want("", owner, NewRekey(l.header(owner, id), "", epoch))
	l.want("", owner, l.sealed(owner, id, "after", RecordTerms{}))
	if o := l.reader(id, bob); len(o.Faults) != 1 || plugintest.Code(t, o.Faults[0]) != "bad_wrap" {
		t.Errorf("the one who was lied to finds %v", o.Faults)
	}
	if got := l.decrypts(id, bob); !slices.Equal(got, []uint64{1}) {
		t.Errorf("the one who was lied to opens %v", got)
	}
	if o, got := l.reader(id, carol), l.decrypts(id, carol); len(o.Faults) > 0 || !slices.Equal(got, []uint64{1, 2}) {
		t.Errorf("another reader finds %v and opens %v", o.Faults, got)
	}
	l.want("", owner, NewKeyload(l.header(owner, id), []Keys{{2, l.wraps(id, 2, bob)}}))
	if got := l.decrypts(id, bob); !slices.Equal(got, []uint64{1, 2}) {
		t.Errorf("with the right key it opens %v", got)
	}
}

// TestHidden: a hidden channel shows its name to those who hold epoch 0, by wrap or by the chain.
func TestHidden(t *testing.T) {
	l := newLedger(t)
	owner, bob, seer := l.weft("owner"), l.weft("bob"), l.weft("seer")
	var id ID
	profile := did.Object{"name": "secret", "status": "open"}
	id = l.create(owner, func(terms *CreateTerms) {
		id := NewID(l.network, owner.did, Nonce{7: byte(owner.nonces)})
		k := epochKeyOf(id, 0)
		text, err := k.SealProfile(id, owner.did, Nonce{7: byte(owner.nonces)}, profile)
		if err != nil {
			t.Fatal(err)
		}
		terms.Settings = Settings{Hidden: ptr(true), SealedProfile: &text}
		terms.Epoch, terms.Keys = l.epoch(id, 1, true, owner), []Keys{{0, l.wraps(id, 0, seer)}}
	})
	c := l.channel(id)
	if c.Name != "" || c.Visible != 1 || c.Status != "" {
		t.Errorf("%+v", c)
	}
	l.want("", owner, NewAuthorize(l.header(owner, id), []Grant{{Participant: bob.did, Rights: Read}}, []Keys{{1, l.wraps(id, 1, bob)}}, nil))
	for _, p := range []*person{owner, bob, seer} {
		k, ok := l.reader(id, p).Keys[0]
		op := mustDecode(t, l.entries[c.ProfileEvent])
		got, err := k.OpenProfile(id, op.Actor, op.Nonce, c.SealedProfile)
		if !ok || err != nil || got["name"] != "secret" {
			t.Errorf("%v, %v, %v", ok, got, err)
		}
		var listed []ID
		ChannelsOf(l.state, p.did, ID{}, func(id ID) bool { listed = append(listed, id); return true })
		if !slices.Equal(listed, []ID{id}) {
			t.Errorf("listed are %v", listed)
		}
	}
	people := make([]*person, MaxVisible)
	for i := range people {
		people[i] = l.number(i)
	}
	l.want("limit_reached", owner, NewKeyload(l.header(owner, id), []Keys{{0, l.wraps(id, 0, people...)}}))
	l.want("", owner, NewKeyload(l.header(owner, id), []Keys{{0, l.wraps(id, 0, people[1:]...)}}))
	l.want("", owner, NewKeyload(l.header(owner, id), []Keys{{0, l.wraps(id, 0, people[1:]...)}}))
	l.want("bad_value", owner, NewConfigure(l.header(owner, id), Settings{Name: ptr("x")}))
	l.want("bad_value", owner, NewConfigure(l.header(owner, id), Settings{Hidden: ptr(false)}))
	l.want("", owner, NewConfigure(l.header(owner, id), Settings{Hidden: ptr(false), Name: ptr("open")}))
	l.want("bad_value", owner, NewConfigure(l.header(owner, id), Settings{Hidden: ptr(true)}))
	if c := l.channel(id); c.Name != "open" || c.Hidden || c.SealedProfile != "" {
		t.Errorf("%+v", c)
	}
}

// TestManyReaders: an epoch for 10,000 readers is bounded operations of 128 wraps each.
func TestManyReaders(t *testing.T) {
	if testing.Short() {
		t.Skip("10,000 readers")
	}
	l := newLedger(t)
	l.fast = true
	owner := l.weft("owner")
	id := l.create(owner)
	wrap := func(from, to int) (list []Wrap) { // wraps that open nothing: the ledger does not look inside
		for i := from; i < to; i++ {
			list = append(list, Wrap{cheap(i) + "#k", make([]byte, WrapBytes)})
		}
		return list
	}
	const readers = MaxParticipants - 1
	operations, size := 0, 0
	apply := func(body did.Object) {
		entry := l.sign(owner, body)
		if err := l.applyEntry(entry); err != nil {
			t.Fatal(err)
		}
		operations++
		size += len(entry)
	}
	for i := 0; i < readers; i += MaxGrants {
		var grants []Grant
		for n := i; n < min(i+MaxGrants, readers); n++ {
			grants = append(grants, Grant{Participant: cheap(n), Rights: Read})
		}
		apply(NewAuthorize(l.header(owner, id), grants, nil, nil))
	}
	l.want("limit_reached", owner, NewAuthorize(l.header(owner, id), []Grant{{Participant: cheap(readers), Rights: Read}}, nil, nil))
	operations, size = 0, 0
	e := l.epoch(id, 2, true, owner)
	e.Wraps = append(e.Wraps, wrap(0, MaxWraps-1)...)
	apply(NewRekey(l.header(owner, id), "", e))
	for i := MaxWraps - 1; i < readers; i += MaxWraps {
		apply(NewKeyload(l.header(owner, id), []Keys{{2, wrap(i, min(i+MaxWraps, readers))}}))
	}
	if operations != 79 || size > 2_300_000 {
		t.Errorf("%d operations, %d bytes", operations, size)
	}
	if l.due(id) {
		t.Error("a rekey is due")
	}
}

// cheap is a did:weft that nobody has.
func cheap(i int) string { return "did:weft:t2iac44k:" + did.Multihash([]byte(fmt.Sprint(i))) }
