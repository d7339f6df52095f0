package streams

import (
	"net/http"
	"strings"
	"testing"

	"weft/plugins/streams/channel"
)

// TestConditional reads a channel and a payload with If-None-Match, and writes with If-Match.
func TestConditional(t *testing.T) {
	w := start(t, networkOptions{})
	people := w.people("owner", "reader")
	owner, reader := people[0], people[1]
	id := w.create(owner)
	tag := w.as(0, owner, "GET", channelPath(id), nil).want(200).header.Get("ETag")
	if !strings.HasPrefix(tag, `"0.`) {
		t.Errorf("ETag %s, want event 0", tag)
	}
	if r := w.as(0, owner, "GET", channelPath(id), nil, "If-None-Match", tag).want(304); len(r.body) != 0 || r.header.Get("ETag") != tag {
		t.Errorf("304 with %d bytes, ETag %s", len(r.body), r.header.Get("ETag"))
	}
	w.as(0, reader, "GET", channelPath(id), nil, "If-None-Match", tag).want(200) // sees other rights

	post := func(match string, entry []byte) reply {
		return w.call(0, "POST", "/api/v1"+channelPath(id, "/operations?wait=final&timeout=30s"), entry, "If-Match", match)
	}
	first := w.sign(owner, w.sealed(owner, id, "first", channel.RecordTerms{}))
	post(`"1"`, first).refused(412, "version_mismatch")
	post(tag, first).want(200)
	post(tag, first).want(200) // it took effect
	post(tag, w.sign(owner, w.sealed(owner, id, "second", channel.RecordTerms{}))).refused(412, "version_mismatch")
	post(`"7", "1"`, w.sign(owner, w.sealed(owner, id, "second", channel.RecordTerms{}))).want(200)
	w.as(0, owner, "GET", channelPath(id), nil, "If-None-Match", tag).want(200)

	batch := `{"operations":[` + string(w.sign(owner, w.sealed(owner, id, "third", channel.RecordTerms{}))) + `]}`
	var answer struct {
		Results []struct{ Problem problemView }
	}
	post(`"1"`, []byte(batch)).into(200, &answer)
	if got, want := answer.Results[0].Problem, http.StatusPreconditionFailed; got.Code != "version_mismatch" || got.Status != want || got.Title != "Version mismatch" {
		t.Errorf("problem of a batch %+v", got)
	}

	d := w.detach(owner, id, make([]byte, 20_000))
	w.upload(0, owner, id, d)
	w.done(owner, id, d.body)
	for _, path := range []string{blobPath(id, d), blobPath(id, d) + "/chunks/0"} {
		r := w.as(0, owner, "GET", path, nil).want(200)
		if got := r.header.Get("Cache-Control"); got != "private, max-age=31536000, immutable" {
			t.Errorf("%s: Cache-Control %q", path, got)
		}
		if again := w.as(0, owner, "GET", path, nil, "If-None-Match", r.header.Get("ETag")).want(304); len(again.body) != 0 {
			t.Errorf("%s: 304 with %d bytes", path, len(again.body))
		}
	}
	w.done(owner, id, channel.NewErase(w.header(owner, id), 3, "gdpr_art17"))
	w.as(0, owner, "GET", blobPath(id, d), nil, "If-None-Match", "*").refused(410, "erased")
}
