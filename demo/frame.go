package demo

import (
	"fmt"
	"net/netip"

	"usvs/wire"
)

// owners says which machine an address belongs to.
type owners struct {
	macs map[wire.MAC]string
	ips  map[netip.Addr]string
}

// field is one line of what a frame says.
type field struct{ label, value string }

// decode says what is in a frame. A frame that is no valid IP packet over
// Ethernet has the fields that could be read.
func decode(frame []byte, o owners) []field {
	var p wire.Packet
	bad := p.Parse(frame, wire.Ethernet)
	var fields []field
	if bad != wire.ShortEthernet {
		eth := wire.EthernetHeader(frame)
		fields = append(fields, field{"from MAC", o.mac(eth.Src())}, field{"to MAC", o.mac(eth.Dst())})
	}
	if bad != wire.None {
		return append(fields, field{"malformed", bad.String()})
	}
	if p.Version == 0 {
		return append(fields, field{"EtherType", fmt.Sprintf("%#04x", p.EtherType)})
	}
	length := p.IPLen()
	if inner, ok := unwrap(&p); ok {
		fields = append(fields,
			field{"outer from", o.ip(p.Src)}, field{"outer to", o.ip(p.Dst)}, field{"outer TTL", fmt.Sprint(p.TTL)})
		p = inner
	}
	return append(fields,
		field{"from", o.endpoint(&p, p.Src, p.SrcPort)}, field{"to", o.endpoint(&p, p.Dst, p.DstPort)},
		field{"TTL", fmt.Sprint(p.TTL)}, field{"IP length", fmt.Sprint(length)})
}

// unwrap parses the packet inside an IP-in-IP packet.
func unwrap(p *wire.Packet) (inner wire.Packet, ok bool) {
	if p.Version != 4 || p.Proto != wire.ProtoIPIP || p.Fragment {
		return inner, false
	}
	return inner, inner.Parse(p.Data[p.L4:p.End], wire.IP) == wire.None
}

func (o owners) mac(m wire.MAC) string { return named(m.String(), o.macs[m]) }

func (o owners) ip(a netip.Addr) string { return named(a.String(), o.ips[a]) }

func (o owners) endpoint(p *wire.Packet, a netip.Addr, port uint16) string {
	if !p.Ports {
		return o.ip(a)
	}
	return named(netip.AddrPortFrom(a, port).String(), o.ips[a])
}

func named(text, name string) string {
	if name == "" {
		return text
	}
	return text + " " + name
}

// change is one line of two frames side by side.
type change struct {
	label, before, after string
}

func (c change) changed() bool { return c.before != c.after }

// sideBySide pairs the fields of two frames. A field that one frame lacks is
// empty there; the order is that of the frame with more fields.
func sideBySide(before, after []field) []change {
	was, is := byLabel(before), byLabel(after)
	longer := before
	if len(after) > len(before) {
		longer = after
	}
	changes := make([]change, 0, len(longer))
	for _, f := range longer {
		changes = append(changes, change{f.label, was[f.label], is[f.label]})
	}
	return changes
}

func byLabel(fields []field) map[string]string {
	m := map[string]string{}
	for _, f := range fields {
		m[f.label] = f.value
	}
	return m
}
