package connsync

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/conntrack"
	"usvs/ipvs"
)

const start = clock.Instant(100 * time.Hour)

var (
	vip80 = netip.MustParseAddrPort("10.9.0.1:80")
	rip80 = netip.MustParseAddrPort("10.1.0.11:80")
)

// bench is a table with one real server.
type bench struct {
	t     *testing.T
	now   clock.Instant
	table *conntrack.Table
	rs    *ipvs.RealServer
}

func newBench(t *testing.T) *bench {
	servers := new(ipvs.Registry)
	rs := server("10.1.0.11", 80, ipvs.DirectRoute)
	require.True(t, servers.Add(rs))
	return &bench{t: t, now: start, table: conntrack.New(conntrack.Config{Servers: servers, Shards: 1}), rs: rs}
}

func server(addr string, port uint16, m ipvs.ForwardMethod) *ipvs.RealServer {
	return ipvs.NewRealServer(ipvs.ServerID{Addr: netip.MustParseAddr(addr), Port: port},
		&ipvs.VirtualService{}, ipvs.ServerSpec{Weight: 1, Method: m})
}

// open inserts a connection of a client's port.
func (b *bench) open(proto ipvs.Protocol, port uint16, control conntrack.Ref) *conntrack.Conn {
	b.t.Helper()
	var c conntrack.Conn
	n := conntrack.Spec{
		Protocol: proto, Client: netip.AddrPortFrom(netip.MustParseAddr("198.51.100.7"), port), Virtual: vip80, Real: rip80,
		Method: ipvs.DirectRoute, Server: b.rs, Control: control,
	}
	require.Equal(b.t, conntrack.Inserted, b.table.Insert(b.now, &n, &c))
	return &c
}

func (b *bench) template(timeout time.Duration) *conntrack.Conn {
	b.t.Helper()
	var c conntrack.Conn
	n := conntrack.Spec{
		Protocol: ipvs.TCP, Client: netip.MustParseAddrPort("198.51.100.7:0"), Virtual: vip80, Real: rip80,
		Method: ipvs.DirectRoute, Server: b.rs, Template: true, Timeout: timeout,
	}
	require.Equal(b.t, conntrack.Inserted, b.table.Insert(b.now, &n, &c))
	return &c
}

// packet lets a client's segment pass.
func (b *bench) packet(c *conntrack.Conn, flags uint8) {
	b.t.Helper()
	ev := conntrack.EventUDP
	if c.Protocol == ipvs.TCP {
		ev = conntrack.TCPEvent(flags)
	}
	require.True(b.t, b.table.Packet(b.now, c, conntrack.DirIn, ev))
}

const (
	syn = 0x02
	ack = 0x10
	fin = 0x11
	rst = 0x04
)

// TestThreshold counts which packets of a connection are told of.
func TestThreshold(t *testing.T) {
	for _, tt := range []struct {
		name              string
		threshold, period int
		refresh           time.Duration
		retries           int
		proto             ipvs.Protocol
		gap               time.Duration // between packets
		want              []int
	}{
		{"defaults", 3, 50, 0, 0, ipvs.TCP, 0, []int{3, 53, 103}},
		{"UDP", 3, 50, 0, 0, ipvs.UDP, 0, []int{3, 53, 103}},
		{"every packet but the first", 0, 1, 0, 0, ipvs.TCP, 0, seq(2, 120)},
		{"once", 4, 0, 0, 0, ipvs.TCP, 0, []int{4}},
		{"refresh alone, at once and not again", 0, 0, 10 * time.Second, 0, ipvs.UDP, time.Millisecond, []int{1}},
		{"refresh alone", 0, 0, 10 * time.Second, 0, ipvs.UDP, time.Second, []int{1, 11, 21, 31, 41, 51, 61, 71, 81, 91, 101, 111}},
		{"refresh with retries", 0, 0, 40 * time.Second, 2, ipvs.UDP, time.Second, []int{1, 6, 11, 51, 56, 61, 101, 106, 111}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			sy := ipvs.DefaultSysctls()
			sy.SyncThreshold, sy.SyncPeriod, sy.SyncRefreshPeriod, sy.SyncRetries = tt.threshold, tt.period, tt.refresh, tt.retries
			c := b.open(tt.proto, 1000, conntrack.Ref{})
			var told []int
			for i := 1; i <= 120; i++ {
				flags := uint8(ack)
				if i == 1 {
					flags = syn
				}
				b.packet(c, flags)
				if needed(b.table, b.now, &sy, c, c.InPackets) {
					told = append(told, i)
				}
				b.now = b.now.Add(tt.gap)
			}
			require.Equal(t, tt.want, told)
		})
	}
}

func seq(from, to int) (list []int) {
	for i := from; i <= to; i++ {
		list = append(list, i)
	}
	return list
}

// TestStatesToldAtOnce: leaving ESTABLISHED is news, entering it is not.
func TestStatesToldAtOnce(t *testing.T) {
	b := newBench(t)
	sy := ipvs.DefaultSysctls()
	c := b.open(ipvs.TCP, 1, conntrack.Ref{})
	told := func(flags uint8) bool {
		b.packet(c, flags)
		return needed(b.table, b.now, &sy, c, c.InPackets)
	}
	require.False(t, told(syn), "SYN_RECV is not told of")
	require.False(t, told(ack), "ESTABLISHED")
	require.True(t, told(ack), "the third packet")
	require.False(t, told(ack))
	require.True(t, told(fin), "FIN_WAIT")
	require.False(t, told(ack), "still FIN_WAIT")
	require.True(t, told(rst), "CLOSE")
	require.False(t, told(rst))
}

// TestPersistMode: with sync_persist_mode only templates are told of.
func TestPersistMode(t *testing.T) {
	b := newBench(t)
	sy := ipvs.DefaultSysctls()
	sy.SyncThreshold, sy.SyncPeriod = 0, 1
	tmpl := b.template(time.Minute)
	control := b.open(ipvs.TCP, 21, tmpl.Ref)
	data := b.open(ipvs.TCP, 20, control.Ref)
	free := b.open(ipvs.TCP, 22, conntrack.Ref{})
	for _, c := range []*conntrack.Conn{control, data, free} {
		b.packet(c, syn)
		b.packet(c, ack)
	}
	check := func(want ...bool) {
		t.Helper()
		for i, c := range []*conntrack.Conn{tmpl, control, data, free} {
			require.Equal(t, want[i], needed(b.table, b.now, &sy, c, 2), i)
		}
	}
	sy.SyncPersistMode = 1
	check(true, false, false, true)
	sy.SyncPersistMode = 0
	check(true, true, true, true)
}

// slowNeeded is the rule as the sheet has it, line by line (ipvs.md 6.5), with a
// memory of its own.
type slowNeeded struct {
	state   uint8
	expiry  time.Duration
	retries int
	told    bool
}

func (m *slowNeeded) ask(now time.Duration, sy *ipvs.Sysctls, c *conntrack.Conn, pkts int) bool {
	at := func() bool {
		m.state, m.told = c.State, true
		return true
	}
	n, retries := now+c.Timeout, 0
	if !c.Template() && c.Protocol == ipvs.TCP {
		switch c.State {
		case conntrack.TCPEstablished, conntrack.TCPFinWait, conntrack.TCPClose, conntrack.TCPCloseWait, conntrack.TCPTimeWait:
		default:
			return false
		}
		if c.State != m.state && c.State != conntrack.TCPEstablished {
			m.expiry, m.retries = n, 0
			return at()
		}
	}
	if sy.SyncRefreshPeriod > 0 && m.told {
		diff := n - m.expiry
		if diff < 0 {
			diff = -diff
		}
		if diff < min(sy.SyncRefreshPeriod, max(c.Timeout/2, 10*time.Second)) {
			if m.retries >= sy.SyncRetries {
				return false
			}
			if now < m.expiry-c.Timeout+sy.SyncRefreshPeriod/8 {
				return false
			}
			retries = m.retries + 1
		}
	}
	if sy.SyncPeriod > 0 {
		if !c.Template() && pkts%sy.SyncPeriod != sy.SyncThreshold {
			return false
		}
	} else if sy.SyncRefreshPeriod == 0 && pkts != sy.SyncThreshold {
		return false
	}
	m.expiry, m.retries = n, retries
	return at()
}

// TestNeededAgainstModel plays random lives under random settings.
func TestNeededAgainstModel(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		b := newBench(t)
		sy := ipvs.DefaultSysctls()
		pick := func(v ...int) int { return v[r.IntN(len(v))] }
		sy.SyncPeriod = pick(0, 1, 5, 50)
		sy.SyncThreshold = r.IntN(max(sy.SyncPeriod, 4))
		sy.SyncRefreshPeriod = time.Duration(pick(0, 0, 8, 80, 1000)) * time.Second
		sy.SyncRetries = r.IntN(4)
		c := b.open([]ipvs.Protocol{ipvs.TCP, ipvs.UDP}[r.IntN(2)], 5, conntrack.Ref{})
		if r.IntN(4) == 0 {
			c = b.template(time.Duration(pick(10, 300, 86400)) * time.Second)
		}
		var m slowNeeded
		for i := range 200 {
			if c.Template() {
				require.True(t, b.table.Rearm(b.now, c.Ref))
				c.InPackets = b.table.Count(c.Ref)
			} else {
				b.packet(c, []uint8{syn, ack, ack, ack, fin, rst}[r.IntN(6)])
			}
			want := m.ask(time.Duration(b.now), &sy, c, int(c.InPackets))
			got := needed(b.table, b.now, &sy, c, c.InPackets)
			require.Equal(t, want, got, "seed %d packet %d %s %+v", seed, i, c.StateName(), m)
			step := min(time.Duration(pick(0, 1, 100, 500, 900))*10*time.Millisecond, c.Timeout/2)
			b.now = b.now.Add(step - step%conntrack.AdvertTick)
		}
	}
}

// TestRulesSCTP: which associations are told of.
func TestRulesSCTP(t *testing.T) {
	for state := conntrack.SCTPNone; state <= conntrack.SCTPClosed; state++ {
		c := conntrack.Conn{Protocol: ipvs.SCTP, State: state}
		ok, changed, news := wanted(&c, conntrack.SCTPCookieEchoed)
		switch state {
		case conntrack.SCTPEstablished:
			require.Equal(t, "true true false", fmt.Sprint(ok, changed, news))
		case conntrack.SCTPShutdownSent, conntrack.SCTPShutdownReceived, conntrack.SCTPShutdownACKSent, conntrack.SCTPClosed:
			require.Equal(t, "true true true", fmt.Sprint(ok, changed, news))
		default:
			require.False(t, ok, c.StateName())
		}
	}
}
