package gossip

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"weft/tangle"
)

const start tangle.Time = 1_800_000_000_000

func at(d time.Duration) tangle.Time { return start.Add(d) }

func member(n byte) tangle.Member { return tangle.Member{n} }

func id(n byte) tangle.ID { return tangle.ID{n} }

// asked prints envelopes as "peer: what", in their order.
func asked(list []Envelope) string {
	var out []string
	for _, e := range list {
		switch f := e.Frame; {
		case f.Range == nil:
			var ids []string
			for _, id := range f.Want {
				ids = append(ids, fmt.Sprint(id[0]))
			}
			out = append(out, fmt.Sprintf("%d: want %s", e.To[0], strings.Join(ids, " ")))
		case f.Range.Author == tangle.Member{}:
			out = append(out, fmt.Sprintf("%d: commits %d-%d", e.To[0], f.Range.From, f.Range.To))
		default:
			out = append(out, fmt.Sprintf("%d: author %d %d-%d", e.To[0], f.Range.Author[0], f.Range.From, f.Range.To))
		}
	}
	return strings.Join(out, "; ")
}

func wantAsked(t *testing.T, list []Envelope, want string) {
	t.Helper()
	if got := asked(list); got != want {
		t.Errorf("asked %q, want %q", got, want)
	}
}

// gaps is a fixed list of missing messages.
type gaps []tangle.ID

func (g gaps) IsMissing(id tangle.ID) bool   { return slices.Contains(g, id) }
func (g gaps) Missing(limit int) []tangle.ID { return g[:min(limit, len(g))] }

func newTestRepair(peers ...byte) *Repair {
	r := NewRepair(DefaultRepairPace())
	for _, p := range peers {
		r.Connected(member(p))
	}
	return r
}

// tell gives the repair a peer's heads with a commit alone.
func tell(r *Repair, p byte, commit uint64) {
	r.TakeHeads(start, member(p), Heads{Commit: commit}, Heads{})
}

func TestFirstAskWaits(t *testing.T) {
	r := newTestRepair(1, 2)
	missing := []tangle.ID{id(9)}
	r.Missing(start, missing, member(2))
	wantAsked(t, r.Tick(at(14*time.Millisecond), gaps(missing), Heads{}), "")
	if due := r.Due(); due != at(15*time.Millisecond) {
		t.Errorf("due %s, want 15 ms after the start", due)
	}
	wantAsked(t, r.Tick(at(15*time.Millisecond), gaps(missing), Heads{}), "2: want 9")
	wantAsked(t, r.Tick(at(15*time.Millisecond), gaps(missing), Heads{}), "")
}

func TestArrivedIsNotAskedFor(t *testing.T) {
	r := newTestRepair(1)
	r.Missing(start, []tangle.ID{id(8), id(9)}, member(1))
	wantAsked(t, r.Tick(at(time.Second), gaps{id(9)}, Heads{}), "1: want 9")
	r.Tick(at(2*time.Second), gaps(nil), Heads{})
	if due := r.Due(); due != 0 {
		t.Errorf("due %s though nothing is missing", due)
	}
}

func TestSenderThenOthers(t *testing.T) {
	r := newTestRepair(1, 2, 3)
	missing := []tangle.ID{id(9)}
	r.Missing(start, missing, member(3))
	got := map[byte]int{}
	var first byte
	for step := range 6 {
		list := r.Tick(at(time.Duration(step)*10*time.Second), gaps(missing), Heads{})
		if step == 0 {
			wantAsked(t, list, "")
			continue
		}
		if len(list) != 1 {
			t.Fatalf("step %d: asked %q, want one peer", step, asked(list))
		}
		if first == 0 {
			first = list[0].To[0]
		}
		got[list[0].To[0]]++
	}
	if first != 3 {
		t.Errorf("asked peer %d first, want the sender", first)
	}
	for p := byte(1); p <= 3; p++ {
		if got[p] == 0 {
			t.Errorf("peer %d was never asked: %v", p, got)
		}
	}
}

// TestDoubtedIsAskedOfOthers: who is not believed is no reason to wait.
func TestDoubtedIsAskedOfOthers(t *testing.T) {
	r := newTestRepair(1, 2, 3)
	missing := gaps{id(9)}
	r.Missing(start, missing, member(3))
	now := start
	asks := map[string]bool{}
	for range 4 {
		now = now.Add(15 * time.Millisecond)
		list := r.Tick(now, missing, Heads{})
		asks[asked(list)] = true
		if len(list) != 1 {
			t.Fatalf("at %s: asked %q, want one peer", now, asked(list))
		}
		r.Doubted(now, id(9))
		r.Doubted(now, id(8)) // nobody misses it
	}
	if len(asks) != 3 {
		t.Errorf("asked %v, want each peer", asks)
	}
}

func TestSenderGone(t *testing.T) {
	r := newTestRepair(1, 2)
	missing := []tangle.ID{id(9)}
	r.Missing(start, missing, member(2))
	r.Disconnected(member(2))
	wantAsked(t, r.Tick(at(time.Second), gaps(missing), Heads{}), "1: want 9")
}

func TestRetriesBackOff(t *testing.T) {
	r := newTestRepair(1)
	missing := []tangle.ID{id(9)}
	r.Missing(start, missing, member(1))
	var pauses []time.Duration
	last := tangle.Time(0)
	for ms := range 12_000 {
		now := at(time.Duration(ms) * time.Millisecond)
		if len(r.Tick(now, gaps(missing), Heads{})) == 0 {
			continue
		}
		if last != 0 {
			pauses = append(pauses, now.Sub(last))
		}
		last = now
	}
	want := []time.Duration{100, 200, 400, 800, 1600, 2000, 2000, 2000, 2000}
	for i := range want {
		want[i] *= time.Millisecond
	}
	if !slices.Equal(pauses[:min(len(pauses), len(want))], want) || len(pauses) > len(want) {
		t.Errorf("gaps between asks %v, want %v", pauses, want)
	}
}

func TestWantsAreBounded(t *testing.T) {
	r := newTestRepair(1, 2)
	var missing []tangle.ID
	for i := range 2 * MaxWants {
		missing = append(missing, tangle.ID{byte(i >> 16), byte(i >> 8), byte(i)})
	}
	r.Missing(start, missing, member(1))
	if len(r.wants) != MaxWants {
		t.Errorf("%d messages tracked, limit %d", len(r.wants), MaxWants)
	}
	for step := range 20 {
		for _, e := range r.Tick(at(time.Duration(step)*time.Second), gaps(missing), Heads{}) {
			if len(e.Frame.Want) > MaxWant {
				t.Fatalf("asked for %d messages in one frame, limit %d", len(e.Frame.Want), MaxWant)
			}
		}
	}
}

// TestNoPeersNoHurry: without anybody to ask nothing is due, or the node would spin.
func TestNoPeersNoHurry(t *testing.T) {
	r := newTestRepair(1)
	missing := []tangle.ID{id(9)}
	r.Missing(start, missing, member(1))
	r.Disconnected(member(1))
	wantAsked(t, r.Tick(at(time.Second), gaps(missing), Heads{}), "")
	if due := r.Due(); due != 0 {
		t.Errorf("due %s without a peer to ask", due)
	}
	r.Connected(member(2))
	wantAsked(t, r.Tick(at(time.Second), gaps(missing), Heads{}), "2: want 9")
}

func TestRangesAfterHeads(t *testing.T) {
	r := newTestRepair(1)
	mine := Heads{Authors: []AuthorHead{{member(5), 10}, {member(6), 3}}}
	theirs := Heads{Authors: []AuthorHead{{member(5), 12}, {member(6), 3}, {member(7), 2}}}
	wantAsked(t, r.TakeHeads(start, member(1), theirs, mine), "1: author 5 11-12; 1: author 7 1-2") // fresh connection: at once

	theirs.Authors = []AuthorHead{{member(5), 14}, {member(6), 4}, {member(7), 2}}
	mine.Authors = []AuthorHead{{member(5), 12}, {member(6), 3}, {member(7), 2}}
	wantAsked(t, r.TakeHeads(start, member(1), theirs, mine), "") // may still be on their way
	mine.Authors[0].Seq = 14
	wantAsked(t, r.TakeHeads(start, member(1), theirs, mine), "1: author 6 4-4") // a second later it is not: it was lost
}

func TestHeadsOfStrangers(t *testing.T) {
	r := newTestRepair(1)
	wantAsked(t, r.TakeHeads(start, member(2), Heads{Authors: []AuthorHead{{member(5), 12}}}, Heads{}), "")
	if _, heard := r.Heads(member(2)); heard {
		t.Error("a peer that is not connected was heard")
	}
	if _, heard := r.Heads(member(1)); heard {
		t.Error("a peer that has said nothing was heard")
	}
}

func TestLongRangesAreCut(t *testing.T) {
	r := newTestRepair(1)
	asks := r.TakeHeads(start, member(1), Heads{Authors: []AuthorHead{{member(5), 1 << 62}}}, Heads{})
	for _, a := range asks {
		if _, err := Parse(a.Frame.Bytes()); err != nil {
			t.Errorf("asks what peers refuse: %v", err)
		}
	}
	tell(r, 1, 1<<62)
	for _, a := range r.Tick(start, gaps(nil), Heads{}) {
		if _, err := Parse(a.Frame.Bytes()); err != nil {
			t.Errorf("asks what peers refuse: %v", err)
		}
	}
}

func TestCatchUpFromTheFarthest(t *testing.T) {
	r := newTestRepair(1, 2, 3)
	tell(r, 1, 90)
	tell(r, 2, 100)
	tell(r, 3, 95)
	wantAsked(t, r.Tick(start, gaps(nil), Heads{Commit: 70}), "") // 30 behind is not far
	wantAsked(t, r.Tick(start, gaps(nil), Heads{Commit: 69}), "2: commits 70-100")
	if !r.CatchingUp() {
		t.Error("not catching up")
	}
	wantAsked(t, r.Tick(at(time.Second), gaps(nil), Heads{Commit: 69}), "") // one range at a time
	r.Answered(member(3), 95)                                               // was not asked
	wantAsked(t, r.Tick(at(time.Second), gaps(nil), Heads{Commit: 69}), "")
}

func TestCatchUpRangeAfterRange(t *testing.T) {
	r := newTestRepair(1, 2)
	tell(r, 1, 1000)
	wantAsked(t, r.Tick(start, gaps(nil), Heads{}), "1: commits 1-1000")
	r.Answered(member(1), 40)
	wantAsked(t, r.Tick(at(time.Millisecond), gaps(nil), Heads{Commit: 37}), "1: commits 41-1000") // the last ones are not decided yet
	r.Answered(member(1), 980)
	wantAsked(t, r.Tick(at(2*time.Millisecond), gaps(nil), Heads{Commit: 978}), "") // not far behind any more
	if r.CatchingUp() {
		t.Error("still catching up")
	}
}

func TestCatchUpTurnsToAnother(t *testing.T) {
	r := newTestRepair(1, 2)
	tell(r, 1, 1000)
	tell(r, 2, 900)
	wantAsked(t, r.Tick(start, gaps(nil), Heads{}), "1: commits 1-1000")
	if due := r.Due(); due != at(2*time.Second) {
		t.Errorf("due %s, want after the timeout", due)
	}
	wantAsked(t, r.Tick(at(2*time.Second), gaps(nil), Heads{}), "2: commits 1-900")
	r.Disconnected(member(2))
	wantAsked(t, r.Tick(at(2*time.Second), gaps(nil), Heads{}), "1: commits 1-1000")
}

func TestCatchUpOnlyPeerIsAskedAgain(t *testing.T) {
	r := newTestRepair(1)
	tell(r, 1, 1000)
	wantAsked(t, r.Tick(start, gaps(nil), Heads{}), "1: commits 1-1000")
	wantAsked(t, r.Tick(at(2*time.Second), gaps(nil), Heads{}), "1: commits 1-1000")
}

func TestBudget(t *testing.T) {
	pace := DefaultRepairPace()
	pace.PerSecond = 1000
	r := NewRepair(pace)
	r.Connected(member(1))
	for i, step := range []struct {
		after time.Duration
		peer  byte
		size  int
		want  bool
	}{
		{0, 1, 1000, true},
		{0, 1, 1, false},
		{100 * time.Millisecond, 1, 100, true},
		{100 * time.Millisecond, 1, 1, false},
		{time.Hour, 1, 1500, true},
		{time.Hour, 1, 1, false}, // saved up for a second at most; the last answer has overdrawn
		{time.Hour + 400*time.Millisecond, 1, 1, false},
		{time.Hour + 600*time.Millisecond, 1, 1, true},
		{time.Hour, 2, 1, false}, // not connected
	} {
		got := r.MayPull(at(step.after), member(step.peer))
		if got != step.want {
			t.Errorf("step %d: MayPull says %v, want %v", i, got, step.want)
		}
		if got {
			r.Pulled(member(step.peer), step.size)
		}
	}
}

// TestSameOrderEverywhere: equal calls give equal asks, whatever the order of maps.
func TestSameOrderEverywhere(t *testing.T) {
	run := func() string {
		r := newTestRepair(4, 2, 3, 1)
		var missing []tangle.ID
		for n := byte(1); n < 40; n++ {
			missing = append(missing, id(n))
			r.Missing(start, missing[n-1:], member(n%5))
		}
		var out []string
		for step := range 8 {
			out = append(out, asked(r.Tick(at(time.Duration(step)*300*time.Millisecond), gaps(missing), Heads{})))
		}
		return strings.Join(out, "\n")
	}
	want := run()
	for range 20 {
		if got := run(); got != want {
			t.Fatalf("got\n%s\nwant\n%s", got, want)
		}
	}
}
