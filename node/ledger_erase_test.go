package node

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"weft/config/genesis"
	"weft/gossip"
	"weft/internal/store"
	"weft/plugins"
	"weft/receipt"
	"weft/tangle"
)

// erasable are the shelved entries that are final at a node and have passed Check, accepted and rejected.
func (w *network) erasable(i int) (list []EntryRecord) {
	w.t.Helper()
	l := w.cores[i].Ledger()
	for p := tangle.Position(0); p < l.Head().Final; p++ {
		id, err := l.AtPosition(p)
		if err != nil {
			w.t.Fatal(err)
		}
		m, settled, err := l.Message(id)
		if err != nil {
			w.t.Fatal(err)
		}
		for k, e := range m.Entries {
			if e.Lasting != nil {
				list = append(list, EntryRecord{e, m, k, settled})
			}
		}
	}
	return list
}

func (w *network) eraseAt(i int, list []EntryRecord) {
	w.t.Helper()
	for _, r := range list {
		for range 2 { // it may be called again
			if err := w.cores[i].Ledger().Erase(r.Entry.Hash); err != nil {
				w.t.Fatalf("core %d, entry %s: %v", i, r.Entry.Hash, err)
			}
		}
	}
}

// holding counts the values of a store that hold what is personal.
func holding(t *testing.T, s store.Store) (n int) {
	for _, v := range content(t, s) {
		n += strings.Count(v, personal)
	}
	return n
}

func TestEraseKeepsEveryProof(t *testing.T) {
	w := replayed(t)
	list := w.erasable(1)
	if len(list) < 50 || holding(t, w.stores[1]) < len(list) {
		t.Fatalf("%d entries, personal in %d values", len(list), holding(t, w.stores[1]))
	}
	others := holding(t, w.stores[1]) - len(list) // of those that are not final yet
	w.eraseAt(1, list)
	if n := holding(t, w.stores[1]); n != others {
		t.Errorf("still in %d values, want %d", n, others)
	}
	codes := map[string]int{}
	for _, r := range list {
		got, err := w.cores[1].Ledger().Entry(r.Entry.Hash)
		if err != nil || !got.Entry.Erased() || got.Entry.Hash != r.Entry.Hash || got.Message.ID != r.Message.ID {
			t.Fatalf("%+v, %v", got, err)
		}
		code := r.Settled.Codes[r.Index]
		codes[code]++
		if left := got.Entry.Left; left.Code != code || left.Kind != 1024 || !bytes.Equal(left.Lasting, r.Entry.Lasting) {
			t.Errorf("left of %+v: %+v", r.Entry, left)
		}
		file, err := w.cores[1].Ledger().Receipt(r.Entry.Hash)
		if err != nil {
			t.Fatal(err)
		}
		report, err := receipt.Verify(w.genesis, file)
		if err != nil || !report.Verified || !report.Facts.Erased || report.Facts.Accepted != (code == "") {
			t.Errorf("receipt: %v %+v", err, report)
		}
	}
	if codes[""] == 0 || codes["not_so"] == 0 || codes["bad_value"] == 0 {
		t.Errorf("outcomes %v", codes)
	}
	got, err := w.replay(w.stores[1], false, 0, allWrites)
	if err != nil || got.Stale != "" || got.Commits != got.Of {
		t.Errorf("replay without the bodies: %+v, %v", got, err)
	}
}

func TestEraseRefuses(t *testing.T) {
	w := replayed(t)
	l := w.cores[1].Ledger()
	if err := l.Erase(tangle.Hash{1}); !errors.Is(err, ErrUnknown) {
		t.Errorf("an unknown entry: %v", err)
	}
	waits := shelved(tangle.Salt{7, 7, 7, 7}, "put 99")
	w.inbox[1] = append(w.inbox[1], Input{Submit: &Submission{Ticket: 9, Entries: []tangle.Entry{waits}}})
	w.run(2 * time.Millisecond)
	if err := l.Erase(waits.Hash); !errors.Is(err, ErrNotFinal) {
		t.Errorf("an entry that waits: %v", err)
	}
	h := w.submit(1, "cannot go")
	w.run(time.Second)
	if err := l.Erase(h[0]); !errors.Is(err, tangle.ErrLasts) {
		t.Errorf("an entry without a lasting part: %v", err)
	}
}

// TestEraseGoesByTheStore has a reader put a message back into the cache as it was before: what is gone must not come back with
// the next entry that goes.
func TestEraseGoesByTheStore(t *testing.T) {
	w := newNetwork(t, 4, shelves())
	w.run(2 * time.Second)
	entries := []tangle.Entry{shelved(tangle.Salt{1}, "put 1"), shelved(tangle.Salt{2}, "put 2")}
	w.inbox[0] = append(w.inbox[0], Input{Submit: &Submission{Ticket: 1, Entries: entries}})
	w.wantAllFinal(5*time.Second, entries[0].Hash, entries[1].Hash)
	l := w.cores[0].Ledger()
	whole, err := l.Entry(entries[0].Hash)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := l.Erase(e.Hash); err != nil {
			t.Fatal(err)
		}
		l.cache.replaceMessage(whole.Message)
	}
	if n := holding(t, w.stores[0]); n != 0 {
		t.Errorf("%d bodies are back", n)
	}
}

// TestJoinsAfterErasure starts a member from nothing when nobody has the bodies any more: it finds the same state.
func TestJoinsAfterErasure(t *testing.T) {
	w := newNetwork(t, 4, shelves())
	w.crash(3) // before it has signed anything
	random := rand.New(rand.NewPCG(3, 0))
	w.run(2 * time.Second)
	for k := range 100 {
		w.put(random, k%3)
		w.run(12 * time.Millisecond)
	}
	w.run(3 * time.Second)
	list := w.erasable(0)
	for i := range 3 {
		w.eraseAt(i, list)
		w.crash(i) // so that no body is in the graph either
	}
	for i := range 3 {
		w.start(i)
	}
	w.run(2 * time.Second)
	w.start(3)
	w.run(10 * time.Second)
	h := shelved(tangle.Salt{5, 5, 5, 5}, "put 77")
	w.inbox[3] = append(w.inbox[3], Input{Submit: &Submission{Ticket: 1, Entries: []tangle.Entry{h}}})
	w.run(3 * time.Second)
	w.wantFinal(3, h.Hash)
	want, got := w.cores[0].Ledger().Head(), w.cores[3].Ledger().Head()
	if want.Final != got.Final {
		t.Fatalf("head %+v, want %+v", got, want)
	}
	for i, s := range w.stores {
		if n := holding(t, s); n != 1 {
			t.Errorf("node %d holds %d bodies, want that of the last entry", i, n)
		}
	}
	for _, l := range []*Ledger{w.cores[0].Ledger(), w.cores[3].Ledger()} {
		if cp, err := l.LatestCheckpoint(); err != nil || len(cp.Signers) < 3 {
			t.Errorf("checkpoint %+v, %v", cp, err)
		}
	}
	if report, err := w.replay(w.stores[3], false, 0, allWrites); err != nil || report.Stale != "" {
		t.Errorf("replay: %+v, %v", report, err)
	}
}

// TestProofOfOrder holds what a member says of erased entries to what the committee has signed.
func TestProofOfOrder(t *testing.T) {
	w := replayed(t)
	l := w.cores[1].Ledger()
	list := w.erasable(1)
	rejected := func(want string) (found EntryRecord, at int) {
		for k, r := range list {
			if r.Settled.Codes[r.Index] == want {
				return r, k
			}
		}
		t.Fatalf("no entry with outcome %q", want)
		return found, 0
	}
	accepted, _ := rejected("")
	refused, _ := rejected("not_so")
	other := list[len(list)-1]
	order := func(r EntryRecord) []byte {
		b, err := l.order(r.Message.ID)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	note := func() []byte {
		cp, err := l.LatestCheckpoint()
		if err != nil {
			t.Fatal(err)
		}
		return receipt.Order{Note: cp.Note}.Bytes()
	}()
	flipped, unsigned := order(accepted), order(accepted)
	flipped[10] ^= 1
	unsigned[len(unsigned)-10] ^= 1
	verifier := newVerifier(w.genesis, 1, w.ledger)
	tests := []struct {
		name  string
		entry EntryRecord
		code  string
		order []byte
		want  string // in the error; empty: good
	}{
		{"accepted", accepted, "", order(accepted), ""},
		{"rejected", refused, "not_so", order(refused), ""},
		{"no proof", accepted, "", nil, "malformed"},
		{"a proof of another message", accepted, "", order(other), "leaf of message"},
		{"a changed proof", accepted, "", flipped, ""},
		{"a changed signature under a note that was good", accepted, "", unsigned, "signature"},
		{"accepted, under the same note", accepted, "", order(accepted), ""},
		{"rejected as if accepted", refused, "", order(refused), "not what is proved"},
		{"accepted as if rejected", accepted, "not_so", order(accepted), "not what is proved"},
		{"ordered as if never", accepted, tangle.CodeNever, order(accepted), "not what is proved"},
		{"as if never ordered, above the horizon", accepted, tangle.CodeNever, note, "not below the horizon"},
		{"accepted without a place", accepted, "", note, "not below the horizon"},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			left, err := l.codec.Erase(c.entry.Message, c.entry.Index, c.code)
			if err != nil {
				t.Fatal(err)
			}
			frame := gossip.Frame{Messages: &gossip.Messages{Raw: []gossip.Raw{{Message: left.Bytes(), Order: c.order}}}}
			_, err = verifier.frame(gossip.LaneBulk, w.genesis.Members[0].Key, frame.Bytes())
			switch {
			case c.name == "a changed proof":
				if err == nil {
					t.Error("is taken")
				}
			case (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want):
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	whole := gossip.Frame{Messages: &gossip.Messages{Raw: []gossip.Raw{{Message: other.Message.Bytes(), Order: order(other)}}}}
	if _, err := newVerifier(w.genesis, 1, w.ledger).frame(gossip.LaneBulk, w.genesis.Members[0].Key, whole.Bytes()); err == nil {
		t.Error("a proof beside a whole message is taken")
	}
}

// TestEraseOfExpiredCopies drops the body in the message that expired, too, and a member that joins takes it from there.
func TestEraseOfExpiredCopies(t *testing.T) {
	w := founded(t, 4, func(g *genesis.Genesis) { g.Consensus.HorizonSeconds = 10 }, shelves())
	w.crash(3) // before it has signed anything
	w.run(2 * time.Second)
	w.crash(1)
	w.crash(2)
	w.run(time.Second)
	e := shelved(tangle.Salt{1}, "put 1")
	w.inbox[0] = append(w.inbox[0], Input{Submit: &Submission{Ticket: 1, Entries: []tangle.Entry{e}}})
	w.run(30 * time.Second)
	w.start(1)
	w.start(2)
	w.wantAllFinal(20*time.Second, e.Hash)
	places, err := w.cores[1].Ledger().places(e.Hash, maxPlaces)
	if err != nil || len(places) < 2 {
		t.Fatalf("in %d messages, %v, want an expired one and another", len(places), err)
	}
	w.run(11 * time.Second) // the expired copy is proved to be so by a checkpoint that is later than the horizon
	for i := range 3 {
		if err := w.cores[i].Ledger().Erase(e.Hash); err != nil {
			t.Fatal(err)
		}
		w.crash(i)
	}
	for i := range 3 {
		w.start(i)
	}
	w.run(2 * time.Second)
	w.start(3)
	w.run(5 * time.Second)
	w.wantFinal(3, e.Hash)
	for i, s := range w.stores {
		if n := holding(t, s); n != 0 {
			t.Errorf("node %d holds it in %d values", i, n)
		}
	}
	if want, got := w.cores[0].Ledger().Head().Final, w.cores[3].Ledger().Head().Final; want != got {
		t.Errorf("the node that joined has %d, the others %d", got, want)
	}
}

// TestMessageThatOnlyOneHas gives one member alone a message that was never ordered, without its body: what it builds on it the
// others can attach.
func TestMessageThatOnlyOneHas(t *testing.T) {
	w := founded(t, 4, func(g *genesis.Genesis) { g.Consensus.HorizonSeconds = 10 }, shelves())
	w.run(25 * time.Second)
	cp, err := w.cores[0].Ledger().LatestCheckpoint()
	if err != nil {
		t.Fatal(err)
	}
	w.script(3)
	m := w.sealed(3, tangle.Header{Seq: 1, Time: testStart}, []tangle.Entry{shelved(tangle.Salt{1}, "put 1")})
	left, err := w.cores[0].codec.Erase(m, 0, tangle.CodeNever)
	if err != nil {
		t.Fatal(err)
	}
	raw := gossip.Frame{Messages: &gossip.Messages{Raw: []gossip.Raw{{Message: left.Bytes(), Order: receipt.Order{Note: cp.Note}.Bytes()}}}}
	frame, err := newVerifier(w.genesis, 1, w.ledger).frame(gossip.LaneBulk, core2member(w, 3), raw.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	w.inbox[0] = append(w.inbox[0], Input{Frame: frame})
	w.run(20 * time.Millisecond)
	w.wantAllFinal(20*time.Second, w.submit(1, "goes on")...)
	if got, _, err := w.cores[2].Ledger().Message(m.ID); err != nil || !got.HasErased() {
		t.Errorf("the message at another member: %v", err)
	}
}

// TestEraseFindsAllCopies: many copies of an entry do not keep its body from going, nor does one that may still be ordered.
func TestEraseFindsAllCopies(t *testing.T) {
	w := newNetwork(t, 4, shelves())
	w.run(2 * time.Second)
	w.script(3)
	e := shelved(tangle.Salt{1}, "put 1")
	last := tangle.ID{}
	for k := range 2 * maxPlaces {
		m := w.sealed(3, tangle.Header{Seq: tangle.Seq(1<<10 + k)}, []tangle.Entry{e})
		w.give(1, 3, m)
		last = m.ID
	}
	w.wantAllFinal(5*time.Second, e.Hash)
	w.runUntil(5*time.Second, "copies final", func() bool {
		_, settled, err := w.cores[1].Ledger().Message(last)
		return err == nil && settled.Status == StatusFinal
	})
	w.give(1, 3, w.sealed(3, tangle.Header{Seq: 1 << 11}, []tangle.Entry{e}))
	w.run(2 * time.Millisecond)
	if err := w.cores[1].Ledger().Erase(e.Hash); !errors.Is(err, ErrNotFinal) {
		t.Errorf("with a copy that may still be ordered: %v", err)
	}
	if n := holding(t, w.stores[1]); n != 1 {
		t.Errorf("still in %d values, want that of the copy that waits", n)
	}
	w.run(2 * time.Second)
	if err := w.cores[1].Ledger().Erase(e.Hash); err != nil {
		t.Error(err)
	}
	if n := holding(t, w.stores[1]); n != 0 {
		t.Errorf("still in %d values", n)
	}
}

// TestLiesAboutOutcomes: one member tells one that joins first, and what it says of an entry that was rejected, or of one that
// it says was never ordered, is not so. No proof covers that; the others say otherwise, and the member joins.
func TestLiesAboutOutcomes(t *testing.T) {
	for _, lie := range []string{"bad_value", tangle.CodeNever} {
		t.Run(lie, func(t *testing.T) {
			w := founded(t, 4, func(g *genesis.Genesis) { g.Consensus.HorizonSeconds = 10 }, shelves())
			w.crash(3) // before it has signed anything
			w.run(2 * time.Second)
			again := shelved(tangle.Salt{2}, "put 1") // rejected: not_so
			for _, e := range []tangle.Entry{shelved(tangle.Salt{1}, "put 1"), again} {
				w.inbox[0] = append(w.inbox[0], Input{Submit: &Submission{Ticket: 1, Entries: []tangle.Entry{e}}})
				w.wantAllFinal(5*time.Second, e.Hash)
			}
			l := w.cores[0].Ledger()
			rec, err := l.Entry(again.Hash)
			if err != nil || rec.Settled.Codes[0] != "not_so" {
				t.Fatalf("%+v, %v", rec, err)
			}
			w.run(25 * time.Second)
			order, err := l.order(rec.Message.ID)
			if cp, fault := l.LatestCheckpoint(); lie == tangle.CodeNever {
				order, err = receipt.Order{Note: cp.Note}.Bytes(), fault
			}
			left, fault := l.codec.Erase(rec.Message, 0, lie)
			if err != nil || fault != nil {
				t.Fatal(err, fault)
			}
			for i := range 3 {
				w.eraseAt(i, w.erasable(i))
				w.crash(i)
			}
			for i := range 3 {
				w.start(i)
			}
			w.run(2 * time.Second)
			raw := gossip.Frame{Messages: &gossip.Messages{Raw: []gossip.Raw{{Message: left.Bytes(), Order: order}}}}
			frame, err := newVerifier(w.genesis, 1, w.ledger).frame(gossip.LaneBulk, core2member(w, 2), raw.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			w.start(3)
			w.inbox[3] = append(w.inbox[3], Input{Frame: frame}, Input{Frame: frame})
			w.runUntil(20*time.Second, "joined", func() bool { return w.isFinal(3, again.Hash) })
			got, err := w.cores[3].Ledger().Entry(again.Hash)
			if err != nil || !got.Entry.Erased() || got.Settled.Codes[0] != "not_so" {
				t.Errorf("%+v, %v", got.Settled, err)
			}
		})
	}
}

// TestLastingPartsAreJudged: what lasts of an entry must be what its plugin makes of it, or members that join would execute
// something else than those that had the body. Own messages are judged like those of peers.
func TestLastingPartsAreJudged(t *testing.T) {
	w := newNetwork(t, 4, shelves())
	w.run(2 * time.Second)
	data := Data{"test", []byte("x")}.Encode()
	tests := []struct {
		entry tangle.Entry
		want  string
	}{
		{shelved(tangle.Salt{1}, "put 1"), ""},
		{tangle.NewErasable(1024, []byte("put 3"), tangle.Salt{2}, []byte("put 2 x")), "bad_lasting"},
		{tangle.NewErasable(1024, []byte("put 2 x"), tangle.Salt{3}, []byte("put 2 x")), "bad_lasting"},
		{tangle.NewEntry(1024, tangle.Salt{4}, []byte("put 2 x")), "bad_lasting"},
		{tangle.NewErasable(tangle.KindData, []byte("x"), tangle.Salt{5}, data), "bad_lasting"},
		{tangle.NewErasable(1099, []byte("x"), tangle.Salt{6}, data), "unknown_kind"},
		{tangle.NewErasable(1024, []byte("burn 1"), tangle.Salt{7}, []byte("burn 1")), "bad_value"},
	}
	var entries []tangle.Entry
	for _, c := range tests {
		entries = append(entries, c.entry)
	}
	w.inbox[0] = append(w.inbox[0], Input{Submit: &Submission{Ticket: 1, Entries: entries}})
	w.wantAllFinal(5*time.Second, entries[0].Hash)
	checks := newVerifier(w.genesis, 1, w.ledger).check(entries)
	for i, c := range tests {
		for k := range w.cores {
			if r, err := w.cores[k].Ledger().Entry(c.entry.Hash); err != nil || r.Settled.Codes[r.Index] != c.want {
				t.Errorf("core %d, entry %d: %q, want %q; %v", k, i, r.Settled.Codes, c.want, err)
			}
		}
		got := ""
		if rejected := plugins.Rejected(checks[i].Err); rejected != nil {
			got = rejected.Code
		}
		if got != c.want {
			t.Errorf("entry %d of a peer: %q, want %q", i, got, c.want)
		}
	}
}
