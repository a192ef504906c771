package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/netsim/fuzz"
)

func fuzzed(args ...string) (string, error) {
	cmd := newSimFuzzCmd()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(args)
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	err := cmd.Execute()
	return out.String(), err
}

func TestSimFuzz(t *testing.T) {
	out, err := fuzzed("--seeds", "3", "--seed", "5")
	require.NoError(t, err)
	require.Contains(t, out, "frames by verdict")
	require.Contains(t, out, "seeds 5 and on: 3 cases")
	require.Contains(t, out, "a minute")

	_, err = fuzzed("--seeds", "-1")
	require.Error(t, err)
	_, err = fuzzed("--workers", "0")
	require.Error(t, err)
}

func TestSimFuzzPlaysACaseAgain(t *testing.T) {
	name := filepath.Join(t.TempDir(), "case.txt")
	require.NoError(t, os.WriteFile(name, []byte(fuzz.Generate(4)), 0o644))
	out, err := fuzzed("--seed", "4", name)
	require.NoError(t, err)
	require.Contains(t, out, "ok ")
	_, err = fuzzed(name + ".missing")
	require.Error(t, err)
	require.NoError(t, os.WriteFile(name, []byte("nonsense\n"), 0o644))
	_, err = fuzzed(name)
	require.Error(t, err)
}

func TestSimFuzzWritesWhatFails(t *testing.T) {
	name := filepath.Join(t.TempDir(), "case.txt")
	var out bytes.Buffer
	bad := &fuzz.Failure{Seed: 7, Violation: &fuzz.Violation{Rule: "TTL", Text: "too high"}, Case: "switch lan\n"}
	require.Equal(t, status(exitScenarioFailed), reportFuzz(&fuzzFlags{out: name}, bad, &out))
	require.Contains(t, out.String(), "again: usvs sim fuzz --seed 7 "+name)
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, "switch lan\n", string(text))
	require.NoError(t, reportFuzz(&fuzzFlags{}, nil, &out))
}
