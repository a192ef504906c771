package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	masterConf = "../../examples/keepalived/master.conf"
	backupConf = "../../examples/keepalived/backup.conf"
)

// chaosRun runs usvs chaos and returns what it prints and its exit status.
func chaosRun(t *testing.T, in string, args ...string) (out, errs string, status int) {
	t.Helper()
	return runTool(t, in, append([]string{"chaos"}, args...)...)
}

func TestChaos(t *testing.T) {
	page := filepath.Join(t.TempDir(), "page.html")
	out, _, status := chaosRun(t, "", masterConf, backupConf, "--seeds", "10", "--html", page)
	require.Zero(t, status, out)
	require.Contains(t, out, "all rules held")
	require.Contains(t, out, "10 seeds from 1")
	html, err := os.ReadFile(page)
	require.NoError(t, err)
	require.Contains(t, string(html), "the worst outage")

	out, _, status = chaosRun(t, "", masterConf, backupConf, "--seeds", "3", "--faults", "multicast", "--json")
	require.Equal(t, chaosViolated, status)
	var report struct {
		Held       bool
		Violations []struct{ Cause string }
	}
	require.NoError(t, json.Unmarshal([]byte(out), &report))
	require.False(t, report.Held)
	require.Equal(t, "multicast", report.Violations[0].Cause)
}

func TestChaosPair(t *testing.T) {
	out, _, status := chaosRun(t, "", masterConf, "--pair", "--plan")
	require.Zero(t, status)
	require.Contains(t, out, "director1-peer BACKUP priority 100")
	require.Contains(t, out, "a backup takes over within")
}

// keepalived runs by a file with mistakes, and so does chaos.
func TestChaosDoesWithoutMistakes(t *testing.T) {
	text, err := os.ReadFile(masterConf)
	require.NoError(t, err)
	name := filepath.Join(t.TempDir(), "master.conf")
	wrong := strings.Replace(string(text), "priority 150", "priority 150\n    no_such_keyword", 1)
	require.NoError(t, os.WriteFile(name, []byte(wrong), 0o600))
	out, errs, status := chaosRun(t, "", name, backupConf, "--seeds", "3")
	require.Zero(t, status, out)
	require.Contains(t, errs, "no_such_keyword")
	require.Contains(t, errs, "tried without it")
}

func TestChaosPlaysASchedule(t *testing.T) {
	out, _, status := chaosRun(t, "at 10s for 10s crash director1\n", masterConf, backupConf, "--seeds", "1", "--play", "-")
	require.Zero(t, status)
	require.Contains(t, out, "director1 is off, then starts anew")
	require.Contains(t, out, "(web) Entering MASTER STATE")
}

func TestChaosBadInput(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.conf")
	require.NoError(t, os.WriteFile(bad, []byte("global_defs {\n smtp_server\n}\n"), 0o600))
	for _, c := range []struct {
		args []string
		in   string
		want string
	}{
		{[]string{"/does/not/exist.conf"}, "", "exist.conf"},
		{[]string{bad}, "", "usvs check"},
		{[]string{masterConf, backupConf, "--pair"}, "", "--pair"},
		{[]string{masterConf, "--faults", "earthquake"}, "", "there is no \"earthquake\""},
		{[]string{masterConf, "--seeds", "0"}, "", "at least 1"},
		{[]string{masterConf, "--play", "-"}, "at noon\n", "line 1"},
		{[]string{masterConf, "--play", "-", "--seeds", "1"}, "at 1s for 1s crash nobody\n", "no nobody here"},
		{nil, "", "which configurations?"},
		{[]string{masterConf, "--seeds", "many"}, "", "--seeds"},
		{[]string{masterConf, "--seed", "18446744073709551615"}, "", "--seed"},
		{[]string{masterConf, "--nonsense"}, "", "--nonsense"},
		{[]string{masterConf, "--shrink", "-1"}, "", "--shrink"},
	} {
		_, errs, status := chaosRun(t, c.in, c.args...)
		require.Equal(t, chaosBadInput, status, "%v", c.args)
		require.Contains(t, errs, c.want)
	}
}
