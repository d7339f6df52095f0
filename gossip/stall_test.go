package gossip

import (
	"strings"
	"testing"
	"time"

	"weft/tangle"
)

// until ticks every 10 ms and says after how long an ask contains the text; behave plays the peers.
func until(t *testing.T, r *Repair, missing []tangle.ID, text string, behave func(now tangle.Time, asks []Envelope)) {
	t.Helper()
	for ms := 0; ms < 20_000; ms += 10 {
		now := at(time.Duration(ms) * time.Millisecond)
		asks := r.Tick(now, gaps(missing), Heads{})
		if strings.Contains(asked(asks), text) {
			return
		}
		if behave != nil {
			behave(now, asks)
		}
	}
	t.Errorf("never asked %q", text)
}

// TestLiarAboutItsCommit: a peer that claims to be far ahead and does not answer must not keep others from being asked.
func TestLiarAboutItsCommit(t *testing.T) {
	r := newTestRepair(1, 2)
	tell(r, 1, 1<<40)
	r.Missing(start, []tangle.ID{id(9)}, member(2))
	until(t, r, []tangle.ID{id(9)}, "2: want 9", nil)
}

// TestLiarAboutItsAnswer: a peer says that it has sent everything, and has sent nothing.
func TestLiarAboutItsAnswer(t *testing.T) {
	r := newTestRepair(1, 2)
	tell(r, 1, 1<<40)
	tell(r, 2, 5000)
	until(t, r, nil, "2: commits 1-", func(_ tangle.Time, asks []Envelope) {
		for _, a := range asks {
			r.Answered(a.To, 1<<40)
		}
	})
}

// TestLostFrameOfAnAnswer: the last frame of an answer arrived, one before it was lost.
func TestLostFrameOfAnAnswer(t *testing.T) {
	r := newTestRepair(1)
	tell(r, 1, 5000)
	r.Tick(start, gaps(nil), Heads{})
	r.Answered(member(1), 500)
	until(t, r, nil, "1: commits 1-", nil)
}

// TestAncestorNeverCommitted: a commit's message has an expired parent, which no range holds.
func TestAncestorNeverCommitted(t *testing.T) {
	r := newTestRepair(1)
	tell(r, 1, 5000)
	until(t, r, []tangle.ID{id(9)}, "1: want 9", func(_ tangle.Time, asks []Envelope) {
		for _, a := range asks {
			if a.Frame.Range != nil {
				r.Answered(a.To, a.Frame.Range.From+100)
			}
		}
	})
}
