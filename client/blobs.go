package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"weft/plugins/streams/channel"
	"weft/tangle"
)

// BlobState is what a node has of a blob.
type BlobState struct {
	Root     tangle.Hash `json:"root"`
	Size     int64       `json:"size"`
	Chunks   int         `json:"chunks"`
	Missing  []int       `json:"missing"` // chunks
	Complete bool        `json:"complete"`
}

// DeclareBlob tells the node which chunks will come. The same declaration again says which are missing still: that is how an
// upload goes on.
func (c *Client) DeclareBlob(ctx context.Context, id channel.ID, b channel.Blob, leaves []tangle.Hash) (s BlobState, err error) {
	body := struct {
		Root   tangle.Hash   `json:"root"`
		Size   int64         `json:"size"`
		Leaves []tangle.Hash `json:"leaves"`
	}{b.Root, b.Size, leaves}
	err = c.post(ctx, channelRoute(id, "blobs"), body, &s)
	return s, err
}

// PutChunk uploads one chunk. Chunks may come in any order, and more than once.
func (c *Client) PutChunk(ctx context.Context, id channel.ID, root tangle.Hash, n int, chunk []byte) error {
	_, err := c.do(ctx, call{method: http.MethodPut, path: chunkRoute(id, root, n), body: chunk, mime: "application/octet-stream"})
	return err
}

func chunkRoute(id channel.ID, root tangle.Hash, n int) string {
	return channelRoute(id, "blobs", root.String(), "chunks", strconv.Itoa(n))
}

// Chunk reads one stored chunk, which the node fetches from a peer if it has to. That it is the right one is for the caller
// to check: it has the root.
func (c *Client) Chunk(ctx context.Context, id channel.ID, root tangle.Hash, n int) ([]byte, error) {
	b, err := c.raw(ctx, chunkRoute(id, root, n), "application/octet-stream")
	if err == nil && len(b) > channel.ChunkBytes {
		err = fmt.Errorf("chunk %d of blob %s has %d bytes", n, root, len(b))
	}
	return b, err
}

// BlobSize asks whether the node has, or can get, a blob: its stored size.
func (c *Client) BlobSize(ctx context.Context, id channel.ID, root tangle.Hash) (int64, error) {
	a, err := c.do(ctx, call{method: http.MethodHead, path: channelRoute(id, "blobs", root.String()), accept: "application/octet-stream"})
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(a.header.Get("Content-Length"), 10, 64)
}

// Blob writes the stored bytes of a blob from an offset on, as they come: whoever was cut off asks for the rest. length 0 is
// all that follows. They are ciphertext, or the payload's own frame in a public channel.
func (c *Client) Blob(ctx context.Context, id channel.ID, root tangle.Hash, offset, length int64, w io.Writer) (int64, error) {
	span := ""
	if offset > 0 || length > 0 {
		span = "bytes=" + strconv.FormatInt(offset, 10) + "-"
	}
	if length > 0 {
		span += strconv.FormatInt(offset+length-1, 10)
	}
	return c.download(ctx, channelRoute(id, "blobs", root.String()), "application/octet-stream", span, w)
}
