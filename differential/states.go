package differential

import (
	"fmt"
)

// states: few connections, every kind of packet, the table after most of them.
func states(d *draft) {
	l := &lab{draft: d}
	d.add("brief")
	if d.oneIn(10) {
		ftp(l)
		return
	}
	if d.oneIn(2) {
		l.setTimeouts(d.between(0, 300), d.between(0, 100), d.between(0, 100))
	}
	l.behaviour(4)
	for range d.between(1, 2) {
		l.stateful()
	}
	d.began = true
	flows := []flow{}
	for range d.between(2, 4) {
		flows = append(flows, l.flow(pick(d, l.services...), 6))
	}
	for range d.between(10, 35) {
		l.converse(pick(d, flows...))
	}
	d.ipvsadm("-Lnc")
	d.ipvsadm("-Ln")
}

// stateful defines a service with one to three servers.
func (l *lab) stateful() {
	s := &service{
		protocol: often(l.draft, w(6, "tcp"), w(1, "udp"), w(3, "sctp")),
		vip:      l.vip(l.oneIn(6)),
		port:     80 + len(l.services),
		method:   often(l.draft, w(3, "-m"), w(2, "-g"), w(1, "-i")),
		options:  "-s " + pick(l.draft, "rr", "wlc", "sh"),
	}
	if l.oneIn(5) && len(l.services) == 0 {
		s.mark, s.port = l.between(1, 50), 0
	}
	if l.oneIn(5) {
		s.options += fmt.Sprintf(" -p %d", l.persistFor(func() int { return l.between(10, 200) }))
	}
	if (s.protocol == "udp" || s.mark != 0) && l.oneIn(2) {
		s.options += " -o"
	}
	if l.oneIn(2) {
		l.away(s)
	}
	l.define(s)
	for range l.between(1, 3) {
		l.anyServer(s)
	}
}

// converse adds a packet of a connection, or something that befalls it.
func (l *lab) converse(f flow) {
	switch n := l.IntN(24); {
	case n < 10 || n < 15 && f.service.method != "-m":
		l.packet(f, l.anything(f.protocol))
		l.tick()
	case n < 15:
		for _, r := range f.service.servers { // one of them is the right one
			l.reply(f, r, l.anything(f.protocol))
			if l.oneIn(3) {
				break
			}
		}
	case n < 18:
		l.add("@ %d", often(l.draft, w(6, l.between(1, 12)), w(3, l.between(20, 70)), w(2, l.between(100, 250)), w(1, l.between(600, 1000))))
	case n < 20:
		l.strayError(f)
		l.tick()
	case n < 21:
		l.anotherSetting()
	case n < 23:
		l.change(f.service, "-w "+pick(l.draft, "0", "1"))
	default:
		if l.oneIn(2) {
			l.shrink(f.service)
		} else {
			l.anyServer(f.service)
		}
	}
	if l.oneIn(2) {
		l.ipvsadm("-Lnc")
	}
}

var everyChunk = []string{"DATA", "INIT", "INIT_ACK", "SACK", "HEARTBEAT", "HEARTBEAT_ACK", "ABORT", "SHUTDOWN",
	"SHUTDOWN_ACK", "ERROR", "COOKIE_ECHO", "COOKIE_ACK", "SHUTDOWN_COMPLETE"}

// anything is a packet that a connection of the protocol might see, or should not.
func (l *lab) anything(protocol string) string {
	switch protocol {
	case "tcp":
		return often(l.draft, w(6, "S"), w(4, "SA"), w(7, "A"), w(3, "PA"), w(4, "FA"), w(1, "F"), w(2, "RA"), w(1, "R"),
			w(1, "P"), w(1, "SF"), w(1, "SR"), w(1, "U"), w(1, "FPU"))
	case "sctp":
		return pick(l.draft, everyChunk...)
	}
	return ""
}
