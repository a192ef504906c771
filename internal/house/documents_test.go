package house

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// goFile is a file that a package comment names: alone, "a, b.go" is one.
var goFile = regexp.MustCompile(`(?:^|[ \t(])([\w*]+\.go)\b`)

// TestPackageComments: every package has one, and the files it names exist.
func TestPackageComments(t *testing.T) {
	for _, p := range packages(t) {
		text := ""
		for _, name := range p.GoFiles {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.PackageClauseOnly|parser.ParseComments)
			require.NoError(t, err)
			text += f.Doc.Text()
		}
		if text == "" {
			t.Errorf("%s has no package comment: it says what the package does and must not do", p.ImportPath)
		}
		for _, m := range goFile.FindAllStringSubmatch(text, -1) {
			found, err := filepath.Glob(filepath.Join(p.Dir, m[1]))
			require.NoError(t, err)
			if len(found) == 0 {
				t.Errorf("%s: its package comment names %s, which does not exist", p.ImportPath, m[1])
			}
		}
	}
}

var quoted = regexp.MustCompile("`([a-z]+(?:/[a-z]+)*)`")

// TestArchitectureHasEveryPackage: those in the table's first column exist, and
// no other exists that the table does not name.
func TestArchitectureHasEveryPackage(t *testing.T) {
	doc, err := os.ReadFile("../../ARCHITECTURE.md")
	require.NoError(t, err)
	named := map[string]bool{}
	for line := range strings.Lines(string(doc)) {
		first, _, ok := strings.Cut(strings.TrimPrefix(line, "| "), " |")
		if !ok || !strings.HasPrefix(first, "`") {
			continue
		}
		for _, m := range quoted.FindAllStringSubmatch(line, -1) {
			named[m[1]] = true
		}
		for _, m := range quoted.FindAllStringSubmatch(first, -1) {
			require.DirExists(t, filepath.Join("../..", m[1]))
		}
	}
	for _, p := range packages(t) {
		if name := strings.TrimPrefix(p.ImportPath, "usvs/"); !named[name] {
			t.Errorf("ARCHITECTURE.md does not list package %s", name)
		}
	}
}

var (
	link    = regexp.MustCompile(`\]\(([^)#:]*)(#[^)]*)?\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	notID   = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// TestLinks: what documents link to exists, sections too.
func TestLinks(t *testing.T) {
	for _, pattern := range []string{"*.md", "docs/*.md", "bench/*.md"} {
		files, err := filepath.Glob(filepath.Join("../..", pattern))
		require.NoError(t, err)
		for _, file := range files {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			for _, m := range link.FindAllStringSubmatch(string(text), -1) {
				require.NoError(t, reach(file, m[1], strings.TrimPrefix(m[2], "#")), file)
			}
		}
	}
}

// reach follows a link to a file, and to the section of it that is called so.
func reach(from, to, section string) error {
	if to != "" {
		from = filepath.Join(filepath.Dir(from), to)
	}
	if section == "" {
		_, err := os.Stat(from)
		return err
	}
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	for _, m := range heading.FindAllStringSubmatch(string(text), -1) {
		id := strings.ReplaceAll(notID.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-")
		if id == section {
			return nil
		}
	}
	return fmt.Errorf("%s has no section %q", from, section)
}

// TestMakeTargets: what documents tell people to make can be made.
func TestMakeTargets(t *testing.T) {
	makefile, err := os.ReadFile("../../Makefile")
	require.NoError(t, err)
	files, err := filepath.Glob("../../docs/*.md")
	require.NoError(t, err)
	for _, file := range append(files, "../../README.md", "../../CONTRIBUTING.md", "../../ARCHITECTURE.md", "../../.ci/run") {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, m := range regexp.MustCompile("(?m)(?:^ *|`|&& |\" )make ([a-z]+)").FindAllStringSubmatch(string(text), -1) {
			require.True(t, strings.Contains(string(makefile), "\n"+m[1]+":"), "%s: there is no make %s", file, m[1])
		}
	}
}

// TestNamedTestsExist: a test that is asked for by a name that it has no longer is
// not run, and nobody notices.
func TestNamedTestsExist(t *testing.T) {
	var sources strings.Builder
	for _, p := range packages(t) {
		files, err := filepath.Glob(filepath.Join(p.Dir, "*_test.go"))
		require.NoError(t, err)
		for _, file := range files {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			sources.Write(text)
		}
	}
	for _, file := range []string{"../../Makefile", "../../.ci/run"} {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, name := range regexp.MustCompile(`\bTest[A-Z]\w+`).FindAllString(string(text), -1) {
			require.True(t, strings.Contains(sources.String(), "\nfunc "+name), "%s: there is no %s", file, name)
		}
	}
}

// TestRaceLeavesOutOneGoroutine: names that make race leaves out, in any package,
// are of tests in which nothing could be detected.
func TestRaceLeavesOutOneGoroutine(t *testing.T) {
	makefile, err := os.ReadFile("../../Makefile")
	require.NoError(t, err)
	m := regexp.MustCompile(`(?m)^RACE_SINGLE = (.+)$`).FindSubmatch(makefile)
	require.NotNil(t, m)
	single, found := regexp.MustCompile("^("+string(m[1])+")$"), 0
	for _, p := range packages(t) {
		files, err := filepath.Glob(filepath.Join(p.Dir, "*_test.go"))
		require.NoError(t, err)
		for _, file := range files {
			f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
			require.NoError(t, err)
			for _, d := range f.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && single.MatchString(fn.Name.Name) {
					found++
					require.False(t, startsGoroutine(fn), "%s: %s starts a goroutine, but make race leaves it out", file, fn.Name)
				}
			}
		}
	}
	require.Positive(t, found)
}

// startsGoroutine reports whether a test does so itself.
func startsGoroutine(fn *ast.FuncDecl) (starts bool) {
	ast.Inspect(fn, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			starts = true
		case *ast.SelectorExpr:
			starts = starts || n.Sel.Name == "Go" || n.Sel.Name == "RunParallel"
		}
		return !starts
	})
	return starts
}
