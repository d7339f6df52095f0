package node

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"slices"
	"strconv"

	"weft/internal/store"
	"weft/tangle"
)

// The bounds of a page.
const (
	defaultPage = 50
	MaxPage     = 200
)

// apiPage is what a caller asks of a list.
type apiPage struct {
	limit int
	down  bool    // newest first
	at    *uint64 // where the cursor stands; nil at the beginning
}

// pageQuery are the parameters every list knows; orderQuery those of lists that go both ways.
func pageQuery(more ...string) []string  { return append([]string{"limit", "cursor"}, more...) }
func orderQuery(more ...string) []string { return pageQuery(append(more, "order")...) }

func (c *apiCall) page() (p apiPage, err error) {
	p.limit = defaultPage
	if text := c.query.Get("limit"); text != "" {
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil || n < 1 || n > MaxPage {
			return p, refuse("bad_parameter", "limit: want 1 to %d", MaxPage)
		}
		p.limit = int(n)
	}
	switch c.query.Get("order") {
	case "", "asc":
	case "desc":
		p.down = true
	default:
		return p, refuse("bad_parameter", "order: want asc or desc")
	}
	if text, ok := c.query["cursor"]; ok {
		at, err := c.openCursor(text[0])
		p.at = &at
		return p, err
	}
	return p, nil
}

// number reads a parameter that is a whole number below 2^53; without one it is fallback.
func (c *apiCall) number(name string, fallback uint64) (uint64, error) {
	text, ok := c.query[name]
	if !ok {
		return fallback, nil
	}
	return parseNumber(name, text[0])
}

// maxInteger is the largest whole number that JSON readers everywhere hold exactly, and one.
const maxInteger = 1 << 53

func parseNumber(name, text string) (uint64, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n >= maxInteger || (len(text) > 1 && text[0] == '0') {
		return 0, refuse("bad_parameter", "%s: want a whole number below 2^53", name)
	}
	return n, nil
}

// listOf is a page of a list; next is where the following one begins, nil at the end.
func listOf[T any](c *apiCall, items []T, next *uint64) listView[T] {
	v := listView[T]{Items: items, AsOf: c.asOf()}
	if v.Items == nil {
		v.Items = []T{}
	}
	if next != nil {
		text := c.sealCursor(*next)
		v.Next = &text
	}
	return v
}

// whole is a list that needs no pages.
func (c *apiCall) whole(items any) any {
	return struct {
		Items any      `json:"items"`
		Next  *string  `json:"next"`
		AsOf  asOfView `json:"asOf"`
	}{items, nil, c.asOf()}
}

// apiSecret is a key that only this node knows: one authenticates cursors, so that none can be made up.
type apiSecret [32]byte

// openSecret reads a secret, or makes it at the first start.
func openSecret(s store.Store, name string) (secret apiSecret, err error) {
	at := store.Key(store.PrefixOperator, []byte(name))
	b, err := s.Get(at)
	if err == nil && len(b) == len(secret) {
		return apiSecret(b), nil
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return secret, err
	}
	rand.Read(secret[:])
	var batch store.Batch
	batch.Set(at, slices.Clone(secret[:]))
	return secret, s.Apply(&batch, true)
}

const cursorMAC = 16

// sealCursor makes a cursor that only this caller can use, on this path with these filters.
func (c *apiCall) sealCursor(at uint64) string {
	b := binary.BigEndian.AppendUint64(nil, at)
	return encodeBase64(append(b, c.cursorMAC(b)...))
}

func (c *apiCall) openCursor(text string) (uint64, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != 8+cursorMAC || !hmac.Equal(b[8:], c.cursorMAC(b[:8])) {
		return 0, refuse("bad_cursor", "the cursor is not of this list, these filters and this caller")
	}
	return binary.BigEndian.Uint64(b), nil
}

func (c *apiCall) cursorMAC(at []byte) []byte {
	h := hmac.New(sha256.New, c.cursors[:])
	part := func(s string) {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(s))))
		h.Write([]byte(s))
	}
	h.Write(at)
	part(c.Request().URL.Path)
	part(c.caller.id)
	for _, name := range c.route.query {
		if name != "cursor" && name != "limit" {
			part(c.query.Get(name))
		}
	}
	return h.Sum(nil)[:cursorMAC]
}

// The parameters of paths.

func (c *apiCall) idParam() (tangle.ID, error) {
	id, err := tangle.ParseID(c.Param("id"))
	if err != nil {
		return id, refuse("bad_parameter", "message id: %s", err)
	}
	return id, nil
}

func (c *apiCall) hashParam() (tangle.Hash, error) {
	h, err := tangle.ParseHash(c.Param("hash"))
	if err != nil {
		return h, refuse("bad_parameter", "entry hash: %s", err)
	}
	return h, nil
}

func (c *apiCall) numberParam() (uint64, error) { return parseNumber("number", c.Param("n")) }
