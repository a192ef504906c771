package marks

import (
	"strings"
	"sync/atomic"

	"usvs/wire"
)

// rule is one rule of the chain. Immutable, but for its counters.
type rule struct {
	src, dst network
	iface    string // as given: with + at its end it is a prefix; "": any
	notIface bool
	proto    uint8 // 0: any
	notProto bool
	matches  []match
	target   target
	counter  *counter
}

// counter counts what a rule matched. Padded, so that the rules of different
// workers' frames do not share a cache line.
type counter struct {
	packets, bytes atomic.Uint64
	_              [48]byte
}

type matchKind uint8

const (
	matchPorts     matchKind = iota // -m tcp, -m udp, -m sctp
	matchMultiport                  // -m multiport
	matchMark                       // -m mark
)

// match is one -m of a rule.
type match struct {
	kind       matchKind
	name       string
	proto      uint8   // matchPorts: of the module
	sport      ports   // matchPorts
	dport      ports   // matchPorts
	list       []ports // matchMultiport
	side       side    // matchMultiport
	invert     bool    // matchMultiport, matchMark
	value      uint32  // matchMark
	mask       uint32  // matchMark
	sportGiven bool
	dportGiven bool
	given      string // matchMultiport, matchMark: the option that was given
}

// ports is a range of ports.
type ports struct {
	low, high uint16
	invert    bool // matchPorts
}

func (r ports) contains(p uint16) bool { return r.low <= p && p <= r.high }

var anyPort = ports{0, 65535, false}

// side says which of a packet's ports a multiport match looks at.
type side uint8

const (
	sourcePorts side = iota
	destinationPorts
	eitherPort
)

type verdict uint8

const (
	goOn   verdict = iota // no target: counts only
	accept                // ends the traversal
	ret                   // at the end of a built-in chain: the same
	setMark
)

// target is a rule's -j. A mark becomes mark &^ mask ^ value.
type target struct {
	verdict     verdict
	value, mask uint32
	given       string // the option that was given
}

func (t target) name() string { return [...]string{"", "ACCEPT", "RETURN", "MARK"}[t.verdict] }

// packet is what rules look at, in the form in which they look at it.
type packet struct {
	*wire.Packet
	src, dst bits128
	in       string
	mark     uint32
}

// applies reports whether the packet meets every condition of the rule.
func (r *rule) applies(p *packet) bool {
	if r.proto != 0 && (p.Proto == r.proto) == r.notProto {
		return false
	}
	if !r.dst.contains(p.dst) || !r.src.contains(p.src) {
		return false
	}
	if r.iface != "" && ifaceIs(p.in, r.iface) == r.notIface {
		return false
	}
	for i := range r.matches {
		if !r.matches[i].applies(p) {
			return false
		}
	}
	return true
}

func ifaceIs(name, want string) bool {
	if prefix, ok := strings.CutSuffix(want, "+"); ok {
		return strings.HasPrefix(name, prefix)
	}
	return name == want
}

func (m *match) applies(p *packet) bool {
	switch m.kind {
	case matchMark:
		return p.mark&m.mask == m.value != m.invert
	case matchPorts:
		// Later fragments have no ports, and match not even an inverted one.
		return p.Full && p.Proto == m.proto &&
			m.sport.contains(p.SrcPort) != m.sport.invert &&
			m.dport.contains(p.DstPort) != m.dport.invert
	}
	return m.multiport(p)
}

func (m *match) multiport(p *packet) bool {
	src, dst, ok := p.SrcPort, p.DstPort, p.Ports
	if !ok {
		if src, dst, ok = portsOf(p.Packet); !ok {
			return false
		}
	}
	for _, r := range m.list {
		if m.side != destinationPorts && r.contains(src) || m.side != sourcePorts && r.contains(dst) {
			return !m.invert
		}
	}
	return m.invert
}

// portsOf reads the ports of protocols that wire does not parse, but which
// have them in the same place: UDP-Lite and DCCP.
func portsOf(p *wire.Packet) (src, dst uint16, ok bool) {
	if p.FragOffset != 0 || p.End-p.L4 < 4 || p.Proto != protoUDPLite && p.Proto != protoDCCP {
		return 0, 0, false
	}
	b := p.Transport()
	return uint16(b[0])<<8 | uint16(b[1]), uint16(b[2])<<8 | uint16(b[3]), true
}

const (
	protoDCCP    = 33
	protoUDPLite = 136
)
