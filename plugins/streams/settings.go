package streams

import (
	"encoding/json"

	"weft/config/strict"
	"weft/plugins/streams/channel"
	"weft/plugins/streams/managed"
)

// Settings is the plugin's section of node.json. Everything may be left out.
type Settings struct {
	Blobs   BlobSettings     `json:"blobs,omitzero"`
	Managed managed.Settings `json:"managed,omitzero"`
}

// BlobSettings say which payloads beside the ledger this node fetches as soon as they are ordered, and how much it keeps.
type BlobSettings struct {
	MaxBytes  int64    `json:"maxBytes,omitempty"`  // of all that are declared here; 0: as much as the disk takes
	Replicate []string `json:"replicate,omitempty"` // channels, or "all"; others are fetched when they are asked for
}

// MaxReplicated bounds the channels that are named.
const MaxReplicated = 10_000

func parseSettings(section json.RawMessage) (Settings, error) {
	var s Settings
	if section == nil {
		return s, nil
	}
	if err := strict.Decode(section, &s, false); err != nil {
		return s, err
	}
	var f strict.Faults
	if len(s.Blobs.Replicate) > MaxReplicated {
		f.Add("blobs.replicate", "at most %d", MaxReplicated)
	}
	if s.Blobs.MaxBytes < 0 {
		f.Add("blobs.maxBytes", "want 0 or more")
	}
	for _, one := range s.Blobs.Replicate {
		if _, err := channel.ParseID(one); err != nil && one != "all" {
			f.Add("blobs.replicate", "%.70q: want a channel or all", one)
		}
	}
	s.Managed.Check("managed", &f)
	return s, f.Err()
}

// replicates says whether payloads of a channel are fetched as soon as they are ordered.
func (s Settings) replicates(id channel.ID) bool {
	for _, one := range s.Blobs.Replicate {
		if one == "all" || one == id.String() {
			return true
		}
	}
	return false
}
