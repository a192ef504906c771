package dissect

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"usvs/wire"
)

// Field is a field of a header.
type Field struct {
	Layer string `json:"layer"`
	Name  string `json:"name"`
	Value string `json:"value"`
}

// maxDepth bounds how many packets in packets are looked into.
const maxDepth = 4

// Fields lists the fields of a frame's headers from the outside in, as far as
// the frame can be read.
func Fields(frame []byte, m wire.Medium) []Field {
	var d dissection
	d.frame(frame, m)
	return d.fields
}

// dissection collects fields.
type dissection struct {
	fields []Field
	prefix string // of the layers' names
	depth  int
}

func (d *dissection) add(layer, name, format string, args ...any) {
	d.fields = append(d.fields, Field{d.prefix + layer, name, fmt.Sprintf(format, args...)})
}

func (d *dissection) frame(frame []byte, m wire.Medium) {
	var p wire.Packet
	bad := p.Parse(frame, m)
	if m == wire.Ethernet && len(frame) >= wire.EthernetLen {
		h := wire.EthernetHeader(frame)
		d.add("Ethernet", "dst", "%v", h.Dst())
		d.add("Ethernet", "src", "%v", h.Src())
		d.add("Ethernet", "type", "%#04x", h.Type())
	}
	if bad != wire.None {
		d.add("malformed", "why", "%v", bad)
		return
	}
	switch {
	case p.EtherType == wire.TypeARP:
		d.arp(frame[p.L3:])
	case p.Version != 0:
		d.packet(&p)
	}
}

func (d *dissection) arp(b []byte) {
	h := wire.ARPHeader(b)
	if len(b) < wire.ARPLen || !h.Valid() {
		return
	}
	d.add("ARP", "operation", "%s", arpOperation(h.Op()))
	d.add("ARP", "sender MAC", "%v", h.SenderMAC())
	d.add("ARP", "sender IP", "%v", h.SenderIP())
	d.add("ARP", "target MAC", "%v", h.TargetMAC())
	d.add("ARP", "target IP", "%v", h.TargetIP())
}

func arpOperation(op uint16) string {
	switch op {
	case 1:
		return "request"
	case 2:
		return "reply"
	}
	return fmt.Sprint(op)
}

// packet lists an IP packet's headers, and what is inside of it.
func (d *dissection) packet(p *wire.Packet) {
	inner, ok := tunnelled(p)
	prefix := d.prefix
	if ok && d.depth < maxDepth {
		d.prefix += "outer "
	}
	d.ip(p)
	if p.FragOffset == 0 {
		d.transport(p)
	}
	d.prefix = prefix
	if ok && d.depth < maxDepth {
		d.depth++
		d.packet(&inner)
	}
}

func (d *dissection) ip(p *wire.Packet) {
	if p.Version == 6 {
		h := p.V6()
		d.add("IPv6", "src", "%v", h.Src())
		d.add("IPv6", "dst", "%v", h.Dst())
		d.add("IPv6", "hop limit", "%d", h.HopLimit())
		d.add("IPv6", "payload length", "%d", h.PayloadLen())
		d.add("IPv6", "next header", "%d", h.NextHeader())
		d.add("IPv6", "traffic class", "%#02x", h.TrafficClass())
		d.add("IPv6", "flow label", "%#05x", h.FlowLabel())
		if p.Fragment {
			d.add("IPv6", "fragment", "%s", fragment(p))
		}
		return
	}
	h := p.V4()
	d.add("IPv4", "src", "%v", h.Src())
	d.add("IPv4", "dst", "%v", h.Dst())
	d.add("IPv4", "ttl", "%d", h.TTL())
	d.add("IPv4", "length", "%d", h.TotalLen())
	d.add("IPv4", "protocol", "%d", h.Proto())
	d.add("IPv4", "id", "%d", h.ID())
	d.add("IPv4", "df", "%t", h.DF())
	if p.Fragment {
		d.add("IPv4", "fragment", "%s", fragment(p))
	}
	d.add("IPv4", "tos", "%#02x", h.TOS())
	d.add("IPv4", "checksum", "%#04x", h.Checksum())
}

func fragment(p *wire.Packet) string {
	more := "last"
	if p.MoreFrags {
		more = "more follow"
	}
	return fmt.Sprintf("from byte %d, %s", p.FragOffset, more)
}

func (d *dissection) transport(p *wire.Packet) {
	b := p.Transport()
	switch {
	case p.Proto == wire.ProtoTCP && p.Full:
		d.tcp(b)
	case p.Proto == wire.ProtoUDP && p.Full:
		h := wire.UDP(b)
		d.ports("UDP", p)
		d.add("UDP", "length", "%d", h.Length())
		d.add("UDP", "checksum", "%#04x", h.Checksum())
	case p.Proto == wire.ProtoSCTP && p.Ports:
		d.ports("SCTP", p)
		if len(b) >= wire.SCTPLen {
			d.add("SCTP", "checksum", "%#08x", binary.BigEndian.Uint32(b[8:]))
		}
	case (p.Proto == wire.ProtoICMP || p.Proto == wire.ProtoICMPv6) && p.Full:
		d.icmp(p, b)
	}
}

func (d *dissection) ports(layer string, p *wire.Packet) {
	d.add(layer, "src port", "%d", p.SrcPort)
	d.add(layer, "dst port", "%d", p.DstPort)
}

func (d *dissection) tcp(b []byte) {
	h := wire.TCP(b)
	d.add("TCP", "src port", "%d", h.SrcPort())
	d.add("TCP", "dst port", "%d", h.DstPort())
	d.add("TCP", "flags", "%s", Flags(h.Flags()))
	d.add("TCP", "seq", "%d", h.Seq())
	d.add("TCP", "ack", "%d", h.Ack())
	d.add("TCP", "window", "%d", h.Window())
	d.add("TCP", "checksum", "%#04x", h.Checksum())
}

func (d *dissection) icmp(p *wire.Packet, b []byte) {
	layer := "ICMP"
	if p.Version == 6 {
		layer = "ICMPv6"
	}
	h := wire.ICMP(b)
	d.add(layer, "type", "%d", h.Type())
	d.add(layer, "code", "%d", h.Code())
	d.add(layer, "checksum", "%#04x", h.Checksum())
	if len(b) < wire.ICMPLen {
		return
	}
	if !p.IsICMPError() {
		d.add(layer, "rest", "%#08x", binary.BigEndian.Uint32(b[4:]))
		return
	}
	d.add(layer, "mtu", "%d", binary.BigEndian.Uint16(b[6:]))
	var q wire.Packet
	if d.depth >= maxDepth || q.ParseQuoted(b[wire.ICMPLen:], p.Version) != wire.None {
		return
	}
	prefix := d.prefix
	d.prefix += "quoted "
	d.ip(&q)
	if q.Ports {
		d.ports(protocolName(q.Proto), &q)
	}
	d.prefix = prefix
}

// Flags writes TCP flags as one letter each.
func Flags(flags uint8) string {
	s := ""
	for i, name := range "FSRPAU" {
		if flags&(1<<i) != 0 {
			s += string(name)
		}
	}
	return s
}

// tunnelled finds the packet inside one of the encapsulations LVS uses: IP in
// IP, GRE (RFC 2784), and GUE, which no number in the packet tells from other
// UDP: it is taken for that if what follows is a packet of just the right length.
func tunnelled(p *wire.Packet) (inner wire.Packet, ok bool) {
	b, skip := p.Transport(), 0
	switch {
	case p.Fragment:
		return inner, false
	case p.Proto == wire.ProtoIPIP, p.Proto == wire.ProtoIPv6:
	case p.Proto == wire.ProtoGRE && len(b) >= 4:
		if skip = 4; b[0]&0x80 != 0 {
			skip = 8
		}
	case p.Proto == wire.ProtoUDP && len(b) > wire.UDPLen+4 && b[wire.UDPLen]&0xe0 == 0:
		skip = wire.UDPLen + 4 + 4*int(b[wire.UDPLen]&0x1f)
	default:
		return inner, false
	}
	if skip >= len(b) || inner.Parse(b[skip:], wire.IP) != wire.None {
		return inner, false
	}
	return inner, p.Proto != wire.ProtoUDP || inner.IPLen() == len(b)-skip
}

func protocolName(proto uint8) string {
	switch proto {
	case wire.ProtoTCP:
		return "TCP"
	case wire.ProtoUDP:
		return "UDP"
	case wire.ProtoSCTP:
		return "SCTP"
	case wire.ProtoICMP:
		return "ICMP"
	case wire.ProtoICMPv6:
		return "ICMPv6"
	}
	return fmt.Sprintf("protocol %d", proto)
}

func endpoint(a netip.Addr, ports bool, port uint16) string {
	if !ports {
		return a.String()
	}
	return netip.AddrPortFrom(a, port).String()
}
