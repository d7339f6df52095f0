package streams

import (
	"bytes"
	"encoding/json"
	"testing"

	"weft/plugins/streams/channel"
	"weft/receipt"
)

// TestGone erases a record with an inline body: no route of any node serves its operation any more, and every proof stays.
func TestGone(t *testing.T) {
	w := start(t, networkOptions{nodes: 4})
	people := w.people("owner", "reader")
	owner, reader := people[0], people[1]
	id := w.create(owner)
	w.grant(owner, id, channel.Read, reader)
	body := w.sealed(owner, id, "to be forgotten", channel.RecordTerms{})
	w.done(owner, id, body)
	var record eventView
	w.as(1, reader, "GET", channelPath(id, "/records/1"), nil).into(200, &record)
	if len(record.Operation) == 0 {
		t.Fatal("the record has no operation")
	}
	nonce, _ := body["nonce"].(string)
	hash := record.EntryHash.String()
	holds := func(i int, path, accept string) bool {
		return bytes.Contains(w.call(i, "GET", path, nil, "Accept", accept).body, []byte(nonce))
	}
	entry := "/api/v1/entries/" + hash
	var at struct{ MessageID string }
	w.call(0, "GET", entry, nil).into(200, &at)
	paths := map[string]string{
		entry: "application/json", entry + "/receipt": "application/octet-stream",
		"/api/v1/messages/" + at.MessageID: "application/octet-stream",
	}
	for path, accept := range paths {
		if path != entry && !holds(2, path, accept) {
			t.Errorf("%s does not hold the operation before it is erased: the test does not look", path)
		}
	}
	w.done(owner, id, channel.NewErase(w.header(owner, id), 1, "gdpr_art17"))
	for i := range w.nodes {
		for path, accept := range paths {
			if holds(i, path, accept) {
				t.Errorf("node %d: %s holds what is erased", i, path)
			}
		}
		w.call(i, "GET", entry, nil).refused(410, "erased")
		report, err := receipt.Verify(w.genesis, w.call(i, "GET", entry+"/receipt", nil, "Accept", "application/octet-stream").body)
		if err != nil || !report.Verified {
			t.Errorf("node %d: the receipt of the hash: %v %+v", i, err, report.Checks)
		}
	}
	export := w.as(0, owner, "GET", channelPath(id, "/export"), nil).want(200).body
	report := w.verify(export)
	if !report.Verified || report.Gone != 1 {
		text, _ := json.Marshal(report)
		t.Errorf("the bundle of a channel with an erased record: %s", text)
	}
	if bytes.Contains(w.unzip(export, "events.jsonl"), []byte(nonce)) {
		t.Error("the bundle holds what is erased")
	}
}
