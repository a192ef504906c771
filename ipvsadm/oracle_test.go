package ipvsadm

import (
	"bufio"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// step is a line of a recording: a command with what it did, or traffic.
type step struct {
	command        string // "" for traffic
	traffic        string
	stdout, stderr string
	status         int
}

// readRecording reads a file of testdata/oracle: "$ command", "|stdout",
// "!stderr", "= status"; anything else is traffic, a comment or a directive.
func readRecording(t *testing.T, path string) []step {
	file, err := os.Open(path)
	require.NoError(t, err)
	defer file.Close()
	var steps []step
	in := bufio.NewScanner(file)
	for in.Scan() {
		line := in.Text()
		last := len(steps) - 1
		switch {
		case line == "", line == "brief", strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "$ "):
			steps = append(steps, step{command: line[2:]})
		case line[0] == '|':
			steps[last].stdout += line[1:] + "\n"
		case line[0] == '!':
			steps[last].stderr += line[1:] + "\n"
		case strings.HasPrefix(line, "= "):
			steps[last].status, err = strconv.Atoi(line[2:])
			require.NoError(t, err)
		default:
			steps = append(steps, step{traffic: line})
		}
	}
	require.NoError(t, in.Err())
	return steps
}

// foreign are the recorded commands that are not ipvsadm's.
var foreign = []string{"sysctl", "modprobe", "ls", "cat /proc/"}

func isForeign(command string) bool {
	return slices.ContainsFunc(foreign, func(prefix string) bool { return strings.HasPrefix(command, prefix) })
}

// oracleNames is what names resolved to when the recordings were made; those
// with traffic were made without host names.
func oracleNames(recording string) book {
	b := book{ports: map[string]uint16{
		"http/TCP": 80, "https/TCP": 443, "kerberos/TCP": 88, "http-alt/TCP": 8080, "sip/TCP": 5060,
		"domain/TCP": 53, "domain/UDP": 53, "mdns/UDP": 5353, "sip/UDP": 5060,
	}}
	if !strings.HasPrefix(recording, "stats-") {
		b.hosts = map[string]string{
			"www.example.test": "10.9.0.1",
			"rs1.example.test": "10.1.0.11",
			"a-real-server-with-a-long-name.example.test": "10.1.0.12",
		}
	}
	return b
}

// TestOracle plays what a real ipvsadm on a real kernel was recorded doing.
func TestOracle(t *testing.T) {
	paths, err := filepath.Glob("../testdata/oracle/text/*.txt")
	require.NoError(t, err)
	require.Len(t, paths, 119)
	played, skipped := 0, 0
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".txt")
		t.Run(name, func(t *testing.T) {
			m := newModel()
			sh := &shell{backend: m, resolver: oracleNames(name), files: map[string]string{}}
			feed := &traffic{t: t, m: m, name: name}
			for _, s := range readRecording(t, path) {
				switch {
				case s.command == "":
					feed.line(s.traffic)
				case isForeign(s.command):
					skipped++
				default:
					playStep(t, sh, s)
					played++
				}
			}
		})
	}
	require.Equal(t, 8, skipped)
	t.Logf("%d commands played", played)
}

func playStep(t *testing.T, sh *shell, s step) {
	stdout, stderr, status, err := sh.run(s.command)
	require.NoError(t, err)
	require.Equal(t, s.stderr, stderr, s.command)
	require.Equal(t, s.status, status, s.command)
	require.Equal(t, ordered(s.command, s.stdout), ordered(s.command, stdout), s.command)
}

// ordered puts output whose order is that of a hash into an order: the rows
// of a connection listing, and the services of an unsorted one.
func ordered(command, out string) string {
	lines := strings.SplitAfter(out, "\n")
	switch {
	case strings.HasPrefix(out, "IPVS connection entries\n"):
		slices.Sort(lines[2:])
	case strings.Contains(command, "--nosort"):
		head, body, _ := strings.Cut(out, "InActConn\n")
		return head + "InActConn\n" + sortBlocks(strings.SplitAfter(body, "\n"))
	}
	return strings.Join(lines, "")
}

// sortBlocks sorts services, each with its servers in their own order.
func sortBlocks(lines []string) string {
	var blocks []string
	for _, line := range lines {
		if strings.HasPrefix(line, "  -> ") {
			blocks[len(blocks)-1] += line
			continue
		}
		blocks = append(blocks, line)
	}
	slices.Sort(blocks)
	return strings.Join(blocks, "")
}
