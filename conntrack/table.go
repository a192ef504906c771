package conntrack

import (
	"math/bits"
	"net/netip"
	"sync/atomic"
	"time"

	"usvs/clock"
	"usvs/ipvs"
)

const (
	// DefaultShards is how many lists and timing wheels a table has.
	DefaultShards = 16
	// DefaultMaxEntries is how many connections and templates a table holds.
	DefaultMaxEntries = 1 << 22

	maxShards    = 256
	firstBuckets = 4096 // over all shards: the kernel's default, conn_tab_bits 12

	// maxRun bounds how many connections of one protocol a single client address
	// and port may have, because a search passes them all (see package comment).
	// Templates are exempt: a client has one per service.
	maxRun = 512

	newTimeout   = 3 * time.Second // until the first transition (ipvs.md 2.3)
	laterTimeout = time.Minute     // of an expired entry that controls others (2.4)
	maxTimeout   = 31 * 24 * time.Hour
)

// Config is what a Table is made from. The zero Config is usable.
type Config struct {
	Seed       uint64         // of the hash; should be unknown to clients
	Shards     int            // rounded up to a power of two; 0: DefaultShards
	MaxEntries int            // connections and templates; 0: DefaultMaxEntries
	Servers    *ipvs.Registry // the real servers' numbers; nil: an empty one
	FTPPorts   []uint16       // virtual ports of masqueraded TCP that is FTP
}

// Table is a connection table. Its methods may be called by anyone at any
// time; none of them waits.
type Table struct {
	seed    sipKey
	servers *ipvs.Registry
	entries *pool[entry]
	wide    *pool[wide] // IPv6 addresses
	kin     beside[kin]
	bases   bases
	records *pool[atomic.Uint64]
	sides   sides
	shards  []shard
	growth  *growth

	ftpPorts atomic.Pointer[[]uint16] // virtual ports of connections with the FTP helper
	noCPort  atomic.Int64             // connections whose client's port is not known yet

	adverts beside[atomic.Uint64]                    // what a synchronisation master told
	later   atomic.Pointer[func(clock.Instant, Ref)] // see OnLater

	secure   atomic.Bool
	timeouts [3]atomic.Uint32 // seconds: TCP ESTABLISHED, TCP FIN_WAIT, UDP
}

// New returns an empty table.
func New(cfg Config) *Table { return newTable(cfg, firstBuckets) }

func newTable(cfg Config, buckets int) *Table {
	shards := shardCount(cfg.Shards)
	limit := cfg.MaxEntries
	if limit <= 0 {
		limit = DefaultMaxEntries
	}
	limit = min(limit, maxEntries-maxEntries/chunkSize-2)
	g := new(growth)
	entries := newPool[entry](uint32(limit), shards, g)
	t := &Table{
		seed:    newSipKey(cfg.Seed),
		servers: cfg.Servers,
		entries: entries,
		wide:    newPool[wide](uint32(limit), shards, g),
		kin:     newBeside[kin](entries.limit),
		bases:   newBases(entries.limit),
		records: newPool[atomic.Uint64](uint32(limit)*maxRecords+spareRecords, shards, g),
		sides:   newSides(uint32(limit), entries.limit, shards, g),
		adverts: newBeside[atomic.Uint64](entries.limit),
		shards:  make([]shard, shards),
		growth:  g,
	}
	if t.servers == nil {
		t.servers = new(ipvs.Registry)
	}
	t.SetTimeouts(ipvs.DefaultTimeouts)
	t.SetFTPPorts(cfg.FTPPorts)
	buckets = max(buckets/shards, 1)
	for i := range t.shards {
		t.shards[i].init(uint32(i), shards, uint32(buckets), uint32(max(limit/shards, buckets)))
	}
	return t
}

func shardCount(n int) int {
	if n <= 0 {
		n = DefaultShards
	}
	return 1 << bits.Len(uint(min(n, maxShards)-1))
}

func (s *shard) init(id uint32, shards int, buckets, most uint32) {
	s.id, s.bits = id, bits.TrailingZeros(uint(shards))
	s.max = 1 << bits.Len32(most-1)
	s.first = bits.Len32(buckets - 1)
	s.size.Store(buckets)
	s.slot(0).Store(linkLinked)
}

// Len is the number of connections and templates.
func (t *Table) Len() int {
	n := int64(0)
	for i := range t.shards {
		n += t.shards[i].count.Load()
	}
	return int(max(n, 0))
}

// Buckets is the number of hash buckets, which grows with the table.
func (t *Table) Buckets() int {
	n := 0
	for i := range t.shards {
		n += int(t.shards[i].size.Load())
	}
	return n
}

// shard returns the shard of hash: by its lowest bits.
func (t *Table) shard(hash uint64) *shard { return &t.shards[hash&uint64(len(t.shards)-1)] }

func (t *Table) shardOf(e *entry) *shard { return t.shard(hashOf(place(e.place.Load()).order())) }

// LookupIn finds the connection of a packet from client to virtual, and copies
// it to c. If there is none, c holds nothing of use, as with every lookup.
func (t *Table) LookupIn(now clock.Instant, proto ipvs.Protocol, client, virtual netip.AddrPort, c *Conn) bool {
	k := t.key(proto, client, virtual, false)
	return t.lookup(now, &k, c) || t.noCPort.Load() > 0 && t.lookupExpected(now, proto, client.Addr(), virtual, c)
}

// LookupTemplate finds a persistence template. client is masked as the service
// wants it. Protocol 0 is a firewall mark's, with the mark in place of the
// virtual address.
func (t *Table) LookupTemplate(now clock.Instant, proto ipvs.Protocol, client netip.Addr, virtual netip.AddrPort, c *Conn) bool {
	k := t.key(proto, netip.AddrPortFrom(client, 0), virtual, true)
	return t.lookup(now, &k, c)
}

func (t *Table) lookup(now clock.Instant, k *key, c *Conn) bool {
	s := t.shard(k.hash)
	from := t.bucket(s, k.hash)
	for {
		w := walk{t: t, s: s}
		if !w.seek(from, k) {
			return false
		}
		switch t.take(now, &w, c) {
		case taken:
			return true
		case expired:
			return false
		}
	}
}

// LookupOut finds the connection of a packet from server to client, and copies
// it to c. The server is known by its own address under Masquerade and by the
// virtual one otherwise (ipvs.md 2.2).
func (t *Table) LookupOut(now clock.Instant, proto ipvs.Protocol, server, client netip.AddrPort, c *Conn) bool {
	var p Probe
	t.aim(&p, DirOut, uint8(proto), pack(client.Addr()), pack(server.Addr()), client.Port(), server.Port())
	s := t.shard(p.hash)
	from := t.bucket(s, p.hash)
	first := key{order: p.order} // of the client's entries
	w := walk{t: t, s: s}
again:
	for w.seek(from, &first); ; w.advance() {
		if !w.load() {
			goto again
		}
		if w.e == nil || w.order != p.order {
			return false
		}
		step("list: answers")
		if !t.answers(w.e, &p) { // it may have read two incarnations in one; take tells
			continue
		}
		switch t.take(now, &w, c) {
		case taken:
			return true
		case gone:
			goto again
		}
	}
}

// What take found.
type found uint8

const (
	taken   found = iota
	expired       // its time is over
	gone          // it died, or is another incarnation by now: search again
)

// take copies the entry a walk has found to c.
func (t *Table) take(now clock.Instant, w *walk, c *Conn) found {
	i, gen := w.current(), w.ctl.gen()
	if w.ctl.life() == embryo {
		t.publish(now, i, w.ctl)
	}
	step("conn: take")
	x := expiry(w.e.ends.Load())
	if x.over(now) && x.of(gen) {
		ctl := control(w.e.ctl.Load())
		if !ctl.is(gen) {
			return gone
		}
		if !ctl.controls() {
			return expired
		}
		t.postpone(now, makeRef(i, gen), w.e, x)
	}
	if !t.read(i, w.e, gen, c) {
		return gone
	}
	return taken
}

// read copies incarnation gen of entry i to c, and reports whether it lives.
func (t *Table) read(i uint32, e *entry, gen uint64, c *Conn) bool {
	m := meta(e.meta.Load())
	client, virtual, real := t.addrs(e, m)
	step("conn: copy")
	p, x, u := place(e.place.Load()), expiry(e.ends.Load()), usage(e.usage.Load())
	c.Ref = makeRef(i, gen)
	c.Protocol = ipvs.Protocol(m.protocol())
	c.Family = ipvs.IPv4
	if client.v6 {
		c.Family = ipvs.IPv6
	}
	c.Client = netip.AddrPortFrom(client.unpack(), m.clientPort())
	c.Virtual = netip.AddrPortFrom(virtual.unpack(), m.virtualPort())
	c.Real = netip.AddrPortFrom(real.unpack(), m.realPort())
	c.Method = m.method()
	c.Server = t.servers.Get(u.server())
	c.Mark = t.markOf(i, p)
	c.Control = t.controllerOf(i, p)
	c.Expires = x.at()
	c.Timeout = t.timeoutOf(i, x)
	c.InPackets = u.packets()
	if m.has(metaSide) {
		t.readSide(i, gen, c)
	} else if c.side != 0 {
		c.forget()
	}
	ctl := control(e.ctl.Load())
	c.State, c.Flags = ctl.state(), ctl.flags()
	return ctl.is(gen)
}

func (c control) flags() Flags {
	f := FlagHashed
	if c.has(ctlInactive) {
		f |= FlagInactive
	}
	if c.has(ctlNoOutput) {
		f |= FlagNoOutput
	}
	if c.has(ctlTemplate) {
		f |= FlagTemplate
	}
	if c.has(ctlNoCPort) {
		f |= FlagNoCPort
	}
	if c.has(ctlSync) {
		f |= FlagSync
	}
	return f
}
