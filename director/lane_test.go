package director

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/conntrack"
	"usvs/ipvs"
	"usvs/link"
	"usvs/route"
	"usvs/wire"
)

// twins are two directors that see the same, one of them without a fast lane.
// Whatever happens, nobody can tell one from the other.
type twins struct {
	t     *testing.T
	rng   *rand.Rand
	fast  *testbed
	slow  *testbed
	sent  int // of batches of one frame: how many were forwarded,
	taken int // and how many of these on the fast lane
}

var twinServices = []struct {
	id      ipvs.ServiceID
	method  ipvs.ForwardMethod
	flags   ipvs.ServiceFlags
	servers []string
}{
	{tcpID(vip, 80), ipvs.DirectRoute, 0, []string{"10.2.0.11:80", "10.2.0.12:80", "10.2.0.99:80"}}, // the last's MAC is not known
	{tcpID(vip, 81), ipvs.Masquerade, 0, []string{"10.2.0.11:8080", "10.2.0.12:80", "10.2.0.99:80", "10.6.0.2:80"}},
	{tcpID(vip, 82), ipvs.Tunnel, 0, []string{"10.2.0.11:82", "10.7.0.1:82", "[fd00:2::11]:82"}},
	{tcpID(vip, 83), ipvs.DirectRoute, 0, []string{"10.6.0.9:83", "10.8.0.1:83", "10.1.0.1:83"}}, // no way there
	{tcpID(vip, 84), ipvs.Masquerade, ipvs.FlagPersistent, []string{"10.2.0.11:84", "10.2.0.12:84"}},
	{tcpID(vip, 21), ipvs.Masquerade, 0, []string{"10.2.0.11:21"}},
	{udpID(vip, 53), ipvs.Masquerade, 0, []string{"10.2.0.11:53", "10.2.0.12:5353"}},
	{udpID(vip, 54), ipvs.DirectRoute, ipvs.FlagOnePacket, []string{"10.2.0.11:54"}},
	{udpID(vip, 55), ipvs.DirectRoute, 0, []string{"10.2.0.12:55"}},
	{ipvs.ServiceID{Family: ipvs.IPv4, Mark: 1}, ipvs.Masquerade, 0, []string{"10.2.0.11:85"}},
	{tcpID(vip6, 80), ipvs.DirectRoute, 0, []string{"[fd00:2::11]:80", "[fd00:2::99]:80"}},
	{tcpID(vip6, 81), ipvs.Masquerade, 0, []string{"[fd00:2::11]:8080"}},
	{tcpID(vip6, 82), ipvs.Tunnel, 0, []string{"10.2.0.11:82", "[fd00:2::11]:82"}},
	{udpID(vip6, 53), ipvs.Masquerade, 0, []string{"[fd00:2::11]:53"}},
}

func newTwins(t *testing.T, seed uint64) *twins {
	tw := &twins{t: t, rng: rand.New(rand.NewPCG(seed, 7)), fast: newTestbed(t), slow: newTestbed(t)}
	tw.slow.w.lane.off = true
	tw.both(func(b *testbed) {
		b.snap.Owned = AddrsOf(vip, vip6, netip.MustParseAddr("10.1.0.1"))
		b.snap.Hidden = &Hidden{Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}
		for i, s := range twinServices {
			b.service(s.id, s.method, s.servers...)
			svc := b.snap.Services[i]
			svc.Spec.Flags, svc.Spec.Timeout = s.flags, 300
		}
		b.publish()
	})
	return tw
}

// both does the same to each.
func (tw *twins) both(do func(b *testbed)) {
	do(tw.fast)
	do(tw.slow)
}

// event is something besides frames.
func (tw *twins) event() {
	r := tw.rng
	svc := r.IntN(len(twinServices))
	switch kind := r.IntN(17); kind {
	case 0: // a server goes, or comes back
		i, up := r.IntN(8), r.IntN(3) > 0
		tw.both(func(b *testbed) {
			list := b.snap.Services[svc].Servers
			list[i%len(list)].SetAvailable(up)
			b.publish()
		})
	case 1:
		i := r.IntN(8)
		weight := int32(r.IntN(2))
		tw.both(func(b *testbed) {
			list := b.snap.Services[svc].Servers
			spec := list[i%len(list)].Spec()
			spec.Weight = weight
			list[i%len(list)].SetSpec(spec)
			b.publish()
		})
	case 2:
		nodest, reuse, pmtu, nat := r.IntN(2), r.IntN(4), r.IntN(2), r.IntN(2)
		tw.both(func(b *testbed) {
			y := &b.snap.Sysctls
			y.ExpireNodestConn, y.ConnReuseMode, y.PMTUDisc, y.NATICMPSend = nodest, reuse, pmtu, nat
			b.publish()
		})
	case 3:
		mtu := []int{1500, 1500, 1300, 576}[r.IntN(4)]
		tw.both(func(b *testbed) {
			b.net.Interfaces[1].MTU = mtu
			b.network(func(c *route.Config) { c.Interfaces[1].MAC[5]++ })
		})
	case 4:
		standby := r.IntN(4) == 0
		tw.both(func(b *testbed) { b.snap.Standby = standby; b.publish() })
	case 5:
		a := netip.MustParseAddr([]string{"10.2.0.11", "10.2.0.99", "10.1.0.254", "fd00:2::99"}[r.IntN(4)])
		port := map[bool]int{true: 0, false: 1}[a.String() == "10.1.0.254"]
		known, mac := r.IntN(3) > 0, wire.MAC{2, 9, 9, 9, 9, byte(r.Uint32())}
		tw.both(func(b *testbed) {
			if known {
				b.d.Neighbours.SetStatic(b.now, port, a, mac, b.sink())
			} else {
				b.d.Neighbours.Delete(port, a)
			}
		})
	case 6:
		owned := r.IntN(4) > 0
		tw.both(func(b *testbed) {
			list := []netip.Addr{vip6, netip.MustParseAddr("10.1.0.1")}
			if owned {
				list = append(list, vip)
			}
			b.snap.Owned = AddrsOf(list...)
			b.publish()
		})
	case 7:
		flood := r.IntN(3)
		tw.both(func(b *testbed) { b.snap.Sysctls.SecureTCP = flood; b.publish() })
	case 8: // a connection that an announcement made expect another address than its server's
		client, real := uint16(4000+r.IntN(3)), []string{"10.2.0.12:7", "10.2.0.99:7"}[r.IntN(2)]
		tw.both(func(b *testbed) {
			rs, c := b.snap.Services[svc].Servers[0], new(conntrack.Conn)
			if rs.ID.Addr.Is4() {
				b.d.Table.Insert(b.now, &conntrack.Spec{
					Protocol: ipvs.TCP, Client: ap(netip.MustParseAddr("198.51.100.1"), client), Virtual: ap(vip, 80),
					Real: netip.MustParseAddrPort(real), Server: rs, Method: rs.Method(), Timeout: time.Minute,
				}, c)
			}
		})
	case 9: // a tunnel, of another kind or through a narrow place
		kind, learned := ipvs.TunnelType(r.IntN(3)), []int{0, 1310, 1000, 80}[r.IntN(4)]
		tw.both(func(b *testbed) {
			for _, rs := range b.snap.Services[2].Servers {
				spec := rs.Spec()
				spec.Tunnel.Type = kind
				rs.SetSpec(spec)
				rs.LearnPathMTU(learned, b.now.Add(time.Minute))
			}
			b.publish()
		})
	case 10: // an interface takes super-frames within tunnels, or no longer
		able := r.IntN(3) > 0
		tw.both(func(b *testbed) { b.d.wraps = func(int) bool { return able } })
	default:
		step := time.Duration(r.Int64N(int64(1) << (10 + r.IntN(28))))
		tw.both(func(b *testbed) { b.now = b.now.Add(step) })
	}
}

// frame is one of all kinds that a director may get, most of them of the few
// connections that there are.
func (tw *twins) frame() *link.Frame {
	r := tw.rng
	s := twinServices[r.IntN(len(twinServices))]
	v6 := s.id.Addr.Is6()
	client := netip.AddrFrom4([4]byte{198, 51, 100, byte(r.IntN(4))})
	if v6 {
		client = wire.Words{Hi: 0x20010db800000000, Lo: uint64(r.IntN(4))}.Addr(true)
	}
	from, to := ap(client, 4000+uint16(r.IntN(3))), ap(s.id.Addr, s.id.Port)
	if s.id.Mark != 0 {
		to = ap(netip.MustParseAddr("192.0.2.9"), 85)
	}
	port := 0
	switch r.IntN(12) {
	case 0, 1, 2: // an answer
		from, to, port = netip.MustParseAddrPort(s.servers[r.IntN(len(s.servers))]), from, 1
		if s.method != ipvs.Masquerade && r.IntN(2) == 0 {
			from = ap(s.id.Addr, s.id.Port)
		}
	case 3: // to the host itself, or to others
		to = ap(netip.MustParseAddr([]string{"10.1.0.1", "192.0.2.9", "10.8.0.1"}[r.IntN(3)]), s.id.Port)
	}
	if from.Addr().Is4() != to.Addr().Is4() {
		from = ap(client, 4000)
		to, port = ap(vip, 80), 0
		if v6 {
			to = ap(vip6, 80)
		}
	}
	var b []byte
	n := []int{0, 0, 1, 100, 1300, 1460}[r.IntN(6)]
	if s.id.Protocol == ipvs.UDP || s.id.Mark != 0 && r.IntN(2) == 0 {
		b = udp(from, to, n)
	} else {
		flags := []uint8{wire.FlagACK, wire.FlagACK, wire.FlagACK | wire.FlagPSH, wire.FlagSYN, wire.FlagSYN | wire.FlagACK,
			wire.FlagFIN | wire.FlagACK, wire.FlagRST, 0}[r.IntN(8)]
		b = segment(from, to, flags, n)
	}
	f := wire.NewFrame(wire.MaxFrame)
	f.SetBytes(tw.odd(b, port))
	f.Port = port
	tw.metadata(f, s.id.Protocol, v6)
	return f
}

// odd gives a frame its station, and sometimes something unusual.
func (tw *twins) odd(b []byte, port int) []byte {
	r := tw.rng
	macs := tw.fast.d.Snapshot().Routes.Interfaces
	wire.EthernetHeader(b).SetDst(macs[port].MAC)
	ip := b[wire.EthernetLen:]
	v4 := ip[0]>>4 == 4
	reseal := func() {
		if v4 {
			wire.IPv4(ip[:wire.IPv4Len]).SetChecksum(0)
			wire.IPv4(ip).SetChecksum(wire.Checksum(ip[:wire.IPv4Len]))
		}
	}
	switch r.IntN(24) {
	case 0:
		b[5] ^= 1
	case 1:
		ttl := uint8(r.IntN(3))
		if v4 {
			ip[8] = ttl
		} else {
			ip[7] = ttl
		}
		reseal()
	case 2:
		return append(b, make([]byte, 1+r.IntN(20))...) // padding
	case 3:
		return b[:r.IntN(len(b)+1)]
	case 4:
		b[r.IntN(len(b))] ^= 1 << r.IntN(8)
	case 5:
		ip[r.IntN(20)] ^= 1 << r.IntN(8)
		reseal()
	case 6: // fragments, DF cleared
		if v4 {
			wire.IPv4(ip).SetFragWord([]uint16{0, 0x2000, 0x2001, 1}[r.IntN(4)])
			reseal()
		}
	case 7: // another protocol
		at := 6
		if v4 {
			at = 9
		}
		ip[at] = []byte{1, 50, 132, 58, 0, 44, 60}[r.IntN(7)]
		reseal()
	case 8: // a UDP checksum that is none
		if v4 && ip[9] == wire.ProtoUDP {
			ip[26], ip[27] = 0, 0
		}
	case 9: // a tag
		return append(append(append([]byte(nil), b[:12]...), 0x81, 0, 0, 5), b[12:]...)
	}
	return b
}

// metadata is what a device may say of a frame.
func (tw *twins) metadata(f *link.Frame, proto ipvs.Protocol, v6 bool) {
	r := tw.rng
	f.Hidden = r.IntN(8) == 0
	if r.IntN(16) == 0 {
		f.Mark = uint32(r.IntN(3))
	}
	if r.IntN(4) > 0 || f.Len() < 100 {
		return
	}
	f.Partial, f.CsumStart, f.CsumOffset = true, wire.EthernetLen+wire.IPv4Len, 16
	if v6 {
		f.CsumStart += wire.IPv6Len - wire.IPv4Len
	}
	if proto == ipvs.UDP {
		f.CsumOffset = 6
	}
	if r.IntN(3) == 0 && proto == ipvs.TCP {
		f.GSO, f.GSOSize = wire.GSOTCP4, 500
		if v6 {
			f.GSO = wire.GSOTCP6
		}
	}
}

// batch gives both the same frames, and compares everything there is.
func (tw *twins) batch(n int) {
	var fast, slow []*link.Frame
	for range n {
		f := tw.frame()
		fast, slow = append(fast, f), append(slow, f)
		g := wire.NewFrame(wire.MaxFrame)
		g.CopyFrom(f)
		slow[len(slow)-1] = g
	}
	a, b := tw.fast, tw.slow
	a.out.Reset()
	b.out.Reset()
	if tw.rng.IntN(4) > 0 {
		require.Equal(tw.t, b.w.Tick(b.now, &b.out), a.w.Tick(a.now, &a.out))
	}
	a.w.poison()
	due, dueSlow := a.w.Handle(a.now, fast, &a.out), b.w.Handle(b.now, slow, &b.out)
	if a.w.seen == Forwarded && n == 1 {
		tw.sent++
		if a.w.p.Data == nil { // nobody parsed it in full
			tw.taken++
		}
	}
	require.Equal(tw.t, b.w.seen, a.w.seen)
	require.Equal(tw.t, b.seeToTimers(dueSlow), a.seeToTimers(due))
	tw.same("sent", b.out.Tx, a.out.Tx)
	tw.same("to the host", b.out.Host, a.out.Host)
	tw.same("passed", b.out.Pass, a.out.Pass)
	require.Equal(tw.t, b.state(), a.state())
}

// seeToTimers calls Tick until nothing is due any more, and returns when
// something will be: a batch that takes the fast lane may leave timers to later.
func (b *testbed) seeToTimers(due clock.Instant) clock.Instant {
	for due <= b.now {
		due = b.w.Tick(b.now, &b.out)
	}
	return due
}

func (tw *twins) same(what string, want, got []*link.Frame) {
	require.Equal(tw.t, len(want), len(got), what)
	for i := range want {
		require.Equal(tw.t, described(want[i]), described(got[i]), "%s: frame %d", what, i)
	}
}

// described is all that a device is told of a frame.
func described(f *link.Frame) string {
	return fmt.Sprintf("%v %v %v %v %v %v %v %v %v %v %v %v %v %v %v % x", f.Medium, f.Port, f.Mark, f.Hidden, f.Partial, f.CsumStart,
		f.CsumOffset, f.GSO, f.GSOSize, f.ECN, f.Wrapped, f.FragSize, f.Pieces, f.PiecesDF, f.FragID, f.Bytes())
}

// state is everything about a director that anybody can see.
func (b *testbed) state() map[string]any {
	s := map[string]any{"counters": b.d.Counters(), "neighbours": b.d.Neighbours.Entries(b.now)}
	var conns []conntrack.Conn
	b.d.Table.Walk(b.now, func(c *conntrack.Conn) bool {
		k := *c
		k.Server = nil
		conns = append(conns, k)
		return true
	})
	s["connections"] = conns
	totals := []*ipvs.Counters{&b.d.Totals}
	for _, svc := range b.snap.Services {
		totals = append(totals, &svc.VS.Counters)
		for _, rs := range svc.Servers {
			totals = append(totals, &rs.Counters)
			s[rs.ID.String()+svc.VS.ID.String()] = [3]int32{rs.Active(), rs.Inactive(), rs.Persistent()}
		}
	}
	for i, c := range totals {
		s[fmt.Sprint("counted ", i)] = [5]uint64{c.Conns.Load(), c.InPkts.Load(), c.OutPkts.Load(), c.InBytes.Load(), c.OutBytes.Load()}
	}
	return s
}

// Random histories, hostile frames among them: with the fast lane and without,
// the same leaves, for the same reasons, and the same is known afterwards.
func TestFastLaneIsInvisible(t *testing.T) {
	histories := 30
	if testing.Short() {
		histories = 10
	}
	taken, sent := 0, 0
	for seed := range histories {
		tw := newTwins(t, uint64(seed))
		for range 60 {
			for tw.rng.IntN(3) == 0 {
				tw.event()
			}
			tw.batch(1)
			tw.batch(1 + tw.rng.IntN(80))
		}
		taken, sent = taken+tw.taken, sent+tw.sent
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	require.Greater(t, taken, sent/4, "the fast lane was hardly used: the test says little")
}
