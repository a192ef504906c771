package netns_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/link/netnstest"
)

// noSuchWorld is the exit status of usvs sim where a world cannot be had.
const noSuchWorld = 3

// mostSimOnly is how many scenarios may leave the real world out, besides those
// of directors that run by a keepalived.conf.
const mostSimOnly = 5

// verdict is what the test needs of a line of usvs sim --json.
type verdict struct {
	Scenario, Outcome, Error, Reason string
	Line                             int
}

// buildProgram builds usvs.
func buildProgram(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "usvs")
	out, err := exec.Command("go", "build", "-o", program, "usvs/cmd/usvs").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return program
}

// TestScenarios plays every scenario of the product with real machines.
func TestScenarios(t *testing.T) {
	netnstest.NeedCommands(t, "ip", "sysctl", "ping", "arping")
	program := buildProgram(t)
	if testing.Short() {
		play(t, program, "../../scenarios/dr-two-servers.txt")
		return
	}
	verdicts := play(t, program, "../../scenarios")
	skipped := 0
	for _, v := range verdicts {
		if v.Outcome == "skip" && !strings.Contains(v.Reason, "keepalived.conf") {
			skipped++
		}
	}
	require.GreaterOrEqual(t, len(verdicts), 30)
	require.LessOrEqual(t, skipped, mostSimOnly)
}

func play(t *testing.T, program, path string) []verdict {
	cmd := exec.Command(program, "sim", "--world", "netns", "--json", path)
	cmd.WaitDelay = time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if cmd.ProcessState.ExitCode() == noSuchWorld {
		netnstest.Skip(t, "no namespaces here: %s", stderr.String())
	}
	var verdicts []verdict
	for lines := bufio.NewScanner(&stdout); lines.Scan(); {
		var v verdict
		require.NoError(t, json.Unmarshal(lines.Bytes(), &v), "%s", lines.Text())
		verdicts = append(verdicts, v)
		if v.Outcome == "skip" {
			t.Logf("%s is not for this world: %s", v.Scenario, v.Reason)
			continue
		}
		t.Run(filepath.Base(v.Scenario), func(t *testing.T) {
			if v.Outcome != "pass" {
				t.Errorf("%s:%d: %s", v.Scenario, v.Line, v.Error)
			}
		})
	}
	if !t.Failed() {
		require.NoError(t, err, "%s", stderr.String())
	}
	return verdicts
}

// TestFailuresAreFailures plays scenarios that want what does not happen.
func TestFailuresAreFailures(t *testing.T) {
	netnstest.NeedCommands(t, "ip", "ping")
	program := buildProgram(t)
	const network = "# Two machines.\nswitch lan\nclient a lan 10.0.0.1/24\nserver b lan 10.0.0.2/24\n"
	for name, tc := range map[string]struct {
		steps, want string
		code        int
	}{
		"share":      {"http a -> 10.0.0.2:80 x3\nexpect answered b 2\n", "b answered 3 requests, not 2", 1},
		"refused":    {"http a -> 10.0.0.2:81\nexpect answered 1\n", "failed: refused 1", 1},
		"nobody":     {"ping a -> 10.0.0.9\nexpect answered 1\n", "failed:", 1},
		"frame":      {"ping a -> 10.0.0.2\nexpect no frame at b in icmp\n", "2", 1},
		"neighbour":  {"ping a -> 10.0.0.2\nexpect neighbour a 10.0.0.2 a\n", "is at b", 1},
		"command":    {"a$ ip addr add nonsense dev eth0\n", "exit status", 1},
		"no command": {"a$ no-such-program-anywhere\n", "no-such-program-anywhere", 1},
		"held": {"http a -> 10.0.0.2:80 x2 hold as h\nagain h\nexpect answered b 2\nclose h\n" +
			"udp a -> 10.0.0.2:53 x3 size 100\nexpect answered b 3\nlink b down\nudp a -> 10.0.0.2:53 timeout 200ms\n" +
			"expect failed 1\nin 100ms link b up\nwait 300ms\nping a -> 10.0.0.2\nexpect answered 1\n", "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "two.txt")
			require.NoError(t, os.WriteFile(path, []byte(network+tc.steps), 0o600))
			cmd := exec.Command(program, "sim", "--world", "netns", path)
			cmd.WaitDelay = time.Second
			out, _ := cmd.CombinedOutput()
			if cmd.ProcessState.ExitCode() == noSuchWorld {
				netnstest.Skip(t, "no namespaces here: %s", out)
			}
			require.Equal(t, tc.code, cmd.ProcessState.ExitCode(), "%s", out)
			require.Contains(t, string(out), tc.want)
		})
	}
}

// TestWorldIPVS plays a scenario where the kernel has ip_vs, and elsewhere sees
// that it says so.
func TestWorldIPVS(t *testing.T) {
	program := buildProgram(t)
	cmd := exec.Command(program, "sim", "--world", "ipvs", "../../scenarios/dr-two-servers.txt")
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() == noSuchWorld {
		require.Contains(t, string(out), "world ipvs")
		t.Logf("%s", out)
		return
	}
	require.NoError(t, err, "%s", out)
}
