package node

import (
	"fmt"

	"weft/internal/store"
	"weft/tangle"
)

// pendingEntries are own entries that the order has not reached: the outbox. Their messages are durable; if one expires,
// its entries are sealed anew under the same hashes.
type pendingEntries struct {
	count, bytes int
	again        []tangle.Entry // of expired messages
}

func (p *pendingEntries) add(m *tangle.Message, sign int) {
	p.count += sign * len(m.Entries)
	p.bytes += sign * m.Size()
}

// sealRoom is kept free in a message for its header and signature.
const sealRoom = 1024

// sealSubmissions packs what was submitted since the last Step into as few messages as the limits allow: entries that
// arrive together share one signature, one hash, one frame.
func (s *step) sealSubmissions() {
	pack := packer{step: s}
	if len(s.pending.again) > 0 && s.maySign() {
		for len(s.pending.again) > 0 && !s.full() {
			e := s.pending.again[0]
			s.pending.again = s.pending.again[1:]
			s.batch.Delete(store.Key(store.PrefixOutbox, e.Hash[:]))
			pack.add(e, nil, nil)
		}
		s.out.More = s.out.More || len(s.pending.again) > 0
	}
	for i, sub := range s.submits {
		if s.full() {
			s.postpone(s.submits[i:])
			break
		}
		if code, detail := s.admit(sub); code != "" {
			s.out.Refused = append(s.out.Refused, Refused{sub.Ticket, code, detail})
			continue
		}
		for i := range sub.Entries {
			last := sub
			if i < len(sub.Entries)-1 {
				last = nil
			}
			var checked *Checked
			if i < len(sub.Ops) {
				checked = &sub.Ops[i]
			}
			pack.add(sub.Entries[i], checked, last)
		}
	}
	pack.flush()
	if pack.err != nil {
		s.fail = pack.err
	}
}

// postpone leaves submissions to the next Step.
func (s *step) postpone(subs []*Submission) {
	for _, sub := range subs {
		s.backlog = append(s.backlog, Input{Submit: sub})
	}
	s.out.More = true
}

// admit says why a submission cannot be taken, or nothing.
func (s *step) admit(sub *Submission) (code, detail string) {
	t := s.config.Tuning
	switch {
	case len(sub.Entries) == 0:
		return "bad_value", "no entries"
	case !s.maySign():
		return "no_quorum", "this node has not heard from a quorum since it started"
	case s.pending.count+len(sub.Entries) > t.MaxPendingEntries || s.pending.bytes > t.MaxPendingBytes:
		return "busy", fmt.Sprintf("%d entries of this node wait to be ordered", s.pending.count)
	}
	for _, e := range sub.Entries {
		if len(e.Data) > s.codec.Limits.MaxEntryBytes {
			return "too_large", fmt.Sprintf("entry of %d bytes, limit %d", len(e.Data), s.codec.Limits.MaxEntryBytes)
		}
	}
	return "", ""
}

// packer fills messages with entries and answers a submission once its last entry is sealed.
type packer struct {
	step    *step
	entries []tangle.Entry
	checks  []Checked // of the entries, as long as all have them
	size    int
	done    []*Submission
	err     error
}

func (p *packer) add(e tangle.Entry, checked *Checked, last *Submission) {
	limits := p.step.codec.Limits
	size := e.Size()
	if len(p.entries) >= limits.MaxEntries || p.size+size > limits.MaxMessageBytes-sealRoom {
		p.flush()
	}
	if checked != nil && len(p.checks) == len(p.entries) {
		p.checks = append(p.checks, *checked)
	}
	p.entries = append(p.entries, e)
	p.size += size
	if last != nil {
		p.done = append(p.done, last)
	}
}

func (p *packer) flush() {
	if len(p.entries) == 0 || p.err != nil {
		return
	}
	m, err := p.step.seal(tangle.Header{}, p.entries, nil)
	if err == nil {
		p.step.pending.add(m, 1)
		if len(p.checks) == len(p.entries) {
			p.step.keepChecks(m.ID, p.checks)
		}
		err = p.step.addOwn(m)
	}
	if err != nil {
		p.err = err
		return
	}
	for _, sub := range p.done {
		p.step.out.Accepted = append(p.step.out.Accepted, Accepted{sub.Ticket, m.ID})
	}
	p.entries, p.checks, p.size, p.done = nil, nil, 0, nil
}
