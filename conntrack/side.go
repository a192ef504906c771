package conntrack

import (
	"encoding/binary"
	"sync/atomic"
)

// Few entries have more to remember than fits an entry: what a persistence
// engine goes by, or what a helper does to a connection. It stands in a side
// record. A record does not change while it is linked: a change is a new record
// that takes the old one's place by one swap, so that readers see all of it or
// nothing. Chunks of links and records are made when first needed.

const (
	maxEngineData = 255 // bytes; a Call-ID's limit in the kernel (ipvs.md 2.5)
	sideWords     = (maxEngineData + 7) / 8
)

// sides is the slab of side records, with one link per entry.
type sides struct {
	links   beside[atomic.Uint64]
	records *pool[side]
}

// side is one record.
type side struct {
	head atomic.Uint64    // AppSeq 32, App 8, engine 8, length of its data 8, AppMode 8
	seq  [4]atomic.Uint64 // of each direction: Init 32, Delta 32; Previous
	data [sideWords]atomic.Uint64
}

// A side link names an entry's record: generation 28, changes 10, number 26.
type sideLink uint64

const (
	sideNumber   sideLink = 1<<26 - 1
	sideChange   sideLink = 1 << 26
	sideGenShift          = 36
)

func makeSideLink(gen uint64, n uint32) sideLink { return sideLink(gen)<<sideGenShift | sideLink(n) }
func (l sideLink) of(gen uint64) bool            { return uint64(l>>sideGenShift) == gen }

// changed is the link that replaces l to name record n.
func (l sideLink) changed(n uint32) sideLink {
	const counter = 1<<sideGenShift - sideChange
	return l&^counter&^sideNumber | (l+sideChange)&counter | sideLink(n)
}

func newSides(limit, entries uint32, shards int, g *growth) sides {
	return sides{
		links:   newBeside[atomic.Uint64](entries),
		records: newPool[side](min(2*limit, mostItems), shards, g), // a change holds two for a moment
	}
}

// linkOf is entry i's link, 0 if it never had one.
func (s *sides) linkOf(i uint32) sideLink {
	if l := s.links.peek(i); l != nil {
		return sideLink(l.Load())
	}
	return 0
}

// attach gives entry i, which is nobody else's yet, its record.
func (s *sides) attach(worker, shard, i uint32, gen uint64, n *Spec, app App) bool {
	r := s.records.get(worker, shard)
	if r == 0 {
		return false
	}
	s.records.at(r).store(engineNumber(n.PEName), n.PEData, &Conn{App: app, InSeq: n.InSeq, OutSeq: n.OutSeq})
	s.links.at(i).Store(uint64(makeSideLink(gen, r)))
	return true
}

// detach frees entry i's record when the entry itself is freed.
func (s *sides) detach(shard, i uint32) {
	l := sideLink(s.links.at(i).Swap(0)) // a change that is under way fails from now on
	step("side: detach")
	if n := uint32(l & sideNumber); n != 0 {
		s.records.put(shard, n)
	}
}

func (r *side) store(engine uint8, data []byte, c *Conn) {
	r.head.Store(uint64(c.AppSeq)<<32 | uint64(c.App)<<24 | uint64(engine)<<16 | uint64(len(data))<<8 | uint64(c.AppMode))
	for i, q := range [2]*Seq{&c.InSeq, &c.OutSeq} {
		r.seq[2*i].Store(uint64(q.Init)<<32 | uint64(uint32(q.Delta)))
		r.seq[2*i+1].Store(uint64(uint32(q.Previous)))
	}
	for i := 0; len(data) > 0; i++ {
		var b [8]byte
		data = data[copy(b[:], data):]
		r.data[i].Store(binary.LittleEndian.Uint64(b[:]))
	}
}

// readSide copies incarnation gen's record to c. If that incarnation ends
// meanwhile, c holds nothing of use, as its caller will find out.
func (t *Table) readSide(i uint32, gen uint64, c *Conn) {
	link := t.sides.links.peek(i)
	for {
		c.forget()
		if link == nil {
			return
		}
		l := sideLink(link.Load())
		if !l.of(gen) {
			return
		}
		c.side = l
		step("side: read")
		if r := t.sides.records.at(uint32(l & sideNumber)); r != nil {
			r.copyTo(c)
		}
		if sideLink(link.Load()) == l {
			return
		}
	}
}

func (r *side) copyTo(c *Conn) {
	head := r.head.Load()
	c.App, c.AppMode, c.AppSeq = App(head>>24), uint8(head), uint32(head>>32)
	for i, q := range [2]*Seq{&c.InSeq, &c.OutSeq} {
		w := r.seq[2*i].Load()
		*q = Seq{Init: uint32(w >> 32), Delta: int32(uint32(w)), Previous: int32(uint32(r.seq[2*i+1].Load()))}
	}
	c.PEName = engineName(uint8(head >> 16))
	n := int(uint8(head >> 8))
	for i := 0; i*8 < n; i++ {
		c.PEData = binary.LittleEndian.AppendUint64(c.PEData, r.data[i].Load())
	}
	c.PEData = c.PEData[:n]
}

// forget makes c the copy of an entry without a side record.
func (c *Conn) forget() {
	c.PEName, c.PEData = "", c.PEData[:0]
	c.App, c.AppMode, c.AppSeq, c.InSeq, c.OutSeq, c.side = AppNone, 0, 0, Seq{}, Seq{}, 0
}

// StoreApp makes what c says of its helper, AppMode, AppSeq, InSeq and
// OutSeq, the connection's. It reports false, and does nothing, if the connection has ended
// or somebody else changed them since c was copied.
func (t *Table) StoreApp(c *Conn) bool {
	e, _ := t.living(c.Ref)
	if e == nil || c.side == 0 {
		return false
	}
	shard := t.shardOf(e).id
	n := t.sides.records.get(t.entries.owner(c.Ref.index()), shard)
	if n == 0 {
		return false
	}
	t.sides.records.at(n).store(engineNumber(c.PEName), c.PEData, c)
	to := c.side.changed(n)
	step("side: change")
	if !t.sides.links.at(c.Ref.index()).CompareAndSwap(uint64(c.side), uint64(to)) {
		t.sides.records.put(shard, n)
		return false
	}
	t.sides.records.put(shard, uint32(c.side&sideNumber))
	c.side = to
	return true
}
