package netsim

import (
	"encoding/binary"
	"net/netip"

	"usvs/wire"
)

const (
	arpRequest = 1
	arpReply   = 2
)

// inputARP takes an ARP packet as Linux does: answer if the address is ours
// and arp_ignore lets us, and let the sender's claim update what is known.
func (h *Host) inputARP(p *Port, b []byte) {
	m := wire.ARPHeader(b)
	if !m.Valid() || p.sysctl.noARP {
		return
	}
	op, mac, sender, target := m.Op(), m.SenderMAC(), m.SenderIP(), m.TargetIP()
	if mac == p.mac || mac.IsMulticast() || sender.IsMulticast() || op != arpRequest && op != arpReply {
		return
	}
	if op == arpRequest && h.table.IsLocal(target) && !target.IsLoopback() && !h.ignoresARP(p, target, sender) {
		if !sender.IsUnspecified() { // not a probe (RFC 5227)
			e := h.neigh.enter(p, sender)
			h.neigh.heard(e, mac, false, !h.neigh.locked(e))
		}
		h.sendARP(p, arpReply, mac, target, mac, sender)
		return
	}
	if e := h.neigh.find(p, sender); e != nil {
		gratuitous := sender == target
		h.neigh.heard(e, mac, op == arpReply && !gratuitous, gratuitous || !h.neigh.locked(e))
	}
}

// ignoresARP follows arp_ignore (Linux ip-sysctl: 0 answers for any address of
// the host on any interface, which is what makes the ARP problem of DR).
func (h *Host) ignoresARP(p *Port, target, sender netip.Addr) bool {
	switch max(h.sysctl.all.arpIgnore, p.sysctl.arpIgnore) {
	case 0:
		return false
	case 1:
		return !p.has(target)
	case 2:
		return !p.hasWith(target, sender)
	case 3:
		return h.onLoopback(target)
	}
	return true
}

// has reports whether the interface carries a.
func (p *Port) has(a netip.Addr) bool {
	for _, x := range p.addrs {
		if x.Addr() == a {
			return true
		}
	}
	return false
}

// hasWith reports whether the interface carries a in a subnet with other.
func (p *Port) hasWith(a, other netip.Addr) bool {
	for _, x := range p.addrs {
		if x.Addr() == a && x.Contains(other) {
			return true
		}
	}
	return false
}

func (h *Host) onLoopback(a netip.Addr) bool { return h.lo.has(a) }

// askARP asks for the MAC of target. The packet that waits for it, if there is
// one, may decide who asks (arp_announce).
func (h *Host) askARP(p *Port, target netip.Addr, packet []byte, to wire.MAC) {
	if p.sysctl.noARP {
		return
	}
	dst := to
	if to.IsZero() {
		dst = wire.Broadcast
	}
	h.sendARP(p, arpRequest, dst, h.arpSource(p, target, packet), to, target)
}

// arpSource follows arp_announce (Linux ip-sysctl): 0 asks in the name of the
// waiting packet's source, be it a VIP on lo; 2 always in that of the
// interface's own address; 1 of the packet's if it is of the target's subnet.
func (h *Host) arpSource(p *Port, target netip.Addr, packet []byte) netip.Addr {
	own := h.table.Interfaces[p.index].SourceFor(target)
	if len(packet) >= wire.IPv4Len && packet[0]>>4 == 4 {
		src := wire.IPv4(packet).Src()
		switch max(h.sysctl.all.arpAnnounce, p.sysctl.arpAnnounce) {
		case 0:
			if h.table.IsLocal(src) {
				return src
			}
		case 1:
			if p.hasWith(src, target) {
				return src
			}
		}
	}
	if !own.Is4() {
		return netip.IPv4Unspecified()
	}
	return own
}

// Announce sends a gratuitous ARP request, or an unsolicited advertisement, for
// an address of the interface, as arping -U and keepalived do.
func (p *Port) Announce(addr netip.Addr) {
	h := hostOf(p.node)
	if h == nil {
		return
	}
	if addr.Is4() {
		h.sendARP(p, arpRequest, wire.Broadcast, addr, wire.MAC{}, addr)
		return
	}
	h.advertise(p, addr, netip.IPv6Unspecified(), wire.MAC{})
}

func (h *Host) sendARP(p *Port, op uint16, dst wire.MAC, spa netip.Addr, tha wire.MAC, tpa netip.Addr) {
	f := h.net.frame(smallFrame)
	f.SetLen(wire.EthernetLen + wire.ARPLen)
	eth := wire.EthernetHeader(f.Bytes())
	eth.SetDst(dst)
	eth.SetSrc(p.mac)
	eth.SetType(wire.TypeARP)
	b := eth[wire.EthernetLen:]
	binary.BigEndian.PutUint16(b, 1) // Ethernet
	binary.BigEndian.PutUint16(b[2:], wire.TypeIPv4)
	b[4], b[5] = 6, 4
	binary.BigEndian.PutUint16(b[6:], op)
	copy(b[8:], p.mac[:])
	copy(b[14:], spa.AsSlice())
	copy(b[18:], tha[:])
	copy(b[24:], tpa.AsSlice())
	p.send(f)
}
