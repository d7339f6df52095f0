package node

import (
	"testing"
	"time"
)

func TestClockFollowsTheMachine(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	for _, c := range []struct {
		name            string
		ahead           time.Duration // of the clock before, against the machine's now
		passed          time.Duration
		want, wantAhead time.Duration // moved on by, and still ahead by
	}{
		{"both run alike", -time.Second, time.Second, time.Second, 0},
		{"machine jumped forward", -time.Hour, time.Second, time.Hour, 0},
		{"machine was set back an hour", time.Hour, 10 * time.Second, 5 * time.Second, time.Hour + 5*time.Second},
		{"a little ahead: catches up at once", -900 * time.Millisecond, time.Second, 900 * time.Millisecond, 0},
		{"no time has passed", time.Second, 0, 0, time.Second},
	} {
		machine := start.Add(-c.ahead)
		got := follow(start, machine, c.passed)
		if moved := got.Sub(start); moved != c.want || got.Sub(machine) != c.wantAhead {
			t.Errorf("%s: moved by %s, ahead by %s; want %s and %s", c.name, moved, got.Sub(machine), c.want, c.wantAhead)
		}
	}
}

func TestClockComesBackWithoutGoingBack(t *testing.T) {
	at, machine := time.Unix(1_800_000_000, 0), time.Unix(1_800_000_000-5, 0) // set back by 5 s
	for range 100 {
		machine = machine.Add(100 * time.Millisecond)
		next := follow(at, machine, 100*time.Millisecond)
		if next.Before(at) {
			t.Fatal("the clock went back")
		}
		at = next
	}
	if !at.Equal(machine) {
		t.Errorf("after 10 s still ahead by %s", at.Sub(machine))
	}
}
