package forward

import "usvs/wire"

// Length is the length that the MTU is compared with: the IP packet's; of a
// super-frame that of its segments.
func Length(f *wire.Frame, p *wire.Packet) int {
	n := p.IPLen()
	if head := segmentHeader(f, p); head != 0 {
		return min(n, head-p.L3+int(f.GSOSize))
	}
	return n
}

// ExceedsMTU judges a packet by the MTU of its route, less the overhead of a
// tunnel. tooBig: it must not be sent, and its sender is to be told: longer
// than the MTU and IPv6, or IPv4 with DF. fragment: it fits only in fragments,
// if it is sent. An IPv4 ICMP error is never too big: the kernel cuts it in
// spite of DF, and nobody is told (ipvs.md 5.5).
//
// A datagram that was reassembled is always sent in fragments again, lest a
// path that it crossed in small pieces drop it. Whether an IPv6 one is too big
// is up to the largest fragment it arrived in; an IPv4 one's do not matter.
func ExceedsMTU(f *wire.Frame, p *wire.Packet, mtu int) (tooBig, fragment bool) {
	n := Length(f, p)
	longer := n > mtu
	fragment = longer || f.FragSize != 0 && n > f.FragSize
	switch {
	case p.Version == 6 && f.FragSize != 0:
		return f.FragSize > mtu, fragment
	case p.Version == 6:
		return longer, fragment
	}
	return longer && p.V4().DF() && !p.IsICMPError(), fragment
}
