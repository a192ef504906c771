package scenario

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"usvs/clock"
	"usvs/netsim"
	"usvs/netsim/http"
	"usvs/netsim/tcp"
)

// serve makes a server answer with its name.
func (s *Sim) serve(n *Node) error {
	h := s.hosts[n.Name]
	for _, port := range n.HTTP {
		if _, err := h.Serve(port, http.Serve(s.answer(n.Name, port))); err != nil {
			return err
		}
	}
	for _, port := range n.UDP {
		u, err := h.UDP(netip.AddrPortFrom(netip.Addr{}, port))
		if err != nil {
			return err
		}
		u.OnReceive = func(d netsim.Datagram) {
			_ = u.SendFrom(d.To.Addr(), d.From, pad(n.Name+"\n", len(d.Payload)))
		}
	}
	return nil
}

// answer is what a server says: its name, or what a Disturbance wants.
func (s *Sim) answer(name string, port uint16) func(path string) http.Answer {
	ok := named(name)
	return func(path string) http.Answer {
		a := ok(path)
		a.Status = s.status[service{name, port}]
		return a
	}
}

// named answers `GET /100` with 100 bytes that begin with the server's name.
func named(name string) func(path string) http.Answer {
	return func(path string) http.Answer {
		size, _ := strconv.Atoi(strings.TrimPrefix(path, "/"))
		return http.Answer{Body: pad(name+"\n", min(size, maxSize))}
	}
}

// httpClient is a connection of a client.
type httpClient struct {
	sim   *Sim
	t     *Traffic
	conn  *tcp.Conn
	err   error // why there is none
	over  bool  // it has ended
	in    http.Message
	out   http.Writer
	reply func(Reply) // of the request under way
}

// http makes a connection and a request on it.
func (s *Sim) http(t *Traffic, done func(Reply)) {
	c := &httpClient{sim: s, t: t}
	h := s.hosts[t.Node]
	src := t.From
	if !src.IsValid() {
		src = h.Source(t.To.Addr())
	}
	c.conn, c.err = h.TCP().Dial(s.net.Now(), netip.AddrPortFrom(src, t.Port), t.To, tcp.Events{
		Readable: c.readable,
		Writable: func(now clock.Instant, conn *tcp.Conn) { c.out.Flush(now, conn) },
		Closed:   c.closed,
	})
	if t.Hold {
		s.held[t.As] = append(s.held[t.As], c)
	}
	c.request(t.Timeout, func(r Reply) {
		if !t.Hold {
			c.close()
		}
		done(r)
	})
}

// request sends a request. Before the connection is established it waits in
// the connection's buffer.
func (c *httpClient) request(timeout time.Duration, done func(Reply)) {
	local := netip.AddrPort{}
	if c.conn != nil {
		local = c.conn.LocalAddr()
	}
	c.reply = c.sim.once(timeout, func() { c.reply = nil }, func(r Reply) {
		r.Local = local
		if r.Fail == Timeout {
			c.abort()
		}
		done(r)
	})
	switch {
	case c.err != nil:
		c.reply(Reply{Fail: tcpFailure(c.err)})
	case c.over || c.conn == nil:
		c.reply(Reply{Fail: Reset})
	default:
		head := fmt.Appendf(nil, "POST /%d HTTP/1.1\r\nHost: %v\r\nContent-Length: %d\r\n\r\n", c.t.Size, c.t.To, c.t.Upload)
		c.out.Send(c.sim.net.Now(), c.conn, append(head, pad("", c.t.Upload)...))
	}
}

func (c *httpClient) readable(now clock.Instant, conn *tcp.Conn) {
	err := c.in.Feed(now, conn)
	head, body, ok := c.in.Take()
	switch {
	case ok && c.reply != nil:
		r := Reply{Server: firstLine(body)}
		if http.FirstLine(head) != "HTTP/1.1 200 OK" || len(body) < c.t.Size {
			r.Fail = Garbled
		}
		c.reply(r)
	case err != nil && err != tcp.ErrWouldBlock && c.reply != nil:
		c.over = true
		c.reply(Reply{Fail: Reset})
	}
}

func (c *httpClient) closed(_ clock.Instant, _ *tcp.Conn, err error) {
	c.over = true
	if c.err = err; c.reply != nil {
		c.reply(Reply{Fail: tcpFailure(err)})
	}
}

func (c *httpClient) close() {
	if c.conn != nil && !c.over {
		c.over = true
		c.conn.Close(c.sim.net.Now())
	}
}

func (c *httpClient) abort() {
	if c.conn != nil && !c.over {
		c.over = true
		c.conn.Abort(c.sim.net.Now())
	}
}
