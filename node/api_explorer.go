package node

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"weft/config/genesis"
	"weft/tangle"
)

// overviewView is the state of the network at one glance.
type overviewView struct {
	Network    string          `json:"network"`
	Members    int             `json:"members"`
	Validators int             `json:"validators"`
	QuorumSize int             `json:"quorumSize"`
	Quorum     bool            `json:"quorum"`
	Connected  int             `json:"connected"`
	Epoch      tangle.Epoch    `json:"epoch"`
	Round      tangle.Round    `json:"round"`
	Commit     uint64          `json:"commit"`
	CommitTime *string         `json:"commitTime"`
	Position   tangle.Position `json:"position"`
	Final      tangle.Position `json:"final"`
	FinalTime  *string         `json:"finalTime"`
	Unfinal    uint64          `json:"unfinal"`
	Tips       int             `json:"tips"`
	Parked     int             `json:"parked"`
	Pending    int             `json:"pending"`
	Recent     recentView      `json:"recent"`
	Facts      []factView      `json:"facts"`
}

// recentView are rates over the last commits.
type recentView struct {
	Commits           uint64  `json:"commits"`
	Messages          uint64  `json:"messages"`
	Seconds           float64 `json:"seconds"`
	CommitsPerSecond  float64 `json:"commitsPerSecond"`
	MessagesPerSecond float64 `json:"messagesPerSecond"`
}

// overview is GET /explorer/overview.
func (c *apiCall) overview() error {
	head, vitals := c.Node.Head(), c.Node.Vitals()
	committee := len(c.Genesis.Committee())
	v := overviewView{
		Network: c.Genesis.Network, Members: len(c.Genesis.Members), Validators: committee, QuorumSize: genesis.Quorum(committee),
		Quorum: vitals.Quorum, Epoch: head.Epoch, Round: head.Round, Commit: head.Commit, CommitTime: timeOrNull(head.Time),
		Position: head.Position, Final: head.Final, FinalTime: timeOrNull(head.FinalTime), Unfinal: uint64(head.Position - min(head.Final, head.Position)),
		Tips: vitals.Tips, Parked: vitals.Parked, Pending: vitals.Pending, Facts: viewFacts(vitals.Facts),
	}
	for _, p := range c.Node.Peers() {
		if p.Connected {
			v.Connected++
		}
	}
	var err error
	if v.Recent, err = c.recent(head); err != nil {
		return err
	}
	return c.json(http.StatusOK, v)
}

const recentCommits = 100

// recent compares the newest commit with one some way back.
func (c *apiCall) recent(head Head) (v recentView, err error) {
	if head.Commit < 2 {
		return v, nil
	}
	newest, err := c.Node.Commit(head.Commit)
	if err != nil {
		return v, err
	}
	oldest, err := c.Node.Commit(head.Commit - min(head.Commit-1, recentCommits))
	if err != nil {
		return v, err
	}
	v.Commits = newest.Index - oldest.Index
	v.Messages = uint64(newest.First) + newest.Count - uint64(oldest.First) - oldest.Count
	v.Seconds = newest.Time.Sub(oldest.Time).Seconds()
	if v.Seconds > 0 {
		v.CommitsPerSecond = float64(v.Commits) / v.Seconds
		v.MessagesPerSecond = float64(v.Messages) / v.Seconds
	}
	return v, nil
}

// foundView is one thing that a search has found.
type foundView struct {
	Type  string `json:"type"`
	ID    string `json:"id"`
	Title string `json:"title"`
	Href  string `json:"href"`
}

// MaxQueryBytes bounds a search.
const MaxQueryBytes = 128

// search is GET /explorer/search?q: a message, entry or member by its id, a place by its number, a member by name.
func (c *apiCall) search() error {
	q := strings.TrimSpace(c.query.Get("q"))
	if q == "" || len(q) > MaxQueryBytes {
		return refuse("bad_parameter", "q: want 1 to %d bytes", MaxQueryBytes)
	}
	found := []foundView{}
	var err error
	if hash, parseErr := tangle.ParseHash(strings.ToLower(q)); parseErr == nil {
		found, err = c.searchHash(found, hash)
	} else if n, parseErr := strconv.ParseUint(q, 10, 63); parseErr == nil {
		found, err = c.searchNumber(found, n)
	}
	if err != nil {
		return err
	}
	for _, m := range c.Genesis.Members {
		if strings.Contains(strings.ToLower(m.Name), strings.ToLower(q)) || m.Key.String() == strings.ToLower(q) {
			found = append(found, foundView{"member", m.Key.String(), m.Name, "/api/v1/members/" + m.Key.String()})
		}
	}
	return c.json(http.StatusOK, c.whole(found))
}

func (c *apiCall) searchHash(found []foundView, h tangle.Hash) ([]foundView, error) {
	m, _, err := c.Node.Message(tangle.ID(h))
	if err == nil {
		found = append(found, foundView{"message", m.ID.String(), "message of " + c.nameOf(m.Header.Author), "/api/v1/messages/" + m.ID.String()})
	} else if !errors.Is(err, ErrUnknown) {
		return nil, err
	}
	e, err := c.Node.Entry(h)
	if err == nil {
		found = append(found, foundView{"entry", h.String(), "entry, " + string(e.Settled.Status), "/api/v1/entries/" + h.String()})
	} else if !errors.Is(err, ErrUnknown) {
		return nil, err
	}
	return found, nil
}

func (c *apiCall) searchNumber(found []foundView, n uint64) ([]foundView, error) {
	text := strconv.FormatUint(n, 10)
	if n < uint64(c.Node.Head().Position) {
		id, err := c.Node.AtPosition(tangle.Position(n))
		if err != nil {
			return nil, err
		}
		found = append(found, foundView{"position", id.String(), "message at position " + text, "/api/v1/positions/" + text})
	}
	if n > 0 && n <= c.Node.Head().Commit {
		found = append(found, foundView{"commit", text, "commit " + text, "/api/v1/commits/" + text})
	}
	return found, nil
}

func (c *apiCall) nameOf(key tangle.Member) string {
	if name := c.memberOf(key).Name; name != "" {
		return name
	}
	return key.Short()
}

// The bounds of a piece of the graph.
const (
	defaultDepth = 3
	MaxDepth     = 10
	MaxDAGNodes  = 500
	MaxFanOut    = 64 // children looked at for one message
)

// vertexView is a message as a point of a drawing.
type vertexView struct {
	ID       tangle.ID        `json:"id"`
	Author   tangle.Member    `json:"author"`
	Class    string           `json:"class"`
	Round    tangle.Round     `json:"round,omitempty"`
	Time     string           `json:"time"`
	Status   Status           `json:"status"`
	Position *tangle.Position `json:"position,omitempty"`
	Entries  int              `json:"entries"`
	Parents  []tangle.ID      `json:"parents"`
	Distance int              `json:"distance"`
}

type pieceView struct {
	Around    *tangle.ID   `json:"around"`
	Vertices  []vertexView `json:"vertices"`
	Truncated bool         `json:"truncated"`
	AsOf      asOfView     `json:"asOf"`
}

// dag is GET /explorer/dag?around&depth: the messages near one, by breadth first search both ways.
func (c *apiCall) dag() error {
	depth, err := c.number("depth", defaultDepth)
	if err != nil || depth > MaxDepth {
		return refuse("bad_parameter", "depth: want 0 to %d", MaxDepth)
	}
	piece := pieceView{Vertices: []vertexView{}}
	center, ok, err := c.center()
	if err != nil {
		return err
	}
	if ok {
		piece.Around = &center
		if err := c.explore(&piece, center, int(depth)); err != nil {
			return err
		}
	}
	piece.AsOf = c.asOf()
	return c.json(http.StatusOK, piece)
}

// center is the message asked for, or the newest in the order.
func (c *apiCall) center() (id tangle.ID, ok bool, err error) {
	if text, asked := c.query["around"]; asked {
		id, err = tangle.ParseID(text[0])
		if err != nil {
			return id, false, refuse("bad_parameter", "around: %s", err)
		}
		_, _, err = c.Node.Message(id)
		return id, true, err
	}
	head := c.Node.Head()
	if head.Position == 0 {
		return id, false, nil
	}
	id, err = c.Node.AtPosition(head.Position - 1)
	return id, true, err
}

func (c *apiCall) explore(piece *pieceView, center tangle.ID, depth int) error {
	seen := map[tangle.ID]bool{center: true}
	edge := []tangle.ID{center}
	for distance := 0; distance <= depth && len(edge) > 0; distance++ {
		var next []tangle.ID
		for _, id := range edge {
			m, settled, err := c.Node.Message(id)
			if errors.Is(err, ErrUnknown) {
				continue // round 0, or pruned
			}
			if err != nil {
				return err
			}
			if len(piece.Vertices) == MaxDAGNodes {
				piece.Truncated = true
				return nil
			}
			piece.Vertices = append(piece.Vertices, viewVertex(m, settled, distance))
			children, err := c.Node.Children(id, MaxFanOut)
			if err != nil {
				return err
			}
			for _, near := range slices.Concat(m.Header.Parents, children) {
				if !seen[near] && len(seen) < 4*MaxDAGNodes {
					seen[near] = true
					next = append(next, near)
				}
			}
		}
		edge = next
	}
	return nil
}

func viewVertex(m *tangle.Message, s Settled, distance int) vertexView {
	v := viewMessage(m, s)
	return vertexView{v.ID, v.Author, v.Class, v.Round, v.Time, v.Status, v.Position, len(m.Entries), v.Parents, distance}
}

// eventView is what happened just now.
type eventView struct {
	Message  *vertexView      `json:"message,omitempty"`
	Commit   uint64           `json:"commit,omitempty"`
	Position *tangle.Position `json:"position,omitempty"`
	Time     string           `json:"time,omitempty"`
}

// explorerBuffer is how many events a viewer may lag behind before it misses some.
const explorerBuffer = 256

// explorerLive is GET /explorer/live: events as they happen. A viewer who is too slow misses some; nothing waits for it.
func (c *apiCall) explorerLive() error {
	stream, err := c.openStream()
	if err != nil {
		return err
	}
	defer stream.close()
	events, stop := c.Node.Watch(explorerBuffer)
	defer stop()
	for {
		select {
		case e, open := <-events:
			if !open {
				return stream.end("shutdown")
			}
			name, view := viewEvent(e)
			if name == "" {
				continue
			}
			if err := stream.send("", name, view); err != nil {
				return err
			}
			if len(events) == 0 {
				if err := stream.flush(); err != nil {
					return err
				}
			}
		case <-stream.tick.C:
			if err := stream.beat(); err != nil {
				return err
			}
		case <-stream.done():
			return stream.end("shutdown")
		}
	}
}

func viewEvent(e Event) (name string, v eventView) {
	v.Commit = e.Commit
	if e.Time > 0 {
		v.Time = e.Time.String()
	}
	if e.Message != nil {
		vertex := viewVertex(e.Message, Settled{Status: StatusPending}, 0)
		v.Message = &vertex
	}
	position := e.Position
	switch e.Kind {
	case EventAttached:
		return "attached", v
	case EventOrdered:
		v.Position = &position
		v.Message.Status = StatusOrdered
		return "ordered", v
	case EventCommitted:
		v.Position = &position
		return "committed", v
	case EventFinal:
		v.Position = &position
		return "final", v
	case EventEquivocate:
		return "equivocation", v
	case EventExpired:
		return "expired", v
	case EventQuorum:
		return "quorum", v
	}
	return "", v
}
