package marks

import (
	"math/bits"
	"net/netip"
)

// Marking is what one rule that marks does, and to which destinations.
type Marking struct {
	// Dst is the rule's -d; the zero Prefix without one, or with an inverted
	// one. Of a mask with holes the leading ones count.
	Dst         netip.Prefix
	value, mask uint32
}

// Gives reports whether a packet may have the mark after the rule, whatever
// mark it had before.
func (m Marking) Gives(mark uint32) bool { return (mark^m.value)&m.mask == 0 }

// Markings lists what the rules that mark do, in their order.
func (rs *Ruleset) Markings() []Marking {
	var list []Marking
	for _, r := range rs.rules {
		if r.target.verdict != setMark {
			continue
		}
		m := Marking{value: r.target.value, mask: r.target.mask}
		if !r.dst.invert && r.dst.mask != (bits128{}) {
			m.Dst = r.dst.prefix(rs.family)
		}
		list = append(list, m)
	}
	return list
}

// prefix is the smallest prefix that contains the network.
func (n network) prefix(f Family) netip.Prefix {
	ones := bits.LeadingZeros64(^n.mask.hi)
	if f == IPv4 {
		ones = bits.LeadingZeros32(^uint32(n.mask.lo))
	} else if ones == 64 {
		ones += bits.LeadingZeros64(^n.mask.lo)
	}
	return netip.PrefixFrom(n.addr.addr(f), ones).Masked()
}
