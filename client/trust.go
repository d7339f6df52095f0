package client

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// Federation is a set of roots and what may be attested under them.
type Federation struct {
	ID         string          `json:"id"`
	Name       string          `json:"name"`
	Roots      json.RawMessage `json:"roots"`
	Threshold  int             `json:"threshold"`
	MaxDepth   int             `json:"maxDepth"`
	Properties json.RawMessage `json:"properties"`
}

// Federations lists the federations on the ledger.
func (c *Client) Federations(ctx context.Context, p Page) (l List[Federation], err error) {
	err = c.get(ctx, query(route("trust", "federations"), p.values()), &l)
	return l, err
}

// Federation reads one.
func (c *Client) Federation(ctx context.Context, id string) (f Federation, err error) {
	err = c.get(ctx, route("trust", "federations", id), &f)
	return f, err
}

// Grant is the right to attest, or to grant that on, and what became of it.
type Grant struct {
	ID         string          `json:"id"`
	Grantor    string          `json:"grantor"`
	Federation string          `json:"federation"`
	Under      string          `json:"under"` // root, or the id of the parent
	Subject    string          `json:"subject"`
	Kind       string          `json:"kind"` // attest or accredit
	MaxDepth   int             `json:"maxDepth"`
	Properties json.RawMessage `json:"properties"`
	ValidFrom  time.Time       `json:"validFrom"`
	ValidUntil time.Time       `json:"validUntil"`
	Granted    time.Time       `json:"granted"` // commit time
	Revoked    json.RawMessage `json:"revoked,omitempty"`
}

// TrustGraph lists the grants of a federation; Under and Subject are the edges.
func (c *Client) TrustGraph(ctx context.Context, federation string, p Page) (l List[Grant], err error) {
	err = c.get(ctx, query(route("trust", "federations", federation, "graph"), p.values()), &l)
	return l, err
}

// Grant reads one.
func (c *Client) Grant(ctx context.Context, id string) (g Grant, err error) {
	err = c.get(ctx, route("trust", "accreditations", id), &g)
	return g, err
}

// TrustQuestion asks: may this DID attest that property = value, at that time?
type TrustQuestion struct {
	Federation string     `json:"federation"`
	Attester   string     `json:"attester"`
	Property   string     `json:"property"`
	Value      any        `json:"value"`          // a string or an integer
	At         *time.Time `json:"at,omitempty"`   // when it was attested; now
	AsOf       *time.Time `json:"asOf,omitempty"` // what was known then; now
	Both       bool       `json:"-"`              // trusted both then and now
}

// TrustAnswer is yes with a path from a root, or no with a reason.
type TrustAnswer struct {
	Trusted    bool        `json:"trusted"`
	Path       []TrustLink `json:"path"`
	AtIssuance bool        `json:"atIssuance"`
	Now        bool        `json:"now"`
	Reason     string      `json:"reason,omitempty"`
	Believed   bool        `json:"believed"` // the node believes the federation at all
}

// TrustLink is one grant on a path.
type TrustLink struct {
	DID        string     `json:"did"`
	Grant      string     `json:"grant"`
	Kind       string     `json:"kind"` // attest or accredit
	ValidUntil *time.Time `json:"validUntil,omitempty"`
}

// EvaluateTrust asks the ledger's state. A no is an answer, not an error.
func (c *Client) EvaluateTrust(ctx context.Context, q TrustQuestion) (a TrustAnswer, err error) {
	body := struct {
		TrustQuestion
		Time string `json:"trustTime,omitempty"`
	}{TrustQuestion: q}
	if q.Both {
		body.Time = "both"
	}
	err = c.post(ctx, route("trust", "evaluate"), body, &a)
	return a, err
}

// TrustRoots is whom one node believes. It is the node's own choice and on no ledger.
type TrustRoots struct {
	DIDs        []string `json:"dids"`
	Federations []string `json:"federations"`
}

// TrustRoots reads whom the node believes.
func (c *Client) TrustRoots(ctx context.Context) (r TrustRoots, err error) {
	err = c.get(ctx, route("trust", "roots"), &r)
	return r, err
}

// SetTrustRoots says whom the node shall believe; an operator's call.
func (c *Client) SetTrustRoots(ctx context.Context, r TrustRoots) (TrustRoots, error) {
	var now TrustRoots
	r.DIDs, r.Federations = append([]string{}, r.DIDs...), append([]string{}, r.Federations...)
	err := c.send(ctx, http.MethodPut, route("trust", "roots"), r, &now)
	return now, err
}
