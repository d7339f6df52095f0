package vectors

import (
	"os"
	"path/filepath"
	"testing"
)

func TestFile(t *testing.T) {
	t.Setenv(Variable, t.TempDir())
	if err := os.Mkdir(filepath.Join(Dir(t), "a"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(Dir(t), "a", "b.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := File(t, "a/b.json"); string(got) != "{}" {
		t.Errorf("got %q, want {}", got)
	}
}

func TestAbsentVectorsSkip(t *testing.T) {
	for name, dir := range map[string]string{"no folder": filepath.Join(t.TempDir(), "none"), "no file": t.TempDir()} {
		var skipped bool
		t.Run(name, func(t *testing.T) {
			t.Setenv(Variable, dir)
			defer func() { skipped = t.Skipped() }()
			File(t, "none.json")
		})
		if !skipped {
			t.Errorf("%s: the test went on", name)
		}
	}
}
