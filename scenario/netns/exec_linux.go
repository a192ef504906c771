package netns

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"time"

	"usvs/link/netlab"
	"usvs/scenario"
	"usvs/sysctl"
)

// execPatience bounds a command.
const execPatience = 30 * time.Second

// Exec runs a command line on a machine and waits for its end.
func (w *World) Exec(node, command string, stdin []byte) (scenario.Output, error) {
	words, err := split(command)
	if err != nil {
		return scenario.Output{}, err
	}
	cmd := w.command(words)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &out, &errs
	p, err := w.machines[node].ns.Start(cmd)
	if err != nil {
		return scenario.Output{}, err
	}
	select {
	case <-p.Done():
	case <-time.After(execPatience):
		p.Stop()
		return scenario.Output{}, fmt.Errorf("%s$ %s: not done after %v", node, command, execPatience)
	}
	w.settle()
	result := scenario.Output{Stdout: out.String(), Stderr: errs.String()}
	var exit *exec.ExitError
	switch err := p.Err(); {
	case errors.As(err, &exit):
		result.Exit = exit.ExitCode()
	case err != nil:
		return result, err
	}
	return result, nil
}

// command is this program for what it can be called, unless the kernel is the
// director, and the system's for everything else.
func (w *World) command(words []string) *exec.Cmd {
	director := []string{"ipvsadm", "iptables", "ip6tables"}
	if slices.ContainsFunc(words, sysctl.Ours) {
		director = append(director, "sysctl")
	}
	companions := []string{"ipvsadm-save", "ipvsadm-restore"}
	switch {
	case words[0] == "usvs" && w.kernel && len(words) > 1 && slices.Contains(append(director, companions...), words[1]):
		return exec.Command(words[1], words[2:]...)
	case words[0] == "usvs":
		return netlab.Self("usvs", words[1:]...)
	case !w.kernel && slices.Contains(companions, words[0]):
		return netlab.Self(words[0], words[1:]...)
	case !w.kernel && slices.Contains(director, words[0]):
		return netlab.Self("usvs", words...)
	case w.kernel && w.legacy && slices.Contains(director[1:3], words[0]):
		return exec.Command(words[0]+"-legacy", words[1:]...)
	}
	return exec.Command(words[0], words[1:]...)
}
