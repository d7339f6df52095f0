package channel

import (
	"bytes"
	"encoding/base64"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"weft/plugins/identity/did"
	"weft/plugins/plugintest"
	"weft/tangle"
)

func TestRecordRules(t *testing.T) {
	l := newLedger(t)
	owner, writer := l.weft("owner"), l.weft("writer")
	id := l.create(owner, func(t *CreateTerms) {
		t.Settings.Tags = &[]string{"a", "b", "c"}
		t.Settings.Roles = &map[string]Role{"b": {Order, []string{"b"}}}
	})
	l.want("bad_value", owner, NewAuthorize(l.header(owner, id), []Grant{{Participant: writer.did, Roles: []string{"x"}}}, nil, nil))
	l.want("bad_value", owner, NewAuthorize(l.header(owner, id), []Grant{{Participant: writer.did, Rights: Order, Tags: []string{"x"}}}, nil, nil))
	l.want("", owner, NewAuthorize(l.header(owner, id), []Grant{{Participant: writer.did, Rights: Order, Tags: []string{"a"}, Roles: []string{"b"}, MaxRecords: 3}}, nil, nil))
	for tag, code := range map[string]string{"a": "", "b": "", "c": "tag_not_allowed", "": "tag_not_allowed", "x": "tag_not_allowed"} {
		if got := plugintest.Code(t, l.apply(writer, l.sealed(writer, id, "x", RecordTerms{Tag: tag}))); got != code {
			t.Errorf("tag %q: %q, want %q", tag, got, code)
		}
	}
	l.want("tag_unknown", owner, l.sealed(owner, id, "x", RecordTerms{Tag: "x"}))
	l.want("", owner, l.sealed(owner, id, "3", RecordTerms{Tag: "c"}))
	l.want("tag_not_allowed", writer, l.sealed(writer, id, "x", RecordTerms{Tag: "a", Supersedes: 3}))
	l.want("unknown_record", writer, l.sealed(writer, id, "x", RecordTerms{Tag: "a", Supersedes: 4}))
	l.want("unknown_record", writer, l.sealed(writer, id, "x", RecordTerms{Tag: "a", Supersedes: 99}))
	l.want("", writer, l.sealed(writer, id, "4", RecordTerms{Tag: "a", Supersedes: 1}))
	l.want("record_limit", writer, l.sealed(writer, id, "x", RecordTerms{Tag: "a"}))
	l.want("", owner, NewAuthorize(l.header(owner, id), []Grant{{Participant: writer.did, Roles: []string{"b"}, MaxRecords: 1}}, nil, nil))
	l.want("", writer, l.sealed(writer, id, "5", RecordTerms{Tag: "b"}))
	// a role change acts on all holders at once
	l.want("", owner, NewConfigure(l.header(owner, id), Settings{Roles: &map[string]Role{"b": {Rights: Read}}}))
	l.want("right_missing", writer, l.sealed(writer, id, "x", RecordTerms{Tag: "b"}))
	l.want("bad_value", owner, l.sealed(owner, id, "x", RecordTerms{Public: did.Object{"x": strings.Repeat("x", MaxPublicPrivate)}}))
	l.want("", owner, NewWrite(l.header(owner, id), RecordTerms{Public: did.Object{"x": "alone"}}))
	l.want("", owner, NewLock(l.header(owner, id), Until, l.now+10_000))
	l.want("locked", owner, l.sealed(owner, id, "x", RecordTerms{}))
	l.want("wrong_state", owner, NewLock(l.header(owner, id), Until, l.now+10_000))
	l.want("", owner, NewLock(l.header(owner, id), Until, l.now+20_000))
	l.now += 20_000
	l.want("", owner, l.sealed(owner, id, "7", RecordTerms{}))
	l.want("", owner, NewLock(l.header(owner, id), Until, l.now+20_000))
	l.want("", owner, NewLock(l.header(owner, id), Unlocked, 0))
	l.want("wrong_state", owner, NewLock(l.header(owner, id), Unlocked, 0))
}

func (l *ledger) blob(p *person, id ID, seed byte, size int64) did.Object {
	l.t.Helper()
	k := epochKeyOf(id, l.head(id).Epoch)
	s := Sealer{Epoch: l.head(id).Epoch, Key: &k}
	if l.channel(id).Access == Public {
		s = Sealer{}
	}
	body, _, err := SealBlob(l.random, s, NewWrite(l.header(p, id), RecordTerms{}), did.Object{"mediaType": "x"}, bytes.NewReader(bytes.Repeat([]byte{seed}, int(size))), size,
		func(int, []byte) error { return nil })
	if err != nil {
		l.t.Fatal(err)
	}
	return body
}

func TestPublicChannels(t *testing.T) {
	l := newLedger(t)
	owner := l.weft("owner")
	id := l.create(owner, public)
	l.want("sealed_in_public", owner, l.sealedUnder(owner, id, 1, "x", RecordTerms{}))
	l.want("", owner, NewWrite(l.header(owner, id), RecordTerms{Public: did.Object{"x": strings.Repeat("x", MaxPublicPrivate)}}))
	l.want("", owner, l.blob(owner, id, 1, 5000))
	odd := l.blob(owner, id, 2, 5000)
	odd["body"].(did.Object)["blob"].(did.Object)["size"] = int64(5121)
	l.want("bad_value", owner, odd)
	l.want("wrong_state", owner, NewRekey(l.header(owner, id), "", l.epoch(id, 1, true, owner)))
	l.want("wrong_state", owner, NewKeyload(l.header(owner, id), []Keys{{1, l.wraps(id, 1, owner)}}))
	l.want("bad_value", owner, NewAuthorize(l.header(owner, id), []Grant{{Participant: l.weft("b").did, Rights: Read}}, []Keys{{1, l.wraps(id, 1, owner)}}, nil))
	if h := l.head(id); h.Seq != 2 || h.Epoch != 0 || l.due(id) {
		t.Errorf("%+v", h)
	}
}

func TestBlobsBelongToOneRecord(t *testing.T) {
	l := newLedger(t)
	owner := l.weft("owner")
	id, other := l.create(owner), l.create(owner)
	body := l.blob(owner, id, 1, 1000)
	l.want("", owner, body)
	again := l.blob(owner, id, 2, 1000)
	again["body"] = body["body"]
	l.want("blob_taken", owner, again)
	elsewhere := l.blob(owner, other, 2, 1000)
	elsewhere["body"] = body["body"]
	l.want("", owner, elsewhere)
	e, _, _ := ReadRecord(l.state, id, 1)
	if seq, ok := FindBlob(l.state, id, e.Blob.Root); !ok || seq != 1 {
		t.Errorf("the blob is of record %d", seq)
	}
	odd := l.blob(owner, id, 3, 1000)
	odd["body"].(did.Object)["blob"].(did.Object)["size"] = int64(1280)
	l.want("bad_value", owner, odd)
	open := l.blob(owner, id, 4, 1000)
	delete(open, "epoch")
	l.want("bad_value", owner, open)
}

func TestErase(t *testing.T) {
	l := newLedger(t)
	owner, writer, reader := l.weft("owner"), l.weft("writer"), l.weft("reader")
	id := l.create(owner, func(t *CreateTerms) { t.Settings.Tags = &[]string{"a"} })
	l.want("", owner, NewAuthorize(l.header(owner, id), []Grant{{Participant: writer.did, Rights: Order}, {Participant: reader.did, Rights: Read}}, []Keys{{1, l.wraps(id, 1, reader)}}, nil))
	l.want("", writer, l.sealed(writer, id, "inline", RecordTerms{Tag: "a", RecordType: "t"}))
	l.want("", writer, l.blob(writer, id, 1, 1000))
	l.want("", owner, l.blob(owner, id, 2, 1000))
	before, _, _ := ReadRecord(l.state, id, 1)
	l.want("unknown_record", reader, NewErase(l.header(reader, id), 9, "x"))
	l.want("right_missing", reader, NewErase(l.header(reader, id), 1, "x"))
	l.want("right_missing", writer, NewErase(l.header(writer, id), 3, "x"))
	l.want("", writer, NewLeave(l.header(writer, id)))
	l.want("", writer, NewErase(l.header(writer, id), 1, "gdpr_art17"))
	l.want("wrong_state", owner, NewErase(l.header(owner, id), 1, "x"))
	l.want("", owner, NewErase(l.header(owner, id), 2, "x"))
	l.want("wrong_state", writer, NewErase(l.header(writer, id), 2, "x"))
	after, _, _ := ReadRecord(l.state, id, 1)
	want := before
	want.Author, want.Created, want.Tag, want.Cleared, want.ErasedBy = DIDHash{}, 0, "", true, 6
	if after.Entry != before.Entry || after.Head != before.Head || after != want {
		t.Errorf("%+v, want %+v", after, want)
	}
	if e, _, _ := ReadRecord(l.state, id, 2); !e.IsOf(writer.did) || e.ErasedBy != 7 || e.Cleared {
		t.Errorf("a detached record is %+v", e)
	}
	if tomb, ok, _ := ReadTombstone(l.state, id, 1); !ok || tomb.By != writer.did || tomb.Reason != "gdpr_art17" || tomb.Event != 6 {
		t.Errorf("tombstone %+v", tomb)
	}
	l.want("unknown_record", owner, l.sealed(owner, id, "x", RecordTerms{Supersedes: 1}))
	if by, err := ActorOf(l.state, id, before); by != writer.did || err != nil {
		t.Errorf("the author was %q, %v", by, err)
	}
	if by, err := ActorOf(l.state, id, after); by != "" || err != nil {
		t.Errorf("the author is %q, %v", by, err)
	}
}

// TestNothingOfTheErased: behind an erasure no value of the state but that of the participant and of who erased it says who
// wrote the record, nor what it was called.
func TestNothingOfTheErased(t *testing.T) {
	l := newLedger(t)
	owner, writer := l.weft("owner"), l.weft("writer")
	id := l.create(owner, func(t *CreateTerms) { t.Settings.Tags = &[]string{"vanishing-tag"} })
	l.want("", owner, NewAuthorize(l.header(owner, id), []Grant{{Participant: writer.did, Rights: Order}}, nil, nil))
	author := HashDID(writer.did)
	searched := map[string][]byte{
		"author": []byte(writer.did), "author's hash": author[:], "type": []byte("vanishing-type"), "tag": []byte("vanishing-tag"), "topic": []byte("vanishing-topic"),
	}
	find := func(what string) (n int) {
		l.state.Scan([]byte{0}, nil, func(k, v []byte) bool {
			known := k[0] == prefixChannel || k[0] == prefixParticipant || k[0] == prefixMembership
			if !known && (bytes.Contains(k, searched[what]) || bytes.Contains(v, searched[what])) {
				n++
			}
			return true
		})
		return n
	}
	body := l.sealed(writer, id, "inline", RecordTerms{Tag: "vanishing-tag", RecordType: "vanishing-type", Topic: &Topic{"vanishing-topic", "x"}})
	l.want("", writer, body)
	if find("author's hash") == 0 || find("tag") == 0 {
		t.Error("the record has neither author nor tag: the test does not look")
	}
	l.want("", owner, NewErase(l.header(owner, id), 1, "gdpr_art17"))
	for what := range searched {
		if n := find(what); n > 0 {
			t.Errorf("%d values hold the %s of what is erased", n, what)
		}
	}
}

func TestAuditProfile(t *testing.T) {
	l := newLedger(t)
	owner := l.weft("owner")
	id := l.create(owner, func(t *CreateTerms) {
		t.Profile, t.Settings.Description, t.Settings.RetentionDays = AuditProfile, ptr("why"), ptr(10)
	})
	l.want("", owner, l.sealed(owner, id, "x", RecordTerms{}))
	l.want("", owner, l.blob(owner, id, 1, 1000))
	for name, s := range map[string]Settings{
		"name": {Name: ptr("x")}, "description": {Description: ptr("x")}, "topics": {Topics: &[]Topic{}}, "retention": {RetentionDays: ptr(9)},
	} {
		if err := l.apply(owner, NewConfigure(l.header(owner, id), s)); plugintest.Code(t, err) != "profile_rule" {
			t.Errorf("%s: %v", name, err)
		}
	}
	l.want("", owner, NewConfigure(l.header(owner, id), Settings{Status: ptr("closed"), RetentionDays: ptr(11)}))
	l.want("", owner, NewConfigure(l.header(owner, id), Settings{RetentionDays: ptr(0)}))
	l.want("profile_rule", owner, NewConfigure(l.header(owner, id), Settings{RetentionDays: ptr(9000)}))
	l.want("profile_rule", owner, NewErase(l.header(owner, id), 1, "x"))
	l.want("", owner, NewErase(l.header(owner, id), 2, "x"))
}

// TestRetention clears old records with later operations, at most so many in one, and nothing else.
func TestRetention(t *testing.T) {
	l := newLedger(t)
	l.fast = true
	owner := l.weft("owner")
	id := l.create(owner, func(t *CreateTerms) { t.Settings.RetentionDays = ptr(1) })
	for range MaxCleared + 10 {
		l.want("", owner, l.sealed(owner, id, "x", RecordTerms{}))
	}
	cleared := func() (n int) {
		l.eachRecord(id, func(e Event) {
			if e.Cleared {
				n++
			}
		})
		return n
	}
	l.now += 86_400_000
	l.want("", owner, l.sealed(owner, id, "new", RecordTerms{}))
	if cleared() != 0 {
		t.Errorf("%d are cleared on the last day", cleared())
	}
	l.now++
	l.want("", owner, l.sealed(owner, id, "new", RecordTerms{}))
	if cleared() != MaxCleared-1 { // the first event is create
		t.Errorf("%d are cleared", cleared())
	}
	l.want("", owner, l.sealed(owner, id, "new", RecordTerms{}))
	if cleared() != MaxCleared+10 {
		t.Errorf("%d are cleared", cleared())
	}
	l.want("wrong_state", owner, NewErase(l.header(owner, id), 1, "x"))
	l.want("", owner, NewErase(l.header(owner, id), l.head(id).Seq, "x"))
	l.replay(t, id)
}

func TestCreatesAreBounded(t *testing.T) {
	l := newLedger(t)
	owner := l.weft("owner")
	for range MaxCreatesPerMinute {
		l.create(owner, public)
	}
	h := l.header(owner, ID{})
	l.want("rate_limited", owner, NewCreate(h, CreateTerms{Access: Public, Profile: Stream, Settings: Settings{Name: ptr("x")}}))
	l.by = tangle.Member{1}
	l.create(owner, public)
	l.by, l.now = tangle.Member{}, l.now+60_000
	l.create(owner, public)
}

// TestBlobs seals and opens payloads around the sizes of chunks.
func TestBlobs(t *testing.T) {
	l := newLedger(t)
	p, id := l.weft("alice"), ID{1}
	random := rand.NewChaCha8([32]byte{2})
	k := fill[Key](9)
	public, err := k.PublicKey(id, 1)
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]Sealer{"sealed": {Epoch: 1, Key: &k}, "write-only": {Epoch: 1, PublicKey: public[:]}, "public": {}} {
		for _, size := range []int64{0, 1, ChunkBytes - 200, ChunkBytes - 62, ChunkBytes - 60, ChunkBytes - 59, ChunkBytes, 3 * ChunkBytes} {
			payload := make([]byte, size)
			random.Read(payload)
			var chunks [][]byte
			h := Header{Network: l.network, Channel: id, Actor: p.did, Nonce: p.nonce(), Created: begin}
			body, leaves, err := SealBlob(random, s, NewWrite(h, RecordTerms{}), did.Object{}, bytes.NewReader(payload), size, func(n int, chunk []byte) error {
				chunks = append(chunks, bytes.Clone(chunk))
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			op := mustDecode(t, l.sign(p, body))
			if err := op.Record.checkStored(map[bool]int64{true: tagBytes, false: 0}[op.Record.Epoch != 0]); err != nil {
				t.Errorf("%s, %d: %v", name, size, err)
			}
			var out bytes.Buffer
			fetch := func(n int) ([]byte, error) { return chunks[n], nil }
			c, err := OpenBlob(k, op, fetch, &out)
			if err != nil || !bytes.Equal(out.Bytes(), payload) || c.Size != size {
				t.Errorf("%s, %d bytes: %v", name, size, err)
			}
			for n, chunk := range chunks {
				path := ChunkPath(leaves, n)
				if !VerifyChunk(*op.Record.Body.Blob, n, chunk, path) || VerifyChunk(*op.Record.Body.Blob, n+1, chunk, path) {
					t.Errorf("%s, %d: chunk %d", name, size, n)
				}
				flipped := slices.Clone(chunks)
				flipped[n] = bytes.Clone(chunk)
				flipped[n][len(chunk)/2] ^= 1
				if _, err := OpenBlob(k, op, func(n int) ([]byte, error) { return flipped[n], nil }, &out); plugintest.Code(t, err) != "bad_content" {
					t.Errorf("%s, %d: a flipped bit: %v", name, size, err)
				}
			}
		}
	}
}

// TestWrongRoot: an author that signs another root than its chunks have is noticed.
func TestWrongRoot(t *testing.T) {
	l := newLedger(t)
	p, k := l.weft("alice"), fill[Key](9)
	var chunks [][]byte
	h := Header{Network: l.network, Channel: ID{1}, Actor: p.did, Created: begin}
	body, _, err := SealBlob(l.random, Sealer{Epoch: 1, Key: &k}, NewWrite(h, RecordTerms{}), did.Object{}, strings.NewReader("hello"), 5, func(_ int, chunk []byte) error {
		chunks = append(chunks, bytes.Clone(chunk))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	fetch := func(n int) ([]byte, error) { return chunks[n], nil }
	var out bytes.Buffer
	if _, err := OpenBlob(k, mustDecode(t, l.sign(p, body)), fetch, &out); err != nil || out.String() != "hello" {
		t.Errorf("%q, %v", out.String(), err)
	}
	body["body"].(did.Object)["blob"].(did.Object)["root"] = ID{2}.String()
	if _, err := OpenBlob(k, mustDecode(t, l.sign(p, body)), fetch, &out); plugintest.Code(t, err) != "bad_content" {
		t.Errorf("another root: %v", err)
	}
}

func TestOpenRefusesOtherHeaders(t *testing.T) {
	l := newLedger(t)
	p, id := l.weft("alice"), ID{1}
	k := fill[Key](9)
	h := Header{Network: l.network, Channel: id, Actor: p.did, Created: begin}
	body, err := Seal(l.random, Sealer{Epoch: 1, Key: &k}, NewWrite(h, RecordTerms{Public: did.Object{"a": "b"}}), did.Object{}, []byte("hello"))
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(o did.Object){
		"channel": func(o did.Object) { o["channel"] = ID{2}.String() }, "tag": func(o did.Object) { o["tag"] = "x" },
		"public": func(o did.Object) { o["public"] = did.Object{"a": "c"} }, "nonce": func(o did.Object) { o["nonce"] = strings.Repeat("A", 20) + "AQ" },
		"epoch": func(o did.Object) { o["epoch"] = 2 }, "contentHash": func(o did.Object) { o["contentHash"] = ID{2}.String() },
		"actor": func(o did.Object) { o["actor"] = l.weft("bob").did },
	} {
		changed := clone(t, body)
		change(changed)
		if _, err := l.open(k, l.sign(p, changed)); plugintest.Code(t, err) != "bad_content" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got, err := l.open(k, l.sign(p, body)); got != "hello" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := l.open(fill[Key](8), l.sign(p, body)); plugintest.Code(t, err) != "bad_content" {
		t.Errorf("another key: %v", err)
	}
	broken := errors.New("no entropy")
	if _, err := Seal(brokenReader{broken}, Sealer{Epoch: 1, Key: &k}, NewWrite(h, RecordTerms{}), did.Object{}, nil); !errors.Is(err, broken) {
		t.Errorf("without randomness: %v", err)
	}
}

type brokenReader struct{ err error }

func (r brokenReader) Read([]byte) (int, error) { return 0, r.err }

func TestEnclosures(t *testing.T) {
	l := newLedger(t)
	p, id := l.weft("alice"), ID{1}
	o, err := SealEnclosure(id, p.to, p.agreement.PublicKey().Bytes(), []byte("who I am"))
	if err != nil {
		t.Fatal(err)
	}
	ct, _ := base64.RawURLEncoding.DecodeString(o["ct"].(string))
	if got, err := OpenEnclosure(id, p.to, p.agreement, ct); err != nil || string(got) != "who I am" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := OpenEnclosure(ID{2}, p.to, p.agreement, ct); err == nil {
		t.Error("it opens in another channel")
	}
}
