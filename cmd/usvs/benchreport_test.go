package main

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/bench"
)

func TestBenchReport(t *testing.T) {
	figure := func(name string, v float64) bench.Figure {
		return bench.Figure{Group: "g", Name: name, Unit: "ns", Better: bench.Lower, Rounds: []bench.Round{{Value: v}}}
	}
	one, two, joined := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "joined")
	require.NoError(t, (&bench.Report{Runs: []bench.Run{{Figures: []bench.Figure{figure("a", 1), figure("b", 2)}}}}).Save(one))
	require.NoError(t, (&bench.Report{Runs: []bench.Run{{Figures: []bench.Figure{figure("b", 3)}}}}).Save(two))
	_, _, err := usvsBench(t, "report", one, two, "--out", joined)
	require.NoError(t, err)
	r, err := bench.Load(joined)
	require.NoError(t, err)
	require.Len(t, r.Figures(), 2)
	require.Equal(t, 3.0, r.Figures()[1].Result().Median, "the last counts")
	out, _, err := usvsBench(t, "report", joined)
	require.NoError(t, err)
	require.Contains(t, out, "3 ns")
	_, _, err = usvsBench(t, "report", t.TempDir())
	require.ErrorContains(t, err, "has no results.json")
}
