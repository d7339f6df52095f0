package node

// apiRoutes is every route of the node's own: the whole table, so that who may do what can be read in one place. A test
// holds it against openapi.yaml, both ways.
func apiRoutes() []apiRoute {
	const v1 = "/api/v1"
	jsonOrBytes := []string{jsonType, bytesType}
	read := func(path string, handle func(*apiCall) error, query ...string) apiRoute {
		return apiRoute{method: "GET", path: v1 + path, auth: authRead, scope: scopeRead, query: query, handle: handle}
	}
	return []apiRoute{
		{method: "POST", path: v1 + "/messages", auth: authSubmit, scope: scopeSubmit, rate: rateWrite, body: MaxBodyBytes,
			query: []string{"wait", "timeout", "receipts"}, handle: (*apiCall).submit},
		read("/messages", (*apiCall).messages, orderQuery(filterQuery("from", "to")...)...),
		read("/messages/:id", (*apiCall).message).giving(jsonOrBytes...),
		read("/messages/:id/parents", (*apiCall).parents, pageQuery()...),
		read("/messages/:id/children", (*apiCall).children, pageQuery()...),
		read("/positions/:n", (*apiCall).atPosition).giving(jsonOrBytes...),
		read("/entries/live", (*apiCall).entriesLive, filterQuery("after", "from")...).giving(eventsType),
		read("/entries/:hash", (*apiCall).entry),
		read("/entries/:hash/receipt", (*apiCall).receipt).giving(bytesType),
		{method: "POST", path: v1 + "/receipts/verify", auth: authOpen, rate: rateVerify, body: MaxReceiptBytes * 3 / 2,
			types: jsonOrBytes, handle: (*apiCall).verifyReceipt},

		read("/operations/:opHash", (*apiCall).operation),

		read("/checkpoints", (*apiCall).checkpointList, pageQuery()...),
		read("/checkpoints/:n", (*apiCall).checkpointOf),
		read("/commits", (*apiCall).commits, pageQuery("from")...),
		read("/commits/:n", (*apiCall).commit),
		{method: "GET", path: "/log/checkpoint", auth: authRead, scope: scopeRead, gives: []string{textType}, handle: (*apiCall).logCheckpoint},
		{method: "GET", path: "/log/tile/*", auth: authRead, scope: scopeRead, gives: []string{bytesType}, handle: (*apiCall).logTile},

		read("/node", (*apiCall).nodeInfo),
		read("/genesis", (*apiCall).genesisFile),
		read("/members", (*apiCall).members),
		read("/members/:id", (*apiCall).member),
		read("/governance/parameters", (*apiCall).parameters),
		{method: "GET", path: v1 + "/peers", auth: authToken, scope: scopeRead, handle: (*apiCall).peers},
		{method: "GET", path: "/health", auth: authOpen, rate: rateAnonymous, handle: (*apiCall).health},
		{method: "GET", path: "/ready", auth: authOpen, rate: rateAnonymous, handle: (*apiCall).ready},

		read("/explorer/overview", (*apiCall).overview),
		read("/explorer/search", (*apiCall).search, "q"),
		read("/explorer/dag", (*apiCall).dag, "around", "depth"),
		read("/explorer/live", (*apiCall).explorerLive).giving(eventsType),

		{method: "GET", path: v1 + "/admin/api-keys", auth: authAdmin, scope: scopeAdmin, handle: (*apiCall).listKeys},
		{method: "POST", path: v1 + "/admin/api-keys", auth: authAdmin, scope: scopeAdmin, rate: rateWrite, body: MaxBodyBytes, handle: (*apiCall).addKey},
		{method: "DELETE", path: v1 + "/admin/api-keys/:id", auth: authAdmin, scope: scopeAdmin, rate: rateWrite, handle: (*apiCall).removeKey},
		{method: "PUT", path: v1 + "/operator/log-level", auth: authOperator, rate: rateWrite, body: MaxBodyBytes, handle: (*apiCall).logLevel},
		{method: "GET", path: v1 + "/operator/purge", auth: authOperator, handle: (*apiCall).purgeState},
		{method: "POST", path: v1 + "/operator/purge", auth: authOperator, rate: rateWrite, handle: (*apiCall).purge},
		{method: "GET", path: "/debug/pprof/*", auth: authOperator, query: []string{"seconds", "debug", "gc"}, gives: []string{anyType}, handle: (*apiCall).profile},

		{method: "GET", path: "/openapi.json", auth: authOpen, rate: rateAnonymous, handle: (*apiCall).openAPI},
		{method: "GET", path: "/docs", auth: authOpen, rate: rateAnonymous, gives: []string{htmlType}, handle: (*apiCall).docs},
		{method: "GET", path: "/docs/*", auth: authOpen, rate: rateRead, gives: []string{anyType}, handle: (*apiCall).docs},
	}
}

// giving is the route with the media types of its answer, the first by default.
func (r apiRoute) giving(types ...string) apiRoute {
	r.gives = types
	return r
}

// streams says whether the answer has no end.
func (r apiRoute) streams() bool { return len(r.gives) == 1 && r.gives[0] == eventsType }
