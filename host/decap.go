package host

import (
	"encoding/binary"
	"net/netip"

	"usvs/wire"
)

// tunnelHeader finds what an encapsulation carries: the length of its header
// and the IP protocol number (4 or 6 in 4 and 41) of the packet behind it.
type tunnelHeader func(b []byte) (n int, proto uint8, ok bool)

// plainHeader is that of IP in IP: there is none (RFC 2003, RFC 2473).
func plainHeader(proto uint8) tunnelHeader {
	return func([]byte) (int, uint8, bool) { return 0, proto, true }
}

// greHeader is GRE's with its optional checksum, key and sequence number (RFC
// 2784, RFC 2890), which are skipped.
func greHeader(b []byte) (n int, proto uint8, ok bool) {
	const checksum, routing, key, sequence, version = 0x8000, 0x4000, 0x2000, 0x1000, 0x0007
	if len(b) < 4 {
		return 0, 0, false
	}
	flags := binary.BigEndian.Uint16(b)
	if flags&(routing|version) != 0 {
		return 0, 0, false
	}
	n = 4
	for _, bit := range []uint16{checksum, key, sequence} {
		if flags&bit != 0 {
			n += 4
		}
	}
	switch binary.BigEndian.Uint16(b[2:]) {
	case wire.TypeIPv4:
		proto = wire.ProtoIPIP
	case wire.TypeIPv6:
		proto = wire.ProtoIPv6
	}
	return n, proto, proto != 0 && n <= len(b)
}

// gueHeader is generic UDP encapsulation's (draft-ietf-intarea-gue): variant 0
// with its optional fields, which are skipped, or variant 1, a bare IP packet.
func gueHeader(b []byte) (n int, proto uint8, ok bool) {
	if len(b) < 4 {
		return 0, 0, false
	}
	switch {
	case b[0]>>6 == 0 && b[0]&0x20 == 0: // data, not a control message
		n, proto = 4+int(b[0]&0x1f)*4, b[1]
	case b[0]>>4 == 4:
		proto = wire.ProtoIPIP
	case b[0]>>4 == 6:
		proto = wire.ProtoIPv6
	}
	return n, proto, (proto == wire.ProtoIPIP || proto == wire.ProtoIPv6) && n <= len(b)
}

// refusal says why a tunnelled packet was not unpacked.
type refusal uint8

const (
	unpacked      refusal = iota
	badTunnel             // the outer headers make no sense, or carry something else than IP
	badInner              // the inner packet is malformed
	notForVIP             // the inner packet is not to a VIP on the loopback interface
	ownSource             // it claims to come from this host
	congestionBit         // congestion was marked outside, which the inner packet does not allow (RFC 6040)
	refusals
)

var refusalText = [refusals]string{
	"unpacked", "malformed tunnel header", "malformed inner packet", "not for a VIP", "from an address of this host", "congestion marked",
}

func (r refusal) String() string { return refusalText[r] }

// unpacker takes packets out of their tunnel.
type unpacker struct {
	header tunnelHeader
	outer4 bool // packets begin with the outer IPv4 header
	vip    func(netip.Addr) bool
	own    func(netip.Addr) bool
	packet wire.Packet
}

// unpack makes f, which holds a packet as the socket delivers it, the inner
// packet.
func (u *unpacker) unpack(f *wire.Frame) refusal {
	congestion := false
	if u.outer4 {
		h := wire.IPv4(f.Bytes())
		if len(h) < wire.IPv4Len || h.HeaderLen() < wire.IPv4Len || h.HeaderLen() > len(h) {
			return badTunnel
		}
		congestion = h.TOS()&3 == 3
		f.TrimFront(h.HeaderLen())
	}
	n, proto, ok := u.header(f.Bytes())
	if !ok {
		return badTunnel
	}
	f.TrimFront(n)
	f.Medium = wire.IP
	p := &u.packet
	if p.Parse(f.Bytes(), wire.IP) != wire.None || (proto == wire.ProtoIPv6) != (p.Version == 6) {
		return badInner
	}
	f.Truncate(p.End)
	switch {
	case !u.vip(p.Dst):
		return notForVIP
	case u.own(p.Src):
		return ownSource
	case congestion && !markCongestion(f.Bytes()):
		return congestionBit
	}
	findPartial(f, p)
	return unpacked
}

// markCongestion moves a congestion mark from the outer header to the inner
// one. It reports false if the inner packet does not speak ECN (RFC 6040, 4.2).
func markCongestion(b []byte) bool {
	if b[0]>>4 == 6 {
		h := wire.IPv6(b)
		if h.TrafficClass()&3 == 0 {
			return false
		}
		h.SetFlow(h.TrafficClass()|3, h.FlowLabel())
		return true
	}
	h := wire.IPv4(b)
	if h.TOS()&3 == 0 {
		return false
	}
	h.SetTOS(h.TOS() | 3)
	h.UpdateChecksum()
	return true
}

// findPartial marks a transport checksum that is not finished. A socket does
// not tell, but such a field holds the sum of the pseudo-header and nothing
// else: of packets from a stack on the same machine, of what was merged on
// receipt, and of GUE with remote checksum offload.
func findPartial(f *wire.Frame, p *wire.Packet) {
	if p.Fragment || !p.Full {
		return
	}
	var offset int
	switch p.Proto {
	case wire.ProtoTCP:
		offset = 16
	case wire.ProtoUDP:
		offset = 6
	default:
		return
	}
	t := p.Transport()
	field := binary.BigEndian.Uint16(t[offset:])
	if field == 0 || field != wire.Fold(wire.PseudoSum(p.Src, p.Dst, p.Proto, len(t))) {
		return
	}
	f.Partial, f.CsumStart, f.CsumOffset = true, uint16(p.L4), uint16(offset)
	if p.Proto == wire.ProtoTCP {
		findSuper(f, p)
	}
}

// ethernetMTU is what a packet is not longer than that came by itself, most
// often, and in any case the MTU on the way to the host's stack.
const ethernetMTU = 1500

// findSuper marks several TCP segments that came as one. A socket does not tell
// how long they were, which matters little: nobody is going to cut the packet.
func findSuper(f *wire.Frame, p *wire.Packet) {
	size := ethernetMTU - (p.L4 - p.L3) - wire.TCP(p.Transport()).HeaderLen()
	if p.IPLen() <= ethernetMTU || size <= 0 {
		return
	}
	f.GSO, f.GSOSize = wire.GSOTCP4, uint16(size)
	if p.Version == 6 {
		f.GSO = wire.GSOTCP6
	}
}
