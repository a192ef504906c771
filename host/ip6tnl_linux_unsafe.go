//go:build linux

package host

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ip6TunnelParams is the kernel's struct ip6_tnl_parm of linux/ip6_tunnel.h.
type ip6TunnelParams struct {
	name                  [unix.IFNAMSIZ]byte
	link                  int32
	proto, limit, hops, _ uint8
	flow, flags           uint32
	local, remote         [16]byte
}

// ifreqPointer is a struct ifreq that points to an argument.
type ifreqPointer struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [16]byte // the kernel copies a whole ifreq, whose union is larger
}

const (
	changeTunnel = 0x89f0 + 3 // SIOCCHGTUNNEL: netlink cannot change ip6tnl0 before Linux 6.13
	ip6tnl0      = "ip6tnl0"
)

// setIP6TunnelProtocol makes ip6tnl0 unpack packets of one protocol, or of any
// if that is 0.
func setIP6TunnelProtocol(proto uint8) error {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open an IPv6 socket: %w", err)
	}
	defer unix.Close(fd)
	params := ip6TunnelParams{proto: proto}
	req := ifreqPointer{data: unsafe.Pointer(&params)}
	copy(params.name[:], ip6tnl0)
	copy(req.name[:], ip6tnl0)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), changeTunnel, uintptr(unsafe.Pointer(&req))); errno != 0 {
		return fmt.Errorf("set the protocol of %s: %w", ip6tnl0, errno)
	}
	return nil
}
