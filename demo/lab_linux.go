package demo

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// lab is the network of one scene: a namespace per machine, and one for the
// switch they are plugged into.
type lab struct {
	machines map[string]*namespace
	plug     *namespace // the switch
	ports    int        // of the switch, so far
}

// namespace is a network namespace. It lives as long as somebody holds it.
type namespace struct {
	name string
	file *os.File
	nl   *netlink.Handle
}

// buildLab makes the scene's network.
func buildLab(s *scene) (_ *lab, err error) {
	l := &lab{machines: map[string]*namespace{}}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if l.plug, err = newNamespace("switch"); err != nil {
		return nil, err
	}
	for _, m := range s.all() {
		if err := l.addMachine(m); err != nil {
			return nil, fmt.Errorf("%s: %w", m.name, err)
		}
	}
	return l, nil
}

// close lets go of the namespaces; those without processes vanish.
func (l *lab) close() {
	for _, ns := range l.machines {
		ns.close()
	}
	if l.plug != nil {
		l.plug.close()
	}
}

func (l *lab) addMachine(m machine) error {
	ns, err := newNamespace(m.name)
	if err != nil {
		return err
	}
	l.machines[m.name] = ns
	if m.router {
		if err := ns.sysctl("net/ipv4/ip_forward", "1"); err != nil {
			return err
		}
	}
	for i, n := range m.nics {
		if err := l.connect(ns, fmt.Sprintf("eth%d", i), n); err != nil {
			return err
		}
	}
	return ns.setGateway(m.gateway)
}

// connect gives a machine an interface whose other end is a port of the
// switch, in the bridge of its LAN.
func (l *lab) connect(ns *namespace, name string, n nic) error {
	bridge, err := l.bridge(n.lan)
	if err != nil {
		return err
	}
	l.ports++
	port := fmt.Sprintf("port%d", l.ports)
	mac := n.mac()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	attrs.HardwareAddr = net.HardwareAddr(mac[:])
	pair := &netlink.Veth{LinkAttrs: attrs, PeerName: port, PeerNamespace: netlink.NsFd(l.plug.fd())}
	if err := ns.nl.LinkAdd(pair); err != nil {
		return fmt.Errorf("make a veth pair: %w", explain(err))
	}
	far, err := l.plug.nl.LinkByName(port)
	if err != nil {
		return err
	}
	if err := errors.Join(l.plug.nl.LinkSetMaster(far, bridge), l.plug.nl.LinkSetUp(far)); err != nil {
		return fmt.Errorf("plug %s into the switch: %w", name, err)
	}
	return ns.setUp(name, n.addr)
}

// bridge is the bridge of a LAN, made when it is first asked for.
func (l *lab) bridge(lan string) (netlink.Link, error) {
	if link, err := l.plug.nl.LinkByName(lan); err == nil {
		return link, nil
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = lan
	bridge := &netlink.Bridge{LinkAttrs: attrs}
	if err := l.plug.nl.LinkAdd(bridge); err != nil {
		return nil, fmt.Errorf("make a bridge: %w", explain(err))
	}
	return bridge, l.plug.nl.LinkSetUp(bridge)
}

// explain adds what an operator can do about missing kernel parts and permits.
func explain(err error) error {
	switch {
	case errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("%w (this kernel has no such interfaces, or may not load the module: try modprobe -a veth bridge)", err)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.ENOSPC): // ENOSPC: more namespaces than the limit
		return fmt.Errorf("%w. %s", err, permitAdvice)
	}
	return err
}

// newNamespace makes a network namespace with its loopback up, and with the
// settings a plain host has, whatever the machine's own are.
func newNamespace(name string) (ns *namespace, err error) {
	err = inThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace: %w", explain(err))
		}
		ns, err = currentNamespace(name)
		return err
	})
	return ns, err
}

// currentNamespace takes hold of the calling thread's new namespace.
func currentNamespace(name string) (*namespace, error) {
	file, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, err
	}
	ns := &namespace{name: name, file: file}
	if ns.nl, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		file.Close()
		return nil, err
	}
	lo, err := ns.nl.LinkByName("lo")
	if err == nil {
		err = ns.nl.LinkSetUp(lo)
	}
	if err != nil {
		ns.close()
		return nil, fmt.Errorf("set up the loopback interface: %w", explain(err))
	}
	plainSettings()
	return ns, nil
}

// plainSettings undoes what the machine's own settings, which some kernels copy
// into new namespaces, would change in the demo. What cannot be written is left:
// mostly it has the right value, and if not, the demo shows it.
func plainSettings() {
	for _, conf := range []string{"all", "default"} {
		for _, key := range []string{"rp_filter", "arp_ignore", "arp_announce", "arp_filter", "send_redirects", "forwarding"} {
			_ = os.WriteFile("/proc/sys/net/ipv4/conf/"+conf+"/"+key, []byte("0"), 0)
		}
		_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+conf+"/disable_ipv6", []byte("1"), 0)
	}
}

func (ns *namespace) close() {
	ns.nl.Close()
	ns.file.Close()
}

func (ns *namespace) fd() int { return int(ns.file.Fd()) }

// do calls f on a thread that is in the namespace.
func (ns *namespace) do(f func() error) error {
	return inThread(func() error {
		if err := unix.Setns(ns.fd(), unix.CLONE_NEWNET); err != nil {
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

func (ns *namespace) sysctl(key, value string) error {
	return ns.do(func() error { return os.WriteFile("/proc/sys/"+key, []byte(value), 0) })
}

func (ns *namespace) setUp(name string, prefix netip.Prefix) error {
	link, err := ns.nl.LinkByName(name)
	if err != nil {
		return err
	}
	addr := &netlink.Addr{IPNet: &net.IPNet{
		IP:   prefix.Addr().AsSlice(),
		Mask: net.CIDRMask(prefix.Bits(), prefix.Addr().BitLen()),
	}}
	if err := errors.Join(ns.nl.AddrAdd(link, addr), ns.nl.LinkSetUp(link)); err != nil {
		return fmt.Errorf("set up %s: %w", name, err)
	}
	return nil
}

func (ns *namespace) setGateway(gw netip.Addr) error {
	if !gw.IsValid() {
		return nil
	}
	if err := ns.nl.RouteAdd(&netlink.Route{Gw: net.IP(gw.AsSlice())}); err != nil {
		return fmt.Errorf("add the default route: %w", err)
	}
	return nil
}

// dial connects from the namespace to a numeric address, with a port of our
// own if fromPort is not 0.
func (ns *namespace) dial(network, addr string, fromPort int) (conn net.Conn, err error) {
	d := net.Dialer{Timeout: requestTimeout}
	if fromPort != 0 {
		d.LocalAddr = &net.TCPAddr{Port: fromPort}
	}
	err = ns.do(func() error {
		conn, err = d.Dial(network, addr)
		return err
	})
	return conn, err
}
