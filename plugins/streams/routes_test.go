package streams

import (
	"regexp"
	"slices"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"weft/plugins"
)

// TestRoutesAreThoseOfTheDocument holds the routes against the description, both ways, also with managed mode.
func TestRoutesAreThoseOfTheDocument(t *testing.T) {
	var plugin plugins.Plugin
	w := startManaged(t, networkOptions{opened: func(_ plugins.Host, p plugins.Plugin) { plugin = p }}, []string{"siem"})
	doc, err := openapi3.NewLoader().LoadFromData(w.call(0, "GET", "/openapi.json", nil).want(200).body)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context(), openapi3.EnableExamplesValidation()); err != nil {
		t.Fatal(err)
	}
	served := map[string]bool{}
	for _, r := range plugin.HTTP.List {
		name := r.Method + " " + r.Path
		served[name] = true
		var operation *openapi3.Operation
		if item := doc.Paths.Value(r.Path); item != nil {
			operation = item.GetOperation(r.Method)
		}
		if operation == nil {
			t.Errorf("%s is served and not documented", name)
			continue
		}
		checkOperation(t, name, r, operation)
	}
	ours := regexp.MustCompile(`(?m)^  (/\S+):$`)
	for _, fragment := range plugin.HTTP.OpenAPI {
		for _, m := range ours.FindAllSubmatch(fragment, -1) {
			for method := range doc.Paths.Value(string(m[1])).Operations() {
				if name := method + " " + string(m[1]); !served[name] {
					t.Errorf("%s is documented and not served", name)
				}
			}
		}
	}
}

func checkOperation(t *testing.T, name string, r plugins.Route, o *openapi3.Operation) {
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
	if known := slices.Sorted(slices.Values(r.Query)); !slices.Equal(query, known) {
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
