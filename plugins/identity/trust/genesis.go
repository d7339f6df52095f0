package trust

import (
	"encoding/json"
	"strings"

	"weft/plugins"
	"weft/plugins/identity/did"
	"weft/plugins/identity/operation"
	"weft/tangle"
)

// MaxGenesisFederations bounds what genesis may found.
const MaxGenesisFederations = 16

// Genesis makes the records of the federations that genesis founds. It takes the value of the member "federations" of the
// plugin's section, nil if there is none:
//
//	[{"name", "roots", "threshold", "maxDepth", "properties"}]
//
// Each has the form and rules of federation.create. Roots are did:key: a did:weft depends on the hash of genesis. The id
// of such a federation is the multihash of its canonical object, and its roots are in office from the beginning of time.
func Genesis(federations json.RawMessage) ([]did.Write, error) {
	if len(federations) == 0 {
		return nil, nil
	}
	v, err := did.DecodeJSON(federations, did.JSONLimits{})
	if err != nil {
		return nil, err
	}
	list, ok := v.([]any)
	if !ok || len(list) > MaxGenesisFederations {
		return nil, plugins.Reject("bad_value", "federations is not a list of at most %d", MaxGenesisFederations)
	}
	var writes []did.Write
	seen := make(map[string]bool, len(list))
	for _, item := range list {
		id, terms, err := readFounded(item)
		if err != nil {
			return nil, err
		}
		if seen[id] {
			return nil, plugins.Reject("already_exists", "federation %s stands twice", id)
		}
		seen[id] = true
		writes = append(writes, terms.found(id, "", did.Place{})...)
	}
	return writes, nil
}

func readFounded(item any) (id string, terms FederationTerms, err error) {
	o, ok := item.(did.Object)
	if !ok {
		return "", terms, plugins.Reject("bad_value", "a federation is not an object")
	}
	m := operation.Read(o)
	terms = readFederation(tangle.ID{}, m)
	for _, root := range terms.Roots {
		if !strings.HasPrefix(root, "did:key:") {
			m.Judge(plugins.Reject("bad_value", "root %s of genesis is not a did:key", root))
		}
	}
	if err := m.Done(); err != nil {
		return "", terms, err
	}
	canonical, err := did.Canonical(o)
	return did.Multihash(canonical), terms, err
}
