package differential

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// lab is what a scenario has configured so far.
type lab struct {
	*draft
	services []*service
	timeouts []int // that connections have, in seconds, besides the fixed ones
}

// service is a virtual service and what reaches it.
type service struct {
	protocol string // tcp, udp, sctp
	vip      netip.Addr
	port     int    // 0: all ports
	mark     int    // of a firewall-mark service
	options  string // what -A was given
	method   string // -g, -m, -i
	servers  []server
	away     bool // a mark's: packets for awayNet are its, too
	sip      bool // it has the persistence engine sip
}

type server struct {
	addr netip.Addr
	port int
}

func (s server) String() string { return netip.AddrPortFrom(s.addr, uint16(s.port)).String() }

// name is how ipvsadm calls the service.
func (s *service) name() string {
	switch {
	case s.mark != 0 && s.vip.Is6():
		return fmt.Sprintf("-f %d -6", s.mark)
	case s.mark != 0:
		return fmt.Sprintf("-f %d", s.mark)
	}
	option := map[string]string{"tcp": "-t", "udp": "-u", "sctp": "--sctp-service"}[s.protocol]
	return option + " " + netip.AddrPortFrom(s.vip, uint16(s.port)).String()
}

// vips are the director's addresses.
var vips = []string{"10.9.0.1", "10.9.0.2", "10.9.0.3"}

// vip is one of the director's addresses.
func (l *lab) vip(v6 bool) netip.Addr {
	if v6 {
		return netip.MustParseAddr(fmt.Sprintf("fd00:9::%d", l.between(1, 3)))
	}
	return netip.MustParseAddr(pick(l.draft, vips...))
}

// marked makes packets to 10.9.1.0/24, or to the service's address, carry its mark.
func (l *lab) marked(s *service) {
	if s.vip.Is6() {
		l.add("%% ip6tables-legacy -t mangle -A PREROUTING -d %s -j MARK --set-mark %d", s.vip, s.mark)
		return
	}
	l.add("%% iptables-legacy -t mangle -A PREROUTING -d 10.9.1.0/24 -j MARK --set-mark %d", s.mark)
}

// fixedTimeouts are TCP's besides those that --set sets.
var fixedTimeouts = []int{10, 30, 60, 120}

// setTimeouts is --set.
func (l *lab) setTimeouts(tcp, fin, udp int) {
	l.timeouts = []int{tcp, fin, udp}
	l.ipvsadm("--set", strconv.Itoa(tcp), strconv.Itoa(fin), strconv.Itoa(udp))
}

// persistFor is a time for -p that is not over just before a connection's is:
// then it would depend on how late the kernel's timers are which ends first.
func (l *lab) persistFor(draw func() int) int {
	secs := draw()
	for range 20 {
		if !slices.ContainsFunc(slices.Concat(l.timeouts, fixedTimeouts), func(t int) bool { return secs < t && t <= secs+secs/8+2 }) {
			break
		}
		secs = draw()
	}
	return secs
}

// define adds a service with -A.
func (l *lab) define(s *service) {
	if s.mark != 0 {
		l.marked(s)
	}
	l.services = append(l.services, s)
	l.ipvsadm("-A", s.name(), s.options)
}

// where is the address of the nth server for a forwarding method.
func where(s *service, n int) netip.Addr {
	network := map[string]string{"-g": "1", "-m": "2", "-i": "3"}[s.method]
	if s.vip.Is6() {
		return netip.MustParseAddr(fmt.Sprintf("fd00:%s::%d", network, n))
	}
	return netip.MustParseAddr(fmt.Sprintf("10.%s.0.%d", network, n))
}

// grow adds a server that the service does not have yet, if there is one.
func (l *lab) grow(s *service, options ...string) {
	if len(s.servers) > lastServer-firstServer {
		return
	}
	r := server{port: s.port}
	for {
		r.addr = where(s, l.between(firstServer, lastServer))
		if !slices.ContainsFunc(s.servers, func(o server) bool { return o.addr == r.addr }) {
			break
		}
	}
	if s.method == "-m" && s.port != 0 && l.oneIn(2) {
		r.port = 8000 + l.IntN(3)
	}
	s.servers = append(s.servers, r)
	l.ipvsadm(append([]string{"-a", s.name(), "-r", r.String(), s.method}, options...)...)
}

// shrink removes a server, if there is one.
func (l *lab) shrink(s *service) {
	if len(s.servers) == 0 {
		return
	}
	i := l.IntN(len(s.servers))
	l.ipvsadm("-d", s.name(), "-r", s.servers[i].String())
	s.servers = slices.Delete(s.servers, i, i+1)
	if l.began {
		l.add("@ 0.05") // expire_nodest_conn sweeps in the background
	}
}

// change edits a server, if there is one.
func (l *lab) change(s *service, options ...string) {
	if len(s.servers) == 0 {
		return
	}
	r := pick(l.draft, s.servers...)
	l.ipvsadm(append([]string{"-e", s.name(), "-r", r.String(), s.method}, options...)...)
}

// weight is an option -w, mostly a small one.
func (l *lab) weight() string {
	n := often(l.draft, w(2, 0), w(10, 1), w(5, 2), w(3, 3), w(2, l.between(4, 10)), w(1, l.between(50, 65535)))
	return "-w " + strconv.Itoa(n)
}

// thresholds are options -x and -y, sensible mostly.
func (l *lab) thresholds() string {
	upper := l.between(1, 8)
	lower := l.IntN(upper + 1)
	return fmt.Sprintf("-x %d -y %d", upper, lower)
}

// target is where a packet to a service goes: for marks and for all ports one of a few.
func (l *lab) target(s *service) netip.AddrPort {
	addr, port := s.vip, s.port
	if s.mark != 0 && addr.Is4() {
		addr = netip.AddrFrom4([4]byte{10, 9, 1, byte(l.between(1, 12))})
	}
	if s.away && l.oneIn(2) {
		addr = netip.AddrFrom4([4]byte{10, 3, 1, byte(l.between(1, 4))})
	}
	if port == 0 {
		port = pick(l.draft, 80, 443, 25, 8080)
	}
	return netip.AddrPortFrom(addr, uint16(port))
}

// flow is a client's connection as far as the scenario knows it.
type flow struct {
	service  *service
	protocol string
	client   netip.AddrPort
	target   netip.AddrPort
}

// flow makes a new connection's addresses from one of some clients.
func (l *lab) flow(s *service, clients int) flow {
	addr := client(l.IntN(clients), s.vip.Is6())
	return flow{s, l.protocolOf(s), netip.AddrPortFrom(addr, uint16(l.between(1024, 65535))), l.target(s)}
}

// packet adds a packet of the flow's client: TCP flags or an SCTP chunk, options.
func (l *lab) packet(f flow, kind string, options ...string) {
	words := append([]string{f.protocol, kind, f.client.String(), f.target.String()}, options...)
	l.add("%s", join(words...))
}

// reply adds a packet of a server that NAT has behind the flow's service.
func (l *lab) reply(f flow, from server, kind string, options ...string) {
	port := uint16(from.port)
	if port == 0 || f.service.mark != 0 {
		port = f.target.Port()
	}
	words := append([]string{f.protocol, "s", kind, netip.AddrPortFrom(from.addr, port).String(), f.client.String()}, options...)
	l.add("%s", join(words...))
}

// join puts words in a line; empty ones vanish.
func join(words ...string) string {
	return strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), " ")
}
