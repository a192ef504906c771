package conntrack

import (
	"cmp"
	"encoding/binary"
	"net/netip"

	"usvs/ipvs"
)

// addr is an address in two words; IPv4 is in the lower half of lo.
type addr struct {
	hi, lo uint64
	v6     bool
}

func pack(a netip.Addr) addr {
	if a.Is4() {
		return addr{lo: uint64(word4(a))}
	}
	b := a.As16()
	return addr{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:]), true}
}

func (a addr) unpack() netip.Addr {
	if !a.v6 {
		return addr4(uint32(a.lo))
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], a.hi)
	binary.BigEndian.PutUint64(b[8:], a.lo)
	return netip.AddrFrom16(b)
}

// word4 is an IPv4 address as a number, addr4 the reverse.
func word4(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func addr4(w uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(w >> 24), byte(w >> 16), byte(w >> 8), byte(w)})
}

func addrPort4(a uint32, port uint16) netip.AddrPort { return netip.AddrPortFrom(addr4(a), port) }

// meta is the word of an entry that holds its small constants:
// client port 16, virtual port 16, protocol 8, the flags below 3, real server
// is IPv6 1, forwarding method 3, has a side record 1, real port 16. The part down to
// metaKeyShift belongs to the key.
type meta uint64

const (
	metaSide     meta = 1 << 16
	metaRealV6   meta = 1 << 20
	metaTemplate meta = 1 << 21
	metaVirtV6   meta = 1 << 22
	metaClientV6 meta = 1 << 23
	metaWide          = metaRealV6 | metaVirtV6 | metaClientV6
	metaKeyShift      = 21

	// metaAnswer is what a packet from a server has in common with the entry.
	metaAnswer = 0xffff<<48 | 0xff<<24 | metaClientV6 | metaTemplate
)

func (m meta) clientPort() uint16         { return uint16(m >> 48) }
func (m meta) virtualPort() uint16        { return uint16(m >> 32) }
func (m meta) protocol() uint8            { return uint8(m >> 24) }
func (m meta) method() ipvs.ForwardMethod { return ipvs.ForwardMethod(m >> 17 & 7) }
func (m meta) realPort() uint16           { return uint16(m) }
func (m meta) has(flag meta) bool         { return m&flag != 0 }

// key is what identifies an entry.
type key struct {
	hash            uint64
	client, virtual addr
	meta            meta // the key's part only

	// Of a persistence engine's template.
	engine uint8
	data   []byte
}

func (t *Table) key(proto ipvs.Protocol, client, virtual netip.AddrPort, template bool) key {
	c, v := pack(client.Addr()), pack(virtual.Addr())
	m := meta(client.Port())<<48 | meta(virtual.Port())<<32 | meta(proto)<<24
	if c.v6 {
		m |= metaClientV6
	}
	if v.v6 {
		m |= metaVirtV6
	}
	if template {
		m |= metaTemplate
	}
	h := t.seed.hash(c, client.Port(), uint8(proto))
	return key{hash: h, client: c, virtual: v, meta: m}
}

// compare orders an entry against a key.
func (t *Table) compare(e *entry, k *key) int {
	m := meta(e.meta.Load())
	if m>>metaKeyShift == k.meta>>metaKeyShift && !m.has(metaWide) && e.pair.Load() == pairOf(k.virtual, k.client) {
		return 0
	}
	client, virtual, _ := t.addrs(e, m)
	if c := cmp.Compare(virtual.lo, k.virtual.lo); c != 0 {
		return c
	}
	if c := cmp.Compare(m>>metaKeyShift, k.meta>>metaKeyShift); c != 0 {
		return c
	}
	if c := cmp.Compare(virtual.hi, k.virtual.hi); c != 0 {
		return c
	}
	if c := cmp.Compare(client.lo, k.client.lo); c != 0 {
		return c
	}
	return cmp.Compare(client.hi, k.client.hi)
}

// precedes reports whether the key of a comes before that of b.
func (t *Table) precedes(a, b *entry) bool {
	m := meta(a.meta.Load())
	k := key{meta: m}
	k.client, k.virtual, _ = t.addrs(a, m)
	return t.compare(b, &k) > 0
}
