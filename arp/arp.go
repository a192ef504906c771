package arp

import (
	"net/netip"
	"sync/atomic"
	"time"

	"usvs/clock"
	"usvs/wire"
)

// Times and limits, as Linux has them (arp(7), RFC 4861 section 10).
const (
	reachableTime  = 30 * time.Second // after a confirmation
	delayTime      = 5 * time.Second  // from the first use of a stale entry to its probe
	retransTime    = time.Second      // between solicitations
	ageTime        = 60 * time.Second // an unused entry is then forgotten
	lockTime       = time.Second      // a new MAC is not replaced sooner (arp(7), locktime)
	maxTries       = 3
	conflictPeriod = 5 * time.Second // between two reports about the same address
	conflictGrace  = 2 * time.Second // what an election takes
)

// Local is what the cache asks about the director itself. Its methods must be
// safe for concurrent use and quick: Handle calls them for every frame.
type Local interface {
	// Owned reports whether the director answers for addr on that port.
	Owned(port int, addr netip.Addr) bool
	// Claims reports whether addr is the director's to serve, whoever answers
	// for it: what is Owned, and what the host itself carries. Another host
	// that uses such an address is reported.
	Claims(port int, addr netip.Addr) bool
	// Elected reports whether directors have an election about who has addr.
	Elected(addr netip.Addr) bool
	// MAC is the link-layer address that the director gives for addr, an owned
	// address or one that Source returned.
	MAC(port int, addr netip.Addr) wire.MAC
	// Ours reports whether mac is the address of one of the director's ports.
	Ours(mac wire.MAC) bool
	// Source is the address to ask from when target is looked for, or the zero
	// Addr if the port has none of that family. For a multicast target it is
	// the port's link-local address.
	Source(port int, target netip.Addr) netip.Addr
}

// Sink takes what a call produces. It belongs to one worker.
type Sink interface {
	// New returns an empty frame, or nil if there are none left.
	New() *wire.Frame
	// Send emits a complete Ethernet frame got from New on its Port.
	Send(f *wire.Frame)
	// Unreachable hands back a frame that waited for a next hop which does not
	// answer, for an ICMP error about it. The frame is the cache's: it must
	// not be kept or sent.
	Unreachable(f *wire.Frame)
	// Conflict reports that another host claims an address of ours. If it is
	// elected who has that, the election is waited for.
	Conflict(c Conflict)
}

// Conflict says that the host with that MAC answers for our address.
type Conflict struct {
	Port int
	Addr netip.Addr
	MAC  wire.MAC
}

// Config are the cache's settings; a zero field means its default.
type Config struct {
	Seed             uint64        // of the hash
	Capacity         int           // most neighbours; rounded up to a power of two; default 4096
	QueueLen         int           // frames that wait for one neighbour; default 101: what Linux's unres_qlen_bytes holds of full frames
	QueueBytes       int64         // bytes that wait for all of them; default 4 MiB
	AnnounceCount    int           // announcements of a new address; default 2 (RFC 5227 ANNOUNCE_NUM)
	AnnounceInterval time.Duration // between them; default 1 s
	Router           bool          // set the router flag in neighbour advertisements
}

func (c Config) withDefaults() Config {
	if c.Capacity <= 0 {
		c.Capacity = 4096
	}
	if c.QueueLen <= 0 {
		c.QueueLen = 101
	}
	if c.QueueBytes <= 0 {
		c.QueueBytes = 4 << 20
	}
	if c.AnnounceCount <= 0 {
		c.AnnounceCount = 2
	}
	if c.AnnounceInterval <= 0 {
		c.AnnounceInterval = time.Second
	}
	return c
}

// Cache is the director's view of its neighbours and its voice among them.
type Cache struct {
	cfg   Config
	local Local

	slots []atomic.Pointer[Neighbour]
	mask  uint64

	next   atomic.Int64 // when Tick has work
	queued atomic.Int64 // bytes waiting

	announcing agenda[announcement]
	members    atomic.Pointer[membership] // stack of IPv6 addresses whose groups we joined
	queries    spacing                    // of MLD queries heard
	conflicts  spacing                    // of conflicts reported
	suspects   agenda[suspicion]
	asked      spacing // until when an answer settles one

	counts [numCounters]atomic.Uint64
}

// New returns an empty cache.
func New(cfg Config, local Local) *Cache {
	c := &Cache{cfg: cfg.withDefaults(), local: local}
	size := window
	for size < c.cfg.Capacity {
		size *= 2
	}
	c.slots = make([]atomic.Pointer[Neighbour], size)
	c.mask = uint64(size - 1)
	c.next.Store(int64(clock.Never))
	return c
}

// Handle takes a received frame, parsed into p. It reports whether the frame
// is dealt with for good: a question about an address of ours, a claim to one,
// or an echo of our own. Everything else, other people's ARP and ND included,
// may concern the host's stack as well.
func (c *Cache) Handle(now clock.Instant, f *wire.Frame, p *wire.Packet, out Sink) bool {
	if f.Medium != wire.Ethernet {
		return false
	}
	arp, nd := p.EtherType == wire.TypeARP, isND(p)
	if !arp && !nd {
		return false
	}
	eth := wire.EthernetHeader(p.Data)
	switch {
	case p.L3 != wire.EthernetLen:
		c.count(Tagged) // another VLAN's business
		return false
	case c.local.Ours(eth.Src()):
		c.count(Own)
		return true
	case !eth.Dst().IsMulticast() && !c.local.Ours(eth.Dst()):
		c.count(NotForUs)
		return false
	}
	if arp {
		return c.handleARP(now, f.Port, p, out)
	}
	return c.handleND(now, f.Port, p, out)
}

// spacing remembers, by hash of an address, when it may be acted upon again.
type spacing [64]atomic.Int64

// spaced reports whether the last time it did so for addr is a period ago.
func (c *Cache) spaced(s *spacing, now clock.Instant, port int, addr netip.Addr, period time.Duration) bool {
	open := c.opening(s, port, addr)
	at := open.Load()
	return int64(now) >= at && open.CompareAndSwap(at, int64(now.Add(period)))
}

// opening is when an address may be acted upon again.
func (c *Cache) opening(s *spacing, port int, addr netip.Addr) *atomic.Int64 {
	return &s[c.hash(port, addr)%uint64(len(s))]
}
