package tangle

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestHexHasOneForm(t *testing.T) {
	good := strings.Repeat("0f", 32)
	id, err := ParseID(good)
	if err != nil || id.String() != good || id.Short() != "0f0f0f0f" {
		t.Errorf("%v: %s, %s", err, id, id.Short())
	}
	for _, bad := range []string{"", good[1:], good + "0", strings.ToUpper(good), "0x" + good[2:], " " + good[1:], "\u00e9" + good[2:]} {
		if _, err := ParseID(bad); err == nil {
			t.Errorf("ParseID accepts %q", bad)
		}
		if _, err := ParseHash(bad); err == nil {
			t.Errorf("ParseHash accepts %q", bad)
		}
		if _, err := ParseMember(bad); err == nil {
			t.Errorf("ParseMember accepts %q", bad)
		}
	}
}

func TestJSON(t *testing.T) {
	type all struct {
		ID     ID
		Hash   Hash
		Member Member
	}
	want := all{ID{1}, Hash{2}, Member{3}}
	b, err := json.Marshal(want)
	if err != nil || !strings.Contains(string(b), `"Hash":"02000000`) {
		t.Fatalf("%v: %s", err, b)
	}
	var got all
	if err := json.Unmarshal(b, &got); err != nil || got != want {
		t.Errorf("%v: %+v, want %+v", err, got, want)
	}
	if err := json.Unmarshal([]byte(`{"ID":"zz"}`), &got); err == nil {
		t.Error("accepted an ID of two characters")
	}
}

func TestTime(t *testing.T) {
	at := TimeOf(time.Date(2026, 9, 21, 14, 13, 20, 123_456_789, time.FixedZone("", 7200)))
	if got := at.String(); got != "2026-09-21T12:13:20.123Z" {
		t.Errorf("%s", got)
	}
	if got := TimeOf(time.Date(1969, 1, 1, 0, 0, 0, 0, time.UTC)); got != 0 {
		t.Errorf("before 1970: %d, want 0", got)
	}
	if got := at.Add(-2 * time.Second).Add(time.Second).Sub(at); got != -time.Second {
		t.Errorf("%v, want -1s", got)
	}
	if got := Time(5).Add(-time.Second); got != 0 {
		t.Errorf("%d, want 0", got)
	}
}
