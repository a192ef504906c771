package frames

import (
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/bench"
)

// TestScenes: every figure has a name of its own and targets that make sense,
// with another usvs and without.
func TestScenes(t *testing.T) {
	p := probe{offered: 1, delivered: 1, cpu: 1}
	measured := result{ladder{best: 1, sustained: p}, 1}
	for _, rival := range []string{"", "/other/usvs-old"} {
		o := &bench.Options{Full: true, Rival: rival}
		var run bench.Run
		for _, sc := range scenes() {
			for _, w := range rowsOf(o, &sc) {
				w.values = []pair{{measured, measured}}
				run.Figures = append(run.Figures, figures(o, []*row{w})...)
			}
		}
		report := bench.Report{Runs: []bench.Run{run}}
		require.NoError(t, report.Check())
		require.Greater(t, len(run.Figures), 50)
	}
}

// TestOnly: what is not asked for is not measured.
func TestOnly(t *testing.T) {
	o := &bench.Options{Only: regexp.MustCompile("1k flows, pinned, ring$")}
	n := 0
	for _, sc := range scenes() {
		n += len(rowsOf(o, &sc))
	}
	require.Equal(t, 1, n)
}
