package director

import (
	"encoding/binary"
	"iter"
	"math/bits"
	"net/netip"

	"usvs/ipvs"
	"usvs/trie"
)

// Endpoint is a protocol, an address and a port; port 0 stands for any port.
type Endpoint struct {
	Protocol ipvs.Protocol
	Addr     netip.Addr
	Port     uint16
}

// word is an IPv4 endpoint as a number.
func (e Endpoint) word() uint64 {
	a := e.Addr.As4()
	return uint64(binary.BigEndian.Uint32(a[:]))<<32 | uint64(e.Protocol)<<16 | uint64(e.Port)
}

// endpointOf is the reverse of word.
func endpointOf(word uint64) Endpoint {
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], uint32(word>>32))
	return Endpoint{ipvs.Protocol(word >> 16), netip.AddrFrom4(a), uint16(word)}
}

// endpointView is an immutable map by endpoint. Those of IPv4 are kept apart: as
// numbers they are hashed, compared and cached several times as fast.
type endpointView[V any] struct {
	v4    trie.View[uint64, V]
	other trie.View[Endpoint, V]
}

// Get returns the value of e, and whether there is one.
func (v *endpointView[V]) Get(e Endpoint) (V, bool) {
	if e.Addr.Is4() {
		return v.v4.Get(e.word())
	}
	return v.other.Get(e)
}

// Has reports whether e has a value.
func (v *endpointView[V]) Has(e Endpoint) bool {
	_, ok := v.Get(e)
	return ok
}

// Len is the number of endpoints.
func (v *endpointView[V]) Len() int { return v.v4.Len() + v.other.Len() }

// All visits every endpoint with its value, in no order that means anything.
func (v *endpointView[V]) All() iter.Seq2[Endpoint, V] {
	return func(yield func(Endpoint, V) bool) {
		for w, val := range v.v4.All() {
			if !yield(endpointOf(w), val) {
				return
			}
		}
		v.other.All()(yield)
	}
}

// diff calls gone for every endpoint that only v has, and came for every one
// that only is has. Values do not count.
func (v *endpointView[V]) diff(is *endpointView[V], gone, came func(Endpoint)) {
	trie.Diff(&v.v4, &is.v4, func(w uint64) { gone(endpointOf(w)) }, func(w uint64) { came(endpointOf(w)) })
	trie.Diff(&v.other, &is.other, gone, came)
}

// endpointMap is a map by endpoint that changes.
type endpointMap[V any] struct {
	v4    *trie.Map[uint64, V]
	other *trie.Map[Endpoint, V]
}

func newEndpointMap[V any]() *endpointMap[V] {
	return &endpointMap[V]{trie.New[uint64, V](mix), trie.New[Endpoint, V](hashEndpoint)}
}

// Get returns the value of e, and whether there is one.
func (m *endpointMap[V]) Get(e Endpoint) (V, bool) {
	if e.Addr.Is4() {
		return m.v4.Get(e.word())
	}
	return m.other.Get(e)
}

// Set gives e a value.
func (m *endpointMap[V]) Set(e Endpoint, val V) {
	if e.Addr.Is4() {
		m.v4.Set(e.word(), val)
		return
	}
	m.other.Set(e, val)
}

// Delete removes e and reports whether it was there.
func (m *endpointMap[V]) Delete(e Endpoint) bool {
	if e.Addr.Is4() {
		return m.v4.Delete(e.word())
	}
	return m.other.Delete(e)
}

// Freeze returns the map as it is now, in constant time.
func (m *endpointMap[V]) Freeze() endpointView[V] {
	return endpointView[V]{m.v4.Freeze(), m.other.Freeze()}
}

// count adds n to what e is counted as; what is counted 0 times is left out.
func count(m *endpointMap[int], e Endpoint, n int) {
	was, _ := m.Get(e)
	if was+n == 0 {
		m.Delete(e)
		return
	}
	m.Set(e, was+n)
}

// hashEndpoint mixes every byte of the address into the low bits: addresses of
// one network differ in the last bytes, which big-endian loads put where a
// product spreads them, and the product's upper half carries the first bytes down.
func hashEndpoint(e Endpoint) uint64 {
	b := e.Addr.As16()
	h := mix(binary.BigEndian.Uint64(b[:8])*0x9e3779b97f4a7c15 ^ binary.BigEndian.Uint64(b[8:]))
	return mix(h ^ uint64(e.Protocol)<<16 ^ uint64(e.Port))
}

func mix(h uint64) uint64 {
	hi, lo := bits.Mul64(h, 0xd6e8feb86659fd93)
	h = hi ^ lo
	return h ^ h>>32
}
