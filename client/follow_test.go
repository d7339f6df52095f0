package client

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

var errStop = errors.New("stop")

func finalEvent(position int) string {
	return fmt.Sprintf("id: %d\nevent: entry\ndata: {\"entryHash\":%q,\"messageId\":%q,\"kind\":1,\"outcome\":\"accepted\",\"place\":{\"position\":%d,\"index\":0}}\n\n",
		position, hashA, messageB, position)
}

// TestFollowResumes cuts the stream in every way a network can, and wants each entry once and in order.
func TestFollowResumes(t *testing.T) {
	streams := []string{
		": hello\nretry: 2000\n\n" + finalEvent(1) + finalEvent(2) + "id: 3\nevent: entry\ndata: {\"cut", // off in the middle
		"", // at once
		finalEvent(3) + ":\n\n" + "event: end\ndata: {\"code\":\"shutdown\"}\n\n", // in good order
		finalEvent(4) + finalEvent(5),
	}
	var resumed []string
	connection := 0
	node := newTestClient(t, Config{Retry: Retry{Attempts: 2, First: time.Millisecond, Longest: time.Millisecond}}, func(w http.ResponseWriter, r *http.Request) {
		resumed = append(resumed, r.Header.Get("Last-Event-ID"))
		if connection == len(streams) {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, streams[connection])
		connection++
	})
	var got []int
	told := 0
	err := node.Follow(t.Context(), FollowFilter{After: "0"}, func(e FinalEntry) error {
		got = append(got, int(e.Place.Position))
		if len(got) == 5 {
			return errStop
		}
		return nil
	}, func(error) { told++ })
	if !errors.Is(err, errStop) {
		t.Errorf("ended with %v", err)
	}
	if want := []int{1, 2, 3, 4, 5}; !slices.Equal(got, want) {
		t.Errorf("got entries %v, want %v", got, want)
	}
	if want := []string{"0", "2", "2", "3"}; !slices.Equal(resumed, want) {
		t.Errorf("resumed after %q, want %q", resumed, want)
	}
	if told != 3 {
		t.Errorf("told of %d interruptions, want 3", told)
	}
}

func TestFollowEndsWhenRefused(t *testing.T) {
	node := newTestClient(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, `{"code":"forbidden"}`)
	})
	err := node.Follow(t.Context(), FollowFilter{}, func(FinalEntry) error { return nil }, nil)
	if ProblemCode(err) != "forbidden" {
		t.Errorf("got %v", err)
	}
}

func TestReadEvents(t *testing.T) {
	for in, want := range map[string][]event{
		"":                                  nil,
		"data: a\n\n":                       {{data: "a"}},
		"data:a\ndata: b\nid: 1\n\n":        {{id: "1", data: "a\nb"}},
		": comment\n\n\n\ndata: x\n\n":      {{data: "x"}},
		"event: e\r\ndata: x\r\n\r\n":       {{name: "e", data: "x"}},
		"data: whole\n\ndata: cut off":      {{data: "whole"}},
		"data: whole\n\ndata: no blank\n":   {{data: "whole"}},
		"unknown: field\ndata\ndata: x\n\n": {{data: "x"}},
	} {
		var got []event
		err := readEvents(strings.NewReader(in), func(e event) error { got = append(got, e); return nil })
		if !errors.Is(err, errStreamEnded) || !slices.Equal(got, want) {
			t.Errorf("%q: got %+v, %v, want %+v", in, got, err, want)
		}
	}
	long := "data: " + strings.Repeat("x", MaxEventBytes) + "\n\n"
	if err := readEvents(strings.NewReader(long), func(event) error { return nil }); !Unreachable(err) {
		t.Errorf("a line beyond the bound: %v", err)
	}
}
