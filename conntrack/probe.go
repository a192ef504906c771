package conntrack

import (
	"sync/atomic"

	"usvs/clock"
	"usvs/ipvs"
)

// A packet of an established connection needs little: its entry found, counted
// and given more time. The probe's way does only that, for a batch of packets
// side by side, so that they wait for memory together:
//
//	AimIn4 ...   for each packet: where to search
//	Touch        for all of them: bring the words a search reads
//	Hit          for each packet, in order: count it and say where it goes
//
// Hit is LookupIn or LookupOut followed by Packet, or it reports false and has
// changed nothing; then those are the way to go. It needs no addresses but as
// words, and copies no Conn.

// Probe is one packet's search. A zero Probe can be aimed; one that was, again.
type Probe struct {
	hash   uint64
	meta   meta   // of the key as far as it is known
	pair   uint64 // IPv4: the service's or server's address, and the client's
	bucket *line
	entry  *entry // that it most likely meets, when it was touched; nil: none
	number uint32 // of that
	port   uint16 // DirOut: the server's
	dir    Dir
	client addr // IPv6
	peer   addr // IPv6: the service's or server's
}

// Words is an address in two words, as it stands in a header; one of IPv4 is
// in the lower half of Lo.
type Words struct{ Hi, Lo uint64 }

// AimIn4 aims at the connection of an IPv4 packet from client to virtual.
func (t *Table) AimIn4(p *Probe, proto uint8, client, virtual uint32, clientPort, virtualPort uint16) {
	p.meta, p.dir = meta(clientPort)<<48|meta(virtualPort)<<32|meta(proto)<<24, DirIn
	t.aim4(p, proto, client, virtual, clientPort)
}

// AimIn6 is AimIn4 for IPv6.
func (t *Table) AimIn6(p *Probe, proto uint8, client, virtual Words, clientPort, virtualPort uint16) {
	p.meta, p.dir = meta(clientPort)<<48|meta(virtualPort)<<32|meta(proto)<<24|metaVirtV6, DirIn
	t.aim(p, proto, addr{client.Hi, client.Lo, true}, addr{virtual.Hi, virtual.Lo, true}, clientPort)
}

// AimOut4 aims at the connection of an IPv4 packet from server to client.
func (t *Table) AimOut4(p *Probe, proto uint8, server, client uint32, serverPort, clientPort uint16) {
	p.meta, p.dir, p.port = meta(clientPort)<<48|meta(proto)<<24, DirOut, serverPort
	t.aim4(p, proto, client, server, clientPort)
}

// AimOut6 is AimOut4 for IPv6.
func (t *Table) AimOut6(p *Probe, proto uint8, server, client Words, serverPort, clientPort uint16) {
	p.meta, p.dir, p.port = meta(clientPort)<<48|meta(proto)<<24, DirOut, serverPort
	t.aim(p, proto, addr{client.Hi, client.Lo, true}, addr{server.Hi, server.Lo, true}, clientPort)
}

func (t *Table) aim4(p *Probe, proto uint8, client, peer uint32, clientPort uint16) {
	p.hash = t.seed.hash4(last4(client, clientPort, proto))
	p.pair = uint64(peer)<<32 | uint64(client)
	p.bucket = t.shard(p.hash).bucket(p.hash)
	p.entry = nil
}

// aim is aim4 for addresses of any kind.
func (t *Table) aim(p *Probe, proto uint8, client, peer addr, clientPort uint16) {
	p.hash = t.seed.hash(client, clientPort, proto)
	p.client, p.peer = client, peer
	p.pair = pairOf(peer, client)
	if client.v6 {
		p.meta |= metaClientV6
	}
	p.bucket = t.shard(p.hash).bucket(p.hash)
	p.entry = nil
}

// Touch begins the searches of probes that were aimed: it looks at all their
// buckets, and then at the entries that these most likely lead to. No search waits
// for another's memory: what it will need is prefetched for all of them, and Touch
// decides nothing by what it reads, so that the processor need not guess.
func (t *Table) Touch(probes []Probe) {
	prefetchBuckets(probes)
	for len(probes) > 0 {
		n := min(len(probes), touchedAtOnce)
		t.foretell(probes[:n])
		prefetchEntries(probes[:n])
		probes = probes[n:]
	}
}

// touchedAtOnce is how many entries are prefetched in one go.
const touchedAtOnce = 8

// foretell says of each probe which entry it most likely leads to.
func (t *Table) foretell(probes []Probe) {
	for i := range probes {
		p := &probes[i]
		n := p.bucket.pick(makeWord(p.hash, 0))
		if n > wordNumber {
			n = 0
		}
		p.number = uint32(n)
		p.entry = t.entries.at(uint32(n))
	}
}

// TouchFree begins to read the free entries and timer records that new
// connections of a worker would get where probes aim. Like Touch it is of use to
// many at once only: an atomic change waits for all reads before it.
func (t *Table) TouchFree(worker int, probes []Probe) {
	owner := uint32(worker) % maxWorkers
	var entries, records [maxShards]uint32 // by shard: the last one read, of its free ones
	for i := range probes {
		s := t.shard(probes[i].hash).id
		n := touchNext(t.entries, t.entries.list(owner, s), &entries[s])
		if e := t.entries.at(n); e != nil {
			e.ctl.Load()
		}
		if r := t.records.at(touchNext(t.records, t.records.list(owner, s), &records[s])); r != nil {
			r.Load()
		}
	}
}

// touchNext returns the free item on a list that comes after last, the first if
// that is 0, and begins to read its link.
func touchNext[T any](p *pool[T], list *atomic.Uint64, last *uint32) uint32 {
	if *last == 0 {
		*last = uint32(list.Load())
	} else if next := p.link(*last); next != nil {
		*last = next.Load()
	}
	return *last
}

// find returns the entry a probe meets.
func (t *Table) find(p *Probe) (uint32, *entry, control) {
	if p.entry != nil && p.number != 0 && (p.dir == DirIn || t.only(p.bucket, p.hash, p.number)) {
		if ctl, ok := t.meet(p.entry, p); ok {
			return p.number, p.entry, ctl
		}
	}
	if p.number == 0 && p.bucket.look().alone() {
		return 0, nil, 0
	}
	q := t.search(t.shard(p.hash), p.hash)
	i, e, ctl := t.first(0, &q, p)
	if !q.complete() {
		return 0, nil, 0
	}
	return i, e, ctl
}

// first is the entry that a packet meets. Of several that one from a server might
// be for, it is that which the order of their keys puts first.
func (t *Table) first(now clock.Instant, q *search, p *Probe) (i uint32, e *entry, ctl control) {
	for n := q.next(); n != 0; n = q.next() {
		other := t.entries.at(n)
		if other == nil {
			continue
		}
		octl, ok := t.meet(other, p)
		if ok && !other.over(now, octl) && (e == nil || n != i && t.precedes(other, e)) {
			i, e, ctl = n, other, octl
		}
	}
	return i, e, ctl
}

// meet reports whether an entry lives and the packet is its own. That its control
// word was the same before and after it was compared proves that it was in the
// table, however the search got there.
func (t *Table) meet(e *entry, p *Probe) (control, bool) {
	ctl := control(e.ctl.Load())
	step("probe: compare")
	if ctl.life() != alive || !t.meets(e, p) {
		return 0, false
	}
	now := control(e.ctl.Load())
	return now, now.is(ctl.gen())
}

// meets reports whether the packet is the entry's.
func (t *Table) meets(e *entry, p *Probe) bool {
	m := meta(e.meta.Load())
	switch {
	case p.dir == DirOut:
		return t.answers(e, m, p)
	case (m^p.meta)>>metaKeyShift != 0:
		return false
	case m&(metaClientV6|metaVirtV6) == 0:
		return t.pair(e, m) == p.pair
	}
	client, virtual, _ := t.addrs(e, m)
	return client == p.client && virtual == p.peer
}

// answers reports whether the packet, from a server to the entry's client, is
// the entry's: the server is known by its own address under Masquerade and by
// the virtual one otherwise (ipvs.md 2.2).
func (t *Table) answers(e *entry, m meta, p *Probe) bool {
	if (m^p.meta)&metaAnswer != 0 {
		return false
	}
	from, virtual, real := t.addrs(e, m)
	at, port := virtual, m.virtualPort()
	if m.method() == ipvs.Masquerade {
		at, port = real, m.realPort()
	}
	if port != p.port || at.v6 != from.v6 {
		return false
	}
	if from.v6 {
		return from == p.client && at == p.peer
	}
	return pairOf(at, from) == p.pair
}
