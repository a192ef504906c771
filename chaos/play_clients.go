package chaos

import (
	"errors"
	"net/netip"
	"strings"
	"time"

	"usvs/clock"
	"usvs/netsim"
	"usvs/netsim/http"
	"usvs/netsim/tcp"
)

const (
	// patience is how long a client waits. It is less than TCP's first timer,
	// so that every request tells of its own moment.
	patience = 900 * time.Millisecond
	// often and seldom are the pauses between requests to a service: after a
	// change, and while nothing happens.
	often  = 250 * time.Millisecond
	seldom = time.Second
	// pulse is the pause between requests on a connection that stays open.
	pulse = time.Second
	// stalled is how long nothing has come over a connection that is lost.
	stalled = 10 * time.Second
)

// clients begin to ask for every service.
func (p *player) clients() {
	for i, s := range p.lab.Services {
		a := &asker{player: p, service: i, s: s}
		p.rig.net.After(p.bounds.Ready+time.Duration(i)*7*time.Millisecond, a.next)
		if s.Protocol == "TCP" && s.Talk == HTTP {
			k := &keeper{player: p, service: i, s: s}
			p.rig.net.After(p.bounds.Ready+time.Duration(i)*11*time.Millisecond, k.open)
		}
	}
}

// elapsed is the time since the start.
func (p *player) elapsed() time.Duration { return p.rig.net.Elapsed() }

// client is the k-th address that can ask a service, and its index.
func (p *player) client(s *Service, k int) (netip.Addr, int) {
	index := k % clientCount
	if s.VIP.Addr().Is6() {
		index += clientCount
	}
	return p.lab.Clients[index], index
}

// asker makes requests to one service, each by another client.
type asker struct {
	*player
	service int
	s       *Service
	count   int
}

func (a *asker) next() {
	addr, index := a.client(a.s, a.count)
	a.count++
	r := Request{At: a.elapsed(), Service: a.service, Client: index}
	if a.s.Protocol == "TCP" {
		a.tcp(r, addr)
	} else {
		a.udp(r, addr)
	}
	a.rig.net.After(a.pause(), a.next)
}

// pause is short for as long as the timers need after a change.
func (a *asker) pause() time.Duration {
	now, pause := a.elapsed(), seldom
	for _, change := range a.changes {
		switch {
		case change <= now && now < change+a.bounds.Elect+2*margin:
			return often
		case change > now:
			pause = min(pause, change-now)
		}
	}
	return pause
}

// asking is a request under way.
type asking struct {
	*asker
	r      Request
	local  netip.AddrPort
	timer  *netsim.Timer
	ended  bool
	giveUp func()
}

// begin starts the clock of a request.
func (a *asker) begin(r Request, giveUp func()) *asking {
	t := &asking{asker: a, r: r, giveUp: giveUp}
	t.timer = a.rig.net.NewTimer(func() { t.end(Timeout, "") })
	t.timer.Set(a.rig.net.Now().Add(patience))
	return t
}

// end notes the outcome, the first that there is.
func (t *asking) end(o Outcome, server string) {
	if t.ended {
		return
	}
	t.ended = true
	t.timer.Stop()
	t.r.Took, t.r.Outcome, t.r.Server = t.elapsed()-t.r.At, o, server
	if o != OK {
		t.r.Server, t.r.Via = t.picked(t.local, t.s.VIP)
		t.r.To = t.believed(t.s.VIP.Addr())
	}
	t.h.Requests = append(t.h.Requests, t.r)
	t.giveUp()
}

// tcp makes a connection, asks, and waits for a name.
func (a *asker) tcp(r Request, from netip.Addr) {
	var c *tcp.Conn
	t := a.begin(r, func() {
		if c != nil {
			c.Abort(a.rig.net.Now())
		}
	})
	ev := tcp.Events{
		Connected: func(now clock.Instant, c *tcp.Conn) {
			if a.s.Talk == HTTP {
				_, _ = c.Write(now, []byte("GET / HTTP/1.0\r\n\r\n"))
			}
		},
		Readable: func(now clock.Instant, c *tcp.Conn) {
			if text := readText(now, c); text != "" {
				t.end(OK, a.named(text))
			}
		},
		Closed: func(_ clock.Instant, _ *tcp.Conn, err error) { t.end(outcomeOf(err), "") },
	}
	c, err := a.rig.client.DialTCP(netip.AddrPortFrom(from, 0), a.s.VIP, ev)
	if err != nil {
		t.end(Unreachable, "")
		return
	}
	t.local = c.LocalAddr()
}

// readText reads what there is, as far as it matters.
func readText(now clock.Instant, c *tcp.Conn) string {
	var b [512]byte
	text := ""
	for {
		n, err := c.Read(now, b[:])
		if text += string(b[:n]); n == 0 || err != nil {
			return text
		}
	}
}

// named finds a server's name in its answer.
func (p *player) named(text string) string {
	for _, s := range p.lab.Servers {
		if strings.Contains(text, s.Name+"\r\n") || strings.Contains(text, s.Name+"\n") {
			return s.Name
		}
	}
	return ""
}

func outcomeOf(err error) Outcome {
	switch {
	case errors.Is(err, tcp.ErrRefused):
		return Refused
	case errors.Is(err, tcp.ErrTimeout):
		return Timeout
	case errors.Is(err, tcp.ErrUnreachable):
		return Unreachable
	}
	return Reset
}

// udp sends a datagram and waits for its answer.
func (a *asker) udp(r Request, from netip.Addr) {
	u, err := a.rig.client.UDP(netip.AddrPortFrom(from, 0))
	if err != nil {
		return // all ports are taken: this client asks later
	}
	t := a.begin(r, u.Close)
	t.local = u.Local()
	u.OnReceive = func(d netsim.Datagram) { t.end(OK, a.named(string(d.Payload))) }
	u.OnError = func(netsim.ICMPError) { t.end(Unreachable, "") }
	if u.Send(a.s.VIP, []byte("chaos: twelve bytes and more")) != nil {
		t.end(Unreachable, "")
	}
}

// keeper has one connection to a service open, and opens another when it ends.
type keeper struct {
	*player
	service int
	s       *Service
	count   int
	index   int // of History.Sessions
	conn    *tcp.Conn
	in      http.Message
	heard   time.Duration // when something came last
}

func (k *keeper) open() {
	addr, _ := k.client(k.s, k.count)
	k.count++
	k.in = http.Message{}
	k.index = -1
	ev := tcp.Events{
		Connected: func(now clock.Instant, c *tcp.Conn) {
			k.index = len(k.h.Sessions)
			k.heard = k.elapsed()
			k.h.Sessions = append(k.h.Sessions, Session{Service: k.service, Opened: k.heard, Outcome: OK})
			k.ask()
		},
		Readable: k.readable,
		Closed:   func(_ clock.Instant, _ *tcp.Conn, err error) { k.closed(outcomeOf(err)) },
	}
	c, err := k.rig.client.DialTCP(netip.AddrPortFrom(addr, 0), k.s.VIP, ev)
	if err != nil {
		k.rig.net.After(stalled, k.open)
		return
	}
	k.conn = c
}

// ask sends the next request, and gives a connection up over which nothing comes.
func (k *keeper) ask() {
	if k.index < 0 {
		return
	}
	if k.elapsed()-k.heard > k.bounds.Elect+k.bounds.Announce+stalled {
		k.conn.Abort(k.rig.net.Now())
		k.closed(Timeout)
		return
	}
	_, _ = k.conn.Write(k.rig.net.Now(), []byte("GET / HTTP/1.1\r\n\r\n"))
	index := k.index
	k.rig.net.After(pulse, func() {
		if k.index == index {
			k.ask()
		}
	})
}

func (k *keeper) readable(now clock.Instant, c *tcp.Conn) {
	_ = k.in.Feed(now, c)
	for {
		_, body, ok := k.in.Take()
		if !ok {
			return
		}
		k.heard = k.elapsed()
		if k.index >= 0 {
			k.h.Sessions[k.index].Server = k.named(string(body))
		}
	}
}

func (k *keeper) closed(o Outcome) {
	if k.index >= 0 {
		s := &k.h.Sessions[k.index]
		s.Ended, s.Outcome = k.elapsed(), o
	}
	k.index = -1
	k.rig.net.After(pulse, k.open)
}
