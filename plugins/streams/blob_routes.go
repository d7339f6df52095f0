package streams

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"weft/plugins"
	"weft/plugins/rest"
	"weft/plugins/streams/channel"
	"weft/tangle"
)

const typeBytes = "application/octet-stream"

// blobView is what this node has of a blob.
type blobView struct {
	Root     tangle.Hash `json:"root"`
	Size     int64       `json:"size"`
	Chunks   int         `json:"chunks"`
	Missing  []int       `json:"missing"`
	Complete bool        `json:"complete"`
}

func viewBlob(root tangle.Hash, u *upload) blobView {
	missing := u.missing()
	return blobView{root, u.Size, len(u.Leaves), missing, len(missing) == 0}
}

// writes refuses whoever may not write now.
func (x *reader) writes() error {
	switch {
	case x.part == nil || x.part.State != channel.Active:
		return plugins.Reject("not_participant", "payloads are for those who may write")
	case !x.Holds(x.part).Has(channel.Order):
		return plugins.Reject("right_missing", "payloads are for those who may write")
	case x.rights() == 0:
		return plugins.Reject("not_valid_now", "the grant is not in force")
	}
	return nil
}

// openToWrite is open, for whoever may write now: the DID itself, or a key that may publish. One that reads with the DID's
// rights alone fills no disk in its name.
func (s *streams) openToWrite(r *http.Request) (*reader, error) {
	x, err := s.open(r)
	if err == nil {
		err = x.writes()
	}
	if caller := plugins.CallerOf(r.Context()); err == nil && !caller.Is(x.did) && !caller.May(plugins.ScopeLedgerSubmit) {
		err = plugins.Reject("forbidden", "payloads want a login of %s, or a key with the scope %s", x.did, plugins.ScopeLedgerSubmit)
	}
	return x, err
}

// declareBlob is POST /api/v1/channels/{id}/blobs: which chunks will come. The same again says which are missing.
func (s *streams) declareBlob(w http.ResponseWriter, r *http.Request) error {
	x, err := s.openToWrite(r)
	if err != nil {
		return err
	}
	var body struct {
		Root   tangle.Hash   `json:"root"`
		Size   int64         `json:"size"`
		Leaves []tangle.Hash `json:"leaves"`
	}
	if err := rest.Read(r, &body); err != nil {
		return err
	}
	k := blobKey{x.ID, body.Root}
	if err := s.notErased(k); err != nil {
		return err
	}
	if err := s.fitsRecord(k, body.Size); err != nil {
		return err
	}
	u, err := s.blobs.declare(k, blobLeaves{body.Size, x.did, body.Leaves})
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, viewBlob(body.Root, u))
}

// notErased refuses a blob whose record has been erased.
func (s *streams) notErased(k blobKey) error {
	if e, found, err := s.recordOfBlob(k); err != nil {
		return err
	} else if found && e.ErasedBy != 0 {
		return plugins.Reject("erased", "event %d has erased the record of this payload", e.ErasedBy)
	}
	return nil
}

// fitsRecord refuses another size than that of the record: the root does not say it.
func (s *streams) fitsRecord(k blobKey, size int64) error {
	e, found, err := s.recordOfBlob(k)
	if err == nil && found && e.Blob.Size != size {
		err = plugins.Reject("bad_value", "the record of this payload says %d bytes", e.Blob.Size)
	}
	return err
}

func (s *streams) recordOfBlob(k blobKey) (channel.Event, bool, error) {
	seq, found := channel.FindBlob(s.state(), k.channel, k.root)
	if !found {
		return channel.Event{}, false, nil
	}
	e, found, err := channel.ReadRecord(s.state(), k.channel, seq)
	s.damaged(err)
	return e, found, err
}

// putChunk is PUT /api/v1/channels/{id}/blobs/{root}/chunks/{n}.
func (s *streams) putChunk(w http.ResponseWriter, r *http.Request) error {
	x, err := s.openToWrite(r)
	if err != nil {
		return err
	}
	k, err := pathBlob(x, r)
	if err == nil {
		err = s.notErased(k)
	}
	if err != nil {
		return err
	}
	u, err := s.blobs.find(k)
	if err == nil && u == nil {
		err = plugins.Reject("not_found", "the blob has not been declared here")
	}
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(r.PathValue("n"))
	if err != nil {
		return plugins.Reject("bad_parameter", "a chunk is named by its number")
	}
	chunk, err := rest.ReadBody(r)
	if err != nil {
		return err
	}
	if err := s.blobs.put(k, u, n, chunk); err != nil {
		return err
	}
	return rest.None(w)
}

func pathBlob(x *reader, r *http.Request) (blobKey, error) {
	root, err := channel.ParseID(r.PathValue("root"))
	if err != nil {
		return blobKey{}, plugins.Reject("bad_parameter", "a blob is named by 64 lower-case hex digits")
	}
	return blobKey{x.ID, tangle.Hash(root)}, nil
}

// servedBlob finds the blob of the path for whoever is served its record, or has declared it.
func (s *streams) servedBlob(r *http.Request) (blobKey, *upload, error) {
	x, err := s.open(r)
	if err != nil {
		return blobKey{}, nil, err
	}
	k, err := pathBlob(x, r)
	if err != nil {
		return k, nil, err
	}
	e, found, err := s.recordOfBlob(k)
	if err != nil {
		return k, nil, err
	}
	if !found {
		return s.looseBlob(x, k)
	}
	switch err := x.takesPart(); {
	case err != nil:
		return k, nil, err
	case !x.sees(e):
		return k, nil, plugins.Reject("not_found", "there is no such blob")
	case e.ErasedBy != 0:
		return k, nil, plugins.Reject("erased", "event %d has erased the record of this payload", e.ErasedBy)
	case s.pastRetention(x.Channel, e):
		return k, nil, plugins.Reject("erased", "the channel keeps payloads for %d days", x.RetentionDays)
	}
	u, err := s.blobs.find(k)
	if err == nil && u == nil {
		u, err = s.fetchLeaves(r.Context(), k, e.By)
	}
	return k, u, err
}

// looseBlob is one that no record refers to yet.
func (s *streams) looseBlob(x *reader, k blobKey) (blobKey, *upload, error) {
	u, err := s.blobs.find(k)
	if err == nil && (u == nil || x.did == "" || u.Owner != x.did) {
		err = plugins.Reject("not_found", "there is no such blob")
	}
	return k, u, err
}

func (s *streams) pastRetention(c channel.Channel, e channel.Event) bool {
	return c.PastRetention(e, tangle.TimeOf(s.now()))
}

// getChunk is GET /api/v1/channels/{id}/blobs/{root}/chunks/{n}.
func (s *streams) getChunk(w http.ResponseWriter, r *http.Request) error {
	k, u, err := s.servedBlob(r)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(r.PathValue("n"))
	if err != nil || n < 0 || n >= len(u.Leaves) {
		return plugins.Reject("bad_parameter", "the blob has %d chunks", len(u.Leaves))
	}
	if heldAlready(w, r, u.Leaves[n]) {
		return nil
	}
	chunk, err := s.chunk(r.Context(), k, u, n)
	if err != nil {
		return err
	}
	cacheable(w, u.Leaves[n])
	return rest.AnswerBytes(w, http.StatusOK, typeBytes, chunk)
}

// getBlob is GET /api/v1/channels/{id}/blobs/{root}: the stored bytes, also in ranges. Chunks that are not here come from
// other members while it is read.
func (s *streams) getBlob(w http.ResponseWriter, r *http.Request) error {
	k, u, err := s.servedBlob(r)
	if err != nil {
		return err
	}
	if r.Method == http.MethodHead {
		return headBlob(w, k, u)
	}
	b := &blobReader{streams: s, ctx: r.Context(), key: k, upload: u, number: -1, control: http.NewResponseController(w)}
	if _, err := s.chunk(r.Context(), k, u, 0); err != nil { // before the answer has begun
		return err
	}
	w.Header().Set("Content-Type", typeBytes)
	cacheable(w, k.root)
	http.ServeContent(w, r, "", time.Time{}, b)
	if b.failed != nil {
		return b.failed // too late for a problem, soon enough for the consumer to miss the rest
	}
	return nil
}

func headBlob(w http.ResponseWriter, k blobKey, u *upload) error {
	h := w.Header()
	h.Set("Content-Type", typeBytes)
	h.Set("Content-Length", strconv.FormatInt(u.Size, 10))
	h.Set("Accept-Ranges", "bytes")
	cacheable(w, k.root)
	w.WriteHeader(http.StatusOK)
	return nil
}

// cacheable marks stored bytes, which never change under their hash. Only the caller's own cache may keep them.
func cacheable(w http.ResponseWriter, h tangle.Hash) {
	w.Header().Set("ETag", strconv.Quote(h.String()))
	w.Header().Set("Cache-Control", "private, max-age=31536000, immutable")
}

// heldAlready answers a caller who has the bytes.
func heldAlready(w http.ResponseWriter, r *http.Request, h tangle.Hash) bool {
	if !rest.MatchesTag(r.Header.Get("If-None-Match"), h.String()) {
		return false
	}
	cacheable(w, h)
	w.WriteHeader(http.StatusNotModified)
	return true
}

// blobReader reads a blob chunk by chunk. It implements io.ReadSeeker.
type blobReader struct {
	*streams
	ctx     context.Context // of the request
	key     blobKey
	upload  *upload
	control *http.ResponseController
	at      int64
	number  int // of chunk; -1: none is read
	chunk   []byte
	failed  error
}

// Read implements io.Reader.
func (b *blobReader) Read(p []byte) (int, error) {
	if b.at >= b.upload.Size {
		return 0, io.EOF
	}
	if n := int(b.at / channel.ChunkBytes); n != b.number {
		chunk, err := b.streams.chunk(b.ctx, b.key, b.upload, n)
		if err != nil {
			b.failed = err
			return 0, err
		}
		b.number, b.chunk = n, chunk
		_ = b.control.SetWriteDeadline(time.Now().Add(time.Minute)) // a large blob may take longer than other answers
	}
	n := copy(p, b.chunk[b.at%channel.ChunkBytes:])
	b.at += int64(n)
	return n, nil
}

// Seek implements io.Seeker.
func (b *blobReader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += b.at
	case io.SeekEnd:
		offset += b.upload.Size
	}
	if offset < 0 {
		return 0, errors.New("before the start")
	}
	b.at = offset
	return offset, nil
}
