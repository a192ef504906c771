package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const goodRecording = "$ ipvsadm -A -t 10.9.0.1:80 -s rr\n= 0\n$ ipvsadm -Sn\n|-A -t 10.9.0.1:80 -s rr\n= 0\n"

// oracleDir is a folder with one recording that passes and two that fail.
func oracleDir(t *testing.T) string {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"text/good.txt":   goodRecording,
		"text/bad.txt":    strings.Replace(goodRecording, "|-A -t 10.9.0.1:80 -s rr", "|-A -t 10.9.0.1:80 -s wrr", 1),
		"fwd/odd.trace":   "nonsense\n",
		"fwd/README.txt":  "no recording",
		"fwd/x.good.pcap": "",
	} {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	return dir
}

func runOracle(t *testing.T, args ...string) (string, error) {
	c := newOracleCmd()
	var out bytes.Buffer
	c.SetOut(&out)
	c.SetErr(&out)
	c.SilenceErrors, c.SilenceUsage = true, true
	c.SetArgs(args)
	err := c.Execute()
	return out.String(), err
}

func TestOracleReport(t *testing.T) {
	dir := oracleDir(t)
	out, err := runOracle(t, dir)
	require.Equal(t, exitStatus(1), err)
	require.Equal(t, `FAIL fwd/odd
     odd.trace:1: neither a step nor an answer: "nonsense"
FAIL text/bad
     bad.txt:3: $ ipvsadm -Sn
     standard output differs (- recorded, + here)
       - -A -t 10.9.0.1:80 -s wrr
       + -A -t 10.9.0.1:80 -s rr
fwd: 0 passed, 1 failed; text: 1 passed, 1 failed; all: 1 passed, 2 failed
`, out)

	out, err = runOracle(t, "-v", "--run", "text/good", dir)
	require.NoError(t, err)
	require.Equal(t, "PASS text/good (2 steps)\ntext: 1 passed, 0 failed; all: 1 passed, 0 failed\n", out)

	// The folder of the texts itself, and a file, can be named.
	out, _ = runOracle(t, filepath.Join(dir, "text"))
	require.Contains(t, out, "all: 1 passed, 1 failed\n")
	out, err = runOracle(t, filepath.Join(dir, "text", "good.txt"))
	require.NoError(t, err)
	require.Contains(t, out, "all: 1 passed, 0 failed\n")
}

func TestOracleJSON(t *testing.T) {
	out, err := runOracle(t, "--json", oracleDir(t))
	require.Equal(t, exitStatus(1), err)
	var report oracleReport
	require.NoError(t, json.Unmarshal([]byte(out), &report))
	require.Len(t, report.Results, 3)
	require.Equal(t, 2, report.Count.Failed)
	require.Equal(t, 1, report.Count.Folders["text"].Passed)
	require.Contains(t, report.Results[0].Failed, "nonsense")
	require.Equal(t, 3, report.Results[1].Differ.Line)
	require.True(t, report.Results[2].Passed)
}

func TestOracleFolder(t *testing.T) {
	t.Setenv(oracleEnvironment, "")
	dir, err := oracleFolder()
	require.NoError(t, err)
	require.DirExists(t, dir)
	t.Setenv(oracleEnvironment, "/elsewhere")
	dir, err = oracleFolder()
	require.NoError(t, err)
	require.Equal(t, "/elsewhere", dir)
	_, err = runOracle(t)
	require.ErrorContains(t, err, "/elsewhere")

	t.Setenv(oracleEnvironment, "")
	t.Chdir(t.TempDir())
	_, err = runOracle(t)
	require.ErrorContains(t, err, "set $USVS_ORACLE")
	_, err = runOracle(t, ".")
	require.ErrorContains(t, err, "no recordings")
	_, err = runOracle(t, "--run", "(", ".")
	require.ErrorContains(t, err, "--run")
}
