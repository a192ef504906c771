package via

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"usvs/clock"
	"usvs/director"
	"usvs/health"
	"usvs/health/path"
	"usvs/health/probe"
	"usvs/ipvs"
	"usvs/link"
	"usvs/netsim/tcp"
	"usvs/wire"
)

// Config is what a Dialer is made of.
type Config struct {
	Clock    clock.Clock
	Director *director.Director
	// Send sends a frame with its Ethernet header by an interface. It must not
	// call the Dialer.
	Send func(iface string, frame []byte) error
}

// Dialer connects probes by way of the VIP.
type Dialer struct {
	clock clock.Clock
	dir   *director.Director
	put   func(iface string, frame []byte) error

	mu     sync.Mutex // guards what follows, and every conn of the Dialer
	worker *director.Worker
	out    link.Output
	frame  *wire.Frame
	prober *path.Prober
	timer  *time.Timer
	closed bool
}

// New returns a Dialer.
func New(cfg Config) *Dialer {
	d := &Dialer{clock: cfg.Clock, dir: cfg.Director, put: cfg.Send, worker: cfg.Director.NewWorker(), frame: wire.NewFrame(2048)}
	d.prober = path.New(path.Config{ISN: rand.Uint32, Send: d.send})
	d.timer = time.AfterFunc(time.Hour, d.tick)
	return d
}

// Close ends the Dialer: nothing is sent any more when it has returned.
func (d *Dialer) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	d.timer.Stop()
}

var _ probe.Dial = (*Dialer)(nil).Dial

// Dial connects to the server of a probe, as its service's clients would: by
// direct routing or in a tunnel.
func (d *Dialer) Dial(ctx context.Context, network string, p *health.Probe) (net.Conn, error) {
	v := &p.Via
	rs := ipvs.NewRealServer(v.Server, nil, v.Spec)
	to := v.VIP()
	if network == "udp" {
		return d.exchange(to, rs)
	}
	c, err := d.connect(to, rs)
	if err != nil {
		return nil, err
	}
	if err := c.established(ctx, p.Timeout); err != nil {
		c.abort()
		return nil, err
	}
	return c, nil
}

// connect begins a connection.
func (d *Dialer) connect(to netip.AddrPort, rs *ipvs.RealServer) (*conn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	src, err := d.source(to.Addr(), rs.ID.Addr)
	if err != nil {
		return nil, err
	}
	c := newConn(d, to)
	c.tc, err = d.prober.Dial(d.clock.Now(), src, to, rs, tcp.Events{
		Connected: func(clock.Instant, *tcp.Conn) { c.connected = true; c.stir() },
		Readable:  func(clock.Instant, *tcp.Conn) { c.stir() },
		Writable:  func(clock.Instant, *tcp.Conn) { c.stir() },
		Closed:    func(_ clock.Instant, _ *tcp.Conn, err error) { c.ended, c.failure = true, err; c.stir() },
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", probe.ErrLocal, err)
	}
	c.local = c.tc.LocalAddr()
	d.schedule()
	return c, nil
}

// source is the address that answers come to: one of this host's towards the
// server, of the virtual address's family, and no virtual one itself.
func (d *Dialer) source(vip, rip netip.Addr) (netip.Addr, error) {
	s := d.dir.Snapshot()
	hop := s.Routes.Lookup(rip)
	if fit := hop.Src; fit.IsValid() && fit.Is4() == vip.Is4() && !s.Owned.Has(fit) && fit != vip {
		return fit, nil
	}
	for i := range s.Routes.Interfaces {
		for _, a := range s.Routes.Interfaces[i].Addrs {
			if a := a.Addr(); a.Is4() == vip.Is4() && !a.IsLinkLocalUnicast() && !s.Owned.Has(a) && a != vip {
				return a, nil
			}
		}
	}
	return netip.Addr{}, fmt.Errorf("%w: no address of this host that %v could answer to", probe.ErrLocal, vip)
}

// send is how packets leave: forwarded by the director. What cannot be sent is
// lost, like on a wire.
func (d *Dialer) send(now clock.Instant, packet []byte, rs *ipvs.RealServer) {
	if d.closed {
		return
	}
	d.frame.Reset()
	d.frame.Medium = wire.IP
	d.frame.SetBytes(packet)
	d.out.Reset()
	d.worker.SendTo(now, d.frame, rs, &d.out)
	ifaces := d.dir.Snapshot().Routes.Interfaces
	for _, g := range d.out.Tx {
		if g.Medium == wire.Ethernet && g.Port >= 0 && g.Port < len(ifaces) {
			_ = d.put(ifaces[g.Port].Name, g.Bytes())
		}
	}
}

// Receive takes an IP packet that came to this host. What is no answer to a
// probe is ignored.
func (d *Dialer) Receive(packet []byte) {
	var pk wire.Packet
	if pk.Parse(packet, wire.IP) != wire.None || pk.Version == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed && d.prober.Takes(&pk) {
		d.prober.Input(d.clock.Now(), &pk)
		d.schedule()
	}
}

// tick does what is due.
func (d *Dialer) tick() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed {
		d.prober.Tick(d.clock.Now())
		d.schedule()
	}
}

// schedule has tick called when it is wanted. The mutex is held.
func (d *Dialer) schedule() {
	at := d.prober.Deadline()
	switch {
	case d.closed:
	case at == clock.Never:
		d.timer.Stop()
	default:
		d.timer.Reset(max(0, at.Sub(d.clock.Now())))
	}
}

// systemError is what a socket would say.
func systemError(err error) error {
	for _, m := range []struct {
		from error
		to   syscall.Errno
	}{
		{tcp.ErrRefused, syscall.ECONNREFUSED}, {tcp.ErrReset, syscall.ECONNRESET},
		{tcp.ErrTimeout, syscall.ETIMEDOUT}, {tcp.ErrUnreachable, syscall.EHOSTUNREACH},
	} {
		if errors.Is(err, m.from) {
			return m.to
		}
	}
	return err
}
