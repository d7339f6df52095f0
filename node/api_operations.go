package node

import "net/http"

// operation is GET /operations/{opHash}: the state of a signed operation of whatever plugin. What is on its way here may be
// settled elsewhere already, so an unknown one is looked for again once that is ordered.
func (c *apiCall) operation() error {
	hash := c.Param("opHash")
	state, ok := c.findOperation(hash)
	if !ok {
		c.Node.CatchUp(c.Request().Context())
		if state, ok = c.findOperation(hash); !ok {
			return refuse("unknown_operation", "no such operation has come to this node")
		}
	}
	return c.json(http.StatusOK, state)
}

func (c *apiCall) findOperation(hash string) (any, bool) {
	for _, p := range c.Plugins {
		if p.Plugin.Operation == nil {
			continue
		}
		if state, ok := p.Plugin.Operation(hash); ok {
			return state, true
		}
	}
	return nil, false
}
