package client

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"weft/tangle"
)

// Node is what a node says of itself.
type Node struct {
	Version   string          `json:"version"`
	Network   string          `json:"network"`   // name
	NetworkID tangle.ID       `json:"networkId"` // SHA-256 of genesis.json
	Member    tangle.Member   `json:"member"`
	Name      string          `json:"name"`
	Roles     []string        `json:"roles"`
	Plugins   []string        `json:"plugins"`
	Managed   bool            `json:"managed"`
	Epoch     tangle.Epoch    `json:"epoch"`
	Round     tangle.Round    `json:"round"`
	Commit    uint64          `json:"commit"`
	Position  tangle.Position `json:"position"`
	Final     tangle.Position `json:"final"`     // size of the newest certified checkpoint
	FinalTime *time.Time      `json:"finalTime"` // its commit time; nil before anything is final
	FinalAge  *float64        `json:"finalAgeSeconds"`
	Peers     int             `json:"peers"`
	Pending   int             `json:"pending"`
	Quorum    bool            `json:"quorum"`
}

// Peer is another member's node as this one sees it.
type Peer struct {
	Member       tangle.Member `json:"member"`
	Name         string        `json:"name"`
	Roles        []string      `json:"roles"`
	Connected    bool          `json:"connected"`
	Since        *time.Time    `json:"since,omitempty"` // connected
	Address      string        `json:"address,omitempty"`
	Transport    string        `json:"transport,omitempty"`
	Direction    string        `json:"direction,omitempty"`
	RoundTrip    float64       `json:"roundTripMillis"`
	Sent         uint64        `json:"sentBytes"`
	Received     uint64        `json:"receivedBytes"`
	Dropped      uint64        `json:"droppedFrames"`
	Queued       int           `json:"queuedFrames"`
	DialFailures uint64        `json:"dialFailures"`
	LastError    string        `json:"lastError,omitempty"`
	RefusedUntil *time.Time    `json:"refusedUntil,omitempty"`
}

// Member is a member of the network.
type Member struct {
	ID    tangle.Member `json:"id"`
	Name  string        `json:"name"`
	Roles []string      `json:"roles"`
	Self  bool          `json:"self"` // the member whose node answers
}

// Health is a node's report on itself: of being alive, or of being ready to serve.
type Health struct {
	Status string  `json:"status"`
	Checks []Check `json:"checks"`
	OK     bool    `json:"-"` // from the HTTP status
}

// Checkpoint is a state of the log that the committee signed.
type Checkpoint struct {
	Size      tangle.Position `json:"size"`
	Root      tangle.Hash     `json:"root"`
	Epoch     tangle.Epoch    `json:"epoch"`
	Commit    uint64          `json:"commit"`
	Time      time.Time       `json:"time"`
	States    []StateDigest   `json:"states"`
	Members   tangle.Hash     `json:"members"` // digest of the member set
	Signers   []tangle.Member `json:"signers"`
	Certified bool            `json:"certified"`
	Note      string          `json:"note"`
}

// StateDigest is a ledger plugin's state at a checkpoint.
type StateDigest struct {
	Plugin string      `json:"plugin"`
	Digest tangle.Hash `json:"digest"`
	Map    tangle.Hash `json:"map"`
}

// Commit is one decision of the committee.
type Commit struct {
	Index    uint64          `json:"index"`
	Leader   tangle.ID       `json:"leader"`
	Round    tangle.Round    `json:"round"`
	Time     time.Time       `json:"time"`
	First    tangle.Position `json:"first"`
	Count    uint64          `json:"count"`
	Messages []tangle.ID     `json:"messages"`
	Digest   tangle.Hash     `json:"digest"`
}

// Node asks the node about itself.
func (c *Client) Node(ctx context.Context) (n Node, err error) {
	err = c.get(ctx, "/api/v1/node", &n)
	return n, err
}

// Genesis fetches the network's genesis file as it is. Whoever checks proofs with it must have it from elsewhere, or
// compare its hash: the node under test is no witness for itself.
func (c *Client) Genesis(ctx context.Context) ([]byte, error) {
	return c.raw(ctx, "/api/v1/genesis", "application/json")
}

// Peers lists the other members' nodes.
func (c *Client) Peers(ctx context.Context) (l List[Peer], err error) {
	err = c.get(ctx, "/api/v1/peers", &l)
	return l, err
}

// Members lists the members of the network.
func (c *Client) Members(ctx context.Context) (l List[Member], err error) {
	err = c.get(ctx, "/api/v1/members", &l)
	return l, err
}

// Member reads one member.
func (c *Client) Member(ctx context.Context, id tangle.Member) (m Member, err error) {
	err = c.get(ctx, "/api/v1/members/"+id.String(), &m)
	return m, err
}

// Parameters reads the values in force, as JSON.
func (c *Client) Parameters(ctx context.Context) (v json.RawMessage, err error) {
	err = c.get(ctx, "/api/v1/governance/parameters", &v)
	return v, err
}

// Health asks whether the node is alive.
func (c *Client) Health(ctx context.Context) (Health, error) { return c.report(ctx, "/health") }

// Ready asks whether the node can serve; an answer that says no is not an error.
func (c *Client) Ready(ctx context.Context) (Health, error) { return c.report(ctx, "/ready") }

// report asks once: an operator wants to know how it is now.
func (c *Client) report(ctx context.Context, path string) (Health, error) {
	a, err := c.try(ctx, call{method: http.MethodGet, path: path, stale: true})
	h := Health{OK: err == nil}
	var p *Problem
	switch {
	case errors.As(err, &p) && p.Status == http.StatusServiceUnavailable:
		h.Status, h.Checks = p.Code, p.Checks
		if len(p.Checks) == 0 {
			_ = json.Unmarshal(a.body, &h) // not every node says why
		}
		return h, nil
	case err != nil:
		return h, err
	}
	err = decode(path, a.body, &h)
	return h, err
}

// Metrics fetches the node's figures in the text form of Prometheus; an operator's route.
func (c *Client) Metrics(ctx context.Context) ([]byte, error) {
	return c.raw(ctx, "/metrics", "text/plain")
}

// Checkpoints lists certified checkpoints, the newest first.
func (c *Client) Checkpoints(ctx context.Context, p Page) (l List[Checkpoint], err error) {
	err = c.get(ctx, query("/api/v1/checkpoints", p.values()), &l)
	return l, err
}

// Checkpoint reads the newest certified checkpoint of one size.
func (c *Client) Checkpoint(ctx context.Context, size tangle.Position) (k Checkpoint, err error) {
	err = c.get(ctx, "/api/v1/checkpoints/"+strconv.FormatUint(uint64(size), 10), &k)
	return k, err
}

// Commits lists commits from an index on.
func (c *Client) Commits(ctx context.Context, from uint64, p Page) (l List[Commit], err error) {
	v := p.values()
	v.Set("from", strconv.FormatUint(from, 10))
	err = c.get(ctx, query("/api/v1/commits", v), &l)
	return l, err
}

// Commit reads one commit.
func (c *Client) Commit(ctx context.Context, index uint64) (k Commit, err error) {
	err = c.get(ctx, "/api/v1/commits/"+strconv.FormatUint(index, 10), &k)
	return k, err
}

// Report is a node's opinion of a receipt.
type Report struct {
	Verified bool    `json:"verified"`
	Checks   []Check `json:"checks"`
}

// VerifyReceipt asks the node to check a receipt, for callers that cannot do it themselves (see package receipt).
func (c *Client) VerifyReceipt(ctx context.Context, file []byte) (r Report, err error) {
	a, err := c.do(ctx, call{method: http.MethodPost, path: "/api/v1/receipts/verify", body: file, mime: "application/octet-stream"})
	var p *Problem
	if errors.As(err, &p) && p.Status == http.StatusBadRequest && len(p.Checks) > 0 {
		return Report{Checks: p.Checks}, nil
	}
	if err != nil {
		return r, err
	}
	err = decode("/api/v1/receipts/verify", a.body, &r)
	return r, err
}
