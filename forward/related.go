package forward

import (
	"net/netip"

	"usvs/wire"
)

// ParseQuote reads into q the packet that the ICMP error p quotes. It refuses,
// and the error is then an ordinary packet, what IPVS does not relate to a
// connection (ipvs.md 5.7): an error that is itself a fragment, a quote without
// a readable header and the ports, and a quoted later fragment. q.Data is the
// quote within p.Data.
func ParseQuote(p *wire.Packet, q *wire.Packet) bool {
	if !p.IsICMPError() || p.Fragment {
		return false
	}
	quote := p.Data[p.L4+wire.ICMPLen : p.End]
	return q.ParseQuoted(quote, p.Version) == wire.None &&
		(q.Ports || q.FragOffset == 0 && (q.Proto == wire.ProtoAH || q.Proto == wire.ProtoESP))
}

// ICMPChecksumOK reports whether IPVS would accept the ICMP error's checksum.
// Going in, an ICMPv6 checksum is not looked at. Going out, from a real server,
// the kernel sums an ICMPv6 message without its pseudo-header, so that it drops
// a correct one and accepts one that leaves the pseudo-header out: recorded on
// Linux 6.1 (ipvs.md 5.7). A checksum the device is still to fill in is good.
func ICMPChecksumOK(f *wire.Frame, p *wire.Packet, outbound bool) bool {
	if partialAt(f, p, icmpChecksum) || p.Version == 6 && !outbound {
		return true
	}
	return wire.Checksum(p.Transport()) == 0
}

// RewriteRelatedIn sends an ICMP error from the client's side to the real
// server: the outer destination, and the quoted source, which was VIP and
// virtual port, become the real server's.
func RewriteRelatedIn(f *wire.Frame, p, q *wire.Packet, real netip.AddrPort) {
	setAddr(p, real.Addr(), false)
	setAddr(q, real.Addr(), true)
	if q.Ports {
		q.SrcPort = real.Port()
		put16(q.Data[q.L4:], q.SrcPort)
	}
	setICMPChecksum(f, p)
}

// RewriteRelatedOut makes an ICMP error from a real server's side come from
// the virtual service, even if a router behind it sent it: the outer source
// becomes the VIP, and the quoted destination VIP and virtual port.
func RewriteRelatedOut(f *wire.Frame, p, q *wire.Packet, virtual netip.AddrPort) {
	setAddr(p, virtual.Addr(), true)
	RecordRoute(p, p.Src)
	setAddr(q, virtual.Addr(), false)
	if q.Ports {
		q.DstPort = virtual.Port()
		put16(q.Data[q.L4+2:], q.DstPort)
	}
	setICMPChecksum(f, p)
}

// setAddr replaces a header's source or destination and recomputes the IPv4
// header checksum. The checksum of a quoted transport header is left as it is.
func setAddr(p *wire.Packet, a netip.Addr, source bool) {
	if source {
		p.Src = a
	} else {
		p.Dst = a
	}
	if p.Version == 6 {
		h := wire.IPv6(p.Data[p.L3:])
		h.SetSrc(p.Src)
		h.SetDst(p.Dst)
		return
	}
	h := wire.IPv4(p.Data[p.L3:])
	h.SetSrc(p.Src)
	h.SetDst(p.Dst)
	h.UpdateChecksum()
}

// setICMPChecksum computes the checksum in full; ICMPv6 covers a
// pseudo-header (RFC 4443 2.3), ICMP does not.
func setICMPChecksum(f *wire.Frame, p *wire.Packet) {
	b := wire.ICMP(p.Transport())
	b.SetChecksum(0)
	sum := uint64(0)
	if p.Version == 6 {
		sum = wire.PseudoSum(p.Src, p.Dst, wire.ProtoICMPv6, len(b))
	}
	b.SetChecksum(^wire.Fold(wire.Sum(b, sum)))
	f.Partial = false
}
