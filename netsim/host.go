package netsim

import (
	"net/netip"

	"usvs/localstack"
	"usvs/route"
	"usvs/wire"
)

// DefaultMTU is that of an interface.
const DefaultMTU = 1500

// Host is a host with an IP stack: interfaces, ARP and neighbour discovery,
// ICMP, UDP and TCP. With forwarding on it is a router.
type Host struct {
	refused map[netip.Addr]bool // addresses that it takes no packets to: no_accept

	net  *Net
	name string
	self Node // the host, or the director around it

	ports      []*Port // the Ethernet interfaces
	devices    []*Port // those, lo and tunnels
	lo         *Port
	static     []route.Route // added by the operator
	table      *route.Table
	broadcasts []netip.Addr // of the subnets on the interfaces

	sysctl     hostSettings
	neigh      neighbours
	answers    *localstack.Stack // made for the first answer
	frags      *gathering        // made for the first fragment
	pmtu       map[netip.Addr]learnedMTU
	transports map[uint8]transport
	udp        udpSockets
	pings      map[uint16]func(PingReply)
	pingID     uint16
	ipID       uint32
	tunnels    tunnels
	errorHooks []func(ICMPError)
	real       []netip.Addr // VIPs set up by `usvs realserver up`
	before     hostBefore   // what it restores
	counts     map[string]uint64
	services   []*Service
	life       life
	changed    func() // told after addresses or routes changed

	p, q wire.Packet // scratch: the frame that is handled, and one that is made of it
}

// transport is a protocol above IP with a state of its own.
type transport interface {
	// input takes a packet to one of the host's addresses and reports whether
	// it was for anybody. The packet is gone when input returns.
	input(p *wire.Packet) bool
	// failed hears of an ICMP error about a packet the host sent.
	failed(e *ICMPError)
}

// Host adds a host without interfaces.
func (n *Net) Host(name string) *Host {
	h := newHost(n, name)
	h.adopt(h)
	return h
}

// Router adds a host that forwards packets.
func (n *Net) Router(name string) *Host {
	h := n.Host(name)
	h.sysctl.forward4, h.sysctl.forward6 = true, true
	return h
}

func newHost(n *Net, name string) *Host {
	h := &Host{net: n, name: name, counts: map[string]uint64{}, sysctl: defaultSettings()}
	h.bare()
	h.lo = h.device("lo")
	h.lo.mtu = 65535
	h.lo.addrs = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8"), netip.MustParsePrefix("::1/128")}
	h.reroute()
	return h
}

// adopt makes the stack that of a node and registers the node.
func (h *Host) adopt(self Node) {
	h.self, h.lo.node = self, self
	h.net.add(self)
}

// Name is what the host is called.
func (h *Host) Name() string { return h.name }

// Net is the network it is in.
func (h *Host) Net() *Net { return h.net }

// device adds an interface of any kind.
func (h *Host) device(name string) *Port {
	p := &Port{net: h.net, node: h.self, name: name, index: -1, mtu: DefaultMTU}
	h.devices = append(h.devices, p)
	return p
}

// NIC returns the host's interface of that name, which is made if it is new,
// and gives it addresses, written with their prefix lengths.
func (h *Host) NIC(name string, addrs ...string) *Port {
	p := h.Port(name)
	if p == nil {
		p = h.newNIC(name)
	}
	for _, a := range addrs {
		h.addAddr(p, netip.MustParsePrefix(a))
	}
	h.reroute()
	return p
}

func (h *Host) newNIC(name string) *Port {
	p := h.device(name)
	p.index, p.node = len(h.ports), h.self
	h.ports = append(h.ports, p)
	p.mac = h.net.nextMAC(h.self, p.index)
	p.sysctl = h.sysctl.def
	p.addrs = []netip.Prefix{netip.PrefixFrom(linkLocal(p.mac), 64)}
	return p
}

// nextMAC is a locally administered address that tells node and interface.
func (n *Net) nextMAC(node Node, index int) wire.MAC {
	number := len(n.order) + 1
	for i, o := range n.order {
		if o == node {
			number = i + 1
		}
	}
	return wire.MAC{2, 0, byte(number >> 16), byte(number >> 8), byte(number), byte(index)}
}

// linkLocal is the address an interface gives itself (RFC 4291 appendix A).
func linkLocal(m wire.MAC) netip.Addr {
	return netip.AddrFrom16([16]byte{0xfe, 0x80, 8: m[0] ^ 2, 9: m[1], 10: m[2], 11: 0xff, 12: 0xfe, 13: m[3], 14: m[4], 15: m[5]})
}

// Port returns the interface of that name, or nil. lo is one.
func (h *Host) Port(name string) *Port {
	for _, p := range h.devices {
		if p.name == name {
			return p
		}
	}
	return nil
}

// Ports lists the Ethernet interfaces in the order in which they were made.
func (h *Host) Ports() []*Port { return append([]*Port(nil), h.ports...) }

// Counters are what the host counted: packets by what became of them.
func (h *Host) Counters() map[string]uint64 {
	m := make(map[string]uint64, len(h.counts))
	for k, v := range h.counts {
		m[k] = v
	}
	return m
}

// count notes what became of a packet that was dropped, and is not for the
// common case.
func (h *Host) count(what string) { h.counts[what]++ }

// setRefused has the host take no packets to an address, or take them again.
func (h *Host) setRefused(a netip.Addr, on bool) {
	if !on {
		delete(h.refused, a)
		return
	}
	if h.refused == nil {
		h.refused = map[netip.Addr]bool{}
	}
	h.refused[a] = true
}
