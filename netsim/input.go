package netsim

import (
	"usvs/localstack"
	"usvs/route"
	"usvs/wire"
)

// receive takes a frame from a link, or one that the host sent to itself.
func (h *Host) receive(p *Port, f *frame) {
	if h.stalled(p, f) {
		return
	}
	f.Medium, f.Port = wire.Ethernet, p.index
	h.input(p, f)
}

// input is the host's own stack.
func (h *Host) input(p *Port, f *frame) {
	pk := &h.p
	if m := pk.Parse(f.Bytes(), wire.Ethernet); m != wire.None {
		h.drop(f, "malformed")
		return
	}
	if p.index >= 0 && !h.accepts(p, pk) {
		h.net.release(f)
		return
	}
	switch {
	case pk.EtherType == wire.TypeARP:
		h.inputARP(p, pk.Data[pk.L3:])
		h.net.release(f)
	case pk.Version == 0:
		h.net.release(f)
	case isND(pk):
		h.inputND(p, pk)
		h.net.release(f)
	default:
		h.inputIP(p, f)
	}
}

// accepts reports whether a frame is for this station.
func (h *Host) accepts(p *Port, pk *wire.Packet) bool {
	if pk.L3 != wire.EthernetLen {
		return false // tagged: no VLAN interfaces here
	}
	dst := wire.EthernetHeader(pk.Data).Dst()
	return dst == p.mac || dst.IsMulticast()
}

func isND(pk *wire.Packet) bool {
	if pk.Version != 6 || pk.Proto != wire.ProtoICMPv6 || pk.Fragment || pk.L4 >= pk.End {
		return false
	}
	t := pk.Data[pk.L4]
	return t == wire.ICMPv6NeighSol || t == wire.ICMPv6NeighAdv
}

// inputIP delivers an IP packet, forwards it, or drops it.
func (h *Host) inputIP(p *Port, f *frame) {
	pk := &h.p
	if p.index >= 0 && h.table.IsLocal(pk.Src) && !p.sysctl.acceptLocal && !h.sysctl.all.acceptLocal {
		h.martian(p, pk)
		h.net.release(f)
		return
	}
	if h.refused[pk.Dst] {
		h.drop(f, "no_accept")
		return
	}
	if h.table.Lookup(pk.Dst).Kind == route.Local {
		h.local(p, f)
		return
	}
	group := wire.EthernetHeader(pk.Data).Dst().IsMulticast()
	switch {
	case group && (h.isBroadcast(pk.Dst) || pk.Dst.IsMulticast()):
		h.local(p, f)
	case group, pk.Dst.IsMulticast():
		h.net.release(f)
	case pk.Version == 4 && h.sysctl.forward4, pk.Version == 6 && h.sysctl.forward6:
		h.forward(p, f)
	default:
		h.drop(f, "not for this host")
	}
}

// martian counts a packet that claims to come from this host, as Linux does:
// a VIP on the interface of a machine that routes the servers' answers.
func (h *Host) martian(p *Port, pk *wire.Packet) {
	h.count("martian source")
	h.net.logf(h.name, "martian source: a packet from %v, an address of this host, to %v arrived on %s", pk.Src, pk.Dst, p.name)
}

// local delivers a packet to this host, once it is complete.
func (h *Host) local(p *Port, f *frame) {
	pk := &h.p
	if pk.Fragment {
		whole := h.reassemble(p, f)
		h.net.release(f)
		if whole == nil {
			return
		}
		f = whole
	}
	switch {
	case h.icmpInput(p):
	case h.decapsulate(p, f):
		return // the frame went on as the inner packet
	default:
		h.transport(p, f)
	}
	h.net.release(f)
}

// transport hands a packet to its protocol, and tells the sender if nobody
// wants it.
func (h *Host) transport(p *Port, f *frame) {
	pk := &h.p
	if t := h.transports[pk.Proto]; t != nil {
		if !h.checksumOK(pk) {
			h.count("bad transport checksum")
			return
		}
		if t.input(pk) {
			return
		}
	}
	if pk.Dst.IsMulticast() || h.isBroadcast(pk.Dst) {
		return
	}
	h.answer(p, f)
}

// checksumOK verifies a TCP or UDP checksum.
func (h *Host) checksumOK(pk *wire.Packet) bool {
	t := pk.Transport()
	switch pk.Proto {
	case wire.ProtoUDP:
		if len(t) < wire.UDPLen {
			return false
		}
		n := wire.UDP(t).Length()
		if n < wire.UDPLen || n > len(t) {
			return false
		}
		if wire.UDP(t).Checksum() == 0 {
			return pk.Version == 4
		}
		t = t[:n]
	case wire.ProtoTCP:
	default:
		return true
	}
	return wire.Fold(wire.Sum(t, wire.PseudoSum(pk.Src, pk.Dst, pk.Proto, len(t)))) == 0xffff
}

// answer sends what Linux answers to a packet that no socket takes.
func (h *Host) answer(p *Port, f *frame) {
	g := h.net.frame(f.Len() + wire.Headroom)
	g.Medium = wire.Ethernet
	if !h.stack().Answer(h.net.now, h.request(p, f), &g.Frame).Answered() {
		h.net.release(g)
		return
	}
	h.send(g)
}

// stack makes answers, as often as Linux's ICMP rate limit lets it.
func (h *Host) stack() *localstack.Stack {
	if h.answers == nil {
		seed := h.net.derived("answers of " + h.name)
		h.answers = localstack.New(localstack.Options{Seed: seed, Limiter: localstack.NewLimiter(localstack.Limits{Seed: seed})})
	}
	return h.answers
}

func (h *Host) request(p *Port, f *frame) localstack.Request {
	return localstack.Request{Frame: &f.Frame, Packet: &h.p, MAC: p.mac}
}

func (h *Host) drop(f *frame, why string) {
	h.count(why)
	h.net.release(f)
}
