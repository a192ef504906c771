package path

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/ipvs"
	"usvs/netsim/tcp"
	"usvs/wire"
)

// wireTo joins a Prober with the TCP of a server that has the virtual address.
type wireTo struct {
	t      *testing.T
	now    clock.Instant
	p      *Prober
	server *tcp.Stack
	to     []string // the real servers that packets were sent to
	in     [][]byte // segments for the server
	back   [][]byte // packets for the prober
}

var (
	dip  = netip.MustParseAddr("10.0.0.1")
	vip  = netip.MustParseAddrPort("10.0.0.100:80")
	vip6 = netip.MustParseAddrPort("[2001:db8::100]:80")
	rip  = ipvs.NewRealServer(ipvs.ServerID{Addr: netip.MustParseAddr("10.0.0.11"), Port: 80}, nil, ipvs.ServerSpec{Method: ipvs.DirectRoute})
)

func newWire(t *testing.T) *wireTo {
	w := &wireTo{t: t, now: 1 << 40}
	w.p = New(Config{ISN: func() uint32 { return 7 }, Send: func(_ clock.Instant, packet []byte, rs *ipvs.RealServer) {
		var pk wire.Packet
		require.Equal(t, wire.None, pk.Parse(packet, wire.IP))
		require.EqualValues(t, 64, pk.TTL)
		w.to = append(w.to, rs.ID.String())
		w.in = append(w.in, append([]byte(nil), packet...))
	}})
	w.server = tcp.New(tcp.Config{ISN: func() uint32 { return 9 }, Output: func(_ clock.Instant, src, dst netip.Addr, segment []byte) {
		w.back = append(w.back, append([]byte(nil), new(Prober).packet(src, dst, wire.ProtoTCP, segment)...))
	}})
	return w
}

// run lets packets pass until there are no more.
func (w *wireTo) run() {
	for len(w.in)+len(w.back) > 0 {
		in, back := w.in, w.back
		w.in, w.back = nil, nil
		var pk wire.Packet
		for _, b := range in {
			require.Equal(w.t, wire.None, pk.Parse(b, wire.IP))
			w.server.Input(w.now, pk.Src, pk.Dst, pk.Transport())
		}
		for _, b := range back {
			require.Equal(w.t, wire.None, pk.Parse(b, wire.IP))
			if w.p.Takes(&pk) {
				w.p.Input(w.now, &pk)
			}
		}
	}
}

func TestDial(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		w := newWire(t)
		from, to := dip, vip
		if v6 {
			from, to = netip.MustParseAddr("2001:db8::1"), vip6
		}
		_, err := w.server.Listen(to, func(clock.Instant, *tcp.Conn) tcp.Events { return tcp.Events{} })
		require.NoError(t, err)
		connected := 0
		c, err := w.p.Dial(w.now, from, to, rip, tcp.Events{Connected: func(clock.Instant, *tcp.Conn) { connected++ }})
		require.NoError(t, err)
		w.run()
		require.Equal(t, 1, connected)
		require.Equal(t, []string{"10.0.0.11:80", "10.0.0.11:80"}, w.to)
		require.EqualValues(t, FirstPort, c.LocalAddr().Port())
		c.Abort(w.now)
		w.run()
		require.Zero(t, w.server.Len(), "the server hears of the end")
	}
}

func TestRefused(t *testing.T) {
	w := newWire(t)
	var failed error
	_, err := w.p.Dial(w.now, dip, vip, rip, tcp.Events{Closed: func(_ clock.Instant, _ *tcp.Conn, err error) { failed = err }})
	require.NoError(t, err)
	w.run()
	require.ErrorIs(t, failed, tcp.ErrRefused)
	_, err = w.p.Dial(w.now, netip.MustParseAddr("::1"), vip, rip, tcp.Events{})
	require.ErrorIs(t, err, tcp.ErrUnreachable)
}

// TestSilence: without answers segments are repeated, by time.
func TestSilence(t *testing.T) {
	w := newWire(t)
	c, err := w.p.Dial(w.now, dip, vip, rip, tcp.Events{})
	require.NoError(t, err)
	require.Len(t, w.in, 1)
	w.now = w.p.Deadline()
	require.NotEqual(t, clock.Never, w.now)
	require.Greater(t, w.p.Tick(w.now), w.now)
	require.Len(t, w.in, 2)
	c.Abort(w.now)
	require.Equal(t, clock.Never, w.p.Deadline())
}

func TestPortsAreGivenBack(t *testing.T) {
	w := newWire(t)
	var open []*tcp.Conn
	for range LastPort - FirstPort + 1 {
		c, err := w.p.Dial(w.now, dip, vip, rip, tcp.Events{})
		require.NoError(t, err)
		open = append(open, c)
	}
	_, err := w.p.Dial(w.now, dip, vip, rip, tcp.Events{})
	require.ErrorIs(t, err, ErrNoPorts)
	_, err = w.p.Exchange(w.now, dip, vip, rip, nil, nil)
	require.ErrorIs(t, err, ErrNoPorts)
	open[5].Abort(w.now)
	c, err := w.p.Dial(w.now, dip, vip, rip, tcp.Events{})
	require.NoError(t, err)
	require.EqualValues(t, FirstPort+5, c.LocalAddr().Port())
	require.Len(t, w.p.slots, LastPort-FirstPort+1)
}

func TestExchange(t *testing.T) {
	w := newWire(t)
	var got []string
	x, err := w.p.Exchange(w.now, dip, vip, rip, []byte("question"), func(_ clock.Instant, b []byte) { got = append(got, string(b)) })
	require.NoError(t, err)
	var pk wire.Packet
	require.Equal(t, wire.None, pk.Parse(w.in[0], wire.IP))
	require.True(t, intact(&pk, pk.Transport()))
	require.Equal(t, "question", string(pk.Transport()[wire.UDPLen:]))
	local := netip.AddrPortFrom(pk.Src, pk.SrcPort)

	deliver := func(from, to netip.AddrPort, spoil int) {
		b := append([]byte(nil), new(Prober).datagram(from, to, []byte("answer"))...)
		if spoil > 0 {
			b[spoil] ^= 0xff
		}
		require.Equal(t, wire.None, pk.Parse(b, wire.IP))
		if w.p.Takes(&pk) {
			w.p.Input(w.now, &pk)
		}
	}
	deliver(vip, local, 0)
	require.Equal(t, []string{"answer"}, got)
	for _, from := range []string{"10.0.0.100:81", "10.0.0.11:80"} {
		deliver(netip.MustParseAddrPort(from), local, 0)
	}
	deliver(vip, netip.AddrPortFrom(dip, 60999), 0)
	deliver(vip, netip.AddrPortFrom(dip, LastPort), 0)
	deliver(vip, local, wire.IPv4Len+wire.UDPLen)
	require.Len(t, got, 1, "nobody else's packets, and none that is damaged")
	x.Close()
	deliver(vip, local, 0)
	require.Len(t, got, 1)
}

func FuzzInput(f *testing.F) {
	f.Add(new(Prober).datagram(vip, netip.AddrPortFrom(dip, FirstPort), []byte("x")))
	f.Add(new(Prober).packet(vip.Addr(), dip, wire.ProtoTCP, make([]byte, wire.TCPLen)))
	f.Fuzz(func(t *testing.T, b []byte) {
		p := New(Config{ISN: func() uint32 { return 1 }, Send: func(clock.Instant, []byte, *ipvs.RealServer) {}})
		_, err := p.Exchange(1, dip, vip, rip, nil, func(clock.Instant, []byte) {})
		require.NoError(t, err)
		_, err = p.Dial(1, dip, vip, rip, tcp.Events{})
		require.NoError(t, err)
		var pk wire.Packet
		if pk.Parse(b, wire.IP) != wire.None || pk.Version == 0 {
			return
		}
		if p.Takes(&pk) {
			p.Input(2, &pk)
		}
		p.Tick(3)
	})
}
