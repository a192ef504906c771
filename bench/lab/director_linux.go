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

// Service is a virtual service and its real servers.
type Service struct {
	Address netip.AddrPort
	Servers []netip.AddrPort
}

// Usvs is how usvs is run.
type Usvs struct {
	Binary     string // empty: this program
	IO         string
	NAPI       string // empty: as it is by itself
	Method     Method
	Protocol   string // -u or -t
	Interfaces []string
	Workers    int // 0: as many as usvs has by itself
	Core       int // AnyCore, or the one it has to stay on
}

// Start starts usvs as a user would.
func (u *Usvs) Start(ns *netlab.Namespace, services ...Service) (*Program, error) {
	args := []string{"run", "--io", u.IO, "--rules", "-"}
	for _, name := range u.Interfaces {
		args = append(args, "-i", name)
	}
	if u.NAPI != "" {
		args = append(args, "--napi", u.NAPI)
	}
	if u.Workers > 0 {
		args = append(args, "--workers", fmt.Sprint(u.Workers))
	}
	cmd := usvs(u.Binary, args...)
	cmd.Stdin = strings.NewReader(u.rules(services))
	return start(ns, cmd, u.Core, "the director", "director is running")
}

// usvs is a command of usvs.
func usvs(binary string, args ...string) *exec.Cmd {
	cmd := netlab.Self("usvs", args...)
	if binary != "" {
		cmd.Path = binary
	}
	return cmd
}

// rules are what ipvsadm-restore would read.
func (u *Usvs) rules(services []Service) string {
	var b strings.Builder
	for _, s := range services {
		fmt.Fprintf(&b, "-A %s %v -s wlc\n", u.Protocol, s.Address)
		for _, server := range s.Servers {
			fmt.Fprintf(&b, "-a %s %v -r %v %s\n", u.Protocol, s.Address, server, u.Method)
		}
	}
	return b.String()
}

// start starts a program and waits until it says that it works.
func start(ns *netlab.Namespace, cmd *exec.Cmd, core int, what, ready string) (*Program, error) {
	var p *netlab.Process
	err := OnCore(ns, core, func() (err error) {
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
	return &Program{}, nft(l.Director, dnat([]netip.AddrPort{l.Service}, l.Servers, protocol))
}

// dnat is a ruleset that chooses a server for each connection.
func dnat(services []netip.AddrPort, servers []netip.Prefix, protocol string) string {
	var choice []string
	for i, s := range servers {
		choice = append(choice, fmt.Sprintf("%d : %v", i, s.Addr()))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "table %s bench {\n\tchain prerouting {\n\t\ttype nat hook prerouting priority dstnat;\n", familyOf(services[0]))
	for _, s := range services {
		fmt.Fprintf(&b, "\t\t%[1]s daddr %[2]v %[3]s dport %[4]d dnat to jhash %[1]s saddr . %[3]s sport mod %[5]d map { %[6]s }\n",
			familyOf(s), s.Addr(), protocol, s.Port(), len(servers), strings.Join(choice, ", "))
	}
	b.WriteString("\t}\n}\n")
	return b.String()
}

func familyOf(a netip.AddrPort) string {
	if a.Addr().Is6() {
		return "ip6"
	}
	return "ip"
}

func forwarding(ns *netlab.Namespace) error {
	if err := ns.Sysctl("net/ipv4/ip_forward", "1"); err != nil {
		return err
	}
	ns.TrySysctls("net/ipv6/conf/all/forwarding=1")
	return nil
}

// CPU is how much processor time it has had. The kernel's work is not in it.
func (p *Program) CPU() (time.Duration, error) {
	if p.process == nil {
		return 0, nil
	}
	return processCPU(p.process.PID())
}

// Log is what it has written.
func (p *Program) Log() string {
	if p.process == nil {
		return ""
	}
	return p.process.Output()
}
