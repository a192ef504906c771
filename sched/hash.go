package sched

import (
	"encoding/binary"
	"math/bits"
	"net/netip"

	"usvs/ipvs"
)

// fold reduces an address to 32 bits: the XOR of its words in host order.
func fold(a netip.Addr) uint32 {
	if a.Is4() {
		b := a.As4()
		return binary.BigEndian.Uint32(b[:])
	}
	b := a.As16()
	return binary.BigEndian.Uint32(b[0:]) ^ binary.BigEndian.Uint32(b[4:]) ^
		binary.BigEndian.Uint32(b[8:]) ^ binary.BigEndian.Uint32(b[12:])
}

// hash32 is the golden-ratio multiplicative hash of x, in its upper n bits.
func hash32(x uint32, n uint) uint32 { return x * 0x61C88647 >> (32 - n) }

// hashedPort is the client's port where the service hashes ports, else 0.
func hashedPort(req *Request) uint16 {
	if req.Flags&ipvs.FlagSched2 == 0 {
		return 0
	}
	switch req.Protocol {
	case ipvs.TCP, ipvs.UDP, ipvs.SCTP:
		return req.ClientPort
	}
	return 0
}

// sipHash13 is SipHash-1-3 of a message shorter than 8 bytes, given as its
// only block: the length in the top byte, the bytes little-endian below.
func sipHash13(k0, k1, block uint64) uint64 {
	v0, v1 := k0^0x736f6d6570736575, k1^0x646f72616e646f6d
	v2, v3 := k0^0x6c7967656e657261, k1^0x7465646279746573^block
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	v0 ^= block
	v2 ^= 0xff
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	return v0 ^ v1 ^ v2 ^ v3
}

func sipRound(v0, v1, v2, v3 uint64) (uint64, uint64, uint64, uint64) {
	v0 += v1
	v1 = bits.RotateLeft64(v1, 13) ^ v0
	v0 = bits.RotateLeft64(v0, 32)
	v2 += v3
	v3 = bits.RotateLeft64(v3, 16) ^ v2
	v0 += v3
	v3 = bits.RotateLeft64(v3, 21) ^ v0
	v2 += v1
	v1 = bits.RotateLeft64(v1, 17) ^ v2
	v2 = bits.RotateLeft64(v2, 32)
	return v0, v1, v2, v3
}
