package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"weft/plugins"
	"weft/tangle"
)

// ReadOperations cuts {"operations":[...]} into its items, 1 to most. Only where each ends counts here: what an item holds is
// for the decoder of signed operations, which is stricter than JSON.
func ReadOperations(raw []byte, most int) (list []json.RawMessage, err error) {
	s := cutter{raw}
	if !s.take('{') {
		return nil, plugins.Reject("bad_json", "not an object")
	}
	if !s.takeText(`"operations"`) {
		return nil, plugins.Reject("unknown_field", "want operations and nothing else")
	}
	if !s.take(':') || !s.take('[') {
		return nil, plugins.Reject("bad_value", "operations is not a list")
	}
	for more := !s.closes(); more; more = s.take(',') {
		item := s.item()
		if item == nil {
			return nil, plugins.Reject("bad_json", "operations[%d] is no value with an end", len(list))
		}
		if list = append(list, item); len(list) > most {
			return nil, plugins.Reject("bad_value", "more than %d operations", most)
		}
	}
	switch {
	case !s.take(']'):
		return nil, plugins.Reject("bad_json", "operations is a list without an end")
	case s.take(','):
		return nil, plugins.Reject("unknown_field", "want operations and nothing else")
	case !s.take('}') || len(s.space()) > 0:
		return nil, plugins.Reject("bad_json", "want the end of the object, and nothing behind it")
	case len(list) == 0:
		return nil, plugins.Reject("bad_value", "no operations: want 1 to %d", most)
	}
	return list, nil
}

// cutter takes JSON off the front of a text.
type cutter struct{ rest []byte }

func (s *cutter) space() []byte {
	s.rest = bytes.TrimLeft(s.rest, " \t\r\n")
	return s.rest
}

// closes says whether a list ends here.
func (s *cutter) closes() bool { return bytes.HasPrefix(s.space(), []byte("]")) }

func (s *cutter) take(c byte) bool { return s.takeText(string(c)) }

func (s *cutter) takeText(text string) (found bool) {
	rest, found := bytes.CutPrefix(s.space(), []byte(text))
	s.rest = rest
	return found
}

// item takes a value: up to where its brackets are closed, or to the end of a word or number. It is nil if there is none.
func (s *cutter) item() json.RawMessage {
	text := s.space()
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			n := stringEnd(text[i:])
			if n == 0 {
				return nil
			}
			i += n - 1
		case '{', '[':
			depth++
			continue
		case '}', ']':
			if depth--; depth < 0 {
				return s.cut(i)
			}
		case ',':
			if depth == 0 {
				return s.cut(i)
			}
			continue
		default:
			continue
		}
		if depth == 0 {
			return s.cut(i + 1)
		}
	}
	return nil
}

func (s *cutter) cut(n int) json.RawMessage {
	if n == 0 {
		return nil
	}
	item := s.rest[:n:n]
	s.rest = s.rest[n:]
	return json.RawMessage(bytes.TrimRight(item, " \t\r\n"))
}

// stringEnd is the length of the string that text begins with; 0 if it has no end.
func stringEnd(text []byte) int {
	for i := 1; ; i++ {
		n := bytes.IndexByte(text[i:], '"')
		if n < 0 {
			return 0
		}
		i += n
		slashes := 0
		for text[i-1-slashes] == '\\' { // ends at the opening quote
			slashes++
		}
		if slashes%2 == 0 {
			return i + 1
		}
	}
}

// SignedOperation is one that Check has read.
type SignedOperation struct {
	Op  plugins.Op
	Raw []byte
}

// CheckAll reads operations of one kind, with all signatures verified together.
func (o *Operations) CheckAll(kind tangle.Kind, list []json.RawMessage) []plugins.Checked {
	entries := make([]tangle.Entry, len(list))
	for i, raw := range list {
		entries[i] = tangle.Entry{Kind: kind, Data: raw}
	}
	return o.rules.CheckAll(entries)
}

// SubmitAll publishes operations in one message, or finds what became of those that came before; there is one state for each.
// All of them are taken or none: an operation that the node does not admit spoils the rest.
func (o *Operations) SubmitAll(ctx context.Context, kind tangle.Kind, list []SignedOperation) ([]State, error) {
	states := make([]State, len(list))
	first := map[string]int{} // where a hash stands first, of those that are new
	var fresh []plugins.Submission
	for i, one := range list {
		hash := o.rules.Hash(one.Op)
		s, known := o.before(hash)
		if known {
			s.Op, s.Kind = one.Op, kind
			states[i] = s
			continue
		}
		states[i] = State{Kind: kind, Op: one.Op, Hash: hash, EntryState: plugins.EntryState{Status: "pending"}}
		if _, again := first[hash]; !again {
			first[hash] = len(fresh)
			fresh = append(fresh, plugins.Submission{Kind: kind, Data: one.Raw, Op: one.Op})
		}
	}
	if len(fresh) == 0 {
		return states, nil
	}
	done, err := o.host.Submit(ctx, fresh)
	if err != nil {
		return nil, err
	}
	now := o.now()
	for hash, n := range first {
		o.pending.add(hash, pendingEntry{done.Entries[n], done.Message, now})
	}
	for i := range states {
		if n, ours := first[states[i].Hash]; ours {
			states[i].Entry, states[i].Message = done.Entries[n], done.Message
		}
	}
	return states, nil
}

// AwaitAll is Await of many.
func (o *Operations) AwaitAll(ctx context.Context, list []*State, wait time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for len(list) > 0 { // those of one message together: they become final together
		in := list[0].Message
		n := 1
		for n < len(list) && list[n].Message == in {
			n++
		}
		hashes := make([]tangle.Hash, n)
		for i, s := range list[:n] {
			hashes[i] = s.Entry
		}
		_ = o.host.WaitFinal(ctx, hashes, in) // too late is no error: the state says pending
		for _, s := range list[:n] {
			if o.look(s); s.Code == "already_exists" || s.Code == "replayed" {
				o.adopt(s)
			}
		}
		list = list[n:]
	}
}
