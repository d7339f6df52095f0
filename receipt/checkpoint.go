// Package receipt is the offline proof of an entry: the checkpoint that a committee signs, the leaf of the log, the file
// that ties an entry to both, and the check of all of it with the genesis file alone.
//
// It needs no node, no network and no library beyond the standard one and golang.org/x/mod, and it keeps no state.
package receipt

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"weft/config/genesis"
	"weft/tangle"
)

// Checkpoint is what the committee signs: the size and root of the RFC 6962 log of ordered messages, and the state that
// follows from it.
type Checkpoint struct {
	Network string // name; the origin is "weft/<network>"
	Size    uint64
	Root    tangle.Hash
	Epoch   tangle.Epoch
	Commit  uint64
	Time    tangle.Time // commit time
	Members tangle.Hash // digest of the member set
	States  []State     // ledger plugins in the order of genesis
}

// State is a ledger plugin's digest: the hash chain over its entries and writes, and the root of its map, if it has one.
type State struct {
	Plugin string
	Digest tangle.Hash
	Map    tangle.Hash
}

// Errors of checkpoints and notes.
var (
	ErrCheckpoint = errors.New("malformed checkpoint")
	ErrQuorum     = errors.New("checkpoint lacks signatures of a quorum")
)

const maxNote = 64 << 10 // bytes of a signed note

// Text is the note's text: a C2SP tlog-checkpoint whose extension lines carry the rest.
//
//	weft/<network>
//	<size>
//	<root, base64>
//	epoch <n>
//	commit <n>
//	time <ms since 1970>
//	members <hex>
//	state <plugin> <digest, hex> <map root, hex>
func (c Checkpoint) Text() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "weft/%s\n%d\n%s\n", c.Network, c.Size, base64.StdEncoding.EncodeToString(c.Root[:]))
	fmt.Fprintf(&b, "epoch %d\ncommit %d\ntime %d\nmembers %s\n", c.Epoch, c.Commit, c.Time, c.Members)
	for _, s := range c.States {
		fmt.Fprintf(&b, "state %s %s %s\n", s.Plugin, s.Digest, s.Map)
	}
	return b.Bytes()
}

// ParseCheckpoint reads a text; only what Text writes is accepted.
func ParseCheckpoint(text []byte) (c Checkpoint, err error) {
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if len(lines) < 7 {
		return c, fmt.Errorf("%w: %d lines", ErrCheckpoint, len(lines))
	}
	c.Network = strings.TrimPrefix(lines[0], "weft/")
	c.Size, _ = strconv.ParseUint(lines[1], 10, 63)
	if root, err := base64.StdEncoding.DecodeString(lines[2]); err == nil && len(root) == 32 {
		c.Root = tangle.Hash(root)
	}
	c.Epoch = tangle.Epoch(number(lines[3], "epoch ", 32))
	c.Commit = number(lines[4], "commit ", 63)
	c.Time = tangle.Time(number(lines[5], "time ", 63))
	c.Members, _ = tangle.ParseHash(strings.TrimPrefix(lines[6], "members "))
	for _, line := range lines[7:] {
		f := strings.Split(line, " ")
		if len(f) != 4 {
			return c, fmt.Errorf("%w: line %q", ErrCheckpoint, line)
		}
		s := State{Plugin: f[1]}
		s.Digest, _ = tangle.ParseHash(f[2])
		s.Map, _ = tangle.ParseHash(f[3])
		c.States = append(c.States, s)
	}
	if !bytes.Equal(c.Text(), text) {
		return c, fmt.Errorf("%w: not in canonical form", ErrCheckpoint)
	}
	return c, nil
}

func number(line, label string, bits int) uint64 {
	n, _ := strconv.ParseUint(strings.TrimPrefix(line, label), 10, bits)
	return n
}

// KeyName is the name of a validator's key in signed notes: its member's name in genesis, which is unique there.
func KeyName(g *genesis.Genesis, m tangle.Member) string {
	i := slices.IndexFunc(g.Members, func(o genesis.Member) bool { return o.Key == m })
	return "weft/" + g.Network + "/" + g.Members[i].Name
}

// SignText signs a checkpoint's text: plain Ed25519 over the text, as C2SP signed-note has it.
func SignText(key ed25519.PrivateKey, text []byte) tangle.Signature {
	return tangle.Signature(ed25519.Sign(key, text))
}

// VerifyText checks one validator's signature on a text, by the standard library: what a node counts, anyone can check.
func VerifyText(m tangle.Member, text []byte, sig tangle.Signature) bool {
	return ed25519.Verify(m[:], text, sig[:])
}

// Note joins text and signatures to a signed note, in the order of the committee.
func Note(g *genesis.Genesis, text []byte, sigs map[tangle.Member]tangle.Signature) []byte {
	b := append(slices.Clone(text), '\n')
	for _, m := range g.Committee() {
		sig, ok := sigs[m]
		if !ok {
			continue
		}
		name := KeyName(g, m)
		raw := binary.BigEndian.AppendUint32(nil, keyHash(name, m))
		raw = append(raw, sig[:]...)
		b = fmt.Appendf(b, "\u2014 %s %s\n", name, base64.StdEncoding.EncodeToString(raw))
	}
	return b
}

// OpenNote reads a signed note and checks that a quorum of distinct committee members has signed it. Only what Note
// writes is accepted: every byte counts.
func OpenNote(g *genesis.Genesis, signed []byte) (c Checkpoint, signers []tangle.Member, err error) {
	if len(signed) > maxNote {
		return c, nil, fmt.Errorf("%w: note of %d bytes", ErrCheckpoint, len(signed))
	}
	committee := g.Committee()
	n, err := note.Open(signed, verifiers(g, committee))
	if err != nil {
		return c, nil, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	sigs := map[tangle.Member]tangle.Signature{}
	for _, s := range n.Sigs {
		raw, err := base64.StdEncoding.DecodeString(s.Base64)
		if err != nil || len(raw) != 4+64 {
			return c, nil, fmt.Errorf("%w: signature of %s", ErrCheckpoint, s.Name)
		}
		i := slices.IndexFunc(committee, func(m tangle.Member) bool { return KeyName(g, m) == s.Name })
		sigs[committee[i]] = tangle.Signature(raw[4:])
	}
	if !bytes.Equal(Note(g, []byte(n.Text), sigs), signed) {
		return c, nil, fmt.Errorf("%w: note is not in canonical form", ErrCheckpoint)
	}
	if c, err = ParseCheckpoint([]byte(n.Text)); err != nil {
		return c, nil, err
	}
	if c.Network != g.Network {
		return c, nil, fmt.Errorf("%w: of network %q", ErrCheckpoint, c.Network)
	}
	for _, m := range committee {
		if _, ok := sigs[m]; ok {
			signers = append(signers, m)
		}
	}
	if len(signers) < genesis.Quorum(len(committee)) {
		return c, signers, fmt.Errorf("%w: %d of %d", ErrQuorum, len(signers), len(committee))
	}
	return c, signers, nil
}

func verifiers(g *genesis.Genesis, committee []tangle.Member) note.Verifiers {
	list := make([]note.Verifier, len(committee))
	for i, m := range committee {
		name := KeyName(g, m)
		list[i] = verifier{name, keyHash(name, m), m}
	}
	return note.VerifierList(list...)
}

// verifier is a validator's key as package note wants it.
type verifier struct {
	name string
	hash uint32
	key  tangle.Member
}

func (v verifier) Name() string    { return v.name }
func (v verifier) KeyHash() uint32 { return v.hash }
func (v verifier) Verify(text, sig []byte) bool {
	return len(sig) == 64 && VerifyText(v.key, text, tangle.Signature(sig))
}

// VerifierKey is the validator's key in the text form of package note, for other tools that read signed notes.
func VerifierKey(g *genesis.Genesis, m tangle.Member) string {
	s, err := note.NewEd25519VerifierKey(KeyName(g, m), m[:])
	if err != nil {
		panic(err) // 32 bytes are always a key
	}
	return s
}

// keyHash is the key ID of C2SP signed-note for Ed25519, as package note computes it.
func keyHash(name string, m tangle.Member) uint32 {
	h := hashOf([]byte(name), []byte("\n"), []byte{1}, m[:])
	return binary.BigEndian.Uint32(h[:])
}
