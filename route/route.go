// Package route is the director's picture of its host's network: interfaces,
// addresses and routes, as one immutable Table. It is pure; package host builds
// Tables from netlink, tests and simulations build them by hand.
package route

import (
	"maps"
	"net/netip"
	"slices"
	"sort"

	"usvs/wire"
)

// Interface is a network interface the director reads and writes. Its index in
// Config.Interfaces is its port number.
type Interface struct {
	Name   string
	Medium wire.Medium
	MAC    wire.MAC
	MTU    int
	Up     bool
	Addrs  []netip.Prefix // its addresses with their prefix lengths
}

// Kind says what a lookup found.
type Kind uint8

const (
	None    Kind = iota // no route: unreachable
	Unicast             // send to Hop.Via on Hop.Port
	Local               // one of the host's own addresses
	Foreign             // the route leaves by an interface the director does not run on
)

// Route is one routing table entry.
type Route struct {
	Prefix netip.Prefix
	Kind   Kind
	Port   int        // Unicast
	Via    netip.Addr // gateway; invalid when on-link
	Src    netip.Addr // preferred source; invalid: chosen from the interface
	MTU    int        // of the route; 0: the interface's
	Metric int        // the lowest wins among equal prefixes
}

// Hop is the way to a destination.
type Hop struct {
	Kind Kind
	Port int
	Via  netip.Addr // whom to ask for the MAC: the gateway, or the destination itself
	Src  netip.Addr // source address of packets the director makes itself
	MTU  int
}

// Config is what a Table is made from.
type Config struct {
	Interfaces []Interface
	Locals     []netip.Addr // addresses on any interface of the host, those the director does not run on included
	Routes     []Route
}

// Table answers where a packet goes next. It is immutable.
type Table struct {
	Interfaces []Interface
	locals     map[netip.Addr]struct{}
	endings    [256]bool // the last bytes of locals
	v4, v6     ranges
}

// ranges maps disjoint, sorted address ranges to hops: entry i covers
// starts[i] up to, not including, starts[i+1].
type ranges struct {
	starts []wire.Words
	hops   []Hop
}

// New builds a table. Of routes with the same prefix the lowest metric wins,
// then the first given.
func New(cfg Config) *Table {
	t := &Table{Interfaces: slices.Clone(cfg.Interfaces), locals: map[netip.Addr]struct{}{}}
	for _, a := range cfg.Locals {
		t.locals[a] = struct{}{}
	}
	for _, ifc := range cfg.Interfaces {
		for _, p := range ifc.Addrs {
			t.locals[p.Addr()] = struct{}{}
		}
	}
	routes := slices.Clone(cfg.Routes)
	for a := range t.locals {
		t.endings[lastByte(a)] = true
		routes = append(routes, Route{Prefix: netip.PrefixFrom(a, a.BitLen()), Kind: Local, Src: a, Metric: -1})
	}
	t.v4, t.v6 = t.flatten(routes, true), t.flatten(routes, false)
	return t
}

// Locals are the host's own addresses, in no order.
func (t *Table) Locals() []netip.Addr { return slices.Collect(maps.Keys(t.locals)) }

// IsLocal reports whether an interface of the host carries a. For nearly every
// other address its last byte tells.
func (t *Table) IsLocal(a netip.Addr) bool {
	if !t.endings[lastByte(a)] {
		return false
	}
	_, ok := t.locals[a]
	return ok
}

func lastByte(a netip.Addr) uint8 {
	b := a.As16()
	return b[15]
}

// Lookup returns the hop for dst by the longest matching prefix.
func (t *Table) Lookup(dst netip.Addr) Hop {
	v6 := !dst.Is4()
	i := t.Search(v6, wire.WordsOf(dst))
	hop := *t.At(v6, i)
	if i >= 0 && !hop.Via.IsValid() {
		hop.Via = dst
	}
	return hop
}

// Search returns the number of the range that an address is in, which is all
// that decides about its hop; -1: none.
func (t *Table) Search(v6 bool, dst wire.Words) int {
	starts := t.of(v6).starts
	lo, hi := 0, len(starts)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if s := &starts[mid]; s.Hi < dst.Hi || s.Hi == dst.Hi && s.Lo <= dst.Lo {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo - 1
}

// At is the hop of a range. Its Via is invalid if destinations there are
// neighbours themselves.
func (t *Table) At(v6 bool, i int) *Hop {
	if i < 0 {
		return &noHop
	}
	return &t.of(v6).hops[i]
}

var noHop Hop

func (t *Table) of(v6 bool) *ranges {
	if v6 {
		return &t.v6
	}
	return &t.v4
}

// flatten turns nested prefixes of one family into disjoint ranges: sorted by
// start, a prefix ends the range it lies in and that range resumes behind it.
func (t *Table) flatten(routes []Route, v4 bool) ranges {
	rs := slices.DeleteFunc(slices.Clone(routes), func(r Route) bool {
		return !r.Prefix.IsValid() || r.Prefix.Addr().Is4() != v4
	})
	for i := range rs {
		rs[i].Prefix = rs[i].Prefix.Masked()
	}
	sort.SliceStable(rs, func(i, j int) bool {
		a, b := rs[i], rs[j]
		if c := a.Prefix.Addr().Compare(b.Prefix.Addr()); c != 0 {
			return c < 0
		}
		if a.Prefix.Bits() != b.Prefix.Bits() {
			return a.Prefix.Bits() < b.Prefix.Bits()
		}
		return a.Metric < b.Metric
	})
	rs = slices.CompactFunc(rs, func(a, b Route) bool { return a.Prefix == b.Prefix })

	var out ranges
	var open []Route // prefixes that contain the current address, outermost first
	closeUntil := func(a netip.Addr) {
		for len(open) > 0 {
			inner := open[len(open)-1]
			if a.IsValid() && inner.Prefix.Contains(a) {
				return
			}
			open = open[:len(open)-1]
			next := lastAddr(inner.Prefix).Next()
			if !next.IsValid() {
				continue
			}
			hop := Hop{}
			if len(open) > 0 {
				hop = t.hop(open[len(open)-1])
			}
			out.set(next, hop)
		}
	}
	for _, r := range rs {
		closeUntil(r.Prefix.Addr())
		out.set(r.Prefix.Addr(), t.hop(r))
		open = append(open, r)
	}
	closeUntil(netip.Addr{})
	return out
}

// set starts a range at a, replacing one that starts there already.
func (r *ranges) set(a netip.Addr, h Hop) {
	start := wire.WordsOf(a)
	if n := len(r.starts); n > 0 && r.starts[n-1] == start {
		r.hops[n-1] = h
		return
	}
	r.starts = append(r.starts, start)
	r.hops = append(r.hops, h)
}

func (t *Table) hop(r Route) Hop {
	h := Hop{Kind: r.Kind, Port: r.Port, Via: r.Via, Src: r.Src, MTU: r.MTU}
	if r.Kind == None {
		return Hop{}
	}
	if r.Kind != Unicast {
		return h
	}
	ifc := t.Interfaces[r.Port]
	if h.MTU == 0 || ifc.MTU < h.MTU {
		h.MTU = ifc.MTU
	}
	if !h.Src.IsValid() {
		target := r.Via
		if !target.IsValid() {
			target = r.Prefix.Addr()
		}
		h.Src = ifc.SourceFor(target)
	}
	return h
}

// SourceFor picks the interface's address to talk to target from: one that
// shares a subnet with it, else the first global one of the family. A
// multicast target is talked to from the link-local address.
func (ifc *Interface) SourceFor(target netip.Addr) netip.Addr {
	var first, linkLocal netip.Addr
	for _, p := range ifc.Addrs {
		a := p.Addr()
		switch {
		case a.Is4() != target.Is4():
		case a.IsLinkLocalUnicast():
			linkLocal = a
			if target.IsLinkLocalUnicast() {
				return a
			}
		case p.Contains(target) && p.Bits() < a.BitLen():
			return a
		case !first.IsValid():
			first = a
		}
	}
	if !first.IsValid() || target.IsMulticast() && linkLocal.IsValid() {
		return linkLocal
	}
	return first
}

func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
