package director

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/conntrack"
	"usvs/forward"
	"usvs/ipvs"
	"usvs/link"
	"usvs/localstack"
	"usvs/route"
	"usvs/sched"
	"usvs/wire"
)

// testbed is a director between a client side (port 0) and a server side (port 1).
type testbed struct {
	tb      testing.TB
	now     clock.Instant
	d       *Director
	w       *Worker
	out     link.Output
	servers *ipvs.Registry
	snap    Snapshot
	net     route.Config
}

var (
	vip     = netip.MustParseAddr("10.9.0.1")
	vip6    = netip.MustParseAddr("fd00:9::1")
	cip     = netip.MustParseAddr("198.51.100.7")
	cip6    = netip.MustParseAddr("2001:db8::7")
	dirMAC0 = wire.MAC{2, 0, 0, 0, 0, 1}
	dirMAC1 = wire.MAC{2, 0, 0, 0, 0, 2}
	gwMAC   = wire.MAC{2, 0, 0, 0, 0, 0xfe}
	rsMAC   = wire.MAC{2, 0, 0, 0, 1, 0}
)

func newTestbed(tb testing.TB) *testbed {
	pfx, addr := netip.MustParsePrefix, netip.MustParseAddr
	b := &testbed{tb: tb, now: 1 << 40, servers: new(ipvs.Registry)}
	b.d = New(Config{
		Table:     conntrack.New(conntrack.Config{Servers: b.servers, FTPPorts: []uint16{21}}),
		Fragments: forward.NewReassembler(forward.Limits{}, 1),
		Answers:   localstack.New(localstack.Options{}),
	})
	b.w = b.d.NewWorker()
	b.net = route.Config{
		Interfaces: []route.Interface{
			{Name: "eth0", MAC: dirMAC0, MTU: 1500, Up: true, Addrs: []netip.Prefix{pfx("10.1.0.1/16"), pfx("fd00:1::1/64")}},
			{Name: "eth1", MAC: dirMAC1, MTU: 1500, Up: true, Addrs: []netip.Prefix{pfx("10.2.0.1/16"), pfx("fd00:2::1/64")}},
			{Name: "tun0", Medium: wire.IP, MTU: 1500, Up: true, Addrs: []netip.Prefix{pfx("10.6.0.1/16")}},
		},
		Routes: []route.Route{
			{Prefix: pfx("0.0.0.0/0"), Kind: route.Unicast, Port: 0, Via: addr("10.1.0.254")},
			{Prefix: pfx("::/0"), Kind: route.Unicast, Port: 0, Via: addr("fd00:1::fe")},
			{Prefix: pfx("10.1.0.0/16"), Kind: route.Unicast, Port: 0},
			{Prefix: pfx("10.2.0.0/16"), Kind: route.Unicast, Port: 1},
			{Prefix: pfx("fd00:2::/64"), Kind: route.Unicast, Port: 1},
			{Prefix: pfx("10.6.0.0/16"), Kind: route.Unicast, Port: 2},
			{Prefix: pfx("10.7.0.0/16"), Kind: route.None},
			{Prefix: pfx("10.8.0.0/16"), Kind: route.Foreign},
		},
		Locals: []netip.Addr{addr("127.0.0.1")},
	}
	b.snap = Snapshot{Sysctls: ipvs.DefaultSysctls(), Owned: AddrsOf(vip, vip6)}
	b.network(func(*route.Config) {})
	b.d.Neighbours.SetStatic(b.now, 0, addr("10.1.0.254"), gwMAC, b.sink())
	b.d.Neighbours.SetStatic(b.now, 0, addr("fd00:1::fe"), gwMAC, b.sink())
	for _, a := range []string{"10.2.0.11", "10.2.0.12", "fd00:2::11"} {
		b.d.Neighbours.SetStatic(b.now, 1, addr(a), rsMAC, b.sink())
	}
	return b
}

func (b *testbed) sink() *Worker {
	b.w.begin(b.now, &b.out)
	return b.w
}

// network changes the host's network.
func (b *testbed) network(change func(*route.Config)) {
	change(&b.net)
	b.snap.Routes = route.New(b.net)
	b.publish()
}

func (b *testbed) publish() {
	s := b.snap
	b.d.Publish(b.now, s.Seal())
}

// service adds a service with one scheduler and servers, oldest first.
func (b *testbed) service(id ipvs.ServiceID, method ipvs.ForwardMethod, servers ...string) []*ipvs.RealServer {
	vs := &ipvs.VirtualService{ID: id}
	s, err := sched.New("rr", nil)
	require.NoError(b.tb, err)
	svc := &Service{VS: vs, Picker: NewPicker(s)}
	for _, a := range servers {
		ap := netip.MustParseAddrPort(a)
		rs := ipvs.NewRealServer(ipvs.ServerID{Addr: ap.Addr(), Port: ap.Port()}, vs, ipvs.ServerSpec{Method: method, Weight: 1})
		require.True(b.tb, b.servers.Add(rs))
		svc.Servers = append([]*ipvs.RealServer{rs}, svc.Servers...)
	}
	require.NoError(b.tb, svc.Picker.Update(sched.Bind, svc.Servers, nil))
	b.snap.Services = append(b.snap.Services, svc)
	b.publish()
	return svc.Servers
}

func tcpID(a netip.Addr, port uint16) ipvs.ServiceID {
	return ipvs.ServiceID{Family: ipvs.FamilyOf(a), Protocol: ipvs.TCP, Addr: a, Port: port}
}

// segment is an Ethernet frame with a TCP segment of n payload bytes.
func segment(src, dst netip.AddrPort, flags uint8, n int) []byte {
	b := make([]byte, wire.EthernetLen)
	eth := wire.EthernetHeader(b)
	eth.SetDst(dirMAC0)
	eth.SetSrc(gwMAC)
	if src.Addr().Is4() {
		eth.SetType(wire.TypeIPv4)
		h := wire.IPv4(make([]byte, wire.IPv4Len))
		h[0] = 0x45
		h.SetTotalLen(wire.IPv4Len + wire.TCPLen + n)
		h.SetFragWord(0x4000)
		h.SetTTL(64)
		h.SetProto(wire.ProtoTCP)
		h.SetSrc(src.Addr())
		h.SetDst(dst.Addr())
		h.UpdateChecksum()
		b = append(b, h...)
	} else {
		eth.SetType(wire.TypeIPv6)
		h := wire.IPv6(make([]byte, wire.IPv6Len))
		h.SetFlow(0, 0)
		h.SetPayloadLen(wire.TCPLen + n)
		h.SetNextHeader(wire.ProtoTCP)
		h.SetHopLimit(64)
		h.SetSrc(src.Addr())
		h.SetDst(dst.Addr())
		b = append(b, h...)
	}
	t := make([]byte, wire.TCPLen+n)
	t[0], t[1] = byte(src.Port()>>8), byte(src.Port())
	t[2], t[3] = byte(dst.Port()>>8), byte(dst.Port())
	t[12], t[13] = 5<<4, flags
	wire.TCP(t).SetChecksum(^wire.Fold(wire.Sum(t, wire.PseudoSum(src.Addr(), dst.Addr(), wire.ProtoTCP, len(t)))))
	return append(b, t...)
}

// handle gives the director one frame on a port.
func (b *testbed) handle(port int, data []byte) *link.Output {
	f := wire.NewFrame(wire.MaxFrame)
	f.SetBytes(data)
	f.Port = port
	if port == 1 {
		wire.EthernetHeader(f.Bytes()).SetDst(dirMAC1)
	}
	b.out.Reset()
	b.w.Handle(b.now, []*link.Frame{f}, &b.out)
	return &b.out
}

// parsed is the single frame sent.
func (b *testbed) parsed(out *link.Output) (*link.Frame, wire.Packet) {
	require.Len(b.tb, out.Tx, 1, "the frame ended as %v", b.w.seen)
	var p wire.Packet
	require.Equal(b.tb, wire.None, p.Parse(out.Tx[0].Bytes(), out.Tx[0].Medium))
	return out.Tx[0], p
}
