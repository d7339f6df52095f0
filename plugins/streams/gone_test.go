package streams

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"testing"

	"weft/plugins"
	"weft/plugins/streams/channel"
	"weft/receipt"
	"weft/tangle"
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
	for i := range w.Nodes {
		for path, accept := range paths {
			if holds(i, path, accept) {
				t.Errorf("node %d: %s holds what is erased", i, path)
			}
		}
		w.call(i, "GET", entry, nil).refused(410, "erased")
		report, err := receipt.Verify(w.Genesis, w.call(i, "GET", entry+"/receipt", nil, "Accept", "application/octet-stream").body)
		if err != nil || !report.Verified {
			t.Errorf("node %d: the receipt of the hash: %v %+v", i, err, report.Checks)
		}
	}
	payload := w.detach(owner, id, make([]byte, 20_000))
	w.upload(0, owner, id, payload)
	w.done(owner, id, payload.body)
	w.done(owner, id, channel.NewErase(w.header(owner, id), 2, "gdpr_art17"))
	for _, to := range []string{"", "?to=2"} { // in the part, the erasure lies behind the last event
		export := w.as(3, owner, "GET", channelPath(id, "/export", to), nil).want(200).body
		report := w.verify(export)
		if !report.Verified || report.Gone != 1 || report.Erased != 1 {
			text, _ := json.Marshal(report)
			t.Errorf("the bundle%s of a channel with an erased record: %s", to, text)
		}
		if bytes.Contains(w.unzip(export, channel.FileEvents), []byte(nonce)) {
			t.Errorf("the bundle%s holds what is erased", to)
		}
	}
	w.hidden(owner, id)
}

// hidden makes a bundle of a channel with a record that is there declared gone: it is refused.
func (w *network) hidden(owner *person, id channel.ID) {
	w.t.Helper()
	w.done(owner, id, w.sealed(owner, id, "is there", channel.RecordTerms{}))
	h := w.head(id)
	e, err := channel.ReadEvent(w.view(0), id, h.Event)
	if err != nil {
		w.t.Fatal(err)
	}
	bare, err := w.Nodes[0].Ledger.BareReceipt(e.Entry)
	if err != nil {
		w.t.Fatal(err)
	}
	record, err := w.Nodes[0].Ledger.Entry(e.Entry)
	if err != nil {
		w.t.Fatal(err)
	}
	left := record.Entry.Remains()
	raw := w.as(0, owner, "GET", channelPath(id, "/export"), nil).want(200).body
	last := func(b []byte) int { return bytes.LastIndexByte(b[:len(b)-1], '\n') + 1 }
	forged := map[string][]byte{}
	for _, name := range []string{channel.FileEvents, channel.FileReceipts} {
		b := w.unzip(raw, name)
		line, at := b[last(b):], bytes.Index(b[last(b):], []byte(`,"operation":`))
		if name == channel.FileEvents {
			line = fmt.Appendf(bytes.Clone(line[:at]), `,"gone":{"lasting":"%s","rest":"%s"}}`+"\n", base64.StdEncoding.EncodeToString(left.Lasting), left.Rest)
		} else {
			line = fmt.Appendf(nil, `{"event":%d,"receipt":"%s"}`+"\n", h.Event, base64.StdEncoding.EncodeToString(bare))
		}
		forged[name] = append(bytes.Clone(b[:last(b)]), line...)
	}
	report := w.verify(w.rezip(raw, func(name string, b []byte) []byte {
		if name != channel.FileManifest {
			if changed := forged[name]; changed != nil {
				return changed
			}
			return b
		}
		for name, changed := range forged {
			before, after := sha256.Sum256(w.unzip(raw, name)), sha256.Sum256(changed)
			b = bytes.Replace(b, fmt.Appendf(nil, "%x", before), fmt.Appendf(nil, "%x", after), 1)
		}
		return b
	}))
	for _, c := range report.Checks {
		if c.Name == channel.CheckReplay && c.Code != "not_gone" {
			w.t.Errorf("a record that is there, declared gone: %+v", report)
		}
	}
}

// TestExportBeforeARetentionIsFinal: a retention that no checkpoint covers yet makes records go here, and nothing in a bundle
// could say why.
func TestExportBeforeARetentionIsFinal(t *testing.T) {
	var h plugins.Host
	w := start(t, networkOptions{opened: func(lent plugins.Host, _ plugins.Plugin) { h = lent }})
	owner := w.people("owner")[0]
	id := w.create(owner)
	w.done(owner, id, w.sealed(owner, id, "one", channel.RecordTerms{}))
	head := h.Head()
	w.done(owner, id, channel.NewConfigure(w.header(owner, id), channel.Settings{RetentionDays: ptr(1)}))
	h.Head = func() plugins.Head { return head }
	certified := h.Checkpoint
	h.Checkpoint = func(size tangle.Position) (plugins.Checkpoint, bool) {
		c, ok := certified(size)
		return c, ok && c.Size <= head.Final
	}
	s := &streams{host: h, ledger: ledger{w.id}}
	c, at, err := channel.ReadChannel(w.view(0), id)
	if err != nil {
		t.Fatal(err)
	}
	x := &reader{Channel: c, head: at, did: owner.did}
	end, err := s.finalEvents(x)
	if err != nil || end != 2 {
		t.Fatalf("%d events are final, %v, want 2", end, err)
	}
	if _, err := s.bundle(x, end); plugins.Rejected(err) == nil || plugins.Rejected(err).Code != "not_final" {
		t.Errorf("%v, want not_final", err)
	}
}
