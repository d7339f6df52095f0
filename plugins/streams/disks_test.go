package streams

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"weft/internal/store"
	"weft/node"
	"weft/plugins"
	"weft/plugins/identity"
	"weft/plugins/identity/did"
	"weft/plugins/streams/channel"
	"weft/receipt"
	"weft/tangle"
)

// TestErasedFromAllDisks: the body of an erased record leaves the disks of all members, with copies of it that were rejected,
// earlier and later ones, and is not in what is backed up from then on. Whoever starts again or joins afterwards finds the same
// state without it, and everything about it can still be proved.
func TestErasedFromAllDisks(t *testing.T) {
	w := start(t, networkOptions{nodes: 5, absent: 1, careless: true, onDisk: true})
	people := w.people("owner", "writer")
	owner, writer := people[0], people[1]
	open, closed := w.create(owner, public), w.create(owner)
	for _, id := range []channel.ID{open, closed} {
		w.grant(owner, id, channel.Order|channel.Read, writer)
	}
	inClear := channel.NewWrite(w.header(writer, open), channel.RecordTerms{
		RecordType: "forget this type", Public: did.Object{"text": "a name that must be forgotten"},
	})
	sealed := w.sealed(writer, closed, "a name that nobody could read", channel.RecordTerms{})
	ops := map[channel.ID][]byte{open: w.sign(writer, inClear), closed: w.sign(writer, sealed)}
	markers := []string{"a name that must be forgotten", "forget this type"}
	proof := regexp.MustCompile(`"proofValue":"([^"]+)"`)
	var entries []tangle.Hash // of the records and all their copies
	for id, op := range ops {
		markers = append(markers, string(proof.FindSubmatch(op)[1]))
		w.postEntry(0, id, op).want(200)
		w.Settle()
		e, found, err := channel.ReadRecord(w.view(0), id, 1)
		if err != nil || !found {
			t.Fatal(found, err)
		}
		entries = append(entries, e.Entry, w.carry(op))
		w.done(writer, id, w.sealedOrNot(writer, id, open, "what stays"))
	}
	for i := range w.Nodes {
		for _, m := range markers {
			if len(w.filesWith(i, m)) == 0 {
				t.Fatalf("node %d has %q nowhere: the search proves nothing", i, m)
			}
		}
	}
	for id, op := range ops {
		w.done(owner, id, channel.NewErase(w.header(owner, id), 1, "gdpr_art17"))
		entries = append(entries, w.carry(op))
	}
	for i := range w.Nodes {
		for _, h := range entries {
			w.dropped(i, h)
		}
		w.purge(i)
		w.hasNone(i, markers)
	}

	w.halt()
	backup := t.TempDir()
	if err := os.CopyFS(backup, os.DirFS(w.dirs[3])); err != nil {
		t.Fatal(err)
	}
	w.executesAgain(filepath.Join(backup, "store"))
	w.join()
	w.join()
	for i := range w.Nodes {
		w.hasNone(i, markers)
		for _, plugin := range []string{Name, identity.Name} {
			if w.stateOf(i, plugin) != w.stateOf(0, plugin) {
				t.Errorf("node %d, %s: another state", i, plugin)
			}
		}
		for _, h := range entries {
			w.proves(i, h)
		}
		w.provesRecord(i, owner, closed, sealed)
		w.provesRecord(i, owner, open, nil)
	}
	w.Stop()
	for i := range w.dirs {
		w.hasNone(i, markers)
	}
}

// TestRetentionLeavesAllDisks: what is past its retention goes with the next operation of the channel, and a member that joins
// afterwards never has it.
func TestRetentionLeavesAllDisks(t *testing.T) {
	w := start(t, networkOptions{nodes: 5, absent: 1, onDisk: true, onClock: true})
	people := w.people("owner", "writer")
	owner, writer := people[0], people[1]
	id := w.create(owner, public, func(_ channel.ID, terms *channel.CreateTerms) { terms.Settings.RetentionDays = ptr(1) })
	w.grant(owner, id, channel.Order|channel.Read, writer)
	markers := []string{"kept for a day"}
	for range 3 {
		w.done(writer, id, channel.NewWrite(w.header(writer, id), channel.RecordTerms{Public: did.Object{"text": markers[0]}}))
	}
	d := w.detach(writer, id, bytes.Repeat([]byte(markers[0]), 1000))
	w.upload(0, writer, id, d)
	w.done(writer, id, d.body)
	var entries []tangle.Hash
	for seq := range uint64(4) {
		e, found, err := channel.ReadRecord(w.view(0), id, seq+1)
		if err != nil || !found {
			t.Fatal(found, err)
		}
		entries = append(entries, e.Entry)
	}
	for i := range w.Nodes {
		if len(w.filesWith(i, markers[0])) == 0 {
			t.Fatalf("node %d has it nowhere: the search proves nothing", i)
		}
	}
	w.clock.Forward(25 * time.Hour)
	clear(w.tokens)
	for range 2 { // the commit time of the first is still that of the round before the jump
		w.done(owner, id, channel.NewWrite(w.header(owner, id), channel.RecordTerms{Public: did.Object{"text": "what stays"}}))
	}
	for i := range w.Nodes {
		for _, h := range entries {
			w.dropped(i, h)
		}
		w.purge(i)
	}
	w.soon("the payload is deleted", func() bool { return !w.onDisk(0, d.chunks[0]) })
	w.join()
	for i := range w.Nodes {
		w.hasNone(i, markers)
		if w.stateOf(i, Name) != w.stateOf(0, Name) {
			t.Errorf("node %d: another state", i)
		}
		if got := w.seqs(i, owner, id, ""); len(got) != 6 {
			t.Errorf("node %d: records %v", i, got)
		}
		report := w.verify(w.as(i, owner, "GET", channelPath(id, "/export"), nil).want(200).body)
		if !report.Verified || report.Records != 6 || report.Gone != 4 && report.Gone != 5 { // of the first after the jump either is right
			t.Errorf("node %d: bundle %+v", i, report)
		}
		for _, h := range entries {
			w.proves(i, h)
		}
	}
}

func (w *network) sealedOrNot(p *person, id, open channel.ID, text string) did.Object {
	if id == open {
		return channel.NewWrite(w.header(p, id), channel.RecordTerms{Public: did.Object{"text": text}})
	}
	return w.sealed(p, id, text, channel.RecordTerms{})
}

// carry lets the careless node put an operation onto the ledger again, and returns its entry, which has no effect.
func (w *network) carry(op []byte) tangle.Hash {
	w.t.Helper()
	_, hashes, err := w.Nodes[3].Publish(w.t.Context(), []plugins.Submission{{Kind: channel.Kind, Data: op}})
	if err != nil {
		w.t.Fatal(err)
	}
	for i := range w.Nodes {
		if code := w.outcome(i, hashes[0]); code != "replayed" {
			w.t.Fatalf("node %d: a copy has the outcome %q", i, code)
		}
	}
	w.Settle()
	return hashes[0]
}

// filesWith are the files of node i with a text in them.
func (w *network) filesWith(i int, text string) (found []string) {
	w.t.Helper()
	w.eachFile(w.dirs[i], func(name string, content []byte) {
		if bytes.Contains(content, []byte(text)) {
			found = append(found, filepath.Base(name))
		}
	})
	return found
}

func (w *network) hasNone(i int, markers []string) {
	w.t.Helper()
	for _, m := range markers {
		if found := w.filesWith(i, m); len(found) > 0 {
			w.t.Errorf("node %d has %q in %v", i, m, found)
		}
	}
	if len(w.filesWith(i, "what stays")) == 0 {
		w.t.Errorf("node %d has nothing of what stays: the search proves nothing", i)
	}
}

// soon asks until it is so.
func (w *network) soon(what string, so func() bool) {
	w.t.Helper()
	deadline := time.After(30 * time.Second)
	for !so() {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-deadline:
			w.t.Fatalf("%s: not in half a minute", what)
		}
	}
}

// dropped waits until node i has no body of an entry.
func (w *network) dropped(i int, h tangle.Hash) {
	w.t.Helper()
	w.soon("a body is dropped", func() bool {
		e, err := w.Nodes[i].Ledger.Entry(h)
		if err != nil {
			w.t.Fatal(err)
		}
		return e.Entry.Erased()
	})
}

// purge lets the operator of node i have its files written anew.
func (w *network) purge(i int) {
	w.t.Helper()
	const path = "/api/v1/operator/purge"
	w.call(i, "POST", path, nil, "Authorization", "Bearer "+operatorToken).want(202)
	w.soon("the files are written", func() bool {
		var state struct {
			Erased, Purged uint64
			Running        bool
			Error          string
		}
		w.call(i, "GET", path, nil, "Authorization", "Bearer "+operatorToken).into(200, &state)
		if state.Error != "" || !state.Running && state.Purged != state.Erased {
			w.t.Fatalf("node %d: %+v", i, state)
		}
		return !state.Running
	})
}

// executesAgain executes the ledger of a copied store again: all of it follows from what is left.
func (w *network) executesAgain(dir string) {
	w.t.Helper()
	disk, err := store.OpenBadger(store.BadgerConfig{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		w.t.Fatal(err)
	}
	defer disk.Close()
	scratch := store.NewMemory()
	ledger, err := node.LedgerPlugins([]plugins.Maker{identity.MakerAt(w.clock.Now), w.maker(0)}, w.Genesis, scratch)
	if err != nil {
		w.t.Fatal(err)
	}
	replay, err := node.NewReplay(node.ReplayConfig{Genesis: w.Genesis, Store: disk, Scratch: scratch, Plugins: ledger})
	for more := true; more && err == nil; {
		more, err = replay.Step()
	}
	if r := replay.Report(); err != nil || r.Stale != "" || r.Commits == 0 || r.Commits != r.Of {
		w.t.Errorf("executed again: %v, %+v", err, r)
	}
}

// proves checks the receipt of an erased entry: its hash stands at its place with its outcome.
func (w *network) proves(i int, h tangle.Hash) {
	w.t.Helper()
	file, err := w.Nodes[i].Receipt(h)
	if err != nil {
		w.t.Fatal(err)
	}
	report, err := receipt.Verify(w.Genesis, file)
	if err != nil || !report.Verified || !report.Facts.Erased || report.Facts.EntryHash != h {
		w.t.Errorf("node %d: %v, %+v", i, err, report)
	}
}

// provesRecord checks what can still be said of the erased first record of a channel.
func (w *network) provesRecord(i int, owner *person, id channel.ID, body did.Object) {
	w.t.Helper()
	var v erasureView
	w.as(i, owner, "GET", channelPath(id, "/records/1/erasure"), nil).into(200, &v)
	if v.By != owner.did || v.Receipt == "" || len(v.Statements) != len(w.Nodes) || len(v.Unanswered) > 0 {
		w.t.Errorf("node %d: proof of erasure %+v", i, v)
	}
	joined := w.Genesis.Members[4].Key
	for _, s := range v.Statements {
		if s.Entry == (tangle.Hash{}) || s.Held != (s.Member != joined) || !s.verify(w.id) {
			w.t.Errorf("node %d: statement %+v", i, s)
		}
	}
	var record eventView
	w.as(i, owner, "GET", channelPath(id, "/records/1"), nil).into(200, &record)
	if record.Operation != nil || record.Actor != "" || record.Erased == nil {
		w.t.Errorf("node %d: record %+v", i, record)
	}
	report := w.verify(w.as(i, owner, "GET", channelPath(id, "/export"), nil).want(200).body)
	if !report.Verified || report.Records != 2 || report.Erased != 1 || report.Head != w.head(id).Hash {
		w.t.Errorf("node %d: bundle %+v", i, report)
	}
	if body == nil {
		return
	}
	var verdicts []verdict
	w.as(i, owner, "POST", channelPath(id, "/validate"), []claim{{1, w.hashOf(body)}, {1, tangle.Hash{1}}}).into(200, &verdicts)
	if !verdicts[0].Valid || verdicts[0].Code != "erased" || verdicts[1].Code != "hash_mismatch" {
		w.t.Errorf("node %d: verdicts %+v", i, verdicts)
	}
}
