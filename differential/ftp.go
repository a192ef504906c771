package differential

import (
	"fmt"
	"net/netip"
	"strings"
)

// control is an FTP control connection as its two ends see it: with ip_vs_ftp
// the kernel tracks it, and wants to see TCP that makes sense.
type control struct {
	flow
	server     server
	mine, back int            // the next sequence numbers, of the client and of the server
	shift      int            // by how much the client has been told more than the server said
	open       bool           // the handshake is done
	announced  netip.AddrPort // by PORT or EPRT, where the client awaits the data
	listening  int            // by 227 or 229, the port where the server does
}

// ftp: clients of an FTP service with NAT, and the kernel's helper.
func ftp(l *lab) {
	l.add("%% modprobe ip_vs_ftp")
	s := &service{protocol: "tcp", vip: l.vip(l.oneIn(5)), port: 21, method: "-m", options: "-s rr"}
	if l.oneIn(4) {
		s.options += fmt.Sprintf(" -p %d", l.between(60, 200))
	}
	if s.vip.Is6() {
		// It drops what it has to look into where no hardware checked it: it adds
		// up the IPv6 header, too.
		l.add("%% sysctl -qw net.netfilter.nf_conntrack_checksum=0")
	}
	l.define(s)
	s.servers = []server{{where(s, l.between(firstServer, lastServer)), 21}}
	l.ipvsadm("-a", s.name(), "-r", s.servers[0].String(), "-m")
	l.began = true
	all := []*control{}
	for range l.between(1, 3) {
		c := &control{flow: l.flow(s, 6), server: s.servers[0], mine: l.between(1000, 100000), back: l.between(1000, 100000)}
		all = append(all, c)
	}
	for range l.between(8, 25) {
		l.transfer(pick(l.draft, all...))
	}
	l.ipvsadm("-Lnc")
	l.ipvsadm("-Ln")
}

// transfer adds one thing that happens on a control connection or because of it.
func (l *lab) transfer(c *control) {
	if !c.open {
		l.greet(c)
		return
	}
	switch n := l.IntN(20); {
	case n < 5:
		l.passive(c)
	case n < 9:
		l.active(c)
	case n < 11:
		l.command(c, pick(l.draft, "NOOP", "USER x", "RETR file", "PASV", "EPSV", "EPSV ALL", "PORT 1,2,3", "EPRT |1|x|", "pasv x"))
	case n < 13:
		l.respond(c, pick(l.draft, "200 ok", "227 no", "229 no", "150 here", "227 Entering Passive Mode (1,2,3,4,5,6)"))
	case n < 16:
		l.data(c)
	case n < 18:
		l.add("@ %d", often(l.draft, w(6, l.between(1, 12)), w(2, l.between(20, 70)), w(1, l.between(130, 200))))
	default:
		l.ipvsadm("-Lnc")
	}
}

// greet opens the control connection.
func (l *lab) greet(c *control) {
	l.client(c, "S", "")
	c.mine++
	l.serverSays(c, "SA", "")
	c.back++
	l.client(c, "A", "")
	c.open = true
	l.respond(c, "220 ready")
}

// client adds a packet of the client's end.
func (l *lab) client(c *control, flags, payload string) {
	line := fmt.Sprintf("%s seq=%d", macro(c.flow, flags), c.mine)
	if strings.Contains(flags, "A") {
		line += fmt.Sprintf(" ack=%d", c.back+c.shift)
	}
	l.says("c", line, payload)
	c.mine += len(payload)
}

// serverSays adds a packet of the server's end.
func (l *lab) serverSays(c *control, flags, payload string) {
	l.says("s", fmt.Sprintf("%s seq=%d ack=%d", backMacro(c.flow, c.server, flags), c.back, c.mine), payload)
	c.back += len(payload)
}

// command adds a command of the client, respond an answer of the server; each is
// acknowledged. What the kernel makes longer or shorter on the way, it accounts for.
func (l *lab) command(c *control, text string) {
	l.client(c, "PA", text+"\r\n")
	l.serverSays(c, "A", "")
}

func (l *lab) respond(c *control, text string) {
	l.respondLonger(c, text, 0)
}

// respondLonger adds an answer that the client sees so many bytes longer.
func (l *lab) respondLonger(c *control, text string, by int) {
	l.serverSays(c, "PA", text+"\r\n")
	c.shift += by
	l.client(c, "A", "")
}

// passive has the client ask where to connect to, and the server say it.
func (l *lab) passive(c *control) {
	c.listening = 5001 + l.IntN(3)
	if c.server.addr.Is6() || l.oneIn(3) {
		l.command(c, pick(l.draft, "EPSV", "EPSV", "epsv", "EPSV 1", "EPSV 2"))
		l.respond(c, fmt.Sprintf("229 Entering Extended Passive Mode (|||%d|)", c.listening))
		return
	}
	l.command(c, pick(l.draft, "PASV", "pasv"))
	form := pick(l.draft, "227 Entering Passive Mode (%s,%d,%d).", "227 Passive %s,%d,%d", "227 =%s,%d,%d")
	told, seen := c.server.addr.String(), c.service.vip.String()
	l.respondLonger(c, fmt.Sprintf(form, commas(c.server.addr), c.listening>>8, c.listening&0xff), len(seen)-len(told))
}

// active has the client say where the server is to connect to.
func (l *lab) active(c *control) {
	port := 40000 + l.IntN(3)
	c.announced = netip.AddrPortFrom(c.flow.client.Addr(), uint16(port))
	text := fmt.Sprintf("EPRT |1|%s|%d|", c.announced.Addr(), port)
	switch {
	case c.announced.Addr().Is6():
		text = fmt.Sprintf("EPRT |2|%s|%d|", c.announced.Addr(), port)
	case !l.oneIn(3):
		text = fmt.Sprintf("PORT %s,%d,%d", commas(c.announced.Addr()), port>>8, port&0xff)
	}
	l.command(c, text)
	l.respond(c, "200 ok")
}

// commas writes an address as FTP does.
func commas(a netip.Addr) string { return strings.ReplaceAll(a.String(), ".", ",") }

// data opens a data connection as was arranged, and uses it a little.
func (l *lab) data(c *control) {
	end := l.IntN(4) // how far it gets
	var there, back string
	switch {
	case c.listening != 0 && l.oneIn(2):
		from := netip.AddrPortFrom(c.flow.client.Addr(), uint16(l.between(50000, 50009)))
		f := flow{c.service, "tcp", from, netip.AddrPortFrom(c.service.vip, uint16(c.listening))}
		there, back = "tcp %s "+from.String()+" "+f.target.String(), "tcp s %s "+netip.AddrPortFrom(c.server.addr, uint16(c.listening)).String()+" "+from.String()
	case c.announced.IsValid():
		there = "tcp s %s " + netip.AddrPortFrom(c.server.addr, 20).String() + " " + c.announced.String()
		back = "tcp %s " + c.announced.String() + " " + netip.AddrPortFrom(c.service.vip, 20).String()
	default:
		return
	}
	seq, ack := l.between(1, 1<<30), l.between(1, 1<<30)
	say := func(form, flags string, seq, ack int) { l.add("%s seq=%d ack=%d", fmt.Sprintf(form, flags), seq, ack) }
	say(there, "S", seq, 0)
	say(back, "SA", ack, seq+1)
	say(there, "A", seq+1, ack+1)
	if end > 1 {
		say(back, "FA", ack+1, seq+1)
	}
	if end > 2 {
		say(there, "FA", seq+1, ack+2)
		say(back, "A", ack+2, seq+2)
	}
}
