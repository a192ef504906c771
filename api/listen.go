package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"usvs/ipvs"
	"usvs/ipvsadm"
)

// DefaultAddress is an abstract socket name: it belongs to the network
// namespace and vanishes with its server.
const DefaultAddress = "@usvs"

// Environment is the variable that names another address.
const Environment = "USVS_CONTROL"

// Address is the control socket's address: flag, else the environment, else
// DefaultAddress. One that starts with '@' is abstract, any other a path.
func Address(flag string) string {
	if flag != "" {
		return flag
	}
	if env := os.Getenv(Environment); env != "" {
		return env
	}
	return DefaultAddress
}

// ErrRunning says that the address is taken by a server that answers.
var ErrRunning = errors.New("another usvs is running")

// Listen opens the control socket at address. A path gets mode 0600, and a
// socket that was left there is removed if nobody answers on it.
func Listen(address string) (net.Listener, error) {
	if !isAbstract(address) {
		if err := clearPath(address); err != nil {
			return nil, err
		}
	}
	ln, err := net.Listen("unix", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("control socket %s: %w", address, ErrRunning)
	}
	if err != nil {
		return nil, fmt.Errorf("control socket %s: %w", address, err)
	}
	if isAbstract(address) {
		return ln, nil
	}
	if err := os.Chmod(address, 0o600); err != nil {
		ln.Close()
		return nil, fmt.Errorf("control socket %s: %w", address, err)
	}
	return ln, nil
}

func isAbstract(address string) bool { return strings.HasPrefix(address, "@") }

// clearPath makes room for a socket at path: it removes a stale one and
// refuses anything else.
func clearPath(path string) error {
	st, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	if st.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("control socket %s: there is a file that is no socket", path)
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		c.Close()
		return fmt.Errorf("control socket %s: %w", path, ErrRunning)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("control socket %s: cannot tell whether another usvs is running: %w", path, err)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	return nil
}

// nobody is the user that the kernel shows for one it cannot name here; it is
// not evidence of being the same user.
const nobody = 65534

// trusts reports whether self may obey, or believe, peer.
func trusts(self, peer int) bool {
	return peer == 0 || peer == self && peer != nobody
}

// guard is a listener that turns away who is not trusted.
type guard struct {
	net.Listener
	self int
}

// Accept returns the next connection of somebody trusted.
func (g guard) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		uid, err := peerUID(c)
		if err == nil && trusts(g.self, uid) {
			return c, nil
		}
		refuse(c)
	}
}

const refusal = "HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n" +
	`{"error":{"code":"permission","message":"permission denied"}}` + "\n"

// refuse answers without reading anything. A new connection's buffer has room
// for the answer, so that nobody can make it wait.
func refuse(c net.Conn) {
	defer c.Close()
	c.Write([]byte(refusal))
}

// dial connects to the server at address and makes sure that it is one to be
// trusted with orders, and that it will obey.
func dial(ctx context.Context, address string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", address)
	if err != nil {
		return nil, unreachable(err)
	}
	if err := checkServer(c, address, os.Geteuid()); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// checkServer makes sure of the server on the other side of c.
func checkServer(c net.Conn, address string, self int) error {
	uid, err := peerUID(c)
	switch {
	case err != nil:
		return unreachable(err)
	case !trusts(self, uid):
		return unreachable(fmt.Errorf("control socket %s belongs to user %d, neither root nor you", address, uid))
	case !trusts(uid, self):
		return unreachable(ipvs.ErrPermission)
	}
	return nil
}

// ErrNoDirector is wrapped, besides ipvsadm.ErrUnreachable, when nobody listens
// on the control socket.
//
//lint:ignore ST1005 the C library's text for it, which ipvsadm prints
var ErrNoDirector = errors.New("Protocol not available")

// unreachable says why there is no director to talk to, in the words that
// ipvsadm shows.
func unreachable(err error) error {
	switch {
	case errors.Is(err, ipvs.ErrPermission), errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: %w", ipvsadm.ErrUnreachable, ipvs.ErrPermission)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w: %w", ipvsadm.ErrUnreachable, ErrNoDirector)
	}
	return fmt.Errorf("%w: %w", ipvsadm.ErrUnreachable, err)
}
