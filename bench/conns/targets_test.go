package conns

import (
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/bench"
)

// TestRows: every figure has a unit, a name of its own, and targets that make sense.
func TestRows(t *testing.T) {
	var report bench.Report
	run := bench.Run{}
	for _, r := range rows() {
		f := r.figure()
		f.Rounds = []bench.Round{{Value: 1, Peer: 1}}
		run.Figures = append(run.Figures, f)
		require.Contains(t, units, r.thing)
	}
	report.Runs = []bench.Run{run}
	require.NoError(t, report.Check())
}
