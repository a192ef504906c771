package director

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/conntrack"
	"usvs/ipvs"
	"usvs/link"
)

// conns inserts n connections or templates to rs.
func (b *testbed) conns(n int, rs *ipvs.RealServer, change func(i int, s *conntrack.Spec)) []conntrack.Conn {
	list := make([]conntrack.Conn, n)
	for i := range n {
		client := netip.AddrFrom4([4]byte{100, byte(i >> 16), byte(i >> 8), byte(i)})
		s := conntrack.Spec{
			Protocol: ipvs.TCP, Client: ap(client, 1024), Virtual: ap(vip, 80), Real: ap(rip1, 80),
			Method: ipvs.DirectRoute, Server: rs, Timeout: 24 * time.Hour,
		}
		if change != nil {
			change(i, &s)
		}
		require.Equal(b.tb, conntrack.Inserted, b.d.Table.Insert(b.now, &s, &list[i]))
	}
	return list
}

// ticks calls Tick until it wants nothing more at this instant.
func (b *testbed) ticks() (calls int) {
	for calls = 1; calls < 10_000; calls++ {
		b.out.Reset()
		if b.w.Tick(b.now, &b.out) > b.now {
			return calls
		}
	}
	b.tb.Fatal("Tick never rests")
	return 0
}

// The sweep goes through the whole table in bounded calls, and leaves those of
// other servers alone.
func TestSweepOfDeletedServers(t *testing.T) {
	b := newTestbed(t)
	all := b.service(tcpID(vip, 80), ipvs.DirectRoute, "10.2.0.11:80", "10.2.0.12:80")
	b.snap.Sysctls.ExpireNodestConn = 1
	b.publish()
	mine := 0
	b.conns(5*sweepSlots/2, all[0], func(i int, s *conntrack.Spec) {
		if i%3 == 0 {
			s.Server = all[1]
			mine++
		}
	})
	b.ticks()
	all[1].SetAvailable(false)
	b.publish()
	require.Equal(t, 1, b.ticks(), "nothing was said of a deletion")
	b.snap.Deletions++
	b.publish()
	require.GreaterOrEqual(t, b.ticks(), 3)
	require.Equal(t, 5*sweepSlots/2-mine, b.d.Table.Len())
	require.EqualValues(t, 0, all[1].References())
	require.Equal(t, 1, b.ticks())
}

// Templates go too, once their connections have gone; a server's deletion in
// the middle of a sweep begins it anew.
func TestSweepOfTemplates(t *testing.T) {
	b := newTestbed(t)
	all := b.service(tcpID(vip, 80), ipvs.DirectRoute, "10.2.0.11:80", "10.2.0.12:80")
	b.snap.Sysctls.ExpireNodestConn = 1
	templates := b.conns(2*sweepSlots, all[0], func(i int, s *conntrack.Spec) {
		s.Template, s.Client = true, ap(s.Client.Addr(), 0)
		s.Server = all[i%2]
	})
	b.conns(2*sweepSlots, all[0], func(i int, s *conntrack.Spec) { s.Control, s.Server = templates[i].Ref, all[i%2] })
	all[0].SetAvailable(false)
	b.snap.Deletions++
	b.publish()
	b.w.Tick(b.now, &b.out)
	b.w.Tick(b.now, &b.out)
	all[1].SetAvailable(false)
	b.snap.Deletions++
	b.publish()
	b.ticks()
	require.Zero(t, b.d.Table.Len())
}

// Frames keep the sweep going where nobody calls Tick.
func TestSweepUnderLoad(t *testing.T) {
	b := newTestbed(t)
	rs := b.service(tcpID(vip, 80), ipvs.DirectRoute, "10.2.0.11:80")[0]
	b.conns(3*sweepSlots, rs, nil)
	rs.SetAvailable(false)
	b.snap.Sysctls.ExpireNodestConn, b.snap.Deletions = 1, 1
	b.publish()
	for range 4 {
		b.handle(0, segment(ap(cip, 1), ap(vip, 9), 0x10, 0))
	}
	require.Zero(t, b.d.Table.Len())
}

// What a snapshot wants done is not lost on a worker that began with the one before.
func TestUpkeepOfANewSnapshot(t *testing.T) {
	b := newTestbed(t)
	b.ticks()
	b.w.begin(b.now, &b.out)
	b.snap.Sysctls.DropEntry = 3
	b.publish()
	require.Equal(t, b.now.Add(defencePeriod), b.w.keepUp())
	require.Equal(t, b.now.Add(defencePeriod), b.w.keepUp())
}

// Several workers share a sweep, while snapshots come and go; none is lost.
func TestSweepByManyWorkers(t *testing.T) {
	b := newTestbed(t)
	all := b.service(tcpID(vip, 80), ipvs.DirectRoute, "10.2.0.11:80", "10.2.0.12:80")
	b.snap.Sysctls.ExpireNodestConn = 1
	b.conns(4*sweepSlots, all[0], func(i int, s *conntrack.Spec) { s.Server = all[i%2] })
	workers := []*Worker{b.w, b.d.NewWorker(), b.d.NewWorker()}
	var wg sync.WaitGroup
	for i, w := range workers {
		wg.Go(func() {
			var out link.Output
			for n := 0; n < 2000 && b.d.Table.Len() > 0; n++ {
				w.Tick(b.now.Add(time.Duration(i)), &out)
			}
		})
	}
	for _, rs := range all {
		rs.SetAvailable(false)
		b.snap.Deletions++
		b.publish()
	}
	wg.Wait()
	b.ticks()
	require.Zero(t, b.d.Table.Len())
}

// lots is drop_entry's lottery, plainly: of entries that have been idle for a
// minute and had n packets, 1 to 8, every n-th loses.
type lots map[uint32]int

func (l lots) loses(idle time.Duration, packets uint32) bool {
	if idle < time.Minute || packets == 0 || packets > 8 {
		return false
	}
	if l[packets]--; l[packets] > 0 {
		return false
	}
	l[packets] = int(packets)
	return true
}

func TestLottery(t *testing.T) {
	b := newTestbed(t)
	r := rand.New(rand.NewPCG(7, 7))
	want := lots{}
	for i := range 5000 {
		idle, packets := time.Duration(r.IntN(120))*time.Second, uint32(r.IntN(11))
		c := conntrack.Conn{Timeout: time.Hour, Expires: b.now.Add(time.Hour - idle), InPackets: packets}
		b.w.now = b.now
		require.Equal(t, want.loses(idle, packets), b.w.loses(&c), "%d: idle %v, %d packets", i, idle, packets)
	}
}

// What drop_entry does with each kind of entry, as ipvs.md 2.9 has it.
func TestDispensable(t *testing.T) {
	b := newTestbed(t)
	rs := b.service(tcpID(vip, 80), ipvs.DirectRoute, "10.2.0.11:80")[0]
	ops := b.service(ipvs.ServiceID{Family: ipvs.IPv4, Protocol: ipvs.UDP, Addr: vip, Port: 53}, ipvs.DirectRoute, "10.2.0.11:53")[0]
	b.snap.Services[1].Spec.Flags = ipvs.FlagOnePacket
	b.publish()
	b.w.begin(b.now, &b.out)
	const tmpl = conntrack.FlagTemplate
	for _, c := range []struct {
		proto ipvs.Protocol
		state uint8
		flags conntrack.Flags
		rs    *ipvs.RealServer
		fresh bool // idle for less than a minute
		want  bool
	}{
		{proto: ipvs.TCP, state: conntrack.TCPSynReceived, fresh: true, want: true},
		{proto: ipvs.TCP, state: conntrack.TCPSynACK, fresh: true, want: true},
		{proto: ipvs.TCP, state: conntrack.TCPSynSent},
		{proto: ipvs.TCP, state: conntrack.TCPNone},
		{proto: ipvs.TCP, state: conntrack.TCPTimeWait},
		{proto: ipvs.TCP, state: conntrack.TCPEstablished, want: true},
		{proto: ipvs.TCP, state: conntrack.TCPEstablished, fresh: true},
		{proto: ipvs.SCTP, state: conntrack.SCTPInit1, fresh: true, want: true},
		{proto: ipvs.SCTP, state: conntrack.SCTPInit, fresh: true, want: true},
		{proto: ipvs.SCTP, state: conntrack.SCTPCookieSent},
		{proto: ipvs.SCTP, state: conntrack.SCTPEstablished, want: true},
		{proto: ipvs.UDP, want: true},
		{proto: ipvs.UDP, fresh: true},
		{proto: ipvs.TCP, flags: tmpl, rs: rs, fresh: true, want: true},
		{proto: ipvs.TCP, flags: tmpl, fresh: true, want: true},
		{proto: ipvs.TCP, flags: tmpl, rs: rs, state: conntrack.TemplateAssured},
		{proto: ipvs.UDP, flags: tmpl, rs: ops, state: conntrack.TemplateAssured, want: true},
		{proto: ipvs.UDP, flags: tmpl, rs: ops, fresh: true},
	} {
		conn := conntrack.Conn{Protocol: c.proto, State: c.state, Flags: c.flags, Server: c.rs, InPackets: 1, Timeout: time.Hour, Expires: b.now}
		if c.fresh {
			conn.Expires = b.now.Add(time.Hour - 59*time.Second)
		}
		require.Equal(t, c.want, b.w.dispensable(&conn), fmt.Sprintf("%+v", c))
	}
}

// drop_entry looks at a thirty-second part of the buckets every second: half-open
// connections are gone sooner or later, by the same lots for the same seed.
func TestDropEntry(t *testing.T) {
	run := func(seed uint64) (left []int) {
		b := newTestbed(t)
		b.d.upkeep.random.Store(seed)
		rs := b.service(tcpID(vip, 80), ipvs.DirectRoute, "10.2.0.11:80")[0]
		b.conns(2000, rs, func(i int, s *conntrack.Spec) { s.State = conntrack.TCPSynReceived })
		b.conns(100, rs, func(i int, s *conntrack.Spec) {
			s.State, s.Client = conntrack.TCPTimeWait, ap(s.Client.Addr(), 2000)
		})
		b.ticks()
		require.Equal(t, 2100, b.d.Table.Len(), "it is off")
		b.snap.Sysctls.DropEntry = 3
		b.publish()
		b.ticks()
		require.Equal(t, 2100, b.d.Table.Len(), "not before a second is over")
		for range 400 {
			b.now = b.now.Add(time.Second)
			b.ticks()
			left = append(left, b.d.Table.Len())
		}
		return left
	}
	left := run(1)
	require.InDelta(t, 2100-2000/32, left[0], 40)
	require.Less(t, left[399], 110)
	require.GreaterOrEqual(t, left[399], 100)
	require.Equal(t, left, run(1))
	require.NotEqual(t, left, run(2))
}

// Controllers stay while they control somebody.
func TestDropEntryKeepsControllers(t *testing.T) {
	b := newTestbed(t)
	rs := b.service(tcpID(vip, 80), ipvs.DirectRoute, "10.2.0.11:80")[0]
	tmpl := b.conns(1, rs, func(_ int, s *conntrack.Spec) { s.Template, s.Client = true, ap(s.Client.Addr(), 0) })[0]
	child := b.conns(1, rs, func(_ int, s *conntrack.Spec) { s.Control, s.State = tmpl.Ref, conntrack.TCPTimeWait })[0]
	sample := func() {
		b.w.begin(b.now, &b.out)
		for n := range b.d.Table.Buckets() {
			b.w.thin(uint32(n))
		}
	}
	sample()
	require.Equal(t, 2, b.d.Table.Len())
	b.d.Table.Expire(b.now, child.Ref)
	sample()
	require.Zero(t, b.d.Table.Len())
}

// With everything off the upkeep wants nothing, and costs nothing.
func TestNoUpkeep(t *testing.T) {
	b := newTestbed(t)
	b.ticks()
	require.Equal(t, clock.Never, b.w.keepUp())
	require.Zero(t, testing.AllocsPerRun(100, func() { b.w.keepUp() }))
	b.snap.Sysctls.DropEntry = 3
	b.publish()
	require.Equal(t, b.now.Add(defencePeriod), b.w.Tick(b.now, &b.out))
	b.snap.Sysctls.DropEntry, b.snap.Sysctls.DropPacket, b.snap.DropRate = 1, 2, 9
	b.publish()
	b.now = b.now.Add(defencePeriod)
	b.ticks()
	require.EqualValues(t, 9, b.d.upkeep.turn.Load(), "automatic drop_packet counts anew every second")
}

// A template under one-packet scheduling counts the packets, by which the lots
// are drawn.
func TestOnePacketTemplatesCount(t *testing.T) {
	b := newTestbed(t)
	b.service(ipvs.ServiceID{Family: ipvs.IPv4, Protocol: ipvs.UDP, Addr: vip, Port: 53}, ipvs.DirectRoute, "10.2.0.11:53")
	b.edit(func(s *ipvs.ServiceSpec) { s.Flags, s.Timeout = ipvs.FlagOnePacket|ipvs.FlagPersistent, 600 })
	for range 3 {
		b.handle(0, udp(ap(cip, 4000), ap(vip, 53), 4))
	}
	b.d.Table.Walk(b.now, func(c *conntrack.Conn) bool {
		require.True(t, c.Template())
		require.EqualValues(t, 3, c.InPackets)
		return true
	})
	require.Equal(t, 1, b.d.Table.Len())
}

// The defences allocate nothing while they work.
func TestDefencesDoNotAllocate(t *testing.T) {
	b := newTestbed(t)
	rs := b.service(tcpID(vip, 80), ipvs.DirectRoute, "10.2.0.11:80")[0]
	b.conns(3000, rs, func(_ int, s *conntrack.Spec) { s.State = conntrack.TCPTimeWait })
	b.snap.Sysctls.DropEntry, b.snap.Sysctls.ExpireNodestConn = 3, 1
	b.publish()
	b.ticks()
	require.Zero(t, testing.AllocsPerRun(20, func() {
		b.now = b.now.Add(time.Second)
		b.d.upkeep.sweep.Store(1)
		b.ticks()
	}))
}
