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
	// DefaultShards is how many parts a table has, and each worker lists and timing
	// wheels.
	DefaultShards = 16
	// DefaultMaxEntries is how many connections and templates a table holds.
	DefaultMaxEntries = 1 << 22

	maxShards    = 256
	shardShift   = 56
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
	seed    hashKey
	servers *ipvs.Registry
	entries *pool[entry]
	lines   *pool[line] // that buckets overflow into
	wide    *pool[wide] // IPv6 addresses
	kin     beside[kin]
	bases   bases
	records *pool[atomic.Uint64]
	sides   sides
	shards  []shard
	byHash  [maxShards]*shard // by a hash's highest bits
	growth  *growth

	portions [maxWorkers]atomic.Pointer[portion]

	ftpPorts atomic.Pointer[[]uint16] // virtual ports of connections with the FTP helper
	noCPort  atomic.Int64             // connections whose client's port is not known yet

	adverts beside[atomic.Uint64]                    // what a synchronisation master told
	later   atomic.Pointer[func(clock.Instant, Ref)] // see OnLater

	secure   atomic.Bool
	timeouts [3]atomic.Uint32 // seconds: TCP ESTABLISHED, TCP FIN_WAIT, UDP
	rules    atomic.Pointer[rules]
}

// New returns an empty table.
func New(cfg Config) *Table { return newTable(cfg, firstBuckets) }

func newTable(cfg Config, buckets int) *Table {
	shards := shardCount(cfg.Shards)
	limit := cfg.MaxEntries
	if limit <= 0 {
		limit = DefaultMaxEntries
	}
	limit = min(limit, mostItems)
	g := new(growth)
	entries := newPool[entry](uint32(limit), shards, g)
	t := &Table{
		seed:    newHashKey(cfg.Seed),
		servers: cfg.Servers,
		entries: entries,
		lines:   newPool[line](uint32(limit/2+chunkSize), shards, g),
		wide:    newPool[wide](uint32(limit), shards, g),
		kin:     newBeside[kin](entries.limit),
		bases:   newBases(entries.limit),
		records: newPool[atomic.Uint64](uint32(limit)*maxRecords+spareRecords, shards, g),
		sides:   newSides(uint32(limit), entries.limit, shards, g),
		adverts: newBeside[atomic.Uint64](entries.limit),
		shards:  make([]shard, shards),
		growth:  g,
	}
	t.records.run = recordRun
	if t.servers == nil {
		t.servers = new(ipvs.Registry)
	}
	t.SetTimeouts(ipvs.DefaultTimeouts)
	t.SetFTPPorts(cfg.FTPPorts)
	buckets = max(buckets/shards, 1)
	for i := range t.shards {
		t.shards[i].init(uint32(i), uint32(buckets), uint32(max(limit/shards/perLine, buckets)))
	}
	for i := range t.byHash {
		t.byHash[i] = &t.shards[i%shards]
	}
	return t
}

func shardCount(n int) int {
	if n <= 0 {
		n = DefaultShards
	}
	return 1 << bits.Len(uint(min(n, maxShards)-1))
}

// Len is the number of connections and templates.
func (t *Table) Len() int {
	n := int64(0)
	for i := range t.shards {
		n += t.size(&t.shards[i])
	}
	return int(max(n, 0))
}

// Buckets is the number of hash buckets, which grows with the table.
func (t *Table) Buckets() int {
	n := 0
	for i := range t.shards {
		n += int(t.shards[i].size())
	}
	return n
}

// shard returns the shard of hash: by its highest bits, for the lowest choose the
// bucket.
func (t *Table) shard(hash uint64) *shard { return t.byHash[hash>>shardShift] }

func (t *Table) shardOf(e *entry) *shard { return t.shard(e.hash.Load()) }

// LookupIn finds the connection of a packet from client to virtual, and copies
// it to c. If there is none, c holds nothing of use, as with every lookup.
func (t *Table) LookupIn(now clock.Instant, proto ipvs.Protocol, client, virtual netip.AddrPort, c *Conn) bool {
	if client.Addr().Is4() && virtual.Addr().Is4() && t.lookup4(now, proto, client, virtual, c) {
		return true
	}
	k := t.key(proto, client, virtual, false)
	return t.lookup(now, &k, c) || t.noCPort.Load() > 0 && t.lookupExpected(now, proto, client.Addr(), virtual, c)
}

// lookup4 is LookupIn of IPv4 where the first guess is right: with as few
// instructions as may be, so that the processor begins with the next search while
// this one waits for memory.
func (t *Table) lookup4(now clock.Instant, proto ipvs.Protocol, client, virtual netip.AddrPort, c *Conn) bool {
	from, to := word4(client.Addr()), word4(virtual.Addr())
	hash := t.seed.hash4(last4(from, client.Port(), uint8(proto)))
	n := t.shard(hash).bucket(hash).pick(makeWord(hash, 0))
	if n > wordNumber {
		return false
	}
	e := t.entries.at(uint32(n))
	if e == nil {
		return false
	}
	ctl, m := control(e.ctl.Load()), meta(e.meta.Load())
	k := meta(client.Port())<<48 | meta(virtual.Port())<<32 | meta(proto)<<24
	return ctl.life() == alive && (m^k)>>metaKeyShift == 0 && !m.has(metaRealV6) &&
		e.pair.Load() == uint64(to)<<32|uint64(from) && t.take(now, uint32(n), e, ctl, c) == taken
}

// LookupTemplate finds a persistence template. client is masked as the service
// wants it. Protocol 0 is a firewall mark's, with the mark in place of the
// virtual address.
func (t *Table) LookupTemplate(now clock.Instant, proto ipvs.Protocol, client netip.Addr, virtual netip.AddrPort, c *Conn) bool {
	k := t.key(proto, netip.AddrPortFrom(client, 0), virtual, true)
	return t.lookup(now, &k, c)
}

func (t *Table) lookup(now clock.Instant, k *key, c *Conn) bool {
	i, none := t.guess(t.shard(k.hash), k.hash)
	if i != 0 {
		if e, ctl := t.match(i, k); e != nil {
			switch t.take(now, i, e, ctl, c) {
			case taken:
				return true
			case expired:
				return false
			}
		}
	}
	return !none && t.lookupAll(now, k, c)
}

// lookupAll is lookup where the first guess is of no use.
func (t *Table) lookupAll(now clock.Instant, k *key, c *Conn) bool {
again:
	q := t.search(t.shard(k.hash), k.hash)
	for i := q.next(); i != 0; i = q.next() {
		e, ctl := t.match(i, k)
		if e == nil {
			continue
		}
		switch t.take(now, i, e, ctl, c) {
		case taken:
			return true
		case expired:
			return false
		}
		goto again
	}
	if !q.complete() {
		goto again
	}
	return false
}

// LookupOut finds the connection of a packet from server to client, and copies
// it to c. The server is known by its own address under Masquerade and by the
// virtual one otherwise (ipvs.md 2.2).
func (t *Table) LookupOut(now clock.Instant, proto ipvs.Protocol, server, client netip.AddrPort, c *Conn) bool {
	if client.Addr().Is4() != server.Addr().Is4() {
		return false
	}
	p := Probe{meta: meta(client.Port())<<48 | meta(proto)<<24, dir: DirOut, port: server.Port()}
	t.aim(&p, uint8(proto), pack(client.Addr()), pack(server.Addr()), client.Port())
	if n := p.bucket.pick(makeWord(p.hash, 0)); n <= wordNumber && t.only(p.bucket, p.hash, uint32(n)) {
		if e := t.entries.at(uint32(n)); e != nil {
			if ctl, ok := t.meet(e, &p); ok && t.take(now, uint32(n), e, ctl, c) == taken {
				return true
			}
		}
	}
	for {
		q := t.search(t.shard(p.hash), p.hash)
		i, e, ctl := t.first(now, &q, &p)
		if !q.complete() {
			continue
		}
		if e == nil {
			return false
		}
		if t.take(now, i, e, ctl, c) == taken {
			return true
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

// take copies the entry that was found to c.
func (t *Table) take(now clock.Instant, i uint32, e *entry, ctl control, c *Conn) found {
	gen := ctl.gen()
	step("conn: take")
	x := expiry(e.ends.Load())
	if x.over(now) && x.of(gen) {
		ctl := control(e.ctl.Load())
		if !ctl.is(gen) {
			return gone
		}
		if !ctl.controls() {
			return expired
		}
		t.postpone(now, makeRef(i, gen), e, x)
	}
	if !t.read(i, e, gen, c) {
		return gone
	}
	return taken
}

// read copies incarnation gen of entry i to c, and reports whether it lives.
func (t *Table) read(i uint32, e *entry, gen uint64, c *Conn) bool {
	m, p := meta(e.meta.Load()), place(e.place.Load())
	step("conn: copy")
	x, u := expiry(e.ends.Load()), usage(e.usage.Load())
	c.Ref = makeRef(i, gen)
	c.Protocol = ipvs.Protocol(m.protocol())
	if m.has(metaWide) {
		t.readWide(e, m, c)
	} else {
		pair := e.pair.Load()
		c.Family = ipvs.IPv4
		c.Client = netip.AddrPortFrom(addr4(uint32(pair)), m.clientPort())
		c.Virtual = netip.AddrPortFrom(addr4(uint32(pair>>32)), m.virtualPort())
		c.Real = netip.AddrPortFrom(addr4(p.real()), m.realPort())
	}
	c.Method = m.method()
	c.Server = t.servers.Get(u.server())
	c.Mark, c.Control = 0, Ref{}
	if k := t.kinOf(i, p); k != nil {
		c.Mark, c.Control = k.mark.Load(), Ref{k.controller.Load()}
	}
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

// readWide copies addresses of which some are of IPv6.
func (t *Table) readWide(e *entry, m meta, c *Conn) {
	client, virtual, real := t.addrs(e, m)
	c.Family = ipvs.IPv4
	if client.v6 {
		c.Family = ipvs.IPv6
	}
	c.Client = netip.AddrPortFrom(client.unpack(), m.clientPort())
	c.Virtual = netip.AddrPortFrom(virtual.unpack(), m.virtualPort())
	c.Real = netip.AddrPortFrom(real.unpack(), m.realPort())
}

// flags are the control word's, by their other values.
func (c control) flags() Flags {
	return FlagHashed | Flags(c&ctlInactive)*(FlagInactive/Flags(ctlInactive)) |
		Flags(c&ctlNoOutput)*(FlagNoOutput/Flags(ctlNoOutput)) |
		Flags(c&ctlTemplate)*(FlagTemplate/Flags(ctlTemplate)) |
		Flags(c&ctlNoCPort)*(FlagNoCPort/Flags(ctlNoCPort)) |
		Flags(c&ctlSync)/(Flags(ctlSync)/FlagSync)
}
