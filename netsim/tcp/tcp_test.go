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

// Both ends believe in a FIN of the other that neither sent: their
// acknowledgements are unacceptable to each other.
func TestDeceivedEndsFallSilent(t *testing.T) {
	p, client, server := connected(t, nil)
	p.run(time.Second)
	forged := func(from, to *Conn) {
		h := header{src: from.flow.local, dst: from.flow.remote, seq: to.rcvNxt, ack: to.max, flags: wire.FlagFIN | wire.FlagACK, wnd: 1000}
		to.stack.Input(p.now, from.flow.local.Addr(), to.flow.local.Addr(), h.put(nil, nil))
	}
	forged(client.conn, server.conn)
	forged(server.conn, client.conn)
	p.trace = nil
	p.run(time.Hour)
	require.Less(t, len(p.trace), 20)
}

// What RFC 9293 section 3.10.7 and RFC 5961 say of segments that do not belong.
func TestForgedSegments(t *testing.T) {
	const (
		nothing   = ""
		ack       = "A"
		reset     = "R"
		challenge = "A"
	)
	for _, tc := range []struct {
		name     string
		seq, ack int // relative to what the server expects and has sent
		flags    uint8
		data     int
		answer   string
		state    State
	}{
		{"reset in sequence", 0, 0, wire.FlagRST, 0, nothing, Closed},
		{"reset in the window", 1, 0, wire.FlagRST, 0, challenge, Established},
		{"reset before the window", -1, 0, wire.FlagRST, 0, nothing, Established},
		{"reset beyond the window", 70000, 0, wire.FlagRST, 0, nothing, Established},
		{"SYN in the window", 5, 0, wire.FlagSYN, 0, challenge, Established},
		{"SYN before the window", -9, 0, wire.FlagSYN, 0, challenge, Established},
		{"no ACK", 0, 0, 0, 10, nothing, Established},
		{"old data", -10, 0, wire.FlagACK, 10, ack, Established},
		{"data beyond the window", 70000, 0, wire.FlagACK, 10, ack, Established},
		{"data ahead", 10, 0, wire.FlagACK, 10, ack, Established},
		{"data in sequence", 0, 0, wire.FlagACK, 10, ack, Established},
		{"data that overlaps", -5, 0, wire.FlagACK, 10, ack, Established},
		{"acknowledges too much", 0, 1, wire.FlagACK, 0, challenge, Established},
		{"acknowledges the distant past", 0, -200_000, wire.FlagACK, 0, challenge, Established},
		{"keep-alive", -1, 0, wire.FlagACK, 0, ack, Established},
		{"FIN in sequence", 0, 0, wire.FlagFIN | wire.FlagACK, 0, ack, CloseWait},
		{"FIN ahead of data", 10, 0, wire.FlagFIN | wire.FlagACK, 10, ack, Established},
		{"FIN beyond the window", 70000, 0, wire.FlagFIN | wire.FlagACK, 0, ack, Established},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p, client, server := connected(t, nil)
			p.run(time.Second)
			s := server.conn
			h := header{src: client.conn.flow.local, dst: serverAddr, seq: s.rcvNxt + uint32(tc.seq), ack: s.max + uint32(tc.ack), flags: tc.flags, wnd: 1000}
			p.trace = nil
			p.b.Input(p.now, addrA, addrB, h.put(nil, make([]byte, tc.data)))
			require.Equal(t, tc.state, s.State())
			if tc.answer == nothing {
				require.Empty(t, p.trace)
				return
			}
			require.Len(t, p.trace, 1)
			require.Contains(t, p.trace[0], " "+tc.answer+" ")
		})
	}
}

// A segment for which there is no connection: RFC 9293 section 3.5.2.
func TestResetsForNobody(t *testing.T) {
	for _, tc := range []struct {
		flags uint8
		want  string
	}{
		{wire.FlagSYN, "RA seq=0 ack=1001"},
		{wire.FlagSYN | wire.FlagFIN, "RA seq=0 ack=1002"},
		{wire.FlagACK, "R seq=2000 ack=0"},
		{wire.FlagSYN | wire.FlagACK, "R seq=2000 ack=0"},
		{0, "RA seq=0 ack=1000"},
		{wire.FlagRST, ""},
		{wire.FlagRST | wire.FlagACK, ""},
	} {
		p := newPipe(nil)
		h := header{src: netip.AddrPortFrom(addrA, 9), dst: serverAddr, seq: 1000, ack: 2000, flags: tc.flags}
		p.b.Input(p.now, addrA, addrB, h.put(nil, nil))
		if tc.want == "" {
			require.Empty(t, p.trace)
			continue
		}
		require.Len(t, p.trace, 1)
		require.Contains(t, p.trace[0], tc.want)
	}
}

// The same in SYN-SENT and SYN-RECEIVED: RFC 9293 sections 3.10.7.3 and 3.10.7.4.
func TestHandshakeWithStrangeSegments(t *testing.T) {
	p, client := newPipe(nil), &app{}
	p.fault = func(flight) []time.Duration { return nil }
	c, err := p.a.Dial(p.now, netip.AddrPortFrom(addrA, 0), serverAddr, client.events())
	require.NoError(t, err)
	in := func(seq, ack uint32, flags uint8) {
		h := header{src: serverAddr, dst: c.LocalAddr(), seq: seq, ack: ack, flags: flags, wnd: 1000}
		p.trace = nil
		p.a.Input(p.now, addrB, addrA, h.put(nil, nil))
	}
	in(1, c.iss, wire.FlagACK|wire.FlagSYN)
	require.Contains(t, p.trace[0], " R ", "an old duplicate is reset")
	in(1, c.iss+5, wire.FlagRST|wire.FlagACK)
	in(1, 0, wire.FlagRST)
	in(1, c.iss+1, wire.FlagACK)
	require.Equal(t, SynSent, c.State())
	in(1, c.iss+1, wire.FlagRST|wire.FlagACK)
	require.ErrorIs(t, client.err, ErrRefused)

	// The passive side: a copy of the SYN is answered again, a wrong ACK reset.
	server := &app{}
	_, err = p.b.Listen(serverAddr, server.accept)
	require.NoError(t, err)
	toServer := func(seq, ack uint32, flags uint8) *Conn {
		h := header{src: c.LocalAddr(), dst: serverAddr, seq: seq, ack: ack, flags: flags, wnd: 1000, mss: 1000}
		p.trace = nil
		p.b.Input(p.now, addrA, addrB, h.put(nil, nil))
		return p.b.conns[flow{serverAddr, c.LocalAddr()}]
	}
	half := toServer(7, 0, wire.FlagSYN)
	require.Equal(t, "SYN-RECEIVED", half.State().String())
	require.Same(t, half, toServer(7, 0, wire.FlagSYN))
	require.Contains(t, p.trace[0], " SA ")
	require.Same(t, half, toServer(8, half.iss+9, wire.FlagACK))
	require.Contains(t, p.trace[0], " R ")
	require.Nil(t, toServer(8, 0, wire.FlagRST))
	require.False(t, server.connected)
	require.Zero(t, server.closed)
	require.Nil(t, toServer(8, 0, wire.FlagACK))
	require.Contains(t, p.trace[0], " R ")
	require.Nil(t, toServer(8, 0, wire.FlagRST))
	require.Nil(t, toServer(8, 0, 0))
	require.Empty(t, p.trace)
}

func TestListen(t *testing.T) {
	s := newPipe(func(cfg *Config) { cfg.FirstPort, cfg.LastPort = 100, 101 }).a
	accept := (&app{}).accept
	for port := uint16(100); port <= 101; port++ {
		l, err := s.Listen(netip.AddrPortFrom(addrA, 0), accept)
		require.NoError(t, err)
		require.Equal(t, netip.AddrPortFrom(addrA, port), l.Addr())
	}
	_, err := s.Listen(netip.AddrPortFrom(addrA, 0), accept)
	require.ErrorIs(t, err, ErrNoPorts)
	_, err = s.Listen(netip.AddrPortFrom(addrA, 100), accept)
	require.ErrorIs(t, err, ErrInUse)
}

func TestConnCalls(t *testing.T) {
	p, client, server := connected(t, func(cfg *Config) { cfg.SendBuffer = 100 })
	c := client.conn
	p.run(time.Second)
	n, err := c.Write(p.now, make([]byte, 300))
	require.NoError(t, err)
	require.Equal(t, 100, n)
	require.Equal(t, 100, c.Unsent())
	n, err = c.Read(p.now, nil)
	require.NoError(t, err)
	require.Zero(t, n)
	writable := 0
	c.SetEvents(Events{Writable: func(clock.Instant, *Conn) { writable++ }})
	p.run(time.Second)
	require.Equal(t, 1, writable)
	require.Zero(t, c.Unsent())
	require.Len(t, server.got, 100)
	require.NoError(t, c.Err())
	c.CloseWrite(p.now)
	c.CloseWrite(p.now)
	_, err = c.Write(p.now, []byte("x"))
	require.ErrorIs(t, err, ErrClosed)
}

func TestMSSOption(t *testing.T) {
	for _, tc := range []struct {
		options []byte
		want    int
	}{
		{[]byte{2, 4, 5, 180}, 1460},
		{[]byte{1, 1, 2, 4, 5, 180}, 1460},
		{[]byte{3, 3, 7, 2, 4, 2, 24}, 536},
		{[]byte{0, 2, 4, 5, 180}, 0},
		{[]byte{2, 3, 5}, 0},
		{[]byte{2, 4, 5}, 0},
		{[]byte{8, 0}, 0},
		{[]byte{8}, 0},
		{nil, 0},
	} {
		require.Equal(t, tc.want, mssOption(tc.options), "%v", tc.options)
	}
}

func TestHostileInputIsCounted(t *testing.T) {
	p := newPipe(nil)
	syn := header{src: netip.AddrPortFrom(addrA, 9), dst: serverAddr, flags: wire.FlagSYN}
	good := syn.put(nil, nil)
	for _, src := range []string{"0.0.0.0", "224.0.0.1", "255.255.255.255"} {
		p.b.Input(p.now, netip.MustParseAddr(src), addrB, good)
	}
	p.b.Input(p.now, addrA, addrB, good[:19])
	short, long := append([]byte(nil), good...), append([]byte(nil), good...)
	short[12], long[12] = 4<<4, 15<<4
	p.b.Input(p.now, addrA, addrB, short)
	p.b.Input(p.now, addrA, addrB, long)
	require.EqualValues(t, 6, p.b.Counters().BadHeader)
	good[4] ^= 1
	p.b.Input(p.now, addrA, addrB, good)
	require.EqualValues(t, 1, p.b.Counters().BadChecksum)
	require.Empty(t, p.trace)
}

// Wake names every deadline that is earlier than what the caller knows.
func TestWake(t *testing.T) {
	var told []clock.Instant
	p := newPipe(nil)
	p.a.cfg.Wake = func(at clock.Instant) { told = append(told, at) }
	for range 2 {
		_, err := p.a.Dial(p.now, netip.AddrPortFrom(addrA, 0), serverAddr, Events{})
		require.NoError(t, err)
	}
	require.Equal(t, []clock.Instant{p.now.Add(initialRTO)}, told)
	p.run(time.Minute)
	require.Equal(t, clock.Never, p.a.Tick(p.now))
	_, err := p.a.Dial(p.now, netip.AddrPortFrom(addrA, 0), serverAddr, Events{})
	require.NoError(t, err)
	require.Len(t, told, 2)
}

// Sending and receiving in sequence allocates nothing.
func TestSteadyStateDoesNotAllocate(t *testing.T) {
	var a, b *Stack
	var line [2][]byte // one segment under way, and the one before
	var toB [2]bool
	sent, seen := 0, 0
	out := func(_ clock.Instant, src, _ netip.Addr, seg []byte) {
		line[sent%2], toB[sent%2] = append(line[sent%2][:0], seg...), src == addrA
		sent++
	}
	a = New(Config{Output: out, ISN: func() uint32 { return 1 }})
	b = New(Config{Output: out, ISN: func() uint32 { return 2 }})
	var server *Conn
	buf := make([]byte, 2000)
	_, err := b.Listen(serverAddr, func(_ clock.Instant, c *Conn) Events {
		server = c
		return Events{Readable: func(now clock.Instant, c *Conn) { _, _ = c.Read(now, buf) }}
	})
	require.NoError(t, err)
	now := clock.Instant(time.Second)
	relay := func() {
		for ; seen < sent; seen++ {
			if toB[seen%2] {
				b.Input(now, addrA, addrB, line[seen%2])
			} else {
				a.Input(now, addrB, addrA, line[seen%2])
			}
		}
	}
	c, err := a.Dial(now, netip.AddrPortFrom(addrA, 9), serverAddr, Events{})
	require.NoError(t, err)
	relay()
	require.NotNil(t, server)
	data := make([]byte, 1000)
	allocs := testing.AllocsPerRun(1000, func() {
		now += 1000
		_, _ = c.Write(now, data)
		relay()
		a.Tick(now)
		b.Tick(now)
	})
	require.Zero(t, allocs)
	require.Zero(t, c.Unsent())
}
