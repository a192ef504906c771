package host

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"usvs/connsync"
	"usvs/control"
	"usvs/ipvs"
)

// readPause is how long a socket that cannot be read rests.
const readPause = 100 * time.Millisecond

// SyncSockets carries the synchronisation daemons' messages by UDP sockets, as
// control.SyncTransport wants it (ipvs.md 6.1). An interface may go down and
// come back, or be made anew: Maintain opens sockets again.
type SyncSockets struct {
	log     *slog.Logger
	receive func(iface string, to netip.AddrPort, payload []byte)
	changed chan struct{}
	readers sync.WaitGroup

	sent, lost, received atomic.Uint64

	mu   sync.Mutex              // guards what follows; sending does not wait for it
	ends [2]*syncEnd             // of master and backup
	out  atomic.Pointer[syncEnd] // the master's
}

// syncEnd is what one daemon has open.
type syncEnd struct {
	daemon  ipvs.Daemon
	opts    control.SyncOptions
	sockets []net.Conn // one per port
	index   int        // of the interface when they were opened
	source  netip.Addr // they send from
}

// NewSyncSockets returns a transport that hands what it receives to receive,
// which may be called by several goroutines at once.
func NewSyncSockets(log *slog.Logger, receive func(iface string, to netip.AddrPort, payload []byte)) *SyncSockets {
	return &SyncSockets{log: log, receive: receive, changed: make(chan struct{}, 1)}
}

var _ control.SyncTransport = (*SyncSockets)(nil)

// Changed tells when a daemon was started or stopped.
func (s *SyncSockets) Changed() <-chan struct{} { return s.changed }

// Sends reports whether a master runs.
func (s *SyncSockets) Sends() bool { return s.out.Load() != nil }

// Runs reports whether any daemon runs.
func (s *SyncSockets) Runs() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ends[0] != nil || s.ends[1] != nil
}

// Interface returns an interface's MTU.
func (s *SyncSockets) Interface(name string) (int, error) {
	ifc, err := net.InterfaceByName(name)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, ipvs.ErrNoDevice)
	}
	return ifc.MTU, nil
}

// Open opens a daemon's sockets. While the interface has no address to send
// from, it waits for one, as at boot: Maintain opens them then.
func (s *SyncSockets) Open(d *ipvs.Daemon, o control.SyncOptions) error {
	e := &syncEnd{daemon: *d, opts: o}
	switch err := e.open(); {
	case errors.Is(err, unix.EADDRNOTAVAIL):
		s.log.Warn("synchronisation daemon waits for an address", "interface", d.Interface)
	case err != nil:
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(e)
	s.notify()
	return nil
}

// put makes e the open end of its daemon, and reads from a backup's.
func (s *SyncSockets) put(e *syncEnd) {
	s.ends[e.daemon.State-1] = e
	if e.daemon.State == ipvs.DaemonMaster {
		s.out.Store(e)
		return
	}
	for i, c := range e.sockets {
		to := netip.AddrPortFrom(e.daemon.Group, uint16(e.daemon.Port+i))
		s.readers.Go(func() { s.read(c, e.daemon.Interface, to, e.daemon.MaxLen) })
	}
}

func (s *SyncSockets) notify() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// read hands on what arrives until the socket is closed.
func (s *SyncSockets) read(c net.Conn, iface string, to netip.AddrPort, most int) {
	buf := make([]byte, most)
	for {
		n, err := c.Read(buf)
		switch {
		case err == nil:
			s.received.Add(1)
			s.receive(iface, to, buf[:n])
		case errors.Is(err, net.ErrClosed):
			return
		default:
			time.Sleep(readPause)
		}
	}
}

// Close closes a daemon's sockets.
func (s *SyncSockets) Close(state ipvs.DaemonState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if state == ipvs.DaemonMaster {
		s.out.Store(nil)
	}
	s.ends[state-1].close()
	s.ends[state-1] = nil
	s.notify()
}

// Shutdown closes everything and waits until nothing is received any more.
func (s *SyncSockets) Shutdown() {
	s.mu.Lock()
	s.out.Store(nil)
	for i, e := range s.ends {
		e.close()
		s.ends[i] = nil
	}
	s.mu.Unlock()
	s.readers.Wait()
}

// Send sends a message. What the socket does not take is lost.
func (s *SyncSockets) Send(g *connsync.Datagram) {
	e := s.out.Load()
	if e == nil {
		return
	}
	i := int(g.Group.Port()) - e.daemon.Port
	if i < 0 || i >= len(e.sockets) {
		s.lost.Add(1)
		return
	}
	if _, err := e.sockets[i].Write(g.Payload); err != nil {
		s.lost.Add(1)
		return
	}
	s.sent.Add(1)
}

// Maintain opens sockets again whose interface was made anew or has another
// address. It is called every second or so.
func (s *SyncSockets) Maintain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, old := range s.ends {
		if old == nil || !old.outdated() {
			continue
		}
		e := &syncEnd{daemon: old.daemon, opts: old.opts}
		if err := e.open(); err != nil {
			continue // the interface is not ready yet
		}
		old.close()
		s.put(e)
		s.log.Info("synchronisation daemon follows its interface", "interface", e.daemon.Interface)
	}
}

// Counters are what the sockets did, by name.
func (s *SyncSockets) Counters() map[string]uint64 {
	return map[string]uint64{"sent": s.sent.Load(), "lost": s.lost.Load(), "received": s.received.Load()}
}

// outdated reports whether the interface is another than when e was opened.
func (e *syncEnd) outdated() bool {
	ifc, err := net.InterfaceByName(e.daemon.Interface)
	if err != nil {
		return false // nothing to open
	}
	return len(e.sockets) == 0 || ifc.Index != e.index || e.daemon.State == ipvs.DaemonMaster && e.sourceOf(ifc) != e.source
}

// open opens a socket for each port, or none.
func (e *syncEnd) open() error {
	ifc, err := net.InterfaceByName(e.daemon.Interface)
	if err != nil {
		return fmt.Errorf("%s: %w", e.daemon.Interface, ipvs.ErrNoDevice)
	}
	e.index = ifc.Index
	if e.daemon.State == ipvs.DaemonMaster {
		e.source = e.sourceOf(ifc)
	}
	for i := range e.opts.Ports {
		c, err := e.socket(uint16(e.daemon.Port + i))
		if err != nil {
			e.close()
			e.sockets = nil
			return fmt.Errorf("socket for %v port %d on %s: %w", e.daemon.Group, e.daemon.Port+i, e.daemon.Interface, err)
		}
		e.sockets = append(e.sockets, c)
	}
	return nil
}

func (e *syncEnd) close() {
	if e == nil {
		return
	}
	for _, c := range e.sockets {
		_ = c.Close()
	}
}

// sourceOf is the address that messages come from: the interface's first one.
// With IPv6 the system picks a link-local one.
func (e *syncEnd) sourceOf(ifc *net.Interface) netip.Addr {
	addrs, _ := ifc.Addrs()
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && e.daemon.Group.Is4() {
			return p.Addr()
		}
	}
	return netip.Addr{}
}

// socket opens the socket for one port.
func (e *syncEnd) socket(port uint16) (net.Conn, error) {
	family := unix.AF_INET
	if e.daemon.Group.Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "sync")
	defer f.Close() // FileConn has a copy
	if err := e.configure(fd, port); err != nil {
		return nil, err
	}
	return net.FileConn(f)
}

func (e *syncEnd) configure(fd int, port uint16) error {
	if err := unix.BindToDevice(fd, e.daemon.Interface); err != nil {
		return err
	}
	if e.daemon.State == ipvs.DaemonMaster {
		return e.configureMaster(fd, port)
	}
	return e.configureBackup(fd, port)
}

// option is one setsockopt with an integer.
type option struct{ level, name, value int }

func setAll(fd int, options ...option) error {
	for _, o := range options {
		if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	return nil
}

// configureMaster makes a socket send: its own group messages do not come back
// to this host, and long ones may be fragmented.
func (e *syncEnd) configureMaster(fd int, port uint16) error {
	e.buffer(fd, unix.SO_SNDBUF)
	if e.daemon.Group.Is6() {
		if err := setAll(fd,
			option{unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF, e.index},
			option{unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_LOOP, 0},
			option{unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, e.daemon.TTL},
			option{unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DONT},
		); err != nil {
			return err
		}
		return os.NewSyscallError("connect", unix.Connect(fd, e.sockaddr(port)))
	}
	if !e.source.IsValid() {
		return unix.EADDRNOTAVAIL
	}
	mreq := unix.IPMreqn{Ifindex: int32(e.index)}
	if err := unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, &mreq); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	if err := setAll(fd,
		option{unix.IPPROTO_IP, unix.IP_MULTICAST_LOOP, 0},
		option{unix.IPPROTO_IP, unix.IP_MULTICAST_TTL, e.daemon.TTL},
		option{unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT},
	); err != nil {
		return err
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: e.source.As4()}); err != nil {
		return os.NewSyscallError("bind", err)
	}
	return os.NewSyscallError("connect", unix.Connect(fd, e.sockaddr(port)))
}

// configureBackup makes a socket receive what is sent to the group, and nothing
// else, though others may use the port.
func (e *syncEnd) configureBackup(fd int, port uint16) error {
	e.buffer(fd, unix.SO_RCVBUF)
	if err := setAll(fd, option{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1}); err != nil {
		return err
	}
	if err := unix.Bind(fd, e.sockaddr(port)); err != nil {
		return os.NewSyscallError("bind", err)
	}
	if e.daemon.Group.Is6() {
		mreq := unix.IPv6Mreq{Multiaddr: e.daemon.Group.As16(), Interface: uint32(e.index)}
		return os.NewSyscallError("setsockopt", unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, &mreq))
	}
	mreq := unix.IPMreqn{Multiaddr: e.daemon.Group.As4(), Ifindex: int32(e.index)}
	return os.NewSyscallError("setsockopt", unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, &mreq))
}

// buffer sets a socket's buffer to sync_sock_size, within the system's limits.
func (e *syncEnd) buffer(fd, name int) {
	if e.opts.Buffer > 0 {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, name, e.opts.Buffer)
	}
}

func (e *syncEnd) sockaddr(port uint16) unix.Sockaddr {
	if e.daemon.Group.Is6() {
		return &unix.SockaddrInet6{Port: int(port), Addr: e.daemon.Group.As16(), ZoneId: uint32(e.index)}
	}
	return &unix.SockaddrInet4{Port: int(port), Addr: e.daemon.Group.As4()}
}
