package oracle

import (
	"bytes"
	"fmt"
	"slices"

	"usvs/wire"
)

// compareVerdict compares the words for where frames went, in any order: they
// do not tell which of two links was first.
func compareVerdict(want []string, got []Emission) string {
	have := []string{}
	for _, e := range got {
		have = append(have, verdict(e))
	}
	if len(have) == 0 {
		have = []string{"none"}
	}
	if slices.Equal(slices.Sorted(slices.Values(want)), slices.Sorted(slices.Values(have))) {
		return ""
	}
	text := fmt.Sprintf("recorded %v, here %v\n", want, have)
	for _, e := range got {
		text += "  here " + describe(e) + "\n"
	}
	return text
}

func (m mask) compareFrames(want, got []Emission) string {
	want, got = byLapse(want), byLapse(got)
	for i := range max(len(want), len(got)) {
		switch {
		case i >= len(got):
			return fmt.Sprintf("frame %d of %d is missing\n  recorded %s\n", i+1, len(want), describe(want[i]))
		case i >= len(want):
			return fmt.Sprintf("one frame more than the %d recorded\n  here     %s\n", len(want), describe(got[i]))
		}
		a, b := want[i], got[i]
		if a.Link != b.Link || !bytes.Equal(m.frame(a.Data, b.made), m.frame(b.Data, b.made)) {
			return fmt.Sprintf("frame %d of %d differs\n", i+1, len(want)) + m.sideBySide(a, b)
		}
	}
	return ""
}

// mask knows what of a frame does not repeat.
type mask struct{ guePorts []uint16 }

// frame zeroes what does not repeat: of packets the director or its host made,
// the IPv4 identification (where it is not 0: in whole tunnels' packets with DF and in resets)
// and the IPv6 flow label, a hash of another secret after every boot; the
// identification of IPv6 fragments; the source port, and so the checksum, of
// GUE and of synchronisation messages.
func (m mask) frame(data []byte, made bool) []byte {
	b := bytes.Clone(data)
	var p wire.Packet
	if p.Parse(b, wire.Ethernet) != wire.None {
		return b
	}
	switch {
	case isSync(&p):
		maskSync(&p)
	case p.Version == 4:
		m.ipv4(&p, made)
	case p.Version == 6:
		m.ipv6(&p, made)
	}
	return b
}

func (m mask) ipv4(p *wire.Packet, made bool) {
	h := p.V4()
	tunnel := p.Proto == wire.ProtoIPIP || p.Proto == wire.ProtoIPv6 || p.Proto == wire.ProtoGRE || m.isGUE(p)
	icmp := made && p.Proto == wire.ProtoICMP && !h.DF()
	program := made && p.Proto == wire.ProtoUDP && !tunnel && !p.Fragment
	reset := made && p.Proto == wire.ProtoTCP && p.TCPFlags&wire.FlagRST != 0 && !h.DF()
	if tunnel && (!h.DF() || p.Fragment) || icmp || program || reset {
		hideID(h)
	}
	m.gue(p)
}

// hideID takes the identification out of a header and its checksum, which must
// be right all the same.
func hideID(h wire.IPv4) {
	h.SetChecksum(without(h.Checksum(), h.ID()))
	h.SetID(0)
}

// without is a checksum less what one word contributed to it (RFC 1624).
func without(checksum, word uint16) uint16 {
	sum := wire.Fold(uint64(^checksum) + uint64(^word))
	if sum == 0xffff {
		sum = 0 // both are zero
	}
	return ^sum
}

// hidePort takes the source port out of a UDP header and its checksum, if
// there is one.
func hidePort(u wire.UDP) {
	if u.Checksum() != 0 {
		u.SetChecksum(without(u.Checksum(), u.SrcPort()))
	}
	clear(u[:2])
}

func (m mask) ipv6(p *wire.Packet, made bool) {
	reset := p.Proto == wire.ProtoTCP && p.TCPFlags&wire.FlagRST != 0
	program := p.Proto == wire.ProtoUDP && !m.isGUE(p)
	if made && (p.Proto == wire.ProtoICMPv6 || reset || program) {
		p.V6().SetFlow(p.V6().TrafficClass(), 0)
	}
	if p.Fragment && made {
		clear(p.Data[p.FragHeader+4 : p.FragHeader+8])
	}
	m.gue(p)
}

func (m mask) isGUE(p *wire.Packet) bool {
	return p.Proto == wire.ProtoUDP && (p.FragOffset != 0 && len(m.guePorts) > 0 || slices.Contains(m.guePorts, p.DstPort))
}

func (m mask) gue(p *wire.Packet) {
	if !m.isGUE(p) || !p.Ports || len(p.Transport()) < wire.UDPLen {
		return
	}
	hidePort(wire.UDP(p.Transport()))
}
