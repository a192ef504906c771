package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/vishvananda/netlink"

	"usvs/bench/load"
	"usvs/bench/traffic"
	"usvs/link/netlab"
	"usvs/wire"
)

// The addresses of a LAN: the clients' network and the servers', on one switch.
// The director is in both; the service's address is in the clients'.
var (
	lanClients  = prefixes("198.18.0.2/24", "198.18.0.3/24", "198.18.0.4/24", "198.18.0.5/24")
	lanDirector = prefixes("198.18.0.1/24", "198.18.1.1/24")
	lanServers  = prefixes("198.18.1.11/24", "198.18.1.12/24")
	lanVIP      = netip.MustParseAddr("198.18.0.100")
)

// The ports of the two services: short answers, and streams.
const (
	AnswerPort = 80
	StreamPort = 81
)

// congestionControl is the same for all: the machine's own may pace.
const congestionControl = "cubic"

// LAN is a client, a director and servers on a switch.
type LAN struct {
	Client   *netlab.Namespace
	Director *netlab.Namespace
	Servers  []*netlab.Namespace
	plug     *netlab.Namespace // the switch
	server   *traffic.Server
	to       netip.Addr
	undo     []func()
}

func prefixes(texts ...string) (list []netip.Prefix) {
	for _, t := range texts {
		list = append(list, netip.MustParsePrefix(t))
	}
	return list
}

// NewLAN makes a LAN whose servers serve, without a director's program.
func NewLAN() (_ *LAN, err error) {
	l := &LAN{to: lanVIP}
	defer func() {
		if err != nil {
			l.Close()
		}
	}()
	if err := l.build(); err != nil {
		return nil, err
	}
	return l, l.serve()
}

// Close ends what still runs in the LAN and lets go of it.
func (l *LAN) Close() {
	if l.server != nil {
		l.server.Close()
	}
	for _, undo := range l.undo {
		undo()
	}
	for _, ns := range append(l.Servers, l.Client, l.Director, l.plug) {
		if ns != nil {
			ns.EndProcesses()
			ns.Close()
		}
	}
}

func (l *LAN) build() (err error) {
	if l.plug, err = newMachine("switch"); err != nil {
		return err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "br0"
	if err := l.plug.Netlink().LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil {
		return fmt.Errorf("make a bridge: %w", netlab.Explain(err))
	}
	if err := l.plug.SetUp("br0"); err != nil {
		return err
	}
	if l.Client, err = l.addMachine("client", 1, lanClients...); err != nil {
		return err
	}
	if l.Director, err = l.addMachine("director", 2, lanDirector...); err != nil {
		return err
	}
	for i, addr := range lanServers {
		ns, err := l.addMachine(fmt.Sprint("server", i+1), byte(3+i), addr)
		if err != nil {
			return err
		}
		l.Servers = append(l.Servers, ns)
	}
	// Without a director the client reaches the servers on the switch.
	return addLocalRoute(l.Client, lanServers[0].Masked())
}

// addMachine plugs a machine into the switch.
func (l *LAN) addMachine(name string, number byte, addrs ...netip.Prefix) (*netlab.Namespace, error) {
	ns, err := newMachine(name)
	if err != nil {
		return nil, err
	}
	ns.TrySysctls("net/ipv4/tcp_congestion_control="+congestionControl, "net/ipv4/tcp_no_metrics_save=1",
		"net/ipv4/ip_local_port_range=1024 65535", "net/core/somaxconn=4096", "net/ipv4/tcp_max_syn_backlog=4096",
		// What one measurement leaves behind must not slow the next.
		"net/ipv4/tcp_max_tw_buckets=2000")
	if err := ns.Veth("eth0", wire.MAC{2, 0, 0, 0, 1, number}, l.plug, name); err != nil {
		return ns, err
	}
	bridge, err := l.plug.Netlink().LinkByName("br0")
	if err != nil {
		return ns, err
	}
	port, err := l.plug.Netlink().LinkByName(name)
	if err != nil {
		return ns, err
	}
	return ns, errors.Join(l.plug.Netlink().LinkSetMaster(port, bridge), l.plug.SetUp(name), ns.SetUp("eth0", addrs...))
}

// serve starts the servers' program: one thread for all of them.
func (l *LAN) serve() (err error) {
	if l.server, err = traffic.NewServer(); err != nil {
		return err
	}
	any := netip.IPv4Unspecified()
	for _, ns := range l.Servers {
		err := ns.Do(func() error {
			return errors.Join(
				l.server.Listen(netip.AddrPortFrom(any, AnswerPort), traffic.Answer),
				l.server.Listen(netip.AddrPortFrom(any, StreamPort), traffic.Swallow))
		})
		if err != nil {
			return err
		}
	}
	l.server.Serve(func() error { return load.StayOn(DirectorCore) })
	return nil
}

// Server is the servers' program.
func (l *LAN) Server() *traffic.Server { return l.server }

// To returns a client of one of the services.
func (l *LAN) To(port uint16) *traffic.Client {
	c := &traffic.Client{To: netip.AddrPortFrom(l.to, port), CC: congestionControl}
	for _, p := range lanClients {
		c.From = append(c.From, p.Addr())
	}
	return c
}

// NoDirector makes clients talk to the first server.
func (l *LAN) NoDirector() (*Program, error) {
	l.to = lanServers[0].Addr()
	return &Program{}, l.answersDirect()
}

// answersDirect lets the servers' answers go to the client, not to the director.
func (l *LAN) answersDirect() error {
	for _, ns := range l.Servers {
		if err := addLocalRoute(ns, lanClients[0].Masked()); err != nil {
			return err
		}
	}
	return nil
}

// answersBack makes the director the servers' way to the client.
func (l *LAN) answersBack() error {
	for _, ns := range l.Servers {
		if err := ns.AddGateway(lanDirector[1].Addr()); err != nil {
			return err
		}
	}
	return nil
}

// services are what a director has to know.
func (l *LAN) services() (list []Service) {
	for _, port := range []uint16{AnswerPort, StreamPort} {
		s := Service{Address: netip.AddrPortFrom(lanVIP, port)}
		for _, p := range lanServers {
			s.Servers = append(s.Servers, netip.AddrPortFrom(p.Addr(), port))
		}
		list = append(list, s)
	}
	return list
}

// Usvs starts usvs, and prepares the servers for its method.
func (l *LAN) Usvs(u Usvs) (*Program, error) {
	prepare := l.answersBack
	if u.Method != Masquerade {
		prepare = func() error { return errors.Join(l.answersDirect(), l.realServers(&u)) }
	}
	if err := prepare(); err != nil {
		return nil, err
	}
	u.Protocol, u.Interfaces, u.Core = "-t", []string{"eth0"}, AnyCore
	return u.Start(l.Director, l.services()...)
}

// realServers makes the servers take packets for the service's address. The
// kernel unpacks what is tunnelled, or else usvs does, which takes longer.
func (l *LAN) realServers(u *Usvs) error {
	for _, ns := range l.Servers {
		mode := "dr"
		if u.Method == Tunnel {
			undo, err := unpack(ns, "eth0")
			if err == nil {
				l.undo = append(l.undo, undo)
			} else {
				mode = "tun"
			}
		}
		cmd := usvs(u.Binary, "realserver", "up", "--vip", lanVIP.String(), "--mode", mode,
			"--state-dir", fmt.Sprintf("/run/bench-%d-%d", ns.FD(), l.Director.FD()))
		var out []byte
		err := ns.Do(func() (err error) {
			out, err = cmd.CombinedOutput()
			return err
		})
		if err != nil {
			return fmt.Errorf("usvs realserver up: %w: %s", err, out)
		}
	}
	return nil
}

// DNAT makes the kernel the director (see Line.DNAT).
func (l *LAN) DNAT() (*Program, error) {
	var services []netip.AddrPort
	for _, s := range l.services() {
		services = append(services, s.Address)
	}
	err := errors.Join(l.answersBack(), l.ownVIP(), forwarding(l.Director))
	if err != nil {
		return nil, err
	}
	return &Program{}, nft(l.Director, dnat(services, lanServers, "tcp"))
}

func (l *LAN) ownVIP() error {
	return l.Director.SetUp("eth0", netip.PrefixFrom(lanVIP, 24))
}

// HAProxy starts HAProxy in TCP mode.
func (l *LAN) HAProxy() (*Program, error) {
	path, err := find("haproxy")
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	b.WriteString("global\n maxconn 4000\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n")
	for _, s := range l.services() {
		fmt.Fprintf(&b, "listen p%d\n bind %v\n balance leastconn\n", s.Address.Port(), s.Address)
		for i, server := range s.Servers {
			fmt.Fprintf(&b, " server s%d %v\n", i, server)
		}
	}
	return l.proxy(path, "haproxy.cfg", b.String(), "-db", "-f")
}

// nginxStream is where Debian has nginx's module.
const nginxStream = "/usr/lib/nginx/modules/ngx_stream_module.so"

// Nginx starts nginx as a TCP proxy.
func (l *LAN) Nginx() (*Program, error) {
	path, err := find("nginx")
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(nginxStream); err != nil {
		return nil, errors.New("nginx's stream module is not installed (Debian: apt-get install libnginx-mod-stream)")
	}
	var b strings.Builder
	b.WriteString("load_module " + nginxStream + ";\nuser root;\nworker_processes auto;\ndaemon off;\npid /run/bench-nginx.pid;\n" +
		"error_log stderr;\nevents { worker_connections 4000; }\nstream {\n")
	for _, s := range l.services() {
		fmt.Fprintf(&b, " upstream p%d { least_conn;", s.Address.Port())
		for _, server := range s.Servers {
			fmt.Fprintf(&b, " server %v;", server)
		}
		fmt.Fprintf(&b, " }\n server { listen %v reuseport; proxy_pass p%d; }\n", s.Address, s.Address.Port())
	}
	b.WriteString("}\n")
	return l.proxy(path, "nginx.conf", b.String(), "-c")
}

// proxy starts a proxy with a configuration file and waits until it listens.
func (l *LAN) proxy(path, name, config string, args ...string) (*Program, error) {
	if err := l.ownVIP(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("/run", "bench-")
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		return nil, err
	}
	p, err := l.Director.Start(exec.Command(path, append(args, file)...))
	if err != nil {
		return nil, err
	}
	prog := &Program{process: p}
	if err := l.awaitListener(prog); err != nil {
		prog.Stop()
		return nil, err
	}
	return prog, nil
}

// awaitListener tries to connect until it works.
func (l *LAN) awaitListener(p *Program) error {
	deadline := time.Now().Add(patience)
	for {
		err := l.Client.Do(func() error {
			conn, err := net.DialTimeout("tcp", netip.AddrPortFrom(lanVIP, AnswerPort).String(), time.Second)
			if err == nil {
				conn.Close()
			}
			return err
		})
		if err == nil {
			return nil
		}
		select {
		case <-p.process.Done():
			return fmt.Errorf("the proxy ended: %v\n%s", p.process.Err(), p.Log())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the proxy does not listen: %w\n%s", err, p.Log())
		}
	}
}

func addLocalRoute(ns *netlab.Namespace, to netip.Prefix) error {
	link, err := ns.Netlink().LinkByName("eth0")
	if err != nil {
		return err
	}
	return ns.Netlink().RouteReplace(&netlink.Route{
		LinkIndex: link.Attrs().Index, Scope: netlink.SCOPE_LINK,
		Dst: &net.IPNet{IP: to.Addr().AsSlice(), Mask: net.CIDRMask(to.Bits(), to.Addr().BitLen())},
	})
}
