package netconn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"usvs/clock"
	"usvs/netsim"
	"usvs/netsim/tcp"
)

// Host is a simulated host as a program on it sees the network.
type Host struct {
	net *Net
	sim *netsim.Host
}

// Host is h for programs.
func (n *Net) Host(h *netsim.Host) *Host { return &Host{n, h} }

type localAddrKey struct{}

// WithLocalAddr makes DialContext use the local address and port, of which
// either may be zero. It tells apart what is dialled in the same instant.
func WithLocalAddr(ctx context.Context, local netip.AddrPort) context.Context {
	return context.WithValue(ctx, localAddrKey{}, local)
}

// DialContext connects to an IP address and port; it is what an http.Transport
// takes. A simulated network has no names.
func (h *Host) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	remote, err := parse(network, address)
	if err != nil {
		return nil, opError("dial", network, netip.AddrPort{}, netip.AddrPort{}, err)
	}
	if !remote.Addr().IsValid() {
		return nil, opError("dial", network, netip.AddrPort{}, remote, errors.New("missing address"))
	}
	if err := ctx.Err(); err != nil {
		return nil, opError("dial", network, netip.AddrPort{}, remote, err)
	}
	local, _ := ctx.Value(localAddrKey{}).(netip.AddrPort)
	c := h.newConn()
	dial := &call{host: h.sim.Name(), local: local, remote: remote, kind: kindDial, source: &c.source}
	dial.try = func(now clock.Instant) bool { return c.dial(dial, local, remote) }
	if err := h.net.await(ctx, dial, c); err != nil {
		return nil, opError("dial", network, local, remote, err)
	}
	return c, nil
}

// Dial connects to an IP address and port.
func (h *Host) Dial(network, address string) (net.Conn, error) {
	return h.DialContext(context.Background(), network, address)
}

// await waits for a dial, or gives it up when ctx ends.
func (n *Net) await(ctx context.Context, dial *call, c *Conn) error {
	if err := n.enqueue(dial); err != nil {
		return err
	}
	select {
	case <-dial.done:
		return dial.err
	case <-ctx.Done():
	}
	giveUp := &call{host: dial.host, local: dial.local, remote: dial.remote, kind: kindClose}
	giveUp.try = func(now clock.Instant) bool { c.abort(now); return true }
	_ = n.submit(giveUp)
	<-dial.done
	return ctx.Err()
}

// dial begins to connect, and sees later how that went.
func (c *Conn) dial(dial *call, local, remote netip.AddrPort) bool {
	switch {
	case c.aborted:
		dial.err = net.ErrClosed
		return true
	case c.tc == nil:
		tc, err := c.host.sim.DialTCP(local, remote, c.events())
		if err != nil {
			dial.err = err
			return true
		}
		c.attach(tc)
	}
	dial.err = c.failure
	return c.connected || c.failure != nil
}

// Listen listens on a port, of one address of the host or, without one (":80"),
// of all. Port 0 is a free one.
func (h *Host) Listen(network, address string) (net.Listener, error) {
	local, err := parse(network, address)
	if err != nil {
		return nil, opError("listen", network, netip.AddrPort{}, netip.AddrPort{}, err)
	}
	l := &Listener{host: h}
	c := &call{host: h.sim.Name(), local: local, kind: kindListen}
	c.try = func(clock.Instant) bool {
		l.tl, c.err = h.sim.ListenTCP(local, l.accepted)
		if c.err == nil {
			l.addr = l.tl.Addr()
		}
		return true
	}
	if err := h.net.submit(c); err != nil {
		return nil, opError("listen", network, local, netip.AddrPort{}, err)
	}
	return l, nil
}

// MustListen is Listen on h for tests; an error panics.
func (n *Net) MustListen(h *netsim.Host, address string) net.Listener {
	l, err := n.Host(h).Listen("tcp", address)
	if err != nil {
		panic(err)
	}
	return l
}

// parse reads an address and port; the address may be missing.
func parse(network, address string) (netip.AddrPort, error) {
	if network != "tcp" && network != "tcp4" && network != "tcp6" {
		return netip.AddrPort{}, net.UnknownNetworkError(network)
	}
	if port, ok := strings.CutPrefix(address, ":"); ok {
		address = "[::]:" + port
	}
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return a, fmt.Errorf("a simulated network has no names: %w", err)
	}
	ip := a.Addr().Unmap()
	switch {
	case ip.IsUnspecified():
		ip = netip.Addr{}
	case network == "tcp4" && ip.Is6(), network == "tcp6" && ip.Is4():
		return a, &net.AddrError{Err: "address of the other family for " + network, Addr: address}
	}
	return netip.AddrPortFrom(ip, a.Port()), nil
}

// Listener is a net.Listener on a simulated host.
type Listener struct {
	host   *Host
	tl     *tcp.Listener
	addr   netip.AddrPort
	source source
	ready  []*Conn
	closed bool
}

// maxReady bounds the connections that nobody has accepted yet.
const maxReady = 4096

func (l *Listener) accepted(now clock.Instant, tc *tcp.Conn) tcp.Events {
	if l.closed || len(l.ready) >= maxReady {
		tc.Abort(now)
		return tcp.Events{}
	}
	c := l.host.newConn()
	c.attach(tc)
	c.connected = true
	l.ready = append(l.ready, c)
	l.source.stir()
	return c.events()
}

// Accept waits for the next connection.
func (l *Listener) Accept() (net.Conn, error) {
	var got *Conn
	c := &call{host: l.host.sim.Name(), local: l.addr, kind: kindAccept, source: &l.source}
	c.try = func(clock.Instant) bool {
		switch {
		case l.closed:
			c.err = net.ErrClosed
			return true
		case len(l.ready) == 0:
			return false
		}
		got, l.ready = l.ready[0], l.ready[1:]
		return true
	}
	if err := l.host.net.submit(c); err != nil {
		return nil, opError("accept", "tcp", l.addr, netip.AddrPort{}, err)
	}
	return got, nil
}

// Close stops listening. Connections that were not accepted are reset.
func (l *Listener) Close() error {
	c := &call{host: l.host.sim.Name(), local: l.addr, kind: kindClose}
	c.try = func(now clock.Instant) bool {
		if l.closed {
			c.err = net.ErrClosed
			return true
		}
		l.closed = true
		l.tl.Close(now)
		for _, r := range l.ready {
			r.abort(now)
		}
		l.ready = nil
		l.source.stir()
		return true
	}
	return opError("close", "tcp", l.addr, netip.AddrPort{}, l.host.net.submit(c))
}

// Addr is what the listener listens on.
func (l *Listener) Addr() net.Addr { return netAddr(l.addr) }
