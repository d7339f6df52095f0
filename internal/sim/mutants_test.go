package sim

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// huntSizes has a committee whose size is not 3f+1, where 2f+1 is no quorum.
func huntSizes() []int { return []int{4, 5, 7} }

// TestHunt runs a few seeds with as many twins and equivocators as the committee tolerates. With -hunt N it runs up to N
// of each size and stops at the first violation: that is how mutants are caught.
func TestHunt(t *testing.T) {
	if seed, ok := seedToReplay(t); ok {
		for _, n := range sizes() {
			replay(t, Hunt(seed, n))
		}
		return
	}
	count := option[int]("hunt")
	if count == 0 {
		count = 10
	}
	var next atomic.Int64
	var found atomic.Bool
	var group sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for !found.Load() {
				k := int(next.Add(1)) - 1
				if k >= count*len(huntSizes()) {
					return
				}
				c := Hunt(uint64(1+k/len(huntSizes())), huntSizes()[k%len(huntSizes())])
				if v := Run(c).Violation; v != nil && !found.Swap(true) {
					report(t, "TestHunt", c, v)
				}
			}
		})
	}
	group.Wait()
}

// TestMutants breaks the code, one patch of testdata/mutants at a time, and expects an oracle to complain about each. It
// takes minutes and runs only when asked to: go test ./internal/sim -run TestMutants -mutants -v
func TestMutants(t *testing.T) {
	if !option[bool]("mutants") {
		t.Skip("only with -mutants (make mutants)")
	}
	patches := mutants(t)
	module := copyModule(t)
	mutate(t, module, "") // the unbroken copy must pass
	var table []string
	for _, patch := range patches {
		if only := option[string]("mutant"); only != "" && !strings.Contains(patch, only) {
			continue
		}
		table = append(table, mutate(t, module, patch))
	}
	t.Logf("\n%-30s %-9s %5s %5s  %s\n%s", "mutant", "oracle", "seed", "nodes", "what is broken", strings.Join(table, "\n"))
}

func mutants(t *testing.T) []string {
	t.Helper()
	patches, err := filepath.Glob("testdata/mutants/*.patch")
	if err != nil || len(patches) < 8 {
		t.Fatalf("%d mutants: %v", len(patches), err)
	}
	return patches
}

// TestMutantsApply: a change of the code that a mutant breaks changes the mutant too.
func TestMutantsApply(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("there is no git")
	}
	for _, patch := range mutants(t) {
		absolute, err := filepath.Abs(patch)
		if err != nil {
			t.Fatal(err)
		}
		check := exec.Command("git", "apply", "--check", absolute)
		check.Dir = "../.."
		if out, err := check.CombinedOutput(); err != nil {
			t.Errorf("%s does not apply: %s", filepath.Base(patch), out)
		}
	}
}

// copyModule copies what a build of this package needs to a folder of the test.
func copyModule(t *testing.T) string {
	t.Helper()
	module, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	to := t.TempDir()
	err = filepath.WalkDir(module, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(module, path)
		switch {
		case d.IsDir() && slices.Contains([]string{".git", "bin"}, d.Name()):
			return filepath.SkipDir
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		case !d.Type().IsRegular():
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), b, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// mutate applies a patch, runs the simulation on it, takes the patch out again, and returns a line of the table.
func mutate(t *testing.T, module, patch string) string {
	t.Helper()
	name, why := "(none)", ""
	if patch != "" {
		b, err := os.ReadFile(patch)
		if err != nil {
			t.Fatal(err)
		}
		name = strings.TrimSuffix(filepath.Base(patch), ".patch")
		why, _, _ = strings.Cut(string(b), "\n")
		absolute, _ := filepath.Abs(patch)
		run(t, module, "git", "apply", absolute)
		defer run(t, module, "git", "apply", "-R", absolute)
	}
	seeds := option[int]("seeds")
	if seeds == 0 {
		seeds = 200
	}
	args := []string{"test", "./internal/sim", "-count=1", "-timeout", "20m", "-run", "TestHunt|TestScripts", "-hunt", fmt.Sprint(seeds)}
	switch {
	case patch == "":
		args = []string{"test", "./internal/sim", "-count=1", "-short", "-run", "TestHunt|TestIdentities|TestChannels"}
	case strings.HasPrefix(name, "identity-"):
		args = []string{"test", "./internal/sim", "-count=1", "-timeout", "20m", "-run", "TestIdentities", "-seeds", fmt.Sprint(seeds)}
	case strings.HasPrefix(name, "channel-"):
		args = []string{"test", "./internal/sim", "-count=1", "-timeout", "20m", "-run", "TestChannels", "-seeds", fmt.Sprint(seeds)}
	}
	command := exec.Command("go", args...)
	command.Dir = module
	out, err := command.CombinedOutput()
	switch caught := violation(string(out)); {
	case patch == "" && err != nil:
		t.Fatalf("the unbroken copy fails: %s", out)
	case patch == "":
	case err == nil || caught == nil:
		t.Errorf("%s is not caught: %s\n%s", name, why, tail(string(out), 20))
		return fmt.Sprintf("%-30s %-9s %5s %5s  %s", name, "NONE", "", "", why)
	default:
		return fmt.Sprintf("%-30s %-9s %5s %5s  %s", name, caught[1], caught[2], caught[3], why)
	}
	return ""
}

// violation finds the first report of an oracle, or of a script, in the output of a test.
func violation(out string) []string {
	if m := regexp.MustCompile(`violation: oracle=(\S+) seed=(\d+) nodes=(\d+)`).FindStringSubmatch(out); m != nil {
		return m
	}
	if m := regexp.MustCompile(`script (\S+): differs`).FindStringSubmatch(out); m != nil {
		return []string{m[0], "script", m[1], ""}
	}
	return nil
}

func run(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	command := exec.Command(name, args...)
	command.Dir = dir
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

func tail(s string, lines int) string {
	all := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
