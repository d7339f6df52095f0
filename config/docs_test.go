package config

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestSettingsAreDocumented holds docs/settings.md against the program: every setting, with its default and its variable.
func TestSettingsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/settings.md")
	if err != nil {
		t.Fatal(err)
	}
	file, err := json.Marshal(Default())
	if err != nil {
		t.Fatal(err)
	}
	for path, variable := range Settings() {
		row := fmt.Sprintf("| `%s` | `%s` | `%s` | ", path, defaultOf(t, file, path), variable)
		if !strings.Contains(string(page), row) {
			t.Errorf("docs/settings.md has no row %q", row)
		}
	}
	if rows := strings.Count(string(page), "\n| `"); rows != len(Settings()) {
		t.Errorf("docs/settings.md has %d rows, there are %d settings", rows, len(Settings()))
	}
}

func defaultOf(t *testing.T, file []byte, path string) string {
	t.Helper()
	at := json.RawMessage(file)
	for part := range strings.SplitSeq(path, ".") {
		var object map[string]json.RawMessage
		if err := json.Unmarshal(at, &object); err != nil {
			t.Fatal(err)
		}
		at = object[part]
	}
	return string(at)
}
