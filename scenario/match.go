package scenario

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"usvs/wire"
)

// view is a frame taken apart. A frame that was cut short is no less valid.
type view struct {
	data     []byte
	eth      wire.EthernetHeader
	arp      wire.ARPHeader // if it is ARP
	ip       wire.Packet    // Version 0 if it is not IP
	total    int            // length of the IP packet by its header
	inner    wire.Packet    // carried or quoted; Version 0 if there is none
	innerLen int
}

// look takes a frame apart; ok is false if it is too short for Ethernet.
func look(data []byte) (v view, ok bool) {
	if len(data) < wire.EthernetLen {
		return v, false
	}
	v.data, v.eth = data, wire.EthernetHeader(data)
	body := data[wire.EthernetLen:]
	switch v.eth.Type() {
	case wire.TypeARP:
		if h := wire.ARPHeader(body); h.Valid() {
			v.arp = h
		}
	case wire.TypeIPv4:
		v.total = parseIP(&v.ip, body, 4)
	case wire.TypeIPv6:
		v.total = parseIP(&v.ip, body, 6)
	}
	v.lookInside()
	return v, true
}

// parseIP parses what may be cut short and returns the length it had.
func parseIP(p *wire.Packet, b []byte, version uint8) int {
	if p.ParseQuoted(b, version) != wire.None {
		*p = wire.Packet{}
		return 0
	}
	if version == 4 {
		return wire.IPv4(b).TotalLen()
	}
	return wire.IPv6Len + wire.IPv6(b).PayloadLen()
}

// greFlags are the optional words of a GRE header (RFC 2784, RFC 2890).
const greChecksum, greKey, greSequence = 0x80, 0x20, 0x10

// lookInside parses what a tunnel carries or an ICMP error quotes.
func (v *view) lookInside() {
	if v.ip.Version == 0 || v.ip.FragOffset != 0 {
		return
	}
	b := v.ip.Transport()
	switch {
	case v.ip.Proto == wire.ProtoIPIP:
		v.innerLen = parseIP(&v.inner, b, 4)
	case v.ip.Proto == wire.ProtoIPv6:
		v.innerLen = parseIP(&v.inner, b, 6)
	case v.ip.Proto == wire.ProtoGRE && len(b) >= 4:
		v.lookInsideGRE(b)
	case v.ip.IsICMPError():
		v.innerLen = parseIP(&v.inner, b[wire.ICMPLen:], v.ip.Version)
	}
}

func (v *view) lookInsideGRE(b []byte) {
	n := 4
	for _, option := range []byte{greChecksum, greKey, greSequence} {
		if b[0]&option != 0 {
			n += 4
		}
	}
	if len(b) < n {
		return
	}
	switch uint16(b[2])<<8 | uint16(b[3]) {
	case wire.TypeIPv4:
		v.innerLen = parseIP(&v.inner, b[n:], 4)
	case wire.TypeIPv6:
		v.innerLen = parseIP(&v.inner, b[n:], 6)
	}
}

// protoNumbers are the IP protocols that patterns know.
var protoNumbers = map[string][]uint8{
	"tcp": {wire.ProtoTCP}, "udp": {wire.ProtoUDP}, "sctp": {wire.ProtoSCTP}, "icmp": {wire.ProtoICMP},
	"icmp6": {wire.ProtoICMPv6}, "ipip": {wire.ProtoIPIP, wire.ProtoIPv6}, "gre": {wire.ProtoGRE},
}

// isProto reports whether a packet is of a protocol.
func isProto(p *wire.Packet, name string) bool {
	switch name {
	case "ip":
		return p.Version == 4
	case "ip6":
		return p.Version == 6
	}
	return p.Version != 0 && slices.Contains(protoNumbers[name], p.Proto)
}

// concerns reports whether the frame is of the kind and between the ends that
// the pattern is about. Its fields are judged by differs.
func (m *Pattern) concerns(v *view) bool {
	switch {
	case m.Proto == "arp":
		return m.concernsARP(v)
	case m.Proto != "" && !isProto(&v.ip, m.Proto):
		return false
	case m.Type != "" && !m.isType(&v.ip):
		return false
	case m.Flags != "" && (!v.ip.Full || v.ip.TCPFlags != flagBits(m.Flags)):
		return false
	}
	src, dst := Endpoint{[]addr{v.ip.Src}, v.ip.SrcPort}, Endpoint{[]addr{v.ip.Dst}, v.ip.DstPort}
	return m.Src.fits(src) && m.Dst.fits(dst)
}

func (m *Pattern) isType(p *wire.Packet) bool {
	return p.Full && p.FragOffset == 0 && int(p.Transport()[0]) == messageTypes[m.Proto][m.Type]
}

func (m *Pattern) concernsARP(v *view) bool {
	return v.arp != nil && (m.Type == "" || int(v.arp.Op()) == messageTypes["arp"][m.Type]) &&
		m.Src.fits(Endpoint{Addrs: []addr{v.arp.SenderIP()}}) && m.Dst.fits(Endpoint{Addrs: []addr{v.arp.TargetIP()}})
}

// fits reports whether a frame's endpoint is one that is meant by e.
func (e Endpoint) fits(frame Endpoint) bool {
	return (len(e.Addrs) == 0 || slices.Contains(e.Addrs, frame.Addrs[0])) && (e.Port == 0 || e.Port == frame.Port)
}

// differs says how the frame differs from the pattern's fields: nothing if not.
func (m *Pattern) differs(v *view) string {
	var list []string
	for i := range m.Fields {
		if found, ok := m.Fields[i].judge(v); !ok {
			list = append(list, fmt.Sprintf("%s is %s, not %s", m.Fields[i].Key, found, m.Fields[i].Text))
		}
	}
	return strings.Join(list, ", ")
}

// judge says what the frame has in place of the field, and whether that fits.
func (f *Field) judge(v *view) (found string, ok bool) {
	switch f.Key {
	case "eth.src":
		return judgeMAC(f, v.eth.Src())
	case "eth.dst":
		return judgeMAC(f, v.eth.Dst())
	}
	p, total := &v.ip, v.total
	key, inside := strings.CutPrefix(f.Key, "inner.")
	if inside {
		p, total = &v.inner, v.innerLen
	}
	if p.Version == 0 {
		return "absent", false
	}
	switch key {
	case "src":
		return judgeEndpoint(f, p.Src, p.SrcPort)
	case "dst":
		return judgeEndpoint(f, p.Dst, p.DstPort)
	case "proto":
		return fmt.Sprintf("protocol %d", p.Proto), isProto(p, f.Text)
	case "df":
		return judgeBool(f, p.Version == 4 && wire.IPv4(p.Data[p.L3:]).DF())
	case "mf":
		return judgeBool(f, p.MoreFrags)
	case "sum":
		return judgeBool(f, sumsOK(p, total))
	case "text":
		return judgeText(f, p)
	}
	n, ok := number(p, key, total)
	if !ok {
		return "absent", false
	}
	return fmt.Sprint(n), f.Min <= n && n <= f.Max
}

func judgeMAC(f *Field, m wire.MAC) (string, bool) {
	return m.String(), slices.Contains(f.MACs, m)
}

func judgeEndpoint(f *Field, a addr, port uint16) (string, bool) {
	found := a.String()
	if port != 0 {
		found = joinPort(a, port)
	}
	return found, Endpoint{f.Addrs, f.Port}.fits(Endpoint{[]addr{a}, port})
}

// judgeText looks for a text in what the packet carries.
func judgeText(f *Field, p *wire.Packet) (string, bool) {
	b := p.Transport()
	b = b[min(len(b), transportLen(p)):]
	return strings.Trim(strconv.Quote(string(b)), `"`), bytes.Contains(b, []byte(f.Data))
}

func judgeBool(f *Field, yes bool) (string, bool) {
	if yes {
		return "yes", f.Text == "yes"
	}
	return "no", f.Text == "no"
}

// number is a number in a packet's headers; ok is false if it has none such.
func number(p *wire.Packet, key string, total int) (n int, ok bool) {
	switch key {
	case "ttl":
		return int(p.TTL), true
	case "len":
		return total, true
	case "payload":
		return total - (p.L4 - p.L3) - transportLen(p), true
	case "offset":
		return p.FragOffset, true
	case "id":
		if p.Version == 6 {
			return int(p.FragID), p.Fragment
		}
		return int(wire.IPv4(p.Data[p.L3:]).ID()), true
	case "tos":
		if p.Version == 6 {
			return int(wire.IPv6(p.Data[p.L3:]).TrafficClass()), true
		}
		return int(wire.IPv4(p.Data[p.L3:]).TOS()), true
	}
	return transportNumber(p, key)
}

func transportNumber(p *wire.Packet, key string) (int, bool) {
	if !p.Full || p.FragOffset != 0 {
		return 0, false
	}
	b := p.Transport()
	tcp, icmp := p.Proto == wire.ProtoTCP, p.Proto == wire.ProtoICMP || p.Proto == wire.ProtoICMPv6
	switch {
	case key == "seq" && tcp:
		return int(wire.TCP(b).Seq()), true
	case key == "ack" && tcp:
		return int(wire.TCP(b).Ack()), true
	case key == "code" && icmp:
		return int(b[1]), true
	case key == "mtu" && p.Proto == wire.ProtoICMP:
		return int(b[6])<<8 | int(b[7]), true
	case key == "mtu" && p.Proto == wire.ProtoICMPv6:
		return int(b[4])<<24 | int(b[5])<<16 | int(b[6])<<8 | int(b[7]), true
	}
	return 0, false
}

// transportLen is the length of the transport header, if there is one here.
func transportLen(p *wire.Packet) int {
	if p.FragOffset != 0 || !p.Full {
		return 0
	}
	switch p.Proto {
	case wire.ProtoTCP:
		return wire.TCP(p.Transport()).HeaderLen()
	case wire.ProtoUDP:
		return wire.UDPLen
	case wire.ProtoSCTP:
		return wire.SCTPLen
	case wire.ProtoICMP, wire.ProtoICMPv6:
		return wire.ICMPLen
	}
	return 0
}

// sumsOK reports whether every checksum that can be judged here is right.
func sumsOK(p *wire.Packet, total int) bool {
	if p.Version == 4 && !wire.IPv4(p.Data[p.L3:]).HeaderChecksumOK() {
		return false
	}
	b := p.Transport()
	if p.Fragment || !p.Full || total != p.End-p.L3 {
		return true
	}
	switch p.Proto {
	case wire.ProtoUDP:
		if p.Version == 4 && wire.UDP(b).Checksum() == 0 {
			return true // RFC 768: none was made
		}
		return wire.Fold(wire.Sum(b, wire.PseudoSum(p.Src, p.Dst, p.Proto, len(b)))) == 0xffff
	case wire.ProtoTCP, wire.ProtoICMPv6:
		return wire.Fold(wire.Sum(b, wire.PseudoSum(p.Src, p.Dst, p.Proto, len(b)))) == 0xffff
	case wire.ProtoICMP:
		return wire.Fold(wire.Sum(b, 0)) == 0xffff
	}
	return true
}
