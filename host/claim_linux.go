package host

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// errClaimed says that another process holds a claim.
var errClaimed = errors.New("in use by another process")

// claimName holds name in the network namespace until the listener is closed
// or the process ends, however it ends. It is an abstract unix socket: these
// belong to the network namespace, so that, unlike with process ids, owners
// in other containers that share it count too.
func claimName(name string) (*net.UnixListener, error) {
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: "@usvs/" + name, Net: "unix"})
	if errors.Is(err, unix.EADDRINUSE) {
		return nil, fmt.Errorf("%s: %w", name, errClaimed)
	}
	if err != nil {
		return nil, fmt.Errorf("claim %s: %w", name, err)
	}
	return ln, nil
}

// claimed reports whether a process holds name.
func claimed(name string) bool {
	ln, err := claimName(name)
	if err != nil {
		return errors.Is(err, errClaimed)
	}
	ln.Close()
	return false
}
