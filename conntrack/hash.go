package conntrack

import "math/bits"

// hashKey is the secret of a table's hash, made from its seed.
//
// The hash multiplies: a word of the message and what came of those before, by a
// secret, to 128 bits, whose halves are folded into one word; at the end once
// more, by another secret. That is a dozen instructions for an IPv4 client, a
// tenth of SipHash's, and a lookup is as fast as its instructions are few.
//
// What it promises: two messages that were chosen without knowing the secret get
// hashes that agree in n given bits with a chance of about 2^-n, whatever the
// messages have in common, and the secret never leaves the process. What it does
// not: it is no proven pseudorandom function. Who saw many hashes might work the
// secret out, so hashes are shown to nobody. What can be guessed from how long
// packets take is bounded by what a table permits one place to hold, not by the
// hash.
//
// A product is zero, and so forgets the rest, only if what is multiplied is: for
// one word in 2^64, that nobody knows. The multipliers are odd, never zero.
type hashKey struct{ mask, mul, lastMask, lastMul uint64 }

// newHashKey spreads a seed over a key (splitmix64).
func newHashKey(seed uint64) hashKey {
	next := func() uint64 {
		seed += 0x9e3779b97f4a7c15
		z := seed
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		return z ^ z>>31
	}
	return hashKey{next(), next() | 1, next(), next() | 1}
}

// word is the hash so far, h, and one word more.
func (k *hashKey) word(h, m uint64) uint64 { return fold(h^m, k.mul) }

// sum is the hash after the last word.
func (k *hashKey) sum(h uint64) uint64 { return fold(h^k.lastMask, k.lastMul) }

func fold(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// hash is that of the client's address, port and protocol, as one word for IPv4
// and three for IPv6. The last byte is the message's length in both and keeps the
// families apart.
func (k *hashKey) hash(a addr, port uint16, proto uint8) uint64 {
	if !a.v6 {
		return k.hash4(last4(uint32(a.lo), port, proto))
	}
	h := k.word(k.word(k.mask, a.hi), a.lo)
	return k.sum(k.word(h, 19<<56|uint64(proto)<<16|uint64(port)))
}

// last4 is the only word of IPv4's message.
func last4(a uint32, port uint16, proto uint8) uint64 {
	return 7<<56 | uint64(proto)<<48 | uint64(port)<<32 | uint64(a)
}

// hash4 is the hash of one word.
func (k *hashKey) hash4(m uint64) uint64 { return k.sum(k.word(k.mask, m)) }
