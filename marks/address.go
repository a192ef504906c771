package marks

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"strconv"
	"strings"
)

// Family says whose rules they are: iptables' or ip6tables'.
type Family uint8

const (
	IPv4 Family = iota // iptables
	IPv6               // ip6tables
)

// Program is the name of the family's command.
func (f Family) Program() string {
	if f == IPv6 {
		return "ip6tables"
	}
	return "iptables"
}

// bits128 is an address, or a mask, as two words. An IPv4 address is the low
// 32 bits.
type bits128 struct{ hi, lo uint64 }

func pack(a netip.Addr) bits128 {
	b := a.As16()
	w := bits128{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
	if a.Is4() {
		w.lo &= 1<<32 - 1
	}
	return w
}

func (w bits128) and(m bits128) bits128 { return bits128{w.hi & m.hi, w.lo & m.lo} }

func (w bits128) addr(f Family) netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], w.hi)
	binary.BigEndian.PutUint64(b[8:], w.lo)
	if f == IPv4 {
		return netip.AddrFrom4([4]byte(b[12:]))
	}
	return netip.AddrFrom16(b)
}

// width is the number of bits of the family's addresses.
func (f Family) width() int {
	if f == IPv4 {
		return 32
	}
	return 128
}

func (f Family) owns(a netip.Addr) bool { return a.Is4() == (f == IPv4) }

// prefixMask is the mask of n leading bits.
func (f Family) prefixMask(n int) bits128 {
	low := f.width() - n // bits that are zero
	if f == IPv4 {
		return bits128{0, (1<<32 - 1) &^ (1<<low - 1)}
	}
	if low >= 64 {
		return bits128{^uint64(0) << (low - 64), 0}
	}
	return bits128{^uint64(0), ^uint64(0) << low}
}

// prefixLen returns the number of leading bits of a mask that has no others,
// or -1.
func (f Family) prefixLen(m bits128) int {
	n := bits.OnesCount64(m.hi) + bits.OnesCount64(m.lo)
	if f.prefixMask(n) != m {
		return -1
	}
	return n
}

// network is what -s or -d gives: an address and a mask, which need not be a
// prefix. The zero value is any address.
type network struct {
	addr, mask bits128
	invert     bool
}

func (n network) contains(a bits128) bool { return a.and(n.mask) == n.addr != n.invert }

// single reports whether the network is one address.
func (n network) single(f Family) bool { return !n.invert && n.mask == f.prefixMask(f.width()) }

// parseNetworks reads the argument of -s or -d: addresses or names, each with
// a mask if need be, separated by commas.
func (q *parser) parseNetworks(arg string) ([]network, error) {
	var list []network
	for _, s := range strings.Split(arg, ",") {
		s = strings.TrimLeft(s, " ")
		host, maskText, masked := strings.Cut(s, "/")
		mask := q.family.prefixMask(q.family.width())
		if masked {
			var ok bool
			if mask, ok = q.family.parseMask(maskText); !ok {
				return nil, usage("invalid mask `%s' specified", maskText)
			}
		}
		addrs := q.resolve(host)
		if len(addrs) == 0 {
			return nil, usage("host/network `%s' not found", host)
		}
		for _, a := range addrs {
			list = append(list, network{addr: pack(a).and(mask), mask: mask})
		}
	}
	return list, nil
}

func (f Family) parseMask(s string) (bits128, bool) {
	if n, ok := parseUint(s, 255); ok {
		return f.prefixMask(min(int(n), f.width())), int(n) <= f.width()
	}
	a, ok := f.parseAddr(s)
	if !ok || f == IPv4 && strings.Count(s, ".") != 3 {
		return bits128{}, false
	}
	return pack(a), true
}

// resolve returns the addresses of the family that s stands for.
func (q *parser) resolve(s string) []netip.Addr {
	if a, ok := q.family.parseAddr(s); ok {
		return []netip.Addr{a}
	}
	var list []netip.Addr
	for _, a := range q.names.Addrs(s) {
		if a = a.Unmap(); q.family.owns(a) {
			list = append(list, a)
		}
	}
	return list
}

// parseAddr reads a numeric address. As with iptables, the last parts of an
// IPv4 address may be missing and are then zero: 10.1 is 10.1.0.0.
func (f Family) parseAddr(s string) (netip.Addr, bool) {
	if f == IPv6 {
		a, err := netip.ParseAddr(s)
		return a, err == nil && a.Is6() && a.Zone() == ""
	}
	parts := strings.Split(s, ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	var b [4]byte
	for i, part := range parts {
		n, ok := parseUint(part, 255)
		if !ok {
			return netip.Addr{}, false
		}
		b[i] = byte(n)
	}
	return netip.AddrFrom4(b), true
}

// text is the network with its mask, as -S prints it: always with a mask.
func (n network) text(f Family) string {
	return n.addr.addr(f).String() + "/" + n.maskText(f)
}

// maskText is the prefix length, or the mask itself if it is not a prefix.
func (n network) maskText(f Family) string {
	if l := f.prefixLen(n.mask); l >= 0 {
		return strconv.Itoa(l)
	}
	return n.mask.addr(f).String()
}

// listText is the network as -L prints it.
func (n network) listText(f Family, numeric bool) string {
	if n.mask == (bits128{}) && !numeric {
		return "anywhere"
	}
	if n.mask == f.prefixMask(f.width()) {
		return n.addr.addr(f).String()
	}
	return n.text(f)
}
