package streams

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"weft/plugins"
	"weft/plugins/identity"
	"weft/plugins/identity/did"
	"weft/plugins/streams/channel"
	"weft/tangle"
)

// TestErasedWhileAway: a member that is away when a record is erased is named in the proof. When it is back, its copy is gone
// and comes back from nowhere, and the proof is whole.
func TestErasedWhileAway(t *testing.T) {
	w := start(t, networkOptions{nodes: 4, onDisk: true})
	people := w.people("owner", "reader")
	owner, reader := people[0], people[1]
	id := w.create(owner)
	w.grant(owner, id, channel.Read, reader)
	d := w.detach(owner, id, bytes.Repeat([]byte("to be forgotten "), 40_000))
	w.upload(0, owner, id, d)
	w.done(owner, id, d.body)
	w.as(3, reader, "GET", blobPath(id, d), nil).want(200)
	equal(t, "held by", w.heldBy(0, reader, id), []string{"m0", "m3"})

	w.halt()
	w.done(owner, id, channel.NewErase(w.header(owner, id), 1, "gdpr_art17"))
	away := w.Genesis.Members[3].Key
	proof := func() (v erasureView) {
		t.Helper()
		w.as(1, reader, "GET", channelPath(id, "/records/1/erasure"), nil).into(200, &v)
		return v
	}
	v := proof()
	equal(t, "unanswered", v.Unanswered, []tangle.Member{away})
	if len(v.Statements) != 3 {
		t.Errorf("statements %+v", v.Statements)
	}
	if !w.onDisk(3, d.chunks[0]) {
		t.Error("the copy of the member that is away is not found: the search proves nothing")
	}

	w.join()
	if v = proof(); len(v.Statements) != 4 || len(v.Unanswered) != 0 {
		t.Errorf("proof %+v", v)
	}
	for _, s := range v.Statements {
		if s.Member == away && (!s.Held || !s.verify(w.id)) {
			t.Errorf("statement of the one who was away %+v", s)
		}
	}
	for i := range w.Nodes {
		w.as(i, reader, "GET", blobPath(id, d), nil).refused(410, "erased")
		w.as(i, reader, "GET", blobPath(id, d)+"/chunks/1", nil).refused(410, "erased")
		w.as(i, owner, "POST", channelPath(id, "/blobs"), d.declaration()).refused(410, "erased")
		w.putChunk(i, owner, id, d, 0).refused(410, "erased")
	}
	w.Stop()
	for i := range w.dirs {
		if w.onDisk(i, d.chunks[0]) || w.onDisk(i, d.chunks[len(d.chunks)-1]) {
			t.Errorf("node %d has the payload on its disk", i)
		}
	}
}

// onDisk says whether a file of a node holds the beginning of a chunk.
func (w *network) onDisk(i int, chunk []byte) (found bool) {
	w.t.Helper()
	w.eachFile(w.dirs[i], func(_ string, content []byte) { found = found || bytes.Contains(content, chunk[:64]) })
	return found
}

// TestJoinsAfterwards: a member that comes when records are erased and past their retention has the state of the others, and
// answers as they do.
func TestJoinsAfterwards(t *testing.T) {
	w := start(t, networkOptions{nodes: 4, absent: 1})
	people := w.people("owner", "reader", "gone")
	owner, reader := people[0], people[1]
	id := w.create(owner, func(_ channel.ID, terms *channel.CreateTerms) { terms.Settings.RetentionDays = ptr(1) })
	w.grant(owner, id, channel.Read|channel.Order, people[1:]...)
	inline := w.sealed(reader, id, "one", channel.RecordTerms{})
	w.done(reader, id, inline)
	erased := w.sealed(reader, id, "two", channel.RecordTerms{Supersedes: 1, RecordType: "secret"})
	w.done(reader, id, erased)
	d := w.detach(owner, id, []byte("beside the ledger"))
	w.upload(0, owner, id, d)
	w.done(owner, id, d.body)
	w.done(owner, id, channel.NewErase(w.header(owner, id), 2, "gdpr_art17"))
	w.done(owner, id, channel.NewRevoke(w.header(owner, id), []string{people[2].did}, "over", w.epoch(id, 2, true, owner, reader)))
	kept := w.create(owner, public)
	w.done(owner, kept, channel.NewWrite(w.header(owner, kept), channel.RecordTerms{Public: did.Object{"text": "for ever"}}))

	w.clock.Forward(25 * time.Hour)
	clear(w.tokens) // they have run out
	forgets := func(i int) { w.soon("a body is dropped", func() bool { return w.stored(i, erased) == 0 }) }
	for i := range w.Nodes {
		forgets(i)
	}
	w.join()
	forgets(3) // somebody may still have had it in memory
	if w.stored(3, inline) == 0 {
		t.Error("the member that joins lacks what is there")
	}
	for i := range w.Nodes {
		if w.indexOf(i) != w.indexOf(0) {
			t.Errorf("node %d has another index", i)
		}
	}
	for _, plugin := range []string{Name, identity.Name} {
		if w.stateOf(3, plugin) != w.stateOf(0, plugin) {
			t.Errorf("%s: another state", plugin)
		}
	}
	for _, p := range []*person{owner, reader} {
		for _, path := range []string{
			channelPath(id), channelPath(id, "/events"), channelPath(id, "/records"), channelPath(id, "/records/1"), channelPath(id, "/records/2"),
			channelPath(id, "/records/3"), channelPath(id, "/keys"), channelPath(id, "/subscriptions"), channelPath(kept, "/records"), "/channels",
		} {
			if got, want := w.answerOf(3, p, path), w.answerOf(0, p, path); got != want {
				t.Errorf("%s of %s: got %.2000s, want %.2000s", path, p.name, got, want)
			}
		}
	}
	for i := range w.Nodes {
		w.as(i, reader, "GET", blobPath(id, d), nil).refused(410, "erased")
		var verdicts []verdict
		w.as(i, reader, "POST", channelPath(id, "/validate"), []claim{{1, w.hashOf(inline)}, {1, tangle.Hash{1}}}).into(200, &verdicts)
		if verdicts[1].Code != "hash_mismatch" || verdicts[0].Code != w.firstVerdict(0, reader, id, inline) {
			t.Errorf("node %d: verdicts %+v", i, verdicts)
		}
	}
	f := w.follow(3, reader, id, "0")
	for n := uint64(1); n <= w.head(id).Event; n++ {
		if e, _ := f.next(); e.id != fmt.Sprint(n) {
			t.Fatalf("event %s came, want %d", e.id, n)
		}
	}
}

func (w *network) firstVerdict(i int, p *person, id channel.ID, body did.Object) string {
	w.t.Helper()
	var verdicts []verdict
	w.as(i, p, "POST", channelPath(id, "/validate"), []claim{{1, w.hashOf(body)}}).into(200, &verdicts)
	return verdicts[0].Code
}

// stateOf sums up the state of a plugin at node i.
func (w *network) stateOf(i int, plugin string) [32]byte {
	return sumOf(w.Nodes[i].Ledger.PluginView(plugin))
}

// indexOf sums up this plugin's index at node i.
func (w *network) indexOf(i int) [32]byte { return sumOf(w.Nodes[i].Ledger.PluginIndex(Name)) }

func sumOf(v plugins.View) [32]byte {
	sum := sha256.New()
	v.Scan(nil, nil, func(k, v []byte) bool {
		fmt.Fprintf(sum, "%x %x\n", k, v)
		return true
	})
	return [32]byte(sum.Sum(nil))
}

// stored counts the values of a node's store that hold the text of an operation.
func (w *network) stored(i int, body did.Object) (n int) {
	w.t.Helper()
	nonce := []byte(body["nonce"].(string))
	err := w.stores[i].Scan(nil, nil, func(_, value []byte) bool {
		if bytes.Contains(value, nonce) {
			n++
		}
		return true
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// answerOf is what somebody is answered, but for how far the node has come and what its disk holds.
func (w *network) answerOf(i int, p *person, path string) string {
	w.t.Helper()
	var v map[string]any
	w.as(i, p, "GET", path, nil).into(200, &v)
	delete(v, "asOf")
	items, _ := v["items"].([]any)
	for _, one := range append(items, v) {
		delete(one.(map[string]any), "heldBy")
	}
	text, err := json.Marshal(v)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(text)
}

// TestLiveAcrossARestart: who follows a node that stops and starts again loses nothing and gets nothing twice.
func TestLiveAcrossARestart(t *testing.T) {
	w := start(t, networkOptions{nodes: 4})
	owner := w.people("owner")[0]
	id := w.create(owner)
	f := w.follow(3, owner, id, "0")
	w.done(owner, id, w.sealed(owner, id, "before", channel.RecordTerms{}))
	last := f.want("record", "1").id
	for n := 2; n <= 6; n += 2 {
		w.halt()
		f.want("end", "")
		w.done(owner, id, w.sealed(owner, id, "while it is down", channel.RecordTerms{}))
		w.join()
		f = w.follow(3, owner, id, last)
		w.done(owner, id, w.sealed(owner, id, "when it is back", channel.RecordTerms{}))
		f.want("record", fmt.Sprint(n))
		last = f.want("record", fmt.Sprint(n+1)).id
	}
}
