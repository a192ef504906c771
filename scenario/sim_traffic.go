package scenario

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"usvs/clock"
	"usvs/netsim"
	"usvs/netsim/tcp"
	"usvs/wire"
)

// batch makes the requests of a Traffic.
type batch struct {
	sim        *Sim
	t          *Traffic
	start      func(i int, done func(Reply))
	begin      clock.Instant
	replies    []Reply
	next       int // request to be started
	open, done int
	timer      *netsim.Timer
}

// Traffic makes requests in virtual time.
func (s *Sim) Traffic(t *Traffic) ([]Reply, error) {
	starters := map[TrafficKind]func(*Traffic, func(Reply)){HTTP: s.http, UDP: s.udp, Ping: s.ping}
	start := starters[t.Kind]
	return s.run(t, func(_ int, done func(Reply)) { start(t, done) })
}

// Again makes a request on each held connection, one after another.
func (s *Sim) Again(a *Again) ([]Reply, error) {
	conns := s.held[a.Name]
	t := &Traffic{Count: len(conns), Concurrency: 1, Timeout: a.Timeout}
	return s.run(t, func(i int, done func(Reply)) { conns[i].request(a.Timeout, done) })
}

// Hangup closes held connections.
func (s *Sim) Hangup(name string) error {
	for _, c := range s.held[name] {
		c.close()
	}
	delete(s.held, name)
	s.net.Run(settle)
	return nil
}

// run starts requests until all have ended, and then lets the last frames arrive.
func (s *Sim) run(t *Traffic, start func(int, func(Reply))) ([]Reply, error) {
	b := &batch{sim: s, t: t, start: start, begin: s.net.Now(), replies: make([]Reply, t.Count)}
	b.timer = s.net.NewTimer(b.pump)
	b.pump()
	most := time.Duration(t.Count)*(t.Timeout+t.Every) + time.Second
	s.net.RunWhile(most, func() bool { return b.done < t.Count })
	if b.done < t.Count {
		return nil, fmt.Errorf("%d of %d requests did not end within %v", t.Count-b.done, t.Count, most)
	}
	s.net.Run(settle)
	return b.replies, nil
}

// pump starts what may be started now.
func (b *batch) pump() {
	for b.next < b.t.Count && b.open < b.t.Concurrency {
		if due := b.begin.Add(time.Duration(b.next) * b.t.Every); due > b.sim.net.Now() {
			b.timer.Set(due)
			return
		}
		i, began := b.next, b.sim.net.Now()
		b.next++
		b.open++
		b.start(i, func(r Reply) {
			r.Took = b.sim.net.Now().Sub(began)
			b.replies[i] = r
			b.open--
			b.done++
			b.timer.Set(b.sim.net.Now()) // not at once: the caller's stack need not grow
		})
	}
}

// udp sends a datagram and waits for its answer.
func (s *Sim) udp(t *Traffic, done func(Reply)) {
	u, err := s.hosts[t.Node].UDP(netip.AddrPortFrom(t.From, t.Port))
	if err != nil {
		done(Reply{Fail: Garbled})
		return
	}
	end := s.once(t.Timeout, u.Close, done)
	reply := Reply{Local: u.Local()}
	u.OnReceive = func(d netsim.Datagram) {
		reply.Server = firstLine(d.Payload)
		if d.From != t.To || len(d.Payload) < t.Size {
			reply.Fail = Garbled
		}
		end(reply)
	}
	u.OnError = func(e netsim.ICMPError) {
		if e.TooBig() {
			return
		}
		reply.Fail = icmpFailure(&e)
		end(reply)
	}
	if u.Send(t.To, pad("?\n", t.Size)) != nil {
		reply.Fail = Unreachable
		end(reply)
	}
}

// icmpFailure is what a socket makes of an ICMP error.
func icmpFailure(e *netsim.ICMPError) Failure {
	v4 := e.Dst.Addr().Is4()
	if v4 && e.Type == wire.ICMPUnreachable && e.Code == 3 || !v4 && e.Type == wire.ICMPv6Unreachable && e.Code == 4 {
		return Refused // a port without anybody
	}
	return Unreachable
}

// once makes of done a function that works once, and that is called with
// Timeout if nobody else calls it in time.
func (s *Sim) once(timeout time.Duration, cleanup func(), done func(Reply)) func(Reply) {
	var timer *netsim.Timer
	ended := false
	end := func(r Reply) {
		if ended {
			return
		}
		ended = true
		timer.Stop()
		cleanup()
		done(r)
	}
	timer = s.net.NewTimer(func() { end(Reply{Fail: Timeout}) })
	timer.Set(s.net.Now().Add(timeout))
	return end
}

// ping sends an echo request.
func (s *Sim) ping(t *Traffic, done func(Reply)) {
	end := s.once(t.Timeout, func() {}, done)
	o := netsim.PingOptions{Src: t.From, Size: t.Size}
	err := s.hosts[t.Node].Ping(t.To.Addr(), o, func(r netsim.PingReply) {
		if r.From == t.To.Addr() {
			end(Reply{})
		}
	})
	if err != nil {
		end(Reply{Fail: Unreachable})
	}
}

// tcpFailure is what an application makes of a connection's end.
func tcpFailure(err error) Failure {
	switch {
	case errors.Is(err, tcp.ErrRefused):
		return Refused
	case errors.Is(err, tcp.ErrReset), err == nil:
		return Reset
	case errors.Is(err, tcp.ErrTimeout):
		return Timeout
	}
	return Unreachable
}

// pad makes a text so long.
func pad(text string, size int) []byte {
	b := []byte(text)
	for len(b) < size {
		b = append(b, '.')
	}
	return b
}

// firstLine is a server's name at the beginning of what it answers.
func firstLine(b []byte) string {
	line, _, _ := strings.Cut(string(b[:min(len(b), 64)]), "\n")
	return line
}
