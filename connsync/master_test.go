package connsync

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/conntrack"
	"usvs/ipvs"
)

// sent is a message that a master yielded.
type sent struct {
	at   time.Duration // since the start
	port int
	data []byte
}

// tick ticks a master until there is nothing more to do before until, and
// returns what it sent.
func (b *bench) tick(m *Master, until clock.Instant) (out []sent) {
	for {
		m.Tick(b.now, func(port int, message []byte) {
			out = append(out, sent{b.now.Sub(start), port, slices.Clone(message)})
		})
		next := m.Deadline()
		if next > until {
			b.now = until
			return out
		}
		require.Greater(b.t, next, b.now, "no progress")
		b.now = next
	}
}

func (b *bench) master(cfg MasterConfig) *Master {
	cfg.Table = b.table
	if cfg.MaxLen == 0 {
		cfg.MaxLen = 1472
	}
	if cfg.QueueMax == 0 {
		cfg.QueueMax = 3807
	}
	return NewMaster(b.now, cfg)
}

// every is told of every packet.
func every() ipvs.Sysctls {
	sy := ipvs.DefaultSysctls()
	sy.SyncThreshold, sy.SyncPeriod = 0, 1
	return sy
}

func TestUnfinishedMessageWaits(t *testing.T) {
	b := newBench(t)
	m := b.master(MasterConfig{SyncID: 9})
	require.Equal(t, clock.Never, m.Deadline())
	sy := every()
	c, scratch := b.open(ipvs.UDP, 1, conntrack.Ref{}), conntrack.Conn{}
	b.now = b.now.Add(1500 * time.Millisecond)
	b.packet(c, 0)
	m.Packet(b.now, &sy, c, &scratch)
	out := b.tick(m, start.Add(time.Minute))
	require.Len(t, out, 1)
	require.Equal(t, 4*time.Second, out[0].at, "looked at every second, two seconds old")
	require.EqualValues(t, 9, out[0].data[1])
	require.Equal(t, clock.Never, m.Deadline())
}

func TestFullMessagesLeaveSoon(t *testing.T) {
	b := newBench(t)
	m := b.master(MasterConfig{MaxLen: 8 + 2*36})
	sy := every()
	var scratch conntrack.Conn
	tell := func(n int) {
		for i := range n {
			c := b.open(ipvs.UDP, uint16(m.entries.Load())*100+uint16(i)+1, conntrack.Ref{})
			b.packet(c, 0)
			m.Packet(b.now, &sy, c, &scratch)
		}
	}
	tell(3)
	out := b.tick(m, start.Add(19*time.Millisecond))
	require.Empty(t, out)
	out = b.tick(m, start.Add(20*time.Millisecond))
	require.Len(t, out, 1)
	require.Len(t, out[0].data, 8+2*36)
	tell(15) // with the one that waits, eight messages are full
	out = b.tick(m, b.now)
	require.Len(t, out, 0, "seven are full, the eighth is not finished")
	tell(1)
	require.Len(t, b.tick(m, b.now), 8)
}

// TestMessagesAreWhole checks order, lengths and counts for many entries.
func TestMessagesAreWhole(t *testing.T) {
	b := newBench(t)
	m := b.master(MasterConfig{MaxLen: 20000})
	sy := every()
	var scratch conntrack.Conn
	for i := range 1000 {
		c := b.open(ipvs.UDP, uint16(i+1), conntrack.Ref{})
		b.packet(c, 0)
		sy.SyncVersion = 1 - i/900 // the last hundred in another one
		m.Packet(b.now, &sy, c, &scratch)
	}
	want := uint16(1)
	var counts []int
	for _, s := range b.tick(m, start.Add(time.Minute)) {
		entries, problems := decoded(s.data, 0)
		require.Empty(t, problems)
		counts = append(counts, len(entries))
		for _, e := range entries {
			require.Equal(t, want, e.Client.Port())
			want++
		}
	}
	require.Equal(t, []int{255, 255, 255, 135, 100}, counts)
}

// TestPorts spreads connections, and never one of them.
func TestPorts(t *testing.T) {
	b := newBench(t)
	m := b.master(MasterConfig{Ports: 4})
	sy := every()
	var scratch conntrack.Conn
	for i := range 64 {
		c := b.open(ipvs.UDP, uint16(i+1), conntrack.Ref{})
		for range 3 {
			b.packet(c, 0)
			m.Packet(b.now, &sy, c, &scratch)
		}
	}
	of := map[netip.AddrPort]int{}
	used := map[int]bool{}
	for _, s := range b.tick(m, start.Add(time.Minute)) {
		entries, _ := decoded(s.data, 0)
		for _, e := range entries {
			if port, ok := of[e.Client]; ok {
				require.Equal(t, port, s.port)
			}
			of[e.Client], used[s.port] = s.port, true
		}
	}
	require.Len(t, of, 64)
	require.Len(t, used, 4)
}

func TestQueueLimits(t *testing.T) {
	b := newBench(t)
	m := b.master(MasterConfig{MaxLen: 44, QueueMax: 3})
	sy := every()
	c, scratch := b.open(ipvs.UDP, 1, conntrack.Ref{}), conntrack.Conn{}
	b.packet(c, 0)
	for range 6 {
		m.Packet(b.now, &sy, c, &scratch)
	}
	require.Len(t, b.tick(m, start.Add(time.Minute)), 4, "three that waited and the last one")
	require.EqualValues(t, 2, m.Counters()["drop_sync_qlen_max"])
	for range queueLen + 5 {
		m.Packet(b.now, &sy, c, &scratch)
	}
	require.EqualValues(t, 5, m.Counters()["drop_queue_full"])
}

// TestControllers: templates go along with every packet, their own packets being
// counted; under version 0 only if their connection goes.
func TestControllers(t *testing.T) {
	for version := range 2 {
		b := newBench(t)
		m := b.master(MasterConfig{})
		sy := ipvs.DefaultSysctls()
		sy.SyncVersion = version
		tmpl := b.template(time.Minute)
		c, scratch := b.open(ipvs.TCP, 1, tmpl.Ref), conntrack.Conn{}
		for i := range 3 {
			b.packet(c, []uint8{syn, ack, ack}[i])
			m.Packet(b.now, &sy, c, &scratch)
		}
		once := &conntrack.Conn{Flags: conntrack.FlagOnePacket, Client: c.Client, Virtual: c.Virtual, Real: c.Real, Control: tmpl.Ref}
		m.Packet(b.now, &sy, once, &scratch)
		var templates, conns int
		for _, s := range b.tick(m, start.Add(3*time.Second)) {
			entries, _ := decoded(s.data, 0)
			for _, e := range entries {
				if e.Template() {
					templates++
					continue
				}
				conns++
			}
		}
		require.Equal(t, 1, conns)
		if version == 1 {
			require.Equal(t, 4, templates)
			require.True(t, b.table.Get(tmpl.Ref, &scratch))
			require.EqualValues(t, 4, scratch.InPackets)
		} else {
			require.Equal(t, 1, templates)
		}
	}
}

// TestLater: a template that outlives its time for its connections is told of
// again, with the minute it got.
func TestLater(t *testing.T) {
	b := newBench(t)
	m := b.master(MasterConfig{})
	sy := every()
	b.table.OnLater(func(now clock.Instant, r conntrack.Ref) { m.Later(now, &sy, r) })
	tmpl := b.template(30 * time.Second)
	c := b.open(ipvs.TCP, 1, tmpl.Ref)
	b.packet(c, syn)
	b.packet(c, ack)
	b.now = start.Add(31 * time.Second)
	b.table.Tick(b.now, 100)
	out := b.tick(m, start.Add(40*time.Second))
	require.Len(t, out, 1)
	entries, _ := decoded(out[0].data, 0)
	require.True(t, entries[0].Template())
	require.EqualValues(t, 60, entries[0].Timeout)
	b.table.OnLater(nil)
	b.now = start.Add(3 * time.Minute)
	b.table.Tick(b.now, 100)
	require.Equal(t, clock.Never, m.Deadline())
}

// TestMixedFamiliesAreNotTold: there is no message for them.
func TestMixedFamiliesAreNotTold(t *testing.T) {
	v6 := netip.MustParseAddrPort("[fd00::1]:80")
	mixed := conntrack.Conn{Client: vip80, Virtual: vip80, Real: v6}
	require.False(t, encodable(&mixed, 1))
	all6 := conntrack.Conn{Client: v6, Virtual: v6, Real: v6}
	require.True(t, encodable(&all6, 1))
	require.False(t, encodable(&all6, 0))
}

// TestPacketAllocatesNothing, whether it is told of or not, and neither does
// making messages of it.
func TestPacketAllocatesNothing(t *testing.T) {
	b := newBench(t)
	m := b.master(MasterConfig{})
	sy := every()
	tmpl := b.template(time.Hour)
	c, scratch := b.open(ipvs.UDP, 1, tmpl.Ref), conntrack.Conn{}
	bytes := 0
	yield := func(_ int, message []byte) { bytes += len(message) }
	round := func() {
		for range 100 {
			b.packet(c, 0)
			m.Packet(b.now, &sy, c, &scratch)
		}
		b.now = b.now.Add(FlushDelay)
		m.Tick(b.now, yield)
	}
	for range 10 {
		round()
	}
	require.Zero(t, testing.AllocsPerRun(200, round))
	require.Positive(t, bytes)
}

// TestWorkersAndTicks has many workers tell, several goroutines tick, and
// expects every entry once, each worker's in order.
func TestWorkersAndTicks(t *testing.T) {
	const workers, each = 4, 5000
	b := newBench(t)
	m := b.master(MasterConfig{MaxLen: 9000})
	sy := every()
	var conns []*conntrack.Conn
	for w := range workers {
		c := b.open(ipvs.UDP, uint16(w+1), conntrack.Ref{})
		b.packet(c, 0)
		conns = append(conns, c)
	}
	var got [workers][]uint32 // marks, in the order they came
	collect := func(_ int, message []byte) {
		Decode(message, 0, func(e *Entry) {
			w := e.Client.Port() - 1
			got[w] = append(got[w], e.Mark)
		}, func(p Problem) { t.Errorf("problem %v", p) })
	}
	var done sync.WaitGroup
	for _, c := range conns {
		done.Go(func() {
			mine, scratch := *c, conntrack.Conn{}
			for i := range each {
				mine.Mark = uint32(i)
				m.Packet(b.now, &sy, &mine, &scratch)
			}
		})
	}
	stop := make(chan struct{})
	var tickers sync.WaitGroup
	for range 2 {
		tickers.Go(func() {
			for {
				m.Tick(b.now.Add(FlushDelay), collect)
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	done.Wait()
	close(stop)
	tickers.Wait()
	m.Tick(b.now.Add(time.Minute), collect)
	total := 0
	for _, marks := range got {
		require.True(t, slices.IsSorted(marks))
		total += len(marks)
	}
	require.EqualValues(t, workers*each, uint64(total)+m.Counters()["drop_queue_full"])
	require.EqualValues(t, total, m.Counters()["entries"])
}

// TestMessageHeaders pins the bytes of both versions' headers.
func TestMessageHeaders(t *testing.T) {
	e := Entry{Protocol: ipvs.TCP, Client: vip80, Virtual: vip80, Real: rip80}
	b := encoded(1, 5, e, e)
	require.Equal(t, []byte{0, 5, 0, 80, 2, 1, 0, 0}, b[:8])
	require.EqualValues(t, len(b), binary.BigEndian.Uint16(b[2:]))
	require.Equal(t, []byte{2, 5, 0, 52}, encoded(0, 5, e, e)[:4])
}
