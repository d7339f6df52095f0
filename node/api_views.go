package node

import (
	"encoding/base64"
	"encoding/json"
	"strconv"

	"weft/tangle"
)

// placeView is Place in JSON.
type placeView struct {
	Position tangle.Position `json:"position"`
	Index    int             `json:"index"`
}

// kindView shows the core's own kind by name and others by number.
type kindView tangle.Kind

func (k kindView) MarshalJSON() ([]byte, error) {
	if tangle.Kind(k) == tangle.KindData {
		return []byte(`"` + dataKindName + `"`), nil
	}
	return strconv.AppendUint(nil, uint64(k), 10), nil
}

// messageView is a message without the data of its entries.
type messageView struct {
	ID         tangle.ID        `json:"id"`
	Class      string           `json:"class"`
	Epoch      tangle.Epoch     `json:"epoch"`
	Author     tangle.Member    `json:"author"`
	Seq        tangle.Seq       `json:"seq"`
	Time       string           `json:"time"`
	Parents    []tangle.ID      `json:"parents"`
	Round      tangle.Round     `json:"round,omitempty"`
	Size       int              `json:"size"`
	Status     Status           `json:"status"`
	Final      bool             `json:"final"`
	Commit     uint64           `json:"commit,omitempty"`
	CommitTime string           `json:"commitTime,omitempty"`
	Position   *tangle.Position `json:"position,omitempty"`
	Entries    []entryInfoView  `json:"entries"`
}

// entryInfoView is an entry without its data.
type entryInfoView struct {
	EntryHash tangle.Hash `json:"entryHash"`
	Index     int         `json:"index"`
	Kind      *kindView   `json:"kind,omitempty"` // none if erased
	Size      int         `json:"size"`
	Tag       string      `json:"tag,omitempty"`
	Outcome   string      `json:"outcome,omitempty"`
	Code      string      `json:"code,omitempty"`
	Erased    bool        `json:"erased,omitempty"`
}

// entryView is an entry with everything known of it.
type entryView struct {
	EntryHash tangle.Hash     `json:"entryHash"`
	MessageID *tangle.ID      `json:"messageId,omitempty"` // none before it is in a message
	Author    *tangle.Member  `json:"author,omitempty"`
	Kind      kindView        `json:"kind"`
	Status    Status          `json:"status"`
	Final     bool            `json:"final"`
	Outcome   string          `json:"outcome,omitempty"`
	Code      string          `json:"code,omitempty"`
	Place     *placeView      `json:"place,omitempty"`
	Time      string          `json:"time,omitempty"`
	Tag       string          `json:"tag,omitempty"`
	Data      json.RawMessage `json:"data,omitempty"`
}

// The outcomes of an ordered entry.
const (
	outcomeAccepted = "accepted"
	outcomeRejected = "rejected"
)

// outcomeOf is what the order said of entry i, or nothing yet.
func outcomeOf(s Settled, i int) (outcome, code string, place *placeView) {
	if (s.Status != StatusOrdered && s.Status != StatusFinal) || i < 0 || i >= len(s.Codes) {
		return "", "", nil
	}
	place = &placeView{s.Position, i}
	if s.Codes[i] != "" {
		return outcomeRejected, s.Codes[i], place
	}
	return outcomeAccepted, "", place
}

func viewMessage(m *tangle.Message, s Settled) messageView {
	h := m.Header
	v := messageView{
		ID: m.ID, Class: "entries", Epoch: h.Epoch, Author: h.Author, Seq: h.Seq, Time: h.Time.String(),
		Parents: h.Parents, Size: m.Size(), Status: s.Status, Final: s.Status == StatusFinal, Commit: s.Commit,
		Entries: []entryInfoView{},
	}
	if h.Witness != nil {
		v.Class, v.Round = "witness", h.Witness.Round
	}
	if s.Commit > 0 {
		v.CommitTime = s.Time.String()
	}
	if !m.IsWitness() && (s.Status == StatusOrdered || s.Status == StatusFinal) {
		v.Position = &s.Position
	}
	for i := range m.Entries {
		v.Entries = append(v.Entries, viewEntryInfo(m.Entries[i], s, i))
	}
	return v
}

func viewEntryInfo(e tangle.Entry, s Settled, i int) entryInfoView {
	v := entryInfoView{EntryHash: e.Hash, Index: i, Size: len(e.Data), Tag: tagOf(e), Erased: e.Erased()}
	if kind := kindView(e.Kind); !e.Erased() {
		v.Kind = &kind
	}
	v.Outcome, v.Code, _ = outcomeOf(s, i)
	return v
}

func viewEntry(r EntryRecord) entryView {
	v := entryView{
		EntryHash: r.Entry.Hash, Kind: kindView(r.Entry.Kind), Status: r.Settled.Status,
		Final: r.Settled.Status == StatusFinal, Tag: tagOf(r.Entry), Data: viewData(r.Entry),
	}
	if r.Message != nil {
		v.MessageID, v.Author = &r.Message.ID, &r.Message.Header.Author
	}
	v.Outcome, v.Code, v.Place = outcomeOf(r.Settled, r.Index)
	if v.Place != nil {
		v.Time = r.Settled.Time.String()
	}
	return v
}

// tagOf is the tag of tagged data, else nothing.
func tagOf(e tangle.Entry) string {
	if e.Kind != tangle.KindData {
		return ""
	}
	d, err := ParseData(e.Data)
	if err != nil {
		return ""
	}
	return d.Tag
}

// viewData is the data in the form it was submitted in.
func viewData(e tangle.Entry) json.RawMessage {
	if e.Kind == tangle.KindData {
		if d, err := ParseData(e.Data); err == nil {
			return viewTagged(d)
		}
	}
	return appendJSONBase64(nil, e.Data)
}

func viewTagged(d Data) json.RawMessage {
	tag, err := json.Marshal(d.Tag)
	if err != nil {
		return nil
	}
	b := append([]byte(`{"tag":`), tag...)
	return append(appendJSONBase64(append(b, `,"bytes":`...), d.Bytes), '}')
}

func appendJSONBase64(b, raw []byte) []byte {
	return append(base64.RawURLEncoding.AppendEncode(append(b, '"'), raw), '"')
}

// asOfView says how far the node was when it answered with a list.
type asOfView struct {
	Position tangle.Position `json:"position"`
	Final    tangle.Position `json:"final"`
	Time     *string         `json:"time"` // null before anything is final
}

// listView is one page of a list.
type listView[T any] struct {
	Items []T      `json:"items"`
	Next  *string  `json:"next"`
	AsOf  asOfView `json:"asOf"`
}

func (c *apiCall) asOf() asOfView {
	head := c.Node.Head()
	return asOfView{head.Position, head.Final, timeOrNull(head.FinalTime)}
}
