package conntrack

// freed is what connections leave that end by their timers, on its way to the
// lists of a wheel's owner and shard: what many leave is given back by as many
// atomic changes as what one does.
//
// A goroutine that stops keeps it. Nobody waits for it: who needs an entry or a
// record takes another one.
type freed struct {
	owner, shard uint32
	entries      linked
	records      linked
	ended        int32 // entries that are yet to be counted out
}

// entry takes entry i of shard s, which is dead and has nothing left. Without f, or
// if it belongs elsewhere, it is given back at once.
func (f *freed) entry(t *Table, s *shard, i uint32) {
	owner := t.entries.owner(i)
	if f == nil || f.owner != owner || f.shard != s.id {
		step("freed: count")
		t.portion(owner).count(s, -1)
		t.entries.push(t.entries.list(owner, s.id), i)
		return
	}
	f.ended++
	t.entries.join(&f.entries, i)
}

// record takes a timer record that is not needed any more.
func (f *freed) record(t *Table, r uint32) {
	if t.records.owner(r) != f.owner {
		t.records.put(f.shard, r)
		return
	}
	t.records.join(&f.records, r)
}

// giveBack gives all back.
func (f *freed) giveBack(t *Table) {
	if f.ended > 0 {
		step("freed: count all")
		t.portion(f.owner).count(&t.shards[f.shard], -f.ended)
		t.entries.pushAll(t.entries.list(f.owner, f.shard), f.entries)
	}
	if f.records.top != 0 {
		t.records.pushAll(t.records.list(f.owner, f.shard), f.records)
	}
}
