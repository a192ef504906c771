package ipvsabi

import (
	"sync"

	"usvs/ipvsadm"
)

// Server answers the kernel's IPVS control interface from a director's table.
type Server struct {
	table ipvsadm.Backend
	edit  sync.Mutex // held from reading a service's flags to writing them
}

// NewServer returns a Server for the table of b.
func NewServer(b ipvsadm.Backend) *Server { return &Server{table: b} }

// header is a netlink message's, without its length.
type header struct {
	typ, flags uint16
	seq, port  uint32
}

// message is one of a datagram.
type message struct {
	header
	bytes []byte // all of it
}

// Netlink answers one datagram that a program with port id port sent to the
// kernel on a generic netlink socket. admin tells whether the caller has
// CAP_NET_ADMIN in its network namespace's user namespace; the kernel demands
// it of every IPVS command (reads too), not of resolving the family.
//
// handled is false, and nothing was done, if part of the datagram concerns
// anything but IPVS, so that the kernel must answer it itself. Each reply is
// one datagram to put into the program's receive queue.
func (s *Server) Netlink(datagram []byte, port uint32, admin bool) (replies [][]byte, handled bool) {
	if !allOurs(datagram) {
		return nil, false
	}
	var r reply
	for m, rest, ok := next(datagram); ok; m, rest, ok = next(rest) {
		r.to = header{seq: m.seq, port: port}
		s.answer(m, &r, admin)
	}
	return append(r.datagrams, r.unread...), true
}

// next cuts the first message off a datagram. A length that cannot be ends the
// datagram, and the kernel does not say so.
func next(b []byte) (m message, rest []byte, ok bool) {
	if len(b) < headerLen {
		return m, nil, false
	}
	size := int64(native.Uint32(b))
	if size < headerLen || size > int64(len(b)) {
		return m, nil, false
	}
	m = message{
		header: header{
			typ: native.Uint16(b[4:]), flags: native.Uint16(b[6:]),
			seq: native.Uint32(b[8:]), port: native.Uint32(b[12:]),
		},
		bytes: b[:size:size],
	}
	return m, b[min(align(int(size)), len(b)):], true
}

// allOurs reports whether a datagram has messages for us, and none for anyone
// else. Messages that are no requests are for nobody.
func allOurs(datagram []byte) bool {
	found := false
	for m, rest, ok := next(datagram); ok; m, rest, ok = next(rest) {
		if !m.isRequest() {
			continue
		}
		if !m.isOurs() {
			return false
		}
		found = true
	}
	return found
}

func (m *message) isRequest() bool { return m.flags&flagRequest != 0 && m.typ >= typeControl }

func (m *message) isOurs() bool {
	return m.typ == FamilyID || m.typ == typeControl && m.resolvesUs()
}

// answer replies to one message. The end of a dump is its acknowledgement.
func (s *Server) answer(m message, r *reply, admin bool) {
	var errno Errno
	dumped := false
	if m.isRequest() {
		errno, dumped = s.serve(&m, r, admin)
	}
	switch {
	case errno != 0:
		r.fail(&m, errno)
	case m.flags&flagAck != 0 && !dumped:
		r.acknowledge(&m)
	}
}

// serve carries out a request.
func (s *Server) serve(m *message, r *reply, admin bool) (errno Errno, dumped bool) {
	if m.typ == typeControl {
		r.family()
		return 0, false
	}
	if len(m.bytes) < headerLen+genericHeaderLen {
		return EINVAL, false
	}
	c := commandOf(m.bytes[headerLen])
	if c == nil {
		return EOPNOTSUPP, false
	}
	if !admin {
		return EPERM, false
	}
	body := m.bytes[headerLen+genericHeaderLen:]
	if m.flags&flagDump == flagDump {
		return s.dump(c, body, r), true
	}
	return s.do(c, body, r), false
}

func (s *Server) do(c *command, body []byte, r *reply) Errno {
	if c.do == nil {
		return EOPNOTSUPP
	}
	attrs, errno := commandPolicy.parse(body)
	if errno != 0 {
		return errno
	}
	return c.do(s, &attrs, r)
}

// dump lists. A socket has one list at a time, which also bounds what a
// datagram can ask for.
func (s *Server) dump(c *command, body []byte, r *reply) Errno {
	switch {
	case c.dump == nil:
		return EOPNOTSUPP
	case r.unread != nil:
		return EBUSY
	}
	list := list{to: r.to}
	if errno := c.dump(s, body, &list); errno != 0 {
		return errno
	}
	r.list(&list)
	return 0
}
