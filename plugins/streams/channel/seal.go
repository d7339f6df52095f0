package channel

import (
	"bytes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"io"
	"maps"

	"weft/plugins/identity/did"
	"weft/tangle"
)

// Sizes of bodies in bytes.
const (
	SaltBytes  = 32
	ChunkBytes = 256 << 10 // stored
	padding    = 256       // plaintext has whole steps of it

	maxInline = (SaltBytes+4+MaxMeta+8+MaxInlinePayload+padding-1)/padding*padding + tagBytes
	framing   = SaltBytes + 4 + 8
)

// Sealer is what an author seals with: the key of the current epoch, or, if it may only write, the epoch's public key. The
// zero Sealer seals nothing: for public channels.
type Sealer struct {
	Epoch     uint32
	Key       *Key
	PublicKey []byte
}

// Seal makes the body of a write with an inline body out of its header (NewWrite without a body). A nonce is used once.
func Seal(random io.Reader, s Sealer, header did.Object, meta did.Object, payload []byte) (did.Object, error) {
	if len(payload) > MaxInlinePayload {
		return nil, reject("too_large", "a payload of %d bytes, at most %d stand in an operation", len(payload), MaxInlinePayload)
	}
	w, err := newSealing(random, s, header, meta, bytes.NewReader(payload), int64(len(payload)))
	if err != nil {
		return nil, err
	}
	chunk, err := w.next()
	if err != nil {
		return nil, err
	}
	return w.finish(did.Object{"ciphertext": base64.RawURLEncoding.EncodeToString(chunk)}), nil
}

// SealBlob makes the body of a write with a detached body and passes the stored chunks to put in their order. It reads the
// payload twice: what is sealed binds to its hash. leaves are what the blob is declared by. put must not keep the chunk.
func SealBlob(random io.Reader, s Sealer, header, meta did.Object, payload io.ReaderAt, size int64, put func(n int, chunk []byte) error) (body did.Object, leaves []tangle.Hash, err error) {
	w, err := newSealing(random, s, header, meta, payload, size)
	if err != nil {
		return nil, nil, err
	}
	blob := Blob{}
	for !w.done() {
		chunk, err := w.next()
		if err != nil {
			return nil, nil, err
		}
		if err := put(blob.Chunks, chunk); err != nil {
			return nil, nil, err
		}
		leaves = append(leaves, LeafHash(chunk))
		blob.Size += int64(len(chunk))
		blob.Chunks++
	}
	if blob.Root = BlobRoot(leaves); blob.Size > MaxBlob {
		return nil, nil, reject("too_large", "a blob of %d bytes, at most %d are possible", blob.Size, MaxBlob)
	}
	return w.finish(did.Object{"blob": did.Object{"root": blob.Root.String(), "size": blob.Size, "chunks": blob.Chunks}}), leaves, nil
}

// sealing is one body on its way into chunks.
type sealing struct {
	header did.Object
	plain  io.Reader // with padding
	left   int64     // of plain
	aead   cipher.AEAD
	prefix []byte
	aad    []byte
	key    []byte // body.key
	chunk  uint32
}

func newSealing(random io.Reader, s Sealer, header, meta did.Object, payload io.ReaderAt, size int64) (*sealing, error) {
	text, err := did.Canonical(meta)
	if err != nil {
		return nil, err
	}
	if len(text) > MaxMeta {
		return nil, reject("too_large", "meta of %d bytes, at most %d are possible", len(text), MaxMeta)
	}
	salt := make([]byte, SaltBytes)
	if _, err := io.ReadFull(random, salt); err != nil {
		return nil, err
	}
	front := frame(salt, text, size)
	w := &sealing{header: maps.Clone(header)}
	sum := contentHash(front)
	if _, err := io.Copy(sum, io.NewSectionReader(payload, 0, size)); err != nil {
		return nil, err
	}
	w.header["contentHash"] = tangle.Hash(sum.Sum(nil)).String()
	length := int64(len(front)) + size
	w.left = (length + padding - 1) / padding * padding
	w.plain = io.MultiReader(bytes.NewReader(front), io.NewSectionReader(payload, 0, size), bytes.NewReader(make([]byte, w.left-length)))
	return w, w.prepare(random, s)
}

// frame is what stands before the payload.
func frame(salt, meta []byte, size int64) []byte {
	b := append(make([]byte, 0, framing+len(meta)), salt...)
	b = append(binary.BigEndian.AppendUint32(b, uint32(len(meta))), meta...)
	return binary.BigEndian.AppendUint64(b, uint64(size))
}

// prepare derives the keys of the record.
func (w *sealing) prepare(random io.Reader, s Sealer) (err error) {
	if s.Epoch == 0 {
		return nil
	}
	id, actor, nonce, err := readHeader(w.header)
	if err != nil {
		return err
	}
	w.header["epoch"] = int64(s.Epoch)
	if w.aad, err = did.Canonical(w.header); err != nil {
		return err
	}
	secret := s.Key
	if secret == nil {
		fresh, err := NewKey(random)
		if err != nil {
			return err
		}
		secret = &fresh
		if w.key, err = seal(s.PublicKey, sealedInfo(id, s.Epoch, nonce), fresh[:]); err != nil {
			return err
		}
	}
	key, prefix := secret.recordKey(id, actor, nonce)
	w.aead, w.prefix = gcm(key), prefix
	return nil
}

func sealedInfo(id ID, epoch uint32, nonce Nonce) []byte {
	return append(append([]byte("weft/channel/sealed/1"), epochContext(id, epoch)...), nonce[:]...)
}

// readHeader takes out of an unsigned write what keys are derived from.
func readHeader(header did.Object) (id ID, actor string, nonce Nonce, err error) {
	name, _ := header["channel"].(string)
	if id, err = ParseID(name); err != nil {
		return id, "", nonce, reject("bad_value", "channel: %v", err)
	}
	actor, _ = header["actor"].(string)
	text, _ := header["nonce"].(string)
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) != NonceBytes || actor == "" {
		return id, "", nonce, reject("bad_value", "a header without actor or nonce")
	}
	return id, actor, Nonce(b), nil
}

func (w *sealing) done() bool { return w.left == 0 }

// next makes the next stored chunk.
func (w *sealing) next() ([]byte, error) {
	n := int64(ChunkBytes)
	if w.aead != nil {
		n -= tagBytes
	}
	n = min(n, w.left)
	plain := make([]byte, n, n+tagBytes)
	if _, err := io.ReadFull(w.plain, plain); err != nil {
		return nil, err
	}
	w.left -= n
	if w.aead == nil {
		return plain, nil
	}
	iv := chunkIV(w.prefix, w.chunk, w.done())
	w.chunk++
	return w.aead.Seal(plain[:0], iv, plain, w.aad), nil
}

// chunkIV is prefix, number, and 1 for the last chunk: no chunk can be moved, and none left out at the end.
func chunkIV(prefix []byte, chunk uint32, last bool) []byte {
	iv := binary.BigEndian.AppendUint32(bytes.Clone(prefix), chunk)
	return append(iv, flags(last))
}

func (w *sealing) finish(body did.Object) did.Object {
	if w.key != nil {
		body["key"] = base64.RawURLEncoding.EncodeToString(w.key)
	}
	w.header["body"] = body
	return w.header
}

func contentHash(front []byte) hash.Hash {
	h := sha256.New()
	h.Write([]byte("weft/channel/content/1"))
	h.Write(front)
	return h
}

// ContentHash is the hash that a record shows of its content; meta is canonical.
func ContentHash(salt, meta, payload []byte) tangle.Hash {
	h := contentHash(frame(salt, meta, int64(len(payload))))
	h.Write(payload)
	return tangle.Hash(h.Sum(nil))
}

// Content is a record in clear. Handing over Salt, Meta and Payload opens one record to somebody, without a key.
type Content struct {
	Salt    []byte
	Meta    []byte // canonical JSON
	Payload []byte // of Open
	Size    int64  // of the payload
}

// Open opens a record with an inline body. keys are the epoch's; the codes are bad_wrap and bad_content.
func Open(k Key, op *Operation) (Content, error) {
	var payload bytes.Buffer
	c, err := OpenBlob(k, op, func(int) ([]byte, error) { return op.Record.Body.Ciphertext, nil }, &payload)
	c.Payload = payload.Bytes()
	return c, err
}

// OpenBlob opens a record whose chunks are fetched by number, and writes its payload to w as it goes: what was written
// counts only if the error is nil. A record of a public channel takes no key.
func OpenBlob(k Key, op *Operation, chunk func(n int) ([]byte, error), w io.Writer) (Content, error) {
	if op.Op != Write || op.Record.Body == nil {
		return Content{}, reject("bad_content", "the operation has no body")
	}
	o, err := newOpening(k, op)
	if err != nil {
		return Content{}, err
	}
	blob := op.Record.Body.Blob
	if blob == nil {
		blob = &Blob{Chunks: 1}
	}
	p := parser{out: w, sum: sha256.New()}
	p.sum.Write([]byte("weft/channel/content/1"))
	leaves := make([]tangle.Hash, 0, blob.Chunks)
	for n := range blob.Chunks {
		stored, err := chunk(n)
		if err != nil {
			return Content{}, err
		}
		leaves = append(leaves, LeafHash(stored))
		plain, err := o.open(uint32(n), stored, n == blob.Chunks-1)
		if err != nil {
			return Content{}, err
		}
		if err := p.write(plain); err != nil {
			return Content{}, err
		}
	}
	if op.Record.Body.Blob != nil && BlobRoot(leaves) != blob.Root {
		return Content{}, reject("bad_content", "the chunks are not those of the blob")
	}
	return p.finish(op.Record.ContentHash)
}

// opening decrypts chunks.
type opening struct {
	aead   cipher.AEAD // nil: in clear
	prefix []byte
	aad    []byte
}

func newOpening(k Key, op *Operation) (o opening, err error) {
	r := op.Record
	if r.Epoch == 0 {
		return o, nil
	}
	secret := k
	if r.Body.Key != nil {
		private, err := k.sealing(op.Channel, r.Epoch)
		if err != nil {
			return o, err
		}
		b, err := open(private, sealedInfo(op.Channel, r.Epoch, op.Nonce), r.Body.Key)
		if err != nil || len(b) != KeySize {
			return o, reject("bad_content", "the record's key does not open")
		}
		secret = Key(b)
	}
	header := maps.Clone(op.Envelope.Body)
	delete(header, "body")
	if o.aad, err = did.Canonical(header); err != nil {
		return o, err
	}
	key, prefix := secret.recordKey(op.Channel, op.Actor, op.Nonce)
	o.aead, o.prefix = gcm(key), prefix
	return o, nil
}

func (o opening) open(n uint32, stored []byte, last bool) ([]byte, error) {
	if o.aead == nil {
		return stored, nil
	}
	plain, err := o.aead.Open(nil, chunkIV(o.prefix, n, last), stored, o.aad)
	if err != nil {
		return nil, reject("bad_content", "chunk %d does not open", n)
	}
	return plain, nil
}

// parser takes a plaintext apart as it comes.
type parser struct {
	out   io.Writer
	sum   hash.Hash
	front []byte // until meta and length are whole
	ready bool
	salt  []byte
	meta  []byte
	size  int64
	left  int64 // of the payload
	zeros int64 // seen behind it
}

func (p *parser) write(b []byte) error {
	if !p.ready {
		p.front = append(p.front, b...)
		rest, err := p.readFront()
		if err != nil || !p.ready {
			return err
		}
		b = rest
	}
	n := min(p.left, int64(len(b)))
	p.sum.Write(b[:n])
	if _, err := p.out.Write(b[:n]); err != nil {
		return err
	}
	p.left -= n
	for _, c := range b[n:] {
		if c != 0 {
			return reject("bad_content", "something stands behind the payload")
		}
	}
	p.zeros += int64(len(b)) - n
	return nil
}

// readFront reads salt, meta and length once they are there, and returns what follows.
func (p *parser) readFront() ([]byte, error) {
	b := p.front
	if len(b) < SaltBytes+4 {
		return nil, nil
	}
	n := int64(binary.BigEndian.Uint32(b[SaltBytes:]))
	if n > MaxMeta {
		return nil, reject("bad_content", "meta of %d bytes", n)
	}
	end := framing + n
	if int64(len(b)) < end {
		return nil, nil
	}
	p.salt, p.meta = b[:SaltBytes], b[SaltBytes+4:end-8]
	p.size = int64(binary.BigEndian.Uint64(b[end-8:]))
	p.left, p.ready = p.size, true
	p.sum.Write(b[:end])
	if p.size < 0 || p.size > MaxBlob {
		return nil, reject("bad_content", "a payload of %d bytes", p.size)
	}
	return b[end:], nil
}

func (p *parser) finish(want tangle.Hash) (Content, error) {
	switch {
	case !p.ready || p.left > 0:
		return Content{}, reject("bad_content", "the plaintext is cut short")
	case p.zeros >= padding:
		return Content{}, reject("bad_content", "%d zeros stand behind the payload", p.zeros)
	case tangle.Hash(p.sum.Sum(nil)) != want:
		return Content{}, reject("bad_content", "the content does not hash to contentHash")
	}
	return Content{Salt: p.salt, Meta: p.meta, Size: p.size}, nil
}

// LeafHash is the RFC 6962 hash of a chunk.
func LeafHash(chunk []byte) tangle.Hash {
	h := sha256.New()
	h.Write([]byte{0})
	h.Write(chunk)
	return tangle.Hash(h.Sum(nil))
}

// BlobRoot is the RFC 6962 root over the leaf hashes of the chunks.
func BlobRoot(leaves []tangle.Hash) tangle.Hash {
	switch len(leaves) {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return leaves[0]
	}
	n := split(len(leaves))
	return node(BlobRoot(leaves[:n]), BlobRoot(leaves[n:]))
}

// split is the largest power of two below n.
func split(n int) int {
	k := 1
	for k*2 < n {
		k *= 2
	}
	return k
}

func node(left, right tangle.Hash) tangle.Hash {
	return sha256.Sum256(append(append([]byte{1}, left[:]...), right[:]...))
}

// ChunkPath proves that a chunk belongs to a blob (RFC 6962, section 2.1.1), from the leaf upwards.
func ChunkPath(leaves []tangle.Hash, n int) []tangle.Hash {
	if len(leaves) <= 1 {
		return nil
	}
	k := split(len(leaves))
	if n < k {
		return append(ChunkPath(leaves[:k], n), BlobRoot(leaves[k:]))
	}
	return append(ChunkPath(leaves[k:], n-k), BlobRoot(leaves[:k]))
}

// VerifyChunk says whether a chunk stands at its place in a blob.
func VerifyChunk(b Blob, n int, chunk []byte, path []tangle.Hash) bool {
	if n < 0 || n >= b.Chunks {
		return false
	}
	root, ok := climb(LeafHash(chunk), n, b.Chunks, path)
	return ok && root == b.Root
}

func climb(leaf tangle.Hash, n, size int, path []tangle.Hash) (tangle.Hash, bool) {
	if size == 1 {
		return leaf, len(path) == 0
	}
	if len(path) == 0 {
		return leaf, false
	}
	last, k := path[len(path)-1], split(size)
	if n < k {
		left, ok := climb(leaf, n, k, path[:len(path)-1])
		return node(left, last), ok
	}
	right, ok := climb(leaf, n-k, size-k, path[:len(path)-1])
	return node(last, right), ok
}
