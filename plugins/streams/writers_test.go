package streams

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"weft/node"
	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/streams/channel"
	"weft/tangle"
)

// TestFiftyWriters writes 1,000 records at once through four nodes: gapless, one order, one running hash, none refused.
func TestFiftyWriters(t *testing.T) {
	x := newWriters(t, 50, 20)
	x.write(x.all, 4)
	x.same()
}

// TestWritersAndARestart does so in three waves. One node is down during the second, and comes back with the third.
func TestWritersAndARestart(t *testing.T) {
	x := newWriters(t, 50, 20)
	x.write(x.all[:17], 4)
	x.halt()
	x.write(x.all[17:34], 3)
	x.open()
	x.write(x.all[34:], 3)
	x.same()
}

// writers are people who may write into a channel.
type writers struct {
	*network
	id   channel.ID
	all  []*person
	each int // records
}

func newWriters(t *testing.T, count, each int) *writers {
	t.Helper()
	w := start(t, networkOptions{nodes: 4})
	names := []string{"owner"}
	for i := range count {
		names = append(names, fmt.Sprint("writer ", i))
	}
	people := w.people(names...)
	id := w.create(people[0], func(_ channel.ID, terms *channel.CreateTerms) {
		for _, p := range people[1:] {
			terms.Grants = append(terms.Grants, channel.Grant{Participant: p.did, Rights: channel.Order})
		}
	})
	return &writers{w, id, people[1:], each}
}

// write has some of them write all their records at once, over so many nodes.
func (x *writers) write(some []*person, nodes int) {
	x.t.Helper()
	var group sync.WaitGroup
	lists := make([][]json.RawMessage, len(some))
	for i, p := range some {
		for n := range x.each {
			lists[i] = append(lists[i], x.sign(p, x.sealed(p, x.id, fmt.Sprint("record ", n), channel.RecordTerms{RecordType: "note"})))
		}
	}
	for i, list := range lists {
		group.Go(func() { x.writeAll(i%nodes, x.id, list) })
	}
	group.Wait()
}

// same wants all records on all nodes, in one order, and one state.
func (x *writers) same() {
	x.t.Helper()
	records := uint64(len(x.all) * x.each)
	x.final([]channel.ID{x.id}, records)
	x.sameHeads(x.id, records)
	for i := range x.Nodes {
		if x.stateOf(i, Name) != x.stateOf(0, Name) {
			x.t.Errorf("node %d has another state", i)
		}
	}
}

// writeAll posts some records one by one and the rest in batches, and wants all of them accepted.
func (w *network) writeAll(i int, id channel.ID, list []json.RawMessage) {
	for _, one := range list[:5] {
		if r := w.call(i, "POST", "/api/v1"+channelPath(id, "/operations"), []byte(one)); r.status != 202 {
			w.t.Errorf("%s: HTTP %d: %.300s", r.name, r.status, r.body)
		}
	}
	var answer struct {
		Results []struct{ Status, Outcome, Code string }
	}
	r := w.call(i, "POST", "/api/v1"+channelPath(id, "/operations?wait=final&timeout=30s"), map[string]any{"operations": list[5:]})
	if err := json.Unmarshal(r.body, &answer); err != nil || len(answer.Results) != len(list)-5 {
		w.t.Errorf("%s: HTTP %d: %.300s", r.name, r.status, r.body)
	}
	for n, one := range answer.Results {
		if one.Code != "" || (one.Status == "final" && one.Outcome != "accepted") {
			w.t.Errorf("%s: result %d is %+v", r.name, n, one)
		}
	}
}

// sameHeads compares what nodes make of a channel: all records there, in one order.
func (w *network) sameHeads(id channel.ID, records uint64) {
	w.t.Helper()
	var first []channel.Event
	for i := range w.Nodes {
		var list []channel.Event
		if err := channel.Records(w.view(i), id, 1, func(e channel.Event) bool { list = append(list, e); return true }); err != nil {
			w.t.Fatal(err)
		}
		if uint64(len(list)) != records {
			w.t.Fatalf("node %d has %d records, want %d", i, len(list), records)
		}
		for n, e := range list {
			if e.Seq != uint64(n+1) {
				w.t.Fatalf("node %d: record %d has seq %d", i, n+1, e.Seq)
			}
			if i > 0 && (e.Head != first[n].Head || e.Place != first[n].Place) {
				w.t.Fatalf("node %d has another record %d than node 0", i, e.Seq)
			}
		}
		if i == 0 {
			first = list
		}
	}
}

// TestExpiryByCommitTime writes right before a grant ends and after it, whatever the node's clock says.
func TestExpiryByCommitTime(t *testing.T) {
	w := start(t, networkOptions{nodes: 4})
	people := w.people("owner", "reader")
	owner, reader := people[0], people[1]
	id := w.create(owner)
	until := tangle.TimeOf(time.Now().Add(4 * time.Second).Truncate(time.Second))
	w.done(owner, id, channel.NewAuthorize(w.header(owner, id), []channel.Grant{{Participant: reader.did, Rights: channel.Read | channel.Order, ValidUntil: until}},
		[]channel.Keys{{Number: 1, Wraps: w.wraps(id, 1, reader)}}, nil))
	// What is on its way when the grant ends is judged by its commit time, and every node finds the same.
	var entries [][]byte
	for refused := false; !refused; {
		entry := w.sign(reader, w.sealed(reader, id, "in time?", channel.RecordTerms{}))
		r := w.call(len(entries)%4, "POST", "/api/v1"+channelPath(id, "/operations?wait=final&timeout=30s"), entry)
		if refused = r.code() == "not_valid_now"; r.status != 200 && !refused {
			t.Fatalf("HTTP %d: %s", r.status, r.body)
		}
		entries = append(entries, entry)
	}
	for w.Nodes[0].Ledger.Head().Time < until { // commits lag behind the clocks by which nodes admit
		_, hashes, err := w.Nodes[0].Publish(t.Context(), []plugins.Submission{{Kind: tangle.KindData, Data: node.Data{Tag: "test"}.Encode()}})
		if err != nil {
			t.Fatal(err)
		}
		w.outcome(0, hashes[0])
	}
	w.Settle()
	accepted := uint64(0)
	for i := range w.Nodes {
		n := uint64(0)
		if err := channel.Records(w.view(i), id, 1, func(e channel.Event) bool {
			if n++; e.Time >= until {
				t.Errorf("record %d was ordered at %s, the grant ended at %s", e.Seq, e.Time, until)
			}
			return true
		}); err != nil {
			t.Fatal(err)
		}
		if i > 0 && n != accepted {
			t.Errorf("node %d accepted %d, node 0 %d", i, n, accepted)
		}
		accepted = n
	}
	if accepted == 0 || accepted == uint64(len(entries)) {
		t.Errorf("%d of %d were accepted", accepted, len(entries))
	}
	last := w.sign(reader, w.sealed(reader, id, "too late", channel.RecordTerms{}))
	w.sameEverywhere("a write after the end", id, last, "not_valid_now")

	// Nodes serve what was before the end, and nothing newer; admins see that a new epoch is due.
	w.done(owner, id, w.sealed(owner, id, "after the end", channel.RecordTerms{}))
	for i := range w.Nodes {
		if got := w.seqs(i, reader, id, ""); uint64(len(got)) != accepted {
			t.Errorf("node %d serves records %v to the expired, %d were in time", i, got, accepted)
		}
		if got := w.seqs(i, owner, id, ""); uint64(len(got)) != accepted+1 {
			t.Errorf("node %d serves records %v to the owner", i, got)
		}
	}
	if !w.isDue(owner, id) {
		t.Error("no new epoch is due")
	}
	w.done(owner, id, channel.NewRekey(w.header(owner, id), "expired", w.epoch(id, 2, true, owner)))
	if w.isDue(owner, id) {
		t.Error("a new epoch is still due")
	}
}

func (w *network) isDue(p *person, id channel.ID) bool {
	w.t.Helper()
	var c struct{ RekeyDue bool }
	w.as(0, p, "GET", channelPath(id), nil).into(200, &c)
	return c.RekeyDue
}

// TestRevokeWithNewEpoch removes a reader: it keeps what it has, is served nothing, and cannot open what follows.
func TestRevokeWithNewEpoch(t *testing.T) {
	w := start(t, networkOptions{nodes: 4})
	people := w.people("owner", "reader", "late")
	owner, reader, late := people[0], people[1], people[2]
	id := w.create(owner, func(_ channel.ID, terms *channel.CreateTerms) { terms.Settings.GraceSeconds = ptr(0) })
	w.grant(owner, id, channel.Read|channel.Order, reader)
	w.done(reader, id, w.sealed(reader, id, "before", channel.RecordTerms{}))
	w.post(0, owner, id, channel.NewRevoke(w.header(owner, id), []string{reader.did}, "leg_ended", nil)).refused(422, "new_epoch_required")
	w.post(0, owner, id, channel.NewRevoke(w.header(owner, id), []string{reader.did}, "leg_ended", w.epoch(id, 2, true, owner, reader))).refused(422, "bad_value")
	stale := w.sign(owner, w.sealed(owner, id, "in flight", channel.RecordTerms{}))
	w.done(owner, id, channel.NewRevoke(w.header(owner, id), []string{reader.did}, "leg_ended", w.epoch(id, 2, true, owner)))
	w.sameEverywhere("a write under the closed epoch", id, stale, "epoch_closed")
	w.sameEverywhere("a write of the removed", id, w.sign(reader, w.sealed(reader, id, "no", channel.RecordTerms{})), "not_participant")
	w.done(owner, id, w.sealed(owner, id, "after", channel.RecordTerms{}))
	for i := range w.Nodes {
		for _, route := range []string{"/events", "/records", "/records/1", "/live", "/export"} {
			w.as(i, reader, "GET", channelPath(id, route), nil).refused(403, "not_participant")
		}
		w.as(i, reader, "GET", channelPath(id, "/keys"), nil).refused(403, "not_participant")
	}

	// Who comes later walks from the newest key to the first.
	w.grant(owner, id, channel.Read, late)
	got := w.opens(1, late, id)
	equal(t, "opened by the late joiner", got, []string{"before", "after"})
	if content := w.openAll(0, id, map[uint32]channel.Key{1: epochKeyOf(id, 1)}, owner); len(content) != 1 {
		t.Errorf("the old key opens %v", content)
	}
}

// TestCarelessMember: a member that seals into its own messages what every other would refuse gives it no effect. It is
// ordered, and every node finds the same code.
func TestCarelessMember(t *testing.T) {
	w := start(t, networkOptions{nodes: 4, careless: true})
	people := w.people("owner", "removed", "reader", "stranger")
	owner, removed, reader, stranger := people[0], people[1], people[2], people[3]
	id := w.create(owner, func(_ channel.ID, terms *channel.CreateTerms) { terms.Settings.GraceSeconds = ptr(0) })
	w.grant(owner, id, channel.Read|channel.Order, removed)
	w.grant(owner, id, channel.Read, reader)
	once := w.sign(owner, w.sealed(owner, id, "once", channel.RecordTerms{}))
	w.postEntry(0, id, once).want(200)
	flying, own := w.sealed(owner, id, "in flight", channel.RecordTerms{}), w.sealed(removed, id, "mine", channel.RecordTerms{})
	w.done(owner, id, channel.NewRevoke(w.header(owner, id), []string{removed.did}, "over", w.epoch(id, 2, true, owner, reader)))
	before := w.head(id)
	for _, c := range []struct {
		code  string
		entry []byte
	}{
		{"not_participant", w.sign(removed, own)},
		{"not_participant", w.sign(removed, channel.NewAuthorize(w.header(removed, id), []channel.Grant{{Participant: removed.did, Rights: channel.Read}}, nil, nil))},
		{"not_participant", w.sign(stranger, w.sealed(stranger, id, "x", channel.RecordTerms{}))},
		{"right_missing", w.sign(reader, w.sealed(reader, id, "x", channel.RecordTerms{}))},
		{"right_missing", w.sign(reader, channel.NewRekey(w.header(reader, id), "mine", w.epoch(id, 3, true, reader)))},
		{"epoch_closed", w.sign(owner, flying)},
		{"not_entitled", w.sign(stranger, w.sealed(owner, id, "by another key", channel.RecordTerms{}))},
		{"replayed", once},
	} {
		_, hashes, err := w.Nodes[3].Publish(t.Context(), []plugins.Submission{{Kind: channel.Kind, Data: c.entry}})
		if err != nil {
			t.Fatalf("%s: %v", c.code, err)
		}
		for i := range w.Nodes {
			if got := w.outcome(i, hashes[0]); got != c.code {
				t.Errorf("node %d: %q, want %q", i, got, c.code)
			}
		}
	}
	for i := range w.Nodes {
		if _, h, err := channel.ReadChannel(w.view(i), id); err != nil || h != before || w.stateOf(i, Name) != w.stateOf(0, Name) {
			t.Errorf("node %d: the channel moved from %+v to %+v", i, before, h)
		}
	}
}

// outcome waits until an entry is ordered at node i, and returns its code.
func (w *network) outcome(i int, h tangle.Hash) string {
	w.t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		changed := w.Nodes[i].Changed()
		e, err := w.Nodes[i].Ledger.Entry(h)
		if err == nil && len(e.Settled.Codes) > e.Index {
			return e.Settled.Codes[e.Index]
		}
		select {
		case <-changed:
		case <-deadline:
			w.t.Fatalf("node %d: the entry was never ordered: %v", i, err)
		}
	}
}

// opens reads a channel at node i as somebody who has nothing but its agreement key.
func (w *network) opens(i int, p *person, id channel.ID) []string {
	w.t.Helper()
	var keys pageOf[epochView]
	w.as(i, p, "GET", channelPath(id, "/keys?limit=200"), nil).into(200, &keys)
	var epochs []channel.OpenedEpoch
	unwrapped := map[uint32]channel.Key{}
	for _, e := range keys.Items {
		if e.Number > 0 {
			epochs = append(epochs, channel.OpenedEpoch{Number: e.Number, Commit: e.Commit, PublicKey: [32]byte(w.decode(e.PublicKey)), Previous: w.decode(e.Previous)})
		}
		for _, one := range e.Wraps {
			if key, err := channel.Unwrap(id, e.Number, channel.Wrap{To: one.To, Ciphertext: w.decode(one.Ciphertext)}, p.agreement); err == nil {
				unwrapped[e.Number] = key
			}
		}
	}
	walked := channel.Walk(id, epochs, unwrapped)
	if len(walked.Faults) > 0 {
		w.t.Errorf("%s: %v", p.name, walked.Faults)
	}
	return w.openAll(i, id, walked.Keys, p)
}

// openAll opens the records that somebody is served with keys.
func (w *network) openAll(i int, id channel.ID, keys map[uint32]channel.Key, p *person) (list []string) {
	w.t.Helper()
	var records pageOf[eventView]
	w.as(i, p, "GET", channelPath(id, "/records?limit=200"), nil).into(200, &records)
	for _, r := range records.Items {
		op, err := channel.Decode(w.id, r.Operation)
		if err != nil {
			w.t.Fatal(err)
		}
		key, ok := keys[op.Record.Epoch]
		if !ok {
			continue
		}
		content, err := channel.Open(key, op)
		if err != nil {
			w.t.Errorf("record %d: %v", r.Seq, err)
			continue
		}
		list = append(list, string(content.Payload))
	}
	return list
}

// TestHistoryAsServed: {full, fromJoin, none} x {read, audit} x joined before, inside and after an epoch.
func TestHistoryAsServed(t *testing.T) {
	w := start(t, networkOptions{})
	people := w.people("owner", "early", "inside", "after", "auditor", "sensor")
	owner, early, inside, after, auditor, sensor := people[0], people[1], people[2], people[3], people[4], people[5]
	for _, c := range []struct {
		policy                 channel.History
		early, inside, after   []string
		auditor, auditorServed []string
	}{
		{channel.Full, []string{"1", "2", "3", "4"}, []string{"1", "2", "3", "4"}, []string{"1", "2", "3", "4"}, []string{"1", "2", "3", "4"}, []string{"1", "2", "3", "4"}},
		{channel.FromJoin, []string{"1", "2", "3", "4"}, []string{"3", "4"}, []string{"4"}, []string{"4"}, []string{"1", "2", "3", "4"}},
		{channel.None, []string{"4"}, []string{"4"}, []string{"4"}, []string{"4"}, []string{"1", "2", "3", "4"}},
	} {
		id := w.create(owner, history(c.policy))
		text := 0
		write := func() {
			text++
			w.done(owner, id, w.sealed(owner, id, fmt.Sprint(text), channel.RecordTerms{}))
		}
		// join gives a right with a new epoch where history asks for one.
		readers := []*person{owner}
		join := func(p *person, rights channel.Rights) {
			readers = append(readers, p)
			g := channel.Grant{Participant: p.did, Rights: rights}
			if rights == channel.Audit {
				g.ValidUntil = tangle.TimeOf(w.clock.Now().Add(time.Hour).Truncate(time.Second))
			}
			number := w.head(id).Epoch + 1
			w.done(owner, id, channel.NewAuthorize(w.header(owner, id), []channel.Grant{g}, nil, w.epoch(id, number, c.policy == channel.Full, readers...)))
		}
		join(early, channel.Read)
		w.done(owner, id, channel.NewAuthorize(w.header(owner, id), []channel.Grant{{Participant: sensor.did, Rights: channel.Order}}, nil, nil))
		write()
		write()
		join(inside, channel.Read)
		write()
		join(auditor, channel.Audit)
		join(after, channel.Read)
		write()
		name := string(c.policy)
		equal(t, name+": opened by the early", w.opens(0, early, id), c.early)
		equal(t, name+": opened by who came inside", w.opens(0, inside, id), c.inside)
		equal(t, name+": opened by who came after", w.opens(0, after, id), c.after)
		equal(t, name+": opened by the auditor", w.opens(0, auditor, id), c.auditor)
		if got := w.seqs(0, auditor, id, ""); len(got) != len(c.auditorServed) {
			t.Errorf("%s: the auditor is served %v", name, got)
		}
		if got := w.seqs(0, after, id, ""); len(got) != len(c.after) {
			t.Errorf("%s: who came after is served %v", name, got)
		}
		w.auditorGetsThePast(c.policy, id, owner, auditor)
		w.sensorSeesItsOwn(id, sensor)
	}
}

// auditorGetsThePast gives an auditor the keys of past epochs: explicit, under every policy.
func (w *network) auditorGetsThePast(policy channel.History, id channel.ID, owner, auditor *person) {
	w.t.Helper()
	if policy == channel.Full {
		return
	}
	var keys []channel.Keys
	for number := uint32(1); number < w.head(id).Epoch; number++ {
		keys = append(keys, channel.Keys{Number: number, Wraps: w.wraps(id, number, auditor)})
	}
	w.done(owner, id, channel.NewKeyload(w.header(owner, id), keys))
	equal(w.t, string(policy)+": opened by the auditor with past keys", w.opens(0, auditor, id), []string{"1", "2", "3", "4"})
}

// sensorSeesItsOwn: who may only write is served the summary and its own records, and no key.
func (w *network) sensorSeesItsOwn(id channel.ID, sensor *person) {
	w.t.Helper()
	number := w.head(id).Epoch
	public, err := epochKeyOf(id, number).PublicKey(id, number)
	if err != nil {
		w.t.Fatal(err)
	}
	h := w.header(sensor, id)
	h.After = channel.After{Head: channel.FirstHead(id)}
	body, err := channel.Seal(rand.Reader, channel.Sealer{Epoch: number, PublicKey: public[:]}, channel.NewWrite(h, channel.RecordTerms{}), did.Object{}, []byte("42 degrees"))
	if err != nil {
		w.t.Fatal(err)
	}
	w.done(sensor, id, body)
	var records pageOf[eventView]
	w.as(0, sensor, "GET", channelPath(id, "/records"), nil).into(200, &records)
	if len(records.Items) != 1 || records.Items[0].Actor != sensor.did {
		w.t.Errorf("the sensor is served %+v", records.Items)
	}
	var keys pageOf[epochView]
	w.as(0, sensor, "GET", channelPath(id, "/keys"), nil).into(200, &keys)
	for _, e := range keys.Items {
		if len(e.Wraps) > 0 || e.Previous != "" {
			w.t.Errorf("the sensor is served the key %+v", e)
		}
	}
	w.as(0, sensor, "GET", channelPath(id, "/export"), nil).refused(403, "right_missing")
}

func (w *network) decode(text string) []byte {
	w.t.Helper()
	if text == "" {
		return nil
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}
