package netsim

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"usvs/wire"
)

// ICMPError is an ICMP error about a packet of this host.
type ICMPError struct {
	From       netip.Addr // who sent it; the host itself if its neighbour does not answer
	Type, Code uint8
	MTU        int            // of "fragmentation needed" and "packet too big"
	Proto      uint8          // of the packet
	Src, Dst   netip.AddrPort // of the packet; ports may be 0
	Seq        uint32         // of a TCP segment
}

// Error describes it.
func (e *ICMPError) Error() string {
	s := fmt.Sprintf("%v: %s", e.From, icmpName(e.Dst.Addr().Is6(), e.Type, e.Code))
	if e.MTU > 0 {
		s += fmt.Sprintf(" (mtu %d)", e.MTU)
	}
	return s
}

// TooBig reports whether the error is about a path's MTU.
func (e *ICMPError) TooBig() bool {
	if e.Dst.Addr().Is6() {
		return e.Type == wire.ICMPv6TooBig
	}
	return e.Type == wire.ICMPUnreachable && e.Code == 4
}

// OnICMPError makes f hear every ICMP error about a packet of this host.
func (h *Host) OnICMPError(f func(ICMPError)) { h.errorHooks = append(h.errorHooks, f) }

// icmpInput takes the ICMP messages that are not merely answered, and reports
// whether the packet was one.
func (h *Host) icmpInput(p *Port) bool {
	pk := &h.p
	v6 := pk.Version == 6 && pk.Proto == wire.ProtoICMPv6
	if pk.Version == 4 && pk.Proto != wire.ProtoICMP || pk.Version == 6 && !v6 {
		return false
	}
	m := pk.Transport()
	if len(m) < wire.ICMPLen || !icmpSumOK(pk, m) {
		h.count("bad ICMP message")
		return true
	}
	echo := !v6 && m[0] == wire.ICMPEcho || v6 && m[0] == wire.ICMPv6Echo
	switch {
	case echo && p.index < 0:
		h.echoSelf(pk, m)
	case pk.IsICMPError():
		h.icmpError(pk, m)
	case !v6 && m[0] == wire.ICMPEchoReply, v6 && m[0] == wire.ICMPv6EchoReply:
		h.echoReply(pk, m)
	case echo && !v6 && h.sysctl.ignoreEcho:
	default:
		return false
	}
	return true
}

func icmpSumOK(pk *wire.Packet, m []byte) bool {
	var sum uint64
	if pk.Version == 6 {
		sum = wire.PseudoSum(pk.Src, pk.Dst, wire.ProtoICMPv6, len(m))
	}
	return wire.Fold(wire.Sum(m, sum)) == 0xffff
}

// icmpError relates an error to the packet it quotes.
func (h *Host) icmpError(pk *wire.Packet, m []byte) {
	q := &h.q
	if q.ParseQuoted(m[wire.ICMPLen:], pk.Version) != wire.None || !h.table.IsLocal(q.Src) {
		h.count("ICMP error about nothing of ours")
		return
	}
	e := ICMPError{
		From: pk.Src, Type: m[0], Code: m[1], Proto: q.Proto,
		Src: netip.AddrPortFrom(q.Src, q.SrcPort), Dst: netip.AddrPortFrom(q.Dst, q.DstPort),
	}
	if t := q.Transport(); q.Proto == wire.ProtoTCP && len(t) >= 8 {
		e.Seq = binary.BigEndian.Uint32(t[4:])
	}
	if e.TooBig() {
		e.MTU = int(binary.BigEndian.Uint32(m[4:]))
		if pk.Version == 4 {
			e.MTU = int(binary.BigEndian.Uint16(m[6:]))
		}
		h.learnMTU(e.Dst.Addr(), e.MTU)
	}
	h.reportError(&e)
}

// learnMTU lowers the path MTU to dst, but not below what IP guarantees.
func (h *Host) learnMTU(dst netip.Addr, mtu int) {
	floor := 552 // Linux's min_pmtu
	if dst.Is6() {
		floor = 1280
	}
	mtu = max(mtu, floor)
	if mtu >= h.PathMTU(dst) {
		return
	}
	if len(h.pmtu) >= maxPMTUs {
		clear(h.pmtu)
	}
	h.pmtu[dst] = learnedMTU{mtu, h.net.now.Add(pmtuTime)}
	h.udp.rerouted()
}

// reportError tells whoever sent the packet.
func (h *Host) reportError(e *ICMPError) {
	for _, f := range h.errorHooks {
		f(*e)
	}
	if t := h.transports[e.Proto]; t != nil {
		t.failed(e)
	}
}

// PingOptions describe an echo request.
type PingOptions struct {
	Src  netip.Addr // zero: the host's choice
	Size int        // bytes of data
	PacketOptions
}

// PingReply is an answer to a Ping.
type PingReply struct {
	From netip.Addr
	Seq  uint16
	Size int
	TTL  uint8
	RTT  time.Duration
}

// Ping sends an echo request and calls reply for each answer to it. It returns
// the identifier of the request.
func (h *Host) Ping(dst netip.Addr, o PingOptions, reply func(PingReply)) error {
	src := o.Src
	if !src.IsValid() {
		src = h.Source(dst)
	}
	if !src.IsValid() {
		return fmt.Errorf("no route to %v", dst)
	}
	h.pingID++
	sent := h.net.now
	id := h.pingID
	h.pings[id] = func(r PingReply) {
		r.RTT = h.net.now.Sub(sent)
		reply(r)
	}
	m := make([]byte, wire.ICMPLen+o.Size)
	binary.BigEndian.PutUint16(m[4:], id)
	binary.BigEndian.PutUint16(m[6:], 1)
	for i := range m[wire.ICMPLen:] {
		m[wire.ICMPLen+i] = byte(i)
	}
	m[0] = wire.ICMPEcho
	if dst.Is6() {
		m[0] = wire.ICMPv6Echo
	}
	return h.sendICMP(src, dst, m, o.PacketOptions)
}

// sendICMP completes a message's checksum and sends it.
func (h *Host) sendICMP(src, dst netip.Addr, m []byte, o PacketOptions) error {
	proto, sum := uint8(wire.ProtoICMP), uint64(0)
	if dst.Is6() {
		proto = wire.ProtoICMPv6
		sum = wire.PseudoSum(src, dst, proto, len(m))
	}
	m[2], m[3] = 0, 0
	binary.BigEndian.PutUint16(m[2:], ^wire.Fold(wire.Sum(m, sum)))
	return h.SendIP(src, dst, proto, m, o)
}

// echoSelf answers a ping of the host by itself.
func (h *Host) echoSelf(pk *wire.Packet, m []byte) {
	reply := append([]byte(nil), m...)
	reply[0] = wire.ICMPEchoReply
	if pk.Version == 6 {
		reply[0] = wire.ICMPv6EchoReply
	}
	_ = h.sendICMP(pk.Dst, pk.Src, reply, PacketOptions{})
}

func (h *Host) echoReply(pk *wire.Packet, m []byte) {
	if f := h.pings[be16(m[4:])]; f != nil {
		f(PingReply{From: pk.Src, Seq: be16(m[6:]), Size: len(m) - wire.ICMPLen, TTL: pk.TTL})
	}
}
