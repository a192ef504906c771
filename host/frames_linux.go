package host

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Frames sends single Ethernet frames by any interface. It receives none. It
// may be used by several goroutines.
type Frames struct{ fd int }

// OpenFrames opens the socket.
func OpenFrames() (*Frames, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open a packet socket: %w", err)
	}
	return &Frames{fd}, nil
}

// Close closes the socket.
func (f *Frames) Close() error { return unix.Close(f.fd) }

// Send sends a frame with its Ethernet header.
func (f *Frames) Send(iface string, frame []byte) error {
	index, err := f.index(iface)
	if err != nil {
		return err
	}
	if err := unix.Sendto(f.fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: index}); err != nil {
		return fmt.Errorf("send by %s: %w", iface, err)
	}
	return nil
}

func (f *Frames) index(iface string) (int, error) {
	request, err := f.ask(iface, unix.SIOCGIFINDEX)
	if err != nil {
		return 0, err
	}
	return int(request.Uint32()), nil
}

// ask asks the kernel about an interface (netdevice(7)).
func (f *Frames) ask(iface string, what uint) (*unix.Ifreq, error) {
	request, err := unix.NewIfreq(iface)
	if err == nil {
		err = unix.IoctlIfreq(f.fd, what, request)
	}
	if err != nil {
		return nil, fmt.Errorf("interface %q: %w", iface, err)
	}
	return request, nil
}

// ForwardsIPv6 reports whether the host is an IPv6 router on an interface.
func ForwardsIPv6(iface string) bool {
	if strings.Contains(iface, "/") {
		return false
	}
	n, err := readSysctlInt(sysctlPath("net", "ipv6", "conf", iface, "forwarding"))
	return err == nil && n > 0
}
