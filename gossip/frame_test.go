package gossip

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"runtime"
	"strings"
	"testing"

	"weft/tangle"
)

func frames() map[string]Frame {
	return map[string]Frame{
		"messages": {Messages: &Messages{Raw: []Raw{{Message: []byte{1, 2, 3}}, {Message: []byte{4}, Order: []byte{5, 6}}}}},
		"answer":   {Messages: &Messages{Upto: 9}},
		"want":     {Want: []tangle.ID{{1}, {2}}},
		"heads": {Heads: &Heads{
			Network: tangle.ID{7}, Epoch: 1, Round: 2, Commit: 3, Size: 4, State: tangle.Hash{5},
			Authors: []AuthorHead{{tangle.Member{1}, 10}, {tangle.Member{2}, 11}},
		}},
		"no authors": {Heads: &Heads{Network: tangle.ID{7}}},
		"commits":    {Range: &Range{From: 1, To: MaxRange}},
		"author":     {Range: &Range{Author: tangle.Member{3}, From: 5, To: 5}},
		"ask":        {Ask: &Ask{ID: 9, Plugin: "x", Body: []byte{1, 2}}},
		"reply":      {Reply: &Reply{ID: 9, Code: "busy"}},
	}
}

func TestFramesRoundTrip(t *testing.T) {
	for name, f := range frames() {
		b := f.Bytes()
		got, err := Parse(b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !bytes.Equal(got.Bytes(), b) {
			t.Errorf("%s: got\n%x\nwant\n%x", name, got.Bytes(), b)
		}
	}
}

// TestFrameVectors pins the layouts of docs/protocol.md, section 7.
func TestFrameVectors(t *testing.T) {
	zeros := func(n int) string { return strings.Repeat("00", n) }
	vectors := map[string]string{
		"messages": "01" + zeros(8) + "00000002" + "00000003010203" + "00000000" + "0000000104" + "000000020506",
		"answer":   "01" + "0000000000000009" + "00000000",
		"want":     "02" + "00000002" + "01" + zeros(31) + "02" + zeros(31),
		"heads": "03" + "07" + zeros(31) + "00000001" + "00000002" + "0000000000000003" + "0000000000000004" + "05" + zeros(31) +
			"00000002" + "01" + zeros(31) + "000000000000000a" + "02" + zeros(31) + "000000000000000b",
		"no authors": "03" + "07" + zeros(31) + zeros(24) + zeros(32) + "00000000",
		"commits":    "04" + zeros(32) + "0000000000000001" + "0000000000100000",
		"ask":        "05" + "0000000000000009" + "0178" + "0102",
		"reply":      "06" + "0000000000000009" + "0462757379",
		"author":     "04" + "03" + zeros(31) + "0000000000000005" + "0000000000000005",
	}
	for name, f := range frames() {
		if got := hex.EncodeToString(f.Bytes()); got != vectors[name] {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, vectors[name])
		}
	}
}

func TestFramesOutOfBounds(t *testing.T) {
	be := binary.BigEndian
	id, u64 := make([]byte, 32), func(n uint64) []byte { return be.AppendUint64(nil, n) }
	u32 := func(n uint32) []byte { return be.AppendUint32(nil, n) }
	join := func(kind frameKind, parts ...[]byte) []byte {
		return append([]byte{byte(kind)}, bytes.Join(parts, nil)...)
	}
	heads := join(kindHeads, id, u32(0), u32(0), u64(0), u64(0), id)
	for name, b := range map[string][]byte{
		"empty":                nil,
		"over the frame":       make([]byte, MaxFrame+1),
		"kind 0":               {0},
		"kind 7":               {7},
		"ask without a name":   {5, 0, 0, 0, 0, 0, 0, 0, 1},
		"name cut":             {5, 0, 0, 0, 0, 0, 0, 0, 1, 2, 'a'},
		"name too long":        append([]byte{6, 0, 0, 0, 0, 0, 0, 0, 1, MaxName + 1}, make([]byte, MaxName+1)...),
		"kind alone":           {byte(kindMessages)},
		"too many messages":    join(kindMessages, u64(0), u32(MaxMessages+1), make([]byte, 4*(MaxMessages+1))),
		"messages not there":   join(kindMessages, u64(0), u32(2), u32(0)),
		"message too large":    join(kindMessages, u64(0), u32(1), u32(tangle.MaxBytes+1), make([]byte, 100)),
		"message cut":          join(kindMessages, u64(0), u32(1), u32(2), []byte{1}),
		"trailing byte":        join(kindMessages, u64(0), u32(1), u32(1), []byte{1, 2}),
		"wants nothing":        join(kindWant, u32(0)),
		"wants too much":       join(kindWant, u32(MaxWant+1), make([]byte, 32*(MaxWant+1))),
		"wants more than here": join(kindWant, u32(2), id),
		"heads cut":            heads,
		"too many authors":     append(bytes.Clone(heads), append(u32(MaxAuthors+1), make([]byte, 40*(MaxAuthors+1))...)...),
		"an author twice":      append(bytes.Clone(heads), append(u32(2), make([]byte, 80)...)...),
		"range from 0":         join(kindRange, id, u64(0), u64(1)),
		"range backwards":      join(kindRange, id, u64(2), u64(1)),
		"range too long":       join(kindRange, id, u64(1), u64(1+MaxRange)),
		"range to the end":     join(kindRange, id, u64(1), u64(1<<64-1)),
	} {
		if _, err := Parse(b); !errors.Is(err, ErrFrame) {
			t.Errorf("%s: got %v, want %v", name, err, ErrFrame)
		}
	}
}

func FuzzParseFrame(f *testing.F) {
	for _, frame := range frames() {
		f.Add(frame.Bytes())
	}
	f.Add([]byte{byte(kindMessages), 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		frame, err := Parse(b)
		runtime.ReadMemStats(&after)
		// A message of no bytes costs 4 bytes in the frame and a slice header of 24 in memory: nothing costs more.
		if got, limit := after.TotalAlloc-before.TotalAlloc, uint64(8*len(b)+64<<10); got > limit {
			t.Errorf("%d bytes of frame made Parse allocate %d, limit %d", len(b), got, limit)
		}
		if err != nil {
			if !errors.Is(err, ErrFrame) {
				t.Errorf("error %v is not %v", err, ErrFrame)
			}
			return
		}
		if again := frame.Bytes(); !bytes.Equal(again, b) {
			t.Errorf("parsed and printed again:\n%x\nwant\n%x", again, b)
		}
	})
}
