package conntrack

import (
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
	key
	peer  addr // DirOut: the server's address
	port  uint16
	dir   Dir
	open  bool // the bucket is in the list; first is its word, or else its parent's
	first link // where that led when it was touched
}

// Words is an address in two words, as it stands in a header; one of IPv4 is
// in the lower half of Lo.
type Words struct{ Hi, Lo uint64 }

// Hot is what forwarding a packet of an established connection takes.
type Hot struct {
	Ref         Ref
	Server      *ipvs.RealServer // never nil, and available when looked at
	Virtual     Words
	Real        Words
	Mark        uint32
	VirtualPort uint16
	RealPort    uint16
	Method      ipvs.ForwardMethod
	VirtualV6   bool
	RealV6      bool
}

// AimIn4 aims at the connection of an IPv4 packet from client to virtual.
func (t *Table) AimIn4(p *Probe, proto uint8, client, virtual uint32, clientPort, virtualPort uint16) {
	t.aim(p, DirIn, proto, addr{lo: uint64(client)}, addr{lo: uint64(virtual)}, clientPort, virtualPort)
}

// AimIn6 is AimIn4 for IPv6.
func (t *Table) AimIn6(p *Probe, proto uint8, client, virtual Words, clientPort, virtualPort uint16) {
	t.aim(p, DirIn, proto, addr{client.Hi, client.Lo, true}, addr{virtual.Hi, virtual.Lo, true}, clientPort, virtualPort)
}

// AimOut4 aims at the connection of an IPv4 packet from server to client.
func (t *Table) AimOut4(p *Probe, proto uint8, server, client uint32, serverPort, clientPort uint16) {
	t.aim(p, DirOut, proto, addr{lo: uint64(client)}, addr{lo: uint64(server)}, clientPort, serverPort)
}

// AimOut6 is AimOut4 for IPv6.
func (t *Table) AimOut6(p *Probe, proto uint8, server, client Words, serverPort, clientPort uint16) {
	t.aim(p, DirOut, proto, addr{client.Hi, client.Lo, true}, addr{server.Hi, server.Lo, true}, clientPort, serverPort)
}

func (t *Table) aim(p *Probe, dir Dir, proto uint8, client, peer addr, clientPort, peerPort uint16) {
	p.hash = t.seed.hash(client, clientPort, proto)
	p.order = entryOrder(p.hash)
	p.client, p.peer = client, peer
	p.port, p.dir = peerPort, dir
	p.meta = meta(clientPort)<<48 | meta(proto)<<24
	if client.v6 {
		p.meta |= metaClientV6
	}
	if dir == DirIn {
		p.virtual = peer
		p.meta |= meta(peerPort) << 32
		if peer.v6 {
			p.meta |= metaVirtV6
		}
	}
	p.open, p.first = false, 0
}

// Touch begins the searches of probes that were aimed. No search waits for
// another's memory: Touch decides nothing by what it reads, so that the processor
// need not guess either.
func (t *Table) Touch(probes []Probe) {
	for i := range probes {
		p := &probes[i]
		s := t.shard(p.hash)
		b := s.bucketOf(p.hash)
		if g := s.segment(b).Load(); g != nil {
			p.first = g.at(b).Load()
		}
		if p.open = linked(p.first); !p.open {
			p.first = s.peekParent(b)
		}
	}
	for range touchedHops {
		t.hop(probes)
	}
}

// hop looks at the entries that searches have come to, and passes those that
// stand before the one that is sought. The next ones are looked at in the next
// round.
func (t *Table) hop(probes []Probe) {
	for i := range probes {
		p := &probes[i]
		n := uint32(p.first & linkNumber)
		if n == 0 || n&bucketBit != 0 {
			continue
		}
		e := t.entries.at(n)
		if e == nil {
			continue
		}
		first, next := p.first, e.next.Load()
		if place(e.place.Load()).order() < p.order {
			first = next
		}
		p.first = first
	}
}

// touchedHops is how many entries of a bucket Touch looks at: among as many
// connections as buckets, all but one in 40 stand there.
const touchedHops = 3

// TouchFree begins to read the free entries and timer records that new
// connections would get where probes aim. Like Touch it is of use to many at
// once only: an atomic change waits for all reads before it.
func (t *Table) TouchFree(probes []Probe) {
	var entries, records [maxShards]uint32 // by shard: the last one read, of its free ones
	for i := range probes {
		s := t.shard(probes[i].hash).id
		n := t.entries.touchFree(s, &entries[s])
		if e := t.entries.at(n); e != nil {
			e.ctl.Load()
		}
		w := t.wheelOf(n)
		if r := t.records.at(t.records.touchFree(w, &records[w])); r != nil {
			r.Load()
		}
	}
}

// touchFree returns the free item of a shard that comes after last, the first
// if that is 0, and begins to read its link.
func (p *pool[T]) touchFree(shard uint32, last *uint32) uint32 {
	if *last == 0 {
		*last = uint32(p.free[shard].head.Load())
	} else if next := p.link(*last); next != nil {
		*last = next.Load()
	}
	return *last
}

// peekParent reads the word from which the opening of bucket b will begin, most
// likely.
func (s *shard) peekParent(b uint32) link {
	if b == 0 {
		return 0
	}
	if g := s.segment(parent(b)).Load(); g != nil {
		return g.at(parent(b)).Load()
	}
	return 0
}

// maxHops bounds how many entries Hit passes before it leaves the search to
// others.
const maxHops = 32

// find returns the entry a probe meets. That its control word was the same
// before and after it was compared proves that it was in the table, however
// the search got there.
func (t *Table) find(p *Probe) (uint32, *entry, control) {
	l := p.first
	if !p.open {
		return 0, nil, 0
	}
	for range maxHops {
		n := uint32(l & linkNumber)
		if n == 0 || n&bucketBit != 0 {
			break
		}
		e := t.entries.at(n)
		if e == nil {
			break
		}
		order := place(e.place.Load()).order()
		if order > p.order {
			break
		}
		if order == p.order {
			ctl := control(e.ctl.Load())
			step("probe: compare")
			if t.meets(e, p) {
				return n, e, ctl
			}
		}
		l = e.next.Load()
	}
	return 0, nil, 0
}

// meets reports whether the packet is the entry's.
func (t *Table) meets(e *entry, p *Probe) bool {
	if p.dir == DirOut {
		return t.answers(e, p)
	}
	return t.compare(e, &p.key) == 0
}

// answers reports whether the packet, from a server to the entry's client, is
// the entry's: the server is known by its own address under Masquerade and by
// the virtual one otherwise (ipvs.md 2.2).
func (t *Table) answers(e *entry, p *Probe) bool {
	m := meta(e.meta.Load())
	if m.clientPort() != p.meta.clientPort() || m.has(metaTemplate) ||
		m.protocol() != p.meta.protocol() || m.has(metaClientV6) != p.client.v6 {
		return false
	}
	client, virtual, real := t.addrs(e, m)
	if m.method() == ipvs.Masquerade {
		return client == p.client && m.realPort() == p.port && real == p.peer
	}
	return client == p.client && m.virtualPort() == p.port && virtual == p.peer
}

// Hit counts a packet of an established connection, gives the connection its
// timeout again and says in h where the packet goes. It reports false, having
// changed nothing, if there is no such connection or anything unusual about it
// or the packet: its state changes, its real server is gone or unknown, it
// controls others, has a helper, or its client's port is not known yet.
func (t *Table) Hit(now clock.Instant, p *Probe, ev Event, h *Hot) bool {
	i, e, ctl := t.find(p)
	if e == nil || ctl.life() != alive || ctl.controls() || ctl.has(ctlNoCPort) {
		return false
	}
	m := meta(e.meta.Load())
	proto := ipvs.Protocol(m.protocol())
	if m.has(metaSide) || ctl.transition(proto, p.dir, ev, t.secure.Load()) != ctl {
		return false
	}
	rs := t.servers.Get(usage(e.usage.Load()).server())
	if rs == nil || !rs.Available() {
		return false
	}
	at := place(e.place.Load())
	_, virtual, real := t.addrs(e, m)
	h.Ref, h.Server, h.Mark, h.Method = makeRef(i, ctl.gen()), rs, t.markOf(i, at), m.method()
	h.Virtual, h.VirtualPort, h.VirtualV6 = Words{virtual.hi, virtual.lo}, m.virtualPort(), virtual.v6
	h.Real, h.RealPort, h.RealV6 = Words{real.hi, real.lo}, m.realPort(), real.v6
	controller := t.controllerOf(i, at)
	x := expiry(e.ends.Load())
	timeout := t.timeoutOf(i, x)
	if ev != EventNone && t.timeout(proto, ctl.state(), timeout) != timeout {
		return false
	}
	step("probe: prolong")
	if control(e.ctl.Load()) != ctl || !x.of(ctl.gen()) || x.over(now) {
		return false
	}
	to := makeExpiry(ctl.gen(), now.Add(timeout), x&expiryTimeout)
	if x != to && !e.ends.CompareAndSwap(uint64(x), uint64(to)) {
		return false
	}
	t.arm(now, i)
	if ev == EventUDP && p.dir == DirOut {
		t.assure(controller)
	}
	if p.dir == DirIn {
		e.countPacket(ctl.gen())
	}
	return true
}
