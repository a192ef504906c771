package differential

import (
	"fmt"
	"strconv"
)

// everyScheduler is all that the recorded kernel has: twos it lacks.
var everyScheduler = []string{"rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh"}

// schedulerOptions are -s and, for those that have them, -b.
func (d *draft) schedulerOptions(name string) string {
	options := "-s " + name
	if (name == "sh" || name == "mh") && d.oneIn(2) {
		flags := pick(d, "%s-fallback", "%s-port", "%s-fallback,%[1]s-port")
		options += " -b " + fmt.Sprintf(flags, name)
	}
	return options
}

// schedulers: many connections, few of everything else.
func schedulers(d *draft) {
	l := &lab{draft: d}
	d.add("brief")
	name := pick(d, everyScheduler...)
	d.ipvsadm("--set", "0", strconv.Itoa(d.between(5, 30)), strconv.Itoa(d.between(5, 60)))
	l.behaviour(12)
	s := l.scheduled(name)
	if (name == "lblc" || name == "lblcr") && d.oneIn(3) {
		d.sysctl(name+"_expiration", d.between(5, 200)) // a setting that comes with the scheduler
	}
	for range d.between(1, 6) {
		l.grow(s, l.serverOptions()...)
	}
	d.began = true
	flows := []flow{}
	for range d.between(30, 110) {
		flows = l.load(s, flows)
	}
	d.ipvsadm("-Ln")
}

// scheduled defines a service for a scheduler. Those that look at the client's
// destination get many.
func (l *lab) scheduled(name string) *service {
	v6 := l.oneIn(6)
	s := &service{
		protocol: often(l.draft, w(6, "tcp"), w(2, "udp"), w(1, "sctp")),
		vip:      l.vip(v6),
		port:     pick(l.draft, 80, 443, 5060),
		method:   often(l.draft, w(3, "-g"), w(1, "-m")),
		options:  l.schedulerOptions(name),
	}
	if name == "dh" || name == "lblc" || name == "lblcr" || l.oneIn(6) {
		s.mark, s.port = l.between(1, 200), 0
	}
	if (s.protocol == "udp" || s.mark != 0) && l.oneIn(4) {
		s.options += " -o"
	}
	if l.oneIn(8) {
		s.options += fmt.Sprintf(" -p %d", l.between(5, 100))
	}
	if l.oneIn(3) {
		l.away(s)
	}
	l.define(s)
	return s
}

func (l *lab) serverOptions() []string {
	options := []string{l.weight()}
	if l.oneIn(5) {
		options = append(options, l.thresholds())
	}
	return options
}

// load adds one step: mostly a new connection.
func (l *lab) load(s *service, flows []flow) []flow {
	known := len(flows) > 0
	switch n := l.IntN(100); {
	case n < 62 || !known:
		f := l.flow(s, 24)
		l.packet(f, opening(f.protocol))
		return append(flows, f)
	case n < 82:
		f := pick(l.draft, flows...)
		l.packet(f, l.middle(f.protocol))
	case n < 91:
		l.reconfigure(s)
	case n < 92:
		l.strayError(pick(l.draft, flows...))
	case n < 96:
		l.ipvsadm("-Ln")
	default:
		l.add("@ %d", often(l.draft, w(6, l.between(1, 12)), w(2, l.between(20, 70)), w(1, l.between(100, 400))))
	}
	return flows
}

// opening is the first packet of a connection.
func opening(protocol string) string {
	return map[string]string{"tcp": "S", "sctp": "INIT"}[protocol]
}

// middle is a packet of a connection that exists.
func (l *lab) middle(protocol string) string {
	switch protocol {
	case "tcp":
		return often(l.draft, w(6, "A"), w(3, "FA"), w(2, "RA"), w(1, "PA"))
	case "sctp":
		return often(l.draft, w(5, "COOKIE_ECHO"), w(3, "DATA"), w(2, "SHUTDOWN"), w(2, "ABORT"), w(1, "SHUTDOWN_COMPLETE"))
	}
	return ""
}

func (l *lab) reconfigure(s *service) {
	switch n := l.IntN(12); {
	case n < 6:
		l.change(s, l.serverOptions()...)
	case n < 8:
		l.grow(s, l.serverOptions()...)
	case n < 10:
		l.shrink(s)
	default:
		s.options = l.schedulerOptions(pick(l.draft, everyScheduler...))
		l.ipvsadm("-E", s.name(), s.options)
	}
}
