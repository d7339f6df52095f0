package audit

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"weft/client"
	"weft/plugins/identity/did"
	"weft/plugins/streams/channel"
	"weft/tangle"
)

// Record is what is to be written. Without Body only Terms.Public is written; a Meta makes sense with a body only.
type Record struct {
	Terms   channel.RecordTerms
	Body    bool
	Meta    did.Object
	Payload []byte
}

// sealer is what records are sealed with now: the epoch's key, its public key for who may only write, nothing in a public
// channel.
func (c *Channel) sealer() (channel.Sealer, error) {
	if c.Info.Access != channel.Private {
		return channel.Sealer{}, nil
	}
	if key, ok := c.Keys[c.Info.Epoch]; ok {
		return channel.Sealer{Epoch: c.Info.Epoch, Key: &key}, nil
	}
	public, err := base64.RawURLEncoding.DecodeString(c.Info.PublicKey)
	if err != nil || len(public) != channel.KeySize {
		return channel.Sealer{}, fmt.Errorf("the node tells no public key of epoch %d", c.Info.Epoch)
	}
	for _, e := range c.Epochs {
		if e.Number == c.Info.Epoch && !bytes.Equal(e.PublicKey[:], public) {
			return channel.Sealer{}, fmt.Errorf("the node tells two public keys of epoch %d", e.Number)
		}
	}
	return channel.Sealer{Epoch: c.Info.Epoch, PublicKey: public}, nil
}

// Seal makes the signed operation of a record with a fresh nonce.
func (c *Channel) Seal(r Record) ([]byte, error) {
	h, err := c.header()
	if err != nil {
		return nil, err
	}
	body, err := c.seal(channel.NewWrite(h, r.Terms), r)
	if err != nil {
		return nil, err
	}
	return c.Sign(body)
}

func (c *Channel) seal(header did.Object, r Record) (did.Object, error) {
	if !r.Body {
		return header, nil
	}
	if c.Info.Access != channel.Private {
		return nil, fmt.Errorf("sealed_in_public: a body in a public channel is detached")
	}
	s, err := c.sealer()
	if err != nil {
		return nil, err
	}
	meta := r.Meta
	if meta == nil {
		meta = did.Object{}
	}
	return channel.Seal(c.Random, s, header, meta, r.Payload)
}

// Written is what became of a record.
type Written struct {
	client.Operated
	ContentHash tangle.Hash // zero without a body
}

// Write writes one record, and seals it again as often as an epoch ends meanwhile.
func (c *Channel) Write(ctx context.Context, r Record, wait time.Duration) (done Written, err error) {
	for attempt := 1; ; attempt++ {
		entry, err := c.Seal(r)
		if err != nil {
			return done, err
		}
		done.ContentHash = contentHashOf(entry)
		done.Operated, err = c.Send(ctx, entry, wait)
		if !Races(err) || attempt == MaxAttempts {
			return done, err
		}
		if err := c.Refresh(ctx); err != nil {
			return done, err
		}
	}
}

// contentHashOf is the hash that an operation shows of its content.
func contentHashOf(entry []byte) tangle.Hash {
	var said struct {
		ContentHash tangle.Hash `json:"contentHash"`
	}
	_ = json.Unmarshal(entry, &said) // it was sealed here
	return said.ContentHash
}

// SendAll publishes signed operations of one channel, cut into requests as the node takes them; there is one result for each.
func (s *Session) SendAll(ctx context.Context, id channel.ID, entries [][]byte, wait time.Duration) (list []client.BatchResult, err error) {
	for _, batch := range batches(entries) {
		err := s.ask(ctx, func(node *client.Client) error {
			results, err := node.SubmitOperations(ctx, id, batch, client.OperationOptions{Final: wait})
			list = append(list, results...)
			return err
		})
		if err != nil {
			return list, err
		}
	}
	return list, nil
}

// AwaitAll waits for what SendAll has handed over, for at most so long, and returns the results anew. Nothing is sent again:
// what the node does not know any more is told as unknown_operation.
func (s *Session) AwaitAll(ctx context.Context, id channel.ID, sent []client.BatchResult, wait time.Duration) ([]client.BatchResult, error) {
	list := slices.Clone(sent)
	var hashes []string
	var at []int
	for i, r := range sent {
		if r.Err() == nil && r.Status != client.Final {
			hashes, at = append(hashes, r.OpHash), append(at, i)
		}
	}
	for part := range slices.Chunk(hashes, client.MaxBatch) {
		err := s.ask(ctx, func(node *client.Client) error {
			results, err := node.OperationStates(ctx, id, part, client.OperationOptions{Final: wait})
			for k, r := range results {
				list[at[k]] = r
			}
			return err
		})
		if err != nil {
			return list, err
		}
		at = at[len(part):]
	}
	return list, nil
}

// batches cuts by number and by bytes.
func batches(entries [][]byte) (list [][][]byte) {
	from, size := 0, 0
	for i, e := range entries {
		if i > from && (i-from == client.MaxBatch || size+len(e)+1 > client.MaxOperationsBytes) {
			list, from, size = append(list, entries[from:i]), i, 0
		}
		size += len(e) + 1
	}
	if from < len(entries) {
		list = append(list, entries[from:])
	}
	return list
}

// Upload is a detached record on its way. What it holds is all that is needed to go on after a crash: with the same payload
// the same chunks come out. With another one it does not go on: that would be sealed with the same key and IVs. Random must be
// kept secret until the record is written.
type Upload struct {
	Header did.Object  `json:"header"`
	Meta   did.Object  `json:"meta"`
	Epoch  uint32      `json:"epoch"`
	Random []byte      `json:"random"` // what sealing draws: salt, and the record's key of a write-only author
	Size   int64       `json:"size"`   // of the payload
	Root   tangle.Hash `json:"root"`   // of the chunks that the payload is sealed into

	leaves []tangle.Hash // of these; nil if it was kept
}

// IsOf says whether an upload was begun for a record of these terms and meta by this author.
func (u *Upload) IsOf(author string, terms channel.RecordTerms, meta did.Object) bool {
	want := channel.NewWrite(channel.Header{}, terms)
	for _, name := range []string{"recordType", "tag", "topic", "public", "supersedes"} {
		if !same(u.Header[name], want[name]) {
			return false
		}
	}
	return u.Header["actor"] == author && same(u.Meta, meta)
}

// same compares members of objects, either of which may have been read from JSON.
func same(a, b any) bool {
	if a == nil || b == nil {
		return a == b
	}
	x, err := did.Canonical(did.Object{"of": a})
	y, other := did.Canonical(did.Object{"of": b})
	return err == nil && other == nil && bytes.Equal(x, y)
}

// uploadRandom is how much sealing draws at most.
const uploadRandom = channel.SaltBytes + channel.KeySize

// NewUpload begins a detached record. It reads the payload, and sends nothing.
func (c *Channel) NewUpload(terms channel.RecordTerms, meta did.Object, payload io.ReaderAt, size int64) (*Upload, error) {
	h, err := c.header()
	if err != nil {
		return nil, err
	}
	s, err := c.sealer()
	if err != nil {
		return nil, err
	}
	if meta == nil {
		meta = did.Object{}
	}
	u := &Upload{Header: channel.NewWrite(h, terms), Meta: meta, Epoch: c.Info.Epoch, Random: make([]byte, uploadRandom), Size: size}
	if _, err := io.ReadFull(c.Random, u.Random); err != nil {
		return nil, err
	}
	_, u.leaves, err = u.seal(s, payload, func(int, []byte) error { return nil })
	u.Root = channel.BlobRoot(u.leaves)
	return u, err
}

// seal passes the chunks to put, and fails if the payload is longer or shorter than it was.
func (u *Upload) seal(s channel.Sealer, payload io.ReaderAt, put func(n int, chunk []byte) error) (did.Object, []tangle.Hash, error) {
	body, leaves, err := channel.SealBlob(bytes.NewReader(u.Random), s, u.Header, u.Meta, payload, u.Size, put)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, nil, errChanged
	}
	if n, _ := payload.ReadAt(make([]byte, 1), u.Size); err == nil && n > 0 {
		return nil, nil, errChanged
	}
	return body, leaves, err
}

// resume sees, before anything is sent, that an upload which was kept is of this payload.
func (u *Upload) resume(ctx context.Context, s channel.Sealer, payload io.ReaderAt, size int64) error {
	if u.Size != size || u.Root == (tangle.Hash{}) {
		return ErrAnotherFile
	}
	_, leaves, err := u.seal(s, payload, func(int, []byte) error { return ctx.Err() })
	if err == nil && channel.BlobRoot(leaves) != u.Root {
		err = ErrAnotherFile
	}
	u.leaves = leaves
	return err
}

// Progress is told how many chunks of how many the node has.
type Progress func(done, all int)

// Upload seals a payload, uploads the chunks that the node has not, and makes the signed operation. It keeps one chunk of it
// in memory, and sends none that is not of the payload that the upload began with. An upload has to begin anew after
// ErrAnotherFile and the codes epoch_closed and expired.
func (c *Channel) Upload(ctx context.Context, u *Upload, payload io.ReaderAt, size int64, told Progress) ([]byte, error) {
	if u.Epoch != c.Info.Epoch {
		return nil, &client.Problem{Code: "epoch_closed", Title: fmt.Sprintf("the upload was sealed for epoch %d, the current one is %d", u.Epoch, c.Info.Epoch)}
	}
	s, err := c.sealer()
	if err != nil {
		return nil, err
	}
	if u.leaves == nil || u.Size != size {
		if err := u.resume(ctx, s, payload, size); err != nil {
			return nil, err
		}
	}
	leaves := u.leaves
	blob := channel.Blob{Root: u.Root, Chunks: len(leaves), Size: storedSize(s, u.Meta, size)}
	missing, err := c.declare(ctx, blob, leaves)
	if err != nil {
		return nil, err
	}
	done := len(leaves) - len(missing)
	body, again, err := u.seal(s, payload, func(n int, chunk []byte) error {
		if n >= len(leaves) || channel.LeafHash(chunk) != leaves[n] {
			return errChanged
		}
		if !missing[n] {
			return ctx.Err()
		}
		err := c.ask(ctx, func(node *client.Client) error { return node.PutChunk(ctx, c.ID, blob.Root, n, chunk) })
		if done++; err == nil && told != nil {
			told(done, len(leaves))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(again) != len(leaves) {
		return nil, errChanged
	}
	return c.Sign(body)
}

// errChanged says that the payload was another one when it was read again.
var errChanged = errors.New("the file has changed while it was read")

// ErrAnotherFile says that an upload is not of the payload that is there now.
var ErrAnotherFile = errors.New("the file is not the one that the upload began with")

func (c *Channel) declare(ctx context.Context, blob channel.Blob, leaves []tangle.Hash) (map[int]bool, error) {
	var state client.BlobState
	err := c.ask(ctx, func(node *client.Client) (err error) {
		state, err = node.DeclareBlob(ctx, c.ID, blob, leaves)
		return err
	})
	missing := map[int]bool{}
	for _, n := range state.Missing {
		missing[n] = true
	}
	return missing, err
}

// storedSize is how many bytes a payload has as chunks.
func storedSize(s channel.Sealer, meta did.Object, size int64) int64 {
	text, _ := did.Canonical(meta) // sealing has refused what it refuses
	plain := (channel.SaltBytes + 4 + int64(len(text)) + 8 + size + 255) / 256 * 256
	if s.Epoch == 0 {
		return plain
	}
	const chunk = channel.ChunkBytes - 16
	return plain + (plain+chunk-1)/chunk*16
}

// WriteDetached writes a record with a detached body, and begins anew if the epoch ends meanwhile. kept is told each upload
// before its first byte is sent, to be kept for Upload after a crash, and why the one before it, if any, is of no use; begun is
// one that was kept.
func (c *Channel) WriteDetached(ctx context.Context, r Record, begun *Upload, payload io.ReaderAt, size int64, wait time.Duration, kept func(u *Upload, instead error) error, told Progress) (done Written, err error) {
	u := begun
	for attempt := 1; ; attempt++ {
		if u == nil {
			why := err
			if u, err = c.NewUpload(r.Terms, r.Meta, payload, size); err != nil {
				return done, err
			}
			if err := kept(u, why); err != nil {
				return done, err
			}
		}
		var entry []byte
		if entry, err = c.Upload(ctx, u, payload, size, told); err == nil {
			done.ContentHash = contentHashOf(entry)
			done.Operated, err = c.Send(ctx, entry, wait)
		}
		if again := Races(err) || client.ProblemCode(err) == "expired" || errors.Is(err, ErrAnotherFile); !again || attempt == MaxAttempts {
			return done, err
		}
		if u = nil; c.Refresh(ctx) != nil {
			return done, err
		}
	}
}
