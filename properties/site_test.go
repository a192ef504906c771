package properties

import (
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/arp"
	"usvs/clock"
	"usvs/conntrack"
	"usvs/director"
	"usvs/forward"
	"usvs/ipvs"
	"usvs/link"
	"usvs/localstack"
	"usvs/route"
	"usvs/sched"
	"usvs/wire"
)

// count is how many random frames a test sends: few, or on demand so many that
// it and others of its kind send a million together.
func count(few, kinds int) int {
	switch {
	case os.Getenv("USVS_LONG") != "":
		return 1_000_000/kinds + 1
	case testing.Short():
		return few / 10
	}
	return few
}

// Ports of the site.
const (
	clientSide = iota // Ethernet, clients behind a router
	serverSide        // Ethernet, servers on the link or behind a router
	tunSide           // a TUN device: more clients, without link headers
)

var (
	directorMAC = [...]wire.MAC{{2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}}
	clientMAC   = wire.MAC{2, 0, 0, 0, 0, 0xfe} // the router clients are behind
	serverMAC   = wire.MAC{2, 0, 0, 0, 1, 0}
	routerMAC   = wire.MAC{2, 0, 0, 0, 0, 0xfd} // the router tunnelled servers are behind

	vip4, vip6 = addr("10.9.0.1"), addr("fd00:9::1")
	dip4, dip6 = addr("10.2.0.1"), addr("fd00:2::1") // towards the servers
)

func addr(s string) netip.Addr                    { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix                { return netip.MustParsePrefix(s) }
func at(a netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a, port) }
func server(v6 bool, far bool, n int) (a netip.Addr) { // n is 1 to 9
	switch {
	case v6 && far:
		return addr("fd00:3::1" + string(rune('0'+n)))
	case v6:
		return addr("fd00:2::1" + string(rune('0'+n)))
	case far:
		return addr("10.3.0.1" + string(rune('0'+n)))
	}
	return addr("10.2.0.1" + string(rune('0'+n)))
}

// site is a director with clients on one side and servers on the other. Time
// stands still, so nothing expires.
type site struct {
	t       testing.TB
	now     clock.Instant
	table   *conntrack.Table
	d       *director.Director
	w       *director.Worker
	out     link.Output
	servers ipvs.Registry
	snap    director.Snapshot
	net     route.Config
	frame   *wire.Frame
}

func newSite(t testing.TB) *site {
	s := &site{t: t, now: clock.Instant(time.Hour), frame: wire.NewFrame(wire.MaxFrame)}
	s.table = conntrack.New(conntrack.Config{Servers: &s.servers})
	s.d = director.New(director.Config{
		Table:     s.table,
		Fragments: forward.NewReassembler(forward.Limits{}, 1),
		Answers:   localstack.New(localstack.Options{}),
	})
	s.w = s.d.NewWorker()
	s.net = route.Config{
		Interfaces: []route.Interface{
			{Name: "eth0", MAC: directorMAC[0], MTU: 1500, Up: true, Addrs: []netip.Prefix{prefix("10.1.0.1/16"), prefix("fd00:1::1/64")}},
			{Name: "eth1", MAC: directorMAC[1], MTU: 1500, Up: true, Addrs: []netip.Prefix{prefix("10.2.0.1/16"), prefix("fd00:2::1/64")}},
			{Name: "tun0", Medium: wire.IP, MTU: 1500, Up: true, Addrs: []netip.Prefix{prefix("10.6.0.1/16"), prefix("fd00:6::1/64")}},
		},
		Routes: []route.Route{
			{Prefix: prefix("0.0.0.0/0"), Kind: route.Unicast, Port: clientSide, Via: addr("10.1.0.254")},
			{Prefix: prefix("::/0"), Kind: route.Unicast, Port: clientSide, Via: addr("fd00:1::fe")},
			{Prefix: prefix("10.2.0.0/16"), Kind: route.Unicast, Port: serverSide},
			{Prefix: prefix("fd00:2::/64"), Kind: route.Unicast, Port: serverSide},
			{Prefix: prefix("10.3.0.0/16"), Kind: route.Unicast, Port: serverSide, Via: addr("10.2.0.254")},
			{Prefix: prefix("fd00:3::/64"), Kind: route.Unicast, Port: serverSide, Via: addr("fd00:2::fe")},
			{Prefix: prefix("10.6.0.0/16"), Kind: route.Unicast, Port: tunSide},
			{Prefix: prefix("fd00:6::/64"), Kind: route.Unicast, Port: tunSide},
		},
		Locals: []netip.Addr{addr("127.0.0.1")},
	}
	s.snap = director.Snapshot{Sysctls: ipvs.DefaultSysctls(), Owned: director.AddrsOf(vip4, vip6)}
	s.publish()
	s.neighbours()
	return s
}

func (s *site) neighbours() {
	fixed := func(port int, a netip.Addr, mac wire.MAC) {
		require.True(s.t, s.d.Neighbours.SetStatic(s.now, port, a, mac, quiet{}))
	}
	fixed(clientSide, addr("10.1.0.254"), clientMAC)
	fixed(clientSide, addr("fd00:1::fe"), clientMAC)
	fixed(serverSide, addr("10.2.0.254"), routerMAC)
	fixed(serverSide, addr("fd00:2::fe"), routerMAC)
	for n := 1; n < 10; n++ {
		fixed(serverSide, server(false, false, n), serverMAC)
		fixed(serverSide, server(true, false, n), serverMAC)
	}
}

// quiet is an arp.Sink for neighbours that nobody has to be asked about.
type quiet struct{}

func (quiet) New() *wire.Frame        { return nil }
func (quiet) Send(*wire.Frame)        {}
func (quiet) Unreachable(*wire.Frame) {}
func (quiet) Conflict(arp.Conflict)   {}

// publish makes the director see what was changed in s.snap or s.net.
func (s *site) publish() {
	snap := s.snap
	snap.Routes = route.New(s.net)
	s.d.Publish(s.now, snap.Seal())
}

// service adds a service scheduled by rr over servers, the oldest first.
func (s *site) service(proto ipvs.Protocol, virtual netip.AddrPort, servers ...*ipvs.RealServer) *ipvs.VirtualService {
	id := ipvs.ServiceID{Family: ipvs.FamilyOf(virtual.Addr()), Protocol: proto, Addr: virtual.Addr(), Port: virtual.Port()}
	vs := &ipvs.VirtualService{ID: id}
	rr, err := sched.New("rr", nil)
	require.NoError(s.t, err)
	svc := &director.Service{VS: vs, Picker: director.NewPicker(rr)}
	for _, rs := range servers {
		rs.SetService(vs)
		svc.Servers = append([]*ipvs.RealServer{rs}, svc.Servers...)
	}
	require.NoError(s.t, svc.Picker.Update(sched.Bind, svc.Servers, nil))
	s.snap.Services = append(s.snap.Services, svc)
	s.publish()
	return vs
}

// server registers a real server, which no service has yet.
func (s *site) server(real netip.AddrPort, spec ipvs.ServerSpec) *ipvs.RealServer {
	spec.Weight = 1
	rs := ipvs.NewRealServer(ipvs.ServerID{Addr: real.Addr(), Port: real.Port()}, nil, spec)
	require.True(s.t, s.servers.Add(rs))
	return rs
}

// connect puts a connection into the table.
func (s *site) connect(n conntrack.Spec) (c conntrack.Conn) {
	n.Real, n.Method = at(n.Server.ID.Addr, n.Server.ID.Port), n.Server.Method()
	require.Equal(s.t, conntrack.Inserted, s.table.Insert(s.now, &n, &c))
	return c
}

// handle gives the director one frame. What it returns is good until the next.
func (s *site) handle(port int, data []byte, more func(*wire.Frame)) *link.Output {
	f := s.frame
	f.Reset()
	f.SetBytes(data)
	if f.Port = port; port == tunSide {
		f.Medium = wire.IP
	}
	if more != nil {
		more(f)
	}
	s.out.Reset()
	s.w.Handle(s.now, []*link.Frame{f}, &s.out)
	return &s.out
}

// ethernet puts a link header in front of an IP packet, unless the port has none.
func ethernet(port int, ip []byte) []byte {
	if port == tunSide {
		return ip
	}
	from := clientMAC
	if port == serverSide {
		from = serverMAC
	}
	typ := []byte{8, 0}
	if ip[0]>>4 == 6 {
		typ = []byte{0x86, 0xdd}
	}
	b := append(append(directorMAC[port][:], from[:]...), typ...)
	return append(b, ip...)
}
