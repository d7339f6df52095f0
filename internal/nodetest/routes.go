package nodetest

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"weft/plugins"
)

// Document is the merged description of the API, as node 0 serves it.
func (w *Network) Document() *openapi3.T {
	w.t.Helper()
	status, _, raw := w.Call(0, "GET", "/openapi.json", nil)
	doc, err := openapi3.NewLoader().LoadFromData(raw)
	if status != 200 || err != nil {
		w.t.Fatalf("openapi.json: HTTP %d, %v", status, err)
	}
	return doc
}

// CheckRoutes holds the routes of a plugin against the description, both ways.
func (w *Network) CheckRoutes(routes plugins.Routes) {
	w.t.Helper()
	doc := w.Document()
	if err := doc.Validate(w.t.Context(), openapi3.EnableExamplesValidation()); err != nil {
		w.t.Fatal(err)
	}
	served := map[string]bool{}
	for _, r := range routes.List {
		path := strings.ReplaceAll(r.Path, "...}", "}")
		name := r.Method + " " + path
		served[name] = true
		var operation *openapi3.Operation
		if item := doc.Paths.Value(path); item != nil {
			operation = item.GetOperation(r.Method)
		}
		if operation == nil {
			w.t.Errorf("%s is served and not documented", name)
			continue
		}
		checkOperation(w.t, name, r, operation)
	}
	ours := regexp.MustCompile(`(?m)^  (/\S+):$`)
	for _, fragment := range routes.OpenAPI {
		for _, m := range ours.FindAllSubmatch(fragment, -1) {
			for method := range doc.Paths.Value(string(m[1])).Operations() {
				if name := method + " " + string(m[1]); !served[name] {
					w.t.Errorf("%s is documented and not served", name)
				}
			}
		}
	}
}

func checkOperation(t testing.TB, name string, r plugins.Route, o *openapi3.Operation) {
	t.Helper()
	if got, _ := o.Extensions["x-weft-auth"].(string); got != r.Auth.String() {
		t.Errorf("%s: the document says auth %q, the route %q", name, got, r.Auth)
	}
	if got, _ := o.Extensions["x-weft-scope"].(string); got != r.Scope {
		t.Errorf("%s: the document says scope %q, the route %q", name, got, r.Scope)
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
	if known := slices.Sorted(slices.Values(r.Query)); !r.AnyQuery && !slices.Equal(query, known) {
		t.Errorf("%s: the document has parameters %v, the route %v", name, query, known)
	}
	if (o.RequestBody != nil) != (r.MaxBody > 0) {
		t.Errorf("%s: body in the document %v, at the route %d bytes", name, o.RequestBody != nil, r.MaxBody)
	}
	for _, status := range []string{"405", "500"} {
		if o.Responses.Value(status) == nil {
			t.Errorf("%s: no status %s", name, status)
		}
	}
}
