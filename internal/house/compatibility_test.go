package house

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
	"usvs/ipvsadm"
)

// row is a line of docs/compatibility.md.
type row struct{ what, verdict, proof string }

func compatibility(t *testing.T) (rows []row) {
	t.Helper()
	doc, err := os.ReadFile("../../docs/compatibility.md")
	require.NoError(t, err)
	for line := range strings.Lines(string(doc)) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 5 || strings.HasPrefix(cells[1], "---") || strings.TrimSpace(cells[2]) == "" {
			continue
		}
		rows = append(rows, row{strings.TrimSpace(cells[1]), strings.TrimSpace(cells[2]), strings.TrimSpace(cells[3])})
	}
	require.NotEmpty(t, rows)
	return rows
}

// TestCompatibilityIsProved: every row has a verdict and names proofs that exist.
func TestCompatibilityIsProved(t *testing.T) {
	for _, r := range compatibility(t) {
		require.Contains(t, []string{"works", "differs", "missing"}, r.verdict, r.what)
		for _, proof := range strings.Split(r.proof, ", ") {
			require.True(t, exists(t, proof), "%s: there is no %q", r.what, proof)
		}
	}
}

// exists reports whether a recording or a test of a package is there.
func exists(t *testing.T, proof string) bool {
	t.Helper()
	pkg, test, ok := strings.Cut(proof, ".Test")
	if !ok {
		_, err := os.Stat(filepath.Join("..", "..", "testdata", "oracle", proof))
		return err == nil
	}
	files, err := filepath.Glob(filepath.Join("..", "..", pkg, "*_test.go"))
	require.NoError(t, err)
	return slices.ContainsFunc(files, func(file string) bool {
		src, err := os.ReadFile(file)
		return err == nil && bytes.Contains(src, []byte("\nfunc Test"+test+"(t *testing.T)"))
	})
}

// TestCompatibilityIsComplete: whatever ipvsadm's help names, every scheduler
// and every setting has a row.
func TestCompatibilityIsComplete(t *testing.T) {
	var named strings.Builder
	for _, r := range compatibility(t) {
		named.WriteString(r.what + "\n")
	}
	var help bytes.Buffer
	ipvsadm.Run([]string{"ipvsadm", "--help"}, nil, nil, nil, &help, &help)
	want := regexp.MustCompile(`--[a-z][a-z0-9-]+`).FindAllString(help.String(), -1)
	require.Contains(t, want, "--add-service")
	want = append(want, strings.Split(regexp.MustCompile(`one of (rr\|[a-z|]+)`).FindStringSubmatch(help.String())[1], "|")...)
	want = append(want, "twos")
	want = append(want, ipvs.SysctlKeys()...)
	for _, word := range want {
		require.Contains(t, named.String(), "`"+word+"`")
	}
}
