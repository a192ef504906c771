package scenario

import (
	"encoding/binary"
	"slices"

	"usvs/wire"
)

// parseInject reads `client to director tcp 10.0.0.9:4000 > 10.0.0.1:80 S ttl=2`.
func parseInject(p *parser, w *words) (Action, error) {
	x := &Inject{From: w.iface()}
	src := p.file.Topology.MACOf(x.From)
	dst := p.receiver(w, x.From)
	m := w.pattern()
	if w.err != nil {
		return nil, w.err
	}
	for _, f := range m.Fields {
		if f.Min != f.Max {
			return nil, p.errorf("%s: a packet that is sent has one number, not a range", f.Key)
		}
		if len(f.MACs) > 0 && f.Key == "eth.src" {
			src = f.MACs[0]
		}
		if len(f.MACs) > 0 && f.Key == "eth.dst" {
			dst = f.MACs[0]
		}
	}
	b, problem := m.build()
	if problem != "" {
		return nil, p.errorf("%s", problem)
	}
	if m.Proto == "arp" {
		copy(b[8:], src[:])
		copy(b[18:], dst[:])
	}
	x.Frame = ethernet(src, dst, m.etherType(), b)
	return x, nil
}

// receiver takes `to NODE` and returns its MAC address on the sender's
// segment. Without it, the frame is for the first director there is.
func (p *parser) receiver(w *words, from Interface) wire.MAC {
	t := &p.file.Topology
	name := ""
	if w.is("to") {
		name = w.node()
	}
	segment := t.nic(from).Switch
	for _, n := range t.Nodes {
		if n.Name != name && (name != "" || n.Kind != Director) {
			continue
		}
		for _, nic := range n.NICs {
			if nic.Switch == segment {
				return t.MACOf(Interface{n.Name, nic.Name})
			}
		}
	}
	w.fail("nobody to send it to is plugged into %s: name one with `to NODE`", segment)
	return wire.MAC{}
}

// nic returns an interface; it is empty if there is none of the name.
func (t *Topology) nic(i Interface) NIC {
	if n := t.Node(i.Node); n != nil {
		for _, nic := range n.NICs {
			if nic.Name == i.NIC {
				return nic
			}
		}
	}
	return NIC{}
}

func ethernet(src, dst wire.MAC, etherType uint16, body []byte) []byte {
	b := make([]byte, wire.EthernetLen, wire.EthernetLen+len(body))
	h := wire.EthernetHeader(b)
	h.SetSrc(src)
	h.SetDst(dst)
	h.SetType(etherType)
	return append(b, body...)
}

func (m *Pattern) etherType() uint16 {
	switch {
	case m.Proto == "arp":
		return wire.TypeARP
	case len(m.Src.Addrs) > 0 && m.Src.Addrs[0].Is6():
		return wire.TypeIPv6
	}
	return wire.TypeIPv4
}

// value is a field's number, or def.
func (m *Pattern) value(key string, def int) int {
	for _, f := range m.Fields {
		if f.Key == key {
			return f.Min
		}
	}
	return def
}

func (m *Pattern) yes(key string) bool {
	return slices.ContainsFunc(m.Fields, func(f Field) bool { return f.Key == key && f.Text == "yes" })
}

// build makes the packet that the pattern describes, or says why it cannot.
func (m *Pattern) build() (packet []byte, problem string) {
	if problem = m.ends(); problem != "" {
		return nil, problem
	}
	if m.Proto == "arp" {
		return m.buildARP()
	}
	body, problem := m.buildTransport()
	if problem != "" {
		return nil, problem
	}
	if len(body) > 0xffff-wire.IPv6Len {
		return nil, "the packet is too long"
	}
	if m.Src.Addrs[0].Is4() {
		return m.buildIPv4(body), ""
	}
	return m.buildIPv6(body), ""
}

// ends makes the two ends one address each, of one family.
func (m *Pattern) ends() (problem string) {
	if len(m.Src.Addrs) == 0 || len(m.Dst.Addrs) == 0 {
		return "want `PROTOCOL SOURCE > DESTINATION ...`"
	}
	for _, s := range m.Src.Addrs {
		for _, d := range m.Dst.Addrs {
			if s.Is4() == d.Is4() {
				m.Src.Addrs, m.Dst.Addrs = []addr{s}, []addr{d}
				return ""
			}
		}
	}
	return "source and destination are of different families"
}

func (m *Pattern) buildARP() ([]byte, string) {
	op := messageTypes["arp"][m.Type]
	if op == 0 || !m.Src.Addrs[0].Is4() {
		return nil, "want `arp request SENDER > TARGET` or `arp reply SENDER > TARGET`, of IPv4"
	}
	b := make([]byte, wire.ARPLen)
	copy(b, []byte{0, 1, 8, 0, 6, 4, 0, byte(op)})
	src, dst := m.Src.Addrs[0].As4(), m.Dst.Addrs[0].As4()
	copy(b[14:], src[:])
	copy(b[24:], dst[:])
	return b, ""
}

func (m *Pattern) buildTransport() (b []byte, problem string) {
	payload := m.payload()
	src, dst := m.Src.Addrs[0], m.Dst.Addrs[0]
	pseudo := func(proto uint8) uint64 { return wire.PseudoSum(src, dst, proto, len(b)) }
	switch m.Proto {
	case "tcp":
		b = m.buildTCP(payload)
		wire.TCP(b).SetChecksum(^wire.Fold(wire.Sum(b, pseudo(wire.ProtoTCP))))
	case "udp":
		b = append(make([]byte, wire.UDPLen), payload...)
		m.putPorts(b)
		wire.UDP(b).SetLength(len(b))
		wire.UDP(b).SetChecksum(^wire.Fold(wire.Sum(b, pseudo(wire.ProtoUDP))))
	case "icmp", "icmp6":
		if b = m.buildICMP(payload); b == nil {
			return nil, "an ICMP error must say what it quotes: inner.proto=, inner.src= and inner.dst=, and a type"
		}
		sum := uint64(0)
		if m.Proto == "icmp6" {
			sum = pseudo(wire.ProtoICMPv6)
		}
		wire.ICMP(b).SetChecksum(^wire.Fold(wire.Sum(b, sum)))
	default:
		return nil, "packets of tcp, udp, icmp, icmp6 and arp can be sent, no others"
	}
	if offset := m.value("offset", 0); offset > 0 {
		return payload, "" // a later fragment has no transport header
	}
	return b, ""
}

// payload is the text that the packet carries, or as many zeros as it says.
func (m *Pattern) payload() []byte {
	for _, f := range m.Fields {
		if f.Key == "text" {
			return []byte(f.Data)
		}
	}
	return make([]byte, m.value("payload", 0)&0xffff)
}

func (m *Pattern) putPorts(b []byte) {
	binary.BigEndian.PutUint16(b, m.Src.Port)
	binary.BigEndian.PutUint16(b[2:], m.Dst.Port)
}

func (m *Pattern) buildTCP(payload []byte) []byte {
	b := append(make([]byte, wire.TCPLen), payload...)
	m.putPorts(b)
	binary.BigEndian.PutUint32(b[4:], uint32(m.value("seq", 0)))
	binary.BigEndian.PutUint32(b[8:], uint32(m.value("ack", 0)))
	b[12], b[13] = wire.TCPLen/4<<4, flagBits(m.Flags)
	binary.BigEndian.PutUint16(b[14:], 0xffff)
	return b
}

// buildICMP makes an echo, or an error with the packet it quotes.
func (m *Pattern) buildICMP(payload []byte) []byte {
	kind, ok := messageTypes[m.Proto][m.Type]
	if !ok {
		return nil
	}
	b := make([]byte, wire.ICMPLen)
	b[0], b[1] = byte(kind), byte(m.value("code", 0))
	if m.Type == "echo" || m.Type == "reply" {
		binary.BigEndian.PutUint16(b[4:], uint16(m.value("id", 1)))
		return append(b, payload...)
	}
	quoted := m.quoted()
	if quoted == nil {
		return nil
	}
	if m.Proto == "icmp6" {
		binary.BigEndian.PutUint32(b[4:], uint32(m.value("mtu", 0)))
	} else {
		binary.BigEndian.PutUint16(b[6:], uint16(m.value("mtu", 0)))
	}
	return append(b, quoted...)
}

// quoted makes the packet that the inner fields describe, nil if they do not.
func (m *Pattern) quoted() []byte {
	var q Pattern
	for _, f := range m.Fields {
		switch f.Key {
		case "inner.proto":
			q.Proto = f.Text
		case "inner.src":
			q.Src = Endpoint{f.Addrs, f.Port}
		case "inner.dst":
			q.Dst = Endpoint{f.Addrs, f.Port}
		case "inner.payload":
			f.Key = "payload"
			q.Fields = append(q.Fields, f)
		}
	}
	if q.Proto != "tcp" && q.Proto != "udp" {
		return nil
	}
	b, problem := q.build()
	if problem != "" || (q.Src.Addrs[0].Is4() != m.Src.Addrs[0].Is4()) {
		return nil
	}
	return b
}

func (m *Pattern) buildIPv4(body []byte) []byte {
	b := append(make([]byte, wire.IPv4Len), body...)
	h := wire.IPv4(b)
	h[0] = 0x45
	h.SetTOS(uint8(m.value("tos", 0)))
	h.SetTotalLen(len(b))
	h.SetID(uint16(m.value("id", 0)))
	h.SetTTL(uint8(m.value("ttl", 64)))
	h.SetProto(protoNumbers[m.Proto][0])
	word := uint16(m.value("offset", 0)/8) & 0x1fff
	if m.yes("df") {
		word |= 0x4000
	}
	if m.yes("mf") {
		word |= 0x2000
	}
	h.SetFragWord(word)
	h.SetSrc(m.Src.Addrs[0])
	h.SetDst(m.Dst.Addrs[0])
	h.UpdateChecksum()
	return b
}

func (m *Pattern) buildIPv6(body []byte) []byte {
	next := protoNumbers[m.Proto][0]
	if offset := m.value("offset", 0); offset > 0 || m.yes("mf") {
		word := uint16(offset) &^ 7
		if m.yes("mf") {
			word |= 1
		}
		frag := []byte{next, 0, byte(word >> 8), byte(word), 0, 0, 0, 0}
		binary.BigEndian.PutUint32(frag[4:], uint32(m.value("id", 0)))
		body, next = append(frag, body...), wire.ProtoFragment
	}
	b := append(make([]byte, wire.IPv6Len), body...)
	h := wire.IPv6(b)
	h.SetFlow(uint8(m.value("tos", 0)), 0)
	h.SetPayloadLen(len(body))
	h.SetNextHeader(next)
	h.SetHopLimit(uint8(m.value("ttl", 64)))
	h.SetSrc(m.Src.Addrs[0])
	h.SetDst(m.Dst.Addrs[0])
	return b
}
