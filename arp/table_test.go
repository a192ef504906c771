package arp

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/wire"
)

func addrN(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})
}

func macN(i int) wire.MAC { return wire.MAC{2, 0, 0, 1, byte(i >> 8), byte(i)} }

// TestTableAgainstModel drives the cache and a map with the same random calls.
// The table is large enough for nothing to be evicted.
func TestTableAgainstModel(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		c, out, _ := newCache(t, Config{Seed: seed, Capacity: 4096})
		model := map[netip.Addr]wire.MAC{}
		for range 2000 {
			i := r.IntN(100)
			a := addrN(i)
			switch r.IntN(4) {
			case 0:
				c.SetStatic(start, 0, a, macN(i), out)
				model[a] = macN(i)
			case 1:
				c.Delete(0, a)
				delete(model, a)
			default:
				mac, ok := c.Lookup(start, 0, a)
				want, known := model[a]
				require.Equal(t, known, ok, "seed %d", seed)
				require.Equal(t, want, mac, "seed %d", seed)
			}
		}
		require.Len(t, c.Entries(start), len(model), "seed %d", seed)
	}
}

func TestCapacityIsABound(t *testing.T) {
	c, out, _ := newCache(t, Config{Capacity: 64})
	for i := range 5000 {
		receive(c, start, request(macN(i), addrN(i), vip), out)
		out.take()
	}
	require.LessOrEqual(t, len(c.Entries(start)), 64)
	require.NotZero(t, c.Count(Evictions))
}

func TestAskersDoNotEvictNeighboursInUse(t *testing.T) {
	c, out, _ := newCache(t, Config{Capacity: 16})
	for i := range 8 {
		c.Resolve(start, 0, addrN(i), payload(0), out)
		receive(c, start, reply(macN(i), addrN(i), dip), out)
	}
	c.SetStatic(start, 0, addrN(8), macN(8), out)
	for i := 100; i < 1000; i++ {
		receive(c, start, request(macN(i), addrN(i), vip), out)
	}
	out.take()
	for i := range 9 {
		mac, ok := c.Lookup(start, 0, addrN(i))
		require.True(t, ok)
		require.Equal(t, macN(i), mac)
	}
}

func TestFullOfStatics(t *testing.T) {
	c, out, _ := newCache(t, Config{Capacity: 16})
	for i := range 16 {
		require.True(t, c.SetStatic(start, 0, addrN(i), macN(i), out))
	}
	require.False(t, c.SetStatic(start, 0, addrN(16), macN(16), out))
	c.Resolve(start, 0, addrN(17), payload(0), out)
	require.Empty(t, out.take())
	require.EqualValues(t, 2, c.Count(NoRoom))
	require.Zero(t, c.queued.Load())
}

func TestEvictionDropsWaitingFrames(t *testing.T) {
	c, out, _ := newCache(t, Config{Capacity: 16})
	for i := range 40 {
		c.Resolve(start, 0, addrN(i), payload(0), out)
	}
	require.EqualValues(t, 24, c.Count(EvictedFrames))
	require.EqualValues(t, 16*60, c.queued.Load())
}

// TestHandOver has many workers queue frames, answer and tick at once, and
// then accounts for every frame.
func TestHandOver(t *testing.T) {
	const workers, rounds, neighbours = 4, 3000, 40
	c, _, _ := newCache(t, Config{Capacity: 32, QueueBytes: 3000})
	sinks := make([]*sink, workers)
	var wg sync.WaitGroup
	for w := range workers {
		out := new(sink)
		sinks[w] = out
		wg.Add(1)
		go func() {
			defer wg.Done()
			r := rand.New(rand.NewPCG(uint64(w), 2))
			now := start
			for i := range rounds {
				n := r.IntN(neighbours)
				now = now.Add(time.Duration(r.IntN(200)) * time.Millisecond)
				switch i % 3 {
				case 0:
					receive(c, now, reply(macN(n), addrN(n), dip), out)
				case 1:
					c.Tick(now, out)
				}
				if mac, ok := c.Lookup(now, 0, addrN(n)); ok && mac != macN(n) {
					t.Errorf("neighbour %d has MAC %v", n, mac)
				}
				f := payload(byte(n))
				binary.BigEndian.PutUint32(f.Bytes()[30:], uint32(w*rounds+i)+1)
				c.Resolve(now, 0, addrN(n), f, out)
			}
		}()
	}
	wg.Wait()
	seen := map[uint32]bool{}
	account := func(b []byte) {
		id := binary.BigEndian.Uint32(b[30:])
		require.False(t, seen[id], "frame %d came out twice", id)
		seen[id] = true
	}
	for _, out := range sinks {
		for _, f := range out.sent {
			if wire.EthernetHeader(f.Bytes()).Type() == wire.TypeIPv4 {
				account(f.Bytes())
				require.Equal(t, macN(int(f.Bytes()[59])), wire.EthernetHeader(f.Bytes()).Dst())
			}
		}
		for _, b := range out.unreachable {
			account(b)
		}
	}
	waiting := 0
	for i := range c.slots {
		if n := c.slots[i].Load(); n != nil {
			for _, f := range c.drain(n, nil) {
				account(f.Bytes())
				waiting++
			}
		}
	}
	lost := c.Count(QueueOverflows) + c.Count(EvictedFrames) + c.Count(NoRoom)
	require.EqualValues(t, workers*rounds, uint64(len(seen))+lost)
	require.Zero(t, c.queued.Load(), "%d waited at the end", waiting)
}

// TestConcurrentInsertsLeaveOneNeighbour has workers create the same
// neighbours at the same time.
func TestConcurrentInsertsLeaveOneNeighbour(t *testing.T) {
	const workers, neighbours = 4, 50
	for seed := range uint64(20) {
		c, _, _ := newCache(t, Config{Seed: seed})
		var wg sync.WaitGroup
		for range workers {
			wg.Add(1)
			go func() {
				defer wg.Done()
				out := new(sink)
				for i := range neighbours {
					c.Resolve(start, 0, addrN(i), payload(0), out)
				}
			}()
		}
		wg.Wait()
		require.Len(t, c.Entries(start), neighbours)
	}
}

// TestRunsRepeat feeds two caches the same and expects the same of them.
func TestRunsRepeat(t *testing.T) {
	run := func() (frames [][]byte) {
		r := rand.New(rand.NewPCG(1, 3))
		c, out, _ := newCache(t, Config{Capacity: 64, Seed: 9})
		now := start
		for range 3000 {
			i := r.IntN(200)
			now = now.Add(time.Duration(r.IntN(100)) * time.Millisecond)
			switch r.IntN(4) {
			case 0:
				c.Resolve(now, 0, addrN(i), payload(byte(i)), out)
			case 1:
				receive(c, now, reply(macN(i), addrN(i), dip), out)
			case 2:
				c.Announce(now, 0, vip6)
			}
			for next := c.Tick(now, out); next != clock.Never && next <= now; {
				next = c.Tick(now, out)
			}
		}
		for _, f := range out.sent {
			frames = append(frames, f.Bytes())
		}
		return frames
	}
	require.Equal(t, run(), run())
}
