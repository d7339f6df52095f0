package receipt

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"weft/config/genesis"
	"weft/tangle"
)

// Report is what a check of a receipt found: every check by name, and the facts that are proved.
type Report struct {
	Verified bool    `json:"verified"` // every check is good
	Checks   []Check `json:"checks"`
	// Facts are what the committee vouches for: nil unless every check is good, or all but author_signature, which alone
	// is under the standard library's rules instead of the network's (docs/decisions/0002-signatures.md).
	Facts *Facts `json:"facts,omitempty"`
}

// Check is one named step. Code is empty if it is good, and CodeSkipped if an earlier fault left nothing to check.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Code   string `json:"code,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// Facts are what a receipt proves: this entry, by this member, stands at this place with this outcome.
type Facts struct {
	EntryHash      tangle.Hash     `json:"entryHash"`
	Erased         bool            `json:"erased"` // the receipt holds the entry's hash only: no kind, no data
	Kind           tangle.Kind     `json:"kind,omitempty"`
	Data           []byte          `json:"data,omitempty"`
	MessageID      tangle.ID       `json:"messageId"`
	Author         tangle.Member   `json:"author"`
	AuthorName     string          `json:"authorName"`
	MessageTime    string          `json:"messageTime"` // the author's claim
	Position       tangle.Position `json:"position"`
	Index          int             `json:"index"`
	Accepted       bool            `json:"accepted"`
	CheckpointSize uint64          `json:"checkpointSize"`
	CheckpointTime string          `json:"checkpointTime"`
	Signers        []string        `json:"signers"` // key names
}

// The names of the checks, in their order.
const (
	CheckFormat    = "format"
	CheckNetwork   = "network"
	CheckHeader    = "header"
	CheckMember    = "author_member"
	CheckSignature = "author_signature"
	CheckEntry     = "entry_in_message"
	CheckLog       = "message_in_log"
	CheckQuorum    = "checkpoint_quorum"
	CheckOutcome   = "outcome"
)

// The codes of checks that are not good.
const (
	CodeSkipped       = "skipped"
	CodeMalformed     = "malformed"
	CodeNetwork       = "wrong_network"
	CodeHeader        = "bad_header"
	CodeMember        = "not_a_member"
	CodeSignature     = "bad_signature"
	CodeNotInMessage  = "not_in_message"
	CodeNotInLog      = "not_in_log"
	CodeNotCheckpoint = "bad_checkpoint" // not one of this network in epoch 0, in its one form
	CodeNoQuorum      = "no_quorum"
	CodeOutcome       = "bad_outcome"
)

// Verify checks a receipt with the genesis file alone. Whether it is good is Report.Verified; the error, ErrFormat, only says
// that the bytes are not a receipt, as the check CheckFormat does too.
func Verify(g *genesis.Genesis, receipt []byte) (Report, error) {
	v := verification{genesis: g}
	var err error
	if v.parts, err = Parse(receipt); err != nil {
		v.note(CheckFormat, CodeMalformed, err)
		return v.report(), err
	}
	v.note(CheckFormat, "", nil)
	if v.note(CheckNetwork, CodeNetwork, v.network()) && v.note(CheckHeader, CodeHeader, v.readHeader()) {
		v.run()
	}
	return v.report(), nil
}

type verification struct {
	genesis    *genesis.Genesis
	parts      Parts
	header     tangle.Header
	id         tangle.ID
	author     genesis.Member
	checkpoint Checkpoint
	signers    []tangle.Member
	rejected   []bool
	checks     []Check
}

// run makes the checks that need a header. All are made, whatever the others find, as far as there is something to check:
// message_in_log goes by what the checkpoint says, and checkpoint_quorum judges whether anyone vouches for it.
func (v *verification) run() {
	v.note(CheckMember, CodeMember, v.member())
	v.note(CheckSignature, CodeSignature, v.signature())
	v.note(CheckEntry, CodeNotInMessage, v.entry())
	quorum := v.openNote()
	if quorum == nil || errors.Is(quorum, ErrQuorum) {
		v.note(CheckLog, CodeNotInLog, v.log())
		v.note(CheckQuorum, CodeNoQuorum, quorum)
	} else {
		v.note(CheckLog, CodeSkipped, errors.New("there is no checkpoint to go by"))
		v.note(CheckQuorum, CodeNotCheckpoint, quorum)
	}
	v.note(CheckOutcome, CodeOutcome, v.outcome())
}

func (v *verification) note(name, code string, err error) bool {
	c := Check{Name: name, OK: err == nil}
	if err != nil {
		c.Code, c.Detail = code, err.Error()
	}
	v.checks = append(v.checks, c)
	return c.OK
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
	i := slices.IndexFunc(v.genesis.Members, func(m genesis.Member) bool { return m.Key == v.header.Author })
	if i < 0 {
		return fmt.Errorf("%s is not a member of genesis", v.header.Author)
	}
	v.author = v.genesis.Members[i]
	return nil
}

func (v *verification) signature() error {
	author := v.header.Author
	if !ed25519.Verify(author[:], tangle.SigningInput(v.id), v.parts.Signature[:]) {
		return fmt.Errorf("the message's signature does not verify under %s", author)
	}
	return nil
}

func (v *verification) entry() error {
	p, entries := v.parts, int64(v.header.EntryCount)
	if int64(p.Index) >= entries {
		return fmt.Errorf("entry %d of %d", p.Index, entries)
	}
	leaf := tlog.RecordHash(p.Entry.Hash[:])
	if err := tlog.CheckRecord(proof(p.EntryPath), entries, tlog.Hash(v.header.BodyRoot), int64(p.Index), leaf); err != nil {
		return fmt.Errorf("path of entry %d of %d: %w", p.Index, entries, err)
	}
	return nil
}

func (v *verification) openNote() (err error) {
	v.checkpoint, v.signers, err = OpenNote(v.genesis, v.parts.Note)
	return err
}

// log ties the message to its place in the log: by the leaf, and by the path from there to the root.
func (v *verification) log() error {
	p := v.parts
	if position, _, _, err := ParseLeaf(p.Leaf); err == nil && position != p.Position {
		return fmt.Errorf("leaf of position %d, receipt of %d", position, p.Position)
	}
	_, err := Order{p.Leaf, p.LogPath, p.Note}.Under(v.checkpoint, v.id)
	return err
}

// outcome reads what the leaf says of the entry.
func (v *verification) outcome() error {
	_, _, rejected, err := ParseLeaf(v.parts.Leaf)
	switch {
	case err != nil:
		return err
	case len(rejected) != int(v.header.EntryCount):
		return fmt.Errorf("leaf with %d outcomes, message with %d entries", len(rejected), v.header.EntryCount)
	case v.parts.Index >= len(rejected):
		return fmt.Errorf("outcome %d of %d", v.parts.Index, len(rejected))
	}
	v.rejected = rejected
	return nil
}

// report closes the list of checks with those that were not made.
func (v *verification) report() Report {
	for _, name := range checkNames()[len(v.checks):] {
		v.note(name, CodeSkipped, errors.New("an earlier fault left nothing to check"))
	}
	good := func(c Check) bool { return c.OK }
	vouched := func(c Check) bool { return c.OK || c.Name == CheckSignature }
	r := Report{Verified: all(v.checks, good), Checks: v.checks}
	if all(v.checks, vouched) {
		r.Facts = v.facts()
	}
	return r
}

func checkNames() []string {
	return []string{CheckFormat, CheckNetwork, CheckHeader, CheckMember, CheckSignature, CheckEntry, CheckLog, CheckQuorum, CheckOutcome}
}

func all(checks []Check, ok func(Check) bool) bool {
	return !slices.ContainsFunc(checks, func(c Check) bool { return !ok(c) })
}

func (v *verification) facts() *Facts {
	p := v.parts
	f := &Facts{
		EntryHash: p.Entry.Hash, Erased: p.Entry.Erased(), Data: p.Entry.Data,
		MessageID: v.id, Author: v.header.Author, AuthorName: v.author.Name, MessageTime: v.header.Time.String(),
		Position: p.Position, Index: p.Index, Accepted: !v.rejected[p.Index],
		CheckpointSize: v.checkpoint.Size, CheckpointTime: v.checkpoint.Time.String(),
	}
	if !f.Erased {
		f.Kind = p.Entry.Kind
	}
	for _, m := range v.signers {
		f.Signers = append(f.Signers, KeyName(v.genesis, m))
	}
	return f
}

func proof(path []tangle.Hash) tlog.RecordProof {
	out := make(tlog.RecordProof, len(path))
	for i := range path {
		out[i] = tlog.Hash(path[i])
	}
	return out
}
