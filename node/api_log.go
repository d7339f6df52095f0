package node

import (
	"net/http"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"weft/receipt"
	"weft/tangle"
)

// MaxReceiptBytes bounds a receipt given to POST /receipts/verify.
const MaxReceiptBytes = 1 << 20

// receipt is GET /entries/{hash}/receipt: the file.
func (c *apiCall) receipt() error {
	h, err := c.hashParam()
	if err != nil {
		return err
	}
	file, err := c.Node.Receipt(h)
	if err != nil {
		return err
	}
	c.Response().Header().Set("Content-Disposition", `attachment; filename="`+h.String()[:16]+`.receipt"`)
	return c.bytes(http.StatusOK, bytesType, file)
}

// verifyReceipt is POST /receipts/verify: the bytes, or {"receipt": base64url}. Nobody needs to believe the answer:
// the same check runs offline.
func (c *apiCall) verifyReceipt() error {
	file := c.body
	if strings.HasPrefix(c.Request().Header.Get("Content-Type"), jsonType) {
		var p *problem
		if file, p = readReceipt(c.body); p != nil {
			return p
		}
	}
	report, err := receipt.Verify(c.Genesis, file)
	if err != nil || !report.Verified {
		p := refuse("bad_receipt", "the receipt does not prove what it says")
		if err != nil {
			p.Detail = err.Error()
		}
		p.Checks = report.Checks
		return p
	}
	if report.Facts != nil {
		report.Facts.Data = nil // the caller has it
	}
	return c.json(http.StatusOK, report)
}

func readReceipt(body []byte) (file []byte, err *problem) {
	s := jsonScanner{text: body}
	seen, err := s.object([]string{"receipt"}, func(int) (err *problem) {
		file, err = s.base64(nil)
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case seen == 0:
		return nil, refuse("bad_value", "want an object with receipt")
	}
	return file, s.end()
}

// logCheckpoint is GET /log/checkpoint: the newest certified checkpoint as a signed note.
func (c *apiCall) logCheckpoint() error {
	k, err := c.Node.LatestCheckpoint()
	if err != nil {
		return err
	}
	c.Response().Header().Set("Cache-Control", "no-cache")
	return c.bytes(http.StatusOK, "text/plain; charset=utf-8", k.Note)
}

// logTile is GET /log/tile/…: a hash tile or a bundle of leaves, by the paths of C2SP tlog-tiles. Once there, the bytes
// under a path never change.
func (c *apiCall) logTile() error {
	tile, ok := parseTile(c.Param("*"))
	if !ok {
		return refuse("not_found", "no path of a tile: want <level>/<n> or entries/<n>, with .p/<width> if it is partial")
	}
	var body []byte
	var err error
	if tile.L < 0 {
		body, err = c.Node.EntryBundle(tile.N, tile.W)
	} else {
		body, err = c.Node.Tile(tile.L, tile.N, tile.W)
	}
	if err != nil {
		return err
	}
	c.immutable()
	return c.bytes(http.StatusOK, bytesType, body)
}

// parseTile reads the part of a path after tile/. The checksum database's own paths differ in two words only.
func parseTile(path string) (tlog.Tile, bool) {
	level, rest, found := strings.Cut(path, "/")
	switch level {
	case "entries":
		level = "data"
	case "data":
		return tlog.Tile{}, false
	}
	tile, err := tlog.ParseTilePath("tile/8/" + level + "/" + rest)
	return tile, found && err == nil
}

// checkpointView is a certified checkpoint in JSON.
type checkpointView struct {
	Size      uint64          `json:"size"`
	Root      tangle.Hash     `json:"root"`
	Epoch     tangle.Epoch    `json:"epoch"`
	Commit    uint64          `json:"commit"`
	Time      string          `json:"time"`
	States    []stateView     `json:"states"`
	Members   tangle.Hash     `json:"members"`
	Signers   []tangle.Member `json:"signers"`
	Certified bool            `json:"certified"`
	Note      string          `json:"note"`
}

type stateView struct {
	Plugin string      `json:"plugin"`
	Digest tangle.Hash `json:"digest"`
	Map    tangle.Hash `json:"map"`
}

func viewCheckpoint(k CheckpointRecord) checkpointView {
	v := checkpointView{
		Size: k.Size, Root: k.Root, Epoch: k.Epoch, Commit: k.Commit, Time: k.Time.String(), States: []stateView{},
		Members: k.Members, Signers: slices.Clone(k.Signers), Certified: true, Note: string(k.Note),
	}
	for _, s := range k.States {
		v.States = append(v.States, stateView{s.Plugin, s.Digest, s.Map})
	}
	return v
}

// checkpointList is GET /checkpoints: the newest first, and of several of one size, as an idle network makes them, the
// newest only.
func (c *apiCall) checkpointList() error {
	p, err := c.page()
	if err != nil {
		return err
	}
	before := uint64(c.Node.Head().Final) + 1
	if p.at != nil {
		before = *p.at
	}
	records, err := c.Node.Checkpoints(before, p.limit)
	if err != nil {
		return err
	}
	var views []checkpointView
	for i, k := range records {
		if i == 0 || k.Size != records[i-1].Size {
			views = append(views, viewCheckpoint(k))
		}
	}
	var next *uint64
	if len(records) == p.limit {
		next = &records[len(records)-1].Size
	}
	return c.json(http.StatusOK, listOf(c, views, next))
}

// checkpointOf is GET /checkpoints/{size}.
func (c *apiCall) checkpointOf() error {
	n, err := c.numberParam()
	if err != nil {
		return err
	}
	k, err := c.Node.Checkpoint(n)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, viewCheckpoint(k))
}

// commitView is a commit in JSON.
type commitView struct {
	Index    uint64          `json:"index"`
	Leader   tangle.ID       `json:"leader"`
	Round    tangle.Round    `json:"round"`
	Time     string          `json:"time"`
	First    tangle.Position `json:"first"`
	Count    uint64          `json:"count"`
	Messages []tangle.ID     `json:"messages"`
	Digest   tangle.Hash     `json:"digest"`
}

func viewCommit(k CommitRecord) commitView {
	return commitView{k.Index, k.Leader, k.Round, k.Time.String(), k.First, k.Count, append([]tangle.ID{}, k.Messages...), k.Digest}
}

// commits is GET /commits: from an index on, which is 1 at first.
func (c *apiCall) commits() error {
	p, err := c.page()
	if err != nil {
		return err
	}
	at, err := c.number("from", 1)
	if err != nil {
		return err
	}
	if p.at != nil {
		at = *p.at
	}
	at = max(at, 1)
	last := c.Node.Head().Commit
	var views []commitView
	for ; at <= last && len(views) < p.limit; at++ {
		k, err := c.Node.Commit(at)
		if err != nil {
			return err
		}
		views = append(views, viewCommit(k))
	}
	var next *uint64
	if at <= last {
		next = &at
	}
	return c.json(http.StatusOK, listOf(c, views, next))
}

// commit is GET /commits/{n}.
func (c *apiCall) commit() error {
	n, err := c.numberParam()
	if err != nil {
		return err
	}
	k, err := c.Node.Commit(n)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, viewCommit(k))
}
