package sim

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"usvs/bench"
	"usvs/netsim"
)

// group is what the figures are listed under.
const group = "sim"

// Suite measures the simulation.
func Suite(ctx context.Context, o *bench.Options) ([]bench.Figure, error) {
	frames, bytes := 200_000, 64<<20
	if o.Quick {
		frames, bytes = 2000, 1<<20
	}
	cases := []bench.Case{
		datagrams("DR: client, switch, director, switch, server", "-g", frames),
		datagrams("NAT: the same, masqueraded, one way", "-m", frames),
		datagrams("TUN: the same, IP in IP", "-i", frames),
		{Figure: bench.Figure{Group: group, Name: "TCP: uploads of 1 MiB through a DR director", Unit: "MB/s", Better: bench.Higher},
			Round: func(context.Context) (bench.Round, error) { return uploads(bytes) }},
		{Figure: bench.Figure{Group: group, Name: "3 directors, 100 real servers: built, and a second", Unit: "ms", Better: bench.Lower},
			Round: func(context.Context) (bench.Round, error) { return start() }},
	}
	return bench.Measure(ctx, o, cases)
}

func datagrams(name, method string, n int) bench.Case {
	return bench.Case{
		Figure: bench.Figure{Group: group, Name: name, Unit: "frames/s", Better: bench.Higher},
		Round:  func(context.Context) (bench.Round, error) { return forward(method, n) },
	}
}

// lan is a client, a director and a real server at one switch.
type lan struct {
	net            *netsim.Net
	client, server *netsim.Host
}

// newLAN makes a network whose director was told commands.
func newLAN(commands ...string) (*lan, error) {
	n := netsim.New(1)
	l := &lan{net: n, client: n.Host("client"), server: n.Host("rs")}
	sw, director := n.Switch("sw"), n.Director("lvs")
	wire := netsim.LinkOptions{Delay: 10 * time.Microsecond}
	n.Link(l.client.NIC("eth0", "10.0.0.9/24"), sw.NextPort(), wire)
	n.Link(director.NIC("eth0", "10.0.0.1/24"), sw.NextPort(), wire)
	n.Link(l.server.NIC("eth0", "10.0.0.2/24"), sw.NextPort(), wire)
	if err := l.server.Exec("usvs realserver up --vip 10.0.0.100 --mode tun").Err(); err != nil {
		return nil, err
	}
	for _, c := range commands {
		if err := director.Exec(c).Err(); err != nil {
			return nil, fmt.Errorf("%s: %w", c, err)
		}
	}
	return l, nil
}

// forward sends n datagrams, four link deliveries each.
func forward(method string, n int) (bench.Round, error) {
	l, err := newLAN("ipvsadm -A -u 10.0.0.100:53 -s rr", "ipvsadm -a -u 10.0.0.100:53 -r 10.0.0.2 "+method)
	if err != nil {
		return bench.Round{}, err
	}
	server, err := l.server.UDP(netip.MustParseAddrPort("0.0.0.0:53"))
	if err != nil {
		return bench.Round{}, err
	}
	arrived := 0
	server.OnReceive = func(netsim.Datagram) { arrived++ }
	client, err := l.client.UDP(netip.AddrPort{})
	if err != nil {
		return bench.Round{}, err
	}
	vip, payload := netip.MustParseAddrPort("10.0.0.100:53"), make([]byte, 64)
	send := func(gap time.Duration) { err = errors.Join(err, client.Send(vip, payload)); l.net.Run(gap) }
	send(time.Second) // neighbours are resolved, the connection is there
	begin := time.Now()
	for range n {
		send(time.Microsecond)
	}
	l.net.Run(time.Millisecond)
	took := time.Since(begin)
	if err == nil && arrived != n+1 {
		err = fmt.Errorf("%d of %d frames arrived", arrived, n+1)
	}
	return bench.Round{Value: float64(n) / took.Seconds()}, err
}

// start builds a network and makes its first second of virtual time pass.
func start() (bench.Round, error) {
	begin := time.Now()
	n := netsim.New(1)
	sw := n.Switch("sw")
	for i := range 100 {
		h := n.Host(fmt.Sprintf("rs%d", i))
		n.Link(h.NIC("eth0", netip.AddrFrom4([4]byte{10, 0, 1, byte(i + 1)}).String()+"/16"), sw.NextPort())
		if err := h.Exec("usvs realserver up --vip 10.0.0.100").Err(); err != nil {
			return bench.Round{}, err
		}
	}
	for i := range 3 {
		d := n.Director(fmt.Sprintf("lvs%d", i))
		n.Link(d.NIC("eth0", netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}).String()+"/16"), sw.NextPort())
	}
	n.Run(time.Second)
	return bench.Round{Value: time.Since(begin).Seconds() * 1000}, nil
}
