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

// MaxNote bounds a signed note in bytes: a state line per plugin, a signature line per validator.
const MaxNote = 64 << 10

const dataPlugin = "data" // built in: it has a state, and genesis does not list it

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
	if len(lines) < 7 || len(lines) > 7+1+genesis.MaxPlugins {
		return c, fmt.Errorf("%w: %d lines", ErrCheckpoint, len(lines))
	}
	// Whatever cannot be read stays zero, and then Text below writes something else.
	c.Network = strings.TrimPrefix(lines[0], "weft/")
	c.Size = number(lines[1], "", 63)
	if root, err := base64.StdEncoding.DecodeString(lines[2]); err == nil && len(root) == 32 {
		c.Root = tangle.Hash(root)
	}
	c.Epoch = tangle.Epoch(number(lines[3], "epoch ", 32))
	c.Commit = number(lines[4], "commit ", 63)
	c.Time = tangle.Time(number(lines[5], "time ", 63))
	c.Members, _ = tangle.ParseHash(strings.TrimPrefix(lines[6], "members "))
	for _, line := range lines[7:] {
		s, err := parseState(line)
		if err != nil {
			return Checkpoint{}, err
		}
		c.States = append(c.States, s)
	}
	if err := genesis.CheckNetwork(c.Network); err != nil {
		return Checkpoint{}, fmt.Errorf("%w: network %w", ErrCheckpoint, err)
	}
	if !bytes.Equal(c.Text(), text) {
		return Checkpoint{}, fmt.Errorf("%w: not in canonical form", ErrCheckpoint)
	}
	return c, nil
}

func parseState(line string) (s State, err error) {
	f := strings.Split(line, " ")
	if len(f) != 4 {
		return s, fmt.Errorf("%w: line %q", ErrCheckpoint, line)
	}
	if err := genesis.CheckPlugin(f[1]); err != nil && f[1] != dataPlugin {
		return s, fmt.Errorf("%w: plugin %w", ErrCheckpoint, err)
	}
	s.Plugin = f[1]
	s.Digest, _ = tangle.ParseHash(f[2])
	s.Map, _ = tangle.ParseHash(f[3])
	return s, nil
}

func number(line, label string, bits int) uint64 {
	n, _ := strconv.ParseUint(strings.TrimPrefix(line, label), 10, bits)
	return n
}

// KeyName is the name of a validator's key in signed notes: its member's name in genesis, which is unique there.
func KeyName(g *genesis.Genesis, m tangle.Member) string {
	name := m.String()
	if i := slices.IndexFunc(g.Members, func(o genesis.Member) bool { return o.Key == m }); i >= 0 {
		name = g.Members[i].Name
	}
	return "weft/" + g.Network + "/" + name
}

// SignText signs a checkpoint's text: plain Ed25519 over the text, as C2SP signed-note has it.
func SignText(key ed25519.PrivateKey, text []byte) tangle.Signature {
	return tangle.Signature(ed25519.Sign(key, text))
}

// VerifyText checks one validator's signature on a text, by the standard library: what a node counts, anyone can check.
func VerifyText(m tangle.Member, text []byte, sig tangle.Signature) bool {
	return ed25519.Verify(m[:], text, sig[:])
}

// Note joins text and signatures to a signed note, in the order of the committee: a note is a function of its signers.
func Note(g *genesis.Genesis, text []byte, sigs map[tangle.Member]tangle.Signature) []byte {
	b := append(slices.Clone(text), '\n')
	for _, m := range g.Committee() {
		if sig, ok := sigs[m]; ok {
			b = append(b, signatureLine(g, m, sig)...)
		}
	}
	return b
}

// OpenNote reads a signed note and checks that a quorum of distinct committee members has signed it. Only what Note
// writes is accepted: every byte counts. Without a quorum of good signatures the checkpoint is returned with ErrQuorum: it
// is then one that nobody vouches for.
//
// Package note reads the same bytes, but stops at 100 signatures and lets unknown, repeated and reordered lines pass.
func OpenNote(g *genesis.Genesis, signed []byte) (c Checkpoint, signers []tangle.Member, err error) {
	if len(signed) > MaxNote {
		return c, nil, fmt.Errorf("%w: note of %d bytes, limit %d", ErrCheckpoint, len(signed), MaxNote)
	}
	text, lines, ok := bytes.Cut(signed, []byte("\n\n"))
	if !ok {
		return c, nil, fmt.Errorf("%w: no signatures below the text", ErrCheckpoint)
	}
	text = signed[:len(text)+1]
	if c, err = ParseCheckpoint(text); err != nil {
		return c, nil, err
	}
	if c.Network != g.Network || c.Epoch != 0 {
		return c, nil, fmt.Errorf("%w: of network %q, epoch %d", ErrCheckpoint, c.Network, c.Epoch)
	}
	signers, err = openSignatures(g, text, lines)
	return c, signers, err
}

// openSignatures reads signature lines in the order of the committee, so that nobody can stand there twice.
func openSignatures(g *genesis.Genesis, text, lines []byte) (signers []tangle.Member, err error) {
	committee := g.Committee()
	for _, m := range committee {
		size := len(signatureLine(g, m, tangle.Signature{}))
		if size > len(lines) {
			break
		}
		sig, ok := signatureIn(lines[:size])
		if !ok || !bytes.Equal(signatureLine(g, m, sig), lines[:size]) {
			continue // another validator's line
		}
		if !VerifyText(m, text, sig) {
			return nil, fmt.Errorf("%w: bad signature of %s", ErrQuorum, KeyName(g, m))
		}
		signers, lines = append(signers, m), lines[size:]
	}
	switch {
	case len(lines) != 0:
		return nil, fmt.Errorf("%w: signature lines that are no validators' own, in the order of the committee", ErrQuorum)
	case len(signers) < genesis.Quorum(len(committee)):
		return signers, fmt.Errorf("%w: %d of %d", ErrQuorum, len(signers), len(committee))
	}
	return signers, nil
}

// signatureIn takes the signature off the end of a line, whoever signed it.
func signatureIn(line []byte) (sig tangle.Signature, ok bool) {
	encoded := bytes.TrimSuffix(line[bytes.LastIndexByte(line, ' ')+1:], []byte("\n"))
	raw, err := base64.StdEncoding.DecodeString(string(encoded))
	if err != nil || len(raw) != 4+len(sig) {
		return sig, false
	}
	return tangle.Signature(raw[4:]), true
}

// signatureLine is C2SP signed-note's: em dash, key name, base64 of key ID and signature.
func signatureLine(g *genesis.Genesis, m tangle.Member, sig tangle.Signature) []byte {
	name := KeyName(g, m)
	raw := binary.BigEndian.AppendUint32(nil, keyHash(name, m))
	raw = append(raw, sig[:]...)
	return fmt.Appendf(nil, "\u2014 %s %s\n", name, base64.StdEncoding.EncodeToString(raw))
}

// VerifierKey is the validator's key in the text form of golang.org/x/mod/sumdb/note, for other tools that read notes.
func VerifierKey(g *genesis.Genesis, m tangle.Member) string {
	name := KeyName(g, m)
	key := append([]byte{algEd25519}, m[:]...)
	return fmt.Sprintf("%s+%08x+%s", name, keyHash(name, m), base64.StdEncoding.EncodeToString(key))
}

const algEd25519 = 1 // signature type of C2SP signed-note

// keyHash is the key ID of C2SP signed-note for Ed25519, as package note computes it.
func keyHash(name string, m tangle.Member) uint32 {
	h := hashOf([]byte(name), []byte("\n"), []byte{algEd25519}, m[:])
	return binary.BigEndian.Uint32(h[:])
}
