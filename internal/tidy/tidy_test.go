package tidy

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// sourceFile is a parsed Go file of the module.
type sourceFile struct {
	path string // slash-separated, from the module root
	pkg  string // directory
	test bool
	ast  *ast.File
}

func TestImportsFollowTheLayers(t *testing.T) {
	rules := layers()
	for _, f := range sources(t) {
		if f.test {
			continue
		}
		rule, ok := rules.of(f.pkg)
		if !ok {
			t.Errorf("%s: package is not in the layer table of internal/tidy/layers.go", f.path)
			continue
		}
		for _, imported := range imports(f) {
			if why := rule.refuses(imported); why != "" {
				t.Errorf("%s imports %s: %s", f.path, imported, why)
			}
		}
	}
}

func TestLibrariesStayAtHome(t *testing.T) {
	homes := homes()
	for _, f := range sources(t) {
		if f.test {
			continue
		}
		for _, imported := range imports(f) {
			for library, home := range homes {
				if strings.HasPrefix(imported, library) && !slices.ContainsFunc(home, func(h string) bool { return matches(h, f.path) }) {
					t.Errorf("%s imports %s, whose home is %v", f.path, imported, home)
				}
			}
		}
	}
}

func TestPureCodeHasNoBody(t *testing.T) {
	banned := map[string]string{
		"time.Now": "clock", "time.Since": "clock", "time.After": "clock", "time.NewTimer": "clock", "time.NewTicker": "clock", "time.Sleep": "clock",
	}
	for _, f := range sources(t) {
		if f.test || !isPure(f.path) {
			continue
		}
		for _, imported := range imports(f) {
			if slices.Contains([]string{"context", "log", "log/slog", "sync", "os", "net", "net/http", "crypto/rand"}, imported) {
				t.Errorf("%s is pure and imports %s", f.path, imported)
			}
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%s is pure and starts a goroutine", f.path)
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok {
					if why := banned[x.Name+"."+n.Sel.Name]; why != "" {
						t.Errorf("%s is pure and uses %s.%s: %s", f.path, x.Name, n.Sel.Name, why)
					}
				}
			}
			return true
		})
	}
}

func TestPackagesSayWhatTheyAre(t *testing.T) {
	documented, seen := map[string]bool{}, map[string]bool{}
	for _, f := range sources(t) {
		if f.test {
			continue
		}
		seen[f.pkg] = true
		if doc := f.ast.Doc.Text(); len(doc) > 80 {
			documented[f.pkg] = true
		}
	}
	for pkg := range seen {
		if !documented[pkg] {
			t.Errorf("package %s has no comment that says what it is and what it does not do", pkg)
		}
	}
}

func TestNoGlobalsAndNoInit(t *testing.T) {
	for _, f := range sources(t) {
		if f.test {
			continue
		}
		for _, d := range f.ast.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil && d.Name.Name == "init" {
					t.Errorf("%s has an init function", f.path)
				}
			case *ast.GenDecl:
				if d.Tok == token.VAR {
					checkVars(t, f, d)
				}
			}
		}
	}
}

// checkVars allows errors, the blank identifier and embedded files.
func checkVars(t *testing.T, f sourceFile, d *ast.GenDecl) {
	for _, spec := range d.Specs {
		v := spec.(*ast.ValueSpec)
		if strings.Contains(d.Doc.Text()+v.Doc.Text()+rawComments(d, v), "go:embed") {
			continue
		}
		for _, name := range v.Names {
			if name.Name != "_" && !strings.HasPrefix(strings.ToLower(name.Name), "err") {
				t.Errorf("%s has the package variable %s", f.path, name.Name)
			}
		}
	}
}

// rawComments returns directives too, which CommentGroup.Text leaves out.
func rawComments(d *ast.GenDecl, v *ast.ValueSpec) (all string) {
	for _, g := range []*ast.CommentGroup{d.Doc, v.Doc} {
		if g == nil {
			continue
		}
		for _, c := range g.List {
			all += c.Text
		}
	}
	return all
}

func TestNoSleepingTests(t *testing.T) {
	for _, f := range sources(t) {
		if !f.test || f.pkg == "internal/tidy" {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := s.X.(*ast.Ident); ok && x.Name == "time" && s.Sel.Name == "Sleep" {
					t.Errorf("%s sleeps: step the core, use testing/synctest, or wait on a condition", f.path)
				}
			}
			return true
		})
	}
}

func TestNoVagueNames(t *testing.T) {
	for _, f := range sources(t) {
		base := path.Base(f.pkg)
		if slices.Contains([]string{"common", "utils", "util", "types", "helpers", "misc"}, base) {
			t.Errorf("package %s has a name that says nothing", f.pkg)
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if s, ok := n.(*ast.TypeSpec); ok && !f.test {
				for _, vague := range []string{"Manager", "Service", "Helper", "Util"} {
					if strings.HasSuffix(s.Name.Name, vague) {
						t.Errorf("%s: type %s: name what it is, not %q", f.path, s.Name.Name, vague)
					}
				}
			}
			return true
		})
	}
}

func TestDocsExistAndAreLinked(t *testing.T) {
	root := moduleRoot(t)
	for _, must := range []string{"README.md", "ARCHITECTURE.md", "LICENSE", "Makefile", ".ci/run"} {
		if _, err := os.Stat(filepath.Join(root, must)); err != nil {
			t.Errorf("%s is missing", must)
		}
	}
}

// sources parses all Go files of the module.
func sources(t *testing.T) (files []sourceFile) {
	t.Helper()
	root := moduleRoot(t)
	set := token.NewFileSet()
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, p)
		rel = filepath.ToSlash(rel)
		if d.IsDir() && (d.Name() == "testdata" || rel != "." && strings.HasPrefix(d.Name(), ".") || rel == "tools") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(rel, ".go") {
			return nil
		}
		f, err := parser.ParseFile(set, p, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		files = append(files, sourceFile{rel, path.Dir(rel), strings.HasSuffix(rel, "_test.go"), f})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func imports(f sourceFile) (list []string) {
	for _, i := range f.ast.Imports {
		p, _ := strconv.Unquote(i.Path.Value)
		list = append(list, p)
	}
	return list
}

func moduleRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
}
