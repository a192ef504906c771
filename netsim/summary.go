package netsim

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"usvs/wire"
)

// Summary describes an Ethernet frame in a line, much as tcpdump does.
func Summary(frame []byte) string {
	var p wire.Packet
	if m := p.Parse(frame, wire.Ethernet); m != wire.None {
		return fmt.Sprintf("malformed (%v), %d bytes", m, len(frame))
	}
	switch {
	case p.EtherType == wire.TypeARP:
		return arpSummary(frame[p.L3:])
	case p.Version == 0:
		return fmt.Sprintf("ethertype 0x%04x, %d bytes", p.EtherType, len(frame))
	}
	return ipSummary(&p)
}

func arpSummary(b []byte) string {
	h := wire.ARPHeader(b)
	switch {
	case !h.Valid():
		return "ARP, malformed"
	case h.Op() == arpReply:
		return fmt.Sprintf("ARP %v is at %v", h.SenderIP(), h.SenderMAC())
	case h.SenderIP() == h.TargetIP():
		return fmt.Sprintf("ARP announcement: %v is at %v", h.SenderIP(), h.SenderMAC())
	}
	return fmt.Sprintf("ARP who has %v? tell %v", h.TargetIP(), h.SenderIP())
}

func ipSummary(p *wire.Packet) string {
	var s string
	switch {
	case p.Fragment && p.FragOffset > 0:
		s = fmt.Sprintf("%v > %v: fragment of protocol %d at %d", p.Src, p.Dst, p.Proto, p.FragOffset)
	case p.Ports && p.Proto == wire.ProtoTCP && p.Full:
		s = tcpSummary(p)
	case p.Ports:
		s = fmt.Sprintf("%v.%d > %v.%d: %s, length %d", p.Src, p.SrcPort, p.Dst, p.DstPort, protoName(p.Proto), p.End-p.L4)
	case p.Proto == wire.ProtoICMP || p.Proto == wire.ProtoICMPv6:
		s = icmpSummary(p)
	case p.Proto == wire.ProtoIPIP || p.Proto == wire.ProtoIPv6:
		return fmt.Sprintf("%v > %v: tunnel: %s", p.Src, p.Dst, innerSummary(p))
	default:
		s = fmt.Sprintf("%v > %v: protocol %d, length %d", p.Src, p.Dst, p.Proto, p.End-p.L4)
	}
	if p.MoreFrags {
		s += ", more fragments"
	}
	return s
}

func innerSummary(p *wire.Packet) string {
	var q wire.Packet
	if m := q.Parse(p.Transport(), wire.IP); m != wire.None {
		return fmt.Sprintf("malformed (%v)", m)
	}
	return ipSummary(&q)
}

func protoName(proto uint8) string {
	switch proto {
	case wire.ProtoUDP:
		return "UDP"
	case wire.ProtoSCTP:
		return "SCTP"
	case wire.ProtoTCP:
		return "TCP"
	}
	return fmt.Sprintf("protocol %d", proto)
}

func tcpSummary(p *wire.Packet) string {
	t := wire.TCP(p.Transport())
	return fmt.Sprintf("%v.%d > %v.%d: TCP %s seq %d ack %d win %d, length %d", p.Src, p.SrcPort, p.Dst, p.DstPort,
		FlagNames(p.TCPFlags), t.Seq(), t.Ack(), t.Window(), max(0, len(t)-t.HeaderLen()))
}

// FlagNames writes TCP flags as letters, in tcpdump's way: S for SYN, a dot
// for ACK.
func FlagNames(flags uint8) string {
	var b strings.Builder
	for _, f := range [...]struct {
		bit  uint8
		name byte
	}{
		{wire.FlagSYN, 'S'}, {wire.FlagFIN, 'F'}, {wire.FlagRST, 'R'}, {wire.FlagPSH, 'P'},
		{wire.FlagURG, 'U'}, {wire.FlagACK, '.'},
	} {
		if flags&f.bit != 0 {
			b.WriteByte(f.name)
		}
	}
	if b.Len() == 0 {
		return "none"
	}
	return b.String()
}

func icmpSummary(p *wire.Packet) string {
	m := p.Transport()
	if len(m) < wire.ICMPLen {
		return fmt.Sprintf("%v > %v: ICMP, too short", p.Src, p.Dst)
	}
	v6 := p.Version == 6
	s := fmt.Sprintf("%v > %v: %s", p.Src, p.Dst, icmpName(v6, m[0], m[1]))
	switch {
	case !v6 && m[0] == wire.ICMPUnreachable && m[1] == 4:
		s += fmt.Sprintf(", mtu %d", binary.BigEndian.Uint16(m[6:]))
	case v6 && m[0] == wire.ICMPv6TooBig:
		s += fmt.Sprintf(", mtu %d", binary.BigEndian.Uint32(m[4:]))
	case v6 && (m[0] == wire.ICMPv6NeighSol || m[0] == wire.ICMPv6NeighAdv) && len(m) >= 24:
		return s + fmt.Sprintf(" %v", netip.AddrFrom16([16]byte(m[8:24])))
	}
	if p.IsICMPError() {
		var q wire.Packet
		if q.ParseQuoted(m[wire.ICMPLen:], p.Version) == wire.None {
			s += " [" + ipSummary(&q) + "]"
		}
		return s
	}
	return s + fmt.Sprintf(", length %d", len(m))
}

// icmpName is the name of an ICMP type and code.
func icmpName(v6 bool, typ, code uint8) string {
	names := icmp4Names
	if v6 {
		names = icmp6Names
	}
	if s, ok := names[[2]uint8{typ, code}]; ok {
		return "ICMP " + s
	}
	return fmt.Sprintf("ICMP type %d code %d", typ, code)
}

var icmp4Names = map[[2]uint8]string{
	{0, 0}: "echo reply", {8, 0}: "echo request", {11, 0}: "time exceeded", {11, 1}: "reassembly time exceeded",
	{3, 0}: "network unreachable", {3, 1}: "host unreachable", {3, 2}: "protocol unreachable",
	{3, 3}: "port unreachable", {3, 4}: "fragmentation needed", {3, 13}: "prohibited",
}

var icmp6Names = map[[2]uint8]string{
	{128, 0}: "echo request", {129, 0}: "echo reply", {3, 0}: "time exceeded", {3, 1}: "reassembly time exceeded", {2, 0}: "packet too big",
	{1, 0}: "no route", {1, 1}: "prohibited", {1, 3}: "address unreachable", {1, 4}: "port unreachable",
	{4, 0}: "wrong header field", {4, 1}: "unknown next header", {4, 3}: "incomplete headers", {135, 0}: "neighbour solicitation", {136, 0}: "neighbour advertisement",
}
