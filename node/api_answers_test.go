package node

import (
	"net/http"
	"strconv"
	"testing"
	"time"
)

func TestAnswersOfReusedKeys(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	a := newAnswers()
	a.now = func() time.Time { return now }
	answer := func(key string) {
		t.Helper()
		id, before, err := a.begin("caller", "/route", key, nil)
		if before != nil || err != nil {
			t.Fatalf("%s: %v, %v", key, before, err)
		}
		a.end(id, &keptAnswer{status: http.StatusOK, text: []byte("answer")})
	}
	answer("key")
	now = now.Add(replayTime + time.Second)
	id, before, err := a.begin("caller", "/route", "key", nil) // runs while the others push its first answer out
	if before != nil || err != nil {
		t.Fatalf("the answer is over: %v, %v", before, err)
	}
	for i := range MaxAnswers {
		answer(strconv.Itoa(i))
	}
	if _, _, err := a.begin("caller", "/route", "key", nil); err == nil {
		t.Error("the running request was forgotten")
	}
	a.end(id, &keptAnswer{status: http.StatusOK, text: []byte("second")})
	if _, before, err := a.begin("caller", "/route", "key", nil); err != nil || before == nil || string(before.text) != "second" {
		t.Errorf("got %v, %v", before, err)
	}
	if want := len("answer")*(MaxAnswers-1) + len("second"); a.bytes != want {
		t.Errorf("%d bytes are counted, %d kept", a.bytes, want)
	}
}
