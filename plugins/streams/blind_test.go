package streams

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weft/plugins/identity/did"
	"weft/plugins/metrics"
	"weft/plugins/streams/channel"
)

// TestServersAreBlind writes a marker to private channels wherever something is sealed, and looks for it on all disks, in all
// logs, and in what a node answers to its operator. Another marker, in a public record, shows that the search would find it.
func TestServersAreBlind(t *testing.T) {
	const marker, control = "MARKER-7f3a9c-plaintext", "CONTROL-51d2e8-in-clear"
	w := start(t, networkOptions{nodes: 4, onDisk: true})
	people := w.people("owner", "reader", "visible")
	owner, reader, visible := people[0], people[1], people[2]
	id := w.create(owner)
	w.grant(owner, id, channel.Read|channel.Order, reader)
	k := epochKeyOf(id, 1)
	sealed, err := channel.Seal(noise{}, channel.Sealer{Epoch: 1, Key: &k}, channel.NewWrite(w.header(reader, id), channel.RecordTerms{RecordType: "note"}),
		did.Object{"mediaType": "text/plain", "name": marker + " in meta"}, []byte(strings.Repeat(marker+" inline ", 20)))
	if err != nil {
		t.Fatal(err)
	}
	w.done(reader, id, sealed)
	d := w.detach(owner, id, bytes.Repeat([]byte(marker+" detached "), 20_000))
	w.upload(0, owner, id, d)
	w.done(owner, id, d.body)
	w.as(2, reader, "GET", blobPath(id, d), nil).want(200)
	hidden := w.hiddenChannel(owner, reader, visible)
	profile, err := epochKeyOf(hidden, 0).SealProfile(hidden, owner.did, channel.Nonce{9}, did.Object{"name": marker})
	if err != nil {
		t.Fatal(err)
	}
	h := w.header(owner, hidden)
	h.Nonce = channel.Nonce{9}
	w.done(owner, hidden, channel.NewConfigure(h, channel.Settings{SealedProfile: &profile}))
	enclosure, err := channel.SealEnclosure(id, owner.to, owner.agreement.PublicKey().Bytes(), []byte(marker+" in a request"))
	if err != nil {
		t.Fatal(err)
	}
	w.done(visible, id, channel.NewRequest(w.header(visible, id), channel.Asked{Rights: channel.Read}, []did.Object{enclosure}))
	open := w.create(owner, public)
	w.done(owner, open, channel.NewWrite(w.header(owner, open), channel.RecordTerms{Public: did.Object{"text": control}}))

	w.operatorSeesNothing(id, hidden, d, marker)
	w.Stop()
	for i, dir := range w.dirs {
		clear := 0
		w.eachFile(dir, func(name string, content []byte) {
			w.mustNotHave(name, content, marker)
			clear += bytes.Count(content, []byte(control))
		})
		if clear == 0 {
			t.Errorf("node %d: the search does not find what is in clear", i)
		}
		w.mustNotHave("log of a node", w.logs[i].bytes(), marker)
		if len(w.logs[i].bytes()) == 0 {
			t.Errorf("node %d has logged nothing", i)
		}
	}
}

// noise is randomness that tests can repeat: it is not looked at here.
type noise struct{}

// Read implements io.Reader.
func (noise) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(i*31 + len(p))
	}
	return len(p), nil
}

// mustNotHave looks for a marker in clear and in the forms in which texts travel.
func (w *network) mustNotHave(name string, content []byte, marker string) {
	w.t.Helper()
	for _, form := range []string{marker, base64.StdEncoding.EncodeToString([]byte(marker))[:28], base64.RawURLEncoding.EncodeToString([]byte(marker))[:28], hex.EncodeToString([]byte(marker))} {
		if bytes.Contains(content, []byte(form)) {
			w.t.Errorf("%s has the marker", name)
		}
	}
}

func (w *network) eachFile(dir string, visit func(string, []byte)) {
	w.t.Helper()
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(name)
		visit(name, content)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// operatorSeesNothing asks a node as its operator, who is nobody in any channel.
func (w *network) operatorSeesNothing(id, hidden channel.ID, d detached, marker string) {
	w.t.Helper()
	operator := []string{"Authorization", "Bearer " + operatorToken}
	for _, route := range []string{
		"/api/v1/channels?limit=200", "/api/v1" + channelPath(id), "/api/v1" + channelPath(id, "/events"), "/api/v1" + channelPath(id, "/records"),
		"/api/v1" + channelPath(id, "/keys"), "/api/v1" + channelPath(id, "/subscriptions"), "/api/v1" + channelPath(id, "/export"),
		"/api/v1" + channelPath(hidden), "/api/v1" + blobPath(id, d), "/api/v1/messages?limit=200", "/api/v1/node", "/api/v1/explorer/overview",
		"/openapi.json", metrics.Path,
	} {
		r := w.call(0, "GET", route, nil, operator...)
		w.mustNotHave(route, r.body, marker)
		if strings.Contains(route, "/events") || strings.Contains(route, "/records") || strings.Contains(route, "/keys") || strings.Contains(route, "/blobs/") {
			r.refused(403, "not_participant")
		}
	}
	w.call(0, "GET", "/api/v1"+channelPath(hidden), nil, operator...).refused(404, "unknown_channel")
	w.call(0, "GET", "/api/v1/channels", nil, operator...).want(200)
	w.call(0, "GET", metrics.Path, nil, operator...).want(200)
	var l pageOf[struct{ EntryHash string }]
	var messages pageOf[struct{ Entries []struct{ EntryHash string } }]
	w.call(0, "GET", "/api/v1/messages?limit=200", nil, operator...).into(200, &messages)
	for _, m := range messages.Items {
		l.Items = append(l.Items, m.Entries...)
	}
	for _, e := range l.Items {
		w.mustNotHave("entry "+e.EntryHash, w.call(0, "GET", "/api/v1/entries/"+e.EntryHash, nil, operator...).body, marker)
	}
}
