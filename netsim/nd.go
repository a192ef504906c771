package netsim

import (
	"encoding/binary"
	"net/netip"

	"usvs/arp"
	"usvs/wire"
)

// Neighbour discovery (RFC 4861): the parts a host of one link layer needs.
const (
	ndLen         = 24
	ndSourceLink  = 1
	ndTargetLink  = 2
	ndLinkOption  = 8
	flagRouter    = 0x80
	flagSolicited = 0x40
	flagOverride  = 0x20
)

var allNodes = netip.MustParseAddr("ff02::1")

// inputND takes a neighbour solicitation or advertisement.
func (h *Host) inputND(p *Port, pk *wire.Packet) {
	m := pk.Transport()
	sum := wire.PseudoSum(pk.Src, pk.Dst, wire.ProtoICMPv6, len(m))
	if len(m) < ndLen || pk.TTL != 255 || m[1] != 0 || wire.Fold(wire.Sum(m, sum)) != 0xffff {
		h.count("bad neighbour discovery")
		return
	}
	target := netip.AddrFrom16([16]byte(m[8:24]))
	if m[0] == wire.ICMPv6NeighSol {
		h.solicited(p, pk.Src, target, linkOption(m[ndLen:], ndSourceLink))
		return
	}
	h.advertised(p, target, m[4], linkOption(m[ndLen:], ndTargetLink))
}

// linkOption finds a link-layer address among options.
func linkOption(b []byte, kind byte) wire.MAC {
	for len(b) >= 8 && b[1] > 0 && int(b[1])*8 <= len(b) {
		if b[0] == kind && b[1] == 1 {
			return wire.MAC(b[2:8])
		}
		b = b[int(b[1])*8:]
	}
	return wire.MAC{}
}

// solicited answers a question. Linux answers for the addresses of the
// interface that is asked, and of no other: an IPv6 VIP on lo stays unknown.
func (h *Host) solicited(p *Port, asker, target netip.Addr, mac wire.MAC) {
	if mac == p.mac || !p.has(target) {
		return
	}
	if !asker.IsUnspecified() && !mac.IsZero() {
		e := h.neigh.enter(p, asker)
		h.neigh.heard(e, mac, false, true)
	}
	h.advertise(p, target, asker, mac)
}

// advertised takes an answer, or news (RFC 4861 section 7.2.5).
func (h *Host) advertised(p *Port, target netip.Addr, flags byte, mac wire.MAC) {
	e := h.neigh.find(p, target)
	if e == nil || mac == p.mac {
		return
	}
	if mac.IsZero() {
		if e.State == Incomplete || e.State == Failed {
			return
		}
		mac = e.MAC
	}
	h.neigh.heard(e, mac, flags&flagSolicited != 0, flags&flagOverride != 0)
}

// advertise tells the asker, or everybody, where target is.
func (h *Host) advertise(p *Port, target, asker netip.Addr, mac wire.MAC) {
	flags := byte(flagSolicited | flagOverride)
	if asker.IsUnspecified() || mac.IsZero() {
		flags, asker, mac = flagOverride, allNodes, arp.GroupMAC(allNodes)
	}
	if h.sysctl.forward6 {
		flags |= flagRouter
	}
	h.sendND(p, wire.ICMPv6NeighAdv, flags, target, target, asker, mac)
}

// askND asks for the MAC of target, in the name of the waiting packet's source
// if the interface carries that.
func (h *Host) askND(p *Port, target netip.Addr, packet []byte, to wire.MAC) {
	src := h.table.Interfaces[p.index].SourceFor(target)
	if len(packet) >= wire.IPv6Len && packet[0]>>4 == 6 {
		if s := wire.IPv6(packet).Src(); p.has(s) {
			src = s
		}
	}
	if !src.Is6() {
		return
	}
	dst := target
	if to.IsZero() {
		dst = arp.SolicitedNode(target)
		to = arp.GroupMAC(dst)
	}
	h.sendND(p, wire.ICMPv6NeighSol, 0, target, src, dst, to)
}

func (h *Host) sendND(p *Port, kind, flags byte, target, src, dst netip.Addr, to wire.MAC) {
	f := h.net.frame(smallFrame)
	f.SetLen(wire.EthernetLen + wire.IPv6Len + ndLen + ndLinkOption)
	b := f.Bytes()
	clear(b)
	eth := wire.EthernetHeader(b)
	eth.SetDst(to)
	eth.SetSrc(p.mac)
	eth.SetType(wire.TypeIPv6)
	m := b[wire.EthernetLen+wire.IPv6Len:]
	putIPv6(b[wire.EthernetLen:], src, dst, wire.ProtoICMPv6, 255, len(m))
	m[0], m[4] = kind, flags
	t := target.As16()
	copy(m[8:], t[:])
	m[24], m[25] = ndSourceLink, 1
	if kind == wire.ICMPv6NeighAdv {
		m[24] = ndTargetLink
	}
	copy(m[26:], p.mac[:])
	sum := wire.PseudoSum(src, dst, wire.ProtoICMPv6, len(m))
	binary.BigEndian.PutUint16(m[2:], ^wire.Fold(wire.Sum(m, sum)))
	p.send(f)
}
