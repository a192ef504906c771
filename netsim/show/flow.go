package show

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"usvs/clock"
	"usvs/director"
	"usvs/netsim"
	"usvs/wire"
)

// flow names the two ends of a packet, whichever way it goes. With NAT a
// connection has two.
type flow struct {
	proto uint8
	a, b  netip.AddrPort // a is the lesser
}

// flowOf is the flow of a frame: of the packet inside a tunnel, and of the one
// that an ICMP error quotes.
func flowOf(frame []byte) (f flow, ok bool) {
	var p wire.Packet
	if p.Parse(frame, wire.Ethernet) != wire.None || p.Version == 0 {
		return f, false
	}
	return flowOfPacket(&p)
}

func flowOfPacket(p *wire.Packet) (flow, bool) {
	var q wire.Packet
	b := p.Transport()
	switch {
	case (p.Proto == wire.ProtoIPIP || p.Proto == wire.ProtoIPv6) && q.Parse(b, wire.IP) == wire.None:
		return flowOfPacket(&q)
	case p.IsICMPError() && len(b) > wire.ICMPLen && q.ParseQuoted(b[wire.ICMPLen:], p.Version) == wire.None:
		return between(q.Proto, q.Src, q.SrcPort, q.Dst, q.DstPort), true
	case p.Version == 6 && p.Proto == wire.ProtoICMPv6 && p.Full && b[0] >= wire.ICMPv6NeighSol && b[0] <= wire.ICMPv6NeighAdv,
		p.Dst.IsMulticast():
		return flow{}, false
	}
	return between(p.Proto, p.Src, p.SrcPort, p.Dst, p.DstPort), true
}

func between(proto uint8, a netip.Addr, aPort uint16, b netip.Addr, bPort uint16) flow {
	f := flow{proto, netip.AddrPortFrom(a, aPort), netip.AddrPortFrom(b, bPort)}
	if f.b.Compare(f.a) < 0 {
		f.a, f.b = f.b, f.a
	}
	return f
}

// hop is a frame's way from one host to another, over any number of switches.
type hop struct {
	rec      *netsim.Record // on the last link
	from, to netsim.Node
	flow     flow
	before   []byte        // of a frame that a director or router sent on: as it came in
	was      flow          // before's
	at       clock.Instant // when it was sent for the first time
	lost     bool
}

// datagram names a datagram that was cut into fragments, of which only the
// first one tells the ports.
type datagram struct {
	src, dst netip.Addr
	proto    uint8
	id       uint32
}

// flows finds the flow of frames, of fragments too once their first was seen.
type flows map[datagram]flow

func (fs flows) of(frame []byte) (flow, bool) {
	f, ok := flowOf(frame)
	p, isIP := innermost(frame)
	if !ok || !isIP || !p.Fragment {
		return f, ok
	}
	d := datagram{p.Src, p.Dst, p.Proto, p.FragID}
	if first, seen := fs[d]; seen && !p.Ports {
		return first, true
	}
	if p.Ports {
		fs[d] = f
	}
	return f, true
}

// hops are the ways of all frames that have a flow, in the order of sending.
func (r *Recording) hops() (list []hop) {
	held := holding{}
	known := flows{}
	for _, s := range r.shots {
		rec := s.rec
		f, ok := known.of(rec.Data)
		first := origin(rec)
		if !ok || !ends(rec) || !meant(rec) {
			continue
		}
		held.take(rec)
		h := hop{rec: rec, from: first.From.Node(), to: rec.To.Node(), flow: f, at: first.Sent, lost: !rec.Fate.Arrives()}
		if h.before = held.became(first); h.before != nil {
			h.was, _ = known.of(h.before)
		}
		list = append(list, h)
	}
	slices.SortStableFunc(list, func(a, b hop) int { return cmp.Compare(a.at, b.at) })
	return list
}

// origin is the frame as its sender sent it, before any switch.
func origin(rec *netsim.Record) *netsim.Record {
	for isSwitch(rec.From.Node()) && rec.Cause != nil {
		rec = rec.Cause
	}
	return rec
}

func isSwitch(n netsim.Node) bool {
	_, ok := n.(*netsim.Switch)
	return ok
}

// ends reports whether the frame's way ends on this link.
func ends(rec *netsim.Record) bool { return !rec.Fate.Arrives() || !isSwitch(rec.To.Node()) }

// meant leaves out what a switch floods to stations that it is not for.
func meant(rec *netsim.Record) bool {
	if len(rec.Data) < wire.EthernetLen {
		return false
	}
	dst := wire.EthernetHeader(rec.Data).Dst()
	return !rec.Fate.Arrives() || dst.IsMulticast() || dst == rec.To.MAC()
}

// holding has, by node, what came in and was not seen to leave: directors and
// routers keep packets until ARP is answered.
type holding map[netsim.Node][]*netsim.Record

// maxHeld bounds how long a frame is remembered, in frames of its node.
const maxHeld = 256

// take notes a frame that came in and is not for the node itself.
func (held holding) take(rec *netsim.Record) {
	n := rec.To.Node()
	if rec.Fate.Arrives() && !own(rec) {
		list := append(held[n], rec)
		held[n] = list[max(0, len(list)-maxHeld):]
	}
}

// own reports whether the frame is a packet to its receiver, a host. To a
// director's address it may be a client's.
func own(rec *netsim.Record) bool {
	var p wire.Packet
	if v := rec.Verdict; v != nil { // consumed: a fragment
		return v.Reason != director.Waiting && v.Reason != director.Consumed
	}
	if p.Parse(rec.Data, wire.Ethernet) != wire.None || p.Version == 0 {
		return true
	}
	for _, port := range ports(rec.To.Node()) {
		for _, a := range port.Addrs() {
			if a.Addr() == p.Dst {
				return true
			}
		}
	}
	return false
}

// became is the frame that became rec in a director or router; nil if rec is
// its sender's own.
func (held holding) became(rec *netsim.Record) []byte {
	n := rec.From.Node()
	if rec.Cause != nil && sameEnd(rec.Cause.Data, rec.Data) {
		held[n] = slices.DeleteFunc(held[n], func(w *netsim.Record) bool { return w == rec.Cause })
		return rec.Cause.Data
	}
	if rec.Cause == nil {
		return nil
	}
	for i, w := range held[n] {
		if sameEnd(w.Data, rec.Data) {
			held[n] = slices.Delete(held[n], i, i+1)
			return w.Data
		}
	}
	return nil
}

// sameEnd reports whether two frames may be one that was sent on: NAT leaves
// one end as it is, everything else both.
func sameEnd(a, b []byte) bool {
	pa, oka := innermost(a)
	pb, okb := innermost(b)
	if !oka || !okb || pa.Proto != pb.Proto {
		return false
	}
	return pa.Src == pb.Src && pa.SrcPort == pb.SrcPort || pa.Dst == pb.Dst && pa.DstPort == pb.DstPort
}

// innermost is the packet of a frame, or the one inside a tunnel.
func innermost(frame []byte) (p wire.Packet, ok bool) {
	if p.Parse(frame, wire.Ethernet) != wire.None || p.Version == 0 {
		return p, false
	}
	for range 2 {
		var q wire.Packet
		if (p.Proto == wire.ProtoIPIP || p.Proto == wire.ProtoIPv6) && q.Parse(p.Transport(), wire.IP) == wire.None {
			p = q
		}
	}
	return p, true
}

// connection is all hops of the flows that a director joins.
type connection struct {
	name string
	hops []hop
}

// connections groups hops: flows that some node turned into each other are one.
func group(hops []hop) []*connection {
	parent := map[flow]flow{}
	var root func(f flow) flow
	root = func(f flow) flow {
		p, ok := parent[f]
		if !ok || p == f {
			return f
		}
		p = root(p)
		parent[f] = p
		return p
	}
	for _, h := range hops {
		if h.before != nil {
			parent[root(h.flow)] = root(h.was)
		}
	}
	byRoot := map[flow]*connection{}
	var list []*connection
	for _, h := range hops {
		k := root(h.flow)
		c := byRoot[k]
		if c == nil {
			c = &connection{name: title(h.rec.Data)}
			byRoot[k] = c
			list = append(list, c)
		}
		c.hops = append(c.hops, h)
	}
	return list
}

// title names a connection after its first packet.
func title(frame []byte) string {
	p, _ := innermost(frame)
	if !p.Ports {
		return fmt.Sprintf("%s %v > %v", protocol(p.Proto), p.Src, p.Dst)
	}
	return fmt.Sprintf("%s %v > %v", protocol(p.Proto), netip.AddrPortFrom(p.Src, p.SrcPort), netip.AddrPortFrom(p.Dst, p.DstPort))
}

func protocol(n uint8) string {
	switch n {
	case wire.ProtoTCP:
		return "tcp"
	case wire.ProtoUDP:
		return "udp"
	case wire.ProtoSCTP:
		return "sctp"
	case wire.ProtoICMP, wire.ProtoICMPv6:
		return "icmp"
	}
	return fmt.Sprintf("protocol %d", n)
}
