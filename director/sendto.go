package director

import (
	"net/netip"

	"usvs/clock"
	"usvs/conntrack"
	"usvs/ipvs"
	"usvs/link"
	"usvs/wire"
)

// SendTo sends an IP packet of this host's own to a real server in the way that
// packets of a virtual service's clients take, and reports how that ended. So a
// health check can see what a client would: with direct routing the packet has
// the server's MAC and keeps the virtual address, in a tunnel it gets the outer
// header. What the server answers comes to the packet's source like any other
// packet, from the virtual address.
//
// rs need not be in any service, nor known to anybody else: of it only the
// address, the port and the spec matter. No connection is made or counted.
func (w *Worker) SendTo(now clock.Instant, f *link.Frame, rs *ipvs.RealServer, out *link.Output) Reason {
	w.begin(now, out)
	p := &w.p
	if m := p.Parse(f.Bytes(), f.Medium); m != wire.None || p.Version == 0 {
		bump(&w.count.malformed[m])
		w.end(DropMalformed)
		return w.seen
	}
	w.c = conntrack.Conn{
		Protocol: ipvs.Protocol(p.Proto), Client: netip.AddrPortFrom(p.Src, p.SrcPort), Virtual: netip.AddrPortFrom(p.Dst, p.DstPort),
		Real: netip.AddrPortFrom(rs.ID.Addr, rs.ID.Port), Method: rs.Method(), Server: rs,
	}
	w.transmit(f)
	w.settle()
	return w.seen
}
