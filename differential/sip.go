package differential

import (
	"fmt"
	"net/netip"
)

// callID is how a SIP message may name one of a few calls, or none: forms that
// the engine sip takes for the same, and some that it does not understand.
func (l *lab) callID() string {
	id := fmt.Sprintf("call%d@h", l.between(1, 5))
	form := often(l.draft, w(8, "Call-ID: %s\r\n"), w(2, "i: %s\r\n"), w(1, "call-id:%s\r\n"), w(1, "Call-ID : %s\r\n"),
		w(1, "Call-ID: %s;x\r\n"), w(1, "X-Call-ID: %s\r\n"), w(1, "Call-ID: \r\n"), w(1, ""))
	if form == "" || form == "Call-ID: \r\n" {
		return form
	}
	return fmt.Sprintf(form, id)
}

// sipMessage is a message of a call.
func (l *lab) sipMessage() string {
	first := pick(l.draft, "INVITE sip:bob@example.test SIP/2.0", "INVITE sip:bob@example.test SIP/2.0", "BYE sip:bob@example.test SIP/2.0",
		"SIP/2.0 200 OK")
	return first + "\r\nVia: SIP/2.0/UDP x;branch=z9\r\n" + l.callID() + "CSeq: 1 INVITE\r\n\r\n"
}

// sip makes a service one of the persistence engine sip.
func (l *lab) sip(s *service) {
	s.sip, s.protocol, s.mark = true, "udp", 0
	if s.port == 0 {
		s.port = 5060
	}
	if !l.oneIn(3) {
		s.method = "-m"
	}
}

// call adds a message of a client, or of a server that begins a call. Every
// server calls clients at a port of its own: which of two servers' connections to
// one port is used depends on chance.
func (l *lab) call(f flow) {
	if len(f.service.servers) == 0 || !l.oneIn(4) {
		l.says("c", macro(f, ""), l.sipMessage())
		return
	}
	r := pick(l.draft, f.service.servers...)
	if r.addr.Is6() != f.client.Addr().Is6() {
		return // a tunnel's end
	}
	ends := r.addr.As16()
	f.client = netip.AddrPortFrom(client(l.IntN(8), f.service.vip.Is6()), uint16(6000+int(ends[15])))
	l.says("s", backMacro(f, r, ""), l.sipMessage())
	if l.oneIn(3) {
		l.says("c", macro(f, ""), l.sipMessage())
	}
}
