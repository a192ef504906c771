// Package http is as much HTTP as simulated servers and clients need: messages
// with a length or to the end of the connection, one connection for one or many
// requests. It is driven by the events of netsim/tcp and knows no time of its own.
package http

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"usvs/clock"
	"usvs/netsim/tcp"
)

// Bounds of a message.
const (
	MaxHead = 8192
	MaxBody = 16 << 20
)

// Message collects the HTTP messages of one direction of a connection.
type Message struct {
	buf []byte
}

// Feed reads what has arrived. The error is what ended the stream, or
// tcp.ErrWouldBlock.
func (m *Message) Feed(now clock.Instant, c *tcp.Conn) error {
	var chunk [4096]byte
	for {
		n, err := c.Read(now, chunk[:])
		m.buf = append(m.buf, chunk[:n]...)
		if err != nil || n == 0 {
			return err
		}
	}
}

// Take takes the first complete message off; ok is false if there is none yet.
// The head is without its last empty line.
func (m *Message) Take() (head string, body []byte, ok bool) {
	h, rest, found := bytes.Cut(m.buf, []byte("\r\n\r\n"))
	if !found {
		return "", nil, false
	}
	n := 0
	if value, is := Header(string(h), "Content-Length"); is {
		n, _ = strconv.Atoi(value)
	}
	if n < 0 || len(rest) < n {
		return "", nil, false
	}
	m.buf = rest[n:]
	return string(h), rest[:n], true
}

// TooLong reports whether what was received cannot become a message.
func (m *Message) TooLong() bool { return len(m.buf) > MaxHead+MaxBody }

// Header finds a field in a message's head.
func Header(head, name string) (value string, ok bool) {
	for _, line := range strings.Split(head, "\r\n")[1:] {
		if key, v, is := strings.Cut(line, ":"); is && strings.EqualFold(key, name) {
			return strings.TrimSpace(v), true
		}
	}
	return "", false
}

// FirstLine is a message's request or status line.
func FirstLine(head string) string {
	line, _, _ := strings.Cut(head, "\r\n")
	return line
}

// Writer sends more than fits into a connection's buffer.
type Writer struct{ left []byte }

// Send queues b and sends what it can.
func (w *Writer) Send(now clock.Instant, c *tcp.Conn, b []byte) {
	w.left = append(w.left, b...)
	w.Flush(now, c)
}

// Flush sends what there is room for, and reports whether that was all.
func (w *Writer) Flush(now clock.Instant, c *tcp.Conn) bool {
	if len(w.left) == 0 {
		return true
	}
	n, _ := c.Write(now, w.left)
	w.left = w.left[n:]
	return len(w.left) == 0
}

// Answer is what a server says to a request.
type Answer struct {
	Status int // 0: 200
	Body   []byte
}

// texts are the reasons of some statuses.
var texts = map[int]string{200: "OK", 301: "Moved Permanently", 404: "Not Found", 500: "Internal Server Error", 503: "Service Unavailable"}

// Bytes are the answer as a message.
func (a Answer) Bytes() []byte {
	status := a.Status
	if status == 0 {
		status = 200
	}
	text := texts[status]
	if text == "" {
		text = "Status"
	}
	return append(fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Length: %d\r\n\r\n", status, text, len(a.Body)), a.Body...)
}

// Serve returns a server for netsim.Host.Serve: answer is asked for each
// request, with its path. A connection stays open unless the client speaks
// HTTP/1.0 or wants it closed.
func Serve(answer func(path string) Answer) func(clock.Instant, *tcp.Conn) tcp.Events {
	return func(clock.Instant, *tcp.Conn) tcp.Events {
		s := &server{answer: answer}
		return tcp.Events{Readable: s.readable, Writable: s.writable}
	}
}

// server is one connection of a server.
type server struct {
	answer func(path string) Answer
	in     Message
	out    Writer
	last   bool // no further request is wanted
}

func (s *server) readable(now clock.Instant, c *tcp.Conn) {
	err := s.in.Feed(now, c)
	for head, _, ok := s.in.Take(); ok && !s.last; head, _, ok = s.in.Take() {
		s.last = closes(head)
		s.out.Send(now, c, s.answer(path(head)).Bytes())
	}
	switch {
	case s.in.TooLong():
		c.Abort(now)
	case err != nil && err != tcp.ErrWouldBlock:
		c.Close(now)
	case s.last:
		s.writable(now, c)
	}
}

func (s *server) writable(now clock.Instant, c *tcp.Conn) {
	if s.out.Flush(now, c) && s.last {
		c.Close(now)
	}
}

// closes reports whether a request is its connection's last.
func closes(head string) bool {
	value, _ := Header(head, "Connection")
	return strings.HasSuffix(FirstLine(head), "HTTP/1.0") || strings.EqualFold(value, "close")
}

// path is what a request asks for.
func path(head string) string {
	if f := strings.Fields(FirstLine(head)); len(f) > 1 {
		return f[1]
	}
	return ""
}
