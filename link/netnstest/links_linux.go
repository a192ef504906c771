package netnstest

import (
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"usvs/wire"
)

const (
	dialTimeout  = 10 * time.Second
	localTimeout = 5 * time.Second
)

// Veth joins two namespaces by a pair of interfaces, and sets both up.
func (l *Lab) Veth(a *Namespace, aName string, b *Namespace, bName string) {
	l.tb.Helper()
	l.VethQueues(a, aName, b, bName, 1)
}

// VethQueues is Veth with several queues in each direction.
func (l *Lab) VethQueues(a *Namespace, aName string, b *Namespace, bName string, queues int) {
	l.tb.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.NumTxQueues, attrs.NumRxQueues = aName, queues, queues
	pair := &netlink.Veth{
		LinkAttrs: attrs, PeerName: bName, PeerNamespace: netlink.NsFd(b.Fd()),
		PeerNumTxQueues: uint32(queues), PeerNumRxQueues: uint32(queues),
	}
	if err := a.nl.LinkAdd(pair); err != nil {
		l.tb.Fatalf("veth %s:%s - %s:%s: %v", a.name, aName, b.name, bName, err)
	}
	a.SetUp(aName)
	b.SetUp(bName)
}

// Bridge makes a bridge over the named interfaces of the namespace, and sets
// it up. More interfaces join with Enslave.
func (n *Namespace) Bridge(name string, ports ...string) {
	n.tb.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	n.must("make bridge "+name, n.nl.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}))
	for _, port := range ports {
		n.Enslave(port, name)
	}
	n.SetUp(name)
}

// Enslave makes an interface a port of a bridge.
func (n *Namespace) Enslave(port, bridge string) {
	n.tb.Helper()
	n.must("put "+port+" into "+bridge, n.nl.LinkSetMaster(n.Link(port), n.Link(bridge)))
}

// Link is netlink's view of an interface.
func (n *Namespace) Link(name string) netlink.Link {
	n.tb.Helper()
	link, err := n.nl.LinkByName(name)
	n.must("find "+name, err)
	return link
}

// Netlink is a netlink handle in the namespace, for what there is no helper for.
func (n *Namespace) Netlink() *netlink.Handle { return n.nl }

// MAC is the Ethernet address of an interface.
func (n *Namespace) MAC(link string) wire.MAC {
	n.tb.Helper()
	return wire.MAC(n.Link(link).Attrs().HardwareAddr)
}

// SetMAC changes the Ethernet address of an interface.
func (n *Namespace) SetMAC(link string, mac wire.MAC) {
	n.tb.Helper()
	n.must("set MAC of "+link, n.nl.LinkSetHardwareAddr(n.Link(link), net.HardwareAddr(mac[:])))
}

// SetMTU changes the MTU of an interface.
func (n *Namespace) SetMTU(link string, mtu int) {
	n.tb.Helper()
	n.must("set MTU of "+link, n.nl.LinkSetMTU(n.Link(link), mtu))
}

// SetUp sets an interface up.
func (n *Namespace) SetUp(link string) {
	n.tb.Helper()
	n.must("set up "+link, n.nl.LinkSetUp(n.Link(link)))
}

// SetDown sets an interface down.
func (n *Namespace) SetDown(link string) {
	n.tb.Helper()
	n.must("set down "+link, n.nl.LinkSetDown(n.Link(link)))
}

// Delete removes an interface, and with it its peer.
func (n *Namespace) Delete(link string) {
	n.tb.Helper()
	n.must("delete "+link, n.nl.LinkDel(n.Link(link)))
}

// AddAddr adds an address with its prefix length, "10.0.0.1/24", and waits until
// it can be used.
func (n *Namespace) AddAddr(link, prefix string) {
	n.tb.Helper()
	addr, err := netlink.ParseAddr(prefix)
	n.must("parse address", err)
	if addr.IP.To4() == nil {
		addr.Flags = unix.IFA_F_NODAD
	}
	n.must("add "+prefix+" to "+link, n.nl.AddrAdd(n.Link(link), addr))
	// The kernel takes note of an IPv6 address first and makes it local later.
	for deadline := time.Now().Add(localTimeout); !n.isLocal(addr.IP); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			n.tb.Fatalf("%s: %s on %s does not become local", n.name, prefix, link)
		}
	}
}

func (n *Namespace) isLocal(ip net.IP) bool {
	routes, err := n.nl.RouteGet(ip)
	return err == nil && len(routes) > 0 && routes[0].Type == unix.RTN_LOCAL
}

// AddRoute adds a route to dst ("10.1.0.0/16" or "default") by way of a router.
func (n *Namespace) AddRoute(dst, via string) {
	n.tb.Helper()
	route := &netlink.Route{Gw: net.IP(netip.MustParseAddr(via).AsSlice())}
	if dst != "default" {
		p := netip.MustParsePrefix(dst)
		route.Dst = &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
	}
	n.must("add route to "+dst, n.nl.RouteAdd(route))
}

// AddNeighbor adds a permanent ARP or ND entry.
func (n *Namespace) AddNeighbor(link, addr string, mac wire.MAC) {
	n.tb.Helper()
	n.must("add neighbour "+addr, n.nl.NeighSet(&netlink.Neigh{
		LinkIndex:    n.Link(link).Attrs().Index,
		State:        netlink.NUD_PERMANENT,
		IP:           net.IP(netip.MustParseAddr(addr).AsSlice()),
		HardwareAddr: net.HardwareAddr(mac[:]),
	}))
}

// Sysctl sets a kernel parameter of the namespace: "net.ipv4.ip_forward".
// A dot inside an interface's name is written as a slash, as sysctl(8) has it.
func (n *Namespace) Sysctl(key, value string) {
	n.tb.Helper()
	swap := strings.NewReplacer(".", "/", "/", ".")
	n.Do(func() {
		err := os.WriteFile("/proc/sys/"+swap.Replace(key), []byte(value), 0)
		n.must("sysctl "+key+"="+value, err)
	})
}

// must ends the test if err says that doing what failed.
func (n *Namespace) must(what string, err error) {
	n.tb.Helper()
	if err != nil {
		n.tb.Fatalf("%s: %s: %v", n.name, what, err)
	}
}
