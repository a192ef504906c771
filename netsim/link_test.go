package netsim

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/wire"
)

// pair is two hosts at one link that know each other's MAC.
type pair struct {
	*Net
	a, b *Host
	link *Link
	rec  *Recorder
	got  []arrival // at b
	out  *UDPSocket
}

type arrival struct {
	at      time.Duration
	payload string
}

func newPair(t testing.TB, o LinkOptions) *pair {
	p := &pair{Net: New(7)}
	p.a, p.b = p.Host("a"), p.Host("b")
	pa, pb := p.a.NIC("eth0", "192.0.2.1/24"), p.b.NIC("eth0", "192.0.2.2/24")
	p.a.SetNeighbour(pa, pb.addrs[1].Addr(), pb.mac)
	p.b.SetNeighbour(pb, pa.addrs[1].Addr(), pa.mac)
	p.link = p.Link(pa, pb, o)
	p.rec = p.Record()
	in, err := p.b.UDP(addrPort("192.0.2.2:9"))
	require.NoError(t, err)
	in.OnReceive = func(d Datagram) { p.got = append(p.got, arrival{p.Elapsed(), string(d.Payload)}) }
	p.out, err = p.a.UDP(addrPort("192.0.2.1:9"))
	require.NoError(t, err)
	return p
}

func (p *pair) send(t testing.TB, n int) {
	for i := range n {
		require.NoError(t, p.out.Send(addrPort("192.0.2.2:9"), []byte{byte(i)}))
		p.Run(time.Millisecond)
	}
	p.Run(time.Second)
}

// fates counts the records by what became of them.
func (p *pair) fates() map[Fate]int {
	m := map[Fate]int{}
	for _, r := range p.rec.Records {
		m[r.Fate]++
	}
	return m
}

func TestDelayAndBandwidth(t *testing.T) {
	p := newPair(t, LinkOptions{Delay: 3 * time.Millisecond, Bandwidth: 1e6})
	payload := make([]byte, 1000-wire.EthernetLen-wire.IPv4Len-wire.UDPLen) // 8 ms on the wire
	for range 3 {
		require.NoError(t, p.out.Send(addrPort("192.0.2.2:9"), payload))
	}
	p.Run(time.Second)
	var at []time.Duration
	for _, g := range p.got {
		at = append(at, g.at)
	}
	require.Equal(t, []time.Duration{11 * time.Millisecond, 19 * time.Millisecond, 27 * time.Millisecond}, at)
}

func TestQueueOfALink(t *testing.T) {
	p := newPair(t, LinkOptions{Bandwidth: 8e6, Queue: 10_000}) // a byte each microsecond
	payload := make([]byte, 1000-wire.EthernetLen-wire.IPv4Len-wire.UDPLen)
	for range 20 {
		require.NoError(t, p.out.Send(addrPort("192.0.2.2:9"), payload))
	}
	p.Run(time.Second)
	require.Equal(t, map[Fate]int{Delivered: 11, Overflow: 9}, p.fates())
	require.Equal(t, uint64(9), p.Stats().Lost)
}

func TestFaultsByChance(t *testing.T) {
	const n = 2000
	for _, test := range []struct {
		name     string
		options  LinkOptions
		fate     Fate
		arrivals int // about
		faults   int
	}{
		{"loss", LinkOptions{Loss: 0.1}, Lost, 1800, 200},
		{"duplication", LinkOptions{Duplicate: 0.1}, Duplicated, 2200, 200},
		{"everything lost", LinkOptions{Loss: 1}, Lost, 0, n},
		{"everything twice", LinkOptions{Duplicate: 1}, Duplicated, 2 * n, n},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newPair(t, test.options)
			p.send(t, n)
			require.InDelta(t, test.faults, p.fates()[test.fate], 60)
			require.InDelta(t, test.arrivals, len(p.got), 60)
		})
	}
}

func TestCorruption(t *testing.T) {
	p := newPair(t, LinkOptions{Corrupt: 1})
	p.send(t, 300)
	require.Less(t, len(p.got), 60, "checksums and lengths find nearly all wrong bits")
	differing := 0
	for _, r := range p.rec.Records {
		if r.From.Node() != p.a || r.Arrival == nil {
			continue
		}
		bits := 0
		for i := range r.Data {
			for x := r.Data[i] ^ r.Arrival[i]; x != 0; x &= x - 1 {
				bits++
			}
		}
		require.Equal(t, 1, bits)
		differing++
	}
	require.Equal(t, 300, differing)
}

func TestJitterKeepsTheOrder(t *testing.T) {
	p := newPair(t, LinkOptions{Delay: time.Millisecond, Jitter: 10 * time.Millisecond})
	p.send(t, 200)
	require.Len(t, p.got, 200)
	for i, g := range p.got {
		require.Equal(t, string([]byte{byte(i)}), g.payload)
	}
}

func TestReordering(t *testing.T) {
	p := newPair(t, LinkOptions{Reorder: 0.2, ReorderBy: 5 * time.Millisecond})
	p.send(t, 200)
	require.Len(t, p.got, 200)
	late := 0
	for i := 1; i < len(p.got); i++ {
		if p.got[i].payload < p.got[i-1].payload {
			late++
		}
	}
	require.InDelta(t, 40, late, 15)
}

func TestLinkMTU(t *testing.T) {
	p := newPair(t, LinkOptions{MTU: 1000})
	require.NoError(t, p.out.Send(addrPort("192.0.2.2:9"), make([]byte, 1200)))
	require.NoError(t, p.out.Send(addrPort("192.0.2.2:9"), make([]byte, 900)))
	p.Run(time.Second)
	require.Equal(t, map[Fate]int{Delivered: 1, TooLong: 1}, p.fates())
}

func TestCutsAndScheduledFaults(t *testing.T) {
	p := newPair(t, LinkOptions{Delay: 200 * time.Microsecond})
	from, to := p.link.Ends()
	p.After(10*time.Millisecond, func() { p.link.Cut(to, true) }) // no effect on a's frames
	p.After(20*time.Millisecond, func() { p.link.Cut(from, true) })
	p.After(30*time.Millisecond, func() { p.link.Cut(from, false) })
	p.After(40*time.Millisecond, func() { p.link.SetUp(false) })
	p.After(50*time.Millisecond, func() { p.link.SetUp(true) })
	p.After(60*time.Millisecond, func() { to.SetUp(false) })
	p.send(t, 70)
	require.Equal(t, map[Fate]int{Delivered: 40, Cut: 30}, p.fates())
	require.Equal(t, `   0.010000000 link a:eth0-b:eth0: is cut for frames from b:eth0
   0.020000000 link a:eth0-b:eth0: is cut for frames from a:eth0
   0.030000000 link a:eth0-b:eth0: carries frames again from a:eth0
   0.040000000 link a:eth0-b:eth0: is down
   0.050000000 link a:eth0-b:eth0: is up
   0.060000000 b: eth0 is down
`, p.LogText())
}

func TestLinkGoesDownUnderAFrame(t *testing.T) {
	p := newPair(t, LinkOptions{Delay: time.Second})
	require.NoError(t, p.out.Send(addrPort("192.0.2.2:9"), []byte("x")))
	p.Run(500 * time.Millisecond)
	require.True(t, p.rec.Records[0].Fate.Arrives())
	p.link.SetUp(false)
	p.Run(time.Second)
	require.Empty(t, p.got)
	require.Equal(t, Cut, p.rec.Records[0].Fate)
	require.Equal(t, clock.Never, p.rec.Records[0].Arrived)
}

// TestStreamsAreIndependent: another lossy link does not change what is lost
// on the first.
func TestStreamsAreIndependent(t *testing.T) {
	lost := func(more bool) (list []uint64) {
		p := newPair(t, LinkOptions{Loss: 0.5})
		if more {
			c, d := p.Host("c"), p.Host("d")
			p.Link(c.NIC("eth0", "192.0.3.1/24"), d.NIC("eth0", "192.0.3.2/24"), LinkOptions{Loss: 0.5})
			u, err := c.UDP(addrPort("192.0.3.1:9"))
			require.NoError(t, err)
			p.After(50*time.Millisecond, func() { _ = u.Send(addrPort("192.0.3.2:9"), []byte("x")) })
		}
		p.send(t, 100)
		for _, g := range p.got {
			list = append(list, uint64(g.payload[0]))
		}
		return list
	}
	require.Equal(t, lost(false), lost(true))
}

func TestTimers(t *testing.T) {
	n := New(1)
	var fired []time.Duration
	timer := n.NewTimer(func() { fired = append(fired, n.Elapsed()) })
	timer.Set(n.Now().Add(time.Second))
	timer.Set(n.Now().Add(2 * time.Second)) // later
	n.Run(1500 * time.Millisecond)
	require.Empty(t, fired)
	timer.Set(n.Now().Add(100 * time.Millisecond)) // sooner
	n.Run(3 * time.Second)
	require.Equal(t, []time.Duration{1600 * time.Millisecond}, fired)
	timer.Set(n.Now().Add(time.Second))
	timer.Stop()
	require.Equal(t, clock.Never, timer.Deadline())
	n.Run(3 * time.Second)
	require.Len(t, fired, 1)
	timer.Set(0) // past: at once
	require.True(t, n.RunWhile(time.Second, func() bool { return len(fired) < 2 }))
	require.False(t, n.RunWhile(time.Second, func() bool { return len(fired) < 3 }))
	require.False(t, n.Step())
	require.Equal(t, clock.Never, n.Next())
}

// TestHeapAgainstAList: events come in the order of time and insertion.
func TestHeapAgainstAList(t *testing.T) {
	n := New(5)
	r := n.Rand("test")
	type event struct {
		at clock.Instant
		k  int
	}
	var want, got []event
	chains := make([]fifo, 3)
	for k := range 3000 {
		e := event{clock.Instant(r.IntN(500)), k}
		want = append(want, e)
		f := &frame{to: &Port{index: k}}
		if k%2 == 0 {
			n.queue.pushFrame(&chains[k%3], e.at, f)
		} else {
			n.queue.push(item{at: e.at, frame: f})
		}
		if k%5 == 4 {
			it := n.queue.pop()
			first := 0
			for i := range want {
				if want[i].at < want[first].at {
					first = i
				}
			}
			require.Equal(t, want[first], event{it.at, it.frame.to.index})
			want = append(want[:first], want[first+1:]...)
		}
	}
	for len(n.queue.items) > 0 {
		it := n.queue.pop()
		got = append(got, event{it.at, it.frame.to.index})
	}
	require.Len(t, got, len(want))
	for i := 1; i < len(got); i++ {
		require.True(t, got[i-1].at < got[i].at || got[i-1].at == got[i].at && got[i-1].k < got[i].k)
	}
}
