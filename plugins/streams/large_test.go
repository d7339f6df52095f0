package streams

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"weft/plugins/streams/channel"
)

// TestLargePayload: 64 MiB go in although the upload breaks off, at the client's end and at the node's; come out through nodes
// that never held them; and come to their end although the holder dies half-way.
func TestLargePayload(t *testing.T) {
	if testing.Short() {
		t.Skip("64 MiB")
	}
	w := start(t, networkOptions{nodes: 4})
	owner := w.people("owner")[0]
	id := w.create(owner)
	payload := make([]byte, 64<<20)
	for i := range payload {
		payload[i] = byte(i >> 10)
	}
	d := w.detach(owner, id, payload)
	const holder = 3
	w.uploadWithBreaks(holder, owner, id, d)
	w.post(holder, owner, id, d.body).want(200)
	w.Settle()

	chunk := w.as(1, owner, "GET", blobPath(id, d)+"/chunks/201", nil).want(200).body
	if !channel.VerifyChunk(d.blob, 201, chunk, channel.ChunkPath(d.leaves, 201)) || channel.VerifyChunk(d.blob, 200, chunk, channel.ChunkPath(d.leaves, 201)) {
		t.Error("chunk 201 does not verify alone, or as another")
	}
	w.holderWithABitFlipped(holder, owner, id, d)

	// Node 0 is asked, and the only holder dies half-way: the answer is cut short, and what is asked then has a code.
	all, whole := d.bytes(), len(d.bytes())
	got, err := w.readBlob(0, owner, id, d, 0, w.halt)
	if err == nil || len(got) < whole/2 || len(got) >= whole || !bytes.Equal(got, all[:len(got)]) {
		t.Fatalf("without a holder came %d of %d bytes, %v", len(got), whole, err)
	}
	w.as(0, owner, "GET", blobPath(id, d)+fmt.Sprintf("/chunks/%d", d.blob.Chunks-1), nil).refused(409, "blob_incomplete")
	w.as(2, owner, "GET", blobPath(id, d), nil).refused(409, "blob_incomplete")
	w.join()
	rest, err := w.readBlob(0, owner, id, d, len(got), nil)
	if err != nil || !bytes.Equal(rest, all[len(got):]) {
		t.Fatalf("with the holder came %d of %d bytes more, %v", len(rest), whole-len(got), err)
	}
	equal(t, "held by", w.heldBy(1, owner, id), []string{"m0", "m3"})

	// Node 1 is asked, and one of two holders dies half-way: the other goes on.
	if got, err := w.readBlob(1, owner, id, d, 0, w.halt); err != nil || !bytes.Equal(got, all) {
		t.Fatalf("with another holder came %d of %d bytes, %v", len(got), whole, err)
	}
	w.opensTo(1, owner, id, d, payload)
}

// uploadWithBreaks breaks an upload off: the client hangs up within a chunk, then the node stops; what is whole stays.
func (w *network) uploadWithBreaks(i int, p *person, id channel.ID, d detached) {
	w.t.Helper()
	w.as(i, p, "POST", channelPath(id, "/blobs"), d.declaration()).want(200)
	flipped := d
	flipped.chunks = [][]byte{bytes.Clone(d.chunks[0])}
	flipped.chunks[0][77] ^= 1
	w.putChunk(i, p, id, flipped, 0).refused(422, "bad_value")
	for n := range 100 {
		w.putChunk(i, p, id, d, n).want(204)
	}
	conn, err := net.Dial("tcp", w.Nodes[i].APIAddr())
	if err != nil {
		w.t.Fatal(err)
	}
	fmt.Fprintf(conn, "PUT /api/v1%s/chunks/100 HTTP/1.1\r\nHost: weft\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n",
		blobPath(id, d), w.login(i, p), typeBytes, len(d.chunks[100]))
	_, _ = conn.Write(d.chunks[100][:50_000])
	_ = conn.Close()
	w.halt()
	w.join()
	var v blobView
	w.as(i, p, "POST", channelPath(id, "/blobs"), d.declaration()).into(200, &v)
	if len(v.Missing) != len(d.chunks)-100 || v.Missing[0] != 100 {
		w.t.Fatalf("%d chunks are missing, the first is %d", len(v.Missing), v.Missing[0])
	}
	for _, n := range v.Missing {
		w.putChunk(i, p, id, d, n).want(204)
	}
}

// holderWithABitFlipped: a chunk that is damaged on the only holder's disk is not passed on.
func (w *network) holderWithABitFlipped(holder int, p *person, id channel.ID, d detached) {
	w.t.Helper()
	f, err := os.OpenFile(filepath.Join(w.dirs[holder], "blobs", id.String(), d.blob.Root.String()+".blob"), os.O_RDWR, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	flip := func() {
		one, at := make([]byte, 1), int64(50*channel.ChunkBytes+5)
		_, errRead := f.ReadAt(one, at)
		one[0] ^= 0x10
		if _, err := f.WriteAt(one, at); errors.Join(errRead, err) != nil {
			w.t.Fatal(errRead, err)
		}
	}
	flip()
	w.as(1, p, "GET", blobPath(id, d)+"/chunks/50", nil).refused(409, "blob_incomplete")
	flip()
	if got := w.as(1, p, "GET", blobPath(id, d)+"/chunks/50", nil).want(200).body; !bytes.Equal(got, d.chunks[50]) {
		w.t.Error("the repaired chunk differs")
	}
}

// readBlob reads a payload from an offset on at node i; half-way, something happens.
func (w *network) readBlob(i int, p *person, id channel.ID, d detached, from int, halfWay func()) ([]byte, error) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", "http://"+w.Nodes[i].APIAddr()+"/api/v1"+blobPath(id, d), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+w.login(i, p))
	r.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
	response, err := w.HTTP.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusPartialContent {
		w.t.Fatalf("HTTP %d", response.StatusCode)
	}
	if halfWay == nil {
		return io.ReadAll(response.Body)
	}
	first := make([]byte, response.ContentLength/2)
	if _, err := io.ReadFull(response.Body, first); err != nil {
		return first, err
	}
	halfWay()
	rest, err := io.ReadAll(response.Body)
	return append(first, rest...), err
}

// opensTo opens the payload of record 1 with the key of epoch 1.
func (w *network) opensTo(i int, p *person, id channel.ID, d detached, want []byte) {
	w.t.Helper()
	var record eventView
	w.as(i, p, "GET", channelPath(id, "/records/1"), nil).into(200, &record)
	op, err := channel.Decode(w.id, record.Operation)
	if err != nil {
		w.t.Fatal(err)
	}
	var opened bytes.Buffer
	if _, err := channel.OpenBlob(epochKeyOf(id, 1), op, func(n int) ([]byte, error) {
		return w.as(i, p, "GET", blobPath(id, d)+fmt.Sprint("/chunks/", n), nil).body, nil
	}, &opened); err != nil || !bytes.Equal(opened.Bytes(), want) {
		w.t.Errorf("opened %d bytes, %v", opened.Len(), err)
	}
}
