package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
)

// indent is JSON for people, as it was otherwise.
func indent(raw []byte) []byte {
	var out bytes.Buffer
	if json.Indent(&out, raw, "", "  ") != nil {
		return raw
	}
	return out.Bytes()
}

// sortedKeys are the keys of a map in order.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
