package netsim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"usvs/route"
	"usvs/wire"
)

// firstEphemeral is the lowest port that a host picks itself (Linux's
// ip_local_port_range).
const (
	firstEphemeral = 32768
	lastEphemeral  = 60999
)

// ErrPortInUse says that a socket has the address and port already, or that
// all ports that the host picks from are taken.
var ErrPortInUse = errors.New("address already in use")

// Datagram is what a UDP socket received. Its payload is valid during the call.
type Datagram struct {
	From, To netip.AddrPort
	TTL      uint8
	Payload  []byte
}

// UDPSocket sends and receives datagrams. Its callbacks are called by Net.Run.
type UDPSocket struct {
	h     *Host
	local netip.AddrPort
	// OnReceive is called for each datagram; nil: they are thrown away.
	OnReceive func(Datagram)
	// OnError is called for each ICMP error about a datagram of the socket.
	OnError func(ICMPError)
	// Options of the packets it sends.
	Options PacketOptions

	sent udpRoute // the last destination's
}

// udpRoute remembers how to get to a destination.
type udpRoute struct {
	dst, src netip.Addr
	hop      route.Hop
	mtu      int
}

// udpSockets are a host's sockets.
type udpSockets struct {
	bound map[uint32][]*UDPSocket // by port; the address may be unspecified
	next  uint16
}

func (s *udpSockets) init() {
	s.bound, s.next = map[uint32][]*UDPSocket{}, firstEphemeral
}

// rerouted forgets what sockets remember of routes.
func (s *udpSockets) rerouted() {
	for _, list := range s.bound {
		for _, u := range list {
			u.sent = udpRoute{}
		}
	}
}

// UDP opens a socket on an address and port of the host. An unspecified
// address of either family is all of them, port 0 one that the host picks.
func (h *Host) UDP(local netip.AddrPort) (*UDPSocket, error) {
	if !local.Addr().IsValid() {
		local = netip.AddrPortFrom(netip.IPv6Unspecified(), local.Port())
	}
	if local.Port() == 0 {
		local = netip.AddrPortFrom(local.Addr(), h.udp.pick(local.Addr()))
	}
	if local.Port() == 0 || h.udp.exact(local) != nil {
		return nil, fmt.Errorf("udp %v: %w", local, ErrPortInUse)
	}
	u := &UDPSocket{h: h, local: local}
	port := uint32(local.Port())
	h.udp.bound[port] = append(h.udp.bound[port], u)
	return u, nil
}

// pick finds a free port.
func (s *udpSockets) pick(addr netip.Addr) uint16 {
	for range lastEphemeral - firstEphemeral {
		port := s.next
		if s.next++; s.next > lastEphemeral {
			s.next = firstEphemeral
		}
		if s.exact(netip.AddrPortFrom(addr, port)) == nil {
			return port
		}
	}
	return 0
}

// Local is what the socket is bound to.
func (u *UDPSocket) Local() netip.AddrPort { return u.local }

// Close closes the socket.
func (u *UDPSocket) Close() {
	bound, port := u.h.udp.bound, uint32(u.local.Port())
	bound[port] = slices.DeleteFunc(bound[port], func(o *UDPSocket) bool { return o == u })
	if len(bound[port]) == 0 {
		delete(bound, port)
	}
}

// Send sends a datagram from the socket's address, or from the host's choice
// if it is bound to all of them.
func (u *UDPSocket) Send(to netip.AddrPort, payload []byte) error {
	return u.SendFrom(u.local.Addr(), to, payload)
}

// SendFrom sends a datagram from one of the host's addresses.
func (u *UDPSocket) SendFrom(src netip.Addr, to netip.AddrPort, payload []byte) error {
	if err := u.routeTo(to.Addr()); err != nil {
		return err
	}
	if !src.IsValid() || src.IsUnspecified() {
		src = u.sent.src
	}
	o := u.Options
	n := wire.UDPLen + len(payload)
	// Linux sets DF on what fits the path, and cuts what does not.
	fits := n+wire.IPv6Len <= u.sent.mtu || to.Addr().Is4() && n+wire.IPv4Len <= u.sent.mtu
	o.DontFragment = o.DontFragment || fits
	f := u.h.packet(src, to.Addr(), wire.ProtoUDP, n, o)
	b := f.Bytes()[f.Len()-n:]
	copy(b[wire.UDPLen:], payload)
	putUDP(b, src, to.Addr(), u.local.Port(), to.Port())
	if u.sent.hop.Kind == route.Unicast && f.Len()-wire.EthernetLen <= u.sent.mtu {
		u.h.emit(f, &u.sent.hop)
		return nil
	}
	return u.h.transmit(f, o.DontFragment)
}

// routeTo finds the way to dst unless it is that of the last datagram.
func (u *UDPSocket) routeTo(dst netip.Addr) error {
	if u.sent.dst == dst {
		return nil
	}
	hop := u.h.table.Lookup(dst)
	src := u.h.Source(dst)
	if !src.IsValid() {
		return fmt.Errorf("no route to %v", dst)
	}
	u.sent = udpRoute{dst: dst, src: src, hop: hop, mtu: u.h.PathMTU(dst)}
	return nil
}

// putUDP writes a header in front of the payload in b.
func putUDP(b []byte, src, dst netip.Addr, srcPort, dstPort uint16) {
	binary.BigEndian.PutUint16(b, srcPort)
	binary.BigEndian.PutUint16(b[2:], dstPort)
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)))
	binary.BigEndian.PutUint16(b[6:], 0)
	sum := ^wire.Fold(wire.Sum(b, wire.PseudoSum(src, dst, wire.ProtoUDP, len(b))))
	if sum == 0 {
		sum = 0xffff // RFC 768
	}
	binary.BigEndian.PutUint16(b[6:], sum)
}

// exact returns the socket that is bound to a.
func (s *udpSockets) exact(a netip.AddrPort) *UDPSocket {
	for _, u := range s.bound[uint32(a.Port())] {
		if u.local == a {
			return u
		}
	}
	return nil
}

// find returns the socket for a local address and port: one bound to the
// address, else one bound to all of the family, else one bound to all.
func (s *udpSockets) find(a netip.AddrPort) *UDPSocket {
	var found *UDPSocket
	best := 0
	for _, u := range s.bound[uint32(a.Port())] {
		if rank := u.rank(a.Addr()); rank > best {
			found, best = u, rank
		}
	}
	return found
}

// rank says how well a socket fits an address; 0: not at all.
func (u *UDPSocket) rank(a netip.Addr) int {
	switch local := u.local.Addr(); {
	case local == a:
		return 3
	case !local.IsUnspecified():
		return 0
	case local.Is4():
		if a.Is4() {
			return 2
		}
		return 0
	}
	return 1
}

// input delivers a datagram.
func (s *udpSockets) input(pk *wire.Packet) bool {
	to := netip.AddrPortFrom(pk.Dst, pk.DstPort)
	u := s.find(to)
	if u == nil {
		return false
	}
	if u.OnReceive != nil {
		t := pk.Transport()
		u.OnReceive(Datagram{
			From: netip.AddrPortFrom(pk.Src, pk.SrcPort), To: to, TTL: pk.TTL,
			Payload: t[wire.UDPLen:wire.UDP(t).Length()],
		})
	}
	return true
}

// failed tells the socket that sent the datagram.
func (s *udpSockets) failed(e *ICMPError) {
	if u := s.find(e.Src); u != nil && u.OnError != nil {
		u.OnError(*e)
	}
}
