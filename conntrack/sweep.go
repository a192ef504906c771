package conntrack

import "usvs/clock"

// Slots is no less than the highest number that an entry has: Sweep goes from 1
// to there.
func (t *Table) Slots() uint32 { return t.entries.highest() }

// Sweep calls yield with a copy of each connection and template in the slots
// from first to before end, as Walk does with all of them; the copy is in c. A
// sweep over the whole table is cut into such calls, so that each takes a
// bounded time.
func (t *Table) Sweep(now clock.Instant, first, end uint32, c *Conn, yield func(*Conn)) {
	for i, last := max(first, 1), t.entries.highest(); i < end && i <= last; i++ {
		if t.visit(now, i, c) {
			yield(c)
		}
	}
}

// Bucket appends to refs those of the entries in a bucket; any number names
// one. It appends at most maxRun of them, and may miss what comes or goes
// meanwhile.
func (t *Table) Bucket(n uint32, refs []Ref) []Ref {
	s := &t.shards[n&uint32(len(t.shards)-1)]
	size := s.size()
	b := bucketOf(uint64(n)/uint64(len(t.shards)), size)
	most := len(refs) + maxRun
	if l := s.line(b); !l.look().whole() {
		refs = t.refs(t.searchChain(s, s.line(parent(b)), b, size), refs, most)
	}
	return t.refs(t.searchChain(s, s.line(b), b, size), refs, most)
}

// refs appends those of the living entries that q finds, up to most.
func (t *Table) refs(q search, refs []Ref, most int) []Ref {
	for i := q.next(); i != 0 && len(refs) < most; i = q.next() {
		if e := t.entries.at(i); e != nil {
			if ctl := control(e.ctl.Load()); ctl.life() == alive {
				refs = append(refs, makeRef(i, ctl.gen()))
			}
		}
	}
	return refs
}

// Remove ends an entry by force, unless it controls others. What controlled it,
// and now controls nobody, ends with it, but for a template that is ASSURED
// (ipvs.md 2.4).
func (t *Table) Remove(now clock.Instant, c *Conn) bool {
	if !t.Expire(now, c.Ref) {
		return false
	}
	if e, ctl := t.living(c.Control); e != nil && !(ctl.has(ctlTemplate) && ctl.state() == TemplateAssured) {
		t.Expire(now, c.Control)
	}
	return true
}

// Controls reports whether r controls other entries.
func (t *Table) Controls(r Ref) bool {
	e, ctl := t.living(r)
	return e != nil && ctl.controls()
}
