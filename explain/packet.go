package explain

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"usvs/forward"
	"usvs/wire"
)

// Grammar is how packets are written.
const Grammar = `tcp  SRC:PORT > DST:PORT [FLAGS]      FLAGS are letters of SFRPAU; none is A
udp  SRC:PORT > DST:PORT
sctp SRC:PORT > DST:PORT [init|data|abort]
icmp SRC > DST [echo|reply]
icmp SRC > DST unreachable|frag-needed|ttl-exceeded about PROTOCOL SRC:PORT > DST:PORT
options behind any of them: len=BYTES of payload, ttl=N, df, frag=BYTES (arrives in
fragments of at most so many bytes), mark=N, and mtu=N for frag-needed`

// defaultTTL is what Linux sends with.
const defaultTTL = 64

// Packet is a packet somebody asks about.
type Packet struct {
	Proto    uint8
	Src, Dst netip.AddrPort // of ICMP with port 0
	Flags    uint8          // of TCP
	Kind     string         // of ICMP and SCTP
	About    *Packet        // what an ICMP error quotes
	Payload  int
	TTL      uint8
	DF       bool
	Fragment int // most bytes of a fragment; 0: it is not fragmented
	Mark     uint32
	MTU      uint16
}

// ParsePacket reads a packet as Grammar has it.
func ParsePacket(text string) (Packet, error) {
	q := words{list: strings.Fields(text)}
	p, err := q.packet()
	if err == nil && len(q.list) > 0 {
		err = fmt.Errorf("%q is not understood", q.list[0])
	}
	if err == nil {
		err = p.check()
	}
	if err != nil {
		return Packet{}, fmt.Errorf("packet %q: %w", text, err)
	}
	return p, nil
}

// words are what is left to read.
type words struct{ list []string }

func (q *words) next() string {
	if len(q.list) == 0 {
		return ""
	}
	w := q.list[0]
	q.list = q.list[1:]
	return w
}

var protocols = map[string]uint8{
	"tcp": wire.ProtoTCP, "udp": wire.ProtoUDP, "sctp": wire.ProtoSCTP, "icmp": wire.ProtoICMP,
}

func (q *words) packet() (p Packet, err error) {
	name := q.next()
	proto, ok := protocols[name]
	if !ok {
		return p, fmt.Errorf("protocol %q: want tcp, udp, sctp or icmp", name)
	}
	p = Packet{Proto: proto, TTL: defaultTTL}
	if p.Src, err = end(q.next(), proto); err != nil {
		return p, err
	}
	if q.next() != ">" {
		return p, fmt.Errorf("want `>` between source and destination")
	}
	if p.Dst, err = end(q.next(), proto); err != nil {
		return p, err
	}
	if p.Src.Addr().Is4() != p.Dst.Addr().Is4() {
		return p, fmt.Errorf("source and destination are of different families")
	}
	if proto == wire.ProtoICMP && p.Src.Addr().Is6() {
		p.Proto = wire.ProtoICMPv6
	}
	for len(q.list) > 0 && err == nil {
		err = q.option(&p)
	}
	return p, err
}

// end reads one end of a packet.
func end(text string, proto uint8) (netip.AddrPort, error) {
	if proto == wire.ProtoICMP {
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" {
			return netip.AddrPort{}, fmt.Errorf("%q: want an address", text)
		}
		return netip.AddrPortFrom(a.Unmap(), 0), nil
	}
	ap, err := netip.ParseAddrPort(text)
	if err != nil || ap.Addr().Zone() != "" {
		return netip.AddrPort{}, fmt.Errorf("%q: want ADDRESS:PORT, or [ADDRESS]:PORT for IPv6", text)
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), nil
}

// kinds are the messages and chunks that have a name, by protocol.
var kinds = map[uint8][]string{
	wire.ProtoSCTP:   {"init", "data", "abort"},
	wire.ProtoICMP:   {"echo", "reply", "unreachable", "frag-needed", "ttl-exceeded"},
	wire.ProtoICMPv6: {"echo", "reply", "unreachable", "frag-needed", "ttl-exceeded"},
}

func (q *words) option(p *Packet) error {
	word := q.next()
	key, value, hasValue := strings.Cut(word, "=")
	switch {
	case word == "df":
		p.DF = true
		return nil
	case word == "about":
		about, err := q.packet()
		p.About = &about
		return err
	case hasValue:
		return p.set(key, value)
	}
	for _, k := range kinds[p.Proto] {
		if k == word {
			p.Kind = word
			return nil
		}
	}
	if p.Proto != wire.ProtoTCP {
		return fmt.Errorf("%q is not understood", word)
	}
	for _, c := range word {
		bit := strings.IndexRune("FSRPAU", c)
		if bit < 0 {
			return fmt.Errorf("%q is not understood: TCP flags are letters of SFRPAU", word)
		}
		p.Flags |= 1 << bit
	}
	return nil
}

// set reads an option's value.
func (p *Packet) set(key, value string) error {
	limits := map[string]uint64{"len": 65000, "ttl": 255, "frag": 65535, "mark": 1<<32 - 1, "mtu": 65535}
	most, ok := limits[key]
	if !ok {
		return fmt.Errorf("%q is not understood: options are len=, ttl=, df, frag=, mark= and mtu=", key)
	}
	n, err := strconv.ParseUint(value, 0, 64)
	if err != nil || n > most {
		return fmt.Errorf("%s=%s: want a number up to %d", key, value, most)
	}
	switch key {
	case "len":
		p.Payload = int(n)
	case "ttl":
		p.TTL = uint8(n)
	case "frag":
		p.Fragment = int(n)
	case "mark":
		p.Mark = uint32(n)
	case "mtu":
		p.MTU = uint16(n)
	}
	return nil
}

const minFragment = 68 // RFC 791: every module must forward this much uncut

func (p *Packet) check() error {
	switch {
	case p.Fragment != 0 && p.Fragment < minFragment:
		return fmt.Errorf("frag=%d: want at least %d", p.Fragment, minFragment)
	case p.isError() && p.About == nil:
		return fmt.Errorf("an ICMP error quotes a packet: add `about PROTOCOL SRC > DST`")
	case !p.isError() && p.About != nil:
		return fmt.Errorf("`about` belongs to an ICMP error")
	case p.About != nil && (p.About.About != nil || p.About.Src.Addr().Is4() != p.Src.Addr().Is4()):
		return fmt.Errorf("an ICMP error quotes a plain packet of its own family")
	}
	return nil
}

func (p *Packet) isError() bool {
	return p.Kind == "unreachable" || p.Kind == "frag-needed" || p.Kind == "ttl-exceeded"
}

// Frames makes the packet as it arrives at a station: one frame, or its fragments.
func (p *Packet) Frames(src, dst wire.MAC) []*wire.Frame {
	ip := p.ip()
	b := make([]byte, wire.EthernetLen, wire.EthernetLen+len(ip))
	eth := wire.EthernetHeader(b)
	eth.SetSrc(src)
	eth.SetDst(dst)
	eth.SetType(wire.TypeIPv4)
	if p.Src.Addr().Is6() {
		eth.SetType(wire.TypeIPv6)
	}
	f := wire.NewFrame(wire.MaxFrame)
	f.SetBytes(append(b, ip...))
	f.Mark = p.Mark
	if p.Fragment == 0 {
		return []*wire.Frame{f}
	}
	return cut(f, p.Fragment)
}

func cut(f *wire.Frame, most int) (list []*wire.Frame) {
	var q wire.Packet
	if q.Parse(f.Bytes(), f.Medium) != wire.None || q.IPLen() <= most {
		return []*wire.Frame{f}
	}
	f.FragID = 1
	alloc := func() *wire.Frame { return wire.NewFrame(wire.MaxFrame) }
	forward.Fragment(f, &q, most, alloc, func(g *wire.Frame) { g.Mark = f.Mark; list = append(list, g) })
	return list
}

func (p *Packet) ip() []byte {
	body := p.transport()
	src, dst := p.Src.Addr(), p.Dst.Addr()
	if src.Is6() {
		h := wire.IPv6(make([]byte, wire.IPv6Len, wire.IPv6Len+len(body)))
		h.SetFlow(0, 0)
		h.SetPayloadLen(len(body))
		h.SetNextHeader(p.Proto)
		h.SetHopLimit(p.TTL)
		h.SetSrc(src)
		h.SetDst(dst)
		return append(h, body...)
	}
	h := wire.IPv4(make([]byte, wire.IPv4Len, wire.IPv4Len+len(body)))
	h[0] = 0x45
	h.SetTotalLen(wire.IPv4Len + len(body))
	h.SetID(1)
	if p.DF {
		h.SetFragWord(0x4000)
	}
	h.SetTTL(p.TTL)
	h.SetProto(p.Proto)
	h.SetSrc(src)
	h.SetDst(dst)
	h.UpdateChecksum()
	return append(h, body...)
}

// transport makes the transport header and payload with their checksum.
func (p *Packet) transport() []byte {
	payload := make([]byte, p.Payload)
	var b []byte
	at, pseudo := 0, true
	switch p.Proto {
	case wire.ProtoTCP:
		b, at = append(make([]byte, wire.TCPLen), payload...), 16
		p.putPorts(b)
		flags := p.Flags
		if flags == 0 {
			flags = wire.FlagACK
		}
		b[12], b[13], b[14], b[15] = wire.TCPLen/4<<4, flags, 0xff, 0xff
	case wire.ProtoUDP:
		b, at = append(make([]byte, wire.UDPLen), payload...), 6
		p.putPorts(b)
		wire.UDP(b).SetLength(len(b))
	case wire.ProtoSCTP:
		return p.sctp(payload)
	default:
		b, at, pseudo = p.icmp(payload), 2, p.Proto == wire.ProtoICMPv6
	}
	sum := wire.Sum(b, 0)
	if pseudo {
		sum = wire.Sum(b, wire.PseudoSum(p.Src.Addr(), p.Dst.Addr(), p.Proto, len(b)))
	}
	binary.BigEndian.PutUint16(b[at:], ^wire.Fold(sum))
	return b
}

func (p *Packet) putPorts(b []byte) {
	binary.BigEndian.PutUint16(b, p.Src.Port())
	binary.BigEndian.PutUint16(b[2:], p.Dst.Port())
}

// sctp leaves the CRC32c 0: neither the director nor a copy of it checks it
// before a server does.
func (p *Packet) sctp(payload []byte) []byte {
	const chunkHeaderLen = 4
	b := make([]byte, wire.SCTPLen+chunkHeaderLen)
	p.putPorts(b)
	b[wire.SCTPLen] = map[string]byte{"init": 1, "abort": 6}[p.Kind]
	binary.BigEndian.PutUint16(b[wire.SCTPLen+2:], uint16(chunkHeaderLen+len(payload)))
	return append(b, payload...)
}

func (p *Packet) icmp(payload []byte) []byte {
	b := make([]byte, wire.ICMPLen)
	v6 := p.Proto == wire.ProtoICMPv6
	code := map[string][2][2]byte{ // type and code in IPv4, in IPv6
		"": {{8, 0}, {128, 0}}, "echo": {{8, 0}, {128, 0}}, "reply": {{0, 0}, {129, 0}},
		"unreachable": {{3, 3}, {1, 4}}, "frag-needed": {{3, 4}, {2, 0}}, "ttl-exceeded": {{11, 0}, {3, 0}},
	}[p.Kind]
	tc := code[0]
	if v6 {
		tc = code[1]
	}
	b[0], b[1] = tc[0], tc[1]
	if p.About == nil {
		b[5] = 1 // id
		return append(b, payload...)
	}
	if p.Kind == "frag-needed" {
		binary.BigEndian.PutUint16(b[6:], p.MTU)
	}
	return append(b, p.About.ip()...)
}
