package control

import (
	"errors"
	"fmt"
	"math"
	"net/netip"

	"usvs/ipvs"
	"usvs/route"
	"usvs/wire"
)

// maxTimeoutSecs is INT_MAX/HZ of a kernel with HZ=1000 (ipvs.md 3.2).
const maxTimeoutSecs = math.MaxInt32 / 1000

// serviceID checks what identifies a service and brings it into the form it is
// stored in: a fwmark service has no protocol, address or port.
func serviceID(id ipvs.ServiceID) (ipvs.ServiceID, error) {
	if id.Family != ipvs.IPv4 && id.Family != ipvs.IPv6 {
		return id, ipvs.ErrFamily
	}
	if id.Mark != 0 {
		return ipvs.ServiceID{Family: id.Family, Mark: id.Mark}, nil
	}
	switch id.Protocol {
	case ipvs.TCP, ipvs.UDP, ipvs.SCTP:
	default:
		return id, fmt.Errorf("protocol is not TCP, UDP or SCTP: %w", ipvs.ErrInvalid)
	}
	if ipvs.FamilyOf(id.Addr) != id.Family || id.Addr.Zone() != "" {
		return id, fmt.Errorf("not an address of its family: %w", ipvs.ErrInvalid)
	}
	return id, nil
}

// checkPersistence brings a service's spec into the form it is stored in.
func checkPersistence(f ipvs.Family, s ipvs.ServiceSpec) (ipvs.ServiceSpec, error) {
	if f == ipvs.IPv6 {
		s.Netmask = netip.Addr{}
		if s.PrefixLen < 1 || s.PrefixLen > 128 {
			return s, fmt.Errorf("prefix length %d: %w", s.PrefixLen, ipvs.ErrInvalid)
		}
	} else {
		s.PrefixLen = 0
		if !s.Netmask.Is4() {
			s.Netmask = netip.AddrFrom4([4]byte{255, 255, 255, 255})
		}
	}
	s.Flags |= ipvs.FlagHashed
	if s.Flags&ipvs.FlagPersistent == 0 {
		s.Timeout = 0
	}
	return s, nil
}

// checkEngine refuses persistence engines other than the only one there is.
func checkEngine(name string) error {
	if name == "" || name == "sip" {
		return nil
	}
	return fmt.Errorf("persistence engine %q: %w", name, ipvs.ErrNoEntry)
}

// checkServer refuses what neither adding nor editing a server accepts. The
// order is the kernel's (ipvs.md 10).
func checkServer(s ipvs.ServerSpec) error {
	switch {
	case s.Weight < 0:
		return fmt.Errorf("weight %d: %w", s.Weight, ipvs.ErrRange)
	case s.LowerThreshold > s.UpperThreshold:
		return fmt.Errorf("lower threshold %d above upper threshold %d: %w", s.LowerThreshold, s.UpperThreshold, ipvs.ErrRange)
	case s.UpperThreshold > math.MaxInt32:
		return fmt.Errorf("upper threshold %d: %w", s.UpperThreshold, ipvs.ErrInvalid)
	case s.Tunnel.Type == ipvs.GUE && s.Tunnel.Port == 0:
		return fmt.Errorf("GUE tunnel without a port: %w", ipvs.ErrInvalid)
	case s.Method > ipvs.Bypass, s.Tunnel.Type > ipvs.GRE:
		return fmt.Errorf("forwarding method %d, tunnel type %d: %w", s.Method, s.Tunnel.Type, ipvs.ErrInvalid)
	}
	return nil
}

// checkMixed refuses a server of another family unless it is tunnelled to.
func checkMixed(svc ipvs.ServiceID, addr netip.Addr, m ipvs.ForwardMethod) error {
	if ipvs.FamilyOf(addr) == svc.Family || m == ipvs.Tunnel {
		return nil
	}
	return fmt.Errorf("a server of another address family needs a tunnel: %w", ipvs.ErrInvalid)
}

// ErrNeedsEthernet is returned for direct routing through an interface without
// MAC addresses.
var ErrNeedsEthernet = errors.New("direct routing (-g) changes MAC addresses and so needs an Ethernet interface; use -m or -i")

// checkMedium refuses direct routing to a server that is reached through a TUN
// device. The kernel has no such rule: there a packet always has a way out.
func checkMedium(addr netip.Addr, m ipvs.ForwardMethod, routes *route.Table) error {
	if m != ipvs.DirectRoute || routes == nil {
		return nil
	}
	hop := routes.Lookup(addr)
	if hop.Kind != route.Unicast || routes.Interfaces[hop.Port].Medium == wire.Ethernet {
		return nil
	}
	return fmt.Errorf("%v is reached through %s, a TUN device: %w", addr, routes.Interfaces[hop.Port].Name, ErrNeedsEthernet)
}

// checkServerAddr refuses addresses no server can have: those that are neither
// unicast nor one of the host's own.
func checkServerAddr(a netip.Addr, routes *route.Table) error {
	if !a.IsValid() || a.Zone() != "" {
		return fmt.Errorf("server address %v: %w", a, ipvs.ErrInvalid)
	}
	if routes != nil && routes.IsLocal(a) {
		return nil
	}
	unicast := unicast6(a)
	if a.Is4() {
		unicast = unicast4(a, routes)
	}
	if !unicast {
		return fmt.Errorf("server address %v is not unicast: %w", a, ipvs.ErrInvalid)
	}
	return nil
}

func unicast6(a netip.Addr) bool {
	return !a.IsUnspecified() && !a.IsMulticast() && !a.IsLinkLocalUnicast() && !a.Is4In6()
}

func unicast4(a netip.Addr, routes *route.Table) bool {
	b := a.As4()
	if a.IsUnspecified() || a.IsMulticast() || b == [4]byte{255, 255, 255, 255} {
		return false
	}
	return routes == nil || !isSubnetBroadcast(a, routes)
}

// isSubnetBroadcast reports whether a is the broadcast address of a network
// the host is attached to.
func isSubnetBroadcast(a netip.Addr, routes *route.Table) bool {
	for _, ifc := range routes.Interfaces {
		for _, p := range ifc.Addrs {
			if p.Addr().Is4() && p.Bits() < 31 && a == broadcastOf(p) {
				return true
			}
		}
	}
	return false
}

func broadcastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(b)
}

// checkTimeouts refuses what would overflow the kernel's timers.
func checkTimeouts(t ipvs.Timeouts) error {
	for _, secs := range [3]uint32{t.TCP, t.TCPFin, t.UDP} {
		if secs > maxTimeoutSecs {
			return fmt.Errorf("timeout of %d seconds: %w", secs, ipvs.ErrInvalid)
		}
	}
	return nil
}
