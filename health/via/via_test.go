package via

import (
	"context"
	"errors"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/arp"
	"usvs/clock"
	"usvs/conntrack"
	"usvs/director"
	"usvs/forward"
	"usvs/health"
	"usvs/health/probe"
	"usvs/ipvs"
	"usvs/localstack"
	"usvs/netsim/tcp"
	"usvs/route"
	"usvs/wire"
)

var (
	dip  = netip.MustParseAddr("10.0.0.1")
	vip  = netip.MustParseAddr("10.0.0.100")
	rip  = netip.MustParseAddr("10.0.0.11")
	mac  = wire.MAC{2, 0, 0, 0, 0, 1}
	rmac = wire.MAC{2, 0, 0, 0, 0, 2}
)

// lab joins a Dialer with the TCP of a server, by a director. Frames are handed
// over by a goroutine, as by a network.
type lab struct {
	t      *testing.T
	d      *Dialer
	server *tcp.Stack
	wires  chan []byte
	mute   bool // the server does not answer
}

func newLab(t *testing.T) *lab {
	l := &lab{t: t, wires: make(chan []byte, 100)}
	now := clock.NewSystem()
	dir := director.New(director.Config{
		Table:     conntrack.New(conntrack.Config{Servers: new(ipvs.Registry)}),
		Fragments: forward.NewReassembler(forward.Limits{}, 1), Answers: localstack.New(localstack.Options{}),
	})
	routes := route.New(route.Config{
		Interfaces: []route.Interface{{Name: "eth0", MAC: mac, MTU: 1500, Up: true,
			Addrs: []netip.Prefix{netip.MustParsePrefix("10.0.0.100/32"), netip.MustParsePrefix("10.0.0.1/24")}}},
		Routes: []route.Route{{Prefix: netip.MustParsePrefix("10.0.0.0/24"), Kind: route.Unicast, Src: dip}},
	})
	dir.Publish(now.Now(), (&director.Snapshot{Sysctls: ipvs.DefaultSysctls(), Owned: director.AddrsOf(vip), Routes: routes}).Seal())
	l.d = New(Config{Clock: now, Director: dir, Send: func(iface string, frame []byte) error {
		require.Equal(t, "eth0", iface)
		l.wires <- append([]byte(nil), frame...)
		return nil
	}})
	var sink nobody
	dir.Neighbours.SetStatic(now.Now(), 0, rip, rmac, sink)
	l.server = tcp.New(tcp.Config{ISN: func() uint32 { return 5 }, Output: func(_ clock.Instant, src, dst netip.Addr, segment []byte) {
		l.d.Receive(packet(src, dst, segment))
	}})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for b := range l.wires {
			l.arrive(b)
		}
	}()
	t.Cleanup(func() { l.d.Close(); close(l.wires); <-done })
	return l
}

// nobody sends nothing: no frame waits for the server's MAC.
type nobody struct{}

func (nobody) New() *wire.Frame        { return nil }
func (nobody) Send(*wire.Frame)        {}
func (nobody) Unreachable(*wire.Frame) {}
func (nobody) Conflict(arp.Conflict)   {}

// packet is an IPv4 packet with a segment.
func packet(src, dst netip.Addr, segment []byte) []byte {
	b := append(make([]byte, wire.IPv4Len), segment...)
	ip := wire.IPv4(b)
	ip[0] = 0x45
	ip.SetTotalLen(len(b))
	ip.SetTTL(64)
	ip.SetProto(wire.ProtoTCP)
	ip.SetSrc(src)
	ip.SetDst(dst)
	ip.UpdateChecksum()
	return b
}

// arrive is the server's side of the wire.
func (l *lab) arrive(frame []byte) {
	var p wire.Packet
	if l.mute || p.Parse(frame, wire.Ethernet) != wire.None || p.Version == 0 {
		return
	}
	if p.Proto == wire.ProtoUDP {
		answer := append([]byte(nil), frame[wire.EthernetLen:]...)
		ip, udp := wire.IPv4(answer), answer[wire.IPv4Len:]
		ip.SetSrc(p.Dst)
		ip.SetDst(p.Src)
		ip.UpdateChecksum()
		udp[0], udp[1], udp[2], udp[3] = udp[2], udp[3], udp[0], udp[1] // the sum stays right
		l.d.Receive(answer)
		return
	}
	l.server.Input(clock.NewSystem().Now(), p.Src, p.Dst, append([]byte(nil), p.Transport()...))
}

// listen makes the server say a greeting, then what it hears.
func (l *lab) listen() {
	_, err := l.server.Listen(netip.AddrPortFrom(vip, 80), func(now clock.Instant, c *tcp.Conn) tcp.Events {
		_, _ = c.Write(now, []byte("hello "))
		return tcp.Events{Readable: func(now clock.Instant, c *tcp.Conn) {
			b := make([]byte, 100)
			if n, err := c.Read(now, b); err == nil {
				_, _ = c.Write(now, b[:n])
				return
			}
			c.Close(now)
		}}
	})
	require.NoError(l.t, err)
}

func byVIP(method ipvs.ForwardMethod, timeout time.Duration) *health.Probe {
	return &health.Probe{Timeout: timeout, Path: health.ViaVIP, Via: health.Via{
		Service: ipvs.ServiceID{Family: ipvs.IPv4, Protocol: ipvs.TCP, Addr: vip, Port: 80},
		Server:  ipvs.ServerID{Addr: rip, Port: 80}, Spec: ipvs.ServerSpec{Method: method, Weight: 1},
	}}
}

func TestDialAndTalk(t *testing.T) {
	l := newLab(t)
	l.listen()
	c, err := l.d.Dial(context.Background(), "tcp", byVIP(ipvs.DirectRoute, 10*time.Second))
	require.NoError(t, err)
	require.Equal(t, "10.0.0.100:80", c.RemoteAddr().String())
	require.Contains(t, c.LocalAddr().String(), "10.0.0.1:61", "not from the VIP, which the interface has, too")
	_, err = c.Write([]byte("you"))
	require.NoError(t, err)
	var got []byte
	for b := make([]byte, 4); string(got) != "hello you"; {
		n, err := c.Read(b)
		require.NoError(t, err)
		got = append(got, b[:n]...)
	}
	require.NoError(t, c.SetReadDeadline(time.Now().Add(-time.Second)))
	_, err = c.Read(make([]byte, 1))
	var timeout interface{ Timeout() bool }
	require.ErrorAs(t, err, &timeout)
	require.True(t, timeout.Timeout())
	require.NoError(t, c.Close())
	_, err = c.Write([]byte("x"))
	require.Error(t, err)
	require.Error(t, c.Close())
}

func TestRefusedAndSilent(t *testing.T) {
	l := newLab(t)
	_, err := l.d.Dial(context.Background(), "tcp", byVIP(ipvs.DirectRoute, 10*time.Second))
	require.ErrorIs(t, err, syscall.ECONNREFUSED)

	silent := newLab(t)
	silent.mute = true
	_, err = silent.d.Dial(context.Background(), "tcp", byVIP(ipvs.Tunnel, time.Millisecond))
	var timeout interface{ Timeout() bool }
	require.ErrorAs(t, err, &timeout)
	require.True(t, timeout.Timeout())
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = silent.d.Dial(ctx, "tcp", byVIP(ipvs.DirectRoute, time.Hour))
	require.ErrorIs(t, err, context.Canceled)
	silent.d.mu.Lock()
	require.Equal(t, clock.Never, silent.d.prober.Deadline(), "attempts that were given up leave nothing")
	silent.d.mu.Unlock()
}

// TestACloseWakesTheReader: what is cancelled does not wait.
func TestACloseWakesTheReader(t *testing.T) {
	l := newLab(t)
	l.listen()
	c, err := l.d.Dial(context.Background(), "tcp", byVIP(ipvs.DirectRoute, 10*time.Second))
	require.NoError(t, err)
	b := make([]byte, 100)
	_, err = c.Read(b)
	require.NoError(t, err)
	read := make(chan error)
	go func() { _, err := c.Read(b); read <- err }()
	require.NoError(t, c.Close())
	require.Error(t, <-read)
}

func TestDatagrams(t *testing.T) {
	l := newLab(t)
	c, err := l.d.Dial(context.Background(), "udp", byVIP(ipvs.DirectRoute, time.Second))
	require.NoError(t, err)
	_, err = c.Write([]byte("echo"))
	require.NoError(t, err)
	b := make([]byte, 100)
	n, err := c.Read(b)
	require.NoError(t, err)
	require.Equal(t, "echo", string(b[:n]))
	require.NoError(t, c.Close())
}

func TestNoSource(t *testing.T) {
	l := newLab(t)
	p := byVIP(ipvs.Tunnel, time.Second)
	p.Via.Service.Addr = netip.MustParseAddr("2001:db8::100")
	for _, network := range []string{"tcp", "udp"} {
		_, err := l.d.Dial(context.Background(), network, p)
		require.True(t, errors.Is(err, probe.ErrLocal), "the server cannot help it")
	}
	l.d.Receive(nil)
	l.d.Receive(packet(vip, dip, make([]byte, wire.TCPLen)))
}
