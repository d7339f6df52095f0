package streams

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"net/http"
	"slices"
	"sync"
	"time"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/streams/channel"
	"weft/tangle"
)

// statement is a member's word that what is erased is gone from its node: a payload beside the ledger, named by its root, or
// the body of an entry, named by the entry's hash. What it signs is the canonical JSON of all members but signature
// (plugins.StatementInput).
type statement struct {
	Channel   channel.ID    `json:"channel"`
	Seq       uint64        `json:"seq"`
	Root      tangle.Hash   `json:"root,omitzero"`
	Entry     tangle.Hash   `json:"entryHash,omitzero"`
	Event     uint64        `json:"eraseEvent"`
	ErasedAt  string        `json:"erasedAt"` // the member's clock
	Held      bool          `json:"held"`     // all of it was there, just before
	Member    tangle.Member `json:"member"`
	Signature string        `json:"signature"`
}

// signed is what the signature is over.
func (t statement) signed() ([]byte, error) {
	said := did.Object{
		"channel": t.Channel.String(), "seq": int(t.Seq), "eraseEvent": int(t.Event), "erasedAt": t.ErasedAt,
		"held": t.Held, "member": t.Member.String(),
	}
	if t.Root != (tangle.Hash{}) {
		said["root"] = t.Root.String()
	} else {
		said["entryHash"] = t.Entry.String()
	}
	return did.Canonical(said)
}

// verify says whether a member has said this.
func (t statement) verify(network tangle.ID) bool {
	text, err := t.signed()
	if err != nil {
		return false
	}
	signature, err := base64.RawURLEncoding.Strict().DecodeString(t.Signature)
	return err == nil && ed25519.Verify(t.Member[:], plugins.StatementInput(network, Name, text), signature)
}

// statements are what members have said, this one included, in the node's local key space:
//
//	c                    -> position(8): up to where the ledger's erasures are done
//	e id seq(8) member   -> statement, JSON
type statements struct {
	local plugins.Local
	once  sync.Mutex // held while a record is erased: what this member says of it, it says once
}

func statementKey(id channel.ID, seq uint64, member tangle.Member) []byte {
	b := binary.BigEndian.AppendUint64(append([]byte{'e'}, id[:]...), seq)
	return append(b, member[:]...)
}

func (t *statements) find(id channel.ID, seq uint64, member tangle.Member) (s statement, found bool) {
	b := t.local.Get(statementKey(id, seq, member))
	return s, b != nil && json.Unmarshal(b, &s) == nil
}

func (t *statements) keep(s statement) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return t.local.Write(plugins.Write{Key: statementKey(s.Channel, s.Seq, s.Member), Value: b})
}

func (t *statements) done() tangle.Position {
	if b := t.local.Get([]byte{'c'}); len(b) == 8 {
		return tangle.Position(binary.BigEndian.Uint64(b))
	}
	return 0
}

func (t *statements) setDone(p tangle.Position) error {
	return t.local.Write(plugins.Write{Key: []byte{'c'}, Value: binary.BigEndian.AppendUint64(nil, uint64(p))})
}

// followPayloads erases what the ledger says, up to a position, and asks for payloads that this node keeps for all.
func (s *streams) followPayloads(upto tangle.Position) error {
	if upto <= s.done.erase {
		return nil
	}
	var err error
	worked := false
	happenings(s.host.IndexView(), s.done.erase, func(at tangle.Position, _ int, h happening) bool {
		if at >= upto {
			return false
		}
		switch {
		case h.Op == channel.Erase:
			worked = true
			err = s.eraseRecord(h.Channel, h.Seq)
		case h.Op == channel.Write && s.settings.replicates(h.Channel):
			worked = true
			err = s.wantPayload(h.Channel, h.Seq)
		}
		return err == nil
	})
	if err != nil {
		return err
	}
	s.done.erase = upto
	if worked { // else the same is found again after a restart, for nothing
		return s.statements.setDone(upto)
	}
	return nil
}

// eraseRecord deletes the payload of an erased record and signs that it is gone. It may be called again. Of a body in its entry
// drops sign it, behind all copies.
func (s *streams) eraseRecord(id channel.ID, seq uint64) error {
	e, found, err := channel.ReadRecord(s.state(), id, seq)
	if err != nil || !found || e.ErasedBy == 0 || e.Blob == nil {
		s.damaged(err)
		return err
	}
	s.statements.once.Lock()
	defer s.statements.once.Unlock()
	held, err := s.blobs.remove(blobKey{id, e.Blob.Root}) // it may have come after a statement
	if err != nil {
		return err
	}
	return s.sign(id, e, held)
}

// stateDropped signs that the body of an erased entry is gone, if it is.
func (s *streams) stateDropped(id channel.ID, e channel.Event, held bool) error {
	s.statements.once.Lock()
	defer s.statements.once.Unlock()
	if s.host.Data(e.Position, e.Index) != nil {
		return nil
	}
	return s.sign(id, e, held)
}

// sign signs what this member says of an erased record, once.
func (s *streams) sign(id channel.ID, e channel.Event, held bool) error {
	if _, said := s.statements.find(id, e.Seq, s.host.Self); said {
		return nil
	}
	t := statement{Channel: id, Seq: e.Seq, Event: e.ErasedBy, ErasedAt: s.now().UTC().Format(time.RFC3339), Held: held, Member: s.host.Self}
	if e.Blob != nil {
		t.Root = e.Blob.Root
	} else {
		t.Entry = e.Entry
	}
	text, err := t.signed()
	if err != nil {
		return err
	}
	signature := s.host.Sign(text)
	t.Signature = encode(signature[:])
	return s.statements.keep(t)
}

// answerErasure gives this member's statement.
func (s *streams) answerErasure(q question) ([]byte, error) {
	if err := s.eraseRecord(q.Channel, q.Seq); err != nil {
		return nil, err
	}
	t, found := s.statements.find(q.Channel, q.Seq, s.host.Self)
	if !found {
		return nil, plugins.Reject("not_found", "nothing is erased there as far as this node knows")
	}
	return json.Marshal(t)
}

// erasureView is the proof that a record is erased.
type erasureView struct {
	Channel    channel.ID      `json:"channel"`
	Seq        uint64          `json:"seq"`
	Event      uint64          `json:"eraseEvent"`
	By         string          `json:"by"`
	Reason     string          `json:"reason"`
	Time       string          `json:"time"`
	Inline     bool            `json:"inline,omitempty"` // the body was in the entry: no payload beside the ledger, no statements
	Receipt    string          `json:"receipt,omitempty"`
	Statements []statement     `json:"statements"`
	Unanswered []tangle.Member `json:"unanswered"`
}

// showErasure is GET /api/v1/channels/{id}/records/{seq}/erasure.
func (s *streams) showErasure(w http.ResponseWriter, r *http.Request) error {
	x, e, err := s.recordOf(r)
	if err != nil {
		return err
	}
	if e.ErasedBy == 0 {
		return plugins.Reject("not_found", "record %d is not erased", e.Seq)
	}
	t, _, err := channel.ReadTombstone(s.state(), x.ID, e.Seq)
	if err != nil {
		s.damaged(err)
		return err
	}
	v := erasureView{
		Channel: x.ID, Seq: e.Seq, Event: t.Event, By: t.By, Reason: t.Reason, Time: t.Time.String(), Inline: e.Blob == nil,
		Statements: []statement{}, Unanswered: []tangle.Member{},
	}
	if by, err := channel.ReadEvent(s.state(), x.ID, t.Event); err == nil {
		if proof, err := s.host.Receipt(by.Entry); err == nil {
			v.Receipt = encode(proof)
		}
	}
	if err := s.collectStatements(r.Context(), &v); err != nil {
		return err
	}
	return answer(w, http.StatusOK, v)
}

// collectStatements asks those members that have not said yet that the payload is gone. What they say is kept.
func (s *streams) collectStatements(ctx context.Context, v *erasureView) error {
	if err := s.eraseRecord(v.Channel, v.Seq); err != nil {
		return err
	}
	var fault error
	if s.lacksStatement(v) {
		s.askOthers(ctx, question{Ask: askErasure, Channel: v.Channel, Seq: v.Seq}, func(m tangle.Member, raw []byte) {
			var t statement
			if json.Unmarshal(raw, &t) != nil || t.Channel != v.Channel || t.Seq != v.Seq || t.Event != v.Event || t.Member != m || !t.verify(s.host.Network) {
				return // it says something else
			}
			if err := s.statements.keep(t); err != nil {
				fault = err
			}
		})
	}
	for _, m := range s.host.Members {
		if t, said := s.statements.find(v.Channel, v.Seq, m.Key); said {
			v.Statements = append(v.Statements, t)
		} else {
			v.Unanswered = append(v.Unanswered, m.Key)
		}
	}
	return fault
}

func (s *streams) lacksStatement(v *erasureView) bool {
	return slices.ContainsFunc(s.host.Members, func(m plugins.Member) bool {
		_, said := s.statements.find(v.Channel, v.Seq, m.Key)
		return !said
	})
}

// judgeBlob says what becomes of a blob.
func (s *streams) judgeBlob(k blobKey) fate {
	e, found, err := s.recordOfBlob(k)
	if err != nil {
		return kept
	}
	if !found {
		return loose
	}
	c, _, err := channel.ReadChannel(s.state(), k.channel)
	if err == nil && (e.ErasedBy != 0 || s.pastRetention(c, e)) {
		return over
	}
	return kept
}
