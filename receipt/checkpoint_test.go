package receipt

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"pgregory.net/rapid"

	"weft/config/genesis"
	"weft/tangle"
)

func TestCheckpointText(t *testing.T) {
	c := Checkpoint{
		Network: "harbour", Size: 12, Root: tangle.Hash{1}, Commit: 3, Time: 1_790_000_000_000, Members: tangle.Hash{2},
		States: []State{{"did", tangle.Hash{3}, tangle.Hash{4}}, {"channels", tangle.Hash{5}, tangle.Hash{}}},
	}
	want := "weft/harbour\n12\nAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\nepoch 0\ncommit 3\ntime 1790000000000\n" +
		"members 02" + strings.Repeat("0", 62) + "\n" +
		"state did 03" + strings.Repeat("0", 62) + " 04" + strings.Repeat("0", 62) + "\n" +
		"state channels 05" + strings.Repeat("0", 62) + " " + strings.Repeat("0", 64) + "\n"
	if got := string(c.Text()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestCheckpointRoundTrip(t *testing.T) {
	name := rapid.StringMatching("[a-z0-9-]{1,32}")
	rapid.Check(t, func(r *rapid.T) {
		c := Checkpoint{
			Network: name.Draw(r, "network"), Size: rapid.Uint64Max(1<<63-1).Draw(r, "size"), Root: hash(r),
			Epoch: tangle.Epoch(rapid.Uint32().Draw(r, "epoch")), Commit: rapid.Uint64Max(1<<63-1).Draw(r, "commit"),
			Time: tangle.Time(rapid.Uint64Max(1<<63-1).Draw(r, "time")), Members: hash(r),
		}
		for range rapid.IntRange(0, 4).Draw(r, "states") {
			c.States = append(c.States, State{name.Draw(r, "plugin"), hash(r), hash(r)})
		}
		got, err := ParseCheckpoint(c.Text())
		if err != nil || !bytes.Equal(got.Text(), c.Text()) || fmt.Sprint(got) != fmt.Sprint(c) {
			r.Fatalf("%v\ngot  %+v\nwant %+v", err, got, c)
		}
	})
}

func hash(r *rapid.T) (h tangle.Hash) {
	copy(h[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(r, "hash"))
	return h
}

func TestCheckpointHasOneForm(t *testing.T) {
	good := string(small(t).checkpoint().Text())
	for _, c := range []struct{ old, new string }{
		{"\n2\n", "\n02\n"}, {"\n2\n", "\n+2\n"}, {"\n2\n", "\n 2\n"}, {"\n2\n", "\n-2\n"}, {"\n2\n", "\n9223372036854775808\n"}, {"\n2\n", "\n\n"},
		{"weft/harbour", "harbour"}, {"weft/harbour", "weft/weft/harbour"}, {"weft/harbour", "weft/"}, {"weft/harbour", "weft/har bour"},
		{"weft/harbour", "weft/harbour\x00"}, {"weft/harbour", "weft/\xff"},
		{"=\n", "\n"}, {"=\n", "==\n"}, {"=\n", "=\r\n"},
		{"epoch 0", "epoch 00"}, {"epoch 0", "epoch  0"}, {"epoch 0", "Epoch 0"}, {"epoch 0", "epoch 4294967296"}, {"epoch 0", "epoch x"},
		{"commit 7", "commit 0x7"}, {"commit 7\n", ""}, {"commit 7\n", "commit 7\ncommit 7\n"}, {"time ", "time 0"},
		{"members 01", "members 0A"}, {"members 01", "members 1"}, {"members 01", "member 01"},
		{"state data", "state da+ta"}, {"state data", "state  data"}, {"state data", "state "}, {"state data", "stat data"}, {"state data", "state\tdata"},
		{"state data 02", "state data 0g"}, {"state data", "state data data"}, {"weft/", "\nweft/"},
	} {
		bad := strings.Replace(good, c.old, c.new, 1)
		if bad == good {
			t.Fatalf("%q does not change the text", c.old)
		}
		if _, err := ParseCheckpoint([]byte(bad)); !errors.Is(err, ErrCheckpoint) {
			t.Errorf("%q for %q: %v, want ErrCheckpoint", c.new, c.old, err)
		}
	}
	line := strings.SplitAfter(good, "\n")[7]
	for _, bad := range []string{"", "\n", good + "\n", strings.TrimSuffix(good, "\n"), good + "more\n", good + strings.Repeat(line, 100)} {
		if _, err := ParseCheckpoint([]byte(bad)); !errors.Is(err, ErrCheckpoint) {
			t.Errorf("%q: %v, want ErrCheckpoint", bad, err)
		}
	}
	root := strings.Split(good, "\n")[2]
	for _, last := range "BCDEFGH" { // the last digit of base64 holds two bits that decode to nothing
		bad := strings.Replace(good, root, root[:42]+string(last)+"=", 1)
		if c, err := ParseCheckpoint([]byte(bad)); err == nil && !bytes.Equal(c.Text(), []byte(bad)) {
			t.Errorf("accepted the root with %q at its end", last)
		}
	}
}

func TestNotesNeedAQuorum(t *testing.T) {
	for _, size := range []int{1, 4, 5, 7, 150, tangle.MaxValidators} {
		n := newNetwork(t, "harbour", size)
		n.order(entry("x"))
		c := n.checkpoint()
		got, signers, err := OpenNote(n.genesis, n.note(c, n.quorum()...))
		if err != nil || !slices.Equal(signers, n.quorum()) || !bytes.Equal(got.Text(), c.Text()) {
			t.Errorf("%d validators, a quorum: %v, %d signers", size, err, len(signers))
		}
		if _, _, err := OpenNote(n.genesis, n.note(c, n.genesis.Committee()...)); err != nil {
			t.Errorf("%d validators, all of them: %v", size, err)
		}
		got, signers, err = OpenNote(n.genesis, n.note(c, n.quorum()[1:]...))
		if !errors.Is(err, ErrQuorum) || len(signers) != len(n.quorum())-1 || got.Size != c.Size {
			t.Errorf("%d validators, one less than a quorum: %v, %d signers", size, err, len(signers))
		}
	}
}

func TestANoteIsAFunctionOfItsSigners(t *testing.T) {
	n := newNetwork(t, "harbour", 7)
	n.order(entry("x"))
	text := n.checkpoint().Text()
	sigs := n.sign(text, n.quorum()...)
	want := Note(n.genesis, text, sigs)
	for range 20 {
		if got := Note(n.genesis, text, maps.Clone(sigs)); !bytes.Equal(got, want) {
			t.Fatal("one set of signers, two notes")
		}
	}
}

func TestOthersReadOurNotes(t *testing.T) {
	n := newNetwork(t, "harbour", 4)
	n.genesis.Members[1].Name = "straße.example"
	n.order(entry("x"))
	var known []note.Verifier
	for _, m := range n.genesis.Committee() {
		v, err := note.NewVerifier(VerifierKey(n.genesis, m))
		if err != nil {
			t.Fatal(err)
		}
		known = append(known, v)
	}
	opened, err := note.Open(n.note(n.checkpoint(), n.quorum()...), note.VerifierList(known...))
	if err != nil {
		t.Fatal(err)
	}
	if len(opened.Sigs) != 3 || opened.Text != string(n.checkpoint().Text()) {
		t.Errorf("%d signatures over %q", len(opened.Sigs), opened.Text)
	}
}

func TestNotesHaveOneForm(t *testing.T) {
	n := newNetwork(t, "harbour", 4)
	n.order(entry("x"))
	c, committee := n.checkpoint(), n.genesis.Committee()
	text := c.Text()
	line := func(m tangle.Member) string { return string(signatureLine(n.genesis, m, SignText(n.keys[m], text))) }
	head, all := string(text)+"\n", []string{line(committee[0]), line(committee[1]), line(committee[2])}
	if _, _, err := OpenNote(n.genesis, []byte(head+strings.Join(all, ""))); err != nil {
		t.Fatal(err)
	}
	issuer := line(n.author())
	forged := string(signatureLine(n.genesis, committee[3], SignText(n.keys[committee[2]], text)))
	renamed := strings.Replace(all[2], "m2", "m3", 1)
	for name, bad := range map[string]string{
		"twice one signer":            head + all[0] + all[0] + all[1],
		"twice one signer, last":      head + all[0] + all[1] + all[1],
		"a quorum, one of them twice": head + all[0] + all[1] + all[2] + all[2],
		"reordered":                   head + all[1] + all[0] + all[2],
		"not a validator":             head + all[0] + all[1] + issuer,
		"a quorum and a stranger":     head + strings.Join(all, "") + issuer,
		"a forged one":                head + all[0] + all[1] + forged,
		"a quorum and a forged one":   head + strings.Join(all, "") + forged,
		"another's name":              head + all[0] + all[1] + renamed,
		"none":                        head,
		"an empty line":               head + "\n" + strings.Join(all, ""),
		"more at the end":             head + strings.Join(all, "") + "\n",
		"no line end":                 head + strings.TrimSuffix(strings.Join(all, ""), "\n"),
		"text alone":                  string(text),
		"nothing":                     "",
		"hyphen for em dash":          head + strings.ReplaceAll(strings.Join(all, ""), "\u2014", "-"),
		"too long":                    head + strings.Repeat(all[0], 1000),
	} {
		if _, _, err := OpenNote(n.genesis, []byte(bad)); err == nil {
			t.Errorf("accepted: %s", name)
		}
	}
}

func TestEveryDigitOfASignatureCounts(t *testing.T) {
	n := newNetwork(t, "harbour", 1)
	n.order(entry("x"))
	good := n.note(n.checkpoint(), n.quorum()...)
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/= \n"
	from := bytes.LastIndexByte(good, ' ')
	for at := from; at < len(good); at++ {
		for _, d := range []byte(digits) {
			if good[at] == d {
				continue
			}
			bad := bytes.Clone(good)
			bad[at] = d
			if _, _, err := OpenNote(n.genesis, bad); err == nil {
				t.Errorf("accepted %q for %q at %d", d, good[at], at)
			}
		}
	}
	raw, err := base64.StdEncoding.DecodeString(string(good[from+1 : len(good)-1]))
	if err != nil || len(raw) != 68 {
		t.Fatalf("%v, %d bytes", err, len(raw))
	}
}

func TestNotesOfOthersAreRefused(t *testing.T) {
	n := newNetwork(t, "harbour", 4)
	n.order(entry("x"))
	for name, change := range map[string]func(*Checkpoint){
		"another network": func(c *Checkpoint) { c.Network = "river" },
		"another epoch":   func(c *Checkpoint) { c.Epoch = 1 },
	} {
		c := n.checkpoint()
		change(&c)
		if _, _, err := OpenNote(n.genesis, n.note(c, n.quorum()...)); !errors.Is(err, ErrCheckpoint) {
			t.Errorf("%s: %v, want ErrCheckpoint", name, err)
		}
	}
	other := newNetwork(t, "harbour", 4)
	other.genesis.Members[0], other.genesis.Members[4] = other.genesis.Members[4], other.genesis.Members[0]
	other.genesis.Members[4].Roles, other.genesis.Members[0].Roles = other.genesis.Members[0].Roles, other.genesis.Members[4].Roles
	if _, _, err := OpenNote(other.genesis, n.note(n.checkpoint(), n.quorum()...)); !errors.Is(err, ErrQuorum) {
		t.Errorf("another committee: %v, want ErrQuorum", err)
	}
}

func TestTheLargestNoteFits(t *testing.T) {
	n := newNetwork(t, strings.Repeat("n", genesis.MaxNetworkBytes), tangle.MaxValidators)
	for i := range n.genesis.Members {
		n.genesis.Members[i].Name = fmt.Sprintf("%0*d", genesis.MaxNameBytes, i)
	}
	n.order(entry("x"))
	c := n.checkpoint()
	c.Size, c.Commit, c.Time = 1<<63-1, 1<<63-1, 1<<63-1
	for range genesis.MaxPlugins {
		c.States = append(c.States, State{Plugin: strings.Repeat("p", genesis.MaxPluginBytes)})
	}
	signed := n.note(c, n.genesis.Committee()...)
	if _, _, err := OpenNote(n.genesis, signed); err != nil {
		t.Errorf("%d bytes: %v", len(signed), err)
	}
}

func FuzzParseCheckpoint(f *testing.F) {
	f.Add(small(f).checkpoint().Text())
	f.Add([]byte("weft/a\n1\n\nepoch 0\ncommit 0\ntime 0\nmembers \n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseCheckpoint(b)
		if err == nil && !bytes.Equal(c.Text(), b) {
			t.Errorf("accepted other bytes than its own: %q", b)
		}
	})
}
