package node

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"weft/plugins"
)

// document is the merged description as callers get it.
func document(t *testing.T, list ...NamedPlugin) *openapi3.T {
	t.Helper()
	d, err := mergeDocuments(list)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(d.json)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestDocumentIsValid(t *testing.T) {
	doc := document(t)
	if err := doc.Validate(t.Context(), openapi3.EnableExamplesValidation()); err != nil {
		t.Fatal(err)
	}
}

// documentPath is a route's path as the document writes it.
func documentPath(r apiRoute) string {
	path := regexp.MustCompile(`:(\w+)`).ReplaceAllString(r.path, "{$1}")
	path = strings.Replace(path, "/tile/*", "/tile/{tile}", 1)
	path = strings.Replace(path, "/pprof/*", "/pprof/{profile}", 1)
	return strings.Replace(path, "/docs/*", "/docs/{file}", 1)
}

func TestRoutesAreThoseOfTheDocument(t *testing.T) {
	doc := document(t)
	documented := map[string]*openapi3.Operation{}
	for path, item := range doc.Paths.Map() {
		for method, operation := range item.Operations() {
			documented[method+" "+path] = operation
		}
	}
	for _, r := range apiRoutes() {
		name := r.method + " " + documentPath(r)
		operation := documented[name]
		if operation == nil {
			t.Errorf("%s is served and not documented", name)
			continue
		}
		delete(documented, name)
		checkOperation(t, name, r, operation)
	}
	for name := range documented {
		t.Errorf("%s is documented and not served", name)
	}
}

func checkOperation(t *testing.T, name string, r apiRoute, o *openapi3.Operation) {
	t.Helper()
	if r.auth == authNone {
		t.Errorf("%s has no auth rule", name)
	}
	if got, _ := o.Extensions["x-weft-auth"].(string); got != r.auth.String() {
		t.Errorf("%s: the document says auth %q, the route %q", name, got, r.auth)
	}
	if got, _ := o.Extensions["x-weft-scope"].(string); got != r.scope {
		t.Errorf("%s: the document says scope %q, the route %q", name, got, r.scope)
	}
	needsScope := r.auth != authOpen && r.auth != authOperator
	if needsScope != (r.scope != "") {
		t.Errorf("%s: auth %s with scope %q", name, r.auth, r.scope)
	}
	if o.OperationID == "" || o.Summary == "" || len(o.Tags) != 1 {
		t.Errorf("%s lacks operationId, summary or tag", name)
	}
	var query []string
	for _, p := range o.Parameters {
		if p.Value.In == openapi3.ParameterInQuery {
			query = append(query, p.Value.Name)
		}
		if p.Value.Example == nil && p.Value.Name != "cursor" {
			t.Errorf("%s: parameter %s has no example", name, p.Value.Name)
		}
	}
	slices.Sort(query)
	known := slices.Sorted(slices.Values(r.query))
	if !slices.Equal(query, known) {
		t.Errorf("%s: the document has parameters %v, the route %v", name, query, known)
	}
	if (o.RequestBody != nil) != (r.body > 0) {
		t.Errorf("%s: body in the document %v, at the route %d bytes", name, o.RequestBody != nil, r.body)
	}
	checkExamples(t, name, o)
}

// checkExamples wants an example of each JSON body, and the statuses that every operation can give.
func checkExamples(t *testing.T, name string, o *openapi3.Operation) {
	t.Helper()
	if o.RequestBody != nil && o.RequestBody.Value.Content.Get(jsonType).Example == nil {
		t.Errorf("%s: the body has no example", name)
	}
	for status, response := range o.Responses.Map() {
		for mediaType, media := range response.Value.Content {
			if strings.HasSuffix(mediaType, "json") && media.Example == nil {
				t.Errorf("%s: answer %s has no example", name, status)
			}
		}
	}
	for _, status := range []string{"405", "500"} {
		if o.Responses.Value(status) == nil {
			t.Errorf("%s: no status %s", name, status)
		}
	}
}

// documented checks answers against the document: the status must be listed, the body fit its schema.
type documented struct {
	doc *openapi3.T
	t   *testing.T
}

func (d documented) check(r apiRoute, got reply) {
	d.t.Helper()
	name := r.method + " " + documentPath(r)
	operation := d.doc.Paths.Value(documentPath(r)).GetOperation(r.method)
	response := operation.Responses.Status(got.status)
	if response == nil {
		d.t.Errorf("%s gives HTTP %d, which the document does not list: %s", name, got.status, clipText(got.body))
		return
	}
	mediaType, _, _ := strings.Cut(got.header.Get("Content-Type"), ";")
	media := response.Value.Content.Get(mediaType)
	if media == nil || media.Schema == nil || !strings.HasSuffix(mediaType, "json") {
		return
	}
	decoder := json.NewDecoder(bytes.NewReader(got.body))
	var v any
	if err := decoder.Decode(&v); err != nil {
		d.t.Errorf("%s: %v", name, err)
		return
	}
	if err := media.Schema.Value.VisitJSON(v, openapi3.EnableJSONSchema2020()); err != nil {
		d.t.Errorf("%s: HTTP %d does not fit its schema: %v\n%s", name, got.status, err, clipText(got.body))
	}
}

// TestAnswersFitTheDocument calls every route with good and with no parameters.
func TestAnswersFitTheDocument(t *testing.T) {
	n := runNode(t, apiConfig())
	d := documented{document(t), t}
	s := n.submitFinal(t, "fit", "x")
	key := n.newKey(t, scopeRead, scopeSubmit, scopeAdmin)
	fill := strings.NewReplacer(":hash", s.EntryHash.String(), ":n", "1", "/members/:id", "/members/"+n.self.String(),
		"/api-keys/:id", "/api-keys/0011", ":id", s.MessageID.String(), "tile/*", "tile/0/000.p/1", "docs/*", "docs/swagger-ui.css", "pprof/*", "pprof/cmdline")
	bodies := map[string]string{
		"/api/v1/messages": submission("t", "y"), "/api/v1/receipts/verify": `{"receipt":"` + s.Receipt + `"}`,
		"/api/v1/admin/api-keys": `{"name":"n","scopes":["ledger:read"]}`, "/api/v1/operator/log-level": `{"level":"info"}`,
	}
	queries := []string{"", "?limit=1", "?q=1", "?around=" + s.MessageID.String(), "?wait=final", "?wait=never"}
	for _, r := range apiRoutes() {
		if r.streams() {
			continue
		}
		for _, query := range queries {
			door := n.api.public
			if r.auth == authOperator {
				door = n.api.operator
			}
			body := ""
			if r.body > 0 {
				body = bodies[r.path]
			}
			got := callDoor(door, r.method, fill.Replace(r.path)+query, body, "X-API-Key", key)
			if query == "" && got.status >= 400 && !strings.HasSuffix(r.path, "api-keys/:id") && r.path != "/api/v1/explorer/search" && r.path != "/api/v1/operations/:opHash" {
				t.Errorf("%s %s: HTTP %d %s", r.method, r.path, got.status, clipText(got.body))
			}
			d.check(r, got)
		}
	}
}

// newKey makes an API key as the operator.
func (n *Node) newKey(t testing.TB, scopes ...string) string {
	t.Helper()
	list, err := json.Marshal(scopes)
	if err != nil {
		t.Fatal(err)
	}
	var k keyView
	callDoor(n.api.operator, "POST", "/api/v1/admin/api-keys", fmt.Sprintf(`{"name":"test","scopes":%s}`, list)).into(t, 201, &k)
	return k.Key
}

func TestDocumentsMerge(t *testing.T) {
	fragment := func(path, id, schema string) NamedPlugin {
		return NamedPlugin{"extra", plugins.Plugin{HTTP: plugins.Routes{OpenAPI: [][]byte{fmt.Appendf(nil,
			"openapi: 3.1.0\npaths:\n  %s:\n    get:\n      operationId: %s\n      responses: {'200': {description: fine}}\ncomponents:\n  schemas:\n    %s: {type: object}\n", path, id, schema)}}}}
	}
	doc := document(t, fragment("/api/v1/notes", "listNotes", "Note"))
	if doc.Paths.Value("/api/v1/notes") == nil || doc.Components.Schemas["Note"] == nil {
		t.Error("the fragment is not in the document")
	}
	for name, bad := range map[string]NamedPlugin{
		"path":      fragment("/api/v1/node", "other", "Other"),
		"operation": fragment("/api/v1/other", "getNode", "Other"),
		"schema":    fragment("/api/v1/other", "other", "Message"),
		"no yaml":   {"extra", plugins.Plugin{HTTP: plugins.Routes{OpenAPI: [][]byte{[]byte("\t{")}}}},
		"version":   {"extra", plugins.Plugin{HTTP: plugins.Routes{OpenAPI: [][]byte{[]byte("openapi: 3.0.0")}}}},
	} {
		if _, err := mergeDocuments([]NamedPlugin{bad}); err == nil {
			t.Errorf("%s: two owners or a broken fragment do not stop the start", name)
		}
	}
}

func TestPluginRoutes(t *testing.T) {
	say := func(w http.ResponseWriter, r *http.Request) error {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprint(w, r.Method, " ", r.PathValue("id"), r.PathValue("rest"), " ", string(body))
		return nil
	}
	note := func(method, path string) plugins.Route {
		return plugins.Route{Method: method, Path: path, Auth: plugins.AuthOpen, Serve: say}
	}
	maker := func(name string, list ...plugins.Route) plugins.Maker {
		return plugins.Maker{Name: name, Open: func(plugins.Host) (plugins.Plugin, error) {
			return plugins.Plugin{HTTP: plugins.Routes{List: list}}, nil
		}}
	}
	post := note("POST", "/api/v1/notes/{id}/lines")
	post.MaxBody = 10
	refusing := note("GET", "/api/v1/refused")
	refusing.Serve = func(http.ResponseWriter, *http.Request) error { return plugins.Reject("deactivated", "gone") }
	operator := note("GET", "/metrics")
	operator.Auth = plugins.AuthOperator
	n := runNode(t, apiConfig(), maker("notes", note("GET", "/api/v1/notes/{id}"), note("GET", "/rest/{rest...}"), post, refusing), maker("metrics", operator))
	for _, c := range []struct{ method, path, body, want string }{
		{"GET", "/api/v1/notes/a%2Fb%3Ac", "", "GET a/b:c "},
		{"GET", "/api/v1/notes/x", "", "GET x "},
		{"GET", "/rest/did:weft:a%3Ab/c", "", "GET did:weft:a%3Ab/c "},
		{"POST", "/api/v1/notes/7/lines", "{}", "POST 7 {}"},
	} {
		if r := n.call(c.method, c.path, c.body); string(r.body) != c.want || r.header.Get("Weft-Position") == "" {
			t.Errorf("%s %s: HTTP %d %s", c.method, c.path, r.status, r.body)
		}
	}
	for path, want := range map[string]int{"/api/v1/refused": 410, "/metrics": 404} {
		if r := n.call("GET", path, ""); r.status != want {
			t.Errorf("GET %s: HTTP %d, want %d", path, r.status, want)
		}
	}
	if r := n.call("POST", "/api/v1/notes/7/lines", `{"long":"body"}`); r.status != 413 {
		t.Errorf("a body over the route's bound: HTTP %d", r.status)
	}
	if r := n.call("GET", "/api/v1/notes/x?y=1", ""); r.code(t) != "bad_parameter" {
		t.Errorf("an unknown parameter: HTTP %d", r.status)
	}
	if r := callDoor(n.api.operator, "GET", "/metrics", ""); r.status != 200 {
		t.Errorf("operator's route: HTTP %d", r.status)
	}
}

// TestPluginAnswersOnce sends the same POST twice under one key: it has one effect.
func TestPluginAnswersOnce(t *testing.T) {
	count := 0
	add := plugins.Route{
		Method: "POST", Path: "/api/v1/count", Auth: plugins.AuthToken, Scope: plugins.ScopeIdentitiesRead, MaxBody: 10,
		Serve: func(w http.ResponseWriter, r *http.Request) error {
			if body, _ := io.ReadAll(r.Body); string(body) == "[]" {
				return plugins.Reject("bad_value", "")
			}
			count++
			w.Header().Set("Location", "/here")
			w.WriteHeader(http.StatusCreated)
			fmt.Fprint(w, count)
			return nil
		},
	}
	n := runNode(t, apiConfig(), plugins.Maker{Name: "count", Open: func(plugins.Host) (plugins.Plugin, error) {
		return plugins.Plugin{HTTP: plugins.Routes{List: []plugins.Route{add}}}, nil
	}})
	access := n.newKey(t, plugins.ScopeIdentitiesRead)
	post := func(body, key string) reply {
		return n.call("POST", "/api/v1/count", body, "X-API-Key", access, "Idempotency-Key", key)
	}
	first, again := post("{}", "the-first-one"), post("{}", "the-first-one")
	if first.status != 201 || again.status != 201 || string(again.body) != "1" || again.header.Get("Idempotency-Replayed") != "true" || again.header.Get("Location") != "/here" {
		t.Errorf("HTTP %d %s, then %d %s %v", first.status, first.body, again.status, again.body, again.header)
	}
	if r := post("{ }", "the-first-one"); r.code(t) != "idempotency_mismatch" {
		t.Errorf("another body: HTTP %d", r.status)
	}
	if r := post("{}", "another-one"); string(r.body) != "2" {
		t.Errorf("another key: HTTP %d %s", r.status, r.body)
	}
	post("[]", "one-that-fails")
	if r := post("{}", "one-that-fails"); r.status != 201 {
		t.Errorf("after a refusal: HTTP %d", r.status)
	}
	if r := post("{}", "short"); r.code(t) != "bad_parameter" {
		t.Errorf("a bad key: HTTP %d", r.status)
	}
}

func TestPluginRoutesThatStopTheStart(t *testing.T) {
	serve := func(http.ResponseWriter, *http.Request) error { return nil }
	for name, list := range map[string][]plugins.Route{
		"core's own":  {{Method: "GET", Path: "/api/v1/messages/{x}", Auth: plugins.AuthOpen, Serve: serve}},
		"twice":       {{Method: "GET", Path: "/a/{b}", Auth: plugins.AuthOpen, Serve: serve}, {Method: "GET", Path: "/a/{c}", Auth: plugins.AuthOpen, Serve: serve}},
		"no path":     {{Method: "GET", Path: "a", Auth: plugins.AuthOpen, Serve: serve}},
		"echo's path": {{Method: "GET", Path: "/x/:id", Auth: plugins.AuthOpen, Serve: serve}},
		"no rule":     {{Method: "GET", Path: "/a", Serve: serve}},
		"no scope":    {{Method: "GET", Path: "/a", Auth: plugins.AuthToken, Serve: serve}},
		"no server":   {{Method: "GET", Path: "/a", Auth: plugins.AuthOpen}},
	} {
		a := &api{apiParts: apiParts{Plugins: []NamedPlugin{{"bad", plugins.Plugin{HTTP: plugins.Routes{List: list}}}}}}
		if _, err := newDoor(a, false); err == nil {
			t.Errorf("%s: the node starts", name)
		}
	}
}

func TestProfiles(t *testing.T) {
	n := runNode(t, apiConfig())
	for _, name := range []string{"", "heap", "goroutine?debug=1", "allocs?gc=1", "profile?seconds=1", "trace?seconds=1", "cmdline"} {
		path := "/debug/pprof/" + name
		if r := callDoor(n.api.operator, "GET", path, ""); r.status != 200 || len(r.body) == 0 {
			t.Errorf("GET %s: HTTP %d %s", path, r.status, clipText(r.body))
		}
		for _, header := range []string{"", n.newKey(t, scopeRead, scopeSubmit, scopeAdmin)} {
			if r := n.call("GET", path, "", "X-API-Key", header); r.status != 404 || r.code(t) != "not_found" {
				t.Errorf("GET %s on the public door: HTTP %d", path, r.status)
			}
		}
	}
	for path, code := range map[string]string{
		"nonsense": "not_found", "profile?seconds=0": "bad_parameter", "profile?seconds=51": "bad_parameter", "profile?seconds=x": "bad_parameter",
		"heap?x=1": "bad_parameter",
	} {
		if r := callDoor(n.api.operator, "GET", "/debug/pprof/"+path, ""); r.code(t) != code {
			t.Errorf("%s: HTTP %d %s, want %s", path, r.status, clipText(r.body), code)
		}
	}
}

func TestDocsWorkOffline(t *testing.T) {
	n := runNode(t, apiConfig())
	page := n.call("GET", "/docs", "")
	for _, found := range regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllSubmatch(page.body, -1) {
		link := string(found[1])
		if strings.HasPrefix(link, "http") {
			t.Errorf("the page needs %s", link)
			continue
		}
		if r := n.call("GET", link, ""); r.status != 200 {
			t.Errorf("%s: HTTP %d", link, r.status)
		}
	}
	if !bytes.Contains(page.body, []byte("/openapi.json")) {
		t.Error("the page does not show the document")
	}
}
