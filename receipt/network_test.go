package receipt

import (
	"crypto/ed25519"
	"fmt"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"weft/config/genesis"
	"weft/tangle"
)

// network is a consortium on a table: keys from fixed seeds, messages in order, their log.
type network struct {
	t        testing.TB
	genesis  *genesis.Genesis
	keys     map[tangle.Member]ed25519.PrivateKey
	messages []*tangle.Message
	leaves   [][]byte
	hashes   []tlog.Hash // of the log, as package tlog stores them
}

// newNetwork has the given number of validators and one member more, who only issues.
func newNetwork(t testing.TB, name string, validators int) *network {
	n := &network{t: t, keys: map[tangle.Member]ed25519.PrivateKey{}, genesis: &genesis.Genesis{
		Version: genesis.Version, Network: name, Time: 1_790_000_000_000,
		Limits: tangle.DefaultLimits(), Consensus: genesis.DefaultConsensus(),
	}}
	for i := range validators + 1 {
		key := ed25519.NewKeyFromSeed([]byte{30: byte(i >> 8), 31: byte(i)})
		m := genesis.Member{Key: tangle.Member(key.Public().(ed25519.PublicKey)), Name: fmt.Sprintf("m%d", i), Roles: []string{genesis.RoleValidator}}
		if i == validators {
			m.Name, m.Roles = "registrar", []string{genesis.RoleIssuer}
		}
		n.keys[m.Key] = key
		n.genesis.Members = append(n.genesis.Members, m)
	}
	return n
}

func (n *network) codec() tangle.Codec {
	return tangle.Codec{Network: n.genesis.ID(), Limits: n.genesis.Limits}
}

// author is the member that only issues.
func (n *network) author() tangle.Member { return n.genesis.Members[len(n.genesis.Members)-1].Key }

// order seals a message with the given entries and puts it at the log's end. Every third entry is rejected.
func (n *network) order(entries ...tangle.Entry) *tangle.Message {
	n.t.Helper()
	at := len(n.messages)
	author := n.author()
	h := tangle.Header{
		Author: author, Seq: tangle.Seq(at + 1), Time: n.genesis.Time + tangle.Time(1000*(at+1)),
		Parents: []tangle.ID{n.genesis.ID()},
	}
	m, err := n.codec().Seal(h, entries, func(input []byte) tangle.Signature {
		return tangle.Signature(ed25519.Sign(n.keys[author], input))
	})
	if err != nil {
		n.t.Fatal(err)
	}
	rejected := make([]bool, len(entries))
	for i := range rejected {
		rejected[i] = i%3 == 2
	}
	leaf := Leaf(tangle.Position(at), m.ID, rejected)
	more, err := tlog.StoredHashes(int64(at), leaf, n)
	if err != nil {
		n.t.Fatal(err)
	}
	n.messages, n.leaves, n.hashes = append(n.messages, m), append(n.leaves, leaf), append(n.hashes, more...)
	return m
}

// ReadHashes makes the network a tlog.HashReader.
func (n *network) ReadHashes(indexes []int64) (hashes []tlog.Hash, err error) {
	for _, i := range indexes {
		hashes = append(hashes, n.hashes[i])
	}
	return hashes, nil
}

func (n *network) checkpoint() Checkpoint {
	n.t.Helper()
	root, err := tlog.TreeHash(int64(len(n.messages)), n)
	if err != nil {
		n.t.Fatal(err)
	}
	return Checkpoint{
		Network: n.genesis.Network, Size: uint64(len(n.messages)), Root: tangle.Hash(root), Commit: 7,
		Time: n.genesis.Time + 60_000, Members: tangle.Hash{1}, States: []State{{Plugin: "data", Digest: tangle.Hash{2}}},
	}
}

// quorum are the committee's first Q members.
func (n *network) quorum() []tangle.Member {
	committee := n.genesis.Committee()
	return committee[:genesis.Quorum(len(committee))]
}

func (n *network) sign(text []byte, signers ...tangle.Member) map[tangle.Member]tangle.Signature {
	sigs := map[tangle.Member]tangle.Signature{}
	for _, m := range signers {
		sigs[m] = SignText(n.keys[m], text)
	}
	return sigs
}

func (n *network) note(c Checkpoint, signers ...tangle.Member) []byte {
	return Note(n.genesis, c.Text(), n.sign(c.Text(), signers...))
}

// parts are those of a good receipt of an entry.
func (n *network) parts(position, index int) Parts {
	n.t.Helper()
	m := n.messages[position]
	path, err := tlog.ProveRecord(int64(len(n.messages)), int64(position), n)
	if err != nil {
		n.t.Fatal(err)
	}
	p := Parts{
		Network: n.genesis.ID(), Entry: m.Entries[index], Index: index, Header: m.HeaderBytes(), Signature: m.Signature,
		EntryPath: m.EntryPath(index), Position: tangle.Position(position), Leaf: n.leaves[position],
		Note: n.note(n.checkpoint(), n.quorum()...),
	}
	for _, h := range path {
		p.LogPath = append(p.LogPath, tangle.Hash(h))
	}
	return p
}

func (n *network) build(p Parts) []byte {
	n.t.Helper()
	b, err := Build(p)
	if err != nil {
		n.t.Fatal(err)
	}
	return b
}

// entry is one with a salt of its own.
func entry(text string) tangle.Entry {
	salt := tangle.Salt{15: byte(len(text))}
	copy(salt[:], text)
	return tangle.NewEntry(tangle.KindData, salt, []byte(text))
}

// small is a network whose receipts are short: one validator, two messages.
func small(t testing.TB) *network {
	n := newNetwork(t, "harbour", 1)
	n.order(entry("first"))
	n.order(entry("a"), entry("b"), entry("c"))
	return n
}

func failed(r Report) (names []string) {
	for _, c := range r.Checks {
		if !c.OK {
			names = append(names, c.Name+"="+c.Code)
		}
	}
	return names
}
