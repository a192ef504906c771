package ipvsadm

import (
	"bufio"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// step is a recorded command with what it did.
type step struct {
	command        string
	stdout, stderr string
	status         int
}

// readRecording reads "$ command", "|stdout", "!stderr", "= status".
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
		case line == "":
		case strings.HasPrefix(line, "$ "):
			steps = append(steps, step{command: line[2:]})
		case line[0] == '|':
			steps[last].stdout += line[1:] + "\n"
		case line[0] == '!':
			steps[last].stderr += line[1:] + "\n"
		case strings.HasPrefix(line, "= "):
			steps[last].status, err = strconv.Atoi(line[2:])
			require.NoError(t, err)
		}
	}
	require.NoError(t, in.Err())
	return steps
}

// oracleNames are the names that the recordings know.
func oracleNames() book {
	return book{
		ports: map[string]uint16{
			"http/TCP": 80, "https/TCP": 443, "kerberos/TCP": 88, "http-alt/TCP": 8080, "sip/TCP": 5060,
			"domain/TCP": 53, "domain/UDP": 53, "mdns/UDP": 5353, "sip/UDP": 5060,
		},
		hosts: map[string]string{
			"www.example.test": "10.9.0.1",
			"rs1.example.test": "10.1.0.11",
			"a-real-server-with-a-long-name.example.test": "10.1.0.12",
		},
	}
}

func cutProto(key string) (name, proto string) {
	name, proto, _ = strings.Cut(key, "/")
	return name, proto
}
