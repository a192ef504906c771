package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/vishvananda/netlink"

	"usvs/bench/load"
	"usvs/link/netlab"
	"usvs/wire"
)

// A line's stations. RFC 2544's and RFC 5180's networks are for this.
var (
	senderMAC   = wire.MAC{2, 0, 0, 0, 0, 1}
	DirectorMAC = wire.MAC{2, 0, 0, 0, 0, 2} // towards the sender
	backMAC     = wire.MAC{2, 0, 0, 0, 0, 3} // of the director, towards the servers
	serverMAC   = wire.MAC{2, 0, 0, 0, 0, 4}
)

// Plan are the addresses of a line.
type Plan struct {
	Gateway, Front netip.Prefix // the sender, as the way to the clients, and the director on that network
	Back           netip.Prefix // the director's side of the servers' network
	Servers        []netip.Prefix
	Service        netip.AddrPort
	Clients        netip.Addr // the first
}

// Plan4 and Plan6 are the same line in IPv4 and in IPv6.
var (
	Plan4 = Plan{
		Gateway: netip.MustParsePrefix("198.18.0.2/24"), Front: netip.MustParsePrefix("198.18.0.1/24"),
		Back:    netip.MustParsePrefix("198.18.1.1/24"),
		Servers: []netip.Prefix{netip.MustParsePrefix("198.18.1.11/24"), netip.MustParsePrefix("198.18.1.12/24")},
		Service: netip.MustParseAddrPort("198.18.2.1:9000"), Clients: netip.MustParseAddr("198.19.0.1"),
	}
	Plan6 = Plan{
		Gateway: netip.MustParsePrefix("2001:2:0:0::2/64"), Front: netip.MustParsePrefix("2001:2:0:0::1/64"),
		Back:    netip.MustParsePrefix("2001:2:0:1::1/64"),
		Servers: []netip.Prefix{netip.MustParsePrefix("2001:2:0:1::11/64"), netip.MustParsePrefix("2001:2:0:1::12/64")},
		Service: netip.MustParseAddrPort("[2001:2:0:2::1]:9000"), Clients: netip.MustParseAddr("2001:2:0:3::1"),
	}
)

// Line is a sender, a director and the servers' machine in a row. What reaches
// the servers is counted and thrown away.
//
//	[sender] out --- front [director] back --- eth0 [servers]
type Line struct {
	Plan
	Director *netlab.Namespace
	sender   *netlab.Namespace
	servers  *netlab.Namespace
	socket   *load.Sender
}

// NewLine makes a line without a director's program.
func NewLine(p Plan) (_ *Line, err error) {
	l := &Line{Plan: p}
	defer func() {
		if err != nil {
			l.Close()
		}
	}()
	for _, m := range []struct {
		ns   **netlab.Namespace
		name string
	}{{&l.sender, "sender"}, {&l.Director, "director"}, {&l.servers, "servers"}} {
		if *m.ns, err = newMachine(m.name); err != nil {
			return nil, err
		}
	}
	for _, step := range []func() error{l.plug, l.address, l.neighbours, l.sink, l.open} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// Close ends what still runs in the line and lets go of it.
func (l *Line) Close() {
	if l.socket != nil {
		l.socket.Close()
	}
	for _, ns := range []*netlab.Namespace{l.sender, l.Director, l.servers} {
		if ns != nil {
			ns.EndProcesses()
			ns.Close()
		}
	}
}

// plug connects the machines.
func (l *Line) plug() error {
	return errors.Join(
		l.Director.Veth("front", DirectorMAC, l.sender, "out"),
		l.Director.Veth("back", backMAC, l.servers, "eth0"))
}

// address gives the interfaces what they need and turns them on.
func (l *Line) address() error {
	err := errors.Join(
		setMAC(l.sender, "out", senderMAC), setMAC(l.servers, "eth0", serverMAC),
		l.sender.SetUp("out", l.Gateway),
		l.Director.SetUp("front", l.Front), l.Director.SetUp("back", l.Back),
		l.servers.SetUp("eth0", l.Servers...))
	if err != nil {
		return err
	}
	return l.Director.AddGateway(l.Gateway.Addr())
}

// neighbours tells the director where the others are, once and for all.
func (l *Line) neighbours() error {
	if err := addNeighbour(l.Director, "front", l.Gateway.Addr(), senderMAC); err != nil {
		return err
	}
	for _, s := range l.Servers {
		if err := addNeighbour(l.Director, "back", s.Addr(), serverMAC); err != nil {
			return err
		}
	}
	return nil
}

// sink throws away what reaches the servers: UDP and tunnels by their numbers,
// for nft takes "ipip" for 94, which is something else.
func (l *Line) sink() error {
	const sink = `table netdev bench {
	chain sink { type filter hook ingress device "eth0" priority 0; meta l4proto { 4, 17, 41, 47 } drop; }
}`
	return nft(l.servers, sink)
}

func (l *Line) open() error {
	out, err := l.sender.Netlink().LinkByName("out")
	if err != nil {
		return err
	}
	return l.sender.Do(func() error {
		l.socket, err = load.NewSender(out.Attrs().Index)
		return err
	})
}

// Send sends frames to the director, from the load's core (see load.Sender.Run).
func (l *Line) Send(ctx context.Context, f *load.Flows, perSecond float64, long time.Duration) (sent load.Sent, err error) {
	err = OnCore(l.sender, LoadCore, func() error {
		sent = l.socket.Run(ctx, f, perSecond, long)
		return ctx.Err()
	})
	return sent, err
}

// Flows describes frames that the line's clients send to its service.
func (l *Line) Flows(count, size int) (*load.Flows, error) {
	return load.NewFlows(load.Spec{
		Src: senderMAC, Dst: DirectorMAC, Clients: l.Clients, To: l.Service, Flows: count, Size: size,
	})
}

// Steer says who handles what the director receives.
func (l *Line) Steer(r Receiving) error { return r.steer(l.Director, "front") }

// Queue makes the director's interface queue what it receives, as a network card
// does, for threads to handle. A native XDP program makes it do so as well. A
// veth does it with GRO, for frames from where nobody makes super-frames.
func (l *Line) Queue() error {
	return errors.Join(l.sender.NoOffload("out"), l.Director.GRO("front"))
}

// Delivered is how many frames have reached the servers.
func (l *Line) Delivered() (uint64, error) {
	link, err := l.servers.Netlink().LinkByName("eth0")
	if err != nil {
		return 0, err
	}
	return link.Attrs().Statistics.RxPackets, nil
}

func setMAC(ns *netlab.Namespace, name string, mac wire.MAC) error {
	link, err := ns.Netlink().LinkByName(name)
	if err != nil {
		return err
	}
	return ns.Netlink().LinkSetHardwareAddr(link, mac[:])
}

func addNeighbour(ns *netlab.Namespace, name string, addr netip.Addr, mac wire.MAC) error {
	link, err := ns.Netlink().LinkByName(name)
	if err != nil {
		return err
	}
	return ns.Netlink().NeighSet(&netlink.Neigh{
		LinkIndex: link.Attrs().Index, State: netlink.NUD_PERMANENT, IP: addr.AsSlice(), HardwareAddr: mac[:],
	})
}

// newMachine makes a namespace with the settings that matter the same everywhere.
func newMachine(name string) (*netlab.Namespace, error) {
	ns, err := netlab.New(name)
	if err != nil {
		return nil, err
	}
	for _, conf := range []string{"all", "default"} {
		for _, key := range []string{"rp_filter", "arp_ignore", "arp_announce", "arp_filter", "send_redirects", "forwarding"} {
			ns.TrySysctls("net/ipv4/conf/" + conf + "/" + key + "=0")
		}
		ns.TrySysctls("net/ipv6/conf/"+conf+"/disable_ipv6=0", "net/ipv6/conf/"+conf+"/accept_dad=0", "net/ipv6/conf/"+conf+"/forwarding=0")
	}
	return ns, nil
}

// nft loads a ruleset into a namespace.
func nft(ns *netlab.Namespace, ruleset string) error {
	out, err := output(ns, strings.NewReader(ruleset), "nft", "-f", "-")
	if err != nil {
		return fmt.Errorf("nft: %w: %s", err, out)
	}
	return nil
}

func addRoute(ns *netlab.Namespace, name string, to, via netip.Addr) error {
	link, err := ns.Netlink().LinkByName(name)
	if err != nil {
		return err
	}
	bits := to.BitLen()
	return ns.Netlink().RouteReplace(&netlink.Route{
		LinkIndex: link.Attrs().Index, Gw: via.AsSlice(),
		Dst: &net.IPNet{IP: to.AsSlice(), Mask: net.CIDRMask(bits, bits)},
	})
}
