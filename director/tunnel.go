package director

import (
	"encoding/binary"
	"math"
	"net/netip"
	"time"

	"usvs/forward"
	"usvs/ipvs"
	"usvs/link"
	"usvs/localstack"
	"usvs/wire"
)

const (
	// pathMTULife is how long a learned path MTU is believed, as net.ipv4.route.mtu_expires.
	pathMTULife = 10 * time.Minute
	// minPathMTU is the least that is believed, as net.ipv4.route.min_pmtu: a
	// forged announcement must not make a tunnel useless.
	minPathMTU = 552

	codeFragNeeded = 4 // of ICMP destination unreachable

	// Lengths and bits of GRE (RFC 2784) and GUE headers.
	greLen     = 4
	greCsumLen = 4
	greCsum    = 0x80 // the only flag a tunnel of ours may have
	gueLen     = 4
	gueHeaders = 0x1f // words of options; the bits above are version and control
)

// toHostItself handles a packet to one of the host's own addresses: the host
// has it already, unless it is an ICMP error about a tunnel of ours.
func (w *Worker) toHostItself(f *link.Frame) {
	if w.snap.tunnels.Len() > 0 && w.p.IsICMPError() {
		if w.p.Version == 6 {
			w.learnPathMTU6(f)
		} else if w.tunnelError(f) {
			return
		}
	}
	w.pass(f)
}

// learnPathMTU6 believes a router that an IPv6 tunnel's outer packet was too big
// for, so that clients hear of it with their next big packet. IPVS has nothing
// like it and leaves this to the host's routes, which know no tunnel of ours;
// and no router cuts an IPv6 packet.
func (w *Worker) learnPathMTU6(f *link.Frame) {
	icmp := w.p.Transport()
	if icmp[0] != wire.ICMPv6TooBig || !f.Partial && !w.icmpv6OK() ||
		w.q.ParseQuoted(icmp[wire.ICMPLen:], 6) != wire.None {
		return
	}
	rs := w.tunnelled(&w.q)
	if rs == nil {
		return
	}
	announced := binary.BigEndian.Uint32(icmp[4:])
	w.learnPathMTU(rs, int(min(max(announced, minMTU6), math.MaxUint16)))
}

// icmpv6OK checks the current packet's ICMPv6 checksum.
func (w *Worker) icmpv6OK() bool {
	icmp := w.p.Transport()
	return wire.Fold(wire.Sum(icmp, wire.PseudoSum(w.p.Src, w.p.Dst, wire.ProtoICMPv6, len(icmp)))) == 0xffff
}

// learnPathMTU believes a path MTU to rs that is less than what is known, and
// returns what was known.
func (w *Worker) learnPathMTU(rs *ipvs.RealServer, learned int) (known int) {
	known = w.snap.Routes.Lookup(rs.ID.Addr).MTU
	if before := rs.PathMTU(w.now); before != 0 && before < known {
		known = before
	}
	if learned < known {
		rs.LearnPathMTU(learned, w.now.Add(pathMTULife))
	}
	return known
}

// tunnelError passes an ICMP error about an outer packet on to the client whose
// packet was inside (ipvs.md 5.7). The quote must hold the inner header.
func (w *Worker) tunnelError(f *link.Frame) bool {
	icmp := w.p.Transport()
	if w.q.ParseQuoted(icmp[wire.ICMPLen:], 4) != wire.None {
		return false
	}
	rs := w.tunnelled(&w.q)
	if rs == nil || w.seg.Version != 4 {
		return false
	}
	if !forward.ICMPChecksumOK(f, &w.p, false) {
		w.end(DropICMPChecksum)
		return true
	}
	typ, code := icmp[0], icmp[1]
	announced := int(icmp[6])<<8 | int(icmp[7])
	w.p = w.seg
	w.end(DropTunnelError)
	switch {
	case typ == wire.ICMPUnreachable && code == codeFragNeeded:
		w.tunnelTooBig(f, rs, announced)
	case typ == wire.ICMPUnreachable, typ == wire.ICMPTimeExceeded, typ == wire.ICMPSourceQuench:
		w.relay(f, localstack.Relayed(typ, code))
	}
	return true
}

// tunnelled finds what is in one of our tunnels' outer packets: w.seg is the
// packet inside, w.c its connection. It returns the tunnel's server, or nil.
func (w *Worker) tunnelled(outer *wire.Packet) *ipvs.RealServer {
	inner := &w.seg
	rs := w.inside(outer, inner)
	if rs == nil || !inner.Ports {
		return nil
	}
	client, virtual := netip.AddrPortFrom(inner.Src, inner.SrcPort), netip.AddrPortFrom(inner.Dst, inner.DstPort)
	if !w.d.Table.LookupIn(w.now, ipvs.Protocol(inner.Proto), client, virtual, &w.c) {
		return nil
	}
	return rs
}

// inside parses the packet inside one of our tunnels' outer packets, which may
// be a quote and cut short. It returns the tunnel's server, or nil.
func (w *Worker) inside(outer, inner *wire.Packet) *ipvs.RealServer {
	if outer.FragOffset != 0 {
		return nil
	}
	b := outer.Transport()
	kind, port := ipvs.IPIP, uint16(0)
	n, version := 0, uint8(4)
	switch outer.Proto {
	case wire.ProtoIPIP:
	case wire.ProtoIPv6:
		version = 6
	case wire.ProtoGRE:
		kind = ipvs.GRE
		n, version = greHeader(b)
	case wire.ProtoUDP:
		kind, port = ipvs.GUE, outer.DstPort
		n, version = gueHeader(b)
	default:
		return nil
	}
	rs := w.snap.tunnelAt(kind, outer.Dst, port)
	if rs == nil || version == 0 || n > len(b) || inner.ParseQuoted(b[n:], version) != wire.None {
		return nil
	}
	return rs
}

// greHeader returns the length of a GRE header and the IP version of what
// follows; 0 if it is not a header of ours.
func greHeader(b []byte) (n int, version uint8) {
	if len(b) < greLen || b[0]&^greCsum != 0 || b[1] != 0 {
		return 0, 0
	}
	n = greLen
	if b[0] != 0 {
		n += greCsumLen
	}
	switch uint16(b[2])<<8 | uint16(b[3]) {
	case wire.TypeIPv4:
		return n, 4
	case wire.TypeIPv6:
		return n, 6
	}
	return 0, 0
}

// gueHeader is greHeader for a GUE header behind a UDP header.
func gueHeader(b []byte) (n int, version uint8) {
	if len(b) < wire.UDPLen+gueLen || b[wire.UDPLen]&^gueHeaders != 0 {
		return 0, 0
	}
	n = wire.UDPLen + gueLen + 4*int(b[wire.UDPLen])
	switch b[wire.UDPLen+1] {
	case wire.ProtoIPIP:
		return n, 4
	case wire.ProtoIPv6:
		return n, 6
	}
	return 0, 0
}

// tunnelTooBig learns a path MTU. The client is told of the one known before,
// less an IPv4 header, whatever the encapsulation: the kernel's cached route
// does not show the update yet, and the next packet that is too big will tell.
func (w *Worker) tunnelTooBig(f *link.Frame, rs *ipvs.RealServer, announced int) {
	known := w.learnPathMTU(rs, max(announced, minPathMTU))
	mtu := known - wire.IPv4Len
	if !w.p.V4().DF() || mtu <= minMTU4 {
		return
	}
	w.relay(f, localstack.FragNeeded(mtu))
}

// relay tells the client of the packet inside a tunnel, which w.p is, of an
// error about the outer one. The kernel counts that packet as sent to the
// client, besides the error.
func (w *Worker) relay(f *link.Frame, e localstack.Error) {
	hop := w.snap.Routes.Lookup(w.p.Src)
	w.countOut(w.c.Server, len(w.p.Data))
	w.complain(&link.Frame{Medium: wire.IP, Port: f.Port}, &hop, w.errorSource(&hop), e)
}
