package director

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"slices"

	"usvs/ipvs"
	"usvs/trie"
)

// AddrSet is an immutable set of addresses.
type AddrSet struct {
	trie.View[netip.Addr, struct{}]
}

// AddrsOf returns the set of addrs.
func AddrsOf(addrs ...netip.Addr) AddrSet {
	b := NewAddrs()
	for _, a := range addrs {
		b.Add(a)
	}
	return b.Freeze()
}

// Sorted lists the addresses in ascending order.
func (s *AddrSet) Sorted() []netip.Addr {
	var list []netip.Addr
	for a := range s.All() {
		list = append(list, a)
	}
	slices.SortFunc(list, netip.Addr.Compare)
	return list
}

// Addrs is a set of addresses that changes.
type Addrs struct {
	set *trie.Map[netip.Addr, struct{}]
}

// NewAddrs returns an empty set.
func NewAddrs() *Addrs { return &Addrs{trie.New[netip.Addr, struct{}](hashAddr)} }

// Add adds a.
func (s *Addrs) Add(a netip.Addr) { s.set.Set(a, struct{}{}) }

// Remove removes a.
func (s *Addrs) Remove(a netip.Addr) { s.set.Delete(a) }

// Freeze returns the set as it is now, in constant time.
func (s *Addrs) Freeze() AddrSet { return AddrSet{s.set.Freeze()} }

// Endpoint is a protocol, an address and a port; port 0 stands for any port.
type Endpoint struct {
	Protocol ipvs.Protocol
	Addr     netip.Addr
	Port     uint16
}

// EndpointSet is an immutable set of endpoints.
type EndpointSet struct {
	trie.View[Endpoint, struct{}]
	addrs trie.View[Endpoint, int] // how many there are of a protocol and address
}

// EndpointsOf returns the set of list.
func EndpointsOf(list ...Endpoint) EndpointSet {
	b := NewEndpoints()
	for _, e := range list {
		b.Add(e)
	}
	return b.Freeze()
}

// HasAddr reports whether there is an endpoint of that very protocol and that
// address, on whatever port.
func (s *EndpointSet) HasAddr(p ipvs.Protocol, a netip.Addr) bool {
	return s.addrs.Has(Endpoint{Protocol: p, Addr: a})
}

// DiffEndpoints calls changed for every endpoint that is in one of the sets
// only.
func DiffEndpoints(old, is *EndpointSet, changed func(Endpoint)) {
	trie.Diff(&old.View, &is.View, changed, changed)
}

// Endpoints is a set of endpoints that changes.
type Endpoints struct {
	set   *trie.Map[Endpoint, struct{}]
	addrs *trie.Map[Endpoint, int]
}

// NewEndpoints returns an empty set.
func NewEndpoints() *Endpoints {
	return &Endpoints{trie.New[Endpoint, struct{}](hashEndpoint), trie.New[Endpoint, int](hashEndpoint)}
}

// Add adds e.
func (s *Endpoints) Add(e Endpoint) {
	if s.set.Has(e) {
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

// count adds n to what k is counted as; what is counted 0 times is left out.
func count[K comparable](m *trie.Map[K, int], k K, n int) {
	was, _ := m.Get(k)
	if was+n == 0 {
		m.Delete(k)
		return
	}
	m.Set(k, was+n)
}

// hashAddr mixes every byte of a into the low bits: addresses of one network
// differ in the last bytes, which big-endian loads put where a product spreads
// them, and the product's upper half carries the first bytes down.
func hashAddr(a netip.Addr) uint64 {
	b := a.As16()
	return mix(binary.BigEndian.Uint64(b[:8])*0x9e3779b97f4a7c15 ^ binary.BigEndian.Uint64(b[8:]))
}

func hashEndpoint(e Endpoint) uint64 {
	return mix(hashAddr(e.Addr) ^ uint64(e.Protocol)<<16 ^ uint64(e.Port))
}

func hashService(id ipvs.ServiceID) uint64 {
	return mix(hashAddr(id.Addr) ^ uint64(id.Mark)<<32 ^ uint64(id.Family)<<24 ^ uint64(id.Protocol)<<16 ^ uint64(id.Port))
}

func mix(h uint64) uint64 {
	hi, lo := bits.Mul64(h, 0xd6e8feb86659fd93)
	h = hi ^ lo
	return h ^ h>>32
}
