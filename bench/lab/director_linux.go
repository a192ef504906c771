package lab

import (
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"time"

	"usvs/link/netlab"
)

// patience is how long a director's program may take to start.
const patience = 10 * time.Second

// Method is how usvs is told to forward.
type Method string

// The methods, as ipvsadm(8) has them.
const (
	DirectRoute Method = "-g"
	Masquerade  Method = "-m"
	Tunnel      Method = "-i"
)

// Program is what stands between clients and servers.
type Program struct {
	process *netlab.Process // nil: the kernel itself
}

// Stop ends it, if it is a process.
func (p *Program) Stop() {
	if p.process != nil {
		p.process.Stop()
	}
}

// Usvs is how usvs is run.
type Usvs struct {
	Binary     string // empty: this program
	IO         string
	Method     Method
	Protocol   string // -u or -t
	Interfaces []string
	Args       []string // further ones
}

// Start starts usvs as a user would, on the director's core.
func (u *Usvs) Start(ns *netlab.Namespace, service netip.AddrPort, servers []netip.AddrPort) (*Program, error) {
	args := []string{"run", "--io", u.IO, "--rules", "-"}
	for _, name := range u.Interfaces {
		args = append(args, "-i", name)
	}
	cmd := netlab.Self("usvs", append(args, u.Args...)...)
	if u.Binary != "" {
		cmd.Path = u.Binary
	}
	cmd.Stdin = strings.NewReader(u.rules(service, servers))
	return start(ns, cmd, "the director", "director is running")
}

// rules are what ipvsadm-restore would read.
func (u *Usvs) rules(service netip.AddrPort, servers []netip.AddrPort) string {
	var b strings.Builder
	fmt.Fprintf(&b, "-A %s %v -s wlc\n", u.Protocol, service)
	for _, s := range servers {
		fmt.Fprintf(&b, "-a %s %v -r %v %s\n", u.Protocol, service, s, u.Method)
	}
	return b.String()
}

// start starts a program on the director's core and waits until it says that it
// works.
func start(ns *netlab.Namespace, cmd *exec.Cmd, what, ready string) (*Program, error) {
	var p *netlab.Process
	err := startOn(ns, DirectorCore, func() (err error) {
		p, err = netlab.Start(cmd)
		return err
	})
	if err != nil {
		return nil, err
	}
	err = p.WaitFor(what, patience, func(out string) bool { return strings.Contains(out, ready) })
	if err != nil {
		p.Stop()
		return nil, err
	}
	return &Program{process: p}, nil
}

// Forward makes the kernel a router: what any director does at the least. The
// service's address is reached by the first server.
func (l *Line) Forward() (*Program, error) {
	if err := forwarding(l.Director); err != nil {
		return nil, err
	}
	return &Program{}, addRoute(l.Director, "back", l.Service.Addr(), l.Servers[0].Addr())
}

// DNAT makes the kernel a load balancer: stateful NAT, the server chosen by a
// hash of the client's address and port.
func (l *Line) DNAT(protocol string) (*Program, error) {
	if err := forwarding(l.Director); err != nil {
		return nil, err
	}
	return &Program{}, nft(l.Director, dnat(l.Service, l.Servers, protocol))
}

func dnat(service netip.AddrPort, servers []netip.Prefix, protocol string) string {
	family := "ip"
	if service.Addr().Is6() {
		family = "ip6"
	}
	var choice []string
	for i, s := range servers {
		choice = append(choice, fmt.Sprintf("%d : %v", i, s.Addr()))
	}
	return fmt.Sprintf(`table %[1]s bench {
	chain prerouting {
		type nat hook prerouting priority dstnat;
		%[1]s daddr %[2]v %[3]s dport %[4]d dnat to jhash %[1]s saddr . %[3]s sport mod %[5]d map { %[6]s }
	}
}`, family, service.Addr(), protocol, service.Port(), len(servers), strings.Join(choice, ", "))
}

func forwarding(ns *netlab.Namespace) error {
	if err := ns.Sysctl("net/ipv4/ip_forward", "1"); err != nil {
		return err
	}
	ns.TrySysctls("net/ipv6/conf/all/forwarding=1")
	return nil
}

// Log is what it has written.
func (p *Program) Log() string {
	if p.process == nil {
		return ""
	}
	return p.process.Output()
}
