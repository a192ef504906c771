// Package path makes connections and sends datagrams to one real server of a
// virtual service by the way that clients' packets take: to the virtual
// address, forwarded by the service's method to that server. A check that goes
// this way finds a server that answers on its own address but lacks the virtual
// one, and a tunnel that does not work.
//
// The host's own stack cannot do that: while the director is master the virtual
// address is its own. So the packets are made here, from an address of the host
// and a port that the host does not use, and whoever owns a Prober sends them
// (director.Worker.SendTo) and hands it the answers, which the host's stack must
// not see: Takes tells which they are.
//
// A Prober is pure and deterministic, and not safe for concurrent use. Every
// port is given back when its connection or exchange has ended.
package path

import (
	"errors"
	"net/netip"
	"time"

	"usvs/clock"
	"usvs/ipvs"
	"usvs/netsim/tcp"
	"usvs/wire"
)

// FirstPort and LastPort are the local ports of probes: none that Linux gives
// to sockets that do not ask for one (ip_local_port_range).
const (
	FirstPort = 61000
	LastPort  = 65535
)

// ErrNoPorts says that every port is taken.
var ErrNoPorts = errors.New("no free local port")

// timeWait is short: ports are few, and another connection's packets cannot be
// taken for this one's, whose initial sequence number is another.
const timeWait = time.Second

// mtu leaves room for the header of a tunnel.
const mtu = 1400

// Config is what a Prober is made from.
type Config struct {
	// ISN draws initial sequence numbers.
	ISN func() uint32
	// Send sends an IP packet to a real server. It must not call the Prober.
	Send func(now clock.Instant, packet []byte, rs *ipvs.RealServer)
	// Wake, if not nil, tells that Tick wants to be called earlier than it said.
	// It must not call the Prober.
	Wake func(at clock.Instant)
}

// Prober holds the probes under way.
type Prober struct {
	cfg   Config
	stack *tcp.Stack
	slots map[uint16]*slot // by local port
	next  uint16
	ipID  uint16
	buf   []byte
}

// slot is a local port in use.
type slot struct {
	rs     *ipvs.RealServer
	local  netip.AddrPort
	remote netip.AddrPort
	conn   *tcp.Conn // nil: of an Exchange
	got    func(now clock.Instant, payload []byte)
	done   bool
}

func (s *slot) free() bool { return s.done || s.conn != nil && s.conn.State() == tcp.Closed }

// New returns a Prober without probes.
func New(cfg Config) *Prober {
	p := &Prober{cfg: cfg, slots: map[uint16]*slot{}, next: FirstPort}
	p.stack = tcp.New(tcp.Config{
		Output: p.segment, ISN: cfg.ISN, Wake: cfg.Wake, TimeWait: timeWait,
		MTU: func(netip.Addr) int { return mtu },
	})
	return p
}

// Dial opens a connection from src to vip on the real server rs. Its events
// tell how it went.
func (p *Prober) Dial(now clock.Instant, src netip.Addr, vip netip.AddrPort, rs *ipvs.RealServer, ev tcp.Events) (*tcp.Conn, error) {
	s, err := p.take(src, vip, rs)
	if err != nil {
		return nil, err
	}
	if s.conn, err = p.stack.Dial(now, s.local, vip, ev); err != nil {
		s.done = true
	}
	return s.conn, err
}

// Exchange is a datagram that was sent, and what is answered.
type Exchange struct{ s *slot }

// Close ends an exchange: later answers are not heard.
func (x *Exchange) Close() { x.s.done = true }

// Exchange sends a UDP datagram from src to vip on the real server rs, and
// makes got hear the answers until it is closed.
func (p *Prober) Exchange(now clock.Instant, src netip.Addr, vip netip.AddrPort, rs *ipvs.RealServer, payload []byte, got func(now clock.Instant, payload []byte)) (*Exchange, error) {
	s, err := p.take(src, vip, rs)
	if err != nil {
		return nil, err
	}
	s.got = got
	p.cfg.Send(now, p.datagram(s.local, vip, payload), rs)
	return &Exchange{s}, nil
}

// take finds a free port for a probe.
func (p *Prober) take(src netip.Addr, vip netip.AddrPort, rs *ipvs.RealServer) (*slot, error) {
	for range LastPort - FirstPort + 1 {
		port := p.next
		if p.next++; p.next < FirstPort { // behind the last one comes 0
			p.next = FirstPort
		}
		if old := p.slots[port]; old == nil || old.free() {
			s := &slot{rs: rs, local: netip.AddrPortFrom(src, port), remote: vip}
			p.slots[port] = s
			return s, nil
		}
	}
	return nil, ErrNoPorts
}

// Takes reports whether a packet that came to an address of this host is an
// answer to a probe.
func (p *Prober) Takes(pk *wire.Packet) bool {
	if !pk.Full || !pk.Ports || pk.Fragment || pk.DstPort < FirstPort || pk.Proto != wire.ProtoTCP && pk.Proto != wire.ProtoUDP {
		return false
	}
	s := p.slots[pk.DstPort]
	return s != nil && s.local.Addr() == pk.Dst && s.remote == netip.AddrPortFrom(pk.Src, pk.SrcPort)
}

// Input takes such a packet.
func (p *Prober) Input(now clock.Instant, pk *wire.Packet) {
	t := pk.Transport()
	if pk.Proto == wire.ProtoTCP {
		p.stack.Input(now, pk.Src, pk.Dst, t)
		return
	}
	s := p.slots[pk.DstPort]
	if s == nil || s.got == nil || s.done || !intact(pk, t) {
		return
	}
	s.got(now, t[wire.UDPLen:wire.UDP(t).Length()])
}

// intact checks a datagram's length and checksum.
func intact(pk *wire.Packet, t []byte) bool {
	if len(t) < wire.UDPLen {
		return false
	}
	n := wire.UDP(t).Length()
	if n < wire.UDPLen || n > len(t) {
		return false
	}
	if wire.UDP(t).Checksum() == 0 {
		return pk.Version == 4
	}
	return wire.Fold(wire.Sum(t[:n], wire.PseudoSum(pk.Src, pk.Dst, pk.Proto, n))) == 0xffff
}

// Tick does what is due and returns when it wants to be called again.
func (p *Prober) Tick(now clock.Instant) clock.Instant { return p.stack.Tick(now) }

// Deadline is when Tick wants to be called; clock.Never if nothing waits.
func (p *Prober) Deadline() clock.Instant { return p.stack.Deadline() }

// segment is the TCP stack's output.
func (p *Prober) segment(now clock.Instant, src, dst netip.Addr, b []byte) {
	s := p.slots[wire.TCP(b).SrcPort()]
	if s == nil || s.remote.Addr() != dst || s.local.Addr() != src {
		return // about a probe that was forgotten
	}
	p.cfg.Send(now, p.packet(src, dst, wire.ProtoTCP, b), s.rs)
}
