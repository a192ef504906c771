package arp

import (
	"net/netip"

	"usvs/clock"
	"usvs/wire"
)

// handleARP takes an ARP packet (RFC 826, "Packet Reception").
func (c *Cache) handleARP(now clock.Instant, port int, p *wire.Packet, out Sink) bool {
	h := wire.ARPHeader(p.Data[p.L3:])
	if !h.Valid() {
		c.count(ARPMalformed)
		return false
	}
	op, mac, sender, target := h.Op(), h.SenderMAC(), h.SenderIP(), h.TargetIP()
	switch {
	case op != opRequest && op != opReply:
		c.count(ARPBadOp)
		return false
	case c.local.Ours(mac):
		c.count(Own)
		return true
	case mac.IsMulticast() || mac.IsZero() || !host4(sender) && sender != zero4:
		c.count(ARPBadSender)
		return false
	case sender != zero4 && c.local.Claims(port, sender):
		c.conflict(now, port, sender, mac, out)
		return c.local.Owned(port, sender)
	case op == opRequest && c.local.Owned(port, target):
		if sender != zero4 { // not a probe (RFC 5227 section 2.1.1)
			c.learn(now, port, sender, mac, out)
		}
		c.answerARP(port, h, out)
		return true
	}
	if n := c.find(port, sender); n != nil {
		direct := op == opReply && !wire.EthernetHeader(p.Data).Dst().IsMulticast()
		c.update(now, n, mac, direct, sender == target, out)
	}
	return false
}

// answerARP says where the address is that h asks for.
func (c *Cache) answerARP(port int, h wire.ARPHeader, out Sink) {
	sent := c.sendARP(port, arpMessage{
		op:         opReply,
		sha:        c.local.MAC(port, h.TargetIP()),
		spa:        h.TargetIP(),
		tha:        h.SenderMAC(),
		tpa:        h.SenderIP(),
		linkTarget: h.SenderMAC(),
	}, out)
	if sent {
		c.count(RepliesSent)
	}
}

// host4 reports whether a can be the address of a single host on a link.
func host4(a netip.Addr) bool {
	return !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback() && a.As4()[0] < 240
}

// isND reports whether the packet is one of those handleND takes.
func isND(p *wire.Packet) bool {
	if p.Version != 6 || p.Proto != wire.ProtoICMPv6 || p.FragOffset != 0 || p.L4 >= p.End {
		return false
	}
	switch p.Data[p.L4] {
	case wire.ICMPv6NeighSol, wire.ICMPv6NeighAdv, typeMLDQuery:
		return true
	}
	return false
}

// handleND validates what is common to all messages (RFC 4861 section 7.1,
// RFC 3810 section 6.2) and hands them on.
func (c *Cache) handleND(now clock.Instant, port int, p *wire.Packet, out Sink) bool {
	m := p.Transport()
	hops := uint8(255)
	if m[0] == typeMLDQuery {
		hops = 1
	}
	sum := wire.PseudoSum(p.Src, p.Dst, wire.ProtoICMPv6, len(m))
	switch {
	case p.Fragment:
		c.count(NDFragment)
	case p.TTL != hops:
		c.count(NDHopLimit)
	case len(m) < ndLen || m[1] != 0:
		c.count(NDMalformed)
	case wire.Fold(wire.Sum(m, sum)) != 0xffff:
		c.count(NDChecksum)
	case m[0] == typeMLDQuery:
		c.handleQuery(now, port, p, m)
	default:
		return c.handleNeighbour(now, port, p, m, out)
	}
	return false
}

func (c *Cache) handleNeighbour(now clock.Instant, port int, p *wire.Packet, m []byte, out Sink) bool {
	target := netip.AddrFrom16([16]byte(m[8:24]))
	solicitation := m[0] == wire.ICMPv6NeighSol
	kind := byte(optTargetLink)
	if solicitation {
		kind = optSourceLink
	}
	link, hasLink, ok := linkOption(m[ndLen:], kind)
	if !ok || target.IsMulticast() || target.IsUnspecified() || p.Src.IsMulticast() {
		c.count(NDMalformed)
		return false
	}
	if hasLink && c.local.Ours(link) {
		c.count(Own)
		return true
	}
	if solicitation {
		return c.handleSolicitation(now, port, p, target, link, hasLink, out)
	}
	return c.handleAdvertisement(now, port, p, m[4], target, link, hasLink, out)
}

// linkOption walks the options and returns the link-layer address of the given
// kind. It reports !ok if an option is malformed (RFC 4861 section 4.6).
func linkOption(b []byte, kind byte) (mac wire.MAC, found, ok bool) {
	for len(b) > 0 {
		if len(b) < 2 || b[1] == 0 || int(b[1])*8 > len(b) {
			return mac, false, false
		}
		if b[0] == kind && b[1] == linkOptLen/8 && !found {
			mac, found = wire.MAC(b[2:8]), true
			if mac.IsMulticast() || mac.IsZero() {
				return mac, false, false
			}
		}
		b = b[int(b[1])*8:]
	}
	return mac, found, true
}

// handleSolicitation follows RFC 4861 sections 7.1.1, 7.2.3 and 7.2.4.
func (c *Cache) handleSolicitation(now clock.Instant, port int, p *wire.Packet, target netip.Addr, link wire.MAC, hasLink bool, out Sink) bool {
	probe := p.Src.IsUnspecified() // duplicate address detection
	if probe && (hasLink || p.Dst != SolicitedNode(target)) {
		c.count(NDMalformed)
		return false
	}
	src := wire.EthernetHeader(p.Data).Src()
	if !probe && c.local.Claims(port, p.Src) {
		if hasLink {
			src = link
		}
		c.conflict(now, port, p.Src, src, out)
		return c.local.Owned(port, p.Src)
	}
	if !c.local.Owned(port, target) {
		if n := c.find(port, p.Src); n != nil && hasLink {
			c.update(now, n, link, false, true, out)
		}
		return false
	}
	if hasLink {
		c.learn(now, port, p.Src, link, out)
		src = link
	}
	c.answerND(port, target, p.Src, src, out)
	return true
}

// answerND says where target is: to the asker, or to all if that has no address yet.
func (c *Cache) answerND(port int, target, asker netip.Addr, mac wire.MAC, out Sink) {
	m := ndMessage{
		kind:       wire.ICMPv6NeighAdv,
		flags:      c.routerFlag() | flagSolicited | flagOverride,
		target:     target,
		src:        target,
		dst:        asker,
		link:       c.local.MAC(port, target),
		linkTarget: mac,
	}
	if asker.IsUnspecified() {
		m.flags &^= flagSolicited
		m.dst, m.linkTarget = allNodes, GroupMAC(allNodes)
	}
	if c.sendND(port, m, out) {
		c.count(RepliesSent)
	}
}

func (c *Cache) routerFlag() uint8 {
	if c.cfg.Router {
		return flagRouter
	}
	return 0
}

// handleAdvertisement follows RFC 4861 sections 7.1.2 and 7.2.5.
func (c *Cache) handleAdvertisement(now clock.Instant, port int, p *wire.Packet, flags uint8, target netip.Addr, link wire.MAC, hasLink bool, out Sink) bool {
	solicited, override := flags&flagSolicited != 0, flags&flagOverride != 0
	if p.Dst.IsMulticast() && solicited {
		c.count(NDMalformed)
		return false
	}
	if c.local.Claims(port, target) {
		if !hasLink {
			link = wire.EthernetHeader(p.Data).Src()
		}
		c.conflict(now, port, target, link, out)
		return c.local.Owned(port, target)
	}
	n := c.find(port, target)
	if n == nil {
		return false
	}
	w := n.word()
	switch {
	case !w.usable() && !hasLink:
		return false
	case !hasLink:
		link = w.mac()
	case w.usable() && link != w.mac() && !override:
		if w.state() == Reachable {
			n.swap(w, w.with(Stale, 0))
		}
		return false
	}
	c.update(now, n, link, solicited, true, out)
	return false
}

// solicit asks for a neighbour: everybody, or by unicast the one believed to be it.
func (c *Cache) solicit(port int, addr netip.Addr, mac wire.MAC, out Sink) {
	src := c.local.Source(port, addr)
	sent := false
	switch {
	case addr.Is4() && !src.Is4():
		sent = c.askARP(port, addr, zero4, mac, out) // a probe is answered as well
	case addr.Is4():
		sent = c.askARP(port, addr, src, mac, out)
	case !src.IsValid() || src.Is4():
		c.count(NoSource)
	default:
		sent = c.askND(port, addr, src, mac, out)
	}
	if sent {
		c.count(RequestsSent)
	}
}

func (c *Cache) askARP(port int, addr, src netip.Addr, mac wire.MAC, out Sink) bool {
	m := arpMessage{op: opRequest, sha: c.local.MAC(port, src), spa: src, tpa: addr, linkTarget: mac}
	if mac.IsZero() {
		m.linkTarget = wire.Broadcast
	}
	return c.sendARP(port, m, out)
}

func (c *Cache) askND(port int, addr, src netip.Addr, mac wire.MAC, out Sink) bool {
	m := ndMessage{
		kind: wire.ICMPv6NeighSol, target: addr, src: src, dst: addr,
		link: c.local.MAC(port, src), linkTarget: mac,
	}
	if mac.IsZero() {
		m.dst = SolicitedNode(addr)
		m.linkTarget = GroupMAC(m.dst)
	}
	return c.sendND(port, m, out)
}
