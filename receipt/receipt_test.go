package receipt

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"weft/config/genesis"
	"weft/tangle"
)

var rewrite = flag.Bool("rewrite", false, "write the vectors of testdata anew")

func TestReceiptsVerify(t *testing.T) {
	for _, size := range []int{1, 4, 7} {
		n := newNetwork(t, "harbour", size)
		for at := range 9 {
			var entries []tangle.Entry
			for i := range 1 + at%5 {
				entries = append(entries, entry(fmt.Sprintf("%d/%d", at, i)))
			}
			n.order(entries...)
		}
		for at, m := range n.messages {
			for i := range m.Entries {
				r, err := Verify(n.genesis, n.build(n.parts(at, i)))
				if err != nil || !r.Verified {
					t.Fatalf("%d validators, entry %d of message %d: %v %v", size, i, at, err, failed(r))
				}
				want := Facts{
					EntryHash: m.Entries[i].Hash, Kind: tangle.KindData, Data: m.Entries[i].Data, MessageID: m.ID, Author: n.author(),
					AuthorName: "registrar", MessageTime: m.Header.Time.String(), Position: tangle.Position(at), Index: i, Accepted: i%3 != 2,
					CheckpointSize: 9, CheckpointTime: n.checkpoint().Time.String(),
				}
				for _, s := range n.quorum() {
					want.Signers = append(want.Signers, KeyName(n.genesis, s))
				}
				if !reflect.DeepEqual(*r.Facts, want) {
					t.Errorf("facts\n%+v, want\n%+v", *r.Facts, want)
				}
			}
		}
	}
}

func TestReceiptOfAnErasedEntry(t *testing.T) {
	n := newNetwork(t, "harbour", 1)
	n.order(entry("first"))
	n.order(entry("a"), tangle.NewErasable(32, []byte("lasts"), tangle.Salt{1}, []byte("goes")))
	if r, err := Verify(n.genesis, n.build(n.parts(1, 1))); err != nil || !r.Verified || r.Facts.Kind != 32 || string(r.Facts.Data) != "goes" {
		t.Fatalf("before: %v %v", err, failed(r))
	}
	m, err := n.codec().Erase(n.messages[1], 1, "")
	if err != nil {
		t.Fatal(err)
	}
	whole := n.messages[1].Entries[1].Hash
	n.messages[1] = m
	r, err := Verify(n.genesis, n.build(n.parts(1, 1)))
	if err != nil || !r.Verified {
		t.Fatalf("%v %v", err, failed(r))
	}
	if f := r.Facts; !f.Erased || f.EntryHash != whole || f.Kind != 0 || f.Data != nil {
		t.Errorf("facts %+v", f)
	}
	if r, _ := Verify(n.genesis, n.build(n.parts(1, 0))); !r.Verified {
		t.Errorf("the entry beside the erased one: %v", failed(r))
	}
}

// TestChecks changes one thing each and says which checks must notice.
func TestChecks(t *testing.T) {
	for name, c := range map[string]struct {
		change func(n *network, p *Parts)
		want   []string
	}{
		"the network": {func(n *network, p *Parts) { p.Network[0]++ }, []string{
			"network=wrong_network", "header=skipped", "author_member=skipped", "author_signature=skipped", "entry_in_message=skipped",
			"message_in_log=skipped", "checkpoint_quorum=skipped", "outcome=skipped"}},
		"a header cut short": {func(n *network, p *Parts) { p.Header = p.Header[:len(p.Header)-1] }, []string{
			"header=bad_header", "author_member=skipped", "author_signature=skipped", "entry_in_message=skipped",
			"message_in_log=skipped", "checkpoint_quorum=skipped", "outcome=skipped"}},
		"a header of another epoch": {func(n *network, p *Parts) { p.Header = changed(p.Header, 5) }, []string{
			"header=bad_header", "author_member=skipped", "author_signature=skipped", "entry_in_message=skipped",
			"message_in_log=skipped", "checkpoint_quorum=skipped", "outcome=skipped"}},
		"an author who is a stranger": {func(n *network, p *Parts) { p.Header = changed(p.Header, 6) }, []string{
			"author_member=not_a_member", "author_signature=bad_signature", "message_in_log=not_in_log"}},
		"the time in the header": {func(n *network, p *Parts) { p.Header = changed(p.Header, 53) }, []string{
			"author_signature=bad_signature", "message_in_log=not_in_log"}},
		"the signature": {func(n *network, p *Parts) { p.Signature[0]++ }, []string{"author_signature=bad_signature"}},
		"the data": {func(n *network, p *Parts) { p.Entry = tangle.NewEntry(p.Entry.Kind, p.Entry.Salt, []byte("B")) },
			[]string{"entry_in_message=not_in_message"}},
		"the kind": {func(n *network, p *Parts) { p.Entry = tangle.NewEntry(2, p.Entry.Salt, p.Entry.Data) },
			[]string{"entry_in_message=not_in_message"}},
		"the salt": {func(n *network, p *Parts) { p.Entry = tangle.NewEntry(1, tangle.Salt{}, p.Entry.Data) },
			[]string{"entry_in_message=not_in_message"}},
		"the index": {func(n *network, p *Parts) { p.Index = 0 }, []string{"entry_in_message=not_in_message"}},
		"an index past the end": {func(n *network, p *Parts) { p.Index = 3 }, []string{
			"entry_in_message=not_in_message", "outcome=bad_outcome"}},
		"the path in the message": {func(n *network, p *Parts) { p.EntryPath = p.EntryPath[1:] }, []string{"entry_in_message=not_in_message"}},
		"a longer path in the message": {func(n *network, p *Parts) { p.EntryPath = append(p.EntryPath, tangle.Hash{}) },
			[]string{"entry_in_message=not_in_message"}},
		"the position": {func(n *network, p *Parts) { p.Position = 0 }, []string{"message_in_log=not_in_log"}},
		"position and leaf": {func(n *network, p *Parts) { p.Position, p.Leaf = 2, Leaf(2, n.messages[1].ID, make([]bool, 3)) },
			[]string{"message_in_log=not_in_log"}},
		"a position beyond all": {func(n *network, p *Parts) {
			p.Position, p.Leaf = 1<<63+1, Leaf(1<<63+1, n.messages[1].ID, make([]bool, 3))
		}, []string{"message_in_log=not_in_log"}},
		"the outcome": {func(n *network, p *Parts) { p.Leaf = Leaf(1, n.messages[1].ID, make([]bool, 3)) },
			[]string{"message_in_log=not_in_log"}},
		"fewer outcomes": {func(n *network, p *Parts) { p.Leaf = Leaf(1, n.messages[1].ID, make([]bool, 2)) },
			[]string{"message_in_log=not_in_log", "outcome=bad_outcome"}},
		"bits beside the outcomes": {func(n *network, p *Parts) { p.Leaf = changed(p.Leaf, len(p.Leaf)-1) },
			[]string{"message_in_log=not_in_log", "outcome=bad_outcome"}},
		"no leaf":         {func(n *network, p *Parts) { p.Leaf = nil }, []string{"message_in_log=not_in_log", "outcome=bad_outcome"}},
		"another's leaf":  {func(n *network, p *Parts) { p.Leaf = n.leaves[0] }, []string{"message_in_log=not_in_log", "outcome=bad_outcome"}},
		"the path in log": {func(n *network, p *Parts) { p.LogPath[0][0]++ }, []string{"message_in_log=not_in_log"}},
		"no path in log":  {func(n *network, p *Parts) { p.LogPath = nil }, []string{"message_in_log=not_in_log"}},
		"an older checkpoint": {func(n *network, p *Parts) {
			c := n.checkpoint()
			c.Size = 1
			p.Note = n.note(c, n.quorum()...)
		}, []string{"message_in_log=not_in_log"}},
		"another root": {func(n *network, p *Parts) {
			c := n.checkpoint()
			c.Root[0]++
			p.Note = n.note(c, n.quorum()...)
		}, []string{"message_in_log=not_in_log"}},
		"too few signers": {func(n *network, p *Parts) { p.Note = n.note(n.checkpoint(), n.quorum()[1:]...) },
			[]string{"checkpoint_quorum=no_quorum"}},
		"the same signer twice": {func(n *network, p *Parts) {
			q := n.quorum()
			line := signatureLine(n.genesis, q[0], SignText(n.keys[q[0]], n.checkpoint().Text()))
			p.Note = append(n.note(n.checkpoint(), q[:2]...), line...)
		}, []string{"checkpoint_quorum=no_quorum"}},
		"no note": {func(n *network, p *Parts) { p.Note = nil },
			[]string{"message_in_log=skipped", "checkpoint_quorum=bad_checkpoint"}},
		"a note of another network": {func(n *network, p *Parts) {
			c := n.checkpoint()
			c.Network = "river"
			p.Note = n.note(c, n.quorum()...)
		}, []string{"message_in_log=skipped", "checkpoint_quorum=bad_checkpoint"}},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNetwork(t, "harbour", 4)
			n.order(entry("first"))
			n.order(entry("a"), entry("b"), entry("c"))
			p := n.parts(1, 1)
			c.change(n, &p)
			r, err := Verify(n.genesis, n.build(p))
			if err != nil || r.Verified {
				t.Fatalf("%v, verified: %v", err, r.Verified)
			}
			if got := failed(r); !slices.Equal(got, c.want) {
				t.Errorf("failed\n%v, want\n%v", got, c.want)
			}
			if alone := slices.Equal(failed(r), []string{"author_signature=bad_signature"}); (r.Facts != nil) != alone {
				t.Errorf("facts %+v", r.Facts)
			}
			var names []string
			for _, c := range r.Checks {
				names = append(names, c.Name)
			}
			if !slices.Equal(names, checkNames()) {
				t.Errorf("checks %v", names)
			}
		})
	}
}

func changed(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 1
	return b
}

func TestWitnessesHaveNoReceipts(t *testing.T) {
	n := small(t)
	h := tangle.Header{Author: n.author(), Seq: 9, Time: n.genesis.Time, Parents: []tangle.ID{n.genesis.ID()}, Witness: &tangle.Witness{Round: 1}}
	m, err := n.codec().Seal(h, nil, func([]byte) (s tangle.Signature) { return s })
	if err != nil {
		t.Fatal(err)
	}
	p := n.parts(1, 1)
	p.Header = m.HeaderBytes()
	if r, err := Verify(n.genesis, n.build(p)); err != nil || failed(r)[0] != "header=bad_header" {
		t.Errorf("%v %v", err, failed(r))
	}
}

func TestAnotherGenesisRefusesAll(t *testing.T) {
	n := small(t)
	file := n.build(n.parts(1, 1))
	other := *n.genesis
	other.Time++
	if r, err := Verify(&other, file); err != nil || failed(r)[0] != "network=wrong_network" {
		t.Errorf("%v %v", err, failed(r))
	}
}

func TestSwappedPartsAreRefused(t *testing.T) {
	n := newNetwork(t, "harbour", 4)
	for at := range 5 {
		n.order(entry(fmt.Sprintf("%d", at)), entry(fmt.Sprintf("%d.", at)))
	}
	good, other := n.parts(3, 1), n.parts(1, 0)
	fields := reflect.TypeOf(good)
	for i := range fields.NumField() {
		mixed := good
		to, from := reflect.ValueOf(&mixed).Elem().Field(i), reflect.ValueOf(other).Field(i)
		if reflect.DeepEqual(to.Interface(), from.Interface()) {
			continue // the network and the note are the same for both
		}
		to.Set(from)
		if r, _ := Verify(n.genesis, n.build(mixed)); r.Verified {
			t.Errorf("verifies with %s of another receipt", fields.Field(i).Name)
		}
	}
}

// refused says that a file must not verify, and that if it is not a receipt at all, error and report agree.
func refused(t testing.TB, g *genesis.Genesis, file []byte, format string, args ...any) {
	r, err := Verify(g, file)
	if r.Verified {
		t.Errorf("verifies: "+format, args...)
	}
	if (err != nil) != !r.Checks[0].OK || (err != nil && !errors.Is(err, ErrFormat)) {
		t.Errorf("%v, but check %+v: "+format, append([]any{err, r.Checks[0]}, args...)...)
	}
}

func TestAnyFlippedBitFails(t *testing.T) {
	n := small(t)
	n.order(tangle.NewErasable(32, []byte("lasts"), tangle.Salt{1}, []byte("goes")))
	erased := n.parts(1, 1)
	erased.Entry = tangle.Entry{Kind: tangle.KindErased, Hash: erased.Entry.Hash}
	for name, p := range map[string]Parts{"first": n.parts(0, 0), "whole": n.parts(1, 1), "erased": erased, "erasable": n.parts(2, 0)} {
		file := n.build(p)
		if r, err := Verify(n.genesis, file); err != nil || !r.Verified {
			t.Fatalf("%s: %v %v", name, err, failed(r))
		}
		for at := range file {
			for bit := range 8 {
				if name != "whole" && bit != at%8 {
					continue // all bits of one file, one of each byte of the others
				}
				bad := bytes.Clone(file)
				bad[at] ^= 1 << bit
				refused(t, n.genesis, bad, "%s, byte %d of %d, bit %d", name, at, len(file), bit)
			}
		}
	}
}

func TestAnyOtherByteFails(t *testing.T) {
	n := newNetwork(t, "harbour", 4)
	n.order(entry("first"))
	n.order(entry("a"), entry("b"), entry("c"))
	file := n.build(n.parts(1, 1))
	for at := range file {
		for _, mask := range []byte{0xff, 0x20} {
			bad := bytes.Clone(file)
			bad[at] ^= mask
			refused(t, n.genesis, bad, "byte %d of %d, mask %x", at, len(file), mask)
		}
	}
}

func TestOtherLengthsFail(t *testing.T) {
	n := small(t)
	file := n.build(n.parts(1, 1))
	for size := range file {
		refused(t, n.genesis, file[:size], "%d bytes of %d", size, len(file))
	}
	for at := range len(file) + 1 {
		refused(t, n.genesis, slices.Insert(bytes.Clone(file), at, 0), "a byte more at %d of %d", at, len(file))
		if at < len(file) {
			refused(t, n.genesis, slices.Delete(bytes.Clone(file), at, at+1), "a byte less at %d of %d", at, len(file))
		}
	}
	refused(t, n.genesis, append(bytes.Clone(file), file...), "two receipts")
	refused(t, n.genesis, append(bytes.Clone(file), make([]byte, MaxReceipt)...), "longer than MaxReceipt")
	refused(t, n.genesis, nil, "nothing")
}

func TestDamageToLargeReceipts(t *testing.T) {
	n := newNetwork(t, "harbour", 4)
	for at := range 40 {
		entries := make([]tangle.Entry, 1+at*3)
		for i := range entries {
			entries[i] = entry(strings.Repeat("x", 1+i*(at+1)/10))
		}
		n.order(entries...)
	}
	rapid.Check(t, func(r *rapid.T) {
		at := rapid.IntRange(0, len(n.messages)-1).Draw(r, "message")
		i := rapid.IntRange(0, len(n.messages[at].Entries)-1).Draw(r, "entry")
		file := n.build(n.parts(at, i))
		if report, err := Verify(n.genesis, file); err != nil || !report.Verified {
			r.Fatalf("%v %v", err, failed(report))
		}
		bad := bytes.Clone(file)
		for range rapid.IntRange(1, 3).Draw(r, "damages") {
			bad[rapid.IntRange(0, len(bad)-1).Draw(r, "byte")] = rapid.Byte().Draw(r, "value")
		}
		if report, _ := Verify(n.genesis, bad); report.Verified && !bytes.Equal(bad, file) {
			r.Fatal("verifies although it is damaged")
		}
	})
}

func TestBuildRefusesWhatParseWould(t *testing.T) {
	n := small(t)
	for name, change := range map[string]func(*Parts){
		"index":    func(p *Parts) { p.Index = 1 << 16 },
		"negative": func(p *Parts) { p.Index = -1 },
		"path":     func(p *Parts) { p.EntryPath = make([]tangle.Hash, maxPath+1) },
		"log path": func(p *Parts) { p.LogPath = make([]tangle.Hash, 256) },
		"size":     func(p *Parts) { p.Note = make([]byte, MaxReceipt) },
	} {
		p := n.parts(1, 1)
		change(&p)
		if _, err := Build(p); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v, want ErrFormat", name, err)
		}
	}
}

func TestLeaf(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		rejected := rapid.SliceOfN(rapid.Bool(), 0, 40).Draw(r, "rejected")
		p, id := tangle.Position(rapid.Uint64().Draw(r, "position")), tangle.ID(hash(r))
		b := Leaf(p, id, rejected)
		gotP, gotID, got, err := ParseLeaf(b)
		if err != nil || gotP != p || gotID != id || !slices.Equal(got, rejected) {
			r.Fatalf("%v: %d %s %v", err, gotP, gotID, got)
		}
		if at := rapid.IntRange(0, len(b)-1).Draw(r, "cut"); true {
			if _, _, _, err := ParseLeaf(b[:at]); !errors.Is(err, ErrFormat) {
				r.Fatalf("%d bytes: %v, want ErrFormat", at, err)
			}
		}
	})
	want := append(append(make([]byte, 7), 5, 0xab), make([]byte, 31)...)
	want = append(want, 0, 9, 0b10111111, 0b10000000)
	got := Leaf(5, tangle.ID{0xab}, []bool{false, true, false, false, false, false, false, false, false})
	if !bytes.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
}

// TestVectors pins the bytes: whoever writes another verifier can test it with these files.
func TestVectors(t *testing.T) {
	n := newNetwork(t, "harbour", 4)
	n.order(entry("first"))
	n.order(entry("a"), entry("b"), entry("c"))
	erased := n.parts(1, 2)
	erased.Entry = tangle.Entry{Kind: tangle.KindErased, Hash: erased.Entry.Hash}
	vector(t, "genesis.json", n.genesis.Bytes())
	for name, p := range map[string]Parts{"whole": n.parts(1, 1), "erased": erased} {
		file := n.build(p)
		vector(t, name+".receipt", file)
		r, err := Verify(n.genesis, file)
		if err != nil || !r.Verified {
			t.Errorf("%s: %v %v", name, err, failed(r))
		}
		report, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		vector(t, name+".report.json", append(report, '\n'))
	}
}

func vector(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s changed (-rewrite, and look at the difference):\n%q", name, got)
	}
}

func TestLengthsAreCheckedBeforeMemoryIsTaken(t *testing.T) {
	n := small(t)
	file := n.build(n.parts(1, 1))
	field := len(magic) + 32 + 1 + 2 + 16 // the length of the data
	for at := field; at < len(file)-4; at++ {
		bad := bytes.Clone(file)
		copy(bad[at:], "\xff\xff\xff\xff")
		if got := allocated(func() { _, _ = Verify(n.genesis, bad) }); got > 256<<10 {
			t.Errorf("a length of 4 GiB at %d made Verify take %d bytes", at, got)
		}
	}
}

func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func FuzzVerify(f *testing.F) {
	n := small(f)
	good := n.receipts()
	for file := range good {
		f.Add([]byte(file))
		f.Add([]byte(file[:len(file)/2]))
	}
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, b []byte) {
		if !good[string(b)] {
			refused(t, n.genesis, b, "%q", b)
		}
		if p, err := Parse(b); err == nil {
			if again, err := Build(p); err != nil || !bytes.Equal(again, b) {
				t.Errorf("accepted other bytes than its own (%v): %q", err, b)
			}
		}
	})
}

// receipts are all good ones of a network, by their bytes.
func (n *network) receipts() map[string]bool {
	good := map[string]bool{}
	for at, m := range n.messages {
		for i := range m.Entries {
			p := n.parts(at, i)
			good[string(n.build(p))] = true
			p.Entry = tangle.Entry{Kind: tangle.KindErased, Hash: p.Entry.Hash}
			good[string(n.build(p))] = true
		}
	}
	return good
}

func BenchmarkVerify(b *testing.B) {
	for _, size := range []int{1, 4, 100} {
		b.Run(fmt.Sprintf("validators=%d", size), func(b *testing.B) {
			n := newNetwork(b, "harbour", size)
			for at := range 100 {
				n.order(entry(fmt.Sprint(at)), entry("b"), entry(strings.Repeat("c", 300)))
			}
			file := n.build(n.parts(57, 2))
			b.ReportMetric(float64(len(file)), "bytes/receipt")
			b.ReportAllocs()
			for b.Loop() {
				if r, _ := Verify(n.genesis, file); !r.Verified {
					b.Fatal(failed(r))
				}
			}
		})
	}
}
