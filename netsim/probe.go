package netsim

import (
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"usvs/clock"
	"usvs/health"
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
}

// attempt is one of them.
type attempt struct {
	r     *prober
	id    health.CheckID
	p     *health.Probe
	timer *Timer
	over  bool
	close func() // what it holds open
	talk  *talk  // over TCP; nil: to be connected is enough
}

func newProber(d *Director) *prober {
	r := &prober{d: d, runs: map[health.CheckID]*attempt{}}
	r.timer = d.newTimer(func() { r.timer.Set(r.via.Tick(d.net.now)) })
	r.via = path.New(path.Config{
		ISN: d.net.Rand(d.inEra("probes of " + d.name)).Uint32, Send: r.send, Wake: func(at clock.Instant) { r.timer.Set(at) },
	})
	return r
}

// success is the result of most attempts.
var success = health.Result{Outcome: health.Success}

// failure is what a server did wrong, in keepalived's words, and more of it.
func failure(reason string, err error) health.Result {
	r := health.Result{Outcome: health.Failure, Reason: reason}
	if err != nil {
		r.Cause = strings.TrimPrefix(err.Error(), "tcp: ")
	}
	return r
}

// start begins an attempt. Its result comes later, if soon.
func (r *prober) start(id health.CheckID, p *health.Probe) {
	a := &attempt{r: r, id: id, p: p, close: func() {}}
	a.timer = r.d.newTimer(a.timeout)
	r.runs[id] = a
	switch p.Kind {
	case health.TCP:
		a.connect()
	case health.HTTP, health.SSL:
		a.talk = newTalk(p, httpDialog)
		a.connect()
	case health.SMTP:
		a.talk = newTalk(p, smtpDialog)
		a.connect()
	case health.UDP, health.DNS:
		a.datagram()
	case health.Ping:
		a.ping()
	case health.Misc:
		a.script()
	case health.File:
		a.tell(health.Result{Outcome: health.Success, Status: r.d.env.files[p.Name]})
	default:
		a.end(health.Result{Outcome: health.LocalError, Reason: "not in the simulation"})
	}
}

// cancel ends an attempt whose outcome nobody wants.
func (r *prober) cancel(id health.CheckID) {
	if a := r.runs[id]; a != nil {
		a.finish()
	}
}

// fileChanged tells the checks that watch a file.
func (r *prober) fileChanged(name string, value int) {
	for _, id := range slices.Sorted(maps.Keys(r.runs)) {
		if a := r.runs[id]; a.p.Kind == health.File && a.p.Name == name {
			a.tell(health.Result{Outcome: health.Success, Status: value})
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

// wait gives the next step of an attempt its time.
func (a *attempt) wait() { a.timer.Set(a.r.d.net.now.Add(a.p.Timeout)) }

// timeout ends an attempt, one of whose steps took too long.
func (a *attempt) timeout() {
	switch {
	case a.p.Kind == health.UDP && !requiresReply(a.p):
		a.end(success) // no error came
	case a.talk != nil:
		a.end(a.talk.timeout())
	case a.p.Kind == health.UDP:
		a.end(failure("failed", nil))
	case a.p.Kind == health.DNS:
		a.end(failure("read timeout from socket", nil))
	default:
		a.end(failure("timeout", nil))
	}
}

// forwarded is the server that an attempt reaches by the director's forwarding,
// or nil: masquerading changes nothing but addresses, and what is not TCP or UDP
// goes directly, too.
func (a *attempt) forwarded() *ipvs.RealServer {
	v := &a.p.Via
	if a.p.Path != health.ViaVIP || v.Spec.Method != ipvs.DirectRoute && v.Spec.Method != ipvs.Tunnel {
		return nil
	}
	return ipvs.NewRealServer(v.Server, nil, v.Spec)
}

// target is where an attempt goes that is not forwarded.
func (a *attempt) target() netip.AddrPort {
	if a.p.Path != health.ViaVIP {
		return a.p.Target
	}
	v := &a.p.Via
	return netip.AddrPortFrom(v.Server.Addr, orDefault(v.Server.Port, v.Service.Port))
}

// vip is where an attempt goes that is forwarded.
func (a *attempt) vip() netip.AddrPort {
	v := &a.p.Via
	return netip.AddrPortFrom(v.Service.Addr, orDefault(v.Service.Port, v.Server.Port))
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
		to := a.vip()
		c, err = r.via.Dial(now, r.source(to, rs), to, rs, ev)
	} else {
		c, err = r.d.DialTCP(a.p.Bind, a.target(), ev)
	}
	switch {
	case errors.Is(err, tcp.ErrUnreachable):
		a.end(a.refused(err))
	case err != nil:
		a.end(health.Result{Outcome: health.LocalError, Reason: err.Error()})
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
	if a.talk == nil {
		a.end(success)
		return
	}
	a.talk.up = true
	a.proceed(now, c)
}

// proceed says what there is to say, and ends the attempt if that was all.
func (a *attempt) proceed(now clock.Instant, c *tcp.Conn) {
	say, res := a.talk.next()
	if len(say) > 0 {
		_, _ = c.Write(now, []byte(say)) // short: there is room
	}
	if res != nil {
		a.end(*res)
		return
	}
	a.wait()
}

func (a *attempt) readable(now clock.Instant, c *tcp.Conn) {
	if a.over || a.talk == nil {
		return
	}
	a.talk.read(now, c)
	a.proceed(now, c)
}

func (a *attempt) closed(err error) {
	switch {
	case a.over:
	case a.talk != nil && a.talk.up:
		a.end(a.talk.broken(err))
	default:
		a.end(a.refused(err))
	}
}

// refused is the result of a connection that did not come about.
func (a *attempt) refused(err error) health.Result {
	switch a.p.Kind {
	case health.HTTP, health.SSL:
		return failure("Connection failed", err)
	case health.SMTP:
		return failure("Could not connect to server", err)
	}
	return failure("failed", err)
}

// ping sends an echo request.
func (a *attempt) ping() {
	a.wait()
	o := PingOptions{Src: a.p.Bind.Addr(), Size: pingSize}
	if err := a.r.d.Ping(a.target().Addr(), o, func(PingReply) { a.end(success) }); err != nil {
		a.end(failure("failed", err))
	}
}

// pingSize is how much keepalived sends.
const pingSize = 128

// script is a MISC_CHECK, which ends as SetScript has said.
func (a *attempt) script() {
	s := a.r.d.env.script("", a.p.Script.Args)
	after := scriptTime
	res := health.Result{Status: s.Status}
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
