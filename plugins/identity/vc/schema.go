package vc

import (
	"bytes"
	"errors"
	"slices"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"weft/plugins"
	"weft/plugins/identity/did"
)

// errNoLoading answers every reference of a schema to another document.
var errNoLoading = errors.New("schemas are not loaded from elsewhere")

// noLoader keeps the schema library from files and network.
type noLoader struct{}

func (noLoader) Load(string) (any, error) { return nil, errNoLoading }

// ValidateSchema holds a JSON value to a JSON Schema, which stands alone. The code is schema_invalid for the value and
// bad_value for the schema.
func ValidateSchema(id string, schema []byte, value any) error {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		return plugins.Reject("bad_value", "schema %s is not JSON", id)
	}
	compiler := jsonschema.NewCompiler()
	compiler.UseLoader(noLoader{})
	if err := compiler.AddResource(id, document); err != nil {
		return plugins.Reject("bad_value", "schema %s: %v", id, err)
	}
	compiled, err := compiler.Compile(id)
	if err != nil {
		return plugins.Reject("bad_value", "schema %s: %v", id, err)
	}
	if err := compiled.Validate(value); err != nil {
		return plugins.Reject("schema_invalid", "%s", bounded(err.Error()))
	}
	return nil
}

// MaxReason bounds the text of a library in a report.
const MaxReason = 500

func bounded(s string) string { return s[:min(len(s), MaxReason)] }

// checkSchema validates the credential against each of its JSON Schemas that is registered here. One that is not is said to
// be unchecked, and does no harm: it is the issuer's promise, not the verifier's demand.
func (v *verification) checkSchema() {
	entries := objects(v.doc["credentialSchema"])
	if len(entries) == 0 {
		return
	}
	facts := map[string]any{}
	for _, entry := range entries {
		id := textOf(entry["id"])
		schema, registered := v.schema(id, entry)
		if !registered {
			facts["unchecked"] = id
			continue
		}
		if err := ValidateSchema(id, schema, v.doc); err != nil {
			v.found.fail(CheckSchema, &fault{code: "schema_invalid", reason: reasonOf(err), facts: map[string]any{"schema": id}})
			return
		}
	}
	v.found.pass(CheckSchema, facts)
}

func (v *verification) schema(id string, entry did.Object) ([]byte, bool) {
	if v.config.Schema == nil || !slices.Contains(stringsOf(entry["type"]), typeSchema) {
		return nil, false
	}
	return v.config.Schema(id)
}
