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

const goodScenario = `# Two machines.
switch lan
client a lan 10.0.0.1/24
server b lan 10.0.0.2/24
http a -> 10.0.0.2:80 x3
expect answered b 3
`

// sim runs usvs sim on one scenario.
func sim(t *testing.T, text string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "two.txt")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	var out, errs bytes.Buffer
	cmd := newSimCmd()
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	cmd.SetArgs(append(args, path))
	err := cmd.Execute()
	if e, ok := err.(exitStatus); ok {
		return out.String(), errs.String(), int(e)
	}
	if err != nil {
		return out.String(), err.Error(), -1
	}
	return out.String(), errs.String(), 0
}

func TestSimPasses(t *testing.T) {
	out, _, code := sim(t, goodScenario, "--seeds", "1..3")
	require.Zero(t, code)
	require.Equal(t, 3, strings.Count(out, "ok    two"))
	require.Contains(t, out, "3 passed, 0 failed, 0 skipped")
}

func TestSimFailureSaysHowToRepeatIt(t *testing.T) {
	out, _, code := sim(t, strings.Replace(goodScenario, "b 3", "b 2", 1), "--seed", "7")
	require.Equal(t, exitScenarioFailed, code)
	require.Contains(t, out, "two.txt:6: b answered 3 requests, not 2: b 3")
	require.Contains(t, out, "expect answered b 2")
	require.Contains(t, out, "again: usvs sim --seed 7 ")
}

func TestSimJSON(t *testing.T) {
	out, _, code := sim(t, strings.Replace(goodScenario, "b 3", "b 2", 1), "--json")
	require.Equal(t, exitScenarioFailed, code)
	var v verdictJSON
	require.NoError(t, json.Unmarshal([]byte(out), &v))
	require.Equal(t, "fail", v.Outcome)
	require.Equal(t, 6, v.Line)
	require.Equal(t, 3, v.Requests)
	require.NotEmpty(t, v.Replay)
}

func TestSimPcap(t *testing.T) {
	dir := t.TempDir()
	_, _, code := sim(t, goodScenario, "--pcap", dir)
	require.Zero(t, code)
	b, err := os.ReadFile(filepath.Join(dir, "two-1.pcapng"))
	require.NoError(t, err)
	require.Equal(t, []byte{0x0a, 0x0d, 0x0d, 0x0a}, b[:4])
}

func TestSimRefuses(t *testing.T) {
	for name, args := range map[string][]string{
		"there are sim, netns, ipvs": {"--world", "mars"},
		"want a range":               {"--seeds", "5..1"},
		"one scenario with one seed": {"--seeds", "1..2", "--html", "x.html"},
		"are for --world sim":        {"--world", "netns", "--ladder"},
	} {
		_, msg, code := sim(t, goodScenario, args...)
		require.Equal(t, -1, code)
		require.Contains(t, msg, name)
	}
	_, msg, _ := sim(t, "# nothing\nfly away\n")
	require.Contains(t, msg, "two.txt:2: \"fly\" is neither")
}

func TestSimFollows(t *testing.T) {
	_, steps, code := sim(t, goodScenario, "--verbose")
	require.Zero(t, code)
	require.Contains(t, steps, "0.000s  http a -> 10.0.0.2:80 x3\n             -> b 3\n")
}

func TestSimShows(t *testing.T) {
	page := filepath.Join(t.TempDir(), "page.html")
	out, _, code := sim(t, goodScenario, "--ladder", "--html", page)
	require.Zero(t, code)
	require.Contains(t, out, "ok    two")
	require.Contains(t, out, "10.0.0.2:80")
	b, err := os.ReadFile(page)
	require.NoError(t, err)
	require.Contains(t, string(b), "Two machines. (two, seed 1)")
	require.Contains(t, string(b), "</html>")
}
