package main

import (
	"encoding/json"
	"fmt"

	"weft/config"
)

// nodeFile reads node.json of the data folder that --dir names.
func (s *shell) nodeFile() (config.Node, error) {
	if s.dir == "" {
		return config.Node{}, usage("--dir is missing: which node's data folder?")
	}
	return config.Dir(s.dir).Load(nil, nil)
}

// readSection takes one member out of a plugin's section of node.json; the rest of it stays as it is.
func readSection(plugin string, raw json.RawMessage, member string, into any) (section map[string]json.RawMessage, err error) {
	section = map[string]json.RawMessage{}
	if raw != nil {
		err = json.Unmarshal(raw, &section)
	}
	if one := section[member]; err == nil && one != nil {
		err = json.Unmarshal(one, into)
	}
	if err != nil {
		err = fmt.Errorf("node.json: plugins.%s: %w", plugin, err)
	}
	return section, err
}
