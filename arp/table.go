package arp

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"usvs/clock"
	"usvs/wire"
)

// window is how many slots behind its hash may hold an address.
const window = 16

const usedGrain = time.Second

// hash mixes the key with the seed by one wide multiplication.
func (c *Cache) hash(port int, addr netip.Addr) uint64 {
	b := addr.As16()
	hi, lo := bits.Mul64(
		c.cfg.Seed^binary.LittleEndian.Uint64(b[:8])^0x9e3779b97f4a7c15,
		uint64(port)*0xd6e8feb86659fd93^binary.LittleEndian.Uint64(b[8:])^0xbf58476d1ce4e5b9)
	return hi ^ lo
}

func (c *Cache) slot(h uint64, i int) *atomic.Pointer[Neighbour] {
	return &c.slots[(h+uint64(i))&c.mask]
}

func (c *Cache) find(port int, addr netip.Addr) *Neighbour {
	h := c.hash(port, addr)
	for i := range window {
		if n := c.slot(h, i).Load(); n != nil && n.addr == addr && n.port == port {
			return n
		}
	}
	return nil
}

// obtain returns the neighbour and makes it if it is not there, at the expense
// of another of at most the given rank. It returns nil if there is no room.
func (c *Cache) obtain(now clock.Instant, port int, addr netip.Addr, rank int) *Neighbour {
	h := c.hash(port, addr)
	for {
		if n := c.find(port, addr); n != nil {
			return n
		}
		slot, victim := c.place(now, h)
		if slot == nil || victim != nil && victim.rank(now) > rank {
			c.count(NoRoom)
			return nil
		}
		n := &Neighbour{addr: addr, port: port}
		n.updated.Store(int64(now))
		if !slot.CompareAndSwap(victim, n) {
			continue // another worker was faster: look again
		}
		if victim != nil {
			c.count(Evictions)
			c.discard(victim)
		}
		c.wakeAt(now.Add(ageTime))
		return c.unify(h, n)
	}
}

// place finds an empty slot, or the one whose neighbour is least useful.
func (c *Cache) place(now clock.Instant, h uint64) (slot *atomic.Pointer[Neighbour], victim *Neighbour) {
	worst := rankStatic
	for i := range window {
		s := c.slot(h, i)
		n := s.Load()
		if n == nil {
			return s, nil
		}
		r := n.rank(now)
		if r < worst || r == worst && victim != nil && n.lastSeen() < victim.lastSeen() {
			slot, victim, worst = s, n, r
		}
	}
	return slot, victim
}

// unify leaves only the first of several neighbours for n's address, which
// workers may have inserted at the same time, and returns that one.
func (c *Cache) unify(h uint64, n *Neighbour) *Neighbour {
	var first *Neighbour
	for i := range window {
		s := c.slot(h, i)
		m := s.Load()
		switch {
		case m == nil || m.addr != n.addr || m.port != n.port:
		case first == nil:
			first = m
		case s.CompareAndSwap(m, nil):
			c.discard(m)
		}
	}
	if first == nil {
		return n // evicted already: its queue is or will be closed
	}
	return first
}

// remove takes the neighbour out of its slot.
func (c *Cache) remove(n *Neighbour) {
	h := c.hash(n.port, n.addr)
	for i := range window {
		if s := c.slot(h, i); s.Load() == n && s.CompareAndSwap(n, nil) {
			c.discard(n)
			return
		}
	}
}

// discard closes the queue of a neighbour that has left the table.
func (c *Cache) discard(n *Neighbour) {
	for range c.drain(n, closed) {
		c.count(EvictedFrames)
	}
}

// Entry describes a neighbour.
type Entry struct {
	Port  int
	Addr  netip.Addr
	MAC   wire.MAC
	State State
}

// Entries lists the neighbours by port and address.
func (c *Cache) Entries(now clock.Instant) []Entry {
	var list []Entry
	for i := range c.slots {
		n := c.slots[i].Load()
		if n == nil {
			continue
		}
		w := n.word()
		e := Entry{Port: n.port, Addr: n.addr, MAC: w.mac(), State: w.state()}
		if e.State == Reachable && !n.fresh(now) {
			e.State = Stale
		}
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.Port, b.Port), a.Addr.Compare(b.Addr))
	})
	return list
}
