package properties

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"usvs/conntrack"
	"usvs/ipvs"
	"usvs/wire"
)

// mode is one way a packet may take through a director.
type mode struct {
	method ipvs.ForwardMethod
	v6     bool // clients and virtual service
	out    bool // from server to client
	far6   bool // a tunnel's outer header
	tunnel ipvs.TunnelParams
}

func (m mode) String() string {
	name := m.method.String()
	if m.method == ipvs.Tunnel {
		name = []string{"ipip", "gue", "gre"}[m.tunnel.Type] + []string{"", "-csum", "-remcsum"}[m.tunnel.Flags]
	}
	if m.out {
		name += "-out"
	}
	for _, v6 := range []bool{m.v6, m.method == ipvs.Tunnel && m.far6} {
		if v6 {
			name += "-v6"
		} else {
			name += "-v4"
		}
	}
	return name
}

// flow is a connection that packets belong to.
type flow struct {
	proto        uint8
	port         int // side of the client
	client, real netip.AddrPort
	virtual      netip.AddrPort
}

// traffic is random packets of one mode, and what must become of them.
type traffic struct {
	*site
	r     random
	seed  uint64
	mode  mode
	flows []flow
	mtu   int // of the side that packets leave by

	lastID uint32            // of a tunnel's outer packet that was cut
	gue    map[string]uint16 // source port of each flow's tunnel packets
}

func newTraffic(t testing.TB, m mode, seed uint64) *traffic {
	tr := &traffic{site: newSite(t), mode: m, seed: seed, r: random{rand.New(rand.NewPCG(seed, 5))}, gue: map[string]uint16{}}
	tr.snap.Sysctls.ConnReuseMode = 0
	vip := vip4
	if m.v6 {
		vip = vip6
	}
	for i, proto := range []uint8{tcp, udp, sctp} {
		var list []*ipvs.RealServer
		for n := 1; n <= 2; n++ {
			port := uint16(80)
			if m.method == ipvs.Masquerade && n == 2 {
				port = 8080
			}
			real := at(server(m.far6 || m.v6 && m.method != ipvs.Tunnel, m.method == ipvs.Tunnel, 2*i+n), port)
			list = append(list, tr.server(real, ipvs.ServerSpec{Method: m.method, Tunnel: m.tunnel}))
		}
		tr.service(ipvs.Protocol(proto), at(vip, 80), list...)
		for n := range 8 {
			tr.flow(flow{proto: proto, port: n % 2 * tunSide, client: at(client(m.v6, n), uint16(40000+n)), virtual: at(vip, 80)}, list[n/2%2])
		}
	}
	return tr
}

// client is one of a few on each side: odd ones are behind the TUN device.
func client(v6 bool, n int) netip.Addr {
	net := []string{"198.51.100.", "10.6.0."}[n%2]
	if v6 {
		net = []string{"2001:db8::", "fd00:6::"}[n%2]
	}
	return addr(net + string(rune('2'+n)))
}

func (tr *traffic) flow(f flow, rs *ipvs.RealServer) {
	c := tr.connect(conntrack.Spec{Protocol: ipvs.Protocol(f.proto), Client: f.client, Virtual: f.virtual, Server: rs})
	f.real = c.Real
	tr.flows = append(tr.flows, f)
}

// vary changes the network now and then.
func (tr *traffic) vary() {
	tr.mtu = []int{1500, 1500, 1400, 9000, 700}[tr.r.IntN(5)]
	if tr.mtu == 700 && (tr.mode.v6 || tr.mode.far6) {
		tr.mtu = 1340 // as little as a tunnel may leave, or less
	}
	tr.snap.Sysctls.PMTUDisc = tr.r.IntN(2)
	for port := range tr.net.Interfaces {
		tr.net.Interfaces[port].MTU = tr.mtu
	}
	tr.publish()
}

// shipment is one packet on its way: as it is sent, and what that stands for.
type shipment struct {
	flow
	in      view   // with a half checksum if it is partial
	sent    []view // on the wire: one packet, or the segments of a super-frame
	frames  [][]byte
	dev     device
	longest int    // what the MTU is compared with
	largest int    // fragment; 0: it came whole
	parts   []view // its fragments, in order
	cut     bool   // it left in fragments because it did not fit
}

// ship makes a random packet.
func (tr *traffic) ship() (s shipment) {
	r := tr.r
	s.flow = tr.flows[r.IntN(len(tr.flows))]
	h := header{src: s.client.Addr(), dst: s.virtual.Addr(), proto: s.proto}
	sport, dport := s.client.Port(), s.virtual.Port()
	if tr.mode.out {
		h.src, h.dst = s.real.Addr(), h.src
		sport, dport = s.real.Port(), sport
	}
	r.fill(&h)
	most, shape := 1400, r.IntN(100)
	switch {
	case shape < 10 && s.proto != sctp:
		most = 9000
	case shape < 25:
		most = 4000
	}
	s.in = look(h.packet(r.body(s.proto, sport, dport, most-len(h.options))))
	r.extreme(s.in, func(p view) view { return tr.becomes(s, p) })
	r.seal(s.in)
	s.sent, s.longest = []view{s.in}, len(s.in.b)
	switch {
	case shape < 10 && s.proto != sctp:
		tr.super(&s)
	case shape < 25:
		tr.fragmented(&s)
	case shape < 40:
		s.dev.partial = true
		s.in.seal()
		s.sent = []view{s.in.clone()}
		s.in.half()
	case shape < 50 && tr.side(s) != tunSide:
		s.dev.padding = r.bytes(r.IntN(60))
	}
	if s.frames == nil {
		s.frames = [][]byte{append(ethernet(tr.side(s), s.in.b), s.dev.padding...)}
	}
	return s
}

// side is where the packet comes from.
func (tr *traffic) side(s shipment) int {
	if tr.mode.out {
		return serverSide
	}
	return s.port
}

// super makes the packet a super-frame.
func (tr *traffic) super(s *shipment) {
	s.dev.super, s.dev.size = wire.GSOTCP4, 8+tr.r.IntN(1400)
	head := s.in.l4 + 8
	switch {
	case s.proto == udp:
		s.dev.super = wire.GSOUDP
	case s.in.v6:
		s.dev.super = wire.GSOTCP6
	}
	if s.proto == tcp {
		head = s.in.l4 + int(s.in.body()[12]>>4)*4
	}
	s.dev.size = max(s.dev.size, len(s.in.b)/100) // the director makes a thousand frames at most
	s.dev.partial = true
	s.in.half()
	s.sent = s.in.segments(s.dev.size, true)
	s.longest = min(len(s.in.b), head+s.dev.size)
}

// fragmented cuts the packet, if that makes more than one, and mostly keeps
// the order.
func (tr *traffic) fragmented(s *shipment) {
	size := 300 + tr.r.IntN(400)
	list := s.in.fragments(size, tr.r.Uint32())
	if len(list) < 2 {
		return
	}
	if !s.in.v6 { // the identification is the datagram's
		put16(s.in.b[4:], get16(list[0].b[4:]))
		s.in.sealIP()
	}
	for _, p := range list {
		s.largest = max(s.largest, len(p.b))
		s.frames = append(s.frames, ethernet(tr.side(*s), p.b))
	}
	if s.parts = list; s.in.v6 {
		s.longest = s.largest
	}
	if tr.r.chance(30) {
		tr.r.Shuffle(len(list), func(i, j int) { s.frames[i], s.frames[j] = s.frames[j], s.frames[i] })
	}
}

// deliver sends the frames and returns what left because of the last one.
func (tr *traffic) deliver(s shipment) []*wire.Frame {
	port := tr.side(s)
	for i, b := range s.frames {
		out := tr.handle(port, b, func(f *wire.Frame) {
			s.dev.apply(f, s.in, len(b)-len(s.in.b)-len(s.dev.padding))
		})
		if i < len(s.frames)-1 && len(out.Tx)+len(out.Host)+len(out.Pass) > 0 {
			tr.fail(s, errors.New("a fragment did not wait for the others"))
		}
	}
	if len(tr.out.Host)+len(tr.out.Pass) > 0 {
		tr.fail(s, errors.New("the director left it to the host"))
	}
	return tr.out.Tx
}

func (tr *traffic) fail(s shipment, err error) {
	tr.t.Helper()
	text := err.Error()
	tr.t.Fatalf("%v, seed %d, MTU %d, device %+v, %d fragments, pmtu_disc %d: %.2000s\nin: %.400x\ncounters: %v", tr.mode, tr.seed, tr.mtu,
		s.dev, len(s.frames), tr.snap.Sysctls.PMTUDisc, text, s.in.b, tr.d.Counters())
}

// run sends n packets and judges what becomes of each.
func (tr *traffic) run(n int) {
	for i := range n {
		if i%500 == 0 {
			tr.vary()
		}
		s := tr.ship()
		if err := tr.judge(s, tr.deliver(s)); err != nil {
			tr.fail(s, err)
		}
	}
}

// judge compares what left with what must have.
func (tr *traffic) judge(s shipment, frames []*wire.Frame) error {
	limit := tr.mtu - tr.overhead(s)
	tunnel := tr.mode.method == ipvs.Tunnel
	if tunnel && limit < tr.least() {
		return none(frames)
	}
	df := !s.in.v6 && get16(s.in.b[6:])&dontFragment != 0
	if s.longest > limit && (s.in.v6 || df && !(tunnel && tr.snap.Sysctls.PMTUDisc == 0)) {
		return tr.refused(s, frames, limit)
	}
	var got []view
	for _, f := range frames {
		if err := tr.station(s, f); err != nil {
			return err
		}
		got = append(got, onWire(f)...)
	}
	for i, p := range s.sent {
		whole, rest, err := tr.next(s, got)
		if err == nil {
			err = tr.became(s, p, whole)
		}
		if err != nil {
			return fmt.Errorf("packet %d of %d: %w", i, len(s.sent), err)
		}
		got = rest
	}
	if len(got) > 0 {
		return fmt.Errorf("%d packets too many", len(got))
	}
	return nil
}

func none(frames []*wire.Frame) error {
	if len(frames) > 0 {
		return fmt.Errorf("%d frames left, there must be none", len(frames))
	}
	return nil
}

// next takes the next whole packet off a list of packets and fragments.
func (tr *traffic) next(s shipment, list []view) (whole view, rest []view, err error) {
	if len(list) == 0 {
		return whole, nil, errors.New("it did not leave")
	}
	limit := tr.mtu
	if !list[0].isFragment() {
		if len(list[0].b) > limit {
			return whole, nil, fmt.Errorf("%d bytes, the MTU is %d", len(list[0].b), limit)
		}
		return list[0], list[1:], nil
	}
	n := 1 + slices.IndexFunc(list, func(p view) bool { return !more(p) })
	if n == 0 {
		return whole, nil, errors.New("there is no last fragment")
	}
	// No fragment is larger than what came. Behind a tunnel's header that goes for
	// the outer packet, if it is of the same family.
	if s.largest != 0 && (tr.mode.method != ipvs.Tunnel || tr.mode.far6 == s.in.v6) {
		if limit = min(limit, s.largest); list[0].v6 {
			limit = min(tr.mtu, max(s.largest, 1280))
		}
	}
	for _, p := range list[:n] {
		if err := sound(p.b, false); err != nil {
			return whole, nil, err
		}
	}
	if err := tr.pieces(s, list[:n]); err != nil {
		return whole, nil, err
	}
	whole, err = reassemble(list[:n], limit)
	return whole, list[n:], err
}

// pieces judges where a packet was cut: a tunnel's outer packet has an
// identification of its own, and a datagram that came in fragments that fit
// leaves in the same ones. Those of an IPv4 datagram to the director may have
// been merged, but as they are of one length but the last, that does not show.
// An IPv6 datagram that the kernel would have cut elsewhere is cut anew.
func (tr *traffic) pieces(s shipment, list []view) error {
	if tr.mode.method == ipvs.Tunnel {
		id := list[0].identification()
		if id == tr.lastID && !s.cut {
			return fmt.Errorf("identification %d again", id)
		}
		tr.lastID = id
		return nil
	}
	if s.largest == 0 || s.largest > tr.mtu || s.in.v6 && s.in.recut() {
		return nil
	}
	if len(list) != len(s.frames) {
		return fmt.Errorf("%d fragments of %d", len(list), len(s.frames))
	}
	for i, p := range list {
		if came := s.parts[i]; len(came.b) != len(p.b) || p.identification() != came.identification() {
			return fmt.Errorf("fragment %d: %x came as %x", i, p.b, came.b)
		}
	}
	return nil
}

func more(p view) bool {
	_, more, _ := p.place()
	return p.isFragment() && more
}

// became judges one packet that left for one that was sent.
func (tr *traffic) became(s shipment, sent, got view) error {
	if s.largest != 0 {
		sent = s.in // whole again
	}
	right := sent.right()
	if tr.mode.method == ipvs.Tunnel {
		inner, err := tr.unwrap(s, got)
		if err != nil {
			return err
		}
		got = inner
	}
	want := tr.becomes(s, sent)
	if s.largest != 0 && !want.v6 && get16(got.b[6:])&dontFragment == 0 && tr.mode.method != ipvs.Tunnel {
		put16(want.b[6:], get16(want.b[6:])&^dontFragment) // pieces that were kept have lost it
		want.sealIP()
	}
	if err := equal(got, want); err != nil {
		return err
	}
	if s.dev.partial || s.dev.super != 0 || !sent.canonical() || bytes.Equal(got.b, want.b) {
		return sound(got.b, right)
	}
	return errors.New("the checksum is right, but the other zero")
}

// becomes is what a packet must be at the far end of its way.
func (tr *traffic) becomes(s shipment, sent view) view {
	want := sent.forwarded().recorded(s.virtual.Addr().AsSlice())
	switch {
	case tr.mode.method != ipvs.Masquerade:
		return want
	case tr.mode.out:
		return want.translated(s.virtual.Addr().AsSlice(), s.virtual.Port(), true)
	}
	return want.translated(s.real.Addr().AsSlice(), s.real.Port(), false)
}

// station judges the link header.
func (tr *traffic) station(s shipment, f *wire.Frame) error {
	port, mac := serverSide, serverMAC
	switch {
	case tr.mode.out:
		port, mac = s.port, clientMAC
	case tr.mode.method == ipvs.Tunnel:
		mac = routerMAC
	}
	if f.Port != port || (f.Medium == wire.IP) != (port == tunSide) {
		return fmt.Errorf("it left by port %d, medium %d", f.Port, f.Medium)
	}
	if port == tunSide {
		return nil
	}
	b := f.Bytes()
	want := append(append([]byte{}, mac[:]...), directorMAC[port][:]...)
	want = append(want, 8, 0)
	if b[14]>>4 == 6 {
		want[12], want[13] = 0x86, 0xdd
	}
	if string(b[:14]) != string(want) {
		return fmt.Errorf("link header %x, must be %x", b[:14], want)
	}
	return nil
}

// refused judges the ICMP error that a packet too long for its way leads to.
func (tr *traffic) refused(s shipment, frames []*wire.Frame, limit int) error {
	if len(frames) != 1 {
		return fmt.Errorf("%d frames left, there must be one ICMP error", len(frames))
	}
	p := onWire(frames[0])[0]
	if err := sound(p.b, true); err != nil {
		return err
	}
	typ, code := byte(3), byte(4)
	if s.in.v6 {
		typ, code = 2, 0
	}
	b := p.body()
	if p.proto != icmp4 && p.proto != icmp6 || b[0] != typ || b[1] != code || int(binary.BigEndian.Uint32(b[4:])) != limit {
		return fmt.Errorf("not an ICMP error that says %d: %x", limit, p.b)
	}
	quoted := s.in
	if !tr.mode.out { // IPVS counts the hop before it looks at the MTU, plain forwarding afterwards
		quoted = quoted.forwarded().recorded(s.virtual.Addr().AsSlice())
	}
	if n := len(b) - 8; n < 28 || n > len(quoted.b) || s.largest == 0 && string(b[8:]) != string(quoted.b[:n]) && !s.dev.partial {
		return fmt.Errorf("the error quotes %x", b[8:])
	}
	return nil
}
