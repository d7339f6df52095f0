package streams

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"weft/internal/nodetest"
	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/streams/channel"
	"weft/receipt"
	"weft/tangle"
)

// detached is a payload beside the ledger, sealed.
type detached struct {
	body   did.Object // of the write
	blob   channel.Blob
	leaves []tangle.Hash
	chunks [][]byte
}

func (w *network) detach(p *person, id channel.ID, payload []byte) detached {
	w.t.Helper()
	var d detached
	number := w.head(id).Epoch
	sealer := channel.Sealer{Epoch: number}
	if number > 0 {
		sealer.Key = ptr(epochKeyOf(id, number))
	}
	var err error
	d.body, d.leaves, err = channel.SealBlob(rand.Reader, sealer, channel.NewWrite(w.header(p, id), channel.RecordTerms{RecordType: "file"}),
		did.Object{"mediaType": "application/pdf"}, bytes.NewReader(payload), int64(len(payload)), func(_ int, chunk []byte) error {
			d.chunks = append(d.chunks, bytes.Clone(chunk))
			return nil
		})
	if err != nil {
		w.t.Fatal(err)
	}
	d.blob = channel.Blob{Root: channel.BlobRoot(d.leaves), Chunks: len(d.chunks)}
	for _, c := range d.chunks {
		d.blob.Size += int64(len(c))
	}
	return d
}

func (d detached) declaration() map[string]any {
	return map[string]any{"root": d.blob.Root, "size": d.blob.Size, "leaves": d.leaves}
}

func (d detached) bytes() []byte { return bytes.Join(d.chunks, nil) }

func (w *network) putChunk(i int, p *person, id channel.ID, d detached, n int) reply {
	w.t.Helper()
	return w.as(i, p, "PUT", channelPath(id, "/blobs/", d.blob.Root.String(), "/chunks/", strconv.Itoa(n)), d.chunks[n], "Content-Type", typeBytes)
}

func (w *network) upload(i int, p *person, id channel.ID, d detached) {
	w.t.Helper()
	w.as(i, p, "POST", channelPath(id, "/blobs"), d.declaration()).want(200)
	for n := range d.chunks {
		w.putChunk(i, p, id, d, n).want(204)
	}
}

func blobPath(id channel.ID, d detached) string {
	return channelPath(id, "/blobs/", d.blob.Root.String())
}

// TestPayloadBesideTheLedger uploads, breaks off, resumes, fetches through nodes that never held it, and erases everywhere.
func TestPayloadBesideTheLedger(t *testing.T) {
	w := start(t, networkOptions{nodes: 4})
	people := w.people("owner", "reader", "stranger")
	owner, reader, stranger := people[0], people[1], people[2]
	id := w.create(owner)
	w.grant(owner, id, channel.Read, reader)
	payload := make([]byte, 2_500_000)
	_, _ = rand.Read(payload) // never fails
	d := w.detach(owner, id, payload)

	w.as(0, reader, "POST", channelPath(id, "/blobs"), d.declaration()).refused(403, "right_missing")
	w.as(0, stranger, "POST", channelPath(id, "/blobs"), d.declaration()).refused(403, "not_participant")
	w.putChunk(0, owner, id, d, 0).refused(404, "not_found")
	var v blobView
	w.as(0, owner, "POST", channelPath(id, "/blobs"), d.declaration()).into(200, &v)
	if v.Complete || len(v.Missing) != len(d.chunks) {
		t.Errorf("declared %+v", v)
	}
	wrong := d
	wrong.chunks = [][]byte{bytes.Clone(d.chunks[0])}
	wrong.chunks[0][1000] ^= 1
	w.putChunk(0, owner, id, wrong, 0).refused(422, "bad_value")
	for n := len(d.chunks) - 1; n >= 4; n-- { // in any order, and broken off
		w.putChunk(0, owner, id, d, n).want(204)
	}
	entry := w.sign(owner, d.body)
	w.postEntry(0, id, entry).refused(409, "blob_incomplete")
	w.as(0, owner, "POST", channelPath(id, "/blobs"), d.declaration()).into(200, &v)
	equal(t, "missing", v.Missing, []int{0, 1, 2, 3})
	for _, n := range append(v.Missing, 0) {
		w.putChunk(0, owner, id, d, n).want(204)
	}
	w.postEntry(1, id, entry).refused(409, "blob_incomplete") // not there
	w.postEntry(0, id, entry).want(200)
	w.Settle()
	again := w.detach(owner, id, payload)
	again.body["body"] = d.body["body"]
	w.post(0, owner, id, again.body).refused(409, "blob_taken")

	w.servedEverywhere(id, owner, reader, stranger, d, payload)
	w.erasedEverywhere(id, owner, reader, d)
}

// servedEverywhere reads a payload that node 0 holds through the others.
func (w *network) servedEverywhere(id channel.ID, owner, reader, stranger *person, d detached, payload []byte) {
	t := w.t
	t.Helper()
	equal(t, "held by", w.heldBy(1, reader, id), []string{"m0"})
	r := w.as(2, reader, "HEAD", blobPath(id, d), nil).want(200)
	if r.header.Get("Content-Length") != fmt.Sprint(d.blob.Size) {
		t.Errorf("HEAD says %s bytes", r.header.Get("Content-Length"))
	}
	part := w.as(3, reader, "GET", blobPath(id, d), nil, "Range", "bytes=262000-262999").want(206)
	if !bytes.Equal(part.body, d.bytes()[262000:263000]) {
		t.Error("the range has other bytes")
	}
	if got := w.as(2, reader, "GET", blobPath(id, d), nil).want(200).body; !bytes.Equal(got, d.bytes()) {
		t.Error("the payload has other bytes")
	}
	chunk := w.as(1, reader, "GET", blobPath(id, d)+"/chunks/3", nil).want(200).body
	if !channel.VerifyChunk(d.blob, 3, chunk, channel.ChunkPath(d.leaves, 3)) {
		t.Error("chunk 3 does not verify alone")
	}
	equal(t, "held by", w.heldBy(1, reader, id), []string{"m0", "m2"})
	w.as(2, stranger, "GET", blobPath(id, d), nil).refused(403, "not_participant")
	w.opensTo(2, reader, id, d, payload)
}

// heldBy are the names of the members that hold the payload of record 1.
func (w *network) heldBy(i int, p *person, id channel.ID) (names []string) {
	w.t.Helper()
	var record eventView
	w.as(i, p, "GET", channelPath(id, "/records/1"), nil).into(200, &record)
	for n, member := range w.Genesis.Members {
		for _, m := range record.HeldBy {
			if m == member.Key {
				names = append(names, fmt.Sprint("m", n))
			}
		}
	}
	return names
}

// erasedEverywhere erases record 1 and wants the receipt of all members.
func (w *network) erasedEverywhere(id channel.ID, owner, reader *person, d detached) {
	t := w.t
	t.Helper()
	w.as(1, reader, "GET", channelPath(id, "/records/1/erasure"), nil).refused(404, "not_found")
	w.done(owner, id, channel.NewErase(w.header(owner, id), 1, "gdpr_art17"))
	for i := range w.Nodes {
		w.as(i, reader, "GET", blobPath(id, d), nil).refused(410, "erased")
		w.as(i, reader, "GET", blobPath(id, d)+"/chunks/0", nil).refused(410, "erased")
		w.as(i, owner, "POST", channelPath(id, "/blobs"), d.declaration()).refused(410, "erased")
		w.putChunk(i, owner, id, d, 0).refused(410, "erased")
	}
	var v erasureView
	w.as(1, reader, "GET", channelPath(id, "/records/1/erasure"), nil).into(200, &v)
	if len(v.Statements) != 4 || len(v.Unanswered) != 0 || v.Reason != "gdpr_art17" || v.Event != 3 {
		t.Errorf("erasure %+v", v)
	}
	for _, s := range v.Statements {
		if !s.verify(w.id) || s.Root != d.blob.Root || s.Event != 3 {
			t.Errorf("statement %+v", s)
		}
		holds := s.Member == w.Genesis.Members[0].Key || s.Member == w.Genesis.Members[2].Key
		if s.Held != holds {
			t.Errorf("%s: held %v, want %v", s.Member.Short(), s.Held, holds)
		}
		if s.Seq++; s.verify(w.id) {
			t.Error("a changed statement verifies")
		}
	}
	proof, err := base64.RawURLEncoding.DecodeString(v.Receipt)
	if err != nil {
		t.Fatal(err)
	}
	if report, err := receipt.Verify(w.Genesis, proof); err != nil || !report.Verified {
		t.Errorf("the receipt of the erasure: %+v %v", report, err)
	}
	for _, dir := range w.dirs {
		if files, _ := filepath.Glob(filepath.Join(dir, "blobs", "*", "*")); len(files) > 0 {
			t.Errorf("left: %v", files)
		}
	}
	// What else is proved stays valid.
	var verdicts []verdict
	hash := w.hashOf(d.body)
	w.as(2, reader, "POST", channelPath(id, "/validate"), []claim{{1, hash}, {1, tangle.Hash{1}}, {9, hash}}).into(200, &verdicts)
	if verdicts[0].Code != "erased" || verdicts[1].Code != "hash_mismatch" || verdicts[2].Code != "not_found" {
		t.Errorf("verdicts %+v", verdicts)
	}
	w.post(3, owner, id, channel.NewErase(w.header(owner, id), 1, "again")).refused(409, "wrong_state")
}

func (w *network) hashOf(body did.Object) tangle.Hash {
	w.t.Helper()
	text, _ := body["contentHash"].(string)
	id, err := channel.ParseID(text)
	if err != nil {
		w.t.Fatal(err)
	}
	return tangle.Hash(id)
}

// TestReplicated fetches payloads of a channel as soon as they are ordered, and has them when the first holder has not.
func TestReplicated(t *testing.T) {
	w := start(t, networkOptions{nodes: 4, settings: func(i int) string {
		if i == 3 {
			return `{"blobs":{"replicate":["all"]}}`
		}
		return `{}`
	}})
	owner := w.people("owner")[0]
	id := w.create(owner, public)
	d := w.detach(owner, id, []byte("a public payload"))
	w.upload(0, owner, id, d)
	w.done(owner, id, d.body)
	deadline := time.After(20 * time.Second)
	name := filepath.Join(w.dirs[3], "blobs", id.String(), d.blob.Root.String()+".blob")
	for { // each question is an event of its own: the node works meanwhile
		if _, err := os.Stat(name); err == nil {
			break
		}
		w.call(3, "GET", "/health", nil)
		select {
		case <-deadline:
			t.Fatal("the payload never came")
		default:
		}
	}
	if err := os.RemoveAll(filepath.Join(w.dirs[0], "blobs")); err != nil {
		t.Fatal(err)
	}
	if got := w.as(1, nil, "GET", blobPath(id, d), nil).want(200).body; !bytes.Equal(got, d.bytes()) {
		t.Errorf("got %d bytes", len(got))
	}
}

// TestBlobStore: what came survives a restart, as far as it is right; what nobody refers to has a day.
func TestBlobStore(t *testing.T) {
	dir, clock := t.TempDir(), &nodetest.Clock{}
	b, err := openBlobs(dir, 0, clock.Now)
	if err != nil {
		t.Fatal(err)
	}
	chunks := [][]byte{bytes.Repeat([]byte{1}, channel.ChunkBytes), bytes.Repeat([]byte{2}, channel.ChunkBytes), []byte("three")}
	var l blobLeaves
	for _, c := range chunks {
		l.Leaves, l.Size = append(l.Leaves, channel.LeafHash(c)), l.Size+int64(len(c))
	}
	k := blobKey{channel.ID{7}, channel.BlobRoot(l.Leaves)}
	u, err := b.declare(k, l)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 2} {
		if err := b.put(k, u, n, chunks[n]); err != nil {
			t.Fatal(err)
		}
	}
	part := b.path(k, ".part")
	f, err := os.OpenFile(part, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = f.WriteAt([]byte("torn"), 2*channel.ChunkBytes)
	_ = f.Close()
	if b, err = openBlobs(dir, 0, clock.Now); err != nil {
		t.Fatal(err)
	}
	if u, err = b.find(k); err != nil || u == nil {
		t.Fatal(err)
	}
	equal(t, "missing after a restart", u.missing(), []int{1, 2})
	if err := b.holds(k.channel, channel.Blob{Root: k.root, Size: l.Size, Chunks: 3}); plugins.Rejected(err) == nil {
		t.Errorf("holds: %v", err)
	}
	for _, n := range u.missing() {
		if err := b.put(k, u, n, chunks[n]); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.holds(k.channel, channel.Blob{Root: k.root, Size: l.Size, Chunks: 3}); err != nil {
		t.Error(err)
	}
	nobody := func(blobKey) fate { return loose }
	if err := b.expire(nobody); err != nil || !b.has(k.channel, k.root) {
		t.Errorf("it went at once: %v", err)
	}
	clock.Forward(25 * time.Hour)
	if err := b.expire(nobody); err != nil || b.has(k.channel, k.root) {
		t.Errorf("it stayed: %v", err)
	}
	for i := range MaxUploads + 1 {
		leaf := channel.LeafHash([]byte{byte(i)})
		_, err = b.declare(blobKey{channel.ID{8}, channel.BlobRoot([]tangle.Hash{leaf})}, blobLeaves{1, "somebody", []tangle.Hash{leaf}})
	}
	if r := plugins.Rejected(err); r == nil || r.Code != "limit_reached" {
		t.Errorf("one too many: %v", err)
	}
}

// TestReadingKeysUploadNothing: an API key with a DID and no scope to publish fills no disk in its name.
func TestReadingKeysUploadNothing(t *testing.T) {
	w := start(t, networkOptions{})
	owner := w.people("owner")[0]
	id := w.create(owner)
	d := w.detach(owner, id, make([]byte, 20_000))
	reads, publishes := w.apiKey(0, "reads", owner.did, "channels:read"), w.apiKey(0, "publishes", owner.did, "channels:read", "ledger:submit")
	declare := func(key string) reply {
		return w.call(0, "POST", "/api/v1"+channelPath(id, "/blobs"), d.declaration(), "X-API-Key", key)
	}
	put := func(key string) reply {
		return w.call(0, "PUT", "/api/v1"+channelPath(id, "/blobs/", d.blob.Root.String(), "/chunks/0"), d.chunks[0], "X-API-Key", key, "Content-Type", typeBytes)
	}
	declare(reads).refused(403, "forbidden")
	declare(publishes).want(200)
	put(reads).refused(403, "forbidden")
	put(publishes).want(204)
}

// TestBlobQuota bounds all payloads of a node together; what goes makes room.
func TestBlobQuota(t *testing.T) {
	dir, clock := t.TempDir(), &nodetest.Clock{}
	open := func() *blobStore {
		b, err := openBlobs(dir, 1000, clock.Now)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	b := open()
	declare := func(name byte, size int64) (blobKey, string) {
		leaf := channel.LeafHash([]byte{name})
		k := blobKey{channel.ID{8}, channel.BlobRoot([]tangle.Hash{leaf})}
		_, err := b.declare(k, blobLeaves{size, "", []tangle.Hash{leaf}})
		if r := plugins.Rejected(err); r != nil {
			return k, r.Code
		}
		if err != nil {
			t.Fatal(err)
		}
		return k, ""
	}
	used := func() float64 { return b.facts()[0].Value }
	first, _ := declare(1, 600)
	for _, c := range []struct {
		name byte
		size int64
		want string
		used float64
	}{{1, 600, "", 600}, {2, 401, "quota_exceeded", 600}, {3, 400, "", 1000}, {4, 1, "quota_exceeded", 1000}, {3, 400, "", 1000}} {
		if _, code := declare(c.name, c.size); code != c.want || used() != c.used {
			t.Errorf("blob %d: %q, %v bytes are taken, want %q, %v", c.name, code, used(), c.want, c.used)
		}
	}
	b = open()
	if used() != 1000 {
		t.Errorf("after a restart %v bytes are taken", used())
	}
	for range 2 {
		if _, err := b.remove(first); err != nil {
			t.Fatal(err)
		}
	}
	if _, code := declare(4, 600); code != "" || used() != 1000 {
		t.Errorf("after one has gone: %q, %v bytes are taken", code, used())
	}
}

// TestFullStore: a full node says so, and goes on taking records.
func TestFullStore(t *testing.T) {
	w := start(t, networkOptions{settings: func(int) string { return `{"blobs":{"maxBytes":30000}}` }})
	owner := w.people("owner")[0]
	id := w.create(owner)
	d := w.detach(owner, id, make([]byte, 20_000))
	w.upload(0, owner, id, d)
	w.done(owner, id, d.body)
	more := w.detach(owner, id, make([]byte, 20_000))
	w.as(0, owner, "POST", channelPath(id, "/blobs"), more.declaration()).refused(429, "quota_exceeded")
	w.done(owner, id, w.sealed(owner, id, "small", channel.RecordTerms{}))
	facts := w.Nodes[0].Vitals().Facts
	if !slices.ContainsFunc(facts, func(f plugins.Fact) bool { return f.Name == "weft_blob_bytes" && f.Value == float64(d.blob.Size) }) {
		t.Errorf("the node does not tell how full it is: %v", facts)
	}
	w.done(owner, id, channel.NewErase(w.header(owner, id), 1, "gdpr_art17"))
	w.as(0, owner, "GET", channelPath(id, "/records/1/erasure"), nil).want(200) // the payload is gone here by then
	w.upload(0, owner, id, more)
	if _, err := parseSettings([]byte(`{"blobs":{"maxBytes":-1}}`)); err == nil {
		t.Error("less than nothing is taken")
	}
}

// TestSizeIsTheRecords: the root says nothing of the size, and leaves with another one would keep the payload from ever
// becoming whole here. Neither a member that is asked nor a writer may declare so.
func TestSizeIsTheRecords(t *testing.T) {
	w := start(t, networkOptions{nodes: 2})
	owner := w.people("owner")[0]
	id := w.create(owner)
	d := w.detach(owner, id, make([]byte, 20_000))
	w.upload(0, owner, id, d)
	w.done(owner, id, d.body)
	declaration := d.declaration()
	declaration["size"] = d.blob.Size + 1
	w.as(1, owner, "POST", channelPath(id, "/blobs"), declaration).refused(422, "bad_value")

	liar, honest := tangle.Member{1}, tangle.Member{2}
	s := &streams{host: plugins.Host{
		View:    func() plugins.View { return w.view(1) },
		Members: []plugins.Member{{Key: liar}, {Key: honest}},
		Ask: func(_ context.Context, of tangle.Member, _ []byte) ([]byte, error) {
			size := d.blob.Size
			if of == liar {
				size++
			}
			return json.Marshal(blobLeaves{Size: size, Leaves: d.leaves})
		},
	}}
	var err error
	if s.blobs, err = openBlobs(t.TempDir(), 0, w.clock.Now); err != nil {
		t.Fatal(err)
	}
	u, err := s.fetchLeaves(t.Context(), blobKey{id, d.blob.Root}, liar)
	if err != nil || u.Size != d.blob.Size {
		t.Errorf("leaves for %d bytes, %v, want %d", u.Size, err, d.blob.Size)
	}
}
