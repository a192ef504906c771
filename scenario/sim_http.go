package scenario

import (
	"bytes"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"usvs/clock"
	"usvs/netsim"
	"usvs/netsim/tcp"
)

// message is an HTTP/1.1 message that is being received: a head, and a body of
// the length that it tells.
type message struct {
	buf []byte
}

// maxHead bounds a message's head.
const maxHead = 8192

// feed reads what has arrived.
func (m *message) feed(now clock.Instant, c *tcp.Conn) error {
	var chunk [4096]byte
	for {
		n, err := c.Read(now, chunk[:])
		m.buf = append(m.buf, chunk[:n]...)
		if err != nil || n == 0 {
			return err
		}
	}
}

// take takes the first complete message off; ok is false if there is none yet.
func (m *message) take() (first string, body []byte, ok bool) {
	head, rest, found := bytes.Cut(m.buf, []byte("\r\n\r\n"))
	if !found {
		return "", nil, false
	}
	lines := strings.Split(string(head), "\r\n")
	n := 0
	for _, line := range lines[1:] {
		if value, is := strings.CutPrefix(line, "Content-Length: "); is {
			n, _ = strconv.Atoi(value)
		}
	}
	if n < 0 || len(rest) < n {
		return "", nil, false
	}
	m.buf = rest[n:]
	return lines[0], rest[:n], true
}

// tooLong reports whether what was received cannot become a message.
func (m *message) tooLong() bool {
	return len(m.buf) > maxHead+maxSize
}

// writer sends more than fits into a connection's buffer.
type writer struct{ left []byte }

func (w *writer) send(now clock.Instant, c *tcp.Conn, b []byte) {
	w.left = append(w.left, b...)
	w.flush(now, c)
}

func (w *writer) flush(now clock.Instant, c *tcp.Conn) {
	if len(w.left) == 0 {
		return
	}
	n, _ := c.Write(now, w.left)
	w.left = w.left[n:]
}

// serve makes a server answer with its name.
func (s *Sim) serve(n *Node) error {
	h := s.hosts[n.Name]
	for _, port := range n.HTTP {
		if _, err := h.TCP().Listen(netip.AddrPortFrom(netip.Addr{}, port), func(clock.Instant, *tcp.Conn) tcp.Events {
			return answerHTTP(n.Name)
		}); err != nil {
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

// answerHTTP answers every request on a connection: `GET /100` with 100 bytes
// that begin with the server's name. The client closes.
func answerHTTP(name string) tcp.Events {
	var in message
	var out writer
	return tcp.Events{
		Readable: func(now clock.Instant, c *tcp.Conn) {
			err := in.feed(now, c)
			for first, _, ok := in.take(); ok; first, _, ok = in.take() {
				out.send(now, c, respond(name, first))
			}
			if in.tooLong() {
				c.Abort(now)
			} else if err != nil && err != tcp.ErrWouldBlock {
				c.Close(now)
			}
		},
		Writable: func(now clock.Instant, c *tcp.Conn) { out.flush(now, c) },
	}
}

func respond(name, requestLine string) []byte {
	size := 0
	if f := strings.Fields(requestLine); len(f) > 1 {
		size, _ = strconv.Atoi(strings.TrimPrefix(f[1], "/"))
	}
	body := pad(name+"\n", min(size, maxSize))
	return append(fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(body)), body...)
}

// httpClient is a connection of a client.
type httpClient struct {
	sim   *Sim
	t     *Traffic
	conn  *tcp.Conn
	err   error // why there is none
	over  bool  // it has ended
	in    message
	out   writer
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
		Writable: func(now clock.Instant, conn *tcp.Conn) { c.out.flush(now, conn) },
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
		c.out.send(c.sim.net.Now(), c.conn, append(head, pad("", c.t.Upload)...))
	}
}

func (c *httpClient) readable(now clock.Instant, conn *tcp.Conn) {
	err := c.in.feed(now, conn)
	first, body, ok := c.in.take()
	switch {
	case ok && c.reply != nil:
		r := Reply{Server: firstLine(body)}
		if first != "HTTP/1.1 200 OK" || len(body) < c.t.Size {
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
