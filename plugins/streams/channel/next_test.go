package channel

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"weft/plugins/identity/did"
	"weft/plugins/plugintest"
	"weft/tangle"
)

// TestRights is every right against every operation: who may do what, and with which code the others may not.
func TestRights(t *testing.T) {
	type who struct {
		name  string
		grant *Grant
	}
	people := []who{
		{"stranger", nil}, {"read", &Grant{Rights: Read}}, {"write", &Grant{Rights: Order}}, {"read+write", &Grant{Rights: Read | Order}},
		{"admin", &Grant{Rights: Admin}}, {"audit", &Grant{Rights: Audit, ValidUntil: begin + 3_600_000}},
		{"role", &Grant{Roles: []string{"writers"}}}, {"expired", &Grant{Rights: All, ValidUntil: begin + 1000}}, {"owner", nil},
	}
	may := map[Op]map[string]bool{
		Configure: {"admin": true, "owner": true}, Authorize: {"admin": true, "owner": true}, Reject: {"admin": true, "owner": true},
		Revoke: {"admin": true, "owner": true}, Rekey: {"admin": true, "owner": true}, Keyload: {"admin": true, "owner": true},
		Write: {"write": true, "read+write": true, "role": true, "owner": true}, Lock: {"admin": true, "owner": true}, Erase: {"admin": true, "owner": true},
		Request: {"stranger": true},
		Leave:   {"read": true, "write": true, "read+write": true, "admin": true, "audit": true, "role": true, "expired": true},
	}
	for op := range may {
		for _, w := range people {
			t.Run(string(op)+" by "+w.name, func(t *testing.T) {
				l := newLedger(t)
				owner, actor, third, asks := l.weft("owner"), l.weft(w.name), l.weft("third"), l.weft("asks")
				id := l.create(owner, func(t *CreateTerms) { t.Settings.Roles = &map[string]Role{"writers": {Rights: Order}} })
				l.want("", owner, l.sealed(owner, id, "first", RecordTerms{}))
				l.want("", owner, NewAuthorize(l.header(owner, id), []Grant{{Participant: third.did, Rights: Order}}, nil, nil))
				l.want("", asks, NewRequest(l.header(asks, id), Asked{Rights: Read}, nil))
				if w.grant != nil {
					g := *w.grant
					g.Participant = actor.did
					l.want("", owner, NewAuthorize(l.header(owner, id), []Grant{g}, nil, nil))
				}
				l.now += 2000
				got := plugintest.Code(t, l.apply(actor, l.some(op, actor, id, owner, third, asks)))
				if got != refusal(op, w.name, may[op][w.name]) {
					t.Errorf("%q, want %q", got, refusal(op, w.name, may[op][w.name]))
				}
			})
		}
	}
}

// refusal is the code of an operation that is not allowed.
func refusal(op Op, who string, allowed bool) string {
	switch {
	case allowed:
		return ""
	case op == Leave && who == "owner":
		return "owner_only"
	case op == Leave || op == Request:
		return "wrong_state"
	case who == "stranger":
		return "not_participant"
	case who == "expired":
		return "not_valid_now"
	}
	return "right_missing"
}

// some is an operation that an admin could do.
func (l *ledger) some(op Op, p *person, id ID, owner, third, asks *person) did.Object {
	h := l.header(p, id)
	switch op {
	case Configure:
		return NewConfigure(h, Settings{Status: ptr("closed")})
	case Request:
		return NewRequest(h, Asked{Rights: Read}, nil)
	case Authorize:
		return NewAuthorize(h, []Grant{{Participant: third.did, Rights: Read}}, nil, nil)
	case Reject:
		return NewReject(h, []string{asks.did}, "no")
	case Revoke:
		return NewRevoke(h, []string{third.did}, "over", nil)
	case Leave:
		return NewLeave(h)
	case Rekey:
		return NewRekey(h, "scheduled", l.epoch(id, 2, true, owner))
	case Keyload:
		return NewKeyload(h, []Keys{{1, l.wraps(id, 1, owner)}})
	case Write:
		p.nonces--
		return l.sealed(p, id, "text", RecordTerms{})
	case Lock:
		return NewLock(h, Until, l.now+60_000)
	}
	return NewErase(h, 1, "gone")
}

// TestLife is the life in nine events of section 9.
func TestLife(t *testing.T) {
	l, id := life(t)
	h := l.head(id)
	if h.Event != 8 || h.Seq != 2 || !h.LockForever || h.Epoch != 2 || h.Active != 3 {
		t.Errorf("head %+v", h)
	}
	shipper, carrier := l.weft("shipper"), l.weft("carrier")
	l.want("locked", shipper, l.sealed(shipper, id, "late", RecordTerms{}))
	l.want("wrong_state", shipper, NewLock(l.header(shipper, id), Unlocked, 0))
	l.want("not_participant", carrier, l.sealed(carrier, id, "still here", RecordTerms{}))
	if got := SupersededBy(l.state, id, 1, 10); len(got) != 1 || got[0] != 2 {
		t.Errorf("superseded by %v", got)
	}
	var ops []Op
	head := FirstHead(id)
	err := Events(l.state, id, 0, func(e Event) bool {
		ops = append(ops, e.Op)
		if e.Number > 0 {
			seq := e.Seq
			head = NextHead(head, e.Number, seq, e.Place)
		}
		if e.Head != head {
			t.Errorf("event %d: head %s, want %s", e.Number, e.Head, head)
		}
		return true
	})
	if err != nil || fmt.Sprint(ops) != "[create request request authorize write authorize revoke write lock]" {
		t.Errorf("%v, %v", ops, err)
	}
}

// life plays the nine events and returns the channel.
func life(t testing.TB) (*ledger, ID) {
	l := newLedger(t)
	return l, l.life()
}

func (l *ledger) life() ID {
	t := l.t
	shipper, carrier, customs, insurer := l.weft("shipper"), l.weft("carrier"), l.weft("customs"), l.weft("insurer")
	id := l.create(shipper, func(t *CreateTerms) {
		t.Settings.Tags = &[]string{"customs"}
		t.Settings.Roles = &map[string]Role{"customs": {Read | Order, []string{"customs"}}}
	})
	l.now += 1000
	l.want("", carrier, NewRequest(l.header(carrier, id), Asked{Rights: Read | Order}, nil))
	l.want("", customs, NewRequest(l.header(customs, id), Asked{Roles: []string{"customs"}}, nil))
	l.now += 1000
	l.want("", shipper, NewAuthorize(l.header(shipper, id), []Grant{
		{Participant: carrier.did, Rights: Read | Order}, {Participant: customs.did, Roles: []string{"customs"}},
	}, []Keys{{1, l.wraps(id, 1, carrier, customs)}}, nil))
	body, _, err := SealBlob(l.random, Sealer{Epoch: 1, Key: ptr(epochKeyOf(id, 1))}, NewWrite(l.header(carrier, id), RecordTerms{Tag: "customs", RecordType: "invoice"}),
		did.Object{"name": "invoice.pdf"}, bytes.NewReader(make([]byte, 2_000_000)), 2_000_000, func(int, []byte) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	l.want("", carrier, body)
	l.now += 1000
	l.want("", shipper, NewAuthorize(l.header(shipper, id), []Grant{{Participant: insurer.did, Rights: Read}}, []Keys{{1, l.wraps(id, 1, insurer)}}, nil))
	l.want("", shipper, NewRevoke(l.header(shipper, id), []string{carrier.did}, "leg_ended", l.epoch(id, 2, true, shipper, customs, insurer)))
	l.want("", customs, l.sealed(customs, id, "the weight was wrong", RecordTerms{Tag: "customs", Supersedes: 1}))
	l.now += 1000
	l.want("", shipper, NewLock(l.header(shipper, id), Forever, 0))
	return id
}

func TestAdmission(t *testing.T) {
	l := newLedger(t)
	alice, bob, ghost, gone := l.weft("alice"), l.weft("bob"), l.keyed("ghost"), l.weft("gone")
	id := l.create(alice)
	entry := l.sign(alice, l.sealed(alice, id, "once", RecordTerms{}))
	if err := l.applyEntry(entry); err != nil {
		t.Fatal(err)
	}
	if err := l.applyEntry(entry); plugintest.Code(t, err) != "replayed" {
		t.Errorf("the same again: %v", err)
	}
	alice.nonces--
	l.want("replayed", alice, l.sealed(alice, id, "other content, same nonce", RecordTerms{}))
	h := l.header(alice, id)
	h.NotAfter = l.now - 1000
	l.want("expired", alice, NewLeave(h))
	h.NotAfter = l.now + 30*86_400_000
	l.want("owner_only", alice, NewLeave(h))
	h.NotAfter += 1000
	l.want("expired", alice, NewLeave(h))
	l.want("unknown_channel", alice, NewLeave(l.header(alice, ID{1})))
	stranger := l.header(alice, id)
	stranger.Actor = "did:weft:t2iac44k:" + did.Multihash([]byte("nobody"))
	l.want("unknown_did", alice, NewLeave(stranger))
	l.want("not_entitled", bob, NewLeave(l.header(alice, id)))
	l.want("not_entitled", ghost, NewLeave(l.header(alice, id)))
	for name, a := range map[string]After{
		"the future": {9, FirstHead(id)}, "another head": {1, FirstHead(id)}, "another channel": {0, FirstHead(ID{1})},
	} {
		h := l.header(alice, id)
		h.After = a
		if err := l.apply(alice, NewLeave(h)); plugintest.Code(t, err) != "bad_after" {
			t.Errorf("after of %s: %v", name, err)
		}
	}
	d, _ := did.Parse(gone.did)
	head, _, _ := did.ReadHead(l.identity, d)
	l.identify(did.Deactivate(l.network, d, head, 0), gone.key)
	l.want("deactivated", gone, NewRequest(l.header(gone, id), Asked{Rights: Read}, nil))
	if writes, err := Next(l.state, nil, mustDecode(t, l.sign(bob, NewLeave(l.header(bob, id)))), l.next()); plugintest.Code(t, err) != "unknown_did" || writes != nil {
		t.Errorf("without identity: %v", err)
	}
}

// TestClonedDevice: two devices with one key count their nonces. The first count that the second one repeats is refused,
// whatever it says, and so is every one up to where the first one is.
func TestClonedDevice(t *testing.T) {
	l := newLedger(t)
	owner, device := l.weft("owner"), l.keyed("device")
	id := l.create(owner)
	l.want("", owner, NewAuthorize(l.header(owner, id), []Grant{{Participant: device.did, Rights: Read | Order, Agreement: device.multikey()}}, []Keys{{1, l.wraps(id, 1, device)}}, nil))
	l.want("", device, l.sealed(device, id, "4 degrees", RecordTerms{}))
	clone := *device
	for range 3 {
		l.want("", device, l.sealed(device, id, "5 degrees", RecordTerms{}))
	}
	for range 3 {
		l.want("replayed", &clone, l.sealed(&clone, id, "20 degrees", RecordTerms{}))
	}
	l.want("", &clone, l.sealed(&clone, id, "20 degrees", RecordTerms{}))
	l.want("replayed", device, l.sealed(device, id, "5 degrees", RecordTerms{}))
	l.want("", owner, l.sealed(owner, id, "the nonces of others are their own", RecordTerms{}))
}

func mustDecode(t testing.TB, entry []byte) *Operation {
	t.Helper()
	var o struct{ Network tangle.ID }
	if err := json.Unmarshal(entry, &o); err != nil {
		t.Fatal(err)
	}
	op, err := Decode(o.Network, entry)
	if err != nil {
		t.Fatal(err)
	}
	return op
}

// TestRotatedKeys: the key has to be in the document as of the place, neither a key before nor one after.
func TestRotatedKeys(t *testing.T) {
	l := newLedger(t)
	alice := l.weft("alice")
	id := l.create(alice)
	old := alice.key
	fresh := l.rotate(alice, 99)
	l.want("not_entitled", alice, NewConfigure(l.header(alice, id), Settings{Status: ptr("x")}))
	alice.key = fresh
	l.want("", alice, NewConfigure(l.header(alice, id), Settings{Status: ptr("x")}))
	alice.key = old
	l.want("not_entitled", alice, NewConfigure(l.header(alice, id), Settings{Status: ptr("y")}))
}

// rotate replaces the key in a document and returns the new one; the update key stays.
func (l *ledger) rotate(p *person, seed byte) ed25519.PrivateKey {
	l.t.Helper()
	d, _ := did.Parse(p.did)
	head, _, err := did.ReadHead(l.identity, d)
	if err != nil {
		l.t.Fatal(err)
	}
	fresh, _ := keysOf(seed)
	l.identify(did.Update(l.network, d, head, did.Content{
		Params: did.NewParams(head.UpdateKeys), Document: did.DefaultDocument(fresh.Public().(ed25519.PublicKey), did.PublicKey{Type: did.X25519, Bytes: p.agreement.PublicKey().Bytes()}),
	}), p.key)
	return fresh
}

func TestNamesAndOwners(t *testing.T) {
	l := newLedger(t)
	alice, bob := l.weft("alice"), l.weft("bob")
	name := func(s string) func(*CreateTerms) { return func(t *CreateTerms) { t.Settings.Name = &s } }
	id := l.create(alice, name("one"))
	l.create(bob, name("one"))
	second := l.create(alice, name("two"))
	h := l.header(alice, ID{})
	taken := CreateTerms{Access: Public, Profile: Stream, Settings: Settings{Name: ptr("one")}}
	l.want("name_taken", alice, NewCreate(h, taken))
	l.want("name_taken", alice, NewConfigure(l.header(alice, second), Settings{Name: ptr("one")}))
	l.want("", alice, NewConfigure(l.header(alice, id), Settings{Name: ptr("three"), Tags: &[]string{"a"}}))
	l.want("", alice, NewConfigure(l.header(alice, second), Settings{Name: ptr("one")}))
	if found, ok := FindName(l.state, alice.did, "one"); !ok || found != second {
		t.Errorf("name one is %v", found)
	}
	l.want("wrong_state", alice, NewConfigure(l.header(alice, id), Settings{Owner: &bob.did}))
	l.want("", alice, NewAuthorize(l.header(alice, id), []Grant{{Participant: bob.did, Rights: Admin, ValidUntil: l.now + 60_000}}, nil, nil))
	l.want("owner_only", bob, NewConfigure(l.header(bob, id), Settings{Owner: &bob.did}))
	l.want("owner_only", bob, NewConfigure(l.header(bob, id), Settings{History: ptr(FromJoin)}))
	l.want("owner_only", bob, NewConfigure(l.header(bob, id), Settings{RetentionDays: ptr(1)}))
	l.want("owner_only", bob, NewConfigure(l.header(bob, id), Settings{Custody: ptr(CustodySelf)}))
	l.want("owner_only", bob, NewLock(l.header(bob, id), Forever, 0))
	l.want("owner_only", bob, NewRevoke(l.header(bob, id), []string{alice.did}, "", l.epoch(id, 2, true, bob)))
	l.want("owner_only", bob, NewAuthorize(l.header(bob, id), []Grant{{Participant: alice.did, Rights: Read}}, nil, nil))
	l.want("owner_only", bob, NewAuthorize(l.header(bob, id), []Grant{{Participant: l.weft("carol").did, Rights: Admin}}, nil, nil))
	l.want("owner_only", bob, NewAuthorize(l.header(bob, id), []Grant{{Participant: bob.did, Rights: Read}}, nil, nil))
	carol := l.weft("carol")
	l.want("", alice, NewAuthorize(l.header(alice, id), []Grant{{Participant: carol.did, Rights: Admin}}, nil, nil))
	l.want("owner_only", bob, NewRevoke(l.header(bob, id), []string{carol.did}, "", l.epoch(id, 2, true, bob)))
	l.want("owner_only", bob, NewAuthorize(l.header(bob, id), []Grant{{Participant: carol.did, Rights: Read}}, nil, nil))
	l.want("", carol, NewLeave(l.header(carol, id)))
	l.want("", alice, NewConfigure(l.header(alice, id), Settings{Owner: &bob.did}))
	l.now += 120_000
	l.want("", bob, NewConfigure(l.header(bob, id), Settings{History: ptr(FromJoin)}))
	l.want("owner_only", alice, NewConfigure(l.header(alice, id), Settings{History: ptr(Full)}))
	l.want("", alice, NewConfigure(l.header(alice, id), Settings{Status: ptr("handed over")}))
	if _, ok := FindName(l.state, alice.did, "three"); ok {
		t.Error("the name went with the channel, and stands with the owner before")
	}
	if _, ok := FindName(l.state, bob.did, "three"); !ok {
		t.Error("the name is not the new owner's")
	}
}

func TestRequests(t *testing.T) {
	l := newLedger(t)
	alice, bob := l.weft("alice"), l.weft("bob")
	id := l.create(alice)
	for range MaxRejections {
		l.want("", bob, NewRequest(l.header(bob, id), Asked{Rights: Read}, nil))
		l.want("wrong_state", bob, NewRequest(l.header(bob, id), Asked{Rights: Read}, nil))
		l.want("", alice, NewReject(l.header(alice, id), []string{bob.did, alice.did}, "no"))
		l.want("wrong_state", alice, NewReject(l.header(alice, id), []string{bob.did}, "no"))
	}
	l.want("refused", bob, NewRequest(l.header(bob, id), Asked{Rights: Read}, nil))
	carol := l.weft("carol")
	l.want("", carol, NewRequest(l.header(carol, id), Asked{Rights: Read}, nil))
	l.want("", carol, NewLeave(l.header(carol, id)))
	l.want("wrong_state", carol, NewLeave(l.header(carol, id)))
	l.want("", alice, NewAuthorize(l.header(alice, id), []Grant{{Participant: bob.did, Rights: Read}}, []Keys{{1, l.wraps(id, 1, bob)}}, nil))
	if h := l.head(id); h.Waiting != 0 || h.Active != 2 {
		t.Errorf("head %+v", h)
	}
	open := l.create(alice, public)
	key := l.keyed("key")
	l.want("", key, NewRequest(l.header(key, open), Asked{Rights: Read, Agreement: key.multikey()}, nil))
	if p := l.participant(open, key); p.State != Active || p.Grant.Rights != Read {
		t.Errorf("%+v", p)
	}
	l.want("", bob, NewRequest(l.header(bob, open), Asked{Rights: Read | Order}, nil))
	l.want("", bob, NewLeave(l.header(bob, open)))
	self := l.create(alice, func(t *CreateTerms) { t.Settings.Custody = ptr(CustodySelf) })
	l.want("custody_denied", carol, NewRequest(l.header(carol, self), Asked{Rights: Read, Custody: CustodyNode}, nil))
	l.want("custody_denied", alice, NewAuthorize(l.header(alice, self), []Grant{{Participant: carol.did, Rights: Read, Custody: CustodyNode}}, nil, nil))
}

// TestOwnersDeclareCustody: an owner whose keys a node holds says so when it makes the channel, and no other grant of its own.
func TestOwnersDeclareCustody(t *testing.T) {
	l := newLedger(t)
	alice := l.weft("alice")
	declared := []Grant{{Participant: alice.did, Rights: All, Custody: CustodyNode}}
	id := l.create(alice, func(t *CreateTerms) { t.Grants = declared })
	if p, h := l.participant(id, alice), l.head(id); p.Grant.Custody != CustodyNode || p.Grant.Rights != All || p.Joined != 1 || h.Active != 1 {
		t.Errorf("%+v, head %+v", p.Grant, h)
	}
	l.want("", alice, l.sealed(alice, id, "x", RecordTerms{}))
	terms := CreateTerms{Access: Public, Profile: Stream, Settings: Settings{Name: ptr("self"), Custody: ptr(CustodySelf)}, Grants: declared}
	l.want("custody_denied", alice, NewCreate(l.header(alice, ID{}), terms))
}

// TestWaitingRequestsAreBounded: by member and in all, and those that are old do not count.
func TestWaitingRequestsAreBounded(t *testing.T) {
	l := newLedger(t)
	l.fast = true
	alice := l.weft("alice")
	id := l.create(alice)
	people := make([]*person, 0, MaxWaiting+MaxWaitingMember+1)
	for i := range cap(people) {
		people = append(people, l.number(i))
	}
	for i, p := range people[:MaxWaiting] {
		l.by = tangle.Member{byte(i / MaxWaitingMember)}
		l.want("", p, NewRequest(l.header(p, id), Asked{Rights: Read}, nil))
		if (i+1)%MaxWaitingMember == 0 && i+1 < MaxWaiting {
			l.want("limit_reached", people[MaxWaiting], NewRequest(l.header(people[MaxWaiting], id), Asked{Rights: Read}, nil))
		}
	}
	l.by = tangle.Member{99}
	l.want("limit_reached", people[MaxWaiting], NewRequest(l.header(people[MaxWaiting], id), Asked{Rights: Read}, nil))
	l.now += tangle.Time(WaitingTime/time.Millisecond) - 1
	l.want("limit_reached", people[MaxWaiting], NewRequest(l.header(people[MaxWaiting], id), Asked{Rights: Read}, nil))
	l.now++
	l.want("", people[MaxWaiting], NewRequest(l.header(people[MaxWaiting], id), Asked{Rights: Read}, nil))
	if h := l.head(id); h.Waiting != 1 {
		t.Errorf("%d requests wait", h.Waiting)
	}
	l.want("", alice, NewReject(l.header(alice, id), []string{people[0].did, people[MaxWaiting].did}, "late"))
	if h := l.head(id); h.Waiting != 0 {
		t.Errorf("%d requests wait", h.Waiting)
	}
}

// number makes a did:key that costs little.
func (l *ledger) number(i int) *person {
	key, agreement := keysOf(0)
	p := &person{key: key, agreement: agreement}
	seed := bytes.Repeat([]byte{byte(i), byte(i >> 8), 7, 7}, 8)
	p.key = ed25519.NewKeyFromSeed(seed)
	p.did = did.DIDKey(did.Ed25519Key(p.key.Public().(ed25519.PublicKey)))
	p.to = p.did + "#" + p.multikey()
	return p
}
