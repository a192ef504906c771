package traffic

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// The sizes of requests and of answers to them. Both fit a segment.
const (
	RequestBytes = 128
	AnswerBytes  = 1024
)

// streamChunk is how much is read or written of a stream at once.
const streamChunk = 256 << 10

// Kind is what a server does with its connections.
type Kind uint8

// The kinds.
const (
	Answer  Kind = iota // answers every request
	Swallow             // reads and forgets
)

// Server is a thread that serves all connections to all its addresses.
type Server struct {
	poll, wake int
	kinds      []Kind // by descriptor
	listens    []bool // by descriptor
	open       map[int32]bool
	buf        []byte
	answer     [AnswerBytes]byte

	swallowed atomic.Uint64
	done      chan struct{}
}

// NewServer returns a server without addresses.
func NewServer() (*Server, error) {
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(poll)
		return nil, err
	}
	s := &Server{poll: poll, wake: wake, open: map[int32]bool{}, buf: make([]byte, streamChunk), done: make(chan struct{})}
	return s, watch(poll, wake, unix.EPOLLIN)
}

// Listen adds an address of the machine whose namespace the calling thread is
// in. It must not be called once the server serves.
func (s *Server) Listen(addr netip.AddrPort, kind Kind) error {
	fd, err := socket(addr)
	if err != nil {
		return err
	}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
		unix.Bind(fd, sockaddr(addr)),
		unix.Listen(fd, backlog))
	if err == nil {
		err = s.add(fd, kind, true)
	}
	if err != nil {
		unix.Close(fd)
		return fmt.Errorf("listen on %v: %w", addr, err)
	}
	return nil
}

// backlog is how many connections may wait to be accepted.
const backlog = 4096

// Swallowed is how many bytes of streams have been read.
func (s *Server) Swallowed() uint64 { return s.swallowed.Load() }

// Serve serves until Close, on a thread of its own that is first prepared.
func (s *Server) Serve(prepare func() error) {
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		defer close(s.done)
		if prepare() == nil {
			s.loop()
		}
	}()
}

// Close ends Serve and all connections.
func (s *Server) Close() {
	_, _ = unix.Write(s.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	<-s.done
	for fd := range s.open {
		unix.Close(int(fd))
	}
	unix.Close(s.poll)
	unix.Close(s.wake)
}

func (s *Server) loop() {
	events := make([]unix.EpollEvent, maxEvents)
	for {
		n, err := unix.EpollWait(s.poll, events, -1)
		if err != nil && err != unix.EINTR {
			return
		}
		for _, ev := range events[:max(n, 0)] {
			if ev.Fd == int32(s.wake) {
				return
			}
			s.serve(int(ev.Fd))
		}
	}
}

func (s *Server) serve(fd int) {
	switch {
	case s.listens[fd]:
		s.accept(fd)
	case !s.transfer(fd):
		delete(s.open, int32(fd))
		unix.Close(fd)
	}
}

// accept takes all connections that wait.
func (s *Server) accept(fd int) {
	for {
		conn, _, err := unix.Accept4(fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != nil {
			return
		}
		_ = unix.SetsockoptInt(conn, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		if s.add(conn, s.kinds[fd], false) != nil {
			unix.Close(conn)
		}
	}
}

// transfer does what is to be done on a connection; false if it is at its end.
func (s *Server) transfer(fd int) bool {
	n, err := unix.Read(fd, s.buf)
	if err == unix.EAGAIN || err == unix.EINTR {
		return true
	}
	if n <= 0 {
		return false
	}
	if s.kinds[fd] == Swallow {
		s.swallowed.Add(uint64(n))
		return true
	}
	// A request is one segment, and a client waits for the answer before the next.
	_, err = unix.Write(fd, s.answer[:])
	return err == nil
}

func (s *Server) add(fd int, kind Kind, listens bool) error {
	for len(s.kinds) <= fd {
		s.kinds, s.listens = append(s.kinds, 0), append(s.listens, false)
	}
	s.kinds[fd], s.listens[fd] = kind, listens
	s.open[int32(fd)] = true
	return watch(s.poll, fd, unix.EPOLLIN)
}

// maxEvents is how many are taken at once.
const maxEvents = 256

// watch adds a descriptor.
func watch(poll, fd int, events uint32) error {
	return unix.EpollCtl(poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

// socket opens a socket that never blocks.
func socket(addr netip.AddrPort) (int, error) {
	domain := unix.AF_INET
	if addr.Addr().Is6() {
		domain = unix.AF_INET6
	}
	fd, err := unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	return fd, nil
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
}
