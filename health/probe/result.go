package probe

import (
	"errors"
	"net"
	"os"
	"syscall"

	"usvs/health"
)

// ErrLocal says that an attempt could not be made, by no fault of the server.
var ErrLocal = errors.New("not sent")

var errNoTarget = errors.New("no address to look at")

func localError(err error) health.Result {
	return health.Result{Outcome: health.LocalError, Reason: cause(err).Error()}
}

// cause is an error without the addresses that package net puts in front.
func cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		return op.Err
	}
	return err
}

func isTimeout(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, syscall.ETIMEDOUT) || timeoutError(err)
}

// timeoutError is how package net says that a dialer's time is over.
func timeoutError(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// isLocal reports whether an attempt to connect failed before anything was
// sent, or for want of local ports: not the server's fault.
func isLocal(err error) bool {
	if errors.Is(err, ErrLocal) {
		return true
	}
	var call *os.SyscallError
	if !errors.As(err, &call) {
		return false
	}
	return call.Syscall != "connect" || errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EADDRINUSE)
}
