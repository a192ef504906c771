package forward

// part is a fragment of a datagram that is here: its data from, inclusive, to
// end. Fragments that arrived in order, each right behind the other, make a run.
type part struct {
	from, end uint16
	joined    bool // it belongs to the run of the part in front of it
}

// parts are the fragments of one datagram that are here, ascending, apart from
// each other. They remember how the datagram was cut.
type parts struct {
	list   [maxParts]part
	n      int
	bytes  int  // all of them together
	merged bool // there were too many: how the datagram was cut is not known
}

// add adds the data from..end, which is not empty, if none of it is here. What
// lies within one run is a duplicate, anything else overlaps, whatever its
// bytes are: as Linux has it.
func (ps *parts) add(from, end int) FragmentDrop {
	if ps.n == maxParts && !ps.merge() {
		return DropHoles
	}
	i := ps.find(from)
	if i < ps.n && int(ps.list[i].from) < end {
		if ps.within(i, from, end) {
			return DropDuplicate
		}
		return DropOverlap
	}
	copy(ps.list[i+1:ps.n+1], ps.list[i:ps.n])
	ps.list[i] = part{
		from: uint16(from), end: uint16(end),
		joined: i == ps.n && i > 0 && int(ps.list[i-1].end) == from,
	}
	ps.n++
	ps.bytes += end - from
	return accepted
}

// find returns the first part that ends behind from, or n.
func (ps *parts) find(from int) int {
	lo, hi := 0, ps.n
	for lo < hi {
		mid := (lo + hi) / 2
		if int(ps.list[mid].end) > from {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}

// within reports whether all of from..end is in the run that part i belongs to.
func (ps *parts) within(i, from, end int) bool {
	first, last := i, i
	for ps.list[first].joined {
		first--
	}
	for last+1 < ps.n && ps.list[last+1].joined {
		last++
	}
	return int(ps.list[first].from) <= from && end <= int(ps.list[last].end)
}

// merge makes one part of all that touch, and reports whether that left room.
func (ps *parts) merge() bool {
	kept := 0
	for _, p := range ps.list[1:ps.n] {
		if p.from == ps.list[kept].end {
			ps.list[kept].end = p.end
			continue
		}
		kept++
		p.joined = false
		ps.list[kept] = p
	}
	ps.n = kept + 1
	ps.merged = true
	return ps.n < maxParts
}

// pieces appends the length of every part, if they are as they came.
func (ps *parts) pieces(to []uint16) []uint16 {
	if ps.merged {
		return to
	}
	for _, p := range ps.list[:ps.n] {
		to = append(to, p.end-p.from)
	}
	return to
}
