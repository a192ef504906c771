package tcp_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	gtcp "gvisor.dev/gvisor/pkg/tcpip/transport/tcp"

	"usvs/clock"
	"usvs/netsim/tcp"
	"usvs/wire"
)

// world is our stack and gVisor's on either side of a bad line, in real time:
// gVisor's goroutines cannot run in virtual time.
type world struct {
	t            *testing.T
	ours, theirs netip.Addr
	g            *stack.Stack
	ep           *channel.Endpoint
	toOurs       chan []byte
	posts        chan func(now clock.Instant)
	s            *tcp.Stack
	faults       *rand.Rand
	faultsMu     sync.Mutex
	loss         float64
}

const nicID = 1

func newWorld(t *testing.T, v6 bool, loss float64) *world {
	w := &world{
		t: t, ours: netip.MustParseAddr("10.0.0.1"), theirs: netip.MustParseAddr("10.0.0.2"), loss: loss,
		toOurs: make(chan []byte, 4096), posts: make(chan func(clock.Instant)), faults: rand.New(rand.NewPCG(1, 1)),
	}
	if v6 {
		w.ours, w.theirs = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	}
	w.startGvisor(v6)
	isn := rand.New(rand.NewPCG(2, 2))
	w.s = tcp.New(tcp.Config{Output: w.output, ISN: isn.Uint32, MinRTO: 30 * time.Millisecond})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { w.runOurs(ctx) })
	wg.Go(func() { w.readGvisor(ctx) })
	t.Cleanup(func() {
		cancel()
		w.ep.Close()
		w.g.Close()
		wg.Wait()
		w.g.Wait()
	})
	return w
}

func (w *world) startGvisor(v6 bool) {
	w.g = stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{gtcp.NewProtocol},
	})
	w.ep = channel.New(4096, 1500, "")
	require.Nil(w.t, w.g.CreateNIC(nicID, w.ep))
	proto, everything := tcpip.NetworkProtocolNumber(ipv4.ProtocolNumber), header.IPv4EmptySubnet
	if v6 {
		proto, everything = ipv6.ProtocolNumber, header.IPv6EmptySubnet
	}
	addr := tcpip.ProtocolAddress{Protocol: proto, AddressWithPrefix: tcpip.AddrFromSlice(w.theirs.AsSlice()).WithPrefix()}
	require.Nil(w.t, w.g.AddProtocolAddress(nicID, addr, stack.AddressProperties{}))
	w.g.SetRouteTable([]tcpip.Route{{Destination: everything, NIC: nicID}})
}

// fate is how many copies arrive, and how late.
func (w *world) fate() (copies int, late time.Duration) {
	w.faultsMu.Lock()
	defer w.faultsMu.Unlock()
	switch x := w.faults.Float64(); {
	case x < w.loss:
		return 0, 0
	case x < w.loss+0.03:
		return 2, 0
	case x < w.loss+0.08:
		return 1, 3 * time.Millisecond
	}
	return 1, 0
}

// deliver calls f as often as the line delivers the packet.
func (w *world) deliver(f func()) {
	copies, late := w.fate()
	for range copies {
		if late > 0 {
			time.AfterFunc(late, f)
			continue
		}
		f()
	}
}

// output is our stack's way to gVisor.
func (w *world) output(_ clock.Instant, src, dst netip.Addr, segment []byte) {
	packet, proto := ipPacket(src, dst, segment)
	w.deliver(func() {
		pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(packet)})
		w.ep.InjectInbound(proto, pkt)
		pkt.DecRef()
	})
}

func ipPacket(src, dst netip.Addr, segment []byte) ([]byte, tcpip.NetworkProtocolNumber) {
	if src.Is6() {
		b := make([]byte, wire.IPv6Len, wire.IPv6Len+len(segment))
		h := wire.IPv6(b)
		h.SetFlow(0, 0)
		h.SetPayloadLen(len(segment))
		h.SetNextHeader(wire.ProtoTCP)
		h.SetHopLimit(64)
		h.SetSrc(src)
		h.SetDst(dst)
		return append(b, segment...), ipv6.ProtocolNumber
	}
	b := make([]byte, wire.IPv4Len, wire.IPv4Len+len(segment))
	h := wire.IPv4(b)
	b[0] = 0x45
	h.SetTotalLen(wire.IPv4Len + len(segment))
	h.SetTTL(64)
	h.SetProto(wire.ProtoTCP)
	h.SetSrc(src)
	h.SetDst(dst)
	h.UpdateChecksum()
	return append(b, segment...), ipv4.ProtocolNumber
}

// readGvisor is gVisor's way to our stack.
func (w *world) readGvisor(ctx context.Context) {
	for {
		pkt := w.ep.ReadContext(ctx)
		if pkt == nil {
			return
		}
		view := pkt.ToView()
		packet := append([]byte(nil), view.AsSlice()...)
		view.Release()
		pkt.DecRef()
		w.deliver(func() {
			select {
			case w.toOurs <- packet:
			case <-ctx.Done():
			}
		})
	}
}

// runOurs owns our stack.
func (w *world) runOurs(ctx context.Context) {
	system := clock.NewSystem()
	timer := time.NewTimer(0)
	for {
		now := system.Now()
		if d := w.s.Tick(now); d != clock.Never {
			timer.Reset(d.Sub(now))
		}
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case f := <-w.posts:
			f(system.Now())
		case packet := <-w.toOurs:
			var p wire.Packet
			if p.Parse(packet, wire.IP) == wire.None && p.Proto == wire.ProtoTCP {
				w.s.Input(system.Now(), p.Src, p.Dst, p.Transport())
			}
		}
	}
}

// endpoint is an application on our stack: it sends what it has, ends, and
// reads until the peer ends.
type endpoint struct {
	send []byte
	got  []byte
	done chan error
}

func (e *endpoint) events() tcp.Events {
	return tcp.Events{
		Connected: e.pump, Writable: e.pump, Readable: e.read,
		Closed: func(_ clock.Instant, _ *tcp.Conn, err error) { e.done <- err },
	}
}

func (e *endpoint) pump(now clock.Instant, c *tcp.Conn) {
	n, _ := c.Write(now, e.send)
	if e.send = e.send[n:]; len(e.send) == 0 {
		c.CloseWrite(now)
	}
}

func (e *endpoint) read(now clock.Instant, c *tcp.Conn) {
	var b [8192]byte
	for {
		n, err := c.Read(now, b[:])
		e.got = append(e.got, b[:n]...)
		if err != nil {
			return
		}
	}
}

// exchange is the application on gVisor's side.
func exchange(c net.Conn, send []byte) (got []byte, err error) {
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, werr := c.Write(send); werr == nil {
			_ = c.(*gonet.TCPConn).CloseWrite()
		}
	})
	got, err = io.ReadAll(c)
	wg.Wait()
	return got, err
}

func text(seed uint64, n int) []byte {
	r, b := rand.New(rand.NewPCG(seed, 5)), make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// Our TCP and gVisor's understand each other, whoever begins, under loss.
func TestInteroperatesWithGvisor(t *testing.T) {
	for _, tc := range []struct {
		v6, weDial bool
		loss       float64
		up, down   int
	}{
		{false, true, 0, 1 << 20, 1 << 20},
		{false, true, 0.05, 150_000, 150_000},
		{false, false, 0.05, 150_000, 150_000},
		{true, true, 0.05, 60_000, 60_000},
		{true, false, 0.1, 60_000, 0},
		{false, false, 0.1, 0, 60_000},
	} {
		t.Run(fmt.Sprintf("v6=%v,weDial=%v,loss=%v,%d,%d", tc.v6, tc.weDial, tc.loss, tc.up, tc.down), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, tc.v6, tc.loss)
			ours := &endpoint{send: text(1, tc.up), done: make(chan error, 1)}
			wantUp, wantDown := text(1, tc.up), text(2, tc.down)
			var conn net.Conn
			if tc.weDial {
				conn = w.weDial(ours)
			} else {
				conn = w.theyDial(ours)
			}
			require.NoError(t, conn.SetDeadline(time.Now().Add(60*time.Second)))
			got, err := exchange(conn, wantDown)
			require.NoError(t, err)
			require.True(t, bytes.Equal(wantUp, got), "what gVisor got")
			require.NoError(t, <-ours.done)
			require.True(t, bytes.Equal(wantDown, ours.got), "what we got")
			w.posts <- func(clock.Instant) {
				if c := w.s.Counters(); tc.loss > 0 && tc.up > 0 && c.Retransmits == 0 || c.BadChecksum+c.BadHeader > 0 {
					t.Errorf("counters: %+v", c)
				}
			}
		})
	}
}

func (w *world) full(a netip.Addr, port uint16) (tcpip.FullAddress, tcpip.NetworkProtocolNumber) {
	proto := tcpip.NetworkProtocolNumber(ipv4.ProtocolNumber)
	if a.Is6() {
		proto = ipv6.ProtocolNumber
	}
	return tcpip.FullAddress{NIC: nicID, Addr: tcpip.AddrFromSlice(a.AsSlice()), Port: port}, proto
}

func (w *world) weDial(ours *endpoint) net.Conn {
	at, proto := w.full(w.theirs, 80)
	l, err := gonet.ListenTCP(w.g, at, proto)
	require.NoError(w.t, err)
	w.posts <- func(now clock.Instant) {
		_, err := w.s.Dial(now, netip.AddrPortFrom(w.ours, 0), netip.AddrPortFrom(w.theirs, 80), ours.events())
		if err != nil {
			w.t.Error(err)
		}
	}
	conn, err := l.Accept()
	require.NoError(w.t, err)
	return conn
}

func (w *world) theyDial(ours *endpoint) net.Conn {
	w.posts <- func(clock.Instant) {
		_, err := w.s.Listen(netip.AddrPortFrom(w.ours, 80), func(now clock.Instant, c *tcp.Conn) tcp.Events {
			ours.pump(now, c)
			return ours.events()
		})
		if err != nil {
			w.t.Error(err)
		}
	}
	at, proto := w.full(w.ours, 80)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	conn, err := gonet.DialContextTCP(ctx, w.g, at, proto)
	require.NoError(w.t, err)
	return conn
}
