package demo

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"usvs/link/netlab"
)

// patience is how long the demo waits for a process to do its part. It is a
// bound for what should never happen: everything is waited for by its effect.
const patience = 20 * time.Second

// start starts this program on a machine.
func start(ns *netlab.Namespace, args ...string) (*netlab.Process, error) {
	return ns.Start(netlab.Self("usvs", args...))
}

// run runs the program in the namespace to its end and returns what it printed.
func run(ns *netlab.Namespace, args ...string) (string, error) {
	p, err := start(ns, args...)
	if err != nil {
		return "", err
	}
	select {
	case <-p.Done():
		err = p.Err()
	case <-time.After(patience):
		p.Stop()
		err = fmt.Errorf("not done after %v", patience)
	}
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return p.Output(), fmt.Errorf("%s# usvs %s: %w\n%s", ns.Name(), strings.Join(args, " "), err, tail(p.Output()))
	}
	return p.Output(), nil
}
