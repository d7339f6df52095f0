package receipt

import (
	"crypto/ed25519"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"weft/config/genesis"
	"weft/tangle"
)

// Report is what a check of a receipt found: every check by name, and the facts that are proved if all of them are good.
type Report struct {
	Verified bool    `json:"verified"`
	Checks   []Check `json:"checks"`
	Facts    *Facts  `json:"facts,omitempty"` // as the receipt states them; proved only if Verified
}

// Check is one named step. Code is empty if it is good, "skipped" if an earlier fault left nothing to check.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Code   string `json:"code,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// Facts are what a receipt proves: this entry, by this member, stands at this place with this outcome.
type Facts struct {
	EntryHash      tangle.Hash     `json:"entryHash"`
	Erased         bool            `json:"erased"`
	Kind           tangle.Kind     `json:"kind"`
	Data           []byte          `json:"data,omitempty"`
	MessageID      tangle.ID       `json:"messageId"`
	Author         tangle.Member   `json:"author"`
	AuthorName     string          `json:"authorName"`
	MessageTime    string          `json:"messageTime"`
	Position       tangle.Position `json:"position"`
	Index          int             `json:"index"`
	Accepted       bool            `json:"accepted"`
	CheckpointSize uint64          `json:"checkpointSize"`
	CheckpointTime string          `json:"checkpointTime"`
	Signers        []string        `json:"signers"`
}

// The names of the checks, in their order.
const (
	CheckFormat    = "format"
	CheckNetwork   = "network"
	CheckHeader    = "header"
	CheckMember    = "author_member"
	CheckSignature = "author_signature"
	CheckEntry     = "entry_in_message"
	CheckQuorum    = "checkpoint_quorum"
	CheckLog       = "message_in_log"
	CheckOutcome   = "outcome"
)

// Verify checks a receipt with the genesis file alone. The error is nil if the checks could be made; read the report.
func Verify(g *genesis.Genesis, receipt []byte) (Report, error) {
	v := verification{genesis: g}
	v.run(receipt)
	return v.report(), v.err
}

type verification struct {
	genesis *genesis.Genesis
	parts   Parts
	header  tangle.Header
	id      tangle.ID
	note    Checkpoint
	signers []tangle.Member
	reject  []bool
	checks  []Check
	failed  bool
	err     error
}

func (v *verification) run(receipt []byte) {
	steps := []struct {
		name, code string
		check      func() error
	}{
		{CheckFormat, "malformed", func() (err error) { v.parts, err = Parse(receipt); return err }},
		{CheckNetwork, "wrong_network", v.network},
		{CheckHeader, "bad_header", v.readHeader},
		{CheckMember, "not_a_member", v.member},
		{CheckSignature, "bad_signature", v.signature},
		{CheckEntry, "not_in_message", v.entry},
		{CheckQuorum, "no_quorum", v.checkpoint},
		{CheckLog, "not_in_log", v.log},
		{CheckOutcome, "bad_outcome", v.outcome},
	}
	for i, s := range steps {
		if err := s.check(); err != nil {
			v.checks = append(v.checks, Check{Name: s.name, Code: s.code, Detail: err.Error()})
			v.failed = true
			if needed(s.name) {
				for _, rest := range steps[i+1:] {
					v.checks = append(v.checks, Check{Name: rest.name, Code: "skipped"})
				}
				return
			}
			continue
		}
		v.checks = append(v.checks, Check{Name: s.name, OK: true})
	}
}

// needed says whether later checks make no sense without this one.
func needed(name string) bool {
	return name == CheckFormat || name == CheckNetwork || name == CheckHeader || name == CheckQuorum
}

func (v *verification) network() error {
	if want := v.genesis.ID(); v.parts.Network != want {
		return fmt.Errorf("receipt of network %s, genesis is network %s", v.parts.Network, want)
	}
	return nil
}

func (v *verification) readHeader() (err error) {
	codec := tangle.Codec{Network: v.parts.Network, Limits: v.genesis.Limits}
	if v.header, v.id, err = codec.ParseHeader(v.parts.Header); err != nil {
		return err
	}
	if v.header.Class != tangle.ClassEntries || v.header.Epoch != 0 {
		return fmt.Errorf("class %d, epoch %d", v.header.Class, v.header.Epoch)
	}
	return nil
}

func (v *verification) member() error {
	if v.authorName() == "" {
		return fmt.Errorf("%s is not a member of genesis", v.header.Author)
	}
	return nil
}

func (v *verification) authorName() string {
	for _, m := range v.genesis.Members {
		if m.Key == v.header.Author {
			return m.Name
		}
	}
	return ""
}

func (v *verification) signature() error {
	author := v.header.Author
	if !ed25519.Verify(author[:], tangle.SigningInput(v.id), v.parts.Signature[:]) {
		return fmt.Errorf("the message's signature does not verify under %s", author)
	}
	return nil
}

func (v *verification) entry() error {
	p := v.parts
	if p.Index >= int(v.header.EntryCount) {
		return fmt.Errorf("entry %d of %d", p.Index, v.header.EntryCount)
	}
	leaf := tlog.RecordHash(p.Entry.Hash[:])
	return tlog.CheckRecord(proof(p.EntryPath), int64(v.header.EntryCount), tlog.Hash(v.header.BodyRoot), int64(p.Index), leaf)
}

func (v *verification) checkpoint() (err error) {
	v.note, v.signers, err = OpenNote(v.genesis, v.parts.Note)
	return err
}

func (v *verification) log() error {
	p := v.parts
	if uint64(p.Position) >= v.note.Size {
		return fmt.Errorf("position %d, log of size %d", p.Position, v.note.Size)
	}
	return tlog.CheckRecord(proof(p.LogPath), int64(v.note.Size), tlog.Hash(v.note.Root), int64(p.Position), tlog.RecordHash(p.Leaf))
}

// outcome ties the leaf to the message and the place.
func (v *verification) outcome() error {
	position, id, rejected, err := ParseLeaf(v.parts.Leaf)
	switch {
	case err != nil:
		return err
	case position != v.parts.Position:
		return fmt.Errorf("leaf of position %d, receipt of %d", position, v.parts.Position)
	case id != v.id:
		return fmt.Errorf("leaf of message %s, header of %s", id, v.id)
	case len(rejected) != int(v.header.EntryCount):
		return fmt.Errorf("leaf with %d outcomes, message with %d entries", len(rejected), v.header.EntryCount)
	}
	v.reject = rejected
	return nil
}

func (v *verification) report() Report {
	r := Report{Verified: !v.failed, Checks: v.checks}
	if v.reject == nil || v.parts.Index >= len(v.reject) {
		return r
	}
	p := v.parts
	f := &Facts{
		EntryHash: p.Entry.Hash, Erased: p.Entry.Erased(), Kind: p.Entry.Kind, Data: p.Entry.Data,
		MessageID: v.id, Author: v.header.Author, AuthorName: v.authorName(), MessageTime: v.header.Time.String(),
		Position: p.Position, Index: p.Index, Accepted: !v.reject[p.Index],
		CheckpointSize: v.note.Size, CheckpointTime: v.note.Time.String(),
	}
	for _, m := range v.signers {
		f.Signers = append(f.Signers, KeyName(v.genesis, m))
	}
	r.Facts = f
	return r
}

func proof(path []tangle.Hash) tlog.RecordProof {
	out := make(tlog.RecordProof, len(path))
	for i := range path {
		out[i] = tlog.Hash(path[i])
	}
	return out
}
