//go:build !linux

package api

import (
	"net"
	"os"
)

// peerUID trusts the permissions of the socket's path where the kernel cannot
// be asked.
func peerUID(net.Conn) (int, error) { return os.Geteuid(), nil }
