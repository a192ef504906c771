package integration

import (
	"fmt"
	"strings"
	"testing"

	"usvs/link/netnstest"
)

// site is a network with a director: machines plugged into a switch that has
// one bridge per LAN.
type site struct {
	*netnstest.Lab
	t        *testing.T
	plug     *netnstest.Namespace
	ports    int
	client   *netnstest.Namespace
	director *netnstest.Namespace
	router   *netnstest.Namespace
	servers  []*netnstest.Namespace
}

func newSite(t *testing.T, lab *netnstest.Lab, lans ...string) *site {
	t.Helper()
	s := &site{Lab: lab, t: t, plug: lab.Namespace("switch")}
	for _, lan := range lans {
		s.plug.Bridge(lan)
	}
	return s
}

// machine makes a host whose interfaces eth0, eth1, ... are given as a LAN and
// addresses each: "lan0 10.0.0.1/24 2001:db8::1/64".
func (s *site) machine(name string, interfaces ...string) *netnstest.Namespace {
	s.t.Helper()
	ns := s.Namespace(name)
	for i, words := range interfaces {
		f := strings.Fields(words)
		s.plugIn(ns, fmt.Sprintf("eth%d", i), f[0], f[1:]...)
	}
	return ns
}

// queues is how many an interface has in this process's networks.
var queues = 1

// plugIn gives a host an interface in a LAN.
func (s *site) plugIn(ns *netnstest.Namespace, name, lan string, addrs ...string) {
	s.t.Helper()
	s.ports++
	port := fmt.Sprintf("port%d", s.ports)
	s.VethQueues(ns, name, s.plug, port, queues)
	s.plug.Enslave(port, lan)
	for _, a := range addrs {
		ns.AddAddr(name, a)
	}
}

// directRoute is everything on one LAN.
func directRoute(t *testing.T, lab *netnstest.Lab) *site {
	t.Helper()
	s := newSite(t, lab, "lan0")
	s.client = s.machine("client", "lan0 10.10.100.2/24")
	s.director = s.machine("director", "lan0 10.10.100.1/24")
	s.servers = []*netnstest.Namespace{
		s.machine("rs1", "lan0 10.10.100.111/24"),
		s.machine("rs2", "lan0 10.10.100.112/24"),
	}
	return s
}

// masquerade has the director between the client and the real servers, whose
// default route it is. The VIP is in the real servers' network.
func masquerade(t *testing.T, lab *netnstest.Lab) *site {
	t.Helper()
	s := newSite(t, lab, "lan0", "lan1")
	s.client = s.machine("client", "lan0 192.168.40.2/24")
	s.director = s.machine("director", "lan0 192.168.40.1/24", "lan1 10.1.1.1/24")
	s.servers = []*netnstest.Namespace{
		s.machine("rs1", "lan1 10.1.1.78/24"),
		s.machine("rs2", "lan1 10.1.1.79/24"),
	}
	s.client.AddRoute("default", "192.168.40.1")
	for _, rs := range s.servers {
		rs.AddRoute("default", "10.1.1.1")
	}
	return s
}

// tunnel has the real servers in another network, behind a router.
func tunnel(t *testing.T, lab *netnstest.Lab) *site {
	t.Helper()
	s := newSite(t, lab, "lan0", "lan1")
	s.client = s.machine("client", "lan0 10.10.100.2/24")
	s.director = s.machine("director", "lan0 10.10.100.1/24")
	s.router = s.machine("router", "lan0 10.10.100.254/24", "lan1 172.16.52.254/24")
	s.router.Sysctl("net.ipv4.ip_forward", "1")
	s.director.AddRoute("default", "10.10.100.254")
	s.servers = []*netnstest.Namespace{
		s.machine("rs1", "lan1 172.16.52.61/24"),
		s.machine("rs2", "lan1 172.16.52.62/24"),
	}
	for _, rs := range s.servers {
		rs.AddRoute("default", "172.16.52.254")
	}
	return s
}

// The same in IPv6.

func directRoute6(t *testing.T, lab *netnstest.Lab) *site {
	t.Helper()
	s := newSite(t, lab, "lan0")
	s.client = s.machine("client", "lan0 2001:db8::2/64")
	s.director = s.machine("director", "lan0 2001:db8::1/64")
	s.servers = []*netnstest.Namespace{
		s.machine("rs1", "lan0 2001:db8::11/64"),
		s.machine("rs2", "lan0 2001:db8::12/64"),
	}
	return s
}

func masquerade6(t *testing.T, lab *netnstest.Lab) *site {
	t.Helper()
	s := newSite(t, lab, "lan0", "lan1")
	s.client = s.machine("client", "lan0 2001:db8:1::2/64")
	s.director = s.machine("director", "lan0 2001:db8:1::1/64", "lan1 2001:db8::1/64")
	s.servers = []*netnstest.Namespace{
		s.machine("rs1", "lan1 2001:db8::11/64"),
		s.machine("rs2", "lan1 2001:db8::12/64"),
	}
	s.client.AddRoute("default", "2001:db8:1::1")
	for _, rs := range s.servers {
		rs.AddRoute("default", "2001:db8::1")
	}
	return s
}

func tunnel6(t *testing.T, lab *netnstest.Lab) *site {
	t.Helper()
	s := newSite(t, lab, "lan0", "lan1")
	s.client = s.machine("client", "lan0 2001:db8::2/64")
	s.director = s.machine("director", "lan0 2001:db8::1/64")
	s.router = s.machine("router", "lan0 2001:db8::fe/64", "lan1 2001:db8:2::fe/64")
	s.router.Sysctl("net.ipv6.conf.all.forwarding", "1")
	s.director.AddRoute("default", "2001:db8::fe")
	s.servers = []*netnstest.Namespace{
		s.machine("rs1", "lan1 2001:db8:2::11/64"),
		s.machine("rs2", "lan1 2001:db8:2::12/64"),
	}
	for _, rs := range s.servers {
		rs.AddRoute("default", "2001:db8:2::fe")
	}
	return s
}

// realServersUp prepares every real server for a VIP.
func (s *site) realServersUp(vip, mode string) {
	s.t.Helper()
	for _, rs := range s.servers {
		usvs(s.t, rs, fmt.Sprintf("realserver up --vip %s --mode %s --dev eth0", vip, mode))
	}
}
