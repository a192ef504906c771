package netsim

import (
	"usvs/clock"
	"usvs/health/dialog"
)

// datagram is UDP_CHECK and DNS_CHECK: one datagram, and what comes of it.
func (a *attempt) datagram() {
	payload := a.talk.Begin().Say
	a.at = dialog.Reading
	a.wait()
	if rs := a.forwarded(); rs != nil {
		to := a.p.Via.VIP()
		x, err := a.r.via.Exchange(a.r.d.net.now, a.r.source(to, rs), to, rs, payload, func(_ clock.Instant, b []byte) { a.answered(b) })
		if err != nil {
			a.notMade(err)
			return
		}
		a.close = x.Close
		return
	}
	u, err := a.r.d.UDP(a.p.Bind)
	if err != nil {
		a.notMade(err)
		return
	}
	a.close = u.Close
	u.OnReceive = func(d Datagram) {
		if d.From == a.target() {
			a.answered(d.Payload)
		}
	}
	u.OnError = func(e ICMPError) { a.fail(&e) }
	if err := u.Send(a.target(), payload); err != nil {
		a.at = dialog.Writing
		a.fail(err)
	}
}

func (a *attempt) answered(b []byte) {
	if m := a.talk.Take(b); m.Done {
		a.end(m.Result)
	}
}
