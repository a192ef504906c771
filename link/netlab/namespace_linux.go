package netlab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"usvs/wire"
)

// Namespace is a network namespace. It lives as long as somebody holds it.
type Namespace struct {
	name string
	file *os.File
	nl   *netlink.Handle
}

// New makes a network namespace with its loopback up. The name is for messages.
func New(name string) (ns *Namespace, err error) {
	err = inThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace: %w", Explain(err))
		}
		ns, err = current(name)
		return err
	})
	return ns, err
}

// current takes hold of the calling thread's namespace.
func current(name string) (*Namespace, error) {
	file, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, err
	}
	ns := &Namespace{name: name, file: file}
	if ns.nl, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		file.Close()
		return nil, err
	}
	lo, err := ns.nl.LinkByName("lo")
	if err == nil {
		err = ns.nl.LinkSetUp(lo)
	}
	if err != nil {
		ns.Close()
		return nil, fmt.Errorf("set up the loopback interface: %w", Explain(err))
	}
	return ns, nil
}

// Close lets go of the namespace. It vanishes with its last process and socket.
func (ns *Namespace) Close() {
	ns.nl.Close()
	ns.file.Close()
}

// Name is the name it was made with.
func (ns *Namespace) Name() string { return ns.name }

// FD is the descriptor that holds the namespace.
func (ns *Namespace) FD() int { return int(ns.file.Fd()) }

// Netlink is a handle to the namespace's interfaces, addresses and routes.
func (ns *Namespace) Netlink() *netlink.Handle { return ns.nl }

// Do calls f on a thread that is in the namespace. Sockets that f opens and
// processes that it starts belong there; goroutines that it starts do not.
func (ns *Namespace) Do(f func() error) error {
	return inThread(func() error {
		if err := unix.Setns(ns.FD(), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter the namespace of %s: %w", ns.name, err)
		}
		return f()
	})
}

// inThread calls f on a thread of its own, which ends with f: a thread that has
// been to another namespace is not used again.
func inThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		done <- f()
	}()
	return <-done
}

// Sysctl sets a kernel parameter, by its path below /proc/sys.
func (ns *Namespace) Sysctl(path, value string) error {
	return ns.Do(func() error { return os.WriteFile("/proc/sys/"+path, []byte(value), 0) })
}

// TrySysctls sets parameters as well as may be, `path=value` each: some kernels
// lack some of them, and what cannot be written mostly has the right value.
func (ns *Namespace) TrySysctls(settings ...string) {
	_ = ns.Do(func() error {
		for _, s := range settings {
			path, value, _ := strings.Cut(s, "=")
			_ = os.WriteFile("/proc/sys/"+path, []byte(value), 0)
		}
		return nil
	})
}

// Veth makes a pair of interfaces, one in each namespace. Both are down.
func (ns *Namespace) Veth(name string, mac wire.MAC, far *Namespace, farName string) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	attrs.HardwareAddr = net.HardwareAddr(mac[:])
	pair := &netlink.Veth{LinkAttrs: attrs, PeerName: farName, PeerNamespace: netlink.NsFd(far.FD())}
	if err := ns.nl.LinkAdd(pair); err != nil {
		return fmt.Errorf("make a veth pair: %w", Explain(err))
	}
	return nil
}

// SetUp gives an interface its addresses and turns it on.
func (ns *Namespace) SetUp(name string, addrs ...netip.Prefix) error {
	link, err := ns.nl.LinkByName(name)
	if err != nil {
		return err
	}
	for _, a := range addrs {
		addr := &netlink.Addr{IPNet: &net.IPNet{
			IP:   a.Addr().AsSlice(),
			Mask: net.CIDRMask(a.Bits(), a.Addr().BitLen()),
		}}
		if a.Addr().Is6() {
			addr.Flags = unix.IFA_F_NODAD
		}
		if err := ns.nl.AddrAdd(link, addr); err != nil {
			return fmt.Errorf("set up %s: %w", name, err)
		}
	}
	if err := ns.nl.LinkSetUp(link); err != nil {
		return fmt.Errorf("set up %s: %w", name, err)
	}
	return nil
}

// SetMTU changes the MTU of an interface.
func (ns *Namespace) SetMTU(name string, mtu int) error {
	link, err := ns.nl.LinkByName(name)
	if err != nil {
		return err
	}
	return ns.nl.LinkSetMTU(link, mtu)
}

// AddGateway adds a default route.
func (ns *Namespace) AddGateway(gw netip.Addr) error {
	if err := ns.nl.RouteAdd(&netlink.Route{Gw: net.IP(gw.AsSlice())}); err != nil {
		return fmt.Errorf("add the default route: %w", err)
	}
	return nil
}

// Advice is what can be done where namespaces are forbidden.
const Advice = "Run it as root, or allow everybody's namespaces: sysctl user.max_user_namespaces above 0, " +
	"kernel.unprivileged_userns_clone=1 (Debian), kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu); " +
	"in a container: --privileged"

// Explain adds what an operator can do about missing kernel parts and permits.
func Explain(err error) error {
	switch {
	case errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("%w (this kernel has no such interfaces, or may not load the module: try modprobe -a veth bridge)", err)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.ENOSPC): // ENOSPC: more namespaces than the limit
		return fmt.Errorf("%w. %s", err, Advice)
	}
	return err
}
