package wire

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// Sum adds b to the running one's-complement sum (RFC 1071). An odd last byte
// is padded with zero, so only the last piece of a message may be odd.
func Sum(b []byte, sum uint64) uint64 {
	var carry uint64
	for len(b) >= 32 {
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(b), carry)
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(b[8:]), carry)
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(b[16:]), carry)
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(b[24:]), carry)
		b = b[32:]
	}
	for len(b) >= 8 {
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(b), carry)
		b = b[8:]
	}
	sum += carry
	if sum < carry {
		sum++
	}
	// Fold to 33 bits so that the small additions below cannot overflow.
	sum = sum>>32 + sum&0xffffffff
	for len(b) >= 2 {
		sum += uint64(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		sum += uint64(b[0]) << 8
	}
	return sum
}

// Fold reduces a running sum to 16 bits, not complemented.
func Fold(sum uint64) uint16 {
	sum = sum>>32 + sum&0xffffffff
	sum = sum>>32 + sum&0xffffffff
	sum = sum>>16 + sum&0xffff
	sum = sum>>16 + sum&0xffff
	return uint16(sum>>16 + sum&0xffff)
}

// Checksum is the Internet checksum of b: the complement of its sum.
func Checksum(b []byte) uint16 { return ^Fold(Sum(b, 0)) }

// SumAddr adds an address to a running sum.
func SumAddr(a netip.Addr, sum uint64) uint64 {
	if a.Is4() {
		b := a.As4()
		return Sum(b[:], sum)
	}
	b := a.As16()
	return Sum(b[:], sum)
}

// PseudoSum is the sum of the pseudo-header of RFC 768, 793 and 8200, of which
// IPv4 and IPv6 differ only in layout, not in sum.
func PseudoSum(src, dst netip.Addr, proto uint8, length int) uint64 {
	sum := uint64(proto) + uint64(length)
	return SumAddr(dst, SumAddr(src, sum))
}

// UpdateSum patches checksum field value sum for data whose one's-complement
// sum changes from old to new: HC' = ~(~HC + ~m + m'), RFC 1624 eqn. 3.
func UpdateSum(sum uint16, old, new uint64) uint16 {
	return ^Fold(uint64(^sum) + uint64(^Fold(old)) + uint64(Fold(new)))
}

// Update16 patches a checksum for one 16-bit word that changes.
func Update16(sum, old, new uint16) uint16 {
	return ^Fold(uint64(^sum) + uint64(^old) + uint64(new))
}
