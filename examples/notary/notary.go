package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"unicode/utf8"

	"weft/plugins"
	"weft/tangle"
)

// Kind is the entry kind of this plugin: members' own begin at 1024.
const Kind tangle.Kind = 1024

// MaxNoteBytes bounds the note beside a hash.
const MaxNoteBytes = 200

// Deed is an entry: the SHA-256 of a file, and a few words about it.
type Deed struct {
	File tangle.Hash
	Note string
}

// Encode is the entry's data: the hash [32], then the note to the end.
func (d Deed) Encode() []byte { return append(d.File[:len(d.File):len(d.File)], d.Note...) }

// Maker names the plugin and opens it. Genesis must name it too: its state is part of what the committee signs.
func Maker() plugins.Maker { return plugins.Maker{Name: "notary", Open: open} }

func open(h plugins.Host) (plugins.Plugin, error) {
	return plugins.Plugin{
		Kinds: []tangle.Kind{Kind},
		Check: check,
		Admit: func(state plugins.Reader, op plugins.Op) error { return refuse(state, op.(Deed)) },
		Apply: apply,
		HTTP:  plugins.Routes{List: routes(h), OpenAPI: [][]byte{[]byte(openAPI)}},
	}, nil
}

// check decodes an entry. It looks at the bytes and nothing else, so every node says the same of them at any time.
func check(_ tangle.Kind, data []byte) (plugins.Op, error) {
	var d Deed
	switch {
	case len(data) < len(d.File):
		return nil, plugins.Reject("bad_value", "%d bytes, want a hash of %d and a note", len(data), len(d.File))
	case len(data) > len(d.File)+MaxNoteBytes:
		return nil, plugins.Reject("too_large", "the note may have %d bytes", MaxNoteBytes)
	case !utf8.Valid(data[len(d.File):]):
		return nil, plugins.Reject("bad_value", "the note is not UTF-8")
	}
	d.Note = string(data[copy(d.File[:], data):])
	return d, nil
}

// refuse is the one rule: the first deed of a file is the only one. It serves Admit, which answers a client early, and
// Apply, which decides.
func refuse(view plugins.View, d Deed) error {
	b := view.Get(d.File[:])
	if b == nil {
		return nil
	}
	first, err := parseRecord(b)
	if err != nil {
		return err
	}
	return plugins.Reject("already_notarised", "by %s at position %d", first.Author.Short(), first.Position)
}

// apply executes an entry at its place in the order. Nothing but state and entry may matter here.
func apply(state plugins.State, e plugins.Ordered) error {
	d := e.Op.(Deed)
	if err := refuse(state, d); err != nil {
		return err
	}
	r := record{Entry: e.Hash, Author: e.Author, Position: e.Position, Time: e.Time, Note: d.Note}
	state.Set(d.File[:], r.bytes())
	return nil
}

// record is what the ledger's state says of a notarised file; its key is the file's hash.
type record struct {
	Entry    tangle.Hash
	Author   tangle.Member
	Position tangle.Position
	Time     tangle.Time
	Note     string
}

const recordFixed = 32 + 32 + 8 + 8

func (r record) bytes() []byte {
	b := append(r.Entry[:len(r.Entry):len(r.Entry)], r.Author[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(r.Position))
	b = binary.BigEndian.AppendUint64(b, uint64(r.Time))
	return append(b, r.Note...)
}

func parseRecord(b []byte) (r record, err error) {
	if len(b) < recordFixed {
		return r, fmt.Errorf("notary: record of %d bytes", len(b)) // no rejection: the node's state is damaged, it must stop
	}
	copy(r.Entry[:], b)
	copy(r.Author[:], b[32:])
	r.Position = tangle.Position(binary.BigEndian.Uint64(b[64:]))
	r.Time = tangle.Time(binary.BigEndian.Uint64(b[72:]))
	r.Note = string(b[recordFixed:])
	return r, nil
}

// routes answers who notarised a file. Deeds are published as any entry is: POST /api/v1/messages with kind 1024.
func routes(h plugins.Host) []plugins.Route {
	return []plugins.Route{{
		Method: http.MethodGet, Path: "/api/v1/notary/{file}", Auth: plugins.AuthRead, Scope: plugins.ScopeLedgerRead,
		Gives: []string{"application/json"},
		Serve: func(w http.ResponseWriter, r *http.Request) error { return lookUp(h.View(), w, r) },
	}}
}

// lookUp answers one request. What plugins.Reject makes becomes a problem document with this code; any other error is
// this node's own fault, which its log tells.
func lookUp(view plugins.View, w http.ResponseWriter, r *http.Request) error {
	file, err := tangle.ParseHash(r.PathValue("file"))
	if err != nil {
		return plugins.Reject("bad_parameter", "%s", err)
	}
	b := view.Get(file[:])
	if b == nil {
		return plugins.Reject("not_found", "no member has notarised this file")
	}
	found, err := parseRecord(b)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(deedView{file, found.Note, found.Author, found.Entry, found.Position, found.Time.String()})
}

// deedView is the answer of the route. The receipt of the entry proves it offline.
type deedView struct {
	File     tangle.Hash     `json:"file"`
	Note     string          `json:"note"`
	Member   tangle.Member   `json:"member"`
	Entry    tangle.Hash     `json:"entryHash"`
	Position tangle.Position `json:"position"`
	Time     string          `json:"time"`
}

const openAPI = `
openapi: 3.1.0
tags: [{name: notary, description: Files that a member was first to notarise}]
paths:
  /api/v1/notary/{file}:
    get:
      operationId: getDeed
      summary: Who notarised a file
      tags: [notary]
      x-weft-auth: R
      x-weft-scope: ledger:read
      parameters:
        - {name: file, in: path, required: true, description: SHA-256 of the file, schema: {type: string, pattern: '^[0-9a-f]{64}$'}}
      responses:
        '200':
          description: The first deed of this file
          content:
            application/json:
              schema: {$ref: '#/components/schemas/Deed'}
        '404':
          description: No member has notarised it
components:
  schemas:
    Deed:
      type: object
      additionalProperties: false
      required: [file, note, member, entryHash, position, time]
      properties:
        file: {type: string}
        note: {type: string}
        member: {type: string}
        entryHash: {type: string}
        position: {type: integer}
        time: {type: string, format: date-time}
`
