package differential

import "fmt"

// persistence: clients that come back, templates that time out and lose their
// servers.
func persistence(d *draft) {
	l := &lab{draft: d}
	d.add("brief")
	l.setTimeouts(d.between(20, 200), d.between(5, 60), d.between(5, 60))
	l.behaviour(8)
	v6 := d.oneIn(5)
	for range d.between(1, 3) {
		l.persistent(v6)
	}
	d.began = true
	flows := []flow{}
	for range d.between(12, 45) {
		flows = l.comeBack(flows)
	}
	d.ipvsadm("-Lnc")
	d.ipvsadm("-Ln --persistent-conn")
	d.ipvsadm("-Ln")
}

// persistent defines a service with -p, or now and then without.
func (l *lab) persistent(v6 bool) {
	s := &service{
		protocol: often(l.draft, w(5, "tcp"), w(3, "udp"), w(1, "sctp")),
		vip:      l.vip(v6),
		port:     often(l.draft, w(3, 80+len(l.services)), w(1, 0)),
		method:   often(l.draft, w(2, "-g"), w(2, "-m"), w(1, "-i")),
	}
	switch {
	case s.port != 0 && l.oneIn(4) && len(l.services) == 0:
		s.mark, s.port = l.between(1, 50), 0
	case l.oneIn(8):
		l.sip(s)
	case s.protocol == "tcp" && l.oneIn(8):
		s.port = 21 // templates of FTP's are of all ports
	}
	if l.oneIn(2) {
		l.away(s)
	}
	for _, o := range l.services { // one port-0 service on an address is enough
		if o.port == s.port && s.mark == 0 {
			s.port = 90 + len(l.services)
		}
	}
	s.options = l.persistenceOptions(s)
	l.define(s)
	for range l.between(1, 4) {
		l.anyServer(s, l.serverOptions()...)
	}
}

func (l *lab) persistenceOptions(s *service) string {
	options := "-s " + pick(l.draft, "rr", "wrr", "wlc", "lc", "sh", "nq")
	if s.port != 0 && !s.sip && l.oneIn(6) {
		return options
	}
	options += fmt.Sprintf(" -p %d", l.persistFor(func() int {
		return often(l.draft, w(3, l.between(5, 30)), w(3, l.between(31, 200)), w(1, 360), w(1, pick(l.draft, 60, 120)), w(1, pick(l.draft, l.timeouts...)))
	}))
	switch {
	case s.vip.Is6() && l.oneIn(2):
		options += " -M " + pick(l.draft, "64", "32", "48", "127")
	case s.vip.Is4() && l.oneIn(3):
		options += " -M " + pick(l.draft, "255.255.255.0", "255.255.0.0", "255.255.255.254", "255.0.0.0")
	}
	if (s.protocol == "udp" || s.mark != 0) && l.oneIn(4) {
		options += " -o"
	}
	if s.sip {
		options += " --pe sip"
	}
	return options
}

// comeBack adds one step of a persistent client's life, or of its server's.
func (l *lab) comeBack(flows []flow) []flow {
	known := len(flows) > 0
	switch n := l.IntN(100); {
	case n < 45 || !known:
		f := l.flow(pick(l.draft, l.services...), 8)
		l.send(f, opening(f.protocol))
		return append(flows, f)
	case n < 57:
		f := pick(l.draft, flows...)
		l.send(f, l.middle(f.protocol))
	case n < 59:
		l.strayError(pick(l.draft, flows...))
		l.tick()
	case n < 60:
		l.anotherSetting()
	case n < 66:
		f := pick(l.draft, flows...)
		if f.service.method == "-m" && len(f.service.servers) > 0 {
			l.reply(f, pick(l.draft, f.service.servers...), l.answer(f.protocol))
		}
	case n < 76:
		l.add("@ %d", often(l.draft, w(5, l.between(1, 15)), w(3, l.between(16, 70)), w(2, l.between(71, 400))))
		l.ipvsadm("-Lnc") // tells templates that are late
	case n < 84:
		l.upset(pick(l.draft, l.services...))
	default:
		l.ipvsadm("-Lnc")
	}
	return flows
}

// send adds a packet of a client, a message if the service is for those.
func (l *lab) send(f flow, kind string) {
	if f.service.sip && !l.oneIn(8) {
		l.call(f)
		return
	}
	l.packet(f, kind)
}

// answer is a server's packet.
func (l *lab) answer(protocol string) string {
	switch protocol {
	case "tcp":
		return pick(l.draft, "SA", "A", "FA", "RA")
	case "sctp":
		return pick(l.draft, "INIT_ACK", "COOKIE_ACK", "DATA", "SHUTDOWN")
	}
	return ""
}

// upset changes a persistent service.
func (l *lab) upset(s *service) {
	switch l.IntN(6) {
	case 0:
		l.shrink(s)
	case 1:
		l.grow(s, l.serverOptions()...)
	case 2:
		s.options = l.persistenceOptions(s)
		l.ipvsadm("-E", s.name(), s.options)
	default:
		l.change(s, l.serverOptions()...)
	}
}
