package streams

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"weft/plugins/identity/did"
	"weft/plugins/streams/channel"
	"weft/tangle"
)

// TestBadInput posts everything that is wrong to each of four nodes: a code, the same everywhere, and no state change.
func TestBadInput(t *testing.T) {
	w := start(t, networkOptions{nodes: 4})
	people := w.people("owner", "reader", "writer", "stranger")
	owner, reader, writer := people[0], people[1], people[2]
	tags := func(_ channel.ID, terms *channel.CreateTerms) {
		terms.Settings.Tags = &[]string{"customs", "docs"}
		terms.Grants = []channel.Grant{{Participant: writer.did, Rights: channel.Order, Tags: []string{"docs"}}}
	}
	id, other := w.create(owner, tags), w.create(owner)
	w.grant(owner, id, channel.Read, reader)
	first := w.sealed(owner, id, "a record", channel.RecordTerms{})
	w.done(owner, id, first)
	before := w.head(id)

	good := w.sign(owner, w.sealed(owner, id, "good", channel.RecordTerms{}))
	with := func(change func(did.Object)) []byte {
		body := w.sealed(owner, id, "good", channel.RecordTerms{})
		change(body)
		return w.sign(owner, body)
	}
	header := func(change func(*channel.Header)) channel.Header {
		h := w.header(owner, id)
		change(&h)
		return h
	}
	seal := func(number uint32, h channel.Header) []byte {
		return w.sign(owner, w.sealedUnder(h, number, "x", channel.RecordTerms{}))
	}
	wraps := make([]channel.Wrap, channel.MaxWraps+1)
	for i := range wraps {
		wraps[i] = w.wraps(id, 1, owner)[0]
	}
	deep := json.RawMessage(strings.Repeat(`{"a":`, 16) + "1" + strings.Repeat("}", 16))
	flipped := bytes.Clone(good)
	at := bytes.Index(flipped, []byte(`"proofValue":"z`)) + 30
	flipped[at] = map[bool]byte{true: 'A', false: 'B'}[flipped[at] != 'A']
	twice := with(func(did.Object) {})
	proof := twice[bytes.Index(twice, []byte(`"proof":[`))+9 : bytes.LastIndex(twice, []byte(`]`))]
	proof = bytes.Clone(proof[:bytes.LastIndex(proof, []byte("}"))+1])
	broken := bytes.Clone(good)
	copy(broken[bytes.Index(broken, []byte(`"ciphertext":"`))+20:], "AAAA")
	now := tangle.TimeOf(w.clock.Now()) / 1000 * 1000

	cases := []struct {
		name   string
		status int
		code   string
		entry  []byte
	}{
		{"no JSON", 400, "not_canonical", []byte("nonsense")},
		{"not canonical", 400, "not_canonical", bytes.Replace(good, []byte(`{"actor":`), []byte(`{ "actor":`), 1)},
		{"member twice", 400, "not_canonical", bytes.Replace(good, []byte(`{"actor":`), []byte(`{"actor":"x","actor":`), 1)},
		{"float", 400, "not_canonical", bytes.Replace(good, []byte(`"epoch":1`), []byte(`"epoch":1.5`), 1)},
		{"2^53", 400, "not_canonical", bytes.Replace(good, []byte(`"epoch":1`), []byte(`"epoch":9007199254740992`), 1)},
		{"trailing byte", 400, "not_canonical", append(bytes.Clone(good), ' ')},
		{"invalid UTF-8", 400, "not_canonical", bytes.Replace(good, []byte(`"op":"write"`), []byte("\"op\":\"\xff\""), 1)},
		{"unknown op", 422, "unknown_field", with(func(b did.Object) { b["op"] = "shout" })},
		{"unknown field", 422, "unknown_field", with(func(b did.Object) { b["colour"] = "red" })},
		{"unknown type version", 422, "unknown_field", with(func(b did.Object) { b["type"] = "weft/channel/2" })},
		{"depth 17", 422, "bad_value", bytes.Replace(good, []byte(`"type":"weft/channel/1"`), []byte(`"public":`+string(deep)+`,"type":"weft/channel/1"`), 1)},
		{"129 wraps", 422, "bad_value", w.sign(owner, channel.NewKeyload(w.header(owner, id), []channel.Keys{{Number: 1, Wraps: wraps}}))},
		{"audit with write", 422, "bad_value", w.sign(owner, channel.NewAuthorize(w.header(owner, id), []channel.Grant{{
			Participant: people[3].did, Rights: channel.Audit | channel.Order, ValidUntil: now + 3_600_000,
		}}, nil, nil))},
		{"wrap to the revoked", 422, "bad_value", w.sign(owner, channel.NewRevoke(w.header(owner, id), []string{reader.did}, "x", w.epoch(id, 2, true, owner, reader)))},
		{"too large", 413, "too_large", append(bytes.Clone(good), bytes.Repeat([]byte(" "), channel.MaxOperationBytes)...)},
		{"flipped signature", 403, "bad_signature", flipped},
		{"two proofs", 403, "bad_signature", bytes.Replace(twice, []byte(`"proof":[`), append(append([]byte(`"proof":[`), proof...), ','), 1)},
		{"a longer ciphertext", 422, "bad_value", bytes.Replace(good, []byte(`"ciphertext":"`), []byte(`"ciphertext":"AAAA`), 1)},
		{"a broken ciphertext", 403, "bad_signature", broken},
		{"key of another DID", 403, "not_entitled", w.sign(reader, w.sealed(owner, id, "x", channel.RecordTerms{}))},
		{"another network", 422, "wrong_network", with(func(b did.Object) { b["network"] = strings.Repeat("1", 64) })},
		{"notAfter passed", 422, "expired", seal(1, header(func(h *channel.Header) { h.NotAfter = now - 60_000 }))},
		{"31 days ahead", 422, "expired", seal(1, header(func(h *channel.Header) { h.NotAfter = now + 31*86_400_000 }))},
		{"created tomorrow", 422, "clock_skew", seal(1, header(func(h *channel.Header) { h.Created = now + 86_400_000; h.NotAfter = now + 90_000_000 }))},
		{"after in the future", 409, "bad_after", seal(1, header(func(h *channel.Header) { h.After.Event += 7 }))},
		{"after of another channel", 409, "bad_after", seal(1, header(func(h *channel.Header) { h.After = channel.After{Head: channel.FirstHead(other)} }))},
		{"epoch + 2", 409, "epoch_unknown", seal(3, w.header(owner, id))},
		{"supersedes itself", 404, "unknown_record", w.sign(owner, w.sealed(owner, id, "x", channel.RecordTerms{Supersedes: before.Seq + 1}))},
		{"tag outside the grant", 403, "tag_not_allowed", w.sign(writer, w.sealedUnder(w.header(writer, id), 1, "x", channel.RecordTerms{Tag: "customs"}))},
		{"tag that is none", 422, "tag_unknown", w.sign(owner, w.sealed(owner, id, "x", channel.RecordTerms{Tag: "no"}))},
		{"nonce again with other content", 409, "replayed", seal(1, header(func(h *channel.Header) { h.Nonce = w.nonceOf(first) }))},
		{"erase what is not there", 404, "unknown_record", w.sign(owner, channel.NewErase(w.header(owner, id), 99, "x"))},
		{"keys of an epoch to come", 409, "epoch_conflict", w.sign(owner, channel.NewKeyload(w.header(owner, id), []channel.Keys{{Number: 2, Wraps: w.wraps(id, 2, owner)}}))},
		{"a late epoch", 409, "epoch_conflict", w.sign(owner, channel.NewRekey(w.header(owner, id), "x", w.epoch(id, 3, true, owner)))},
		{"wrap to who may not read", 422, "wrap_target", w.sign(owner, channel.NewKeyload(w.header(owner, id), []channel.Keys{{Number: 1, Wraps: w.wraps(id, 1, people[3])}}))},
		{"name taken", 409, "name_taken", w.sign(owner, channel.NewConfigure(w.header(owner, id), channel.Settings{Name: ptr("channel " + other.String()[:8])}))},
	}
	for _, c := range cases {
		for i := range w.Nodes {
			r := w.postEntry(i, id, c.entry)
			if r.status != c.status || r.code() != c.code {
				t.Errorf("%s at node %d: HTTP %d %q, want %d %q: %.300s", c.name, i, r.status, r.code(), c.status, c.code, r.body)
			}
		}
	}
	w.postEntry(0, other, good).refused(422, "bad_value") // of another channel than the path
	w.call(0, "POST", "/api/v1/channels", good).refused(422, "bad_value")
	for i := range w.Nodes {
		if _, h, err := channel.ReadChannel(w.view(i), id); err != nil || h != before {
			t.Errorf("node %d: the channel moved from %+v to %+v", i, before, h)
		}
	}
	w.sameNonceTwice(owner, id)
}

func (w *network) nonceOf(body did.Object) channel.Nonce {
	w.t.Helper()
	text, _ := body["nonce"].(string)
	return channel.Nonce(w.decode(text))
}

// sameNonceTwice posts two records with one nonce through two nodes at once: exactly one counts.
func (w *network) sameNonceTwice(p *person, id channel.ID) {
	w.t.Helper()
	h := w.header(p, id)
	answers := make(chan reply, 2)
	for i, text := range []string{"this", "that"} {
		entry := w.sign(p, w.sealedUnder(h, 1, text, channel.RecordTerms{}))
		go func() { answers <- w.postEntry(i, id, entry) }()
	}
	a, b := <-answers, <-answers
	codes := map[string]int{a.code(): a.status, b.code(): b.status}
	if codes[""] != 200 || codes["replayed"] != 409 {
		w.t.Errorf("got %v: %.300s %.300s", codes, a.body, b.body)
	}
	w.Settle()
	if got := w.head(id).Seq; got != 2 {
		w.t.Errorf("%d records", got)
	}
}

// TestHostileNames: texts with control, bidi and HTML characters are stored as they are. Answers are JSON that nobody takes for
// anything else, without a control character, and none of it ends a line of the feed.
func TestHostileNames(t *testing.T) {
	w := start(t, networkOptions{})
	people := w.people("owner", "asker")
	owner, asker := people[0], people[1]
	const hostile = "<script>x\x07\x1b[2J\r\n\r\nevent: end\u2028\u202e&'\"</b>"
	topics := []channel.Topic{{Type: hostile, Source: hostile}}
	settings := channel.Settings{Name: ptr(hostile), Description: ptr(hostile), Status: ptr(hostile), Topics: &topics, Tags: &[]string{hostile}}
	id := w.create(owner, func(_ channel.ID, terms *channel.CreateTerms) { terms.Settings = settings })
	w.done(owner, id, channel.NewWrite(w.header(owner, id), channel.RecordTerms{RecordType: hostile, Tag: hostile, Topic: &topics[0], Public: did.Object{hostile: hostile}}))
	w.done(asker, id, channel.NewRequest(w.header(asker, id), channel.Asked{Rights: channel.Read}, nil))
	w.done(owner, id, channel.NewReject(w.header(owner, id), []string{asker.did}, hostile))
	w.done(owner, id, channel.NewErase(w.header(owner, id), 1, hostile))
	f := w.follow(0, owner, id, "0")
	for n := 1; n <= 4; n++ {
		if e, _ := f.next(); e.id != fmt.Sprint(n) || strings.ContainsAny(e.data, "\x07\x1b\r") {
			t.Errorf("event %d of the feed: %+v", n, e)
		}
	}
	seen := 0
	for _, r := range []reply{
		w.as(0, owner, "GET", "/channels?q=%3Cscript%3E", nil), w.as(0, owner, "GET", channelPath(id), nil), w.as(0, owner, "GET", channelPath(id, "/events"), nil),
		w.as(0, owner, "GET", channelPath(id, "/records/1"), nil), w.as(0, owner, "GET", channelPath(id, "/subscriptions"), nil),
		w.as(0, owner, "GET", channelPath(id, "/records/1/erasure"), nil), w.as(0, owner, "GET", channelPath(id, "/records?contains=%3Cscript%3E"), nil),
		w.call(0, "POST", "/api/v1/channels", w.sign(owner, channel.NewCreate(w.header(owner, channel.ID{}), channel.CreateTerms{
			Access: channel.Public, Profile: channel.Stream, Settings: settings, // the name is taken
		}))),
		w.post(0, owner, id, w.sealed(owner, id, "x", channel.RecordTerms{Tag: hostile + "!"})), // no such tag
	} {
		if bytes.ContainsAny(r.body, "\x07\x1b\r") || r.header.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(r.header.Get("Content-Type"), "json") {
			t.Errorf("%s: %v %.400q", r.name, r.header, r.body)
		}
		var v any
		if err := json.Unmarshal(r.body, &v); err != nil {
			t.Errorf("%s: %v", r.name, err)
		}
		seen += strings.Count(fmt.Sprint(v), hostile)
	}
	if seen < 10 {
		t.Errorf("the texts are %d times in the answers", seen)
	}
}

// TestKeysAsOfThen rotates the key of an author: the old one does not count any more, and its records stay.
func TestKeysAsOfThen(t *testing.T) {
	w := start(t, networkOptions{})
	owner := w.people("owner")[0]
	id := w.create(owner)
	w.done(owner, id, w.sealed(owner, id, "by the old key", channel.RecordTerms{}))
	d, err := did.Parse(owner.did)
	if err != nil {
		t.Fatal(err)
	}
	head, _, err := did.ReadHead(w.Nodes[0].Ledger.PluginView("identity"), d)
	if err != nil {
		t.Fatal(err)
	}
	fresh, _ := keysOf("another key")
	entry, err := did.Sign(did.Update(w.id, d, head, did.Content{
		Params:   did.NewParams([]string{multikeyOf(owner.key)}),
		Document: did.DefaultDocument(fresh.Public().(ed25519.PublicKey), did.PublicKey{Type: did.X25519, Bytes: owner.agreement.PublicKey().Bytes()}),
	}), owner.key)
	if err != nil {
		t.Fatal(err)
	}
	w.call(0, "PUT", "/api/v1/identities/"+owner.did+"/document?wait=final&timeout=30s", entry).want(200)
	w.post(0, owner, id, w.sealed(owner, id, "by the old key", channel.RecordTerms{})).refused(403, "not_entitled")
	owner.key = fresh
	w.done(owner, id, w.sealed(owner, id, "by the new key", channel.RecordTerms{}))
	if report := w.verify(w.as(0, owner, "GET", channelPath(id, "/export"), nil).want(200).body); !report.Verified || report.Records != 2 {
		t.Errorf("evidence: %+v", report)
	}
}

func multikeyOf(k ed25519.PrivateKey) string {
	return did.Ed25519Key(k.Public().(ed25519.PublicKey)).Multikey()
}

// TestBatch: many operations in one request, each with a result of its own.
func TestBatch(t *testing.T) {
	w := start(t, networkOptions{})
	people := w.people("owner", "stranger")
	owner := people[0]
	id := w.create(owner)
	good := w.sign(owner, w.sealed(owner, id, "one", channel.RecordTerms{}))
	batch := []json.RawMessage{
		good, w.sign(people[1], w.sealed(people[1], id, "no", channel.RecordTerms{})), good, json.RawMessage(`{"type":"weft/channel/1"}`),
		w.sign(owner, w.sealed(owner, id, "two", channel.RecordTerms{})),
	}
	var answer struct {
		Results []struct {
			Status, Outcome string
			Result          struct{ Seq uint64 }
			Problem         struct{ Code string }
		}
	}
	path := "/api/v1" + channelPath(id, "/operations")
	w.call(0, "POST", path+"?wait=final", map[string]any{"operations": batch}).into(200, &answer)
	got := fmt.Sprint(answer.Results)
	if got != "[{final accepted {1} {}} {  {0} {not_participant}} {final accepted {1} {}} {  {0} {bad_signature}} {final accepted {2} {}}]" {
		t.Errorf("results %s", got)
	}
	w.call(0, "POST", path+"?wait=final", map[string]any{"operations": batch[:1]}).into(200, &answer) // the same again
	if r := answer.Results[0]; r.Outcome != "accepted" || r.Result.Seq != 1 {
		t.Errorf("again %+v", r)
	}
	w.call(0, "POST", path, `{"operations":[],"x":1}`).refused(422, "unknown_field")
	w.call(0, "POST", path, `{"operations":[]}`).refused(422, "bad_value")
	w.call(0, "POST", path, `{"operations":[`).refused(400, "bad_json")
	w.call(0, "POST", path, map[string]any{"operations": make([]struct{}, 65)}).refused(422, "bad_value")
}

// TestDraft: a script that only signs.
func TestDraft(t *testing.T) {
	w := start(t, networkOptions{})
	people := w.people("owner", "asker")
	owner, asker := people[0], people[1]
	id := w.create(owner)
	var d struct {
		Operation json.RawMessage
		ToSign    []struct{ HashData string }
		Epoch     uint32
		PublicKey string
	}
	w.as(0, asker, "POST", channelPath(id, "/drafts"), map[string]any{"op": "request", "fields": map[string]any{"rights": []string{"read"}}}).into(200, &d)
	if len(d.ToSign) != 1 || d.Epoch != 1 || len(w.decode(d.PublicKey)) != 32 {
		t.Fatalf("draft %+v", d)
	}
	body, err := did.DecodeObject(d.Operation, did.JSONLimits{})
	if err != nil {
		t.Fatal(err)
	}
	entry, err := did.Authentication.Attach(body, map[string][]byte{multikeyOf(asker.key): ed25519.Sign(asker.key, w.decode(d.ToSign[0].HashData))})
	if err != nil {
		t.Fatal(err)
	}
	w.postEntry(0, id, entry).want(200)
	w.as(0, asker, "POST", channelPath(id, "/drafts"), map[string]any{"op": "create"}).refused(422, "bad_value")
	w.as(0, asker, "POST", channelPath(id, "/drafts"), map[string]any{"op": "leave", "fields": map[string]any{"nonce": "x"}}).refused(422, "bad_value")
	w.as(0, asker, "POST", channelPath(id, "/drafts"), map[string]any{"op": "leave", "who": 1}).refused(422, "unknown_field")
	w.call(0, "POST", "/api/v1"+channelPath(id, "/drafts"), `{"op":"leave"}`).refused(401, "unauthenticated")
}
