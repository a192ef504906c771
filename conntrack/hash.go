package conntrack

import "math/bits"

// sipKey is a key of SipHash.
type sipKey struct{ k0, k1 uint64 }

// newSipKey spreads a seed over a key (splitmix64).
func newSipKey(seed uint64) sipKey {
	next := func() uint64 {
		seed += 0x9e3779b97f4a7c15
		z := seed
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		return z ^ z>>31
	}
	return sipKey{next(), next()}
}

// sip is the state of SipHash-1-3, a keyed pseudorandom function made for hash
// tables that strangers fill: without the key, collisions cannot be aimed.
type sip struct{ v0, v1, v2, v3 uint64 }

func (k sipKey) start() sip {
	return sip{
		k.k0 ^ 0x736f6d6570736575, k.k1 ^ 0x646f72616e646f6d,
		k.k0 ^ 0x6c7967656e657261, k.k1 ^ 0x7465646279746573,
	}
}

func (s *sip) round() { s.v0, s.v1, s.v2, s.v3 = sipRound(s.v0, s.v1, s.v2, s.v3) }

func (s *sip) word(m uint64) {
	s.v3 ^= m
	s.round()
	s.v0 ^= m
}

func (s *sip) sum() uint64 {
	s.v2 ^= 0xff
	s.round()
	s.round()
	s.round()
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3
}

// hash is SipHash-1-3 of the client's address, port and protocol, as one word
// for IPv4 and three for IPv6. The last byte is the message's length in both,
// as SipHash wants it, and keeps the families apart.
func (k sipKey) hash(a addr, port uint16, proto uint8) uint64 {
	if !a.v6 {
		return k.hash4(last4(uint32(a.lo), port, proto))
	}
	s := k.start()
	s.word(a.hi)
	s.word(a.lo)
	s.word(19<<56 | uint64(proto)<<16 | uint64(port))
	return s.sum()
}

// last4 is the only word of IPv4's message.
func last4(a uint32, port uint16, proto uint8) uint64 {
	return 7<<56 | uint64(proto)<<48 | uint64(port)<<32 | uint64(a)
}

// hash4 is the hash of one word, the last: word and sum with the state in
// registers.
func (k sipKey) hash4(m uint64) uint64 {
	s := k.start()
	v0, v1, v2, v3 := sipRound(s.v0, s.v1, s.v2, s.v3^m)
	v0, v1, v2, v3 = sipRound(v0^m, v1, v2^0xff, v3)
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	return v0 ^ v1 ^ v2 ^ v3
}

func sipRound(v0, v1, v2, v3 uint64) (uint64, uint64, uint64, uint64) {
	v0, v2 = v0+v1, v2+v3
	v1, v3 = bits.RotateLeft64(v1, 13)^v0, bits.RotateLeft64(v3, 16)^v2
	v0 = bits.RotateLeft64(v0, 32)
	v2, v0 = v2+v1, v0+v3
	v1, v3 = bits.RotateLeft64(v1, 17)^v2, bits.RotateLeft64(v3, 21)^v0
	return v0, v1, bits.RotateLeft64(v2, 32), v3
}
