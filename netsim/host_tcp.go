package netsim

import (
	"errors"
	"net/netip"

	"usvs/clock"
	"usvs/netsim/tcp"
	"usvs/wire"
)

// hostTCP joins a host's IP with its TCP.
type hostTCP struct {
	h     *Host
	stack *tcp.Stack
	timer *Timer

	failures []tcpFailure // to be told when the stack is at rest
	failing  *Timer
}

// tcpFailure is what became of a segment on the way.
type tcpFailure struct {
	src, dst netip.AddrPort
	mtu      int // it was longer than this; 0: the destination is unreachable
}

// TCP is the host's TCP, for those who need more of it than DialTCP and
// ListenTCP. A host that nobody asked for it answers SYNs with a reset.
func (h *Host) TCP() *tcp.Stack {
	if t, ok := h.transports[wire.ProtoTCP].(*hostTCP); ok {
		return t.stack
	}
	t := &hostTCP{h: h}
	t.timer = h.newTimer(func() { t.timer.Set(t.stack.Tick(h.net.now)) })
	t.failing = h.newTimer(t.tellFailures)
	t.stack = tcp.New(tcp.Config{
		Output: t.output,
		Wake:   func(at clock.Instant) { t.timer.Set(at) },
		ISN:    h.net.Rand(h.inEra("tcp of " + h.name)).Uint32,
		MTU:    h.PathMTU,
	})
	h.transports[wire.ProtoTCP] = t
	return t.stack
}

// DialTCP opens a connection. What local leaves zero, address or port, the host
// picks. The events tell how it went.
func (h *Host) DialTCP(local, remote netip.AddrPort, ev tcp.Events) (*tcp.Conn, error) {
	remote = netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())
	if !local.Addr().IsValid() || local.Addr().IsUnspecified() {
		local = netip.AddrPortFrom(h.Source(remote.Addr()), local.Port())
	}
	if !local.Addr().IsValid() {
		return nil, tcp.ErrUnreachable
	}
	return h.TCP().Dial(h.net.now, local, remote, ev)
}

// ListenTCP accepts connections to addr; a zero or unspecified address stands
// for all of the host's, VIPs on lo included.
func (h *Host) ListenTCP(addr netip.AddrPort, accept func(now clock.Instant, c *tcp.Conn) tcp.Events) (*tcp.Listener, error) {
	return h.TCP().Listen(addr, accept)
}

// input takes a segment. Resets for segments nobody wants are the stack's.
func (t *hostTCP) input(pk *wire.Packet) bool {
	t.stack.Input(t.h.net.now, pk.Src, pk.Dst, pk.Transport())
	return true
}

// output sends a segment. TCP discovers the path's MTU, so DF is set (RFC 1191).
func (t *hostTCP) output(_ clock.Instant, src, dst netip.Addr, segment []byte) {
	err := t.h.SendIP(src, dst, wire.ProtoTCP, segment, PacketOptions{DontFragment: true})
	if err == nil {
		return
	}
	h := wire.TCP(segment)
	f := tcpFailure{src: netip.AddrPortFrom(src, h.SrcPort()), dst: netip.AddrPortFrom(dst, h.DstPort())}
	if tooLong := (ErrTooLong{}); errors.As(err, &tooLong) {
		f.mtu = tooLong.MTU
	}
	t.fail(f)
}

// failed takes an ICMP error about a segment.
func (t *hostTCP) failed(e *ICMPError) {
	f := tcpFailure{src: e.Src, dst: e.Dst}
	unreachable := uint8(wire.ICMPUnreachable)
	if e.Dst.Addr().Is6() {
		unreachable = wire.ICMPv6Unreachable
	}
	switch {
	case e.TooBig():
		f.mtu = t.h.PathMTU(e.Dst.Addr())
	case e.Type != unreachable:
		return
	}
	t.fail(f)
}

// fail keeps a failure until the stack is at rest: it may be sending just now.
func (t *hostTCP) fail(f tcpFailure) {
	t.failures = append(t.failures, f)
	t.failing.Set(t.h.net.now)
}

func (t *hostTCP) tellFailures() {
	now := t.h.net.now
	for len(t.failures) > 0 {
		f := t.failures[0]
		t.failures = t.failures[1:]
		if f.mtu > 0 {
			t.stack.PathMTU(now, f.src, f.dst, f.mtu)
			continue
		}
		t.stack.Unreachable(now, f.src, f.dst)
	}
}
