package lab

import (
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"

	"usvs/link/netlab"
)

// packages are the Debian packages of the programs that are used.
var packages = map[string]string{"nft": "nftables", "haproxy": "haproxy", "nginx": "nginx-light and libnginx-mod-stream"}

// Missing says that a program is not installed, and which package brings it.
type Missing struct{ Program string }

func (m *Missing) Error() string {
	return fmt.Sprintf("%s is not installed (Debian: apt-get install %s)", m.Program, packages[m.Program])
}

// find returns the path of a program, of which some are not in everybody's PATH.
func find(program string) (string, error) {
	for _, name := range []string{program, "/usr/sbin/" + program, "/sbin/" + program} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", &Missing{program}
}

// output runs a program in a namespace to its end.
func output(ns *netlab.Namespace, stdin io.Reader, program string, args ...string) (string, error) {
	path, err := find(program)
	if err != nil {
		return "", err
	}
	var out []byte
	err = ns.Do(func() error {
		cmd := exec.Command(path, args...)
		cmd.Stdin = stdin
		var err error
		out, err = cmd.CombinedOutput()
		return err
	})
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%s %s: %w", program, strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out)), err
}
