package streams

import (
	"encoding/json"
	"strings"
	"testing"

	"weft/plugins/streams/channel"
)

// TestStates hands a batch over and asks by hashes what became of it.
func TestStates(t *testing.T) {
	w := start(t, networkOptions{nodes: 4})
	owner := w.people("owner")[0]
	id := w.create(owner)
	var batch struct {
		Operations []json.RawMessage `json:"operations"`
	}
	for range 3 {
		batch.Operations = append(batch.Operations, w.sign(owner, w.sealed(owner, id, "one of many", channel.RecordTerms{})))
	}
	type results struct {
		Results []struct {
			Status, Outcome, OpHash string
			Result                  struct{ Seq uint64 }
			Problem                 problemView
		}
	}
	var sent, got results
	w.call(0, "POST", "/api/v1"+channelPath(id, "/operations"), batch).into(202, &sent)
	hashes := []string{}
	for _, r := range sent.Results {
		hashes = append(hashes, r.OpHash)
	}
	ask := func(hashes ...string) reply {
		return w.call(0, "GET", "/api/v1"+channelPath(id, "/operations?wait=final&timeout=30s&hashes=", strings.Join(hashes, ",")), nil)
	}
	ask(append(hashes, "zQmnobody")...).into(200, &got)
	seen := map[uint64]bool{}
	for i, hash := range hashes {
		r := got.Results[i]
		if seen[r.Result.Seq] = true; r.OpHash != hash || r.Status != "final" || r.Outcome != "accepted" {
			t.Errorf("state %+v", r)
		}
	}
	if !seen[1] || !seen[2] || !seen[3] {
		t.Errorf("records %v", seen)
	}
	if p := got.Results[3].Problem; p.Code != "unknown_operation" || p.Status != 404 {
		t.Errorf("of an operation that nobody sent: %+v", p)
	}
	ask("").refused(400, "bad_parameter")
	ask(make([]string, MaxBatch+1)...).refused(400, "bad_parameter")
}
