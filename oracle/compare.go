package oracle

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"usvs/wire"
)

// lateSeconds is by how much the recorded remaining time of a connection may
// be below the replay's: recording took real time.
const lateSeconds = 4

func compareVerdict(want []string, got []Emission) string {
	have := []string{}
	for _, e := range got {
		have = append(have, verdict(e))
	}
	if len(have) == 0 {
		have = []string{"none"}
	}
	if slices.Equal(want, have) {
		return ""
	}
	return fmt.Sprintf("recorded %v, here %v", want, have)
}

func (m mask) compareFrames(want, got []Emission) string {
	for i := range max(len(want), len(got)) {
		switch {
		case i >= len(got):
			return fmt.Sprintf("frame %d of %d is missing:\n  recorded %s", i+1, len(want), show(want[i]))
		case i >= len(want):
			return fmt.Sprintf("one frame too many:\n  here     %s", show(got[i]))
		}
		a, b := want[i], got[i]
		if a.Link != b.Link || !bytes.Equal(m.frame(a.Data), m.frame(b.Data)) {
			return fmt.Sprintf("frame %d differs:\n  recorded %s\n  here     %s", i+1, show(a), show(b))
		}
	}
	return ""
}

func show(e Emission) string { return e.Link + " " + hex.EncodeToString(e.Data) }

// mask knows what of a frame does not repeat.
type mask struct{ guePorts []uint16 }

// frame zeroes what does not repeat: of packets the director made itself,
// the IPv4 identification (not that of DF packets, which is 0) and the IPv6
// flow label; the identification of IPv6 fragments; the source port, and so
// the checksum, of GUE.
func (m mask) frame(data []byte) []byte {
	b := bytes.Clone(data)
	var p wire.Packet
	if p.Parse(b, wire.Ethernet) != wire.None {
		return b
	}
	switch {
	case isSync(&p):
		maskSync(&p)
	case p.Version == 4:
		m.ipv4(&p)
	case p.Version == 6:
		m.ipv6(&p)
	}
	return b
}

func (m mask) ipv4(p *wire.Packet) {
	tunnel := p.Proto == wire.ProtoIPIP || p.Proto == wire.ProtoIPv6 || p.Proto == wire.ProtoGRE || m.isGUE(p)
	reset := p.Proto == wire.ProtoTCP && p.TCPFlags&wire.FlagRST != 0
	echo := p.Proto == wire.ProtoICMP && p.Full && p.Data[p.L4] == wire.ICMPEchoReply
	if h := p.V4(); (tunnel || reset || echo || p.IsICMPError()) && !h.DF() {
		h.SetID(0)
		h.SetChecksum(0)
	}
	m.gue(p)
}

func (m mask) ipv6(p *wire.Packet) {
	reset := p.Proto == wire.ProtoTCP && p.TCPFlags&wire.FlagRST != 0
	echo := p.Proto == wire.ProtoICMPv6 && p.Full && p.Data[p.L4] == wire.ICMPv6EchoReply
	if reset || echo || p.IsICMPError() {
		p.V6().SetFlow(p.V6().TrafficClass(), 0)
	}
	if p.Fragment {
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
	u := wire.UDP(p.Transport())
	clear(u[:2])
	if u.Checksum() != 0 {
		u.SetChecksum(0xffff)
	}
}

func compareText(what string, want []string, got string) string {
	have := strings.Split(strings.TrimSuffix(got, "\n"), "\n")
	if got == "" {
		have = nil
	}
	if len(have) > 0 && strings.HasPrefix(have[0], "IPVS connection entries") {
		return compareConns(want, have)
	}
	if slices.Equal(want, have) {
		return ""
	}
	return fmt.Sprintf("%s differ\nrecorded:\n%s\nhere:\n%s", what, strings.Join(want, "\n"), strings.Join(have, "\n"))
}

// compareConns compares connection listings as sets, the remaining time with
// its tolerance.
func compareConns(want, have []string) string {
	left := slices.Clone(have)
	for _, row := range want {
		i := slices.IndexFunc(left, func(h string) bool { return sameConn(row, h) })
		if i < 0 {
			return fmt.Sprintf("no entry like\n%s\nhere:\n%s", row, strings.Join(have, "\n"))
		}
		left = slices.Delete(left, i, i+1)
	}
	if len(left) > 0 {
		return fmt.Sprintf("entries too many:\n%s", strings.Join(left, "\n"))
	}
	return ""
}

func sameConn(a, b string) bool {
	fa, fb := strings.Fields(a), strings.Fields(b)
	if len(fa) != len(fb) || len(fa) < 3 {
		return a == b
	}
	var m1, s1, m2, s2 int
	_, err1 := fmt.Sscanf(fa[1], "%d:%d", &m1, &s1)
	_, err2 := fmt.Sscanf(fb[1], "%d:%d", &m2, &s2)
	if err1 != nil || err2 != nil {
		return a == b
	}
	late := m2*60 + s2 - m1*60 - s1
	fa[1], fb[1] = "", ""
	return slices.Equal(fa, fb) && late >= -1 && late <= lateSeconds
}
