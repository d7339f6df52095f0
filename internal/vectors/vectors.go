// Package vectors finds the public test vectors, which are not part of the repository: tests that need them are skipped, and
// say so, where they are absent. It knows none of their formats, and no node imports it.
package vectors

import (
	"os"
	"path/filepath"
	"testing"
)

// Variable is the environment variable that names the folder.
const Variable = "WEFT_VECTORS"

// Dir is the folder of the vectors: the one that Variable names, or shared/vectors beside the repository.
func Dir(t testing.TB) string {
	t.Helper()
	dir := os.Getenv(Variable)
	if dir == "" {
		dir = filepath.Join(root(t), "..", "shared", "vectors")
	}
	if _, err := os.Stat(dir); err != nil {
		skip(t, err)
	}
	return dir
}

// File reads a vector.
func File(t testing.TB, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(Dir(t), filepath.FromSlash(name)))
	if os.IsNotExist(err) {
		skip(t, err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func skip(t testing.TB, err error) {
	t.Helper()
	t.Skipf("SKIPPED, PUBLIC VECTORS NOT TESTED: %v; set %s to their folder", err, Variable)
}

// root is the folder of go.mod; tests run in the folders of their packages.
func root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	for err == nil {
		if _, missing := os.Stat(filepath.Join(dir, "go.mod")); missing == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			err = os.ErrNotExist
		}
		dir = filepath.Dir(dir)
	}
	t.Fatalf("no go.mod above the test: %v", err)
	return ""
}
