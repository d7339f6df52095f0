package managed

import (
	"strings"

	"weft/config/strict"
)

// Settings is the section managed of the plugin's section of node.json.
type Settings struct {
	Enabled        bool     `json:"enabled,omitempty"`
	Identities     []string `json:"identities,omitempty"`     // tools, each with a key file in Folder
	PassphraseFile string   `json:"passphraseFile,omitempty"` // of all their key files, relative to the data folder; empty: they stay locked
}

// Bounds of the settings.
const (
	MaxIdentities = 64
	MaxNameBytes  = 64
)

// Check reports what is wrong.
func (s Settings) Check(path string, f *strict.Faults) {
	at := strict.Join(path, "identities")
	if s.Enabled && len(s.Identities) == 0 {
		f.Add(at, "managed mode is enabled for nobody: 'weft managed add' names a tool")
	}
	if len(s.Identities) > MaxIdentities {
		f.Add(at, "at most %d", MaxIdentities)
	}
	seen := map[string]bool{}
	for _, name := range s.Identities {
		if !IsName(name) {
			f.Add(at, "%.70q: want 1 to %d of a-z 0-9 - _, as 'weft managed add' takes it", name, MaxNameBytes)
		}
		if seen[name] {
			f.Add(at, "%q twice", name)
		}
		seen[name] = true
	}
}

// IsName says whether a tool may be called so: it is the name of a file as well.
func IsName(name string) bool {
	return name != "" && len(name) <= MaxNameBytes && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}
