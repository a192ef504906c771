package sched

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/ipvs"
)

const day = 24 * time.Hour

func dst(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}) }

// in returns the instant d after the cache's start.
func in(d time.Duration) clock.Instant { return clock.Instant(time.Second).Add(d) }

// check verifies that map and buckets tell the same.
func check[V any](t *testing.T, c *cache[V]) {
	t.Helper()
	n := 0
	for i, e := range c.buckets {
		for ; e != nil; e = e.next {
			require.Same(t, e, c.entries[e.dst])
			require.Equal(t, uint32(i), hash32(fold(e.dst), cacheBits))
			n++
		}
	}
	require.Len(t, c.entries, n)
}

func TestCacheRemembers(t *testing.T) {
	var c cache[int]
	require.Nil(t, c.lookup(dst(1), in(0), day))
	c.create(dst(1), in(0)).value = 7
	c.create(dst(2), in(0)).value = 8
	e := c.lookup(dst(1), in(time.Second), day)
	require.Equal(t, 7, e.value)
	require.Equal(t, in(time.Second), e.lastUse)
	require.Nil(t, c.lookup(dst(3), in(time.Second), day))
	check(t, &c)
}

// Entries go at the first 30th tick that finds them unused for the expiration
// time, not before.
func TestCacheFullExpiry(t *testing.T) {
	cases := []struct {
		about      string
		used, then time.Duration
		expiration time.Duration
		want       bool
	}{
		{"young", 0, 29 * time.Minute, 10 * time.Second, true},
		{"the tick itself has not run", 0, 30 * time.Minute, 10 * time.Second, true},
		{"after the 30th tick", 0, 30*time.Minute + 1, 10 * time.Second, false},
		{"exactly old enough", 29 * time.Minute, 31 * time.Minute, time.Minute, false},
		{"a little too young", 29*time.Minute + 1, 31 * time.Minute, time.Minute, true},
		{"until the next full expiry", 29*time.Minute + 1, 60 * time.Minute, time.Minute, true},
		{"and then no more", 29*time.Minute + 1, 60*time.Minute + 1, time.Minute, false},
		{"a day", 0, day, day, true},
		{"a day and a moment", 0, day + 1, day, false},
		{"weeks later", 0, 40 * day, day, false},
		{"weeks later, long expiration", 0, 40 * day, 80 * day, true},
		{"endless expiration", 0, 40 * day, math.MaxInt64, true},
		{"zero expiration, before the tick", 0, 30 * time.Minute, 0, true},
		{"zero expiration, after the tick", 30 * time.Minute, 31 * time.Minute, 0, false},
		{"zero expiration, used after the tick", 30*time.Minute + 1, 31 * time.Minute, 0, true},
	}
	for _, c := range cases {
		t.Run(c.about, func(t *testing.T) {
			var cache cache[int]
			cache.lookup(dst(1), in(0), c.expiration)
			cache.lookup(dst(1), in(c.used), c.expiration)
			cache.create(dst(1), in(c.used))
			require.Equal(t, c.want, cache.lookup(dst(1), in(c.then), c.expiration) != nil)
			check(t, &cache)
		})
	}
}

func TestCacheLimits(t *testing.T) {
	var c cache[int]
	c.lookup(dst(0), in(0), day)
	for i := range cacheHard {
		require.NotNil(t, c.create(dst(i), in(0)))
	}
	require.Nil(t, c.create(dst(cacheHard), in(0)), "full")

	c.lookup(dst(0), in(time.Minute+1), day)
	require.Len(t, c.entries, cacheHard, "nothing was idle for six minutes")
	require.Equal(t, 1, c.ticks, "too full to count")

	c.lookup(dst(0), in(6*time.Minute+1), day)
	// 8192 too many; a third more is above half of what is allowed: 8192 go,
	// and the rest of the bucket with which the goal was reached.
	require.LessOrEqual(t, len(c.entries), cacheSoft)
	require.Greater(t, len(c.entries), cacheSoft-100)
	require.NotZero(t, c.rover)
	check(t, &c)
	require.NotNil(t, c.create(dst(cacheHard), in(6*time.Minute)), "room again")
}

func TestCacheCollectsFromBehindTheRover(t *testing.T) {
	var c cache[int]
	c.lookup(dst(0), in(0), day)
	for i := range cacheSoft + 3 {
		c.create(dst(i), in(0))
	}
	c.rover = 100
	c.lookup(dst(0), in(6*time.Minute+1), day)
	require.Nil(t, c.buckets[101], "one bucket holds the four that have to go")
	require.NotNil(t, c.buckets[100])
	require.NotNil(t, c.buckets[102])
	require.Equal(t, uint32(101), c.rover)
}

// Destinations that collide cost no more than others: no bucket is walked by
// a lookup. Collection meets them all in one bucket.
func TestCacheCollisions(t *testing.T) {
	var c cache[int]
	c.lookup(dst(0), in(0), day)
	for hi := 0; len(c.entries) < cacheHard; hi++ {
		// Words that cancel each other fold to the same 32 bits.
		a := netip.AddrFrom16([16]byte{0x20, 1, byte(hi >> 8), byte(hi), 0, 0, byte(hi >> 8), byte(hi)})
		require.NotNil(t, c.create(a, in(0)))
	}
	c.lookup(dst(0), in(6*time.Minute+1), day)
	require.Empty(t, c.entries)
	check(t, &c)
}

// A lookup after any silence runs a bounded number of ticks.
func TestCacheLongSilence(t *testing.T) {
	var c cache[int]
	c.lookup(dst(0), in(0), day)
	c.create(dst(1), in(0))
	require.Nil(t, c.lookup(dst(1), clock.Never-1, day))
	require.True(t, c.nextTick.After(clock.Never-1-clock.Instant(time.Minute)))
	require.Nil(t, c.lookup(dst(1), clock.Never, day))
}

// cacheModel runs every tick there is, over a plain map.
type cacheModel struct {
	lastUse  map[netip.Addr]clock.Instant
	rover    uint32
	ticks    int
	nextTick clock.Instant
}

func (m *cacheModel) run(now clock.Instant, expiration time.Duration) {
	for ; m.nextTick < now; m.nextTick += clock.Instant(time.Minute) {
		switch n := len(m.lastUse); {
		case m.ticks%30 == 0:
			maps.DeleteFunc(m.lastUse, func(_ netip.Addr, used clock.Instant) bool {
				return used.Add(expiration) <= m.nextTick
			})
			m.ticks = 1
		case n <= 16384:
			m.ticks++
		default:
			m.collect(min((n-16384)*4/3, 8192))
		}
	}
}

func (m *cacheModel) collect(goal int) {
	for range 1024 {
		m.rover = (m.rover + 1) % 1024
		for a, used := range m.lastUse {
			if hash32(fold(a), 10) == m.rover && used.Add(6*time.Minute) <= m.nextTick {
				delete(m.lastUse, a)
				goal--
			}
		}
		if goal <= 0 {
			return
		}
	}
}

func TestCacheAgainstModel(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 0))
			expiration := time.Duration(rng.Int64N(int64(2 * time.Hour)))
			silence := []time.Duration{time.Second, time.Minute, time.Hour, 10 * time.Hour}[seed%4]
			var c cache[int]
			now := in(0)
			c.lookup(dst(0), now, expiration)
			m := cacheModel{lastUse: map[netip.Addr]clock.Instant{}, ticks: 1, nextTick: now.Add(time.Minute)}
			for range 3000 {
				now = now.Add(time.Duration(rng.Int64N(int64(silence))))
				a := dst(rng.IntN(200))
				m.run(now, expiration)
				_, known := m.lastUse[a]
				require.Equal(t, known, c.lookup(a, now, expiration) != nil)
				if !known {
					c.create(a, now)
				}
				m.lastUse[a] = now
				require.Equal(t, m.ticks, c.ticks)
			}
			check(t, &c)
		})
	}
}

// An overflowing table, against the same model.
func TestCacheOverflowAgainstModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 0))
	var c cache[int]
	now := in(0)
	c.lookup(dst(0), now, day)
	m := cacheModel{lastUse: map[netip.Addr]clock.Instant{}, ticks: 1, nextTick: now.Add(time.Minute)}
	for range 3 {
		for range 20_000 {
			now = now.Add(25 * time.Millisecond)
			a := dst(rng.IntN(40_000))
			m.run(now, day)
			e := c.lookup(a, now, day)
			if e == nil {
				e = c.create(a, now)
			}
			if e != nil {
				m.lastUse[a] = now
			}
		}
		require.Equal(t, len(m.lastUse), len(c.entries))
		for a, used := range m.lastUse {
			require.Equal(t, used, c.entries[a].lastUse)
		}
		require.Equal(t, [2]uint32{m.rover, uint32(m.ticks)}, [2]uint32{c.rover, uint32(c.ticks)})
		now = now.Add(7 * time.Minute)
	}
	check(t, &c)
}

func TestLocallyOverloaded(t *testing.T) {
	cases := []struct {
		about         string
		weight        int32
		active        int
		other         int32
		otherActive   int
		want          bool
		otherOverload bool
	}{
		{"idle", 1, 0, 1, 0, false, false},
		{"as many as the weight", 2, 2, 9, 0, false, false},
		{"more, and the other idle", 2, 3, 1, 0, true, false},
		{"more, and the other below half", 2, 3, 5, 2, true, false},
		{"more, and the other at half", 2, 3, 4, 2, false, false},
		{"more, and the other quiesced", 2, 3, 0, 0, false, false},
		{"thresholds of the other do not matter", 2, 3, 5, 2, true, true},
		{"numbers near the limit", 1, 2, math.MaxInt32, 2, true, false},
	}
	for _, c := range cases {
		a, b := newServer(1, c.weight), newServer(2, c.other)
		counts(a, c.active, 0)
		counts(b, c.otherActive, 0)
		if c.otherOverload {
			overload(b)
		}
		require.Equal(t, c.want, locallyOverloaded(a, []*ipvs.RealServer{b, a}), c.about)
	}
}

func TestLblc(t *testing.T) {
	b := newBench(t, "lblc")
	servers := b.add(2, 2, 2) // list C B A
	first := b.to("10.9.1.1")
	require.Equal(t, byte('C'), letter(first))
	counts(first, 2, 0)
	require.Same(t, first, b.to("10.9.1.1"), "not above its weight")
	require.Equal(t, byte('B'), letter(b.to("10.9.1.2")), "another destination goes to the least loaded")

	overload(first)
	require.Same(t, first, b.to("10.9.1.1"), "thresholds are not consulted")
	relieve(first)

	counts(first, 1, 0)
	require.Equal(t, byte('B'), letter(b.to("10.9.1.1")), "locally overloaded: moves")
	require.Equal(t, byte('B'), letter(b.to("10.9.1.1")), "and stays there")

	b.weight(servers[1], 0)
	require.Equal(t, byte('A'), letter(b.to("10.9.1.1")), "quiesced: moves")
	b.weight(servers[1], 2)
	b.unlink(servers[0])
	require.Equal(t, byte('B'), letter(b.to("10.9.1.1")), "deleted: moves")
}

func TestLblcKeepsItsEntryWhileNobodyIsUsable(t *testing.T) {
	b := newBench(t, "lblc")
	servers := b.add(1, 1)
	require.Equal(t, byte('B'), letter(b.pick()))
	b.weight(servers[0], 0)
	b.weight(servers[1], 0)
	require.Nil(t, b.pick())
	counts(servers[1], 1, 0)
	b.weight(servers[0], 1)
	b.weight(servers[1], 1)
	require.Equal(t, byte('B'), letter(b.pick()), "though A is less loaded")
}

func TestLblcExpires(t *testing.T) {
	b := newBench(t, "lblc")
	b.sysctls.LBLCExpiration = time.Minute
	servers := b.add(1, 1)
	require.Equal(t, byte('B'), letter(b.pick()))
	counts(servers[1], 1, 0)
	b.req.Now = b.req.Now.Add(29 * time.Minute)
	require.Equal(t, byte('B'), letter(b.pick()))
	b.req.Now = b.req.Now.Add(2 * time.Minute)
	require.Equal(t, byte('A'), letter(b.pick()))
}

func TestFullCacheStillServes(t *testing.T) {
	for _, name := range []string{"lblc", "lblcr"} {
		b := newBench(t, name)
		b.add(1)
		for i := range cacheHard + 10 {
			b.req.Dst = dst(i)
			require.NotNil(t, b.pick())
		}
		switch s := b.s.(type) {
		case *lblc:
			require.Len(t, s.cache.entries, cacheHard)
		case *lblcr:
			require.Len(t, s.cache.entries, cacheHard)
		}
	}
}

// members returns the letters of a destination's set, newest first.
func members(b *bench, d string) string {
	var out []byte
	for _, rs := range slices.Backward(b.s.(*lblcr).cache.entries[netip.MustParseAddr(d)].value.members) {
		out = append(out, letter(rs))
	}
	return string(out)
}

func TestLblcrGrowsAndShrinks(t *testing.T) {
	const d = "10.9.1.1"
	b := newBench(t, "lblcr")
	b.sysctls.LBLCRExpiration = time.Minute
	servers := b.add(2, 2, 2) // list C B A
	require.Equal(t, byte('C'), letter(b.to(d)))
	counts(servers[2], 3, 0)
	require.Equal(t, byte('B'), letter(b.to(d)), "C is locally overloaded")
	require.Equal(t, "BC", members(b, d))
	counts(servers[1], 3, 0)
	require.Equal(t, byte('A'), letter(b.to(d)))
	require.Equal(t, "ABC", members(b, d))
	counts(servers[0], 1, 0)
	require.Equal(t, byte('A'), letter(b.to(d)), "the least loaded member")

	b.req.Now = b.req.Now.Add(time.Minute)
	require.Equal(t, byte('A'), letter(b.to(d)))
	require.Equal(t, "ABC", members(b, d), "not yet later than the expiration")
	b.req.Now = b.req.Now.Add(1)
	require.Equal(t, byte('A'), letter(b.to(d)))
	require.Equal(t, "AC", members(b, d), "of the most loaded ones the newest goes")
	b.req.Now = b.req.Now.Add(time.Minute)
	require.Equal(t, byte('A'), letter(b.to(d)))
	require.Equal(t, "AC", members(b, d), "the removal counts as a change")
	b.req.Now = b.req.Now.Add(1)
	require.Equal(t, byte('A'), letter(b.to(d)))
	require.Equal(t, "A", members(b, d))
	b.req.Now = b.req.Now.Add(time.Hour - 5*time.Minute)
	require.Equal(t, byte('A'), letter(b.to(d)))
	require.Equal(t, "A", members(b, d), "the last one stays")
}

func TestLblcrMembers(t *testing.T) {
	const d = "10.9.1.1"
	cases := []struct {
		about  string
		change func(b *bench, s []*ipvs.RealServer)
		want   byte
		set    string
	}{
		{"nothing", func(*bench, []*ipvs.RealServer) {}, 'B', "BC"},
		{"a member is quiesced", func(b *bench, s []*ipvs.RealServer) { b.weight(s[1], 0) }, 'C', "BC"},
		{"a member is overloaded", func(b *bench, s []*ipvs.RealServer) { overload(s[1]) }, 'C', "BC"},
		{"a member is deleted", func(b *bench, s []*ipvs.RealServer) { b.unlink(s[1]) }, 'C', "BC"},
		{"no member is usable", func(b *bench, s []*ipvs.RealServer) { overload(s[1]); overload(s[2]) }, 'A', "ABC"},
		{"nobody is usable", func(b *bench, s []*ipvs.RealServer) {
			for _, rs := range s {
				overload(rs)
			}
		}, '-', "BC"},
		{"a deleted server stays a member", func(b *bench, s []*ipvs.RealServer) {
			b.unlink(s[1])
			overload(s[2])
		}, 'A', "ABC"},
		{"and is one when it comes back", func(b *bench, s []*ipvs.RealServer) {
			b.unlink(s[1])
			overload(s[2])
			b.pick()
			b.link(s[1])
			b.weight(s[1], 8)
			counts(s[0], 1, 0)
		}, 'B', "ABC"},
	}
	for _, c := range cases {
		t.Run(c.about, func(t *testing.T) {
			b := newBench(t, "lblcr")
			servers := b.add(4, 4, 4)
			b.to(d)
			counts(servers[2], 5, 0)
			b.to(d)
			require.Equal(t, "BC", members(b, d))
			for range 4 {
				servers[2].Unbind(true)
			}
			counts(servers[1], 1, 0)
			c.change(b, servers)
			require.Equal(t, string(c.want), string(letter(b.to(d))))
			require.Equal(t, c.set, members(b, d))
		})
	}
}

// A service whose servers come and go keeps its sets small.
func TestLblcrChurn(t *testing.T) {
	b := newBench(t, "lblcr")
	b.add(1, 1)
	for i := range 1000 {
		b.pick()
		b.unlink(b.servers[i%2])
		b.link(newServer(100+i, 1))
		require.LessOrEqual(t, len(b.s.(*lblcr).cache.entries[b.req.Dst].value.members), 2+lostMembers)
	}
}

// max skips quiesced members; if all are, nobody is removed.
func TestLblcrMax(t *testing.T) {
	a, c := newServer(1, 0), newServer(2, 3)
	counts(a, 9, 0)
	set := serverSet{members: []*ipvs.RealServer{a, c}}
	require.Same(t, c, set.max())
	setWeight(c, 0)
	require.Nil(t, set.max())
	set.remove(set.max(), in(time.Hour))
	require.Len(t, set.members, 2)
	require.Zero(t, set.lastMod)
}
