package properties

import (
	"net/netip"
	"testing"

	"usvs/ipvs"
)

// TestEveryRelatedError sends ICMP errors about connections' packets.
func TestEveryRelatedError(t *testing.T) {
	for i, m := range modes() {
		t.Run(m.String(), func(t *testing.T) {
			t.Parallel()
			tr := newTraffic(t, m, uint64(100+i))
			kinds := 2 // into either family
			if !m.out {
				kinds = len(modes()) - 2
			}
			for i := range count(2000, kinds) {
				if i%500 == 0 {
					tr.vary()
				}
				s, want := tr.complaint()
				if err := tr.judgeError(s, want); err != nil {
					tr.fail(s, err)
				}
			}
		})
	}
}

// complaint is an ICMP error from somewhere on the way of a packet that left
// the director, and what must become of it; nil if it must be dropped.
func (tr *traffic) complaint() (s shipment, want *view) {
	r := tr.r
	s.flow = tr.flows[r.IntN(len(tr.flows))]
	h := header{src: tr.router(s), dst: s.virtual.Addr(), proto: icmp4}
	sender, receiver := s.virtual, s.client // of the packet that is quoted
	if tr.mode.out {
		h.dst, sender, receiver = s.client.Addr(), s.client, s.real
	}
	quote := tr.quote(header{src: sender.Addr(), dst: receiver.Addr(), proto: s.proto}, sender.Port(), receiver.Port())
	body := append(r.bytes(8), quote...)
	if body[0] = []byte{3, 4, 11}[r.IntN(3)]; tr.mode.v6 {
		h.proto, body[0] = icmp6, []byte{1, 2, 3, 4, 100, 127}[r.IntN(6)]
	}
	r.fill(&h)
	s.in = look(h.packet(body))
	s.in.seal()
	accepted := tr.spoil(s.in)
	s.sent, s.longest = []view{s.in}, len(s.in.b)
	s.frames = [][]byte{ethernet(tr.side(s), s.in.b)}
	if !accepted {
		return s, nil
	}
	return s, new(tr.relayed(s))
}

// router is where an error comes from: the host itself that a packet was sent
// to, or a router before it.
func (tr *traffic) router(s shipment) (a netip.Addr) {
	routers := []string{"198.51.100.99", "10.2.0.99", "2001:db8::99", "fd00:2::99"}
	i := 0
	if tr.mode.v6 {
		i = 2
	}
	if a = s.client.Addr(); tr.mode.out {
		i, a = i+1, s.real.Addr()
	}
	if tr.r.chance(50) {
		return addr(routers[i])
	}
	return a
}

// quote is as much of a packet as an error quotes.
func (tr *traffic) quote(h header, sport, dport uint16) []byte {
	tr.r.fill(&h)
	p := look(h.packet(tr.r.body(h.proto, sport, dport, 1400-len(h.options))))
	tr.r.seal(p)
	if !p.v6 && tr.r.chance(10) {
		p.b[10] ^= 0x55 // the header checksum is made anew, whatever it was
	}
	least, most := p.l4+8, 548
	if p.v6 {
		most = 1232 - len(h.options)
	} else if tr.r.chance(20) {
		most = 1200
	}
	n := least
	if tr.r.chance(60) {
		n += tr.r.IntN(max(1, most-least-100))
	}
	return p.b[:min(n, len(p.b))]
}

// spoil sometimes makes the ICMP checksum a wrong one, and reports whether the
// director must accept what it is then (ipvs.md 5.7).
func (tr *traffic) spoil(p view) (accepted bool) {
	field := p.body()[2:]
	wrong := tr.r.chance(15)
	if wrong {
		put16(field, get16(field)^uint16(1+tr.r.IntN(0xfffe)))
	}
	switch {
	case !p.v6:
		return !wrong
	case !tr.mode.out:
		return true // not looked at
	case !wrong && tr.r.chance(80): // Linux sums without the pseudo-header here
		put16(field, 0)
		put16(field, ^sum(p.body(), 0))
	}
	return sum(p.body(), 0) == 0xffff
}

// relayed is what the error must be when it leaves.
func (tr *traffic) relayed(s shipment) view {
	p := s.in.forwarded().recorded(s.virtual.Addr().AsSlice())
	if tr.mode.method != ipvs.Masquerade {
		return p
	}
	q := view{b: p.body()[8:]} // whose length may exceed what is there
	q.v6, q.l4 = p.v6, quotedHeader(p.body()[8:])
	src, dst := p.addresses()
	quotedSrc, quotedDst := q.addresses()
	if tr.mode.out {
		copy(src, s.virtual.Addr().AsSlice())
		copy(quotedDst, s.virtual.Addr().AsSlice())
		put16(q.b[q.l4+2:], s.virtual.Port())
	} else {
		copy(dst, s.real.Addr().AsSlice())
		copy(quotedSrc, s.real.Addr().AsSlice())
		put16(q.b[q.l4:], s.real.Port())
	}
	p.sealIP()
	q.sealIP()
	p.seal()
	return p
}

// quotedHeader is the length of the IP headers of a packet that may be cut off.
func quotedHeader(b []byte) int {
	if b[0]>>4 == 4 {
		return int(b[0]&15) * 4
	}
	at, next := 40, b[6]
	for next == hopByHop || next == routing || next == dstOptions {
		next, at = b[at], at+8+8*int(b[at+1])
	}
	return at
}

func (tr *traffic) judgeError(s shipment, want *view) error {
	right := want != nil && (tr.mode.method == ipvs.Masquerade || s.in.residue() == 0xffff)
	s.client = at(look(s.in.b).source(), 0) // a tunnel's source port goes by the outer addresses
	s.proto = s.in.proto
	frames := tr.deliver(s)
	limit := tr.mtu - tr.overhead(s)
	tunnel := tr.mode.method == ipvs.Tunnel
	if want == nil || s.in.v6 && s.longest > limit || tunnel && limit < tr.least() {
		return none(frames)
	}
	var got []view
	for _, f := range frames {
		if err := tr.station(s, f); err != nil {
			return err
		}
		got = append(got, onWire(f)...)
	}
	s.cut = len(got) > 1
	whole, rest, err := tr.next(s, got)
	if err != nil {
		return err
	}
	if err := none(frames[:len(rest)]); err != nil {
		return err
	}
	if tunnel {
		if whole, err = tr.unwrap(s, whole); err != nil {
			return err
		}
	} else if s.cut && !want.v6 { // cut in spite of DF, which is gone then
		put16(want.b[6:], get16(want.b[6:])&^dontFragment)
		want.sealIP()
	}
	if err := equal(whole, *want); err != nil {
		return err
	}
	return sound(whole.b, right)
}
