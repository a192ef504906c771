package sched

import (
	"math"
	"net/netip"
	"time"

	"usvs/clock"
	"usvs/ipvs"
)

const (
	cacheBits    = 10
	cacheBuckets = 1 << cacheBits
	cacheSoft    = 16 * cacheBuckets // entries above which collection frees idle ones
	cacheHard    = cacheSoft * 3 / 2 // entries above which none is created

	collectPeriod = 60 * time.Second
	collectLap    = 30 // ticks from one full expiry to the next
	collectIdle   = 6 * time.Minute
)

// cache remembers a V by packet destination for lblc and lblcr, and forgets
// as they do: it has a tick every 60 s, which frees some idle entries if there
// are too many, and every 30th drops all that were not used for the
// expiration time. Ticks that came due are run by the next lookup.
//
// Entries are found by the map, so that no choice of destinations makes a
// lookup slow. The buckets give the order of collection.
type cache[V any] struct {
	entries  map[netip.Addr]*cacheEntry[V]
	buckets  [cacheBuckets]*cacheEntry[V]
	rover    uint32 // bucket where the last collection stopped
	ticks    int    // since the last full expiry, this one included
	nextTick clock.Instant
}

// cacheEntry is what the cache holds for one destination.
type cacheEntry[V any] struct {
	value   V
	lastUse clock.Instant
	dst     netip.Addr
	next    *cacheEntry[V] // in the bucket
}

// lookup returns the entry for dst and marks it used, or nil.
func (c *cache[V]) lookup(dst netip.Addr, now clock.Instant, expiration time.Duration) *cacheEntry[V] {
	c.collect(now, expiration)
	e := c.entries[dst]
	if e != nil {
		e.lastUse = now
	}
	return e
}

// create adds an entry for dst, which has none. It returns nil if the cache is full.
func (c *cache[V]) create(dst netip.Addr, now clock.Instant) *cacheEntry[V] {
	if len(c.entries) >= cacheHard {
		return nil
	}
	if c.entries == nil {
		c.entries = make(map[netip.Addr]*cacheEntry[V])
	}
	head := &c.buckets[hash32(fold(dst), cacheBits)]
	e := &cacheEntry[V]{dst: dst, lastUse: now, next: *head}
	c.entries[dst], *head = e, e
	return e
}

// collect runs the ticks that came due. After a long silence it leaves out
// whole laps: the full expiry of the last one drops all that theirs would have.
func (c *cache[V]) collect(now clock.Instant, expiration time.Duration) {
	const lap = collectLap * collectPeriod
	if c.ticks == 0 {
		c.ticks, c.nextTick = 1, now.Add(collectPeriod)
	}
	if late := now.Sub(c.nextTick); late > 2*lap {
		c.nextTick = c.nextTick.Add(late - late%lap - lap)
	}
	for c.nextTick.Before(now) {
		c.tick(c.nextTick, expiration)
		c.nextTick = c.nextTick.Add(collectPeriod)
	}
}

// tick is one run of the kernel's collection timer at time t.
func (c *cache[V]) tick(t clock.Instant, expiration time.Duration) {
	excess := len(c.entries) - cacheSoft
	switch {
	case c.ticks == collectLap:
		c.sweep(t, expiration, math.MaxInt)
		c.ticks = 1
	case excess > 0:
		c.sweep(t, collectIdle, min(excess*4/3, cacheSoft/2))
	default:
		c.ticks++
	}
}

// sweep drops entries idle for at least the given time, bucket by bucket from
// behind the rover, until goal are gone or every bucket was seen.
func (c *cache[V]) sweep(t clock.Instant, idle time.Duration, goal int) {
	for range cacheBuckets {
		c.rover = (c.rover + 1) % cacheBuckets
		for link := &c.buckets[c.rover]; *link != nil; {
			e := *link
			if e.lastUse.Add(idle).After(t) {
				link = &e.next
				continue
			}
			*link = e.next
			delete(c.entries, e.dst)
			goal--
		}
		if goal <= 0 {
			return
		}
	}
}

// locallyOverloaded reports whether rs has more active connections than its
// weight while another server uses less than half of its own. Only then may a
// destination leave the server that caches it.
func locallyOverloaded(rs *ipvs.RealServer, servers []*ipvs.RealServer) bool {
	if rs.Active() <= rs.Weight() {
		return false
	}
	for _, other := range servers {
		if 2*int64(other.Active()) < int64(other.Weight()) {
			return true
		}
	}
	return false
}
