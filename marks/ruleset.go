package marks

import (
	"net/netip"
	"slices"

	"usvs/wire"
)

// Ruleset is the PREROUTING chain of the mangle table of one family. The zero
// Ruleset holds no rule, for IPv4.
type Ruleset struct {
	family Family
	rules  []*rule
	others []*rule // those without a single destination, if there is an index
	index  []entry // by destination; its length is a power of two, or 0
}

// entry lists, in order, the rules that may match a destination.
type entry struct {
	dst   bits128
	rules []*rule // nil: the slot is free
}

// New returns an empty Ruleset.
func New(f Family) *Ruleset { return &Ruleset{family: f} }

// Few rules are looked through faster than an index, and an index that would
// repeat too many of the rules for any destination is not worth its memory.
const (
	minIndexed = 8
	maxRepeats = 1 << 20
)

// build returns a Ruleset of the rules and takes them over.
func build(f Family, rules []*rule) *Ruleset {
	rs := &Ruleset{family: f, rules: rules}
	if len(rules) < minIndexed {
		return rs
	}
	dsts := map[bits128]bool{}
	var others []*rule
	for _, r := range rules {
		if r.dst.single(f) {
			dsts[r.dst.addr] = true
		} else {
			others = append(others, r)
		}
	}
	if len(dsts) == 0 || len(dsts)*len(others) > maxRepeats {
		return rs
	}
	size := 16
	for size < 2*len(dsts) {
		size *= 2
	}
	rs.others, rs.index = others, make([]entry, size)
	for _, r := range rules {
		if r.dst.single(f) {
			if e := rs.slot(r.dst.addr); e.rules == nil {
				*e = entry{r.dst.addr, rs.candidates(r.dst.addr)}
			}
		}
	}
	return rs
}

// candidates lists the rules that may match the destination.
func (rs *Ruleset) candidates(dst bits128) []*rule {
	var list []*rule
	for _, r := range rs.rules {
		if !r.dst.single(rs.family) || r.dst.addr == dst {
			list = append(list, r)
		}
	}
	return list
}

// slot finds the destination's entry, or the free one where it belongs. At
// least half of the slots are free.
func (rs *Ruleset) slot(dst bits128) *entry {
	h := dst.hi*0x9e3779b97f4a7c15 ^ dst.lo*0xd6e8feb86659fd93
	mask := uint64(len(rs.index) - 1)
	for i := h >> 40; ; i++ {
		e := &rs.index[i&mask]
		if e.rules == nil || e.dst == dst {
			return e
		}
	}
}

// Len is the number of rules.
func (rs *Ruleset) Len() int { return len(rs.rules) }

// Family returns whose rules they are.
func (rs *Ruleset) Family() Family { return rs.family }

// Mark returns the mark the rules give to a packet that came in through the
// interface with the given mark, and counts what matched. The hot path.
func (rs *Ruleset) Mark(in string, p *wire.Packet, mark uint32) uint32 {
	if len(rs.rules) == 0 || p.Version == 0 || p.Version == 4 != (rs.family == IPv4) {
		return mark
	}
	k := packet{Packet: p, src: pack(p.Src), dst: pack(p.Dst), in: in, mark: mark}
	rules := rs.rules
	if len(rs.index) > 0 {
		rules = rs.others
		if e := rs.slot(k.dst); e.rules != nil {
			rules = e.rules
		}
	}
	return traverse(rules, &k)
}

func traverse(rules []*rule, k *packet) uint32 {
	for _, r := range rules {
		if !r.applies(k) {
			continue
		}
		r.counter.packets.Add(1)
		r.counter.bytes.Add(uint64(k.IPLen()))
		switch r.target.verdict {
		case setMark:
			k.mark = k.mark&^r.target.mask ^ r.target.value
		case accept, ret:
			return k.mark
		}
	}
	return k.mark
}

// SingleDests lists the single destination addresses of the rules that mark:
// those a director has to answer for. In the order of the rules, once each.
func (rs *Ruleset) SingleDests() []netip.Addr {
	var list []netip.Addr
	seen := map[bits128]bool{}
	for _, r := range rs.rules {
		if r.target.verdict == setMark && r.dst.single(rs.family) && !seen[r.dst.addr] {
			seen[r.dst.addr] = true
			list = append(list, r.dst.addr.addr(rs.family))
		}
	}
	return list
}

// Commands lists the commands, without "-t mangle", that make an empty Ruleset
// into this one: the rules as -S prints them.
func (rs *Ruleset) Commands() []string {
	list := make([]string, len(rs.rules))
	for i, r := range rs.rules {
		list[i] = "-A " + chainName + r.spec(rs.family)
	}
	return list
}

// find returns the position of the first rule that says the same, or -1.
func (rs *Ruleset) find(r *rule) int {
	spec := r.spec(rs.family)
	return slices.IndexFunc(rs.rules, func(o *rule) bool { return o.spec(rs.family) == spec })
}
