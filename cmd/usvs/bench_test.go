package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/bench"
)

// TestMain makes the test binary the program that suites call again.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && slices.Contains([]string{"bench", "run", "realserver"}, os.Args[1]) {
		main()
		return
	}
	os.Exit(m.Run())
}

// TestBenchQuick: every suite that needs no privilege works, its parts included.
func TestBenchQuick(t *testing.T) {
	out, _, err := usvsBench(t, "engine", "table", "--quick")
	require.NoError(t, err)
	require.Contains(t, out, "memory, 20,000 connections, IPv4")
	require.Contains(t, out, "lookup, client to server, 10,000 flows")
	require.Contains(t, out, "DR, 1,000 flows")
}

// usvsBench runs usvs bench.
func usvsBench(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := newBenchCmd()
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	cmd.SetArgs(args)
	err = cmd.ExecuteContext(t.Context())
	return out.String(), errs.String(), err
}

func TestBenchRefuses(t *testing.T) {
	for want, args := range map[string][]string{
		`no suite "mars": there are`:      {"mars"},
		"error parsing regexp":            {"sim", "--only", "("},
		"want at least 1":                 {"sim", "--rounds", "0"},
		"no figure of sim matches --only": {"sim", "--quick", "--only", "nothing"},
		"which suites?":                   {},
	} {
		_, _, err := usvsBench(t, args...)
		require.ErrorContains(t, err, want)
	}
	_, _, err := usvsBench(t, "part", "mars", "1")
	require.ErrorContains(t, err, `no part "mars"`)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, bench.JSONFile), []byte("no"), 0o644))
	_, _, err = usvsBench(t, "sim", "--quick", "--out", dir)
	require.ErrorContains(t, err, bench.JSONFile, "before anything is measured")
}

func TestBenchWritesResults(t *testing.T) {
	dir := t.TempDir()
	out, progress, err := usvsBench(t, "sim", "--quick", "--only", "DR", "--out", dir)
	require.NoError(t, err)
	require.Contains(t, out, "figure")
	require.Contains(t, out, "frames/s")
	require.Contains(t, progress, "round 1 of 1")
	_, _, err = usvsBench(t, "sim", "--quick", "--only", "TUN", "--out", dir)
	require.NoError(t, err)
	r, err := bench.Load(dir)
	require.NoError(t, err)
	require.Len(t, r.Figures(), 3, "two of DR, TUN, and nothing lost")
	require.Contains(t, r.Runs[0].Command, "usvs ")
}

func TestBenchJSON(t *testing.T) {
	out, _, err := usvsBench(t, "sim", "--quick", "--only", "TUN", "--json")
	require.NoError(t, err)
	var r bench.Report
	require.NoError(t, json.Unmarshal([]byte(out), &r))
	require.NotZero(t, r.Runs[0].Date)
	require.NotEmpty(t, r.Runs[0].Machine.GoVersion)
}

// TestBenchStrict: a missed floor is an error only if asked for.
func TestBenchStrict(t *testing.T) {
	missed := bench.Figure{Group: "g", Name: "n", Unit: "x", Better: bench.Higher, Floor: new(2.0), Rounds: []bench.Round{{Value: 1}}}
	suite := func(figures []bench.Figure, err error) []benchSuite {
		return []benchSuite{{"fake", "", func(context.Context, *bench.Options) ([]bench.Figure, error) { return figures, err }}}
	}
	run := func(strict bool, s []benchSuite) (string, error) {
		var out, errs bytes.Buffer
		f := benchFlags{rounds: 1, strict: strict}
		err := f.run(t.Context(), s, false, &out, &errs)
		return out.String(), err
	}
	out, err := run(false, suite([]bench.Figure{missed}, nil))
	require.NoError(t, err)
	require.Contains(t, out, "below floor")
	_, err = run(true, suite([]bench.Figure{missed}, nil))
	require.Equal(t, exitStatus(exitTargetMissed), err)

	broken := errors.New("broken")
	out, err = run(false, suite([]bench.Figure{missed}, broken))
	require.ErrorIs(t, err, broken)
	require.ErrorContains(t, err, "suite fake")
	require.Contains(t, out, "below floor", "what was measured is shown all the same")
}

func TestChooseSuites(t *testing.T) {
	all, full, err := chooseSuites([]string{"sim", "all"})
	require.NoError(t, err)
	require.False(t, full)
	require.Len(t, all, len(benchSuites()))
	_, full, err = chooseSuites([]string{"full"})
	require.NoError(t, err)
	require.True(t, full)
	one, _, err := chooseSuites([]string{"sim", "sim"})
	require.NoError(t, err)
	require.Len(t, one, 1)
}
