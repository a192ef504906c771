package scenario

import (
	"fmt"
	"net/netip"
	"strings"

	"usvs/wire"
)

type addr = netip.Addr

func joinPort(a addr, port uint16) string { return netip.AddrPortFrom(a, port).String() }

// describe says what a frame is, in the words that a pattern is made of.
func describe(data []byte, t *Topology) string {
	v, ok := look(data)
	if !ok {
		return fmt.Sprintf("%d bytes, too short for Ethernet", len(data))
	}
	ends := fmt.Sprintf(" eth.src=%s eth.dst=%s", t.nameOfMAC(v.eth.Src()), t.nameOfMAC(v.eth.Dst()))
	switch {
	case v.arp != nil:
		return fmt.Sprintf("arp %s %v > %v", typeName("arp", int(v.arp.Op())), v.arp.SenderIP(), v.arp.TargetIP()) + ends
	case v.ip.Version == 0:
		return fmt.Sprintf("type %#04x", v.eth.Type()) + ends
	}
	text := describePacket(&v.ip, v.total)
	if v.inner.Version != 0 {
		text += " (" + describePacket(&v.inner, v.innerLen) + ")"
	}
	return text + ends
}

func describePacket(p *wire.Packet, total int) string {
	proto := protoName(p)
	var b strings.Builder
	fmt.Fprintf(&b, "%s ", proto)
	if messageTypes[proto] != nil && p.Full {
		fmt.Fprintf(&b, "%s ", typeName(proto, int(p.Transport()[0])))
	}
	if p.Ports {
		fmt.Fprintf(&b, "%s > %s", joinPort(p.Src, p.SrcPort), joinPort(p.Dst, p.DstPort))
	} else {
		fmt.Fprintf(&b, "%v > %v", p.Src, p.Dst)
	}
	if p.TCPFlags != 0 {
		fmt.Fprintf(&b, " %s", flagText(p.TCPFlags))
	}
	fmt.Fprintf(&b, " ttl=%d len=%d", p.TTL, total)
	if p.Fragment {
		fmt.Fprintf(&b, " offset=%d", p.FragOffset)
	}
	return b.String()
}

func protoName(p *wire.Packet) string {
	for _, name := range protocols {
		for _, number := range protoNumbers[name] {
			if number == p.Proto {
				return name
			}
		}
	}
	return fmt.Sprintf("proto-%d", p.Proto)
}

func typeName(proto string, number int) string {
	for name, n := range messageTypes[proto] {
		if n == number {
			return name
		}
	}
	return fmt.Sprintf("type-%d", number)
}

// nameOfMAC is the interface that has the address, or the address.
func (t *Topology) nameOfMAC(m wire.MAC) string {
	for i := range t.Nodes {
		for k, nic := range t.Nodes[i].NICs {
			if MAC(i, k) == m && len(t.Nodes[i].NICs) == 1 {
				return t.Nodes[i].Name
			}
			if MAC(i, k) == m {
				return t.Nodes[i].Name + ":" + nic.Name
			}
		}
	}
	if m == (wire.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}) {
		return "broadcast"
	}
	return m.String()
}
