package probe

import (
	"context"
	"net"
	"net/netip"
	"time"

	"usvs/health"
	"usvs/health/dialog"
)

// conn is a connection with a timeout for each step, to be closed.
type conn struct {
	net.Conn
	timeout time.Duration
	end     time.Time
	cancel  func() bool
}

// open connects. The connection closes with the context. All datagrams together
// have the time of one step.
func (d Dial) open(ctx context.Context, p *health.Probe) (*conn, error) {
	network, end := "tcp", time.Now().Add(dialog.Lifetime*p.Timeout)
	if p.Kind == health.UDP || p.Kind == health.DNS {
		network, end = "udp", time.Now().Add(p.Timeout)
	}
	c, err := d(ctx, network, p)
	if err != nil {
		return nil, err
	}
	return &conn{
		Conn: c, timeout: p.Timeout, end: end,
		cancel: context.AfterFunc(ctx, func() { c.Close() }),
	}, nil
}

// direct connects to the target by the host's own stack.
func direct(ctx context.Context, network string, p *health.Probe) (net.Conn, error) {
	d := net.Dialer{
		Timeout:        p.Timeout,
		LocalAddr:      localAddr(network, p.Bind),
		ControlContext: control(p),
		KeepAlive:      -1,
	}
	d.SetMultipathTCP(false)
	return d.DialContext(ctx, network, p.Target.String())
}

// localAddr is what a probe binds to, nil for any.
func localAddr(network string, bind netip.AddrPort) net.Addr {
	if !bind.Addr().IsValid() && bind.Port() == 0 {
		return nil
	}
	if network == "udp" {
		return net.UDPAddrFromAddrPort(bind)
	}
	return net.TCPAddrFromAddrPort(bind)
}

// Close closes the connection.
func (c *conn) Close() error {
	c.cancel()
	return c.Conn.Close()
}

// Read gives each read its own time, within that of the whole attempt.
func (c *conn) Read(b []byte) (int, error) {
	if err := c.Conn.SetReadDeadline(c.deadline()); err != nil {
		return 0, err
	}
	return c.Conn.Read(b)
}

// Write is like Read.
func (c *conn) Write(b []byte) (int, error) {
	if err := c.Conn.SetWriteDeadline(c.deadline()); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

func (c *conn) deadline() time.Time {
	step := time.Now().Add(c.timeout)
	if step.After(c.end) {
		return c.end
	}
	return step
}
