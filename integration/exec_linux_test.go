package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/link/netnstest"
)

// systemPath is where Debian has its programs.
const systemPath = "/usr/sbin:/usr/bin:/sbin:/bin"

// testProgram is a program of the tests' own, which the test binary is when
// programEnv names one. It returns its exit status.
func testProgram(name string) int {
	switch name {
	case "shell":
		return serveShell(os.Stdin, os.Stdout)
	case "moby", "vishvananda":
		return runClient(name)
	}
	fmt.Fprintf(os.Stderr, "no test program %q\n", name)
	return 1
}

// ownProgram is the environment that makes the test binary a test program. The
// race detector would otherwise linger a second at the end of each.
func ownProgram(name string) []string {
	return append(os.Environ(), programEnv+"="+name, "GORACE=atexit_sleep_ms=0")
}

// wrapped is a command line that runs another through `usvs exec`.
func wrapped(words ...string) []string {
	return append([]string{program(), "exec", "--"}, words...)
}

// outcome is all that a command lets the world see.
type outcome struct {
	Out, Err string
	Status   int // 128 and the signal's number for a command that a signal ended
}

// outcomeOf runs a command to its end.
func outcomeOf(cmd *exec.Cmd) (outcome, error) {
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = nil
	}
	o := outcome{Out: out.String(), Err: errs.String()}
	if cmd.ProcessState != nil {
		o.Status = exitStatus(cmd.ProcessState)
	}
	return o, err
}

// exitStatus is how a shell would number the end of a process.
func exitStatus(s *os.ProcessState) int {
	if w := s.Sys().(syscall.WaitStatus); w.Signaled() {
		return 128 + int(w.Signal())
	}
	return s.ExitCode()
}

// runIn runs a command in the namespace.
func runIn(t *testing.T, ns *netnstest.Namespace, words ...string) outcome {
	t.Helper()
	var o outcome
	var err error
	ns.Do(func() { o, err = outcomeOf(exec.Command(words[0], words[1:]...)) })
	require.NoError(t, err, "%s# %s", ns.Name(), strings.Join(words, " "))
	return o
}

// serveShell is the test program that runs lines with /bin/sh: JSON strings in,
// outcomes out.
func serveShell(in io.Reader, out io.Writer) int {
	lines, answers := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var line string
		if err := lines.Decode(&line); err != nil {
			return 0
		}
		o, err := outcomeOf(exec.Command("/bin/sh", "-c", line))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		if err := answers.Encode(o); err != nil {
			return 1
		}
	}
}

// shell is a running shell program.
type shell struct {
	proc    *netnstest.Process
	lines   *json.Encoder
	answers *json.Decoder
}

// startShell starts the shell program in a namespace, in a directory of its
// own, behind other words (such as those of `usvs exec --`), with PATH path.
func startShell(t *testing.T, ns *netnstest.Namespace, path string, before ...string) *shell {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	words := append(before, self)
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Dir = t.TempDir() // for files that lines write
	cmd.Env = append(ownProgram("shell"), "PATH="+path)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	s := &shell{lines: json.NewEncoder(in), answers: json.NewDecoder(out)}
	s.proc = ns.StartCmd(cmd)
	t.Cleanup(func() { in.Close() })
	return s
}

// run runs a line.
func (s *shell) run(t *testing.T, line string) outcome {
	t.Helper()
	var o outcome
	require.NoError(t, s.lines.Encode(line), "%s: %s", line, s.proc.Output())
	require.NoError(t, s.answers.Decode(&o), "%s: %s", line, s.proc.Output())
	return o
}
