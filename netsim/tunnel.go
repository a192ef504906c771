package netsim

import (
	"encoding/binary"

	"usvs/wire"
)

// tunnels says which encapsulations a host undoes. A real server behind a
// tunnel needs the one its director uses.
type tunnels struct {
	ipip    bool   // tunl0: IPv4 in IPv4 (RFC 2003)
	ip6tnl  bool   // ip6tnl0: IPv4 or IPv6 in IPv6 (RFC 2473)
	sit     bool   // sit0: IPv6 in IPv4 (RFC 4213)
	gre     bool   // RFC 2784, RFC 2890
	guePort uint16 // generic UDP encapsulation; 0: none
}

// SetTunnels says which encapsulations the host undoes: IP in IP, GRE, and GUE
// on a UDP port (0: none).
func (h *Host) SetTunnels(ipip, gre bool, guePort uint16) {
	h.tunnels = tunnels{ipip: ipip, ip6tnl: ipip, sit: ipip, gre: gre, guePort: guePort}
}

// decapsulate undoes a tunnel's encapsulation of the current packet. It
// reports whether it took the frame, which then goes on as the inner packet.
func (h *Host) decapsulate(p *Port, f *frame) bool {
	pk := &h.p
	n, ok := h.tunnelHeader(pk)
	if !ok {
		return false
	}
	inner := pk.L4 + n
	if inner >= pk.End {
		h.drop(f, "empty tunnel packet")
		return true
	}
	f.Truncate(pk.End)
	var eth [12]byte
	copy(eth[:], f.Bytes())
	f.TrimFront(inner - wire.EthernetLen)
	copy(f.Bytes(), eth[:])
	typ := uint16(wire.TypeIPv4)
	if f.Bytes()[wire.EthernetLen]>>4 == 6 {
		typ = wire.TypeIPv6
	}
	wire.EthernetHeader(f.Bytes()).SetType(typ)
	if pk.Parse(f.Bytes(), wire.Ethernet) != wire.None {
		h.drop(f, "malformed tunnel packet")
		return true
	}
	h.inputIP(p, f)
	return true
}

// tunnelHeader is the length of what stands between the outer IP header and
// the inner packet, if the packet is a tunnel's.
func (h *Host) tunnelHeader(pk *wire.Packet) (int, bool) {
	t, b := &h.tunnels, pk.Transport()
	switch pk.Proto {
	case wire.ProtoIPIP:
		return 0, pk.Version == 4 && t.ipip || pk.Version == 6 && t.ip6tnl
	case wire.ProtoIPv6:
		return 0, pk.Version == 4 && t.sit || pk.Version == 6 && t.ip6tnl
	case wire.ProtoGRE:
		if t.gre {
			return greHeader(b)
		}
	case wire.ProtoUDP:
		if t.guePort != 0 && pk.Full && pk.DstPort == t.guePort && len(b) > wire.UDPLen {
			n, ok := gueHeader(b[wire.UDPLen:])
			return wire.UDPLen + n, ok
		}
	}
	return 0, false
}

// greHeader measures a GRE header with its optional fields.
func greHeader(b []byte) (int, bool) {
	if len(b) < 4 {
		return 0, false
	}
	flags := binary.BigEndian.Uint16(b)
	n := 4
	for _, bit := range [...]uint16{0x8000, 0x2000, 0x1000} { // checksum, key, sequence number
		if flags&bit != 0 {
			n += 4
		}
	}
	typ := binary.BigEndian.Uint16(b[2:])
	return n, flags&0x4007 == 0 && (typ == wire.TypeIPv4 || typ == wire.TypeIPv6) && n <= len(b)
}

// gueHeader measures a GUE header: variant 0 with its optional fields, or
// variant 1, which has none.
func gueHeader(b []byte) (int, bool) {
	switch {
	case len(b) < 4:
		return 0, false
	case b[0]>>6 == 1:
		return 0, true
	}
	n := 4 + 4*int(b[0]&0x1f)
	return n, b[0]>>5 == 0 && (b[1] == wire.ProtoIPIP || b[1] == wire.ProtoIPv6) && n <= len(b)
}
