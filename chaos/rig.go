package chaos

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"usvs/clock"
	"usvs/netsim"
	"usvs/netsim/http"
	"usvs/netsim/tcp"
	"usvs/wire"
)

// rig is a lab that is built.
type rig struct {
	lab       *Lab
	net       *netsim.Net
	directors []*netsim.Director
	router    *netsim.Host
	client    *netsim.Host
	switches  map[*Network]*netsim.Switch
	servers   map[string]*machine
	cables    map[string]*cable // by machine, or director:interface
}

// machine is a real server.
type machine struct {
	*Server
	host    *netsim.Host
	tcp     []*netsim.Service
	udp     []*netsim.UDPSocket
	stopped bool
	delay   time.Duration
}

// cable is the link of a machine, and what is wrong with it.
type cable struct {
	link *netsim.Link
	near *netsim.Port
}

// wireDelay is that of a link without a fault.
const wireDelay = 50 * time.Microsecond

// maxConns is the size of a director's connection table.
const maxConns = 1 << 12

// build makes the network of a lab.
func build(l *Lab, seed uint64) (*rig, error) {
	r := &rig{
		lab: l, net: netsim.New(seed), switches: map[*Network]*netsim.Switch{},
		servers: map[string]*machine{}, cables: map[string]*cable{},
	}
	for _, n := range l.Networks {
		r.switches[n] = r.net.Switch(n.Name)
	}
	if err := r.addRouter(); err != nil {
		return nil, err
	}
	for _, s := range l.Servers {
		if err := r.addServer(s); err != nil {
			return nil, fmt.Errorf("%s: %w", s.Name, err)
		}
	}
	for _, d := range l.Directors {
		if err := r.addDirector(d); err != nil {
			return nil, fmt.Errorf("%s: %w", d.File, err)
		}
	}
	return r, nil
}

// plug joins an interface to a network's switch.
func (r *rig) plug(name string, p *netsim.Port, n *Network) {
	link := r.net.Link(p, r.switches[n].NextPort(), netsim.LinkOptions{Delay: wireDelay})
	r.cables[name] = &cable{link, p}
}

// addRouter makes the router and the clients behind it.
func (r *rig) addRouter() error {
	r.router = r.net.Router("router")
	for i, n := range r.lab.Networks {
		if n.Router == nil {
			continue
		}
		name := fmt.Sprintf("eth%d", i)
		r.plug("router:"+name, r.router.NIC(name, texts(n.Router)...), n)
	}
	r.client = r.net.Host("client")
	outside := r.lab.Networks[len(r.lab.Networks)-1]
	var addrs []string
	for _, a := range r.lab.Clients {
		p, _ := outside.prefixOf(a)
		addrs = append(addrs, netip.PrefixFrom(a, p.Bits()).String())
	}
	r.plug("client", r.client.NIC("eth0", addrs...), outside)
	return defaultRoutes(r.client, outside.Router)
}

func texts(list []netip.Prefix) []string {
	var out []string
	for _, p := range list {
		out = append(out, p.String())
	}
	return out
}

// defaultRoutes lead a host out by the first gateway of each family.
func defaultRoutes(h *netsim.Host, gateways []netip.Prefix) error {
	has := map[bool]bool{}
	for _, g := range gateways {
		if has[g.Addr().Is6()] {
			continue
		}
		has[g.Addr().Is6()] = true
		if err := h.AddRoute(everywhere(g.Addr()), g.Addr(), nil); err != nil {
			return err
		}
	}
	return nil
}

func everywhere(a netip.Addr) string {
	if a.Is6() {
		return "::/0"
	}
	return "0.0.0.0/0"
}

// addServer makes a real server: VIPs on lo, services.
func (r *rig) addServer(s *Server) error {
	m := &machine{Server: s, host: r.net.Host(s.Name)}
	r.servers[s.Name] = m
	r.plug(s.Name, m.host.NIC("eth0", s.Addr.String()), s.Network)
	if s.Gateway.IsValid() {
		if err := m.host.AddRoute(everywhere(s.Gateway), s.Gateway, nil); err != nil {
			return err
		}
	}
	m.carryVIPs(true)
	for _, p := range s.Ports {
		if err := m.serve(p); err != nil {
			return err
		}
	}
	return nil
}

// carryVIPs puts the virtual addresses on lo, or takes them away.
func (m *machine) carryVIPs(up bool) {
	if len(m.VIPs) == 0 {
		return
	}
	list := strings.ReplaceAll(joined(m.VIPs), " ", ",")
	if !up {
		m.host.MustExec("usvs realserver down --vip " + list)
		return
	}
	m.host.MustExec("usvs realserver up --vip " + list)
	if m.Tunnel {
		m.host.MustExec("usvs realserver up --mode tun --gre --gue-port 6080 --vip " + list)
	}
}

func (m *machine) serve(p Port) error {
	if p.Protocol == "UDP" {
		return m.serveUDP(p)
	}
	accept := http.Serve(func(string) http.Answer { return http.Answer{Body: []byte(m.Name + "\n")} })
	if p.Talk == SMTP {
		accept = smtpServer(m.Name)
	}
	s, err := m.host.Serve(p.Number, accept)
	if err == nil {
		m.tcp = append(m.tcp, s)
	}
	return err
}

// smtpServer says its name, and that all is well.
func smtpServer(name string) func(clock.Instant, *tcp.Conn) tcp.Events {
	return func(now clock.Instant, c *tcp.Conn) tcp.Events {
		_, _ = c.Write(now, []byte("220 "+name+"\r\n"))
		return tcp.Events{Readable: func(now clock.Instant, c *tcp.Conn) {
			var b [256]byte
			for {
				n, err := c.Read(now, b[:])
				if err != nil && err != tcp.ErrWouldBlock {
					c.Close(now)
				}
				if n == 0 || err != nil {
					return
				}
				_, _ = c.Write(now, []byte("250 "+name+"\r\n"))
			}
		}}
	}
}

// serveUDP answers datagrams with the server's name; those of the DNS with
// themselves, as an answer.
func (m *machine) serveUDP(p Port) error {
	u, err := m.host.UDP(netip.AddrPortFrom(netip.Addr{}, p.Number))
	if err != nil {
		return err
	}
	u.OnReceive = func(d netsim.Datagram) {
		answer := append([]byte(m.Name+"\n"), d.Payload...)
		if p.Talk == DNS && len(d.Payload) >= 12 {
			answer = append([]byte(nil), d.Payload...)
			answer[2] |= 0x80 // QR: a response (RFC 1035, 4.1.1)
		}
		reply := func() { _ = u.SendFrom(d.To.Addr(), d.From, answer) }
		switch {
		case m.stopped:
		case m.delay > 0:
			m.host.Net().After(m.delay, reply)
		default:
			reply()
		}
	}
	m.udp = append(m.udp, u)
	return nil
}

// stop stops or starts everything the server serves.
func (m *machine) stop(stopped bool) {
	m.stopped = stopped
	for _, s := range m.tcp {
		s.SetUp(!stopped)
	}
}

// slow makes the services late.
func (m *machine) slow(by time.Duration) {
	m.delay = by
	for _, s := range m.tcp {
		s.SetDelay(by)
	}
}

// addDirector makes a director and starts it with its configuration.
func (r *rig) addDirector(d *Director) error {
	sim := r.net.Director(d.Name, netsim.DirectorOptions{MaxConns: maxConns})
	r.directors = append(r.directors, sim)
	for _, nic := range d.NICs {
		r.plug(d.Name+":"+nic.Name, sim.NIC(nic.Name, texts(nic.Addrs)...), nic.Network)
	}
	var gateways []netip.Prefix
	for _, nic := range d.NICs {
		gateways = append(gateways, nic.Network.Router...)
	}
	if err := defaultRoutes(sim.Host, gateways); err != nil {
		return err
	}
	return sim.StartKeepalived(netsim.Keepalived{Config: d.Config})
}

// vrrpGroup6 is the MAC address of VRRP's group for IPv6 (RFC 9568, 5.1.2).
var vrrpGroup6 = wire.MAC{0x33, 0x33, 0, 0, 0, 0x12}

// notMulticast lets pass what a network without multicast carries: broadcasts,
// and what IPv6 cannot do without.
func notMulticast(dst wire.MAC) bool {
	return dst == wire.Broadcast || dst[0] == 0x33 && dst != vrrpGroup6
}
