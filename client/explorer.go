package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"weft/tangle"
)

// Overview is the state of the network at one glance.
type Overview struct {
	Network    string          `json:"network"`
	Members    int             `json:"members"`
	Validators int             `json:"validators"`
	QuorumSize int             `json:"quorumSize"`
	Quorum     bool            `json:"quorum"`
	Connected  int             `json:"connected"`
	Epoch      tangle.Epoch    `json:"epoch"`
	Round      tangle.Round    `json:"round"`
	Commit     uint64          `json:"commit"`
	CommitTime *time.Time      `json:"commitTime"` // nil before the first commit
	Position   tangle.Position `json:"position"`
	Final      tangle.Position `json:"final"`
	FinalTime  *time.Time      `json:"finalTime"` // nil before anything is final
	Unfinal    uint64          `json:"unfinal"`
	Tips       int             `json:"tips"`
	Parked     int             `json:"parked"`
	Pending    int             `json:"pending"`
	Recent     struct {
		Commits           uint64  `json:"commits"`
		Messages          uint64  `json:"messages"`
		Seconds           float64 `json:"seconds"`
		CommitsPerSecond  float64 `json:"commitsPerSecond"`
		MessagesPerSecond float64 `json:"messagesPerSecond"`
	} `json:"recent"`
	Facts []Fact `json:"facts"`
}

// Fact is a figure about the node.
type Fact struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Label string  `json:"label,omitempty"`
}

// Overview reads the state of the network at one glance.
func (c *Client) Overview(ctx context.Context) (o Overview, err error) {
	err = c.get(ctx, "/api/v1/explorer/overview", &o)
	return o, err
}

// Found is one thing that a search has found.
type Found struct {
	Type  string `json:"type"`
	ID    string `json:"id"`
	Title string `json:"title"`
	Href  string `json:"href"`
}

// Search finds messages, entries and members by id, places by number, members by name.
func (c *Client) Search(ctx context.Context, text string) (l List[Found], err error) {
	err = c.get(ctx, query("/api/v1/explorer/search", url.Values{"q": {text}}), &l)
	return l, err
}

// Vertex is a message as a point of a drawing.
type Vertex struct {
	ID       tangle.ID        `json:"id"`
	Author   tangle.Member    `json:"author"`
	Class    string           `json:"class"`
	Round    tangle.Round     `json:"round,omitempty"`
	Time     time.Time        `json:"time"`
	Status   Status           `json:"status"`
	Position *tangle.Position `json:"position,omitempty"`
	Entries  int              `json:"entries"`
	Parents  []tangle.ID      `json:"parents"`
	Distance int              `json:"distance"`
}

// Piece is a bounded piece of the graph.
type Piece struct {
	Around    *tangle.ID `json:"around"`
	Vertices  []Vertex   `json:"vertices"`
	Truncated bool       `json:"truncated"`
	AsOf      AsOf       `json:"asOf"`
}

// Graph reads the messages near one; near the newest in the order if around is zero.
func (c *Client) Graph(ctx context.Context, around tangle.ID, depth int) (p Piece, err error) {
	v := url.Values{"depth": {strconv.Itoa(depth)}}
	if around != (tangle.ID{}) {
		v.Set("around", around.String())
	}
	err = c.get(ctx, query("/api/v1/explorer/dag", v), &p)
	return p, err
}

// Happening is something that has just happened; events that a slow reader misses are gone.
type Happening struct {
	Name     string           `json:"-"` // attached, ordered, committed, final, equivocation, expired, quorum
	Message  *Vertex          `json:"message,omitempty"`
	Commit   uint64           `json:"commit,omitempty"`
	Position *tangle.Position `json:"position,omitempty"`
	Time     *time.Time       `json:"time,omitempty"`
}

// Watch delivers what happens until ctx ends or the stream breaks; it does not connect again by itself.
func (c *Client) Watch(ctx context.Context, handle func(Happening) error) error {
	return c.stream(ctx, "/api/v1/explorer/live", "", func(e event) error {
		if e.name == "" || e.name == "end" {
			return nil
		}
		h := Happening{Name: e.name}
		if err := decode("/api/v1/explorer/live", []byte(e.data), &h); err != nil {
			return err
		}
		return handle(h)
	})
}

// APIKey is a key to a node's API. Key itself is there only in the answer that made it.
type APIKey struct {
	ID        string     `json:"id,omitempty"`
	Name      string     `json:"name"`
	DID       string     `json:"did,omitempty"` // with whose rights in channels and profiles it reads
	Scopes    []string   `json:"scopes"`
	CIDRs     []string   `json:"cidrs,omitempty"`
	ExpiresAt *time.Time `json:"expiresAt,omitempty"`
	CreatedAt *time.Time `json:"createdAt,omitempty"`
	Key       string     `json:"key,omitempty"`
}

// APIKeys lists the node's API keys.
func (c *Client) APIKeys(ctx context.Context) (l List[APIKey], err error) {
	err = c.get(ctx, "/api/v1/admin/api-keys", &l)
	return l, err
}

// AddAPIKey makes a key from Name, DID, Scopes, CIDRs and ExpiresAt. It is sent once: a second key would be one too many.
func (c *Client) AddAPIKey(ctx context.Context, wanted APIKey) (made APIKey, err error) {
	body, err := json.Marshal(APIKey{Name: wanted.Name, DID: wanted.DID, Scopes: wanted.Scopes, CIDRs: wanted.CIDRs, ExpiresAt: wanted.ExpiresAt})
	if err != nil {
		return made, err
	}
	a, err := c.do(ctx, call{method: http.MethodPost, path: "/api/v1/admin/api-keys", body: body, once: true})
	if err != nil {
		return made, err
	}
	err = decode("/api/v1/admin/api-keys", a.body, &made)
	return made, err
}

// RemoveAPIKey revokes a key.
func (c *Client) RemoveAPIKey(ctx context.Context, id string) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: "/api/v1/admin/api-keys/" + url.PathEscape(id), once: true})
	return err
}

// SetLogLevel changes how much the node logs, until it ends; an operator's route. Levels: debug, info, warn, error.
func (c *Client) SetLogLevel(ctx context.Context, level string) error {
	body, err := json.Marshal(map[string]string{"level": level})
	if err != nil {
		return err
	}
	_, err = c.do(ctx, call{method: http.MethodPut, path: "/api/v1/operator/log-level", body: body})
	return err
}

// PurgeState says which erased bodies may still be in the files of a node's store.
type PurgeState struct {
	Erased  uint64     `json:"erased"` // bodies since the data folder began
	Purged  uint64     `json:"purged"` // of them, those that no file holds any more
	At      *time.Time `json:"at"`     // nil: the files have never been written anew
	Running bool       `json:"running"`
	Error   string     `json:"error"` // of the last try
}

// PurgeState reads it; an operator's route.
func (c *Client) PurgeState(ctx context.Context) (s PurgeState, err error) {
	err = c.get(ctx, "/api/v1/operator/purge", &s)
	return s, err
}

// Purge lets the files of the store be written anew, so that no erased body is in any of them. It returns at once; PurgeState
// tells when it is done. An operator's route.
func (c *Client) Purge(ctx context.Context) (s PurgeState, err error) {
	a, err := c.do(ctx, call{method: http.MethodPost, path: "/api/v1/operator/purge"})
	if err != nil {
		return s, err
	}
	err = decode("/api/v1/operator/purge", a.body, &s)
	return s, err
}

// OpenAPI fetches the description of the API that the node serves.
func (c *Client) OpenAPI(ctx context.Context) ([]byte, error) {
	return c.raw(ctx, "/openapi.json", "application/json")
}
