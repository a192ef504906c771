package director

import (
	"iter"
	"net/netip"
	"slices"

	"usvs/ipvs"
	"usvs/wire"
)

// AddrSet is an immutable set of addresses.
type AddrSet struct{ set endpointView[struct{}] }

// AddrsOf returns the set of addrs.
func AddrsOf(addrs ...netip.Addr) AddrSet {
	b := NewAddrs()
	for _, a := range addrs {
		b.Add(a)
	}
	return b.Freeze()
}

// Has reports whether a is in the set.
func (s *AddrSet) Has(a netip.Addr) bool { return s.set.Has(Endpoint{Addr: a}) }

// HasWords is Has for an address in words.
func (s *AddrSet) HasWords(v6 bool, a wire.Words) bool {
	if v6 {
		return s.Has(a.Addr(true))
	}
	return s.set.v4.Has(a.Lo << 32)
}

// Len is the number of addresses.
func (s *AddrSet) Len() int { return s.set.Len() }

// All visits every address, in no order that means anything.
func (s *AddrSet) All() iter.Seq[netip.Addr] {
	return func(yield func(netip.Addr) bool) {
		for e := range s.set.All() {
			if !yield(e.Addr) {
				return
			}
		}
	}
}

// Sorted lists the addresses in ascending order.
func (s *AddrSet) Sorted() []netip.Addr {
	return slices.SortedFunc(s.All(), netip.Addr.Compare)
}

// DiffAddrs calls gone for every address that only old has, and came for every
// one that only is has.
func DiffAddrs(old, is *AddrSet, gone, came func(netip.Addr)) {
	old.set.diff(&is.set, func(e Endpoint) { gone(e.Addr) }, func(e Endpoint) { came(e.Addr) })
}

// Addrs is a set of addresses that changes.
type Addrs struct{ set *endpointMap[struct{}] }

// NewAddrs returns an empty set.
func NewAddrs() *Addrs { return &Addrs{newEndpointMap[struct{}]()} }

// Add adds a.
func (s *Addrs) Add(a netip.Addr) { s.set.Set(Endpoint{Addr: a}, struct{}{}) }

// Remove removes a.
func (s *Addrs) Remove(a netip.Addr) { s.set.Delete(Endpoint{Addr: a}) }

// Freeze returns the set as it is now, in constant time.
func (s *Addrs) Freeze() AddrSet { return AddrSet{s.set.Freeze()} }

// EndpointSet is an immutable set of endpoints.
type EndpointSet struct {
	set   endpointView[struct{}]
	addrs endpointView[int] // how many there are of a protocol and address
}

// EndpointsOf returns the set of list.
func EndpointsOf(list ...Endpoint) EndpointSet {
	b := NewEndpoints()
	for _, e := range list {
		b.Add(e)
	}
	return b.Freeze()
}

// Has reports whether e is in the set.
func (s *EndpointSet) Has(e Endpoint) bool { return s.set.Has(e) }

// Len is the number of endpoints.
func (s *EndpointSet) Len() int { return s.set.Len() }

// All visits every endpoint, in no order that means anything.
func (s *EndpointSet) All() iter.Seq[Endpoint] {
	return func(yield func(Endpoint) bool) {
		for e := range s.set.All() {
			if !yield(e) {
				return
			}
		}
	}
}

// HasAddr reports whether there is an endpoint of that very protocol and that
// address, on whatever port.
func (s *EndpointSet) HasAddr(p ipvs.Protocol, a netip.Addr) bool {
	return s.addrs.Has(Endpoint{Protocol: p, Addr: a})
}

// DiffEndpoints calls changed for every endpoint that is in one of the sets
// only.
func DiffEndpoints(old, is *EndpointSet, changed func(Endpoint)) {
	old.set.diff(&is.set, changed, changed)
}

// Endpoints is a set of endpoints that changes.
type Endpoints struct {
	set   *endpointMap[struct{}]
	addrs *endpointMap[int]
}

// NewEndpoints returns an empty set.
func NewEndpoints() *Endpoints {
	return &Endpoints{newEndpointMap[struct{}](), newEndpointMap[int]()}
}

// Add adds e.
func (s *Endpoints) Add(e Endpoint) {
	if _, there := s.set.Get(e); there {
		return
	}
	s.set.Set(e, struct{}{})
	count(s.addrs, Endpoint{Protocol: e.Protocol, Addr: e.Addr}, 1)
}

// Remove removes e.
func (s *Endpoints) Remove(e Endpoint) {
	if s.set.Delete(e) {
		count(s.addrs, Endpoint{Protocol: e.Protocol, Addr: e.Addr}, -1)
	}
}

// Freeze returns the set as it is now, in constant time.
func (s *Endpoints) Freeze() EndpointSet { return EndpointSet{s.set.Freeze(), s.addrs.Freeze()} }
