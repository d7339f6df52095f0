package tangle

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/bits"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/iotaledger/hive.go/serializer/v2"
	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"
)

var rewrite = flag.Bool("rewrite", false, "write the vectors of testdata anew")

func codec() Codec { return Codec{Network: ID{0xee}, Limits: DefaultLimits()} }

func unsigned([]byte) (s Signature) { return s }

// sealed is a message that must pass.
func sealed(t testing.TB, c Codec, h Header, entries ...Entry) *Message {
	m, err := c.Seal(h, entries, unsigned)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func header(parents ...ID) Header {
	return Header{Author: Member{1}, Seq: 1, Time: 1_790_000_000_000, Parents: parents}
}

// TestVectors pins the bytes: whoever writes another codec can test it with these files.
func TestVectors(t *testing.T) {
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	sign := func(input []byte) Signature { return Signature(ed25519.Sign(key, input)) }
	h := Header{Epoch: 2, Author: Member(key.Public().(ed25519.PublicKey)), Seq: 3, Time: 1_790_000_000_123, Parents: []ID{{1}, {2, 1}}}
	w := h
	w.Witness = &Witness{
		Round: 77, Ancestors: []uint16{1}, Votes: []Vote{{Commit: 9, Text: Hash{8}, Signature: Signature{7}}, {Commit: 10}},
		Evidence: []Evidence{{ID{5}, ID{6}}},
	}
	one := []Entry{NewEntry(KindData, Salt{1, 2, 3}, []byte("hello"))}
	three := append(slices.Clone(one), NewEntry(2, Salt{}, nil), NewEntry(0x1234, Salt{0xff}, bytes.Repeat([]byte{0xab}, 20)))
	erasable := append(slices.Clone(one), NewErasable(32, []byte("lasts"), Salt{9}, []byte("goes")))
	for name, v := range map[string]struct {
		header  Header
		entries []Entry
	}{"one-entry": {h, one}, "three-entries": {h, three}, "erasable": {h, erasable}, "witness": {w, nil}} {
		m, err := codec().Seal(v.header, v.entries, sign)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !ed25519.Verify(m.Header.Author[:], SigningInput(m.ID), m.Signature[:]) {
			t.Errorf("%s: the signature does not verify", name)
		}
		got := fmt.Sprintf("network %s\nid %s\nroot %s\nheader %x\nbytes %x\n", codec().Network, m.ID, m.Header.BodyRoot, m.HeaderBytes(), m.Bytes())
		for i := range m.Entries {
			got += fmt.Sprintf("entry %s\n", m.Entries[i].Hash)
		}
		if name == "erasable" {
			left, err := codec().Erase(m, 1, "not_so")
			if err != nil {
				t.Fatal(err)
			}
			got += fmt.Sprintf("erased %x\n", left.Bytes())
		}
		file := filepath.Join("testdata", name+".txt")
		if *rewrite {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s changed (-rewrite, and look at the difference): got\n%s\nwant\n%s", name, got, want)
		}
	}
}

func drawID(r *rapid.T) (id ID) {
	copy(id[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(r, "id"))
	return id
}

func drawParents(r *rapid.T, most int) (ids []ID) {
	set := map[ID]bool{}
	for range rapid.IntRange(1, most).Draw(r, "parents") {
		set[drawID(r)] = true
	}
	return sortedIDs(set)
}

func drawWitness(r *rapid.T, parents int) *Witness {
	w := &Witness{Round: Round(rapid.Uint32Min(1).Draw(r, "round"))}
	for i := range parents {
		if rapid.Bool().Draw(r, "ancestor") {
			w.Ancestors = append(w.Ancestors, uint16(i))
		}
	}
	for range rapid.IntRange(0, 8).Draw(r, "votes") {
		w.Votes = append(w.Votes, Vote{Commit: rapid.Uint64().Draw(r, "commit"), Text: Hash(drawID(r)), Signature: Signature{1}})
	}
	for range rapid.IntRange(0, 4).Draw(r, "proofs") {
		w.Evidence = append(w.Evidence, Evidence{drawID(r), drawID(r)})
	}
	return w
}

func drawHeader(r *rapid.T) Header {
	h := Header{
		Epoch: Epoch(rapid.Uint32().Draw(r, "epoch")), Author: Member(drawID(r)), Seq: Seq(rapid.Uint64Min(1).Draw(r, "seq")),
		Time: Time(rapid.Uint64().Draw(r, "time")), Parents: drawParents(r, 8),
	}
	if rapid.Bool().Draw(r, "witness") {
		h.Witness = drawWitness(r, len(h.Parents))
	}
	return h
}

func drawMessage(r *rapid.T) *Message {
	h := drawHeader(r)
	var entries []Entry
	for h.Witness == nil && (len(entries) == 0 || rapid.IntRange(0, 3).Draw(r, "more") > 0) {
		kind := Kind(rapid.Uint16Max(0xfffd).Draw(r, "kind"))
		salt, lasting := drawID(r), rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(r, "lasting")
		entries = append(entries, NewErasable(kind, lasting, Salt(salt[:16]), rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(r, "data")))
	}
	m, err := codec().Seal(h, entries, func(input []byte) (s Signature) { copy(s[:], input); return s })
	if err != nil {
		r.Fatal(err)
	}
	return m
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		m := drawMessage(r)
		got, err := codec().Parse(bytes.Clone(m.Bytes()))
		if err != nil {
			r.Fatal(err)
		}
		if !reflect.DeepEqual(got, m) {
			r.Fatalf("got  %+v\nwant %+v", got, m)
		}
		again := appendHeader(nil, got.Header)
		again = append(again, got.Signature[:]...)
		for _, e := range got.Entries {
			again = appendEntry(again, e)
		}
		if !bytes.Equal(again, m.Bytes()) || len(appendHeader(nil, m.Header)) != headerSize(m.Header) {
			r.Fatalf("encoded again %x, want %x", again, m.Bytes())
		}
		h, id, err := codec().ParseHeader(m.HeaderBytes())
		if err != nil || id != m.ID || !reflect.DeepEqual(h, m.Header) {
			r.Fatalf("header alone: %v, %s, %+v", err, id, h)
		}
	})
}

func TestTheNetworkIsPartOfTheID(t *testing.T) {
	a, b := codec(), codec()
	b.Network[0]++
	m := sealed(t, a, header(ID{1}), NewEntry(1, Salt{}, nil))
	other, err := b.Parse(m.Bytes())
	if err != nil || other.ID == m.ID {
		t.Errorf("%v, %s in both networks", err, m.ID)
	}
}

func TestEveryFlippedBitChangesTheMessage(t *testing.T) {
	for _, m := range samples(t) {
		for at := range 8 * m.Size() {
			b := bytes.Clone(m.Bytes())
			b[at/8] ^= 1 << (at % 8)
			got, err := codec().Parse(b)
			if err == nil && got.ID == m.ID && got.Signature == m.Signature {
				t.Errorf("bit %d of %d flipped: the same message", at, 8*m.Size())
			}
			if err == nil && !bytes.Equal(got.Bytes(), b) {
				t.Errorf("bit %d of %d flipped: other bytes", at, 8*m.Size())
			}
		}
	}
}

// samples are a message with one entry, one with three, and a witness.
func samples(t testing.TB) []*Message {
	entry := func(s string) Entry { return NewEntry(KindData, Salt{1}, []byte(s)) }
	w := header(ID{1}, ID{2}, ID{3})
	w.Witness = &Witness{Round: 5, Ancestors: []uint16{0, 2}, Votes: []Vote{{Commit: 4}}, Evidence: []Evidence{{ID{1}, ID{2}}}}
	return []*Message{
		sealed(t, codec(), header(ID{1}), entry("a")),
		sealed(t, codec(), header(ID{1}, ID{2}), entry("a"), entry(""), entry("ccc")),
		sealed(t, codec(), w),
	}
}

func TestOtherLengthsAreRefused(t *testing.T) {
	for _, m := range samples(t) {
		for n := range m.Size() {
			if _, err := codec().Parse(m.Bytes()[:n]); !errors.Is(err, ErrMalformed) {
				t.Errorf("%d bytes of %d: %v, want ErrMalformed", n, m.Size(), err)
			}
		}
		if _, err := codec().Parse(append(bytes.Clone(m.Bytes()), 0)); !errors.Is(err, ErrMalformed) {
			t.Errorf("a byte more: %v, want ErrMalformed", err)
		}
		if _, _, err := codec().ParseHeader(append(bytes.Clone(m.HeaderBytes()), 0)); !errors.Is(err, ErrMalformed) {
			t.Errorf("a byte more after a header: %v, want ErrMalformed", err)
		}
	}
}

// TestRules breaks one rule each, by a change of a header that Seal would write as it is told.
func TestRules(t *testing.T) {
	ids := func(n int) (ids []ID) {
		for i := range n {
			ids = append(ids, ID{byte(i >> 8), byte(i)})
		}
		return ids
	}
	witness := func(change func(*Header)) func(*Header) {
		return func(h *Header) {
			h.Parents, h.Witness = ids(4), &Witness{Round: 1, Ancestors: []uint16{0}}
			change(h)
		}
	}
	limits := DefaultLimits()
	for name, c := range map[string]struct {
		change func(*Header)
		fault  string // empty: allowed
	}{
		"the usual":                {func(h *Header) {}, ""},
		"seq 0":                    {func(h *Header) { h.Seq = 0 }, "seq 0"},
		"no parents":               {func(h *Header) { h.Parents = nil }, "no parents"},
		"most parents":             {func(h *Header) { h.Parents = ids(limits.MaxParents) }, ""},
		"too many parents":         {func(h *Header) { h.Parents = ids(limits.MaxParents + 1) }, "9 parents, limit 8"},
		"unsorted parents":         {func(h *Header) { h.Parents = []ID{{2}, {1}} }, "parents not ascending"},
		"a parent twice":           {func(h *Header) { h.Parents = []ID{{1}, {1}} }, "parents not ascending"},
		"a witness":                {witness(func(h *Header) {}), ""},
		"a witness of round 0":     {witness(func(h *Header) { h.Witness.Round = 0 }), "round 0"},
		"a witness, most parents":  {witness(func(h *Header) { h.Parents = ids(limits.MaxTips + MaxValidators) }), ""},
		"a witness, more parents":  {witness(func(h *Header) { h.Parents = ids(limits.MaxTips + MaxValidators + 1) }), "513 parents, limit 512"},
		"no ancestors":             {witness(func(h *Header) { h.Witness.Ancestors = nil }), ""},
		"ancestors all":            {witness(func(h *Header) { h.Witness.Ancestors = []uint16{0, 1, 2, 3} }), ""},
		"ancestor out of range":    {witness(func(h *Header) { h.Witness.Ancestors = []uint16{4} }), "out of order or range"},
		"ancestors unsorted":       {witness(func(h *Header) { h.Witness.Ancestors = []uint16{1, 0} }), "out of order or range"},
		"an ancestor twice":        {witness(func(h *Header) { h.Witness.Ancestors = []uint16{1, 1} }), "out of order or range"},
		"more ancestors than that": {witness(func(h *Header) { h.Witness.Ancestors = []uint16{0, 1, 2, 3, 4} }), "5 ancestors, limit 4"},
		"most votes":               {witness(func(h *Header) { h.Witness.Votes = make([]Vote, limits.MaxVotes) }), ""},
		"too many votes":           {witness(func(h *Header) { h.Witness.Votes = make([]Vote, limits.MaxVotes+1) }), "9 votes, limit 8"},
		"most evidence":            {witness(func(h *Header) { h.Witness.Evidence = make([]Evidence, limits.MaxEvidence) }), ""},
		"too much evidence":        {witness(func(h *Header) { h.Witness.Evidence = make([]Evidence, limits.MaxEvidence+1) }), "5 proofs of equivocation, limit 4"},
	} {
		h := header(ID{1})
		c.change(&h)
		var entries []Entry
		if h.Witness == nil {
			entries = []Entry{NewEntry(1, Salt{}, nil)}
		}
		_, err := codec().Seal(h, entries, unsigned)
		expect(t, name, err, c.fault)
	}
}

func expect(t *testing.T, name string, err error, fault string) {
	t.Helper()
	switch {
	case fault == "" && err != nil:
		t.Errorf("%s: %v", name, err)
	case fault != "" && (err == nil || !strings.Contains(err.Error(), fault)):
		t.Errorf("%s: %v, want %q", name, err, fault)
	}
}

// TestForgedFields writes fields that Seal never would.
func TestForgedFields(t *testing.T) {
	one, witness := samples(t)[0], samples(t)[2]
	const seq, count, root, entries, bodyLen = 38, 54, 88, 120, 122 // places in a header with one parent
	be := binary.BigEndian
	for name, c := range map[string]struct {
		of     *Message
		change func(b []byte) []byte
		fault  string
	}{
		"version 0":            {one, func(b []byte) []byte { b[0] = 0; return b }, "version 0"},
		"version 2":            {one, func(b []byte) []byte { b[0] = 2; return b }, "version 2"},
		"class 2":              {one, func(b []byte) []byte { b[1] = 2; return b }, "class 2"},
		"seq 0":                {one, func(b []byte) []byte { be.PutUint64(b[seq:], 0); return b }, "seq 0"},
		"a great many parents": {one, func(b []byte) []byte { be.PutUint16(b[count:], 0xffff); return b }, "65535 parents"},
		"a body root":          {one, func(b []byte) []byte { b[root]++; return b }, "does not match its root"},
		"no entries":           {one, func(b []byte) []byte { be.PutUint16(b[entries:], 0); return b }, "no entries"},
		"many entries":         {one, func(b []byte) []byte { be.PutUint16(b[entries:], 1025); return b }, "1025 entries, limit 1024"},
		"two entries":          {one, func(b []byte) []byte { be.PutUint16(b[entries:], 2); return b }, "do not fit"},
		"no body":              {one, func(b []byte) []byte { be.PutUint32(b[bodyLen:], 0); return b }, "do not fit into 0 bytes"},
		"a short body":         {one, func(b []byte) []byte { be.PutUint32(b[bodyLen:], 22); return b }, "header says 22"},
		"a long body":          {one, func(b []byte) []byte { be.PutUint32(b[bodyLen:], 24); return b }, "header says 24"},
		"a huge body":          {one, func(b []byte) []byte { be.PutUint32(b[bodyLen:], 1<<31); return b }, "limit 65536"},
		"a huge entry":         {one, func(b []byte) []byte { be.PutUint32(b[len(b)-5:], 1<<32-1); return b }, "limit 32768"},
		"a longer entry":       {one, func(b []byte) []byte { be.PutUint32(b[len(b)-5:], 2); return b }, "ends at byte"},
		"other data":           {one, func(b []byte) []byte { b[len(b)-1]++; return b }, "does not match its root"},
		"other salt":           {one, func(b []byte) []byte { b[len(b)-6]++; return b }, "does not match its root"},
		"a witness's entry":    {witness, func(b []byte) []byte { be.PutUint16(b[entries+64:], 1); return b }, "witness with entries"},
		"a witness's body":     {witness, func(b []byte) []byte { be.PutUint32(b[bodyLen+64:], 1); return b }, "witness with entries"},
	} {
		_, err := codec().Parse(c.change(bytes.Clone(c.of.Bytes())))
		expect(t, name, err, c.fault)
	}
}

func TestSizes(t *testing.T) {
	c := codec()
	limits := c.Limits
	entry := func(n int) Entry { return NewEntry(1, Salt{}, make([]byte, n)) }
	seal := func(entries ...Entry) error {
		_, err := c.Seal(header(ID{1}), entries, unsigned)
		return err
	}
	many := make([]Entry, limits.MaxEntries+1)
	for i := range many {
		many[i] = entry(0)
	}
	expect(t, "the largest entry", seal(entry(limits.MaxEntryBytes)), "")
	expect(t, "a larger entry", seal(entry(limits.MaxEntryBytes+1)), "entry of 32769 bytes, limit 32768")
	expect(t, "most entries", seal(many[1:]...), "")
	expect(t, "too many entries", seal(many...), "too large")
	expect(t, "no entries", seal(), "no entries")

	room := limits.MaxMessageBytes - headerFixed - 32 - 64 - 2*entryOverhead - limits.MaxEntryBytes
	expect(t, "the largest message", seal(entry(limits.MaxEntryBytes), entry(room)), "")
	err := seal(entry(limits.MaxEntryBytes), entry(room+1))
	if !errors.Is(err, ErrTooLarge) {
		t.Errorf("a larger message: %v, want ErrTooLarge", err)
	}
	if _, err := c.Parse(make([]byte, limits.MaxMessageBytes+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("more bytes than a message: %v, want ErrTooLarge", err)
	}
}

func TestValidate(t *testing.T) {
	limits := DefaultLimits()
	ordinary, witness := samples(t)[0], samples(t)[2]
	expect(t, "member", ordinary.Validate(limits, true, false, 4), "")
	expect(t, "stranger", ordinary.Validate(limits, false, false, 4), "not a member")
	expect(t, "validator", witness.Validate(limits, true, true, 4), "")
	expect(t, "a member's witness", witness.Validate(limits, true, false, 4), "not a validator")
	limits.MaxTips = 2
	expect(t, "as many parents as validators and tips", witness.Validate(limits, true, true, 1), "")
	limits.MaxTips = 1
	expect(t, "more parents", witness.Validate(limits, true, true, 1), "3 parents, limit 2")
}

func TestEraseKeepsEverythingElse(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		m := drawMessage(r)
		if len(m.Entries) == 0 {
			return
		}
		left, gone := m, map[int]bool{}
		for range rapid.IntRange(1, len(m.Entries)).Draw(r, "erasures") {
			i := rapid.IntRange(0, len(m.Entries)-1).Draw(r, "entry")
			less, err := codec().Erase(left, i, fmt.Sprint("code", i))
			if m.Entries[i].Lasting == nil {
				if !errors.Is(err, ErrLasts) {
					r.Fatalf("erased an entry without a lasting part: %v", err)
				}
				continue
			}
			if err != nil {
				r.Fatal(err)
			}
			left, gone[i] = less, true
		}
		if left.ID != m.ID || left.Signature != m.Signature || !bytes.Equal(left.HeaderBytes(), m.HeaderBytes()) {
			r.Fatalf("ID %s, want %s", left.ID, m.ID)
		}
		for i, e := range left.Entries {
			switch want := m.Entries[i]; {
			case gone[i] && (!e.Erased() || e.Hash != want.Hash || e.Data != nil || e.Salt != Salt{} || e.KindLeft() != want.Kind):
				r.Fatalf("erased entry %d: %+v", i, e)
			case gone[i] && (!bytes.Equal(e.Left.Lasting, want.Lasting) || e.Left.Code != fmt.Sprint("code", i)):
				r.Fatalf("left of entry %d: %+v", i, e.Left)
			case gone[i] && (e.Left.Hash() != want.Hash || e.Remains() != e.Left || want.Remains().Rest != e.Left.Rest):
				r.Fatalf("entry %d leaves %+v, what is erased is %+v", i, want.Remains(), e.Left)
			case (want.Remains() == nil) != (want.Lasting == nil):
				r.Fatalf("entry %d leaves %+v", i, want.Remains())
			case !gone[i] && !reflect.DeepEqual(e, want):
				r.Fatalf("entry %d: %+v, want %+v", i, e, want)
			case !slices.Equal(left.EntryPath(i), m.EntryPath(i)):
				r.Fatalf("path of entry %d changed", i)
			}
		}
		if _, err := codec().Parse(left.Bytes()); errors.Is(err, ErrErased) != (len(gone) > 0) || HasErased(left.Bytes()) != (len(gone) > 0) {
			r.Fatalf("Parse: %v, %d erased, HasErased says %t", err, len(gone), HasErased(left.Bytes()))
		}
		if stored, err := codec().ParseLeft(left.Bytes()); err != nil || !reflect.DeepEqual(stored, left) {
			r.Fatalf("ParseLeft: %v, %+v", err, stored)
		}
	})
}

func TestEraseLeavesNoData(t *testing.T) {
	secret := []byte("a secret of some length")
	m := sealed(t, codec(), header(ID{1}), NewEntry(1, Salt{1}, []byte("stays")), NewErasable(1, []byte("lasts"), Salt{2}, secret))
	left, err := codec().Erase(m, 1, "")
	if err != nil || bytes.Contains(left.Bytes(), secret) || !bytes.Contains(left.Bytes(), []byte("stays")) {
		t.Errorf("%v: %q", err, left.Bytes())
	}
	for _, i := range []int{-1, 2} {
		if _, err := codec().Erase(m, i, ""); err == nil {
			t.Errorf("erased entry %d of 2", i)
		}
	}
	forged := bytes.Clone(left.Bytes())
	forged[len(forged)-2]++ // the hash that stands for salt and data
	if _, err := codec().ParseLeft(forged); !errors.Is(err, ErrMalformed) {
		t.Errorf("a forged hash: %v, want ErrMalformed", err)
	}
}

func TestMerkleAgainstTlog(t *testing.T) {
	for n := 1; n <= 70; n++ {
		leaves := make([]Hash, n)
		var stored []tlog.Hash
		reader := tlog.HashReaderFunc(func(at []int64) (hashes []tlog.Hash, err error) {
			for _, i := range at {
				hashes = append(hashes, stored[i])
			}
			return hashes, nil
		})
		for i := range leaves {
			leaves[i] = Hash{byte(i), byte(n)}
			more, err := tlog.StoredHashes(int64(i), leaves[i][:], reader)
			if err != nil {
				t.Fatal(err)
			}
			stored = append(stored, more...)
		}
		want, err := tlog.TreeHash(int64(n), reader)
		if err != nil {
			t.Fatal(err)
		}
		root := MerkleRoot(leaves)
		if root != Hash(want) {
			t.Fatalf("%d leaves: root %s, tlog %x", n, root, want)
		}
		for i := range leaves {
			var path tlog.RecordProof
			for _, h := range MerklePath(leaves, i) {
				path = append(path, tlog.Hash(h))
			}
			if err := tlog.CheckRecord(path, int64(n), tlog.Hash(root), int64(i), tlog.RecordHash(leaves[i][:])); err != nil {
				t.Errorf("%d leaves, path of %d: %v", n, i, err)
			}
		}
	}
	if got := MerkleRoot(nil).String(); got != "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" {
		t.Errorf("root of nothing: %s", got)
	}
}

func TestLengthsAreCheckedBeforeMemoryIsTaken(t *testing.T) {
	for _, m := range samples(t) {
		for at := range m.Size() - 1 {
			for _, forged := range []string{"\xff\xff", "\xff\xff\xff\xff"} {
				b := bytes.Clone(m.Bytes())
				copy(b[at:], forged)
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				_, _ = codec().Parse(b)
				runtime.ReadMemStats(&after)
				if got := after.TotalAlloc - before.TotalAlloc; got > 64<<10 {
					t.Errorf("%x at %d of %d bytes made Parse take %d bytes", forged, at, m.Size(), got)
				}
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, m := range samples(f) {
		f.Add(m.Bytes())
	}
	erasable := sealed(f, codec(), header(ID{1}), NewErasable(1, []byte("lasts"), Salt{}, []byte("goes")))
	erased, err := codec().Erase(erasable, 0, "not_so")
	if err != nil {
		f.Fatal(err)
	}
	for _, m := range []*Message{erasable, erased} {
		f.Add(m.Bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := codec().ParseLeft(b)
		if err != nil {
			return
		}
		again := appendHeader(nil, m.Header)
		if !bytes.Equal(again, m.HeaderBytes()) {
			t.Errorf("header %x, encoded again %x", m.HeaderBytes(), again)
		}
		again = append(again, m.Signature[:]...)
		for _, e := range m.Entries {
			again = appendEntry(again, e)
		}
		if HasErased(b) != m.HasErased() {
			t.Errorf("HasErased %t of %x", HasErased(b), b)
		}
		if !bytes.Equal(again, b) || !bytes.Equal(m.Bytes(), b) {
			t.Errorf("message %x, encoded again %x", b, again)
		}
		_, err = codec().Parse(b)
		if erased := slices.ContainsFunc(m.Entries, Entry.Erased); erased != errors.Is(err, ErrErased) {
			t.Errorf("erased: %v, Parse says %v", erased, err)
		}
	})
}

// fixed are the header's fields of fixed size and the parents, as a second codec reads them.
type fixed struct {
	version, class         byte
	epoch, bodyLen         uint32
	seq, time              uint64
	author, root, parents  []byte
	parentCount, entryCont uint16
}

// readFixed reads them with hive.go's serializer. Its numbers are little-endian, so each is turned around.
func readFixed(b []byte) (f fixed, n int, err error) {
	fail := func(err error) error { return err }
	d := serializer.NewDeserializer(b).
		ReadByte(&f.version, fail).ReadByte(&f.class, fail).ReadNum(&f.epoch, fail).ReadBytes(&f.author, 32, fail).
		ReadNum(&f.seq, fail).ReadNum(&f.time, fail).ReadNum(&f.parentCount, fail)
	f.epoch, f.seq, f.time = bits.ReverseBytes32(f.epoch), bits.ReverseBytes64(f.seq), bits.ReverseBytes64(f.time)
	f.parentCount = bits.ReverseBytes16(f.parentCount)
	d = d.ReadBytes(&f.parents, 32*int(f.parentCount), fail).ReadBytes(&f.root, 32, fail).ReadNum(&f.entryCont, fail).ReadNum(&f.bodyLen, fail)
	f.entryCont, f.bodyLen = bits.ReverseBytes16(f.entryCont), bits.ReverseBytes32(f.bodyLen)
	n, err = d.Done()
	return f, n, err
}

func FuzzDifferentialHeader(f *testing.F) {
	for _, m := range samples(f) {
		f.Add(m.Bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := codec().ParseLeft(b)
		if err != nil {
			return
		}
		got, n, err := readFixed(b)
		if err != nil || n != headerFixed+len(got.parents) {
			t.Fatalf("the second codec read %d bytes: %v", n, err)
		}
		h := m.Header
		want := fixed{
			version: Version, class: byte(h.Class), epoch: uint32(h.Epoch), author: h.Author[:], seq: uint64(h.Seq), time: uint64(h.Time),
			parentCount: uint16(len(h.Parents)), root: h.BodyRoot[:], entryCont: h.EntryCount, bodyLen: h.BodyLen,
		}
		for i := range h.Parents {
			want.parents = append(want.parents, h.Parents[i][:]...)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("the second codec read\n%+v, want\n%+v", got, want)
		}
	})
}

func TestDifferentialHeader(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		m := drawMessage(r)
		got, _, err := readFixed(m.Bytes())
		if err != nil || got.time != uint64(m.Header.Time) || got.seq != uint64(m.Header.Seq) || int(got.parentCount) != len(m.Header.Parents) ||
			!bytes.Equal(got.root, m.Header.BodyRoot[:]) || got.bodyLen != m.Header.BodyLen || int(got.entryCont) != len(m.Entries) {
			r.Fatalf("%v: the second codec read %+v of %+v", err, got, m.Header)
		}
	})
}

func BenchmarkMessage(b *testing.B) {
	for name, c := range map[string]struct{ entries, bytes int }{"1x300": {1, 300}, "64x250": {64, 250}} {
		entries := make([]Entry, c.entries)
		for i := range entries {
			entries[i] = NewEntry(KindData, Salt{byte(i)}, make([]byte, c.bytes))
		}
		h := header(ID{1}, ID{2}, ID{3}, ID{4})
		m := sealed(b, codec(), h, entries...)
		b.Run("encode/"+name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(m.Size()))
			buffer := make([]byte, 0, m.Size())
			for b.Loop() {
				buffer = appendHeader(buffer[:0], m.Header)
				buffer = append(buffer, m.Signature[:]...)
				for i := range m.Entries {
					buffer = appendEntry(buffer, m.Entries[i])
				}
			}
		})
		b.Run("seal/"+name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(m.Size()))
			for b.Loop() {
				_, _ = codec().Seal(h, entries, unsigned)
			}
		})
		b.Run("parse/"+name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(m.Size()))
			for b.Loop() {
				_, _ = codec().Parse(m.Bytes())
			}
		})
	}
}
