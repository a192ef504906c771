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

// hiddenSets is director.Hidden, of one address family, as sets of keys.
type hiddenSets struct {
	addrs     elements // destination address
	services  elements // protocol . destination address . port, while the host carries the address
	anyPort   elements // protocol . destination address: likewise, on any port
	laterFrag elements // protocol . destination address: of all services
	prefixes  []addrRange
	anyAddr   elements // protocol: to every address the host carries

	servers         elements // protocol . source address . port
	serverAnyPort   elements // protocol . source address
	serverLaterFrag elements // protocol . source address
	icmpErrors      elements // ICMP types; none while there are no servers
}

// setsOf splits h into IPv4 and IPv6.
func setsOf(h *director.Hidden) (sets [2]hiddenSets) {
	for i := range sets {
		sets[i] = hiddenSets{
			addrs: elements{}, services: elements{}, anyPort: elements{}, laterFrag: elements{}, anyAddr: elements{},
			servers: elements{}, serverAnyPort: elements{}, serverLaterFrag: elements{}, icmpErrors: elements{},
		}
	}
	if h == nil {
		return sets
	}
	for a := range h.Addrs {
		sets[familyIndex(a)].addrs.add(a.AsSlice())
	}
	for e := range h.Services {
		s := &sets[familyIndex(e.Addr)]
		addEndpoint(e, s.services, s.anyPort, s.laterFrag)
	}
	for e := range h.Servers {
		s := &sets[familyIndex(e.Addr)]
		addEndpoint(e, s.servers, s.serverAnyPort, s.serverLaterFrag)
	}
	for i, ranges := range mergeRanges(h.Prefixes) {
		sets[i].prefixes = ranges
	}
	for i, all := range []bool{h.Local4, h.Local6} {
		if all {
			sets[i].addBalanced()
		}
	}
	if len(h.Servers) > 0 {
		for i := range sets {
			sets[i].addICMPErrors(i)
		}
	}
	return sets
}

func addEndpoint(e director.Endpoint, exact, anyPort, laterFrag elements) {
	protocols := []ipvs.Protocol{e.Protocol}
	if e.Protocol == 0 {
		protocols = balanced
	}
	addr := e.Addr.AsSlice()
	for _, p := range protocols {
		proto := []byte{byte(p)}
		laterFrag.add(proto, addr)
		if e.Port == 0 {
			anyPort.add(proto, addr)
			continue
		}
		exact.add(proto, addr, binary.BigEndian.AppendUint16(nil, e.Port))
	}
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
