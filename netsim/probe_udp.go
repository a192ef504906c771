package netsim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"usvs/clock"
	"usvs/health"
)

// datagram is UDP_CHECK and DNS_CHECK: one datagram, and what comes of it.
func (a *attempt) datagram() {
	payload, err := a.question()
	if err != nil {
		a.end(health.Result{Outcome: health.LocalError, Reason: err.Error()})
		return
	}
	a.wait()
	if rs := a.forwarded(); rs != nil {
		to := a.vip()
		x, err := a.r.via.Exchange(a.r.d.net.now, a.r.source(to, rs), to, rs, payload, func(_ clock.Instant, b []byte) { a.answered(b) })
		if err != nil {
			a.end(health.Result{Outcome: health.LocalError, Reason: err.Error()})
			return
		}
		a.close = x.Close
		return
	}
	u, err := a.r.d.UDP(netip.AddrPortFrom(a.p.Bind.Addr(), a.p.Bind.Port()))
	if err != nil {
		a.end(health.Result{Outcome: health.LocalError, Reason: err.Error()})
		return
	}
	a.close = u.Close
	u.OnReceive = func(d Datagram) {
		if d.From == a.target() {
			a.answered(d.Payload)
		}
	}
	u.OnError = func(e ICMPError) { a.unreachable(&e) }
	if err := u.Send(a.target(), payload); err != nil {
		a.end(failure("failed", err))
	}
}

// filler is what UDP_CHECK sends if the configuration does not say.
const filler = "usvs looks whether this port is "

// question is what is sent.
func (a *attempt) question() ([]byte, error) {
	if a.p.Kind == health.DNS {
		return dnsQuestion(a.dnsID(), a.p.DNS)
	}
	if a.p.UDP == nil || a.p.UDP.Payload == nil {
		return []byte(filler), nil
	}
	return a.p.UDP.Payload, nil
}

func (a *attempt) unreachable(e *ICMPError) {
	if a.p.Kind == health.DNS {
		a.end(failure("read error occurred.", e))
		return
	}
	a.end(failure("failed", e))
}

// answered judges an answer.
func (a *attempt) answered(b []byte) {
	switch {
	case a.p.Kind == health.DNS && (len(b) < 12 || binary.BigEndian.Uint16(b) != a.dnsID() || b[2]&0x80 == 0):
		// no answer to this question
	case a.p.Kind == health.DNS && b[3]&0xf != 0:
		a.end(failure(fmt.Sprintf("read error occurred. (rcode = %d)", b[3]&0xf), nil))
	case a.p.Kind == health.UDP && requiresReply(a.p) && !a.p.UDP.Accepts(b):
		a.end(failure("failed", errReply))
	default:
		a.end(success)
	}
}

var errReply = errors.New("the reply is not the one that is asked for")

// requiresReply reports whether silence is a failure of UDP_CHECK.
func requiresReply(p *health.Probe) bool { return p.UDP != nil && p.UDP.RequireReply }

// dnsID tells the questions of attempts apart.
func (a *attempt) dnsID() uint16 { return uint16(a.id) }

// dnsTypes are those that DNS_CHECK may ask for.
var dnsTypes = map[string]uint16{
	"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "MX": 15, "TXT": 16, "AAAA": 28, "RRSIG": 46, "DNSKEY": 48,
}

// dnsQuestion is a query as a message (RFC 1035 section 4).
func dnsQuestion(id uint16, q *health.DNSQuestion) ([]byte, error) {
	kind, name := "SOA", ""
	if q != nil {
		kind, name = orDefault(strings.ToUpper(q.Type), kind), strings.TrimSuffix(q.Name, ".")
	}
	number, ok := dnsTypes[kind]
	if !ok {
		return nil, fmt.Errorf("unknown DNS type %s", kind)
	}
	b := binary.BigEndian.AppendUint16(nil, id)
	b = append(b, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0) // recursion desired, one question
	for _, label := range strings.Split(name, ".") {
		if len(label) > 63 {
			return nil, fmt.Errorf("DNS name %q: a label is too long", name)
		}
		if label != "" {
			b = append(append(b, byte(len(label))), label...)
		}
	}
	b = append(b, 0)
	b = binary.BigEndian.AppendUint16(b, number)
	return binary.BigEndian.AppendUint16(b, 1), nil
}
