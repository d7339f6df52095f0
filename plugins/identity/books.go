package identity

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"time"

	"weft/plugins"
)

// books remember which indexes of status lists are used. They are kept off the ledger, for a public allotment would show the
// order of issuance; and only here, so that no two nodes give the same index away. It is safe for concurrent use.
//
//	h issuer 0 purpose 0 list -> bookHead
//	c list 0 number(4 hex)    -> bits of one chunk, set: used
type books struct {
	records *records
	making  chan struct{} // holds one token while a list is being made

	mu sync.Mutex // guards the records of this sort
}

// bookHead is one book.
type bookHead struct {
	Size int `json:"size"`
	Used int `json:"used"`
}

const bookChunk = 1024 // bytes

func newBooks(r *records) *books { return &books{records: r, making: make(chan struct{}, 1)} }

// begin waits until nobody else makes a list.
func (b *books) begin(ctx context.Context) error {
	select {
	case b.making <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (b *books) end() { <-b.making }

func headID(issuer, purpose, list string) string {
	return "h" + issuer + "\x00" + purpose + "\x00" + list
}

// open begins the book of a list. A book that is there stays as it is.
func (b *books) open(issuer, purpose, list string, size int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	id := headID(issuer, purpose, list)
	if _, found, err := b.records.read(sortBook, id); found || err != nil {
		return err
	}
	return b.records.put(sortBook, id, issuer, time.Time{}, bookHead{Size: size})
}

// full says when a list is left alone: looking for a free index must stay short, and holders hide among the unused ones.
func (h bookHead) full() bool { return h.Used >= h.Size/4*3 }

// of lists the lists of an issuer whose books are here and not full.
func (b *books) of(issuer, purpose string) (lists []string) {
	prefix := headID(issuer, purpose, "")
	var ids []string
	b.records.each(sortBook, prefix, "", func(id string, _ record) bool {
		ids = append(ids, id)
		return true
	})
	for _, id := range ids {
		var h bookHead
		if _, found, err := b.records.get(sortBook, id, &h); found && err == nil && !h.full() {
			lists = append(lists, strings.TrimPrefix(id, prefix))
		}
	}
	return lists
}

// maxTries bounds the search for a free index: with a quarter free it fails once in 10^31 books.
const maxTries = 256

// allot uses up a random index of a list. It is durable when it returns.
func (b *books) allot(issuer, purpose, list string) (uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var h bookHead
	head := headID(issuer, purpose, list)
	if _, found, err := b.records.get(sortBook, head, &h); err != nil {
		return 0, err
	} else if !found {
		return 0, plugins.Reject("not_list_home", "this node does not keep the book of %.60s", list)
	}
	if h.full() {
		return 0, plugins.Reject("limit_reached", "the list %s is full: make a new one", list)
	}
	for range maxTries {
		index := randomIndex(h.Size)
		used, chunk, err := b.chunk(list, index)
		if err != nil {
			return 0, err
		}
		if bit := byte(0x80 >> (index % 8)); used[index/8%bookChunk]&bit == 0 {
			used[index/8%bookChunk] |= bit
			h.Used++
			return uint64(index), b.write(issuer, head, h, chunk, used)
		}
	}
	return 0, plugins.Reject("limit_reached", "the list %s is full: make a new one", list)
}

// randomIndex is uniform: sizes are powers of two.
func randomIndex(size int) int {
	var b [4]byte
	rand.Read(b[:]) // never fails
	return int(binary.BigEndian.Uint32(b[:])) & (size - 1)
}

func (b *books) chunk(list string, index int) (used []byte, id string, err error) {
	id = fmt.Sprintf("c%s\x00%04x", list, index/8/bookChunk)
	if _, found, err := b.records.get(sortBook, id, &used); err != nil || found {
		return used, id, err
	}
	return make([]byte, bookChunk), id, nil
}

func (b *books) write(issuer, head string, h bookHead, chunk string, used []byte) error {
	writes, err := b.records.writes(sortBook, head, issuer, time.Time{}, h)
	if err != nil {
		return err
	}
	more, err := b.records.writes(sortBook, chunk, issuer, time.Time{}, used)
	if err != nil {
		return err
	}
	return b.records.local.Write(append(writes, more...)...)
}
