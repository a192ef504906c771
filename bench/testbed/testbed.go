package testbed

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"time"

	"usvs/arp"
	"usvs/clock"
	"usvs/conntrack"
	"usvs/conntrack/keeper"
	"usvs/control"
	"usvs/director"
	"usvs/forward"
	"usvs/ipvs"
	"usvs/link"
	"usvs/localstack"
	"usvs/route"
	"usvs/wire"
)

// The interfaces' MAC addresses and those of their neighbours.
var (
	dirMACs = [2]wire.MAC{{2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}}
	gwMAC   = wire.MAC{2, 0, 0, 0, 0, 0xfe}
	rsMAC   = wire.MAC{2, 0, 0, 0, 1, 0}
)

// Servers is how many addresses the server side has, Server(0) and so on.
const Servers = 1000

// Bed is a director and what it needs.
type Bed struct {
	Table    *conntrack.Table
	Director *director.Director
	Control  *control.Control
	Worker   *director.Worker
	Out      link.Output
	Batch    []*link.Frame // link.BatchSize of them

	now  clock.Instant
	next clock.Instant // when the worker wants Tick
}

// now is the clock of a Bed's control. Control asks it from any goroutine, but
// only its own changes matter to the suites: it stands still.
type now clock.Instant

func (n now) Now() clock.Instant { return clock.Instant(n) }

// start is when time begins.
const start = clock.Instant(time.Hour)

// New returns a director for at most maxConns connections, without services.
func New(maxConns int) *Bed {
	servers := new(ipvs.Registry)
	b := &Bed{now: start, Table: conntrack.New(conntrack.Config{Seed: 1, MaxEntries: maxConns, Servers: servers})}
	keeper.Prepare(b.Table)
	b.Director = director.New(director.Config{
		Table:     b.Table,
		ARP:       arp.Config{Seed: 1},
		Fragments: forward.NewReassembler(forward.Limits{}, 1),
		Answers:   localstack.New(localstack.Options{Seed: 1, Limiter: localstack.NewLimiter(localstack.Limits{Seed: 1})}),
	})
	b.Worker = b.Director.NewWorker()
	b.Control = control.New(control.Config{
		Clock: now(start), Rand: rand.New(rand.NewPCG(1, 1)), Servers: servers, Conns: b.Table,
		Totals: &b.Director.Totals, Sysctls: ipvs.DefaultSysctls(), Director: b.Director,
		Publish: func(s *director.Snapshot) { b.Director.Publish(start, s) },
	})
	b.Control.SetRoutes(network())
	b.neighbours()
	for range link.BatchSize {
		b.Batch = append(b.Batch, wire.NewFrame(2000))
	}
	return b
}

// network is the host's: clients behind a gateway, servers on a link.
func network() *route.Table {
	pfx, addr := netip.MustParsePrefix, netip.MustParseAddr
	return route.New(route.Config{
		Interfaces: []route.Interface{
			{Name: "eth0", MAC: dirMACs[0], MTU: 1500, Up: true, Addrs: []netip.Prefix{pfx("10.1.0.1/16"), pfx("fd00:1::1/64")}},
			{Name: "eth1", MAC: dirMACs[1], MTU: 1500, Up: true, Addrs: []netip.Prefix{pfx("10.2.0.1/16"), pfx("fd00:2::1/64")}},
		},
		Routes: []route.Route{
			{Prefix: pfx("0.0.0.0/0"), Kind: route.Unicast, Port: 0, Via: addr("10.1.0.254")},
			{Prefix: pfx("::/0"), Kind: route.Unicast, Port: 0, Via: addr("fd00:1::fe")},
			{Prefix: pfx("10.1.0.0/16"), Kind: route.Unicast, Port: 0},
			{Prefix: pfx("10.2.0.0/16"), Kind: route.Unicast, Port: 1},
			{Prefix: pfx("fd00:1::/64"), Kind: route.Unicast, Port: 0},
			{Prefix: pfx("fd00:2::/64"), Kind: route.Unicast, Port: 1},
		},
	})
}

// neighbours makes every next hop known.
func (b *Bed) neighbours() {
	set := func(port int, a netip.Addr, mac wire.MAC) {
		if !b.Director.Neighbours.SetStatic(b.now, port, a, mac, nobody{}) {
			panic(fmt.Sprintf("no room for neighbour %v", a))
		}
	}
	set(0, netip.MustParseAddr("10.1.0.254"), gwMAC)
	set(0, netip.MustParseAddr("fd00:1::fe"), gwMAC)
	for i := range Servers {
		set(1, Server(i), rsMAC)
		set(1, Server6(i), rsMAC)
	}
}

// nobody has no frames that wait for a neighbour.
type nobody struct{}

func (nobody) New() *wire.Frame        { return nil }
func (nobody) Send(*wire.Frame)        {}
func (nobody) Unreachable(*wire.Frame) {}
func (nobody) Conflict(arp.Conflict)   {}

// Server is the address of the i-th real server, i below Servers.
func Server(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 2, byte(1 + i>>8), byte(i)})
}

// Server6 is the i-th real server's IPv6 address.
func Server6(i int) netip.Addr {
	return netip.AddrFrom16([16]byte{0xfd, 0, 0, 2, 14: byte(1 + i>>8), 15: byte(i)})
}

// Virtual is the address of the i-th virtual service, i below 65,536.
func Virtual(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)})
}

// Virtual6 is the virtual service with an IPv6 address.
var Virtual6 = netip.MustParseAddr("fd00:9::1")

// Port is the port of every virtual service and, except with direct routing and
// tunnelling, not that of the servers.
const Port, serverPort = 80, 8080

// Rules are the ipvsadm commands for services with servers each, by a
// scheduler and a forwarding method as ipvsadm names them (-g, -m, -i).
func Rules(services, servers int, scheduler, method string) string {
	var b strings.Builder
	for i := range services {
		fmt.Fprintf(&b, "-A -t %v:%d -s %s\n", Virtual(i), Port, scheduler)
		for j := range servers {
			rs := netip.AddrPortFrom(Server((i*servers+j)%Servers), RealPort(method))
			fmt.Fprintf(&b, "-a -t %v:%d -r %v %s\n", Virtual(i), Port, rs, method)
		}
	}
	return b.String()
}

// Rules6 are those for Virtual6.
func Rules6(servers int, scheduler, method string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "-A -t [%v]:%d -s %s\n", Virtual6, Port, scheduler)
	for j := range servers {
		fmt.Fprintf(&b, "-a -t [%v]:%d -r %v %s\n", Virtual6, Port, netip.AddrPortFrom(Server6(j), RealPort(method)), method)
	}
	return b.String()
}

// RealPort is the servers' port with a forwarding method.
func RealPort(method string) uint16 {
	if method == "-m" {
		return serverPort
	}
	return Port
}

// Load makes the services those of rules.
func (b *Bed) Load(rules string) error { return b.Control.Load("rules", strings.NewReader(rules)) }
