package rest

import (
	"context"

	"weft/plugins"
	"weft/tangle"
)

// SignedOperation is one that Check has read.
type SignedOperation struct {
	Op  plugins.Op
	Raw []byte
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
