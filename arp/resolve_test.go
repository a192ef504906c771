package arp

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/gopacket/layers"
	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/wire"
)

// payload is a frame to a next hop, told apart by its last byte.
func payload(mark byte) *wire.Frame {
	b := make([]byte, 60)
	wire.EthernetHeader(b).SetSrc(ourMAC)
	wire.EthernetHeader(b).SetType(wire.TypeIPv4)
	b[59] = mark
	f := wire.NewFrame(200)
	f.SetBytes(b)
	f.Mark = 7
	return f
}

func marks(frames []*wire.Frame) (list []byte) {
	for _, f := range frames {
		list = append(list, f.Bytes()[59])
	}
	return list
}

func state(c *Cache, now clock.Instant, addr netip.Addr) State {
	for _, e := range c.Entries(now) {
		if e.Addr == addr {
			return e.State
		}
	}
	return None
}

// requireRequest checks that f asks for rip: by broadcast, or of mac.
func requireRequest(t *testing.T, f *wire.Frame, of wire.MAC) {
	t.Helper()
	eth, a := parseARP(t, f)
	require.Equal(t, of[:], []byte(eth.DstMAC))
	require.EqualValues(t, layers.ARPRequest, a.Operation)
	require.Equal(t, ourMAC[:], a.SourceHwAddress)
	require.Equal(t, dip.AsSlice(), a.SourceProtAddress)
	require.Equal(t, make([]byte, 6), a.DstHwAddress)
	require.Equal(t, rip.AsSlice(), a.DstProtAddress)
}

func TestResolveQueuesAsksAndSends(t *testing.T) {
	c, out, _ := newCache(t, Config{})
	_, ok := c.Lookup(start, 0, rip)
	require.False(t, ok)

	c.Resolve(start, 0, rip, payload(1), out)
	c.Resolve(start, 0, rip, payload(2), out)
	sent := out.take()
	require.Len(t, sent, 1, "one request, however many frames wait")
	requireRequest(t, sent[0], wire.Broadcast)
	require.Equal(t, Incomplete, state(c, start, rip))

	now := start.Add(300 * time.Millisecond)
	require.False(t, receive(c, now, reply(peerMAC, rip, dip), out), "the host may want it too")
	sent = out.take()
	require.Equal(t, []byte{1, 2}, marks(sent))
	require.Equal(t, peerMAC, wire.EthernetHeader(sent[0].Bytes()).Dst())
	require.EqualValues(t, 7, sent[0].Mark, "metadata travels along")
	mac, ok := c.Lookup(now, 0, rip)
	require.True(t, ok)
	require.Equal(t, peerMAC, mac)
	_, ok = c.Lookup(now, 1, rip)
	require.False(t, ok, "ports are separate networks")
	require.Zero(t, c.queued.Load())
}

func TestQueueDropsTheOldest(t *testing.T) {
	c, out, _ := newCache(t, Config{QueueLen: 3})
	for i := range byte(5) {
		c.Resolve(start, 0, rip, payload(i), out)
	}
	out.take()
	receive(c, start, reply(peerMAC, rip, dip), out)
	require.Equal(t, []byte{2, 3, 4}, marks(out.take()))
	require.EqualValues(t, 2, c.Count(QueueOverflows))
}

func TestQueueBytesAreBounded(t *testing.T) {
	c, out, _ := newCache(t, Config{QueueBytes: 100})
	c.Resolve(start, 0, rip, payload(1), out)
	c.Resolve(start, 0, rip.Next(), payload(2), out)
	require.Len(t, out.take(), 2, "both are asked for")
	require.EqualValues(t, 1, c.Count(QueueOverflows))
	require.EqualValues(t, 60, c.queued.Load())
}

func TestThreeTriesThenUnreachable(t *testing.T) {
	c, out, _ := newCache(t, Config{})
	c.Resolve(start, 0, rip, payload(1), out)
	requests := len(out.take())
	for at := start; at < start.Add(3*time.Second); {
		at = c.Tick(at, out)
		for _, f := range out.take() {
			requireRequest(t, f, wire.Broadcast)
			requests++
		}
	}
	require.Equal(t, maxTries, requests)
	require.Empty(t, out.unreachable)
	c.Tick(start.Add(3*time.Second), out)
	require.Len(t, out.unreachable, 1)
	require.EqualValues(t, 1, out.unreachable[0][59])
	now := start.Add(3 * time.Second)
	require.Equal(t, Failed, state(c, now, rip))
	require.EqualValues(t, 1, c.Count(Failures))

	c.Resolve(now, 0, rip, payload(2), out)
	require.Len(t, out.take(), 1, "a failed neighbour is asked for anew")
	require.Equal(t, Incomplete, state(c, now, rip))
}

func TestFailedIsForgotten(t *testing.T) {
	c, out, _ := newCache(t, Config{})
	c.Resolve(start, 0, rip, payload(1), out)
	now := start
	for range 100 {
		if now = c.Tick(now, out); now == clock.Never {
			break
		}
	}
	require.Equal(t, clock.Never, now, "an empty cache has no deadline")
	require.Empty(t, c.Entries(start))
}

// learnRIP makes rip reachable at the given time.
func learnRIP(c *Cache, now clock.Instant, out *sink) {
	c.Resolve(now, 0, rip, payload(0), out)
	receive(c, now, reply(peerMAC, rip, dip), out)
	out.take()
}

func TestStaleIsUsedProbedAndConfirmed(t *testing.T) {
	c, out, _ := newCache(t, Config{})
	learnRIP(c, start, out)

	now := start.Add(31 * time.Second)
	require.Equal(t, Stale, state(c, now, rip))
	mac, ok := c.Lookup(now, 0, rip)
	require.True(t, ok)
	require.Equal(t, peerMAC, mac)
	require.Equal(t, Delay, state(c, now, rip))
	require.Empty(t, out.take())

	for c.Deadline() < now.Add(5*time.Second) {
		c.Tick(c.Deadline(), out)
	}
	require.Empty(t, out.take(), "nothing before the delay is over")
	now = now.Add(5 * time.Second)
	c.Tick(now, out)
	sent := out.take()
	require.Len(t, sent, 1)
	requireRequest(t, sent[0], peerMAC)
	require.Equal(t, Probe, state(c, now, rip))
	_, ok = c.Lookup(now, 0, rip)
	require.True(t, ok, "a probed neighbour is used")

	receive(c, now, reply(peerMAC, rip, dip), out)
	require.Equal(t, Reachable, state(c, now, rip))
}

func TestProbeWithoutAnswerFails(t *testing.T) {
	c, out, _ := newCache(t, Config{})
	learnRIP(c, start, out)
	now := start.Add(40 * time.Second)
	c.Lookup(now, 0, rip)
	probes := 0
	for end := now.Add(9 * time.Second); now < end; {
		now = c.Tick(now, out)
		probes += len(out.take())
	}
	require.Equal(t, maxTries, probes)
	require.Equal(t, Failed, state(c, now, rip))
	_, ok := c.Lookup(now, 0, rip)
	require.False(t, ok)
}

func TestConfirmByTraffic(t *testing.T) {
	c, out, _ := newCache(t, Config{})
	c.Confirm(start, 0, rip, peerMAC)
	require.Empty(t, c.Entries(start), "traffic teaches nothing")

	learnRIP(c, start, out)
	for at := start; at < start.Add(5*time.Minute); at = at.Add(time.Second) {
		c.Confirm(at, 0, rip, peerMAC)
		c.Lookup(at, 0, rip)
		c.Tick(at, out)
		require.Equal(t, Reachable, state(c, at, rip))
	}
	require.Empty(t, out.take(), "confirmed traffic makes probes needless")

	now := start.Add(6 * time.Minute)
	c.Confirm(now, 0, rip, rivalMAC)
	require.Equal(t, Stale, state(c, now, rip), "another MAC proves nothing")
	mac, _ := c.Lookup(now, 0, rip)
	require.Equal(t, peerMAC, mac)
	c.Confirm(now, 0, rip, peerMAC)
	require.Equal(t, Reachable, state(c, now, rip))
}

func TestUnusedIsForgotten(t *testing.T) {
	c, out, _ := newCache(t, Config{})
	learnRIP(c, start, out)
	at := start
	for at < start.Add(59*time.Second) {
		require.Len(t, c.Entries(at), 1)
		at = c.Tick(at, out)
	}
	c.Tick(at, out)
	require.Empty(t, c.Entries(at))
}

func TestStaticStays(t *testing.T) {
	c, out, _ := newCache(t, Config{})
	c.Resolve(start, 0, rip, payload(9), out)
	out.take()
	require.True(t, c.SetStatic(start, 0, rip, peerMAC, out))
	require.Equal(t, []byte{9}, marks(out.take()), "what waited is sent")
	receive(c, start, reply(rivalMAC, rip, dip), out)
	receive(c, start, request(rivalMAC, rip, vip), out)
	now := start.Add(time.Hour)
	c.Confirm(now, 0, rip, peerMAC)
	c.Tick(now, out)
	mac, ok := c.Lookup(now, 0, rip)
	require.True(t, ok)
	require.Equal(t, peerMAC, mac)
	require.Equal(t, Static, state(c, now, rip))
	c.Delete(0, rip)
	require.Empty(t, c.Entries(now))
}

func TestAskersAreLearned(t *testing.T) {
	c, out, _ := newCache(t, Config{})
	receive(c, start, request(peerMAC, rip, vip), out)
	require.Equal(t, Stale, state(c, start, rip))
	mac, ok := c.Lookup(start, 0, rip)
	require.True(t, ok)
	require.Equal(t, peerMAC, mac)

	receive(c, start, request(rivalMAC, rip.Next(), dip), out)
	receive(c, start, reply(rivalMAC, rip.Next(), dip), out)
	require.Len(t, c.Entries(start), 1, "others are not")
}

func TestNewMACNeedsAMoment(t *testing.T) {
	c, out, _ := newCache(t, Config{})
	learnRIP(c, start, out)
	receive(c, start.Add(time.Second/2), reply(rivalMAC, rip, dip), out)
	mac, _ := c.Lookup(start, 0, rip)
	require.Equal(t, peerMAC, mac, "the first answer counts")

	garp := request(rivalMAC, rip, rip)
	receive(c, start.Add(time.Second/2), garp, out)
	require.Equal(t, Stale, state(c, start, rip))
	mac, _ = c.Lookup(start, 0, rip)
	require.Equal(t, rivalMAC, mac, "a gratuitous ARP is a failover")

	receive(c, start.Add(2*time.Second), reply(peerMAC, rip, dip), out)
	mac, _ = c.Lookup(start, 0, rip)
	require.Equal(t, peerMAC, mac)
}

func TestGratuitousARPAnswersAWaitingFrame(t *testing.T) {
	c, out, _ := newCache(t, Config{})
	c.Resolve(start, 0, rip, payload(4), out)
	out.take()
	receive(c, start, request(peerMAC, rip, rip), out)
	require.Equal(t, []byte{4}, marks(out.take()))
	require.Equal(t, Stale, state(c, start, rip))
}

// TestFlushOfALostNeighbour: between finding a neighbour usable and sending to
// it, another worker may have given it up.
func TestFlushOfALostNeighbour(t *testing.T) {
	c, out, _ := newCache(t, Config{})
	c.Resolve(start, 0, rip, payload(1), out)
	out.take()
	n := c.find(0, rip)
	n.w.Store(uint64(makeWord(wire.MAC{}, Failed, 0)))
	c.flush(n, out)
	require.Empty(t, out.take())
	require.Len(t, c.drain(n, nil), 1, "left to who gave it up")
}

func TestStateNames(t *testing.T) {
	require.Equal(t, "REACHABLE", Reachable.String())
	require.Equal(t, "PERMANENT", Static.String())
}

func TestResolveOfAKnownNeighbourSendsAtOnce(t *testing.T) {
	c, out, _ := newCache(t, Config{})
	learnRIP(c, start, out)
	c.Resolve(start, 0, rip, payload(5), out)
	require.Equal(t, []byte{5}, marks(out.take()))
}

func TestWithoutSourceAddress(t *testing.T) {
	c, out, h := newCache(t, Config{})
	h.bare = true
	c.Resolve(start, 0, rip, payload(0), out)
	_, a := parseARP(t, out.take()[0])
	require.Equal(t, []byte{0, 0, 0, 0}, a.SourceProtAddress, "a probe is answered too")
	c.Resolve(start, 0, rip6, payload(0), out)
	require.Empty(t, out.take())
	require.EqualValues(t, 1, c.Count(NoSource))
}

func TestFullSinkLosesOnlyFrames(t *testing.T) {
	c, out, _ := newCache(t, Config{})
	out.full = true
	c.Resolve(start, 0, rip, payload(0), out)
	require.EqualValues(t, 1, c.Count(NoFrame))
	out.full = false
	c.Tick(start.Add(time.Second), out)
	require.Len(t, out.take(), 1, "the next try asks")
	out.full = true
	receive(c, start, reply(peerMAC, rip, dip), out)
	require.EqualValues(t, 2, c.Count(NoFrame))
	require.Zero(t, c.queued.Load())
	_, ok := c.Lookup(start, 0, rip)
	require.True(t, ok)
}

func TestHotPathDoesNotAllocate(t *testing.T) {
	c, out, _ := newCache(t, Config{})
	learnRIP(c, start, out)
	now := start
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		now = now.Add(40 * time.Millisecond)
		c.Lookup(now, 0, rip)
		c.Lookup(now, 0, rip6)
		c.Confirm(now, 0, rip, peerMAC)
		c.Tick(start, out)
	}))
}

func BenchmarkLookup(b *testing.B) {
	c := New(Config{}, &host{})
	out := new(sink)
	c.SetStatic(start, 0, rip, peerMAC, out)
	b.ReportAllocs()
	for b.Loop() {
		c.Lookup(start, 0, rip)
	}
}
