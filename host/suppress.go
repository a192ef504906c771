package host

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"usvs/director"
	"usvs/ipvs"
	"usvs/wire"
)

// balanced are the protocols of virtual services.
var balanced = []ipvs.Protocol{ipvs.TCP, ipvs.UDP, ipvs.SCTP}

// elements are the keys of one nftables set, as the kernel wants them: a key of
// several parts has each in 32-bit registers of its own.
type elements map[string]struct{}

func (e elements) add(parts ...[]byte) {
	if len(parts) == 1 {
		e[string(parts[0])] = struct{}{}
		return
	}
	var key []byte
	for _, p := range parts {
		key = append(key, p...)
		for len(key)%4 != 0 {
			key = append(key, 0)
		}
	}
	e[string(key)] = struct{}{}
}

// addrRange is a range of addresses, both ends included.
type addrRange struct{ from, to netip.Addr }

// hiddenSets are keys for the sets that stand for director.Hidden, of one
// address family.
type hiddenSets struct {
	addrs     elements // destination address
	services  elements // protocol . destination address . port, while the host carries the address
	anyPort   elements // protocol . destination address: likewise, on any port
	laterFrag elements // protocol . destination address: of all services
	anyAddr   elements // protocol: to every address the host carries

	servers         elements // protocol . source address . port
	serverAnyPort   elements // protocol . source address
	serverLaterFrag elements // protocol . source address
	icmpErrors      elements // ICMP types; none while there are no servers
}

func newHiddenSets() *hiddenSets {
	return &hiddenSets{
		addrs: elements{}, services: elements{}, anyPort: elements{}, laterFrag: elements{}, anyAddr: elements{},
		servers: elements{}, serverAnyPort: elements{}, serverLaterFrag: elements{}, icmpErrors: elements{},
	}
}

// change is what makes one director.Hidden another, by address family. What is
// hidden by prefix is not in it.
type change struct{ added, removed [2]*hiddenSets }

// difference finds what makes old into is, without looking at what they share.
func difference(old, is *director.Hidden) *change {
	c := &change{}
	for i := range c.added {
		c.added[i], c.removed[i] = newHiddenSets(), newHiddenSets()
	}
	director.DiffAddrs(&old.Addrs, &is.Addrs,
		func(a netip.Addr) { c.removed[familyIndex(a)].addrs.add(a.AsSlice()) },
		func(a netip.Addr) { c.added[familyIndex(a)].addrs.add(a.AsSlice()) })
	c.endpoints(&old.Services, &is.Services, func(h *hiddenSets) endpointKeys {
		return endpointKeys{h.services, h.anyPort, h.laterFrag}
	})
	c.endpoints(&old.Servers, &is.Servers, func(h *hiddenSets) endpointKeys {
		return endpointKeys{h.servers, h.serverAnyPort, h.serverLaterFrag}
	})
	for i, local := range [2][2]bool{{old.Local4, is.Local4}, {old.Local6, is.Local6}} {
		c.toggle(i, local[0], local[1], (*hiddenSets).addBalanced)
		c.toggle(i, old.Servers.Len() > 0, is.Servers.Len() > 0, func(h *hiddenSets) { h.addICMPErrors(i) })
	}
	return c
}

// toggle adds or removes keys that are there as long as something is true.
func (c *change) toggle(family int, was, is bool, add func(*hiddenSets)) {
	switch {
	case is && !was:
		add(c.added[family])
	case was && !is:
		add(c.removed[family])
	}
}

// endpointKeys are the sets that endpoints are keys of.
type endpointKeys struct{ exact, anyPort, laterFrag elements }

// endpoints compares two sets of endpoints. An endpoint of every protocol is
// three keys, which may be another endpoint's as well: what counts is whether
// any endpoint has a key.
func (c *change) endpoints(old, is *director.EndpointSet, keys func(*hiddenSets) endpointKeys) {
	director.DiffEndpoints(old, is, func(e director.Endpoint) {
		i := familyIndex(e.Addr)
		added, removed := keys(c.added[i]), keys(c.removed[i])
		for _, p := range protocolsOf(e) {
			e.Protocol = p
			switch was, now := covers(old, e), covers(is, e); {
			case now && !was:
				added.add(e)
			case was && !now:
				removed.add(e)
			}
			switch was, now := coversAddr(old, e), coversAddr(is, e); {
			case now && !was:
				added.addAddr(e)
			case was && !now:
				removed.addAddr(e)
			}
		}
	})
}

// protocolsOf are the protocols an endpoint stands for.
func protocolsOf(e director.Endpoint) []ipvs.Protocol {
	if e.Protocol == 0 {
		return balanced
	}
	return []ipvs.Protocol{e.Protocol}
}

// covers reports whether s has e, itself or of every protocol.
func covers(s *director.EndpointSet, e director.Endpoint) bool {
	return s.Has(e) || s.Has(director.Endpoint{Addr: e.Addr, Port: e.Port})
}

// coversAddr is covers for whatever port.
func coversAddr(s *director.EndpointSet, e director.Endpoint) bool {
	return s.HasAddr(e.Protocol, e.Addr) || s.HasAddr(0, e.Addr)
}

func (k *endpointKeys) add(e director.Endpoint) {
	proto, addr := []byte{byte(e.Protocol)}, e.Addr.AsSlice()
	if e.Port == 0 {
		k.anyPort.add(proto, addr)
		return
	}
	k.exact.add(proto, addr, binary.BigEndian.AppendUint16(nil, e.Port))
}

func (k *endpointKeys) addAddr(e director.Endpoint) {
	k.laterFrag.add([]byte{byte(e.Protocol)}, e.Addr.AsSlice())
}

func (s *hiddenSets) addBalanced() {
	for _, p := range balanced {
		s.anyAddr.add([]byte{byte(p)})
	}
}

// addICMPErrors adds the types that wire.Packet.IsICMPError knows.
func (s *hiddenSets) addICMPErrors(family int) {
	types := []byte{wire.ICMPUnreachable, wire.ICMPSourceQuench, wire.ICMPTimeExceeded}
	if family == 1 {
		types = types[:0]
		for t := range byte(128) {
			types = append(types, t)
		}
	}
	for _, t := range types {
		s.icmpErrors.add([]byte{t})
	}
}

// mergeRanges turns prefixes into disjoint ranges in ascending order, IPv4 and
// IPv6: a set of intervals takes no overlaps.
func mergeRanges(prefixes []netip.Prefix) (ranges [2][]addrRange) {
	sorted := slices.Clone(prefixes)
	for i, p := range sorted {
		sorted[i] = p.Masked()
	}
	// A prefix sorts behind those that contain it, so that it is either in the
	// last range or disjoint from all.
	slices.SortFunc(sorted, func(a, b netip.Prefix) int {
		if c := a.Addr().Compare(b.Addr()); c != 0 {
			return c
		}
		return a.Bits() - b.Bits()
	})
	for _, p := range sorted {
		if !p.IsValid() {
			continue
		}
		list := &ranges[familyIndex(p.Addr())]
		if n := len(*list); n > 0 && p.Addr().Compare((*list)[n-1].to) <= 0 {
			continue
		}
		*list = append(*list, addrRange{p.Addr(), lastAddr(p)})
	}
	return ranges
}

// lastAddr is the highest address of a prefix.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// familyIndex is 0 for IPv4 and 1 for IPv6.
func familyIndex(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}
