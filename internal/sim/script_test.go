package sim

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestScripts runs the directed schedules of testdata; -rewrite writes what they print now.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := Script(string(b))
			switch {
			case got == string(b):
			case option[bool]("rewrite"):
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			default:
				t.Errorf("script %s: differs\n--- want\n%s\n--- got\n%s", filepath.Base(file), b, got)
			}
		})
	}
}
