package tcp

import (
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/wire"
)

func connected(t *testing.T, change func(cfg *Config)) (*pipe, *app, *app) {
	t.Helper()
	p, client, server := newPipe(change), &app{}, &app{}
	p.open(client, server)
	require.True(t, p.runUntil(time.Minute, func() bool { return client.connected && server.connected }))
	return p, client, server
}

func TestHandshakeDataAndTeardown(t *testing.T) {
	p := newPipe(nil)
	client := &app{toSend: []byte("ping"), closeEnd: true}
	server := &app{toSend: []byte("hello"), echoEOF: true}
	p.open(client, server)
	require.True(t, p.runUntil(time.Minute, func() bool { return client.closed+server.closed == 2 }))
	require.Equal(t, "ping", string(server.got))
	require.Equal(t, "hello", string(client.got))
	require.NoError(t, client.err)
	require.NoError(t, server.err)
	require.Equal(t, TimeWait, client.conn.State())
	require.Equal(t, Closed, server.conn.State())
	p.run(2 * time.Minute)
	require.Zero(t, p.a.Len()+p.b.Len(), "TIME-WAIT ends")
	require.Equal(t, clock.Never, p.a.Deadline())
	require.Empty(t, p.a.timers)
	require.Zero(t, p.a.Counters().Retransmits+p.b.Counters().Retransmits)
}

func TestSegmentsOfAnExchange(t *testing.T) {
	p := newPipe(nil)
	p.open(&app{toSend: []byte("ping"), closeEnd: true}, &app{echoEOF: true})
	p.run(5 * time.Second)
	require.Equal(t, []string{
		"1s 10.0.0.1:32768>10.0.0.2:80 S seq=4294963200 ack=0 len=0 win=65535",
		"1.01s 10.0.0.2:80>10.0.0.1:32768 SA seq=4294934528 ack=4294963201 len=0 win=65535",
		"1.02s 10.0.0.1:32768>10.0.0.2:80 PA seq=4294963201 ack=4294934529 len=4 win=65535",
		"1.02s 10.0.0.1:32768>10.0.0.2:80 FA seq=4294963205 ack=4294934529 len=0 win=65535",
		"1.03s 10.0.0.2:80>10.0.0.1:32768 A seq=4294934529 ack=4294963205 len=0 win=65531",
		"1.03s 10.0.0.2:80>10.0.0.1:32768 FA seq=4294934529 ack=4294963206 len=0 win=65530",
		"1.04s 10.0.0.1:32768>10.0.0.2:80 A seq=4294963206 ack=4294934530 len=0 win=65534",
	}, p.trace)
}

func TestRefused(t *testing.T) {
	p, client := newPipe(nil), &app{}
	_, err := p.a.Dial(p.now, netip.AddrPortFrom(addrA, 0), serverAddr, client.events())
	require.NoError(t, err)
	p.run(time.Second)
	require.ErrorIs(t, client.err, ErrRefused)
	require.Equal(t, 1, client.closed)
	require.EqualValues(t, 1, p.b.Counters().Resets)
	require.Zero(t, p.a.Len())
}

func TestSYNTimesOut(t *testing.T) {
	p, client := newPipe(nil), &app{}
	p.fault = func(flight) []time.Duration { return nil }
	c, err := p.a.Dial(p.now, netip.AddrPortFrom(addrA, 0), serverAddr, client.events())
	require.NoError(t, err)
	p.run(10 * time.Minute)
	require.ErrorIs(t, client.err, ErrTimeout)
	require.Len(t, p.trace, 7, "one SYN and six more")
	_, err = c.Write(p.now, []byte("x"))
	require.ErrorIs(t, err, ErrTimeout)
	_, err = c.Read(p.now, make([]byte, 1))
	require.ErrorIs(t, err, ErrTimeout)
}

func TestUnreachableEndsOnlyAnOpeningConnection(t *testing.T) {
	p, client, _ := connected(t, nil)
	p.a.Unreachable(p.now, client.conn.LocalAddr(), client.conn.RemoteAddr())
	require.Equal(t, Established, client.conn.State())

	p.fault = func(flight) []time.Duration { return nil }
	second := &app{}
	c, err := p.a.Dial(p.now, netip.AddrPortFrom(addrA, 0), serverAddr, second.events())
	require.NoError(t, err)
	p.a.Unreachable(p.now, c.LocalAddr(), c.RemoteAddr())
	require.ErrorIs(t, second.err, ErrUnreachable)
}

func TestSimultaneousOpen(t *testing.T) {
	p, a, b := newPipe(nil), &app{toSend: []byte("from a")}, &app{toSend: []byte("from b")}
	atA, atB := netip.AddrPortFrom(addrA, 5000), netip.AddrPortFrom(addrB, 6000)
	_, err := p.a.Dial(p.now, atA, atB, a.events())
	require.NoError(t, err)
	_, err = p.b.Dial(p.now, atB, atA, b.events())
	require.NoError(t, err)
	p.run(10 * time.Second)
	require.True(t, a.connected && b.connected)
	require.Equal(t, "from b", string(a.got))
	require.Equal(t, "from a", string(b.got))
}

func TestSimultaneousClose(t *testing.T) {
	p, client, server := connected(t, nil)
	p.run(time.Second)
	client.conn.CloseWrite(p.now)
	server.conn.CloseWrite(p.now)
	p.runUntil(time.Second, func() bool { return client.conn.State() == Closing })
	require.Equal(t, Closing, client.conn.State())
	p.run(time.Second)
	require.Equal(t, TimeWait, client.conn.State())
	require.Equal(t, TimeWait, server.conn.State())
	require.Equal(t, 1, client.closed)
	require.Equal(t, 1, server.closed)
}

func TestHalfCloseStillReceives(t *testing.T) {
	p, client, server := connected(t, nil)
	client.conn.CloseWrite(p.now)
	p.run(time.Second)
	require.True(t, server.eof)
	require.Equal(t, CloseWait, server.conn.State())
	require.Equal(t, FinWait2, client.conn.State())
	server.toSend = randomBytes(3, 300_000)
	want := server.toSend
	server.closeEnd = true
	server.pump(p.now)
	p.run(5 * time.Minute)
	require.Equal(t, want, client.got)
	require.True(t, client.eof)
	require.Zero(t, p.a.Len()+p.b.Len())
}

func TestCloseWithUnreadDataResets(t *testing.T) {
	p, client, server := connected(t, nil)
	server.stopRead = true
	_, err := client.conn.Write(p.now, []byte("unread"))
	require.NoError(t, err)
	p.run(time.Second)
	server.conn.Close(p.now)
	p.run(time.Second)
	require.ErrorIs(t, client.err, ErrReset)
	require.Zero(t, server.closed, "no event after an abort")
	require.Zero(t, p.a.Len()+p.b.Len())
}

func TestDataAfterCloseResets(t *testing.T) {
	p, client, server := connected(t, nil)
	p.run(time.Second)
	server.conn.Close(p.now)
	_, err := client.conn.Write(p.now, []byte("too late"))
	require.NoError(t, err)
	p.run(time.Second)
	require.ErrorIs(t, client.err, ErrReset)
	_, err = server.conn.Read(p.now, make([]byte, 1))
	require.ErrorIs(t, err, ErrClosed)
}

func TestClosedConnectionLeavesFinWait2(t *testing.T) {
	p, client, server := connected(t, nil)
	p.run(time.Second)
	client.conn.Close(p.now)
	p.run(time.Second)
	require.Equal(t, FinWait2, client.conn.State())
	p.run(2 * time.Minute)
	require.Equal(t, Closed, client.conn.State())
	require.Equal(t, CloseWait, server.conn.State())
}

func TestAbort(t *testing.T) {
	p, client, server := connected(t, nil)
	client.conn.Abort(p.now)
	client.conn.Abort(p.now)
	p.run(time.Second)
	require.ErrorIs(t, server.err, ErrReset)
	_, err := client.conn.Write(p.now, nil)
	require.ErrorIs(t, err, ErrClosed)
}

func TestListenerCloseResetsTheHalfOpen(t *testing.T) {
	p, client, server := newPipe(nil), &app{}, &app{}
	l, err := p.b.Listen(netip.AddrPortFrom(netip.IPv4Unspecified(), 80), server.accept)
	require.NoError(t, err)
	_, err = p.b.Listen(netip.AddrPortFrom(netip.Addr{}, 80), server.accept)
	require.ErrorIs(t, err, ErrInUse)
	_, err = p.a.Dial(p.now, netip.AddrPortFrom(addrA, 0), serverAddr, client.events())
	require.NoError(t, err)
	p.runUntil(time.Second, func() bool { return p.b.Len() == 1 })
	l.Close(p.now)
	l.Close(p.now)
	p.run(time.Second)
	require.Zero(t, p.b.Len())
	require.ErrorIs(t, client.err, ErrReset, "the SYN-ACK was already under way")
	require.False(t, server.connected)
}

func TestBacklogIsBounded(t *testing.T) {
	p := newPipe(func(cfg *Config) { cfg.Backlog = 2 })
	_, err := p.b.Listen(serverAddr, (&app{}).accept)
	require.NoError(t, err)
	for i := range 5 {
		syn := header{src: netip.AddrPortFrom(addrA, uint16(1000+i)), dst: serverAddr, flags: wire.FlagSYN}
		p.b.Input(p.now, addrA, addrB, syn.put(nil, nil))
	}
	require.Equal(t, 2, p.b.Len())
	require.EqualValues(t, 3, p.b.Counters().Refused)
	p.fault = func(flight) []time.Duration { return nil }
	p.run(10 * time.Minute)
	require.Zero(t, p.b.Len(), "half-open connections end by themselves")
}

func TestZeroWindowIsProbed(t *testing.T) {
	p, client, server := connected(t, func(cfg *Config) { cfg.ReceiveBuffer = 4000 })
	server.stopRead = true
	want := randomBytes(1, 20_000)
	client.toSend = want
	client.pump(p.now)
	p.run(30 * time.Minute)
	require.Greater(t, p.a.Counters().Probes, uint64(20), "and it does not give up")
	require.NoError(t, client.err)
	require.Equal(t, 4000, server.conn.Buffered())

	// The window update is lost: a probe finds the window open.
	p.fault = func(flight) []time.Duration { return nil }
	server.stopRead = false
	server.read(p.now)
	p.fault = nil
	p.run(2 * time.Minute)
	require.Equal(t, want, server.got)
}

func TestSlowReaderGetsEverything(t *testing.T) {
	p, client, server := connected(t, func(cfg *Config) { cfg.ReceiveBuffer, cfg.SendBuffer = 5000, 7000 })
	server.stopRead = true
	want := randomBytes(2, 60_000)
	client.toSend, client.closeEnd = want, true
	client.pump(p.now)
	b := make([]byte, 700)
	for {
		p.run(50 * time.Millisecond)
		n, err := server.conn.Read(p.now, b)
		server.got = append(server.got, b[:n]...)
		if err == io.EOF {
			break
		}
		if err != nil {
			require.ErrorIs(t, err, ErrWouldBlock)
		}
	}
	require.Equal(t, want, server.got)
	require.Zero(t, p.a.Counters().Timeouts)
}

func TestFastRetransmit(t *testing.T) {
	p, client, server := connected(t, nil)
	p.run(time.Second)
	lost := false
	p.fault = func(f flight) []time.Duration {
		if !lost && f.src == addrA && wire.TCP(f.seg).Seq() == client.conn.una+2*1460 && len(f.seg) > 100 {
			lost = true
			return nil
		}
		return []time.Duration{p.delay}
	}
	want := randomBytes(4, 20_000)
	client.toSend = want
	start := p.now
	client.pump(p.now)
	require.True(t, p.runUntil(time.Second, func() bool { return len(server.got) == len(want) }))
	require.Equal(t, want, server.got)
	require.True(t, lost)
	require.EqualValues(t, 1, p.a.Counters().FastRecovery)
	require.EqualValues(t, 1, p.a.Counters().Retransmits)
	require.Zero(t, p.a.Counters().Timeouts)
	require.Less(t, p.now.Sub(start), 100*time.Millisecond)
}

func TestNewRenoRepairsSeveralLossesWithoutTimeout(t *testing.T) {
	p, client, server := connected(t, nil)
	p.run(time.Second)
	base, lost := client.conn.una, map[uint32]bool{}
	p.fault = func(f flight) []time.Duration {
		seq := wire.TCP(f.seg).Seq() - base
		if (seq == 1460 || seq == 4*1460) && f.src == addrA && !lost[seq] {
			lost[seq] = true
			return nil
		}
		return []time.Duration{p.delay}
	}
	want := randomBytes(4, 14_600)
	client.toSend = want
	client.pump(p.now)
	p.run(5 * time.Second)
	require.Equal(t, want, server.got)
	require.Len(t, lost, 2)
	require.Zero(t, p.a.Counters().Timeouts)
	require.EqualValues(t, 2, p.a.Counters().Retransmits)
}

func TestRetransmissionTimerBacksOff(t *testing.T) {
	p, client, _ := connected(t, nil)
	p.run(time.Second)
	p.fault = func(flight) []time.Duration { return nil }
	p.trace = nil
	_, err := client.conn.Write(p.now, []byte("lost"))
	require.NoError(t, err)
	start := p.now
	var at []time.Duration
	p.tap = func(flight) { at = append(at, p.now.Sub(start)) }
	p.run(3 * time.Second)
	require.Equal(t, []time.Duration{200 * time.Millisecond, 600 * time.Millisecond, 1400 * time.Millisecond, 3 * time.Second}, at)
	p.run(time.Hour)
	require.ErrorIs(t, client.err, ErrTimeout)
	require.Len(t, at, 15)
}

func TestLostSYNMeansThreeSeconds(t *testing.T) {
	p, client, server := newPipe(nil), &app{}, &app{}
	drop := true
	p.fault = func(f flight) []time.Duration {
		if drop {
			drop = false
			return nil
		}
		return []time.Duration{p.delay}
	}
	p.open(client, server)
	require.True(t, p.runUntil(time.Minute, func() bool { return client.connected }))
	require.Equal(t, rtoAfterSYN, client.conn.rto.rto)
	require.EqualValues(t, client.conn.mss, client.conn.cwnd)
}

func TestPathMTU(t *testing.T) {
	p, client, server := connected(t, nil)
	p.run(time.Second)
	const mtu = 1000
	p.fault = func(f flight) []time.Duration {
		if len(f.seg)+wire.IPv4Len <= mtu {
			return []time.Duration{p.delay}
		}
		return nil
	}
	want := randomBytes(5, 30_000)
	client.toSend = want
	client.pump(p.now)
	p.a.PathMTU(p.now, client.conn.LocalAddr(), client.conn.RemoteAddr(), mtu)
	p.run(time.Second)
	require.Equal(t, want, server.got)
	require.Zero(t, p.a.Counters().Timeouts)
}

func TestMSSOptionIsKept(t *testing.T) {
	p, client, server := newPipe(nil), &app{toSend: randomBytes(1, 5000)}, &app{}
	p.b.cfg.MTU = func(netip.Addr) int { return 576 }
	longest := 0
	p.tap = func(f flight) { longest = max(longest, len(f.seg)) }
	p.open(client, server)
	p.run(time.Second)
	require.Len(t, server.got, 5000)
	require.Equal(t, 576-wire.IPv4Len, longest)
}

func TestKeepAlive(t *testing.T) {
	p, client, _ := connected(t, nil)
	client.conn.SetKeepAlive(p.now, 10*time.Second, 3)
	p.run(5 * time.Minute)
	require.Equal(t, Established, client.conn.State(), "the peer answers")
	p.fault = func(flight) []time.Duration { return nil }
	p.run(5 * time.Minute)
	require.ErrorIs(t, client.err, ErrTimeout)
}

func TestPortReuseInTimeWait(t *testing.T) {
	p, client, server := connected(t, nil)
	p.run(time.Second)
	server.conn.CloseWrite(p.now)
	p.run(time.Second)
	client.conn.CloseWrite(p.now)
	p.run(time.Second)
	require.Equal(t, TimeWait, server.conn.State())
	require.Equal(t, Closed, client.conn.State())
	old, again := server.conn, &app{}
	_, err := p.a.Dial(p.now, client.conn.LocalAddr(), serverAddr, again.events())
	require.NoError(t, err)
	p.run(time.Second)
	require.True(t, again.connected)
	require.NotSame(t, old, server.conn)
	require.Equal(t, 1, p.b.Len())
}

func TestDialRefusesNonsense(t *testing.T) {
	s := newPipe(func(cfg *Config) { cfg.FirstPort, cfg.LastPort, cfg.MaxConns = 100, 102, 5 }).a
	local := netip.AddrPortFrom(addrA, 0)
	for _, remote := range []string{"224.0.0.1:80", "0.0.0.0:80", "255.255.255.255:80", "10.0.0.2:0", "[2001:db8::1]:80"} {
		_, err := s.Dial(0, local, netip.MustParseAddrPort(remote), Events{})
		require.ErrorIs(t, err, ErrUnreachable, remote)
	}
	for i := range 3 {
		c, err := s.Dial(0, local, serverAddr, Events{})
		require.NoError(t, err)
		require.EqualValues(t, 100+i, c.LocalAddr().Port())
	}
	_, err := s.Dial(0, local, serverAddr, Events{})
	require.ErrorIs(t, err, ErrNoPorts)
	_, err = s.Dial(0, netip.AddrPortFrom(addrA, 101), serverAddr, Events{})
	require.ErrorIs(t, err, ErrInUse)
	other := netip.AddrPortFrom(addrB, 81)
	for range 2 {
		_, err = s.Dial(0, local, other, Events{})
		require.NoError(t, err)
	}
	_, err = s.Dial(0, local, other, Events{})
	require.ErrorIs(t, err, ErrTooMany)
}
