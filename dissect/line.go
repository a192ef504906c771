package dissect

import (
	"encoding/binary"
	"fmt"
	"strings"

	"usvs/wire"
)

// Line says in a few words what a frame is, without its link header.
func Line(frame []byte, m wire.Medium) string {
	var p wire.Packet
	if bad := p.Parse(frame, m); bad != wire.None {
		return "malformed: " + bad.String()
	}
	switch {
	case p.EtherType == wire.TypeARP:
		return arpLine(frame[p.L3:])
	case p.Version == 0:
		return fmt.Sprintf("type %#04x", p.EtherType)
	}
	return Packet(&p)
}

func arpLine(b []byte) string {
	h := wire.ARPHeader(b)
	switch {
	case len(b) < wire.ARPLen || !h.Valid():
		return "ARP"
	case h.Op() == 1 && h.SenderIP() == h.TargetIP():
		return fmt.Sprintf("ARP %v is at %v (announcement)", h.SenderIP(), h.SenderMAC())
	case h.Op() == 1:
		return fmt.Sprintf("ARP who has %v? tell %v", h.TargetIP(), h.SenderIP())
	}
	return fmt.Sprintf("ARP %v is at %v", h.SenderIP(), h.SenderMAC())
}

// Packet says in a few words what an IP packet is.
func Packet(p *wire.Packet) string {
	if inner, ok := tunnelled(p); ok {
		return fmt.Sprintf("%v > %v %s [%s]", p.Src, p.Dst, encapsulation(p), Packet(&inner))
	}
	s := fmt.Sprintf("%s %s > %s", strings.ToLower(protocolName(p.Proto)),
		endpoint(p.Src, p.Ports, p.SrcPort), endpoint(p.Dst, p.Ports, p.DstPort))
	if p.Fragment {
		s += " fragment " + fragment(p)
	}
	if p.FragOffset > 0 || !p.Full {
		return s
	}
	switch p.Proto {
	case wire.ProtoTCP:
		s += " " + Flags(p.TCPFlags)
	case wire.ProtoICMP, wire.ProtoICMPv6:
		s += " " + message(p)
	}
	return strings.TrimRight(s, " ")
}

func encapsulation(p *wire.Packet) string {
	switch p.Proto {
	case wire.ProtoGRE:
		return "gre"
	case wire.ProtoUDP:
		return "gue"
	}
	return "ipip"
}

// names of ICMP messages, by version, type and code where that matters.
var messages4 = map[[2]uint8]string{
	{0, 0}: "echo reply", {8, 0}: "echo request",
	{3, 0}: "net unreachable", {3, 1}: "host unreachable", {3, 2}: "protocol unreachable", {3, 3}: "port unreachable",
	{3, 4}: "fragmentation needed", {11, 0}: "ttl exceeded", {11, 1}: "reassembly time exceeded",
}

var messages6 = map[[2]uint8]string{
	{128, 0}: "echo request", {129, 0}: "echo reply", {1, 0}: "no route", {1, 3}: "address unreachable",
	{1, 4}: "port unreachable", {2, 0}: "packet too big", {3, 0}: "hop limit exceeded",
	{3, 1}: "reassembly time exceeded", {4, 0}: "wrong header field", {4, 1}: "unknown next header", {4, 3}: "incomplete headers",
	{133, 0}: "router solicitation", {134, 0}: "router advertisement",
	{135, 0}: "neighbour solicitation", {136, 0}: "neighbour advertisement", {143, 0}: "multicast listener report",
}

func message(p *wire.Packet) string {
	b := p.Transport()
	names := messages4
	if p.Version == 6 {
		names = messages6
	}
	s, ok := names[[2]uint8{b[0], b[1]}]
	if !ok {
		s = fmt.Sprintf("type %d code %d", b[0], b[1])
	}
	if len(b) < wire.ICMPLen || !p.IsICMPError() {
		return s
	}
	switch s {
	case "fragmentation needed":
		s += fmt.Sprintf(" (mtu %d)", binary.BigEndian.Uint16(b[6:]))
	case "packet too big":
		s += fmt.Sprintf(" (mtu %d)", binary.BigEndian.Uint32(b[4:]))
	}
	var q wire.Packet
	if q.ParseQuoted(b[wire.ICMPLen:], p.Version) == wire.None {
		s += fmt.Sprintf(" about %s %s > %s", strings.ToLower(protocolName(q.Proto)),
			endpoint(q.Src, q.Ports, q.SrcPort), endpoint(q.Dst, q.Ports, q.DstPort))
	}
	return s
}
