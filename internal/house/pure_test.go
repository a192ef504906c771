package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// ambient is what draws on the world behind the arguments: the machine's clock,
// its timers, randomness without a seed.
var ambient = map[string][]string{
	"time":         {"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"},
	"math/rand/v2": {"Int", "IntN", "Int32", "Int32N", "Int64", "Int64N", "Uint", "UintN", "Uint32", "Uint32N", "Uint64", "Uint64N", "N", "Float32", "Float64", "NormFloat64", "ExpFloat64", "Perm", "Shuffle"},
	"hash/maphash": {"MakeSeed", "Bytes", "String", "Comparable"},
}

// keepsTime are the core packages that wait and read the clock for the others, and
// what they start to do so.
var keepsTime = []string{"clock", "link"}

// TestCoreTakesTimeAndRandomness: they come in as arguments, and nothing goes on
// behind the caller's back.
func TestCoreTakesTimeAndRandomness(t *testing.T) {
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, "usvs/")
		if !slices.Contains(core, name) || slices.Contains(keepsTime, name) {
			continue
		}
		for _, file := range p.GoFiles {
			fset := token.NewFileSet()
			f, err := parser.ParseFile(fset, filepath.Join(p.Dir, file), nil, parser.SkipObjectResolution)
			require.NoError(t, err)
			for _, wrong := range impurities(fset, f) {
				t.Error(wrong)
			}
		}
	}
}

// impurities is what a file does that it should be told or leave to its caller.
func impurities(fset *token.FileSet, f *ast.File) (all []string) {
	imported := map[string]string{} // by the name it has in the file
	for _, spec := range f.Imports {
		path := strings.Trim(spec.Path.Value, `"`)
		name := strings.TrimSuffix(path, "/v2")
		name = name[strings.LastIndex(name, "/")+1:]
		if spec.Name != nil {
			name = spec.Name.Name
		}
		imported[name] = path
	}
	found := func(n ast.Node, what string) { all = append(all, fset.Position(n.Pos()).String()+": "+what) }
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			found(n, "the core starts no goroutine")
		case *ast.SelectorExpr:
			x, _ := n.X.(*ast.Ident)
			switch {
			case n.Sel.Name == "Go":
				found(n, "the core starts no goroutine")
			case x != nil && slices.Contains(ambient[imported[x.Name]], n.Sel.Name):
				found(n, x.Name+"."+n.Sel.Name+": time and randomness come in as arguments")
			}
		}
		return true
	})
	return all
}

func TestImpurities(t *testing.T) {
	const src = `package p
import ("math/rand/v2"; clock "time")
func f(wg interface{ Go(func()) }, r *rand.Rand) {
	go f(nil, nil)
	wg.Go(nil)
	_ = clock.Now().Add(clock.Second)
	_ = rand.IntN(r.IntN(3))
}`
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "p.go", src, 0)
	require.NoError(t, err)
	require.Equal(t, []string{
		"p.go:4:2: the core starts no goroutine",
		"p.go:5:2: the core starts no goroutine",
		"p.go:6:6: clock.Now: time and randomness come in as arguments",
		"p.go:7:6: rand.IntN: time and randomness come in as arguments",
	}, impurities(fset, f))
}
