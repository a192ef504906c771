package netsim

import (
	"errors"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"usvs/clock"
	"usvs/health"
	"usvs/health/dialog"
	"usvs/health/path"
	"usvs/ipvs"
	"usvs/link"
	"usvs/netsim/tcp"
	"usvs/node"
	"usvs/wire"
)

// prober makes the attempts of a director's health checks, over the simulated
// host's own stack, or by the way of clients' packets.
type prober struct {
	d     *Director
	via   *path.Prober
	timer *Timer // of via
	out   link.Output
	runs  map[health.CheckID]*attempt
	buf   [4096]byte // of what servers say
}

// attempt is one of them.
type attempt struct {
	r     *prober
	id    health.CheckID
	p     *health.Probe
	talk  dialog.Dialog // nil of scripts and files
	at    dialog.Stage
	timer *Timer
	ends  clock.Instant // at the latest
	over  bool
	close func() // what it holds open
}

func newProber(d *Director) *prober {
	r := &prober{d: d, runs: map[health.CheckID]*attempt{}}
	r.timer = d.newTimer(func() { r.timer.Set(r.via.Tick(d.net.now)) })
	r.via = path.New(path.Config{
		ISN: d.net.Rand(d.inEra("probes of " + d.name)).Uint32, Send: r.send, Wake: func(at clock.Instant) { r.timer.Set(at) },
	})
	return r
}

// start begins an attempt. Its result comes later, if soon.
func (r *prober) start(id health.CheckID, p *health.Probe) {
	a := &attempt{r: r, id: id, p: p, ends: r.d.net.now.Add(dialog.Lifetime * p.Timeout), close: func() {}}
	a.timer = r.d.newTimer(func() { a.fail(nil) })
	r.runs[id] = a
	switch p.Kind {
	case health.Misc:
		a.script()
	case health.File:
		a.file()
	default:
		a.speak()
	}
}

// speak begins a dialogue with the server.
func (a *attempt) speak() {
	var err error
	if a.talk, err = dialog.New(a.p, uint16(a.id)); err != nil {
		a.notMade(err)
		return
	}
	switch a.p.Kind {
	case health.UDP, health.DNS:
		a.datagram()
	case health.Ping:
		a.ping()
	default:
		a.connect()
	}
}

// cancel ends an attempt whose outcome nobody wants.
func (r *prober) cancel(id health.CheckID) {
	if a := r.runs[id]; a != nil {
		a.finish()
	}
}

// filesChanged tells the FILE_CHECKs that fit.
func (r *prober) filesChanged(fits func(*health.Probe) bool) {
	for _, id := range slices.Sorted(maps.Keys(r.runs)) {
		if a := r.runs[id]; a.p.Kind == health.File && fits(a.p) {
			a.file()
		}
	}
}

// end ends an attempt with a result, the first one that comes.
func (a *attempt) end(res health.Result) {
	if a.over {
		return
	}
	a.finish()
	a.tell(res)
}

func (a *attempt) finish() {
	a.over = true
	a.timer.Stop()
	delete(a.r.runs, a.id)
	a.close()
}

func (a *attempt) tell(res health.Result) {
	id := a.id
	a.r.d.later(func(n *node.Node, now clock.Instant) { n.ProbeDone(now, id, res) })
}

// notMade ends an attempt that could not be made, by no fault of the server.
func (a *attempt) notMade(err error) {
	a.end(health.Result{Outcome: health.LocalError, Reason: err.Error()})
}

// fail ends an attempt with an error, or, if that is nil, because a step took
// too long.
func (a *attempt) fail(err error) {
	if errors.Is(err, tcp.ErrTimeout) {
		err = nil
	}
	if err != nil {
		err = errors.New(strings.TrimPrefix(err.Error(), "tcp: "))
	}
	a.end(a.talk.Fail(a.at, err))
}

// wait gives the next step of an attempt its time.
func (a *attempt) wait() { a.timer.Set(min(a.ends, a.r.d.net.now.Add(a.p.Timeout))) }

// forwarded is the server that an attempt reaches by the director's forwarding,
// or nil: what is not TCP or UDP goes directly.
func (a *attempt) forwarded() *ipvs.RealServer {
	v := &a.p.Via
	if a.p.Path != health.ViaVIP || !v.Forwarded() {
		return nil
	}
	return ipvs.NewRealServer(v.Server, nil, v.Spec)
}

// target is where an attempt goes that is not forwarded.
func (a *attempt) target() netip.AddrPort {
	if a.p.Path != health.ViaVIP {
		return a.p.Target
	}
	return a.p.Via.RIP()
}

// source is an address of the director's own that answers come to: towards the
// server, if the families are the same.
func (r *prober) source(to netip.AddrPort, rs *ipvs.RealServer) netip.Addr {
	if a := r.d.Source(rs.ID.Addr); a.Is4() == to.Addr().Is4() {
		return a
	}
	for _, p := range r.d.ports {
		for _, a := range p.addrs {
			if a.Addr().Is4() == to.Addr().Is4() && !a.Addr().IsLinkLocalUnicast() && !a.IsSingleIP() {
				return a.Addr()
			}
		}
	}
	return netip.Addr{}
}

// connect opens the connection of an attempt.
func (a *attempt) connect() {
	r, now := a.r, a.r.d.net.now
	ev := tcp.Events{
		Connected: func(now clock.Instant, c *tcp.Conn) { a.connected(now, c) },
		Readable:  func(now clock.Instant, c *tcp.Conn) { a.readable(now, c) },
		Closed:    func(_ clock.Instant, _ *tcp.Conn, err error) { a.closed(err) },
	}
	var c *tcp.Conn
	var err error
	if rs := a.forwarded(); rs != nil {
		to := a.p.Via.VIP()
		c, err = r.via.Dial(now, r.source(to, rs), to, rs, ev)
	} else {
		c, err = r.d.DialTCP(a.p.Bind, a.target(), ev)
	}
	switch {
	case errors.Is(err, tcp.ErrUnreachable):
		a.fail(err)
	case err != nil:
		a.notMade(err)
	default:
		a.close = func() { a.hangUp(c) }
		a.wait()
	}
}

// hangUp closes a connection in order, or gives up one that is not there yet.
func (a *attempt) hangUp(c *tcp.Conn) {
	if c.State() == tcp.SynSent {
		c.Abort(a.r.d.net.now)
		return
	}
	c.Close(a.r.d.net.now)
}

func (a *attempt) connected(now clock.Instant, c *tcp.Conn) {
	a.at = dialog.Reading
	a.move(now, c, a.talk.Begin())
}

// move does what the dialogue wants.
func (a *attempt) move(now clock.Instant, c *tcp.Conn, m dialog.Move) {
	if len(m.Say) > 0 {
		_, _ = c.Write(now, m.Say) // short: there is room
	}
	if m.Done {
		a.end(m.Result)
		return
	}
	a.wait()
}

func (a *attempt) readable(now clock.Instant, c *tcp.Conn) {
	for !a.over {
		n, err := c.Read(now, a.r.buf[:])
		switch {
		case n > 0:
			a.move(now, c, a.talk.Take(a.r.buf[:n]))
		case err == io.EOF:
			a.end(a.talk.End())
		default:
			return
		}
	}
}

func (a *attempt) closed(err error) {
	switch {
	case a.over:
	case err == nil:
		a.end(a.talk.End())
	default:
		a.fail(err)
	}
}

// ping sends an echo request.
func (a *attempt) ping() {
	a.wait()
	o := PingOptions{Src: a.p.Bind.Addr(), Size: pingSize}
	if err := a.r.d.Ping(a.target().Addr(), o, func(PingReply) { a.end(a.talk.Take(nil).Result) }); err != nil {
		a.fail(err)
	}
}

// pingSize is how much keepalived sends.
const pingSize = 128

// file tells what a FILE_CHECK finds.
func (a *attempt) file() {
	res := health.Result{Status: a.r.d.env.files[a.p.Name]}
	if a.r.d.env.failing[a.p.Target.Addr()] {
		res.Outcome = health.Failure
	}
	a.tell(res)
}

// script is a MISC_CHECK, which ends as SetScript has said.
func (a *attempt) script() {
	s := a.r.d.env.script("", a.p.Script.Args)
	after := scriptTime
	res := health.Result{Status: s.Status}
	if a.r.d.env.failing[a.p.Target.Addr()] {
		res.Status = 1
	}
	if s.Hangs {
		after, res.Status = max(a.p.Timeout, scriptTime), 1
	}
	if res.Status != 0 {
		res.Outcome = health.Failure
	}
	a.timer = a.r.d.newTimer(func() { a.end(res) })
	a.timer.Set(a.r.d.net.now.Add(after))
}

// send is how packets of via leave: forwarded by the director.
func (r *prober) send(now clock.Instant, packet []byte, rs *ipvs.RealServer) {
	f := r.d.net.frame(len(packet) + wire.EthernetLen)
	f.Medium = wire.IP
	f.SetBytes(packet)
	r.out.Reset()
	r.d.worker.SendTo(now, &f.Frame, rs, &r.out)
	for _, g := range r.out.Tx {
		r.d.transmitOn(r.d.net.cloned(g))
	}
	r.d.says.event = nil
	r.d.net.release(f)
	r.d.timer.Set(now) // it may wait for its next hop
}

// receive gives a probe the answer that it waits for, and reports whether the
// frame was one. The host's own stack must not see it: it comes from an address
// that may be the host's.
func (r *prober) receive(f *frame) bool {
	pk := &r.d.p
	if pk.Parse(f.Bytes(), f.Medium) != wire.None || pk.Version == 0 || !r.d.table.IsLocal(pk.Dst) || !r.via.Takes(pk) {
		return false
	}
	r.via.Input(r.d.net.now, pk)
	r.timer.Set(r.via.Deadline())
	return true
}
