package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"weft/plugins/streams/channel"
	"weft/tangle"
)

func happening(event int, name string) string {
	return fmt.Sprintf("id: %d\nevent: %s\ndata: {\"event\":%d,\"op\":\"write\",\"seq\":%d,\"time\":\"2026-11-22T17:00:00.000Z\"}\n\n", event, name, event, event)
}

// TestFollowChannelResumes cuts the feed, and wants each event once; what is no event does not move the cursor.
func TestFollowChannelResumes(t *testing.T) {
	streams := []string{
		"retry: 2000\n\n" + happening(5, "record") + "event: rekeyDue\ndata: {\"epoch\":3}\n\n" + "id: 6\nevent: record\ndata: {\"ev",
		": beat\n\n" + happening(6, "record") + "event: end\ndata: {\"code\":\"slow_consumer\"}\n\n",
		happening(7, "membership") + "event: end\ndata: {\"code\":\"token_expired\"}\n\n",
	}
	var resumed []string
	node := newTestClient(t, Config{Retry: Retry{Attempts: 2, First: time.Millisecond, Longest: time.Millisecond}}, func(w http.ResponseWriter, r *http.Request) {
		resumed = append(resumed, r.Header.Get("Last-Event-ID"))
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, streams[len(resumed)-1])
	})
	var got []string
	after := uint64(4)
	err := node.FollowChannel(t.Context(), channel.ID{1}, &after, func(h ChannelHappening) error {
		got = append(got, h.Name+h.ID)
		return nil
	}, nil)
	if ProblemCode(err) != "token_expired" {
		t.Errorf("ended with %v", err)
	}
	if want := []string{"record5", "rekeyDue", "record6", "membership7"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if want := []string{"4", "5", "6"}; !slices.Equal(resumed, want) {
		t.Errorf("resumed after %q, want %q", resumed, want)
	}
}

func TestBatchesHaveAResultForEach(t *testing.T) {
	one, two := []byte(`{"op":"write","nonce":"<&>"}`), []byte(`{"op":"lock"}`)
	answer := ""
	node := newTestClient(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if want := `{"operations":[` + string(one) + `,` + string(two) + `]}`; string(body) != want {
			t.Errorf("got %s, want %s", body, want)
		}
		io.WriteString(w, answer)
	})
	id := channel.ID{1}
	answer = `{"results":[{"status":"final","outcome":"accepted","opHash":"zQm","result":{"channel":"` + id.String() + `","event":0,"seq":7,"head":"` + hashA + `"}},
		{"problem":{"type":"urn:weft:problem:locked","code":"locked"}}]}`
	results, err := node.SubmitOperations(t.Context(), id, [][]byte{one, two}, OperationOptions{})
	if err != nil || len(results) != 2 {
		t.Fatalf("%d results, %v", len(results), err)
	}
	if r := results[0]; r.Err() != nil || r.Status != Final || *r.Result.Event != 0 || r.Result.Seq != 7 || r.Result.Head.String() != hashA {
		t.Errorf("got %+v", r)
	}
	if ProblemCode(results[1].Err()) != "locked" {
		t.Errorf("got %+v", results[1])
	}
	answer = `{"results":[{"status":"final","outcome":"rejected","code":"epoch_closed"},{"status":"pending"}]}`
	results, err = node.SubmitOperations(t.Context(), id, [][]byte{one, two}, OperationOptions{})
	if err != nil || ProblemCode(results[0].Err()) != "epoch_closed" || results[1].Err() != nil {
		t.Errorf("got %+v, %v", results, err)
	}
	answer = `{"results":[]}`
	if _, err := node.SubmitOperations(t.Context(), id, [][]byte{one, two}, OperationOptions{}); err == nil {
		t.Error("an answer with fewer results is taken")
	}
	if _, err := node.SubmitOperations(t.Context(), id, make([][]byte, MaxBatch+1), OperationOptions{}); err == nil {
		t.Error("a batch that is too large is sent")
	}
}

func TestBlobsHaveRanges(t *testing.T) {
	whole := strings.Repeat("0123456789", 10)
	ranges := true
	node := newTestClient(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		if !ranges {
			r.Header.Del("Range")
		}
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(whole))
	})
	for _, x := range []struct {
		offset, length int64
		want           string
	}{{0, 0, whole}, {95, 0, "56789"}, {10, 3, "012"}, {0, 2, "01"}} {
		var got bytes.Buffer
		if n, err := node.Blob(t.Context(), channel.ID{}, tangle.Hash{}, x.offset, x.length, &got); err != nil || got.String() != x.want || n != int64(len(x.want)) {
			t.Errorf("%+v: got %q, %v", x, &got, err)
		}
	}
	if size, err := node.BlobSize(t.Context(), channel.ID{}, tangle.Hash{}); err != nil || size != 100 {
		t.Errorf("size %d, %v", size, err)
	}
	if _, err := node.Blob(t.Context(), channel.ID{}, tangle.Hash{}, 1000, 0, io.Discard); ProblemCode(err) != "http_416" {
		t.Errorf("behind the end: %v", err)
	}
	ranges = false
	if _, err := node.Blob(t.Context(), channel.ID{}, tangle.Hash{}, 95, 0, io.Discard); err == nil {
		t.Error("the whole is taken for a part")
	}
}

func TestAllReadsEveryPage(t *testing.T) {
	pages := map[string]List[int]{"": {Items: []int{1, 2}, Next: "a"}, "a": {Items: []int{3}, Next: "b"}, "b": {Items: nil}}
	var got []int
	err := All(t.Context(), Page{}, func(_ context.Context, p Page) (List[int], error) { return pages[p.Cursor], nil }, func(n int) error { got = append(got, n); return nil })
	if err != nil || !slices.Equal(got, []int{1, 2, 3}) {
		t.Errorf("got %v, %v", got, err)
	}
	err = All(t.Context(), Page{}, func(_ context.Context, p Page) (List[int], error) { return pages[p.Cursor], nil }, func(n int) error { return errStop })
	if !errors.Is(err, errStop) {
		t.Errorf("got %v", err)
	}
}
