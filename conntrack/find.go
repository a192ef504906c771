package conntrack

import (
	"usvs/clock"
	"usvs/ipvs"
)

// Finding a connection takes two reads of memory, of a bucket and of an entry,
// that have to wait for each other, and next to nothing else. What the processor
// looks ahead is a number of instructions: with few of them per search it begins
// the next ones while one waits. So what finds an IPv4 connection decides once,
// at the end, and copies nothing.

// FindIn4 is LookupIn of an IPv4 packet from client to virtual, without a copy: it
// returns the connection and its real server, which is nil for a bypass. The Ref
// is zero if there is none.
func (t *Table) FindIn4(now clock.Instant, proto uint8, client, virtual uint32, clientPort, virtualPort uint16) (Ref, *ipvs.RealServer) {
	k := meta(clientPort)<<48 | meta(virtualPort)<<32 | meta(proto)<<24
	pair := uint64(virtual)<<32 | uint64(client)
	hash := t.seed.hash4(last4(client, clientPort, proto))
	l := t.shard(hash).bucket(hash)
	n := l.pick(makeWord(hash, 0))
	if n > wordNumber {
		n = t.pickBeyond(l, makeWord(hash, 0))
	}
	if e := t.picked(n); e != nil {
		ctl, m := control(e.ctl.Load()), meta(e.meta.Load())
		differs := uint64((m^k)>>metaKeyShift|m&metaRealV6) | (e.pair.Load() ^ pair)
		u := usage(e.usage.Load())
		if differs|e.changed(now, ctl) == 0 {
			return makeRef(uint32(n), ctl.gen()), t.servers.Get(u.server())
		}
	}
	var c Conn
	if !t.LookupIn(now, ipvs.Protocol(proto), addrPort4(client, clientPort), addrPort4(virtual, virtualPort), &c) {
		return Ref{}, nil
	}
	return c.Ref, c.Server
}

// FindOut4 is LookupOut as FindIn4 is LookupIn.
func (t *Table) FindOut4(now clock.Instant, proto uint8, server, client uint32, serverPort, clientPort uint16) (Ref, *ipvs.RealServer) {
	k := meta(clientPort)<<48 | meta(proto)<<24
	hash := t.seed.hash4(last4(client, clientPort, proto))
	l := t.shard(hash).bucket(hash)
	n := l.pick(makeWord(hash, 0))
	if n > wordNumber {
		n = t.pickBeyond(l, makeWord(hash, 0))
	}
	if e := t.picked(n); e != nil && t.only(l, hash, uint32(n)) {
		ctl, m := control(e.ctl.Load()), meta(e.meta.Load())
		at, port := e.pair.Load(), m.virtualPort()
		if m.method() == ipvs.Masquerade {
			at, port = e.place.Load()>>32<<32|at&0xffffffff, m.realPort()
		}
		differs := uint64((m^k)&metaAnswer|m&metaWide) | (at ^ (uint64(server)<<32 | uint64(client))) | uint64(port^serverPort)
		u := usage(e.usage.Load())
		if differs|e.changed(now, ctl) == 0 {
			return makeRef(uint32(n), ctl.gen()), t.servers.Get(u.server())
		}
	}
	var c Conn
	if !t.LookupOut(now, ipvs.Protocol(proto), addrPort4(server, serverPort), addrPort4(client, clientPort), &c) {
		return Ref{}, nil
	}
	return c.Ref, c.Server
}

// picked is the entry that a bucket's pick leads to, or nil if it leads nowhere.
func (t *Table) picked(n uint64) *entry {
	if n>>chunkBits >= uint64(len(t.entries.chunks)) {
		return nil
	}
	c := t.entries.chunks[n>>chunkBits].Load()
	step("find: picked")
	if c == nil {
		return nil
	}
	return &c.item[n&(chunkSize-1)]
}

// changed is zero if the entry, whose control word was ctl, lived then and lives
// still, in the same incarnation, and its time is not over.
func (e *entry) changed(now clock.Instant, ctl control) uint64 {
	x, over := expiry(e.ends.Load()), uint64(0)
	if x.at() <= now {
		over = 1
	}
	step("find: compared")
	is := control(e.ctl.Load())
	return over | uint64(x>>63) | uint64((ctl^is)>>genShift) | uint64((ctl^alive|is^alive)&lifeMask)
}
