// Package gossip says what the frames between members mean and what to answer: pushing own messages, asking for missing
// parents, repairing gaps by range, catching up by commits.
//
// It is pure: no clock, goroutine, socket or log. Package wire moves the frames; package node feeds them in.
package gossip

import (
	"encoding/binary"
	"errors"
	"fmt"

	"weft/internal/fields"
	"weft/tangle"
)

// Frame is one unit between two members; exactly one field is set.
type Frame struct {
	Messages *Messages
	Want     []tangle.ID // send me these messages
	Heads    *Heads
	Range    *Range
	Ask      *Ask   // of a plugin of one member to the same one of another; no business of the Core
	Reply    *Reply // to an Ask
}

// Messages carries vertices, parents before children where the sender knows them. In an answer to a Range, Upto is the
// commit up to which the range is now complete (0: not an answer).
type Messages struct {
	Upto uint64
	Raw  []Raw             // as received or to be sent
	List []*tangle.Message // parsed and verified by the node's pool; parallel to Raw, nil until then
}

// Raw is a message between members.
type Raw struct {
	Message []byte // its canonical encoding; entries may be erased
	Order   []byte // of one with erased entries: proof of its place and their outcomes (receipt.Order); empty otherwise
}

// Whole are messages without erased entries.
func Whole(messages ...[]byte) []Raw {
	out := make([]Raw, len(messages))
	for i, m := range messages {
		out[i].Message = m
	}
	return out
}

// Size is what it takes in a frame.
func (r Raw) Size() int { return 8 + len(r.Message) + len(r.Order) }

// Heads says how far a member is, so that gaps are visible to others. It is sent on connect and once a second.
type Heads struct {
	Network tangle.ID
	Epoch   tangle.Epoch
	Round   tangle.Round // highest own or attached
	Commit  uint64       // executed
	Size    uint64       // of the newest certified checkpoint
	State   tangle.Hash  // of the newest certified checkpoint's text
	Authors []AuthorHead // ascending by author
}

// AuthorHead is the highest seq up to which all of an author's messages of the epoch are attached.
type AuthorHead struct {
	Author tangle.Member
	Seq    tangle.Seq
}

// Range asks for all messages of commits From..To in order (Author zero), or for an author's messages From..To by seq.
type Range struct {
	Author   tangle.Member
	From, To uint64
}

// Ask is a question of a plugin. What it means is the plugin's.
type Ask struct {
	ID     uint64 // the asker's, to find what waits for the reply
	Plugin string
	Body   []byte
}

// Reply answers an Ask; Code is why there is no answer, or empty.
type Reply struct {
	ID   uint64
	Code string
	Body []byte
}

// Bounds of frames.
const (
	MaxFrame    = 1 << 20 // bytes
	MaxMessages = 4096    // in one frame
	MaxWant     = 1024    // IDs in one frame
	MaxAuthors  = 4096    // heads in one frame
	MaxRange    = 1 << 20 // commits or seqs asked for at once
	MaxName     = 64      // bytes of a plugin's name or a code in Ask and Reply
	MaxOrder    = 128 << 10
)

// ErrFrame is the cause of all faults in frames.
var ErrFrame = errors.New("malformed frame")

type frameKind byte

const (
	kindMessages frameKind = 1 + iota
	kindWant
	kindHeads
	kindRange
	kindAsk
	kindReply
)

// Bytes is the encoding: kind u8, then the fields in their order, big-endian, lists with a u32 count.
func (f Frame) Bytes() []byte {
	switch {
	case f.Messages != nil:
		return f.Messages.bytes()
	case f.Heads != nil:
		return f.Heads.bytes()
	case f.Range != nil:
		b := append(make([]byte, 0, 49), byte(kindRange))
		b = append(b, f.Range.Author[:]...)
		b = binary.BigEndian.AppendUint64(b, f.Range.From)
		return binary.BigEndian.AppendUint64(b, f.Range.To)
	case f.Ask != nil:
		return appendNamed(kindAsk, f.Ask.ID, f.Ask.Plugin, f.Ask.Body)
	case f.Reply != nil:
		return appendNamed(kindReply, f.Reply.ID, f.Reply.Code, f.Reply.Body)
	default:
		b := append(make([]byte, 0, 5+32*len(f.Want)), byte(kindWant))
		b = binary.BigEndian.AppendUint32(b, uint32(len(f.Want)))
		for i := range f.Want {
			b = append(b, f.Want[i][:]...)
		}
		return b
	}
}

// Parse reads a frame and checks every bound before it allocates. Messages stay raw and share b.
func Parse(b []byte) (Frame, error) {
	if len(b) == 0 || len(b) > MaxFrame {
		return Frame{}, fmt.Errorf("%w: %d bytes", ErrFrame, len(b))
	}
	r := fields.Of(b[1:], ErrFrame)
	var f Frame
	switch frameKind(b[0]) {
	case kindMessages:
		f.Messages = readMessages(&r)
	case kindWant:
		f.Want = readWant(&r)
	case kindHeads:
		f.Heads = readHeads(&r)
	case kindRange:
		f.Range = readRange(&r)
	case kindAsk:
		f.Ask = &Ask{}
		f.Ask.ID, f.Ask.Plugin, f.Ask.Body = readNamed(&r)
	case kindReply:
		f.Reply = &Reply{}
		f.Reply.ID, f.Reply.Code, f.Reply.Body = readNamed(&r)
	default:
		return Frame{}, fmt.Errorf("%w: kind %d", ErrFrame, b[0])
	}
	if err := r.End(); err != nil {
		return Frame{}, err
	}
	return f, nil
}

func (m *Messages) bytes() []byte {
	size := 1 + 8 + 4
	for _, raw := range m.Raw {
		size += raw.Size()
	}
	b := append(make([]byte, 0, size), byte(kindMessages))
	b = binary.BigEndian.AppendUint64(b, m.Upto)
	b = binary.BigEndian.AppendUint32(b, uint32(len(m.Raw)))
	for _, raw := range m.Raw {
		b = appendField(b, raw.Message)
		b = appendField(b, raw.Order)
	}
	return b
}

func readMessages(r *fields.Reader) *Messages {
	m := &Messages{Upto: r.U64()}
	n := r.Count(r.U32(), MaxMessages, 8, "messages")
	m.Raw = make([]Raw, 0, n)
	for range n {
		message := readField(r, tangle.MaxBytes, "message")
		m.Raw = append(m.Raw, Raw{message, readField(r, MaxOrder, "order")})
	}
	return m
}

func appendField(b, field []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(field))), field...)
}

func readField(r *fields.Reader, most uint32, name string) []byte {
	size := r.U32()
	if size > most {
		r.Fail("%s of %d bytes", name, size)
	}
	return r.Take(int(size))
}

func readWant(r *fields.Reader) []tangle.ID {
	n := r.Count(r.U32(), MaxWant, 32, "ids")
	if n == 0 {
		r.Fail("wants nothing")
	}
	ids := make([]tangle.ID, n)
	for i := range ids {
		ids[i] = r.B32()
	}
	return ids
}

func (h *Heads) bytes() []byte {
	be := binary.BigEndian
	b := append(make([]byte, 0, 96+40*len(h.Authors)), byte(kindHeads))
	b = append(b, h.Network[:]...)
	b = be.AppendUint32(b, uint32(h.Epoch))
	b = be.AppendUint32(b, uint32(h.Round))
	b = be.AppendUint64(b, h.Commit)
	b = be.AppendUint64(b, h.Size)
	b = append(b, h.State[:]...)
	b = be.AppendUint32(b, uint32(len(h.Authors)))
	for i := range h.Authors {
		b = append(b, h.Authors[i].Author[:]...)
		b = be.AppendUint64(b, uint64(h.Authors[i].Seq))
	}
	return b
}

func readHeads(r *fields.Reader) *Heads {
	h := &Heads{
		Network: r.B32(), Epoch: tangle.Epoch(r.U32()), Round: tangle.Round(r.U32()),
		Commit: r.U64(), Size: r.U64(), State: r.B32(),
	}
	n := r.Count(r.U32(), MaxAuthors, 40, "authors")
	h.Authors = make([]AuthorHead, n)
	for i := range h.Authors {
		h.Authors[i].Author = r.B32()
		h.Authors[i].Seq = tangle.Seq(r.U64())
		if i > 0 && string(h.Authors[i-1].Author[:]) >= string(h.Authors[i].Author[:]) {
			r.Fail("authors not ascending")
		}
	}
	return h
}

func readRange(r *fields.Reader) *Range {
	g := &Range{Author: r.B32(), From: r.U64(), To: r.U64()}
	if g.From == 0 || g.To < g.From || g.To-g.From >= MaxRange {
		r.Fail("range %d to %d", g.From, g.To)
	}
	return g
}

func appendNamed(kind frameKind, id uint64, name string, body []byte) []byte {
	b := append(make([]byte, 0, 1+8+1+len(name)+len(body)), byte(kind))
	b = binary.BigEndian.AppendUint64(b, id)
	b = append(append(b, byte(len(name))), name...)
	return append(b, body...)
}

// readNamed reads an id, a short name, and everything else.
func readNamed(r *fields.Reader) (id uint64, name string, body []byte) {
	id = r.U64()
	size := r.U8()
	if size > MaxName {
		r.Fail("name of %d bytes", size)
	}
	name = string(r.Take(int(size)))
	return id, name, r.Take(r.Left())
}
